#include "port/link.h"

#include <stdio.h>

#include "base/path.h"

/* A link on its way to what it means. */
struct trail {
    struct atlas_link_scope *scope;
    struct atlas_error *error;
    const char *path;                          /* of the link, for errors */
    char at[ATLAS_MAX_PATH_BYTES + 1];         /* reached so far, relative to the root and free of links */
    size_t n;                                  /* strlen(at) */
    size_t up;                                 /* levels above the root; at is empty then */
    char rest[2 * (ATLAS_MAX_PATH_BYTES + 1)]; /* still to go */
    unsigned hops;
    bool is_blob;
    struct atlas_file_id id; /* of what was reached */
};

static int fail(struct trail *t, int code, const char *text)
{
    struct atlas_error shape;
    atlas_path_where(t->path, true, shape.where, sizeof shape.where);
    return atlas_error_set(t->error, code, shape.where, "%s", text);
}

static int escape(struct trail *t)
{
    return fail(t, ATLAS_E_REFUSED, "is a link that leads out of the directory");
}

static int dangling(struct trail *t)
{
    return fail(t, ATLAS_E_REFUSED, "is a link that leads nowhere");
}

/* A step that failed: because there is nothing (`missing` says so), or because the machine refused. */
static int missed(struct trail *t, int rc, const struct atlas_error *cause, int (*missing)(struct trail *t))
{
    return rc == ATLAS_E_NOT_FOUND || rc == ATLAS_E_REFUSED ? missing(t) : fail(t, rc, cause->text);
}

/* Cut the next component off t->rest; false at the end. No component is longer than a target can be. */
static bool take(struct trail *t, char *ret_name, size_t size)
{
    const char *p = t->rest + strspn(t->rest, "/");
    size_t n = strcspn(p, "/");
    if (n == 0 || n >= size) {
        return false;
    }
    memcpy(ret_name, p, n);
    ret_name[n] = '\0';
    memmove(t->rest, p + n, strlen(p + n) + 1);
    return true;
}

static void go_up(struct trail *t)
{
    t->id = (struct atlas_file_id){.type = ATLAS_FILE_DIRECTORY};
    if (t->n == 0) {
        t->up++;
        return;
    }
    while (t->n > 0 && t->at[t->n - 1] != '/') {
        t->n--;
    }
    t->n -= t->n > 0; /* the slash */
    t->at[t->n] = '\0';
}

static int go_down(struct trail *t, const char *name)
{
    size_t n = strlen(name) + (t->n != 0);
    if (n > ATLAS_MAX_PATH_BYTES - t->n) {
        return fail(t, ATLAS_E_LIMIT, "is a link to a path that is too long");
    }
    snprintf(t->at + t->n, sizeof t->at - t->n, "%s%s", t->n != 0 ? "/" : "", name);
    t->n += n;
    return ATLAS_OK;
}

/* Put the target of a link before what is still to go. */
static int splice(struct trail *t, struct atlas_span target)
{
    size_t n = strlen(t->rest);
    if (target.n == 0 || target.p[0] == '/') {
        return escape(t);
    }
    if (++t->hops > ATLAS_MAX_LINK_HOPS) {
        return fail(t, ATLAS_E_REFUSED, "is a link in a loop, or one of too many in a row");
    }
    if (target.n > ATLAS_MAX_PATH_BYTES || target.n + 1 + n >= sizeof t->rest) {
        return fail(t, ATLAS_E_LIMIT, "is a link whose target is too long");
    }
    memmove(t->rest + target.n + 1, t->rest, n + 1);
    memcpy(t->rest, target.p, target.n);
    t->rest[target.n] = n != 0 ? '/' : '\0';
    return ATLAS_OK;
}

/* "../../" and so on, up levels above the root; "." for none. */
static void above(size_t up, char *out, size_t size)
{
    snprintf(out, size, ".");
    for (size_t i = 0; i < up && 3 * i + 4 <= size; i++) {
        memcpy(out + 3 * i, "../", 4);
    }
}

/* Open blobs/ of the cache repository whose directory is t->up levels above the root: the root must be its snapshots/,
 * or lie below it. Compared by identity, so no name of a directory above is trusted. */
