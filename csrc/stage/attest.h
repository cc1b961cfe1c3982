/*
 * attest.h - stage 4: hardware evidence, verified offline at a given time.
 *
 *     collateral        what the vendor says: certificates, CRLs, TCB info; read from files, never fetched
 *     policy            what the relying party accepts; safe defaults
 *     atlas_attest_*    evidence + collateral + policy + time -> three results that are never mixed up
 *
 *   1. signature   is this evidence of genuine hardware, unchanged? (chains, CRLs, signatures, identities)
 *   2. tcb         is the platform's firmware current enough for the policy? status, advisories, dates, freshness
 *   3. appraisal   is this the software and configuration that the policy names?
 *
 * A result holds only when every check of its group was run and passed; nothing that was not checked counts as passed.
 * A policy that names no measurement never gives "attested", only "genuine hardware, unknown software". Evidence under
 * a root that is not the vendor's own (`anchor`) is never hardware-rooted.
 */
#ifndef ATLAS_STAGE_ATTEST_H
#define ATLAS_STAGE_ATTEST_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define ATLAS_MAX_COLLATERAL_BYTES (16u << 20) /* all of it together */
#define ATLAS_MAX_EVIDENCE_CHECKS 64
#define ATLAS_MAX_ADVISORIES 64
#define ATLAS_MAX_ADVISORY_NAME 31
#define ATLAS_MAX_RUNTIME_LOG_BYTES (4u << 20)
#define ATLAS_MAX_RUNTIME_LINE 8191

/* -------------------------------------------------------------------------------------------- collateral */

struct atlas_collateral; /* owner; remembers which of its signatures were verified, so one thread at a time */

