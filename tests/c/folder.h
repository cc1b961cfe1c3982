/* folder.h - a temporary directory of a C test, and files in it. */
#ifndef ATLAS_TEST_FOLDER_H
#define ATLAS_TEST_FOLDER_H

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder {
    char path[64];
};

/* "folder/name"; good until the next call. */
static inline const char *in(const struct folder *f, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    return path;
}

static inline bool folder_make(struct folder *f)
{
    snprintf(f->path, sizeof f->path, "/tmp/atlas-test-XXXXXX");
    return mkdtemp(f->path) != NULL;
}

static inline bool folder_write(const struct folder *f, const char *name, const void *bytes, size_t n)
{
    int fd = open(in(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool good = fd >= 0 && write(fd, bytes, n) == (ssize_t)n;
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

static inline int folder_remove_one(const char *path, const struct stat *s, int type, struct FTW *place)
{
    (void)s;
    (void)type;
    (void)place;
    return remove(path);
}

static inline void folder_remove(const struct folder *f)
{
    nftw(f->path, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
