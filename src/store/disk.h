/* disk.h - whole reads and writes on top of the system calls (or of what a test put in their
 * place). All return 0 or an errno value. Any thread. */
#ifndef STORE_DISK_H
#define STORE_DISK_H

#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#include "base/err.h"
#include "store/faults.h"

/* *fd gets the open file. */
TG_MUSTCHECK int disk_open(const struct ls_faults *f, int dir_fd, const char *name, int flags,
                           int *fd);
/* Writes all of <iov>, which it uses up. */
TG_MUSTCHECK int disk_writev(const struct ls_faults *f, int fd, struct iovec *iov, int count,
                             uint64_t offset);
TG_MUSTCHECK int disk_write(const struct ls_faults *f, int fd, const void *p, size_t len,
                            uint64_t offset);
TG_MUSTCHECK int disk_zero(const struct ls_faults *f, int fd, uint64_t offset, uint64_t len);
/* What lies behind the end of the file reads as zeros. */
TG_MUSTCHECK int disk_read(const struct ls_faults *f, int fd, void *p, size_t len, uint64_t offset);
TG_MUSTCHECK int disk_sync(const struct ls_faults *f, int fd);
/* Makes the file at least <bytes> long, with room for all of it. */
TG_MUSTCHECK int disk_allocate(const struct ls_faults *f, int fd, uint64_t bytes);
TG_MUSTCHECK int disk_rename(const struct ls_faults *f, int dir_fd, const char *from,
                             const char *to);
TG_MUSTCHECK int disk_unlink(const struct ls_faults *f, int dir_fd, const char *name);

enum tg_err disk_err(int errno_value); /* ENOSPC and EDQUOT: TG_ENOSPC; others: TG_EIO */

#endif
