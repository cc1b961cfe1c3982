#include <stdlib.h>

#include "base/path.h"
#include "base/utf8.h"
#include "format/index.h"
#include "stage/measure_scan.h"
#include "stage/measure_walk.h"

/* From this size on, threads help inside one file; below, only between files. */
#define LARGE_FILE (16 * ATLAS_CHUNK_SIZE)

/* What one thread needs for any number of files. */
struct hand {
    bool ready;
    struct atlas_sink sink;
    struct atlas_walk_opener opener;
    uint8_t *scratch;
};

struct batch {
    const struct atlas_measure_options *options;
    const struct atlas_walk *walk;
    struct atlas_meter *meter;
    size_t digest_size;
    uint8_t *digests;  /* flat digests of all files in their order, then their trees */
    size_t *order;     /* large files first */
    size_t n_large;
    const size_t *todo; /* the part of order that is being worked on */
    unsigned inner;     /* threads inside one file */
    struct hand hands[ATLAS_MAX_THREADS];
};

static int no_memory(struct atlas_error *error)
{
    return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
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

static int hand_init(struct hand *h, const struct batch *b, struct atlas_error *error)
{
    int rc;
    if (h->ready) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_sink_init(&h->sink, b->options, error));
    h->opener = ATLAS_WALK_OPENER(b->walk);
    h->scratch = malloc(ATLAS_CHUNK_SIZE);
    h->ready = true;
    if (h->scratch == NULL) {
        return no_memory(error);
    }
out:
    return rc;
}

static void hand_release(struct hand *h)
{
    if (h->ready) {
        atlas_sink_release(&h->sink);
        atlas_walk_opener_release(&h->opener);
        free(h->scratch);
    }
}

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
    ATLAS_TRY(hand_init(h, b, error));
    ATLAS_TRY(atlas_walk_open(&h->opener, file, &fd, error));
    struct atlas_measure_job job = {.fd = fd, .where = where, .expected = &file->id, .sink = &h->sink,
                                    .scratch = h->scratch, .threads = b->inner, .meter = b->meter,
                                    .is_caller = worker == 0};
    ATLAS_TRY(atlas_measure_open_file(&job, &m, error));
    memcpy(b->digests + index * b->digest_size, m.flat.b, b->digest_size);
    memcpy(b->digests + (b->walk->n_files + index) * b->digest_size, m.tree.b, b->digest_size);
    if (worker == 0) {
        ATLAS_TRY(atlas_meter_tick(b->meter, false, error));
    }
out:
    atlas_file_close(&fd);
    return rc;
}

/* Sum of all sizes, and the order to work in. */
static int batch_plan(struct batch *b, struct atlas_error *error)
{
    const struct atlas_walk *walk = b->walk;
    uint64_t total = 0;
    b->digests = malloc(2 * walk->n_files * b->digest_size + 1);
    b->order = malloc((walk->n_files + 1) * sizeof *b->order);
    if (b->digests == NULL || b->order == NULL) {
        return no_memory(error);
    }
    for (size_t i = 0; i < walk->n_files; i++) {
        uint64_t size = walk->files[i].id.size;
        if (size > (uint64_t)INT64_MAX - total) {
            return atlas_error_set(error, ATLAS_E_LIMIT, "", "more bytes than can be counted");
        }
        total += size;
        if (size >= LARGE_FILE) {
            b->order[b->n_large++] = i;
        }
    }
    size_t next = b->n_large;
    for (size_t i = 0; i < walk->n_files; i++) {
        if (walk->files[i].id.size < LARGE_FILE) {
            b->order[next++] = i;
        }
    }
    b->meter->total = total;
    return ATLAS_OK;
}

