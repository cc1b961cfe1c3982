/* attest_steps.c - running a table of checks, and what the three results make of it. */
#include <stdarg.h>
#include <stdio.h>

#include "stage/attest_parts.h"

int atlas_step_say(struct atlas_error *error, enum atlas_step_result step, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return (int)step;
}

/* Could not check: nothing may be concluded. Anything else that is negative is a finding about the evidence. */
static bool is_system(int rc)
{
    int class = -rc / 100;
    return rc < 0 && (class == 1 || class == 9 || (class == 2 && rc != ATLAS_E_NOT_FOUND && rc != ATLAS_E_UNSUPPORTED));
}

static enum atlas_attest_outcome outcome_of(int rc)
{
    switch (rc) {
    case ATLAS_OK:
        return ATLAS_CHECK_PASSED;
    case ATLAS_STEP_NOT_CHECKED:
        return ATLAS_CHECK_NOT_CHECKED;
    case ATLAS_STEP_WARNING:
        return ATLAS_CHECK_WARNING;
    default:
        return ATLAS_CHECK_FAILED;
    }
}

static int list_check(const struct atlas_step *step, int rc, bool ran, const struct atlas_error *finding,
                      struct atlas_attest *result, struct atlas_error *error)
{
    if (result->n_checks == ATLAS_MAX_EVIDENCE_CHECKS) {
        return atlas_error_set(error, ATLAS_E_INTERNAL, "attest", "more checks than room for them");
    }
    struct atlas_attest_check *check = &result->checks[result->n_checks++];
    *check = (struct atlas_attest_check){.id = step->id, .group = (uint8_t)step->group};
    if (!ran) {
        return ATLAS_OK;
    }
    check->outcome = (uint8_t)outcome_of(rc);
    check->code = rc < 0 ? rc : 0;
    if (rc != ATLAS_OK) {
        snprintf(check->text, sizeof check->text, "%.195s", finding->text);
    }
    return ATLAS_OK;
}

int atlas_steps_run(const struct atlas_step *steps, size_t n, void *context, struct atlas_attest *result,
                    struct atlas_error *error)
{
    bool stopped = false;
    for (size_t i = 0; i < n; i++) {
        struct atlas_error finding = ATLAS_ERROR_INIT;
        int rc = stopped ? ATLAS_OK : steps[i].run(context, &finding);
        if (is_system(rc)) {
            return atlas_error_set(error, rc, finding.where, "%s", finding.text);
        }
        if (rc == ATLAS_STEP_NOT_APPLICABLE) {
            continue;
        }
        int listed = list_check(&steps[i], rc, !stopped, &finding, result, error);
        if (listed < 0) {
            return listed;
        }
        stopped = stopped || (rc < 0 && steps[i].group == ATLAS_GROUP_SIGNATURE);
    }
    return ATLAS_OK;
}

bool atlas_group_holds(const struct atlas_attest *result, enum atlas_attest_group group)
{
    size_t passed = 0;
    for (size_t i = 0; i < result->n_checks; i++) {
        const struct atlas_attest_check *check = &result->checks[i];
        if (check->group != group || check->outcome == ATLAS_CHECK_WARNING) {
            continue;
        }
        /* What cannot be checked offline is listed beside the signatures; whether that is enough is the policy's
         * question and has its own check in the appraisal. */
        if (check->outcome == ATLAS_CHECK_NOT_CHECKED && group == ATLAS_GROUP_SIGNATURE) {
            continue;
        }
        if (check->outcome != ATLAS_CHECK_PASSED) {
            return false;
        }
        passed++;
    }
    return passed != 0;
}

