#include "format/tpm_evidence.h"

#include "port/cbor.h"

static const char where[] = "TPM evidence";

struct container {
    struct atlas_span kind;
    struct atlas_cbor_uint version;
    struct atlas_span ak;
    struct atlas_span quote;
    struct atlas_span signature;
    struct atlas_span pcrs;
    struct atlas_span chain;
    struct atlas_span nv;
    struct atlas_span events;
    struct atlas_span tee;
    struct atlas_span tpm;
};

static const struct atlas_cbor_field container_fields[] = {
    ATLAS_CBOR_REQUIRED(container, "atlas", TEXT, kind),
    ATLAS_CBOR_REQUIRED(container, "v", UINT, version),
    ATLAS_CBOR_REQUIRED(container, "ak", BYTES, ak),
    ATLAS_CBOR_REQUIRED(container, "quote", BYTES, quote),
    ATLAS_CBOR_REQUIRED(container, "sig", BYTES, signature),
    ATLAS_CBOR_REQUIRED(container, "pcrs", BYTES, pcrs),
    ATLAS_CBOR_OPTIONAL(container, "chain", ARRAY, chain),
    ATLAS_CBOR_OPTIONAL(container, "nv", MAP, nv),
    ATLAS_CBOR_OPTIONAL(container, "events", BYTES, events),
    ATLAS_CBOR_OPTIONAL(container, "tee", MAP, tee),
    ATLAS_CBOR_OPTIONAL(container, "tpm", MAP, tpm),
};

static const struct atlas_cbor_field nv_fields[] = {
    ATLAS_CBOR_REQUIRED(atlas_tpm_nv_evidence, "public", BYTES, public),
    ATLAS_CBOR_REQUIRED(atlas_tpm_nv_evidence, "certify", BYTES, certify),
    ATLAS_CBOR_REQUIRED(atlas_tpm_nv_evidence, "sig", BYTES, signature),
    ATLAS_CBOR_REQUIRED(atlas_tpm_nv_evidence, "log", BYTES, log),
    ATLAS_CBOR_OPTIONAL(atlas_tpm_nv_evidence, "initial", BYTES, initial),
};

static const struct atlas_cbor_field tee_fields[] = {
    ATLAS_CBOR_REQUIRED(atlas_tpm_evidence, "hcl", BYTES, hcl),
    ATLAS_CBOR_OPTIONAL(atlas_tpm_evidence, "quote", BYTES, tee_quote),
};

static const struct atlas_cbor_field tpm_fields[] = {
    ATLAS_CBOR_OPTIONAL(atlas_tpm_evidence, "manufacturer", TEXT, manufacturer),
    ATLAS_CBOR_OPTIONAL(atlas_tpm_evidence, "vendor", TEXT, vendor),
    ATLAS_CBOR_OPTIONAL(atlas_tpm_evidence, "firmware", TEXT, firmware),
};

static int read_map(struct atlas_span map, const struct atlas_cbor_field *fields, size_t n, void *view,
                    struct atlas_error *error)
{
    struct atlas_cbor c;
    if (map.p == NULL) {
        return ATLAS_OK;
    }
    atlas_cbor_open(&c, map, where, error);
    c.misfit = ATLAS_E_EVIDENCE;
    (void)atlas_cbor_read_map(&c, fields, n, view);
    return atlas_cbor_finish(&c);
}

static int read_chain(struct atlas_span list, struct atlas_tpm_evidence *e, struct atlas_error *error)
{
    struct atlas_cbor c;
    if (list.p == NULL) {
        return ATLAS_OK;
    }
    int rc = atlas_cbor_open_list(&c, list, where, error);
    if (rc < 0) {
        return rc;
    }
    c.misfit = ATLAS_E_EVIDENCE;
    while (atlas_cbor_more(&c)) {
        if (e->n_chain == ATLAS_MAX_TPM_CERTIFICATES) {
            return atlas_error_set(error, ATLAS_E_LIMIT, where, "more than %d certificates",
                                   ATLAS_MAX_TPM_CERTIFICATES);
        }
        if (atlas_cbor_take_bytes(&c, &e->chain[e->n_chain]) >= 0) {
            e->n_chain++;
        }
    }
    (void)atlas_cbor_leave(&c);
    return atlas_cbor_finish(&c);
}

static int read_container(struct atlas_span bytes, struct container *view, struct atlas_error *error)
{
    struct atlas_cbor c;
    int rc = atlas_cbor_init(&c, bytes, where, error);
    if (rc < 0) {
        return rc;
    }
    c.misfit = ATLAS_E_EVIDENCE;
    (void)atlas_cbor_read_map(&c, container_fields, ATLAS_COUNT(container_fields), view);
    rc = atlas_cbor_finish(&c);
    if (rc >= 0 && (!atlas_span_equal(view->kind, ATLAS_LIT("tpm-evidence")) || view->version.v != 1)) {
        rc = atlas_error_set(error, ATLAS_E_EVIDENCE, where, "not TPM evidence of version 1");
    }
    return rc;
}

int atlas_tpm_evidence_read(struct atlas_span bytes, struct atlas_tpm_evidence *ret_evidence, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct container view = {.kind = ATLAS_SPAN_NONE};
    struct atlas_tpm_evidence e = {.n_chain = 0};
    if (bytes.n > ATLAS_MAX_TPM_EVIDENCE_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "%zu bytes", bytes.n);
    }
    ATLAS_TRY(read_container(bytes, &view, error));
    ATLAS_TRY(read_map(view.nv, nv_fields, ATLAS_COUNT(nv_fields), &e.nv, error));
    ATLAS_TRY(read_map(view.tee, tee_fields, ATLAS_COUNT(tee_fields), &e, error));
    ATLAS_TRY(read_map(view.tpm, tpm_fields, ATLAS_COUNT(tpm_fields), &e, error));
    ATLAS_TRY(read_chain(view.chain, &e, error));
    e.ak = view.ak;
    e.quote = view.quote;
    e.signature = view.signature;
    e.pcrs = view.pcrs;
    e.events = view.events;
    *ret_evidence = e;
out:
    return rc;
}
