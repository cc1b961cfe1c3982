/*
 * tile.h - the static files of a log (c2sp.org/tlog-tiles): their paths, and the encoding of entry bundles.
 *
 * A tile is up to 256 hashes of one level, a bundle up to 256 entries; narrower ones are partial and have a path of
 * their own. A bundle is its entries one after the other, each with its length before it.
 */
#ifndef ATLAS_FORMAT_TILE_H
#define ATLAS_FORMAT_TILE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/span.h"

#define ATLAS_TILE_WIDTH 256u
#define ATLAS_TILE_BITS 8u
#define ATLAS_TILE_HASH ((size_t)32)
#define ATLAS_TILE_BYTES (ATLAS_TILE_WIDTH * ATLAS_TILE_HASH)
#define ATLAS_TILE_LEVELS 8u /* as many as a tree below 2^63 leaves has */
#define ATLAS_TILE_ENTRIES 64u /* as the level of a bundle */
#define ATLAS_TILE_PATH_MAX 64u
#define ATLAS_MAX_LOG_ENTRY 65535u /* bytes: its length has two */

struct atlas_tile {
    unsigned level; /* 0 to 63, or ATLAS_TILE_ENTRIES */
    uint64_t index;
    unsigned width; /* 1 to 256 */
};

/* "tile/0/x001/234.p/17" and NUL. */
void atlas_tile_path(const struct atlas_tile *tile, char ret_path[ATLAS_TILE_PATH_MAX]);

/* "tile/0/x001/234.p" and NUL: where the partial tiles lie that become this one. */
void atlas_tile_partials_path(const struct atlas_tile *tile, char ret_path[ATLAS_TILE_PATH_MAX]);

/* The tile of a path in its one form. */
bool atlas_tile_read_path(struct atlas_span path, struct atlas_tile *ret_tile);

/* Append an entry to a bundle; it is not longer than ATLAS_MAX_LOG_ENTRY. */
void atlas_bundle_append(struct atlas_buf *bundle, struct atlas_span entry);

/* Cut the next entry off the front of a bundle; false at its end, and when it ends inside an entry. */
bool atlas_bundle_next(struct atlas_span *bundle, struct atlas_span *ret_entry);

#endif
