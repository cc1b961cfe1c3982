#include "port/walk.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/path.h"
#include "port/volume.h"

/* A directory still to be visited. */
struct place {
    char *path;
    char *real;       /* NULL: path */
    unsigned nesting; /* links to directories on the way */
};

struct walker {
    struct atlas_walk *walk;
    const struct atlas_span *ignore;
    size_t n_ignore;
    struct place *todo;
    size_t n_todo;
    size_t cap_todo;
    size_t entries; /* seen so far, ignored ones too */
    size_t linked;  /* directories visited through links */
    struct atlas_error *error;
};

/* One directory while it is visited. */
struct listing {
    const struct place *at;
    int dir;
    struct atlas_buf text;
    const char **names; /* sorted bytewise */
    bool *owners;       /* listed files and directories: what a sidecar can belong to */
    size_t n;
};

static int fail_at(struct walker *w, int code, const char *path, const char *text)
{
    char where[sizeof w->error->where];
    atlas_path_where(path, true, where, sizeof where);
    return atlas_error_set(w->error, code, where, "%s", text);
}

static int no_memory(struct atlas_error *error)
{
    return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
}

/* What was listed a moment ago and is gone or something else now has changed. */
static int pass_on(struct walker *w, int rc, const char *path, const struct atlas_error *cause)
{
    if (rc == ATLAS_E_NOT_FOUND) {
        return fail_at(w, ATLAS_E_CHANGED, path, "vanished while the directory was read");
    }
    return rc < 0 ? atlas_error_set(w->error, rc, cause->where, "%s", cause->text) : rc;
}

/* ------------------------------------------------------------------------------------------------- lists */

/* Room for one more element of that size. */
static bool grow(void **list, size_t *cap, size_t n, size_t size)
{
    if (n < *cap) {
        return true;
    }
    size_t more = *cap < 16 ? 16 : *cap * 2;
    void *p = more <= SIZE_MAX / size ? realloc(*list, more * size) : NULL;
    if (p == NULL) {
        return false;
    }
    *list = p;
    *cap = more;
    return true;
}

/* "directory/name"; NULL when out of memory. */
static char *join(const char *directory, const char *name)
{
    size_t n = strlen(directory) + 1 + strlen(name) + 1;
    char *path = malloc(n);
    if (path != NULL) {
        snprintf(path, n, "%s%s%s", directory, directory[0] != '\0' ? "/" : "", name);
    }
    return path;
}

/* Takes path and real, also when it fails. */
static int push(struct walker *w, char *path, char *real, unsigned nesting)
{
    void *todo = w->todo;
    bool grown = path != NULL && grow(&todo, &w->cap_todo, w->n_todo, sizeof *w->todo);
    w->todo = todo;
    if (!grown) {
        free(path);
        free(real);
        return no_memory(w->error);
    }
    w->todo[w->n_todo++] = (struct place){path, real, nesting};
    return ATLAS_OK;
}

/* Takes the strings of file, also when it fails. */
static int add_file(struct walker *w, struct atlas_walk_file file)
{
    struct atlas_walk *walk = w->walk;
    void *files = walk->files;
    bool grown = file.path != NULL && grow(&files, &walk->cap_files, walk->n_files, sizeof *walk->files);
    walk->files = files;
    if (!grown) {
        free(file.path);
        free(file.real);
        return no_memory(w->error);
    }
    walk->files[walk->n_files++] = file;
    return ATLAS_OK;
}

static int add_link(struct walker *w, const char *path, const char *target)
{
    struct atlas_walk *walk = w->walk;
    struct atlas_walk_link link = {join("", path), join("", target)};
    void *links = walk->links;
    bool grown = link.path != NULL && link.target != NULL &&
                 grow(&links, &walk->cap_links, walk->n_links, sizeof *walk->links);
    walk->links = links;
    if (!grown) {
        free(link.path);
        free(link.target);
        return no_memory(w->error);
    }
    walk->links[walk->n_links++] = link;
    return ATLAS_OK;
}

