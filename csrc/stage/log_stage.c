#include "stage/log_parts.h"

#include <stdio.h>

/*
 * A stage file: magic, old size, size, root, number of files | for each: length of its path, path, length, SHA-256 |
 * SHA-256 of all before | the contents, one after the other. Integers are big-endian. A torn one never reads as whole.
 */
#define MAGIC ATLAS_LIT("atlas-log-stage 1\n")
#define MAX_FILES 0x1000000u

void log_stage_buf_release(struct log_stage_buf *b)
{
    atlas_buf_release(&b->head);
    atlas_buf_release(&b->rows);
    atlas_buf_release(&b->contents);
    atlas_hasher_release(&b->hasher);
}

/* ------------------------------------------------------------------------------------------------ writing */

int log_stage_add(struct log_stage_buf *b, const struct atlas_tile *tile, struct atlas_span bytes,
                  struct atlas_error *error)
{
    char path[ATLAS_TILE_PATH_MAX];
    struct atlas_digest sha256;
    int rc;
    atlas_tile_path(tile, path);
    ATLAS_TRY(atlas_hasher_update(&b->hasher, bytes, error));
    ATLAS_TRY(atlas_hasher_final(&b->hasher, &sha256, error));
    atlas_buf_append_u8(&b->rows, (uint8_t)strlen(path));
    atlas_buf_append(&b->rows, atlas_span_str(path));
    atlas_buf_append_be32(&b->rows, (uint32_t)bytes.n);
    atlas_buf_append(&b->rows, atlas_digest_span(&sha256));
    atlas_buf_append(&b->contents, bytes);
    b->n++;
    ATLAS_TRY(atlas_buf_check(&b->rows, error));
    ATLAS_TRY(atlas_buf_check(&b->contents, error));
out:
    return rc;
}

int log_stage_finish(struct log_stage_buf *b, uint64_t old_size, uint64_t size, const struct atlas_digest *root,
                     struct log_stage *ret_stage, struct atlas_error *error)
{
    struct atlas_digest seal;
    int rc;
    atlas_buf_append(&b->head, MAGIC);
    atlas_buf_append_be64(&b->head, old_size);
    atlas_buf_append_be64(&b->head, size);
    atlas_buf_append(&b->head, atlas_digest_span(root));
    atlas_buf_append_be32(&b->head, b->n);
    atlas_buf_append(&b->head, atlas_buf_span(&b->rows));
    ATLAS_TRY(atlas_buf_check(&b->head, error));
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, atlas_buf_span(&b->head), &seal, error));
    atlas_buf_append(&b->head, atlas_digest_span(&seal));
    ATLAS_TRY(atlas_buf_check(&b->head, error));
    *ret_stage = (struct log_stage){old_size, size, *root, atlas_buf_span(&b->rows), atlas_buf_span(&b->contents)};
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------ reading */

struct row {
    struct log_file file; /* without its bytes */
    uint32_t n;
    struct atlas_span sha256;
};

static bool take_row(struct atlas_span *rows, struct row *ret_row)
{
    struct atlas_span path;
    uint8_t n_path;
    if (!atlas_span_take_u8(rows, &n_path) || !atlas_span_take(rows, n_path, &path) ||
        !atlas_span_take_be32(rows, &ret_row->n) || !atlas_span_take(rows, ATLAS_TILE_HASH, &ret_row->sha256) ||
        !atlas_tile_read_path(path, &ret_row->file.tile)) {
        return false;
    }
    atlas_tile_path(&ret_row->file.tile, ret_row->file.path);
    return true;
}

bool log_stage_next(struct log_stage *stage, struct log_file *ret_file)
{
    struct row row;
    if (!take_row(&stage->rows, &row) || !atlas_span_take(&stage->contents, row.n, &row.file.bytes)) {
        return false;
    }
    *ret_file = row.file;
    return true;
}

static int torn(const char *where, struct atlas_error *error)
{
    return atlas_error_set(error, ATLAS_E_LOG, where, "is torn, or no stage of a commit");
}

/* The table up to the seal; the files' own digests are looked at by the caller. */
static bool read_table(struct atlas_span bytes, struct log_stage *ret_stage, struct atlas_span *ret_sealed,
                       struct atlas_span *ret_seal)
{
    struct atlas_span rest = bytes;
    struct atlas_span root;
    struct row row;
    uint32_t n;
    if (!atlas_span_starts_with(rest, MAGIC) || !atlas_span_take(&rest, MAGIC.n, &root) ||
        !atlas_span_take_be64(&rest, &ret_stage->old_size) || !atlas_span_take_be64(&rest, &ret_stage->size) ||
        !atlas_span_take(&rest, ATLAS_TILE_HASH, &root) || !atlas_span_take_be32(&rest, &n) || n > MAX_FILES) {
        return false;
    }
    atlas_digest_set(&ret_stage->root, ATLAS_SHA256, root);
    const uint8_t *rows = rest.p;
    for (uint32_t i = 0; i < n; i++) {
        if (!take_row(&rest, &row)) {
            return false;
        }
    }
    ret_stage->rows = atlas_span_of(rows, (size_t)(rest.p - rows));
    *ret_sealed = atlas_span_of(bytes.p, (size_t)(rest.p - bytes.p));
    return atlas_span_take(&rest, ATLAS_TILE_HASH, ret_seal) && (ret_stage->contents = rest, true);
}

