/* chain.c - from an x5chain to an anchor (RFC 5280, 6; RFC 9360, 2). */
#include "port/crypto/x509.h"

static const char where[] = "x5chain";

void atlas_path_free(STACK_OF(X509) *path)
{
    sk_X509_pop_free(path, X509_free);
}

/* --------------------------------------------------------------------------------------- reading the chain */

static int read_chain(const struct atlas_span *chain, size_t n, STACK_OF(X509) **ret_certificates,
                      struct atlas_error *error)
{
    int rc = ATLAS_OK;
    X509 *x = NULL;
    STACK_OF(X509) *certificates = NULL;
    if (n == 0) {
        return atlas_error_set(error, ATLAS_E_CREDENTIAL, where, "there is no certificate");
    }
    if (n > ATLAS_MAX_CERTIFICATES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "more than %d certificates", ATLAS_MAX_CERTIFICATES);
    }
    certificates = sk_X509_new_reserve(NULL, (int)n);
    for (size_t i = 0; certificates != NULL && i < n; i++) {
        ATLAS_TRY(atlas_x509_read(chain[i], where, &x, error));
        (void)sk_X509_push(certificates, x); /* cannot fail: reserved */
        x = NULL;
    }
    if (certificates == NULL) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
    }
    *ret_certificates = certificates;
    certificates = NULL;
out:
    atlas_path_free(certificates);
    return rc;
}

static bool certifies(X509 *issuer, X509 *subject)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    return X509_cmp(issuer, subject) != 0 && X509_check_issued(issuer, subject) == X509_V_OK && key != NULL &&
           X509_verify(subject, key) == 1;
}

/* RFC 9360, 2: each certificate certifies the one before it. Nothing unrelated rides along. */
static int check_order(STACK_OF(X509) *certificates, struct atlas_error *error)
{
    for (int i = 1; i < sk_X509_num(certificates); i++) {
        if (!certifies(sk_X509_value(certificates, i), sk_X509_value(certificates, i - 1))) {
            return atlas_ossl_fail(error, ATLAS_E_CREDENTIAL, where,
                                   "a certificate that did not certify the one before it");
        }
    }
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------------- the path */

static int explain(int reason, struct atlas_error *error)
{
    const char *text = X509_verify_cert_error_string(reason);
    switch (reason) {
    case X509_V_ERR_OUT_OF_MEM:
        return atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory");
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return atlas_ossl_fail(error, ATLAS_E_EXPIRED, where, text);
    default:
        return atlas_ossl_fail(error, ATLAS_E_CHAIN, where, text);
    }
}

/* POLICY_CHECK, with any policy welcome: a CA's critical policyConstraints would otherwise be accepted and not
 * enforced. No purpose is set: OpenSSL knows none for claim signing; the extended key usages are ours to check. */
static bool set_parameters(X509_STORE_CTX *context, int64_t time)
{
    X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_time(parameters, (time_t)time);
    X509_VERIFY_PARAM_set_depth(parameters, ATLAS_MAX_CERTIFICATES);
    return X509_VERIFY_PARAM_add0_policy(parameters, OBJ_nid2obj(NID_any_policy)) == 1 &&
           X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE |
                                                       X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST |
                                                       X509_V_FLAG_POLICY_CHECK) == 1;
}

static int build(STACK_OF(X509) *anchors, X509 *leaf, STACK_OF(X509) *untrusted, int64_t time,
                 STACK_OF(X509) **ret_path, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    if (context == NULL || X509_STORE_CTX_init(context, NULL, leaf, untrusted) != 1 ||
        !set_parameters(context, time)) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
    }
    X509_STORE_CTX_set0_trusted_stack(context, anchors);
    if (X509_verify_cert(context) != 1) {
        ATLAS_TRY(explain(X509_STORE_CTX_get_error(context), error));
    }
    STACK_OF(X509) *path = X509_STORE_CTX_get1_chain(context);
    if (path == NULL) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
    }
    *ret_path = path;
out:
    X509_STORE_CTX_free(context);
    return rc;
}

