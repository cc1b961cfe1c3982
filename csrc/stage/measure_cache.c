#include "stage/measure_cache.h"

#include "port/crypto/crypto.h"

/* A file is stamped from a clock that ticks every 1 to 10 milliseconds: of one that changed so recently, a change a
 * moment later may not show. */
#define RACY_NANOSECONDS INT64_C(10000000)

/* Where nobody tells who is writing, a write call may be under way since its file was stamped: one writes 2 GiB at
 * most, for which this is a slow disk's time. */
#define UNKNOWN_NANOSECONDS (INT64_C(60) * 1000000000)

int atlas_memory_begin(struct atlas_memory *m, const struct atlas_measure_options *options, int fd,
                       const struct atlas_file_id *id, struct atlas_error *error)
{
    struct atlas_measure_cache *use = options->cache;
    *m = (struct atlas_memory){.use = NULL};
    if (use == NULL || use->cache == NULL) {
        return ATLAS_OK;
    }
    if (atlas_cache_alg(use->cache) != options->alg) {
        return atlas_error_set(error, ATLAS_E_ARG, "cache", "is of another algorithm");
    }
    use->is_false = false;
    use->files = use->checked = use->verity = 0;
    m->start = atlas_volume_clock();
    m->volume = atlas_volume_of(fd);
    m->device = id->device;
    use->is_trusted = m->volume.is_trusted;
    m->use = use->is_trusted ? use : NULL;
    return atlas_crypto_random((uint8_t *)&m->seed, sizeof m->seed, error);
}

bool atlas_memory_get(const struct atlas_memory *m, const struct atlas_file_id *id, bool flat, bool tree,
                      struct atlas_cache_hit *ret_hit)
{
    return m->use != NULL && id->device == m->device &&
           atlas_cache_get(m->use->cache, &m->volume, id, flat, tree, ret_hit);
}

bool atlas_memory_draws(const struct atlas_memory *m, uint64_t i)
{
    uint64_t h = m->seed + i * UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */
    h = (h ^ h >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    h = (h ^ h >> 27) * UINT64_C(0x94D049BB133111EB);
    return (h ^ h >> 31) % 1000000 < m->use->share;
}

struct atlas_memory_look atlas_memory_look(const struct atlas_memory *m, int fd)
{
    struct atlas_memory_look look = {.quiet = ATLAS_QUIET_NO};
    if (m->use != NULL) {
        look.at = atlas_volume_clock();
        look.quiet = atlas_volume_quiet(fd);
        look.is_verity = atlas_volume_is_verity(fd);
    }
    return look;
}

bool atlas_memory_may_keep(const struct atlas_memory *m, const struct atlas_memory_look *look,
                           const struct atlas_file_id *id)
{
    if (m->use == NULL || id->device != m->device || look->quiet == ATLAS_QUIET_NO) {
        return false;
    }
    int64_t age = look->quiet == ATLAS_QUIET_YES ? RACY_NANOSECONDS : UNKNOWN_NANOSECONDS;
    return atlas_volume_nanoseconds(id->ctime_s, id->ctime_ns) < look->at - age &&
           atlas_volume_nanoseconds(id->mtime_s, id->mtime_ns) < look->at - age;
}

bool atlas_memory_agrees(const struct atlas_cache_hit *hit, const struct atlas_measurement *measured)
{
    return (measured->flat.alg == ATLAS_ALG_NONE || hit->flat.alg == ATLAS_ALG_NONE ||
            atlas_digest_equal(&hit->flat, &measured->flat)) &&
           (measured->tree.alg == ATLAS_ALG_NONE || hit->tree.alg == ATLAS_ALG_NONE ||
            atlas_digest_equal(&hit->tree, &measured->tree));
}
