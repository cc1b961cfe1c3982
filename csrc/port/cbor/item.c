/* item.c - one encoded item: the only place that looks at heads. */
#include "port/cbor/item.h"

/* RFC 8949, 3: major types and the additional information that announces a longer head. */
enum { MAJOR_UINT, MAJOR_NEGINT, MAJOR_BYTES, MAJOR_TEXT, MAJOR_ARRAY, MAJOR_MAP, MAJOR_TAG, MAJOR_SIMPLE };
enum { INFO_1_BYTE = 24, INFO_2_BYTES = 25, INFO_4_BYTES = 26, INFO_8_BYTES = 27, INFO_INDEFINITE = 31 };
enum { FIRST_FLOAT = 0xF9 }; /* first bytes from here on: floats, and what read_simple refuses */

static int refuse(const char **ret_why, int code, const char *text)
{
    *ret_why = text;
    return code;
}

/* The argument behind a head of more than one byte, in its shortest form (RFC 8949, 4.2.1). Floats are exempt: their
 * bits are no number that could be shorter. */
static int read_argument(struct atlas_span rest, unsigned info, bool is_float, struct atlas_cbor_item *item,
                         const char **ret_why)
{
    static const uint64_t smallest[] = {INFO_1_BYTE, UINT64_C(1) << 8, UINT64_C(1) << 16, UINT64_C(1) << 32};
    struct atlas_span argument;
    if (info > INFO_8_BYTES) {
        return refuse(ret_why, ATLAS_E_CBOR,
                      info == INFO_INDEFINITE ? "has no definite length" : "has a reserved head");
    }
    if (!atlas_span_take(&rest, (size_t)1 << (info - INFO_1_BYTE), &argument)) {
        return refuse(ret_why, ATLAS_E_CBOR, "the data end inside a head");
    }
    item->v = 0;
    for (size_t i = 0; i < argument.n; i++) {
        item->v = item->v << 8 | argument.p[i];
    }
    item->head = 1 + argument.n;
    return is_float || item->v >= smallest[info - INFO_1_BYTE]
               ? ATLAS_OK
               : refuse(ret_why, ATLAS_E_CBOR, "has a head that is longer than needed");
}

static int read_string(struct atlas_span s, struct atlas_cbor_item *item, const char **ret_why)
{
    if (item->v > s.n - item->head) {
        return refuse(ret_why, ATLAS_E_CBOR, "is a string longer than the data");
    }
    item->body = atlas_span_sub(s, item->head, (size_t)item->v);
    item->size = item->head + (size_t)item->v;
    return ATLAS_OK;
}

/* Every element takes a byte at least: a count that cannot be true is refused before anyone believes it. */
static int read_container(struct atlas_span s, unsigned items_each, struct atlas_cbor_item *item, const char **ret_why)
{
    if (item->v > (s.n - item->head) / items_each) {
        return refuse(ret_why, ATLAS_E_CBOR, "announces more items than there are bytes");
    }
    if (item->v > ATLAS_MAX_CBOR_ITEMS) {
        return refuse(ret_why, ATLAS_E_LIMIT, "holds too many items");
    }
    item->children = (uint32_t)item->v * items_each;
    return ATLAS_OK;
}

static int read_tag(struct atlas_cbor_item *item, const char **ret_why)
{
    item->children = 1;
    return item->v == ATLAS_CBOR_TAG_BIGNUM || item->v == ATLAS_CBOR_TAG_NEGATIVE_BIGNUM
               ? refuse(ret_why, ATLAS_E_CBOR, "is a big number")
               : ATLAS_OK;
}

static int read_simple(struct atlas_cbor_item *item, const char **ret_why)
{
    bool one_byte = item->head == 1;
    if (item->head > 2) {
        item->type = ATLAS_CBOR_FLOAT;
    } else if (one_byte && (item->v == ATLAS_CBOR_SIMPLE_FALSE || item->v == ATLAS_CBOR_SIMPLE_TRUE)) {
        item->type = ATLAS_CBOR_BOOL;
    } else if (one_byte && item->v == ATLAS_CBOR_SIMPLE_NULL) {
        item->type = ATLAS_CBOR_NULL;
    } else {
        return refuse(ret_why, ATLAS_E_CBOR, "is undefined or an unassigned simple value");
    }
    return ATLAS_OK;
}

static int read_by_type(struct atlas_span s, unsigned major, struct atlas_cbor_item *item, const char **ret_why)
{
    static const uint8_t types[] = {ATLAS_CBOR_UINT,  ATLAS_CBOR_NEGINT, ATLAS_CBOR_BYTES, ATLAS_CBOR_TEXT,
                                    ATLAS_CBOR_ARRAY, ATLAS_CBOR_MAP,    ATLAS_CBOR_TAG,   ATLAS_CBOR_NONE};
    item->type = (enum atlas_cbor_type)types[major];
    switch (major) {
    case MAJOR_BYTES:
    case MAJOR_TEXT:
        return read_string(s, item, ret_why);
    case MAJOR_ARRAY:
        return read_container(s, 1, item, ret_why);
    case MAJOR_MAP:
        return read_container(s, 2, item, ret_why);
    case MAJOR_TAG:
        return read_tag(item, ret_why);
    case MAJOR_SIMPLE:
        return read_simple(item, ret_why);
    default:
        return ATLAS_OK;
    }
}

