#include "port/chunks.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "port/file.h"

#define HUGE ((size_t)2 << 20)

/* All stripes of a thread together: about the second-level cache. Lanes do not start at the same place modulo a page,
 * which would have them fight for the same lines of the first-level one. */
#define STRIPES ((size_t)1 << 20)
#define LANE_GAP ((size_t)192)

/* What a thread has of its own. */
struct hand {
    struct atlas_stream streams[ATLAS_LANES_MAX];
    struct atlas_feed feeds[ATLAS_LANES_MAX];
    struct atlas_digest digests[ATLAS_LANES_MAX];
    uint8_t *buffer; /* a stripe for each lane; only for a file that is not kept */
};

struct work {
    const struct atlas_chunks *chunks;
    uint64_t n;
    unsigned group; /* chunks that a thread takes at a time */
    size_t stripe;  /* bytes of each that it reads at a time */
    uint8_t *digests;
    struct hand *hands[ATLAS_MAX_THREADS];
};

uint8_t *atlas_chunks_buffer(size_t size)
{
    if (size < HUGE) {
        return malloc(size);
    }
    size = (size + HUGE - 1) / HUGE * HUGE;
    uint8_t *buffer = aligned_alloc(HUGE, size);
    if (buffer != NULL) {
        (void)madvise(buffer, size, MADV_HUGEPAGE); /* advice: works without, too */
    }
    return buffer;
}

void atlas_chunks_buffer_free(uint8_t *buffer)
{
    free(buffer);
}

static int no_memory(struct atlas_error *error)
{
    return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
}

static int hand_ready(struct work *w, unsigned worker, struct atlas_error *error)
{
    const struct atlas_chunks *c = w->chunks;
    int rc = ATLAS_OK;
    if (w->hands[worker] != NULL) {
        return ATLAS_OK;
    }
    struct hand *h = w->hands[worker] = calloc(1, sizeof *h);
    if (h == NULL) {
        return no_memory(error);
    }
    for (unsigned i = 0; i < w->group; i++) {
        ATLAS_TRY(atlas_stream_init(&h->streams[i], c->alg, w->group <= ATLAS_LANES_FEW, error));
        h->feeds[i].stream = &h->streams[i];
    }
    if (c->memory == NULL && c->keep == NULL) {
        h->buffer = atlas_chunks_buffer(w->group * (w->stripe + LANE_GAP));
        if (h->buffer == NULL) {
            return no_memory(error);
        }
    }
out:
    return rc;
}

static void hand_free(struct hand *h)
{
    for (unsigned i = 0; h != NULL && i < ATLAS_LANES_MAX; i++) {
        atlas_stream_release(&h->streams[i]);
    }
    if (h != NULL) {
        atlas_chunks_buffer_free(h->buffer);
    }
    free(h);
}

static size_t size_of(const struct atlas_chunks *c, uint64_t chunk)
{
    uint64_t left = c->size - chunk * c->chunk;
    return left < c->chunk ? (size_t)left : c->chunk;
}

/* The bytes [at, at + n) of a chunk, in lane `lane`. */
static int fetch(const struct work *w, const struct hand *h, unsigned lane, uint64_t chunk, size_t at, size_t n,
                 struct atlas_span *ret_bytes, struct atlas_error *error)
{
    const struct atlas_chunks *c = w->chunks;
    uint64_t place = chunk * c->chunk + at;
    size_t got = 0;
    int rc;
    if (c->memory != NULL) {
        *ret_bytes = atlas_span_of(c->memory + (size_t)place, n);
        return ATLAS_OK;
    }
    uint8_t *to = c->keep != NULL ? c->keep + (size_t)place : h->buffer + lane * (w->stripe + LANE_GAP);
    ATLAS_TRY(atlas_file_read(c->fd, c->offset + place, to, n, c->where, &got, error));
    if (got != n) {
        return atlas_error_set(error, ATLAS_E_CHANGED, c->where, "became shorter while it was read");
    }
    *ret_bytes = atlas_span_of(to, n);
out:
    return rc;
}

/* One stripe of every chunk that reaches so far. A chunk that ends leaves the feeds; its lane has no more bytes. */
static int stripe(const struct work *w, struct hand *h, uint64_t first, unsigned lanes, size_t at,
                  struct atlas_error *error)
{
    const struct atlas_chunks *c = w->chunks;
    unsigned n = 0;
    int rc = ATLAS_OK;
    for (unsigned i = 0; i < lanes; i++) {
        size_t size = size_of(c, first + i);
        if (at >= size) {
            continue;
        }
        size_t part = size - at < w->stripe ? size - at : w->stripe;
        struct atlas_feed *f = &h->feeds[n++];
        f->stream = &h->streams[i];
        f->ret_digest = at + part == size ? &h->digests[i] : NULL;
        ATLAS_TRY(fetch(w, h, i, first + i, at, part, &f->bytes, error));
    }
    ATLAS_TRY(atlas_streams_feed(h->feeds, n, error));
out:
    return rc;
}

static int group_one(void *context, unsigned worker, uint64_t item, struct atlas_error *error)
{
    struct work *w = context;
    const struct atlas_chunks *c = w->chunks;
    uint64_t first = item * w->group;
    unsigned lanes = w->n - first < w->group ? (unsigned)(w->n - first) : w->group;
    size_t size = atlas_alg_size(c->alg);
    uint64_t bytes = 0;
    int rc;
    ATLAS_TRY(hand_ready(w, worker, error));
    struct hand *h = w->hands[worker];
    for (size_t at = 0; at < size_of(c, first); at += w->stripe) {
        ATLAS_TRY(stripe(w, h, first, lanes, at, error));
    }
    for (unsigned i = 0; i < lanes; i++) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): hand_ready has made it */
        memcpy(w->digests + (size_t)(first + i) * size, h->digests[i].b, size);
        bytes += size_of(c, first + i);
    }
    if (c->done != NULL) {
        ATLAS_TRY(c->done(c->context, worker, bytes, error));
    }
out:
    return rc;
}

int atlas_chunks_digest(const struct atlas_chunks *c, unsigned threads, uint8_t *ret_digests, struct atlas_error *error)
{
    struct work w = {.chunks = c, .n = c->size / c->chunk + (c->size % c->chunk != 0), .digests = ret_digests};
    int rc;
    ATLAS_TRY(atlas_lanes_width(c->alg, &w.group, error));
    uint64_t share = (w.n + threads - 1) / threads;
    if (w.n != 0) {
        w.group = share < w.group ? (unsigned)share : w.group;
        w.stripe = c->memory != NULL || STRIPES / w.group > c->chunk ? c->chunk : STRIPES / w.group / 4096 * 4096;
        ATLAS_TRY(atlas_pool_for(threads, (w.n + w.group - 1) / w.group, group_one, &w, error));
    }
out:
    for (size_t i = 0; i < ATLAS_MAX_THREADS; i++) {
        hand_free(w.hands[i]);
    }
    return rc;
}
