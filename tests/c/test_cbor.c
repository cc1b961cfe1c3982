/* test_cbor.c - the cursor and the writer against RFC 8949 and the profile of port/cbor.h. */
#include <math.h>

#include "hex.h"
#include "measure_cost.h"
#include "port/cbor.h"
#include "sample.h"
#include "test.h"

static int check_hex(const char *text)
{
    uint8_t bytes[128];
    struct atlas_error error = ATLAS_ERROR_INIT;
    int rc = atlas_cbor_check(hex(text, bytes, sizeof bytes), "test", &error);
    return rc == error.code ? rc : ATLAS_E_INTERNAL;
}

/* ------------------------------------------------------------------------------------------------- profile */

TEST(the_profile_accepts)
{
    static const char *const good[] = {
        "00", "17", "1818", "18ff", "190100", "1a00010000", "1b0000000100000000", "1bffffffffffffffff",
        "20", "3bffffffffffffffff", "40", "4401020304", "60", "6161", "62c3bc", "64f0908591",
        "80", "8301 8202 03 8204 05", "a0", "a1 01 02", "a1 20 02", "a1 41 00 02", "a1 6161 01",
        "a2 6162 01 6161 02", /* any order of keys */
        "f4", "f5", "f6", "f9 3c00", "fa 47c35000", "fb 3ff199999999999a", "f9 7e00", "fa 7fc00000",
        "c0 6161", "c1 00", "d2 80", "d8 18 41 00", "c0 c1 00", "a1 6161 c0 6162",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (check_hex(good[i]) != ATLAS_OK) {
            TEST_FAIL("refused: %s", good[i]);
        }
    }
}

TEST(the_profile_refuses)
{
    static const char *const bad[] = {
        "", "18", "19 00", "1a 000000", "1b 00000000000000",          /* ends inside a head */
        "1800", "1817", "190000", "1900ff", "1a0000ffff", "1b00000000ffffffff", /* heads longer than needed */
        "3817", "5800", "7800", "9800", "b800", "d817 00", "d8 12 80",
        "1c", "1d", "1e", "1f", "3c", "5c", "7e", "9d", "bc", "dc", "fc", "fd", "fe", "ff", /* reserved, break */
        "5f 41 00 ff", "7f 61 61 ff", "9f ff", "bf ff", "5f ff",      /* indefinite lengths */
        "41", "58 20 00", "61", "5b ffffffffffffffff", "7b 7fffffffffffffff", /* strings longer than the data */
        "81", "82 00", "a1", "a1 00", "c0", "c0 c0",                  /* items that are missing */
        "9a 10000000", "ba 10000000", "9b ffffffffffffffff", "bb 8000000000000000", /* counts that cannot be true */
        "00 00", "80 ff", "a0 00", "f6 f6",                           /* bytes after the document */
        "61 ff", "61 80", "62 c0 80", "62 c3 28", "63 ed a0 80", "64 f4 90 80 80", "a1 61 ff 00", /* not UTF-8 */
        "a2 01 00 01 00", "a2 6161 00 6161 00", "a3 02 00 01 00 02 00", "a2 41 61 00 41 61 01", /* keys twice */
        "82 a2 00 00 00 00 00", "a1 00 a2 00 00 00 00",
        "a1 80 00", "a1 a0 00", "a1 f5 00", "a1 f6 00", "a1 f9 3c00 00", "a1 c0 61 61 00", /* keys of other types */
        "f7", "e0", "f0", "f8 18", "f8 ff", "f8 14", "f8 15",         /* undefined, simple values */
        "c2 41 01", "c3 41 01", "a1 61 61 c2 40",                     /* big numbers */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (check_hex(bad[i]) != ATLAS_E_CBOR) {
            TEST_FAIL("not refused: %s", bad[i]);
        }
    }
}

