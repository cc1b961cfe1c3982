#include "stage/log_parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/path.h"

#define VERSION ATLAS_LIT("atlas-log 1\n")

void log_where(const struct atlas_log *log, const char *name, char out[LOG_WHERE_MAX])
{
    struct atlas_buf path = ATLAS_BUF_INIT;
    atlas_buf_append(&path, atlas_span_str(log->path));
    atlas_buf_append_u8(&path, '/');
    atlas_buf_append(&path, atlas_span_of(name, strlen(name) + 1));
    if (atlas_buf_check(&path, NULL) == ATLAS_OK) {
        atlas_path_where((const char *)path.p, false, out, LOG_WHERE_MAX);
    } else {
        snprintf(out, LOG_WHERE_MAX, "%.79s", name);
    }
    atlas_buf_release(&path);
}

/* -------------------------------------------------------------------------------------------- open, close */

static char *copy_text(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = malloc(n);
    if (copy != NULL) {
        memcpy(copy, text, n);
    }
    return copy;
}

static int open_keys(struct atlas_log *log, const struct atlas_log_options *options, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(atlas_note_key_parse(options->vkey, &log->key, error));
    if (log->key.kind != ATLAS_NOTE_ED25519) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_KEY, "verifier key", "is not one that signs checkpoints"));
    }
    if (options->secret.n != 0) {
        ATLAS_TRY(atlas_note_signer_new(options->secret, &log->signer, error));
        const struct atlas_note_key *own = atlas_note_signer_key(log->signer);
        if (memcmp(own->id, log->key.id, ATLAS_NOTE_ID) != 0 ||
            !atlas_span_equal(atlas_note_key_name(own), atlas_note_key_name(&log->key)) ||
            !atlas_span_equal(atlas_span_of(own->spki, own->n_spki), atlas_span_of(log->key.spki, log->key.n_spki))) {
            ATLAS_TRY(atlas_error_set(error, ATLAS_E_KEY, "private key", "is not the one of this log"));
        }
    }
out:
    return rc;
}

/* The folder of the memory, and the name in it. */
static int open_memory(struct atlas_log *log, struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    char *slash = strrchr(log->memory, '/');
    int rc;
    atlas_path_where(log->memory, false, where, sizeof where);
    log->memory_name = slash != NULL ? slash + 1 : log->memory;
    if (log->memory_name[0] == '\0') {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, where, "is a folder; the memory is a file"));
    }
    if (slash != NULL) {
        *slash = '\0';
    }
    rc = atlas_file_open_directory(ATLAS_FILE_CWD, slash == NULL ? "." : slash == log->memory ? "/" : log->memory,
                                   true, where, &log->memory_dir, error);
    if (slash != NULL) {
        *slash = '/';
    }
out:
    return rc;
}

static int check_volume(struct atlas_log *log, struct atlas_error *error)
{
    log->volume = atlas_volume_kind(log->root);
    if (log->volume == ATLAS_VOLUME_SHARED) {
        return atlas_error_set(error, ATLAS_E_VOLUME, log->path,
                               "lies on a file system of a network or of a program, where locks and flushes cannot be "
                               "relied on: keep it on a local disk");
    }
    return ATLAS_OK;
}

const char *atlas_log_warning(const struct atlas_log *log)
{
    switch (log->volume) {
    case ATLAS_VOLUME_DURABLE:
        return "";
    case ATLAS_VOLUME_MEMORY:
        return "the log lies in memory: it is gone when the machine stops";
    case ATLAS_VOLUME_LAYERED:
        return "the log lies on an overlay, as in a container: it is as durable as what is below it, and is gone when "
               "the container is removed";
    default:
        return "the log lies on a file system of which it is not known that it keeps what was flushed";
    }
}

