/* Whole reads and writes: short counts and EINTR end here. Nothing is retried that failed: whether
 * a failure is final is decided above. */
#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

#define ZERO_CHUNK_BYTES (256 * 1024) /* one write of zeros */

int disk_open(const struct ls_faults *f, int dir_fd, const char *name, int flags, int *fd)
{
    flags |= O_CLOEXEC;
    *fd = f && f->openat ? f->openat(f->ctx, dir_fd, name, flags, 0640)
                         : openat(dir_fd, name, flags, 0640);
    return *fd < 0 ? errno : 0;
}

static void iov_advance(struct iovec **iov, int *count, size_t n)
{
    while (*count && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    if (*count) {
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

int disk_writev(const struct ls_faults *f, int fd, struct iovec *iov, int count, uint64_t offset)
{
    while (count) {
        int some = count < IOV_MAX ? count : IOV_MAX;
        ssize_t n = f && f->pwritev ? f->pwritev(f->ctx, fd, iov, some, (off_t)offset)
                                    : pwritev(fd, iov, some, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return EIO;
        offset += (uint64_t)n;
        iov_advance(&iov, &count, (size_t)n);
    }
    return 0;
}

int disk_write(const struct ls_faults *f, int fd, const void *p, size_t len, uint64_t offset)
{
    struct iovec iov = {(void *)(uintptr_t)p, len};
    return disk_writev(f, fd, &iov, 1, offset);
}

int disk_zero(const struct ls_faults *f, int fd, uint64_t offset, uint64_t len)
{
    uint8_t *zeros = xcalloc(1, ZERO_CHUNK_BYTES);
    int rc = 0;
    while (len && !rc) {
        size_t n = len < ZERO_CHUNK_BYTES ? (size_t)len : ZERO_CHUNK_BYTES;
        rc = disk_write(f, fd, zeros, n, offset);
        offset += n;
        len -= n;
    }
    free(zeros);
    return rc;
}

int disk_read(const struct ls_faults *f, int fd, void *p, size_t len, uint64_t offset)
{
    uint8_t *to = p;
    while (len) {
        ssize_t n = f && f->pread ? f->pread(f->ctx, fd, to, len, (off_t)offset)
                                  : pread(fd, to, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            break;
        to += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    memset(to, 0, len);
    return 0;
}

int disk_sync(const struct ls_faults *f, int fd)
{
    int rc = f && f->fdatasync ? f->fdatasync(f->ctx, fd) : fdatasync(fd);
    return rc < 0 ? errno : 0;
}

int disk_allocate(const struct ls_faults *f, int fd, uint64_t bytes)
{
    int rc = f && f->fallocate ? f->fallocate(f->ctx, fd, 0, (off_t)bytes)
                               : fallocate(fd, 0, 0, (off_t)bytes);
    if (rc == 0)
        return 0;
    if (errno != EOPNOTSUPP)
        return errno;
    struct stat st; /* a file system without it: writes find out whether there is room */
    if (fstat(fd, &st) < 0)
        return errno;
    return (uint64_t)st.st_size >= bytes || ftruncate(fd, (off_t)bytes) == 0 ? 0 : errno;
}

int disk_rename(const struct ls_faults *f, int dir_fd, const char *from, const char *to)
{
    int rc = f && f->renameat ? f->renameat(f->ctx, dir_fd, from, to)
                              : renameat(dir_fd, from, dir_fd, to);
    return rc < 0 ? errno : 0;
}

int disk_unlink(const struct ls_faults *f, int dir_fd, const char *name)
{
    int rc = f && f->unlinkat ? f->unlinkat(f->ctx, dir_fd, name) : unlinkat(dir_fd, name, 0);
    return rc < 0 ? errno : 0;
}

enum tg_err disk_err(int errno_value)
{
    if (errno_value == 0)
        return TG_OK;
    return errno_value == ENOSPC || errno_value == EDQUOT ? TG_ENOSPC : TG_EIO;
}