TEST(errors_name_the_byte)
{
    uint8_t bytes[16];
    struct atlas_error error = ATLAS_ERROR_INIT;
    CHECK_ERR(atlas_cbor_check(hex("83 00 18 05 00", bytes, sizeof bytes), "here", &error), ATLAS_E_CBOR);
    CHECK(error.offset == 2);
    CHECK(strcmp(error.where, "here") == 0);
    CHECK(strstr(error.text, "longer than needed") != NULL);
}

/* -------------------------------------------------------------------------------------------------- limits */

static int check_depth(unsigned depth, uint8_t head, bool key)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    for (unsigned i = 0; i < depth; i++) {
        atlas_buf_append_u8(&b, head);
        if (key) {
            atlas_buf_append_u8(&b, 0);
        }
    }
    atlas_buf_append_u8(&b, 0);
    int rc = atlas_cbor_check(atlas_buf_span(&b), "", NULL);
    atlas_buf_release(&b);
    return rc;
}

TEST(depth_is_limited)
{
    CHECK_OK(check_depth(ATLAS_MAX_CBOR_DEPTH, 0x81, false));
    CHECK_ERR(check_depth(ATLAS_MAX_CBOR_DEPTH + 1, 0x81, false), ATLAS_E_LIMIT);
    CHECK_OK(check_depth(ATLAS_MAX_CBOR_DEPTH, 0xA1, true));
    CHECK_ERR(check_depth(ATLAS_MAX_CBOR_DEPTH + 1, 0xA1, true), ATLAS_E_LIMIT);
    CHECK_ERR(check_depth(100000, 0x81, false), ATLAS_E_LIMIT);
    CHECK_OK(check_depth(100000, 0xC1, false)); /* tags open nothing; they count as items */
    CHECK_ERR(check_depth(ATLAS_MAX_CBOR_ITEMS, 0xC1, false), ATLAS_E_LIMIT);
}

TEST(depth_of_empty_containers_is_limited_too)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    for (unsigned i = 0; i < ATLAS_MAX_CBOR_DEPTH; i++) {
        atlas_buf_append_u8(&b, 0x81);
    }
    atlas_buf_append_u8(&b, 0x80);
    int rc = atlas_cbor_check(atlas_buf_span(&b), "", NULL);
    atlas_buf_release(&b);
    CHECK_ERR(rc, ATLAS_E_LIMIT);
}

/* An array of n small integers: n + 1 items. */
static int check_items(uint32_t n)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    atlas_cbor_write_array(&b, n);
    (void)atlas_buf_extend(&b, n);
    int rc = atlas_cbor_check(atlas_buf_span(&b), "", NULL);
    atlas_buf_release(&b);
    return rc;
}

TEST(items_are_limited)
{
    CHECK_OK(check_items(ATLAS_MAX_CBOR_ITEMS - 1));
    CHECK_ERR(check_items(ATLAS_MAX_CBOR_ITEMS), ATLAS_E_LIMIT);
    CHECK_ERR(check_items(ATLAS_MAX_CBOR_ITEMS + 1), ATLAS_E_LIMIT);
}

/* ---------------------------------------------------------------------------------------------- duplicates */

/* n keys 0.. in an order that is not sorted; `twin` is written in place of the last key. */
static int check_map(uint32_t n, uint32_t twin)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    atlas_buf_append_u8(&b, 0xBA);
    atlas_buf_append_be32(&b, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key = i + 1 < n ? n - i : twin;
        atlas_cbor_write_uint(&b, key);
        atlas_cbor_write_null(&b);
    }
    if (n <= UINT16_MAX) { /* the shortest head */
        struct atlas_buf head = ATLAS_BUF_INIT;
        atlas_buf_append_u8(&head, n <= UINT8_MAX ? 0xB8 : 0xB9);
        if (n > UINT8_MAX) {
            atlas_buf_append_u8(&head, (uint8_t)(n >> 8));
        }
        atlas_buf_append_u8(&head, (uint8_t)n);
        atlas_buf_append(&head, atlas_span_sub(atlas_buf_span(&b), 5, b.n - 5));
        atlas_buf_release(&b);
        b = head;
    }
    int rc = atlas_cbor_check(atlas_buf_span(&b), "", NULL);
    atlas_buf_release(&b);
    return rc;
}

