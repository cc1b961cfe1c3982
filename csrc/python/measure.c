/* measure.c - glue of the measure stage. */
#include "python/measure.h"

#include <stdatomic.h>

#include "format/index.h"
#include "port/lanes.h"

/* --------------------------------------------------------------------------------------------- arguments */

/* Signals are looked at even without a callback, so that Ctrl-C ends a long measurement. */
int atlas_py_report(void *context, uint64_t done, uint64_t total)
{
    struct atlas_py_caller *caller = context;
    PyEval_RestoreThread(caller->thread);
    int stop = PyErr_CheckSignals() < 0;
    if (!stop && caller->progress != Py_None) {
        PyObject *answer = PyObject_CallFunction(caller->progress, "KK", (unsigned long long)done,
                                                 (unsigned long long)total);
        stop = answer == NULL || answer == Py_False;
        Py_XDECREF(answer);
    }
    caller->thread = PyEval_SaveThread();
    return stop;
}

static int threads_arg(int threads, unsigned *ret_threads)
{
    if (threads < 0) {
        PyErr_SetString(PyExc_ValueError, "threads is 0 (one per CPU) or the number of threads");
        return -1;
    }
    *ret_threads = (unsigned)threads;
    return 0;
}

int atlas_py_options_arg(const char *alg, int flat, int tree, int threads, struct atlas_py_caller *caller,
                         struct atlas_measure_options *ret_options)
{
    *ret_options = (struct atlas_measure_options){.flat = flat != 0, .tree = tree != 0,
                                                  .progress = {atlas_py_report, caller}};
    if (caller->progress != Py_None && !PyCallable_Check(caller->progress)) {
        PyErr_SetString(PyExc_TypeError, "progress is None or a callable (done, total)");
        return -1;
    }
    return atlas_py_alg_arg(alg, &ret_options->alg) < 0 || threads_arg(threads, &ret_options->threads) < 0 ? -1 : 0;
}

PyObject *atlas_py_measurement(const struct atlas_measurement *m)
{
    return Py_BuildValue("sNNKKN", m->kind == ATLAS_KIND_DIRECTORY ? "directory" : "file", atlas_py_digest(&m->flat),
                         atlas_py_digest(&m->tree), (unsigned long long)m->size, (unsigned long long)m->files,
                         atlas_py_digest(&m->oms));
}

/* ------------------------------------------------------------------------------------------------- files */

PyDoc_STRVAR(measure_file_doc,
             "measure_file(path, *, alg='sha256', flat=True, tree=True, threads=0, progress=None,\n"
             "             cache=None, cache_share=0)\n--\n\n"
             "(kind, flat, tree, size, files, oms) of a regular file; digests are (algorithm, bytes) or None.\n"
             "progress(done, total) may return False, or raise, to stop.");

static PyObject *measure_file(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"path", "alg", "flat", "tree", "threads", "progress", "cache", "cache_share", NULL};
    struct atlas_py_caller caller = {.progress = Py_None};
    struct atlas_measure_options options;
    struct atlas_measurement m;
    struct atlas_error error = ATLAS_ERROR_INIT;
    PyObject *path = NULL;
    PyObject *result = NULL;
    const char *alg = "sha256";
    int flat = 1;
    int tree = 1;
    int threads = 0;
    PyObject *cache = Py_None;
    unsigned long share = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&|$sppiOOk:measure_file", names, PyUnicode_FSConverter, &path,
                                     &alg, &flat, &tree, &threads, &caller.progress, &cache, &share)) {
        return NULL;
    }
    if (atlas_py_options_arg(alg, flat, tree, threads, &caller, &options) == 0 &&
        atlas_py_cache_enter(cache, share, &options) == 0) {
        const char *name = PyBytes_AsString(path);
        caller.thread = PyEval_SaveThread();
        int rc = atlas_measure_file(name, &options, &m, &error);
        PyEval_RestoreThread(caller.thread);
        atlas_py_cache_leave(cache);
        result = rc == ATLAS_OK ? atlas_py_measurement(&m) : atlas_py_raise(module, &error);
    }
    Py_DECREF(path);
    return result;
}

PyDoc_STRVAR(measure_fd_doc,
             "measure_fd(fd, *, alg='sha256', flat=True, tree=True, threads=0, progress=None)\n--\n\n"
             "measure_file for an open descriptor: from offset 0 to the end; its position stays.");

