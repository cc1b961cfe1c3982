/* attest_tpm.c - a TPM 2.0 quote: key, signature, PCRs, the run-time log in its NV index (TCG TPM 2.0 Library). */
#include "stage/attest_tpm.h"

#include <stdio.h>

static const char where[] = "TPM quote";

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static int mismatch(struct atlas_error *error, const char *text)
{
    return atlas_error_set(error, ATLAS_E_MISMATCH, where, "%s", text);
}

/* ------------------------------------------------------------------------------------------------------- keys */

int atlas_tpm_spki(const struct atlas_tpm_public *key, struct atlas_buf *ret_spki, struct atlas_error *error)
{
    if (key->type == ATLAS_TPM_RSA) {
        return atlas_spki_from_rsa(key->modulus, key->exponent, ret_spki, error);
    }
    return atlas_spki_from_point(key->curve == 3 ? 32 : 48, key->x, key->y, ret_spki, error);
}

/* Part 1, 16: a name is the algorithm and the digest of the public area. */
static int append_name(uint16_t algorithm, struct atlas_span area, struct atlas_buf *ret_name,
                       struct atlas_error *error)
{
    struct atlas_digest digest;
    enum atlas_alg alg = atlas_tpm_hash(algorithm);
    if (alg == ATLAS_ALG_NONE) {
        return atlas_error_set(error, ATLAS_E_UNSUPPORTED, where, "a name by a hash that is not allowed");
    }
    int rc = atlas_crypto_digest((int)alg, area, &digest, error);
    if (rc < 0) {
        return rc;
    }
    atlas_buf_append_u8(ret_name, (uint8_t)(algorithm >> 8));
    atlas_buf_append_u8(ret_name, (uint8_t)algorithm);
    atlas_buf_append(ret_name, atlas_digest_span(&digest));
    return atlas_buf_check(ret_name, error);
}

int atlas_tpm_name(const struct atlas_tpm_public *key, struct atlas_buf *ret_name, struct atlas_error *error)
{
    return append_name(key->name_hash, key->whole, ret_name, error);
}

/* Restricted: the key signs TPM_GENERATED_VALUE only in what the TPM itself made. fixedTPM: it never was elsewhere. */
int atlas_tpm_ak_check(const struct atlas_tpm_public *key, struct atlas_error *error)
{
    const uint32_t wanted = ATLAS_TPM_RESTRICTED | ATLAS_TPM_SIGN | ATLAS_TPM_FIXED_TPM | ATLAS_TPM_FIXED_PARENT |
                            ATLAS_TPM_SENSITIVE_ORIGIN;
    if ((key->attributes & (wanted | ATLAS_TPM_DECRYPT)) != wanted) {
        return atlas_error_set(error, ATLAS_E_CREDENTIAL, where,
                               "the key is no attestation key: it may sign anything, or may be a copy");
    }
    if (key->scheme == ATLAS_TPM_NULL || atlas_tpm_hash(key->scheme_hash) == ATLAS_ALG_NONE) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, where, "the key signs with a hash that is not allowed");
    }
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------------- signatures */

/* r || s, each filled up to the size of the curve. */
static bool join(const struct atlas_tpm_signature *s, size_t half, uint8_t raw[96])
{
    memset(raw, 0, 2 * half);
    if (s->r.n > half || s->s.n > half) {
        return false;
    }
    memcpy(raw + half - s->r.n, s->r.p, s->r.n);
    memcpy(raw + 2 * half - s->s.n, s->s.p, s->s.n);
    return true;
}

