#include "format/assertion.h"

/* Read the one map of an assertion by its table. */
static int read_all(const struct atlas_c2pa_assertion *assertion, const char *where,
                    const struct atlas_cbor_field *fields, size_t n, void *view, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    ATLAS_TRY(atlas_c2pa_assertion_cbor(assertion, where, &c, error));
    ATLAS_TRY(atlas_cbor_read_map(&c, fields, n, view));
    rc = atlas_cbor_finish(&c);
out:
    return rc;
}

/* Read a map that was kept encoded by its table. */
static int read_part(struct atlas_span item, const char *where, const struct atlas_cbor_field *fields, size_t n,
                     void *view, struct atlas_error *error)
{
    struct atlas_cbor c;
    atlas_cbor_open(&c, item, where, error);
    c.misfit = ATLAS_E_C2PA;
    return atlas_cbor_read_map(&c, fields, n, view);
}

static int open_list(struct atlas_cbor *c, struct atlas_span array, const char *where, struct atlas_error *error)
{
    int rc = atlas_cbor_open_list(c, array, where, error);
    c->misfit = ATLAS_E_C2PA;
    return rc;
}

/* ----------------------------------------------------------------------------------------- c2pa.hash.data */

static const struct atlas_cbor_field hash_data_fields[] = {
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_hash_data, "exclusions", ANY, exclusions),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_hash_data, "alg", TEXT, alg),
    ATLAS_CBOR_REQUIRED(atlas_c2pa_hash_data, "hash", BYTES, hash),
    ATLAS_CBOR_REQUIRED(atlas_c2pa_hash_data, "pad", BYTES, pad),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_hash_data, "name", TEXT, name),
};

int atlas_c2pa_hash_data_read(const struct atlas_c2pa_assertion *assertion, struct atlas_c2pa_hash_data *ret_hash,
                              struct atlas_error *error)
{
    struct atlas_c2pa_hash_data hash = {0};
    int rc = read_all(assertion, "c2pa.hash.data", hash_data_fields, ATLAS_COUNT(hash_data_fields), &hash, error);
    if (rc == ATLAS_OK) {
        hash.excludes = hash.exclusions.p != NULL;
        *ret_hash = hash;
    }
    return rc;
}

int atlas_c2pa_hash_data_write(struct atlas_buf *b, const struct atlas_c2pa_hash_data *hash, struct atlas_error *error)
{
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_raw(&m, "exclusions", hash->exclusions);
    atlas_cbor_map_put_text(&m, "alg", hash->alg);
    atlas_cbor_map_put_bytes(&m, "hash", hash->hash);
    atlas_cbor_map_put_bytes(&m, "pad", hash->pad.p != NULL ? hash->pad : ATLAS_LIT(""));
    atlas_cbor_map_put_text(&m, "name", hash->name);
    int rc = atlas_cbor_map_write(&m, b, error);
    atlas_cbor_map_release(&m);
    return rc;
}

/* ------------------------------------------------------------------------------------- c2pa.ingredient.v3 */

static const char *const relationships[] = {NULL, "parentOf", "componentOf", "inputTo"};

const char *atlas_c2pa_relationship_name(int relationship)
{
    return relationship > 0 && (size_t)relationship < ATLAS_COUNT(relationships) ? relationships[relationship] : NULL;
}

int atlas_c2pa_relationship_of(struct atlas_span name)
{
    for (size_t i = 1; i < ATLAS_COUNT(relationships); i++) {
        if (atlas_span_equal(name, atlas_span_str(relationships[i]))) {
            return (int)i;
        }
    }
    return 0;
}

#define INGREDIENT "c2pa.ingredient.v3"

/* What the table finds, before it is made into the view. */
struct raw_ingredient {
    struct atlas_c2pa_ingredient view;
    struct atlas_span relationship;
    struct atlas_span active_manifest;
    struct atlas_span claim_signature;
    struct atlas_span data;
};

