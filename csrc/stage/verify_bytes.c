/* verify_bytes.c - hard binding and tree against what was measured. */
#include "stage/verify_parts.h"

static int both(struct atlas_verifier *v, uint32_t n, const char *code, enum atlas_answer answer, struct atlas_span why)
{
    struct atlas_node *node = &v->nodes[n];
    int rc = atlas_report(v, n, ATLAS_SLOT_BINDING, code, ATLAS_FAILED, answer, node->box.label, "%.*s", (int)why.n,
                          (const char *)why.p);
    atlas_slot_set(node, ATLAS_SLOT_TREE, ATLAS_FAILED);
    return rc;
}

static void not_required(struct atlas_node *node)
{
    atlas_slot_set(node, ATLAS_SLOT_BINDING, ATLAS_NOT_REQUIRED);
    atlas_slot_set(node, ATLAS_SLOT_TREE, ATLAS_NOT_REQUIRED);
}

static struct atlas_span name_of(const struct atlas_node *node)
{
    return node->has_measurement ? node->measurement.name : node->binding_name;
}

static struct atlas_need need_of(const struct atlas_verifier *v, uint32_t n)
{
    const struct atlas_node *node = &v->nodes[n];
    const struct atlas_digest nothing = {.alg = ATLAS_ALG_NONE};
    bool directory = node->has_measurement && node->measurement.directory;
    return (struct atlas_need){
        .kind = ATLAS_NEED_ARTIFACT,
        .node = n,
        .name = name_of(node),
        .urn = node->box.label,
        .subject = n == v->subject,
        .directory = directory,
        .alg = node->binding.alg,
        .flat_expected = node->binding,
        .flat = !v->policy.tree_only,
        .tree = node->has_measurement,
        .ignore = directory ? node->measurement.ignore : ATLAS_SPAN_NONE,
        .tensors = v->policy.tree_only ? nothing : node->measurement.tensors,
        .table = v->policy.tree_only ? nothing : node->measurement.table,
    };
}

/* Without a tree of its own a manifest cannot be checked by tree alone. */
static int no_tree(struct atlas_verifier *v, uint32_t n)
{
    if (n != v->subject) {
        not_required(&v->nodes[n]);
        return ATLAS_OK;
    }
    return both(v, n, "org.atlasml.tree.missing", ATLAS_INCOMPLETE,
                ATLAS_LIT("this manifest has no tree digest; verify it without --tree"));
}

static int pass_over(struct atlas_verifier *v, uint32_t n, bool *ret_over)
{
    struct atlas_node *node = &v->nodes[n];
    *ret_over = true;
    if (!node->has_claim || node->bytes_checked) {
        return ATLAS_OK; /* its slots stay "not run", and FORM says why */
    }
    node->bytes_checked = true;
    if (node->manifest.type == ATLAS_C2PA_UPDATE) {
        not_required(node); /* its parent's binding stands for it */
        return ATLAS_OK;
    }
    if (!node->has_binding) {
        return ATLAS_OK; /* RULES says why */
    }
    if (v->policy.tree_only && !node->has_measurement) {
        return no_tree(v, n);
    }
    *ret_over = false;
    return ATLAS_OK;
}

int atlas_bytes_next(struct atlas_verifier *v, struct atlas_need *ret_need, struct atlas_error *error)
{
    bool over;
    int rc;
    if (v->subject != ATLAS_NO_NODE && !v->nodes[v->subject].bytes_checked) {
        ATLAS_TRY(pass_over(v, v->subject, &over));
        if (!over) {
            *ret_need = need_of(v, v->subject);
            return ATLAS_OK;
        }
    }
    while (v->cursor < v->n_nodes) {
        uint32_t n = v->cursor++;
        ATLAS_TRY(pass_over(v, n, &over));
        if (!over) {
            *ret_need = need_of(v, n);
            return ATLAS_OK;
        }
    }
    *ret_need = (struct atlas_need){.kind = ATLAS_NEED_NOTHING};
    rc = ATLAS_OK;
out:
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}

