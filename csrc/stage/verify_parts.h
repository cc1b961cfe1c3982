/*
 * verify_parts.h - inside the verifier: its state, and what its files owe each other. Private to verify*.c.
 *
 *     verify.c            the public functions and the three phases
 *     verify_report.c     checks, slots, the answer
 *     verify_graph.c      stores, nodes, edges; discovery; cycles, depth, twins
 *     verify_redaction.c  who may take what out of whose manifest
 *     verify_signature.c  COSE signature, timestamp, credential, revocation, pinned signer
 *     verify_content.c    rules of the manifest, assertions, Atlas' own statements
 *     verify_lineage.c    ingredients against the manifests they lead to, bytes read against their bindings
 *     verify_evidence.c   hardware evidence against manifest, vendor and policy
 *     verify_log.c        proofs of logging against the logs that the policy names
 *     verify_bytes.c      hard binding and tree against what was measured
 */
#ifndef ATLAS_STAGE_VERIFY_PARTS_H
#define ATLAS_STAGE_VERIFY_PARTS_H

#include "base/table.h"
#include "format/assertion.h"
#include "format/atlasml.h"
#include "format/attestation.h"
#include "format/cose.h"
#include "stage/merkle.h"
#include "stage/verify.h"

/* Position and length in verifier.text: buffers move, positions do not. */
struct atlas_kept {
    size_t at;
    size_t n;
};

struct atlas_kept_check {
    const char *code;
    enum atlas_status status;
    enum atlas_answer answer;
    uint32_t node;
    struct atlas_kept where;
    struct atlas_kept text;
};

/* One sidecar: what was given, or one that a manifest refers to by hash. */
struct atlas_store_part {
    uint8_t *bytes;
    size_t n;
    struct atlas_c2pa_store view;
    struct atlas_jumbf_index manifests; /* sorted by URN */
};

enum atlas_colour { ATLAS_WHITE = 0, ATLAS_GREY, ATLAS_BLACK };

/* What came of an attestation. */
struct atlas_node_evidence {
    struct atlas_evidence_view view;
    struct atlas_attest result;
    char why[352];
};

/* One manifest. The views borrow from its store's bytes. */
struct atlas_node {
    uint32_t store;
    struct atlas_jumbf box;
    struct atlas_digest content; /* SHA-256 of the superbox's payload: its identity */
    struct atlas_c2pa_manifest manifest;
    struct atlas_c2pa_claim claim;
    struct atlas_cose_sign1 cose;
    struct atlas_jumbf_index assertions;
    bool has_claim;     /* manifest and claim could be read */
    bool has_cose;
    bool has_binding;
    bool has_measurement;
    bool has_inputs;
    bool has_run;
    bool has_coverage;
    bool inputs_unknown; /* redacted or unreadable, and reported as such: nothing can be compared with them */
    struct atlas_digest binding; /* c2pa.hash.data */
    struct atlas_span binding_name;
    struct atlas_ml_measurement measurement;
    struct atlas_span inputs; /* encoded array */
    struct atlas_ml_run run;
    bool has_attestation;
    struct atlas_attestation attestation;
    struct atlas_node_evidence *evidence; /* made when there is an attestation */
    struct atlas_digest signature_hash; /* SHA-256 of the signature box's payload */
    struct atlas_span leaf;
    int64_t signed_at;
    bool timestamped;
    bool not_for_training;
    bool redacted;       /* an assertion of it was redacted by an accepted redaction */
    bool bytes_checked;  /* its turn in the third phase has come */
    enum atlas_bytes_state bytes;
    uint64_t gaps;
    uint32_t first_edge;
    uint32_t n_edges;
    uint32_t depth; /* embedded manifests above and below it on the longest path, itself included */
    enum atlas_colour colour;
    enum atlas_status slots[ATLAS_SLOT_COUNT];
    enum atlas_answer answer; /* worst failure */
};

