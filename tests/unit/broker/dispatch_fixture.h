/* dispatch_fixture.h - broker_fixture.h with consumers, limits of what is delivered (one message
 * passes in a test), and a look at who waits for them. */
#ifndef TESTS_DISPATCH_FIXTURE_H
#define TESTS_DISPATCH_FIXTURE_H

#include "broker_fixture.h"

#include "broker/dispatch_limit.h"
#include "broker/quotas.h"

static int setup_one(void **state)
{
    *state = world_new(1, true);
    return 0;
}

/* ---- a consumer ---- */

static void subscribe(struct client *c, const char *topic, const char *name, uint64_t id)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandSubscribe in = PULSAR__PROTO__COMMAND_SUBSCRIBE__INIT;
    cmd.type = T(SUBSCRIBE);
    cmd.subscribe = &in;
    in.topic = writable(topic);
    in.subscription = writable(name);
    in.consumer_id = id;
    in.request_id = 200 + id;
    in.has_initialposition = true;
    in.initialposition = PULSAR__PROTO__COMMAND_SUBSCRIBE__INITIAL_POSITION__Earliest;
    client_command(c, &cmd);
    client_expect(c, T(SUCCESS));
}

static void give_permits(struct client *c, uint64_t id, uint32_t n)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandFlow in = PULSAR__PROTO__COMMAND_FLOW__INIT;
    cmd.type = T(FLOW);
    cmd.flow = &in;
    in.consumer_id = id;
    in.messagepermits = n;
    client_command(c, &cmd);
}

static void close_consumer(struct client *c, uint64_t id)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandCloseConsumer in = PULSAR__PROTO__COMMAND_CLOSE_CONSUMER__INIT;
    cmd.type = T(CLOSE_CONSUMER);
    cmd.close_consumer = &in;
    in.consumer_id = id;
    in.request_id = 300 + id;
    client_command(c, &cmd);
    client_expect(c, T(SUCCESS));
}

static void take(struct client *c, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) {
        const Pulsar__Proto__BaseCommand *cmd = client_expect(c, T(MESSAGE));
        assert_int_equal(cmd->message->message_id->entryid, i);
    }
}

static void publish(struct client *c, uint64_t first, uint64_t end)
{
    send_run(c, 1, first, end);
    expect_receipts(c, 1, first, end);
}

/* ---- limits ---- */

struct wanted_rate {
    enum rate_kind kind;
    int64_t msgs;
};

static void put_dispatch_rate(struct world *w, void *arg)
{
    const struct wanted_rate *r = arg;
    struct place *p = place_find(w->broker.registry, TOPIC);
    assert_non_null(p);
    place_policies(p)->rate[r->kind] = (struct rate_policy){
        .present = r->msgs > 0, .spec = {.msgs.rate = r->msgs, .period_ns = 3600 * MONO_S}};
    place_apply_policies(p);
}

static void one_an_hour(struct world *w, enum rate_kind kind)
{
    struct wanted_rate r = {kind, 1};
    on_worker(w, put_dispatch_rate, &r);
}

static void no_rate(struct world *w, enum rate_kind kind)
{
    struct wanted_rate r = {kind, 0};
    on_worker(w, put_dispatch_rate, &r);
}

static void put_broker_quota(struct world *w, void *arg)
{
    int64_t msgs = *(int64_t *)arg;
    struct rate_policy p = {.present = msgs > 0,
                            .spec = {.msgs.rate = msgs, .period_ns = 3600 * MONO_S}};
    broker_quota_set(w->broker.quotas->broker[SIDE_DISPATCH], &p, LIMIT_FROM_BROKER);
}

/* ---- a look ---- */

struct line_look {
    bool there; /* a line */
    uint32_t in_line, alone, throttled;
    uint64_t wanted, hits, times, delayed;
    uint32_t counted; /* as waiting, at the topic's scope */
    enum throttle_reason reason;
    bool timer;
};

static void look_at_line(struct world *w, void *arg)
{
    struct line_look *l = arg;
    struct topic *t = topic_find(&w->broker.shard[0], TOPIC);
    struct topic_line *line = topic_dispatch_line(t);
    *l = (struct line_look){.there = line != NULL, .reason = REASON_COUNT};
    for (struct subscription *s = t->subscriptions; s; s = s->hh.next) {
        l->alone += s->limit && timer_is_armed(&s->limit->timer);
        l->throttled += s->limit && s->limit->throttled;
        if (dispatch_reason(s) != REASON_COUNT)
            l->reason = dispatch_reason(s);
    }
    if (!line)
        return;
    struct waits_view v = waits_view(line->scope.waits, shard_now_ns(&w->broker.shard[0]));
    l->in_line = waitq_count(&line->waiters);
    l->wanted = line->wanted.msgs;
    l->hits = topic_line_throttling_of(line)->hits[REASON_TOPIC];
    l->times = topic_line_throttling_of(line)->times;
    l->counted = v.waiting;
    l->delayed = v.msgs;
    l->timer = timer_is_armed(&line->timer);
}

static struct line_look look_line(struct world *w)
{
    struct line_look l;
    on_worker(w, look_at_line, &l);
    return l;
}

#endif
