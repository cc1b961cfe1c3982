/* attest_tdx.h - one verification of a TDX quote, shared by its two files. Included by nobody else. */
#ifndef ATLAS_STAGE_ATTEST_TDX_H
#define ATLAS_STAGE_ATTEST_TDX_H

#include "format/tdx_quote.h"
#include "stage/attest_parts.h"

struct atlas_tdx_run {
    const struct atlas_attest_request *request;
    struct atlas_attest *result;
    struct atlas_collateral *collateral;
    const struct atlas_attest_policy *policy;
    struct atlas_anchors anchors;
    struct atlas_tdx_quote quote;
    struct atlas_buf pck_chain; /* DER, PCK first */
    struct atlas_span pck_der;
    struct atlas_outline pck_outline;
    struct atlas_pck pck;
    struct atlas_pki_path pck_path;
    struct atlas_ccel_replay boot;     /* of the event log, where there is one that fits */
    struct atlas_runtime_log runtime;  /* the same */
    bool runtime_known;
};

/* attest_td.c: the appraisal of a quote whose signatures hold. */
int atlas_td_appraise(struct atlas_tdx_run *run, struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
