#include "port/walk_parts.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/path.h"
#include "port/pool.h"
#include "port/volume.h"

/* ------------------------------------------------------------------------------------------------- lists */

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

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct atlas_walk_file *)a)->path, ((const struct atlas_walk_file *)b)->path);
}

static int compare_links(const void *a, const void *b)
{
    return strcmp(((const struct atlas_walk_link *)a)->path, ((const struct atlas_walk_link *)b)->path);
}

/* Move a list to the end of another; false when out of memory. */
static bool move_list(void **list, size_t *n, size_t *cap, void *more, size_t n_more, size_t size)
{
    if (n_more == 0) {
        return true;
    }
    void *p = n_more <= SIZE_MAX / size - *n ? realloc(*list, (*n + n_more) * size) : NULL;
    if (p == NULL) {
        return false;
    }
    memcpy((uint8_t *)p + *n * size, more, n_more * size);
    *list = p;
    *n += n_more;
    *cap = *n;
    return true;
}

/* Merge the sorted files of a part into the sorted files of a walk. */
static bool merge_files(struct atlas_walk *walk, struct atlas_walk *part)
{
    const struct atlas_walk_file *a = walk->files;
    const struct atlas_walk_file *b = part->files;
    const struct atlas_walk_file *end_a = a + walk->n_files;
    const struct atlas_walk_file *end_b = b + part->n_files;
    if (part->n_files == 0) {
        return true;
    }
    if (walk->n_files == 0 || compare_files(end_a - 1, b) <= 0) {
        void *files = walk->files;
        bool moved = move_list(&files, &walk->n_files, &walk->cap_files, part->files, part->n_files, sizeof *b);
        walk->files = files;
        part->n_files = moved ? 0 : part->n_files;
        return moved;
    }
    size_t n = walk->n_files + part->n_files; /* both are in memory: no overflow */
    struct atlas_walk_file *merged = malloc(n * sizeof *merged);
    if (merged == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        bool first = b == end_b || (a != end_a && compare_files(a, b) <= 0);
        merged[i] = first ? *a++ : *b++;
    }
    free(walk->files);
    walk->files = merged;
    walk->n_files = walk->cap_files = n;
    part->n_files = 0;
    return true;
}

int atlas_walk_take_part(struct atlas_walk *walk, struct atlas_walk *part, struct atlas_error *error)
{
    void *links = walk->links;
    void *directories = walk->directories;
    bool taken = merge_files(walk, part) &&
                 move_list(&links, &walk->n_links, &walk->cap_links, part->links, part->n_links, sizeof *part->links);
    part->n_links = taken ? 0 : part->n_links;
    taken = taken && move_list(&directories, &walk->n_directories, &walk->cap_directories, part->directories,
                               part->n_directories, sizeof *part->directories);
    part->n_directories = taken ? 0 : part->n_directories;
    walk->links = links;
    walk->directories = directories;
    return taken ? ATLAS_OK : atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
}

void atlas_walk_sort_files(struct atlas_walk *walk)
{
    if (walk->n_files != 0) {
        qsort(walk->files, walk->n_files, sizeof *walk->files, compare_files);
    }
}

