/* The committer: one thread takes what all ports submitted, writes it as one group at the end of
 * the open segment, syncs, and only then lets the registry know and gives the batches back. What it
 * has not written waits in its pending queue, in the order of submission.
 *
 * Invariants: at most one group is written and not yet synced (LS_SYNC); a segment is sealed,
 * synced, before anything is written to the next; a segment is recycled only after the trims that
 * made it needless, and the copies of what was needed in it, are on disk. Any error of the disk but
 * a lack of room ends the store: nothing is written or reported afterwards. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "store/engine.h"

#define GROUP_BATCHES_MOST 256
/* A larger group would make its first appenders wait for the last: a few ms of a disk's time. */
#define GROUP_BYTES_MOST (4u << 20)
#define FULL_RETRY_NS    (100 * MONO_MS)
/* The least time between two groups that are not synced, when the first is small. */
#define GROUP_PACE_NS     (MONO_MS / 10)
#define GROUP_SMALL_BYTES (64u << 10)
#define FIRST_TRIMS       64

struct group {
    struct batch *batches, **tail;
    uint32_t count;
    uint64_t bytes; /* of records, without the group header */
};

/* ---- state, and giving batches back ---- */

void log_set_state(struct log_store *log, enum ls_state state, char *why)
{
    pthread_mutex_lock(&log->lock);
    if (log->state == LS_FAILED || log->state == state) {
        pthread_mutex_unlock(&log->lock);
        free(why);
        return;
    }
    log->state = state;
    free(log->why);
    log->why = why;
    for (struct log_port *p = log->ports; p; p = p->next)
        port_put_state(p, state, why);
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->lock);
    if (state == LS_OK)
        log_info("store: there is room again");
    else
        log_error("store: %s: %s", state == LS_FULL ? "full" : "failed", why ? why : "");
}

static bool failed(struct log_store *log)
{
    pthread_mutex_lock(&log->lock);
    bool yes = log->state == LS_FAILED;
    pthread_mutex_unlock(&log->lock);
    return yes;
}

/* TG_OK, TG_ENOSPC, or TG_EIO: then the store has failed. */
static enum tg_err disk_result(struct log_store *log, int rc, const char *call, uint32_t generation)
{
    if (rc == 0)
        return TG_OK;
    char name[SEG_NAME_BYTES];
    segment_name(name, generation);
    char text[128];
    char *why = xasprintf("%s of %s: %s", call, name, strerror_r(rc, text, sizeof text));
    /* After a failed sync the kernel has forgotten which pages were dirty, whatever the reason. */
    bool full = disk_err(rc) == TG_ENOSPC && strcmp(call, "fdatasync") != 0;
    log_set_state(log, full ? LS_FULL : LS_FAILED, why);
    return full ? TG_ENOSPC : TG_EIO;
}

static void give_back(struct log_store *log, struct batch *list, bool lost)
{
    if (list && !list->port) { /* the copier's comes first in a group */
        struct batch *copy = list;
        list = copy->next;
        copier_done(log, copy, lost);
    }
    while (list) {
        struct log_port *p = list->port;
        pthread_mutex_lock(&p->done_lock);
        while (list && list->port == p) {
            struct batch *b = list;
            list = b->next;
            b->next = NULL;
            b->lost = lost;
            *p->done_tail = b;
            p->done_tail = &b->next;
        }
        port_unlock_and_wake(p);
    }
}

/* ---- taking work ---- */

/* What was taken from the queue becomes pending. Trims count at once, and batches that hold nothing
 * else go back. */
static void accept(struct log_store *log, struct batch *list)
{
    struct batch_queue done;
    batch_queue_init(&done);
    pthread_mutex_lock(&log->reg_lock);
    for (struct batch *next; list; list = next) {
        next = list->next;
        for (uint32_t i = 0; i < list->trim_count; i++)
            registry_trim(&log->reg, list->trims[i].ledger, list->trims[i].first_needed);
        list->trim_count = 0;
        batch_queue_push(list->block ? &log->pending : &done, list);
    }
    pthread_mutex_unlock(&log->reg_lock);
    give_back(log, done.head, false);
}

