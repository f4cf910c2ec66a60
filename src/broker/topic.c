/* topic.c - a topic's life on its worker: it joins, its limit is put in force, its ledger trimmed,
 * it ends. Publishing is in publish.c, delivering in dispatcher.c. */
#include "broker/topic.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/chain.h"
#include "broker/dispatch_limit.h"
#include "broker/message_counts.h"
#include "broker/producer.h"
#include "broker/producer_limit.h"
#include "broker/quotas.h"
#include "broker/subscription.h"
#include "broker/walk.h"

struct topic *topic_find(struct shard *s, const char *full_name)
{
    struct topic *t;
    HASH_FIND_STR(s->topics, full_name, t);
    return t;
}

struct topic *topic_named(struct shard *s, const char *text)
{
    struct topic_name n;
    const char *why;
    if (topic_name_parse(&n, text, &why) != TG_OK)
        return NULL;
    struct topic *t = topic_find(s, n.full);
    topic_name_fini(&n);
    return t && t->state == TOPIC_READY ? t : NULL;
}

/* ---- coming and going ---- */

struct topic *topic_new(struct place *p)
{
    struct topic *t = xcalloc(1, sizeof *t);
    t->name = p->name;
    t->state = TOPIC_READY;
    t->created_wall_ns = p->created_wall_ns;
    t->properties = json_incref(p->properties);
    t->ledger = p->ledger;
    uint64_t last = ls_last_entry(p->shard->broker->ledgers, t->ledger);
    t->next_entry = t->durable_end = last == LS_NO_ENTRY ? 0 : last + 1;
    t->chain = p->chain;
    topic_line_init(&t->publish, t, &publish_waitq_ops, &t->chain->side[SIDE_PUBLISH]);
    return t;
}

void topic_join(struct topic *t, struct shard *s, const struct topic_rates *rates)
{
    t->shard = s;
    for (struct subscription *sub = t->subscriptions; sub; sub = sub->hh.next)
        sub->shard = s;
    HASH_ADD_KEYPTR(hh, s->topics, t->name.full, strlen(t->name.full), t);
    topic_set_rates(t, rates);
}

static bool is_idle(const struct subscription *s)
{
    return s->state == SUB_READY && s->refs == 0 && !s->consumers && !s->reading &&
           !timer_is_armed(&s->retry_timer) && !timer_is_armed(&s->flush_timer);
}

bool topic_can_move(const struct topic *t)
{
    if (t->state != TOPIC_READY || t->producers || t->ring_len > 0 || t->is_dirty)
        return false;
    for (const struct subscription *s = t->subscriptions; s; s = s->hh.next)
        if (!is_idle(s))
            return false;
    return true;
}

static void disarm(struct topic *t)
{
    timer_disarm(t->shard->worker, &t->publish.timer);
    if (t->dispatch)
        timer_disarm(t->shard->worker, &t->dispatch->line.timer);
}

static void leave_map(struct topic *t)
{
    walks_skip(t->shard, t);
    HASH_DEL(t->shard->topics, t);
}

void topic_leave(struct topic *t)
{
    disarm(t);
    leave_map(t);
    t->shard = NULL;
}

/* ---- the quotas above ---- */

static void close_claims(struct topic *t)
{
    topic_line_close_claim(&t->publish);
    if (t->dispatch)
        topic_line_close_claim(&t->dispatch->line);
}

static void send_rechained_back(struct topic *t)
{
    while (t->claims_closing == 0 && t->rechained) {
        struct visit *v = t->rechained;
        t->rechained = v->next;
        visit_back(v);
    }
}

/* In the order in which they came, or an older chain would be taken for the newest. */
static void wait_to_go_back(struct topic *t, struct visit *v)
{
    struct visit **end = &t->rechained;
    while (*end)
        end = &(*end)->next;
    v->next = NULL;
    *end = v;
}

/* Whoever waits asks anew. */
static void ask_anew(struct topic *t)
{
    quota_leases_return(&t->shard->quotas, shard_now_ns(t->shard));
    close_claims(t);
    publish_chain_changed(t);
    dispatch_chain_changed(t);
}

