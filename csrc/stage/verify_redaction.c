/* verify_redaction.c - who may take what out of whose manifest (C2PA 2.2, 6.8 and 15.11.3; docs/manifest.md). A
 * redaction counts only for a manifest that its author descends from, and the default policy keeps what a verdict rests
 * on. */
#include <stdlib.h>

#include "stage/verify_parts.h"

static const char *const never_redactable[] = {"c2pa.actions", "c2pa.hash"};
static const char *const not_redactable[] = {
    "c2pa.ingredient",
    "c2pa.attestation",
    ATLAS_NAMESPACE ".inputs",
    ATLAS_NAMESPACE ".measurement",
    ATLAS_NAMESPACE ".coverage",
};

static bool listed(const char *const *list, size_t n, struct atlas_span label)
{
    for (size_t i = 0; i < n; i++) {
        if (atlas_span_starts_with(label, atlas_span_str(list[i]))) {
            return true;
        }
    }
    return false;
}

static bool allowed_by_policy(const struct atlas_verifier *v, struct atlas_span label)
{
    for (size_t i = 0; i < v->policy.n_redactable; i++) {
        if (atlas_span_equal(v->policy.redactable[i], atlas_c2pa_label_split(label).base) ||
            atlas_span_equal(v->policy.redactable[i], label)) {
            return true;
        }
    }
    return false;
}

/* Is `to` an ancestor of `from`? Breadth-first; redactions are few. */
static int reaches(const struct atlas_verifier *v, uint32_t from, uint32_t to, bool *ret_yes)
{
    uint32_t *queue = calloc(v->n_nodes, sizeof *queue);
    bool *seen = calloc(v->n_nodes, sizeof *seen);
    int rc = queue != NULL && seen != NULL ? ATLAS_OK : ATLAS_E_NOMEM;
    size_t head = 0;
    size_t tail = 0;
    if (rc == ATLAS_OK) {
        queue[tail++] = from;
        seen[from] = true;
        *ret_yes = false;
    }
    while (rc == ATLAS_OK && head < tail) {
        const struct atlas_node *node = &v->nodes[queue[head++]];
        for (uint32_t i = 0; i < node->n_edges; i++) {
            uint32_t next = v->edges[node->first_edge + i].view.node;
            *ret_yes = *ret_yes || next == to;
            if (next != ATLAS_NO_NODE && !seen[next]) {
                seen[next] = true;
                queue[tail++] = next;
            }
        }
    }
    free(queue);
    free(seen);
    return rc;
}

static int refuse_redaction(struct atlas_verifier *v, uint32_t by, const char *code, struct atlas_span uri,
                            const char *why)
{
    return atlas_report(v, by, ATLAS_SLOT_ASSERTIONS, code, ATLAS_FAILED, ATLAS_INVALID, uri, "%s", why);
}

static int keep_redaction(struct atlas_verifier *v, uint32_t by, uint32_t target, struct atlas_span label)
{
    if (!atlas_grow((void **)&v->redactions, &v->cap_redactions, v->n_redactions, sizeof *v->redactions)) {
        return ATLAS_E_NOMEM;
    }
    v->redactions[v->n_redactions++] = (struct atlas_redaction){.by = by, .target = target, .label = label};
    v->nodes[target].redacted = true;
    return ATLAS_OK;
}

/* What is refused by default stays recorded as a redaction, so that its absence is not reported a second time. */
static int judge_redaction(struct atlas_verifier *v, uint32_t by, uint32_t target, struct atlas_span label,
                           struct atlas_span uri)
{
    bool ancestor = false;
    int rc;
    if (target == by) {
        return refuse_redaction(v, by, "assertion.selfRedacted", uri, "a manifest cannot redact its own assertions");
    }
    ATLAS_TRY(reaches(v, by, target, &ancestor));
    if (!ancestor) {
        return refuse_redaction(v, by, "assertion.action.redactionMismatch", uri, "redacts what is not its ancestor's");
    }
    if (listed(never_redactable, sizeof never_redactable / sizeof never_redactable[0], label)) {
        bool hash = atlas_span_starts_with(label, ATLAS_LIT("c2pa.hash"));
        const char *code = hash ? "assertion.hardBinding.redacted" : "assertion.action.redacted";
        ATLAS_TRY(refuse_redaction(v, by, code, uri, "actions and hard bindings are never redacted"));
    } else if (listed(not_redactable, sizeof not_redactable / sizeof not_redactable[0], label) &&
               !allowed_by_policy(v, label)) {
        ATLAS_TRY(refuse_redaction(v, by, "org.atlasml.redaction.refused", uri,
                                   "the policy does not allow this assertion to be redacted"));
    }
    ATLAS_TRY(keep_redaction(v, by, target, label));
out:
    return rc;
}

