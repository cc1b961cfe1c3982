/* fuzz_part.c - records of parts: what is accepted is exactly what the merge of that one record writes, and whatever two
 * of them are put together to has the blocks of both. A NUL separates two records. */
#include "format/part.h"
#include "fuzz.h"
#include "stage/measure.h"

static void merge_one(struct atlas_span record)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf again = ATLAS_BUF_INIT;
    struct atlas_buf index = ATLAS_BUF_INIT;
    struct atlas_buf links = ATLAS_BUF_INIT;
    struct atlas_measurement m;
    int rc = atlas_part_merge(&record, 1, &again, &error);
    REQUIRE(rc == error.code && (rc == ATLAS_OK || rc == ATLAS_E_PART));
    REQUIRE(rc != ATLAS_OK || atlas_span_equal(atlas_buf_span(&again), record));
    int whole = atlas_part_measurement(record, &index, &links, &m, NULL);
    REQUIRE(whole == ATLAS_OK || whole == ATLAS_E_PART || whole == ATLAS_E_LIMIT);
    REQUIRE(whole != ATLAS_OK || (rc == ATLAS_OK && m.tree.alg != ATLAS_ALG_NONE));
    atlas_buf_release(&again);
    atlas_buf_release(&index);
    atlas_buf_release(&links);
}

static void merge_two(const struct atlas_span records[2])
{
    struct atlas_buf merged = ATLAS_BUF_INIT;
    struct atlas_part parts[2];
    struct atlas_part whole;
    if (atlas_part_merge(records, 2, &merged, NULL) == ATLAS_OK) {
        REQUIRE(atlas_part_read(records[0], &parts[0], NULL) == ATLAS_OK);
        REQUIRE(atlas_part_read(records[1], &parts[1], NULL) == ATLAS_OK);
        REQUIRE(atlas_part_read(atlas_buf_span(&merged), &whole, NULL) == ATLAS_OK);
        REQUIRE(whole.end - whole.first == parts[0].end - parts[0].first + parts[1].end - parts[1].first);
    }
    atlas_buf_release(&merged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *middle = size != 0 ? memchr(data, 0, size) : NULL;
    size_t first = middle != NULL ? (size_t)(middle - data) : size;
    struct atlas_span records[2] = {own_copy(data, first), own_copy(data + first, 0)};
    if (middle != NULL) {
        free_copy(records[1]);
        records[1] = own_copy(middle + 1, size - first - 1);
    }
    merge_one(records[0]);
    merge_two(records);
    free_copy(records[0]);
    free_copy(records[1]);
    return 0;
}
