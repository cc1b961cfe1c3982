/* measure_ring.c - a scan whose flat digest takes the chunks in order, while other threads read ahead and digest
 * chunks. */
#include <stdlib.h>

#include "stage/measure_scan.h"

/* Bounds memory: a ring of at most this many chunks. */
#define MAX_SLOTS 48

/* Chunks that a thread takes at a time: their digests are two messages, side by side in the lanes of a core. */
#define CLAIM 2

struct slot {
    uint8_t *buffer; /* NULL when scanning memory */
    struct atlas_span bytes;
    struct atlas_digest digest;
    bool loaded;
    bool digested;
};

struct ring {
    struct atlas_sink *sink;
    const struct atlas_scan_source *source;
    struct atlas_meter *meter;
    bool is_caller;
    bool digests;    /* somebody wants the digests of chunks */
    uint64_t chunks;
    unsigned n_slots;
    struct slot *slots; /* chunk i lives in slot i modulo n_slots */
    uint8_t *buffers;
    struct atlas_monitor *monitor; /* guards what follows, and `loaded` and `digested` of the slots */
    uint64_t next_load;   /* chunks below are loaded or being loaded */
    uint64_t next_flat;   /* chunks below are in the flat digest */
    uint64_t next_retire; /* chunks below are in the sink: their slots are free */
    bool flat_busy;
    int rc;
    struct atlas_error failure;
};

/* What a thread has of its own. */
struct hand {
    unsigned worker;
    struct atlas_stream streams[CLAIM];
};

static struct slot *slot_of(const struct ring *r, uint64_t chunk)
{
    return &r->slots[chunk % r->n_slots];
}

/* Inside the monitor: hand finished chunks to the sink, in order. */
static int retire(struct ring *r, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    while (r->next_retire < r->next_flat) {
        struct slot *slot = slot_of(r, r->next_retire);
        if (r->digests && !slot->digested) {
            break;
        }
        ATLAS_TRY(atlas_sink_chunk(r->sink, atlas_digest_span(&slot->digest), slot->bytes.n, error));
        atomic_fetch_add(&r->meter->done, slot->bytes.n);
        slot->loaded = false;
        slot->digested = false;
        r->next_retire++;
    }
out:
    return rc;
}

/* The steps below are called inside the monitor and leave it while they work. */

static int step_flat(struct ring *r, struct atlas_error *error)
{
    struct atlas_feed feed = {&r->sink->flat_stream, slot_of(r, r->next_flat)->bytes, NULL};
    r->flat_busy = true;
    atlas_monitor_leave(r->monitor);
    int rc = atlas_streams_feed(&feed, 1, error);
    atlas_monitor_enter(r->monitor);
    r->flat_busy = false;
    r->next_flat++;
    return rc;
}

static int load(struct ring *r, uint64_t chunk, struct atlas_error *error)
{
    struct slot *slot = slot_of(r, chunk);
    struct atlas_span bytes = ATLAS_SPAN_NONE;
    atlas_monitor_leave(r->monitor);
    int rc = atlas_scan_load(r->source, chunk, slot->buffer, &bytes, error);
    atlas_monitor_enter(r->monitor);
    if (rc == ATLAS_OK) {
        slot->bytes = bytes;
        slot->loaded = true;
        atlas_monitor_wake(r->monitor); /* the flat digest may take it at once */
    }
    return rc;
}

static int digest(struct ring *r, struct hand *h, uint64_t first, unsigned n, struct atlas_error *error)
{
    struct atlas_digest digests[CLAIM] = {{0}};
    struct atlas_feed feeds[CLAIM];
    for (unsigned i = 0; i < n; i++) {
        feeds[i] = (struct atlas_feed){&h->streams[i], slot_of(r, first + i)->bytes, &digests[i]};
    }
    atlas_monitor_leave(r->monitor);
    int rc = atlas_streams_feed(feeds, n, error);
    atlas_monitor_enter(r->monitor);
    for (unsigned i = 0; i < n; i++) {
        slot_of(r, first + i)->digest = digests[i];
        slot_of(r, first + i)->digested = true;
    }
    return rc;
}

static int step_chunks(struct ring *r, struct hand *h, struct atlas_error *error)
{
    uint64_t first = r->next_load;
    uint64_t room = r->next_retire + r->n_slots - first;
    uint64_t left = r->chunks - first;
    unsigned n = left > 1 && room > 1 ? CLAIM : 1;
    int rc = ATLAS_OK;
    r->next_load += n;
    for (unsigned i = 0; i < n; i++) {
        ATLAS_TRY(load(r, first + i, error));
    }
    if (r->digests) {
        ATLAS_TRY(digest(r, h, first, n, error));
    }
out:
    return rc;
}