static PyObject *measure_fd(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", "alg", "flat", "tree", "threads", "progress", NULL};
    struct atlas_py_caller caller = {.progress = Py_None};
    struct atlas_measure_options options;
    struct atlas_measurement m;
    struct atlas_error error = ATLAS_ERROR_INIT;
    const char *alg = "sha256";
    int fd;
    int flat = 1;
    int tree = 1;
    int threads = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|$sppiO:measure_fd", names, &fd, &alg, &flat, &tree, &threads,
                                     &caller.progress) ||
        atlas_py_options_arg(alg, flat, tree, threads, &caller, &options) < 0) {
        return NULL;
    }
    caller.thread = PyEval_SaveThread();
    int rc = atlas_measure_fd(fd, &options, &m, &error);
    PyEval_RestoreThread(caller.thread);
    return rc == ATLAS_OK ? atlas_py_measurement(&m) : atlas_py_raise(module, &error);
}

/* ------------------------------------------------------------------------------------------- directories */

/* A new tuple of bytes objects for an iterable of str; str that came from undecodable names go back to their bytes. */
PyObject *atlas_py_names_arg(PyObject *names)
{
    if (PyUnicode_Check(names) || PyBytes_Check(names)) {
        PyErr_SetString(PyExc_TypeError, "ignore is a sequence of names, not one name");
        return NULL;
    }
    PyObject *given = PySequence_Tuple(names);
    Py_ssize_t n = given != NULL ? PyTuple_Size(given) : 0;
    PyObject *encoded = given != NULL ? PyTuple_New(n) : NULL;
    for (Py_ssize_t i = 0; encoded != NULL && i < n; i++) {
        PyObject *name = PyUnicode_AsEncodedString(PyTuple_GetItem(given, i), "utf-8", "surrogateescape");
        if (name == NULL || PyTuple_SetItem(encoded, i, name) < 0) {
            Py_CLEAR(encoded);
        }
    }
    Py_XDECREF(given);
    return encoded;
}

/* Spans over a tuple of bytes; to be freed. */
struct atlas_span *atlas_py_spans_of(PyObject *names)
{
    Py_ssize_t n = PyTuple_Size(names);
    struct atlas_span *spans = PyMem_Calloc((size_t)n + 1, sizeof *spans);
    for (Py_ssize_t i = 0; spans != NULL && i < n; i++) {
        PyObject *name = PyTuple_GetItem(names, i);
        spans[i] = atlas_span_of(PyBytes_AsString(name), (size_t)PyBytes_Size(name));
    }
    return spans != NULL ? spans : (struct atlas_span *)PyErr_NoMemory();
}

/* {path: target} from strings that are each ended by a NUL. */
static PyObject *links_dict(struct atlas_span rest)
{
    PyObject *links = PyDict_New();
    while (links != NULL && rest.n != 0) {
        const char *path = (const char *)rest.p;
        const char *target = path + strlen(path) + 1;
        PyObject *value = PyUnicode_FromString(target);
        if (value == NULL || PyDict_SetItemString(links, path, value) < 0) {
            Py_CLEAR(links);
        }
        Py_XDECREF(value);
        struct atlas_span entry;
        (void)atlas_span_take(&rest, strlen(path) + 1 + strlen(target) + 1, &entry);
    }
    return links;
}

PyObject *atlas_py_directory_result(const struct atlas_measurement *m, const struct atlas_buf *index,
                                    const struct atlas_buf *links)
{
    PyObject *head = atlas_py_measurement(m);
    PyObject *tail = Py_BuildValue("(NN)", atlas_py_bytes(atlas_buf_span(index)), links_dict(atlas_buf_span(links)));
    PyObject *result = head != NULL && tail != NULL ? PySequence_Concat(head, tail) : NULL;
    Py_XDECREF(head);
    Py_XDECREF(tail);
    return result;
}

static PyObject *directory_run(PyObject *module, const char *path, const struct atlas_measure_options *options,
                               struct atlas_py_caller *caller, PyObject *ignore)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf index = ATLAS_BUF_INIT;
    struct atlas_buf links = ATLAS_BUF_INIT;
    struct atlas_measurement m;
    struct atlas_span *names = atlas_py_spans_of(ignore);
    if (names == NULL) {
        return NULL;
    }
    size_t n = (size_t)PyTuple_Size(ignore);
    caller->thread = PyEval_SaveThread();
    int rc = atlas_measure_directory(path, options, names, n, &index, &links, &m, &error);
    PyEval_RestoreThread(caller->thread);
    PyObject *result = rc == ATLAS_OK ? atlas_py_directory_result(&m, &index, &links) : atlas_py_raise(module, &error);
    atlas_buf_release(&index);
    atlas_buf_release(&links);
    PyMem_Free(names);
    return result;
}