/* Before it is listed. */
static int add_directory(struct walker *w, const struct place *at, int dir)
{
    const char *real = at->real != NULL ? at->real : at->path;
    struct atlas_walk *walk = w->walk;
    struct atlas_walk_directory directory = {.real = join("", real)};
    void *directories = walk->directories;
    int rc = directory.real != NULL ? ATLAS_OK : no_memory(w->error);
    ATLAS_TRY(rc);
    ATLAS_TRY(atlas_file_stat_fd(dir, at->path, &directory.id, w->error));
    bool grown = grow(&directories, &walk->cap_directories, walk->n_directories, sizeof *walk->directories);
    walk->directories = directories;
    if (!grown) {
        rc = no_memory(w->error);
        goto out;
    }
    walk->directories[walk->n_directories++] = directory;
    directory.real = NULL;
out:
    free(directory.real);
    return rc;
}

void atlas_walk_release(struct atlas_walk *w)
{
    for (size_t i = 0; i < w->n_files; i++) {
        free(w->files[i].path);
        free(w->files[i].real);
    }
    for (size_t i = 0; i < w->n_links; i++) {
        free(w->links[i].path);
        free(w->links[i].target);
    }
    for (size_t i = 0; i < w->n_directories; i++) {
        free(w->directories[i].real);
    }
    free(w->files);
    free(w->links);
    free(w->directories);
    atlas_link_scope_release(&w->scope);
    *w = ATLAS_WALK_INIT;
}

/* ------------------------------------------------------------------------------------- what is left out */

bool atlas_walk_ignore_check(struct atlas_span entry)
{
    return entry.n <= ATLAS_MAX_PATH_BYTES && atlas_path_check_raw(entry);
}