/* Beside the public edge: how it leads to its node. */
struct atlas_edge_part {
    struct atlas_edge view;
    uint32_t from;
    bool embedded;
    bool external;
    bool resolved;               /* external: an answer came */
    bool cyclic;                 /* leads back to its own manifest */
    struct atlas_digest sidecar; /* external */
    uint64_t sidecar_bytes;
    struct atlas_span urn;       /* of the manifest it should lead to */
    struct atlas_c2pa_ingredient ingredient;
};

struct atlas_redaction {
    uint32_t by;
    uint32_t target;
    struct atlas_span label;
};

enum atlas_phase {
    ATLAS_PHASE_NEW = 0,
    ATLAS_PHASE_DISCOVER,
    ATLAS_PHASE_CHECK,
    ATLAS_PHASE_LOG,
    ATLAS_PHASE_BIND,
    ATLAS_PHASE_DONE
};

struct atlas_verifier {
    struct atlas_verify_policy policy; /* its lists point into policy_text */
    struct atlas_buf policy_text;
    struct atlas_span *policy_spans;
    struct atlas_evidence_rule *policy_rules;
    struct atlas_attest_policy *appraisal; /* never NULL */

    struct atlas_store_part *stores;
    size_t n_stores;
    size_t cap_stores;
    size_t total_bytes;
    struct atlas_node *nodes;
    size_t n_nodes;
    size_t cap_nodes;
    struct atlas_edge_part *edges;
    size_t n_edges;
    size_t cap_edges;
    struct atlas_redaction *redactions;
    size_t n_redactions;
    size_t cap_redactions;
    struct atlas_table by_content; /* manifest -> node */
    struct atlas_table by_sidecar; /* sidecar -> store */
    struct atlas_table by_urn;     /* SHA-256 of the URN -> first node of that name */

    struct atlas_kept_check *kept;
    size_t n_kept;
    size_t cap_kept;
    struct atlas_buf text;
    struct atlas_check *checks; /* public form, made by finish */
    struct atlas_edge *public_edges;

    enum atlas_phase phase;
    uint32_t cursor;      /* next node to expand, or to bind */
    uint32_t edge_cursor; /* next edge that may need a sidecar */
    struct atlas_need need; /* what was asked for last; kind NOTHING when answered */
    uint32_t need_edge;
    struct atlas_digest tensors; /* what was said of the artifact asked for; absent: nothing */
    bool tensors_from_file;
    struct atlas_buf tensors_why;
    struct atlas_log_policy *log_policy; /* NULL: no logs were named */
    struct atlas_log_checker *log;
    struct atlas_log_place *places; /* by node; without an origin: not proven */
    uint32_t log_cursor;            /* the next node to ask about */
    bool require_log;
    uint32_t subject; /* the node whose binding is the artifact's: node 0, or the parent of an update manifest */
};

/* ----------------------------------------------------------------------------------------------------- report */

/* Make room for one more element; false when out of memory. */
bool atlas_grow(void **p, size_t *cap, size_t n, size_t element);

/* Record one check. A failure makes `answer` of the verdict and of the node, and fails the slot; a pass passes it,
 * unless it failed before. slot may be ATLAS_SLOT_COUNT: the check belongs to none. */
int atlas_report(struct atlas_verifier *v, uint32_t node, enum atlas_slot slot, const char *code,
                 enum atlas_status status, enum atlas_answer answer, struct atlas_span where, const char *format, ...)
    ATLAS_PRINTF(8, 9);

/* A failure that came as an error: parse errors and unknown algorithms keep their class. */
int atlas_report_error(struct atlas_verifier *v, uint32_t node, enum atlas_slot slot, const char *code,
                       enum atlas_answer answer, struct atlas_span where, const struct atlas_error *error);

/* MALFORMED, LIMIT or UNCHECKABLE by the class of the code; `otherwise` for anything else. */
enum atlas_answer atlas_answer_of(int code, enum atlas_answer otherwise);

/* Set a slot that nothing is reported for. */
void atlas_slot_set(struct atlas_node *node, enum atlas_slot slot, enum atlas_status status);

int atlas_verdict_make(struct atlas_verifier *v, struct atlas_verdict *ret_verdict, struct atlas_error *error);

