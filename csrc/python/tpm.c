/* tpm.c - glue of port/tpm.h and of what enrolment needs: Tpm, tpm_key_read, credential_make, ak_issue. */
#include <stdatomic.h>
#include <stdio.h>

#include "format/tpm_attest.h"
#include "port/crypto/vendor.h"
#include "port/tpm.h"
#include "python/sign.h"
#include "stage/attest.h"

/* ------------------------------------------------------------------------------------------------------- Tpm */

struct py_tpm {
    PyObject_HEAD
    struct atlas_tpm *core; /* NULL: closed */
    atomic_bool busy;
};

static struct py_tpm *as_tpm(PyObject *object)
{
    return (struct py_tpm *)(void *)object;
}

static PyObject *tpm_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"tcti", NULL};
    struct atlas_error error = ATLAS_ERROR_INIT;
    const char *tcti;
    int rc;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s:Tpm", names, &tcti)) {
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct py_tpm *self = as_tpm(alloc(type, 0));
    if (self == NULL) {
        return NULL;
    }
    atomic_init(&self->busy, false);
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_tpm_open(tcti, &self->core, &error);
    ATLAS_PY_END_CRYPTO
    if (rc < 0) {
        (void)atlas_py_raise((PyObject *)self, &error);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void tpm_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    atlas_tpm_close(as_tpm(object)->core);
    release(object);
    Py_DECREF(type);
}

/* Open, and used by nobody else? An exception is set otherwise. */
static bool enter(PyObject *object)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct py_tpm *self = as_tpm(object);
    if (atomic_exchange(&self->busy, true)) {
        atlas_error_set(&error, ATLAS_E_BUSY, "TPM", "is in use by another thread");
        (void)atlas_py_raise(object, &error);
        return false;
    }
    if (self->core == NULL) {
        atomic_store(&self->busy, false);
        atlas_error_set(&error, ATLAS_E_ARG, "TPM", "is closed");
        (void)atlas_py_raise(object, &error);
        return false;
    }
    return true;
}

static void leave(PyObject *object)
{
    atomic_store(&as_tpm(object)->busy, false);
}

/* What a method asks of the core; one shape, so that one function runs them all. */
struct call {
    int (*run)(struct atlas_tpm *tpm, struct call *call, struct atlas_error *error);
    int role;
    uint16_t bank;
    uint32_t number; /* index, handle, PCRs */
    struct atlas_span in;
    struct atlas_span more;
    struct atlas_buf out[2];
};

static int run_call(PyObject *object, struct call *call, struct atlas_error *error)
{
    int rc;
    ATLAS_PY_BEGIN_CRYPTO
    rc = call->run(as_tpm(object)->core, call, error);
    ATLAS_PY_END_CRYPTO
    return rc;
}

/* None, bytes or a pair of them. */
static PyObject *result_of(PyObject *object, struct call *call, size_t n)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    PyObject *result = NULL;
    if (!enter(object)) {
        return NULL;
    }
    if (run_call(object, call, &error) < 0) {
        (void)atlas_py_raise(object, &error);
    } else if (n == 0) {
        result = Py_NewRef(Py_None);
    } else if (n == 1) {
        result = PyBytes_FromStringAndSize((const char *)call->out[0].p, (Py_ssize_t)call->out[0].n);
    } else {
        result = Py_BuildValue("y#y#", call->out[0].p, (Py_ssize_t)call->out[0].n, call->out[1].p,
                               (Py_ssize_t)call->out[1].n);
    }
    leave(object);
    atlas_buf_release(&call->out[0]);
    atlas_buf_release(&call->out[1]);
    return result;
}

static int run_make_key(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_make_key(tpm, (enum atlas_tpm_role)c->role, c->in, &c->out[0], error);
}

static int run_use_handle(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_use_handle(tpm, c->number, &c->out[0], error);
}

static int run_sign(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_sign(tpm, c->in, &c->out[0], error);
}

static int run_quote(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_quote(tpm, c->bank, c->number, c->in, &c->out[0], &c->out[1], error);
}

static int run_pcrs(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_read_pcrs(tpm, c->bank, c->number, &c->out[0], error);
}