static int verify_signature(const struct atlas_tpm_run *run, struct atlas_span message, struct atlas_span bytes,
                            struct atlas_error *error)
{
    uint8_t raw[96];
    struct atlas_tpm_signature s;
    size_t half = run->ak.curve == 3 ? 32 : 48;
    int rc = atlas_tpm_signature_read(bytes, &s, error);
    if (rc < 0) {
        return rc;
    }
    if (s.scheme != run->ak.scheme || s.hash != run->ak.scheme_hash) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, where, "the signature is not by the scheme of its key");
    }
    enum atlas_tpm_form form = s.scheme == ATLAS_TPM_ECDSA    ? ATLAS_FORM_ECDSA
                               : s.scheme == ATLAS_TPM_RSAPSS ? ATLAS_FORM_RSAPSS
                                                              : ATLAS_FORM_RSASSA;
    struct atlas_span signature = s.rsa;
    if (form == ATLAS_FORM_ECDSA) {
        if (!join(&s, half, raw)) {
            return atlas_error_set(error, ATLAS_E_EVIDENCE, where, "a signature that does not fit its curve");
        }
        signature = atlas_span_of(raw, 2 * half);
    }
    return atlas_tpm_verify(form, (int)atlas_tpm_hash(s.hash), atlas_buf_span(&run->spki), message, signature, error);
}

static int check_signed(const struct atlas_tpm_run *run, struct atlas_span message, struct atlas_span signature,
                        struct atlas_error *error)
{
    int rc = verify_signature(run, message, signature, error);
    if (rc == ATLAS_E_SIGNATURE && error != NULL) {
        *error = ATLAS_ERROR_INIT;
        return atlas_error_set(error, rc, where, "not signed by the attestation key that came with it");
    }
    return rc;
}

/* -------------------------------------------------------------------------------------------- signature group */

static int check_key(void *context, struct atlas_error *error)
{
    struct atlas_tpm_run *run = context;
    int rc = atlas_tpm_ak_check(&run->ak, error);
    return rc < 0 ? rc : atlas_tpm_spki(&run->ak, &run->spki, error);
}

static int check_quote(void *context, struct atlas_error *error)
{
    struct atlas_tpm_run *run = context;
    if (run->quote.type != ATLAS_TPM_ATTEST_QUOTE) {
        return mismatch(error, "the TPM signed something else than a quote");
    }
    return check_signed(run, run->evidence.quote, run->evidence.signature, error);
}

/* Part 1, 16.5: a qualified name is the digest of the parent's and the object's; a hierarchy's name is its handle. */
static int qualified_name(const struct atlas_tpm_public *ak, uint32_t hierarchy, struct atlas_buf *ret_name,
                          struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_buf message = ATLAS_BUF_INIT;
    atlas_buf_append_be32(&message, hierarchy);
    ATLAS_TRY(atlas_tpm_name(ak, &message, error));
    ATLAS_TRY(append_name(ak->name_hash, atlas_buf_span(&message), ret_name, error));
out:
    atlas_buf_release(&message);
    return rc;
}

/* The quote names the key that signed it, and the name covers what kind of key it is: otherwise the attributes would be
 * the word of whoever carried them here. Keys that are no primaries have parents that are not here. */
static int check_name(void *context, struct atlas_error *error)
{
    static const uint32_t hierarchies[] = {0x4000000B, 0x40000001, 0x4000000C}; /* endorsement, owner, platform */
    struct atlas_tpm_run *run = context;
    if (run->tee) {
        return ATLAS_STEP_NOT_APPLICABLE; /* the hardware vouches for the key, and only Azure's firmware made it */
    }
    for (size_t i = 0; i < COUNT(hierarchies); i++) {
        struct atlas_buf name = ATLAS_BUF_INIT;
        int rc = qualified_name(&run->ak, hierarchies[i], &name, error);
        bool found = rc >= 0 && atlas_span_equal(atlas_buf_span(&name), run->quote.signer);
        atlas_buf_release(&name);
        if (rc < 0 || found) {
            return rc;
        }
    }
    return mismatch(error, "the quote does not name the key that came with it as a primary key");
}

static size_t bank_size(const struct atlas_tpm_selection *bank)
{
    return bank->hash == ATLAS_TPM_SHA1 ? 20 : atlas_alg_size((int)atlas_tpm_hash(bank->hash));
}

/* The value of a PCR among those that came with the quote; p == NULL: it was not quoted. Values that are too few show
 * as NULL too. */
