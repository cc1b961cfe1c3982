/* verify_content.c - what one manifest says: every assertion against its hash, nothing undeclared; then what the
 * assertions hold, and the rules for its type (C2PA 2.2, 15.10 and 15.11; docs/manifest.md). */
#include <stdlib.h>

#include "stage/verify_parts.h"

#define MAX_ACTIONS 4096

struct content {
    struct atlas_verifier *v;
    uint32_t n;
    struct atlas_buf where;
    uint8_t *declared;     /* one flag per assertion of the index */
    size_t hard_bindings;  /* in created_assertions */
    size_t actions;        /* actions seen, over all actions assertions */
    size_t openings;       /* of these created or opened */
    bool first_is_opened;
    bool opened_parent;    /* the opened action names the parentOf ingredient */
};

static struct atlas_node *node_of(const struct content *c)
{
    return &c->v->nodes[c->n];
}

static int fail(struct content *c, enum atlas_slot slot, const char *code, enum atlas_answer answer,
                struct atlas_span where, const char *text)
{
    return atlas_report(c->v, c->n, slot, code, ATLAS_FAILED, answer, where, "%s", text);
}

static int uri_of(struct content *c, struct atlas_span label)
{
    return atlas_node_uri(node_of(c), ATLAS_C2PA_TARGET_ASSERTION, label, &c->where);
}

/* --------------------------------------------------------------------------------------------- assertion hashes */

/* Redaction by replacement leaves a uuid box of zeros (C2PA 2.2, 15.11.3). */
static bool emptied(const struct atlas_jumbf *box)
{
    struct atlas_c2pa_assertion assertion;
    if (atlas_c2pa_assertion_read(box, &assertion, NULL) < 0 || assertion.type != ATLAS_C2PA_CONTENT_UUID ||
        assertion.content.n < 16) {
        return false;
    }
    for (size_t i = 16; i < assertion.content.n; i++) {
        if (assertion.content.p[i] != 0) {
            return false;
        }
    }
    return true;
}

static int compare_hash(struct content *c, const struct atlas_c2pa_link *link, const struct atlas_jumbf *box)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_digest stated;
    struct atlas_digest actual;
    struct atlas_span where = atlas_buf_span(&c->where);
    if (atlas_c2pa_digest(link->alg, node_of(c)->claim.alg, link->hash, "hashed_uri", &stated, &why) < 0) {
        const char *code = why.code == ATLAS_E_ALGORITHM ? "algorithm.unsupported" : "claim.malformed";
        return atlas_report_error(c->v, c->n, ATLAS_SLOT_ASSERTIONS, code, ATLAS_MALFORMED, where, &why);
    }
    int rc = atlas_crypto_digest(stated.alg, box->payload, &actual, &why);
    if (rc < 0) {
        return rc;
    }
    if (!atlas_digest_equal(&stated, &actual)) {
        return fail(c, ATLAS_SLOT_ASSERTIONS, "assertion.hashedURI.mismatch", ATLAS_INVALID, where,
                    "the assertion is not the one that was signed");
    }
    return atlas_report(c->v, c->n, ATLAS_SLOT_COUNT, "assertion.hashedURI.match", ATLAS_PASSED, ATLAS_VALID, where,
                        "hash matches");
}

static int read_assertion(struct content *c, const struct atlas_jumbf *box, bool created);

static int check_declared(struct content *c, const struct atlas_c2pa_link *link, struct atlas_span label, bool created)
{
    struct atlas_node *node = node_of(c);
    const struct atlas_jumbf *box = atlas_jumbf_index_find(&node->assertions, label);
    bool redacted = atlas_redacted(c->v, c->n, label);
    int rc;
    ATLAS_TRY(uri_of(c, label));
    if (redacted && (box == NULL || emptied(box))) {
        if (box != NULL) {
            c->declared[box - atlas_jumbf_index_at(&node->assertions, 0)] = 1;
        }
        node->inputs_unknown = node->inputs_unknown || atlas_c2pa_kind(label) == ATLAS_C2PA_INPUTS;
        return atlas_report(c->v, c->n, ATLAS_SLOT_COUNT, "assertion.redacted", ATLAS_NOTE, ATLAS_VALID,
                            atlas_buf_span(&c->where), "redacted by a later manifest");
    }
    if (box == NULL) {
        return fail(c, ATLAS_SLOT_ASSERTIONS, "assertion.missing", ATLAS_INVALID, atlas_buf_span(&c->where),
                    "the claim lists an assertion that is not there");
    }
    c->declared[box - atlas_jumbf_index_at(&node->assertions, 0)] = 1;
    if (redacted) {
        ATLAS_TRY(fail(c, ATLAS_SLOT_ASSERTIONS, "assertion.notRedacted", ATLAS_INVALID, atlas_buf_span(&c->where),
                       "said to be redacted, and still there"));
    }
    ATLAS_TRY(compare_hash(c, link, box));
    ATLAS_TRY(read_assertion(c, box, created));
out:
    return rc;
}

