/* choose.c - which kernel this process uses, and why it may be relied on. */
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "port/simd/kernel.h"

static const char where[] = "ATLAS_KERNEL";

/* ---------------------------------------------------------------------------------------------- what there is */

#ifdef ATLAS_KERNEL_X86
static const struct atlas_kernel kernels_256[] = {
    {"sha-ni+avx512", ATLAS_CPU_SHA | ATLAS_CPU_AVX512, true, atlas_sha256_ni_one, atlas_sha256_ni_two,
     atlas_sha256_avx512, 16},
    {"sha-ni", ATLAS_CPU_SHA, true, atlas_sha256_ni_one, atlas_sha256_ni_two, NULL, 0},
    {"avx512", ATLAS_CPU_AVX512, false, atlas_sha256_plain, NULL, atlas_sha256_avx512, 16},
};
static const struct atlas_kernel kernels_512[] = {
    {"avx512", ATLAS_CPU_AVX512, false, atlas_sha512_plain, NULL, atlas_sha512_avx512, 8},
};
static const struct atlas_kernel_set built = {
    {kernels_256, kernels_512},
    {sizeof kernels_256 / sizeof kernels_256[0], sizeof kernels_512 / sizeof kernels_512[0]},
};
#else
static const struct atlas_kernel_set built = {{NULL, NULL}, {0, 0}};
#endif

const struct atlas_kernel_set *atlas_kernel_set(void)
{
    return &built;
}

/* What ATLAS_KERNEL can say, and what a kernel may need then. */
static const struct {
    const char *name;
    unsigned features;
} names[] = {
    {"openssl", 0},
    {"sha-ni", ATLAS_CPU_SHA},
    {"avx512", ATLAS_CPU_AVX512},
    {"sha-ni+avx512", ATLAS_CPU_SHA | ATLAS_CPU_AVX512},
};

/* ------------------------------------------------------------------------------------------- known answers */

#define MESSAGES (2 * ATLAS_KERNEL_LANES + 1)
#define LONGEST ((size_t)700)

/* Around every edge of the padding of both families, and then some. */
static size_t length_of(size_t message)
{
    static const uint16_t edges[] = {0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 239, 240, 256, 577};
    size_t n = sizeof edges / sizeof edges[0];
    return message < n ? edges[message] : (message * 41) % LONGEST;
}

struct answers {
    uint8_t bytes[LONGEST + MESSAGES];
    struct atlas_stream streams[MESSAGES];
    struct atlas_digest digests[MESSAGES];
    struct atlas_feed feeds[MESSAGES];
};

/* Each message in two pieces, so that no function is spared because OpenSSL would be quicker. */
static int ask(struct answers *a, int alg, struct atlas_kernel_use use, struct atlas_error *error)
{
    int rc;
    for (size_t i = 0; i < MESSAGES; i++) {
        atlas_stream_init_with(&a->streams[i], alg, use, false);
        a->feeds[i] = (struct atlas_feed){&a->streams[i], atlas_span_of(a->bytes + i, length_of(i) / 2), NULL};
    }
    ATLAS_TRY(atlas_streams_feed(a->feeds, MESSAGES, error));
    for (size_t i = 0; i < MESSAGES; i++) {
        size_t done = length_of(i) / 2;
        a->feeds[i].bytes = atlas_span_of(a->bytes + i + done, length_of(i) - done);
        a->feeds[i].ret_digest = &a->digests[i];
    }
    ATLAS_TRY(atlas_streams_feed(a->feeds, MESSAGES, error));
out:
    for (size_t i = 0; i < MESSAGES; i++) {
        atlas_stream_release(&a->streams[i]);
    }
    return rc;
}

/* Does this kernel, used like this, say what OpenSSL says? */
static int agrees(struct answers *a, int alg, struct atlas_kernel_use use, bool *ret_good, struct atlas_error *error)
{
    bool good = true;
    int rc;
    ATLAS_TRY(ask(a, alg, use, error));
    for (size_t i = 0; i < MESSAGES; i++) {
        struct atlas_digest right;
        ATLAS_TRY(atlas_crypto_digest(alg, atlas_span_of(a->bytes + i, length_of(i)), &right, error));
        good = good && atlas_digest_equal(&right, &a->digests[i]);
    }
    *ret_good = good;
out:
    return rc;
}

