/* attest_tdx.c - Intel TDX: the checks of Intel's quote verification library (4.1.2.5), each one a step, in its order.
 */
#include "base/le.h"
#include "stage/attest_tdx.h"

/* SHA-256 of the DER of "Intel SGX Root CA", valid 2018-05-21 to 2049-12-31. */
static const struct atlas_pin intel_root = {
    "Intel SGX Root CA",
    {0x44, 0xa0, 0x19, 0x6b, 0x2b, 0x99, 0xf8, 0x89, 0xb8, 0xe1, 0x49, 0xe9, 0x5b, 0x80, 0x7a, 0x35,
     0x0e, 0x74, 0x24, 0x96, 0x43, 0x99, 0xe8, 0x85, 0xa7, 0xcb, 0xb8, 0xcc, 0xfa, 0xb6, 0x74, 0xd3},
};

/* ------------------------------------------------------------------------------------------- PCK certificate */

/* The chain is in the quote, or only the leaf is, or nothing: the rest comes with the collateral. */
static int collect_pck(struct atlas_tdx_run *r, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    const struct atlas_tdx_quote *q = &r->quote;
    if (q->cert_type >= ATLAS_CERT_PCK_LEAF) {
        ATLAS_TRY(atlas_pem_split(q->cert_data, &r->pck_chain, error));
    }
    if (q->cert_type < ATLAS_CERT_PCK_LEAF && r->collateral->pck_chain.n == 0) {
        ATLAS_TRY(
            atlas_error_set(error, ATLAS_E_NOT_FOUND, "PCK", "the PCK certificate is neither in quote nor collateral"));
    }
    if (q->cert_type != ATLAS_CERT_PCK_CHAIN) {
        atlas_buf_append(&r->pck_chain, atlas_buf_span(&r->collateral->pck_chain));
        atlas_buf_append(&r->pck_chain, atlas_buf_span(&r->collateral->certificates));
        ATLAS_TRY(atlas_buf_check(&r->pck_chain, error));
    }
    struct atlas_span rest = atlas_buf_span(&r->pck_chain);
    if (!atlas_certificate_next(&rest, &r->pck_der)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_X509, "PCK", "not a DER certificate"));
    }
    ATLAS_TRY(atlas_outline_read(r->pck_der, &r->pck_outline, error));
out:
    return rc;
}

static int check_pck_chain(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    int rc = collect_pck(r, error);
    if (rc >= 0) {
        rc = atlas_device_chain_check(r->collateral, atlas_buf_span(&r->pck_chain), &r->anchors, r->request->at,
                                      ATLAS_PKI_STRICT | ATLAS_PKI_REVOCATION, "PCK", &r->pck_path, error);
    }
    if (rc >= 0) {
        atlas_anchors_note(&r->anchors, &r->pck_path, r->result);
    }
    return rc;
}

/* 4.1.2.5.5, and the extension that everything about the platform is taken from. */
static int check_pck_profile(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    if (!atlas_name_holds(r->pck_outline.subject, ATLAS_PCK_NAME)) {
        return atlas_error_set(error, ATLAS_E_CREDENTIAL, "PCK",
                               "the certificate is not named \"SGX PCK Certificate\"");
    }
    return atlas_pck_read(r->pck_der, &r->pck, error);
}

/* -------------------------------------------------------------------------------------------- signed documents */

static int check_tcb_signer(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    return atlas_document_signer_check(r->collateral, &r->collateral->tcb_info, &r->anchors, r->request->at, "TCB info",
                                       error);
}

static int not_from_the_future(int64_t issued, int64_t at, const char *what, struct atlas_error *error)
{
    if (issued > at) {
        return atlas_error_set(error, ATLAS_E_EXPIRED, what, "the %s was issued after the time of verification", what);
    }
    return ATLAS_OK;
}

/* The bytes are interpreted only now that they are known to be Intel's. */
static int check_tcb_info(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    struct atlas_collateral *c = r->collateral;
    bool known = c->tcb_info.verified && c->info.document != NULL;
    int rc = atlas_document_signature_check(&c->tcb_info, "TCB info", error);
    if (rc >= 0 && !known) {
        atlas_tcb_info_release(&c->info);
        rc = atlas_tcb_info_read(atlas_buf_span(&c->tcb_info.bytes), &c->info, error);
    }
    if (rc < 0) {
        c->tcb_info.verified = false;
        return rc;
    }
    r->result->evaluation_number = c->info.evaluation_number;
    return not_from_the_future(c->info.issued, r->request->at, "TCB info", error);
}

static int check_qe_signer(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    return atlas_document_signer_check(r->collateral, &r->collateral->qe_identity, &r->anchors, r->request->at,
                                       "QE identity", error);
}

