#include "stage/log_parts.h"

#include <stdio.h>
#include <stdlib.h>

/* From a stage to public names: files are written and flushed under a temporary name, many of them by several threads,
 * linked to their own, and then their directories are flushed, each once. */

#define THREADS 8u

static void temporary(uint64_t i, char out[32])
{
    snprintf(out, 32, "tmp-%llu", (unsigned long long)i);
}

/* The directory part of a tile's path, into a buffer of that size. */
static void directory_of(const char *path, char out[ATLAS_TILE_PATH_MAX])
{
    snprintf(out, ATLAS_TILE_PATH_MAX, "%s", path);
    char *slash = strrchr(out, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
}

static int sync_directory(const struct atlas_log *log, const char *path, struct atlas_error *error)
{
    char where[LOG_WHERE_MAX];
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    log_where(log, path, where);
    ATLAS_TRY(atlas_file_open_directory(log->root, path[0] != '\0' ? path : ".", false, where, &fd, error));
    ATLAS_TRY(atlas_durable_sync(fd, where, error));
out:
    atlas_file_close(&fd);
    return rc;
}

/* Make the directory and all above it; a new name is flushed before anything is put below it. again: also one that is
 * there, since a crash may have left it so. */
static int make_directories(const struct log_apply *a, const char *path, struct atlas_error *error)
{
    char part[ATLAS_TILE_PATH_MAX];
    char above[ATLAS_TILE_PATH_MAX] = "";
    char where[LOG_WHERE_MAX];
    int rc = ATLAS_OK;
    for (size_t i = 0;; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            bool made = false;
            memcpy(part, path, i);
            part[i] = '\0';
            log_where(a->log, part, where);
            ATLAS_TRY(atlas_durable_mkdir(a->log->root, part, where, &made, error));
            if (made || a->again) {
                ATLAS_TRY(sync_directory(a->log, above, error));
            }
            memcpy(above, part, i + 1);
        }
        if (path[i] == '\0') {
            break;
        }
    }
out:
    return rc;
}

typedef int (*directory_act)(const struct log_apply *a, const char *path, struct atlas_error *error);

/* Calls `act` for every directory that gets files; those of neighbours are the same. */
static int each_directory(const struct log_apply *a, directory_act act, struct atlas_error *error)
{
    char last[ATLAS_TILE_LEVELS + 1][ATLAS_TILE_PATH_MAX] = {""}; /* of each level, and of bundles */
    char path[ATLAS_TILE_PATH_MAX];
    for (size_t i = 0; i < a->n; i++) {
        directory_of(a->files[i].path, path);
        unsigned level = a->files[i].tile.level;
        char *mine = last[level < ATLAS_TILE_LEVELS ? level : ATLAS_TILE_LEVELS];
        if (strcmp(path, mine) == 0) {
            continue;
        }
        int rc = act(a, path, error);
        if (rc < 0) {
            return rc;
        }
        memcpy(mine, path, sizeof last[0]);
    }
    return ATLAS_OK;
}

static int flush_directory(const struct log_apply *a, const char *path, struct atlas_error *error)
{
    return sync_directory(a->log, path, error);
}

/* A file that has the name already must be the same; a crash left it, and its bytes are on the disk. */
static int compare(const struct log_apply *a, const struct log_file *file, struct atlas_error *error)
{
    struct atlas_buf there = ATLAS_BUF_INIT;
    char where[LOG_WHERE_MAX];
    int rc;
    log_where(a->log, file->path, where);
    ATLAS_TRY(log_read(a->log, a->log->root, file->path, file->bytes.n, &there, error));
    if (!atlas_span_equal(atlas_buf_span(&there), file->bytes)) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_TILE, where, "is not the file that was committed under this name"));
    }
out:
    atlas_buf_release(&there);
    if (rc == ATLAS_E_LIMIT && error != NULL) {
        error->code = rc = ATLAS_E_TILE;
    }
    return rc;
}

static int begin(const struct log_apply *a, uint64_t i, int *ret_fd, struct atlas_error *error)
{
    const struct log_file *file = &a->files[i];
    char name[32];
    char where[LOG_WHERE_MAX];
    temporary(i, name);
    log_where(a->log, file->path, where);
    return atlas_durable_begin(a->log->state, name, ATLAS_DURABLE_FIXED, &file->bytes, 1, where, ret_fd, error);
}