TEST(duplicates_are_found_in_maps_of_any_size)
{
    static const uint32_t sizes[] = {24, 63, 64, 65, 66, 200, 1000, 70000, 400000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint32_t n = sizes[i];
        CHECK_OK(check_map(n, 0));
        CHECK_ERR(check_map(n, n), ATLAS_E_CBOR);
        CHECK_ERR(check_map(n, n / 2), ATLAS_E_CBOR);
        CHECK_ERR(check_map(n, 2), ATLAS_E_CBOR);
    }
}

/* -------------------------------------------------------------------------------------------------- cursor */

TEST(the_first_error_stays)
{
    uint8_t bytes[16];
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_cbor c;
    uint64_t v = 77;
    struct atlas_span text = ATLAS_SPAN_NONE;
    CHECK_OK(atlas_cbor_init(&c, hex("82 61 61 05", bytes, sizeof bytes), "doc", &error));
    CHECK_OK(atlas_cbor_enter_array(&c, NULL));
    CHECK_ERR(atlas_cbor_take_uint(&c, &v), ATLAS_E_CBOR);
    CHECK_ERR(atlas_cbor_take_text(&c, &text), ATLAS_E_CBOR); /* would succeed otherwise */
    CHECK(v == 77);
    CHECK(text.p == NULL);
    CHECK(!atlas_cbor_more(&c));
    CHECK(atlas_cbor_peek(&c) == ATLAS_CBOR_NONE);
    CHECK_ERR(atlas_cbor_leave(&c), ATLAS_E_CBOR);
    CHECK_ERR(atlas_cbor_finish(&c), ATLAS_E_CBOR);
    CHECK(error.offset == 1);
}

TEST(a_misfit_has_the_code_of_its_schema)
{
    uint8_t bytes[16];
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_cbor c;
    bool flag;
    CHECK_OK(atlas_cbor_init(&c, hex("05", bytes, sizeof bytes), "doc", &error));
    c.misfit = ATLAS_E_C2PA;
    CHECK_ERR(atlas_cbor_take_bool(&c, &flag), ATLAS_E_C2PA);
    CHECK(strcmp(error.text, "must be true or false") == 0);
}

TEST(reading_stops_at_the_end_of_a_level)
{
    uint8_t bytes[16];
    struct atlas_cbor c;
    uint64_t v;
    CHECK_OK(atlas_cbor_init(&c, hex("82 81 01 02", bytes, sizeof bytes), "doc", NULL));
    CHECK_OK(atlas_cbor_enter_array(&c, NULL));
    CHECK_OK(atlas_cbor_enter_array(&c, NULL));
    CHECK_OK(atlas_cbor_take_uint(&c, &v));
    CHECK(!atlas_cbor_more(&c));
    CHECK_ERR(atlas_cbor_take_uint(&c, &v), ATLAS_E_CBOR); /* the 2 belongs to the outer array */
}

TEST(nothing_is_left_unread_by_accident)
{
    uint8_t bytes[16];
    struct atlas_cbor c;
    uint64_t v;
    CHECK_OK(atlas_cbor_init(&c, hex("82 01 02", bytes, sizeof bytes), "doc", NULL));
    CHECK_OK(atlas_cbor_enter_array(&c, NULL));
    CHECK_OK(atlas_cbor_take_uint(&c, &v));
    CHECK_ERR(atlas_cbor_leave(&c), ATLAS_E_CBOR);

    CHECK_OK(atlas_cbor_init(&c, hex("82 01 02", bytes, sizeof bytes), "doc", NULL));
    CHECK_ERR(atlas_cbor_finish(&c), ATLAS_E_ARG);
    CHECK_OK(atlas_cbor_init(&c, hex("81 01", bytes, sizeof bytes), "doc", NULL));
    CHECK_OK(atlas_cbor_enter_array(&c, NULL));
    CHECK_OK(atlas_cbor_take_uint(&c, &v));
    CHECK_ERR(atlas_cbor_finish(&c), ATLAS_E_ARG); /* still open */
    CHECK_OK(atlas_cbor_init(&c, hex("c1 01", bytes, sizeof bytes), "doc", NULL));
    CHECK_OK(atlas_cbor_take_tag(&c, &v));
    CHECK_ERR(atlas_cbor_finish(&c), ATLAS_E_ARG); /* the tagged item */
    CHECK_OK(atlas_cbor_init(&c, hex("01", bytes, sizeof bytes), "doc", NULL));
    CHECK_ERR(atlas_cbor_leave(&c), ATLAS_E_ARG); /* nothing is open */
    atlas_cbor_open(&c, hex("01 01", bytes, sizeof bytes), "doc", NULL);
    CHECK_OK(atlas_cbor_take_uint(&c, &v));
    CHECK_ERR(atlas_cbor_finish(&c), ATLAS_E_CBOR); /* bytes after it */
}

