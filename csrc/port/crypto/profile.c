/* profile.c - the certificate profile of C2PA 2.x, 14.5.1, on RFC 5280. One function per rule, and every rule must
 * hold. */
#include "port/crypto/x509.h"

/* What every rule sees. */
struct leaf {
    X509 *x;
    enum atlas_purpose purpose;
    const char *where;
    struct atlas_error *error;
};

static int refuse(const struct leaf *leaf, const char *text)
{
    return atlas_ossl_fail(leaf->error, ATLAS_E_CREDENTIAL, leaf->where, text);
}

static int check_form(const struct leaf *leaf)
{
    const ASN1_BIT_STRING *issuer_id;
    const ASN1_BIT_STRING *subject_id;
    if (X509_get_version(leaf->x) != X509_VERSION_3) {
        return refuse(leaf, "the certificate is not version 3");
    }
    X509_get0_uids(leaf->x, &issuer_id, &subject_id);
    if (issuer_id != NULL || subject_id != NULL) {
        return refuse(leaf, "the certificate has a unique identifier");
    }
    return ATLAS_OK;
}

static int check_algorithms(const struct leaf *leaf)
{
    const X509_ALGOR *algorithm;
    X509_get0_signature(NULL, &algorithm, leaf->x);
    int rc = atlas_sigalg_check(algorithm, leaf->where, leaf->error);
    if (rc < 0) {
        return rc;
    }
    EVP_PKEY *key = X509_get0_pubkey(leaf->x);
    if (key == NULL) {
        return refuse(leaf, "the certificate holds no public key that can be read");
    }
    return atlas_pkey_check(key, leaf->where, leaf->error);
}

static bool extension_known(X509_EXTENSION *extension)
{
    switch (OBJ_obj2nid(X509_EXTENSION_get_object(extension))) {
    case NID_basic_constraints:
    case NID_key_usage:
    case NID_ext_key_usage:
    case NID_subject_alt_name:
    case NID_certificate_policies:
    case NID_crl_distribution_points:
        return true;
    default:
        return false;
    }
}

/* RFC 5280, 4.2: no extension twice, and a critical one that is not understood refuses the certificate. */
static int check_extensions(const struct leaf *leaf)
{
    int n = X509_get_ext_count(leaf->x);
    if (n > ATLAS_MAX_EXTENSIONS) {
        return refuse(leaf, "the certificate has too many extensions");
    }
    for (int i = 0; i < n; i++) {
        X509_EXTENSION *extension = X509_get_ext(leaf->x, i);
        if (X509_get_ext_by_OBJ(leaf->x, X509_EXTENSION_get_object(extension), i) >= 0) {
            return refuse(leaf, "the certificate has an extension twice");
        }
        if (X509_EXTENSION_get_critical(extension) && !extension_known(extension)) {
            return refuse(leaf, "the certificate has a critical extension that is not understood");
        }
    }
    if ((X509_get_extension_flags(leaf->x) & EXFLAG_INVALID) != 0) {
        return refuse(leaf, "the certificate has an extension that cannot be read");
    }
    return ATLAS_OK;
}

/* A leaf that names itself as issuer vouches for itself: never acceptable, whatever its key identifiers say. */
static int check_issuer(const struct leaf *leaf)
{
    if (X509_NAME_cmp(X509_get_subject_name(leaf->x), X509_get_issuer_name(leaf->x)) == 0) {
        return refuse(leaf, "the certificate is self-signed");
    }
    if (X509_get0_authority_key_id(leaf->x) == NULL) {
        return refuse(leaf, "the certificate has no authority key identifier");
    }
    return ATLAS_OK;
}

static int check_basic_constraints(const struct leaf *leaf)
{
    if ((X509_get_extension_flags(leaf->x) & EXFLAG_CA) != 0) {
        return refuse(leaf, "the certificate is that of a CA");
    }
    return ATLAS_OK;
}

static int check_key_usage(const struct leaf *leaf)
{
    if ((X509_get_extension_flags(leaf->x) & EXFLAG_KUSAGE) == 0) {
        return refuse(leaf, "the certificate has no key usage");
    }
    uint32_t usage = X509_get_key_usage(leaf->x);
    /* RFC 3161 leaves the choice between the two to the authority. */
    uint32_t signs = KU_DIGITAL_SIGNATURE | (leaf->purpose == ATLAS_PURPOSE_TSA ? (uint32_t)KU_NON_REPUDIATION : 0);
    if ((usage & signs) == 0) {
        return refuse(leaf, "the certificate's key usage lacks digitalSignature");
    }
    if ((usage & KU_KEY_CERT_SIGN) != 0) {
        return refuse(leaf, "the certificate's key usage includes keyCertSign");
    }
    return ATLAS_OK;
}

