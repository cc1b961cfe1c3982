/* test_c2pa.c - manifest stores, labels, references, claims. */
#include "format/c2pa.h"
#include "notation.h"
#include "sample.h"
#include "test.h"

#define UUID "11111111-1111-4111-8111-111111111111"
#define URN "urn:c2pa:" UUID

/* -------------------------------------------------------------------------------------------------- labels */

TEST(a_label_is_taken_apart)
{
    static const struct {
        const char *label;
        const char *base;
        uint32_t version;
        uint32_t instance;
    } rows[] = {
        {"c2pa.ingredient.v3__2", "c2pa.ingredient", 3, 2},
        {"c2pa.ingredient.v3", "c2pa.ingredient", 3, 0},
        {"c2pa.hash.data", "c2pa.hash.data", 1, 0},
        {"c2pa.hash.data__1", "c2pa.hash.data", 1, 1},
        {"c2pa.actions.v2__10", "c2pa.actions", 2, 10},
        {"c2pa.actions.v12", "c2pa.actions", 12, 0},
        {"c2pa.actions.v02", "c2pa.actions.v02", 1, 0},   /* not the only spelling of 2 */
        {"c2pa.actions.v1", "c2pa.actions.v1", 1, 0},     /* version 1 has no suffix */
        {"c2pa.actions.v0", "c2pa.actions.v0", 1, 0},
        {"c2pa.actions.v2__0", "c2pa.actions.v2__0", 1, 0},
        {"c2pa.actions.v2__01", "c2pa.actions.v2__01", 1, 0},
        {"c2pa.actions.v2_1", "c2pa.actions.v2_1", 1, 0},
        {"c2pa.actions.v2__9999999999", "c2pa.actions.v2__9999999999", 1, 0},
        {"__1", "__1", 1, 0},
        {".v2", ".v2", 1, 0},
        {"a__1.v2", "a__1", 2, 0},
        {"", "", 1, 0},
        {"7", "7", 1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct atlas_c2pa_label split = atlas_c2pa_label_split(atlas_span_str(rows[i].label));
        if (!atlas_span_equal(split.base, atlas_span_str(rows[i].base)) || split.version != rows[i].version ||
            split.instance != rows[i].instance) {
            TEST_FAIL("%s", rows[i].label);
        }
    }
}

TEST(a_label_has_its_kind)
{
    static const struct {
        const char *label;
        enum atlas_c2pa_kind kind;
    } rows[] = {
        {"c2pa.hash.data", ATLAS_C2PA_HASH_DATA},
        {"c2pa.hash.data__1", ATLAS_C2PA_HASH_DATA},
        {"c2pa.hash.data.v2", ATLAS_C2PA_HASH_UNSUPPORTED},
        {"c2pa.hash.collection.data", ATLAS_C2PA_HASH_COLLECTION},
        {"c2pa.hash.boxes", ATLAS_C2PA_HASH_UNSUPPORTED},
        {"c2pa.hash.bmff.v3", ATLAS_C2PA_HASH_UNSUPPORTED},
        {"c2pa.hash.segment", ATLAS_C2PA_HASH_UNSUPPORTED},
        {"c2pa.hash.data__0", ATLAS_C2PA_HASH_UNSUPPORTED},
        {"c2pa.hash.multi-asset", ATLAS_C2PA_HASH_PART},
        {"c2pa.hash.data.part", ATLAS_C2PA_HASH_PART},
        {"c2pa.actions.v2", ATLAS_C2PA_ACTIONS},
        {"c2pa.actions", ATLAS_C2PA_ACTIONS_OLD},
        {"c2pa.actions.v3", ATLAS_C2PA_ACTIONS_OLD},
        {"c2pa.ingredient.v3__4", ATLAS_C2PA_INGREDIENT},
        {"c2pa.ingredient", ATLAS_C2PA_INGREDIENT_OLD},
        {"c2pa.ingredient.v2", ATLAS_C2PA_INGREDIENT_OLD},
        {"c2pa.ingredient.v4", ATLAS_C2PA_INGREDIENT_OLD},
        {"c2pa.asset-type.v2", ATLAS_C2PA_ASSET_TYPE},
        {"c2pa.asset-type", ATLAS_C2PA_OTHER},
        {"c2pa.attestation", ATLAS_C2PA_ATTESTATION},
        {"cawg.training-mining", ATLAS_C2PA_TRAINING_MINING},
        {"c2pa.training-mining", ATLAS_C2PA_TRAINING_MINING},
        {"org.atlasml.measurement", ATLAS_C2PA_MEASUREMENT},
        {"org.atlasml.measurement.v2", ATLAS_C2PA_MEASUREMENT}, /* a version unknown here turns no rule off */
        {"org.atlasml.inputs__1", ATLAS_C2PA_INPUTS},
        {"org.atlasml.run", ATLAS_C2PA_RUN},
        {"org.atlasml.data-use", ATLAS_C2PA_DATA_USE},
        {"org.atlasml.metrics", ATLAS_C2PA_METRICS},
        {"org.atlasml.coverage", ATLAS_C2PA_COVERAGE},
        {"org.atlasml", ATLAS_C2PA_OTHER},
        {"org.example.hash", ATLAS_C2PA_OTHER},
        {"C2PA.hash.data", ATLAS_C2PA_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (atlas_c2pa_kind(atlas_span_str(rows[i].label)) != rows[i].kind) {
            TEST_FAIL("%s", rows[i].label);
        }
    }
    CHECK(atlas_c2pa_is_hard_binding(ATLAS_C2PA_HASH_DATA));
    CHECK(atlas_c2pa_is_hard_binding(ATLAS_C2PA_HASH_COLLECTION));
    CHECK(atlas_c2pa_is_hard_binding(ATLAS_C2PA_HASH_UNSUPPORTED));
    CHECK(!atlas_c2pa_is_hard_binding(ATLAS_C2PA_HASH_PART));
    CHECK(!atlas_c2pa_is_hard_binding(ATLAS_C2PA_OTHER));
}

TEST(a_urn_names_a_manifest)
{
    static const char *const good[] = {URN, "urn:uuid:" UUID, "adobe:urn:uuid:" UUID, URN ":atlas", URN ":atlas:2_1",
                                       "urn:c2pa:ABCDEF01-2345-6789-abcd-ef0123456789"};
    static const char *const bad[] = {"",
                                      "urn:c2pa:",
                                      "urn:c2pa:x",
                                      UUID,
                                      "urn:c2pa:1111111-11111-4111-8111-111111111111",
                                      URN "1",
                                      URN "/x",
                                      URN ":a/b",
                                      "urn:uuid:" UUID ":atlas",
                                      "URN:c2pa:" UUID,
                                      "urn:c2pa:11111111_1111_4111_8111_111111111111",
                                      "urn:c2pa:g1111111-1111-4111-8111-111111111111",
                                      ":urn:uuid:" UUID,
                                      "a:b:urn:uuid:" UUID,
                                      "a/b:urn:uuid:" UUID,
                                      "adobeurn:uuid:" UUID,
                                      "adobe:urn:c2pa:" UUID,
                                      ":" UUID};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK(atlas_c2pa_urn_check(atlas_span_str(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!atlas_c2pa_urn_check(atlas_span_str(bad[i])));
    }
}

/* ----------------------------------------------------------------------------------------------- references */

static bool leads_to(const char *uri, enum atlas_c2pa_target target, const char *urn, const char *label)
{
    struct atlas_c2pa_ref ref;
    struct atlas_buf again = ATLAS_BUF_INIT;
    if (atlas_c2pa_ref_read(atlas_span_str(uri), &ref, NULL) < 0 || ref.target != target ||
        (urn == NULL) != (ref.manifest.p == NULL) || (label == NULL) != (ref.label.p == NULL)) {
        return false;
    }
    atlas_c2pa_ref_write(&again, ref.target, ref.manifest, ref.label);
    bool same = atlas_span_equal(atlas_buf_span(&again), atlas_span_str(uri)) &&
                atlas_span_equal(ref.manifest, atlas_span_str(urn)) &&
                atlas_span_equal(ref.label, atlas_span_str(label));
    atlas_buf_release(&again);
    return same;
}

TEST(references_are_read_and_written)
{
    CHECK(leads_to("self#jumbf=/c2pa/" URN, ATLAS_C2PA_TARGET_MANIFEST, URN, NULL));
    CHECK(leads_to("self#jumbf=/c2pa/" URN "/c2pa.signature", ATLAS_C2PA_TARGET_SIGNATURE, URN, NULL));
    CHECK(leads_to("self#jumbf=/c2pa/" URN "/c2pa.claim.v2", ATLAS_C2PA_TARGET_CLAIM, URN, NULL));
    CHECK(leads_to("self#jumbf=/c2pa/" URN "/c2pa.assertions/a.b__1", ATLAS_C2PA_TARGET_ASSERTION, URN, "a.b__1"));
    CHECK(leads_to("self#jumbf=c2pa.assertions/a.b", ATLAS_C2PA_TARGET_ASSERTION, NULL, "a.b"));
    CHECK(leads_to("self#jumbf=c2pa.signature", ATLAS_C2PA_TARGET_SIGNATURE, NULL, NULL));
}

TEST(other_references_are_refused)
{
    static const char *const bad[] = {
        "",
        "self#jumbf=",
        "self#jumbf=/",
        "self#jumbf=/c2pa",
        "self#jumbf=/c2pa/",
        "self#jumbf=/c2pa/x",
        "self#jumbf=/c2pa/" URN "/",
        "self#jumbf=/c2pa/" URN "//c2pa.signature",
        "self#jumbf=/c2pa/" URN "/c2pa.signature/",
        "self#jumbf=/c2pa/" URN "/c2pa.assertions",
        "self#jumbf=/c2pa/" URN "/c2pa.assertions/",
        "self#jumbf=/c2pa/" URN "/c2pa.assertions/a/b",
        "self#jumbf=/c2pa/" URN "/c2pa.assertions/a#b",
        "self#jumbf=/c2pa/" URN "/c2pa.assertions/../c2pa.signature",
        "self#jumbf=/c2pa/" URN "/../" URN,
        "self#jumbf=/c2pa/../c2pa/" URN,
        "self#jumbf=/C2PA/" URN,
        "self#jumbf=../c2pa.assertions/a",
        "self#jumbf=c2pa.assertions/a?x",
        "self#JUMBF=c2pa.assertions/a",
        "c2pa.assertions/a",
        "#jumbf=c2pa.assertions/a",
        "self#jumbf=" URN,
        "https://example.org/x",
        " self#jumbf=c2pa.assertions/a",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct atlas_c2pa_ref ref;
        if (atlas_c2pa_ref_read(atlas_span_str(bad[i]), &ref, NULL) != ATLAS_E_C2PA) {
            TEST_FAIL("%s", bad[i]);
        }
    }
}

static int read_link(const char *notation, struct atlas_c2pa_link *link)
{
    static struct atlas_buf b; /* the view borrows it */
    atlas_buf_release(&b);
    write_notation(&b, notation);
    return atlas_c2pa_link_read(atlas_buf_span(&b), "link", link, NULL);
}

TEST(links_are_internal_or_external)
{
    struct atlas_c2pa_link link;
    CHECK_OK(read_link("{'url': 'self#jumbf=c2pa.assertions/a', 'hash': #32}", &link));
    CHECK(!link.external && link.alg.p == NULL && link.hash.n == 32 && !link.size.present);
    CHECK_OK(read_link("{'url': 'https://x', 'alg': 'sha256', 'hash': #32, 'size': 7, 'dc:format': 'a/b'}", &link));
    CHECK(link.external && link.size.present && link.size.v == 7);
    CHECK_SPAN(link.format, ATLAS_LIT("a/b"));
    CHECK_ERR(read_link("{'url': 'https://x', 'hash': #32}", &link), ATLAS_E_C2PA);
    CHECK_ERR(read_link("{'url': 'file:///etc/passwd', 'alg': 'sha256', 'hash': #32}", &link), ATLAS_E_C2PA);
    CHECK_ERR(read_link("{'url': 'a', 'hash': #32}", &link), ATLAS_E_C2PA);
    CHECK_ERR(read_link("{'hash': #32}", &link), ATLAS_E_C2PA);
    CHECK_ERR(read_link("{'url': 'self#jumbf=c2pa.assertions/a'}", &link), ATLAS_E_C2PA);
    CHECK_ERR(read_link("{'url': 'self#jumbf=c2pa.assertions/a', 'hash': 'text'}", &link), ATLAS_E_C2PA);
    CHECK_ERR(read_link("{'url': 'self#jumbf=c2pa.assertions/a', 'hash': #32, 'size': -1}", &link), ATLAS_E_C2PA);
    CHECK_ERR(read_link("['self#jumbf=c2pa.assertions/a', #32]", &link), ATLAS_E_C2PA);
}

TEST(a_digest_takes_its_algorithm_from_the_nearest_name)
{
    static const uint8_t zeroes[64];
    struct atlas_digest d = {0};
    struct atlas_span h32 = atlas_span_of(zeroes, 32);
    CHECK_OK(atlas_c2pa_digest(ATLAS_LIT("sha256"), ATLAS_LIT("sha512"), h32, "", &d, NULL));
    CHECK(d.alg == ATLAS_SHA256 && d.n == 32);
    CHECK_OK(atlas_c2pa_digest(ATLAS_SPAN_NONE, ATLAS_LIT("sha384"), atlas_span_of(zeroes, 48), "", &d, NULL));
    CHECK(d.alg == ATLAS_SHA384 && d.n == 48);
    CHECK_ERR(atlas_c2pa_digest(ATLAS_SPAN_NONE, ATLAS_SPAN_NONE, h32, "", &d, NULL), ATLAS_E_ALGORITHM);
    CHECK_ERR(atlas_c2pa_digest(ATLAS_LIT("sha1"), ATLAS_LIT("sha256"), h32, "", &d, NULL), ATLAS_E_ALGORITHM);
    CHECK_ERR(atlas_c2pa_digest(ATLAS_LIT(""), ATLAS_LIT("sha256"), h32, "", &d, NULL), ATLAS_E_ALGORITHM);
    CHECK_ERR(atlas_c2pa_digest(ATLAS_LIT("sha384"), ATLAS_SPAN_NONE, h32, "", &d, NULL), ATLAS_E_C2PA);
    CHECK_ERR(atlas_c2pa_digest(ATLAS_LIT("sha256"), ATLAS_SPAN_NONE, ATLAS_SPAN_NONE, "", &d, NULL), ATLAS_E_C2PA);
}

/* ------------------------------------------------------------------------------------------------ manifests */

/* Boxes of a manifest, one letter each: A assertion store, C claim v2, 1 claim v1, S signature, T a claim with a text
 * box, U unknown, X claim with another label. */
static void write_manifest(struct atlas_buf *b, uint32_t kind, const char *urn, const char *parts)
{
    size_t manifest = atlas_jumbf_open(b, kind, atlas_span_str(urn), ATLAS_SPAN_NONE);
    int rc = ATLAS_OK;
    for (; *parts != '\0' && rc == ATLAS_OK; parts++) {
        size_t mark;
        switch (*parts) {
        case 'A':
            mark = atlas_jumbf_open(b, ATLAS_C2PA_4CC_ASSERTIONS, ATLAS_C2PA_LABEL_ASSERTIONS, ATLAS_SPAN_NONE);
            rc = atlas_jumbf_close(b, mark, NULL);
            break;
        case 'C':
            rc = atlas_c2pa_part_write(b, ATLAS_C2PA_4CC_CLAIM, ATLAS_C2PA_LABEL_CLAIM, ATLAS_LIT("\xa0"), NULL);
            break;
        case '1':
            rc = atlas_c2pa_part_write(b, ATLAS_C2PA_4CC_CLAIM, ATLAS_C2PA_LABEL_CLAIM_V1, ATLAS_LIT("\xa0"), NULL);
            break;
        case 'S':
            rc =
                atlas_c2pa_part_write(b, ATLAS_C2PA_4CC_SIGNATURE, ATLAS_C2PA_LABEL_SIGNATURE, ATLAS_LIT("\xa0"), NULL);
            break;
        case 'T':
            mark = atlas_jumbf_open(b, ATLAS_C2PA_4CC_CLAIM, ATLAS_C2PA_LABEL_CLAIM, ATLAS_SPAN_NONE);
            rc = atlas_jumbf_write_box(b, ATLAS_JUMBF_JSON, ATLAS_LIT("{}"), NULL);
            rc = rc == ATLAS_OK ? atlas_jumbf_close(b, mark, NULL) : rc;
            break;
        case 'X':
            rc = atlas_c2pa_part_write(b, ATLAS_C2PA_4CC_CLAIM, ATLAS_LIT("c2pa.claim.v3"), ATLAS_LIT("\xa0"), NULL);
            break;
        default:
            rc = atlas_c2pa_part_write(b, ATLAS_JUMBF_CBOR, ATLAS_LIT("unknown"), ATLAS_LIT("\xa0"), NULL);
        }
    }
    if (rc < 0 || atlas_jumbf_close(b, manifest, NULL) < 0) {
        abort();
    }
}

static int read_manifest(uint32_t kind, const char *urn, const char *parts, enum atlas_c2pa_problem *problem,
                         unsigned *claim_version)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_jumbf box;
    struct atlas_c2pa_manifest m = {0};
    write_manifest(&b, kind, urn, parts);
    int rc = atlas_jumbf_read(atlas_buf_span(&b), "", &box, NULL);
    rc = rc == ATLAS_OK ? atlas_c2pa_manifest_read(&box, &m, problem, NULL) : rc;
    *claim_version = m.claim_version;
    atlas_buf_release(&b);
    return rc;
}

TEST(a_manifest_has_exactly_three_parts)
{
    static const struct {
        const char *parts;
        enum atlas_c2pa_problem problem;
    } rows[] = {
        {"ACS", ATLAS_C2PA_FINE},
        {"SCA", ATLAS_C2PA_FINE}, /* in any order */
        {"AS", ATLAS_C2PA_CLAIM_MISSING},
        {"", ATLAS_C2PA_CLAIM_MISSING},
        {"ACCS", ATLAS_C2PA_CLAIM_MULTIPLE},
        {"AC1S", ATLAS_C2PA_CLAIM_MULTIPLE},
        {"AC", ATLAS_C2PA_SIGNATURE_MISSING},
        {"ACSS", ATLAS_C2PA_SIGNATURE_MULTIPLE},
        {"CS", ATLAS_C2PA_ASSERTIONS_MISSING},
        {"AACS", ATLAS_C2PA_ASSERTIONS_MULTIPLE},
        {"ACSU", ATLAS_C2PA_UNKNOWN_BOX},
        {"ACSX", ATLAS_C2PA_UNKNOWN_BOX},
        {"AXS", ATLAS_C2PA_UNKNOWN_BOX},
        {"A1SU", ATLAS_C2PA_FINE}, /* version 1 has such boxes; reading the claim says that it is outside the profile */
        {"ATS", ATLAS_C2PA_BAD_BOX},
    };
    unsigned version;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum atlas_c2pa_problem problem;
        int rc = read_manifest(ATLAS_C2PA_4CC_STANDARD, URN, rows[i].parts, &problem, &version);
        if (problem != rows[i].problem || (rc == ATLAS_OK) != (problem == ATLAS_C2PA_FINE)) {
            TEST_FAIL("%s gives problem %d, rc %d", rows[i].parts, (int)problem, rc);
        }
    }
}

TEST(only_standard_and_update_manifests_are_read)
{
    unsigned version;
    enum atlas_c2pa_problem problem;
    CHECK_OK(read_manifest(ATLAS_C2PA_4CC_UPDATE, URN, "ACS", &problem, &version));
    CHECK_ERR(read_manifest(ATLAS_C2PA_4CC_COMPRESSED, URN, "ACS", &problem, &version), ATLAS_E_UNSUPPORTED);
    CHECK(problem == ATLAS_C2PA_WRONG_TYPE);
    CHECK_ERR(read_manifest(ATLAS_C2PA_4CC_DEPRECATED, URN, "ACS", &problem, &version), ATLAS_E_UNSUPPORTED);
    CHECK_ERR(read_manifest(ATLAS_JUMBF_CBOR, URN, "ACS", &problem, &version), ATLAS_E_UNSUPPORTED);
    CHECK_ERR(read_manifest(ATLAS_C2PA_4CC_STANDARD, "not-a-urn", "ACS", &problem, &version), ATLAS_E_C2PA);
    CHECK(problem == ATLAS_C2PA_BAD_BOX);
}

TEST(a_claim_of_version_1_is_recognised_and_outside_the_profile)
{
    unsigned version;
    enum atlas_c2pa_problem problem;
    struct atlas_c2pa_claim claim;
    struct atlas_c2pa_manifest m = {.claim_version = 1, .claim_cbor = ATLAS_LIT("\xa0")};
    CHECK_OK(read_manifest(ATLAS_C2PA_4CC_STANDARD, URN, "A1S", &problem, &version));
    CHECK(version == 1);
    CHECK_ERR(atlas_c2pa_claim_read(&m, &claim, NULL), ATLAS_E_UNSUPPORTED);
}

/* --------------------------------------------------------------------------------------------------- stores */

struct store_result {
    int rc;
    size_t manifests;
    char active[16]; /* the end of its URN */
};

/* Superboxes of a store by kind: m standard, u update, c compressed, ? unknown, b a box that is no superbox. */
static struct store_result read_store(uint32_t kind, const char *label, const char *boxes)
{
    struct store_result result = {0};
    struct atlas_c2pa_store store;
    struct atlas_buf b = ATLAS_BUF_INIT;
    size_t mark = atlas_jumbf_open(&b, kind, atlas_span_str(label), ATLAS_SPAN_NONE);
    for (size_t i = 0; boxes[i] != '\0'; i++) {
        char urn[80];
        uint32_t box_kind = boxes[i] == 'm'   ? ATLAS_C2PA_4CC_STANDARD
                            : boxes[i] == 'u' ? ATLAS_C2PA_4CC_UPDATE
                            : boxes[i] == 'c' ? ATLAS_C2PA_4CC_COMPRESSED
                                              : ATLAS_JUMBF_CBOR;
        snprintf(urn, sizeof urn, URN ":%zu", i);
        if (boxes[i] != 'b') {
            write_manifest(&b, box_kind, urn, "ACS");
        } else if (atlas_jumbf_write_box(&b, ATLAS_JUMBF_CBOR, ATLAS_LIT("x"), NULL) < 0) {
            abort();
        }
    }
    result.rc = atlas_jumbf_close(&b, mark, NULL);
    if (result.rc == ATLAS_OK) {
        result.rc = atlas_c2pa_store_read(atlas_buf_span(&b), &store, NULL);
    }
    if (result.rc == ATLAS_OK) {
        struct atlas_span rest = store.active.label;
        struct atlas_span tail = ATLAS_SPAN_NONE;
        (void)atlas_span_take(&rest, sizeof URN, &tail);
        result.manifests = store.manifests;
        memcpy(result.active, rest.p, rest.n < sizeof result.active - 1 ? rest.n : 0);
    }
    atlas_buf_release(&b);
    return result;
}

TEST(the_last_manifest_of_a_store_is_active)
{
    struct store_result r = read_store(ATLAS_C2PA_4CC_STORE, "c2pa", "mumu");
    CHECK_OK(r.rc);
    CHECK(r.manifests == 4 && strcmp(r.active, "3") == 0);
    r = read_store(ATLAS_C2PA_4CC_STORE, "c2pa", "?m?u??"); /* unknown superboxes are ignored */
    CHECK_OK(r.rc);
    CHECK(r.manifests == 2 && strcmp(r.active, "3") == 0);
    r = read_store(ATLAS_C2PA_4CC_STORE, "c2pa",
                   "mc"); /* one that is not read must not make the one before it active */
    CHECK_OK(r.rc);
    CHECK(strcmp(r.active, "1") == 0);
}

TEST(what_is_no_store_is_refused)
{
    CHECK_ERR(read_store(ATLAS_C2PA_4CC_STORE, "c2pa", "").rc, ATLAS_E_C2PA);
    CHECK_ERR(read_store(ATLAS_C2PA_4CC_STORE, "c2pa", "??").rc, ATLAS_E_C2PA);
    CHECK_ERR(read_store(ATLAS_C2PA_4CC_STORE, "C2PA", "m").rc, ATLAS_E_C2PA);
    CHECK_ERR(read_store(ATLAS_C2PA_4CC_STANDARD, "c2pa", "m").rc, ATLAS_E_C2PA);
    CHECK_ERR(read_store(ATLAS_C2PA_4CC_STORE, "c2pa", "mb").rc, ATLAS_E_JUMBF);
}

TEST(a_store_has_a_size_limit)
{
    static const uint8_t byte;
    struct atlas_c2pa_store store;
    struct atlas_span too_long = atlas_span_of(&byte, ATLAS_MAX_STORE_BYTES + 1u);
    uint8_t *whole = calloc(1, ATLAS_MAX_STORE_BYTES);
    CHECK(whole != NULL);
    int rc = atlas_c2pa_store_read(atlas_span_of(whole, ATLAS_MAX_STORE_BYTES), &store, NULL);
    free(whole);
    CHECK_ERR(atlas_c2pa_store_read(too_long, &store, NULL), ATLAS_E_LIMIT);
    CHECK_ERR(rc, ATLAS_E_JUMBF); /* at the limit it is looked at */
}

TEST(nothing_may_follow_a_store)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_c2pa_store store;
    sample_store(&b);
    int good = atlas_c2pa_store_read(atlas_buf_span(&b), &store, NULL);
    atlas_buf_append_u8(&b, 0);
    int bad = atlas_c2pa_store_read(atlas_buf_span(&b), &store, NULL);
    atlas_buf_release(&b);
    CHECK_OK(good);
    CHECK_ERR(bad, ATLAS_E_JUMBF);
}

