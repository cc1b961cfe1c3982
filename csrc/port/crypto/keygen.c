/* keygen.c - a development CA and one leaf (C2PA 2.x, 14.5.1). Not a CA for production: the names say so. */
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <time.h>

#include "base/utf8.h"
#include "port/crypto/pem.h"

static const char where[] = "keygen";
static const char organisation[] = "Atlas development CA (not vetted)";

static int failed(struct atlas_error *error)
{
    return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "key generation failed");
}

/* ------------------------------------------------------------------------------------------------- keys */

#define DEVELOPMENT_RSA_BITS 3072

static EVP_PKEY *new_key(int64_t cose_alg)
{
    switch (cose_alg) {
    case ATLAS_COSE_ES256:
        return EVP_EC_gen("P-256");
    case ATLAS_COSE_ES384:
        return EVP_EC_gen("P-384");
    case ATLAS_COSE_ES512:
        return EVP_EC_gen("P-521");
    case ATLAS_COSE_EDDSA:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    default:
        return EVP_RSA_gen(DEVELOPMENT_RSA_BITS);
    }
}

/* ----------------------------------------------------------------------------------------- certificates */

/* RFC 5280, 4.1.2.2: unpredictable, positive, not longer than 20 octets. */
static bool set_serial(X509 *x)
{
    BIGNUM *serial = BN_new();
    bool good = serial != NULL && BN_rand(serial, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)) != NULL;
    BN_free(serial);
    return good;
}

/* Valid since yesterday, so that a machine whose clock is a little behind accepts it. */
static bool set_validity(X509 *x, unsigned years)
{
    const int day = 24 * 60 * 60;
    time_t now = time(NULL);
    int days = (int)(years * 365 + years / 4);
    return X509_time_adj_ex(X509_getm_notBefore(x), -1, 0, &now) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(x), days, -day, &now) != NULL;
}

static bool add_name(X509_NAME *name, int nid, struct atlas_span text)
{
    return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, text.p, (int)text.n, -1, 0) == 1;
}

/* O says what it is; for the root OU says whose, so that the roots of two people have different names. */
static bool set_subject(X509 *x, struct atlas_span unit, struct atlas_span common_name)
{
    X509_NAME *name = X509_get_subject_name(x);
    return add_name(name, NID_organizationName, atlas_span_str(organisation)) &&
           (unit.n == 0 || add_name(name, NID_organizationalUnitName, unit)) &&
           add_name(name, NID_commonName, common_name);
}

struct extension {
    int nid;
    const char *value;
};

static const struct extension root_extensions[] = {
    {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
    {NID_key_usage, "critical,keyCertSign,cRLSign"},
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid"},
};

/* Both EKUs: c2pa-rs accepts emailProtection by default and claimSigning only when it is configured. */
static const struct extension leaf_extensions[] = {
    {NID_basic_constraints, "critical,CA:FALSE"},
    {NID_key_usage, "critical,digitalSignature"},
    {NID_ext_key_usage, "1.3.6.1.4.1.62558.2.1,emailProtection"},
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid"},
};

static bool add_extensions(X509 *x, X509 *issuer, const struct extension *extensions, size_t n)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
    for (size_t i = 0; i < n; i++) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, extensions[i].nid, extensions[i].value);
        bool added = extension != NULL && X509_add_ext(x, extension, -1) == 1;
        X509_EXTENSION_free(extension);
        if (!added) {
            return false;
        }
    }
    return true;
}

/* Everything but issuer, extensions and signature. */
static X509 *new_certificate(struct atlas_span unit, struct atlas_span common_name, EVP_PKEY *key, unsigned years)
{
    X509 *x = X509_new();
    if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) && set_validity(x, years) &&
        set_subject(x, unit, common_name) && X509_set_pubkey(x, key) == 1) {
        return x;
    }
    X509_free(x);
    return NULL;
}

static int new_root(struct atlas_span name, EVP_PKEY *key, unsigned years, X509 **ret_root, struct atlas_error *error)
{
    X509 *x = new_certificate(name, ATLAS_LIT("Atlas development root (not for production)"), key, years);
    if (x == NULL || X509_set_issuer_name(x, X509_get_subject_name(x)) != 1 ||
        !add_extensions(x, x, root_extensions, sizeof root_extensions / sizeof root_extensions[0]) ||
        X509_sign(x, key, EVP_sha384()) <= 0) {
        X509_free(x);
        return failed(error);
    }
    *ret_root = x;
    return ATLAS_OK;
}

static int new_leaf(struct atlas_span name, EVP_PKEY *key, X509 *root, EVP_PKEY *root_key, unsigned years,
                    X509 **ret_leaf, struct atlas_error *error)
{
    X509 *x = new_certificate(ATLAS_SPAN_NONE, name, key, years);
    if (x == NULL || X509_set_issuer_name(x, X509_get_subject_name(root)) != 1 ||
        !add_extensions(x, root, leaf_extensions, sizeof leaf_extensions / sizeof leaf_extensions[0]) ||
        X509_sign(x, root_key, EVP_sha384()) <= 0) {
        X509_free(x);
        return failed(error);
    }
    *ret_leaf = x;
    return ATLAS_OK;
}

