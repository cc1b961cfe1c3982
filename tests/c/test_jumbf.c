/* test_jumbf.c - boxes: known bytes, every malformation, limits, index. */
#include "format/jumbf.h"
#include "measure_cost.h"
#include "port/crypto/crypto.h"
#include "sample.h"
#include "test.h"

#define UUID_TAIL "\x00\x11\x00\x10\x80\x00\x00\xAA\x00\x38\x9B\x71"

/* A superbox of kind `cbor` labelled "x", without salt, with one empty cbor box. */
#define PLAIN "\0\0\0\x2b" "jumb" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL "\x03" "x\0" "\0\0\0\x08" "cbor"

static int check(struct atlas_span bytes)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    int rc = atlas_jumbf_check(bytes, "boxes", &error);
    return rc == error.code ? rc : ATLAS_E_INTERNAL;
}

#define CHECK_REFUSED(literal) CHECK_ERR(check(ATLAS_LIT(literal)), ATLAS_E_JUMBF)

/* ---------------------------------------------------------------------------------------- known answers */

/* SHA-256 of the payload, in hexadecimal. */
static bool payload_hash_is(struct atlas_span payload, const char *expected)
{
    struct atlas_digest digest;
    char text[2 * ATLAS_DIGEST_MAX + 1];
    if (atlas_crypto_digest(ATLAS_SHA256, payload, &digest, NULL) < 0) {
        return false;
    }
    atlas_hex(atlas_digest_span(&digest), text);
    return strcmp(text, expected) == 0;
}

TEST(an_assertion_has_the_known_bytes_and_hash)
{
    struct atlas_jumbf box;
    struct atlas_buf b = ATLAS_BUF_INIT;
    sample_known_answer(&b, false);
    int rc = atlas_jumbf_read(atlas_buf_span(&b), "", &box, NULL);
    size_t size = b.n;
    bool bytes = rc == ATLAS_OK &&
                 atlas_span_starts_with(atlas_buf_span(&b),
                                        ATLAS_LIT("\0\0\0\x79" "jumb" "\0\0\0\x28" "jumd" "cbor" UUID_TAIL "\x03"
                                                  "c2pa.hash.data\0" "\0\0\0\x49" "cbor" "\xa4\x63" "alg"));
    bool hash = rc == ATLAS_OK &&
                payload_hash_is(box.payload, "f90fbe258b4bcc09c9c66ab566241d5663b701f198c3a4bbcb1714667381d2a5");
    atlas_buf_release(&b);
    CHECK_OK(rc);
    CHECK(size == 121);
    CHECK(bytes);
    CHECK(hash);
}

TEST(a_salted_assertion_has_the_known_hash)
{
    struct atlas_jumbf box;
    struct atlas_buf b = ATLAS_BUF_INIT;
    sample_known_answer(&b, true);
    int rc = atlas_jumbf_read(atlas_buf_span(&b), "", &box, NULL);
    size_t size = b.n;
    bool salt = rc == ATLAS_OK && box.salt.n == 32 && box.salt.p[31] == 31;
    bool hash = rc == ATLAS_OK &&
                payload_hash_is(box.payload, "fe626ff13f80fb9f6ff8564a363c5a076b5196b206c13c11ee77e1434cc54f62");
    bool same = rc == ATLAS_OK && atlas_span_equal(box.payload, atlas_jumbf_written(&b, 0));
    atlas_buf_release(&b);
    CHECK_OK(rc);
    CHECK(size == 161);
    CHECK(salt);
    CHECK(hash);
    CHECK(same);
}

/* ---------------------------------------------------------------------------------------------- reading */

TEST(a_superbox_is_read)
{
    struct atlas_jumbf box;
    struct atlas_span content = ATLAS_SPAN_NONE;
    CHECK_OK(check(ATLAS_LIT(PLAIN)));
    CHECK_OK(atlas_jumbf_read(ATLAS_LIT(PLAIN), "", &box, NULL));
    CHECK(box.kind == ATLAS_JUMBF_CBOR);
    CHECK_SPAN(box.label, ATLAS_LIT("x"));
    CHECK(box.salt.p == NULL);
    CHECK(box.box.n == 43 && box.payload.n == 35 && box.content.n == 8);
    CHECK_OK(atlas_jumbf_content(&box, ATLAS_JUMBF_CBOR, "", &content, NULL));
    CHECK(content.p != NULL && content.n == 0);
    CHECK_ERR(atlas_jumbf_content(&box, ATLAS_JUMBF_JSON, "", &content, NULL), ATLAS_E_JUMBF);
}

