/*
 * file.h - all file system calls. Descriptors are close-on-exec, nothing blocks on a FIFO or a device, and only regular
 * files and directories are ever opened.
 *
 * `where` names the file in errors. Codes: ATLAS_E_NOT_FOUND not there, ATLAS_E_REFUSED of a type that is never opened,
 * ATLAS_E_NOMEM, ATLAS_E_IO the rest.
 */
#ifndef ATLAS_PORT_FILE_H
#define ATLAS_PORT_FILE_H

#include "base/buf.h"
#include "base/error.h"

enum atlas_file_type {
    ATLAS_FILE_NONE = 0,
    ATLAS_FILE_REGULAR,
    ATLAS_FILE_DIRECTORY,
    ATLAS_FILE_LINK,
    ATLAS_FILE_OTHER, /* device, FIFO, socket */
};

/* Which file, and which version of it: two that are equal have the same bytes, within what times can tell. They cannot
 * tell of a store through a shared mapping until the kernel writes it back, nor of what a write call does after it
 * began. */
struct atlas_file_id {
    enum atlas_file_type type;
    uint64_t device;
    uint64_t inode;
    uint64_t size;
    int64_t mtime_s;
    int64_t mtime_ns;
    int64_t ctime_s;
    int64_t ctime_ns;
    int64_t btime_s; /* birth; 0 where the file system does not know it */
    int64_t btime_ns;
};

bool atlas_file_id_equal(const struct atlas_file_id *a, const struct atlas_file_id *b);
bool atlas_file_is_same(const struct atlas_file_id *a, const struct atlas_file_id *b); /* in whatever version */

#define ATLAS_FILE_CWD (-100) /* as `dir`: names are relative to the working directory */
#define ATLAS_FILE_CLOSED (-1)

int atlas_file_stat(int dir, const char *name, bool follow, const char *where, struct atlas_file_id *ret_id,
                    struct atlas_error *error) ATLAS_MUST_CHECK;
int atlas_file_stat_fd(int fd, const char *where, struct atlas_file_id *ret_id,
                       struct atlas_error *error) ATLAS_MUST_CHECK;

/* The same, but only once the file is so old that any later change must show in its times: many kernels take them from
 * a clock that ticks every few milliseconds. Waits at most a tenth of a second. */
int atlas_file_settle(int fd, const char *where, struct atlas_file_id *ret_id,
                      struct atlas_error *error) ATLAS_MUST_CHECK;

/* Open a regular file for reading. With follow == false the last component may not be a link. */
int atlas_file_open(int dir, const char *name, bool follow, const char *where, int *ret_fd,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

/* The same for what was a regular file a moment ago and may not be a link: its type is for the caller to see. */
int atlas_file_open_again(int dir, const char *name, const char *where, int *ret_fd,
                          struct atlas_error *error) ATLAS_MUST_CHECK;

/* Open a directory. */
int atlas_file_open_directory(int dir, const char *name, bool follow, const char *where, int *ret_fd,
                              struct atlas_error *error) ATLAS_MUST_CHECK;

/* Open the directory `path` below `root`, one component after the other, none of them a link or "..". "" is root. */
int atlas_file_open_beneath(int root, const char *path, const char *where, int *ret_fd,
                            struct atlas_error *error) ATLAS_MUST_CHECK;

/* Closes *fd unless it is ATLAS_FILE_CLOSED, which it is afterwards. */
void atlas_file_close(int *fd);

/* Up to n bytes from offset; fewer only at the end of the file. The descriptor's position stays. */
int atlas_file_read(int fd, uint64_t offset, uint8_t *ret_bytes, size_t n, const char *where, size_t *ret_n,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append the target of a link, without NUL. */
int atlas_file_read_link(int dir, const char *name, const char *where, struct atlas_buf *ret_target,
                         struct atlas_error *error) ATLAS_MUST_CHECK;

/* Append the names in a directory, each ended by a NUL, in no order, without "." and "..". ATLAS_E_LIMIT: more than
 * max_names. */
int atlas_file_list(int dir, const char *where, size_t max_names, struct atlas_buf *ret_names, size_t *ret_n,
                    struct atlas_error *error) ATLAS_MUST_CHECK;

#endif
