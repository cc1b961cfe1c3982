/* Preloaded by test_measure_faults.py: makes system calls fail in the way that ATLAS_FAULT names, and the n-th allocation
 * of the core or of libcrypto after fault_arm(n). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int is(const char *name)
{
    const char *fault = getenv("ATLAS_FAULT");
    return fault != NULL && strcmp(fault, name) == 0;
}

static ssize_t faulty_pread(const char *symbol, int fd, void *buffer, size_t n, off_t offset)
{
    static __thread unsigned calls;
    ssize_t (*real)(int, void *, size_t, off_t);
    *(void **)&real = dlsym(RTLD_NEXT, symbol);
    calls++;
    if (is("slow")) { /* a disk that has to be waited for */
        usleep(2000);
    }
    if (is("eio") && offset + (off_t)n > (2 << 20)) {
        errno = EIO;
        return -1;
    }
    if (is("eintr") && calls % 2 == 1) {
        errno = EINTR;
        return -1;
    }
    if (is("short") && n > 70001) {
        n = 70001;
    }
    if (is("end") && offset >= 2 << 20) { /* shorter than its size said */
        return 0;
    }
    ssize_t got = real(fd, buffer, n, offset);
    return is("beyond") && got == 0 ? 1 : got; /* longer than its size said */
}

ssize_t pread(int fd, void *buffer, size_t n, off_t offset)
{
    return faulty_pread("pread", fd, buffer, n, offset);
}

ssize_t pread64(int fd, void *buffer, size_t n, off_t offset)
{
    return faulty_pread("pread64", fd, buffer, n, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return is("nothread") ? EAGAIN : real(thread, attributes, start, argument);
}

struct dirent;
struct dirent *readdir(void *stream)
{
    static unsigned calls;
    struct dirent *(*real)(void *);
    *(void **)&real = dlsym(RTLD_NEXT, "readdir");
    if (is("readdir") && ++calls > 4) {
        errno = EIO;
        return NULL;
    }
    return real(stream);
}

/* ------------------------------------------------------------------------------------------------------ coarse times */

#define TICK 40000000 /* nanoseconds: files are stamped from a clock that goes on only so often, as on older kernels */

static void coarsen(struct statx_timestamp *time)
{
    time->tv_nsec -= is("tick") ? time->tv_nsec % TICK : 0;
}

int statx(int dir, const char *name, int flags, unsigned mask, struct statx *s)
{
    int (*real)(int, const char *, int, unsigned, struct statx *);
    *(void **)&real = dlsym(RTLD_NEXT, "statx");
    int rc = real(dir, name, flags, mask, s);
    coarsen(&s->stx_mtime);
    coarsen(&s->stx_ctime);
    return rc;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int (*real)(clockid_t, struct timespec *);
    *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(clock, time);
    if (clock == CLOCK_REALTIME_COARSE && is("tick")) {
        time->tv_nsec -= time->tv_nsec % TICK;
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- fs-verity */

int ioctl(int fd, unsigned long request, ...)
{
    int (*real)(int, unsigned long, void *);
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    *(void **)&real = dlsym(RTLD_NEXT, "ioctl");
    if ((request & 0xFFFF) == 0x6686 && is("verity")) { /* FS_IOC_MEASURE_VERITY */
        unsigned short *digest = argument;
        digest[0] = 1;
        digest[1] = 32;
        return 0;
    }
    if ((request & 0xFFFF) == 0x6686 && is("verity-eio")) {
        errno = EIO;
        return -1;
    }
    return real(fd, request, argument);
}

/* ---------------------------------------------------------------------------------------------------- allocation */

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static atomic_long countdown; /* the allocation that fails is the one that makes it 0 */

void fault_arm(long n)
{
    atomic_store(&countdown, n);
}

/* Did it happen? Disarmed in any case. */
int fault_fired(void)
{
    return atomic_exchange(&countdown, 0) <= 0;
}

static int fails(void *caller)
{
    Dl_info info;
    if (atomic_load(&countdown) <= 0 || dladdr(caller, &info) == 0 || info.dli_fname == NULL ||
        (strstr(info.dli_fname, "_core") == NULL && strstr(info.dli_fname, "libcrypto") == NULL)) {
        return 0;
    }
    return atomic_fetch_sub(&countdown, 1) == 1;
}

void *malloc(size_t n)
{
    return fails(__builtin_return_address(0)) ? (errno = ENOMEM, NULL) : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails(__builtin_return_address(0)) ? (errno = ENOMEM, NULL) : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return fails(__builtin_return_address(0)) ? (errno = ENOMEM, NULL) : __libc_realloc(p, n);
}
