/* attest_td.c - Intel TDX: is this the trust domain that the policy describes? */
#include "base/le.h"
#include "stage/attest_tdx.h"

static int mismatch(struct atlas_error *error, const char *text)
{
    return atlas_error_set(error, ATLAS_E_MISMATCH, "TD", "%s", text);
}

#define ATTRIBUTE_TUD 0xffull              /* TD under debug; bit 0 is DEBUG, the others of the byte are reserved */
#define ATTRIBUTE_SEPT_VE_DISABLE (1ull << 28)
#define ATTRIBUTE_MIGRATABLE (1ull << 29)

static uint64_t attributes(const struct atlas_tdx_run *r)
{
    return atlas_le64(r->quote.body.td_attributes.p);
}

/* A TD that can be debugged has no secrets from its host. No policy accepts one. */
static int check_debug(void *context, struct atlas_error *error)
{
    const struct atlas_tdx_run *r = context;
    return (attributes(r) & ATTRIBUTE_TUD) == 0 ? ATLAS_OK : mismatch(error, "the trust domain can be debugged");
}

static int check_masked(uint64_t actual, struct atlas_masked wanted, struct atlas_error *error, const char *text)
{
    if (wanted.mask == 0) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    return (actual & wanted.mask) == wanted.value ? ATLAS_OK : mismatch(error, text);
}

static int check_attributes(void *context, struct atlas_error *error)
{
    const struct atlas_tdx_run *r = context;
    return check_masked(attributes(r), r->policy->tdx.attributes, error, "the attributes are not those of the policy");
}

static int check_xfam(void *context, struct atlas_error *error)
{
    const struct atlas_tdx_run *r = context;
    return check_masked(atlas_le64(r->quote.body.xfam.p), r->policy->tdx.xfam, error, "XFAM is not that of the policy");
}

static int check_sept_ve(void *context, struct atlas_error *error)
{
    const struct atlas_tdx_run *r = context;
    if ((attributes(r) & ATTRIBUTE_SEPT_VE_DISABLE) != 0) {
        return ATLAS_OK;
    }
    return atlas_rule_apply(r->policy->tdx.sept_ve_disable, error,
                            "SEPT_VE_DISABLE is clear: the host can make the trust domain fault on its own memory");
}

static int check_migratable(void *context, struct atlas_error *error)
{
    const struct atlas_tdx_run *r = context;
    if ((attributes(r) & ATTRIBUTE_MIGRATABLE) == 0) {
        return ATLAS_OK;
    }
    return atlas_rule_apply(r->policy->tdx.migratable, error, "the trust domain can be migrated");
}

/* A service TD may read and move this one: none, or one that the policy names. */
static int check_service_td(void *context, struct atlas_error *error)
{
    const struct atlas_tdx_run *r = context;
    struct atlas_span service = r->quote.body.mrservicetd;
    const struct atlas_json *allowed = r->policy->tdx.registers[ATLAS_REG_MRSERVICETD];
    if (service.p == NULL) {
        return allowed != NULL ? mismatch(error, "the quote does not say which service TD it has")
                               : ATLAS_STEP_NOT_APPLICABLE;
    }
    if (allowed == NULL) {
        return atlas_span_all(service, 0) ? ATLAS_OK : mismatch(error, "the trust domain has a service TD");
    }
    return atlas_policy_list_check(allowed, service, "MRSERVICETD", error);
}

static int check_flag(int8_t flag, enum atlas_rule rule, struct atlas_error *error, const char *text)
{
    if (rule == ATLAS_RULE_ALLOW || flag == 0) {
        return rule == ATLAS_RULE_ALLOW ? ATLAS_STEP_NOT_APPLICABLE : ATLAS_OK;
    }
    return atlas_rule_apply(rule, error, text); /* also where the certificate does not say */
}

static int check_dynamic_platform(void *context, struct atlas_error *error)
{
    const struct atlas_tdx_run *r = context;
    return check_flag(r->pck.dynamic_platform, r->policy->tdx.dynamic_platform, error,
                      "the platform can be extended with further packages, or does not say");
}

static int check_cached_keys(void *context, struct atlas_error *error)
{
    const struct atlas_tdx_run *r = context;
    return check_flag(r->pck.cached_keys, r->policy->tdx.cached_keys, error,
                      "platform root keys are cached by Intel's registration service, or it is not said");
}

static int check_smt(void *context, struct atlas_error *error)
{
    const struct atlas_tdx_run *r = context;
    return check_flag(r->pck.smt, r->policy->tdx.smt, error, "simultaneous multithreading is on, or it is not said");
}

static int check_register(struct atlas_tdx_run *r, enum atlas_tdx_register which, struct atlas_span value,
                          const char *name, struct atlas_error *error)
{
    return atlas_policy_list_check(r->policy->tdx.registers[which], value, name, error);
}

/* MRTD is what all other registers rest on: without it anything could have extended them. */
static int check_mrtd(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    r->result->named_measurement = r->policy->tdx.registers[ATLAS_REG_MRTD] != NULL;
    return check_register(r, ATLAS_REG_MRTD, r->quote.body.mrtd, "MRTD", error);
}

#define REGISTER(function, which, member, name)                         \
    static int function(void *context, struct atlas_error *error)       \
    {                                                                   \
        struct atlas_tdx_run *r = context;                                        \
        return check_register(r, which, r->quote.body.member, name, error); \
    }

