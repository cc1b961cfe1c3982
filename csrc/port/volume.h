/*
 * volume.h - what a file system promises of its times, and whether anybody writes to a file: what a digest cache must
 * know before it remembers anything.
 */
#ifndef ATLAS_PORT_VOLUME_H
#define ATLAS_PORT_VOLUME_H

#include "port/file.h"

struct atlas_volume {
    bool is_trusted; /* local, with inodes and change times that can be relied on: ext2 to ext4, xfs, btrfs */
    uint64_t id;     /* of the file system, beside its device number */
};

/* The file system that fd is on. What cannot be asked is not trusted. */
struct atlas_volume atlas_volume_of(int fd);

/* What a file system makes of flush, lock and link, the three that a log is built on. */
enum atlas_volume_kind {
    ATLAS_VOLUME_UNKNOWN = 0,
    ATLAS_VOLUME_DURABLE = 1, /* ext2 to ext4, xfs, btrfs, f2fs, zfs, bcachefs: all three hold */
    ATLAS_VOLUME_MEMORY = 2,  /* tmpfs, ramfs: gone when the machine stops */
    ATLAS_VOLUME_LAYERED = 3, /* overlayfs: as good as what it lies on, unless it is mounted volatile */
    ATLAS_VOLUME_SHARED = 4,  /* a network's, or a program's (FUSE, 9p): locks and flushes may reach nobody else */
};

enum atlas_volume_kind atlas_volume_kind(int fd);

/* Nanoseconds since 1970 on the clock that files are stamped from. */
int64_t atlas_volume_clock(void);
int64_t atlas_volume_nanoseconds(int64_t seconds, int64_t nanoseconds);

enum atlas_quiet {
    ATLAS_QUIET_NO = 0,      /* open for writing, or mapped so, or it cannot be written back */
    ATLAS_QUIET_UNKNOWN = 1, /* somebody else's file: nobody tells us who writes to it */
    ATLAS_QUIET_YES = 2,     /* nobody can write without opening it anew */
};

/* Does anybody hold the file open for writing now? Times are taken when a write call begins and when a mapped page is
 * first touched, so bytes may change later than they say. Written-back pages are write-protected, so that the next
 * store through any mapping is seen: that is done first. */
enum atlas_quiet atlas_volume_quiet(int fd);

/* Does the kernel itself guard the bytes (fs-verity)? Then they cannot change as long as the inode lives. */
bool atlas_volume_is_verity(int fd);

#endif
