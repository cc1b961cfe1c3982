/* measure_walk.h - the first and the last look at a directory. Shared by the files of the measure stage only. */
#ifndef ATLAS_STAGE_MEASURE_WALK_H
#define ATLAS_STAGE_MEASURE_WALK_H

#include "port/walk.h"

/* Open the directory that is measured; a link that the caller names is followed. */
int atlas_measure_open_root(const char *path, const char *where, int *ret_root,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

/* Is everything as it was when the walk began? Only then do digests taken one after the other belong together.
 * ATLAS_E_CHANGED: no. */
int atlas_measure_check_unchanged(const char *path, const char *where, const struct atlas_walk *before,
                                  const struct atlas_span *ignore, size_t n_ignore, unsigned threads,
                                  struct atlas_error *error) ATLAS_MUST_CHECK;

/* For every link that was followed its path and its target, encoded, each ended by a NUL. */
void atlas_measure_write_links(const struct atlas_walk *walk, struct atlas_buf *ret_links);

#endif
