/* verify_evidence.c - hardware evidence: is it bound to this manifest and its signer, is it genuine, does it hold?
 *
 * What it is bound to is computed from the manifest; the copy that the assertion carries is only compared. Evidence for
 * something else is a false statement, INVALID whatever the policy. Evidence that is bound and does not hold (an old
 * TCB, a root that is not the vendor's, collateral that is missing or out of date) is said, and fails where the policy
 * demands evidence. docs/manifest.md, "Hardware evidence". */
#include <stdio.h>
#include <stdlib.h>

#include "format/snp_report.h"
#include "format/tdx_quote.h"
#include "format/tpm_evidence.h"
#include "stage/verify_parts.h"

#define CODE_BINDING ATLAS_NAMESPACE ".attestation.binding"
#define CODE_REQUIRED ATLAS_NAMESPACE ".attestation.required"

struct evidence {
    struct atlas_verifier *v;
    uint32_t n;
    struct atlas_node *node;
    struct atlas_node_evidence *out;
    const struct kind *kind;
    struct atlas_digest report_data; /* what the manifest says that it must be */
    struct atlas_buf where;
};

static int fail(struct evidence *e, const char *code, enum atlas_answer answer, const char *text)
{
    snprintf(e->out->why, sizeof e->out->why, "%s", text);
    return atlas_report(e->v, e->n, ATLAS_SLOT_EVIDENCE, code, ATLAS_FAILED, answer, atlas_buf_span(&e->where), "%s",
                        text);
}

static int unproven(struct evidence *e, const char *text)
{
    struct atlas_span type = e->node->attestation.type;
    snprintf(e->out->why, sizeof e->out->why, "%s", text);
    return atlas_report(e->v, e->n, ATLAS_SLOT_COUNT, ATLAS_NAMESPACE ".attestation.unproven", ATLAS_NOTE, ATLAS_VALID,
                        atlas_buf_span(&e->where), "%.*s: %s", (int)type.n, (const char *)type.p, text);
}

/* ------------------------------------------------------------------------------------------------------ kinds */

static int tdx_report_data(struct atlas_span evidence, struct atlas_span *ret_data, struct atlas_error *error)
{
    struct atlas_tdx_quote quote;
    int rc = atlas_tdx_quote_read(evidence, &quote, error);
    if (rc >= 0) {
        *ret_data = quote.body.report_data;
    }
    return rc;
}

static int snp_report_data(struct atlas_span evidence, struct atlas_span *ret_data, struct atlas_error *error)
{
    struct atlas_snp_report report;
    int rc = atlas_snp_report_read(evidence, &report, error);
    if (rc >= 0) {
        *ret_data = report.report_data;
    }
    return rc;
}

/* The qualifying data of the quote: a TPM takes fewer than 64 bytes. */
static int tpm_report_data(struct atlas_span evidence, struct atlas_span *ret_data, struct atlas_error *error)
{
    struct atlas_tpm_evidence e;
    struct atlas_tpm_attest quote;
    int rc;
    ATLAS_TRY(atlas_tpm_evidence_read(evidence, &e, error));
    ATLAS_TRY(atlas_tpm_attest_read(e.quote, &quote, error));
    *ret_data = quote.extra;
out:
    return rc;
}

struct kind {
    const char *type;
    int (*report_data)(struct atlas_span evidence, struct atlas_span *ret_data, struct atlas_error *error);
    int (*verify)(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                  struct atlas_error *error);
    bool qualified; /* the evidence holds the SHA-256 of the report data */
};

static const struct kind kinds[] = {
    {ATLAS_NAMESPACE ".tdx", tdx_report_data, atlas_attest_tdx, false},
    {ATLAS_NAMESPACE ".snp", snp_report_data, atlas_attest_snp, false},
    {ATLAS_NAMESPACE ".tpm", tpm_report_data, atlas_attest_tpm, true},
    {ATLAS_NAMESPACE ".azure", tpm_report_data, atlas_attest_azure, true},
};

static const struct kind *kind_of(struct atlas_span type)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (atlas_span_equal(type, atlas_span_str(kinds[i].type))) {
            return &kinds[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------- binding */

/* The claim as it was before the attestation was added. */
static int partial_claim(const struct atlas_node *node, struct atlas_digest *ret_digest, struct atlas_error *error)
{
    struct atlas_buf partial = ATLAS_BUF_INIT;
    int rc;
    ATLAS_TRY(atlas_c2pa_claim_partial(node->manifest.claim_cbor, &node->claim, &partial, error));
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, atlas_buf_span(&partial), ret_digest, error));
out:
    atlas_buf_release(&partial);
    return rc;
}

