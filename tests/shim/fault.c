/* fault.c - makes the disk fail under a real broker. Preloaded (LD_PRELOAD=build/<V>/fault.so),
 * told by the environment, off when that says nothing:
 *
 *   FAULT_DIR=path          only files whose path contains this; without it all files
 *   FAULT_FDATASYNC_NTH=n   the n-th fdatasync (of those files) fails with EIO, once
 *   FAULT_FULL_WHILE=file   while this file exists, writes and allocations fail with ENOSPC
 *   FAULT_EIO_WHILE=file    while this file exists, pwritev fails with EIO
 *   FAULT_SYNC_DELAY_MS=n   fdatasync takes so much longer
 *   FAULT_SYNC_WHILE=file   while this file exists, fdatasync does not return
 *
 * Calls covered: pwritev, pwrite, write (ENOSPC only), fdatasync, fsync (counted with fdatasync),
 * fallocate, ftruncate to a larger size. Names with 64 at the end are covered too. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long syncs;

/* The next function of that name behind this one. */
#define REAL(type, name) ((type)(uintptr_t)dlsym(RTLD_NEXT, name))

static bool concerns(int fd)
{
    const char *part = getenv("FAULT_DIR");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0 || path[0] != '/')
        return false; /* a socket, a pipe */
    path[n] = 0;
    return !part || strstr(path, part);
}

static bool exists(const char *variable)
{
    const char *path = getenv(variable);
    int keep = errno;
    bool yes = path && access(path, F_OK) == 0;
    errno = keep;
    return yes;
}

static bool refuse_write(int fd)
{
    if (!exists("FAULT_FULL_WHILE") || !concerns(fd))
        return false;
    errno = ENOSPC;
    return true;
}

static bool fail_write(int fd)
{
    if (!exists("FAULT_EIO_WHILE") || !concerns(fd))
        return false;
    errno = EIO;
    return true;
}

static bool fail_sync(int fd)
{
    const char *nth = getenv("FAULT_FDATASYNC_NTH"), *delay = getenv("FAULT_SYNC_DELAY_MS");
    bool waits = getenv("FAULT_SYNC_WHILE") != NULL;
    if ((!nth && !delay && !waits) || !concerns(fd))
        return false;
    while (waits && exists("FAULT_SYNC_WHILE"))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (delay) {
        long ms = atol(delay);
        struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&ts, NULL);
    }
    if (!nth || atomic_fetch_add(&syncs, 1) + 1 != atol(nth))
        return false;
    errno = EIO;
    return true;
}

typedef ssize_t (*writev_fn)(int, const struct iovec *, int, off_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef int (*sync_fn)(int);
typedef int (*allocate_fn)(int, int, off_t, off_t);
typedef int (*truncate_fn)(int, off_t);

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    if (refuse_write(fd) || fail_write(fd))
        return -1;
    return REAL(writev_fn, "pwritev")(fd, iov, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset)
{
    return pwritev(fd, iov, count, offset);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
    if (refuse_write(fd))
        return -1;
    return REAL(pwrite_fn, "pwrite")(fd, p, n, offset);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t offset)
{
    return pwrite(fd, p, n, offset);
}

ssize_t write(int fd, const void *p, size_t n)
{
    if (refuse_write(fd))
        return -1;
    return REAL(write_fn, "write")(fd, p, n);
}

int fdatasync(int fd)
{
    return fail_sync(fd) ? -1 : REAL(sync_fn, "fdatasync")(fd);
}

int fsync(int fd)
{
    return fail_sync(fd) ? -1 : REAL(sync_fn, "fsync")(fd);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    return refuse_write(fd) ? -1 : REAL(allocate_fn, "fallocate")(fd, mode, offset, len);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    return fallocate(fd, mode, offset, len);
}

int ftruncate(int fd, off_t size)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && size > st.st_size && refuse_write(fd))
        return -1;
    return REAL(truncate_fn, "ftruncate")(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}
