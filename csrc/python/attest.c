/* attest.c - glue of stage/attest.h: Collateral, attest_verify, evidence_read, ccel_replay, runtime_log_replay. */
#include <stdatomic.h>
#include <stdio.h>

#include "format/snp_report.h"
#include "format/spdm.h"
#include "format/tcb_info.h"
#include "format/tdx_quote.h"
#include "format/tpm_evidence.h"
#include "port/crypto/vendor.h"
#include "python/verify.h"

/* -------------------------------------------------------------------------------------------- building dicts */

/* Add a value that may be NULL with an exception set; takes the reference. */
static bool put(PyObject *dict, const char *key, PyObject *value)
{
    bool good = value != NULL && PyDict_SetItemString(dict, key, value) == 0;
    Py_XDECREF(value);
    return good;
}

static bool put_bytes(PyObject *dict, const char *key, struct atlas_span bytes)
{
    return put(dict, key, atlas_py_bytes(bytes));
}

static bool put_uint(PyObject *dict, const char *key, uint64_t v)
{
    return put(dict, key, PyLong_FromUnsignedLongLong(v));
}

static bool put_text(PyObject *dict, const char *key, const char *text)
{
    return put(dict, key, atlas_py_text(atlas_span_str(text)));
}

/* The dict, or NULL when something went wrong on the way. */
static PyObject *built(PyObject *dict, bool good)
{
    if (!good) {
        Py_CLEAR(dict);
    }
    return dict;
}

/* ------------------------------------------------------------------------------------------------ Collateral */

struct collateral {
    PyObject_HEAD
    struct atlas_collateral *core;
    atomic_bool busy;
};

static PyObject *collateral_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    struct atlas_error error = ATLAS_ERROR_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Collateral", names)) {
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct collateral *self = (struct collateral *)(void *)alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    atomic_init(&self->busy, false);
    if (atlas_collateral_new(&self->core, &error) < 0) {
        atlas_py_raise((PyObject *)self, &error);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void collateral_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    atlas_collateral_free(((struct collateral *)(void *)object)->core);
    release(object);
    Py_DECREF(type);
}

static bool collateral_enter(struct collateral *self)
{
    if (!atomic_exchange(&self->busy, true)) {
        return true;
    }
    struct atlas_error error = ATLAS_ERROR_INIT;
    atlas_error_set(&error, ATLAS_E_BUSY, "collateral", "is in use by another thread");
    atlas_py_raise((PyObject *)self, &error);
    return false;
}

PyDoc_STRVAR(collateral_add_doc, "add($self, data, /)\n--\n\nAdd one file; what it is shows from its bytes.");

static PyObject *collateral_add(PyObject *object, PyObject *arg)
{
    struct collateral *self = (struct collateral *)(void *)object;
    struct atlas_error error = ATLAS_ERROR_INIT;
    Py_buffer view;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (!collateral_enter(self)) {
        PyBuffer_Release(&view);
        return NULL;
    }
    int rc = atlas_collateral_add(self->core, atlas_py_span(&view), &error);
    atomic_store(&self->busy, false);
    PyBuffer_Release(&view);
    return rc < 0 ? atlas_py_raise(object, &error) : Py_NewRef(Py_None);
}

