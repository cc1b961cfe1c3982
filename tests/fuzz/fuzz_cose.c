/* fuzz_cose.c - COSE_Sign1: what the reader accepts can be written anew from its view and reads the same. */
#include "format/cose.h"
#include "fuzz.h"
#include "sample.h"

static void write_and_read_again(const struct atlas_cose_sign1 *s)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_cose_sign1 again;
    REQUIRE(atlas_cose_write(&b, s->protected_, s->signature, s->timestamp, NULL, 0, NULL) == ATLAS_OK);
    REQUIRE(atlas_cose_claim_signature_read(atlas_buf_span(&b), &again, NULL) == ATLAS_OK);
    REQUIRE(again.alg == s->alg && again.certificates == s->certificates);
    REQUIRE(atlas_span_equal(again.protected_, s->protected_));
    REQUIRE(atlas_span_equal(again.signature, s->signature));
    REQUIRE(atlas_span_equal(again.timestamp, s->timestamp));
    atlas_buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf text = ATLAS_BUF_INIT;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    struct atlas_cose_sign1 sign1;
    struct atlas_span bytes = own_copy(data, size);
    int rc = atlas_cose_read(bytes, &sign1, &error);
    REQUIRE(rc == error.code);
    if (rc == ATLAS_OK) {
        atlas_cose_write_sig_structure(&tbs, sign1.protected_, ATLAS_SPAN_NONE, sign1.payload);
        REQUIRE(atlas_cbor_check(atlas_buf_span(&tbs), "fuzz", NULL) == ATLAS_OK);
    }
    if (atlas_cose_claim_signature_read(bytes, &sign1, NULL) == ATLAS_OK) {
        REQUIRE(sign1.payload.p == NULL && sign1.certificates > 0 && sign1.signature.n > 0);
        REQUIRE(dump_cose(bytes, &text, NULL) == ATLAS_OK);
        write_and_read_again(&sign1);
    }
    atlas_buf_release(&text);
    atlas_buf_release(&tbs);
    free_copy(bytes);
    return 0;
}
