/* The copier: segments of which little is needed are emptied by copying that little forward, to the
 * end of the log, so that one forgotten subscription does not keep whole segments. A thread reads
 * the entries and hands the copies, a batch at a time, to the committer, which writes them like
 * everything else and then lets the registry know where the entries are now.
 *
 * Invariants: a segment is recycled only after nothing in the registry lies in it, so only after
 * the copies are durable; until then an entry may be in two segments, and the start believes the
 * newer one. An entry that does not check is never copied: its segment stays as it is.
 *
 * The rate is bounded, so that copying takes a bounded part of the disk: COPY_BYTES_PER_S, and in
 * addition a third of what is appended. A segment that is copied is at most a quarter live, so
 * every byte copied frees three, and a third of what comes in is the most that keeps up with it. */
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "store/engine.h"
#include "store/fetch.h"

/* A group that has a copy in it takes longer by about this much: a fraction of a millisecond. */
#define COPY_BATCH_BYTES   (128u << 10)
#define COPY_ENTRIES_MOST  1024 /* of one read */
#define COPY_APPENDED_PART 3
#define PACE_SLICE_NS      (5 * MONO_MS)
#define RETRY_NS           MONO_S /* after the disk was full */

struct copying { /* the thread's own */
    struct log_store *log;
    struct segment *seg; /* pinned */
    int fd;
    struct block *block;
    uint32_t records;
    /* the rate */
    int64_t last_ns, credit_bytes;
    uint64_t appended_bytes;
};

static bool stopped(struct log_store *log)
{
    pthread_mutex_lock(&log->lock);
    bool yes = log->copier.stop || log->state == LS_FAILED;
    pthread_mutex_unlock(&log->lock);
    return yes;
}

/* Sleeps; false: the store is being closed, or has failed. */
static bool pause_ns(struct log_store *log, int64_t span_ns)
{
    pthread_mutex_lock(&log->lock);
    if (!log->copier.stop)
        cond_wait_ns(&log->copier.work, &log->lock, span_ns);
    pthread_mutex_unlock(&log->lock);
    return !stopped(log);
}

/* ---- the rate ---- */

static void earn(struct copying *c)
{
    struct log_store *log = c->log;
    int64_t now_ns = mono_now_ns();
    uint64_t appended = atomic_load_explicit(&log->appended_bytes, memory_order_relaxed);
    int64_t span_ns = now_ns - c->last_ns < MONO_S ? now_ns - c->last_ns : MONO_S;
    c->credit_bytes += (int64_t)((double)span_ns * (double)log->copy_bytes_per_s / MONO_S);
    c->credit_bytes += (int64_t)((appended - c->appended_bytes) / COPY_APPENDED_PART);
    if (c->credit_bytes > COPY_BATCH_BYTES)
        c->credit_bytes = COPY_BATCH_BYTES;
    c->last_ns = now_ns;
    c->appended_bytes = appended;
}

static bool pace(struct copying *c, uint64_t bytes)
{
    c->credit_bytes -= (int64_t)bytes;
    for (earn(c); c->credit_bytes < 0; earn(c))
        if (!pause_ns(c->log, PACE_SLICE_NS))
            return false;
    return !stopped(c->log);
}

/* ---- handing over ---- */

void copier_done(struct log_store *log, struct batch *b, bool lost)
{
    (void)b; /* it is the thread's */
    pthread_mutex_lock(&log->lock);
    log->copier.under_way = false;
    log->copier.lost = lost;
    pthread_cond_signal(&log->copier.work);
    pthread_mutex_unlock(&log->lock);
}

/* Hands the block to the committer and waits until it is durable. False: it was not written. */
static bool flush(struct copying *c)
{
    struct log_store *log = c->log;
    struct batch b = {.block = c->block, .to = c->block->used, .count = c->records};
    if (b.to == 0)
        return true;
    pthread_mutex_lock(&log->lock);
    log->copier.handed = &b;
    log->copier.under_way = true;
    log->committer_waits = false;
    pthread_cond_signal(&log->work);
    while (log->copier.under_way)
        pthread_cond_wait(&log->copier.work, &log->lock);
    bool lost = log->copier.lost;
    pthread_mutex_unlock(&log->lock);
    c->block->used = 0;
    c->records = 0;
    return !lost && pace(c, b.to);
}

/* Room for a record of <need> bytes; NULL: what was in its way was not written. */
static struct record *place(struct copying *c, uint64_t need)
{
    if (c->block->cap - c->block->used < need && !flush(c))
        return NULL;
    if (c->block->cap < need) {
        free(c->block);
        c->block = block_new((uint32_t)need);
    }
    struct record *r = (struct record *)(void *)(c->block->data + c->block->used);
    c->block->used += (uint32_t)need;
    c->records++;
    return r;
}

