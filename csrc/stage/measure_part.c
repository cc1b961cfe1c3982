#include <stdlib.h>

#include "base/path.h"
#include "format/index.h"
#include "format/part.h"
#include "stage/measure_scan.h"
#include "stage/measure_walk.h"

/* A version of a file or of a list of files, however it is told: always this algorithm. */
#define VERSION_ALG ATLAS_SHA256

static int no_memory(struct atlas_error *error)
{
    return atlas_error_set(error, ATLAS_E_NOMEM, "", "out of memory");
}

/* ----------------------------------------------------------------------------------------------- version */

static void write_id(const struct atlas_file_id *id, struct atlas_buf *text)
{
    atlas_buf_append_be64(text, id->inode);
    atlas_buf_append_be64(text, id->size);
    atlas_buf_append_be64(text, (uint64_t)id->mtime_s);
    atlas_buf_append_be64(text, (uint64_t)id->mtime_ns);
    atlas_buf_append_be64(text, (uint64_t)id->ctime_s);
    atlas_buf_append_be64(text, (uint64_t)id->ctime_ns);
}

static int set_version(struct atlas_part *p, const struct atlas_buf *text, struct atlas_error *error)
{
    struct atlas_digest digest = {0};
    int rc;
    ATLAS_TRY(atlas_buf_check(text, error));
    ATLAS_TRY(atlas_crypto_digest(VERSION_ALG, atlas_buf_span(text), &digest, error));
    memcpy(p->version, digest.b, sizeof p->version);
out:
    return rc;
}

static int file_version(struct atlas_part *p, const struct atlas_file_id *id, struct atlas_error *error)
{
    struct atlas_buf text = ATLAS_BUF_INIT;
    write_id(id, &text);
    int rc = set_version(p, &text, error);
    atlas_buf_release(&text);
    return rc;
}

static int walk_version(struct atlas_part *p, const struct atlas_walk *walk, struct atlas_error *error)
{
    struct atlas_buf text = ATLAS_BUF_INIT;
    for (size_t i = 0; i < walk->n_files; i++) {
        const char *path = walk->files[i].path;
        atlas_buf_append(&text, atlas_span_of(path, strlen(path) + 1));
        write_id(&walk->files[i].id, &text);
    }
    int rc = set_version(p, &text, error);
    atlas_buf_release(&text);
    return rc;
}

/* -------------------------------------------------------------------------------------------------- range */

