/* fuzz_cbor.c - the cursor: what the check accepts is read to its end; written anew it is deterministic and accepted. */
#include "fuzz.h"
#include "port/cbor.h"
#include "sample.h"

/* Any sequence of steps, chosen by the input itself, on bytes that nobody has checked. */
static void walk_unchecked(struct atlas_span bytes)
{
    struct atlas_cbor c;
    struct atlas_span s;
    uint64_t v;
    int64_t i;
    double d;
    bool flag;
    atlas_cbor_open(&c, bytes, "fuzz", NULL);
    for (size_t step = 0; c.rc == ATLAS_OK && step < 4096; step++) {
        switch (bytes.n != 0 ? bytes.p[step % bytes.n] % 12 : 0) {
        case 0:
            (void)atlas_cbor_take_raw(&c, &s);
            break;
        case 1:
            (void)(atlas_cbor_peek(&c) == ATLAS_CBOR_UINT && atlas_cbor_take_uint(&c, &v) == ATLAS_OK);
            break;
        case 2:
            (void)(atlas_cbor_peek(&c) == ATLAS_CBOR_NEGINT && atlas_cbor_take_int(&c, &i) == ATLAS_OK);
            break;
        case 3:
            (void)(atlas_cbor_peek(&c) == ATLAS_CBOR_BYTES && atlas_cbor_take_bytes(&c, &s) == ATLAS_OK);
            break;
        case 4:
            (void)(atlas_cbor_peek(&c) == ATLAS_CBOR_TEXT && atlas_cbor_take_text(&c, &s) == ATLAS_OK);
            break;
        case 5:
            (void)(atlas_cbor_peek(&c) == ATLAS_CBOR_BOOL && atlas_cbor_take_bool(&c, &flag) == ATLAS_OK);
            break;
        case 6:
            (void)(atlas_cbor_peek(&c) == ATLAS_CBOR_FLOAT && atlas_cbor_take_double(&c, &d) == ATLAS_OK);
            break;
        case 7:
            (void)(atlas_cbor_peek(&c) == ATLAS_CBOR_TAG && atlas_cbor_take_tag(&c, &v) == ATLAS_OK);
            break;
        case 8:
            (void)(atlas_cbor_more(&c) || atlas_cbor_leave(&c) == ATLAS_OK);
            break;
        case 9:
            (void)atlas_cbor_skip(&c);
            break;
        default:
            if (atlas_cbor_peek(&c) == ATLAS_CBOR_MAP) {
                (void)atlas_cbor_enter_map(&c, NULL);
            } else if (atlas_cbor_peek(&c) == ATLAS_CBOR_ARRAY) {
                (void)atlas_cbor_enter_array(&c, NULL);
            }
        }
    }
    REQUIRE(atlas_cbor_finish(&c) <= ATLAS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf text = ATLAS_BUF_INIT;
    struct atlas_cbor c;
    struct atlas_span item = ATLAS_SPAN_NONE;
    struct atlas_span bytes = own_copy(data, size);
    int rc = atlas_cbor_check(bytes, "fuzz", &error);
    REQUIRE(rc == error.code);
    REQUIRE(rc == ATLAS_OK || error.offset <= size);
    if (rc == ATLAS_OK) {
        REQUIRE(dump_cbor(bytes, &text, NULL) == ATLAS_OK);
        atlas_cbor_open(&c, bytes, "fuzz", NULL);
        REQUIRE(atlas_cbor_take_raw(&c, &item) == ATLAS_OK && item.n == size);
        REQUIRE(atlas_cbor_finish(&c) == ATLAS_OK);
    }
    walk_unchecked(bytes);
    atlas_buf_release(&text);
    free_copy(bytes);
    return 0;
}
