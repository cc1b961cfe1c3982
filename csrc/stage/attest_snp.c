/* attest_snp.c - AMD SEV-SNP: report, VCEK or VLEK, the chain to AMD's root of the product. */
#include "base/le.h"
#include "format/snp_report.h"
#include "stage/attest_parts.h"

/* SHA-256 of the DER of AMD's root keys, one per product line. */
static const struct atlas_pin amd_roots[] = {
    {"ARK-Milan",
     {0x69, 0xd0, 0x63, 0xb4, 0x53, 0x44, 0xd2, 0x6a, 0x2e, 0x94, 0xe1, 0xf4, 0x21, 0x0d, 0xe4, 0x9e,
      0xf5, 0x55, 0x30, 0x82, 0x87, 0xd4, 0xc1, 0x74, 0x44, 0x5c, 0x95, 0x63, 0x9a, 0x54, 0x0b, 0xcd}},
    {"ARK-Genoa",
     {0x4c, 0x65, 0x98, 0xd1, 0x9c, 0x18, 0x71, 0x9c, 0x5d, 0xfd, 0x4a, 0x7d, 0x33, 0x5f, 0x67, 0x4e,
      0x5b, 0xfe, 0x1d, 0x8f, 0x80, 0x0c, 0xea, 0x2c, 0xf2, 0x70, 0xc1, 0x0d, 0x10, 0x3d, 0xb2, 0xf1}},
    {"ARK-Turin",
     {0x1f, 0x08, 0x41, 0x61, 0xa4, 0x4b, 0xb6, 0xd9, 0x37, 0x78, 0xa9, 0x04, 0x87, 0x7d, 0x48, 0x19,
      0xca, 0xfa, 0x5d, 0x05, 0xef, 0x41, 0x93, 0xb2, 0xde, 0xd9, 0xdd, 0x9c, 0x73, 0xdd, 0x3f, 0x6a}},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct run {
    const struct atlas_attest_request *request;
    struct atlas_attest *result;
    struct atlas_collateral *collateral;
    const struct atlas_snp_policy *policy;
    struct atlas_anchors anchors;
    struct atlas_snp_report report;
    struct atlas_buf chain; /* DER, VCEK first */
    struct atlas_span leaf;
    struct atlas_vcek vcek;
    struct atlas_pki_path path;
};

static int mismatch(struct atlas_error *error, const char *text)
{
    return atlas_error_set(error, ATLAS_E_MISMATCH, "SNP report", "%s", text);
}

/* ----------------------------------------------------------------------------------------------- signature group */

static int check_chain(void *context, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct run *r = context;
    ATLAS_TRY(atlas_pool_chain(&r->collateral->certificates, "VCEK", &r->chain, &r->leaf, error));
    ATLAS_TRY(atlas_device_chain_check(r->collateral, atlas_buf_span(&r->chain), &r->anchors, r->request->at, 0, "VCEK",
                                       &r->path, error));
    atlas_anchors_note(&r->anchors, &r->path, r->result);
    r->result->collateral_from = r->path.not_before;
    r->result->collateral_until = r->path.not_after;
out:
    return rc;
}

/* The certificate is of the kind that signed, and of the product whose root it chains to. */
static int check_profile(void *context, struct atlas_error *error)
{
    struct run *r = context;
    int rc = atlas_vcek_read(r->leaf, &r->vcek, error);
    if (rc < 0) {
        return rc;
    }
    if ((r->vcek.csp_id.p != NULL) != (r->report.signing_key == ATLAS_SNP_VLEK)) {
        return mismatch(error, "the report names another kind of key than the certificate is for");
    }
    size_t line = strcspn(r->vcek.product, "-");
    if (r->anchors.vendor && (strlen(r->result->anchor) != 4 + line ||
                              memcmp(r->result->anchor + 4, r->vcek.product, line) != 0)) {
        return mismatch(error, "the certificate is of another product than its root");
    }
    return ATLAS_OK;
}

/* A TCB version by its parts: on Turin the firmware of the management controller comes first. */
static struct atlas_snp_levels levels_of(const struct run *r, struct atlas_span tcb)
{
    const uint8_t *p = tcb.p;
    if (strncmp(r->vcek.product, "Turin", 5) == 0) {
        return (struct atlas_snp_levels){.fmc = p[0], .bl = p[1], .tee = p[2], .snp = p[3], .ucode = p[7]};
    }
    return (struct atlas_snp_levels){.fmc = -1, .bl = p[0], .tee = p[1], .snp = p[6], .ucode = p[7]};
}

/* The key is derived from the TCB: a report of another TCB was not signed by this key's owner. */
static int check_tcb_binding(void *context, struct atlas_error *error)
{
    const struct run *r = context;
    struct atlas_snp_levels levels = levels_of(r, r->report.reported_tcb);
    const struct atlas_vcek *v = &r->vcek;
    if (v->bl != levels.bl || v->tee != levels.tee || v->snp != levels.snp || v->ucode != levels.ucode ||
        v->fmc != levels.fmc) {
        return mismatch(error, "the reported TCB is not the one that the certificate was issued for");
    }
    return ATLAS_OK;
}

static int check_chip(void *context, struct atlas_error *error)
{
    const struct run *r = context;
    struct atlas_span hwid = r->vcek.hwid;
    if (hwid.p == NULL) {
        return ATLAS_STEP_NOT_APPLICABLE; /* a VLEK is of a provider, not of a chip */
    }
    if (r->report.chip_masked) {
        return atlas_step_say(error, ATLAS_STEP_NOT_CHECKED, "the report withholds the chip's identity");
    }
    if (!atlas_span_equal(hwid, atlas_span_sub(r->report.chip_id, 0, hwid.n)) ||
        !atlas_span_all(atlas_span_sub(r->report.chip_id, hwid.n, 64 - hwid.n), 0)) {
        return mismatch(error, "the report is of another chip than the certificate");
    }
    return ATLAS_OK;
}

static int check_signature(void *context, struct atlas_error *error)
{
    struct run *r = context;
    struct atlas_certificate view;
    int rc = atlas_certificate_read(r->leaf, &view, error);
    if (rc >= 0) {
        rc = atlas_signature_verify(ATLAS_COSE_ES384, view.spki, r->report.signed_part,
                                    atlas_span_of(r->report.signature, sizeof r->report.signature), error);
    }
    if (rc == ATLAS_E_SIGNATURE) {
        *error = ATLAS_ERROR_INIT;
        return atlas_error_set(error, rc, "SNP report", "the report is not signed by the key of its certificate");
    }
    return rc;
}

static int check_revocation(void *context, struct atlas_error *error)
{
    const struct run *r = context;
    size_t below = r->path.length - 1;
    if (r->path.uncovered == below) {
        return atlas_step_say(error, ATLAS_STEP_NOT_CHECKED, "no revocation list was given");
    }
    if (r->request->at > r->path.crl_next_update) {
        return atlas_error_set(error, ATLAS_E_EXPIRED, "VCEK",
                               "the revocation list was due to be replaced before this time");
    }
    return ATLAS_OK; /* AMD lists intermediates; no list for single chips exists */
}

/* ------------------------------------------------------------------------------------------------------ TCB group */

static bool at_least(const struct atlas_snp_levels *a, const struct atlas_snp_policy *p)
{
    return a->bl >= p->bl && a->tee >= p->tee && a->snp >= p->snp && a->ucode >= p->ucode &&
           (a->fmc >= p->fmc || (a->fmc < 0 && p->fmc == 0));
}

/* AMD publishes no list of statuses: what is current enough is for the policy to say. */
static int check_minimum(void *context, struct atlas_error *error)
{
    struct run *r = context;
    struct atlas_snp_levels levels = levels_of(r, r->report.reported_tcb);
    if (!r->policy->has_minimum) {
        return atlas_step_say(error, ATLAS_STEP_NOT_CHECKED, "the policy names no minimum TCB");
    }
    bool good = at_least(&levels, r->policy);
    r->result->tcb_status = good ? ATLAS_TCB_MEETS_MINIMUM : ATLAS_TCB_BELOW_MINIMUM;
    return good ? ATLAS_OK
                : atlas_error_set(error, ATLAS_E_TCB, "TCB", "the reported TCB is below the policy's minimum");
}

/* ------------------------------------------------------------------------------------------------------ appraisal */

#define POLICY_MIGRATE_MA (1ull << 18)
#define POLICY_DEBUG (1ull << 19)

static int check_debug(void *context, struct atlas_error *error)
{
    const struct run *r = context;
    return (r->report.policy & POLICY_DEBUG) == 0 ? ATLAS_OK : mismatch(error, "the guest can be debugged");
}

static int check_migration(void *context, struct atlas_error *error)
{
    const struct run *r = context;
    return (r->report.policy & POLICY_MIGRATE_MA) == 0 ? ATLAS_OK : mismatch(error, "the guest can be migrated");
}

static int check_vmpl(void *context, struct atlas_error *error)
{
    const struct run *r = context;
    return r->report.vmpl <= r->policy->max_vmpl
               ? ATLAS_OK
               : mismatch(error, "the report was asked for at a lower privilege level");
}

static int check_guest_policy(void *context, struct atlas_error *error)
{
    const struct run *r = context;
    struct atlas_masked wanted = r->policy->guest_policy;
    if (wanted.mask == 0) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    return (r->report.policy & wanted.mask) == wanted.value
               ? ATLAS_OK
               : mismatch(error, "the guest's policy is not that of the policy");
}

static int check_guest_svn(void *context, struct atlas_error *error)
{
    const struct run *r = context;
    if (r->policy->min_guest_svn == 0) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    return r->report.guest_svn >= r->policy->min_guest_svn ? ATLAS_OK : mismatch(error, "the guest's SVN is too low");
}

static int check_measurement(void *context, struct atlas_error *error)
{
    struct run *r = context;
    r->result->named_measurement = r->policy->measurement != NULL;
    return atlas_policy_list_check(r->policy->measurement, r->report.measurement, "MEASUREMENT", error);
}

#define LISTED(function, list, name)                                                        \
    static int function(void *context, struct atlas_error *error)                           \
    {                                                                                       \
        const struct run *r = context;                                                      \
        return atlas_policy_list_check(r->policy->list, r->report.list, name, error);       \
    }

LISTED(check_host_data, host_data, "HOST_DATA")
LISTED(check_id_key, id_key_digest, "ID_KEY_DIGEST")
LISTED(check_author_key, author_key_digest, "AUTHOR_KEY_DIGEST")
LISTED(check_chip_id, chip_id, "CHIP_ID")

static int check_unchecked(void *context, struct atlas_error *error)
{
    const struct run *r = context;
    if (r->path.uncovered < r->path.length - 1) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    return atlas_rule_apply(r->policy->revocation, error, "revocation was not checked");
}

static int check_report_data(void *context, struct atlas_error *error)
{
    struct run *r = context;
    return atlas_binding_check(r->request, r->report.report_data, r->result, error);
}

static const struct atlas_step signature_steps[] = {
    {"snp.chain", ATLAS_GROUP_SIGNATURE, check_chain},
    {"snp.profile", ATLAS_GROUP_SIGNATURE, check_profile},
    {"snp.tcb_binding", ATLAS_GROUP_SIGNATURE, check_tcb_binding},
    {"snp.chip", ATLAS_GROUP_SIGNATURE, check_chip},
    {"snp.report", ATLAS_GROUP_SIGNATURE, check_signature},
    {"snp.revocation", ATLAS_GROUP_SIGNATURE, check_revocation},
};

static const struct atlas_step judgement_steps[] = {
    {"snp.minimum_tcb", ATLAS_GROUP_TCB, check_minimum},
    {"snp.debug", ATLAS_GROUP_APPRAISAL, check_debug},
    {"snp.migration", ATLAS_GROUP_APPRAISAL, check_migration},
    {"snp.vmpl", ATLAS_GROUP_APPRAISAL, check_vmpl},
    {"snp.guest_policy", ATLAS_GROUP_APPRAISAL, check_guest_policy},
    {"snp.guest_svn", ATLAS_GROUP_APPRAISAL, check_guest_svn},
    {"snp.measurement", ATLAS_GROUP_APPRAISAL, check_measurement},
    {"snp.host_data", ATLAS_GROUP_APPRAISAL, check_host_data},
    {"snp.id_key", ATLAS_GROUP_APPRAISAL, check_id_key},
    {"snp.author_key", ATLAS_GROUP_APPRAISAL, check_author_key},
    {"snp.chip_id", ATLAS_GROUP_APPRAISAL, check_chip_id},
    {"snp.unchecked_revocation", ATLAS_GROUP_APPRAISAL, check_unchecked},
    {"snp.report_data", ATLAS_GROUP_APPRAISAL, check_report_data},
};

int atlas_attest_snp(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                     struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_attest result = {.kind = ATLAS_ATTEST_SNP, .at = request->at};
    struct run r = {.request = request,
                    .result = &result,
                    .collateral = request->collateral,
                    .policy = &request->policy->snp};
    ATLAS_TRY(atlas_logs_refuse(request, true, error));
    ATLAS_TRY(atlas_snp_report_read(request->evidence, &r.report, error));
    ATLAS_TRY(atlas_anchors_choose(request, amd_roots, COUNT(amd_roots), &r.anchors, error));
    ATLAS_TRY(atlas_steps_run(signature_steps, COUNT(signature_steps), &r, &result, error));
    if (atlas_group_holds(&result, ATLAS_GROUP_SIGNATURE)) {
        ATLAS_TRY(atlas_steps_run(judgement_steps, COUNT(judgement_steps), &r, &result, error));
    }
    atlas_attest_conclude(&result);
    *ret_result = result;
out:
    atlas_buf_release(&r.chain);
    return rc;
}
