/* measure.h - shared by the glue files of the measure stage. */
#ifndef ATLAS_PYTHON_MEASURE_H
#define ATLAS_PYTHON_MEASURE_H

#include "python/module.h"

#include "stage/measure.h"

/* Lets a core call that runs without the GIL come back for a moment. */
struct atlas_py_caller {
    PyObject *progress; /* borrowed; None: nobody wants to know */
    PyThreadState *thread;
};

int atlas_py_report(void *context, uint64_t done, uint64_t total);

/* The options from the arguments of a call; -1: exception set. */
int atlas_py_options_arg(const char *alg, int flat, int tree, int threads, struct atlas_py_caller *caller,
                         struct atlas_measure_options *ret_options);

/* cache.c: the cache argument of a call (None: none) into the options, and back. -1: exception set, not entered. */
int atlas_py_cache_enter(PyObject *object, unsigned long share, struct atlas_measure_options *options);
void atlas_py_cache_leave(PyObject *object);

PyObject *atlas_py_names_arg(PyObject *names);            /* new reference: a tuple of bytes objects */
struct atlas_span *atlas_py_spans_of(PyObject *names);    /* over such a tuple; to be freed with PyMem_Free */
PyObject *atlas_py_measurement(const struct atlas_measurement *m);
PyObject *atlas_py_directory_result(const struct atlas_measurement *m, const struct atlas_buf *index,
                                    const struct atlas_buf *links);

#endif
