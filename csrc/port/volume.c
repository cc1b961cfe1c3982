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

/* Numbers of statfs(2), of its manual page and of the kernel's modules; most are in no header. */
static const struct {
    uint32_t magic;
    enum atlas_volume_kind kind;
} kinds[] = {
    {0xEF53, ATLAS_VOLUME_DURABLE},     /* ext2, ext3, ext4 */
    {XFS_MAGIC, ATLAS_VOLUME_DURABLE},  /* xfs */
    {0x9123683E, ATLAS_VOLUME_DURABLE}, /* btrfs */
    {0xF2F52010, ATLAS_VOLUME_DURABLE}, /* f2fs */
    {0x2FC12FC1, ATLAS_VOLUME_DURABLE}, /* zfs */
    {0xCA451A4E, ATLAS_VOLUME_DURABLE}, /* bcachefs */
    {0x01021994, ATLAS_VOLUME_MEMORY},  /* tmpfs */
    {0x858458F6, ATLAS_VOLUME_MEMORY},  /* ramfs */
    {0x794C7630, ATLAS_VOLUME_LAYERED}, /* overlayfs */
    {0x6969, ATLAS_VOLUME_SHARED},      /* NFS */
    {0x517B, ATLAS_VOLUME_SHARED},      /* SMB */
    {0xFF534D42, ATLAS_VOLUME_SHARED},  /* CIFS */
    {0xFE534D42, ATLAS_VOLUME_SHARED},  /* SMB2 */
    {0x65735546, ATLAS_VOLUME_SHARED},  /* FUSE, virtiofs */
    {0x0BD00BD0, ATLAS_VOLUME_SHARED},  /* Lustre */
    {0x01021997, ATLAS_VOLUME_SHARED},  /* 9p */
    {0x00C36400, ATLAS_VOLUME_SHARED},  /* Ceph */
    {0x19830326, ATLAS_VOLUME_SHARED},  /* BeeGFS */
    {0x47504653, ATLAS_VOLUME_SHARED},  /* GPFS */
    {0x5346414F, ATLAS_VOLUME_SHARED},  /* AFS */
    {0x73757245, ATLAS_VOLUME_SHARED},  /* Coda */
    {0x01161970, ATLAS_VOLUME_SHARED},  /* GFS2 */
    {0x7461636F, ATLAS_VOLUME_SHARED},  /* OCFS2 */
    {0x786F4256, ATLAS_VOLUME_SHARED},  /* shared folders of VirtualBox */
    {0xBACBACBC, ATLAS_VOLUME_SHARED},  /* and of VMware */
};

enum atlas_volume_kind atlas_volume_kind(int fd)
{
    struct statfs s;
    if (fstatfs(fd, &s) != 0) {
        return ATLAS_VOLUME_UNKNOWN;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if ((uint32_t)s.f_type == kinds[i].magic) {
            return kinds[i].kind;
        }
    }
    return ATLAS_VOLUME_UNKNOWN;
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
