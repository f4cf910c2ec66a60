/* group_json.c - a resource group as JSON: what REST speaks and what is stored.
 *
 * The first names are today's of Pulsar; those of replication are kept and answered, not enforced.
 * The others are ours, in the same style. PIP-82 spelt some letters otherwise, and "Ratelimit" in
 * answers. A group has no weight: it stands in no wider queue itself, its namespaces and tenants
 * do. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/mono.h"
#include "broker/group.h"

static const struct group_field {
    const char *name, *alias;
    int64_t least, most;
    bool is_truth;
} fields[] = {
    {"publishRateInMsgs", "publishRatelimitinmsgs", -1, TG_RATE_MAX_PER_S, false},
    {"publishRateInBytes", "publishRatelimitinbytes", -1, TG_RATE_MAX_PER_S, false},
    {"dispatchRateInMsgs", "dispatchRatelimitinmsgs", -1, TG_RATE_MAX_PER_S, false},
    {"dispatchRateInBytes", "dispatchRatelimitinbytes", -1, TG_RATE_MAX_PER_S, false},
    {"replicationDispatchRateInMsgs", NULL, -1, TG_RATE_MAX_PER_S, false},
    {"replicationDispatchRateInBytes", NULL, -1, TG_RATE_MAX_PER_S, false},
    {"publishBurstInMsgs", NULL, 0, TG_BURST_MAX, false},
    {"publishBurstInBytes", NULL, 0, TG_BURST_MAX, false},
    {"publishPeakInMsgs", NULL, 0, TG_RATE_MAX_PER_S, false},
    {"publishPeakInBytes", NULL, 0, TG_RATE_MAX_PER_S, false},
    {"publishPeriodInMs", NULL, 0, 3600000, false},
    {"publishEnforce", NULL, 0, 0, true},
    {"dispatchBurstInMsgs", NULL, 0, TG_BURST_MAX, false},
    {"dispatchBurstInBytes", NULL, 0, TG_BURST_MAX, false},
    {"dispatchPeakInMsgs", NULL, 0, TG_RATE_MAX_PER_S, false},
    {"dispatchPeakInBytes", NULL, 0, TG_RATE_MAX_PER_S, false},
    {"dispatchPeriodInMs", NULL, 0, 3600000, false},
    {"dispatchEnforce", NULL, 0, 0, true},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static const struct group_field *field_of(const char *name)
{
    for (int i = 0; i < FIELDS; i++)
        if (strcasecmp(name, fields[i].name) == 0 ||
            (fields[i].alias && strcasecmp(name, fields[i].alias) == 0))
            return &fields[i];
    return NULL;
}

static enum tg_err refuse_unknown(const char *name, char **why)
{
    char *list = xstrdup("");
    for (int i = 0; i < FIELDS; i++) {
        char *longer = xasprintf("%s%s%s", list, i > 0 ? ", " : "", fields[i].name);
        free(list);
        list = longer;
    }
    *why = xasprintf("%.*s is no field of a resource group; allowed: %s", bytes_of_text(name, 64),
                     name, list);
    free(list);
    return TG_EINVAL;
}

static enum tg_err read_field(json_t *doc, const char *name, const json_t *value, char **why)
{
    const struct group_field *f = field_of(name);
    if (!f)
        return refuse_unknown(name, why);
    if (json_is_null(value))
        return TG_OK;
    if (f->is_truth && !json_is_boolean(value)) {
        *why = xasprintf("%s: allowed: true or false", f->name);
        return TG_EINVAL;
    }
    if (f->is_truth) {
        json_object_set(doc, f->name, (json_t *)(uintptr_t)value);
        return TG_OK;
    }
    if (!json_is_integer(value)) {
        *why = xasprintf("%s: allowed: a whole number from %" PRId64 " to %" PRId64, f->name,
                         f->least, f->most);
        return TG_EINVAL;
    }
    json_int_t n = json_integer_value(value);
    if (n < f->least || n > f->most) {
        *why = xasprintf("%s is %" PRId64 "; allowed: %" PRId64 " to %" PRId64, f->name, (int64_t)n,
                         f->least, f->most);
        return TG_ERANGE;
    }
    json_object_set_new(doc, f->name, json_integer(n));
    return TG_OK;
}

enum tg_err group_doc_read(const json_t *sent, json_t **doc, char **why)
{
    const char *name;
    json_t *value;
    enum tg_err e = TG_OK;

    *why = NULL;
    *doc = json_object();
    if (!json_is_object(sent)) {
        *why = xasprintf("a resource group is an object like {\"%s\":1000}", fields[0].name);
        e = TG_EINVAL;
    }
    json_object_foreach((json_t *)(uintptr_t)sent, name, value)
    {
        if (e == TG_OK)
            e = read_field(*doc, name, value, why);
    }
    if (e == TG_OK)
        return TG_OK;
    json_decref(*doc);
    *doc = NULL;
    return e;
}

static int64_t number(const json_t *doc, const char *name)
{
    return json_integer_value(json_object_get(doc, name)); /* 0 where it is not set */
}

/* The names of one side of it. */
struct side {
    const char *rate[2], *burst[2], *peak[2]; /* of messages, of bytes */
    const char *period, *enforce;
};

static const struct side sides[LIMIT_SIDES] = {
    [SIDE_PUBLISH] = {{"publishRateInMsgs", "publishRateInBytes"},
                      {"publishBurstInMsgs", "publishBurstInBytes"},
                      {"publishPeakInMsgs", "publishPeakInBytes"},
                      "publishPeriodInMs",
                      "publishEnforce"},
    [SIDE_DISPATCH] = {{"dispatchRateInMsgs", "dispatchRateInBytes"},
                       {"dispatchBurstInMsgs", "dispatchBurstInBytes"},
                       {"dispatchPeakInMsgs", "dispatchPeakInBytes"},
                       "dispatchPeriodInMs",
                       "dispatchEnforce"},
};

/* A burst or peak of what has no rate waits until it has one. */
static struct tg_rate_spec rate_of(const json_t *doc, const struct side *s, int dimension)
{
    struct tg_rate_spec r = {.rate = number(doc, s->rate[dimension])};
    if (r.rate > 0) {
        r.burst = number(doc, s->burst[dimension]);
        r.peak = number(doc, s->peak[dimension]);
    }
    return r;
}

enum tg_err group_doc_policy(const json_t *doc, enum limit_side kind, struct rate_policy *out,
                             char **why)
{
    const struct side *s = &sides[kind];
    *out = (struct rate_policy){.dry_run = json_is_false(json_object_get(doc, s->enforce)),
                                .spec = {.msgs = rate_of(doc, s, 0),
                                         .bytes = rate_of(doc, s, 1),
                                         .period_ns = number(doc, s->period) * MONO_MS}};
    out->present = tg_limit_spec_is_set(&out->spec);
    enum tg_limit_problem problem = tg_limit_check(&out->spec);
    *why = NULL;
    if (problem == TG_LIMIT_OK || problem == TG_LIMIT_BURST_SMALL)
        return TG_OK;
    *why = xasprintf("this resource group can't be: %s", tg_limit_problem_text(problem));
    return TG_ERANGE;
}

enum tg_err group_doc_check(const json_t *doc, char **why)
{
    struct rate_policy p;
    enum tg_err e = TG_OK;
    *why = NULL;
    for (int k = 0; k < LIMIT_SIDES && e == TG_OK; k++)
        e = group_doc_policy(doc, (enum limit_side)k, &p, why);
    return e;
}
