/* load.c - finding libtss2, and what its answers mean. */
#include <dlfcn.h>

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
