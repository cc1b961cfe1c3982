/* test_assertions.c - what assertions hold: C2PA's, CAWG's and Atlas' own. */
#include "format/assertion.h"
#include "format/atlasml.h"
#include "notation.h"
#include "test.h"

#define H32 "#32"
#define URN "urn:c2pa:11111111-1111-4111-8111-111111111111"

/* An assertion with this content; the views borrow it until the next call. */
static const struct atlas_c2pa_assertion *assertion_of(const char *notation)
{
    static struct atlas_buf b;
    static struct atlas_c2pa_assertion a;
    atlas_buf_release(&b);
    write_notation(&b, notation);
    a = (struct atlas_c2pa_assertion){.type = ATLAS_C2PA_CONTENT_CBOR, .content = atlas_buf_span(&b)};
    return &a;
}

/* ------------------------------------------------------------------------------------------------- boxes */

static int read_box(uint32_t kind, const char *label, const char *types, enum atlas_c2pa_content *type)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_jumbf box;
    struct atlas_c2pa_assertion a = {0};
    size_t mark = atlas_jumbf_open(&b, kind, atlas_span_str(label), ATLAS_SPAN_NONE);
    int rc = ATLAS_OK;
    for (; rc == ATLAS_OK && *types != '\0'; types += 4) {
        const uint8_t *t = (const uint8_t *)types;
        rc = atlas_jumbf_write_box(&b, ATLAS_JUMBF_4CC(t[0], t[1], t[2], t[3]), ATLAS_LIT("\0text/plain\0"), NULL);
    }
    rc = rc == ATLAS_OK ? atlas_jumbf_close(&b, mark, NULL) : rc;
    rc = rc == ATLAS_OK ? atlas_jumbf_read(atlas_buf_span(&b), "", &box, NULL) : rc;
    rc = rc == ATLAS_OK ? atlas_c2pa_assertion_read(&box, &a, NULL) : rc;
    *type = a.type;
    atlas_buf_release(&b);
    return rc;
}

TEST(an_assertion_has_one_content_box_of_its_type)
{
    enum atlas_c2pa_content type;
    CHECK_OK(read_box(ATLAS_JUMBF_CBOR, "a", "cbor", &type));
    CHECK(type == ATLAS_C2PA_CONTENT_CBOR);
    CHECK_OK(read_box(ATLAS_JUMBF_JSON, "a", "json", &type));
    CHECK(type == ATLAS_C2PA_CONTENT_JSON);
    CHECK_OK(read_box(ATLAS_JUMBF_UUID, "a", "uuid", &type));
    CHECK(type == ATLAS_C2PA_CONTENT_UUID);
    CHECK_OK(read_box(ATLAS_JUMBF_EMBEDDED_FILE, "a", "bfdbbidb", &type));
    CHECK(type == ATLAS_C2PA_CONTENT_FILE);
    CHECK_OK(read_box(ATLAS_JUMBF_4CC('a', 'b', 'c', 'd'), "a", "whatever", &type));
    CHECK(type == ATLAS_C2PA_CONTENT_OTHER);
    CHECK_ERR(read_box(ATLAS_JUMBF_CBOR, "a", "", &type), ATLAS_E_JUMBF);
    CHECK_ERR(read_box(ATLAS_JUMBF_CBOR, "a", "json", &type), ATLAS_E_JUMBF);
    CHECK_ERR(read_box(ATLAS_JUMBF_CBOR, "a", "cborcbor", &type), ATLAS_E_JUMBF);
    CHECK_ERR(read_box(ATLAS_JUMBF_CBOR, "a", "cborfree", &type), ATLAS_E_JUMBF);
    CHECK_ERR(read_box(ATLAS_JUMBF_JSON, "a", "cbor", &type), ATLAS_E_JUMBF);
    CHECK_ERR(read_box(ATLAS_JUMBF_EMBEDDED_FILE, "a", "bfdb", &type), ATLAS_E_JUMBF);
    CHECK_ERR(read_box(ATLAS_JUMBF_EMBEDDED_FILE, "a", "bidbbfdb", &type), ATLAS_E_JUMBF);
    CHECK_ERR(read_box(ATLAS_JUMBF_EMBEDDED_FILE, "a", "bfdbbidbfree", &type), ATLAS_E_JUMBF);
}

