/* verify_lineage.c - from a manifest to its ingredients: does each lead to the manifest that was signed, and are the
 * bytes that were read the bytes that manifest is bound to (C2PA 2.2, 15.11.3; docs/manifest.md, "inputs"). */
#include "stage/verify_parts.h"

struct lineage {
    struct atlas_verifier *v;
    uint32_t n;
    struct atlas_buf where;
    uint64_t n_inputs; /* entries of org.atlasml.inputs */
};

static struct atlas_node *node_of(const struct lineage *l)
{
    return &l->v->nodes[l->n];
}

static int fail(struct lineage *l, enum atlas_slot slot, const char *code, enum atlas_answer answer, const char *text)
{
    return atlas_report(l->v, l->n, slot, code, ATLAS_FAILED, answer, atlas_buf_span(&l->where), "%s", text);
}

static int at(struct lineage *l, struct atlas_span label)
{
    return atlas_node_uri(node_of(l), ATLAS_C2PA_TARGET_ASSERTION, label, &l->where);
}

/* ------------------------------------------------------------------------------------------------ ingredients */

static bool states(const struct atlas_node *node, const struct atlas_c2pa_link *link, struct atlas_span payload)
{
    struct atlas_digest stated;
    struct atlas_digest actual;
    return atlas_c2pa_digest(link->alg, node->claim.alg, link->hash, "ingredient", &stated, NULL) == ATLAS_OK &&
           atlas_crypto_digest(stated.alg, payload, &actual, NULL) == ATLAS_OK && atlas_digest_equal(&stated, &actual);
}

/* After a redaction the manifest's own hash cannot match; then its signature stands for it, and every assertion that is
 * left is checked against the signed claim anyway. */
static int check_embedded(struct lineage *l, const struct atlas_edge_part *edge)
{
    const struct atlas_node *node = node_of(l);
    if (edge->view.node == ATLAS_NO_NODE) {
        return fail(l, ATLAS_SLOT_INGREDIENTS, "ingredient.manifest.missing", ATLAS_INCOMPLETE,
                    "the ingredient's manifest is not in the store");
    }
    const struct atlas_node *to = &l->v->nodes[edge->view.node];
    if (!to->has_claim) {
        return fail(l, ATLAS_SLOT_INGREDIENTS, "ingredient.manifest.missing", ATLAS_INCOMPLETE,
                    "the ingredient's manifest cannot be read");
    }
    if (!states(node, &edge->ingredient.claim_signature, to->manifest.signature.payload)) {
        return fail(l, ATLAS_SLOT_INGREDIENTS, "ingredient.claimSignature.mismatch", ATLAS_INVALID,
                    "the ingredient's signature is not the one that was referred to");
    }
    bool whole = states(node, &edge->ingredient.active_manifest, to->box.payload);
    if (!whole && !to->redacted) {
        return fail(l, ATLAS_SLOT_INGREDIENTS, "ingredient.manifest.mismatch", ATLAS_INVALID,
                    "the ingredient's manifest is not the one that was referred to");
    }
    return atlas_report(l->v, l->n, ATLAS_SLOT_COUNT,
                        whole ? "ingredient.manifest.validated" : "ingredient.claimSignature.validated", ATLAS_PASSED,
                        ATLAS_VALID, atlas_buf_span(&l->where), "leads to the manifest that was referred to");
}

/* The digest of the sidecar was compared when it was handed in (verify.c). */
static int check_external(struct lineage *l, const struct atlas_edge_part *edge)
{
    if (edge->view.node == ATLAS_NO_NODE) {
        return ATLAS_OK; /* why was reported then */
    }
    return atlas_report(l->v, l->n, ATLAS_SLOT_COUNT, "ingredient.manifest.validated", ATLAS_PASSED, ATLAS_VALID,
                        atlas_buf_span(&l->where), "leads to the manifest that was referred to");
}

static int check_unknown(struct lineage *l)
{
    if (l->v->policy.refuse_unknown) {
        return fail(l, ATLAS_SLOT_INGREDIENTS, "org.atlasml.unknown.refused", ATLAS_UNTRUSTED,
                    "an input of unknown provenance, which the policy refuses");
    }
    return atlas_report(l->v, l->n, ATLAS_SLOT_COUNT, "ingredient.unknownProvenance", ATLAS_NOTE, ATLAS_VALID,
                        atlas_buf_span(&l->where), "an input without a manifest");
}

