#include "format/tdx_quote.h"

#include "base/le.h"

static const char where[] = "quote";

#define HEADER_SIZE 48
#define KEY_TYPE_P256 2
#define TEE_SGX 0
#define TEE_TDX 0x81

/* A.3.1: 939A7233-F79C-4CA9-940A-0DB3957F0607, the vendor of Intel's quoting enclaves. */
static const uint8_t intel_vendor[16] = {0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
                                         0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07};

struct reader {
    struct atlas_span whole;
    struct atlas_span rest;
    struct atlas_error *error;
};

static int refuse(const struct reader *r, int code, const char *text)
{
    return atlas_error_at(r->error, code, atlas_span_offset(r->whole, r->rest), where, "%s", text);
}

static int take(struct reader *r, size_t n, const char *what, struct atlas_span *ret_bytes)
{
    if (!atlas_span_take(&r->rest, n, ret_bytes)) {
        return atlas_error_at(r->error, ATLAS_E_EVIDENCE, atlas_span_offset(r->whole, r->rest), where,
                              "%s is cut off: %zu of %zu bytes", what, r->rest.n, n);
    }
    return ATLAS_OK;
}

static int take_le16(struct reader *r, const char *what, uint16_t *ret_v)
{
    struct atlas_span bytes;
    int rc = take(r, 2, what, &bytes);
    if (rc >= 0) {
        *ret_v = atlas_le16(bytes.p);
    }
    return rc;
}

static int take_le32(struct reader *r, const char *what, uint32_t *ret_v)
{
    struct atlas_span bytes;
    int rc = take(r, 4, what, &bytes);
    if (rc >= 0) {
        *ret_v = atlas_le32(bytes.p);
    }
    return rc;
}

/* A.3.1. The two words after the TEE type were SVNs in version 3 and are reserved since. */
static int read_header(struct reader *r, struct atlas_tdx_quote *q)
{
    struct atlas_span header;
    int rc = take(r, HEADER_SIZE, "the header", &header);
    if (rc < 0) {
        return rc;
    }
    q->version = atlas_le16(header.p);
    uint32_t tee = atlas_le32(header.p + 4);
    if (q->version != 4 && q->version != 5) {
        return atlas_error_set(r->error, q->version == 3 ? ATLAS_E_UNSUPPORTED : ATLAS_E_EVIDENCE, where,
                               "quote version %u; known are 4 and 5", (unsigned)q->version);
    }
    if (tee != TEE_TDX) {
        return refuse(r, tee == TEE_SGX ? ATLAS_E_UNSUPPORTED : ATLAS_E_EVIDENCE, "not a quote of a TDX trust domain");
    }
    if (atlas_le16(header.p + 2) != KEY_TYPE_P256) {
        return refuse(r, ATLAS_E_UNSUPPORTED, "the attestation key is not ECDSA on P-256");
    }
    if (!atlas_span_equal(atlas_span_sub(header, 12, 16), atlas_span_of(intel_vendor, sizeof intel_vendor))) {
        return refuse(r, ATLAS_E_UNSUPPORTED, "the quoting enclave is not Intel's");
    }
    q->user_data = atlas_span_sub(header, 28, 20);
    return ATLAS_OK;
}

static uint32_t body_size(uint16_t type)
{
    switch (type) {
    case ATLAS_TDX_BODY_10:
        return 584;
    case ATLAS_TDX_BODY_15:
        return 648;
    case ATLAS_TDX_BODY_15EX:
        return 885;
    default:
        return 0;
    }
}

/* A.4: version 5 names the type and size of the body. */
static int read_body_descriptor(struct reader *r, uint16_t *ret_type)
{
    int rc = ATLAS_OK;
    uint16_t type;
    uint32_t size;
    ATLAS_TRY(take_le16(r, "the body type", &type));
    ATLAS_TRY(take_le32(r, "the body size", &size));
    if (body_size(type) == 0) {
        ATLAS_TRY(refuse(r, type == 1 ? ATLAS_E_UNSUPPORTED : ATLAS_E_EVIDENCE, "not a TD report body"));
    }
    if (size != body_size(type)) {
        ATLAS_TRY(refuse(r, ATLAS_E_EVIDENCE, "the size of the body is not that of its type"));
    }
    *ret_type = type;
out:
    return rc;
}

static void split_body(struct atlas_span body, uint16_t type, struct atlas_tdx_body *ret_body)
{
    struct atlas_tdx_body b = {
        .tee_tcb_svn = atlas_span_sub(body, 0, 16),
        .mrseam = atlas_span_sub(body, 16, 48),
        .mrsignerseam = atlas_span_sub(body, 64, 48),
        .seam_attributes = atlas_span_sub(body, 112, 8),
        .td_attributes = atlas_span_sub(body, 120, 8),
        .xfam = atlas_span_sub(body, 128, 8),
        .mrtd = atlas_span_sub(body, 136, 48),
        .mrconfigid = atlas_span_sub(body, 184, 48),
        .mrowner = atlas_span_sub(body, 232, 48),
        .mrownerconfig = atlas_span_sub(body, 280, 48),
        .report_data = atlas_span_sub(body, 520, 64),
    };
    for (size_t i = 0; i < 4; i++) {
        b.rtmr[i] = atlas_span_sub(body, 328 + 48 * i, 48);
    }
    if (type >= ATLAS_TDX_BODY_15) {
        b.tee_tcb_svn2 = atlas_span_sub(body, 584, 16);
        b.mrservicetd = atlas_span_sub(body, 600, 48);
    }
    *ret_body = b;
}

