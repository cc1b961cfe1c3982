/* verify.h - shared by the glue of the verify and attest stages: results as plain Python data. */
#ifndef ATLAS_PYTHON_VERIFY_H
#define ATLAS_PYTHON_VERIFY_H

#include "python/module.h"
#include "stage/verify.h"

/* verdict.c: new references; NULL with an exception set */
PyObject *atlas_py_checks(const struct atlas_verdict *verdict);
PyObject *atlas_py_node(const struct atlas_node_view *view);
/* node["logged"]: (origin, index, size, root, witnesses), or None; -1: exception set */
int atlas_py_add_place(PyObject *node, const struct atlas_log_place *place);

/* attest.c: three results and the checks behind them */
PyObject *atlas_py_attest_result(const struct atlas_attest *result);

/* evidence.c: claim_attest, attestation_binding, attestation_write; called by atlas_py_claim_exec */
int atlas_py_evidence_exec(PyObject *module);

#endif
