#include "format/tcb_info.h"

#include "base/buf.h"

static const char *const names[ATLAS_TCB_STATUSES] = {
    [ATLAS_TCB_NONE] = "NotEvaluated",
    [ATLAS_TCB_UP_TO_DATE] = "UpToDate",
    [ATLAS_TCB_SW_HARDENING_NEEDED] = "SWHardeningNeeded",
    [ATLAS_TCB_CONFIGURATION_NEEDED] = "ConfigurationNeeded",
    [ATLAS_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED] = "ConfigurationAndSWHardeningNeeded",
    [ATLAS_TCB_OUT_OF_DATE] = "OutOfDate",
    [ATLAS_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED] = "OutOfDateConfigurationNeeded",
    [ATLAS_TCB_REVOKED] = "Revoked",
    [ATLAS_TCB_TD_RELAUNCH_ADVISED] = "TDRelaunchAdvised",
    [ATLAS_TCB_TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED] = "TDRelaunchAdvisedConfigurationNeeded",
    [ATLAS_TCB_NOT_SUPPORTED] = "NotSupported",
    [ATLAS_TCB_MEETS_MINIMUM] = "MeetsMinimum",
    [ATLAS_TCB_BELOW_MINIMUM] = "BelowMinimum",
    [ATLAS_TCB_REFERENCE_DIFFERS] = "ReferenceDiffers",
    [ATLAS_TCB_NOT_APPLICABLE] = "NotApplicable",
};

const char *atlas_tcb_status_name(enum atlas_tcb_status status)
{
    return (size_t)status < ATLAS_TCB_STATUSES ? names[status] : names[ATLAS_TCB_NONE];
}

enum atlas_tcb_status atlas_tcb_status_of(struct atlas_span name)
{
    for (size_t i = ATLAS_TCB_NONE + 1; i < ATLAS_TCB_STATUSES; i++) {
        if (atlas_span_equal(name, atlas_span_str(names[i]))) {
            return (enum atlas_tcb_status)i;
        }
    }
    return ATLAS_TCB_NONE;
}

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Only Intel's own words are Intel's: ours never come out of a document. */
static enum atlas_tcb_status intel_status(struct atlas_span name)
{
    enum atlas_tcb_status status = atlas_tcb_status_of(name);
    return status < ATLAS_TCB_TD_RELAUNCH_ADVISED ? status : ATLAS_TCB_NONE;
}

/* --------------------------------------------------------------------------------------------- levels */

struct level_view {
    const struct atlas_json *tcb;
    int64_t date;
    struct atlas_span status;
    const struct atlas_json *advisories;
};

static const struct atlas_json_field level_fields[] = {
    ATLAS_JSON_REQUIRED(level_view, "tcb", OBJECT, tcb),
    ATLAS_JSON_REQUIRED(level_view, "tcbDate", DATE, date),
    ATLAS_JSON_REQUIRED(level_view, "tcbStatus", TEXT, status),
    ATLAS_JSON_OPTIONAL(level_view, "advisoryIDs", ARRAY, advisories),
};

struct svn_view {
    struct atlas_json_uint svn;
};

static const struct atlas_json_field isvsvn_fields[] = {ATLAS_JSON_REQUIRED(svn_view, "isvsvn", UINT, svn)};
static const struct atlas_json_field component_fields[] = {ATLAS_JSON_REQUIRED(svn_view, "svn", UINT, svn)};

static int read_svn_level(const struct atlas_json *value, const char *where, struct atlas_svn_level *ret_level,
                          struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct level_view view = {0};
    struct svn_view tcb = {0};
    ATLAS_TRY(atlas_json_read(value, level_fields, COUNT(level_fields), false, where, &view, error));
    ATLAS_TRY(atlas_json_read(view.tcb, isvsvn_fields, COUNT(isvsvn_fields), false, where, &tcb, error));
    if (tcb.svn.v > UINT16_MAX) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_JSON, where, "isvsvn is beyond 65535"));
    }
    *ret_level = (struct atlas_svn_level){(uint16_t)tcb.svn.v, view.date, intel_status(view.status), view.advisories};
out:
    return rc;
}

/* Sorted by SVN, highest first. */
static int read_svn_levels(const struct atlas_json *list, const char *where, struct atlas_svn_level *levels,
                           size_t *ret_n, struct atlas_error *error)
{
    size_t n = atlas_json_count(list);
    if (n > ATLAS_MAX_SVN_LEVELS) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "more than %d TCB levels", ATLAS_MAX_SVN_LEVELS);
    }
    for (size_t i = 0; i < n; i++) {
        struct atlas_svn_level level;
        int rc = read_svn_level(atlas_json_at(list, i), where, &level, error);
        if (rc < 0) {
            return rc;
        }
        size_t k = i;
        for (; k > 0 && levels[k - 1].isvsvn < level.isvsvn; k--) {
            levels[k] = levels[k - 1];
        }
        levels[k] = level;
    }
    *ret_n = n;
    return ATLAS_OK;
}

