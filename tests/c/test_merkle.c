/* test_merkle.c - trees and proofs against the known answers of RFC 6962 and against each other, for every size to 64.
 * The public vectors are read by tests/vectors/test_merkle.py. */
#include "base/buf.h"
#include "stage/merkle.h"
#include "test.h"

#define SIZES 64
#define PROOF_MAX (ATLAS_MERKLE_LEVELS + 1)

/* The tree that the Certificate Transparency code is tested with: its eight entries, and the roots of its prefixes. */
static const struct atlas_span ct_entries[8] = {
    {(const uint8_t *)"", 0},
    {(const uint8_t *)"\x00", 1},
    {(const uint8_t *)"\x10", 1},
    {(const uint8_t *)"\x20\x21", 2},
    {(const uint8_t *)"\x30\x31", 2},
    {(const uint8_t *)"\x40\x41\x42\x43", 4},
    {(const uint8_t *)"\x50\x51\x52\x53\x54\x55\x56\x57", 8},
    {(const uint8_t *)"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16},
};

static const char *const ct_roots[9] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

static bool has_hex(const struct atlas_digest *digest, const char *hex)
{
    char text[2 * ATLAS_DIGEST_MAX + 1];
    atlas_hex(atlas_digest_span(digest), text);
    return strcmp(text, hex) == 0;
}

TEST(merkle_roots_are_those_of_certificate_transparency)
{
    struct atlas_merkle m;
    struct atlas_digest root;
    CHECK_OK(atlas_merkle_init(&m, ATLAS_SHA256, NULL));
    for (size_t n = 0; n <= 8; n++) {
        CHECK_OK(atlas_merkle_root(&m, &root, NULL));
        CHECK(has_hex(&root, ct_roots[n]));
        if (n < 8) {
            CHECK_OK(atlas_merkle_append(&m, ct_entries[n], NULL));
        }
    }
    atlas_merkle_reset(&m);
    CHECK_OK(atlas_merkle_append(&m, ct_entries[0], NULL));
    CHECK_OK(atlas_merkle_root(&m, &root, NULL));
    CHECK(has_hex(&root, ct_roots[1]));
    atlas_merkle_release(&m);
}

/* ------------------------------------------------------------------------------------- all sizes and places */

struct forest {
    int alg;
    size_t size;
    struct atlas_buf leaves;
    struct atlas_digest roots[SIZES + 1];
};

static bool forest_grow(struct forest *f, int alg)
{
    struct atlas_merkle m;
    *f = (struct forest){.alg = alg, .size = atlas_alg_size(alg), .leaves = ATLAS_BUF_INIT};
    bool good = atlas_merkle_init(&m, alg, NULL) == ATLAS_OK && atlas_merkle_root(&m, &f->roots[0], NULL) == ATLAS_OK;
    for (size_t n = 0; good && n < SIZES; n++) {
        uint8_t entry = (uint8_t)n;
        struct atlas_digest leaf;
        good = atlas_merkle_leaf(alg, atlas_span_of(&entry, 1), &leaf, NULL) == ATLAS_OK &&
               atlas_merkle_append(&m, atlas_span_of(&entry, 1), NULL) == ATLAS_OK &&
               atlas_merkle_root(&m, &f->roots[n + 1], NULL) == ATLAS_OK;
        atlas_buf_append(&f->leaves, atlas_digest_span(&leaf));
    }
    atlas_merkle_release(&m);
    return good;
}

static struct atlas_span leaves_of(const struct forest *f, size_t n)
{
    return atlas_span_sub(atlas_buf_span(&f->leaves), 0, n * f->size);
}

static size_t hashes_of(const struct forest *f, const struct atlas_buf *proof, struct atlas_span *ret_hashes)
{
    size_t n = proof->n / f->size;
    for (size_t i = 0; i < n && i < PROOF_MAX; i++) {
        ret_hashes[i] = atlas_span_sub(atlas_buf_span(proof), i * f->size, f->size);
    }
    return n;
}

static bool inclusion_holds(const struct forest *f, size_t m, size_t n)
{
    struct atlas_buf proof = ATLAS_BUF_INIT;
    struct atlas_span hashes[PROOF_MAX];
    struct atlas_span leaf = atlas_span_sub(leaves_of(f, n), m * f->size, f->size);
    struct atlas_span root = atlas_digest_span(&f->roots[n]);
    bool good = atlas_merkle_inclusion_prove(f->alg, leaves_of(f, n), m, &proof, NULL) == ATLAS_OK;
    size_t k = hashes_of(f, &proof, hashes);
    good = good && atlas_merkle_inclusion_check(f->alg, m, n, leaf, hashes, k, root, NULL) == ATLAS_OK;
    for (size_t other = 0; good && other < n; other++) {
        good = other == m || atlas_merkle_inclusion_check(f->alg, other, n, leaf, hashes, k, root, NULL) == ATLAS_E_DIGEST;
    }
    for (size_t i = 0; good && i < proof.n; i += 7) {
        proof.p[i] ^= 1;
        good = atlas_merkle_inclusion_check(f->alg, m, n, leaf, hashes, k, root, NULL) == ATLAS_E_DIGEST;
        proof.p[i] ^= 1;
    }
    if (k > 0) {
        good = good && atlas_merkle_inclusion_check(f->alg, m, n, leaf, hashes, k - 1, root, NULL) == ATLAS_E_DIGEST;
    }
    atlas_buf_release(&proof);
    return good;
}

static bool consistency_holds(const struct forest *f, size_t m, size_t n)
{
    struct atlas_buf proof = ATLAS_BUF_INIT;
    struct atlas_span hashes[PROOF_MAX];
    struct atlas_span old = atlas_digest_span(&f->roots[m]);
    struct atlas_span root = atlas_digest_span(&f->roots[n]);
    bool good = atlas_merkle_consistency_prove(f->alg, leaves_of(f, n), m, &proof, NULL) == ATLAS_OK;
    size_t k = hashes_of(f, &proof, hashes);
    good = good && atlas_merkle_consistency_check(f->alg, m, n, old, root, hashes, k, NULL) == ATLAS_OK;
    for (size_t i = 0; good && i < proof.n; i += 7) {
        proof.p[i] ^= 1;
        good = atlas_merkle_consistency_check(f->alg, m, n, old, root, hashes, k, NULL) == ATLAS_E_DIGEST;
        proof.p[i] ^= 1;
    }
    if (m != n) {
        good = good && atlas_merkle_consistency_check(f->alg, m, n, root, old, hashes, k, NULL) == ATLAS_E_DIGEST &&
               atlas_merkle_consistency_check(f->alg, m, n, root, root, hashes, k, NULL) == ATLAS_E_DIGEST;
    }
    atlas_buf_release(&proof);
    return good;
}

TEST(every_proof_up_to_64_leaves_holds_and_no_other_does)
{
    struct forest f;
    CHECK(forest_grow(&f, ATLAS_SHA256));
    for (size_t n = 1; n <= SIZES; n++) {
        for (size_t m = 0; m < n; m++) {
            CHECK(inclusion_holds(&f, m, n));
            CHECK(consistency_holds(&f, m + 1, n));
        }
    }
    atlas_buf_release(&f.leaves);
}

TEST(longer_hashes_make_trees_too)
{
    for (int alg = ATLAS_SHA384; alg <= ATLAS_SHA512; alg++) {
        struct forest f;
        CHECK(forest_grow(&f, alg));
        for (size_t n = 1; n <= 12; n++) {
            CHECK(inclusion_holds(&f, n / 2, n));
            CHECK(consistency_holds(&f, n / 2 + 1, n));
        }
        atlas_buf_release(&f.leaves);
    }
}

/* ------------------------------------------------------------------------------------------------- refusals */

TEST(hashes_of_another_algorithm_are_refused)
{
    struct atlas_merkle m;
    struct atlas_digest d;
    uint8_t bytes[48] = {0};
    struct atlas_span short_one = atlas_span_of(bytes, 32);
    struct atlas_span long_one = atlas_span_of(bytes, 48);
    CHECK_OK(atlas_merkle_init(&m, ATLAS_SHA256, NULL));
    CHECK_ERR(atlas_merkle_append_hash(&m, long_one, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_merkle_append_hash(&m, ATLAS_SPAN_NONE, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_merkle_node(ATLAS_SHA256, short_one, long_one, &d, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_merkle_node(ATLAS_SHA384, short_one, short_one, &d, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_merkle_inclusion_check(ATLAS_SHA384, 0, 1, short_one, NULL, 0, short_one, NULL), ATLAS_E_DIGEST);
    CHECK_ERR(atlas_merkle_consistency_check(ATLAS_SHA256, 1, 2, short_one, short_one, &long_one, 1, NULL),
              ATLAS_E_DIGEST);
    atlas_merkle_release(&m);
}

TEST(an_unknown_algorithm_is_refused_everywhere)
{
    struct atlas_merkle m;
    struct atlas_digest d;
    struct atlas_buf proof = ATLAS_BUF_INIT;
    CHECK(atlas_merkle_init(&m, 7, NULL) < 0);
    CHECK(atlas_merkle_leaf(7, ATLAS_SPAN_NONE, &d, NULL) < 0);
    CHECK(atlas_merkle_node(7, ATLAS_SPAN_NONE, ATLAS_SPAN_NONE, &d, NULL) < 0);
    CHECK(atlas_merkle_inclusion_prove(7, ATLAS_SPAN_NONE, 0, &proof, NULL) < 0);
    CHECK(atlas_merkle_inclusion_check(7, 0, 1, ATLAS_SPAN_NONE, NULL, 0, ATLAS_SPAN_NONE, NULL) < 0);
    CHECK(atlas_merkle_consistency_check(7, 1, 2, ATLAS_SPAN_NONE, ATLAS_SPAN_NONE, NULL, 0, NULL) < 0);
    atlas_merkle_release(&m);
}

TEST(a_full_tree_takes_no_more_leaves)
{
    struct atlas_merkle m;
    uint8_t hash[32] = {0};
    CHECK_OK(atlas_merkle_init(&m, ATLAS_SHA256, NULL));
    m.n = ATLAS_MERKLE_MAX_LEAVES - 1; /* nobody lives long enough to append that many */
    memset(m.roots, 0, sizeof m.roots);
    CHECK_OK(atlas_merkle_append_hash(&m, atlas_span_of(hash, 32), NULL));
    CHECK_ERR(atlas_merkle_append_hash(&m, atlas_span_of(hash, 32), NULL), ATLAS_E_LIMIT);
    atlas_merkle_release(&m);
}

TEST(a_tree_that_was_released_is_an_error_not_a_root)
{
    struct atlas_merkle m;
    struct atlas_digest root;
    CHECK_OK(atlas_merkle_init(&m, ATLAS_SHA256, NULL));
    CHECK_OK(atlas_merkle_append(&m, ct_entries[1], NULL));
    atlas_merkle_release(&m);
    CHECK(atlas_merkle_root(&m, &root, NULL) < 0);
    CHECK(atlas_merkle_append(&m, ct_entries[1], NULL) < 0);
}
