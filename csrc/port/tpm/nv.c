/* nv.c - NV indices of a TPM, and what it says of itself. */
#include "port/tpm/tss.h"

static const char where[] = "TPM NV index";

/* Only those that exist: atlas_tpm_open said that a TPM is there. Let go of it again. */
static int open_index(struct atlas_tpm *tpm, uint32_t index, ESYS_TR *ret_nv, struct atlas_error *error)
{
    TSS2_RC tss = tpm->tss.Esys_TR_FromTPMPublic(tpm->esys, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ret_nv);
    if (tss != TSS2_RC_SUCCESS) {
        *ret_nv = ESYS_TR_NONE;
        char text[60] = "the index is not defined";
        return atlas_tpm_result(tpm, tss, text, error);
    }
    return ATLAS_OK;
}

static void close_index(struct atlas_tpm *tpm, ESYS_TR *nv)
{
    if (*nv != ESYS_TR_NONE) {
        (void)tpm->tss.Esys_TR_Close(tpm->esys, nv);
    }
}

/* Anybody on this machine may extend it and read it; nobody can set it, short of the owner taking it away whole. */
int atlas_tpm_nv_define(struct atlas_tpm *tpm, uint32_t index, struct atlas_error *error)
{
    const TPM2B_AUTH auth = {.size = 0};
    ESYS_TR nv = ESYS_TR_NONE;
    TPM2B_NV_PUBLIC public = {.nvPublic = {.nvIndex = index, .nameAlg = TPM2_ALG_SHA256, .dataSize = 32}};
    public.nvPublic.attributes = TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_OWNERREAD | TPMA_NV_OWNERWRITE |
                                 TPMA_NV_NO_DA | (TPM2_NT_EXTEND << TPMA_NV_TPM2_NT_SHIFT);
    TSS2_RC tss = tpm->tss.Esys_NV_DefineSpace(tpm->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                               ESYS_TR_NONE, &auth, &public, &nv);
    if (tss == TSS2_RC_SUCCESS) {
        close_index(tpm, &nv);
    }
    return atlas_tpm_result(tpm, tss, "the index cannot be defined", error);
}

int atlas_tpm_nv_undefine(struct atlas_tpm *tpm, uint32_t index, struct atlas_error *error)
{
    ESYS_TR nv;
    int rc = open_index(tpm, index, &nv, error);
    if (rc >= 0) {
        TSS2_RC tss = tpm->tss.Esys_NV_UndefineSpace(tpm->esys, ESYS_TR_RH_OWNER, nv, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                     ESYS_TR_NONE);
        rc = atlas_tpm_result(tpm, tss, "the index cannot be taken away", error);
        if (rc < 0) {
            close_index(tpm, &nv);
        }
    }
    return rc;
}

static int read_public(struct atlas_tpm *tpm, ESYS_TR nv, TPM2B_NV_PUBLIC **ret_public, struct atlas_error *error)
{
    TPM2B_NAME *name = NULL;
    TSS2_RC tss = tpm->tss.Esys_NV_ReadPublic(tpm->esys, nv, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ret_public,
                                              &name);
    tpm->tss.Esys_Free(name);
    return atlas_tpm_result(tpm, tss, "the index cannot be read", error);
}

int atlas_tpm_nv_public(struct atlas_tpm *tpm, uint32_t index, struct atlas_buf *ret_public, struct atlas_error *error)
{
    ESYS_TR nv;
    TPM2B_NV_PUBLIC *public = NULL;
    uint8_t bytes[sizeof public->nvPublic];
    size_t n = 0;
    int rc = open_index(tpm, index, &nv, error);
    if (rc >= 0) {
        rc = read_public(tpm, nv, &public, error);
    }
    if (rc >= 0) {
        TSS2_RC tss = tpm->tss.Tss2_MU_TPMS_NV_PUBLIC_Marshal(&public->nvPublic, bytes, sizeof bytes, &n);
        rc = atlas_tpm_result(tpm, tss, "NV public area", error);
    }
    if (rc >= 0) {
        atlas_buf_append(ret_public, atlas_span_of(bytes, n));
        rc = atlas_buf_check(ret_public, error);
    }
    tpm->tss.Esys_Free(public);
    close_index(tpm, &nv);
    return rc;
}

/* Who may read it: the index itself with its (empty) password, or the owner. */
static ESYS_TR reader_of(const TPM2B_NV_PUBLIC *public, ESYS_TR nv)
{
    return (public->nvPublic.attributes & TPMA_NV_AUTHREAD) != 0 ? nv : ESYS_TR_RH_OWNER;
}

#define BLOCK 512 /* no TPM moves less than that at once */

static int read_block(struct atlas_tpm *tpm, ESYS_TR auth, ESYS_TR nv, uint16_t offset, uint16_t size,
                      struct atlas_buf *ret_contents, struct atlas_error *error)
{
    TPM2B_MAX_NV_BUFFER *data = NULL;
    TSS2_RC tss = tpm->tss.Esys_NV_Read(tpm->esys, auth, nv, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, size, offset,
                                        &data);
    int rc = atlas_tpm_result(tpm, tss, "the index cannot be read", error);
    if (rc >= 0) {
        atlas_buf_append(ret_contents, atlas_span_of(data->buffer, data->size));
        rc = atlas_buf_check(ret_contents, error);
    }
    tpm->tss.Esys_Free(data);
    return rc;
}

