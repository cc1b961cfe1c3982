/* csr.c - a certificate request (PKCS #10, RFC 2986) for a key that lives elsewhere: what it signs, then the whole. */
#include <openssl/pem.h>

#include "port/crypto/pem.h"
#include "port/crypto/pkey.h"

static const char where[] = "certificate request";

static int failed(struct atlas_error *error)
{
    return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "the request could not be made");
}

static X509_REQ *new_request(struct atlas_span name, EVP_PKEY *key)
{
    X509_REQ *request = X509_REQ_new();
    if (request != NULL && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
        X509_NAME_add_entry_by_NID(X509_REQ_get_subject_name(request), NID_commonName, MBSTRING_UTF8, name.p,
                                   (int)name.n, -1, 0) == 1 &&
        X509_REQ_set_pubkey(request, key) == 1) {
        return request;
    }
    X509_REQ_free(request);
    return NULL;
}

int atlas_csr_prepare(struct atlas_span name, struct atlas_span spki, struct atlas_buf *ret_tbs,
                      struct atlas_error *error)
{
    atlas_ossl_begin();
    int rc = ATLAS_OK;
    EVP_PKEY *key = NULL;
    X509_REQ *request = NULL;
    unsigned char *der = NULL;
    if (name.n == 0 || name.n > 64) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, "name", "a name has 1 to 64 bytes"));
    }
    ATLAS_TRY(atlas_pkey_read(spki, &key, error));
    request = new_request(name, key);
    int n = request != NULL ? i2d_re_X509_REQ_tbs(request, &der) : 0;
    if (n <= 0) {
        ATLAS_TRY(failed(error));
    }
    atlas_buf_append(ret_tbs, atlas_span_of(der, (size_t)n));
    ATLAS_TRY(atlas_buf_check(ret_tbs, error));
out:
    OPENSSL_free(der);
    X509_REQ_free(request);
    EVP_PKEY_free(key);
    return atlas_ossl_done(rc);
}

static void append_header(struct atlas_buf *b, uint8_t tag, size_t n)
{
    atlas_buf_append_u8(b, tag);
    if (n >= 0x80) {
        atlas_buf_append_u8(b, n > 0xFF ? 0x82 : 0x81);
    }
    if (n > 0xFF) {
        atlas_buf_append_u8(b, (uint8_t)(n >> 8));
    }
    atlas_buf_append_u8(b, (uint8_t)n);
}

/* ECDSA-Sig-Value of r || s. */
static int signature_der(struct atlas_span raw, struct atlas_buf *ret_der, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    unsigned char *der = NULL;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = raw.n == 64 ? BN_bin2bn(raw.p, 32, NULL) : NULL;
    BIGNUM *s = raw.n == 64 ? BN_bin2bn(raw.p + 32, 32, NULL) : NULL;
    if (pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        ATLAS_TRY(failed(error));
    }
    int n = i2d_ECDSA_SIG(pair, &der);
    if (n <= 0) {
        ATLAS_TRY(failed(error));
    }
    atlas_buf_append(ret_der, atlas_span_of(der, (size_t)n));
out:
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
    return rc;
}

/* CertificationRequest: the signed part, ecdsa-with-SHA256, the signature. */
static void assemble(struct atlas_span tbs, struct atlas_span signature, struct atlas_buf *der)
{
    static const uint8_t algorithm[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
    append_header(der, 0x30, tbs.n + sizeof algorithm + 3 + signature.n);
    atlas_buf_append(der, tbs);
    atlas_buf_append(der, atlas_span_of(algorithm, sizeof algorithm));
    append_header(der, 0x03, 1 + signature.n);
    atlas_buf_append_u8(der, 0);
    atlas_buf_append(der, signature);
}

/* Read again by OpenSSL and verified: a fault in the device is found here and not by the CA. */
static int write_pem(struct atlas_span der, struct atlas_buf *ret_pem, struct atlas_error *error)
{
    const unsigned char *p = der.p;
    X509_REQ *request = d2i_X509_REQ(NULL, &p, (long)der.n);
    BIO *bio = BIO_new(BIO_s_mem());
    int rc;
    if (request == NULL || X509_REQ_verify(request, X509_REQ_get0_pubkey(request)) != 1) {
        rc = atlas_ossl_fail(error, ATLAS_E_SIGNATURE, where, "the key did not sign the request");
    } else if (bio == NULL || PEM_write_bio_X509_REQ(bio, request) != 1) {
        rc = failed(error);
    } else {
        rc = atlas_pem_take(bio, ret_pem, error);
    }
    BIO_free(bio);
    X509_REQ_free(request);
    return rc;
}

int atlas_csr_finish(struct atlas_span tbs, struct atlas_span signature, struct atlas_buf *ret_pem,
                     struct atlas_error *error)
{
    atlas_ossl_begin();
    int rc = ATLAS_OK;
    struct atlas_buf der = ATLAS_BUF_INIT;
    struct atlas_buf value = ATLAS_BUF_INIT;
    ATLAS_TRY(signature_der(signature, &value, error));
    assemble(tbs, atlas_buf_span(&value), &der);
    ATLAS_TRY(atlas_buf_check(&der, error));
    ATLAS_TRY(write_pem(atlas_buf_span(&der), ret_pem, error));
out:
    atlas_buf_release(&value);
    atlas_buf_release(&der);
    return atlas_ossl_done(rc);
}
