/*
 * durable.h - writing so that it outlives the power: whole files, names, directories, and one writer at a time.
 *
 * Nothing is on the disk before the function that puts it there has returned: a file's bytes after atlas_durable_write,
 * a name (made, linked, renamed, removed) after atlas_durable_sync of its directory. After an error of any of these
 * nobody knows what the disk holds: the caller must not go on as if it could be tried again.
 *
 * Names are relative to a directory's descriptor. `where` names the file in errors. Codes: ATLAS_E_IO unless said
 * otherwise; ATLAS_E_NOT_FOUND.
 */
#ifndef ATLAS_PORT_DURABLE_H
#define ATLAS_PORT_DURABLE_H

#include "port/file.h"

enum atlas_durable_mode {
    ATLAS_DURABLE_PRIVATE = 0600,
    ATLAS_DURABLE_PUBLIC = 0644,
    ATLAS_DURABLE_FIXED = 0444, /* never written again */
};

/* Write a new file of these pieces, and start to bring it to the disk; one of that name that was left behind goes
 * first. It is there after atlas_durable_finish, which closes it; its name needs a sync. Several that were written
 * before the first is finished take the disk little longer than one. */
int atlas_durable_begin(int dir, const char *name, enum atlas_durable_mode mode, const struct atlas_span *pieces,
                        size_t n, const char *where, int *ret_fd, struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_durable_finish(int *fd, const char *where, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Both at once. */
int atlas_durable_write(int dir, const char *name, enum atlas_durable_mode mode, const struct atlas_span *pieces,
                        size_t n, const char *where, struct atlas_error *error) ATLAS_MUST_CHECK;

/* Put a file that was written before to its final name. Never replaces: *ret_exists when the name is taken. */
int atlas_durable_link(int from_dir, const char *from, int to_dir, const char *to, const char *where, bool *ret_exists,
                       struct atlas_error *error) ATLAS_MUST_CHECK;

/* The same, in place of whatever was there. */
int atlas_durable_rename(int from_dir, const char *from, int to_dir, const char *to, const char *where,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

/* Not there is no error. */
int atlas_durable_remove(int dir, const char *name, bool is_directory, const char *where,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

/* One directory; there is no error when it is there already, and *ret_made says which. */
int atlas_durable_mkdir(int dir, const char *name, const char *where, bool *ret_made,
                        struct atlas_error *error) ATLAS_MUST_CHECK;

/* Flush a file or directory that is open. */
int atlas_durable_sync(int fd, const char *where, struct atlas_error *error) ATLAS_MUST_CHECK;

/* The exclusive lock (flock) of a file, which is made where it is missing. Waits for at most wait_ms: ATLAS_E_LOCKED.
 * The lock is of the file that has the name now: one that was removed meanwhile does not count. */
int atlas_durable_lock(int dir, const char *name, uint64_t wait_ms, const char *where, int *ret_fd,
                       struct atlas_error *error) ATLAS_MUST_CHECK;

/* Lets go even where a forked child has the descriptor too. *fd is ATLAS_FILE_CLOSED afterwards. */
void atlas_durable_unlock(int *fd);

#endif
