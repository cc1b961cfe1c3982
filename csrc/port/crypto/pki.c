/* pki.c - from a certificate of a hardware vendor to its pinned root (RFC 5280), by OpenSSL's X509_verify_cert. */
#include <limits.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/params.h>
#include <openssl/pem.h>

#include "port/crypto/pem.h"
#include "port/crypto/vendor.h"

/* Parsing a certificate costs more than verifying its signature: chains of one vendor share most of theirs. */
#define REMEMBERED 8

struct atlas_pki {
    STACK_OF(X509_CRL) *crls;
    STACK_OF(X509) *parsed; /* the first few */
    struct atlas_buf ders[REMEMBERED];
};

int atlas_pki_new(struct atlas_pki **ret_pki, struct atlas_error *error)
{
    struct atlas_pki *pki = calloc(1, sizeof *pki);
    if (pki != NULL) {
        pki->crls = sk_X509_CRL_new_null();
        pki->parsed = sk_X509_new_null();
    }
    if (pki == NULL || pki->crls == NULL || pki->parsed == NULL) {
        atlas_pki_free(pki);
        return atlas_ossl_fail(error, ATLAS_E_NOMEM, "pki", "out of memory");
    }
    *ret_pki = pki;
    return ATLAS_OK;
}

void atlas_pki_free(struct atlas_pki *pki)
{
    if (pki != NULL) {
        sk_X509_CRL_pop_free(pki->crls, X509_CRL_free);
        sk_X509_pop_free(pki->parsed, X509_free);
        for (size_t i = 0; i < REMEMBERED; i++) {
            atlas_buf_release(&pki->ders[i]);
        }
        free(pki);
    }
}

size_t atlas_pki_crls(const struct atlas_pki *pki)
{
    return (size_t)sk_X509_CRL_num(pki->crls);
}

/* -------------------------------------------------------------------------------------------------- CRLs */

/* The list of the same issuer that is there already; NULL: none. */
static X509_CRL *known_crl(const struct atlas_pki *pki, const X509_CRL *crl)
{
    for (int i = 0; i < sk_X509_CRL_num(pki->crls); i++) {
        X509_CRL *known = sk_X509_CRL_value(pki->crls, i);
        if (X509_NAME_cmp(X509_CRL_get_issuer(known), X509_CRL_get_issuer(crl)) == 0) {
            return known;
        }
    }
    return NULL;
}

static int keep_crl(struct atlas_pki *pki, X509_CRL *crl, struct atlas_error *error)
{
    X509_CRL *known = known_crl(pki, crl);
    if (known == NULL) {
        return sk_X509_CRL_push(pki->crls, crl) > 0 ? 1 : atlas_ossl_fail(error, ATLAS_E_NOMEM, "crl", "out of memory");
    }
    if (X509_CRL_match(known, crl) != 0) {
        return atlas_error_set(error, ATLAS_E_X509, "crl", "two different revocation lists of one issuer");
    }
    return 0;
}

static int add_der(struct atlas_pki *pki, struct atlas_span der, struct atlas_error *error)
{
    const unsigned char *p = der.p;
    X509_CRL *crl = der.n != 0 && der.n <= LONG_MAX ? d2i_X509_CRL(NULL, &p, (long)der.n) : NULL;
    if (crl == NULL || p != der.p + der.n) {
        X509_CRL_free(crl);
        return atlas_ossl_fail(error, ATLAS_E_X509, "crl", "not a certificate revocation list");
    }
    int kept = keep_crl(pki, crl, error);
    if (kept != 1) {
        X509_CRL_free(crl);
    }
    return kept < 0 ? kept : ATLAS_OK;
}

static int add_pem_block(const char *name, struct atlas_span der, void *user, struct atlas_error *error)
{
    if (strcmp(name, PEM_STRING_X509_CRL) != 0) {
        return atlas_error_set(error, ATLAS_E_X509, "crl", "a PEM block that is no revocation list: %.60s", name);
    }
    return add_der(user, der, error);
}

/* Intel's collateral structures hold DER as hexadecimal text, with or without a NUL behind it. */
static int add_hex(struct atlas_pki *pki, struct atlas_span text, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_buf der = ATLAS_BUF_INIT;
    uint8_t *out = text.n % 2 == 0 ? atlas_buf_extend(&der, text.n / 2) : NULL;
    for (size_t i = 0; out != NULL && i < text.n / 2; i++) {
        int high = OPENSSL_hexchar2int(text.p[2 * i]);
        int low = OPENSSL_hexchar2int(text.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_X509, "crl", "not hexadecimal"));
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    ATLAS_TRY(atlas_buf_check(&der, error));
    ATLAS_TRY(add_der(pki, atlas_buf_span(&der), error));
out:
    atlas_buf_release(&der);
    return rc;
}

