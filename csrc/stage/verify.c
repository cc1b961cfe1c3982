/* verify.c - the public functions: phases, needs, answers. */
#include "stage/verify.h"

#include <stdlib.h>

#include "stage/verify_parts.h"

/* ------------------------------------------------------------------------------------------------------ policy */

static size_t text_size(const struct atlas_span *list, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        size += list[i].n;
    }
    return size;
}

static void copy_list(struct atlas_verifier *v, const struct atlas_span *from, size_t n, struct atlas_span *to)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = v->policy_text.n;
        atlas_buf_append(&v->policy_text, from[i]);
        to[i] = atlas_span_sub(atlas_buf_span(&v->policy_text), at, from[i].n);
    }
}

static void copy_rules(struct atlas_verifier *v, const struct atlas_verify_policy *policy)
{
    for (size_t i = 0; i < policy->n_evidence; i++) {
        v->policy_rules[i] = policy->evidence[i];
        if (policy->evidence[i].step.p != NULL) {
            copy_list(v, &policy->evidence[i].step, 1, &v->policy_rules[i].step);
        }
    }
}

static size_t policy_size(const struct atlas_verify_policy *policy)
{
    size_t size = text_size(policy->signers, policy->n_signers) + text_size(policy->redactable, policy->n_redactable) +
                  text_size(policy->collateral, policy->n_collateral) + policy->evidence_anchor.n;
    for (size_t i = 0; i < policy->n_evidence; i++) {
        size += policy->evidence[i].step.n;
    }
    return size;
}

static int copy_policy(struct atlas_verifier *v, const struct atlas_verify_policy *policy, struct atlas_error *error)
{
    size_t n = policy->n_signers + policy->n_redactable + policy->n_collateral;
    size_t size = policy_size(policy);
    v->policy = *policy;
    v->policy_spans = calloc(n + 1, sizeof *v->policy_spans);
    v->policy_rules = calloc(policy->n_evidence + 1, sizeof *v->policy_rules);
    /* all room at once: spans into the buffer must not move */
    if (v->policy_spans == NULL || v->policy_rules == NULL ||
        (size != 0 && atlas_buf_extend(&v->policy_text, size) == NULL)) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    atlas_buf_clear(&v->policy_text);
    v->policy.signers = v->policy_spans;
    v->policy.redactable = v->policy_spans + policy->n_signers;
    v->policy.collateral = v->policy_spans + policy->n_signers + policy->n_redactable;
    v->policy.evidence = v->policy_rules;
    copy_list(v, policy->signers, policy->n_signers, v->policy_spans);
    copy_list(v, policy->redactable, policy->n_redactable, v->policy_spans + policy->n_signers);
    copy_list(v, policy->collateral, policy->n_collateral, v->policy_spans + policy->n_signers + policy->n_redactable);
    copy_rules(v, policy);
    if (policy->evidence_anchor.p != NULL) {
        copy_list(v, &policy->evidence_anchor, 1, &v->policy.evidence_anchor);
    }
    v->policy.appraisal = ATLAS_SPAN_NONE; /* parsed here, and not kept */
    return atlas_attest_policy_new(policy->appraisal, &v->appraisal, error);
}

