/* sha256_ni.c - SHA-256 with the SHA extensions. sha256rnds2 has to wait for the one before it: a second message fills
 * the gaps and is free. More than two do not fit the sixteen registers. */
#include "port/simd/kernel.h"

#ifdef ATLAS_KERNEL_X86
#include <immintrin.h>

#define NI __attribute__((target("sha,sse4.1,ssse3")))
#define NI_INLINE static inline __attribute__((target("sha,sse4.1,ssse3"), always_inline))

/* A message's registers: its state as the instructions want it, and the last sixteen words of its schedule. */
struct lane {
    __m128i abef;
    __m128i cdgh;
    __m128i w[4];
};

NI_INLINE void load_state(struct lane *l, const uint32_t *state)
{
    __m128i dcba = _mm_loadu_si128((const __m128i *)state);
    __m128i hgfe = _mm_loadu_si128((const __m128i *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xB1);
    __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1B);
    l->abef = _mm_alignr_epi8(cdab, efgh, 8);
    l->cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
}

NI_INLINE void store_state(const struct lane *l, uint32_t *state)
{
    __m128i feba = _mm_shuffle_epi32(l->abef, 0x1B);
    __m128i dchg = _mm_shuffle_epi32(l->cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

NI_INLINE void load_block(struct lane *l, const uint8_t *p)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    l->w[0] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)p), swap);
    l->w[1] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16)), swap);
    l->w[2] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 32)), swap);
    l->w[3] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 48)), swap);
}

/* Four rounds, 4 * g to 4 * g + 3, and the schedule's four words for the rounds sixteen later. */
NI_INLINE void rounds(struct lane *l, size_t g)
{
    __m128i m = _mm_add_epi32(l->w[g & 3], _mm_loadu_si128((const __m128i *)(atlas_sha256_k + 4 * g)));
    l->cdgh = _mm_sha256rnds2_epu32(l->cdgh, l->abef, m);
    if (g < 12) {
        __m128i next = _mm_sha256msg1_epu32(l->w[g & 3], l->w[(g + 1) & 3]);
        next = _mm_add_epi32(next, _mm_alignr_epi8(l->w[(g + 3) & 3], l->w[(g + 2) & 3], 4));
        l->w[g & 3] = _mm_sha256msg2_epu32(next, l->w[(g + 3) & 3]);
    }
    l->abef = _mm_sha256rnds2_epu32(l->abef, l->cdgh, _mm_shuffle_epi32(m, 0x0E));
}

NI void atlas_sha256_ni_one(void *state, const uint8_t *p, size_t blocks)
{
    struct lane a;
    load_state(&a, state);
    for (; blocks > 0; blocks--, p += 64) {
        __m128i abef = a.abef;
        __m128i cdgh = a.cdgh;
        load_block(&a, p);
#pragma GCC unroll 16
        for (size_t g = 0; g < 16; g++) {
            rounds(&a, g);
        }
        a.abef = _mm_add_epi32(a.abef, abef);
        a.cdgh = _mm_add_epi32(a.cdgh, cdgh);
    }
    store_state(&a, state);
}

NI void atlas_sha256_ni_two(void *const states[2], const uint8_t *const p[2], size_t blocks)
{
    const uint8_t *pa = p[0];
    const uint8_t *pb = p[1];
    struct lane a;
    struct lane b;
    load_state(&a, states[0]);
    load_state(&b, states[1]);
    for (; blocks > 0; blocks--, pa += 64, pb += 64) {
        __m128i a_abef = a.abef;
        __m128i a_cdgh = a.cdgh;
        __m128i b_abef = b.abef;
        __m128i b_cdgh = b.cdgh;
        load_block(&a, pa);
        load_block(&b, pb);
#pragma GCC unroll 16
        for (size_t g = 0; g < 16; g++) {
            rounds(&a, g);
            rounds(&b, g);
        }
        a.abef = _mm_add_epi32(a.abef, a_abef);
        a.cdgh = _mm_add_epi32(a.cdgh, a_cdgh);
        b.abef = _mm_add_epi32(b.abef, b_abef);
        b.cdgh = _mm_add_epi32(b.cdgh, b_cdgh);
    }
    store_state(&a, states[0]);
    store_state(&b, states[1]);
}
#endif
