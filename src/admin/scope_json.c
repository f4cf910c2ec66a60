/* scope_json.c - see scope_json.h. */
#include "admin/scope_json.h"

#include <stdlib.h>

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
    int64_t period_ns = s->spec.period_ns > 0 ? s->spec.period_ns : MONO_S;
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
