/* quota_watch.c - see quota_watch.h. Use is the admitted rate against the limit's, of whichever
 * dimension is nearer; a quota that producers wait for is used up, whatever the meter says. A mark
 * that was passed can be passed again only after the use was 10 points below it.
 *
 * Invariant: the timer is armed <=> some quota is set. */
#include "broker/quota_watch.h"

#include <stddef.h>
#include <utlist.h>

#include "base/mono.h"
#include "broker/broker.h"
#include "broker/quotas.h"

enum { LOOKED_AT_PER_TURN = 500 }; /* some 100 ns each, and per worker */

static double part_of(double rate, int64_t limit, const struct tg_limit_spec *spec)
{
    return limit > 0 ? rate / tg_limit_per_second(spec, limit) : 0;
}

static double usage_of(const struct quota *q, struct quota_rates *rates, int64_t now_ns)
{
    const struct tg_limit_spec *spec = &q->limit.spec;
    *rates = quota_rates(q, now_ns);
    double msgs = part_of(rates->msgs, spec->msgs.rate, spec);
    double bytes = part_of(rates->bytes, spec->bytes.rate, spec);
    double most = msgs > bytes ? msgs : bytes;
    return waits_view(&q->waits, now_ns).waiting > 0 && most < 1 ? 1 : most;
}

static enum quota_usage level_of(double usage, enum quota_usage before)
{
    if (usage >= 1 || (before == USAGE_100 && usage >= 0.9))
        return USAGE_100;
    if (usage >= 0.8 || (before != USAGE_LOW && usage >= 0.7))
        return USAGE_80;
    return USAGE_LOW;
}

static void say(struct shard *s, const struct quota *q, int percent, double usage,
                const struct quota_rates *rates)
{
    bool of_publish = q->side == SIDE_PUBLISH;
    event_post(s, EVENT_QUOTA_USAGE,
               json_pack("{s:s,s:s,s:s,s:i,s:f,s:f,s:f,s:o}", "of", limit_side_name(q->side),
                         "kind", scope_kind_name(q->kind), "name", q->name, "percent", percent,
                         "usage", usage, of_publish ? "msgRateIn" : "msgRateOut", rates->msgs,
                         of_publish ? "msgThroughputIn" : "msgThroughputOut", rates->bytes, "limit",
                         limit_spec_json(&q->limit.spec)));
}

static void look_at(struct broker_quota *q, int64_t now_ns)
{
    struct quota_rates rates;
    double usage = usage_of(&q->quota, &rates, now_ns);
    enum quota_usage level = level_of(usage, q->usage);
    if (level >= USAGE_80 && q->usage < USAGE_80)
        say(q->of->control, &q->quota, 80, usage, &rates);
    if (level >= USAGE_100 && q->usage < USAGE_100)
        say(q->of->control, &q->quota, 100, usage, &rates);
    q->usage = level;
}

static void on_time(struct timer *t, int64_t now_ns)
{
    struct quotas *of = (struct quotas *)((char *)t - offsetof(struct quotas, watch.timer));
    struct quota_watch *w = &of->watch;
    if (!w->at)
        w->at = w->set;
    for (int i = 0; i < LOOKED_AT_PER_TURN && w->at; i++) {
        struct broker_quota *q = w->at;
        w->at = q->watch_next;
        look_at(q, now_ns);
    }
    timer_arm(of->control->worker, t, w->at ? now_ns + MONO_MS : now_ns + MONO_S);
}

void quota_watch_init(struct quota_watch *w)
{
    timer_init(&w->timer, on_time);
}

void quota_watch_update(struct broker_quota *q, bool is_set)
{
    struct quota_watch *w = &q->of->watch;
    struct shard *control = q->of->control;
    if (is_set == q->is_watched)
        return;
    q->is_watched = is_set;
    q->usage = USAGE_LOW;
    if (is_set) {
        DL_APPEND2(w->set, q, watch_prev, watch_next);
        if (!timer_is_armed(&w->timer))
            timer_arm(control->worker, &w->timer, shard_now_ns(control) + MONO_S);
        return;
    }
    if (w->at == q)
        w->at = q->watch_next;
    DL_DELETE2(w->set, q, watch_prev, watch_next);
    if (!w->set)
        timer_disarm(control->worker, &w->timer);
}
