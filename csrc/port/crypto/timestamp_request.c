/* timestamp_request.c - asking an authority (RFC 3161, 2.4.1) and reading what it answers (2.4.2). */
#include <openssl/rand.h>

#include "port/crypto/der.h"
#include "port/crypto/timestamp.h"

static const char where[] = "timestamp response";

static ASN1_INTEGER *new_nonce(void)
{
    uint64_t v = 0;
    ASN1_INTEGER *nonce = ASN1_INTEGER_new();
    if (nonce != NULL && (RAND_bytes((unsigned char *)&v, sizeof v) != 1 || ASN1_INTEGER_set_uint64(nonce, v) != 1)) {
        ASN1_INTEGER_free(nonce);
        nonce = NULL;
    }
    return nonce;
}

static bool fill_imprint(TS_MSG_IMPRINT *imprint, struct atlas_digest *digest)
{
    X509_ALGOR *algorithm = X509_ALGOR_new();
    bool good = imprint != NULL && algorithm != NULL &&
                X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_sha256), V_ASN1_NULL, NULL) == 1 &&
                TS_MSG_IMPRINT_set_algo(imprint, algorithm) == 1 &&
                TS_MSG_IMPRINT_set_msg(imprint, digest->b, digest->n) == 1;
    X509_ALGOR_free(algorithm);
    return good;
}

static bool fill_request(TS_REQ *request, struct atlas_digest *digest)
{
    TS_MSG_IMPRINT *imprint = TS_MSG_IMPRINT_new();
    ASN1_INTEGER *nonce = new_nonce();
    bool good = nonce != NULL && fill_imprint(imprint, digest) && TS_REQ_set_version(request, 1) == 1 &&
                TS_REQ_set_msg_imprint(request, imprint) == 1 && TS_REQ_set_nonce(request, nonce) == 1 &&
                TS_REQ_set_cert_req(request, 1) == 1;
    TS_MSG_IMPRINT_free(imprint);
    ASN1_INTEGER_free(nonce);
    return good;
}

int atlas_timestamp_request(struct atlas_span message, struct atlas_buf *ret_request, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    unsigned char *der = NULL;
    struct atlas_digest digest;
    TS_REQ *request = TS_REQ_new();
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, message, &digest, error));
    int n = request != NULL && fill_request(request, &digest) ? i2d_TS_REQ(request, &der) : -1;
    if (n <= 0) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_CRYPTO, "timestamp request", "the request cannot be built"));
    }
    atlas_buf_append(ret_request, atlas_span_of(der, (size_t)n));
    ATLAS_TRY(atlas_buf_check(ret_request, error));
out:
    OPENSSL_free(der);
    TS_REQ_free(request);
    return atlas_ossl_done(rc);
}

/* ------------------------------------------------------------------------------------------------ the answer */

/* The authority's words, as far as they are harmless to print. */
static void printable(struct atlas_span text, char out[80])
{
    size_t n = 0;
    for (size_t i = 0; i < text.n && n < 79; i++) {
        if (text.p[i] >= 0x20 && text.p[i] < 0x7F) {
            out[n++] = (char)text.p[i];
        }
    }
    out[n] = '\0';
}

/* PKIStatusInfo: 0 granted, 1 granted with modifications; everything else carries no token. */
static int check_status(struct atlas_span info, struct atlas_error *error)
{
    struct atlas_der status;
    struct atlas_der texts;
    struct atlas_der text;
    if (!atlas_der_take(&info, ATLAS_DER_INTEGER, &status) || status.content.n == 0) {
        return atlas_error_set(error, ATLAS_E_X509, where, "not a TimeStampResp");
    }
    if (status.content.n == 1 && status.content.p[0] <= 1) {
        return ATLAS_OK;
    }
    char words[80] = "";
    if (atlas_der_take(&info, ATLAS_DER_SEQUENCE, &texts) && atlas_der_take(&texts.content, ATLAS_DER_UTF8, &text)) {
        printable(text.content, words);
    }
    return atlas_error_set(error, ATLAS_E_REFUSED, where, "the authority refused, status %u%s%s",
                           status.content.p[status.content.n - 1], words[0] != '\0' ? ": " : "", words);
}