/* "self#jumbf=/c2pa/<urn>/..." of a node, in a buffer that the caller releases. */
int atlas_node_uri(const struct atlas_node *node, enum atlas_c2pa_target target, struct atlas_span label,
                   struct atlas_buf *ret_uri);

/* ------------------------------------------------------------------------------------------------------ graph */

/* Take a sidecar in. *ret_store is the number of an equal one where there is one already. The bytes are hashed only
 * when sidecar is given. Parse errors come back as such; nothing is reported. */
int atlas_graph_add_store(struct atlas_verifier *v, struct atlas_span bytes, const struct atlas_digest *sidecar,
                          uint32_t *ret_store, struct atlas_error *error);

/* The node of a manifest of that store; made where it is new. */
int atlas_graph_node(struct atlas_verifier *v, uint32_t store, const struct atlas_jumbf *box, uint32_t *ret_node,
                     struct atlas_error *error);

/* Read a manifest and its ingredients: FORM, and edges. */
int atlas_graph_expand(struct atlas_verifier *v, uint32_t node, struct atlas_error *error);

/* After the last manifest: cycles, depth, redactions, twins. */
int atlas_graph_settle(struct atlas_verifier *v, struct atlas_error *error);

/* Redactions that a claim lists: judged, and kept for atlas_redacted. */
int atlas_redactions_find(struct atlas_verifier *v, uint32_t by, struct atlas_error *error);

/* Every redaction of a claim is explained by a c2pa.redacted action of its own (C2PA 2.2, 15.11.3). */
int atlas_redactions_have_actions(struct atlas_verifier *v, uint32_t by);

/* Does an accepted or refused redaction name this assertion? */
bool atlas_redacted(const struct atlas_verifier *v, uint32_t node, struct atlas_span label);

void atlas_graph_release(struct atlas_verifier *v);

/* The node that says which bytes: itself, or for an update manifest the first standard manifest up its parents;
 * ATLAS_NO_NODE when there is none. */
uint32_t atlas_graph_bound(const struct atlas_verifier *v, uint32_t node);

/* ----------------------------------------------------------------------------------------------------- checks */

int atlas_check_signature(struct atlas_verifier *v, uint32_t node, struct atlas_error *error);
int atlas_check_content(struct atlas_verifier *v, uint32_t node, struct atlas_error *error);
int atlas_check_evidence(struct atlas_verifier *v, uint32_t node, struct atlas_error *error);
int atlas_check_lineage(struct atlas_verifier *v, uint32_t node, struct atlas_error *error);

/* Once every node was checked: a rule that names a step must have found one. */
int atlas_check_evidence_rules(struct atlas_verifier *v, struct atlas_error *error);

/* An ingredient assertion that is there and could not be read, or that was redacted: reported once, not again by
 * whatever refers to it. */
bool atlas_ingredient_unreadable(const struct atlas_verifier *v, uint32_t node, struct atlas_span label);

/* Between the second phase and the third: the next proof that is needed, ATLAS_NEED_NOTHING at the end; what came. */
int atlas_log_begin(struct atlas_verifier *v, struct atlas_error *error);
int atlas_log_next(struct atlas_verifier *v, struct atlas_need *ret_need, struct atlas_error *error);
int atlas_log_take(struct atlas_verifier *v, const struct atlas_span *proofs, size_t n);
int atlas_log_absent(struct atlas_verifier *v, struct atlas_span why);
int atlas_log_unreadable(struct atlas_verifier *v, struct atlas_span why);
void atlas_log_release(struct atlas_verifier *v);

/* Third phase: the next artifact that is needed, ATLAS_NEED_NOTHING at the end; what came of it. */
int atlas_bytes_next(struct atlas_verifier *v, struct atlas_need *ret_need, struct atlas_error *error);
int atlas_bytes_measured(struct atlas_verifier *v, const struct atlas_measurement *m, struct atlas_span detail,
                         struct atlas_error *error);
int atlas_bytes_absent(struct atlas_verifier *v, struct atlas_span why, struct atlas_error *error);
int atlas_bytes_failed(struct atlas_verifier *v, bool refused, struct atlas_span why, struct atlas_error *error);

#endif
