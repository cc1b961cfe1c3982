/* attest_tcb.c - the TCB evaluation of Intel's quote verification library, sections 4.1.2.5.2 and 4.1.2.5.1.20. */
#include "stage/attest_parts.h"

static const char where[] = "TCB";

#define MINOR 0 /* TEE TCB SVN 0: the SVN of the TDX module */
#define MAJOR 1 /* TEE TCB SVN 1: the version of the TDX module; 0 for the first generation */

const struct atlas_tdx_module *atlas_tcb_module(const struct atlas_tcb_info *info, const uint8_t tee_tcb_svn[16])
{
    for (size_t i = 0; i < info->n_modules; i++) {
        if (info->modules[i].version == tee_tcb_svn[MAJOR]) {
            return &info->modules[i];
        }
    }
    return NULL;
}

static bool all_at_least(const uint8_t *actual, const uint8_t *level, size_t from)
{
    for (size_t i = from; i < 16; i++) {
        if (actual[i] < level[i]) {
            return false;
        }
    }
    return true;
}

/* Where the module has a version, its two SVNs are judged by its identity and not by the platform's level. */
static const struct atlas_tcb_level *find_level(const struct atlas_tcb_info *info, const struct atlas_pck *pck,
                                                const uint8_t tee_tcb_svn[16])
{
    size_t from = tee_tcb_svn[MAJOR] > 0 ? 2 : 0;
    for (size_t i = 0; i < info->n_levels; i++) {
        const struct atlas_tcb_level *level = &info->levels[i];
        if (all_at_least(pck->svn, level->sgx, 0) && pck->pcesvn >= level->pcesvn &&
            all_at_least(tee_tcb_svn, level->tdx, from)) {
            return level;
        }
    }
    return NULL;
}