static void take_queue(struct log_store *log, struct batch_queue *taken) /* lock held */
{
    batch_queue_init(taken);
    batch_queue_splice(taken, &log->queue);
    if (log->copier.handed) /* one at a time: there is none yet */
        log->copy = log->copier.handed;
    log->copier.handed = NULL;
    log->recheck = false;
}

static bool has_work(const struct log_store *log) /* lock held */
{
    return log->queue.head || log->pending.head || log->copier.handed || log->recheck;
}

/* Lock held. Where groups are synced, the processor is offered to others once after the wake-up:
 * workers that share it finish their turn, and the group, which costs a sync, gets larger for it.
 * Where they are not, a group costs a write, and whoever waits for its receipts should not wait. */
static void wait_for_work(struct log_store *log)
{
    while (!has_work(log) && !log->stop) {
        log->committer_waits = true;
        pthread_cond_wait(&log->work, &log->lock);
        if (log->durability == LS_OS)
            continue;
        pthread_mutex_unlock(&log->lock);
        sched_yield();
        pthread_mutex_lock(&log->lock);
    }
    log->committer_waits = false;
}

/* A group costs two changes of threads, whatever is in it, and where nothing is synced these are
 * most of what a small one costs. So when small ones follow each other closely, the next waits a
 * little for more to go into it. Who submits now and then waits for nothing. */
static void pace_groups(const struct log_store *log)
{
    int64_t left_ns = log->took_ns + GROUP_PACE_NS - mono_now_ns();
    if (!log->is_paced || left_ns <= 0)
        return;
    struct timespec ts = {.tv_nsec = left_ns};
    nanosleep(&ts, NULL);
}

static void look_at_pace(struct log_store *log, bool had_work)
{
    int64_t now_ns = mono_now_ns();
    bool close = now_ns - log->took_ns < GROUP_PACE_NS / 2;
    log->is_paced = log->durability == LS_OS && log->group_bytes < GROUP_SMALL_BYTES &&
                    (log->is_paced ? had_work : close);
    log->took_ns = now_ns;
}

/* Waits for something to do; false: close was called and nothing is left. */
static bool take_work(struct log_store *log)
{
    struct batch_queue taken;
    pace_groups(log);
    pthread_mutex_lock(&log->lock);
    bool had_work = has_work(log);
    wait_for_work(log);
    look_at_pace(log, had_work);
    bool more = has_work(log);
    take_queue(log, &taken);
    pthread_mutex_unlock(&log->lock);
    accept(log, taken.head);
    return more;
}

/* While full: batches of ports that close go back undone (drops; the deletion is repeated when the
 * store is opened again and nobody knows the ledger). */
static void give_up_closing(struct log_store *log)
{
    struct batch_queue keep, lost;
    batch_queue_init(&keep);
    batch_queue_init(&lost);
    pthread_mutex_lock(&log->lock);
    for (struct batch *b = log->pending.head, *next; b; b = next) {
        next = b->next;
        batch_queue_push(b->port->closing ? &lost : &keep, b);
    }
    pthread_mutex_unlock(&log->lock);
    batch_queue_init(&log->pending);
    batch_queue_splice(&log->pending, &keep);
    give_back(log, lost.head, true);
}

/* ---- writing a group ---- */

static void stamp_batch(const struct batch *b, uint32_t generation, uint64_t offset)
{
    for (uint32_t at = b->from; at < b->to;) {
        struct record *r = (struct record *)(void *)(b->block->data + at);
        rec_stamp(r, generation, offset + (at - b->from));
        at += (uint32_t)rec_size(r->body_len);
    }
}

/* Writes and syncs <g> at the open segment's end. */
static enum tg_err write_group(struct log_store *log, const struct group *g)
{
    if (failed(log)) /* after a failed sync the next one would lie */
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
    enum tg_err e =
        disk_result(log, disk_writev(log->faults, s->fd, iov, n, s->end), "pwritev", s->generation);
    if (e || log->durability == LS_OS)
        return e;
    atomic_fetch_add_explicit(&log->syncs, 1, memory_order_relaxed);
    e = disk_result(log, disk_sync(log->faults, s->fd), "fdatasync", s->generation);
    if (!e)
        log->synced = offset;
    return e;
}

/* The group is durable: readers may see it. */
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