TEST(a_store_has_each_manifest_once)
{
    struct atlas_c2pa_store store;
    struct atlas_jumbf_index index = ATLAS_JUMBF_INDEX_INIT;
    struct atlas_buf b = ATLAS_BUF_INIT;
    size_t mark = atlas_jumbf_open(&b, ATLAS_C2PA_4CC_STORE, ATLAS_C2PA_LABEL_STORE, ATLAS_SPAN_NONE);
    write_manifest(&b, ATLAS_C2PA_4CC_STANDARD, URN, "ACS");
    write_manifest(&b, ATLAS_C2PA_4CC_STANDARD, URN, "ACS");
    CHECK_OK(atlas_jumbf_close(&b, mark, NULL));
    CHECK_OK(atlas_c2pa_store_read(atlas_buf_span(&b), &store, NULL));
    CHECK_OK(atlas_c2pa_manifests_index(&store, &index, NULL)); /* byte for byte the same */
    CHECK(index.n == 1);
    atlas_jumbf_index_release(&index);
    write_manifest(&b, ATLAS_C2PA_4CC_STANDARD, URN, "CSA");
    CHECK_OK(atlas_jumbf_close(&b, mark, NULL));
    CHECK_OK(atlas_c2pa_store_read(atlas_buf_span(&b), &store, NULL));
    CHECK_ERR(atlas_c2pa_manifests_index(&store, &index, NULL), ATLAS_E_JUMBF);
    atlas_buf_release(&b);
}

