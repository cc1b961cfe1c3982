#include "stage/claim.h"

#include <stdio.h>

#include "port/crypto/crypto.h"

/* A claim under construction. Every assertion that is added leaves its box in `boxes` and its link in `created`. */
struct builder {
    const struct atlas_claim_spec *spec;
    struct atlas_buf boxes;
    struct atlas_buf created;     /* links, one after the other */
    struct atlas_buf ingredients; /* links of the ingredient assertions for the actions */
    uint64_t n_created;
    uint64_t n_acted; /* links in `ingredients` */
    struct atlas_error *error;
};

/* ------------------------------------------------------------------------------------------------- assertions */

static int write_link(struct atlas_buf *b, struct atlas_span label, const struct atlas_digest *digest,
                      struct atlas_error *error)
{
    struct atlas_buf url = ATLAS_BUF_INIT;
    atlas_c2pa_ref_write(&url, ATLAS_C2PA_TARGET_ASSERTION, ATLAS_SPAN_NONE, label);
    int rc = atlas_buf_check(&url, error);
    if (rc == ATLAS_OK) {
        struct atlas_c2pa_link link = {.url = atlas_buf_span(&url), .hash = atlas_digest_span(digest)};
        rc = atlas_c2pa_link_write(b, &link, error);
    }
    atlas_buf_release(&url);
    return rc;
}

/* C2PA 2.2, 15.10: an assertion's hash covers the superbox without its header, salt included. */
static int add(struct builder *w, struct atlas_span label, struct atlas_span cbor, struct atlas_digest *ret_digest)
{
    uint8_t salt[ATLAS_JUMBF_SALT_BYTES];
    struct atlas_span payload;
    int rc;
    ATLAS_TRY(atlas_crypto_random(salt, sizeof salt, w->error));
    ATLAS_TRY(atlas_c2pa_assertion_write(&w->boxes, label, atlas_span_of(salt, sizeof salt), cbor, &payload, w->error));
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, payload, ret_digest, w->error));
    ATLAS_TRY(write_link(&w->created, label, ret_digest, w->error));
    w->n_created++;
out:
    return rc;
}

static int add_binding(struct builder *w)
{
    struct atlas_c2pa_hash_data hash = {
        .alg = atlas_span_str(atlas_alg_name(w->spec->binding.alg)),
        .hash = atlas_digest_span(&w->spec->binding),
        .pad = ATLAS_LIT(""),
        .name = w->spec->asset_name,
    };
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_digest digest;
    int rc;
    ATLAS_TRY(atlas_c2pa_hash_data_write(&cbor, &hash, w->error));
    ATLAS_TRY(add(w, ATLAS_LIT("c2pa.hash.data"), atlas_buf_span(&cbor), &digest));
out:
    atlas_buf_release(&cbor);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ ingredients */

/* activeManifest and claimSignature of an embedded ancestor. The digests and URIs live in the caller's storage. */
struct provenance {
    struct atlas_digest manifest_hash;
    struct atlas_digest signature_hash;
    struct atlas_buf manifest_url;
    struct atlas_buf signature_url;
    struct atlas_buf results;
};

static void provenance_release(struct provenance *p)
{
    atlas_buf_release(&p->manifest_url);
    atlas_buf_release(&p->signature_url);
    atlas_buf_release(&p->results);
}

static int embed(const struct atlas_claim_ingredient *from, struct provenance *p, struct atlas_c2pa_ingredient *to,
                 struct atlas_error *error)
{
    struct atlas_jumbf box;
    struct atlas_c2pa_manifest manifest;
    enum atlas_c2pa_problem problem;
    int rc;
    ATLAS_TRY(atlas_jumbf_check(from->manifest, "ingredient", error));
    ATLAS_TRY(atlas_jumbf_read(from->manifest, "ingredient", &box, error));
    ATLAS_TRY(atlas_c2pa_manifest_read(&box, &manifest, &problem, error));
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, manifest.box.payload, &p->manifest_hash, error));
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, manifest.signature.payload, &p->signature_hash, error));
    atlas_c2pa_ref_write(&p->manifest_url, ATLAS_C2PA_TARGET_MANIFEST, box.label, ATLAS_SPAN_NONE);
    atlas_c2pa_ref_write(&p->signature_url, ATLAS_C2PA_TARGET_SIGNATURE, box.label, ATLAS_SPAN_NONE);
    ATLAS_TRY(atlas_buf_check(&p->manifest_url, error));
    ATLAS_TRY(atlas_buf_check(&p->signature_url, error));
    ATLAS_TRY(atlas_c2pa_validation_results_write(&p->results, from->validated, from->n_validated, NULL, 0, error));
    to->has_active_manifest = true;
    to->active_manifest = (struct atlas_c2pa_link){.url = atlas_buf_span(&p->manifest_url),
                                                   .alg = ATLAS_LIT("sha256"),
                                                   .hash = atlas_digest_span(&p->manifest_hash)};
    to->has_claim_signature = true;
    to->claim_signature = (struct atlas_c2pa_link){.url = atlas_buf_span(&p->signature_url),
                                                   .alg = ATLAS_LIT("sha256"),
                                                   .hash = atlas_digest_span(&p->signature_hash)};
    to->validation_results = atlas_buf_span(&p->results);
