#include "stage/measure_index.h"

#include <stdlib.h>

#include "base/utf8.h"
#include "format/index.h"
#include "port/lanes.h"
#include "stage/measure_scan.h"

/* So many lines are written by one thread: a power of two, so that they are one complete subtree. */
#define BLOCK_LEVELS 10
#define BLOCK_LINES ((size_t)1 << BLOCK_LEVELS)

/* So many messages are hashed together. */
#define TOGETHER 64

struct block {
    struct atlas_buf text;
    size_t n;
    struct atlas_digest roots[BLOCK_LEVELS + 1]; /* of its complete subtrees: of 2^i lines where bit i of n is set */
    bool is_utf8;
    bool done;
};

/* What one thread needs for any number of blocks. */
struct hand {
    bool ready;
    struct atlas_stream streams[TOGETHER];
    struct atlas_feed feeds[TOGETHER];
    struct atlas_buf entries;                    /* lines as they are hashed, each with a zero byte before it */
    size_t ends[TOGETHER];                       /* of them */
    uint8_t nodes[TOGETHER][1 + 2 * ATLAS_DIGEST_MAX];
    struct atlas_digest level[BLOCK_LINES];      /* one level of a block's tree */
};

struct writer {
    const struct atlas_walk *walk;
    const uint8_t *digests;
    int alg;
    struct block *blocks;
    size_t n_blocks;
    struct hand *hands;
    /* Of the thread that joins the blocks. */
    struct atlas_buf *index;
    struct atlas_merkle_range tree;
    struct atlas_stream flat;
    struct atlas_stream oms;
    struct atlas_monitor *monitor; /* guards what follows, and `done` of the blocks */
    size_t next_write; /* blocks below are written or being written */
    size_t next_join;  /* blocks below are in the index */
    int rc;
    struct atlas_error failure;
};

static struct atlas_span digest_of(const struct writer *w, size_t i)
{
    size_t size = atlas_alg_size(w->alg);
    return atlas_span_of(w->digests + i * size, size);
}

/* ------------------------------------------------------------------------------------------------- blocks */

static int hand_init(struct hand *h, int alg, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    if (h->ready) {
        return ATLAS_OK;
    }
    for (size_t i = 0; i < TOGETHER; i++) {
        ATLAS_TRY(atlas_stream_init(&h->streams[i], alg, false, error));
        h->feeds[i].stream = &h->streams[i];
    }
    h->ready = true;
out:
    return rc;
}

static void hand_release(struct hand *h)
{
    for (size_t i = 0; i < TOGETHER; i++) {
        atlas_stream_release(&h->streams[i]);
    }
    atlas_buf_release(&h->entries);
}

/* The leaves of the lines that were gathered: RFC 6962, 2.1. */
static int hash_leaves(struct hand *h, size_t first, size_t n, struct atlas_error *error)
{
    size_t start = 0;
    int rc;
    ATLAS_TRY(atlas_buf_check(&h->entries, error));
    for (size_t i = 0; i < n; i++) {
        h->feeds[i].bytes = atlas_span_of(h->entries.p + start, h->ends[i] - start);
        h->feeds[i].ret_digest = &h->level[first + i];
        start = h->ends[i];
    }
    ATLAS_TRY(atlas_streams_feed(h->feeds, n, error));
    atlas_buf_clear(&h->entries);
out:
    return rc;
}

static int write_lines(const struct writer *w, struct hand *h, struct block *b, size_t first, struct atlas_error *error)
{
    size_t gathered = 0;
    int rc = ATLAS_OK;
    b->is_utf8 = true;
    for (size_t i = 0; i < b->n; i++) {
        const struct atlas_walk_file *file = &w->walk->files[first + i];
        struct atlas_span path = atlas_span_str(file->path);
        size_t start = b->text.n;
        atlas_index_write_line(digest_of(w, first + i), digest_of(w, w->walk->n_files + first + i), file->id.size, path,
                               &b->text);
        ATLAS_TRY(atlas_buf_check(&b->text, error));
        b->is_utf8 = b->is_utf8 && atlas_utf8_check(path);
        atlas_buf_append_u8(&h->entries, 0x00);
        atlas_buf_append(&h->entries, atlas_span_sub(atlas_buf_span(&b->text), start, b->text.n - start - 1));
        h->ends[gathered++] = h->entries.n;
        if (gathered == TOGETHER || i + 1 == b->n) {
            ATLAS_TRY(hash_leaves(h, i + 1 - gathered, gathered, error));
            gathered = 0;
        }
    }
out:
    return rc;
}

