/* registry_json.c - a publish rate as JSON: what REST speaks and what is stored.
 *
 * The first two names are Pulsar's PublishRate; the others are ours, optional, in the same style:
 *   publishThrottlingRateInMsg    publishThrottlingRateInByte    tokens per period; -1 or 0: no
 * limit publishThrottlingBurstInMsg   publishThrottlingBurstInByte   tokens; absent: one second's
 * worth publishThrottlingPeakInMsg    publishThrottlingPeakInByte    tokens per period; absent:
 * none publishThrottlingPeriodInMs                                  absent: 1000
 *   weight    its share where it waits with others for what is wider; absent: 1
 *   enforce   false: a dry run; absent: true. Otherwise only whole numbers
 * are taken, and no name but these: a policy that was misspelt must not look as if it were in
 * force. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "broker/registry.h"

#define RATE_MAX  (INT64_C(1) << 40) /* the limiter's highest rate */
#define BURST_MAX (RATE_MAX * 3600)  /* an hour of it */
enum { WEIGHT_MAX = 1000 };
static const char enforce[] = "enforce";

struct rate_field {
    const char *name;
    int64_t least, most;
    bool is_rate; /* always written */
};

enum { MSG_RATE, BYTE_RATE, MSG_BURST, BYTE_BURST, MSG_PEAK, BYTE_PEAK, PERIOD_MS, WEIGHT, FIELDS };

static const struct rate_field fields[FIELDS] = {
    [MSG_RATE] = {"publishThrottlingRateInMsg", -1, RATE_MAX, true},
    [BYTE_RATE] = {"publishThrottlingRateInByte", -1, RATE_MAX, true},
    [MSG_BURST] = {"publishThrottlingBurstInMsg", 0, BURST_MAX, false},
    [BYTE_BURST] = {"publishThrottlingBurstInByte", 0, BURST_MAX, false},
    [MSG_PEAK] = {"publishThrottlingPeakInMsg", 0, RATE_MAX, false},
    [BYTE_PEAK] = {"publishThrottlingPeakInByte", 0, RATE_MAX, false},
    [PERIOD_MS] = {"publishThrottlingPeriodInMs", 0, 3600000, false},
    [WEIGHT] = {"weight", 1, WEIGHT_MAX, false},
};

const char *rate_kind_field(enum rate_kind k)
{
    return k == RATE_OF_TOPIC ? "publishRate" : "producerPublishRate";
}

static void values_of(const struct tg_limit_spec *s, int64_t v[FIELDS])
{
    v[MSG_RATE] = s->msgs.rate;
    v[MSG_BURST] = s->msgs.burst;
    v[MSG_PEAK] = s->msgs.peak;
    v[BYTE_RATE] = s->bytes.rate;
    v[BYTE_BURST] = s->bytes.burst;
    v[BYTE_PEAK] = s->bytes.peak;
    v[PERIOD_MS] = s->period_ns / MONO_MS;
}

json_t *rate_policy_to_json(const struct rate_policy *p)
{
    int64_t v[FIELDS];
    values_of(&p->spec, v);
    v[WEIGHT] = p->weight;
    json_t *j = json_object();
    for (int i = 0; i < FIELDS; i++)
        if (fields[i].is_rate || v[i] != 0)
            json_object_set_new(j, fields[i].name, json_integer(v[i]));
    if (p->dry_run)
        json_object_set_new(j, enforce, json_false());
    return j;
}

static int field_of(const char *name)
{
    for (int i = 0; i < FIELDS; i++)
        if (strcmp(fields[i].name, name) == 0)
            return i;
    return -1;
}

static enum tg_err refuse_unknown(const char *name, char **why)
{
    char *list = xstrdup("");
    for (int i = 0; i < FIELDS; i++) {
        char *longer = xasprintf("%s%s%s", list, i > 0 ? ", " : "", fields[i].name);
        free(list);
        list = longer;
    }
    *why = xasprintf("%.64s is no field of a publish rate; allowed: %s, %s", name, list, enforce);
    free(list);
    return TG_EINVAL;
}

static enum tg_err read_field(int64_t v[FIELDS], const char *name, const json_t *value, char **why)
{
    int i = field_of(name);
    if (i < 0)
        return refuse_unknown(name, why);
    const struct rate_field *f = &fields[i];
    if (!json_is_integer(value)) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        *why = xasprintf("%s is %.64s; allowed: a whole number from %" PRId64 " to %" PRId64,
                         f->name, text != NULL ? text : "no value", f->least, f->most);
        free(text);
        return TG_EINVAL;
    }
    v[i] = json_integer_value(value);
    if (v[i] < f->least || v[i] > f->most) {
        *why = xasprintf("%s is %" PRId64 "; allowed: %" PRId64 " to %" PRId64 "%s", f->name, v[i],
                         f->least, f->most, f->is_rate ? " (-1 and 0: not limited)" : "");
        return TG_ERANGE;
    }
    return TG_OK;
}

static enum tg_err check_truth(const json_t *value, char **why)
{
    if (json_is_boolean(value))
        return TG_OK;
    *why = xasprintf("%s: allowed: true or false", enforce);
    return TG_EINVAL;
}

/* A burst or peak belongs to a rate: alone it would be kept and do nothing. */
static enum tg_err check_lonely(const int64_t v[FIELDS], char **why)
{
    for (int i = MSG_BURST; i <= BYTE_PEAK; i++) {
        int rate = i == MSG_BURST || i == MSG_PEAK ? MSG_RATE : BYTE_RATE;
        if (v[i] != 0 && v[rate] <= 0) {
            *why = xasprintf("%s is %" PRId64 ", but %s sets no limit", fields[i].name, v[i],
                             fields[rate].name);
            return TG_ERANGE;
        }
    }
    return TG_OK;
}

enum tg_err rate_policy_from_json(struct rate_policy *out, const json_t *j, char **why)
{
    if (!json_is_object(j)) {
        *why = xasprintf("a publish rate is an object like {\"%s\":1000,\"%s\":-1}",
                         fields[MSG_RATE].name, fields[BYTE_RATE].name);
        return TG_EINVAL;
    }
    int64_t v[FIELDS] = {[MSG_RATE] = -1, [BYTE_RATE] = -1};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, name, value)
    {
        enum tg_err e =
            strcmp(name, enforce) == 0 ? check_truth(value, why) : read_field(v, name, value, why);
        if (e != TG_OK)
            return e;
    }
    enum tg_err e = check_lonely(v, why);
    if (e != TG_OK)
        return e;
    struct tg_limit_spec spec = {
        .msgs = {.rate = v[MSG_RATE], .burst = v[MSG_BURST], .peak = v[MSG_PEAK]},
        .bytes = {.rate = v[BYTE_RATE], .burst = v[BYTE_BURST], .peak = v[BYTE_PEAK]},
        .period_ns = v[PERIOD_MS] * MONO_MS,
    };
    enum tg_limit_problem problem = tg_limit_check(&spec);
    if (problem != TG_LIMIT_OK && problem != TG_LIMIT_BURST_SMALL) {
        *why = xasprintf("this publish rate can't be: %s", tg_limit_problem_text(problem));
        return TG_ERANGE;
    }
    *out = (struct rate_policy){.present = true,
                                .spec = spec,
                                .weight = (uint32_t)v[WEIGHT],
                                .dry_run = json_is_false(json_object_get(j, enforce))};
    return TG_OK;
}
