/*
 * cbor.c - cbor_encode and cbor_decode: the CBOR profile of port/cbor.h for Python, so that no second implementation of
 * it exists in the product.
 *
 * Recursion is bounded by ATLAS_MAX_CBOR_DEPTH in both directions. No Python code runs while an object is encoded: only
 * exact types and the C-level values of their subclasses are read, so nothing can change under the walk.
 */
#include "port/cbor.h"
#include "python/module.h"

/* ------------------------------------------------------------------------------------------------ encode */

/* -1 with an exception set, or with `error` filled in and none set. */
static int encode(PyObject *value, struct atlas_buf *b, unsigned depth, struct atlas_error *error);

static int encode_int(PyObject *value, struct atlas_buf *b)
{
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) {
        atlas_cbor_write_int(b, small);
        return small == -1 && PyErr_Occurred() ? -1 : 0;
    }
    if (!PyLong_CheckExact(value)) { /* the operators of a subclass are Python code */
        PyErr_SetString(PyExc_OverflowError, "an integer of a subclass of int is too large for CBOR");
        return -1;
    }
    PyObject *magnitude = overflow > 0 ? Py_NewRef(value) : PyNumber_Invert(value);
    if (magnitude == NULL) {
        return -1;
    }
    unsigned long long v = PyLong_AsUnsignedLongLong(magnitude);
    Py_DECREF(magnitude);
    if (v == (unsigned long long)-1 && PyErr_Occurred()) {
        return -1;
    }
    if (overflow > 0) {
        atlas_cbor_write_uint(b, v);
    } else {
        atlas_cbor_write_negint(b, v);
    }
    return 0;
}

static int encode_text(PyObject *value, struct atlas_buf *b)
{
    Py_ssize_t n;
    const char *text = PyUnicode_AsUTF8AndSize(value, &n);
    if (text == NULL) {
        return -1;
    }
    atlas_cbor_write_text(b, atlas_span_of(text, (size_t)n));
    return 0;
}

static int encode_bytes(PyObject *value, struct atlas_buf *b)
{
    char *bytes;
    Py_ssize_t n;
    if (PyBytes_AsStringAndSize(value, &bytes, &n) < 0) {
        return -1;
    }
    atlas_cbor_write_bytes(b, atlas_span_of(bytes, (size_t)n));
    return 0;
}

static int encode_list(PyObject *value, struct atlas_buf *b, unsigned depth, struct atlas_error *error)
{
    bool list = PyList_Check(value);
    Py_ssize_t n = list ? PyList_Size(value) : PyTuple_Size(value);
    if (n < 0) {
        return -1;
    }
    atlas_cbor_write_array(b, (uint64_t)n);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *element = list ? PyList_GetItem(value, i) : PyTuple_GetItem(value, i);
        if (element == NULL || encode(element, b, depth + 1, error) < 0) {
            return -1;
        }
    }
    return 0;
}

static int encode_key(PyObject *key, struct atlas_buf *b)
{
    if (PyUnicode_Check(key)) {
        return encode_text(key, b);
    }
    if (PyLong_Check(key) && !PyBool_Check(key)) {
        return encode_int(key, b);
    }
    if (PyBytes_Check(key)) {
        return encode_bytes(key, b);
    }
    PyErr_SetString(PyExc_TypeError, "a key of a CBOR map is str, int or bytes");
    return -1;
}

static int encode_dict(PyObject *value, struct atlas_buf *b, unsigned depth, struct atlas_error *error)
{
    struct atlas_cbor_map map = ATLAS_CBOR_MAP_INIT;
    PyObject *key;
    PyObject *element;
    Py_ssize_t at = 0;
    int rc = 0;
    while (rc == 0 && PyDict_Next(value, &at, &key, &element)) {
        struct atlas_buf *entry = atlas_cbor_map_entry(&map);
        rc = encode_key(key, entry);
        rc = rc == 0 ? encode(element, entry, depth + 1, error) : rc;
    }
    if (rc == 0) {
        rc = atlas_cbor_map_write(&map, b, error) < 0 ? -1 : 0;
    }
    atlas_cbor_map_release(&map);
    return rc;
}

