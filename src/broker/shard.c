/* shard.c - the broker's part of one worker: its doors to the stores, what it does at the end of
 * each turn, and its orderly stop. */
#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/broker.h"
#include "broker/front.h"
#include "broker/link.h"
#include "broker/producer_hold.h"
#include "broker/subscription.h"
#include "broker/topic.h"

enum { STOP_GRACE_S = 5 /* an orderly stop that takes longer is cut short */ };

static void on_append(void *port_ctx, void *ctx, uint64_t ledger, uint64_t entry, enum tg_err e)
{
    (void)port_ctx;
    (void)ledger;
    publish_appended(ctx, entry, e);
}

static void on_store_state(void *port_ctx, enum ls_state state, const char *why)
{
    struct shard *s = port_ctx;
    s->store_state = state;
    switch (state) {
    case LS_OK:
        if (s->index == 0)
            log_info("store: has room again");
        publish_store_has_room(s);
        break;
    case LS_FULL:
        if (s->index == 0)
            log_warn("store: full: %s; publishing waits until there is room", why ? why : "");
        break;
    case LS_FAILED:
        broker_fail(s->broker, why);
        break;
    }
}

static void wake_log(void *port_ctx)
{
    struct shard *s = port_ctx;
    worker_wake(s->log_wake);
}

static void poll_log(void *ctx)
{
    struct shard *s = ctx;
    ls_port_poll(s->log);
    if (s->blocked && s->store_state == LS_OK)
        publish_store_has_room(s);
}

static void wake_meta(void *ctx)
{
    struct shard *s = ctx;
    worker_wake(s->meta_wake);
}

static void poll_meta(void *ctx)
{
    struct shard *s = ctx;
    ms_port_poll(s->meta);
}

/* Leases that are kept: there is a turn when they must go back, whatever else happens. */
static void end_turn_of_quotas(struct shard *s)
{
    int64_t until_ns = quota_turn_end(&s->quotas, shard_now_ns(s));
    if (until_ns != MONO_NEVER && !timer_is_armed(&s->leases_timer))
        timer_arm(s->worker, &s->leases_timer, until_ns);
}

static void turn_end(void *ctx)
{
    struct shard *s = ctx;
    producers_memory_given_back(s);
    fronts_watch_memory(s);
    topics_dispatch(s);
    links_post(s);
    letters_post_again(s);
    end_turn_of_quotas(s);
    ls_port_submit(s->log);
}

static const struct ls_port_ops port_ops = {
    .on_append = on_append, .on_state = on_store_state, .wake = wake_log};

int64_t shard_wall_ns(struct shard *s)
{
    int64_t now = shard_now_ns(s);
    if (s->wall_of_ns != now) {
        s->wall_of_ns = now;
        s->wall_ns = wall_now_ns() - (mono_now_ns() - now); /* when limits were asked, too */
    }
    return s->wall_ns;
}

/* ---- start ---- */

static void nothing_fired(struct timer *t, int64_t now_ns)
{
    (void)t, (void)now_ns; /* that there is a turn is all it is for */
}

static void stop_step(struct timer *t, int64_t now_ns);

void shard_start(struct shard *s)
{
    struct broker *b = s->broker;
    s->arena = arena_new();
    timer_init(&s->unsent_timer, nothing_fired);
    timer_init(&s->leases_timer, nothing_fired);
    timer_init(&s->stop_timer, stop_step);
    s->log_wake = worker_wake_new(s->worker, poll_log, s);
    s->meta_wake = worker_wake_new(s->worker, poll_meta, s);
    s->log = ls_port_open(b->ledgers, &port_ops, s);
    s->meta = ms_port_open(b->meta, wake_meta, s);
    worker_at_turn_end(s->worker, turn_end, s);
}

/* ---- stop ---- */

struct stopped {
    struct letter letter; /* first */
};

static void on_stopped(struct letter *l, struct shard *at)
{
    free(l);
    broker_shard_stopped(at->broker);
}

static void drop_stopped(struct letter *l)
{
    free(l);
}

static void tell_control(struct shard *s)
{
    timer_disarm(s->worker, &s->stop_timer);
    links_post(s); /* receipts before the word that there are no more */
    if (s->index == 0) {
        broker_shard_stopped(s->broker);
        return;
    }
    struct stopped *m = xcalloc(1, sizeof *m);
    letter_post(s, shard_control(s), &m->letter, on_stopped, drop_stopped);
}

static void on_cursors_written(void *ctx)
{
    struct shard *s = ctx;
    if (timer_is_armed(&s->stop_timer)) /* else the time was up */
        tell_control(s);
}

static void stop_step(struct timer *t, int64_t now_ns)
{
    struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, stop_timer));
    if (now_ns >= s->stop_deadline_ns) {
        log_warn("stop: %llu messages still in flight after %d s: given up, unacknowledged",
                 (unsigned long long)s->in_flight, STOP_GRACE_S);
        tell_control(s);
    } else if (s->in_flight > 0) {
        timer_arm(s->worker, t, now_ns + MONO_MS);
    } else {
        timer_arm(s->worker, t, s->stop_deadline_ns); /* should the cursors hang */
        subscriptions_flush_all(s, on_cursors_written, s);
    }
}

/* Or their limits would feed the store during the stop, and it would never be idle. Nobody was
 * promised anything: their clients send them again. */
static void drop_what_is_parked(struct shard *s)
{
    for (struct topic *t = s->topics; t; t = t->hh.next)
        for (struct producer *p = t->producers; p; p = p->next) {
            producer_hold_stop(p);
            publish_abandon(p);
        }
}

void shard_stop(struct shard *s)
{
    s->stopping = true;
    fronts_stop_reading(s);
    drop_what_is_parked(s);
    s->stop_deadline_ns = shard_now_ns(s) + STOP_GRACE_S * MONO_S;
    timer_arm(s->worker, &s->stop_timer, shard_now_ns(s));
}

bool shard_settle(struct shard *s)
{
    bool more = ms_port_finish(s->meta);
    more = ls_port_finish_reads(s->log) || more;
    more = topics_abandon_endings(s) || more;
    return letters_drop(s) || more;
}
