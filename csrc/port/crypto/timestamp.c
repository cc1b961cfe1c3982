/* timestamp.c - check an RFC 3161 TimeStampToken: a CMS SignedData (RFC 5652) over a TSTInfo. By hand rather than by
 * TS_RESP_verify_token, which answers one question ("good under this store?") where five must be told apart. */
#include "port/crypto/timestamp.h"

#include "port/crypto/der.h"

static const char where[] = "timestamp";

static int malformed(struct atlas_error *error, const char *text)
{
    return atlas_ossl_fail(error, ATLAS_E_X509, where, text);
}

/* ---------------------------------------------------------------------------------------------- reading it */

void atlas_token_release(struct atlas_token *token)
{
    CMS_ContentInfo_free(token->cms);
    TS_TST_INFO_free(token->info);
    sk_X509_pop_free(token->certificates, X509_free);
    *token = ATLAS_TOKEN_INIT;
}

static int read_info(struct atlas_token *token, struct atlas_error *error)
{
    ASN1_OCTET_STRING **content = CMS_get0_content(token->cms);
    if (content == NULL || *content == NULL) {
        return malformed(error, "the token has no content");
    }
    const unsigned char *start = ASN1_STRING_get0_data(*content);
    const unsigned char *p = start;
    int n = ASN1_STRING_length(*content);
    token->info = d2i_TS_TST_INFO(NULL, &p, n);
    if (token->info == NULL || p != start + n) {
        return malformed(error, "the token's content is no TSTInfo");
    }
    /* RFC 3161, 2.4.2: version 1; an extension that is critical and not understood refuses the token. */
    if (TS_TST_INFO_get_version(token->info) != 1 || TS_TST_INFO_get_ext_by_critical(token->info, 1, -1) >= 0) {
        return malformed(error, "the token is of another version or has a critical extension");
    }
    return atlas_x509_time(TS_TST_INFO_get_time(token->info), where, &token->gen_time, error);
}

static int find_signer(struct atlas_token *token, struct atlas_error *error)
{
    token->certificates = CMS_get1_certs(token->cms);
    if (sk_X509_num(token->certificates) > ATLAS_MAX_CERTIFICATES) {
        return malformed(error, "the token carries too many certificates");
    }
    for (int i = 0; i < sk_X509_num(token->certificates); i++) {
        X509 *x = sk_X509_value(token->certificates, i);
        if (CMS_SignerInfo_cert_cmp(token->signer_info, x) == 0) {
            token->signer = x;
            CMS_SignerInfo_set1_signer_cert(token->signer_info, x); /* and CMS_verify looks for no other */
            return ATLAS_OK;
        }
    }
    return malformed(error, "the token does not carry the authority's certificate");
}

/* RFC 3161, 2.4.2: SignedData over id-ct-TSTInfo with exactly one signer. */
static int read_token(struct atlas_span bytes, struct atlas_token *token, struct atlas_error *error)
{
    if (bytes.n == 0 || bytes.n > ATLAS_MAX_TIMESTAMP_BYTES) {
        return malformed(error, "empty, or longer than a token may be");
    }
    const unsigned char *p = bytes.p;
    token->cms = d2i_CMS_ContentInfo(NULL, &p, (long)bytes.n);
    if (token->cms == NULL || p != bytes.p + bytes.n) {
        return malformed(error, "not one CMS structure");
    }
    STACK_OF(CMS_SignerInfo) *signers = NULL;
    if (OBJ_obj2nid(CMS_get0_type(token->cms)) == NID_pkcs7_signed &&
        OBJ_obj2nid(CMS_get0_eContentType(token->cms)) == NID_id_smime_ct_TSTInfo) {
        signers = CMS_get0_SignerInfos(token->cms);
    }
    if (sk_CMS_SignerInfo_num(signers) != 1) {
        return malformed(error, "not a time-stamp token of one signer");
    }
    token->signer_info = sk_CMS_SignerInfo_value(signers, 0);
    int rc = read_info(token, error);
    return rc < 0 ? rc : find_signer(token, error);
}

/* --------------------------------------------------------------------------------------------- the imprint */

static int imprint_alg(TS_MSG_IMPRINT *imprint, int *ret_alg, struct atlas_error *error)
{
    const ASN1_OBJECT *object;
    X509_ALGOR_get0(&object, NULL, NULL, TS_MSG_IMPRINT_get_algo(imprint));
    switch (OBJ_obj2nid(object)) {
    case NID_sha256:
        *ret_alg = ATLAS_SHA256;
        return ATLAS_OK;
    case NID_sha384:
        *ret_alg = ATLAS_SHA384;
        return ATLAS_OK;
    case NID_sha512:
        *ret_alg = ATLAS_SHA512;
        return ATLAS_OK;
    default:
        return atlas_error_set(error, ATLAS_E_ALGORITHM, where, "the imprint's hash algorithm is not allowed");
    }
}

