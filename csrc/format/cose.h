/*
 * cose.h - COSE_Sign1 (RFC 9052, 4.2) with a certificate chain (RFC 9360), as C2PA 2.2, 13.2 profiles it: reader, the
 * bytes that are signed, writer. No cryptography here.
 */
#ifndef ATLAS_FORMAT_COSE_H
#define ATLAS_FORMAT_COSE_H

#include "base/alg.h"
#include "port/cbor.h"

/* View of a COSE_Sign1. */
struct atlas_cose_sign1 {
    int64_t alg;                    /* any integer: whether it is allowed is for the verifier to say */
    size_t certificates;            /* how many x5chain holds, at most ATLAS_MAX_CERTIFICATES; 0: no x5chain */
    struct atlas_span x5chain;      /* encoded: bstr or array of bstr; walk it with atlas_cose_certificate */
    struct atlas_span protected_;   /* content of the protected bstr: part of what is signed */
    struct atlas_span payload;      /* p == NULL: nil, detached */
    struct atlas_span signature;    /* content of the signature bstr */
    struct atlas_span timestamp;    /* sigTst2: DER TimeStampToken; p == NULL: none */
    struct atlas_span timestamp_v1; /* sigTst: DER TimeStampResp, of claims v1; p == NULL: none */
    bool has_other_unprotected;     /* a label that C2PA does not know, or padding that is not zeros */
    struct atlas_span ocsp;         /* rVals.ocspVals: encoded array of bstr (DER OCSPResponse); p == NULL: none */
};

/* Any tagged COSE_Sign1. Refused: no tag 18, alg missing, unprotected or (ATLAS_E_ALGORITHM) not an integer, `crit`, a
 * label in both buckets, x5chain unprotected or under both of its labels (33 and the older "x5chain"). */
ATLAS_MUST_CHECK int atlas_cose_read(struct atlas_span bytes, struct atlas_cose_sign1 *ret_sign1,
                                     struct atlas_error *error);

/* The signature of a claim: also refused are a payload that is not nil, no x5chain, an empty signature, and anything
 * unsigned that C2PA does not know. */
ATLAS_MUST_CHECK int atlas_cose_claim_signature_read(struct atlas_span bytes, struct atlas_cose_sign1 *ret_sign1,
                                                     struct atlas_error *error);

/* Certificate i of x5chain, leaf first, i < sign1->certificates. */
ATLAS_MUST_CHECK int atlas_cose_certificate(const struct atlas_cose_sign1 *sign1, size_t i,
                                            struct atlas_span *ret_der, struct atlas_error *error);

/* ---------------------------------------------------------------------------------- the bytes that are signed */

/* Sig_structure (RFC 9052, 4.4): ["Signature1", protected, external aad, payload]. */
void atlas_cose_write_sig_structure(struct atlas_buf *b, struct atlas_span protected_, struct atlas_span external_aad,
                                    struct atlas_span payload);

/* What a sigTst2 time-stamp covers (C2PA 2.2, 13.2.5): ["CounterSignature", protected, h'', S], S being the encoded
 * signature bstr, wrapped once more. */
void atlas_cose_write_countersignature(struct atlas_buf *b, struct atlas_span protected_, struct atlas_span signature);

/* What a sigTst time-stamp covers: ["CounterSignature", protected, h'', claim bytes]. */
void atlas_cose_write_countersignature_v1(struct atlas_buf *b, struct atlas_span protected_, struct atlas_span payload);

/* ---------------------------------------------------------------------------------------------- writing */

/* Content of the protected bstr: {1: alg, 33: x5chain}, leaf first, at least one certificate. */
ATLAS_MUST_CHECK int atlas_cose_write_protected(struct atlas_buf *b, int64_t alg, const struct atlas_span *certificates,
                                                size_t n, struct atlas_error *error);

/* 18([protected, unprotected, nil, signature]). timestamp: a DER TimeStampToken, p == NULL for none; ocsp: n_ocsp DER
 * responses. */
ATLAS_MUST_CHECK int atlas_cose_write(struct atlas_buf *b, struct atlas_span protected_, struct atlas_span signature,
                                      struct atlas_span timestamp, const struct atlas_span *ocsp, size_t n_ocsp,
                                      struct atlas_error *error);

#endif
