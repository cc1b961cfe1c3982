#include "stage/log_parts.h"

#include <stdio.h>
#include <stdlib.h>

/* Everything is read once, from left to right: entries make the hashes of level 0, full tiles those of the next level,
 * and what is left at the end makes the root. */

struct checker {
    const struct atlas_log *log;
    const struct log_tree *tree;
    struct atlas_hasher hasher;
    struct log_edge edge;           /* as it is computed, from entries alone */
    uint64_t counts[ATLAS_TILE_LEVELS]; /* tiles so far */
    atlas_log_wrong wrong;
    void *context;
    bool is_wrong;
    struct atlas_error *error;
};

/* A file that is not what it must be: told, or the end. */
static int tell(struct checker *c, const struct atlas_error *what)
{
    c->is_wrong = true;
    if (c->wrong == NULL) {
        return atlas_error_set(c->error, what->code, what->where, "%s", what->text);
    }
    c->wrong(c->context, what);
    return ATLAS_OK;
}

static int tell_tile(struct checker *c, const struct atlas_tile *tile, const char *text)
{
    struct atlas_error what = ATLAS_ERROR_INIT;
    char path[ATLAS_TILE_PATH_MAX];
    char where[LOG_WHERE_MAX];
    atlas_tile_path(tile, path);
    log_where(c->log, path, where);
    atlas_error_set(&what, ATLAS_E_TILE, where, "%s", text);
    return tell(c, &what);
}

/* Does the file hold these bytes? One that cannot be read, or is missing, does not. */
static int expect(struct checker *c, const struct atlas_tile *tile, struct atlas_span bytes, const char *text)
{
    struct atlas_error what = ATLAS_ERROR_INIT;
    struct atlas_buf there = ATLAS_BUF_INIT;
    int rc = log_read_tile(c->log, tile, &there, &what);
    if (rc == ATLAS_E_NOMEM) {
        rc = atlas_error_set(c->error, rc, what.where, "%s", what.text);
    } else if (rc < 0) {
        rc = tell(c, &what);
    } else if (!atlas_span_equal(atlas_buf_span(&there), bytes)) {
        rc = tell_tile(c, tile, text);
    }
    atlas_buf_release(&there);
    return rc;
}

/* The first n items of a tile or bundle, as bytes. */
static struct atlas_span first_of(bool is_bundle, struct atlas_span bytes, unsigned n)
{
    struct atlas_span rest = bytes;
    struct atlas_span entry;
    if (!is_bundle) {
        return atlas_span_sub(bytes, 0, (size_t)n * ATLAS_TILE_HASH);
    }
    while (n-- > 0 && atlas_bundle_next(&rest, &entry)) {
    }
    return atlas_span_of(bytes.p, bytes.n - rest.n);
}

/* The narrower files that readers of older checkpoints may still ask for: those that are there must be beginnings. */
static int check_partials(struct checker *c, const struct atlas_tile *whole, struct atlas_span bytes)
{
    char path[ATLAS_TILE_PATH_MAX];
    struct atlas_buf names = ATLAS_BUF_INIT;
    int fd = ATLAS_FILE_CLOSED;
    size_t n = 0;
    int rc = ATLAS_OK;
    atlas_tile_partials_path(whole, path);
    if (atlas_file_open_directory(c->log->root, path, false, path, &fd, NULL) < 0) {
        goto out; /* none is there: whoever needs one that is missing is told elsewhere */
    }
    ATLAS_TRY(atlas_file_list(fd, path, 4096, &names, &n, c->error));
    const char *name = (const char *)names.p;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
        char full[2 * ATLAS_TILE_PATH_MAX];
        struct atlas_tile part;
        snprintf(full, sizeof full, "%s/%.40s", path, name);
        if (!atlas_tile_read_path(atlas_span_str(full), &part) || part.width > whole->width) {
            continue; /* of a commit that goes on now, or no file of a log */
        }
        ATLAS_TRY(expect(c, &part, first_of(whole->level == ATLAS_TILE_ENTRIES, bytes, part.width),
                         "is not the beginning of the later one"));
    }
out:
    atlas_file_close(&fd);
    atlas_buf_release(&names);
    return rc;
}

