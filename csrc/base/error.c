#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

static int set(struct atlas_error *error, int code, size_t offset, const char *where, const char *format, va_list args)
{
    if (error != NULL && error->code == ATLAS_OK) {
        error->code = code;
        error->offset = offset;
        snprintf(error->where, sizeof error->where, "%s", where != NULL ? where : "");
        vsnprintf(error->text, sizeof error->text, format, args);
    }
    return code;
}

int atlas_error_set(struct atlas_error *error, int code, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = set(error, code, ATLAS_NO_OFFSET, where, format, args);
    va_end(args);
    return rc;
}

int atlas_error_at(struct atlas_error *error, int code, size_t offset, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = set(error, code, offset, where, format, args);
    va_end(args);
    return rc;
}

#define NAME(code) \
    case code:     \
        return #code

const char *atlas_err_name(int code)
{
    switch ((enum atlas_err)code) {
        NAME(ATLAS_OK);
        NAME(ATLAS_E_ARG);
        NAME(ATLAS_E_BUSY);
        NAME(ATLAS_E_NOMEM);
        NAME(ATLAS_E_IO);
        NAME(ATLAS_E_NOT_FOUND);
        NAME(ATLAS_E_UNSUPPORTED);
        NAME(ATLAS_E_CHANGED);
        NAME(ATLAS_E_CANCELLED);
        NAME(ATLAS_E_REFUSED);
        NAME(ATLAS_E_VOLUME);
        NAME(ATLAS_E_LOCKED);
        NAME(ATLAS_E_BROKEN);
        NAME(ATLAS_E_LIMIT);
        NAME(ATLAS_E_CBOR);
        NAME(ATLAS_E_JUMBF);
        NAME(ATLAS_E_COSE);
        NAME(ATLAS_E_C2PA);
        NAME(ATLAS_E_UTF8);
        NAME(ATLAS_E_JSON);
        NAME(ATLAS_E_X509);
        NAME(ATLAS_E_KEY);
        NAME(ATLAS_E_INDEX);
        NAME(ATLAS_E_PART);
        NAME(ATLAS_E_LOG);
        NAME(ATLAS_E_NOTE);
        NAME(ATLAS_E_EVIDENCE);
        NAME(ATLAS_E_DIGEST);
        NAME(ATLAS_E_SIGNATURE);
        NAME(ATLAS_E_CREDENTIAL);
        NAME(ATLAS_E_CHAIN);
        NAME(ATLAS_E_EXPIRED);
        NAME(ATLAS_E_REVOKED);
        NAME(ATLAS_E_ALGORITHM);
        NAME(ATLAS_E_MISMATCH);
        NAME(ATLAS_E_TCB);
        NAME(ATLAS_E_TILE);
        NAME(ATLAS_E_FORKED);
        NAME(ATLAS_E_ROLLED_BACK);
        NAME(ATLAS_E_UNKNOWN_LOG);
        NAME(ATLAS_E_INTERNAL);
        NAME(ATLAS_E_CRYPTO);
    }
    return "ATLAS_E_INTERNAL";
}
