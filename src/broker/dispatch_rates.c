/* dispatch_rates.c - limits of what is delivered come, change and go; and those that are relative
 * to what is published follow its meter while they are asked for, or waited for.
 *
 * Invariant: scope.limit is what <rate> said when it was last looked at, no longer than FOLLOW_NS
 * before anything is admitted or kept waiting. */
#include "base/mono.h"
#include "broker/dispatch_wait.h"
#include "broker/subscription.h"

#define FOLLOW_NS (100 * MONO_MS)

/* ---- rates that follow what is published ---- */

static void add_to(struct tg_rate_spec *r, double per_s, int64_t period_ns)
{
    int64_t more = (int64_t)(per_s * (double)period_ns / 1e9);
    int64_t most = (int64_t)((double)TG_RATE_MAX_PER_S * (double)period_ns / 1e9);
    if (r->rate <= 0)
        return;
    r->rate = more < most - r->rate ? r->rate + more : most;
    if (r->peak > 0)
        r->peak = more < most - r->peak ? r->peak + more : most;
}

static struct rate_choice absolute(const struct topic *t, const struct rate_choice *rate)
{
    struct rate_choice r = *rate;
    int64_t now_ns = shard_now_ns(t->shard), period_ns = tg_limit_period_ns(&r.spec);
    if (!rate->relative_to_publish)
        return r;
    add_to(&r.spec.msgs, tg_meter_rate(&t->publish.scope.msgs, now_ns), period_ns);
    add_to(&r.spec.bytes, tg_meter_rate(&t->publish.scope.bytes, now_ns), period_ns);
    return r;
}

int64_t dispatch_follow_by(const struct rate_choice *rate, int64_t deadline_ns, int64_t now_ns)
{
    if (!rate->relative_to_publish || deadline_ns == MONO_NEVER || deadline_ns < now_ns + FOLLOW_NS)
        return deadline_ns;
    return now_ns + FOLLOW_NS;
}

/* True: it is time to, and the limit has changed. */
static bool follow(const struct topic *t, const struct rate_choice *rate, struct scope *scope,
                   int64_t *followed_ns, int64_t now_ns)
{
    if (!rate->relative_to_publish || now_ns - *followed_ns < FOLLOW_NS)
        return false;
    struct rate_choice r = absolute(t, rate);
    *followed_ns = now_ns;
    return scope_retune(scope, &r.spec, 0, now_ns);
}

void dispatch_follow_topic(struct topic_dispatch *d, int64_t now_ns)
{
    if (follow(d->line.topic, &d->rate, &d->line.scope, &d->followed_ns, now_ns))
        topic_line_limit_changed(&d->line, now_ns);
}

void dispatch_follow_own(struct dispatch_limit *lim, int64_t now_ns)
{
    (void)follow(lim->sub->topic, &lim->rate, &lim->own, &lim->followed_ns, now_ns);
}

/* ---- limits come and go ---- */

struct rate_choice dispatch_rate_of(const struct subscription *s)
{
    const struct topic *t = s->topic;
    return policy_subscription_rate(sub_rates_find(t->sub_rates, s->name), &t->subscription_rate);
}

void dispatch_set_rate(struct subscription *s)
{
    const struct shard *shard = s->shard;
    struct rate_choice rate = dispatch_rate_of(s);
    int64_t now_ns = shard_now_ns(shard);
    int percent = (int)shard->broker->settings->initial_burst_percent;
    if (!s->limit && !tg_limit_spec_is_set(&rate.spec))
        return;
    struct dispatch_limit *lim = dispatch_limit_of(s);
    struct rate_choice now = absolute(s->topic, &rate);
    lim->rate = rate;
    lim->followed_ns = now_ns;
    fair_set_weight(&lim->waiter.node, weight_or_1(rate.weight));
    if (policy_put(&lim->own, &now, percent, now_ns))
        dispatch_go_on(lim);
}

static void set_rate_of_topic(struct topic *t, const struct rate_choice *rate)
{
    int64_t now_ns = shard_now_ns(t->shard);
    if (!t->dispatch && !tg_limit_spec_is_set(&rate->spec))
        return;
    struct topic_dispatch *d = topic_dispatch_of(t);
    struct rate_choice now = absolute(t, rate);
    d->rate = *rate;
    d->followed_ns = now_ns;
    if (topic_line_set_limit(&d->line, &now))
        topic_line_limit_changed(&d->line, now_ns);
}

void dispatch_set_rates(struct topic *t, const struct topic_rates *rates)
{
    struct sub_rates *before = t->sub_rates;
    set_rate_of_topic(t, &rates->kind[RATE_OF_DISPATCH]);
    t->subscription_rate = rates->kind[RATE_OF_SUBSCRIPTION];
    t->sub_rates = sub_rates_hold(rates->of_sub);
    sub_rates_drop(before);
    for (struct subscription *s = t->subscriptions; s; s = s->hh.next)
        dispatch_set_rate(s);
}