static const struct atlas_cbor_field ingredient_fields[] = {
    ATLAS_CBOR_REQUIRED(raw_ingredient, "relationship", TEXT, relationship),
    ATLAS_CBOR_OPTIONAL(raw_ingredient, "dc:title", TEXT, view.title),
    ATLAS_CBOR_OPTIONAL(raw_ingredient, "dc:format", TEXT, view.format),
    ATLAS_CBOR_OPTIONAL(raw_ingredient, "instanceID", TEXT, view.instance_id),
    ATLAS_CBOR_OPTIONAL(raw_ingredient, "activeManifest", MAP, active_manifest),
    ATLAS_CBOR_OPTIONAL(raw_ingredient, "claimSignature", MAP, claim_signature),
    ATLAS_CBOR_OPTIONAL(raw_ingredient, "data", MAP, data),
    ATLAS_CBOR_OPTIONAL(raw_ingredient, "validationResults", MAP, view.validation_results),
};

/* C2PA 2.2, 9.3 and 15.2: {code, url, ...} entries in three lists. */
struct statuses {
    struct atlas_span success;
    struct atlas_span informational;
    struct atlas_span failure;
};

static const struct atlas_cbor_field statuses_fields[] = {
    ATLAS_CBOR_OPTIONAL(statuses, "success", ARRAY, success),
    ATLAS_CBOR_OPTIONAL(statuses, "informational", ARRAY, informational),
    ATLAS_CBOR_OPTIONAL(statuses, "failure", ARRAY, failure),
};

struct results {
    struct atlas_span active;
    struct atlas_span deltas;
    struct atlas_span delta;
};

static const struct atlas_cbor_field results_fields[] = {
    ATLAS_CBOR_OPTIONAL(results, "activeManifest", MAP, active),
    ATLAS_CBOR_OPTIONAL(results, "ingredientDeltas", ARRAY, deltas),
};

static const struct atlas_cbor_field delta_fields[] = {ATLAS_CBOR_REQUIRED(results, "validationDeltas", MAP, delta)};

struct status {
    struct atlas_span code;
    struct atlas_span url;
};

static const struct atlas_cbor_field status_fields[] = {
    ATLAS_CBOR_REQUIRED(status, "code", TEXT, code),
    ATLAS_CBOR_OPTIONAL(status, "url", TEXT, url),
};

