/* fuzz_c2pa.c - a manifest store with everything in it. The first byte chooses: 0..99 the whole input is a store; else the
 * rest is the CBOR of one assertion, of a kind that the byte chooses, so that the readers of contents see more than the
 * few stores that survive mutation. */
#include "format/assertion.h"
#include "format/atlasml.h"
#include "format/attestation.h"
#include "fuzz.h"
#include "sample.h"

/* A claim with one more attestation has the partial claim of the one without. */
static void read_partial(struct atlas_span cbor, const struct atlas_c2pa_claim *claim)
{
    static const uint8_t link[] = "\xa1"
                                  "curlx0self#jumbf=c2pa.assertions/c2pa.attestation";
    struct atlas_buf partial = ATLAS_BUF_INIT;
    struct atlas_buf extended = ATLAS_BUF_INIT;
    struct atlas_buf again = ATLAS_BUF_INIT;
    struct atlas_c2pa_claim view;
    struct atlas_c2pa_manifest m = {.claim_version = 2};
    if (atlas_c2pa_claim_partial(cbor, claim, &partial, NULL) == ATLAS_OK &&
        atlas_c2pa_claim_extend(cbor, claim, atlas_span_of(link, sizeof link - 1), &extended, NULL) == ATLAS_OK) {
        m.claim_cbor = atlas_buf_span(&extended);
        if (atlas_c2pa_claim_read(&m, &view, NULL) == ATLAS_OK) {
            REQUIRE(atlas_c2pa_claim_partial(m.claim_cbor, &view, &again, NULL) == ATLAS_OK);
            REQUIRE(atlas_span_equal(atlas_buf_span(&partial), atlas_buf_span(&again)));
        }
    }
    atlas_buf_release(&partial);
    atlas_buf_release(&extended);
    atlas_buf_release(&again);
}

static void read_claim(struct atlas_span cbor)
{
    struct atlas_c2pa_claim claim;
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_c2pa_manifest m = {.claim_version = 2, .claim_cbor = cbor};
    if (atlas_c2pa_claim_read(&m, &claim, NULL) == ATLAS_OK) {
        struct atlas_c2pa_claim again;
        REQUIRE(atlas_c2pa_claim_write(&b, &claim, NULL) == ATLAS_OK);
        m.claim_cbor = atlas_buf_span(&b);
        REQUIRE(atlas_c2pa_claim_read(&m, &again, NULL) == ATLAS_OK);
        REQUIRE(atlas_span_equal(again.created, claim.created) && atlas_span_equal(again.signature, claim.signature));
        read_partial(m.claim_cbor, &again);
    }
    atlas_buf_release(&b);
}

static void read_ingredient(const struct atlas_c2pa_assertion *a)
{
    struct atlas_c2pa_ingredient view;
    struct atlas_buf b = ATLAS_BUF_INIT;
    if (atlas_c2pa_ingredient_read(a, &view, NULL) == ATLAS_OK) {
        struct atlas_c2pa_ingredient again;
        REQUIRE(!view.has_active_manifest || (view.has_claim_signature && view.validation_results.p != NULL));
        REQUIRE(atlas_c2pa_ingredient_write(&b, &view, NULL) == ATLAS_OK);
        struct atlas_c2pa_assertion written = {.type = ATLAS_C2PA_CONTENT_CBOR, .content = atlas_buf_span(&b)};
        REQUIRE(atlas_c2pa_ingredient_read(&written, &again, NULL) == ATLAS_OK);
        REQUIRE(again.relationship == view.relationship && again.recorded_failures == view.recorded_failures);
        REQUIRE(atlas_span_equal(again.active_manifest.hash, view.active_manifest.hash));
    }
    atlas_buf_release(&b);
}

static void read_measurement(const struct atlas_c2pa_assertion *a)
{
    struct atlas_ml_measurement view;
    struct atlas_buf b = ATLAS_BUF_INIT;
    if (atlas_ml_measurement_read(a, &view, NULL) == ATLAS_OK) {
        struct atlas_ml_measurement again;
        REQUIRE(atlas_ml_measurement_write(&b, &view, NULL) == ATLAS_OK);
        struct atlas_c2pa_assertion written = {.type = ATLAS_C2PA_CONTENT_CBOR, .content = atlas_buf_span(&b)};
        REQUIRE(atlas_ml_measurement_read(&written, &again, NULL) == ATLAS_OK);
        REQUIRE(again.directory == view.directory && again.size == view.size && again.files == view.files);
        REQUIRE(atlas_digest_equal(&again.tree, &view.tree) && atlas_span_equal(again.links, view.links));
    }
    atlas_buf_release(&b);
}

