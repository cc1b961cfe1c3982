/* merkle.c - glue of stage/merkle.h: leaf hashes, proofs made and checked. */
#include "python/module.h"

#include "stage/merkle.h"

/* A proof: a sequence of bytes objects, kept alive by `tuple`. No tree has a longer one. */
struct proof {
    PyObject *tuple;
    struct atlas_span hashes[ATLAS_MERKLE_LEVELS + 1];
    size_t n;
};

static int proof_arg(PyObject *value, struct proof *ret_proof)
{
    ret_proof->n = 0;
    ret_proof->tuple = PySequence_Tuple(value);
    if (ret_proof->tuple == NULL) {
        return -1;
    }
    Py_ssize_t n = PyTuple_Size(ret_proof->tuple);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *hash = PyTuple_GetItem(ret_proof->tuple, i);
        if (!PyBytes_Check(hash) || i > ATLAS_MERKLE_LEVELS) {
            PyErr_SetString(PyExc_ValueError, "a proof is a sequence of at most 65 bytes objects");
            Py_CLEAR(ret_proof->tuple);
            return -1;
        }
        ret_proof->hashes[i] = atlas_span_of(PyBytes_AsString(hash), (size_t)PyBytes_Size(hash));
    }
    ret_proof->n = (size_t)n;
    return 0;
}

PyDoc_STRVAR(merkle_leaf_doc, "merkle_leaf(alg, entry)\n--\n\nThe RFC 6962 leaf hash of an entry.");

static PyObject *merkle_leaf(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_digest hash;
    PyObject *result = NULL;
    Py_buffer entry;
    const char *name;
    int alg;
    if (!PyArg_ParseTuple(args, "sy*:merkle_leaf", &name, &entry)) {
        return NULL;
    }
    if (atlas_py_alg_arg(name, &alg) == 0) {
        int rc = atlas_merkle_leaf(alg, atlas_py_span(&entry), &hash, &error);
        result = rc == ATLAS_OK ? atlas_py_bytes(atlas_digest_span(&hash)) : atlas_py_raise(module, &error);
    }
    PyBuffer_Release(&entry);
    return result;
}

/* Both proofs are made alike. */
typedef int (*prover)(int alg, struct atlas_span leaf_hashes, uint64_t number, struct atlas_buf *ret_proof,
                      struct atlas_error *error);

static PyObject *proof_list(const struct atlas_buf *proof, size_t size)
{
    PyObject *list = PyList_New(0);
    struct atlas_span rest = atlas_buf_span(proof);
    struct atlas_span hash;
    while (list != NULL && atlas_span_take(&rest, size, &hash)) {
        PyObject *item = atlas_py_bytes(hash);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *prove(PyObject *module, PyObject *args, prover make)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf proof = ATLAS_BUF_INIT;
    PyObject *result = NULL;
    Py_buffer leaves;
    const char *name;
    unsigned long long number;
    int alg;
    if (!PyArg_ParseTuple(args, "sy*K", &name, &leaves, &number)) {
        return NULL;
    }
    if (atlas_py_alg_arg(name, &alg) == 0) {
        int rc;
        ATLAS_PY_BEGIN_CRYPTO
        rc = make(alg, atlas_py_span(&leaves), number, &proof, &error);
        ATLAS_PY_END_CRYPTO
        result = rc == ATLAS_OK ? proof_list(&proof, atlas_alg_size(alg)) : atlas_py_raise(module, &error);
    }
    atlas_buf_release(&proof);
    PyBuffer_Release(&leaves);
    return result;
}

PyDoc_STRVAR(merkle_inclusion_prove_doc,
             "merkle_inclusion_prove(alg, leaf_hashes, index)\n--\n\n"
             "The proof that this leaf is in the tree over all leaf hashes (concatenated).");

static PyObject *merkle_inclusion_prove(PyObject *module, PyObject *args)
{
    return prove(module, args, atlas_merkle_inclusion_prove);
}

PyDoc_STRVAR(merkle_consistency_prove_doc,
             "merkle_consistency_prove(alg, leaf_hashes, size)\n--\n\n"
             "The proof that the tree over the first `size` leaves is a prefix of the tree over all of them.");

static PyObject *merkle_consistency_prove(PyObject *module, PyObject *args)
{
    return prove(module, args, atlas_merkle_consistency_prove);
}

PyDoc_STRVAR(merkle_inclusion_check_doc,
             "merkle_inclusion_check(alg, index, size, leaf_hash, proof, root)\n--\n\n"
             "Raises VerificationError unless the leaf is at that index of the tree of that size and root.");

static PyObject *merkle_inclusion_check(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct proof proof;
    PyObject *list;
    PyObject *result = NULL;
    Py_buffer leaf;
    Py_buffer root;
    const char *name;
    unsigned long long index;
    unsigned long long size;
    int alg;
    if (!PyArg_ParseTuple(args, "sKKy*Oy*:merkle_inclusion_check", &name, &index, &size, &leaf, &list, &root)) {
        return NULL;
    }
    if (atlas_py_alg_arg(name, &alg) == 0 && proof_arg(list, &proof) == 0) {
        int rc = atlas_merkle_inclusion_check(alg, index, size, atlas_py_span(&leaf), proof.hashes, proof.n,
                                              atlas_py_span(&root), &error);
        result = rc == ATLAS_OK ? Py_NewRef(Py_None) : atlas_py_raise(module, &error);
        Py_DECREF(proof.tuple);
    }
    PyBuffer_Release(&leaf);
    PyBuffer_Release(&root);
    return result;
}

PyDoc_STRVAR(merkle_consistency_check_doc,
             "merkle_consistency_check(alg, size1, size2, root1, root2, proof)\n--\n\n"
             "Raises VerificationError unless the tree (size1, root1) is a prefix of the tree (size2, root2).");

static PyObject *merkle_consistency_check(PyObject *module, PyObject *args)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct proof proof;
    PyObject *list;
    PyObject *result = NULL;
    Py_buffer root1;
    Py_buffer root2;
    const char *name;
    unsigned long long size1;
    unsigned long long size2;
    int alg;
    if (!PyArg_ParseTuple(args, "sKKy*y*O:merkle_consistency_check", &name, &size1, &size2, &root1, &root2, &list)) {
        return NULL;
    }
    if (atlas_py_alg_arg(name, &alg) == 0 && proof_arg(list, &proof) == 0) {
        int rc = atlas_merkle_consistency_check(alg, size1, size2, atlas_py_span(&root1), atlas_py_span(&root2),
                                                proof.hashes, proof.n, &error);
        result = rc == ATLAS_OK ? Py_NewRef(Py_None) : atlas_py_raise(module, &error);
        Py_DECREF(proof.tuple);
    }
    PyBuffer_Release(&root1);
    PyBuffer_Release(&root2);
    return result;
}

static PyMethodDef functions[] = {
    {"merkle_leaf", merkle_leaf, METH_VARARGS, merkle_leaf_doc},
    {"merkle_inclusion_prove", merkle_inclusion_prove, METH_VARARGS, merkle_inclusion_prove_doc},
    {"merkle_consistency_prove", merkle_consistency_prove, METH_VARARGS, merkle_consistency_prove_doc},
    {"merkle_inclusion_check", merkle_inclusion_check, METH_VARARGS, merkle_inclusion_check_doc},
    {"merkle_consistency_check", merkle_consistency_check, METH_VARARGS, merkle_consistency_check_doc},
    {NULL, NULL, 0, NULL},
};

int atlas_py_merkle_exec(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
