/* test_oracle.c - our cursor against libcbor, an implementation that we did not write. Two directions:
 * what we accept, libcbor accepts and sees alike; what libcbor accepts, written anew in deterministic form, we accept
 * and see alike. Mutated inputs, from a fixed seed. */
#include <cbor.h>
#include "port/cbor.h"
#include "sample.h"
#include "test.h"

#define ROUNDS 200000
#define MAX_BYTES 64

/* -------------------------------------------------------------------------------------------------- inputs */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static const char *const seeds[] = {
    "\xa3\x61" "a\x01\x61" "b\x82\xf5\xf6\x61" "c\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a",
    "\x84\x18\x20\x39\x01\xf3\x62\xc3\xbc\x43" "abc",
    "\xc1\x1a\x51\x4b\x67\xb1",
    "\xa2\x20\x81\xa1\x41" "x\xf9\x3c\x01\x04\xfa\x47\xc3\x50\x01",
    "\x82\xa2\x61" "b\x01\x61" "a\x02\x83\x01\x02\x81\x80",
    "\xa2\x61" "a\x01\x61" "a\x82\x18\x05\x9f\x01\xff", /* what the profile refuses */
    "\x83\x58\x01x\x78\x01y\xf7",
};

/* Heads that need more bytes, indefinite lengths, breaks, simple values, tags, empty things. */
static const uint8_t interesting[] = {0x00, 0x17, 0x18, 0x19, 0x1A, 0x38, 0x40, 0x58, 0x5F,
                                      0x60, 0x78, 0x7F, 0x80, 0x98, 0x9F, 0xA0, 0xB8, 0xBF,
                                      0xC0, 0xC2, 0xD8, 0xF4, 0xF6, 0xF7, 0xF8, 0xF9, 0xFF};

/* A seed with a few bytes changed, inserted or dropped. */
static size_t make_input(uint64_t *state, uint8_t *out)
{
    const char *seed = seeds[next_random(state) % (sizeof seeds / sizeof seeds[0])];
    size_t n = strlen(seed);
    memcpy(out, seed, n);
    for (uint64_t changes = next_random(state) % 5; changes > 0; changes--) {
        size_t at = next_random(state) % n;
        switch (next_random(state) % 4) {
        case 0:
            memmove(out + at + 1, out + at, n - at);
            n++;
            out[at] = interesting[next_random(state) % sizeof interesting];
            break;
        case 1:
            memmove(out + at, out + at + 1, n - at - 1);
            n -= n > 1;
            break;
        default:
            out[at] = (uint8_t)next_random(state);
        }
    }
    return n;
}

/* libcbor allocates what the heads of arrays and maps announce: keep such inputs away from it. */
static bool could_bomb(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == 0x9A || bytes[i] == 0x9B || bytes[i] == 0xBA || bytes[i] == 0xBB) {
            return true;
        }
    }
    return false;
}