TEST(readers_refuse_content_that_is_no_cbor)
{
    struct atlas_c2pa_hash_data hash;
    struct atlas_c2pa_assertion json = {.type = ATLAS_C2PA_CONTENT_JSON, .content = ATLAS_LIT("\xa0")};
    struct atlas_c2pa_assertion broken = {.type = ATLAS_C2PA_CONTENT_CBOR, .content = ATLAS_LIT("\xbf\xff")};
    struct atlas_c2pa_assertion zeroed = {0};
    CHECK_ERR(atlas_c2pa_hash_data_read(&json, &hash, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_c2pa_hash_data_read(&broken, &hash, NULL), ATLAS_E_CBOR);
    CHECK_ERR(atlas_c2pa_hash_data_read(&zeroed, &hash, NULL), ATLAS_E_C2PA);
}

TEST(too_many_assertions_are_refused)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_jumbf_index index = ATLAS_JUMBF_INDEX_INIT;
    struct atlas_c2pa_manifest m = {0};
    for (unsigned i = 0; i <= ATLAS_MAX_ASSERTIONS; i++) {
        char label[16];
        struct atlas_span payload;
        if (i == ATLAS_MAX_ASSERTIONS) {
            m.assertions.content = atlas_buf_span(&b);
            CHECK_OK(atlas_c2pa_assertions_index(&m, &index, NULL));
            CHECK(index.n == ATLAS_MAX_ASSERTIONS);
            atlas_jumbf_index_release(&index);
        }
        snprintf(label, sizeof label, "x%u", i);
        CHECK_OK(
            atlas_c2pa_assertion_write(&b, atlas_span_str(label), ATLAS_SPAN_NONE, ATLAS_LIT("\xa0"), &payload, NULL));
    }
    m.assertions.content = atlas_buf_span(&b);
    CHECK_ERR(atlas_c2pa_assertions_index(&m, &index, NULL), ATLAS_E_LIMIT);
    atlas_buf_release(&b);
}

TEST(an_assertion_that_no_reader_accepts_is_not_written)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_span payload;
    CHECK_ERR(atlas_c2pa_assertion_write(&b, ATLAS_LIT("a"), ATLAS_SPAN_NONE, ATLAS_LIT("\xff"), &payload, NULL),
              ATLAS_E_CBOR);
    atlas_buf_clear(&b);
    CHECK_ERR(atlas_c2pa_assertion_write(&b, ATLAS_LIT("a/b"), ATLAS_SPAN_NONE, ATLAS_LIT("\xa0"), &payload, NULL),
              ATLAS_E_ARG);
    atlas_buf_release(&b);
}

/* --------------------------------------------------------------------------------------------- c2pa.hash.data */

