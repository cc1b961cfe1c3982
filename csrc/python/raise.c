/* raise.c - the single funnel from struct atlas_error to a Python exception. */
#include "python/module.h"

static struct atlas_module_state *state_of(PyObject *module_or_self)
{
    if (PyModule_Check(module_or_self)) {
        return PyModule_GetState(module_or_self);
    }
    return PyType_GetModuleState(Py_TYPE(module_or_self));
}

PyObject *atlas_py_raise(PyObject *module_or_self, const struct atlas_error *error)
{
    if (PyErr_Occurred()) {
        return NULL;
    }
    struct atlas_module_state *state = state_of(module_or_self);
    if (state == NULL) {
        return NULL;
    }
    PyObject *where = atlas_py_text(atlas_span_str(error->where));
    PyObject *text = atlas_py_text(atlas_span_str(error->text));
    PyObject *offset = error->offset == ATLAS_NO_OFFSET ? Py_NewRef(Py_None) : PyLong_FromSize_t(error->offset);
    PyObject *exception = NULL;
    if (where != NULL && text != NULL && offset != NULL) {
        exception = PyObject_CallFunction(state->from_core, "isOOO", error->code, atlas_err_name(error->code), where,
                                          offset, text);
    }
    Py_XDECREF(where);
    Py_XDECREF(text);
    Py_XDECREF(offset);
    if (exception != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
    return NULL;
}
