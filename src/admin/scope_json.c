/* scope_json.c - see scope_json.h. */
#include "admin/scope_json.h"

#include <stdlib.h>

#include "admin/res.h"
#include "base/alloc.h"
#include "base/mono.h"

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
    json_object_set_new(j, "limited", json_boolean(tg_limit_spec_is_set(&s->spec)));
    json_object_set_new(j, "source", json_string(limit_source_name(s->source)));
    put_dimension(j, "Msg", &s->spec.msgs, s->balance_msgs);
    put_dimension(j, "Byte", &s->spec.bytes, s->balance_bytes);
    json_object_set_new(j, "periodMs", json_integer(period_ns / MONO_MS));
    json_object_set_new(j, "msgRateIn", json_real(s->rate_msgs));
    json_object_set_new(j, "msgThroughputIn", json_real(s->rate_bytes));
    json_object_set_new(j, "enforced", json_boolean(!s->dry_run));
    if (s->dry_run)
        json_object_set_new(j, "wouldThrottle", would_throttle_json(s));
    json_object_set_new(j, "waitMs", json_real((double)s->wait_ns / (double)MONO_MS));
    char *command = tg_limit_spec_is_set(&s->spec) ? explain_command(s) : NULL;
    json_object_set_new(j, "command", command != NULL ? json_string(command) : json_null());
    free(command);
    return j;
}

json_t *waiting_json(const struct producer *p, int64_t now_ns)
{
    json_t *j = json_object();
    enum throttle_reason r = gate_reason(&p->gate);
    json_object_set_new(j, "producerName", json_string(p->name));
    json_object_set_new(j, "address", json_string(p->address != NULL ? p->address : ""));
    json_object_set_new(j, "step", json_string(gate_step_name(p->gate.step)));
    json_object_set_new(j, "reason", r != REASON_COUNT ? json_string(reason_name(r)) : json_null());
    json_object_set_new(j, "scope",
                        producer_waits_for(p) != NULL ? json_string(producer_waits_for(p))
                                                      : json_null());
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