int atlas_walk_finish(struct atlas_walk *walk, struct atlas_error *error)
{
    char where[sizeof error->where];
    if (walk->n_links != 0) {
        qsort(walk->links, walk->n_links, sizeof *walk->links, compare_links);
    }
    for (size_t i = 1; i < walk->n_files; i++) {
        if (strcmp(walk->files[i - 1].path, walk->files[i].path) == 0) { /* POSIX lets a changing directory do that */
            atlas_path_where(walk->files[i].path, true, where, sizeof where);
            return atlas_error_set(error, ATLAS_E_CHANGED, where, "was listed twice: the directory is changing");
        }
    }
    return ATLAS_OK;
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

static bool is_older(const struct atlas_file_id *id, uint64_t device, int64_t since)
{
    return id->device == device &&
           atlas_volume_nanoseconds(id->mtime_s, id->mtime_ns) < since &&
           atlas_volume_nanoseconds(id->ctime_s, id->ctime_ns) < since;
}

bool atlas_walk_is_still(const struct atlas_walk *w, uint64_t device, int64_t since)
{
    struct atlas_file_id now = {0};
    bool still = w->n_links == 0; /* a link's way may lead through directories that were not listed */
    for (size_t i = 0; still && i < w->n_files; i++) {
        still = is_older(&w->files[i].id, device, since);
    }
    for (size_t i = 0; still && i < w->n_directories; i++) {
        const struct atlas_walk_directory *d = &w->directories[i];
        int fd = ATLAS_FILE_CLOSED;
        still = is_older(&d->id, device, since) &&
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
    const char *path = file->real != NULL ? file->real : file->path;
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    int rc = opener_enter(o, path, slash != NULL ? (size_t)(slash - path) : 0, file->is_blob, "", &cause);
    if (rc == ATLAS_OK) {
        rc = atlas_file_open_again(o->dir, name, "", ret_fd, &cause);
    }
    if (rc < 0) { /* only now: a path takes long to encode */
        char where[sizeof cause.where];
        bool gone = rc == ATLAS_E_NOT_FOUND || rc == ATLAS_E_REFUSED;
        atlas_path_where(file->path, true, where, sizeof where);
        return atlas_error_set(error, gone ? ATLAS_E_CHANGED : rc, where, "%s",
                               gone ? "vanished or was replaced while the directory was read" : cause.text);
    }
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------------ look again */

#define LOOKS 256 /* by one thread at a time */

struct again {
    const struct atlas_walk *walk;
    atomic_bool differs;
};

static size_t end_of(uint64_t item, size_t n)
{
    return (size_t)(item + 1) * LOOKS < n ? (size_t)(item + 1) * LOOKS : n;
}

static int look_at_files(void *context, unsigned worker, uint64_t item, struct atlas_error *error)
{
    struct again *a = context;
    struct atlas_walk_opener opener = ATLAS_WALK_OPENER(a->walk);
    struct atlas_file_id now = {0};
    bool differs = false;
    (void)worker;
    (void)error;
    for (size_t i = (size_t)item * LOOKS; !differs && i < end_of(item, a->walk->n_files); i++) {
        const struct atlas_walk_file *file = &a->walk->files[i];
        const char *slash = strrchr(file->path, '/');
        const char *name = slash != NULL ? slash + 1 : file->path;
        size_t n = slash != NULL ? (size_t)(slash - file->path) : 0;
        differs = opener_enter(&opener, file->path, n, false, "", NULL) < 0 ||
                  atlas_file_stat(opener.dir, name, false, "", &now, NULL) < 0 ||
                  !atlas_file_id_equal(&now, &file->id);
    }
    atlas_walk_opener_release(&opener);
    if (differs) {
        atomic_store(&a->differs, true);
    }
    return ATLAS_OK;
}

static int look_at_directories(void *context, unsigned worker, uint64_t item, struct atlas_error *error)
{
    struct again *a = context;
    struct atlas_file_id now = {0};
    (void)worker;
    (void)error;
    for (size_t i = (size_t)item * LOOKS; i < end_of(item, a->walk->n_directories); i++) {
        const struct atlas_walk_directory *d = &a->walk->directories[i];
        int fd = ATLAS_FILE_CLOSED;
        if (atlas_file_open_beneath(a->walk->scope.root, d->real, "", &fd, NULL) < 0 ||
            atlas_file_stat_fd(fd, "", &now, NULL) < 0 || !atlas_file_id_equal(&now, &d->id)) {
            atomic_store(&a->differs, true);
        }
        atlas_file_close(&fd);
    }
    return ATLAS_OK;
}

static bool look_again(struct again *a, unsigned threads, size_t n, atlas_pool_item item)
{
    return atlas_pool_for(threads, (n + LOOKS - 1) / LOOKS, item, a, NULL) == ATLAS_OK && !atomic_load(&a->differs);
}

bool atlas_walk_is_listed(const struct atlas_walk *w, unsigned threads)
{
    struct again a = {.walk = w};
    return look_again(&a, atlas_pool_threads(threads), w->n_directories, look_at_directories);
}

bool atlas_walk_is_same(const struct atlas_walk *w, uint64_t device, unsigned threads)
{
    struct again a = {.walk = w};
    if (w->n_links != 0) {
        return false;
    }
    for (size_t i = 0; i < w->n_directories; i++) {
        if (w->directories[i].id.device != device) {
            return false;
        }
    }
    return look_again(&a, atlas_pool_threads(threads), w->n_files, look_at_files) && atlas_walk_is_listed(w, threads);
}