/* C2PA 2.2, 15.8: a signing time that is proven must not lie before that of what it was made from. */
static int check_order(struct lineage *l, const struct atlas_edge_part *edge)
{
    const struct atlas_node *node = node_of(l);
    if (edge->view.node == ATLAS_NO_NODE) {
        return ATLAS_OK;
    }
    const struct atlas_node *to = &l->v->nodes[edge->view.node];
    if (node->timestamped && to->timestamped && node->signed_at < to->signed_at) {
        return fail(l, ATLAS_SLOT_INGREDIENTS, "org.atlasml.time.order", ATLAS_INVALID,
                    "signed before its own ingredient was");
    }
    return ATLAS_OK;
}

static int check_ingredient(struct lineage *l, const struct atlas_edge_part *edge)
{
    int rc;
    if (edge->cyclic) {
        return ATLAS_OK; /* reported with the graph; nothing more can be said of it */
    }
    ATLAS_TRY(at(l, edge->view.label));
    if (edge->embedded) {
        ATLAS_TRY(check_embedded(l, edge));
    } else if (edge->external) {
        ATLAS_TRY(check_external(l, edge));
    } else {
        ATLAS_TRY(check_unknown(l));
    }
    ATLAS_TRY(check_order(l, edge));
    if (edge->ingredient.recorded_failures != 0) {
        ATLAS_TRY(atlas_report(l->v, l->n, ATLAS_SLOT_COUNT, "org.atlasml.ingredient.recordedFailure", ATLAS_NOTE,
                               ATLAS_VALID, atlas_buf_span(&l->where),
                               "its signer recorded %zu failed checks of this ingredient",
                               edge->ingredient.recorded_failures));
    }
out:
    return rc;
}

/* --------------------------------------------------------------------------------------------------- inputs */

bool atlas_ingredient_unreadable(const struct atlas_verifier *v, uint32_t n, struct atlas_span label)
{
    const struct atlas_node *node = &v->nodes[n];
    for (uint32_t i = 0; i < node->n_edges; i++) {
        if (atlas_span_equal(v->edges[node->first_edge + i].view.label, label)) {
            return false;
        }
    }
    return atlas_c2pa_kind(label) == ATLAS_C2PA_INGREDIENT &&
           (atlas_redacted(v, n, label) || atlas_jumbf_index_find(&node->assertions, label) != NULL);
}

static struct atlas_edge_part *edge_of(const struct lineage *l, struct atlas_span label)
{
    const struct atlas_node *node = node_of(l);
    for (uint32_t i = 0; i < node->n_edges; i++) {
        struct atlas_edge_part *edge = &l->v->edges[node->first_edge + i];
        if (atlas_span_equal(edge->view.label, label)) {
            return edge;
        }
    }
    return NULL;
}

static int false_input(struct lineage *l, const char *text)
{
    return fail(l, ATLAS_SLOT_INPUTS, "org.atlasml.inputs.mismatch", ATLAS_INVALID, text);
}

/* Everything that both sides state must agree; at least one digest must be stated by both. */
static int compare_input(struct lineage *l, const struct atlas_ml_input *input, const struct atlas_node *to)
{
    size_t compared = 0;
    if (input->directory != (to->has_measurement && to->measurement.directory)) {
        return false_input(l, "what was read is of another kind than the ingredient");
    }
    if (input->flat.alg != ATLAS_ALG_NONE && input->flat.alg == to->binding.alg) {
        compared++;
        if (!atlas_digest_equal(&input->flat, &to->binding)) {
            return false_input(l, "the bytes that were read are not the ingredient's (flat digest)");
        }
    }
    if (to->has_measurement && input->tree.alg != ATLAS_ALG_NONE && input->tree.alg == to->measurement.tree.alg) {
        compared++;
        if (!atlas_digest_equal(&input->tree, &to->measurement.tree)) {
            return false_input(l, "the bytes that were read are not the ingredient's (tree digest)");
        }
    }
    if (to->has_measurement && input->size != to->measurement.size) {
        return false_input(l, "what was read is not as long as the ingredient");
    }
    if (compared == 0) {
        return fail(l, ATLAS_SLOT_INPUTS, "org.atlasml.inputs.incomparable", ATLAS_INCOMPLETE,
                    "what was read and the ingredient have no digest of one algorithm in common");
    }
    return atlas_report(l->v, l->n, ATLAS_SLOT_COUNT, "org.atlasml.inputs.match", ATLAS_PASSED, ATLAS_VALID,
                        atlas_buf_span(&l->where), "the bytes that were read are the ingredient's");
}

