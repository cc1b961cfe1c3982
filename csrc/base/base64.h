/* base64.h - Base64 (RFC 4648, 4) in its one form: padded, no other characters, no bits left over. */
#ifndef ATLAS_BASE_BASE64_H
#define ATLAS_BASE_BASE64_H

#include "base/buf.h"

void atlas_base64_encode(struct atlas_span bytes, struct atlas_buf *ret_text);

/* Append the bytes; false, with nothing appended, when the text is no such form. Out of memory: see buf.h. */
bool atlas_base64_decode(struct atlas_span text, struct atlas_buf *ret_bytes);

/* The same for exactly n bytes. */
bool atlas_base64_decode_exact(struct atlas_span text, uint8_t *ret_bytes, size_t n);

#endif
