/*
 * walk.h - the files of a directory, as docs/manifest.md, "Digests", lists them: closed world, ignore list, sidecars
 * left out, links followed only where they stay inside. No system calls of its own: file.h has them.
 *
 * Links are followed as link.h says and listed under their own path. Any other link, and everything that is neither a
 * regular file nor a directory, ends the walk with ATLAS_E_REFUSED. Nothing is recursive; depth, path length, number of
 * entries and links on the way to an entry are limited (ATLAS_E_LIMIT), so loops and ladders of links end.
 */
#ifndef ATLAS_PORT_WALK_H
#define ATLAS_PORT_WALK_H

#include "port/link.h"

struct atlas_walk_file {
    char *path; /* relative to the root, raw bytes */
    char *real; /* reached through a link: where the bytes are; relative to the root, or to blobs/. NULL: path */
    bool is_blob;
    struct atlas_file_id id;
};

struct atlas_walk_link {
    char *path;
    char *target; /* as the link has it */
};

/* A directory that was listed, as it was before; any later change shows. */
struct atlas_walk_directory {
    char *real; /* relative to the root */
    struct atlas_file_id id;
};

/* Owner. Both lists are sorted bytewise by path; no path is there twice. */
struct atlas_walk {
    struct atlas_link_scope scope;
    struct atlas_walk_file *files;
    size_t n_files;
    size_t cap_files;
    struct atlas_walk_link *links;
    size_t n_links;
    size_t cap_links;
    struct atlas_walk_directory *directories; /* in no order */
    size_t n_directories;
    size_t cap_directories;
};

#define ATLAS_WALK_INIT ((struct atlas_walk){.scope = ATLAS_LINK_SCOPE(ATLAS_FILE_CLOSED)})

/* Is this an entry that an ignore list may hold: a name, or a relative path? */
bool atlas_walk_ignore_check(struct atlas_span entry);

/* List the directory that `root` is open on; it is borrowed and must stay open as long as the walk. The answer, also an
 * error, does not depend on the number of threads. */
int atlas_walk_run(int root, const struct atlas_span *ignore, size_t n_ignore, unsigned threads,
                   struct atlas_walk *ret_walk, struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_walk_release(struct atlas_walk *w);

/* A path that two walks of the same directory disagree about (borrowed); NULL when they agree. */
const char *atlas_walk_difference(const struct atlas_walk *before, const struct atlas_walk *after);

/* Is every directory as it was when it was listed, so that no name has appeared, vanished or moved since? Then the walk
 * is a picture of one moment, as far as names go. */
bool atlas_walk_is_listed(const struct atlas_walk *w, unsigned threads);

/* The same, and every file is the one that was listed, in the same version: what another walk would say, for less. The
 * answer is no where there are links, or another file system than `device`. */
bool atlas_walk_is_same(const struct atlas_walk *w, uint64_t device, unsigned threads);

/* Is everything still as it was at `since` (nanoseconds on the clock that files are stamped from), with certainty?
 * Then the walk is a picture of one moment: no file had changed when it was looked at, and no directory has since.
 * Where there are links, or another file system than `device`, the answer is no. */
bool atlas_walk_is_still(const struct atlas_walk *w, uint64_t device, int64_t since);

/* Opens files of a walk one after the other, keeping the last directory open. For one thread. */
struct atlas_walk_opener {
    const struct atlas_walk *walk;
    int dir;
    struct atlas_buf path; /* of dir, with its NUL */
    bool is_blob;
};

#define ATLAS_WALK_OPENER(w) ((struct atlas_walk_opener){(w), ATLAS_FILE_CLOSED, ATLAS_BUF_INIT, false})

/* Whether it still is the file that was listed, and of what type, is for the caller to see. ATLAS_E_CHANGED: it is not
 * there any more, or is something that cannot be opened now. */
int atlas_walk_open(struct atlas_walk_opener *o, const struct atlas_walk_file *file, int *ret_fd,
                    struct atlas_error *error) ATLAS_MUST_CHECK;
void atlas_walk_opener_release(struct atlas_walk_opener *o);

#endif