static int check_tile(struct checker *c, unsigned level, unsigned width)
{
    struct atlas_tile tile = {.level = level, .index = c->counts[level], .width = width};
    struct atlas_span bytes = atlas_buf_span(&c->edge.tiles[level]);
    int rc;
    ATLAS_TRY(expect(c, &tile, bytes, "does not have the hashes of what lies below it"));
    ATLAS_TRY(check_partials(c, &tile, bytes));
out:
    return rc;
}

/* The hashes of a level have grown to a tile: compare it, and go up. */
static int close_tiles(struct checker *c)
{
    for (unsigned level = 0; level < ATLAS_TILE_LEVELS && c->edge.tiles[level].n == ATLAS_TILE_BYTES; level++) {
        struct atlas_digest root;
        int rc = check_tile(c, level, ATLAS_TILE_WIDTH);
        if (rc == ATLAS_OK) {
            rc = log_subtree(atlas_buf_span(&c->edge.tiles[level]), &root, c->error);
        }
        if (rc != ATLAS_OK) {
            return rc;
        }
        c->counts[level]++;
        atlas_buf_clear(&c->edge.tiles[level]);
        if (level + 1 < ATLAS_TILE_LEVELS) {
            atlas_buf_append(&c->edge.tiles[level + 1], atlas_digest_span(&root));
        }
    }
    return ATLAS_OK;
}

/* A hash of level 1, where it stands: in the edge, which was checked when the log was opened, or in a tile. */
static bool is_in_level_1(struct checker *c, uint64_t index, const struct atlas_digest *hash)
{
    struct atlas_tile tile = {.level = 1, .index = index / ATLAS_TILE_WIDTH, .width = ATLAS_TILE_WIDTH};
    struct atlas_buf bytes = ATLAS_BUF_INIT;
    struct atlas_span hashes = atlas_buf_span(&c->tree->edge.tiles[1]);
    if (tile.index != c->tree->size >> (2 * ATLAS_TILE_BITS)) {
        bool is_there = log_read_tile(c->log, &tile, &bytes, NULL) == ATLAS_OK;
        hashes = is_there ? atlas_buf_span(&bytes) : ATLAS_SPAN_NONE;
    }
    hashes = atlas_span_sub(hashes, (index % ATLAS_TILE_WIDTH) * ATLAS_TILE_HASH, ATLAS_TILE_HASH);
    bool same = atlas_span_equal(hashes, atlas_digest_span(hash));
    atlas_buf_release(&bytes);
    return same;
}

/* Where entries and their tile differ: is it the entries that are wrong? The level above knows. */
static int judge_bundle(struct checker *c, uint64_t index, unsigned width, bool *ret_good)
{
    struct atlas_tile tile = {.index = index, .width = width};
    struct atlas_span hashes = atlas_buf_span(&c->edge.tiles[0]);
    struct atlas_buf there = ATLAS_BUF_INIT;
    struct atlas_digest root;
    int rc = ATLAS_OK;
    *ret_good = false;
    if (width < ATLAS_TILE_WIDTH) {
        *ret_good = atlas_span_equal(hashes, atlas_buf_span(&c->tree->edge.tiles[0]));
        goto out;
    }
    if (hashes.n == ATLAS_TILE_BYTES) {
        *ret_good = log_read_tile(c->log, &tile, &there, NULL) == ATLAS_OK &&
                    atlas_span_equal(atlas_buf_span(&there), hashes);
        if (!*ret_good) {
            ATLAS_TRY(log_subtree(hashes, &root, c->error));
            *ret_good = is_in_level_1(c, index, &root);
        }
    }
out:
    atlas_buf_release(&there);
    return rc;
}

/* The hashes of a bundle that is wrong are taken from their tile, so that the rest is checked all the same. */
static int fall_back(struct checker *c, uint64_t index, unsigned width)
{
    struct atlas_tile tile = {.index = index, .width = width};
    struct atlas_buf *edge = &c->edge.tiles[0];
    atlas_buf_clear(edge);
    if (log_read_tile(c->log, &tile, edge, NULL) < 0) {
        atlas_buf_clear(edge);
        atlas_buf_extend(edge, (size_t)width * ATLAS_TILE_HASH);
    }
    return atlas_buf_check(edge, c->error);
}

