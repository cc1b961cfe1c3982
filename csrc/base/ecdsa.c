#include "base/ecdsa.h"

#define SEQUENCE 0x30
#define INTEGER 0x02

/* The number without leading zeros: at least one byte of it. */
static struct atlas_span strip(struct atlas_span number)
{
    struct atlas_span zero;
    while (number.n > 1 && number.p[0] == 0) {
        (void)atlas_span_take(&number, 1, &zero);
    }
    return number;
}

/* Octets of the content of a positive INTEGER: a leading zero keeps it positive. */
static size_t integer_size(struct atlas_span number)
{
    return number.n + (number.p[0] >> 7);
}

static void write_integer(struct atlas_span number, struct atlas_buf *out)
{
    atlas_buf_append_u8(out, INTEGER);
    atlas_buf_append_u8(out, (uint8_t)integer_size(number));
    if (number.p[0] >> 7 != 0) {
        atlas_buf_append_u8(out, 0);
    }
    atlas_buf_append(out, number);
}

bool atlas_ecdsa_to_der(struct atlas_span raw, struct atlas_buf *ret_der)
{
    size_t half = raw.n / 2;
    if (raw.n == 0 || raw.n % 2 != 0 || half > ATLAS_ECDSA_MAX_HALF) {
        return false;
    }
    struct atlas_span r = strip(atlas_span_sub(raw, 0, half));
    struct atlas_span s = strip(atlas_span_sub(raw, half, half));
    size_t n = 2 + integer_size(r) + 2 + integer_size(s);
    atlas_buf_append_u8(ret_der, SEQUENCE);
    if (n > 127) { /* at most 138 */
        atlas_buf_append_u8(ret_der, 0x81);
    }
    atlas_buf_append_u8(ret_der, (uint8_t)n);
    write_integer(r, ret_der);
    write_integer(s, ret_der);
    return true;
}

/* An INTEGER whose length fits one byte, not negative, in its shortest form; without its leading zero. */
static bool take_integer(struct atlas_span *rest, size_t half, struct atlas_span *ret_number)
{
    uint8_t tag;
    uint8_t n;
    struct atlas_span number;
    if (!atlas_span_take_u8(rest, &tag) || tag != INTEGER || !atlas_span_take_u8(rest, &n) || n == 0 || n > 127 ||
        !atlas_span_take(rest, n, &number) || number.p[0] > 127 ||
        (n > 1 && number.p[0] == 0 && number.p[1] < 128)) {
        return false;
    }
    *ret_number = strip(number);
    return ret_number->n <= half;
}

static void pad(struct atlas_span number, size_t half, struct atlas_buf *out)
{
    for (size_t i = number.n; i < half; i++) {
        atlas_buf_append_u8(out, 0);
    }
    atlas_buf_append(out, number);
}

bool atlas_ecdsa_from_der(struct atlas_span der, size_t half, struct atlas_buf *ret_raw)
{
    uint8_t tag;
    uint8_t n;
    struct atlas_span r;
    struct atlas_span s;
    bool good = atlas_span_take_u8(&der, &tag) && tag == SEQUENCE && atlas_span_take_u8(&der, &n) &&
                (n <= 127 || (n == 0x81 && atlas_span_take_u8(&der, &n) && n > 127)) && n == der.n;
    if (!good || !take_integer(&der, half, &r) || !take_integer(&der, half, &s) || der.n != 0) {
        return false;
    }
    pad(r, half, ret_raw);
    pad(s, half, ret_raw);
    return true;
}
