/* verify.c - glue of stage/verify.h: the heap type Verifier. */
#include "port/cbor.h"
#include "python/sign.h"
#include "python/verify.h"

struct verifier {
    PyObject ob_base;
    struct atlas_verifier *v;
    struct atlas_trust *trust;
    bool busy; /* a call is running without the GIL */
};

/* One call of the core without the GIL; a second thread is refused rather than made to wait. */
#define RUN(self, rc, call)                                                       \
    do {                                                                          \
        (self)->busy = true;                                                      \
        ATLAS_PY_BEGIN_CRYPTO                                                     \
        (rc) = (call);                                                            \
        ATLAS_PY_END_CRYPTO                                                       \
        (self)->busy = false;                                                     \
    } while (0)

static bool ready(struct verifier *self)
{
    struct atlas_error error = {
        .code = ATLAS_E_BUSY, .offset = (size_t)-1, .where = "Verifier", .text = "in use by another thread"};
    if (self->busy) {
        atlas_py_raise((PyObject *)self, &error);
        return false;
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------------- creation */

static int add_pem(struct verifier *self, const Py_buffer *pem,
                   int (*add)(struct atlas_trust *, struct atlas_span, struct atlas_error *))
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    if (pem->len == 0) {
        return 0;
    }
    if (add(self->trust, atlas_py_span(pem), &error) < 0) {
        atlas_py_raise((PyObject *)self, &error);
        return -1;
    }
    return 0;
}

static int add_crls(struct verifier *self, PyObject *crls)
{
    PyObject *list = crls != NULL ? PySequence_Tuple(crls) : PyTuple_New(0);
    int rc = list != NULL ? 0 : -1;
    for (Py_ssize_t i = 0; rc == 0 && i < PyTuple_Size(list); i++) {
        Py_buffer view;
        rc = PyObject_GetBuffer(PyTuple_GetItem(list, i), &view, PyBUF_SIMPLE);
        if (rc == 0) {
            rc = add_pem(self, &view, atlas_trust_add_crls);
            PyBuffer_Release(&view);
        }
    }
    Py_XDECREF(list);
    return rc;
}

/* A tuple of str as spans that borrow from it. */
static int texts_arg(PyObject *value, PyObject **ret_tuple, struct atlas_span **ret_spans, size_t *ret_n)
{
    PyObject *tuple = value != NULL ? PySequence_Tuple(value) : PyTuple_New(0);
    if (tuple == NULL) {
        return -1;
    }
    *ret_tuple = tuple;
    *ret_n = (size_t)PyTuple_Size(tuple);
    *ret_spans = PyMem_Calloc(*ret_n + 1, sizeof **ret_spans);
    if (*ret_spans == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < *ret_n; i++) {
        Py_ssize_t n;
        const char *p = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(tuple, (Py_ssize_t)i), &n);
        if (p == NULL) {
            return -1;
        }
        (*ret_spans)[i] = atlas_span_of(p, (size_t)n);
    }
    return 0;
}

PyDoc_STRVAR(verifier_doc,
             "Verifier(*, trust=b'', tsa_trust=b'', crls=(), now, tree_only=False, require_artifacts=False,\n"
             "         require_revocation=False, refuse_unknown=False, signers=(), redactable=(), evidence=(),\n"
             "         appraisal=None, evidence_anchor=None, collateral=())\n--\n\n"
             "The verifier of stage/verify.h: open(store); while (need := next()) is not None: answer it; finish().\n"
             "trust and tsa_trust are PEM, crls PEM or DER, now is in Unix seconds. evidence: (step or None, mode),\n"
             "appraisal: JSON, evidence_anchor: PEM, collateral: bytes.");

/* What the policy borrows from Python while it is copied. */
struct lists {
    PyObject *signers; /* borrowed, as given; NULL: none */
    PyObject *redactable;
    PyObject *evidence;
    PyObject *collateral;
    PyObject *tuples[3];
    struct atlas_span *spans[2];
    struct atlas_evidence_rule *rules;
    struct atlas_py_spans files;
};

