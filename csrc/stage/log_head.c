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
    if (rc < 0) {
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

/* Write a file, flush it, and put it in place of the one of that name. The name itself is not flushed. */
static int replace(const struct atlas_log *log, int from_dir, const char *from, int to_dir, const char *to,
                   enum atlas_durable_mode mode, struct atlas_span note, struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    int rc;
    log_where(log, to, where);
    ATLAS_TRY(atlas_durable_write(from_dir, from, mode, &note, 1, where, error));
    ATLAS_TRY(atlas_durable_rename(from_dir, from, to_dir, to, where, error));
out:
    return rc;
}

int log_head_commit(const struct atlas_log *log, struct atlas_span note, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(replace(log, log->state, "head.next", log->state, "head", ATLAS_DURABLE_PUBLIC, note, error));
    ATLAS_TRY(atlas_durable_sync(log->state, log->path, error));
out:
    return rc;
}

int log_head_publish(const struct atlas_log *log, struct atlas_span note, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(replace(log, log->state, "checkpoint.next", log->root, "checkpoint", ATLAS_DURABLE_PUBLIC, note, error));
    ATLAS_TRY(atlas_durable_sync(log->root, log->path, error));
out:
    return rc;
}

/* Its name is not flushed: after a power cut the memory may be older than the log, which is no contradiction. */
int log_head_remember(struct atlas_log *log, struct atlas_span note, struct atlas_error *error)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    char name[256];
    int rc;
    if (atlas_span_equal(atlas_buf_span(&log->remembered), note)) {
        return ATLAS_OK;
    }
    /* By process: a copy of the log, which another process writes to, has the same memory and another lock. */
    snprintf(name, sizeof name, ".%.200s-%lld", log->memory_name, (long long)log->process);
    rc = replace(log, log->memory_dir, name, log->memory_dir, log->memory_name, ATLAS_DURABLE_PRIVATE, note, &cause);
    if (rc < 0) {
        char where[LOG_WHERE_MAX];
        snprintf(where, sizeof where, "%.79s", log->memory);
        return atlas_error_set(error, rc, where, "the newest head cannot be remembered: %s", cause.text);
    }
    atlas_buf_clear(&log->remembered);
    atlas_buf_append(&log->remembered, note);
    return atlas_buf_check(&log->remembered, error);
}
