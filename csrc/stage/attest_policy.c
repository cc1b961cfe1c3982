/* attest_policy.c - what the relying party accepts: read, and the checks that several kinds of evidence share. */
#include <stdlib.h>

#include "stage/attest_parts.h"

static const char where[] = "policy";

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* --------------------------------------------------------------------------------------------- small pieces */

int atlas_rule_read(struct atlas_span text, const char *name, enum atlas_rule *rule, struct atlas_error *error)
{
    static const char *const words[] = {"reject", "warn", "allow"};
    if (text.p == NULL) {
        return ATLAS_OK;
    }
    for (size_t i = 0; i < COUNT(words); i++) {
        if (atlas_span_equal(text, atlas_span_str(words[i]))) {
            *rule = (enum atlas_rule)i;
            return ATLAS_OK;
        }
    }
    return atlas_error_set(error, ATLAS_E_JSON, where, "\"%s\" is neither reject nor warn nor allow", name);
}

/* A list of values of `size` bytes each, in hexadecimal. An empty list would name nothing and look as if it did. */
static int check_list(const struct atlas_json *list, size_t size, const char *name, struct atlas_error *error)
{
    uint8_t bytes[64];
    if (list != NULL && atlas_json_count(list) == 0) {
        return atlas_error_set(error, ATLAS_E_JSON, where, "\"%s\" is an empty list", name);
    }
    for (size_t i = 0; i < atlas_json_count(list); i++) {
        if (!atlas_json_hex(atlas_json_at(list, i), bytes, size)) {
            return atlas_error_set(error, ATLAS_E_JSON, where,
                                   "\"%s\" holds something else than %zu bytes in hexadecimal", name, size);
        }
    }
    return ATLAS_OK;
}

struct masked_view {
    struct atlas_json_hex mask;
    struct atlas_json_hex value;
};

static const struct atlas_json_field masked_fields[] = {
    ATLAS_JSON_HEX(masked_view, "mask", 8, mask),
    ATLAS_JSON_HEX(masked_view, "value", 8, value),
};

