/*
 * c2pa.h - the C2PA manifest store (C2PA 2.2, 11 and 10): container, labels, references, claim v2. What assertions
 * hold is read by assertion.h (C2PA's and CAWG's) and atlasml.h (Atlas' own).
 *
 * No hashing and no trust here: a view says which bytes are to be hashed (`payload`), the verifier hashes them.
 * Messages read and written share one view; lists stay encoded (struct atlas_span with the CBOR array) and are walked:
 *
 *     struct atlas_cbor list;
 *     ATLAS_TRY(atlas_cbor_open_list(&list, claim.created, "claim.created_assertions", error));
 *     while (atlas_cbor_more(&list)) {
 *         struct atlas_c2pa_link link;
 *         ATLAS_TRY(atlas_c2pa_link_take(&list, &link));
 *         ...
 *     }
 *     ATLAS_TRY(atlas_cbor_leave(&list));
 *
 * Codes: ATLAS_E_JUMBF boxes, ATLAS_E_CBOR encoding (claim.cbor.invalid, assertion.cbor.invalid), ATLAS_E_C2PA
 * well-formed but not the schema (claim.malformed, ...malformed), ATLAS_E_UNSUPPORTED recognised and outside the
 * profile, ATLAS_E_LIMIT.
 */
#ifndef ATLAS_FORMAT_C2PA_H
#define ATLAS_FORMAT_C2PA_H

#include "format/jumbf.h"
#include "port/cbor.h"

/* --------------------------------------------------------------------------------------------- manifest store */

/* View of a store: check of size (ATLAS_MAX_STORE_BYTES), of the whole box tree, of the outer superbox; nothing may
 * follow it. Walk `box.content` with atlas_jumbf_iterate: unknown superboxes are legal there and to be ignored; the
 * active manifest is the last one that is a manifest. */
struct atlas_c2pa_store {
    struct atlas_jumbf box;
    struct atlas_jumbf active; /* the last manifest superbox */
    size_t manifests;          /* how many there are, at least 1 */
};

ATLAS_MUST_CHECK int atlas_c2pa_store_read(struct atlas_span bytes, struct atlas_c2pa_store *ret_store,
                                           struct atlas_error *error);

enum atlas_c2pa_manifest_type {
    ATLAS_C2PA_NO_MANIFEST = 0, /* an unknown superbox: ignore it */
    ATLAS_C2PA_STANDARD,        /* c2ma */
    ATLAS_C2PA_UPDATE,          /* c2um */
    ATLAS_C2PA_COMPRESSED,      /* c2cm: outside the profile */
    ATLAS_C2PA_DEPRECATED,      /* c2md: outside the profile */
};

enum atlas_c2pa_manifest_type atlas_c2pa_manifest_type(const struct atlas_jumbf *superbox);

/* Why atlas_c2pa_manifest_read refused; the verifier turns it into a status code. */
enum atlas_c2pa_problem {
    ATLAS_C2PA_FINE = 0,
    ATLAS_C2PA_BAD_BOX,            /* a box inside is malformed, or the label is no manifest URN */
    ATLAS_C2PA_WRONG_TYPE,         /* compressed, deprecated or no manifest */
    ATLAS_C2PA_CLAIM_MISSING,      /* claim.missing */
    ATLAS_C2PA_CLAIM_MULTIPLE,     /* claim.multiple */
    ATLAS_C2PA_SIGNATURE_MISSING,  /* claimSignature.missing */
    ATLAS_C2PA_SIGNATURE_MULTIPLE,
    ATLAS_C2PA_ASSERTIONS_MISSING,
    ATLAS_C2PA_ASSERTIONS_MULTIPLE,
    ATLAS_C2PA_UNKNOWN_BOX,        /* a superbox that is none of the three */
};

/* View of a manifest: the three parts, each exactly once. */
struct atlas_c2pa_manifest {
    enum atlas_c2pa_manifest_type type;
    struct atlas_jumbf box;        /* label: the URN; payload: what activeManifest.hash covers */
    struct atlas_jumbf claim;
    struct atlas_jumbf signature;  /* payload: what claimSignature.hash covers */
    struct atlas_jumbf assertions; /* the assertion store */
    unsigned claim_version;        /* 1 (outside the profile) or 2 */
    struct atlas_span claim_cbor;  /* content of the claim's cbor box: the signed bytes */
    struct atlas_span cose;        /* content of the signature's cbor box */
};

