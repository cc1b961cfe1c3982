/* key.c - keys of a TPM and what they do: sign, quote, open a credential. */
#include "port/tpm/tss.h"

static const char where[] = "TPM key";

/* ------------------------------------------------------------------------------------------------------ templates */

#define COMMON (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN)

static TPM2B_PUBLIC signing_template(bool restricted)
{
    TPM2B_PUBLIC t = {.publicArea = {.type = TPM2_ALG_ECC, .nameAlg = TPM2_ALG_SHA256}};
    TPMS_ECC_PARMS *ecc = &t.publicArea.parameters.eccDetail;
    t.publicArea.objectAttributes = COMMON | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_SIGN_ENCRYPT;
    if (restricted) {
        t.publicArea.objectAttributes |= TPMA_OBJECT_RESTRICTED;
    }
    ecc->symmetric.algorithm = TPM2_ALG_NULL;
    ecc->scheme.scheme = TPM2_ALG_ECDSA;
    ecc->scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    ecc->curveID = TPM2_ECC_NIST_P256;
    ecc->kdf.scheme = TPM2_ALG_NULL;
    return t;
}

/* TCG EK Credential Profile 2.3, B.3.3: the policy is PolicySecret(endorsement hierarchy). */
static TPM2B_PUBLIC endorsement_template(void)
{
    static const uint8_t policy[32] = {0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,
                                       0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,
                                       0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa};
    TPM2B_PUBLIC t = {.publicArea = {.type = TPM2_ALG_RSA, .nameAlg = TPM2_ALG_SHA256}};
    TPMS_RSA_PARMS *rsa = &t.publicArea.parameters.rsaDetail;
    t.publicArea.objectAttributes =
        COMMON | TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
    t.publicArea.authPolicy.size = sizeof policy;
    memcpy(t.publicArea.authPolicy.buffer, policy, sizeof policy);
    rsa->symmetric.algorithm = TPM2_ALG_AES;
    rsa->symmetric.keyBits.aes = 128;
    rsa->symmetric.mode.aes = TPM2_ALG_CFB;
    rsa->scheme.scheme = TPM2_ALG_NULL;
    rsa->keyBits = 2048;
    t.publicArea.unique.rsa.size = 256; /* of zeros */
    return t;
}

static int append_public(const struct atlas_tpm *tpm, const TPM2B_PUBLIC *key, struct atlas_buf *ret_public,
                         struct atlas_error *error)
{
    uint8_t bytes[sizeof key->publicArea];
    size_t n = 0;
    TSS2_RC rc = tpm->tss.Tss2_MU_TPMT_PUBLIC_Marshal(&key->publicArea, bytes, sizeof bytes, &n);
    if (rc != TSS2_RC_SUCCESS) {
        return atlas_tpm_result(tpm, rc, "public key", error);
    }
    atlas_buf_append(ret_public, atlas_span_of(bytes, n));
    return atlas_buf_check(ret_public, error);
}

/* --------------------------------------------------------------------------------------------------- making keys */

static int make(struct atlas_tpm *tpm, ESYS_TR hierarchy, const TPM2B_PUBLIC *template, ESYS_TR *ret_key,
                TPM2B_PUBLIC **ret_public, struct atlas_error *error)
{
    const TPM2B_SENSITIVE_CREATE sensitive = {0};
    const TPM2B_DATA outside = {0};
    const TPML_PCR_SELECTION none = {0};
    TPM2B_CREATION_DATA *data = NULL;
    TPM2B_DIGEST *hash = NULL;
    TPMT_TK_CREATION *ticket = NULL;
    TSS2_RC rc = tpm->tss.Esys_CreatePrimary(tpm->esys, hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                             &sensitive, template, &outside, &none, ret_key, ret_public, &data, &hash,
                                             &ticket);
    tpm->tss.Esys_Free(data);
    tpm->tss.Esys_Free(hash);
    tpm->tss.Esys_Free(ticket);
    return atlas_tpm_result(tpm, rc, "the key cannot be made", error);
}