static int check_qe_identity(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    struct atlas_collateral *c = r->collateral;
    bool known = c->qe_identity.verified && c->identity.document != NULL;
    int rc = atlas_document_signature_check(&c->qe_identity, "QE identity", error);
    if (rc >= 0 && !known) {
        atlas_qe_identity_release(&c->identity);
        rc = atlas_qe_identity_read(atlas_buf_span(&c->qe_identity.bytes), &c->identity, error);
    }
    if (rc < 0) {
        c->qe_identity.verified = false;
        return rc;
    }
    return not_from_the_future(c->identity.issued, r->request->at, "QE identity", error);
}

/* ------------------------------------------------------------------------------------- platform and TDX module */

static int mismatch(struct atlas_error *error, const char *where, const char *text)
{
    return atlas_error_set(error, ATLAS_E_MISMATCH, where, "%s", text);
}

/* 4.1.2.5.10 and 4.1.2.5.11. */
static int check_platform(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    const struct atlas_tcb_info *info = &r->collateral->info;
    if (!info->tdx || info->version < 3) {
        return mismatch(error, "TCB info", "the TCB info is not for TDX");
    }
    if (memcmp(info->fmspc, r->pck.fmspc, sizeof info->fmspc) != 0) {
        return mismatch(error, "TCB info", "the TCB info is for another platform: FMSPC differs");
    }
    if (memcmp(info->pceid, r->pck.pceid, sizeof info->pceid) != 0) {
        return mismatch(error, "TCB info", "the TCB info is for another platform: PCEID differs");
    }
    return ATLAS_OK;
}

/* 4.1.2.5.12: the module that the quote was made under must be Intel's own. */
static int check_module(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    const struct atlas_tdx_body *body = &r->quote.body;
    const struct atlas_tdx_module *module = atlas_tcb_module(&r->collateral->info, body->tee_tcb_svn.p);
    if (module == NULL) {
        return mismatch(error, "TDX module", "the TCB info does not know this version of the TDX module");
    }
    if (!atlas_span_equal(body->mrsignerseam, atlas_span_of(module->mrsigner, sizeof module->mrsigner))) {
        return mismatch(error, "TDX module", "the signer of the TDX module differs");
    }
    if (!atlas_span_all(body->seam_attributes, 0) ||
        !atlas_span_equal(body->seam_attributes, atlas_span_of(module->attributes, sizeof module->attributes))) {
        return mismatch(error, "TDX module", "the attributes of the TDX module differ or are not zero");
    }
    return ATLAS_OK;
}

/* --------------------------------------------------------------------------------------------- quoting enclave */

/* A signature that does not hold, in the words of what was signed. */
static int reword(int rc, struct atlas_error *error, const char *text)
{
    if (rc == ATLAS_E_SIGNATURE) {
        *error = ATLAS_ERROR_INIT;
        return atlas_error_set(error, rc, "quote", "%s", text);
    }
    return rc;
}

/* 4.1.2.5.13 */
static int check_qe_report(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    int rc = atlas_p256_verify(r->pck_outline.spki, r->quote.qe_report.whole, r->quote.qe_signature, error);
    return reword(rc, error, "the quoting enclave's report is not signed by the PCK");
}

/* 4.1.2.5.14, and the other half of the report data is zero. */
static int check_qe_binding(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    int rc = ATLAS_OK;
    struct atlas_buf bytes = ATLAS_BUF_INIT;
    struct atlas_digest digest;
    struct atlas_span data = r->quote.qe_report.report_data;
    atlas_buf_append(&bytes, r->quote.attestation_key);
    atlas_buf_append(&bytes, r->quote.qe_auth);
    ATLAS_TRY(atlas_buf_check(&bytes, error));
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, atlas_buf_span(&bytes), &digest, error));
    if (!atlas_span_equal_ct(atlas_span_sub(data, 0, 32), atlas_digest_span(&digest)) ||
        !atlas_span_all(atlas_span_sub(data, 32, 32), 0)) {
        ATLAS_TRY(
            mismatch(error, "quoting enclave", "the attestation key is not the one that the quoting enclave reports"));
    }
out:
    atlas_buf_release(&bytes);
    return rc;
}

static bool masked_equal(const uint8_t *actual, const uint8_t *mask, const uint8_t *expected, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((actual[i] & mask[i]) != expected[i]) {
            return false;
        }
    }
    return true;
}

/* 4.1.2.5.15, 4.1.2.9: the enclave is Intel's quoting enclave for TDX, not in debug mode (that is in the attributes).
 */
