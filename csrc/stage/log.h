/*
 * log.h - an embedded transparency log: a folder of static files (c2sp.org/tlog-tiles) with a single writer at a time.
 *
 *     checkpoint  tile/<L>/...  tile/entries/...     public; any client of tile logs reads them
 *     .state/lock                                    flock of the writer
 *     .state/head                                    the signed checkpoint that was committed last
 *     .state/stage-<size>-<root>                     the files of a commit, until they are all in place
 *
 * An append is durable when it returns. All files that the new tree needs go into one stage file, which is flushed
 * before the new head is signed; replacing .state/head is the commit. Only then do tiles get their public names, never
 * to be changed again, and the public checkpoint follows them. Whoever opens the log next finishes what a crash left: a
 * stage that the head names is put in place, any other never happened.
 *
 * The head is also remembered in a file outside of the folder. So a folder that was put back to an older state, or
 * exchanged for one with another history, is refused: ATLAS_E_ROLLED_BACK, ATLAS_E_FORKED. After an error of a write a
 * log takes nothing more until it is opened again (ATLAS_E_BROKEN), since nobody knows what is on the disk.
 *
 * An open log may be used by any number of threads. Appends that wait for each other share one commit. A child of fork
 * opens the log again.
 */
#ifndef ATLAS_STAGE_LOG_H
#define ATLAS_STAGE_LOG_H

#include "format/tile.h"
#include "stage/note.h"

#define ATLAS_LOG_WAIT_MS 60000u                  /* for another process' commit */
#define ATLAS_LOG_MAX_BATCH ((size_t)128 << 20) /* bytes of one commit, entries with their lengths */

struct atlas_log; /* owner */

struct atlas_log_options {
    const char *path;         /* the folder */
    const char *memory;       /* file outside of it, in a folder that exists: the newest head that was seen */
    struct atlas_span vkey;   /* the log's verifier key; its name is the log's origin */
    struct atlas_span secret; /* its private key as text; empty: nothing can be appended */
    uint64_t wait_ms;         /* for the lock; ATLAS_LOG_WAIT_MS */
};

/* Make a log without entries in a folder that is new or empty. ATLAS_E_ARG: it is not. */
int atlas_log_init(const struct atlas_log_options *options, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Open it, and finish what a crash left. ATLAS_E_NOT_FOUND, ATLAS_E_LOG no log; ATLAS_E_VOLUME; ATLAS_E_LOCKED;
 * ATLAS_E_SIGNATURE of another key; ATLAS_E_TILE the edge of the tree is not what the head says; ATLAS_E_FORKED,
 * ATLAS_E_ROLLED_BACK. */
int atlas_log_open(const struct atlas_log_options *options, struct atlas_log **ret_log,
                   struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_log_close(struct atlas_log *log);

/* For the child of a fork, at once: so that the lock of its parent ends with its parent. Nothing else works there. */
void atlas_log_forked(struct atlas_log *log);

/* What the file system cannot promise; "" for nothing. */
const char *atlas_log_warning(const struct atlas_log *log);

struct atlas_log_batch {
    uint64_t first;        /* index of the first entry; the others follow it */
    uint64_t size;         /* of the tree that has all of them */
    struct atlas_buf note; /* its signed checkpoint; to be released */
};

/* Append entries of at most ATLAS_MAX_LOG_ENTRY bytes, all or none. ATLAS_E_LIMIT: too long, or more than one commit
 * takes. Any other error from writing leaves open whether they are in. */
int atlas_log_append(struct atlas_log *log, const struct atlas_span *entries, size_t n,
                     struct atlas_log_batch *ret_batch, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Take notice of what other processes have appended. */
int atlas_log_refresh(struct atlas_log *log, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The head as this process knows it. Appends the signed checkpoint. */
int atlas_log_head(struct atlas_log *log, uint64_t *ret_size, uint8_t ret_root[ATLAS_NOTE_ROOT],
                   struct atlas_buf *ret_note, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Put the head's checkpoint in public again with more signature lines: those of witnesses. */
int atlas_log_publish(struct atlas_log *log, struct atlas_span note, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The proof that the entry at `index` is in the tree of `size` entries, which is the head's or an older one; its
 * hashes, appended to ret_proof. It was checked: ATLAS_E_TILE when the files do not make it. *ret_leaf: the entry's
 * leaf hash. */
int atlas_log_prove(struct atlas_log *log, uint64_t index, uint64_t size, struct atlas_buf *ret_proof,
                    struct atlas_digest *ret_leaf, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The proof that the tree of size2, which is the head's or older, begins with that of size1; 0 < size1 <= size2. */
int atlas_log_consistency(struct atlas_log *log, uint64_t size1, uint64_t size2, struct atlas_buf *ret_proof,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* The newest entry with this leaf hash. ATLAS_E_NOT_FOUND: there is none in the tiles as they are on the disk. */
int atlas_log_find(struct atlas_log *log, struct atlas_span leaf, uint64_t *ret_index,
                   struct atlas_error *error) ATLAS_MUST_CHECK;

/* Read and hash everything: each entry, each tile of each level, partial ones too, up to the signed root. Calls `wrong`
 * for every file that is missing or is not what it must be; ATLAS_E_TILE when there was one. NULL: the first ends
 * it. */
typedef void (*atlas_log_wrong)(void *context, const struct atlas_error *what);
int atlas_log_check(struct atlas_log *log, atlas_log_wrong wrong, void *context, uint64_t *ret_size,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
