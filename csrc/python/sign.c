/* sign.c - glue: keys and the functions of the sign stage. Converts, releases the GIL, raises. */
#include "python/sign.h"

#include "stage/sign.h"

/* --------------------------------------------------------------------------------------------- arguments */

/* "ES256" -> its number; a name that is not known becomes ATLAS_COSE_NONE, which the core refuses. */
static int64_t alg_of(const char *name)
{
    return atlas_cose_alg_of(atlas_span_str(name));
}

void atlas_py_spans_release(struct atlas_py_spans *list)
{
    PyMem_Free(list->spans);
    Py_CLEAR(list->tuple);
}

int atlas_py_spans_init(PyObject *sequence, struct atlas_py_spans *ret_spans)
{
    struct atlas_py_spans list = {PySequence_Tuple(sequence), NULL, 0};
    if (list.tuple == NULL) {
        return -1;
    }
    list.n = (size_t)PyTuple_Size(list.tuple);
    list.spans = PyMem_Calloc(list.n + 1, sizeof *list.spans);
    if (list.spans == NULL) {
        atlas_py_spans_release(&list);
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < list.n; i++) {
        char *p;
        Py_ssize_t n;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(list.tuple, (Py_ssize_t)i), &p, &n) < 0) {
            atlas_py_spans_release(&list);
            return -1;
        }
        list.spans[i] = atlas_span_of(p, (size_t)n);
    }
    *ret_spans = list;
    return 0;
}

PyObject *atlas_py_buf_result(PyObject *module, int rc, struct atlas_buf *b, const struct atlas_error *error)
{
    PyObject *result =
        rc < 0 ? atlas_py_raise(module, error) : PyBytes_FromStringAndSize((const char *)b->p, (Py_ssize_t)b->n);
    atlas_buf_release(b);
    return result;
}

PyObject *atlas_py_none_result(PyObject *module, int rc, const struct atlas_error *error)
{
    return rc < 0 ? atlas_py_raise(module, error) : Py_NewRef(Py_None);
}

int atlas_py_add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int rc = type != NULL ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
    Py_XDECREF(type);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- Key */

struct py_key {
    PyObject_HEAD struct atlas_key *key;
};

static PyObject *key_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"pem", "password", NULL};
    Py_buffer pem;
    Py_buffer password = {.buf = NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*|z*:Key", keywords, &pem, &password)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_key *key = NULL;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = atlas_key_new(atlas_py_span(&pem), atlas_py_span(&password), &key, &error);
    Py_END_ALLOW_THREADS PyBuffer_Release(&pem);
    PyBuffer_Release(&password);
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct py_key *self = (struct py_key *)alloc(type, 0);
    if (self == NULL) {
        atlas_key_free(key);
        return NULL;
    }
    self->key = key;
    if (rc < 0) {
        (void)atlas_py_raise((PyObject *)self, &error);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void key_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    atlas_key_free(((struct py_key *)self)->key);
    release(self);
    Py_DECREF(type);
}

static PyObject *key_alg(PyObject *self, void *closure)
{
    (void)closure;
    const char *name = atlas_cose_alg_name(atlas_key_alg(((struct py_key *)self)->key));
    return PyUnicode_FromString(name != NULL ? name : "");
}

static PyObject *key_spki(PyObject *self, void *closure)
{
    (void)closure;
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf spki = ATLAS_BUF_INIT;
    int rc = atlas_key_spki(((struct py_key *)self)->key, &spki, &error);
    return atlas_py_buf_result(self, rc, &spki, &error);
}

static PyObject *key_sign(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"tbs", "alg", NULL};
    const struct atlas_key *key = ((struct py_key *)self)->key;
    Py_buffer tbs;
    const char *alg = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*|z:sign", keywords, &tbs, &alg)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf signature = ATLAS_BUF_INIT;
    int64_t number = alg != NULL ? alg_of(alg) : atlas_key_alg(key);
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = atlas_key_sign(key, number, atlas_py_span(&tbs), &signature, &error);
    Py_END_ALLOW_THREADS PyBuffer_Release(&tbs);
    return atlas_py_buf_result(self, rc, &signature, &error);
}

