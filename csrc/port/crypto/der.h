/* der.h - a strict DER walker (X.690, 10): definite, shortest lengths, one-byte tags. For the few places where the
 * bytes that were received matter and OpenSSL hands out only what it understood. */
#ifndef ATLAS_PORT_CRYPTO_DER_H
#define ATLAS_PORT_CRYPTO_DER_H

#include "base/span.h"

#define ATLAS_DER_BOOLEAN 0x01
#define ATLAS_DER_INTEGER 0x02
#define ATLAS_DER_OCTETS 0x04
#define ATLAS_DER_UTF8 0x0C
#define ATLAS_DER_SEQUENCE 0x30
#define ATLAS_DER_CONTEXT0 0xA0

struct atlas_der {
    uint8_t tag;
    struct atlas_span content;
    struct atlas_span whole; /* with tag and length */
};

/* Cut one element off the front of *rest; false (nothing changed) when there is no whole DER element. */
bool atlas_der_next(struct atlas_span *rest, struct atlas_der *ret_element);

/* The same, if it has that tag. */
bool atlas_der_take(struct atlas_span *rest, uint8_t tag, struct atlas_der *ret_element);

#endif
