/* ocsp.c - check a stapled OCSP response (RFC 6960). By hand but for the signature: OCSP_basic_verify would take the
 * responder's time from the wall clock and its trust from a store. */
#include <openssl/ocsp.h>

#include "port/crypto/x509.h"

static const char where[] = "ocsp";

struct inquiry {
    const struct atlas_trust *trust;
    X509 *leaf;
    X509 *issuer;
    int64_t time;
    int64_t now;
};

/* --------------------------------------------------------------------------------------------- reading it */

static int read_response(struct atlas_span bytes, OCSP_BASICRESP **ret_basic, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    const unsigned char *p = bytes.p;
    OCSP_RESPONSE *response = NULL;
    if (bytes.n != 0 && bytes.n <= ATLAS_MAX_OCSP_BYTES) {
        response = d2i_OCSP_RESPONSE(NULL, &p, (long)bytes.n);
    }
    if (response == NULL || p != bytes.p + bytes.n) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_X509, where, "not one OCSP response"));
    }
    int status = OCSP_response_status(response);
    if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_X509, where, "the responder did not answer: %s",
                                  OCSP_response_status_str(status)));
    }
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    if (basic == NULL) {
        ATLAS_TRY(atlas_ossl_fail(error, ATLAS_E_X509, where, "not a basic OCSP response"));
    }
    *ret_basic = basic;
out:
    OCSP_RESPONSE_free(response);
    return rc;
}

/* -------------------------------------------------------------------------------------------- the responder */

static bool is_named(const OCSP_BASICRESP *basic, X509 *x)
{
    const ASN1_OCTET_STRING *key_hash;
    const X509_NAME *name;
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    if (OCSP_resp_get0_id(basic, &key_hash, &name) != 1) {
        return false;
    }
    if (name != NULL) {
        return X509_NAME_cmp(name, X509_get_subject_name(x)) == 0;
    }
    /* RFC 6960, 4.2.1: SHA-1 of the key, a name and not a proof; the signature is checked below. */
    return X509_pubkey_digest(x, EVP_sha1(), hash, &n) == 1 &&
           atlas_span_equal(atlas_span_of(hash, n),
                            atlas_span_of(ASN1_STRING_get0_data(key_hash), (size_t)ASN1_STRING_length(key_hash)));
}

/* RFC 6960, 4.2.2.2: the issuer itself, or one to whom it gave OCSPSigning directly. */
static X509 *find_responder(const OCSP_BASICRESP *basic, X509 *issuer)
{
    const STACK_OF(X509) *certificates = OCSP_resp_get0_certs(basic);
    if (is_named(basic, issuer)) {
        return issuer;
    }
    for (int i = 0; i < sk_X509_num(certificates); i++) {
        if (is_named(basic, sk_X509_value(certificates, i))) {
            return sk_X509_value(certificates, i);
        }
    }
    return NULL;
}

static int check_delegate(const struct inquiry *inquiry, X509 *responder, int64_t produced, struct atlas_error *error)
{
    bool covered;
    struct atlas_revocation revocation = {.leaf_covered = false};
    struct atlas_error ignored = ATLAS_ERROR_INIT;
    int rc = atlas_x509_profile(responder, ATLAS_PURPOSE_OCSP, where, error);
    if (rc < 0) {
        return rc;
    }
    if (X509_check_issued(inquiry->issuer, responder) != X509_V_OK ||
        X509_verify(responder, X509_get0_pubkey(inquiry->issuer)) != 1) {
        return atlas_ossl_fail(error, ATLAS_E_CREDENTIAL, where, "the responder's certificate is not from the issuer");
    }
    rc = atlas_x509_valid_at(responder, produced, where, error);
    if (rc < 0) {
        return rc;
    }
    /* That the *responder* was revoked says nothing about the leaf: no data, not a revocation. */
    rc = atlas_crl_check(inquiry->trust, responder, inquiry->issuer, produced, inquiry->now, &revocation, &covered,
                         &ignored);
    if (rc == ATLAS_E_REVOKED) {
        return atlas_error_set(error, ATLAS_E_CREDENTIAL, where, "the responder's certificate was revoked");
    }
    return rc < 0 ? atlas_error_set(error, rc, where, "%s", ignored.text) : ATLAS_OK;
}

