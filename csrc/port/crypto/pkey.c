#include "port/crypto/pkey.h"

#include <stdio.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

static const struct atlas_scheme schemes[] = {
    {ATLAS_COSE_ES256, EVP_PKEY_EC, "prime256v1", 32, ATLAS_SHA256},
    {ATLAS_COSE_ES384, EVP_PKEY_EC, "secp384r1", 48, ATLAS_SHA384},
    {ATLAS_COSE_ES512, EVP_PKEY_EC, "secp521r1", 66, ATLAS_SHA512},
    {ATLAS_COSE_PS256, EVP_PKEY_RSA, NULL, 0, ATLAS_SHA256},
    {ATLAS_COSE_PS384, EVP_PKEY_RSA, NULL, 0, ATLAS_SHA384},
    {ATLAS_COSE_PS512, EVP_PKEY_RSA, NULL, 0, ATLAS_SHA512},
    {ATLAS_COSE_EDDSA, EVP_PKEY_ED25519, NULL, 0, ATLAS_ALG_NONE},
};

#define SCHEMES (sizeof schemes / sizeof schemes[0])

int atlas_scheme_of(int64_t cose_alg, const struct atlas_scheme **ret_scheme, struct atlas_error *error)
{
    for (size_t i = 0; i < SCHEMES; i++) {
        if (schemes[i].alg == cose_alg) {
            *ret_scheme = &schemes[i];
            return ATLAS_OK;
        }
    }
    return atlas_error_set(error, ATLAS_E_ALGORITHM, "alg", "signature algorithm %lld is not allowed",
                           (long long)cose_alg);
}

/* RSASSA-PSS keys (RFC 4055) are RSA keys that OpenSSL holds to their own restrictions. */
static int family(const EVP_PKEY *key)
{
    int type = EVP_PKEY_get_base_id(key);
    return type == EVP_PKEY_RSA_PSS ? EVP_PKEY_RSA : type;
}

static bool group_is(const EVP_PKEY *key, const char *name)
{
    char group[40];
    size_t n;
    return EVP_PKEY_get_group_name(key, group, sizeof group, &n) == 1 && strcmp(group, name) == 0;
}

static bool fits(const struct atlas_scheme *scheme, const EVP_PKEY *key)
{
    return family(key) == scheme->key && (scheme->group == NULL || group_is(key, scheme->group));
}

int atlas_scheme_fit(const struct atlas_scheme *scheme, const EVP_PKEY *key, struct atlas_error *error)
{
    if (!fits(scheme, key)) {
        char text[60];
        (void)snprintf(text, sizeof text, "%s does not fit this kind of key", atlas_cose_alg_name(scheme->alg));
        return atlas_ossl_fail(error, ATLAS_E_ALGORITHM, "alg", text);
    }
    return ATLAS_OK;
}

enum atlas_cose_alg atlas_pkey_alg(const EVP_PKEY *key)
{
    for (size_t i = 0; i < SCHEMES; i++) {
        if (fits(&schemes[i], key)) {
            return schemes[i].alg;
        }
    }
    return ATLAS_COSE_NONE;
}

/* Quick: the point is on the curve and not infinity; the curves have cofactor 1, so its order is right too. */
static bool on_curve(EVP_PKEY *key)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bool good = context != NULL && EVP_PKEY_public_check_quick(context) == 1;
    EVP_PKEY_CTX_free(context);
    return good;
}

/* Explicit curve parameters let the sender choose the generator (CVE-2020-0601): only curves by name. */
static int check_ec(EVP_PKEY *key, const char *where, struct atlas_error *error)
{
    int explicit_parameters = 1;
    if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit_parameters) != 1 ||
        explicit_parameters != 0) {
        return atlas_ossl_fail(error, ATLAS_E_CREDENTIAL, where, "the curve is not given by name");
    }
    if (atlas_pkey_alg(key) == ATLAS_COSE_NONE) {
        return atlas_ossl_fail(error, ATLAS_E_ALGORITHM, where, "the curve is not P-256, P-384 or P-521");
    }
    if (!on_curve(key)) {
        return atlas_ossl_fail(error, ATLAS_E_CREDENTIAL, where, "the public key is not a point of its curve");
    }
    return ATLAS_OK;
}

static int check_rsa(const EVP_PKEY *key, const char *where, struct atlas_error *error)
{
    int bits = EVP_PKEY_get_bits(key);
    if (bits < ATLAS_RSA_MIN_BITS || bits > ATLAS_RSA_MAX_BITS) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, where, "an RSA key of %d bits; allowed are %d to %d", bits,
                               ATLAS_RSA_MIN_BITS, ATLAS_RSA_MAX_BITS);
    }
    BIGNUM *e = NULL;
    BIGNUM *n = NULL;
    bool read = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1 &&
                EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) == 1;
    /* With e = 1 anybody can sign; an even e or n is no RSA key; a long e only costs the verifier time. */
    bool good = read && BN_is_odd(n) && BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= 64;
    BN_free(e);
    BN_free(n);
    return good ? ATLAS_OK
                : atlas_ossl_fail(error, ATLAS_E_CREDENTIAL, where,
                                  "the RSA key has an unacceptable exponent or modulus");
}

