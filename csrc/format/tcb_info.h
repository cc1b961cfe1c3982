/*
 * tcb_info.h - Intel's TCB info (version 3, TDX) and QE identity as structures. The caller has verified the signature
 * over exactly these bytes. Nothing is judged here.
 *
 * Source: Intel SGX and TDX Provisioning Certification Service, API version 4. Levels are kept sorted, best first, as
 * Intel's verification library walks them, in whatever order they were served.
 */
#ifndef ATLAS_FORMAT_TCB_INFO_H
#define ATLAS_FORMAT_TCB_INFO_H

#include "port/json.h"

#define ATLAS_MAX_TCB_LEVELS 128
#define ATLAS_MAX_TDX_MODULES 16
#define ATLAS_MAX_SVN_LEVELS 64

/* The words of Intel; the last five are ours, for what has no vendor list to be looked up in. */
enum atlas_tcb_status {
    ATLAS_TCB_NONE = 0, /* not evaluated, or a word that is not known: never accepted */
    ATLAS_TCB_UP_TO_DATE,
    ATLAS_TCB_SW_HARDENING_NEEDED,
    ATLAS_TCB_CONFIGURATION_NEEDED,
    ATLAS_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED,
    ATLAS_TCB_OUT_OF_DATE,
    ATLAS_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED,
    ATLAS_TCB_REVOKED,
    ATLAS_TCB_TD_RELAUNCH_ADVISED,
    ATLAS_TCB_TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
    ATLAS_TCB_NOT_SUPPORTED,    /* no level matches: older than anything Intel speaks of */
    ATLAS_TCB_MEETS_MINIMUM,    /* SNP, GPU: what the policy names as minimum or reference is met */
    ATLAS_TCB_BELOW_MINIMUM,    /* SNP: it is not */
    ATLAS_TCB_REFERENCE_DIFFERS, /* GPU: a measurement is not the operator's */
    ATLAS_TCB_NOT_APPLICABLE,    /* TPM: no vendor publishes levels that a quote could be compared with */
    ATLAS_TCB_STATUSES,         /* how many */
};

/* "UpToDate" and so on; "NotEvaluated" for ATLAS_TCB_NONE. */
const char *atlas_tcb_status_name(enum atlas_tcb_status status);
enum atlas_tcb_status atlas_tcb_status_of(struct atlas_span name); /* ATLAS_TCB_NONE: no such word */

struct atlas_tcb_level {
    uint8_t sgx[16];
    uint16_t pcesvn;
    uint8_t tdx[16];
    int64_t date;
    enum atlas_tcb_status status;
    const struct atlas_json *advisories; /* NULL: none */
};

struct atlas_svn_level {
    uint16_t isvsvn;
    int64_t date;
    enum atlas_tcb_status status;
    const struct atlas_json *advisories;
};

struct atlas_tdx_module {
    uint8_t version; /* of "TDX_<version>"; 0 for the one that the TCB info names first */
    uint8_t mrsigner[48];
    uint8_t attributes[8];
    size_t n_levels;
    struct atlas_svn_level levels[ATLAS_MAX_SVN_LEVELS];
};

struct atlas_tcb_info {
    struct atlas_json *document;
    bool tdx; /* "id": "TDX" */
    uint64_t version;
    int64_t issued;
    int64_t next_update;
    uint8_t fmspc[6];
    uint8_t pceid[2];
    uint64_t evaluation_number;
    size_t n_modules; /* module 0 is "tdxModule" */
    struct atlas_tdx_module modules[ATLAS_MAX_TDX_MODULES];
    size_t n_levels;
    struct atlas_tcb_level levels[ATLAS_MAX_TCB_LEVELS];
};

struct atlas_qe_identity {
    struct atlas_json *document;
    bool td_qe; /* "id": "TD_QE" */
    uint64_t version;
    int64_t issued;
    int64_t next_update;
    uint64_t evaluation_number;
    uint32_t miscselect;
    uint32_t miscselect_mask;
    uint8_t attributes[16];
    uint8_t attributes_mask[16];
    uint8_t mrsigner[32];
    uint64_t isvprodid;
    size_t n_levels;
    struct atlas_svn_level levels[ATLAS_MAX_SVN_LEVELS];
};

/* ret is filled anew; release it, also after a failure. ATLAS_E_JSON, ATLAS_E_LIMIT, ATLAS_E_NOMEM. */
int atlas_tcb_info_read(struct atlas_span bytes, struct atlas_tcb_info *ret_info,
                        struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_tcb_info_release(struct atlas_tcb_info *info);

int atlas_qe_identity_read(struct atlas_span bytes, struct atlas_qe_identity *ret_identity,
                           struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_qe_identity_release(struct atlas_qe_identity *identity);

#endif
