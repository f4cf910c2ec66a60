/* throttle_log.c - see throttle_log.h. A producer whose window is one message is throttled once a
 * message: so a begin and an end a second and producer, and a bound for all of them
 * together, with the number kept back. */
#include "broker/throttle_log.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mono.h"
#include "broker/dispatch_limit.h"
#include "broker/quotas.h"
#include "broker/subscription.h"

enum {
    LINES_PER_SECOND = 2,         /* of a producer: a begin and an end */
    LINES_PER_SECOND_IN_ALL = 50, /* thousands may be throttled at a time: a sample tells enough */
};

static bool may_log(struct log_gate *own, struct shard *s, int64_t now_ns, uint32_t *kept_back)
{
    uint32_t of_others;
    if (!log_gate_open(own, LINES_PER_SECOND, now_ns, kept_back))
        return false;
    if (log_gate_open(&s->throttle_log, LINES_PER_SECOND_IN_ALL, now_ns, &of_others))
        return true;
    own->suppressed = *kept_back + 1;
    return false;
}

/* The limit of the scope that is waited for; unset: none. */
static struct tg_limit_spec limit_of(const struct scope *binding, struct quota *lacking)
{
    if (lacking) {
        struct broker_quota *q = broker_quota_of(lacking);
        return (struct tg_limit_spec){
            .msgs.rate = atomic_load_explicit(&q->rate_msgs, memory_order_relaxed),
            .bytes.rate = atomic_load_explicit(&q->rate_bytes, memory_order_relaxed),
            .period_ns = atomic_load_explicit(&q->period_ns, memory_order_relaxed),
        };
    }
    return binding ? *tg_limit_spec_of(&binding->limit) : (struct tg_limit_spec){0};
}

static json_t *facts_of(const struct producer *p, uint32_t kept_back)
{
    const struct topic *t = p->topic;
    json_t *j =
        json_pack("{s:s,s:s,s:s,s:s,s:s}", "tenant", t->name.tenant, "namespace", t->name.ns,
                  "topic", t->name.full, "producer", p->name, "client", p->address);
    if (kept_back > 0)
        json_object_set_new(j, "keptBack", json_integer(kept_back));
    return j;
}

/* "500 msg/s" / "500 msg/s, 1000000 B/s" / "-" */
static void put_limit(char *out, size_t cap, const struct tg_limit_spec *s)
{
    size_t n = 0;
    out[0] = '\0';
    double period_s = s->period_ns ? (double)s->period_ns / 1e9 : 1.0;
    if (s->msgs.rate > 0)
        n = (size_t)snprintf(out, cap, "%g msg/s", (double)s->msgs.rate / period_s);
    if (s->bytes.rate > 0)
        snprintf(out + n, cap - n, "%s%g B/s", n ? ", " : "", (double)s->bytes.rate / period_s);
    if (!out[0])
        snprintf(out, cap, "-");
}

static void post_began(const struct producer *p, uint32_t kept_back, int64_t now_ns)
{
    const struct topic *t = p->topic;
    struct tg_limit_spec limit = limit_of(p->binding, p->lacking);
    json_t *j = facts_of(p, kept_back);
    json_object_update_new(
        j, json_pack("{s:s,s:s?,s:o,s:f,s:f}", "reason", reason_name(gate_reason(&p->gate)),
                     "scope", producer_waits_for(p), "limit", limit_spec_json(&limit), "msgRateIn",
                     tg_meter_rate(&t->publish.scope.msgs, now_ns), "msgThroughputIn",
                     tg_meter_rate(&t->publish.scope.bytes, now_ns)));
    event_post(t->shard, EVENT_THROTTLING_BEGINS, j);
}

