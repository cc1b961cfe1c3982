/* write.c - deterministic CBOR (RFC 8949, 4.2.1). The only file that includes <cbor.h>, and only for its encoders: as a
 * reader libcbor 0.8 refuses tag 18, accepts duplicate keys, long heads and trailing bytes, and allocates what a head
 * asks for. */
#include <cbor.h>
#include <float.h>
#include <stdlib.h>

#include "port/cbor/item.h"

/* The longest head. */
#define HEAD_BYTES 9

void atlas_cbor_write_uint(struct atlas_buf *b, uint64_t v)
{
    uint8_t head[HEAD_BYTES];
    atlas_buf_append(b, atlas_span_of(head, cbor_encode_uint(v, head, sizeof head)));
}

void atlas_cbor_write_int(struct atlas_buf *b, int64_t v)
{
    if (v < 0) {
        atlas_cbor_write_negint(b, (uint64_t)(-1 - v));
    } else {
        atlas_cbor_write_uint(b, (uint64_t)v);
    }
}

void atlas_cbor_write_negint(struct atlas_buf *b, uint64_t v)
{
    uint8_t head[HEAD_BYTES];
    atlas_buf_append(b, atlas_span_of(head, cbor_encode_negint(v, head, sizeof head)));
}

void atlas_cbor_write_bytes(struct atlas_buf *b, struct atlas_span bytes)
{
    uint8_t head[HEAD_BYTES];
    atlas_buf_append(b, atlas_span_of(head, cbor_encode_bytestring_start(bytes.n, head, sizeof head)));
    atlas_buf_append(b, bytes);
}

void atlas_cbor_write_text(struct atlas_buf *b, struct atlas_span text)
{
    uint8_t head[HEAD_BYTES];
    atlas_buf_append(b, atlas_span_of(head, cbor_encode_string_start(text.n, head, sizeof head)));
    atlas_buf_append(b, text);
}

void atlas_cbor_write_bool(struct atlas_buf *b, bool v)
{
    uint8_t head[HEAD_BYTES];
    atlas_buf_append(b, atlas_span_of(head, cbor_encode_bool(v, head, sizeof head)));
}

void atlas_cbor_write_null(struct atlas_buf *b)
{
    uint8_t head[HEAD_BYTES];
    atlas_buf_append(b, atlas_span_of(head, cbor_encode_null(head, sizeof head)));
}

void atlas_cbor_write_tag(struct atlas_buf *b, uint64_t tag)
{
    uint8_t head[HEAD_BYTES];
    atlas_buf_append(b, atlas_span_of(head, cbor_encode_tag(tag, head, sizeof head)));
}

void atlas_cbor_write_array(struct atlas_buf *b, uint64_t n)
{
    uint8_t head[HEAD_BYTES];
    atlas_buf_append(b, atlas_span_of(head, cbor_encode_array_start((size_t)n, head, sizeof head)));
}

void atlas_cbor_write_date(struct atlas_buf *b, struct atlas_span text)
{
    atlas_cbor_write_tag(b, ATLAS_CBOR_TAG_DATE);
    atlas_cbor_write_text(b, text);
}

/* ------------------------------------------------------------------------------------------------ floats */

static uint64_t double_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* The binary16 that v would be if it were one; the caller compares. IEEE 754: exponents -14..15 are normal, down to -24
 * the implicit bit moves into the fraction. */
static uint16_t half_candidate(double v)
{
    uint64_t bits = double_bits(v);
    uint64_t sign = bits >> 63 << 15;
    int exponent = (int)(bits >> 52 & 2047u) - 1023;
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    if (exponent > 15) {
        return (uint16_t)(sign | 0x7C00u);
    }
    if (exponent >= -14) {
        return (uint16_t)(sign | (uint64_t)(exponent + 15) << 10 | fraction >> 42);
    }
    if (exponent >= -24) {
        return (uint16_t)(sign | (fraction | UINT64_C(1) << 52) >> (28 - exponent));
    }
    return (uint16_t)sign;
}

/* libcbor's encoder of halves cuts values off: two bytes are as well written here. */
static void write_half(struct atlas_buf *b, uint16_t bits)
{
    uint8_t item[] = {0xF9, (uint8_t)(bits >> 8), (uint8_t)bits};
    atlas_buf_append(b, atlas_span_of(item, sizeof item));
}

static bool fits_float(double v)
{
    return v >= -(double)FLT_MAX && v <= (double)FLT_MAX && double_bits((double)(float)v) == double_bits(v);
}

