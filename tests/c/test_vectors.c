/* test_vectors.c - public vectors in the folder that ATLAS_VECTORS names; exit status 77 without it. */
#include <dirent.h>
#include <jansson.h>

#include "format/cose.h"
#include "hex.h"
#include "port/cbor.h"
#include "sample.h"
#include "test.h"

static const char *vectors(void)
{
    const char *folder = getenv("ATLAS_VECTORS");
    if (folder == NULL) {
        printf("skipped: ATLAS_VECTORS is not set\n");
        exit(77);
    }
    return folder;
}

static json_t *load(const char *path)
{
    char whole[512];
    snprintf(whole, sizeof whole, "%s/%s", vectors(), path);
    return json_load_file(whole, JSON_DECODE_INT_AS_REAL, NULL); /* some integers are beyond jansson's own */
}

/* ---------------------------------------------------------------------- RFC 8949, Appendix A (82 items) */

/* What the profile refuses of them, and why; all others must be read. */
static const struct {
    const char *hex;
    const char *why;
} refused[] = {
    {"c249010000000000000000", "is a big number"},
    {"c349010000000000000000", "is a big number"},
    {"f7", "is undefined or an unassigned simple value"},
    {"f0", "is undefined or an unassigned simple value"},
    {"f818", "is undefined or an unassigned simple value"},
    {"f8ff", "is undefined or an unassigned simple value"},
    {"5f42010243030405ff", "has no definite length"},
    {"7f657374726561646d696e67ff", "has no definite length"},
    {"9fff", "has no definite length"},
    {"9f018202039f0405ffff", "has no definite length"},
    {"9f01820203820405ff", "has no definite length"},
    {"83018202039f0405ff", "has no definite length"},
    {"83019f0203ff820405", "has no definite length"},
    {"9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", "has no definite length"},
    {"bf61610161629f0203ffff", "has no definite length"},
    {"826161bf61626163ff", "has no definite length"},
    {"bf6346756ef563416d7421ff", "has no definite length"},
};

static const char *why_refused(const char *text)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (strcmp(refused[i].hex, text) == 0) {
            return refused[i].why;
        }
    }
    return NULL;
}

/* The JSON value beside the vector against the item at the cursor. */
static bool same_value(struct atlas_cbor *c, const json_t *expected);

static bool same_number(struct atlas_cbor *c, const json_t *expected)
{
    uint64_t u = 0;
    double d = 0;
    double want = json_real_value(expected);
    switch (atlas_cbor_peek(c)) {
    case ATLAS_CBOR_FLOAT:
        return atlas_cbor_take_double(c, &d) == ATLAS_OK && memcmp(&d, &want, sizeof d) == 0;
    case ATLAS_CBOR_NEGINT:
        return atlas_cbor_take_negint(c, &u) == ATLAS_OK && -1.0 - (double)u == want;
    default:
        return atlas_cbor_take_uint(c, &u) == ATLAS_OK && (double)u == want;
    }
}

static bool same_list(struct atlas_cbor *c, const json_t *expected)
{
    uint32_t n = 0;
    if (atlas_cbor_enter_array(c, &n) < 0 || n != json_array_size(expected)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!same_value(c, json_array_get(expected, i))) {
            return false;
        }
    }
    return atlas_cbor_leave(c) == ATLAS_OK;
}

static bool same_map(struct atlas_cbor *c, const json_t *expected)
{
    uint32_t n = 0;
    if (atlas_cbor_enter_map(c, &n) < 0 || n != json_object_size(expected)) {
        return false;
    }
    while (atlas_cbor_more(c)) {
        char key[32] = "";
        struct atlas_span text = ATLAS_SPAN_NONE;
        if (atlas_cbor_take_text(c, &text) < 0 || text.n >= sizeof key) {
            return false;
        }
        memcpy(key, text.p, text.n);
        if (!same_value(c, json_object_get(expected, key))) {
            return false;
        }
    }
    return atlas_cbor_leave(c) == ATLAS_OK;
}

