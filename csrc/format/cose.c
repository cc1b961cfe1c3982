#include "format/cose.h"

/* RFC 9052, 2 and 3.1; RFC 9360, 2. */
enum { TAG_SIGN1 = 18 };
enum { HEADER_ALG = 1, HEADER_CRIT = 2, HEADER_X5CHAIN = 33 };

/* Nobody needs more; both buckets are compared pairwise. */
#define MAX_HEADERS 64

#define WHERE "signature"

/* ---------------------------------------------------------------------------------------------- headers */

/* One header of a bucket: its encoded label and its encoded value. */
struct header {
    struct atlas_span label;
    struct atlas_span value;
};

static int take_header(struct atlas_cbor *c, struct header *ret_header)
{
    struct header header;
    enum atlas_cbor_type type = atlas_cbor_peek(c);
    if (type != ATLAS_CBOR_UINT && type != ATLAS_CBOR_NEGINT && type != ATLAS_CBOR_TEXT) {
        return atlas_cbor_refuse(c, c->misfit, "a header label that is neither an integer nor text");
    }
    int rc = atlas_cbor_take_raw(c, &header.label);
    if (rc == ATLAS_OK) {
        rc = atlas_cbor_take_raw(c, &header.value);
    }
    if (rc == ATLAS_OK) {
        *ret_header = header;
    }
    return rc;
}

/* The encoded forms of the labels that matter; shortest heads make them the only ones. */
#define LABEL_ALG ATLAS_LIT("\x01")
#define LABEL_CRIT ATLAS_LIT("\x02")
#define LABEL_X5CHAIN ATLAS_LIT("\x18\x21")
#define LABEL_X5CHAIN_TEXT ATLAS_LIT("\x67x5chain")
#define LABEL_SIGTST ATLAS_LIT("\x66sigTst")
#define LABEL_SIGTST2 ATLAS_LIT("\x67sigTst2")
#define LABEL_RVALS ATLAS_LIT("\x65rVals")
#define LABEL_PAD ATLAS_LIT("\x63pad")
#define LABEL_PAD2 ATLAS_LIT("\x64pad2")

static bool is_x5chain(struct atlas_span label)
{
    return atlas_span_equal(label, LABEL_X5CHAIN) || atlas_span_equal(label, LABEL_X5CHAIN_TEXT);
}

/* RFC 9360, 2: one certificate stands alone, more of them in an array. */
static int read_x5chain(struct atlas_span value, struct atlas_cose_sign1 *sign1, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    atlas_cbor_open(&c, value, WHERE ".x5chain", error);
    c.misfit = ATLAS_E_COSE;
    if (sign1->x5chain.p != NULL) {
        return atlas_cbor_refuse(&c, ATLAS_E_COSE, "there are two");
    }
    bool many = atlas_cbor_peek(&c) == ATLAS_CBOR_ARRAY;
    if (many) {
        ATLAS_TRY(atlas_cbor_enter_array(&c, NULL));
    }
    for (sign1->certificates = 0; atlas_cbor_more(&c); sign1->certificates++) {
        struct atlas_span der;
        if (sign1->certificates == ATLAS_MAX_CERTIFICATES) {
            return atlas_cbor_refuse(&c, ATLAS_E_LIMIT, "more than %d certificates", ATLAS_MAX_CERTIFICATES);
        }
        ATLAS_TRY(atlas_cbor_take_bytes(&c, &der));
        if (der.n == 0) {
            return atlas_cbor_refuse(&c, ATLAS_E_COSE, "an empty certificate");
        }
    }
    if (many && sign1->certificates == 0) {
        return atlas_cbor_refuse(&c, ATLAS_E_COSE, "is empty");
    }
    sign1->x5chain = value;
    rc = ATLAS_OK;
out:
    return rc;
}

static int read_alg(struct atlas_span value, struct atlas_cose_sign1 *sign1, struct atlas_error *error)
{
    struct atlas_cbor c;
    atlas_cbor_open(&c, value, WHERE ".alg", error);
    c.misfit = ATLAS_E_ALGORITHM;
    return atlas_cbor_take_int(&c, &sign1->alg);
}