int atlas_collateral_new(struct atlas_collateral **ret_collateral, struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_collateral_free(struct atlas_collateral *collateral);

/* Add one file; what it is shows from its bytes: a dcap-qvl bundle (JSON), the body of a PCS answer (TCB info, QE
 * identity), Intel's sgx_ql_qve_collateral_t as a dump, certificates (PEM, percent-encoded PEM, DER), CRLs (DER, PEM,
 * hexadecimal). Two documents for one purpose that differ are refused. */
int atlas_collateral_add(struct atlas_collateral *collateral, struct atlas_span bytes,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

/* ------------------------------------------------------------------------------------------------ policy */

struct atlas_attest_policy; /* owner; immutable */

/* From JSON (docs/attest.md has the schema and an example); bytes.p == NULL: the defaults. Unknown members are refused.
 */
int atlas_attest_policy_new(struct atlas_span bytes, struct atlas_attest_policy **ret_policy,
                            struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_attest_policy_free(struct atlas_attest_policy *policy);

/* ------------------------------------------------------------------------------------------------ result */

enum atlas_attest_kind {
    ATLAS_ATTEST_TDX = 1,
    ATLAS_ATTEST_SNP = 2,
    ATLAS_ATTEST_GPU = 3,
    ATLAS_ATTEST_TPM = 4,
    ATLAS_ATTEST_AZURE = 5, /* a TPM quote whose key a TDX quote or SEV-SNP report vouches for */
};

enum atlas_attest_group { ATLAS_GROUP_SIGNATURE = 1, ATLAS_GROUP_TCB = 2, ATLAS_GROUP_APPRAISAL = 3 };

enum atlas_attest_outcome {
    ATLAS_CHECK_NOT_RUN = 0, /* an earlier check failed */
    ATLAS_CHECK_PASSED = 1,
    ATLAS_CHECK_FAILED = 2,
    ATLAS_CHECK_NOT_CHECKED = 3, /* cannot be checked offline, or nothing was given to check it with */
    ATLAS_CHECK_WARNING = 4,     /* the policy wants to hear of it, no more */
};

struct atlas_attest_check {
    const char *id; /* "tdx.pck_chain": stable, for programs */
    uint8_t group;
    uint8_t outcome;
    int code; /* enum atlas_err of a failure */
    char text[200];
};

enum atlas_attest_answer {
    ATLAS_APPRAISAL_NOT_RUN = 0,
    ATLAS_APPRAISAL_REJECTED = 1,
    ATLAS_APPRAISAL_UNKNOWN_SOFTWARE = 2, /* genuine hardware, but the policy names no measurement */
    ATLAS_APPRAISAL_ATTESTED = 3,
};

enum atlas_attest_binding {
    ATLAS_BINDING_ABSENT = 0, /* nothing was given to compare the report data with */
    ATLAS_BINDING_MATCHED = 1,
    ATLAS_BINDING_MISMATCH = 2,
    ATLAS_BINDING_ZERO = 3, /* the evidence was made for nothing */
};

/* Who says that the attestation key of a TPM is kept by a TPM. */
enum atlas_attest_trust {
    ATLAS_TRUST_NONE = 0,          /* not a TPM, or not checked */
    ATLAS_TRUST_SELF_ASSERTED = 1, /* nobody but the key: anybody can make such a quote without a TPM. Never valid */
    ATLAS_TRUST_PINNED = 2,        /* the policy names the key */
    ATLAS_TRUST_CERTIFIED = 3,     /* a CA that the policy names */
    ATLAS_TRUST_TEE = 4,           /* a quote of the confidential VM that the TPM belongs to */
};

struct atlas_tcb_evaluation {
    uint8_t status;   /* enum atlas_tcb_status: platform, module and quoting enclave together */
    uint8_t platform; /* each on its own */
    uint8_t module;
    uint8_t qe;
    int64_t date; /* earliest of the levels that matched; 0: none */
    size_t n_advisories;
    char advisories[ATLAS_MAX_ADVISORIES][ATLAS_MAX_ADVISORY_NAME + 1];
};

/* A zeroed one says "nothing was checked". */
struct atlas_attest {
    uint8_t kind;
    int64_t at;
    bool signature;    /* result 1 */
    bool tcb;          /* result 2 */
    uint8_t appraisal; /* result 3: enum atlas_attest_answer */
    uint8_t binding;
    bool hardware_rooted; /* the root is the vendor's own */
    uint8_t trust;        /* TPM: enum atlas_attest_trust */
    bool software;        /* TPM: says of itself, or its certificate says, that it is a program */
    char anchor[64];
    struct atlas_digest anchor_sha256;
    uint8_t tcb_status; /* launch and current together: what result 2 is about */
    bool two_svns;      /* TD 1.5: launch and current differ in general */
    struct atlas_tcb_evaluation launch;
    struct atlas_tcb_evaluation current;
    uint64_t evaluation_number; /* of the TCB info */
    int64_t collateral_from;    /* all of the collateral is valid from ... */
    int64_t collateral_until;   /* ... to ...; both 0 without collateral that expires */
    bool named_measurement;     /* the policy names what software is expected */
    size_t n_checks;
    struct atlas_attest_check checks[ATLAS_MAX_EVIDENCE_CHECKS];
};

/* All three results hold, under the vendor's own root. */
bool atlas_attest_holds(const struct atlas_attest *result);

/* --------------------------------------------------------------------------------------------- verification */

struct atlas_attest_request {
    struct atlas_span evidence;
    struct atlas_collateral *collateral;
    const struct atlas_attest_policy *policy;
    int64_t at;                    /* Unix time at which everything is judged */
    struct atlas_span report_data; /* what the evidence must be bound to; p == NULL: nothing is compared */
    struct atlas_span event_log;   /* TDX: the CCEL log; p == NULL: none */
    struct atlas_span runtime_log; /* TDX: the lines that RTMR3 was extended with; p == NULL: none */
    struct atlas_span anchor;      /* PEM of a root to use instead of the vendor's; p == NULL: the vendor's */
};

/* OK means that the verification ran: look at the results. An error means that the evidence is not of that kind at all
 * (ATLAS_E_EVIDENCE, ATLAS_E_UNSUPPORTED, ATLAS_E_LIMIT) or that it could not be checked (2xx, 9xx). */
int atlas_attest_tdx(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                     struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_attest_snp(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

/* Evidence: the SPDM request and response, as bytes or hexadecimal text; report_data is the 32-byte nonce. */
int atlas_attest_gpu(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

/* Evidence: the container of format/tpm_evidence.h. The qualifying data of its quote must be SHA-256(report_data).
 * ATLAS_TRUST_SELF_ASSERTED never gives a valid signature; a pinned or certified key is hardware-rooted only if the
 * policy says that it lives in hardware, and never when the TPM is known to be a program. */
int atlas_attest_tpm(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

/* The same with Azure's HCL report inside: its TDX quote or SEV-SNP report is verified first, and the quote's key must
 * be the one that it vouches for. */
int atlas_attest_azure(const struct atlas_attest_request *request, struct atlas_attest *ret_result,
                       struct atlas_error *error) ATLAS_MUST_CHECK;

/* The SubjectPublicKeyInfo and the name (algorithm and digest) of a TPM's key, appended. */
struct atlas_tpm_public;
int atlas_tpm_spki(const struct atlas_tpm_public *key, struct atlas_buf *ret_spki,
                   struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_tpm_name(const struct atlas_tpm_public *key, struct atlas_buf *ret_name,
                   struct atlas_error *error) ATLAS_MUST_CHECK;

/* Can this key sign nothing but what its TPM made? ATLAS_E_CREDENTIAL when not: then its quotes prove nothing. */
int atlas_tpm_ak_check(const struct atlas_tpm_public *key, struct atlas_error *error) ATLAS_MUST_CHECK;

/* For the CA that enrols a key: does the certificate of an endorsement key (chain in DER, leaf first) lead to one of
 * these roots (PEM) at `at`? */
int atlas_tpm_endorsement_check(const struct atlas_span *chain, size_t n, struct atlas_span roots, int64_t at,
                                struct atlas_error *error) ATLAS_MUST_CHECK;

/* ---------------------------------------------------------------------------------------------- event log */

/* The value of an NV index that each line of a log was extended into: SHA-256(old || SHA-256(line without its end)). */
int atlas_tpm_log_replay(struct atlas_span log, const uint8_t initial[32], uint8_t ret_value[32],
                         struct atlas_error *error) ATLAS_MUST_CHECK;

struct atlas_ccel_replay {
    uint8_t rtmr[4][48]; /* what the registers must hold if the log is complete and true */
    size_t events;
    size_t used; /* bytes of the log; the rest is padding */
};

/* Replay a CCEL log (ATLAS_E_EVIDENCE: not the format). */
int atlas_ccel_replay(struct atlas_span log, struct atlas_ccel_replay *ret_replay,
                      struct atlas_error *error) ATLAS_MUST_CHECK;

struct atlas_runtime_log {
    uint8_t start[48]; /* what the register held before the first line, as the log has it */
    uint8_t value[48]; /* what it must hold after the last one */
    size_t lines;
};

/* Replay a run-time log of a register of SHA-384 (ATLAS_E_EVIDENCE, ATLAS_E_LIMIT: not the format). */
int atlas_runtime_log_replay(struct atlas_span log, struct atlas_runtime_log *ret_replay,
                             struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