/* libcbor 0.8 refuses these tags in one byte. */
static bool has_small_tag(const struct atlas_buf *text)
{
    for (unsigned tag = 6; tag <= 20; tag++) {
        char line[16];
        snprintf(line, sizeof line, "tag %u\n", tag);
        if (memmem(text->p, text->n, line, strlen(line)) != NULL) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------------------------------- libcbor's view */

/* Written anew by our writer; false when the profile has no place for it. Recursion is fine: inputs are short. */
static bool rewrite(const cbor_item_t *item, struct atlas_buf *b);

static bool rewrite_string(const cbor_item_t *item, struct atlas_buf *b)
{
    if (cbor_isa_bytestring(item) && cbor_bytestring_is_definite(item)) {
        atlas_cbor_write_bytes(b, atlas_span_of(cbor_bytestring_handle(item), cbor_bytestring_length(item)));
        return true;
    }
    if (cbor_isa_string(item) && cbor_string_is_definite(item)) {
        atlas_cbor_write_text(b, atlas_span_of(cbor_string_handle(item), cbor_string_length(item)));
        return true;
    }
    return false; /* indefinite: chunks */
}

static bool rewrite_array(const cbor_item_t *item, struct atlas_buf *b)
{
    size_t n = cbor_array_size(item);
    atlas_cbor_write_array(b, n);
    for (size_t i = 0; i < n; i++) {
        if (!rewrite(cbor_array_handle(item)[i], b)) {
            return false;
        }
    }
    return cbor_array_is_definite(item);
}

static bool rewrite_map(const cbor_item_t *item, struct atlas_buf *b)
{
    bool good = cbor_map_is_definite(item);
    struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
    for (size_t i = 0; good && i < cbor_map_size(item); i++) {
        struct cbor_pair pair = cbor_map_handle(item)[i];
        struct atlas_buf *entry = atlas_cbor_map_entry(&m);
        good = (cbor_is_int(pair.key) || cbor_isa_string(pair.key) || cbor_isa_bytestring(pair.key)) &&
               rewrite(pair.key, entry) && rewrite(pair.value, entry);
    }
    good = good && atlas_cbor_map_write(&m, b, NULL) == ATLAS_OK; /* refuses a key that is there twice */
    atlas_cbor_map_release(&m);
    return good;
}

static bool rewrite_tag(const cbor_item_t *item, struct atlas_buf *b)
{
    cbor_item_t *inner = cbor_tag_item(item); /* a reference of its own */
    atlas_cbor_write_tag(b, cbor_tag_value(item));
    bool good = cbor_tag_value(item) != 2 && cbor_tag_value(item) != 3 && rewrite(inner, b);
    cbor_decref(&inner);
    return good;
}

static bool rewrite_simple(const cbor_item_t *item, struct atlas_buf *b)
{
    if (cbor_float_ctrl_is_ctrl(item)) {
        if (cbor_is_bool(item)) {
            atlas_cbor_write_bool(b, cbor_get_bool(item));
        } else {
            atlas_cbor_write_null(b);
        }
        return cbor_is_bool(item) || cbor_is_null(item);
    }
    atlas_cbor_write_double(b, cbor_float_get_float(item));
    return true;
}

static bool rewrite(const cbor_item_t *item, struct atlas_buf *b)
{
    switch (cbor_typeof(item)) {
    case CBOR_TYPE_UINT:
        atlas_cbor_write_uint(b, cbor_get_int(item));
        return true;
    case CBOR_TYPE_NEGINT:
        atlas_cbor_write_negint(b, cbor_get_int(item));
        return true;
    case CBOR_TYPE_BYTESTRING:
    case CBOR_TYPE_STRING:
        return rewrite_string(item, b);
    case CBOR_TYPE_ARRAY:
        return rewrite_array(item, b);
    case CBOR_TYPE_MAP:
        return rewrite_map(item, b);
    case CBOR_TYPE_TAG:
        return rewrite_tag(item, b);
    case CBOR_TYPE_FLOAT_CTRL:
        return rewrite_simple(item, b);
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------ our view */

static void copy_int(struct atlas_cbor *c, struct atlas_buf *b)
{
    uint64_t v = 0;
    if (atlas_cbor_peek(c) == ATLAS_CBOR_UINT) {
        (void)atlas_cbor_take_uint(c, &v);
        atlas_cbor_write_uint(b, v);
    } else {
        (void)atlas_cbor_take_negint(c, &v);
        atlas_cbor_write_negint(b, v);
    }
}

static void copy(struct atlas_cbor *c, struct atlas_buf *b);

static void copy_container(struct atlas_cbor *c, struct atlas_buf *b)
{
    uint32_t n = 0;
    if (atlas_cbor_peek(c) == ATLAS_CBOR_ARRAY) {
        (void)atlas_cbor_enter_array(c, &n);
        atlas_cbor_write_array(b, n);
        while (atlas_cbor_more(c)) {
            copy(c, b);
        }
    } else {
        struct atlas_cbor_map m = ATLAS_CBOR_MAP_INIT;
        (void)atlas_cbor_enter_map(c, &n);
        while (atlas_cbor_more(c)) {
            struct atlas_buf *entry = atlas_cbor_map_entry(&m);
            copy(c, entry);
            copy(c, entry);
        }
        if (atlas_cbor_map_write(&m, b, NULL) < 0) {
            abort(); /* the cursor let a duplicate pass */
        }
        atlas_cbor_map_release(&m);
    }
    (void)atlas_cbor_leave(c);
}

static void copy_simple(struct atlas_cbor *c, struct atlas_buf *b)
{
    bool flag = false;
    double v = 0;
    switch (atlas_cbor_peek(c)) {
    case ATLAS_CBOR_BOOL:
        (void)atlas_cbor_take_bool(c, &flag);
        atlas_cbor_write_bool(b, flag);
        break;
    case ATLAS_CBOR_FLOAT:
        (void)atlas_cbor_take_double(c, &v);
        atlas_cbor_write_double(b, v);
        break;
    default:
        (void)atlas_cbor_take_null(c);
        atlas_cbor_write_null(b);
    }
}

/* One item written anew in deterministic form. */
static void copy(struct atlas_cbor *c, struct atlas_buf *b)
{
    uint64_t tag = 0;
    struct atlas_span s = ATLAS_SPAN_NONE;
    switch (atlas_cbor_peek(c)) {
    case ATLAS_CBOR_UINT:
    case ATLAS_CBOR_NEGINT:
        copy_int(c, b);
        break;
    case ATLAS_CBOR_BYTES:
        (void)atlas_cbor_take_bytes(c, &s);
        atlas_cbor_write_bytes(b, s);
        break;
    case ATLAS_CBOR_TEXT:
        (void)atlas_cbor_take_text(c, &s);
        atlas_cbor_write_text(b, s);
        break;
    case ATLAS_CBOR_ARRAY:
    case ATLAS_CBOR_MAP:
        copy_container(c, b);
        break;
    case ATLAS_CBOR_TAG:
        (void)atlas_cbor_take_tag(c, &tag);
        atlas_cbor_write_tag(b, tag);
        copy(c, b);
        break;
    default:
        copy_simple(c, b);
    }
}

/* -------------------------------------------------------------------------------------------------- tests */

struct tally {
    size_t both;
    size_t only_libcbor;
    size_t neither;
    size_t disagreements;
};

/* What we accepted: libcbor must see the same value. */
static bool agrees_on_accepted(struct atlas_span bytes, const cbor_item_t *theirs, const struct atlas_buf *text)
{
    struct atlas_cbor c;
    struct atlas_buf our_form = ATLAS_BUF_INIT;
    struct atlas_buf their_form = ATLAS_BUF_INIT;
    if (theirs == NULL) {
        return has_small_tag(text);
    }
    atlas_cbor_open(&c, bytes, "", NULL);
    copy(&c, &our_form);
    bool same = rewrite(theirs, &their_form) &&
                atlas_span_equal(atlas_buf_span(&our_form), atlas_buf_span(&their_form)) &&
                atlas_cbor_finish(&c) == ATLAS_OK;
    atlas_buf_release(&our_form);
    atlas_buf_release(&their_form);
    return same;
}

/* What we refused and libcbor accepted: written in deterministic form we must accept it, unless it has no place in the
 * profile. */
static bool agrees_on_refused(const cbor_item_t *theirs)
{
    struct atlas_buf their_form = ATLAS_BUF_INIT;
    struct atlas_error error = ATLAS_ERROR_INIT;
    bool good = !rewrite(theirs, &their_form) ||
                atlas_cbor_check(atlas_buf_span(&their_form), "", &error) == ATLAS_OK ||
                strstr(error.text, "UTF-8") != NULL || error.code == ATLAS_E_LIMIT;
    atlas_buf_release(&their_form);
    return good;
}

static cbor_item_t *load(const uint8_t *bytes, size_t n)
{
    struct cbor_load_result loaded;
    if (could_bomb(bytes, n)) {
        return NULL;
    }
    cbor_item_t *item = cbor_load(bytes, n, &loaded);
    if (item != NULL && loaded.read != n) {
        cbor_decref(&item); /* bytes behind the document */
    }
    return item;
}

static void compare(const uint8_t *bytes, size_t n, struct tally *tally)
{
    struct atlas_buf text = ATLAS_BUF_INIT;
    struct atlas_error error = ATLAS_ERROR_INIT;
    cbor_item_t *theirs = load(bytes, n);
    int rc = could_bomb(bytes, n) ? ATLAS_E_LIMIT : dump_cbor(atlas_span_of(bytes, n), &text, &error);
    bool good = true;
    if (rc == ATLAS_OK) {
        good = agrees_on_accepted(atlas_span_of(bytes, n), theirs, &text);
        tally->both++;
    } else if (theirs != NULL) {
        good = agrees_on_refused(theirs);
        tally->only_libcbor++;
    } else {
        tally->neither++;
    }
    tally->disagreements += !good;
    if (!good) {
        for (size_t i = 0; i < n; i++) {
            printf("%02x", bytes[i]);
        }
        printf(" %s\n", rc == ATLAS_OK ? "accepted" : error.text);
    }
    if (theirs != NULL) {
        cbor_decref(&theirs);
    }
    atlas_buf_release(&text);
}

TEST(cursor_and_libcbor_agree)
{
    uint64_t state = UINT64_C(0x9E3779B97F4A7C15);
    struct tally tally = {0};
    for (size_t i = 0; i < ROUNDS; i++) {
        uint8_t bytes[MAX_BYTES];
        size_t n = make_input(&state, bytes);
        compare(bytes, n, &tally);
    }
    printf("    both %zu, only libcbor %zu, neither %zu\n", tally.both, tally.only_libcbor, tally.neither);
    CHECK(tally.disagreements == 0);
    CHECK(tally.both > ROUNDS / 20); /* the inputs must be interesting in all three ways */
    CHECK(tally.only_libcbor > ROUNDS / 100);
    CHECK(tally.neither > ROUNDS / 20);
}