TEST(a_long_header_is_read)
{
    struct atlas_jumbf box;
    struct atlas_span bytes = ATLAS_LIT("\0\0\0\x01" "jumb" "\0\0\0\0\0\0\0\x33" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL
                                        "\x03" "x\0" "\0\0\0\x08" "cbor");
    CHECK_OK(check(bytes));
    CHECK_OK(atlas_jumbf_read(bytes, "", &box, NULL));
    CHECK(box.box.n == 51 && box.payload.n == 35); /* 16 bytes of header are not hashed */
}

TEST(an_unknown_type_is_kind_zero)
{
    struct atlas_jumbf box;
    CHECK_OK(atlas_jumbf_read(ATLAS_LIT("\0\0\0\x23" "jumb" "\0\0\0\x1b" "jumd" "cbor" "\x01\x11\x00\x10\x80\x00\x00"
                                        "\xAA\x00\x38\x9B\x71" "\x03" "x\0"), "", &box, NULL));
    CHECK(box.kind == 0);
    CHECK_OK(atlas_jumbf_read(ATLAS_LIT("\0\0\0\x23" "jumb" "\0\0\0\x1b" "jumd" "\x40\xCB\x0C\x32\xBB\x8A\x48\x9D"
                                        "\xA7\x0B\x2A\xD6\xF4\x7F\x43\x69" "\x03" "x\0"), "", &box, NULL));
    CHECK(box.kind == ATLAS_JUMBF_EMBEDDED_FILE);
}

TEST(malformed_lengths_are_refused)
{
    CHECK_REFUSED("");
    CHECK_REFUSED("\0\0\0\x08" "jum");
    CHECK_REFUSED("\0\0\0\x00" "jumb");                                   /* to the end */
    CHECK_REFUSED("\0\0\0\x07" "jumb");                                   /* shorter than its header */
    CHECK_REFUSED("\0\0\0\x08" "jumb");                                   /* no description */
    CHECK_REFUSED("\xff\xff\xff\xff" "jumb");
    CHECK_REFUSED("\0\0\0\x01" "jumb" "\0\0\0\0\0\0\0");                  /* a long header cut off */
    CHECK_REFUSED("\0\0\0\x01" "jumb" "\0\0\0\0\0\0\0\x0f");
    CHECK_REFUSED("\0\0\0\x01" "jumb" "\xff\xff\xff\xff\xff\xff\xff\xff");
    CHECK_REFUSED("\0\0\0\x01" "jumb" "\x80\0\0\0\0\0\0\x10");
    CHECK_REFUSED("\0\0\0\x2a" "jumb" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL "\x03" "x\0" "\0\0\0\x08" "cbo"); /* child */
    CHECK_REFUSED("\0\0\0\x2b" "jumb" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL "\x03" "x\0" "\0\0\0\x09" "cbor");
    CHECK_REFUSED(PLAIN "\0");                                            /* trailing bytes */
    CHECK_REFUSED(PLAIN PLAIN);
}

TEST(malformed_descriptions_are_refused)
{
    CHECK_REFUSED("\0\0\0\x2b" "jumB" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL "\x03" "x\0" "\0\0\0\x08" "cbor");
    CHECK_REFUSED("\0\0\0\x2b" "jumb" "\0\0\0\x1b" "jumD" "cbor" UUID_TAIL "\x03" "x\0" "\0\0\0\x08" "cbor");
    CHECK_REFUSED("\0\0\0\x20" "jumb" "\0\0\0\x18" "jumd" "cbor" UUID_TAIL); /* no toggles */
    CHECK_REFUSED("\0\0\0\x21" "jumb" "\0\0\0\x19" "jumd" "cbor" UUID_TAIL "\x03"); /* no label */
    CHECK_REFUSED("\0\0\0\x22" "jumb" "\0\0\0\x1a" "jumd" "cbor" UUID_TAIL "\x03" "\0"); /* an empty one */
    CHECK_REFUSED("\0\0\0\x22" "jumb" "\0\0\0\x1a" "jumd" "cbor" UUID_TAIL "\x03" "x"); /* without its end */
    CHECK_REFUSED("\0\0\0\x24" "jumb" "\0\0\0\x1c" "jumd" "cbor" UUID_TAIL "\x03" "x\0y"); /* something behind it */
    CHECK_REFUSED("\0\0\0\x23" "jumb" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL "\x01" "x\0"); /* toggles */
    CHECK_REFUSED("\0\0\0\x23" "jumb" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL "\x02" "x\0");
    CHECK_REFUSED("\0\0\0\x23" "jumb" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL "\x07" "x\0");
    CHECK_REFUSED("\0\0\0\x23" "jumb" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL "\x0b" "x\0");
    CHECK_REFUSED("\0\0\0\x23" "jumb" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL "\x83" "x\0");
    CHECK_REFUSED("\0\0\0\x23"
                  "jumb"
                  "\0\0\0\x1b"
                  "jumd"
                  "cbor" UUID_TAIL "\x13"
                  "x\0"); /* private, and nothing there */
}

