/* attest_collateral.c - what the vendor says, from whatever form it was saved in, and whether it is signed. */
#include <stdlib.h>

#include "base/le.h"
#include "stage/attest_parts.h"

static const char where[] = "collateral";

int atlas_collateral_new(struct atlas_collateral **ret_collateral, struct atlas_error *error)
{
    struct atlas_collateral *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, where, "out of memory");
    }
    int rc = atlas_pki_new(&c->pki, error);
    if (rc < 0) {
        atlas_collateral_free(c);
        return rc;
    }
    *ret_collateral = c;
    return ATLAS_OK;
}

static void release_document(struct atlas_signed_document *document)
{
    atlas_buf_release(&document->bytes);
    atlas_buf_release(&document->chain);
}

void atlas_collateral_free(struct atlas_collateral *c)
{
    if (c != NULL) {
        atlas_pki_free(c->pki);
        release_document(&c->tcb_info);
        release_document(&c->qe_identity);
        atlas_buf_release(&c->pck_chain);
        atlas_buf_release(&c->certificates);
        atlas_buf_release(&c->alternate);
        atlas_tcb_info_release(&c->info);
        atlas_qe_identity_release(&c->identity);
        free(c);
    }
}

/* --------------------------------------------------------------------------------------- keeping the parts */

/* Once, or the same again. */
static int keep(struct atlas_buf *b, struct atlas_span bytes, const char *what, struct atlas_error *error)
{
    if (b->n != 0) {
        return atlas_span_equal(atlas_buf_span(b), bytes)
                   ? ATLAS_OK
                   : atlas_error_set(error, ATLAS_E_X509, where, "two different documents: %s", what);
    }
    atlas_buf_append(b, bytes);
    return atlas_buf_check(b, error);
}

static int keep_document(struct atlas_signed_document *document, struct atlas_span body, const uint8_t signature[64],
                         const char *what, struct atlas_error *error)
{
    bool first = document->bytes.n == 0;
    int rc = body.n != 0 ? keep(&document->bytes, body, what, error)
                         : atlas_error_set(error, ATLAS_E_JSON, what, "it is empty");
    if (rc >= 0 && first) {
        memcpy(document->signature, signature, 64);
    }
    if (rc >= 0 && memcmp(document->signature, signature, 64) != 0) {
        rc = atlas_error_set(error, ATLAS_E_X509, where, "two different signatures: %s", what);
    }
    return rc;
}

/* ----------------------------------------------------------------------------------------------- certificates */

#define SIGNER_NAME "SGX TCB Signing"
#define PCK_NAME "SGX PCK Certificate"

/* Does the first certificate's common name hold this phrase? The way Intel's library tells roles apart. */
static int leaf_is(struct atlas_span ders, const char *phrase, bool *ret_is, struct atlas_error *error)
{
    struct atlas_span der;
    struct atlas_certificate view;
    if (!atlas_certificate_next(&ders, &der)) {
        return atlas_error_set(error, ATLAS_E_X509, where, "not a DER certificate");
    }
    int rc = atlas_certificate_read(der, &view, error);
    if (rc >= 0) {
        *ret_is = strstr(view.common_name, phrase) != NULL;
    }
    return rc;
}

/* A chain of unknown purpose. One TCB signing chain is for both documents; a second is kept for the one it fits. */
static int sort_certificates(struct atlas_collateral *c, struct atlas_span ders, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    bool signer = false;
    bool pck = false;
    ATLAS_TRY(leaf_is(ders, SIGNER_NAME, &signer, error));
    ATLAS_TRY(leaf_is(ders, PCK_NAME, &pck, error));
    if (pck) {
        ATLAS_TRY(keep(&c->pck_chain, ders, "PCK certificate chain", error));
    } else if (!signer) {
        atlas_buf_append(&c->certificates, ders);
        ATLAS_TRY(atlas_buf_check(&c->certificates, error));
    } else if (c->tcb_info.chain.n == 0 && c->qe_identity.chain.n == 0) {
        ATLAS_TRY(keep(&c->tcb_info.chain, ders, "TCB signing chain", error));
        ATLAS_TRY(keep(&c->qe_identity.chain, ders, "TCB signing chain", error));
    } else if (!atlas_span_equal(atlas_buf_span(&c->tcb_info.chain), ders) &&
               !atlas_span_equal(atlas_buf_span(&c->qe_identity.chain), ders)) {
        ATLAS_TRY(keep(&c->alternate, ders, "a third TCB signing chain", error));
    }
out:
    return rc;
}

