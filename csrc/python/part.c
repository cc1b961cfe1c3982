/* part.c - glue of parts: measured by several workers, merged by one. */
#include "python/measure.h"

#include "format/part.h"

static int blocks_arg(unsigned long long first, PyObject *end, unsigned long long share, unsigned long long of,
                      struct atlas_blocks *ret_blocks)
{
    *ret_blocks = (struct atlas_blocks){.first = first, .end = UINT64_MAX, .share = share, .of = of};
    if (end != Py_None) {
        ret_blocks->end = PyLong_AsUnsignedLongLong(end);
    }
    return PyErr_Occurred() != NULL ? -1 : 0;
}

static PyObject *part_run(PyObject *module, const char *path, const struct atlas_measure_options *options,
                          const struct atlas_blocks *blocks, struct atlas_py_caller *caller, PyObject *ignore)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf record = ATLAS_BUF_INIT;
    struct atlas_span *names = atlas_py_spans_of(ignore);
    if (names == NULL) {
        return NULL;
    }
    size_t n = (size_t)PyTuple_Size(ignore);
    caller->thread = PyEval_SaveThread();
    int rc = atlas_measure_part(path, options, blocks, names, n, &record, &error);
    PyEval_RestoreThread(caller->thread);
    PyObject *result = rc == ATLAS_OK ? atlas_py_bytes(atlas_buf_span(&record)) : atlas_py_raise(module, &error);
    atlas_buf_release(&record);
    PyMem_Free(names);
    return result;
}

PyDoc_STRVAR(measure_part_doc,
             "measure_part(path, *, first=0, end=None, share=0, of=0, alg='sha256', ignore=(), threads=0,\n"
             "             progress=None)\n--\n\n"
             "The record of blocks first to end, or of one of `of` equal shares: chunks of a file, files of a\n"
             "directory.");

static PyObject *measure_part(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"path", "first", "end", "share", "of", "alg", "ignore", "threads", "progress", NULL};
    struct atlas_py_caller caller = {.progress = Py_None};
    struct atlas_measure_options options;
    struct atlas_blocks blocks;
    PyObject *path = NULL;
    PyObject *ignore = NULL;
    PyObject *end = Py_None;
    PyObject *result = NULL;
    const char *alg = "sha256";
    unsigned long long first = 0;
    unsigned long long share = 0;
    unsigned long long of = 0;
    int threads = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&|$KOKKsOiO:measure_part", names, PyUnicode_FSConverter, &path,
                                     &first, &end, &share, &of, &alg, &ignore, &threads, &caller.progress)) {
        return NULL;
    }
    ignore = ignore != NULL ? atlas_py_names_arg(ignore) : PyTuple_New(0);
    if (ignore != NULL && blocks_arg(first, end, share, of, &blocks) == 0 &&
        atlas_py_options_arg(alg, 1, 1, threads, &caller, &options) == 0) {
        result = part_run(module, PyBytes_AsString(path), &options, &blocks, &caller, ignore);
    }
    Py_XDECREF(ignore);
    Py_DECREF(path);
    return result;
}

PyDoc_STRVAR(part_merge_doc, "part_merge(records)\n--\n\nOne record of parts that follow each other, in any order.");

static PyObject *part_merge(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf record = ATLAS_BUF_INIT;
    PyObject *result = NULL;
    PyObject *records = PySequence_Tuple(arg);
    Py_ssize_t n = records != NULL ? PyTuple_Size(records) : 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (!PyBytes_Check(PyTuple_GetItem(records, i))) {
            PyErr_SetString(PyExc_TypeError, "records are bytes objects");
            Py_DECREF(records);
            return NULL;
        }
    }
    struct atlas_span *spans = records != NULL ? atlas_py_spans_of(records) : NULL;
    if (spans != NULL) {
        int rc;
        Py_BEGIN_ALLOW_THREADS
        rc = atlas_part_merge(spans, (size_t)n, &record, &error);
        Py_END_ALLOW_THREADS
        result = rc == ATLAS_OK ? atlas_py_bytes(atlas_buf_span(&record)) : atlas_py_raise(module, &error);
    }
    atlas_buf_release(&record);
    PyMem_Free(spans);
    Py_XDECREF(records);
    return result;
}

PyDoc_STRVAR(part_measurement_doc,
             "part_measurement(record)\n--\n\n"
             "What measure_directory gives, or measure_file with flat=False, from the record of the whole.");

static PyObject *part_measurement(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf index = ATLAS_BUF_INIT;
    struct atlas_buf links = ATLAS_BUF_INIT;
    struct atlas_measurement m;
    PyObject *result;
    Py_buffer view;
    int rc;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_part_measurement(atlas_py_span(&view), &index, &links, &m, &error);
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        result = atlas_py_raise(module, &error);
    } else {
        result = m.kind == ATLAS_KIND_DIRECTORY ? atlas_py_directory_result(&m, &index, &links)
                                                : atlas_py_measurement(&m);
    }
    atlas_buf_release(&index);
    atlas_buf_release(&links);
    PyBuffer_Release(&view);
    return result;
}

PyDoc_STRVAR(part_range_doc,
             "part_range(record)\n--\n\n(kind, first, end, total) of a record: which blocks of how many it speaks of.");

static PyObject *part_range(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_part p;
    Py_buffer view;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int rc = atlas_part_read(atlas_py_span(&view), &p, &error);
    PyBuffer_Release(&view);
    if (rc < 0) {
        return atlas_py_raise(module, &error);
    }
    return Py_BuildValue("sKKK", p.kind == ATLAS_PART_DIRECTORY ? "directory" : "file", (unsigned long long)p.first,
                         (unsigned long long)p.end, (unsigned long long)p.total);
}

static PyMethodDef functions[] = {
    {"measure_part", (PyCFunction)(void (*)(void))measure_part, METH_VARARGS | METH_KEYWORDS, measure_part_doc},
    {"part_merge", part_merge, METH_O, part_merge_doc},
    {"part_measurement", part_measurement, METH_O, part_measurement_doc},
    {"part_range", part_range, METH_O, part_range_doc},
    {NULL, NULL, 0, NULL},
};

int atlas_py_part_exec(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
