/* The committer: one thread takes what all ports submitted, writes it as one group at the end of
 * the open segment, syncs, and only then lets the registry know and gives the batches back. What it
 * has not written waits in its pending queue, in the order of submission.
 *
 * Invariants: at most one group is written and not yet synced (LS_SYNC); any error of the disk but
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
#include "store/committer.h"

/* A larger group would make its first appenders wait for the last: a few ms of a disk's time. */
#define GROUP_BYTES_MOST (4u << 20)
#define FULL_RETRY_NS    (100 * MONO_MS)
/* The least time between two groups that are not synced, when the first is small and they follow
 * each other closely. */
#define GROUP_PACE_NS     (MONO_MS / 5)
#define GROUP_CLOSE_NS    (MONO_MS / 20)
#define GROUP_SMALL_BYTES (64u << 10)

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

bool log_failed(struct log_store *log)
{
    pthread_mutex_lock(&log->lock);
    bool yes = log->state == LS_FAILED;
    pthread_mutex_unlock(&log->lock);
    return yes;
}

enum tg_err log_disk_result(struct log_store *log, int rc, const char *call, uint32_t generation)
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
 * little for more to go into it; as long as more does. Who submits now and then waits for nothing,
 * and who waits for the receipt before he goes on is not waited for every time. */
static void pace_groups(const struct log_store *log)
{
    int64_t left_ns = log->took_ns + GROUP_PACE_NS - mono_now_ns();
    if (!log->is_paced || left_ns <= 0)
        return;
    struct timespec ts = {.tv_nsec = left_ns};
    nanosleep(&ts, NULL);
}

static void look_at_pace(struct log_store *log, bool had_more)
{
    int64_t now_ns = mono_now_ns();
    bool close = now_ns - log->took_ns < GROUP_CLOSE_NS;
    log->is_paced = log->durability == LS_OS && log->group_bytes < GROUP_SMALL_BYTES &&
                    (log->is_paced ? had_more : close);
    log->took_ns = now_ns;
}

/* Waits for something to do; false: close was called and nothing is left. */
static bool take_work(struct log_store *log)
{
    struct batch_queue taken;
    pace_groups(log);
    pthread_mutex_lock(&log->lock);
    bool had_more = log->queue.head && log->queue.head->next; /* than one turn's of a worker */
    wait_for_work(log);
    look_at_pace(log, had_more);
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

/* ---- the loop ---- */

/* The copier's batch goes along when there is room. */
static void gather_copy(struct log_store *log, struct group *g, uint64_t entries)
{
    struct batch *b = log->copy;
    if (!b || g->count == GROUP_BATCHES_MOST ||
        !open_fits(log, g->bytes + b->to, entries + b->count, open_reserve(log)))
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
        if (!open_fits(log, bytes, entries + b->count, open_reserve(log)))
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
        enum tg_err e = open_next(log);
        if (e)
            return e;
    }
    struct group g;
    gather(log, &g);
    if (g.count == 0 && log->open->end > SEG_DATA_START)
        return open_next(log);
    if (g.count == 0) /* more than a whole segment: this one gets longer */
        return open_grow_for(log, log->pending.head ? log->pending.head : log->copy);
    enum tg_err e = open_write(log, &g);
    if (e) {
        ungather(log, &g);
        return e;
    }
    log->group_bytes = g.bytes;
    open_publish(log, &g);
    log_set_state(log, LS_OK, NULL);
    give_back(log, g.batches, false);
    open_want_spare(log);
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
    bool fit = log->open && open_fits(log, b->to, b->count, open_reserve(log) / 2);
    enum tg_err e = fit ? open_write(log, &g) : TG_ENOSPC;
    if (!e)
        open_publish(log, &g);
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
        if (log_failed(log) || (e == TG_ENOSPC && stopping(log)))
            drop_pending(log);
        else if (e)
            wait_for_room(log, e);
    }
}

/* After it, whatever fails to check below the mark is damage, not a torn tail. */
static void mark_clean(struct log_store *log)
{
    if (!log->open || log_failed(log) || recycle_log_trims(log) != TG_OK)
        return;
    struct block *blk = block_new(sizeof(struct record));
    struct record r = {.type = REC_CLEAN};
    memcpy(blk->data, &r, sizeof r);
    blk->used = sizeof r;
    if (log->durability == LS_OS && disk_sync(log->faults, log->open->fd) == 0)
        log->synced = log->open->end;
    if (open_write_own(log, blk) == TG_OK && log->durability == LS_OS)
        log_disk_result(log, disk_sync(log->faults, log->open->fd), "fdatasync",
                        log->open->generation);
    free(blk);
}

void *committer_main(void *store)
{
    struct log_store *log = store;
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* of this thread: or a pause takes half as long again */
    while (take_work(log)) {
        commit_pending(log);
        if (!log_failed(log))
            recycle(log);
    }
    mark_clean(log);
    return NULL;
}
