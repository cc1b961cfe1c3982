/*
 * tpm_attest.h - what a TPM 2.0 signs and with what, as views (TCG Trusted Platform Module Library, Part 2: structures,
 * "the Library"). All integers big endian; every length exact; nothing behind the structure. Nothing is verified here.
 */
#ifndef ATLAS_FORMAT_TPM_ATTEST_H
#define ATLAS_FORMAT_TPM_ATTEST_H

#include "base/error.h"
#include "base/span.h"

#define ATLAS_TPM_PCRS 24
#define ATLAS_TPM_MAX_BANKS 4

/* The Library, 6.3: TPM_ALG_ID. */
enum atlas_tpm_alg {
    ATLAS_TPM_RSA = 0x0001,
    ATLAS_TPM_SHA1 = 0x0004,
    ATLAS_TPM_AES = 0x0006,
    ATLAS_TPM_SHA256 = 0x000B,
    ATLAS_TPM_SHA384 = 0x000C,
    ATLAS_TPM_SHA512 = 0x000D,
    ATLAS_TPM_NULL = 0x0010,
    ATLAS_TPM_RSASSA = 0x0014,
    ATLAS_TPM_RSAPSS = 0x0016,
    ATLAS_TPM_ECDSA = 0x0018,
    ATLAS_TPM_ECC = 0x0023,
    ATLAS_TPM_CFB = 0x0043,
};

/* enum atlas_alg of a hash of the profile; ATLAS_ALG_NONE for SHA-1 and everything else. */
enum atlas_alg atlas_tpm_hash(uint16_t tpm_alg);

/* ------------------------------------------------------------------------------------------- TPMS_ATTEST */

/* 6.9: TPM_ST */
enum atlas_tpm_attest_type {
    ATLAS_TPM_ATTEST_NV = 0x8014,
    ATLAS_TPM_ATTEST_CERTIFY = 0x8017,
    ATLAS_TPM_ATTEST_QUOTE = 0x8018,
    ATLAS_TPM_ATTEST_NV_DIGEST = 0x801C,
};

struct atlas_tpm_selection { /* 10.6.2: TPMS_PCR_SELECTION */
    uint16_t hash;
    uint32_t pcrs; /* bit n: PCR n */
};

struct atlas_tpm_attest { /* 10.12.12 */
    uint16_t type;
    struct atlas_span whole;
    struct atlas_span signer; /* qualified name of the signing key */
    struct atlas_span extra;  /* qualifying data */
    uint64_t clock;           /* milliseconds */
    uint32_t resets;
    uint32_t restarts;
    bool safe; /* the clock never went back */
    uint64_t firmware;
    size_t n_banks; /* quote */
    struct atlas_tpm_selection banks[ATLAS_TPM_MAX_BANKS];
    struct atlas_span pcr_digest;
    struct atlas_span name;   /* certify: of the object; NV: of the index */
    uint16_t offset;          /* NV */
    struct atlas_span value;  /* NV: contents; NV digest: digest of the contents; certify: qualified name */
};

/* ATLAS_E_EVIDENCE: not the format. ATLAS_E_UNSUPPORTED: another type than the four above. */
int atlas_tpm_attest_read(struct atlas_span bytes, struct atlas_tpm_attest *ret_attest,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* Is PCR n of this bank quoted? */
bool atlas_tpm_selected(const struct atlas_tpm_selection *bank, unsigned n);

/* ------------------------------------------------------------------------------------------- TPMT_PUBLIC */

/* 8.3: TPMA_OBJECT */
#define ATLAS_TPM_FIXED_TPM (1u << 1)
#define ATLAS_TPM_FIXED_PARENT (1u << 4)
#define ATLAS_TPM_SENSITIVE_ORIGIN (1u << 5)
#define ATLAS_TPM_RESTRICTED (1u << 16)
#define ATLAS_TPM_DECRYPT (1u << 17)
#define ATLAS_TPM_SIGN (1u << 18)

struct atlas_tpm_public { /* 12.2.4; RSA and ECC keys */
    struct atlas_span whole;
    uint16_t type;
    uint16_t name_hash;
    uint32_t attributes;
    uint16_t scheme; /* ATLAS_TPM_NULL: the user chooses */
    uint16_t scheme_hash;
    uint16_t symmetric;      /* of a storage key; ATLAS_TPM_NULL: none */
    uint16_t symmetric_bits;
    uint16_t bits;     /* RSA */
    uint32_t exponent; /* RSA; 0 stands for 65537 */
    struct atlas_span modulus;
    uint16_t curve; /* ECC: TPM_ECC_CURVE, 3 P-256, 4 P-384 */
    struct atlas_span x;
    struct atlas_span y;
};

int atlas_tpm_public_read(struct atlas_span bytes, struct atlas_tpm_public *ret_public,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* ---------------------------------------------------------------------------------------- TPMT_SIGNATURE */

struct atlas_tpm_signature { /* 11.3.4 */
    uint16_t scheme;
    uint16_t hash;
    struct atlas_span rsa;
    struct atlas_span r;
    struct atlas_span s;
};

/* ATLAS_E_UNSUPPORTED: neither RSASSA nor RSAPSS nor ECDSA. */
int atlas_tpm_signature_read(struct atlas_span bytes, struct atlas_tpm_signature *ret_signature,
                             struct atlas_error *error) ATLAS_MUST_CHECK;

/* ---------------------------------------------------------------------------------------- TPMS_NV_PUBLIC */

/* 13.2: TPMA_NV */
#define ATLAS_TPM_NV_TYPE_MASK 0xF0u
#define ATLAS_TPM_NV_EXTEND 0x40u
#define ATLAS_TPM_NV_WRITTEN (1u << 29)

struct atlas_tpm_nv { /* 13.5 */
    struct atlas_span whole;
    uint32_t index;
    uint16_t name_hash;
    uint32_t attributes;
    struct atlas_span policy;
    uint16_t size;
};

int atlas_tpm_nv_read(struct atlas_span bytes, struct atlas_tpm_nv *ret_nv, struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
