/* scope_json.c - see scope_json.h. */
#include "admin/scope_json.h"

#include <stdlib.h>

#include "admin/res.h"
#include "base/alloc.h"
#include "base/mono.h"
#include "broker/dispatch_limit.h"
#include "broker/producer_limit.h"
#include "broker/subscription.h"

/* What is not limited has no balance, burst or peak; its rate is null. */
static void put_dimension(json_t *j, const char *unit, const struct tg_rate_spec *r,
                          int64_t balance)
{
    const char *const names[] = {"rate", "burst", "peak", "balance"};
    const int64_t values[] = {r->rate, r->burst, r->peak, balance};
    for (int i = 0; i < 4; i++) {
        char *key = xasprintf("%sIn%s", names[i], unit);
        bool known = r->rate > 0 && (i == 0 || i == 3 || values[i] > 0);
        json_object_set_new(j, key, known ? json_integer(values[i]) : json_null());
        free(key);
    }
}

static json_t *would_throttle_json(const struct explain_scope *s)
{
    return json_pack("{s:I,s:I,s:I,s:I}", "frames", (json_int_t)s->over.frames, "messages",
                     (json_int_t)s->over.msgs, "bytes", (json_int_t)s->over.bytes, "ms",
                     (json_int_t)(s->over_ns / MONO_MS));
}

json_t *scope_json(const struct explain_scope *s)
{
    int64_t period_ns = tg_limit_period_ns(&s->spec);
    json_t *j = json_object();
    json_object_set_new(j, "kind", json_string(scope_kind_name(s->kind)));
    json_object_set_new(j, "name", json_string(s->name));
    json_object_set_new(j, "of", json_string(limit_side_name(s->side)));
    json_object_set_new(j, "limited", json_boolean(tg_limit_spec_is_set(&s->spec)));
    json_object_set_new(j, "source", json_string(limit_source_name(s->source)));
    put_dimension(j, "Msg", &s->spec.msgs, s->balance_msgs);
    put_dimension(j, "Byte", &s->spec.bytes, s->balance_bytes);
    json_object_set_new(j, "periodMs", json_integer(period_ns / MONO_MS));
    bool in = s->side == SIDE_PUBLISH;
    json_object_set_new(j, in ? "msgRateIn" : "msgRateOut", json_real(s->rate_msgs));
    json_object_set_new(j, in ? "msgThroughputIn" : "msgThroughputOut", json_real(s->rate_bytes));
    json_object_set_new(j, "enforced", json_boolean(!s->dry_run));
    if (s->dry_run)
        json_object_set_new(j, "wouldThrottle", would_throttle_json(s));
    json_object_set_new(j, "waitMs", json_real((double)s->wait_ns / (double)MONO_MS));
    char *command = tg_limit_spec_is_set(&s->spec) ? explain_command(s) : NULL;
    json_object_set_new(j, "command", command != NULL ? json_string(command) : json_null());
    free(command);
    return j;
}

static json_t *text_or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

/* Of one producer or subscription of <t>: NULL: it waits for something that others share. */
static json_t *own_limit_json(struct scope *own, const struct topic *t, int64_t now_ns)
{
    if (own == NULL)
        return json_null();
    struct explain_scope x = explain_scope_of(own, now_ns);
    x.topic = t->name.full;
    return scope_json(&x);
}

json_t *waiting_subscription_json(const struct subscription *s, int64_t now_ns)
{
    struct dispatch_limit *lim = s->limit;
    enum throttle_reason r = dispatch_reason(s);
    json_t *j = json_object();
    json_object_set_new(j, "subscription", json_string(s->name));
    json_object_set_new(j, "reason", text_or_null(r != REASON_COUNT ? reason_name(r) : NULL));
    json_object_set_new(j, "scope", text_or_null(dispatch_waits_for(s)));
    json_object_set_new(j, "since", json_iso_time(lim->throttled_wall_ns));
    json_object_set_new(j, "sinceMs",
                        json_integer((shard_wall_ns(s->shard) - lim->throttled_wall_ns) / MONO_MS));
    json_object_set_new(j, "backlog", json_integer((json_int_t)subscription_backlog(s)));
    json_object_set_new(
        j, "limit", own_limit_json(lim->binding == &lim->own ? &lim->own : NULL, s->topic, now_ns));
    return j;
}

json_t *waiting_json(const struct producer *p, int64_t now_ns)
{
    json_t *j = json_object();
    enum throttle_reason r = gate_reason(&p->gate);
    json_object_set_new(j, "producerName", json_string(p->name));
    json_object_set_new(j, "address", json_string(p->address != NULL ? p->address : ""));
    json_object_set_new(j, "step", json_string(gate_step_name(p->gate.step)));
    json_object_set_new(j, "reason", text_or_null(r != REASON_COUNT ? reason_name(r) : NULL));
    json_object_set_new(j, "scope", text_or_null(producer_waits_for(p)));
    json_object_set_new(
        j, "limit",
        own_limit_json(producer_waits_alone(p) ? &p->own->scope : NULL, p->topic, now_ns));
    json_object_set_new(j, "since", json_iso_time(p->throttled_wall_ns));
    json_object_set_new(j, "sinceMs", json_integer((now_ns - p->gate.since_ns) / MONO_MS));
    json_object_set_new(j, "parkedMessages", json_integer((json_int_t)p->parking.messages));
    json_object_set_new(j, "parkedBytes", json_integer((json_int_t)producer_parked_bytes(p)));
    json_object_set_new(j, "connectionPaused", json_boolean(p->pausing));
    json_object_set_new(j, "block",
                        p->blocked_by != 0 ? json_integer((json_int_t)p->blocked_by) : json_null());
    return j;
}

int64_t explain_until_ns(const struct explain_scope *s, uint64_t messages, uint64_t bytes)
{
    double period = (double)tg_limit_period_ns(&s->spec);
    double longest = (double)s->wait_ns, t;
    if (s->spec.msgs.rate > 0) {
        t = ((double)messages - (double)s->balance_msgs) / (double)s->spec.msgs.rate * period;
        longest = t > longest ? t : longest;
    }
    if (s->spec.bytes.rate > 0) {
        t = ((double)bytes - (double)s->balance_bytes) / (double)s->spec.bytes.rate * period;
        longest = t > longest ? t : longest;
    }
    return longest < 1e18 ? (int64_t)longest : INT64_C(1000000000000000000);
}