static int check_signature(OCSP_BASICRESP *basic, X509 *responder, struct atlas_error *error)
{
    int rc = atlas_sigalg_check(OCSP_resp_get0_tbs_sigalg(basic), where, error);
    if (rc < 0) {
        return rc;
    }
    STACK_OF(X509) *one = sk_X509_new_null();
    if (one == NULL || sk_X509_push(one, responder) <= 0) {
        rc = atlas_ossl_fail(error, ATLAS_E_NOMEM, where, "out of memory");
    } else if (OCSP_basic_verify(basic, one, NULL, OCSP_NOVERIFY | OCSP_NOINTERN) != 1) {
        rc = atlas_ossl_fail(error, ATLAS_E_SIGNATURE, where, "the response's signature is false");
    }
    sk_X509_free(one);
    return rc;
}

static int check_responder(const struct inquiry *inquiry, OCSP_BASICRESP *basic, struct atlas_error *error)
{
    int64_t produced;
    int rc = atlas_x509_time(OCSP_resp_get0_produced_at(basic), where, &produced, error);
    if (rc < 0) {
        return rc;
    }
    if (OCSP_BASICRESP_get_ext_by_critical(basic, 1, -1) >= 0) {
        return atlas_error_set(error, ATLAS_E_X509, where, "a critical extension that is not understood");
    }
    X509 *responder = find_responder(basic, inquiry->issuer);
    if (responder == NULL) {
        return atlas_ossl_fail(error, ATLAS_E_CREDENTIAL, where, "not signed by the issuer or one it delegated");
    }
    rc = check_signature(basic, responder, error);
    if (rc >= 0 && responder != inquiry->issuer) {
        rc = check_delegate(inquiry, responder, produced, error);
    }
    return rc;
}

/* ----------------------------------------------------------------------------------------------- the answer */

/* Is it about our leaf? With whatever hash the responder chose: it is a name, not a proof (RFC 6960, 4.1.1). That our
 * own name could not be computed is an error and not a no: the answer might be a revocation. */
static int is_about(const OCSP_SINGLERESP *single, const struct inquiry *inquiry, bool *ret_about,
                    struct atlas_error *error)
{
    ASN1_OBJECT *object = NULL;
    const OCSP_CERTID *found = OCSP_SINGLERESP_get0_id(single);
    OCSP_CERTID *copy = OCSP_CERTID_dup(found);
    if (copy == NULL || OCSP_id_get0_info(NULL, &object, NULL, NULL, copy) != 1) {
        OCSP_CERTID_free(copy);
        return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "the certificate's name cannot be read");
    }
    const EVP_MD *md = EVP_get_digestbyobj(object);
    OCSP_CERTID *ours = md != NULL ? OCSP_cert_to_id(md, inquiry->leaf, inquiry->issuer) : NULL;
    *ret_about = ours != NULL && OCSP_id_cmp(ours, found) == 0;
    OCSP_CERTID_free(copy);
    if (md != NULL && ours == NULL) {
        return atlas_ossl_fail(error, ATLAS_E_CRYPTO, where, "the certificate's name cannot be computed");
    }
    OCSP_CERTID_free(ours);
    return ATLAS_OK;
}

struct answer {
    int status; /* V_OCSP_CERTSTATUS_... */
    int64_t revoked;
    bool ends; /* it says how long it holds */
    struct atlas_ocsp ocsp;
};

static int read_answer(OCSP_SINGLERESP *single, struct answer *ret_answer, struct atlas_error *error)
{
    ASN1_GENERALIZEDTIME *revoked = NULL;
    ASN1_GENERALIZEDTIME *this_update = NULL;
    ASN1_GENERALIZEDTIME *next_update = NULL;
    struct answer answer = {.ocsp.status = ATLAS_OCSP_UNKNOWN};
    answer.status = OCSP_single_get0_status(single, NULL, &revoked, &this_update, &next_update);
    answer.ends = next_update != NULL;
    int rc = atlas_x509_time(this_update, where, &answer.ocsp.this_update, error);
    if (rc >= 0 && answer.ends) {
        rc = atlas_x509_time(next_update, where, &answer.ocsp.next_update, error);
    }
    if (rc >= 0 && answer.status == V_OCSP_CERTSTATUS_REVOKED) {
        rc = atlas_x509_time(revoked, where, &answer.revoked, error);
    }
    if (rc >= 0 && OCSP_SINGLERESP_get_ext_by_critical(single, 1, -1) >= 0) {
        rc = atlas_error_set(error, ATLAS_E_X509, where, "a critical extension that is not understood");
    }
    if (rc >= 0) {
        *ret_answer = answer;
    }
    return rc;
}

