/* revocation.c - what CRLs say about a path (RFC 5280, 5 and 6.3). Looked at by hand: OpenSSL's own check knows only
 * "listed", not "listed since when", and takes the signing time for the time at which a CRL must be current. */
#include "port/crypto/x509.h"

static const char where[] = "crl";

/* ------------------------------------------------------------------------------ is this CRL about that certificate */

/* Critical extensions that are understood; a delta CRL has its own and is not used. */
static bool extensions_known(X509_CRL *crl)
{
    for (int i = 0; i < X509_CRL_get_ext_count(crl); i++) {
        X509_EXTENSION *extension = X509_CRL_get_ext(crl, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
        if (nid == NID_delta_crl || (X509_EXTENSION_get_critical(extension) && nid != NID_issuing_distribution_point)) {
            return false;
        }
    }
    return true;
}

static bool names_meet(const GENERAL_NAMES *a, const GENERAL_NAMES *b)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(a); i++) {
        for (int k = 0; k < sk_GENERAL_NAME_num(b); k++) {
            if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(a, i), sk_GENERAL_NAME_value(b, k)) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* A CRL for one distribution point speaks only for certificates that point there by full name. */
static bool points_there(const DIST_POINT_NAME *point, X509 *x)
{
    if (point == NULL) {
        return true;
    }
    CRL_DIST_POINTS *points = X509_get_ext_d2i(x, NID_crl_distribution_points, NULL, NULL);
    bool found = false;
    for (int i = 0; point->type == 0 && i < sk_DIST_POINT_num(points); i++) {
        const DIST_POINT_NAME *name = sk_DIST_POINT_value(points, i)->distpoint;
        found = found || (name != NULL && name->type == 0 && names_meet(name->name.fullname, point->name.fullname));
    }
    CRL_DIST_POINTS_free(points);
    return found;
}

/* Issuing distribution point (RFC 5280, 5.2.5): indirect lists and lists of some reasons are not used. */
static bool in_scope(X509_CRL *crl, X509 *x)
{
    int critical = -1;
    ISSUING_DIST_POINT *idp = X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &critical, NULL);
    if (idp == NULL) {
        return critical == -1; /* absent, not unreadable */
    }
    bool ca = X509_check_ca(x) == 1;
    bool good = idp->indirectCRL == 0 && idp->onlyattr == 0 && idp->onlysomereasons == NULL &&
                !(ca && idp->onlyuser > 0) && !(!ca && idp->onlyCA > 0) && points_there(idp->distpoint, x);
    ISSUING_DIST_POINT_free(idp);
    return good;
}

/* Tried twice: OpenSSL says no both to a false signature and when it lacked memory for a moment, and a list that is not
 * heard lets a revoked certificate pass. */
static bool signed_by(X509_CRL *crl, X509 *issuer)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    bool may = (X509_get_extension_flags(issuer) & EXFLAG_KUSAGE) == 0 ||
               (X509_get_key_usage(issuer) & KU_CRL_SIGN) != 0;
    return may && (X509_CRL_verify(crl, key) == 1 || X509_CRL_verify(crl, key) == 1);
}

/* A list that does not speak about x is passed over; one that could not be looked at is an error. */
static int speaks(X509_CRL *crl, X509 *x, X509 *issuer, bool *ret_speaks, struct atlas_error *error)
{
    const X509_ALGOR *algorithm;
    struct atlas_error ignored = ATLAS_ERROR_INIT;
    bool speaking = X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_issuer_name(x)) == 0 && extensions_known(crl) &&
                    in_scope(crl, x) && signed_by(crl, issuer);
    int rc = speaking ? ATLAS_OK : atlas_ossl_ignore(error);
    if (speaking) {
        X509_CRL_get0_signature(crl, NULL, &algorithm);
        int allowed = atlas_sigalg_check(algorithm, where, &ignored);
        speaking = allowed == ATLAS_OK;
        rc = allowed == ATLAS_E_NOMEM ? atlas_error_set(error, allowed, where, "out of memory") : ATLAS_OK;
    }
    *ret_speaks = speaking;
    return rc;
}

