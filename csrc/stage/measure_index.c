#include "stage/measure_index.h"

#include <stdlib.h>

#include "base/utf8.h"
#include "format/index.h"
#include "stage/measure_scan.h"

/* So many lines are written by one thread: a power of two, so that they are one complete subtree. */
#define BLOCK_LINES 1024

struct block {
    struct atlas_buf text;
    struct atlas_merkle tree;
};

struct writer {
    const struct atlas_walk *walk;
    const uint8_t *digests;
    int alg;
    struct block *blocks;
    size_t n_blocks;
};

static struct atlas_span digest_of(const struct writer *w, size_t i)
{
    size_t size = atlas_alg_size(w->alg);
    return atlas_span_of(w->digests + i * size, size);
}

static int write_block(void *context, unsigned worker, uint64_t number, struct atlas_error *error)
{
    struct writer *w = context;
    struct block *b = &w->blocks[number];
    size_t first = (size_t)number * BLOCK_LINES;
    size_t n = w->walk->n_files - first < BLOCK_LINES ? w->walk->n_files - first : BLOCK_LINES;
    int rc;
    (void)worker;
    ATLAS_TRY(atlas_merkle_init(&b->tree, w->alg, error));
    for (size_t i = first; i < first + n; i++) {
        const struct atlas_walk_file *file = &w->walk->files[i];
        size_t start = b->text.n;
        atlas_index_write_line(digest_of(w, i), digest_of(w, w->walk->n_files + i), file->id.size,
                               atlas_span_str(file->path), &b->text);
        ATLAS_TRY(atlas_buf_check(&b->text, error));
        struct atlas_span line = atlas_span_sub(atlas_buf_span(&b->text), start, b->text.n - start - 1);
        ATLAS_TRY(atlas_merkle_append(&b->tree, line, error));
    }
out:
    return rc;
}

/* The complete subtrees of a block, largest first, at the end of the range. */
static int join_block(const struct block *b, struct atlas_merkle_range *range, struct atlas_error *error)
{
    size_t next = 0;
    int rc = ATLAS_OK;
    for (unsigned level = ATLAS_MERKLE_LEVELS - 1; level-- > 0;) {
        if ((b->tree.n >> level & 1) != 0) {
            struct atlas_span root = atlas_span_of(b->tree.roots[next++], atlas_alg_size(range->alg));
            ATLAS_TRY(atlas_merkle_range_append_node(range, level, root, error));
        }
    }
out:
    return rc;
}

static int join_blocks(struct writer *w, struct atlas_buf *index, struct atlas_digest *ret_tree,
                       struct atlas_error *error)
{
    struct atlas_merkle_range range;
    int rc = ATLAS_OK;
    size_t size = 0;
    for (size_t i = 0; i < w->n_blocks; i++) {
        size += w->blocks[i].text.n; /* all are in memory: no overflow */
    }
    atlas_merkle_range_init(&range, w->alg, 0);
    atlas_index_write_header(w->alg, index);
    atlas_buf_reserve(index, size);
    for (size_t i = 0; i < w->n_blocks; i++) {
        atlas_buf_append(index, atlas_buf_span(&w->blocks[i].text));
        atlas_buf_release(&w->blocks[i].text);
        ATLAS_TRY(join_block(&w->blocks[i], &range, error));
    }
    ATLAS_TRY(atlas_buf_check(index, error));
    ATLAS_TRY(atlas_merkle_range_root(&range, ret_tree, error));
out:
    return rc;
}

static bool all_utf8(const struct atlas_walk *walk)
{
    for (size_t i = 0; i < walk->n_files; i++) {
        if (!atlas_utf8_check(atlas_span_str(walk->files[i].path))) {
            return false;
        }
    }
    return true;
}

int atlas_measure_write_index(const struct atlas_walk *walk, const uint8_t *digests,
                              const struct atlas_measure_options *options, struct atlas_buf *ret_index,
                              struct atlas_measurement *m, struct atlas_error *error)
{
    struct writer w = {.walk = walk, .digests = digests, .alg = options->alg};
    int rc;
    w.n_blocks = (walk->n_files + BLOCK_LINES - 1) / BLOCK_LINES;
    w.blocks = calloc(w.n_blocks + 1, sizeof *w.blocks);
    if (w.blocks == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
    }
    ATLAS_TRY(atlas_pool_for(atlas_pool_threads(options->threads), w.n_blocks, write_block, &w, error));
    ATLAS_TRY(join_blocks(&w, ret_index, &m->tree, error));
    ATLAS_TRY(atlas_crypto_digest(w.alg, atlas_buf_span(ret_index), &m->flat, error));
    if (all_utf8(walk)) { /* OMS refuses other names */
        struct atlas_span flats = atlas_span_of(digests, walk->n_files * atlas_alg_size(w.alg));
        ATLAS_TRY(atlas_oms_root(w.alg, flats, &m->oms, error));
    }
out:
    for (size_t i = 0; i < w.n_blocks; i++) {
        atlas_buf_release(&w.blocks[i].text);
        atlas_merkle_release(&w.blocks[i].tree);
    }
    free(w.blocks);
    return rc;
}
