/* attest_gpu.c - NVIDIA GPUs: SPDM measurements, the device's certificate chain, and an operator's reference values. */
#include <stdio.h>

#include "format/spdm.h"
#include "stage/attest_parts.h"

/* SHA-256 of the DER of "NVIDIA Device Identity CA". */
static const struct atlas_pin nvidia_root = {
    "NVIDIA Device Identity CA",
    {0x10, 0x2b, 0xf6, 0x59, 0xd5, 0x41, 0x96, 0x14, 0xc9, 0xd8, 0xe6, 0xae, 0xce, 0xbc, 0x80, 0x45,
     0x4e, 0xb2, 0x6b, 0x1d, 0xf6, 0xa7, 0x69, 0xac, 0x72, 0x0b, 0x9a, 0x69, 0x0b, 0x16, 0x7b, 0x48},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct run {
    const struct atlas_attest_request *request;
    struct atlas_attest *result;
    struct atlas_collateral *collateral;
    const struct atlas_gpu_policy *policy;
    struct atlas_anchors anchors;
    struct atlas_spdm report;
    struct atlas_buf chain;
    struct atlas_span leaf;
    struct atlas_pki_path path;
};

static int mismatch(struct atlas_error *error, const char *text)
{
    return atlas_error_set(error, ATLAS_E_MISMATCH, "SPDM report", "%s", text);
}

/* ------------------------------------------------------------------------------------------------ signature group */

static int check_chain(void *context, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct run *r = context;
    ATLAS_TRY(atlas_pool_chain(&r->collateral->certificates, "GPU", &r->chain, &r->leaf, error));
    ATLAS_TRY(atlas_device_chain_check(r->collateral, atlas_buf_span(&r->chain), &r->anchors, r->request->at, 0, "GPU",
                                       &r->path, error));
    atlas_anchors_note(&r->anchors, &r->path, r->result);
    r->result->collateral_from = r->path.not_before;
    r->result->collateral_until = r->path.not_after;
out:
    return rc;
}

static int check_signature(void *context, struct atlas_error *error)
{
    struct run *r = context;
    struct atlas_certificate view;
    int rc = atlas_certificate_read(r->leaf, &view, error);
    if (rc >= 0) {
        rc = atlas_signature_verify(ATLAS_COSE_ES384, view.spki, r->report.signed_part, r->report.signature, error);
    }
    if (rc == ATLAS_E_SIGNATURE) {
        *error = ATLAS_ERROR_INIT;
        return atlas_error_set(error, rc, "SPDM report", "the report is not signed by the key of its certificate");
    }
    return rc;
}

/* The firmware that holds the key is the firmware that the report speaks of. */
static int check_fwid(void *context, struct atlas_error *error)
{
    struct run *r = context;
    struct atlas_span certified;
    struct atlas_span reported = atlas_spdm_opaque(&r->report, ATLAS_SPDM_FWID);
    int rc = atlas_fwid_read(r->leaf, &certified, error);
    if (rc < 0) {
        return rc;
    }
    if (reported.p == NULL) {
        return mismatch(error, "the report names no firmware");
    }
    return atlas_span_equal(certified, reported)
               ? ATLAS_OK
               : mismatch(error, "the report is of other firmware than the certificate");
}

/* NVIDIA revokes by OCSP only, and signs its reference manifests with XML signatures: neither can be checked here. */
static int say_revocation(void *context, struct atlas_error *error)
{
    (void)context;
    return atlas_step_say(error, ATLAS_STEP_NOT_CHECKED, "revocation was not checked: NVIDIA offers OCSP only");
}

static int say_rim(void *context, struct atlas_error *error)
{
    (void)context;
    return atlas_step_say(error, ATLAS_STEP_NOT_CHECKED,
                          "NVIDIA's reference manifest (RIM) and its signature were not checked");
}

/* ------------------------------------------------------------------------------------------------------ TCB group */

static struct atlas_span trim_nul(struct atlas_span s)
{
    while (s.n != 0 && s.p[s.n - 1] == '\0') {
        s.n--;
    }
    return s;
}

/* Eight bytes, least significant first: 96.00.9F.00.01 is byte 3, 2, 1, 0 and the first of the other word. */
static void vbios_text(struct atlas_span v, char out[24])
{
    out[0] = '\0';
    if (v.n == 8) {
        snprintf(out, 24, "%02X.%02X.%02X.%02X.%02X", v.p[3], v.p[2], v.p[1], v.p[0], v.p[4]);
    }
}

/* The operator's entry for this driver and VBIOS; NULL: none. */
static const struct atlas_json *find_reference(const struct run *r)
{
    char vbios[24];
    struct atlas_span driver = trim_nul(atlas_spdm_opaque(&r->report, ATLAS_SPDM_DRIVER));
    vbios_text(atlas_spdm_opaque(&r->report, ATLAS_SPDM_VBIOS), vbios);
    for (size_t i = 0; i < atlas_json_count(r->policy->references); i++) {
        const struct atlas_json *entry = atlas_json_at(r->policy->references, i);
        struct atlas_span a = ATLAS_SPAN_NONE;
        struct atlas_span b = ATLAS_SPAN_NONE;
        if (atlas_json_text(atlas_json_member(entry, "driver"), &a) &&
            atlas_json_text(atlas_json_member(entry, "vbios"), &b) && driver.n != 0 && atlas_span_equal(a, driver) &&
            vbios[0] != '\0' && atlas_span_equal(b, atlas_span_str(vbios))) {
            return entry;
        }
    }
    return NULL;
}

static bool find_measurement(const struct run *r, unsigned index, struct atlas_span *ret_value)
{
    struct atlas_span rest = r->report.measurements;
    uint8_t this_index;
    while (atlas_spdm_next(&rest, &this_index, ret_value)) {
        if (this_index == index) {
            return true;
        }
    }
    return false;
}

/* Every index that the operator lists is in the report with one of the listed values; there is at least one. */
static int compare_reference(struct run *r, const struct atlas_json *measurements, struct atlas_error *error)
{
    size_t compared = 0;
    for (unsigned index = 0; index <= 255; index++) {
        char name[24];
        snprintf(name, sizeof name, "%u", index);
        const struct atlas_json *list = atlas_json_member(measurements, name);
        struct atlas_span value = ATLAS_SPAN_NONE;
        if (list == NULL) {
            continue;
        }
        snprintf(name, sizeof name, "measurement %u", index);
        if (!find_measurement(r, index, &value)) {
            return atlas_error_set(error, ATLAS_E_MISMATCH, "SPDM report", "the report has no measurement %u", index);
        }
        int rc = atlas_policy_list_check(list, value, name, error);
        if (rc < 0) {
            return rc;
        }
        compared++;
    }
    r->result->named_measurement = compared != 0;
    return compared != 0 ? ATLAS_OK
                         : atlas_step_say(error, ATLAS_STEP_NOT_CHECKED, "the reference lists no measurement");
}

static int check_reference(void *context, struct atlas_error *error)
{
    struct run *r = context;
    const struct atlas_json *entry = find_reference(r);
    if (r->policy->references == NULL) {
        return atlas_step_say(error, ATLAS_STEP_NOT_CHECKED, "the policy has no reference values");
    }
    if (entry == NULL) {
        return atlas_error_set(error, ATLAS_E_NOT_FOUND, "SPDM report",
                               "no reference values for this driver and VBIOS");
    }
    int rc = compare_reference(r, atlas_json_member(entry, "measurements"), error);
    if (rc != ATLAS_STEP_NOT_CHECKED) {
        r->result->tcb_status = rc < 0 ? ATLAS_TCB_REFERENCE_DIFFERS : ATLAS_TCB_MEETS_MINIMUM;
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------------ appraisal */

static int check_unchecked(void *context, struct atlas_error *error)
{
    const struct run *r = context;
    return atlas_rule_apply(r->policy->revocation, error, "revocation was not checked");
}

static int check_nonce(void *context, struct atlas_error *error)
{
    struct run *r = context;
    return atlas_binding_check(r->request, r->report.nonce, r->result, error);
}

static const struct atlas_step signature_steps[] = {
    {"gpu.chain", ATLAS_GROUP_SIGNATURE, check_chain},
    {"gpu.report", ATLAS_GROUP_SIGNATURE, check_signature},
    {"gpu.fwid", ATLAS_GROUP_SIGNATURE, check_fwid},
    {"gpu.revocation", ATLAS_GROUP_SIGNATURE, say_revocation},
    {"gpu.rim", ATLAS_GROUP_SIGNATURE, say_rim},
};

static const struct atlas_step judgement_steps[] = {
    {"gpu.reference", ATLAS_GROUP_TCB, check_reference},
    {"gpu.unchecked_revocation", ATLAS_GROUP_APPRAISAL, check_unchecked},
    {"gpu.nonce", ATLAS_GROUP_APPRAISAL, check_nonce},
};

/* Saved reports are often hexadecimal text. */
static int decode(struct atlas_span bytes, struct atlas_buf *storage, struct atlas_span *ret_bytes,
                  struct atlas_error *error)
{
    static const char digits[] = "0123456789abcdef";
    *ret_bytes = bytes;
    if (bytes.n == 0 || bytes.p[0] != '1' || bytes.n > 4 * ATLAS_MAX_SPDM_BYTES) {
        return ATLAS_OK; /* binary begins with 0x11 */
    }
    bytes.n -= bytes.p[bytes.n - 1] == '\n';
    for (size_t i = 0; i + 1 < bytes.n; i += 2) {
        const char *high = memchr(digits, bytes.p[i] | 0x20, 16);
        const char *low = memchr(digits, bytes.p[i + 1] | 0x20, 16);
        if (high == NULL || low == NULL) {
            return atlas_error_at(error, ATLAS_E_EVIDENCE, i, "SPDM report", "not hexadecimal");
        }
        atlas_buf_append_u8(storage, (uint8_t)((high - digits) << 4 | (low - digits)));
    }
    if (bytes.n % 2 != 0) {
        return atlas_error_at(error, ATLAS_E_EVIDENCE, bytes.n, "SPDM report", "half a byte");
    }
    *ret_bytes = atlas_buf_span(storage);
    return atlas_buf_check(storage, error);
}

int atlas_attest_gpu(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                     struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_attest result = {.kind = ATLAS_ATTEST_GPU, .at = request->at};
    struct atlas_buf storage = ATLAS_BUF_INIT;
    struct atlas_span bytes;
    struct run r = {.request = request,
                    .result = &result,
                    .collateral = request->collateral,
                    .policy = &request->policy->gpu};
    ATLAS_TRY(atlas_logs_refuse(request, true, error));
    ATLAS_TRY(decode(request->evidence, &storage, &bytes, error));
    ATLAS_TRY(atlas_spdm_read(bytes, &r.report, error));
    ATLAS_TRY(atlas_anchors_choose(request, &nvidia_root, 1, &r.anchors, error));
    ATLAS_TRY(atlas_steps_run(signature_steps, COUNT(signature_steps), &r, &result, error));
    if (atlas_group_holds(&result, ATLAS_GROUP_SIGNATURE)) {
        ATLAS_TRY(atlas_steps_run(judgement_steps, COUNT(judgement_steps), &r, &result, error));
    }
    atlas_attest_conclude(&result);
    *ret_result = result;
out:
    atlas_buf_release(&r.chain);
    atlas_buf_release(&storage);
    return rc;
}
