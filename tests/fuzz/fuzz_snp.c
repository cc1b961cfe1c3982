/* fuzz_snp.c - SEV-SNP reports: fixed size, every field where it must be, nothing behind it read. */
#include "format/snp_report.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_snp_report r;
    struct atlas_span bytes = own_copy(data, size);
    int rc = atlas_snp_report_read(bytes, &r, &error);
    REQUIRE(rc == error.code);
    if (rc == ATLAS_OK) {
        REQUIRE(size == ATLAS_SNP_REPORT_SIZE + r.trailing);
        REQUIRE(r.signed_part.p == bytes.p && r.signed_part.n == ATLAS_SNP_SIGNED_SIZE);
        REQUIRE(r.measurement.n == 48 && r.measurement.p == bytes.p + 0x90);
        REQUIRE(r.chip_id.n == 64 && r.reported_tcb.n == 8 && r.report_data.n == 64);
        for (size_t i = 0; i < 48; i++) {
            REQUIRE(r.signature[i] == bytes.p[0x2A0 + 47 - i]);
        }
    }
    free_copy(bytes);
    return 0;
}
