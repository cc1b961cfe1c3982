/* sign.c - glue: keys, trust objects and the functions of the sign stage. Converts, releases the GIL, raises. */
#include "stage/sign.h"

#include "port/crypto/crypto.h"
#include "python/module.h"

/* --------------------------------------------------------------------------------------------- arguments */

/* "ES256" -> its number; a name that is not known becomes ATLAS_COSE_NONE, which the core refuses. */
static int64_t alg_of(const char *name)
{
    return atlas_cose_alg_of(atlas_span_str(name));
}

static int purpose_arg(const char *name, enum atlas_purpose *ret_purpose)
{
    static const char *const names[] = {"", "claim", "tsa", "ocsp"};
    for (int i = ATLAS_PURPOSE_CLAIM; i <= ATLAS_PURPOSE_OCSP; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_purpose = (enum atlas_purpose)i;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "a purpose is 'claim', 'tsa' or 'ocsp', not '%s'", name);
    return -1;
}

/* A sequence of bytes objects as spans; the tuple keeps them alive while the GIL is released. */
struct span_list {
    PyObject *tuple;
    struct atlas_span *spans;
    size_t n;
};

static void span_list_release(struct span_list *list)
{
    PyMem_Free(list->spans);
    Py_CLEAR(list->tuple);
}

static int span_list_init(PyObject *sequence, struct span_list *ret_list)
{
    struct span_list list = {PySequence_Tuple(sequence), NULL, 0};
    if (list.tuple == NULL) {
        return -1;
    }
    list.n = (size_t)PyTuple_Size(list.tuple);
    list.spans = PyMem_Calloc(list.n + 1, sizeof *list.spans);
    if (list.spans == NULL) {
        span_list_release(&list);
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < list.n; i++) {
        char *p;
        Py_ssize_t n;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(list.tuple, (Py_ssize_t)i), &p, &n) < 0) {
            span_list_release(&list);
            return -1;
        }
        list.spans[i] = atlas_span_of(p, (size_t)n);
    }
    *ret_list = list;
    return 0;
}

/* Bytes of a buffer that is then released, or the exception. */
static PyObject *buf_result(PyObject *module, int rc, struct atlas_buf *b, const struct atlas_error *error)
{
    PyObject *result = rc < 0 ? atlas_py_raise(module, error)
                              : PyBytes_FromStringAndSize((const char *)b->p, (Py_ssize_t)b->n);
    atlas_buf_release(b);
    return result;
}

static PyObject *none_result(PyObject *module, int rc, const struct atlas_error *error)
{
    return rc < 0 ? atlas_py_raise(module, error) : Py_NewRef(Py_None);
}

/* ---------------------------------------------------------------------------------------------------- Key */

struct py_key {
    PyObject_HEAD
    struct atlas_key *key;
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
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_key_new(atlas_py_span(&pem), atlas_py_span(&password), &key, &error);
    Py_END_ALLOW_THREADS
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
    return buf_result(self, rc, &spki, &error);
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
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_key_sign(key, number, atlas_py_span(&tbs), &signature, &error);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&tbs);
    return buf_result(self, rc, &signature, &error);
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
    return none_result(self, rc, &error);
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

/* -------------------------------------------------------------------------------------------------- Trust */

struct py_trust {
    PyObject_HEAD
    struct atlas_trust *trust;
};

static int trust_fill(struct atlas_trust *trust, struct atlas_span anchors, struct atlas_span tsa_anchors,
                      const struct span_list *crls, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    if (anchors.n != 0) {
        ATLAS_TRY(atlas_trust_add_anchors(trust, anchors, error));
    }
    if (tsa_anchors.n != 0) {
        ATLAS_TRY(atlas_trust_add_tsa_anchors(trust, tsa_anchors, error));
    }
    for (size_t i = 0; i < crls->n; i++) {
        ATLAS_TRY(atlas_trust_add_crls(trust, crls->spans[i], error));
    }
out:
    return rc;
}

static PyObject *trust_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"anchors", "tsa_anchors", "crls", NULL};
    const char *anchors = "";
    const char *tsa_anchors = "";
    Py_ssize_t n_anchors = 0;
    Py_ssize_t n_tsa_anchors = 0;
    PyObject *crls = NULL;
    struct span_list list = {NULL, NULL, 0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|y#y#O:Trust", keywords, &anchors, &n_anchors, &tsa_anchors,
                                     &n_tsa_anchors, &crls) ||
        (crls != NULL && span_list_init(crls, &list) < 0)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct py_trust *self = (struct py_trust *)alloc(type, 0);
    if (self != NULL) {
        int rc = atlas_trust_new(&self->trust, &error);
        if (rc >= 0) {
            rc = trust_fill(self->trust, atlas_span_of(anchors, (size_t)n_anchors),
                            atlas_span_of(tsa_anchors, (size_t)n_tsa_anchors), &list, &error);
        }
        if (rc < 0) {
            (void)atlas_py_raise((PyObject *)self, &error);
            Py_CLEAR(self);
        }
    }
    span_list_release(&list);
    return (PyObject *)self;
}