static void split_report(struct atlas_span report, struct atlas_sgx_report *ret_report)
{
    *ret_report = (struct atlas_sgx_report){
        .whole = report,
        .cpusvn = atlas_span_sub(report, 0, 16),
        .miscselect = atlas_span_sub(report, 16, 4),
        .attributes = atlas_span_sub(report, 48, 16),
        .mrenclave = atlas_span_sub(report, 64, 32),
        .mrsigner = atlas_span_sub(report, 128, 32),
        .report_data = atlas_span_sub(report, 320, 64),
        .isvprodid = atlas_le16(report.p + 256),
        .isvsvn = atlas_le16(report.p + 258),
    };
}

/* A.3.9: a type, a size, and that many bytes, which are all there is. */
static int take_cert_data(struct reader *r, const char *what, uint16_t *ret_type, struct atlas_span *ret_data)
{
    int rc = ATLAS_OK;
    uint32_t size;
    ATLAS_TRY(take_le16(r, what, ret_type));
    ATLAS_TRY(take_le32(r, what, &size));
    ATLAS_TRY(take(r, size, what, ret_data));
    if (r->rest.n != 0) {
        ATLAS_TRY(refuse(r, ATLAS_E_EVIDENCE, "bytes after the certification data"));
    }
out:
    return rc;
}

static struct atlas_span without_nul(struct atlas_span text)
{
    return text.n != 0 && text.p[text.n - 1] == '\0' ? atlas_span_sub(text, 0, text.n - 1) : text;
}

/* A.3.11: the quoting enclave's report, its signature by the PCK, and where the PCK is. */
static int read_qe_certification(struct atlas_span data, struct reader outer, struct atlas_tdx_quote *q)
{
    int rc = ATLAS_OK;
    struct reader r = {outer.whole, data, outer.error};
    struct atlas_span report;
    struct atlas_span inner;
    uint16_t auth_size;
    ATLAS_TRY(take(&r, 384, "the quoting enclave's report", &report));
    split_report(report, &q->qe_report);
    ATLAS_TRY(take(&r, 64, "the signature of the quoting enclave's report", &q->qe_signature));
    ATLAS_TRY(take_le16(&r, "the quoting enclave's data", &auth_size));
    ATLAS_TRY(take(&r, auth_size, "the quoting enclave's data", &q->qe_auth));
    ATLAS_TRY(take_cert_data(&r, "the inner certification data", &q->cert_type, &inner));
    if (q->cert_type < ATLAS_CERT_PPID || q->cert_type > ATLAS_CERT_PCK_CHAIN) {
        ATLAS_TRY(atlas_error_set(r.error, q->cert_type == 7 ? ATLAS_E_UNSUPPORTED : ATLAS_E_EVIDENCE, where,
                                  "certification data of type %u", (unsigned)q->cert_type));
    }
    q->cert_data = q->cert_type >= ATLAS_CERT_PCK_LEAF ? without_nul(inner) : inner;
out:
    return rc;
}

/* A.3.8. */
static int read_auth(struct atlas_span auth, struct reader outer, struct atlas_tdx_quote *q)
{
    int rc = ATLAS_OK;
    struct reader r = {outer.whole, auth, outer.error};
    struct atlas_span data;
    uint16_t type;
    ATLAS_TRY(take(&r, 64, "the signature", &q->signature));
    ATLAS_TRY(take(&r, 64, "the attestation key", &q->attestation_key));
    ATLAS_TRY(take_cert_data(&r, "the certification data", &type, &data));
    if (type != ATLAS_CERT_QE_REPORT) {
        ATLAS_TRY(refuse(&r, ATLAS_E_EVIDENCE, "the outer certification data is not a quoting enclave's report"));
    }
    ATLAS_TRY(read_qe_certification(data, r, q));
out:
    return rc;
}

int atlas_tdx_quote_read(struct atlas_span bytes, struct atlas_tdx_quote *ret_quote, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct reader r = {bytes, bytes, error};
    struct atlas_tdx_quote q = {.body_type = ATLAS_TDX_BODY_10};
    struct atlas_span body;
    struct atlas_span auth;
    uint32_t auth_size;
    if (bytes.n == 0) {
        return atlas_error_set(error, ATLAS_E_EVIDENCE, where, "the quote is empty");
    }
    if (bytes.n > ATLAS_MAX_QUOTE_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "a quote of %zu bytes", bytes.n);
    }
    ATLAS_TRY(read_header(&r, &q));
    if (q.version == 5) {
        ATLAS_TRY(read_body_descriptor(&r, &q.body_type));
    }
    ATLAS_TRY(take(&r, body_size(q.body_type), "the TD report", &body));
    split_body(body, q.body_type, &q.body);
    q.signed_part = atlas_span_sub(bytes, 0, bytes.n - r.rest.n);
    ATLAS_TRY(take_le32(&r, "the size of the authentication data", &auth_size));
    ATLAS_TRY(take(&r, auth_size, "the authentication data", &auth));
    ATLAS_TRY(read_auth(auth, r, &q));
    q.size = bytes.n - r.rest.n;
    q.trailing = r.rest.n;
    *ret_quote = q;
out:
    return rc;
}
