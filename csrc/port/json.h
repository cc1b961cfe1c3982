/*
 * json.h - JSON (RFC 8259) in two halves: a scanner that finds the bytes of one value, and typed reading of parsed
 * documents. The only user of jansson.
 *
 * Vendors sign the bytes of a JSON value as they serve it, so a verifier needs those bytes, not what a parser made of
 * them. The scanner is iterative, allocates nothing and refuses what could be read in two ways: a top-level key twice,
 * an escape in a top-level key, anything after the document, more than ATLAS_MAX_JSON_DEPTH levels (ATLAS_E_LIMIT).
 * Parsing runs the scanner first (jansson recurses), then refuses duplicate keys at every level.
 *
 * ATLAS_E_JSON: not JSON, or not what the schema says. ATLAS_E_LIMIT: too deep or longer than ATLAS_MAX_JSON_BYTES.
 */
#ifndef ATLAS_PORT_JSON_H
#define ATLAS_PORT_JSON_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define ATLAS_MAX_JSON_BYTES (4u << 20)
#define ATLAS_MAX_JSON_DEPTH 32

/* ---------------------------------------------------------------------------------------------- exact bytes */

/* Is this one JSON object and nothing else? */
int atlas_json_check(struct atlas_span document, const char *where, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The exact bytes of the value of a top-level member, without the white space around it. The whole document is
 * checked. ATLAS_E_NOT_FOUND: there is no such member. */
int atlas_json_find(struct atlas_span document, const char *key, const char *where, struct atlas_span *ret_value,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

/* -------------------------------------------------------------------------------------------- parsed values */

struct atlas_json; /* one value; owned by the document that atlas_json_new made */

/* Parse one object. Free it. */
int atlas_json_new(struct atlas_span document, const char *where, struct atlas_json **ret_document,
                   struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_json_free(struct atlas_json *document);

/* The value of a member; NULL when there is none or `object` is no object. */
const struct atlas_json *atlas_json_member(const struct atlas_json *object, const char *key);

size_t atlas_json_count(const struct atlas_json *array); /* elements; 0 for anything that is no array */
const struct atlas_json *atlas_json_at(const struct atlas_json *array, size_t index);
bool atlas_json_text(const struct atlas_json *value, struct atlas_span *ret_text); /* false: not a string */

/* Hexadecimal digits of either case, exactly n bytes of them. */
bool atlas_json_hex(const struct atlas_json *value, uint8_t *ret_bytes, size_t n);

/* ------------------------------------------------------------------------------- table-driven object reading */

enum atlas_json_want {
    ATLAS_JSON_WANT_UINT,   /* struct atlas_json_uint, up to 2^53 */
    ATLAS_JSON_WANT_BOOL,   /* struct atlas_json_uint, v is 0 or 1 */
    ATLAS_JSON_WANT_TEXT,   /* struct atlas_span; p == NULL when absent */
    ATLAS_JSON_WANT_DATE,   /* int64_t, Unix time of "2026-02-18T10:58:51Z"; 0 when absent */
    ATLAS_JSON_WANT_HEX,    /* struct atlas_json_hex of exactly `size` bytes */
    ATLAS_JSON_WANT_OBJECT, /* const struct atlas_json *; NULL when absent */
    ATLAS_JSON_WANT_ARRAY,  /* const struct atlas_json *; NULL when absent */
};

struct atlas_json_uint {
    bool present;
    uint64_t v;
};

struct atlas_json_hex {
    size_t n; /* 0: absent */
    uint8_t b[64];
};

struct atlas_json_field {
    const char *name;
    enum atlas_json_want want;
    bool required;
    size_t offset; /* offsetof the member of the view */
    size_t size;   /* of HEX: bytes, at most 64 */
};

#define ATLAS_JSON_REQUIRED(type, name, want, member) \
    {name, ATLAS_JSON_WANT_##want, true, offsetof(struct type, member), 0}
#define ATLAS_JSON_OPTIONAL(type, name, want, member) \
    {name, ATLAS_JSON_WANT_##want, false, offsetof(struct type, member), 0}
#define ATLAS_JSON_HEX(type, name, size, member) \
    {name, ATLAS_JSON_WANT_HEX, true, offsetof(struct type, member), size}
#define ATLAS_JSON_OPTIONAL_HEX(type, name, size, member) \
    {name, ATLAS_JSON_WANT_HEX, false, offsetof(struct type, member), size}

/* Fill `view`, which the caller has zeroed, by the table. Members that the table does not name are passed over, or,
 * when `closed`, refused: a misspelt rule must not be a rule that is not there. */
int atlas_json_read(const struct atlas_json *object, const struct atlas_json_field *fields, size_t n, bool closed,
                    const char *where, void *view, struct atlas_error *error) ATLAS_MUST_CHECK;

/* "2026-02-18T10:58:51Z" as Unix time; years 1970 to 9999. */
bool atlas_json_date(struct atlas_span text, int64_t *ret_time);

#endif
