/*
 * hashedrekord.h - what stands in a log for one signature: the canonical entry hashedrekord 0.0.2 of Rekor v2 (JSON in
 * the form of RFC 8785), for logs of our own and remote ones alike; and the older 0.0.1 of Rekor v1, to be read only.
 *
 * An entry holds the digest of what was signed, the signature and the key. Nothing else of a manifest enters a log.
 */
#ifndef ATLAS_FORMAT_HASHEDREKORD_H
#define ATLAS_FORMAT_HASHEDREKORD_H

#include "base/alg.h"
#include "base/buf.h"

#define ATLAS_MAX_LOG_BODY 65535 /* c2sp.org/tlog-tiles: an entry's length has two bytes */

struct atlas_hashedrekord {
    int alg;                     /* enum atlas_alg of the digest */
    struct atlas_span digest;
    struct atlas_span signature; /* DER for ECDSA */
    struct atlas_span key;       /* SubjectPublicKeyInfo, or with `certificate` an X.509 certificate; DER */
    bool certificate;
    struct atlas_span details;   /* of 0.0.2: "PKIX_ECDSA_P256_SHA_256" */
};

/* The digest's algorithm and the name of the key's kind in entries. false: entries have no name for it (PS384, PS512,
 * RSA of other than 2048, 3072 or 4096 bits). signature_size: of COSE's form. */
bool atlas_hashedrekord_kind(int64_t cose_alg, size_t signature_size, int *ret_alg, const char **ret_details);

/* Append the entry. */
void atlas_hashedrekord_write(const struct atlas_hashedrekord *record, struct atlas_buf *ret_entry);

/* Read an entry: 0.0.2 in its canonical form, or 0.0.1. Everything decoded lies in `storage`. ATLAS_E_NOTE: not the
 * form. ATLAS_E_UNSUPPORTED: another kind or version. */
int atlas_hashedrekord_read(struct atlas_span entry, struct atlas_buf *storage, struct atlas_hashedrekord *ret_record,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