static int rule_arg(PyObject *pair, struct atlas_evidence_rule *ret_rule)
{
    const char *step;
    const char *mode;
    Py_ssize_t n;
    if (!PyTuple_Check(pair) || !PyArg_ParseTuple(pair, "z#s:evidence", &step, &n, &mode)) {
        return PyErr_Occurred() ? -1 : (PyErr_SetString(PyExc_TypeError, "evidence: expected (step, mode)"), -1);
    }
    bool artifact = strcmp(mode, "artifact") == 0;
    if (!artifact && strcmp(mode, "session") != 0) {
        PyErr_Format(PyExc_ValueError, "evidence: expected session or artifact, not %s", mode);
        return -1;
    }
    ret_rule->step = step != NULL ? atlas_span_of(step, (size_t)n) : ATLAS_SPAN_NONE;
    ret_rule->mode = artifact ? ATLAS_EVIDENCE_ARTIFACT : ATLAS_EVIDENCE_SESSION;
    return 0;
}

static int rules_arg(struct lists *l, struct atlas_verify_policy *policy)
{
    PyObject *tuple = l->evidence != NULL ? PySequence_Tuple(l->evidence) : PyTuple_New(0);
    if (tuple == NULL) {
        return -1;
    }
    l->tuples[2] = tuple;
    policy->n_evidence = (size_t)PyTuple_Size(tuple);
    l->rules = PyMem_Calloc(policy->n_evidence + 1, sizeof *l->rules);
    if (l->rules == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < policy->n_evidence; i++) {
        if (rule_arg(PyTuple_GetItem(tuple, (Py_ssize_t)i), &l->rules[i]) < 0) {
            return -1;
        }
    }
    policy->evidence = l->rules;
    return 0;
}

static int make(struct verifier *self, struct atlas_verify_policy *policy, struct lists *l)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    PyObject *none = PyTuple_New(0);
    int rc = -1;
    if (none != NULL && texts_arg(l->signers, &l->tuples[0], &l->spans[0], &policy->n_signers) == 0 &&
        texts_arg(l->redactable, &l->tuples[1], &l->spans[1], &policy->n_redactable) == 0 &&
        rules_arg(l, policy) == 0 &&
        atlas_py_spans_init(l->collateral != NULL ? l->collateral : none, &l->files) == 0) {
        policy->signers = l->spans[0];
        policy->redactable = l->spans[1];
        policy->collateral = l->files.spans;
        policy->n_collateral = l->files.n;
        rc = atlas_verifier_new(policy, &self->v, &error);
        if (rc < 0) {
            atlas_py_raise((PyObject *)self, &error);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        Py_XDECREF(l->tuples[i]);
    }
    PyMem_Free(l->spans[0]);
    PyMem_Free(l->spans[1]);
    PyMem_Free(l->rules);
    atlas_py_spans_release(&l->files);
    Py_XDECREF(none);
    return rc;
}

static struct atlas_span optional(const Py_buffer *view)
{
    return view->obj != NULL ? atlas_py_span(view) : ATLAS_SPAN_NONE;
}

static PyObject *verifier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"trust",          "tsa_trust",       "crls",       "now",      "tree_only",
                            "require_artifacts", "require_revocation", "refuse_unknown", "signers",  "redactable",
                            "evidence",       "appraisal",       "evidence_anchor", "collateral", NULL};
    struct atlas_verify_policy policy = {.trust = NULL};
    struct lists l = {.files = ATLAS_PY_SPANS_INIT};
    struct atlas_error error = ATLAS_ERROR_INIT;
    Py_buffer b[4] = {{0}, {0}, {0}, {0}}; /* trust, TSA trust, appraisal, anchor */
    PyObject *crls = NULL;
    long long now = 0;
    int tree_only = 0, artifacts = 0, revocation = 0, unknown = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$y*y*OLppppOOOz*z*O:Verifier", names, &b[0], &b[1], &crls, &now,
                                     &tree_only, &artifacts, &revocation, &unknown, &l.signers, &l.redactable,
                                     &l.evidence, &b[2], &b[3], &l.collateral)) {
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct verifier *self = (struct verifier *)alloc(type, 0);
    if (self != NULL && atlas_trust_new(&self->trust, &error) < 0) {
        atlas_py_raise((PyObject *)self, &error);
        Py_CLEAR(self);
    }
    if (self != NULL) {
        policy = (struct atlas_verify_policy){.trust = self->trust,
                                              .now = now,
                                              .tree_only = tree_only,
                                              .require_artifacts = artifacts,
                                              .require_revocation = revocation,
                                              .refuse_unknown = unknown,
                                              .appraisal = optional(&b[2]),
                                              .evidence_anchor = optional(&b[3])};
        if (add_pem(self, &b[0], atlas_trust_add_anchors) < 0 ||
            add_pem(self, &b[1], atlas_trust_add_tsa_anchors) < 0 || add_crls(self, crls) < 0 ||
            make(self, &policy, &l) < 0) {
            Py_CLEAR(self);
        }
    }
    for (size_t i = 0; i < sizeof b / sizeof b[0]; i++) {
        if (b[i].obj != NULL) {
            PyBuffer_Release(&b[i]);
        }
    }
    return (PyObject *)self;
}