static int check_use(struct lineage *l, const struct atlas_ml_input *input, const struct atlas_node *to)
{
    if (to->not_for_training && atlas_span_equal(input->role, ATLAS_LIT("training data"))) {
        return fail(l, ATLAS_SLOT_INPUTS, "org.atlasml.use.refused", ATLAS_UNTRUSTED,
                    "its producer does not allow training with this data");
    }
    return ATLAS_OK;
}

static int check_input(struct lineage *l, const struct atlas_ml_input *input)
{
    struct atlas_edge_part *edge = edge_of(l, input->ingredient);
    int rc;
    ATLAS_TRY(at(l, input->ingredient));
    if (edge == NULL && atlas_ingredient_unreadable(l->v, l->n, input->ingredient)) {
        return ATLAS_OK;
    }
    if (edge == NULL) {
        return false_input(l, "an entry for an ingredient that does not exist");
    }
    if (edge->view.kind.p != NULL) {
        return false_input(l, "two entries for one ingredient");
    }
    edge->view.name = input->name;
    edge->view.kind = input->directory ? ATLAS_LIT("directory") : ATLAS_LIT("file");
    edge->view.role = input->role;
    edge->view.relation = input->relation;
    edge->view.flat = input->flat;
    edge->view.tree = input->tree;
    edge->view.size = input->size;
    uint32_t bound = edge->view.node != ATLAS_NO_NODE ? atlas_graph_bound(l->v, edge->view.node) : ATLAS_NO_NODE;
    if (!edge->cyclic && bound != ATLAS_NO_NODE && l->v->nodes[bound].has_binding) {
        ATLAS_TRY(compare_input(l, input, &l->v->nodes[bound]));
        ATLAS_TRY(check_use(l, input, &l->v->nodes[bound]));
    }
out:
    return rc;
}

static int check_inputs(struct lineage *l)
{
    struct atlas_node *node = node_of(l);
    struct atlas_cbor list;
    int rc = ATLAS_OK;
    if (node->has_inputs) {
        ATLAS_TRY(atlas_cbor_open_list(&list, node->inputs, "org.atlasml.inputs", NULL));
        while (atlas_cbor_more(&list)) {
            struct atlas_ml_input input;
            ATLAS_TRY(atlas_ml_input_take(&list, &input));
            l->n_inputs++;
            ATLAS_TRY(check_input(l, &input));
        }
    }
    for (uint32_t i = 0; node->has_measurement && !node->inputs_unknown && i < node->n_edges; i++) {
        const struct atlas_edge_part *edge = &l->v->edges[node->first_edge + i];
        if (edge->view.kind.p == NULL) {
            ATLAS_TRY(at(l, edge->view.label));
            ATLAS_TRY(false_input(l, "an ingredient, and nothing says which bytes were read"));
        }
    }
    bool stated = node->has_measurement || node->has_inputs;
    atlas_slot_set(node, ATLAS_SLOT_INPUTS, stated ? ATLAS_PASSED : ATLAS_NOT_REQUIRED);
out:
    return rc;
}

/* -------------------------------------------------------------------------------- statements about the inputs */

static int malformed(struct lineage *l, const char *code, const struct atlas_error *why)
{
    return atlas_report_error(l->v, l->n, ATLAS_SLOT_RULES, code, ATLAS_MALFORMED, atlas_buf_span(&l->where), why);
}

