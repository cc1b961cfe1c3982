/*
 * tpm.h - a TPM 2.0 at work: keys, quotes, PCRs, NV indices, credential activation. Structures come and go as the bytes
 * that format/tpm_attest.h reads; nothing here decides whether they are true.
 *
 * TCG's software stack (libtss2: ESAPI) is loaded when the first TPM is opened, so everything else works without it.
 *   ATLAS_E_UNSUPPORTED  libtss2 is not installed, or too old; the text names the package
 *   ATLAS_E_NOT_FOUND    no TPM there, or no such NV index or handle
 *   ATLAS_E_IO           the TPM refused, with its reason
 * Every key and session is flushed again before its function returns, at the latest by atlas_tpm_close. One thread at a
 * time. Keys are primary keys: made anew from the TPM's own seed each time, so that nothing secret lies on the disk.
 */
#ifndef ATLAS_PORT_TPM_H
#define ATLAS_PORT_TPM_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

struct atlas_tpm; /* owner */

/* tcti: which TPM, as libtss2 writes it: "device:/dev/tpmrm0", "swtpm:host=127.0.0.1,port=2321". */
int atlas_tpm_open(const char *tcti, struct atlas_tpm **ret_tpm, struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_tpm_close(struct atlas_tpm *tpm); /* also NULL */

enum atlas_tpm_role {
    ATLAS_TPM_ROLE_AK = 1,     /* attests: restricted, ECDSA with P-256 and SHA-256, endorsement hierarchy */
    ATLAS_TPM_ROLE_SIGNER = 2, /* signs what it is given, the same algorithms, owner hierarchy */
    ATLAS_TPM_ROLE_EK = 3,     /* TCG EK Credential Profile, template L-1: RSA 2048 */
};

/* Make the key the one that the functions below use. unique: up to 32 bytes that tell one key of a role from another;
 * whoever has them and the TPM can make the key again. Appends the TPMT_PUBLIC. */
int atlas_tpm_make_key(struct atlas_tpm *tpm, enum atlas_tpm_role role, struct atlas_span unique,
                       struct atlas_buf *ret_public, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The same for a key that stays in the TPM under this handle. */
int atlas_tpm_use_handle(struct atlas_tpm *tpm, uint32_t handle, struct atlas_buf *ret_public,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

/* The signature (TPMT_SIGNATURE) of a SHA-256 digest, by a signer. */
int atlas_tpm_sign(struct atlas_tpm *tpm, struct atlas_span digest, struct atlas_buf *ret_signature,
                   struct atlas_error *error) ATLAS_MUST_CHECK;

/* Quote the PCRs (bit n: PCR n) of one bank (TPM_ALG_ID). */
int atlas_tpm_quote(struct atlas_tpm *tpm, uint16_t bank, uint32_t pcrs, struct atlas_span qualifying,
                    struct atlas_buf *ret_attest, struct atlas_buf *ret_signature,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append their values, in order. */
int atlas_tpm_read_pcrs(struct atlas_tpm *tpm, uint16_t bank, uint32_t pcrs, struct atlas_buf *ret_values,
                        struct atlas_error *error) ATLAS_MUST_CHECK;

/* NV indices: define one that can only be extended; take it away; its TPMS_NV_PUBLIC; its contents. */
int atlas_tpm_nv_define(struct atlas_tpm *tpm, uint32_t index, struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_tpm_nv_undefine(struct atlas_tpm *tpm, uint32_t index, struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_tpm_nv_public(struct atlas_tpm *tpm, uint32_t index, struct atlas_buf *ret_public,
                        struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_tpm_nv_contents(struct atlas_tpm *tpm, uint32_t index, struct atlas_buf *ret_contents,
                          struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_tpm_nv_extend(struct atlas_tpm *tpm, uint32_t index, struct atlas_span data,
                        struct atlas_error *error) ATLAS_MUST_CHECK;

/* The contents of the whole index, certified by the key in use. */
int atlas_tpm_nv_certify(struct atlas_tpm *tpm, uint32_t index, struct atlas_span qualifying,
                         struct atlas_buf *ret_attest, struct atlas_buf *ret_signature,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

/* TPM2_ActivateCredential with the key in use and the endorsement key: the secret of atlas_credential_make. */
int atlas_tpm_activate(struct atlas_tpm *tpm, struct atlas_span object, struct atlas_span encrypted,
                       struct atlas_buf *ret_secret, struct atlas_error *error) ATLAS_MUST_CHECK;

struct atlas_tpm_facts { /* what the TPM says of itself */
    uint32_t manufacturer;
    char vendor[17];
    uint64_t firmware;
};

int atlas_tpm_read_facts(struct atlas_tpm *tpm, struct atlas_tpm_facts *ret_facts,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