/* --------------------------------------------------------------------------------------------------- claims */

#define CREATED "'created_assertions': [{'url': 'self#jumbf=c2pa.assertions/a', 'hash': #32}]"
#define GENERATOR "'claim_generator_info': {'name': 'x', 'other': [1]}"
#define SIGNATURE "'signature': 'self#jumbf=/c2pa/" URN "/c2pa.signature'"

static int read_claim(const char *notation, struct atlas_c2pa_claim *claim)
{
    static struct atlas_buf b; /* the view borrows it */
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_c2pa_manifest m = {.claim_version = 2};
    atlas_buf_release(&b);
    write_notation(&b, notation);
    m.claim_cbor = atlas_buf_span(&b);
    int rc = atlas_c2pa_claim_read(&m, claim, &error);
    return rc == error.code ? rc : ATLAS_E_INTERNAL;
}

TEST(a_claim_is_read)
{
    struct atlas_c2pa_claim claim;
    CHECK_OK(read_claim("{'instanceID': 'i', " GENERATOR ", " SIGNATURE ", " CREATED ", 'unknown': {}}", &claim));
    CHECK_SPAN(claim.instance_id, ATLAS_LIT("i"));
    CHECK_SPAN(claim.generator_name, ATLAS_LIT("x"));
    CHECK(claim.generator_version.p == NULL && claim.alg.p == NULL && claim.gathered.p == NULL);
    CHECK(claim.redacted.p == NULL && claim.title.p == NULL);
    CHECK_OK(read_claim("{'instanceID': 'i', " GENERATOR ", " SIGNATURE ", " CREATED
                        ", 'gathered_assertions': [], 'redacted_assertions': ['x'], 'alg': 'sha256', 'dc:title': 't'}",
                        &claim));
    CHECK(claim.gathered.p != NULL && claim.redacted.p != NULL);
}

