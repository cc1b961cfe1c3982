#include "stage/measure_scan.h"

#include <stdlib.h>


/* ------------------------------------------------------------------------------------------------- meter */

#define TICK_MILLISECONDS 50

void atlas_meter_init(struct atlas_meter *m, const struct atlas_progress *progress)
{
    m->progress = *progress;
    m->total = 0;
    m->begun = false;
    m->last = atlas_pool_clock();
    atomic_init(&m->done, 0);
}

int atlas_meter_tick(struct atlas_meter *m, bool always, struct atlas_error *error)
{
    if (m->progress.call == NULL) {
        return ATLAS_OK;
    }
    uint64_t now = atlas_pool_clock();
    uint64_t done = atomic_load(&m->done);
    bool first = !m->begun && done != 0;
    if (!always && !first && now - m->last < TICK_MILLISECONDS) {
        return ATLAS_OK;
    }
    m->begun = done != 0;
    m->last = now;
    if (m->progress.call(m->progress.context, done, m->total) != 0) {
        return atlas_error_set(error, ATLAS_E_CANCELLED, "", "the measurement was cancelled");
    }
    return ATLAS_OK;
}

/* -------------------------------------------------------------------------------------------------- sink */

int atlas_sink_init(struct atlas_sink *s, const struct atlas_measure_options *options, struct atlas_error *error)
{
    int rc;
    s->alg = options->alg;
    s->flat = options->flat;
    s->tree = options->tree;
    s->digests = NULL;
    s->size = 0;
    s->flat_stream = ATLAS_STREAM_INIT;
    ATLAS_TRY(atlas_merkle_init(&s->merkle, s->alg, error));
    ATLAS_TRY(atlas_stream_init(&s->flat_stream, s->alg, true, error));
out:
    if (rc < 0) {
        atlas_sink_release(s);
    }
    return rc;
}

void atlas_sink_release(struct atlas_sink *s)
{
    atlas_merkle_release(&s->merkle);
    atlas_stream_release(&s->flat_stream);
}

/* More of one message; with ret_digest its end. */
static int feed_one(struct atlas_stream *stream, struct atlas_span bytes, struct atlas_digest *ret_digest,
                    struct atlas_error *error)
{
    struct atlas_feed feed = {stream, bytes, ret_digest};
    return atlas_streams_feed(&feed, 1, error);
}

int atlas_oms_root(int alg, struct atlas_span flats, struct atlas_digest *ret_root, struct atlas_error *error)
{
    if (alg != ATLAS_SHA256) {
        *ret_root = (struct atlas_digest){0};
        return ATLAS_OK;
    }
    return atlas_crypto_digest(ATLAS_SHA256, flats, ret_root, error);
}

int atlas_sink_finish(struct atlas_sink *s, struct atlas_measurement *ret_measurement, struct atlas_error *error)
{
    struct atlas_measurement m = {.kind = ATLAS_KIND_FILE, .size = s->size, .files = 1};
    int rc = ATLAS_OK;
    if (s->flat) {
        ATLAS_TRY(feed_one(&s->flat_stream, ATLAS_SPAN_NONE, &m.flat, error));
        ATLAS_TRY(atlas_oms_root(s->alg, atlas_digest_span(&m.flat), &m.oms, error));
    }
    if (s->tree) {
        ATLAS_TRY(atlas_merkle_root(&s->merkle, &m.tree, error));
        atlas_merkle_reset(&s->merkle);
    }
    s->size = 0;
    *ret_measurement = m;
out:
    return rc;
}

int atlas_sink_whole(struct atlas_sink *s, struct atlas_span bytes, struct atlas_measurement *ret_measurement,
                     struct atlas_error *error)
{
    struct atlas_measurement m;
    struct atlas_digest digest;
    int rc;
    ATLAS_TRY(feed_one(&s->flat_stream, bytes, &digest, error));
    if (s->tree && bytes.n != 0) {
        ATLAS_TRY(atlas_merkle_append(&s->merkle, atlas_digest_span(&digest), error));
    }
    ATLAS_TRY(atlas_sink_finish(s, &m, error)); /* of the tree: the flat stream is empty again */
    m.size = bytes.n;
    if (s->flat) {
        m.flat = digest;
        ATLAS_TRY(atlas_oms_root(s->alg, atlas_digest_span(&digest), &m.oms, error));
    }
    *ret_measurement = m;
out:
    return rc;
}

