#include <stdlib.h>

#include "base/path.h"
#include "stage/measure_cache.h"
#include "stage/measure_index.h"
#include "stage/measure_scan.h"
#include "stage/measure_walk.h"

/* From this size on, threads help inside one file; below, only between files. */
#define LARGE_FILE (16 * ATLAS_CHUNK_SIZE)

/* What one thread needs for any number of files. */
struct hand {
    bool ready;
    struct atlas_sink sink;
    struct atlas_small *small;
    struct atlas_walk_opener opener;
    uint8_t *scratch;
    size_t room; /* bytes of scratch, and one more for an empty file */
};

/* Files of at most a chunk are read and digested so many at a time, or so many bytes: twice what fills the lanes of a
 * core with files of 4 KiB, and once with those of 100 KiB. Fewer when there are few files, so that every thread has
 * its share; and half of the bytes by threads that are there to wait for a disk, so that many take little memory. */
#define GROUP_FILES 32
#define GROUP_BYTES (2 * ATLAS_CHUNK_SIZE)
_Static_assert(GROUP_FILES <= ATLAS_SMALL_MAX, "they are digested together");

/* What is to be done with a file. */
enum { TO_READ = 0, IS_KNOWN, IS_KNOWN_VERITY, TO_CHECK, TO_KEEP, TO_KEEP_VERITY };

struct batch {
    const struct atlas_measure_options *options;
    const struct atlas_memory *memory;
    uint8_t *states;  /* one of the above for each file */
    atomic_bool is_false; /* a file that was checked is not what the cache said */
    const struct atlas_walk *walk;
    struct atlas_meter *meter;
    size_t digest_size;
    uint8_t *digests;  /* flat digests of all files in their order, then their trees */
    size_t *order;     /* large files, then those of more than a chunk, then small ones */
    size_t n_large;
    size_t n_medium;
    size_t n_order;
    size_t *groups;     /* where in order each group of small files begins, and where the last one ends */
    size_t n_groups;
    const size_t *todo; /* the part of order that is being worked on */
    unsigned inner;     /* threads inside one file */
    struct hand hands[ATLAS_MAX_THREADS];
};

static int no_memory(struct atlas_error *error)
{
    return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
}

static bool is_known(const struct batch *b, size_t file)
{
    return b->states[file] == IS_KNOWN || b->states[file] == IS_KNOWN_VERITY;
}

static struct atlas_span flat_of(const struct batch *b, size_t file)
{
    return atlas_span_of(b->digests + file * b->digest_size, b->digest_size);
}

static struct atlas_span tree_of(const struct batch *b, size_t file)
{
    return atlas_span_of(b->digests + (b->walk->n_files + file) * b->digest_size, b->digest_size);
}

/* ------------------------------------------------------------------------------------------------- files */

static int hand_init(struct hand *h, const struct batch *b, unsigned worker, struct atlas_error *error)
{
    int rc;
    if (h->ready) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_sink_init(&h->sink, b->options, error));
    h->opener = ATLAS_WALK_OPENER(b->walk);
    h->room = worker < atlas_pool_threads(b->options->threads) ? GROUP_BYTES : ATLAS_CHUNK_SIZE;
    h->scratch = malloc(h->room + 1);
    h->ready = true;
    if (h->scratch == NULL) {
        return no_memory(error);
    }
    ATLAS_TRY(atlas_small_new(b->options->alg, &h->small, error));
out:
    return rc;
}

static void hand_release(struct hand *h)
{
    if (h->ready) {
        atlas_sink_release(&h->sink);
        atlas_small_free(h->small);
        atlas_walk_opener_release(&h->opener);
        free(h->scratch);
    }
}

static void set_digests(struct batch *b, size_t file, const struct atlas_measurement *m)
{
    memcpy(b->digests + file * b->digest_size, m->flat.b, b->digest_size);
    memcpy(b->digests + (b->walk->n_files + file) * b->digest_size, m->tree.b, b->digest_size);
}