out:
    return rc;
}

static void refer(const struct atlas_claim_ingredient *from, struct atlas_c2pa_ingredient *to)
{
    to->instance_id = from->urn;
    to->has_data = true;
    to->data = (struct atlas_c2pa_link){
        .url = from->url,
        .alg = atlas_span_str(atlas_alg_name(from->sidecar.alg)),
        .hash = atlas_digest_span(&from->sidecar),
        .external = true,
        .size = {.present = true, .v = from->sidecar_bytes},
        .format = ATLAS_LIT("application/c2pa"),
    };
}

/* C2PA 2.2, 8.3: the second assertion of one label is label__1. */
static struct atlas_span instance_label(size_t i, char *text, size_t size)
{
    int n = i == 0 ? snprintf(text, size, "c2pa.ingredient.v3") : snprintf(text, size, "c2pa.ingredient.v3__%zu", i);
    return atlas_span_of(text, (size_t)n);
}

/* The opened action names the parent and nothing else; the created action names every input. */
static bool acted_on(const struct builder *w, bool has_parent, size_t i)
{
    return !has_parent || w->spec->ingredients[i].relationship == ATLAS_C2PA_PARENT_OF;
}

static int add_ingredient(struct builder *w, size_t i, bool has_parent)
{
    const struct atlas_claim_ingredient *from = &w->spec->ingredients[i];
    struct atlas_c2pa_ingredient ingredient = {
        .relationship = from->relationship, .title = from->title, .format = from->format};
    struct provenance p = {.manifest_url = ATLAS_BUF_INIT, .signature_url = ATLAS_BUF_INIT, .results = ATLAS_BUF_INIT};
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_digest digest;
    char text[48];
    struct atlas_span label = instance_label(i, text, sizeof text);
    int rc;
    if (from->manifest.p != NULL) {
        ATLAS_TRY(embed(from, &p, &ingredient, w->error));
    } else if (from->url.p != NULL) {
        refer(from, &ingredient);
    }
    ATLAS_TRY(atlas_c2pa_ingredient_write(&cbor, &ingredient, w->error));
    ATLAS_TRY(add(w, label, atlas_buf_span(&cbor), &digest));
    if (acted_on(w, has_parent, i)) {
        ATLAS_TRY(write_link(&w->ingredients, label, &digest, w->error));
        w->n_acted++;
    }
out:
    provenance_release(&p);
    atlas_buf_release(&cbor);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- actions */

static int write_first_action(struct builder *w, bool has_parent, struct atlas_buf *b)
{
    struct atlas_buf list = ATLAS_BUF_INIT;
    struct atlas_c2pa_action action = {.when = w->spec->when};
    int rc;
    if (has_parent) {
        action.action = ATLAS_LIT("c2pa.opened");
    } else {
        action.action = ATLAS_LIT("c2pa.created");
        action.digital_source_type = w->spec->digital_source_type;
    }
    if (w->n_acted != 0) {
        atlas_cbor_write_array(&list, w->n_acted);
        atlas_buf_append(&list, atlas_buf_span(&w->ingredients));
        ATLAS_TRY(atlas_buf_check(&list, w->error));
        action.ingredients = atlas_buf_span(&list);
    }
    ATLAS_TRY(atlas_c2pa_action_write(b, &action, w->error));
out:
    atlas_buf_release(&list);
    return rc;
}

static int add_actions(struct builder *w, bool has_parent)
{
    struct atlas_buf list = ATLAS_BUF_INIT;
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_digest digest;
    bool has_step = w->spec->step.p != NULL;
    int rc;
    atlas_cbor_write_array(&list, has_step ? 2 : 1);
    ATLAS_TRY(write_first_action(w, has_parent, &list));
    if (has_step) {
        struct atlas_c2pa_action step = {
            .action = ATLAS_LIT(ATLAS_NAMESPACE ".step"), .when = w->spec->when, .description = w->spec->step};
        ATLAS_TRY(atlas_c2pa_action_write(&list, &step, w->error));
    }
    ATLAS_TRY(atlas_buf_check(&list, w->error));
    struct atlas_c2pa_actions actions = {.actions = atlas_buf_span(&list), .all_included = {.present = true, .v = 1}};
    ATLAS_TRY(atlas_c2pa_actions_write(&cbor, &actions, w->error));
    ATLAS_TRY(add(w, ATLAS_LIT("c2pa.actions.v2"), atlas_buf_span(&cbor), &digest));
out:
    atlas_buf_release(&list);
    atlas_buf_release(&cbor);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------ claim */

static int write_claim(struct builder *w, struct atlas_buf *b)
{
    struct atlas_buf created = ATLAS_BUF_INIT;
    struct atlas_buf signature = ATLAS_BUF_INIT;
    int rc;
    atlas_cbor_write_array(&created, w->n_created);
    atlas_buf_append(&created, atlas_buf_span(&w->created));
    atlas_c2pa_ref_write(&signature, ATLAS_C2PA_TARGET_SIGNATURE, w->spec->urn, ATLAS_SPAN_NONE);
    ATLAS_TRY(atlas_buf_check(&created, w->error));
    ATLAS_TRY(atlas_buf_check(&signature, w->error));
    struct atlas_c2pa_claim claim = {
        .instance_id = w->spec->instance_id,
        .generator = w->spec->generator,
        .signature = atlas_buf_span(&signature),
        .created = atlas_buf_span(&created),
        .alg = ATLAS_LIT("sha256"),
    };
    ATLAS_TRY(atlas_c2pa_claim_write(b, &claim, w->error));
out:
    atlas_buf_release(&created);
    atlas_buf_release(&signature);
    return rc;
}

static int check_spec(const struct atlas_claim_spec *spec, bool *ret_has_parent, struct atlas_error *error)
{
    size_t parents = 0;
    for (size_t i = 0; i < spec->n_ingredients; i++) {
        parents += spec->ingredients[i].relationship == ATLAS_C2PA_PARENT_OF;
    }
    if (parents > 1) {
        return atlas_error_set(error, ATLAS_E_ARG, "ingredients", "at most one parentOf");
    }
    if (spec->n_ingredients > ATLAS_MAX_INGREDIENTS || spec->n_assertions > ATLAS_MAX_ASSERTIONS / 2) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "ingredients", "%zu ingredients and %zu assertions are too many",
                               spec->n_ingredients, spec->n_assertions);
    }
    if (!atlas_c2pa_urn_check(spec->urn)) {
        return atlas_error_set(error, ATLAS_E_ARG, "urn", "not a manifest URN");
    }
    *ret_has_parent = parents == 1;
    return ATLAS_OK;
}

