#include "port/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

_Static_assert(ATLAS_FILE_CWD == AT_FDCWD, "the working directory is called the same");
_Static_assert(sizeof(off_t) == 8, "large files");

/* O_NONBLOCK: a FIFO or device that takes the file's place between stat and open is opened at once and then refused. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

static int fail(struct atlas_error *error, const char *where, const char *what)
{
    int number = errno;
    char text[128];
    const char *reason = strerror_r(number, text, sizeof text);
    int code = ATLAS_E_IO;
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        code = ATLAS_E_NOT_FOUND;
        break;
    case ELOOP: /* O_NOFOLLOW met a link */
    case ENXIO: /* a socket, or a device without driver */
        code = ATLAS_E_REFUSED;
        break;
    case ENOMEM:
        code = ATLAS_E_NOMEM;
        break;
    default:
        break;
    }
    return atlas_error_set(error, code, where, "%s: %s", what, reason);
}

/* -------------------------------------------------------------------------------------------------- stat */

#define STAT_MASK (STATX_BASIC_STATS | STATX_BTIME)

static enum atlas_file_type type_of(uint16_t mode)
{
    if (S_ISREG(mode)) {
        return ATLAS_FILE_REGULAR;
    }
    if (S_ISDIR(mode)) {
        return ATLAS_FILE_DIRECTORY;
    }
    return S_ISLNK(mode) ? ATLAS_FILE_LINK : ATLAS_FILE_OTHER;
}

static struct atlas_file_id id_of(const struct statx *s)
{
    bool is_born = (s->stx_mask & STATX_BTIME) != 0;
    return (struct atlas_file_id){
        .type = type_of(s->stx_mode),
        .device = (uint64_t)s->stx_dev_major << 32 | s->stx_dev_minor,
        .inode = s->stx_ino,
        .size = s->stx_size,
        .mtime_s = s->stx_mtime.tv_sec,
        .mtime_ns = s->stx_mtime.tv_nsec,
        .ctime_s = s->stx_ctime.tv_sec,
        .ctime_ns = s->stx_ctime.tv_nsec,
        .btime_s = is_born ? s->stx_btime.tv_sec : 0,
        .btime_ns = is_born ? s->stx_btime.tv_nsec : 0,
    };
}

bool atlas_file_is_same(const struct atlas_file_id *a, const struct atlas_file_id *b)
{
    return a->type == b->type && a->device == b->device && a->inode == b->inode;
}

bool atlas_file_id_equal(const struct atlas_file_id *a, const struct atlas_file_id *b)
{
    return atlas_file_is_same(a, b) && a->size == b->size && a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns &&
           a->ctime_s == b->ctime_s && a->ctime_ns == b->ctime_ns && a->btime_s == b->btime_s &&
           a->btime_ns == b->btime_ns;
}

int atlas_file_stat(int dir, const char *name, bool follow, const char *where, struct atlas_file_id *ret_id,
                    struct atlas_error *error)
{
    struct statx s;
    if (statx(dir, name, AT_NO_AUTOMOUNT | (follow ? 0 : AT_SYMLINK_NOFOLLOW), STAT_MASK, &s) != 0) {
        return fail(error, where, "cannot look at it");
    }
    *ret_id = id_of(&s);
    return ATLAS_OK;
}

int atlas_file_stat_fd(int fd, const char *where, struct atlas_file_id *ret_id, struct atlas_error *error)
{
    struct statx s;
    if (statx(fd, "", AT_EMPTY_PATH, STAT_MASK, &s) != 0) {
        return fail(error, where, "cannot look at it");
    }
    *ret_id = id_of(&s);
    return ATLAS_OK;
}

/* Did the clock that stamps files move on since the file's last change? Yes, too, for a change in the future: somebody
 * set the clock back, and waiting would not help. */
static bool is_settled(const struct atlas_file_id *id, const struct timespec *now)
{
    if (id->ctime_s != now->tv_sec) {
        return id->ctime_s < now->tv_sec || id->ctime_s > now->tv_sec + 1;
    }
    return id->ctime_ns < now->tv_nsec;
}

