/* test_lanes.c - every kernel of this processor against OpenSSL: every length, every number of lanes, pieces, odd
 * addresses; and what happens when one is broken, unknown or not there. */
#include "port/simd/kernel.h"
#include "test.h"

#define LENGTHS 4097
#define LARGE ((size_t)3 << 20)
#define BATCH 33

static const int algs[] = {ATLAS_SHA256, ATLAS_SHA384, ATLAS_SHA512};

static uint8_t bytes[LARGE + 64];

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void fill(void)
{
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)next_random(&state);
    }
}

/* The i-th way of using a kernel for an algorithm on this processor: OpenSSL, then each kernel with its wide function
 * from the first lane on, from the fifth, and never. False: no more ways. */
static bool way(int alg, unsigned i, struct atlas_kernel_use *ret_use)
{
    static const unsigned from[] = {1, 5, 100};
    int family = atlas_kernel_family(alg);
    const struct atlas_kernel_set *set = atlas_kernel_set();
    unsigned at = 0;
    *ret_use = (struct atlas_kernel_use){NULL, 0};
    for (size_t k = 0; i > 0 && k < set->n[family]; k++) {
        const struct atlas_kernel *kernel = &set->kernels[family][k];
        for (unsigned f = 0; f < 3 && (kernel->needs & atlas_cpu_features()) == kernel->needs; f++) {
            if (++at == i) {
                *ret_use = (struct atlas_kernel_use){kernel, from[f]};
                return true;
            }
        }
    }
    return i == 0;
}

struct batch {
    struct atlas_stream streams[BATCH];
    struct atlas_feed feeds[BATCH];
    struct atlas_digest digests[BATCH];
};

static void batch_init(struct batch *b, int alg, struct atlas_kernel_use use)
{
    memset(b, 0, sizeof *b);
    for (size_t i = 0; i < BATCH; i++) {
        atlas_stream_init_with(&b->streams[i], alg, use, false);
        b->feeds[i].stream = &b->streams[i];
        b->feeds[i].ret_digest = &b->digests[i];
    }
}

static void batch_release(struct batch *b)
{
    for (size_t i = 0; i < BATCH; i++) {
        atlas_stream_release(&b->streams[i]);
    }
}

static bool is_right(int alg, struct atlas_span message, const struct atlas_digest *digest)
{
    struct atlas_digest right;
    return atlas_crypto_digest(alg, message, &right, NULL) == ATLAS_OK && atlas_digest_equal(&right, digest);
}

#define FOR_EACH_WAY(alg, use)                                                                   \
    for (size_t a_ = 0; a_ < sizeof algs / sizeof algs[0]; a_++)                                  \
        for (unsigned i_ = 0, alg = (unsigned)algs[a_]; way((int)alg, i_, &(use)); i_++)

TEST(every_length_has_openssl_s_digest_with_every_kernel)
{
    static struct batch b;
    struct atlas_kernel_use use;
    fill();
    FOR_EACH_WAY(alg, use)
    {
        batch_init(&b, (int)alg, use);
        for (size_t first = 0; first < LENGTHS; first += BATCH) {
            for (size_t i = 0; i < BATCH; i++) { /* from every address modulo 64 */
                b.feeds[i].bytes = atlas_span_of(bytes + (first + i) % 64, first + i);
            }
            CHECK_OK(atlas_streams_feed(b.feeds, BATCH, NULL));
            for (size_t i = 0; i < BATCH; i++) {
                CHECK(is_right((int)alg, b.feeds[i].bytes, &b.digests[i]));
            }
        }
        batch_release(&b);
    }
}

TEST(every_number_of_messages_and_mixed_lengths_have_openssl_s_digests)
{
    static struct batch b;
    struct atlas_kernel_use use;
    uint32_t state = 7;
    fill();
    FOR_EACH_WAY(alg, use)
    {
        batch_init(&b, (int)alg, use);
        for (size_t n = 0; n <= BATCH; n++) {
            for (size_t i = 0; i < n; i++) {
                size_t most = (size_t)1 << next_random(&state) % 15;
                b.feeds[i].bytes = atlas_span_of(bytes + next_random(&state) % 64, next_random(&state) % most);
            }
            CHECK_OK(atlas_streams_feed(b.feeds, n, NULL));
            for (size_t i = 0; i < n; i++) {
                CHECK(is_right((int)alg, b.feeds[i].bytes, &b.digests[i]));
            }
        }
        batch_release(&b);
    }
}