TEST(integers_keep_their_range)
{
    uint8_t bytes[16];
    struct atlas_cbor c;
    int64_t v = 0;
    CHECK_OK(atlas_cbor_init(&c, hex("1b7fffffffffffffff", bytes, sizeof bytes), "", NULL));
    CHECK_OK(atlas_cbor_take_int(&c, &v));
    CHECK(v == INT64_MAX);
    CHECK_OK(atlas_cbor_init(&c, hex("3b7fffffffffffffff", bytes, sizeof bytes), "", NULL));
    CHECK_OK(atlas_cbor_take_int(&c, &v));
    CHECK(v == INT64_MIN);
    CHECK_OK(atlas_cbor_init(&c, hex("1b8000000000000000", bytes, sizeof bytes), "", NULL));
    CHECK_ERR(atlas_cbor_take_int(&c, &v), ATLAS_E_CBOR);
    CHECK_OK(atlas_cbor_init(&c, hex("3b8000000000000000", bytes, sizeof bytes), "", NULL));
    CHECK_ERR(atlas_cbor_take_int(&c, &v), ATLAS_E_CBOR);
    CHECK_OK(atlas_cbor_init(&c, hex("f6", bytes, sizeof bytes), "", NULL));
    CHECK_ERR(atlas_cbor_take_int(&c, &v), ATLAS_E_CBOR);
}

TEST(dates_may_be_tagged_zero_or_not_at_all)
{
    uint8_t bytes[16];
    struct atlas_cbor c;
    struct atlas_span date = ATLAS_SPAN_NONE;
    CHECK_OK(atlas_cbor_init(&c, hex("c0 62 3230", bytes, sizeof bytes), "", NULL));
    CHECK_OK(atlas_cbor_take_date(&c, &date));
    CHECK_SPAN(date, ATLAS_LIT("20"));
    CHECK_OK(atlas_cbor_finish(&c));
    CHECK_OK(atlas_cbor_init(&c, hex("62 3230", bytes, sizeof bytes), "", NULL));
    CHECK_OK(atlas_cbor_take_date(&c, &date));
    CHECK_OK(atlas_cbor_init(&c, hex("c1 62 3230", bytes, sizeof bytes), "", NULL));
    CHECK_ERR(atlas_cbor_take_date(&c, &date), ATLAS_E_CBOR);
    CHECK_OK(atlas_cbor_init(&c, hex("c0 05", bytes, sizeof bytes), "", NULL));
    CHECK_ERR(atlas_cbor_take_date(&c, &date), ATLAS_E_CBOR);
}

TEST(empty_strings_are_present)
{
    uint8_t bytes[16];
    struct atlas_cbor c;
    struct atlas_span s = ATLAS_SPAN_NONE;
    CHECK_OK(atlas_cbor_init(&c, hex("82 40 60", bytes, sizeof bytes), "", NULL));
    CHECK_OK(atlas_cbor_enter_array(&c, NULL));
    CHECK_OK(atlas_cbor_take_bytes(&c, &s));
    CHECK(s.p != NULL && s.n == 0);
    s = ATLAS_SPAN_NONE;
    CHECK_OK(atlas_cbor_take_text(&c, &s));
    CHECK(s.p != NULL && s.n == 0);
}