static void verifier_dealloc(struct verifier *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    atlas_verifier_free(self->v);
    atlas_trust_free(self->trust);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* ------------------------------------------------------------------------------------------------------ needs */

static PyObject *done(struct verifier *self, int rc, const struct atlas_error *error)
{
    if (rc < 0) {
        return atlas_py_raise((PyObject *)self, error);
    }
    return Py_NewRef(Py_None);
}

static PyObject *feed(struct verifier *self, PyObject *arg,
                      int (*call)(struct atlas_verifier *, struct atlas_span, struct atlas_error *))
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    Py_buffer view;
    int rc;
    if (!ready(self) || PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    RUN(self, rc, call(self->v, atlas_py_span(&view), &error));
    PyBuffer_Release(&view);
    return done(self, rc, &error);
}

static PyObject *verifier_open(struct verifier *self, PyObject *arg)
{
    return feed(self, arg, atlas_verifier_open);
}

static PyObject *verifier_manifest(struct verifier *self, PyObject *arg)
{
    return feed(self, arg, atlas_verifier_manifest);
}

/* ["a", "b"] from the signed, encoded list; () when there is none. */
static PyObject *ignore_list(struct verifier *self, struct atlas_span encoded)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_cbor list;
    PyObject *result = PyList_New(0);
    if (result == NULL || encoded.p == NULL) {
        return result;
    }
    int rc = atlas_cbor_open_list(&list, encoded, "ignore", &error);
    while (rc == ATLAS_OK && atlas_cbor_more(&list)) {
        struct atlas_span text;
        rc = atlas_cbor_take_text(&list, &text);
        PyObject *item = rc == ATLAS_OK ? atlas_py_text(text) : NULL;
        if (rc == ATLAS_OK && (item == NULL || PyList_Append(result, item) < 0)) {
            Py_XDECREF(item);
            Py_DECREF(result);
            return NULL;
        }
        Py_XDECREF(item);
    }
    if (rc < 0) {
        Py_DECREF(result);
        return atlas_py_raise((PyObject *)self, &error);
    }
    return result;
}

static PyObject *need_dict(struct verifier *self, const struct atlas_need *need)
{
    const char *kind = need->kind == ATLAS_NEED_ARTIFACT ? "artifact"
                       : need->kind == ATLAS_NEED_PROOF  ? "proof"
                                                         : "manifest";
    PyObject *name = atlas_py_text(need->name);
    PyObject *urn = atlas_py_text(need->urn);
    PyObject *digest = atlas_py_digest(&need->digest);
    PyObject *expected = atlas_py_digest(&need->flat_expected);
    PyObject *ignore = ignore_list(self, need->ignore);
    PyObject *tensors = atlas_py_digest(&need->tensors);
    PyObject *table = atlas_py_digest(&need->table);
    PyObject *result = NULL;
    if (name && urn && digest && expected && ignore && tensors && table) {
        const char *alg = atlas_alg_name(need->alg);
        result =
            Py_BuildValue("{sssksOsOsOsOsOsOsssOsOsOsOsO}", "kind", kind, "node",
                          (unsigned long)need->node, "name", name, "urn", urn, "digest", digest, "expected", expected,
                          "subject", need->subject ? Py_True : Py_False, "directory",
                          need->directory ? Py_True : Py_False, "alg", alg != NULL ? alg : "", "flat",
                          need->flat ? Py_True : Py_False, "tree", need->tree ? Py_True : Py_False, "ignore", ignore,
                          "tensors", tensors, "table", table);
    }
    Py_XDECREF(name);
    Py_XDECREF(urn);
    Py_XDECREF(digest);
    Py_XDECREF(expected);
    Py_XDECREF(ignore);
    Py_XDECREF(tensors);
    Py_XDECREF(table);
    return result;
}

