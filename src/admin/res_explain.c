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

enum { WAITING_SHOWN = 1000 }; /* producers listed; the count is of all */

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

static json_t *list_waiting(const struct topic *t, struct waiting_sum *sum, int64_t now_ns)
{
    json_t *list = json_array();
    *sum = (struct waiting_sum){0};
    for (struct producer *p = t->producers; p != NULL; p = p->next) {
        if (p->gate.step == GATE_OPEN)
            continue;
        if (sum->since_wall_ns == 0 || p->throttled_wall_ns < sum->since_wall_ns)
            sum->since_wall_ns = p->throttled_wall_ns;
        sum->messages += p->parking.messages;
        sum->bytes += producer_parked_bytes(p);
        if (sum->producers++ < WAITING_SHOWN)
            json_array_append_new(list, waiting_json(p, now_ns));
    }
    return list;
}

/* Whom limits in dry run would have held up. */
static json_t *list_over_dry_run(const struct topic *t)
{
    json_t *list = json_array();
    int shown = 0;
    for (const struct producer *p = t->producers; p != NULL && shown < WAITING_SHOWN; p = p->next) {
        if (p->over_dry_run == 0)
            continue;
        json_array_append_new(list, json_pack("{s:s,s:I}", "producerName", p->name, "frames",
                                              (json_int_t)p->over_dry_run));
        shown++;
    }
    return list;
}

/* What the topic's worker found and the control worker needs to go on. */
struct found {
    struct waiting_sum sum;
    const char *waits_for; /* the quota of its chain that it waits for; NULL: none */
    const char *dispatch_waits_for;
};

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

/* The quota that those who wait lack; NULL: their topic's own tokens. */
static const char *quota_lacking_for(const struct topic *t)
{
    for (const struct producer *p = t->producers; p != NULL; p = p->next)
        if (p->lacking != NULL)
            return p->lacking->name;
    return NULL;
}

/* What is delivered: the topic's own limit, the subscriptions that wait; the quotas follow. */
static json_t *explain_dispatch(struct topic *t, struct found *f, int64_t now_ns)
{
    struct topic_line *line = topic_dispatch_line(t);
    json_t *out = json_object(), *scopes = json_array(), *waiting = json_array();
    json_int_t count = 0;
    bool for_topic = false;
    for (const struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next) {
        if (s->limit == NULL || !s->limit->throttled)
            continue;
        if (s->limit->lacking != NULL)
            f->dispatch_waits_for = s->limit->lacking->name;
        for_topic = for_topic || dispatch_reason(s) == REASON_TOPIC;
        if (count++ < WAITING_SHOWN)
            json_array_append_new(waiting, waiting_subscription_json(s, now_ns));
    }
    if (line != NULL) {
        struct explain_scope x = explain_scope_of(&line->scope, now_ns);
        json_array_append_new(scopes, scope_with_binding(&x, for_topic));
    }
    json_object_set_new(out, "throttled", json_boolean(count > 0));
    json_object_set_new(out, "throttledSubscriptions", json_integer(count));
    json_object_set_new(out, "scopes", scopes);
    json_object_set_new(out, "waiting", waiting);
    return out;
}

static void explain_there(struct part *p, struct topic *t)
{
    int64_t now_ns = shard_now_ns(t->shard);
    struct found *f = p->call->handler_own;
    struct explain x;
    explain_path(&x, &t->publish.path, now_ns);
    json_t *waiting = list_waiting(t, &f->sum, now_ns);
    f->waits_for = quota_lacking_for(t);
    uint32_t binding = f->waits_for != NULL ? x.count : binding_scope(t, &x);

    json_t *out = json_object();
    json_object_set_new(out, "topic", json_string(t->name.full));
    json_object_set_new(out, "throttled", json_boolean(f->sum.producers > 0));
    json_object_set_new(out, "throttledProducers", json_integer((json_int_t)f->sum.producers));
    json_object_set_new(out, "parkedMessages", json_integer((json_int_t)f->sum.messages));
    json_object_set_new(out, "parkedBytes", json_integer((json_int_t)f->sum.bytes));
    json_object_set_new(out, "scopes", list_scopes(t, &x, binding, &f->sum));
    json_object_set_new(out, "waiting", waiting);
    json_object_set_new(out, "wouldWait", list_over_dry_run(t));
    json_object_set_new(out, "dispatch", explain_dispatch(t, f, now_ns));
    p->result = out;
    part_end(p, TG_OK);
}

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

static void reply_explanation(struct call *c, enum tg_err e)
{
    if (e != TG_OK) {
        reply_err(c, e);
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

void explain_topic(struct call *c)
{
    c->handler_own = xcalloc(1, sizeof(struct found));
    part_on_topic(c, explain_there, reply_explanation);
}