int atlas_tpm_nv_contents(struct atlas_tpm *tpm, uint32_t index, struct atlas_buf *ret_contents,
                          struct atlas_error *error)
{
    ESYS_TR nv;
    TPM2B_NV_PUBLIC *public = NULL;
    int rc = open_index(tpm, index, &nv, error);
    if (rc >= 0) {
        rc = read_public(tpm, nv, &public, error);
    }
    size_t size = rc >= 0 ? public->nvPublic.dataSize : 0;
    for (size_t at = 0; rc >= 0 && at < size; at += BLOCK) {
        size_t n = size - at < BLOCK ? size - at : BLOCK;
        rc = read_block(tpm, reader_of(public, nv), nv, (uint16_t)at, (uint16_t)n, ret_contents, error);
    }
    tpm->tss.Esys_Free(public);
    close_index(tpm, &nv);
    return rc;
}

static int fill(struct atlas_span data, TPM2B_MAX_NV_BUFFER *buffer, struct atlas_error *error)
{
    if (!atlas_tpm_fill(data, &buffer->size, buffer->buffer, BLOCK)) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "more than %d bytes at once", BLOCK);
    }
    return ATLAS_OK;
}

int atlas_tpm_nv_extend(struct atlas_tpm *tpm, uint32_t index, struct atlas_span data, struct atlas_error *error)
{
    ESYS_TR nv = ESYS_TR_NONE;
    TPM2B_MAX_NV_BUFFER buffer = {.size = 0};
    int rc = fill(data, &buffer, error);
    if (rc >= 0) {
        rc = open_index(tpm, index, &nv, error);
    }
    if (rc >= 0) {
        TSS2_RC tss =
            tpm->tss.Esys_NV_Extend(tpm->esys, nv, nv, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &buffer);
        rc = atlas_tpm_result(tpm, tss, "the index cannot be extended", error);
    }
    close_index(tpm, &nv);
    return rc;
}

static int certify(struct atlas_tpm *tpm, ESYS_TR nv, const TPM2B_DATA *qualifying, struct atlas_buf *ret_attest,
                   struct atlas_buf *ret_signature, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    const TPMT_SIG_SCHEME scheme = {.scheme = TPM2_ALG_NULL};
    TPM2B_NV_PUBLIC *public = NULL;
    TPM2B_ATTEST *attest = NULL;
    TPMT_SIGNATURE *signature = NULL;
    ATLAS_TRY(read_public(tpm, nv, &public, error));
    TSS2_RC tss = tpm->tss.Esys_NV_Certify(tpm->esys, tpm->key, reader_of(public, nv), nv, ESYS_TR_PASSWORD,
                                           ESYS_TR_PASSWORD, ESYS_TR_NONE, qualifying, &scheme,
                                           public->nvPublic.dataSize, 0, &attest, &signature);
    ATLAS_TRY(atlas_tpm_result(tpm, tss, "the index cannot be certified", error));
    atlas_buf_append(ret_attest, atlas_span_of(attest->attestationData, attest->size));
    ATLAS_TRY(atlas_tpm_take_signature(tpm, signature, ret_signature, error));
out:
    tpm->tss.Esys_Free(public);
    tpm->tss.Esys_Free(attest);
    tpm->tss.Esys_Free(signature);
    return rc;
}

int atlas_tpm_nv_certify(struct atlas_tpm *tpm, uint32_t index, struct atlas_span qualifying,
                         struct atlas_buf *ret_attest, struct atlas_buf *ret_signature, struct atlas_error *error)
{
    ESYS_TR nv = ESYS_TR_NONE;
    TPM2B_DATA data = {.size = 0};
    if (tpm->key == ESYS_TR_NONE || !atlas_tpm_fill(qualifying, &data.size, data.buffer, sizeof data.buffer)) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "no key is in use, or the qualifying data is too long");
    }
    int rc = open_index(tpm, index, &nv, error);
    if (rc >= 0) {
        rc = certify(tpm, nv, &data, ret_attest, ret_signature, error);
    }
    close_index(tpm, &nv);
    return rc;
}

/* -------------------------------------------------------------------------------------------------------- facts */

static int read_property(struct atlas_tpm *tpm, uint32_t property, uint32_t *ret_value, struct atlas_error *error)
{
    TPMI_YES_NO more;
    TPMS_CAPABILITY_DATA *data = NULL;
    TSS2_RC tss = tpm->tss.Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                              TPM2_CAP_TPM_PROPERTIES, property, 1, &more, &data);
    int rc = atlas_tpm_result(tpm, tss, "a property cannot be read", error);
    if (rc >= 0) {
        const TPML_TAGGED_TPM_PROPERTY *list = &data->data.tpmProperties;
        bool found = list->count == 1 && list->tpmProperty[0].property == property;
        *ret_value = found ? list->tpmProperty[0].value : 0;
    }
    tpm->tss.Esys_Free(data);
    return rc;
}

int atlas_tpm_read_facts(struct atlas_tpm *tpm, struct atlas_tpm_facts *ret_facts, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_tpm_facts facts = {0};
    uint32_t high = 0;
    uint32_t low = 0;
    ATLAS_TRY(read_property(tpm, TPM2_PT_MANUFACTURER, &facts.manufacturer, error));
    ATLAS_TRY(read_property(tpm, TPM2_PT_FIRMWARE_VERSION_1, &high, error));
    ATLAS_TRY(read_property(tpm, TPM2_PT_FIRMWARE_VERSION_2, &low, error));
    facts.firmware = (uint64_t)high << 32 | low;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t word = 0;
        ATLAS_TRY(read_property(tpm, TPM2_PT_VENDOR_STRING_1 + i, &word, error));
        for (unsigned j = 0; j < 4; j++) {
            uint8_t c = (uint8_t)(word >> (24 - 8 * j));
            facts.vendor[4 * i + j] = (char)(c >= 0x20 && c < 0x7F ? c : ' ');
        }
    }
    *ret_facts = facts;
out:
    return rc;
}
