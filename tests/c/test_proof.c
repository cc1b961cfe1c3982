/* test_proof.c - inclusion and consistency of every (m, n), and what a policy and a proof do to memory. What they
 * answer: tests/unit/test_log_proof.py. ATLAS_TEST_SOAK=1 flips every bit of every proof instead of some. */
#include "stage/merkle.h"
#include "stage/proof.h"
#include "test.h"

#define SIZES 256
#define HASH 32

/* Roots of the leaves [first, first + n), by the words of RFC 6962, 2.1, each made once: proofs by another hand. */
static uint8_t roots[SIZES][SIZES + 1][HASH];
static bool known[SIZES][SIZES + 1];

static uint64_t half(uint64_t n)
{
    uint64_t k = 1;
    while (2 * k < n) {
        k *= 2;
    }
    return k;
}

static struct atlas_span mth(uint64_t first, uint64_t n)
{
    struct atlas_digest d = {.n = 0};
    if (!known[first][n]) {
        uint32_t entry = (uint32_t)first;
        uint64_t k = half(n);
        int rc = n == 1 ? atlas_merkle_leaf(ATLAS_SHA256, atlas_span_of(&entry, sizeof entry), &d, NULL)
                        : atlas_merkle_node(ATLAS_SHA256, mth(first, k), mth(first + k, n - k), &d, NULL);
        memcpy(roots[first][n], d.b, HASH);
        known[first][n] = rc >= 0;
    }
    return atlas_span_of(roots[first][n], HASH);
}

/* 2.1.1 */
static void path(uint64_t m, uint64_t first, uint64_t n, struct atlas_buf *proof)
{
    uint64_t k = half(n);
    if (n == 1) {
        return;
    }
    if (m < k) {
        path(m, first, k, proof);
        atlas_buf_append(proof, mth(first + k, n - k));
    } else {
        path(m - k, first + k, n - k, proof);
        atlas_buf_append(proof, mth(first, k));
    }
}

/* 2.1.2 */
static void subproof(uint64_t m, uint64_t first, uint64_t n, bool whole, struct atlas_buf *proof)
{
    uint64_t k = half(n);
    if (m == n) {
        atlas_buf_append(proof, whole ? ATLAS_SPAN_NONE : mth(first, n));
    } else if (m <= k) {
        subproof(m, first, k, whole, proof);
        atlas_buf_append(proof, mth(first + k, n - k));
    } else {
        subproof(m - k, first + k, n - k, false, proof);
        atlas_buf_append(proof, mth(first, k));
    }
}

static size_t cut(const struct atlas_buf *proof, struct atlas_span *hashes)
{
    struct atlas_span rest = atlas_buf_span(proof);
    size_t n = 0;
    while (atlas_span_take(&rest, HASH, &hashes[n])) {
        n++;
    }
    return n;
}

static int include(uint64_t index, uint64_t size, const struct atlas_buf *proof)
{
    struct atlas_span hashes[ATLAS_MERKLE_LEVELS];
    size_t n = cut(proof, hashes);
    return atlas_merkle_inclusion_check(ATLAS_SHA256, index, size, mth(index < SIZES ? index : 0, 1), hashes, n,
                                        mth(0, size), NULL);
}

static int extend(uint64_t size1, uint64_t size2, const struct atlas_buf *proof, uint64_t root1, uint64_t root2)
{
    struct atlas_span hashes[ATLAS_MERKLE_LEVELS];
    size_t n = cut(proof, hashes);
    return atlas_merkle_consistency_check(ATLAS_SHA256, size1, size2, mth(0, root1), mth(0, root2), hashes, n, NULL);
}

/* Which bits of a proof are flipped: every one of a small tree and in a soak, else another one of each proof. */
static size_t first_bit(uint64_t m, uint64_t n, const struct atlas_buf *proof, size_t *ret_step)
{
    bool all = getenv("ATLAS_TEST_SOAK") != NULL || n <= 16;
    *ret_step = all || proof->n == 0 ? 1 : 8 * proof->n;
    return all || proof->n == 0 ? 0 : (m * 1009 + n * 31) % (8 * proof->n);
}

