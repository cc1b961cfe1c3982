/* evidence.c - glue of format/attestation.h: what evidence is bound to, and the assertion that carries it. */
#include "format/attestation.h"
#include "python/sign.h"
#include "python/verify.h"
#include "stage/claim.h"

static struct atlas_span optional(const Py_buffer *view)
{
    return view->obj != NULL ? atlas_py_span(view) : ATLAS_SPAN_NONE;
}

static void release(Py_buffer *views, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (views[i].obj != NULL) {
            PyBuffer_Release(&views[i]);
        }
    }
}

PyDoc_STRVAR(attestation_binding_doc,
             "attestation_binding($module, pub_key, created, /, *, partial=None, nonce=None, run=None)\n--\n\n"
             "attestation-tbs as bytes: artifact mode with partial and nonce, session mode with run.");

static PyObject *attestation_binding(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "", "partial", "nonce", "run", NULL};
    Py_buffer v[5] = {{0}, {0}, {0}, {0}, {0}};
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    struct atlas_error error = ATLAS_ERROR_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*s*|$z*z*z*:attestation_binding", names, &v[0], &v[1], &v[2],
                                     &v[3], &v[4])) {
        return NULL;
    }
    struct atlas_attestation_binding binding = {.pub_key = atlas_py_span(&v[0]),
                                                .created = atlas_py_span(&v[1]),
                                                .partial = optional(&v[2]),
                                                .nonce = optional(&v[3]),
                                                .run = optional(&v[4])};
    int rc = atlas_attestation_binding_write(&tbs, &binding, &error);
    PyObject *result = atlas_py_buf_result(module, rc, &tbs, &error);
    release(v, sizeof v / sizeof v[0]);
    return result;
}

PyDoc_STRVAR(attestation_write_doc,
             "attestation_write($module, type, binding, results, /, *, collateral=(), event_log=None,\n"
             "                  runtime_log=None)\n--\n\n"
             "The c2pa.attestation assertion as CBOR; binding is what attestation_binding returned.");

static int write_attestation(struct atlas_buf *b, const Py_buffer *v, struct atlas_py_spans *files,
                             struct atlas_error *error)
{
    struct atlas_buf list = ATLAS_BUF_INIT;
    if (files->n != 0) {
        atlas_cbor_write_array(&list, files->n);
    }
    for (size_t i = 0; i < files->n; i++) {
        atlas_cbor_write_bytes(&list, files->spans[i]);
    }
    int rc = atlas_buf_check(&list, error);
    if (rc >= 0) {
        struct atlas_attestation attestation = {.type = atlas_py_span(&v[0]),
                                                .results = atlas_py_span(&v[2]),
                                                .collateral = files->n != 0 ? atlas_buf_span(&list) : ATLAS_SPAN_NONE,
                                                .event_log = optional(&v[3]),
                                                .runtime_log = optional(&v[4])};
        rc = atlas_attestation_write(b, &attestation, atlas_py_span(&v[1]), error);
    }
    atlas_buf_release(&list);
    return rc;
}

static PyObject *attestation_write(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "", "", "collateral", "event_log", "runtime_log", NULL};
    Py_buffer v[5] = {{0}, {0}, {0}, {0}, {0}}; /* type, binding, results, event log, runtime log */
    PyObject *collateral = NULL;
    PyObject *result = NULL;
    struct atlas_py_spans files = ATLAS_PY_SPANS_INIT;
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_error error = ATLAS_ERROR_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s*y*y*|$Oz*z*:attestation_write", names, &v[0], &v[1], &v[2],
                                     &collateral, &v[3], &v[4])) {
        return NULL;
    }
    if (collateral == NULL || atlas_py_spans_init(collateral, &files) == 0) {
        result = atlas_py_buf_result(module, write_attestation(&b, v, &files, &error), &b, &error);
    }
    atlas_py_spans_release(&files);
    release(v, sizeof v / sizeof v[0]);
    return result;
}

PyDoc_STRVAR(claim_attest_doc, "claim_attest($module, claim, assertions, attestation, /)\n--\n\n"
                               "(claim, assertions) with the attestation as the last assertion.");

static PyObject *claim_attest(PyObject *module, PyObject *args)
{
    Py_buffer v[3] = {{0}, {0}, {0}};
    struct atlas_claim claim = ATLAS_CLAIM_INIT;
    struct atlas_error error = ATLAS_ERROR_INIT;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*:claim_attest", &v[0], &v[1], &v[2])) {
        return NULL;
    }
    if (atlas_claim_attest(atlas_py_span(&v[1]), atlas_py_span(&v[0]), atlas_py_span(&v[2]), &claim, &error) < 0) {
        atlas_py_raise(module, &error);
    } else {
        result = Py_BuildValue("y#y#", (const char *)claim.cbor.p, (Py_ssize_t)claim.cbor.n,
                               (const char *)claim.assertions.p, (Py_ssize_t)claim.assertions.n);
    }
    atlas_claim_release(&claim);
    release(v, sizeof v / sizeof v[0]);
    return result;
}

static PyMethodDef functions[] = {
    {"attestation_binding", (PyCFunction)(void (*)(void))attestation_binding, METH_VARARGS | METH_KEYWORDS,
     attestation_binding_doc},
    {"attestation_write", (PyCFunction)(void (*)(void))attestation_write, METH_VARARGS | METH_KEYWORDS,
     attestation_write_doc},
    {"claim_attest", claim_attest, METH_VARARGS, claim_attest_doc},
    {NULL, NULL, 0, NULL},
};

int atlas_py_evidence_exec(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
