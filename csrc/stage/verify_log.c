/* verify_log.c - was each signature logged: proofs are asked for by the hash of the entry, and held against the logs
 * and witnesses that the policy names. Only a signature that was verified is asked about: the slot of any other stays
 * "not run". */
#include <stdlib.h>

#include "stage/verify_parts.h"

#define CODE_INCLUDED ATLAS_NAMESPACE ".log.included"
#define CODE_MISSING ATLAS_NAMESPACE ".log.missing"

int atlas_verifier_trust_logs(struct atlas_verifier *v, struct atlas_span policy, bool require,
                              const struct atlas_span *heads, size_t n_heads, struct atlas_error *error)
{
    struct atlas_log_head head;
    int rc;
    if (v->phase != ATLAS_PHASE_NEW || v->log_policy != NULL) {
        return atlas_error_set(error, ATLAS_E_ARG, "verifier", "logs are named once, and before anything is opened");
    }
    ATLAS_TRY(atlas_log_policy_new(policy, &v->log_policy, error));
    ATLAS_TRY(atlas_log_checker_new(v->log_policy, &v->log, error));
    for (size_t i = 0; i < n_heads; i++) {
        /* what this policy does not accept says nothing */
        if (atlas_log_checker_head(v->log, heads[i], &head, NULL) == ATLAS_E_NOMEM) {
            ATLAS_TRY(atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory"));
        }
    }
    v->require_log = require;
out:
    return rc;
}

void atlas_log_release(struct atlas_verifier *v)
{
    atlas_log_checker_free(v->log);
    atlas_log_policy_free(v->log_policy);
    free(v->places);
}

int atlas_log_begin(struct atlas_verifier *v, struct atlas_error *error)
{
    v->log_cursor = 0;
    if (v->log == NULL) {
        for (size_t i = 0; i < v->n_nodes; i++) {
            atlas_slot_set(&v->nodes[i], ATLAS_SLOT_LOG, ATLAS_NOT_REQUIRED);
        }
        return ATLAS_OK;
    }
    v->places = calloc(v->n_nodes + 1, sizeof *v->places);
    return v->places != NULL ? ATLAS_OK : atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
}

/* --------------------------------------------------------------------------------------------------- statement */

/* The signature of a node, as it is logged; tbs keeps what it is of. */
static int statement_of(const struct atlas_node *node, struct atlas_buf *tbs, struct atlas_log_statement *ret_statement,
                        struct atlas_error *error)
{
    struct atlas_certificate leaf;
    int rc = atlas_certificate_read(node->leaf, &leaf, error);
    if (rc < 0) {
        return rc;
    }
    atlas_cose_write_sig_structure(tbs, node->cose.protected_, ATLAS_SPAN_NONE, node->manifest.claim_cbor);
    *ret_statement = (struct atlas_log_statement){.alg = node->cose.alg,
                                                  .tbs = atlas_buf_span(tbs),
                                                  .signature = node->cose.signature,
                                                  .spki = leaf.spki,
                                                  .certificate = node->leaf};
    return atlas_buf_check(tbs, error);
}

static int leaf_hash(const struct atlas_node *node, struct atlas_digest *ret_leaf, struct atlas_error *error)
{
    struct atlas_log_statement statement;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    struct atlas_buf entry = ATLAS_BUF_INIT;
    int rc;
    ATLAS_TRY(statement_of(node, &tbs, &statement, error));
    ATLAS_TRY(atlas_log_entry_make(&statement, &entry, error));
    ATLAS_TRY(atlas_merkle_leaf(ATLAS_SHA256, atlas_buf_span(&entry), ret_leaf, error));
out:
    atlas_buf_release(&tbs);
    atlas_buf_release(&entry);
    return rc;
}

/* --------------------------------------------------------------------------------------------------------- ask */

static int missing(struct atlas_verifier *v, uint32_t n, struct atlas_span why)
{
    struct atlas_node *node = &v->nodes[n];
    if (v->require_log) {
        return atlas_report(v, n, ATLAS_SLOT_LOG, CODE_MISSING, ATLAS_FAILED, ATLAS_INCOMPLETE, node->box.label,
                            "the policy demands that this signature is logged, and nothing proves it: %.*s",
                            (int)why.n, (const char *)why.p);
    }
    atlas_slot_set(node, ATLAS_SLOT_LOG, ATLAS_NOT_REQUIRED);
    return atlas_report(v, n, ATLAS_SLOT_COUNT, CODE_MISSING, ATLAS_NOTE, ATLAS_VALID, node->box.label,
                        "not proven to be logged: %.*s", (int)why.n, (const char *)why.p);
}

static void ask(struct atlas_verifier *v, uint32_t n, const struct atlas_digest *leaf, struct atlas_need *ret_need)
{
    const struct atlas_node *node = &v->nodes[n];
    *ret_need = (struct atlas_need){
        .kind = ATLAS_NEED_PROOF,
        .node = n,
        .name = node->has_measurement ? node->measurement.name : node->binding_name,
        .digest = *leaf,
        .urn = node->box.label,
        .subject = n == 0,
    };
}

int atlas_log_next(struct atlas_verifier *v, struct atlas_need *ret_need, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    for (; v->log != NULL && v->log_cursor < v->n_nodes; v->log_cursor++) {
        struct atlas_error why = ATLAS_ERROR_INIT;
        struct atlas_digest leaf;
        if (v->nodes[v->log_cursor].leaf.p == NULL) {
            continue;
        }
        if (leaf_hash(&v->nodes[v->log_cursor], &leaf, &why) >= 0) {
            ask(v, v->log_cursor++, &leaf, ret_need);
            return ATLAS_OK;
        }
        rc = why.code == ATLAS_E_NOMEM ? why.code : missing(v, v->log_cursor, atlas_span_str(why.text));
        if (rc < 0) {
            return atlas_error_set(error, rc, "", "out of memory");
        }
    }
    ret_need->kind = ATLAS_NEED_NOTHING;
    return rc;
}

/* ------------------------------------------------------------------------------------------------------ answers */

static const struct outcome {
    int code;
    const char *status;
    enum atlas_answer answer;
} outcomes[] = {
    {ATLAS_E_UNKNOWN_LOG, ATLAS_NAMESPACE ".log.untrusted", ATLAS_UNTRUSTED},
    {ATLAS_E_FORKED, ATLAS_NAMESPACE ".log.forked", ATLAS_INVALID},
    {ATLAS_E_DIGEST, ATLAS_NAMESPACE ".log.mismatch", ATLAS_INVALID},
    {ATLAS_E_SIGNATURE, ATLAS_NAMESPACE ".log.mismatch", ATLAS_INVALID},
};

static int report_wrong(struct atlas_verifier *v, uint32_t n, const struct atlas_error *why)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (outcomes[i].code == why->code) {
            return atlas_report(v, n, ATLAS_SLOT_LOG, outcomes[i].status, ATLAS_FAILED, outcomes[i].answer,
                                v->nodes[n].box.label, "%s", why->text);
        }
    }
    return atlas_report_error(v, n, ATLAS_SLOT_LOG, ATLAS_NAMESPACE ".log.malformed", ATLAS_MALFORMED,
                              v->nodes[n].box.label, why);
}

