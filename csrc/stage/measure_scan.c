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
    s->flat_hasher = ATLAS_HASHER_INIT;
    ATLAS_TRY(atlas_merkle_init(&s->merkle, s->alg, error));
    ATLAS_TRY(atlas_hasher_init(&s->flat_hasher, s->alg, error));
out:
    if (rc < 0) {
        atlas_sink_release(s);
    }
    return rc;
}

void atlas_sink_release(struct atlas_sink *s)
{
    atlas_merkle_release(&s->merkle);
    atlas_hasher_release(&s->flat_hasher);
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
        ATLAS_TRY(atlas_hasher_final(&s->flat_hasher, &m.flat, error));
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
    ATLAS_TRY(atlas_hasher_update(&s->flat_hasher, bytes, error));
    ATLAS_TRY(atlas_hasher_final(&s->flat_hasher, &digest, error));
    if (s->tree && bytes.n != 0) {
        ATLAS_TRY(atlas_merkle_append(&s->merkle, atlas_digest_span(&digest), error));
    }
    ATLAS_TRY(atlas_sink_finish(s, &m, error)); /* of the tree: the flat hasher is empty again */
    m.size = bytes.n;
    if (s->flat) {
        m.flat = digest;
        ATLAS_TRY(atlas_oms_root(s->alg, atlas_digest_span(&digest), &m.oms, error));
    }
    *ret_measurement = m;
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------- scan */

/* Bounds memory: a ring of at most this many chunks. */
#define MAX_SLOTS 48

struct slot {
    uint8_t *buffer; /* NULL when scanning memory */
    struct atlas_span bytes;
    struct atlas_digest digest;
    bool loaded;
    bool digested;
};

struct scan {
    struct atlas_sink *sink;
    const struct atlas_scan_source *source;
    struct atlas_meter *meter;
    bool is_caller;
    bool digests;    /* somebody wants the digests of chunks */
    uint64_t chunks;
    unsigned n_slots;
    struct slot *slots; /* chunk i lives in slot i modulo n_slots */
    struct atlas_monitor *monitor; /* guards what follows, and `loaded` and `digested` of the slots */
    uint64_t next_load;   /* chunks below are loaded or being loaded */
    uint64_t next_flat;   /* chunks below are in the flat digest */
    uint64_t next_retire; /* chunks below are in the sink: their slots are free */
    bool flat_busy;
    int rc;
    struct atlas_error failure;
};

static struct slot *slot_of(const struct scan *s, uint64_t chunk)
{
    return &s->slots[chunk % s->n_slots];
}

/* Read chunk into its slot, or find it in memory. */
static int load(const struct scan *s, uint64_t chunk, struct slot *slot, struct atlas_error *error)
{
    const struct atlas_scan_source *source = s->source;
    uint64_t offset = chunk * ATLAS_CHUNK_SIZE;
    uint64_t left = source->size - offset;
    size_t want = left < ATLAS_CHUNK_SIZE ? (size_t)left : ATLAS_CHUNK_SIZE;
    size_t got = 0;
    if (source->memory != NULL) {
        slot->bytes = atlas_span_of(source->memory + (size_t)offset, want);
        return ATLAS_OK;
    }
    int rc = atlas_file_read(source->fd, offset, slot->buffer, want, source->where, &got, error);
    if (rc == ATLAS_OK && got != want) {
        return atlas_error_set(error, ATLAS_E_CHANGED, source->where, "became shorter while it was read");
    }
    slot->bytes = atlas_span_of(slot->buffer, got);
    return rc;
}

/* Inside the monitor: hand finished chunks to the sink, in order. */
static int retire(struct scan *s, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    while (s->next_retire < s->next_load) {
        struct slot *slot = slot_of(s, s->next_retire);
        bool flattened = !s->sink->flat || s->next_retire < s->next_flat;
        if (!slot->loaded || !flattened || (s->digests && !slot->digested)) {
            break;
        }
        if (s->sink->tree) {
            ATLAS_TRY(atlas_merkle_append(&s->sink->merkle, atlas_digest_span(&slot->digest), error));
        }
        if (s->sink->digests != NULL) {
            atlas_buf_append(s->sink->digests, atlas_digest_span(&slot->digest));
            ATLAS_TRY(atlas_buf_check(s->sink->digests, error));
        }
        s->sink->size += slot->bytes.n;
        atomic_fetch_add(&s->meter->done, slot->bytes.n);
        slot->loaded = false;
        slot->digested = false;
        s->next_retire++;
    }
out:
    return rc;
}

/* The steps below are called inside the monitor and leave it while they work. */

static int step_flat(struct scan *s, struct atlas_error *error)
{
    struct atlas_span bytes = slot_of(s, s->next_flat)->bytes;
    s->flat_busy = true;
    atlas_monitor_leave(s->monitor);
    int rc = atlas_hasher_update(&s->sink->flat_hasher, bytes, error);
    atlas_monitor_enter(s->monitor);
    s->flat_busy = false;
    s->next_flat++;
    return rc;
}

static int step_chunk(struct scan *s, struct atlas_hasher *hasher, struct atlas_error *error)
{
    uint64_t chunk = s->next_load++;
    struct slot *slot = slot_of(s, chunk);
    struct atlas_digest digest = {0};
    atlas_monitor_leave(s->monitor);
    int rc = load(s, chunk, slot, error);
    atlas_monitor_enter(s->monitor);
    if (rc < 0) {
        return rc;
    }
    slot->loaded = true;
    if (!s->digests) {
        return ATLAS_OK;
    }
    atlas_monitor_wake(s->monitor); /* the flat digest may take it meanwhile */
    struct atlas_span bytes = slot->bytes;
    atlas_monitor_leave(s->monitor);
    rc = atlas_hasher_update(hasher, bytes, error);
    if (rc == ATLAS_OK) {
        rc = atlas_hasher_final(hasher, &digest, error);
    }
    atlas_monitor_enter(s->monitor);
    slot->digest = digest;
    slot->digested = true;
    return rc;
}

/* Do one thing, or wait until there is one to do. */
static int step(struct scan *s, struct atlas_hasher *hasher, struct atlas_error *error)
{
    int rc;
    if (s->sink->flat && !s->flat_busy && s->next_flat < s->next_load && slot_of(s, s->next_flat)->loaded) {
        ATLAS_TRY(step_flat(s, error));
    } else if (s->next_load < s->chunks && s->next_load - s->next_retire < s->n_slots) {
        ATLAS_TRY(step_chunk(s, hasher, error));
    } else {
        atlas_monitor_wait(s->monitor);
        return ATLAS_OK;
    }
    rc = retire(s, error);
    atlas_monitor_wake(s->monitor);
out:
    return rc;
}

static void work(struct scan *s, bool ticks, struct atlas_hasher *hasher)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    int rc = hasher->context != NULL || !s->digests ? ATLAS_OK : atlas_hasher_init(hasher, s->sink->alg, &error);
    atlas_monitor_enter(s->monitor);
    while (rc == ATLAS_OK && s->rc == ATLAS_OK && s->next_retire < s->chunks) {
        rc = step(s, hasher, &error);
        if (rc == ATLAS_OK && ticks) {
            atlas_monitor_leave(s->monitor);
            rc = atlas_meter_tick(s->meter, false, &error);
            atlas_monitor_enter(s->monitor);
        }
    }
    if (rc < 0 && s->rc == ATLAS_OK) {
        s->rc = rc;
        s->failure = error;
    }
    atlas_monitor_wake(s->monitor);
    atlas_monitor_leave(s->monitor);
}

