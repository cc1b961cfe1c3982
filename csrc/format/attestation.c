#include "format/attestation.h"

#include "port/cbor.h"

static const char where[] = "c2pa.attestation";

/* ---------------------------------------------------------------------------------------------------- reading */

struct raw_attestation {
    struct atlas_attestation view;
    struct atlas_span tbs;
};

static const struct atlas_cbor_field attestation_fields[] = {
    ATLAS_CBOR_REQUIRED(raw_attestation, "att-type", TEXT, view.type),
    ATLAS_CBOR_REQUIRED(raw_attestation, "attestation-tbs", MAP, tbs),
    ATLAS_CBOR_REQUIRED(raw_attestation, "attestation-results", BYTES, view.results),
    ATLAS_CBOR_OPTIONAL(raw_attestation, "collateral", ARRAY, view.collateral),
    ATLAS_CBOR_OPTIONAL(raw_attestation, "event-log", BYTES, view.event_log),
    ATLAS_CBOR_OPTIONAL(raw_attestation, "runtime-log", BYTES, view.runtime_log),
};

struct raw_binding {
    struct atlas_attestation_binding view;
    struct atlas_span alg;
};

static const struct atlas_cbor_field binding_fields[] = {
    ATLAS_CBOR_OPTIONAL(raw_binding, "partial-claim-hash", BYTES, view.partial),
    ATLAS_CBOR_REQUIRED(raw_binding, "alg", TEXT, alg),
    ATLAS_CBOR_REQUIRED(raw_binding, "pub-key", BYTES, view.pub_key),
    ATLAS_CBOR_REQUIRED(raw_binding, "created", DATE, view.created),
    ATLAS_CBOR_OPTIONAL(raw_binding, "nonce", BYTES, view.nonce),
    ATLAS_CBOR_OPTIONAL(raw_binding, "run", TEXT, view.run),
};

/* Artifact: a claim and a nonce. Session: a run. Nothing in between. */
static bool of_one_mode(const struct atlas_attestation_binding *b)
{
    bool artifact = b->partial.p != NULL;
    return artifact == (b->nonce.p != NULL) && artifact == (b->run.p == NULL);
}

static int read_binding(struct atlas_span tbs, struct atlas_attestation_binding *ret_binding, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct raw_binding raw = {0};
    atlas_cbor_open(&c, tbs, "c2pa.attestation.attestation-tbs", error);
    c.misfit = ATLAS_E_C2PA;
    ATLAS_TRY(atlas_cbor_read_map(&c, binding_fields, ATLAS_COUNT(binding_fields), &raw));
    ATLAS_TRY(atlas_cbor_finish(&c));
    if (!atlas_span_equal(raw.alg, ATLAS_LIT("sha256"))) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, where, "the partial claim is hashed with sha256");
    }
    if (!of_one_mode(&raw.view)) {
        return atlas_error_set(error, ATLAS_E_C2PA, where, "neither bound to a claim nor to a run");
    }
    *ret_binding = raw.view;
out:
    return rc;
}

static int check_collateral(struct atlas_span collateral, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    size_t n = 0;
    if (collateral.p == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_cbor_open_list(&c, collateral, "c2pa.attestation.collateral", error));
    c.misfit = ATLAS_E_C2PA;
    while (atlas_cbor_more(&c)) {
        struct atlas_span file;
        ATLAS_TRY(atlas_cbor_take_bytes(&c, &file));
        if (++n > ATLAS_MAX_ATTESTED_COLLATERAL) {
            return atlas_cbor_refuse(&c, ATLAS_E_LIMIT, "more files than %d", ATLAS_MAX_ATTESTED_COLLATERAL);
        }
    }
    rc = atlas_cbor_leave(&c);
out:
    return rc;
}

int atlas_attestation_read(const struct atlas_c2pa_assertion *assertion, struct atlas_attestation *ret_attestation,
                           struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct raw_attestation raw = {0};
    ATLAS_TRY(atlas_c2pa_assertion_cbor(assertion, where, &c, error));
    ATLAS_TRY(atlas_cbor_read_map(&c, attestation_fields, ATLAS_COUNT(attestation_fields), &raw));
    ATLAS_TRY(atlas_cbor_finish(&c));
    ATLAS_TRY(read_binding(raw.tbs, &raw.view.binding, error));
    ATLAS_TRY(check_collateral(raw.view.collateral, error));
    *ret_attestation = raw.view;
out:
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- writing */

int atlas_attestation_binding_write(struct atlas_buf *b, const struct atlas_attestation_binding *binding,
                                    struct atlas_error *error)
{
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    if (!of_one_mode(binding)) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "bound to a claim and a nonce, or to a run");
    }
    atlas_cbor_map_put_bytes(&m, "partial-claim-hash", binding->partial);
    atlas_cbor_map_put_text(&m, "alg", ATLAS_LIT("sha256"));
    atlas_cbor_map_put_bytes(&m, "pub-key", binding->pub_key);
    atlas_cbor_map_put_date(&m, "created", binding->created);
    atlas_cbor_map_put_bytes(&m, "nonce", binding->nonce);
    atlas_cbor_map_put_text(&m, "run", binding->run);
    int rc = atlas_cbor_map_write(&m, b, error);
    atlas_cbor_map_release(&m);
    return rc;
}

int atlas_attestation_write(struct atlas_buf *b, const struct atlas_attestation *attestation,
                            struct atlas_span binding, struct atlas_error *error)
{
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    struct atlas_attestation_binding view;
    int rc;
    ATLAS_TRY(read_binding(binding, &view, error));
    ATLAS_TRY(check_collateral(attestation->collateral, error));
    atlas_cbor_map_put_text(&m, "att-type", attestation->type);
    atlas_cbor_map_put_raw(&m, "attestation-tbs", binding);
    atlas_cbor_map_put_bytes(&m, "attestation-results", attestation->results);
    atlas_cbor_map_put_raw(&m, "collateral", attestation->collateral);
    atlas_cbor_map_put_bytes(&m, "event-log", attestation->event_log);
    atlas_cbor_map_put_bytes(&m, "runtime-log", attestation->runtime_log);
    ATLAS_TRY(atlas_cbor_map_write(&m, b, error));
out:
    atlas_cbor_map_release(&m);
    return rc;
}