int atlas_sink_chunk(struct atlas_sink *s, struct atlas_span digest, size_t n, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    if (s->tree) {
        ATLAS_TRY(atlas_merkle_append(&s->merkle, digest, error));
    }
    if (s->digests != NULL) {
        atlas_buf_append(s->digests, digest);
        ATLAS_TRY(atlas_buf_check(s->digests, error));
    }
    s->size += n;
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------- chunks */

size_t atlas_scan_size(const struct atlas_scan_source *source, uint64_t chunk)
{
    uint64_t left = source->size - chunk * ATLAS_CHUNK_SIZE;
    return left < ATLAS_CHUNK_SIZE ? (size_t)left : ATLAS_CHUNK_SIZE;
}

static int scan_load(const struct atlas_scan_source *source, uint64_t offset, size_t n, uint8_t *buffer,
                     struct atlas_span *ret_bytes, struct atlas_error *error)
{
    size_t got = 0;
    if (source->memory != NULL) {
        *ret_bytes = atlas_span_of(source->memory + (size_t)offset, n);
        return ATLAS_OK;
    }
    int rc = atlas_file_read(source->fd, offset, buffer, n, source->where, &got, error);
    if (rc == ATLAS_OK && got != n) {
        return atlas_error_set(error, ATLAS_E_CHANGED, source->where, "became shorter while it was read");
    }
    if (rc == ATLAS_OK) {
        *ret_bytes = atlas_span_of(buffer, n);
    }
    return rc;
}

int atlas_scan_load(const struct atlas_scan_source *source, uint64_t chunk, uint8_t *buffer,
                    struct atlas_span *ret_bytes, struct atlas_error *error)
{
    size_t n = atlas_scan_size(source, chunk);
    return scan_load(source, chunk * ATLAS_CHUNK_SIZE, n, buffer, ret_bytes, error);
}

/* ------------------------------------------------------------------------------------------- without flat */

/* Bounds memory: so many digests are taken before they go where they are wanted. */
#define ROUND ((uint64_t)8192)

struct bell {
    struct atlas_meter *meter;
    bool is_caller;
};

static int ring_bell(void *context, unsigned worker, uint64_t bytes, struct atlas_error *error)
{
    const struct bell *b = context;
    atomic_fetch_add(&b->meter->done, bytes);
    return b->is_caller && worker == 0 ? atlas_meter_tick(b->meter, false, error) : ATLAS_OK;
}

static int scan_round(struct atlas_sink *sink, const struct atlas_chunks *c, unsigned threads, uint8_t *digests,
                      struct atlas_error *error)
{
    size_t size = atlas_alg_size(sink->alg);
    int rc;
    ATLAS_TRY(atlas_chunks_digest(c, threads, digests, error));
    for (uint64_t at = 0; at < c->size; at += ATLAS_CHUNK_SIZE, digests += size) {
        uint64_t n = c->size - at < ATLAS_CHUNK_SIZE ? c->size - at : ATLAS_CHUNK_SIZE;
        ATLAS_TRY(atlas_sink_chunk(sink, atlas_span_of(digests, size), (size_t)n, error));
    }
out:
    return rc;
}

static int scan_unordered(struct atlas_sink *sink, const struct atlas_scan_source *source, unsigned threads,
                          struct atlas_meter *meter, bool is_caller, struct atlas_error *error)
{
    struct bell bell = {meter, is_caller};
    uint64_t chunks = (source->size - 1) / ATLAS_CHUNK_SIZE + 1;
    uint8_t *digests = malloc((size_t)(chunks < ROUND ? chunks : ROUND) * atlas_alg_size(sink->alg));
    int rc = ATLAS_OK;
    if (digests == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    for (uint64_t at = 0; at < source->size; at += ROUND * ATLAS_CHUNK_SIZE) {
        uint64_t left = source->size - at;
        struct atlas_chunks c = {.alg = sink->alg, .chunk = ATLAS_CHUNK_SIZE, .fd = source->fd, .offset = at,
                                 .memory = source->memory != NULL ? source->memory + (size_t)at : NULL,
                                 .size = left < ROUND * ATLAS_CHUNK_SIZE ? left : ROUND * ATLAS_CHUNK_SIZE,
                                 .where = source->where, .done = ring_bell, .context = &bell};
        ATLAS_TRY(scan_round(sink, &c, threads, digests, error));
    }
out:
    free(digests);
    return rc;
}

/* ------------------------------------------------------------------------------------------ on one thread */

/* So much is read at a time: it is still in the second-level cache when it is hashed. */
#define PIECE ((size_t)128 << 10)

/* The flat digest and the chunk's digest are two messages: side by side in the lanes of a core. */
static int scan_chunk(struct atlas_sink *sink, const struct atlas_scan_source *source, uint64_t chunk,
                      struct atlas_stream *stream, uint8_t *buffer, struct atlas_error *error)
{
    size_t size = atlas_scan_size(source, chunk);
    size_t piece = source->memory != NULL ? size : PIECE;
    unsigned n = sink->tree || sink->digests != NULL ? 2 : 1;
    struct atlas_span bytes = ATLAS_SPAN_NONE;
    struct atlas_digest digest = {0};
    int rc = ATLAS_OK;
    for (size_t at = 0; at < size; at += bytes.n) {
        ATLAS_TRY(scan_load(source, chunk * ATLAS_CHUNK_SIZE + at, size - at < piece ? size - at : piece, buffer,
                            &bytes, error));
        const struct atlas_feed feeds[2] = {{&sink->flat_stream, bytes, NULL},
                                            {stream, bytes, at + bytes.n == size ? &digest : NULL}};
        ATLAS_TRY(atlas_streams_feed(feeds, n, error));
    }
    ATLAS_TRY(atlas_sink_chunk(sink, atlas_digest_span(&digest), size, error));
out:
    return rc;
}

static int scan_alone(struct atlas_sink *sink, const struct atlas_scan_source *source, uint8_t *scratch,
                      struct atlas_meter *meter, bool is_caller, struct atlas_error *error)
{
    struct bell bell = {meter, is_caller};
    struct atlas_stream stream = ATLAS_STREAM_INIT;
    uint8_t *own = source->memory == NULL && scratch == NULL ? malloc(PIECE) : NULL;
    uint8_t *buffer = own != NULL ? own : scratch;
    uint64_t chunks = (source->size - 1) / ATLAS_CHUNK_SIZE + 1;
    int rc;
    if (source->memory == NULL && buffer == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    /* In pieces, with the flat digest beside it: ATLAS_LANES_FEW. */
    ATLAS_TRY(atlas_stream_init(&stream, sink->alg, true, error));
    for (uint64_t chunk = 0; chunk < chunks; chunk++) {
        ATLAS_TRY(scan_chunk(sink, source, chunk, &stream, buffer, error));
        ATLAS_TRY(ring_bell(&bell, 0, atlas_scan_size(source, chunk), error));
    }
out:
    atlas_stream_release(&stream);
    free(own);
    return rc;
}

int atlas_scan(struct atlas_sink *sink, const struct atlas_scan_source *source, unsigned threads, uint8_t *scratch,
               struct atlas_meter *meter, bool is_caller, struct atlas_error *error)
{
    if (source->size == 0) {
        return ATLAS_OK;
    }
    if (!sink->flat) {
        return scan_unordered(sink, source, threads, meter, is_caller, error);
    }
    if (threads == 1 || source->size <= ATLAS_CHUNK_SIZE) {
        return scan_alone(sink, source, scratch, meter, is_caller, error);
    }
    return atlas_scan_ring(sink, source, threads, meter, is_caller, error);
}