static PyMethodDef collateral_methods[] = {
    {"add", collateral_add, METH_O, collateral_add_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    collateral_doc,
    "Collateral()\n--\n\nWhat a vendor says: certificates, CRLs, TCB info. Remembers which signatures it verified.");

static PyType_Slot collateral_slots[] = {
    {Py_tp_new, collateral_new},
    {Py_tp_dealloc, collateral_dealloc},
    {Py_tp_methods, collateral_methods},
    {Py_tp_doc, (void *)(uintptr_t)collateral_doc},
    {0, NULL},
};

static PyType_Spec collateral_spec = {
    .name = "atlas._core.Collateral",
    .basicsize = sizeof(struct collateral),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = collateral_slots,
};

/* ---------------------------------------------------------------------------------------------------- result */

static const char *const kinds[] = {"", "tdx", "snp", "nvidia", "tpm", "azure"};
static const char *const groups[] = {"", "signature", "tcb", "appraisal"};
static const char *const outcomes[] = {"not_run", "passed", "failed", "not_checked", "warning"};
static const char *const answers[] = {"not_run", "rejected", "genuine hardware, unknown software", "attested"};
static const char *const trusts[] = {"none", "self-asserted", "pinned", "certified", "tee"};
static const char *const bindings[] = {"absent", "matched", "mismatch", "zero"};

static PyObject *checks_of(const struct atlas_attest *result)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < result->n_checks; i++) {
        const struct atlas_attest_check *c = &result->checks[i];
        PyObject *text = atlas_py_text(atlas_span_str(c->text));
        PyObject *item = text == NULL ? NULL
                                      : Py_BuildValue("(sssiN)", c->id, groups[c->group], outcomes[c->outcome],
                                                      c->code, text);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *advisories_of(const struct atlas_tcb_evaluation *e)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < e->n_advisories; i++) {
        PyObject *name = atlas_py_text(atlas_span_str(e->advisories[i]));
        if (name == NULL || PyList_Append(list, name) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(name);
    }
    return list;
}

static const char *status_name(uint8_t status)
{
    return atlas_tcb_status_name((enum atlas_tcb_status)status);
}

static PyObject *evaluation_of(const struct atlas_tcb_evaluation *e)
{
    PyObject *dict = PyDict_New();
    bool good = dict != NULL && put_text(dict, "status", status_name(e->status)) &&
                put_text(dict, "platform", status_name(e->platform)) &&
                put_text(dict, "module", status_name(e->module)) && put_text(dict, "qe", status_name(e->qe)) &&
                put(dict, "date", PyLong_FromLongLong(e->date)) && put(dict, "advisories", advisories_of(e));
    return built(dict, good);
}

/* What does not lead to a vendor's root is not called hardware. */
static const char *answer_of(const struct atlas_attest *r)
{
    bool unknown = !r->hardware_rooted && r->appraisal == ATLAS_APPRAISAL_UNKNOWN_SOFTWARE;
    return unknown ? "unknown software" : answers[r->appraisal];
}

PyObject *atlas_py_attest_result(const struct atlas_attest *r)
{
    PyObject *dict = PyDict_New();
    bool good = dict != NULL && put_text(dict, "kind", kinds[r->kind]) && put(dict, "at", PyLong_FromLongLong(r->at)) &&
                put(dict, "signature", PyBool_FromLong(r->signature)) && put(dict, "tcb", PyBool_FromLong(r->tcb)) &&
                put_text(dict, "appraisal", answer_of(r)) && put_text(dict, "binding", bindings[r->binding]) &&
                put(dict, "holds", PyBool_FromLong(atlas_attest_holds(r))) &&
                put_text(dict, "trust", trusts[r->trust]) && put(dict, "software", PyBool_FromLong(r->software)) &&
                put(dict, "hardware_rooted", PyBool_FromLong(r->hardware_rooted)) &&
                put_text(dict, "anchor", r->anchor) &&
                put_bytes(dict, "anchor_sha256", atlas_span_of(r->anchor_sha256.b, r->anchor_sha256.n)) &&
                put_text(dict, "tcb_status", status_name(r->tcb_status)) &&
                put(dict, "launch", evaluation_of(&r->launch)) && put(dict, "current", evaluation_of(&r->current)) &&
                put_uint(dict, "evaluation_number", r->evaluation_number) &&
                put(dict, "collateral_from", PyLong_FromLongLong(r->collateral_from)) &&
                put(dict, "collateral_until", PyLong_FromLongLong(r->collateral_until)) &&
                put(dict, "checks", checks_of(r));
    return built(dict, good);
}

/* ---------------------------------------------------------------------------------------------- verification */

typedef int verifier(const struct atlas_attest_request *, struct atlas_attest *, struct atlas_error *);

static verifier *verifier_of(const char *kind)
{
    static verifier *const all[] = {NULL, atlas_attest_tdx, atlas_attest_snp, atlas_attest_gpu, atlas_attest_tpm,
                                     atlas_attest_azure};
    for (size_t i = 1; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i]) == 0) {
            return all[i];
        }
    }
    return NULL;
}

