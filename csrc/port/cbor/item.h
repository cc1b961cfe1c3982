/* item.h - inside port/cbor only: one encoded item, and the keys of a map in order. */
#ifndef ATLAS_PORT_CBOR_ITEM_H
#define ATLAS_PORT_CBOR_ITEM_H

#include "port/cbor.h"

/* RFC 8949, 3.3 and 3.4. */
enum { ATLAS_CBOR_SIMPLE_FALSE = 20, ATLAS_CBOR_SIMPLE_TRUE = 21, ATLAS_CBOR_SIMPLE_NULL = 22 };
enum { ATLAS_CBOR_TAG_DATE = 0, ATLAS_CBOR_TAG_BIGNUM = 2, ATLAS_CBOR_TAG_NEGATIVE_BIGNUM = 3 };

/* One item's own bytes: its head and, for a string, its body. */
struct atlas_cbor_item {
    enum atlas_cbor_type type;
    uint64_t v;             /* argument of the head: value, length, count, tag, float bits */
    size_t head;            /* bytes of the head */
    size_t size;            /* bytes of head and body; the children of a container follow them */
    struct atlas_span body; /* of a string */
    uint32_t children;      /* items inside: elements, keys and values, or the one tagged item */
};

/* The item at the front. Refuses whatever the profile refuses about one item, UTF-8 excepted; never reads beyond s. On
 * failure *ret_why says why and *ret_item is undefined. */
int atlas_cbor_item_read(struct atlas_span s, struct atlas_cbor_item *ret_item, const char **ret_why);

/* Cut one whole item, with everything in it, off the front. */
int atlas_cbor_item_take(struct atlas_span *s, struct atlas_span *ret_whole, const char **ret_why);

/* An encoded key inside the bytes of a map. */
struct atlas_cbor_key {
    uint32_t offset;
    uint32_t size;
};

static inline struct atlas_span atlas_cbor_key_span(struct atlas_span bytes, struct atlas_cbor_key key)
{
    return atlas_span_sub(bytes, key.offset, key.size);
}

/* Find n entries (key item, value item) at the front of bytes; sort them by encoded key, RFC 8949 4.2.1 (scratch has
 * room for as many); is some key there twice? */
int atlas_cbor_keys_collect(struct atlas_span bytes, struct atlas_cbor_key *keys, size_t n, size_t *ret_size,
                            const char **ret_why);
void atlas_cbor_keys_sort(struct atlas_span bytes, struct atlas_cbor_key *keys, struct atlas_cbor_key *scratch,
                          size_t n);
bool atlas_cbor_keys_have_twins(struct atlas_span bytes, const struct atlas_cbor_key *sorted, size_t n);

/* IEEE 754 binary16 as a double; every one is exact. */
double atlas_cbor_half_value(uint16_t bits);

#endif
