/* subscription.c - a subscription from its first row to its end, and its backlog.
 *
 * Invariant: it is in its topic's map exactly while its state is not SUB_GONE; whoever waits for it
 * to be made or deleted is told once; callbacks under way hold a reference, so that they find at
 * least the word that it is gone. */
#include "broker/subscription.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/cursor_store.h"
#include "broker/dispatch_limit.h"
#include "broker/message_counts.h"

struct sub_waiting {
    struct sub_waiting *next;
    subscription_done done;
    void *ctx;
};

static void wait_for(struct subscription *s, subscription_done done, void *ctx)
{
    struct sub_waiting *w = xmalloc(sizeof *w), **end = &s->waiting;
    *w = (struct sub_waiting){.done = done, .ctx = ctx};
    while (*end)
        end = &(*end)->next;
    *end = w;
}

static void tell_waiting(struct subscription *s, enum tg_err e)
{
    struct sub_waiting *w = s->waiting;
    s->waiting = NULL;
    while (w) {
        struct sub_waiting *next = w->next;
        w->done(w->ctx, e ? NULL : s, e);
        free(w);
        w = next;
    }
}

void subscription_hold(struct subscription *s)
{
    s->refs++;
}

bool subscription_release(struct subscription *s)
{
    s->refs--;
    if (s->state != SUB_GONE)
        return true;
    if (s->refs == 0)
        free(s);
    return false;
}

struct subscription *subscription_find(struct topic *t, const char *name)
{
    struct subscription *s;
    HASH_FIND_STR(t->subscriptions, name, s);
    return s;
}

static struct subscription *subscription_new(struct topic *t, const char *name, bool durable,
                                             uint64_t next)
{
    struct subscription *s = xcalloc(1, sizeof *s);
    s->topic = t;
    s->shard = t->shard;
    s->name = xstrdup(name);
    s->durable = durable;
    s->state = SUB_READY;
    cursor_init(&s->cursor, next);
    s->read_next = next;
    s->unreadable = UINT64_MAX;
    timer_init(&s->retry_timer, dispatch_retry_fired);
    cursor_store_init(s);
    HASH_ADD_KEYPTR(hh, t->subscriptions, s->name, strlen(s->name), s);
    if (t->shard)
        dispatch_set_rate(s);
    return s;
}

void subscription_free(struct subscription *s)
{
    struct topic *t = s->topic;
    HASH_DEL(t->subscriptions, s);
    s->state = SUB_GONE;
    s->refs++; /* what is called below must not free it */
    while (s->consumers)
        consumer_close(s->consumers);
    tell_waiting(s, TG_ECLOSED);
    dispatch_limit_free(s);
    timer_disarm(s->shard->worker, &s->retry_timer);
    cursor_store_fini(s);
    replay_fini(&s->replay);
    cursor_fini(&s->cursor);
    json_decref(s->properties);
    s->properties = NULL;
    free(s->name);
    s->name = NULL;
    (void)subscription_release(s);
}

uint64_t subscription_clamp(const struct subscription *s, uint64_t entry)
{
    const struct topic *t = s->topic;
    uint64_t first = ls_first_entry(t->shard->broker->ledgers, t->ledger);
    if (entry < first)
        entry = first;
    return entry < t->durable_end ? entry : t->durable_end;
}

uint64_t topic_position_to_entry(const struct topic *t, uint64_t ledger, uint64_t entry)
{
    int64_t l = (int64_t)ledger, own = (int64_t)t->ledger;
    if (l < own)
        return 0;
    if (l > own)
        return UINT64_MAX;
    return (int64_t)entry < 0 ? 0 : entry;
}

static uint64_t start_of(const struct subscription *s, const struct sub_spec *spec)
{
    switch (spec->start) {
    case START_EARLIEST:
        return subscription_clamp(s, 0);
    case START_AT:
        return subscription_clamp(s, spec->start_entry);
    case START_LATEST:
        break;
    }
    return s->topic->durable_end;
}

static void on_created(void *ctx, struct subscription *gone_or_not, enum tg_err e)
{
    struct subscription *s = ctx;
    (void)gone_or_not;
    if (!subscription_release(s))
        return; /* who waited has been told when it went */
    if (e) {
        log_error("topic %s: subscription %s: can't be written: %s", s->topic->name.full, s->name,
                  err_text(e));
        tell_waiting(s, e);
        subscription_free(s);
        return;
    }
    if (s->state == SUB_CREATING)
        s->state = SUB_READY;
    tell_waiting(s, s->state == SUB_READY ? TG_OK : TG_EBUSY);
}

