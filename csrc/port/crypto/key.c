/* key.c - private keys: read from PEM, sign. */
#include <limits.h>
#include <stdlib.h>

#include <openssl/pem.h>

#include "port/crypto/signature.h"
#include "port/crypto/x509.h"

struct atlas_key {
    EVP_PKEY *pkey;
};

static const char where[] = "key";

/* What the password callback was given, and whether it was asked at all. */
struct password {
    struct atlas_span text;
    bool asked;
    bool too_long;
};

/* Never prompts: OpenSSL asks the terminal only when there is no callback. */
static int give_password(char *buffer, int size, int rwflag, void *user)
{
    struct password *password = user;
    (void)rwflag;
    password->asked = true;
    if (password->text.p == NULL) {
        return -1;
    }
    if (password->text.n > (size_t)size) {
        password->too_long = true;
        return -1;
    }
    memcpy(buffer, password->text.p, password->text.n);
    return (int)password->text.n;
}

static int explain(const struct password *password, struct atlas_error *error)
{
    if (password->too_long) {
        return atlas_ossl_fail(error, ATLAS_E_KEY, where, "the password is longer than a PEM password may be");
    }
    if (!password->asked) {
        return atlas_ossl_fail(error, ATLAS_E_KEY, where, "no private key in PEM form");
    }
    if (password->text.p == NULL) {
        ERR_clear_error();
        return atlas_error_set(error, ATLAS_E_KEY, where, "the key is encrypted: a password is needed");
    }
    return atlas_ossl_fail(error, ATLAS_E_KEY, where, "wrong password, or a damaged key");
}

static int read_pem(struct atlas_span pem, struct atlas_span password, EVP_PKEY **ret_key, struct atlas_error *error)
{
    struct password given = {password, false, false};
    if (pem.n == 0 || pem.n > INT_MAX) {
        return atlas_error_set(error, ATLAS_E_KEY, where, "no private key in PEM form");
    }
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    if (bio == NULL) {
        return atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory");
    }
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, give_password, &given);
    BIO_free(bio);
    if (key == NULL) {
        return explain(&given, error);
    }
    *ret_key = key;
    return ATLAS_OK;
}

int atlas_key_new(struct atlas_span pem, struct atlas_span password, struct atlas_key **ret_key,
                  struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_key *key = calloc(1, sizeof *key);
    if (key == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
    }
    ATLAS_TRY(read_pem(pem, password, &key->pkey, error));
    ATLAS_TRY(atlas_pkey_check(key->pkey, where, error));
    *ret_key = key;
    key = NULL;
out:
    atlas_key_free(key);
    return atlas_ossl_done(rc);
}

void atlas_key_free(struct atlas_key *key)
{
    if (key != NULL) {
        EVP_PKEY_free(key->pkey); /* wipes the private part */
        free(key);
    }
}

enum atlas_cose_alg atlas_key_alg(const struct atlas_key *key)
{
    enum atlas_cose_alg alg = atlas_pkey_alg(key->pkey);
    ERR_clear_error();
    return alg;
}

static int sign(const struct atlas_scheme *scheme, EVP_PKEY *key, struct atlas_span tbs,
                struct atlas_buf *ret_signature, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    uint8_t bytes[ATLAS_SIGNATURE_MAX];
    size_t n = sizeof bytes;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory"));
    }
    ATLAS_TRY(atlas_scheme_begin(scheme, context, key, true, error));
    if (EVP_DigestSign(context, bytes, &n, tbs.n != 0 ? tbs.p : (const uint8_t *)"", tbs.n) != 1) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "signing failed"));
    }
    if (scheme->half != 0) {
        ATLAS_TRY(atlas_ecdsa_to_raw(atlas_span_of(bytes, n), scheme->half, ret_signature, error));
    } else {
        atlas_buf_append(ret_signature, atlas_span_of(bytes, n));
        ATLAS_TRY(atlas_buf_check(ret_signature, error));
    }
out:
    EVP_MD_CTX_free(context);
    return rc;
}

int atlas_key_sign(const struct atlas_key *key, int64_t cose_alg, struct atlas_span tbs,
                   struct atlas_buf *ret_signature, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    const struct atlas_scheme *scheme;
    ATLAS_TRY(atlas_scheme_of(cose_alg, &scheme, error));
    ATLAS_TRY(atlas_scheme_fit(scheme, key->pkey, error));
    ATLAS_TRY(sign(scheme, key->pkey, tbs, ret_signature, error));
out:
    return atlas_ossl_done(rc);
}

int atlas_key_spki(const struct atlas_key *key, struct atlas_buf *ret_spki, struct atlas_error *error)
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(key->pkey, &der);
    if (n <= 0) {
        return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "the public key cannot be written");
    }
    atlas_buf_append(ret_spki, atlas_span_of(der, (size_t)n));
    OPENSSL_free(der);
    return atlas_ossl_done(atlas_buf_check(ret_spki, error));
}

int atlas_key_match(const struct atlas_key *key, struct atlas_span certificate, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    X509 *x = NULL;
    ATLAS_TRY(atlas_x509_read(certificate, "certificate", &x, error));
    EVP_PKEY *public = X509_get0_pubkey(x);
    if (public == NULL || EVP_PKEY_eq(public, key->pkey) != 1) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_KEY, where, "the certificate is for another key"));
    }
out:
    X509_free(x);
    return atlas_ossl_done(rc);
}
