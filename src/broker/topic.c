/* topic.c - a topic's life: made (row first), restored, its limit worked out, its ledger trimmed,
 * deleted. Publishing is in publish.c, delivering in dispatcher.c. */
#include "broker/topic.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/message_counts.h"
#include "broker/producer.h"
#include "broker/subscription.h"

struct topic_waiting { /* somebody who waits for the row */
    struct topic_waiting *next;
    topic_done done;
    void *ctx;
};

/* ---- finding and making ---- */

struct topic *topic_find(struct shard *s, const char *full_name)
{
    struct topic *t;
    HASH_FIND_STR(s->topics, full_name, t);
    return t;
}

static void copy_name(struct topic_name *out, const struct topic_name *n)
{
    const char *why;
    enum tg_err e = topic_name_parse(out, n->full, &why);
    TG_ASSERT(e == TG_OK); /* it was parsed before */
}

static struct topic *topic_new(struct shard *s, const struct topic_name *n, struct ns *ns,
                               enum topic_state state)
{
    struct topic *t = xcalloc(1, sizeof *t);
    copy_name(&t->name, n);
    t->shard = s;
    t->ns = ns;
    t->state = state;
    scope_init(&t->scope, SCOPE_TOPIC, t->name.full);
    waitq_init(&t->waiters, &t->scope, &publish_waitq_ops, t);
    t->scope.waiters = &t->waiters;
    path_add(&t->path, &t->scope);
    timer_init(&t->wait_timer, publish_timer_fired);
    HASH_ADD_KEYPTR(hh, s->topics, t->name.full, strlen(t->name.full), t);
    DL_APPEND2(ns->topics, t, ns_prev, ns_next);
    ns->topic_count++;
    return t;
}

static void wait_until_ready(struct topic *t, topic_done done, void *ctx)
{
    struct topic_waiting *w = xcalloc(1, sizeof *w);
    w->done = done;
    w->ctx = ctx;
    LL_APPEND(t->waiting, w);
}

static void tell_waiting(struct topic *t, enum tg_err e)
{
    struct topic_waiting *w = t->waiting, *next;
    t->waiting = NULL;
    for (; w; w = next) {
        next = w->next;
        w->done(w->ctx, e ? NULL : t, e);
        free(w);
    }
}

static void on_row_written(void *ctx, enum tg_err e, int64_t version, const char *value, size_t len)
{
    (void)version;
    (void)value;
    (void)len;
    struct topic *t = ctx;
    if (!e) {
        t->state = TOPIC_READY;
        topic_apply_policies(t);
        log_info("topic %s: made, ledger %llu", t->name.full, (unsigned long long)t->ledger);
        tell_waiting(t, TG_OK);
        return;
    }
    log_warn("topic %s: can't be made: %s", t->name.full, err_text(e));
    struct topic_waiting *w = t->waiting;
    t->waiting = NULL;
    topic_free(t);
    for (struct topic_waiting *next; w; w = next) {
        next = w->next;
        w->done(w->ctx, NULL, e);
        free(w);
    }
}

static void put_row(struct topic *t, ms_done done, void *ctx)
{
    char *key = topic_row_key(&t->name);
    json_t *row = topic_row(t);
    char *text = json_dumps(row, JSON_COMPACT);
    ms_put(t->shard->meta, key, text, strlen(text), MS_ANY, done, ctx);
    free(text);
    json_decref(row);
    free(key);
}

static TG_MUSTCHECK enum tg_err may_create(struct shard *s, const struct topic_name *n,
                                           struct ns **ns)
{
    *ns = registry_ns(s->broker->registry, n->ns);
    if (!*ns)
        return TG_ENOENT;
    if ((int64_t)HASH_COUNT(s->topics) >= s->broker->settings->max_topics)
        return TG_ELIMIT;
    return TG_OK;
}

bool topic_may_be_opened(struct shard *s, const struct topic_name *n, bool may_make)
{
    if (topic_find(s, n->full))
        return true;
    struct partitioned *p =
        n->partitioned ? registry_partitioned(s->broker->registry, n->partitioned) : NULL;
    return p ? n->partition < p->partitions : may_make;
}

void topic_create(struct shard *s, const struct topic_name *n, json_t *properties, bool *existed,
                  topic_done done, void *ctx)
{
    struct topic *t = topic_find(s, n->full);
    if (existed)
        *existed = t != NULL;
    if (t && t->state == TOPIC_READY) {
        done(ctx, t, TG_OK);
        return;
    }
    if (t && t->state == TOPIC_DELETING) {
        done(ctx, NULL, TG_EBUSY);
        return;
    }
    if (!t) {
        struct ns *ns;
        enum tg_err e = may_create(s, n, &ns);
        if (e) {
            done(ctx, NULL, e);
            return;
        }
        t = topic_new(s, n, ns, TOPIC_CREATING);
        t->ledger = s->broker->next_ledger++;
        t->created_wall_ns = shard_wall_ns(s);
        t->properties = json_incref(properties);
        put_row(t, on_row_written, t);
    }
    wait_until_ready(t, done, ctx);
}