void throttle_log_began(struct producer *p)
{
    uint32_t kept_back;
    int64_t now_ns = shard_now_ns(p->topic->shard);
    if (!may_log(&p->log_gate, p->topic->shard, now_ns, &kept_back))
        return;
    const struct topic *t = p->topic;
    const char *scope = producer_waits_for(p) ? producer_waits_for(p) : "this broker";
    char limit[64] = "-";
    struct tg_limit_spec spec = limit_of(p->binding, p->lacking);
    put_limit(limit, sizeof limit, &spec);
    log_info(
        "throttle: begins: tenant %s topic %s producer %s client %s: %s %s, limit %s, rate now "
        "%.0f msg/s %.0f B/s (%" PRIu32 " lines kept back)",
        t->name.tenant, t->name.full, p->name, p->address, reason_name(gate_reason(&p->gate)),
        scope, limit, tg_meter_rate(&t->publish.scope.msgs, now_ns),
        tg_meter_rate(&t->publish.scope.bytes, now_ns), kept_back);
    post_began(p, kept_back, now_ns);
}

void throttle_log_ended(struct producer *p)
{
    uint32_t kept_back;
    int64_t now_ns = shard_now_ns(p->topic->shard);
    if (!may_log(&p->log_gate, p->topic->shard, now_ns, &kept_back))
        return;
    int64_t lasted_ns = now_ns - p->gate.since_ns;
    log_info("throttle: ends: tenant %s topic %s producer %s client %s after %.3f s "
             "(%" PRIu32 " lines kept back)",
             p->topic->name.tenant, p->topic->name.full, p->name, p->address,
             (double)lasted_ns / 1e9, kept_back);
    json_t *j = facts_of(p, kept_back);
    json_object_set_new(j, "lastedMs", json_integer(lasted_ns / MONO_MS));
    event_post(p->topic->shard, EVENT_THROTTLING_ENDS, j);
}

/* ---- a subscription ---- */

static json_t *facts_of_sub(const struct subscription *s, uint32_t kept_back)
{
    const struct topic *t = s->topic;
    json_t *j = json_pack("{s:s,s:s,s:s,s:s}", "tenant", t->name.tenant, "namespace", t->name.ns,
                          "topic", t->name.full, "subscription", s->name);
    if (kept_back > 0)
        json_object_set_new(j, "keptBack", json_integer(kept_back));
    return j;
}

void throttle_log_dispatch_began(struct subscription *s)
{
    uint32_t kept_back;
    struct dispatch_limit *lim = s->limit;
    int64_t now_ns = shard_now_ns(s->shard);
    if (!may_log(&lim->log_gate, s->shard, now_ns, &kept_back))
        return;
    struct tg_limit_spec spec = limit_of(lim->binding, lim->lacking);
    const char *reason = reason_name(dispatch_reason(s)), *scope = dispatch_waits_for(s);
    char limit[64] = "-";
    put_limit(limit, sizeof limit, &spec);
    log_info("throttle: begins: tenant %s topic %s subscription %s: %s %s, limit %s "
             "(%" PRIu32 " lines kept back)",
             s->topic->name.tenant, s->topic->name.full, s->name, reason, scope, limit, kept_back);
    json_t *j = facts_of_sub(s, kept_back);
    json_object_update_new(j, json_pack("{s:s,s:s,s:o,s:f,s:f}", "reason", reason, "scope", scope,
                                        "limit", limit_spec_json(&spec), "msgRateOut",
                                        tg_meter_rate(&s->msgs_out, now_ns), "msgThroughputOut",
                                        tg_meter_rate(&s->bytes_out, now_ns)));
    event_post(s->shard, EVENT_THROTTLING_BEGINS, j);
}

void throttle_log_dispatch_ended(struct subscription *s)
{
    uint32_t kept_back;
    struct dispatch_limit *lim = s->limit;
    if (!may_log(&lim->log_gate, s->shard, shard_now_ns(s->shard), &kept_back))
        return;
    int64_t lasted_ns = shard_wall_ns(s->shard) - lim->throttled_wall_ns;
    log_info("throttle: ends: tenant %s topic %s subscription %s after %.3f s "
             "(%" PRIu32 " lines kept back)",
             s->topic->name.tenant, s->topic->name.full, s->name, (double)lasted_ns / 1e9,
             kept_back);
    json_t *j = facts_of_sub(s, kept_back);
    json_object_set_new(j, "lastedMs", json_integer(lasted_ns / MONO_MS));
    event_post(s->shard, EVENT_THROTTLING_ENDS, j);
}