static void publish(struct log_store *log, const struct group *g)
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

/* Part of every segment that entries leave free, so that a full store can still log the trims that
 * let it recycle something. */
static uint64_t trim_reserve(const struct log_store *log)
{
    return align_up(log->segment_bytes / 32, REC_ALIGN);
}

/* Room for records of <bytes> with <entries> entries among them, and the footer afterwards? */
static bool fits(const struct log_store *log, uint64_t bytes, uint64_t entries, uint64_t reserve)
{
    const struct segment *s = log->open;
    uint64_t need = sizeof(struct record) + bytes + registry_footer_bound(&log->reg, entries);
    return s->end + need + reserve <= s->size_bytes;
}

static enum tg_err grow_segment(struct log_store *log, uint64_t size_bytes)
{
    struct segment *s = log->open;
    size_bytes = align_up(size_bytes, SEG_DATA_START);
    enum tg_err e =
        disk_result(log, disk_allocate(log->faults, s->fd, size_bytes), "fallocate", s->generation);
    if (e)
        return e;
    pthread_mutex_lock(&log->reg_lock);
    s->size_bytes = size_bytes;
    pthread_mutex_unlock(&log->reg_lock);
    return TG_OK;
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
    return disk_result(log, rc, "pwritev", s->generation);
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
        e = disk_result(log, disk_sync(log->faults, s->fd), "fdatasync", s->generation);
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

/* The open segment is used up (or there is none yet): seals it and begins the spare. The old one
 * stays open until the spare is there, for the trims of a full store. */
static enum tg_err next_segment(struct log_store *log)
{
    struct segment *s;
    enum tg_err e = failed(log) ? TG_EIO : take_spare(log, &s);
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

/* Half full: the next one is made meanwhile. */
static void want_spare(struct log_store *log)
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

/* Writes <bytes> of records that are not a port's. They may use what is kept free for them. */
static enum tg_err write_own(struct log_store *log, struct block *blk)
{
    struct batch b = {.block = blk, .from = 0, .to = blk->used};
    struct group g = {.batches = &b, .count = 1, .bytes = blk->used};
    if (!log->open || !fits(log, g.bytes, 0, 0))
        return TG_ENOSPC;
    enum tg_err e = write_group(log, &g);
    if (!e)
        publish(log, &g);
    return e;
}

static void add_trim(struct block **blk, const struct ledger *l)
{
    if (l->trimmed_to == l->trim_logged)
        return;
    if ((*blk)->cap - (*blk)->used < sizeof(struct record)) {
        (*blk)->cap *= 2;
        *blk = xrealloc(*blk, sizeof **blk + (*blk)->cap);
    }
    struct record r = {.ledger = l->id, .entry = l->trimmed_to, .type = REC_TRIM};
    memcpy((*blk)->data + (*blk)->used, &r, sizeof r);
    (*blk)->used += (uint32_t)sizeof r;
}

static void note_logged(struct registry *reg, const struct block *blk)
{
    for (uint32_t at = 0; at < blk->used; at += (uint32_t)sizeof(struct record)) {
        const struct record *r = (const struct record *)(const void *)(blk->data + at);
        struct ledger *l = registry_ledger(reg, r->ledger);
        l->trim_logged = r->entry;
    }
}

/* Writes the trims in <blk>, which it frees. */
static enum tg_err log_trims(struct log_store *log, struct block *blk)
{
    enum tg_err e = blk->used ? write_own(log, blk) : TG_OK;
    if (!e)
        note_logged(&log->reg, blk);
    free(blk);
    return e;
}

static enum tg_err log_all_trims(struct log_store *log)
{
    struct block *blk = block_new(FIRST_TRIMS * sizeof(struct record));
    uint32_t at = 0;
    for (struct ledger *l; (l = idmap_next(&log->reg.ledgers, &at));)
        add_trim(&blk, l);
    return log_trims(log, blk);
}

/* The trims of all ledgers that have, or had, entries in <s>. */
static void add_trims_of(struct log_store *log, struct block **blk, const struct segment *s)
{
    for (uint32_t i = 0; i < s->ledger_count; i++) {
        const struct ledger *l = registry_ledger(&log->reg, s->ledgers[i]);
        if (l)
            add_trim(blk, l);
    }
}

/* Chooses which segments are to go, as many as the room for their trims allows, and logs those
 * trims: a crash must not leave a hole inside a ledger. False: none. (Only this thread changes the
 * registry; but readers pin.) */
static bool let_go(struct log_store *log)
{
    pthread_mutex_lock(&log->reg_lock);
    struct segment *first = registry_recyclable(&log->reg, NULL);
    bool sparse = log->reg.look_sparse;
    pthread_mutex_unlock(&log->reg_lock);
    if (sparse)
        copier_look(log);
    if (!first)
        return false;
    struct block *blk = block_new(FIRST_TRIMS * sizeof(struct record));
    bool any = false;
    pthread_mutex_lock(&log->reg_lock);
    for (struct segment *s = first; s; s = registry_recyclable(&log->reg, s)) {
        uint32_t before = blk->used;
        add_trims_of(log, &blk, s);
        s->leaving = blk->used == 0 || (log->open && fits(log, blk->used, 0, 0));
        any = any || s->leaving;
        if (s->leaving)
            continue;
        blk->used = before;
        break;
    }
    pthread_mutex_unlock(&log->reg_lock);
    return log_trims(log, blk) == TG_OK && any;
}

/* Takes those out of the registry that nobody pinned meanwhile. */
static struct segment *remove_leaving(struct log_store *log, bool go)
{
    struct segment *out = NULL;
    pthread_mutex_lock(&log->reg_lock);
    for (struct segment *s = log->reg.segments, *next; s; s = next) {
        next = s->next;
        if (s->leaving && go && s->pins == 0) {
            registry_remove_segment(&log->reg, s);
            s->next = out;
            out = s;
        }
        s->leaving = false;
    }
    pthread_mutex_unlock(&log->reg_lock);
    return out;
}

/* Sealed segments that nothing needs go to the spare maker, which renames them. */
static void recycle(struct log_store *log)
{
    bool go = let_go(log);
    struct segment *s = remove_leaving(log, go);
    if (!s)
        return;
    pthread_mutex_lock(&log->lock);
    while (s) {
        struct segment *next = s->next;
        s->next = log->spare.to_free;
        log->spare.to_free = s;
        s = next;
    }
    log->spare.error = 0;
    pthread_cond_signal(&log->spare.work);
    pthread_mutex_unlock(&log->lock);
}

/* ---- the loop ---- */

/* The copier's batch goes along when there is room. */
static void gather_copy(struct log_store *log, struct group *g, uint64_t entries)
{
    struct batch *b = log->copy;
    if (!b || g->count == GROUP_BATCHES_MOST ||
        !fits(log, g->bytes + b->to, entries + b->count, trim_reserve(log)))
        return;
    log->copy = NULL;
    b->next = g->batches;
    if (!b->next)
        g->tail = &b->next;
    g->batches = b;
    g->count++;
    g->bytes += b->to;
}

/* Moves as many pending batches into <g> as one group and the segment take. */
static void gather(struct log_store *log, struct group *g)
{
    uint64_t entries = 0;
    *g = (struct group){.tail = &g->batches};
    while (log->pending.head && g->count < GROUP_BATCHES_MOST) {
        struct batch *b = log->pending.head;
        uint64_t bytes = g->bytes + (b->to - b->from);
        if (g->count && bytes > GROUP_BYTES_MOST)
            break;
        if (!fits(log, bytes, entries + b->count, trim_reserve(log)))
            break;
        log->pending.head = b->next;
        if (!b->next)
            log->pending.tail = &log->pending.head;
        b->next = NULL;
        *g->tail = b;
        g->tail = &b->next;
        g->count++;
        g->bytes = bytes;
        entries += b->count;
    }
    gather_copy(log, g, entries);
}

/* Puts the batches of a group that was not written back to the front. */
static void ungather(struct log_store *log, struct group *g)
{
    struct batch *copy = g->batches;
    if (!copy->port) {
        log->copy = copy;
        g->batches = copy->next;
        copy->next = NULL;
        if (!g->batches)
            return;
    }
    struct batch_queue q = {g->batches, g->tail};
    batch_queue_splice(&q, &log->pending);
    log->pending.head = q.head;
    log->pending.tail = q.tail;
}

static void drop_pending(struct log_store *log)
{
    struct batch *lost = log->pending.head;
    batch_queue_init(&log->pending);
    give_back(log, lost, true);
    give_back(log, log->copy, true);
    log->copy = NULL;
}

/* One group of what is pending. TG_EBUSY and TG_ENOSPC: not now. */
static enum tg_err commit_some(struct log_store *log)
{
    if (!log->open) {
        enum tg_err e = next_segment(log);
        if (e)
            return e;
    }
    struct group g;
    gather(log, &g);
    if (g.count == 0 && log->open->end > SEG_DATA_START)
        return next_segment(log);
    if (g.count == 0) { /* more than a whole segment: this one gets longer */
        const struct batch *b = log->pending.head ? log->pending.head : log->copy;
        return grow_segment(log, log->open->end + sizeof(struct record) + (b->to - b->from) +
                                     registry_footer_bound(&log->reg, b->count) +
                                     trim_reserve(log));
    }
    enum tg_err e = write_group(log, &g);
    if (e) {
        ungather(log, &g);
        return e;
    }
    log->group_bytes = g.bytes;
    publish(log, &g);
    log_set_state(log, LS_OK, NULL);
    give_back(log, g.batches, false);
    want_spare(log);
    return TG_OK;
}

/* On a full disk what is kept free for trims may be used for copies, half of it: a segment of which
 * little is needed is room. */
static void copy_when_full(struct log_store *log)
{
    struct batch *b = log->copy;
    if (!b)
        return;
    struct group g = {.batches = b, .count = 1, .bytes = b->to};
    bool fit = log->open && fits(log, b->to, b->count, trim_reserve(log) / 2);
    enum tg_err e = fit ? write_group(log, &g) : TG_ENOSPC;
    if (!e)
        publish(log, &g);
    log->copy = NULL;
    give_back(log, b, e != TG_OK);
}

/* The spare is being made, or the disk is full: trims go on meanwhile, and may make room. */
static void wait_for_room(struct log_store *log, enum tg_err e)
{
    struct batch_queue taken;
    if (e == TG_ENOSPC) {
        log_set_state(log, LS_FULL, xasprintf("no room on the disk for another segment"));
        give_up_closing(log);
        copy_when_full(log);
    }
    pthread_mutex_lock(&log->lock);
    log->committer_waits = true;
    if (!log->queue.head && !log->copier.handed && (e == TG_ENOSPC || !log->spare.ready))
        cond_wait_ns(&log->work, &log->lock, FULL_RETRY_NS);
    take_queue(log, &taken);
    pthread_mutex_unlock(&log->lock);
    accept(log, taken.head);
    recycle(log);
}

static bool stopping(struct log_store *log)
{
    pthread_mutex_lock(&log->lock);
    bool yes = log->stop;
    pthread_mutex_unlock(&log->lock);
    return yes;
}

static void commit_pending(struct log_store *log)
{
    while (log->pending.head || log->copy) {
        enum tg_err e = commit_some(log);
        if (failed(log) || (e == TG_ENOSPC && stopping(log)))
            drop_pending(log);
        else if (e)
            wait_for_room(log, e);
    }
}

/* After it, whatever fails to check below the mark is damage, not a torn tail. */
static void mark_clean(struct log_store *log)
{
    if (!log->open || failed(log) || log_all_trims(log) != TG_OK)
        return;
    struct block *blk = block_new(sizeof(struct record));
    struct record r = {.type = REC_CLEAN};
    memcpy(blk->data, &r, sizeof r);
    blk->used = sizeof r;
    if (log->durability == LS_OS && disk_sync(log->faults, log->open->fd) == 0)
        log->synced = log->open->end;
    if (write_own(log, blk) == TG_OK && log->durability == LS_OS)
        (void)disk_result(log, disk_sync(log->faults, log->open->fd), "fdatasync",
                          log->open->generation);
    free(blk);
}

void *committer_main(void *store)
{
    struct log_store *log = store;
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* of this thread: or a pause takes half as long again */
    while (take_work(log)) {
        commit_pending(log);
        if (!failed(log))
            recycle(log);
    }
    mark_clean(log);
    return NULL;
}
