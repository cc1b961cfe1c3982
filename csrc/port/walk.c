#include "port/walk.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/path.h"
#include "port/pool.h"
#include "port/walk_parts.h"

/* A directory still to be visited. */
struct place {
    char *path;
    char *real;       /* NULL: path */
    unsigned nesting; /* links to directories on the way */
};

/* What all threads share. */
struct crew {
    int root;
    struct atlas_link_scope *scope; /* inside the monitor */
    const struct atlas_span *ignore;
    size_t n_ignore;
    unsigned threads;
    unsigned depth; /* threads when they wait for a disk */
    atomic_size_t entries; /* seen so far, ignored ones too */
    atomic_size_t linked;  /* directories visited through links */
    struct atlas_monitor *monitor; /* guards what follows, and link.h */
    struct place *todo;
    size_t n_todo;
    size_t cap_todo;
    unsigned busy; /* threads that visit a directory */
    int rc;        /* of the first that failed */
    struct walker *walkers;
};

/* One thread's part of the walk. */
struct walker {
    struct crew *crew;
    struct atlas_walk part; /* its lists, in no order */
    struct atlas_walk *walk;
    struct atlas_error own;
    struct atlas_error *error;
};

/* One directory while it is visited. */
struct listing {
    const struct place *at;
    int dir;
    struct atlas_buf text;
    const char **names; /* sorted bytewise */
    struct atlas_file_id *ids; /* of a long listing: looked at in advance, by all threads. NULL: not yet */
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
    size_t d = strlen(directory);
    size_t n = strlen(name) + 1;
    char *path = malloc(d + 1 + n);
    if (path != NULL) {
        memcpy(path, directory, d); /* NOLINT(bugprone-not-null-terminated-result): the name follows */
        path[d] = '/';
        memcpy(path + d + (d != 0), name, n);
    }
    return path;
}

