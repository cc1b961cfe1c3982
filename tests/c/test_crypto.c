/* test_crypto.c - the crypto port: known answers, what happens to damaged input, what happens without memory. */
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "credentials.h"
#include "hex.h"
#include "port/crypto/crypto.h"
#include "test.h"

#define NOW CREDENTIALS_NOW
#define SPAN(array) atlas_span_of(array, sizeof(array))

static const enum atlas_cose_alg algorithms[] = {
    ATLAS_COSE_ES256, ATLAS_COSE_ES384, ATLAS_COSE_ES512, ATLAS_COSE_EDDSA,
    ATLAS_COSE_PS256, ATLAS_COSE_PS384, ATLAS_COSE_PS512,
};

static struct atlas_span chain[2];

static void set_chain(void)
{
    chain[0] = SPAN(credentials_leaf);
    chain[1] = SPAN(credentials_middle);
}

static struct atlas_trust *new_trust(bool revoked)
{
    struct atlas_trust *trust = NULL;
    int rc = atlas_trust_new(&trust, NULL);
    rc = rc < 0 ? rc : atlas_trust_add_anchors(trust, SPAN(credentials_root_pem), NULL);
    rc = rc < 0 ? rc : atlas_trust_add_tsa_anchors(trust, SPAN(credentials_root_pem), NULL);
    rc = rc < 0 ? rc : atlas_trust_add_crls(trust, SPAN(credentials_crls_pem), NULL);
    if (rc >= 0 && revoked) {
        rc = atlas_trust_add_crls(trust, SPAN(credentials_crl_revoked_pem), NULL);
    }
    if (rc < 0) {
        atlas_trust_free(trust);
        return NULL;
    }
    return trust;
}

/* ------------------------------------------------------------------------------------------------- digests */

static bool digest_is(const struct atlas_digest *digest, const char *expected)
{
    char text[2 * ATLAS_DIGEST_MAX + 1];
    atlas_hex(atlas_digest_span(digest), text);
    return strcmp(text, expected) == 0;
}

