/* sha512_avx512.c - SHA-384 and SHA-512, eight messages at a time: word w of all of them in register w. */
#include "port/simd/kernel.h"

#ifdef ATLAS_KERNEL_X86
#include <immintrin.h>

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl")))
#define WIDE_INLINE static inline __attribute__((target("avx512f,avx512bw,avx512vl"), always_inline))

#define XOR3(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define CHOOSE(e, f, g) _mm512_ternarylogic_epi64(e, f, g, 0xCA)
#define MAJORITY(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0xE8)
#define TURN(x, n) _mm512_ror_epi64(x, n)

/* Rows become columns: w[i] holds eight words of message i before, and word i of all messages after. */
WIDE_INLINE void transpose(__m512i w[8])
{
    __m512i t[8];
    __m512i u[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_epi64(w[i], w[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(w[i], w[i + 1]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 2; i++) {
        u[i] = _mm512_shuffle_i64x2(t[i], t[i + 2], 0x88);
        u[i + 2] = _mm512_shuffle_i64x2(t[i], t[i + 2], 0xDD);
        u[i + 4] = _mm512_shuffle_i64x2(t[i + 4], t[i + 6], 0x88);
        u[i + 6] = _mm512_shuffle_i64x2(t[i + 4], t[i + 6], 0xDD);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 4; i++) {
        w[i] = _mm512_shuffle_i64x2(u[i], u[i + 4], 0x88);
        w[i + 4] = _mm512_shuffle_i64x2(u[i], u[i + 4], 0xDD);
    }
}

WIDE_INLINE void load_blocks(__m512i w[16], const uint8_t *const *p, size_t at)
{
    const __m512i swap = _mm512_set4_epi32(0x08090a0b, 0x0c0d0e0f, 0x00010203, 0x04050607);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        w[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(p[i] + at), swap);
        w[i + 8] = _mm512_shuffle_epi8(_mm512_loadu_si512(p[i] + at + 64), swap);
    }
    transpose(w);
    transpose(w + 8);
}

/* One round; s[] is not moved, its names are: after round i, a is s[(8 - i) & 7]. */
WIDE_INLINE void round_one(__m512i s[8], int i, __m512i word, uint64_t k)
{
    __m512i *a = &s[(0 - i) & 7];
    __m512i *b = &s[(1 - i) & 7];
    __m512i *c = &s[(2 - i) & 7];
    __m512i *d = &s[(3 - i) & 7];
    __m512i *e = &s[(4 - i) & 7];
    __m512i *f = &s[(5 - i) & 7];
    __m512i *g = &s[(6 - i) & 7];
    __m512i *h = &s[(7 - i) & 7];
    __m512i sum = _mm512_add_epi64(_mm512_add_epi64(*h, word), _mm512_set1_epi64((long long)k));
    __m512i big1 = XOR3(TURN(*e, 14), TURN(*e, 18), TURN(*e, 41));
    __m512i big0 = XOR3(TURN(*a, 28), TURN(*a, 34), TURN(*a, 39));
    __m512i choice = CHOOSE(*e, *f, *g);
    __m512i t1 = _mm512_add_epi64(_mm512_add_epi64(sum, choice), big1);
    /* The next round waits for this one alone: d + sum is ready before e is, which is worth two more additions. */
    *d = _mm512_add_epi64(_mm512_add_epi64(_mm512_add_epi64(*d, sum), choice), big1);
    *h = _mm512_add_epi64(_mm512_add_epi64(big0, MAJORITY(*a, *b, *c)), t1);
}

WIDE_INLINE void schedule(__m512i w[16], int i)
{
    __m512i w15 = w[(i + 1) & 15];
    __m512i w2 = w[(i + 14) & 15];
    __m512i small0 = XOR3(TURN(w15, 1), TURN(w15, 8), _mm512_srli_epi64(w15, 7));
    __m512i small1 = XOR3(TURN(w2, 19), TURN(w2, 61), _mm512_srli_epi64(w2, 6));
    w[i & 15] = _mm512_add_epi64(_mm512_add_epi64(w[i & 15], small0), _mm512_add_epi64(w[(i + 9) & 15], small1));
}

WIDE void atlas_sha512_avx512(void *states, const uint8_t *const *p, size_t blocks)
{
    uint64_t *words = states;
    __m512i s[8];
    __m512i w[16];
    __m512i before[8];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        s[i] = _mm512_loadu_si512(words + 8 * i);
    }
    for (size_t at = 0; at < 128 * blocks; at += 128) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            before[i] = s[i];
        }
        load_blocks(w, p, at);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            round_one(s, i, w[i], atlas_sha512_k[i]);
        }
        for (int base = 16; base < 80; base += 16) {
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                schedule(w, i);
                round_one(s, i, w[i], atlas_sha512_k[base + i]);
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            s[i] = _mm512_add_epi64(s[i], before[i]);
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) {
        _mm512_storeu_si512(words + 8 * i, s[i]);
    }
}
#endif
