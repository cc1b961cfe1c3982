/* hex.h - bytes from hexadecimal text in either case, blanks ignored. */
#ifndef ATLAS_TEST_HEX_H
#define ATLAS_TEST_HEX_H

#include <string.h>

#include "base/span.h"

static inline struct atlas_span hex(const char *text, uint8_t *out, size_t size)
{
    size_t digits = 0;
    memset(out, 0, size);
    for (; *text != '\0' && digits < 2 * size; text++) {
        if (*text != ' ') {
            int v = *text <= '9' ? *text - '0' : (*text | 0x20) - 'a' + 10;
            out[digits / 2] = (uint8_t)((out[digits / 2] << 4 | v) & 0xFF);
            digits++;
        }
    }
    return atlas_span_of(out, digits / 2);
}

#endif
