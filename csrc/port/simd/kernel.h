/*
 * kernel.h - the compression functions of SHA-256 and SHA-512 (FIPS 180-4, 6.2.2 and 6.4.2) over one message and over
 * several messages at a time. Private to this folder and to its tests; lanes.h is the way in.
 *
 * A function takes whole blocks and changes states; padding is the caller's. SHA-384 is SHA-512 with other first
 * values. Only x86 has them; none may be called unless atlas_cpu_features says that the processor has what it needs.
 */
#ifndef ATLAS_PORT_SIMD_KERNEL_H
#define ATLAS_PORT_SIMD_KERNEL_H

#include "port/lanes.h"

#define ATLAS_KERNEL_LANES 16 /* the widest */
#define ATLAS_KERNEL_BLOCK 128 /* the largest, in bytes */

#if defined(__x86_64__)
#define ATLAS_KERNEL_X86 1
#endif

extern const uint32_t atlas_sha256_k[64];
extern const uint64_t atlas_sha512_k[80];

/* SHA-256, or SHA-384 and SHA-512, on one set of instructions. States are eight words in the machine's order. */
struct atlas_kernel {
    const char *name;
    unsigned needs;    /* ATLAS_CPU_ bits */
    bool is_quick_one; /* `one` is as fast as OpenSSL */
    /* One message. Always there. */
    void (*one)(void *state, const uint8_t *p, size_t blocks);
    /* Two messages at a time; NULL: none. */
    void (*two)(void *const states[2], const uint8_t *const p[2], size_t blocks);
    /* `width` messages at a time; states transposed: word w of lane l at [w * width + l]. NULL: none. */
    void (*wide)(void *states, const uint8_t *const *p, size_t blocks);
    unsigned width;
};

/* What the processor has and the operating system lets programs use. */
enum {
    ATLAS_CPU_SHA = 1,    /* SHA-NI, SSSE3 and SSE4.1 */
    ATLAS_CPU_AVX512 = 2, /* F, BW and VL, with the kernel saving their registers */
};
unsigned atlas_cpu_features(void);

#ifdef ATLAS_KERNEL_X86
void atlas_sha256_ni_one(void *state, const uint8_t *p, size_t blocks);
void atlas_sha256_ni_two(void *const states[2], const uint8_t *const p[2], size_t blocks);
void atlas_sha256_avx512(void *states, const uint8_t *const *p, size_t blocks); /* 16 lanes */
void atlas_sha512_avx512(void *states, const uint8_t *const *p, size_t blocks); /* 8 lanes */
#endif

/* In plain C, everywhere: for lanes that are left when the others are done. */
void atlas_sha256_plain(void *state, const uint8_t *p, size_t blocks);
void atlas_sha512_plain(void *state, const uint8_t *p, size_t blocks);

/* ------------------------------------------------------------------------------------------------- choice */

/* Two families: ATLAS_SHA256, and ATLAS_SHA384 with ATLAS_SHA512. */
enum { ATLAS_FAMILY_256 = 0, ATLAS_FAMILY_512 = 1, ATLAS_FAMILIES = 2 };

/* The kernels that there are, best first. */
struct atlas_kernel_set {
    const struct atlas_kernel *kernels[ATLAS_FAMILIES];
    size_t n[ATLAS_FAMILIES];
};

struct atlas_kernel_choice {
    struct atlas_kernel_use use[ATLAS_FAMILIES];
    const struct atlas_kernel *failed; /* one that gave a wrong answer and is not used; NULL: none */
};

/* The best of the set that this processor can run and that gives OpenSSL's answers. `wanted` is the value of
 * ATLAS_KERNEL: NULL or "" for any. ATLAS_E_ARG: no such kernel. ATLAS_E_UNSUPPORTED: not on this processor, or its
 * answers are wrong. */
int atlas_kernel_choose(const struct atlas_kernel_set *set, unsigned features, const char *wanted,
                        struct atlas_kernel_choice *ret_choice, struct atlas_error *error) ATLAS_MUST_CHECK;

/* All that were built. */
const struct atlas_kernel_set *atlas_kernel_set(void);

/* This process's choice: made once. */
int atlas_kernel_chosen(struct atlas_kernel_choice *ret_choice, struct atlas_error *error) ATLAS_MUST_CHECK;

/* atlas_stream_init with a kernel of one's own. */
void atlas_stream_init_with(struct atlas_stream *s, int alg, struct atlas_kernel_use use, bool alone);

int atlas_kernel_family(int alg);

#endif
