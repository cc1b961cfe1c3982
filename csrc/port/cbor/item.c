/* item.c - one encoded item: the only place that looks at heads. */
#include "port/cbor/item.h"

/* RFC 8949, 3: major types and the additional information that announces a longer head. */
enum { MAJOR_UINT, MAJOR_NEGINT, MAJOR_BYTES, MAJOR_TEXT, MAJOR_ARRAY, MAJOR_MAP, MAJOR_TAG, MAJOR_SIMPLE };
enum { INFO_1_BYTE = 24, INFO_2_BYTES = 25, INFO_4_BYTES = 26, INFO_8_BYTES = 27, INFO_INDEFINITE = 31 };

static int refuse(const char **ret_why, int code, const char *text)
{
    *ret_why = text;
    return code;
}

/* The argument behind a head of more than one byte, in its shortest form (RFC 8949, 4.2.1). Floats are exempt: their
 * bits are no number that could be shorter. */
static int read_argument(struct atlas_span rest, unsigned info, bool is_float, struct atlas_cbor_item *ret,
                         const char **ret_why)
{
    static const uint64_t smallest[] = {INFO_1_BYTE, UINT64_C(1) << 8, UINT64_C(1) << 16, UINT64_C(1) << 32};
    if (info > INFO_8_BYTES) {
        return refuse(ret_why, ATLAS_E_CBOR,
                      info == INFO_INDEFINITE ? "has no definite length" : "has a reserved head");
    }
    struct atlas_span argument;
    if (!atlas_span_take(&rest, (size_t)1 << (info - INFO_1_BYTE), &argument)) {
        return refuse(ret_why, ATLAS_E_CBOR, "the data end inside a head");
    }
    uint64_t v = 0;
    for (size_t i = 0; i < argument.n; i++) {
        v = v << 8 | argument.p[i];
    }
    if (!is_float && v < smallest[info - INFO_1_BYTE]) {
        return refuse(ret_why, ATLAS_E_CBOR, "has a head that is longer than needed");
    }
    ret->v = v;
    ret->head = 1 + argument.n;
    return ATLAS_OK;
}

static int read_string(struct atlas_span s, struct atlas_cbor_item *ret, const char **ret_why)
{
    if (ret->v > s.n - ret->head) {
        return refuse(ret_why, ATLAS_E_CBOR, "is a string longer than the data");
    }
    ret->size = ret->head + (size_t)ret->v;
    ret->body = atlas_span_sub(s, ret->head, (size_t)ret->v);
    return ATLAS_OK;
}

/* Every element takes a byte at least: a count that cannot be true is refused before anyone believes it. */
static int read_container(struct atlas_span s, size_t items_each, struct atlas_cbor_item *ret, const char **ret_why)
{
    if (ret->v > (s.n - ret->head) / items_each) {
        return refuse(ret_why, ATLAS_E_CBOR, "announces more items than there are bytes");
    }
    if (ret->v > ATLAS_MAX_CBOR_ITEMS) {
        return refuse(ret_why, ATLAS_E_LIMIT, "holds too many items");
    }
    ret->children = (uint32_t)(ret->v * items_each);
    return ATLAS_OK;
}

static int read_tag(struct atlas_cbor_item *ret, const char **ret_why)
{
    if (ret->v == ATLAS_CBOR_TAG_BIGNUM || ret->v == ATLAS_CBOR_TAG_NEGATIVE_BIGNUM) {
        return refuse(ret_why, ATLAS_E_CBOR, "is a big number");
    }
    ret->children = 1;
    return ATLAS_OK;
}

