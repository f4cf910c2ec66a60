/* The window. It always begins at a multiple of a page and is filled as far as it goes, so that
 * going forward costs one read per WINDOW_BYTES. */
#include "store/window.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "store/disk.h"

#define PAGE_BYTES  4096u
#define CHUNK_BYTES (WINDOW_BYTES / 4)

void window_init(struct window *w, const struct ls_faults *faults, int fd, uint64_t size_bytes)
{
    *w = (struct window){.faults = faults, .fd = fd, .size_bytes = size_bytes};
    w->buf = aligned_alloc(PAGE_BYTES, WINDOW_BYTES);
    TG_ASSERT(w->buf);
}

void window_fini(struct window *w)
{
    free(w->buf);
    w->buf = NULL;
}

void window_refresh(struct window *w)
{
    w->len = 0;
}

static bool fill(struct window *w, uint64_t offset)
{
    uint64_t start = offset / PAGE_BYTES * PAGE_BYTES, left = w->size_bytes - start;
    size_t len = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
    w->len = 0;
    w->error = disk_read(w->faults, w->fd, w->buf, len, start);
    if (w->error)
        return false;
    w->start = start;
    w->len = len;
    return true;
}

const void *window_at(struct window *w, uint64_t offset, size_t len)
{
    TG_ASSERT(len <= WINDOW_BYTES - PAGE_BYTES);
    if (w->error || offset > w->size_bytes || len > w->size_bytes - offset)
        return NULL;
    if ((offset < w->start || offset + len > w->start + w->len) && !fill(w, offset))
        return NULL;
    return w->buf + (offset - w->start);
}

bool window_crc(struct window *w, uint64_t offset, uint64_t len, uint32_t *crc)
{
    *crc = 0;
    while (len) {
        size_t n = len < CHUNK_BYTES ? (size_t)len : CHUNK_BYTES;
        const void *p = window_at(w, offset, n);
        if (!p)
            return false;
        *crc = crc32c(*crc, p, n);
        offset += n;
        len -= n;
    }
    return true;
}
