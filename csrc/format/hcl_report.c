#include "format/hcl_report.h"

#include "base/le.h"
#include "port/json.h"

static const char where[] = "HCL report";

#define HARDWARE_AT 32
#define HARDWARE_SIZE 1184
#define RUNTIME_AT (HARDWARE_AT + HARDWARE_SIZE)
#define RUNTIME_HEADER 20

static int bad(struct atlas_error *error, size_t offset, const char *text)
{
    return atlas_error_at(error, ATLAS_E_EVIDENCE, offset, where, "%s", text);
}

/* The runtime claims name their hash by a number of their own. */
static enum atlas_alg hash_of(uint32_t number)
{
    static const enum atlas_alg hashes[] = {ATLAS_ALG_NONE, ATLAS_SHA256, ATLAS_SHA384, ATLAS_SHA512};
    return number < sizeof hashes / sizeof hashes[0] ? hashes[number] : ATLAS_ALG_NONE;
}

int atlas_hcl_report_read(struct atlas_span bytes, struct atlas_hcl_report *ret_report, struct atlas_error *error)
{
    struct atlas_span header = atlas_span_sub(bytes, RUNTIME_AT, RUNTIME_HEADER);
    if (bytes.n > ATLAS_MAX_HCL_BYTES) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "%zu bytes", bytes.n);
    }
    if (header.p == NULL) {
        return bad(error, bytes.n, "cut off");
    }
    if (!atlas_span_starts_with(bytes, ATLAS_LIT("HCLA"))) {
        return bad(error, 0, "not an HCL report");
    }
    uint32_t type = atlas_le32(header.p + 8);
    struct atlas_hcl_report r = {.type = type, .hash = hash_of(atlas_le32(header.p + 12))};
    uint32_t n = atlas_le32(header.p + 16);
    r.hardware = atlas_span_sub(bytes, HARDWARE_AT, type == ATLAS_HCL_TDX ? 1024 : HARDWARE_SIZE);
    r.runtime = atlas_span_sub(bytes, RUNTIME_AT + RUNTIME_HEADER, n);
    if (type != ATLAS_HCL_SNP && type != ATLAS_HCL_TDX) {
        return atlas_error_at(error, ATLAS_E_UNSUPPORTED, RUNTIME_AT + 8, where, "neither of a TDX nor of an SNP VM");
    }
    if (r.hash == ATLAS_ALG_NONE) {
        return bad(error, RUNTIME_AT + 12, "an unknown hash");
    }
    if (r.runtime.p == NULL || n == 0) {
        return bad(error, RUNTIME_AT + 16, "the runtime data is cut off");
    }
    *ret_report = r;
    return ATLAS_OK;
}

/* RFC 4648, 5, without padding; bits left over must be zero. */
static bool decode_base64url(struct atlas_span text, struct atlas_buf *out)
{
    static const char digits[64] = /* and no NUL */
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < text.n; i++) {
        const char *digit = memchr(digits, text.p[i], sizeof digits);
        if (digit == NULL) {
            return false;
        }
        bits = bits << 6 | (uint32_t)(digit - digits);
        have += 6;
        if (have >= 8) {
            have -= 8;
            atlas_buf_append_u8(out, (uint8_t)(bits >> have));
            bits &= (1u << have) - 1;
        }
    }
    return bits == 0 && have < 6;
}

static bool is_text(const struct atlas_json *value, const char *wanted)
{
    struct atlas_span text;
    return atlas_json_text(value, &text) && atlas_span_equal(text, atlas_span_str(wanted));
}

int atlas_hcl_attestation_key(const struct atlas_hcl_report *report, struct atlas_buf *ret_modulus,
                              struct atlas_error *error)
{
    struct atlas_json *document = NULL;
    const struct atlas_json *found = NULL;
    struct atlas_span modulus;
    int rc = atlas_json_new(report->runtime, "HCL runtime data", &document, error);
    if (rc < 0) {
        return rc;
    }
    const struct atlas_json *keys = atlas_json_member(document, "keys");
    for (size_t i = 0; i < atlas_json_count(keys); i++) {
        const struct atlas_json *key = atlas_json_at(keys, i);
        if (is_text(atlas_json_member(key, "kid"), "HCLAkPub")) {
            rc = found != NULL ? bad(error, RUNTIME_AT, "two attestation keys") : ATLAS_OK;
            found = key;
        }
    }
    if (rc >= 0 && found == NULL) {
        rc = atlas_error_set(error, ATLAS_E_NOT_FOUND, where, "the runtime data names no attestation key");
    }
    if (rc >= 0 && (!is_text(atlas_json_member(found, "kty"), "RSA") ||
                    !is_text(atlas_json_member(found, "e"), "AQAB") ||
                    !atlas_json_text(atlas_json_member(found, "n"), &modulus) ||
                    !decode_base64url(modulus, ret_modulus))) {
        rc = bad(error, RUNTIME_AT, "the attestation key is no RSA key as the format has it");
    }
    atlas_json_free(document);
    return rc < 0 ? rc : atlas_buf_check(ret_modulus, error);
}
