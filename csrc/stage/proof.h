/*
 * proof.h - was this signature logged: an entry's proof against a policy (c2sp.org/tlog-policy) that names the logs,
 * the witnesses, and how many of which witnesses must have cosigned.
 *
 *     log VKEY [URL]
 *     witness NAME VKEY [URL]
 *     group NAME all|any|NUMBER MEMBER...
 *     quorum NAME|none
 *
 * Keys come from the policy and from nowhere else. The sentences are kept apart: ATLAS_E_NOTE and ATLAS_E_JSON not the
 * form; ATLAS_E_DIGEST and ATLAS_E_SIGNATURE a proof that is wrong; ATLAS_E_UNKNOWN_LOG a proof that may hold, but
 * under no key of the policy or without its quorum; ATLAS_E_FORKED two heads of one log that contradict each other.
 */
#ifndef ATLAS_STAGE_PROOF_H
#define ATLAS_STAGE_PROOF_H

#include "format/tlog_proof.h"
#include "stage/note.h"

#define ATLAS_MAX_LOG_POLICY_BYTES (256u << 10)
#define ATLAS_MAX_LOG_POLICY_LINES 1024
#define ATLAS_MAX_LOG_KEYS 256   /* logs; and as many witnesses, and groups */
#define ATLAS_MAX_LOG_HEADS 1024 /* checkpoints that a checker remembers */

/* ------------------------------------------------------------------------------------------------------ policy */

struct atlas_log_policy; /* owner; never changes, so any number of threads may use it */

/* ATLAS_E_NOTE, with the line, for anything that the specification does not say. */
int atlas_log_policy_new(struct atlas_span text, struct atlas_log_policy **ret_policy,
                         struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_log_policy_free(struct atlas_log_policy *policy);

/* What an accepted checkpoint says. */
struct atlas_log_head {
    char origin[ATLAS_MAX_NOTE_NAME];
    size_t n_origin;
    uint64_t size;
    uint8_t root[ATLAS_NOTE_ROOT];
    size_t witnesses; /* of the policy, that cosigned */
};

/* Is this a checkpoint that a log of the policy signed, under the origin that its key names, cosigned by the quorum? */
int atlas_log_policy_open(const struct atlas_log_policy *policy, struct atlas_span note,
                          struct atlas_log_head *ret_head, struct atlas_error *error) ATLAS_MUST_CHECK;

/* ----------------------------------------------------------------------------------------------------- entries */

/* One signature as its manifest has it. */
struct atlas_log_statement {
    int64_t alg;                  /* enum atlas_cose_alg */
    struct atlas_span tbs;        /* COSE's Sig_structure */
    struct atlas_span signature;  /* COSE's form */
    struct atlas_span spki;
    struct atlas_span certificate; /* DER */
};

/* Append its canonical entry. ATLAS_E_ALGORITHM: entries have no name for this kind of key. */
int atlas_log_entry_make(const struct atlas_log_statement *statement, struct atlas_buf *ret_entry,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

/* Is that entry, of whichever form, about this signature: same digest, same signature, same key? ATLAS_E_DIGEST: no. */
int atlas_log_entry_compare(const struct atlas_log_statement *statement, struct atlas_span entry,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append the canonical entry of the active manifest of a store, whose signature is checked first. */
int atlas_log_entry_of_store(struct atlas_span store, struct atlas_buf *ret_entry,
                             struct atlas_error *error) ATLAS_MUST_CHECK;

/* ------------------------------------------------------------------------------------------------------ proofs */

/* Checks proofs under one policy and remembers the checkpoints that it accepted: their signatures are verified once,
 * and two of them that contradict each other are found. One thread at a time. */
struct atlas_log_checker;

/* The policy must outlive it. */
int atlas_log_checker_new(const struct atlas_log_policy *policy, struct atlas_log_checker **ret_checker,
                          struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_log_checker_free(struct atlas_log_checker *checker);

/* A checkpoint: accepted, and no other history than one that was accepted before. */
int atlas_log_checker_head(struct atlas_log_checker *checker, struct atlas_span note, struct atlas_log_head *ret_head,
                           struct atlas_error *error) ATLAS_MUST_CHECK;

struct atlas_log_place {
    struct atlas_log_head head;
    uint64_t index;
};

/* Is this entry in a log of the policy? A proof that holds the entry itself (JSON) must hold this one. */
int atlas_log_checker_entry(struct atlas_log_checker *checker, struct atlas_span entry, struct atlas_span proof,
                            struct atlas_log_place *ret_place, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The same for a signature. The entry is the canonical one, or the one that the proof holds, compared with it. */
int atlas_log_checker_prove(struct atlas_log_checker *checker, const struct atlas_log_statement *statement,
                            struct atlas_span proof, struct atlas_log_place *ret_place,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

/* The same for the signature of a store's active manifest, which is checked first. */
int atlas_log_checker_store(struct atlas_log_checker *checker, struct atlas_span store, struct atlas_span proof,
                            struct atlas_log_place *ret_place, struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