TEST(messages_in_pieces_of_any_size_have_the_digest_of_the_whole)
{
    static struct batch b;
    static struct atlas_span rests[BATCH];
    static struct atlas_span wholes[BATCH];
    struct atlas_kernel_use use;
    uint32_t state = 3;
    fill();
    FOR_EACH_WAY(alg, use)
    {
        batch_init(&b, (int)alg, use);
        for (size_t i = 0; i < BATCH; i++) {
            rests[i] = wholes[i] = atlas_span_of(bytes + i, next_random(&state) % 20000);
        }
        for (unsigned left = BATCH; left > 0;) {
            size_t n = 0;
            for (size_t i = 0; i < BATCH; i++) {
                if (b.digests[i].n != 0) {
                    continue;
                }
                size_t piece = next_random(&state) % 700;
                bool ends = piece >= rests[i].n;
                b.feeds[n].stream = &b.streams[i];
                b.feeds[n].ret_digest = ends ? &b.digests[i] : NULL;
                (void)atlas_span_take(&rests[i], ends ? rests[i].n : piece, &b.feeds[n].bytes);
                left -= ends;
                n++;
            }
            CHECK_OK(atlas_streams_feed(b.feeds, n, NULL));
        }
        for (size_t i = 0; i < BATCH; i++) {
            CHECK(is_right((int)alg, wholes[i], &b.digests[i]));
        }
        batch_release(&b);
    }
}

TEST(large_messages_and_small_ones_beside_them_have_openssl_s_digests)
{
    static struct batch b;
    struct atlas_kernel_use use;
    uint32_t state = 11;
    fill();
    FOR_EACH_WAY(alg, use)
    {
        batch_init(&b, (int)alg, use);
        for (size_t i = 0; i < 6; i++) {
            b.feeds[i].bytes = atlas_span_of(bytes + i, i % 2 == 0 ? LARGE / 16 + next_random(&state) % 1000 : i);
        }
        CHECK_OK(atlas_streams_feed(b.feeds, 6, NULL));
        for (size_t i = 0; i < 6; i++) {
            CHECK(is_right((int)alg, b.feeds[i].bytes, &b.digests[i]));
        }
        batch_release(&b);
    }
}

TEST(the_number_of_bits_is_told_in_full)
{
    struct atlas_kernel_use use;
    FOR_EACH_WAY(alg, use)
    {
        struct atlas_stream s;
        struct atlas_digest digest;
        struct atlas_feed feed = {&s, ATLAS_SPAN_NONE, NULL};
        fill();
        atlas_stream_init_with(&s, (int)alg, use, true);
        for (unsigned i = 0; i < 3; i++) { /* 9 MiB: more than 16 bits of length, and a stream of its own */
            feed.bytes = atlas_span_of(bytes, LARGE);
            CHECK_OK(atlas_streams_feed(&feed, 1, NULL));
        }
        feed.bytes = ATLAS_SPAN_NONE;
        feed.ret_digest = &digest;
        CHECK_OK(atlas_streams_feed(&feed, 1, NULL));
        atlas_stream_release(&s);
        struct atlas_hasher h;
        struct atlas_digest right;
        CHECK_OK(atlas_hasher_init(&h, (int)alg, NULL));
        for (unsigned i = 0; i < 3; i++) {
            CHECK_OK(atlas_hasher_update(&h, atlas_span_of(bytes, LARGE), NULL));
        }
        CHECK_OK(atlas_hasher_final(&h, &right, NULL));
        atlas_hasher_release(&h);
        CHECK(atlas_digest_equal(&digest, &right));
    }
}