static int check_salt(const char *type, size_t n, bool more)
{
    static const uint8_t zeroes[64];
    struct atlas_buf b = ATLAS_BUF_INIT;
    uint32_t salt_box = (uint32_t)(8 + n);
    uint32_t description = 27 + salt_box + more;
    atlas_buf_append_be32(&b, 8 + description);
    atlas_buf_append(&b, ATLAS_LIT("jumb"));
    atlas_buf_append_be32(&b, description);
    atlas_buf_append(&b, ATLAS_LIT("jumdcbor" UUID_TAIL "\x13" "x\0"));
    atlas_buf_append_be32(&b, salt_box);
    atlas_buf_append(&b, atlas_span_of(type, 4));
    atlas_buf_append(&b, atlas_span_of(zeroes, n + more));
    int rc = check(atlas_buf_span(&b));
    atlas_buf_release(&b);
    return rc;
}

TEST(a_salt_has_16_or_32_bytes_and_nothing_beside_it)
{
    CHECK_OK(check_salt("c2sh", 16, false));
    CHECK_OK(check_salt("c2sh", 32, false));
    CHECK_ERR(check_salt("c2sh", 0, false), ATLAS_E_JUMBF);
    CHECK_ERR(check_salt("c2sh", 15, false), ATLAS_E_JUMBF);
    CHECK_ERR(check_salt("c2sh", 33, false), ATLAS_E_JUMBF);
    CHECK_ERR(check_salt("c2sh", 32, true), ATLAS_E_JUMBF);
    CHECK_ERR(check_salt("c2sH", 32, false), ATLAS_E_JUMBF);
}

TEST(labels_are_utf8_without_control_characters_or_delimiters)
{
    static const char *const good[] = {"c2pa.assertions", "urn:c2pa:1", "a b", "\xC3\xBC",
                                       "\xC2\xA0",        "c2pa.x__1",  ".."};
    static const char *const bad[] = {"", "a/b", "a;b", "a?b", "a#b", "a\nb", "\x01", "\x7f", "\xC2\x80", "\xC2\x9F",
                                      "\xFF", "a\xC0\x80"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK(atlas_jumbf_label_check(atlas_span_str(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!atlas_jumbf_label_check(atlas_span_str(bad[i])));
    }
    CHECK(!atlas_jumbf_label_check(ATLAS_LIT("a\0b")));
}

TEST(errors_name_the_byte_of_the_bad_box)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_span bytes = ATLAS_LIT("\0\0\0\x33" "jumb" "\0\0\0\x1b" "jumd" "cbor" UUID_TAIL "\x03" "x\0"
                                        "\0\0\0\x08" "cbor" "\0\0\0\x07" "cbor");
    CHECK_ERR(atlas_jumbf_check(bytes, "store", &error), ATLAS_E_JUMBF);
    CHECK(error.offset == 43);
    CHECK(strcmp(error.where, "store") == 0);
}

/* ------------------------------------------------------------------------------------------------ limits */

static int check_depth(unsigned depth)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    size_t marks[64];
    int rc = ATLAS_OK;
    for (unsigned i = 0; i < depth; i++) {
        marks[i] = atlas_jumbf_open(&b, ATLAS_JUMBF_CBOR, ATLAS_LIT("x"), ATLAS_SPAN_NONE);
    }
    for (unsigned i = depth; rc == ATLAS_OK && i-- > 0;) {
        rc = atlas_jumbf_close(&b, marks[i], NULL);
    }
    rc = rc == ATLAS_OK ? check(atlas_buf_span(&b)) : rc;
    atlas_buf_release(&b);
    return rc;
}

TEST(depth_is_limited)
{
    CHECK_OK(check_depth(ATLAS_MAX_JUMBF_DEPTH));
    CHECK_ERR(check_depth(ATLAS_MAX_JUMBF_DEPTH + 1), ATLAS_E_LIMIT);
    CHECK_ERR(check_depth(60), ATLAS_E_LIMIT);
}

TEST(millions_of_boxes_take_linear_time)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct cost cost = cost_start();
    size_t mark = atlas_jumbf_open(&b, ATLAS_JUMBF_CBOR, ATLAS_LIT("x"), ATLAS_SPAN_NONE);
    for (size_t i = 0; i < 1000000; i++) {
        atlas_buf_append_be32(&b, 8);
        atlas_buf_append_be32(&b, ATLAS_JUMBF_CBOR);
    }
    int rc = atlas_jumbf_close(&b, mark, NULL);
    rc = rc == ATLAS_OK ? check(atlas_buf_span(&b)) : rc;
    atlas_buf_release(&b);
    CHECK_OK(rc);
    CHECK(cost_is_below(&cost, 1.0, 64u << 20));
}

