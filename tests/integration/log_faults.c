/* Preloaded by the tests of the log: numbers the changes that the core makes to the file system, and lets one of them fail,
 * sleep or kill the process; writes down what was done; says that the file system is another one. Armed by ctypes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { NOTHING, FAIL, KILL, SLEEP };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int action;
static long at;       /* the change that it happens to, from 1 */
static int number;    /* errno, or milliseconds */
static long count;    /* changes so far */
static int record = -1;
static long magic;    /* of the file system; 0: what it is */

void fault_arm(int what, long n, int argument)
{
    action = what;
    at = n;
    number = argument;
    count = 0;
}

long fault_count(void)
{
    return count;
}

void fault_record(int fd)
{
    record = fd;
}

void fault_magic(long value)
{
    magic = value;
}

static int is_core(void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) != 0 && info.dli_fname != NULL && strstr(info.dli_fname, "_core") != NULL;
}

/* Does this change fail? */
static int fails(void *caller)
{
    if (!is_core(caller)) {
        return 0;
    }
    pthread_mutex_lock(&lock);
    int now = ++count == at ? action : NOTHING;
    pthread_mutex_unlock(&lock);
    switch (now) {
    case FAIL:
        errno = number;
        return 1;
    case KILL:
        kill(getpid(), SIGKILL);
        pause();
        return 1;
    case SLEEP:
        usleep((useconds_t)number * 1000);
        return 0;
    default:
        return 0;
    }
}

/* ------------------------------------------------------------------------------------------------------------ record */

static void path_of(int dir, const char *name, char *out, size_t n)
{
    char link[64];
    ssize_t length = 0;
    out[0] = '\0';
    if (name == NULL || name[0] != '/') {
        snprintf(link, sizeof link, dir == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dir);
        length = readlink(link, out, n - 1);
        length = length < 0 ? 0 : length;
        out[length] = '\0';
    }
    if (name != NULL && strcmp(name, ".") != 0) {
        snprintf(out + length, n - (size_t)length, "%s%s", length != 0 ? "/" : "", name);
    }
}

static void put(const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n != 0) {
        long done = syscall(SYS_write, record, p, n);
        if (done <= 0) {
            abort();
        }
        p += done;
        n -= (size_t)done;
    }
}

/* kind NUL path NUL path NUL number of bytes NUL bytes */
static void note(const char *kind, const char *first, const char *second, const void *bytes, size_t n)
{
    char text[32];
    if (record < 0) {
        return;
    }
    pthread_mutex_lock(&lock);
    put(kind, strlen(kind) + 1);
    put(first, strlen(first) + 1);
    put(second, strlen(second) + 1);
    snprintf(text, sizeof text, "%zu", n);
    put(text, strlen(text) + 1);
    put(bytes, n);
    pthread_mutex_unlock(&lock);
}

void fault_mark(const char *text)
{
    note("mark", text, "", "", 0);
}

static void note_at(void *caller, const char *kind, int dir, const char *name, int to_dir, const char *to)
{
    char first[4096];
    char second[4096] = "";
    if (record < 0 || !is_core(caller)) {
        return;
    }
    path_of(dir, name, first, sizeof first);
    if (to != NULL) {
        path_of(to_dir, to, second, sizeof second);
    }
    note(kind, first, second, "", 0);
}

/* ------------------------------------------------------------------------------------------------------------- calls */

#define CALLER __builtin_return_address(0)
#define REAL(name) *(void **)&real = dlsym(RTLD_NEXT, name)

static int opened(void *caller, const char *symbol, int dir, const char *path, int flags, mode_t mode)
{
    int (*real)(int, const char *, int, ...);
    REAL(symbol);
    if ((flags & O_CREAT) == 0) {
        return real(dir, path, flags, mode);
    }
    if (fails(caller)) {
        return -1;
    }
    int fd = real(dir, path, flags, mode);
    if (fd >= 0 && (flags & O_EXCL) != 0) {
        note_at(caller, "create", dir, path, 0, NULL);
    }
    return fd;
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return opened(CALLER, "openat", dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return opened(CALLER, "openat64", dir, path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    ssize_t (*real)(int, const void *, size_t);
    char path[4096];
    REAL("write");
    if (fails(CALLER)) {
        if (n > 1) {
            real(fd, bytes, n / 2); /* some of it got there */
            errno = number;
        }
        return -1;
    }
    ssize_t done = real(fd, bytes, n);
    if (record >= 0 && done > 0 && is_core(CALLER)) {
        path_of(fd, NULL, path, sizeof path);
        note("write", path, "", bytes, (size_t)done);
    }
    return done;
}

int fsync(int fd)
{
    int (*real)(int);
    REAL("fsync");
    if (fails(CALLER)) {
        return -1;
    }
    int rc = real(fd);
    if (rc == 0) {
        note_at(CALLER, "fsync", fd, NULL, 0, NULL);
    }
    return rc;
}

int renameat(int dir, const char *from, int to_dir, const char *to)
{
    int (*real)(int, const char *, int, const char *);
    REAL("renameat");
    if (fails(CALLER)) {
        return -1;
    }
    int rc = real(dir, from, to_dir, to);
    if (rc == 0) {
        note_at(CALLER, "rename", dir, from, to_dir, to);
    }
    return rc;
}

int linkat(int dir, const char *from, int to_dir, const char *to, int flags)
{
    int (*real)(int, const char *, int, const char *, int);
    REAL("linkat");
    if (fails(CALLER)) {
        return -1;
    }
    int rc = real(dir, from, to_dir, to, flags);
    if (rc == 0) {
        note_at(CALLER, "link", dir, from, to_dir, to);
    }
    return rc;
}

int unlinkat(int dir, const char *path, int flags)
{
    int (*real)(int, const char *, int);
    REAL("unlinkat");
    if (fails(CALLER)) {
        return -1;
    }
    int rc = real(dir, path, flags);
    if (rc == 0) {
        note_at(CALLER, "unlink", dir, path, 0, NULL);
    }
    return rc;
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    int (*real)(int, const char *, mode_t);
    REAL("mkdirat");
    if (fails(CALLER)) {
        return -1;
    }
    int rc = real(dir, path, mode);
    if (rc == 0) {
        note_at(CALLER, "mkdir", dir, path, 0, NULL);
    }
    return rc;
}

static int looked(const char *symbol, int fd, void *s)
{
    int (*real)(int, void *);
    REAL(symbol);
    int rc = real(fd, s);
    if (rc == 0 && magic != 0) {
        ((struct statfs *)s)->f_type = magic;
    }
    return rc;
}

int fstatfs(int fd, struct statfs *s)
{
    return looked("fstatfs", fd, s);
}

int fstatfs64(int fd, struct statfs64 *s)
{
    return looked("fstatfs64", fd, s);
}