static int read_protected_header(const struct header *h, struct atlas_cose_sign1 *sign1, struct atlas_error *error)
{
    if (atlas_span_equal(h->label, LABEL_ALG)) {
        return read_alg(h->value, sign1, error);
    }
    if (is_x5chain(h->label)) {
        return read_x5chain(h->value, sign1, error);
    }
    if (atlas_span_equal(h->label, LABEL_CRIT)) { /* RFC 9052, 3.1: what is critical must be understood */
        return atlas_error_set(error, ATLAS_E_COSE, WHERE ".crit", "critical headers are outside the profile");
    }
    return ATLAS_OK;
}

/* The protected bucket is CBOR inside a byte string: a document of its own. Empty means an empty map. */
static int read_protected(struct atlas_cose_sign1 *sign1, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    uint32_t n;
    bool has_alg = false;
    if (sign1->protected_.n == 0) {
        return atlas_error_set(error, ATLAS_E_COSE, WHERE ".alg", "is not in the protected header");
    }
    ATLAS_TRY(atlas_cbor_init(&c, sign1->protected_, WHERE ".protected", error));
    c.misfit = ATLAS_E_COSE;
    ATLAS_TRY(atlas_cbor_enter_map(&c, &n));
    if (n > MAX_HEADERS) {
        return atlas_cbor_refuse(&c, ATLAS_E_LIMIT, "more than %d headers", MAX_HEADERS);
    }
    while (atlas_cbor_more(&c)) {
        struct header header = {0};
        ATLAS_TRY(take_header(&c, &header));
        ATLAS_TRY(read_protected_header(&header, sign1, error));
        has_alg = has_alg || atlas_span_equal(header.label, LABEL_ALG);
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
    if (!has_alg) {
        return atlas_error_set(error, ATLAS_E_COSE, WHERE ".alg", "is not in the protected header");
    }
    rc = atlas_cbor_finish(&c);
out:
    return rc;
}

/* Is this label among the protected headers? They were read before. */
static bool is_protected(const struct atlas_cose_sign1 *sign1, struct atlas_span label)
{
    struct atlas_cbor c;
    atlas_cbor_open(&c, sign1->protected_, WHERE ".protected", NULL);
    (void)atlas_cbor_enter_map(&c, NULL);
    while (atlas_cbor_more(&c)) {
        struct header header = {0};
        if (take_header(&c, &header) == ATLAS_OK && atlas_span_equal(header.label, label)) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------------------- time-stamps and OCSP */

struct tokens {
    struct atlas_span list;
};

static const struct atlas_cbor_field token_list_fields[] = {ATLAS_CBOR_REQUIRED(tokens, "tstTokens", ARRAY, list)};
static const struct atlas_cbor_field token_fields[] = {ATLAS_CBOR_REQUIRED(tokens, "val", BYTES, list)};
static const struct atlas_cbor_field ocsp_fields[] = {ATLAS_CBOR_OPTIONAL(tokens, "ocspVals", ARRAY, list)};

/* {"tstTokens": [{"val": bstr}]}: C2PA 2.2, 10.3.2.5 allows exactly one. */
static int read_timestamp(struct atlas_span value, const char *where, struct atlas_span *ret_token,
                          struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct tokens all = {0};
    struct tokens token = {0};
    atlas_cbor_open(&c, value, where, error);
    c.misfit = ATLAS_E_COSE;
    ATLAS_TRY(atlas_cbor_read_map(&c, token_list_fields, ATLAS_COUNT(token_list_fields), &all));
    ATLAS_TRY(atlas_cbor_open_list(&c, all.list, where, error));
    c.misfit = ATLAS_E_COSE;
    ATLAS_TRY(atlas_cbor_read_map(&c, token_fields, ATLAS_COUNT(token_fields), &token));
    ATLAS_TRY(atlas_cbor_leave(&c));
    *ret_token = token.list;
out:
    return rc;
}

static int read_ocsp(struct atlas_span value, struct atlas_span *ret_responses, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct tokens all = {0};
    atlas_cbor_open(&c, value, WHERE ".rVals", error);
    c.misfit = ATLAS_E_COSE;
    ATLAS_TRY(atlas_cbor_read_map(&c, ocsp_fields, ATLAS_COUNT(ocsp_fields), &all));
    if (all.list.p == NULL) {
        return ATLAS_OK;
    }
    ATLAS_TRY(atlas_cbor_open_list(&c, all.list, WHERE ".rVals.ocspVals", error));
    c.misfit = ATLAS_E_COSE;
    while (atlas_cbor_more(&c)) {
        struct atlas_span der;
        ATLAS_TRY(atlas_cbor_take_bytes(&c, &der));
    }
    ATLAS_TRY(atlas_cbor_leave(&c));
    *ret_responses = all.list;
out:
    return rc;
}

/* C2PA 2.2, 13.2.4: "pad" and "pad2" hold zeros and nothing else. */
static bool is_padding(const struct header *h)
{
    struct atlas_cbor c;
    struct atlas_span zeros;
    if (!atlas_span_equal(h->label, LABEL_PAD) && !atlas_span_equal(h->label, LABEL_PAD2)) {
        return false;
    }
    atlas_cbor_open(&c, h->value, WHERE ".pad", NULL);
    if (atlas_cbor_take_bytes(&c, &zeros) < 0) {
        return false;
    }
    for (size_t i = 0; i < zeros.n; i++) {
        if (zeros.p[i] != 0) {
            return false;
        }
    }
    return true;
}

static int read_unprotected_header(const struct header *h, struct atlas_cose_sign1 *sign1, struct atlas_error *error)
{
    if (is_x5chain(h->label)) {
        return atlas_error_set(error, ATLAS_E_COSE, WHERE ".x5chain", "is not protected");
    }
    if (atlas_span_equal(h->label, LABEL_ALG) || atlas_span_equal(h->label, LABEL_CRIT)) {
        return atlas_error_set(error, ATLAS_E_COSE, WHERE, "alg or crit is not protected");
    }
    if (is_protected(sign1, h->label)) { /* RFC 9052, 3: a label in both buckets is malformed */
        return atlas_error_set(error, ATLAS_E_COSE, WHERE, "one label is both protected and unprotected");
    }
    if (atlas_span_equal(h->label, LABEL_SIGTST2)) {
        return read_timestamp(h->value, WHERE ".sigTst2", &sign1->timestamp, error);
    }
    if (atlas_span_equal(h->label, LABEL_SIGTST)) {
        return read_timestamp(h->value, WHERE ".sigTst", &sign1->timestamp_v1, error);
    }
    if (atlas_span_equal(h->label, LABEL_RVALS)) {
        return read_ocsp(h->value, &sign1->ocsp, error);
    }
    sign1->has_other_unprotected = sign1->has_other_unprotected || !is_padding(h);
    return ATLAS_OK;
}

static int take_unprotected(struct atlas_cbor *c, struct atlas_cose_sign1 *sign1, struct atlas_error *error)
{
    int rc;
    uint32_t n;
    ATLAS_TRY(atlas_cbor_enter_map(c, &n));
    if (n > MAX_HEADERS) {
        return atlas_cbor_refuse(c, ATLAS_E_LIMIT, "more than %d headers", MAX_HEADERS);
    }
    while (atlas_cbor_more(c)) {
        struct header header = {0};
        ATLAS_TRY(take_header(c, &header));
        ATLAS_TRY(read_unprotected_header(&header, sign1, error));
    }
    rc = atlas_cbor_leave(c);
out:
    return rc;
}

/* ---------------------------------------------------------------------------------------------- COSE_Sign1 */

static int take_payload(struct atlas_cbor *c, struct atlas_span *ret_payload)
{
    return atlas_cbor_peek(c) == ATLAS_CBOR_NULL ? atlas_cbor_take_null(c) : atlas_cbor_take_bytes(c, ret_payload);
}

int atlas_cose_read(struct atlas_span bytes, struct atlas_cose_sign1 *ret_sign1, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct atlas_cose_sign1 sign1 = {0};
    uint64_t tag = 0;
    ATLAS_TRY(atlas_cbor_init(&c, bytes, WHERE, error));
    c.misfit = ATLAS_E_COSE;
    ATLAS_TRY(atlas_cbor_take_tag(&c, &tag));
    if (tag != TAG_SIGN1) {
        return atlas_cbor_refuse(&c, ATLAS_E_COSE, "is not tagged as COSE_Sign1");
    }
    ATLAS_TRY(atlas_cbor_enter_array(&c, NULL));
    ATLAS_TRY(atlas_cbor_take_bytes(&c, &sign1.protected_));
    ATLAS_TRY(read_protected(&sign1, error));
    ATLAS_TRY(take_unprotected(&c, &sign1, error));
    ATLAS_TRY(take_payload(&c, &sign1.payload));
    ATLAS_TRY(atlas_cbor_take_bytes(&c, &sign1.signature));
    ATLAS_TRY(atlas_cbor_leave(&c));
    ATLAS_TRY(atlas_cbor_finish(&c));
    *ret_sign1 = sign1;
out:
    return rc;
}

int atlas_cose_claim_signature_read(struct atlas_span bytes, struct atlas_cose_sign1 *ret_sign1,
                                    struct atlas_error *error)
{
    struct atlas_cose_sign1 sign1 = {0};
    int rc = atlas_cose_read(bytes, &sign1, error);
    if (rc < 0) {
        return rc;
    }
    if (sign1.payload.p != NULL) {
        return atlas_error_set(error, ATLAS_E_COSE, WHERE ".payload", "must be nil: the claim is signed where it is");
    }
    if (sign1.x5chain.p == NULL) {
        return atlas_error_set(error, ATLAS_E_COSE, WHERE ".x5chain", "is not in the protected header");
    }
    if (sign1.has_other_unprotected) {
        return atlas_error_set(error, ATLAS_E_COSE, WHERE ".unprotected",
                               "holds what is neither a time-stamp, a revocation response nor padding of zeros");
    }
    if (sign1.signature.n == 0) {
        return atlas_error_set(error, ATLAS_E_COSE, WHERE, "is empty");
    }
    *ret_sign1 = sign1;
    return ATLAS_OK;
}

int atlas_cose_certificate(const struct atlas_cose_sign1 *sign1, size_t i, struct atlas_span *ret_der,
                           struct atlas_error *error)
{
    int rc;
    struct atlas_cbor c;
    struct atlas_span der = ATLAS_SPAN_NONE;
    if (i >= sign1->certificates) {
        return atlas_error_set(error, ATLAS_E_ARG, WHERE ".x5chain", "there is no certificate %zu", i);
    }
    atlas_cbor_open(&c, sign1->x5chain, WHERE ".x5chain", error);
    if (atlas_cbor_peek(&c) == ATLAS_CBOR_ARRAY) {
        ATLAS_TRY(atlas_cbor_enter_array(&c, NULL));
    }
    for (size_t k = 0; k <= i; k++) {
        ATLAS_TRY(atlas_cbor_take_bytes(&c, &der));
    }
    *ret_der = der;
    rc = ATLAS_OK;
out:
    return rc;
}

/* --------------------------------------------------------------------------------- the bytes that are signed */

static void write_structure(struct atlas_buf *b, struct atlas_span context, struct atlas_span protected_,
                            struct atlas_span external_aad, struct atlas_span payload)
{
    atlas_cbor_write_array(b, 4);
    atlas_cbor_write_text(b, context);
    atlas_cbor_write_bytes(b, protected_);
    atlas_cbor_write_bytes(b, external_aad);
    atlas_cbor_write_bytes(b, payload);
}

void atlas_cose_write_sig_structure(struct atlas_buf *b, struct atlas_span protected_, struct atlas_span external_aad,
                                    struct atlas_span payload)
{
    write_structure(b, ATLAS_LIT("Signature1"), protected_, external_aad, payload);
}

void atlas_cose_write_countersignature(struct atlas_buf *b, struct atlas_span protected_, struct atlas_span signature)
{
    struct atlas_buf wrapped = ATLAS_BUF_INIT;
    atlas_cbor_write_bytes(&wrapped, signature);
    b->failed = b->failed || wrapped.failed;
    write_structure(b, ATLAS_LIT("CounterSignature"), protected_, ATLAS_SPAN_NONE, atlas_buf_span(&wrapped));
    atlas_buf_release(&wrapped);
}

void atlas_cose_write_countersignature_v1(struct atlas_buf *b, struct atlas_span protected_, struct atlas_span payload)
{
    write_structure(b, ATLAS_LIT("CounterSignature"), protected_, ATLAS_SPAN_NONE, payload);
}

/* ------------------------------------------------------------------------------------------------- writing */

static void write_x5chain(struct atlas_buf *b, const struct atlas_span *certificates, size_t n)
{
    if (n > 1) {
        atlas_cbor_write_array(b, n);
    }
    for (size_t i = 0; i < n; i++) {
        atlas_cbor_write_bytes(b, certificates[i]);
    }
}

int atlas_cose_write_protected(struct atlas_buf *b, int64_t alg, const struct atlas_span *certificates, size_t n,
                               struct atlas_error *error)
{
    if (n == 0 || n > ATLAS_MAX_CERTIFICATES) {
        return atlas_error_set(error, ATLAS_E_ARG, WHERE ".x5chain", "must hold 1 to %d certificates",
                               ATLAS_MAX_CERTIFICATES);
    }
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    struct atlas_buf *entry = atlas_cbor_map_entry(&m);
    atlas_cbor_write_uint(entry, HEADER_ALG);
    atlas_cbor_write_int(entry, alg);
    entry = atlas_cbor_map_entry(&m);
    atlas_cbor_write_uint(entry, HEADER_X5CHAIN);
    write_x5chain(entry, certificates, n);
    int rc = atlas_cbor_map_write(&m, b, error);
    atlas_cbor_map_release(&m);
    return rc;
}

/* {"tstTokens": [{"val": token}]} as an entry of m. */
static int put_timestamp(struct atlas_cbor_map *m, struct atlas_span token, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor_map list = ATLAS_CBOR_MAP_INIT;
    struct atlas_cbor_map item = ATLAS_CBOR_MAP_INIT;
    struct atlas_buf *tokens = atlas_cbor_map_key(&list, "tstTokens");
    atlas_cbor_write_array(tokens, 1);
    atlas_cbor_map_put_bytes(&item, "val", token);
    ATLAS_TRY(atlas_cbor_map_write(&item, tokens, error));
    ATLAS_TRY(atlas_cbor_map_write(&list, atlas_cbor_map_key(m, "sigTst2"), error));
out:
    atlas_cbor_map_release(&item);
    atlas_cbor_map_release(&list);
    return rc;
}

static int put_ocsp(struct atlas_cbor_map *m, const struct atlas_span *ocsp, size_t n, struct atlas_error *error)
{
    struct atlas_cbor_map values = ATLAS_CBOR_MAP_INIT;
    struct atlas_buf *list = atlas_cbor_map_key(&values, "ocspVals");
    atlas_cbor_write_array(list, n);
    for (size_t i = 0; i < n; i++) {
        atlas_cbor_write_bytes(list, ocsp[i]);
    }
    int rc = atlas_cbor_map_write(&values, atlas_cbor_map_key(m, "rVals"), error);
    atlas_cbor_map_release(&values);
    return rc;
}

static int write_unprotected(struct atlas_buf *b, struct atlas_span timestamp, const struct atlas_span *ocsp,
                             size_t n_ocsp, struct atlas_error *error)
{
    int rc;
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    if (timestamp.p != NULL) {
        ATLAS_TRY(put_timestamp(&m, timestamp, error));
    }
    if (n_ocsp != 0) {
        ATLAS_TRY(put_ocsp(&m, ocsp, n_ocsp, error));
    }
    ATLAS_TRY(atlas_cbor_map_write(&m, b, error));
out:
    atlas_cbor_map_release(&m);
    return rc;
}

int atlas_cose_write(struct atlas_buf *b, struct atlas_span protected_, struct atlas_span signature,
                     struct atlas_span timestamp, const struct atlas_span *ocsp, size_t n_ocsp,
                     struct atlas_error *error)
{
    int rc;
    atlas_cbor_write_tag(b, TAG_SIGN1);
    atlas_cbor_write_array(b, 4);
    atlas_cbor_write_bytes(b, protected_);
    ATLAS_TRY(write_unprotected(b, timestamp, ocsp, n_ocsp, error));
    atlas_cbor_write_null(b);
    atlas_cbor_write_bytes(b, signature);
    rc = atlas_buf_check(b, error);
out:
    return rc;
}