static const struct atlas_svn_level *find_svn_level(const struct atlas_svn_level *levels, size_t n, uint16_t svn)
{
    for (size_t i = 0; i < n; i++) {
        if (svn >= levels[i].isvsvn) {
            return &levels[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- one evaluation */

static int add_advisory(struct atlas_tcb_evaluation *e, struct atlas_span name, struct atlas_error *error)
{
    if (name.n == 0 || name.n > ATLAS_MAX_ADVISORY_NAME) {
        return atlas_error_set(error, ATLAS_E_JSON, where, "an advisory whose name has %zu bytes", name.n);
    }
    for (size_t i = 0; i < e->n_advisories; i++) {
        if (atlas_span_equal(name, atlas_span_str(e->advisories[i]))) {
            return ATLAS_OK;
        }
    }
    if (e->n_advisories == ATLAS_MAX_ADVISORIES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "more than %d advisories", ATLAS_MAX_ADVISORIES);
    }
    memcpy(e->advisories[e->n_advisories], name.p, name.n);
    e->advisories[e->n_advisories++][name.n] = '\0';
    return ATLAS_OK;
}

/* A level has its say: status, date, advisories. */
static int hear(struct atlas_tcb_evaluation *e, enum atlas_tcb_status status, uint32_t allowed, int64_t date,
                const struct atlas_json *advisories, uint8_t *ret_status, struct atlas_error *error)
{
    if (status == ATLAS_TCB_NONE || (allowed >> status & 1) == 0) {
        return atlas_error_set(error, ATLAS_E_JSON, where, "a TCB level with a status that is not known");
    }
    *ret_status = (uint8_t)status;
    e->date = e->date == 0 || date < e->date ? date : e->date;
    for (size_t i = 0; i < atlas_json_count(advisories); i++) {
        struct atlas_span name;
        int rc = atlas_json_text(atlas_json_at(advisories, i), &name)
                     ? add_advisory(e, name, error)
                     : atlas_error_set(error, ATLAS_E_JSON, where, "an advisory that is no text");
        if (rc < 0) {
            return rc;
        }
    }
    return ATLAS_OK;
}

/* Platform status and those of module and quoting enclave together. */
static enum atlas_tcb_status converge(const struct atlas_tcb_evaluation *e)
{
    enum atlas_tcb_status platform = (enum atlas_tcb_status)e->platform;
    if (e->module == ATLAS_TCB_REVOKED || e->qe == ATLAS_TCB_REVOKED) {
        return ATLAS_TCB_REVOKED;
    }
    if (e->module != ATLAS_TCB_OUT_OF_DATE && e->qe != ATLAS_TCB_OUT_OF_DATE) {
        return platform;
    }
    switch (platform) {
    case ATLAS_TCB_UP_TO_DATE:
    case ATLAS_TCB_SW_HARDENING_NEEDED:
        return ATLAS_TCB_OUT_OF_DATE;
    case ATLAS_TCB_CONFIGURATION_NEEDED:
    case ATLAS_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED:
        return ATLAS_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED;
    default:
        return platform;
    }
}

#define BIT(status) (1u << (status))
#define MODULE_STATUSES (BIT(ATLAS_TCB_UP_TO_DATE) | BIT(ATLAS_TCB_OUT_OF_DATE) | BIT(ATLAS_TCB_REVOKED))
#define QE_STATUSES \
    (MODULE_STATUSES | BIT(ATLAS_TCB_CONFIGURATION_NEEDED) | BIT(ATLAS_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED))
#define PLATFORM_STATUSES \
    (QE_STATUSES | BIT(ATLAS_TCB_SW_HARDENING_NEEDED) | BIT(ATLAS_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED))

int atlas_tcb_evaluate(const struct atlas_tcb_info *info, const struct atlas_qe_identity *identity,
                       const struct atlas_platform *platform, const uint8_t tee_tcb_svn[16],
                       struct atlas_tcb_evaluation *ret_evaluation, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_tcb_evaluation e = {.status = ATLAS_TCB_NOT_SUPPORTED};
    const struct atlas_tdx_module *module = atlas_tcb_module(info, tee_tcb_svn);
    const struct atlas_tcb_level *level = find_level(info, platform->pck, tee_tcb_svn);
    const struct atlas_svn_level *qe = find_svn_level(identity->levels, identity->n_levels, platform->qe_svn);
    const struct atlas_svn_level *own = NULL;
    if (tee_tcb_svn[MAJOR] > 0) {
        own = module != NULL ? find_svn_level(module->levels, module->n_levels, tee_tcb_svn[MINOR]) : NULL;
    }
    if (level == NULL || qe == NULL || (tee_tcb_svn[MAJOR] > 0 && own == NULL)) {
        *ret_evaluation = e; /* older than anything Intel speaks of */
        return ATLAS_OK;
    }
    ATLAS_TRY(hear(&e, level->status, PLATFORM_STATUSES, level->date, level->advisories, &e.platform, error));
    ATLAS_TRY(hear(&e, qe->status, QE_STATUSES, qe->date, qe->advisories, &e.qe, error));
    if (own != NULL) {
        ATLAS_TRY(hear(&e, own->status, MODULE_STATUSES, own->date, own->advisories, &e.module, error));
    }
    e.status = (uint8_t)converge(&e);
    *ret_evaluation = e;
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------- launch and current */

static bool configuration_needed(enum atlas_tcb_status status)
{
    return status == ATLAS_TCB_CONFIGURATION_NEEDED || status == ATLAS_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED ||
           status == ATLAS_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED;
}

/* A TD that was launched on what is out of date, on a platform that has been updated since: relaunching it is enough.
 */
enum atlas_tcb_status atlas_tcb_relaunch(enum atlas_tcb_status launch, enum atlas_tcb_status current)
{
    bool launched_old = launch == ATLAS_TCB_OUT_OF_DATE || launch == ATLAS_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED;
    bool current_good = current == ATLAS_TCB_UP_TO_DATE || current == ATLAS_TCB_SW_HARDENING_NEEDED ||
                        current == ATLAS_TCB_CONFIGURATION_NEEDED ||
                        current == ATLAS_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED;
    if (current == ATLAS_TCB_NOT_SUPPORTED || current == ATLAS_TCB_NONE) {
        return ATLAS_TCB_NOT_SUPPORTED;
    }
    if (current == ATLAS_TCB_REVOKED) {
        return ATLAS_TCB_REVOKED; /* Intel's library would look at the launch alone */
    }
    if (!launched_old || !current_good) {
        return launch;
    }
    return configuration_needed(launch) || configuration_needed(current)
               ? ATLAS_TCB_TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
               : ATLAS_TCB_TD_RELAUNCH_ADVISED;
}
