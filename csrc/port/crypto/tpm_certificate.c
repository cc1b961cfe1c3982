/* tpm_certificate.c - certificates of TPM keys: what they say about the TPM, and issuing one after enrolment (TCG EK
 * Credential Profile 2.3; TCG Platform Attribute OIDs). */
#include <openssl/pem.h>
#include <time.h>

#include "port/crypto/pem.h"
#include "port/crypto/vendor.h"

#define OID_MANUFACTURER "2.23.133.2.1"
#define OID_MODEL "2.23.133.2.2"
#define OID_VERSION "2.23.133.2.3"
#define OID_EK "2.23.133.8.1"
#define OID_AK "2.23.133.8.3"

static const char where[] = "TPM certificate";

/* --------------------------------------------------------------------------------------------------- reading */

static bool is_oid(const ASN1_OBJECT *object, const char *dotted)
{
    char text[64];
    return OBJ_obj2txt(text, sizeof text, object, 1) > 0 && strcmp(text, dotted) == 0;
}

/* A value that does not fit, or with control characters, is as good as none. */
static void copy_text(const ASN1_STRING *value, char *out, size_t size)
{
    const unsigned char *p = ASN1_STRING_get0_data(value);
    int n = ASN1_STRING_length(value);
    if (n < 0 || (size_t)n >= size) {
        return;
    }
    for (int i = 0; i < n; i++) {
        if (p[i] < 0x20 || p[i] > 0x7E) {
            return;
        }
    }
    memcpy(out, p, (size_t)n);
    out[n] = '\0';
}

static void copy_names(const X509_NAME *name, struct atlas_tpm_names *names)
{
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        const ASN1_OBJECT *object = X509_NAME_ENTRY_get_object(entry);
        const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
        if (is_oid(object, OID_MANUFACTURER)) {
            copy_text(value, names->manufacturer, sizeof names->manufacturer);
        } else if (is_oid(object, OID_MODEL)) {
            copy_text(value, names->model, sizeof names->model);
        } else if (is_oid(object, OID_VERSION)) {
            copy_text(value, names->version, sizeof names->version);
        }
    }
}

int atlas_tpm_names_read(struct atlas_span der, struct atlas_tpm_names *ret_names, struct atlas_error *error)
{
    atlas_ossl_begin();
    X509 *x = NULL;
    struct atlas_tpm_names names = {"", "", ""};
    int rc = atlas_x509_read(der, where, &x, error);
    if (rc < 0) {
        return atlas_ossl_done(rc);
    }
    GENERAL_NAMES *list = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(list, i);
        if (name->type == GEN_DIRNAME) {
            copy_names(name->d.directoryName, &names);
        }
    }
    GENERAL_NAMES_free(list);
    X509_free(x);
    *ret_names = names;
    return atlas_ossl_done(ATLAS_OK);
}

int atlas_tpm_usage_check(struct atlas_span der, enum atlas_tpm_usage usage, struct atlas_error *error)
{
    atlas_ossl_begin();
    X509 *x = NULL;
    int rc = atlas_x509_read(der, where, &x, error);
    if (rc < 0) {
        return atlas_ossl_done(rc);
    }
    EXTENDED_KEY_USAGE *list = X509_get_ext_d2i(x, NID_ext_key_usage, NULL, NULL);
    bool good = sk_ASN1_OBJECT_num(list) == 1 &&
                is_oid(sk_ASN1_OBJECT_value(list, 0), usage == ATLAS_USAGE_EK ? OID_EK : OID_AK) &&
                X509_check_ca(x) == 0;
    EXTENDED_KEY_USAGE_free(list);
    X509_free(x);
    if (!good) {
        rc = atlas_error_set(error, ATLAS_E_CREDENTIAL, where, "the certificate is not for an %s key",
                             usage == ATLAS_USAGE_EK ? "endorsement" : "attestation");
    }
    return atlas_ossl_done(rc);
}

/* --------------------------------------------------------------------------------------------------- issuing */

static int failed(struct atlas_error *error)
{
    return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "the certificate could not be made");
}

static bool add_text(X509_NAME *name, const char *dotted, const char *text)
{
    if (*text == '\0') {
        return true;
    }
    ASN1_OBJECT *object = OBJ_txt2obj(dotted, 1);
    bool good = object != NULL && X509_NAME_add_entry_by_OBJ(name, object, V_ASN1_UTF8STRING,
                                                             (const unsigned char *)text, -1, -1, 0) == 1;
    ASN1_OBJECT_free(object);
    return good;
}