static struct atlas_span find_pcr(const struct atlas_tpm_run *run, uint16_t hash, unsigned index, size_t *ret_total)
{
    struct atlas_span found = ATLAS_SPAN_NONE;
    size_t at = 0;
    for (size_t i = 0; i < run->quote.n_banks; i++) {
        const struct atlas_tpm_selection *bank = &run->quote.banks[i];
        for (unsigned n = 0; n < ATLAS_TPM_PCRS; n++) {
            if (!atlas_tpm_selected(bank, n)) {
                continue;
            }
            if (bank->hash == hash && n == index) {
                found = atlas_span_sub(run->evidence.pcrs, at, bank_size(bank));
            }
            at += bank_size(bank);
        }
    }
    if (ret_total != NULL) {
        *ret_total = at;
    }
    return found;
}

struct atlas_span atlas_tpm_run_pcr(const struct atlas_tpm_run *run, uint16_t hash, unsigned index)
{
    return find_pcr(run, hash, index, NULL);
}

/* Part 3, 18.4: the digest, by the hash of the signature, of the values one after the other. */
static int check_pcrs(void *context, struct atlas_error *error)
{
    struct atlas_tpm_run *run = context;
    struct atlas_digest digest;
    size_t total = 0;
    for (size_t i = 0; i < run->quote.n_banks; i++) {
        if (bank_size(&run->quote.banks[i]) == 0) {
            return atlas_error_set(error, ATLAS_E_UNSUPPORTED, where, "a PCR bank of an unknown hash");
        }
    }
    (void)find_pcr(run, 0, 0, &total);
    if (total != run->evidence.pcrs.n) {
        return mismatch(error, "not as many PCR values as were quoted");
    }
    int rc = atlas_crypto_digest((int)atlas_tpm_hash(run->ak.scheme_hash), run->evidence.pcrs, &digest, error);
    if (rc >= 0 && !atlas_span_equal_ct(atlas_digest_span(&digest), run->quote.pcr_digest)) {
        rc = mismatch(error, "the PCR values are not those that were quoted");
    }
    return rc;
}

/* ----------------------------------------------------------------------------------------------- the NV log */

/* Only an index that can be extended and nothing else keeps what it was told; the name covers its attributes. */
static int check_nv_index(const struct atlas_tpm_nv *index, struct atlas_error *error)
{
    if ((index->attributes & ATLAS_TPM_NV_TYPE_MASK) != ATLAS_TPM_NV_EXTEND) {
        return mismatch(error, "the NV index of the log can be overwritten");
    }
    if ((index->attributes & ATLAS_TPM_NV_WRITTEN) == 0 || index->name_hash != ATLAS_TPM_SHA256 || index->size != 32) {
        return mismatch(error, "the NV index of the log was never extended, or not with SHA-256");
    }
    return ATLAS_OK;
}

static int check_nv_name(const struct atlas_tpm_run *run, const struct atlas_tpm_nv *index, struct atlas_error *error)
{
    struct atlas_buf name = ATLAS_BUF_INIT;
    int rc = append_name(index->name_hash, index->whole, &name, error);
    if (rc >= 0 && !atlas_span_equal(atlas_buf_span(&name), run->nv.name)) {
        rc = mismatch(error, "the certified NV index is not the one that came with it");
    }
    atlas_buf_release(&name);
    return rc;
}

/* Certified in the same collection as the quote: same qualifying data, same boot. */
static int check_nv(void *context, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_tpm_run *run = context;
    const struct atlas_tpm_nv_evidence *nv = &run->evidence.nv;
    struct atlas_tpm_nv index;
    if (nv->public.p == NULL) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    ATLAS_TRY(atlas_tpm_nv_read(nv->public, &index, error));
    ATLAS_TRY(atlas_tpm_attest_read(nv->certify, &run->nv, error));
    if (run->nv.type != ATLAS_TPM_ATTEST_NV || run->nv.offset != 0 || run->nv.value.n != 32) {
        ATLAS_TRY(mismatch(error, "the TPM certified something else than the whole NV index"));
    }
    ATLAS_TRY(check_signed(run, nv->certify, nv->signature, error));
    ATLAS_TRY(check_nv_index(&index, error));
    ATLAS_TRY(check_nv_name(run, &index, error));
    if (!atlas_span_equal(run->nv.extra, run->quote.extra) || run->nv.resets != run->quote.resets ||
        run->nv.restarts != run->quote.restarts) {
        ATLAS_TRY(mismatch(error, "the log was not certified together with the quote"));
    }
out:
    return rc;
}

