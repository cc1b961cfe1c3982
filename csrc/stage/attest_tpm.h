/* attest_tpm.h - a TPM quote under verification, for the two kinds of evidence that hold one. */
#ifndef ATLAS_STAGE_ATTEST_TPM_H
#define ATLAS_STAGE_ATTEST_TPM_H

#include "format/tpm_evidence.h"
#include "stage/attest_parts.h"

struct atlas_tpm_run {
    const struct atlas_attest_request *request;
    struct atlas_attest *result;
    const struct atlas_tpm_policy *policy;
    struct atlas_tpm_evidence evidence;
    struct atlas_tpm_public ak;
    struct atlas_buf spki;
    struct atlas_tpm_attest quote;
    struct atlas_tpm_attest nv;
    struct atlas_tpm_names names; /* of the certificate */
    bool labelled;                /* the policy says that the key lives in hardware */
    bool tee;                     /* the key is vouched for by the confidential VM */
    bool uncovered;               /* no CRL spoke for the certificate */
};

/* Read the container and its parts. Release the run in any case. */
int atlas_tpm_run_init(struct atlas_tpm_run *run, const struct atlas_attest_request *request,
                       struct atlas_attest *result, struct atlas_error *error);
void atlas_tpm_run_release(struct atlas_tpm_run *run);

/* All checks of the quote; the results are the caller's to conclude. */
int atlas_tpm_run_checks(struct atlas_tpm_run *run, struct atlas_error *error);

/* The value of a PCR among those that came with the quote; p == NULL: it was not quoted. */
struct atlas_span atlas_tpm_run_pcr(const struct atlas_tpm_run *run, uint16_t hash, unsigned index);

/* attest_tpm_events.c: does the log of the firmware lead to the PCRs of the quote? */
int atlas_tpm_events_check(struct atlas_tpm_run *run, struct atlas_error *error);

/* attest_tpm_trust.c: who vouches for the key? */
int atlas_tpm_trust_check(struct atlas_tpm_run *run, struct atlas_error *error);

/* Does this text name a TPM that is a program? */
bool atlas_tpm_is_software(const struct atlas_tpm_run *run);

#endif