/* HTTP headers of the PCS carry PEM percent-encoded (RFC 3986). */
static int percent_decode(struct atlas_span text, struct atlas_buf *ret_text, struct atlas_error *error)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '%' || text.n - i < 3) {
            atlas_buf_append_u8(ret_text, text.p[i]);
            continue;
        }
        const char *high = memchr(digits, text.p[i + 1] | 0x20, 16);
        const char *low = memchr(digits, text.p[i + 2] | 0x20, 16);
        if (high == NULL || low == NULL) {
            return atlas_error_set(error, ATLAS_E_X509, where, "a percent sign without two hexadecimal digits");
        }
        atlas_buf_append_u8(ret_text, (uint8_t)((high - digits) << 4 | (low - digits)));
        i += 2;
    }
    return atlas_buf_check(ret_text, error);
}

/* PEM text, perhaps percent-encoded, perhaps with a NUL behind it, as DER certificates. */
static int pem_to_der(struct atlas_span text, struct atlas_buf *ret_ders, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_buf decoded = ATLAS_BUF_INIT;
    while (text.n != 0 && text.p[text.n - 1] == '\0') {
        text.n--;
    }
    if (text.n != 0 && memchr(text.p, '%', text.n) != NULL) {
        ATLAS_TRY(percent_decode(text, &decoded, error));
        text = atlas_buf_span(&decoded);
    }
    ATLAS_TRY(atlas_certificate_read_pem(text, ret_ders, error));
out:
    atlas_buf_release(&decoded);
    return rc;
}

/* A chain whose purpose is known. */
static int keep_pem(struct atlas_buf *chain, struct atlas_span text, const char *what, struct atlas_error *error)
{
    struct atlas_buf ders = ATLAS_BUF_INIT;
    int rc = pem_to_der(text, &ders, error);
    if (rc >= 0) {
        rc = keep(chain, atlas_buf_span(&ders), what, error);
    }
    atlas_buf_release(&ders);
    return rc;
}

static int add_pem_certificates(struct atlas_collateral *c, struct atlas_span text, struct atlas_error *error)
{
    struct atlas_buf ders = ATLAS_BUF_INIT;
    int rc = pem_to_der(text, &ders, error);
    if (rc >= 0) {
        rc = sort_certificates(c, atlas_buf_span(&ders), error);
    }
    atlas_buf_release(&ders);
    return rc;
}

static int add_der(struct atlas_collateral *c, struct atlas_span der, struct atlas_error *error)
{
    struct atlas_certificate view;
    struct atlas_error ignored = ATLAS_ERROR_INIT;
    int rc = atlas_certificate_read(der, &view, &ignored);
    if (rc == ATLAS_E_X509) {
        return atlas_pki_add_crls(c->pki, der, error);
    }
    return rc < 0 ? atlas_error_set(error, rc, where, "%s", ignored.text) : sort_certificates(c, der, error);
}

/* ------------------------------------------------------------------------------------------- signed documents */

/* A string of 128 hexadecimal digits among the members. */
static int take_signature(const struct atlas_json *document, const char *member, uint8_t ret_signature[64],
                          struct atlas_error *error)
{
    if (!atlas_json_hex(atlas_json_member(document, member), ret_signature, 64)) {
        return atlas_error_set(error, ATLAS_E_JSON, where, "member \"%s\" is not a signature of 64 bytes", member);
    }
    return ATLAS_OK;
}

/* The body of a PCS answer: { "<member>": <signed bytes>, "signature": "<hex>" }. */
static int add_pcs_body(struct atlas_signed_document *document, struct atlas_span body, const char *member,
                        struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_json *parsed = NULL;
    struct atlas_span value;
    uint8_t signature[64];
    ATLAS_TRY(atlas_json_find(body, member, where, &value, error));
    ATLAS_TRY(atlas_json_new(body, where, &parsed, error));
    ATLAS_TRY(take_signature(parsed, "signature", signature, error));
    ATLAS_TRY(keep_document(document, value, signature, member, error));
out:
    atlas_json_free(parsed);
    return rc;
}

