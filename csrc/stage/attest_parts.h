/* attest_parts.h - shared by the files of the attest stage. Included by nobody else. */
#ifndef ATLAS_STAGE_ATTEST_PARTS_H
#define ATLAS_STAGE_ATTEST_PARTS_H

#include "format/tcb_info.h"
#include "port/crypto/vendor.h"
#include "stage/attest.h"

/* --------------------------------------------------------------------------------------------- steps */

/* A verification is a table of steps. Each says ATLAS_OK (passed), a negative code with its sentence in *error (checked
 * and false, malformed or missing: the check failed; could not check: the verification ends), or one of these. */
enum atlas_step_result {
    ATLAS_STEP_NOT_APPLICABLE = 1, /* not listed */
    ATLAS_STEP_NOT_CHECKED = 2,    /* listed with the sentence in *error */
    ATLAS_STEP_WARNING = 3,        /* the same */
};

struct atlas_step {
    const char *id;
    enum atlas_attest_group group;
    int (*run)(void *context, struct atlas_error *error);
};

/* Run the table in order. After a failure in the signature group nothing else runs: unauthenticated bytes are not
 * interpreted. After a failure in another group its remaining steps still run, so that all reasons are known. */
int atlas_steps_run(const struct atlas_step *steps, size_t n, void *context, struct atlas_attest *result,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

/* No check of the group failed or was left out, and there was one. */
bool atlas_group_holds(const struct atlas_attest *result, enum atlas_attest_group group);

/* The three results, from the checks. */
void atlas_attest_conclude(struct atlas_attest *result);

/* A sentence for a step that is no failure. Returns `step`. */
int atlas_step_say(struct atlas_error *error, enum atlas_step_result step, const char *format, ...) ATLAS_PRINTF(3, 4);

/* ----------------------------------------------------------------------------------------- collateral */

/* A signed document and what of it was verified already. The verification of signatures does not depend on time; the
 * windows do, and are compared every time. */
struct atlas_signed_document {
    struct atlas_buf bytes;
    uint8_t signature[64];
    struct atlas_buf chain; /* DER, signer first */
    bool path_known;        /* the chain is good at the times of `path` */
    bool verified;          /* and so is the signature */
    struct atlas_pki_path path;
};

/* The chain of a device that was verified last. */
struct atlas_known_chain {
    struct atlas_buf ders;
    bool verified;
    unsigned flags;
    struct atlas_pki_path path;
};

struct atlas_collateral {
    struct atlas_pki *pki;
    struct atlas_signed_document tcb_info;
    struct atlas_signed_document qe_identity;
    struct atlas_buf pck_chain;    /* DER, PCK first; empty: in the quote */
    struct atlas_buf certificates; /* DER, everything else */
    struct atlas_buf alternate;    /* a second TCB signing chain among raw files */
    struct atlas_known_chain known;
    struct atlas_tcb_info info;          /* read once the signature was verified */
    struct atlas_qe_identity identity;
    size_t bytes;
};

/* Anchors to accept: the vendor's, or the one that the caller gave instead. */
struct atlas_anchors {
    const struct atlas_pin *pins;
    size_t n;
    struct atlas_pin own;
    bool vendor;
};

/* The request, as far as it does not depend on the kind. pins must outlive the result. */
int atlas_anchors_choose(const struct atlas_attest_request *request, const struct atlas_pin *pins, size_t n,
                         struct atlas_anchors *ret_anchors, struct atlas_error *error) ATLAS_MUST_CHECK;

/* A log that this kind of evidence has no register for is refused: unread, it would seem to have been checked. */
int atlas_logs_refuse(const struct atlas_attest_request *request, bool event_log, struct atlas_error *error);

/* Note the root that a verified path ended at. */
void atlas_anchors_note(const struct atlas_anchors *anchors, const struct atlas_pki_path *path,
                        struct atlas_attest *result);

/* The signer's chain, name, CRLs and window at `at`, then the signature, for one of the two documents. */
int atlas_document_signer_check(struct atlas_collateral *c, struct atlas_signed_document *document,
                                const struct atlas_anchors *anchors, int64_t at, const char *where,
                                struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_document_signature_check(struct atlas_signed_document *document, const char *where,
                                   struct atlas_error *error) ATLAS_MUST_CHECK;

/* atlas_pki_check for the chain of a device, leaf first. */
int atlas_device_chain_check(struct atlas_collateral *c, struct atlas_span ders, const struct atlas_anchors *anchors,
                             int64_t at, unsigned flags, const char *name, struct atlas_pki_path *ret_path,
                             struct atlas_error *error) ATLAS_MUST_CHECK;

/* Does the first certificate's common name hold this phrase? The way Intel's library tells roles apart. */
#define ATLAS_TCB_SIGNER_NAME "SGX TCB Signing"
#define ATLAS_PCK_NAME "SGX PCK Certificate"
int atlas_leaf_is(struct atlas_span ders, const char *phrase, bool *ret_is, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The chain in a pool of certificates in any order: the one that issued none of the others first, then all others. */
int atlas_pool_chain(const struct atlas_buf *certificates, const char *name, struct atlas_buf *ret_chain,
                     struct atlas_span *ret_leaf, struct atlas_error *error) ATLAS_MUST_CHECK;

/* --------------------------------------------------------------------------------------------- policy */

enum atlas_rule { ATLAS_RULE_REJECT = 0, ATLAS_RULE_WARN = 1, ATLAS_RULE_ALLOW = 2 };

enum atlas_tdx_register {
    ATLAS_REG_MRTD,
    ATLAS_REG_RTMR0,
    ATLAS_REG_RTMR1,
    ATLAS_REG_RTMR2,
    ATLAS_REG_RTMR3,
    ATLAS_REG_MRSEAM,
    ATLAS_REG_MRCONFIGID,
    ATLAS_REG_MROWNER,
    ATLAS_REG_MROWNERCONFIG,
    ATLAS_REG_MRSERVICETD,
    ATLAS_TDX_REGISTERS,
};

struct atlas_masked { /* (actual & mask) == value */
    uint64_t mask;
    uint64_t value;
};

struct atlas_tdx_policy {
    uint32_t accepted; /* bit per enum atlas_tcb_status */
    uint64_t collateral_grace;
    uint64_t platform_grace;
    uint64_t min_evaluation_number;
    int64_t min_tcb_date;
    const struct atlas_json *rejected_advisories;
    struct atlas_masked attributes;
    struct atlas_masked xfam;
    enum atlas_rule sept_ve_disable; /* what happens when the bit is clear */
    enum atlas_rule migratable;
    enum atlas_rule dynamic_platform;
    enum atlas_rule cached_keys;
    enum atlas_rule smt;
    enum atlas_rule log_start; /* what happens when nobody knows what came before the run-time log */
    bool require_log;          /* a run-time log must be there */
    const struct atlas_json *registers[ATLAS_TDX_REGISTERS]; /* allowed values; NULL: not named */
};

struct atlas_snp_policy {
    bool has_minimum;
    uint8_t bl, tee, snp, ucode, fmc; /* lowest accepted security patch levels */
    uint64_t min_guest_svn;
    uint64_t max_vmpl;
    struct atlas_masked guest_policy;
    enum atlas_rule revocation; /* what happens when no CRL speaks */
    const struct atlas_json *measurement;
    const struct atlas_json *host_data;
    const struct atlas_json *id_key_digest;
    const struct atlas_json *author_key_digest;
    const struct atlas_json *chip_id;
};

/* Security patch levels of AMD firmware; fmc -1 where the product has none. */
struct atlas_snp_levels {
    int16_t fmc, bl, tee, snp, ucode;
};

struct atlas_gpu_policy {
    enum atlas_rule revocation;
    const struct atlas_json *references; /* the operator's values; NULL: none */
};

struct atlas_tpm_policy {
    const struct atlas_json *keys;        /* [{"spki_sha256", "hardware"}]; NULL: none */
    const struct atlas_json *authorities; /* [{"certificate", "hardware"}]; NULL: none */
    const struct atlas_json *pcrs;        /* {"sha256": {"7": [values]}}; NULL: none is named */
    enum atlas_rule revocation;           /* what happens when no CRL speaks for a certified key */
    bool require_log;
};

struct atlas_attest_policy {
    struct atlas_json *document;
    bool require_binding;
    struct atlas_tdx_policy tdx;
    struct atlas_snp_policy snp;
    struct atlas_gpu_policy gpu;
    struct atlas_tpm_policy tpm;
};

int atlas_tpm_policy_read(const struct atlas_json *object, struct atlas_tpm_policy *ret_policy,
                          struct atlas_error *error);

/* One of the keys or authorities of the policy; false: there is no such entry. */
struct atlas_tpm_voucher {
    uint8_t spki_sha256[32];
    struct atlas_span certificate; /* PEM */
    bool hardware;
};
bool atlas_tpm_voucher_at(const struct atlas_json *list, size_t index, struct atlas_tpm_voucher *ret_voucher);

/* Is the value one of the list's? ATLAS_E_MISMATCH when not; not applicable when the policy does not name it. */
int atlas_policy_list_check(const struct atlas_json *list, struct atlas_span value, const char *name,
                            struct atlas_error *error);

/* The report data against what it must be, noted in the result. */
int atlas_binding_check(const struct atlas_attest_request *request, struct atlas_span report_data,
                        struct atlas_attest *result, struct atlas_error *error);

/* "reject", "warn", "allow"; absent: unchanged. `name` is the member's. */
int atlas_rule_read(struct atlas_span text, const char *name, enum atlas_rule *rule, struct atlas_error *error);

/* ATLAS_OK, a warning or a failure with this sentence, as the rule says. */
int atlas_rule_apply(enum atlas_rule rule, struct atlas_error *error, const char *text);

/* ------------------------------------------------------------------------------------------------ TCB */

/* What of the platform goes into the evaluation. */
struct atlas_platform {
    const struct atlas_pck *pck;
    uint16_t qe_svn;
};

/* One evaluation by Intel's rules for this TEE TCB SVN. */
int atlas_tcb_evaluate(const struct atlas_tcb_info *info, const struct atlas_qe_identity *identity,
                       const struct atlas_platform *platform, const uint8_t tee_tcb_svn[16],
                       struct atlas_tcb_evaluation *ret_evaluation, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The module identity for this TEE TCB SVN; NULL: Intel names none. */
const struct atlas_tdx_module *atlas_tcb_module(const struct atlas_tcb_info *info, const uint8_t tee_tcb_svn[16]);

/* What launch and current status say together. */
enum atlas_tcb_status atlas_tcb_relaunch(enum atlas_tcb_status launch, enum atlas_tcb_status current);

#endif
