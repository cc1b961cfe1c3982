/* fuzz_json_span.c - the scanner against the parser: what the parser takes the scanner took; the bytes that are found are
 * exactly one value, and parse to the member of that name. */
#include "fuzz.h"
#include "port/json.h"

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void find(struct atlas_span bytes, const struct atlas_json *document, const char *key)
{
    struct atlas_span value = ATLAS_SPAN_NONE;
    struct atlas_json *alone = NULL;
    const struct atlas_json *member = atlas_json_member(document, key);
    int rc = atlas_json_find(bytes, key, "fuzz", &value, NULL);
    REQUIRE(rc == ATLAS_OK || rc == ATLAS_E_NOT_FOUND);
    REQUIRE((rc == ATLAS_OK) == (member != NULL));
    if (rc == ATLAS_OK) {
        REQUIRE(value.n != 0 && value.p >= bytes.p && value.n <= bytes.n);
        REQUIRE(!is_space(value.p[0]) && !is_space(value.p[value.n - 1]));
        if (value.p[0] == '{') {
            REQUIRE(value.p[value.n - 1] == '}');
            /* Alone, its members are at the top, where names with escapes are refused. */
            REQUIRE(atlas_json_new(value, "fuzz", &alone, NULL) == ATLAS_OK || memchr(value.p, 0x5c, value.n) != NULL);
            atlas_json_free(alone);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_json *document = NULL;
    struct atlas_span bytes = own_copy(data, size);
    int checked = atlas_json_check(bytes, "fuzz", &error);
    REQUIRE(checked == error.code);
    int parsed = atlas_json_new(bytes, "fuzz", &document, NULL);
    REQUIRE(parsed < 0 || checked == ATLAS_OK);
    if (parsed == ATLAS_OK) {
        find(bytes, document, "tcbInfo");
        find(bytes, document, "enclaveIdentity");
        find(bytes, document, "signature");
        find(bytes, document, "");
        atlas_json_free(document);
    }
    free_copy(bytes);
    return 0;
}
