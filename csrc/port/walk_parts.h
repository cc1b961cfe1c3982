/* walk_parts.h - a walk that is put together of what several threads found. Shared by walk.c and walk_parts.c only. */
#ifndef ATLAS_PORT_WALK_PARTS_H
#define ATLAS_PORT_WALK_PARTS_H

#include "port/walk.h"

/* Move the lists of a part to the end of those of the whole. */
int atlas_walk_take_part(struct atlas_walk *walk, struct atlas_walk *part, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Bring the lists into their order. ATLAS_E_CHANGED: a path is there twice. */
int atlas_walk_sort(struct atlas_walk *walk, struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
