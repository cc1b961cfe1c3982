/* test_log.c - the log from C: paths, bundles, stages with every bit flipped, threads, and no memory. The rest is in
 * tests/integration/test_log*.py and tests/attacks/test_attacks_on_logs.py. The linker sends the library's allocations
 * here (csrc/Makefile). */
#include <stdatomic.h>

#include "folder.h"
#include "port/pool.h"
#include "stage/log_parts.h"
#include "test.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static atomic_long countdown; /* the allocation that fails is the one that makes it 0 */

static bool fails(void)
{
    return atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

/* ------------------------------------------------------------------------------------------------- formats */

TEST(paths_are_those_of_the_specification)
{
    static const struct {
        struct atlas_tile tile;
        const char *path;
    } good[] = {
        {{0, 0, 256}, "tile/0/000"},
        {{1, 1234067, 256}, "tile/1/x001/x234/067"},
        {{63, 999, 1}, "tile/63/999.p/1"},
        {{ATLAS_TILE_ENTRIES, 1000, 255}, "tile/entries/x001/000.p/255"},
        {{2, UINT64_C(36028797018963967), 256}, "tile/2/x036/x028/x797/x018/x963/967"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char path[ATLAS_TILE_PATH_MAX];
        struct atlas_tile tile = {0};
        atlas_tile_path(&good[i].tile, path);
        CHECK(strcmp(path, good[i].path) == 0);
        CHECK(atlas_tile_read_path(atlas_span_str(path), &tile));
        CHECK(memcmp(&tile, &good[i].tile, sizeof tile) == 0);
    }
}

TEST(no_other_form_of_a_path_is_read)
{
    static const char *const bad[] = {
        "", "tile", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/00/000", "tile/64/000",
        "tile/100/000", "tile//000", "tile/entries", "tile/entries/", "tile/x/000", "tile/0/x000", "tile/0/x000/000",
        "tile/0/001/000", "tile/0/x001/x000", "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/00",
        "tile/0/000.p/01", "tile/0/000.p/256", "tile/0/000.p/1/", "tile/0/000/", "/tile/0/000", "tile/0/../0/000",
        "tile/0/000 ", "tile/-1/000", "tile/0/x001/x001/x001/x001/x001/x001/x001/001",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct atlas_tile tile;
        CHECK(!atlas_tile_read_path(atlas_span_str(bad[i]), &tile));
    }
}

TEST(a_bundle_gives_back_its_entries_and_never_reads_beyond_its_end)
{
    struct atlas_buf bundle = ATLAS_BUF_INIT;
    struct atlas_span entry;
    atlas_bundle_append(&bundle, ATLAS_LIT(""));
    atlas_bundle_append(&bundle, ATLAS_LIT("entry"));
    struct atlas_span rest = atlas_buf_span(&bundle);
    CHECK(atlas_bundle_next(&rest, &entry) && entry.n == 0);
    CHECK(atlas_bundle_next(&rest, &entry) && atlas_span_equal(entry, ATLAS_LIT("entry")));
    CHECK(rest.n == 0 && !atlas_bundle_next(&rest, &entry));
    for (size_t n = 3; n < bundle.n; n++) {
        rest = atlas_span_sub(atlas_buf_span(&bundle), 2, n - 2);
        CHECK(!atlas_bundle_next(&rest, &entry) && rest.n == n - 2);
    }
    atlas_buf_release(&bundle);
}

/* The stage of the first `n` entries, as one piece. */
static bool make_stage(size_t n, struct atlas_buf *ret_bytes)
{
    struct log_tree empty = {0};
    struct log_tree *next = NULL;
    struct log_stage_buf made = LOG_STAGE_BUF_INIT;
    struct atlas_buf bundle = ATLAS_BUF_INIT;
    struct atlas_span entries[300];
    struct log_stage stage;
    for (size_t i = 0; i < n; i++) {
        entries[i] = atlas_span_of("some entry", i % 11);
    }
    bool good = log_build(&empty, entries, n, &bundle, &made, &next, NULL) == ATLAS_OK &&
                log_stage_finish(&made, 0, n, &next->root, &stage, NULL) == ATLAS_OK;
    if (good) {
        atlas_buf_append(ret_bytes, atlas_buf_span(&made.head));
        atlas_buf_append(ret_bytes, stage.contents);
    }
    log_tree_free(next);
    log_stage_buf_release(&made);
    atlas_buf_release(&bundle);
    return good;
}

TEST(a_stage_is_read_whole_or_not_at_all)
{
    struct atlas_buf bytes = ATLAS_BUF_INIT;
    struct log_edge edge = {0};
    struct log_stage stage;
    CHECK(make_stage(3, &bytes));
    CHECK_OK(log_stage_read(atlas_buf_span(&bytes), "stage", &stage, NULL));
    CHECK(stage.old_size == 0 && stage.size == 3);
    CHECK_OK(log_stage_check(&stage, &edge, NULL));
    log_edge_release(&edge);
    for (size_t i = 0; i < bytes.n * 8; i++) {
        bytes.p[i / 8] ^= (uint8_t)(1u << i % 8);
        CHECK_ERR(log_stage_read(atlas_buf_span(&bytes), "stage", &stage, NULL), ATLAS_E_LOG);
        bytes.p[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t n = 0; n < bytes.n; n++) {
        CHECK_ERR(log_stage_read(atlas_span_of(bytes.p, n), "stage", &stage, NULL), ATLAS_E_LOG);
    }
    atlas_buf_append_u8(&bytes, 0);
    CHECK_ERR(log_stage_read(atlas_buf_span(&bytes), "stage", &stage, NULL), ATLAS_E_LOG);
    atlas_buf_release(&bytes);
}

/* The attack that the check before signing must stop is a bit that fell over in memory. */
TEST(a_bit_that_falls_over_before_the_tree_is_signed_is_noticed)
{
    struct atlas_buf bytes = ATLAS_BUF_INIT;
    struct log_stage stage;
    struct atlas_digest root;
    CHECK(make_stage(300, &bytes));
    CHECK_OK(log_stage_read(atlas_buf_span(&bytes), "stage", &stage, NULL));
    uint8_t *contents = bytes.p + (bytes.n - stage.contents.n);
    for (size_t i = 0; i < stage.contents.n; i += 7) {
        struct log_edge edge = {0};
        contents[i] ^= 0x10;
        bool good = log_stage_check(&stage, &edge, NULL) == ATLAS_OK &&
                    log_edge_root(&edge, stage.size, &root, NULL) == ATLAS_OK &&
                    atlas_digest_equal(&root, &stage.root);
        contents[i] ^= 0x10;
        log_edge_release(&edge);
        CHECK(!good);
    }
    atlas_buf_release(&bytes);
}

/* ---------------------------------------------------------------------------------------------- a whole log */

struct place {
    struct folder folder;
    char path[96];
    char memory[96];
    struct atlas_buf secret;
    struct atlas_buf vkey;
    struct atlas_log_options options;
};

static bool place_make(struct place *p)
{
    struct atlas_note_signer *signer = NULL;
    memset(p, 0, sizeof *p);
    snprintf(p->folder.path, sizeof p->folder.path, "/dev/shm/atlas-test-XXXXXX"); /* a disk is slow */
    if (mkdtemp(p->folder.path) == NULL && !folder_make(&p->folder)) {
        return false;
    }
    snprintf(p->path, sizeof p->path, "%s/log", p->folder.path);
    snprintf(p->memory, sizeof p->memory, "%s/memory", p->folder.path);
    bool good = atlas_note_keygen(ATLAS_LIT("log.example/c"), &p->secret, NULL) == ATLAS_OK &&
                atlas_note_signer_new(atlas_buf_span(&p->secret), &signer, NULL) == ATLAS_OK;
    if (good) {
        atlas_note_key_format(atlas_note_signer_key(signer), &p->vkey);
    }
    atlas_note_signer_free(signer);
    p->options = (struct atlas_log_options){.path = p->path, .memory = p->memory, .wait_ms = 1000,
                                            .vkey = atlas_buf_span(&p->vkey), .secret = atlas_buf_span(&p->secret)};
    return good && atlas_log_init(&p->options, NULL) == ATLAS_OK;
}

static void place_remove(struct place *p)
{
    folder_remove(&p->folder);
    atlas_buf_release(&p->secret);
    atlas_buf_release(&p->vkey);
}

#define WORKERS 6
#define EACH 40

struct crowd {
    struct atlas_log *log;
    atomic_uint seen[WORKERS * EACH];
    atomic_int errors;
};

static void append_each(void *context, unsigned worker)
{
    struct crowd *c = context;
    for (unsigned i = 0; i < EACH; i++) {
        struct atlas_log_batch batch = {.note = ATLAS_BUF_INIT};
        struct atlas_buf proof = ATLAS_BUF_INIT;
        struct atlas_digest leaf;
        uint32_t what[2] = {worker, i};
        struct atlas_span entry = atlas_span_of(what, sizeof what);
        if (atlas_log_append(c->log, &entry, 1, &batch, NULL) < 0 || batch.first >= WORKERS * EACH ||
            atlas_log_prove(c->log, batch.first, batch.size, &proof, &leaf, NULL) < 0) {
            atomic_fetch_add(&c->errors, 1);
        } else {
            atomic_fetch_add(&c->seen[batch.first], 1);
        }
        atlas_buf_release(&batch.note);
        atlas_buf_release(&proof);
    }
}

TEST(threads_that_append_and_prove_at_the_same_time_get_every_index_once)
{
    static struct crowd c;
    struct place p;
    uint64_t size = 0;
    CHECK(place_make(&p));
    CHECK_OK(atlas_log_open(&p.options, &c.log, NULL));
    atlas_pool_run(WORKERS, append_each, &c);
    CHECK(atomic_load(&c.errors) == 0);
    size_t done = 0;
    for (size_t i = 0; i < WORKERS * EACH; i++) {
        CHECK(atomic_load(&c.seen[i]) <= 1);
        done += atomic_load(&c.seen[i]);
    }
    CHECK(done >= EACH && done % EACH == 0); /* as many threads as could be started */
    CHECK_OK(atlas_log_check(c.log, NULL, NULL, &size, NULL));
    CHECK(size == done);
    atlas_log_close(c.log);
    place_remove(&p);
}

/* Open the log, append, prove and check, with the n-th allocation failing. *ret_size: what a log opened afterwards has.
 * False: something else went wrong than what was meant to. */
static bool without_memory(const struct place *p, long n, bool *ret_failed, uint64_t *ret_size)
{
    struct atlas_log_batch batch = {.note = ATLAS_BUF_INIT};
    struct atlas_buf proof = ATLAS_BUF_INIT;
    struct atlas_log *log = NULL;
    struct atlas_digest leaf;
    struct atlas_span entry = ATLAS_LIT("entry");
    uint64_t size;
    atomic_store(&countdown, n);
    int rc = atlas_log_open(&p->options, &log, NULL);
    rc = rc < 0 ? rc : atlas_log_append(log, &entry, 1, &batch, NULL);
    rc = rc < 0 ? rc : atlas_log_prove(log, 0, batch.size, &proof, &leaf, NULL);
    rc = rc < 0 ? rc : atlas_log_check(log, NULL, NULL, &size, NULL);
    *ret_failed = atomic_exchange(&countdown, 0) <= 0;
    atlas_log_close(log);
    atlas_buf_release(&batch.note);
    atlas_buf_release(&proof);
    if (rc != ATLAS_OK && rc != ATLAS_E_NOMEM) {
        printf("    allocation %ld: %s\n", n, atlas_err_name(rc));
        return false;
    }
    bool good = atlas_log_open(&p->options, &log, NULL) == ATLAS_OK &&
                atlas_log_check(log, NULL, NULL, ret_size, NULL) == ATLAS_OK;
    atlas_log_close(good ? log : NULL);
    return good;
}

TEST(whichever_allocation_fails_the_log_says_so_and_is_whole_afterwards)
{
    struct place p;
    bool failed = true;
    uint64_t before = 0;
    CHECK(place_make(&p));
    for (long n = 1; failed; n++) {
        uint64_t size = 0;
        CHECK(without_memory(&p, n, &failed, &size));
        CHECK(size == before || size == before + 1);
        before = size;
    }
    CHECK(before > 5);
    place_remove(&p);
}
