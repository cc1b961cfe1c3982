/* tensor.c - glue of stage/tensor.h and stage/read.h. */
#include "python/module.h"

#include "base/span.h"
#include "stage/read.h"
#include "stage/tensor.h"

/* The arguments of one call, as C sees them; buffers are held until the end. */
struct batch {
    struct atlas_tensor *tensors;
    uint64_t *numbers; /* shapes and strides */
    size_t n_numbers;
    Py_buffer *views;
    Py_ssize_t n;
    Py_ssize_t held;
};

static void batch_release(struct batch *b)
{
    for (Py_ssize_t i = 0; i < b->held; i++) {
        PyBuffer_Release(&b->views[i]);
    }
    PyMem_Free(b->views);
    PyMem_Free(b->tensors);
    PyMem_Free(b->numbers);
}

static int batch_make(struct batch *b, Py_ssize_t n)
{
    size_t count = (size_t)n + 1;
    b->n = n;
    b->tensors = PyMem_Calloc(count, sizeof *b->tensors);
    b->views = PyMem_Calloc(count, sizeof *b->views);
    b->numbers = PyMem_Calloc(count, 2 * ATLAS_MAX_TENSOR_DIMS * sizeof *b->numbers);
    if (b->tensors == NULL || b->views == NULL || b->numbers == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int numbers_arg(PyObject *tuple, Py_ssize_t n, uint64_t *ret_numbers)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        unsigned long long v = PyLong_AsUnsignedLongLong(PyTuple_GetItem(tuple, i));
        if (v == (unsigned long long)-1 && PyErr_Occurred()) {
            return -1;
        }
        ret_numbers[i] = v;
    }
    return 0;
}

/* (buffer or None, offset, element, turned, shape, stride) */
static int tensor_arg(struct batch *b, Py_ssize_t i, PyObject *item)
{
    struct atlas_tensor *t = &b->tensors[i];
    uint64_t *numbers = b->numbers + (size_t)i * 2 * ATLAS_MAX_TENSOR_DIMS;
    PyObject *buffer;
    PyObject *shape;
    PyObject *stride;
    unsigned long long offset;
    if (!PyTuple_Check(item) || !PyArg_ParseTuple(item, "OKIIO!O!:tensor", &buffer, &offset, &t->element, &t->turned,
                                                  &PyTuple_Type, &shape, &PyTuple_Type, &stride)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "a tensor is a tuple");
        }
        return -1;
    }
    Py_ssize_t dims = PyTuple_Size(shape);
    if (dims > ATLAS_MAX_TENSOR_DIMS || PyTuple_Size(stride) != dims) {
        PyErr_SetString(PyExc_ValueError, "shape and stride have at most 64 dimensions, and the same number");
        return -1;
    }
    t->offset = offset;
    t->dims = (unsigned)dims;
    t->shape = numbers;
    t->stride = numbers + ATLAS_MAX_TENSOR_DIMS;
    if (numbers_arg(shape, dims, numbers) < 0 || numbers_arg(stride, dims, numbers + ATLAS_MAX_TENSOR_DIMS) < 0) {
        return -1;
    }
    if (buffer != Py_None) {
        if (PyObject_GetBuffer(buffer, &b->views[b->held], PyBUF_SIMPLE) < 0) {
            return -1;
        }
        t->memory = atlas_py_span(&b->views[b->held++]);
        t->memory.p = t->memory.p != NULL ? t->memory.p : (const uint8_t *)""; /* an empty buffer is not the file */
    }
    return 0;
}

static PyObject *run(PyObject *module, const struct batch *b, const struct atlas_tensor_file *file, unsigned threads)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf digests = ATLAS_BUF_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_tensor_digests(b->tensors, (size_t)b->n, file, threads, &digests, &error);
    Py_END_ALLOW_THREADS
    PyObject *result = rc == ATLAS_OK ? PyBytes_FromStringAndSize((const char *)digests.p, (Py_ssize_t)digests.n)
                                      : atlas_py_raise(module, &error);
    atlas_buf_release(&digests);
    return result;
}

PyDoc_STRVAR(tensor_digests_doc,
             "tensor_digests(tensors, *, fd=-1, size=0, where='', threads=0)\n--\n\n"
             "The SHA-256 of each tensor's elements, row by row and little-endian, concatenated. A tensor is\n"
             "(buffer or None for the file, offset, bytes of an element, bytes that are turned round or 1, shape,\n"
             "stride).");

static PyObject *tensor_digests(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"tensors", "fd", "size", "where", "threads", NULL};
    struct atlas_tensor_file file = {.fd = -1, .where = ""};
    struct batch batch = {0};
    PyObject *given;
    PyObject *result = NULL;
    unsigned long long size = 0;
    unsigned threads = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$iKsI:tensor_digests", names, &given, &file.fd, &size,
                                     &file.where, &threads)) {
        return NULL;
    }
    file.size = size;
    PyObject *tuple = PySequence_Tuple(given);
    if (tuple == NULL) {
        return NULL;
    }
    int failed = batch_make(&batch, PyTuple_Size(tuple)) < 0;
    for (Py_ssize_t i = 0; !failed && i < batch.n; i++) {
        failed = tensor_arg(&batch, i, PyTuple_GetItem(tuple, i)) < 0;
    }
    if (!failed) {
        result = run(module, &batch, &file, threads);
    }
    batch_release(&batch);
    Py_DECREF(tuple);
    return result;
}

PyDoc_STRVAR(address_of_doc, "address_of(buffer)\n--\n\nWhere the bytes of a buffer lie.");

static PyObject *address_of(PyObject *Py_UNUSED(module), PyObject *buffer)
{
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *address = PyLong_FromVoidPtr(view.buf);
    PyBuffer_Release(&view);
    return address;
}

PyDoc_STRVAR(read_chunks_doc,
             "read_chunks(fd, offset, buffer, where='')\n--\n\n"
             "Fill the buffer from the file. The digests of its chunks of 1 MiB, of exactly these bytes.");

static PyObject *read_chunks(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf digests = ATLAS_BUF_INIT;
    unsigned long long offset;
    const char *where = "";
    Py_buffer view;
    int fd;
    int rc;
    if (!PyArg_ParseTuple(args, "iKw*|s:read_chunks", &fd, &offset, &view, &where)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_read_chunks(fd, offset, view.buf, (size_t)view.len, where, 0, &digests, &error);
    Py_END_ALLOW_THREADS
    PyObject *result = rc == ATLAS_OK ? PyBytes_FromStringAndSize((const char *)digests.p, (Py_ssize_t)digests.n)
                                      : atlas_py_raise(module, &error);
    atlas_buf_release(&digests);
    PyBuffer_Release(&view);
    return result;
}

static PyMethodDef functions[] = {
    {"read_chunks", read_chunks, METH_VARARGS, read_chunks_doc},
    {"address_of", address_of, METH_O, address_of_doc},
    {"tensor_digests", (PyCFunction)(void (*)(void))tensor_digests, METH_VARARGS | METH_KEYWORDS, tensor_digests_doc},
    {NULL, NULL, 0, NULL},
};

int atlas_py_tensor_exec(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
