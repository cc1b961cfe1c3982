/* attest_azure.c - a confidential VM on Azure has no quote of its own: the paravisor's report names the key of the
 * vTPM, and the vTPM quotes. Hardware -> digest of the runtime data -> attestation key -> quote -> binding. */
#include "format/hcl_report.h"
#include "format/snp_report.h"
#include "format/tdx_quote.h"
#include "stage/attest_tpm.h"

static const char where[] = "HCL report";

struct azure_run {
    struct atlas_tpm_run *tpm;
    struct atlas_hcl_report hcl;
    struct atlas_span tee;       /* TDX quote or SNP report */
    uint8_t report_data[64];     /* what the hardware must have signed */
};

static int mismatch(struct atlas_error *error, const char *text)
{
    return atlas_error_set(error, ATLAS_E_MISMATCH, where, "%s", text);
}

static int read_report(struct azure_run *run, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_digest digest;
    const struct atlas_tpm_evidence *e = &run->tpm->evidence;
    if (e->hcl.p == NULL) {
        return atlas_error_set(error, ATLAS_E_EVIDENCE, where, "there is none: evidence of a plain TPM");
    }
    ATLAS_TRY(atlas_hcl_report_read(e->hcl, &run->hcl, error));
    run->tee = run->hcl.type == ATLAS_HCL_SNP ? run->hcl.hardware : e->tee_quote;
    if (run->tee.p == NULL) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_EVIDENCE, where, "the TDX quote is missing"));
    }
    ATLAS_TRY(atlas_crypto_digest((int)run->hcl.hash, run->hcl.runtime, &digest, error));
    memset(run->report_data, 0, sizeof run->report_data);
    memcpy(run->report_data, digest.b, digest.n);
out:
    return rc;
}

static int tee_report_data(const struct azure_run *run, struct atlas_span *ret_data, struct atlas_error *error)
{
    struct atlas_tdx_quote quote;
    struct atlas_snp_report report;
    int rc;
    if (run->hcl.type == ATLAS_HCL_TDX) {
        rc = atlas_tdx_quote_read(run->tee, &quote, error);
        *ret_data = rc >= 0 ? quote.body.report_data : ATLAS_SPAN_NONE;
    } else {
        rc = atlas_snp_report_read(run->tee, &report, error);
        *ret_data = rc >= 0 ? report.report_data : ATLAS_SPAN_NONE;
    }
    return rc;
}

/* The hardware signed the digest of the runtime data. */
static int check_runtime(void *context, struct atlas_error *error)
{
    const struct azure_run *run = context;
    struct atlas_span data;
    int rc = tee_report_data(run, &data, error);
    if (rc >= 0 && !atlas_span_equal_ct(data, atlas_span_of(run->report_data, sizeof run->report_data))) {
        rc = mismatch(error, "the hardware's report data is not the digest of the runtime data");
    }
    return rc;
}

/* The runtime data names the key that quotes. */
static int check_key(void *context, struct atlas_error *error)
{
    const struct azure_run *run = context;
    const struct atlas_tpm_public *ak = &run->tpm->ak;
    struct atlas_buf modulus = ATLAS_BUF_INIT;
    int rc = atlas_hcl_attestation_key(&run->hcl, &modulus, error);
    bool standard = ak->type == ATLAS_TPM_RSA && (ak->exponent == 0 || ak->exponent == 65537);
    if (rc >= 0 && (!standard || !atlas_span_equal(atlas_buf_span(&modulus), ak->modulus))) {
        rc = mismatch(error, "the attestation key is not the one that the hardware vouches for");
    }
    atlas_buf_release(&modulus);
    return rc;
}

static const struct atlas_step steps[] = {
    {"azure.runtime_data", ATLAS_GROUP_SIGNATURE, check_runtime},
    {"azure.attestation_key", ATLAS_GROUP_SIGNATURE, check_key},
};

static int verify_tee(const struct azure_run *run, struct atlas_attest *result, struct atlas_error *error)
{
    struct atlas_attest_request request = *run->tpm->request;
    request.evidence = run->tee;
    request.report_data = atlas_span_of(run->report_data, sizeof run->report_data);
    int rc = run->hcl.type == ATLAS_HCL_TDX ? atlas_attest_tdx(&request, result, error)
                                            : atlas_attest_snp(&request, result, error);
    result->kind = ATLAS_ATTEST_AZURE;
    result->binding = ATLAS_BINDING_ABSENT; /* that of the quote is the vTPM's key; ours is the vTPM's to say */
    result->named_measurement = false;      /* the guest's software shows in the PCRs alone */
    return rc;
}

int atlas_attest_azure(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                       struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_attest result = {.kind = ATLAS_ATTEST_AZURE, .at = request->at};
    struct atlas_tpm_run tpm;
    struct azure_run run = {.tpm = &tpm};
    ATLAS_TRY(atlas_tpm_run_init(&tpm, request, &result, error));
    ATLAS_TRY(read_report(&run, error));
    ATLAS_TRY(verify_tee(&run, &result, error));
    tpm.tee = true;
    if (result.signature) {
        ATLAS_TRY(atlas_steps_run(steps, sizeof steps / sizeof steps[0], &run, &result, error));
    }
    if (atlas_group_holds(&result, ATLAS_GROUP_SIGNATURE)) {
        ATLAS_TRY(atlas_tpm_run_checks(&tpm, error));
    }
    atlas_attest_conclude(&result);
    *ret_result = result;
out:
    atlas_tpm_run_release(&tpm);
    return rc;
}