static int check_link(struct content *c, const struct atlas_c2pa_link *link, bool created)
{
    struct atlas_c2pa_ref ref;
    if (atlas_c2pa_ref_read(link->url, &ref, NULL) < 0 || ref.target != ATLAS_C2PA_TARGET_ASSERTION) {
        return fail(c, ATLAS_SLOT_ASSERTIONS, "claim.malformed", ATLAS_MALFORMED, link->url,
                    "not a reference to an assertion");
    }
    if (ref.manifest.p != NULL && !atlas_span_equal(ref.manifest, node_of(c)->box.label)) {
        return fail(c, ATLAS_SLOT_ASSERTIONS, "assertion.outsideManifest", ATLAS_INVALID, link->url,
                    "the claim lists an assertion of another manifest");
    }
    return check_declared(c, link, ref.label, created);
}

static int check_list(struct content *c, struct atlas_span encoded, const char *where, bool created)
{
    struct atlas_cbor list;
    int rc = ATLAS_OK;
    if (encoded.p == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_cbor_open_list(&list, encoded, where, NULL));
    while (atlas_cbor_more(&list)) {
        struct atlas_c2pa_link link;
        ATLAS_TRY(atlas_c2pa_link_take(&list, &link));
        ATLAS_TRY(check_link(c, &link, created));
    }
out:
    return rc;
}

static int check_undeclared(struct content *c)
{
    const struct atlas_jumbf_index *index = &node_of(c)->assertions;
    int rc = ATLAS_OK;
    for (size_t i = 0; rc == ATLAS_OK && i < index->n; i++) {
        if (c->declared[i] == 0) {
            rc = uri_of(c, atlas_jumbf_index_at(index, i)->label);
            rc = rc < 0 ? rc
                        : fail(c, ATLAS_SLOT_ASSERTIONS, "assertion.undeclared", ATLAS_INVALID,
                               atlas_buf_span(&c->where), "in the assertion store, and not in the claim");
        }
    }
    return rc;
}

/* --------------------------------------------------------------------------------------------------- hard binding */

static int read_hash_data(struct content *c, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_node *node = node_of(c);
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_c2pa_hash_data hash;
    struct atlas_digest digest;
    if (atlas_c2pa_hash_data_read(assertion, &hash, &why) < 0 ||
        atlas_c2pa_digest(hash.alg, node->claim.alg, hash.hash, "c2pa.hash.data", &digest, &why) < 0) {
        const char *code = why.code == ATLAS_E_ALGORITHM ? "algorithm.unsupported" : "assertion.dataHash.malformed";
        return atlas_report_error(c->v, c->n, ATLAS_SLOT_RULES, code, ATLAS_MALFORMED, atlas_buf_span(&c->where), &why);
    }
    if (hash.excludes) {
        return fail(c, ATLAS_SLOT_RULES, "assertion.dataHash.malformed", ATLAS_MALFORMED, atlas_buf_span(&c->where),
                    "an exclusion in a sidecar leaves bytes unbound");
    }
    node->binding = digest;
    node->binding_name = hash.name;
    node->has_binding = true;
    return ATLAS_OK;
}

static int read_binding(struct content *c, const struct atlas_c2pa_assertion *assertion, bool created)
{
    if (!created) {
        return ATLAS_OK; /* gathered: the signer does not vouch for it */
    }
    c->hard_bindings++;
    if (assertion->kind != ATLAS_C2PA_HASH_DATA) {
        return fail(c, ATLAS_SLOT_RULES, "org.atlasml.binding.unsupported", ATLAS_MALFORMED, atlas_buf_span(&c->where),
                    "a kind of hard binding that is outside the profile");
    }
    return read_hash_data(c, assertion);
}

/* ---------------------------------------------------------------------------------------------------- actions */

