/* ossl.h - shared by the files of port/crypto: turning OpenSSL's answers into ours. Included by nobody else. */
#ifndef ATLAS_PORT_CRYPTO_OSSL_H
#define ATLAS_PORT_CRYPTO_OSSL_H

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "port/crypto/crypto.h"

/* Record code and sentence, with OpenSSL's reason where it gave one, and empty its queue. An allocation failure
 * anywhere in the queue wins over `code`: "could not check" is never reported as "checked and false". */
int atlas_ossl_fail(struct atlas_error *error, int code, const char *where, const char *text);

/* After something foreign turned out to be of no use: empty the queue. ATLAS_E_NOMEM when that was for want of memory -
 * then it was not found useless, it was not looked at. */
int atlas_ossl_ignore(struct atlas_error *error);

/* Leave the queue empty and pass rc on: the last line of every public function. */
int atlas_ossl_done(int rc);

/* EVP_MD of an enum atlas_alg; NULL otherwise. */
const EVP_MD *atlas_ossl_md(int alg);

#endif