static uint64_t be64(const uint8_t *p)
{
    uint64_t v = 0;
    for (size_t i = 0; i < 8; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

/* Written as a number: most significant digit first. A value outside its mask could never match. */
static int read_masked(const struct atlas_json *object, const char *name, struct atlas_masked *masked,
                       struct atlas_error *error)
{
    struct masked_view view = {0};
    if (object == NULL) {
        return ATLAS_OK;
    }
    int rc = atlas_json_read(object, masked_fields, COUNT(masked_fields), true, name, &view, error);
    if (rc < 0) {
        return rc;
    }
    masked->mask = be64(view.mask.b);
    masked->value = be64(view.value.b);
    if ((masked->value & ~masked->mask) != 0) {
        return atlas_error_set(error, ATLAS_E_JSON, where, "\"%s\": the value has bits outside its mask", name);
    }
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------------------- TDX */

struct tdx_view {
    const struct atlas_json *accepted;
    struct atlas_json_uint collateral_grace;
    struct atlas_json_uint platform_grace;
    struct atlas_json_uint min_evaluation_number;
    int64_t min_tcb_date;
    const struct atlas_json *rejected;
    const struct atlas_json *attributes;
    const struct atlas_json *xfam;
    struct atlas_span sept_ve_disable;
    struct atlas_span migratable;
    struct atlas_span dynamic_platform;
    struct atlas_span cached_keys;
    struct atlas_span smt;
    struct atlas_span log_start;
    struct atlas_json_uint require_log;
    const struct atlas_json *registers[ATLAS_TDX_REGISTERS];
};

static const struct atlas_json_field tdx_fields[] = {
    ATLAS_JSON_OPTIONAL(tdx_view, "accept_status", ARRAY, accepted),
    ATLAS_JSON_OPTIONAL(tdx_view, "collateral_grace_seconds", UINT, collateral_grace),
    ATLAS_JSON_OPTIONAL(tdx_view, "platform_grace_seconds", UINT, platform_grace),
    ATLAS_JSON_OPTIONAL(tdx_view, "min_tcb_evaluation_number", UINT, min_evaluation_number),
    ATLAS_JSON_OPTIONAL(tdx_view, "min_tcb_date", DATE, min_tcb_date),
    ATLAS_JSON_OPTIONAL(tdx_view, "reject_advisories", ARRAY, rejected),
    ATLAS_JSON_OPTIONAL(tdx_view, "attributes", OBJECT, attributes),
    ATLAS_JSON_OPTIONAL(tdx_view, "xfam", OBJECT, xfam),
    ATLAS_JSON_OPTIONAL(tdx_view, "sept_ve_enabled", TEXT, sept_ve_disable),
    ATLAS_JSON_OPTIONAL(tdx_view, "migratable", TEXT, migratable),
    ATLAS_JSON_OPTIONAL(tdx_view, "dynamic_platform", TEXT, dynamic_platform),
    ATLAS_JSON_OPTIONAL(tdx_view, "cached_keys", TEXT, cached_keys),
    ATLAS_JSON_OPTIONAL(tdx_view, "smt", TEXT, smt),
    ATLAS_JSON_OPTIONAL(tdx_view, "runtime_log_start", TEXT, log_start),
    ATLAS_JSON_OPTIONAL(tdx_view, "require_runtime_log", BOOL, require_log),
    ATLAS_JSON_OPTIONAL(tdx_view, "mrtd", ARRAY, registers[ATLAS_REG_MRTD]),
    ATLAS_JSON_OPTIONAL(tdx_view, "rtmr0", ARRAY, registers[ATLAS_REG_RTMR0]),
    ATLAS_JSON_OPTIONAL(tdx_view, "rtmr1", ARRAY, registers[ATLAS_REG_RTMR1]),
    ATLAS_JSON_OPTIONAL(tdx_view, "rtmr2", ARRAY, registers[ATLAS_REG_RTMR2]),
    ATLAS_JSON_OPTIONAL(tdx_view, "rtmr3", ARRAY, registers[ATLAS_REG_RTMR3]),
    ATLAS_JSON_OPTIONAL(tdx_view, "mrseam", ARRAY, registers[ATLAS_REG_MRSEAM]),
    ATLAS_JSON_OPTIONAL(tdx_view, "mrconfigid", ARRAY, registers[ATLAS_REG_MRCONFIGID]),
    ATLAS_JSON_OPTIONAL(tdx_view, "mrowner", ARRAY, registers[ATLAS_REG_MROWNER]),
    ATLAS_JSON_OPTIONAL(tdx_view, "mrownerconfig", ARRAY, registers[ATLAS_REG_MROWNERCONFIG]),
    ATLAS_JSON_OPTIONAL(tdx_view, "mrservicetd", ARRAY, registers[ATLAS_REG_MRSERVICETD]),
};

/* What may never be accepted is no word of this list: Revoked, NotSupported. */
static int read_accepted(const struct atlas_json *list, uint32_t *accepted, struct atlas_error *error)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < atlas_json_count(list); i++) {
        struct atlas_span name;
        enum atlas_tcb_status status = ATLAS_TCB_NONE;
        if (atlas_json_text(atlas_json_at(list, i), &name)) {
            status = atlas_tcb_status_of(name);
        }
        if (status == ATLAS_TCB_NONE || status == ATLAS_TCB_REVOKED || status >= ATLAS_TCB_NOT_SUPPORTED) {
            return atlas_error_set(error, ATLAS_E_JSON, where,
                                   "\"accept_status\" holds something that cannot be accepted");
        }
        bits |= 1u << status;
    }
    if (list != NULL) {
        *accepted = bits;
    }
    return ATLAS_OK;
}

static int read_texts(const struct atlas_json *list, const char *name, struct atlas_error *error)
{
    for (size_t i = 0; i < atlas_json_count(list); i++) {
        struct atlas_span text;
        if (!atlas_json_text(atlas_json_at(list, i), &text)) {
            return atlas_error_set(error, ATLAS_E_JSON, where, "\"%s\" holds something else than text", name);
        }
    }
    return ATLAS_OK;
}

static int read_tdx_rules(const struct tdx_view *view, struct atlas_tdx_policy *p, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    ATLAS_TRY(atlas_rule_read(view->sept_ve_disable, "sept_ve_enabled", &p->sept_ve_disable, error));
    ATLAS_TRY(atlas_rule_read(view->migratable, "migratable", &p->migratable, error));
    ATLAS_TRY(atlas_rule_read(view->dynamic_platform, "dynamic_platform", &p->dynamic_platform, error));
    ATLAS_TRY(atlas_rule_read(view->cached_keys, "cached_keys", &p->cached_keys, error));
    ATLAS_TRY(atlas_rule_read(view->smt, "smt", &p->smt, error));
    ATLAS_TRY(atlas_rule_read(view->log_start, "runtime_log_start", &p->log_start, error));
    ATLAS_TRY(read_masked(view->attributes, "attributes", &p->attributes, error));
    ATLAS_TRY(read_masked(view->xfam, "xfam", &p->xfam, error));
out:
    return rc;
}

static int read_tdx(const struct atlas_json *object, struct atlas_tdx_policy *p, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct tdx_view view = {0};
    if (object == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_json_read(object, tdx_fields, COUNT(tdx_fields), true, "policy.tdx", &view, error));
    ATLAS_TRY(read_accepted(view.accepted, &p->accepted, error));
    ATLAS_TRY(read_texts(view.rejected, "reject_advisories", error));
    ATLAS_TRY(read_tdx_rules(&view, p, error));
    for (size_t i = 0; i < ATLAS_TDX_REGISTERS; i++) {
        ATLAS_TRY(check_list(view.registers[i], 48, "a register", error));
        p->registers[i] = view.registers[i];
    }
    p->collateral_grace = view.collateral_grace.v;
    p->platform_grace = view.platform_grace.v;
    p->min_evaluation_number = view.min_evaluation_number.v;
    p->min_tcb_date = view.min_tcb_date;
    p->rejected_advisories = view.rejected;
    p->require_log = view.require_log.v != 0;
    if (p->collateral_grace != 0 && p->platform_grace != 0) { /* as in Intel's appraisal: together they add up */
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_JSON, where, "both grace periods; only one may be given"));
    }
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- SNP */