static void body(void *context, unsigned worker)
{
    struct scan *s = context;
    struct atlas_hasher hasher = ATLAS_HASHER_INIT;
    work(s, s->is_caller && worker == 0, &hasher);
    atlas_hasher_release(&hasher);
}

/* As many threads as can be of use: reading ahead, the flat digest and the digests of chunks. */
static unsigned useful_threads(const struct scan *s, unsigned threads)
{
    unsigned useful = s->digests ? (s->sink->flat ? 3 : MAX_SLOTS) : 2;
    threads = threads < useful ? threads : useful;
    return s->chunks < threads ? (unsigned)s->chunks : threads;
}

static int slots_new(struct scan *s, unsigned threads, uint8_t *scratch, struct atlas_error *error)
{
    unsigned n = threads == 1 ? 1 : 2 * threads + 2;
    n = n < MAX_SLOTS ? n : MAX_SLOTS;
    s->n_slots = s->chunks < n ? (unsigned)s->chunks : n;
    s->slots = calloc(s->n_slots, sizeof *s->slots);
    if (s->slots == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    for (unsigned i = 0; i < s->n_slots && s->source->memory == NULL; i++) {
        s->slots[i].buffer = i == 0 && scratch != NULL ? scratch : malloc(ATLAS_CHUNK_SIZE);
        if (s->slots[i].buffer == NULL) {
            return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
        }
    }
    return ATLAS_OK;
}

static void slots_free(struct scan *s, const uint8_t *scratch)
{
    for (unsigned i = 0; s->slots != NULL && i < s->n_slots; i++) {
        if (s->slots[i].buffer != scratch) {
            free(s->slots[i].buffer);
        }
    }
    free(s->slots);
}

int atlas_scan(struct atlas_sink *sink, const struct atlas_scan_source *source, unsigned threads, uint8_t *scratch,
               struct atlas_meter *meter, bool is_caller, struct atlas_error *error)
{
    struct scan s = {.sink = sink, .source = source, .meter = meter, .is_caller = is_caller, .rc = ATLAS_OK,
                     .failure = ATLAS_ERROR_INIT};
    int rc;
    if (source->size == 0) {
        return ATLAS_OK;
    }
    s.digests = sink->tree || sink->digests != NULL;
    s.chunks = (source->size - 1) / ATLAS_CHUNK_SIZE + 1;
    threads = useful_threads(&s, threads);
    ATLAS_TRY(slots_new(&s, threads, scratch, error));
    ATLAS_TRY(atlas_monitor_new(&s.monitor, error));
    atlas_pool_run(threads, body, &s);
    if (s.rc < 0) {
        ATLAS_TRY(atlas_error_set(error, s.rc, s.failure.where, "%s", s.failure.text));
    }
out:
    atlas_monitor_free(s.monitor);
    slots_free(&s, scratch);
    return rc;
}
