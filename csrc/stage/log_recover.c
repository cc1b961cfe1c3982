#include "stage/log_parts.h"

#include <stdlib.h>

/* What is there besides the head, each signed with the log's key. */
struct remains {
    struct log_tree *tree; /* of the head */
    struct atlas_buf checkpoint_note;
    struct log_head checkpoint; /* size 0 when nothing was published */
    bool has_checkpoint;
    struct atlas_buf memory_note;
    struct log_head memory; /* size 0 when nothing is remembered */
    struct atlas_buf stage_bytes;
    struct log_stage stage;
    bool has_stage;
    char stage_name[LOG_STAGE_NAME_MAX];
};

static void remains_release(struct remains *r)
{
    log_tree_free(r->tree);
    atlas_buf_release(&r->checkpoint_note);
    atlas_buf_release(&r->memory_note);
    atlas_buf_release(&r->stage_bytes);
}

/* ------------------------------------------------------------------------------------------------ looking */

/* A signed head in a file; *ret_found is false when the file is not there. */
static int read_head(const struct atlas_log *log, int dir, const char *name, struct atlas_buf *note,
                     struct log_head *ret_head, bool *ret_found, struct atlas_error *error)
{
    struct atlas_error missing = ATLAS_ERROR_INIT;
    char where[LOG_WHERE_MAX];
    log_where(log, name, where);
    int rc = log_read(log, dir, name, ATLAS_MAX_NOTE_BYTES, note, &missing);
    if (rc == ATLAS_E_NOT_FOUND) {
        *ret_found = false;
        return ATLAS_OK;
    }
    if (rc < 0) {
        return atlas_error_set(error, rc, missing.where, "%s", missing.text);
    }
    *ret_found = true;
    return log_head_open(log, atlas_buf_span(note), where, ret_head, error);
}

static int look_at_head(const struct atlas_log *log, struct remains *r, struct atlas_error *error)
{
    struct log_head head = {0};
    bool found = false;
    int rc;
    r->tree = calloc(1, sizeof *r->tree);
    if (r->tree == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "log", "out of memory");
    }
    ATLAS_TRY(read_head(log, log->state, "head", &r->tree->note, &head, &found, error));
    if (!found) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_LOG, log->path, "has no .state/head: it is no log"));
    }
    r->tree->refs = 1;
    r->tree->size = head.size;
    r->tree->root = head.root;
out:
    return rc;
}

/* The stage of the head, if it is still there. */
static int look_at_stage(const struct atlas_log *log, struct remains *r, struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    log_stage_name(r->tree->size, &r->tree->root, r->stage_name);
    log_where(log, r->stage_name, where);
    struct atlas_error missing = ATLAS_ERROR_INIT;
    int rc = log_read(log, log->state, r->stage_name, SIZE_MAX / 2, &r->stage_bytes, &missing);
    if (rc == ATLAS_E_NOT_FOUND) {
        return ATLAS_OK;
    }
    if (rc < 0) {
        return atlas_error_set(error, rc, missing.where, "%s", missing.text);
    }
    ATLAS_TRY(log_stage_read(atlas_buf_span(&r->stage_bytes), where, &r->stage, error));
    if (r->stage.size != r->tree->size || !atlas_digest_equal(&r->stage.root, &r->tree->root)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_LOG, where, "is the stage of another commit than its name says"));
    }
    ATLAS_TRY(log_stage_check(&r->stage, &r->tree->edge, error));
    r->has_stage = true;
out:
    return rc;
}

/* Two heads that cannot both be, whatever the tiles say. */
static int compare_sizes(const struct log_tree *tree, const struct log_head *other, int shrunk, const char *where,
                         struct atlas_error *error)
{
    if (other->size > tree->size) {
        return atlas_error_set(error, shrunk, where, "says %llu entries, and the log has only %llu now",
                               (unsigned long long)other->size, (unsigned long long)tree->size);
    }
    if (other->size == tree->size && !atlas_digest_equal(&other->root, &tree->root)) {
        return atlas_error_set(error, ATLAS_E_FORKED, where, "has another history of %llu entries than the log",
                               (unsigned long long)other->size);
    }
    return ATLAS_OK;
}

static int look_outside(const struct atlas_log *log, struct remains *r, struct atlas_error *error)
{
    struct log_head none = {0};
    bool found = false;
    int rc;
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, ATLAS_SPAN_NONE, &none.root, error));
    r->checkpoint = r->memory = none;
    ATLAS_TRY(read_head(log, log->memory_dir, log->memory_name, &r->memory_note, &r->memory, &found, error));
    ATLAS_TRY(compare_sizes(r->tree, &r->memory, ATLAS_E_ROLLED_BACK, "the head that is remembered", error));
    ATLAS_TRY(read_head(log, log->root, "checkpoint", &r->checkpoint_note, &r->checkpoint, &r->has_checkpoint, error));
    ATLAS_TRY(compare_sizes(r->tree, &r->checkpoint, ATLAS_E_ROLLED_BACK, "the public checkpoint", error));
out:
    return rc;
}

static int check_edge(const struct atlas_log *log, struct log_tree *tree, struct atlas_error *error)
{
    struct atlas_digest root;
    int rc;
    ATLAS_TRY(log_edge_read(log, tree->size, &tree->edge, error));
    ATLAS_TRY(log_edge_root(&tree->edge, tree->size, &root, error));
    if (!atlas_digest_equal(&root, &tree->root)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_TILE, log->path, "the tiles do not make the root that is signed"));
    }
out:
    return rc;
}

/* ---------------------------------------------------------------------------------------------- finishing */

