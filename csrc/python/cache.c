/* cache.c - glue of stage/cache.h: a cache as an object that measure_file and measure_directory take. */
#include "python/measure.h"

#include <stdatomic.h>

#include "stage/cache.h"

struct cache {
    PyObject_HEAD
    struct atlas_cache *core;
    struct atlas_measure_cache use; /* of the last measurement */
    enum atlas_cache_state state;
    atomic_bool busy;
};

static PyObject *cache_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"alg", "key", "boot", "saved", NULL};
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct cache *self = NULL;
    Py_buffer key;
    Py_buffer boot;
    Py_buffer saved = {.buf = NULL, .len = 0};
    const char *name;
    int alg;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sy*y*|y*:Cache", names, &name, &key, &boot, &saved)) {
        return NULL;
    }
    if (atlas_py_alg_arg(name, &alg) == 0) {
        allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
        self = (struct cache *)(void *)alloc(type, 0);
    }
    if (self != NULL) {
        int rc;
        atomic_init(&self->busy, false);
        Py_BEGIN_ALLOW_THREADS
        rc = atlas_cache_new(alg, atlas_py_span(&key), atlas_py_span(&boot), atlas_py_span(&saved), &self->core,
                             &self->state, &error);
        Py_END_ALLOW_THREADS
        if (rc < 0) {
            atlas_py_raise((PyObject *)self, &error);
            Py_CLEAR(self);
        }
    }
    PyBuffer_Release(&key);
    PyBuffer_Release(&boot);
    if (saved.obj != NULL) {
        PyBuffer_Release(&saved);
    }
    return (PyObject *)self;
}

static void cache_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    atlas_cache_free(((struct cache *)(void *)object)->core);
    release(object);
    Py_DECREF(type);
}

/* Between enter and leave the cache belongs to this thread. */
static int cache_enter(struct cache *self)
{
    if (atomic_exchange(&self->busy, true)) {
        struct atlas_error error = ATLAS_ERROR_INIT;
        atlas_error_set(&error, ATLAS_E_BUSY, "cache", "is in use by another thread");
        atlas_py_raise((PyObject *)self, &error);
        return -1;
    }
    return 0;
}

int atlas_py_cache_enter(PyObject *object, unsigned long share, struct atlas_measure_options *options)
{
    if (object == Py_None) {
        return 0;
    }
    /* There is no module here to ask for the type: its deallocator tells it from all others. */
    bool is_cache = PyType_GetSlot(Py_TYPE(object), Py_tp_dealloc) == (void *)(uintptr_t)cache_dealloc;
    if (!is_cache) {
        PyErr_SetString(PyExc_TypeError, "cache is None or a Cache");
        return -1;
    }
    struct cache *self = (struct cache *)(void *)object;
    if (share > 1000000 || cache_enter(self) < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "cache_share is in millionths");
        }
        return -1;
    }
    self->use = (struct atlas_measure_cache){.cache = self->core, .share = (uint32_t)share};
    options->cache = &self->use;
    return 0;
}

void atlas_py_cache_leave(PyObject *object)
{
    if (object != Py_None) {
        atomic_store(&((struct cache *)(void *)object)->busy, false);
    }
}

PyDoc_STRVAR(cache_merge_doc, "merge($self, saved, /)\n--\n\nTake over what another process saved meanwhile.");

static PyObject *cache_merge(PyObject *object, PyObject *arg)
{
    struct cache *self = (struct cache *)(void *)object;
    struct atlas_error error = ATLAS_ERROR_INIT;
    Py_buffer view;
    int rc;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (cache_enter(self) < 0) {
        PyBuffer_Release(&view);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_cache_merge(self->core, atlas_py_span(&view), &error);
    Py_END_ALLOW_THREADS
    atomic_store(&self->busy, false);
    PyBuffer_Release(&view);
    return rc < 0 ? atlas_py_raise(object, &error) : Py_NewRef(Py_None);
}

PyDoc_STRVAR(cache_save_doc, "save($self, /)\n--\n\nAll of it as bytes, sealed with the key.");

static PyObject *cache_save(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct cache *self = (struct cache *)(void *)object;
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf saved = ATLAS_BUF_INIT;
    int rc;
    if (cache_enter(self) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    rc = atlas_cache_save(self->core, &saved, &error);
    Py_END_ALLOW_THREADS
    atomic_store(&self->busy, false);
    PyObject *result = rc < 0 ? atlas_py_raise(object, &error) : atlas_py_bytes(atlas_buf_span(&saved));
    atlas_buf_release(&saved);
    return result;
}

PyDoc_STRVAR(cache_use_doc,
             "use($self, /)\n--\n\n"
             "{'trusted', 'false', 'files', 'checked', 'verity'} of the last measurement: whether the file system's\n"
             "times can be relied on, whether a file was not what the cache said, how many files were not read, were\n"
             "read all the same, and of those not read are guarded by the kernel.");

static PyObject *cache_use(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    const struct atlas_measure_cache *use = &((struct cache *)(void *)object)->use;
    return Py_BuildValue("{sNsNsKsKsK}", "trusted", PyBool_FromLong(use->is_trusted), "false",
                         PyBool_FromLong(use->is_false), "files", (unsigned long long)use->files, "checked",
                         (unsigned long long)use->checked, "verity", (unsigned long long)use->verity);
}

static PyObject *cache_state(PyObject *object, void *Py_UNUSED(closure))
{
    static const char *const names[] = {"empty", "sound", "old", "damaged"};
    return PyUnicode_FromString(names[((struct cache *)(void *)object)->state]);
}

static PyObject *cache_changed(PyObject *object, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(atlas_cache_is_changed(((struct cache *)(void *)object)->core));
}

static PyObject *cache_count(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(atlas_cache_count(((struct cache *)(void *)object)->core));
}

static PyMethodDef cache_methods[] = {
    {"merge", cache_merge, METH_O, cache_merge_doc},
    {"save", cache_save, METH_NOARGS, cache_save_doc},
    {"use", cache_use, METH_NOARGS, cache_use_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef cache_getset[] = {
    {"state", cache_state, NULL, "what was given as saved: 'empty', 'sound', 'old' or 'damaged'", NULL},
    {"changed", cache_changed, NULL, "is there anything to save?", NULL},
    {"count", cache_count, NULL, "number of files it knows", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(cache_doc,
             "Cache(alg, key, boot, saved=b'')\n--\n\n"
             "Digests of files that were measured before, by inode and times; see csrc/stage/cache.h.");

static PyType_Slot cache_slots[] = {
    {Py_tp_new, cache_new},
    {Py_tp_dealloc, cache_dealloc},
    {Py_tp_methods, cache_methods},
    {Py_tp_getset, cache_getset},
    {Py_tp_doc, (void *)(uintptr_t)cache_doc},
    {0, NULL},
};

static PyType_Spec cache_spec = {
    .name = "atlas._core.Cache",
    .basicsize = sizeof(struct cache),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = cache_slots,
};

int atlas_py_cache_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &cache_spec, NULL);
    int rc = type != NULL ? PyModule_AddType(module, (PyTypeObject *)(void *)type) : -1;
    Py_XDECREF(type);
    return rc;
}