PyDoc_STRVAR(
    measure_directory_doc,
    "measure_directory(path, *, alg='sha256', ignore=(), threads=0, progress=None, cache=None, cache_share=0)\n"
    "--\n\n"
    "(kind, flat, tree, size, files, oms, index, links): flat is the digest of the index, links maps the paths\n"
    "of links that were followed to their targets, both encoded like paths of the index.");

static PyObject *measure_directory(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"path", "alg", "ignore", "threads", "progress", "cache", "cache_share", NULL};
    struct atlas_py_caller caller = {.progress = Py_None};
    struct atlas_measure_options options;
    PyObject *path = NULL;
    PyObject *ignore = NULL;
    PyObject *result = NULL;
    const char *alg = "sha256";
    int threads = 0;
    PyObject *cache = Py_None;
    unsigned long share = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&|$sOiOOk:measure_directory", names, PyUnicode_FSConverter, &path,
                                     &alg, &ignore, &threads, &caller.progress, &cache, &share)) {
        return NULL;
    }
    ignore = ignore != NULL ? atlas_py_names_arg(ignore) : PyTuple_New(0);
    if (ignore != NULL && atlas_py_options_arg(alg, 1, 1, threads, &caller, &options) == 0 &&
        atlas_py_cache_enter(cache, share, &options) == 0) {
        result = directory_run(module, PyBytes_AsString(path), &options, &caller, ignore);
        atlas_py_cache_leave(cache);
    }
    Py_XDECREF(ignore);
    Py_DECREF(path);
    return result;
}

/* ---------------------------------------------------------------------------------------- memory and index */

PyDoc_STRVAR(chunk_digests_doc,
             "chunk_digests(buffer, alg='sha256', threads=0)\n--\n\n"
             "The digests of the buffer's chunks of 1 MiB, concatenated.");

static PyObject *chunk_digests(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"buffer", "alg", "threads", NULL};
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf digests = ATLAS_BUF_INIT;
    PyObject *result = NULL;
    Py_buffer view;
    const char *name = "sha256";
    int alg;
    int threads = 0;
    unsigned n = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*|si:chunk_digests", names, &view, &name, &threads)) {
        return NULL;
    }
    if (atlas_py_alg_arg(name, &alg) == 0 && threads_arg(threads, &n) == 0) {
        int rc;
        Py_BEGIN_ALLOW_THREADS
        rc = atlas_chunk_digests(alg, n, atlas_py_span(&view), &digests, &error);
        Py_END_ALLOW_THREADS
        result = rc == ATLAS_OK ? PyBytes_FromStringAndSize((const char *)digests.p, (Py_ssize_t)digests.n)
                                : atlas_py_raise(module, &error);
    }
    atlas_buf_release(&digests);
    PyBuffer_Release(&view);
    return result;
}

PyDoc_STRVAR(tree_root_doc,
             "tree_root(alg, digests)\n--\n\nThe tree digest of a file with these chunk digests (concatenated).");

static PyObject *tree_root(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_digest root;
    PyObject *result = NULL;
    Py_buffer view;
    const char *name;
    int alg;
    if (!PyArg_ParseTuple(args, "sy*:tree_root", &name, &view)) {
        return NULL;
    }
    if (atlas_py_alg_arg(name, &alg) == 0) {
        int rc;
        ATLAS_PY_BEGIN_CRYPTO
        rc = atlas_tree_root(alg, atlas_py_span(&view), &root, &error);
        ATLAS_PY_END_CRYPTO
        result = rc == ATLAS_OK ? atlas_py_bytes(atlas_digest_span(&root)) : atlas_py_raise(module, &error);
    }
    PyBuffer_Release(&view);
    return result;
}

/* Append and give up the reference; -1 with an exception set. */
static int append(PyObject *list, PyObject *item)
{
    int rc = item != NULL && list != NULL ? PyList_Append(list, item) : -1;
    Py_XDECREF(item);
    return rc;
}

PyDoc_STRVAR(index_parse_doc,
             "index_parse(index)\n--\n\n"
             "[(path, flat, tree, size)] of the index of a directory; the path is encoded, digests are hexadecimal.");

