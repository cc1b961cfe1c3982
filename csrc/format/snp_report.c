#include "format/snp_report.h"

#include "base/le.h"

static const char where[] = "SNP report";

#define SIGNATURE_HALF 72
#define P384_BYTES 48

/* r and s lie there least significant byte first, in 72 bytes of which P-384 uses 48. */
static bool read_signature(struct atlas_span bytes, uint8_t ret_signature[96])
{
    for (size_t half = 0; half < 2; half++) {
        struct atlas_span number = atlas_span_sub(bytes, half * SIGNATURE_HALF, SIGNATURE_HALF);
        if (!atlas_span_all(atlas_span_sub(number, P384_BYTES, SIGNATURE_HALF - P384_BYTES), 0)) {
            return false;
        }
        for (size_t i = 0; i < P384_BYTES; i++) {
            ret_signature[half * P384_BYTES + i] = number.p[P384_BYTES - 1 - i];
        }
    }
    return atlas_span_all(atlas_span_sub(bytes, 2 * SIGNATURE_HALF, bytes.n - 2 * SIGNATURE_HALF), 0);
}

static void split(struct atlas_span b, struct atlas_snp_report *r)
{
    uint32_t key_info = atlas_le32(b.p + 0x48);
    *r = (struct atlas_snp_report){
        .version = atlas_le32(b.p),
        .guest_svn = atlas_le32(b.p + 0x04),
        .policy = atlas_le64(b.p + 0x08),
        .family_id = atlas_span_sub(b, 0x10, 16),
        .image_id = atlas_span_sub(b, 0x20, 16),
        .vmpl = atlas_le32(b.p + 0x30),
        .current_tcb = atlas_span_sub(b, 0x38, 8),
        .platform_info = atlas_le64(b.p + 0x40),
        .signing_key = (uint8_t)(key_info >> 2 & 7),
        .chip_masked = (key_info >> 1 & 1) != 0 || atlas_span_all(atlas_span_sub(b, 0x1A0, 64), 0),
        .report_data = atlas_span_sub(b, 0x50, 64),
        .measurement = atlas_span_sub(b, 0x90, 48),
        .host_data = atlas_span_sub(b, 0xC0, 32),
        .id_key_digest = atlas_span_sub(b, 0xE0, 48),
        .author_key_digest = atlas_span_sub(b, 0x110, 48),
        .report_id = atlas_span_sub(b, 0x140, 32),
        .reported_tcb = atlas_span_sub(b, 0x180, 8),
        .chip_id = atlas_span_sub(b, 0x1A0, 64),
        .committed_tcb = atlas_span_sub(b, 0x1E0, 8),
        .launch_tcb = atlas_span_sub(b, 0x1F0, 8),
        .signed_part = atlas_span_sub(b, 0, ATLAS_SNP_SIGNED_SIZE),
    };
}

int atlas_snp_report_read(struct atlas_span bytes, struct atlas_snp_report *ret_report, struct atlas_error *error)
{
    struct atlas_snp_report r;
    struct atlas_span report = atlas_span_sub(bytes, 0, ATLAS_SNP_REPORT_SIZE);
    if (report.p == NULL) {
        return atlas_error_at(error, ATLAS_E_EVIDENCE, bytes.n, where, "cut off: %zu of %d bytes", bytes.n,
                              ATLAS_SNP_REPORT_SIZE);
    }
    split(report, &r);
    if (r.version < 2 || r.version > 5) {
        return atlas_error_at(error, ATLAS_E_EVIDENCE, 0, where, "report version %lu; known are 2 to 5",
                              (unsigned long)r.version);
    }
    if (atlas_le32(report.p + 0x34) != 1) {
        return atlas_error_at(error, ATLAS_E_UNSUPPORTED, 0x34, where, "the signature is not ECDSA on P-384");
    }
    if (r.signing_key != ATLAS_SNP_VCEK && r.signing_key != ATLAS_SNP_VLEK) {
        return atlas_error_at(error, ATLAS_E_UNSUPPORTED, 0x48, where,
                              "the report is signed by neither a VCEK nor a VLEK");
    }
    if (!read_signature(atlas_span_sub(report, ATLAS_SNP_SIGNED_SIZE, ATLAS_SNP_REPORT_SIZE - ATLAS_SNP_SIGNED_SIZE),
                        r.signature)) {
        return atlas_error_at(error, ATLAS_E_EVIDENCE, ATLAS_SNP_SIGNED_SIZE, where,
                              "the signature does not fit P-384");
    }
    r.trailing = bytes.n - ATLAS_SNP_REPORT_SIZE;
    *ret_report = r;
    return ATLAS_OK;
}