static int check_blocks(const struct atlas_blocks *blocks, struct atlas_error *error)
{
    if (blocks->of != 0 ? blocks->share >= blocks->of || blocks->of > UINT32_MAX : blocks->first > blocks->end) {
        return atlas_error_set(error, ATLAS_E_ARG, "blocks", "not a range, or not a share of so many workers");
    }
    return ATLAS_OK;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* share * total / of, without overflow. */
static uint64_t cut(uint64_t total, uint64_t share, uint64_t of)
{
    return total / of * share + total % of * share / of;
}

static int file_range(struct atlas_part *p, const struct atlas_blocks *blocks, struct atlas_error *error)
{
    p->first = blocks->of != 0 ? cut(p->total, blocks->share, blocks->of) : blocks->first;
    p->end = blocks->of != 0 ? cut(p->total, blocks->share + 1, blocks->of) : smaller(blocks->end, p->total);
    if (p->first > p->total) {
        return atlas_error_set(error, ATLAS_E_ARG, "blocks", "begin after the last of %llu",
                               (unsigned long long)p->total);
    }
    return ATLAS_OK;
}

/* What a file costs beside its bytes, in bytes. */
#define FILE_COST ((uint64_t)32 << 10)

/* Where the files begin that are beyond `share` of `of` equal parts of all the work. */
static uint64_t balanced(const struct atlas_walk *walk, uint64_t work, uint64_t share, uint64_t of)
{
    uint64_t limit = cut(work, share, of);
    uint64_t sum = 0;
    for (size_t i = 0; i < walk->n_files; i++) {
        if (sum >= limit && share < of) {
            return i;
        }
        sum += walk->files[i].id.size + FILE_COST;
    }
    return walk->n_files;
}

static int walk_range(struct atlas_part *p, const struct atlas_walk *walk, const struct atlas_blocks *blocks,
                      struct atlas_error *error)
{
    uint64_t work = 0;
    if (blocks->of == 0) {
        return file_range(p, blocks, error);
    }
    for (size_t i = 0; i < walk->n_files; i++) {
        if (walk->files[i].id.size > (uint64_t)INT64_MAX - FILE_COST - work) {
            return atlas_error_set(error, ATLAS_E_LIMIT, "", "more bytes than can be counted");
        }
        work += walk->files[i].id.size + FILE_COST;
    }
    p->first = balanced(walk, work, blocks->share, blocks->of);
    p->end = balanced(walk, work, blocks->share + 1, blocks->of);
    return ATLAS_OK;
}

/* --------------------------------------------------------------------------------------------------- file */

/* So many chunks are digested before their digests go into the tree: memory stays bounded. */
#define BATCH ((uint64_t)4096)

struct blocks {
    struct atlas_chunks chunks; /* of the batch */
    uint8_t *digests;
    struct atlas_meter *meter;
};

static int blocks_done(void *context, unsigned worker, uint64_t bytes, struct atlas_error *error)
{
    const struct blocks *b = context;
    atomic_fetch_add(&b->meter->done, bytes);
    return worker == 0 ? atlas_meter_tick(b->meter, false, error) : ATLAS_OK;
}

static int blocks_run(struct blocks *b, unsigned threads, const struct atlas_part *p, struct atlas_merkle_range *range,
                      struct atlas_error *error)
{
    size_t size = atlas_alg_size(p->alg);
    uint64_t n;
    int rc = ATLAS_OK;
    for (uint64_t first = p->first; first < p->end; first += n) {
        n = smaller(BATCH, p->end - first);
        b->chunks.offset = first * ATLAS_CHUNK_SIZE;
        b->chunks.size = smaller(n * ATLAS_CHUNK_SIZE, p->size - b->chunks.offset);
        ATLAS_TRY(atlas_chunks_digest(&b->chunks, threads, b->digests, error));
        for (uint64_t i = 0; i < n; i++) {
            struct atlas_span digest = atlas_span_of(b->digests + (size_t)i * size, size);
            ATLAS_TRY(atlas_merkle_range_append(range, digest, error));
        }
    }
out:
    return rc;
}

/* The lines of the record: the nodes of the range. */
static int measure_blocks(int fd, const char *where, const struct atlas_measure_options *options,
                          const struct atlas_part *p, struct atlas_meter *meter, struct atlas_buf *record,
                          struct atlas_error *error)
{
    struct atlas_merkle_range range;
    struct blocks b = {.meter = meter};
    int rc = ATLAS_OK;
    b.chunks = (struct atlas_chunks){.alg = p->alg, .chunk = ATLAS_CHUNK_SIZE, .fd = fd, .where = where,
                                     .done = blocks_done, .context = &b};
    b.digests = malloc((size_t)BATCH * ATLAS_DIGEST_MAX);
    if (b.digests == NULL) {
        return no_memory(error);
    }
    atlas_merkle_range_init(&range, p->alg, p->first);
    ATLAS_TRY(blocks_run(&b, atlas_pool_threads(options->threads), p, &range, error));
    for (size_t i = 0; i < range.n_nodes; i++) {
        atlas_part_write_node(atlas_span_of(range.nodes[i].hash, atlas_alg_size(p->alg)), record);
    }
    ATLAS_TRY(atlas_buf_check(record, error));
out:
    free(b.digests);
    return rc;
}

static int measure_file_part(const char *path, const char *where, const struct atlas_measure_options *options,
                             const struct atlas_blocks *blocks, struct atlas_buf *record, struct atlas_error *error)
{
    struct atlas_part p = {.alg = options->alg, .kind = ATLAS_PART_FILE};
    struct atlas_file_id before = {0};
    struct atlas_file_id after = {0};
    struct atlas_meter meter;
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    atlas_meter_init(&meter, &options->progress);
    ATLAS_TRY(atlas_file_open(ATLAS_FILE_CWD, path, true, where, &fd, error));
    ATLAS_TRY(atlas_file_settle(fd, where, &before, error));
    p.size = before.size;
    p.total = atlas_part_chunks(p.size);
    ATLAS_TRY(file_range(&p, blocks, error));
    ATLAS_TRY(file_version(&p, &before, error));
    meter.total = smaller(p.end * ATLAS_CHUNK_SIZE, p.size) - smaller(p.first * ATLAS_CHUNK_SIZE, p.size);
    ATLAS_TRY(atlas_meter_tick(&meter, true, error));
    atlas_part_write_header(&p, record);
    ATLAS_TRY(measure_blocks(fd, where, options, &p, &meter, record, error));
    ATLAS_TRY(atlas_file_stat_fd(fd, where, &after, error));
    if (!atlas_file_id_equal(&before, &after)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_CHANGED, where, "changed while it was read"));
    }
    ATLAS_TRY(atlas_meter_tick(&meter, true, error));
out:
    atlas_file_close(&fd);
    return rc;
}

/* ---------------------------------------------------------------------------------------------- directory */

/* Some files of a walk, each measured as a whole. */
struct files {
    const struct atlas_measure_options *options;
    const struct atlas_walk *walk;
    size_t first;
    struct atlas_measurement *measured;
    struct atlas_meter *meter;
};

static int measure_one(void *context, unsigned worker, uint64_t i, struct atlas_error *error)
{
    struct files *f = context;
    const struct atlas_walk_file *file = &f->walk->files[f->first + i];
    struct atlas_walk_opener opener = ATLAS_WALK_OPENER(f->walk);
    struct atlas_sink sink = {0};
    char where[sizeof error->where];
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    atlas_path_where(file->path, true, where, sizeof where);
    ATLAS_TRY(atlas_sink_init(&sink, f->options, error));
    ATLAS_TRY(atlas_walk_open(&opener, file, &fd, error));
    struct atlas_measure_job job = {.fd = fd, .where = where, .expected = &file->id, .sink = &sink, .threads = 1,
                                    .meter = f->meter, .is_caller = worker == 0};
    ATLAS_TRY(atlas_measure_open_file(&job, &f->measured[i], error));
    if (worker == 0) {
        ATLAS_TRY(atlas_meter_tick(f->meter, false, error));
    }
out:
    atlas_file_close(&fd);
    atlas_sink_release(&sink);
    atlas_walk_opener_release(&opener);
    return rc;
}

