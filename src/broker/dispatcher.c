/* dispatcher.c - entries on their way to consumers.
 *
 * Each round fetches one run of entries - those to deliver again first, then new ones - from
 * memory, or asks the disk for it and goes on when the answer comes, and hands it out in turns.
 * What was fetched and finds no taker is let go and fetched again later: nothing is kept per slow
 * consumer. So a run is never larger than what the consumers' permits and outputs have room for.
 *
 * Invariant: read_next moves past an entry only when it was handed out, is acknowledged, or can't
 * be read any more (then it is acknowledged here); nothing at or behind durable_end is read. */
#include "broker/dispatch.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/cursor_store.h"
#include "broker/producer.h"

enum {
    TURN_ENTRIES = 20,    /* Shared: for one consumer before the next one's turn */
    ROUND_ENTRIES = 1000, /* per subscription and loop turn: others must get theirs */
    ROUND_BYTES = 4 * 1024 * 1024,
    RETRY_MEMORY_MS = 20, /* nobody tells when others have read what they were sent */
};

/* ---- who may get something ---- */

void dispatch_retry_in(struct subscription *s, int64_t ms)
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
    dispatch_retry_in(c->sub, RETRY_MEMORY_MS);
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

void dispatch_room(struct subscription *s, uint64_t *messages, uint64_t *bytes)
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

struct claim_amount dispatch_cost(const struct subscription *s, const struct ls_entry *e)
{
    bool as_one = s->topic->entries_as_messages || e->messages == 0;
    uint32_t bytes = e->len > PUBLISH_SIZE_FIELD ? e->len - PUBLISH_SIZE_FIELD : 0;
    return (struct claim_amount){as_one ? 1 : e->messages, bytes};
}

static bool may_send(struct round *r, const struct ls_entry *e)
{
    struct claim_amount cost = dispatch_cost(r->sub, e);
    return dispatch_may_send(r->sub, &r->leave, cost.msgs, cost.bytes);
}

/* One consumer's turn. Returns how many of the entries are done with. */
static uint32_t serve(struct round *r, struct consumer *c, const struct ls_entry *e, uint32_t n)
{
    struct subscription *s = r->sub;
    uint32_t most = s->type == SUB_SHARED ? TURN_ENTRIES : UINT32_MAX, i = 0, served = 0;
    struct sent sent = {0};
    while (i < n && served < most && (served == 0 || is_available(c)) && !s->blocked_on_unacked) {
        if (is_wanted(s, e[i].entry)) {
            if (!may_send(r, &e[i])) {
                r->has_no_tokens = true;
                break;
            }
            deliver(c, &e[i], &sent);
            served++;
            r->entries_left -= r->entries_left > 0;
            r->bytes_left -= r->bytes_left < e[i].len ? r->bytes_left : e[i].len;
        } else if (e[i].entry >= s->read_next) {
            s->read_next = e[i].entry + 1;
        }
        i++;
    }
    if (i > 0)
        s->turn = c;
    if (served > 0)
        count_sent(c, &sent);
    return i;
}

/* What is missing in between was trimmed or is lost: nobody will ever read it. */
void dispatch_skip_gaps(struct subscription *s, uint64_t first, const struct ls_entry *e,
                        uint32_t n)
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

uint32_t dispatch_hand_out(struct round *r, uint64_t first, const struct ls_entry *e, uint32_t n)
{
    struct subscription *s = r->sub;
    uint32_t done = 0;
    dispatch_skip_gaps(s, first, e, n);
    r->leave.at_hand = n;
    while (done < n && !r->has_no_tokens && !s->blocked_on_unacked) {
        struct consumer *c = pick(s);
        if (!c)
            break;
        done += serve(r, c, e + done, n - done);
    }
    dispatch_charge(s, &r->leave);
    return done;
}

/* ---- a subscription's turn ---- */

static bool is_open(const struct subscription *s)
{
    return s->state == SUB_READY && s->topic->state == TOPIC_READY && s->consumers &&
           !s->blocked_on_unacked;
}

static bool has_backlog(struct subscription *s)
{
    uint64_t first;
    return dispatch_next_run(s, &first, 1) > 0;
}

bool dispatch_could_send(struct subscription *s)
{
    uint64_t messages, bytes;
    if (!is_open(s) || s->reading)
        return false;
    dispatch_room(s, &messages, &bytes);
    return messages > 0 && has_backlog(s);
}

/* One run. False: nothing more can be done now. */
static bool dispatch_run(struct round *r)
{
    struct subscription *s = r->sub;
    struct ls_entry entry[READ_ENTRIES];
    struct ls_hold *hold = NULL;
    uint64_t messages, bytes, first;
    dispatch_room(s, &messages, &bytes);
    if (messages == 0)
        return false;
    uint32_t n = dispatch_next_run(s, &first, (uint32_t)messages);
    if (n == 0)
        return false;
    uint32_t got = dispatch_fetch(s, first, n, bytes, entry, &hold);
    if (got == 0) {
        if (!dispatch_read_rests(s, first) && dispatch_may_read(s, &n, &bytes))
            dispatch_read(s, first, n, bytes);
        return false;
    }
    dispatch_hand_out(r, first, entry, got);
    ls_entries_release(s->shard->log, hold);
    return !dispatch_waits(s) && !s->blocked_on_unacked;
}

/* False: all that can be done now is. */
static bool dispatch_some(struct subscription *s)
{
    struct round r = {.sub = s, .entries_left = ROUND_ENTRIES, .bytes_left = ROUND_BYTES};
    while (r.entries_left > 0 && r.bytes_left > 0)
        if (!dispatch_run(&r))
            return false;
    return true;
}

void subscription_dispatch(struct subscription *s)
{
    bool more = false;
    if (s->reading)
        return;
    if (dispatch_waits(s)) {
        if (dispatch_could_send(s))
            return;
        dispatch_stop_waiting(s);
    } else if (is_open(s)) {
        more = dispatch_some(s);
    }
    if (more)
        dispatch_retry_in(s, 0); /* in the next turn, and one there shall be */
    else if (!s->reading)
        s->is_tailing = !has_backlog(s);
    dispatch_settle(s);
}

/* ---- a turn in line ---- */

bool dispatch_fetch_next(struct subscription *s, struct ls_entry *out, struct ls_hold **hold)
{
    uint64_t first;
    if (!dispatch_could_send(s))
        return false;
    return dispatch_next_run(s, &first, 1) > 0 &&
           dispatch_fetch(s, first, 1, UINT64_MAX, out, hold) > 0;
}

bool dispatch_read_next(struct subscription *s, uint32_t most)
{
    uint64_t messages, bytes, first;
    if (!dispatch_could_send(s))
        return false;
    dispatch_room(s, &messages, &bytes);
    uint32_t n = dispatch_next_run(s, &first, (uint32_t)messages);
    if (dispatch_read_rests(s, first))
        return false;
    dispatch_bound_read(s, &n, &bytes);
    dispatch_read(s, first, n < most ? n : most, bytes);
    return true;
}

bool dispatch_send_one(struct subscription *s, const struct dispatch_leave *l,
                       const struct ls_entry *e)
{
    struct round r = {.sub = s, .entries_left = UINT64_MAX, .bytes_left = UINT64_MAX, .leave = *l};
    return dispatch_hand_out(&r, e->entry, e, 1) > 0;
}

void dispatch_resume_conn(struct conn *c)
{
    c->subscriptions_waiting = false;
    for (struct consumer *k = c->consumers; k; k = k->hh.next)
        if (k->sub)
            topic_mark_dirty(k->sub->topic);
}