/* Absent and None are p == NULL. */
static struct atlas_span optional(const Py_buffer *view)
{
    return view->obj != NULL ? atlas_py_span(view) : ATLAS_SPAN_NONE;
}

static PyObject *run_verifier(PyObject *module, verifier *verify, struct collateral *collateral,
                              struct atlas_attest_request *request, struct atlas_span policy_bytes)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_attest_policy *policy = NULL;
    struct atlas_attest *result = PyMem_Calloc(1, sizeof *result);
    PyObject *dict = NULL;
    if (result == NULL) {
        return PyErr_NoMemory();
    }
    if (!collateral_enter(collateral)) {
        PyMem_Free(result);
        return NULL;
    }
    request->collateral = collateral->core;
    int rc = atlas_attest_policy_new(policy_bytes, &policy, &error);
    if (rc >= 0) {
        request->policy = policy;
        ATLAS_PY_BEGIN_CRYPTO
        rc = verify(request, result, &error);
        ATLAS_PY_END_CRYPTO
    }
    atomic_store(&collateral->busy, false);
    dict = rc < 0 ? atlas_py_raise(module, &error) : atlas_py_attest_result(result);
    atlas_attest_policy_free(policy);
    PyMem_Free(result);
    return dict;
}

PyDoc_STRVAR(attest_verify_doc,
             "attest_verify($module, kind, evidence, collateral, /, *, at, policy=None, report_data=None,\n"
             "              event_log=None, runtime_log=None, anchor=None)\n--\n\n"
             "kind: 'tdx', 'snp', 'nvidia', 'tpm' or 'azure'. policy: JSON; anchor: PEM of a root to use instead.");

static PyObject *attest_verify(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "", "", "at", "policy", "report_data", "event_log", "runtime_log",
                             "anchor", NULL};
    const char *kind;
    PyObject *collateral;
    long long at = 0; /* not a time: refused by the core */
    Py_buffer v[6] = {{0}, {0}, {0}, {0}, {0}, {0}}; /* evidence, policy, report data, two logs, anchor */
    PyObject *dict = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sy*O|$Lz*z*z*z*z*:attest_verify", names, &kind, &v[0], &collateral,
                                     &at, &v[1], &v[2], &v[3], &v[4], &v[5])) {
        return NULL;
    }
    PyObject *type = PyObject_GetAttrString(module, "Collateral");
    verifier *verify = verifier_of(kind);
    if (type != NULL && verify == NULL) {
        PyErr_Format(PyExc_ValueError, "unknown kind of evidence: %s", kind);
    } else if (type != NULL && (PyObject *)Py_TYPE(collateral) != type) {
        PyErr_SetString(PyExc_TypeError, "collateral is no Collateral");
    } else if (type != NULL) {
        struct atlas_attest_request request = {.evidence = atlas_py_span(&v[0]),
                                               .at = at,
                                               .report_data = optional(&v[2]),
                                               .event_log = optional(&v[3]),
                                               .runtime_log = optional(&v[4]),
                                               .anchor = optional(&v[5])};
        dict = run_verifier(module, verify, (struct collateral *)(void *)collateral, &request, optional(&v[1]));
    }
    Py_XDECREF(type);
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        if (v[i].obj != NULL) {
            PyBuffer_Release(&v[i]);
        }
    }
    return dict;
}

/* ------------------------------------------------------------------------------------------- what it says */

/* Which platform this is, as its PCK certificate says: collateral is asked for by it. None where there is none. */
static bool put_platform(PyObject *dict, const struct atlas_tdx_quote *q)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf ders = ATLAS_BUF_INIT;
    struct atlas_span rest, leaf;
    struct atlas_pck pck;
    bool known = q->cert_type == ATLAS_CERT_PCK_CHAIN && atlas_pem_split(q->cert_data, &ders, &error) >= 0 &&
                 (rest = atlas_buf_span(&ders), atlas_certificate_next(&rest, &leaf)) &&
                 atlas_pck_read(leaf, &pck, &error) >= 0;
    bool good = put_bytes(dict, "fmspc", known ? atlas_span_of(pck.fmspc, sizeof pck.fmspc) : ATLAS_SPAN_NONE) &&
                put_text(dict, "pck_ca", !known ? "unknown" : pck.platform ? "platform" : "processor");
    atlas_buf_release(&ders);
    return good;
}