/* All but the state of the folder. */
static int log_new(const struct atlas_log_options *options, struct atlas_log **ret_log, struct atlas_error *error)
{
    struct atlas_log *log = calloc(1, sizeof *log);
    int rc;
    if (log == NULL) {
        atlas_error_set(error, ATLAS_E_NOMEM, "log", "out of memory");
        return ATLAS_E_NOMEM;
    }
    log->root = log->state = log->memory_dir = log->lock = ATLAS_FILE_CLOSED;
    log->wait_ms = options->wait_ms;
    log->process = atlas_pool_process();
    log->path = copy_text(options->path);
    log->memory = copy_text(options->memory);
    if (log->path == NULL || log->memory == NULL) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_NOMEM, "log", "out of memory"));
    }
    ATLAS_TRY(atlas_monitor_new(&log->monitor, error));
    ATLAS_TRY(open_keys(log, options, error));
    ATLAS_TRY(open_memory(log, error));
    *ret_log = log;
    log = NULL;
out:
    atlas_log_close(log);
    return rc;
}

void atlas_log_forked(struct atlas_log *log)
{
    atlas_file_close(&log->lock); /* closed, not unlocked: it is the parent's */
}

void atlas_log_close(struct atlas_log *log)
{
    if (log == NULL) {
        return;
    }
    atlas_file_close(&log->lock);
    atlas_file_close(&log->root);
    atlas_file_close(&log->state);
    atlas_file_close(&log->memory_dir);
    if (log->process != atlas_pool_process()) {
        return; /* a child of fork: what a thread that is not there was changing is left alone */
    }
    atlas_monitor_free(log->monitor);
    log_tree_free(log->tree);
    atlas_note_signer_free(log->signer);
    atlas_buf_release(&log->bundle);
    free(log->path);
    free(log->memory);
    free(log);
}

/* ------------------------------------------------------------------------------------------ lock and turns */

int log_lock(struct atlas_log *log, struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    log_where(log, ".state/lock", where);
    return atlas_durable_lock(log->state, "lock", log->wait_ms, where, &log->lock, error);
}

void log_unlock(struct atlas_log *log)
{
    atlas_durable_unlock(&log->lock);
}

int log_check_process(const struct atlas_log *log, struct atlas_error *error)
{
    if (log->process != atlas_pool_process()) {
        return atlas_error_set(error, ATLAS_E_BUSY, "log", "was opened before a fork: open it again in this process");
    }
    return ATLAS_OK;
}

void log_enter(struct atlas_log *log)
{
    atlas_monitor_enter(log->monitor);
    while (log->is_busy) {
        atlas_monitor_wait(log->monitor);
    }
    log->is_busy = true;
    atlas_monitor_leave(log->monitor);
}

void log_leave(struct atlas_log *log)
{
    atlas_monitor_enter(log->monitor);
    log->is_busy = false;
    atlas_monitor_wake(log->monitor);
    atlas_monitor_leave(log->monitor);
}

struct log_tree *log_hold_tree(struct atlas_log *log)
{
    atlas_monitor_enter(log->monitor);
    struct log_tree *tree = log->tree;
    tree->refs++;
    atlas_monitor_leave(log->monitor);
    return tree;
}

void log_drop_tree(struct atlas_log *log, struct log_tree *tree)
{
    atlas_monitor_enter(log->monitor);
    bool last = --tree->refs == 0;
    atlas_monitor_leave(log->monitor);
    if (last) {
        log_tree_free(tree);
    }
}

void log_set_tree(struct atlas_log *log, struct log_tree *tree)
{
    atlas_monitor_enter(log->monitor);
    struct log_tree *old = log->tree;
    tree->refs = 1;
    log->tree = tree;
    bool last = old != NULL && --old->refs == 0;
    atlas_monitor_leave(log->monitor);
    if (last) {
        log_tree_free(old);
    }
}

/* ---------------------------------------------------------------------------------------------- functions */

static int check_version(const struct atlas_log *log, struct atlas_error *error)
{
    struct atlas_buf version = ATLAS_BUF_INIT;
    struct atlas_error cause = ATLAS_ERROR_INIT;
    int rc = log_read(log, log->state, "version", 256, &version, &cause);
    if (rc < 0) {
        rc = atlas_error_set(error, rc == ATLAS_E_NOT_FOUND ? ATLAS_E_LOG : rc, log->path,
                             "is no log: .state/version %s", cause.text);
    } else if (!atlas_span_equal(atlas_buf_span(&version), VERSION)) {
        rc = atlas_error_set(error, ATLAS_E_UNSUPPORTED, log->path, "is a log of another version");
    }
    atlas_buf_release(&version);
    return rc;
}

