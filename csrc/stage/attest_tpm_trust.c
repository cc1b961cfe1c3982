/* attest_tpm_trust.c - who says that a key is kept by a TPM, and what kind of TPM that is. */
#include <stdio.h>

#include "stage/attest_tpm.h"

static const char where[] = "attestation key";

#define MAX_AUTHORITIES 32

/* ------------------------------------------------------------------------------------------------------ pinned */

static int find_pin(struct atlas_tpm_run *run, bool *ret_found, struct atlas_error *error)
{
    struct atlas_digest digest;
    struct atlas_tpm_voucher voucher;
    int rc = atlas_crypto_digest(ATLAS_SHA256, atlas_buf_span(&run->spki), &digest, error);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; atlas_tpm_voucher_at(run->policy->keys, i, &voucher); i++) {
        if (memcmp(voucher.spki_sha256, digest.b, sizeof voucher.spki_sha256) == 0) {
            run->labelled = run->labelled || voucher.hardware;
            *ret_found = true;
        }
    }
    if (*ret_found) {
        run->result->trust = ATLAS_TRUST_PINNED;
        run->result->anchor_sha256 = digest;
        snprintf(run->result->anchor, sizeof run->result->anchor, "key named by the policy");
    }
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------------------ certified */

struct authorities {
    size_t n;
    struct atlas_pin pins[MAX_AUTHORITIES];
    bool hardware[MAX_AUTHORITIES];
    struct atlas_buf ders; /* of the roots, in this order */
};

static int add_one(struct authorities *a, struct atlas_span der, bool hardware, struct atlas_error *error)
{
    struct atlas_digest digest;
    if (a->n == MAX_AUTHORITIES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, "policy.tpm", "more than %d authorities", MAX_AUTHORITIES);
    }
    int rc = atlas_crypto_digest(ATLAS_SHA256, der, &digest, error);
    if (rc < 0) {
        return rc;
    }
    a->pins[a->n].name = "authority of the policy";
    memcpy(a->pins[a->n].sha256, digest.b, sizeof a->pins[a->n].sha256);
    a->hardware[a->n++] = hardware;
    atlas_buf_append(&a->ders, der);
    return atlas_buf_check(&a->ders, error);
}

/* Every certificate of the PEM text. */
static int add_authority(struct authorities *a, struct atlas_span pem, bool hardware, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_buf ders = ATLAS_BUF_INIT;
    struct atlas_span rest;
    struct atlas_span der;
    ATLAS_TRY(atlas_certificate_read_pem(pem, &ders, error));
    rest = atlas_buf_span(&ders);
    while (atlas_certificate_next(&rest, &der)) {
        ATLAS_TRY(add_one(a, der, hardware, error));
    }
out:
    atlas_buf_release(&ders);
    return rc;
}

/* Does the chain (DER, leaf first) lead to one of them? Each on its own, since a path ends at the first pinned root
 * that is there. The reason of the last one is told. */
static int find_path(struct atlas_pki *pki, const struct authorities *a, struct atlas_span chain, int64_t at,
                     struct atlas_pki_path *ret_path, struct atlas_error *error)
{
    int rc = atlas_error_set(error, ATLAS_E_NOT_FOUND, where, "no authority was given");
    struct atlas_span roots = atlas_buf_span(&a->ders);
    struct atlas_span root;
    for (size_t i = 0; rc < 0 && i < a->n && atlas_certificate_next(&roots, &root); i++) {
        struct atlas_buf ders = ATLAS_BUF_INIT;
        if (error != NULL) {
            *error = ATLAS_ERROR_INIT;
        }
        atlas_buf_append(&ders, chain);
        atlas_buf_append(&ders, root);
        rc = atlas_buf_check(&ders, error);
        if (rc >= 0) {
            rc = atlas_pki_check(pki, atlas_buf_span(&ders), &a->pins[i], 1, at, 0, "certificate", ret_path, error);
        }
        if (rc >= 0) {
            ret_path->pin = i;
        }
        atlas_buf_release(&ders);
    }
    return rc;
}

/* A root that the caller gives stands instead of the policy's, and never for hardware. */
static int read_authorities(const struct atlas_tpm_run *run, struct authorities *a, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_tpm_voucher voucher;
    if (run->request->anchor.p != NULL) {
        return add_authority(a, run->request->anchor, false, error);
    }
    for (size_t i = 0; atlas_tpm_voucher_at(run->policy->authorities, i, &voucher); i++) {
        ATLAS_TRY(add_authority(a, voucher.certificate, voucher.hardware, error));
    }
out:
    return rc;
}

static int append_chain(const struct atlas_span *certificates, size_t n, struct atlas_buf *ret_ders,
                        struct atlas_error *error)
{
    for (size_t i = 0; i < n; i++) {
        struct atlas_certificate view;
        int rc = atlas_certificate_read(certificates[i], &view, error);
        if (rc < 0) {
            return rc;
        }
        atlas_buf_append(ret_ders, certificates[i]);
    }
    return atlas_buf_check(ret_ders, error);
}

/* The certificate is for this key, and for attesting: another certificate of the same CA may belong to a key that signs
 * whatever it is given. */