/* ---------------------------------------------------------------------------------------------------- compare */

static int different(struct atlas_verifier *v, enum atlas_slot slot, const char *code, const char *text,
                     struct atlas_span detail)
{
    uint32_t n = v->need.node;
    v->nodes[n].bytes = ATLAS_BYTES_DIFFERENT;
    return atlas_report(v, n, slot, code, ATLAS_FAILED, ATLAS_INVALID, v->nodes[n].box.label, "%s%s%.*s", text,
                        detail.n != 0 ? ": " : "", (int)detail.n, detail.n != 0 ? (const char *)detail.p : "");
}

static int same(struct atlas_verifier *v, enum atlas_slot slot, const char *code, const char *text)
{
    return atlas_report(v, v->need.node, slot, code, ATLAS_PASSED, ATLAS_VALID, v->nodes[v->need.node].box.label, "%s",
                        text);
}

/* Asked for and not there, or of another algorithm: nothing was compared. */
static bool comparable(const struct atlas_digest *stated, const struct atlas_digest *measured)
{
    return measured->alg != ATLAS_ALG_NONE && measured->alg == stated->alg;
}

static int compare_binding(struct atlas_verifier *v, const struct atlas_measurement *m, struct atlas_span detail)
{
    const struct atlas_node *node = &v->nodes[v->need.node];
    if (!v->need.flat) {
        atlas_slot_set(&v->nodes[v->need.node], ATLAS_SLOT_BINDING, ATLAS_NOT_REQUIRED);
        return atlas_report(v, v->need.node, ATLAS_SLOT_COUNT, "org.atlasml.binding.skipped", ATLAS_NOTE, ATLAS_VALID,
                            node->box.label, "tree only: hard binding not checked");
    }
    if (!comparable(&node->binding, &m->flat)) {
        return atlas_report(v, v->need.node, ATLAS_SLOT_BINDING, "general.error", ATLAS_FAILED, ATLAS_UNCHECKABLE,
                            node->box.label, "the flat digest was not measured");
    }
    if (!atlas_digest_equal(&node->binding, &m->flat)) {
        return different(v, ATLAS_SLOT_BINDING, "assertion.dataHash.mismatch",
                         "the bytes are not those that were signed", detail);
    }
    return same(v, ATLAS_SLOT_BINDING, "assertion.dataHash.match", "the bytes are those that were signed");
}

static int compare_tree(struct atlas_verifier *v, const struct atlas_measurement *m, struct atlas_span detail)
{
    struct atlas_node *node = &v->nodes[v->need.node];
    const struct atlas_ml_measurement *stated = &node->measurement;
    if (!v->need.tree) {
        atlas_slot_set(node, ATLAS_SLOT_TREE, ATLAS_NOT_REQUIRED);
        return ATLAS_OK;
    }
    if (!comparable(&stated->tree, &m->tree)) {
        return atlas_report(v, v->need.node, ATLAS_SLOT_TREE, "general.error", ATLAS_FAILED, ATLAS_UNCHECKABLE,
                            node->box.label, "the tree digest was not measured");
    }
    if (!atlas_digest_equal(&stated->tree, &m->tree) || stated->size != m->size ||
        (stated->directory && stated->files != m->files)) {
        return different(v, ATLAS_SLOT_TREE, "org.atlasml.tree.mismatch", "tree digest or size differ", detail);
    }
    if (stated->oms.alg != ATLAS_ALG_NONE && m->oms.alg != ATLAS_ALG_NONE &&
        !atlas_digest_equal(&stated->oms, &m->oms)) {
        return different(v, ATLAS_SLOT_TREE, "org.atlasml.oms.mismatch", "the OMS root is not that of these files",
                         ATLAS_SPAN_NONE);
    }
    return same(v, ATLAS_SLOT_TREE, "org.atlasml.tree.match", "tree digest and size are those that were signed");
}

/* The root of the tensor table, where one is stated: against the file's own table, or only against the table that the
 * manifest names. Where there is neither, nothing was checked, and the note says so. */
