/* pem.c - certificates and CRLs in PEM (RFC 7468). */
#include "port/crypto/pem.h"

#include <limits.h>

#include <openssl/pem.h>

int atlas_pem_each(struct atlas_span text, const char *where, atlas_pem_block *block, void *user,
                   struct atlas_error *error)
{
    int rc = ATLAS_OK;
    BIO *bio = text.n != 0 && text.n <= INT_MAX ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;
    if (bio == NULL) {
        return atlas_ossl_fail(error, ATLAS_E_X509, where, "nothing in PEM form");
    }
    size_t found = 0;
    for (;;) {
        char *name = NULL;
        char *header = NULL;
        unsigned char *data = NULL;
        long n = 0;
        if (PEM_read_bio(bio, &name, &header, &data, &n) != 1) {
            break;
        }
        rc = block(name, atlas_span_of(data, (size_t)n), user, error);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)n);
        if (rc < 0) {
            goto out;
        }
        found++;
    }
    /* The end of the text shows as "no start line"; anything else is a block that is damaged or cut off. */
    if (found == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        ATLAS_TRY(
            atlas_ossl_fail(error, ATLAS_E_X509, where, found == 0 ? "nothing in PEM form" : "a damaged PEM block"));
    }
out:
    BIO_free(bio);
    return atlas_ossl_done(rc);
}

static int append_certificate(const char *name, struct atlas_span der, void *user, struct atlas_error *error)
{
    if (strcmp(name, PEM_STRING_X509) != 0) {
        return atlas_error_set(error, ATLAS_E_X509, "certificates", "a PEM block that is no certificate: %.60s", name);
    }
    X509 *x = NULL;
    int rc = atlas_x509_read(der, "certificates", &x, error);
    if (rc < 0) {
        return rc;
    }
    X509_free(x);
    atlas_buf_append(user, der);
    return ATLAS_OK;
}

int atlas_certificate_read_pem(struct atlas_span pem, struct atlas_buf *ret_ders, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_buf ders = ATLAS_BUF_INIT;
    ATLAS_TRY(atlas_pem_each(pem, "certificates", append_certificate, &ders, error));
    ATLAS_TRY(atlas_buf_check(&ders, error));
    atlas_buf_append(ret_ders, atlas_buf_span(&ders));
    ATLAS_TRY(atlas_buf_check(ret_ders, error));
out:
    atlas_buf_release(&ders);
    return atlas_ossl_done(rc);
}

bool atlas_certificate_next(struct atlas_span *rest, struct atlas_span *ret_der)
{
    struct atlas_der certificate;
    if (!atlas_der_take(rest, ATLAS_DER_SEQUENCE, &certificate)) {
        return false;
    }
    *ret_der = certificate.whole;
    return true;
}

int atlas_certificate_write_pem(struct atlas_span der, struct atlas_buf *ret_pem, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    X509 *x = NULL;
    BIO *bio = NULL;
    ATLAS_TRY(atlas_x509_read(der, "certificate", &x, error));
    bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_X509(bio, x) != 1) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, "certificate", "out of memory"));
    }
    ATLAS_TRY(atlas_pem_take(bio, ret_pem, error));
out:
    BIO_free(bio);
    X509_free(x);
    return atlas_ossl_done(rc);
}

int atlas_pem_take(BIO *bio, struct atlas_buf *ret_bytes, struct atlas_error *error)
{
    char *text = NULL;
    long n = BIO_get_mem_data(bio, &text);
    atlas_buf_append(ret_bytes, atlas_span_of(text, n > 0 ? (size_t)n : 0));
    return atlas_buf_check(ret_bytes, error);
}