static int run_define(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_nv_define(tpm, c->number, error);
}

static int run_undefine(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_nv_undefine(tpm, c->number, error);
}

static int run_public(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_nv_public(tpm, c->number, &c->out[0], error);
}

static int run_contents(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_nv_contents(tpm, c->number, &c->out[0], error);
}

static int run_extend(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_nv_extend(tpm, c->number, c->in, error);
}

static int run_certify(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_nv_certify(tpm, c->number, c->in, &c->out[0], &c->out[1], error);
}

static int run_activate(struct atlas_tpm *tpm, struct call *c, struct atlas_error *error)
{
    return atlas_tpm_activate(tpm, c->in, c->more, &c->out[0], error);
}

static PyObject *tpm_make_key(PyObject *self, PyObject *args)
{
    struct call call = {.run = run_make_key};
    Py_buffer unique;
    if (!PyArg_ParseTuple(args, "iy*:make_key", &call.role, &unique)) {
        return NULL;
    }
    call.in = atlas_py_span(&unique);
    PyObject *result = result_of(self, &call, 1);
    PyBuffer_Release(&unique);
    return result;
}

static PyObject *with_bytes(PyObject *self, PyObject *args, struct call call, const char *format, size_t n)
{
    unsigned int number = 0;
    Py_buffer view = {.buf = NULL};
    if (!PyArg_ParseTuple(args, format, &number, &view)) {
        return NULL;
    }
    call.number = number;
    call.in = atlas_py_span(&view);
    PyObject *result = result_of(self, &call, n);
    PyBuffer_Release(&view);
    return result;
}

static PyObject *with_number(PyObject *self, PyObject *arg, struct call call, size_t n)
{
    unsigned long number = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() != NULL) {
        return NULL;
    }
    call.number = (uint32_t)number;
    return result_of(self, &call, n);
}

static PyObject *tpm_use_handle(PyObject *self, PyObject *arg)
{
    return with_number(self, arg, (struct call){.run = run_use_handle}, 1);
}

static PyObject *tpm_nv_define(PyObject *self, PyObject *arg)
{
    return with_number(self, arg, (struct call){.run = run_define}, 0);
}

static PyObject *tpm_nv_undefine(PyObject *self, PyObject *arg)
{
    return with_number(self, arg, (struct call){.run = run_undefine}, 0);
}

static PyObject *tpm_nv_public(PyObject *self, PyObject *arg)
{
    return with_number(self, arg, (struct call){.run = run_public}, 1);
}

static PyObject *tpm_nv_contents(PyObject *self, PyObject *arg)
{
    return with_number(self, arg, (struct call){.run = run_contents}, 1);
}

static PyObject *tpm_nv_extend(PyObject *self, PyObject *args)
{
    return with_bytes(self, args, (struct call){.run = run_extend}, "Iy*:nv_extend", 0);
}

static PyObject *tpm_nv_certify(PyObject *self, PyObject *args)
{
    return with_bytes(self, args, (struct call){.run = run_certify}, "Iy*:nv_certify", 2);
}

static PyObject *tpm_sign(PyObject *self, PyObject *arg)
{
    struct call call = {.run = run_sign};
    Py_buffer view;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    call.in = atlas_py_span(&view);
    PyObject *result = result_of(self, &call, 1);
    PyBuffer_Release(&view);
    return result;
}

static PyObject *tpm_quote(PyObject *self, PyObject *args)
{
    struct call call = {.run = run_quote};
    unsigned short bank;
    unsigned int pcrs;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "HIy*:quote", &bank, &pcrs, &view)) {
        return NULL;
    }
    call.bank = bank;
    call.number = pcrs;
    call.in = atlas_py_span(&view);
    PyObject *result = result_of(self, &call, 2);
    PyBuffer_Release(&view);
    return result;
}

static PyObject *tpm_read_pcrs(PyObject *self, PyObject *args)
{
    unsigned short bank;
    unsigned int pcrs;
    if (!PyArg_ParseTuple(args, "HI:read_pcrs", &bank, &pcrs)) {
        return NULL;
    }
    struct call call = {.run = run_pcrs, .bank = bank, .number = pcrs};
    return result_of(self, &call, 1);
}

