/* span.h - borrowed bytes: compare, cut, read big-endian integers. The only pointer arithmetic of base/. */
#ifndef ATLAS_BASE_SPAN_H
#define ATLAS_BASE_SPAN_H

#include <string.h>

#include "base/types.h"

#define ATLAS_SPAN_NONE ((struct atlas_span){NULL, 0})

/* Span over a string literal, without its NUL. */
#define ATLAS_LIT(s) ((struct atlas_span){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct atlas_span atlas_span_of(const void *p, size_t n)
{
    return (struct atlas_span){p, n};
}

static inline struct atlas_span atlas_span_str(const char *s)
{
    return (struct atlas_span){(const uint8_t *)s, s != NULL ? strlen(s) : 0};
}

static inline bool atlas_span_equal(struct atlas_span a, struct atlas_span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Bytewise order; a prefix sorts first. */
int atlas_span_compare(struct atlas_span a, struct atlas_span b);

bool atlas_span_starts_with(struct atlas_span s, struct atlas_span prefix);

/* The bytes [offset, offset + n) of s; an empty span with p == NULL when they do not all exist. */
struct atlas_span atlas_span_sub(struct atlas_span s, size_t offset, size_t n);

/* Cut n bytes off the front of *s into *ret_head; false (nothing changed) when fewer are left. */
bool atlas_span_take(struct atlas_span *s, size_t n, struct atlas_span *ret_head);

/* Cut a big-endian integer off the front of *s. */
bool atlas_span_take_u8(struct atlas_span *s, uint8_t *ret_v);
bool atlas_span_take_be32(struct atlas_span *s, uint32_t *ret_v);
bool atlas_span_take_be64(struct atlas_span *s, uint64_t *ret_v);

/* Position of s inside whole (both borrow the same bytes). */
size_t atlas_span_offset(struct atlas_span whole, struct atlas_span s);

/* Equality in constant time for equal lengths; for digests and evidence. */
bool atlas_span_equal_ct(struct atlas_span a, struct atlas_span b);

static inline struct atlas_span atlas_digest_span(const struct atlas_digest *d)
{
    return (struct atlas_span){d->b, d->n};
}

static inline bool atlas_digest_equal(const struct atlas_digest *a, const struct atlas_digest *b)
{
    return a->alg == b->alg && a->alg != ATLAS_ALG_NONE &&
           atlas_span_equal_ct(atlas_digest_span(a), atlas_digest_span(b));
}

/* 32, 48 or 64; 0 for anything that is not an algorithm of the profile. */
size_t atlas_alg_size(int alg);

/* "sha256", "sha384", "sha512"; NULL otherwise. */
const char *atlas_alg_name(int alg);

/* The algorithm of that name; ATLAS_ALG_NONE otherwise. */
enum atlas_alg atlas_alg_of(struct atlas_span name);

/* Digest from raw bytes; false when the length does not fit the algorithm. */
bool atlas_digest_set(struct atlas_digest *ret_digest, int alg, struct atlas_span bytes);

/* Lower-case hexadecimal and NUL into out (2 * s.n + 1 bytes). */
void atlas_hex(struct atlas_span s, char *out);

#endif
