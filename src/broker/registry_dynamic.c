/* registry_dynamic.c - settings that an administrator changes while the broker runs. The value in
 * force is the one set so, else broker.conf's.
 *
 * All workers read the broker's settings, which therefore never change. What is dynamic is the
 * control worker's: it changes a copy, reads that (place_rate, broker_apply_quota), and gives what
 * follows to the topics where they live. So no row of the table may be dynamic that a worker reads
 * in the broker's settings. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/registry_priv.h"

const struct settings *registry_settings(const struct registry *r)
{
    return &r->settings;
}

const json_t *registry_dynamic(const struct registry *r)
{
    return r->dynamic;
}

enum tg_err registry_check_dynamic(const struct registry *r, const char *name, const char *value,
                                   char **why)
{
    struct settings trial = r->settings; /* what is dynamic is a number: nothing is owned twice */
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

static bool same_default(const struct settings *a, const struct settings *b)
{
    return a->max_topic_rate_msgs == b->max_topic_rate_msgs &&
           a->max_topic_rate_bytes == b->max_topic_rate_bytes &&
           a->max_producer_rate_msgs == b->max_producer_rate_msgs &&
           a->max_producer_rate_bytes == b->max_producer_rate_bytes;
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
    if (same_default(&before, &r->settings))
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