void atlas_cbor_write_double(struct atlas_buf *b, double v)
{
    uint8_t item[HEAD_BYTES];
    uint16_t half = half_candidate(v);
    if (v != v) {
        write_half(b, 0x7E00); /* the one NaN of deterministic encoding */
    } else if (double_bits(atlas_cbor_half_value(half)) == double_bits(v)) {
        write_half(b, half);
    } else if (fits_float(v)) {
        atlas_buf_append(b, atlas_span_of(item, cbor_encode_single((float)v, item, sizeof item)));
    } else {
        atlas_buf_append(b, atlas_span_of(item, cbor_encode_double(v, item, sizeof item)));
    }
}

/* -------------------------------------------------------------------------------------------------- maps */

void atlas_cbor_map_release(struct atlas_cbor_map *m)
{
    atlas_buf_release(&m->bytes);
    m->entries = 0;
}

struct atlas_buf *atlas_cbor_map_entry(struct atlas_cbor_map *m)
{
    m->entries++;
    return &m->bytes;
}

struct atlas_buf *atlas_cbor_map_key(struct atlas_cbor_map *m, const char *key)
{
    struct atlas_buf *b = atlas_cbor_map_entry(m);
    atlas_cbor_write_text(b, atlas_span_str(key));
    return b;
}

void atlas_cbor_map_put_uint(struct atlas_cbor_map *m, const char *key, uint64_t v)
{
    atlas_cbor_write_uint(atlas_cbor_map_key(m, key), v);
}

void atlas_cbor_map_put_bool(struct atlas_cbor_map *m, const char *key, bool v)
{
    atlas_cbor_write_bool(atlas_cbor_map_key(m, key), v);
}

void atlas_cbor_map_put_bytes(struct atlas_cbor_map *m, const char *key, struct atlas_span v)
{
    if (v.p != NULL) {
        atlas_cbor_write_bytes(atlas_cbor_map_key(m, key), v);
    }
}

void atlas_cbor_map_put_text(struct atlas_cbor_map *m, const char *key, struct atlas_span v)
{
    if (v.p != NULL) {
        atlas_cbor_write_text(atlas_cbor_map_key(m, key), v);
    }
}

void atlas_cbor_map_put_date(struct atlas_cbor_map *m, const char *key, struct atlas_span v)
{
    if (v.p != NULL) {
        atlas_cbor_write_date(atlas_cbor_map_key(m, key), v);
    }
}

void atlas_cbor_map_put_raw(struct atlas_cbor_map *m, const char *key, struct atlas_span v)
{
    if (v.p != NULL) {
        atlas_buf_append(atlas_cbor_map_key(m, key), v);
    }
}

static void append_sorted(struct atlas_buf *b, struct atlas_span bytes, const struct atlas_cbor_key *keys, size_t n)
{
    uint8_t head[HEAD_BYTES];
    atlas_buf_append(b, atlas_span_of(head, cbor_encode_map_start(n, head, sizeof head)));
    for (size_t i = 0; i < n; i++) {
        const char *why;
        size_t value_at = (size_t)keys[i].offset + keys[i].size;
        struct atlas_span rest = atlas_span_sub(bytes, value_at, bytes.n - value_at);
        struct atlas_span value = ATLAS_SPAN_NONE;
        (void)atlas_cbor_item_take(&rest, &value, &why); /* collect saw that it is there */
        atlas_buf_append(b, atlas_cbor_key_span(bytes, keys[i]));
        atlas_buf_append(b, value);
    }
}

static int write_entries(struct atlas_buf *b, struct atlas_span bytes, struct atlas_cbor_key *keys, size_t n,
                         struct atlas_error *error)
{
    size_t size;
    const char *why;
    if (atlas_cbor_keys_collect(bytes, keys, n, &size, &why) < 0 || size != bytes.n) {
        return atlas_error_set(error, ATLAS_E_INTERNAL, "", "an entry of a map is not one key and one value");
    }
    atlas_cbor_keys_sort(bytes, keys, keys + n, n);
    if (atlas_cbor_keys_have_twins(bytes, keys, n)) {
        return atlas_error_set(error, ATLAS_E_ARG, "", "the same key twice in one map");
    }
    append_sorted(b, bytes, keys, n);
    return atlas_buf_check(b, error);
}

int atlas_cbor_map_write(struct atlas_cbor_map *m, struct atlas_buf *b, struct atlas_error *error)
{
    struct atlas_span bytes = atlas_buf_span(&m->bytes);
    int rc = atlas_buf_check(&m->bytes, error);
    if (rc < 0) {
        return rc;
    }
    if (bytes.n > UINT32_MAX || m->entries > ATLAS_MAX_CBOR_ITEMS) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "", "a map that is too large");
    }
    /* the keys, and as much room to sort them */
    struct atlas_cbor_key *keys = calloc(2 * m->entries + 1, sizeof *keys);
    if (keys == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    rc = write_entries(b, bytes, keys, m->entries, error);
    free(keys);
    return rc;
}
