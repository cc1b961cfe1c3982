/* test_part.c - records of parts and ranges of a tree, from C. More cases: tests/unit/test_measure_parts.py. */
#include "format/part.h"
#include "stage/measure.h"
#include "stage/merkle.h"
#include "test.h"

#define SIZES 40

static struct atlas_span entry_of(const uint64_t *number)
{
    return atlas_span_of(number, sizeof *number);
}

static bool append_range(struct atlas_merkle_range *r, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) {
        if (atlas_merkle_range_append(r, entry_of(&i), NULL) < 0) {
            return false;
        }
    }
    return true;
}

/* The nodes of b behind those of a. */
static bool join(struct atlas_merkle_range *a, const struct atlas_merkle_range *b)
{
    uint64_t at = b->first;
    for (size_t i = 0; i < b->n_nodes; i++) {
        unsigned level = atlas_merkle_range_level(at, b->first + b->n);
        if (level != b->nodes[i].level ||
            atlas_merkle_range_append_node(a, level, atlas_span_of(b->nodes[i].hash, 32), NULL) < 0) {
            return false;
        }
        at += UINT64_C(1) << level;
    }
    return at == b->first + b->n;
}

TEST(ranges_join_to_the_tree_at_every_cut)
{
    for (uint64_t n = 0; n <= SIZES; n++) {
        struct atlas_merkle m;
        struct atlas_digest expected;
        CHECK_OK(atlas_merkle_init(&m, ATLAS_SHA256, NULL));
        for (uint64_t i = 0; i < n; i++) {
            CHECK_OK(atlas_merkle_append(&m, entry_of(&i), NULL));
        }
        CHECK_OK(atlas_merkle_root(&m, &expected, NULL));
        for (uint64_t cut = 0; cut <= n; cut++) {
            struct atlas_merkle_range left;
            struct atlas_merkle_range right;
            struct atlas_digest root;
            atlas_merkle_range_init(&left, ATLAS_SHA256, 0);
            atlas_merkle_range_init(&right, ATLAS_SHA256, cut);
            CHECK(append_range(&left, 0, cut) && append_range(&right, cut, n));
            CHECK(join(&left, &right));
            CHECK_OK(atlas_merkle_range_root(&left, &root, NULL));
            CHECK(atlas_digest_equal(&root, &expected));
        }
        atlas_merkle_release(&m);
    }
}

TEST(a_range_refuses_nodes_that_cannot_stand_there)
{
    struct atlas_merkle_range r;
    struct atlas_digest root;
    const uint8_t hash[32] = {0};
    atlas_merkle_range_init(&r, ATLAS_SHA256, 2);
    CHECK_ERR(atlas_merkle_range_append_node(&r, 2, atlas_span_of(hash, 32), NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_merkle_range_append_node(&r, 64, atlas_span_of(hash, 32), NULL), ATLAS_E_ARG);
    CHECK_ERR(atlas_merkle_range_append_node(&r, 1, atlas_span_of(hash, 31), NULL), ATLAS_E_ARG);
    CHECK_OK(atlas_merkle_range_append_node(&r, 1, atlas_span_of(hash, 32), NULL));
    CHECK_ERR(atlas_merkle_range_root(&r, &root, NULL), ATLAS_E_ARG);
    atlas_merkle_range_init(&r, ATLAS_SHA256, ATLAS_MERKLE_MAX_LEAVES);
    CHECK_ERR(atlas_merkle_range_append_node(&r, 0, atlas_span_of(hash, 32), NULL), ATLAS_E_LIMIT);
}

#define VERSION "0000000000000000000000000000000000000000000000000000000000000000"
#define NODE "1111111111111111111111111111111111111111111111111111111111111111\n"

static int read(const char *text)
{
    struct atlas_part p;
    return atlas_part_read(atlas_span_str(text), &p, NULL);
}

TEST(a_record_is_read_in_its_only_form)
{
    CHECK_OK(read("atlas-part 1 sha256\nfile 3145728 " VERSION "\nrange 0 3\n" NODE NODE));
    CHECK_OK(read("atlas-part 1 sha256\nfile 0 " VERSION "\nrange 0 0\n"));
    CHECK_OK(read("atlas-part 1 sha256\ndirectory 0 1 " VERSION "\nrange 0 0\nlink a ..%2520\n"));
    CHECK_ERR(read(""), ATLAS_E_PART);
    CHECK_ERR(read("atlas-part 1 sha256\nfile 3145728 " VERSION "\nrange 0 3\n" NODE), ATLAS_E_PART);
    CHECK_ERR(read("atlas-part 1 sha256\nfile 3145728 " VERSION "\nrange 0 3\n" NODE NODE NODE), ATLAS_E_PART);
    CHECK_ERR(read("atlas-part 1 sha256\nfile 9223372036854775808 " VERSION "\nrange 0 0\n"), ATLAS_E_PART);
    CHECK_ERR(read("atlas-part 1 sha256\ndirectory 10000001 0 " VERSION "\nrange 0 0\n"), ATLAS_E_PART);
    CHECK_ERR(read("atlas-part 1 sha256\ndirectory 0 1 " VERSION "\nrange 0 0\nlink a b"), ATLAS_E_PART);
    CHECK_ERR(read("atlas-part 1 sha256\ndirectory 0 1 " VERSION "\nrange 0 0\nlink a %41\n"), ATLAS_E_PART);
    CHECK_ERR(read("atlas-part 1 sha256\ndirectory 0 1 " VERSION "\nrange 0 0\nlink a \n"), ATLAS_E_PART);
}

/* The largest file has 2^43 chunks: its record is still small. */
TEST(the_largest_file_has_a_record)
{
    struct atlas_part p = {.alg = ATLAS_SHA256, .kind = ATLAS_PART_FILE, .size = INT64_MAX};
    struct atlas_buf record = ATLAS_BUF_INIT;
    struct atlas_measurement m;
    const uint8_t hash[32] = {0};
    p.total = p.end = atlas_part_chunks(p.size);
    CHECK(p.total == UINT64_C(1) << 43);
    atlas_part_write_header(&p, &record);
    atlas_part_write_node(atlas_span_of(hash, 32), &record);
    CHECK_OK(atlas_part_measurement(atlas_buf_span(&record), &record, &record, &m, NULL));
    CHECK(m.size == INT64_MAX && m.tree.alg == ATLAS_SHA256 && m.flat.alg == ATLAS_ALG_NONE);
    atlas_buf_release(&record);
}