TEST(a_list_counts_its_elements_in_errors)
{
    uint8_t bytes[32];
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_cbor c;
    struct atlas_span item;
    uint64_t v;
    CHECK_OK(atlas_cbor_open_list(&c, hex("84 01 82 02 03 04 f6", bytes, sizeof bytes), "list", &error));
    CHECK_OK(atlas_cbor_take_uint(&c, &v));
    CHECK_OK(atlas_cbor_enter_array(&c, NULL));
    CHECK_OK(atlas_cbor_skip(&c));
    CHECK_OK(atlas_cbor_skip(&c));
    CHECK_OK(atlas_cbor_leave(&c));
    CHECK_OK(atlas_cbor_take_raw(&c, &item));
    CHECK_ERR(atlas_cbor_take_uint(&c, &v), ATLAS_E_CBOR);
    CHECK(strcmp(error.where, "list[3]") == 0);
}

TEST(raw_items_are_whole)
{
    uint8_t bytes[32];
    struct atlas_cbor c;
    struct atlas_span item = ATLAS_SPAN_NONE;
    struct atlas_span document = hex("82 a1 61 61 c0 82 01 61 7a 05", bytes, sizeof bytes);
    CHECK_OK(atlas_cbor_init(&c, document, "", NULL));
    CHECK_OK(atlas_cbor_enter_array(&c, NULL));
    CHECK_OK(atlas_cbor_take_raw(&c, &item));
    CHECK_SPAN(item, atlas_span_sub(document, 1, 8));
    CHECK_OK(atlas_cbor_skip(&c));
    CHECK_OK(atlas_cbor_leave(&c));
    CHECK_OK(atlas_cbor_finish(&c));
}

TEST(a_zeroed_cursor_gives_nothing)
{
    struct atlas_cbor c = {0};
    struct atlas_span s;
    uint64_t v;
    CHECK(!atlas_cbor_more(&c));
    CHECK(atlas_cbor_peek(&c) == ATLAS_CBOR_NONE);
    c.where = "";
    CHECK_ERR(atlas_cbor_take_uint(&c, &v), ATLAS_E_INTERNAL);
    c = (struct atlas_cbor){.where = "", .left = {1}, .misfit = ATLAS_E_CBOR};
    CHECK_ERR(atlas_cbor_take_raw(&c, &s), ATLAS_E_CBOR); /* no bytes at all */
}

/* A cursor on bytes that nobody has checked must stay inside them. */
TEST(unchecked_bytes_are_read_without_harm)
{
    struct atlas_buf input = ATLAS_BUF_INIT;
    sample_cbor(&input);
    for (size_t i = 0; i < 8 * input.n; i++) {
        struct atlas_cbor c;
        struct atlas_span item;
        uint8_t *copy = malloc(input.n);
        CHECK(copy != NULL);
        memcpy(copy, input.p, input.n);
        copy[i / 8] ^= (uint8_t)(1u << i % 8);
        atlas_cbor_open(&c, atlas_span_of(copy, input.n), "", NULL);
        (void)atlas_cbor_enter_map(&c, NULL);
        while (atlas_cbor_more(&c)) {
            (void)atlas_cbor_take_raw(&c, &item);
        }
        (void)atlas_cbor_leave(&c);
        free(copy);
    }
    atlas_buf_release(&input);
}

/* -------------------------------------------------------------------------------------------- map by table */

struct view {
    struct atlas_span name;
    struct atlas_span data;
    struct atlas_span any;
    struct atlas_cbor_uint size;
    struct atlas_cbor_uint flag;
};