static bool add(struct copying *c, uint64_t ledger, const struct ls_entry *e)
{
    uint64_t need = rec_size(e->len);
    struct record *r = place(c, need);
    if (!r)
        return false;
    *r = (struct record){
        .body_crc = e->crc,
        .body_len = e->len,
        .messages = e->messages,
        .ledger = ledger,
        .entry = e->entry,
        .admitted_ns = e->admitted_ns,
        .type = REC_COPY,
    };
    uint8_t *to = (uint8_t *)(r + 1);
    memcpy(to, e->body, e->len);
    memset(to + e->len, 0, need - sizeof *r - e->len);
    return true;
}

/* ---- one segment ---- */

static bool plan(struct copying *c, struct live_place *p, struct fetch *f)
{
    struct log_store *log = c->log;
    pthread_mutex_lock(&log->reg_lock);
    struct ledger *l;
    const struct run *run = registry_next_live(&log->reg, c->seg, p, &l);
    if (run)
        fetch_plan(l, run, p->entry, COPY_ENTRIES_MOST, f);
    pthread_mutex_unlock(&log->reg_lock);
    return run != NULL;
}

/* Reads what was planned, or the first part of it, and adds it to the block. */
static enum tg_err copy_planned(struct copying *c, struct live_place *p, struct fetch *f)
{
    struct fetched got;
    enum tg_err e = fetch_read(c->log, f, c->fd, COPY_BATCH_BYTES, &got);
    p->entry = f->first + got.count;
    for (uint32_t i = 0; i < got.count && !e; i++)
        e = add(c, f->ledger, &got.entries[i]) ? TG_OK : TG_EBUSY;
    free(got.buffer);
    return e;
}

/* TG_EBUSY: there was no room, or the store is being closed; what is copied already stays. */
static enum tg_err copy_segment(struct copying *c)
{
    struct live_place p = {0};
    struct fetch f;
    enum tg_err e = TG_OK;
    while (!e && plan(c, &p, &f)) {
        e = copy_planned(c, &p, &f);
        fetch_fini(c->log, &f);
    }
    if (!e && !flush(c))
        e = TG_EBUSY;
    c->block->used = 0;
    c->records = 0;
    return e;
}

/* Pins the segment from which to copy next. */
static bool choose(struct copying *c)
{
    pthread_mutex_lock(&c->log->reg_lock);
    c->seg = registry_sparse(&c->log->reg);
    if (c->seg)
        c->seg->pins++;
    pthread_mutex_unlock(&c->log->reg_lock);
    return c->seg != NULL;
}

static enum tg_err copy_chosen(struct copying *c)
{
    struct log_store *log = c->log;
    struct fetch pinned = {.seg = c->seg, .generation = c->seg->generation};
    enum tg_err e = TG_EIO;
    if (!fetch_open(log, &pinned, &c->fd)) {
        e = copy_segment(c);
        close(c->fd);
    }
    if (e == TG_EIO || e == TG_ECORRUPT) {
        pthread_mutex_lock(&log->reg_lock);
        c->seg->damaged = true;
        pthread_mutex_unlock(&log->reg_lock);
        log_error("store: segment %08u stays as it is, though little of it is needed: %s. "
                  "`tidegate store verify` says more",
                  c->seg->generation, err_text(e));
    }
    fetch_fini(log, &pinned);
    return e;
}

static void copy_all(struct log_store *log)
{
    struct copying c = {.log = log, .last_ns = mono_now_ns()};
    c.appended_bytes = atomic_load_explicit(&log->appended_bytes, memory_order_relaxed);
    c.block = block_new(COPY_BATCH_BYTES);
    while (!stopped(log) && choose(&c))
        if (copy_chosen(&c) == TG_EBUSY && !pause_ns(log, RETRY_NS))
            break;
    free(c.block);
}

/* ---- the thread ---- */

void copier_look(struct log_store *log)
{
    pthread_mutex_lock(&log->lock);
    if (!log->copier.look) {
        log->copier.look = true;
        pthread_cond_signal(&log->copier.work);
    }
    pthread_mutex_unlock(&log->lock);
}

void *copier_main(void *store)
{
    struct log_store *log = store;
    struct copier *c = &log->copier;
    pthread_mutex_lock(&log->lock);
    while (!c->stop) {
        if (!c->look || log->copy_bytes_per_s == LS_COPY_NEVER) {
            pthread_cond_wait(&c->work, &log->lock);
            continue;
        }
        c->look = false;
        pthread_mutex_unlock(&log->lock);
        copy_all(log);
        pthread_mutex_lock(&log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}
