/* res_explain.c - GET .../{topic}/explain: what limits this topic, which of it binds, since when
 * and until when, who waits, and the command that would raise it. */
#include <stdlib.h>

#include "admin/part.h"
#include "admin/res.h"
#include "admin/scope_json.h"
#include "base/alloc.h"
#include "base/mono.h"
#include "broker/chain.h"
#include "broker/dispatch_limit.h"
#include "broker/producer.h"
#include "broker/quotas.h"
#include "broker/subscription.h"
#include "quota/explain.h"

enum {
    WAITING_SHOWN = 1000,   /* producers, subscriptions listed; the counts are of all */
    LISTED_PER_TURN = 100,  /* some 5 us each */
    PASSED_PER_TURN = 5000, /* of those that do not wait, or are not listed any more */
};

static json_t *scope_with_binding(const struct explain_scope *s, bool binding)
{
    json_t *j = scope_json(s);
    json_object_set_new(j, "binding", json_boolean(binding));
    return j;
}

/* The scope that binds: the narrowest that lacks tokens, else (between two grants it has some) the
 * one whose queue is not empty. count: none. */
static uint32_t binding_scope(const struct topic *t, const struct explain *x)
{
    for (uint32_t i = 0; i < x->count; i++)
        if (x->scope[i].binding)
            return i;
    for (uint32_t i = 0; i < x->count; i++)
        if (t->publish.path.scope[i]->waiters != NULL &&
            waitq_count(t->publish.path.scope[i]->waiters) > 0)
            return i;
    return x->count;
}

struct waiting_sum {
    uint64_t producers, messages, bytes;
    int64_t since_wall_ns; /* the longest wait's beginning; 0: nobody waits */
};

/* What the topic's worker has found so far, and the control worker needs to go on. The topic is
 * visited until all of its producers and subscriptions were looked at, some a visit; who comes or
 * goes meanwhile may be missed. */
struct found {         /* call->handler_own; its lists are in call->parsed */
    uint64_t producer; /* the next to be looked at */
    uint64_t subscription;
    bool is_complete;
    struct waiting_sum sum;
    json_int_t waiting_subscriptions;
    bool for_topic; /* some of these wait for the topic's own tokens */
    /* Names of the quotas of its chain that are waited for; NULL: none. To be compared, not read.
     */
    const char *waits_for;
    const char *dispatch_waits_for;
};

/* What one visit may still do. */
struct visit_budget {
    int listed, passed;
};

static bool is_used_up(struct visit_budget *left)
{
    return left->listed <= 0 || left->passed-- <= 0;
}

static void list(struct call *c, const char *name, json_t *j, struct visit_budget *left)
{
    json_array_append_new(json_object_get(c->parsed, name), j);
    left->listed--;
}

static bool may_list(const struct call *c, const char *name)
{
    return json_array_size(json_object_get(c->parsed, name)) < WAITING_SHOWN;
}

/* For the answer: the call has it no longer. */
static json_t *take(struct call *c, const char *name)
{
    json_t *j = json_incref(json_object_get(c->parsed, name));
    json_object_del(c->parsed, name);
    return j;
}

/* ---- on the topic's worker ---- */

static void look_at_producer(struct call *c, const struct producer *p, struct visit_budget *left)
{
    struct found *f = c->handler_own;
    struct waiting_sum *sum = &f->sum;
    if (p->over_dry_run > 0 && may_list(c, "wouldWait"))
        list(c, "wouldWait",
             json_pack("{s:s,s:I}", "producerName", p->name, "frames", (json_int_t)p->over_dry_run),
             left);
    if (p->lacking != NULL && f->waits_for == NULL)
        f->waits_for = p->lacking->name;
    if (p->gate.step == GATE_OPEN)
        return;
    if (sum->since_wall_ns == 0 || p->throttled_wall_ns < sum->since_wall_ns)
        sum->since_wall_ns = p->throttled_wall_ns;
    sum->messages += p->parking.messages;
    sum->bytes += producer_parked_bytes(p);
    sum->producers++;
    if (may_list(c, "waiting"))
        list(c, "waiting", waiting_json(p, shard_now_ns(p->topic->shard)), left);
}

static void look_at_subscription(struct call *c, const struct subscription *s,
                                 struct visit_budget *left)
{
    struct found *f = c->handler_own;
    if (s->limit == NULL || !s->limit->throttled)
        return;
    if (s->limit->lacking != NULL)
        f->dispatch_waits_for = s->limit->lacking->name;
    f->for_topic = f->for_topic || dispatch_reason(s) == REASON_TOPIC;
    f->waiting_subscriptions++;
    if (may_list(c, "subscriptions"))
        list(c, "subscriptions", waiting_subscription_json(s, shard_now_ns(s->shard)), left);
}

/* True: all have been looked at. */
static bool look_at_more(struct call *c, const struct topic *t)
{
    struct found *f = c->handler_own;
    struct visit_budget left = {LISTED_PER_TURN, PASSED_PER_TURN};
    const struct producer *p = t->producers;
    const struct subscription *s = t->subscriptions;
    for (uint64_t i = 0; p != NULL && i < f->producer; i++)
        p = p->next;
    for (; p != NULL; p = p->next, f->producer++) {
        if (is_used_up(&left))
            return false;
        look_at_producer(c, p, &left);
    }
    for (uint64_t i = 0; s != NULL && i < f->subscription; i++)
        s = s->hh.next;
    for (; s != NULL; s = s->hh.next, f->subscription++) {
        if (is_used_up(&left))
            return false;
        look_at_subscription(c, s, &left);
    }
    return true;
}