static const struct atlas_cbor_field view_fields[] = {
    ATLAS_CBOR_REQUIRED(view, "name", TEXT, name), ATLAS_CBOR_OPTIONAL(view, "data", BYTES, data),
    ATLAS_CBOR_OPTIONAL(view, "any", ANY, any),    ATLAS_CBOR_OPTIONAL(view, "size", UINT, size),
    ATLAS_CBOR_OPTIONAL(view, "flag", BOOL, flag),
};

static int read_view(const char *text, struct view *view, struct atlas_error *error)
{
    static uint8_t bytes[64]; /* the view borrows it */
    struct atlas_cbor c;
    *error = ATLAS_ERROR_INIT;
    *view = (struct view){0};
    int rc = atlas_cbor_init(&c, hex(text, bytes, sizeof bytes), "view", error);
    c.misfit = ATLAS_E_C2PA;
    if (rc == ATLAS_OK) {
        rc = atlas_cbor_read_map(&c, view_fields, ATLAS_COUNT(view_fields), view);
    }
    return rc < 0 ? rc : atlas_cbor_finish(&c);
}

TEST(a_table_reads_a_map)
{
    struct view v;
    struct atlas_error error;
    CHECK_OK(read_view("a5 6473697a65 05 646e616d65 6178 64666c6167 f5 63616e79 820102 6464617461 40", &v, &error));
    CHECK_SPAN(v.name, ATLAS_LIT("x"));
    CHECK(v.data.p != NULL && v.data.n == 0);
    CHECK_SPAN(v.any, ATLAS_LIT("\x82\x01\x02"));
    CHECK(v.size.present && v.size.v == 5);
    CHECK(v.flag.present && v.flag.v == 1);
    CHECK_OK(read_view("a1 646e616d65 6178", &v, &error));
    CHECK(v.data.p == NULL && v.any.p == NULL && !v.size.present && !v.flag.present);
}

TEST(a_table_ignores_keys_that_it_does_not_know)
{
    struct view v;
    struct atlas_error error;
    CHECK_OK(read_view("a4 05 6178 626e61 a101 02 41 00 f6 646e616d65 6178", &v, &error));
    CHECK_SPAN(v.name, ATLAS_LIT("x"));
}

TEST(a_table_refuses_what_does_not_fit)
{
    struct view v;
    struct atlas_error error;
    CHECK_ERR(read_view("a0", &v, &error), ATLAS_E_C2PA);
    CHECK(strcmp(error.where, "view.name") == 0);
    CHECK(strcmp(error.text, "is missing") == 0);
    CHECK_ERR(read_view("a1 646e616d65 05", &v, &error), ATLAS_E_C2PA);
    CHECK(strcmp(error.text, "must be text") == 0);
    CHECK_ERR(read_view("a2 646e616d65 6178 6473697a65 20", &v, &error), ATLAS_E_C2PA);
    CHECK(strcmp(error.where, "view.size") == 0);
    CHECK_ERR(read_view("80", &v, &error), ATLAS_E_C2PA);
    CHECK_ERR(read_view("a2 646e616d65 6178 646e616d65 6178", &v, &error), ATLAS_E_CBOR); /* the key twice */
}

/* -------------------------------------------------------------------------------------------------- writer */

static bool wrote(struct atlas_buf *b, const char *expected)
{
    uint8_t bytes[128];
    bool same = atlas_span_equal(atlas_buf_span(b), hex(expected, bytes, sizeof bytes));
    atlas_buf_release(b);
    return same;
}