/* Inputs that were noticed: listed, or gaps. A signer who leaves one out has to count wrong. */
static int check_coverage(struct lineage *l, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_ml_coverage coverage;
    struct atlas_cbor list;
    struct atlas_ml_gap gap;
    int rc;
    node_of(l)->has_coverage = true;
    if (atlas_ml_coverage_read(assertion, &coverage, &why) < 0) {
        return malformed(l, "org.atlasml.coverage.malformed", &why);
    }
    ATLAS_TRY(atlas_cbor_open_list(&list, coverage.gaps, "org.atlasml.coverage", NULL));
    while (atlas_cbor_more(&list)) {
        ATLAS_TRY(atlas_ml_gap_take(&list, &gap));
        node_of(l)->gaps++;
    }
    if (node_of(l)->inputs_unknown) {
        return ATLAS_OK;
    }
    if (coverage.seen < l->n_inputs || coverage.seen - l->n_inputs != coverage.input_gaps) {
        return fail(l, ATLAS_SLOT_INPUTS, "org.atlasml.coverage.mismatch", ATLAS_INVALID,
                    "inputs were seen that are neither listed nor recorded as gaps");
    }
out:
    return rc;
}

static bool is_ingredient(const struct lineage *l, struct atlas_span label)
{
    return label.p == NULL || edge_of(l, label) != NULL || atlas_ingredient_unreadable(l->v, l->n, label);
}

static int check_metrics(struct lineage *l, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_span results;
    struct atlas_cbor list;
    int rc;
    if (atlas_ml_metrics_read(assertion, &results, &why) < 0) {
        return malformed(l, "org.atlasml.metrics.malformed", &why);
    }
    ATLAS_TRY(atlas_cbor_open_list(&list, results, "org.atlasml.metrics", NULL));
    while (atlas_cbor_more(&list)) {
        struct atlas_ml_result result;
        ATLAS_TRY(atlas_ml_result_take(&list, &result));
        if (!is_ingredient(l, result.of) || !is_ingredient(l, result.on)) {
            ATLAS_TRY(fail(l, ATLAS_SLOT_INPUTS, "org.atlasml.metrics.mismatch", ATLAS_INVALID,
                           "a result speaks of a model or of data that is not an ingredient"));
        }
    }
out:
    return rc;
}

static int check_statements(struct lineage *l)
{
    const struct atlas_jumbf_index *index = &node_of(l)->assertions;
    struct atlas_c2pa_assertion assertion;
    int rc = ATLAS_OK;
    for (size_t i = 0; i < index->n; i++) {
        const struct atlas_jumbf *box = atlas_jumbf_index_at(index, i);
        enum atlas_c2pa_kind kind = atlas_c2pa_kind(box->label);
        if ((kind != ATLAS_C2PA_COVERAGE && kind != ATLAS_C2PA_METRICS) ||
            atlas_c2pa_assertion_read(box, &assertion, NULL) < 0) {
            continue; /* one that cannot be read was reported by check_content */
        }
        ATLAS_TRY(at(l, box->label));
        ATLAS_TRY(kind == ATLAS_C2PA_COVERAGE ? check_coverage(l, &assertion) : check_metrics(l, &assertion));
    }
    if (node_of(l)->has_measurement && !node_of(l)->has_coverage &&
        !atlas_redacted(l->v, l->n, ATLAS_LABEL_COVERAGE)) {
        ATLAS_TRY(at(l, ATLAS_LABEL_COVERAGE));
        ATLAS_TRY(fail(l, ATLAS_SLOT_INPUTS, "org.atlasml.coverage.mismatch", ATLAS_INVALID,
                       "nothing says which inputs were seen"));
    }
out:
    return rc;
}

int atlas_check_lineage(struct atlas_verifier *v, uint32_t n, struct atlas_error *error)
{
    struct lineage l = {.v = v, .n = n, .where = ATLAS_BUF_INIT};
    int rc = ATLAS_OK;
    if (!v->nodes[n].has_claim) {
        return ATLAS_OK;
    }
    for (uint32_t i = 0; i < v->nodes[n].n_edges; i++) {
        ATLAS_TRY(check_ingredient(&l, &v->edges[v->nodes[n].first_edge + i]));
    }
    atlas_slot_set(&v->nodes[n], ATLAS_SLOT_INGREDIENTS, ATLAS_PASSED);
    ATLAS_TRY(check_inputs(&l));
    ATLAS_TRY(check_statements(&l));
out:
    atlas_buf_release(&l.where);
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}