/* A proof that is false, or a log with two histories, counts whatever else is there; one that only cannot be used does
 * not, where another one holds. */
static bool is_false(int code)
{
    return code == ATLAS_E_DIGEST || code == ATLAS_E_SIGNATURE || code == ATLAS_E_FORKED;
}

static int included(struct atlas_verifier *v, uint32_t n, const struct atlas_log_place *place)
{
    v->places[n] = *place;
    int shown = (int)(place->head.n_origin < 100 ? place->head.n_origin : 100);
    return atlas_report(v, n, ATLAS_SLOT_LOG, CODE_INCLUDED, ATLAS_PASSED, ATLAS_VALID, v->nodes[n].box.label,
                        "entry %llu of the %llu in %.*s, cosigned by %zu of its witnesses",
                        (unsigned long long)place->index, (unsigned long long)place->head.size, shown,
                        place->head.origin, place->head.witnesses);
}

int atlas_log_take(struct atlas_verifier *v, const struct atlas_span *proofs, size_t n_proofs)
{
    struct atlas_error kept = ATLAS_ERROR_INIT;
    struct atlas_log_statement statement;
    struct atlas_log_place place;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    uint32_t n = v->need.node;
    bool holds = false;
    int rc;
    ATLAS_TRY(statement_of(&v->nodes[n], &tbs, &statement, NULL));
    for (size_t i = 0; i < n_proofs; i++) {
        struct atlas_error why = ATLAS_ERROR_INIT;
        int found = atlas_log_checker_prove(v->log, &statement, proofs[i], &place, &why);
        if (found == ATLAS_E_NOMEM) {
            ATLAS_TRY(found);
        }
        if (found >= 0 && !holds) {
            holds = true;
            ATLAS_TRY(included(v, n, &place));
        } else if (found < 0 && is_false(found)) {
            ATLAS_TRY(report_wrong(v, n, &why));
        } else if (found < 0) {
            kept = why;
        }
    }
    if (!holds && kept.code != ATLAS_OK) {
        ATLAS_TRY(report_wrong(v, n, &kept));
    }
out:
    atlas_buf_release(&tbs);
    return rc;
}

int atlas_log_absent(struct atlas_verifier *v, struct atlas_span why)
{
    return missing(v, v->need.node, why);
}

int atlas_log_unreadable(struct atlas_verifier *v, struct atlas_span why)
{
    return atlas_report(v, v->need.node, ATLAS_SLOT_LOG, ATLAS_NAMESPACE ".log.unreadable", ATLAS_FAILED,
                        ATLAS_UNCHECKABLE, v->nodes[v->need.node].box.label, "%.*s", (int)why.n, (const char *)why.p);
}

const struct atlas_log_place *atlas_verifier_logged(const struct atlas_verifier *v, uint32_t node)
{
    bool known = v->phase == ATLAS_PHASE_DONE && v->places != NULL && node < v->n_nodes;
    return known && v->places[node].head.n_origin != 0 ? &v->places[node] : NULL;
}