static bool has_member(struct atlas_span document, const char *member)
{
    struct atlas_span value;
    return atlas_json_find(document, member, where, &value, NULL) == ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------ dcap-qvl's bundle */

struct bundle {
    struct atlas_span crl_chain;
    struct atlas_span root_crl;
    struct atlas_span pck_crl;
    struct atlas_span tcb_chain;
    struct atlas_span tcb_info;
    struct atlas_span qe_chain;
    struct atlas_span qe_identity;
    struct atlas_span pck_chain;
};

static const struct atlas_json_field bundle_fields[] = {
    ATLAS_JSON_REQUIRED(bundle, "pck_crl_issuer_chain", TEXT, crl_chain),
    ATLAS_JSON_REQUIRED(bundle, "root_ca_crl", TEXT, root_crl),
    ATLAS_JSON_REQUIRED(bundle, "pck_crl", TEXT, pck_crl),
    ATLAS_JSON_REQUIRED(bundle, "tcb_info_issuer_chain", TEXT, tcb_chain),
    ATLAS_JSON_REQUIRED(bundle, "tcb_info", TEXT, tcb_info),
    ATLAS_JSON_REQUIRED(bundle, "qe_identity_issuer_chain", TEXT, qe_chain),
    ATLAS_JSON_REQUIRED(bundle, "qe_identity", TEXT, qe_identity),
    ATLAS_JSON_OPTIONAL(bundle, "pck_certificate_chain", TEXT, pck_chain),
};

#define BUNDLE_FIELDS (sizeof bundle_fields / sizeof bundle_fields[0])

/* The chain of the CRL's issuer is read, so that a damaged one is noticed; the CRL is verified with the PCK's own
 * issuer. */
static int add_bundle_certificates(struct atlas_collateral *c, const struct bundle *b, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    ATLAS_TRY(add_pem_certificates(c, b->crl_chain, error));
    ATLAS_TRY(keep_pem(&c->tcb_info.chain, b->tcb_chain, "TCB info issuer chain", error));
    ATLAS_TRY(keep_pem(&c->qe_identity.chain, b->qe_chain, "QE identity issuer chain", error));
    if (b->pck_chain.p != NULL) {
        ATLAS_TRY(keep_pem(&c->pck_chain, b->pck_chain, "PCK certificate chain", error));
    }
    ATLAS_TRY(atlas_pki_add_crls(c->pki, b->root_crl, error));
    ATLAS_TRY(atlas_pki_add_crls(c->pki, b->pck_crl, error));
out:
    return rc;
}

static int add_bundle(struct atlas_collateral *c, struct atlas_span text, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_json *parsed = NULL;
    struct bundle b = {0};
    uint8_t signature[64];
    ATLAS_TRY(atlas_json_new(text, where, &parsed, error));
    ATLAS_TRY(atlas_json_read(parsed, bundle_fields, BUNDLE_FIELDS, false, where, &b, error));
    ATLAS_TRY(add_bundle_certificates(c, &b, error));
    ATLAS_TRY(take_signature(parsed, "tcb_info_signature", signature, error));
    ATLAS_TRY(keep_document(&c->tcb_info, b.tcb_info, signature, "TCB info", error));
    ATLAS_TRY(take_signature(parsed, "qe_identity_signature", signature, error));
    ATLAS_TRY(keep_document(&c->qe_identity, b.qe_identity, signature, "QE identity", error));
out:
    atlas_json_free(parsed);
    return rc;
}

static int add_json(struct atlas_collateral *c, struct atlas_span text, struct atlas_error *error)
{
    int rc = atlas_json_check(text, where, error);
    if (rc < 0) {
        return rc;
    }
    if (has_member(text, "tcbInfo")) {
        return add_pcs_body(&c->tcb_info, text, "tcbInfo", error);
    }
    if (has_member(text, "enclaveIdentity")) {
        return add_pcs_body(&c->qe_identity, text, "enclaveIdentity", error);
    }
    if (has_member(text, "tcb_info")) {
        return add_bundle(c, text, error);
    }
    return atlas_error_set(error, ATLAS_E_JSON, where, "neither a bundle nor TCB info nor QE identity");
}

/* ------------------------------------------------------------------------------------- Intel's structure dump */

/* sgx_ql_qve_collateral_t as it lies in memory on x86-64: version, TEE type, seven {pointer, size}, then the seven
 * blobs, each with the NUL that its size counts. Of a pair only the lower half of the size means anything: the rest is
 * padding. */
#define DUMP_BLOBS 7
#define DUMP_HEADER (8 + DUMP_BLOBS * 16)

static bool is_dump(struct atlas_span bytes)
{
    if (bytes.n < DUMP_HEADER) {
        return false;
    }
    uint32_t version = atlas_le32(bytes.p);
    return (version == 3 || version == 4 || version == 0x00010003) && atlas_le32(bytes.p + 4) == 0x81;
}

static int take_blobs(struct atlas_span bytes, struct atlas_span ret_blobs[DUMP_BLOBS], struct atlas_error *error)
{
    struct atlas_span rest = atlas_span_sub(bytes, DUMP_HEADER, bytes.n - DUMP_HEADER);
    for (size_t i = 0; i < DUMP_BLOBS; i++) {
        uint32_t size = atlas_le32(bytes.p + 8 + 16 * i + 8);
        if (!atlas_span_take(&rest, size, &ret_blobs[i])) {
            return atlas_error_at(error, ATLAS_E_EVIDENCE, bytes.n - rest.n, where, "part %zu of the dump is cut off",
                                  i + 1);
        }
    }
    return rest.n == 0 ? ATLAS_OK
                       : atlas_error_at(error, ATLAS_E_EVIDENCE, bytes.n - rest.n, where, "bytes after the dump");
}

static struct atlas_span text_of(struct atlas_span blob)
{
    while (blob.n != 0 && blob.p[blob.n - 1] == '\0') {
        blob.n--;
    }
    return blob;
}

static int add_dump(struct atlas_collateral *c, struct atlas_span bytes, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_span blobs[DUMP_BLOBS];
    ATLAS_TRY(take_blobs(bytes, blobs, error));
    ATLAS_TRY(add_pem_certificates(c, blobs[0], error));
    ATLAS_TRY(atlas_pki_add_crls(c->pki, blobs[1], error));
    ATLAS_TRY(atlas_pki_add_crls(c->pki, blobs[2], error));
    ATLAS_TRY(keep_pem(&c->tcb_info.chain, blobs[3], "TCB info issuer chain", error));
    ATLAS_TRY(add_pcs_body(&c->tcb_info, text_of(blobs[4]), "tcbInfo", error));
    ATLAS_TRY(keep_pem(&c->qe_identity.chain, blobs[5], "QE identity issuer chain", error));
    ATLAS_TRY(add_pcs_body(&c->qe_identity, text_of(blobs[6]), "enclaveIdentity", error));
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------ what is it */

static bool contains(struct atlas_span text, const char *needle)
{
    return memmem(text.p, text.n, needle, strlen(needle)) != NULL;
}

static int add(struct atlas_collateral *c, struct atlas_span bytes, struct atlas_error *error)
{
    struct atlas_span text = bytes;
    if (is_dump(bytes)) {
        return add_dump(c, bytes, error);
    }
    while (text.n != 0 && (text.p[0] == ' ' || text.p[0] == '\t' || text.p[0] == '\r' || text.p[0] == '\n')) {
        text = atlas_span_sub(text, 1, text.n - 1);
    }
    if (text.n == 0) {
        return atlas_error_set(error, ATLAS_E_EVIDENCE, where, "the file is empty");
    }
    if (text.p[0] == '{') {
        return add_json(c, text, error);
    }
    if (contains(text, "BEGIN CERTIFICATE") || contains(text, "BEGIN%20CERTIFICATE")) {
        return add_pem_certificates(c, text, error);
    }
    if (text.p[0] == 0x30 && text.n > 1 && text.p[1] >= 0x80) {
        return add_der(c, text, error);
    }
    return atlas_pki_add_crls(c->pki, text, error);
}

int atlas_collateral_add(struct atlas_collateral *c, struct atlas_span bytes, struct atlas_error *error)
{
    if (bytes.n > ATLAS_MAX_COLLATERAL_BYTES - c->bytes) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "more than %u bytes", ATLAS_MAX_COLLATERAL_BYTES);
    }
    c->bytes += bytes.n;
    c->tcb_info.verified = false;
    c->qe_identity.verified = false;
    return add(c, bytes, error);
}

