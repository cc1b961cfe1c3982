#include "stage/log_parts.h"

#include <stdlib.h>

/* Appends that come while a commit is under way wait in a queue; whoever finds the disk free next commits all of
 * them. */

struct log_request {
    const struct atlas_span *entries;
    size_t n;
    size_t bytes;
    struct log_request *next;
    bool is_done;
    int rc;
    struct atlas_error error;
    struct atlas_log_batch batch;
};

/* ------------------------------------------------------------------------------------------------- commit */

/* The partial bundle of the tree, compared with its hashes. */
static int load_bundle(struct atlas_log *log, struct atlas_error *error)
{
    struct atlas_tile tile = {.level = ATLAS_TILE_ENTRIES, .width = log_edge_width(log->tree->size, 0)};
    struct atlas_hasher hasher = ATLAS_HASHER_INIT;
    struct atlas_buf leaves = ATLAS_BUF_INIT;
    struct atlas_span rest;
    struct atlas_span entry;
    struct atlas_digest leaf;
    int rc = ATLAS_OK;
    if (log->has_bundle) {
        return ATLAS_OK;
    }
    atlas_buf_clear(&log->bundle);
    if (tile.width != 0) {
        tile.index = log->tree->size / ATLAS_TILE_WIDTH;
        ATLAS_TRY(log_read_tile(log, &tile, &log->bundle, error));
    }
    ATLAS_TRY(atlas_hasher_init(&hasher, ATLAS_SHA256, error));
    rest = atlas_buf_span(&log->bundle);
    while (atlas_bundle_next(&rest, &entry)) {
        ATLAS_TRY(atlas_merkle_leaf_with(&hasher, entry, &leaf, error));
        atlas_buf_append(&leaves, atlas_digest_span(&leaf));
    }
    ATLAS_TRY(atlas_buf_check(&leaves, error));
    if (rest.n != 0 || !atlas_span_equal(atlas_buf_span(&leaves), atlas_buf_span(&log->tree->edge.tiles[0]))) {
        char path[ATLAS_TILE_PATH_MAX];
        char where[LOG_WHERE_MAX];
        atlas_tile_path(&tile, path);
        log_where(log, path, where);
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_TILE, where, "has other entries than those that are signed"));
    }
    log->has_bundle = true;
out:
    atlas_hasher_release(&hasher);
    atlas_buf_release(&leaves);
    return rc;
}

/* Hash what was made once more, from its bytes: memory that failed must not be signed. */
static int check_again(const struct log_tree *tree, const struct log_tree *next, const struct log_stage *stage,
                       struct atlas_error *error)
{
    struct log_edge edge = {0};
    struct atlas_digest root;
    int rc;
    ATLAS_TRY(log_stage_check(stage, &edge, error));
    for (unsigned level = 0; level < ATLAS_TILE_LEVELS; level++) {
        if (edge.tiles[level].n == 0) { /* no tile of this level is new: the old one, or none */
            atlas_buf_append(&edge.tiles[level], atlas_buf_span(&tree->edge.tiles[level]));
            ATLAS_TRY(atlas_buf_check(&edge.tiles[level], error));
        }
    }
    ATLAS_TRY(log_edge_root(&edge, next->size, &root, error));
    if (!atlas_digest_equal(&root, &next->root)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_INTERNAL, "log", "a tree that does not hash twice to the same root"));
    }
out:
    log_edge_release(&edge);
    return rc;
}

/* The stage, and the few files that are written ahead, on the disk. */
static int write_stage(const struct atlas_log *log, const struct log_stage_buf *made, const struct log_stage *stage,
                       const char *name, struct log_apply *a, struct atlas_error *error)
{
    const struct atlas_span pieces[] = {atlas_buf_span(&made->head), stage->contents};
    char where[LOG_WHERE_MAX];
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    log_where(log, name, where);
    ATLAS_TRY(log_apply_begin(a, error));
    ATLAS_TRY(atlas_durable_begin(log->state, name, ATLAS_DURABLE_PUBLIC, pieces, 2, where, &fd, error));
    ATLAS_TRY(atlas_durable_finish(&fd, where, error));
    ATLAS_TRY(log_apply_flush(a, error));
    ATLAS_TRY(atlas_durable_sync(log->state, where, error));
out:
    atlas_file_close(&fd);
    return rc;
}

