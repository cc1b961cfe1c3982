/*
 * note.h - the keys of signed notes: is a note signed by this key, and signing one (c2sp.org/signed-note,
 * c2sp.org/tlog-cosignature).
 *
 * The number of a key is in its text twice, as the text and as what it is computed from; both are compared when a key
 * is read, so that a damaged key is found where it was written and not where it fails to verify.
 */
#ifndef ATLAS_STAGE_NOTE_H
#define ATLAS_STAGE_NOTE_H

#include "format/note.h"
#include "port/crypto/crypto.h"

enum atlas_note_kind {
    ATLAS_NOTE_ED25519 = 0x01,
    ATLAS_NOTE_ECDSA = 0x02,       /* P-256 with SHA-256, DER signatures: Rekor v1 */
    ATLAS_NOTE_COSIGNATURE = 0x04, /* of a witness: a time, and Ed25519 over the time and the text */
};

struct atlas_note_key { /* owns its bytes; may be copied */
    char name[ATLAS_MAX_NOTE_NAME];
    size_t n_name;
    uint8_t id[ATLAS_NOTE_ID];
    enum atlas_note_kind kind;
    uint8_t spki[96];
    size_t n_spki;
};

static inline struct atlas_span atlas_note_key_name(const struct atlas_note_key *key)
{
    return atlas_span_of(key->name, key->n_name);
}

/* NAME+HEX+BASE64. ATLAS_E_NOTE: damaged, or a kind that is not one of these. ATLAS_E_CREDENTIAL, ATLAS_E_ALGORITHM,
 * ATLAS_E_X509: a key that is never acceptable. */
int atlas_note_key_parse(struct atlas_span text, struct atlas_note_key *ret_key,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

void atlas_note_key_format(const struct atlas_note_key *key, struct atlas_buf *ret_text);

/* The key of that name and kind; spki is a SubjectPublicKeyInfo. */
int atlas_note_key_make(struct atlas_span name, enum atlas_note_kind kind, struct atlas_span spki,
                        struct atlas_note_key *ret_key, struct atlas_error *error) ATLAS_MUST_CHECK;

/* One signature of a note: does the line name this key by name and number? */
bool atlas_note_key_named(const struct atlas_note_key *key, const struct atlas_note_signature *signature);

/* Is the signature of this text by this key? ATLAS_E_SIGNATURE: no. *ret_time: of a cosignature, else 0. */
int atlas_note_verify(const struct atlas_note_key *key, struct atlas_span text,
                      const struct atlas_note_signature *signature, uint64_t *ret_time,
                      struct atlas_error *error) ATLAS_MUST_CHECK;

/* Which of these keys signed the note: ret_signed has one flag per key. Lines of other keys are passed over; a line of
 * one of these keys that does not hold makes the note worthless: ATLAS_E_SIGNATURE. A cosignature of time 0 says
 * nothing and does not count. */
int atlas_note_open(struct atlas_span bytes, const struct atlas_note_key *keys, size_t n_keys, bool *ret_signed,
                    struct atlas_note *ret_note, struct atlas_error *error) ATLAS_MUST_CHECK;

/* ----------------------------------------------------------------------------------------------------- signing */

struct atlas_note_signer; /* an Ed25519 key with its name; owner */

/* PRIVATE+KEY+NAME+HEX+BASE64. ATLAS_E_NOTE: not that, or damaged. */
int atlas_note_signer_new(struct atlas_span text, struct atlas_note_signer **ret_signer,
                          struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_note_signer_free(struct atlas_note_signer *signer);

const struct atlas_note_key *atlas_note_signer_key(const struct atlas_note_signer *signer); /* what verifies it */

/* Append the signature line of a text. */
int atlas_note_sign(const struct atlas_note_signer *signer, struct atlas_span text, struct atlas_buf *ret_line,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append the text of a new private key of that name. */
int atlas_note_keygen(struct atlas_span name, struct atlas_buf *ret_text, struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