static PyObject *key_match(PyObject *self, PyObject *args)
{
    Py_buffer certificate;
    if (!PyArg_ParseTuple(args, "y*:match", &certificate)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    int rc = atlas_key_match(((struct py_key *)self)->key, atlas_py_span(&certificate), &error);
    PyBuffer_Release(&certificate);
    return atlas_py_none_result(self, rc, &error);
}

static PyMethodDef key_methods[] = {
    {"sign", (PyCFunction)(void (*)(void))key_sign, METH_VARARGS | METH_KEYWORDS, "Signature in COSE's form."},
    {"match", key_match, METH_VARARGS, "Raise unless this is the key of that certificate."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef key_getset[] = {
    {"alg", key_alg, NULL, "The algorithm it signs with unless told otherwise.", NULL},
    {"spki", key_spki, NULL, "DER SubjectPublicKeyInfo.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot key_slots[] = {
    {Py_tp_new, key_new},
    {Py_tp_dealloc, key_dealloc},
    {Py_tp_methods, key_methods},
    {Py_tp_getset, key_getset},
    {0, NULL},
};

static PyType_Spec key_spec = {
    .name = "atlas._core.Key",
    .basicsize = sizeof(struct py_key),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = key_slots,
};

/* ----------------------------------------------------------------------------------------------- signing */

static PyObject *sign_prepare(PyObject *module, PyObject *args)
{
    Py_buffer claim;
    const char *alg;
    PyObject *sequence;
    struct atlas_py_spans chain;
    if (!PyArg_ParseTuple(args, "y*sO:sign_prepare", &claim, &alg, &sequence)) {
        return NULL;
    }
    if (atlas_py_spans_init(sequence, &chain) < 0) {
        PyBuffer_Release(&claim);
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf header = ATLAS_BUF_INIT;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc =
        atlas_sign_prepare(atlas_py_span(&claim), alg_of(alg), chain.spans, chain.n, &header, &tbs, &error);
    Py_END_ALLOW_THREADS atlas_py_spans_release(&chain);
    PyBuffer_Release(&claim);
    PyObject *result =
        rc < 0 ? atlas_py_raise(module, &error)
               : Py_BuildValue("NN", atlas_py_bytes(atlas_buf_span(&header)), atlas_py_bytes(atlas_buf_span(&tbs)));
    atlas_buf_release(&header);
    atlas_buf_release(&tbs);
    return result;
}

static PyObject *sign_countertbs(PyObject *module, PyObject *args)
{
    const char *header;
    const char *signature;
    Py_ssize_t n_header;
    Py_ssize_t n_signature;
    if (!PyArg_ParseTuple(args, "y#y#:sign_countertbs", &header, &n_header, &signature, &n_signature)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    int rc = atlas_sign_countertbs(atlas_span_of(header, (size_t)n_header),
                                   atlas_span_of(signature, (size_t)n_signature), &tbs, &error);
    return atlas_py_buf_result(module, rc, &tbs, &error);
}

static PyObject *sign_finish(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"claim", "protected", "signature", "timestamp", "ocsp", NULL};
    const char *p[4] = {NULL, NULL, NULL, NULL};
    Py_ssize_t n[4] = {0, 0, 0, 0};
    PyObject *sequence = NULL;
    struct atlas_py_spans ocsp = ATLAS_PY_SPANS_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y#y#y#|z#O:sign_finish", keywords, &p[0], &n[0], &p[1], &n[1],
                                     &p[2], &n[2], &p[3], &n[3], &sequence) ||
        (sequence != NULL && atlas_py_spans_init(sequence, &ocsp) < 0)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf cose = ATLAS_BUF_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = atlas_sign_finish(atlas_span_of(p[0], (size_t)n[0]), atlas_span_of(p[1], (size_t)n[1]),
                                                  atlas_span_of(p[2], (size_t)n[2]), atlas_span_of(p[3], (size_t)n[3]),
                                                  ocsp.spans, ocsp.n, &cose, &error);
    Py_END_ALLOW_THREADS atlas_py_spans_release(&ocsp);
    return atlas_py_buf_result(module, rc, &cose, &error);
}

static PyObject *signature_verify(PyObject *module, PyObject *args)
{
    const char *alg;
    Py_buffer spki;
    Py_buffer tbs;
    Py_buffer signature;
    if (!PyArg_ParseTuple(args, "sy*y*y*:signature_verify", &alg, &spki, &tbs, &signature)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = atlas_signature_verify(alg_of(alg), atlas_py_span(&spki), atlas_py_span(&tbs),
                                                       atlas_py_span(&signature), &error);
    Py_END_ALLOW_THREADS PyBuffer_Release(&spki);
    PyBuffer_Release(&tbs);
    PyBuffer_Release(&signature);
    return atlas_py_none_result(module, rc, &error);
}

/* -------------------------------------------------------------------------------------------------- keygen */

static PyObject *keygen(PyObject *module, PyObject *args)
{
    const char *name;
    Py_ssize_t n;
    const char *alg;
    unsigned int years;
    if (!PyArg_ParseTuple(args, "s#sI:keygen", &name, &n, &alg, &years)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_keygen made;
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = atlas_keygen(atlas_span_of(name, (size_t)n), alg_of(alg), years, &made, &error);
    Py_END_ALLOW_THREADS if (rc < 0)
    {
        return atlas_py_raise(module, &error);
    }
    PyObject *result = Py_BuildValue(
        "NNNN", atlas_py_bytes(atlas_buf_span(&made.root_pem)), atlas_py_bytes(atlas_buf_span(&made.root_key_pem)),
        atlas_py_bytes(atlas_buf_span(&made.chain_pem)), atlas_py_bytes(atlas_buf_span(&made.key_pem)));
    atlas_keygen_release(&made);
    return result;
}

/* -------------------------------------------------------------------------------------------------- module */

static PyMethodDef sign_methods[] = {
    {"sign_prepare", sign_prepare, METH_VARARGS, "(protected header, bytes to sign) of a claim."},
    {"sign_countertbs", sign_countertbs, METH_VARARGS, "What a time-stamp of the signature covers."},
    {"sign_finish", (PyCFunction)(void (*)(void))sign_finish, METH_VARARGS | METH_KEYWORDS,
     "COSE_Sign1, after its signature was verified."},
    {"signature_verify", signature_verify, METH_VARARGS, "Raise unless the signature is good."},
    {"keygen", keygen, METH_VARARGS, "(root, root key, chain, key) of a development CA, in PEM."},
    {NULL, NULL, 0, NULL},
};

int atlas_py_sign_exec(PyObject *module)
{
    if (atlas_py_add_type(module, &key_spec) < 0 || PyModule_AddFunctions(module, sign_methods) < 0) {
        return -1;
    }
    return atlas_py_trust_exec(module);
}