/* ---- the row: {"ledger":n,"created":ms,"properties":{},"publishRate":{}} ---- */

char *topic_row_key(const struct topic_name *n)
{
    return xasprintf("topic/%s/%s", n->ns, n->local);
}

json_t *topic_row(const struct topic *t)
{
    json_t *row = json_pack("{s:I, s:I}", "ledger", (json_int_t)t->ledger, "created",
                            (json_int_t)(t->created_wall_ns / MONO_MS));
    if (t->properties)
        json_object_set(row, "properties", t->properties);
    if (t->row_rate.present)
        json_object_set_new(row, "publishRate", rate_policy_to_json(&t->row_rate));
    return row;
}

enum tg_err topic_restore(struct shard *s, const struct topic_name *n, const json_t *row)
{
    struct ns *ns = registry_ns(s->broker->registry, n->ns);
    const json_t *rate = json_object_get(row, "publishRate");
    struct rate_policy policy = {0};
    char *why = NULL;
    if (!ns || !json_is_integer(json_object_get(row, "ledger")))
        return TG_ECORRUPT;
    if (rate && rate_policy_from_json(&policy, rate, &why) != TG_OK) {
        log_warn("topic %s: publishRate in its row: %s", n->full, why);
        free(why);
    }
    struct topic *t = topic_new(s, n, ns, TOPIC_READY);
    t->ledger = (uint64_t)json_integer_value(json_object_get(row, "ledger"));
    t->created_wall_ns = json_integer_value(json_object_get(row, "created")) * MONO_MS;
    t->properties = json_incref(json_object_get(row, "properties"));
    t->publish_rate = t->row_rate = policy;
    uint64_t last = ls_last_entry(s->broker->ledgers, t->ledger);
    t->next_entry = last == LS_NO_ENTRY ? 0 : last + 1;
    t->durable_end = t->next_entry;
    return TG_OK;
}

struct saving {
    struct topic *topic;
    topic_done done;
    void *ctx;
};

static void on_saved(void *ctx, enum tg_err e, int64_t version, const char *value, size_t len)
{
    (void)version;
    (void)value;
    (void)len;
    struct saving *s =
        ctx; /* one port's operations are answered in order: a deletion comes after this */
    if (s->done)
        s->done(s->ctx, e ? NULL : s->topic, e);
    free(s);
}

void topic_save(struct topic *t, topic_done done, void *ctx)
{
    struct saving *s = xcalloc(1, sizeof *s);
    s->topic = t;
    s->done = done;
    s->ctx = ctx;
    put_row(t, on_saved, s);
}

/* ---- the limit ---- */

void topic_apply_policies(struct topic *t)
{
    const struct settings *set = t->shard->broker->settings;
    struct tg_limit_spec broker_default = {
        .msgs = {.rate = set->max_topic_rate_msgs},
        .bytes = {.rate = set->max_topic_rate_bytes},
    };
    const struct rate_policy *own = &t->publish_rate;
    if (!own->present && t->name.partitioned) {
        struct partitioned *p =
            registry_partitioned(t->shard->broker->registry, t->name.partitioned);
        if (p)
            own = &p->publish_rate;
    }
    struct rate_choice choice = policy_publish_rate(own, &t->ns->publish_rate, &broker_default);
    int64_t now_ns = shard_now_ns(t->shard);
    if (scope_set_limit(&t->scope, &choice.spec, choice.source, (int)set->initial_burst_percent,
                        now_ns))
        publish_limit_changed(t);
}

/* Rows are written in the order of the changes, each with all changes before it; so what the last
 * one that succeeded says is what is in the store, and that is in force. A change that failed is
 * taken back unless a later one has taken its place. */
struct rate_change {
    struct rate_policy policy;
    uint64_t number;
    struct topic *topic;
    topic_done done;
    void *ctx;
};

static void on_rate_saved(void *ctx, struct topic *gone_or_not, enum tg_err e)
{
    struct rate_change *c = ctx;
    struct topic *t = c->topic;
    if (!e) {
        t->publish_rate = c->policy;
        topic_apply_policies(t);
    } else if (t->row_rate_changes == c->number) {
        t->row_rate = t->publish_rate;
    }
    c->done(c->ctx, gone_or_not, e);
    free(c);
}

void topic_set_publish_rate(struct topic *t, const struct rate_policy *p, topic_done done,
                            void *ctx)
{
    struct rate_change *c = xcalloc(1, sizeof *c);
    if (p)
        c->policy = *p;
    c->number = ++t->row_rate_changes;
    c->topic = t;
    c->done = done;
    c->ctx = ctx;
    t->row_rate = c->policy;
    topic_save(t, on_rate_saved, c);
}

struct properties_change {
    struct topic *topic;
    json_t *before, *after;
    topic_done done;
    void *ctx;
};

static void on_properties_saved(void *ctx, struct topic *gone_or_not, enum tg_err e)
{
    struct properties_change *c = ctx;
    if (e && c->topic->properties == c->after) { /* else a later change has taken its place */
        c->topic->properties = json_incref(c->before);
        json_decref(c->after);
    }
    json_decref(c->before);
    json_decref(c->after);
    c->done(c->ctx, gone_or_not, e);
    free(c);
}