/* In line with both walks over whole documents, for their speed. */
static inline int read_item(struct atlas_span s, struct atlas_cbor_item *item, const char **ret_why)
{
    if (s.n == 0) {
        return refuse(ret_why, ATLAS_E_CBOR, "the data end where an item should begin");
    }
    uint8_t first = s.p[0];
    unsigned info = first & 31u;
    item->v = info;
    item->head = 1;
    item->children = 0;
    item->body = ATLAS_SPAN_NONE;
    if (info >= INFO_1_BYTE) {
        int rc = read_argument(atlas_span_sub(s, 1, s.n - 1), info, first >= FIRST_FLOAT, item, ret_why);
        if (rc < 0) {
            return rc;
        }
    }
    item->size = item->head;
    return read_by_type(s, first >> 5, item, ret_why);
}

int atlas_cbor_item_read(struct atlas_span s, struct atlas_cbor_item *ret_item, const char **ret_why)
{
    return read_item(s, ret_item, ret_why);
}

/* POINTER MATH: every step is within s, read_item saw to that. */
int atlas_cbor_item_take(struct atlas_span *s, struct atlas_span *ret_whole, const char **ret_why)
{
    size_t size = 0;
    if (s->n == 0) {
        return refuse(ret_why, ATLAS_E_CBOR, "the data end where an item should begin");
    }
    for (uint64_t pending = 1; pending != 0; pending--) {
        struct atlas_cbor_item item;
        int rc = read_item((struct atlas_span){s->p + size, s->n - size}, &item, ret_why);
        if (rc < 0) {
            return rc;
        }
        size += item.size;
        pending += item.children;
    }
    (void)atlas_span_take(s, size, ret_whole);
    return ATLAS_OK;
}

/* ---------------------------------------------------------------------------------------------- map keys */

int atlas_cbor_keys_collect(struct atlas_span bytes, struct atlas_cbor_key *keys, size_t n, size_t *ret_size,
                            const char **ret_why)
{
    struct atlas_span rest = bytes;
    for (size_t i = 0; i < n; i++) {
        struct atlas_span key = ATLAS_SPAN_NONE;
        struct atlas_span value;
        size_t offset = bytes.n - rest.n;
        int rc = atlas_cbor_item_take(&rest, &key, ret_why);
        if (rc == ATLAS_OK) {
            rc = atlas_cbor_item_take(&rest, &value, ret_why);
        }
        if (rc < 0) {
            return rc;
        }
        keys[i] = (struct atlas_cbor_key){(uint32_t)offset, (uint32_t)key.n};
    }
    *ret_size = bytes.n - rest.n;
    return ATLAS_OK;
}

static int compare(struct atlas_span bytes, struct atlas_cbor_key a, struct atlas_cbor_key b)
{
    return atlas_span_compare(atlas_cbor_key_span(bytes, a), atlas_cbor_key_span(bytes, b));
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Merge from[low, middle) and from[middle, high), both sorted, into to[low, high). */
static void merge(struct atlas_span bytes, const struct atlas_cbor_key *from, struct atlas_cbor_key *to, size_t low,
                  size_t middle, size_t high)
{
    size_t left = low;
    size_t right = middle;
    for (size_t i = low; i < high; i++) {
        bool take_left = left < middle && (right == high || compare(bytes, from[left], from[right]) <= 0);
        to[i] = take_left ? from[left++] : from[right++];
    }
}

/* Merge sort, from the bottom up: no recursion, no input makes it slow, and it walks memory in order. */
void atlas_cbor_keys_sort(struct atlas_span bytes, struct atlas_cbor_key *keys, struct atlas_cbor_key *scratch,
                          size_t n)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t low = 0; low < n; low += 2 * width) {
            merge(bytes, keys, scratch, low, smaller(low + width, n), smaller(low + 2 * width, n));
        }
        memcpy(keys, scratch, n * sizeof *keys);
    }
}

bool atlas_cbor_keys_have_twins(struct atlas_span bytes, const struct atlas_cbor_key *sorted, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (compare(bytes, sorted[i - 1], sorted[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------ floats */

double atlas_cbor_half_value(uint16_t bits)
{
    uint64_t sign = (uint64_t)bits >> 15 << 63;
    uint64_t exponent = bits >> 10 & 31u;
    uint64_t fraction = bits & 1023u;
    double v;
    if (exponent == 0) { /* zero and the subnormals: fraction * 2^-24 */
        v = (double)fraction / 16777216.0;
        return sign != 0 ? -v : v;
    }
    uint64_t wide = sign | (exponent == 31 ? 2047 : exponent - 15 + 1023) << 52 | fraction << 42;
    memcpy(&v, &wide, sizeof v);
    return v;
}