static const struct atlas_edge_part *edge_of(const struct content *c, struct atlas_span label)
{
    const struct atlas_node *node = node_of(c);
    for (uint32_t i = 0; i < node->n_edges; i++) {
        const struct atlas_edge_part *edge = &c->v->edges[node->first_edge + i];
        if (atlas_span_equal(edge->view.label, label)) {
            return edge;
        }
    }
    return NULL;
}

/* An action names ingredients of its own manifest, by the hash that the claim has too (C2PA 2.2, 15.10.3.2). */
static bool names_ingredient(struct content *c, const struct atlas_c2pa_link *link,
                             const struct atlas_edge_part **ret_edge)
{
    struct atlas_c2pa_ref ref;
    struct atlas_digest stated;
    struct atlas_digest actual;
    const struct atlas_node *node = node_of(c);
    if (atlas_c2pa_ref_read(link->url, &ref, NULL) < 0 || ref.target != ATLAS_C2PA_TARGET_ASSERTION ||
        (ref.manifest.p != NULL && !atlas_span_equal(ref.manifest, node->box.label))) {
        return false;
    }
    const struct atlas_jumbf *box = atlas_jumbf_index_find(&node->assertions, ref.label);
    *ret_edge = edge_of(c, ref.label);
    if (*ret_edge == NULL && atlas_ingredient_unreadable(c->v, c->n, ref.label)) {
        return true;
    }
    return box != NULL && *ret_edge != NULL &&
           atlas_c2pa_digest(link->alg, node->claim.alg, link->hash, "action", &stated, NULL) == ATLAS_OK &&
           atlas_crypto_digest(stated.alg, box->payload, &actual, NULL) == ATLAS_OK &&
           atlas_digest_equal(&stated, &actual);
}

static int check_action_ingredients(struct content *c, const struct atlas_c2pa_action *action, bool opened)
{
    struct atlas_cbor list;
    size_t n = 0;
    int rc = ATLAS_OK;
    if (action->ingredients.p == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_cbor_open_list(&list, action->ingredients, "action.ingredients", NULL));
    while (atlas_cbor_more(&list)) {
        struct atlas_c2pa_link link;
        const struct atlas_edge_part *edge = NULL;
        ATLAS_TRY(atlas_c2pa_link_take(&list, &link));
        n++;
        if (!names_ingredient(c, &link, &edge)) {
            ATLAS_TRY(fail(c, ATLAS_SLOT_RULES, "assertion.action.ingredientMismatch", ATLAS_INVALID, link.url,
                           "an action names an ingredient that is not this manifest's"));
        } else if (opened) {
            c->opened_parent =
                n == 1 && edge != NULL && edge->ingredient.relationship == ATLAS_C2PA_PARENT_OF;
        }
    }
out:
    return rc;
}

static bool is_action(const struct atlas_c2pa_action *action, const char *name)
{
    return atlas_span_equal(action->action, atlas_span_str(name));
}

static const char *const update_actions[] = {"c2pa.opened", "c2pa.edited.metadata", "c2pa.published", "c2pa.redacted"};

static bool allowed_in_update(const struct atlas_c2pa_action *action)
{
    for (size_t i = 0; i < sizeof update_actions / sizeof update_actions[0]; i++) {
        if (is_action(action, update_actions[i])) {
            return true;
        }
    }
    return false;
}

static int malformed_action(struct content *c, const char *text)
{
    return fail(c, ATLAS_SLOT_RULES, "assertion.action.malformed", ATLAS_MALFORMED, atlas_buf_span(&c->where), text);
}

static int check_action(struct content *c, const struct atlas_c2pa_action *action)
{
    bool created = is_action(action, "c2pa.created");
    bool opened = is_action(action, "c2pa.opened");
    bool first = c->actions++ == 0;
    int rc = ATLAS_OK;
    c->openings += created || opened;
    if (first) {
        c->first_is_opened = opened;
    }
    if (first && !created && !opened) {
        ATLAS_TRY(malformed_action(c, "the first action is neither c2pa.created nor c2pa.opened"));
    }
    if (created && action->digital_source_type.p == NULL) {
        ATLAS_TRY(malformed_action(c, "c2pa.created without a digitalSourceType"));
    }
    if (node_of(c)->manifest.type == ATLAS_C2PA_UPDATE && !allowed_in_update(action)) {
        ATLAS_TRY(fail(c, ATLAS_SLOT_RULES, "manifest.update.invalid", ATLAS_MALFORMED, atlas_buf_span(&c->where),
                       "an action that an update manifest must not have"));
    }
    ATLAS_TRY(check_action_ingredients(c, action, opened));
out:
    return rc;
}

