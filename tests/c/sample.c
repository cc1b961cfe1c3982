#include "sample.h"

#include <stdlib.h>
#include <string.h>

#include "format/assertion.h"
#include "format/atlasml.h"
#include "format/cose.h"

static void must(int rc)
{
    if (rc < 0) {
        abort();
    }
}

/* n bytes that say who they are. */
static struct atlas_span pattern(uint8_t first, size_t n)
{
    static uint8_t bytes[256][64];
    for (size_t i = 0; i < n; i++) {
        bytes[first][i] = (uint8_t)(first + i);
    }
    return atlas_span_of(bytes[first], n);
}

/* -------------------------------------------------------------------------------------------------- cbor */

void sample_cbor(struct atlas_buf *b)
{
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_uint(&m, "small", 23);
    atlas_cbor_map_put_uint(&m, "large", UINT64_MAX);
    atlas_cbor_map_put_text(&m, "text", ATLAS_LIT("gr\xC3\xBC\xC3\x9F dich \xF0\x9D\x84\x9E"));
    atlas_cbor_map_put_bytes(&m, "bytes", pattern(7, 40));
    atlas_cbor_map_put_date(&m, "date", ATLAS_LIT("2026-11-21T00:00:00Z"));
    atlas_cbor_map_put_bool(&m, "flag", true);
    struct atlas_buf *list = atlas_cbor_map_key(&m, "list");
    atlas_cbor_write_array(list, 6);
    atlas_cbor_write_int(list, -500);
    atlas_cbor_write_double(list, 1.5);
    atlas_cbor_write_double(list, 100000.0);
    atlas_cbor_write_double(list, 1.1);
    atlas_cbor_write_null(list);
    atlas_cbor_write_array(list, 0);
    struct atlas_buf *entry = atlas_cbor_map_entry(&m);
    atlas_cbor_write_int(entry, -1);
    atlas_cbor_write_bool(entry, false);
    must(atlas_cbor_map_write(&m, b, NULL));
    atlas_cbor_map_release(&m);
}

/* -------------------------------------------------------------------------------------------------- cose */

void sample_cose(struct atlas_buf *b)
{
    struct atlas_buf protected_ = ATLAS_BUF_INIT;
    struct atlas_span certificates[] = {pattern(0x30, 60), pattern(0x31, 50)};
    struct atlas_span ocsp[] = {pattern(0x40, 20)};
    must(atlas_cose_write_protected(&protected_, ATLAS_COSE_ES256, certificates, 2, NULL));
    must(atlas_cose_write(b, atlas_buf_span(&protected_), pattern(0x50, 64), pattern(0x60, 33), ocsp, 1, NULL));
    atlas_buf_release(&protected_);
}

/* ---------------------------------------------------------------------------------------------- assertions */

struct builder {
    struct atlas_buf *store;
    struct atlas_buf links; /* encoded hashed_uris */
    size_t n_links;
    uint8_t salt;
};

static void add_assertion(struct builder *m, struct atlas_span label, const struct atlas_buf *cbor)
{
    struct atlas_span payload;
    struct atlas_buf url = ATLAS_BUF_INIT;
    must(atlas_c2pa_assertion_write(m->store, label, pattern(m->salt++, 32), atlas_buf_span(cbor), &payload, NULL));
    atlas_c2pa_ref_write(&url, ATLAS_C2PA_TARGET_ASSERTION, ATLAS_SPAN_NONE, label);
    struct atlas_c2pa_link link = {.url = atlas_buf_span(&url), .hash = pattern(0x70, 32)};
    must(atlas_c2pa_link_write(&m->links, &link, NULL));
    m->n_links++;
    atlas_buf_release(&url);
}

static void add_hash_data(struct builder *m)
{
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_c2pa_hash_data hash = {
        .alg = ATLAS_LIT("sha256"), .hash = pattern(0x71, 32), .pad = ATLAS_LIT(""), .name = ATLAS_LIT("model.pt")};
    must(atlas_c2pa_hash_data_write(&cbor, &hash, NULL));
    add_assertion(m, ATLAS_LIT("c2pa.hash.data"), &cbor);
    atlas_buf_release(&cbor);
}

