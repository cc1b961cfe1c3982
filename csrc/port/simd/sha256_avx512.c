/* sha256_avx512.c - sixteen messages at a time: word w of all of them in register w. */
#include "port/simd/kernel.h"

#ifdef ATLAS_KERNEL_X86
#include <immintrin.h>

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl")))
#define WIDE_INLINE static inline __attribute__((target("avx512f,avx512bw,avx512vl"), always_inline))

#define XOR3(a, b, c) _mm512_ternarylogic_epi32(a, b, c, 0x96)
#define CHOOSE(e, f, g) _mm512_ternarylogic_epi32(e, f, g, 0xCA)
#define MAJORITY(a, b, c) _mm512_ternarylogic_epi32(a, b, c, 0xE8)
#define TURN(x, n) _mm512_ror_epi32(x, n)

/* Rows become columns: w[i] holds sixteen words of message i before, and word i of all messages after. */
WIDE_INLINE void transpose(__m512i w[16])
{
    __m512i t[16];
    __m512i u[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(w[i], w[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(w[i], w[i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i += 4) {
        u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 4; i++) {
        __m512i low = _mm512_shuffle_i32x4(u[i], u[i + 4], 0x88);
        __m512i high = _mm512_shuffle_i32x4(u[i + 8], u[i + 12], 0x88);
        w[i] = _mm512_shuffle_i32x4(low, high, 0x88);
        w[i + 8] = _mm512_shuffle_i32x4(low, high, 0xDD);
        low = _mm512_shuffle_i32x4(u[i], u[i + 4], 0xDD);
        high = _mm512_shuffle_i32x4(u[i + 8], u[i + 12], 0xDD);
        w[i + 4] = _mm512_shuffle_i32x4(low, high, 0x88);
        w[i + 12] = _mm512_shuffle_i32x4(low, high, 0xDD);
    }
}

WIDE_INLINE void load_blocks(__m512i w[16], const uint8_t *const *p, size_t at)
{
    const __m512i swap = _mm512_set4_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        w[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(p[i] + at), swap);
    }
    transpose(w);
}

/* One round; s[] is not moved, its names are: after round i, a is s[(8 - i) & 7]. */
WIDE_INLINE void round_one(__m512i s[8], int i, __m512i word, uint32_t k)
{
    __m512i *a = &s[(0 - i) & 7];
    __m512i *b = &s[(1 - i) & 7];
    __m512i *c = &s[(2 - i) & 7];
    __m512i *d = &s[(3 - i) & 7];
    __m512i *e = &s[(4 - i) & 7];
    __m512i *f = &s[(5 - i) & 7];
    __m512i *g = &s[(6 - i) & 7];
    __m512i *h = &s[(7 - i) & 7];
    __m512i sum = _mm512_add_epi32(_mm512_add_epi32(*h, word), _mm512_set1_epi32((int)k));
    __m512i big1 = XOR3(TURN(*e, 6), TURN(*e, 11), TURN(*e, 25));
    __m512i big0 = XOR3(TURN(*a, 2), TURN(*a, 13), TURN(*a, 22));
    __m512i choice = CHOOSE(*e, *f, *g);
    __m512i t1 = _mm512_add_epi32(_mm512_add_epi32(sum, choice), big1);
    /* The next round waits for this one alone: d + sum is ready before e is, which is worth two more additions. */
    *d = _mm512_add_epi32(_mm512_add_epi32(_mm512_add_epi32(*d, sum), choice), big1);
    *h = _mm512_add_epi32(_mm512_add_epi32(big0, MAJORITY(*a, *b, *c)), t1);
}

WIDE_INLINE void schedule(__m512i w[16], int i)
{
    __m512i w15 = w[(i + 1) & 15];
    __m512i w2 = w[(i + 14) & 15];
    __m512i small0 = XOR3(TURN(w15, 7), TURN(w15, 18), _mm512_srli_epi32(w15, 3));
    __m512i small1 = XOR3(TURN(w2, 17), TURN(w2, 19), _mm512_srli_epi32(w2, 10));
    w[i & 15] = _mm512_add_epi32(_mm512_add_epi32(w[i & 15], small0), _mm512_add_epi32(w[(i + 9) & 15], small1));
}

WIDE void atlas_sha256_avx512(void *states, const uint8_t *const *p, size_t blocks)
{
    uint32_t *words = states;
    __m512i s[8];
    __m512i w[16];
    __m512i before[8];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        s[i] = _mm512_loadu_si512(words + 16 * i);
    }
    for (size_t at = 0; at < 64 * blocks; at += 64) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            before[i] = s[i];
        }
        load_blocks(w, p, at);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            round_one(s, i, w[i], atlas_sha256_k[i]);
        }
        for (int base = 16; base < 64; base += 16) {
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                schedule(w, i);
                round_one(s, i, w[i], atlas_sha256_k[base + i]);
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            s[i] = _mm512_add_epi32(s[i], before[i]);
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        _mm512_storeu_si512(words + 16 * i, s[i]);
    }
}
#endif