/* The hashes of a bundle's entries, as a tile. */
static int hash_bundle(struct checker *c, struct atlas_span rest, unsigned width)
{
    struct atlas_span entry;
    struct atlas_digest leaf;
    int rc = ATLAS_OK;
    for (unsigned n = 0; n < width && atlas_bundle_next(&rest, &entry); n++) {
        ATLAS_TRY(atlas_merkle_leaf_with(&c->hasher, entry, &leaf, c->error));
        atlas_buf_append(&c->edge.tiles[0], atlas_digest_span(&leaf));
    }
    if (rest.n != 0) {
        atlas_buf_clear(&c->edge.tiles[0]); /* more than its entries, or less than whole ones */
    }
    rc = atlas_buf_check(&c->edge.tiles[0], c->error);
out:
    return rc;
}

static int check_bundle(struct checker *c, uint64_t index, unsigned width)
{
    struct atlas_tile tile = {.level = ATLAS_TILE_ENTRIES, .index = index, .width = width};
    struct atlas_error what = ATLAS_ERROR_INIT;
    struct atlas_buf bundle = ATLAS_BUF_INIT;
    bool good = false;
    int rc = log_read_tile(c->log, &tile, &bundle, &what);
    if (rc < 0) {
        ATLAS_TRY(tell(c, &what));
        ATLAS_TRY(fall_back(c, index, width));
        goto out;
    }
    ATLAS_TRY(hash_bundle(c, atlas_buf_span(&bundle), width));
    ATLAS_TRY(judge_bundle(c, index, width, &good));
    if (!good) {
        ATLAS_TRY(tell_tile(c, &tile, "has other entries than those that are signed"));
        ATLAS_TRY(fall_back(c, index, width));
    }
    ATLAS_TRY(check_partials(c, &tile, atlas_buf_span(&bundle)));
out:
    atlas_buf_release(&bundle);
    return rc;
}

/* What is left when all full bundles are done: the right edge, and the root. */
static int check_edge(struct checker *c)
{
    struct atlas_digest root;
    int rc;
    if (log_edge_width(c->tree->size, 0) != 0) {
        ATLAS_TRY(check_bundle(c, c->tree->size / ATLAS_TILE_WIDTH, log_edge_width(c->tree->size, 0)));
    }
    for (unsigned level = 0; level < ATLAS_TILE_LEVELS; level++) {
        if (c->edge.tiles[level].n != 0) {
            ATLAS_TRY(check_tile(c, level, log_edge_width(c->tree->size, level)));
        }
    }
    ATLAS_TRY(log_edge_root(&c->edge, c->tree->size, &root, c->error));
    if (!atlas_digest_equal(&root, &c->tree->root)) {
        struct atlas_error what = ATLAS_ERROR_INIT;
        atlas_error_set(&what, ATLAS_E_TILE, c->log->path, "the entries do not make the root that is signed");
        ATLAS_TRY(tell(c, &what));
    }
out:
    return rc;
}

/* Held for a bundle at a time, so that a fork need not wait for all of a log (port/pool.h). */
static int check_all(struct checker *c)
{
    uint64_t bundles = c->tree->size / ATLAS_TILE_WIDTH;
    int rc;
    atlas_fork_hold();
    rc = atlas_hasher_init(&c->hasher, ATLAS_SHA256, c->error);
    atlas_fork_allow();
    ATLAS_TRY(rc);
    for (uint64_t i = 0; i < bundles; i++) {
        atlas_fork_hold();
        rc = check_bundle(c, i, ATLAS_TILE_WIDTH);
        if (rc == ATLAS_OK) {
            rc = close_tiles(c);
        }
        atlas_fork_allow();
        ATLAS_TRY(rc);
    }
    atlas_fork_hold();
    rc = check_edge(c);
    atlas_fork_allow();
out:
    return rc;
}

int atlas_log_check(struct atlas_log *log, atlas_log_wrong wrong, void *context, uint64_t *ret_size,
                    struct atlas_error *error)
{
    struct checker c = {.log = log, .hasher = ATLAS_HASHER_INIT, .wrong = wrong, .context = context, .error = error};
    int rc;
    ATLAS_TRY(log_check_process(log, error));
    struct log_tree *tree = log_hold_tree(log);
    c.tree = tree;
    rc = check_all(&c);
    if (rc == ATLAS_OK) {
        *ret_size = tree->size;
    }
    log_drop_tree(log, tree);
    if (rc == ATLAS_OK && c.is_wrong) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_TILE, log->path, "is damaged"));
    }
out:
    log_edge_release(&c.edge);
    atlas_hasher_release(&c.hasher);
    return rc;
}