/* ------------------------------------------------------------------------------------------------- index */

static void add_box(struct atlas_buf *b, const char *label, const char *content)
{
    size_t mark = atlas_jumbf_open(b, ATLAS_JUMBF_CBOR, atlas_span_str(label), ATLAS_SPAN_NONE);
    if (atlas_jumbf_write_box(b, ATLAS_JUMBF_CBOR, atlas_span_str(content), NULL) < 0 ||
        atlas_jumbf_close(b, mark, NULL) < 0) {
        abort();
    }
}

static int read_index(const struct atlas_buf *b, size_t max, bool twins, size_t *ret_n)
{
    struct atlas_jumbf_index index = ATLAS_JUMBF_INDEX_INIT;
    int rc = atlas_jumbf_index_read(atlas_buf_span(b), max, twins, "", &index, NULL);
    *ret_n = index.n;
    for (size_t i = 0; i < index.n; i++) {
        const struct atlas_jumbf *box = atlas_jumbf_index_at(&index, i);
        rc = atlas_jumbf_index_find(&index, box->label) == box ? rc : ATLAS_E_INTERNAL;
    }
    rc = atlas_jumbf_index_find(&index, ATLAS_LIT("not there")) == NULL ? rc : ATLAS_E_INTERNAL;
    rc = atlas_jumbf_index_at(&index, index.n) == NULL ? rc : ATLAS_E_INTERNAL;
    atlas_jumbf_index_release(&index);
    return rc;
}

TEST(an_index_finds_every_label)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    size_t n = 0;
    CHECK_OK(read_index(&b, 0, false, &n));
    CHECK(n == 0);
    for (unsigned i = 0; i < 500; i++) {
        char label[16];
        snprintf(label, sizeof label, "%u", i * 7919 % 500);
        add_box(&b, label, "");
    }
    CHECK_OK(read_index(&b, 500, false, &n));
    CHECK(n == 500);
    CHECK_ERR(read_index(&b, 499, false, &n), ATLAS_E_LIMIT);
    atlas_buf_release(&b);
}

TEST(an_index_refuses_one_label_with_two_contents)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    size_t n = 0;
    add_box(&b, "b", "1");
    add_box(&b, "a", "2");
    add_box(&b, "b", "1");
    CHECK_ERR(read_index(&b, 9, false, &n), ATLAS_E_JUMBF);
    CHECK_OK(read_index(&b, 9, true, &n)); /* twins that are equal byte for byte */
    CHECK(n == 2);
    add_box(&b, "b", "2");
    CHECK_ERR(read_index(&b, 9, true, &n), ATLAS_E_JUMBF);
    atlas_buf_release(&b);
}

/* ---------------------------------------------------------------------------------------------- writing */

static int write_superbox(struct atlas_span label, size_t salt)
{
    static const uint8_t zeroes[64];
    struct atlas_buf b = ATLAS_BUF_INIT;
    size_t mark = atlas_jumbf_open(&b, ATLAS_JUMBF_CBOR, label, atlas_span_of(zeroes, salt));
    int rc = atlas_jumbf_close(&b, mark, NULL);
    atlas_buf_release(&b);
    return rc;
}

TEST(the_writer_refuses_what_no_reader_accepts)
{
    CHECK_OK(write_superbox(ATLAS_LIT("x"), 32));
    CHECK_OK(write_superbox(ATLAS_LIT("x"), 16));
    CHECK_ERR(write_superbox(ATLAS_LIT("x"), 31), ATLAS_E_ARG);
    CHECK_ERR(write_superbox(ATLAS_LIT(""), 32), ATLAS_E_ARG);
    CHECK_ERR(write_superbox(ATLAS_LIT("a/b"), 32), ATLAS_E_ARG);
    CHECK_ERR(write_superbox(ATLAS_LIT("a\0b"), 32), ATLAS_E_ARG);
}

TEST(a_box_that_is_too_long_is_not_written)
{
    static const uint8_t one;
    struct atlas_buf b = ATLAS_BUF_INIT;
    CHECK_ERR(atlas_jumbf_write_box(&b, ATLAS_JUMBF_CBOR, atlas_span_of(&one, ATLAS_MAX_STORE_BYTES - 7), NULL),
              ATLAS_E_LIMIT);
    CHECK(b.n == 0);
}
