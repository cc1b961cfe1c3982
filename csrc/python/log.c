/* log.c - glue of stage/log.h: an open log as an object. All of it waits and works without the GIL. */
#include "python/sign.h"

#include "stage/log.h"

struct py_log {
    PyObject_HEAD
    struct atlas_log *log; /* NULL when it is closed */
};

/* Both take (path, memory, vkey, secret, wait_ms); the views are released by the caller. */
struct log_args {
    struct atlas_log_options options;
    Py_buffer secret;
};

static int log_args_parse(PyObject *args, PyObject *kwargs, const char *format, struct log_args *ret_args)
{
    static char *keywords[] = {"path", "memory", "vkey", "secret", "wait_ms", NULL};
    unsigned long long wait_ms = ATLAS_LOG_WAIT_MS;
    const char *vkey;
    Py_ssize_t n;
    ret_args->secret = (Py_buffer){.buf = NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, keywords, &ret_args->options.path,
                                     &ret_args->options.memory, &vkey, &n, &ret_args->secret, &wait_ms)) {
        return -1;
    }
    ret_args->options.vkey = atlas_span_of(vkey, (size_t)n);
    ret_args->options.secret = atlas_py_span(&ret_args->secret);
    ret_args->options.wait_ms = wait_ms;
    return 0;
}

static PyObject *log_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct log_args a;
    if (log_args_parse(args, kwargs, "sss#|y*K:Log", &a) < 0) {
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct py_log *self = (struct py_log *)(void *)alloc(type, 0);
    if (self != NULL) {
        int rc;
        Py_BEGIN_ALLOW_THREADS
        rc = atlas_log_open(&a.options, &self->log, &error);
        Py_END_ALLOW_THREADS
        if (rc < 0) {
            (void)atlas_py_raise((PyObject *)self, &error);
            Py_CLEAR(self);
        }
    }
    if (a.secret.obj != NULL) {
        PyBuffer_Release(&a.secret);
    }
    return (PyObject *)self;
}

static void log_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    atlas_log_close(((struct py_log *)(void *)object)->log);
    release(object);
    Py_DECREF(type);
}

static struct atlas_log *log_of(PyObject *object)
{
    return ((struct py_log *)(void *)object)->log;
}

PyDoc_STRVAR(log_append_doc,
             "append($self, entries, /)\n--\n\n"
             "Append a sequence of bytes, all or none: (index of the first, size of the tree, its signed checkpoint).\n"
             "They are on the disk when it returns. Threads that append at the same time share a commit.");

static PyObject *log_append(PyObject *object, PyObject *sequence)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_py_spans entries = ATLAS_PY_SPANS_INIT;
    struct atlas_log_batch batch = {.note = ATLAS_BUF_INIT};
    PyObject *result = NULL;
    int rc;
    if (atlas_py_spans_init(sequence, &entries) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_log_append(log_of(object), entries.spans, entries.n, &batch, &error);
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        (void)atlas_py_raise(object, &error);
    } else {
        result = Py_BuildValue("KKy#", (unsigned long long)batch.first, (unsigned long long)batch.size,
                               (const char *)batch.note.p, (Py_ssize_t)batch.note.n);
    }
    atlas_buf_release(&batch.note);
    atlas_py_spans_release(&entries);
    return result;
}

PyDoc_STRVAR(log_refresh_doc, "refresh($self, /)\n--\n\nTake notice of what other processes have appended.");

static PyObject *log_refresh(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_log_refresh(log_of(object), &error);
    Py_END_ALLOW_THREADS
    return atlas_py_none_result(object, rc, &error);
}

PyDoc_STRVAR(log_head_doc, "head($self, /)\n--\n\n(size, root, signed checkpoint) as this process knows them.");