/* Each of its functions is asked: wide down to a single lane, and the others without wide. */
static int is_right(const struct atlas_kernel *kernel, int alg, bool *ret_good, struct atlas_error *error)
{
    struct answers *a = calloc(1, sizeof *a);
    bool narrow = false;
    bool wide = true;
    int rc;
    if (a == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    for (size_t i = 0; i < sizeof a->bytes; i++) {
        a->bytes[i] = (uint8_t)(i * i / 7 + i);
    }
    ATLAS_TRY(agrees(a, alg, (struct atlas_kernel_use){kernel, MESSAGES + 1}, &narrow, error));
    if (kernel->wide != NULL) {
        ATLAS_TRY(agrees(a, alg, (struct atlas_kernel_use){kernel, 1}, &wide, error));
    }
    *ret_good = narrow && wide;
out:
    free(a);
    return rc;
}

/* --------------------------------------------------------------------------------------------- calibration */

#define TRIALS 12
#define TRIAL_BLOCKS 64 /* of 64 bytes */

static uint64_t nanoseconds(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The best of some trials: others may have had the core in the rest. */
static uint64_t time_two(const struct atlas_kernel *kernel, const uint8_t *bytes)
{
    uint32_t states[2][8] = {{0}, {0}};
    void *const s[2] = {states[0], states[1]};
    const uint8_t *const p[2] = {bytes, bytes};
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < TRIALS; i++) {
        uint64_t start = nanoseconds();
        kernel->two(s, p, TRIAL_BLOCKS);
        uint64_t taken = nanoseconds() - start;
        best = taken < best ? taken : best;
    }
    return best != 0 ? best : 1;
}

static uint64_t time_wide(const struct atlas_kernel *kernel, const uint8_t *bytes)
{
    uint32_t states[8 * ATLAS_KERNEL_LANES] = {0};
    const uint8_t *p[ATLAS_KERNEL_LANES];
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < ATLAS_KERNEL_LANES; i++) {
        p[i] = bytes;
    }
    for (int i = 0; i < TRIALS; i++) {
        uint64_t start = nanoseconds();
        kernel->wide(states, p, TRIAL_BLOCKS);
        uint64_t taken = nanoseconds() - start;
        best = taken < best ? taken : best;
    }
    return best;
}

/* From how many lanes on is the wide function the better one? Beyond its width: never. */
static unsigned wide_from(const struct atlas_kernel *kernel)
{
    static const uint8_t bytes[64 * TRIAL_BLOCKS];
    if (kernel->wide == NULL) {
        return UINT8_MAX;
    }
    if (kernel->two == NULL) {
        return ATLAS_LANES_FEW + 1; /* against OpenSSL: measured, docs/measure.md */
    }
    uint64_t two = time_two(kernel, bytes);
    uint64_t from = (2 * time_wide(kernel, bytes) + two - 1) / two;
    return from < 2 ? 2 : from < UINT8_MAX ? (unsigned)from : UINT8_MAX;
}

/* -------------------------------------------------------------------------------------------------- choice */

static int family_choose(const struct atlas_kernel_set *set, int family, unsigned features, bool is_wanted,
                         struct atlas_kernel_choice *choice, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    for (size_t i = 0; i < set->n[family]; i++) {
        const struct atlas_kernel *kernel = &set->kernels[family][i];
        bool good = false;
        if ((kernel->needs & features) != kernel->needs) {
            continue;
        }
        ATLAS_TRY(is_right(kernel, family == ATLAS_FAMILY_256 ? ATLAS_SHA256 : ATLAS_SHA512, &good, error));
        if (!good) {
            choice->failed = kernel;
            continue;
        }
        unsigned from = wide_from(kernel);
        if (kernel->wide != NULL && from > kernel->width) {
            if (!is_wanted) {
                continue;
            }
            from = kernel->width;
        }
        choice->use[family] = (struct atlas_kernel_use){kernel, from};
        break;
    }
out:
    return rc;
}

static int wanted_features(const char *wanted, unsigned *ret_features, struct atlas_error *error)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].name, wanted) == 0) {
            *ret_features = names[i].features;
            return ATLAS_OK;
        }
    }
    return atlas_error_set(error, ATLAS_E_ARG, where,
                           "'%.40s' is no kernel; unset it, or say openssl, sha-ni, avx512 or sha-ni+avx512", wanted);
}

int atlas_kernel_choose(const struct atlas_kernel_set *set, unsigned features, const char *wanted,
                        struct atlas_kernel_choice *ret_choice, struct atlas_error *error)
{
    struct atlas_kernel_choice choice = {.failed = NULL};
    bool is_wanted = wanted != NULL && wanted[0] != '\0';
    unsigned allowed = features;
    int rc;
    if (is_wanted) {
        ATLAS_TRY(wanted_features(wanted, &allowed, error));
        if ((allowed & features) != allowed) {
            return atlas_error_set(error, ATLAS_E_UNSUPPORTED, where,
                                   "this processor or its operating system has no %s; unset it", wanted);
        }
    }
    for (int family = 0; family < ATLAS_FAMILIES; family++) {
        ATLAS_TRY(family_choose(set, family, allowed, is_wanted, &choice, error));
    }
    if (is_wanted && choice.failed != NULL) {
        return atlas_error_set(error, ATLAS_E_UNSUPPORTED, where, "%s gives wrong digests on this machine; unset it",
                               choice.failed->name);
    }
    *ret_choice = choice;
out:
    return rc;
}

