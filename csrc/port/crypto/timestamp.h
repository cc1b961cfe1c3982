/* timestamp.h - a parsed RFC 3161 token, for the files of port/crypto. */
#ifndef ATLAS_PORT_CRYPTO_TIMESTAMP_H
#define ATLAS_PORT_CRYPTO_TIMESTAMP_H

#include <openssl/cms.h>
#include <openssl/ts.h>

#include "port/crypto/x509.h"

struct atlas_token {
    CMS_ContentInfo *cms;
    CMS_SignerInfo *signer_info;  /* of cms */
    STACK_OF(X509) *certificates; /* all that it carries */
    X509 *signer;                 /* of certificates */
    TS_TST_INFO *info;
    int64_t gen_time;
};

#define ATLAS_TOKEN_INIT ((struct atlas_token){.cms = NULL})

/* Read a token and check its signature; who the signer is stays open. */
int atlas_token_read(struct atlas_span bytes, struct atlas_token *ret_token, struct atlas_error *error);
void atlas_token_release(struct atlas_token *token);

#endif
