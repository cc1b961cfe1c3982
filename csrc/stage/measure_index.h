/* measure_index.h - the index of a directory, and its digests. Shared by the files of the measure stage only. */
#ifndef ATLAS_STAGE_MEASURE_INDEX_H
#define ATLAS_STAGE_MEASURE_INDEX_H

#include "port/walk.h"
#include "stage/measure.h"

/* Append the index of the files of a walk. digests: the flat digests of all files in their order, then their trees.
 * Sets flat, tree and oms of the measurement. */
int atlas_measure_write_index(const struct atlas_walk *walk, const uint8_t *digests,
                              const struct atlas_measure_options *options, struct atlas_buf *ret_index,
                              struct atlas_measurement *m, struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