/* -------------------------------------------------------------------------------------------- this process */

/* One number, so that threads and forked children see all of a choice or nothing of it. 0: not made yet. A byte each,
 * from the lowest: 1; index of the kernel of family 256 plus one; its wide_from; the same two of 512; family and index
 * of the one that failed, plus one. */
static atomic_uint_fast64_t chosen;

static uint64_t index_of(const struct atlas_kernel *kernel, int family)
{
    return kernel == NULL ? 0 : (uint64_t)(kernel - built.kernels[family]) + 1;
}

static bool is_of(const struct atlas_kernel *kernel, int family)
{
    const struct atlas_kernel *first = built.kernels[family];
    return first != NULL && kernel >= first && kernel < first + built.n[family];
}

static uint64_t pack(const struct atlas_kernel_choice *c)
{
    uint64_t packed = 1;
    for (int family = 0; family < ATLAS_FAMILIES; family++) {
        packed |= index_of(c->use[family].kernel, family) << (8 + 16 * family);
        packed |= (uint64_t)c->use[family].wide_from << (16 + 16 * family);
        if (is_of(c->failed, family)) {
            packed |= (index_of(c->failed, family) | (uint64_t)family << 7) << 40;
        }
    }
    return packed;
}

static struct atlas_kernel_choice unpack(uint64_t packed)
{
    struct atlas_kernel_choice c = {.failed = NULL};
    for (int family = 0; family < ATLAS_FAMILIES; family++) {
        size_t i = packed >> (8 + 16 * family) & 0xff;
        c.use[family].kernel = i == 0 ? NULL : &built.kernels[family][i - 1];
        c.use[family].wide_from = packed >> (16 + 16 * family) & 0xff;
    }
    size_t failed = packed >> 40 & 0x7f;
    c.failed = failed == 0 ? NULL : &built.kernels[packed >> 47 & 1][failed - 1];
    return c;
}

int atlas_kernel_chosen(struct atlas_kernel_choice *ret_choice, struct atlas_error *error)
{
    struct atlas_kernel_choice choice = {.failed = NULL};
    uint_fast64_t packed = atomic_load(&chosen);
    int rc = ATLAS_OK;
    if (packed == 0) {
        ATLAS_TRY(atlas_kernel_choose(&built, atlas_cpu_features(), getenv(where), &choice, error));
        uint_fast64_t mine = pack(&choice);
        /* Another thread may have been quicker: then its choice is everybody's. */
        if (atomic_compare_exchange_strong(&chosen, &packed, mine)) {
            packed = mine;
        }
    }
    *ret_choice = unpack(packed);
out:
    return rc;
}

static unsigned lanes_of(struct atlas_kernel_use use)
{
    if (use.kernel == NULL) {
        return 1;
    }
    if (use.kernel->wide != NULL) {
        return use.kernel->width;
    }
    return use.kernel->two != NULL ? 2 : 1;
}

int atlas_lanes_width(int alg, unsigned *ret_width, struct atlas_error *error)
{
    struct atlas_kernel_choice choice;
    int rc;
    ATLAS_TRY(atlas_kernel_chosen(&choice, error));
    *ret_width = lanes_of(choice.use[atlas_kernel_family(alg)]);
out:
    return rc;
}

static const char *name_of(struct atlas_kernel_use use)
{
    return use.kernel != NULL ? use.kernel->name : "openssl";
}

int atlas_lanes_look(struct atlas_lanes_report *ret_report, struct atlas_error *error)
{
    struct atlas_kernel_choice choice;
    int rc;
    ATLAS_TRY(atlas_kernel_chosen(&choice, error));
    ret_report->sha256 = name_of(choice.use[ATLAS_FAMILY_256]);
    ret_report->sha512 = name_of(choice.use[ATLAS_FAMILY_512]);
    ret_report->sha256_lanes = lanes_of(choice.use[ATLAS_FAMILY_256]);
    ret_report->sha512_lanes = lanes_of(choice.use[ATLAS_FAMILY_512]);
    ret_report->failed = choice.failed != NULL ? choice.failed->name : NULL;
out:
    return rc;
}