struct minimum_view {
    struct atlas_json_uint bl;
    struct atlas_json_uint tee;
    struct atlas_json_uint snp;
    struct atlas_json_uint ucode;
    struct atlas_json_uint fmc;
};

static const struct atlas_json_field minimum_fields[] = {
    ATLAS_JSON_REQUIRED(minimum_view, "bootloader", UINT, bl),
    ATLAS_JSON_REQUIRED(minimum_view, "tee", UINT, tee),
    ATLAS_JSON_REQUIRED(minimum_view, "snp", UINT, snp),
    ATLAS_JSON_REQUIRED(minimum_view, "microcode", UINT, ucode),
    ATLAS_JSON_OPTIONAL(minimum_view, "fmc", UINT, fmc),
};

struct snp_view {
    const struct atlas_json *minimum;
    struct atlas_json_uint min_guest_svn;
    struct atlas_json_uint max_vmpl;
    const struct atlas_json *guest_policy;
    struct atlas_span revocation;
    const struct atlas_json *measurement;
    const struct atlas_json *host_data;
    const struct atlas_json *id_key_digest;
    const struct atlas_json *author_key_digest;
    const struct atlas_json *chip_id;
};

static const struct atlas_json_field snp_fields[] = {
    ATLAS_JSON_OPTIONAL(snp_view, "minimum_tcb", OBJECT, minimum),
    ATLAS_JSON_OPTIONAL(snp_view, "min_guest_svn", UINT, min_guest_svn),
    ATLAS_JSON_OPTIONAL(snp_view, "max_vmpl", UINT, max_vmpl),
    ATLAS_JSON_OPTIONAL(snp_view, "guest_policy", OBJECT, guest_policy),
    ATLAS_JSON_OPTIONAL(snp_view, "unchecked_revocation", TEXT, revocation),
    ATLAS_JSON_OPTIONAL(snp_view, "measurement", ARRAY, measurement),
    ATLAS_JSON_OPTIONAL(snp_view, "host_data", ARRAY, host_data),
    ATLAS_JSON_OPTIONAL(snp_view, "id_key_digest", ARRAY, id_key_digest),
    ATLAS_JSON_OPTIONAL(snp_view, "author_key_digest", ARRAY, author_key_digest),
    ATLAS_JSON_OPTIONAL(snp_view, "chip_id", ARRAY, chip_id),
};

