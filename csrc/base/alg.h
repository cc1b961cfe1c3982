/* alg.h - the algorithms of the profile, by number and by name: hashes in span.h, COSE signature algorithms here. */
#ifndef ATLAS_BASE_ALG_H
#define ATLAS_BASE_ALG_H

#include "base/span.h"

/* RFC 9053 and the IANA registry: the whole allow-list. Everything else is ATLAS_E_ALGORITHM. */
enum atlas_cose_alg {
    ATLAS_COSE_NONE = 0,
    ATLAS_COSE_ES256 = -7,  /* P-256 only */
    ATLAS_COSE_EDDSA = -8,  /* Ed25519 only */
    ATLAS_COSE_ES384 = -35, /* P-384 only */
    ATLAS_COSE_ES512 = -36, /* P-521 only */
    ATLAS_COSE_PS256 = -37, /* RSA of 2048 to 8192 bits; salt as long as the digest, MGF1 with the same hash */
    ATLAS_COSE_PS384 = -38,
    ATLAS_COSE_PS512 = -39,
};

/* "ES256" and so on; NULL for an algorithm that is not allowed. The other way: ATLAS_COSE_NONE. */
const char *atlas_cose_alg_name(int64_t cose_alg);
enum atlas_cose_alg atlas_cose_alg_of(struct atlas_span name);

#endif
