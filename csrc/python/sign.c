/* sign.c - glue: keys and the functions of the sign stage. Converts, releases the GIL, raises. */
#include "python/sign.h"

#include "format/cose.h"
#include "stage/sign.h"

/* --------------------------------------------------------------------------------------------- arguments */

/* Converter for O&: "ES256" or -7. A name that is not known becomes ATLAS_COSE_NONE; what is allowed is for the core to
 * say. */
static int alg_arg(PyObject *value, void *ret_alg)
{
    int64_t *alg = ret_alg;
    if (PyLong_Check(value)) {
        *alg = PyLong_AsLongLong(value);
        return PyErr_Occurred() == NULL;
    }
    Py_ssize_t n;
    const char *name = PyUnicode_Check(value) ? PyUnicode_AsUTF8AndSize(value, &n) : NULL;
    if (name == NULL) {
        if (PyErr_Occurred() == NULL) {
            PyErr_SetString(PyExc_TypeError, "an algorithm is a name such as 'ES256' or its COSE number");
        }
        return 0;
    }
    *alg = atlas_cose_alg_of(atlas_span_of(name, (size_t)n));
    return 1;
}

/* The same; None leaves what is there. */
static int alg_or_none_arg(PyObject *value, void *ret_alg)
{
    return value == Py_None ? 1 : alg_arg(value, ret_alg);
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
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_key_new(atlas_py_span(&pem), atlas_py_span(&password), &key, &error);
    ATLAS_PY_END_CRYPTO
    PyBuffer_Release(&pem);
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
    int64_t alg = atlas_key_alg(key);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*|O&:sign", keywords, &tbs, alg_or_none_arg, &alg)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf signature = ATLAS_BUF_INIT;
    int rc;
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_key_sign(key, alg, atlas_py_span(&tbs), &signature, &error);
    ATLAS_PY_END_CRYPTO
    PyBuffer_Release(&tbs);
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
    int64_t alg;
    PyObject *sequence;
    struct atlas_py_spans chain;
    if (!PyArg_ParseTuple(args, "y*O&O:sign_prepare", &claim, alg_arg, &alg, &sequence)) {
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
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_sign_prepare(atlas_py_span(&claim), alg, chain.spans, chain.n, &header, &tbs, &error);
    ATLAS_PY_END_CRYPTO
    atlas_py_spans_release(&chain);
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
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_sign_finish(atlas_span_of(p[0], (size_t)n[0]), atlas_span_of(p[1], (size_t)n[1]),
                           atlas_span_of(p[2], (size_t)n[2]), atlas_span_of(p[3], (size_t)n[3]), ocsp.spans, ocsp.n,
                           &cose, &error);
    ATLAS_PY_END_CRYPTO
    atlas_py_spans_release(&ocsp);
    return atlas_py_buf_result(module, rc, &cose, &error);
}

static PyObject *signature_verify(PyObject *module, PyObject *args)
{
    int64_t alg;
    Py_buffer spki;
    Py_buffer tbs;
    Py_buffer signature;
    if (!PyArg_ParseTuple(args, "O&y*y*y*:signature_verify", alg_arg, &alg, &spki, &tbs, &signature)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    int rc;
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_signature_verify(alg, atlas_py_span(&spki), atlas_py_span(&tbs), atlas_py_span(&signature), &error);
    ATLAS_PY_END_CRYPTO
    PyBuffer_Release(&spki);
    PyBuffer_Release(&tbs);
    PyBuffer_Release(&signature);
    return atlas_py_none_result(module, rc, &error);
}

/* ---------------------------------------------------------------------------------------------------- COSE */

static PyObject *cose_chain(const struct atlas_cose_sign1 *sign1, struct atlas_error *error)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < sign1->certificates; i++) {
        struct atlas_span der;
        PyObject *item = atlas_cose_certificate(sign1, i, &der, error) < 0 ? NULL : atlas_py_bytes(der);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *cose_read(PyObject *module, PyObject *args)
{
    const char *p;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(args, "y#:cose_read", &p, &n)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_cose_sign1 sign1;
    PyObject *chain = NULL;
    if (atlas_cose_read(atlas_span_of(p, (size_t)n), &sign1, &error) == ATLAS_OK) {
        chain = cose_chain(&sign1, &error);
    }
    if (chain == NULL) {
        return atlas_py_raise(module, &error);
    }
    return Py_BuildValue("{s:L,s:N,s:N,s:N,s:N,s:N,s:N}", "alg", (long long)sign1.alg, "chain", chain, "protected",
                         atlas_py_bytes(sign1.protected_), "payload", atlas_py_bytes(sign1.payload), "signature",
                         atlas_py_bytes(sign1.signature), "timestamp", atlas_py_bytes(sign1.timestamp), "ocsp",
                         atlas_py_bytes(sign1.ocsp));
}

static PyObject *cose_sig_structure(PyObject *module, PyObject *args)
{
    const char *p[3];
    Py_ssize_t n[3];
    if (!PyArg_ParseTuple(args, "y#y#y#:cose_sig_structure", &p[0], &n[0], &p[1], &n[1], &p[2], &n[2])) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    atlas_cose_write_sig_structure(&tbs, atlas_span_of(p[0], (size_t)n[0]), atlas_span_of(p[1], (size_t)n[1]),
                                   atlas_span_of(p[2], (size_t)n[2]));
    return atlas_py_buf_result(module, atlas_buf_check(&tbs, &error), &tbs, &error);
}

/* -------------------------------------------------------------------------------------------------- keygen */

static PyObject *keygen(PyObject *module, PyObject *args)
{
    const char *name;
    Py_ssize_t n;
    int64_t alg;
    unsigned int years;
    if (!PyArg_ParseTuple(args, "s#O&I:keygen", &name, &n, alg_arg, &alg, &years)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_keygen made;
    int rc;
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_keygen(atlas_span_of(name, (size_t)n), alg, years, &made, &error);
    ATLAS_PY_END_CRYPTO
    if (rc < 0) {
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
    {"cose_read", cose_read, METH_VARARGS, "The parts of a tagged COSE_Sign1."},
    {"cose_sig_structure", cose_sig_structure, METH_VARARGS,
     "Sig_structure of protected header, external data, payload."},
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
