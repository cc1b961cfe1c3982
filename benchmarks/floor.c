/*
 * floor.c - read files on threads and do nothing else with them: what reading alone takes.
 *
 *     cc -O2 -pthread floor.c -o floor; find DIR -type f -print0 | ./floor THREADS
 *     ./floor THREADS FILE     one file, in pieces of 1 MiB
 *
 * Prints the seconds and the bytes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20)
#define ALIGNMENT ((size_t)2 << 20)
#define MAX_THREADS 256

static struct {
    char **names; /* NULL: one file */
    size_t n;
    int fd;
    atomic_size_t next;
    atomic_ullong bytes;
    atomic_bool failed;
} work;

static bool read_one(size_t i, uint8_t *buffer)
{
    int fd = work.names != NULL ? open(work.names[i], O_RDONLY | O_CLOEXEC) : work.fd;
    off_t at = work.names != NULL ? 0 : (off_t)(i * PIECE);
    ssize_t got = 0;
    do {
        got = fd >= 0 ? pread(fd, buffer, PIECE, at) : -1;
        at += got > 0 ? got : 0;
        atomic_fetch_add(&work.bytes, got > 0 ? (unsigned long long)got : 0);
    } while (got == (ssize_t)PIECE && work.names != NULL);
    if (work.names != NULL && fd >= 0) {
        close(fd);
    }
    return got >= 0;
}

static void *body(void *unused)
{
    uint8_t *buffer = aligned_alloc(ALIGNMENT, ALIGNMENT);
    (void)unused;
    if (buffer == NULL) {
        atomic_store(&work.failed, true);
        return NULL;
    }
    madvise(buffer, ALIGNMENT, MADV_HUGEPAGE);
    memset(buffer, 1, PIECE);
    for (size_t i = atomic_fetch_add(&work.next, 1); i < work.n; i = atomic_fetch_add(&work.next, 1)) {
        if (!read_one(i, buffer)) {
            atomic_store(&work.failed, true);
        }
    }
    free(buffer);
    return NULL;
}

static bool take_names(void)
{
    size_t cap = 0;
    for (;;) {
        char *name = NULL;
        size_t room = 0;
        if (getdelim(&name, &room, 0, stdin) <= 0) {
            free(name);
            return feof(stdin) != 0;
        }
        if (work.n == cap) {
            cap = cap != 0 ? 2 * cap : 1024;
            char **names = realloc(work.names, cap * sizeof *names);
            if (names == NULL) {
                return false;
            }
            work.names = names;
        }
        work.names[work.n++] = name;
    }
}

static bool take_file(const char *name)
{
    struct stat s;
    work.fd = open(name, O_RDONLY | O_CLOEXEC);
    if (work.fd < 0 || fstat(work.fd, &s) != 0) {
        return false;
    }
    work.n = ((size_t)s.st_size + PIECE - 1) / PIECE;
    return true;
}

static double now(void)
{
    struct timespec t = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    pthread_t threads[MAX_THREADS];
    int n = argc > 1 ? atoi(argv[1]) : 0;
    int started = 0;
    if (n < 1 || n > MAX_THREADS || !(argc > 2 ? take_file(argv[2]) : take_names())) {
        fprintf(stderr, "usage: floor THREADS [FILE], or names on standard input, each with a zero byte after it\n");
        return 2;
    }
    double start = now();
    while (started < n && pthread_create(&threads[started], NULL, body, NULL) == 0) {
        started++;
    }
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%.6f %llu\n", now() - start, (unsigned long long)atomic_load(&work.bytes));
    return started == n && !atomic_load(&work.failed) ? 0 : 1;
}