/* ret_problem is written in both cases; the other output only on success. */
ATLAS_MUST_CHECK int atlas_c2pa_manifest_read(const struct atlas_jumbf *superbox,
                                              struct atlas_c2pa_manifest *ret_manifest,
                                              enum atlas_c2pa_problem *ret_problem, struct atlas_error *error);

/* urn:c2pa:<uuid>[:...], or [<vendor>:]urn:uuid:<uuid>, which older writers use. */
bool atlas_c2pa_urn_check(struct atlas_span label);

/* ------------------------------------------------------------------------------------------------- assertions */

/* The namespace of Atlas' own assertions (docs/manifest.md). */
#define ATLAS_NAMESPACE "org.atlasml"

/* What an assertion's label stands for. Every label under c2pa.hash that is not named here is a hard binding that is
 * not supported: a binding this library cannot check must never pass for no binding. */
enum atlas_c2pa_kind {
    ATLAS_C2PA_OTHER = 0, /* kept and reported, never a failure */
    ATLAS_C2PA_HASH_DATA,
    ATLAS_C2PA_HASH_COLLECTION,  /* hard binding, unsupported */
    ATLAS_C2PA_HASH_UNSUPPORTED, /* boxes, bmff, segment, anything new: hard binding, unsupported */
    ATLAS_C2PA_HASH_PART,        /* c2pa.hash.multi-asset, c2pa.hash.data.part: not a hard binding */
    ATLAS_C2PA_ACTIONS,          /* v2 */
    ATLAS_C2PA_ACTIONS_OLD,      /* any other version */
    ATLAS_C2PA_INGREDIENT,       /* v3 */
    ATLAS_C2PA_INGREDIENT_OLD,   /* any other version */
    ATLAS_C2PA_ASSET_TYPE,       /* v2 */
    ATLAS_C2PA_ATTESTATION,
    ATLAS_C2PA_CERTIFICATE_STATUS,
    ATLAS_C2PA_TIME_STAMP,
    ATLAS_C2PA_TRAINING_MINING,  /* cawg.training-mining and c2pa.training-mining */
    ATLAS_C2PA_MEASUREMENT,      /* org.atlasml.* from here */
    ATLAS_C2PA_INPUTS,
    ATLAS_C2PA_RUN,
    ATLAS_C2PA_DATA_USE,
    ATLAS_C2PA_METRICS,
    ATLAS_C2PA_COVERAGE,
};

enum atlas_c2pa_kind atlas_c2pa_kind(struct atlas_span label);

static inline bool atlas_c2pa_is_hard_binding(enum atlas_c2pa_kind kind)
{
    return kind == ATLAS_C2PA_HASH_DATA || kind == ATLAS_C2PA_HASH_COLLECTION || kind == ATLAS_C2PA_HASH_UNSUPPORTED;
}

/* A label taken apart: "c2pa.ingredient.v3__2" is base "c2pa.ingredient", version 3, instance 2; a label without .vN is
 * version 1, without __N instance 0. A suffix that is not in its only spelling (".v01", "__0") belongs to the base. */
struct atlas_c2pa_label {
    struct atlas_span base;
    uint32_t version;
    uint32_t instance;
};

struct atlas_c2pa_label atlas_c2pa_label_split(struct atlas_span label);

enum atlas_c2pa_content {
    ATLAS_C2PA_CONTENT_OTHER = 0, /* a superbox of a type unknown here; `content` holds its boxes */
    ATLAS_C2PA_CONTENT_CBOR,
    ATLAS_C2PA_CONTENT_JSON,
    ATLAS_C2PA_CONTENT_UUID,      /* 16-byte UUID and data; also what redaction by replacement leaves */
    ATLAS_C2PA_CONTENT_FILE,      /* an embedded file: `media_type` and `content` */
};

/* View of an assertion. */
struct atlas_c2pa_assertion {
    enum atlas_c2pa_kind kind;
    enum atlas_c2pa_content type;
    struct atlas_jumbf box;       /* label; payload: what the claim's hashed_uri covers */
    struct atlas_span content;    /* payload of the content box */
    struct atlas_span media_type; /* of an embedded file */
};

/* From a superbox of the assertion store. Exactly one content box, of the type that the description announces. */
ATLAS_MUST_CHECK int atlas_c2pa_assertion_read(const struct atlas_jumbf *superbox,
                                               struct atlas_c2pa_assertion *ret_assertion, struct atlas_error *error);