static int walk_actions(struct content *c, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_c2pa_actions actions;
    struct atlas_cbor list;
    int rc;
    if (atlas_c2pa_actions_read(assertion, &actions, &why) < 0) {
        return atlas_report_error(c->v, c->n, ATLAS_SLOT_RULES, "assertion.action.malformed", ATLAS_MALFORMED,
                                  atlas_buf_span(&c->where), &why);
    }
    ATLAS_TRY(atlas_cbor_open_list(&list, actions.actions, "actions", NULL));
    while (atlas_cbor_more(&list)) {
        struct atlas_c2pa_action action;
        ATLAS_TRY(atlas_c2pa_action_take(&list, &action));
        if (c->actions >= MAX_ACTIONS) {
            return fail(c, ATLAS_SLOT_RULES, "assertion.action.malformed", ATLAS_LIMIT, atlas_buf_span(&c->where),
                        "too many actions");
        }
        ATLAS_TRY(check_action(c, &action));
    }
out:
    return rc;
}

/* --------------------------------------------------------------------------------------------- Atlas' own, others */

static int unreadable(struct content *c, const char *code, const struct atlas_error *why)
{
    return atlas_report_error(c->v, c->n, ATLAS_SLOT_RULES, code, ATLAS_MALFORMED, atlas_buf_span(&c->where), why);
}

static int read_measurement(struct content *c, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_node *node = node_of(c);
    if (node->has_measurement) {
        return fail(c, ATLAS_SLOT_RULES, "org.atlasml.measurement.malformed", ATLAS_MALFORMED,
                    atlas_buf_span(&c->where), "more than one measurement");
    }
    if (atlas_ml_measurement_read(assertion, &node->measurement, &why) < 0) {
        return unreadable(c, "org.atlasml.measurement.malformed", &why);
    }
    node->has_measurement = true;
    return ATLAS_OK;
}

static int read_inputs(struct content *c, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_node *node = node_of(c);
    if (node->has_inputs || atlas_ml_inputs_read(assertion, &node->inputs, &why) < 0) {
        if (why.code == ATLAS_OK) {
            atlas_error_set(&why, ATLAS_E_C2PA, "org.atlasml.inputs", "more than one list of inputs");
        }
        node->inputs_unknown = true;
        return unreadable(c, "org.atlasml.inputs.malformed", &why);
    }
    node->has_inputs = true;
    return ATLAS_OK;
}

static int read_run(struct content *c, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_node *node = node_of(c);
    if (node->has_run || atlas_ml_run_read(assertion, &node->run, &why) < 0) {
        if (why.code == ATLAS_OK) {
            atlas_error_set(&why, ATLAS_E_C2PA, "org.atlasml.run", "more than one run");
        }
        return unreadable(c, "org.atlasml.run.malformed", &why);
    }
    node->has_run = true;
    return ATLAS_OK;
}

static int read_attestation(struct content *c, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_node *node = node_of(c);
    if (node->has_attestation || atlas_attestation_read(assertion, &node->attestation, &why) < 0) {
        if (why.code == ATLAS_OK) {
            atlas_error_set(&why, ATLAS_E_C2PA, "c2pa.attestation", "more than one attestation");
        }
        return unreadable(c, "org.atlasml.attestation.malformed", &why);
    }
    node->has_attestation = true;
    return ATLAS_OK;
}

static int read_training_mining(struct content *c, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_c2pa_training_mining use;
    if (atlas_c2pa_training_mining_read(assertion, &use, &why) < 0) {
        return unreadable(c, "org.atlasml.use.malformed", &why);
    }
    /* a word we do not know cannot be taken for a permission */
    node_of(c)->not_for_training = use.ai_training == ATLAS_C2PA_USE_NOT_ALLOWED ||
                                   use.ai_training == ATLAS_C2PA_USE_UNKNOWN ||
                                   use.ai_generative_training == ATLAS_C2PA_USE_NOT_ALLOWED ||
                                   use.ai_generative_training == ATLAS_C2PA_USE_UNKNOWN;
    return ATLAS_OK;
}