TEST(plain_c_agrees_on_every_machine)
{
    static const struct atlas_kernel plain_256 = {"plain", 0, true, atlas_sha256_plain, NULL, NULL, 0};
    static const struct atlas_kernel plain_512 = {"plain", 0, true, atlas_sha512_plain, NULL, NULL, 0};
    static struct batch b;
    fill();
    for (size_t a = 0; a < sizeof algs / sizeof algs[0]; a++) {
        bool narrow = algs[a] == ATLAS_SHA256;
        batch_init(&b, algs[a], (struct atlas_kernel_use){narrow ? &plain_256 : &plain_512, 100});
        for (size_t first = 0; first < 600; first += BATCH) {
            for (size_t i = 0; i < BATCH; i++) {
                b.feeds[i].bytes = atlas_span_of(bytes + i, first + i);
            }
            CHECK_OK(atlas_streams_feed(b.feeds, BATCH, NULL));
            for (size_t i = 0; i < BATCH; i++) {
                CHECK(is_right(algs[a], b.feeds[i].bytes, &b.digests[i]));
            }
        }
        batch_release(&b);
    }
}

/* ------------------------------------------------------------------------------------------------- choice */

static void broken_one(void *state, const uint8_t *p, size_t blocks)
{
    atlas_sha256_plain(state, p, blocks);
    uint32_t *words = state;
    words[7] ^= blocks > 3; /* right for short messages */
}

static void plain_two(void *const states[2], const uint8_t *const p[2], size_t blocks)
{
    atlas_sha256_plain(states[0], p[0], blocks);
    atlas_sha256_plain(states[1], p[1], blocks);
}

/* The second message is wrong. */
static void broken_two(void *const states[2], const uint8_t *const p[2], size_t blocks)
{
    atlas_sha256_plain(states[0], p[0], blocks);
    atlas_sha256_plain(states[1], p[0], blocks);
}

static void plain_wide_but(unsigned bad, void *states, const uint8_t *const *p, size_t blocks)
{
    uint32_t *words = states;
    for (unsigned l = 0; l < 16; l++) {
        uint32_t state[8];
        for (unsigned w = 0; w < 8; w++) {
            state[w] = words[16 * w + l];
        }
        atlas_sha256_plain(state, p[l], blocks);
        for (unsigned w = 0; w < 8; w++) {
            words[16 * w + l] = state[w] + (l == bad);
        }
    }
}

static void broken_wide(void *states, const uint8_t *const *p, size_t blocks)
{
    plain_wide_but(15, states, p, blocks);
}

static void plain_wide(void *states, const uint8_t *const *p, size_t blocks)
{
    plain_wide_but(16, states, p, blocks);
}

/* Takes far longer than eight times two messages. */
static void slow_wide(void *states, const uint8_t *const *p, size_t blocks)
{
    uint32_t copy[8 * 16];
    for (int i = 0; i < 3; i++) {
        memcpy(copy, states, sizeof copy);
        plain_wide(copy, p, blocks);
    }
    memcpy(states, copy, sizeof copy);
}

static struct atlas_kernel_choice choice_of(const struct atlas_kernel *kernels, size_t n, const char *wanted)
{
    struct atlas_kernel_set set = {{kernels, NULL}, {n, 0}};
    struct atlas_kernel_choice choice = {.failed = NULL};
    int rc = atlas_kernel_choose(&set, ATLAS_CPU_SHA | ATLAS_CPU_AVX512, wanted, &choice, NULL);
    if (rc < 0) {
        choice.use[ATLAS_FAMILY_256].kernel = NULL;
        choice.failed = NULL;
    }
    return choice;
}

TEST(a_kernel_that_gives_a_wrong_answer_is_not_used)
{
    static const struct atlas_kernel good = {"good", 0, true, atlas_sha256_plain, NULL, NULL, 0};
    static const struct atlas_kernel bad[] = {
        {"one", 0, true, broken_one, NULL, NULL, 0},
        {"one", ATLAS_CPU_AVX512, false, broken_one, NULL, plain_wide, 16},
        {"two", ATLAS_CPU_SHA, true, atlas_sha256_plain, broken_two, NULL, 0},
        {"wide", ATLAS_CPU_AVX512, true, atlas_sha256_plain, NULL, broken_wide, 16},
        {"wide", 3, true, atlas_sha256_plain, plain_two, broken_wide, 16},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct atlas_kernel kernels[2] = {bad[i], good};
        struct atlas_kernel_choice c = choice_of(kernels, 2, NULL);
        CHECK(c.use[ATLAS_FAMILY_256].kernel == &kernels[1] && c.failed == &kernels[0]);
        c = choice_of(kernels, 1, NULL); /* nothing else is there: OpenSSL */
        CHECK(c.use[ATLAS_FAMILY_256].kernel == NULL && c.failed == &kernels[0]);
    }
    struct atlas_kernel_choice c = choice_of(&good, 1, NULL);
    CHECK(c.use[ATLAS_FAMILY_256].kernel == &good && c.failed == NULL);
}

