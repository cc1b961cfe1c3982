#include "base/alg.h"

static const struct {
    enum atlas_cose_alg alg;
    const char *name;
} algorithms[] = {
    {ATLAS_COSE_ES256, "ES256"}, {ATLAS_COSE_EDDSA, "EdDSA"}, {ATLAS_COSE_ES384, "ES384"}, {ATLAS_COSE_ES512, "ES512"},
    {ATLAS_COSE_PS256, "PS256"}, {ATLAS_COSE_PS384, "PS384"}, {ATLAS_COSE_PS512, "PS512"},
};

const char *atlas_cose_alg_name(int64_t cose_alg)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (algorithms[i].alg == cose_alg) {
            return algorithms[i].name;
        }
    }
    return NULL;
}

enum atlas_cose_alg atlas_cose_alg_of(struct atlas_span name)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (atlas_span_equal(name, atlas_span_str(algorithms[i].name))) {
            return algorithms[i].alg;
        }
    }
    return ATLAS_COSE_NONE;
}
