#include "stage/log_parts.h"

#include <stdlib.h>

/* --------------------------------------------------------------------------------------------------- edge */

void log_edge_release(struct log_edge *edge)
{
    for (size_t i = 0; i < ATLAS_TILE_LEVELS; i++) {
        atlas_buf_release(&edge->tiles[i]);
    }
}

static struct atlas_span hash_at(struct atlas_span hashes, size_t i)
{
    return atlas_span_sub(hashes, i * ATLAS_TILE_HASH, ATLAS_TILE_HASH);
}

int log_subtree(struct atlas_span hashes, struct atlas_digest *ret_root, struct atlas_error *error)
{
    struct atlas_merkle m = {.hasher = ATLAS_HASHER_INIT};
    int rc;
    ATLAS_TRY(atlas_merkle_init(&m, ATLAS_SHA256, error));
    for (size_t i = 0; i < hashes.n / ATLAS_TILE_HASH; i++) {
        ATLAS_TRY(atlas_merkle_append_hash(&m, hash_at(hashes, i), error));
    }
    ATLAS_TRY(atlas_merkle_root(&m, ret_root, error));
out:
    atlas_merkle_release(&m);
    return rc;
}

int log_edge_root(const struct log_edge *edge, uint64_t size, struct atlas_digest *ret_root,
                  struct atlas_error *error)
{
    struct atlas_merkle_range range;
    int rc;
    atlas_merkle_range_init(&range, ATLAS_SHA256, 0);
    for (unsigned level = ATLAS_TILE_LEVELS; level-- > 0;) {
        struct atlas_span hashes = atlas_buf_span(&edge->tiles[level]);
        for (size_t i = 0; i < log_edge_width(size, level); i++) {
            ATLAS_TRY(atlas_merkle_range_append_node(&range, level * ATLAS_TILE_BITS, hash_at(hashes, i), error));
        }
    }
    ATLAS_TRY(atlas_merkle_range_root(&range, ret_root, error));
out:
    return rc;
}

void log_tree_free(struct log_tree *tree)
{
    if (tree != NULL) {
        log_edge_release(&tree->edge);
        atlas_buf_release(&tree->note);
        free(tree);
    }
}

/* -------------------------------------------------------------------------------------------------- files */

int log_read(const struct atlas_log *log, int dir, const char *name, size_t max, struct atlas_buf *ret_bytes,
             struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    struct atlas_file_id id = {0};
    int fd = ATLAS_FILE_CLOSED;
    size_t n = 0;
    int rc;
    log_where(log, name, where);
    ATLAS_TRY(atlas_file_open(dir, name, false, where, &fd, error));
    ATLAS_TRY(atlas_file_stat_fd(fd, where, &id, error));
    if (id.size > max) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_LIMIT, where, "is larger than %zu bytes", max));
    }
    size_t before = ret_bytes->n;
    uint8_t *to = atlas_buf_extend(ret_bytes, (size_t)id.size);
    ATLAS_TRY(atlas_buf_check(ret_bytes, error));
    if (id.size != 0) {
        ATLAS_TRY(atlas_file_read(fd, 0, to, (size_t)id.size, where, &n, error));
    }
    ret_bytes->n = before + n;
out:
    atlas_file_close(&fd);
    return rc;
}

int log_read_tile(const struct atlas_log *log, const struct atlas_tile *tile, struct atlas_buf *ret_bytes,
                  struct atlas_error *error)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    char path[ATLAS_TILE_PATH_MAX];
    char where[LOG_WHERE_MAX];
    bool is_bundle = tile->level == ATLAS_TILE_ENTRIES;
    size_t max = is_bundle ? ATLAS_TILE_WIDTH * ((size_t)ATLAS_MAX_LOG_ENTRY + 2) : tile->width * ATLAS_TILE_HASH;
    atlas_tile_path(tile, path);
    log_where(log, path, where);
    size_t before = ret_bytes->n;
    int rc = log_read(log, log->root, path, max, ret_bytes, &cause);
    if (rc == ATLAS_E_NOT_FOUND) {
        return atlas_error_set(error, ATLAS_E_TILE, where, "is missing");
    }
    if (rc == ATLAS_E_LIMIT || (rc == ATLAS_OK && !is_bundle && ret_bytes->n - before != max)) {
        return atlas_error_set(error, ATLAS_E_TILE, where, "is of the wrong length");
    }
    return rc < 0 ? atlas_error_set(error, rc, where, "%s", cause.text) : rc;
}

int log_edge_read(const struct atlas_log *log, uint64_t size, struct log_edge *edge, struct atlas_error *error)
{
    for (unsigned level = 0; level < ATLAS_TILE_LEVELS; level++) {
        struct atlas_tile tile = {.level = level, .width = log_edge_width(size, level)};
        if (tile.width == 0 || edge->tiles[level].n != 0) {
            continue;
        }
        tile.index = size >> (ATLAS_TILE_BITS * level) >> ATLAS_TILE_BITS;
        int rc = log_read_tile(log, &tile, &edge->tiles[level], error);
        if (rc < 0) {
            return rc;
        }
    }
    return ATLAS_OK;
}