static void add_embedded_ingredient(struct builder *m)
{
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_buf results = ATLAS_BUF_INIT;
    struct atlas_c2pa_status good = {ATLAS_LIT("claimSignature.validated"),
                                     ATLAS_LIT("self#jumbf=/c2pa/" SAMPLE_PARENT "/c2pa.signature")};
    struct atlas_c2pa_status bad = {ATLAS_LIT("signingCredential.untrusted"), good.url};
    must(atlas_c2pa_validation_results_write(&results, &good, 1, &bad, 1, NULL));
    struct atlas_c2pa_ingredient ingredient = {
        .relationship = ATLAS_C2PA_PARENT_OF,
        .title = ATLAS_LIT("base.pt"),
        .has_active_manifest = true,
        .active_manifest = {.url = ATLAS_LIT("self#jumbf=/c2pa/" SAMPLE_PARENT), .hash = pattern(0x72, 32)},
        .has_claim_signature = true,
        .claim_signature = {.url = good.url, .hash = pattern(0x73, 32)},
        .validation_results = atlas_buf_span(&results),
    };
    must(atlas_c2pa_ingredient_write(&cbor, &ingredient, NULL));
    add_assertion(m, ATLAS_LIT("c2pa.ingredient.v3"), &cbor);
    atlas_buf_release(&cbor);
    atlas_buf_release(&results);
}

static void add_external_ingredient(struct builder *m)
{
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_c2pa_ingredient ingredient = {
        .relationship = ATLAS_C2PA_INPUT_TO,
        .format = ATLAS_LIT("application/octet-stream"),
        .instance_id = ATLAS_LIT("urn:c2pa:33333333-3333-4333-8333-333333333333"),
        .has_data = true,
        .data = {.url = ATLAS_LIT("https://example.org/sha256/00.c2pa"),
                 .alg = ATLAS_LIT("sha256"),
                 .hash = pattern(0x74, 32),
                 .size = {true, 4321},
                 .format = ATLAS_LIT("application/c2pa")},
    };
    must(atlas_c2pa_ingredient_write(&cbor, &ingredient, NULL));
    add_assertion(m, ATLAS_LIT("c2pa.ingredient.v3__1"), &cbor);
    atlas_buf_release(&cbor);
}

static void add_actions(struct builder *m)
{
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_buf list = ATLAS_BUF_INIT;
    struct atlas_buf ingredients = ATLAS_BUF_INIT;
    struct atlas_c2pa_link link = {.url = ATLAS_LIT("self#jumbf=c2pa.assertions/c2pa.ingredient.v3"),
                                   .hash = pattern(0x75, 32)};
    atlas_cbor_write_array(&ingredients, 1);
    must(atlas_c2pa_link_write(&ingredients, &link, NULL));
    struct atlas_c2pa_action opened = {.action = ATLAS_LIT("c2pa.opened"),
                                       .when = ATLAS_LIT("2026-11-21T00:00:00Z"),
                                       .ingredients = atlas_buf_span(&ingredients)};
    struct atlas_c2pa_action redacted = {.action = ATLAS_LIT("c2pa.redacted"),
                                         .reason = ATLAS_LIT("c2pa.PII.present"),
                                         .redacted = ATLAS_LIT("self#jumbf=/c2pa/" SAMPLE_PARENT
                                                               "/c2pa.assertions/org.atlasml.run")};
    atlas_cbor_write_array(&list, 2);
    must(atlas_c2pa_action_write(&list, &opened, NULL));
    must(atlas_c2pa_action_write(&list, &redacted, NULL));
    struct atlas_c2pa_actions actions = {.actions = atlas_buf_span(&list), .all_included = {true, 1}};
    must(atlas_c2pa_actions_write(&cbor, &actions, NULL));
    add_assertion(m, ATLAS_LIT("c2pa.actions.v2"), &cbor);
    atlas_buf_release(&cbor);
    atlas_buf_release(&list);
    atlas_buf_release(&ingredients);
}

static void add_asset_type(struct builder *m)
{
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_span types[] = {ATLAS_LIT("c2pa.types.model.pytorch"), ATLAS_LIT("c2pa.types.format.pickle")};
    must(atlas_c2pa_asset_type_write(&cbor, ATLAS_SPAN_NONE, types, 2, NULL));
    add_assertion(m, ATLAS_LIT("c2pa.asset-type.v2"), &cbor);
    atlas_buf_release(&cbor);
}

