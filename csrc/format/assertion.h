/*
 * assertion.h - contents of the assertions that C2PA 2.2 and CAWG define and Atlas reads: c2pa.hash.data,
 * c2pa.ingredient.v3, c2pa.actions.v2, c2pa.asset-type.v2, cawg.training-mining.
 *
 * Every reader takes the assertion, refuses one whose content is not CBOR (ATLAS_E_C2PA), checks the CBOR document and
 * then its schema. Unknown keys are ignored. Writers are deterministic; absent optional members have p == NULL.
 */
#ifndef ATLAS_FORMAT_ASSERTION_H
#define ATLAS_FORMAT_ASSERTION_H

#include "format/c2pa.h"

/* ----------------------------------------------------------------------------------------------- c2pa.hash.data */

struct atlas_c2pa_hash_data {
    bool excludes;               /* there is an `exclusions` key: refused in a sidecar by the verifier */
    struct atlas_span exclusions; /* the encoded array */
    struct atlas_span alg;       /* name; p == NULL: the claim's. See atlas_c2pa_digest */
    struct atlas_span hash;
    struct atlas_span pad;       /* required by C2PA, may be empty */
    struct atlas_span name;
    struct atlas_span url;       /* always absent: a binding of data elsewhere is refused; not written */
};

ATLAS_MUST_CHECK int atlas_c2pa_hash_data_read(const struct atlas_c2pa_assertion *assertion,
                                               struct atlas_c2pa_hash_data *ret_hash, struct atlas_error *error);
ATLAS_MUST_CHECK int atlas_c2pa_hash_data_write(struct atlas_buf *b, const struct atlas_c2pa_hash_data *hash,
                                                struct atlas_error *error);

/* ------------------------------------------------------------------------------------------- c2pa.ingredient.v3 */

enum atlas_c2pa_relationship { ATLAS_C2PA_PARENT_OF = 1, ATLAS_C2PA_COMPONENT_OF = 2, ATLAS_C2PA_INPUT_TO = 3 };

/* "parentOf", "componentOf", "inputTo"; NULL otherwise. And back; 0 otherwise. */
const char *atlas_c2pa_relationship_name(int relationship);
int atlas_c2pa_relationship_of(struct atlas_span name);

struct atlas_c2pa_ingredient {
    int relationship; /* enum atlas_c2pa_relationship */
    struct atlas_span title;
    struct atlas_span format;
    struct atlas_span instance_id;
    bool has_active_manifest;                 /* then claim_signature and validation_results are there too */
    struct atlas_c2pa_link active_manifest;   /* its reference is checked to be a manifest's, absolute */
    bool has_claim_signature;                 /* only together with has_active_manifest */
    struct atlas_c2pa_link claim_signature;   /* its reference is checked to be that manifest's signature */
    bool has_data;
    struct atlas_c2pa_link data;              /* data.external: a manifest elsewhere, by the hash of its bytes */
    struct atlas_span validation_results;     /* the encoded map */
    size_t recorded_failures; /* failure entries in it: what the producer's own verifier said; not written */
};

ATLAS_MUST_CHECK int atlas_c2pa_ingredient_read(const struct atlas_c2pa_assertion *assertion,
                                                struct atlas_c2pa_ingredient *ret_ingredient,
                                                struct atlas_error *error);
ATLAS_MUST_CHECK int atlas_c2pa_ingredient_write(struct atlas_buf *b, const struct atlas_c2pa_ingredient *ingredient,
                                                 struct atlas_error *error);

/* validationResults with one success: {activeManifest: {success: [{code, url}], informational: [], failure: []},
 * ingredientDeltas: []}; more entries: codes and urls of the same length n. */
struct atlas_c2pa_status {
    struct atlas_span code;
    struct atlas_span url;
};

ATLAS_MUST_CHECK int atlas_c2pa_validation_results_write(struct atlas_buf *b, const struct atlas_c2pa_status *success,
                                                         size_t n_success, const struct atlas_c2pa_status *failure,
                                                         size_t n_failure, struct atlas_error *error);

/* ---------------------------------------------------------------------------------------------- c2pa.actions.v2 */

struct atlas_c2pa_actions {
    struct atlas_span actions;          /* encoded array, at least one; walk it with atlas_c2pa_action_take */
    struct atlas_cbor_uint all_included; /* allActionsIncluded */
};

struct atlas_c2pa_action {
    struct atlas_span action; /* "c2pa.created", ... */
    struct atlas_span when;
    struct atlas_span digital_source_type;
    struct atlas_span reason;
    struct atlas_span description;
    struct atlas_span parameters;  /* the encoded map; written only when ingredients and redacted are absent */
    struct atlas_span ingredients; /* parameters.ingredients: encoded array of links */
    struct atlas_span redacted;    /* parameters.redacted: JUMBF URI */
};

/* Every action of the list is checked to be one. */
ATLAS_MUST_CHECK int atlas_c2pa_actions_read(const struct atlas_c2pa_assertion *assertion,
                                             struct atlas_c2pa_actions *ret_actions, struct atlas_error *error);
int atlas_c2pa_action_take(struct atlas_cbor *c, struct atlas_c2pa_action *ret_action);
ATLAS_MUST_CHECK int atlas_c2pa_action_write(struct atlas_buf *b, const struct atlas_c2pa_action *action,
                                             struct atlas_error *error);
ATLAS_MUST_CHECK int atlas_c2pa_actions_write(struct atlas_buf *b, const struct atlas_c2pa_actions *actions,
                                              struct atlas_error *error);

/* ------------------------------------------------------------------------------------------- c2pa.asset-type.v2 */

/* {?"dc:format": format, "types": [{"type": t}, ...]}; types: names such as "c2pa.types.model.pytorch". */
ATLAS_MUST_CHECK int atlas_c2pa_asset_type_write(struct atlas_buf *b, struct atlas_span format,
                                                 const struct atlas_span *types, size_t n, struct atlas_error *error);

struct atlas_c2pa_asset_type {
    struct atlas_span format;
    struct atlas_span types; /* encoded array of maps {type, ?version}; p == NULL: absent */
};

ATLAS_MUST_CHECK int atlas_c2pa_asset_type_read(const struct atlas_c2pa_assertion *assertion,
                                                struct atlas_c2pa_asset_type *ret_type, struct atlas_error *error);

/* ---------------------------------------------------------------------------------------- cawg.training-mining */

enum atlas_c2pa_use {
    ATLAS_C2PA_USE_UNSTATED = 0,
    ATLAS_C2PA_USE_ALLOWED,
    ATLAS_C2PA_USE_NOT_ALLOWED,
    ATLAS_C2PA_USE_CONSTRAINED,
    ATLAS_C2PA_USE_UNKNOWN, /* a word that is none of these */
};

struct atlas_c2pa_training_mining {
    enum atlas_c2pa_use ai_training;
    enum atlas_c2pa_use ai_generative_training;
    enum atlas_c2pa_use ai_inference;
    enum atlas_c2pa_use data_mining;
};

/* Entries may be named with the prefix cawg. or c2pa.; the stricter one counts when both are there. */
ATLAS_MUST_CHECK int atlas_c2pa_training_mining_read(const struct atlas_c2pa_assertion *assertion,
                                                     struct atlas_c2pa_training_mining *ret_use,
                                                     struct atlas_error *error);

#endif