/* Current: published by now and not yet due to be replaced. It need not list certificates that had expired before. */
static bool current(X509_CRL *crl, X509 *x, int64_t now)
{
    int64_t this_update;
    int64_t next_update;
    int64_t expiry;
    return atlas_x509_time(X509_CRL_get0_lastUpdate(crl), where, &this_update, NULL) == ATLAS_OK &&
           atlas_x509_time(X509_CRL_get0_nextUpdate(crl), where, &next_update, NULL) == ATLAS_OK &&
           atlas_x509_time(X509_get0_notAfter(x), where, &expiry, NULL) == ATLAS_OK &&
           this_update - ATLAS_CLOCK_SKEW <= now && now <= next_update && this_update <= expiry;
}

/* ------------------------------------------------------------------------------------------------ what it says */

/* Since when: the revocation date, or the earlier date from which the key must be doubted (RFC 5280, 5.3.2). An
 * invalidity date that cannot be read doubts everything. */
static int revoked_since(const X509_REVOKED *entry, int64_t *ret_time, struct atlas_error *error)
{
    int64_t since;
    int64_t invalid = INT64_MAX;
    int present = -1;
    int rc = atlas_x509_time(X509_REVOKED_get0_revocationDate(entry), where, &since, error);
    ASN1_GENERALIZEDTIME *date = X509_REVOKED_get_ext_d2i(entry, NID_invalidity_date, &present, NULL);
    if (rc >= 0 && (date != NULL || present != -1) && atlas_x509_time(date, where, &invalid, NULL) < 0) {
        invalid = INT64_MIN;
    }
    ASN1_GENERALIZEDTIME_free(date);
    if (rc >= 0) {
        *ret_time = invalid < since ? invalid : since;
    }
    return rc;
}

static int note_revocation(struct atlas_revocation *revocation, int64_t since, int64_t time, struct atlas_error *error)
{
    if (since <= time) {
        return atlas_error_set(error, ATLAS_E_REVOKED, where, "a certificate of the chain was revoked");
    }
    if (!revocation->revoked_later || since < revocation->revoked_at) {
        revocation->revoked_at = since;
    }
    revocation->revoked_later = true;
    return ATLAS_OK;
}

static int hear(X509_CRL *crl, X509 *x, int64_t time, struct atlas_revocation *revocation, struct atlas_error *error)
{
    X509_REVOKED *entry = NULL;
    int64_t since;
    if (X509_CRL_get0_by_cert(crl, &entry, x) != 1) {
        return ATLAS_OK;
    }
    int rc = revoked_since(entry, &since, error);
    return rc < 0 ? rc : note_revocation(revocation, since, time, error);
}

int atlas_crl_check(const struct atlas_trust *trust, X509 *x, X509 *issuer, int64_t time, int64_t now,
                    struct atlas_revocation *revocation, bool *ret_covered, struct atlas_error *error)
{
    bool covered = false;
    bool stale = false;
    for (int i = 0; i < sk_X509_CRL_num(trust->crls); i++) {
        X509_CRL *crl = sk_X509_CRL_value(trust->crls, i);
        bool speaking = false;
        int rc = speaks(crl, x, issuer, &speaking, error);
        if (rc >= 0 && speaking) {
            rc = hear(crl, x, time, revocation, error);
            bool is_current = current(crl, x, now);
            covered = covered || is_current;
            stale = stale || !is_current;
        }
        if (rc < 0) {
            return rc;
        }
    }
    revocation->stale = revocation->stale || (stale && !covered);
    *ret_covered = covered;
    return ATLAS_OK;
}

int atlas_path_revocation(const struct atlas_trust *trust, STACK_OF(X509) *path, int64_t time, int64_t now,
                          struct atlas_revocation *ret_revocation, struct atlas_error *error)
{
    struct atlas_revocation revocation = {.issuers_covered = true};
    for (int i = 0; i + 1 < sk_X509_num(path); i++) {
        bool covered;
        int rc = atlas_crl_check(trust, sk_X509_value(path, i), sk_X509_value(path, i + 1), time, now, &revocation,
                                 &covered, error);
        if (rc < 0) {
            return rc;
        }
        if (i == 0) {
            revocation.leaf_covered = covered;
        } else {
            revocation.issuers_covered = revocation.issuers_covered && covered;
        }
    }
    *ret_revocation = revocation;
    return ATLAS_OK;
}