int atlas_log_open(const struct atlas_log_options *options, struct atlas_log **ret_log, struct atlas_error *error)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    struct atlas_log *log = NULL;
    int rc;
    ATLAS_TRY(log_new(options, &log, error));
    ATLAS_TRY(atlas_file_open_directory(ATLAS_FILE_CWD, log->path, true, log->path, &log->root, error));
    rc = atlas_file_open_directory(log->root, ".state", false, log->path, &log->state, &cause);
    if (rc < 0) {
        ATLAS_TRY(atlas_error_set(error, rc == ATLAS_E_NOT_FOUND ? ATLAS_E_LOG : rc, log->path,
                                  "is no log: .state: %s", cause.text));
    }
    ATLAS_TRY(check_volume(log, error));
    ATLAS_TRY(check_version(log, error));
    ATLAS_TRY(atlas_log_refresh(log, error));
    *ret_log = log;
    log = NULL;
out:
    atlas_log_close(log);
    return rc;
}

int atlas_log_refresh(struct atlas_log *log, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(log_check_process(log, error));
    log_enter(log);
    rc = log_lock(log, error);
    if (rc == ATLAS_OK) {
        rc = log_adopt(log, error);
        log_unlock(log);
    }
    log_leave(log);
out:
    return rc;
}

int atlas_log_head(struct atlas_log *log, uint64_t *ret_size, uint8_t ret_root[ATLAS_NOTE_ROOT],
                   struct atlas_buf *ret_note, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(log_check_process(log, error));
    struct log_tree *tree = log_hold_tree(log);
    atlas_buf_append(ret_note, atlas_buf_span(&tree->note));
    rc = atlas_buf_check(ret_note, error);
    if (rc == ATLAS_OK) {
        *ret_size = tree->size;
        memcpy(ret_root, tree->root.b, ATLAS_NOTE_ROOT);
    }
    log_drop_tree(log, tree);
out:
    return rc;
}

/* ----------------------------------------------------------------------------------------------- publish */

static int publish(struct atlas_log *log, struct atlas_span note, struct atlas_error *error)
{
    struct log_head given = {0};
    struct log_head own = {0};
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    ATLAS_TRY(log_adopt(log, error));
    ATLAS_TRY(log_head_open(log, note, "checkpoint", &given, error));
    ATLAS_TRY(log_head_open(log, atlas_buf_span(&log->tree->note), "head", &own, error));
    if (!atlas_span_equal(given.text, own.text)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, "checkpoint", "is not that of the log's head"));
    }
    log->is_broken = true; /* until it is known to be on the disk */
    ATLAS_TRY(log_checkpoint_begin(log, note, &fd, error));
    ATLAS_TRY(log_checkpoint_publish(log, &fd, error));
    log->is_broken = false;
out:
    return rc;
}

int atlas_log_publish(struct atlas_log *log, struct atlas_span note, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(log_check_process(log, error));
    log_enter(log);
    rc = log_lock(log, error);
    if (rc == ATLAS_OK) {
        rc = publish(log, note, error);
        log_unlock(log);
    }
    log_leave(log);
out:
    return rc;
}

/* -------------------------------------------------------------------------------------------------- init */

/* Nothing but what an init that was cut off may have left. */
static int check_new(struct atlas_log *log, struct atlas_error *error)
{
    struct atlas_buf names = ATLAS_BUF_INIT;
    struct atlas_file_id id;
    size_t n = 0;
    int rc = atlas_file_list(log->root, log->path, 1, &names, &n, NULL);
    bool is_new = rc == ATLAS_OK && (n == 0 || strcmp((const char *)names.p, ".state") == 0) &&
                  atlas_file_stat(log->root, ".state/head", false, "", &id, NULL) == ATLAS_E_NOT_FOUND;
    atlas_buf_release(&names);
    if (!is_new) {
        return atlas_error_set(error, ATLAS_E_ARG, log->path, "is not empty: a log begins in a folder of its own");
    }
    if (atlas_file_stat(log->memory_dir, log->memory_name, false, "", &id, NULL) != ATLAS_E_NOT_FOUND) {
        return atlas_error_set(error, ATLAS_E_ARG, log->path, "a head of a log of this origin is remembered already");
    }
    return ATLAS_OK;
}

