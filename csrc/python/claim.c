/* claim.c - glue of stage/claim.h, and store_read: a manifest store as plain Python data. */
#include "port/crypto/crypto.h"
#include "python/verify.h"
#include "stage/claim.h"

/* ------------------------------------------------------------------------------------------------- arguments */

/* A span over a str (UTF-8, cached in the object) or bytes that the caller keeps alive; None and NULL: no span. */
static int span_arg(PyObject *value, struct atlas_span *ret_span)
{
    Py_ssize_t n = 0;
    const char *p = NULL;
    *ret_span = ATLAS_SPAN_NONE;
    if (value == NULL || value == Py_None) {
        return 0;
    }
    if (PyUnicode_Check(value)) {
        p = PyUnicode_AsUTF8AndSize(value, &n);
        if (p == NULL) {
            return -1;
        }
    } else if (PyBytes_Check(value)) {
        p = PyBytes_AsString(value);
        n = PyBytes_Size(value);
    } else {
        PyErr_SetString(PyExc_TypeError, "expected str, bytes or None");
        return -1;
    }
    *ret_span = atlas_span_of(p, (size_t)n);
    return 0;
}

static int span_item(PyObject *dict, const char *key, struct atlas_span *ret_span)
{
    return span_arg(PyDict_GetItemString(dict, key), ret_span);
}

static int external_arg(PyObject *dict, struct atlas_claim_ingredient *ingredient)
{
    struct atlas_span hash;
    PyObject *size = PyDict_GetItemString(dict, "size");
    if (span_item(dict, "url", &ingredient->url) < 0 || span_item(dict, "hash", &hash) < 0) {
        return -1;
    }
    ingredient->sidecar_bytes = size != NULL ? PyLong_AsUnsignedLongLong(size) : 0;
    if (PyErr_Occurred()) {
        return -1;
    }
    if (!atlas_digest_set(&ingredient->sidecar, ATLAS_SHA256, hash)) {
        PyErr_SetString(PyExc_ValueError, "external.hash: not a SHA-256");
        return -1;
    }
    return 0;
}

/* [(code, url), ...] into an array that the caller frees. */
static int validated_arg(PyObject *list, struct atlas_c2pa_status **ret_status, size_t *ret_n)
{
    Py_ssize_t n = list != NULL ? PyList_Size(list) : 0;
    struct atlas_c2pa_status *status = n >= 0 ? PyMem_Calloc((size_t)n + 1, sizeof *status) : NULL;
    if (status == NULL) {
        return n < 0 ? -1 : (PyErr_NoMemory(), -1);
    }
    *ret_status = status;
    *ret_n = (size_t)n;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *pair = PyList_GetItem(list, i); /* borrowed */
        if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
            PyErr_SetString(PyExc_TypeError, "validated: expected pairs (code, url)");
            return -1;
        }
        if (span_arg(PyTuple_GetItem(pair, 0), &status[i].code) < 0 ||
            span_arg(PyTuple_GetItem(pair, 1), &status[i].url) < 0) {
            return -1;
        }
    }
    return 0;
}

static int ingredient_arg(PyObject *dict, struct atlas_claim_ingredient *ingredient,
                          struct atlas_c2pa_status **ret_status)
{
    struct atlas_span relationship;
    if (!PyDict_Check(dict)) {
        PyErr_SetString(PyExc_TypeError, "ingredients: expected dicts");
        return -1;
    }
    PyObject *external = PyDict_GetItemString(dict, "external");
    if (span_item(dict, "relationship", &relationship) < 0 || span_item(dict, "title", &ingredient->title) < 0 ||
        span_item(dict, "format", &ingredient->format) < 0 || span_item(dict, "manifest", &ingredient->manifest) < 0 ||
        span_item(dict, "instance_id", &ingredient->urn) < 0 ||
        (external != NULL && external_arg(external, ingredient) < 0) ||
        validated_arg(PyDict_GetItemString(dict, "validated"), ret_status, &ingredient->n_validated) < 0) {
        return -1;
    }
    ingredient->validated = *ret_status;
    ingredient->relationship = atlas_c2pa_relationship_of(relationship);
    if (ingredient->relationship == 0) {
        PyErr_SetString(PyExc_ValueError, "relationship: expected inputTo, parentOf or componentOf");
        return -1;
    }
    return 0;
}