static PyObject *index_parse(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_index_entry e;
    struct atlas_index x;
    Py_buffer view;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    int failed = list == NULL;
    int rc = atlas_index_open(&x, atlas_py_span(&view), &error);
    while (!failed && rc >= 0 && (rc = atlas_index_next(&x, &e, &error)) == 1) {
        failed = append(list, Py_BuildValue("(NNNK)", atlas_py_text(e.path), atlas_py_text(e.flat),
                                            atlas_py_text(e.tree), (unsigned long long)e.size)) < 0;
    }
    if (rc < 0) {
        atlas_py_raise(module, &error);
    }
    if (failed || rc < 0) {
        Py_CLEAR(list);
    }
    PyBuffer_Release(&view);
    return list;
}

static PyObject *differences(PyObject *module, struct atlas_span before, struct atlas_span after)
{
    static const char *const names[] = {[ATLAS_INDEX_ADDED] = "added", [ATLAS_INDEX_REMOVED] = "removed",
                                        [ATLAS_INDEX_CHANGED] = "changed"};
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_index_diff d;
    struct atlas_span path;
    enum atlas_index_change change = ATLAS_INDEX_SAME;
    PyObject *result = Py_BuildValue("{s[]s[]s[]}", names[1], names[2], names[3]);
    int failed = result == NULL;
    int rc = atlas_index_diff_open(&d, before, after, &error);
    while (!failed && rc >= 0 && (rc = atlas_index_diff_next(&d, &change, &path, &error)) >= 0 &&
           change != ATLAS_INDEX_SAME) {
        failed = append(PyDict_GetItemString(result, names[change]), atlas_py_text(path)) < 0;
    }
    if (rc < 0) {
        atlas_py_raise(module, &error);
    }
    if (failed || rc < 0) {
        Py_CLEAR(result);
    }
    return result;
}

PyDoc_STRVAR(index_compare_doc,
             "index_compare(before, after)\n--\n\n"
             "{'added': [path], 'removed': [path], 'changed': [path]}; paths are encoded and in order.");

static PyObject *index_compare(PyObject *module, PyObject *args)
{
    Py_buffer before;
    Py_buffer after;
    if (!PyArg_ParseTuple(args, "y*y*:index_compare", &before, &after)) {
        return NULL;
    }
    PyObject *result = differences(module, atlas_py_span(&before), atlas_py_span(&after));
    PyBuffer_Release(&before);
    PyBuffer_Release(&after);
    return result;
}

/* ---------------------------------------------------------------------------------------------- Measurer */

/* Updates below this keep the GIL: letting go of it can cost a thread switch. */
#define KEEP_GIL_BELOW 16384

struct measurer {
    PyObject_HEAD
    struct atlas_measurer *core;
    atomic_bool busy;
};

static PyObject *measurer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"alg", "flat", "tree", "threads", NULL};
    struct atlas_measure_options options = {0};
    struct atlas_error error = ATLAS_ERROR_INIT;
    const char *alg = "sha256";
    int flat = 1;
    int tree = 1;
    int threads = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|sppi:Measurer", names, &alg, &flat, &tree, &threads) ||
        atlas_py_alg_arg(alg, &options.alg) < 0 || threads_arg(threads, &options.threads) < 0) {
        return NULL;
    }
    options.flat = flat != 0;
    options.tree = tree != 0;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct measurer *self = (struct measurer *)(void *)alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    atomic_init(&self->busy, false);
    if (atlas_measurer_new(&options, &self->core, &error) < 0) {
        atlas_py_raise((PyObject *)self, &error);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void measurer_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    atlas_measurer_free(((struct measurer *)(void *)object)->core);
    release(object);
    Py_DECREF(type);
}

