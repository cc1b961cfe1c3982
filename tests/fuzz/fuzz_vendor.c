/* fuzz_vendor.c - the extensions by which vendors name their hardware: read from bytes that nobody has parsed before. */
#include "fuzz.h"
#include "port/crypto/vendor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_pck pck;
    struct atlas_vcek vcek;
    struct atlas_span fwid;
    struct atlas_span bytes = own_copy(data, size);
    int rc = atlas_pck_read(bytes, &pck, &error);
    REQUIRE(rc == error.code);
    if (atlas_vcek_read(bytes, &vcek, NULL) == ATLAS_OK) {
        REQUIRE(memchr(vcek.product, '\0', sizeof vcek.product) != NULL);
        REQUIRE((vcek.hwid.p == NULL) != (vcek.csp_id.p == NULL));
    }
    if (atlas_fwid_read(bytes, &fwid, NULL) == ATLAS_OK) {
        REQUIRE(fwid.n == 48 && fwid.p >= bytes.p && fwid.n <= bytes.n);
    }
    free_copy(bytes);
    return 0;
}
