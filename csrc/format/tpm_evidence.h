/*
 * tpm_evidence.h - the container in which evidence of a TPM travels: one CBOR map. A TPM hands out its parts one
 * by one, so a container is needed; it is nobody's standard and carries no trust. Nothing is verified here.
 *
 *     atlas   "tpm-evidence"         v       1
 *     ak      TPMT_PUBLIC            quote   TPMS_ATTEST         sig     TPMT_SIGNATURE
 *     pcrs    the PCR values that the quote is a digest of, one after the other in its order
 *     chain   certificates of the attestation key, leaf first (optional)
 *     nv      {public, certify, sig, log, initial}: the run-time log and the index that it was extended into (optional)
 *     events  the event log of the firmware (optional)
 *     tee     {hcl, quote}: Azure's HCL report and the TDX quote for it (optional)
 *     tpm     {manufacturer, vendor, firmware}: what the TPM says of itself; signed by nobody (optional)
 */
#ifndef ATLAS_FORMAT_TPM_EVIDENCE_H
#define ATLAS_FORMAT_TPM_EVIDENCE_H

#include "base/error.h"
#include "base/span.h"
#include "format/tpm_attest.h"

#define ATLAS_MAX_TPM_EVIDENCE_BYTES (8u << 20)
#define ATLAS_MAX_TPM_CERTIFICATES 8

struct atlas_tpm_nv_evidence { /* public.p == NULL: none */
    struct atlas_span public;
    struct atlas_span certify;
    struct atlas_span signature;
    struct atlas_span log;
    struct atlas_span initial; /* the value that the log starts from; p == NULL: zeros */
};

struct atlas_tpm_evidence {
    struct atlas_span ak;
    struct atlas_span quote;
    struct atlas_span signature;
    struct atlas_span pcrs;
    size_t n_chain;
    struct atlas_span chain[ATLAS_MAX_TPM_CERTIFICATES];
    struct atlas_tpm_nv_evidence nv;
    struct atlas_span events;    /* p == NULL: none */
    struct atlas_span hcl;       /* p == NULL: no Azure machine */
    struct atlas_span tee_quote; /* p == NULL: inside the HCL report (SEV-SNP), or none */
    struct atlas_span manufacturer; /* text */
    struct atlas_span vendor;       /* text */
    struct atlas_span firmware;     /* text */
};

/* ATLAS_E_EVIDENCE: not the format; ATLAS_E_CBOR: not CBOR at all; ATLAS_E_LIMIT: too large. */
int atlas_tpm_evidence_read(struct atlas_span bytes, struct atlas_tpm_evidence *ret_evidence,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