void atlas_attest_conclude(struct atlas_attest *result)
{
    result->signature = atlas_group_holds(result, ATLAS_GROUP_SIGNATURE);
    /* Without a vendor's levels there is nothing to be behind of; only the TPM's own code says so, never a document. */
    result->tcb = result->signature && (result->tcb_status == ATLAS_TCB_NOT_APPLICABLE ||
                                        atlas_group_holds(result, ATLAS_GROUP_TCB));
    if (!result->signature) {
        result->appraisal = ATLAS_APPRAISAL_NOT_RUN;
    } else if (!atlas_group_holds(result, ATLAS_GROUP_APPRAISAL)) {
        result->appraisal = ATLAS_APPRAISAL_REJECTED;
    } else {
        result->appraisal = result->named_measurement ? ATLAS_APPRAISAL_ATTESTED : ATLAS_APPRAISAL_UNKNOWN_SOFTWARE;
    }
}

bool atlas_attest_holds(const struct atlas_attest *result)
{
    return result->signature && result->tcb && result->appraisal == ATLAS_APPRAISAL_ATTESTED && result->hardware_rooted;
}

/* ---------------------------------------------------------------------------------------------------- anchors */

#define MAX_TIME 253402300799 /* 9999-12-31T23:59:59Z */

int atlas_anchors_choose(const struct atlas_attest_request *request, const struct atlas_pin *pins, size_t n,
                         struct atlas_anchors *ret_anchors, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_buf ders = ATLAS_BUF_INIT;
    struct atlas_span rest;
    struct atlas_span der;
    struct atlas_digest digest;
    if (request->at <= 0 || request->at > MAX_TIME) {
        return atlas_error_set(error, ATLAS_E_ARG, "at", "not a time between 1970 and 9999");
    }
    if (request->anchor.p == NULL) {
        *ret_anchors = (struct atlas_anchors){.pins = pins, .n = n, .vendor = true};
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_certificate_read_pem(request->anchor, &ders, error));
    rest = atlas_buf_span(&ders);
    if (!atlas_certificate_next(&rest, &der) || rest.n != 0) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_X509, "anchor", "not exactly one certificate"));
    }
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, der, &digest, error));
    *ret_anchors = (struct atlas_anchors){.own = {.name = "given by the caller"}, .n = 1};
    memcpy(ret_anchors->own.sha256, digest.b, sizeof ret_anchors->own.sha256);
out:
    atlas_buf_release(&ders);
    return rc;
}

int atlas_logs_refuse(const struct atlas_attest_request *request, bool event_log, struct atlas_error *error)
{
    if (request->runtime_log.p != NULL || (event_log && request->event_log.p != NULL)) {
        return atlas_error_set(error, ATLAS_E_ARG, "event log", "evidence of this kind has no register for such a log");
    }
    return ATLAS_OK;
}

void atlas_anchors_note(const struct atlas_anchors *anchors, const struct atlas_pki_path *path,
                        struct atlas_attest *result)
{
    const struct atlas_pin *pin = anchors->vendor ? &anchors->pins[path->pin] : &anchors->own;
    result->hardware_rooted = anchors->vendor;
    result->anchor_sha256 = path->root;
    snprintf(result->anchor, sizeof result->anchor, "%s", pin->name);
}

/* ---------------------------------------------------------------------------------------------------- binding */

int atlas_binding_check(const struct atlas_attest_request *request, struct atlas_span report_data,
                        struct atlas_attest *result, struct atlas_error *error)
{
    uint8_t any = 0;
    for (size_t i = 0; i < report_data.n; i++) {
        any |= report_data.p[i];
    }
    if (any == 0) {
        result->binding = ATLAS_BINDING_ZERO;
        return atlas_error_set(error, ATLAS_E_MISMATCH, "report data", "the report data is zero: bound to nothing");
    }
    if (request->report_data.p == NULL) {
        result->binding = ATLAS_BINDING_ABSENT;
        if (request->policy->require_binding) {
            return atlas_error_set(error, ATLAS_E_NOT_FOUND, "report data",
                                   "nothing was given to compare the report data with");
        }
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    if (!atlas_span_equal_ct(request->report_data, report_data)) {
        result->binding = ATLAS_BINDING_MISMATCH;
        return atlas_error_set(error, ATLAS_E_MISMATCH, "report data", "the evidence is bound to something else");
    }
    result->binding = ATLAS_BINDING_MATCHED;
    return ATLAS_OK;
}