TEST(a_malformed_claim_is_refused)
{
    static const char *const bad[] = {
        "{" GENERATOR ", " SIGNATURE ", " CREATED "}",
        "{'instanceID': 'i', " SIGNATURE ", " CREATED "}",
        "{'instanceID': 'i', " GENERATOR ", " CREATED "}",
        "{'instanceID': 'i', " GENERATOR ", " SIGNATURE "}",
        "{'instanceID': 'i', " GENERATOR ", " SIGNATURE ", 'created_assertions': []}",
        "{'instanceID': 'i', " GENERATOR ", " SIGNATURE ", 'created_assertions': {}}",
        "{'instanceID': 'i', " GENERATOR ", " SIGNATURE ", 'created_assertions': ['a']}",
        "{'instanceID': 'i', " GENERATOR ", " SIGNATURE
        ", 'created_assertions': [{'url': 'https://x', 'alg': 'sha256', 'hash': #32}]}",
        "{'instanceID': 'i', 'claim_generator_info': {}, " SIGNATURE ", " CREATED "}",
        "{'instanceID': 'i', 'claim_generator_info': [{'name': 'x'}], " SIGNATURE ", " CREATED "}",
        "{'instanceID': 'i', 'claim_generator_info': {'name': 'x', 'version': 1}, " SIGNATURE ", " CREATED "}",
        "{'instanceID': 5, " GENERATOR ", " SIGNATURE ", " CREATED "}",
        "{'instanceID': 'i', " GENERATOR ", " SIGNATURE ", " CREATED ", 'gathered_assertions': [5]}",
        "{'instanceID': 'i', " GENERATOR ", " SIGNATURE ", " CREATED ", 'redacted_assertions': [5]}",
        "{'instanceID': 'i', " GENERATOR ", " SIGNATURE ", " CREATED ", 'redacted_assertions': 'x'}",
        "{'instanceID': 'i', " GENERATOR ", " SIGNATURE ", " CREATED ", 'alg': 5}",
        "[]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct atlas_c2pa_claim claim;
        if (read_claim(bad[i], &claim) != ATLAS_E_C2PA) {
            TEST_FAIL("%s", bad[i]);
        }
    }
}