static int read_redaction(struct atlas_verifier *v, uint32_t by, struct atlas_span uri)
{
    struct atlas_c2pa_ref ref;
    uint32_t target;
    if (v->n_redactions >= ATLAS_MAX_REDACTIONS) {
        return atlas_report(v, by, ATLAS_SLOT_ASSERTIONS, "org.atlasml.redaction.limit", ATLAS_FAILED, ATLAS_LIMIT, uri,
                            "more than %d redactions", ATLAS_MAX_REDACTIONS);
    }
    if (atlas_c2pa_ref_read(uri, &ref, NULL) < 0 || ref.target != ATLAS_C2PA_TARGET_ASSERTION ||
        ref.manifest.p == NULL) {
        return atlas_report(v, by, ATLAS_SLOT_ASSERTIONS, "claim.malformed", ATLAS_FAILED, ATLAS_MALFORMED, uri,
                            "redacted_assertions: not an absolute reference to an assertion");
    }
    const struct atlas_jumbf *box = atlas_jumbf_index_find(&v->stores[v->nodes[by].store].manifests, ref.manifest);
    struct atlas_digest content;
    if (box == NULL || atlas_crypto_digest(ATLAS_SHA256, box->payload, &content, NULL) < 0 ||
        !atlas_table_get(&v->by_content, content.b, &target)) {
        return refuse_redaction(v, by, "assertion.action.redactionMismatch", uri, "redacts what is not its ancestor's");
    }
    return judge_redaction(v, by, target, ref.label, uri);
}

int atlas_redactions_find(struct atlas_verifier *v, uint32_t n, struct atlas_error *error)
{
    struct atlas_cbor list;
    int rc = ATLAS_OK;
    if (!v->nodes[n].has_claim || v->nodes[n].claim.redacted.p == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_cbor_open_list(&list, v->nodes[n].claim.redacted, "claim.redacted_assertions", error));
    while (atlas_cbor_more(&list) && v->n_redactions <= ATLAS_MAX_REDACTIONS) {
        struct atlas_span uri;
        ATLAS_TRY(atlas_cbor_take_text(&list, &uri));
        ATLAS_TRY(read_redaction(v, n, uri));
    }
out:
    return rc;
}

bool atlas_redacted(const struct atlas_verifier *v, uint32_t node, struct atlas_span label)
{
    for (size_t i = 0; i < v->n_redactions; i++) {
        if (v->redactions[i].target == node && atlas_span_equal(v->redactions[i].label, label)) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------------------------- redactions have an action */

static bool lists_redaction(const struct atlas_jumbf *box, struct atlas_span uri)
{
    struct atlas_c2pa_assertion assertion;
    struct atlas_c2pa_actions actions;
    struct atlas_c2pa_action action;
    struct atlas_cbor list;
    if (atlas_c2pa_kind(box->label) != ATLAS_C2PA_ACTIONS || atlas_c2pa_assertion_read(box, &assertion, NULL) < 0 ||
        atlas_c2pa_actions_read(&assertion, &actions, NULL) < 0 ||
        atlas_cbor_open_list(&list, actions.actions, "actions", NULL) < 0) {
        return false; /* one that cannot be read is reported by verify_content.c */
    }
    while (atlas_cbor_more(&list)) {
        if (atlas_c2pa_action_take(&list, &action) < 0) {
            return false;
        }
        if (atlas_span_equal(action.action, ATLAS_LIT("c2pa.redacted")) && atlas_span_equal(action.redacted, uri)) {
            return true;
        }
    }
    return false;
}

static bool has_action(const struct atlas_node *node, struct atlas_span uri)
{
    for (size_t i = 0; i < node->assertions.n; i++) {
        if (lists_redaction(atlas_jumbf_index_at(&node->assertions, i), uri)) {
            return true;
        }
    }
    return false;
}

int atlas_redactions_have_actions(struct atlas_verifier *v, uint32_t by)
{
    struct atlas_cbor list;
    struct atlas_span uri;
    int rc = ATLAS_OK;
    if (v->nodes[by].claim.redacted.p == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_cbor_open_list(&list, v->nodes[by].claim.redacted, "claim.redacted_assertions", NULL));
    while (atlas_cbor_more(&list)) {
        ATLAS_TRY(atlas_cbor_take_text(&list, &uri));
        if (!has_action(&v->nodes[by], uri)) {
            ATLAS_TRY(refuse_redaction(v, by, "assertion.action.redactionMismatch", uri,
                                       "a redaction without its c2pa.redacted action"));
        }
    }
out:
    return rc;
}
