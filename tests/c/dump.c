/* dump.c - everything that the readers expose, as text; declared in sample.h. Iterative: fuzz targets use it too. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "format/assertion.h"
#include "format/atlasml.h"
#include "format/cose.h"
#include "sample.h"

static void put(struct atlas_buf *text, const char *format, ...) ATLAS_PRINTF(2, 3);
static void put(struct atlas_buf *text, const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    atlas_buf_append(text, atlas_span_str(line));
}

/* Name, length and bytes: unambiguous, whatever the bytes are. */
static void put_span(struct atlas_buf *text, const char *name, struct atlas_span s)
{
    put(text, s.p != NULL ? "%s[%zu]=" : "%s absent %zu", name, s.n);
    atlas_buf_append(text, s);
    put(text, "\n");
}

/* -------------------------------------------------------------------------------------------------- cbor */

static void put_integer(struct atlas_cbor *c, enum atlas_cbor_type type, struct atlas_buf *text)
{
    uint64_t v = 0;
    if (type == ATLAS_CBOR_UINT) {
        (void)atlas_cbor_take_uint(c, &v);
        put(text, "+%llu\n", (unsigned long long)v);
    } else if (atlas_cbor_take_negint(c, &v) == ATLAS_OK) {
        put(text, "-1-%llu\n", (unsigned long long)v);
    }
}

static void put_simple(struct atlas_cbor *c, enum atlas_cbor_type type, struct atlas_buf *text)
{
    bool flag = false;
    struct atlas_span item = ATLAS_SPAN_NONE;
    if (type == ATLAS_CBOR_BOOL) {
        (void)atlas_cbor_take_bool(c, &flag);
        put(text, flag ? "true\n" : "false\n");
    } else if (type == ATLAS_CBOR_FLOAT) { /* its bytes: every width and every NaN is another item */
        (void)atlas_cbor_take_raw(c, &item);
        put_span(text, "float", item);
    } else {
        (void)atlas_cbor_take_null(c);
        put(text, "null\n");
    }
}

static void put_item(struct atlas_cbor *c, struct atlas_buf *text)
{
    uint32_t n = 0;
    uint64_t tag = 0;
    struct atlas_span s = ATLAS_SPAN_NONE;
    enum atlas_cbor_type type = atlas_cbor_peek(c);
    switch (type) {
    case ATLAS_CBOR_UINT:
    case ATLAS_CBOR_NEGINT:
        put_integer(c, type, text);
        break;
    case ATLAS_CBOR_BYTES:
        (void)atlas_cbor_take_bytes(c, &s);
        put_span(text, "bytes", s);
        break;
    case ATLAS_CBOR_TEXT:
        (void)atlas_cbor_take_text(c, &s);
        put_span(text, "text", s);
        break;
    case ATLAS_CBOR_ARRAY:
        (void)atlas_cbor_enter_array(c, &n);
        put(text, "array %u (\n", n);
        break;
    case ATLAS_CBOR_MAP:
        (void)atlas_cbor_enter_map(c, &n);
        put(text, "map %u (\n", n);
        break;
    case ATLAS_CBOR_TAG:
        (void)atlas_cbor_take_tag(c, &tag);
        put(text, "tag %llu\n", (unsigned long long)tag);
        break;
    default:
        put_simple(c, type, text);
    }
}

int dump_cbor(struct atlas_span bytes, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_cbor c;
    int rc = atlas_cbor_init(&c, bytes, "cbor", error);
    while (rc == ATLAS_OK && (c.depth != 0 || atlas_cbor_more(&c))) {
        if (atlas_cbor_more(&c)) {
            put_item(&c, text);
        } else {
            (void)atlas_cbor_leave(&c);
            put(text, ")\n");
        }
        rc = c.rc;
    }
    return rc < 0 ? rc : atlas_cbor_finish(&c);
}

/* -------------------------------------------------------------------------------------------------- cose */

static int put_cose(const struct atlas_cose_sign1 *s, struct atlas_buf *text, struct atlas_error *error)
{
    put(text, "alg %lld\n", (long long)s->alg);
    put_span(text, "protected", s->protected_);
    put_span(text, "payload", s->payload);
    put_span(text, "signature", s->signature);
    put_span(text, "timestamp", s->timestamp);
    put_span(text, "timestamp_v1", s->timestamp_v1);
    put_span(text, "ocsp", s->ocsp);
    for (size_t i = 0; i < s->certificates; i++) {
        struct atlas_span der;
        int rc = atlas_cose_certificate(s, i, &der, error);
        if (rc < 0) {
            return rc;
        }
        put_span(text, "certificate", der);
    }
    return ATLAS_OK;
}