static bool same_value(struct atlas_cbor *c, const json_t *expected)
{
    bool flag = false;
    struct atlas_span text = ATLAS_SPAN_NONE;
    switch (expected != NULL ? json_typeof(expected) : JSON_NULL) {
    case JSON_OBJECT:
        return same_map(c, expected);
    case JSON_ARRAY:
        return same_list(c, expected);
    case JSON_STRING:
        return atlas_cbor_take_text(c, &text) == ATLAS_OK &&
               atlas_span_equal(text, atlas_span_str(json_string_value(expected)));
    case JSON_INTEGER:
    case JSON_REAL:
        return same_number(c, expected);
    case JSON_TRUE:
    case JSON_FALSE:
        return atlas_cbor_take_bool(c, &flag) == ATLAS_OK && flag == json_is_true(expected);
    case JSON_NULL:
        break;
    }
    return expected != NULL && atlas_cbor_take_null(c) == ATLAS_OK;
}

static bool check_item(const json_t *item)
{
    uint8_t bytes[64];
    struct atlas_cbor c;
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf text = ATLAS_BUF_INIT;
    const char *digits = json_string_value(json_object_get(item, "hex"));
    const char *why = why_refused(digits);
    const json_t *expected = json_object_get(item, "decoded");
    struct atlas_span document = hex(digits, bytes, sizeof bytes);
    int rc = atlas_cbor_init(&c, document, "", &error);
    if (why != NULL) {
        return rc == ATLAS_E_CBOR && strcmp(error.text, why) == 0;
    }
    if (rc < 0 || dump_cbor(document, &text, NULL) < 0) {
        return false;
    }
    atlas_buf_release(&text);
    /* items without a JSON form (tags, bytes, NaN) are read by dump_cbor; their values are in test_cbor.c */
    return expected == NULL || (same_value(&c, expected) && atlas_cbor_finish(&c) == ATLAS_OK);
}

TEST(appendix_a_is_read_as_the_profile_says)
{
    size_t i;
    json_t *item;
    size_t wrong = 0;
    json_t *table = load("cbor/appendix_a.json");
    size_t n = json_array_size(table);
    json_array_foreach(table, i, item)
    {
        if (!check_item(item)) {
            printf("    %s\n", json_string_value(json_object_get(item, "hex")));
            wrong++;
        }
    }
    json_decref(table);
    CHECK(n == 82);
    CHECK(wrong == 0);
}

/* --------------------------------------------------------------------------------- cose-wg examples (15) */

static const struct {
    const char *path;
    int rc; /* of the reader of any tagged COSE_Sign1; whether the signature holds is checked elsewhere */
    bool structure_differs; /* sign-fail-06, -07: protected was changed after signing */
} cose_files[] = {
    {"cose/ecdsa-examples/ecdsa-sig-01.json", ATLAS_OK, false},
    {"cose/ecdsa-examples/ecdsa-sig-02.json", ATLAS_OK, false},
    {"cose/ecdsa-examples/ecdsa-sig-03.json", ATLAS_OK, false},
    {"cose/ecdsa-examples/ecdsa-sig-04.json", ATLAS_OK, false}, /* P-256 with ES512: refused by the key check */
    {"cose/eddsa-examples/eddsa-sig-01.json", ATLAS_OK, false},
    {"cose/eddsa-examples/eddsa-sig-02.json", ATLAS_OK, false}, /* Ed448: refused by the key check */
    {"cose/sign1-tests/sign-pass-01.json", ATLAS_E_COSE, false}, /* alg is not protected */
    {"cose/sign1-tests/sign-pass-02.json", ATLAS_OK, false},
    {"cose/sign1-tests/sign-pass-03.json", ATLAS_E_COSE, false}, /* untagged */
    {"cose/sign1-tests/sign-fail-01.json", ATLAS_E_COSE, false}, /* another tag */
    {"cose/sign1-tests/sign-fail-02.json", ATLAS_OK, true},      /* payload changed */
    {"cose/sign1-tests/sign-fail-03.json", ATLAS_OK, true},      /* alg -999 */
    {"cose/sign1-tests/sign-fail-04.json", ATLAS_E_ALGORITHM, false}, /* alg is text */
    {"cose/sign1-tests/sign-fail-06.json", ATLAS_OK, true},
    {"cose/sign1-tests/sign-fail-07.json", ATLAS_OK, true},
};