/* ---------------------------------------------------------------------------------------------- verification */

static int signer_key(struct atlas_span chain, struct atlas_certificate *ret_signer, struct atlas_error *error)
{
    struct atlas_span der;
    if (!atlas_certificate_next(&chain, &der)) {
        return atlas_error_set(error, ATLAS_E_NOT_FOUND, where, "the chain of the TCB signer is missing");
    }
    return atlas_certificate_read(der, ret_signer, error);
}

static int verify_with(const struct atlas_signed_document *document, struct atlas_span chain, struct atlas_error *error)
{
    struct atlas_certificate signer;
    int rc = signer_key(chain, &signer, error);
    if (rc >= 0) {
        rc = atlas_signature_verify(ATLAS_COSE_ES256, signer.spki, atlas_buf_span(&document->bytes),
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
static bool known_good(const struct atlas_signed_document *document, const struct atlas_anchors *anchors, int64_t at)
{
    return document->verified && trusted(anchors, &document->verified_root) && at >= document->path.not_before &&
           at <= document->path.not_after && at >= document->path.crl_this_update;
}

int atlas_document_signer_check(struct atlas_collateral *c, struct atlas_signed_document *document,
                                const struct atlas_anchors *anchors, int64_t at, const char *name,
                                struct atlas_error *error)
{
    int rc = ATLAS_OK;
    bool named = false;
    struct atlas_pki_path path;
    const struct atlas_pin *pins = anchors->vendor ? anchors->pins : &anchors->own;
    if (document->bytes.n == 0) {
        return atlas_error_set(error, ATLAS_E_NOT_FOUND, name, "the collateral has no %s", name);
    }
    if (document->chain.n == 0) {
        return atlas_error_set(error, ATLAS_E_NOT_FOUND, name, "the collateral has no signer of the %s", name);
    }
    if (known_good(document, anchors, at)) {
        return ATLAS_OK;
    }
    document->verified = false;
    ATLAS_TRY(choose_chain(c, document, error));
    ATLAS_TRY(leaf_is(atlas_buf_span(&document->chain), SIGNER_NAME, &named, error));
    if (!named) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_CREDENTIAL, name, "the signer is not named \"%s\"", SIGNER_NAME));
    }
    ATLAS_TRY(atlas_pki_check(c->pki, atlas_buf_span(&document->chain), pins, anchors->n, at,
                              ATLAS_PKI_STRICT | ATLAS_PKI_REVOCATION, name, &path, error));
    document->path = path;
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
        document->verified_root = document->path.root;
    }
    return rc;
}