void subscription_create(struct topic *t, const struct sub_spec *spec, bool *existed,
                         subscription_done done, void *ctx)
{
    struct subscription *s = subscription_find(t, spec->name);
    if (s && !s->durable && !s->consumers && !s->lingers) { /* it was about to go */
        subscription_free(s);
        s = NULL;
    }
    if (existed)
        *existed = s != NULL;
    if (t->state == TOPIC_DELETING || (s && s->state == SUB_DELETING)) {
        done(ctx, NULL, TG_EBUSY);
    } else if (s && s->state == SUB_READY) {
        done(ctx, s, TG_OK);
    } else if (s) {
        wait_for(s, done, ctx);
    } else {
        s = subscription_new(t, spec->name, spec->durable, 0);
        cursor_reset(&s->cursor, start_of(s, spec));
        s->read_next = s->cursor.next;
        s->properties = json_incref(spec->properties);
        log_info("topic %s: subscription %s: made%s, begins at entry %llu", t->name.full, s->name,
                 s->durable ? "" : " (not durable)", (unsigned long long)s->read_next);
        if (!s->durable) {
            done(ctx, s, TG_OK);
            return;
        }
        s->state = SUB_CREATING;
        wait_for(s, done, ctx);
        subscription_hold(s);
        cursor_store_write(s, on_created, s);
    }
}

enum tg_err subscription_restore(struct topic *t, const char *name, const json_t *row)
{
    struct cursor cursor;
    enum tg_err e = cursor_from_json(&cursor, json_object_get(row, "cursor"));
    if (e)
        return e;
    if (cursor.next > t->durable_end) { /* can't be, short of a log that was replaced by an older */
        log_warn("topic %s: subscription %s: its cursor is at entry %llu, the log ends at %llu",
                 t->name.full, name, (unsigned long long)cursor.next,
                 (unsigned long long)t->durable_end);
        cursor_reset(&cursor, t->durable_end);
    }
    struct subscription *s = subscription_new(t, name, true, cursor.next);
    s->cursor = cursor;
    const char *type = json_string_value(json_object_get(row, "type"));
    s->type = type && strcmp(type, "Shared") == 0 ? SUB_SHARED : SUB_EXCLUSIVE;
    s->properties = json_incref(json_object_get(row, "properties"));
    return TG_OK;
}

/* ---- its end ---- */

struct deletion {
    struct subscription *sub;
    subscription_done done;
    void *ctx;
};

static void on_deleted(void *ctx, struct subscription *unused, enum tg_err e)
{
    struct deletion d = *(struct deletion *)ctx;
    free(ctx);
    (void)unused;
    if (!subscription_release(d.sub)) {
        d.done(d.ctx, NULL, TG_OK); /* its topic went first */
        return;
    }
    if (e) {
        d.sub->state = SUB_READY;
        if (d.sub->cursor_dirty)
            cursor_store_mark(d.sub);
    } else {
        struct topic *t = d.sub->topic;
        log_info("topic %s: subscription %s: deleted", t->name.full, d.sub->name);
        subscription_free(d.sub);
        topic_trim(t);
    }
    d.done(d.ctx, NULL, e);
}

void subscription_delete(struct subscription *s, bool force, subscription_done done, void *ctx)
{
    if (s->state == SUB_DELETING || (s->consumers && !force)) {
        done(ctx, NULL, TG_EBUSY);
        return;
    }
    subscription_disconnect_all(s);
    s->state = SUB_DELETING;
    struct deletion *d = xmalloc(sizeof *d);
    *d = (struct deletion){.sub = s, .done = done, .ctx = ctx};
    subscription_hold(s);
    cursor_store_delete(s, on_deleted, d);
}

void subscription_disconnect_all(struct subscription *s)
{
    while (s->consumers) {
        struct consumer *c = s->consumers;
        conn_send_close_consumer(c->conn, c->id);
        consumer_close(c);
    }
}

/* ---- the backlog ---- */

static uint64_t counted(const struct topic *t, uint64_t first, uint64_t end)
{
    if (end <= first)
        return 0;
    return t->counts ? message_counts_between(t->counts, first, end) : end - first;
}

uint64_t subscription_backlog(const struct subscription *s)
{
    const struct topic *t = s->topic;
    uint64_t n = counted(t, s->cursor.next, t->durable_end);
    for (uint32_t i = 0; i < s->cursor.ranges; i++)
        n -= counted(t, s->cursor.range[i].first, s->cursor.range[i].last + 1);
    return n;
}

static void forget_counts(struct topic *t)
{
    uint64_t least = t->durable_end;
    struct subscription *s, *next;
    HASH_ITER(hh, t->subscriptions, s, next)
    {
        if (s->cursor.next < least)
            least = s->cursor.next;
    }
    message_counts_forget_below(t->counts, least);
}

void subscriptions_appended(struct topic *t, uint64_t entry, uint32_t messages)
{
    if (!t->counts)
        t->counts = message_counts_new(entry);
    if (message_counts_is_full(t->counts))
        forget_counts(t);
    message_counts_add(t->counts, entry, messages ? messages : 1);
}