static const char abc_256[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char abc_384[] = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                              "8086072ba1e7cc2358baeca134c825a7";
static const char abc_512[] = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                              "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
static const char empty_256[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(digests_have_their_known_answers)
{
    struct atlas_digest digest;
    CHECK_OK(atlas_crypto_digest(ATLAS_SHA256, ATLAS_LIT("abc"), &digest, NULL));
    CHECK(digest.alg == ATLAS_SHA256 && digest.n == 32 && digest_is(&digest, abc_256));
    CHECK_OK(atlas_crypto_digest(ATLAS_SHA384, ATLAS_LIT("abc"), &digest, NULL));
    CHECK(digest.alg == ATLAS_SHA384 && digest.n == 48 && digest_is(&digest, abc_384));
    CHECK_OK(atlas_crypto_digest(ATLAS_SHA512, ATLAS_LIT("abc"), &digest, NULL));
    CHECK(digest.alg == ATLAS_SHA512 && digest.n == 64 && digest_is(&digest, abc_512));
    CHECK_OK(atlas_crypto_digest(ATLAS_SHA256, ATLAS_SPAN_NONE, &digest, NULL));
    CHECK(digest_is(&digest, empty_256));
}

TEST(an_unknown_hash_is_refused_and_writes_nothing)
{
    struct atlas_digest digest = {.n = 99};
    struct atlas_hasher h = ATLAS_HASHER_INIT;
    CHECK_ERR(atlas_crypto_digest(ATLAS_ALG_NONE, ATLAS_LIT("abc"), &digest, NULL), ATLAS_E_ALGORITHM);
    CHECK_ERR(atlas_crypto_digest(4, ATLAS_LIT("abc"), &digest, NULL), ATLAS_E_ALGORITHM);
    CHECK(digest.n == 99);
    CHECK_ERR(atlas_hasher_init(&h, 0, NULL), ATLAS_E_ALGORITHM);
    CHECK_ERR(atlas_hasher_update(&h, ATLAS_LIT("a"), NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_hasher_final(&h, &digest, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_hasher_reset(&h, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_hasher_peek(&h, &digest, NULL), ATLAS_E_ARG);
    atlas_hasher_release(&h);
    CHECK(digest.n == 99);
}

TEST(a_hasher_serves_many_messages_in_pieces)
{
    struct atlas_hasher h;
    struct atlas_digest digest;
    CHECK_OK(atlas_hasher_init(&h, ATLAS_SHA256, NULL));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(atlas_hasher_update(&h, ATLAS_LIT("a"), NULL));
        CHECK_OK(atlas_hasher_update(&h, ATLAS_SPAN_NONE, NULL));
        CHECK_OK(atlas_hasher_peek(&h, &digest, NULL));
        CHECK_OK(atlas_hasher_update(&h, ATLAS_LIT("bc"), NULL));
        CHECK_OK(atlas_hasher_final(&h, &digest, NULL));
        CHECK(digest_is(&digest, abc_256));
    }
    CHECK_OK(atlas_hasher_update(&h, ATLAS_LIT("forgotten"), NULL));
    CHECK_OK(atlas_hasher_reset(&h, NULL));
    CHECK_OK(atlas_hasher_peek(&h, &digest, NULL));
    CHECK(digest_is(&digest, empty_256));
    atlas_hasher_release(&h);
    atlas_hasher_release(&h);
}

TEST(random_bytes_differ)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};
    CHECK_OK(atlas_crypto_random(a, sizeof a, NULL));
    CHECK_OK(atlas_crypto_random(b, sizeof b, NULL));
    CHECK(memcmp(a, b, sizeof a) != 0);
    CHECK_OK(atlas_crypto_random(NULL, 0, NULL));
    CHECK_ERR(atlas_crypto_random(a, (size_t)1 << 40, NULL), ATLAS_E_ARG);
}

/* ---------------------------------------------------------------------------------------------- signatures */

/* One development identity: keys are made, read back, and every byte of a signature is flipped once. */
static int signs_and_verifies(enum atlas_cose_alg alg)
{
    struct atlas_keygen made;
    struct atlas_key *key = NULL;
    struct atlas_buf spki = ATLAS_BUF_INIT;
    struct atlas_buf signature = ATLAS_BUF_INIT;
    struct atlas_span tbs = ATLAS_LIT("message");
    int rc = atlas_keygen(ATLAS_LIT("Alice"), alg, 1, &made, NULL);
    if (rc < 0) {
        return rc;
    }
    ATLAS_TRY(atlas_key_new(atlas_buf_span(&made.key_pem), ATLAS_SPAN_NONE, &key, NULL));
    ATLAS_TRY(atlas_key_spki(key, &spki, NULL));
    ATLAS_TRY(atlas_key_sign(key, alg, tbs, &signature, NULL));
    ATLAS_TRY(atlas_signature_verify(alg, atlas_buf_span(&spki), tbs, atlas_buf_span(&signature), NULL));
    for (size_t i = 0; i < signature.n; i++) {
        signature.p[i] ^= 1;
        int refused = atlas_signature_verify(alg, atlas_buf_span(&spki), tbs, atlas_buf_span(&signature), NULL);
        signature.p[i] ^= 1;
        if (refused != ATLAS_E_SIGNATURE) {
            ATLAS_TRY(ATLAS_E_INTERNAL);
        }
    }
out:
    atlas_buf_release(&signature);
    atlas_buf_release(&spki);
    atlas_key_free(key);
    atlas_keygen_release(&made);
    return rc;
}

TEST(every_algorithm_signs_and_verifies_and_no_flipped_byte_passes)
{
    bool slow = getenv("ATLAS_TEST_SLOW_MACHINE") != NULL; /* making RSA keys takes minutes under valgrind */
    for (size_t i = 0; i < (slow ? 4 : sizeof algorithms / sizeof algorithms[0]); i++) {
        CHECK_OK(signs_and_verifies(algorithms[i]));
    }
}

TEST(keygen_refuses_what_it_cannot_make)
{
    struct atlas_keygen made;
    CHECK_ERR(atlas_keygen(ATLAS_LIT("Alice"), -257, 1, &made, NULL), ATLAS_E_ALGORITHM);
    CHECK_ERR(atlas_keygen(ATLAS_SPAN_NONE, ATLAS_COSE_ES256, 1, &made, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_keygen(ATLAS_LIT("\xff"), ATLAS_COSE_ES256, 1, &made, NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_keygen(ATLAS_LIT("Alice"), ATLAS_COSE_ES256, 0, &made, NULL), ATLAS_E_ARG);
}

/* RFC 8032, 7.1, test 3; and the same signature with s + L, which means the same number and must not pass. */
TEST(ed25519_has_its_known_answer_and_no_malleable_twin)
{
    uint8_t spki[44];
    uint8_t signature[64];
    struct atlas_span key = hex("302a300506032b6570032100"
                                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                                spki, sizeof spki);
    struct atlas_span good = hex("6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
                                 "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
                                 signature, sizeof signature);
    CHECK_OK(atlas_signature_verify(ATLAS_COSE_EDDSA, key, ATLAS_LIT("\xaf\x82"), good, NULL));
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,       0xd6,
                                      0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
    unsigned carry = 0;
    for (size_t i = 0; i < 32; i++) {
        carry += (unsigned)signature[32 + i] + order[i];
        signature[32 + i] = (uint8_t)(carry & 0xff);
        carry >>= 8;
    }
    CHECK_ERR(atlas_signature_verify(ATLAS_COSE_EDDSA, key, ATLAS_LIT("\xaf\x82"), good, NULL), ATLAS_E_SIGNATURE);
}

TEST(a_key_belongs_to_its_certificate_and_to_no_other)
{
    struct atlas_key *key = NULL;
    CHECK_OK(atlas_key_new(SPAN(credentials_key_pem), ATLAS_SPAN_NONE, &key, NULL));
    CHECK(atlas_key_alg(key) == ATLAS_COSE_ES256);
    CHECK_OK(atlas_key_match(key, SPAN(credentials_leaf), NULL));
    CHECK_ERR(atlas_key_match(key, SPAN(credentials_middle), NULL), ATLAS_E_KEY);
    CHECK_ERR(atlas_key_match(key, ATLAS_LIT("x"), NULL), ATLAS_E_X509);
    atlas_key_free(key);
}

/* ---------------------------------------------------------------------------------- the queue stays empty */

TEST(no_call_leaves_anything_in_openssls_queue)
{
    struct atlas_certificate view;
    struct atlas_timestamp stamp;
    struct atlas_ocsp ocsp;
    struct atlas_chain result;
    struct atlas_key *key = NULL;
    struct atlas_span token;
    struct atlas_span junk = ATLAS_LIT("\x30\x03\x02\x01\x01");
    struct atlas_trust *trust = new_trust(false);
    set_chain();
    CHECK(trust != NULL);
    struct {
        int rc;
        unsigned long left;
    } calls[] = {
#define CALL(expression) {(expression), ERR_peek_error()}
        CALL(atlas_key_new(junk, ATLAS_SPAN_NONE, &key, NULL)),
        CALL(atlas_certificate_read(junk, &view, NULL)),
        CALL(atlas_certificate_profile_check(junk, ATLAS_PURPOSE_CLAIM, NULL)),
        CALL(atlas_certificate_profile_check(SPAN(credentials_middle), ATLAS_PURPOSE_CLAIM, NULL)),
        CALL(atlas_certificate_chain_check(chain, 0, ATLAS_PURPOSE_CLAIM, NULL)),
        CALL(atlas_signature_verify(ATLAS_COSE_ES256, junk, junk, junk, NULL)),
        CALL(atlas_trust_add_anchors(trust, junk, NULL)),
        CALL(atlas_trust_add_crls(trust, junk, NULL)),
        CALL(atlas_trust_add_crls(trust, ATLAS_LIT("text"), NULL)),
        CALL(atlas_trust_chain_check(trust, chain, 1, ATLAS_PURPOSE_CLAIM, NOW, NOW, &result, NULL)),
        CALL(atlas_trust_chain_check(trust, chain, 2, ATLAS_PURPOSE_CLAIM, 0, NOW, &result, NULL)),
        CALL(atlas_timestamp_check(trust, junk, junk, NOW, &stamp, NULL)),
        CALL(atlas_timestamp_check(trust, SPAN(credentials_token), junk, NOW, &stamp, NULL)),
        CALL(atlas_timestamp_response_token(junk, junk, &token, NULL)),
        CALL(atlas_ocsp_check(trust, junk, chain, 2, NOW, NOW, &ocsp, NULL)),
        CALL(atlas_ocsp_check(trust, SPAN(credentials_ocsp_revoked), chain, 2, NOW, NOW, &ocsp, NULL)),
#undef CALL
    };
    atlas_trust_free(trust);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if (calls[i].rc >= 0 || calls[i].left != 0) {
            TEST_FAIL("call %zu: result %d, queue %lx", i, calls[i].rc, calls[i].left);
        }
    }
}

/* ---------------------------------------------------------------------------------------- damaged input */

typedef int reader(struct atlas_span bytes);

static struct atlas_trust *shared_trust;

static int read_certificate(struct atlas_span bytes)
{
    struct atlas_certificate view;
    int rc = atlas_certificate_read(bytes, &view, NULL);
    return rc < 0 ? rc : atlas_certificate_profile_check(bytes, ATLAS_PURPOSE_CLAIM, NULL);
}

static int read_chain(struct atlas_span bytes)
{
    struct atlas_chain result;
    struct atlas_span two[2] = {bytes, chain[1]};
    return atlas_trust_chain_check(shared_trust, two, 2, ATLAS_PURPOSE_CLAIM, NOW, NOW, &result, NULL);
}

static int read_token(struct atlas_span bytes)
{
    struct atlas_timestamp stamp = {.trusted = false};
    int rc = atlas_timestamp_check(shared_trust, bytes, SPAN(credentials_message), NOW, &stamp, NULL);
    return rc < 0 ? rc : stamp.trusted ? ATLAS_OK : ATLAS_E_CHAIN;
}

static int read_ocsp(struct atlas_span bytes)
{
    struct atlas_ocsp ocsp;
    return atlas_ocsp_check(shared_trust, bytes, chain, 2, NOW, NOW, &ocsp, NULL);
}

static int read_key(struct atlas_span bytes)
{
    struct atlas_key *key = NULL;
    int rc = atlas_key_new(bytes, ATLAS_SPAN_NONE, &key, NULL);
    atlas_key_free(key);
    return rc;
}

static int read_crl(struct atlas_span bytes)
{
    struct atlas_trust *trust = NULL;
    struct atlas_chain result;
    int rc = atlas_trust_new(&trust, NULL);
    rc = rc < 0 ? rc : atlas_trust_add_anchors(trust, SPAN(credentials_root_pem), NULL);
    rc = rc < 0 ? rc : atlas_trust_add_crls(trust, bytes, NULL);
    rc = rc < 0 ? rc : atlas_trust_chain_check(trust, chain, 2, ATLAS_PURPOSE_CLAIM, NOW, NOW, &result, NULL);
    atlas_trust_free(trust);
    return rc;
}

/* In a block of its own size, so that a byte read too far is seen. */
static int read_copy(reader *read, struct atlas_span bytes)
{
    uint8_t *copy = malloc(bytes.n != 0 ? bytes.n : 1);
    if (copy == NULL) {
        return ATLAS_E_NOMEM;
    }
    if (bytes.n != 0) {
        memcpy(copy, bytes.p, bytes.n);
    }
    int rc = read(atlas_span_of(copy, bytes.n));
    free(copy);
    return rc;
}

static size_t accepted_truncations(reader *read, struct atlas_span bytes)
{
    size_t step = getenv("ATLAS_TEST_SLOW_MACHINE") != NULL ? 19 : 1;
    size_t accepted = 0;
    for (size_t n = 0; n < bytes.n; n += step) {
        accepted += read_copy(read, atlas_span_sub(bytes, 0, n)) == ATLAS_OK;
    }
    return accepted;
}

/* How many positions have a flipped byte that is still accepted. */
static size_t accepted_flips(reader *read, struct atlas_span bytes)
{
    static const uint8_t flips[] = {0x01, 0x80, 0xff, 0x20};
    size_t step = getenv("ATLAS_TEST_SLOW_MACHINE") != NULL ? 53 : 1;
    size_t accepted = 0;
    uint8_t *copy = malloc(bytes.n);
    memcpy(copy, bytes.p, bytes.n);
    for (size_t i = 0; i < bytes.n; i += step) {
        bool passed = false;
        for (size_t k = 0; k < sizeof flips; k++) {
            copy[i] ^= flips[k];
            passed = passed || read(atlas_span_of(copy, bytes.n)) == ATLAS_OK;
            copy[i] ^= flips[k];
        }
        accepted += passed;
    }
    free(copy);
    return accepted;
}

/* Of a PEM text: up to the second "-----BEGIN". Half of such a line is text like any other text between blocks. */
static struct atlas_span first_block(struct atlas_span pem)
{
    const struct atlas_span mark = ATLAS_LIT("-----BEGIN");
    for (size_t i = 1; i < pem.n; i++) {
        if (atlas_span_starts_with(atlas_span_sub(pem, i, pem.n - i), mark)) {
            return atlas_span_sub(pem, 0, i);
        }
    }
    return pem;
}

TEST(no_truncation_of_anything_is_accepted)
{
    set_chain();
    shared_trust = new_trust(false);
    CHECK(shared_trust != NULL);
    size_t certificate = accepted_truncations(read_certificate, SPAN(credentials_leaf));
    size_t whole_chain = accepted_truncations(read_chain, SPAN(credentials_leaf));
    size_t token = accepted_truncations(read_token, SPAN(credentials_token));
    size_t ocsp = accepted_truncations(read_ocsp, SPAN(credentials_ocsp_good));
    atlas_trust_free(shared_trust);
    CHECK(certificate == 0 && whole_chain == 0 && token == 0 && ocsp == 0);
    /* the last newline of a PEM text may be missing */
    CHECK(accepted_truncations(read_key, SPAN(credentials_key_pem)) <= 1);
    CHECK(accepted_truncations(read_crl, first_block(SPAN(credentials_crls_pem))) <= 1);
}

TEST(no_flipped_byte_of_a_signed_thing_is_accepted)
{
    set_chain();
    shared_trust = new_trust(false);
    CHECK(shared_trust != NULL);
    size_t whole_chain = accepted_flips(read_chain, SPAN(credentials_leaf));
    size_t ocsp = accepted_flips(read_ocsp, SPAN(credentials_ocsp_good));
    size_t token = accepted_flips(read_token, SPAN(credentials_token));
    atlas_trust_free(shared_trust);
    CHECK(whole_chain == 0);
    CHECK(ocsp <= 4);   /* what surrounds the signed part, such as the responder's certificate being there twice */
    CHECK(token <= 32); /* the unsigned part of CMS: versions, tags of sets, letters of the issuer's name */
}

/* ------------------------------------------------------------------------------------------ without memory */

static size_t fail_at;     /* the allocation that fails, counted from 1; 0: none */
static bool fail_for_good; /* and every later one */
static size_t allocations;

static bool fails_now(void)
{
    allocations++;
    return fail_at != 0 && (allocations == fail_at || (fail_for_good && allocations > fail_at));
}

static void *failing_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails_now() ? NULL : malloc(n);
}

static void *failing_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails_now() ? NULL : realloc(p, n);
}

static void plain_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

/* Before OpenSSL allocates anything; the tests run later. */
__attribute__((constructor)) static void hook_allocations(void)
{
    if (CRYPTO_set_mem_functions(failing_malloc, failing_realloc, plain_free) != 1) {
        abort();
    }
}

static int do_signature(void)
{
    struct atlas_key *key = NULL;
    struct atlas_buf spki = ATLAS_BUF_INIT;
    struct atlas_buf signature = ATLAS_BUF_INIT;
    int rc = atlas_key_new(SPAN(credentials_key_pem), ATLAS_SPAN_NONE, &key, NULL);
    rc = rc < 0 ? rc : atlas_key_spki(key, &spki, NULL);
    rc = rc < 0 ? rc : atlas_key_sign(key, ATLAS_COSE_ES256, ATLAS_LIT("m"), &signature, NULL);
    rc = rc < 0 ? rc
                : atlas_signature_verify(ATLAS_COSE_ES256, atlas_buf_span(&spki), ATLAS_LIT("m"),
                                         atlas_buf_span(&signature), NULL);
    atlas_buf_release(&signature);
    atlas_buf_release(&spki);
    atlas_key_free(key);
    return rc;
}

static struct atlas_trust *revoked_trust;

static int do_revoked_chain(void)
{
    struct atlas_chain result;
    return atlas_trust_chain_check(revoked_trust, chain, 2, ATLAS_PURPOSE_CLAIM, NOW, NOW, &result, NULL);
}

static int do_chain(void)
{
    struct atlas_chain result = {.length = 0};
    int rc = atlas_trust_chain_check(shared_trust, chain, 2, ATLAS_PURPOSE_CLAIM, NOW, NOW, &result, NULL);
    if (rc == ATLAS_OK && (result.length != 3 || !result.revocation.leaf_covered)) {
        rc = ATLAS_E_CRYPTO; /* an honest "not covered": allowed without memory, not with */
    }
    return rc;
}

static int do_anchors(void)
{
    struct atlas_trust *trust = new_trust(false);
    atlas_trust_free(trust);
    return trust != NULL ? ATLAS_OK : ATLAS_E_NOMEM;
}

static int do_token(void)
{
    struct atlas_timestamp stamp = {.trusted = false};
    int rc = atlas_timestamp_check(shared_trust, SPAN(credentials_token), SPAN(credentials_message), NOW, &stamp, NULL);
    return rc < 0 ? rc : stamp.trusted ? ATLAS_OK : ATLAS_E_CRYPTO;
}

static int do_ocsp(struct atlas_span response)
{
    struct atlas_ocsp ocsp = {.status = ATLAS_OCSP_UNKNOWN};
    int rc = atlas_ocsp_check(shared_trust, response, chain, 2, NOW, NOW, &ocsp, NULL);
    return rc < 0 ? rc : ocsp.status == ATLAS_OCSP_GOOD ? ATLAS_OK : ATLAS_E_CRYPTO;
}

static int do_good_ocsp(void)
{
    return do_ocsp(SPAN(credentials_ocsp_good));
}

static int do_revoked_ocsp(void)
{
    return do_ocsp(SPAN(credentials_ocsp_revoked));
}

static int do_keygen(void)
{
    struct atlas_keygen made;
    int rc = atlas_keygen(ATLAS_LIT("Alice"), ATLAS_COSE_ES256, 1, &made, NULL);
    if (rc == ATLAS_OK) {
        atlas_keygen_release(&made);
    }
    return rc;
}

static int do_request(void)
{
    struct atlas_buf request = ATLAS_BUF_INIT;
    int rc = atlas_timestamp_request(ATLAS_LIT("m"), &request, NULL);
    atlas_buf_release(&request);
    return rc;
}

struct outcomes {
    size_t points;
    size_t misjudged; /* neither the right answer nor "could not check" */
    size_t accepted;  /* what should have been refused */
    size_t queued;    /* something left in OpenSSL's queue */
};

static bool could_not_check(int rc)
{
    return rc == ATLAS_E_NOMEM || rc == ATLAS_E_CRYPTO;
}

/* Every allocation takes a minute; a sample of them, another one for each scenario, takes seconds. */
static size_t stride(void)
{
    if (getenv("ATLAS_TEST_EVERY_ALLOCATION") != NULL) {
        return 1;
    }
    return getenv("ATLAS_TEST_SLOW_MACHINE") != NULL ? 1999 : 23;
}

/* Fail one allocation, then a later one, ... until the scenario runs through. */
static struct outcomes starve(int (*scenario)(void), int right, bool for_good)
{
    struct outcomes seen = {0, 0, 0, 0};
    fail_for_good = for_good;
    for (size_t n = 1; n < 1000000; n += stride()) {
        allocations = 0;
        fail_at = n;
        int rc = scenario();
        bool reached = allocations >= n;
        fail_at = 0;
        if (!reached) {
            break;
        }
        seen.points++;
        seen.misjudged += rc != right && !could_not_check(rc);
        seen.accepted += rc == ATLAS_OK && right != ATLAS_OK;
        seen.queued += ERR_peek_error() != 0;
    }
    return seen;
}

/* An allocation that fails once may look like a refusal (OpenSSL hides some); it never looks like an acceptance. When
 * memory is gone for good, the answer is that nothing could be checked. */
TEST(without_memory_nothing_is_judged)
{
    static const struct {
        const char *name;
        int (*run)(void);
        int right;
    } scenarios[] = {
        {"signature", do_signature, ATLAS_OK},
        {"anchors", do_anchors, ATLAS_OK},
        {"chain", do_chain, ATLAS_OK},
        {"revoked chain", do_revoked_chain, ATLAS_E_REVOKED},
        {"token", do_token, ATLAS_OK},
        {"ocsp", do_good_ocsp, ATLAS_OK},
        {"revoked ocsp", do_revoked_ocsp, ATLAS_E_REVOKED},
        {"keygen", do_keygen, ATLAS_OK},
        {"request", do_request, ATLAS_OK},
    };
    set_chain();
    shared_trust = new_trust(false);
    revoked_trust = new_trust(true);
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        CHECK_ERR(scenarios[i].run(), scenarios[i].right);
        for (int for_good = 0; for_good < 2; for_good++) {
            struct outcomes seen = starve(scenarios[i].run, scenarios[i].right, for_good != 0);
            if (seen.points == 0 || seen.accepted != 0 || seen.queued != 0 || (for_good && seen.misjudged != 0)) {
                TEST_FAIL("%s, for good %d: %zu points, %zu misjudged, %zu accepted, %zu left in the queue",
                          scenarios[i].name, for_good, seen.points, seen.misjudged, seen.accepted, seen.queued);
            }
        }
        CHECK_ERR(scenarios[i].run(), scenarios[i].right); /* and it works again */
    }
    atlas_trust_free(shared_trust);
    atlas_trust_free(revoked_trust);
}