int atlas_verifier_new(const struct atlas_verify_policy *policy, struct atlas_verifier **ret_v,
                       struct atlas_error *error)
{
    struct atlas_verifier *v = calloc(1, sizeof *v);
    if (v == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    int rc = copy_policy(v, policy, error);
    if (rc < 0) {
        atlas_verifier_free(v);
        return rc;
    }
    *ret_v = v;
    return ATLAS_OK;
}

void atlas_verifier_free(struct atlas_verifier *v)
{
    if (v == NULL) {
        return;
    }
    atlas_graph_release(v);
    atlas_log_release(v);
    free(v->kept);
    free(v->checks);
    free(v->public_edges);
    free(v->policy_spans);
    free(v->policy_rules);
    atlas_attest_policy_free(v->appraisal);
    atlas_buf_release(&v->policy_text);
    atlas_buf_release(&v->text);
    atlas_buf_release(&v->tensors_why);
    free(v);
}

/* -------------------------------------------------------------------------------------------------------- open */

/* A verdict needs a node to speak of, also where nothing could be read. */
static int stand_in(struct atlas_verifier *v, const struct atlas_error *why)
{
    if (!atlas_grow((void **)&v->nodes, &v->cap_nodes, v->n_nodes, sizeof *v->nodes)) {
        return ATLAS_E_NOMEM;
    }
    v->nodes[v->n_nodes++] = (struct atlas_node){.assertions = ATLAS_JUMBF_INDEX_INIT};
    return atlas_report_error(v, 0, ATLAS_SLOT_FORM, "claim.malformed", ATLAS_MALFORMED, ATLAS_LIT("manifest store"),
                              why);
}

int atlas_verifier_open(struct atlas_verifier *v, struct atlas_span store, struct atlas_error *error)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    uint32_t s;
    uint32_t node;
    int rc;
    if (v->phase != ATLAS_PHASE_NEW) {
        return atlas_error_set(error, ATLAS_E_ARG, "verifier", "opened twice");
    }
    v->phase = ATLAS_PHASE_DISCOVER;
    if (atlas_graph_add_store(v, store, NULL, &s, &why) < 0) {
        rc = why.code == ATLAS_E_NOMEM ? ATLAS_E_NOMEM : stand_in(v, &why);
        return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
    }
    ATLAS_TRY(atlas_graph_node(v, s, &v->stores[s].view.active, &node, error));
out:
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- discover */

static int expand_all(struct atlas_verifier *v, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    while (v->cursor < v->n_nodes && v->n_stores != 0) {
        ATLAS_TRY(atlas_graph_expand(v, v->cursor, error));
        v->cursor++;
    }
out:
    return rc;
}

/* The next reference to a sidecar that has no answer yet. */
static bool next_external(struct atlas_verifier *v)
{
    while (v->edge_cursor < v->n_edges) {
        const struct atlas_edge_part *edge = &v->edges[v->edge_cursor];
        if (edge->external && !edge->resolved) {
            return true;
        }
        v->edge_cursor++;
    }
    return false;
}

static void ask_for_manifest(struct atlas_verifier *v)
{
    const struct atlas_edge_part *edge = &v->edges[v->edge_cursor];
    v->need_edge = v->edge_cursor;
    v->need = (struct atlas_need){.kind = ATLAS_NEED_MANIFEST,
                                  .node = edge->from,
                                  .name = edge->view.name,
                                  .digest = edge->sidecar,
                                  .size = edge->sidecar_bytes,
                                  .urn = edge->urn};
}

/* ------------------------------------------------------------------------------------------------------- check */

static int check_all(struct atlas_verifier *v, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(atlas_graph_settle(v, error));
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        ATLAS_TRY(atlas_check_signature(v, i, error));
        ATLAS_TRY(atlas_check_content(v, i, error));
        ATLAS_TRY(atlas_check_evidence(v, i, error));
    }
    ATLAS_TRY(atlas_check_evidence_rules(v, error));
    for (uint32_t i = 0; i < v->n_nodes; i++) { /* compares nodes, so every content must have been read */
        ATLAS_TRY(atlas_check_lineage(v, i, error));
    }
    v->subject = v->n_nodes != 0 ? atlas_graph_bound(v, 0) : ATLAS_NO_NODE;
    v->cursor = 0;
    rc = ATLAS_OK;
out:
    return rc;
}

int atlas_verifier_next(struct atlas_verifier *v, struct atlas_need *ret_need, struct atlas_error *error)
{
    int rc;
    if (v->phase == ATLAS_PHASE_NEW || v->need.kind != ATLAS_NEED_NOTHING) {
        return atlas_error_set(error, ATLAS_E_ARG, "verifier",
                               v->phase == ATLAS_PHASE_NEW ? "nothing was opened" : "the last need was not answered");
    }
    if (v->phase == ATLAS_PHASE_DISCOVER) {
        ATLAS_TRY(expand_all(v, error));
        if (next_external(v)) {
            ask_for_manifest(v);
            *ret_need = v->need;
            return ATLAS_OK;
        }
        v->phase = ATLAS_PHASE_CHECK;
        ATLAS_TRY(check_all(v, error));
        v->phase = ATLAS_PHASE_LOG;
        ATLAS_TRY(atlas_log_begin(v, error));
    }
    if (v->phase == ATLAS_PHASE_LOG) {
        ATLAS_TRY(atlas_log_next(v, &v->need, error));
        v->phase = v->need.kind != ATLAS_NEED_NOTHING ? ATLAS_PHASE_LOG : ATLAS_PHASE_BIND;
    }
    if (v->phase == ATLAS_PHASE_BIND) {
        ATLAS_TRY(atlas_bytes_next(v, &v->need, error));
    }
    *ret_need = v->need;
    rc = ATLAS_OK;
out:
    return rc;
}