static int encode_scalar(PyObject *value, struct atlas_buf *b)
{
    if (value == Py_None) {
        atlas_cbor_write_null(b);
        return 0;
    }
    if (PyBool_Check(value)) {
        atlas_cbor_write_bool(b, value == Py_True);
        return 0;
    }
    if (PyLong_Check(value)) {
        return encode_int(value, b);
    }
    if (PyFloat_Check(value)) {
        atlas_cbor_write_double(b, PyFloat_AsDouble(value));
        return 0;
    }
    if (PyUnicode_Check(value)) {
        return encode_text(value, b);
    }
    if (PyBytes_Check(value)) {
        return encode_bytes(value, b);
    }
    PyErr_Format(PyExc_TypeError, "CBOR has no form for %R", (PyObject *)Py_TYPE(value));
    return -1;
}

static int encode(PyObject *value, struct atlas_buf *b, unsigned depth, struct atlas_error *error)
{
    bool list = PyList_Check(value) || PyTuple_Check(value);
    if (!list && !PyDict_Check(value)) {
        return encode_scalar(value, b);
    }
    if (depth == ATLAS_MAX_CBOR_DEPTH) {
        atlas_error_set(error, ATLAS_E_LIMIT, "", "nested more than %d levels deep", ATLAS_MAX_CBOR_DEPTH);
        return -1;
    }
    return list ? encode_list(value, b, depth, error) : encode_dict(value, b, depth, error);
}

PyDoc_STRVAR(encode_doc, "cbor_encode(value, /)\n--\n\n"
                         "Deterministic CBOR (RFC 8949, 4.2.1) of None, bool, int, float, str, bytes, list, tuple and\n"
                         "dict.");

static PyObject *cbor_encode(PyObject *module, PyObject *value)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf b = ATLAS_BUF_INIT;
    PyObject *bytes = NULL;
    /* what is written must be readable: the check applies the limits of the profile */
    if (encode(value, &b, 0, &error) < 0 || atlas_buf_check(&b, &error) < 0 ||
        atlas_cbor_check(atlas_buf_span(&b), "", &error) < 0) {
        atlas_py_raise(module, &error);
    } else {
        bytes = atlas_py_bytes(atlas_buf_span(&b));
    }
    atlas_buf_release(&b);
    return bytes;
}

/* ------------------------------------------------------------------------------------------------ decode */

/* NULL with an exception set, or with the cursor's error filled in and none set. */
static PyObject *decode(struct atlas_cbor *c, unsigned depth);

static PyObject *decode_int(struct atlas_cbor *c, bool negative)
{
    uint64_t v;
    int rc = negative ? atlas_cbor_take_negint(c, &v) : atlas_cbor_take_uint(c, &v);
    PyObject *magnitude = rc < 0 ? NULL : PyLong_FromUnsignedLongLong(v);
    if (magnitude == NULL || !negative) {
        return magnitude;
    }
    PyObject *value = PyNumber_Invert(magnitude);
    Py_DECREF(magnitude);
    return value;
}

static PyObject *decode_string(struct atlas_cbor *c, bool text)
{
    struct atlas_span s;
    int rc = text ? atlas_cbor_take_text(c, &s) : atlas_cbor_take_bytes(c, &s);
    if (rc < 0) {
        return NULL;
    }
    return text ? PyUnicode_DecodeUTF8((const char *)s.p, (Py_ssize_t)s.n, "strict") : atlas_py_bytes(s);
}

