/* test_cose.c - COSE_Sign1: what the profile refuses, the bytes that are signed, round trips. */
#include "format/cose.h"
#include "hex.h"
#include "sample.h"
#include "test.h"

/* 18([h'<protected>', <unprotected>, nil, h'0102']) from the encoded parts. */
static int read_parts(const char *protected_, const char *unprotected, struct atlas_cose_sign1 *sign1)
{
    static struct atlas_buf b;
    uint8_t bytes[256];
    struct atlas_error error = ATLAS_ERROR_INIT;
    atlas_buf_release(&b);
    atlas_cbor_write_tag(&b, 18);
    atlas_cbor_write_array(&b, 4);
    atlas_cbor_write_bytes(&b, hex(protected_, bytes, sizeof bytes));
    atlas_buf_append(&b, hex(unprotected, bytes, sizeof bytes));
    atlas_cbor_write_null(&b);
    atlas_cbor_write_bytes(&b, ATLAS_LIT("\x01\x02"));
    int rc = atlas_cose_claim_signature_read(atlas_buf_span(&b), sign1, &error);
    return rc == error.code ? rc : ATLAS_E_INTERNAL;
}

static int refuse(const char *protected_, const char *unprotected)
{
    struct atlas_cose_sign1 sign1;
    return read_parts(protected_, unprotected, &sign1);
}

#define X5CHAIN "67 7835636861696e" /* "x5chain" */

TEST(a_signature_is_read)
{
    struct atlas_cose_sign1 s;
    struct atlas_span der = ATLAS_SPAN_NONE;
    CHECK_OK(read_parts("a2 01 26 1821 82 41aa 42bbcc", "a1 63706164 4100", &s));
    CHECK(s.alg == ATLAS_COSE_ES256);
    CHECK(s.certificates == 2);
    CHECK(s.payload.p == NULL && s.timestamp.p == NULL && s.ocsp.p == NULL);
    CHECK_SPAN(s.signature, ATLAS_LIT("\x01\x02"));
    CHECK_OK(atlas_cose_certificate(&s, 0, &der, NULL));
    CHECK_SPAN(der, ATLAS_LIT("\xaa"));
    CHECK_OK(atlas_cose_certificate(&s, 1, &der, NULL));
    CHECK_SPAN(der, ATLAS_LIT("\xbb\xcc"));
    CHECK_ERR(atlas_cose_certificate(&s, 2, &der, NULL), ATLAS_E_ARG);
    CHECK_OK(read_parts("a2 01 26 1821 41aa", "a0", &s)); /* one certificate stands alone */
    CHECK(s.certificates == 1);
    CHECK_OK(atlas_cose_certificate(&s, 0, &der, NULL));
    CHECK_SPAN(der, ATLAS_LIT("\xaa"));
    CHECK_OK(read_parts("a2 " X5CHAIN " 41aa 01 26", "a0", &s)); /* the older label, any order */
    CHECK_OK(read_parts("a3 01 26 04 41 00 1821 41aa", "a0", &s)); /* a header that nobody knows */
}

TEST(nothing_unsigned_is_there_that_c2pa_does_not_know)
{
    CHECK_OK(refuse("a2 01 26 1821 41aa", "a2 63706164 4100 6470616432 420000"));
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a1 63706164 4101"), ATLAS_E_COSE);   /* padding of something else */
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a1 63706164 6100"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a1 04 4100"), ATLAS_E_COSE);         /* kid */
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a1 63666f6f 4100"), ATLAS_E_COSE);
}

TEST(the_algorithm_must_be_a_protected_integer)
{
    CHECK_ERR(refuse("a1 1821 41aa", "a0"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a1 1821 41aa", "a1 01 26"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a1 01 26"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 65 4553323536 1821 41aa", "a0"), ATLAS_E_ALGORITHM);
    CHECK_ERR(refuse("a2 01 f6 1821 41aa", "a0"), ATLAS_E_ALGORITHM);
    CHECK_ERR(refuse("", "a0"), ATLAS_E_COSE); /* h'' stands for no headers at all */
    CHECK_ERR(refuse("a0", "a0"), ATLAS_E_COSE);
}

TEST(the_chain_must_be_protected_and_there_once)
{
    CHECK_ERR(refuse("a1 01 26", "a0"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a1 01 26", "a1 1821 41aa"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a1 01 26", "a1 " X5CHAIN " 41aa"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a1 1821 41aa"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a1 " X5CHAIN " 41aa"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a3 01 26 1821 41aa " X5CHAIN " 41aa", "a0"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 80", "a0"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 40", "a0"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 82 41aa 40", "a0"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 81 61 61", "a0"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 05", "a0"), ATLAS_E_COSE);
}

TEST(headers_must_be_well_formed)
{
    CHECK_ERR(refuse("a3 01 26 01 26 1821 41aa", "a0"), ATLAS_E_CBOR);  /* a label twice */
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a2 05 00 05 00"), ATLAS_E_CBOR);
    CHECK_ERR(refuse("a2 01 26 1821 41aa 00", "a0"), ATLAS_E_CBOR);     /* bytes behind the map */
    CHECK_ERR(refuse("a2 01 26 180121 41aa", "a0"), ATLAS_E_CBOR);
    CHECK_ERR(refuse("82 01 26", "a0"), ATLAS_E_COSE);                  /* no map */
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "80"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a3 01 26 02 81 1821 1821 41aa", "a0"), ATLAS_E_COSE); /* crit */
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a1 02 81 05"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a3 01 26 05 00 1821 41aa", "a1 05 00"), ATLAS_E_COSE); /* a label in both buckets */
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a1 41 05 00"), ATLAS_E_COSE);    /* a label that is a byte string */
}