static PyObject *verifier_next(struct verifier *self, PyObject *Py_UNUSED(ignored))
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_need need;
    int rc;
    if (!ready(self)) {
        return NULL;
    }
    RUN(self, rc, atlas_verifier_next(self->v, &need, &error));
    if (rc < 0) {
        return atlas_py_raise((PyObject *)self, &error);
    }
    return need.kind == ATLAS_NEED_NOTHING ? Py_NewRef(Py_None) : need_dict(self, &need);
}

/* (kind, flat, tree, size, files, oms), as _core.measure_file returns it */
static int measurement_arg(PyObject *value, struct atlas_measurement *ret_measurement)
{
    const char *kind;
    PyObject *flat;
    PyObject *tree;
    PyObject *oms;
    unsigned long long size;
    unsigned long long files;
    struct atlas_measurement m = {.kind = ATLAS_KIND_NONE};
    if (!PyArg_ParseTuple(value, "sOOKKO:measured", &kind, &flat, &tree, &size, &files, &oms) ||
        atlas_py_digest_arg(flat, &m.flat) < 0 || atlas_py_digest_arg(tree, &m.tree) < 0 ||
        atlas_py_digest_arg(oms, &m.oms) < 0) {
        return -1;
    }
    if (atlas_span_equal(atlas_span_str(kind), ATLAS_LIT("file"))) {
        m.kind = ATLAS_KIND_FILE;
    } else if (atlas_span_equal(atlas_span_str(kind), ATLAS_LIT("directory"))) {
        m.kind = ATLAS_KIND_DIRECTORY;
    } else {
        PyErr_Format(PyExc_ValueError, "kind: expected file or directory, not %s", kind);
        return -1;
    }
    m.size = size;
    m.files = files;
    *ret_measurement = m;
    return 0;
}

static PyObject *verifier_measured(struct verifier *self, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_measurement m;
    PyObject *measurement;
    const char *detail = "";
    Py_ssize_t n = 0;
    if (!ready(self) || !PyArg_ParseTuple(args, "O!|s#:measured", &PyTuple_Type, &measurement, &detail, &n) ||
        measurement_arg(measurement, &m) < 0) {
        return NULL;
    }
    return done(self, atlas_verifier_measured(self->v, &m, atlas_span_of(detail, (size_t)n), &error), &error);
}

static PyObject *verifier_tensors(struct verifier *self, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_digest root;
    PyObject *given;
    int from_file;
    const char *why = "";
    Py_ssize_t n = 0;
    if (!ready(self) || !PyArg_ParseTuple(args, "Op|s#:tensors", &given, &from_file, &why, &n) ||
        atlas_py_digest_arg(given, &root) < 0) {
        return NULL;
    }
    int rc = atlas_verifier_tensors(self->v, root.alg != ATLAS_ALG_NONE ? &root : NULL, from_file != 0,
                                    atlas_span_of(why, (size_t)n), &error);
    return done(self, rc, &error);
}

static PyObject *verifier_trust_logs(struct verifier *self, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_py_spans list = ATLAS_PY_SPANS_INIT;
    PyObject *heads;
    Py_buffer policy;
    int require;
    int rc = -1;
    if (!ready(self) || !PyArg_ParseTuple(args, "y*pO:trust_logs", &policy, &require, &heads)) {
        return NULL;
    }
    bool good = atlas_py_spans_init(heads, &list) == 0;
    if (good) {
        RUN(self, rc, atlas_verifier_trust_logs(self->v, atlas_py_span(&policy), require != 0, list.spans, list.n,
                                                &error));
    }
    PyBuffer_Release(&policy);
    atlas_py_spans_release(&list);
    return good ? done(self, rc, &error) : NULL;
}

static PyObject *verifier_proofs(struct verifier *self, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_py_spans list = ATLAS_PY_SPANS_INIT;
    int rc;
    if (!ready(self) || atlas_py_spans_init(arg, &list) < 0) {
        return NULL;
    }
    RUN(self, rc, atlas_verifier_proofs(self->v, list.spans, list.n, &error));
    atlas_py_spans_release(&list);
    return done(self, rc, &error);
}

static PyObject *tell(struct verifier *self, PyObject *why,
                      int (*call)(struct atlas_verifier *, struct atlas_span, struct atlas_error *))
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    Py_ssize_t n;
    const char *p = PyUnicode_AsUTF8AndSize(why, &n);
    if (p == NULL || !ready(self)) {
        return NULL;
    }
    return done(self, call(self->v, atlas_span_of(p, (size_t)n), &error), &error);
}

