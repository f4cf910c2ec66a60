/* Segment files: names, header and trailer. The header carries the generation, and it is on disk
 * before the file gets its name, so a seg- file without a good header is damaged, not half made. */
#include "store/segment.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/disk.h"

struct segment *segment_new(uint32_t generation, int fd, uint64_t size_bytes)
{
    struct segment *s = xcalloc(1, sizeof *s);
    s->generation = generation;
    s->fd = fd;
    s->size_bytes = size_bytes;
    s->end = SEG_DATA_START;
    return s;
}

void segment_free(struct segment *s)
{
    if (s->fd >= 0)
        close(s->fd);
    free(s->ledgers);
    free(s);
}

void segment_name(char out[SEG_NAME_BYTES], uint32_t generation)
{
    snprintf(out, SEG_NAME_BYTES, "seg-%08u.log", generation);
}

void segment_free_name(char out[SEG_NAME_BYTES], uint32_t generation)
{
    snprintf(out, SEG_NAME_BYTES, "free-%08u.log", generation);
}

static uint32_t header_crc(const struct seg_header *h)
{
    return crc32c(0, h, offsetof(struct seg_header, crc));
}

int segment_write_header(const struct ls_faults *f, int fd, uint32_t generation)
{
    uint8_t page[SEG_DATA_START] = {0};
    struct seg_header h = {.magic = SEG_MAGIC, .generation = generation};
    h.crc = header_crc(&h);
    memcpy(page, &h, sizeof h);
    return disk_write(f, fd, page, sizeof page, 0);
}

bool seg_header_ok(const struct seg_header *h, uint32_t generation)
{
    return h->magic == SEG_MAGIC && h->generation == generation && h->crc == header_crc(h);
}

static uint32_t trailer_crc(const struct seg_trailer *t)
{
    return crc32c(0, t, offsetof(struct seg_trailer, crc));
}

void seg_trailer_fill(struct seg_trailer *t)
{
    t->magic = SEG_SEAL_MAGIC;
    t->crc = trailer_crc(t);
}

bool seg_trailer_ok(const struct seg_trailer *t, uint32_t generation, uint64_t size_bytes)
{
    return t->magic == SEG_SEAL_MAGIC && t->generation == generation && t->crc == trailer_crc(t) &&
           t->footer_offset >= SEG_DATA_START && t->footer_offset % REC_ALIGN == 0 &&
           t->footer_offset < size_bytes && t->head_len <= t->body_len &&
           t->body_len < size_bytes - t->footer_offset;
}
