/* dispatcher.c - entries on their way to consumers.
 *
 * Each round fetches one run of entries - those to deliver again first, then new ones - from
 * memory, or asks the disk for it and goes on when the answer comes, and hands it out in turns.
 * What was fetched and finds no taker is let go and fetched again later: nothing is kept per slow
 * consumer. So a run is never larger than what the consumers' permits and outputs have room for.
 *
 * Invariant: read_next moves past an entry only when it was handed out, is acknowledged, or can't
 * be read any more (then it is acknowledged here); nothing at or behind durable_end is read. */
#include "broker/subscription.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/cursor_store.h"

enum {
    READ_ENTRIES = 100,           /* per fetch, as dispatcherMaxReadBatchSize */
    READ_BYTES = 5 * 1024 * 1024, /* per fetch, as dispatcherMaxReadSizeBytes */
    WINDOW_MIN_BYTES = 16 * 1024, /* a disk reads so much as fast as one entry */
    TURN_ENTRIES = 20,            /* Shared: for one consumer before the next one's turn */
    ROUND_ENTRIES = 1000,         /* per subscription and loop turn: others must get theirs */
    ROUND_BYTES = 4 * 1024 * 1024,
    RETRY_READ_MS = 5000, /* after a damaged or unreadable entry */
    RETRY_MEMORY_MS = 20, /* nobody tells when others have read what they were sent */
    LOG_LINES = 1,
};

struct round {
    struct subscription *sub;
    uint64_t entries_left, bytes_left;
};

/* ---- who may get something ---- */

static void retry_in(struct subscription *s, int64_t ms)
{
    if (!timer_is_armed(&s->retry_timer))
        timer_arm(s->shard->worker, &s->retry_timer, shard_now_ns(s->shard) + ms * MONO_MS);
}

void dispatch_retry_fired(struct timer *t, int64_t now_ns)
{
    struct subscription *s =
        (struct subscription *)((char *)t - offsetof(struct subscription, retry_timer));
    (void)now_ns;
    topic_mark_dirty(s->topic);
}

static bool is_available(struct consumer *c)
{
    if (c->permits <= 0 || c->blocked_on_unacked || c->blocked_by != 0 ||
        c->conn->state != CONN_READY)
        return false;
    if (conn_is_congested(c->conn)) {
        c->conn->subscriptions_waiting = true; /* its on_drained brings it back */
        return false;
    }
    if (!budget_is_closed(&c->conn->shard->broker->budget, BUDGET_OUTBOUND))
        return true;
    retry_in(c->sub, RETRY_MEMORY_MS);
    return false;
}

/* Round robin inside the best priority that has somebody available: the first one behind whoever
 * was served last, else the first. */
static struct consumer *pick(struct subscription *s)
{
    struct consumer *level = s->consumers;
    while (level) {
        struct consumer *first = NULL, *c = level;
        bool passed = false;
        for (; c && c->priority == level->priority; c = c->next) {
            if ((!first || passed) && is_available(c)) {
                if (passed)
                    return c;
                first = c;
            }
            if (c == s->turn)
                passed = true;
        }
        if (first)
            return first;
        level = c;
    }
    return NULL;
}

/* How many messages and bytes the consumers have room for now. */
static void room_of(struct subscription *s, uint64_t *messages, uint64_t *bytes)
{
    *messages = *bytes = 0;
    for (struct consumer *c = s->consumers; c && *messages < READ_ENTRIES; c = c->next) {
        if (!is_available(c))
            continue;
        size_t queued = conn_output_bytes(c->conn);
        *messages += (uint64_t)c->permits;
        *bytes += queued < STREAM_OUTPUT_HIGH ? STREAM_OUTPUT_HIGH - queued : 1;
    }
    if (*messages > READ_ENTRIES)
        *messages = READ_ENTRIES;
    if (*bytes > READ_BYTES)
        *bytes = READ_BYTES;
    if (budget_is_over(&s->shard->broker->budget, BUDGET_OUTBOUND))
        *bytes = *bytes > 0; /* each gets one entry: what else is read would be read again */
}

/* ---- one entry to one consumer ---- */