/* y of the points of small order on edwards25519, little endian: 0 (order 4), 1 (order 1), p - 1 (order 2), and the two
 * of order 8. The sign bit of x is masked before comparing, which also covers "-0". */
static const uint8_t small_order[5][32] = {
    {0},
    {1},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
};

/* y >= p = 2^255 - 19 (RFC 8032, 5.1.3): all ones above the lowest byte, which is at least 0xed. */
static bool non_canonical(const uint8_t y[32])
{
    if (y[0] < 0xed || y[31] != 0x7f) {
        return false;
    }
    for (size_t i = 1; i < 31; i++) {
        if (y[i] != 0xff) {
            return false;
        }
    }
    return true;
}

/* One signature under a key of small order is valid for many messages: such a key identifies nobody. */
static int check_ed25519(const EVP_PKEY *key, const char *where, struct atlas_error *error)
{
    uint8_t y[32];
    size_t n = sizeof y;
    if (EVP_PKEY_get_raw_public_key(key, y, &n) != 1 || n != sizeof y) {
        return atlas_ossl_fail(error, ATLAS_E_CREDENTIAL, where, "not an Ed25519 public key");
    }
    y[31] &= 0x7f;
    bool bad = non_canonical(y);
    for (size_t i = 0; i < sizeof small_order / sizeof small_order[0]; i++) {
        bad = bad || memcmp(y, small_order[i], sizeof y) == 0;
    }
    if (bad) {
        return atlas_error_set(error, ATLAS_E_CREDENTIAL, where,
                               "the Ed25519 public key is of small order or not canonical");
    }
    return ATLAS_OK;
}

int atlas_pkey_check(EVP_PKEY *key, const char *where, struct atlas_error *error)
{
    switch (key != NULL ? family(key) : EVP_PKEY_NONE) {
    case EVP_PKEY_EC:
        return check_ec(key, where, error);
    case EVP_PKEY_RSA:
        return check_rsa(key, where, error);
    case EVP_PKEY_ED25519:
        return check_ed25519(key, where, error);
    default:
        return atlas_ossl_fail(error, ATLAS_E_ALGORITHM, where, "a kind of public key that is not allowed");
    }
}

int atlas_pkey_read(struct atlas_span spki, EVP_PKEY **ret_key, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    const unsigned char *p = spki.p;
    EVP_PKEY *key = spki.n != 0 && spki.n <= LONG_MAX ? d2i_PUBKEY(NULL, &p, (long)spki.n) : NULL;
    if (key == NULL || p != spki.p + spki.n) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_X509, "public key", "not a DER SubjectPublicKeyInfo"));
    }
    ATLAS_TRY(atlas_pkey_check(key, "public key", error));
    *ret_key = key;
    key = NULL;
out:
    EVP_PKEY_free(key);
    return rc;
}

/* RFC 4055, 3.1, with the choice that C2PA makes: one hash throughout, salt of its length, trailer 1. */
static bool pss_parameters_good(const ASN1_TYPE *parameter)
{
    RSA_PSS_PARAMS *pss = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), parameter);
    bool good = false;
    if (pss == NULL || pss->hashAlgorithm == NULL || pss->maskGenAlgorithm == NULL || pss->saltLength == NULL) {
        goto out; /* an absent field means SHA-1 or 20 bytes of salt */
    }
    X509_ALGOR *mask = NULL;
    const ASN1_OBJECT *mgf;
    int type;
    const void *value;
    X509_ALGOR_get0(&mgf, &type, &value, pss->maskGenAlgorithm);
    if (OBJ_obj2nid(mgf) != NID_mgf1 || type != V_ASN1_SEQUENCE) {
        goto out;
    }
    mask = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(X509_ALGOR), pss->maskGenAlgorithm->parameter);
    const EVP_MD *md = EVP_get_digestbyobj(pss->hashAlgorithm->algorithm);
    int nid = md != NULL ? EVP_MD_get_type(md) : NID_undef;
    good = mask != NULL && (nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512) &&
           OBJ_obj2nid(mask->algorithm) == nid && ASN1_INTEGER_get(pss->saltLength) == EVP_MD_get_size(md) &&
           (pss->trailerField == NULL || ASN1_INTEGER_get(pss->trailerField) == 1);
    X509_ALGOR_free(mask);
out:
    RSA_PSS_PARAMS_free(pss);
    return good;
}

int atlas_sigalg_check(const X509_ALGOR *algorithm, const char *where, struct atlas_error *error)
{
    const ASN1_OBJECT *object;
    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    switch (OBJ_obj2nid(object)) {
    case NID_ecdsa_with_SHA256:
    case NID_ecdsa_with_SHA384:
    case NID_ecdsa_with_SHA512:
    case NID_sha256WithRSAEncryption:
    case NID_sha384WithRSAEncryption:
    case NID_sha512WithRSAEncryption:
    case NID_ED25519:
        return ATLAS_OK;
    case NID_rsassaPss:
        if (pss_parameters_good(algorithm->parameter)) {
            return ATLAS_OK;
        }
        break;
    default:
        break;
    }
    return atlas_ossl_fail(error, ATLAS_E_ALGORITHM, where, "a signature algorithm that is not allowed");
}
