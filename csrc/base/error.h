/* error.h - fill the caller's struct atlas_error, once. */
#ifndef ATLAS_BASE_ERROR_H
#define ATLAS_BASE_ERROR_H

#include "base/types.h"

#define ATLAS_ERROR_INIT ((struct atlas_error){.code = 0, .offset = (size_t)-1, .where = "", .text = ""})
#define ATLAS_NO_OFFSET ((size_t)-1)

#if defined(__GNUC__)
#define ATLAS_PRINTF(a, b) __attribute__((format(printf, a, b)))
#define ATLAS_MUST_CHECK __attribute__((warn_unused_result))
#else
#define ATLAS_PRINTF(a, b)
#define ATLAS_MUST_CHECK
#endif

/* The one control-flow macro: remember the result in rc and leave through `out` when it is negative. */
#define ATLAS_TRY(expression)    \
    do {                         \
        rc = (expression);       \
        if (rc < 0) {            \
            goto out;            \
        }                        \
    } while (0)

/* Record code, field and sentence unless error is NULL or already holds one. Returns code, so that a failing function
 * can `return atlas_error_set(...)`. */
int atlas_error_set(struct atlas_error *error, int code, const char *where, const char *format, ...) ATLAS_PRINTF(4, 5);

/* The same with a byte position. */
int atlas_error_at(struct atlas_error *error, int code, size_t offset, const char *where, const char *format, ...)
    ATLAS_PRINTF(5, 6);

/* "ATLAS_E_CBOR" and so on; "ATLAS_E_INTERNAL" for a number that is no code. */
const char *atlas_err_name(int code);

#endif
