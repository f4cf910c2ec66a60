/* seek.c - moving a subscription's cursor: skip, reset to an entry, reset to a time.
 *
 * A reset sends the consumers away first and answers after the row is durable; the clients come
 * again and find the cursor moved. The search for a time comes before all that, so nobody ever
 * finds a subscription between two positions. */
#include "broker/subscription.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/cursor_store.h"
#include "wire/metadata.h"

static void moved(struct subscription *s)
{
    s->last_mark_delete_wall_ns = shard_wall_ns(s->shard);
    if (s->consumers)
        topic_mark_dirty(s->topic);
}

void subscription_skip(struct subscription *s, uint64_t n, subscription_done done, void *ctx)
{
    struct cursor *c = &s->cursor;
    uint64_t end = s->topic->durable_end;
    if (s->state != SUB_READY) { /* or its row would come back after it was deleted */
        done(ctx, NULL, TG_ENOENT);
        return;
    }
    while (n > 0 && c->next < end) { /* up to the next range that is acknowledged already */
        uint64_t stop = c->ranges > 0 ? c->range[0].first : end;
        uint64_t step = stop - c->next < n ? stop - c->next : n;
        (void)cursor_ack_to(c, c->next + step - 1);
        n -= step;
    }
    if (s->read_next < s->cursor.next)
        s->read_next = s->cursor.next;
    subscription_forget_below(s, s->cursor.next);
    moved(s);
    cursor_store_write(s, done, ctx);
}

void subscription_reset(struct subscription *s, uint64_t first_entry, subscription_done done,
                        void *ctx)
{
    if (s->state != SUB_READY) {
        done(ctx, NULL, TG_EBUSY);
        return;
    }
    s->lingers = true;
    subscription_disconnect_all(s);
    cursor_reset(&s->cursor, subscription_clamp(s, first_entry));
    subscription_rewind(s);
    moved(s);
    log_info("topic %s: subscription %s: moved to entry %llu", s->topic->name.full, s->name,
             (unsigned long long)s->cursor.next);
    cursor_store_write(s, done, ctx);
}

/* ---- to a time: a binary search, one entry read per step ---- */

struct search {
    struct subscription *sub;
    int64_t time_ms;
    uint64_t lo, hi; /* every entry before lo is older; hi is not, or is the end */
    uint64_t probe;
    subscription_done done;
    void *ctx;
};

static void on_probe(void *ctx, enum tg_err e, const struct ls_entry *entries, uint32_t count,
                     struct ls_hold *hold);

static void search_step(struct search *q)
{
    if (q->lo < q->hi) {
        q->probe = q->lo + (q->hi - q->lo) / 2;
        ls_read(q->sub->shard->log, q->sub->topic->ledger, q->probe, 1, UINT64_MAX, on_probe, q);
        return;
    }
    struct search found = *q;
    free(q);
    if (subscription_release(found.sub))
        subscription_reset(found.sub, found.lo, found.done, found.ctx);
    else
        found.done(found.ctx, NULL, TG_ECLOSED);
}

/* What can't be read counts as older: the search goes on towards what can. */
static bool is_older(const struct search *q, const struct ls_entry *e)
{
    struct metadata_brief m;
    const char *why;
    if (metadata_scan(e->body, e->len, &m, &why) != TG_OK)
        return true;
    return (int64_t)m.publish_time_ms < q->time_ms;
}

static void on_probe(void *ctx, enum tg_err e, const struct ls_entry *entries, uint32_t count,
                     struct ls_hold *hold)
{
    struct search *q = ctx;
    if (q->sub->state == SUB_GONE) {
        q->lo = q->hi; /* ends it */
    } else if (e || count == 0) {
        q->lo = q->probe + 1;
    } else if (is_older(q, &entries[0])) {
        q->lo = entries[0].entry + 1;
    } else {
        q->hi = q->probe; /* all between the probe and what was read is gone */
    }
    if (hold)
        ls_entries_release(q->sub->shard->log, hold);
    search_step(q);
}

void subscription_reset_to_time(struct subscription *s, int64_t publish_time_ms,
                                subscription_done done, void *ctx)
{
    struct search *q = xmalloc(sizeof *q);
    *q = (struct search){.sub = s,
                         .time_ms = publish_time_ms,
                         .lo = subscription_clamp(s, 0),
                         .hi = s->topic->durable_end,
                         .done = done,
                         .ctx = ctx};
    subscription_hold(s);
    search_step(q);
}