/* Takes path and real, also when it fails. */
static int push(struct walker *w, char *path, char *real, unsigned nesting)
{
    struct crew *crew = w->crew;
    atlas_monitor_enter(crew->monitor);
    void *todo = crew->todo;
    bool grown = path != NULL && grow(&todo, &crew->cap_todo, crew->n_todo, sizeof *crew->todo);
    crew->todo = todo;
    if (grown) {
        crew->todo[crew->n_todo++] = (struct place){path, real, nesting};
        atlas_monitor_wake(crew->monitor);
    }
    atlas_monitor_leave(crew->monitor);
    if (!grown) {
        free(path);
        free(real);
        return no_memory(w->error);
    }
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
    ATLAS_TRY(atlas_file_settle(dir, at->path, &directory.id, w->error));
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

/* ------------------------------------------------------------------------------------- what is left out */

bool atlas_walk_ignore_check(struct atlas_span entry)
{
    return entry.n <= ATLAS_MAX_PATH_BYTES && atlas_path_check_raw(entry);
}

static bool is_ignored(const struct crew *crew, const char *path, const char *name)
{
    for (size_t i = 0; i < crew->n_ignore; i++) {
        struct atlas_span entry = crew->ignore[i];
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
    atlas_monitor_enter(w->crew->monitor);
    rc = atlas_link_resolve(w->crew->scope, path, real_of(l->at), atlas_buf_span(&target), &link, w->error);
    atlas_monitor_leave(w->crew->monitor);
    ATLAS_TRY(rc);
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
    if (is_ignored(w->crew, path, l->names[i])) {
        goto out;
    }
    if (strlen(path) > ATLAS_MAX_PATH_BYTES || atlas_path_depth(path) > ATLAS_MAX_PATH_DEPTH) {
        ATLAS_TRY(fail_at(w, ATLAS_E_LIMIT, path, "its path is too long or too deep"));
    }
    if (l->ids != NULL) {
        id = l->ids[i];
    }
    if (id.type == ATLAS_FILE_NONE) {
        rc = atlas_file_stat(l->dir, l->names[i], false, path, &id, &cause);
        ATLAS_TRY(pass_on(w, rc, path, &cause));
    }
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

/* From so many names on all threads look at them, so many at a time. */
#define LONG_LISTING 4096
#define LOOKS 512

struct looks {
    const struct crew *crew;
    struct listing *listing;
};

/* What cannot be looked at is left to visit_entry. */
static int look(void *context, unsigned worker, uint64_t item, struct atlas_error *error)
{
    const struct looks *looks = context;
    struct listing *l = looks->listing;
    size_t end = (size_t)(item + 1) * LOOKS < l->n ? (size_t)(item + 1) * LOOKS : l->n;
    (void)worker;
    for (size_t i = (size_t)item * LOOKS; i < end; i++) {
        char *path = join(l->at->path, l->names[i]);
        if (path == NULL) {
            return no_memory(error);
        }
        if (!is_ignored(looks->crew, path, l->names[i])) {
            (void)!atlas_file_stat(l->dir, l->names[i], false, "", &l->ids[i], NULL);
        }
        free(path);
    }
    return ATLAS_OK;
}

static int look_ahead(struct walker *w, struct listing *l)
{
    struct looks looks = {w->crew, l};
    if (l->n < LONG_LISTING || w->crew->depth == 1) {
        return ATLAS_OK;
    }
    l->ids = calloc(l->n, sizeof *l->ids);
    if (l->ids == NULL) {
        return no_memory(w->error);
    }
    return atlas_pool_for_deep(w->crew->threads, w->crew->depth, (l->n + LOOKS - 1) / LOOKS, look, &looks, w->error);
}

static int visit(struct walker *w, const struct place *at)
{
    struct crew *crew = w->crew;
    struct listing l = {.at = at, .dir = ATLAS_FILE_CLOSED, .text = ATLAS_BUF_INIT};
    struct atlas_error cause = ATLAS_ERROR_INIT;
    char where[sizeof cause.where];
    int rc;
    if (at->nesting > 0 && atomic_fetch_add(&crew->linked, 1) >= ATLAS_MAX_LINKED_DIRECTORIES) {
        return fail_at(w, ATLAS_E_LIMIT, at->path, "too many directories reached through links");
    }
    atlas_path_where(at->path, true, where, sizeof where);
    rc = atlas_file_open_beneath(crew->root, real_of(at), where, &l.dir, &cause);
    ATLAS_TRY(pass_on(w, rc, at->path, &cause));
    ATLAS_TRY(add_directory(w, at, l.dir));
    ATLAS_TRY(atlas_file_list(l.dir, where, ATLAS_MAX_FILES - atomic_load(&crew->entries), &l.text, &l.n, w->error));
    if (atomic_fetch_add(&crew->entries, l.n) > ATLAS_MAX_FILES - l.n) {
        ATLAS_TRY(atlas_error_set(w->error, ATLAS_E_LIMIT, where, "too many files"));
    }
    ATLAS_TRY(listing_sort(w, &l));
    ATLAS_TRY(look_ahead(w, &l));
    for (size_t i = 0; i < l.n; i++) {
        ATLAS_TRY(visit_entry(w, &l, i));
    }
out:
    atlas_file_close(&l.dir);
    atlas_buf_release(&l.text);
    free(l.names);
    free(l.owners);
    free(l.ids);
    return rc;
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

/* Inside the monitor: the next directory to visit; false when there is none, and none can come any more. */
static bool next_place(struct crew *crew, struct place *ret_place)
{
    while (crew->rc == ATLAS_OK && crew->n_todo == 0 && crew->busy != 0) {
        atlas_monitor_wait(crew->monitor);
    }
    if (crew->rc < 0 || crew->n_todo == 0) {
        return false;
    }
    *ret_place = crew->todo[--crew->n_todo];
    return true;
}

static void work(void *context, unsigned worker, struct atlas_pool *pool)
{
    struct crew *crew = context;
    struct walker *w = &crew->walkers[worker];
    struct place at;
    atlas_monitor_enter(crew->monitor);
    while (next_place(crew, &at)) {
        crew->busy++;
        atlas_monitor_leave(crew->monitor);
        uint64_t sleeps = atlas_pool_sleeps();
        int rc = visit(w, &at);
        if (atlas_pool_sleeps() != sleeps) {
            atlas_pool_more(pool);
        }
        free(at.path);
        free(at.real);
        atlas_monitor_enter(crew->monitor);
        crew->busy--;
        crew->rc = crew->rc == ATLAS_OK ? rc : crew->rc;
        if (crew->busy == 0 || rc < 0) {
            atlas_monitor_wake(crew->monitor);
        }
    }
    atlas_monitor_leave(crew->monitor);
    atlas_walk_sort_files(w->walk);
}

static int crew_init(struct crew *crew, struct atlas_error *error)
{
    int rc;
    crew->walkers = calloc(crew->depth, sizeof *crew->walkers);
    if (crew->walkers == NULL) {
        return no_memory(error);
    }
    for (unsigned i = 0; i < crew->depth; i++) {
        struct walker *w = &crew->walkers[i];
        *w = (struct walker){.crew = crew, .part = ATLAS_WALK_INIT, .own = ATLAS_ERROR_INIT};
        w->walk = &w->part;
        w->error = &w->own;
    }
    ATLAS_TRY(atlas_monitor_new(&crew->monitor, error));
    rc = push(&crew->walkers[0], join("", ""), NULL, 0) < 0 ? no_memory(error) : ATLAS_OK;
out:
    return rc;
}

static void crew_release(struct crew *crew)
{
    while (crew->n_todo > 0) {
        crew->n_todo--;
        free(crew->todo[crew->n_todo].path);
        free(crew->todo[crew->n_todo].real);
    }
    free(crew->todo);
    for (unsigned i = 0; crew->walkers != NULL && i < crew->depth; i++) {
        atlas_walk_release(&crew->walkers[i].part);
    }
    free(crew->walkers);
    atlas_monitor_free(crew->monitor);
}

static int run_with(int root, const struct atlas_span *ignore, size_t n_ignore, unsigned threads, unsigned depth,
                    struct atlas_walk *ret_walk, struct atlas_error *error)
{
    struct atlas_walk walk = ATLAS_WALK_INIT;
    struct crew crew = {.root = root, .scope = &walk.scope, .ignore = ignore, .n_ignore = n_ignore,
                        .threads = threads, .depth = depth, .rc = ATLAS_OK};
    int rc;
    walk.scope.root = root;
    ATLAS_TRY(crew_init(&crew, error));
    atlas_pool_run_deep(threads, depth, work, &crew);
    for (unsigned i = 0; crew.rc < 0 && i < depth; i++) {
        const struct atlas_error *cause = &crew.walkers[i].own;
        if (cause->code < 0) {
            ATLAS_TRY(atlas_error_set(error, cause->code, cause->where, "%s", cause->text));
        }
    }
    ATLAS_TRY(crew.rc);
    for (unsigned step = 1; step < depth; step *= 2) {
        for (unsigned i = 0; i + step < depth; i += 2 * step) {
            ATLAS_TRY(atlas_walk_take_part(&crew.walkers[i].part, &crew.walkers[i + step].part, error));
        }
    }
    ATLAS_TRY(atlas_walk_take_part(&walk, &crew.walkers[0].part, error));
    ATLAS_TRY(atlas_walk_finish(&walk, error));
    *ret_walk = walk;
    walk = ATLAS_WALK_INIT;
out:
    crew_release(&crew);
    atlas_walk_release(&walk);
    return rc;
}

int atlas_walk_run(int root, const struct atlas_span *ignore, size_t n_ignore, unsigned threads,
                   struct atlas_walk *ret_walk, struct atlas_error *error)
{
    unsigned depth = atlas_pool_depth(threads);
    int rc;
    ATLAS_TRY(check_ignore(ignore, n_ignore, error));
    threads = atlas_pool_threads(threads);
    if (depth > 1 && run_with(root, ignore, n_ignore, threads, depth, ret_walk, NULL) == ATLAS_OK) {
        return ATLAS_OK;
    }
    /* Which of several errors threads meet first is chance: one thread alone always meets the same. */
    ATLAS_TRY(run_with(root, ignore, n_ignore, 1, 1, ret_walk, error));
out:
    return rc;
}
