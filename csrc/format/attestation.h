/*
 * attestation.h - c2pa.attestation (C2PA Attestations 1.4): hardware evidence and what it is bound to. The types, and
 * the members beyond the specification's, are Atlas' own; docs/manifest.md has the schema.
 */
#ifndef ATLAS_FORMAT_ATTESTATION_H
#define ATLAS_FORMAT_ATTESTATION_H

#include "format/c2pa.h"

#define ATLAS_LABEL_ATTESTATION ATLAS_LIT("c2pa.attestation")

#define ATLAS_MAX_ATTESTED_COLLATERAL 16 /* files of collateral in one assertion */

/* What the hardware vouches for: the digest of its encoding is the evidence's report data. Two modes: artifact (a
 * partial claim and a nonce) and session (a run and no claim). */
struct atlas_attestation_binding {
    struct atlas_span partial; /* SHA-256 of the partial claim; p == NULL: session mode */
    struct atlas_span pub_key; /* SubjectPublicKeyInfo of the claim's signer */
    struct atlas_span created; /* RFC 3339 */
    struct atlas_span nonce;   /* artifact mode only */
    struct atlas_span run;     /* session mode only: the id of the run */
};

struct atlas_attestation {
    struct atlas_span type; /* "org.atlasml.tdx", ... */
    struct atlas_attestation_binding binding;
    struct atlas_span results;    /* the evidence, as the hardware gave it */
    struct atlas_span collateral; /* encoded array of byte strings; p == NULL: none */
    struct atlas_span event_log;  /* CCEL; p == NULL: none */
    struct atlas_span runtime_log; /* the lines that RTMR3 was extended with; p == NULL: none */
};

/* ATLAS_E_C2PA for one that mixes the modes, ATLAS_E_LIMIT for too much collateral. */
ATLAS_MUST_CHECK int atlas_attestation_read(const struct atlas_c2pa_assertion *assertion,
                                            struct atlas_attestation *ret_attestation, struct atlas_error *error);

/* attestation-tbs in its one form (deterministic CBOR). */
ATLAS_MUST_CHECK int atlas_attestation_binding_write(struct atlas_buf *b,
                                                     const struct atlas_attestation_binding *binding,
                                                     struct atlas_error *error);

/* `binding` is what atlas_attestation_binding_write appended; it takes the place of attestation->binding. */
ATLAS_MUST_CHECK int atlas_attestation_write(struct atlas_buf *b, const struct atlas_attestation *attestation,
                                             struct atlas_span binding, struct atlas_error *error);

#endif
