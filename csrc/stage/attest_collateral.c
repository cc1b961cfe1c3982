/* attest_collateral.c - what the vendor says, from whatever form it was saved in. */
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
        atlas_buf_release(&c->known.ders);
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

/* A chain of unknown purpose. One TCB signing chain is for both documents; a second is kept for the one it fits. */
static int sort_certificates(struct atlas_collateral *c, struct atlas_span ders, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    bool signer = false;
    bool pck = false;
    ATLAS_TRY(atlas_leaf_is(ders, ATLAS_TCB_SIGNER_NAME, &signer, error));
    ATLAS_TRY(atlas_leaf_is(ders, ATLAS_PCK_NAME, &pck, error));
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
    ATLAS_TRY(atlas_pem_split(text, ret_ders, error));
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
    struct atlas_outline outline;
    if (atlas_outline_read(der, &outline, NULL) != ATLAS_OK) {
        return atlas_pki_add_crls(c->pki, der, error);
    }
    return sort_certificates(c, der, error);
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
    c->tcb_info.verified = c->tcb_info.path_known = false; /* other CRLs, other answers */
    c->qe_identity.verified = c->qe_identity.path_known = false;
    c->known.verified = false;
    return add(c, bytes, error);
}