static void trust_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    atlas_trust_free(((struct py_trust *)self)->trust);
    release(self);
    Py_DECREF(type);
}

static PyObject *revocation_dict(const struct atlas_revocation *r)
{
    return Py_BuildValue("{s:O,s:O,s:O,s:O,s:L}", "leaf_covered", r->leaf_covered ? Py_True : Py_False,
                         "issuers_covered", r->issuers_covered ? Py_True : Py_False, "stale",
                         r->stale ? Py_True : Py_False, "revoked_later", r->revoked_later ? Py_True : Py_False,
                         "revoked_at", (long long)r->revoked_at);
}

static PyObject *trust_chain(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"chain", "time", "now", "purpose", NULL};
    PyObject *sequence;
    long long time;
    long long now;
    const char *name = "claim";
    enum atlas_purpose purpose;
    struct span_list chain;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OLL|s:check_chain", keywords, &sequence, &time, &now, &name) ||
        purpose_arg(name, &purpose) < 0 || span_list_init(sequence, &chain) < 0) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_chain result;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_trust_chain_check(((struct py_trust *)self)->trust, chain.spans, chain.n, purpose, time, now, &result,
                                 &error);
    Py_END_ALLOW_THREADS
    span_list_release(&chain);
    if (rc < 0) {
        return atlas_py_raise(self, &error);
    }
    return Py_BuildValue("{s:n,s:N,s:N}", "length", (Py_ssize_t)result.length, "anchor",
                         atlas_py_bytes(atlas_digest_span(&result.anchor_sha256)), "revocation",
                         revocation_dict(&result.revocation));
}

static PyObject *trust_timestamp(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"token", "message", "now", NULL};
    Py_buffer token;
    Py_buffer message;
    long long now;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*L:check_timestamp", keywords, &token, &message, &now)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_timestamp result;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_timestamp_check(((struct py_trust *)self)->trust, atlas_py_span(&token), atlas_py_span(&message), now,
                               &result, &error);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&token);
    PyBuffer_Release(&message);
    if (rc < 0) {
        return atlas_py_raise(self, &error);
    }
    return Py_BuildValue("{s:L,s:O,s:N,s:N}", "gen_time", (long long)result.gen_time, "trusted",
                         result.trusted ? Py_True : Py_False, "authority",
                         atlas_py_text(atlas_span_str(result.authority)), "revocation",
                         revocation_dict(&result.revocation));
}

static PyObject *trust_ocsp(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"response", "chain", "time", "now", NULL};
    static const char *const statuses[] = {"unknown", "good", "revoked later"};
    Py_buffer response;
    PyObject *sequence;
    long long time;
    long long now;
    struct span_list chain;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*OLL:check_ocsp", keywords, &response, &sequence, &time, &now)) {
        return NULL;
    }
    if (span_list_init(sequence, &chain) < 0) {
        PyBuffer_Release(&response);
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_ocsp result;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_ocsp_check(((struct py_trust *)self)->trust, atlas_py_span(&response), chain.spans, chain.n, time, now,
                          &result, &error);
    Py_END_ALLOW_THREADS
    span_list_release(&chain);
    PyBuffer_Release(&response);
    if (rc < 0) {
        return atlas_py_raise(self, &error);
    }
    return Py_BuildValue("{s:s,s:L,s:L,s:L}", "status", statuses[result.status], "this_update",
                         (long long)result.this_update, "next_update", (long long)result.next_update, "revoked_at",
                         (long long)result.revoked_at);
}