TEST(every_inclusion_up_to_256_holds_and_no_flipped_bit_does)
{
    struct atlas_buf proof = ATLAS_BUF_INIT;
    for (uint64_t n = 1; n <= SIZES; n++) {
        for (uint64_t m = 0; m < n; m++) {
            size_t step;
            atlas_buf_clear(&proof);
            path(m, 0, n, &proof);
            CHECK_OK(include(m, n, &proof));
            CHECK_ERR(include(n != 1 ? (m + 1) % n : 1, n, &proof), ATLAS_E_DIGEST);
            for (size_t bit = first_bit(m, n, &proof, &step); bit < 8 * proof.n; bit += step) {
                proof.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
                CHECK_ERR(include(m, n, &proof), ATLAS_E_DIGEST);
                proof.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
        }
    }
    atlas_buf_release(&proof);
}

TEST(every_consistency_up_to_256_holds_and_no_flipped_bit_does)
{
    struct atlas_buf proof = ATLAS_BUF_INIT;
    for (uint64_t n = 1; n <= SIZES; n++) {
        for (uint64_t m = 1; m <= n; m++) {
            size_t step;
            atlas_buf_clear(&proof);
            subproof(m, 0, n, true, &proof);
            CHECK_OK(extend(m, n, &proof, m, n));
            CHECK_ERR(extend(m, n, &proof, m == 1 ? 2 : m - 1, n), ATLAS_E_DIGEST);
            CHECK_ERR(extend(m, n, &proof, m, n == 1 ? 2 : n - 1), ATLAS_E_DIGEST);
            for (size_t bit = first_bit(m, n, &proof, &step); bit < 8 * proof.n; bit += step) {
                proof.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
                CHECK_ERR(extend(m, n, &proof, m, n), ATLAS_E_DIGEST);
                proof.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
        }
    }
    atlas_buf_release(&proof);
}

#define LOG "log log.example/team+b3300333+AQSGiM18jpm0h8UoR5EWLmh/ssSazw6nyj7F9tShu9w1\n"
#define WITNESS "witness w witness.example/w1+d7ec3267+BO2NXp96io5WwyFvQUEMfhRIAsqSo9DZ83HT1Nfgqy6k\n"

static int read_policy(const char *text)
{
    struct atlas_log_policy *policy = NULL;
    int rc = atlas_log_policy_new(atlas_span_str(text), &policy, NULL);
    atlas_log_policy_free(policy);
    return rc;
}

TEST(a_policy_is_read_line_by_line)
{
    CHECK_OK(read_policy(LOG WITNESS "group g all w\nquorum g\n"));
    CHECK_OK(read_policy("quorum none"));
    CHECK_ERR(read_policy(LOG WITNESS), ATLAS_E_NOTE);
    CHECK_ERR(read_policy(LOG LOG "quorum none\n"), ATLAS_E_NOTE);
    CHECK_ERR(read_policy(WITNESS "group g 2 w\nquorum g\n"), ATLAS_E_NOTE);
    CHECK_ERR(read_policy(WITNESS "group g 18446744073709551617 w\nquorum g\n"), ATLAS_E_NOTE);
}

TEST(a_line_of_too_many_words_is_refused)
{
    struct atlas_buf text = ATLAS_BUF_INIT;
    struct atlas_log_policy *policy = NULL;
    atlas_buf_append(&text, ATLAS_LIT("group g any"));
    for (int i = 0; i < 600; i++) {
        atlas_buf_append(&text, ATLAS_LIT(" w"));
    }
    CHECK_ERR(atlas_log_policy_new(atlas_buf_span(&text), &policy, NULL), ATLAS_E_NOTE);
    atlas_buf_release(&text);
}
