/* open.c - opening a TPM and letting it go. */
#include <stdlib.h>

#include "port/tpm/tss.h"

static const char where[] = "TPM";

static int open_tpm(const char *tcti, struct atlas_tpm *tpm, struct atlas_error *error)
{
    TSS2_ABI_VERSION version = TSS2_ABI_VERSION_CURRENT;
    int rc = atlas_tss_load(&tpm->tss, error);
    if (rc < 0) {
        return rc;
    }
    TSS2_RC tss = tpm->tss.Tss2_TctiLdr_Initialize(tcti, &tpm->tcti);
    if (tss != TSS2_RC_SUCCESS) {
        return atlas_error_set(error, ATLAS_E_NOT_FOUND, where,
                               "no TPM answers at %s: %s; name one with ATLAS_TCTI (device:/dev/tpmrm0), and be in the "
                               "group of that device",
                               tcti, tpm->tss.Tss2_RC_Decode(tss));
    }
    return atlas_tpm_result(tpm, tpm->tss.Esys_Initialize(&tpm->esys, tpm->tcti, &version), "open", error);
}

int atlas_tpm_open(const char *tcti, struct atlas_tpm **ret_tpm, struct atlas_error *error)
{
    struct atlas_tpm *tpm = calloc(1, sizeof *tpm);
    if (tpm == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
    }
    tpm->key = ESYS_TR_NONE;
    int rc = open_tpm(tcti, tpm, error);
    if (rc < 0) {
        atlas_tpm_close(tpm);
        return rc;
    }
    *ret_tpm = tpm;
    return ATLAS_OK;
}

void atlas_tpm_close(struct atlas_tpm *tpm)
{
    if (tpm == NULL) {
        return;
    }
    if (tpm->key != ESYS_TR_NONE && tpm->key_is_ours) {
        (void)tpm->tss.Esys_FlushContext(tpm->esys, tpm->key);
    }
    if (tpm->esys != NULL) {
        tpm->tss.Esys_Finalize(&tpm->esys);
    }
    if (tpm->tcti != NULL) {
        tpm->tss.Tss2_TctiLdr_Finalize(&tpm->tcti);
    }
    atlas_tss_unload(&tpm->tss);
    free(tpm);
}