/* --------------------------------------------------------------------------------------------------- pools */

static int issued_other(struct atlas_span all, const struct atlas_certificate *one, bool *ret_issued,
                        struct atlas_error *error)
{
    struct atlas_span der;
    struct atlas_certificate other;
    *ret_issued = false;
    while (atlas_certificate_next(&all, &der)) {
        int rc = atlas_certificate_read(der, &other, error);
        if (rc < 0) {
            return rc;
        }
        if (strcmp(one->subject, other.issuer) == 0) {
            *ret_issued = true;
        }
    }
    return ATLAS_OK;
}

#define MAX_POOL 32

int atlas_pool_chain(const struct atlas_buf *certificates, const char *name, struct atlas_buf *ret_chain,
                     struct atlas_span *ret_leaf, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_span rest = atlas_buf_span(certificates);
    struct atlas_span leaf = ATLAS_SPAN_NONE;
    struct atlas_span der;
    struct atlas_buf others = ATLAS_BUF_INIT;
    for (size_t n = 0; atlas_certificate_next(&rest, &der); n++) {
        struct atlas_certificate view;
        bool issued;
        if (n == MAX_POOL) {
            ATLAS_TRY(atlas_error_set(error, ATLAS_E_LIMIT, name, "more than %d certificates", MAX_POOL));
        }
        ATLAS_TRY(atlas_certificate_read(der, &view, error));
        ATLAS_TRY(issued_other(atlas_buf_span(certificates), &view, &issued, error));
        if (issued) {
            atlas_buf_append(&others, der);
        } else if (leaf.p == NULL || atlas_span_equal(leaf, der)) {
            leaf = der;
        } else {
            ATLAS_TRY(
                atlas_error_set(error, ATLAS_E_CHAIN, name, "the collateral holds more than one device certificate"));
        }
    }
    if (leaf.p == NULL) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_NOT_FOUND, name, "the collateral holds no certificate of the device"));
    }
    atlas_buf_append(ret_chain, leaf);
    atlas_buf_append(ret_chain, atlas_buf_span(&others));
    ATLAS_TRY(atlas_buf_check(ret_chain, error));
    *ret_leaf = atlas_span_sub(atlas_buf_span(ret_chain), 0, leaf.n);
out:
    atlas_buf_release(&others);
    return rc;
}
