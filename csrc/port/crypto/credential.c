/* credential.c - TPM2_MakeCredential in software (The Library, Part 1, 24.4; the key derivation of 11.4.10.2). */
#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include "port/crypto/pkey.h"
#include "port/crypto/vendor.h"

#define SEED 32      /* as long as the name hash of the default endorsement key */
#define AES_KEY 16   /* its symmetric cipher: AES-128-CFB */
#define MAX_SECRET 32
#define MAX_NAME 66

static const char where[] = "credential";

static int failed(struct atlas_error *error)
{
    return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "the credential could not be made");
}

/* KDFa with SHA-256, one round: up to 32 bytes. The label is counted with its NUL. */
static bool derive(const uint8_t seed[SEED], struct atlas_span label, struct atlas_span context, uint32_t bits,
                   uint8_t out[32])
{
    struct atlas_buf message = ATLAS_BUF_INIT;
    unsigned n = 0;
    atlas_buf_append_be32(&message, 1);
    atlas_buf_append(&message, label);
    atlas_buf_append_u8(&message, 0);
    atlas_buf_append(&message, context);
    atlas_buf_append_be32(&message, bits);
    bool good = !message.failed && HMAC(EVP_sha256(), seed, SEED, message.p, message.n, out, &n) != NULL && n == 32;
    atlas_buf_release(&message);
    return good;
}

/* B.4: OAEP with the name hash and the label "IDENTITY", its NUL included. */
static int encrypt_seed(EVP_PKEY *key, const uint8_t seed[SEED], struct atlas_buf *ret_encrypted,
                        struct atlas_error *error)
{
    int rc = ATLAS_OK;
    uint8_t out[ATLAS_SIGNATURE_MAX];
    size_t n = sizeof out;
    char *label = OPENSSL_strdup("IDENTITY");
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (context == NULL || label == NULL || EVP_PKEY_encrypt_init(context) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) <= 0 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) <= 0 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) <= 0 ||
        EVP_PKEY_CTX_set0_rsa_oaep_label(context, label, sizeof "IDENTITY") <= 0) {
        OPENSSL_free(label);
        ATLAS_TRY(failed(error));
    }
    if (EVP_PKEY_encrypt(context, out, &n, seed, SEED) != 1) { /* the label is the context's now */
        ATLAS_TRY(failed(error));
    }
    atlas_buf_append(ret_encrypted, atlas_span_of(out, n));
out:
    EVP_PKEY_CTX_free(context);
    return rc;
}

/* TPM2B_DIGEST(secret), encrypted. */
static bool encrypt_identity(const uint8_t key[AES_KEY], struct atlas_span secret, uint8_t out[2 + MAX_SECRET])
{
    static const uint8_t iv[16] = {0};
    uint8_t plain[2 + MAX_SECRET] = {0, (uint8_t)secret.n};
    int n = 0;
    memcpy(plain + 2, secret.p, secret.n);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good = context != NULL && EVP_EncryptInit_ex2(context, EVP_aes_128_cfb128(), key, iv, NULL) == 1 &&
                EVP_EncryptUpdate(context, out, &n, plain, (int)(2 + secret.n)) == 1 && n == (int)(2 + secret.n);
    EVP_CIPHER_CTX_free(context);
    OPENSSL_cleanse(plain, sizeof plain);
    return good;
}

/* The integrity value, sized, then what it protects. */
static int write_object(const uint8_t seed[SEED], struct atlas_span name, struct atlas_span secret,
                        struct atlas_buf *ret_object, struct atlas_error *error)
{
    uint8_t key[32];
    uint8_t hmac_key[32];
    uint8_t message[2 + MAX_SECRET + MAX_NAME];
    uint8_t hmac[32];
    unsigned n = 0;
    size_t size = 2 + secret.n;
    bool good = derive(seed, ATLAS_LIT("STORAGE"), name, 8 * AES_KEY, key) &&
                derive(seed, ATLAS_LIT("INTEGRITY"), ATLAS_SPAN_NONE, 256, hmac_key) &&
                encrypt_identity(key, secret, message);
    if (good) {
        memcpy(message + size, name.p, name.n);
        good = HMAC(EVP_sha256(), hmac_key, sizeof hmac_key, message, size + name.n, hmac, &n) != NULL && n == 32;
    }
    OPENSSL_cleanse(key, sizeof key);
    OPENSSL_cleanse(hmac_key, sizeof hmac_key);
    if (!good) {
        return failed(error);
    }
    atlas_buf_append_u8(ret_object, 0);
    atlas_buf_append_u8(ret_object, sizeof hmac);
    atlas_buf_append(ret_object, atlas_span_of(hmac, sizeof hmac));
    atlas_buf_append(ret_object, atlas_span_of(message, size));
    return atlas_buf_check(ret_object, error);
}

int atlas_credential_make(struct atlas_span ek_spki, struct atlas_span name, struct atlas_span secret,
                          struct atlas_buf *ret_object, struct atlas_buf *ret_encrypted, struct atlas_error *error)
{
    atlas_ossl_begin();
    int rc = ATLAS_OK;
    uint8_t seed[SEED];
    EVP_PKEY *key = NULL;
    ATLAS_TRY(atlas_pkey_read(ek_spki, &key, error));
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_UNSUPPORTED, where, "the endorsement key is not RSA"));
    }
    if (secret.n == 0 || secret.n > MAX_SECRET || name.n > MAX_NAME) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, where, "a secret of 1 to %d bytes", MAX_SECRET));
    }
    ATLAS_TRY(atlas_crypto_random(seed, sizeof seed, error));
    ATLAS_TRY(encrypt_seed(key, seed, ret_encrypted, error));
    ATLAS_TRY(atlas_buf_check(ret_encrypted, error));
    ATLAS_TRY(write_object(seed, name, secret, ret_object, error));
out:
    OPENSSL_cleanse(seed, sizeof seed);
    EVP_PKEY_free(key);
    return atlas_ossl_done(rc);
}