/* TimeStampResp: status and the token, cut out of the bytes that were received. */
static int cut_token(struct atlas_span response, struct atlas_span *ret_token, struct atlas_error *error)
{
    struct atlas_der outer;
    struct atlas_der status;
    struct atlas_der token;
    if (response.n > ATLAS_MAX_TIMESTAMP_BYTES || !atlas_der_take(&response, ATLAS_DER_SEQUENCE, &outer) ||
        response.n != 0 || !atlas_der_take(&outer.content, ATLAS_DER_SEQUENCE, &status)) {
        return atlas_error_set(error, ATLAS_E_X509, where, "not a TimeStampResp");
    }
    int rc = check_status(status.content, error);
    if (rc < 0) {
        return rc;
    }
    if (!atlas_der_take(&outer.content, ATLAS_DER_SEQUENCE, &token) || outer.content.n != 0) {
        return atlas_error_set(error, ATLAS_E_X509, where, "no token in the response");
    }
    *ret_token = token.whole;
    return ATLAS_OK;
}

static bool same_imprint(TS_MSG_IMPRINT *a, TS_MSG_IMPRINT *b)
{
    const ASN1_OBJECT *alg_a;
    const ASN1_OBJECT *alg_b;
    X509_ALGOR_get0(&alg_a, NULL, NULL, TS_MSG_IMPRINT_get_algo(a));
    X509_ALGOR_get0(&alg_b, NULL, NULL, TS_MSG_IMPRINT_get_algo(b));
    return OBJ_cmp(alg_a, alg_b) == 0 &&
           ASN1_OCTET_STRING_cmp(TS_MSG_IMPRINT_get_msg(a), TS_MSG_IMPRINT_get_msg(b)) == 0;
}

/* RFC 3161, 2.4.2: the nonce ties the answer to this request, the imprint to our message. */
static int check_answer(TS_REQ *request, const struct atlas_token *token, struct atlas_error *error)
{
    const ASN1_INTEGER *asked = TS_REQ_get_nonce(request);
    const ASN1_INTEGER *answered = TS_TST_INFO_get_nonce(token->info);
    if (!same_imprint(TS_REQ_get_msg_imprint(request), TS_TST_INFO_get_msg_imprint(token->info))) {
        return atlas_error_set(error, ATLAS_E_DIGEST, where, "the token is about something else");
    }
    if (asked == NULL || answered == NULL || ASN1_INTEGER_cmp(asked, answered) != 0) {
        return atlas_error_set(error, ATLAS_E_DIGEST, where, "the response does not answer this request (nonce)");
    }
    return ATLAS_OK;
}

int atlas_timestamp_response_token(struct atlas_span request, struct atlas_span response, struct atlas_span *ret_token,
                                   struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_token token = ATLAS_TOKEN_INIT;
    struct atlas_span bytes = ATLAS_SPAN_NONE;
    const unsigned char *p = request.p;
    TS_REQ *asked =
        request.n != 0 && request.n <= ATLAS_MAX_TIMESTAMP_BYTES ? d2i_TS_REQ(NULL, &p, (long)request.n) : NULL;
    if (asked == NULL) {
        return atlas_ossl_fail(error, ATLAS_E_ARG, "timestamp request", "not a TimeStampReq");
    }
    ATLAS_TRY(cut_token(response, &bytes, error));
    ATLAS_TRY(atlas_token_read(bytes, &token, error));
    ATLAS_TRY(check_answer(asked, &token, error));
    *ret_token = bytes;
out:
    atlas_token_release(&token);
    TS_REQ_free(asked);
    return atlas_ossl_done(rc);
}