static void add_measurement(struct builder *m, bool directory)
{
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_buf ignore = ATLAS_BUF_INIT;
    struct atlas_cbor_map links = ATLAS_CBOR_MAP_INIT;
    struct atlas_buf encoded_links = ATLAS_BUF_INIT;
    struct atlas_ml_measurement measurement = {.directory = directory,
                                               .recorded = true,
                                               .name = ATLAS_LIT("out/model.pt"),
                                               .alg = ATLAS_SHA256,
                                               .size = 123456789,
                                               .files = directory ? 17 : 0};
    (void)atlas_digest_set(&measurement.tree, ATLAS_SHA256, pattern(0x76, 32));
    (void)atlas_digest_set(&measurement.oms, ATLAS_SHA256, pattern(0x77, 32));
    if (!directory) {
        (void)atlas_digest_set(&measurement.tensors, ATLAS_SHA256, pattern(0x78, 32));
        (void)atlas_digest_set(&measurement.table, ATLAS_SHA256, pattern(0x79, 32));
    }
    if (directory) {
        atlas_cbor_write_array(&ignore, 2);
        atlas_cbor_write_text(&ignore, ATLAS_LIT(".git"));
        atlas_cbor_write_text(&ignore, ATLAS_LIT("__pycache__"));
        atlas_cbor_map_put_text(&links, "a.bin", ATLAS_LIT("../../blobs/00"));
        must(atlas_cbor_map_write(&links, &encoded_links, NULL));
        measurement.ignore = atlas_buf_span(&ignore);
        measurement.links = atlas_buf_span(&encoded_links);
    }
    must(atlas_ml_measurement_write(&cbor, &measurement, NULL));
    add_assertion(m, ATLAS_LABEL_MEASUREMENT, &cbor);
    atlas_buf_release(&cbor);
    atlas_buf_release(&ignore);
    atlas_buf_release(&encoded_links);
    atlas_cbor_map_release(&links);
}

static void add_inputs(struct builder *m)
{
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_ml_input inputs[] = {
        {.ingredient = ATLAS_LIT("c2pa.ingredient.v3"),
         .name = ATLAS_LIT("base.pt"),
         .role = ATLAS_LIT("base model"),
         .alg = ATLAS_SHA256,
         .size = 9,
         .via = ATLAS_LIT("torch.load"),
         .relation = ATLAS_LIT("loaded earlier in this process")},
        {.ingredient = ATLAS_LIT("c2pa.ingredient.v3__1"),
         .name = ATLAS_LIT("data"),
         .directory = true,
         .role = ATLAS_LIT("training data"),
         .alg = ATLAS_SHA256,
         .size = 10,
         .via = ATLAS_LIT("declared")},
    };
    (void)atlas_digest_set(&inputs[0].flat, ATLAS_SHA256, pattern(0x78, 32));
    (void)atlas_digest_set(&inputs[0].tree, ATLAS_SHA256, pattern(0x79, 32));
    (void)atlas_digest_set(&inputs[1].tree, ATLAS_SHA256, pattern(0x7A, 32));
    must(atlas_ml_inputs_write(&cbor, inputs, 2, NULL));
    add_assertion(m, ATLAS_LABEL_INPUTS, &cbor);
    atlas_buf_release(&cbor);
}

/* An assertion with a list of one map: metrics and coverage have no writer in C, Python writes them. */
static void add_list(struct builder *m, struct atlas_span label, const char *key, struct atlas_cbor_map *entry,
                     struct atlas_cbor_map *outer)
{
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_buf *list = atlas_cbor_map_key(outer, key);
    atlas_cbor_write_array(list, 1);
    must(atlas_cbor_map_write(entry, list, NULL));
    atlas_cbor_map_put_uint(outer, "version", 1);
    must(atlas_cbor_map_write(outer, &cbor, NULL));
    add_assertion(m, label, &cbor);
    atlas_buf_release(&cbor);
    atlas_cbor_map_release(entry);
    atlas_cbor_map_release(outer);
}

static void add_metrics_and_coverage(struct builder *m)
{
    struct atlas_cbor_map result = ATLAS_CBOR_MAP_INIT;
    struct atlas_cbor_map metrics = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_text(&result, "name", ATLAS_LIT("accuracy"));
    atlas_cbor_write_double(atlas_cbor_map_key(&result, "value"), 0.75);
    atlas_cbor_map_put_text(&result, "of", ATLAS_LIT("c2pa.ingredient.v3"));
    add_list(m, ATLAS_LABEL_METRICS, "results", &result, &metrics);

    struct atlas_cbor_map gap = ATLAS_CBOR_MAP_INIT;
    struct atlas_cbor_map coverage = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_text(&gap, "what", ATLAS_LIT("stream.tar"));
    atlas_cbor_map_put_text(&gap, "reason", ATLAS_LIT("opaque"));
    atlas_cbor_map_put_bool(&gap, "input", true);
    atlas_cbor_map_put_uint(&coverage, "seen", 3);
    add_list(m, ATLAS_LABEL_COVERAGE, "gaps", &gap, &coverage);
}

