/* policy_json.c - see policy_json.h.
 *
 * The names of rates are Pulsar's (PublishRate, DispatchRate, SubscribeRate); the others are ours,
 * optional, in the same style. Of publishing:
 *   publishThrottlingRateInMsg    publishThrottlingRateInByte    tokens a period; -1, 0: no limit
 *   publishThrottlingBurstInMsg   publishThrottlingBurstInByte   tokens; absent: one second's worth
 *   publishThrottlingPeakInMsg    publishThrottlingPeakInByte    tokens a period; absent: none
 *   publishThrottlingPeriodInMs                                  absent: 1000
 *   weight    its share where it waits with others for what is wider; absent: 1
 *   enforce   false: a dry run; absent: true
 * Of dispatch the same with "dispatch" for "publish", but for the period, which is Pulsar's
 *   ratePeriodInSecond                                           absent, 0: 1
 *   relativeToPublishRate   true: what is published now is added to the rates
 * Of subscribing
 *   subscribeThrottlingRatePerConsumer                           attempts a period; -1, 0: no limit
 *   ratePeriodInSecond                                           absent, 0: 30
 * Otherwise only whole numbers are taken, and no name but these: a policy that was misspelt must
 * not look as if it were in force. */
#include "broker/policy_json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mono.h"

#define WEIGHT_MAX 1000

static const char enforce[] = "enforce", relative[] = "relativeToPublishRate";

/* ---- the policies ---- */

static const struct policy_form rate_forms[RATE_KINDS] = {
    [RATE_OF_TOPIC] = {.name = "publishRate", .words = WORDS_OF_PUBLISHING},
    [RATE_OF_PRODUCER] = {.name = "producerPublishRate", .words = WORDS_OF_PUBLISHING},
    [RATE_OF_DISPATCH] = {.name = "dispatchRate",
                          .by_cluster = "topicDispatchRate",
                          .words = WORDS_OF_DISPATCH},
    [RATE_OF_SUBSCRIPTION] = {.name = "subscriptionDispatchRate",
                              .by_cluster = "subscriptionDispatchRate",
                              .words = WORDS_OF_DISPATCH},
    [RATE_OF_SUBSCRIBING] = {.name = "subscribeRate",
                             .by_cluster = "clusterSubscribeRate",
                             .words = WORDS_OF_SUBSCRIBING},
};

static const struct policy_form quota_forms[LIMIT_SIDES] = {
    [SIDE_PUBLISH] = {.name = "publishQuota", .words = WORDS_OF_PUBLISHING, .is_total = true},
    [SIDE_DISPATCH] = {.name = "dispatchQuota", .words = WORDS_OF_DISPATCH, .is_total = true},
};

const struct policy_form *rate_form(enum rate_kind k)
{
    return &rate_forms[k];
}

const struct policy_form *quota_form(enum limit_side k)
{
    return &quota_forms[k];
}

/* ---- the words ---- */

struct field {
    const char *name; /* NULL: it has none */
    int64_t least, most;
    bool is_rate;
    bool is_written; /* also where it says nothing */
};

enum { MSG_RATE, BYTE_RATE, MSG_BURST, BYTE_BURST, MSG_PEAK, BYTE_PEAK, PERIOD, WEIGHT, FIELDS };

struct vocabulary {
    const char *noun;
    struct field field[FIELDS];
    int64_t period_unit_ns;
    int64_t standard_period; /* what 0 means; 0: the limiter's own */
    bool has_enforce, has_relative;
};

#define RATE(n)                                                                                    \
    {                                                                                              \
        .name = (n), .least = -1, .most = TG_RATE_MAX_PER_S, .is_rate = true, .is_written = true   \
    }
#define BURST(n)                                                                                   \
    {                                                                                              \
        .name = (n), .most = TG_BURST_MAX                                                          \
    }
#define PEAK(n)                                                                                    \
    {                                                                                              \
        .name = (n), .most = TG_RATE_MAX_PER_S                                                     \
    }
#define WEIGHT_FIELD                                                                               \
    {                                                                                              \
        .name = "weight", .least = 1, .most = WEIGHT_MAX                                           \
    }
#define SECONDS                                                                                    \
    {                                                                                              \
        .name = "ratePeriodInSecond", .most = 3600, .is_written = true                             \
    }