static bool add_alternative_name(X509 *x, const struct atlas_tpm_names *names)
{
    bool good = false;
    GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *one = GENERAL_NAME_new();
    X509_NAME *name = X509_NAME_new();
    if (list == NULL || one == NULL || name == NULL || !add_text(name, OID_MANUFACTURER, names->manufacturer) ||
        !add_text(name, OID_MODEL, names->model) || !add_text(name, OID_VERSION, names->version)) {
        goto out;
    }
    GENERAL_NAME_set0_value(one, GEN_DIRNAME, name);
    name = NULL;
    if (sk_GENERAL_NAME_push(list, one) <= 0) {
        goto out;
    }
    one = NULL;
    good = X509_add1_ext_i2d(x, NID_subject_alt_name, list, 0, X509V3_ADD_DEFAULT) == 1;
out:
    X509_NAME_free(name);
    GENERAL_NAME_free(one);
    GENERAL_NAMES_free(list);
    return good;
}

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool good = extension != NULL && X509_add_ext(x, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static bool add_extensions(X509 *x, X509 *ca, const struct atlas_tpm_names *names)
{
    bool named = names->manufacturer[0] != '\0' || names->model[0] != '\0' || names->version[0] != '\0';
    return add_extension(x, ca, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(x, ca, NID_key_usage, "critical,digitalSignature") &&
           add_extension(x, ca, NID_ext_key_usage, OID_AK) &&
           add_extension(x, ca, NID_subject_key_identifier, "hash") &&
           add_extension(x, ca, NID_authority_key_identifier, "keyid") && (!named || add_alternative_name(x, names));
}

static bool fill(X509 *x, X509 *ca, const struct atlas_ak_request *request, EVP_PKEY *key)
{
    const int day = 24 * 60 * 60;
    time_t now = time(NULL);
    BIGNUM *serial = BN_new();
    bool good = serial != NULL && BN_rand(serial, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)) != NULL &&
                X509_set_version(x, X509_VERSION_3) == 1 &&
                X509_time_adj_ex(X509_getm_notBefore(x), -1, 0, &now) != NULL &&
                X509_time_adj_ex(X509_getm_notAfter(x), (int)(request->years * 365), -day, &now) != NULL &&
                X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_UTF8, request->name.p,
                                           (int)request->name.n, -1, 0) == 1 &&
                X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1 && X509_set_pubkey(x, key) == 1 &&
                add_extensions(x, ca, request->names);
    BN_free(serial);
    return good;
}

/* Without it OpenSSL would prompt for the password of an encrypted key. */
static int no_password(char *out, int size, int writing, void *user)
{
    (void)out, (void)size, (void)writing, (void)user;
    return -1;
}

static EVP_PKEY *read_key(struct atlas_span pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    return key;
}

static int read_ca(const struct atlas_ak_request *request, X509 **ret_ca, EVP_PKEY **ret_key, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_buf ders = ATLAS_BUF_INIT;
    struct atlas_span rest;
    struct atlas_span der;
    EVP_PKEY *key = NULL;
    ATLAS_TRY(atlas_certificate_read_pem(request->ca, &ders, error));
    rest = atlas_buf_span(&ders);
    if (!atlas_certificate_next(&rest, &der) || rest.n != 0) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_X509, "CA", "not exactly one certificate"));
    }
    key = read_key(request->ca_key);
    if (key == NULL) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_KEY, "CA key", "not a private key in PEM without a password"));
    }
    ATLAS_TRY(atlas_x509_read(der, "CA", ret_ca, error));
    if (X509_check_private_key(*ret_ca, key) != 1 || X509_check_ca(*ret_ca) != 1) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_KEY, "CA", "not a CA's certificate, or not the one of this key"));
    }
    *ret_key = key;
    key = NULL;
out:
    EVP_PKEY_free(key);
    atlas_buf_release(&ders);
    return rc;
}

int atlas_ak_issue(const struct atlas_ak_request *request, struct atlas_buf *ret_pem, struct atlas_error *error)
{
    atlas_ossl_begin();
    int rc = ATLAS_OK;
    X509 *ca = NULL;
    EVP_PKEY *ca_key = NULL;
    EVP_PKEY *key = NULL;
    X509 *x = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());
    if (request->years == 0 || request->years > 50 || request->name.n == 0 || request->name.n > 64) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, where, "a name of 1 to 64 bytes, and 1 to 50 years"));
    }
    ATLAS_TRY(read_ca(request, &ca, &ca_key, error));
    ATLAS_TRY(atlas_pkey_read(request->spki, &key, error));
    if (x == NULL || bio == NULL || !fill(x, ca, request, key) || X509_sign(x, ca_key, EVP_sha384()) <= 0 ||
        PEM_write_bio_X509(bio, x) != 1) {
        ATLAS_TRY(failed(error));
    }
    ATLAS_TRY(atlas_pem_take(bio, ret_pem, error));
out:
    BIO_free(bio);
    X509_free(x);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    return atlas_ossl_done(rc);
}
