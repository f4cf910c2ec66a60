/* dispatch_read.c - where the entries that a subscription delivers come from: the tail cache, what
 * is kept of the last read (dispatch_limit.h), or the disk, one read at a time.
 *
 * A read is never larger than what the consumers' permits and outputs have room for, and what
 * tokens pass soon: what finds no taker when it is back is let go and read again later. */
#include "broker/dispatch.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/dispatch_wait.h"

enum {
    WINDOW_MIN_BYTES = 16 * 1024, /* a disk reads so much as fast as one entry */
    RETRY_READ_MS = 5000,         /* after a damaged or unreadable entry */
    LOG_LINES = 1,
    KEPT_PART = 4, /* of the cache's share of memory, at most, is what is kept */
};

/* ---- kept ---- */

void dispatch_drop_kept(struct dispatch_limit *lim)
{
    if (lim->kept_hold)
        ls_entries_release(lim->sub->shard->log, lim->kept_hold);
    lim->sub->shard->kept_bytes -= lim->kept_bytes;
    lim->kept_hold = NULL;
    lim->kept = NULL;
    lim->kept_count = 0;
    lim->kept_bytes = 0;
}

bool dispatch_may_keep(const struct shard *s)
{
    const struct broker *b = s->broker;
    return s->kept_bytes <= (uint64_t)(b->budget.share_bytes[BUDGET_CACHE] / KEPT_PART / b->shards);
}

void dispatch_keep(struct subscription *s, const struct ls_entry *e, uint32_t n,
                   struct ls_hold *hold)
{
    struct dispatch_limit *lim = s->limit;
    dispatch_drop_kept(lim);
    lim->kept_hold = hold;
    lim->kept = e;
    lim->kept_count = n;
    for (uint32_t i = 0; i < n; i++)
        lim->kept_bytes += e[i].len;
    s->shard->kept_bytes += lim->kept_bytes;
}

uint32_t dispatch_kept(const struct subscription *s, uint64_t first, uint32_t most, uint64_t bytes,
                       struct ls_entry *out)
{
    const struct dispatch_limit *lim = s->limit;
    uint32_t at = 0, n = 0;
    uint64_t sum = 0;
    if (!lim)
        return 0;
    while (at < lim->kept_count && lim->kept[at].entry < first)
        at++;
    for (; at < lim->kept_count && n < most && lim->kept[at].entry == first + n; at++, n++) {
        sum += lim->kept[at].len;
        if (n > 0 && sum > bytes)
            break;
        out[n] = lim->kept[at];
    }
    return n;
}

/* ---- from disk ---- */

static void read_failed(struct subscription *s, uint64_t first, enum tg_err e)
{
    uint32_t more;
    if (log_gate_open(&s->log_gate, LOG_LINES, shard_now_ns(s->shard), &more))
        log_error("topic %s: subscription %s: entry %llu:%llu or one behind it can't be read: %s",
                  s->topic->name.full, s->name, (unsigned long long)s->topic->ledger,
                  (unsigned long long)first, err_text(e));
    s->unreadable = first;
    dispatch_retry_in(s, RETRY_READ_MS);
}

/* Nothing readable from <first> on: the store forgot it. True when there is something to go on
 * with. */
static bool skip_lost(struct subscription *s, uint64_t first)
{
    uint64_t there = ls_first_entry(s->shard->broker->ledgers, s->topic->ledger);
    if (there <= first)
        return false;
    if (there > s->topic->durable_end)
        there = s->topic->durable_end;
    struct ls_entry next = {.entry = there};
    dispatch_skip_gaps(s, first, &next, 1);
    return true;
}

struct disk_read {
    struct subscription *sub;
    uint64_t gen, first;
};

/* What finds no taker is let go; what finds no tokens, or is for a turn in line, is kept: then
 * <*hold> is NULL. */
static void hand_out_read(struct subscription *s, uint64_t first, const struct ls_entry *e,
                          uint32_t n, struct ls_hold **hold)
{
    if (dispatch_reads_in_turn(s)) {
        dispatch_skip_gaps(s, first, e, n);
        dispatch_keep(s, e, n, *hold);
        *hold = NULL;
        return;
    }
    struct round r = {.sub = s, .entries_left = UINT64_MAX, .bytes_left = UINT64_MAX};
    uint32_t done = dispatch_hand_out(&r, first, e, n);
    uint64_t taken = UINT64_MAX - r.bytes_left;
    if (done == n) {
        s->read_window_bytes *= 2;
    } else if (!dispatch_waits(s)) {
        s->read_window_bytes = taken;
    } else {
        dispatch_keep(s, e + done, n - done, *hold);
        *hold = NULL;
    }
}

static void on_read(void *ctx, enum tg_err e, const struct ls_entry *entries, uint32_t count,
                    struct ls_hold *hold)
{
    struct disk_read d = *(struct disk_read *)ctx;
    struct subscription *s = d.sub;
    free(ctx);
    struct ls_port *log = s->shard->log;
    if (subscription_release(s)) {
        s->reading = false;
        if (d.gen == s->read_gen && count > 0)
            hand_out_read(s, d.first, entries, count, &hold);
        dispatch_turn_goes_on(s);
        if (dispatch_waits(s))
            dispatch_settle(s);
        if (e)
            read_failed(s, d.first + count, e);
        else if (d.gen == s->read_gen && count == 0 && !skip_lost(s, d.first))
            read_failed(s, d.first, TG_ENOENT);
        else
            topic_mark_dirty(s->topic);
    }
    if (hold)
        ls_entries_release(log, hold);
}

void dispatch_read(struct subscription *s, uint64_t first, uint32_t n, uint64_t bytes)
{
    struct disk_read *d = xmalloc(sizeof *d);
    *d = (struct disk_read){.sub = s, .gen = s->read_gen, .first = first};
    if (s->read_window_bytes > READ_BYTES)
        s->read_window_bytes = READ_BYTES;
    if (s->read_window_bytes < WINDOW_MIN_BYTES)
        s->read_window_bytes = WINDOW_MIN_BYTES;
    if (bytes > s->read_window_bytes)
        bytes = s->read_window_bytes;
    s->reading = true;
    subscription_hold(s);
    ls_read(s->shard->log, s->topic->ledger, first, n, bytes, on_read, d);
}

/* ---- from wherever it is ---- */

uint32_t dispatch_next_run(struct subscription *s, uint64_t *first, uint32_t most)
{
    while (replay_first(&s->replay, first)) {
        if (!cursor_is_acked(&s->cursor, *first))
            return replay_run(&s->replay, *first, most);
        (void)replay_take(&s->replay, *first, NULL); /* it can't be read any more */
    }
    s->read_next = cursor_next_unacked(&s->cursor, s->read_next);
    *first = s->read_next;
    uint64_t there = s->topic->durable_end > *first ? s->topic->durable_end - *first : 0;
    return there < most ? (uint32_t)there : most;
}

bool dispatch_read_rests(const struct subscription *s, uint64_t first)
{
    return first == s->unreadable && timer_is_armed(&s->retry_timer);
}

uint32_t dispatch_fetch(struct subscription *s, uint64_t first, uint32_t most, uint64_t bytes,
                        struct ls_entry *out, struct ls_hold **hold)
{
    *hold = NULL;
    uint32_t n = ls_read_cached(s->shard->log, s->topic->ledger, first, most, bytes, out, hold);
    return n > 0 ? n : dispatch_kept(s, first, most, bytes, out);
}