static int write_state(struct atlas_log *log, const struct atlas_log_options *options, struct atlas_error *error)
{
    const struct {
        const char *name;
        struct atlas_span bytes;
    } files[] = {{"version", VERSION}, {"origin", atlas_note_key_name(&log->key)}, {"vkey", options->vkey}};
    int rc = ATLAS_OK;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        ATLAS_TRY(atlas_durable_write(log->state, files[i].name, ATLAS_DURABLE_PUBLIC, &files[i].bytes, 1, log->path,
                                      error));
    }
    ATLAS_TRY(atlas_durable_sync(log->state, log->path, error));
out:
    return rc;
}

/* The folder and .state, made where they are missing, on the disk. */
static int make_folders(struct atlas_log *log, struct atlas_error *error)
{
    int parent = ATLAS_FILE_CLOSED;
    bool made = false;
    int rc;
    ATLAS_TRY(atlas_durable_mkdir(ATLAS_FILE_CWD, log->path, log->path, &made, error));
    ATLAS_TRY(atlas_file_open_directory(ATLAS_FILE_CWD, log->path, true, log->path, &log->root, error));
    ATLAS_TRY(atlas_file_open_directory(log->root, "..", false, log->path, &parent, error));
    ATLAS_TRY(atlas_durable_sync(parent, log->path, error));
    ATLAS_TRY(check_volume(log, error));
    ATLAS_TRY(check_new(log, error));
    ATLAS_TRY(atlas_durable_mkdir(log->root, ".state", log->path, &made, error));
    ATLAS_TRY(atlas_durable_sync(log->root, log->path, error));
    ATLAS_TRY(atlas_file_open_directory(log->root, ".state", false, log->path, &log->state, error));
out:
    atlas_file_close(&parent);
    return rc;
}

int atlas_log_init(const struct atlas_log_options *options, struct atlas_error *error)
{
    struct atlas_buf note = ATLAS_BUF_INIT;
    struct atlas_log *log = NULL;
    struct atlas_digest root;
    int head = ATLAS_FILE_CLOSED;
    int checkpoint = ATLAS_FILE_CLOSED;
    int memory = ATLAS_FILE_CLOSED;
    int rc;
    ATLAS_TRY(log_new(options, &log, error));
    if (log->signer == NULL) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, "private key", "a log cannot begin without one"));
    }
    ATLAS_TRY(make_folders(log, error));
    ATLAS_TRY(log_lock(log, error));
    ATLAS_TRY(check_new(log, error));
    ATLAS_TRY(write_state(log, options, error));
    ATLAS_TRY(atlas_crypto_digest(ATLAS_SHA256, ATLAS_SPAN_NONE, &root, error));
    ATLAS_TRY(log_head_sign(log, 0, &root, &note, error));
    ATLAS_TRY(log_head_begin(log, atlas_buf_span(&note), &head, error));
    ATLAS_TRY(log_head_commit(log, &head, error));
    ATLAS_TRY(log_checkpoint_begin(log, atlas_buf_span(&note), &checkpoint, error));
    ATLAS_TRY(log_memory_begin(log, atlas_buf_span(&note), &memory, error));
    ATLAS_TRY(log_checkpoint_publish(log, &checkpoint, error));
    ATLAS_TRY(log_memory_finish(log, &memory, error));
out:
    atlas_file_close(&head);
    atlas_file_close(&checkpoint);
    atlas_file_close(&memory);
    if (log != NULL) {
        log_unlock(log);
    }
    atlas_log_close(log);
    atlas_buf_release(&note);
    return rc;
}
