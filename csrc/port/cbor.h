/*
 * cbor.h - CBOR (RFC 8949): a strict cursor over borrowed bytes and a deterministic writer.
 *
 * The profile. Accepted: definite lengths, shortest heads, integers, byte strings, UTF-8 text, arrays, maps in any key
 * order, tags, floats, false, true, null. Refused: indefinite lengths, heads longer than needed, bad UTF-8, the same
 * map key twice, map keys that are no integer, text or byte string, big numbers (tags 2 and 3), undefined and other
 * simple values, bytes after the document, more than ATLAS_MAX_CBOR_DEPTH levels (ATLAS_E_LIMIT) or
 * ATLAS_MAX_CBOR_ITEMS items (ATLAS_E_LIMIT).
 *
 * Reading is one check of the whole document, then a walk over bytes that are known to be good:
 *
 *     struct atlas_cbor c;
 *     ATLAS_TRY(atlas_cbor_init(&c, bytes, "claim", error));  the whole document is checked here, iteratively
 *     ATLAS_TRY(atlas_cbor_enter_array(&c, NULL));
 *     while (atlas_cbor_more(&c)) {
 *         ATLAS_TRY(atlas_cbor_take_text(&c, &text));
 *     }
 *     ATLAS_TRY(atlas_cbor_leave(&c));
 *     ATLAS_TRY(atlas_cbor_finish(&c));                       nothing left over, nothing still open
 *
 * The first error is sticky: every later call returns it and writes nothing. Nothing is copied; spans point into the
 * document. Nothing is allocated, except 16 bytes per key while a map of more than 64 keys that are not in
 * deterministic order is searched for duplicates.
 */
#ifndef ATLAS_PORT_CBOR_H
#define ATLAS_PORT_CBOR_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

/* ---------------------------------------------------------------------------------------------- reading */

enum atlas_cbor_type {
    ATLAS_CBOR_NONE = 0, /* no item here: the open array or map is at its end, or an error happened */
    ATLAS_CBOR_UINT,
    ATLAS_CBOR_NEGINT,
    ATLAS_CBOR_BYTES,
    ATLAS_CBOR_TEXT,
    ATLAS_CBOR_ARRAY,
    ATLAS_CBOR_MAP,
    ATLAS_CBOR_TAG,
    ATLAS_CBOR_BOOL,
    ATLAS_CBOR_NULL,
    ATLAS_CBOR_FLOAT,
};

struct atlas_cbor {
    struct atlas_span whole;    /* the document: error offsets count from its first byte */
    struct atlas_span rest;     /* not read yet */
    struct atlas_error *error;  /* may be NULL */
    const char *where;          /* names the document in errors; a string that outlives the cursor */
    size_t index;               /* position in the list that is being walked, for errors; ATLAS_NO_OFFSET: none */
    const char *field;          /* map entry that is being read, for errors; NULL: none */
    int misfit;                 /* code of "well-formed, but not the expected item"; ATLAS_E_CBOR unless changed */
    int rc;                     /* the first error, sticky */
    uint8_t depth;              /* arrays and maps that are open */
    uint32_t left[ATLAS_MAX_CBOR_DEPTH + 1]; /* items still to come, per level; a map counts keys and values */
};

/* Is this one document of the profile, and nothing else? Time is linear in the bytes, times log(keys) for unsorted
 * maps. */
ATLAS_MUST_CHECK int atlas_cbor_check(struct atlas_span document, const char *where, struct atlas_error *error);

/* Check the whole document and stand before its only item. */
ATLAS_MUST_CHECK int atlas_cbor_init(struct atlas_cbor *c, struct atlas_span document, const char *where,
                                     struct atlas_error *error);

/* Stand before an item that was cut out of a checked document (by atlas_cbor_take_raw or a map reader), without
 * checking it again. Only the price depends on that promise: on unchecked bytes the cursor is as memory-safe, but
 * duplicate keys and bad UTF-8 would pass. */