TEST(timestamps_and_ocsp_responses_are_read)
{
    struct atlas_cose_sign1 s;
#define TOKENS "69 747374546f6b656e73" /* "tstTokens" */
#define VAL "63 76616c"
    CHECK_OK(read_parts("a2 01 26 1821 41aa", "a1 67 73696754737432 a1 " TOKENS " 81 a1 " VAL " 42 0102", &s));
    CHECK_SPAN(s.timestamp, ATLAS_LIT("\x01\x02"));
    CHECK_OK(read_parts("a2 01 26 1821 41aa", "a1 66 736967547374 a1 " TOKENS " 81 a1 " VAL " 42 0102", &s));
    CHECK_SPAN(s.timestamp_v1, ATLAS_LIT("\x01\x02"));
    CHECK_OK(read_parts("a2 01 26 1821 41aa", "a1 65 7256616c73 a1 68 6f63737056616c73 82 41 01 41 02", &s));
    CHECK_SPAN(s.ocsp, ATLAS_LIT("\x82\x41\x01\x41\x02"));
    CHECK_OK(read_parts("a2 01 26 1821 41aa", "a1 65 7256616c73 a0", &s));
    CHECK(s.ocsp.p == NULL);
}

TEST(malformed_timestamps_are_refused)
{
#define TST "a1 67 73696754737432 "
    CHECK_ERR(refuse("a2 01 26 1821 41aa", TST "41 00"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 41aa", TST "a0"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 41aa", TST "a1 " TOKENS " 80"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 41aa", TST "a1 " TOKENS " 82 a1 " VAL " 4101 a1 " VAL " 4102"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 41aa", TST "a1 " TOKENS " 81 a0"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 41aa", TST "a1 " TOKENS " 81 a1 " VAL " 61 61"), ATLAS_E_COSE);
    CHECK_ERR(refuse("a2 01 26 1821 41aa", "a1 65 7256616c73 a1 68 6f63737056616c73 81 05"), ATLAS_E_COSE);
}

static int read_whole(const char *text, bool claim)
{
    uint8_t bytes[256];
    struct atlas_cose_sign1 s;
    struct atlas_span item = hex(text, bytes, sizeof bytes);
    return claim ? atlas_cose_claim_signature_read(item, &s, NULL) : atlas_cose_read(item, &s, NULL);
}

TEST(the_outer_structure_is_strict)
{
    static const char good[] = "d2 84 47 a2 01 26 18 21 41 aa a0 f6 41 01";
    CHECK_OK(read_whole(good, true));
    CHECK_ERR(read_whole("84 47 a2 01 26 18 21 41 aa a0 f6 41 01", true), ATLAS_E_COSE);       /* untagged */
    CHECK_ERR(read_whole("d1 84 47 a2 01 26 18 21 41 aa a0 f6 41 01", true), ATLAS_E_COSE);    /* another tag */
    CHECK_ERR(read_whole("d2 d2 84 47 a2 01 26 18 21 41 aa a0 f6 41 01", true), ATLAS_E_COSE); /* tagged twice */
    CHECK_ERR(read_whole("d2 83 47 a2 01 26 18 21 41 aa a0 f6", true), ATLAS_E_COSE);
    CHECK_ERR(read_whole("d2 85 47 a2 01 26 18 21 41 aa a0 f6 41 01 00", true), ATLAS_E_COSE);
    CHECK_ERR(read_whole("d2 84 47 a2 01 26 18 21 41 aa a0 f6 41 01 00", true), ATLAS_E_CBOR); /* trailing byte */
    CHECK_ERR(read_whole("d2 84 a2 01 26 18 21 41 aa a0 f6 41 01", true), ATLAS_E_COSE); /* protected, not wrapped */
    CHECK_ERR(read_whole("d2 84 47 a2 01 26 18 21 41 aa a0 f6 f6", true), ATLAS_E_COSE);
    CHECK_ERR(read_whole("d2 84 47 a2 01 26 18 21 41 aa a0 f6 40", true), ATLAS_E_COSE); /* an empty signature */
    CHECK_ERR(read_whole("d2 84 47 a2 01 26 18 21 41 aa a0 41 00 41 01", true), ATLAS_E_COSE); /* a payload */
    CHECK_ERR(read_whole("d2 84 47 a2 01 26 18 21 41 aa a0 40 41 01", true), ATLAS_E_COSE); /* an empty payload too */
    CHECK_OK(read_whole("d2 84 47 a2 01 26 18 21 41 aa a0 41 00 41 01", false)); /* COSE allows it, a claim does not */
    CHECK_OK(read_whole("d2 84 43 a1 01 26 a0 f6 41 01", false));
}

/* n certificates of one byte. */
static int check_certificates(uint32_t n)
{
    struct atlas_span certificates[ATLAS_MAX_CERTIFICATES + 1] = {{NULL, 0}};
    struct atlas_buf protected_ = ATLAS_BUF_INIT;
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_cose_sign1 s;
    for (uint32_t i = 0; i < n; i++) {
        certificates[i] = ATLAS_LIT("\xaa");
    }
    int rc = atlas_cose_write_protected(&protected_, ATLAS_COSE_ES256, certificates, n, NULL);
    if (rc == ATLAS_E_ARG && n > ATLAS_MAX_CERTIFICATES) { /* the writer refuses it; build it by hand for the reader */
        struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
        struct atlas_buf *entry = atlas_cbor_map_entry(&m);
        atlas_cbor_write_uint(entry, 1);
        atlas_cbor_write_int(entry, -7);
        entry = atlas_cbor_map_entry(&m);
        atlas_cbor_write_uint(entry, 33);
        atlas_cbor_write_array(entry, n);
        for (uint32_t i = 0; i < n; i++) {
            atlas_cbor_write_bytes(entry, certificates[i]);
        }
        rc = atlas_cbor_map_write(&m, &protected_, NULL);
        atlas_cbor_map_release(&m);
    }
    if (rc == ATLAS_OK) {
        rc = atlas_cose_write(&b, atlas_buf_span(&protected_), ATLAS_LIT("s"), ATLAS_SPAN_NONE, NULL, 0, NULL);
    }
    rc = rc == ATLAS_OK ? atlas_cose_claim_signature_read(atlas_buf_span(&b), &s, NULL) : rc;
    atlas_buf_release(&protected_);
    atlas_buf_release(&b);
    return rc;
}

TEST(certificates_are_limited)
{
    CHECK_ERR(check_certificates(0), ATLAS_E_ARG);
    CHECK_OK(check_certificates(1));
    CHECK_OK(check_certificates(ATLAS_MAX_CERTIFICATES));
    CHECK_ERR(check_certificates(ATLAS_MAX_CERTIFICATES + 1), ATLAS_E_LIMIT);
}

/* ---------------------------------------------------------------------------------- the bytes that are signed */

static bool wrote(struct atlas_buf *b, const char *expected)
{
    uint8_t bytes[256];
    bool same = atlas_span_equal(atlas_buf_span(b), hex(expected, bytes, sizeof bytes));
    atlas_buf_release(b);
    return same;
}

TEST(the_signed_bytes_are_those_of_the_known_answer)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    atlas_cose_write_sig_structure(&b, ATLAS_LIT("\xa1\x01\x26"), ATLAS_SPAN_NONE, ATLAS_LIT("CLAIM"));
    CHECK(wrote(&b, "846a5369676e61747572653143a101264045434c41494d"));
}

TEST(a_timestamp_covers_the_encoded_signature_wrapped_once_more)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    atlas_cose_write_countersignature(&b, ATLAS_LIT("\xa1\x01\x26"), ATLAS_LIT("\x01\x02"));
    CHECK(wrote(&b, "84 70 436f756e7465725369676e6174757265 43 a10126 40 43 42 0102"));
    atlas_cose_write_countersignature_v1(&b, ATLAS_LIT("\xa1\x01\x26"), ATLAS_LIT("CLAIM"));
    CHECK(wrote(&b, "84 70 436f756e7465725369676e6174757265 43 a10126 40 45 434c41494d"));
}

TEST(what_is_written_is_read_back)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_cose_sign1 s;
    struct atlas_span der = ATLAS_SPAN_NONE;
    sample_cose(&b);
    int rc = atlas_cose_claim_signature_read(atlas_buf_span(&b), &s, NULL);
    bool same = rc == ATLAS_OK && s.certificates == 2 && s.signature.n == 64 && s.timestamp.n == 33 &&
                s.timestamp.p[0] == 0x60 && atlas_cose_certificate(&s, 1, &der, NULL) == ATLAS_OK && der.n == 50;
    atlas_buf_release(&b);
    CHECK_OK(rc);
    CHECK(same);
}
