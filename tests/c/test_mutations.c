/* test_mutations.c - every truncation of honest inputs and every byte of them changed: refused, or read as something
 * else. */
#include "format/attestation.h"
#include "sample.h"
#include "test.h"

typedef void (*make_fn)(struct atlas_buf *b);
typedef int (*dump_fn)(struct atlas_span bytes, struct atlas_buf *text, struct atlas_error *error);

/* An exact copy on the heap, so that a sanitizer sees the first byte that is read beyond the end. */
static int read_copy(dump_fn dump, struct atlas_span bytes, struct atlas_buf *text)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    uint8_t *copy = malloc(bytes.n != 0 ? bytes.n : 1);
    if (copy == NULL) {
        abort();
    }
    if (bytes.n != 0) {
        memcpy(copy, bytes.p, bytes.n);
    }
    atlas_buf_clear(text);
    int rc = dump(atlas_span_of(copy, bytes.n), text, &error);
    free(copy);
    return rc == error.code ? rc : ATLAS_E_INTERNAL;
}

/* Which bits of byte i change in round k: each bit alone, then all of them. */
static uint8_t flip(size_t i, unsigned k, unsigned rounds)
{
    if (k + 1 == rounds) {
        return 0xFF;
    }
    return (uint8_t)(1u << (rounds == 9 ? k : (i + k) % 8));
}

/* rounds: 9 flips every bit; fewer flip, of each byte, some bit that depends on its place, and all bits. */
static void check_mutations(make_fn make, dump_fn dump, unsigned rounds)
{
    struct atlas_buf input = ATLAS_BUF_INIT;
    struct atlas_buf honest = ATLAS_BUF_INIT;
    struct atlas_buf text = ATLAS_BUF_INIT;
    size_t alike = 0;
    size_t accepted = 0;
    make(&input);
    int rc = read_copy(dump, atlas_buf_span(&input), &honest);
    for (size_t n = 0; n < input.n; n++) {
        alike += read_copy(dump, atlas_span_of(input.p, n), &text) == ATLAS_OK;
    }
    for (size_t i = 0; i < rounds * input.n; i++) {
        uint8_t change = flip(i / rounds, (unsigned)(i % rounds), rounds);
        input.p[i / rounds] ^= change;
        if (read_copy(dump, atlas_buf_span(&input), &text) == ATLAS_OK) {
            accepted++;
            alike += atlas_span_equal(atlas_buf_span(&text), atlas_buf_span(&honest));
        }
        input.p[i / rounds] ^= change;
    }
    size_t tried = rounds * input.n;
    bool empty = honest.n == 0;
    atlas_buf_release(&input);
    atlas_buf_release(&honest);
    atlas_buf_release(&text);
    CHECK_OK(rc);
    CHECK(!empty);
    CHECK(alike == 0);
    CHECK(accepted < tried); /* the test is no test when nothing is ever refused */
}

TEST(cbor_mutations_are_refused_or_read_differently)
{
    check_mutations(sample_cbor, dump_cbor, 9);
}

TEST(cose_mutations_are_refused_or_read_differently)
{
    check_mutations(sample_cose, dump_cose, 9);
}

static void salted(struct atlas_buf *b)
{
    sample_known_answer(b, true);
}

static void sample_attestation(struct atlas_buf *b)
{
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    struct atlas_attestation_binding binding = {.partial = ATLAS_LIT("partial claim"),
                                                .pub_key = ATLAS_LIT("public key"),
                                                .created = ATLAS_LIT("2026-01-15T12:00:00Z"),
                                                .nonce = ATLAS_LIT("nonce")};
    struct atlas_attestation attestation = {.type = ATLAS_LIT("org.atlasml.tdx"),
                                            .results = ATLAS_LIT("quote"),
                                            .collateral = ATLAS_LIT("\x82\x41x\x41y"),
                                            .event_log = ATLAS_LIT("events"),
                                            .runtime_log = ATLAS_LIT("lines")};
    if (atlas_attestation_binding_write(&tbs, &binding, NULL) < 0 ||
        atlas_attestation_write(b, &attestation, atlas_buf_span(&tbs), NULL) < 0) {
        abort();
    }
    atlas_buf_release(&tbs);
}

static int dump_attestation(struct atlas_span bytes, struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_c2pa_assertion assertion = {.type = ATLAS_C2PA_CONTENT_CBOR, .content = bytes};
    struct atlas_attestation a;
    int rc = atlas_attestation_read(&assertion, &a, error);
    if (rc >= 0) {
        const struct atlas_span fields[] = {a.type,        a.results,       a.collateral,      a.event_log,
                                            a.runtime_log, a.binding.nonce, a.binding.partial, a.binding.created,
                                            a.binding.run, a.binding.pub_key};
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            atlas_buf_append(text, fields[i]);
            atlas_buf_append(text, fields[i].p != NULL ? ATLAS_LIT("|") : ATLAS_LIT("-"));
        }
    }
    return rc;
}

TEST(attestation_mutations_are_refused_or_read_differently)
{
    check_mutations(sample_attestation, dump_attestation, 9);
}

TEST(jumbf_mutations_are_refused_or_read_differently)
{
    check_mutations(salted, dump_jumbf, 9);
}

TEST(store_mutations_are_refused_or_read_differently)
{
    check_mutations(sample_store, dump_store, 2);
}
