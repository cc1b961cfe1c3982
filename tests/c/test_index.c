/* test_index.c - encoded paths and the index of a directory, at the level of C. More cases: tests/unit/test_index.py. */
#include "base/path.h"
#include "format/index.h"
#include "test.h"

#define HEX "0000000000000000000000000000000000000000000000000000000000000000"
#define LINE(path) HEX " " HEX " 7 " path "\n"
#define HEADER "atlas-index 1 sha256\n"

static int count(struct atlas_span text)
{
    struct atlas_index x;
    struct atlas_index_entry e;
    int rc = atlas_index_open(&x, text, NULL);
    while (rc >= 0 && (rc = atlas_index_next(&x, &e, NULL)) == 1) {
    }
    return rc < 0 ? rc : (int)x.n;
}

TEST(every_byte_has_one_encoded_form)
{
    for (int c = 1; c < 256; c++) {
        const uint8_t raw = (uint8_t)c;
        struct atlas_buf encoded = ATLAS_BUF_INIT;
        struct atlas_buf decoded = ATLAS_BUF_INIT;
        atlas_path_encode(atlas_span_of(&raw, 1), &encoded);
        atlas_path_decode(atlas_buf_span(&encoded), &decoded);
        bool plain = c > 0x20 && c < 0x7F && c != '%';
        CHECK(encoded.n == (plain ? 1 : 3));
        CHECK_SPAN(atlas_buf_span(&decoded), atlas_span_of(&raw, 1));
        CHECK(atlas_path_check(atlas_buf_span(&encoded)) == (c != '.' && c != '/'));
        atlas_buf_release(&encoded);
        atlas_buf_release(&decoded);
    }
}

TEST(encoded_paths_are_ordered_as_what_they_stand_for)
{
    for (int a = 1; a < 256; a++) {
        for (int b = 1; b < 256; b++) {
            const uint8_t raw[2] = {(uint8_t)a, (uint8_t)b};
            struct atlas_buf left = ATLAS_BUF_INIT;
            struct atlas_buf right = ATLAS_BUF_INIT;
            atlas_path_encode(atlas_span_of(raw, 1), &left);
            atlas_path_encode(atlas_span_of(raw + 1, 1), &right);
            CHECK(atlas_path_compare(atlas_buf_span(&left), atlas_buf_span(&right)) == (a > b) - (a < b));
            atlas_buf_release(&left);
            atlas_buf_release(&right);
        }
    }
    CHECK(atlas_path_compare(ATLAS_LIT("a"), ATLAS_LIT("a%20")) < 0);
    CHECK(atlas_path_compare(ATLAS_LIT("a%20"), ATLAS_LIT("a%20")) == 0);
}

TEST(a_path_in_an_error_shows_its_end)
{
    char out[12];
    atlas_path_where("short", false, out, sizeof out);
    CHECK(strcmp(out, "short") == 0);
    atlas_path_where("elevenchars", false, out, sizeof out);
    CHECK(strcmp(out, "elevenchars") == 0);
    atlas_path_where("twelve chars", false, out, sizeof out);
    CHECK(strcmp(out, "...ve chars") == 0);
    atlas_path_where("a\nb", true, out, sizeof out);
    CHECK(strcmp(out, "a%0Ab") == 0);
    atlas_path_where("", true, out, sizeof out);
    CHECK(strcmp(out, "") == 0);
}

TEST(an_index_is_read_line_by_line)
{
    CHECK(count(ATLAS_LIT(HEADER)) == 0);
    CHECK(count(ATLAS_LIT(HEADER LINE("a") LINE("b%20c"))) == 2);
    CHECK_ERR(count(ATLAS_SPAN_NONE), ATLAS_E_INDEX);
    CHECK_ERR(count(ATLAS_LIT(HEADER LINE("b") LINE("a"))), ATLAS_E_INDEX);
    CHECK_ERR(count(ATLAS_LIT(HEADER LINE("a") LINE("a"))), ATLAS_E_INDEX);
    CHECK_ERR(count(ATLAS_LIT(HEADER LINE("../a"))), ATLAS_E_INDEX);
    CHECK_ERR(count(ATLAS_LIT(HEADER "\n")), ATLAS_E_INDEX);
}

TEST(an_entry_borrows_from_the_text)
{
    struct atlas_span text = ATLAS_LIT(HEADER LINE("dir/file"));
    struct atlas_index x;
    struct atlas_index_entry e;
    CHECK_OK(atlas_index_open(&x, text, NULL));
    CHECK(atlas_index_next(&x, &e, NULL) == 1);
    CHECK_SPAN(e.path, ATLAS_LIT("dir/file"));
    CHECK_SPAN(e.flat, ATLAS_LIT(HEX));
    CHECK_SPAN(e.line, ATLAS_LIT(HEX " " HEX " 7 dir/file"));
    CHECK(e.size == 7 && e.path.p > text.p && e.path.p < text.p + text.n);
    CHECK(atlas_index_next(&x, &e, NULL) == 0);
}

TEST(every_truncation_and_every_byte_of_an_index_is_harmless)
{
    static const char text[] = HEADER LINE("a") LINE("b%20c");
    uint8_t bytes[sizeof text - 1];
    for (size_t n = 0; n < sizeof bytes; n++) {
        uint8_t *copy = malloc(n + 1); /* of exactly this size, so that a sanitizer sees one byte too far */
        CHECK(copy != NULL);
        memcpy(copy, text, n);
        (void)count(atlas_span_of(copy, n));
        free(copy);
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        for (int c = 0; c < 256; c++) {
            memcpy(bytes, text, sizeof bytes);
            bytes[i] = (uint8_t)c;
            int rc = count(atlas_span_of(bytes, sizeof bytes));
            CHECK(rc >= 0 || rc == ATLAS_E_INDEX);
        }
    }
}

TEST(differences_come_in_order)
{
    struct atlas_index_diff d;
    enum atlas_index_change change;
    struct atlas_span path;
    CHECK_OK(atlas_index_diff_open(&d, ATLAS_LIT(HEADER LINE("a") LINE("b") LINE("c")),
                                   ATLAS_LIT(HEADER LINE("!") HEX " " HEX " 8 b\n" LINE("c")), NULL));
    CHECK_OK(atlas_index_diff_next(&d, &change, &path, NULL));
    CHECK(change == ATLAS_INDEX_ADDED && atlas_span_equal(path, ATLAS_LIT("!")));
    CHECK_OK(atlas_index_diff_next(&d, &change, &path, NULL));
    CHECK(change == ATLAS_INDEX_REMOVED && atlas_span_equal(path, ATLAS_LIT("a")));
    CHECK_OK(atlas_index_diff_next(&d, &change, &path, NULL));
    CHECK(change == ATLAS_INDEX_CHANGED && atlas_span_equal(path, ATLAS_LIT("b")));
    for (int more = 0; more < 2; more++) {
        CHECK_OK(atlas_index_diff_next(&d, &change, &path, NULL));
        CHECK(change == ATLAS_INDEX_SAME);
    }
    CHECK_ERR(atlas_index_diff_open(&d, ATLAS_LIT(HEADER), ATLAS_LIT("atlas-index 1 sha512\n"), NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_index_diff_open(&d, ATLAS_LIT(HEADER), ATLAS_LIT(HEADER "x"), NULL), ATLAS_E_INDEX);
}