int atlas_pki_add_crls(struct atlas_pki *pki, struct atlas_span bytes, struct atlas_error *error)
{
    if (bytes.n != 0 && bytes.p[0] == ATLAS_DER_SEQUENCE && !(bytes.n > 1 && bytes.p[1] >= '0' && bytes.p[1] <= '9')) {
        return atlas_ossl_done(add_der(pki, bytes, error));
    }
    while (bytes.n != 0 && (bytes.p[bytes.n - 1] == '\0' || bytes.p[bytes.n - 1] == '\n')) {
        bytes.n--;
    }
    if (bytes.n != 0 && OPENSSL_hexchar2int(bytes.p[0]) >= 0) {
        return atlas_ossl_done(add_hex(pki, bytes, error));
    }
    return atlas_pem_each(bytes, "crl", add_pem_block, pki, error);
}

/* ---------------------------------------------------------------------------------------------- PEM, points */

static int split_block(const char *name, struct atlas_span der, void *user, struct atlas_error *error)
{
    struct atlas_der whole;
    struct atlas_span rest = der;
    if (strcmp(name, PEM_STRING_X509) != 0) {
        return atlas_error_set(error, ATLAS_E_X509, "certificates", "a PEM block that is no certificate: %.60s", name);
    }
    if (!atlas_der_take(&rest, ATLAS_DER_SEQUENCE, &whole) || rest.n != 0) {
        return atlas_error_set(error, ATLAS_E_X509, "certificates", "not one DER certificate");
    }
    atlas_buf_append(user, der);
    return atlas_buf_check(user, error);
}

int atlas_pem_split(struct atlas_span pem, struct atlas_buf *ret_ders, struct atlas_error *error)
{
    return atlas_pem_each(pem, "certificates", split_block, ret_ders, error);
}

/* SubjectPublicKeyInfo { id-ecPublicKey, prime256v1 } up to and including "uncompressed point". */
static const uint8_t p256_prefix[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};

static int point_of(struct atlas_span key, struct atlas_span *ret_point, struct atlas_error *error)
{
    if (key.n == sizeof p256_prefix + 64 && memcmp(key.p, p256_prefix, sizeof p256_prefix) == 0) {
        key = atlas_span_sub(key, sizeof p256_prefix, 64);
    }
    if (key.n != 64) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, "public key", "not a point of P-256");
    }
    *ret_point = key;
    return ATLAS_OK;
}

/* The point is checked to be on the curve; it cannot be infinity in this form, and the cofactor is 1. */
static int load_point(struct atlas_span point, EVP_PKEY **ret_key, struct atlas_error *error)
{
    uint8_t octets[65] = {POINT_CONVERSION_UNCOMPRESSED};
    char group[] = "prime256v1";
    memcpy(octets + 1, point.p, 64);
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, octets, sizeof octets),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    bool ready = context != NULL && EVP_PKEY_fromdata_init(context) == 1;
    bool good = ready && EVP_PKEY_fromdata(context, ret_key, EVP_PKEY_PUBLIC_KEY, parameters) == 1;
    EVP_PKEY_CTX_free(context);
    if (!ready) {
        return atlas_ossl_fail(error, ATLAS_E_NOMEM, "public key", "out of memory");
    }
    return good
               ? ATLAS_OK
               : atlas_ossl_fail(error, ATLAS_E_CREDENTIAL, "public key", "the public key is not a point of its curve");
}

/* r || s in the DER that EVP wants: SEQUENCE of two INTEGERs, shortest form. */
static size_t der_signature(const uint8_t raw[64], uint8_t ret_der[72])
{
    size_t n = 2;
    for (const uint8_t *half = raw; half < raw + 64; half += 32) {
        size_t skip = 0;
        while (skip < 31 && half[skip] == 0) {
            skip++;
        }
        bool sign = (half[skip] & 0x80) != 0;
        ret_der[n++] = ATLAS_DER_INTEGER;
        ret_der[n++] = (uint8_t)(32 - skip + sign);
        ret_der[n] = 0;
        n += sign;
        memcpy(ret_der + n, half + skip, 32 - skip);
        n += 32 - skip;
    }
    ret_der[0] = ATLAS_DER_SEQUENCE;
    ret_der[1] = (uint8_t)(n - 2);
    return n;
}