/* A revocation is believed however old the response is: it is not taken back. Everything else must hold at the time. */
static int judge(const struct inquiry *inquiry, OCSP_SINGLERESP *single, struct atlas_ocsp *ret_ocsp,
                 struct atlas_error *error)
{
    struct answer answer;
    int rc = read_answer(single, &answer, error);
    if (rc < 0) {
        return rc;
    }
    struct atlas_ocsp *ocsp = &answer.ocsp;
    if (answer.status == V_OCSP_CERTSTATUS_REVOKED && answer.revoked <= inquiry->time) {
        return atlas_error_set(error, ATLAS_E_REVOKED, where, "the certificate was revoked");
    }
    if (!answer.ends || ocsp->this_update - ATLAS_CLOCK_SKEW > inquiry->now || ocsp->next_update < inquiry->time) {
        return atlas_error_set(error, ATLAS_E_EXPIRED, where, "the response does not hold at this time");
    }
    if (answer.status == V_OCSP_CERTSTATUS_REVOKED) {
        ocsp->status = ATLAS_OCSP_REVOKED_LATER;
        ocsp->revoked_at = answer.revoked;
    } else if (answer.status == V_OCSP_CERTSTATUS_GOOD) {
        ocsp->status = ATLAS_OCSP_GOOD;
    }
    *ret_ocsp = *ocsp;
    return ATLAS_OK;
}

/* Several answers about one certificate: a revocation wins, then a statement, then the first failure. */
static bool is_better(int rc, int best)
{
    return rc == ATLAS_E_REVOKED || best == ATLAS_E_NOT_FOUND ||
           (best < 0 && best != ATLAS_E_REVOKED && rc == ATLAS_OK);
}

static int find_answer(const struct inquiry *inquiry, OCSP_BASICRESP *basic, struct atlas_ocsp *ret_ocsp,
                       struct atlas_error *error)
{
    int best = ATLAS_E_NOT_FOUND;
    struct atlas_error best_error = ATLAS_ERROR_INIT;
    struct atlas_ocsp ocsp = {.status = ATLAS_OCSP_UNKNOWN};
    (void)atlas_error_set(&best_error, best, where, "the response is not about this certificate");
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        struct atlas_error single_error = ATLAS_ERROR_INIT;
        struct atlas_ocsp answer = {.status = ATLAS_OCSP_UNKNOWN};
        bool about = false;
        int rc = is_about(single, inquiry, &about, error);
        if (rc < 0) {
            return rc;
        }
        rc = about ? judge(inquiry, single, &answer, &single_error) : ATLAS_E_NOT_FOUND;
        if (rc == ATLAS_E_NOMEM) {
            return atlas_error_set(error, rc, where, "out of memory");
        }
        if (rc != ATLAS_E_NOT_FOUND && is_better(rc, best)) {
            best = rc;
            best_error = single_error;
            ocsp = answer;
        }
    }
    if (best < 0) {
        return atlas_error_set(error, best, where, "%s", best_error.text);
    }
    *ret_ocsp = ocsp;
    return ATLAS_OK;
}

int atlas_ocsp_check(const struct atlas_trust *trust, struct atlas_span response, const struct atlas_span *chain,
                     size_t n, int64_t time, int64_t now, struct atlas_ocsp *ret_ocsp, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    OCSP_BASICRESP *basic = NULL;
    STACK_OF(X509) *path = NULL;
    ATLAS_TRY(atlas_path_of_chain(trust, chain, n, ATLAS_PURPOSE_CLAIM, time, &path, error));
    const struct inquiry inquiry = {trust, sk_X509_value(path, 0), sk_X509_value(path, 1), time, now};
    ATLAS_TRY(read_response(response, &basic, error));
    ATLAS_TRY(check_responder(&inquiry, basic, error));
    ATLAS_TRY(find_answer(&inquiry, basic, ret_ocsp, error));
out:
    OCSP_BASICRESP_free(basic);
    atlas_path_free(path);
    return atlas_ossl_done(rc);
}
