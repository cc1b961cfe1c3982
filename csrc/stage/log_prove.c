#include "stage/log_parts.h"

/* Proofs are made from tiles that nobody has checked, and then checked against the signed root like anybody else's. */

struct hashes {
    struct atlas_span list[ATLAS_MERKLE_LEVELS + 1];
    size_t n;
};

static struct hashes hashes_of(struct atlas_span proof)
{
    struct hashes h = {.n = 0};
    while (h.n < sizeof h.list / sizeof h.list[0] && atlas_span_take(&proof, ATLAS_TILE_HASH, &h.list[h.n])) {
        h.n++;
    }
    return h;
}

static int damaged(const struct atlas_log *log, struct atlas_error *error)
{
    return atlas_error_set(error, ATLAS_E_TILE, log->path, "the tiles do not make the root that is signed");
}

/* Is that the root of the head's first `size` entries? */
static int check_prefix(const struct atlas_log *log, const struct log_tree *tree, uint64_t size,
                        const struct atlas_digest *root, struct atlas_error *error)
{
    struct atlas_buf proof = ATLAS_BUF_INIT;
    int rc = ATLAS_OK;
    if (size == 0) {
        goto out;
    }
    ATLAS_TRY(log_tree_consistency(log, tree, size, tree->size, &proof, error));
    struct hashes h = hashes_of(atlas_buf_span(&proof));
    if (atlas_merkle_consistency_check(ATLAS_SHA256, size, tree->size, atlas_digest_span(root),
                                       atlas_digest_span(&tree->root), h.list, h.n, NULL) != ATLAS_OK) {
        ATLAS_TRY(damaged(log, error));
    }
out:
    atlas_buf_release(&proof);
    return rc;
}

/* The root at that size, which the head vouches for. */
static int root_at(const struct atlas_log *log, const struct log_tree *tree, uint64_t size,
                   struct atlas_digest *ret_root, struct atlas_error *error)
{
    int rc = ATLAS_OK;
    *ret_root = tree->root;
    if (size != tree->size) {
        ATLAS_TRY(log_tree_root_at(log, tree, size, ret_root, error));
        ATLAS_TRY(check_prefix(log, tree, size, ret_root, error));
    }
out:
    return rc;
}

static int prove(const struct atlas_log *log, const struct log_tree *tree, uint64_t index, uint64_t size,
                 struct atlas_buf *ret_proof, struct atlas_digest *ret_leaf, struct atlas_error *error)
{
    struct atlas_buf proof = ATLAS_BUF_INIT;
    struct atlas_digest root;
    int rc;
    if (size > tree->size || index >= size) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, log->path, "has no entry %llu of %llu; it has %llu entries",
                                  (unsigned long long)index, (unsigned long long)size,
                                  (unsigned long long)tree->size));
    }
    ATLAS_TRY(root_at(log, tree, size, &root, error));
    ATLAS_TRY(log_tree_leaf(log, tree, index, ret_leaf, error));
    ATLAS_TRY(log_tree_inclusion(log, tree, index, size, &proof, error));
    struct hashes h = hashes_of(atlas_buf_span(&proof));
    if (atlas_merkle_inclusion_check(ATLAS_SHA256, index, size, atlas_digest_span(ret_leaf), h.list, h.n,
                                     atlas_digest_span(&root), NULL) != ATLAS_OK) {
        ATLAS_TRY(damaged(log, error));
    }
    atlas_buf_append(ret_proof, atlas_buf_span(&proof));
    ATLAS_TRY(atlas_buf_check(ret_proof, error));
out:
    atlas_buf_release(&proof);
    return rc;
}

int atlas_log_prove(struct atlas_log *log, uint64_t index, uint64_t size, struct atlas_buf *ret_proof,
                    struct atlas_digest *ret_leaf, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(log_check_process(log, error));
    struct log_tree *tree = log_hold_tree(log);
    struct atlas_digest leaf;
    rc = prove(log, tree, index, size, ret_proof, &leaf, error);
    if (rc == ATLAS_OK) {
        *ret_leaf = leaf;
    }
    log_drop_tree(log, tree);
out:
    return rc;
}

