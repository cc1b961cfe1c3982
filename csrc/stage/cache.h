/*
 * cache.h - digests of files that were measured before, by what the file system says of them (docs/measure.md).
 *
 * The key is volume, device, inode, size, and the times of change of content, of anything, and of birth; the algorithm
 * is the cache's. An entry says: the file in exactly this version has these digests. Whoever puts one in has to know
 * that any later change will show in the times.
 *
 * Saved, a cache is one piece of bytes under an HMAC with the user's key, bound to one start of the machine. What does
 * not verify is empty: a cache can be lost, never forged.
 */
#ifndef ATLAS_STAGE_CACHE_H
#define ATLAS_STAGE_CACHE_H

#include "base/buf.h"
#include "base/error.h"
#include "port/volume.h"

#define ATLAS_CACHE_MAX_ENTRIES 2000000u /* about 256 MiB; a cache that would grow beyond starts anew */
#define ATLAS_CACHE_KEY_SIZE 32u

/* Owner. May be asked by many threads at once; everything else is for one. */
struct atlas_cache;

enum atlas_cache_state {
    ATLAS_CACHE_EMPTY = 0,  /* nothing was saved */
    ATLAS_CACHE_SOUND = 1,
    ATLAS_CACHE_OLD = 2,    /* from before the machine was started, or of another version: empty */
    ATLAS_CACHE_DAMAGED = 3 /* not what was saved, or not with this key: empty */
};

/* boot: what tells this start of the machine from others; not empty. saved may be empty. */
int atlas_cache_new(int alg, struct atlas_span key, struct atlas_span boot, struct atlas_span saved,
                    struct atlas_cache **ret_cache, enum atlas_cache_state *ret_state,
                    struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_cache_free(struct atlas_cache *c);

int atlas_cache_alg(const struct atlas_cache *c);

/* What a file in this version has; a digest that is not known is absent. flat and tree: what the caller needs. */
struct atlas_cache_hit {
    struct atlas_digest flat;
    struct atlas_digest tree;
    bool is_verity; /* the kernel guarded its bytes when it was measured */
};

bool atlas_cache_get(const struct atlas_cache *c, const struct atlas_volume *volume, const struct atlas_file_id *id,
                     bool flat, bool tree, struct atlas_cache_hit *ret_hit);

/* Remember; what was known of the same version stays. */
int atlas_cache_put(struct atlas_cache *c, const struct atlas_volume *volume, const struct atlas_file_id *id,
                    const struct atlas_cache_hit *hit, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Take over the entries of what another process saved meanwhile. What does not verify has none. */
int atlas_cache_merge(struct atlas_cache *c, struct atlas_span saved, struct atlas_error *error) ATLAS_MUST_CHECK;

void atlas_cache_forget(struct atlas_cache *c); /* everything */
bool atlas_cache_is_changed(const struct atlas_cache *c);
size_t atlas_cache_count(const struct atlas_cache *c);

int atlas_cache_save(const struct atlas_cache *c, struct atlas_buf *ret_saved,
                     struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