void atlas_cbor_open(struct atlas_cbor *c, struct atlas_span item, const char *where, struct atlas_error *error);

/* The same for a list: opens the array and stands before its first element; `index` counts the elements. */
ATLAS_MUST_CHECK int atlas_cbor_open_list(struct atlas_cbor *c, struct atlas_span array, const char *where,
                                          struct atlas_error *error);

/* The type of the next item; a tag shows as ATLAS_CBOR_TAG. */
enum atlas_cbor_type atlas_cbor_peek(const struct atlas_cbor *c);

/* Is there another item at this level? False after an error, so that loops end. */
bool atlas_cbor_more(const struct atlas_cbor *c);

int atlas_cbor_take_uint(struct atlas_cbor *c, uint64_t *ret_v);
int atlas_cbor_take_int(struct atlas_cbor *c, int64_t *ret_v);           /* refuses what does not fit int64_t */
int atlas_cbor_take_negint(struct atlas_cbor *c, uint64_t *ret_v);       /* only below zero: it is -1 - *ret_v */
int atlas_cbor_take_bytes(struct atlas_cbor *c, struct atlas_span *ret_bytes); /* never p == NULL, even when empty */
int atlas_cbor_take_text(struct atlas_cbor *c, struct atlas_span *ret_text);
int atlas_cbor_take_date(struct atlas_cbor *c, struct atlas_span *ret_text); /* text, with or without tag 0 */
int atlas_cbor_take_bool(struct atlas_cbor *c, bool *ret_v);
int atlas_cbor_take_null(struct atlas_cbor *c);
int atlas_cbor_take_double(struct atlas_cbor *c, double *ret_v);         /* a float of any width */
int atlas_cbor_take_tag(struct atlas_cbor *c, uint64_t *ret_tag);        /* the tagged item comes next */

/* Open an array or map: n elements, or n pairs (key item, value item, ...), follow. ret_n may be NULL. */
int atlas_cbor_enter_array(struct atlas_cbor *c, uint32_t *ret_n);
int atlas_cbor_enter_map(struct atlas_cbor *c, uint32_t *ret_n);

/* Close it; an item that was neither taken nor skipped is an error. */
int atlas_cbor_leave(struct atlas_cbor *c);

/* One whole item with everything in it: pass over it, or keep its bytes. */
int atlas_cbor_skip(struct atlas_cbor *c);
int atlas_cbor_take_raw(struct atlas_cbor *c, struct atlas_span *ret_item);

/* Fail at the present position with c->misfit (or `code`); for rules that no type expresses. */
int atlas_cbor_refuse(struct atlas_cbor *c, int code, const char *format, ...) ATLAS_PRINTF(3, 4);

/* The sticky error; else an error when something is still open or bytes are left. */
ATLAS_MUST_CHECK int atlas_cbor_finish(struct atlas_cbor *c);

/* ----------------------------------------------------------------------------- table-driven map reading */

/* What a field must be, and which member receives it. */
enum atlas_cbor_want {
    ATLAS_CBOR_WANT_UINT,  /* struct atlas_cbor_uint */
    ATLAS_CBOR_WANT_BOOL,  /* struct atlas_cbor_uint, v is 0 or 1 */
    ATLAS_CBOR_WANT_BYTES, /* struct atlas_span; p == NULL when the field is absent */
    ATLAS_CBOR_WANT_TEXT,  /* struct atlas_span */
    ATLAS_CBOR_WANT_DATE,  /* struct atlas_span: text, with or without tag 0 */
    ATLAS_CBOR_WANT_ARRAY, /* struct atlas_span: the encoded array */
    ATLAS_CBOR_WANT_MAP,   /* struct atlas_span: the encoded map */
    ATLAS_CBOR_WANT_ANY,   /* struct atlas_span: the encoded item */
};

struct atlas_cbor_uint {
    bool present;
    uint64_t v;
};

