/* plain.c - one message in plain C, and the constants of all kernels (FIPS 180-4, 4.2.2 and 4.2.3: cube roots of
 * primes). */
#include "port/simd/kernel.h"

const uint32_t atlas_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

const uint64_t atlas_sha512_k[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
    0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
    0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
    0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
    0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
    0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
    0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
    0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
    0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
    0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
    0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
    0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
    0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

/* ------------------------------------------------------------------------------------------------ SHA-256 */

static inline uint32_t turn32(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void schedule32(uint32_t w[64], const uint8_t *p)
{
    for (size_t i = 0; i < 16; i++) {
        w[i] = load32(p + 4 * i);
    }
    for (unsigned i = 16; i < 64; i++) {
        uint32_t small0 = turn32(w[i - 15], 7) ^ turn32(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t small1 = turn32(w[i - 2], 17) ^ turn32(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + small0 + w[i - 7] + small1;
    }
}

static void round32(uint32_t s[8], unsigned i, uint32_t word)
{
    uint32_t a = s[(0 - i) & 7];
    uint32_t b = s[(1 - i) & 7];
    uint32_t c = s[(2 - i) & 7];
    uint32_t e = s[(4 - i) & 7];
    uint32_t f = s[(5 - i) & 7];
    uint32_t g = s[(6 - i) & 7];
    uint32_t t1 = s[(7 - i) & 7] + (turn32(e, 6) ^ turn32(e, 11) ^ turn32(e, 25)) + (g ^ (e & (f ^ g))) + word;
    s[(3 - i) & 7] += t1;
    s[(7 - i) & 7] = t1 + (turn32(a, 2) ^ turn32(a, 13) ^ turn32(a, 22)) + ((a & b) | (c & (a | b)));
}

void atlas_sha256_plain(void *state, const uint8_t *p, size_t blocks)
{
    uint32_t *words = state;
    uint32_t w[64];
    uint32_t s[8];
    for (; blocks > 0; blocks--, p += 64) {
        schedule32(w, p);
        for (unsigned i = 0; i < 8; i++) {
            s[i] = words[i];
        }
        for (unsigned base = 0; base < 64; base += 8) {
#pragma GCC unroll 8
            for (unsigned i = 0; i < 8; i++) {
                round32(s, i, w[base + i] + atlas_sha256_k[base + i]);
            }
        }
        for (unsigned i = 0; i < 8; i++) {
            words[i] += s[i];
        }
    }
}

/* ------------------------------------------------------------------------------------------------ SHA-512 */

static inline uint64_t turn64(uint64_t x, unsigned n)
{
    return x >> n | x << (64 - n);
}

static void schedule64(uint64_t w[80], const uint8_t *p)
{
    for (size_t i = 0; i < 16; i++) {
        w[i] = (uint64_t)load32(p + 8 * i) << 32 | load32(p + 8 * i + 4);
    }
    for (unsigned i = 16; i < 80; i++) {
        uint64_t small0 = turn64(w[i - 15], 1) ^ turn64(w[i - 15], 8) ^ w[i - 15] >> 7;
        uint64_t small1 = turn64(w[i - 2], 19) ^ turn64(w[i - 2], 61) ^ w[i - 2] >> 6;
        w[i] = w[i - 16] + small0 + w[i - 7] + small1;
    }
}

static void round64(uint64_t s[8], unsigned i, uint64_t word)
{
    uint64_t a = s[(0 - i) & 7];
    uint64_t b = s[(1 - i) & 7];
    uint64_t c = s[(2 - i) & 7];
    uint64_t e = s[(4 - i) & 7];
    uint64_t f = s[(5 - i) & 7];
    uint64_t g = s[(6 - i) & 7];
    uint64_t t1 = s[(7 - i) & 7] + (turn64(e, 14) ^ turn64(e, 18) ^ turn64(e, 41)) + (g ^ (e & (f ^ g))) + word;
    s[(3 - i) & 7] += t1;
    s[(7 - i) & 7] = t1 + (turn64(a, 28) ^ turn64(a, 34) ^ turn64(a, 39)) + ((a & b) | (c & (a | b)));
}

void atlas_sha512_plain(void *state, const uint8_t *p, size_t blocks)
{
    uint64_t *words = state;
    uint64_t w[80];
    uint64_t s[8];
    for (; blocks > 0; blocks--, p += 128) {
        schedule64(w, p);
        for (unsigned i = 0; i < 8; i++) {
            s[i] = words[i];
        }
        for (unsigned base = 0; base < 80; base += 8) {
#pragma GCC unroll 8
            for (unsigned i = 0; i < 8; i++) {
                round64(s, i, w[base + i] + atlas_sha512_k[base + i]);
            }
        }
        for (unsigned i = 0; i < 8; i++) {
            words[i] += s[i];
        }
    }
}
