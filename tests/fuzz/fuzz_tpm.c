/* fuzz_tpm.c - what a TPM signs and with what: every reader of format/tpm_attest.h, the container and the HCL report. */
#include "format/hcl_report.h"
#include "format/tpm_evidence.h"
#include "fuzz.h"

static bool inside(struct atlas_span whole, struct atlas_span part)
{
    return part.p == NULL || part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void try_attest(struct atlas_span bytes)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tpm_attest a;
    int rc = atlas_tpm_attest_read(bytes, &a, &error);
    REQUIRE(rc == error.code);
    if (rc == ATLAS_OK) {
        REQUIRE(inside(bytes, a.signer) && inside(bytes, a.extra) && inside(bytes, a.name) && inside(bytes, a.value));
        REQUIRE(a.n_banks <= ATLAS_TPM_MAX_BANKS && a.pcr_digest.n <= 64);
        REQUIRE(a.whole.n == bytes.n);
        REQUIRE(atlas_tpm_attest_read(atlas_span_sub(bytes, 0, bytes.n - 1), &a, NULL) < 0);
    }
}

static void try_keys(struct atlas_span bytes)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tpm_public p;
    struct atlas_tpm_signature s;
    struct atlas_tpm_nv nv;
    if (atlas_tpm_public_read(bytes, &p, NULL) == ATLAS_OK) {
        REQUIRE(p.type == ATLAS_TPM_RSA || p.type == ATLAS_TPM_ECC);
        REQUIRE(inside(bytes, p.modulus) && inside(bytes, p.x) && inside(bytes, p.y) && p.modulus.n <= 1024);
    }
    int rc = atlas_tpm_signature_read(bytes, &s, &error);
    REQUIRE(rc == error.code);
    REQUIRE(rc < 0 || (inside(bytes, s.rsa) && inside(bytes, s.r) && inside(bytes, s.s)));
    REQUIRE(atlas_tpm_nv_read(bytes, &nv, NULL) < 0 || inside(bytes, nv.policy));
}

static void try_container(struct atlas_span bytes)
{
    struct atlas_tpm_evidence e;
    if (atlas_tpm_evidence_read(bytes, &e, NULL) < 0) {
        return;
    }
    REQUIRE(inside(bytes, e.ak) && inside(bytes, e.quote) && inside(bytes, e.pcrs) && inside(bytes, e.nv.log));
    REQUIRE(e.n_chain <= ATLAS_MAX_TPM_CERTIFICATES);
    try_attest(e.quote);
    try_keys(e.ak);
    try_keys(e.signature);
}

static void try_hcl(struct atlas_span bytes)
{
    struct atlas_hcl_report r;
    struct atlas_buf modulus = ATLAS_BUF_INIT;
    if (atlas_hcl_report_read(bytes, &r, NULL) == ATLAS_OK) {
        REQUIRE(inside(bytes, r.hardware) && inside(bytes, r.runtime) && r.runtime.n != 0);
        (void)!atlas_hcl_attestation_key(&r, &modulus, NULL);
    }
    atlas_buf_release(&modulus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_span bytes = own_copy(data, size);
    try_attest(bytes);
    try_keys(bytes);
    try_container(bytes);
    try_hcl(bytes);
    free_copy(bytes);
    return 0;
}
