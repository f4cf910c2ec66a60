/* consumer.c - a consumer from SUBSCRIBE to its end: permits, acknowledgements, and what goes back.
 *
 * Invariant: a consumer is in its connection's map from consumer_new to consumer_close, and in a
 * subscription's list exactly while sub is set. The list is sorted by priority; within one priority
 * the order is that of arrival. */
#include "broker/subscription.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/cursor_store.h"
#include "broker/dispatch_limit.h"
#include "broker/walk.h"

/* Far above any receiver queue: a client that adds permits for ever must not make the sum wrap. */
#define PERMITS_MAX (INT64_C(1) << 40)

enum { LINGER_AFTER_SEEK_S = 60 }; /* a reader comes back within its reconnection back-off */

struct consumer *conn_consumer(struct conn *c, uint64_t id)
{
    struct consumer *k;
    HASH_FIND(hh, c->consumers, &id, sizeof id, k);
    return k;
}

struct consumer *consumer_new(struct conn *c, uint64_t id, char *name)
{
    struct consumer *k = xcalloc(1, sizeof *k);
    k->id = id;
    k->conn = c;
    k->name = name;
    k->connected_wall_ns = shard_wall_ns(c->shard);
    HASH_ADD(hh, c->consumers, id, sizeof k->id, k);
    c->consumer_count++;
    return k;
}

/* Never "equal": whoever comes goes behind all of his priority. */
static int by_priority(const struct consumer *there, const struct consumer *newcomer)
{
    return there->priority > newcomer->priority ? 1 : -1;
}

enum consumer_refusal consumer_attach(struct consumer *c, struct subscription *s,
                                      enum sub_type type)
{
    if (s->consumers && s->type != type)
        return CONSUMER_OTHER_TYPE;
    if (s->consumers && type == SUB_EXCLUSIVE)
        return CONSUMER_EXCLUSIVE_TAKEN;
    if (!s->consumers && (type == SUB_EXCLUSIVE || s->type != type))
        subscription_rewind(s);
    if (s->type != type) {
        s->type = type;
        cursor_store_mark(s);
    }
    if (!s->durable)
        timer_disarm(s->shard->worker, &s->flush_timer);
    s->lingers = false;
    c->sub = s;
    DL_INSERT_INORDER(s->consumers, c, by_priority);
    s->consumer_count++;
    return CONSUMER_OK;
}

/* ---- what goes back ---- */

void subscription_rewind(struct subscription *s)
{
    replay_fini(&s->replay);
    s->read_next = s->cursor.next;
    s->read_gen++;
}

static void mark_dirty(struct subscription *s)
{
    if (s->consumers)
        topic_mark_dirty(s->topic);
}

/* The counts of unacknowledged messages fall; who was blocked by them goes on at half the limit. */
static void less_unacked(struct consumer *c, uint64_t messages)
{
    struct subscription *s = c->sub;
    const struct settings *set = s->shard->broker->settings;
    c->unacked_messages -= messages;
    s->unacked_messages -= messages;
    if (c->blocked_on_unacked &&
        c->unacked_messages <= (uint64_t)set->max_unacked_per_consumer / 2) {
        c->blocked_on_unacked = false;
        mark_dirty(s);
    }
    if (s->blocked_on_unacked &&
        s->unacked_messages <= (uint64_t)set->max_unacked_per_subscription / 2) {
        s->blocked_on_unacked = false;
        mark_dirty(s);
    }
}

static bool take_pending(struct consumer *c, uint64_t entry, struct entry_info *info)
{
    if (!entry_map_take(&c->pending, entry, info))
        return false;
    less_unacked(c, info->messages);
    return true;
}

static void give_back(struct consumer *c, uint64_t entry, struct entry_info info)
{
    struct subscription *s = c->sub;
    if (cursor_is_acked(&s->cursor, entry))
        return;
    info.redelivered++;
    replay_add(&s->replay, entry, info);
}

static void give_back_all(struct consumer *c)
{
    uint32_t at = 0;
    uint64_t entry;
    struct entry_info info;
    while (entry_map_next(&c->pending, &at, &entry, &info))
        give_back(c, entry, info);
    entry_map_fini(&c->pending);
    if (c->unacked_messages > 0)
        less_unacked(c, c->unacked_messages);
}

void consumer_nack(struct consumer *c, uint64_t entry)
{
    struct entry_info info;
    if (take_pending(c, entry, &info))
        give_back(c, entry, info);
    mark_dirty(c->sub);
}

