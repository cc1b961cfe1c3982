/*
 * tlog_proof.h - the proof that an entry is in a log, as text: c2sp.org/tlog-proof@v1, and the TransparencyLogEntry of
 * sigstore as JSON (alone, or as the only one of a sigstore bundle). Nothing is verified here.
 */
#ifndef ATLAS_FORMAT_TLOG_PROOF_H
#define ATLAS_FORMAT_TLOG_PROOF_H

#include "format/note.h"
#include "port/json.h"

#define ATLAS_MAX_PROOF_BYTES (256u << 10)
#define ATLAS_MAX_PROOF_HASHES 63 /* of a tree below 2^63 entries */

struct atlas_tlog_proof {
    uint64_t index;
    size_t n;                                                 /* hashes, from the leaf to the root */
    uint8_t hashes[ATLAS_MAX_PROOF_HASHES][ATLAS_NOTE_ROOT];
    struct atlas_span checkpoint; /* a signed note; borrowed from the input, or from `document` */
    struct atlas_buf body;        /* the entry itself, where the form has it (JSON); else empty */
    struct atlas_json *document;
};

#define ATLAS_TLOG_PROOF_INIT ((struct atlas_tlog_proof){.index = 0, .n = 0, .body = ATLAS_BUF_INIT, .document = NULL})

/* ATLAS_E_NOTE, ATLAS_E_JSON: neither of the two forms. ATLAS_E_LIMIT. *ret_proof must be ATLAS_TLOG_PROOF_INIT;
 * release it in any case. */
int atlas_tlog_proof_read(struct atlas_span bytes, struct atlas_tlog_proof *ret_proof,
                          struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_tlog_proof_release(struct atlas_tlog_proof *proof);

/* Append a tlog-proof: index, hashes (one after the other) and a signed checkpoint. */
void atlas_tlog_proof_write(uint64_t index, struct atlas_span hashes, struct atlas_span checkpoint,
                            struct atlas_buf *ret_proof);

#endif
