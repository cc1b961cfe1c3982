#include "stage/sign.h"

#include "format/cose.h"
#include "port/crypto/crypto.h"

int atlas_sign_prepare(struct atlas_span claim, int64_t cose_alg, const struct atlas_span *chain, size_t n,
                       struct atlas_buf *ret_protected, struct atlas_buf *ret_tbs, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_certificate leaf;
    struct atlas_buf header = ATLAS_BUF_INIT;
    if (n == 0 || n > ATLAS_MAX_CERTIFICATES) {
        ATLAS_TRY(
            atlas_error_set(error, ATLAS_E_ARG, "x5chain", "1 to %d certificates, not %zu", ATLAS_MAX_CERTIFICATES, n));
    }
    ATLAS_TRY(atlas_certificate_chain_check(chain, n, ATLAS_PURPOSE_CLAIM, error));
    ATLAS_TRY(atlas_certificate_read(chain[0], &leaf, error));
    ATLAS_TRY(atlas_signature_alg_check(cose_alg, leaf.spki, error));
    ATLAS_TRY(atlas_cose_write_protected(&header, cose_alg, chain, n, error));
    atlas_cose_write_sig_structure(ret_tbs, atlas_buf_span(&header), ATLAS_SPAN_NONE, claim);
    atlas_buf_append(ret_protected, atlas_buf_span(&header));
    ATLAS_TRY(atlas_buf_check(ret_tbs, error));
    ATLAS_TRY(atlas_buf_check(ret_protected, error));
out:
    atlas_buf_release(&header);
    return rc;
}

int atlas_sign_countertbs(struct atlas_span protected_, struct atlas_span signature, struct atlas_buf *ret_tbs,
                          struct atlas_error *error)
{
    atlas_cose_write_countersignature(ret_tbs, protected_, signature);
    return atlas_buf_check(ret_tbs, error);
}

static int check_signature(const struct atlas_cose_sign1 *sign1, struct atlas_span claim, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_span der;
    struct atlas_certificate leaf;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    ATLAS_TRY(atlas_cose_certificate(sign1, 0, &der, error));
    ATLAS_TRY(atlas_certificate_read(der, &leaf, error));
    atlas_cose_write_sig_structure(&tbs, sign1->protected_, ATLAS_SPAN_NONE, claim);
    ATLAS_TRY(atlas_buf_check(&tbs, error));
    ATLAS_TRY(atlas_signature_verify(sign1->alg, leaf.spki, atlas_buf_span(&tbs), sign1->signature, error));
out:
    atlas_buf_release(&tbs);
    return rc;
}

/* Whether the authority is trusted, and whether its clock is right, is for the verifier to say. */
static int check_timestamp(const struct atlas_cose_sign1 *sign1, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_timestamp timestamp;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    if (sign1->timestamp.p == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_sign_countertbs(sign1->protected_, sign1->signature, &tbs, error));
    ATLAS_TRY(atlas_timestamp_check(NULL, sign1->timestamp, atlas_buf_span(&tbs), INT64_MAX, &timestamp, error));
out:
    atlas_buf_release(&tbs);
    return rc;
}

int atlas_sign_finish(struct atlas_span claim, struct atlas_span protected_, struct atlas_span signature,
                      struct atlas_span timestamp, const struct atlas_span *ocsp, size_t n_ocsp,
                      struct atlas_buf *ret_cose, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_cose_sign1 sign1;
    struct atlas_buf cose = ATLAS_BUF_INIT;
    if (n_ocsp > ATLAS_MAX_OCSP_RESPONSES) {
        ATLAS_TRY(
            atlas_error_set(error, ATLAS_E_ARG, "rVals", "more than %d OCSP responses", ATLAS_MAX_OCSP_RESPONSES));
    }
    ATLAS_TRY(atlas_cose_write(&cose, protected_, signature, timestamp, ocsp, n_ocsp, error));
    ATLAS_TRY(atlas_buf_check(&cose, error));
    ATLAS_TRY(atlas_cose_claim_signature_read(atlas_buf_span(&cose), &sign1, error));
    ATLAS_TRY(check_signature(&sign1, claim, error));
    ATLAS_TRY(check_timestamp(&sign1, error));
    atlas_buf_append(ret_cose, atlas_buf_span(&cose));
    ATLAS_TRY(atlas_buf_check(ret_cose, error));
out:
    atlas_buf_release(&cose);
    return rc;
}