/* Large files first, several at a time with the threads shared out; then the small ones, one thread each. */
static int batch_run(struct batch *b, struct atlas_error *error)
{
    unsigned threads = atlas_pool_threads(b->options->threads);
    int rc;
    ATLAS_TRY(batch_plan(b, error));
    unsigned outer = b->n_large < threads ? (unsigned)b->n_large : threads;
    b->todo = b->order;
    b->inner = outer > 0 ? (threads + outer - 1) / outer : 1;
    ATLAS_TRY(atlas_pool_for(outer, b->n_large, measure_one, b, error));
    b->todo = b->order + b->n_large;
    b->inner = 1;
    ATLAS_TRY(atlas_pool_for(threads, b->walk->n_files - b->n_large, measure_one, b, error));
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
    free(b);
}

/* ------------------------------------------------------------------------------------------------ results */

static bool all_utf8(const struct atlas_walk *walk)
{
    for (size_t i = 0; i < walk->n_files; i++) {
        if (!atlas_utf8_check(atlas_span_str(walk->files[i].path))) {
            return false;
        }
    }
    return true;
}

static int write_index(const struct batch *b, struct atlas_buf *index, struct atlas_measurement *m,
                       struct atlas_error *error)
{
    struct atlas_merkle tree = {.hasher = ATLAS_HASHER_INIT};
    const struct atlas_walk *walk = b->walk;
    int rc;
    ATLAS_TRY(atlas_merkle_init(&tree, b->options->alg, error));
    atlas_index_write_header(b->options->alg, index);
    for (size_t i = 0; i < walk->n_files; i++) {
        const struct atlas_walk_file *file = &walk->files[i];
        size_t start = index->n;
        atlas_index_write_line(flat_of(b, i), tree_of(b, i), file->id.size, atlas_span_str(file->path), index);
        ATLAS_TRY(atlas_buf_check(index, error));
        struct atlas_span line = atlas_span_sub(atlas_buf_span(index), start, index->n - start - 1);
        ATLAS_TRY(atlas_merkle_append(&tree, line, error));
    }
    ATLAS_TRY(atlas_crypto_digest(b->options->alg, atlas_buf_span(index), &m->flat, error));
    ATLAS_TRY(atlas_merkle_root(&tree, &m->tree, error));
    if (all_utf8(walk)) { /* OMS refuses other names */
        struct atlas_span flats = atlas_span_of(b->digests, walk->n_files * b->digest_size);
        ATLAS_TRY(atlas_oms_root(b->options->alg, flats, &m->oms, error));
    }
out:
    atlas_merkle_release(&tree);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- directory */

/* Everything between the first look and the last one. */
static int measure_walk(struct batch *b, struct atlas_buf *index, struct atlas_buf *links, struct atlas_measurement *m,
                        struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(batch_run(b, error));
    *m = (struct atlas_measurement){.kind = ATLAS_KIND_DIRECTORY, .size = b->meter->total, .files = b->walk->n_files};
    ATLAS_TRY(write_index(b, index, m, error));
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
    struct batch *b = NULL;
    int root = ATLAS_FILE_CLOSED;
    int rc;
    both.flat = both.tree = true; /* a line has both */
    atlas_path_where(path, false, where, sizeof where);
    atlas_meter_init(&meter, &both.progress);
    ATLAS_TRY(atlas_measure_options_check(&both, error));
    ATLAS_TRY(atlas_meter_tick(&meter, true, error));
    ATLAS_TRY(atlas_measure_open_root(path, where, &root, error));
    ATLAS_TRY(atlas_walk_run(root, ignore, n_ignore, &walk, error));
    b = calloc(1, sizeof *b);
    if (b == NULL) {
        rc = no_memory(error);
        goto out;
    }
    b->options = &both;
    b->walk = &walk;
    b->meter = &meter;
    b->digest_size = atlas_alg_size(both.alg);
    ATLAS_TRY(measure_walk(b, &index, &links, &m, error));
    ATLAS_TRY(atlas_measure_check_unchanged(path, where, &walk, ignore, n_ignore, error));
    ATLAS_TRY(atlas_meter_tick(&meter, true, error));
    atlas_buf_append(ret_index, atlas_buf_span(&index));
    atlas_buf_append(ret_links, atlas_buf_span(&links));
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
