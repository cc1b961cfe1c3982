/*
 * claim.h - what was done, as a C2PA claim: salted assertions, ingredients, actions (docs/manifest.md, "Claim").
 *
 *     atlas_claim_build(spec, &claim)      assertion store and claim bytes
 *     atlas_claim_attest(claim, ..)        one more assertion: hardware evidence that is bound to the rest
 *     ... stage/sign.h signs claim.cbor ...
 *     atlas_claim_seal(urn, ..., cose)     the manifest store: ancestors, then this manifest
 */
#ifndef ATLAS_STAGE_CLAIM_H
#define ATLAS_STAGE_CLAIM_H

#include "format/assertion.h"
#include "format/atlasml.h"

/* An input: embedded (manifest.p), referred to by the hash of its sidecar (url.p), or neither: unknown provenance. */
struct atlas_claim_ingredient {
    int relationship; /* enum atlas_c2pa_relationship */
    struct atlas_span title;
    struct atlas_span format;

    struct atlas_span manifest; /* superbox of the input's active manifest */
    const struct atlas_c2pa_status *validated; /* what our own verifier saw of it; at least claimSignature.validated */
    size_t n_validated;

    struct atlas_span urn; /* of the manifest that is referred to */
    struct atlas_span url;
    struct atlas_digest sidecar;
    uint64_t sidecar_bytes;
};

struct atlas_claim_assertion {
    struct atlas_span label;
    struct atlas_span cbor;
};

struct atlas_claim_spec {
    struct atlas_span urn;
    struct atlas_span instance_id;
    struct atlas_span generator; /* claim_generator_info, encoded map */
    struct atlas_span asset_name;
    struct atlas_digest binding; /* flat digest of the asset */
    const struct atlas_claim_ingredient *ingredients;
    size_t n_ingredients;
    struct atlas_span digital_source_type; /* of c2pa.created */
    struct atlas_span when;                /* RFC 3339 */
    struct atlas_span step;                /* name of the pipeline step; p == NULL: none */
    struct atlas_span asset_type;          /* content of c2pa.asset-type.v2 */
    const struct atlas_claim_assertion *assertions; /* further ones, in order */
    size_t n_assertions;
};

/* Owner: release it. */
struct atlas_claim {
    struct atlas_buf assertions; /* superboxes of the assertion store */
    struct atlas_buf cbor;       /* the claim: what is signed */
};

#define ATLAS_CLAIM_INIT ((struct atlas_claim){ATLAS_BUF_INIT, ATLAS_BUF_INIT})

/* ATLAS_E_ARG for a spec that contradicts itself, ATLAS_E_C2PA or _JUMBF for an ingredient's manifest that is none. */
ATLAS_MUST_CHECK int atlas_claim_build(const struct atlas_claim_spec *spec, struct atlas_claim *ret_claim,
                                       struct atlas_error *error);
void atlas_claim_release(struct atlas_claim *claim);

/* One more assertion, made after the claim because it speaks of it: hardware evidence (c2pa.attestation, nothing else).
 * What it is bound to is the claim before (stage/attest.h binds evidence to it). */
ATLAS_MUST_CHECK int atlas_claim_attest(struct atlas_span assertions, struct atlas_span claim, struct atlas_span cbor,
                                        struct atlas_claim *ret_claim, struct atlas_error *error);

/* Append the manifest store: the ancestors' superboxes as they are, then the manifest. */
ATLAS_MUST_CHECK int atlas_claim_seal(struct atlas_span urn, struct atlas_span assertions, struct atlas_span claim,
                                      struct atlas_span cose, const struct atlas_span *ancestors, size_t n_ancestors,
                                      struct atlas_buf *ret_store, struct atlas_error *error);

#endif