struct atlas_cbor_field {
    const char *name; /* the key, a text string */
    enum atlas_cbor_want want;
    bool required;
    size_t offset; /* offsetof the member */
};

#define ATLAS_COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define ATLAS_CBOR_REQUIRED(type, name, want, member) \
    {name, ATLAS_CBOR_WANT_##want, true, offsetof(struct type, member)}
#define ATLAS_CBOR_OPTIONAL(type, name, want, member) \
    {name, ATLAS_CBOR_WANT_##want, false, offsetof(struct type, member)}

/* Take one map with text keys: the table is its schema. Fields that are found are stored into `view`, which the
 * caller has zeroed; unknown keys are skipped; a missing required field or a wrong type is c->misfit. At most 64
 * fields. */
int atlas_cbor_read_map(struct atlas_cbor *c, const struct atlas_cbor_field *fields, size_t n, void *view);

/* ---------------------------------------------------------------------------------------------- writing */

/* Shortest heads; out of memory is sticky in the buffer. Text must be UTF-8: that is the caller's duty. */
void atlas_cbor_write_uint(struct atlas_buf *b, uint64_t v);
void atlas_cbor_write_int(struct atlas_buf *b, int64_t v);
void atlas_cbor_write_negint(struct atlas_buf *b, uint64_t v); /* -1 - v */
void atlas_cbor_write_bytes(struct atlas_buf *b, struct atlas_span bytes);
void atlas_cbor_write_text(struct atlas_buf *b, struct atlas_span text);
void atlas_cbor_write_bool(struct atlas_buf *b, bool v);
void atlas_cbor_write_null(struct atlas_buf *b);
void atlas_cbor_write_double(struct atlas_buf *b, double v); /* shortest form that keeps the value, RFC 8949 4.2.1 */
void atlas_cbor_write_tag(struct atlas_buf *b, uint64_t tag);
void atlas_cbor_write_array(struct atlas_buf *b, uint64_t n); /* the head: n items must follow */
void atlas_cbor_write_date(struct atlas_buf *b, struct atlas_span text); /* tag 0 and the text */

/* A map under construction: entries in any order, written sorted by encoded key (RFC 8949 4.2.1), duplicates refused.
 * Owner: release it. */
struct atlas_cbor_map {
    struct atlas_buf bytes; /* key item, value item, key item, ... */
    size_t entries;
};

#define ATLAS_CBOR_MAP_INIT ((struct atlas_cbor_map){{NULL, 0, 0, false}, 0})

void atlas_cbor_map_release(struct atlas_cbor_map *m);

/* Begin an entry: the caller writes its key and then its value, each one item, into the returned buffer. */
struct atlas_buf *atlas_cbor_map_entry(struct atlas_cbor_map *m);

/* Begin an entry with a text key: the caller writes its value. */
struct atlas_buf *atlas_cbor_map_key(struct atlas_cbor_map *m, const char *key);

/* Whole entries. The span forms do nothing when v.p == NULL (an absent optional field). */
void atlas_cbor_map_put_uint(struct atlas_cbor_map *m, const char *key, uint64_t v);
void atlas_cbor_map_put_bool(struct atlas_cbor_map *m, const char *key, bool v);
void atlas_cbor_map_put_bytes(struct atlas_cbor_map *m, const char *key, struct atlas_span v);
void atlas_cbor_map_put_text(struct atlas_cbor_map *m, const char *key, struct atlas_span v);
void atlas_cbor_map_put_date(struct atlas_cbor_map *m, const char *key, struct atlas_span v);
void atlas_cbor_map_put_raw(struct atlas_cbor_map *m, const char *key, struct atlas_span v); /* one encoded item */

/* Append the map to b. ATLAS_E_ARG for a duplicate key, ATLAS_E_NOMEM. */
ATLAS_MUST_CHECK int atlas_cbor_map_write(struct atlas_cbor_map *m, struct atlas_buf *b, struct atlas_error *error);

#endif
