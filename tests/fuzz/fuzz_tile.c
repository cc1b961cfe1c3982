/* fuzz_tile.c - what a log reads from its own folder: a path has one form, a bundle is exactly its entries, and a stage
 * that is read is whole, with files inside it and no others. */
#include "format/tile.h"
#include "fuzz.h"
#include "stage/log_parts.h"

static void read_path(struct atlas_span path)
{
    char again[ATLAS_TILE_PATH_MAX];
    struct atlas_tile tile;
    if (atlas_tile_read_path(path, &tile)) {
        atlas_tile_path(&tile, again);
        REQUIRE(atlas_span_equal(path, atlas_span_str(again)));
        REQUIRE(tile.level <= ATLAS_TILE_ENTRIES && tile.width >= 1 && tile.width <= ATLAS_TILE_WIDTH);
    }
}

static void read_bundle(struct atlas_span bundle)
{
    struct atlas_buf again = ATLAS_BUF_INIT;
    struct atlas_span rest = bundle;
    struct atlas_span entry;
    while (atlas_bundle_next(&rest, &entry)) {
        atlas_bundle_append(&again, entry);
    }
    REQUIRE(atlas_span_equal(atlas_buf_span(&again), atlas_span_sub(bundle, 0, bundle.n - rest.n)));
    atlas_buf_release(&again);
}

static void read_stage(struct atlas_span bytes)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct log_edge edge = {0};
    struct log_stage stage;
    struct log_file file;
    int rc = log_stage_read(bytes, "stage", &stage, &error);
    REQUIRE(rc == error.code && (rc == ATLAS_OK || rc == ATLAS_E_LOG));
    if (rc < 0) {
        return;
    }
    rc = log_stage_check(&stage, &edge, NULL);
    REQUIRE(rc == ATLAS_OK || rc == ATLAS_E_TILE);
    log_edge_release(&edge);
    size_t n = 0;
    while (log_stage_next(&stage, &file)) {
        n += file.bytes.n;
        read_path(atlas_span_str(file.path));
    }
    REQUIRE(n <= bytes.n && stage.contents.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct atlas_span input = own_copy(data, size);
    read_path(input);
    read_bundle(input);
    read_stage(input);
    free_copy(input);
    return 0;
}
