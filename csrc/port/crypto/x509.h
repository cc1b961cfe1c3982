/* x509.h - certificates and paths as OpenSSL objects, for the files of port/crypto. */
#ifndef ATLAS_PORT_CRYPTO_X509_H
#define ATLAS_PORT_CRYPTO_X509_H

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "port/crypto/pkey.h"

#define ATLAS_MAX_CERTIFICATE_BYTES (64u << 10)
#define ATLAS_MAX_EXTENSIONS 64

struct atlas_trust {
    STACK_OF(X509) *anchors;
    STACK_OF(X509) *tsa_anchors;
    STACK_OF(X509_CRL) *crls;
};

/* ---- certificate.c */

/* One whole DER certificate and nothing else, parsed. */
int atlas_x509_read(struct atlas_span der, const char *where, X509 **ret_x, struct atlas_error *error);

/* Seconds since 1970 of a UTCTime or GeneralizedTime. */
int atlas_x509_time(const ASN1_TIME *when, const char *where, int64_t *ret_time, struct atlas_error *error);

/* ATLAS_E_EXPIRED unless `time` is within the certificate's validity: from not_before on, before not_after (whose
 * second RFC 5280 would include; OpenSSL's path check does not, and there is one rule). */
int atlas_x509_valid_at(const X509 *x, int64_t time, const char *where, struct atlas_error *error);

/* Text of the subject's CN, or of the whole subject, into a buffer of ATLAS_NAME_MAX. */
int atlas_x509_common_name(const X509 *x, char *ret_name, struct atlas_error *error);

/* ---- profile.c */

int atlas_x509_profile(X509 *x, enum atlas_purpose purpose, const char *where, struct atlas_error *error);

/* Does the EKU of this CA, if it has one, let it issue for the purpose? */
bool atlas_x509_may_issue(X509 *ca, enum atlas_purpose purpose);

/* ---- chain.c */

/* A path from the leaf through `untrusted` to an anchor of the purpose, all of it acceptable and valid at `time`; the
 * leaf's profile is the caller's part. Leaf first. Certificates are shared with the arguments. */
int atlas_path_find(const struct atlas_trust *trust, X509 *leaf, STACK_OF(X509) *untrusted, enum atlas_purpose purpose,
                    int64_t time, STACK_OF(X509) **ret_path, struct atlas_error *error);

/* An x5chain: read, leaf profile, order, path. */
int atlas_path_of_chain(const struct atlas_trust *trust, const struct atlas_span *chain, size_t n,
                        enum atlas_purpose purpose, int64_t time, STACK_OF(X509) **ret_path, struct atlas_error *error);

void atlas_path_free(STACK_OF(X509) *path);

/* ---- revocation.c */

/* What the CRLs say about every certificate of a path but its anchor. ATLAS_E_REVOKED: revoked at or before `time`. */
int atlas_path_revocation(const struct atlas_trust *trust, STACK_OF(X509) *path, int64_t time, int64_t now,
                          struct atlas_revocation *ret_revocation, struct atlas_error *error);

/* The same for one certificate and its issuer, adding to *revocation; sets *ret_covered when a current CRL was heard.
 */
int atlas_crl_check(const struct atlas_trust *trust, X509 *x, X509 *issuer, int64_t time, int64_t now,
                    struct atlas_revocation *revocation, bool *ret_covered, struct atlas_error *error);

#endif