/* ----------------------------------------------------------------------------------------------- output */

static int write_key(EVP_PKEY *key, struct atlas_buf *ret_pem, struct atlas_error *error)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    if (bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        BIO_free(bio);
        return failed(error);
    }
    int rc = atlas_pem_take(bio, ret_pem, error);
    BIO_free(bio);
    return rc;
}

static int write_certificate(X509 *x, struct atlas_buf *ret_pem, struct atlas_error *error)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_X509(bio, x) != 1) {
        BIO_free(bio);
        return failed(error);
    }
    int rc = atlas_pem_take(bio, ret_pem, error);
    BIO_free(bio);
    return rc;
}

static void wipe(struct atlas_buf *b)
{
    if (b->p != NULL) {
        OPENSSL_cleanse(b->p, b->cap);
    }
    atlas_buf_release(b);
}

void atlas_keygen_release(struct atlas_keygen *keygen)
{
    atlas_buf_release(&keygen->root_pem);
    atlas_buf_release(&keygen->chain_pem);
    wipe(&keygen->root_key_pem);
    wipe(&keygen->key_pem);
}

/* X.520: a common name has 1 to 64 characters. */
static int check_name(struct atlas_span name, struct atlas_error *error)
{
    size_t characters = 0;
    bool good = name.n != 0 && name.n <= 4 * (size_t)64 && atlas_utf8_check(name);
    for (size_t i = 0; good && i < name.n; i++) {
        characters += (name.p[i] & 0xC0) != 0x80;
        good = name.p[i] >= 0x20 && name.p[i] != 0x7F;
    }
    if (!good || characters > 64) {
        return atlas_error_set(error, ATLAS_E_ARG, "name", "a name has 1 to 64 printable characters");
    }
    return ATLAS_OK;
}

/* A root, and a leaf under it for this key. */
static int make_chain(struct atlas_span name, EVP_PKEY *key, unsigned years, struct atlas_keygen *made,
                      struct atlas_error *error)
{
    int rc = ATLAS_OK;
    X509 *root = NULL;
    X509 *leaf = NULL;
    EVP_PKEY *root_key = EVP_EC_gen("P-384"); /* whatever the leaf signs with: the root outlives it */
    ATLAS_TRY(check_name(name, error));
    if (years == 0 || years > 50) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, "years", "a certificate is made for 1 to 50 years"));
    }
    if (root_key == NULL || key == NULL) {
        ATLAS_TRY(failed(error));
    }
    ATLAS_TRY(new_root(name, root_key, years, &root, error));
    ATLAS_TRY(new_leaf(name, key, root, root_key, years, &leaf, error));
    ATLAS_TRY(write_certificate(root, &made->root_pem, error));
    ATLAS_TRY(write_key(root_key, &made->root_key_pem, error));
    ATLAS_TRY(write_certificate(leaf, &made->chain_pem, error));
out:
    X509_free(leaf);
    X509_free(root);
    EVP_PKEY_free(root_key);
    return rc;
}

#define NOTHING ((struct atlas_keygen){ATLAS_BUF_INIT, ATLAS_BUF_INIT, ATLAS_BUF_INIT, ATLAS_BUF_INIT})

int atlas_keygen(struct atlas_span name, int64_t cose_alg, unsigned years, struct atlas_keygen *ret_keygen,
                 struct atlas_error *error)
{
    atlas_ossl_begin();
    int rc = ATLAS_OK;
    EVP_PKEY *key = NULL;
    const struct atlas_scheme *scheme;
    struct atlas_keygen made = NOTHING;
    ATLAS_TRY(atlas_scheme_of(cose_alg, &scheme, error));
    key = new_key(cose_alg);
    ATLAS_TRY(make_chain(name, key, years, &made, error));
    ATLAS_TRY(write_key(key, &made.key_pem, error));
    *ret_keygen = made;
    made = NOTHING;
out:
    atlas_keygen_release(&made);
    EVP_PKEY_free(key);
    return atlas_ossl_done(rc);
}

int atlas_keygen_for(struct atlas_span name, struct atlas_span spki, unsigned years, struct atlas_keygen *ret_keygen,
                     struct atlas_error *error)
{
    atlas_ossl_begin();
    EVP_PKEY *key = NULL;
    struct atlas_keygen made = NOTHING;
    int rc = atlas_pkey_read(spki, &key, error);
    if (rc >= 0) {
        rc = make_chain(name, key, years, &made, error);
    }
    if (rc >= 0) {
        *ret_keygen = made;
        made = NOTHING;
    }
    atlas_keygen_release(&made);
    EVP_PKEY_free(key);
    return atlas_ossl_done(rc);
}