static int read_components(const struct atlas_json *list, uint8_t *ret_svn, struct atlas_error *error)
{
    if (atlas_json_count(list) != 16) {
        return atlas_error_set(error, ATLAS_E_JSON, "tcbInfo.tcbLevels", "%zu TCB components where there are 16",
                               atlas_json_count(list));
    }
    for (size_t i = 0; i < 16; i++) {
        struct svn_view view = {0};
        int rc = atlas_json_read(atlas_json_at(list, i), component_fields, COUNT(component_fields), false,
                                 "tcbInfo.tcbLevels", &view, error);
        if (rc >= 0 && view.svn.v > UINT8_MAX) {
            rc = atlas_error_set(error, ATLAS_E_JSON, "tcbInfo.tcbLevels", "a component SVN beyond 255");
        }
        if (rc < 0) {
            return rc;
        }
        ret_svn[i] = (uint8_t)view.svn.v;
    }
    return ATLAS_OK;
}

struct tcb_view {
    const struct atlas_json *sgx;
    struct atlas_json_uint pcesvn;
    const struct atlas_json *tdx;
};

static const struct atlas_json_field tcb_fields[] = {
    ATLAS_JSON_REQUIRED(tcb_view, "sgxtcbcomponents", ARRAY, sgx),
    ATLAS_JSON_REQUIRED(tcb_view, "pcesvn", UINT, pcesvn),
    ATLAS_JSON_REQUIRED(tcb_view, "tdxtcbcomponents", ARRAY, tdx),
};

static int read_level(const struct atlas_json *value, struct atlas_tcb_level *ret_level, struct atlas_error *error)
{
    static const char where[] = "tcbInfo.tcbLevels";
    int rc = ATLAS_OK;
    struct level_view view = {0};
    struct tcb_view tcb = {0};
    struct atlas_tcb_level level = {{0}, 0, {0}, 0, ATLAS_TCB_NONE, NULL};
    ATLAS_TRY(atlas_json_read(value, level_fields, COUNT(level_fields), false, where, &view, error));
    ATLAS_TRY(atlas_json_read(view.tcb, tcb_fields, COUNT(tcb_fields), false, where, &tcb, error));
    ATLAS_TRY(read_components(tcb.sgx, level.sgx, error));
    ATLAS_TRY(read_components(tcb.tdx, level.tdx, error));
    if (tcb.pcesvn.v > UINT16_MAX) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_JSON, where, "pcesvn is beyond 65535"));
    }
    level.pcesvn = (uint16_t)tcb.pcesvn.v;
    level.date = view.date;
    level.status = intel_status(view.status);
    level.advisories = view.advisories;
    *ret_level = level;
out:
    return rc;
}

/* The order of Intel's library: SGX components, then PCESVN, then TDX components, each lexicographically. */
static bool better(const struct atlas_tcb_level *a, const struct atlas_tcb_level *b)
{
    int order = memcmp(a->sgx, b->sgx, sizeof a->sgx);
    if (order == 0) {
        order = (a->pcesvn > b->pcesvn) - (a->pcesvn < b->pcesvn);
    }
    if (order == 0) {
        order = memcmp(a->tdx, b->tdx, sizeof a->tdx);
    }
    return order > 0;
}

static int read_levels(const struct atlas_json *list, struct atlas_tcb_info *info, struct atlas_error *error)
{
    size_t n = atlas_json_count(list);
    if (n > ATLAS_MAX_TCB_LEVELS) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "tcbInfo.tcbLevels", "more than %d levels", ATLAS_MAX_TCB_LEVELS);
    }
    for (size_t i = 0; i < n; i++) {
        struct atlas_tcb_level level;
        int rc = read_level(atlas_json_at(list, i), &level, error);
        if (rc < 0) {
            return rc;
        }
        size_t k = i;
        for (; k > 0 && better(&level, &info->levels[k - 1]); k--) {
            info->levels[k] = info->levels[k - 1];
        }
        info->levels[k] = level;
    }
    info->n_levels = n;
    return ATLAS_OK;
}

/* -------------------------------------------------------------------------------------------- modules */

struct module_view {
    struct atlas_span id;
    struct atlas_json_hex mrsigner;
    struct atlas_json_hex attributes;
    struct atlas_json_hex mask;
    const struct atlas_json *levels;
};

static const struct atlas_json_field module_fields[] = {
    ATLAS_JSON_HEX(module_view, "mrsigner", 48, mrsigner),
    ATLAS_JSON_HEX(module_view, "attributes", 8, attributes),
    ATLAS_JSON_HEX(module_view, "attributesMask", 8, mask),
};