/* The flat digest is what takes longest. It never has to wait for a thread that is busy with something else: the first
 * one begins nothing while a chunk is on its way. */
static bool may_begin(const struct ring *r, const struct hand *h)
{
    bool keeps_ready = h->worker == 0 && r->next_flat < r->next_load;
    return !keeps_ready && r->next_load < r->chunks && r->next_load - r->next_retire < r->n_slots;
}

/* Do one thing, or wait until there is one to do. */
static int step(struct ring *r, struct hand *h, struct atlas_error *error)
{
    int rc;
    if (!r->flat_busy && r->next_flat < r->next_load && slot_of(r, r->next_flat)->loaded) {
        ATLAS_TRY(step_flat(r, error));
    } else if (may_begin(r, h)) {
        ATLAS_TRY(step_chunks(r, h, error));
    } else {
        atlas_monitor_wait(r->monitor);
        return ATLAS_OK;
    }
    rc = retire(r, error);
    atlas_monitor_wake(r->monitor);
out:
    return rc;
}

static void work(struct ring *r, struct hand *h)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    bool ticks = r->is_caller && h->worker == 0;
    int rc = ATLAS_OK;
    for (unsigned i = 0; i < CLAIM && rc == ATLAS_OK; i++) {
        rc = atlas_stream_init(&h->streams[i], r->sink->alg, false, &error);
    }
    atlas_monitor_enter(r->monitor);
    while (rc == ATLAS_OK && r->rc == ATLAS_OK && r->next_retire < r->chunks) {
        rc = step(r, h, &error);
        if (rc == ATLAS_OK && ticks) {
            atlas_monitor_leave(r->monitor);
            rc = atlas_meter_tick(r->meter, false, &error);
            atlas_monitor_enter(r->monitor);
        }
    }
    if (rc < 0 && r->rc == ATLAS_OK) {
        r->rc = rc;
        r->failure = error;
    }
    atlas_monitor_wake(r->monitor);
    atlas_monitor_leave(r->monitor);
}

static void body(void *context, unsigned worker)
{
    struct hand hand = {.worker = worker, .streams = {{0}}};
    work(context, &hand);
    for (unsigned i = 0; i < CLAIM; i++) {
        atlas_stream_release(&hand.streams[i]);
    }
}

static int slots_new(struct ring *r, unsigned threads, struct atlas_error *error)
{
    unsigned n = (CLAIM + 1) * threads + 2;
    n = n < MAX_SLOTS ? n : MAX_SLOTS;
    r->n_slots = r->chunks < n ? (unsigned)r->chunks : n;
    r->slots = calloc(r->n_slots, sizeof *r->slots);
    if (r->slots != NULL && r->source->memory == NULL) {
        r->buffers = atlas_chunks_buffer(r->n_slots * ATLAS_CHUNK_SIZE);
    }
    if (r->slots == NULL || (r->buffers == NULL && r->source->memory == NULL)) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    for (unsigned i = 0; i < r->n_slots && r->buffers != NULL; i++) {
        r->slots[i].buffer = r->buffers + i * ATLAS_CHUNK_SIZE;
    }
    return ATLAS_OK;
}

int atlas_scan_ring(struct atlas_sink *sink, const struct atlas_scan_source *source, unsigned threads,
                    struct atlas_meter *meter, bool is_caller, struct atlas_error *error)
{
    struct ring r = {.sink = sink, .source = source, .meter = meter, .is_caller = is_caller, .rc = ATLAS_OK,
                     .failure = ATLAS_ERROR_INIT};
    unsigned useful; /* one for the flat digest, one that reads, two that digest */
    int rc;
    r.digests = sink->tree || sink->digests != NULL;
    r.chunks = (source->size - 1) / ATLAS_CHUNK_SIZE + 1;
    useful = r.digests ? 3 : 2;
    threads = threads < useful ? threads : useful;
    ATLAS_TRY(slots_new(&r, threads, error));
    ATLAS_TRY(atlas_monitor_new(&r.monitor, error));
    atlas_pool_run(threads, body, &r);
    if (r.rc < 0) {
        ATLAS_TRY(atlas_error_set(error, r.rc, r.failure.where, "%s", r.failure.text));
    }
out:
    atlas_monitor_free(r.monitor);
    atlas_chunks_buffer_free(r.buffers);
    free(r.slots);
    return rc;
}
