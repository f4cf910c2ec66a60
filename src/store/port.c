/* A port: appends are copied into the open block, a turn's worth of them goes to the committer as
 * batches, and comes back through poll. No lock and no allocation per message: one lock per submit
 * and one per poll.
 *
 * Whoever wakes a port is counted while it does so, and a port that is being closed waits for the
 * count to be 0: it can't be woken any more then. */
#include "store/port.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "store/engine.h"

/* A record beyond this is a bug above: frames are bounded far below it. */
#define BODY_BYTES_MOST (UINT64_C(1) << 30)

struct ls_port *port_open(struct ledger_store *s, const struct ls_port_ops *ops, void *port_ctx)
{
    struct log_store *log = (struct log_store *)s;
    struct log_port *p = xcalloc(1, sizeof *p);
    p->base.store = s;
    p->log = log;
    p->ops = *ops;
    p->ctx = port_ctx;
    p->ready_tail = &p->ready;
    p->blocks_tail = &p->blocks;
    p->done_tail = &p->done;
    p->reads_tail = &p->reads;
    pthread_mutex_init(&p->done_lock, NULL);
    cond_init_mono(&p->done_cond);
    pthread_mutex_lock(&log->lock);
    p->next = log->ports;
    log->ports = p;
    if (log->state != LS_OK)
        port_put_state(p, log->state, log->why);
    pthread_mutex_unlock(&log->lock);
    return (struct ls_port *)p;
}

void port_put_state(struct log_port *p, enum ls_state state, const char *why)
{
    pthread_mutex_lock(&p->done_lock);
    p->state_changed = true;
    p->state = state;
    free(p->why);
    p->why = why ? xstrdup(why) : NULL;
    port_unlock_and_wake(p);
}

void port_unlock_and_wake(struct log_port *p)
{
    bool wake = !p->woken;
    p->woken = true;
    p->wakers += wake;
    pthread_cond_signal(&p->done_cond);
    pthread_mutex_unlock(&p->done_lock);
    if (!wake)
        return;
    p->ops.wake(p->ctx);
    pthread_mutex_lock(&p->done_lock);
    p->wakers--;
    pthread_cond_signal(&p->done_cond);
    pthread_mutex_unlock(&p->done_lock);
}

/* ---- appending ---- */

static struct batch *building(struct log_port *p)
{
    if (!p->building) {
        struct batch *b = p->batch_pool;
        if (b)
            p->batch_pool = b->next;
        else
            b = batch_new(p);
        batch_reset(b);
        p->building = b;
    }
    return p->building;
}

static void finish_building(struct log_port *p)
{
    struct batch *b = p->building;
    if (!b)
        return;
    b->next = NULL;
    *p->ready_tail = b;
    p->ready_tail = &b->next;
    p->ready_count++;
    p->building = NULL;
}

static struct block *next_block(struct log_port *p, uint64_t need)
{
    uint32_t cap = p->log->block_bytes;
    struct block *b = p->block_pool;
    if (need > cap) {
        b = block_new((uint32_t)need);
    } else if (b) {
        p->block_pool = b->next;
        p->block_pool_count--;
        *b = (struct block){.cap = cap};
    } else {
        b = block_new(cap);
    }
    b->refs = 1;
    *p->blocks_tail = b;
    p->blocks_tail = &b->next;
    p->open = b;
    return b;
}

/* Room for a record of <need> bytes, in the batch that is being built. */
static struct record *place(struct log_port *p, uint64_t need)
{
    struct block *blk = p->open;
    if (!blk || blk->cap - blk->used < need) {
        if (p->building && p->building->block)
            finish_building(p);
        blk = next_block(p, need);
    }
    struct batch *b = building(p);
    if (!b->block) {
        b->block = blk;
        b->from = b->to = blk->used;
        blk->refs++;
    }
    struct record *r = (struct record *)(void *)(blk->data + blk->used);
    blk->used += (uint32_t)need;
    b->to = blk->used;
    p->inflight_bytes += need;
    return r;
}

/* A port with nothing in flight may always append one entry: it would otherwise wait for an
 * on_append that never comes. */
static bool charge(struct log_port *p, uint64_t need)
{
    struct budget *budget = p->log->budget;
    if (budget_take(budget, BUDGET_INFLIGHT, (int64_t)need))
        return true;
    if (p->inflight_bytes)
        return false;
    budget_force(budget, BUDGET_INFLIGHT, (int64_t)need);
    return true;
}

