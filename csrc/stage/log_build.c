#include "stage/log_parts.h"

#include <stdlib.h>

struct builder {
    struct log_tree *next;
    struct atlas_buf *bundle;
    struct log_stage_buf *stage;
    bool changed[ATLAS_TILE_LEVELS];
    struct atlas_error *error;
};

static int copy_edge(const struct log_tree *tree, struct log_tree *next, struct atlas_error *error)
{
    for (unsigned level = 0; level < ATLAS_TILE_LEVELS; level++) {
        atlas_buf_append(&next->edge.tiles[level], atlas_buf_span(&tree->edge.tiles[level]));
        int rc = atlas_buf_check(&next->edge.tiles[level], error);
        if (rc < 0) {
            return rc;
        }
    }
    return ATLAS_OK;
}

/* The bundle as it is now, with so many entries, as a file of the stage. */
static int add_bundle(struct builder *b, uint64_t index, unsigned width)
{
    struct atlas_tile tile = {.level = ATLAS_TILE_ENTRIES, .index = index, .width = width};
    int rc = atlas_buf_check(b->bundle, b->error);
    return rc < 0 ? rc : log_stage_add(b->stage, &tile, atlas_buf_span(b->bundle), b->error);
}

/* Append a hash to the edge. A tile that is full becomes a file, and its root the next hash of the level above. The
 * tree's size is already the new one. */
static int add_hash(struct builder *b, struct atlas_digest hash)
{
    for (unsigned level = 0; level < ATLAS_TILE_LEVELS; level++) {
        struct atlas_buf *edge = &b->next->edge.tiles[level];
        struct atlas_tile tile = {.level = level, .width = ATLAS_TILE_WIDTH};
        int rc;
        atlas_buf_append(edge, atlas_digest_span(&hash));
        ATLAS_TRY(atlas_buf_check(edge, b->error));
        b->changed[level] = true;
        if (edge->n < ATLAS_TILE_BYTES) {
            return ATLAS_OK;
        }
        tile.index = (b->next->size >> (ATLAS_TILE_BITS * level) >> ATLAS_TILE_BITS) - 1;
        ATLAS_TRY(log_stage_add(b->stage, &tile, atlas_buf_span(edge), b->error));
        ATLAS_TRY(log_subtree(atlas_buf_span(edge), &hash, b->error));
        atlas_buf_clear(edge);
        continue;
out:
        return rc;
    }
    return atlas_error_set(b->error, ATLAS_E_LIMIT, "log", "a tree has at most 2^63 leaves");
}

static int add_entry(struct builder *b, struct atlas_span entry)
{
    struct atlas_digest leaf;
    int rc;
    ATLAS_TRY(atlas_merkle_leaf_with(&b->stage->hasher, entry, &leaf, b->error));
    atlas_bundle_append(b->bundle, entry);
    b->next->size++;
    if (b->next->size % ATLAS_TILE_WIDTH == 0) { /* before the tile that has its hashes: log_stage_check */
        ATLAS_TRY(add_bundle(b, b->next->size / ATLAS_TILE_WIDTH - 1, ATLAS_TILE_WIDTH));
        atlas_buf_clear(b->bundle);
    }
    ATLAS_TRY(add_hash(b, leaf));
out:
    return rc;
}

/* What is not full, and has changed. */
static int add_partials(struct builder *b)
{
    unsigned width = log_edge_width(b->next->size, 0);
    int rc = ATLAS_OK;
    if (width != 0) {
        ATLAS_TRY(add_bundle(b, b->next->size / ATLAS_TILE_WIDTH, width));
    }
    for (unsigned level = 0; level < ATLAS_TILE_LEVELS; level++) {
        struct atlas_tile tile = {.level = level, .width = log_edge_width(b->next->size, level)};
        if (tile.width != 0 && b->changed[level]) {
            tile.index = b->next->size >> (ATLAS_TILE_BITS * level) >> ATLAS_TILE_BITS;
            ATLAS_TRY(log_stage_add(b->stage, &tile, atlas_buf_span(&b->next->edge.tiles[level]), b->error));
        }
    }
out:
    return rc;
}

int log_build(const struct log_tree *tree, const struct atlas_span *entries, size_t n, struct atlas_buf *bundle,
              struct log_stage_buf *stage, struct log_tree **ret_next, struct atlas_error *error)
{
    struct builder b = {.bundle = bundle, .stage = stage, .error = error};
    int rc;
    b.next = calloc(1, sizeof *b.next);
    if (b.next == NULL) {
        atlas_error_set(error, ATLAS_E_NOMEM, "log", "out of memory");
        return ATLAS_E_NOMEM;
    }
    b.next->size = tree->size;
    ATLAS_TRY(copy_edge(tree, b.next, error));
    ATLAS_TRY(atlas_hasher_init(&stage->hasher, ATLAS_SHA256, error));
    for (size_t i = 0; i < n; i++) {
        ATLAS_TRY(add_entry(&b, entries[i]));
    }
    ATLAS_TRY(add_partials(&b));
    ATLAS_TRY(log_edge_root(&b.next->edge, b.next->size, &b.next->root, error));
    *ret_next = b.next;
    b.next = NULL;
out:
    log_tree_free(b.next);
    return rc;
}
