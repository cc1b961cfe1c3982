/* signature.h - signing and verifying contexts and the two forms of an ECDSA signature, for the files of port/crypto.
 */
#ifndef ATLAS_PORT_CRYPTO_SIGNATURE_H
#define ATLAS_PORT_CRYPTO_SIGNATURE_H

#include "port/crypto/pkey.h"

/* Prepare context for one message under the scheme: padding, salt and hashes set, nothing left to defaults. */
int atlas_scheme_begin(const struct atlas_scheme *scheme, EVP_MD_CTX *context, EVP_PKEY *key, bool sign,
                       struct atlas_error *error);

/* Append DER as r || s, each `half` bytes. */
int atlas_ecdsa_to_raw(struct atlas_span der, size_t half, struct atlas_buf *ret_raw, struct atlas_error *error);

#endif
