#include "format/spdm.h"

#include "base/le.h"

static const char where[] = "SPDM report";

#define REQUEST_SIZE 37
#define SPDM_11 0x11
#define GET_MEASUREMENTS 0xE0
#define MEASUREMENTS 0x60
#define DMTF 1

bool atlas_spdm_next(struct atlas_span *rest, uint8_t *ret_index, struct atlas_span *ret_value)
{
    uint8_t index;
    uint8_t specification;
    uint8_t type;
    uint16_t size;
    uint16_t value_size;
    struct atlas_span copy = *rest;
    struct atlas_span block;
    /* DSP0274, table 37 and 38: index, specification, size { type, value size, value } */
    if (!atlas_span_take_u8(&copy, &index) || !atlas_span_take_u8(&copy, &specification) ||
        !atlas_span_take_le16(&copy, &size) || !atlas_span_take(&copy, size, &block) || specification != DMTF ||
        !atlas_span_take_u8(&block, &type) || !atlas_span_take_le16(&block, &value_size) || block.n != value_size) {
        return false;
    }
    *rest = copy;
    *ret_index = index;
    *ret_value = block;
    return true;
}

static bool next_opaque(struct atlas_span *rest, uint16_t *ret_type, struct atlas_span *ret_value)
{
    uint16_t size;
    return atlas_span_take_le16(rest, ret_type) && atlas_span_take_le16(rest, &size) &&
           atlas_span_take(rest, size, ret_value);
}

struct atlas_span atlas_spdm_opaque(const struct atlas_spdm *report, uint16_t type)
{
    struct atlas_span rest = report->opaque;
    struct atlas_span value;
    struct atlas_span found = ATLAS_SPAN_NONE;
    size_t n = 0;
    uint16_t this_type;
    while (next_opaque(&rest, &this_type, &value)) {
        if (this_type == type) {
            found = value;
            n++;
        }
    }
    return n == 1 ? found : ATLAS_SPAN_NONE;
}

static int bad(struct atlas_span whole, struct atlas_span rest, const char *text, struct atlas_error *error)
{
    return atlas_error_at(error, ATLAS_E_EVIDENCE, whole.n - rest.n, where, "%s", text);
}

static int read_request(struct atlas_span whole, struct atlas_span *rest, struct atlas_spdm *r,
                        struct atlas_error *error)
{
    struct atlas_span request;
    if (!atlas_span_take(rest, REQUEST_SIZE, &request)) {
        return bad(whole, *rest, "the request is cut off", error);
    }
    if (request.p[0] != SPDM_11 || request.p[1] != GET_MEASUREMENTS) {
        return atlas_error_at(error, ATLAS_E_UNSUPPORTED, 0, where, "not an SPDM 1.1 request for measurements");
    }
    if ((request.p[2] & 1) == 0 || request.p[3] != 0xff) {
        return bad(whole, *rest, "the request did not ask for all measurements with a signature", error);
    }
    r->nonce = atlas_span_sub(request, 4, ATLAS_SPDM_NONCE);
    return ATLAS_OK;
}

/* Every index once: two values for one index would leave open which of them is compared. */
static int check_blocks(struct atlas_span whole, const struct atlas_spdm *r, struct atlas_error *error)
{
    struct atlas_span rest = r->measurements;
    struct atlas_span value;
    bool seen[256] = {false};
    size_t n = 0;
    uint8_t index;
    while (atlas_spdm_next(&rest, &index, &value)) {
        if (seen[index]) {
            return bad(whole, rest, "a measurement index twice", error);
        }
        seen[index] = true;
        n++;
    }
    if (rest.n != 0 || n != r->n_measurements) {
        return atlas_error_at(error, ATLAS_E_EVIDENCE, atlas_span_offset(whole, r->measurements), where,
                              "%zu measurement blocks where %zu are announced, or a damaged one", n, r->n_measurements);
    }
    return ATLAS_OK;
}

static int check_opaque(struct atlas_span whole, const struct atlas_spdm *r, struct atlas_error *error)
{
    struct atlas_span rest = r->opaque;
    struct atlas_span value;
    uint16_t type;
    while (rest.n != 0) {
        if (!next_opaque(&rest, &type, &value)) {
            return atlas_error_at(error, ATLAS_E_EVIDENCE, atlas_span_offset(whole, r->opaque), where,
                                  "the opaque data is damaged");
        }
    }
    return ATLAS_OK;
}

/* version, code, two parameters, number of blocks, 24-bit size of the record. */
static int read_response(struct atlas_span whole, struct atlas_span *rest, struct atlas_spdm *r,
                         struct atlas_error *error)
{
    struct atlas_span head;
    uint16_t opaque_size;
    if (!atlas_span_take(rest, 8, &head)) {
        return bad(whole, *rest, "the response is cut off", error);
    }
    if (head.p[0] != SPDM_11 || head.p[1] != MEASUREMENTS) {
        return bad(whole, *rest, "not an SPDM 1.1 response with measurements", error);
    }
    r->n_measurements = head.p[4];
    size_t record = (size_t)head.p[5] | (size_t)head.p[6] << 8 | (size_t)head.p[7] << 16;
    if (!atlas_span_take(rest, record, &r->measurements) ||
        !atlas_span_take(rest, ATLAS_SPDM_NONCE, &r->response_nonce) || !atlas_span_take_le16(rest, &opaque_size) ||
        !atlas_span_take(rest, opaque_size, &r->opaque)) {
        return bad(whole, *rest, "the response is cut off", error);
    }
    r->signed_part = atlas_span_sub(whole, 0, whole.n - rest->n);
    if (!atlas_span_take(rest, ATLAS_SPDM_SIGNATURE, &r->signature)) {
        return bad(whole, *rest, "the signature is cut off", error);
    }
    r->trailing = rest->n;
    return ATLAS_OK;
}

int atlas_spdm_read(struct atlas_span bytes, struct atlas_spdm *ret_report, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    struct atlas_spdm r = {.n_measurements = 0};
    struct atlas_span rest = bytes;
    if (bytes.n > ATLAS_MAX_SPDM_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "a report of %zu bytes", bytes.n);
    }
    ATLAS_TRY(read_request(bytes, &rest, &r, error));
    ATLAS_TRY(read_response(bytes, &rest, &r, error));
    ATLAS_TRY(check_blocks(bytes, &r, error));
    ATLAS_TRY(check_opaque(bytes, &r, error));
    *ret_report = r;
out:
    return rc;
}