static int extend_line(struct atlas_hasher *hasher, struct atlas_span line, uint8_t value[32],
                       struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_digest digest;
    ATLAS_TRY(atlas_hasher_update(hasher, line, error));
    ATLAS_TRY(atlas_hasher_final(hasher, &digest, error));
    ATLAS_TRY(atlas_hasher_update(hasher, atlas_span_of(value, 32), error));
    ATLAS_TRY(atlas_hasher_update(hasher, atlas_digest_span(&digest), error));
    ATLAS_TRY(atlas_hasher_final(hasher, &digest, error));
    memcpy(value, digest.b, 32);
out:
    return rc;
}

int atlas_tpm_log_replay(struct atlas_span log, const uint8_t initial[32], uint8_t ret_value[32],
                         struct atlas_error *error)
{
    int rc = ATLAS_OK;
    uint8_t value[32];
    struct atlas_hasher hasher = ATLAS_HASHER_INIT;
    memcpy(value, initial, sizeof value);
    ATLAS_TRY(atlas_hasher_init(&hasher, ATLAS_SHA256, error));
    while (log.n != 0) {
        struct atlas_span line;
        struct atlas_span newline;
        const uint8_t *end = memchr(log.p, '\n', log.n);
        if (end == NULL) {
            ATLAS_TRY(atlas_error_set(error, ATLAS_E_EVIDENCE, "log", "the last line has no end"));
        }
        (void)atlas_span_take(&log, (size_t)(end - log.p), &line);
        (void)atlas_span_take(&log, 1, &newline);
        ATLAS_TRY(extend_line(&hasher, line, value, error));
    }
    memcpy(ret_value, value, sizeof value);
out:
    atlas_hasher_release(&hasher);
    return rc;
}

static int check_nv_log(void *context, struct atlas_error *error)
{
    static const uint8_t zeros[32] = {0};
    struct atlas_tpm_run *run = context;
    uint8_t value[32];
    struct atlas_span initial = run->evidence.nv.initial;
    if (run->evidence.nv.public.p == NULL) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    if (initial.p != NULL && initial.n != 32) {
        return mismatch(error, "a log that starts from a value of another size");
    }
    int rc = atlas_tpm_log_replay(run->evidence.nv.log, initial.p != NULL ? initial.p : zeros, value, error);
    if (rc >= 0 && !atlas_span_equal_ct(atlas_span_of(value, 32), run->nv.value)) {
        rc = mismatch(error, "the log does not lead to the value of its NV index: an entry is missing, added or moved");
    }
    return rc;
}

/* What came before the log's first line is known to nobody. */
static int check_nv_start(void *context, struct atlas_error *error)
{
    struct atlas_tpm_run *run = context;
    struct atlas_span initial = run->evidence.nv.initial;
    uint8_t any = 0;
    for (size_t i = 0; i < initial.n; i++) {
        any |= initial.p[i];
    }
    return any == 0 ? ATLAS_STEP_NOT_APPLICABLE
                    : atlas_step_say(error, ATLAS_STEP_WARNING,
                                     "the log goes on where an earlier one, which is not here, ended");
}

static int check_events(void *context, struct atlas_error *error)
{
    return atlas_tpm_events_check(context, error);
}

static int check_trust(void *context, struct atlas_error *error)
{
    return atlas_tpm_trust_check(context, error);
}

static int check_revocation(void *context, struct atlas_error *error)
{
    const struct atlas_tpm_run *run = context;
    if (run->result->trust != ATLAS_TRUST_CERTIFIED) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    return run->uncovered ? atlas_step_say(error, ATLAS_STEP_NOT_CHECKED, "no revocation list was given") : ATLAS_OK;
}

/* -------------------------------------------------------------------------------------------------- appraisal */

