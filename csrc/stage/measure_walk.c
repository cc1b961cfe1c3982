#include "stage/measure_walk.h"

#include "base/path.h"
#include "port/volume.h"
#include "stage/measure.h"

int atlas_measure_open_root(const char *path, const char *where, int *ret_root, struct atlas_error *error)
{
    struct atlas_file_id id;
    int rc;
    ATLAS_TRY(atlas_file_stat(ATLAS_FILE_CWD, path, true, where, &id, error));
    if (id.type != ATLAS_FILE_DIRECTORY) {
        return atlas_error_set(error, ATLAS_E_REFUSED, where, "is not a directory");
    }
    ATLAS_TRY(atlas_file_open_directory(ATLAS_FILE_CWD, path, true, where, ret_root, error));
out:
    return rc;
}

static const char text[] = "changed while the directory was read";

/* The same walk once more. What it refuses now, it did not refuse before. is_listed: nothing moved while it was under
 * way. */
static int walk_once(const struct atlas_walk *before, const struct atlas_span *ignore, size_t n_ignore,
                     unsigned threads, bool *ret_is_listed, struct atlas_error *error)
{
    struct atlas_error cause = ATLAS_ERROR_INIT;
    struct atlas_walk after = ATLAS_WALK_INIT;
    char where[sizeof error->where];
    int rc = atlas_walk_run(before->scope.root, ignore, n_ignore, threads, &after, &cause);
    if (rc == ATLAS_E_REFUSED || rc == ATLAS_E_LIMIT) {
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_CHANGED, cause.where, "%s", text));
    }
    ATLAS_TRY(rc < 0 ? atlas_error_set(error, rc, cause.where, "%s", cause.text) : rc);
    const char *different = atlas_walk_difference(before, &after);
    if (different != NULL) {
        atlas_path_where(different, true, where, sizeof where);
        ATLAS_TRY(atlas_error_set(error, ATLAS_E_CHANGED, where, "%s", text));
    }
    *ret_is_listed = atlas_walk_is_listed(&after, threads);
out:
    atlas_walk_release(&after);
    return rc;
}

/* Two walks that agree can both be a mix, of directories that were exchanged and put back: one of them must have been
 * made while nothing moved. What is ignored may come and go, so there is more than one try. */
#define WALKS 5

static int walk_again(const char *where, const struct atlas_walk *before, const struct atlas_span *ignore,
                      size_t n_ignore, unsigned threads, struct atlas_error *error)
{
    bool is_listed = false;
    int rc = ATLAS_OK;
    for (int i = 0; i < WALKS && !is_listed; i++) {
        ATLAS_TRY(walk_once(before, ignore, n_ignore, threads, &is_listed, error));
    }
    if (!is_listed) {
        rc = atlas_error_set(error, ATLAS_E_CHANGED, where, "%s", text);
    }
out:
    return rc;
}

int atlas_measure_check_unchanged(const char *path, const char *where, const struct atlas_walk *before,
                                  const struct atlas_span *ignore, size_t n_ignore, unsigned threads,
                                  struct atlas_error *error)
{
    struct atlas_file_id there;
    struct atlas_file_id here;
    int rc;
    ATLAS_TRY(atlas_file_stat_fd(before->scope.root, where, &here, error));
    if (!atlas_volume_of(before->scope.root).is_trusted || !atlas_walk_is_same(before, here.device, threads)) {
        ATLAS_TRY(walk_again(where, before, ignore, n_ignore, threads, error));
    }
    if (atlas_file_stat(ATLAS_FILE_CWD, path, true, where, &there, NULL) < 0 || !atlas_file_is_same(&here, &there)) {
        return atlas_error_set(error, ATLAS_E_CHANGED, where, "was replaced while it was read");
    }
out:
    return rc;
}

void atlas_measure_write_links(const struct atlas_walk *walk, struct atlas_buf *links)
{
    for (size_t i = 0; i < walk->n_links; i++) {
        atlas_path_encode(atlas_span_str(walk->links[i].path), links);
        atlas_buf_append_u8(links, 0);
        atlas_path_encode(atlas_span_str(walk->links[i].target), links);
        atlas_buf_append_u8(links, 0);
    }
}