/* Everything the spec borrows; released in one place. */
struct arguments {
    struct atlas_claim_spec spec;
    struct atlas_claim_ingredient *ingredients;
    struct atlas_c2pa_status **status;
    struct atlas_claim_assertion *assertions;
    struct atlas_buf generator;
};

static void release_arguments(struct arguments *a)
{
    for (size_t i = 0; a->status != NULL && i < a->spec.n_ingredients; i++) {
        PyMem_Free(a->status[i]);
    }
    PyMem_Free(a->status);
    PyMem_Free(a->ingredients);
    PyMem_Free(a->assertions);
    atlas_buf_release(&a->generator);
}

static int ingredients_arg(PyObject *list, struct arguments *a)
{
    Py_ssize_t n = PyList_Size(list);
    if (n < 0) {
        return -1;
    }
    a->ingredients = PyMem_Calloc((size_t)n + 1, sizeof *a->ingredients);
    a->status = PyMem_Calloc((size_t)n + 1, sizeof *a->status);
    if (a->ingredients == NULL || a->status == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    a->spec.ingredients = a->ingredients;
    a->spec.n_ingredients = (size_t)n;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (ingredient_arg(PyList_GetItem(list, i), &a->ingredients[i], &a->status[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int assertions_arg(PyObject *list, struct arguments *a)
{
    Py_ssize_t n = PyList_Size(list);
    if (n < 0) {
        return -1;
    }
    a->assertions = PyMem_Calloc((size_t)n + 1, sizeof *a->assertions);
    if (a->assertions == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    a->spec.assertions = a->assertions;
    a->spec.n_assertions = (size_t)n;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *pair = PyList_GetItem(list, i); /* borrowed */
        if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
            PyErr_SetString(PyExc_TypeError, "assertions: expected pairs (label, cbor)");
            return -1;
        }
        if (span_arg(PyTuple_GetItem(pair, 0), &a->assertions[i].label) < 0 ||
            span_arg(PyTuple_GetItem(pair, 1), &a->assertions[i].cbor) < 0) {
            return -1;
        }
    }
    return 0;
}

/* -------------------------------------------------------------------------------------------------- functions */

PyDoc_STRVAR(claim_build_doc,
             "claim_build($module, /, *, urn, instance_id, generator, asset_name, binding, ingredients,\n"
             "            digital_source_type, when, step, asset_type, assertions)\n--\n\n"
             "Returns (claim, assertions) as bytes. See stage/claim.h.");

static PyObject *claim_build(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"urn",     "instance_id", "generator",           "asset_name",
                            "binding", "ingredients", "digital_source_type", "when",
                            "step",    "asset_type",  "assertions",          NULL};
    struct arguments a = {.generator = ATLAS_BUF_INIT};
    struct atlas_claim claim = ATLAS_CLAIM_INIT;
    struct atlas_error error = ATLAS_ERROR_INIT;
    PyObject *urn, *instance, *generator, *name, *binding, *ingredients, *source, *when, *step, *type, *assertions;
    PyObject *result = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "$UUSUOO!UUOSO!:claim_build", names, &urn, &instance, &generator,
                                     &name, &binding, &PyList_Type, &ingredients, &source, &when, &step, &type,
                                     &PyList_Type, &assertions)) {
        return NULL;
    }
    if (span_arg(urn, &a.spec.urn) < 0 || span_arg(instance, &a.spec.instance_id) < 0 ||
        span_arg(generator, &a.spec.generator) < 0 || span_arg(name, &a.spec.asset_name) < 0 ||
        atlas_py_digest_arg(binding, &a.spec.binding) < 0 || span_arg(source, &a.spec.digital_source_type) < 0 ||
        span_arg(when, &a.spec.when) < 0 || span_arg(step, &a.spec.step) < 0 ||
        span_arg(type, &a.spec.asset_type) < 0 || ingredients_arg(ingredients, &a) < 0 ||
        assertions_arg(assertions, &a) < 0) {
        goto out;
    }
    if (atlas_claim_build(&a.spec, &claim, &error) < 0) {
        atlas_py_raise(module, &error);
        goto out;
    }
    result = Py_BuildValue("y#y#", (const char *)claim.cbor.p, (Py_ssize_t)claim.cbor.n,
                           (const char *)claim.assertions.p, (Py_ssize_t)claim.assertions.n);
out:
    atlas_claim_release(&claim);
    release_arguments(&a);
    return result;
}

PyDoc_STRVAR(claim_seal_doc, "claim_seal($module, urn, assertions, claim, cose, ancestors, /)\n--\n\n"
                             "The manifest store as bytes: ancestors' superboxes, then this manifest.");

static PyObject *claim_seal(PyObject *module, PyObject *args)
{
    PyObject *urn, *assertions, *claim, *cose, *list;
    struct atlas_span spans[4];
    struct atlas_span *ancestors = NULL;
    struct atlas_buf store = ATLAS_BUF_INIT;
    struct atlas_error error = ATLAS_ERROR_INIT;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "USSSO!:claim_seal", &urn, &assertions, &claim, &cose, &PyList_Type, &list)) {
        return NULL;
    }
    Py_ssize_t n = PyList_Size(list);
    ancestors = PyMem_Calloc((size_t)n + 1, sizeof *ancestors);
    if (ancestors == NULL) {
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        if (span_arg(PyList_GetItem(list, i), &ancestors[i]) < 0) {
            goto out;
        }
    }
    if (span_arg(urn, &spans[0]) < 0 || span_arg(assertions, &spans[1]) < 0 || span_arg(claim, &spans[2]) < 0 ||
        span_arg(cose, &spans[3]) < 0) {
        goto out;
    }
    if (atlas_claim_seal(spans[0], spans[1], spans[2], spans[3], ancestors, (size_t)n, &store, &error) < 0) {
        atlas_py_raise(module, &error);
        goto out;
    }
    result = atlas_py_bytes(atlas_buf_span(&store));
