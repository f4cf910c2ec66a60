/* faults.h - the system calls that write to the disk, replaceable, so that tests can make them
 * fail, count them, or look at the moment between them. A NULL member is libc's. Called on the
 * store's threads. */
#ifndef STORE_FAULTS_H
#define STORE_FAULTS_H

#include <sys/types.h>
#include <sys/uio.h>

struct ls_faults {
    void *ctx;
    int (*openat)(void *ctx, int dir_fd, const char *name, int flags, mode_t mode);
    ssize_t (*pwritev)(void *ctx, int fd, const struct iovec *iov, int count, off_t offset);
    int (*fdatasync)(void *ctx, int fd); /* of directories too */
    int (*fallocate)(void *ctx, int fd, off_t offset, off_t len);
    int (*renameat)(void *ctx, int dir_fd, const char *from, const char *to);
    int (*unlinkat)(void *ctx, int dir_fd, const char *name);
    ssize_t (*pread)(void *ctx, int fd, void *buf, size_t len, off_t offset);
};

#endif
