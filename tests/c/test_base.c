/* test_base.c - spans, buffers, errors, UTF-8. */
#include "base/alg.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "test.h"

/* --------------------------------------------------------------------------------------------------- spans */

TEST(spans_compare_bytewise_and_a_prefix_comes_first)
{
    CHECK(atlas_span_compare(ATLAS_LIT("a"), ATLAS_LIT("b")) < 0);
    CHECK(atlas_span_compare(ATLAS_LIT("b"), ATLAS_LIT("a")) > 0);
    CHECK(atlas_span_compare(ATLAS_LIT("a"), ATLAS_LIT("aa")) < 0);
    CHECK(atlas_span_compare(ATLAS_LIT("\x7f"), ATLAS_LIT("\x80")) < 0);
    CHECK(atlas_span_compare(ATLAS_SPAN_NONE, ATLAS_LIT("")) == 0);
    CHECK(atlas_span_equal(ATLAS_SPAN_NONE, ATLAS_LIT("")));
    CHECK(!atlas_span_equal(ATLAS_LIT("a"), ATLAS_LIT("b")));
    CHECK(!atlas_span_equal(ATLAS_LIT("a"), ATLAS_LIT("ab")));
}

TEST(constant_time_equality_is_equality)
{
    CHECK(atlas_span_equal_ct(ATLAS_LIT("abc"), ATLAS_LIT("abc")));
    CHECK(!atlas_span_equal_ct(ATLAS_LIT("abc"), ATLAS_LIT("abd")));
    CHECK(!atlas_span_equal_ct(ATLAS_LIT("abc"), ATLAS_LIT("xbc")));
    CHECK(!atlas_span_equal_ct(ATLAS_LIT("abc"), ATLAS_LIT("ab")));
    CHECK(atlas_span_equal_ct(ATLAS_SPAN_NONE, ATLAS_LIT("")));
}

TEST(cutting_never_leaves_the_span)
{
    struct atlas_span s = ATLAS_LIT("abcdef");
    struct atlas_span head = ATLAS_SPAN_NONE;
    CHECK_SPAN(atlas_span_sub(s, 2, 3), ATLAS_LIT("cde"));
    CHECK(atlas_span_sub(s, 6, 0).p != NULL);
    CHECK(atlas_span_sub(s, 7, 0).p == NULL);
    CHECK(atlas_span_sub(s, 2, 5).p == NULL);
    CHECK(atlas_span_sub(s, SIZE_MAX, 2).p == NULL);
    CHECK(atlas_span_sub(s, 2, SIZE_MAX).p == NULL);
    CHECK(!atlas_span_take(&s, 7, &head));
    CHECK(s.n == 6 && head.p == NULL);
    CHECK(atlas_span_take(&s, 2, &head));
    CHECK_SPAN(head, ATLAS_LIT("ab"));
    CHECK_SPAN(s, ATLAS_LIT("cdef"));
    CHECK(atlas_span_starts_with(s, ATLAS_LIT("cd")));
    CHECK(!atlas_span_starts_with(s, ATLAS_LIT("cdefg")));
    CHECK(!atlas_span_starts_with(s, ATLAS_LIT("d")));
}

TEST(integers_are_big_endian_and_whole)
{
    struct atlas_span s = ATLAS_LIT("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d");
    uint8_t v8;
    uint32_t v32;
    uint64_t v64;
    CHECK(atlas_span_take_u8(&s, &v8) && v8 == 1);
    CHECK(atlas_span_take_be32(&s, &v32) && v32 == 0x02030405);
    CHECK(atlas_span_take_be64(&s, &v64) && v64 == UINT64_C(0x060708090a0b0c0d));
    CHECK(s.n == 0);
    s = ATLAS_LIT("\x01\x02\x03\x04\x05\x06\x07");
    CHECK(!atlas_span_take_be64(&s, &v64));
    CHECK(s.n == 7);
}

/* ------------------------------------------------------------------------------------------------- buffers */

TEST(a_buffer_grows)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    for (uint32_t i = 0; i < 1000; i++) {
        atlas_buf_append_be32(&b, i);
    }
    CHECK(b.n == 4000);
    CHECK_OK(atlas_buf_check(&b, NULL));
    CHECK_SPAN(atlas_span_sub(atlas_buf_span(&b), 4 * 999, 4), ATLAS_LIT("\x00\x00\x03\xe7"));
    atlas_buf_set_be32(&b, 0, 0x01020304);
    CHECK_SPAN(atlas_span_sub(atlas_buf_span(&b), 0, 4), ATLAS_LIT("\x01\x02\x03\x04"));
    atlas_buf_clear(&b);
    atlas_buf_append_be64(&b, 5);
    CHECK_SPAN(atlas_buf_span(&b), ATLAS_LIT("\0\0\0\0\0\0\0\x05"));
    atlas_buf_release(&b);
    CHECK(b.p == NULL && b.n == 0);
}

TEST(a_buffer_takes_what_another_has)
{
    struct atlas_buf a = ATLAS_BUF_INIT;
    struct atlas_buf b = ATLAS_BUF_INIT;
    atlas_buf_reserve(&b, 3);
    CHECK(b.cap == 3 && b.n == 0);
    atlas_buf_append(&b, atlas_span_str("abc"));
    const uint8_t *bytes = b.p;
    atlas_buf_take(&a, &b);
    CHECK(a.p == bytes && b.p == NULL && b.n == 0); /* not copied */
    atlas_buf_append(&b, atlas_span_str("de"));
    atlas_buf_take(&a, &b);
    CHECK(atlas_span_equal(atlas_buf_span(&a), atlas_span_str("abcde")) && b.p == NULL);
    b.failed = true;
    atlas_buf_take(&a, &b);
    CHECK_ERR(atlas_buf_check(&a, NULL), ATLAS_E_NOMEM);
    atlas_buf_reserve(&b, SIZE_MAX);
    CHECK_ERR(atlas_buf_check(&b, NULL), ATLAS_E_NOMEM);
    atlas_buf_release(&a);
    atlas_buf_release(&b);
}