static int check_contents(const struct log_stage *stage, const char *where, struct atlas_error *error)
{
    struct atlas_span rows = stage->rows;
    struct atlas_span contents = stage->contents;
    struct atlas_span bytes;
    struct atlas_digest sha256;
    struct row row;
    while (take_row(&rows, &row)) {
        if (!atlas_span_take(&contents, row.n, &bytes)) {
            return torn(where, error);
        }
        int rc = atlas_crypto_digest(ATLAS_SHA256, bytes, &sha256, error);
        if (rc < 0) {
            return rc;
        }
        if (!atlas_span_equal(atlas_digest_span(&sha256), row.sha256)) {
            return torn(where, error);
        }
    }
    return rows.n == 0 && contents.n == 0 ? ATLAS_OK : torn(where, error);
}

int log_stage_read(struct atlas_span bytes, const char *where, struct log_stage *ret_stage,
                   struct atlas_error *error)
{
    struct log_stage stage = {0};
    struct atlas_span sealed;
    struct atlas_span seal;
    struct atlas_digest sha256;
    int rc;
    if (!read_table(bytes, &stage, &sealed, &seal)) {
        return torn(where, error);
    }
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, sealed, &sha256, error));
    if (!atlas_span_equal(atlas_digest_span(&sha256), seal)) {
        return torn(where, error);
    }
    ATLAS_TRY(check_contents(&stage, where, error));
    *ret_stage = stage;
out:
    return rc;
}

void log_stage_name(uint64_t size, const struct atlas_digest *root, char ret_name[LOG_STAGE_NAME_MAX])
{
    char hex[17];
    atlas_hex(atlas_span_sub(atlas_digest_span(root), 0, 8), hex);
    snprintf(ret_name, LOG_STAGE_NAME_MAX, "stage-%llu-%s", (unsigned long long)size, hex);
}

/* ----------------------------------------------------------------------------------------------- checking */

/* Hashes that the next tile of a level has to end with: those of entries for level 0, of full tiles for the others. */
struct check {
    struct atlas_hasher hasher;
    struct atlas_buf due[ATLAS_TILE_LEVELS + 1];
    struct log_edge *edge;
    struct atlas_error *error;
};

static int differs(struct check *c, const struct log_file *file)
{
    return atlas_error_set(c->error, ATLAS_E_TILE, file->path, "does not hash to what stands above it");
}

static int check_bundle(struct check *c, const struct log_file *file)
{
    struct atlas_span rest = file->bytes;
    struct atlas_span entry;
    struct atlas_digest leaf;
    unsigned n = 0;
    for (; atlas_bundle_next(&rest, &entry); n++) {
        int rc = atlas_merkle_leaf_with(&c->hasher, entry, &leaf, c->error);
        if (rc < 0) {
            return rc;
        }
        atlas_buf_append(&c->due[0], atlas_digest_span(&leaf));
    }
    return rest.n == 0 && n == file->tile.width ? atlas_buf_check(&c->due[0], c->error) : differs(c, file);
}

static int check_tile(struct check *c, const struct log_file *file)
{
    unsigned level = file->tile.level;
    struct atlas_digest root;
    if (level >= ATLAS_TILE_LEVELS || file->bytes.n != file->tile.width * ATLAS_TILE_HASH ||
        c->due[level].n > file->bytes.n) {
        return differs(c, file);
    }
    struct atlas_span due = atlas_buf_span(&c->due[level]);
    if (!atlas_span_equal(due, atlas_span_sub(file->bytes, file->bytes.n - due.n, due.n))) {
        return differs(c, file);
    }
    atlas_buf_clear(&c->due[level]);
    if (file->tile.width < ATLAS_TILE_WIDTH) {
        atlas_buf_clear(&c->edge->tiles[level]);
        atlas_buf_append(&c->edge->tiles[level], file->bytes);
        return atlas_buf_check(&c->edge->tiles[level], c->error);
    }
    int rc = log_subtree(file->bytes, &root, c->error);
    if (rc == ATLAS_OK) {
        atlas_buf_append(&c->due[level + 1], atlas_digest_span(&root));
        rc = atlas_buf_check(&c->due[level + 1], c->error);
    }
    return rc;
}

int log_stage_check(const struct log_stage *stage, struct log_edge *edge, struct atlas_error *error)
{
    struct check c = {.hasher = ATLAS_HASHER_INIT, .edge = edge, .error = error};
    struct log_stage rest = *stage;
    struct log_file file;
    int rc;
    ATLAS_TRY(atlas_hasher_init(&c.hasher, ATLAS_SHA256, error));
    while (log_stage_next(&rest, &file)) {
        ATLAS_TRY(file.tile.level == ATLAS_TILE_ENTRIES ? check_bundle(&c, &file) : check_tile(&c, &file));
    }
    for (unsigned level = 0; level <= ATLAS_TILE_LEVELS; level++) {
        if (c.due[level].n != 0) {
            ATLAS_TRY(atlas_error_set(error, ATLAS_E_TILE, "stage", "a tile of level %u is missing", level));
        }
    }
out:
    for (unsigned level = 0; level <= ATLAS_TILE_LEVELS; level++) {
        atlas_buf_release(&c.due[level]);
    }
    atlas_hasher_release(&c.hasher);
    return rc;
}
