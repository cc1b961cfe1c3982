#include "stage/log_parts.h"

#include <stdio.h>

int log_head_open(const struct atlas_log *log, struct atlas_span note, const char *where, struct log_head *ret_head,
                  struct atlas_error *error)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    struct atlas_checkpoint checkpoint;
    struct atlas_note opened;
    bool is_signed = false;
    int rc = atlas_note_open(note, &log->key, 1, &is_signed, &opened, &cause);
    if (rc == ATLAS_OK) {
        rc = atlas_checkpoint_read(opened.text, &checkpoint, &cause);
    }
    if (rc != ATLAS_OK) {
        return atlas_error_set(error, rc, where, "%s", cause.text);
    }
    if (!is_signed || !atlas_span_equal(checkpoint.origin, atlas_note_key_name(&log->key))) {
        return atlas_error_set(error, ATLAS_E_SIGNATURE, where, "is not signed with the key of this log");
    }
    ret_head->size = checkpoint.size;
    atlas_digest_set(&ret_head->root, ATLAS_SHA256, atlas_span_of(checkpoint.root, ATLAS_NOTE_ROOT));
    ret_head->text = opened.text;
    return ATLAS_OK;
}

int log_head_sign(const struct atlas_log *log, uint64_t size, const struct atlas_digest *root,
                  struct atlas_buf *ret_note, struct atlas_error *error)
{
    struct atlas_checkpoint checkpoint = {.origin = atlas_note_key_name(&log->key), .size = size};
    struct atlas_buf text = ATLAS_BUF_INIT;
    int rc;
    memcpy(checkpoint.root, root->b, ATLAS_NOTE_ROOT);
    atlas_checkpoint_write(&checkpoint, &text);
    ATLAS_TRY(atlas_buf_check(&text, error));
    atlas_buf_append(ret_note, atlas_buf_span(&text));
    atlas_buf_append_u8(ret_note, '\n');
    ATLAS_TRY(atlas_note_sign(log->signer, atlas_buf_span(&text), ret_note, error));
    ATLAS_TRY(atlas_buf_check(ret_note, error));
out:
    atlas_buf_release(&text);
    return rc;
}

/* ------------------------------------------------------------------------------------------- three places */

int log_head_begin(const struct atlas_log *log, struct atlas_span note, int *ret_fd, struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    log_where(log, ".state/head", where);
    return atlas_durable_begin(log->state, "head.next", ATLAS_DURABLE_PUBLIC, &note, 1, where, ret_fd, error);
}

int log_head_commit(const struct atlas_log *log, int *fd, struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    int rc;
    log_where(log, ".state/head", where);
    ATLAS_TRY(atlas_durable_finish(fd, where, error));
    ATLAS_TRY(atlas_durable_rename(log->state, "head.next", log->state, "head", where, error));
    ATLAS_TRY(atlas_durable_sync(log->state, where, error));
out:
    return rc;
}

int log_checkpoint_begin(const struct atlas_log *log, struct atlas_span note, int *ret_fd, struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    log_where(log, "checkpoint", where);
    return atlas_durable_begin(log->state, "checkpoint.next", ATLAS_DURABLE_PUBLIC, &note, 1, where, ret_fd, error);
}

int log_checkpoint_publish(const struct atlas_log *log, int *fd, struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    int rc;
    log_where(log, "checkpoint", where);
    ATLAS_TRY(atlas_durable_finish(fd, where, error));
    ATLAS_TRY(atlas_durable_rename(log->state, "checkpoint.next", log->root, "checkpoint", where, error));
    ATLAS_TRY(atlas_durable_sync(log->root, where, error));
out:
    return rc;
}

/* By process: a copy of the log, which another process writes to, has the same memory and another lock. */
#define MEMORY_NAME ".atlas-log-memory-"
#define MEMORY_NAME_MAX 64
static void memory_name(const struct atlas_log *log, char out[MEMORY_NAME_MAX])
{
    snprintf(out, MEMORY_NAME_MAX, MEMORY_NAME "%lld", (long long)log->process);
}

bool log_is_memory_begun(struct atlas_span name)
{
    return atlas_span_starts_with(name, ATLAS_LIT(MEMORY_NAME));
}

static int forgotten(const struct atlas_log *log, int rc, const struct atlas_error *cause, struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    snprintf(where, sizeof where, "%.79s", log->memory);
    return atlas_error_set(error, rc, where, "the newest head cannot be remembered: %s", cause->text);
}

int log_memory_begin(const struct atlas_log *log, struct atlas_span note, int *ret_fd, struct atlas_error *error)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    char name[MEMORY_NAME_MAX];
    memory_name(log, name);
    int rc = atlas_durable_begin(log->memory_dir, name, ATLAS_DURABLE_PRIVATE, &note, 1, log->memory, ret_fd, &cause);
    return rc < 0 ? forgotten(log, rc, &cause, error) : rc;
}

/* Its name is not flushed: after a power cut the memory may be older than the log, which is no contradiction. */
int log_memory_finish(const struct atlas_log *log, int *fd, struct atlas_error *error)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    char name[MEMORY_NAME_MAX];
    int rc;
    memory_name(log, name);
    ATLAS_TRY(atlas_durable_finish(fd, log->memory, &cause));
    ATLAS_TRY(atlas_durable_rename(log->memory_dir, name, log->memory_dir, log->memory_name, log->memory, &cause));
out:
    return rc < 0 ? forgotten(log, rc, &cause, error) : rc;
}