void topic_set_properties(struct topic *t, json_t *properties, topic_done done, void *ctx)
{
    struct properties_change *c = xcalloc(1, sizeof *c);
    c->topic = t;
    c->before = t->properties;
    c->after = json_incref(properties);
    c->done = done;
    c->ctx = ctx;
    t->properties = properties;
    topic_save(t, on_properties_saved, c);
}

/* ---- dispatch and trimming ---- */

void topic_mark_dirty(struct topic *t)
{
    if (t->is_dirty)
        return;
    t->is_dirty = true;
    t->dirty_next = t->shard->dirty_topics;
    t->shard->dirty_topics = t;
}

void topics_dispatch(struct shard *s)
{
    struct topic *t = s->dirty_topics, *next;
    s->dirty_topics = NULL;
    for (; t; t = next) {
        next = t->dirty_next;
        t->is_dirty = false;
        struct subscription *sub, *next_sub;
        HASH_ITER(hh, t->subscriptions, sub, next_sub)
        {
            subscription_dispatch(sub);
        }
        if (!t->subscriptions)
            topic_trim(t);
    }
}

void topic_trim(struct topic *t)
{
    uint64_t needed = t->durable_end;
    for (struct subscription *s = t->subscriptions; s; s = s->hh.next)
        if (s->durable && s->cursor.next < needed)
            needed = s->cursor.next;
    if (needed > t->trimmed_to) {
        t->trimmed_to = needed;
        ls_trim(t->shard->log, t->ledger, needed);
    }
}

/* ---- the end ---- */

bool topic_is_active(const struct topic *t)
{
    if (t->producers)
        return true;
    for (struct subscription *s = t->subscriptions; s; s = s->hh.next)
        if (s->consumers)
            return true;
    return false;
}

void topic_disconnect_all(struct topic *t)
{
    while (t->producers)
        producer_send_away(t->producers);
    for (struct subscription *s = t->subscriptions; s; s = s->hh.next) {
        while (s->consumers) {
            conn_send_close_consumer(s->consumers->conn, s->consumers->id);
            consumer_close(s->consumers);
        }
    }
}

struct deletion {
    struct topic *topic;
    topic_done done;
    void *ctx;
};

static void on_row_deleted(void *ctx, enum tg_err e, int64_t version, const char *value, size_t len)
{
    (void)version;
    (void)value;
    (void)len;
    struct deletion *d = ctx;
    struct topic *t = d->topic;
    if (e && e != TG_ENOENT) {
        log_warn("topic %s: can't be deleted: %s", t->name.full, err_text(e));
        t->state = TOPIC_READY;
        d->done(d->ctx, NULL, e);
        free(d);
        return;
    }
    log_info("topic %s: deleted", t->name.full);
    ls_drop(t->shard->log, t->ledger);
    if (t->ring_len > 0)
        t->free_when_drained = true;
    else
        topic_free(t);
    d->done(d->ctx, NULL, TG_OK);
    free(d);
}

static void on_sub_deleted(void *ctx, struct subscription *s, enum tg_err e)
{
    (void)ctx;
    (void)s;
    (void)e; /* a cursor's row that stays has no topic: dropped at the next load */
}

void topic_delete(struct topic *t, bool force, topic_done done, void *ctx)
{
    if (t->state != TOPIC_READY || (!force && topic_is_active(t))) {
        done(ctx, t, TG_EBUSY);
        return;
    }
    t->state = TOPIC_DELETING;
    topic_disconnect_all(t);
    struct subscription *s, *next;
    HASH_ITER(hh, t->subscriptions, s, next)
    {
        subscription_delete(s, true, on_sub_deleted, NULL);
    }
    struct deletion *d = xcalloc(1, sizeof *d);
    d->topic = t;
    d->done = done;
    d->ctx = ctx;
    char *key = topic_row_key(&t->name);
    ms_delete(t->shard->meta, key, MS_ANY, on_row_deleted, d);
    free(key);
}

static void forget_dirty(struct topic *t)
{
    if (!t->is_dirty)
        return;
    struct topic **at = &t->shard->dirty_topics;
    while (*at != t)
        at = &(*at)->dirty_next;
    *at = t->dirty_next;
}

void topic_free(struct topic *t)
{
    TG_ASSERT(t->waiting == NULL || t->state == TOPIC_CREATING);
    forget_dirty(t);
    timer_disarm(t->shard->worker, &t->wait_timer);
    struct subscription *s, *next;
    HASH_ITER(hh, t->subscriptions, s, next)
    {
        subscription_free(s);
    }
    while (t->waiting) {
        struct topic_waiting *w = t->waiting;
        LL_DELETE(t->waiting, w);
        free(w);
    }
    HASH_DEL(t->shard->topics, t);
    DL_DELETE2(t->ns->topics, t, ns_prev, ns_next);
    t->ns->topic_count--;
    publish_forget_in_flight(t);
    message_counts_free(t->counts);
    json_decref(t->properties);
    topic_name_fini(&t->name);
    free(t->ring);
    free(t);
}