static bool is_ignored(const struct walker *w, const char *path, const char *name)
{
    for (size_t i = 0; i < w->n_ignore; i++) {
        struct atlas_span entry = w->ignore[i];
        bool is_path = memchr(entry.p, '/', entry.n) != NULL;
        if (atlas_span_equal(entry, atlas_span_str(is_path ? path : name))) {
            return true;
        }
    }
    return false;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_owner(const struct listing *l, struct atlas_span name)
{
    size_t low = 0;
    size_t high = l->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = atlas_span_compare(atlas_span_str(l->names[middle]), name);
        if (order == 0) {
            return l->owners[middle];
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return false;
}

/* Does this file belong to a listed file or a directory beside it? The owner's name is a prefix, so it came before. */
static bool is_sidecar(const struct listing *l, const char *name)
{
    static const char *const suffixes[] = {".c2pa", ".c2pa-index", ".tlog-proof", ".c2pa.tlog-proof"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        size_t k = strlen(suffixes[i]);
        if (n > k && strcmp(name + n - k, suffixes[i]) == 0 && is_owner(l, atlas_span_of(name, n - k))) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------- visit */

static const char *real_of(const struct place *at)
{
    return at->real != NULL ? at->real : at->path;
}

static bool is_inside(const char *path, const char *directory)
{
    size_t n = strlen(directory);
    return n == 0 || (strncmp(path, directory, n) == 0 && (path[n] == '\0' || path[n] == '/'));
}

static int visit_linked_directory(struct walker *w, const struct listing *l, const char *path, const char *target)
{
    unsigned nesting = l->at->nesting + 1;
    if (is_inside(real_of(l->at), target)) {
        return fail_at(w, ATLAS_E_REFUSED, path, "is a link to a directory that it is in");
    }
    if (nesting > ATLAS_MAX_LINK_NESTING) {
        return fail_at(w, ATLAS_E_REFUSED, path, "is a link in a loop, or below too many linked directories");
    }
    char *real = join("", target);
    return real != NULL ? push(w, join("", path), real, nesting) : no_memory(w->error);
}

/* What a link leads to is listed under the link's own path. */
static int visit_target(struct walker *w, struct listing *l, size_t i, const char *path, const struct atlas_link *link,
                        const char *target)
{
    char *real;
    int rc;
    if (link->id.type == ATLAS_FILE_REGULAR && is_sidecar(l, l->names[i])) {
        return ATLAS_OK;
    }
    l->owners[i] = true;
    ATLAS_TRY(add_link(w, path, target));
    if (link->id.type == ATLAS_FILE_DIRECTORY) {
        return visit_linked_directory(w, l, path, link->real);
    }
    real = join("", link->real);
    if (real == NULL) {
        return no_memory(w->error);
    }
    ATLAS_TRY(add_file(w, (struct atlas_walk_file){join("", path), real, link->is_blob, link->id}));
out:
    return rc;
}

static int visit_link(struct walker *w, struct listing *l, size_t i, const char *path)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    struct atlas_buf target = ATLAS_BUF_INIT;
    struct atlas_link link;
    int rc = atlas_file_read_link(l->dir, l->names[i], path, &target, &cause);
    ATLAS_TRY(pass_on(w, rc, path, &cause));
    ATLAS_TRY(atlas_link_resolve(&w->walk->scope, path, real_of(l->at), atlas_buf_span(&target), &link, w->error));
    atlas_buf_append_u8(&target, 0);
    ATLAS_TRY(atlas_buf_check(&target, w->error));
    ATLAS_TRY(visit_target(w, l, i, path, &link, (const char *)target.p));
out:
    atlas_buf_release(&target);
    return rc;
}

/* A file or directory that is no link. */
static int visit_plain(struct walker *w, struct listing *l, size_t i, const char *path, const struct atlas_file_id *id)
{
    char *real = NULL;
    if (id->type == ATLAS_FILE_REGULAR && is_sidecar(l, l->names[i])) {
        return ATLAS_OK;
    }
    if (l->at->real != NULL) {
        real = join(l->at->real, l->names[i]);
        if (real == NULL) {
            return no_memory(w->error);
        }
        if (strlen(real) > ATLAS_MAX_PATH_BYTES) {
            free(real);
            return fail_at(w, ATLAS_E_LIMIT, path, "its path is too long");
        }
    }
    l->owners[i] = true;
    if (id->type == ATLAS_FILE_DIRECTORY) {
        return push(w, join("", path), real, l->at->nesting);
    }
    return add_file(w, (struct atlas_walk_file){join("", path), real, false, *id});
}

static unsigned count_components(const char *path)
{
    unsigned n = 1;
    for (; *path != '\0'; path++) {
        n += *path == '/';
    }
    return n;
}

static int visit_entry(struct walker *w, struct listing *l, size_t i)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    struct atlas_file_id id = {0};
    /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): listing_sort has filled all l->n names */
    char *path = join(l->at->path, l->names[i]);
    int rc = ATLAS_OK;
    if (path == NULL) {
        return no_memory(w->error);
    }
    if (is_ignored(w, path, l->names[i])) {
        goto out;
    }
    if (strlen(path) > ATLAS_MAX_PATH_BYTES || count_components(path) > ATLAS_MAX_PATH_DEPTH) {
        ATLAS_TRY(fail_at(w, ATLAS_E_LIMIT, path, "its path is too long or too deep"));
    }
    rc = atlas_file_stat(l->dir, l->names[i], false, path, &id, &cause);
    ATLAS_TRY(pass_on(w, rc, path, &cause));
    if (id.type == ATLAS_FILE_LINK) {
        ATLAS_TRY(visit_link(w, l, i, path));
    } else if (id.type == ATLAS_FILE_OTHER) {
        ATLAS_TRY(fail_at(w, ATLAS_E_REFUSED, path, "is a device, a FIFO or a socket"));
    } else {
        ATLAS_TRY(visit_plain(w, l, i, path, &id));
    }
out:
    free(path);
    return rc;
}

/* The names of l->text, sorted. */
static int listing_sort(struct walker *w, struct listing *l)
{
    if (l->n == 0) {
        return ATLAS_OK;
    }
    l->names = malloc(l->n * sizeof *l->names);
    l->owners = calloc(l->n, sizeof *l->owners);
    if (l->names == NULL || l->owners == NULL) {
        return no_memory(w->error);
    }
    const char *p = (const char *)l->text.p;
    for (size_t i = 0; i < l->n; i++) {
        l->names[i] = p;
        p += strlen(p) + 1;
    }
    qsort(l->names, l->n, sizeof *l->names, compare_names);
    return ATLAS_OK;
}

static int visit(struct walker *w, const struct place *at)
{
    struct listing l = {.at = at, .dir = ATLAS_FILE_CLOSED, .text = ATLAS_BUF_INIT};
    struct atlas_error cause = ATLAS_ERROR_INIT;
    char where[sizeof cause.where];
    int rc;
    if (at->nesting > 0 && ++w->linked > ATLAS_MAX_LINKED_DIRECTORIES) {
        return fail_at(w, ATLAS_E_LIMIT, at->path, "too many directories reached through links");
    }
    atlas_path_where(at->path, true, where, sizeof where);
    rc = atlas_file_open_beneath(w->walk->scope.root, real_of(at), where, &l.dir, &cause);
    ATLAS_TRY(pass_on(w, rc, at->path, &cause));
    ATLAS_TRY(add_directory(w, at, l.dir));
    ATLAS_TRY(atlas_file_list(l.dir, where, ATLAS_MAX_FILES - w->entries, &l.text, &l.n, w->error));
    w->entries += l.n;
    ATLAS_TRY(listing_sort(w, &l));
    for (size_t i = 0; i < l.n; i++) {
        ATLAS_TRY(visit_entry(w, &l, i));
    }
out:
    atlas_file_close(&l.dir);
    atlas_buf_release(&l.text);
    free(l.names);
    free(l.owners);
    return rc;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct atlas_walk_file *)a)->path, ((const struct atlas_walk_file *)b)->path);
}