static int compare_tensors(struct atlas_verifier *v)
{
    uint32_t n = v->need.node;
    const struct atlas_node *node = &v->nodes[n];
    struct atlas_span why = atlas_buf_span(&v->tensors_why);
    if (node->measurement.tensors.alg == ATLAS_ALG_NONE) {
        return ATLAS_OK;
    }
    if (v->tensors.alg == ATLAS_ALG_NONE) {
        return atlas_report(v, n, ATLAS_SLOT_COUNT, "org.atlasml.tensors.notChecked", ATLAS_NOTE, ATLAS_VALID,
                            node->box.label, "tensor table not checked%s%.*s", why.n != 0 ? ": " : "", (int)why.n,
                            why.n != 0 ? (const char *)why.p : "");
    }
    if (!atlas_digest_equal(&node->measurement.tensors, &v->tensors)) {
        return atlas_report(v, n, ATLAS_SLOT_TREE, "org.atlasml.tensors.mismatch", ATLAS_FAILED, ATLAS_INVALID,
                            node->box.label, "the signed root is not that of the tensor table of %s",
                            v->tensors_from_file ? "this file" : "its own manifest");
    }
    return atlas_report(v, n, ATLAS_SLOT_COUNT, "org.atlasml.tensors.match", ATLAS_PASSED, ATLAS_VALID, node->box.label,
                        v->tensors_from_file ? "the tensors are those that were signed"
                                             : "the tensor table is the one that was signed; the file was not there");
}

int atlas_bytes_measured(struct atlas_verifier *v, const struct atlas_measurement *m, struct atlas_span detail,
                         struct atlas_error *error)
{
    bool directory = m->kind == ATLAS_KIND_DIRECTORY;
    int rc;
    v->nodes[v->need.node].bytes = ATLAS_BYTES_MEASURED;
    if (directory != v->need.directory) {
        v->nodes[v->need.node].bytes = ATLAS_BYTES_DIFFERENT;
        ATLAS_TRY(both(v, v->need.node, "org.atlasml.kind.mismatch", ATLAS_INVALID,
                       directory ? ATLAS_LIT("a directory, and the manifest is about a file")
                                 : ATLAS_LIT("a file, and the manifest is about a directory")));
        return ATLAS_OK;
    }
    ATLAS_TRY(compare_binding(v, m, detail));
    ATLAS_TRY(compare_tree(v, m, detail));
    if (v->nodes[v->need.node].bytes == ATLAS_BYTES_MEASURED) { /* else INVALID already, whatever its tensors are */
        ATLAS_TRY(compare_tensors(v));
    }
out:
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}

int atlas_bytes_absent(struct atlas_verifier *v, struct atlas_span why, struct atlas_error *error)
{
    struct atlas_node *node = &v->nodes[v->need.node];
    int rc;
    if (v->need.subject || v->policy.require_artifacts) {
        ATLAS_TRY(both(v, v->need.node, "org.atlasml.artifact.missing", ATLAS_INCOMPLETE, why));
    } else {
        not_required(node);
        ATLAS_TRY(atlas_report(v, v->need.node, ATLAS_SLOT_COUNT, "org.atlasml.artifact.notMeasured", ATLAS_NOTE,
                               ATLAS_VALID, node->box.label, "manifest verified, bytes not measured: %.*s", (int)why.n,
                               (const char *)why.p));
    }
    if (v->tensors.alg != ATLAS_ALG_NONE) {
        ATLAS_TRY(compare_tensors(v));
    }
out:
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}

int atlas_bytes_failed(struct atlas_verifier *v, bool refused, struct atlas_span why, struct atlas_error *error)
{
    int rc = refused ? both(v, v->need.node, "org.atlasml.artifact.refused", ATLAS_INVALID, why)
                     : both(v, v->need.node, "org.atlasml.artifact.unreadable", ATLAS_UNCHECKABLE, why);
    return rc < 0 ? atlas_error_set(error, rc, "", "out of memory") : rc;
}
