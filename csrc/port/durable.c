#include "port/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "port/pool.h"

static int fail(struct atlas_error *error, const char *where, const char *what)
{
    int number = errno;
    char text[128];
    const char *reason = strerror_r(number, text, sizeof text);
    int code = number == ENOENT ? ATLAS_E_NOT_FOUND : number == ENOMEM ? ATLAS_E_NOMEM : ATLAS_E_IO;
    return atlas_error_set(error, code, where, "%s: %s", what, reason);
}

/* ------------------------------------------------------------------------------------------------- files */

static int write_all(int fd, struct atlas_span bytes, const char *where, struct atlas_error *error)
{
    while (bytes.n != 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return fail(error, where, "cannot be written");
        }
        bytes = atlas_span_sub(bytes, (size_t)n, bytes.n - (size_t)n);
    }
    return ATLAS_OK;
}

int atlas_durable_sync(int fd, const char *where, struct atlas_error *error)
{
    int rc;
    do {
        rc = fsync(fd); /* EINTR: nothing was tried; any other error is final */
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? ATLAS_OK : fail(error, where, "cannot be flushed to the disk");
}

int atlas_durable_begin(int dir, const char *name, enum atlas_durable_mode mode, const struct atlas_span *pieces,
                        size_t n, const char *where, int *ret_fd, struct atlas_error *error)
{
    int rc;
    int fd = ATLAS_FILE_CLOSED;
    ATLAS_TRY(atlas_durable_remove(dir, name, false, where, error));
    fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    if (fd < 0) {
        ATLAS_TRY(fail(error, where, "cannot be made"));
    }
    for (size_t i = 0; i < n; i++) {
        ATLAS_TRY(write_all(fd, pieces[i], where, error));
    }
    /* A hint: errors come out of the flush. Blocks are given to the file now, so that one transaction of the journal
     * has all files that are begun together. */
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    *ret_fd = fd;
    fd = ATLAS_FILE_CLOSED;
out:
    atlas_file_close(&fd);
    return rc;
}

int atlas_durable_finish(int *fd, const char *where, struct atlas_error *error)
{
    int rc;
    ATLAS_TRY(atlas_durable_sync(*fd, where, error));
    int closed = close(*fd);
    *fd = ATLAS_FILE_CLOSED;
    if (closed != 0 && errno != EINTR) {
        ATLAS_TRY(fail(error, where, "cannot be written"));
    }
out:
    atlas_file_close(fd);
    return rc;
}

int atlas_durable_write(int dir, const char *name, enum atlas_durable_mode mode, const struct atlas_span *pieces,
                        size_t n, const char *where, struct atlas_error *error)
{
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    ATLAS_TRY(atlas_durable_begin(dir, name, mode, pieces, n, where, &fd, error));
    ATLAS_TRY(atlas_durable_finish(&fd, where, error));
out:
    return rc;
}

/* ------------------------------------------------------------------------------------------------- names */

int atlas_durable_link(int from_dir, const char *from, int to_dir, const char *to, const char *where, bool *ret_exists,
                       struct atlas_error *error)
{
    int rc = linkat(from_dir, from, to_dir, to, 0);
    if (rc != 0 && errno != EEXIST) {
        return fail(error, where, "cannot get its name");
    }
    *ret_exists = rc != 0;
    return ATLAS_OK;
}

int atlas_durable_rename(int from_dir, const char *from, int to_dir, const char *to, const char *where,
                         struct atlas_error *error)
{
    return renameat(from_dir, from, to_dir, to) == 0 ? ATLAS_OK : fail(error, where, "cannot be replaced");
}

int atlas_durable_remove(int dir, const char *name, bool is_directory, const char *where, struct atlas_error *error)
{
    if (unlinkat(dir, name, is_directory ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT) {
        return fail(error, where, "cannot be removed");
    }
    return ATLAS_OK;
}

int atlas_durable_mkdir(int dir, const char *name, const char *where, bool *ret_made, struct atlas_error *error)
{
    int rc = mkdirat(dir, name, 0755);
    if (rc != 0 && errno != EEXIST) {
        return fail(error, where, "the directory cannot be made");
    }
    *ret_made = rc == 0;
    return ATLAS_OK;
}

/* -------------------------------------------------------------------------------------------------- lock */

/* Polled, so that a wait has an end: the kernel's own has none. */
static int wait_for(int fd, uint64_t end, const char *where, struct atlas_error *error)
{
    struct timespec pause = {0, 100000};
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return fail(error, where, "cannot be locked");
        }
        if (atlas_pool_clock() >= end) {
            return atlas_error_set(error, ATLAS_E_LOCKED, where, "another process holds the lock for too long");
        }
        nanosleep(&pause, NULL);
        pause.tv_nsec = pause.tv_nsec < 2000000 ? pause.tv_nsec * 2 : pause.tv_nsec;
    }
    return ATLAS_OK;
}

static bool has_name(int fd, int dir, const char *name)
{
    struct stat mine;
    struct stat named;
    return fstat(fd, &mine) == 0 && fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

int atlas_durable_lock(int dir, const char *name, uint64_t wait_ms, const char *where, int *ret_fd,
                       struct atlas_error *error)
{
    uint64_t end = atlas_pool_clock() + wait_ms;
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    do {
        atlas_durable_unlock(&fd);
        fd = openat(dir, name, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, (mode_t)ATLAS_DURABLE_PUBLIC);
        if (fd < 0) {
            ATLAS_TRY(fail(error, where, "cannot be opened"));
        }
        ATLAS_TRY(wait_for(fd, end, where, error));
    } while (!has_name(fd, dir, name));
    *ret_fd = fd;
    fd = ATLAS_FILE_CLOSED;
out:
    atlas_durable_unlock(&fd);
    return rc;
}

void atlas_durable_unlock(int *fd)
{
    if (*fd != ATLAS_FILE_CLOSED) {
        flock(*fd, LOCK_UN); /* of the open file, which a child may share: closing alone would not do */
        atlas_file_close(fd);
    }
}