out:
    PyMem_Free(ancestors);
    atlas_buf_release(&store);
    return result;
}

/* -------------------------------------------------------------------------------------------------- store_read */

static const char *content_name(enum atlas_c2pa_content type)
{
    switch (type) {
    case ATLAS_C2PA_CONTENT_CBOR:
        return "cbor";
    case ATLAS_C2PA_CONTENT_JSON:
        return "json";
    case ATLAS_C2PA_CONTENT_UUID:
        return "uuid";
    case ATLAS_C2PA_CONTENT_FILE:
        return "file";
    case ATLAS_C2PA_CONTENT_OTHER:
        break;
    }
    return "other";
}

static PyObject *assertion_dict(PyObject *module, const struct atlas_jumbf *box)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_c2pa_assertion assertion;
    if (atlas_c2pa_assertion_read(box, &assertion, &error) < 0) {
        return atlas_py_raise(module, &error);
    }
    PyObject *content = assertion.type == ATLAS_C2PA_CONTENT_CBOR
                            ? atlas_py_cbor_decode(module, assertion.content, "assertion")
                            : atlas_py_bytes(assertion.content);
    PyObject *label = atlas_py_text(box->label);
    PyObject *result = NULL;
    if (content != NULL && label != NULL) {
        result = Py_BuildValue("{sOsssO}", "label", label, "type", content_name(assertion.type), "content", content);
    }
    Py_XDECREF(content);
    Py_XDECREF(label);
    return result;
}