static PyObject *read_tdx(PyObject *module, struct atlas_span bytes)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tdx_quote q;
    if (atlas_tdx_quote_read(bytes, &q, &error) < 0) {
        return atlas_py_raise(module, &error);
    }
    const struct atlas_tdx_body *b = &q.body;
    PyObject *d = PyDict_New();
    bool good = d != NULL && put_uint(d, "version", q.version) && put_uint(d, "body_type", q.body_type) &&
                put_uint(d, "size", q.size) && put_uint(d, "trailing_bytes", q.trailing) &&
                put_uint(d, "cert_type", q.cert_type) && put_bytes(d, "user_data", q.user_data) &&
                put_bytes(d, "tee_tcb_svn", b->tee_tcb_svn) && put_bytes(d, "tee_tcb_svn2", b->tee_tcb_svn2) &&
                put_bytes(d, "mrseam", b->mrseam) && put_bytes(d, "mrsignerseam", b->mrsignerseam) &&
                put_bytes(d, "seam_attributes", b->seam_attributes) &&
                put_bytes(d, "td_attributes", b->td_attributes) && put_bytes(d, "xfam", b->xfam) &&
                put_bytes(d, "mrtd", b->mrtd) && put_bytes(d, "mrconfigid", b->mrconfigid) &&
                put_bytes(d, "mrowner", b->mrowner) && put_bytes(d, "mrownerconfig", b->mrownerconfig) &&
                put_bytes(d, "rtmr0", b->rtmr[0]) && put_bytes(d, "rtmr1", b->rtmr[1]) &&
                put_bytes(d, "rtmr2", b->rtmr[2]) && put_bytes(d, "rtmr3", b->rtmr[3]) &&
                put_bytes(d, "report_data", b->report_data) && put_bytes(d, "mrservicetd", b->mrservicetd) &&
                put_bytes(d, "qe_mrenclave", q.qe_report.mrenclave) && put_uint(d, "qe_svn", q.qe_report.isvsvn) &&
                put_platform(d, &q);
    return built(d, good);
}

static PyObject *read_snp(PyObject *module, struct atlas_span bytes)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_snp_report r;
    if (atlas_snp_report_read(bytes, &r, &error) < 0) {
        return atlas_py_raise(module, &error);
    }
    PyObject *d = PyDict_New();
    bool good = d != NULL && put_uint(d, "version", r.version) && put_uint(d, "guest_svn", r.guest_svn) &&
                put_uint(d, "policy", r.policy) && put_uint(d, "vmpl", r.vmpl) &&
                put_uint(d, "platform_info", r.platform_info) &&
                put_text(d, "signing_key", r.signing_key == ATLAS_SNP_VLEK ? "VLEK" : "VCEK") &&
                put_bytes(d, "family_id", r.family_id) && put_bytes(d, "image_id", r.image_id) &&
                put_bytes(d, "report_data", r.report_data) && put_bytes(d, "measurement", r.measurement) &&
                put_bytes(d, "host_data", r.host_data) && put_bytes(d, "id_key_digest", r.id_key_digest) &&
                put_bytes(d, "author_key_digest", r.author_key_digest) && put_bytes(d, "report_id", r.report_id) &&
                put_bytes(d, "chip_id", r.chip_id) && put_bytes(d, "current_tcb", r.current_tcb) &&
                put_bytes(d, "reported_tcb", r.reported_tcb) && put_bytes(d, "committed_tcb", r.committed_tcb) &&
                put_bytes(d, "launch_tcb", r.launch_tcb) && put_uint(d, "trailing_bytes", r.trailing);
    return built(d, good);
}