static const struct vocabulary vocabularies[] = {
    [WORDS_OF_PUBLISHING] =
        {
            .noun = "publish rate",
            .field =
                {
                    [MSG_RATE] = RATE("publishThrottlingRateInMsg"),
                    [BYTE_RATE] = RATE("publishThrottlingRateInByte"),
                    [MSG_BURST] = BURST("publishThrottlingBurstInMsg"),
                    [BYTE_BURST] = BURST("publishThrottlingBurstInByte"),
                    [MSG_PEAK] = PEAK("publishThrottlingPeakInMsg"),
                    [BYTE_PEAK] = PEAK("publishThrottlingPeakInByte"),
                    [PERIOD] = {.name = "publishThrottlingPeriodInMs", .most = 3600000},
                    [WEIGHT] = WEIGHT_FIELD,
                },
            .period_unit_ns = MONO_MS,
            .has_enforce = true,
        },
    [WORDS_OF_DISPATCH] =
        {
            .noun = "dispatch rate",
            .field =
                {
                    [MSG_RATE] = RATE("dispatchThrottlingRateInMsg"),
                    [BYTE_RATE] = RATE("dispatchThrottlingRateInByte"),
                    [MSG_BURST] = BURST("dispatchThrottlingBurstInMsg"),
                    [BYTE_BURST] = BURST("dispatchThrottlingBurstInByte"),
                    [MSG_PEAK] = PEAK("dispatchThrottlingPeakInMsg"),
                    [BYTE_PEAK] = PEAK("dispatchThrottlingPeakInByte"),
                    [PERIOD] = SECONDS,
                    [WEIGHT] = WEIGHT_FIELD,
                },
            .period_unit_ns = MONO_S,
            .standard_period = 1,
            .has_enforce = true,
            .has_relative = true,
        },
    [WORDS_OF_SUBSCRIBING] =
        {
            .noun = "subscribe rate",
            .field = {[MSG_RATE] = RATE("subscribeThrottlingRatePerConsumer"), [PERIOD] = SECONDS},
            .period_unit_ns = MONO_S,
            .standard_period = 30,
        },
};

/* ---- writing ---- */

static void values_of(const struct vocabulary *w, const struct rate_policy *p, int64_t v[FIELDS])
{
    v[MSG_RATE] = p->spec.msgs.rate;
    v[MSG_BURST] = p->spec.msgs.burst;
    v[MSG_PEAK] = p->spec.msgs.peak;
    v[BYTE_RATE] = p->spec.bytes.rate;
    v[BYTE_BURST] = p->spec.bytes.burst;
    v[BYTE_PEAK] = p->spec.bytes.peak;
    v[PERIOD] = p->spec.period_ns > 0 ? p->spec.period_ns / w->period_unit_ns : w->standard_period;
    v[WEIGHT] = p->weight;
}

json_t *policy_to_json(const struct policy_form *f, const struct rate_policy *p)
{
    const struct vocabulary *w = &vocabularies[f->words];
    int64_t v[FIELDS];
    values_of(w, p, v);
    json_t *j = json_object();
    for (int i = 0; i < FIELDS; i++)
        if (w->field[i].name != NULL && (w->field[i].is_written || v[i] != 0))
            json_object_set_new(j, w->field[i].name, json_integer(v[i]));
    if (w->has_relative)
        json_object_set_new(j, relative, json_boolean(p->relative_to_publish));
    if (p->dry_run)
        json_object_set_new(j, enforce, json_false());
    return j;
}

/* ---- reading ---- */

static const struct field *field_named(const struct vocabulary *w, const char *name)
{
    for (int i = 0; i < FIELDS; i++)
        if (w->field[i].name != NULL && strcmp(w->field[i].name, name) == 0)
            return &w->field[i];
    return NULL;
}

static char *joined(char *list, const char *name)
{
    char *longer = xasprintf("%s%s%s", list, *list != '\0' ? ", " : "", name);
    free(list);
    return longer;
}

static enum tg_err refuse_unknown(const struct vocabulary *w, const char *name, char **why)
{
    char *list = xstrdup("");
    for (int i = 0; i < FIELDS; i++)
        if (w->field[i].name != NULL)
            list = joined(list, w->field[i].name);
    if (w->has_enforce)
        list = joined(list, enforce);
    if (w->has_relative)
        list = joined(list, relative);
    *why = xasprintf("%.*s is no field of a %s; allowed: %s", bytes_of_text(name, 64), name,
                     w->noun, list);
    free(list);
    return TG_EINVAL;
}

static enum tg_err read_number(const struct field *f, const json_t *value, int64_t *out, char **why)
{
    if (!json_is_integer(value)) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        const char *shown = text != NULL ? text : "no value";
        *why = xasprintf("%s is %.*s; allowed: a whole number from %" PRId64 " to %" PRId64,
                         f->name, bytes_of_text(shown, 64), shown, f->least, f->most);
        free(text);
        return TG_EINVAL;
    }
    *out = json_integer_value(value);
    if (*out < f->least || *out > f->most) {
        *why = xasprintf("%s is %" PRId64 "; allowed: %" PRId64 " to %" PRId64 "%s", f->name, *out,
                         f->least, f->most, f->is_rate ? " (-1 and 0: not limited)" : "");
        return TG_ERANGE;
    }
    return TG_OK;
}