int atlas_file_settle(int fd, const char *where, struct atlas_file_id *ret_id, struct atlas_error *error)
{
    static const struct timespec pause = {0, 1000000};
    struct atlas_file_id id = {0};
    for (int round = 0; round < 100; round++) {
        struct timespec now;
        /* The clock first: whatever changes the file after the stat is stamped with this time or a later one. */
        if (clock_gettime(CLOCK_REALTIME_COARSE, &now) != 0) {
            return fail(error, where, "cannot read the clock");
        }
        int rc = atlas_file_stat_fd(fd, where, &id, error);
        if (rc < 0) {
            return rc;
        }
        if (is_settled(&id, &now)) {
            break;
        }
        nanosleep(&pause, NULL);
    }
    *ret_id = id;
    return ATLAS_OK;
}

/* ------------------------------------------------------------------------------------------ open, close */

static int open_retrying(int dir, const char *name, int flags)
{
    int fd;
    do {
        fd = openat(dir, name, flags);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

void atlas_file_close(int *fd)
{
    if (*fd != ATLAS_FILE_CLOSED) {
        close(*fd); /* nothing was written: no error can matter, and Linux frees the descriptor even on EINTR */
        *fd = ATLAS_FILE_CLOSED;
    }
}

static int refuse(const struct atlas_file_id *id, const char *where, struct atlas_error *error)
{
    switch (id->type) {
    case ATLAS_FILE_REGULAR:
        return ATLAS_OK;
    case ATLAS_FILE_DIRECTORY:
        return atlas_error_set(error, ATLAS_E_REFUSED, where, "is a directory");
    case ATLAS_FILE_LINK:
        return atlas_error_set(error, ATLAS_E_REFUSED, where, "is a symbolic link");
    default:
        return atlas_error_set(error, ATLAS_E_REFUSED, where, "is a device, a FIFO or a socket");
    }
}

int atlas_file_open(int dir, const char *name, bool follow, const char *where, int *ret_fd, struct atlas_error *error)
{
    struct atlas_file_id id = {0};
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    /* Looked at before it is opened: opening alone can make a device act and a FIFO's writer run on. */
    ATLAS_TRY(atlas_file_stat(dir, name, follow, where, &id, error));
    ATLAS_TRY(refuse(&id, where, error));
    fd = open_retrying(dir, name, OPEN_FLAGS | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0) {
        ATLAS_TRY(fail(error, where, "cannot open it"));
    }
    ATLAS_TRY(atlas_file_stat_fd(fd, where, &id, error));
    ATLAS_TRY(refuse(&id, where, error));
    *ret_fd = fd;
    fd = ATLAS_FILE_CLOSED;
out:
    atlas_file_close(&fd);
    return rc;
}

int atlas_file_open_again(int dir, const char *name, const char *where, int *ret_fd, struct atlas_error *error)
{
    int fd = open_retrying(dir, name, OPEN_FLAGS | O_NOFOLLOW);
    if (fd < 0) {
        return fail(error, where, "cannot open it");
    }
    *ret_fd = fd;
    return ATLAS_OK;
}

int atlas_file_open_directory(int dir, const char *name, bool follow, const char *where, int *ret_fd,
                              struct atlas_error *error)
{
    int fd = open_retrying(dir, name, OPEN_FLAGS | O_DIRECTORY | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0) {
        return fail(error, where, "cannot open the directory");
    }
    *ret_fd = fd;
    return ATLAS_OK;
}

/* One step down from *fd, which is replaced. O_PATH: passing through needs no permission to list. */
static int step(int *fd, const char *name, const char *where, struct atlas_error *error)
{
    int next = open_retrying(*fd, name, O_PATH | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW);
    if (next < 0) {
        return fail(error, where, "cannot open the directory");
    }
    atlas_file_close(fd);
    *fd = next;
    return ATLAS_OK;
}

int atlas_file_open_beneath(int root, const char *path, const char *where, int *ret_fd, struct atlas_error *error)
{
    char name[NAME_MAX + 1];
    int fd = ATLAS_FILE_CLOSED;
    int rc;
    ATLAS_TRY(atlas_file_open_directory(root, ".", false, where, &fd, error));
    while (*path != '\0') {
        size_t n = strcspn(path, "/");
        struct atlas_span component = atlas_span_of(path, n);
        if (n == 0 || n > NAME_MAX || atlas_span_equal(component, ATLAS_LIT("..")) ||
            atlas_span_equal(component, ATLAS_LIT("."))) {
            ATLAS_TRY(atlas_error_set(error, ATLAS_E_ARG, where, "not a plain relative path"));
        }
        memcpy(name, path, n);
        name[n] = '\0';
        ATLAS_TRY(step(&fd, name, where, error));
        path += n + (path[n] == '/');
    }
    ATLAS_TRY(atlas_file_open_directory(fd, ".", false, where, ret_fd, error));
out:
    atlas_file_close(&fd);
    return rc;
}

/* -------------------------------------------------------------------------------------------------- read */

int atlas_file_read(int fd, uint64_t offset, uint8_t *ret_bytes, size_t n, const char *where, size_t *ret_n,
                    struct atlas_error *error)
{
    size_t done = 0;
    if (offset > INT64_MAX || n > (uint64_t)INT64_MAX - offset) {
        return atlas_error_set(error, ATLAS_E_ARG, where, "beyond the largest possible file");
    }
    while (done < n) {
        ssize_t got = pread(fd, ret_bytes + done, n - done, (off_t)(offset + done));
        if (got == 0) {
            break;
        }
        if (got > 0) {
            done += (size_t)got;
        } else if (errno != EINTR) {
            return fail(error, where, "cannot read it");
        }
    }
    *ret_n = done;
    return ATLAS_OK;
}

int atlas_file_read_link(int dir, const char *name, const char *where, struct atlas_buf *ret_target,
                         struct atlas_error *error)
{
    char target[4096]; /* PATH_MAX: Linux makes no longer link */
    ssize_t n = readlinkat(dir, name, target, sizeof target);
    if (n < 0 && errno == EINVAL) {
        return atlas_error_set(error, ATLAS_E_CHANGED, where, "is no link any more");
    }
    if (n < 0) {
        return fail(error, where, "cannot read the link");
    }
    if ((size_t)n == sizeof target) {
        return atlas_error_set(error, ATLAS_E_LIMIT, where, "a link's target of more than %zu bytes",
                               sizeof target - 1);
    }
    atlas_buf_append(ret_target, atlas_span_of(target, (size_t)n));
    return atlas_buf_check(ret_target, error);
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int list(DIR *stream, const char *where, size_t max_names, struct atlas_buf *names, size_t *ret_n,
                struct atlas_error *error)
{
    size_t n = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            break;
        }
        if (is_dot(entry->d_name)) {
            continue;
        }
        if (n == max_names) {
            return atlas_error_set(error, ATLAS_E_LIMIT, where, "too many files");
        }
        atlas_buf_append(names, atlas_span_of(entry->d_name, strlen(entry->d_name) + 1));
        n++;
    }
    if (errno != 0) {
        return fail(error, where, "cannot list the directory");
    }
    int rc = atlas_buf_check(names, error);
    if (rc == ATLAS_OK) {
        *ret_n = n;
    }
    return rc;
}

int atlas_file_list(int dir, const char *where, size_t max_names, struct atlas_buf *ret_names, size_t *ret_n,
                    struct atlas_error *error)
{
    int fd = ATLAS_FILE_CLOSED;
    /* A descriptor of its own: the stream moves the position that a duplicate would share. */
    int rc = atlas_file_open_directory(dir, ".", false, where, &fd, error);
    if (rc < 0) {
        return rc;
    }
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        rc = fail(error, where, "cannot list the directory");
        atlas_file_close(&fd);
        return rc;
    }
    rc = list(stream, where, max_names, ret_names, ret_n, error);
    closedir(stream);
    return rc;
}