static int read_asset_type(struct content *c, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_c2pa_asset_type type;
    if (atlas_c2pa_asset_type_read(assertion, &type, &why) < 0) {
        return unreadable(c, "assertion.cbor.invalid", &why);
    }
    return ATLAS_OK;
}

static int outside_profile(struct content *c, const char *text)
{
    return fail(c, ATLAS_SLOT_RULES, "org.atlasml.form", ATLAS_MALFORMED, atlas_buf_span(&c->where), text);
}

/* A label nobody knows is kept; but CBOR that is none is a failure. */
static int read_other(struct content *c, const struct atlas_c2pa_assertion *assertion)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    if (assertion->type == ATLAS_C2PA_CONTENT_OTHER) {
        return outside_profile(c, "an assertion in a box of a type that C2PA does not know");
    }
    if (assertion->type == ATLAS_C2PA_CONTENT_CBOR && atlas_cbor_check(assertion->content, "assertion", &why) < 0) {
        return unreadable(c, "assertion.cbor.invalid", &why);
    }
    return ATLAS_OK;
}

static int read_assertion(struct content *c, const struct atlas_jumbf *box, bool created)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    struct atlas_c2pa_assertion assertion;
    if (atlas_c2pa_assertion_read(box, &assertion, &why) < 0) {
        return unreadable(c, "assertion.cbor.invalid", &why);
    }
    switch (assertion.kind) {
    case ATLAS_C2PA_HASH_DATA:
    case ATLAS_C2PA_HASH_COLLECTION:
    case ATLAS_C2PA_HASH_UNSUPPORTED:
        return read_binding(c, &assertion, created);
    case ATLAS_C2PA_ACTIONS:
        return walk_actions(c, &assertion); /* c2pa-rs counts gathered ones too */
    case ATLAS_C2PA_ACTIONS_OLD:
        return outside_profile(c, "actions of a version other than 2");
    case ATLAS_C2PA_INGREDIENT_OLD:
        return outside_profile(c, "an ingredient of a version other than 3");
    case ATLAS_C2PA_MEASUREMENT:
        return created ? read_measurement(c, &assertion) : read_other(c, &assertion);
    case ATLAS_C2PA_INPUTS:
        return created ? read_inputs(c, &assertion) : read_other(c, &assertion);
    case ATLAS_C2PA_RUN:
        return created ? read_run(c, &assertion) : read_other(c, &assertion);
    case ATLAS_C2PA_ATTESTATION:
        return created ? read_attestation(c, &assertion) : read_other(c, &assertion);
    case ATLAS_C2PA_TRAINING_MINING:
        return read_training_mining(c, &assertion);
    case ATLAS_C2PA_ASSET_TYPE:
        return read_asset_type(c, &assertion);
    case ATLAS_C2PA_OTHER:
    case ATLAS_C2PA_HASH_PART:
    case ATLAS_C2PA_INGREDIENT: /* read when the graph was built */
    case ATLAS_C2PA_CERTIFICATE_STATUS:
    case ATLAS_C2PA_TIME_STAMP:
    case ATLAS_C2PA_DATA_USE:
    case ATLAS_C2PA_METRICS: /* metrics and coverage: verify_lineage.c, once the inputs are known */
    case ATLAS_C2PA_COVERAGE:
        break;
    }
    return read_other(c, &assertion);
}

/* ------------------------------------------------------------------------------------------------------ rules */

static size_t parents(const struct content *c, const struct atlas_edge_part **ret_parent)
{
    const struct atlas_node *node = node_of(c);
    size_t n = 0;
    for (uint32_t i = 0; i < node->n_edges; i++) {
        const struct atlas_edge_part *edge = &c->v->edges[node->first_edge + i];
        if (edge->ingredient.relationship == ATLAS_C2PA_PARENT_OF) {
            *ret_parent = edge;
            n++;
        }
    }
    return n;
}

/* C2PA 2.2, 11.2.2: an update manifest has no content of its own, and exactly one parent whose content it keeps. */
static int check_update(struct content *c, size_t n_parents, const struct atlas_edge_part *parent)
{
    struct atlas_span urn = node_of(c)->box.label;
    int rc = ATLAS_OK;
    if (c->hard_bindings != 0) {
        ATLAS_TRY(fail(c, ATLAS_SLOT_RULES, "manifest.update.invalid", ATLAS_MALFORMED, urn,
                       "an update manifest with a hard binding"));
    }
    if (n_parents != 1 || node_of(c)->n_edges != 1 || !parent->embedded) {
        ATLAS_TRY(fail(c, ATLAS_SLOT_RULES, "manifest.update.wrongParents", ATLAS_MALFORMED, urn,
                       "an update manifest needs exactly one ingredient, its parent"));
    }
out:
    return rc;
}

