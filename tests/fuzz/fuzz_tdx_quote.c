/* fuzz_tdx_quote.c - quotes: every span lies inside the input, sizes add up, what follows is not read. */
#include "format/tdx_quote.h"
#include "fuzz.h"

static void inside(struct atlas_span whole, struct atlas_span s, size_t n)
{
    REQUIRE(s.p != NULL && s.n == n);
    REQUIRE(s.p >= whole.p && s.n <= whole.n && (size_t)(s.p - whole.p) <= whole.n - s.n);
}

static void check_body(struct atlas_span bytes, const struct atlas_tdx_quote *q)
{
    const struct atlas_tdx_body *b = &q->body;
    inside(bytes, b->tee_tcb_svn, 16);
    inside(bytes, b->mrtd, 48);
    inside(bytes, b->rtmr[3], 48);
    inside(bytes, b->report_data, 64);
    REQUIRE((b->mrservicetd.p != NULL) == (q->body_type >= ATLAS_TDX_BODY_15));
    if (b->mrservicetd.p != NULL) {
        inside(bytes, b->tee_tcb_svn2, 16);
        inside(bytes, b->mrservicetd, 48);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_tdx_quote q;
    struct atlas_tdx_quote again;
    struct atlas_span bytes = own_copy(data, size);
    int rc = atlas_tdx_quote_read(bytes, &q, &error);
    REQUIRE(rc == error.code);
    if (rc == ATLAS_OK) {
        REQUIRE(q.size + q.trailing == size && q.signed_part.n < q.size);
        check_body(bytes, &q);
        inside(bytes, q.signature, 64);
        inside(bytes, q.attestation_key, 64);
        inside(bytes, q.qe_report.whole, 384);
        inside(bytes, q.qe_auth, q.qe_auth.n);
        inside(bytes, q.cert_data, q.cert_data.n);
        REQUIRE(atlas_tdx_quote_read(atlas_span_sub(bytes, 0, q.size), &again, NULL) == ATLAS_OK && again.trailing == 0);
        REQUIRE(atlas_tdx_quote_read(atlas_span_sub(bytes, 0, q.size - 1), &again, NULL) < 0);
    }
    free_copy(bytes);
    return 0;
}