static PyMethodDef trust_methods[] = {
    {"check_chain", (PyCFunction)(void (*)(void))trust_chain, METH_VARARGS | METH_KEYWORDS,
     "Does this x5chain lead to an anchor?"},
    {"check_timestamp", (PyCFunction)(void (*)(void))trust_timestamp, METH_VARARGS | METH_KEYWORDS,
     "Check an RFC 3161 token over a message."},
    {"check_ocsp", (PyCFunction)(void (*)(void))trust_ocsp, METH_VARARGS | METH_KEYWORDS,
     "What does a stapled OCSP response say?"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot trust_slots[] = {
    {Py_tp_new, trust_new},
    {Py_tp_dealloc, trust_dealloc},
    {Py_tp_methods, trust_methods},
    {0, NULL},
};

static PyType_Spec trust_spec = {
    .name = "atlas._core.Trust",
    .basicsize = sizeof(struct py_trust),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = trust_slots,
};

/* ----------------------------------------------------------------------------------------------- signing */

static PyObject *sign_prepare(PyObject *module, PyObject *args)
{
    Py_buffer claim;
    const char *alg;
    PyObject *sequence;
    struct span_list chain;
    if (!PyArg_ParseTuple(args, "y*sO:sign_prepare", &claim, &alg, &sequence)) {
        return NULL;
    }
    if (span_list_init(sequence, &chain) < 0) {
        PyBuffer_Release(&claim);
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf header = ATLAS_BUF_INIT;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_sign_prepare(atlas_py_span(&claim), alg_of(alg), chain.spans, chain.n, &header, &tbs, &error);
    Py_END_ALLOW_THREADS
    span_list_release(&chain);
    PyBuffer_Release(&claim);
    PyObject *result = rc < 0 ? atlas_py_raise(module, &error)
                              : Py_BuildValue("NN", atlas_py_bytes(atlas_buf_span(&header)),
                                              atlas_py_bytes(atlas_buf_span(&tbs)));
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
    return buf_result(module, rc, &tbs, &error);
}

static PyObject *sign_finish(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"claim", "protected", "signature", "timestamp", "ocsp", NULL};
    const char *p[4] = {NULL, NULL, NULL, NULL};
    Py_ssize_t n[4] = {0, 0, 0, 0};
    PyObject *sequence = NULL;
    struct span_list ocsp = {NULL, NULL, 0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y#y#y#|z#O:sign_finish", keywords, &p[0], &n[0], &p[1], &n[1],
                                     &p[2], &n[2], &p[3], &n[3], &sequence) ||
        (sequence != NULL && span_list_init(sequence, &ocsp) < 0)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf cose = ATLAS_BUF_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_sign_finish(atlas_span_of(p[0], (size_t)n[0]), atlas_span_of(p[1], (size_t)n[1]),
                           atlas_span_of(p[2], (size_t)n[2]), atlas_span_of(p[3], (size_t)n[3]), ocsp.spans, ocsp.n,
                           &cose, &error);
    Py_END_ALLOW_THREADS
    span_list_release(&ocsp);
    return buf_result(module, rc, &cose, &error);
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
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_signature_verify(alg_of(alg), atlas_py_span(&spki), atlas_py_span(&tbs), atlas_py_span(&signature),
                                &error);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&spki);
    PyBuffer_Release(&tbs);
    PyBuffer_Release(&signature);
    return none_result(module, rc, &error);
}

/* ------------------------------------------------------------------------------------------ certificates */

static PyObject *certificate_info(PyObject *module, PyObject *args)
{
    Py_buffer der;
    if (!PyArg_ParseTuple(args, "y*:certificate_info", &der)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_certificate c;
    PyObject *result;
    if (atlas_certificate_read(atlas_py_span(&der), &c, &error) < 0) {
        result = atlas_py_raise(module, &error);
    } else {
        result = Py_BuildValue("{s:s,s:s,s:s,s:s,s:s,s:N,s:N,s:L,s:L,s:O}", "common_name", c.common_name, "subject",
                               c.subject, "issuer", c.issuer, "serial", c.serial, "alg", atlas_cose_alg_name(c.alg),
                               "spki", atlas_py_bytes(c.spki), "spki_sha256",
                               atlas_py_bytes(atlas_digest_span(&c.spki_sha256)), "not_before",
                               (long long)c.not_before, "not_after", (long long)c.not_after, "self_issued",
                               c.self_issued ? Py_True : Py_False);
    }
    PyBuffer_Release(&der);
    return result;
}

static PyObject *certificate_chain_check(PyObject *module, PyObject *args)
{
    PyObject *sequence;
    const char *name = "claim";
    enum atlas_purpose purpose;
    struct span_list chain;
    if (!PyArg_ParseTuple(args, "O|s:certificate_chain_check", &sequence, &name) || purpose_arg(name, &purpose) < 0 ||
        span_list_init(sequence, &chain) < 0) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_certificate_chain_check(chain.spans, chain.n, purpose, &error);
    Py_END_ALLOW_THREADS
    span_list_release(&chain);
    return none_result(module, rc, &error);
}

static PyObject *certificate_list(struct atlas_span ders)
{
    struct atlas_span der;
    PyObject *list = PyList_New(0);
    while (list != NULL && atlas_certificate_next(&ders, &der)) {
        PyObject *item = atlas_py_bytes(der);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *certificates_from_pem(PyObject *module, PyObject *args)
{
    Py_buffer pem;
    if (!PyArg_ParseTuple(args, "y*:certificates_from_pem", &pem)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf ders = ATLAS_BUF_INIT;
    int rc = atlas_certificate_read_pem(atlas_py_span(&pem), &ders, &error);
    PyObject *result = rc < 0 ? atlas_py_raise(module, &error) : certificate_list(atlas_buf_span(&ders));
    atlas_buf_release(&ders);
    PyBuffer_Release(&pem);
    return result;
}

static PyObject *certificate_to_pem(PyObject *module, PyObject *args)
{
    Py_buffer der;
    if (!PyArg_ParseTuple(args, "y*:certificate_to_pem", &der)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf pem = ATLAS_BUF_INIT;
    int rc = atlas_certificate_write_pem(atlas_py_span(&der), &pem, &error);
    PyBuffer_Release(&der);
    return buf_result(module, rc, &pem, &error);
}

/* --------------------------------------------------------------------------------------- keygen, timestamps */

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
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_keygen(atlas_span_of(name, (size_t)n), alg_of(alg), years, &made, &error);
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        return atlas_py_raise(module, &error);
    }
    PyObject *result = Py_BuildValue("NNNN", atlas_py_bytes(atlas_buf_span(&made.root_pem)),
                                     atlas_py_bytes(atlas_buf_span(&made.root_key_pem)),
                                     atlas_py_bytes(atlas_buf_span(&made.chain_pem)),
                                     atlas_py_bytes(atlas_buf_span(&made.key_pem)));
    atlas_keygen_release(&made);
    return result;
}

static PyObject *timestamp_request(PyObject *module, PyObject *args)
{
    Py_buffer message;
    if (!PyArg_ParseTuple(args, "y*:timestamp_request", &message)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf request = ATLAS_BUF_INIT;
    int rc = atlas_timestamp_request(atlas_py_span(&message), &request, &error);
    PyBuffer_Release(&message);
    return buf_result(module, rc, &request, &error);
}

static PyObject *timestamp_token(PyObject *module, PyObject *args)
{
    Py_buffer request;
    Py_buffer response;
    if (!PyArg_ParseTuple(args, "y*y*:timestamp_token", &request, &response)) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_span token;
    int rc = atlas_timestamp_response_token(atlas_py_span(&request), atlas_py_span(&response), &token, &error);
    PyObject *result = rc < 0 ? atlas_py_raise(module, &error) : atlas_py_bytes(token);
    PyBuffer_Release(&request);
    PyBuffer_Release(&response);
    return result;
}

/* ------------------------------------------------------------------------------------------------ module */

static PyMethodDef sign_methods[] = {
    {"sign_prepare", sign_prepare, METH_VARARGS, "(protected header, bytes to sign) of a claim."},
    {"sign_countertbs", sign_countertbs, METH_VARARGS, "What a time-stamp of the signature covers."},
    {"sign_finish", (PyCFunction)(void (*)(void))sign_finish, METH_VARARGS | METH_KEYWORDS,
     "COSE_Sign1, after its signature was verified."},
    {"signature_verify", signature_verify, METH_VARARGS, "Raise unless the signature is good."},
    {"certificate_info", certificate_info, METH_VARARGS, "Names, serial number, key and validity."},
    {"certificate_chain_check", certificate_chain_check, METH_VARARGS, "Raise unless profile and order are right."},
    {"certificates_from_pem", certificates_from_pem, METH_VARARGS, "The DER certificates of a PEM text."},
    {"certificate_to_pem", certificate_to_pem, METH_VARARGS, "One DER certificate as PEM."},
    {"keygen", keygen, METH_VARARGS, "(root, root key, chain, key) of a development CA, in PEM."},
    {"timestamp_request", timestamp_request, METH_VARARGS, "DER TimeStampReq for a message."},
    {"timestamp_token", timestamp_token, METH_VARARGS, "The token of a TimeStampResp, checked against its request."},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int rc = type != NULL ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
    Py_XDECREF(type);
    return rc;
}

int atlas_py_sign_exec(PyObject *module)
{
    if (add_type(module, &key_spec) < 0 || add_type(module, &trust_spec) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, sign_methods);
}