static int check_standard(struct content *c)
{
    struct atlas_span urn = node_of(c)->box.label;
    const struct atlas_node *node = node_of(c);
    int rc = ATLAS_OK;
    if (c->hard_bindings == 0) {
        ATLAS_TRY(fail(c, ATLAS_SLOT_RULES, "claim.hardBindings.missing", ATLAS_MALFORMED, urn,
                       "nothing binds the manifest to an artifact"));
    }
    if (c->hard_bindings > 1) {
        ATLAS_TRY(fail(c, ATLAS_SLOT_RULES, "assertion.multipleHardBindings", ATLAS_MALFORMED, urn,
                       "more than one hard binding"));
    }
    if (node->has_binding && node->has_measurement && node->binding.alg != node->measurement.alg) {
        ATLAS_TRY(fail(c, ATLAS_SLOT_RULES, "org.atlasml.measurement.malformed", ATLAS_MALFORMED, urn,
                       "hard binding and tree use different algorithms"));
    }
out:
    return rc;
}

static int check_actions_rules(struct content *c, size_t n_parents)
{
    struct atlas_span urn = node_of(c)->box.label;
    int rc = ATLAS_OK;
    if (c->actions == 0) {
        return fail(c, ATLAS_SLOT_RULES, "claim.actions.missing", ATLAS_MALFORMED, urn, "no actions");
    }
    if (c->openings > 1) {
        ATLAS_TRY(fail(c, ATLAS_SLOT_RULES, "assertion.action.malformed", ATLAS_MALFORMED, urn,
                       "more than one c2pa.created or c2pa.opened"));
    }
    if (c->first_is_opened != (n_parents == 1) || (c->first_is_opened && !c->opened_parent)) {
        ATLAS_TRY(fail(c, ATLAS_SLOT_RULES, "assertion.action.ingredientMismatch", ATLAS_INVALID, urn,
                       "c2pa.opened and the parentOf ingredient do not belong together"));
    }
out:
    return rc;
}

static int check_rules(struct content *c)
{
    const struct atlas_edge_part *parent = NULL;
    size_t n_parents = parents(c, &parent);
    int rc;
    if (n_parents > 1) {
        ATLAS_TRY(fail(c, ATLAS_SLOT_RULES, "manifest.multipleParents", ATLAS_MALFORMED, node_of(c)->box.label,
                       "more than one parentOf ingredient"));
    }
    ATLAS_TRY(node_of(c)->manifest.type == ATLAS_C2PA_UPDATE ? check_update(c, n_parents, parent) : check_standard(c));
    ATLAS_TRY(check_actions_rules(c, n_parents));
    if (node_of(c)->slots[ATLAS_SLOT_RULES] != ATLAS_FAILED) {
        ATLAS_TRY(atlas_report(c->v, c->n, ATLAS_SLOT_RULES, "org.atlasml.rules", ATLAS_PASSED, ATLAS_VALID,
                               node_of(c)->box.label, "the rules for this type of manifest hold"));
    }
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------- */

int atlas_check_content(struct atlas_verifier *v, uint32_t n, struct atlas_error *error)
{
    struct content c = {.v = v, .n = n, .where = ATLAS_BUF_INIT};
    int rc;
    if (!v->nodes[n].has_claim) {
        return ATLAS_OK;
    }
    c.declared = calloc(v->nodes[n].assertions.n + 1, 1);
    if (c.declared == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    ATLAS_TRY(check_list(&c, v->nodes[n].claim.created, "claim.created_assertions", true));
    ATLAS_TRY(check_list(&c, v->nodes[n].claim.gathered, "claim.gathered_assertions", false));
    ATLAS_TRY(check_undeclared(&c));
    ATLAS_TRY(check_rules(&c));
    ATLAS_TRY(atlas_redactions_have_actions(v, n));
    atlas_slot_set(&v->nodes[n], ATLAS_SLOT_ASSERTIONS, ATLAS_PASSED);
out:
    free(c.declared);
    atlas_buf_release(&c.where);
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}
