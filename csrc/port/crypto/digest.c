/* digest.c - digests and random bytes. */
#include <limits.h>

#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "port/crypto/ossl.h"
#include "port/pool.h"

static const char where[] = "digest";

int atlas_crypto_digest(int alg, struct atlas_span bytes, struct atlas_digest *ret_digest, struct atlas_error *error)
{
    const EVP_MD *md = atlas_ossl_md(alg);
    if (md == NULL) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, where, "unknown hash algorithm %d", alg);
    }
    struct atlas_digest digest = {.alg = (uint8_t)alg, .n = (uint8_t)atlas_alg_size(alg)};
    const void *p = bytes.p != NULL ? (const void *)bytes.p : "";
    atlas_fork_hold();
    bool good = EVP_Digest(p, bytes.n, digest.b, NULL, md, NULL) == 1;
    atlas_fork_allow();
    if (!good) {
        return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "hashing failed");
    }
    *ret_digest = digest;
    return ATLAS_OK;
}

int atlas_hasher_init(struct atlas_hasher *h, int alg, struct atlas_error *error)
{
    *h = ATLAS_HASHER_INIT;
    const EVP_MD *md = atlas_ossl_md(alg);
    if (md == NULL) {
        return atlas_error_set(error, ATLAS_E_ALGORITHM, where, "unknown hash algorithm %d", alg);
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    atlas_fork_hold();
    bool good = context != NULL && EVP_DigestInit_ex2(context, md, NULL) == 1;
    atlas_fork_allow();
    if (!good) {
        EVP_MD_CTX_free(context);
        return atlas_ossl_fail(error, context == NULL ? ATLAS_E_NOMEM : ATLAS_E_CRYPTO, where, "hashing failed");
    }
    *h = (struct atlas_hasher){context, alg};
    return ATLAS_OK;
}

int atlas_hasher_update(struct atlas_hasher *h, struct atlas_span bytes, struct atlas_error *error)
{
    if (h->context == NULL) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "the hasher was not initialised");
    }
    if (bytes.n != 0 && EVP_DigestUpdate(h->context, bytes.p, bytes.n) != 1) {
        return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "hashing failed");
    }
    return ATLAS_OK;
}

int atlas_hasher_reset(struct atlas_hasher *h, struct atlas_error *error)
{
    if (h->context == NULL) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "the hasher was not initialised");
    }
    /* NULL keeps the algorithm that was fetched: no second lookup. */
    if (EVP_DigestInit_ex2(h->context, NULL, NULL) != 1) {
        return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "hashing failed");
    }
    return ATLAS_OK;
}

int atlas_hasher_final(struct atlas_hasher *h, struct atlas_digest *ret_digest, struct atlas_error *error)
{
    if (h->context == NULL) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "the hasher was not initialised");
    }
    struct atlas_digest digest = {.alg = (uint8_t)h->alg, .n = (uint8_t)atlas_alg_size(h->alg)};
    if (EVP_DigestFinal_ex(h->context, digest.b, NULL) != 1) {
        return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "hashing failed");
    }
    int rc = atlas_hasher_reset(h, error);
    if (rc < 0) {
        return rc;
    }
    *ret_digest = digest;
    return ATLAS_OK;
}

int atlas_hasher_peek(const struct atlas_hasher *h, struct atlas_digest *ret_digest, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_digest digest = {.alg = (uint8_t)h->alg, .n = (uint8_t)atlas_alg_size(h->alg)};
    EVP_MD_CTX *copy = NULL;
    if (h->context == NULL) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "the hasher was not initialised");
    }
    copy = EVP_MD_CTX_new();
    if (copy == NULL || EVP_MD_CTX_copy_ex(copy, h->context) != 1 || EVP_DigestFinal_ex(copy, digest.b, NULL) != 1) {
        rc = atlas_ossl_fail(error, copy == NULL ? ATLAS_E_NOMEM : ATLAS_E_CRYPTO, where, "hashing failed");
    } else {
        *ret_digest = digest;
    }
    EVP_MD_CTX_free(copy);
    return atlas_ossl_done(rc);
}

void atlas_hasher_release(struct atlas_hasher *h)
{
    EVP_MD_CTX_free(h->context);
    *h = ATLAS_HASHER_INIT;
}

int atlas_crypto_hmac(struct atlas_span key, struct atlas_span message, struct atlas_digest *ret_mac,
                      struct atlas_error *error)
{
    const EVP_MD *md = atlas_ossl_md(ATLAS_SHA256);
    struct atlas_digest mac = {.alg = ATLAS_SHA256, .n = 32};
    unsigned n = 0;
    if (key.n == 0 || key.n > INT_MAX) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "no key");
    }
    const uint8_t *p = message.p != NULL ? message.p : (const uint8_t *)"";
    if (md == NULL || HMAC(md, key.p, (int)key.n, p, message.n, mac.b, &n) == NULL || n != mac.n) {
        return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "HMAC failed");
    }
    *ret_mac = mac;
    return ATLAS_OK;
}

int atlas_crypto_random(uint8_t *ret_bytes, size_t n, struct atlas_error *error)
{
    if (n > INT_MAX) {
        return atlas_error_set(error, ATLAS_E_ARG, "random", "too many bytes asked for");
    }
    atlas_fork_hold();
    bool good = n == 0 || RAND_bytes(ret_bytes, (int)n) == 1;
    atlas_fork_allow();
    if (!good) {
        return atlas_ossl_fail(error, ATLAS_E_CRYPTO, "random", "the random generator failed");
    }
    return ATLAS_OK;
}
