/* convert.c - spans and digests to Python values and back. */
#include "python/module.h"

PyObject *atlas_py_bytes(struct atlas_span s)
{
    if (s.p == NULL) {
        return Py_NewRef(Py_None);
    }
    return PyBytes_FromStringAndSize((const char *)s.p, (Py_ssize_t)s.n);
}

PyObject *atlas_py_text(struct atlas_span s)
{
    return PyUnicode_DecodeUTF8(s.p != NULL ? (const char *)s.p : "", (Py_ssize_t)s.n, "backslashreplace");
}

PyObject *atlas_py_digest(const struct atlas_digest *d)
{
    const char *name = atlas_alg_name(d->alg);
    if (name == NULL) {
        return Py_NewRef(Py_None);
    }
    return Py_BuildValue("sy#", name, (const char *)d->b, (Py_ssize_t)d->n);
}

int atlas_py_digest_arg(PyObject *value, struct atlas_digest *ret_digest)
{
    *ret_digest = (struct atlas_digest){0};
    if (value == NULL || value == Py_None) {
        return 0;
    }
    const char *name;
    const char *bytes;
    Py_ssize_t n;
    if (!PyTuple_Check(value) || !PyArg_ParseTuple(value, "sy#", &name, &bytes, &n)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "a digest is None or a tuple (algorithm name, bytes)");
        }
        return -1;
    }
    if (!atlas_digest_set(ret_digest, atlas_alg_of(atlas_span_str(name)), atlas_span_of(bytes, (size_t)n))) {
        PyErr_Format(PyExc_ValueError, "not a digest of %s: %zd bytes", name, n);
        return -1;
    }
    return 0;
}

int atlas_py_alg_arg(const char *name, int *ret_alg)
{
    enum atlas_alg alg = atlas_alg_of(atlas_span_str(name));
    if (alg == ATLAS_ALG_NONE) {
        PyErr_Format(PyExc_ValueError, "unknown hash algorithm '%s': sha256, sha384 or sha512", name);
        return -1;
    }
    *ret_alg = (int)alg;
    return 0;
}
