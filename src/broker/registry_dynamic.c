/* registry_dynamic.c - settings that an administrator changes while the broker runs. The value in
 * force is the one set so, else broker.conf's.
 *
 * All workers read the broker's settings, which therefore never change. What is dynamic is the
 * control worker's: it changes a copy, reads that (place_rate, broker_apply_quota), gives what
 * follows to the topics where they live, and shows all workers the limit of what is in flight. So
 * no row of the table may be dynamic that a worker reads in the broker's settings. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/registry_priv.h"

const struct settings *registry_settings(const struct registry *r)
{
    return &r->settings;
}

const json_t *registry_dynamic(const struct registry *r)
{
    return r->dynamic;
}

static struct rate_policy a_rate(int64_t msgs, int64_t bytes, bool relative, int64_t period_ns)
{
    struct rate_policy p = {
        .relative_to_publish = relative,
        .spec = {.msgs.rate = msgs, .bytes.rate = bytes, .period_ns = period_ns}};
    p.present = tg_limit_spec_is_set(&p.spec);
    return p;
}

struct rate_policy settings_rate(const struct settings *s, enum rate_kind kind)
{
    switch (kind) {
    case RATE_OF_TOPIC:
        return a_rate(s->max_topic_rate_msgs, s->max_topic_rate_bytes, false, 0);
    case RATE_OF_PRODUCER:
        return a_rate(s->max_producer_rate_msgs, s->max_producer_rate_bytes, false, 0);
    case RATE_OF_DISPATCH:
        return a_rate(s->topic_dispatch_msgs, s->topic_dispatch_bytes, s->dispatch_relative, 0);
    case RATE_OF_SUBSCRIPTION:
        return a_rate(s->sub_dispatch_msgs, s->sub_dispatch_bytes, s->dispatch_relative, 0);
    case RATE_OF_SUBSCRIBING:
        return a_rate(s->subscribe_rate, 0, false, s->subscribe_period_s * MONO_S);
    case RATE_KINDS:
        break;
    }
    return (struct rate_policy){0};
}

enum tg_err registry_check_dynamic(const struct registry *r, const char *name, const char *value,
                                   char **why)
{
    struct settings trial = r->settings; /* what is dynamic is no text: nothing is owned twice */
    *why = NULL;
    if (!settings_is_dynamic(name)) {
        *why = xasprintf("%s can't be changed while the broker runs", name);
        return TG_EUNSUPPORTED;
    }
    return value != NULL ? settings_set(&trial, name, value, why) : TG_OK;
}

/* In memory; <value> NULL: broker.conf's. */
static void take(struct registry *r, const char *name, const char *value)
{
    char *why;
    if (value != NULL) {
        enum tg_err e = settings_set(&r->settings, name, value, &why);
        TG_ASSERT(e == TG_OK); /* registry_check_dynamic saw to it */
        json_object_set_new(r->dynamic, name, json_string(value));
    } else {
        settings_copy_one(&r->settings, r->shard->broker->settings, name);
        json_object_del(r->dynamic, name);
    }
}

enum tg_err dynamic_restore(struct registry *r, const char *name, const json_t *row)
{
    const char *value = json_string_value(json_object_get(row, "value"));
    char *why;
    if (value == NULL)
        return TG_ECORRUPT;
    enum tg_err e = registry_check_dynamic(r, name, value, &why);
    if (e == TG_OK) {
        take(r, name, value);
    } else if (e == TG_EUNSUPPORTED) { /* another version's */
        log_warn("metadata row dynamic/%s: %s; kept, not in force", name, why);
        e = TG_OK;
    } else {
        log_error("metadata row dynamic/%s: %s", name, why);
        e = TG_ECORRUPT;
    }
    free(why);
    return e;
}

/* Nothing that topics are given (place_rates) differs. */
static bool same_for_topics(const struct settings *a, const struct settings *b)
{
    for (int k = 0; k < RATE_KINDS; k++) {
        struct rate_policy was = settings_rate(a, (enum rate_kind)k);
        struct rate_policy is = settings_rate(b, (enum rate_kind)k);
        if (!rate_policy_equal(&was, &is))
            return false;
    }
    return a->dispatch_throttle_tailing == b->dispatch_throttle_tailing &&
           a->dispatch_entries_as_messages == b->dispatch_entries_as_messages;
}

static void dynamic_stored(struct change *c, enum tg_err e)
{
    struct registry *r = c->registry;
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    struct settings before = r->settings;
    const char *value = json_string_value(json_object_get(c->doc, "value"));
    const json_t *was = json_object_get(r->dynamic, c->name);
    event_post(r->shard, EVENT_LIMIT_CHANGED,
               json_pack("{s:s?,s:s,s:s,s:s?,s:s?}", "by", c->by, "kind", "setting", "name",
                         c->name, "from", json_string_value(was), "to", value));
    take(r, c->name, value);
    log_info("setting %s: %s", c->name, value != NULL ? value : "as in broker.conf");
    broker_apply_quota(r);
    flight_limit_set(r->shard->broker, &r->settings);
    if (same_for_topics(&before, &r->settings))
        change_end(c, TG_OK);
    else
        change_apply_to_all(c, NULL, NULL);
}

static void dynamic_begin(struct change *c)
{
    char *key = xasprintf("dynamic/%s", c->name);
    if (c->doc != NULL)
        change_put_row(c, key, json_incref(c->doc), MS_ANY, dynamic_stored);
    else
        change_delete_row(c, key, dynamic_stored);
    free(key);
}

void registry_set_dynamic(struct registry *r, const char *name, const char *value,
                          registry_done done, void *ctx)
{
    json_t *doc = value != NULL ? json_pack("{s:s}", "value", value) : NULL;
    change_submit(change_new(r, dynamic_begin, xstrdup(name), doc, done, ctx));
    json_decref(doc);
}
