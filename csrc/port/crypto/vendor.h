/*
 * vendor.h - what hardware evidence asks of X.509: paths to a vendor's pinned root at a given time, its CRLs, and the
 * extensions that say which processor a certificate belongs to. No OpenSSL type crosses this header; the rules of
 * crypto.h hold here too.
 *
 * A vendor's root is pinned by the SHA-256 of its DER. The certificate itself comes with the evidence or its
 * collateral.
 */
#ifndef ATLAS_PORT_CRYPTO_VENDOR_H
#define ATLAS_PORT_CRYPTO_VENDOR_H

#include "port/crypto/crypto.h"

/* --------------------------------------------------------------------------------------------------- paths */

struct atlas_pin {
    const char *name; /* of the root, for people */
    uint8_t sha256[32];
};

struct atlas_pki; /* CRLs of one vendor; owner. Remembers parsed certificates: one thread at a time */

int atlas_pki_new(struct atlas_pki **ret_pki, struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_pki_free(struct atlas_pki *pki);

/* Add a CRL as DER, as hexadecimal text of DER, or any number of them as PEM. The same list again is passed over; two
 * different lists of one issuer are refused (ATLAS_E_X509), because which one speaks would depend on their order. */
int atlas_pki_add_crls(struct atlas_pki *pki, struct atlas_span bytes, struct atlas_error *error) ATLAS_MUST_CHECK;
size_t atlas_pki_crls(const struct atlas_pki *pki);

enum atlas_pki_flags {
    ATLAS_PKI_STRICT = 1,     /* RFC 5280 to the letter (X509_V_FLAG_X509_STRICT) */
    ATLAS_PKI_REVOCATION = 2, /* a CRL must speak for every certificate of the path (ATLAS_E_NOT_FOUND otherwise) */
};

struct atlas_pki_path {
    size_t length;               /* certificates, root included */
    size_t pin;                  /* index of the root's pin */
    struct atlas_digest root;    /* SHA-256 of the root's DER */
    int64_t not_before;          /* all certificates of the path are valid from ... */
    int64_t not_after;           /* ... to ..., both included */
    size_t uncovered;            /* certificates below the root that no CRL spoke for */
    int64_t crl_this_update;     /* latest of the CRLs that spoke; INT64_MIN without any */
    int64_t crl_next_update; /* earliest; INT64_MAX without any. May lie before `time`: the caller judges freshness */
};

/* Does this chain (DER certificates one after the other, leaf first) lead to a pinned root at `time`?
 *   ATLAS_E_CHAIN     no path, a bad signature, or no pinned root among the certificates
 *   ATLAS_E_EXPIRED   a certificate is not valid at `time`, or a CRL was issued after it
 *   ATLAS_E_REVOKED   a CRL lists a certificate of the path
 *   ATLAS_E_NOT_FOUND ATLAS_PKI_REVOCATION, and a CRL is missing
 *   ATLAS_E_ALGORITHM, ATLAS_E_CREDENTIAL, ATLAS_E_X509 as in crypto.h */
int atlas_pki_check(struct atlas_pki *pki, struct atlas_span chain, const struct atlas_pin *pins, size_t n_pins,
                    int64_t time, unsigned flags, const char *where, struct atlas_pki_path *ret_path,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

/* ----------------------------------------------------------------------- certificates without parsing all of them */

/* OpenSSL takes most of its time for the public keys of certificates. What only has to be found or compared is cut out
 * of the DER; atlas_pki_check judges. */

/* Append the DER certificates of a PEM text. ATLAS_E_X509: none, a damaged block, or a block of another kind. */
int atlas_pem_split(struct atlas_span pem, struct atlas_buf *ret_ders, struct atlas_error *error) ATLAS_MUST_CHECK;

struct atlas_outline {
    struct atlas_span issuer; /* Name, DER */
    struct atlas_span subject;
    struct atlas_span spki;
};

/* ATLAS_E_X509: not the form of one DER certificate. */
int atlas_outline_read(struct atlas_span der, struct atlas_outline *ret_outline,
                       struct atlas_error *error) ATLAS_MUST_CHECK;

/* Does the name have exactly one common name, and does that hold this phrase? */
bool atlas_name_holds(struct atlas_span name, const char *phrase);

/* ECDSA by a P-256 key: x || y of 64 bytes, or a SubjectPublicKeyInfo. The signature is r || s. Codes of
 * atlas_signature_verify. */
int atlas_p256_verify(struct atlas_span key, struct atlas_span tbs, struct atlas_span signature,
                      struct atlas_error *error) ATLAS_MUST_CHECK;

/* ---------------------------------------------------------------------------------------------- extensions */

/* The content of the extension with this OID (the content octets of its DER), borrowed from the certificate.
 * ATLAS_E_NOT_FOUND: there is none. ATLAS_E_X509: it stands there twice, or this is no certificate. */
int atlas_certificate_extension(struct atlas_span der, struct atlas_span oid, struct atlas_span *ret_value,
                                struct atlas_error *error) ATLAS_MUST_CHECK;

/* Intel SGX PCK Certificate and CRL Profile, 1.3.5: the SGX extension of a PCK certificate. */
struct atlas_pck {
    uint8_t ppid[16];
    uint8_t svn[16]; /* TCB components 1 to 16 */
    uint16_t pcesvn;
    uint8_t cpusvn[16];
    uint8_t pceid[2];
    uint8_t fmspc[6];
    uint8_t sgx_type; /* 0 standard, 1 scalable, 2 scalable with integrity */
    bool platform;    /* issued by the platform CA: the fields below are there */
    uint8_t platform_instance_id[16];
    int8_t dynamic_platform; /* 0, 1; -1: not said */
    int8_t cached_keys;
    int8_t smt;
};

int atlas_pck_read(struct atlas_span der, struct atlas_pck *ret_pck, struct atlas_error *error) ATLAS_MUST_CHECK;

/* AMD VCEK Certificate and KDS Interface Specification, 3.1: the extensions of a VCEK or VLEK certificate. */
struct atlas_vcek {
    char product[24];         /* "Milan-B0" */
    int16_t bl, tee, snp, ucode, fmc; /* security patch levels; fmc -1 where the product has none */
    struct atlas_span hwid;   /* 64 bytes, 8 on Turin; p == NULL for a VLEK */
    struct atlas_span csp_id; /* VLEK: the cloud provider; p == NULL for a VCEK */
};

int atlas_vcek_read(struct atlas_span der, struct atlas_vcek *ret_vcek, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The SHA-384 digest of the firmware in extension 2.23.133.5.4.1: a CompositeDeviceID (NVIDIA's Hopper) or a TCG DICE
 * TcbInfo (later parts). 48 bytes, borrowed. */
int atlas_fwid_read(struct atlas_span der, struct atlas_span *ret_fwid, struct atlas_error *error) ATLAS_MUST_CHECK;

/* ------------------------------------------------------------------------------------------------- TPM 2.0 */

/* Append the SubjectPublicKeyInfo of a key that came as numbers: a point of P-256 or P-384 (`half` is 32 or 48, shorter
 * numbers are filled up with zeros), or an RSA modulus with its exponent. The key is checked as in crypto.h. */
int atlas_spki_from_point(size_t half, struct atlas_span x, struct atlas_span y, struct atlas_buf *ret_spki,
                          struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_spki_from_rsa(struct atlas_span modulus, uint32_t exponent, struct atlas_buf *ret_spki,
                        struct atlas_error *error) ATLAS_MUST_CHECK;

/* RSASSA is outside the profile of claims: TPMs sign with it, claims never. */
enum atlas_tpm_form { ATLAS_FORM_RSASSA = 1, ATLAS_FORM_RSAPSS = 2, ATLAS_FORM_ECDSA = 3 };

/* Codes of atlas_signature_verify. alg is an enum atlas_alg; ECDSA signatures are r || s. */
int atlas_tpm_verify(enum atlas_tpm_form form, int alg, struct atlas_span spki, struct atlas_span tbs,
                     struct atlas_span signature, struct atlas_error *error) ATLAS_MUST_CHECK;

/* TCG EK Credential Profile 2.3, 3.1.2: what the subject's alternative name says about the TPM; "" where it is silent.
 */
struct atlas_tpm_names {
    char manufacturer[24]; /* "id:494E5443" */
    char model[64];
    char version[24];
};

int atlas_tpm_names_read(struct atlas_span der, struct atlas_tpm_names *ret_names,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

/* Is the certificate for keys of that kind and for nothing else, by its extended key usage (tcg-kp-EKCertificate,
 * tcg-kp-AIKCertificate: 2.23.133.8.1 and 3)? */
enum atlas_tpm_usage { ATLAS_USAGE_EK = 1, ATLAS_USAGE_AK = 3 };
int atlas_tpm_usage_check(struct atlas_span der, enum atlas_tpm_usage usage,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* The Library, Part 1, 24: TPM2_MakeCredential in software, for an RSA endorsement key of the default template
 * (SHA-256, AES-128-CFB). Only the TPM that holds both that key and an object of this name gives `secret` back.
 * Appends the TPM2B_ID_OBJECT and the TPM2B_ENCRYPTED_SECRET, both without their size. */
int atlas_credential_make(struct atlas_span ek_spki, struct atlas_span name, struct atlas_span secret,
                          struct atlas_buf *ret_object, struct atlas_buf *ret_encrypted,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* Issue a certificate for an attestation key under a CA (both PEM); the names are copied into it. Appends PEM. */
struct atlas_ak_request {
    struct atlas_span ca;     /* PEM, one certificate */
    struct atlas_span ca_key; /* PEM */
    struct atlas_span spki;
    struct atlas_span name; /* common name */
    const struct atlas_tpm_names *names;
    unsigned years;
};

int atlas_ak_issue(const struct atlas_ak_request *request, struct atlas_buf *ret_pem,
                   struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