static int open_blobs(struct trail *t)
{
    struct atlas_link_scope *scope = t->scope;
    struct atlas_error cause = ATLAS_ERROR_INIT;
    struct atlas_file_id snapshots;
    struct atlas_file_id below;
    char text[3 * ATLAS_MAX_PATH_DEPTH + 1];
    int repository = ATLAS_FILE_CLOSED;
    int rc;
    if (scope->blobs != ATLAS_FILE_CLOSED || t->up > ATLAS_MAX_PATH_DEPTH) {
        return scope->blobs != ATLAS_FILE_CLOSED && scope->up == t->up ? ATLAS_OK : escape(t);
    }
    above(t->up - 1, text, sizeof text);
    ATLAS_TRY(atlas_file_stat(scope->root, text, false, "", &below, &cause));
    above(t->up, text, sizeof text);
    ATLAS_TRY(atlas_file_open_directory(scope->root, text, false, "", &repository, &cause));
    ATLAS_TRY(atlas_file_stat(repository, "snapshots", false, "", &snapshots, &cause));
    if (!atlas_file_is_same(&snapshots, &below)) {
        ATLAS_TRY(ATLAS_E_REFUSED);
    }
    ATLAS_TRY(atlas_file_open_directory(repository, "blobs", false, "", &scope->blobs, &cause));
    scope->up = t->up;
out:
    atlas_file_close(&repository);
    return rc < 0 ? missed(t, rc, &cause, escape) : rc;
}

/* The trail left the root: only `blobs/NAME` of the same cache repository, a regular file, is inside again. */
static int step_outside(struct trail *t, const char *name)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    char blob[ATLAS_MAX_PATH_BYTES + 1];
    int rc;
    if (strcmp(name, "blobs") != 0 || !take(t, blob, sizeof blob) || t->rest[0] != '\0') {
        return escape(t);
    }
    ATLAS_TRY(open_blobs(t));
    rc = atlas_file_stat(t->scope->blobs, blob, false, "", &t->id, &cause);
    if (rc < 0) {
        return missed(t, rc, &cause, dangling);
    }
    if (t->id.type != ATLAS_FILE_REGULAR) { /* "." and ".." end here too */
        return escape(t);
    }
    ATLAS_TRY(go_down(t, blob));
    t->is_blob = true;
    t->up = 0;
out:
    return rc;
}

/* One component inside the root: look at it without following it. */
static int step_inside(struct trail *t, const char *name)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    struct atlas_buf target = ATLAS_BUF_INIT;
    int dir = ATLAS_FILE_CLOSED;
    int rc = atlas_file_open_beneath(t->scope->root, t->at, "", &dir, &cause);
    if (rc == ATLAS_OK) {
        rc = atlas_file_stat(dir, name, false, "", &t->id, &cause);
    }
    if (rc < 0) {
        ATLAS_TRY(missed(t, rc, &cause, dangling));
    }
    if (t->id.type == ATLAS_FILE_LINK) {
        rc = atlas_file_read_link(dir, name, "", &target, &cause);
        ATLAS_TRY(rc < 0 ? missed(t, rc, &cause, dangling) : rc);
        ATLAS_TRY(splice(t, atlas_buf_span(&target)));
    } else if (t->id.type == ATLAS_FILE_OTHER) {
        ATLAS_TRY(fail(t, ATLAS_E_REFUSED, "is a link to a device, a FIFO or a socket"));
    } else if (t->id.type == ATLAS_FILE_REGULAR && t->rest[0] != '\0') {
        ATLAS_TRY(dangling(t)); /* a file in the place of a directory */
    } else {
        ATLAS_TRY(go_down(t, name));
    }
out:
    atlas_file_close(&dir);
    atlas_buf_release(&target);
    return rc;
}

static int follow(struct trail *t)
{
    char name[ATLAS_MAX_PATH_BYTES + 1];
    int rc = ATLAS_OK;
    while (take(t, name, sizeof name)) {
        if (strcmp(name, ".") == 0) {
            continue;
        }
        if (strcmp(name, "..") == 0) {
            go_up(t);
        } else if (t->up > 0) {
            ATLAS_TRY(step_outside(t, name));
        } else {
            ATLAS_TRY(step_inside(t, name));
        }
    }
    if (t->up > 0) {
        ATLAS_TRY(escape(t));
    }
out:
    return rc;
}

int atlas_link_resolve(struct atlas_link_scope *scope, const char *path, const char *directory,
                       struct atlas_span target, struct atlas_link *ret_link, struct atlas_error *error)
{
    struct trail t = {.scope = scope, .error = error, .path = path, .id = {.type = ATLAS_FILE_DIRECTORY}};
    int rc;
    ATLAS_TRY(go_down(&t, directory));
    ATLAS_TRY(splice(&t, target));
    ATLAS_TRY(follow(&t));
    memcpy(ret_link->real, t.at, t.n + 1);
    ret_link->is_blob = t.is_blob;
    ret_link->id = t.id;
out:
    return rc;
}

void atlas_link_scope_release(struct atlas_link_scope *scope)
{
    atlas_file_close(&scope->blobs);
    scope->up = 0;
}