/* The assertion store sorted by label: duplicates refused, at most ATLAS_MAX_ASSERTIONS. Look up with
 * atlas_jumbf_index_find. */
ATLAS_MUST_CHECK int atlas_c2pa_assertions_index(const struct atlas_c2pa_manifest *manifest,
                                                 struct atlas_jumbf_index *ret_index, struct atlas_error *error);

/* The store's manifests (and ignored superboxes) sorted by URN; one URN twice is refused unless both are equal byte for
 * byte. At most ATLAS_MAX_NODES. */
ATLAS_MUST_CHECK int atlas_c2pa_manifests_index(const struct atlas_c2pa_store *store,
                                                struct atlas_jumbf_index *ret_index, struct atlas_error *error);

/* Begin to read an assertion's content, for the readers of assertion.h and atlasml.h: refuses what is not CBOR, checks
 * the document; a misfit is ATLAS_E_C2PA from here on. */
ATLAS_MUST_CHECK int atlas_c2pa_assertion_cbor(const struct atlas_c2pa_assertion *assertion, const char *where,
                                               struct atlas_cbor *ret_c, struct atlas_error *error);

/* -------------------------------------------------------------------------------------------- JUMBF references */

enum atlas_c2pa_target {
    ATLAS_C2PA_TARGET_NONE = 0,
    ATLAS_C2PA_TARGET_MANIFEST,  /* self#jumbf=/c2pa/<urn> */
    ATLAS_C2PA_TARGET_CLAIM,     /* .../c2pa.claim.v2 or c2pa.claim */
    ATLAS_C2PA_TARGET_SIGNATURE, /* .../c2pa.signature */
    ATLAS_C2PA_TARGET_ASSERTION, /* .../c2pa.assertions/<label> */
};

/* A JUMBF URI taken apart. */
struct atlas_c2pa_ref {
    enum atlas_c2pa_target target;
    struct atlas_span manifest; /* URN; p == NULL: relative, the manifest that holds the reference */
    struct atlas_span label;    /* of the assertion */
};

/* Absolute or relative; nothing else: no "..", no other path, no fragment, no query. */
ATLAS_MUST_CHECK int atlas_c2pa_ref_read(struct atlas_span uri, struct atlas_c2pa_ref *ret_ref,
                                         struct atlas_error *error);

/* Absolute when urn.p != NULL. label only for an assertion. */
void atlas_c2pa_ref_write(struct atlas_buf *b, enum atlas_c2pa_target target, struct atlas_span urn,
                          struct atlas_span label);

/* View of a hashed_uri {url, ?alg, hash} or hashed_ext_uri {url, alg, hash, ?size, ?dc:format}. */
struct atlas_c2pa_link {
    struct atlas_span url;
    struct atlas_span alg; /* p == NULL: that of the enclosing structure, else the claim's */
    struct atlas_span hash;
    bool external;         /* an http or https URL; then alg is there */
    struct atlas_cbor_uint size;
    struct atlas_span format;
};

/* Take one from a cursor; read one that was kept encoded. */
int atlas_c2pa_link_take(struct atlas_cbor *c, struct atlas_c2pa_link *ret_link);
ATLAS_MUST_CHECK int atlas_c2pa_link_read(struct atlas_span item, const char *where, struct atlas_c2pa_link *ret_link,
                                          struct atlas_error *error);
ATLAS_MUST_CHECK int atlas_c2pa_link_write(struct atlas_buf *b, const struct atlas_c2pa_link *link,
                                           struct atlas_error *error);

/* The digest that a link (or hash.data) states: its own algorithm, else `enclosing` (a name; p == NULL: none).
 * ATLAS_E_ALGORITHM for no or an unknown algorithm (algorithm.unsupported), ATLAS_E_C2PA for a hash of the wrong
 * length. */
ATLAS_MUST_CHECK int atlas_c2pa_digest(struct atlas_span alg, struct atlas_span enclosing, struct atlas_span hash,
                                       const char *where, struct atlas_digest *ret_digest, struct atlas_error *error);

/* --------------------------------------------------------------------------------------------------- claim v2 */