/* Between enter and leave the measurer belongs to this thread. */
static int measurer_enter(struct measurer *self)
{
    if (atomic_exchange(&self->busy, true)) {
        struct atlas_error error = ATLAS_ERROR_INIT;
        atlas_error_set(&error, ATLAS_E_BUSY, "measurer", "is in use by another thread");
        atlas_py_raise((PyObject *)self, &error);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(measurer_update_doc, "update($self, buffer, /)\n--\n\nThe next bytes of the stream.");

static PyObject *measurer_update(PyObject *object, PyObject *arg)
{
    struct measurer *self = (struct measurer *)(void *)object;
    struct atlas_error error = ATLAS_ERROR_INIT;
    Py_buffer view;
    int rc;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (measurer_enter(self) < 0) {
        PyBuffer_Release(&view);
        return NULL;
    }
    if (view.len < KEEP_GIL_BELOW) {
        rc = atlas_measurer_update(self->core, atlas_py_span(&view), &error);
    } else {
        Py_BEGIN_ALLOW_THREADS
        rc = atlas_measurer_update(self->core, atlas_py_span(&view), &error);
        Py_END_ALLOW_THREADS
    }
    atomic_store(&self->busy, false);
    PyBuffer_Release(&view);
    return rc < 0 ? atlas_py_raise(object, &error) : Py_NewRef(Py_None);
}

PyDoc_STRVAR(measurer_finish_doc,
             "finish($self, /)\n--\n\nWhat measure_file gives for a file of these bytes. The measurer is spent.");

static PyObject *measurer_finish(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct measurer *self = (struct measurer *)(void *)object;
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_measurement m;
    int rc;
    if (measurer_enter(self) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_measurer_finish(self->core, &m, &error);
    Py_END_ALLOW_THREADS
    atomic_store(&self->busy, false);
    return rc < 0 ? atlas_py_raise(object, &error) : atlas_py_measurement(&m);
}

static PyMethodDef measurer_methods[] = {
    {"update", measurer_update, METH_O, measurer_update_doc},
    {"finish", measurer_finish, METH_NOARGS, measurer_finish_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(measurer_doc,
             "Measurer(alg='sha256', flat=True, tree=True, threads=0)\n--\n\n"
             "Measures a stream of bytes. For one thread at a time, and for the process that made it.");

static PyType_Slot measurer_slots[] = {
    {Py_tp_new, measurer_new},
    {Py_tp_dealloc, measurer_dealloc},
    {Py_tp_methods, measurer_methods},
    {Py_tp_doc, (void *)(uintptr_t)measurer_doc},
    {0, NULL},
};

static PyType_Spec measurer_spec = {
    .name = "atlas._core.Measurer",
    .basicsize = sizeof(struct measurer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = measurer_slots,
};

/* ----------------------------------------------------------------------------------------------- kernels */

PyDoc_STRVAR(kernels_doc,
             "kernels()\n--\n\n"
             "What hashes in this process: (name, lanes) for sha256, and for sha384 and sha512; the name of a kernel\n"
             "that gives wrong digests on this machine and is not used, or None.");

static PyObject *kernels(PyObject *module, PyObject *Py_UNUSED(unused))
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_lanes_report report;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_lanes_look(&report, &error);
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        return atlas_py_raise(module, &error);
    }
    return Py_BuildValue("{s:(sI),s:(sI),s:z}", "sha256", report.sha256, report.sha256_lanes, "sha512", report.sha512,
                         report.sha512_lanes, "failed", report.failed);
}

/* ------------------------------------------------------------------------------------------------ module */

static PyMethodDef functions[] = {
    {"measure_file", (PyCFunction)(void (*)(void))measure_file, METH_VARARGS | METH_KEYWORDS, measure_file_doc},
    {"measure_fd", (PyCFunction)(void (*)(void))measure_fd, METH_VARARGS | METH_KEYWORDS, measure_fd_doc},
    {"measure_directory", (PyCFunction)(void (*)(void))measure_directory, METH_VARARGS | METH_KEYWORDS,
     measure_directory_doc},
    {"chunk_digests", (PyCFunction)(void (*)(void))chunk_digests, METH_VARARGS | METH_KEYWORDS, chunk_digests_doc},
    {"kernels", kernels, METH_NOARGS, kernels_doc},
    {"tree_root", tree_root, METH_VARARGS, tree_root_doc},
    {"index_parse", index_parse, METH_O, index_parse_doc},
    {"index_compare", index_compare, METH_VARARGS, index_compare_doc},
    {NULL, NULL, 0, NULL},
};

int atlas_py_measure_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &measurer_spec, NULL);
    int rc = type != NULL ? PyModule_AddType(module, (PyTypeObject *)(void *)type) : -1;
    Py_XDECREF(type);
    if (rc < 0 || PyModule_AddFunctions(module, functions) < 0) {
        return -1;
    }
    if (atlas_py_part_exec(module) < 0 || atlas_py_cache_exec(module) < 0) {
        return -1;
    }
    return atlas_py_merkle_exec(module);
}
