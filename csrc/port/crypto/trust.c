/* trust.c - what the verifier was given: anchors and CRLs. */
#include <limits.h>
#include <stdlib.h>

#include <openssl/pem.h>

#include "port/crypto/pem.h"

int atlas_trust_new(struct atlas_trust **ret_trust, struct atlas_error *error)
{
    atlas_ossl_begin();
    struct atlas_trust *trust = calloc(1, sizeof *trust);
    if (trust != NULL) {
        trust->anchors = sk_X509_new_null();
        trust->tsa_anchors = sk_X509_new_null();
        trust->crls = sk_X509_CRL_new_null();
    }
    if (trust == NULL || trust->anchors == NULL || trust->tsa_anchors == NULL || trust->crls == NULL) {
        atlas_trust_free(trust);
        return atlas_ossl_fail(error, ATLAS_E_NOMEM, "trust", "out of memory");
    }
    *ret_trust = trust;
    return ATLAS_OK;
}

void atlas_trust_free(struct atlas_trust *trust)
{
    if (trust != NULL) {
        sk_X509_pop_free(trust->anchors, X509_free);
        sk_X509_pop_free(trust->tsa_anchors, X509_free);
        sk_X509_CRL_pop_free(trust->crls, X509_CRL_free);
        free(trust);
    }
}

size_t atlas_trust_anchors(const struct atlas_trust *trust)
{
    return (size_t)sk_X509_num(trust->anchors);
}

size_t atlas_trust_tsa_anchors(const struct atlas_trust *trust)
{
    return (size_t)sk_X509_num(trust->tsa_anchors);
}

/* An anchor must be able to issue: a leaf in the list would otherwise be trusted, or silently useless. */
static int check_anchor(X509 *x, struct atlas_error *error)
{
    if (X509_check_ca(x) != 1) {
        return atlas_ossl_fail(error, ATLAS_E_CREDENTIAL, "anchors", "a trust anchor that is not a CA certificate");
    }
    EVP_PKEY *key = X509_get0_pubkey(x);
    if (key == NULL) {
        return atlas_ossl_fail(error, ATLAS_E_X509, "anchors", "a trust anchor without a readable public key");
    }
    return atlas_pkey_check(key, "anchors", error);
}

static int add_anchor(const char *name, struct atlas_span der, void *user, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    X509 *x = NULL;
    if (strcmp(name, PEM_STRING_X509) != 0) {
        return atlas_error_set(error, ATLAS_E_X509, "anchors", "a PEM block that is no certificate: %.60s", name);
    }
    ATLAS_TRY(atlas_x509_read(der, "anchors", &x, error));
    ATLAS_TRY(check_anchor(x, error));
    if (sk_X509_push(user, x) <= 0) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, "anchors", "out of memory"));
    }
    x = NULL;
out:
    X509_free(x);
    return rc;
}

/* All or none: a bundle that is damaged in the middle adds nothing. */
static int add_anchors(STACK_OF(X509) *anchors, struct atlas_span pem, struct atlas_error *error)
{
    atlas_ossl_begin();
    int before = sk_X509_num(anchors);
    int rc = atlas_pem_each(pem, "anchors", add_anchor, anchors, error);
    while (rc < 0 && sk_X509_num(anchors) > before) {
        X509_free(sk_X509_pop(anchors));
    }
    return atlas_ossl_done(rc);
}

int atlas_trust_add_anchors(struct atlas_trust *trust, struct atlas_span pem, struct atlas_error *error)
{
    return add_anchors(trust->anchors, pem, error);
}

int atlas_trust_add_tsa_anchors(struct atlas_trust *trust, struct atlas_span pem, struct atlas_error *error)
{
    return add_anchors(trust->tsa_anchors, pem, error);
}

/* ------------------------------------------------------------------------------------------------- CRLs */

static int add_crl_der(struct atlas_span der, STACK_OF(X509_CRL) *crls, struct atlas_error *error)
{
    const unsigned char *p = der.p;
    X509_CRL *crl = der.n <= LONG_MAX ? d2i_X509_CRL(NULL, &p, (long)der.n) : NULL;
    if (crl == NULL || p != der.p + der.n) {
        X509_CRL_free(crl);
        return atlas_ossl_fail(error, ATLAS_E_X509, "crl", "not a certificate revocation list");
    }
    if (sk_X509_CRL_push(crls, crl) <= 0) {
        X509_CRL_free(crl);
        return atlas_ossl_fail(error, ATLAS_E_NOMEM, "crl", "out of memory");
    }
    return ATLAS_OK;
}

static int add_crl(const char *name, struct atlas_span der, void *user, struct atlas_error *error)
{
    if (strcmp(name, PEM_STRING_X509_CRL) != 0) {
        return atlas_error_set(error, ATLAS_E_X509, "crl", "a PEM block that is no revocation list: %.60s", name);
    }
    return add_crl_der(der, user, error);
}

int atlas_trust_add_crls(struct atlas_trust *trust, struct atlas_span bytes, struct atlas_error *error)
{
    atlas_ossl_begin();
    int before = sk_X509_CRL_num(trust->crls);
    bool der = bytes.n != 0 && bytes.p[0] == ATLAS_DER_SEQUENCE;
    int rc = der ? add_crl_der(bytes, trust->crls, error) : atlas_pem_each(bytes, "crl", add_crl, trust->crls, error);
    while (rc < 0 && sk_X509_CRL_num(trust->crls) > before) {
        X509_CRL_free(sk_X509_CRL_pop(trust->crls));
    }
    return atlas_ossl_done(rc);
}
