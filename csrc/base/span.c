#include "base/span.h"

int atlas_span_compare(struct atlas_span a, struct atlas_span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n != 0 ? memcmp(a.p, b.p, n) : 0;
    if (order != 0) {
        return order;
    }
    return (a.n > b.n) - (a.n < b.n);
}

bool atlas_span_starts_with(struct atlas_span s, struct atlas_span prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* POINTER MATH */
struct atlas_span atlas_span_sub(struct atlas_span s, size_t offset, size_t n)
{
    if (offset > s.n || n > s.n - offset) {
        return ATLAS_SPAN_NONE;
    }
    return (struct atlas_span){s.p + offset, n};
}

/* POINTER MATH */
bool atlas_span_take(struct atlas_span *s, size_t n, struct atlas_span *ret_head)
{
    if (n > s->n) {
        return false;
    }
    *ret_head = (struct atlas_span){s->p, n};
    if (n != 0) { /* NULL + 0 is undefined in C11 */
        s->p += n;
        s->n -= n;
    }
    return true;
}

bool atlas_span_take_u8(struct atlas_span *s, uint8_t *ret_v)
{
    struct atlas_span head;
    if (!atlas_span_take(s, 1, &head)) {
        return false;
    }
    *ret_v = head.p[0];
    return true;
}

bool atlas_span_take_be32(struct atlas_span *s, uint32_t *ret_v)
{
    struct atlas_span head;
    if (!atlas_span_take(s, 4, &head)) {
        return false;
    }
    *ret_v = (uint32_t)head.p[0] << 24 | (uint32_t)head.p[1] << 16 | (uint32_t)head.p[2] << 8 | head.p[3];
    return true;
}

bool atlas_span_take_be64(struct atlas_span *s, uint64_t *ret_v)
{
    uint32_t high;
    uint32_t low;
    struct atlas_span copy = *s;
    if (!atlas_span_take_be32(&copy, &high) || !atlas_span_take_be32(&copy, &low)) {
        return false;
    }
    *s = copy;
    *ret_v = (uint64_t)high << 32 | low;
    return true;
}

/* POINTER MATH */
size_t atlas_span_offset(struct atlas_span whole, struct atlas_span s)
{
    return s.p != NULL && whole.p != NULL ? (size_t)(s.p - whole.p) : 0;
}

bool atlas_span_equal_ct(struct atlas_span a, struct atlas_span b)
{
    if (a.n != b.n) {
        return false;
    }
    uint8_t different = 0;
    for (size_t i = 0; i < a.n; i++) {
        different |= (uint8_t)(a.p[i] ^ b.p[i]);
    }
    return different == 0;
}

size_t atlas_alg_size(int alg)
{
    switch (alg) {
    case ATLAS_SHA256:
        return 32;
    case ATLAS_SHA384:
        return 48;
    case ATLAS_SHA512:
        return 64;
    default:
        return 0;
    }
}

const char *atlas_alg_name(int alg)
{
    switch (alg) {
    case ATLAS_SHA256:
        return "sha256";
    case ATLAS_SHA384:
        return "sha384";
    case ATLAS_SHA512:
        return "sha512";
    default:
        return NULL;
    }
}

enum atlas_alg atlas_alg_of(struct atlas_span name)
{
    for (int alg = ATLAS_SHA256; alg <= ATLAS_SHA512; alg++) {
        if (atlas_span_equal(name, atlas_span_str(atlas_alg_name(alg)))) {
            return (enum atlas_alg)alg;
        }
    }
    return ATLAS_ALG_NONE;
}

bool atlas_digest_set(struct atlas_digest *ret_digest, int alg, struct atlas_span bytes)
{
    if (bytes.n == 0 || bytes.n != atlas_alg_size(alg)) {
        return false;
    }
    *ret_digest = (struct atlas_digest){.alg = (uint8_t)alg, .n = (uint8_t)bytes.n};
    memcpy(ret_digest->b, bytes.p, bytes.n);
    return true;
}

void atlas_hex(struct atlas_span s, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < s.n; i++) {
        out[2 * i] = digits[s.p[i] >> 4];
        out[2 * i + 1] = digits[s.p[i] & 15];
    }
    out[2 * s.n] = '\0';
}