/* What the manifest itself says takes the place of what the assertion says: only time and nonce are its own. */
static int expect(struct evidence *e, struct atlas_certificate *signer, struct atlas_digest *partial,
                  struct atlas_attestation_binding *ret_binding, struct atlas_error *error)
{
    struct atlas_attestation_binding binding = e->node->attestation.binding;
    int rc;
    ATLAS_TRY(atlas_certificate_read(e->node->leaf, signer, error));
    binding.pub_key = signer->spki;
    if (binding.partial.p != NULL) {
        ATLAS_TRY(partial_claim(e->node, partial, error));
        binding.partial = atlas_digest_span(partial);
    } else {
        binding.run = e->node->run.run;
    }
    *ret_binding = binding;
    rc = ATLAS_OK;
out:
    return rc;
}

static int digest_binding(const struct atlas_attestation_binding *binding,
                          struct atlas_digest *ret_digest, struct atlas_error *error)
{
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    int rc;
    ATLAS_TRY(atlas_attestation_binding_write(&tbs, binding, error));
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA512, atlas_buf_span(&tbs), ret_digest, error));
out:
    atlas_buf_release(&tbs);
    return rc;
}

/* Which step and run it was has been taken out by somebody further down. */
static bool is_run_redacted(const struct atlas_verifier *v, uint32_t n)
{
    for (size_t i = 0; i < v->n_redactions; i++) {
        if (v->redactions[i].target == n && atlas_c2pa_kind(v->redactions[i].label) == ATLAS_C2PA_RUN) {
            return true;
        }
    }
    return false;
}

static bool is_zero(struct atlas_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != 0) {
            return false;
        }
    }
    return true;
}

/* ret_bound: what the hardware signed is this manifest's binding. Otherwise the reason was reported. */
static int check_binding(struct evidence *e, bool *ret_bound, struct atlas_error *error)
{
    const struct atlas_attestation_binding *said = &e->node->attestation.binding;
    struct atlas_attestation_binding binding;
    struct atlas_certificate signer;
    struct atlas_digest partial, expected;
    struct atlas_span data;
    struct atlas_error why = ATLAS_ERROR_INIT;
    int rc;
    ATLAS_TRY(expect(e, &signer, &partial, &binding, error));
    if (!atlas_span_equal(said->pub_key, binding.pub_key)) {
        return fail(e, CODE_BINDING, ATLAS_INVALID, "the evidence speaks of another key than the signer's");
    }
    if (!atlas_span_equal(said->partial, binding.partial)) {
        return fail(e, CODE_BINDING, ATLAS_INVALID, "the evidence speaks of another claim");
    }
    if (said->run.p != NULL && binding.run.p == NULL && is_run_redacted(e->v, e->n)) {
        return unproven(e, "the run that it speaks of was redacted");
    }
    if (said->run.p != NULL && !atlas_span_equal(said->run, binding.run)) {
        return fail(e, CODE_BINDING, ATLAS_INVALID, "the evidence speaks of another run");
    }
    ATLAS_TRY(digest_binding(&binding, &e->report_data, error));
    if (e->kind->report_data(e->node->attestation.results, &data, &why) < 0) {
        return atlas_report_error(e->v, e->n, ATLAS_SLOT_EVIDENCE, ATLAS_NAMESPACE ".attestation.malformed",
                                  ATLAS_MALFORMED, atlas_buf_span(&e->where), &why);
    }
    expected = e->report_data;
    if (e->kind->qualified) {
        ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, atlas_digest_span(&e->report_data), &expected, error));
    }
    if (!atlas_span_equal_ct(data, atlas_digest_span(&expected))) {
        return fail(e, CODE_BINDING, ATLAS_INVALID,
                    is_zero(data) ? "the evidence was made for nothing: its report data is zero"
                                  : "the evidence was made for something else");
    }
    *ret_bound = true;
    rc = ATLAS_OK;
out:
    return rc;
}

/* --------------------------------------------------------------------------------------------------- evidence */

static int add_carried(struct atlas_collateral *c, struct atlas_span list, struct atlas_error *error)
{
    struct atlas_cbor files;
    int rc = ATLAS_OK;
    if (list.p == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_cbor_open_list(&files, list, "collateral", error));
    while (atlas_cbor_more(&files)) {
        struct atlas_span file;
        ATLAS_TRY(atlas_cbor_take_bytes(&files, &file));
        ATLAS_TRY(atlas_collateral_add(c, file, error));
    }
out:
    return rc;
}

