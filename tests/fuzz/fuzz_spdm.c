/* fuzz_spdm.c - GPU reports: the blocks that are announced are there, each index once, opaque fields lie inside. */
#include "format/spdm.h"
#include "fuzz.h"

static void walk(const struct atlas_spdm *r)
{
    struct atlas_span rest = r->measurements;
    struct atlas_span value;
    uint8_t index;
    size_t n = 0;
    while (atlas_spdm_next(&rest, &index, &value)) {
        REQUIRE(value.n <= r->measurements.n);
        n++;
    }
    REQUIRE(rest.n == 0 && n == r->n_measurements && n <= 256);
    for (uint16_t type = 0; type < 64; type++) {
        struct atlas_span field = atlas_spdm_opaque(r, type);
        REQUIRE(field.p == NULL || (field.p >= r->opaque.p && field.n <= r->opaque.n));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_spdm r;
    struct atlas_span bytes = own_copy(data, size);
    int rc = atlas_spdm_read(bytes, &r, &error);
    REQUIRE(rc == error.code);
    if (rc == ATLAS_OK) {
        REQUIRE(r.signed_part.p == bytes.p && r.signed_part.n + ATLAS_SPDM_SIGNATURE + r.trailing == size);
        REQUIRE(r.nonce.n == ATLAS_SPDM_NONCE && r.response_nonce.n == ATLAS_SPDM_NONCE);
        walk(&r);
    }
    free_copy(bytes);
    return 0;
}