/* -------------------------------------------------------------------------------------------------- nodes */

/* Looks at a tree; the last tile that was read is kept, for proofs ask for it again and again. */
struct looker {
    const struct atlas_log *log;
    const struct log_tree *tree;
    struct atlas_error *error;
    struct atlas_tile tile;
    struct atlas_buf bytes;
};

#define LOOKER(log_, tree_, error_) \
    ((struct looker){.log = (log_), .tree = (tree_), .error = (error_), .bytes = ATLAS_BUF_INIT})

static int look_tile(struct looker *l, unsigned level, uint64_t index, struct atlas_span *ret_hashes)
{
    uint64_t complete = l->tree->size >> (ATLAS_TILE_BITS * level);
    if (index == complete >> ATLAS_TILE_BITS) {
        *ret_hashes = atlas_buf_span(&l->tree->edge.tiles[level]);
        return ATLAS_OK;
    }
    if (l->bytes.n == 0 || l->tile.level != level || l->tile.index != index) {
        l->tile = (struct atlas_tile){.level = level, .index = index, .width = ATLAS_TILE_WIDTH};
        atlas_buf_clear(&l->bytes);
        int rc = log_read_tile(l->log, &l->tile, &l->bytes, l->error);
        if (rc < 0) {
            atlas_buf_clear(&l->bytes);
            return rc;
        }
    }
    *ret_hashes = atlas_buf_span(&l->bytes);
    return ATLAS_OK;
}

/* The root of the complete subtree of 2^height leaves that begins at leaf `index << height`. */
static int look_node(struct looker *l, unsigned height, uint64_t index, struct atlas_digest *ret_hash)
{
    unsigned level = height / ATLAS_TILE_BITS;
    unsigned rest = height % ATLAS_TILE_BITS;
    uint64_t first = index << rest;
    struct atlas_span hashes;
    int rc;
    ATLAS_TRY(look_tile(l, level, first >> ATLAS_TILE_BITS, &hashes));
    hashes = atlas_span_sub(hashes, (size_t)(first % ATLAS_TILE_WIDTH) * ATLAS_TILE_HASH,
                            ((size_t)1 << rest) * ATLAS_TILE_HASH);
    if (hashes.p == NULL) {
        ATLAS_TRY(atlas_error_set(l->error, ATLAS_E_INTERNAL, "log", "a node outside of its tile"));
    }
    ATLAS_TRY(log_subtree(hashes, ret_hash, l->error));
out:
    return rc;
}

/* MTH(D[first : first + n]) for the ranges of RFC 6962: 2^k leaves from a multiple of 2^k on, then fewer. */
static int look_range(struct looker *l, uint64_t first, uint64_t n, struct atlas_digest *ret_hash)
{
    struct atlas_digest nodes[ATLAS_MERKLE_LEVELS];
    size_t n_nodes = 0;
    int rc = ATLAS_OK;
    while (n != 0) {
        unsigned height = 0;
        while (n >> height > 1) {
            height++;
        }
        ATLAS_TRY(look_node(l, height, first >> height, &nodes[n_nodes]));
        n_nodes++;
        first += UINT64_C(1) << height;
        n -= UINT64_C(1) << height;
    }
    if (n_nodes == 0) {
        return atlas_crypto_digest(ATLAS_SHA256, ATLAS_SPAN_NONE, ret_hash, l->error);
    }
    struct atlas_digest hash = nodes[--n_nodes];
    while (n_nodes > 0) {
        n_nodes--;
        ATLAS_TRY(atlas_merkle_node(ATLAS_SHA256, atlas_digest_span(&nodes[n_nodes]), atlas_digest_span(&hash), &hash,
                                    l->error));
    }
    *ret_hash = hash;
out:
    return rc;
}

int log_tree_root_at(const struct atlas_log *log, const struct log_tree *tree, uint64_t size,
                     struct atlas_digest *ret_root, struct atlas_error *error)
{
    struct looker l = LOOKER(log, tree, error);
    int rc = look_range(&l, 0, size, ret_root);
    atlas_buf_release(&l.bytes);
    return rc;
}

int log_tree_leaf(const struct atlas_log *log, const struct log_tree *tree, uint64_t index,
                  struct atlas_digest *ret_leaf, struct atlas_error *error)
{
    struct looker l = LOOKER(log, tree, error);
    struct atlas_span hashes;
    int rc;
    ATLAS_TRY(look_tile(&l, 0, index >> ATLAS_TILE_BITS, &hashes));
    atlas_digest_set(ret_leaf, ATLAS_SHA256, hash_at(hashes, index % ATLAS_TILE_WIDTH));
out:
    atlas_buf_release(&l.bytes);
    return rc;
}