static int sign(const struct atlas_log *log, struct log_tree *next, struct atlas_error *error)
{
    atlas_fork_hold();
    int rc = log_head_sign(log, next->size, &next->root, &next->note, error);
    atlas_fork_allow();
    return rc;
}

/* Replace the head, which is the commit; then what follows it: public names, the public checkpoint, the memory. */
static int write_head(struct atlas_log *log, struct log_tree **next, struct log_apply *a, struct atlas_error *error)
{
    struct atlas_span note = atlas_buf_span(&(*next)->note);
    int head = ATLAS_FILE_CLOSED;
    int checkpoint = ATLAS_FILE_CLOSED;
    int memory = ATLAS_FILE_CLOSED;
    int rc;
    ATLAS_TRY(log_checkpoint_begin(log, note, &checkpoint, error));
    ATLAS_TRY(log_memory_begin(log, note, &memory, error));
    ATLAS_TRY(log_head_begin(log, note, &head, error));
    ATLAS_TRY(log_head_commit(log, &head, error));
    log_set_tree(log, *next);
    *next = NULL;
    ATLAS_TRY(log_apply_finish(a, error));
    ATLAS_TRY(log_checkpoint_publish(log, &checkpoint, error));
    ATLAS_TRY(log_memory_finish(log, &memory, error));
out:
    atlas_file_close(&head);
    atlas_file_close(&checkpoint);
    atlas_file_close(&memory);
    return rc;
}

/* The tree is the log's own as soon as it is committed. */
static int write_commit(struct atlas_log *log, const struct log_stage_buf *made, const struct log_stage *stage,
                        struct log_tree **next, struct atlas_error *error)
{
    char name[LOG_STAGE_NAME_MAX];
    struct log_apply a;
    int rc;
    log_stage_name(stage->size, &stage->root, name);
    ATLAS_TRY(log_apply_init(&a, log, stage, false, error));
    ATLAS_TRY(write_stage(log, made, stage, name, &a, error));
    ATLAS_TRY(sign(log, *next, error));
    ATLAS_TRY(write_head(log, next, &a, error));
    ATLAS_TRY(atlas_durable_remove(log->state, name, false, log->path, error));
    log_stage_tidy(log, stage);
out:
    log_apply_release(&a);
    return rc;
}

static int commit(struct atlas_log *log, const struct atlas_span *entries, size_t n, struct atlas_error *error)
{
    struct log_stage_buf made = LOG_STAGE_BUF_INIT;
    struct log_tree *next = NULL;
    struct log_stage stage;
    int rc;
    ATLAS_TRY(log_adopt(log, error));
    atlas_fork_hold();
    rc = load_bundle(log, error);
    if (rc == ATLAS_OK) {
        log->has_bundle = false; /* unless all goes well */
        rc = log_build(log->tree, entries, n, &log->bundle, &made, &next, error);
    }
    if (rc == ATLAS_OK) {
        rc = log_stage_finish(&made, log->tree->size, next->size, &next->root, &stage, error);
    }
    if (rc == ATLAS_OK) {
        rc = check_again(log->tree, next, &stage, error);
    }
    atlas_fork_allow();
    if (rc == ATLAS_OK) {
        log->is_broken = true; /* until it is known to be on the disk */
        ATLAS_TRY(write_commit(log, &made, &stage, &next, error));
        log->is_broken = false;
        log->has_bundle = true;
    }
out:
    log_tree_free(next);
    log_stage_buf_release(&made);
    return rc;
}

/* -------------------------------------------------------------------------------------------------- queue */

/* Under the monitor: cut as many requests off the queue as one commit takes. */
static struct log_request *take_requests(struct atlas_log *log, size_t *ret_entries)
{
    struct log_request *first = log->first;
    struct log_request *last = first;
    size_t bytes = first->bytes;
    *ret_entries = first->n;
    while (last->next != NULL && last->next->bytes <= ATLAS_LOG_MAX_BATCH - bytes) {
        last = last->next;
        bytes += last->bytes;
        *ret_entries += last->n;
    }
    log->first = last->next;
    last->next = NULL;
    if (log->first == NULL) {
        log->last = NULL;
    }
    return first;
}