/* A file was read: is it what the cache said, and may it be remembered? */
static void after_one(struct batch *b, size_t index, const struct atlas_measurement *m,
                      const struct atlas_memory_look *look)
{
    const struct atlas_file_id *id = &b->walk->files[index].id;
    struct atlas_cache_hit hit;
    if (b->states[index] == TO_CHECK && atlas_memory_get(b->memory, id, true, true, &hit) &&
        !atlas_memory_agrees(&hit, m)) {
        atomic_store(&b->is_false, true);
    }
    if (b->states[index] == TO_READ && atlas_memory_may_keep(b->memory, look, id)) {
        b->states[index] = look->is_verity ? TO_KEEP_VERITY : TO_KEEP;
    }
}

/* The error names the file: only now, because a path takes long to encode. */
static int fail_at(const struct atlas_walk_file *file, int code, const char *text, struct atlas_error *error)
{
    char where[sizeof error->where];
    atlas_path_where(file->path, true, where, sizeof where);
    return atlas_error_set(error, code, where, "%s", text);
}

/* A file of more than a chunk. */
static int measure_one(void *context, unsigned worker, uint64_t i, struct atlas_error *error)
{
    struct batch *b = context;
    struct hand *h = &b->hands[worker];
    size_t index = b->todo[i];
    const struct atlas_walk_file *file = &b->walk->files[index];
    char where[sizeof error->where];
    struct atlas_measurement m;
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    atlas_path_where(file->path, true, where, sizeof where);
    ATLAS_TRY(hand_init(h, b, worker, error));
    ATLAS_TRY(atlas_walk_open(&h->opener, file, &fd, error));
    struct atlas_memory_look look = atlas_memory_look(b->memory, fd);
    struct atlas_measure_job job = {.fd = fd, .where = where, .expected = &file->id, .sink = &h->sink,
                                    .scratch = h->scratch, .threads = b->inner, .meter = b->meter,
                                    .is_caller = worker == 0};
    ATLAS_TRY(atlas_measure_open_file(&job, &m, error));
    set_digests(b, index, &m);
    after_one(b, index, &m, &look);
    if (worker == 0) {
        ATLAS_TRY(atlas_meter_tick(b->meter, false, error));
    }
out:
    atlas_file_close(&fd);
    return rc;
}

/* Is the open file the one that was listed, and of that version? */
static int check_version(int fd, const struct atlas_walk_file *file, bool is_read, struct atlas_error *error)
{
    struct atlas_file_id id = {0};
    int rc = is_read ? atlas_file_stat_fd(fd, "", &id, error) : atlas_file_settle(fd, "", &id, error);
    if (rc == ATLAS_OK && !atlas_file_id_equal(&id, &file->id)) {
        return atlas_error_set(error, ATLAS_E_CHANGED, "", "changed while the directory was read");
    }
    return rc;
}

/* All of a small file. Whether it changed meanwhile shows when everything is looked at once more; that may be spared
 * where only files that the cache knows were read, so there it is looked at here. A file that claims to be empty (in
 * /proc they do) is asked for a byte. */
static int read_small(struct batch *b, struct hand *h, size_t index, uint8_t *bytes, struct atlas_memory_look *ret_look,
                      struct atlas_error *error)
{
    const struct atlas_walk_file *file = &b->walk->files[index];
    struct atlas_error cause = ATLAS_ERROR_INIT;
    size_t size = (size_t)file->id.size;
    size_t got = 0;
    int fd = ATLAS_FILE_CLOSED;
    int rc = atlas_walk_open(&h->opener, file, &fd, error);
    if (rc < 0) {
        return rc;
    }
    *ret_look = atlas_memory_look(b->memory, fd);
    ATLAS_TRY(check_version(fd, file, false, &cause));
    ATLAS_TRY(atlas_file_read(fd, 0, bytes, size != 0 ? size : 1, "", &got, &cause));
    if (got != size) {
        ATLAS_TRY(atlas_error_set(&cause, ATLAS_E_CHANGED, "", "changed while it was read"));
    }
    if (b->states[index] == TO_CHECK) {
        ATLAS_TRY(check_version(fd, file, true, &cause));
    }
out:
    atlas_file_close(&fd);
    return rc < 0 ? fail_at(file, rc, cause.text, error) : ATLAS_OK;
}