/* A key at a time: a TPM has room for three. */
static void drop(struct atlas_tpm *tpm)
{
    if (tpm->key != ESYS_TR_NONE && tpm->key_is_ours) {
        (void)tpm->tss.Esys_FlushContext(tpm->esys, tpm->key);
    } else if (tpm->key != ESYS_TR_NONE) {
        (void)tpm->tss.Esys_TR_Close(tpm->esys, &tpm->key);
    }
    tpm->key = ESYS_TR_NONE;
}

int atlas_tpm_make_key(struct atlas_tpm *tpm, enum atlas_tpm_role role, struct atlas_span unique,
                       struct atlas_buf *ret_public, struct atlas_error *error)
{
    TPM2B_PUBLIC template = role == ATLAS_TPM_ROLE_EK ? endorsement_template()
                                                      : signing_template(role == ATLAS_TPM_ROLE_AK);
    TPM2B_ECC_PARAMETER *x = &template.publicArea.unique.ecc.x;
    ESYS_TR hierarchy = role == ATLAS_TPM_ROLE_SIGNER ? ESYS_TR_RH_OWNER : ESYS_TR_RH_ENDORSEMENT;
    TPM2B_PUBLIC *public = NULL;
    if ((role == ATLAS_TPM_ROLE_EK && unique.n != 0) || unique.n > 32) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "more than 32 bytes tell this key from others");
    }
    if (role != ATLAS_TPM_ROLE_EK) {
        (void)atlas_tpm_fill(unique, &x->size, x->buffer, sizeof x->buffer);
    }
    drop(tpm);
    int rc = make(tpm, hierarchy, &template, &tpm->key, &public, error);
    if (rc >= 0) {
        tpm->key_is_ours = true;
        rc = append_public(tpm, public, ret_public, error);
    } else {
        tpm->key = ESYS_TR_NONE;
    }
    tpm->tss.Esys_Free(public);
    return rc;
}

int atlas_tpm_use_handle(struct atlas_tpm *tpm, uint32_t handle, struct atlas_buf *ret_public,
                         struct atlas_error *error)
{
    int rc = ATLAS_OK;
    TPM2B_PUBLIC *public = NULL;
    TPM2B_NAME *name = NULL;
    TPM2B_NAME *qualified = NULL;
    drop(tpm);
    ATLAS_TRY(atlas_tpm_result(tpm,
                               tpm->tss.Esys_TR_FromTPMPublic(tpm->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE,
                                                              ESYS_TR_NONE, &tpm->key),
                               "there is no key under this handle", error));
    tpm->key_is_ours = false;
    ATLAS_TRY(atlas_tpm_result(tpm,
                               tpm->tss.Esys_ReadPublic(tpm->esys, tpm->key, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                                        &public, &name, &qualified),
                               "the key cannot be read", error));
    ATLAS_TRY(append_public(tpm, public, ret_public, error));
out:
    tpm->tss.Esys_Free(public);
    tpm->tss.Esys_Free(name);
    tpm->tss.Esys_Free(qualified);
    return rc;
}

/* -------------------------------------------------------------------------------------------------- using them */

static int check_key(const struct atlas_tpm *tpm, struct atlas_error *error)
{
    return tpm->key != ESYS_TR_NONE ? ATLAS_OK : atlas_error_set(error, ATLAS_E_ARG, where, "no key is in use");
}