static int read_simple(struct atlas_cbor_item *ret, const char **ret_why)
{
    if (ret->head > 2) {
        ret->type = ATLAS_CBOR_FLOAT;
        return ATLAS_OK;
    }
    if (ret->head == 1 && (ret->v == ATLAS_CBOR_SIMPLE_FALSE || ret->v == ATLAS_CBOR_SIMPLE_TRUE)) {
        ret->type = ATLAS_CBOR_BOOL;
        return ATLAS_OK;
    }
    if (ret->head == 1 && ret->v == ATLAS_CBOR_SIMPLE_NULL) {
        ret->type = ATLAS_CBOR_NULL;
        return ATLAS_OK;
    }
    return refuse(ret_why, ATLAS_E_CBOR, "is undefined or an unassigned simple value");
}

static int read_body(struct atlas_span s, unsigned major, struct atlas_cbor_item *ret, const char **ret_why)
{
    static const enum atlas_cbor_type types[] = {ATLAS_CBOR_UINT,  ATLAS_CBOR_NEGINT, ATLAS_CBOR_BYTES, ATLAS_CBOR_TEXT,
                                                 ATLAS_CBOR_ARRAY, ATLAS_CBOR_MAP,    ATLAS_CBOR_TAG};
    if (major == MAJOR_SIMPLE) {
        return read_simple(ret, ret_why);
    }
    ret->type = types[major];
    switch (major) {
    case MAJOR_BYTES:
    case MAJOR_TEXT:
        return read_string(s, ret, ret_why);
    case MAJOR_ARRAY:
        return read_container(s, 1, ret, ret_why);
    case MAJOR_MAP:
        return read_container(s, 2, ret, ret_why);
    case MAJOR_TAG:
        return read_tag(ret, ret_why);
    default:
        return ATLAS_OK;
    }
}

int atlas_cbor_item_read(struct atlas_span s, struct atlas_cbor_item *ret_item, const char **ret_why)
{
    uint8_t first;
    struct atlas_span rest = s;
    if (!atlas_span_take_u8(&rest, &first)) {
        return refuse(ret_why, ATLAS_E_CBOR, "the data end where an item should begin");
    }
    unsigned major = first >> 5;
    unsigned info = first & 31u;
    struct atlas_cbor_item item = {.v = info, .head = 1};
    int rc = info < INFO_1_BYTE ? ATLAS_OK : read_argument(rest, info, first >= 0xF9, &item, ret_why);
    item.size = item.head;
    if (rc == ATLAS_OK) {
        rc = read_body(s, major, &item, ret_why);
    }
    if (rc == ATLAS_OK) {
        *ret_item = item;
    }
    return rc;
}

int atlas_cbor_item_take(struct atlas_span *s, struct atlas_span *ret_whole, const char **ret_why)
{
    struct atlas_span rest = *s;
    for (uint64_t pending = 1; pending != 0; pending--) {
        struct atlas_cbor_item item = {0};
        struct atlas_span own;
        int rc = atlas_cbor_item_read(rest, &item, ret_why);
        if (rc < 0) {
            return rc;
        }
        (void)atlas_span_take(&rest, item.size, &own); /* read saw that it is there */
        pending += item.children;
    }
    (void)atlas_span_take(s, s->n - rest.n, ret_whole);
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

static void exchange(struct atlas_cbor_key *a, struct atlas_cbor_key *b)
{
    struct atlas_cbor_key was = *a;
    *a = *b;
    *b = was;
}

static void sift_down(struct atlas_span bytes, struct atlas_cbor_key *keys, size_t root, size_t n)
{
    for (size_t child = 2 * root + 1; child < n; child = 2 * root + 1) {
        if (child + 1 < n && compare(bytes, keys[child], keys[child + 1]) < 0) {
            child++;
        }
        if (compare(bytes, keys[root], keys[child]) >= 0) {
            return;
        }
        exchange(&keys[root], &keys[child]);
        root = child;
    }
}

/* Heapsort: in place, and no input makes it slow. */
void atlas_cbor_keys_sort(struct atlas_span bytes, struct atlas_cbor_key *keys, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) {
        sift_down(bytes, keys, i, n);
    }
    for (size_t i = n; i-- > 1;) {
        exchange(&keys[0], &keys[i]);
        sift_down(bytes, keys, 0, i);
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