/* Every entry is checked to be one. */
static int count_entries(struct atlas_span list, size_t *ret_count, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    size_t count = 0;
    static const char where[] = INGREDIENT ".validationResults";
    if (list.p == NULL) {
        *ret_count = 0;
        return ATLAS_OK;
    }
    ATLAS_TRY(open_list(&c, list, where, error));
    for (; atlas_cbor_more(&c); count++) {
        struct status status = {0};
        ATLAS_TRY(atlas_cbor_read_map(&c, status_fields, ATLAS_COUNT(status_fields), &status));
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
    *ret_count = count;
out:
    return rc;
}

static int count_failures(struct atlas_span map, size_t *count, struct atlas_error *error)
{
    int rc;
    size_t n = 0;
    struct statuses statuses = {0};
    static const char where[] = INGREDIENT ".validationResults";
    ATLAS_TRY(read_part(map, where, statuses_fields, ATLAS_COUNT(statuses_fields), &statuses, error));
    ATLAS_TRY(count_entries(statuses.success, &n, error));
    ATLAS_TRY(count_entries(statuses.informational, &n, error));
    ATLAS_TRY(count_entries(statuses.failure, &n, error));
    *count += n;
out:
    return rc;
}

/* The failures that the signer's own verifier recorded, of the ingredient and of what lies behind it. */
static int count_recorded(struct atlas_span map, size_t *ret_count, struct atlas_error *error)
{
    int rc;
    size_t count = 0;
    struct atlas_cbor c;
    struct results results = {0};
    static const char where[] = INGREDIENT ".validationResults";
    ATLAS_TRY(read_part(map, where, results_fields, ATLAS_COUNT(results_fields), &results, error));
    if (results.active.p != NULL) {
        ATLAS_TRY(count_failures(results.active, &count, error));
    }
    if (results.deltas.p != NULL) {
        ATLAS_TRY(open_list(&c, results.deltas, where, error));
        while (atlas_cbor_more(&c)) {
            ATLAS_TRY(atlas_cbor_read_map(&c, delta_fields, ATLAS_COUNT(delta_fields), &results));
            ATLAS_TRY(count_failures(results.delta, &count, error));
        }
        ATLAS_TRY(atlas_cbor_leave(&c));
    }
    *ret_count = count;
    rc = ATLAS_OK;
out:
    return rc;
}

/* A link that must lead to this target of another manifest, named absolutely. */
static int read_target(struct atlas_span item, const char *where, enum atlas_c2pa_target target,
                       struct atlas_c2pa_link *ret_link, struct atlas_span *ret_urn, struct atlas_error *error)
{
    int rc;
    struct atlas_c2pa_link link;
    struct atlas_c2pa_ref ref = {0};
    ATLAS_TRY(atlas_c2pa_link_read(item, where, &link, error));
    if (atlas_c2pa_ref_read(link.url, &ref, NULL) < 0 || ref.target != target || ref.manifest.p == NULL) {
        return atlas_error_set(error, ATLAS_E_C2PA, where, "its url leads to the wrong kind of box");
    }
    *ret_link = link;
    *ret_urn = ref.manifest;
out:
    return rc;
}

/* C2PA 2.2, 18.16.12: with an active manifest come the results of its validation; its signature is named only then. */
static int read_provenance(const struct raw_ingredient *raw, struct atlas_c2pa_ingredient *view,
                           struct atlas_error *error)
{
    int rc;
    struct atlas_span manifest = ATLAS_SPAN_NONE;
    struct atlas_span signature = ATLAS_SPAN_NONE;
    view->has_active_manifest = raw->active_manifest.p != NULL;
    view->has_claim_signature = raw->claim_signature.p != NULL;
    if (!view->has_active_manifest) {
        return view->has_claim_signature
                   ? atlas_error_set(error, ATLAS_E_C2PA, INGREDIENT, "names a signature, but no manifest")
                   : ATLAS_OK;
    }
    if (!view->has_claim_signature || view->validation_results.p == NULL) {
        return atlas_error_set(error, ATLAS_E_C2PA, INGREDIENT, "has no %s for its manifest",
                               view->has_claim_signature ? "validationResults" : "claimSignature");
    }
    ATLAS_TRY(read_target(raw->active_manifest, INGREDIENT ".activeManifest", ATLAS_C2PA_TARGET_MANIFEST,
                          &view->active_manifest, &manifest, error));
    ATLAS_TRY(read_target(raw->claim_signature, INGREDIENT ".claimSignature", ATLAS_C2PA_TARGET_SIGNATURE,
                          &view->claim_signature, &signature, error));
    if (!atlas_span_equal(manifest, signature)) {
        return atlas_error_set(error, ATLAS_E_C2PA, INGREDIENT, "names the signature of another manifest");
    }
out:
    return rc;
}

int atlas_c2pa_ingredient_read(const struct atlas_c2pa_assertion *assertion,
                               struct atlas_c2pa_ingredient *ret_ingredient, struct atlas_error *error)
{
    int rc;
    struct raw_ingredient raw = {0};
    struct atlas_c2pa_ingredient *view = &raw.view;
    ATLAS_TRY(read_all(assertion, INGREDIENT, ingredient_fields, ATLAS_COUNT(ingredient_fields), &raw, error));
    view->relationship = atlas_c2pa_relationship_of(raw.relationship);
    if (view->relationship == 0) {
        return atlas_error_set(error, ATLAS_E_C2PA, INGREDIENT ".relationship", "is none that C2PA knows");
    }
    ATLAS_TRY(read_provenance(&raw, view, error));
    view->has_data = raw.data.p != NULL;
    if (view->has_data) {
        ATLAS_TRY(atlas_c2pa_link_read(raw.data, INGREDIENT ".data", &view->data, error));
    }
    if (view->validation_results.p != NULL) {
        ATLAS_TRY(count_recorded(view->validation_results, &view->recorded_failures, error));
    }
    *ret_ingredient = *view;
out:
    return rc;
}

static int put_link(struct atlas_cbor_map *m, const char *key, bool present, const struct atlas_c2pa_link *link,
                    struct atlas_error *error)
{
    return present ? atlas_c2pa_link_write(atlas_cbor_map_key(m, key), link, error) : ATLAS_OK;
}

int atlas_c2pa_ingredient_write(struct atlas_buf *b, const struct atlas_c2pa_ingredient *ingredient,
                                struct atlas_error *error)
{
    int rc;
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    const char *relationship = atlas_c2pa_relationship_name(ingredient->relationship);
    if (relationship == NULL) {
        return atlas_error_set(error, ATLAS_E_ARG, INGREDIENT ".relationship", "is none that C2PA knows");
    }
    atlas_cbor_map_put_text(&m, "relationship", atlas_span_str(relationship));
    atlas_cbor_map_put_text(&m, "dc:title", ingredient->title);
    atlas_cbor_map_put_text(&m, "dc:format", ingredient->format);
    atlas_cbor_map_put_text(&m, "instanceID", ingredient->instance_id);
    atlas_cbor_map_put_raw(&m, "validationResults", ingredient->validation_results);
    ATLAS_TRY(put_link(&m, "activeManifest", ingredient->has_active_manifest, &ingredient->active_manifest, error));
    ATLAS_TRY(put_link(&m, "claimSignature", ingredient->has_claim_signature, &ingredient->claim_signature, error));
    ATLAS_TRY(put_link(&m, "data", ingredient->has_data, &ingredient->data, error));
    ATLAS_TRY(atlas_cbor_map_write(&m, b, error));
out:
    atlas_cbor_map_release(&m);
    return rc;
}

static int put_statuses(struct atlas_cbor_map *m, const char *key, const struct atlas_c2pa_status *statuses, size_t n,
                        struct atlas_error *error)
{
    struct atlas_buf *list = atlas_cbor_map_key(m, key);
    atlas_cbor_write_array(list, n);
    int rc = ATLAS_OK;
    for (size_t i = 0; rc == ATLAS_OK && i < n; i++) {
        struct atlas_cbor_map entry = ATLAS_CBOR_MAP_INIT;
        atlas_cbor_map_put_text(&entry, "code", statuses[i].code);
        atlas_cbor_map_put_text(&entry, "url", statuses[i].url);
        rc = atlas_cbor_map_write(&entry, list, error);
        atlas_cbor_map_release(&entry);
    }
    return rc;
}

int atlas_c2pa_validation_results_write(struct atlas_buf *b, const struct atlas_c2pa_status *success, size_t n_success,
                                        const struct atlas_c2pa_status *failure, size_t n_failure,
                                        struct atlas_error *error)
{
    int rc;
    struct atlas_cbor_map active = ATLAS_CBOR_MAP_INIT;
    struct atlas_cbor_map results = ATLAS_CBOR_MAP_INIT;
    ATLAS_TRY(put_statuses(&active, "success", success, n_success, error));
    ATLAS_TRY(put_statuses(&active, "informational", NULL, 0, error));
    ATLAS_TRY(put_statuses(&active, "failure", failure, n_failure, error));
    ATLAS_TRY(atlas_cbor_map_write(&active, atlas_cbor_map_key(&results, "activeManifest"), error));
    atlas_cbor_write_array(atlas_cbor_map_key(&results, "ingredientDeltas"), 0);
    ATLAS_TRY(atlas_cbor_map_write(&results, b, error));
out:
    atlas_cbor_map_release(&active);
    atlas_cbor_map_release(&results);
    return rc;
}

/* ----------------------------------------------------------------------------------------- c2pa.actions.v2 */

static const struct atlas_cbor_field actions_fields[] = {
    ATLAS_CBOR_REQUIRED(atlas_c2pa_actions, "actions", ARRAY, actions),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_actions, "allActionsIncluded", BOOL, all_included),
};