int atlas_tpm_sign(struct atlas_tpm *tpm, struct atlas_span digest, struct atlas_buf *ret_signature,
                   struct atlas_error *error)
{
    TPM2B_DIGEST hash = {.size = 0};
    const TPMT_SIG_SCHEME scheme = {.scheme = TPM2_ALG_NULL};
    const TPMT_TK_HASHCHECK ticket = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL};
    TPMT_SIGNATURE *signature = NULL;
    int rc = check_key(tpm, error);
    if (rc < 0) {
        return rc;
    }
    if (digest.n != 32 || !atlas_tpm_fill(digest, &hash.size, hash.buffer, sizeof hash.buffer)) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "not a SHA-256 digest");
    }
    TSS2_RC tss = tpm->tss.Esys_Sign(tpm->esys, tpm->key, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &hash, &scheme,
                                     &ticket, &signature);
    rc = atlas_tpm_result(tpm, tss, "the TPM does not sign", error);
    if (rc >= 0) {
        rc = atlas_tpm_take_signature(tpm, signature, ret_signature, error);
    }
    tpm->tss.Esys_Free(signature);
    return rc;
}

static TPML_PCR_SELECTION selection_of(uint16_t bank, uint32_t pcrs)
{
    TPML_PCR_SELECTION s = {.count = 1};
    s.pcrSelections[0].hash = bank;
    s.pcrSelections[0].sizeofSelect = 3;
    for (size_t i = 0; i < 3; i++) {
        s.pcrSelections[0].pcrSelect[i] = (BYTE)(pcrs >> 8 * i);
    }
    return s;
}

int atlas_tpm_quote(struct atlas_tpm *tpm, uint16_t bank, uint32_t pcrs, struct atlas_span qualifying,
                    struct atlas_buf *ret_attest, struct atlas_buf *ret_signature, struct atlas_error *error)
{
    TPM2B_DATA data = {.size = 0};
    const TPMT_SIG_SCHEME scheme = {.scheme = TPM2_ALG_NULL};
    TPML_PCR_SELECTION selection = selection_of(bank, pcrs);
    TPM2B_ATTEST *attest = NULL;
    TPMT_SIGNATURE *signature = NULL;
    int rc = check_key(tpm, error);
    if (rc < 0) {
        return rc;
    }
    if (!atlas_tpm_fill(qualifying, &data.size, data.buffer, sizeof data.buffer)) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "the qualifying data is too long");
    }
    TSS2_RC tss = tpm->tss.Esys_Quote(tpm->esys, tpm->key, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &data, &scheme,
                                      &selection, &attest, &signature);
    rc = atlas_tpm_result(tpm, tss, "the TPM does not quote", error);
    if (rc >= 0) {
        atlas_buf_append(ret_attest, atlas_span_of(attest->attestationData, attest->size));
        rc = atlas_tpm_take_signature(tpm, signature, ret_signature, error);
    }
    tpm->tss.Esys_Free(attest);
    tpm->tss.Esys_Free(signature);
    return rc;
}

/* One at a time: an answer has room for eight digests, and says only afterwards which. */
static int read_pcr(struct atlas_tpm *tpm, uint16_t bank, unsigned pcr, struct atlas_buf *ret_values,
                    struct atlas_error *error)
{
    TPML_PCR_SELECTION wanted = selection_of(bank, 1u << pcr);
    TPML_PCR_SELECTION *got = NULL;
    TPML_DIGEST *values = NULL;
    UINT32 counter;
    TSS2_RC tss = tpm->tss.Esys_PCR_Read(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &wanted, &counter, &got,
                                         &values);
    int rc = atlas_tpm_result(tpm, tss, "a PCR cannot be read", error);
    if (rc >= 0 && values->count != 1) {
        rc = atlas_error_set(error, ATLAS_E_UNSUPPORTED, where, "the TPM has no PCR %u in this bank", pcr);
    }
    if (rc >= 0) {
        atlas_buf_append(ret_values, atlas_span_of(values->digests[0].buffer, values->digests[0].size));
        rc = atlas_buf_check(ret_values, error);
    }
    tpm->tss.Esys_Free(got);
    tpm->tss.Esys_Free(values);
    return rc;
}