TEST(a_claim_that_is_no_cbor_says_so)
{
    struct atlas_c2pa_claim claim;
    struct atlas_c2pa_manifest m = {.claim_version = 2, .claim_cbor = ATLAS_LIT("\xa2\x01\x00\x01\x00")};
    CHECK_ERR(atlas_c2pa_claim_read(&m, &claim, NULL), ATLAS_E_CBOR);
}

TEST(errors_in_lists_name_the_entry)
{
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_c2pa_claim claim;
    struct atlas_c2pa_manifest m = {.claim_version = 2};
    write_notation(&b, "{'instanceID': 'i', " GENERATOR ", " SIGNATURE ", 'created_assertions': [{'url': "
                       "'self#jumbf=c2pa.assertions/a', 'hash': #32}, {'url': 'self#jumbf=c2pa.assertions/a'}]}");
    m.claim_cbor = atlas_buf_span(&b);
    int rc = atlas_c2pa_claim_read(&m, &claim, &error);
    atlas_buf_release(&b);
    CHECK_ERR(rc, ATLAS_E_C2PA);
    CHECK(strcmp(error.where, "claim.created_assertions[1].hash") == 0);
}

/* A claim with that many links in each list. */
static int check_lists(uint32_t created, uint32_t gathered, uint32_t redacted)
{
    struct atlas_buf lists[3] = {ATLAS_BUF_INIT, ATLAS_BUF_INIT, ATLAS_BUF_INIT};
    struct atlas_buf generator = ATLAS_BUF_INIT;
    struct atlas_buf b = ATLAS_BUF_INIT;
    struct atlas_c2pa_claim claim;
    struct atlas_c2pa_link link = {.url = ATLAS_LIT("self#jumbf=c2pa.assertions/a"), .hash = ATLAS_LIT("x")};
    atlas_cbor_write_array(&lists[0], created);
    atlas_cbor_write_array(&lists[1], gathered);
    atlas_cbor_write_array(&lists[2], redacted);
    int rc = ATLAS_OK;
    for (uint32_t i = 0; rc == ATLAS_OK && i < created + gathered; i++) {
        rc = atlas_c2pa_link_write(&lists[i < created ? 0 : 1], &link, NULL);
    }
    for (uint32_t i = 0; i < redacted; i++) {
        atlas_cbor_write_text(&lists[2], link.url);
    }
    write_notation(&generator, "{'name': 'x'}");
    claim = (struct atlas_c2pa_claim){.instance_id = ATLAS_LIT("i"), .generator = atlas_buf_span(&generator),
                                      .signature = ATLAS_LIT("s"), .created = atlas_buf_span(&lists[0]),
                                      .gathered = atlas_buf_span(&lists[1]), .redacted = atlas_buf_span(&lists[2])};
    rc = rc == ATLAS_OK ? atlas_c2pa_claim_write(&b, &claim, NULL) : rc;
    struct atlas_c2pa_manifest m = {.claim_version = 2, .claim_cbor = atlas_buf_span(&b)};
    rc = rc == ATLAS_OK ? atlas_c2pa_claim_read(&m, &claim, NULL) : rc;
    for (size_t i = 0; i < 3; i++) {
        atlas_buf_release(&lists[i]);
    }
    atlas_buf_release(&generator);
    atlas_buf_release(&b);
    return rc;
}

