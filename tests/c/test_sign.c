/* test_sign.c - the sign stage: prepare, sign, finish; nothing comes out that the verifier would refuse. */
#include "credentials.h"
#include "format/cose.h"
#include "port/crypto/crypto.h"
#include "stage/sign.h"
#include "test.h"

#define SPAN(array) atlas_span_of(array, sizeof(array))

static const struct atlas_span claim = {(const uint8_t *)"\xa1\x61k\x61v", 5};

/* One signature on its way, and what may be wrong with it. */
struct signing {
    struct atlas_span chain[3];
    size_t n;
    struct atlas_buf header;
    struct atlas_buf tbs;
    struct atlas_buf signature;
    struct atlas_buf cose;
};

static void signing_init(struct signing *s)
{
    *s = (struct signing){.n = 2};
    s->chain[0] = SPAN(credentials_leaf);
    s->chain[1] = SPAN(credentials_middle);
    s->chain[2] = SPAN(credentials_middle);
}

static void signing_release(struct signing *s)
{
    atlas_buf_release(&s->header);
    atlas_buf_release(&s->tbs);
    atlas_buf_release(&s->signature);
    atlas_buf_release(&s->cose);
}

static int prepare_and_sign(struct signing *s)
{
    struct atlas_key *key = NULL;
    int rc;
    ATLAS_TRY(atlas_sign_prepare(claim, ATLAS_COSE_ES256, s->chain, s->n, &s->header, &s->tbs, NULL));
    ATLAS_TRY(atlas_key_new(SPAN(credentials_key_pem), ATLAS_SPAN_NONE, &key, NULL));
    ATLAS_TRY(atlas_key_sign(key, ATLAS_COSE_ES256, atlas_buf_span(&s->tbs), &s->signature, NULL));
out:
    atlas_key_free(key);
    return rc;
}

static int finish(struct signing *s, struct atlas_span of, struct atlas_span timestamp)
{
    return atlas_sign_finish(of, atlas_buf_span(&s->header), atlas_buf_span(&s->signature), timestamp, NULL, 0,
                             &s->cose, NULL);
}

TEST(what_is_signed_reads_back_with_its_chain)
{
    struct signing s;
    struct atlas_cose_sign1 sign1 = {.alg = 0};
    struct atlas_span leaf = ATLAS_SPAN_NONE;
    signing_init(&s);
    int signed_ = prepare_and_sign(&s);
    int finished = finish(&s, claim, ATLAS_SPAN_NONE);
    int read = atlas_cose_claim_signature_read(atlas_buf_span(&s.cose), &sign1, NULL);
    int leaf_rc = read < 0 ? read : atlas_cose_certificate(&sign1, 0, &leaf, NULL);
    bool same = atlas_span_equal(leaf, s.chain[0]) && sign1.certificates == 2 && sign1.alg == ATLAS_COSE_ES256;
    signing_release(&s);
    CHECK_OK(signed_);
    CHECK_OK(finished);
    CHECK_OK(leaf_rc);
    CHECK(same);
}

TEST(every_flipped_byte_of_header_and_signature_stops_it)
{
    struct signing s;
    size_t passed = 0;
    signing_init(&s);
    int signed_ = prepare_and_sign(&s);
    struct atlas_buf *parts[] = {&s.header, &s.signature};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < parts[k]->n; i++) {
            parts[k]->p[i] ^= 0x10;
            atlas_buf_clear(&s.cose);
            passed += finish(&s, claim, ATLAS_SPAN_NONE) == ATLAS_OK || s.cose.n != 0;
            parts[k]->p[i] ^= 0x10;
        }
    }
    int clean = finish(&s, claim, ATLAS_SPAN_NONE);
    signing_release(&s);
    CHECK_OK(signed_);
    CHECK(passed == 0);
    CHECK_OK(clean);
}

TEST(another_claim_or_a_foreign_timestamp_stops_it)
{
    struct signing s;
    signing_init(&s);
    int signed_ = prepare_and_sign(&s);
    int other = finish(&s, ATLAS_LIT("other"), ATLAS_SPAN_NONE);
    int foreign = finish(&s, claim, SPAN(credentials_token));
    int junk = finish(&s, claim, ATLAS_LIT("junk"));
    size_t written = s.cose.n;
    signing_release(&s);
    CHECK_OK(signed_);
    CHECK_ERR(other, ATLAS_E_SIGNATURE);
    CHECK_ERR(foreign, ATLAS_E_DIGEST);
    CHECK_ERR(junk, ATLAS_E_X509);
    CHECK(written == 0);
}

TEST(nothing_is_prepared_for_a_chain_or_algorithm_that_would_be_refused)
{
    struct signing s;
    signing_init(&s);
    struct atlas_span reversed[2] = {s.chain[1], s.chain[0]};
    int none = atlas_sign_prepare(claim, ATLAS_COSE_ES256, s.chain, 0, &s.header, &s.tbs, NULL);
    int crowd =
        atlas_sign_prepare(claim, ATLAS_COSE_ES256, s.chain, ATLAS_MAX_CERTIFICATES + 1, &s.header, &s.tbs, NULL);
    int twice = atlas_sign_prepare(claim, ATLAS_COSE_ES256, s.chain, 3, &s.header, &s.tbs, NULL);
    int order = atlas_sign_prepare(claim, ATLAS_COSE_ES256, reversed, 2, &s.header, &s.tbs, NULL);
    int unfit = atlas_sign_prepare(claim, ATLAS_COSE_ES384, s.chain, 2, &s.header, &s.tbs, NULL);
    int unknown = atlas_sign_prepare(claim, -257, s.chain, 2, &s.header, &s.tbs, NULL);
    size_t written = s.header.n + s.tbs.n;
    signing_release(&s);
    CHECK_ERR(none, ATLAS_E_ARG);
    CHECK_ERR(crowd, ATLAS_E_ARG);
    CHECK_ERR(twice, ATLAS_E_CREDENTIAL);
    CHECK_ERR(order, ATLAS_E_CREDENTIAL);
    CHECK_ERR(unfit, ATLAS_E_ALGORITHM);
    CHECK_ERR(unknown, ATLAS_E_ALGORITHM);
    CHECK(written == 0);
}

TEST(too_many_ocsp_responses_stop_it)
{
    struct signing s;
    struct atlas_span responses[ATLAS_MAX_OCSP_RESPONSES + 1];
    signing_init(&s);
    for (size_t i = 0; i < ATLAS_MAX_OCSP_RESPONSES + 1; i++) {
        responses[i] = SPAN(credentials_ocsp_good);
    }
    int signed_ = prepare_and_sign(&s);
    int at_limit = atlas_sign_finish(claim, atlas_buf_span(&s.header), atlas_buf_span(&s.signature), ATLAS_SPAN_NONE,
                                     responses, ATLAS_MAX_OCSP_RESPONSES, &s.cose, NULL);
    int above = atlas_sign_finish(claim, atlas_buf_span(&s.header), atlas_buf_span(&s.signature), ATLAS_SPAN_NONE,
                                  responses, ATLAS_MAX_OCSP_RESPONSES + 1, &s.cose, NULL);
    signing_release(&s);
    CHECK_OK(signed_);
    CHECK_OK(at_limit);
    CHECK_ERR(above, ATLAS_E_ARG);
}
