/* The open segment: groups are written to its end; when it is full it gets its footer, and the
 * spare becomes the open one.
 *
 * Invariants: a segment is sealed, synced (LS_SYNC), before anything is written to the next; the
 * registry, and so every reader, knows only what is durable. */
#include <unistd.h>

#include "base/alloc.h"
#include "store/committer.h"

/* ---- writing a group ---- */

static void stamp_batch(const struct batch *b, uint32_t generation, uint64_t offset)
{
    for (uint32_t at = b->from; at < b->to;) {
        struct record *r = (struct record *)(void *)(b->block->data + at);
        rec_stamp(r, generation, offset + (at - b->from));
        at += (uint32_t)rec_size(r->body_len);
    }
}

enum tg_err open_write(struct log_store *log, const struct group *g)
{
    if (log_failed(log)) /* after a failed sync the next one would lie */
        return TG_EIO;
    struct segment *s = log->open;
    uint64_t offset = s->end + sizeof(struct record);
    struct record head = {
        .ledger = sizeof head + g->bytes, .entry = log->synced, .type = REC_GROUP};
    rec_stamp(&head, s->generation, s->end);
    struct iovec iov[GROUP_BATCHES_MOST + 1];
    int n = 0;
    iov[n++] = (struct iovec){&head, sizeof head};
    for (const struct batch *b = g->batches; b; b = b->next) {
        stamp_batch(b, s->generation, offset);
        iov[n++] = (struct iovec){b->block->data + b->from, b->to - b->from};
        offset += b->to - b->from;
    }
    enum tg_err e = log_disk_result(log, disk_writev(log->faults, s->fd, iov, n, s->end), "pwritev",
                                    s->generation);
    if (e || log->durability == LS_OS)
        return e;
    atomic_fetch_add_explicit(&log->syncs, 1, memory_order_relaxed);
    e = log_disk_result(log, disk_sync(log->faults, s->fd), "fdatasync", s->generation);
    if (!e)
        log->synced = offset;
    return e;
}

static void publish_batch(struct log_store *log, const struct batch *b, uint64_t offset)
{
    uint64_t entries = 0, bytes = 0, copied = 0;
    for (uint32_t at = b->from; at < b->to;) {
        const struct record *r = (const struct record *)(const void *)(b->block->data + at);
        if (r->type == REC_ENTRY) {
            enum tg_err e = registry_entry(&log->reg, r, offset + (at - b->from));
            TG_ASSERT(e == TG_OK);
            entries++;
            bytes += r->body_len;
        } else if (r->type == REC_COPY) {
            enum tg_err e = registry_copy(&log->reg, r, offset + (at - b->from));
            TG_ASSERT(e == TG_OK);
            copied += rec_size(r->body_len);
        } else if (r->type == REC_DROP) {
            registry_drop(&log->reg, r->ledger);
        }
        at += (uint32_t)rec_size(r->body_len);
    }
    atomic_fetch_add_explicit(&log->appended_entries, entries, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->appended_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->copied_bytes, copied, memory_order_relaxed);
}

void open_publish(struct log_store *log, const struct group *g)
{
    uint64_t offset = log->open->end + sizeof(struct record);
    pthread_mutex_lock(&log->reg_lock);
    for (const struct batch *b = g->batches; b; b = b->next) {
        publish_batch(log, b, offset);
        offset += b->to - b->from;
    }
    log->open->end = offset;
    pthread_mutex_unlock(&log->reg_lock);
    atomic_fetch_add_explicit(&log->commits, 1, memory_order_relaxed);
}

/* ---- segments: the next one, sealing, recycling ---- */

uint64_t open_reserve(const struct log_store *log)
{
    return align_up(log->segment_bytes / 32, REC_ALIGN);
}

bool open_fits(const struct log_store *log, uint64_t bytes, uint64_t entries, uint64_t reserve)
{
    const struct segment *s = log->open;
    uint64_t need = sizeof(struct record) + bytes + registry_footer_bound(&log->reg, entries);
    return s->end + need + reserve <= s->size_bytes;
}

static enum tg_err grow_segment(struct log_store *log, uint64_t size_bytes)
{
    struct segment *s = log->open;
    size_bytes = align_up(size_bytes, SEG_DATA_START);
    enum tg_err e = log_disk_result(log, disk_allocate(log->faults, s->fd, size_bytes), "fallocate",
                                    s->generation);
    if (e)
        return e;
    pthread_mutex_lock(&log->reg_lock);
    s->size_bytes = size_bytes;
    pthread_mutex_unlock(&log->reg_lock);
    return TG_OK;
}

enum tg_err open_grow_for(struct log_store *log, const struct batch *b)
{
    return grow_segment(log, log->open->end + sizeof(struct record) + (b->to - b->from) +
                                 registry_footer_bound(&log->reg, b->count) + open_reserve(log));
}