/* ----------------------------------------------------------------------------------------------------- answers */

static int expect(const struct atlas_verifier *v, enum atlas_need_kind kind, struct atlas_error *error)
{
    if (v->need.kind == ATLAS_NEED_NOTHING || (kind != ATLAS_NEED_NOTHING && v->need.kind != kind)) {
        return atlas_error_set(error, ATLAS_E_ARG, "verifier", "that is not what was asked for");
    }
    return ATLAS_OK;
}

static int lead_nowhere(struct atlas_verifier *v, const char *code, enum atlas_answer answer, struct atlas_span why)
{
    const struct atlas_edge_part *edge = &v->edges[v->need_edge];
    struct atlas_buf where = ATLAS_BUF_INIT;
    int rc;
    ATLAS_TRY(atlas_node_uri(&v->nodes[edge->from], ATLAS_C2PA_TARGET_ASSERTION, edge->view.label, &where));
    ATLAS_TRY(atlas_report(v, edge->from, ATLAS_SLOT_INGREDIENTS, code, ATLAS_FAILED, answer, atlas_buf_span(&where),
                           "%.*s", (int)why.n, (const char *)why.p));
out:
    atlas_buf_release(&where);
    return rc;
}

static int take_sidecar(struct atlas_verifier *v, struct atlas_span store, struct atlas_error *error)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_digest actual;
    uint32_t s;
    uint32_t node;
    int rc;
    ATLAS_TRY(atlas_crypto_digest(v->edges[v->need_edge].sidecar.alg, store, &actual, error));
    if (!atlas_digest_equal(&actual, &v->edges[v->need_edge].sidecar)) {
        return lead_nowhere(v, "ingredient.manifest.mismatch", ATLAS_INVALID,
                            ATLAS_LIT("the manifest that was found is not the one that was referred to"));
    }
    if (v->edges[v->need_edge].sidecar_bytes != 0 && v->edges[v->need_edge].sidecar_bytes != store.n) {
        return lead_nowhere(v, "ingredient.manifest.mismatch", ATLAS_INVALID,
                            ATLAS_LIT("the manifest that was found is not as long as was recorded"));
    }
    if (atlas_graph_add_store(v, store, &actual, &s, &why) < 0) {
        if (why.code == ATLAS_E_NOMEM) {
            return ATLAS_E_NOMEM;
        }
        return lead_nowhere(v, "ingredient.manifest.missing",
                            why.code == ATLAS_E_LIMIT ? ATLAS_LIMIT : ATLAS_INCOMPLETE, atlas_span_str(why.text));
    }
    if (!atlas_span_equal(v->stores[s].view.active.label, v->edges[v->need_edge].urn)) {
        return lead_nowhere(v, "ingredient.manifest.mismatch", ATLAS_INVALID,
                            ATLAS_LIT("the manifest that was found has another name than the one referred to"));
    }
    if (atlas_graph_node(v, s, &v->stores[s].view.active, &node, &why) < 0) {
        return why.code != ATLAS_E_LIMIT ? why.code : lead_nowhere(v, "org.atlasml.nodes.limit", ATLAS_LIMIT,
                                                                   atlas_span_str(why.text));
    }
    v->edges[v->need_edge].view.node = node;
out:
    return rc;
}

static int answered(struct atlas_verifier *v, int rc, struct atlas_error *error)
{
    if (v->need.kind == ATLAS_NEED_MANIFEST) {
        v->edges[v->need_edge].resolved = true;
    }
    v->need.kind = ATLAS_NEED_NOTHING;
    v->tensors.alg = ATLAS_ALG_NONE;
    atlas_buf_clear(&v->tensors_why);
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}

int atlas_verifier_manifest(struct atlas_verifier *v, struct atlas_span store, struct atlas_error *error)
{
    int rc = expect(v, ATLAS_NEED_MANIFEST, error);
    return rc < 0 ? rc : answered(v, take_sidecar(v, store, error), error);
}

int atlas_verifier_proofs(struct atlas_verifier *v, const struct atlas_span *proofs, size_t n,
                          struct atlas_error *error)
{
    int rc = expect(v, ATLAS_NEED_PROOF, error);
    if (rc >= 0 && n == 0) {
        rc = atlas_error_set(error, ATLAS_E_ARG, "verifier", "no proof: say that it is absent");
    }
    return rc < 0 ? rc : answered(v, atlas_log_take(v, proofs, n), error);
}