static int add_collateral(const struct evidence *e, struct atlas_collateral *c, struct atlas_error *error)
{
    const struct atlas_verify_policy *policy = &e->v->policy;
    int rc = ATLAS_OK;
    if (policy->n_collateral == 0) {
        return add_carried(c, e->node->attestation.collateral, error);
    }
    for (size_t i = 0; i < policy->n_collateral; i++) {
        ATLAS_TRY(atlas_collateral_add(c, policy->collateral[i], error));
    }
out:
    return rc;
}

/* Judged at the time of the signature, as the certificates are. */
static int run_verifier(struct evidence *e, struct atlas_error *why)
{
    struct atlas_collateral *collateral = NULL;
    struct atlas_attest_request request = {.evidence = e->node->attestation.results,
                                           .policy = e->v->appraisal,
                                           .at = e->node->signed_at,
                                           .report_data = atlas_digest_span(&e->report_data),
                                           .event_log = e->node->attestation.event_log,
                                           .runtime_log = e->node->attestation.runtime_log,
                                           .anchor = e->v->policy.evidence_anchor};
    int rc;
    ATLAS_TRY(atlas_collateral_new(&collateral, why));
    ATLAS_TRY(add_collateral(e, collateral, why));
    request.collateral = collateral;
    ATLAS_TRY(e->kind->verify(&request, &e->out->result, why));
    e->out->view.result = &e->out->result;
    e->out->view.holds = atlas_attest_holds(&e->out->result);
out:
    atlas_collateral_free(collateral);
    return rc;
}

static const struct atlas_attest_check *first_failure(const struct atlas_attest *result)
{
    for (size_t i = 0; i < result->n_checks; i++) {
        if (result->checks[i].outcome == ATLAS_CHECK_FAILED) {
            return &result->checks[i];
        }
    }
    return NULL;
}

/* Why evidence that was verified does not hold. */
static void explain(struct evidence *e)
{
    const struct atlas_attest *r = &e->out->result;
    const struct atlas_attest_check *check = first_failure(r);
    char *why = e->out->why;
    size_t size = sizeof e->out->why;
    if (check != NULL) {
        snprintf(why, size, "%s: %s", check->id, check->text);
    } else if (r->signature && !r->hardware_rooted) {
        snprintf(why, size, "verified under a given root (%s), not under the hardware vendor's own", r->anchor);
    } else if (r->appraisal == ATLAS_APPRAISAL_UNKNOWN_SOFTWARE) {
        snprintf(why, size, "genuine hardware, unknown software: the appraisal policy names no measurement");
    } else {
        snprintf(why, size, "something that the policy needs could not be checked");
    }
}

/* A signature of the evidence itself that is wrong, while everything it was checked with came along: forged. */
static bool is_forged(const struct evidence *e)
{
    const struct atlas_attest_check *check = first_failure(&e->out->result);
    return e->v->policy.n_collateral == 0 && check != NULL && check->group == ATLAS_GROUP_SIGNATURE &&
           check->code == ATLAS_E_SIGNATURE;
}

static int judge(struct evidence *e)
{
    struct atlas_error why = ATLAS_ERROR_INIT;
    const char *mode = e->out->view.mode == ATLAS_EVIDENCE_ARTIFACT ? "artifact" : "session";
    struct atlas_span type = e->node->attestation.type;
    int rc = run_verifier(e, &why);
    if (rc == ATLAS_E_NOMEM) {
        return rc;
    }
    if (rc < 0) {
        snprintf(e->out->why, sizeof e->out->why, "%s: %s", why.where, why.text);
    } else if (!e->out->view.holds) {
        explain(e);
    }
    if (rc >= 0 && is_forged(e)) {
        return fail(e, ATLAS_NAMESPACE ".attestation.forged", ATLAS_INVALID, "the hardware did not sign this evidence");
    }
    if (e->out->view.holds) {
        return atlas_report(e->v, e->n, ATLAS_SLOT_EVIDENCE, ATLAS_NAMESPACE ".attestation.holds", ATLAS_PASSED,
                            ATLAS_VALID, atlas_buf_span(&e->where), "%.*s, bound to this %s: attested", (int)type.n,
                            (const char *)type.p, mode);
    }
    return atlas_report(e->v, e->n, ATLAS_SLOT_COUNT, ATLAS_NAMESPACE ".attestation.unproven", ATLAS_NOTE, ATLAS_VALID,
                        atlas_buf_span(&e->where), "%.*s, bound to this %s, does not hold: %s", (int)type.n,
                        (const char *)type.p, mode, e->out->why);
}