/* Up to TOGETHER nodes, from the level below; they take the places of others that were used already. */
static int hash_nodes(struct hand *h, size_t first, size_t n, struct atlas_error *error)
{
    for (size_t i = 0; i < n; i++) {
        const struct atlas_digest *left = &h->level[2 * (first + i)];
        h->nodes[i][0] = 0x01;
        memcpy(h->nodes[i] + 1, left[0].b, left[0].n);
        memcpy(h->nodes[i] + 1 + left[0].n, left[1].b, left[1].n);
        h->feeds[i].bytes = atlas_span_of(h->nodes[i], 1 + 2 * (size_t)left[0].n);
    }
    for (size_t i = 0; i < n; i++) {
        h->feeds[i].ret_digest = &h->level[first + i];
    }
    return atlas_streams_feed(h->feeds, n, error);
}

static int hash_tree(struct hand *h, struct block *b, struct atlas_error *error)
{
    size_t n = b->n;
    int rc = ATLAS_OK;
    for (unsigned level = 0; n != 0; level++) {
        if ((n & 1) != 0) {
            b->roots[level] = h->level[n - 1];
        }
        n /= 2;
        for (size_t i = 0; i < n; i += TOGETHER) {
            ATLAS_TRY(hash_nodes(h, i, n - i < TOGETHER ? n - i : TOGETHER, error));
        }
    }
out:
    return rc;
}

static int write_block(const struct writer *w, struct hand *h, size_t number, struct atlas_error *error)
{
    struct block *b = &w->blocks[number];
    size_t first = number * BLOCK_LINES;
    int rc;
    b->n = w->walk->n_files - first < BLOCK_LINES ? w->walk->n_files - first : BLOCK_LINES;
    ATLAS_TRY(hand_init(h, w->alg, error));
    ATLAS_TRY(write_lines(w, h, b, first, error));
    ATLAS_TRY(hash_tree(h, b, error));
out:
    return rc;
}

/* --------------------------------------------------------------------------------------------------- join */

/* The next bytes of the index, and of what the root of OMS is over. */
static int feed(struct writer *w, struct atlas_span text, struct atlas_span flats, struct atlas_error *error)
{
    const struct atlas_feed feeds[2] = {{.stream = &w->flat, .bytes = text}, {.stream = &w->oms, .bytes = flats}};
    return atlas_streams_feed(feeds, 2, error);
}

/* The next block: into the index, its complete subtrees into the tree, largest first. */
static int join_block(struct writer *w, size_t number, struct atlas_error *error)
{
    struct block *b = &w->blocks[number];
    struct atlas_span flats = atlas_span_of(digest_of(w, number * BLOCK_LINES).p, b->n * atlas_alg_size(w->alg));
    int rc = ATLAS_OK;
    for (unsigned level = BLOCK_LEVELS + 1; level-- > 0;) {
        if ((b->n >> level & 1) != 0) {
            ATLAS_TRY(atlas_merkle_range_append_node(&w->tree, level, atlas_digest_span(&b->roots[level]), error));
        }
    }
    if (number == 0 && w->n_blocks <= SIZE_MAX / 2 / b->text.n) {
        atlas_buf_reserve(w->index, w->n_blocks * b->text.n); /* about what all will take */
    }
    atlas_buf_append(w->index, atlas_buf_span(&b->text));
    ATLAS_TRY(atlas_buf_check(w->index, error));
    ATLAS_TRY(feed(w, atlas_buf_span(&b->text), flats, error));
    atlas_buf_release(&b->text);
out:
    return rc;
}

/* Inside the monitor, which it leaves while it works: one block written, or joined by the first thread. False: there is
 * nothing left for this one. */
static bool step(struct writer *w, unsigned worker, struct atlas_error *error, int *ret_rc)
{
    bool joins = worker == 0 && w->next_join < w->n_blocks;
    size_t number;
    if (joins && w->blocks[w->next_join].done) {
        number = w->next_join++;
        atlas_monitor_leave(w->monitor);
        *ret_rc = join_block(w, number, error);
        atlas_monitor_enter(w->monitor);
    } else if (w->next_write < w->n_blocks) {
        number = w->next_write++;
        atlas_monitor_leave(w->monitor);
        *ret_rc = write_block(w, &w->hands[worker], number, error);
        atlas_monitor_enter(w->monitor);
        w->blocks[number].done = true;
        atlas_monitor_wake(w->monitor);
    } else if (joins) {
        atlas_monitor_wait(w->monitor);
    } else {
        return false;
    }
    return true;
}