TEST(the_writer_uses_shortest_forms)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    atlas_cbor_write_uint(&b, 23);
    atlas_cbor_write_uint(&b, 24);
    atlas_cbor_write_uint(&b, 255);
    atlas_cbor_write_uint(&b, 256);
    atlas_cbor_write_uint(&b, 65536);
    atlas_cbor_write_uint(&b, UINT64_C(4294967296));
    CHECK(wrote(&b, "17 1818 18ff 190100 1a00010000 1b0000000100000000"));
    atlas_cbor_write_int(&b, -1);
    atlas_cbor_write_int(&b, -500);
    atlas_cbor_write_int(&b, INT64_MIN);
    atlas_cbor_write_int(&b, INT64_MAX);
    atlas_cbor_write_negint(&b, UINT64_MAX);
    CHECK(wrote(&b, "20 3901f3 3b7fffffffffffffff 1b7fffffffffffffff 3bffffffffffffffff"));
    atlas_cbor_write_tag(&b, 18);
    atlas_cbor_write_array(&b, 2);
    atlas_cbor_write_null(&b);
    atlas_cbor_write_bool(&b, false);
    CHECK(wrote(&b, "d2 82 f6 f4"));
    atlas_cbor_write_date(&b, ATLAS_LIT("2"));
    atlas_cbor_write_bytes(&b, ATLAS_SPAN_NONE);
    CHECK(wrote(&b, "c0 61 32 40"));
}

TEST(floats_take_the_shortest_form_that_keeps_them)
{
    static const struct {
        double v;
        const char *form;
    } rows[] = {
        {0.0, "f90000"},
        {-0.0, "f98000"},
        {1.0, "f93c00"},
        {1.5, "f93e00"},
        {65504.0, "f97bff"},
        {65505.0, "fa477fe100"},
        {65536.0, "fa47800000"},
        {5.960464477539063e-08, "f90001"},   /* the smallest half */
        {2.9802322387695312e-08, "fa33000000"}, /* half of it */
        {6.097555160522461e-05, "f903ff"},   /* the largest subnormal half */
        {6.103515625e-05, "f90400"},         /* the smallest normal half */
        {100000.0, "fa47c35000"},
        {3.4028234663852886e+38, "fa7f7fffff"},
        {3.4028235677973366e+38, "fb47effffff0000000"}, /* just too large for a float */
        {1.401298464324817e-45, "fa00000001"},
        {1.1, "fb3ff199999999999a"},
        {1e300, "fb7e37e43c8800759c"},
        {(double)INFINITY, "f97c00"},
        {-(double)INFINITY, "f9fc00"},
        {(double)NAN, "f97e00"},
        {-(double)NAN, "f97e00"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct atlas_buf b = ATLAS_BUF_INIT;
        atlas_cbor_write_double(&b, rows[i].v);
        CHECK(wrote(&b, rows[i].form));
    }
}

TEST(every_half_float_survives)
{
    for (uint32_t bits = 0; bits <= UINT16_MAX; bits++) {
        uint8_t item[] = {0xF9, (uint8_t)(bits >> 8), (uint8_t)bits};
        struct atlas_buf b = ATLAS_BUF_INIT;
        struct atlas_cbor c;
        double v = 0;
        CHECK_OK(atlas_cbor_init(&c, atlas_span_of(item, 3), "", NULL));
        CHECK_OK(atlas_cbor_take_double(&c, &v));
        atlas_cbor_write_double(&b, v);
        bool same = isnan(v) || atlas_span_equal(atlas_buf_span(&b), atlas_span_of(item, 3));
        atlas_buf_release(&b);
        CHECK(same);
    }
}

TEST(maps_are_sorted_by_encoded_key)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_uint(&m, "aa", 1);
    atlas_cbor_map_put_uint(&m, "b", 2);
    atlas_cbor_write_uint(atlas_cbor_map_key(&m, "a"), 3);
    struct atlas_buf *entry = atlas_cbor_map_entry(&m);
    atlas_cbor_write_int(entry, -1);
    atlas_cbor_write_array(entry, 1);
    atlas_cbor_write_null(entry);
    entry = atlas_cbor_map_entry(&m);
    atlas_cbor_write_uint(entry, 100);
    atlas_cbor_write_uint(entry, 0);
    entry = atlas_cbor_map_entry(&m);
    atlas_cbor_write_uint(entry, 10);
    atlas_cbor_write_uint(entry, 0);
    int rc = atlas_cbor_map_write(&m, &b, NULL);
    atlas_cbor_map_release(&m);
    CHECK_OK(rc);
    CHECK(wrote(&b, "a6 0a 00 18 64 00 20 81 f6 61 61 03 61 62 02 62 61 61 01"));
}