static PyObject *decode_array(struct atlas_cbor *c, unsigned depth)
{
    PyObject *list = atlas_cbor_enter_array(c, NULL) < 0 ? NULL : PyList_New(0);
    while (list != NULL && atlas_cbor_more(c)) {
        PyObject *element = decode(c, depth + 1);
        if (element == NULL || PyList_Append(list, element) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(element);
    }
    if (list != NULL && atlas_cbor_leave(c) < 0) {
        Py_CLEAR(list);
    }
    return list;
}

static PyObject *decode_map(struct atlas_cbor *c, unsigned depth)
{
    PyObject *map = atlas_cbor_enter_map(c, NULL) < 0 ? NULL : PyDict_New();
    while (map != NULL && atlas_cbor_more(c)) {
        PyObject *key = decode(c, depth + 1);
        PyObject *value = key != NULL ? decode(c, depth + 1) : NULL;
        if (value == NULL || PyDict_SetItem(map, key, value) < 0) {
            Py_CLEAR(map);
        }
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    if (map != NULL && atlas_cbor_leave(c) < 0) {
        Py_CLEAR(map);
    }
    return map;
}

/* A date is its text; any other tag stays visible. */
static PyObject *decode_tag(struct atlas_cbor *c, unsigned depth)
{
    uint64_t tag;
    if (atlas_cbor_take_tag(c, &tag) < 0) {
        return NULL;
    }
    PyObject *value = decode(c, depth + 1);
    if (value == NULL || (tag == 0 && PyUnicode_Check(value))) {
        return value;
    }
    return Py_BuildValue("sKN", "tag", (unsigned long long)tag, value);
}

static PyObject *decode_bool(struct atlas_cbor *c)
{
    bool v;
    return atlas_cbor_take_bool(c, &v) < 0 ? NULL : Py_NewRef(v ? Py_True : Py_False);
}

static PyObject *decode_float(struct atlas_cbor *c)
{
    double v;
    return atlas_cbor_take_double(c, &v) < 0 ? NULL : PyFloat_FromDouble(v);
}

static PyObject *decode(struct atlas_cbor *c, unsigned depth)
{
    enum atlas_cbor_type type = atlas_cbor_peek(c);
    if (depth > ATLAS_MAX_CBOR_DEPTH) { /* reached by tags on tags, which the cursor does not count */
        atlas_cbor_refuse(c, ATLAS_E_LIMIT, "is nested too deeply");
        return NULL;
    }
    switch (type) {
    case ATLAS_CBOR_UINT:
    case ATLAS_CBOR_NEGINT:
        return decode_int(c, type == ATLAS_CBOR_NEGINT);
    case ATLAS_CBOR_BYTES:
    case ATLAS_CBOR_TEXT:
        return decode_string(c, type == ATLAS_CBOR_TEXT);
    case ATLAS_CBOR_ARRAY:
        return decode_array(c, depth);
    case ATLAS_CBOR_MAP:
        return decode_map(c, depth);
    case ATLAS_CBOR_TAG:
        return decode_tag(c, depth);
    case ATLAS_CBOR_BOOL:
        return decode_bool(c);
    case ATLAS_CBOR_FLOAT:
        return decode_float(c);
    case ATLAS_CBOR_NULL:
    case ATLAS_CBOR_NONE:
        break;
    }
    return atlas_cbor_take_null(c) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(decode_doc, "cbor_decode(data, /)\n--\n\n"
                         "The value of one CBOR document under Atlas' strict profile: definite lengths, shortest\n"
                         "heads, no duplicate keys, nothing after it. Tag 0 on text gives the text; any other tag\n"
                         "gives the tuple ('tag', number, value).");

PyObject *atlas_py_cbor_decode(PyObject *module, struct atlas_span document, const char *where)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_cbor c;
    PyObject *value = NULL;
    if (atlas_cbor_init(&c, document, where, &error) == ATLAS_OK) {
        value = decode(&c, 0);
    }
    if (value != NULL && atlas_cbor_finish(&c) < 0) {
        Py_CLEAR(value);
    }
    return value != NULL ? value : atlas_py_raise(module, &error);
}

static PyObject *cbor_decode(PyObject *module, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *value = atlas_py_cbor_decode(module, atlas_py_span(&view), "");
    PyBuffer_Release(&view);
    return value;
}

static PyMethodDef functions[] = {
    {"cbor_encode", cbor_encode, METH_O, encode_doc},
    {"cbor_decode", cbor_decode, METH_O, decode_doc},
    {NULL, NULL, 0, NULL},
};

int atlas_py_cbor_exec(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