int atlas_p256_verify(struct atlas_span key, struct atlas_span tbs, struct atlas_span signature,
                      struct atlas_error *error)
{
    int rc = ATLAS_OK;
    EVP_PKEY *public_key = NULL;
    EVP_MD_CTX *context = NULL;
    struct atlas_span point = ATLAS_SPAN_NONE;
    uint8_t der[72];
    ATLAS_TRY(point_of(key, &point, error));
    if (signature.n != 64) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_SIGNATURE, "signature", "%zu bytes where ES256 has 64", signature.n));
    }
    ATLAS_TRY(load_point(point, &public_key, error));
    context = EVP_MD_CTX_new();
    if (context == NULL || EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, public_key) != 1) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, "signature", "out of memory"));
    }
    if (EVP_DigestVerify(context, der, der_signature(signature.p, der), tbs.p, tbs.n) != 1) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_SIGNATURE, "signature", "not of these bytes by this key"));
    }
out:
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public_key);
    return atlas_ossl_done(rc);
}

/* ------------------------------------------------------------------------------------------------- the chain */

static int remember(struct atlas_pki *pki, struct atlas_span der, X509 *x, struct atlas_error *error)
{
    int n = sk_X509_num(pki->parsed);
    if (n >= REMEMBERED) {
        return ATLAS_OK;
    }
    atlas_buf_clear(&pki->ders[n]);
    atlas_buf_append(&pki->ders[n], der);
    int rc = atlas_buf_check(&pki->ders[n], error);
    if (rc >= 0 && (X509_up_ref(x) != 1 || sk_X509_push(pki->parsed, x) <= 0)) {
        rc = atlas_ossl_fail(error, ATLAS_E_NOMEM, "pki", "out of memory");
    }
    return rc;
}

static int read_certificate(struct atlas_pki *pki, struct atlas_span der, const char *where, X509 **ret_x,
                            struct atlas_error *error)
{
    for (int i = 0; i < sk_X509_num(pki->parsed); i++) {
        X509 *x = sk_X509_value(pki->parsed, i);
        if (atlas_span_equal(atlas_buf_span(&pki->ders[i]), der) && X509_up_ref(x) == 1) {
            *ret_x = x;
            return ATLAS_OK;
        }
    }
    int rc = atlas_x509_read(der, where, ret_x, error);
    return rc < 0 ? rc : remember(pki, der, *ret_x, error);
}

static int read_chain(struct atlas_pki *pki, struct atlas_span ders, const char *where, STACK_OF(X509) * *ret_chain,
                      struct atlas_error *error)
{
    int rc = ATLAS_OK;
    X509 *x = NULL;
    struct atlas_span der;
    STACK_OF(X509) *chain = sk_X509_new_null();
    if (chain == NULL) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
    }
    while (ders.n != 0) {
        if (!atlas_certificate_next(&ders, &der)) {
            ATLAS_TRY(atlas_error_set(error, ATLAS_E_X509, where, "not a sequence of DER certificates"));
        }
        if (sk_X509_num(chain) == ATLAS_MAX_CERTIFICATES) {
            ATLAS_TRY(
                atlas_error_set(error, ATLAS_E_LIMIT, where, "more than %d certificates", ATLAS_MAX_CERTIFICATES));
        }
        ATLAS_TRY(read_certificate(pki, der, where, &x, error));
        if (sk_X509_push(chain, x) <= 0) {
            ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
        }
        x = NULL;
    }
    if (sk_X509_num(chain) < 2) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_CHAIN, where, "the chain has no issuer"));
    }
    *ret_chain = chain;
    chain = NULL;
out:
    X509_free(x);
    atlas_path_free(chain);
    return rc;
}

