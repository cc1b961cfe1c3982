/* fuzz_index.c - the index of a directory: what is accepted is exactly what the writer writes, and two of them differ
 * where their lines do. A NUL separates two indexes. */
#include "base/path.h"
#include "format/index.h"
#include "fuzz.h"

static uint8_t value_of(uint8_t digit)
{
    return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static struct atlas_span from_hex(struct atlas_span hex, uint8_t *bytes)
{
    for (size_t i = 0; i < hex.n / 2; i++) {
        bytes[i] = (uint8_t)(value_of(hex.p[2 * i]) << 4 | value_of(hex.p[2 * i + 1]));
    }
    return atlas_span_of(bytes, hex.n / 2);
}

static void write_entry(const struct atlas_index_entry *e, struct atlas_buf *text)
{
    uint8_t flat[ATLAS_DIGEST_MAX];
    uint8_t tree[ATLAS_DIGEST_MAX];
    struct atlas_buf path = ATLAS_BUF_INIT;
    REQUIRE(e->flat.n <= 2 * sizeof flat && e->tree.n <= 2 * sizeof tree);
    atlas_path_decode(e->path, &path);
    REQUIRE(atlas_path_check_raw(atlas_buf_span(&path)));
    atlas_index_write_line(from_hex(e->flat, flat), from_hex(e->tree, tree), e->size, atlas_buf_span(&path), text);
    atlas_buf_release(&path);
}

static void read_and_write_again(struct atlas_span text)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_buf again = ATLAS_BUF_INIT;
    struct atlas_index x;
    struct atlas_index_entry e;
    int rc = atlas_index_open(&x, text, &error);
    if (rc == ATLAS_OK) {
        atlas_index_write_header(x.alg, &again);
        while ((rc = atlas_index_next(&x, &e, &error)) == 1) {
            write_entry(&e, &again);
        }
    }
    REQUIRE(rc == error.code && (rc == 0 || (rc == ATLAS_E_INDEX && error.offset <= text.n)));
    REQUIRE(rc != 0 || atlas_span_equal(atlas_buf_span(&again), text));
    atlas_buf_release(&again);
}

static void compare(struct atlas_span before, struct atlas_span after)
{
    struct atlas_index_diff d;
    enum atlas_index_change change = ATLAS_INDEX_SAME;
    struct atlas_span path;
    bool differ = false;
    if (atlas_index_diff_open(&d, before, after, NULL) < 0) {
        return;
    }
    do {
        if (atlas_index_diff_next(&d, &change, &path, NULL) < 0) {
            return;
        }
        REQUIRE(change == ATLAS_INDEX_SAME || atlas_path_check(path));
        differ = differ || change != ATLAS_INDEX_SAME;
    } while (change != ATLAS_INDEX_SAME);
    REQUIRE(differ == !atlas_span_equal(before, after));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *middle = size != 0 ? memchr(data, 0, size) : NULL;
    size_t first = middle != NULL ? (size_t)(middle - data) : size;
    struct atlas_span before = own_copy(data, first);
    struct atlas_span after = middle != NULL ? own_copy(middle + 1, size - first - 1) : own_copy(data, first);
    read_and_write_again(before);
    read_and_write_again(after);
    compare(before, after);
    free_copy(before);
    free_copy(after);
    return 0;
}