int atlas_claim_build(const struct atlas_claim_spec *spec, struct atlas_claim *ret_claim, struct atlas_error *error)
{
    struct builder w = {.spec = spec,
                        .boxes = ATLAS_BUF_INIT,
                        .created = ATLAS_BUF_INIT,
                        .ingredients = ATLAS_BUF_INIT,
                        .error = error};
    struct atlas_buf cbor = ATLAS_BUF_INIT;
    struct atlas_digest digest;
    bool has_parent = false;
    int rc;
    ATLAS_TRY(check_spec(spec, &has_parent, error));
    ATLAS_TRY(add_binding(&w));
    for (size_t i = 0; i < spec->n_ingredients; i++) {
        ATLAS_TRY(add_ingredient(&w, i, has_parent));
    }
    ATLAS_TRY(add_actions(&w, has_parent));
    ATLAS_TRY(add(&w, ATLAS_LIT("c2pa.asset-type.v2"), spec->asset_type, &digest));
    for (size_t i = 0; i < spec->n_assertions; i++) {
        ATLAS_TRY(add(&w, spec->assertions[i].label, spec->assertions[i].cbor, &digest));
    }
    ATLAS_TRY(write_claim(&w, &cbor));
    *ret_claim = (struct atlas_claim){.assertions = w.boxes, .cbor = cbor};
    w.boxes = ATLAS_BUF_INIT;
    cbor = ATLAS_BUF_INIT;
out:
    atlas_buf_release(&w.boxes);
    atlas_buf_release(&w.created);
    atlas_buf_release(&w.ingredients);
    atlas_buf_release(&cbor);
    return rc;
}

