#include "port/crypto/der.h"

/* X.690, 10.1: the length in the fewest octets, never the indefinite form. */
static bool take_length(struct atlas_span *rest, size_t *ret_n)
{
    uint8_t first;
    if (!atlas_span_take_u8(rest, &first)) {
        return false;
    }
    if (first < 0x80) {
        *ret_n = first;
        return true;
    }
    size_t octets = first & 0x7F;
    if (octets == 0 || octets > 4) {
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < octets; i++) {
        uint8_t v;
        if (!atlas_span_take_u8(rest, &v) || (i == 0 && v == 0)) {
            return false;
        }
        n = n << 8 | v;
    }
    *ret_n = n;
    return n >= 0x80;
}

bool atlas_der_next(struct atlas_span *rest, struct atlas_der *ret_element)
{
    struct atlas_span left = *rest;
    struct atlas_der element;
    size_t n;
    if (!atlas_span_take_u8(&left, &element.tag) || (element.tag & 0x1F) == 0x1F || !take_length(&left, &n) ||
        !atlas_span_take(&left, n, &element.content)) {
        return false;
    }
    element.whole = atlas_span_sub(*rest, 0, rest->n - left.n);
    *rest = left;
    *ret_element = element;
    return true;
}

bool atlas_der_take(struct atlas_span *rest, uint8_t tag, struct atlas_der *ret_element)
{
    if (rest->n == 0 || rest->p[0] != tag) {
        return false;
    }
    return atlas_der_next(rest, ret_element);
}