/* --------------------------------------------------------------------------------------- extended key usage */

enum eku { EKU_OTHER, EKU_ANY, EKU_CLAIM, EKU_TSA, EKU_OCSP };

/* C2PA 2.x, 14.5.1.1: claim signing, e-mail protection, document signing (RFC 9336), and Microsoft's C2PA signing. */
static const char *const claim_ekus[] = {
    "1.3.6.1.4.1.62558.2.1",
    "1.3.6.1.5.5.7.3.4",
    "1.3.6.1.5.5.7.3.36",
    "1.3.6.1.4.1.311.76.59.1.9",
};

static enum eku eku_of(const ASN1_OBJECT *object)
{
    char oid[80];
    switch (OBJ_obj2nid(object)) {
    case NID_anyExtendedKeyUsage:
        return EKU_ANY;
    case NID_time_stamp:
        return EKU_TSA;
    case NID_OCSP_sign:
        return EKU_OCSP;
    default:
        break;
    }
    if (OBJ_obj2txt(oid, sizeof oid, object, 1) > 0) {
        for (size_t i = 0; i < sizeof claim_ekus / sizeof claim_ekus[0]; i++) {
            if (strcmp(oid, claim_ekus[i]) == 0) {
                return EKU_CLAIM;
            }
        }
    }
    return EKU_OTHER;
}

static unsigned eku_bits(const EXTENDED_KEY_USAGE *usages)
{
    unsigned bits = 0;
    for (int i = 0; i < sk_ASN1_OBJECT_num(usages); i++) {
        bits |= 1u << eku_of(sk_ASN1_OBJECT_value(usages, i));
    }
    return bits;
}

static unsigned eku_wanted(enum atlas_purpose purpose)
{
    return 1u << (purpose == ATLAS_PURPOSE_TSA ? EKU_TSA : purpose == ATLAS_PURPOSE_OCSP ? EKU_OCSP : EKU_CLAIM);
}

static int check_eku_bits(const struct leaf *leaf, unsigned bits, bool critical)
{
    unsigned exclusive = 1u << EKU_TSA | 1u << EKU_OCSP;
    unsigned wanted = eku_wanted(leaf->purpose);
    if ((bits & 1u << EKU_ANY) != 0) {
        return refuse(leaf, "the certificate has anyExtendedKeyUsage");
    }
    if ((bits & wanted) == 0) {
        return refuse(leaf, "the certificate's extended key usage does not allow this purpose");
    }
    if ((bits & exclusive) != 0 && bits != wanted) {
        return refuse(leaf, "the certificate mixes timeStamping or OCSPSigning with another key usage");
    }
    if (leaf->purpose == ATLAS_PURPOSE_TSA && !critical) { /* RFC 3161, 2.3 */
        return refuse(leaf, "the time-stamping key usage is not critical");
    }
    return ATLAS_OK;
}

static int check_eku(const struct leaf *leaf)
{
    int critical = -1;
    EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(leaf->x, NID_ext_key_usage, &critical, NULL);
    if (usages == NULL) {
        return refuse(leaf, "the certificate has no extended key usage");
    }
    int rc = check_eku_bits(leaf, eku_bits(usages), critical == 1);
    EXTENDED_KEY_USAGE_free(usages);
    return rc;
}

bool atlas_x509_may_issue(X509 *ca, enum atlas_purpose purpose)
{
    int critical = -1;
    EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(ca, NID_ext_key_usage, &critical, NULL);
    if (usages == NULL) {
        return critical == -1; /* absent, not unreadable or there twice */
    }
    unsigned bits = eku_bits(usages);
    EXTENDED_KEY_USAGE_free(usages);
    return (bits & (eku_wanted(purpose) | 1u << EKU_ANY)) != 0;
}

/* ---------------------------------------------------------------------------------------------------- all of it */

int atlas_x509_profile(X509 *x, enum atlas_purpose purpose, const char *where, struct atlas_error *error)
{
    static int (*const rules[])(const struct leaf *) = {
        check_form,      check_algorithms, check_extensions, check_issuer, check_basic_constraints,
        check_key_usage, check_eku,
    };
    const struct leaf leaf = {x, purpose, where, error};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        int rc = rules[i](&leaf);
        if (rc < 0) {
            return rc;
        }
    }
    return ATLAS_OK;
}

int atlas_certificate_profile_check(struct atlas_span der, enum atlas_purpose purpose, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    X509 *x = NULL;
    ATLAS_TRY(atlas_x509_read(der, "certificate", &x, error));
    ATLAS_TRY(atlas_x509_profile(x, purpose, "certificate", error));
out:
    X509_free(x);
    return atlas_ossl_done(rc);
}
