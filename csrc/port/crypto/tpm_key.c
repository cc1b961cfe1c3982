/* tpm_key.c - keys as a TPM describes them, and the signatures it makes. */
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "port/crypto/pkey.h"
#include "port/crypto/signature.h"
#include "port/crypto/vendor.h"

static const char where[] = "TPM key";

static int failed(struct atlas_error *error)
{
    return atlas_ossl_fail(error, ATLAS_E_CREDENTIAL, where, "not a usable public key");
}

static int append_spki(EVP_PKEY *key, struct atlas_buf *ret_spki, struct atlas_error *error)
{
    unsigned char *der = NULL;
    int rc = atlas_pkey_check(key, where, error);
    if (rc < 0) {
        return rc;
    }
    int n = i2d_PUBKEY(key, &der);
    if (n <= 0) {
        return failed(error);
    }
    atlas_buf_append(ret_spki, atlas_span_of(der, (size_t)n));
    OPENSSL_free(der);
    return atlas_buf_check(ret_spki, error);
}

/* The key, from parameters that are freed in any case. */
static EVP_PKEY *from_parameters(const char *type, OSSL_PARAM *parameters)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (context == NULL || parameters == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1) {
        key = NULL;
    }
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    return key;
}

static bool pad(uint8_t *out, size_t half, struct atlas_span number)
{
    if (number.n > half) {
        return false;
    }
    memset(out, 0, half - number.n);
    memcpy(out + half - number.n, number.p, number.n);
    return true;
}

int atlas_spki_from_point(size_t half, struct atlas_span x, struct atlas_span y, struct atlas_buf *ret_spki,
                          struct atlas_error *error)
{
    atlas_ossl_begin();
    uint8_t point[1 + 2 * 48] = {4};
    char p256[] = "prime256v1";
    char p384[] = "secp384r1";
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *parameters = NULL;
    bool good = (half == 32 || half == 48) && pad(point + 1, half, x) && pad(point + 1 + half, half, y);
    if (good && build != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, half == 32 ? p256 : p384, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * half) == 1) {
        parameters = OSSL_PARAM_BLD_to_param(build);
    }
    EVP_PKEY *key = from_parameters("EC", parameters);
    int rc = key != NULL ? append_spki(key, ret_spki, error) : failed(error);
    EVP_PKEY_free(key);
    OSSL_PARAM_BLD_free(build);
    return atlas_ossl_done(rc);
}

int atlas_spki_from_rsa(struct atlas_span modulus, uint32_t exponent, struct atlas_buf *ret_spki,
                        struct atlas_error *error)
{
    atlas_ossl_begin();
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *parameters = NULL;
    BIGNUM *n = BN_bin2bn(modulus.p, (int)modulus.n, NULL);
    if (build != NULL && n != NULL && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_uint32(build, OSSL_PKEY_PARAM_RSA_E, exponent != 0 ? exponent : 65537) == 1) {
        parameters = OSSL_PARAM_BLD_to_param(build);
    }
    EVP_PKEY *key = from_parameters("RSA", parameters);
    int rc = key != NULL ? append_spki(key, ret_spki, error) : failed(error);
    EVP_PKEY_free(key);
    BN_free(n);
    OSSL_PARAM_BLD_free(build);
    return atlas_ossl_done(rc);
}

/* ---------------------------------------------------------------------------------------------- signatures */

static int cose_of(int alg)
{
    switch (alg) {
    case ATLAS_SHA256:
        return ATLAS_COSE_ES256;
    case ATLAS_SHA384:
        return ATLAS_COSE_ES384;
    default:
        return ATLAS_COSE_NONE;
    }
}

/* Part 1, B.7: a TPM makes PSS salts as long as the digest, or as long as fits; both verify. */
static int verify_rsa(enum atlas_tpm_form form, const EVP_MD *md, EVP_PKEY *key, struct atlas_span tbs,
                      struct atlas_span signature, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    EVP_PKEY_CTX *parameters = NULL; /* owned by the context */
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int padding = form == ATLAS_FORM_RSAPSS ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
    if (context == NULL || EVP_DigestVerifyInit(context, &parameters, md, NULL, key) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(parameters, padding) <= 0 ||
        (form == ATLAS_FORM_RSAPSS && EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_AUTO) <= 0)) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_ALGORITHM, where, "the key does not allow this algorithm"));
    }
    if (signature.n != (size_t)EVP_PKEY_get_size(key) ||
        EVP_DigestVerify(context, signature.p, signature.n, tbs.p, tbs.n) != 1) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_SIGNATURE, where, "the signature is not of these bytes by this key"));
    }
out:
    EVP_MD_CTX_free(context);
    return rc;
}

int atlas_tpm_verify(enum atlas_tpm_form form, int alg, struct atlas_span spki, struct atlas_span tbs,
                     struct atlas_span signature, struct atlas_error *error)
{
    if (form == ATLAS_FORM_ECDSA) {
        return atlas_signature_verify(cose_of(alg), spki, tbs, signature, error);
    }
    atlas_ossl_begin();
    EVP_PKEY *key = NULL;
    const EVP_MD *md = atlas_ossl_md(alg);
    int rc = atlas_pkey_read(spki, &key, error);
    if (rc >= 0 && (md == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)) {
        rc = atlas_ossl_fail(error, ATLAS_E_ALGORITHM, where, "the algorithm does not fit this kind of key");
    }
    if (rc >= 0) {
        rc = verify_rsa(form, md, key, tbs, signature, error);
    }
    EVP_PKEY_free(key);
    return atlas_ossl_done(rc);
}