/* The root among the certificates: the one whose digest is pinned. It is never the leaf. */
static int find_root(STACK_OF(X509) *chain, const struct atlas_pin *pins, size_t n_pins, const char *where,
                     X509 **ret_root, struct atlas_pki_path *path, struct atlas_error *error)
{
    for (int i = 1; i < sk_X509_num(chain); i++) {
        struct atlas_digest digest = {ATLAS_SHA256, 32, {0}};
        unsigned n = 0;
        X509 *x = sk_X509_value(chain, i);
        if (X509_digest(x, EVP_sha256(), digest.b, &n) != 1) {
            return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "SHA-256 failed");
        }
        for (size_t k = 0; k < n_pins; k++) {
            if (memcmp(digest.b, pins[k].sha256, sizeof pins[k].sha256) == 0) {
                path->pin = k;
                path->root = digest;
                *ret_root = x;
                return ATLAS_OK;
            }
        }
    }
    return atlas_error_set(error, ATLAS_E_CHAIN, where, "no certificate of the chain is a pinned root");
}

/* -------------------------------------------------------------------------------------------------- the path */

struct tolerance {
    int64_t time;
    bool required; /* a missing CRL is an error */
    size_t missing; /* certificates below the root without one */
};

/* RFC 5280, 4.1.2.5: notAfter is included; OpenSSL ends one second earlier. */
static bool at_last_second(X509_STORE_CTX *context, int64_t time)
{
    int64_t last;
    const X509 *x = X509_STORE_CTX_get_current_cert(context);
    return x != NULL && atlas_x509_time(X509_get0_notAfter(x), "", &last, NULL) == ATLAS_OK && last == time;
}

/* Some of OpenSSL's findings are not errors here: a CRL whose next update has passed (still signed and read; how old it
 * may be is the caller's policy, by crl_next_update), and, unless required, no CRL at all (counted). */
static int judge(int ok, X509_STORE_CTX *context)
{
    struct tolerance *tolerance = X509_STORE_CTX_get_app_data(context);
    int reason = X509_STORE_CTX_get_error(context);
    bool tolerated = ok == 1 || reason == X509_V_ERR_CRL_HAS_EXPIRED ||
                     (reason == X509_V_ERR_CERT_HAS_EXPIRED && at_last_second(context, tolerance->time));
    if (!tolerated && reason == X509_V_ERR_UNABLE_TO_GET_CRL && !tolerance->required) {
        bool root = X509_STORE_CTX_get_error_depth(context) + 1 == sk_X509_num(X509_STORE_CTX_get0_chain(context));
        tolerance->missing += !root; /* the root answers to nobody */
        tolerated = true;
    }
    if (tolerated) {
        X509_STORE_CTX_set_error(context, X509_V_OK);
    }
    return tolerated;
}

static int explain(int reason, const char *where, struct atlas_error *error)
{
    const char *text = X509_verify_cert_error_string(reason);
    switch (reason) {
    case X509_V_ERR_OUT_OF_MEM:
        return atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory");
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CRL_NOT_YET_VALID:
        return atlas_ossl_fail(error, ATLAS_E_EXPIRED, where, text);
    case X509_V_ERR_CERT_REVOKED:
        return atlas_ossl_fail(error, ATLAS_E_REVOKED, where, text);
    case X509_V_ERR_UNABLE_TO_GET_CRL:
        return atlas_ossl_fail(error, ATLAS_E_NOT_FOUND, where, text);
    default:
        return atlas_ossl_fail(error, ATLAS_E_CHAIN, where, text);
    }
}

static int fill_store(X509_STORE *store, const struct atlas_pki *pki, X509 *root)
{
    if (store == NULL || X509_STORE_add_cert(store, root) != 1) {
        return 0;
    }
    for (int i = 0; i < sk_X509_CRL_num(pki->crls); i++) {
        if (X509_STORE_add_crl(store, sk_X509_CRL_value(pki->crls, i)) != 1) {
            return 0;
        }
    }
    return 1;
}

static int set_parameters(X509_STORE_CTX *context, int64_t time, unsigned flags)
{
    X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
    unsigned long chosen = X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL | X509_V_FLAG_TRUSTED_FIRST;
    if ((flags & ATLAS_PKI_STRICT) != 0) {
        chosen |= X509_V_FLAG_X509_STRICT;
    }
    X509_VERIFY_PARAM_set_time(parameters, (time_t)time);
    X509_VERIFY_PARAM_set_depth(parameters, ATLAS_MAX_CERTIFICATES);
    return X509_VERIFY_PARAM_set_flags(parameters, chosen);
}