static int consistency(const struct atlas_log *log, const struct log_tree *tree, uint64_t size1, uint64_t size2,
                       struct atlas_buf *ret_proof, struct atlas_error *error)
{
    struct atlas_buf proof = ATLAS_BUF_INIT;
    struct atlas_digest root1;
    struct atlas_digest root2;
    int rc;
    if (size1 == 0 || size1 > size2 || size2 > tree->size) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, log->path, "has no such sizes; it has %llu entries",
                                  (unsigned long long)tree->size));
    }
    ATLAS_TRY(root_at(log, tree, size1, &root1, error));
    ATLAS_TRY(root_at(log, tree, size2, &root2, error));
    ATLAS_TRY(log_tree_consistency(log, tree, size1, size2, &proof, error));
    struct hashes h = hashes_of(atlas_buf_span(&proof));
    if (atlas_merkle_consistency_check(ATLAS_SHA256, size1, size2, atlas_digest_span(&root1),
                                       atlas_digest_span(&root2), h.list, h.n, NULL) != ATLAS_OK) {
        ATLAS_TRY(damaged(log, error));
    }
    atlas_buf_append(ret_proof, atlas_buf_span(&proof));
    ATLAS_TRY(atlas_buf_check(ret_proof, error));
out:
    atlas_buf_release(&proof);
    return rc;
}

int atlas_log_consistency(struct atlas_log *log, uint64_t size1, uint64_t size2, struct atlas_buf *ret_proof,
                          struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(log_check_process(log, error));
    struct log_tree *tree = log_hold_tree(log);
    rc = consistency(log, tree, size1, size2, ret_proof, error);
    log_drop_tree(log, tree);
out:
    return rc;
}

/* The last place of the hash in a tile; false when it is not there. */
static bool find_in(struct atlas_span hashes, struct atlas_span leaf, unsigned *ret_offset)
{
    for (size_t i = hashes.n / ATLAS_TILE_HASH; i-- > 0;) {
        if (memcmp(hashes.p + i * ATLAS_TILE_HASH, leaf.p, ATLAS_TILE_HASH) == 0) {
            *ret_offset = (unsigned)i;
            return true;
        }
    }
    return false;
}

static int find(const struct atlas_log *log, const struct log_tree *tree, struct atlas_span leaf, uint64_t *ret_index,
                struct atlas_error *error)
{
    struct atlas_tile tile = {.index = tree->size / ATLAS_TILE_WIDTH, .width = ATLAS_TILE_WIDTH};
    struct atlas_buf bytes = ATLAS_BUF_INIT;
    unsigned offset = 0;
    bool found = find_in(atlas_buf_span(&tree->edge.tiles[0]), leaf, &offset);
    int rc = ATLAS_OK;
    while (!found && tile.index > 0) {
        tile.index--;
        atlas_buf_clear(&bytes);
        ATLAS_TRY(log_read_tile(log, &tile, &bytes, error));
        found = find_in(atlas_buf_span(&bytes), leaf, &offset);
    }
    if (found) {
        *ret_index = tile.index * ATLAS_TILE_WIDTH + offset;
    } else {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_NOT_FOUND, log->path, "has no entry with this leaf hash"));
    }
out:
    atlas_buf_release(&bytes);
    return rc;
}

int atlas_log_find(struct atlas_log *log, struct atlas_span leaf, uint64_t *ret_index, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(log_check_process(log, error));
    if (leaf.n != ATLAS_TILE_HASH) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, "leaf hash", "has 32 bytes"));
    }
    struct log_tree *tree = log_hold_tree(log);
    rc = find(log, tree, leaf, ret_index, error);
    log_drop_tree(log, tree);
out:
    return rc;
}
