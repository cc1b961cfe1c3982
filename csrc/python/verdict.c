/* verdict.c - a verdict as plain Python data: checks, manifests, their inputs and their evidence. */
#include "port/crypto/crypto.h"
#include "python/verify.h"

static PyObject *check_tuple(const struct atlas_check *check)
{
    PyObject *where = atlas_py_text(check->where);
    PyObject *text = atlas_py_text(check->text);
    PyObject *result = NULL;
    if (where != NULL && text != NULL) {
        result = Py_BuildValue("sssIOO", check->code, atlas_status_name(check->status),
                               atlas_answer_name(check->answer), (unsigned)check->node, where, text);
    }
    Py_XDECREF(where);
    Py_XDECREF(text);
    return result;
}

static PyObject *signer_dict(struct atlas_span der)
{
    struct atlas_certificate leaf;
    char spki[2 * ATLAS_DIGEST_MAX + 1];
    if (der.p == NULL || atlas_certificate_read(der, &leaf, NULL) < 0) {
        return Py_NewRef(Py_None);
    }
    atlas_hex(atlas_digest_span(&leaf.spki_sha256), spki);
    return Py_BuildValue("{sssssssssssLsL}", "name", leaf.common_name, "subject", leaf.subject, "issuer", leaf.issuer,
                         "serial", leaf.serial, "spki", spki, "not_before", (long long)leaf.not_before, "not_after",
                         (long long)leaf.not_after);
}

static PyObject *edge_dict(const struct atlas_edge *e)
{
    PyObject *node = e->node == ATLAS_NO_NODE ? Py_NewRef(Py_None) : PyLong_FromUnsignedLong(e->node);
    PyObject *label = atlas_py_text(e->label);
    PyObject *name = atlas_py_text(e->name);
    PyObject *kind = atlas_py_text(e->kind);
    PyObject *role = atlas_py_text(e->role);
    PyObject *relation = atlas_py_text(e->relation);
    PyObject *relationship = atlas_py_text(e->relationship);
    PyObject *flat = atlas_py_digest(&e->flat);
    PyObject *tree = atlas_py_digest(&e->tree);
    PyObject *result = NULL;
    if (node && label && name && kind && role && relation && relationship && flat && tree) {
        result = Py_BuildValue("{sOsOsOsOsOsOsOsOsOsK}", "node", node, "label", label, "name", name, "kind", kind,
                               "role", role, "relation", relation, "relationship", relationship, "flat", flat, "tree",
                               tree, "size", (unsigned long long)e->size);
    }
    Py_XDECREF(node);
    Py_XDECREF(label);
    Py_XDECREF(name);
    Py_XDECREF(kind);
    Py_XDECREF(role);
    Py_XDECREF(relation);
    Py_XDECREF(relationship);
    Py_XDECREF(flat);
    Py_XDECREF(tree);
    return result;
}

static PyObject *edge_list(const struct atlas_node_view *view)
{
    PyObject *list = PyList_New((Py_ssize_t)view->n_edges);
    for (size_t i = 0; list != NULL && i < view->n_edges; i++) {
        PyObject *item = edge_dict(&view->edges[i]);
        if (item == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SetItem(list, (Py_ssize_t)i, item); /* steals */
    }
    return list;
}

static const char *bytes_name(enum atlas_bytes_state state)
{
    switch (state) {
    case ATLAS_BYTES_MEASURED:
        return "measured";
    case ATLAS_BYTES_DIFFERENT:
        return "different";
    case ATLAS_BYTES_NOT_MEASURED:
        break;
    }
    return "not measured";
}

static PyObject *evidence_dict(const struct atlas_evidence_view *e)
{
    static const char *const modes[] = {"", "session", "artifact"};
    if (e == NULL) {
        return Py_NewRef(Py_None);
    }
    PyObject *type = atlas_py_text(e->type);
    PyObject *why = atlas_py_text(e->why);
    PyObject *appraisal = e->result != NULL ? atlas_py_attest_result(e->result) : Py_NewRef(Py_None);
    PyObject *result = NULL;
    if (type && why && appraisal) {
        result = Py_BuildValue("{sOsssOsOsOsO}", "type", type, "mode", modes[e->mode], "bound",
                               e->bound ? Py_True : Py_False, "holds", e->holds ? Py_True : Py_False, "why", why,
                               "appraisal", appraisal);
    }
    Py_XDECREF(type);
    Py_XDECREF(why);
    Py_XDECREF(appraisal);
    return result;
}

PyObject *atlas_py_node(const struct atlas_node_view *view)
{
    PyObject *urn = atlas_py_text(view->urn);
    PyObject *name = atlas_py_text(view->name);
    PyObject *kind = atlas_py_text(view->kind);
    PyObject *flat = atlas_py_digest(&view->flat);
    PyObject *tree = atlas_py_digest(&view->tree);
    PyObject *signer = signer_dict(view->leaf);
    PyObject *box = PyBytes_FromStringAndSize((const char *)view->box.p, (Py_ssize_t)view->box.n);
    PyObject *inputs = edge_list(view);
    PyObject *step = atlas_py_text(view->step);
    PyObject *evidence = evidence_dict(view->evidence);
    PyObject *result = NULL;
    if (urn && name && kind && flat && tree && signer && box && inputs && step && evidence) {
        result = Py_BuildValue("{sOsOsOsOsOsOsOsOsOsOsKsLsssssssK}", "urn", urn, "name", name, "kind", kind, "flat",
                               flat, "tree", tree, "signer", signer, "box", box, "inputs", inputs, "step", step,
                               "evidence", evidence, "size", (unsigned long long)view->size, "signed_at",
                               (long long)view->signed_at, "time_source", view->timestamped ? "timestamp" : "now",
                               "bytes", bytes_name(view->bytes), "answer", atlas_answer_name(view->answer), "gaps",
                               (unsigned long long)view->gaps);
    }
    Py_XDECREF(urn);
    Py_XDECREF(name);
    Py_XDECREF(kind);
    Py_XDECREF(flat);
    Py_XDECREF(tree);
    Py_XDECREF(signer);
    Py_XDECREF(box);
    Py_XDECREF(inputs);
    Py_XDECREF(step);
    Py_XDECREF(evidence);
    return result;
}

int atlas_py_add_place(PyObject *node, const struct atlas_log_place *place)
{
    PyObject *origin = place != NULL ? atlas_py_text(atlas_span_of(place->head.origin, place->head.n_origin)) : NULL;
    PyObject *value = NULL;
    if (place == NULL) {
        value = Py_NewRef(Py_None);
    } else if (origin != NULL) {
        value = Py_BuildValue("OKKy#k", origin, (unsigned long long)place->index, (unsigned long long)place->head.size,
                              (const char *)place->head.root, (Py_ssize_t)sizeof place->head.root,
                              (unsigned long)place->head.witnesses);
    }
    int rc = value != NULL ? PyDict_SetItemString(node, "logged", value) : -1;
    Py_XDECREF(origin);
    Py_XDECREF(value);
    return rc;
}

PyObject *atlas_py_checks(const struct atlas_verdict *verdict)
{
    PyObject *list = PyList_New((Py_ssize_t)verdict->n_checks);
    for (size_t i = 0; list != NULL && i < verdict->n_checks; i++) {
        PyObject *item = check_tuple(&verdict->checks[i]);
        if (item == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SetItem(list, (Py_ssize_t)i, item); /* steals */
    }
    return list;
}