static PyObject *measurements_of(const struct atlas_spdm *report)
{
    PyObject *dict = PyDict_New();
    struct atlas_span rest = report->measurements;
    struct atlas_span value;
    uint8_t index;
    while (dict != NULL && atlas_spdm_next(&rest, &index, &value)) {
        PyObject *key = PyLong_FromLong(index);
        PyObject *bytes = atlas_py_bytes(value);
        if (key == NULL || bytes == NULL || PyDict_SetItem(dict, key, bytes) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(key);
        Py_XDECREF(bytes);
    }
    return dict;
}

static PyObject *read_gpu(PyObject *module, struct atlas_span bytes)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_spdm r;
    if (atlas_spdm_read(bytes, &r, &error) < 0) {
        return atlas_py_raise(module, &error);
    }
    PyObject *d = PyDict_New();
    bool good = d != NULL && put_bytes(d, "nonce", r.nonce) && put(d, "measurements", measurements_of(&r)) &&
                put_bytes(d, "driver", atlas_spdm_opaque(&r, ATLAS_SPDM_DRIVER)) &&
                put_bytes(d, "vbios", atlas_spdm_opaque(&r, ATLAS_SPDM_VBIOS)) &&
                put_bytes(d, "fwid", atlas_spdm_opaque(&r, ATLAS_SPDM_FWID)) &&
                put_uint(d, "trailing_bytes", r.trailing);
    return built(d, good);
}

/* {"sha256": {0: value, ...}}, as far as the values are there. */
static PyObject *pcrs_of(const struct atlas_tpm_attest *quote, struct atlas_span values)
{
    PyObject *all = PyDict_New();
    for (size_t i = 0; all != NULL && i < quote->n_banks; i++) {
        const struct atlas_tpm_selection *bank = &quote->banks[i];
        const char *name = atlas_alg_name((int)atlas_tpm_hash(bank->hash));
        size_t size = name != NULL ? atlas_alg_size((int)atlas_tpm_hash(bank->hash)) : 20;
        PyObject *dict = PyDict_New();
        bool good = dict != NULL;
        for (unsigned n = 0; good && n < ATLAS_TPM_PCRS; n++) {
            struct atlas_span value;
            char key[4];
            snprintf(key, sizeof key, "%u", n);
            if (atlas_tpm_selected(bank, n) && atlas_span_take(&values, size, &value)) {
                good = put_bytes(dict, key, value);
            }
        }
        if (!put(all, name != NULL ? name : "sha1", built(dict, good))) {
            Py_CLEAR(all);
        }
    }
    return all;
}

static bool put_key(PyObject *d, const struct atlas_tpm_public *ak, int *ret_rc, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    bool good = true;
    struct atlas_digest digest;
    struct atlas_buf spki = ATLAS_BUF_INIT;
    struct atlas_buf name = ATLAS_BUF_INIT;
    ATLAS_TRY(atlas_tpm_spki(ak, &spki, error));
    ATLAS_TRY(atlas_tpm_name(ak, &name, error));
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, atlas_buf_span(&spki), &digest, error));
    good = put_bytes(d, "ak_spki_sha256", atlas_digest_span(&digest)) &&
           put_bytes(d, "ak_name", atlas_buf_span(&name)) && put_bytes(d, "ak_spki", atlas_buf_span(&spki)) &&
           put_uint(d, "ak_attributes", ak->attributes);
out:
    atlas_buf_release(&spki);
    atlas_buf_release(&name);
    *ret_rc = rc;
    return good && rc >= 0;
}

static bool put_tpm_words(PyObject *d, const struct atlas_tpm_evidence *e)
{
    return put(d, "manufacturer", atlas_py_text(e->manufacturer)) && put(d, "vendor", atlas_py_text(e->vendor)) &&
           put(d, "firmware", atlas_py_text(e->firmware)) && put_uint(d, "certificates", e->n_chain) &&
           put(d, "confidential_vm", PyBool_FromLong(e->hcl.p != NULL)) && put(d, "log", atlas_py_text(e->nv.log));
}

static PyObject *read_tpm(PyObject *module, struct atlas_span bytes)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tpm_evidence e;
    struct atlas_tpm_public ak;
    struct atlas_tpm_attest q;
    if (atlas_tpm_evidence_read(bytes, &e, &error) < 0 || atlas_tpm_public_read(e.ak, &ak, &error) < 0 ||
        atlas_tpm_attest_read(e.quote, &q, &error) < 0) {
        return atlas_py_raise(module, &error);
    }
    int rc = ATLAS_OK;
    PyObject *d = PyDict_New();
    bool good = d != NULL && put_bytes(d, "qualifying_data", q.extra) && put_key(d, &ak, &rc, &error) &&
                put(d, "pcrs", pcrs_of(&q, e.pcrs)) && put_uint(d, "clock", q.clock) &&
                put_uint(d, "reset_count", q.resets) && put_uint(d, "restart_count", q.restarts) &&
                put(d, "clock_safe", PyBool_FromLong(q.safe)) && put_uint(d, "firmware_version", q.firmware) &&
                put_tpm_words(d, &e);
    return rc < 0 ? (Py_XDECREF(d), atlas_py_raise(module, &error)) : built(d, good);
}