static const struct atlas_json_field identity_fields[] = {
    ATLAS_JSON_REQUIRED(module_view, "id", TEXT, id),
    ATLAS_JSON_HEX(module_view, "mrsigner", 48, mrsigner),
    ATLAS_JSON_HEX(module_view, "attributes", 8, attributes),
    ATLAS_JSON_HEX(module_view, "attributesMask", 8, mask),
    ATLAS_JSON_REQUIRED(module_view, "tcbLevels", ARRAY, levels),
};

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* "TDX_" and two hexadecimal digits, in either case. Version 0 is what "tdxModule" speaks of and has no identity. */
static bool module_version(struct atlas_span id, uint8_t *ret_version)
{
    static const char prefix[] = "tdx_";
    if (id.n != 6) {
        return false;
    }
    for (size_t i = 0; i < 4; i++) {
        if ((id.p[i] | (prefix[i] == '_' ? 0 : 0x20)) != prefix[i]) {
            return false;
        }
    }
    int high = digit(id.p[4]);
    int low = digit(id.p[5]);
    if (high < 0 || low < 0 || (high | low) == 0) {
        return false;
    }
    *ret_version = (uint8_t)(high << 4 | low);
    return true;
}

static void keep_module(const struct module_view *view, struct atlas_tdx_module *module)
{
    memcpy(module->mrsigner, view->mrsigner.b, sizeof module->mrsigner);
    memcpy(module->attributes, view->attributes.b, sizeof module->attributes);
}

static int read_module(const struct atlas_json *value, struct atlas_tcb_info *info, struct atlas_error *error)
{
    static const char where[] = "tcbInfo.tdxModuleIdentities";
    struct module_view view = {0};
    struct atlas_tdx_module *module = &info->modules[info->n_modules];
    int rc = atlas_json_read(value, identity_fields, COUNT(identity_fields), false, where, &view, error);
    if (rc < 0) {
        return rc;
    }
    if (!module_version(view.id, &module->version)) {
        return atlas_error_set(error, ATLAS_E_JSON, where, "not the id of a TDX module");
    }
    for (size_t i = 1; i < info->n_modules; i++) {
        if (info->modules[i].version == module->version) {
            return atlas_error_set(error, ATLAS_E_JSON, where, "a TDX module twice");
        }
    }
    keep_module(&view, module);
    info->n_modules++;
    return read_svn_levels(view.levels, where, module->levels, &module->n_levels, error);
}

static int read_modules(const struct atlas_json *first, const struct atlas_json *list, struct atlas_tcb_info *info,
                        struct atlas_error *error)
{
    struct module_view view = {0};
    int rc = atlas_json_read(first, module_fields, COUNT(module_fields), false, "tcbInfo.tdxModule", &view, error);
    if (rc < 0) {
        return rc;
    }
    keep_module(&view, &info->modules[0]);
    info->n_modules = 1;
    if (atlas_json_count(list) > ATLAS_MAX_TDX_MODULES - 1) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "tcbInfo.tdxModuleIdentities", "more than %d TDX modules",
                               ATLAS_MAX_TDX_MODULES - 1);
    }
    for (size_t i = 0; i < atlas_json_count(list); i++) {
        rc = read_module(atlas_json_at(list, i), info, error);
        if (rc < 0) {
            return rc;
        }
    }
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------- TCB info */

struct info_view {
    struct atlas_span id;
    struct atlas_json_uint version;
    int64_t issued;
    int64_t next_update;
    struct atlas_json_hex fmspc;
    struct atlas_json_hex pceid;
    struct atlas_json_uint type;
    struct atlas_json_uint evaluation_number;
    const struct atlas_json *module;
    const struct atlas_json *identities;
    const struct atlas_json *levels;
};

static const struct atlas_json_field info_fields[] = {
    ATLAS_JSON_REQUIRED(info_view, "id", TEXT, id),
    ATLAS_JSON_REQUIRED(info_view, "version", UINT, version),
    ATLAS_JSON_REQUIRED(info_view, "issueDate", DATE, issued),
    ATLAS_JSON_REQUIRED(info_view, "nextUpdate", DATE, next_update),
    ATLAS_JSON_HEX(info_view, "fmspc", 6, fmspc),
    ATLAS_JSON_HEX(info_view, "pceId", 2, pceid),
    ATLAS_JSON_REQUIRED(info_view, "tcbType", UINT, type),
    ATLAS_JSON_REQUIRED(info_view, "tcbEvaluationDataNumber", UINT, evaluation_number),
    ATLAS_JSON_OPTIONAL(info_view, "tdxModule", OBJECT, module),
    ATLAS_JSON_OPTIONAL(info_view, "tdxModuleIdentities", ARRAY, identities),
    ATLAS_JSON_REQUIRED(info_view, "tcbLevels", ARRAY, levels),
};