/* ------------------------------------------------------------------------------------------------- proofs */

/* As in merkle.c, with nodes from tiles: a range of leaves, and the siblings met on the way down to it. */
struct descent {
    struct looker looker;
    uint64_t first;
    uint64_t n;
    struct atlas_digest siblings[ATLAS_MERKLE_LEVELS + 1];
    size_t n_siblings;
};

/* RFC 6962, 2.1: the largest power of two smaller than n; n > 1. */
static uint64_t split(uint64_t n)
{
    uint64_t k = 1;
    while (k < n - k) {
        k *= 2;
    }
    return k;
}

static int descend(struct descent *d, bool left)
{
    uint64_t k = split(d->n);
    int rc;
    if (left) {
        ATLAS_TRY(look_range(&d->looker, d->first + k, d->n - k, &d->siblings[d->n_siblings]));
        d->n = k;
    } else {
        ATLAS_TRY(look_range(&d->looker, d->first, k, &d->siblings[d->n_siblings]));
        d->first += k;
        d->n -= k;
    }
    d->n_siblings++;
out:
    return rc;
}

static int descent_write(const struct descent *d, struct atlas_buf *ret_proof, struct atlas_error *error)
{
    for (size_t i = d->n_siblings; i > 0; i--) {
        atlas_buf_append(ret_proof, atlas_digest_span(&d->siblings[i - 1]));
    }
    return atlas_buf_check(ret_proof, error);
}

int log_tree_inclusion(const struct atlas_log *log, const struct log_tree *tree, uint64_t index, uint64_t size,
                       struct atlas_buf *ret_proof, struct atlas_error *error)
{
    struct descent d = {.looker = LOOKER(log, tree, error), .n = size};
    int rc = ATLAS_OK;
    while (d.n > 1) {
        ATLAS_TRY(descend(&d, index - d.first < split(d.n)));
    }
    ATLAS_TRY(descent_write(&d, ret_proof, error));
out:
    atlas_buf_release(&d.looker.bytes);
    return rc;
}

int log_tree_consistency(const struct atlas_log *log, const struct log_tree *tree, uint64_t size1, uint64_t size2,
                         struct atlas_buf *ret_proof, struct atlas_error *error)
{
    struct descent d = {.looker = LOOKER(log, tree, error), .n = size2};
    int rc = ATLAS_OK;
    while (d.first + d.n != size1) {
        ATLAS_TRY(descend(&d, size1 - d.first <= split(d.n)));
    }
    if (d.first != 0) {
        ATLAS_TRY(look_range(&d.looker, d.first, d.n, &d.siblings[d.n_siblings]));
        d.n_siblings++;
    }
    ATLAS_TRY(descent_write(&d, ret_proof, error));
out:
    atlas_buf_release(&d.looker.bytes);
    return rc;
}

static int check_consistency(const struct log_tree *tree, uint64_t size, const struct atlas_digest *root,
                             struct atlas_span proof)
{
    struct atlas_span hashes[ATLAS_MERKLE_LEVELS + 1];
    size_t n = 0;
    while (n < sizeof hashes / sizeof hashes[0] && atlas_span_take(&proof, ATLAS_TILE_HASH, &hashes[n])) {
        n++;
    }
    return atlas_merkle_consistency_check(ATLAS_SHA256, size, tree->size, atlas_digest_span(root),
                                          atlas_digest_span(&tree->root), hashes, n, NULL);
}

int log_tree_extends(const struct atlas_log *log, const struct log_tree *tree, uint64_t size,
                     const struct atlas_digest *root, int not_so, const char *where, struct atlas_error *error)
{
    struct atlas_buf proof = ATLAS_BUF_INIT;
    struct atlas_digest mine;
    int rc = ATLAS_OK;
    if (size > tree->size) {
        return atlas_error_set(error, not_so, where, "says %llu entries, and the log has only %llu now",
                               (unsigned long long)size, (unsigned long long)tree->size);
    }
    if (size == 0) {
        return ATLAS_OK;
    }
    ATLAS_TRY(log_tree_consistency(log, tree, size, tree->size, &proof, error));
    if (check_consistency(tree, size, root, atlas_buf_span(&proof)) == ATLAS_OK) {
        goto out;
    }
    /* Either the histories differ, and then the tree's own tiles prove what it began with; or a tile is damaged. */
    ATLAS_TRY(log_tree_root_at(log, tree, size, &mine, error));
    if (check_consistency(tree, size, &mine, atlas_buf_span(&proof)) != ATLAS_OK) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_TILE, log->path, "the tiles do not make the root that is signed"));
    }
    ATLAS_TRY(atlas_error_set(error, ATLAS_E_FORKED, where, "has another history of %llu entries than the log",
                              (unsigned long long)size));
out:
    atlas_buf_release(&proof);
    return rc;
}
