/* pem.h - walking PEM texts, for the files of port/crypto. */
#ifndef ATLAS_PORT_CRYPTO_PEM_H
#define ATLAS_PORT_CRYPTO_PEM_H

#include <openssl/bio.h>

#include "port/crypto/der.h"
#include "port/crypto/x509.h"

/* One block: its label ("CERTIFICATE") and decoded bytes, which live until it returns. */
typedef int atlas_pem_block(const char *name, struct atlas_span der, void *user, struct atlas_error *error);

/* Call `block` for each; ATLAS_E_X509 when there is none or one is damaged. Text around the blocks is ignored. */
int atlas_pem_each(struct atlas_span text, const char *where, atlas_pem_block *block, void *user,
                   struct atlas_error *error);

/* Append what a memory BIO holds. */
int atlas_pem_take(BIO *bio, struct atlas_buf *ret_bytes, struct atlas_error *error);

#endif