static void add_training_mining(struct builder *m)
{
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_cbor_map use = ATLAS_CBOR_MAP_INIT;
    struct atlas_cbor_map entries = ATLAS_CBOR_MAP_INIT;
    struct atlas_cbor_map outer = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_text(&use, "use", ATLAS_LIT("notAllowed"));
    must(atlas_cbor_map_write(&use, atlas_cbor_map_key(&entries, "cawg.ai_training"), NULL));
    must(atlas_cbor_map_write(&entries, atlas_cbor_map_key(&outer, "entries"), NULL));
    must(atlas_cbor_map_write(&outer, &cbor, NULL));
    add_assertion(m, ATLAS_LIT("cawg.training-mining"), &cbor);
    atlas_buf_release(&cbor);
    atlas_cbor_map_release(&use);
    atlas_cbor_map_release(&entries);
    atlas_cbor_map_release(&outer);
}

/* Content boxes that our writer of assertions does not make. */
static void add_foreign_boxes(struct builder *m)
{
    size_t mark = atlas_jumbf_open(m->store, ATLAS_JUMBF_JSON, ATLAS_LIT("com.example.metadata"), ATLAS_SPAN_NONE);
    must(atlas_jumbf_write_box(m->store, ATLAS_JUMBF_JSON, ATLAS_LIT("{\"a\":1}"), NULL));
    must(atlas_jumbf_close(m->store, mark, NULL));
    mark = atlas_jumbf_open(m->store, ATLAS_JUMBF_UUID, ATLAS_LIT("com.example.uuid"), pattern(1, 16));
    must(atlas_jumbf_write_box(m->store, ATLAS_JUMBF_UUID, pattern(2, 24), NULL));
    must(atlas_jumbf_close(m->store, mark, NULL));
    mark = atlas_jumbf_open(m->store, ATLAS_JUMBF_EMBEDDED_FILE, ATLAS_LIT("c2pa.embedded-data"), ATLAS_SPAN_NONE);
    must(atlas_jumbf_write_box(m->store, ATLAS_JUMBF_FILE_DESCRIPTION, ATLAS_LIT("\0text/plain\0"), NULL));
    must(atlas_jumbf_write_box(m->store, ATLAS_JUMBF_FILE_DATA, ATLAS_LIT("hello"), NULL));
    must(atlas_jumbf_close(m->store, mark, NULL));
}

/* ------------------------------------------------------------------------------------------------- manifests */

static void write_generator(struct atlas_buf *b)
{
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_text(&m, "name", ATLAS_LIT("atlas"));
    atlas_cbor_map_put_text(&m, "version", ATLAS_LIT("0.1.0"));
    atlas_cbor_map_put_text(&m, "specVersion", ATLAS_LIT("2.4.0"));
    must(atlas_cbor_map_write(&m, b, NULL));
    atlas_cbor_map_release(&m);
}

static void write_claim(struct atlas_buf *cbor, const struct builder *m, struct atlas_span urn, bool redacts)
{
    struct atlas_buf generator = ATLAS_BUF_INIT;
    struct atlas_buf created = ATLAS_BUF_INIT;
    struct atlas_buf signature = ATLAS_BUF_INIT;
    struct atlas_buf redacted = ATLAS_BUF_INIT;
    write_generator(&generator);
    atlas_cbor_write_array(&created, m->n_links);
    atlas_buf_append(&created, atlas_buf_span(&m->links));
    atlas_c2pa_ref_write(&signature, ATLAS_C2PA_TARGET_SIGNATURE, urn, ATLAS_SPAN_NONE);
    atlas_cbor_write_array(&redacted, 1);
    atlas_cbor_write_text(&redacted, ATLAS_LIT("self#jumbf=/c2pa/" SAMPLE_PARENT "/c2pa.assertions/org.atlasml.run"));
    struct atlas_c2pa_claim claim = {
        .instance_id = ATLAS_LIT("xmp:iid:44444444-4444-4444-8444-444444444444"),
        .generator = atlas_buf_span(&generator),
        .signature = atlas_buf_span(&signature),
        .created = atlas_buf_span(&created),
        .redacted = redacts ? atlas_buf_span(&redacted) : ATLAS_SPAN_NONE,
        .alg = ATLAS_LIT("sha256"),
        .title = ATLAS_LIT("model.pt"),
    };
    must(atlas_c2pa_claim_write(cbor, &claim, NULL));
    atlas_buf_release(&generator);
    atlas_buf_release(&created);
    atlas_buf_release(&signature);
    atlas_buf_release(&redacted);
}

