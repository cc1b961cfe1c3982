/*
 * measure.h - bytes to digests (docs/manifest.md, "Digests").
 *
 * flat   one digest over all bytes
 * tree   RFC 6962 root over the digests of chunks of 1 MiB
 * index  of a directory: one line per file; its flat digest is the one of the index, its tree is over the lines
 *
 * The answer is the same for every number of threads, every machine and every order in which the disk lists names. What
 * changes while it is read (size, times, identity, names, links) is ATLAS_E_CHANGED and never a digest; what is neither
 * a regular file nor a directory, and a link that leads out, is ATLAS_E_REFUSED. No thread outlives a call.
 */
#ifndef ATLAS_STAGE_MEASURE_H
#define ATLAS_STAGE_MEASURE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define ATLAS_CHUNK_SIZE ((size_t)1 << 20)

enum atlas_kind { ATLAS_KIND_NONE = 0, ATLAS_KIND_FILE = 1, ATLAS_KIND_DIRECTORY = 2 };

struct atlas_measurement {
    enum atlas_kind kind;
    struct atlas_digest flat; /* absent when not asked for */
    struct atlas_digest tree; /* absent when not asked for */
    struct atlas_digest oms;  /* root of the OpenSSF Model Signing manifest; absent unless sha256 and flat, and where a
                                 name is not UTF-8 */
    uint64_t size;            /* bytes; of all files together for a directory */
    uint64_t files;           /* 1 for a file */
};

/* Called on the thread that measures: at the beginning, when a first part is done, every few dozen milliseconds, at the
 * end; with bytes done and in all (0: not known yet). Anything but 0 stops the measurement with ATLAS_E_CANCELLED. */
struct atlas_progress {
    int (*call)(void *context, uint64_t done, uint64_t total); /* NULL: nobody asks */
    void *context;
};

/* Digests from before (cache.h, docs/measure.md): a file that is in this version since then is not read. */
struct atlas_cache;

struct atlas_measure_cache {
    struct atlas_cache *cache; /* of the same algorithm; new digests are put into it */
    uint32_t share;            /* how many in a million of the files that are known are read all the same */
    /* Written by the measurement: */
    bool is_trusted;  /* the file system's times can be relied on; else nothing was taken */
    bool is_false;    /* a file that was read all the same was different: everything was read, the cache is empty */
    uint64_t files;   /* not read */
    uint64_t checked; /* known, read all the same, and the same */
    uint64_t verity;  /* of those not read: the kernel guards their bytes */
};

struct atlas_measure_options {
    int alg;          /* enum atlas_alg; of flat and tree alike */
    unsigned threads; /* 0: one per CPU that this process may use */
    bool flat;
    bool tree;
    struct atlas_progress progress;
    struct atlas_measure_cache *cache; /* NULL: none. For files and directories; parts and streams have none */
};

/* A regular file, by path (a link that the caller names is followed) or by descriptor (from offset 0 to the end; its
 * position stays). */
int atlas_measure_file(const char *path, const struct atlas_measure_options *options,
                       struct atlas_measurement *ret_measurement, struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_measure_fd(int fd, const struct atlas_measure_options *options, struct atlas_measurement *ret_measurement,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

/* A directory; always flat and tree. `ignore` lists names and relative paths. Appends the index, and for every link
 * that was followed its path and its target, each ended by a NUL, encoded like paths of the index and sorted. */
int atlas_measure_directory(const char *path, const struct atlas_measure_options *options,
                            const struct atlas_span *ignore, size_t n_ignore, struct atlas_buf *ret_index,
                            struct atlas_buf *ret_links, struct atlas_measurement *ret_measurement,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

/* Which part of a file (counted in chunks) or of a directory (in files, in the order of the index) one worker of
 * several measures: [first, end), or with `of` workers the share of worker number `share`, counted from 0; shares have
 * about the same number of bytes. An `end` beyond the last is the last. */
struct atlas_blocks {
    uint64_t first;
    uint64_t end;
    uint64_t share;
    uint64_t of; /* 0: [first, end) */
};

/* Measure a part: its record (format/part.h) is appended to ret_record. Every worker must see the same version: it is
 * told by inode and times, so workers share a file system. Of a file only the tree comes out. */
int atlas_measure_part(const char *path, const struct atlas_measure_options *options, const struct atlas_blocks *blocks,
                       const struct atlas_span *ignore, size_t n_ignore, struct atlas_buf *ret_record,
                       struct atlas_error *error) ATLAS_MUST_CHECK;

/* Parts that follow each other, in any order, as one. ATLAS_E_PART: a gap, an overlap, or not of one version of one
 * file. */
int atlas_part_merge(const struct atlas_span *records, size_t n, struct atlas_buf *ret_record,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

/* What a part that is the whole says: as atlas_measure_directory gives it, or the tree of a file. ATLAS_E_PART: it is
 * not the whole. */
int atlas_part_measurement(struct atlas_span record, struct atlas_buf *ret_index, struct atlas_buf *ret_links,
                           struct atlas_measurement *ret_measurement, struct atlas_error *error) ATLAS_MUST_CHECK;

/* A byte stream, piece by piece: what hooks use while a file is written. Large pieces are hashed on threads; nothing is
 * kept of a piece after the call but the bytes of an unfinished chunk. */
struct atlas_measurer;

int atlas_measurer_new(const struct atlas_measure_options *options, struct atlas_measurer **ret_measurer,
                       struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_measurer_free(struct atlas_measurer *m);

/* After an error of update (cancelled, out of memory) the measurer is spent. In a forked child every call is
 * ATLAS_E_ARG. */
int atlas_measurer_update(struct atlas_measurer *m, struct atlas_span bytes,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* The measurement, of kind file. The measurer is spent. */
int atlas_measurer_finish(struct atlas_measurer *m, struct atlas_measurement *ret_measurement,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* The digests of the chunks of memory, concatenated: appended to ret_digests. */
int atlas_chunk_digests(int alg, unsigned threads, struct atlas_span bytes, struct atlas_buf *ret_digests,
                        struct atlas_error *error) ATLAS_MUST_CHECK;

/* The tree digest of a file with these chunk digests (concatenated). */
int atlas_tree_root(int alg, struct atlas_span digests, struct atlas_digest *ret_root,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
