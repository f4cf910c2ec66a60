/* res_brokers.c - /admin/v2/brokers and broker-stats: there is one broker, it leads, and it is the
 * owner of everything. Settings can be read, and those that are dynamic changed. */
#include <stdlib.h>
#include <string.h>

#include "admin/res.h"
#include "admin/survey.h"
#include "base/alloc.h"

/* "host:port" of the web address. */
static const char *broker_id(struct call *c)
{
    const char *web = c->broker->web_url != NULL ? c->broker->web_url : "";
    const char *mark = strstr(web, "://");
    return mark != NULL ? mark + 3 : web;
}

void brokers_list(struct call *c)
{
    reply_json(c, 200, json_pack("[s]", broker_id(c)));
}

void brokers_leader(struct call *c)
{
    reply_json(c, 200,
               json_pack("{s:s,s:s}", "serviceUrl",
                         c->broker->web_url != NULL ? c->broker->web_url : "", "brokerId",
                         broker_id(c)));
}

static void reply_word(struct call *c, const char *word)
{
    struct bytes b = {0};
    bytes_printf(&b, "%s", word);
    reply_text(c, "text/plain", &b);
}

/* That it answers is the proof: the request went through the control worker. A store that has
 * failed ends the process, so a broker that answers is well, or full. */
void brokers_health(struct call *c)
{
    if (c->shard->store_state == LS_FAILED)
        reply_reason(c, 500, "the store has failed");
    else
        reply_word(c, "ok");
}

void brokers_ready(struct call *c)
{
    reply_word(c, "ok"); /* before that, http.c answers 503 */
}

void brokers_version(struct call *c)
{
    reply_word(c, "tidegate-" TIDEGATE_VERSION);
}

static void add_if_dynamic(void *ctx, const char *name, const char *value, const char *allowed,
                           const char *doc)
{
    (void)value, (void)allowed, (void)doc;
    if (settings_is_dynamic(name))
        json_array_append_new(ctx, json_string(name));
}

void brokers_dynamic_names(struct call *c)
{
    json_t *list = json_array();
    settings_each(c->broker->settings, add_if_dynamic, list);
    reply_json(c, 200, list);
}

void brokers_dynamic_values(struct call *c)
{
    reply_json(c, 200, json_copy((json_t *)(uintptr_t)registry_dynamic(res_registry(c))));
}

static void on_dynamic_changed(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_OK)
        reply_status(c, 200);
    else
        reply_err(c, e);
}

/* <value> NULL: broker.conf's. <refused>: Pulsar's words for a setting that is not dynamic. */
static void change_dynamic(struct call *c, const char *value, const char *refused)
{
    const char *name = call_capture(c, CAP_NAME);
    char *why;
    enum tg_err e = registry_check_dynamic(res_registry(c), name, value, &why);
    if (e == TG_EUNSUPPORTED)
        reply_reason(c, 412, "%s", refused);
    else if (e != TG_OK)
        reply_reason(c, 412, "%s", why);
    else
        registry_set_dynamic(res_registry(c), name, value, on_dynamic_changed, c);
    free(why);
}

void brokers_dynamic_set(struct call *c)
{
    change_dynamic(c, call_capture(c, CAP_VALUE), "Can't update non-dynamic configuration");
}

void brokers_dynamic_delete(struct call *c)
{
    change_dynamic(c, NULL, "Can't delete non-dynamic configuration");
}

static void add_setting(void *ctx, const char *name, const char *value, const char *allowed,
                        const char *doc)
{
    (void)allowed, (void)doc;
    json_object_set_new(ctx, name, json_string(value != NULL ? value : ""));
}

void brokers_runtime(struct call *c)
{
    json_t *j = json_object();
    settings_each(registry_settings(res_registry(c)), add_setting, j);
    reply_json(c, 200, j);
}

void brokers_owned_namespaces(struct call *c)
{
    json_t *j = json_object();
    for (struct ns *n = registry_namespaces(res_registry(c)); n != NULL; n = n->hh.next) {
        char *name = xasprintf("%s/0x00000000_0xffffffff", n->name);
        json_object_set_new(j, name,
                            json_pack("{s:s,s:b,s:b}", "broker_assignment", "shared",
                                      "is_controlled", 0, "is_active", 1));
        free(name);
    }
    reply_json(c, 200, j);
}

/* ---- namespace -> bundle -> domain -> topic -> what it is doing ---- */

enum { STATS_PER_TURN = 20 }; /* topics: some 20 us each */

static void show(struct walk_part *part, struct topic *t)
{
    struct stats_options o = {0};
    if (part->data == NULL)
        part->data = json_object();
    json_t *topics = json_object_get(part->data, t->name.ns);
    if (topics == NULL) {
        topics = json_object();
        json_object_set_new(part->data, t->name.ns, topics);
    }
    json_object_set_new(topics, t->name.full, stats_of_topic(t, &o));
}

static void merge(json_t *all, json_t *one)
{
    const char *ns;
    json_t *topics;
    json_object_foreach(one, ns, topics)
    {
        json_t *there = json_object_get(all, ns);
        if (there != NULL)
            json_object_update(there, topics);
        else
            json_object_set(all, ns, topics);
    }
}

static void write_stats(struct broker *b, void *gathered, struct bytes *out)
{
    json_t *parts = gathered, *by_ns = json_object(), *all = json_object(), *topics;
    const char *ns;
    (void)b;
    for (size_t i = 0; i < json_array_size(parts); i++)
        merge(by_ns, json_array_get(parts, i));
    json_object_foreach(by_ns, ns, topics)
    {
        json_object_set_new(all, ns,
                            json_pack("{s:{s:O}}", "0x00000000_0xffffffff", "persistent", topics));
    }
    survey_write_json(all, out);
    json_decref(by_ns);
    json_decref(parts);
}

void brokers_topic_stats(struct call *c)
{
    static const struct survey_kind kind = {
        .id = SURVEY_TOPIC_STATS,
        .content_type = "application/json",
        .per_turn = STATS_PER_TURN,
        .show = show,
        .drop = survey_drop_json,
        .gather = survey_gather_json,
        .write = write_stats,
    };
    survey_ask(c, &kind);
}