static PyObject *tpm_activate(PyObject *self, PyObject *args)
{
    struct call call = {.run = run_activate};
    Py_buffer object;
    Py_buffer encrypted;
    if (!PyArg_ParseTuple(args, "y*y*:activate", &object, &encrypted)) {
        return NULL;
    }
    call.in = atlas_py_span(&object);
    call.more = atlas_py_span(&encrypted);
    PyObject *result = result_of(self, &call, 1);
    PyBuffer_Release(&object);
    PyBuffer_Release(&encrypted);
    return result;
}

static PyObject *tpm_facts(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tpm_facts facts;
    int rc;
    if (!enter(self)) {
        return NULL;
    }
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_tpm_read_facts(as_tpm(self)->core, &facts, &error);
    ATLAS_PY_END_CRYPTO
    leave(self);
    if (rc < 0) {
        return atlas_py_raise(self, &error);
    }
    return Py_BuildValue("(ksK)", (unsigned long)facts.manufacturer, facts.vendor, (unsigned long long)facts.firmware);
}

static PyObject *tpm_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (as_tpm(self)->core == NULL) {
        return Py_NewRef(Py_None);
    }
    if (!enter(self)) {
        return NULL;
    }
    struct atlas_tpm *core = as_tpm(self)->core;
    as_tpm(self)->core = NULL;
    ATLAS_PY_BEGIN_CRYPTO
    atlas_tpm_close(core);
    ATLAS_PY_END_CRYPTO
    leave(self);
    return Py_NewRef(Py_None);
}