static PyObject *log_head(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf note = ATLAS_BUF_INIT;
    uint8_t root[ATLAS_NOTE_ROOT];
    PyObject *result = NULL;
    uint64_t size;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_log_head(log_of(object), &size, root, &note, &error);
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        (void)atlas_py_raise(object, &error);
    } else {
        result = Py_BuildValue("Ky#y#", (unsigned long long)size, (const char *)root, (Py_ssize_t)sizeof root,
                               (const char *)note.p, (Py_ssize_t)note.n);
    }
    atlas_buf_release(&note);
    return result;
}

PyDoc_STRVAR(log_publish_doc,
             "publish($self, note, /)\n--\n\nThe head's checkpoint with more signature lines, those of witnesses.");

static PyObject *log_publish(PyObject *object, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    Py_buffer note;
    int rc;
    if (PyObject_GetBuffer(arg, &note, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_log_publish(log_of(object), atlas_py_span(&note), &error);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&note);
    return atlas_py_none_result(object, rc, &error);
}

static PyObject *hash_list(const struct atlas_buf *proof)
{
    struct atlas_span rest = atlas_buf_span(proof);
    struct atlas_span hash;
    PyObject *list = PyList_New(0);
    while (list != NULL && atlas_span_take(&rest, ATLAS_TILE_HASH, &hash)) {
        PyObject *item = atlas_py_bytes(hash);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

PyDoc_STRVAR(log_prove_doc,
             "prove($self, index, size, /)\n--\n\n(leaf hash, inclusion proof) of an entry in the tree of that size.");

static PyObject *log_prove(PyObject *object, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf proof = ATLAS_BUF_INIT;
    struct atlas_digest leaf;
    PyObject *result = NULL;
    unsigned long long index;
    unsigned long long size;
    int rc;
    if (!PyArg_ParseTuple(args, "KK:prove", &index, &size)) {
        return NULL;
    }
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_log_prove(log_of(object), index, size, &proof, &leaf, &error);
    ATLAS_PY_END_CRYPTO
    if (rc < 0) {
        (void)atlas_py_raise(object, &error);
    } else {
        result = Py_BuildValue("NN", atlas_py_bytes(atlas_digest_span(&leaf)), hash_list(&proof));
    }
    atlas_buf_release(&proof);
    return result;
}

PyDoc_STRVAR(log_consistency_doc,
             "consistency($self, size1, size2, /)\n--\n\nThe proof that the second tree begins with the first.");

static PyObject *log_consistency(PyObject *object, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf proof = ATLAS_BUF_INIT;
    unsigned long long size1;
    unsigned long long size2;
    int rc;
    if (!PyArg_ParseTuple(args, "KK:consistency", &size1, &size2)) {
        return NULL;
    }
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_log_consistency(log_of(object), size1, size2, &proof, &error);
    ATLAS_PY_END_CRYPTO
    PyObject *result = rc < 0 ? atlas_py_raise(object, &error) : hash_list(&proof);
    atlas_buf_release(&proof);
    return result;
}

PyDoc_STRVAR(log_find_doc, "find($self, leaf, /)\n--\n\nThe index of the newest entry with this leaf hash, or None.");

static PyObject *log_find(PyObject *object, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    Py_buffer leaf;
    uint64_t index = 0;
    int rc;
    if (PyObject_GetBuffer(arg, &leaf, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_log_find(log_of(object), atlas_py_span(&leaf), &index, &error);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&leaf);
    if (rc == ATLAS_E_NOT_FOUND) {
        return Py_NewRef(Py_None);
    }
    return rc < 0 ? atlas_py_raise(object, &error) : PyLong_FromUnsignedLongLong(index);
}

/* The files that are wrong, gathered without the GIL; more than a screen of them helps nobody. */
#define MAX_TOLD 1000

struct told {
    struct atlas_buf lines; /* where, NUL, text, NUL */
    size_t n;
};

static void told_add(void *context, const struct atlas_error *what)
{
    struct told *t = context;
    if (t->n++ < MAX_TOLD) {
        atlas_buf_append(&t->lines, atlas_span_of(what->where, strlen(what->where) + 1));
        atlas_buf_append(&t->lines, atlas_span_of(what->text, strlen(what->text) + 1));
    }
}

static PyObject *told_list(const struct told *t)
{
    PyObject *list = PyList_New(0);
    const char *p = (const char *)t->lines.p;
    for (size_t i = 0; list != NULL && i < t->n && i < MAX_TOLD; i++) {
        const char *text = p + strlen(p) + 1;
        PyObject *item = Py_BuildValue("NN", atlas_py_text(atlas_span_str(p)), atlas_py_text(atlas_span_str(text)));
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
        p = text + strlen(text) + 1;
    }
    return list;
}

PyDoc_STRVAR(log_check_doc,
             "check($self, /)\n--\n\n"
             "Read and hash everything: (how many files are wrong, [(file, what is wrong), ...] of the first 1000).");

static PyObject *log_check(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct told told = {.lines = ATLAS_BUF_INIT};
    PyObject *result = NULL;
    uint64_t size;
    int rc;
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_log_check(log_of(object), told_add, &told, &size, &error);
    if (rc == ATLAS_OK || (rc == ATLAS_E_TILE && told.n != 0)) {
        rc = atlas_buf_check(&told.lines, &error);
    }
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        (void)atlas_py_raise(object, &error);
    } else {
        result = Py_BuildValue("KN", (unsigned long long)told.n, told_list(&told));
    }
    atlas_buf_release(&told.lines);
    return result;
}

PyDoc_STRVAR(log_forked_doc, "forked($self, /)\n--\n\nFor the child of a fork: let go of what is its parent's.");

static PyObject *log_forked(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    atlas_log_forked(log_of(object));
    return Py_NewRef(Py_None);
}

static PyObject *log_warning(PyObject *object, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(atlas_log_warning(log_of(object)));
}

static PyMethodDef log_methods[] = {
    {"append", log_append, METH_O, log_append_doc},
    {"refresh", log_refresh, METH_NOARGS, log_refresh_doc},
    {"head", log_head, METH_NOARGS, log_head_doc},
    {"publish", log_publish, METH_O, log_publish_doc},
    {"prove", log_prove, METH_VARARGS, log_prove_doc},
    {"consistency", log_consistency, METH_VARARGS, log_consistency_doc},
    {"find", log_find, METH_O, log_find_doc},
    {"check", log_check, METH_NOARGS, log_check_doc},
    {"forked", log_forked, METH_NOARGS, log_forked_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef log_getset[] = {
    {"warning", log_warning, NULL, "what the file system cannot promise; '' for nothing", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(log_doc,
             "Log(path, memory, vkey, secret=b'', wait_ms=60000)\n--\n\n"
             "An embedded log, opened and recovered; see csrc/stage/log.h. May be used by any number of threads.");

static PyType_Slot log_slots[] = {
    {Py_tp_new, log_new},
    {Py_tp_dealloc, log_dealloc},
    {Py_tp_methods, log_methods},
    {Py_tp_getset, log_getset},
    {Py_tp_doc, (void *)(uintptr_t)log_doc},
    {0, NULL},
};

static PyType_Spec log_spec = {
    .name = "atlas._core.Log",
    .basicsize = sizeof(struct py_log),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = log_slots,
};

PyDoc_STRVAR(log_init_doc,
             "log_init(path, memory, vkey, secret, wait_ms=60000)\n--\n\nMake a log without entries in a new folder.");

static PyObject *log_init(PyObject *module, PyObject *args, PyObject *kwargs)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct log_args a;
    int rc;
    if (log_args_parse(args, kwargs, "sss#y*|K:log_init", &a) < 0) {
        return NULL;
    }
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_log_init(&a.options, &error);
    ATLAS_PY_END_CRYPTO
    PyBuffer_Release(&a.secret);
    return atlas_py_none_result(module, rc, &error);
}

static PyMethodDef functions[] = {
    {"log_init", (PyCFunction)(void (*)(void))log_init, METH_VARARGS | METH_KEYWORDS, log_init_doc},
    {NULL, NULL, 0, NULL},
};

int atlas_py_log_exec(PyObject *module)
{
    return atlas_py_add_type(module, &log_spec) < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
