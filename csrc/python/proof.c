/* proof.c - glue of stage/proof.h: entries of logs, proofs, and the heap type LogPolicy. */
#include "python/module.h"

#include "stage/proof.h"

/* Its calls keep the GIL, for a checker has one user at a time: each is one signature at most, and a few hashes. */
struct policy {
    PyObject ob_base;
    struct atlas_log_policy *policy;
    struct atlas_log_checker *checker;
};

PyDoc_STRVAR(policy_doc,
             "LogPolicy(text, /)\n--\n\nA c2sp.org/tlog-policy, and the checkpoints that were accepted under it.");

static PyObject *policy_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    Py_buffer text;
    if ((kwargs != NULL && PyDict_Size(kwargs) != 0) || !PyArg_ParseTuple(args, "y*:LogPolicy", &text)) {
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct policy *self = (struct policy *)alloc(type, 0);
    if (self != NULL && (atlas_log_policy_new(atlas_py_span(&text), &self->policy, &error) < 0 ||
                         atlas_log_checker_new(self->policy, &self->checker, &error) < 0)) {
        atlas_py_raise((PyObject *)self, &error);
        Py_CLEAR(self);
    }
    PyBuffer_Release(&text);
    return (PyObject *)self;
}

static void policy_dealloc(struct policy *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    atlas_log_checker_free(self->checker);
    atlas_log_policy_free(self->policy);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *head_tuple(const struct atlas_log_head *head, PyObject *index)
{
    PyObject *origin = atlas_py_text(atlas_span_of(head->origin, head->n_origin));
    PyObject *result = NULL;
    if (origin != NULL && index != NULL) {
        result = Py_BuildValue("OOKy#k", origin, index, (unsigned long long)head->size, (const char *)head->root,
                               (Py_ssize_t)sizeof head->root, (unsigned long)head->witnesses);
    }
    Py_XDECREF(origin);
    Py_XDECREF(index);
    return result;
}

static PyObject *policy_head(struct policy *self, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_log_head head;
    Py_buffer note;
    if (PyObject_GetBuffer(arg, &note, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int rc = atlas_log_checker_head(self->checker, atlas_py_span(&note), &head, &error);
    PyBuffer_Release(&note);
    return rc < 0 ? atlas_py_raise((PyObject *)self, &error) : head_tuple(&head, Py_NewRef(Py_None));
}

typedef int (*prover)(struct atlas_log_checker *checker, struct atlas_span subject, struct atlas_span proof,
                      struct atlas_log_place *ret_place, struct atlas_error *error);

static PyObject *prove(struct policy *self, PyObject *args, prover call)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_log_place place;
    Py_buffer subject;
    Py_buffer proof;
    if (!PyArg_ParseTuple(args, "y*y*", &subject, &proof)) {
        return NULL;
    }
    int rc = call(self->checker, atlas_py_span(&subject), atlas_py_span(&proof), &place, &error);
    PyBuffer_Release(&subject);
    PyBuffer_Release(&proof);
    return rc < 0 ? atlas_py_raise((PyObject *)self, &error)
                  : head_tuple(&place.head, PyLong_FromUnsignedLongLong(place.index));
}

static PyObject *policy_entry(struct policy *self, PyObject *args)
{
    return prove(self, args, atlas_log_checker_entry);
}

static PyObject *policy_manifest(struct policy *self, PyObject *args)
{
    return prove(self, args, atlas_log_checker_store);
}

static PyMethodDef policy_methods[] = {
    {"head", (PyCFunction)policy_head, METH_O,
     "head($self, note, /)\n--\n\n(origin, None, size, root, witnesses) of a checkpoint that the policy accepts."},
    {"entry", (PyCFunction)policy_entry, METH_VARARGS,
     "entry($self, entry, proof, /)\n--\n\n(origin, index, size, root, witnesses): the entry is in a log of the "
     "policy."},
    {"manifest", (PyCFunction)policy_manifest, METH_VARARGS,
     "manifest($self, store, proof, /)\n--\n\nThe same for the signature of a store's active manifest."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)(uintptr_t)policy_doc},
    {Py_tp_new, policy_new},
    {Py_tp_dealloc, policy_dealloc},
    {Py_tp_methods, policy_methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "atlas._core.LogPolicy",
    .basicsize = sizeof(struct policy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

/* ---------------------------------------------------------------------------------------------------- functions */

static PyObject *log_entry(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf entry = ATLAS_BUF_INIT;
    Py_buffer store;
    int rc;
    if (PyObject_GetBuffer(arg, &store, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_log_entry_of_store(atlas_py_span(&store), &entry, &error);
    ATLAS_PY_END_CRYPTO
    PyBuffer_Release(&store);
    PyObject *result = rc < 0 ? atlas_py_raise(module, &error) : atlas_py_bytes(atlas_buf_span(&entry));
    atlas_buf_release(&entry);
    return result;
}

static PyObject *proof_tuple(const struct atlas_tlog_proof *proof)
{
    PyObject *hashes = PyList_New((Py_ssize_t)proof->n);
    for (size_t i = 0; hashes != NULL && i < proof->n; i++) {
        PyObject *hash = atlas_py_bytes(atlas_span_of(proof->hashes[i], sizeof proof->hashes[i]));
        if (hash == NULL) {
            Py_CLEAR(hashes);
            break;
        }
        PyList_SetItem(hashes, (Py_ssize_t)i, hash); /* steals */
    }
    PyObject *note = atlas_py_bytes(proof->checkpoint);
    PyObject *body = atlas_py_bytes(atlas_buf_span(&proof->body));
    PyObject *result = NULL;
    if (hashes != NULL && note != NULL && body != NULL) {
        result = Py_BuildValue("KOOO", (unsigned long long)proof->index, hashes, note, body);
    }
    Py_XDECREF(hashes);
    Py_XDECREF(note);
    Py_XDECREF(body);
    return result;
}

static PyObject *log_proof_read(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tlog_proof proof = ATLAS_TLOG_PROOF_INIT;
    Py_buffer bytes;
    if (PyObject_GetBuffer(arg, &bytes, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int rc = atlas_tlog_proof_read(atlas_py_span(&bytes), &proof, &error);
    PyObject *result = rc < 0 ? atlas_py_raise(module, &error) : proof_tuple(&proof);
    atlas_tlog_proof_release(&proof);
    PyBuffer_Release(&bytes);
    return result;
}

static PyMethodDef functions[] = {
    {"log_entry", log_entry, METH_O,
     "log_entry(store, /)\n--\n\nThe canonical log entry of the signature of a store's active manifest."},
    {"log_proof_read", log_proof_read, METH_O,
     "log_proof_read(proof, /)\n--\n\n(index, hashes, checkpoint, entry or None) of a proof; nothing is verified."},
    {NULL, NULL, 0, NULL},
};

int atlas_py_proof_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int rc = PyModule_AddObjectRef(module, "LogPolicy", type);
    Py_DECREF(type);
    return rc < 0 ? rc : PyModule_AddFunctions(module, functions);
}
