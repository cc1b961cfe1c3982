#include "stage/proof.h"

#include <stdlib.h>

#include "stage/merkle.h"

static const char where[] = "log proof";

struct kept_head {
    uint8_t note[ATLAS_NOTE_ROOT]; /* SHA-256 of the whole note */
    struct atlas_log_head head;
};

struct atlas_log_checker {
    const struct atlas_log_policy *policy;
    struct kept_head *heads;
    size_t n;
    size_t cap;
    size_t next; /* the one that makes room when all are taken */
};

int atlas_log_checker_new(const struct atlas_log_policy *policy, struct atlas_log_checker **ret_checker,
                          struct atlas_error *error)
{
    struct atlas_log_checker *checker = calloc(1, sizeof *checker);
    if (checker == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
    }
    checker->policy = policy;
    *ret_checker = checker;
    return ATLAS_OK;
}

void atlas_log_checker_free(struct atlas_log_checker *checker)
{
    if (checker != NULL) {
        free(checker->heads);
        free(checker);
    }
}

/* ------------------------------------------------------------------------------------------------- checkpoints */

static const struct kept_head *find_note(const struct atlas_log_checker *c, const struct atlas_digest *note)
{
    for (size_t i = 0; i < c->n; i++) {
        if (memcmp(c->heads[i].note, note->b, sizeof c->heads[i].note) == 0) {
            return &c->heads[i];
        }
    }
    return NULL;
}

static bool is_other_history(const struct atlas_log_head *a, const struct atlas_log_head *b)
{
    return a->size == b->size && memcmp(a->root, b->root, sizeof a->root) != 0 &&
           atlas_span_equal(atlas_span_of(a->origin, a->n_origin), atlas_span_of(b->origin, b->n_origin));
}

static int keep(struct atlas_log_checker *c, const struct atlas_digest *note, const struct atlas_log_head *head,
                struct atlas_error *error)
{
    if (c->n == c->cap && c->cap < ATLAS_MAX_LOG_HEADS) {
        size_t cap = c->cap != 0 ? 2 * c->cap : 16;
        struct kept_head *more = realloc(c->heads, cap * sizeof *more);
        if (more == NULL) {
            return atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
        }
        c->heads = more;
        c->cap = cap;
    }
    size_t at = c->n < c->cap ? c->n++ : c->next++ % c->cap;
    memcpy(c->heads[at].note, note->b, sizeof c->heads[at].note);
    c->heads[at].head = *head;
    return ATLAS_OK;
}

int atlas_log_checker_head(struct atlas_log_checker *checker, struct atlas_span note, struct atlas_log_head *ret_head,
                           struct atlas_error *error)
{
    struct atlas_digest id;
    struct atlas_log_head head;
    int rc;
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, note, &id, error));
    const struct kept_head *known = find_note(checker, &id);
    if (known != NULL) {
        *ret_head = known->head;
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_log_policy_open(checker->policy, note, &head, error));
    for (size_t i = 0; i < checker->n; i++) {
        if (is_other_history(&checker->heads[i].head, &head)) {
            ATLAS_TRY(atlas_error_set(error, ATLAS_E_FORKED, "checkpoint",
                                      "%.*s has signed two histories: two roots at size %llu",
                                      (int)(head.n_origin < 100 ? head.n_origin : 100), head.origin,
                                      (unsigned long long)head.size));
        }
    }
    ATLAS_TRY(keep(checker, &id, &head, error));
    *ret_head = head;
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------------ proofs */

/* The tree first: a proof that leads nowhere is wrong whoever signed the checkpoint. */
static int check_path(const struct atlas_tlog_proof *proof, struct atlas_span entry, struct atlas_error *error)
{
    struct atlas_span path[ATLAS_MAX_PROOF_HASHES];
    struct atlas_checkpoint c;
    struct atlas_digest leaf;
    struct atlas_note note;
    int rc;
    for (size_t i = 0; i < proof->n; i++) {
        path[i] = atlas_span_of(proof->hashes[i], ATLAS_NOTE_ROOT);
    }
    ATLAS_TRY(atlas_note_read(proof->checkpoint, &note, error));
    ATLAS_TRY(atlas_checkpoint_read(note.text, &c, error));
    ATLAS_TRY(atlas_merkle_leaf(ATLAS_SHA256, entry, &leaf, error));
    ATLAS_TRY(atlas_merkle_inclusion_check(ATLAS_SHA256, proof->index, c.size, atlas_digest_span(&leaf), path, proof->n,
                                           atlas_span_of(c.root, sizeof c.root), error));
out:
    return rc;
}

static int check(struct atlas_log_checker *checker, struct atlas_span entry, const struct atlas_tlog_proof *proof,
                 struct atlas_log_place *ret_place, struct atlas_error *error)
{
    struct atlas_log_place place = {.index = proof->index};
    int rc;
    ATLAS_TRY(check_path(proof, entry, error));
    ATLAS_TRY(atlas_log_checker_head(checker, proof->checkpoint, &place.head, error));
    *ret_place = place;
out:
    return rc;
}

int atlas_log_checker_entry(struct atlas_log_checker *checker, struct atlas_span entry, struct atlas_span proof,
                            struct atlas_log_place *ret_place, struct atlas_error *error)
{
    struct atlas_tlog_proof p = ATLAS_TLOG_PROOF_INIT;
    int rc;
    ATLAS_TRY(atlas_tlog_proof_read(proof, &p, error));
    if (p.document != NULL && !atlas_span_equal(atlas_buf_span(&p.body), entry)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_DIGEST, where, "the proof is of another entry"));
    }
    ATLAS_TRY(check(checker, entry, &p, ret_place, error));
out:
    atlas_tlog_proof_release(&p);
    return rc;
}

int atlas_log_checker_prove(struct atlas_log_checker *checker, const struct atlas_log_statement *statement,
                            struct atlas_span proof, struct atlas_log_place *ret_place, struct atlas_error *error)
{
    struct atlas_tlog_proof p = ATLAS_TLOG_PROOF_INIT;
    struct atlas_buf entry = ATLAS_BUF_INIT;
    int rc;
    ATLAS_TRY(atlas_tlog_proof_read(proof, &p, error));
    if (p.document != NULL) {
        ATLAS_TRY(atlas_log_entry_compare(statement, atlas_buf_span(&p.body), error));
        atlas_buf_append(&entry, atlas_buf_span(&p.body));
    } else {
        ATLAS_TRY(atlas_log_entry_make(statement, &entry, error));
    }
    ATLAS_TRY(atlas_buf_check(&entry, error));
    ATLAS_TRY(check(checker, atlas_buf_span(&entry), &p, ret_place, error));
out:
    atlas_tlog_proof_release(&p);
    atlas_buf_release(&entry);
    return rc;
}