/* As many of n small files as there is room for: first they are all read, then they are all digested. */
static int measure_some(struct batch *b, struct hand *h, const size_t *files, size_t n, bool ticks, size_t *ret_done,
                        struct atlas_error *error)
{
    struct atlas_memory_look looks[GROUP_FILES];
    struct atlas_measurement measured[GROUP_FILES];
    struct atlas_span bytes[GROUP_FILES];
    size_t used = 0;
    size_t i = 0;
    int rc;
    for (; i < n && b->walk->files[files[i]].id.size <= h->room - used; i++) {
        size_t size = (size_t)b->walk->files[files[i]].id.size;
        bytes[i] = atlas_span_of(h->scratch + used, size);
        ATLAS_TRY(read_small(b, h, files[i], h->scratch + used, &looks[i], error));
        used += size;
        atomic_fetch_add(&b->meter->done, size);
        if (ticks) {
            ATLAS_TRY(atlas_meter_tick(b->meter, false, error));
        }
    }
    *ret_done = i;
    ATLAS_TRY(atlas_small_digest(h->small, bytes, i, measured, error));
    while (i-- > 0) {
        set_digests(b, files[i], &measured[i]);
        after_one(b, files[i], &measured[i], &looks[i]);
    }
out:
    return rc;
}

static int measure_group(void *context, unsigned worker, uint64_t group, struct atlas_error *error)
{
    struct batch *b = context;
    struct hand *h = &b->hands[worker];
    size_t next = b->groups[group];
    size_t done = 0;
    int rc;
    ATLAS_TRY(hand_init(h, b, worker, error));
    for (; next < b->groups[group + 1]; next += done) {
        size_t n = b->groups[group + 1] - next;
        ATLAS_TRY(measure_some(b, h, b->order + next, n, worker == 0, &done, error));
    }
out:
    return rc;
}

/* Put the files of these sizes that are to be read into the order. */
static size_t put_in_order(struct batch *b, size_t next, uint64_t smallest, uint64_t largest)
{
    for (size_t i = 0; i < b->walk->n_files; i++) {
        uint64_t size = b->walk->files[i].id.size;
        if (size >= smallest && size <= largest && !is_known(b, i)) {
            b->order[next++] = i;
        }
    }
    return next;
}

static void make_groups(struct batch *b)
{
    size_t most = (b->n_order - b->n_large - b->n_medium) / (2 * atlas_pool_depth(b->options->threads));
    uint64_t bytes = 0;
    size_t files = 0;
    most = most < 4 ? 4 : most < GROUP_FILES ? most : GROUP_FILES;
    b->n_groups = 0;
    for (size_t i = b->n_large + b->n_medium; i < b->n_order; i++) {
        uint64_t size = b->walk->files[b->order[i]].id.size;
        if (files == 0 || files == most || bytes + size > GROUP_BYTES) {
            b->groups[b->n_groups++] = i;
            bytes = files = 0;
        }
        bytes += size;
        files++;
    }
    b->groups[b->n_groups] = b->n_order;
}

/* Sum of all sizes, and the order to work in. */
static int batch_plan(struct batch *b, struct atlas_error *error)
{
    uint64_t total = 0;
    for (size_t i = 0; i < b->walk->n_files; i++) {
        uint64_t size = b->walk->files[i].id.size;
        if (size > (uint64_t)INT64_MAX - total) {
            return atlas_error_set(error, ATLAS_E_LIMIT, "", "more bytes than can be counted");
        }
        total += size;
    }
    b->n_large = put_in_order(b, 0, LARGE_FILE, UINT64_MAX);
    b->n_medium = put_in_order(b, b->n_large, ATLAS_CHUNK_SIZE + 1, LARGE_FILE - 1) - b->n_large;
    b->n_order = put_in_order(b, b->n_large + b->n_medium, 0, ATLAS_CHUNK_SIZE);
    b->meter->total = total;
    make_groups(b);
    return ATLAS_OK;
}