static int check_qe_enclave(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    const struct atlas_qe_identity *id = &r->collateral->identity;
    const struct atlas_sgx_report *qe = &r->quote.qe_report;
    if (!id->td_qe || id->version < 2) {
        return mismatch(error, "QE identity", "the identity is not that of the TD quoting enclave");
    }
    if ((atlas_le32(qe->miscselect.p) & id->miscselect_mask) != id->miscselect) {
        return mismatch(error, "quoting enclave", "MISCSELECT differs");
    }
    if (!masked_equal(qe->attributes.p, id->attributes_mask, id->attributes, sizeof id->attributes)) {
        return mismatch(error, "quoting enclave", "ATTRIBUTES differ");
    }
    if (!atlas_span_equal(qe->mrsigner, atlas_span_of(id->mrsigner, sizeof id->mrsigner))) {
        return mismatch(error, "quoting enclave", "MRSIGNER differs");
    }
    if (qe->isvprodid != id->isvprodid) {
        return mismatch(error, "quoting enclave", "ISVPRODID differs");
    }
    return ATLAS_OK;
}

/* 4.1.2.5.17 */
static int check_quote(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    int rc = atlas_p256_verify(r->quote.attestation_key, r->quote.signed_part, r->quote.signature, error);
    return reword(rc, error, "the quote is not signed by its attestation key");
}

/* ---------------------------------------------------------------------------------------------------- TCB group */

/* 4.1.2.5.19 and 4.1.2.5.1.20. */
static int evaluate(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    int rc = ATLAS_OK;
    struct atlas_attest *result = r->result;
    const struct atlas_collateral *c = r->collateral;
    struct atlas_platform platform = {&r->pck, r->quote.qe_report.isvsvn};
    ATLAS_TRY(
        atlas_tcb_evaluate(&c->info, &c->identity, &platform, r->quote.body.tee_tcb_svn.p, &result->launch, error));
    result->current = result->launch;
    result->two_svns = r->quote.body.tee_tcb_svn2.p != NULL;
    if (result->two_svns) {
        ATLAS_TRY(atlas_tcb_evaluate(&c->info, &c->identity, &platform, r->quote.body.tee_tcb_svn2.p, &result->current,
                                     error));
    }
    result->tcb_status = (uint8_t)atlas_tcb_relaunch((enum atlas_tcb_status)result->launch.status,
                                                     (enum atlas_tcb_status)result->current.status);
    if (result->tcb_status == ATLAS_TCB_NOT_SUPPORTED) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_TCB, "TCB", "no TCB level of the TCB info matches this platform"));
    }
out:
    return rc;
}

static int check_accepted(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    const struct atlas_tdx_policy *policy = &r->policy->tdx;
    enum atlas_tcb_status status = (enum atlas_tcb_status)r->result->tcb_status;
    bool accepted = status != ATLAS_TCB_NONE && (policy->accepted >> status & 1) != 0;
    bool old = status == ATLAS_TCB_OUT_OF_DATE || status == ATLAS_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED;
    if (!accepted && old && policy->platform_grace != 0) {
        /* dates and grace are below 2^53 */
        accepted = r->request->at - r->result->launch.date <= (int64_t)policy->platform_grace;
    }
    if (!accepted) {
        return atlas_error_set(error, ATLAS_E_TCB, "TCB", "the policy does not accept the status %s",
                               atlas_tcb_status_name(status));
    }
    return ATLAS_OK;
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* From when until when all of the collateral is valid, certificates included. */
static void note_window(struct atlas_tdx_run *r)
{
    const struct atlas_collateral *c = r->collateral;
    const struct atlas_pki_path *paths[] = {&r->pck_path, &c->tcb_info.path, &c->qe_identity.path};
    int64_t from = c->info.issued > c->identity.issued ? c->info.issued : c->identity.issued;
    int64_t until = earliest(c->info.next_update, c->identity.next_update);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        from = -earliest(-from, -paths[i]->not_before);
        from = -earliest(-from, -paths[i]->crl_this_update);
        until = earliest(until, paths[i]->not_after);
        until = earliest(until, paths[i]->crl_next_update);
    }
    r->result->collateral_from = from;
    r->result->collateral_until = until;
}

/* What Intel would replace by now. Certificates have their own check and no grace. */
static int check_fresh(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    const struct atlas_collateral *c = r->collateral;
    note_window(r);
    int64_t crls = earliest(r->pck_path.crl_next_update,
                            earliest(c->tcb_info.path.crl_next_update, c->qe_identity.path.crl_next_update));
    const struct {
        const char *what;
        int64_t until;
    } due[] = {
        {"the TCB info", c->info.next_update},
        {"the QE identity", c->identity.next_update},
        {"a revocation list", crls},
    };
    for (size_t i = 0; i < sizeof due / sizeof due[0]; i++) {
        if (r->request->at - due[i].until > (int64_t)r->policy->tdx.collateral_grace) {
            return atlas_error_set(error, ATLAS_E_EXPIRED, "collateral", "%s was due to be replaced before this time",
                                   due[i].what);
        }
    }
    return ATLAS_OK;
}

