/* attest_trust.c - are the documents and chains of the collateral signed by whom they must be, at this time? What was
 * verified once is remembered with the collateral: signatures do not depend on time; the windows are compared each
 * time. */
#include "stage/attest_parts.h"

static const char where[] = "collateral";

int atlas_leaf_is(struct atlas_span ders, const char *phrase, bool *ret_is, struct atlas_error *error)
{
    struct atlas_span der;
    struct atlas_outline outline;
    if (!atlas_certificate_next(&ders, &der)) {
        return atlas_error_set(error, ATLAS_E_X509, where, "not a DER certificate");
    }
    int rc = atlas_outline_read(der, &outline, error);
    if (rc >= 0) {
        *ret_is = atlas_name_holds(outline.subject, phrase);
    }
    return rc;
}

static int verify_with(const struct atlas_signed_document *document, struct atlas_span chain, struct atlas_error *error)
{
    struct atlas_span der = ATLAS_SPAN_NONE;
    struct atlas_outline signer;
    (void)atlas_certificate_next(&chain, &der);
    int rc = atlas_outline_read(der, &signer, error);
    if (rc >= 0) {
        rc = atlas_p256_verify(signer.spki, atlas_buf_span(&document->bytes),
                               atlas_span_of(document->signature, sizeof document->signature), error);
    }
    return rc;
}

/* Two signing chains among raw files: this document's is the one whose key made its signature. */
static int choose_chain(const struct atlas_collateral *c, struct atlas_signed_document *document,
                        struct atlas_error *error)
{
    if (c->alternate.n == 0 || verify_with(document, atlas_buf_span(&document->chain), NULL) == ATLAS_OK ||
        verify_with(document, atlas_buf_span(&c->alternate), NULL) != ATLAS_OK) {
        return ATLAS_OK;
    }
    atlas_buf_clear(&document->chain);
    atlas_buf_append(&document->chain, atlas_buf_span(&c->alternate));
    return atlas_buf_check(&document->chain, error);
}

static bool trusted(const struct atlas_anchors *anchors, const struct atlas_digest *root)
{
    const struct atlas_pin *pins = anchors->vendor ? anchors->pins : &anchors->own;
    for (size_t i = 0; i < anchors->n; i++) {
        if (root->alg == ATLAS_SHA256 && memcmp(pins[i].sha256, root->b, 32) == 0) {
            return true;
        }
    }
    return false;
}

/* Verified before under an anchor of today, and today lies in the same windows: nothing could come out differently. */
static bool still_good(const struct atlas_pki_path *path, const struct atlas_anchors *anchors, int64_t at)
{
    return trusted(anchors, &path->root) && at >= path->not_before && at <= path->not_after &&
           at >= path->crl_this_update;
}

/* Both documents usually come with one and the same chain. */
static bool same_chain(const struct atlas_signed_document *a, const struct atlas_signed_document *b)
{
    return atlas_span_equal(atlas_buf_span(&a->chain), atlas_buf_span(&b->chain));
}

static int check_signer_chain(struct atlas_collateral *c, struct atlas_signed_document *document,
                              const struct atlas_anchors *anchors, int64_t at, const char *name,
                              struct atlas_error *error)
{
    const struct atlas_pin *pins = anchors->vendor ? anchors->pins : &anchors->own;
    const struct atlas_signed_document *other = document == &c->tcb_info ? &c->qe_identity : &c->tcb_info;
    if (other->path_known && same_chain(document, other) && still_good(&other->path, anchors, at)) {
        document->path = other->path;
        return ATLAS_OK;
    }
    return atlas_pki_check(c->pki, atlas_buf_span(&document->chain), pins, anchors->n, at,
                           ATLAS_PKI_STRICT | ATLAS_PKI_REVOCATION, name, &document->path, error);
}

int atlas_document_signer_check(struct atlas_collateral *c, struct atlas_signed_document *document,
                                const struct atlas_anchors *anchors, int64_t at, const char *name,
                                struct atlas_error *error)
{
    int rc = ATLAS_OK;
    bool named = false;
    if (document->bytes.n == 0) {
        return atlas_error_set(error, ATLAS_E_NOT_FOUND, name, "the collateral has no %s", name);
    }
    if (document->chain.n == 0) {
        return atlas_error_set(error, ATLAS_E_NOT_FOUND, name, "the collateral has no signer of the %s", name);
    }
    if (document->path_known && still_good(&document->path, anchors, at)) {
        return ATLAS_OK;
    }
    document->path_known = false;
    document->verified = false;
    ATLAS_TRY(choose_chain(c, document, error));
    ATLAS_TRY(atlas_leaf_is(atlas_buf_span(&document->chain), ATLAS_TCB_SIGNER_NAME, &named, error));
    if (!named) {
        ATLAS_TRY(
            atlas_error_set(error, ATLAS_E_CREDENTIAL, name, "the signer is not named \"%s\"", ATLAS_TCB_SIGNER_NAME));
    }
    ATLAS_TRY(check_signer_chain(c, document, anchors, at, name, error));
    document->path_known = true;
out:
    return rc;
}

