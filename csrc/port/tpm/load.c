/* load.c - finding libtss2, opening a TPM, and what its answers mean. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "port/tpm/tss.h"

static const char where[] = "TPM";

/* --------------------------------------------------------------------------------------------------- libraries */

/* The names that their ABI has had since 3.0, and what Debian calls the packages. */
static const struct {
    const char *file;
    const char *package;
} libraries[ATLAS_TSS_LIBRARIES] = {
    [ATLAS_TSS_TCTILDR] = {"libtss2-tctildr.so.0", "libtss2-tctildr0"},
    [ATLAS_TSS_RC] = {"libtss2-rc.so.0", "libtss2-rc0"},
    [ATLAS_TSS_MU] = {"libtss2-mu.so.0", "libtss2-mu0"},
    [ATLAS_TSS_ESYS] = {"libtss2-esys.so.0", "libtss2-esys-3.0.2-0"},
};

struct symbol {
    enum atlas_tss_library library;
    const char *name;
    size_t offset;
};

#define SYMBOL(library, name) {ATLAS_TSS_##library, #name, offsetof(struct atlas_tss, name)},

static const struct symbol symbols[] = {ATLAS_TSS_FUNCTIONS(SYMBOL)};

static int find_symbols(struct atlas_tss *tss, struct atlas_error *error)
{
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        const struct symbol *s = &symbols[i];
        void *found = dlsym(tss->libraries[s->library], s->name);
        if (found == NULL) {
            return atlas_error_set(error, ATLAS_E_UNSUPPORTED, where, "%s has no %s: update it",
                                   libraries[s->library].file, s->name);
        }
        memcpy((char *)tss + s->offset, &found, sizeof found); /* POSIX: a function pointer fits */
    }
    return ATLAS_OK;
}

int atlas_tss_load(struct atlas_tss *tss, struct atlas_error *error)
{
    for (size_t i = 0; i < ATLAS_TSS_LIBRARIES; i++) {
        tss->libraries[i] = dlopen(libraries[i].file, RTLD_NOW | RTLD_LOCAL);
        if (tss->libraries[i] == NULL) {
            return atlas_error_set(error, ATLAS_E_UNSUPPORTED, where,
                                   "the TPM software stack is not installed: %s is missing (Debian: apt-get install "
                                   "%s)",
                                   libraries[i].file, libraries[i].package);
        }
    }
    return find_symbols(tss, error);
}

void atlas_tss_unload(struct atlas_tss *tss)
{
    for (size_t i = 0; i < ATLAS_TSS_LIBRARIES; i++) {
        if (tss->libraries[i] != NULL) {
            dlclose(tss->libraries[i]);
        }
    }
}

/* ------------------------------------------------------------------------------------------------------ results */

#define FORMAT_ONE 0x080u /* the low bits then name the error, the others which argument it is about */

static TSS2_RC without_argument(TSS2_RC rc)
{
    return (rc & FORMAT_ONE) != 0 ? rc & (FORMAT_ONE | 0x3F) : rc & 0xFFF;
}

static bool from_tpm(TSS2_RC rc)
{
    TSS2_RC layer = rc & TSS2_RC_LAYER_MASK;
    return layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER;
}

int atlas_tpm_result(const struct atlas_tpm *tpm, TSS2_RC rc, const char *what, struct atlas_error *error)
{
    if (rc == TSS2_RC_SUCCESS) {
        return ATLAS_OK;
    }
    int code = ATLAS_E_IO;
    if (from_tpm(rc) && without_argument(rc) == TPM2_RC_HANDLE) {
        code = ATLAS_E_NOT_FOUND;
    }
    return atlas_error_set(error, code, where, "%s: %s (0x%lx)", what, tpm->tss.Tss2_RC_Decode(rc), (unsigned long)rc);
}

bool atlas_tpm_fill(struct atlas_span bytes, uint16_t *size, uint8_t *buffer, size_t capacity)
{
    if (bytes.n > capacity) {
        return false;
    }
    *size = (uint16_t)bytes.n;
    if (bytes.n != 0) {
        memcpy(buffer, bytes.p, bytes.n);
    }
    return true;
}

int atlas_tpm_take_signature(const struct atlas_tpm *tpm, const TPMT_SIGNATURE *signature,
                             struct atlas_buf *ret_signature, struct atlas_error *error)
{
    uint8_t bytes[sizeof *signature];
    size_t n = 0;
    TSS2_RC rc = tpm->tss.Tss2_MU_TPMT_SIGNATURE_Marshal(signature, bytes, sizeof bytes, &n);
    if (rc != TSS2_RC_SUCCESS) {
        return atlas_tpm_result(tpm, rc, "signature", error);
    }
    atlas_buf_append(ret_signature, atlas_span_of(bytes, n));
    return atlas_buf_check(ret_signature, error);
}

/* ----------------------------------------------------------------------------------------------- open and close */

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
