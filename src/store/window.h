/* window.h - a file seen through a buffer of bounded size, for those who walk over all of it: the
 * start, `store verify`, `store dump`. One thread. */
#ifndef STORE_WINDOW_H
#define STORE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/faults.h"

#define WINDOW_BYTES (1u << 20) /* few system calls, and it stays in the processor's cache */

struct window {
    const struct ls_faults *faults;
    int fd;
    uint64_t size_bytes; /* of the file */
    int error;           /* errno of a read that failed: from then on nothing is there */
    uint64_t start;      /* what <buf> shows */
    size_t len;
    uint8_t *buf;
};

void window_init(struct window *w, const struct ls_faults *faults, int fd, uint64_t size_bytes);
void window_fini(struct window *w); /* leaves <fd> open */
/* Forgets what was read: the file may have changed. */
void window_refresh(struct window *w);
/* <len> bytes (at most WINDOW_BYTES - 4096) at <offset>, valid until the next call; as aligned in
 * memory as in the file, up to 4096. NULL: the file ends before, or a read failed. */
const void *window_at(struct window *w, uint64_t offset, size_t len);
/* The CRC-32C of a stretch of any length; false as above. */
bool window_crc(struct window *w, uint64_t offset, uint64_t len, uint32_t *crc);

#endif