static int check_leaf(struct atlas_tpm_run *run, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_certificate view;
    struct atlas_span leaf = run->evidence.chain[0];
    ATLAS_TRY(atlas_certificate_read(leaf, &view, error));
    if (!atlas_span_equal(view.spki, atlas_buf_span(&run->spki))) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_MISMATCH, where, "the certificate is for another key"));
    }
    ATLAS_TRY(atlas_tpm_usage_check(leaf, ATLAS_USAGE_AK, error));
    ATLAS_TRY(atlas_tpm_names_read(leaf, &run->names, error));
out:
    return rc;
}

static void note_path(struct atlas_tpm_run *run, const struct authorities *a, const struct atlas_pki_path *path)
{
    run->result->trust = ATLAS_TRUST_CERTIFIED;
    run->result->anchor_sha256 = path->root;
    run->result->collateral_from = path->not_before;
    run->result->collateral_until = path->not_after;
    run->uncovered = path->uncovered != 0;
    run->labelled = a->hardware[path->pin];
    snprintf(run->result->anchor, sizeof run->result->anchor, "%s",
             run->request->anchor.p != NULL ? "given by the caller" : a->pins[path->pin].name);
}

static int check_certificate(struct atlas_tpm_run *run, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct authorities a = {.n = 0};
    struct atlas_buf ders = ATLAS_BUF_INIT;
    struct atlas_pki_path path;
    ATLAS_TRY(read_authorities(run, &a, error));
    if (a.n == 0) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_NOT_FOUND, where,
                                  "self-asserted: the policy names neither this key nor the CA of its certificate"));
    }
    ATLAS_TRY(append_chain(run->evidence.chain, run->evidence.n_chain, &ders, error));
    ATLAS_TRY(find_path(run->request->collateral->pki, &a, atlas_buf_span(&ders), run->request->at, &path, error));
    ATLAS_TRY(check_leaf(run, error));
    note_path(run, &a, &path);
out:
    atlas_buf_release(&a.ders);
    atlas_buf_release(&ders);
    return rc;
}

/* -------------------------------------------------------------------------------------------- endorsement key */

int atlas_tpm_endorsement_check(const struct atlas_span *chain, size_t n, struct atlas_span roots, int64_t at,
                                struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct authorities a = {.n = 0};
    struct atlas_buf ders = ATLAS_BUF_INIT;
    struct atlas_pki *pki = NULL;
    struct atlas_pki_path path;
    if (n == 0) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "no certificate");
    }
    ATLAS_TRY(atlas_pki_new(&pki, error));
    ATLAS_TRY(add_authority(&a, roots, true, error));
    ATLAS_TRY(append_chain(chain, n, &ders, error));
    ATLAS_TRY(find_path(pki, &a, atlas_buf_span(&ders), at, &path, error));
    ATLAS_TRY(atlas_tpm_usage_check(chain[0], ATLAS_USAGE_EK, error));
out:
    atlas_pki_free(pki);
    atlas_buf_release(&ders);
    atlas_buf_release(&a.ders);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- together */

#define MAX_TIME 253402300799 /* 9999-12-31T23:59:59Z */

int atlas_tpm_trust_check(struct atlas_tpm_run *run, struct atlas_error *error)
{
    bool found = false;
    if (run->request->at <= 0 || run->request->at > MAX_TIME) {
        return atlas_error_set(error, ATLAS_E_ARG, "at", "not a time between 1970 and 9999");
    }
    if (run->tee) {
        run->result->trust = ATLAS_TRUST_TEE;
        return ATLAS_OK;
    }
    run->result->trust = ATLAS_TRUST_SELF_ASSERTED;
    int rc = find_pin(run, &found, error);
    if (rc < 0 || found) {
        return rc;
    }
    if (run->evidence.n_chain != 0) {
        return check_certificate(run, error);
    }
    return atlas_error_set(error, ATLAS_E_NOT_FOUND, where,
                           "self-asserted: nobody vouches that this key is kept by a TPM; name it in the policy or "
                           "enrol it with a CA (atlas attest enroll)");
}

/* -------------------------------------------------------------------------------------------------- software */

/* Manufacturers of programs in TCG's vendor registry, and what such TPMs call themselves. swtpm's certificates carry
 * IBM's PCI number. A program may lie about this; then it has no certificate of a CA that looked. */
static const char *const programs[] = {"id:00001014", "id:49424D00", "id:4D534654", "id:564D5700",
                                       "swtpm",       "SW ", "vTPM"};

static bool names_program(struct atlas_span text)
{
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        struct atlas_span word = atlas_span_str(programs[i]);
        for (size_t at = 0; at + word.n <= text.n; at++) {
            if (memcmp(text.p + at, word.p, word.n) == 0) {
                return true;
            }
        }
    }
    return false;
}

bool atlas_tpm_is_software(const struct atlas_tpm_run *run)
{
    return names_program(atlas_span_str(run->names.manufacturer)) || names_program(atlas_span_str(run->names.model)) ||
           names_program(run->evidence.manufacturer) || names_program(run->evidence.vendor);
}