TEST(a_broken_kernel_that_is_asked_for_by_name_is_an_error)
{
    static const struct atlas_kernel bad = {"sha-ni", ATLAS_CPU_SHA, true, atlas_sha256_plain, broken_two, NULL, 0};
    struct atlas_kernel_set set = {{&bad, NULL}, {1, 0}};
    struct atlas_kernel_choice choice;
    struct atlas_error error = ATLAS_ERROR_INIT;
    CHECK_ERR(atlas_kernel_choose(&set, ATLAS_CPU_SHA, "sha-ni", &choice, &error), ATLAS_E_UNSUPPORTED);
    CHECK(strstr(error.text, "wrong digests") != NULL && strcmp(error.where, "ATLAS_KERNEL") == 0);
}

TEST(a_kernel_that_is_unknown_or_not_there_is_an_error)
{
    struct atlas_kernel_choice choice;
    struct atlas_error error = ATLAS_ERROR_INIT;
    CHECK_ERR(atlas_kernel_choose(atlas_kernel_set(), 0, "md5", &choice, &error), ATLAS_E_ARG);
    CHECK(strstr(error.text, "'md5'") != NULL && strstr(error.text, "sha-ni") != NULL);
    error = ATLAS_ERROR_INIT;
    CHECK_ERR(atlas_kernel_choose(atlas_kernel_set(), ATLAS_CPU_SHA, "avx512", &choice, &error), ATLAS_E_UNSUPPORTED);
    CHECK(strstr(error.text, "avx512") != NULL);
    CHECK_OK(atlas_kernel_choose(atlas_kernel_set(), 0, NULL, &choice, NULL));
    CHECK(choice.use[0].kernel == NULL && choice.use[1].kernel == NULL);
    CHECK_OK(atlas_kernel_choose(atlas_kernel_set(), atlas_cpu_features(), "openssl", &choice, NULL));
    CHECK(choice.use[0].kernel == NULL && choice.use[1].kernel == NULL);
}

TEST(a_wide_function_that_is_slower_is_left_out_unless_it_is_asked_for)
{
    static const struct atlas_kernel kernels[] = {
        {"slow", ATLAS_CPU_SHA | ATLAS_CPU_AVX512, true, atlas_sha256_plain, plain_two, slow_wide, 16},
        {"two", ATLAS_CPU_SHA, true, atlas_sha256_plain, plain_two, NULL, 0},
    };
    struct atlas_kernel_choice c = choice_of(kernels, 2, NULL);
    CHECK(c.use[ATLAS_FAMILY_256].kernel == &kernels[1] && c.failed == NULL);
    c = choice_of(kernels, 2, "sha-ni+avx512");
    CHECK(c.use[ATLAS_FAMILY_256].kernel == &kernels[0] && c.use[ATLAS_FAMILY_256].wide_from <= 16);
}

TEST(this_process_has_one_choice)
{
    struct atlas_kernel_choice a;
    struct atlas_kernel_choice b;
    struct atlas_lanes_report report;
    unsigned width = 0;
    CHECK_OK(atlas_kernel_chosen(&a, NULL));
    CHECK_OK(atlas_kernel_chosen(&b, NULL));
    for (int family = 0; family < ATLAS_FAMILIES; family++) {
        CHECK(a.use[family].kernel == b.use[family].kernel && a.use[family].wide_from == b.use[family].wide_from);
    }
    CHECK(a.failed == NULL && b.failed == NULL);
    CHECK_OK(atlas_lanes_look(&report, NULL));
    CHECK_OK(atlas_lanes_width(ATLAS_SHA256, &width, NULL));
    CHECK(width == report.sha256_lanes && width >= 1 && width <= ATLAS_LANES_MAX && report.failed == NULL);
    CHECK((a.use[0].kernel == NULL) == (strcmp(report.sha256, "openssl") == 0));
    struct atlas_stream s;
    CHECK_ERR(atlas_stream_init(&s, 99, false, NULL), ATLAS_E_ALGORITHM);
}