static int read_minimum(const struct atlas_json *object, struct atlas_snp_policy *p, struct atlas_error *error)
{
    struct minimum_view m = {0};
    if (object == NULL) {
        return ATLAS_OK;
    }
    int rc = atlas_json_read(object, minimum_fields, COUNT(minimum_fields), true, "policy.snp.minimum_tcb", &m, error);
    if (rc < 0) {
        return rc;
    }
    if ((m.bl.v | m.tee.v | m.snp.v | m.ucode.v | m.fmc.v) > 255) {
        return atlas_error_set(error, ATLAS_E_JSON, where, "a security patch level beyond 255");
    }
    p->has_minimum = true;
    p->bl = (uint8_t)m.bl.v;
    p->tee = (uint8_t)m.tee.v;
    p->snp = (uint8_t)m.snp.v;
    p->ucode = (uint8_t)m.ucode.v;
    p->fmc = (uint8_t)m.fmc.v;
    return ATLAS_OK;
}

static int read_snp(const struct atlas_json *object, struct atlas_snp_policy *p, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct snp_view v = {0};
    if (object == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_json_read(object, snp_fields, COUNT(snp_fields), true, "policy.snp", &v, error));
    ATLAS_TRY(read_minimum(v.minimum, p, error));
    ATLAS_TRY(read_masked(v.guest_policy, "guest_policy", &p->guest_policy, error));
    ATLAS_TRY(atlas_rule_read(v.revocation, "unchecked_revocation", &p->revocation, error));
    ATLAS_TRY(check_list(v.measurement, 48, "measurement", error));
    ATLAS_TRY(check_list(v.host_data, 32, "host_data", error));
    ATLAS_TRY(check_list(v.id_key_digest, 48, "id_key_digest", error));
    ATLAS_TRY(check_list(v.author_key_digest, 48, "author_key_digest", error));
    ATLAS_TRY(check_list(v.chip_id, 64, "chip_id", error));
    p->min_guest_svn = v.min_guest_svn.v;
    p->max_vmpl = v.max_vmpl.v;
    p->measurement = v.measurement;
    p->host_data = v.host_data;
    p->id_key_digest = v.id_key_digest;
    p->author_key_digest = v.author_key_digest;
    p->chip_id = v.chip_id;
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- GPU */

struct gpu_view {
    struct atlas_span revocation;
    const struct atlas_json *references;
};

static const struct atlas_json_field gpu_fields[] = {
    ATLAS_JSON_OPTIONAL(gpu_view, "unchecked_revocation", TEXT, revocation),
    ATLAS_JSON_OPTIONAL(gpu_view, "references", ARRAY, references),
};

struct reference_view {
    struct atlas_span driver;
    struct atlas_span vbios;
    const struct atlas_json *measurements;
};

static const struct atlas_json_field reference_fields[] = {
    ATLAS_JSON_REQUIRED(reference_view, "driver", TEXT, driver),
    ATLAS_JSON_REQUIRED(reference_view, "vbios", TEXT, vbios),
    ATLAS_JSON_REQUIRED(reference_view, "measurements", OBJECT, measurements),
};

static int read_gpu(const struct atlas_json *object, struct atlas_gpu_policy *p, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct gpu_view v = {0};
    if (object == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_json_read(object, gpu_fields, COUNT(gpu_fields), true, "policy.nvidia", &v, error));
    ATLAS_TRY(atlas_rule_read(v.revocation, "unchecked_revocation", &p->revocation, error));
    for (size_t i = 0; i < atlas_json_count(v.references); i++) {
        struct reference_view r = {{NULL, 0}, {NULL, 0}, NULL};
        ATLAS_TRY(atlas_json_read(atlas_json_at(v.references, i), reference_fields, COUNT(reference_fields), true,
                                  "policy.nvidia.references", &r, error));
    }
    p->references = v.references;
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------- the whole */

struct policy_view {
    struct atlas_json_uint version;
    struct atlas_json_uint binding;
    const struct atlas_json *tdx;
    const struct atlas_json *snp;
    const struct atlas_json *nvidia;
    const struct atlas_json *tpm;
};

static const struct atlas_json_field policy_fields[] = {
    ATLAS_JSON_REQUIRED(policy_view, "version", UINT, version),
    ATLAS_JSON_OPTIONAL(policy_view, "require_binding", BOOL, binding),
    ATLAS_JSON_OPTIONAL(policy_view, "tdx", OBJECT, tdx),
    ATLAS_JSON_OPTIONAL(policy_view, "snp", OBJECT, snp),
    ATLAS_JSON_OPTIONAL(policy_view, "nvidia", OBJECT, nvidia),
    ATLAS_JSON_OPTIONAL(policy_view, "tpm", OBJECT, tpm),
};

/* What holds without a word: up to date, no debugging (that is no matter of policy at all), not migratable, VMPL 0. */
static void set_defaults(struct atlas_attest_policy *p)
{
    p->tdx.accepted = 1u << ATLAS_TCB_UP_TO_DATE;
    p->tdx.sept_ve_disable = ATLAS_RULE_WARN;
    p->tdx.dynamic_platform = ATLAS_RULE_ALLOW;
    p->tdx.cached_keys = ATLAS_RULE_ALLOW;
    p->tdx.smt = ATLAS_RULE_ALLOW;
}

static int read_policy(struct atlas_span bytes, struct atlas_attest_policy *p, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct policy_view view = {{false, 0}, {false, 0}, NULL, NULL, NULL, NULL};
    ATLAS_TRY(atlas_json_new(bytes, where, &p->document, error));
    ATLAS_TRY(atlas_json_read(p->document, policy_fields, COUNT(policy_fields), true, where, &view, error));
    if (view.version.v != 1) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_JSON, where, "version is not 1"));
    }
    p->require_binding = view.binding.v != 0;
    ATLAS_TRY(read_tdx(view.tdx, &p->tdx, error));
    ATLAS_TRY(read_snp(view.snp, &p->snp, error));
    ATLAS_TRY(read_gpu(view.nvidia, &p->gpu, error));
    ATLAS_TRY(atlas_tpm_policy_read(view.tpm, &p->tpm, error));
