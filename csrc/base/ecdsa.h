/* ecdsa.h - an ECDSA signature in its two forms: r || s of full length (COSE), and DER (X.509, logs). The form only. */
#ifndef ATLAS_BASE_ECDSA_H
#define ATLAS_BASE_ECDSA_H

#include "base/buf.h"

#define ATLAS_ECDSA_MAX_HALF 66 /* P-521 */

/* Append r || s, both of half its length, as the one DER of these numbers; false: not such a signature. */
bool atlas_ecdsa_to_der(struct atlas_span raw, struct atlas_buf *ret_der);

/* Append DER as r || s of `half` bytes each; false: not the one DER of two numbers that fit. */
bool atlas_ecdsa_from_der(struct atlas_span der, size_t half, struct atlas_buf *ret_raw);

#endif