PyDoc_STRVAR(evidence_read_doc,
             "evidence_read($module, kind, evidence, /)\n--\n\nThe fields of a quote or report, unverified.");

static PyObject *evidence_read(PyObject *module, PyObject *args)
{
    const char *kind;
    Py_buffer view;
    PyObject *dict = NULL;
    if (!PyArg_ParseTuple(args, "sy*:evidence_read", &kind, &view)) {
        return NULL;
    }
    verifier *verify = verifier_of(kind);
    if (verify == atlas_attest_tdx) {
        dict = read_tdx(module, atlas_py_span(&view));
    } else if (verify == atlas_attest_snp) {
        dict = read_snp(module, atlas_py_span(&view));
    } else if (verify == atlas_attest_gpu) {
        dict = read_gpu(module, atlas_py_span(&view));
    } else if (verify == atlas_attest_tpm || verify == atlas_attest_azure) {
        dict = read_tpm(module, atlas_py_span(&view));
    } else {
        PyErr_Format(PyExc_ValueError, "unknown kind of evidence: %s", kind);
    }
    PyBuffer_Release(&view);
    return dict;
}

PyDoc_STRVAR(ccel_replay_doc,
             "ccel_replay($module, log, /)\n--\n\n"
             "(rtmr0, rtmr1, rtmr2, rtmr3, events, bytes used): what the registers hold if the log is true.");

static PyObject *ccel_replay(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_ccel_replay r;
    Py_buffer view;
    int rc;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_ccel_replay(atlas_py_span(&view), &r, &error);
    ATLAS_PY_END_CRYPTO
    PyBuffer_Release(&view);
    if (rc < 0) {
        return atlas_py_raise(module, &error);
    }
    return Py_BuildValue("(y#y#y#y#nn)", r.rtmr[0], (Py_ssize_t)48, r.rtmr[1], (Py_ssize_t)48, r.rtmr[2],
                         (Py_ssize_t)48, r.rtmr[3], (Py_ssize_t)48, (Py_ssize_t)r.events, (Py_ssize_t)r.used);
}

PyDoc_STRVAR(runtime_log_replay_doc,
             "runtime_log_replay($module, log, /)\n--\n\n"
             "(value before the first line, value after the last one, number of lines).");

static PyObject *runtime_log_replay(PyObject *module, PyObject *arg)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_runtime_log r;
    Py_buffer view;
    int rc;
    if (PyObject_GetBuffer(arg, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    ATLAS_PY_BEGIN_CRYPTO
    rc = atlas_runtime_log_replay(atlas_py_span(&view), &r, &error);
    ATLAS_PY_END_CRYPTO
    PyBuffer_Release(&view);
    if (rc < 0) {
        return atlas_py_raise(module, &error);
    }
    return Py_BuildValue("(y#y#n)", r.start, (Py_ssize_t)48, r.value, (Py_ssize_t)48, (Py_ssize_t)r.lines);
}

static PyMethodDef functions[] = {
    {"attest_verify", (PyCFunction)(void (*)(void))attest_verify, METH_VARARGS | METH_KEYWORDS, attest_verify_doc},
    {"evidence_read", evidence_read, METH_VARARGS, evidence_read_doc},
    {"ccel_replay", ccel_replay, METH_O, ccel_replay_doc},
    {"runtime_log_replay", runtime_log_replay, METH_O, runtime_log_replay_doc},
    {NULL, NULL, 0, NULL},
};

int atlas_py_attest_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &collateral_spec, NULL);
    int rc = type != NULL ? PyModule_AddType(module, (PyTypeObject *)(void *)type) : -1;
    Py_XDECREF(type);
    return rc < 0 ? -1 : PyModule_AddFunctions(module, functions);
}