/* The file is on the disk: now it gets its name. */
static int link_file(const struct log_apply *a, uint64_t i, struct atlas_error *error)
{
    const struct log_file *file = &a->files[i];
    char name[32];
    char where[LOG_WHERE_MAX];
    bool exists = false;
    int rc;
    temporary(i, name);
    log_where(a->log, file->path, where);
    ATLAS_TRY(atlas_durable_link(a->log->state, name, a->log->root, file->path, where, &exists, error));
    ATLAS_TRY(atlas_durable_remove(a->log->state, name, false, where, error));
    if (exists) {
        ATLAS_TRY(compare(a, file, error));
    }
out:
    return rc;
}

static int place(void *context, unsigned worker, uint64_t i, struct atlas_error *error)
{
    const struct log_apply *a = context;
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    (void)worker;
    ATLAS_TRY(begin(a, i, &fd, error));
    ATLAS_TRY(atlas_durable_finish(&fd, a->files[i].path, error));
    ATLAS_TRY(link_file(a, i, error));
out:
    return rc;
}

static size_t count_files(struct log_stage stage)
{
    struct log_file file;
    size_t n = 0;
    while (log_stage_next(&stage, &file)) {
        n++;
    }
    return n;
}

int log_apply_init(struct log_apply *a, const struct atlas_log *log, const struct log_stage *stage, bool again,
                   struct atlas_error *error)
{
    struct log_stage rest = *stage;
    *a = (struct log_apply){.log = log, .n = count_files(rest), .again = again};
    a->files = calloc(a->n + 1, sizeof *a->files);
    if (a->files == NULL) {
        return atlas_error_set(error, ATLAS_E_NOMEM, "log", "out of memory");
    }
    for (size_t i = 0; i < a->n; i++) {
        log_stage_next(&rest, &a->files[i]);
    }
    return ATLAS_OK;
}

void log_apply_release(struct log_apply *a)
{
    for (size_t i = 0; i < a->n_begun; i++) {
        atlas_file_close(&a->fds[i]);
    }
    free(a->files);
}

int log_apply_begin(struct log_apply *a, struct atlas_error *error)
{
    if (a->n > LOG_FEW) {
        return ATLAS_OK;
    }
    for (; a->n_begun < a->n; a->n_begun++) {
        int rc = begin(a, a->n_begun, &a->fds[a->n_begun], error);
        if (rc < 0) {
            return rc;
        }
    }
    return ATLAS_OK;
}

int log_apply_flush(struct log_apply *a, struct atlas_error *error)
{
    for (size_t i = 0; i < a->n_begun; i++) {
        int rc = atlas_durable_finish(&a->fds[i], a->files[i].path, error);
        if (rc < 0) {
            return rc;
        }
    }
    a->is_flushed = a->n_begun == a->n;
    return ATLAS_OK;
}

int log_apply_finish(struct log_apply *a, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(each_directory(a, make_directories, error));
    if (a->is_flushed) {
        for (size_t i = 0; i < a->n; i++) {
            ATLAS_TRY(link_file(a, i, error));
        }
    } else {
        ATLAS_TRY(atlas_pool_for(THREADS, a->n, place, a, error));
    }
    ATLAS_TRY(each_directory(a, flush_directory, error));
out:
    return rc;
}

/* --------------------------------------------------------------------------------------------------- tidy */

/* Whatever goes wrong here costs some disk space. */
static void remove_partials(const struct atlas_log *log, const char *path)
{
    struct atlas_buf names = ATLAS_BUF_INIT;
    int fd = ATLAS_FILE_CLOSED;
    size_t n = 0;
    if (atlas_file_open_directory(log->root, path, false, path, &fd, NULL) == ATLAS_OK &&
        atlas_file_list(fd, path, ATLAS_TILE_WIDTH, &names, &n, NULL) == ATLAS_OK) {
        const char *name = (const char *)names.p;
        for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
            if (atlas_durable_remove(fd, name, false, path, NULL) < 0) {
                break;
            }
        }
        if (atlas_durable_remove(log->root, path, true, path, NULL) < 0) {
            n = 0; /* not empty: somebody else's file is in it */
        }
    }
    atlas_buf_release(&names);
    atlas_file_close(&fd);
}

/* Only the first full tile of a level can have been partial before. */
void log_stage_tidy(const struct atlas_log *log, const struct log_stage *stage)
{
    bool seen[ATLAS_TILE_ENTRIES + 1] = {false};
    char path[ATLAS_TILE_PATH_MAX];
    struct log_stage rest = *stage;
    struct log_file file;
    while (log_stage_next(&rest, &file)) {
        if (file.tile.width == ATLAS_TILE_WIDTH && !seen[file.tile.level]) {
            seen[file.tile.level] = true;
            atlas_tile_partials_path(&file.tile, path);
            remove_partials(log, path);
        }
    }
}