static void write_message(struct consumer *c, const struct ls_entry *e, uint32_t redelivered)
{
    const struct topic *t = c->sub->topic;
    struct message_head h = {
        .consumer_id = c->id,
        .ledger = t->ledger,
        .entry = e->entry,
        .partition = t->name.partition,
        .redelivery_count = redelivered,
        .has_epoch = c->has_epoch,
        .epoch = c->epoch,
    };
    uint8_t *out = conn_reserve(c->conn, COMMAND_MESSAGE_HEAD_MAX + (size_t)e->len);
    size_t n = command_write_message_head(out, &h, e->crc, e->len);
    memcpy(out + n, e->body, e->len);
    conn_commit(c->conn, n + e->len);
}

static void count_unacked(struct consumer *c, uint32_t messages)
{
    struct subscription *s = c->sub;
    const struct settings *set = s->shard->broker->settings;
    c->unacked_messages += messages;
    s->unacked_messages += messages;
    if (set->max_unacked_per_consumer > 0 &&
        c->unacked_messages >= (uint64_t)set->max_unacked_per_consumer)
        c->blocked_on_unacked = true;
    if (set->max_unacked_per_subscription > 0 &&
        s->unacked_messages >= (uint64_t)set->max_unacked_per_subscription)
        s->blocked_on_unacked = true;
}

struct sent { /* to one consumer in one turn: meters are told once */
    uint64_t messages, bytes, redelivered;
};

static void deliver(struct consumer *c, const struct ls_entry *e, struct sent *sent)
{
    struct subscription *s = c->sub;
    struct entry_info info = {.messages = e->messages ? e->messages : 1};
    (void)replay_take(&s->replay, e->entry, &info);
    if (info.messages == 0)
        info.messages = e->messages ? e->messages : 1;
    write_message(c, e, info.redelivered);
    c->permits -= info.messages;
    sent->messages += info.messages;
    sent->bytes += e->len;
    sent->redelivered += info.redelivered > 0 ? info.messages : 0;
    if (s->type == SUB_SHARED) {
        entry_map_put(&c->pending, e->entry, info);
        count_unacked(c, info.messages);
    }
    if (e->entry >= s->read_next)
        s->read_next = e->entry + 1;
}

static void count_sent(struct consumer *c, const struct sent *sent)
{
    struct subscription *s = c->sub;
    struct topic *t = s->topic;
    int64_t now_ns = shard_now_ns(s->shard);
    tg_meter_add(&c->msgs_out, sent->messages, now_ns);
    tg_meter_add(&c->bytes_out, sent->bytes, now_ns);
    tg_meter_add(&s->msgs_out, sent->messages, now_ns);
    tg_meter_add(&s->bytes_out, sent->bytes, now_ns);
    tg_meter_add(&t->msgs_out, sent->messages, now_ns);
    tg_meter_add(&t->bytes_out, sent->bytes, now_ns);
    if (sent->redelivered) {
        tg_meter_add(&c->redelivered, sent->redelivered, now_ns);
        tg_meter_add(&s->redelivered, sent->redelivered, now_ns);
    }
    c->last_consumed_wall_ns = s->last_consumed_wall_ns = shard_wall_ns(s->shard);
}

/* ---- a run of entries to the consumers ---- */

/* An entry that is wanted: not acknowledged meanwhile, and either to be sent again or new. */
static bool is_wanted(const struct subscription *s, uint64_t entry)
{
    if (entry < s->read_next && !replay_has(&s->replay, entry))
        return false;
    return !cursor_is_acked(&s->cursor, entry);
}

/* One consumer's turn. Returns how many of the entries are done with. */
static uint32_t serve(struct round *r, struct consumer *c, const struct ls_entry *e, uint32_t n)
{
    struct subscription *s = r->sub;
    uint32_t most = s->type == SUB_SHARED ? TURN_ENTRIES : UINT32_MAX, i = 0, served = 0;
    struct sent sent = {0};
    while (i < n && served < most && (served == 0 || is_available(c)) && !s->blocked_on_unacked) {
        if (is_wanted(s, e[i].entry)) {
            deliver(c, &e[i], &sent);
            served++;
            r->entries_left -= r->entries_left > 0;
            r->bytes_left -= r->bytes_left < e[i].len ? r->bytes_left : e[i].len;
        } else if (e[i].entry >= s->read_next) {
            s->read_next = e[i].entry + 1;
        }
        i++;
    }
    s->turn = c;
    if (served > 0)
        count_sent(c, &sent);
    return i;
}