REGISTER(check_rtmr0, ATLAS_REG_RTMR0, rtmr[0], "RTMR0")
REGISTER(check_rtmr1, ATLAS_REG_RTMR1, rtmr[1], "RTMR1")
REGISTER(check_rtmr2, ATLAS_REG_RTMR2, rtmr[2], "RTMR2")
REGISTER(check_rtmr3, ATLAS_REG_RTMR3, rtmr[3], "RTMR3")
REGISTER(check_mrseam, ATLAS_REG_MRSEAM, mrseam, "MRSEAM")
REGISTER(check_mrconfigid, ATLAS_REG_MRCONFIGID, mrconfigid, "MRCONFIGID")
REGISTER(check_mrowner, ATLAS_REG_MROWNER, mrowner, "MROWNER")
REGISTER(check_mrownerconfig, ATLAS_REG_MROWNERCONFIG, mrownerconfig, "MROWNERCONFIG")

static int check_report_data(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    return atlas_binding_check(r->request, r->quote.body.report_data, r->result, error);
}

/* The log of the firmware explains the registers: all four, or three where a run-time log continues in the fourth. */
static int check_event_log(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    size_t n = r->request->runtime_log.p != NULL ? 3 : 4;
    if (r->request->event_log.p == NULL) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    int rc = atlas_ccel_replay(r->request->event_log, &r->boot, error);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        if (!atlas_span_equal(atlas_span_of(r->boot.rtmr[i], 48), r->quote.body.rtmr[i])) {
            return atlas_error_set(error, ATLAS_E_MISMATCH, "event log", "the log does not replay to RTMR%zu", i);
        }
    }
    return ATLAS_OK;
}

/* Each line, in this order, and nothing else: a register of another boot began anew and cannot be made to fit. */
static int check_runtime_log(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    if (r->request->runtime_log.p == NULL) {
        return r->policy->tdx.require_log ? mismatch(error, "there is no run-time log, and the policy wants one")
                                          : ATLAS_STEP_NOT_APPLICABLE;
    }
    int rc = atlas_runtime_log_replay(r->request->runtime_log, &r->runtime, error);
    if (rc < 0) {
        return rc;
    }
    r->runtime_known = true;
    return atlas_span_equal(atlas_span_of(r->runtime.value, 48), r->quote.body.rtmr[3])
               ? ATLAS_OK
               : mismatch(error, "the run-time log does not lead to RTMR3: a line changed, missing, added or moved");
}

/* Whoever drops the first lines names the value after them as the start. Two starts can be known: that of a boot, and
 * that of what the firmware's log explains. */
static int check_runtime_start(void *context, struct atlas_error *error)
{
    struct atlas_tdx_run *r = context;
    struct atlas_span start = atlas_span_of(r->runtime.start, 48);
    if (!r->runtime_known) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    bool known = r->request->event_log.p != NULL ? atlas_span_equal(start, atlas_span_of(r->boot.rtmr[3], 48))
                                                 : atlas_span_all(start, 0);
    return known ? ATLAS_OK
                 : atlas_rule_apply(r->policy->tdx.log_start, error,
                                    "RTMR3 was extended before the run-time log begins, by what no log tells");
}

static const struct atlas_step steps[] = {
    {"tdx.debug", ATLAS_GROUP_APPRAISAL, check_debug},
    {"tdx.attributes", ATLAS_GROUP_APPRAISAL, check_attributes},
    {"tdx.xfam", ATLAS_GROUP_APPRAISAL, check_xfam},
    {"tdx.sept_ve", ATLAS_GROUP_APPRAISAL, check_sept_ve},
    {"tdx.migratable", ATLAS_GROUP_APPRAISAL, check_migratable},
    {"tdx.service_td", ATLAS_GROUP_APPRAISAL, check_service_td},
    {"tdx.dynamic_platform", ATLAS_GROUP_APPRAISAL, check_dynamic_platform},
    {"tdx.cached_keys", ATLAS_GROUP_APPRAISAL, check_cached_keys},
    {"tdx.smt", ATLAS_GROUP_APPRAISAL, check_smt},
    {"tdx.mrtd", ATLAS_GROUP_APPRAISAL, check_mrtd},
    {"tdx.rtmr0", ATLAS_GROUP_APPRAISAL, check_rtmr0},
    {"tdx.rtmr1", ATLAS_GROUP_APPRAISAL, check_rtmr1},
    {"tdx.rtmr2", ATLAS_GROUP_APPRAISAL, check_rtmr2},
    {"tdx.rtmr3", ATLAS_GROUP_APPRAISAL, check_rtmr3},
    {"tdx.mrseam", ATLAS_GROUP_APPRAISAL, check_mrseam},
    {"tdx.mrconfigid", ATLAS_GROUP_APPRAISAL, check_mrconfigid},
    {"tdx.mrowner", ATLAS_GROUP_APPRAISAL, check_mrowner},
    {"tdx.mrownerconfig", ATLAS_GROUP_APPRAISAL, check_mrownerconfig},
    {"tdx.report_data", ATLAS_GROUP_APPRAISAL, check_report_data},
    {"tdx.event_log", ATLAS_GROUP_APPRAISAL, check_event_log},
    {"tdx.runtime_log", ATLAS_GROUP_APPRAISAL, check_runtime_log},
    {"tdx.runtime_start", ATLAS_GROUP_APPRAISAL, check_runtime_start},
};

int atlas_td_appraise(struct atlas_tdx_run *run, struct atlas_error *error)
{
    return atlas_steps_run(steps, sizeof steps / sizeof steps[0], run, run->result, error);
}