int dump_cose(struct atlas_span bytes, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_cose_sign1 sign1;
    int rc = atlas_cose_claim_signature_read(bytes, &sign1, error);
    return rc < 0 ? rc : put_cose(&sign1, text, error);
}

/* ------------------------------------------------------------------------------------------------- jumbf */

static void put_superbox(struct atlas_buf *text, const struct atlas_jumbf *box)
{
    put(text, "superbox %08x of %zu bytes\n", box->kind, box->box.n);
    put_span(text, "label", box->label);
    put_span(text, "salt", box->salt);
}

int dump_jumbf(struct atlas_span bytes, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_jumbf outer;
    int rc = atlas_jumbf_check(bytes, "boxes", error);
    if (rc == ATLAS_OK) {
        rc = atlas_jumbf_read(bytes, "boxes", &outer, error);
    }
    if (rc < 0) {
        return rc;
    }
    put_superbox(text, &outer);
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(outer.content, "boxes", error);
    while (rc == ATLAS_OK && atlas_jumbf_more(&it)) {
        struct atlas_jumbf_box box;
        rc = atlas_jumbf_next_box(&it, &box);
        if (rc == ATLAS_OK) {
            put(text, "box %08x of %zu bytes\n", box.type, box.box.n);
            put_span(text, "payload", box.payload);
        }
    }
    return rc;
}

/* ----------------------------------------------------------------------------------------------- assertions */

static void put_link(struct atlas_buf *text, const struct atlas_c2pa_link *link)
{
    struct atlas_c2pa_ref ref = {0};
    put_span(text, "url", link->url);
    put_span(text, "alg", link->alg);
    put_span(text, "hash", link->hash);
    put_span(text, "format", link->format);
    put(text, "size %d %llu external %d\n", link->size.present, (unsigned long long)link->size.v, link->external);
    if (atlas_c2pa_ref_read(link->url, &ref, NULL) == ATLAS_OK) {
        put(text, "target %d\n", (int)ref.target);
        put_span(text, "manifest", ref.manifest);
        put_span(text, "label", ref.label);
    }
}

static void put_links(struct atlas_buf *text, struct atlas_span list)
{
    struct atlas_cbor c;
    struct atlas_c2pa_link link;
    if (list.p == NULL || atlas_cbor_open_list(&c, list, "links", NULL) < 0) {
        return;
    }
    while (atlas_cbor_more(&c) && atlas_c2pa_link_take(&c, &link) == ATLAS_OK) {
        put_link(text, &link);
    }
}

static int put_hash_data(const struct atlas_c2pa_assertion *a, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_c2pa_hash_data hash;
    int rc = atlas_c2pa_hash_data_read(a, &hash, error);
    if (rc == ATLAS_OK) {
        struct atlas_digest digest;
        put_span(text, "exclusions", hash.exclusions);
        put_span(text, "alg", hash.alg);
        put_span(text, "hash", hash.hash);
        put_span(text, "pad", hash.pad);
        put_span(text, "name", hash.name);
        put(text, "digest %d\n", atlas_c2pa_digest(hash.alg, ATLAS_LIT("sha256"), hash.hash, "", &digest, NULL));
    }
    return rc;
}

static int put_ingredient(const struct atlas_c2pa_assertion *a, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_c2pa_ingredient i;
    int rc = atlas_c2pa_ingredient_read(a, &i, error);
    if (rc == ATLAS_OK) {
        put(text, "%s failures %zu\n", atlas_c2pa_relationship_name(i.relationship), i.recorded_failures);
        put_span(text, "title", i.title);
        put_span(text, "format", i.format);
        put_span(text, "instance", i.instance_id);
        put_span(text, "results", i.validation_results);
        put(text, "has %d %d %d\n", i.has_active_manifest, i.has_claim_signature, i.has_data);
        put_link(text, &i.active_manifest);
        put_link(text, &i.claim_signature);
        put_link(text, &i.data);
    }
    return rc;
}

static int put_actions(const struct atlas_c2pa_assertion *a, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_cbor c;
    struct atlas_c2pa_action action;
    struct atlas_c2pa_actions actions;
    int rc = atlas_c2pa_actions_read(a, &actions, error);
    if (rc < 0) {
        return rc;
    }
    put(text, "all %d %llu\n", actions.all_included.present, (unsigned long long)actions.all_included.v);
    rc = atlas_cbor_open_list(&c, actions.actions, "actions", error);
    while (rc == ATLAS_OK && atlas_cbor_more(&c)) {
        rc = atlas_c2pa_action_take(&c, &action);
        if (rc == ATLAS_OK) {
            put_span(text, "action", action.action);
            put_span(text, "when", action.when);
            put_span(text, "source", action.digital_source_type);
            put_span(text, "reason", action.reason);
            put_span(text, "description", action.description);
            put_span(text, "redacted", action.redacted);
            put_links(text, action.ingredients);
        }
    }
    return rc;
}