static bool is_leftover(struct atlas_span name)
{
    return atlas_span_starts_with(name, ATLAS_LIT("stage-")) || atlas_span_starts_with(name, ATLAS_LIT("tmp-")) ||
           atlas_span_equal(name, ATLAS_LIT("head.next")) || atlas_span_equal(name, ATLAS_LIT("checkpoint.next"));
}

/* What a crash left that no head speaks of: in .state, and of memories that were being written. */
static int remove_leftovers(const struct atlas_log *log, int dir, bool (*is_one)(struct atlas_span name),
                            struct atlas_error *error)
{
    struct atlas_buf names = ATLAS_BUF_INIT;
    size_t n = 0;
    int rc;
    ATLAS_TRY(atlas_file_list(dir, log->path, 1000000, &names, &n, error));
    const char *name = (const char *)names.p;
    for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
        if (is_one(atlas_span_str(name))) {
            ATLAS_TRY(atlas_durable_remove(dir, name, false, log->path, error));
        }
    }
out:
    atlas_buf_release(&names);
    return rc;
}

static int publish(const struct atlas_log *log, struct atlas_span note, struct atlas_error *error)
{
    int fd = ATLAS_FILE_CLOSED;
    int rc = log_checkpoint_begin(log, note, &fd, error);
    return rc < 0 ? rc : log_checkpoint_publish(log, &fd, error);
}

static int remember(const struct atlas_log *log, struct atlas_span note, struct atlas_error *error)
{
    int fd = ATLAS_FILE_CLOSED;
    int rc = log_memory_begin(log, note, &fd, error);
    return rc < 0 ? rc : log_memory_finish(log, &fd, error);
}

static int apply(const struct atlas_log *log, const struct log_stage *stage, struct atlas_error *error)
{
    struct log_apply a;
    int rc;
    ATLAS_TRY(log_apply_init(&a, log, stage, true, error));
    ATLAS_TRY(log_apply_finish(&a, error));
out:
    log_apply_release(&a);
    return rc;
}

/* The head was committed: make that last, then do what its commit had still to do. */
static int finish(struct atlas_log *log, const struct remains *r, struct atlas_error *error)
{
    int rc;
    if (r->has_stage) {
        ATLAS_TRY(atlas_durable_sync(log->state, log->path, error));
        ATLAS_TRY(apply(log, &r->stage, error));
    }
    if (log->tree != NULL) {
        ATLAS_TRY(log_tree_extends(log, r->tree, log->tree->size, &log->tree->root, ATLAS_E_ROLLED_BACK,
                                   "this process' own memory", error));
    }
    ATLAS_TRY(log_tree_extends(log, r->tree, r->memory.size, &r->memory.root, ATLAS_E_ROLLED_BACK,
                               "the head that is remembered", error));
    ATLAS_TRY(log_tree_extends(log, r->tree, r->checkpoint.size, &r->checkpoint.root, ATLAS_E_ROLLED_BACK,
                               "the public checkpoint", error));
    if (!r->has_checkpoint || r->checkpoint.size < r->tree->size) {
        ATLAS_TRY(atlas_durable_sync(log->state, log->path, error));
        ATLAS_TRY(publish(log, atlas_buf_span(&r->tree->note), error));
    }
    if (r->has_stage) {
        ATLAS_TRY(atlas_durable_remove(log->state, r->stage_name, false, log->path, error));
        log_stage_tidy(log, &r->stage);
    }
    if (log->tree == NULL) {
        ATLAS_TRY(remove_leftovers(log, log->state, is_leftover, error));
        ATLAS_TRY(remove_leftovers(log, log->memory_dir, log_is_memory_begun, error));
    }
out:
    return rc;
}

static bool is_file(const struct atlas_log *log, int dir, const char *name, struct atlas_buf *bytes,
                    const struct atlas_buf *expected)
{
    return log_read(log, dir, name, ATLAS_MAX_NOTE_BYTES, bytes, NULL) == ATLAS_OK &&
           atlas_span_equal(atlas_buf_span(bytes), atlas_buf_span(expected));
}

/* Nothing has happened since this process looked last. */
static bool is_known(const struct atlas_log *log)
{
    struct atlas_buf head = ATLAS_BUF_INIT;
    struct atlas_buf memory = ATLAS_BUF_INIT;
    bool known = log->tree != NULL && is_file(log, log->state, "head", &head, &log->tree->note) &&
                 is_file(log, log->memory_dir, log->memory_name, &memory, &log->tree->note);
    atlas_buf_release(&head);
    atlas_buf_release(&memory);
    return known;
}

static int adopt(struct atlas_log *log, struct atlas_error *error)
{
    struct remains r = {0};
    int rc = ATLAS_OK;
    ATLAS_TRY(look_at_head(log, &r, error));
    ATLAS_TRY(look_outside(log, &r, error));
    ATLAS_TRY(look_at_stage(log, &r, error));
    ATLAS_TRY(check_edge(log, r.tree, error));
    ATLAS_TRY(finish(log, &r, error));
    if (!atlas_span_equal(atlas_buf_span(&r.memory_note), atlas_buf_span(&r.tree->note))) {
        ATLAS_TRY(remember(log, atlas_buf_span(&r.tree->note), error));
    }
    log_set_tree(log, r.tree);
    r.tree = NULL;
    log->has_bundle = false;
out:
    log->is_broken = rc == ATLAS_E_IO;
    remains_release(&r);
    return rc;
}

int log_adopt(struct atlas_log *log, struct atlas_error *error)
{
    if (log->is_broken) {
        return atlas_error_set(error, ATLAS_E_BROKEN, log->path,
                               "takes nothing more after an error of the disk: open it again, best in a new process");
    }
    if (is_known(log)) {
        return ATLAS_OK;
    }
    atlas_fork_hold();
    int rc = adopt(log, error);
    atlas_fork_allow();
    return rc;
}