/* Commit them together; every request gets its own answer. */
static void serve(struct atlas_log *log, struct log_request *first, size_t n)
{
    struct atlas_error error = ATLAS_ERROR_INIT;
    struct atlas_span *entries = malloc(n * sizeof *entries);
    uint64_t index = 0;
    size_t at = 0;
    int rc;
    if (entries == NULL) {
        rc = atlas_error_set(&error, ATLAS_E_NOMEM, "log", "out of memory");
    } else {
        for (const struct log_request *r = first; r != NULL; r = r->next) {
            memcpy(entries + at, r->entries, r->n * sizeof *entries);
            at += r->n;
        }
        rc = log_lock(log, &error);
        if (rc == ATLAS_OK) {
            rc = commit(log, entries, n, &error);
            log_unlock(log);
        }
        index = rc == ATLAS_OK ? log->tree->size - n : 0;
    }
    for (struct log_request *r = first; r != NULL; r = r->next) {
        r->rc = rc;
        r->error = error;
        if (rc == ATLAS_OK) {
            r->batch.first = index;
            r->batch.size = log->tree->size;
            atlas_buf_append(&r->batch.note, atlas_buf_span(&log->tree->note));
            index += r->n;
        }
    }
    free(entries);
}

static void finish(struct log_request *first)
{
    while (first != NULL) {
        struct log_request *next = first->next; /* its owner may be gone as soon as it is done */
        first->is_done = true;
        first = next;
    }
}

static void submit(struct atlas_log *log, struct log_request *request)
{
    atlas_monitor_enter(log->monitor);
    if (log->last != NULL) {
        log->last->next = request;
    } else {
        log->first = request;
    }
    log->last = request;
    while (!request->is_done) {
        if (log->is_busy) {
            atlas_monitor_wait(log->monitor);
            continue;
        }
        size_t n;
        struct log_request *first = take_requests(log, &n);
        log->is_busy = true;
        atlas_monitor_leave(log->monitor);
        serve(log, first, n);
        atlas_monitor_enter(log->monitor);
        log->is_busy = false;
        finish(first);
        atlas_monitor_wake(log->monitor);
    }
    atlas_monitor_leave(log->monitor);
}

static int check_entries(struct log_request *request, struct atlas_error *error)
{
    if (request->n == 0) {
        return atlas_error_set(error, ATLAS_E_ARG, "entries", "there are none");
    }
    for (size_t i = 0; i < request->n; i++) {
        size_t bytes = request->entries[i].n;
        if (bytes > ATLAS_MAX_LOG_ENTRY) {
            return atlas_error_set(error, ATLAS_E_LIMIT, "entries", "entry %zu has more than %u bytes", i,
                                   ATLAS_MAX_LOG_ENTRY);
        }
        request->bytes += bytes + 2;
        if (request->bytes > ATLAS_LOG_MAX_BATCH) {
            return atlas_error_set(error, ATLAS_E_LIMIT, "entries", "more than %zu bytes for one commit",
                                   ATLAS_LOG_MAX_BATCH);
        }
    }
    return ATLAS_OK;
}

int atlas_log_append(struct atlas_log *log, const struct atlas_span *entries, size_t n,
                     struct atlas_log_batch *ret_batch, struct atlas_error *error)
{
    struct log_request request = {.entries = entries, .n = n};
    int rc;
    ATLAS_TRY(log_check_process(log, error));
    if (log->signer == NULL) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, log->path, "is open without its private key"));
    }
    ATLAS_TRY(check_entries(&request, error));
    submit(log, &request);
    if (request.rc < 0) {
        ATLAS_TRY(atlas_error_set(error, request.rc, request.error.where, "%s", request.error.text));
    }
    ATLAS_TRY(atlas_buf_check(&request.batch.note, error));
    *ret_batch = request.batch;
    request.batch.note = ATLAS_BUF_INIT;
out:
    atlas_buf_release(&request.batch.note);
    return rc;
}