static void work(void *context, unsigned worker)
{
    struct writer *w = context;
    struct atlas_error error = ATLAS_ERROR_INIT;
    int rc = ATLAS_OK;
    atlas_monitor_enter(w->monitor);
    while (w->rc == ATLAS_OK && rc == ATLAS_OK && step(w, worker, &error, &rc)) {
    }
    if (rc < 0 && w->rc == ATLAS_OK) {
        w->rc = rc;
        w->failure = error;
    }
    atlas_monitor_wake(w->monitor);
    atlas_monitor_leave(w->monitor);
}

/* ------------------------------------------------------------------------------------------------ the whole */

static int writer_init(struct writer *w, unsigned threads, struct atlas_error *error)
{
    size_t header = w->index->n;
    int rc = ATLAS_OK;
    w->n_blocks = (w->walk->n_files + BLOCK_LINES - 1) / BLOCK_LINES;
    w->blocks = calloc(w->n_blocks + 1, sizeof *w->blocks);
    w->hands = calloc(threads, sizeof *w->hands);
    if (w->blocks == NULL || w->hands == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    ATLAS_TRY(atlas_monitor_new(&w->monitor, error));
    ATLAS_TRY(atlas_stream_init(&w->flat, w->alg, true, error));
    ATLAS_TRY(atlas_stream_init(&w->oms, w->alg, true, error));
    atlas_merkle_range_init(&w->tree, w->alg, 0);
    atlas_index_write_header(w->alg, w->index);
    ATLAS_TRY(atlas_buf_check(w->index, error));
    struct atlas_span text = atlas_span_of(w->index->p + header, w->index->n - header);
    ATLAS_TRY(feed(w, text, atlas_span_of(NULL, 0), error));
out:
    return rc;
}

static void writer_release(struct writer *w, unsigned threads)
{
    for (size_t i = 0; w->blocks != NULL && i < w->n_blocks; i++) {
        atlas_buf_release(&w->blocks[i].text);
    }
    for (unsigned i = 0; w->hands != NULL && i < threads; i++) {
        hand_release(&w->hands[i]);
    }
    free(w->blocks);
    free(w->hands);
    atlas_stream_release(&w->flat);
    atlas_stream_release(&w->oms);
    atlas_monitor_free(w->monitor);
}

static int finish(struct writer *w, struct atlas_measurement *m, struct atlas_error *error)
{
    struct atlas_digest oms = {0};
    const struct atlas_feed last[2] = {{.stream = &w->flat, .ret_digest = &m->flat},
                                       {.stream = &w->oms, .ret_digest = &oms}};
    bool has_oms = w->alg == ATLAS_SHA256;
    int rc;
    ATLAS_TRY(atlas_merkle_range_root(&w->tree, &m->tree, error));
    ATLAS_TRY(atlas_streams_feed(last, 2, error));
    for (size_t i = 0; i < w->n_blocks; i++) {
        has_oms = has_oms && w->blocks[i].is_utf8; /* OMS refuses other names */
    }
    if (has_oms) {
        m->oms = oms;
    }
out:
    return rc;
}

int atlas_measure_write_index(const struct atlas_walk *walk, const uint8_t *digests,
                              const struct atlas_measure_options *options, struct atlas_buf *ret_index,
                              struct atlas_measurement *m, struct atlas_error *error)
{
    struct writer w = {.walk = walk, .digests = digests, .alg = options->alg, .index = ret_index, .rc = ATLAS_OK,
                       .flat = ATLAS_STREAM_INIT, .oms = ATLAS_STREAM_INIT, .failure = ATLAS_ERROR_INIT};
    unsigned threads = atlas_pool_threads(options->threads);
    int rc;
    threads = walk->n_files / BLOCK_LINES < threads ? (unsigned)(walk->n_files / BLOCK_LINES) + 1 : threads;
    ATLAS_TRY(writer_init(&w, threads, error));
    atlas_pool_run(threads, work, &w);
    if (w.rc < 0) {
        ATLAS_TRY(atlas_error_set(error, w.rc, w.failure.where, "%s", w.failure.text));
    }
    ATLAS_TRY(finish(&w, m, error));
out:
    writer_release(&w, threads);
    return rc;
}