static int put_measurement(const struct atlas_c2pa_assertion *a, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_ml_measurement m;
    int rc = atlas_ml_measurement_read(a, &m, error);
    if (rc == ATLAS_OK) {
        put(text, "directory %d recorded %d alg %d size %llu files %llu\n", m.directory, m.recorded, (int)m.alg,
            (unsigned long long)m.size, (unsigned long long)m.files);
        put_span(text, "name", m.name);
        put_span(text, "tree", atlas_digest_span(&m.tree));
        put_span(text, "ignore", m.ignore);
        put_span(text, "links", m.links);
        put_span(text, "oms", atlas_digest_span(&m.oms));
        put_span(text, "tensors", atlas_digest_span(&m.tensors));
        put_span(text, "table", atlas_digest_span(&m.table));
    }
    return rc;
}

static int put_inputs(const struct atlas_c2pa_assertion *a, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_cbor c;
    struct atlas_ml_input i;
    struct atlas_span list = ATLAS_SPAN_NONE;
    int rc = atlas_ml_inputs_read(a, &list, error);
    if (rc == ATLAS_OK) {
        rc = atlas_cbor_open_list(&c, list, "inputs", error);
    }
    while (rc == ATLAS_OK && atlas_cbor_more(&c)) {
        rc = atlas_ml_input_take(&c, &i);
        if (rc == ATLAS_OK) {
            put_span(text, "ingredient", i.ingredient);
            put_span(text, "name", i.name);
            put_span(text, "role", i.role);
            put_span(text, "via", i.via);
            put_span(text, "relation", i.relation);
            put_span(text, "flat", atlas_digest_span(&i.flat));
            put_span(text, "tree", atlas_digest_span(&i.tree));
            put(text, "directory %d alg %d size %llu\n", i.directory, (int)i.alg, (unsigned long long)i.size);
        }
    }
    return rc;
}

static int put_metrics(const struct atlas_c2pa_assertion *a, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_cbor c;
    struct atlas_ml_result r;
    struct atlas_span list = ATLAS_SPAN_NONE;
    int rc = atlas_ml_metrics_read(a, &list, error);
    if (rc == ATLAS_OK) {
        rc = atlas_cbor_open_list(&c, list, "metrics", error);
    }
    while (rc == ATLAS_OK && atlas_cbor_more(&c)) {
        rc = atlas_ml_result_take(&c, &r);
        if (rc == ATLAS_OK) {
            put_span(text, "name", r.name);
            put_span(text, "value", r.value);
            put_span(text, "of", r.of);
            put_span(text, "on", r.on);
        }
    }
    return rc;
}

static int put_coverage(const struct atlas_c2pa_assertion *a, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_cbor c;
    struct atlas_ml_gap gap;
    struct atlas_ml_coverage coverage;
    int rc = atlas_ml_coverage_read(a, &coverage, error);
    if (rc == ATLAS_OK) {
        put(text, "seen %llu gaps %llu\n", (unsigned long long)coverage.seen, (unsigned long long)coverage.input_gaps);
        rc = atlas_cbor_open_list(&c, coverage.gaps, "gaps", error);
    }
    while (rc == ATLAS_OK && atlas_cbor_more(&c)) {
        rc = atlas_ml_gap_take(&c, &gap);
        if (rc == ATLAS_OK) {
            put_span(text, "what", gap.what);
            put_span(text, "reason", gap.reason);
            put(text, "input %d\n", gap.input);
        }
    }
    return rc;
}

static int put_training(const struct atlas_c2pa_assertion *a, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_c2pa_training_mining t;
    int rc = atlas_c2pa_training_mining_read(a, &t, error);
    if (rc == ATLAS_OK) {
        put(text, "use %d %d %d %d\n", (int)t.ai_training, (int)t.ai_generative_training, (int)t.ai_inference,
            (int)t.data_mining);
    }
    return rc;
}

static int put_asset_type(const struct atlas_c2pa_assertion *a, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_c2pa_asset_type type;
    int rc = atlas_c2pa_asset_type_read(a, &type, error);
    if (rc == ATLAS_OK) {
        put_span(text, "format", type.format);
        put_span(text, "types", type.types);
    }
    return rc;
}

