/* sign.h - shared by the glue of the sign stage: lists of bytes, results, the second half of the module. */
#ifndef ATLAS_PYTHON_SIGN_H
#define ATLAS_PYTHON_SIGN_H

#include "port/crypto/crypto.h"
#include "python/module.h"

/* A sequence of bytes objects as spans; the tuple keeps them alive while the GIL is released. */
struct atlas_py_spans {
    PyObject *tuple;
    struct atlas_span *spans;
    size_t n;
};

#define ATLAS_PY_SPANS_INIT ((struct atlas_py_spans){NULL, NULL, 0})

int atlas_py_spans_init(PyObject *sequence, struct atlas_py_spans *ret_spans); /* -1: exception set */
void atlas_py_spans_release(struct atlas_py_spans *spans);

/* Bytes of a buffer that is then released, or the exception. */
PyObject *atlas_py_buf_result(PyObject *module, int rc, struct atlas_buf *b, const struct atlas_error *error);

/* None, or the exception. */
PyObject *atlas_py_none_result(PyObject *module, int rc, const struct atlas_error *error);

int atlas_py_add_type(PyObject *module, PyType_Spec *spec);

/* trust.c: certificates, trust, timestamps. Called by atlas_py_sign_exec. */
int atlas_py_trust_exec(PyObject *module);

#endif