TEST(a_map_refuses_what_is_no_map)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    atlas_cbor_map_put_uint(&m, "a", 1);
    atlas_cbor_map_put_uint(&m, "b", 1);
    atlas_cbor_map_put_uint(&m, "a", 2);
    CHECK_ERR(atlas_cbor_map_write(&m, &b, NULL), ATLAS_E_ARG);
    atlas_cbor_map_release(&m);
    (void)atlas_cbor_map_key(&m, "without a value");
    CHECK_ERR(atlas_cbor_map_write(&m, &b, NULL), ATLAS_E_INTERNAL);
    atlas_cbor_map_release(&m);
    struct atlas_buf *entry = atlas_cbor_map_key(&m, "with two");
    atlas_cbor_write_null(entry);
    atlas_cbor_write_null(entry);
    CHECK_ERR(atlas_cbor_map_write(&m, &b, NULL), ATLAS_E_INTERNAL);
    atlas_cbor_map_release(&m);
    m.bytes.failed = true;
    CHECK_ERR(atlas_cbor_map_write(&m, &b, NULL), ATLAS_E_NOMEM);
    CHECK(b.n == 0);
    m.bytes.failed = false;
    CHECK_OK(atlas_cbor_map_write(&m, &b, NULL));
    CHECK(wrote(&b, "a0"));
}

/* -------------------------------------------------------------------------------------------------- bombs */

TEST(bombs_cost_nothing)
{
    uint8_t five[] = {0x9A, 0x10, 0x00, 0x00, 0x00};
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct cost cost = cost_start();
    CHECK_ERR(atlas_cbor_check(atlas_span_of(five, 5), "", NULL), ATLAS_E_CBOR);

    for (size_t i = 0; i < 1000; i++) { /* each announces as many items as there are bytes left */
        atlas_buf_append_u8(&b, 0x9A);
        atlas_buf_append_be32(&b, (uint32_t)(5000 - 5 * i - 5));
    }
    CHECK(atlas_cbor_check(atlas_buf_span(&b), "", NULL) < 0);
    atlas_buf_release(&b);

    atlas_cbor_write_array(&b, ATLAS_MAX_CBOR_ITEMS - 1); /* a million empty maps */
    uint8_t *maps = atlas_buf_extend(&b, ATLAS_MAX_CBOR_ITEMS - 1);
    CHECK(maps != NULL);
    memset(maps, 0xA0, ATLAS_MAX_CBOR_ITEMS - 1);
    CHECK_OK(atlas_cbor_check(atlas_buf_span(&b), "", NULL));
    atlas_buf_release(&b);
    CHECK(cost_is_below(&cost, 1.0, 64u << 20));
}

/* The worst that unsorted maps can do: each of the nested ones is walked again. */
TEST(nested_unsorted_maps_take_bounded_time)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct cost cost = cost_start();
    for (unsigned i = 0; i < ATLAS_MAX_CBOR_DEPTH - 1; i++) { /* {2: 2, 1: 1, 3: ...} */
        static const uint8_t open[] = {0xA3, 2, 2, 1, 1, 3};
        atlas_buf_append(&b, atlas_span_of(open, sizeof open));
    }
    atlas_cbor_write_array(&b, ATLAS_MAX_CBOR_ITEMS - 300);
    (void)atlas_buf_extend(&b, ATLAS_MAX_CBOR_ITEMS - 300);
    int rc = atlas_cbor_check(atlas_buf_span(&b), "", NULL);
    atlas_buf_release(&b);
    CHECK_OK(rc);
    CHECK(cost_is_below(&cost, 2.0, 64u << 20));
}

TEST(a_huge_unsorted_map_takes_bounded_time_and_memory)
{
    struct cost cost = cost_start();
    CHECK_OK(check_map(499999, 0));
    CHECK_ERR(check_map(499999, 250000), ATLAS_E_CBOR);
    CHECK(cost_is_below(&cost, 3.0, 64u << 20));
}