static int check_evaluation_number(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    uint64_t minimum = r->policy->tdx.min_evaluation_number;
    uint64_t platform = r->collateral->info.evaluation_number;
    uint64_t qe = r->collateral->identity.evaluation_number;
    uint64_t actual = platform < qe ? platform : qe;
    if (minimum == 0) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    if (actual < minimum) {
        return atlas_error_set(error, ATLAS_E_TCB, "TCB", "TCB evaluation data number %llu; the policy wants %llu",
                               (unsigned long long)actual, (unsigned long long)minimum);
    }
    return ATLAS_OK;
}

static int check_tcb_date(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    int64_t minimum = r->policy->tdx.min_tcb_date;
    if (minimum == 0) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    if (r->result->launch.date < minimum || r->result->current.date < minimum) {
        return atlas_error_set(error, ATLAS_E_TCB, "TCB", "the TCB level is older than the policy wants");
    }
    return ATLAS_OK;
}

static bool has_advisory(const struct atlas_tcb_evaluation *e, struct atlas_span name)
{
    for (size_t i = 0; i < e->n_advisories; i++) {
        if (atlas_span_equal(name, atlas_span_str(e->advisories[i]))) {
            return true;
        }
    }
    return false;
}

static int check_advisories(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    const struct atlas_json *list = r->policy->tdx.rejected_advisories;
    if (list == NULL) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    for (size_t i = 0; i < atlas_json_count(list); i++) {
        struct atlas_span name;
        if (atlas_json_text(atlas_json_at(list, i), &name) &&
            (has_advisory(&r->result->launch, name) || has_advisory(&r->result->current, name))) {
            return atlas_error_set(error, ATLAS_E_TCB, "TCB", "the platform is subject to %.*s", (int)name.n,
                                   (const char *)name.p);
        }
    }
    return ATLAS_OK;
}

/* -------------------------------------------------------------------------------------------------- the table */

static const struct atlas_step signature_steps[] = {
    {"tdx.pck_chain", ATLAS_GROUP_SIGNATURE, check_pck_chain},
    {"tdx.pck_profile", ATLAS_GROUP_SIGNATURE, check_pck_profile},
    {"tdx.tcb_signer", ATLAS_GROUP_SIGNATURE, check_tcb_signer},
    {"tdx.tcb_info", ATLAS_GROUP_SIGNATURE, check_tcb_info},
    {"tdx.qe_signer", ATLAS_GROUP_SIGNATURE, check_qe_signer},
    {"tdx.qe_identity", ATLAS_GROUP_SIGNATURE, check_qe_identity},
    {"tdx.platform", ATLAS_GROUP_SIGNATURE, check_platform},
    {"tdx.module", ATLAS_GROUP_SIGNATURE, check_module},
    {"tdx.qe_report", ATLAS_GROUP_SIGNATURE, check_qe_report},
    {"tdx.qe_binding", ATLAS_GROUP_SIGNATURE, check_qe_binding},
    {"tdx.qe_enclave", ATLAS_GROUP_SIGNATURE, check_qe_enclave},
    {"tdx.quote", ATLAS_GROUP_SIGNATURE, check_quote},
};

static const struct atlas_step tcb_steps[] = {
    {"tdx.tcb_level", ATLAS_GROUP_TCB, evaluate},
    {"tdx.tcb_accepted", ATLAS_GROUP_TCB, check_accepted},
    {"tdx.collateral_fresh", ATLAS_GROUP_TCB, check_fresh},
    {"tdx.evaluation_number", ATLAS_GROUP_TCB, check_evaluation_number},
    {"tdx.tcb_date", ATLAS_GROUP_TCB, check_tcb_date},
    {"tdx.advisories", ATLAS_GROUP_TCB, check_advisories},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

int atlas_attest_tdx(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                     struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_attest result = {.kind = ATLAS_ATTEST_TDX, .at = request->at};
    struct atlas_tdx_run r = {
        .request = request, .result = &result, .collateral = request->collateral, .policy = request->policy};
    ATLAS_TRY(atlas_tdx_quote_read(request->evidence, &r.quote, error));
    ATLAS_TRY(atlas_anchors_choose(request, &intel_root, 1, &r.anchors, error));
    ATLAS_TRY(atlas_steps_run(signature_steps, COUNT(signature_steps), &r, &result, error));
    if (atlas_group_holds(&result, ATLAS_GROUP_SIGNATURE)) {
        ATLAS_TRY(atlas_steps_run(tcb_steps, COUNT(tcb_steps), &r, &result, error));
        ATLAS_TRY(atlas_td_appraise(&r, error));
    }
    atlas_attest_conclude(&result);
    *ret_result = result;
out:
    atlas_buf_release(&r.pck_chain);
    return rc;
}
