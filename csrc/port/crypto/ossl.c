#include "port/crypto/ossl.h"

#include <openssl/crypto.h>

/* True when the queue holds an allocation failure; empties it and keeps the last reason. */
static bool drain(const char **ret_reason)
{
    bool nomem = false;
    const char *reason = NULL;
    unsigned long code;
    while ((code = ERR_get_error()) != 0) {
        if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
            nomem = true;
        }
        const char *text = ERR_reason_error_string(code);
        reason = text != NULL ? text : reason;
    }
    *ret_reason = reason;
    return nomem;
}

/* OpenSSL does not say everywhere that it ran out of memory: a certificate whose key could not be decoded for want of
 * it is kept as one without a key. When nothing is left now, nothing was judged before. (A shortage that has passed by
 * now can still look like a refusal. It never looks like an acceptance.) */
static bool memory_left(void)
{
    void *probe = OPENSSL_malloc(4096);
    OPENSSL_free(probe);
    ERR_clear_error();
    return probe != NULL;
}

int atlas_ossl_fail(struct atlas_error *error, int code, const char *where, const char *text)
{
    const char *reason;
    if (drain(&reason) || !memory_left()) {
        return atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
    }
    if (reason != NULL) {
        return atlas_error_set(error, code, where, "%s (%s)", text, reason);
    }
    return atlas_error_set(error, code, where, "%s", text);
}

int atlas_ossl_ignore(struct atlas_error *error)
{
    const char *reason;
    return drain(&reason) || !memory_left() ? atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory") : ATLAS_OK;
}

int atlas_ossl_done(int rc)
{
    ERR_clear_error();
    return rc;
}

const EVP_MD *atlas_ossl_md(int alg)
{
    switch (alg) {
    case ATLAS_SHA256:
        return EVP_sha256();
    case ATLAS_SHA384:
        return EVP_sha384();
    case ATLAS_SHA512:
        return EVP_sha512();
    default:
        return NULL;
    }
}
