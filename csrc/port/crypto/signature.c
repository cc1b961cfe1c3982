/* signature.c - COSE signatures (RFC 9053) with EVP. */
#include "port/crypto/signature.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>

static const char where[] = "signature";

static int begin_pss(EVP_PKEY_CTX *parameters, const EVP_MD *md, struct atlas_error *error)
{
    if (EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) <= 0 ||
        EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) <= 0 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md(parameters, md) <= 0) {
        /* An RSASSA-PSS key that restricts itself to another hash or salt. */
        return atlas_ossl_fail(error, ATLAS_E_ALGORITHM, "alg", "the key does not allow this algorithm");
    }
    return ATLAS_OK;
}

int atlas_scheme_begin(const struct atlas_scheme *scheme, EVP_MD_CTX *context, EVP_PKEY *key, bool sign,
                       struct atlas_error *error)
{
    const EVP_MD *md = atlas_ossl_md(scheme->md); /* NULL for Ed25519 */
    EVP_PKEY_CTX *parameters = NULL;
    int good = sign ? EVP_DigestSignInit(context, &parameters, md, NULL, key)
                    : EVP_DigestVerifyInit(context, &parameters, md, NULL, key);
    if (good != 1) {
        return atlas_ossl_fail(error, ATLAS_E_ALGORITHM, "alg", "the key does not allow this algorithm");
    }
    return scheme->key == EVP_PKEY_RSA ? begin_pss(parameters, md, error) : ATLAS_OK;
}

/* r || s as the DER that EVP wants. The signature's length was checked. Numbers out of range are refused by EVP. */
static int raw_to_der(struct atlas_span raw, size_t half, unsigned char **ret_der, size_t *ret_n,
                      struct atlas_error *error)
{
    int rc = ATLAS_OK;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw.p, (int)half, NULL);
    BIGNUM *s = BN_bin2bn(raw.p + half, (int)half, NULL);
    if (pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
    }
    r = NULL;
    s = NULL;
    unsigned char *der = NULL;
    int n = i2d_ECDSA_SIG(pair, &der);
    if (n <= 0) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
    }
    *ret_der = der;
    *ret_n = (size_t)n;
out:
    ECDSA_SIG_free(pair);
    BN_free(r);
    BN_free(s);
    return rc;
}

int atlas_ecdsa_to_raw(struct atlas_span der, size_t half, struct atlas_buf *ret_raw, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    const unsigned char *p = der.p;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &p, (long)der.n);
    uint8_t raw[2 * 66];
    if (pair == NULL || BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, (int)half) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + half, (int)half) < 0) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "the signature is no pair of numbers"));
    }
    atlas_buf_append(ret_raw, atlas_span_of(raw, 2 * half));
    ATLAS_TRY(atlas_buf_check(ret_raw, error));
out:
    ECDSA_SIG_free(pair);
    return rc;
}

/* RFC 9053, 2.1: both halves in full; RFC 8032: 64 bytes; RFC 8017, 8.1.2: as long as the modulus. */
static size_t expected_size(const struct atlas_scheme *scheme, const EVP_PKEY *key)
{
    if (scheme->half != 0) {
        return 2 * scheme->half;
    }
    return scheme->key == EVP_PKEY_ED25519 ? 64 : (size_t)EVP_PKEY_get_size(key);
}

static int verify(const struct atlas_scheme *scheme, EVP_PKEY *key, struct atlas_span tbs, struct atlas_span signature,
                  struct atlas_error *error)
{
    int rc = ATLAS_OK;
    unsigned char *der = NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
    }
    if (signature.n != expected_size(scheme, key)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_SIGNATURE, where, "%zu bytes where %s has %zu", signature.n,
                                  atlas_cose_alg_name(scheme->alg), expected_size(scheme, key)));
    }
    if (scheme->half != 0) {
        ATLAS_TRY(raw_to_der(signature, scheme->half, &der, &signature.n, error));
        signature.p = der;
    }
    ATLAS_TRY(atlas_scheme_begin(scheme, context, key, false, error));
    if (EVP_DigestVerify(context, signature.p, signature.n, tbs.n != 0 ? tbs.p : (const uint8_t *)"", tbs.n) != 1) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_SIGNATURE, where, "the signature is not of these bytes by this key"));
    }
out:
    OPENSSL_free(der);
    EVP_MD_CTX_free(context);
    return rc;
}

/* The scheme and the key, both allowed and fit for each other. */
static int open_key(int64_t cose_alg, struct atlas_span spki, const struct atlas_scheme **ret_scheme,
                    EVP_PKEY **ret_key, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    EVP_PKEY *key = NULL;
    const struct atlas_scheme *scheme;
    ATLAS_TRY(atlas_scheme_of(cose_alg, &scheme, error));
    ATLAS_TRY(atlas_pkey_read(spki, &key, error));
    ATLAS_TRY(atlas_scheme_fit(scheme, key, error));
    *ret_scheme = scheme;
    *ret_key = key;
    key = NULL;
out:
    EVP_PKEY_free(key);
    return rc;
}

int atlas_signature_alg_check(int64_t cose_alg, struct atlas_span spki, struct atlas_error *error)
{
    EVP_PKEY *key = NULL;
    const struct atlas_scheme *scheme;
    int rc = open_key(cose_alg, spki, &scheme, &key, error);
    EVP_PKEY_free(key);
    return atlas_ossl_done(rc);
}

int atlas_signature_verify(int64_t cose_alg, struct atlas_span spki, struct atlas_span tbs, struct atlas_span signature,
                           struct atlas_error *error)
{
    EVP_PKEY *key = NULL;
    const struct atlas_scheme *scheme;
    int rc = open_key(cose_alg, spki, &scheme, &key, error);
    if (rc >= 0) {
        rc = verify(scheme, key, tbs, signature, error);
    }
    EVP_PKEY_free(key);
    return atlas_ossl_done(rc);
}