struct atlas_c2pa_claim {
    struct atlas_span instance_id;
    struct atlas_span generator;         /* claim_generator_info, the encoded map */
    struct atlas_span generator_name;    /* read from it; not written */
    struct atlas_span generator_version; /* p == NULL: absent, like the two that follow */
    struct atlas_span generator_spec;
    struct atlas_span generator_system;
    struct atlas_span signature;         /* JUMBF URI */
    struct atlas_span created;           /* encoded array of links, at least one */
    struct atlas_span gathered;          /* p == NULL: absent */
    struct atlas_span redacted;          /* encoded array of text, absolute JUMBF URIs; p == NULL: absent */
    struct atlas_span alg;               /* name; p == NULL: absent */
    struct atlas_span title;             /* dc:title */
};

/* Only a claim v2 (manifest->claim_version 1: ATLAS_E_UNSUPPORTED). Every entry of the lists is checked to be a link,
 * or text; together at most ATLAS_MAX_ASSERTIONS links and ATLAS_MAX_REDACTIONS redactions. */
ATLAS_MUST_CHECK int atlas_c2pa_claim_read(const struct atlas_c2pa_manifest *manifest,
                                           struct atlas_c2pa_claim *ret_claim, struct atlas_error *error);
ATLAS_MUST_CHECK int atlas_c2pa_claim_write(struct atlas_buf *b, const struct atlas_c2pa_claim *claim,
                                            struct atlas_error *error);

/* The claim's bytes without its links to c2pa.attestation assertions: what hardware evidence is bound to, since it
 * cannot be bound to itself (C2PA Attestations 1.4). Everything else stays byte for byte. */
ATLAS_MUST_CHECK int atlas_c2pa_claim_partial(struct atlas_span claim_cbor, const struct atlas_c2pa_claim *claim,
                                              struct atlas_buf *ret_partial, struct atlas_error *error);

/* The claim's bytes with one more link (encoded) at the end of created_assertions. */
ATLAS_MUST_CHECK int atlas_c2pa_claim_extend(struct atlas_span claim_cbor, const struct atlas_c2pa_claim *claim,
                                             struct atlas_span link, struct atlas_buf *ret_extended,
                                             struct atlas_error *error);

/* ------------------------------------------------------------------------------------------------ box writing */

/* An assertion superbox with salt (p == NULL: none) around CBOR; ret_payload: what the claim's link hashes, valid until
 * the next append. A whole manifest is atlas_jumbf_open(ATLAS_C2PA_4CC_...) around these. */
ATLAS_MUST_CHECK int atlas_c2pa_assertion_write(struct atlas_buf *b, struct atlas_span label, struct atlas_span salt,
                                                struct atlas_span cbor, struct atlas_span *ret_payload,
                                                struct atlas_error *error);

/* A superbox with one cbor box: the claim ("c2pa.claim.v2") or the signature ("c2pa.signature"). */
ATLAS_MUST_CHECK int atlas_c2pa_part_write(struct atlas_buf *b, uint32_t kind, struct atlas_span label,
                                           struct atlas_span cbor, struct atlas_error *error);

/* C2PA 2.2, 11.1.4: superbox kinds and labels. */
#define ATLAS_C2PA_4CC_STORE ATLAS_JUMBF_4CC('c', '2', 'p', 'a')
#define ATLAS_C2PA_4CC_STANDARD ATLAS_JUMBF_4CC('c', '2', 'm', 'a')
#define ATLAS_C2PA_4CC_UPDATE ATLAS_JUMBF_4CC('c', '2', 'u', 'm')
#define ATLAS_C2PA_4CC_COMPRESSED ATLAS_JUMBF_4CC('c', '2', 'c', 'm')
#define ATLAS_C2PA_4CC_DEPRECATED ATLAS_JUMBF_4CC('c', '2', 'm', 'd')
#define ATLAS_C2PA_4CC_ASSERTIONS ATLAS_JUMBF_4CC('c', '2', 'a', 's')
#define ATLAS_C2PA_4CC_CLAIM ATLAS_JUMBF_4CC('c', '2', 'c', 'l')
#define ATLAS_C2PA_4CC_SIGNATURE ATLAS_JUMBF_4CC('c', '2', 'c', 's')

#define ATLAS_C2PA_LABEL_STORE ATLAS_LIT("c2pa")
#define ATLAS_C2PA_LABEL_CLAIM ATLAS_LIT("c2pa.claim.v2")
#define ATLAS_C2PA_LABEL_CLAIM_V1 ATLAS_LIT("c2pa.claim")
#define ATLAS_C2PA_LABEL_SIGNATURE ATLAS_LIT("c2pa.signature")
#define ATLAS_C2PA_LABEL_ASSERTIONS ATLAS_LIT("c2pa.assertions")

#endif