out:
    return rc;
}

int atlas_attest_policy_new(struct atlas_span bytes, struct atlas_attest_policy **ret_policy, struct atlas_error *error)
{
    struct atlas_attest_policy *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
    }
    set_defaults(p);
    int rc = bytes.p != NULL ? read_policy(bytes, p, error) : ATLAS_OK;
    if (rc < 0) {
        atlas_attest_policy_free(p);
        return rc;
    }
    *ret_policy = p;
    return ATLAS_OK;
}

void atlas_attest_policy_free(struct atlas_attest_policy *policy)
{
    if (policy != NULL) {
        atlas_json_free(policy->document);
        free(policy);
    }
}

/* ------------------------------------------------------------------------------------------------ shared checks */

int atlas_policy_list_check(const struct atlas_json *list, struct atlas_span value, const char *name,
                            struct atlas_error *error)
{
    uint8_t allowed[64];
    if (list == NULL) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    for (size_t i = 0; i < atlas_json_count(list); i++) {
        if (value.n <= sizeof allowed && atlas_json_hex(atlas_json_at(list, i), allowed, value.n) &&
            memcmp(allowed, value.p, value.n) == 0) {
            return ATLAS_OK;
        }
    }
    return atlas_error_set(error, ATLAS_E_MISMATCH, name, "%s is not one of the policy's %zu values", name,
                           atlas_json_count(list));
}

int atlas_rule_apply(enum atlas_rule rule, struct atlas_error *error, const char *text)
{
    switch (rule) {
    case ATLAS_RULE_ALLOW:
        return ATLAS_OK;
    case ATLAS_RULE_WARN:
        return atlas_step_say(error, ATLAS_STEP_WARNING, "%s", text);
    default:
        return atlas_error_set(error, ATLAS_E_MISMATCH, where, "%s", text);
    }
}