static PyMethodDef tpm_methods[] = {
    {"make_key", tpm_make_key, METH_VARARGS, "TPMT_PUBLIC of a primary key, which is now in use: (role, unique)."},
    {"use_handle", tpm_use_handle, METH_O, "TPMT_PUBLIC of a persistent key, which is now in use."},
    {"sign", tpm_sign, METH_O, "TPMT_SIGNATURE of a SHA-256 digest by the key in use."},
    {"quote", tpm_quote, METH_VARARGS, "(TPMS_ATTEST, TPMT_SIGNATURE): (bank, PCRs as bits, qualifying data)."},
    {"read_pcrs", tpm_read_pcrs, METH_VARARGS, "The values, one after the other: (bank, PCRs as bits)."},
    {"nv_define", tpm_nv_define, METH_O, "Define an index that can only be extended."},
    {"nv_undefine", tpm_nv_undefine, METH_O, "Take an index away."},
    {"nv_public", tpm_nv_public, METH_O, "TPMS_NV_PUBLIC of an index."},
    {"nv_contents", tpm_nv_contents, METH_O, "Contents of an index."},
    {"nv_extend", tpm_nv_extend, METH_VARARGS, "Extend an index: (index, data)."},
    {"nv_certify", tpm_nv_certify, METH_VARARGS, "(TPMS_ATTEST, TPMT_SIGNATURE): (index, qualifying data)."},
    {"activate", tpm_activate, METH_VARARGS, "The secret of a credential for the key in use: (object, encrypted)."},
    {"facts", tpm_facts, METH_NOARGS, "(manufacturer, vendor, firmware): what the TPM says of itself."},
    {"close", tpm_close, METH_NOARGS, "Flush the key and let the TPM go."},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(tpm_doc, "Tpm(tcti)\n--\n\nA TPM 2.0 through libtss2, which is loaded now. One thread at a time.");

static PyType_Slot tpm_slots[] = {
    {Py_tp_new, tpm_new},
    {Py_tp_dealloc, tpm_dealloc},
    {Py_tp_methods, tpm_methods},
    {Py_tp_doc, (void *)(uintptr_t)tpm_doc},
    {0, NULL},
};

static PyType_Spec tpm_spec = {
    .name = "atlas._core.Tpm",
    .basicsize = sizeof(struct py_tpm),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = tpm_slots,
};

/* ------------------------------------------------------------------------------------------ without a TPM */

static PyObject *tpm_key_read(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tpm_public key;
    struct atlas_buf spki = ATLAS_BUF_INIT;
    struct atlas_buf name = ATLAS_BUF_INIT;
    PyObject *result = NULL;
    Py_buffer view;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (atlas_tpm_public_read(atlas_py_span(&view), &key, &error) < 0 || atlas_tpm_spki(&key, &spki, &error) < 0 ||
        atlas_tpm_name(&key, &name, &error) < 0) {
        (void)atlas_py_raise(module, &error);
    } else {
        bool attests = atlas_tpm_ak_check(&key, NULL) == ATLAS_OK;
        result = Py_BuildValue("(y#y#O)", spki.p, (Py_ssize_t)spki.n, name.p, (Py_ssize_t)name.n,
                               attests ? Py_True : Py_False);
    }
    atlas_buf_release(&spki);
    atlas_buf_release(&name);
    PyBuffer_Release(&view);
    return result;
}

/* r || s of an ECDSA signature on P-256, as COSE has it. */
static PyObject *tpm_signature_raw(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tpm_signature s;
    uint8_t raw[64] = {0};
    Py_buffer view;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int rc = atlas_tpm_signature_read(atlas_py_span(&view), &s, &error);
    if (rc >= 0 && (s.scheme != ATLAS_TPM_ECDSA || s.r.n > 32 || s.s.n > 32)) {
        rc = atlas_error_set(&error, ATLAS_E_ALGORITHM, "TPMT_SIGNATURE", "not ECDSA on P-256");
    }
    if (rc >= 0) {
        memcpy(raw + 32 - s.r.n, s.r.p, s.r.n);
        memcpy(raw + 64 - s.s.n, s.s.p, s.s.n);
    }
    PyBuffer_Release(&view);
    return rc < 0 ? atlas_py_raise(module, &error) : PyBytes_FromStringAndSize((const char *)raw, sizeof raw);
}

static PyObject *credential_make(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf object = ATLAS_BUF_INIT;
    struct atlas_buf encrypted = ATLAS_BUF_INIT;
    Py_buffer ek;
    Py_buffer name;
    Py_buffer secret;
    if (!PyArg_ParseTuple(args, "y*y*y*:credential_make", &ek, &name, &secret)) {
        return NULL;
    }
    int rc = atlas_credential_make(atlas_py_span(&ek), atlas_py_span(&name), atlas_py_span(&secret), &object,
                                   &encrypted, &error);
    PyObject *result = rc < 0 ? atlas_py_raise(module, &error)
                              : Py_BuildValue("(y#y#)", object.p, (Py_ssize_t)object.n, encrypted.p,
                                              (Py_ssize_t)encrypted.n);
    atlas_buf_release(&object);
    atlas_buf_release(&encrypted);
    PyBuffer_Release(&ek);
    PyBuffer_Release(&name);
    PyBuffer_Release(&secret);
    return result;
}

static PyObject *tpm_names_read(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tpm_names names;
    Py_buffer view;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int rc = atlas_tpm_names_read(atlas_py_span(&view), &names, &error);
    PyBuffer_Release(&view);
    return rc < 0 ? atlas_py_raise(module, &error)
                  : Py_BuildValue("(sss)", names.manufacturer, names.model, names.version);
}

static PyObject *ak_issue(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf pem = ATLAS_BUF_INIT;
    struct atlas_tpm_names names = {"", "", ""};
    const char *words[3];
    const char *name;
    Py_ssize_t n;
    unsigned int years;
    Py_buffer v[3];
    if (!PyArg_ParseTuple(args, "y*y*y*s#(sss)I:ak_issue", &v[0], &v[1], &v[2], &name, &n, &words[0], &words[1],
                          &words[2], &years)) {
        return NULL;
    }
    snprintf(names.manufacturer, sizeof names.manufacturer, "%s", words[0]);
    snprintf(names.model, sizeof names.model, "%s", words[1]);
    snprintf(names.version, sizeof names.version, "%s", words[2]);
    struct atlas_ak_request request = {.ca = atlas_py_span(&v[0]),
                                       .ca_key = atlas_py_span(&v[1]),
                                       .spki = atlas_py_span(&v[2]),
                                       .name = atlas_span_of(name, (size_t)n),
                                       .names = &names,
                                       .years = years};
    int rc = atlas_ak_issue(&request, &pem, &error);
    for (size_t i = 0; i < 3; i++) {
        PyBuffer_Release(&v[i]);
    }
    return atlas_py_buf_result(module, rc, &pem, &error);
}

static PyObject *keygen_for(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_keygen made;
    const char *name;
    Py_ssize_t n;
    Py_buffer spki;
    unsigned int years;
    if (!PyArg_ParseTuple(args, "s#y*I:keygen_for", &name, &n, &spki, &years)) {
        return NULL;
    }
    int rc = atlas_keygen_for(atlas_span_of(name, (size_t)n), atlas_py_span(&spki), years, &made, &error);
    PyBuffer_Release(&spki);
    if (rc < 0) {
        return atlas_py_raise(module, &error);
    }
    PyObject *result = Py_BuildValue("NNN", atlas_py_bytes(atlas_buf_span(&made.root_pem)),
                                     atlas_py_bytes(atlas_buf_span(&made.root_key_pem)),
                                     atlas_py_bytes(atlas_buf_span(&made.chain_pem)));
    atlas_keygen_release(&made);
    return result;
}

static PyObject *ek_chain_check(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_py_spans chain = ATLAS_PY_SPANS_INIT;
    PyObject *list;
    Py_buffer roots;
    long long at;
    if (!PyArg_ParseTuple(args, "Oy*L:ek_chain_check", &list, &roots, &at)) {
        return NULL;
    }
    if (atlas_py_spans_init(list, &chain) < 0) {
        PyBuffer_Release(&roots);
        return NULL;
    }
    int rc = atlas_tpm_endorsement_check(chain.spans, chain.n, atlas_py_span(&roots), at, &error);
    atlas_py_spans_release(&chain);
    PyBuffer_Release(&roots);
    return atlas_py_none_result(module, rc, &error);
}

static PyObject *csr_prepare(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    const char *name;
    Py_ssize_t n;
    Py_buffer spki;
    if (!PyArg_ParseTuple(args, "s#y*:csr_prepare", &name, &n, &spki)) {
        return NULL;
    }
    int rc = atlas_csr_prepare(atlas_span_of(name, (size_t)n), atlas_py_span(&spki), &tbs, &error);
    PyBuffer_Release(&spki);
    return atlas_py_buf_result(module, rc, &tbs, &error);
}

static PyObject *csr_finish(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf pem = ATLAS_BUF_INIT;
    Py_buffer tbs;
    Py_buffer signature;
    if (!PyArg_ParseTuple(args, "y*y*:csr_finish", &tbs, &signature)) {
        return NULL;
    }
    int rc = atlas_csr_finish(atlas_py_span(&tbs), atlas_py_span(&signature), &pem, &error);
    PyBuffer_Release(&tbs);
    PyBuffer_Release(&signature);
    return atlas_py_buf_result(module, rc, &pem, &error);
}

static PyMethodDef functions[] = {
    {"csr_prepare", csr_prepare, METH_VARARGS, "What the key has to sign for a certificate request: (name, SPKI)."},
    {"csr_finish", csr_finish, METH_VARARGS, "The request in PEM: (what was signed, r || s)."},
    {"ek_chain_check", ek_chain_check, METH_VARARGS, "Raise unless the EK's chain leads to a root: (DERs, PEM, at)."},
    {"tpm_key_read", tpm_key_read, METH_O, "(SPKI, name, is it an attestation key) of a TPMT_PUBLIC."},
    {"tpm_signature_raw", tpm_signature_raw, METH_O, "r || s of a TPMT_SIGNATURE on P-256."},
    {"credential_make", credential_make, METH_VARARGS,
     "(TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET) without sizes: (SPKI of the EK, name, secret)."},
    {"tpm_names_read", tpm_names_read, METH_O, "(manufacturer, model, version) in a certificate."},
    {"ak_issue", ak_issue, METH_VARARGS, "PEM of a certificate: (CA, CA key, SPKI, name, names, years)."},
    {"keygen_for", keygen_for, METH_VARARGS, "(root, root key, chain) for a key elsewhere: (name, SPKI, years)."},
    {NULL, NULL, 0, NULL},
};

int atlas_py_tpm_exec(PyObject *module)
{
    return atlas_py_add_type(module, &tpm_spec) < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