/* What X509_verify_cert does not ask. The anchor's own signature says nothing and is not judged; its key is. */
static int check_path(STACK_OF(X509) *path, enum atlas_purpose purpose, struct atlas_error *error)
{
    int n = sk_X509_num(path);
    if (n < 2) {
        return atlas_error_set(error, ATLAS_E_CHAIN, where, "the leaf itself is no anchor");
    }
    for (int i = 0; i < n; i++) {
        X509 *x = sk_X509_value(path, i);
        const X509_ALGOR *algorithm;
        X509_get0_signature(NULL, &algorithm, x);
        int rc = i < n - 1 ? atlas_sigalg_check(algorithm, where, error) : ATLAS_OK;
        if (rc >= 0) {
            rc = atlas_pkey_check(X509_get0_pubkey(x), where, error);
        }
        if (rc < 0) {
            return rc;
        }
        if (i > 0 && !atlas_x509_may_issue(x, purpose)) {
            return atlas_ossl_fail(error, ATLAS_E_CHAIN, where, "a CA whose extended key usage excludes this purpose");
        }
    }
    return ATLAS_OK;
}

int atlas_path_find(const struct atlas_trust *trust, X509 *leaf, STACK_OF(X509) *untrusted, enum atlas_purpose purpose,
                    int64_t time, STACK_OF(X509) **ret_path, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    STACK_OF(X509) *path = NULL;
    STACK_OF(X509) *anchors = purpose == ATLAS_PURPOSE_TSA ? trust->tsa_anchors : trust->anchors;
    ATLAS_TRY(build(anchors, leaf, untrusted, time, &path, error));
    ATLAS_TRY(check_path(path, purpose, error));
    *ret_path = path;
    path = NULL;
out:
    atlas_path_free(path);
    return rc;
}

static int read_and_check(const struct atlas_span *chain, size_t n, enum atlas_purpose purpose,
                          STACK_OF(X509) **ret_certificates, struct atlas_error *error)
{
    STACK_OF(X509) *certificates = NULL;
    int rc = read_chain(chain, n, &certificates, error);
    if (rc >= 0) {
        rc = atlas_x509_profile(sk_X509_value(certificates, 0), purpose, where, error);
    }
    if (rc >= 0) {
        rc = check_order(certificates, error);
    }
    if (rc < 0) {
        atlas_path_free(certificates);
        return rc;
    }
    *ret_certificates = certificates;
    return ATLAS_OK;
}

int atlas_certificate_chain_check(const struct atlas_span *chain, size_t n, enum atlas_purpose purpose,
                                  struct atlas_error *error)
{
    STACK_OF(X509) *certificates = NULL;
    int rc = read_and_check(chain, n, purpose, &certificates, error);
    atlas_path_free(certificates);
    return atlas_ossl_done(rc);
}

int atlas_path_of_chain(const struct atlas_trust *trust, const struct atlas_span *chain, size_t n,
                        enum atlas_purpose purpose, int64_t time, STACK_OF(X509) **ret_path, struct atlas_error *error)
{
    STACK_OF(X509) *certificates = NULL;
    int rc = read_and_check(chain, n, purpose, &certificates, error);
    if (rc >= 0) {
        rc = atlas_path_find(trust, sk_X509_value(certificates, 0), certificates, purpose, time, ret_path, error);
    }
    atlas_path_free(certificates);
    return rc;
}

static int digest_of(X509 *x, struct atlas_digest *ret_digest, struct atlas_error *error)
{
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der);
    if (n <= 0) {
        return atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory");
    }
    int rc = atlas_crypto_digest(ATLAS_SHA256, atlas_span_of(der, (size_t)n), ret_digest, error);
    OPENSSL_free(der);
    return rc;
}

int atlas_trust_chain_check(const struct atlas_trust *trust, const struct atlas_span *chain, size_t n,
                            enum atlas_purpose purpose, int64_t time, int64_t now, struct atlas_chain *ret_chain,
                            struct atlas_error *error)
{
    int rc = ATLAS_OK;
    STACK_OF(X509) *path = NULL;
    struct atlas_chain result = {.length = 0};
    ATLAS_TRY(atlas_path_of_chain(trust, chain, n, purpose, time, &path, error));
    ATLAS_TRY(atlas_path_revocation(trust, path, time, now, &result.revocation, error));
    result.length = (size_t)sk_X509_num(path);
    ATLAS_TRY(digest_of(sk_X509_value(path, sk_X509_num(path) - 1), &result.anchor_sha256, error));
    *ret_chain = result;
out:
    atlas_path_free(path);
    return atlas_ossl_done(rc);
}