int atlas_document_signature_check(struct atlas_signed_document *document, const char *name, struct atlas_error *error)
{
    if (document->verified) {
        return ATLAS_OK;
    }
    int rc = verify_with(document, atlas_buf_span(&document->chain), error);
    if (rc == ATLAS_E_SIGNATURE && error != NULL) {
        error->code = 0;
        rc = atlas_error_set(error, rc, name, "the signature of the %s is not by its signer over these bytes", name);
    }
    if (rc >= 0) {
        document->verified = true;
    }
    return rc;
}

/* --------------------------------------------------------------------------------------------------- pools */

#define MAX_POOL 32

struct pool {
    size_t n;
    struct atlas_span der[MAX_POOL];
    struct atlas_outline outline[MAX_POOL];
};

static int read_pool(struct atlas_span ders, const char *name, struct pool *pool, struct atlas_error *error)
{
    struct atlas_span der;
    while (atlas_certificate_next(&ders, &der)) {
        if (pool->n == MAX_POOL) {
            return atlas_error_set(error, ATLAS_E_LIMIT, name, "more than %d certificates", MAX_POOL);
        }
        int rc = atlas_outline_read(der, &pool->outline[pool->n], error);
        if (rc < 0) {
            return rc;
        }
        pool->der[pool->n++] = der;
    }
    return ATLAS_OK;
}

static bool issued_another(const struct pool *pool, size_t one)
{
    for (size_t i = 0; i < pool->n; i++) {
        if (atlas_span_equal(pool->outline[one].subject, pool->outline[i].issuer)) {
            return true;
        }
    }
    return false;
}

static int find_leaf(const struct pool *pool, const char *name, size_t *ret_leaf, struct atlas_error *error)
{
    size_t leaf = pool->n;
    for (size_t i = 0; i < pool->n; i++) {
        if (issued_another(pool, i) || (leaf < pool->n && atlas_span_equal(pool->der[leaf], pool->der[i]))) {
            continue;
        }
        if (leaf < pool->n) {
            return atlas_error_set(error, ATLAS_E_CHAIN, name, "the collateral holds more than one device certificate");
        }
        leaf = i;
    }
    if (leaf == pool->n) {
        return atlas_error_set(error, ATLAS_E_NOT_FOUND, name, "the collateral holds no certificate of the device");
    }
    *ret_leaf = leaf;
    return ATLAS_OK;
}

int atlas_pool_chain(const struct atlas_buf *certificates, const char *name, struct atlas_buf *ret_chain,
                     struct atlas_span *ret_leaf, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    size_t leaf = 0;
    struct pool pool = {.n = 0};
    ATLAS_TRY(read_pool(atlas_buf_span(certificates), name, &pool, error));
    ATLAS_TRY(find_leaf(&pool, name, &leaf, error));
    atlas_buf_append(ret_chain, pool.der[leaf]);
    for (size_t i = 0; i < pool.n; i++) {
        if (!atlas_span_equal(pool.der[i], pool.der[leaf])) {
            atlas_buf_append(ret_chain, pool.der[i]);
        }
    }
    ATLAS_TRY(atlas_buf_check(ret_chain, error));
    *ret_leaf = atlas_span_sub(atlas_buf_span(ret_chain), 0, pool.der[leaf].n);
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------- device chains */

int atlas_device_chain_check(struct atlas_collateral *c, struct atlas_span ders, const struct atlas_anchors *anchors,
                             int64_t at, unsigned flags, const char *name, struct atlas_pki_path *ret_path,
                             struct atlas_error *error)
{
    struct atlas_known_chain *known = &c->known;
    const struct atlas_pin *pins = anchors->vendor ? anchors->pins : &anchors->own;
    if (known->verified && known->flags == flags && still_good(&known->path, anchors, at) &&
        atlas_span_equal(atlas_buf_span(&known->ders), ders)) {
        *ret_path = known->path;
        return ATLAS_OK;
    }
    int rc = atlas_pki_check(c->pki, ders, pins, anchors->n, at, flags, name, ret_path, error);
    if (rc >= 0) {
        known->verified = false;
        atlas_buf_clear(&known->ders);
        atlas_buf_append(&known->ders, ders);
        known->path = *ret_path;
        known->flags = flags;
        rc = atlas_buf_check(&known->ders, error);
        known->verified = rc >= 0;
    }
    return rc;
}