static int compare_links(const void *a, const void *b)
{
    return strcmp(((const struct atlas_walk_link *)a)->path, ((const struct atlas_walk_link *)b)->path);
}

static int finish(struct walker *w)
{
    struct atlas_walk *walk = w->walk;
    if (walk->n_links != 0) {
        qsort(walk->links, walk->n_links, sizeof *walk->links, compare_links);
    }
    if (walk->n_files != 0) {
        qsort(walk->files, walk->n_files, sizeof *walk->files, compare_files);
    }
    for (size_t i = 1; i < walk->n_files; i++) {
        if (strcmp(walk->files[i - 1].path, walk->files[i].path) == 0) { /* POSIX lets a changing directory do that */
            return fail_at(w, ATLAS_E_CHANGED, walk->files[i].path, "was listed twice: the directory is changing");
        }
    }
    return ATLAS_OK;
}

static int check_ignore(const struct atlas_span *ignore, size_t n, struct atlas_error *error)
{
    if (n > ATLAS_MAX_IGNORE) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "ignore list", "more than %d entries", ATLAS_MAX_IGNORE);
    }
    for (size_t i = 0; i < n; i++) {
        if (!atlas_walk_ignore_check(ignore[i])) {
            return atlas_error_set(error, ATLAS_E_ARG, "ignore list", "an entry is neither a name nor a relative path");
        }
    }
    return ATLAS_OK;
}

int atlas_walk_run(int root, const struct atlas_span *ignore, size_t n_ignore, struct atlas_walk *ret_walk,
                   struct atlas_error *error)
{
    struct atlas_walk walk = ATLAS_WALK_INIT;
    struct atlas_error own = ATLAS_ERROR_INIT;
    struct walker w = {.walk = &walk, .ignore = ignore, .n_ignore = n_ignore, .error = error != NULL ? error : &own};
    int rc;
    walk.scope.root = root;
    ATLAS_TRY(check_ignore(ignore, n_ignore, w.error));
    ATLAS_TRY(push(&w, join("", ""), NULL, 0));
    while (w.n_todo > 0) {
        struct place at = w.todo[--w.n_todo];
        rc = visit(&w, &at);
        free(at.path);
        free(at.real);
        ATLAS_TRY(rc);
    }
    ATLAS_TRY(finish(&w));
    *ret_walk = walk;
    walk = ATLAS_WALK_INIT;
out:
    while (w.n_todo > 0) {
        w.n_todo--;
        free(w.todo[w.n_todo].path);
        free(w.todo[w.n_todo].real);
    }
    free(w.todo);
    atlas_walk_release(&walk);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- compare */

static bool is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool is_same_file(const struct atlas_walk_file *a, const struct atlas_walk_file *b)
{
    return strcmp(a->path, b->path) == 0 && is_same_text(a->real, b->real) && a->is_blob == b->is_blob &&
           atlas_file_id_equal(&a->id, &b->id);
}

/* The smaller of two paths at the same place of sorted lists is the one that the other list lacks. */
static const char *first_of(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        return a != NULL ? a : b;
    }
    return strcmp(a, b) <= 0 ? a : b;
}

static const char *file_path(const struct atlas_walk *w, size_t i)
{
    return i < w->n_files ? w->files[i].path : NULL;
}