void atlas_claim_release(struct atlas_claim *claim)
{
    atlas_buf_release(&claim->assertions);
    atlas_buf_release(&claim->cbor);
}

int atlas_claim_attest(struct atlas_span assertions, struct atlas_span claim, struct atlas_span cbor,
                       struct atlas_claim *ret_claim, struct atlas_error *error)
{
    struct builder w = {.boxes = ATLAS_BUF_INIT, .created = ATLAS_BUF_INIT, .error = error};
    struct atlas_c2pa_manifest manifest = {.claim_version = 2, .claim_cbor = claim};
    struct atlas_c2pa_claim view;
    struct atlas_buf extended = ATLAS_BUF_INIT;
    struct atlas_digest digest;
    int rc;
    ATLAS_TRY(atlas_c2pa_claim_read(&manifest, &view, error));
    atlas_buf_append(&w.boxes, assertions);
    ATLAS_TRY(add(&w, ATLAS_LIT("c2pa.attestation"), cbor, &digest));
    ATLAS_TRY(atlas_c2pa_claim_extend(claim, &view, atlas_buf_span(&w.created), &extended, error));
    *ret_claim = (struct atlas_claim){.assertions = w.boxes, .cbor = extended};
    w.boxes = ATLAS_BUF_INIT;
    extended = ATLAS_BUF_INIT;
out:
    atlas_buf_release(&w.boxes);
    atlas_buf_release(&w.created);
    atlas_buf_release(&extended);
    return rc;
}

int atlas_claim_seal(struct atlas_span urn, struct atlas_span assertions, struct atlas_span claim,
                     struct atlas_span cose, const struct atlas_span *ancestors, size_t n_ancestors,
                     struct atlas_buf *ret_store, struct atlas_error *error)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    int rc;
    size_t store = atlas_jumbf_open(&b, ATLAS_C2PA_4CC_STORE, ATLAS_C2PA_LABEL_STORE, ATLAS_SPAN_NONE);
    for (size_t i = 0; i < n_ancestors; i++) {
        atlas_buf_append(&b, ancestors[i]);
    }
    size_t manifest = atlas_jumbf_open(&b, ATLAS_C2PA_4CC_STANDARD, urn, ATLAS_SPAN_NONE);
    size_t box = atlas_jumbf_open(&b, ATLAS_C2PA_4CC_ASSERTIONS, ATLAS_C2PA_LABEL_ASSERTIONS, ATLAS_SPAN_NONE);
    atlas_buf_append(&b, assertions);
    ATLAS_TRY(atlas_jumbf_close(&b, box, error));
    ATLAS_TRY(atlas_c2pa_part_write(&b, ATLAS_C2PA_4CC_CLAIM, ATLAS_C2PA_LABEL_CLAIM, claim, error));
    ATLAS_TRY(atlas_c2pa_part_write(&b, ATLAS_C2PA_4CC_SIGNATURE, ATLAS_C2PA_LABEL_SIGNATURE, cose, error));
    ATLAS_TRY(atlas_jumbf_close(&b, manifest, error));
    ATLAS_TRY(atlas_jumbf_close(&b, store, error));
    ATLAS_TRY(atlas_buf_check(&b, error));
    atlas_buf_append(ret_store, atlas_buf_span(&b));
    ATLAS_TRY(atlas_buf_check(ret_store, error));
out:
    atlas_buf_release(&b);
    return rc;
}