static const char *string_at(const json_t *root, const char *outer, const char *inner)
{
    const char *s = json_string_value(json_object_get(json_object_get(root, outer), inner));
    return s != NULL ? s : "";
}

static bool check_cose(size_t i)
{
    uint8_t message[1024];
    uint8_t expected[1024];
    uint8_t aad[64];
    struct atlas_cose_sign1 s;
    struct atlas_buf tbs = ATLAS_BUF_INIT;
    json_t *root = load(cose_files[i].path);
    const json_t *input = json_object_get(root, "input");
    struct atlas_span external = hex(string_at(input, "sign0", "external"), aad, sizeof aad);
    struct atlas_span want = hex(string_at(root, "intermediates", "ToBeSign_hex"), expected, sizeof expected);
    int rc = atlas_cose_read(hex(string_at(root, "output", "cbor"), message, sizeof message), &s, NULL);
    bool good = want.n != 0 && rc == cose_files[i].rc;
    if (rc == ATLAS_OK) {
        atlas_cose_write_sig_structure(&tbs, s.protected_, external, s.payload);
        good = good && atlas_span_equal(atlas_buf_span(&tbs), want) != cose_files[i].structure_differs;
        /* a claim's signature has a detached payload and a chain: all of these are refused there */
        good = good && atlas_cose_claim_signature_read(hex(string_at(root, "output", "cbor"), message, sizeof message),
                                                       &s, NULL) == ATLAS_E_COSE;
    }
    atlas_buf_release(&tbs);
    json_decref(root);
    return good;
}

TEST(cose_examples_are_read_and_their_signed_bytes_are_the_same)
{
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof cose_files / sizeof cose_files[0]; i++) {
        if (!check_cose(i)) {
            printf("    %s\n", cose_files[i].path);
            wrong++;
        }
    }
    CHECK(wrong == 0);
}

/* --------------------------------------------------------- a manifest store of c2pa-rs, out of a JPEG (APP11) */

/* The segments of ISO/IEC 19566-5, Annex D: "JP", instance, sequence, then the box; later ones repeat its header. */
static void unpack_jpeg(struct atlas_span jpeg, struct atlas_buf *store)
{
    struct atlas_span rest = jpeg;
    struct atlas_span soi;
    (void)atlas_span_take(&rest, 2, &soi);
    while (rest.n >= 4 && rest.p[0] == 0xFF && rest.p[1] != 0xDA) {
        struct atlas_span segment;
        struct atlas_span head;
        size_t n = (size_t)(rest.p[2] << 8 | rest.p[3]);
        bool app11 = rest.p[1] == 0xEB;
        if (!atlas_span_take(&rest, 2 + n, &segment)) {
            return;
        }
        if (app11 && atlas_span_take(&segment, 12, &head) && head.p[4] == 'J' && head.p[5] == 'P') {
            if (store->n != 0) {
                (void)atlas_span_take(&segment, 8, &head);
            }
            atlas_buf_append(store, segment);
        }
    }
}

TEST(a_store_of_c2pa_rs_is_read)
{
    char path[512];
    static uint8_t jpeg[1 << 20];
    struct atlas_buf store = ATLAS_BUF_INIT;
    struct atlas_buf text = ATLAS_BUF_INIT;
    struct atlas_error error = ATLAS_ERROR_INIT;
    snprintf(path, sizeof path, "%s/c2pa/update_manifest.jpg", vectors());
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    size_t n = fread(jpeg, 1, sizeof jpeg, f);
    fclose(f);
    unpack_jpeg(atlas_span_of(jpeg, n), &store);
    int rc = dump_store(atlas_buf_span(&store), &text, &error);
    bool update = text.p != NULL && memmem(text.p, text.n, "store of 2 manifests", 20) != NULL;
    atlas_buf_release(&text);
    atlas_buf_release(&store);
    CHECK(update);
    CHECK_ERR(rc, ATLAS_E_UNSUPPORTED); /* the parent's claim is of version 1 */
    CHECK(strstr(error.text, "version 1") != NULL);
}
