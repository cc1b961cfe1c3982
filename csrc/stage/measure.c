#include "stage/measure.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/path.h"
#include "stage/measure_cache.h"
#include "stage/measure_scan.h"

int atlas_measure_options_check(const struct atlas_measure_options *options, struct atlas_error *error)
{
    if (atlas_alg_size(options->alg) == 0) {
        return atlas_error_set(error, ATLAS_E_ARG, "alg", "unknown hash algorithm %d", options->alg);
    }
    if (!options->flat && !options->tree) {
        return atlas_error_set(error, ATLAS_E_ARG, "", "neither the flat digest nor the tree was asked for");
    }
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------------- files */

static int changed(const struct atlas_measure_job *job, struct atlas_error *error)
{
    return atlas_error_set(error, ATLAS_E_CHANGED, job->where, "changed while it was read");
}

/* At most one chunk, read at once. A file that claims to be empty (in /proc they do) is asked for a byte. */
static int measure_small(const struct atlas_measure_job *job, size_t size, struct atlas_measurement *ret_measurement,
                         struct atlas_error *error)
{
    uint8_t *own = job->scratch == NULL ? malloc(size + 1) : NULL;
    uint8_t *bytes = job->scratch != NULL ? job->scratch : own;
    size_t got = 0;
    int rc;
    if (bytes == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    ATLAS_TRY(atlas_file_read(job->fd, 0, bytes, size != 0 ? size : 1, job->where, &got, error));
    if (got != size) {
        ATLAS_TRY(changed(job, error));
    }
    ATLAS_TRY(atlas_sink_whole(job->sink, atlas_span_of(bytes, size), ret_measurement, error));
    atomic_fetch_add(&job->meter->done, size);
out:
    free(own);
    return rc;
}

static int measure_large(const struct atlas_measure_job *job, uint64_t size, struct atlas_measurement *ret_measurement,
                         struct atlas_error *error)
{
    struct atlas_scan_source source = {.fd = job->fd, .memory = NULL, .size = size, .where = job->where};
    uint8_t beyond;
    size_t got = 0;
    int rc;
    ATLAS_TRY(atlas_scan(job->sink, &source, job->threads, job->scratch, job->meter, job->is_caller, error));
    ATLAS_TRY(atlas_file_read(job->fd, size, &beyond, 1, job->where, &got, error));
    if (got != 0) {
        ATLAS_TRY(changed(job, error));
    }
    ATLAS_TRY(atlas_sink_finish(job->sink, ret_measurement, error));
out:
    return rc;
}

int atlas_measure_open_file(const struct atlas_measure_job *job, struct atlas_measurement *ret_measurement,
                            struct atlas_error *error)
{
    struct atlas_measurement m = {0};
    struct atlas_file_id before;
    struct atlas_file_id after;
    int rc;
    ATLAS_TRY(atlas_file_settle(job->fd, job->where, &before, error));
    if (before.type != ATLAS_FILE_REGULAR) {
        return atlas_error_set(error, ATLAS_E_REFUSED, job->where, "is not a regular file");
    }
    if (job->expected != NULL && !atlas_file_id_equal(&before, job->expected)) {
        return changed(job, error);
    }
    if (before.size <= ATLAS_CHUNK_SIZE) {
        ATLAS_TRY(measure_small(job, (size_t)before.size, &m, error));
    } else {
        ATLAS_TRY(measure_large(job, before.size, &m, error));
    }
    ATLAS_TRY(atlas_file_stat_fd(job->fd, job->where, &after, error));
    if (!atlas_file_id_equal(&before, &after)) {
        return changed(job, error);
    }
    *ret_measurement = m;
out:
    return rc;
}

static int measure_read(int fd, const char *where, const struct atlas_measure_options *options,
                        const struct atlas_file_id *id, struct atlas_measurement *ret_measurement,
                        struct atlas_error *error)
{
    struct atlas_sink sink = {0};
    struct atlas_meter meter;
    struct atlas_measurement m = {0};
    int rc;
    atlas_meter_init(&meter, &options->progress);
    ATLAS_TRY(atlas_sink_init(&sink, options, error));
    meter.total = id->size;
    ATLAS_TRY(atlas_meter_tick(&meter, true, error));
    struct atlas_measure_job job = {.fd = fd, .where = where, .sink = &sink, .meter = &meter, .is_caller = true,
                                    .threads = atlas_pool_threads(options->threads)};
    ATLAS_TRY(atlas_measure_open_file(&job, &m, error));
    meter.total = m.size;
    ATLAS_TRY(atlas_meter_tick(&meter, true, error));
    *ret_measurement = m;
out:
    atlas_sink_release(&sink);
    return rc;
}

/* What is known of the file, without reading it. */
static int measure_known(const struct atlas_memory *memory, const struct atlas_file_id *id,
                         const struct atlas_measure_options *options, const struct atlas_cache_hit *hit,
                         struct atlas_measurement *ret_measurement, struct atlas_error *error)
{
    struct atlas_measurement m = {.kind = ATLAS_KIND_FILE, .size = id->size, .files = 1};
    int rc = ATLAS_OK;
    if (options->flat) {
        m.flat = hit->flat;
        ATLAS_TRY(atlas_oms_root(options->alg, atlas_digest_span(&m.flat), &m.oms, error));
    }
    if (options->tree) {
        m.tree = hit->tree;
    }
    memory->use->files = 1;
    memory->use->verity = hit->is_verity ? 1 : 0;
    *ret_measurement = m;
out:
    return rc;
}

/* Compare with what was known, and remember. */
static int measure_keep(const struct atlas_memory *memory, int fd, const char *where,
                        const struct atlas_memory_look *look, const struct atlas_file_id *before,
                        const struct atlas_cache_hit *known, const struct atlas_measurement *m,
                        struct atlas_error *error)
{
    struct atlas_cache_hit now = {.flat = m->flat, .tree = m->tree, .is_verity = look->is_verity};
    struct atlas_file_id after = {0};
    int rc = ATLAS_OK;
    if (memory->use == NULL) {
        return ATLAS_OK;
    }
    if (known != NULL) {
        memory->use->checked = 1;
        memory->use->is_false = !atlas_memory_agrees(known, m);
    }
    if (memory->use->is_false) {
        atlas_cache_forget(memory->use->cache);
        memory->use->checked = 0;
    }
    ATLAS_TRY(atlas_file_stat_fd(fd, where, &after, error));
    if (atlas_file_id_equal(before, &after) && atlas_memory_may_keep(memory, look, before)) {
        ATLAS_TRY(atlas_cache_put(memory->use->cache, &memory->volume, before, &now, error));
    }
out:
    return rc;
}

static int measure_named(int fd, const char *where, const struct atlas_measure_options *options,
                         struct atlas_measurement *ret_measurement, struct atlas_error *error)
{
    struct atlas_file_id id = {0};
    struct atlas_memory memory;
    struct atlas_memory_look look;
    struct atlas_cache_hit hit = {0};
    struct atlas_measurement m = {0};
    int rc;
    ATLAS_TRY(atlas_file_stat_fd(fd, where, &id, error));
    ATLAS_TRY(atlas_memory_begin(&memory, options, fd, &id, error));
    bool is_known = atlas_memory_get(&memory, &id, options->flat, options->tree, &hit);
    if (is_known && !atlas_memory_draws(&memory, 0)) {
        return measure_known(&memory, &id, options, &hit, ret_measurement, error);
    }
    look = atlas_memory_look(&memory, fd);
    ATLAS_TRY(atlas_file_stat_fd(fd, where, &id, error)); /* who wrote before the look is in these times */
    ATLAS_TRY(measure_read(fd, where, options, &id, &m, error));
    ATLAS_TRY(measure_keep(&memory, fd, where, &look, &id, is_known ? &hit : NULL, &m, error));
    *ret_measurement = m;
out:
    return rc;
}

int atlas_measure_fd(int fd, const struct atlas_measure_options *options, struct atlas_measurement *ret_measurement,
                     struct atlas_error *error)
{
    char where[32];
    int rc;
    snprintf(where, sizeof where, "descriptor %d", fd);
    ATLAS_TRY(atlas_measure_options_check(options, error));
    ATLAS_TRY(measure_named(fd, where, options, ret_measurement, error));
out:
    return rc;
}

/* Is the path still the file that was measured? */
static int check_path(const char *path, const char *where, int fd, struct atlas_error *error)
{
    struct atlas_file_id there;
    struct atlas_file_id here;
    int rc = atlas_file_stat(ATLAS_FILE_CWD, path, true, where, &there, NULL);
    if (rc == ATLAS_OK) {
        ATLAS_TRY(atlas_file_stat_fd(fd, where, &here, error));
    }
    if (rc < 0 || !atlas_file_is_same(&there, &here)) {
        return atlas_error_set(error, ATLAS_E_CHANGED, where, "was replaced while it was read");
    }
out:
    return rc;
}

int atlas_measure_file(const char *path, const struct atlas_measure_options *options,
                       struct atlas_measurement *ret_measurement, struct atlas_error *error)
{
    char where[sizeof error->where];
    struct atlas_measurement m = {0};
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    atlas_path_where(path, false, where, sizeof where);
    ATLAS_TRY(atlas_measure_options_check(options, error));
    ATLAS_TRY(atlas_file_open(ATLAS_FILE_CWD, path, true, where, &fd, error));
    ATLAS_TRY(measure_named(fd, where, options, &m, error));
    ATLAS_TRY(check_path(path, where, fd, error));
    *ret_measurement = m;
out:
    atlas_file_close(&fd);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- measurer */

/* Below this a second thread costs more than it saves. */
#define THREADS_FROM (2 * ATLAS_CHUNK_SIZE)

struct atlas_measurer {
    struct atlas_sink sink;
    struct atlas_meter meter;
    unsigned threads;
    int64_t process;
    uint8_t *buffer; /* of one chunk: the bytes of the last, unfinished one */
    size_t fill;
    uint64_t size; /* all bytes so far */
    bool spent;
};

int atlas_measurer_new(const struct atlas_measure_options *options, struct atlas_measurer **ret_measurer,
                       struct atlas_error *error)
{
    struct atlas_measurer *m = NULL;
    int rc;
    ATLAS_TRY(atlas_measure_options_check(options, error));
    m = calloc(1, sizeof *m);
    if (m == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    atlas_meter_init(&m->meter, &options->progress);
    m->threads = atlas_pool_threads(options->threads);
    m->process = atlas_pool_process();
    ATLAS_TRY(atlas_sink_init(&m->sink, options, error));
    *ret_measurer = m;
    m = NULL;
out:
    free(m);
    return rc;
}

void atlas_measurer_free(struct atlas_measurer *m)
{
    if (m != NULL) {
        atlas_sink_release(&m->sink);
        free(m->buffer);
        free(m);
    }
}

static int check_usable(const struct atlas_measurer *m, struct atlas_error *error)
{
    if (m->process != atlas_pool_process()) {
        return atlas_error_set(error, ATLAS_E_ARG, "measurer", "belongs to the process that this one was forked from");
    }
    if (m->spent) {
        return atlas_error_set(error, ATLAS_E_ARG, "measurer", "is finished, or failed before");
    }
    return ATLAS_OK;
}

/* Whole chunks, or the last one. */
static int feed(struct atlas_measurer *m, struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_scan_source source = {.memory = bytes.p, .size = bytes.n, .where = "measurer"};
    unsigned threads = bytes.n >= THREADS_FROM ? m->threads : 1;
    return atlas_scan(&m->sink, &source, threads, NULL, &m->meter, true, error);
}

/* Keep bytes for the unfinished chunk; they fit. */
static int keep(struct atlas_measurer *m, struct atlas_span bytes, struct atlas_error *error)
{
    if (bytes.n == 0) {
        return ATLAS_OK;
    }
    if (m->buffer == NULL) {
        m->buffer = malloc(ATLAS_CHUNK_SIZE);
    }
    if (m->buffer == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    memcpy(m->buffer + m->fill, bytes.p, bytes.n);
    m->fill += bytes.n;
    return ATLAS_OK;
}

static int update(struct atlas_measurer *m, struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_span part;
    size_t room = ATLAS_CHUNK_SIZE - m->fill;
    int rc;
    if (m->fill != 0 || bytes.n < ATLAS_CHUNK_SIZE) { /* complete the chunk that was begun */
        (void)atlas_span_take(&bytes, bytes.n < room ? bytes.n : room, &part);
        ATLAS_TRY(keep(m, part, error));
    }
    if (m->fill == ATLAS_CHUNK_SIZE) {
        ATLAS_TRY(feed(m, atlas_span_of(m->buffer, m->fill), error));
        m->fill = 0;
    }
    (void)atlas_span_take(&bytes, bytes.n - bytes.n % ATLAS_CHUNK_SIZE, &part);
    if (part.n != 0) {
        ATLAS_TRY(feed(m, part, error));
    }
    ATLAS_TRY(keep(m, bytes, error));
out:
    return rc;
}

int atlas_measurer_update(struct atlas_measurer *m, struct atlas_span bytes, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(check_usable(m, error));
    if (bytes.n > (uint64_t)INT64_MAX - m->size) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "measurer", "more bytes than a file can have");
    }
    if (bytes.n == 0) {
        return ATLAS_OK;
    }
    m->size += bytes.n;
    rc = update(m, bytes, error);
    m->spent = rc < 0;
out:
    return rc;
}

int atlas_measurer_finish(struct atlas_measurer *m, struct atlas_measurement *ret_measurement,
                          struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(check_usable(m, error));
    m->spent = true;
    if (m->size == m->fill) { /* nothing was fed: at most one chunk in all */
        return atlas_sink_whole(&m->sink, atlas_span_of(m->buffer, m->fill), ret_measurement, error);
    }
    if (m->fill != 0) {
        ATLAS_TRY(feed(m, atlas_span_of(m->buffer, m->fill), error));
    }
    ATLAS_TRY(atlas_sink_finish(&m->sink, ret_measurement, error));
out:
    return rc;
}

/* -------------------------------------------------------------------------------------------- chunk digests */

int atlas_chunk_digests(int alg, unsigned threads, struct atlas_span bytes, struct atlas_buf *ret_digests,
                        struct atlas_error *error)
{
    struct atlas_measure_options options = {.alg = alg, .tree = true};
    struct atlas_scan_source source = {.memory = bytes.p, .size = bytes.n, .where = "chunks"};
    struct atlas_sink sink = {0};
    struct atlas_meter meter;
    struct atlas_buf digests = ATLAS_BUF_INIT;
    int rc;
    ATLAS_TRY(atlas_measure_options_check(&options, error));
    ATLAS_TRY(atlas_sink_init(&sink, &options, error));
    sink.tree = false;
    sink.digests = &digests;
    atlas_meter_init(&meter, &options.progress);
    ATLAS_TRY(atlas_scan(&sink, &source, bytes.n >= THREADS_FROM ? atlas_pool_threads(threads) : 1, NULL, &meter, true,
                         error));
    atlas_buf_append(ret_digests, atlas_buf_span(&digests));
    ATLAS_TRY(atlas_buf_check(ret_digests, error));
out:
    atlas_buf_release(&digests);
    atlas_sink_release(&sink);
    return rc;
}

int atlas_tree_root(int alg, struct atlas_span digests, struct atlas_digest *ret_root, struct atlas_error *error)
{
    struct atlas_merkle m = {.hasher = ATLAS_HASHER_INIT};
    struct atlas_span digest;
    size_t size = atlas_alg_size(alg);
    int rc;
    if (size == 0 || digests.n % size != 0) {
        return atlas_error_set(error, ATLAS_E_ARG, "chunk digests", "not a whole number of digests of an algorithm");
    }
    ATLAS_TRY(atlas_merkle_init(&m, alg, error));
    while (atlas_span_take(&digests, size, &digest)) {
        ATLAS_TRY(atlas_merkle_append(&m, digest, error));
    }
    ATLAS_TRY(atlas_merkle_root(&m, ret_root, error));
out:
    atlas_merkle_release(&m);
    return rc;
}