TEST(the_lists_of_a_claim_are_limited)
{
    CHECK_OK(check_lists(ATLAS_MAX_ASSERTIONS, 0, 0));
    CHECK_ERR(check_lists(ATLAS_MAX_ASSERTIONS + 1, 0, 0), ATLAS_E_LIMIT);
    CHECK_OK(check_lists(1, ATLAS_MAX_ASSERTIONS - 1, 0));
    CHECK_ERR(check_lists(1, ATLAS_MAX_ASSERTIONS, 0), ATLAS_E_LIMIT);
    CHECK_OK(check_lists(1, 0, ATLAS_MAX_REDACTIONS));
    CHECK_ERR(check_lists(1, 0, ATLAS_MAX_REDACTIONS + 1), ATLAS_E_LIMIT);
}

/* ------------------------------------------------------------------------------------------- the sample store */

TEST(everything_in_the_sample_store_is_read)
{
    struct atlas_buf store = ATLAS_BUF_INIT;
    struct atlas_buf text = ATLAS_BUF_INIT;
    struct atlas_error error = ATLAS_ERROR_INIT;
    sample_store(&store);
    int rc = dump_store(atlas_buf_span(&store), &text, &error);
    atlas_buf_append_u8(&text, 0);
    /* NUL bytes of binary values end a C string: look for words in the whole text */
    bool all = true;
    static const char *const words[] = {SAMPLE_CHILD,
                                        "store of 2 manifests",
                                        "parentOf failures 1",
                                        "inputTo failures 0",
                                        "application/c2pa",
                                        "c2pa.redacted",
                                        "accuracy",
                                        "input 1",
                                        "text/plain",
                                        "use 2 0 0 0",
                                        "seen 3 gaps 1",
                                        "out/model.pt",
                                        "hello",
                                        "torch.load"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        all = all && text.p != NULL && memmem(text.p, text.n, words[i], strlen(words[i])) != NULL;
    }
    atlas_buf_release(&store);
    atlas_buf_release(&text);
    CHECK_OK(rc);
    CHECK(all);
}