TEST(out_of_memory_is_sticky_in_a_buffer)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf b = ATLAS_BUF_INIT;
    atlas_buf_append_u8(&b, 1);
    CHECK(atlas_buf_extend(&b, SIZE_MAX) == NULL);
    CHECK(atlas_buf_extend(&b, SIZE_MAX / 2) == NULL);
    atlas_buf_append_u8(&b, 2);
    CHECK(b.n == 1);
    CHECK_ERR(atlas_buf_check(&b, &error), ATLAS_E_NOMEM);
    CHECK(error.code == ATLAS_E_NOMEM);
    atlas_buf_release(&b);
    CHECK_OK(atlas_buf_check(&b, NULL));
}

TEST(overwriting_beyond_the_end_fails_the_buffer)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    atlas_buf_append_be32(&b, 0);
    atlas_buf_set_be32(&b, 1, 7);
    CHECK_ERR(atlas_buf_check(&b, NULL), ATLAS_E_NOMEM);
    atlas_buf_release(&b);
}

/* -------------------------------------------------------------------------------------------------- errors */

TEST(the_first_error_wins)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    CHECK_ERR(atlas_error_at(&error, ATLAS_E_CBOR, 12, "claim", "first %d", 1), ATLAS_E_CBOR);
    CHECK_ERR(atlas_error_set(&error, ATLAS_E_IO, "file", "second"), ATLAS_E_IO);
    CHECK(error.code == ATLAS_E_CBOR && error.offset == 12);
    CHECK(strcmp(error.where, "claim") == 0);
    CHECK(strcmp(error.text, "first 1") == 0);
    CHECK_ERR(atlas_error_set(NULL, ATLAS_E_IO, NULL, "nobody listens"), ATLAS_E_IO);
}

TEST(long_error_texts_are_cut)
{
    char text[1000];
    struct atlas_error error = ATLAS_ERROR_INIT;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)atlas_error_set(&error, ATLAS_E_IO, text, "%s", text);
    CHECK(strlen(error.where) == sizeof error.where - 1);
    CHECK(strlen(error.text) == sizeof error.text - 1);
}

TEST(every_code_has_a_name)
{
    CHECK(strcmp(atlas_err_name(ATLAS_OK), "ATLAS_OK") == 0);
    CHECK(strcmp(atlas_err_name(ATLAS_E_LIMIT), "ATLAS_E_LIMIT") == 0);
    CHECK(strcmp(atlas_err_name(-12345), "ATLAS_E_INTERNAL") == 0);
}

/* -------------------------------------------------------------------------------------------- names, UTF-8 */

TEST(hash_algorithms_are_known_by_number_and_name)
{
    CHECK(atlas_alg_of(ATLAS_LIT("sha256")) == ATLAS_SHA256);
    CHECK(atlas_alg_of(ATLAS_LIT("sha384")) == ATLAS_SHA384);
    CHECK(atlas_alg_of(ATLAS_LIT("sha512")) == ATLAS_SHA512);
    CHECK(atlas_alg_of(ATLAS_LIT("SHA256")) == ATLAS_ALG_NONE);
    CHECK(atlas_alg_of(ATLAS_LIT("sha1")) == ATLAS_ALG_NONE);
    CHECK(atlas_alg_of(ATLAS_SPAN_NONE) == ATLAS_ALG_NONE);
    CHECK(atlas_alg_name(ATLAS_ALG_NONE) == NULL && atlas_alg_name(4) == NULL);
    CHECK(atlas_cose_alg_of(ATLAS_LIT("ES256")) == ATLAS_COSE_ES256);
    CHECK(atlas_cose_alg_of(ATLAS_LIT("none")) == ATLAS_COSE_NONE);
    CHECK(atlas_cose_alg_name(0) == NULL && atlas_cose_alg_name(-9) == NULL);
}

TEST(a_digest_has_the_length_of_its_algorithm)
{
    static const uint8_t bytes[64];
    struct atlas_digest d = {0};
    CHECK(atlas_digest_set(&d, ATLAS_SHA256, atlas_span_of(bytes, 32)));
    CHECK(!atlas_digest_set(&d, ATLAS_SHA256, atlas_span_of(bytes, 31)));
    CHECK(!atlas_digest_set(&d, ATLAS_SHA256, atlas_span_of(bytes, 64)));
    CHECK(!atlas_digest_set(&d, ATLAS_ALG_NONE, ATLAS_SPAN_NONE));
    struct atlas_digest absent = {0};
    CHECK(!atlas_digest_equal(&absent, &absent)); /* two absent digests say nothing */
    CHECK(atlas_digest_equal(&d, &d));
}

TEST(utf8_is_well_formed_or_refused)
{
    static const char *const good[] = {"", "a", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                                       "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x9F\xBF",
                                      "\xE0\xA0", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF0\x90\x80",
                                      "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF", "a\xFF", "\xE1\x80\x41"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK(atlas_utf8_check(atlas_span_str(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!atlas_utf8_check(atlas_span_str(bad[i])));
    }
    CHECK(atlas_utf8_check(ATLAS_LIT("a\0b"))); /* NUL is a character; who forbids it says so himself */
}

TEST(hexadecimal_is_lower_case)
{
    char out[7];
    atlas_hex(ATLAS_LIT("\x00\xAB\xFF"), out);
    CHECK(strcmp(out, "00abff") == 0);
}