static const char *link_path(const struct atlas_walk *w, size_t i)
{
    return i < w->n_links ? w->links[i].path : NULL;
}

const char *atlas_walk_difference(const struct atlas_walk *before, const struct atlas_walk *after)
{
    for (size_t i = 0; i < before->n_files || i < after->n_files; i++) {
        if (i >= before->n_files || i >= after->n_files || !is_same_file(&before->files[i], &after->files[i])) {
            return first_of(file_path(before, i), file_path(after, i));
        }
    }
    for (size_t i = 0; i < before->n_links || i < after->n_links; i++) {
        if (i >= before->n_links || i >= after->n_links ||
            strcmp(before->links[i].path, after->links[i].path) != 0 ||
            strcmp(before->links[i].target, after->links[i].target) != 0) {
            return first_of(link_path(before, i), link_path(after, i));
        }
    }
    return NULL;
}

static bool is_older(const struct atlas_file_id *id, int64_t since)
{
    return atlas_volume_nanoseconds(id->mtime_s, id->mtime_ns) < since &&
           atlas_volume_nanoseconds(id->ctime_s, id->ctime_ns) < since;
}

bool atlas_walk_is_still(const struct atlas_walk *w, int64_t since)
{
    struct atlas_file_id now = {0};
    bool still = w->n_links == 0; /* a link's way may lead through directories that were not listed */
    for (size_t i = 0; still && i < w->n_files; i++) {
        still = is_older(&w->files[i].id, since);
    }
    for (size_t i = 0; still && i < w->n_directories; i++) {
        const struct atlas_walk_directory *d = &w->directories[i];
        int fd = ATLAS_FILE_CLOSED;
        still = is_older(&d->id, since) &&
                atlas_file_open_beneath(w->scope.root, d->real, d->real, &fd, NULL) == ATLAS_OK &&
                atlas_file_stat_fd(fd, d->real, &now, NULL) == ATLAS_OK && atlas_file_id_equal(&now, &d->id);
        atlas_file_close(&fd);
    }
    return still;
}

/* ------------------------------------------------------------------------------------------------- open */

void atlas_walk_opener_release(struct atlas_walk_opener *o)
{
    atlas_file_close(&o->dir);
    atlas_buf_release(&o->path);
}

/* Make o->dir the directory of the first n bytes of path. */
static int opener_enter(struct atlas_walk_opener *o, const char *path, size_t n, bool is_blob, const char *where,
                        struct atlas_error *error)
{
    int rc;
    if (o->dir != ATLAS_FILE_CLOSED && o->is_blob == is_blob &&
        atlas_span_equal(atlas_span_of(o->path.p, o->path.n - 1), atlas_span_of(path, n))) {
        return ATLAS_OK;
    }
    atlas_file_close(&o->dir);
    atlas_buf_clear(&o->path);
    atlas_buf_append(&o->path, atlas_span_of(path, n));
    atlas_buf_append_u8(&o->path, 0);
    ATLAS_TRY(atlas_buf_check(&o->path, error));
    ATLAS_TRY(atlas_file_open_beneath(is_blob ? o->walk->scope.blobs : o->walk->scope.root, (const char *)o->path.p,
                                      where, &o->dir, error));
    o->is_blob = is_blob;
out:
    return rc;
}

int atlas_walk_open(struct atlas_walk_opener *o, const struct atlas_walk_file *file, int *ret_fd,
                    struct atlas_error *error)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    char where[sizeof cause.where];
    const char *path = file->real != NULL ? file->real : file->path;
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    atlas_path_where(file->path, true, where, sizeof where);
    int rc = opener_enter(o, path, slash != NULL ? (size_t)(slash - path) : 0, file->is_blob, where, &cause);
    if (rc == ATLAS_OK) {
        rc = atlas_file_open(o->dir, name, false, where, ret_fd, &cause);
    }
    if (rc == ATLAS_E_NOT_FOUND || rc == ATLAS_E_REFUSED) {
        return atlas_error_set(error, ATLAS_E_CHANGED, where, "vanished or was replaced while the directory was read");
    }
    return rc < 0 ? atlas_error_set(error, rc, cause.where, "%s", cause.text) : ATLAS_OK;
}
