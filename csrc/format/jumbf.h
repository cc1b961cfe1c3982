/*
 * jumbf.h - boxes of ISO/IEC 19566-5 as C2PA 2.x uses them (C2PA 2.2, 11.1): reader and writer.
 *
 * A box is LBox (u32 big-endian, header included), TBox (four characters), payload; LBox 1 puts a u64 length after
 * TBox. LBox 0 ("to the end") is refused. A superbox (TBox `jumb`) holds one description box (`jumd`: 16-byte type
 * UUID, toggles, label, optional salt) and then content boxes or superboxes.
 *
 * Read only after atlas_jumbf_check has seen the whole tree. Views borrow.
 */
#ifndef ATLAS_FORMAT_JUMBF_H
#define ATLAS_FORMAT_JUMBF_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define ATLAS_JUMBF_4CC(a, b, c, d) \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

/* Box types. */
#define ATLAS_JUMBF_SUPERBOX ATLAS_JUMBF_4CC('j', 'u', 'm', 'b')
#define ATLAS_JUMBF_DESCRIPTION ATLAS_JUMBF_4CC('j', 'u', 'm', 'd')
#define ATLAS_JUMBF_SALT ATLAS_JUMBF_4CC('c', '2', 's', 'h')
#define ATLAS_JUMBF_CBOR ATLAS_JUMBF_4CC('c', 'b', 'o', 'r')
#define ATLAS_JUMBF_JSON ATLAS_JUMBF_4CC('j', 's', 'o', 'n')
#define ATLAS_JUMBF_UUID ATLAS_JUMBF_4CC('u', 'u', 'i', 'd')
#define ATLAS_JUMBF_FILE_DESCRIPTION ATLAS_JUMBF_4CC('b', 'f', 'd', 'b')
#define ATLAS_JUMBF_FILE_DATA ATLAS_JUMBF_4CC('b', 'i', 'd', 'b')

/* Kind of the one superbox whose UUID has no four characters: embedded file, 40CB0C32-BB8A-489D-A70B-2AD6F47F4369. */
#define ATLAS_JUMBF_EMBEDDED_FILE 1u

#define ATLAS_JUMBF_SALT_BYTES 32 /* what we write; 16 are read as well */

struct atlas_jumbf_box {
    uint32_t type;             /* TBox */
    struct atlas_span box;     /* header included */
    struct atlas_span payload; /* without the header */
};

struct atlas_jumbf {
    uint32_t kind;             /* first four characters of the type UUID; ATLAS_JUMBF_EMBEDDED_FILE; 0: another UUID */
    struct atlas_span box;     /* header included */
    struct atlas_span payload; /* without the header: what C2PA hashes */
    struct atlas_span label;   /* UTF-8 without NUL, control characters and / ; ? #; never empty */
    struct atlas_span salt;    /* 16 or 32 bytes; p == NULL: none */
    struct atlas_span content; /* the boxes after the description */
};

/* ---------------------------------------------------------------------------------------------- reading */

/* Walks the boxes of a span, one after the other. */
struct atlas_jumbf_iter {
    struct atlas_span whole; /* error offsets count from its first byte */
    struct atlas_span rest;
    const char *where;
    struct atlas_error *error;
};

/* Is this exactly one superbox, every box inside another, every description well-formed, at most
 * ATLAS_MAX_JUMBF_DEPTH superboxes deep (ATLAS_E_LIMIT)? Iterative, linear, no allocation. */
ATLAS_MUST_CHECK int atlas_jumbf_check(struct atlas_span bytes, const char *where, struct atlas_error *error);

struct atlas_jumbf_iter atlas_jumbf_iterate(struct atlas_span boxes, const char *where, struct atlas_error *error);

static inline bool atlas_jumbf_more(const struct atlas_jumbf_iter *it)
{
    return it->rest.n != 0;
}

/* The next box of any type; the next box, which must be a superbox. After an error the iterator is at its end. */
ATLAS_MUST_CHECK int atlas_jumbf_next_box(struct atlas_jumbf_iter *it, struct atlas_jumbf_box *ret_box);
ATLAS_MUST_CHECK int atlas_jumbf_next(struct atlas_jumbf_iter *it, struct atlas_jumbf *ret_superbox);

/* The superbox that fills the span, with nothing after it. */
ATLAS_MUST_CHECK int atlas_jumbf_read(struct atlas_span bytes, const char *where, struct atlas_jumbf *ret_superbox,
                                      struct atlas_error *error);

/* The payload of the only box in the content of a superbox, which must have this type. */
ATLAS_MUST_CHECK int atlas_jumbf_content(const struct atlas_jumbf *superbox, uint32_t type, const char *where,
                                         struct atlas_span *ret_payload, struct atlas_error *error);

/* The superboxes of a span sorted by label, for look-ups that stay fast when there are thousands. Owner. */
struct atlas_jumbf_index {
    struct atlas_buf boxes; /* struct atlas_jumbf */
    size_t n;
};

#define ATLAS_JUMBF_INDEX_INIT ((struct atlas_jumbf_index){ATLAS_BUF_INIT, 0})

/* Two superboxes with one label are refused, unless twins is set and they are equal byte for byte: then the first one
 * counts. More than max: ATLAS_E_LIMIT. */
ATLAS_MUST_CHECK int atlas_jumbf_index_read(struct atlas_span boxes, size_t max, bool twins, const char *where,
                                            struct atlas_jumbf_index *ret_index, struct atlas_error *error);
void atlas_jumbf_index_release(struct atlas_jumbf_index *index);

/* The superbox at a place of the sorted order, i < index->n; the one with that label, or NULL. */
const struct atlas_jumbf *atlas_jumbf_index_at(const struct atlas_jumbf_index *index, size_t i);
const struct atlas_jumbf *atlas_jumbf_index_find(const struct atlas_jumbf_index *index, struct atlas_span label);

/* May a superbox be called that? UTF-8, not empty, no control characters, none of / ; ? # (C2PA 2.2, 11.1.4). */
bool atlas_jumbf_label_check(struct atlas_span label);

/* ---------------------------------------------------------------------------------------------- writing */

/* Begin a superbox: header, description with label and, unless salt.p is NULL, salt (16 or 32 bytes). Returns the mark
 * for atlas_jumbf_close, which fills in the length once the content was appended and refuses (ATLAS_E_ARG) a label or
 * salt that no reader would accept. Superboxes nest. */
size_t atlas_jumbf_open(struct atlas_buf *b, uint32_t kind, struct atlas_span label, struct atlas_span salt);
ATLAS_MUST_CHECK int atlas_jumbf_close(struct atlas_buf *b, size_t mark, struct atlas_error *error);

/* A content box. */
ATLAS_MUST_CHECK int atlas_jumbf_write_box(struct atlas_buf *b, uint32_t type, struct atlas_span payload,
                                           struct atlas_error *error);

/* The payload of the superbox that starts at mark (what C2PA hashes), after atlas_jumbf_close; valid until the next
 * append. */
struct atlas_span atlas_jumbf_written(const struct atlas_buf *b, size_t mark);

#endif
