/* measure_cache.h - one measurement's use of a cache. Shared by the files of the measure stage only. */
#ifndef ATLAS_STAGE_MEASURE_CACHE_H
#define ATLAS_STAGE_MEASURE_CACHE_H

#include "stage/cache.h"
#include "stage/measure.h"

struct atlas_memory {
    struct atlas_measure_cache *use; /* NULL: none, or nothing can be trusted here */
    struct atlas_volume volume;
    uint64_t device; /* of what is measured: other file systems below it are not asked about */
    int64_t start;   /* when the measurement began, on atlas_volume_clock */
    uint64_t seed;
};

/* fd: the file, or the directory. Clears what the measurement writes. ATLAS_E_ARG: a cache of another algorithm. */
int atlas_memory_begin(struct atlas_memory *m, const struct atlas_measure_options *options, int fd,
                       const struct atlas_file_id *id, struct atlas_error *error) ATLAS_MUST_CHECK;

bool atlas_memory_get(const struct atlas_memory *m, const struct atlas_file_id *id, bool flat, bool tree,
                      struct atlas_cache_hit *ret_hit);

/* Is the i-th file that is known to be read all the same? Nobody can foresee it. */
bool atlas_memory_draws(const struct atlas_memory *m, uint64_t i);

/* An open file before it is read. */
struct atlas_memory_look {
    enum atlas_quiet quiet;
    int64_t at;
    bool is_verity;
};

struct atlas_memory_look atlas_memory_look(const struct atlas_memory *m, int fd);

/* May its digest be remembered, if it was in this version before and after it was read? Only if any later change must
 * show in its times. */
bool atlas_memory_may_keep(const struct atlas_memory *m, const struct atlas_memory_look *look,
                           const struct atlas_file_id *id);

/* Is the digest that was just taken the one that was known? */
bool atlas_memory_agrees(const struct atlas_cache_hit *hit, const struct atlas_measurement *measured);

#endif
