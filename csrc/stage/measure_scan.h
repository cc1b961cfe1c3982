/*
 * measure_scan.h - one pass over a file or over memory, chunk by chunk, on threads. Shared by the files of the measure
 * stage only.
 *
 * Chunks are read and digested by whichever thread is free, the flat digest takes them strictly in order, and the tree
 * takes their digests strictly in order: so the result does not depend on threads, and memory is bounded, whatever the
 * size. Without a flat digest nothing has to wait and every core does as many chunks at a time as it has lanes.
 */
#ifndef ATLAS_STAGE_MEASURE_SCAN_H
#define ATLAS_STAGE_MEASURE_SCAN_H

#include <stdatomic.h>

#include "port/chunks.h"
#include "port/file.h"
#include "port/pool.h"
#include "stage/measure.h"
#include "stage/merkle.h"

/* How far a measurement is; shared by the threads that work on it. Only the thread that the caller came on ticks. */
struct atlas_meter {
    struct atlas_progress progress;
    atomic_uint_fast64_t done;
    uint64_t total; /* 0: not known yet */
    bool begun;    /* the callback heard of a first part */
    uint64_t last; /* when the callback was called, on atlas_pool_clock */
};

void atlas_meter_init(struct atlas_meter *m, const struct atlas_progress *progress);

/* Call the callback: always, or for the first part that is done, or when it was not called a moment ago.
 * ATLAS_E_CANCELLED: it said stop. */
int atlas_meter_tick(struct atlas_meter *m, bool always, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Where chunks go: flat digest, tree, list of digests, each if wanted. Owner. */
struct atlas_sink {
    int alg;
    bool flat;
    bool tree;
    struct atlas_buf *digests; /* NULL: not wanted */
    struct atlas_stream flat_stream;
    struct atlas_merkle merkle;
    uint64_t size;
};

int atlas_sink_init(struct atlas_sink *s, const struct atlas_measure_options *options,
                    struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_sink_release(struct atlas_sink *s); /* also for one that is all zeroes */

/* What was scanned so far, as the measurement of a file; the sink is ready for the next one. */
int atlas_sink_finish(struct atlas_sink *s, struct atlas_measurement *ret_measurement,
                      struct atlas_error *error) ATLAS_MUST_CHECK;

/* The same for a file that is at most one chunk and is here in one piece; nothing was scanned before. Hashed once: its
 * flat digest is its only chunk's. */
int atlas_sink_whole(struct atlas_sink *s, struct atlas_span bytes, struct atlas_measurement *ret_measurement,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

/* Files of at most a chunk, several at a time: that is what fills the lanes of a core. For one thread. */
#define ATLAS_SMALL_MAX 64
struct atlas_small;
int atlas_small_new(int alg, struct atlas_small **ret_small, struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_small_free(struct atlas_small *s);

/* Flat digest and tree of each of up to ATLAS_SMALL_MAX files; no root of OMS. After an error it is good for
 * nothing. */
int atlas_small_digest(struct atlas_small *s, const struct atlas_span *files, size_t n,
                       struct atlas_measurement *ret_measurements, struct atlas_error *error) ATLAS_MUST_CHECK;

/* What to scan: the first `size` bytes of a regular file, or of memory. */
struct atlas_scan_source {
    int fd;
    const uint8_t *memory; /* NULL: the file */
    uint64_t size;
    const char *where;
};

/* Feed all of source to the sink, whose size so far must be a multiple of the chunk size. scratch: ATLAS_CHUNK_SIZE
 * bytes for a scan of a file on one thread, or NULL. is_caller: this thread may tick. A file that ends before its size
 * is ATLAS_E_CHANGED. After an error the sink is good for nothing. */
int atlas_scan(struct atlas_sink *sink, const struct atlas_scan_source *source, unsigned threads, uint8_t *scratch,
               struct atlas_meter *meter, bool is_caller, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The pieces of which atlas_scan is made. */
int atlas_scan_ring(struct atlas_sink *sink, const struct atlas_scan_source *source, unsigned threads,
                    struct atlas_meter *meter, bool is_caller, struct atlas_error *error) ATLAS_MUST_CHECK;
size_t atlas_scan_size(const struct atlas_scan_source *source, uint64_t chunk);
int atlas_scan_load(const struct atlas_scan_source *source, uint64_t chunk, uint8_t *buffer,
                    struct atlas_span *ret_bytes, struct atlas_error *error) ATLAS_MUST_CHECK;
/* The next chunk in order: its digest, and how many bytes it has. */
int atlas_sink_chunk(struct atlas_sink *s, struct atlas_span digest, size_t n,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

/* One open file to be measured. */
struct atlas_measure_job {
    int fd;
    const char *where;
    const struct atlas_file_id *expected; /* NULL, or the version it must be in */
    struct atlas_sink *sink;
    uint8_t *scratch; /* ATLAS_CHUNK_SIZE bytes, or NULL */
    unsigned threads;
    struct atlas_meter *meter;
    bool is_caller; /* this thread may tick */
};

/* ATLAS_E_REFUSED: no regular file. ATLAS_E_CHANGED: not the same version before and after. */
int atlas_measure_open_file(const struct atlas_measure_job *job, struct atlas_measurement *ret_measurement,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

int atlas_measure_options_check(const struct atlas_measure_options *options,
                                struct atlas_error *error) ATLAS_MUST_CHECK;

/* OMS (OpenSSF Model Signing): the root digest over flat digests, concatenated in order of path. Absent unless
 * sha256. */
int atlas_oms_root(int alg, struct atlas_span flats, struct atlas_digest *ret_root,
                   struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