static int verify_path(const struct atlas_pki *pki, STACK_OF(X509) *chain, X509 *root, int64_t time, unsigned flags,
                       const char *where, struct tolerance *tolerance, STACK_OF(X509) **ret_path,
                       struct atlas_error *error)
{
    int rc = ATLAS_OK;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    if (context == NULL || fill_store(store, pki, root) != 1 ||
        X509_STORE_CTX_init(context, store, sk_X509_value(chain, 0), chain) != 1 ||
        set_parameters(context, time, flags) != 1 || X509_STORE_CTX_set_app_data(context, tolerance) != 1) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
    }
    X509_STORE_CTX_set_verify_cb(context, judge);
    if (X509_verify_cert(context) != 1) {
        ATLAS_TRY(explain(X509_STORE_CTX_get_error(context), where, error));
    }
    *ret_path = X509_STORE_CTX_get1_chain(context);
    if (*ret_path == NULL) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
    }
out:
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return rc;
}

/* Allowed keys and algorithms, and the time in which every certificate is valid. */
static int check_certificate(X509 *x, bool root, const char *where, struct atlas_pki_path *path,
                             struct atlas_error *error)
{
    int rc = ATLAS_OK;
    const X509_ALGOR *algorithm;
    int64_t first;
    int64_t last;
    X509_get0_signature(NULL, &algorithm, x);
    if (!root) {
        ATLAS_TRY(atlas_sigalg_check(algorithm, where, error));
    }
    ATLAS_TRY(atlas_pkey_check(X509_get0_pubkey(x), where, error));
    ATLAS_TRY(atlas_x509_time(X509_get0_notBefore(x), where, &first, error));
    ATLAS_TRY(atlas_x509_time(X509_get0_notAfter(x), where, &last, error));
    path->not_before = first > path->not_before ? first : path->not_before;
    path->not_after = last < path->not_after ? last : path->not_after;
out:
    return rc;
}

/* The times of the CRL that spoke for a certificate with this issuer, if there was one. */
static int note_crl(const struct atlas_pki *pki, const X509 *x, const char *where, struct atlas_pki_path *path,
                    struct atlas_error *error)
{
    int rc = ATLAS_OK;
    for (int i = 0; i < sk_X509_CRL_num(pki->crls); i++) {
        const X509_CRL *crl = sk_X509_CRL_value(pki->crls, i);
        int64_t first;
        int64_t last;
        if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_issuer_name(x)) != 0) {
            continue;
        }
        ATLAS_TRY(atlas_x509_time(X509_CRL_get0_lastUpdate(crl), where, &first, error));
        ATLAS_TRY(atlas_x509_time(X509_CRL_get0_nextUpdate(crl), where, &last, error));
        path->crl_this_update = first > path->crl_this_update ? first : path->crl_this_update;
        path->crl_next_update = last < path->crl_next_update ? last : path->crl_next_update;
    }
out:
    return rc;
}

static int describe(const struct atlas_pki *pki, STACK_OF(X509) *verified, const char *where,
                    struct atlas_pki_path *path, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    int n = sk_X509_num(verified);
    path->length = (size_t)n;
    path->not_before = INT64_MIN;
    path->not_after = INT64_MAX;
    path->crl_this_update = INT64_MIN;
    path->crl_next_update = INT64_MAX;
    for (int i = 0; i < n; i++) {
        ATLAS_TRY(check_certificate(sk_X509_value(verified, i), i == n - 1, where, path, error));
        ATLAS_TRY(note_crl(pki, sk_X509_value(verified, i), where, path, error));
    }
out:
    return rc;
}

int atlas_pki_check(struct atlas_pki *pki, struct atlas_span chain, const struct atlas_pin *pins, size_t n_pins,
                    int64_t time, unsigned flags, const char *where, struct atlas_pki_path *ret_path,
                    struct atlas_error *error)
{
    int rc = ATLAS_OK;
    STACK_OF(X509) *certificates = NULL;
    STACK_OF(X509) *verified = NULL;
    X509 *root = NULL;
    struct tolerance tolerance = {.time = time, .required = (flags & ATLAS_PKI_REVOCATION) != 0};
    struct atlas_pki_path path = {0};
    ATLAS_TRY(read_chain(pki, chain, where, &certificates, error));
    ATLAS_TRY(find_root(certificates, pins, n_pins, where, &root, &path, error));
    ATLAS_TRY(verify_path(pki, certificates, root, time, flags, where, &tolerance, &verified, error));
    ATLAS_TRY(describe(pki, verified, where, &path, error));
    path.uncovered = tolerance.missing;
    *ret_path = path;
out:
    atlas_path_free(verified);
    atlas_path_free(certificates);
    return atlas_ossl_done(rc);
}