static PyObject *assertion_list(PyObject *module, const struct atlas_c2pa_manifest *manifest)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_jumbf_iter it = atlas_jumbf_iterate(manifest->assertions.content, "assertions", &error);
    PyObject *list = PyList_New(0);
    while (list != NULL && atlas_jumbf_more(&it)) {
        struct atlas_jumbf box;
        PyObject *item =
            atlas_jumbf_next(&it, &box) < 0 ? atlas_py_raise(module, &error) : assertion_dict(module, &box);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *manifest_dict(PyObject *module, struct atlas_span store, const struct atlas_jumbf *box)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_c2pa_manifest m;
    enum atlas_c2pa_problem problem;
    struct atlas_digest hash;
    struct atlas_digest signature_hash;
    if (atlas_c2pa_manifest_read(box, &m, &problem, &error) < 0 ||
        atlas_crypto_digest(ATLAS_SHA256, box->payload, &hash, &error) < 0 ||
        atlas_crypto_digest(ATLAS_SHA256, m.signature.payload, &signature_hash, &error) < 0) {
        return atlas_py_raise(module, &error);
    }
    PyObject *urn = atlas_py_text(box->label);
    PyObject *label = atlas_py_text(m.claim.label);
    PyObject *claim = atlas_py_cbor_decode(module, m.claim_cbor, "claim");
    PyObject *assertions = claim != NULL ? assertion_list(module, &m) : NULL;
    PyObject *result = NULL;
    if (urn != NULL && label != NULL && claim != NULL && assertions != NULL) {
        result = Py_BuildValue("{sOsss(nn)sy#sy#sOsOsOsy#}", "urn", urn, "type",
                               m.type == ATLAS_C2PA_UPDATE ? "update" : "standard", "box",
                               (Py_ssize_t)atlas_span_offset(store, box->box), (Py_ssize_t)box->box.n, "hash",
                               (const char *)hash.b, (Py_ssize_t)hash.n, "signature_hash",
                               (const char *)signature_hash.b, (Py_ssize_t)signature_hash.n, "claim", claim,
                               "claim_label", label, "assertions", assertions, "signature", (const char *)m.cose.p,
                               (Py_ssize_t)m.cose.n);
    }
    Py_XDECREF(urn);
    Py_XDECREF(label);
    Py_XDECREF(claim);
    Py_XDECREF(assertions);
    return result;
}

PyDoc_STRVAR(store_read_doc,
             "store_read($module, store, /)\n--\n\n"
             "Every manifest of a store as plain data, the active one last. Parses; verifies nothing.");

static PyObject *store_read(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_c2pa_store store;
    Py_buffer view;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    if (list != NULL && atlas_c2pa_store_read(atlas_py_span(&view), &store, &error) < 0) {
        Py_CLEAR(list);
        atlas_py_raise(module, &error);
    }
    struct atlas_jumbf_iter it =
        atlas_jumbf_iterate(list != NULL ? store.box.content : ATLAS_SPAN_NONE, "manifest store", &error);
    while (list != NULL && atlas_jumbf_more(&it)) {
        struct atlas_jumbf box;
        if (atlas_jumbf_next(&it, &box) < 0) {
            Py_CLEAR(list);
            atlas_py_raise(module, &error);
            break;
        }
        if (atlas_c2pa_manifest_type(&box) == ATLAS_C2PA_NO_MANIFEST) {
            continue;
        }
        PyObject *item = manifest_dict(module, atlas_py_span(&view), &box);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    PyBuffer_Release(&view);
    return list;
}

static PyMethodDef functions[] = {
    {"claim_build", (PyCFunction)(void (*)(void))claim_build, METH_VARARGS | METH_KEYWORDS, claim_build_doc},
    {"claim_seal", claim_seal, METH_VARARGS, claim_seal_doc},
    {"store_read", store_read, METH_O, store_read_doc},
    {NULL, NULL, 0, NULL},
};

int atlas_py_claim_exec(PyObject *module)
{
    return PyModule_AddFunctions(module, functions) < 0 ? -1 : atlas_py_evidence_exec(module);
}