static int check_imprint(const struct atlas_token *token, struct atlas_span message, struct atlas_error *error)
{
    int alg = ATLAS_ALG_NONE;
    struct atlas_digest digest;
    TS_MSG_IMPRINT *imprint = TS_TST_INFO_get_msg_imprint(token->info);
    int rc = imprint_alg(imprint, &alg, error);
    if (rc >= 0) {
        rc = atlas_crypto_digest(alg, message, &digest, error);
    }
    if (rc < 0) {
        return rc;
    }
    const ASN1_OCTET_STRING *bytes = TS_MSG_IMPRINT_get_msg(imprint);
    struct atlas_span found = atlas_span_of(ASN1_STRING_get0_data(bytes), (size_t)ASN1_STRING_length(bytes));
    if (!atlas_span_equal_ct(found, atlas_digest_span(&digest))) {
        return atlas_error_set(error, ATLAS_E_DIGEST, where, "the token is about something else");
    }
    return ATLAS_OK;
}

/* -------------------------------------------------------------------------------------------- the signature */

/* The hash must be of the allow-list; RSA's old "rsaEncryption" means PKCS #1 v1.5 with that hash (RFC 3370, 3.2). */
static int check_algorithms(const struct atlas_token *token, struct atlas_error *error)
{
    X509_ALGOR *digest;
    X509_ALGOR *signature;
    const ASN1_OBJECT *object;
    CMS_SignerInfo_get0_algs(token->signer_info, NULL, NULL, &digest, &signature);
    X509_ALGOR_get0(&object, NULL, NULL, digest);
    int nid = OBJ_obj2nid(object);
    if (nid != NID_sha256 && nid != NID_sha384 && nid != NID_sha512) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, where, "the token's hash algorithm is not allowed");
    }
    X509_ALGOR_get0(&object, NULL, NULL, signature);
    int named = NID_undef; /* the hash that the signature algorithm's own name includes, if it does */
    if (OBJ_find_sigid_algs(OBJ_obj2nid(object), &named, NULL) == 1 && named != NID_undef && named != nid) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, where, "the token names two different hash algorithms");
    }
    return OBJ_obj2nid(object) == NID_rsaEncryption ? ATLAS_OK : atlas_sigalg_check(signature, where, error);
}

/* The hash of the certificate in the signing-certificate attribute, version 2 (RFC 5816: SHA-256 unless it says
 * otherwise) or 1 (RFC 2634: SHA-1). First certificate of the first field in both. */
static bool read_certificate_hash(struct atlas_span attribute, bool v2, const EVP_MD **ret_md,
                                  struct atlas_span *ret_hash)
{
    struct atlas_der value;
    struct atlas_der list;
    struct atlas_der id;
    struct atlas_der algorithm;
    struct atlas_der hash;
    if (!atlas_der_take(&attribute, ATLAS_DER_SEQUENCE, &value) ||
        !atlas_der_take(&value.content, ATLAS_DER_SEQUENCE, &list) ||
        !atlas_der_take(&list.content, ATLAS_DER_SEQUENCE, &id)) {
        return false;
    }
    const EVP_MD *md = v2 ? EVP_sha256() : EVP_sha1();
    if (v2 && atlas_der_take(&id.content, ATLAS_DER_SEQUENCE, &algorithm)) {
        const unsigned char *p = algorithm.whole.p;
        X509_ALGOR *parsed = d2i_X509_ALGOR(NULL, &p, (long)algorithm.whole.n);
        md = parsed != NULL ? EVP_get_digestbyobj(parsed->algorithm) : NULL;
        X509_ALGOR_free(parsed);
    }
    if (!atlas_der_take(&id.content, ATLAS_DER_OCTETS, &hash)) {
        return false;
    }
    *ret_md = md;
    *ret_hash = hash.content;
    return md != NULL;
}