int atlas_verifier_measured(struct atlas_verifier *v, const struct atlas_measurement *m, struct atlas_span detail,
                            struct atlas_error *error)
{
    int rc = expect(v, ATLAS_NEED_ARTIFACT, error);
    return rc < 0 ? rc : answered(v, atlas_bytes_measured(v, m, detail, error), error);
}

int atlas_verifier_tensors(struct atlas_verifier *v, const struct atlas_digest *root, bool from_file,
                           struct atlas_span why, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(expect(v, ATLAS_NEED_ARTIFACT, error));
    v->tensors = root != NULL ? *root : (struct atlas_digest){.alg = ATLAS_ALG_NONE};
    v->tensors_from_file = from_file;
    atlas_buf_clear(&v->tensors_why);
    atlas_buf_append(&v->tensors_why, why);
    rc = atlas_buf_check(&v->tensors_why, error);
out:
    return rc;
}

int atlas_verifier_absent(struct atlas_verifier *v, struct atlas_span why, struct atlas_error *error)
{
    int rc = expect(v, ATLAS_NEED_NOTHING, error);
    if (rc < 0) {
        return rc;
    }
    if (v->need.kind == ATLAS_NEED_PROOF) {
        return answered(v, atlas_log_absent(v, why), error);
    }
    rc = v->need.kind == ATLAS_NEED_MANIFEST
             ? lead_nowhere(v, "ingredient.manifest.missing", ATLAS_INCOMPLETE, why)
             : atlas_bytes_absent(v, why, error);
    return answered(v, rc, error);
}

int atlas_verifier_refused(struct atlas_verifier *v, struct atlas_span why, struct atlas_error *error)
{
    int rc = expect(v, ATLAS_NEED_ARTIFACT, error);
    return rc < 0 ? rc : answered(v, atlas_bytes_failed(v, true, why, error), error);
}

int atlas_verifier_unreadable(struct atlas_verifier *v, struct atlas_span why, struct atlas_error *error)
{
    int rc = expect(v, ATLAS_NEED_NOTHING, error);
    if (rc < 0) {
        return rc;
    }
    if (v->need.kind == ATLAS_NEED_PROOF) {
        return answered(v, atlas_log_unreadable(v, why), error);
    }
    rc = v->need.kind == ATLAS_NEED_MANIFEST
             ? lead_nowhere(v, "ingredient.manifest.unreadable", ATLAS_UNCHECKABLE, why)
             : atlas_bytes_failed(v, false, why, error);
    return answered(v, rc, error);
}

int atlas_verifier_finish(struct atlas_verifier *v, struct atlas_verdict *ret_verdict, struct atlas_error *error)
{
    if (v->phase == ATLAS_PHASE_NEW || v->phase == ATLAS_PHASE_DONE) {
        return atlas_error_set(error, ATLAS_E_ARG, "verifier", "nothing was opened, or finished twice");
    }
    v->phase = ATLAS_PHASE_DONE;
    return atlas_verdict_make(v, ret_verdict, error);
}

/* ------------------------------------------------------------------------------------------------------- view */

int atlas_verifier_node(const struct atlas_verifier *v, uint32_t n, struct atlas_node_view *ret_view,
                        struct atlas_error *error)
{
    if (v->phase != ATLAS_PHASE_DONE || n >= v->n_nodes || v->public_edges == NULL) {
        return atlas_error_set(error, ATLAS_E_ARG, "verifier", "no such node, or not finished");
    }
    const struct atlas_node *node = &v->nodes[n];
    *ret_view = (struct atlas_node_view){
        .urn = node->box.label,
        .box = node->box.box,
        .name = node->has_measurement ? node->measurement.name : node->binding_name,
        .kind = node->has_measurement && node->measurement.directory ? ATLAS_LIT("directory") : ATLAS_LIT("file"),
        .size = node->measurement.size,
        .flat = node->binding,
        .tree = node->measurement.tree,
        .leaf = node->leaf,
        .signed_at = node->signed_at,
        .timestamped = node->timestamped,
        .bytes = node->bytes,
        .answer = node->answer,
        .gaps = node->gaps,
        .step = node->run.step,
        .evidence = node->evidence != NULL ? &node->evidence->view : NULL,
        .edges = v->public_edges + node->first_edge,
        .n_edges = node->n_edges,
    };
    return ATLAS_OK;
}