static int verify(struct evidence *e, struct atlas_error *error)
{
    struct atlas_evidence_view *view = &e->out->view;
    int rc;
    view->type = e->node->attestation.type;
    view->mode = e->node->attestation.binding.partial.p != NULL ? ATLAS_EVIDENCE_ARTIFACT : ATLAS_EVIDENCE_SESSION;
    e->kind = kind_of(view->type);
    if (e->kind == NULL) {
        return unproven(e, "a kind of evidence that is not known here");
    }
    ATLAS_TRY(check_binding(e, &view->bound, error));
    if (view->bound) {
        ATLAS_TRY(judge(e));
    }
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------------ rules */

static bool names(const struct atlas_node *node, const struct atlas_evidence_rule *rule)
{
    return rule->step.p == NULL || (node->run.step.p != NULL && atlas_span_equal(rule->step, node->run.step));
}

/* A manifest whose step was redacted may be of any: else a redaction could take the demand away. */
static bool applies(const struct atlas_verifier *v, const struct atlas_evidence_rule *rule, uint32_t n)
{
    return names(&v->nodes[n], rule) || (v->nodes[n].run.step.p == NULL && is_run_redacted(v, n));
}

static enum atlas_evidence_mode demanded(const struct atlas_verifier *v, uint32_t n)
{
    enum atlas_evidence_mode most = ATLAS_EVIDENCE_NONE;
    for (size_t i = 0; i < v->policy.n_evidence; i++) {
        if (applies(v, &v->policy.evidence[i], n) && v->policy.evidence[i].mode > most) {
            most = v->policy.evidence[i].mode;
        }
    }
    return most;
}

static int check_demand(struct evidence *e, enum atlas_evidence_mode mode)
{
    const struct atlas_evidence_view *view = e->out != NULL ? &e->out->view : NULL;
    struct atlas_span where = e->node->box.label;
    if (view == NULL) {
        return atlas_report(e->v, e->n, ATLAS_SLOT_EVIDENCE, CODE_REQUIRED, ATLAS_FAILED, ATLAS_INCOMPLETE, where,
                            "the policy demands hardware evidence, and there is none");
    }
    if (view->mode < mode) {
        return atlas_report(e->v, e->n, ATLAS_SLOT_EVIDENCE, CODE_REQUIRED, ATLAS_FAILED, ATLAS_UNTRUSTED, where,
                            "the policy demands evidence for the artifact, and there is only evidence for the session");
    }
    if (!view->holds) {
        return atlas_report(e->v, e->n, ATLAS_SLOT_EVIDENCE, CODE_REQUIRED, ATLAS_FAILED, ATLAS_UNTRUSTED, where,
                            "the policy demands hardware evidence, and it does not hold: %s", e->out->why);
    }
    return ATLAS_OK;
}

int atlas_check_evidence_rules(struct atlas_verifier *v, struct atlas_error *error)
{
    for (size_t i = 0; i < v->policy.n_evidence; i++) {
        const struct atlas_evidence_rule *rule = &v->policy.evidence[i];
        bool found = rule->step.p == NULL;
        for (size_t n = 0; n < v->n_nodes && !found; n++) {
            found = names(&v->nodes[n], rule);
        }
        if (!found && v->n_nodes != 0 &&
            atlas_report(v, 0, ATLAS_SLOT_EVIDENCE, CODE_REQUIRED, ATLAS_FAILED, ATLAS_INCOMPLETE,
                         v->nodes[0].box.label, "the policy demands hardware evidence for the step %.*s, and no "
                         "manifest of this chain names that step", (int)rule->step.n, (const char *)rule->step.p) < 0) {
            return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
        }
    }
    return ATLAS_OK;
}

int atlas_check_evidence(struct atlas_verifier *v, uint32_t n, struct atlas_error *error)
{
    struct evidence e = {.v = v, .n = n, .node = &v->nodes[n], .where = ATLAS_BUF_INIT};
    enum atlas_evidence_mode mode = demanded(v, n);
    int rc = ATLAS_OK;
    if (e.node->has_attestation && e.node->leaf.p != NULL) {
        ATLAS_TRY(atlas_node_uri(e.node, ATLAS_C2PA_TARGET_ASSERTION, ATLAS_LABEL_ATTESTATION, &e.where));
        e.node->evidence = e.out = calloc(1, sizeof *e.out);
        if (e.out == NULL) {
            ATLAS_TRY(ATLAS_E_NOMEM);
        }
        ATLAS_TRY(verify(&e, error));
        e.out->view.why = e.out->view.holds ? ATLAS_SPAN_NONE : atlas_span_str(e.out->why);
    }
    if (mode != ATLAS_EVIDENCE_NONE) {
        ATLAS_TRY(check_demand(&e, mode));
    }
    atlas_slot_set(&v->nodes[n], ATLAS_SLOT_EVIDENCE, mode != ATLAS_EVIDENCE_NONE ? ATLAS_PASSED : ATLAS_NOT_REQUIRED);
out:
    atlas_buf_release(&e.where);
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}