static const struct atlas_cbor_field action_fields[] = {
    ATLAS_CBOR_REQUIRED(atlas_c2pa_action, "action", TEXT, action),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_action, "when", DATE, when),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_action, "digitalSourceType", TEXT, digital_source_type),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_action, "reason", TEXT, reason),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_action, "description", TEXT, description),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_action, "parameters", MAP, parameters),
};

static const struct atlas_cbor_field parameter_fields[] = {
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_action, "ingredients", ARRAY, ingredients),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_action, "redacted", TEXT, redacted),
};

static int read_parameters(struct atlas_c2pa_action *action, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    static const char where[] = "c2pa.actions.v2.parameters";
    ATLAS_TRY(read_part(action->parameters, where, parameter_fields, ATLAS_COUNT(parameter_fields), action, error));
    if (action->ingredients.p == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(open_list(&c, action->ingredients, "c2pa.actions.v2.ingredients", error));
    while (atlas_cbor_more(&c)) {
        struct atlas_c2pa_link link;
        ATLAS_TRY(atlas_c2pa_link_take(&c, &link));
    }
    rc = atlas_cbor_leave(&c);
out:
    return rc;
}

int atlas_c2pa_action_take(struct atlas_cbor *c, struct atlas_c2pa_action *ret_action)
{
    struct atlas_c2pa_action action = {0};
    int rc = atlas_cbor_read_map(c, action_fields, ATLAS_COUNT(action_fields), &action);
    if (rc == ATLAS_OK && action.parameters.p != NULL) {
        rc = read_parameters(&action, c->error);
        c->rc = rc;
    }
    if (rc == ATLAS_OK) {
        *ret_action = action;
    }
    return rc;
}

int atlas_c2pa_actions_read(const struct atlas_c2pa_assertion *assertion, struct atlas_c2pa_actions *ret_actions,
                            struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct atlas_c2pa_actions actions = {0};
    static const char where[] = "c2pa.actions.v2";
    ATLAS_TRY(read_all(assertion, where, actions_fields, ATLAS_COUNT(actions_fields), &actions, error));
    ATLAS_TRY(open_list(&c, actions.actions, "c2pa.actions.v2.actions", error));
    if (!atlas_cbor_more(&c)) {
        return atlas_cbor_refuse(&c, ATLAS_E_C2PA, "is empty");
    }
    while (atlas_cbor_more(&c)) {
        struct atlas_c2pa_action action;
        ATLAS_TRY(atlas_c2pa_action_take(&c, &action));
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
    *ret_actions = actions;
out:
    return rc;
}

static int put_parameters(struct atlas_cbor_map *m, const struct atlas_c2pa_action *action, struct atlas_error *error)
{
    if (action->ingredients.p == NULL && action->redacted.p == NULL) {
        atlas_cbor_map_put_raw(m, "parameters", action->parameters);
        return ATLAS_OK;
    }
    struct atlas_cbor_map parameters = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_raw(&parameters, "ingredients", action->ingredients);
    atlas_cbor_map_put_text(&parameters, "redacted", action->redacted);
    int rc = atlas_cbor_map_write(&parameters, atlas_cbor_map_key(m, "parameters"), error);
    atlas_cbor_map_release(&parameters);
    return rc;
}

int atlas_c2pa_action_write(struct atlas_buf *b, const struct atlas_c2pa_action *action, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_text(&m, "action", action->action);
    atlas_cbor_map_put_date(&m, "when", action->when);
    atlas_cbor_map_put_text(&m, "digitalSourceType", action->digital_source_type);
    atlas_cbor_map_put_text(&m, "reason", action->reason);
    atlas_cbor_map_put_text(&m, "description", action->description);
    ATLAS_TRY(put_parameters(&m, action, error));
    ATLAS_TRY(atlas_cbor_map_write(&m, b, error));
out:
    atlas_cbor_map_release(&m);
    return rc;
}

int atlas_c2pa_actions_write(struct atlas_buf *b, const struct atlas_c2pa_actions *actions, struct atlas_error *error)
{
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_raw(&m, "actions", actions->actions);
    if (actions->all_included.present) {
        atlas_cbor_map_put_bool(&m, "allActionsIncluded", actions->all_included.v != 0);
    }
    int rc = atlas_cbor_map_write(&m, b, error);
    atlas_cbor_map_release(&m);
    return rc;
}

/* -------------------------------------------------------------------------------------- c2pa.asset-type.v2 */

static const struct atlas_cbor_field asset_type_fields[] = {
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_asset_type, "dc:format", TEXT, format),
    ATLAS_CBOR_OPTIONAL(atlas_c2pa_asset_type, "types", ARRAY, types),
};

int atlas_c2pa_asset_type_read(const struct atlas_c2pa_assertion *assertion, struct atlas_c2pa_asset_type *ret_type,
                               struct atlas_error *error)
{
    struct atlas_c2pa_asset_type type = {0};
    int rc = read_all(assertion, "c2pa.asset-type.v2", asset_type_fields, ATLAS_COUNT(asset_type_fields), &type, error);
    if (rc == ATLAS_OK) {
        *ret_type = type;
    }
    return rc;
}

int atlas_c2pa_asset_type_write(struct atlas_buf *b, struct atlas_span format, const struct atlas_span *types, size_t n,
                                struct atlas_error *error)
{
    int rc;
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_text(&m, "dc:format", format);
    struct atlas_buf *list = atlas_cbor_map_key(&m, "types");
    atlas_cbor_write_array(list, n);
    for (size_t i = 0; i < n; i++) {
        struct atlas_cbor_map entry = ATLAS_CBOR_MAP_INIT;
        atlas_cbor_map_put_text(&entry, "type", types[i]);
        rc = atlas_cbor_map_write(&entry, list, error);
        atlas_cbor_map_release(&entry);
        ATLAS_TRY(rc);
    }
    ATLAS_TRY(atlas_cbor_map_write(&m, b, error));
out:
    atlas_cbor_map_release(&m);
    return rc;
}

/* ------------------------------------------------------------------------------------ cawg.training-mining */

struct training {
    struct atlas_span entries;
    struct atlas_span use;
};

static const struct atlas_cbor_field training_fields[] = {ATLAS_CBOR_REQUIRED(training, "entries", MAP, entries)};
static const struct atlas_cbor_field use_fields[] = {ATLAS_CBOR_REQUIRED(training, "use", TEXT, use)};

static enum atlas_c2pa_use use_of(struct atlas_span word)
{
    if (atlas_span_equal(word, ATLAS_LIT("allowed"))) {
        return ATLAS_C2PA_USE_ALLOWED;
    }
    if (atlas_span_equal(word, ATLAS_LIT("notAllowed"))) {
        return ATLAS_C2PA_USE_NOT_ALLOWED;
    }
    return atlas_span_equal(word, ATLAS_LIT("constrained")) ? ATLAS_C2PA_USE_CONSTRAINED : ATLAS_C2PA_USE_UNKNOWN;
}

static enum atlas_c2pa_use *use_named(struct atlas_c2pa_training_mining *t, struct atlas_span name)
{
    struct atlas_span prefix;
    if (!atlas_span_starts_with(name, ATLAS_LIT("cawg.")) && !atlas_span_starts_with(name, ATLAS_LIT("c2pa."))) {
        return NULL;
    }
    (void)atlas_span_take(&name, sizeof "cawg." - 1, &prefix);
    if (atlas_span_equal(name, ATLAS_LIT("ai_training"))) {
        return &t->ai_training;
    }
    if (atlas_span_equal(name, ATLAS_LIT("ai_generative_training"))) {
        return &t->ai_generative_training;
    }
    if (atlas_span_equal(name, ATLAS_LIT("ai_inference"))) {
        return &t->ai_inference;
    }
    return atlas_span_equal(name, ATLAS_LIT("data_mining")) ? &t->data_mining : NULL;
}

/* How much a word forbids; of two that contradict each other the one that forbids more counts. */
static int severity(enum atlas_c2pa_use use)
{
    static const int order[] = {[ATLAS_C2PA_USE_UNSTATED] = 0,
                                [ATLAS_C2PA_USE_ALLOWED] = 1,
                                [ATLAS_C2PA_USE_UNKNOWN] = 2,
                                [ATLAS_C2PA_USE_CONSTRAINED] = 3,
                                [ATLAS_C2PA_USE_NOT_ALLOWED] = 4};
    return order[use];
}

static int take_use(struct atlas_cbor *c, struct atlas_c2pa_training_mining *t)
{
    struct atlas_span name = ATLAS_SPAN_NONE;
    struct training entry = {0};
    int rc = atlas_cbor_take_text(c, &name);
    enum atlas_c2pa_use *use = rc == ATLAS_OK ? use_named(t, name) : NULL;
    if (use == NULL) {
        return atlas_cbor_skip(c);
    }
    rc = atlas_cbor_read_map(c, use_fields, ATLAS_COUNT(use_fields), &entry);
    if (rc == ATLAS_OK && severity(use_of(entry.use)) > severity(*use)) {
        *use = use_of(entry.use);
    }
    return rc;
}

int atlas_c2pa_training_mining_read(const struct atlas_c2pa_assertion *assertion,
                                    struct atlas_c2pa_training_mining *ret_use, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct training training = {0};
    struct atlas_c2pa_training_mining uses = {0};
    static const char where[] = "cawg.training-mining";
    ATLAS_TRY(read_all(assertion, where, training_fields, ATLAS_COUNT(training_fields), &training, error));
    atlas_cbor_open(&c, training.entries, where, error);
    c.misfit = ATLAS_E_C2PA;
    ATLAS_TRY(atlas_cbor_enter_map(&c, NULL));
    while (atlas_cbor_more(&c)) {
        ATLAS_TRY(take_use(&c, &uses));
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
    *ret_use = uses;
out:
    return rc;
}