int atlas_tpm_read_pcrs(struct atlas_tpm *tpm, uint16_t bank, uint32_t pcrs, struct atlas_buf *ret_values,
                        struct atlas_error *error)
{
    int rc = ATLAS_OK;
    for (unsigned i = 0; rc >= 0 && i < 24; i++) {
        if ((pcrs >> i & 1) != 0) {
            rc = read_pcr(tpm, bank, i, ret_values, error);
        }
    }
    return rc;
}

/* -------------------------------------------------------------------------------------------------- activation */

static int open_session(struct atlas_tpm *tpm, ESYS_TR *ret_session, struct atlas_error *error)
{
    const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
    TPM2B_TIMEOUT *timeout = NULL;
    TPMT_TK_AUTH *ticket = NULL;
    TSS2_RC tss = tpm->tss.Esys_StartAuthSession(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                                 ESYS_TR_NONE, NULL, TPM2_SE_POLICY, &none, TPM2_ALG_SHA256,
                                                 ret_session);
    int rc = atlas_tpm_result(tpm, tss, "no session", error);
    if (rc < 0) {
        *ret_session = ESYS_TR_NONE;
        return rc;
    }
    tss = tpm->tss.Esys_PolicySecret(tpm->esys, ESYS_TR_RH_ENDORSEMENT, *ret_session, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                     ESYS_TR_NONE, NULL, NULL, NULL, 0, &timeout, &ticket);
    tpm->tss.Esys_Free(timeout);
    tpm->tss.Esys_Free(ticket);
    return atlas_tpm_result(tpm, tss, "the endorsement hierarchy has a password", error);
}

/* The session is flushed even after success: a TPM has room for three, and forgets none by itself. */
static int activate(struct atlas_tpm *tpm, ESYS_TR ek, const TPM2B_ID_OBJECT *object,
                    const TPM2B_ENCRYPTED_SECRET *encrypted, struct atlas_buf *ret_secret, struct atlas_error *error)
{
    ESYS_TR session = ESYS_TR_NONE;
    TPM2B_DIGEST *secret = NULL;
    int rc = open_session(tpm, &session, error);
    if (rc >= 0) {
        TSS2_RC tss = tpm->tss.Esys_ActivateCredential(tpm->esys, tpm->key, ek, ESYS_TR_PASSWORD, session, ESYS_TR_NONE,
                                                       object, encrypted, &secret);
        rc = atlas_tpm_result(tpm, tss, "the credential is not for this TPM and this key", error);
    }
    if (rc >= 0) {
        atlas_buf_append(ret_secret, atlas_span_of(secret->buffer, secret->size));
        rc = atlas_buf_check(ret_secret, error);
    }
    tpm->tss.Esys_Free(secret);
    if (session != ESYS_TR_NONE) {
        (void)tpm->tss.Esys_FlushContext(tpm->esys, session);
    }
    return rc;
}

int atlas_tpm_activate(struct atlas_tpm *tpm, struct atlas_span object, struct atlas_span encrypted,
                       struct atlas_buf *ret_secret, struct atlas_error *error)
{
    TPM2B_ID_OBJECT id = {.size = 0};
    TPM2B_ENCRYPTED_SECRET secret = {.size = 0};
    TPM2B_PUBLIC template = endorsement_template();
    TPM2B_PUBLIC *public = NULL;
    ESYS_TR ek = ESYS_TR_NONE;
    int rc = check_key(tpm, error);
    if (rc < 0) {
        return rc;
    }
    if (!atlas_tpm_fill(object, &id.size, id.credential, sizeof id.credential) ||
        !atlas_tpm_fill(encrypted, &secret.size, secret.secret, sizeof secret.secret)) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "not a credential: too long");
    }
    rc = make(tpm, ESYS_TR_RH_ENDORSEMENT, &template, &ek, &public, error);
    tpm->tss.Esys_Free(public);
    if (rc >= 0) {
        rc = activate(tpm, ek, &id, &secret, ret_secret, error);
        (void)tpm->tss.Esys_FlushContext(tpm->esys, ek);
    }
    return rc;
}