/* An SGX document is recognised and read no further: its levels have another form. */
static int fill_info(const struct info_view *view, struct atlas_tcb_info *info, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    info->tdx = atlas_span_equal(view->id, ATLAS_LIT("TDX"));
    info->version = view->version.v;
    info->issued = view->issued;
    info->next_update = view->next_update;
    memcpy(info->fmspc, view->fmspc.b, sizeof info->fmspc);
    memcpy(info->pceid, view->pceid.b, sizeof info->pceid);
    info->evaluation_number = view->evaluation_number.v;
    if (!info->tdx || info->version < 3) {
        return ATLAS_OK;
    }
    if (view->type.v != 0) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_JSON, "tcbInfo.tcbType", "unknown TCB type"));
    }
    ATLAS_TRY(read_modules(view->module, view->identities, info, error));
    ATLAS_TRY(read_levels(view->levels, info, error));
out:
    return rc;
}

int atlas_tcb_info_read(struct atlas_span bytes, struct atlas_tcb_info *ret_info, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct info_view view = {0};
    memset(ret_info, 0, sizeof *ret_info);
    ATLAS_TRY(atlas_json_new(bytes, "tcbInfo", &ret_info->document, error));
    ATLAS_TRY(atlas_json_read(ret_info->document, info_fields, COUNT(info_fields), false, "tcbInfo", &view, error));
    ATLAS_TRY(fill_info(&view, ret_info, error));
out:
    return rc;
}

void atlas_tcb_info_release(struct atlas_tcb_info *info)
{
    atlas_json_free(info->document);
    info->document = NULL;
}

/* ---------------------------------------------------------------------------------------- QE identity */

struct identity_view {
    struct atlas_span id;
    struct atlas_json_uint version;
    int64_t issued;
    int64_t next_update;
    struct atlas_json_uint evaluation_number;
    struct atlas_json_hex miscselect;
    struct atlas_json_hex miscselect_mask;
    struct atlas_json_hex attributes;
    struct atlas_json_hex attributes_mask;
    struct atlas_json_hex mrsigner;
    struct atlas_json_uint isvprodid;
    const struct atlas_json *levels;
};

static const struct atlas_json_field qe_fields[] = {
    ATLAS_JSON_REQUIRED(identity_view, "id", TEXT, id),
    ATLAS_JSON_REQUIRED(identity_view, "version", UINT, version),
    ATLAS_JSON_REQUIRED(identity_view, "issueDate", DATE, issued),
    ATLAS_JSON_REQUIRED(identity_view, "nextUpdate", DATE, next_update),
    ATLAS_JSON_REQUIRED(identity_view, "tcbEvaluationDataNumber", UINT, evaluation_number),
    ATLAS_JSON_HEX(identity_view, "miscselect", 4, miscselect),
    ATLAS_JSON_HEX(identity_view, "miscselectMask", 4, miscselect_mask),
    ATLAS_JSON_HEX(identity_view, "attributes", 16, attributes),
    ATLAS_JSON_HEX(identity_view, "attributesMask", 16, attributes_mask),
    ATLAS_JSON_HEX(identity_view, "mrsigner", 32, mrsigner),
    ATLAS_JSON_REQUIRED(identity_view, "isvprodid", UINT, isvprodid),
    ATLAS_JSON_REQUIRED(identity_view, "tcbLevels", ARRAY, levels),
};

int atlas_qe_identity_read(struct atlas_span bytes, struct atlas_qe_identity *ret_identity, struct atlas_error *error)
{
    static const char where[] = "enclaveIdentity";
    int rc = ATLAS_OK;
    struct identity_view view = {0};
    struct atlas_qe_identity *q = ret_identity;
    memset(q, 0, sizeof *q);
    ATLAS_TRY(atlas_json_new(bytes, where, &q->document, error));
    ATLAS_TRY(atlas_json_read(q->document, qe_fields, COUNT(qe_fields), false, where, &view, error));
    q->td_qe = atlas_span_equal(view.id, ATLAS_LIT("TD_QE"));
    q->version = view.version.v;
    q->issued = view.issued;
    q->next_update = view.next_update;
    q->evaluation_number = view.evaluation_number.v;
    q->miscselect = be32(view.miscselect.b);
    q->miscselect_mask = be32(view.miscselect_mask.b);
    memcpy(q->attributes, view.attributes.b, sizeof q->attributes);
    memcpy(q->attributes_mask, view.attributes_mask.b, sizeof q->attributes_mask);
    memcpy(q->mrsigner, view.mrsigner.b, sizeof q->mrsigner);
    q->isvprodid = view.isvprodid.v;
    ATLAS_TRY(read_svn_levels(view.levels, where, q->levels, &q->n_levels, error));
out:
    return rc;
}

void atlas_qe_identity_release(struct atlas_qe_identity *identity)
{
    atlas_json_free(identity->document);
    identity->document = NULL;
}