/* Large files first, several at a time with the threads shared out; then the others, one thread each. */
static int batch_run(struct batch *b, struct atlas_error *error)
{
    unsigned threads = atlas_pool_threads(b->options->threads);
    unsigned depth = atlas_pool_depth(b->options->threads);
    int rc;
    ATLAS_TRY(batch_plan(b, error));
    unsigned outer = b->n_large < threads ? (unsigned)b->n_large : threads;
    b->todo = b->order;
    b->inner = outer > 0 ? (threads + outer - 1) / outer : 1;
    ATLAS_TRY(atlas_pool_for(outer, b->n_large, measure_one, b, error));
    b->todo = b->order + b->n_large;
    b->inner = 1;
    ATLAS_TRY(atlas_pool_for_deep(threads, depth, b->n_medium, measure_one, b, error));
    ATLAS_TRY(atlas_pool_for_deep(threads, depth, b->n_groups, measure_group, b, error));
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------- cache */

#define LOOKUPS 1024 /* by one thread at a time */

static int look_up(void *context, unsigned worker, uint64_t item, struct atlas_error *error)
{
    struct batch *b = context;
    size_t end = (size_t)(item + 1) * LOOKUPS < b->walk->n_files ? (size_t)(item + 1) * LOOKUPS : b->walk->n_files;
    (void)worker;
    (void)error;
    for (size_t i = (size_t)item * LOOKUPS; i < end; i++) {
        struct atlas_cache_hit hit;
        if (!atlas_memory_get(b->memory, &b->walk->files[i].id, true, true, &hit)) {
            continue;
        }
        b->states[i] = atlas_memory_draws(b->memory, i) ? TO_CHECK : hit.is_verity ? IS_KNOWN_VERITY : IS_KNOWN;
        if (is_known(b, i)) {
            atomic_fetch_add(&b->meter->done, b->walk->files[i].id.size);
        }
        memcpy(b->digests + i * b->digest_size, hit.flat.b, b->digest_size);
        memcpy(b->digests + (b->walk->n_files + i) * b->digest_size, hit.tree.b, b->digest_size);
    }
    return ATLAS_OK;
}

static int batch_look_up(struct batch *b, struct atlas_error *error)
{
    size_t n = b->walk->n_files;
    int rc = ATLAS_OK;
    b->digests = malloc(2 * n * b->digest_size + 1);
    b->order = malloc((n + 1) * sizeof *b->order);
    b->groups = malloc((n + 1) * sizeof *b->groups);
    b->states = calloc(n + 1, sizeof *b->states);
    if (b->digests == NULL || b->order == NULL || b->groups == NULL || b->states == NULL) {
        return no_memory(error);
    }
    if (b->memory->use != NULL) {
        unsigned threads = atlas_pool_threads(b->options->threads);
        ATLAS_TRY(atlas_pool_for(threads, (n + LOOKUPS - 1) / LOOKUPS, look_up, b, error));
    }
out:
    return rc;
}

static void count_known(const struct batch *b)
{
    struct atlas_measure_cache *use = b->memory->use;
    for (size_t i = 0; use != NULL && i < b->walk->n_files; i++) {
        use->files += is_known(b, i);
        use->verity += b->states[i] == IS_KNOWN_VERITY;
        use->checked += b->states[i] == TO_CHECK;
    }
}

/* Was every file known, whether it was read all the same or not? */
static bool all_known(const struct batch *b)
{
    const struct atlas_measure_cache *use = b->memory->use;
    return use != NULL && !use->is_false && use->files + use->checked == b->walk->n_files;
}

/* Bytes that are not what the cache said in this version: nothing that it says is believed, everything is read. */
static int batch_distrust(struct batch *b, struct atlas_error *error)
{
    struct atlas_measure_cache *use = b->memory->use;
    int rc;
    use->is_false = true;
    use->files = use->checked = use->verity = 0;
    atlas_cache_forget(use->cache);
    memset(b->states, TO_READ, b->walk->n_files);
    atomic_store(&b->meter->done, 0);
    ATLAS_TRY(batch_run(b, error));
out:
    return rc;
}

static int batch_remember(const struct batch *b, struct atlas_error *error)
{
    struct atlas_cache_hit hit = {0};
    int rc = ATLAS_OK;
    for (size_t i = 0; b->memory->use != NULL && i < b->walk->n_files; i++) {
        if (b->states[i] != TO_KEEP && b->states[i] != TO_KEEP_VERITY) {
            continue;
        }
        hit.is_verity = b->states[i] == TO_KEEP_VERITY;
        if (atlas_digest_set(&hit.flat, b->options->alg, flat_of(b, i)) &&
            atlas_digest_set(&hit.tree, b->options->alg, tree_of(b, i))) {
            ATLAS_TRY(atlas_cache_put(b->memory->use->cache, &b->memory->volume, &b->walk->files[i].id, &hit, error));
        }
    }
out:
    return rc;
}

static void batch_release(struct batch *b)
{
    for (size_t i = 0; i < ATLAS_MAX_THREADS; i++) {
        hand_release(&b->hands[i]);
    }
    free(b->digests);
    free(b->order);
    free(b->groups);
    free(b->states);
    free(b);
}

/* ---------------------------------------------------------------------------------------------- directory */

/* Everything between the first look and the last one. */
static int measure_walk(struct batch *b, struct atlas_buf *index, struct atlas_buf *links, struct atlas_measurement *m,
                        struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(batch_look_up(b, error));
    ATLAS_TRY(batch_run(b, error));
    count_known(b);
    if (atomic_load(&b->is_false)) {
        ATLAS_TRY(batch_distrust(b, error));
    }
    *m = (struct atlas_measurement){.kind = ATLAS_KIND_DIRECTORY, .size = b->meter->total, .files = b->walk->n_files};
    ATLAS_TRY(atlas_measure_write_index(b->walk, b->digests, b->options, index, m, error));
    atlas_measure_write_links(b->walk, links);
    ATLAS_TRY(atlas_buf_check(links, error));
out:
    return rc;
}

int atlas_measure_directory(const char *path, const struct atlas_measure_options *options,
                            const struct atlas_span *ignore, size_t n_ignore, struct atlas_buf *ret_index,
                            struct atlas_buf *ret_links, struct atlas_measurement *ret_measurement,
                            struct atlas_error *error)
{
    struct atlas_measure_options both = *options;
    char where[sizeof error->where];
    struct atlas_walk walk = ATLAS_WALK_INIT;
    struct atlas_buf index = ATLAS_BUF_INIT;
    struct atlas_buf links = ATLAS_BUF_INIT;
    struct atlas_measurement m;
    struct atlas_meter meter;
    struct atlas_file_id id = {0};
    struct atlas_memory memory;
    struct batch *b = NULL;
    int root = ATLAS_FILE_CLOSED;
    int rc;
    both.flat = both.tree = true; /* a line has both */
    atlas_path_where(path, false, where, sizeof where);
    atlas_meter_init(&meter, &both.progress);
    ATLAS_TRY(atlas_measure_options_check(&both, error));
    ATLAS_TRY(atlas_meter_tick(&meter, true, error));
    ATLAS_TRY(atlas_measure_open_root(path, where, &root, error));
    ATLAS_TRY(atlas_file_stat_fd(root, where, &id, error));
    ATLAS_TRY(atlas_memory_begin(&memory, &both, root, &id, error)); /* its clock before the first look */
    ATLAS_TRY(atlas_walk_run(root, ignore, n_ignore, options->threads, &walk, error));
    b = calloc(1, sizeof *b);
    if (b == NULL) {
        rc = no_memory(error);
        goto out;
    }
    b->options = &both;
    b->walk = &walk;
    b->meter = &meter;
    b->digest_size = atlas_alg_size(both.alg);
    b->memory = &memory;
    ATLAS_TRY(measure_walk(b, &index, &links, &m, error));
    if (!all_known(b) || !atlas_walk_is_still(&walk, memory.device, memory.start)) {
        ATLAS_TRY(atlas_measure_check_unchanged(path, where, &walk, ignore, n_ignore, options->threads, error));
    }
    ATLAS_TRY(batch_remember(b, error));
    ATLAS_TRY(atlas_meter_tick(&meter, true, error));
    atlas_buf_take(ret_index, &index);
    atlas_buf_take(ret_links, &links);
    ATLAS_TRY(atlas_buf_check(ret_index, error));
    ATLAS_TRY(atlas_buf_check(ret_links, error));
    *ret_measurement = m;
out:
    if (b != NULL) {
        batch_release(b);
    }
    atlas_walk_release(&walk);
    atlas_buf_release(&index);
    atlas_buf_release(&links);
    atlas_file_close(&root);
    return rc;
}
