/* trust.c - glue: certificates, trust, timestamps. Converts, releases the GIL, raises. */
#include "python/sign.h"

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

/* -------------------------------------------------------------------------------------------------- Trust */

struct py_trust {
    PyObject_HEAD struct atlas_trust *trust;
};

static int trust_fill(struct atlas_trust *trust, struct atlas_span anchors, struct atlas_span tsa_anchors,
                      const struct atlas_py_spans *crls, struct atlas_error *error)
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
    struct atlas_py_spans list = ATLAS_PY_SPANS_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|y#y#O:Trust", keywords, &anchors, &n_anchors, &tsa_anchors,
                                     &n_tsa_anchors, &crls) ||
        (crls != NULL && atlas_py_spans_init(crls, &list) < 0)) {
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
    atlas_py_spans_release(&list);
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
    struct atlas_py_spans chain;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OLL|s:check_chain", keywords, &sequence, &time, &now, &name) ||
        purpose_arg(name, &purpose) < 0 || atlas_py_spans_init(sequence, &chain) < 0) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_chain result;
    int rc;
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_trust_chain_check(((struct py_trust *)self)->trust, chain.spans, chain.n, purpose, time, now, &result,
                                 &error);
    ATLAS_PY_END_CRYPTO
    atlas_py_spans_release(&chain);
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
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_timestamp_check(((struct py_trust *)self)->trust, atlas_py_span(&token), atlas_py_span(&message), now,
                               &result, &error);
    ATLAS_PY_END_CRYPTO
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
    struct atlas_py_spans chain;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*OLL:check_ocsp", keywords, &response, &sequence, &time, &now)) {
        return NULL;
    }
    if (atlas_py_spans_init(sequence, &chain) < 0) {
        PyBuffer_Release(&response);
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_ocsp result;
    int rc;
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_ocsp_check(((struct py_trust *)self)->trust, atlas_py_span(&response), chain.spans, chain.n, time, now,
                          &result, &error);
    ATLAS_PY_END_CRYPTO
    atlas_py_spans_release(&chain);
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
                               atlas_py_bytes(atlas_digest_span(&c.spki_sha256)), "not_before", (long long)c.not_before,
                               "not_after", (long long)c.not_after, "self_issued", c.self_issued ? Py_True : Py_False);
    }
    PyBuffer_Release(&der);
    return result;
}

static PyObject *certificate_chain_check(PyObject *module, PyObject *args)
{
    PyObject *sequence;
    const char *name = "claim";
    enum atlas_purpose purpose;
    struct atlas_py_spans chain;
    if (!PyArg_ParseTuple(args, "O|s:certificate_chain_check", &sequence, &name) || purpose_arg(name, &purpose) < 0 ||
        atlas_py_spans_init(sequence, &chain) < 0) {
        return NULL;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    int rc;
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_certificate_chain_check(chain.spans, chain.n, purpose, &error);
    ATLAS_PY_END_CRYPTO
    atlas_py_spans_release(&chain);
    return atlas_py_none_result(module, rc, &error);
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
    return atlas_py_buf_result(module, rc, &pem, &error);
}

/* ---------------------------------------------------------------------------------------------- timestamps */

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
    return atlas_py_buf_result(module, rc, &request, &error);
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

/* -------------------------------------------------------------------------------------------------- module */

static PyMethodDef trust_functions[] = {
    {"certificate_info", certificate_info, METH_VARARGS, "Names, serial number, key and validity."},
    {"certificate_chain_check", certificate_chain_check, METH_VARARGS, "Raise unless profile and order are right."},
    {"certificates_from_pem", certificates_from_pem, METH_VARARGS, "The DER certificates of a PEM text."},
    {"certificate_to_pem", certificate_to_pem, METH_VARARGS, "One DER certificate as PEM."},
    {"timestamp_request", timestamp_request, METH_VARARGS, "DER TimeStampReq for a message."},
    {"timestamp_token", timestamp_token, METH_VARARGS, "The token of a TimeStampResp, checked against its request."},
    {NULL, NULL, 0, NULL},
};

int atlas_py_trust_exec(PyObject *module)
{
    if (atlas_py_add_type(module, &trust_spec) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, trust_functions);
}