/* The policy may call a key hardware; a TPM that is a program makes that false. */
static int check_hardware(void *context, struct atlas_error *error)
{
    struct atlas_tpm_run *run = context;
    run->result->software = atlas_tpm_is_software(run);
    if (run->tee) {
        return ATLAS_STEP_NOT_APPLICABLE; /* the confidential VM's own evidence says what it is rooted in */
    }
    if (!run->labelled) {
        return atlas_step_say(error, ATLAS_STEP_WARNING, run->result->software
                                                             ? "a software TPM: not hardware"
                                                             : "the policy does not say that this key is in hardware");
    }
    if (run->result->software) {
        return mismatch(error, "the policy says that this key is in hardware, but it is of a software TPM");
    }
    /* A CA that looked at the endorsement certificate copied the manufacturer from it. */
    if (run->result->trust == ATLAS_TRUST_CERTIFIED && run->names.manufacturer[0] == '\0') {
        return mismatch(error, "the policy says that this key is in hardware, but its certificate names no TPM");
    }
    run->result->hardware_rooted = true;
    return ATLAS_OK;
}

static int check_unchecked(void *context, struct atlas_error *error)
{
    const struct atlas_tpm_run *run = context;
    if (run->result->trust != ATLAS_TRUST_CERTIFIED || !run->uncovered) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    return atlas_rule_apply(run->policy->revocation, error, "revocation of the key's certificate was not checked");
}

static int check_clock(void *context, struct atlas_error *error)
{
    const struct atlas_tpm_run *run = context;
    return run->quote.safe ? ATLAS_STEP_NOT_APPLICABLE
                           : atlas_step_say(error, ATLAS_STEP_WARNING, "the TPM's clock may have gone back");
}

static int compare_pcrs(struct atlas_tpm_run *run, const struct atlas_json *bank, uint16_t hash, const char *name,
                        struct atlas_error *error)
{
    for (unsigned i = 0; i < ATLAS_TPM_PCRS; i++) {
        char number[4];
        char text[40];
        snprintf(number, sizeof number, "%u", i);
        snprintf(text, sizeof text, "PCR %u (%s)", i, name);
        const struct atlas_json *list = atlas_json_member(bank, number);
        struct atlas_span value = list != NULL ? find_pcr(run, hash, i, NULL) : ATLAS_SPAN_NONE;
        if (list == NULL) {
            continue;
        }
        if (value.p == NULL) {
            return atlas_error_set(error, ATLAS_E_MISMATCH, where, "%s was not quoted", text);
        }
        int rc = atlas_policy_list_check(list, value, text, error);
        if (rc < 0) {
            return rc;
        }
        run->result->named_measurement = true;
    }
    return ATLAS_OK;
}

static int check_pcr_policy(void *context, struct atlas_error *error)
{
    static const uint16_t banks[] = {ATLAS_TPM_SHA256, ATLAS_TPM_SHA384, ATLAS_TPM_SHA512};
    struct atlas_tpm_run *run = context;
    if (run->policy->pcrs == NULL) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    for (size_t i = 0; i < COUNT(banks); i++) {
        const char *name = atlas_alg_name((int)atlas_tpm_hash(banks[i]));
        int rc = compare_pcrs(run, atlas_json_member(run->policy->pcrs, name), banks[i], name, error);
        if (rc < 0) {
            return rc;
        }
    }
    return ATLAS_OK;
}

static int check_log_policy(void *context, struct atlas_error *error)
{
    const struct atlas_tpm_run *run = context;
    if (!run->policy->require_log) {
        return ATLAS_STEP_NOT_APPLICABLE;
    }
    return run->evidence.nv.public.p != NULL ? ATLAS_OK
                                             : mismatch(error, "the policy wants a run-time log: there is none");
}