/* The ledger's tail, brought in line with the store when the ledger is new here, or was another
 * port's meanwhile. */
static struct tail *tail_for(struct log_port *p, uint64_t ledger, uint64_t entry)
{
    struct tail *t = port_find_tail(p, ledger);
    if (t && t->next_entry == entry)
        return t;
    uint64_t next = p->log->base.ops->last_entry(&p->log->base, ledger) + 1;
    if (!t)
        t = port_add_tail(p, ledger, next);
    else if (t->next_entry < next)
        tail_forget(t);
    t->next_entry = next;
    TG_ASSERT(next == entry);
    return t;
}

enum tg_err port_append(struct ls_port *port, uint64_t ledger, uint64_t entry,
                        const struct ls_body *body, uint32_t messages, int64_t admitted_ns,
                        void *ctx)
{
    struct log_port *p = (struct log_port *)port;
    uint64_t len = (uint64_t)body->len[0] + body->len[1];
    uint64_t need = rec_size(len);
    TG_ASSERT(len <= BODY_BYTES_MOST);
    if (!charge(p, need))
        return TG_EBUSY;
    struct tail *t = tail_for(p, ledger, entry);
    t->next_entry++;
    struct record *r = place(p, need);
    *r = (struct record){
        .body_crc = body->crc,
        .body_len = (uint32_t)len,
        .messages = messages,
        .ledger = ledger,
        .entry = entry,
        .admitted_ns = admitted_ns,
        .type = REC_ENTRY,
    };
    uint8_t *to = (uint8_t *)(r + 1);
    if (body->len[0])
        memcpy(to, body->part[0], body->len[0]);
    if (body->len[1])
        memcpy(to + body->len[0], body->part[1], body->len[1]);
    memset(to + len, 0, need - sizeof *r - len);
    batch_add_item(p->building, ctx, (uint32_t)((uint8_t *)r - p->open->data));
    return TG_OK;
}

void port_drop(struct ls_port *port, uint64_t ledger)
{
    struct log_port *p = (struct log_port *)port;
    port_drop_tail(p, ledger);
    budget_force(p->log->budget, BUDGET_INFLIGHT, sizeof(struct record));
    struct record *r = place(p, sizeof *r);
    *r = (struct record){.ledger = ledger, .type = REC_DROP};
}

void port_trim(struct ls_port *port, uint64_t ledger, uint64_t first_needed)
{
    struct log_port *p = (struct log_port *)port;
    batch_add_trim(building(p), ledger, first_needed);
    tail_trim(p, ledger, first_needed);
    port_evict(p);
}

void port_submit(struct ls_port *port)
{
    struct log_port *p = (struct log_port *)port;
    struct log_store *log = p->log;
    finish_building(p);
    if (!p->ready)
        return;
    struct batch_queue q = {p->ready, p->ready_tail};
    p->outstanding += p->ready_count;
    p->ready_count = 0;
    p->ready = NULL;
    p->ready_tail = &p->ready;
    pthread_mutex_lock(&log->lock);
    batch_queue_splice(&log->queue, &q);
    bool waits = log->committer_waits;
    log->committer_waits = false;
    pthread_mutex_unlock(&log->lock);
    if (waits) /* without the lock: on a shared CPU the committer runs at once, and wants it */
        pthread_cond_signal(&log->work);
}

/* ---- what comes back ---- */

static void recycle_batch(struct log_port *p, struct batch *b)
{
    if (b->block) {
        uint32_t n = b->to - b->from;
        p->inflight_bytes -= n;
        budget_give(p->log->budget, BUDGET_INFLIGHT, n);
        block_unref(p, b->block);
    }
    p->outstanding--;
    b->next = p->batch_pool;
    p->batch_pool = b;
}

static void report(struct log_port *p, struct batch *b)
{
    struct block *blk = b->block;
    if (!blk || b->lost)
        return;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct item *it = &b->items[i];
        const struct record *r = (const struct record *)(void *)(blk->data + it->offset);
        struct tail *t = port_find_tail(p, r->ledger);
        if (t) /* else dropped meanwhile */
            tail_push(t, r->entry, blk, it->offset);
        p->ops.on_append(p->ctx, it->ctx, r->ledger, r->entry, TG_OK);
    }
    /* Not before: a trim in on_append must not let go of the block whose entries are still coming.
     */
    blk->committed += b->to - b->from;
    budget_force(p->log->budget, BUDGET_CACHE, b->to - b->from);
}

