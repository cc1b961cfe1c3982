#include "port/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fsverity.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <time.h>

#define XFS_MAGIC 0x58465342 /* linux/magic.h has it only in newer kernels */

struct atlas_volume atlas_volume_of(int fd)
{
    struct atlas_volume volume = {false, 0};
    struct statfs s;
    if (fstatfs(fd, &s) != 0) {
        return volume;
    }
    volume.is_trusted = s.f_type == EXT4_SUPER_MAGIC || s.f_type == XFS_MAGIC || s.f_type == BTRFS_SUPER_MAGIC;
    memcpy(&volume.id, &s.f_fsid, sizeof s.f_fsid < sizeof volume.id ? sizeof s.f_fsid : sizeof volume.id);
    return volume;
}

int64_t atlas_volume_nanoseconds(int64_t seconds, int64_t nanoseconds)
{
    /* Times that do not fit wrap: they only have to differ. */
    return (int64_t)((uint64_t)seconds * 1000000000u + (uint64_t)nanoseconds);
}

int64_t atlas_volume_clock(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return atlas_volume_nanoseconds(now.tv_sec, now.tv_nsec);
}

enum atlas_quiet atlas_volume_quiet(int fd)
{
    /* All three flags: wait for what is under way, write what is dirty, wait for that. No flush of the disk. */
    unsigned flags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(fd, 0, 0, flags) != 0) {
        return ATLAS_QUIET_NO;
    }
    /* A read lease is given only while nobody has the file open, or mapped, for writing. It is let go at once; a writer
     * who comes in between waits that long, and the signal that would tell us is one that is ignored. */
    if (fcntl(fd, F_SETSIG, SIGURG) != 0) {
        return ATLAS_QUIET_UNKNOWN;
    }
    if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0) {
        return errno == EAGAIN ? ATLAS_QUIET_NO : ATLAS_QUIET_UNKNOWN;
    }
    return fcntl(fd, F_SETLEASE, F_UNLCK) == 0 ? ATLAS_QUIET_YES : ATLAS_QUIET_UNKNOWN;
}

bool atlas_volume_is_verity(int fd)
{
    union {
        struct fsverity_digest head;
        uint8_t room[sizeof(struct fsverity_digest) + ATLAS_DIGEST_MAX];
    } digest = {.head = {.digest_size = ATLAS_DIGEST_MAX}};
    /* ENODATA: not such a file; EOPNOTSUPP, ENOTTY: not such a file system or kernel. */
    return ioctl(fd, FS_IOC_MEASURE_VERITY, &digest) == 0 && digest.head.digest_size != 0;
}