TEST(hash_data_is_read)
{
    struct atlas_c2pa_hash_data h;
    CHECK_OK(
        atlas_c2pa_hash_data_read(assertion_of("{'hash': #32, 'pad': h'', 'alg': 'sha256', 'name': 'n'}"), &h, NULL));
    CHECK(h.hash.n == 32 && !h.excludes && h.pad.n == 0);
    CHECK_SPAN(h.name, ATLAS_LIT("n"));
    CHECK_OK(atlas_c2pa_hash_data_read(assertion_of("{'hash': #32, 'pad': #5, 'exclusions': []}"), &h, NULL));
    CHECK(h.excludes); /* even an empty list */
    CHECK_OK(atlas_c2pa_hash_data_read(assertion_of("{'hash': #32, 'pad': h'', 'exclusions': null}"), &h, NULL));
    CHECK(h.excludes);
    CHECK_ERR(atlas_c2pa_hash_data_read(assertion_of("{'hash': #32}"), &h, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_c2pa_hash_data_read(assertion_of("{'pad': h''}"), &h, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_c2pa_hash_data_read(assertion_of("{'hash': 'x', 'pad': h''}"), &h, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_c2pa_hash_data_read(assertion_of("[]"), &h, NULL), ATLAS_E_C2PA);
}

/* ----------------------------------------------------------------------------------------- c2pa.ingredient.v3 */

#define MANIFEST "'activeManifest': {'url': 'self#jumbf=/c2pa/" URN "', 'hash': #32}"
#define SIGNATURE "'claimSignature': {'url': 'self#jumbf=/c2pa/" URN "/c2pa.signature', 'hash': #32}"
#define RESULTS "'validationResults': {'activeManifest': {'success': [], 'informational': [], 'failure': []}}"

TEST(ingredients_are_read)
{
    struct atlas_c2pa_ingredient i;
    CHECK_OK(atlas_c2pa_ingredient_read(assertion_of("{'relationship': 'inputTo'}"), &i, NULL));
    CHECK(i.relationship == ATLAS_C2PA_INPUT_TO && !i.has_active_manifest && !i.has_claim_signature && !i.has_data);
    CHECK_OK(atlas_c2pa_ingredient_read(
        assertion_of("{'relationship': 'parentOf', " MANIFEST ", " SIGNATURE ", " RESULTS "}"), &i, NULL));
    CHECK(i.has_active_manifest && i.has_claim_signature && i.recorded_failures == 0);
    CHECK_OK(atlas_c2pa_ingredient_read(
        assertion_of("{'relationship': 'componentOf', 'data': {'url': 'https://x', 'alg': 'sha256', 'hash': #32}}"), &i,
        NULL));
    CHECK(i.has_data && i.data.external);
    CHECK_OK(atlas_c2pa_ingredient_read(
        assertion_of("{'relationship': 'inputTo', 'data': {'url': 'self#jumbf=c2pa.assertions/x', 'hash': #32}}"), &i,
        NULL));
    CHECK(i.has_data && !i.data.external);
}

TEST(recorded_failures_of_an_ingredient_are_counted_wherever_they_stand)
{
    struct atlas_c2pa_ingredient i;
    CHECK_OK(atlas_c2pa_ingredient_read(
        assertion_of("{'relationship': 'parentOf', " MANIFEST ", " SIGNATURE ", 'validationResults': {"
                     "'activeManifest': {'success': [], 'informational': [], 'failure': [{'code': 'a'}, {'code': 'b'}]},"
                     "'ingredientDeltas': [{'validationDeltas': {'success': [], 'informational': [], "
                     "'failure': [{'code': 'c'}]}}, {'validationDeltas': {'success': [{'code': 'd'}], "
                     "'informational': [{'code': 'e'}], 'failure': []}}]}}"),
        &i, NULL));
    CHECK(i.recorded_failures == 3);
    CHECK_ERR(atlas_c2pa_ingredient_read(
                  assertion_of("{'relationship': 'parentOf', " MANIFEST ", " SIGNATURE
                               ", 'validationResults': {'activeManifest': {'success': [], 'failure': []}}}"),
                  &i, NULL),
              ATLAS_E_C2PA);
    CHECK_ERR(atlas_c2pa_ingredient_read(
                  assertion_of("{'relationship': 'parentOf', " MANIFEST ", " SIGNATURE
                               ", 'validationResults': {'ingredientDeltas': [{}]}}"),
                  &i, NULL),
              ATLAS_E_C2PA);
    CHECK_ERR(atlas_c2pa_ingredient_read(
                  assertion_of("{'relationship': 'parentOf', " MANIFEST ", " SIGNATURE
                               ", 'validationResults': {'activeManifest': {'failure': 'none'}}}"),
                  &i, NULL),
              ATLAS_E_C2PA);
}

TEST(malformed_ingredients_are_refused)
{
    static const char *const bad[] = {
        "{}",
        "{'relationship': 'inputto'}",
        "{'relationship': 3}",
        "{'relationship': 'inputTo', " MANIFEST "}",
        "{'relationship': 'inputTo', " SIGNATURE "}",
        "{'relationship': 'inputTo', " MANIFEST ", " SIGNATURE "}",
        "{'relationship': 'inputTo', " MANIFEST ", " RESULTS "}",
        "{'relationship': 'inputTo', 'activeManifest': 'x', " SIGNATURE ", " RESULTS "}",
        "{'relationship': 'inputTo', 'activeManifest': {'url': 'self#jumbf=/c2pa/" URN "'}, " SIGNATURE ", " RESULTS
        "}",
        "{'relationship': 'inputTo', 'activeManifest': {'url': 'self#jumbf=/c2pa/" URN
        "/c2pa.signature', 'hash': #32}, " SIGNATURE ", " RESULTS "}",
        "{'relationship': 'inputTo', " MANIFEST ", 'claimSignature': {'url': 'self#jumbf=/c2pa/" URN
        "', 'hash': #32}, " RESULTS "}",
        "{'relationship': 'inputTo', " MANIFEST
        ", 'claimSignature': {'url': 'self#jumbf=c2pa.signature', 'hash': #32}, " RESULTS "}",
        "{'relationship': 'inputTo', " MANIFEST ", 'claimSignature': {'url': "
        "'self#jumbf=/c2pa/urn:c2pa:22222222-2222-4222-8222-222222222222/c2pa.signature', 'hash': #32}, " RESULTS "}",
        "{'relationship': 'inputTo', 'data': {'url': 'https://x', 'hash': #32}}",
        "{'relationship': 'inputTo', 'data': 'x'}",
        "{'relationship': 'inputTo', 'dc:title': 5}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct atlas_c2pa_ingredient view;
        if (atlas_c2pa_ingredient_read(assertion_of(bad[i]), &view, NULL) != ATLAS_E_C2PA) {
            TEST_FAIL("%s", bad[i]);
        }
    }
}

TEST(an_ingredient_without_a_relationship_is_not_written)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_c2pa_ingredient i = {0};
    CHECK_ERR(atlas_c2pa_ingredient_write(&b, &i, NULL), ATLAS_E_ARG);
    CHECK(b.n == 0);
}

/* --------------------------------------------------------------------------------------------- c2pa.actions.v2 */

TEST(actions_are_read)
{
    struct atlas_c2pa_actions actions;
    struct atlas_c2pa_action action;
    struct atlas_cbor c;
    CHECK_OK(atlas_c2pa_actions_read(
        assertion_of("{'actions': [{'action': 'c2pa.created', 'digitalSourceType': 'd', 'when': 'w', 'parameters':"
                     "{'ingredients': [{'url': 'self#jumbf=c2pa.assertions/i', 'hash': #32}], 'x': 5}},"
                     "{'action': 'c2pa.redacted', 'reason': 'r', 'parameters': {'redacted': 'u'}}],"
                     "'allActionsIncluded': true, 'templates': []}"),
        &actions, NULL));
    CHECK(actions.all_included.present && actions.all_included.v == 1);
    CHECK_OK(atlas_cbor_open_list(&c, actions.actions, "actions", NULL));
    CHECK_OK(atlas_c2pa_action_take(&c, &action));
    CHECK_SPAN(action.action, ATLAS_LIT("c2pa.created"));
    CHECK_SPAN(action.digital_source_type, ATLAS_LIT("d"));
    CHECK_SPAN(action.when, ATLAS_LIT("w"));
    CHECK(action.ingredients.p != NULL && action.redacted.p == NULL && action.parameters.p != NULL);
    CHECK_OK(atlas_c2pa_action_take(&c, &action));
    CHECK_SPAN(action.redacted, ATLAS_LIT("u"));
    CHECK(action.ingredients.p == NULL && action.when.p == NULL);
    CHECK_OK(atlas_cbor_leave(&c));
}

TEST(an_action_keeps_parameters_that_nobody_knows)
{
    struct atlas_buf list = ATLAS_BUF_INIT;
    struct atlas_cbor c;
    struct atlas_c2pa_action action = {.action = ATLAS_LIT("a"), .parameters = ATLAS_LIT("\xa1\x61x\x05")};
    atlas_cbor_write_array(&list, 1);
    CHECK_OK(atlas_c2pa_action_write(&list, &action, NULL));
    CHECK_OK(atlas_cbor_open_list(&c, atlas_buf_span(&list), "", NULL));
    action.parameters = ATLAS_SPAN_NONE;
    CHECK_OK(atlas_c2pa_action_take(&c, &action));
    CHECK_SPAN(action.parameters, ATLAS_LIT("\xa1\x61x\x05"));
    atlas_buf_release(&list);
}

TEST(malformed_actions_are_refused)
{
    static const char *const bad[] = {
        "{}",
        "{'actions': []}",
        "{'actions': {}}",
        "{'actions': ['c2pa.created']}",
        "{'actions': [{}]}",
        "{'actions': [{'action': 5}]}",
        "{'actions': [{'action': 'a', 'parameters': []}]}",
        "{'actions': [{'action': 'a', 'parameters': {'ingredients': {}}}]}",
        "{'actions': [{'action': 'a', 'parameters': {'ingredients': ['i']}}]}",
        "{'actions': [{'action': 'a', 'parameters': {'redacted': 5}}]}",
        "{'actions': [{'action': 'a', 'when': 5}]}",
        "{'actions': [{'action': 'a'}], 'allActionsIncluded': 1}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct atlas_c2pa_actions view;
        struct atlas_error error = ATLAS_ERROR_INIT;
        if (atlas_c2pa_actions_read(assertion_of(bad[i]), &view, &error) != ATLAS_E_C2PA ||
            error.code != ATLAS_E_C2PA) {
            TEST_FAIL("%s", bad[i]);
        }
    }
}

/* --------------------------------------------------------------------------------- asset type, training-mining */

TEST(an_asset_type_is_read)
{
    struct atlas_c2pa_asset_type t;
    CHECK_OK(atlas_c2pa_asset_type_read(assertion_of("{'dc:format': 'a/b', 'types': [{'type': 't'}]}"), &t, NULL));
    CHECK_SPAN(t.format, ATLAS_LIT("a/b"));
    CHECK(t.types.p != NULL);
    CHECK_ERR(atlas_c2pa_asset_type_read(assertion_of("{'types': 't'}"), &t, NULL), ATLAS_E_C2PA);
}

TEST(training_and_mining_permissions_are_read)
{
    struct atlas_c2pa_training_mining t;
    CHECK_OK(atlas_c2pa_training_mining_read(
        assertion_of(
            "{'entries': {'cawg.ai_training': {'use': 'notAllowed'}, 'cawg.ai_generative_training': {'use': "
            "'allowed'}, 'cawg.data_mining': {'use': 'constrained', 'constraint_info': 'x'}, 'other.thing': 5, "
            "'c2pa.ai_inference': {'use': 'maybe'}}}"),
        &t, NULL));
    CHECK(t.ai_training == ATLAS_C2PA_USE_NOT_ALLOWED);
    CHECK(t.ai_generative_training == ATLAS_C2PA_USE_ALLOWED);
    CHECK(t.data_mining == ATLAS_C2PA_USE_CONSTRAINED);
    CHECK(t.ai_inference == ATLAS_C2PA_USE_UNKNOWN);
    CHECK_OK(atlas_c2pa_training_mining_read(assertion_of("{'entries': {}}"), &t, NULL));
    CHECK(t.ai_training == ATLAS_C2PA_USE_UNSTATED);
}

TEST(of_two_contradicting_permissions_the_stricter_counts)
{
    struct atlas_c2pa_training_mining t;
    CHECK_OK(atlas_c2pa_training_mining_read(assertion_of("{'entries': {'cawg.ai_training': {'use': 'allowed'}, "
                                                          "'c2pa.ai_training': {'use': 'notAllowed'}}}"),
                                             &t, NULL));
    CHECK(t.ai_training == ATLAS_C2PA_USE_NOT_ALLOWED);
    CHECK_OK(atlas_c2pa_training_mining_read(assertion_of("{'entries': {'c2pa.ai_training': {'use': 'allowed'}, "
                                                          "'cawg.ai_training': {'use': 'notAllowed'}}}"),
                                             &t, NULL));
    CHECK(t.ai_training == ATLAS_C2PA_USE_NOT_ALLOWED);
    CHECK_ERR(atlas_c2pa_training_mining_read(assertion_of("{'entries': {'cawg.ai_training': {}}}"), &t, NULL),
              ATLAS_E_C2PA);
    CHECK_ERR(atlas_c2pa_training_mining_read(assertion_of("{}"), &t, NULL), ATLAS_E_C2PA);
}

/* ------------------------------------------------------------------------------------------------- org.atlasml */

TEST(names_are_logical_and_relative)
{
    static const char *const good[] = {"a", "a/b", "a b", "...", ".a", "a..b", "\xC3\xBC", "a:b"};
    static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a/../b", "a\\b",
                                      "a\nb", "\x7f", "\xFF", "./a"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK(atlas_ml_name_check(atlas_span_str(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!atlas_ml_name_check(atlas_span_str(bad[i])));
    }
    CHECK(!atlas_ml_name_check(ATLAS_LIT("a\0b")));
}

#define FILE_HEAD "{'version': 1, 'kind': 'file', 'name': 'm', 'alg': 'sha256', 'size': 5, 'source': 'recorded', "
#define DIRECTORY_HEAD \
    "{'version': 1, 'kind': 'directory', 'name': 'd', 'alg': 'sha256', 'size': 5, 'source': 'declared', "

TEST(measurements_are_read)
{
    struct atlas_ml_measurement m;
    CHECK_OK(atlas_ml_measurement_read(assertion_of(FILE_HEAD "'tree': #32, 'chunk': 1048576, 'oms': #32, 'x': 1}"), &m,
                                       NULL));
    CHECK(!m.directory && m.recorded && m.alg == ATLAS_SHA256 && m.size == 5 && m.tree.n == 32 && m.oms.n == 32);
    CHECK_OK(atlas_ml_measurement_read(
        assertion_of(DIRECTORY_HEAD "'tree': #32, 'files': 2, 'index': 1, 'ignore': ['.git'], 'links': {'a': '../b'}}"),
        &m, NULL));
    CHECK(m.directory && !m.recorded && m.files == 2 && m.ignore.p != NULL && m.links.p != NULL);
    CHECK(m.oms.alg == ATLAS_ALG_NONE);
    CHECK_OK(atlas_ml_measurement_read(
        assertion_of("{'version': 1, 'kind': 'file', 'name': 'm', 'alg': 'sha512', 'size': 0, "
                     "'source': 'declared', 'tree': #64, 'chunk': 1048576}"),
        &m, NULL));
    CHECK(m.tree.alg == ATLAS_SHA512);
    CHECK(m.tensors.alg == ATLAS_ALG_NONE && m.table.alg == ATLAS_ALG_NONE);
    CHECK_OK(atlas_ml_measurement_read(
        assertion_of(FILE_HEAD "'tree': #32, 'chunk': 1048576, 'tensors': #32, 'tensor-table': #32}"), &m, NULL));
    CHECK(m.tensors.n == 32 && m.table.n == 32);
}

TEST(malformed_measurements_are_refused)
{
    static const char *const bad[] = {
        FILE_HEAD "'tree': #32}",                /* no chunk */
        FILE_HEAD "'tree': #32, 'chunk': 4096}", /* another one */
        FILE_HEAD "'tree': #32, 'chunk': 1048576, 'files': 1}",
        FILE_HEAD "'tree': #32, 'chunk': 1048576, 'index': 1}",
        FILE_HEAD "'tree': #32, 'chunk': 1048576, 'ignore': []}",
        FILE_HEAD "'tree': #32, 'chunk': 1048576, 'links': {}}",
        FILE_HEAD "'tree': #31, 'chunk': 1048576}",
        FILE_HEAD "'tree': #48, 'chunk': 1048576}",
        FILE_HEAD "'chunk': 1048576}",
        FILE_HEAD "'tree': #32, 'chunk': 1048576, 'oms': #48}",
        FILE_HEAD "'tree': #32, 'chunk': 1048576, 'tensors': #32}",
        FILE_HEAD "'tree': #32, 'chunk': 1048576, 'tensor-table': #32}",
        FILE_HEAD "'tree': #32, 'chunk': 1048576, 'tensors': #31, 'tensor-table': #32}",
        FILE_HEAD "'tree': #32, 'chunk': 1048576, 'tensors': #32, 'tensor-table': #48}",
        DIRECTORY_HEAD "'tree': #32, 'files': 2, 'index': 1, 'tensors': #32, 'tensor-table': #32}",
        DIRECTORY_HEAD "'tree': #32, 'files': 2}",
        DIRECTORY_HEAD "'tree': #32, 'index': 1}",
        DIRECTORY_HEAD "'tree': #32, 'files': 2, 'index': 2}",
        DIRECTORY_HEAD "'tree': #32, 'files': 2, 'index': 1, 'chunk': 1048576}",
        DIRECTORY_HEAD "'tree': #32, 'files': 2, 'index': 1, 'ignore': [5]}",
        DIRECTORY_HEAD "'tree': #32, 'files': 2, 'index': 1, 'ignore': '.git'}",
        DIRECTORY_HEAD "'tree': #32, 'files': 2, 'index': 1, 'links': {'a': 5}}",
        DIRECTORY_HEAD "'tree': #32, 'files': 2, 'index': 1, 'links': {5: 'a'}}",
        "{'version': 1, 'kind': 'File', 'name': 'm', 'alg': 'sha256', 'size': 5, 'source': 'recorded', 'tree': #32, "
        "'chunk': 1048576}",
        "{'version': 1, 'kind': 'file', 'name': '../m', 'alg': 'sha256', 'size': 5, 'source': 'recorded', 'tree': #32, "
        "'chunk': 1048576}",
        "{'version': 1, 'kind': 'file', 'name': 'm', 'alg': 'sha256', 'size': -5, 'source': 'recorded', 'tree': #32, "
        "'chunk': 1048576}",
        "{'version': 1, 'kind': 'file', 'name': 'm', 'alg': 'sha256', 'size': 5, 'source': 'made up', 'tree': #32, "
        "'chunk': 1048576}",
        "{'kind': 'file', 'name': 'm', 'alg': 'sha256', 'size': 5, 'source': 'recorded', 'tree': #32, 'chunk': "
        "1048576}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct atlas_ml_measurement view;
        if (atlas_ml_measurement_read(assertion_of(bad[i]), &view, NULL) != ATLAS_E_C2PA) {
            TEST_FAIL("%s", bad[i]);
        }
    }
}

TEST(other_versions_and_algorithms_are_told_apart_from_malformed_ones)
{
    struct atlas_ml_measurement m;
    CHECK_ERR(atlas_ml_measurement_read(
                  assertion_of("{'version': 2, 'kind': 'file', 'name': 'm', 'alg': 'sha256', 'size': 5, "
                               "'source': 'recorded', 'tree': #32, 'chunk': 1048576}"),
                  &m, NULL),
              ATLAS_E_UNSUPPORTED);
    CHECK_ERR(
        atlas_ml_measurement_read(assertion_of("{'version': 1, 'kind': 'file', 'name': 'm', 'alg': 'md5', 'size': 5, "
                                               "'source': 'recorded', 'tree': #16, 'chunk': 1048576}"),
                                  &m, NULL),
        ATLAS_E_ALGORITHM);
}

TEST(a_measurement_that_no_reader_accepts_is_not_written)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_ml_measurement m = {.name = ATLAS_LIT("m"), .alg = ATLAS_SHA256};
    CHECK_ERR(atlas_ml_measurement_write(&b, &m, NULL), ATLAS_E_ARG); /* no tree */
    m.tree = (struct atlas_digest){.alg = ATLAS_SHA512, .n = 64};
    CHECK_ERR(atlas_ml_measurement_write(&b, &m, NULL), ATLAS_E_ARG);
    m.tree = (struct atlas_digest){.alg = ATLAS_SHA256, .n = 32};
    m.name = ATLAS_LIT("../m");
    CHECK_ERR(atlas_ml_measurement_write(&b, &m, NULL), ATLAS_E_ARG);
    CHECK(b.n == 0);
}

#define INPUT(rest)                                                                                                    \
    "{'version': 1, 'inputs': [{'ingredient': 'i', 'name': 'n', 'role': 'r', 'via': 'v', 'size': 1, " rest "}]}"

TEST(inputs_are_read)
{
    struct atlas_span list;
    struct atlas_cbor c;
    struct atlas_ml_input i;
    CHECK_OK(
        atlas_ml_inputs_read(assertion_of(INPUT("'kind': 'directory', 'alg': 'sha384', 'tree': #48")), &list, NULL));
    CHECK_OK(atlas_cbor_open_list(&c, list, "inputs", NULL));
    CHECK_OK(atlas_ml_input_take(&c, &i));
    CHECK(i.directory && i.alg == ATLAS_SHA384 && i.tree.n == 48 && i.flat.alg == ATLAS_ALG_NONE && i.size == 1);
    CHECK(i.relation.p == NULL);
    CHECK_OK(atlas_ml_inputs_read(assertion_of("{'version': 1, 'inputs': []}"), &list, NULL));
}

TEST(malformed_inputs_are_refused)
{
    struct atlas_span list;
    CHECK_ERR(atlas_ml_inputs_read(assertion_of(INPUT("'kind': 'file', 'alg': 'sha256'")), &list, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_inputs_read(assertion_of(INPUT("'kind': 'file', 'alg': 'sha256', 'flat': #31")), &list, NULL),
              ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_inputs_read(assertion_of(INPUT("'kind': 'file', 'alg': 'sha256', 'flat': #32, 'tree': #48")),
                                   &list, NULL),
              ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_inputs_read(assertion_of(INPUT("'kind': 'x', 'alg': 'sha256', 'flat': #32")), &list, NULL),
              ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_inputs_read(assertion_of(INPUT("'kind': 'file', 'alg': 'crc', 'flat': #32")), &list, NULL),
              ATLAS_E_ALGORITHM);
    CHECK_ERR(atlas_ml_inputs_read(assertion_of(INPUT("'kind': 'file', 'alg': 'sha256', 'flat': #32, 'relation': 5")),
                                   &list, NULL),
              ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_inputs_read(assertion_of("{'version': 1}"), &list, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_inputs_read(assertion_of("{'inputs': []}"), &list, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_inputs_read(assertion_of("{'version': 7, 'inputs': []}"), &list, NULL), ATLAS_E_UNSUPPORTED);
}

static int check_inputs(size_t n)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_span list;
    struct atlas_ml_input *inputs = calloc(n, sizeof *inputs);
    int rc = inputs != NULL ? ATLAS_OK : ATLAS_E_NOMEM;
    for (size_t i = 0; rc == ATLAS_OK && i < n; i++) {
        struct atlas_span x = ATLAS_LIT("x");
        inputs[i] = (struct atlas_ml_input){.ingredient = x, .name = x, .role = x, .alg = ATLAS_SHA256, .via = x,
                                            .flat = {.alg = ATLAS_SHA256, .n = 32}};
    }
    rc = rc == ATLAS_OK ? atlas_ml_inputs_write(&b, inputs, n, NULL) : rc;
    struct atlas_c2pa_assertion a = {.type = ATLAS_C2PA_CONTENT_CBOR, .content = atlas_buf_span(&b)};
    rc = rc == ATLAS_OK ? atlas_ml_inputs_read(&a, &list, NULL) : rc;
    free(inputs);
    atlas_buf_release(&b);
    return rc;
}

TEST(inputs_are_limited)
{
    CHECK_OK(check_inputs(ATLAS_MAX_INGREDIENTS));
    CHECK_ERR(check_inputs(ATLAS_MAX_INGREDIENTS + 1), ATLAS_E_LIMIT);
}

TEST(an_input_without_a_fitting_digest_is_not_written)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_span x = ATLAS_LIT("x");
    struct atlas_ml_input input = {.ingredient = x, .name = x, .role = x, .alg = ATLAS_SHA256, .via = x};
    CHECK_ERR(atlas_ml_inputs_write(&b, &input, 1, NULL), ATLAS_E_ARG);
    input.flat = (struct atlas_digest){.alg = ATLAS_SHA512, .n = 64};
    CHECK_ERR(atlas_ml_inputs_write(&b, &input, 1, NULL), ATLAS_E_ARG);
    atlas_buf_release(&b);
}

TEST(metrics_are_read)
{
    struct atlas_span list;
    struct atlas_cbor c;
    struct atlas_ml_result r;
    CHECK_OK(atlas_ml_metrics_read(
        assertion_of("{'version': 1, 'results': [{'name': 'acc', 'value': [1, {'x': 2}], 'of': 'i'}]}"), &list, NULL));
    CHECK_OK(atlas_cbor_open_list(&c, list, "results", NULL));
    CHECK_OK(atlas_ml_result_take(&c, &r));
    CHECK_SPAN(r.name, ATLAS_LIT("acc"));
    CHECK_SPAN(r.value, ATLAS_LIT("\x82\x01\xa1\x61x\x02"));
    CHECK_SPAN(r.of, ATLAS_LIT("i"));
    CHECK(r.on.p == NULL);
    CHECK_ERR(atlas_ml_metrics_read(assertion_of("{'version': 1, 'results': [{'name': 'acc'}]}"), &list, NULL),
              ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_metrics_read(assertion_of("{'version': 1, 'results': [{'value': 1}]}"), &list, NULL),
              ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_metrics_read(assertion_of("{'version': 1, 'results': {}}"), &list, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_metrics_read(assertion_of("{'version': 1, 'results': [{'name': 'a', 'value': 1, 'of': 5}]}"),
                                    &list, NULL),
              ATLAS_E_C2PA);
}

TEST(coverage_is_read)
{
    struct atlas_ml_coverage coverage;
    CHECK_OK(atlas_ml_coverage_read(
        assertion_of("{'version': 1, 'seen': 4, 'gaps': [{'what': 'w', 'reason': 'r', 'input': true}, {'what': 'w', "
                     "'reason': 'r', 'input': false}, {'what': 'w', 'reason': 'r'}]}"),
        &coverage, NULL));
    CHECK(coverage.seen == 4 && coverage.input_gaps == 1);
    CHECK_ERR(atlas_ml_coverage_read(assertion_of("{'version': 1, 'gaps': []}"), &coverage, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_coverage_read(assertion_of("{'version': 1, 'seen': 1}"), &coverage, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_coverage_read(assertion_of("{'version': 1, 'seen': -1, 'gaps': []}"), &coverage, NULL),
              ATLAS_E_C2PA);
    CHECK_ERR(
        atlas_ml_coverage_read(assertion_of("{'version': 1, 'seen': 1, 'gaps': [{'what': 'w'}]}"), &coverage, NULL),
        ATLAS_E_C2PA);
    CHECK_ERR(atlas_ml_coverage_read(
                  assertion_of("{'version': 1, 'seen': 1, 'gaps': [{'what': 'w', 'reason': 'r', 'input': 1}]}"),
                  &coverage, NULL),
              ATLAS_E_C2PA);
}