static enum tg_err read_truth(const char *name, const json_t *value, bool *out, char **why)
{
    *out = json_is_true(value);
    if (json_is_boolean(value))
        return TG_OK;
    *why = xasprintf("%s: allowed: true or false", name);
    return TG_EINVAL;
}

struct reading {
    int64_t v[FIELDS];
    bool enforce, relative;
};

static enum tg_err read_field(const struct vocabulary *w, struct reading *r, const char *name,
                              const json_t *value, char **why)
{
    const struct field *f = field_named(w, name);
    if (f != NULL)
        return read_number(f, value, &r->v[f - w->field], why);
    if (w->has_enforce && strcmp(name, enforce) == 0)
        return read_truth(name, value, &r->enforce, why);
    if (w->has_relative && strcmp(name, relative) == 0)
        return read_truth(name, value, &r->relative, why);
    return refuse_unknown(w, name, why);
}

/* A burst or peak belongs to a rate: alone it would be kept and do nothing. */
static enum tg_err check_lonely(const struct vocabulary *w, const int64_t v[FIELDS], char **why)
{
    for (int i = MSG_BURST; i <= BYTE_PEAK; i++) {
        int rate = i == MSG_BURST || i == MSG_PEAK ? MSG_RATE : BYTE_RATE;
        if (v[i] != 0 && v[rate] <= 0) {
            *why = xasprintf("%s is %" PRId64 ", but %s sets no limit", w->field[i].name, v[i],
                             w->field[rate].name);
            return TG_ERANGE;
        }
    }
    return TG_OK;
}

static enum tg_err check(const struct policy_form *f, const struct reading *r,
                         const struct tg_limit_spec *spec, char **why)
{
    const struct vocabulary *w = &vocabularies[f->words];
    enum tg_err e = check_lonely(w, r->v, why);
    if (e != TG_OK)
        return e;
    if (r->relative && f->is_total) {
        *why = xasprintf("%s: allowed in a %s: false", relative, f->name);
        return TG_ERANGE;
    }
    enum tg_limit_problem problem = tg_limit_check(spec);
    if (problem == TG_LIMIT_OK || problem == TG_LIMIT_BURST_SMALL)
        return TG_OK;
    *why = xasprintf("this %s can't be: %s", w->noun, tg_limit_problem_text(problem));
    return TG_ERANGE;
}

enum tg_err policy_from_json(const struct policy_form *f, struct rate_policy *out, const json_t *j,
                             char **why)
{
    const struct vocabulary *w = &vocabularies[f->words];
    if (!json_is_object(j)) {
        *why = xasprintf("a %s is an object like {\"%s\":1000}", w->noun, w->field[MSG_RATE].name);
        return TG_EINVAL;
    }
    struct reading r = {.v = {[MSG_RATE] = -1, [BYTE_RATE] = -1}, .enforce = true};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, name, value)
    {
        enum tg_err e = read_field(w, &r, name, value, why);
        if (e != TG_OK)
            return e;
    }
    int64_t period = r.v[PERIOD] > 0 ? r.v[PERIOD] : w->standard_period;
    struct tg_limit_spec spec = {
        .msgs = {.rate = r.v[MSG_RATE], .burst = r.v[MSG_BURST], .peak = r.v[MSG_PEAK]},
        .bytes = {.rate = r.v[BYTE_RATE], .burst = r.v[BYTE_BURST], .peak = r.v[BYTE_PEAK]},
        .period_ns = period * w->period_unit_ns,
    };
    enum tg_err e = check(f, &r, &spec, why);
    if (e != TG_OK)
        return e;
    *out = (struct rate_policy){.present = true,
                                .spec = spec,
                                .weight = (uint32_t)r.v[WEIGHT],
                                .dry_run = !r.enforce,
                                .relative_to_publish = r.relative};
    return TG_OK;
}

/* ---- rows ---- */

void policy_into_row(json_t *row, const struct policy_form *f, const struct rate_policy *p)
{
    if (p->present)
        json_object_set_new(row, f->name, policy_to_json(f, p));
}

enum tg_err policy_from_row(const struct policy_form *f, struct rate_policy *out, const json_t *row,
                            const char *key)
{
    const json_t *j = json_object_get(row, f->name);
    char *why = NULL;
    *out = (struct rate_policy){0};
    if (j == NULL || policy_from_json(f, out, j, &why) == TG_OK)
        return TG_OK;
    log_error("metadata row %s: %s: %s", key, f->name, why);
    free(why);
    return TG_ECORRUPT;
}
