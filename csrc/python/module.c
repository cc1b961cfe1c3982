/* module.c - atlas._core: multi-phase initialisation, state, nothing else. */
#include "python/module.h"

static int module_exec(PyObject *module)
{
    struct atlas_module_state *state = PyModule_GetState(module);
    PyObject *errors = PyImport_ImportModule("atlas.errors");
    if (errors == NULL) {
        return -1;
    }
    state->from_core = PyObject_GetAttrString(errors, "from_core");
    Py_DECREF(errors);
    if (state->from_core == NULL) {
        return -1;
    }
    if (atlas_py_measure_exec(module) < 0 || atlas_py_tensor_exec(module) < 0 || atlas_py_claim_exec(module) < 0 ||
        atlas_py_sign_exec(module) < 0 || atlas_py_attest_exec(module) < 0 || atlas_py_tpm_exec(module) < 0 ||
        atlas_py_log_exec(module) < 0 || atlas_py_proof_exec(module) < 0 || atlas_py_verify_exec(module) < 0 ||
        atlas_py_cbor_exec(module) < 0) {
        return -1;
    }
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct atlas_module_state *state = PyModule_GetState(module);
    Py_VISIT(state->from_core);
    return 0;
}

static int module_clear(PyObject *module)
{
    struct atlas_module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->from_core);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "atlas._core",
    .m_doc = "C core of Atlas: measure, claim, sign, verify. See atlas.h; use the atlas package instead.",
    .m_size = sizeof(struct atlas_module_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&module_def);
}