static void close_manifest(struct builder *m, size_t manifest, size_t assertions, struct atlas_span urn, bool redacts)
{
    struct atlas_buf claim = ATLAS_BUF_INIT;
    struct atlas_buf cose = ATLAS_BUF_INIT;
    must(atlas_jumbf_close(m->store, assertions, NULL));
    write_claim(&claim, m, urn, redacts);
    sample_cose(&cose);
    must(atlas_c2pa_part_write(m->store, ATLAS_C2PA_4CC_CLAIM, ATLAS_C2PA_LABEL_CLAIM, atlas_buf_span(&claim), NULL));
    must(atlas_c2pa_part_write(m->store, ATLAS_C2PA_4CC_SIGNATURE, ATLAS_C2PA_LABEL_SIGNATURE, atlas_buf_span(&cose),
                               NULL));
    must(atlas_jumbf_close(m->store, manifest, NULL));
    atlas_buf_release(&claim);
    atlas_buf_release(&cose);
    atlas_buf_release(&m->links);
}

static size_t open_assertions(struct atlas_buf *b)
{
    return atlas_jumbf_open(b, ATLAS_C2PA_4CC_ASSERTIONS, ATLAS_C2PA_LABEL_ASSERTIONS, ATLAS_SPAN_NONE);
}

static void add_parent(struct atlas_buf *store)
{
    struct builder m = {.store = store, .links = ATLAS_BUF_INIT, .salt = 0x80};
    size_t manifest = atlas_jumbf_open(store, ATLAS_C2PA_4CC_STANDARD, ATLAS_LIT(SAMPLE_PARENT), ATLAS_SPAN_NONE);
    size_t assertions = open_assertions(store);
    add_hash_data(&m);
    add_measurement(&m, true);
    close_manifest(&m, manifest, assertions, ATLAS_LIT(SAMPLE_PARENT), false);
}

static void add_child(struct atlas_buf *store)
{
    struct builder m = {.store = store, .links = ATLAS_BUF_INIT, .salt = 0x90};
    size_t manifest = atlas_jumbf_open(store, ATLAS_C2PA_4CC_STANDARD, ATLAS_LIT(SAMPLE_CHILD), ATLAS_SPAN_NONE);
    size_t assertions = open_assertions(store);
    add_hash_data(&m);
    add_embedded_ingredient(&m);
    add_external_ingredient(&m);
    add_actions(&m);
    add_asset_type(&m);
    add_measurement(&m, false);
    add_inputs(&m);
    add_metrics_and_coverage(&m);
    add_training_mining(&m);
    add_foreign_boxes(&m);
    close_manifest(&m, manifest, assertions, ATLAS_LIT(SAMPLE_CHILD), true);
}

void sample_store(struct atlas_buf *b)
{
    size_t store = atlas_jumbf_open(b, ATLAS_C2PA_4CC_STORE, ATLAS_C2PA_LABEL_STORE, ATLAS_SPAN_NONE);
    add_parent(b);
    add_child(b);
    must(atlas_jumbf_close(b, store, NULL));
}

void sample_known_answer(struct atlas_buf *b, bool salted)
{
    static const uint8_t abc[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                    0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                    0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_span payload;
    struct atlas_c2pa_hash_data hash = {
        .alg = ATLAS_LIT("sha256"), .hash = atlas_span_of(abc, 32), .pad = ATLAS_LIT(""), .name = ATLAS_LIT("kat")};
    must(atlas_c2pa_hash_data_write(&cbor, &hash, NULL));
    must(atlas_c2pa_assertion_write(b, ATLAS_LIT("c2pa.hash.data"), salted ? pattern(0, 32) : ATLAS_SPAN_NONE,
                                    atlas_buf_span(&cbor), &payload, NULL));
    atlas_buf_release(&cbor);
}