void consumer_redeliver_all(struct consumer *c)
{
    if (c->sub->type == SUB_SHARED)
        give_back_all(c);
    else
        subscription_rewind(c->sub);
    mark_dirty(c->sub);
}

/* ---- acknowledgements ---- */

void subscription_forget(struct subscription *s, uint64_t entry)
{
    struct entry_info info;
    if (s->type != SUB_SHARED || replay_take(&s->replay, entry, NULL))
        return;
    for (struct consumer *c = s->consumers; c; c = c->next)
        if (take_pending(c, entry, &info))
            return;
}

static void forget_pending_below(struct consumer *c, uint64_t end)
{
    struct entry_map old = c->pending;
    uint32_t at = 0;
    uint64_t entry, messages = 0;
    struct entry_info info;
    c->pending = (struct entry_map){0};
    while (entry_map_next(&old, &at, &entry, &info)) {
        if (entry < end)
            messages += info.messages;
        else
            entry_map_put(&c->pending, entry, info);
    }
    entry_map_fini(&old);
    if (messages > 0)
        less_unacked(c, messages);
}

void subscription_forget_below(struct subscription *s, uint64_t end)
{
    if (s->type != SUB_SHARED)
        return;
    replay_drop_below(&s->replay, end);
    for (struct consumer *c = s->consumers; c; c = c->next)
        forget_pending_below(c, end);
}

static void acked(struct consumer *c, uint64_t old_next, uint64_t entries)
{
    struct subscription *s = c->sub;
    int64_t wall_ns = shard_wall_ns(s->shard);
    c->last_ack_wall_ns = s->last_acked_wall_ns = wall_ns;
    tg_meter_add(&c->acks, entries, shard_now_ns(s->shard));
    if (s->cursor.next != old_next)
        s->last_mark_delete_wall_ns = wall_ns;
    if (s->read_next < s->cursor.next)
        s->read_next = s->cursor.next;
    if (dispatch_waits(s))
        mark_dirty(s); /* there may be nothing left to wait for */
    cursor_store_mark(s);
}

void consumer_ack(struct consumer *c, uint64_t entry)
{
    struct subscription *s = c->sub;
    uint64_t old_next = s->cursor.next;
    struct entry_info info;
    if (entry >= s->topic->durable_end)
        return;
    bool fresh = cursor_ack(&s->cursor, entry);
    if (!fresh && !cursor_is_acked(&s->cursor, entry))
        return; /* one hole too many: it stays pending */
    if (s->type == SUB_SHARED && !take_pending(c, entry, &info))
        subscription_forget(s, entry); /* acknowledged by another than it was sent to */
    if (fresh)
        acked(c, old_next, 1);
}

void consumer_ack_to(struct consumer *c, uint64_t entry)
{
    struct subscription *s = c->sub;
    uint64_t old_next = s->cursor.next;
    if (entry >= s->topic->durable_end || !cursor_ack_to(&s->cursor, entry))
        return;
    subscription_forget_below(s, s->cursor.next);
    acked(c, old_next, s->cursor.next - old_next);
}

/* ---- permits, and the end ---- */

void consumer_flow(struct consumer *c, uint32_t permits)
{
    c->permits += permits;
    if (c->permits > PERMITS_MAX)
        c->permits = PERMITS_MAX;
    c->last_flow_wall_ns = shard_wall_ns(c->conn->shard);
    mark_dirty(c->sub);
}

static void detach(struct consumer *c)
{
    struct subscription *s = c->sub;
    if (s->type == SUB_SHARED)
        give_back_all(c);
    if (s->turn == c)
        s->turn = c == s->consumers ? NULL : c->prev;
    DL_DELETE(s->consumers, c);
    s->consumer_count--;
    c->sub = NULL;
    if (!s->consumers) {
        dispatch_stop_waiting(s);
        dispatch_settle(s);
    }
    if (s->consumers)
        topic_mark_dirty(s->topic);
    else if (!s->durable && s->state == SUB_READY) /* not here: callers walk lists of it */
        timer_arm(s->shard->worker, &s->flush_timer,
                  shard_now_ns(s->shard) + (s->lingers ? LINGER_AFTER_SEEK_S * MONO_S : 0));
}

void consumer_close(struct consumer *c)
{
    if (c->opening)
        consumer_opening_cancel(c->opening);
    if (c->sub)
        detach(c);
    walks_skip_consumer(c->conn->shard, c);
    HASH_DEL(c->conn->consumers, c);
    c->conn->consumer_count--;
    conn_note_gone(c->conn, ID_CONSUMER, c->id);
    entry_map_fini(&c->pending);
    json_decref(c->metadata);
    free(c->name);
    free(c);
}
