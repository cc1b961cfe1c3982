/* walk_parts.h - a walk that is put together of what several threads found. Shared by walk.c and walk_parts.c only. */
#ifndef ATLAS_PORT_WALK_PARTS_H
#define ATLAS_PORT_WALK_PARTS_H

#include "port/walk.h"

/* By path; what a thread does with its part, so that the parts need only be merged. */
void atlas_walk_sort_files(struct atlas_walk *walk);

/* Take over the lists of another part; the files of both are sorted. */
int atlas_walk_take_part(struct atlas_walk *walk, struct atlas_walk *part, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Bring the links into their order. ATLAS_E_CHANGED: a path is there twice. */
int atlas_walk_finish(struct atlas_walk *walk, struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