static int put_content(const struct atlas_c2pa_assertion *a, struct atlas_buf *text, struct atlas_error *error)
{
    switch (a->kind) {
    case ATLAS_C2PA_HASH_DATA:
        return put_hash_data(a, text, error);
    case ATLAS_C2PA_INGREDIENT:
        return put_ingredient(a, text, error);
    case ATLAS_C2PA_ACTIONS:
        return put_actions(a, text, error);
    case ATLAS_C2PA_ASSET_TYPE:
        return put_asset_type(a, text, error);
    case ATLAS_C2PA_TRAINING_MINING:
        return put_training(a, text, error);
    case ATLAS_C2PA_MEASUREMENT:
        return put_measurement(a, text, error);
    case ATLAS_C2PA_INPUTS:
        return put_inputs(a, text, error);
    case ATLAS_C2PA_METRICS:
        return put_metrics(a, text, error);
    case ATLAS_C2PA_COVERAGE:
        return put_coverage(a, text, error);
    default:
        put_span(text, "content", a->content);
        return ATLAS_OK;
    }
}

/* ------------------------------------------------------------------------------------------------ manifests */

static int put_claim(const struct atlas_c2pa_manifest *m, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_c2pa_claim claim;
    int rc = atlas_c2pa_claim_read(m, &claim, error);
    if (rc == ATLAS_OK) {
        put_span(text, "instance", claim.instance_id);
        put_span(text, "generator", claim.generator);
        put_span(text, "generator name", claim.generator_name);
        put_span(text, "generator version", claim.generator_version);
        put_span(text, "signature", claim.signature);
        put_span(text, "alg", claim.alg);
        put_span(text, "title", claim.title);
        put_span(text, "redacted", claim.redacted);
        put_links(text, claim.created);
        put_links(text, claim.gathered);
    }
    return rc;
}

static int put_assertions(const struct atlas_c2pa_manifest *m, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_jumbf_index index = ATLAS_JUMBF_INDEX_INIT;
    int rc = atlas_c2pa_assertions_index(m, &index, error);
    for (size_t i = 0; rc == ATLAS_OK && i < index.n; i++) {
        struct atlas_c2pa_assertion a;
        const struct atlas_jumbf *box = atlas_jumbf_index_at(&index, i);
        if (atlas_jumbf_index_find(&index, box->label) != box) {
            put(text, "lost\n");
        }
        rc = atlas_c2pa_assertion_read(box, &a, error);
        if (rc == ATLAS_OK) {
            put_superbox(text, &a.box);
            put(text, "kind %d type %d\n", (int)a.kind, (int)a.type);
            put_span(text, "media type", a.media_type);
            rc = put_content(&a, text, error);
        }
    }
    atlas_jumbf_index_release(&index);
    return rc;
}

static int put_manifest(const struct atlas_jumbf *superbox, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_c2pa_manifest m;
    struct atlas_cose_sign1 sign1;
    enum atlas_c2pa_problem problem;
    int rc = atlas_c2pa_manifest_read(superbox, &m, &problem, error);
    put(text, "problem %d\n", (int)problem);
    if (rc == ATLAS_OK) {
        put(text, "manifest type %d claim version %u\n", (int)m.type, m.claim_version);
        put_superbox(text, &m.claim);
        put_superbox(text, &m.signature);
        rc = put_claim(&m, text, error);
    }
    if (rc == ATLAS_OK) {
        rc = atlas_cose_claim_signature_read(m.cose, &sign1, error);
    }
    if (rc == ATLAS_OK) {
        rc = put_cose(&sign1, text, error);
    }
    return rc < 0 ? rc : put_assertions(&m, text, error);
}

int dump_store(struct atlas_span bytes, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_c2pa_store store;
    struct atlas_jumbf_index index = ATLAS_JUMBF_INDEX_INIT;
    int rc = atlas_c2pa_store_read(bytes, &store, error);
    if (rc < 0) {
        return rc;
    }
    put(text, "store of %zu manifests\n", store.manifests);
    put_superbox(text, &store.active);
    rc = atlas_c2pa_manifests_index(&store, &index, error);
    atlas_jumbf_index_release(&index);
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(store.box.content, "store", error);
    while (rc == ATLAS_OK && atlas_jumbf_more(&it)) {
        struct atlas_jumbf superbox;
        rc = atlas_jumbf_next(&it, &superbox);
        if (rc == ATLAS_OK) {
            put_superbox(text, &superbox);
        }
        if (rc == ATLAS_OK && atlas_c2pa_manifest_type(&superbox) != ATLAS_C2PA_NO_MANIFEST) {
            rc = put_manifest(&superbox, text, error);
        }
    }
    return rc;
}