/* Entries asked for from <first> on, of which e[0..n-1] are still there. What is missing in between
 * was trimmed or is lost: nobody will ever read it, so the cursor must not wait for it. */
static void skip_gaps(struct subscription *s, uint64_t first, const struct ls_entry *e, uint32_t n)
{
    uint64_t expected = first;
    for (uint32_t i = 0; i < n; i++) {
        if (e[i].entry > expected) {
            cursor_ack_range(&s->cursor, expected, e[i].entry - 1);
            if (s->read_next >= expected && s->read_next < e[i].entry)
                s->read_next = e[i].entry;
            cursor_store_mark(s);
        }
        expected = e[i].entry + 1;
    }
}

/* Returns how many of the entries are done with. */
static uint32_t hand_out(struct round *r, uint64_t first, const struct ls_entry *e, uint32_t n)
{
    struct subscription *s = r->sub;
    uint32_t done = 0;
    skip_gaps(s, first, e, n);
    while (done < n && !s->blocked_on_unacked) {
        struct consumer *c = pick(s);
        if (!c)
            break;
        done += serve(r, c, e + done, n - done);
    }
    return done;
}

/* ---- fetching ---- */

static void read_failed(struct subscription *s, uint64_t first, enum tg_err e)
{
    uint32_t more;
    if (log_gate_open(&s->log_gate, LOG_LINES, shard_now_ns(s->shard), &more))
        log_error("topic %s: subscription %s: entry %llu:%llu or one behind it can't be read: %s",
                  s->topic->name.full, s->name, (unsigned long long)s->topic->ledger,
                  (unsigned long long)first, err_text(e));
    s->unreadable = first;
    retry_in(s, RETRY_READ_MS);
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
    skip_gaps(s, first, &next, 1);
    return true;
}

struct disk_read {
    struct subscription *sub;
    uint64_t gen, first;
};

static void hand_out_read(struct subscription *s, uint64_t first, const struct ls_entry *e,
                          uint32_t n)
{
    struct round r = {.sub = s, .entries_left = UINT64_MAX, .bytes_left = UINT64_MAX};
    uint32_t done = hand_out(&r, first, e, n);
    uint64_t taken = UINT64_MAX - r.bytes_left;
    if (done == n)
        s->read_window_bytes *= 2;
    else
        s->read_window_bytes = taken;
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
            hand_out_read(s, d.first, entries, count);
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

static void read_from_disk(struct subscription *s, uint64_t first, uint32_t n, uint64_t bytes)
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

/* The next entries to send: from where, and how many at most. 0: none. */
static uint32_t next_run(struct subscription *s, uint64_t *first, uint32_t most)
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

/* One run. False: nothing more can be done now. */
static bool dispatch_run(struct round *r)
{
    struct subscription *s = r->sub;
    struct ls_entry entry[READ_ENTRIES];
    struct ls_hold *hold = NULL;
    uint64_t messages, bytes, first;
    room_of(s, &messages, &bytes);
    if (messages == 0)
        return false;
    uint32_t n = next_run(s, &first, (uint32_t)messages);
    if (n == 0)
        return false;
    uint32_t got = ls_read_cached(s->shard->log, s->topic->ledger, first, n, bytes, entry, &hold);
    if (got == 0 && first == s->unreadable && timer_is_armed(&s->retry_timer))
        return false; /* each append and acknowledgement comes by here */
    if (got == 0) {
        read_from_disk(s, first, n, bytes);
        return false;
    }
    hand_out(r, first, entry, got);
    ls_entries_release(s->shard->log, hold);
    return true;
}

void subscription_dispatch(struct subscription *s)
{
    struct round r = {.sub = s, .entries_left = ROUND_ENTRIES, .bytes_left = ROUND_BYTES};
    if (s->state != SUB_READY || s->topic->state != TOPIC_READY || s->reading || !s->consumers ||
        s->blocked_on_unacked)
        return;
    while (r.entries_left > 0 && r.bytes_left > 0)
        if (!dispatch_run(&r) || s->blocked_on_unacked)
            return;
    retry_in(s, 0); /* more in the next turn, and one there shall be */
}

void dispatch_resume_conn(struct conn *c)
{
    c->subscriptions_waiting = false;
    for (struct consumer *k = c->consumers; k; k = k->hh.next)
        if (k->sub)
            topic_mark_dirty(k->sub->topic);
}