static int measure_files(struct files *f, const struct atlas_part *p, struct atlas_buf *record,
                         struct atlas_error *error)
{
    size_t n = (size_t)(p->end - p->first);
    int rc;
    f->first = (size_t)p->first;
    f->measured = calloc(n + 1, sizeof *f->measured);
    if (f->measured == NULL) {
        return no_memory(error);
    }
    ATLAS_TRY(atlas_pool_for(atlas_pool_threads(f->options->threads), n, measure_one, f, error));
    for (size_t i = 0; i < n; i++) {
        const struct atlas_walk_file *file = &f->walk->files[f->first + i];
        atlas_index_write_line(atlas_digest_span(&f->measured[i].flat), atlas_digest_span(&f->measured[i].tree),
                               file->id.size, atlas_span_str(file->path), record);
    }
    ATLAS_TRY(atlas_buf_check(record, error));
out:
    free(f->measured);
    return rc;
}

static void write_links(const struct atlas_walk *walk, struct atlas_buf *record)
{
    struct atlas_buf path = ATLAS_BUF_INIT;
    struct atlas_buf target = ATLAS_BUF_INIT;
    for (size_t i = 0; i < walk->n_links; i++) {
        atlas_path_encode(atlas_span_str(walk->links[i].path), &path);
        atlas_path_encode(atlas_span_str(walk->links[i].target), &target);
        atlas_part_write_link(atlas_buf_span(&path), atlas_buf_span(&target), record);
        record->failed = record->failed || path.failed || target.failed;
        atlas_buf_clear(&path);
        atlas_buf_clear(&target);
    }
    atlas_buf_release(&path);
    atlas_buf_release(&target);
}

static int measure_directory_part(const char *path, const char *where, const struct atlas_measure_options *options,
                                  const struct atlas_blocks *blocks, const struct atlas_span *ignore, size_t n_ignore,
                                  struct atlas_buf *record, struct atlas_error *error)
{
    struct atlas_part p = {.alg = options->alg, .kind = ATLAS_PART_DIRECTORY};
    struct atlas_walk walk = ATLAS_WALK_INIT;
    struct atlas_meter meter;
    struct files f = {.options = options, .walk = &walk, .meter = &meter};
    int root = ATLAS_FILE_CLOSED;
    int rc;
    atlas_meter_init(&meter, &options->progress);
    ATLAS_TRY(atlas_meter_tick(&meter, true, error));
    ATLAS_TRY(atlas_measure_open_root(path, where, &root, error));
    ATLAS_TRY(atlas_walk_run(root, ignore, n_ignore, options->threads, &walk, error));
    p.total = walk.n_files;
    p.links = walk.n_links;
    ATLAS_TRY(walk_range(&p, &walk, blocks, error));
    ATLAS_TRY(walk_version(&p, &walk, error));
    for (uint64_t i = p.first; i < p.end; i++) {
        meter.total += walk.files[i].id.size;
    }
    atlas_part_write_header(&p, record);
    write_links(&walk, record);
    ATLAS_TRY(measure_files(&f, &p, record, error));
    ATLAS_TRY(atlas_measure_check_unchanged(path, where, &walk, ignore, n_ignore, options->threads, error));
    ATLAS_TRY(atlas_meter_tick(&meter, true, error));
out:
    atlas_walk_release(&walk);
    atlas_file_close(&root);
    return rc;
}

int atlas_measure_part(const char *path, const struct atlas_measure_options *options, const struct atlas_blocks *blocks,
                       const struct atlas_span *ignore, size_t n_ignore, struct atlas_buf *ret_record,
                       struct atlas_error *error)
{
    struct atlas_measure_options both = *options;
    struct atlas_buf record = ATLAS_BUF_INIT;
    struct atlas_file_id id = {0};
    char where[sizeof error->where];
    int rc;
    both.flat = both.tree = true;
    atlas_path_where(path, false, where, sizeof where);
    ATLAS_TRY(atlas_measure_options_check(&both, error));
    ATLAS_TRY(check_blocks(blocks, error));
    ATLAS_TRY(atlas_file_stat(ATLAS_FILE_CWD, path, true, where, &id, error));
    if (id.type == ATLAS_FILE_DIRECTORY) {
        ATLAS_TRY(measure_directory_part(path, where, &both, blocks, ignore, n_ignore, &record, error));
    } else {
        ATLAS_TRY(measure_file_part(path, where, &both, blocks, &record, error));
    }
    atlas_buf_append(ret_record, atlas_buf_span(&record));
    ATLAS_TRY(atlas_buf_check(ret_record, error));
out:
    atlas_buf_release(&record);
    return rc;
}
