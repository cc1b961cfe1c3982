/*
 * atlasml.h - Atlas' own assertions, docs/manifest.md: measurement, inputs, metrics, coverage. Unknown keys are
 * ignored; a version other than 1 is ATLAS_E_UNSUPPORTED. These are readers and writers of one schema: what the numbers
 * must agree with is the verifier's business.
 */
#ifndef ATLAS_FORMAT_ATLASML_H
#define ATLAS_FORMAT_ATLASML_H

#include "format/c2pa.h"

#define ATLAS_LABEL_MEASUREMENT ATLAS_LIT(ATLAS_NAMESPACE ".measurement")
#define ATLAS_LABEL_INPUTS ATLAS_LIT(ATLAS_NAMESPACE ".inputs")
#define ATLAS_LABEL_RUN ATLAS_LIT(ATLAS_NAMESPACE ".run")
#define ATLAS_LABEL_DATA_USE ATLAS_LIT(ATLAS_NAMESPACE ".data-use")
#define ATLAS_LABEL_METRICS ATLAS_LIT(ATLAS_NAMESPACE ".metrics")
#define ATLAS_LABEL_COVERAGE ATLAS_LIT(ATLAS_NAMESPACE ".coverage")

#define ATLAS_CHUNK_BYTES 1048576u /* the only chunk size of the profile */
#define ATLAS_INDEX_VERSION 1u

/* A logical name: UTF-8, relative, '/'-separated, no empty, "." or ".." component, no backslash, no control characters.
 */
bool atlas_ml_name_check(struct atlas_span name);

/* ------------------------------------------------------------------------------------- org.atlasml.measurement */

struct atlas_ml_measurement {
    bool directory;           /* kind */
    bool recorded;            /* source: "recorded" (else "declared") */
    struct atlas_span name;
    enum atlas_alg alg;
    struct atlas_digest tree;
    uint64_t size;
    uint64_t files;           /* directory only */
    struct atlas_span ignore; /* encoded array of text; directory only; p == NULL: absent */
    struct atlas_span links;  /* encoded map path => target; directory only; p == NULL: absent */
    struct atlas_digest oms;  /* .alg ATLAS_ALG_NONE: absent */
    struct atlas_digest tensors; /* file only: root of the tensor table; .alg ATLAS_ALG_NONE: absent */
    struct atlas_digest table;   /* SHA-256 of the tensor table; present when tensors is */
};

ATLAS_MUST_CHECK int atlas_ml_measurement_read(const struct atlas_c2pa_assertion *assertion,
                                               struct atlas_ml_measurement *ret_measurement,
                                               struct atlas_error *error);
ATLAS_MUST_CHECK int atlas_ml_measurement_write(struct atlas_buf *b, const struct atlas_ml_measurement *measurement,
                                                struct atlas_error *error);

/* ------------------------------------------------------------------------------------------ org.atlasml.inputs */

struct atlas_ml_input {
    struct atlas_span ingredient; /* label of the ingredient assertion */
    struct atlas_span name;       /* not checked by atlas_ml_name_check: never a path */
    bool directory;
    struct atlas_span role;
    enum atlas_alg alg;
    struct atlas_digest flat;     /* .alg ATLAS_ALG_NONE: absent; at least one of flat and tree is there */
    struct atlas_digest tree;
    uint64_t size;
    struct atlas_span via;
    struct atlas_span relation;   /* p == NULL: absent */
};

/* The encoded array of inputs, each checked; at most ATLAS_MAX_INGREDIENTS. Walk it with atlas_ml_input_take. */
ATLAS_MUST_CHECK int atlas_ml_inputs_read(const struct atlas_c2pa_assertion *assertion, struct atlas_span *ret_inputs,
                                          struct atlas_error *error);
int atlas_ml_input_take(struct atlas_cbor *c, struct atlas_ml_input *ret_input);
ATLAS_MUST_CHECK int atlas_ml_inputs_write(struct atlas_buf *b, const struct atlas_ml_input *inputs, size_t n,
                                           struct atlas_error *error);

/* -------------------------------------------------------------------------------------------- org.atlasml.run */

/* The two members that something else refers to; p == NULL: absent. The rest is free-form. */
struct atlas_ml_run {
    struct atlas_span run;  /* id of the run */
    struct atlas_span step; /* path of the pipeline step */
};

ATLAS_MUST_CHECK int atlas_ml_run_read(const struct atlas_c2pa_assertion *assertion, struct atlas_ml_run *ret_run,
                                       struct atlas_error *error);

/* ----------------------------------------------------------------------------------------- org.atlasml.metrics */

struct atlas_ml_result {
    struct atlas_span name;
    struct atlas_span value; /* the encoded item */
    struct atlas_span of;    /* label of an ingredient; p == NULL: absent */
    struct atlas_span on;
};

ATLAS_MUST_CHECK int atlas_ml_metrics_read(const struct atlas_c2pa_assertion *assertion, struct atlas_span *ret_results,
                                           struct atlas_error *error);
int atlas_ml_result_take(struct atlas_cbor *c, struct atlas_ml_result *ret_result);

/* ---------------------------------------------------------------------------------------- org.atlasml.coverage */

struct atlas_ml_coverage {
    uint64_t seen;
    uint64_t input_gaps;    /* gaps with "input": true; not written */
    struct atlas_span gaps; /* encoded array; walk it with atlas_ml_gap_take */
};

struct atlas_ml_gap {
    struct atlas_span what;
    struct atlas_span reason;
    bool input;
};

ATLAS_MUST_CHECK int atlas_ml_coverage_read(const struct atlas_c2pa_assertion *assertion,
                                            struct atlas_ml_coverage *ret_coverage, struct atlas_error *error);
int atlas_ml_gap_take(struct atlas_cbor *c, struct atlas_ml_gap *ret_gap);

#endif
