/*
 * sign.h - COSE_Sign1 over a claim, in two steps, so that the key may live anywhere:
 *
 *     prepare   claim, algorithm, chain        -> protected header and the bytes to sign
 *     (the caller signs: a PEM key, a KMS, a TPM)
 *     finish    claim, protected, signature    -> COSE_Sign1, after the signature was verified with the leaf
 *
 * Between them, if wanted: countertbs -> the bytes that an RFC 3161 authority time-stamps.
 */
#ifndef ATLAS_STAGE_SIGN_H
#define ATLAS_STAGE_SIGN_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define ATLAS_MAX_OCSP_RESPONSES 16 /* stapled to one signature */

/* Append the content of the protected header {1: alg, 33: x5chain} and the Sig_structure over it and the claim. chain
 * is DER, leaf first, root left out; it must be in order and its leaf meet the profile (ATLAS_E_CREDENTIAL), and alg
 * must fit the leaf's key (ATLAS_E_ALGORITHM): better now than after the key was used. */
ATLAS_MUST_CHECK int atlas_sign_prepare(struct atlas_span claim, int64_t cose_alg, const struct atlas_span *chain,
                                        size_t n, struct atlas_buf *ret_protected, struct atlas_buf *ret_tbs,
                                        struct atlas_error *error);

/* Append the message of a sigTst2 time-stamp: the CounterSignature structure (C2PA 2.2, 13.2.5). */
ATLAS_MUST_CHECK int atlas_sign_countertbs(struct atlas_span protected_, struct atlas_span signature,
                                           struct atlas_buf *ret_tbs, struct atlas_error *error);

/* Append the COSE_Sign1. timestamp: a TimeStampToken, p == NULL for none; ocsp: DER OCSPResponses of the leaf. What was
 * put together is read again with the verifier's reader; its signature is verified with the leaf inside it, the
 * timestamp with the certificate inside that. So a wrong key, a fault in a device or a token for other bytes is found
 * here and not by whoever receives the manifest. */
ATLAS_MUST_CHECK int atlas_sign_finish(struct atlas_span claim, struct atlas_span protected_,
                                       struct atlas_span signature, struct atlas_span timestamp,
                                       const struct atlas_span *ocsp, size_t n_ocsp, struct atlas_buf *ret_cose,
                                       struct atlas_error *error);

#endif