static enum tg_err write_footer(struct log_store *log, const uint8_t *body, uint64_t body_len,
                                uint64_t head_len)
{
    struct segment *s = log->open;
    static const uint8_t padding[REC_ALIGN];
    struct record r = {
        .body_crc = crc32c(0, body, body_len), .body_len = (uint32_t)body_len, .type = REC_FOOTER};
    rec_stamp(&r, s->generation, s->end);
    struct iovec iov[3] = {
        {&r, sizeof r},
        {(void *)(uintptr_t)body, body_len},
        {(void *)(uintptr_t)padding, rec_size(body_len) - sizeof r - body_len},
    };
    struct seg_trailer t = {
        .footer_offset = s->end,
        .body_len = body_len,
        .head_len = head_len,
        .head_crc = crc32c(0, body, head_len),
        .generation = s->generation,
        .flags = log->durability == LS_SYNC ? 0 : SEG_UNSYNCED,
    };
    seg_trailer_fill(&t);
    int rc = disk_writev(log->faults, s->fd, iov, 3, s->end);
    if (!rc)
        rc = disk_write(log->faults, s->fd, &t, sizeof t, s->size_bytes - sizeof t);
    return log_disk_result(log, rc, "pwritev", s->generation);
}

/* Ends the open segment with its footer. In LS_OS mode nothing is synced, here either: that mode
 * survives the end of the process, not of the machine, and a sync of a whole segment would hold up
 * every append for as long as the disk takes for it. */
static enum tg_err seal(struct log_store *log)
{
    struct segment *s = log->open;
    enum tg_err e = TG_OK;
    uint64_t body_len = 0, head_len = 0;
    uint8_t *body = registry_footer(&log->reg, &body_len, &head_len);
    uint64_t end = s->end + rec_size(body_len) + sizeof(struct seg_trailer);
    if (!e && end > s->size_bytes)
        e = grow_segment(log, end);
    if (!e)
        e = write_footer(log, body, body_len, head_len);
    free(body);
    if (!e && log->durability == LS_SYNC)
        e = log_disk_result(log, disk_sync(log->faults, s->fd), "fdatasync", s->generation);
    if (e)
        return e;
    int fd = s->fd;
    pthread_mutex_lock(&log->reg_lock);
    registry_sealed(&log->reg, s->end);
    s->fd = -1;
    pthread_mutex_unlock(&log->reg_lock);
    close(fd);
    log->open = NULL;
    return TG_OK;
}

/* Takes the spare if there is one; else asks for it. TG_EBUSY: it is being made; TG_ENOSPC. */
static enum tg_err take_spare(struct log_store *log, struct segment **out)
{
    struct spare_maker *sp = &log->spare;
    enum tg_err e = TG_OK;
    pthread_mutex_lock(&log->lock);
    *out = sp->ready;
    if (sp->ready) {
        sp->ready = NULL;
        sp->wanted = sp->hurry = false;
    } else {
        e = sp->error ? TG_ENOSPC : TG_EBUSY;
        sp->wanted = sp->hurry = true;
        pthread_cond_signal(&sp->work);
    }
    pthread_mutex_unlock(&log->lock);
    return e;
}

enum tg_err open_next(struct log_store *log)
{
    struct segment *s;
    enum tg_err e = log_failed(log) ? TG_EIO : take_spare(log, &s);
    if (e)
        return e;
    if (log->open && (e = seal(log)) != TG_OK) {
        pthread_mutex_lock(&log->lock);
        log->spare.ready = s;
        pthread_mutex_unlock(&log->lock);
        return e;
    }
    pthread_mutex_lock(&log->reg_lock);
    registry_add_segment(&log->reg, s);
    pthread_mutex_unlock(&log->reg_lock);
    log->open = s;
    log->synced = s->end;
    return TG_OK;
}

void open_want_spare(struct log_store *log)
{
    if (log->open->end < log->open->size_bytes / 2)
        return;
    pthread_mutex_lock(&log->lock);
    if (!log->spare.wanted && !log->spare.ready) {
        log->spare.wanted = true;
        pthread_cond_signal(&log->spare.work);
    }
    pthread_mutex_unlock(&log->lock);
}

/* ---- records of the committer's own ---- */

enum tg_err open_write_own(struct log_store *log, struct block *blk)
{
    struct batch b = {.block = blk, .from = 0, .to = blk->used};
    struct group g = {.batches = &b, .count = 1, .bytes = blk->used};
    if (!log->open || !open_fits(log, g.bytes, 0, 0))
        return TG_ENOSPC;
    enum tg_err e = open_write(log, &g);
    if (!e)
        open_publish(log, &g);
    return e;
}