static void put_binding(json_t *j, const struct explain_scope *s, const struct waiting_sum *sum,
                        int64_t wall_ns)
{
    int64_t span_ns = explain_until_ns(s, sum->messages, sum->bytes);
    json_object_set_new(j, "since",
                        sum->since_wall_ns != 0 ? json_iso_time(sum->since_wall_ns) : json_null());
    json_object_set_new(j, "until", json_iso_time(wall_ns + span_ns));
    json_object_set_new(j, "untilMs", json_integer((span_ns + MONO_MS - 1) / MONO_MS));
}

static json_t *list_scopes(const struct topic *t, const struct explain *x, uint32_t binding,
                           const struct waiting_sum *sum)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < x->count; i++) {
        const struct explain_scope *s = &x->scope[i];
        json_t *j = scope_with_binding(s, i == binding);
        if (i == binding)
            put_binding(j, s, sum, shard_wall_ns(t->shard));
        json_array_append_new(list, j);
    }
    return list;
}

/* What is delivered: the topic's own limit, the subscriptions that wait; the quotas follow. */
static json_t *explain_dispatch(struct call *c, struct topic *t, int64_t now_ns)
{
    const struct found *f = c->handler_own;
    struct topic_line *line = topic_dispatch_line(t);
    json_t *out = json_object(), *scopes = json_array();
    if (line != NULL) {
        struct explain_scope x = explain_scope_of(&line->scope, now_ns);
        json_array_append_new(scopes, scope_with_binding(&x, f->for_topic));
    }
    json_object_set_new(out, "throttled", json_boolean(f->waiting_subscriptions > 0));
    json_object_set_new(out, "throttledSubscriptions", json_integer(f->waiting_subscriptions));
    json_object_set_new(out, "scopes", scopes);
    json_object_set_new(out, "waiting", take(c, "subscriptions"));
    return out;
}

static json_t *explanation(struct call *c, struct topic *t)
{
    int64_t now_ns = shard_now_ns(t->shard);
    const struct found *f = c->handler_own;
    struct explain x;
    explain_path(&x, &t->publish.path, now_ns);
    uint32_t binding = f->waits_for != NULL ? x.count : binding_scope(t, &x);

    json_t *out = json_object();
    json_object_set_new(out, "topic", json_string(t->name.full));
    json_object_set_new(out, "throttled", json_boolean(f->sum.producers > 0));
    json_object_set_new(out, "throttledProducers", json_integer((json_int_t)f->sum.producers));
    json_object_set_new(out, "parkedMessages", json_integer((json_int_t)f->sum.messages));
    json_object_set_new(out, "parkedBytes", json_integer((json_int_t)f->sum.bytes));
    json_object_set_new(out, "scopes", list_scopes(t, &x, binding, &f->sum));
    json_object_set_new(out, "waiting", take(c, "waiting"));
    json_object_set_new(out, "wouldWait", take(c, "wouldWait"));
    json_object_set_new(out, "dispatch", explain_dispatch(c, t, now_ns));
    return out;
}

static void explain_there(struct part *p, struct topic *t)
{
    struct found *f = p->call->handler_own;
    f->is_complete = look_at_more(p->call, t);
    if (f->is_complete)
        p->result = explanation(p->call, t);
    part_end(p, TG_OK);
}

/* ---- on the control worker ---- */

/* The quotas above the topic. */
static void add_quotas(struct call *c, const struct place *p, enum limit_side side, json_t *scopes)
{
    const struct found *f = c->handler_own;
    int64_t now_ns = shard_now_ns(c->shard);
    const struct quota_chain *chain = &place_chain(p)->side[side];
    const char *waits_for = side == SIDE_PUBLISH ? f->waits_for : f->dispatch_waits_for;
    for (uint32_t i = 0; i < chain->count; i++) {
        struct quota *q = chain->quota[i];
        struct explain_scope s = explain_quota(q, now_ns);
        bool binding = waits_for == q->name;
        json_t *j = scope_with_binding(&s, binding);
        json_object_set_new(j, "waitingTopics", json_integer(home_waiting(q, now_ns).claims));
        if (binding && side == SIDE_PUBLISH)
            put_binding(j, &s, &f->sum, shard_wall_ns(c->shard));
        json_array_append_new(scopes, j);
    }
}

static void visit_again(struct call *c, bool lost);

static void on_visited(struct call *c, enum tg_err e)
{
    const struct found *f = c->handler_own;
    if (e != TG_OK) {
        reply_err(c, e);
        return;
    }
    if (!f->is_complete) {
        call_go_on_later(c, 0, visit_again);
        return;
    }
    json_t *out = part_result(c);
    struct place *p = place_find(res_registry(c), c->topic.full);
    if (p != NULL) {
        json_t *dispatch = json_object_get(out, "dispatch");
        add_quotas(c, p, SIDE_PUBLISH, json_object_get(out, "scopes"));
        add_quotas(c, p, SIDE_DISPATCH, json_object_get(dispatch, "scopes"));
    }
    reply_json(c, 200, out);
}

static void visit_again(struct call *c, bool lost)
{
    if (lost) {
        reply_err(c, TG_ECLOSED);
        return;
    }
    topic_name_fini(&c->topic); /* of the visit before */
    part_on_topic(c, explain_there, on_visited);
}

void explain_topic(struct call *c)
{
    c->handler_own = xcalloc(1, sizeof(struct found));
    c->parsed = json_pack("{s:[],s:[],s:[]}", "waiting", "wouldWait", "subscriptions");
    part_on_topic(c, explain_there, on_visited);
}