static void read_inputs(const struct atlas_c2pa_assertion *a)
{
    struct atlas_cbor c;
    struct atlas_span list;
    if (atlas_ml_inputs_read(a, &list, NULL) < 0) {
        return;
    }
    REQUIRE(atlas_cbor_open_list(&c, list, "fuzz", NULL) == ATLAS_OK);
    while (atlas_cbor_more(&c)) {
        struct atlas_ml_input input;
        REQUIRE(atlas_ml_input_take(&c, &input) == ATLAS_OK);
        REQUIRE(input.flat.alg != ATLAS_ALG_NONE || input.tree.alg != ATLAS_ALG_NONE);
    }
    REQUIRE(atlas_cbor_leave(&c) == ATLAS_OK && atlas_cbor_finish(&c) == ATLAS_OK);
}

static void read_actions(const struct atlas_c2pa_assertion *a)
{
    struct atlas_cbor c;
    struct atlas_c2pa_actions actions;
    if (atlas_c2pa_actions_read(a, &actions, NULL) < 0) {
        return;
    }
    REQUIRE(atlas_cbor_open_list(&c, actions.actions, "fuzz", NULL) == ATLAS_OK);
    while (atlas_cbor_more(&c)) {
        struct atlas_c2pa_action action;
        REQUIRE(atlas_c2pa_action_take(&c, &action) == ATLAS_OK);
    }
    REQUIRE(atlas_cbor_leave(&c) == ATLAS_OK);
}

static void read_attestation(const struct atlas_c2pa_assertion *a)
{
    struct atlas_attestation view;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    struct atlas_buf b = ATLAS_BUF_INIT;
    if (atlas_attestation_read(a, &view, NULL) == ATLAS_OK) {
        struct atlas_attestation again;
        REQUIRE((view.binding.partial.p != NULL) != (view.binding.run.p != NULL));
        REQUIRE(atlas_attestation_binding_write(&tbs, &view.binding, NULL) == ATLAS_OK);
        REQUIRE(atlas_attestation_write(&b, &view, atlas_buf_span(&tbs), NULL) == ATLAS_OK);
        struct atlas_c2pa_assertion written = {.type = ATLAS_C2PA_CONTENT_CBOR, .content = atlas_buf_span(&b)};
        REQUIRE(atlas_attestation_read(&written, &again, NULL) == ATLAS_OK);
        REQUIRE(atlas_span_equal(again.binding.pub_key, view.binding.pub_key));
        REQUIRE(atlas_span_equal(again.results, view.results) && atlas_span_equal(again.collateral, view.collateral));
    }
    atlas_buf_release(&tbs);
    atlas_buf_release(&b);
}

static void read_content(unsigned choice, struct atlas_span cbor)
{
    struct atlas_c2pa_hash_data hash;
    struct atlas_c2pa_asset_type type;
    struct atlas_c2pa_training_mining use;
    struct atlas_ml_coverage coverage;
    struct atlas_span list;
    struct atlas_c2pa_ref ref;
    struct atlas_c2pa_assertion a = {.type = ATLAS_C2PA_CONTENT_CBOR, .content = cbor};
    switch (choice % 12) {
    case 0:
        read_claim(cbor);
        break;
    case 1:
        (void)(atlas_c2pa_hash_data_read(&a, &hash, NULL) == ATLAS_OK);
        break;
    case 2:
        read_ingredient(&a);
        break;
    case 3:
        read_actions(&a);
        break;
    case 4:
        (void)(atlas_c2pa_asset_type_read(&a, &type, NULL) == ATLAS_OK);
        break;
    case 5:
        (void)(atlas_c2pa_training_mining_read(&a, &use, NULL) == ATLAS_OK);
        break;
    case 6:
        read_measurement(&a);
        break;
    case 7:
        read_inputs(&a);
        break;
    case 8:
        (void)(atlas_ml_metrics_read(&a, &list, NULL) == ATLAS_OK);
        break;
    case 9:
        (void)(atlas_ml_coverage_read(&a, &coverage, NULL) == ATLAS_OK);
        break;
    case 10:
        read_attestation(&a);
        break;
    default:
        (void)(atlas_c2pa_ref_read(cbor, &ref, NULL) == ATLAS_OK);
        (void)atlas_c2pa_kind(cbor);
        (void)atlas_ml_name_check(cbor);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf text = ATLAS_BUF_INIT;
    struct atlas_span bytes;
    if (size == 0) {
        return 0;
    }
    if (data[0] < 100) {
        bytes = own_copy(data, size);
        int rc = dump_store(bytes, &text, &error);
        REQUIRE(rc == error.code);
    } else {
        bytes = own_copy(data + 1, size - 1);
        read_content(data[0] - 100u, bytes);
    }
    atlas_buf_release(&text);
    free_copy(bytes);
    return 0;
}
