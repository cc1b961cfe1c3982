/* pkey.h - which public keys and algorithms are allowed, for the files of port/crypto. */
#ifndef ATLAS_PORT_CRYPTO_PKEY_H
#define ATLAS_PORT_CRYPTO_PKEY_H

#include <openssl/x509.h>

#include "port/crypto/ossl.h"

/* What one COSE algorithm means (RFC 9053, 2.1 and 2.2; RFC 8230, 2). */
struct atlas_scheme {
    enum atlas_cose_alg alg;
    int key;           /* EVP_PKEY_EC, _RSA or _ED25519; RSA stands for _RSA_PSS too */
    const char *group; /* curve, by OpenSSL's name; NULL for RSA and Ed25519 */
    size_t half;       /* bytes of r and of s; 0 for RSA and Ed25519 */
    int md;            /* enum atlas_alg; ATLAS_ALG_NONE for Ed25519, which hashes by itself */
};

/* ATLAS_E_ALGORITHM unless it is of the allow-list. */
int atlas_scheme_of(int64_t cose_alg, const struct atlas_scheme **ret_scheme, struct atlas_error *error);

/* ATLAS_E_ALGORITHM unless the key has the type, curve and size that the algorithm demands. */
int atlas_scheme_fit(const struct atlas_scheme *scheme, const EVP_PKEY *key, struct atlas_error *error);

/* The algorithm that goes with this key: by its curve, PS256 for RSA; ATLAS_COSE_NONE for a key of no use. */
enum atlas_cose_alg atlas_pkey_alg(const EVP_PKEY *key);

/* Is this a key that may stand in a certificate: a point of P-256, P-384 or P-521 by name, RSA of 2048 to 8192 bits
 * with an odd exponent of at least 3, Ed25519 that is neither of small order nor non-canonical. ATLAS_E_ALGORITHM for
 * another kind or size, ATLAS_E_CREDENTIAL for a bad value. */
int atlas_pkey_check(EVP_PKEY *key, const char *where, struct atlas_error *error);

/* A DER SubjectPublicKeyInfo and nothing else; the key is checked. */
int atlas_pkey_read(struct atlas_span spki, EVP_PKEY **ret_key, struct atlas_error *error);

/* Is this one of the signature algorithms of certificates, CRLs and OCSP responses (C2PA 2.x, 14.5.1):
 * ecdsa-with-SHA256/384/512, sha256/384/512WithRSAEncryption, RSASSA-PSS with one of these hashes throughout and a salt
 * of its length, Ed25519. ATLAS_E_ALGORITHM otherwise. */
int atlas_sigalg_check(const X509_ALGOR *algorithm, const char *where, struct atlas_error *error);

#endif
