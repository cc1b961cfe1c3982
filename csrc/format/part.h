/*
 * part.h - the record of one worker's part of a measurement (docs/manifest.md, "Digests in parts"): a text.
 *
 *     atlas-part 1 sha256
 *     file <size> <version>                  directory <files> <links> <version>
 *     range <first> <end>                    range <first> <end>
 *     <hex>                                  link <path> <target>
 *                                            <flat hex> <tree hex> <size> <path>
 *
 * Of a file the range counts chunks, and the lines are the roots of the largest complete subtrees of the tree that
 * lie in it, left to right. Of a directory it counts files in the order of the index, and the lines are the index's.
 * `version` is a digest of what tells this version of the file, or of the list of files, from every other. A part has
 * exactly one record.
 */
#ifndef ATLAS_FORMAT_PART_H
#define ATLAS_FORMAT_PART_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

enum atlas_part_kind { ATLAS_PART_NONE = 0, ATLAS_PART_FILE = 1, ATLAS_PART_DIRECTORY = 2 };

#define ATLAS_PART_VERSION_SIZE 32

/* A view; spans borrow from the record. */
struct atlas_part {
    int alg;
    enum atlas_part_kind kind;
    uint64_t size;  /* of a file */
    uint64_t total; /* chunks of the file, or files of the directory */
    uint64_t links; /* of a directory */
    uint8_t version[ATLAS_PART_VERSION_SIZE];
    uint64_t first;
    uint64_t end; /* first <= end <= total */
    struct atlas_span link_lines;
    struct atlas_span lines;
};

/* The chunks that a file of that size has. */
uint64_t atlas_part_chunks(uint64_t size);

/* The first three lines. Then the caller writes link lines and lines, all or nothing. */
void atlas_part_write_header(const struct atlas_part *p, struct atlas_buf *ret_record);
void atlas_part_write_link(struct atlas_span path, struct atlas_span target, struct atlas_buf *ret_record);
void atlas_part_write_node(struct atlas_span hash, struct atlas_buf *ret_record);

/* Read and check a whole record. ATLAS_E_PART: not a record of this version, or not in its only form. */
int atlas_part_read(struct atlas_span record, struct atlas_part *ret_part, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Cut the first line off p->lines of a part that was read: the hash of a node. False at the end. */
bool atlas_part_next_node(struct atlas_part *p, struct atlas_digest *ret_hash);

/* Cut the first line off p->link_lines: a link, encoded. False at the end. */
bool atlas_part_next_link(struct atlas_part *p, struct atlas_span *ret_path, struct atlas_span *ret_target);

/* Are these parts of the same version of the same file or directory? */
bool atlas_part_same_whole(const struct atlas_part *a, const struct atlas_part *b);

#endif
