/* tss.h - libtss2, found while the program runs; for the files of port/tpm. */
#ifndef ATLAS_PORT_TPM_TSS_H
#define ATLAS_PORT_TPM_TSS_H

#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "port/tpm.h"

/* Every function that is used, by the library that has it. */
#define ATLAS_TSS_FUNCTIONS(F)                    \
    F(TCTILDR, Tss2_TctiLdr_Initialize)           \
    F(TCTILDR, Tss2_TctiLdr_Finalize)             \
    F(RC, Tss2_RC_Decode)                         \
    F(MU, Tss2_MU_TPMT_PUBLIC_Marshal)            \
    F(MU, Tss2_MU_TPMT_SIGNATURE_Marshal)         \
    F(MU, Tss2_MU_TPMS_NV_PUBLIC_Marshal)         \
    F(ESYS, Esys_Initialize)                      \
    F(ESYS, Esys_Finalize)                        \
    F(ESYS, Esys_Free)                            \
    F(ESYS, Esys_CreatePrimary)                   \
    F(ESYS, Esys_FlushContext)                    \
    F(ESYS, Esys_TR_FromTPMPublic)                \
    F(ESYS, Esys_TR_Close)                        \
    F(ESYS, Esys_ReadPublic)                      \
    F(ESYS, Esys_Sign)                            \
    F(ESYS, Esys_Quote)                           \
    F(ESYS, Esys_PCR_Read)                        \
    F(ESYS, Esys_NV_DefineSpace)                  \
    F(ESYS, Esys_NV_UndefineSpace)                \
    F(ESYS, Esys_NV_ReadPublic)                   \
    F(ESYS, Esys_NV_Read)                         \
    F(ESYS, Esys_NV_Extend)                       \
    F(ESYS, Esys_NV_Certify)                      \
    F(ESYS, Esys_StartAuthSession)                \
    F(ESYS, Esys_PolicySecret)                    \
    F(ESYS, Esys_ActivateCredential)              \
    F(ESYS, Esys_GetCapability)

enum atlas_tss_library { ATLAS_TSS_TCTILDR, ATLAS_TSS_RC, ATLAS_TSS_MU, ATLAS_TSS_ESYS, ATLAS_TSS_LIBRARIES };

#define ATLAS_TSS_MEMBER(library, name) __typeof__(name) *name;

struct atlas_tss {
    void *libraries[ATLAS_TSS_LIBRARIES];
    ATLAS_TSS_FUNCTIONS(ATLAS_TSS_MEMBER)
};

struct atlas_tpm {
    struct atlas_tss tss;
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    ESYS_TR key;      /* in use; ESYS_TR_NONE: none */
    bool key_is_ours; /* to be flushed; a persistent key is only let go */
};

/* Load the libraries; release in any case. */
int atlas_tss_load(struct atlas_tss *tss, struct atlas_error *error);
void atlas_tss_unload(struct atlas_tss *tss);

/* ATLAS_OK for success, else the TPM's or the library's reason in words. */
int atlas_tpm_result(const struct atlas_tpm *tpm, TSS2_RC rc, const char *what, struct atlas_error *error);

/* Copy into a TPM2B_...; false: does not fit. */
bool atlas_tpm_fill(struct atlas_span bytes, uint16_t *size, uint8_t *buffer, size_t capacity);

/* Append a signature as TPMT_SIGNATURE and what was signed. */
int atlas_tpm_take_signature(const struct atlas_tpm *tpm, const TPMT_SIGNATURE *signature,
                             struct atlas_buf *ret_signature, struct atlas_error *error);

#endif