void topic_set_chain(struct topic *t, const struct chain *chain, struct visit *told)
{
    if (t->chain != chain) {
        t->chain = chain;
        t->publish.chain = &chain->side[SIDE_PUBLISH];
        if (t->dispatch)
            t->dispatch->line.chain = &chain->side[SIDE_DISPATCH];
        ask_anew(t);
    }
    wait_to_go_back(t, told);
    send_rechained_back(t);
}

void topic_claim_released(struct topic *t)
{
    t->claims_closing--;
    send_rechained_back(t);
    (void)topic_end_if_drained(t);
}

/* ---- the limits ---- */

static void set_producer_rate(struct topic *t, const struct rate_choice *rate)
{
    t->producer_rate = *rate;
    for (struct producer *p = t->producers, *next; p; p = next) {
        next = p->next;
        producer_limit_set(p, rate);
    }
}

/* A claim has the weight that it was made with. */
static void set_weight(struct topic_line *l, uint32_t weight)
{
    if (!l || l->weight == weight)
        return;
    l->weight = weight;
    ask_anew(l->topic);
}

void topic_set_rates(struct topic *t, const struct topic_rates *rates)
{
    const struct rate_choice *rate = &rates->kind[RATE_OF_TOPIC];
    set_producer_rate(t, &rates->kind[RATE_OF_PRODUCER]);
    subscribe_limit_set(&t->subscribing, &rates->kind[RATE_OF_SUBSCRIBING], shard_now_ns(t->shard));
    if (topic_line_set_limit(&t->publish, rate))
        publish_limit_changed(t);
    t->throttle_tailing = rates->throttle_tailing;
    t->entries_as_messages = rates->entries_as_messages;
    t->dispatch_weight = rates->kind[RATE_OF_DISPATCH].weight;
    dispatch_set_rates(t, rates);
    set_weight(&t->publish, weight_or_1(rate->weight));
    set_weight(topic_dispatch_line(t), weight_or_1(t->dispatch_weight));
}

void topic_rates_fini(struct topic_rates *rates)
{
    sub_rates_drop(rates->of_sub);
    rates->of_sub = NULL;
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

static void on_sub_deleted(void *ctx, struct subscription *s, enum tg_err e)
{
    (void)ctx;
    (void)s;
    (void)e; /* a cursor's row that stays has no topic: dropped at the next load */
}

enum tg_err topic_empty(struct topic *t, bool force)
{
    if (!force && topic_is_active(t))
        return TG_EBUSY;
    t->state = TOPIC_DELETING;
    topic_disconnect_all(t);
    struct subscription *s, *next;
    HASH_ITER(hh, t->subscriptions, s, next)
    {
        subscription_delete(s, true, on_sub_deleted, NULL);
    }
    return TG_OK;
}

void topic_end(struct topic *t, struct visit *told)
{
    struct shard *s = t->shard;
    ls_drop(s->log, t->ledger);
    t->ending = told;
    quota_leases_return(&s->quotas, shard_now_ns(s)); /* its quotas may go when it has gone */
    t->claims_closing++;                              /* or it would end in here */
    close_claims(t);
    topic_claim_released(t);
}

bool topic_end_if_drained(struct topic *t)
{
    struct visit *told = t->ending;
    if (!told || t->ring_len > 0 || t->claims_closing > 0)
        return false;
    topic_free(t);
    visit_back(told);
    return true;
}

bool topics_abandon_endings(struct shard *s)
{
    bool any = false;
    for (struct topic *t = s->topics; t; t = t->hh.next) {
        struct visit *told = t->ending;
        any = any || told || t->rechained;
        t->ending = NULL;
        for (struct visit *v = t->rechained; v; v = t->rechained) {
            t->rechained = v->next;
            visit_lost(v);
        }
        if (told)
            visit_lost(told);
    }
    return any;
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
    if (t->shard) { /* else it never arrived */
        forget_dirty(t);
        disarm(t);
        leave_map(t);
    }
    struct subscription *s, *next;
    HASH_ITER(hh, t->subscriptions, s, next)
    {
        subscription_free(s);
    }
    publish_forget_in_flight(t);
    message_counts_free(t->counts);
    json_decref(t->properties);
    sub_rates_drop(t->sub_rates);
    free(t->ring);
    topic_line_fini(&t->publish);
    topic_dispatch_free(t);
    subscribe_limit_free(t->subscribing);
    free(t);
}