static PyObject *verifier_absent(struct verifier *self, PyObject *why)
{
    return tell(self, why, atlas_verifier_absent);
}

static PyObject *verifier_refused(struct verifier *self, PyObject *why)
{
    return tell(self, why, atlas_verifier_refused);
}

static PyObject *verifier_unreadable(struct verifier *self, PyObject *why)
{
    return tell(self, why, atlas_verifier_unreadable);
}

/* ---------------------------------------------------------------------------------------------------- verdict */

static PyObject *node_list(struct verifier *self, const struct atlas_verdict *verdict)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    PyObject *list = PyList_New((Py_ssize_t)verdict->n_nodes);
    for (size_t i = 0; list != NULL && i < verdict->n_nodes; i++) {
        struct atlas_node_view view;
        PyObject *item = atlas_verifier_node(self->v, (uint32_t)i, &view, &error) < 0
                             ? atlas_py_raise((PyObject *)self, &error)
                             : atlas_py_node(&view);
        if (item != NULL && atlas_py_add_place(item, atlas_verifier_logged(self->v, (uint32_t)i)) < 0) {
            Py_CLEAR(item);
        }
        if (item == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SetItem(list, (Py_ssize_t)i, item); /* steals */
    }
    return list;
}

static PyObject *verifier_finish(struct verifier *self, PyObject *Py_UNUSED(ignored))
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_verdict verdict;
    int rc;
    if (!ready(self)) {
        return NULL;
    }
    RUN(self, rc, atlas_verifier_finish(self->v, &verdict, &error));
    if (rc < 0) {
        return atlas_py_raise((PyObject *)self, &error);
    }
    PyObject *checks = atlas_py_checks(&verdict);
    PyObject *nodes = checks != NULL ? node_list(self, &verdict) : NULL;
    PyObject *result = nodes != NULL ? Py_BuildValue("sOO", atlas_answer_name(verdict.answer), checks, nodes) : NULL;
    Py_XDECREF(checks);
    Py_XDECREF(nodes);
    return result;
}

/* ------------------------------------------------------------------------------------------------------- type */

static PyMethodDef methods[] = {
    {"open", (PyCFunction)verifier_open, METH_O, "open($self, store, /)\n--\n\nThe artifact's own manifest store."},
    {"next", (PyCFunction)verifier_next, METH_NOARGS, "next($self)\n--\n\nWhat is needed next; None at the end."},
    {"manifest", (PyCFunction)verifier_manifest, METH_O, "manifest($self, store, /)\n--\n\nThe sidecar asked for."},
    {"measured", (PyCFunction)verifier_measured, METH_VARARGS,
     "measured($self, measurement, detail='', /)\n--\n\n(kind, flat, tree, size, files, oms) of the artifact asked "
     "for."},
    {"tensors", (PyCFunction)verifier_tensors, METH_VARARGS,
     "tensors($self, root, from_file, why='', /)\n--\n\nBefore measured or absent: the root of the artifact's tensor "
     "table, of the file itself or of the\ntable that the manifest names; None where there is none, and why."},
    {"trust_logs", (PyCFunction)verifier_trust_logs, METH_VARARGS,
     "trust_logs($self, policy, require, heads, /)\n--\n\nBefore open: the logs and witnesses of a tlog-policy, and "
     "checkpoints that are remembered."},
    {"proofs", (PyCFunction)verifier_proofs, METH_O,
     "proofs($self, proofs, /)\n--\n\nAll proofs that were found for the entry asked for."},
    {"absent", (PyCFunction)verifier_absent, METH_O, "absent($self, why, /)\n--\n\nWhat was asked for is not there."},
    {"refused", (PyCFunction)verifier_refused, METH_O,
     "refused($self, why, /)\n--\n\nThe artifact is of a kind that is never measured."},
    {"unreadable", (PyCFunction)verifier_unreadable, METH_O,
     "unreadable($self, why, /)\n--\n\nWhat was asked for could not be read."},
    {"finish", (PyCFunction)verifier_finish, METH_NOARGS, "finish($self)\n--\n\n(answer, checks, nodes)"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)verifier_doc},
    {Py_tp_new, verifier_new},
    {Py_tp_dealloc, verifier_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "atlas._core.Verifier",
    .basicsize = sizeof(struct verifier),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int atlas_py_verify_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int rc = PyModule_AddObjectRef(module, "Verifier", type);
    Py_DECREF(type);
    return rc;
}