/* Qualifying data is at most as long as the TPM's largest digest, so what it must be is hashed. */
static int check_binding(void *context, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    static const uint8_t zeros[64] = {0};
    struct atlas_tpm_run *run = context;
    struct atlas_digest wanted;
    struct atlas_digest nothing;
    struct atlas_attest_request request = *run->request;
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, atlas_span_of(zeros, 64), &nothing, error));
    if (atlas_span_equal(atlas_digest_span(&nothing), run->quote.extra)) {
        return atlas_binding_check(&request, atlas_span_of(zeros, 64), run->result, error);
    }
    if (request.report_data.p != NULL) {
        ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, request.report_data, &wanted, error));
        request.report_data = atlas_digest_span(&wanted);
    }
    return atlas_binding_check(&request, run->quote.extra, run->result, error);
out:
    return rc;
}

static const struct atlas_step signature_steps[] = {
    {"tpm.key", ATLAS_GROUP_SIGNATURE, check_key},
    {"tpm.quote", ATLAS_GROUP_SIGNATURE, check_quote},
    {"tpm.name", ATLAS_GROUP_SIGNATURE, check_name},
    {"tpm.pcrs", ATLAS_GROUP_SIGNATURE, check_pcrs},
    {"tpm.nv", ATLAS_GROUP_SIGNATURE, check_nv},
    {"tpm.log", ATLAS_GROUP_SIGNATURE, check_nv_log},
    {"tpm.events", ATLAS_GROUP_SIGNATURE, check_events},
    {"tpm.trust", ATLAS_GROUP_SIGNATURE, check_trust},
    {"tpm.revocation", ATLAS_GROUP_SIGNATURE, check_revocation},
};

static const struct atlas_step judgement_steps[] = {
    {"tpm.hardware", ATLAS_GROUP_APPRAISAL, check_hardware},
    {"tpm.unchecked_revocation", ATLAS_GROUP_APPRAISAL, check_unchecked},
    {"tpm.clock", ATLAS_GROUP_APPRAISAL, check_clock},
    {"tpm.pcr_policy", ATLAS_GROUP_APPRAISAL, check_pcr_policy},
    {"tpm.log_policy", ATLAS_GROUP_APPRAISAL, check_log_policy},
    {"tpm.log_start", ATLAS_GROUP_APPRAISAL, check_nv_start},
    {"tpm.qualifying_data", ATLAS_GROUP_APPRAISAL, check_binding},
};

int atlas_tpm_run_init(struct atlas_tpm_run *run, const struct atlas_attest_request *request,
                       struct atlas_attest *result, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    *run = (struct atlas_tpm_run){.request = request, .result = result, .policy = &request->policy->tpm};
    ATLAS_TRY(atlas_tpm_evidence_read(request->evidence, &run->evidence, error));
    ATLAS_TRY(atlas_tpm_public_read(run->evidence.ak, &run->ak, error));
    ATLAS_TRY(atlas_tpm_attest_read(run->evidence.quote, &run->quote, error));
out:
    return rc;
}

void atlas_tpm_run_release(struct atlas_tpm_run *run)
{
    atlas_buf_release(&run->spki);
}

int atlas_tpm_run_checks(struct atlas_tpm_run *run, struct atlas_error *error)
{
    int rc = atlas_steps_run(signature_steps, COUNT(signature_steps), run, run->result, error);
    if (rc >= 0 && atlas_group_holds(run->result, ATLAS_GROUP_SIGNATURE)) {
        rc = atlas_steps_run(judgement_steps, COUNT(judgement_steps), run, run->result, error);
    }
    return rc;
}

int atlas_attest_tpm(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                     struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_attest result = {
        .kind = ATLAS_ATTEST_TPM, .at = request->at, .tcb_status = ATLAS_TCB_NOT_APPLICABLE};
    struct atlas_tpm_run run;
    ATLAS_TRY(atlas_tpm_run_init(&run, request, &result, error));
    ATLAS_TRY(atlas_logs_refuse(request, false, error));
    if (run.evidence.hcl.p != NULL) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_EVIDENCE, where, "evidence of an Azure machine: it is of kind azure"));
    }
    ATLAS_TRY(atlas_tpm_run_checks(&run, error));
    atlas_attest_conclude(&result);
    *ret_result = result;
out:
    atlas_tpm_run_release(&run);
    return rc;
}
