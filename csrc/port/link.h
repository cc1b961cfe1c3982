/*
 * link.h - what a symbolic link below a directory means, without ever following one that leads out of it.
 *
 * Inside is the root; and, when the root is in the `snapshots/` of a Hugging Face cache repository, a regular file in
 * the `blobs/` of the same repository. Every step is looked at before it is taken, so links to links, loops and a
 * directory that is exchanged for a link meanwhile are all seen.
 */
#ifndef ATLAS_PORT_LINK_H
#define ATLAS_PORT_LINK_H

#include "port/file.h"

struct atlas_link_scope {
    int root;  /* borrowed */
    int blobs; /* of the cache repository that the root is in, once a link led there */
    size_t up; /* how many levels above the root that repository is */
};

#define ATLAS_LINK_SCOPE(root) ((struct atlas_link_scope){(root), ATLAS_FILE_CLOSED, 0})

struct atlas_link {
    char real[ATLAS_MAX_PATH_BYTES + 1]; /* free of links; relative to the root, or to blobs */
    bool is_blob;
    struct atlas_file_id id; /* of a regular file; for a directory only its type is set */
};

/* Resolve the target of the link `path` (named in errors), which is in `directory` (relative to the root, free of
 * links). ATLAS_E_REFUSED: it leads out, nowhere, in a circle, or to something that is never measured. */
int atlas_link_resolve(struct atlas_link_scope *scope, const char *path, const char *directory,
                       struct atlas_span target, struct atlas_link *ret_link,
                       struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_link_scope_release(struct atlas_link_scope *scope);

#endif