static bool hash_is_of(const struct atlas_token *token, const EVP_MD *md, struct atlas_span hash)
{
    uint8_t expected[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    return X509_digest(token->signer, md, expected, &n) == 1 && atlas_span_equal(hash, atlas_span_of(expected, n));
}

/* RFC 3161, 2.4.2: the attribute must be there and name the signer's certificate, so that no other certificate for the
 * same key can be put in its place. */
static int check_signing_certificate(const struct atlas_token *token, struct atlas_error *error)
{
    bool v2 = true;
    int at = CMS_signed_get_attr_by_NID(token->signer_info, NID_id_smime_aa_signingCertificateV2, -1);
    if (at < 0) {
        v2 = false;
        at = CMS_signed_get_attr_by_NID(token->signer_info, NID_id_smime_aa_signingCertificate, -1);
    }
    X509_ATTRIBUTE *attribute = at >= 0 ? CMS_signed_get_attr(token->signer_info, at) : NULL;
    ASN1_STRING *value = NULL;
    if (X509_ATTRIBUTE_count(attribute) == 1) {
        value = X509_ATTRIBUTE_get0_data(attribute, 0, V_ASN1_SEQUENCE, NULL);
    }
    if (value == NULL) {
        return malformed(error, "the token has no signing-certificate attribute");
    }
    const EVP_MD *md;
    struct atlas_span hash;
    struct atlas_span bytes = atlas_span_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    if (!read_certificate_hash(bytes, v2, &md, &hash)) {
        return malformed(error, "the signing-certificate attribute cannot be read");
    }
    if (!hash_is_of(token, md, hash)) {
        return atlas_ossl_fail(error, ATLAS_E_SIGNATURE, where, "the token was signed for another certificate");
    }
    return ATLAS_OK;
}

/* RFC 5652, 11.1: the signed attribute says what kind of content was signed. */
static int check_content_type(const struct atlas_token *token, struct atlas_error *error)
{
    ASN1_OBJECT *wanted = OBJ_nid2obj(NID_pkcs9_contentType);
    const ASN1_OBJECT *type = CMS_signed_get0_data_by_OBJ(token->signer_info, wanted, -3, V_ASN1_OBJECT);
    if (type == NULL || OBJ_obj2nid(type) != NID_id_smime_ct_TSTInfo) {
        return malformed(error, "the signed content type is not TSTInfo");
    }
    return ATLAS_OK;
}

static int check_signature(const struct atlas_token *token, struct atlas_error *error)
{
    int rc = check_algorithms(token, error);
    if (rc >= 0) {
        rc = atlas_pkey_check(X509_get0_pubkey(token->signer), where, error);
    }
    if (rc >= 0) {
        rc = check_content_type(token, error);
    }
    if (rc >= 0) {
        rc = check_signing_certificate(token, error);
    }
    if (rc >= 0 && CMS_verify(token->cms, NULL, NULL, NULL, NULL, CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY) != 1) {
        rc = atlas_ossl_fail(error, ATLAS_E_SIGNATURE, where, "the token's signature is false");
    }
    return rc;
}

int atlas_token_read(struct atlas_span bytes, struct atlas_token *ret_token, struct atlas_error *error)
{
    struct atlas_token token = ATLAS_TOKEN_INIT;
    int rc = read_token(bytes, &token, error);
    if (rc >= 0) {
        rc = check_signature(&token, error);
    }
    if (rc < 0) {
        atlas_token_release(&token);
        return rc;
    }
    *ret_token = token;
    return ATLAS_OK;
}

/* ----------------------------------------------------------------------------------------------- the authority */

/* Profile and validity come first, so that they are told apart from "not one of our authorities". */
static int check_authority(const struct atlas_trust *trust, const struct atlas_token *token, int64_t now,
                           struct atlas_timestamp *result, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    STACK_OF(X509) *path = NULL;
    struct atlas_error path_error = ATLAS_ERROR_INIT;
    ATLAS_TRY(atlas_x509_profile(token->signer, ATLAS_PURPOSE_TSA, where, error));
    ATLAS_TRY(atlas_x509_valid_at(token->signer, token->gen_time, where, error));
    if (trust == NULL || sk_X509_num(trust->tsa_anchors) == 0) {
        goto out;
    }
    rc = atlas_path_find(trust, token->signer, token->certificates, ATLAS_PURPOSE_TSA, token->gen_time, &path,
                         &path_error);
    if (rc == ATLAS_E_CHAIN) {
        rc = ATLAS_OK;
        goto out;
    }
    if (rc < 0) {
        ATLAS_TRY(atlas_error_set(error, rc, where, "%s", path_error.text));
    }
    ATLAS_TRY(atlas_path_revocation(trust, path, token->gen_time, now, &result->revocation, error));
    result->trusted = true;
out:
    atlas_path_free(path);
    return rc;
}

int atlas_timestamp_check(const struct atlas_trust *trust, struct atlas_span token, struct atlas_span message,
                          int64_t now, struct atlas_timestamp *ret_timestamp, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_token parsed = ATLAS_TOKEN_INIT;
    struct atlas_timestamp result = {.trusted = false};
    ATLAS_TRY(atlas_token_read(token, &parsed, error));
    ATLAS_TRY(check_imprint(&parsed, message, error));
    result.gen_time = parsed.gen_time;
    if (parsed.gen_time - ATLAS_CLOCK_SKEW > now) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_EXPIRED, where, "the token's time lies in the future"));
    }
    ATLAS_TRY(atlas_x509_common_name(parsed.signer, result.authority, error));
    ATLAS_TRY(check_authority(trust, &parsed, now, &result, error));
    *ret_timestamp = result;
out:
    atlas_token_release(&parsed);
    return atlas_ossl_done(rc);
}
