/*
 * index.h - the index of a directory (docs/manifest.md, "Digests"): a text with one line per file.
 *
 *     atlas-index 1 sha256
 *     <flat hex> <tree hex> <size> <path>
 *
 * Lines are sorted bytewise by the path that the encoded path stands for, and each path is there once. A directory has
 * exactly one index: whatever could be written in two ways is accepted in one only.
 */
#ifndef ATLAS_FORMAT_INDEX_H
#define ATLAS_FORMAT_INDEX_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

/* One file; spans borrow from the index. */
struct atlas_index_entry {
    struct atlas_span line; /* without its newline: the entry of the directory's tree */
    struct atlas_span flat; /* hexadecimal */
    struct atlas_span tree; /* hexadecimal */
    uint64_t size;
    struct atlas_span path; /* encoded */
};

struct atlas_index {
    struct atlas_span whole;
    struct atlas_span rest;
    struct atlas_span previous; /* path of the last entry */
    int alg;
    uint64_t n; /* entries read so far */
};

void atlas_index_write_header(int alg, struct atlas_buf *ret_index);

/* path: raw bytes. Returns nothing: check the buffer once. */
void atlas_index_write_line(struct atlas_span flat, struct atlas_span tree, uint64_t size, struct atlas_span path,
                            struct atlas_buf *ret_index);

/* Read the first line. ATLAS_E_INDEX here and below: not an index of this version, or not its only form. */
int atlas_index_open(struct atlas_index *x, struct atlas_span text, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Read the next entry: 1 with an entry, 0 at the end. */
int atlas_index_next(struct atlas_index *x, struct atlas_index_entry *ret_entry,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

/* ------------------------------------------------------------------------------------------ differences */

enum atlas_index_change {
    ATLAS_INDEX_SAME = 0, /* no further difference */
    ATLAS_INDEX_ADDED,
    ATLAS_INDEX_REMOVED,
    ATLAS_INDEX_CHANGED,
};

/* Two indexes side by side. */
struct atlas_index_diff {
    struct atlas_index index[2];
    struct atlas_index_entry entry[2];
    bool at_end[2];
};

/* ATLAS_E_ARG: indexes of different algorithms. */
int atlas_index_diff_open(struct atlas_index_diff *d, struct atlas_span before, struct atlas_span after,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* The next path that the two disagree about, in order. */
int atlas_index_diff_next(struct atlas_index_diff *d, enum atlas_index_change *ret_change, struct atlas_span *ret_path,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
