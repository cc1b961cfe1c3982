/* module.h - shared by the glue files of atlas._core. Glue converts and raises; it decides nothing. */
#ifndef ATLAS_PYTHON_MODULE_H
#define ATLAS_PYTHON_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/buf.h"
#include "base/types.h"
#include "port/pool.h"

/* Around calls that use libcrypto: without the GIL, and without a fork (port/pool.h). Nothing of Python in between. */
#define ATLAS_PY_BEGIN_CRYPTO                       \
    {                                               \
        PyThreadState *save_ = PyEval_SaveThread(); \
        atlas_fork_hold();
#define ATLAS_PY_END_CRYPTO          \
        atlas_fork_allow();          \
        PyEval_RestoreThread(save_); \
    }

struct atlas_module_state {
    PyObject *from_core; /* atlas.errors.from_core(code, name, where, offset, text) -> exception */
};

/* Each stage adds its functions and types to the module: 0, or -1 with an exception set. */
int atlas_py_measure_exec(PyObject *module); /* calls the next three */
int atlas_py_part_exec(PyObject *module);
int atlas_py_cache_exec(PyObject *module);
int atlas_py_merkle_exec(PyObject *module);
int atlas_py_tensor_exec(PyObject *module);
int atlas_py_claim_exec(PyObject *module);
int atlas_py_sign_exec(PyObject *module);
int atlas_py_attest_exec(PyObject *module);
int atlas_py_tpm_exec(PyObject *module);
int atlas_py_log_exec(PyObject *module);
int atlas_py_verify_exec(PyObject *module);
int atlas_py_cbor_exec(PyObject *module);
int atlas_py_proof_exec(PyObject *module);

/* raise.c: turn the error into one exception of atlas/errors.py; always NULL, so `return atlas_py_raise(...)` reads
 * well. An exception that is already set (by a Python callback) is left as it is. `module` may be any object of this
 * module: the module itself, or an instance of one of its types. */
PyObject *atlas_py_raise(PyObject *module_or_self, const struct atlas_error *error);

/* convert.c */
static inline struct atlas_span atlas_py_span(const Py_buffer *view)
{
    return (struct atlas_span){view->buf, (size_t)view->len};
}
PyObject *atlas_py_bytes(struct atlas_span s);             /* new reference; None for p == NULL */
PyObject *atlas_py_text(struct atlas_span s); /* new reference; UTF-8, undecodable bytes backslash-escaped */
PyObject *atlas_py_digest(const struct atlas_digest *d);   /* new reference: ("sha256", bytes) or None when absent */
/* None or (name, bytes); -1: exception set */
int atlas_py_digest_arg(PyObject *value, struct atlas_digest *ret_digest);
int atlas_py_alg_arg(const char *name, int *ret_alg);      /* "sha256" and so on; -1: exception set */

/* cbor.c: one document of the profile as plain Python data; NULL with an exception set. */
PyObject *atlas_py_cbor_decode(PyObject *module, struct atlas_span document, const char *where);

#endif