struct finished { /* all that had come back when poll looked */
    struct batch *batches;
    struct read_job *reads;
    bool state_changed;
    enum ls_state state;
    char *why;
};

static void take_finished(struct log_port *p, struct finished *f)
{
    pthread_mutex_lock(&p->done_lock);
    *f = (struct finished){p->done, p->reads, p->state_changed, p->state, p->why};
    p->done = NULL;
    p->done_tail = &p->done;
    p->reads = NULL;
    p->reads_tail = &p->reads;
    p->reads_back = 0;
    p->woken = p->state_changed = false;
    p->why = NULL;
    pthread_mutex_unlock(&p->done_lock);
}

void port_poll(struct ls_port *port)
{
    struct log_port *p = (struct log_port *)port;
    struct finished f;
    take_finished(p, &f);
    while (f.batches) {
        struct batch *b = f.batches;
        f.batches = b->next;
        report(p, b);
        recycle_batch(p, b);
    }
    port_evict(p);
    while (f.reads) {
        struct read_job *j = f.reads;
        f.reads = j->next;
        p->reads_asked--;
        if (j->hold)
            p->holds++;
        j->done(j->ctx, j->err, j->hold ? j->hold->entries : NULL, j->count, j->hold);
        free(j);
    }
    if (f.state_changed)
        p->ops.on_state(p->ctx, f.state, f.why);
    free(f.why);
}

void port_read(struct ls_port *port, uint64_t ledger, uint64_t first, uint32_t max_entries,
               uint64_t max_bytes, ls_read_done done, void *ctx)
{
    struct log_port *p = (struct log_port *)port;
    struct read_job *j = xcalloc(1, sizeof *j);
    *j = (struct read_job){
        .port = p,
        .ledger = ledger,
        .first = first,
        .max_bytes = max_bytes,
        .max_entries = max_entries,
        .done = done,
        .ctx = ctx,
    };
    p->reads_asked++;
    reader_submit(p->log, j);
}

bool port_finish_reads(struct ls_port *port)
{
    struct log_port *p = (struct log_port *)port;
    if (p->reads_asked == 0)
        return false;
    pthread_mutex_lock(&p->done_lock);
    while (p->reads_back < p->reads_asked)
        pthread_cond_wait(&p->done_cond, &p->done_lock);
    pthread_mutex_unlock(&p->done_lock);
    port_poll(port);
    return true;
}

/* ---- closing ---- */

/* Drops and trims may still be under way; with a full disk the committer gives them back undone. */
static void wait_for_batches(struct log_port *p)
{
    struct log_store *log = p->log;
    pthread_mutex_lock(&log->lock);
    p->closing = true;
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->lock);
    while (p->outstanding) {
        pthread_mutex_lock(&p->done_lock);
        while (!p->done)
            pthread_cond_wait(&p->done_cond, &p->done_lock);
        struct batch *b = p->done;
        p->done = NULL;
        p->done_tail = &p->done;
        pthread_mutex_unlock(&p->done_lock);
        while (b) {
            struct batch *next = b->next;
            recycle_batch(p, b);
            b = next;
        }
    }
}

static void leave_store(struct log_port *p)
{
    pthread_mutex_lock(&p->log->lock);
    struct log_port **at = &p->log->ports;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    pthread_mutex_unlock(&p->log->lock);
    pthread_mutex_lock(&p->done_lock);
    while (p->wakers)
        pthread_cond_wait(&p->done_cond, &p->done_lock);
    pthread_mutex_unlock(&p->done_lock);
}

void port_close(struct ls_port *port)
{
    struct log_port *p = (struct log_port *)port;
    port_submit(port);
    wait_for_batches(p);
    reader_cancel(p->log, p);
    leave_store(p);
    while (p->reads) { /* read, but nobody polled for it */
        struct read_job *j = p->reads;
        p->reads = j->next;
        if (j->hold) {
            p->holds++;
            port_release(port, j->hold);
        }
        free(j);
    }
    TG_ASSERT(p->holds == 0);
    port_free_cache(p);
    while (p->batch_pool) {
        struct batch *b = p->batch_pool;
        p->batch_pool = b->next;
        batch_free(b);
    }
    pthread_mutex_destroy(&p->done_lock);
    pthread_cond_destroy(&p->done_cond);
    free(p->why);
    free(p);
}
