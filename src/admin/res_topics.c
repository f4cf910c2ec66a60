/* res_topics.c - topics: listed, made, deleted, unloaded, their statistics and properties. What
 * concerns partitioned topics as such is in res_partitions.c. */
#include <stdlib.h>

#include "admin/res.h"

enum { PROPERTIES_MAX_BYTES = 64 * 1024 }; /* of all keys and values of a topic */

/* ---- lists ---- */

void topics_list(struct call *c)
{
    struct ns *n = res_ns(c, "Namespace does not exist");
    if (n == NULL)
        return;
    json_t *list = json_array();
    bool system = call_flag(c, "includeSystemTopic");
    bool persistent = call_capture(c, CAP_DOMAIN)[0] == 'p';
    for (struct topic *t = n->topics; persistent && t != NULL; t = t->ns_next)
        if (res_topic_is_ready(t) && (system || !name_is_system_topic(t->name.local)))
            json_array_append_new(list, json_string(t->name.full));
    reply_json(c, 200, list);
}

void topics_list_partitioned(struct call *c)
{
    struct ns *n = res_ns(c, "Namespace does not exist");
    if (n == NULL)
        return;
    json_t *list = json_array();
    bool persistent = call_capture(c, CAP_DOMAIN)[0] == 'p';
    struct partitioned *p = registry_all_partitioned(res_registry(c));
    for (; persistent && p != NULL; p = p->hh.next)
        if (p->ns == n)
            json_array_append_new(list, json_string(p->name));
    reply_json(c, 200, list);
}

/* ---- properties ---- */

/* An object of strings; absent is fine (*out NULL). False: refused. */
static bool check_properties(struct call *c, json_t *body)
{
    if (!json_is_object(body)) {
        reply_reason(c, 400, "properties are an object of strings");
        return false;
    }
    size_t bytes = 0;
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        if (!json_is_string(value)) {
            reply_reason(c, 400, "the property %.128s is not a string", key);
            return false;
        }
        bytes += strlen(key) + json_string_length(value);
    }
    if (bytes > PROPERTIES_MAX_BYTES) {
        reply_reason(c, 412, "the properties take %zu bytes; allowed: %d", bytes,
                     PROPERTIES_MAX_BYTES);
        return false;
    }
    return true;
}

/* Whose properties the path names. */
struct properties_owner {
    struct partitioned *partitioned;
    struct topic *topic;
};

static bool find_owner(struct call *c, struct properties_owner *o)
{
    *o = (struct properties_owner){0};
    if (!res_topic_name(c))
        return false;
    o->partitioned = registry_partitioned(res_registry(c), c->topic.full);
    if (o->partitioned != NULL)
        return true;
    o->topic = topic_find(c->shard, c->topic.full);
    if (res_topic_is_ready(o->topic))
        return true;
    res_no_topic(c);
    return false;
}

static json_t *properties_of(const struct properties_owner *o)
{
    json_t *j = o->partitioned != NULL ? o->partitioned->properties : o->topic->properties;
    return j != NULL ? json_deep_copy(j) : json_object();
}

void topics_properties_get(struct call *c)
{
    struct properties_owner o;
    if (find_owner(c, &o))
        reply_json(c, 200, properties_of(&o));
}

static void on_saved_partitioned(void *ctx, enum tg_err e)
{
    reply_err(ctx, e);
}

static void on_saved(void *ctx, struct topic *t, enum tg_err e)
{
    (void)t;
    reply_err(ctx, e);
}

/* Takes <properties>. */
static void save_properties(struct call *c, struct properties_owner *o, json_t *properties)
{
    if (o->partitioned != NULL) {
        registry_set_partitioned_properties(res_registry(c), o->partitioned, properties,
                                            on_saved_partitioned, c);
        json_decref(properties);
        return;
    }
    topic_set_properties(o->topic, properties, on_saved, c);
}

void topics_properties_set(struct call *c)
{
    struct properties_owner o;
    json_t *body;
    if (!find_owner(c, &o) || !call_json(c, &body))
        return;
    json_t *all = properties_of(&o);
    if (json_is_object(body))
        json_object_update(all, body);
    if (json_is_object(body) ? check_properties(c, all) : check_properties(c, body))
        save_properties(c, &o, json_incref(all));
    json_decref(all);
    json_decref(body);
}

void topics_properties_delete(struct call *c)
{
    struct properties_owner o;
    if (!find_owner(c, &o))
        return;
    const char *key = uri_arg(&c->uri, "key");
    json_t *all = properties_of(&o);
    if (key != NULL)
        json_object_del(all, key);
    save_properties(c, &o, all);
}

/* ---- create ---- */

static void on_created(void *ctx, struct topic *t, enum tg_err e)
{
    (void)t;
    struct call *c = ctx;
    if (e == TG_ENOENT)
        reply_reason(c, 404, "Namespace not found");
    else if (e == TG_ELIMIT)
        reply_reason(c, 412, "the broker has all the topics it may have (tidegateMaxTopics)");
    else
        reply_err(c, e);
}

void topics_create(struct call *c)
{
    json_t *body;
    if (!res_topic_name(c) || !call_json(c, &body))
        return;
    json_t *properties = json_is_null(body) ? NULL : body;
    if (topic_find(c->shard, c->topic.full) != NULL ||
        registry_partitioned(res_registry(c), c->topic.full) != NULL)
        reply_reason(c, 409, "This topic already exists");
    else if (properties == NULL || check_properties(c, properties))
        topic_create(c->shard, &c->topic, properties, NULL, on_created, c);
    json_decref(body);
}

/* ---- delete ---- */

static void on_deleted(void *ctx, struct topic *t, enum tg_err e)
{
    (void)t;
    struct call *c = ctx;
    if (e == TG_EBUSY)
        reply_reason(c, 412, "Topic has active producers/subscriptions");
    else
        reply_err(c, e);
}

void topics_delete(struct call *c)
{
    if (!res_topic_name(c))
        return;
    struct topic *t = topic_find(c->shard, c->topic.full);
    if (registry_partitioned(res_registry(c), c->topic.full) != NULL)
        reply_reason(c, 409,
                     "%s is a partitioned topic, instead of calling delete topic, please call "
                     "delete-partitioned-topic.",
                     c->topic.full);
    else if (!res_topic_is_ready(t))
        res_no_topic(c);
    else
        topic_delete(t, call_flag(c, "force"), on_deleted, c);
}

/* ---- unload: the clients come again; nothing else is there to be unloaded ---- */

void topics_unload(struct call *c)
{
    if (!res_topic_name(c))
        return;
    struct partitioned *p = registry_partitioned(res_registry(c), c->topic.full);
    struct topic *t = topic_find(c->shard, c->topic.full);
    if (p == NULL && !res_topic_is_ready(t)) {
        res_no_topic(c);
        return;
    }
    for (int i = 0; p != NULL && i < p->partitions; i++) {
        struct topic *part = res_partition(c, p, i);
        if (part != NULL)
            topic_disconnect_all(part);
    }
    if (p == NULL)
        topic_disconnect_all(t);
    reply_status(c, 204);
}

/* ---- statistics ---- */

static struct stats_options options_of(struct call *c)
{
    return (struct stats_options){.exclude_publishers = call_flag(c, "excludePublishers"),
                                  .exclude_consumers = call_flag(c, "excludeConsumers")};
}

void topics_stats(struct call *c)
{
    struct stats_options o = options_of(c);
    struct topic *t = res_topic(c);
    if (t != NULL)
        reply_json(c, 200, stats_of_topic(t, &o));
}

static struct partitioned *find_partitioned(struct call *c)
{
    if (!res_topic_name(c))
        return NULL;
    struct partitioned *p = registry_partitioned(res_registry(c), c->topic.full);
    if (p == NULL)
        reply_reason(c, 404, "Partitioned Topic %s not found", c->topic.full);
    return p;
}

void topics_partitioned_stats(struct call *c)
{
    struct stats_options o = options_of(c);
    const char *per = uri_arg(&c->uri, "perPartition");
    struct partitioned *p = find_partitioned(c);
    if (p != NULL)
        reply_json(c, 200,
                   stats_of_partitioned(c, p, per == NULL || call_flag(c, "perPartition"), &o));
}

void topics_internal_stats(struct call *c)
{
    struct topic *t = res_topic(c);
    if (t != NULL)
        reply_json(c, 200, stats_internal(t));
}

void topics_partitioned_internal_stats(struct call *c)
{
    struct partitioned *p = find_partitioned(c);
    if (p == NULL)
        return;
    json_t *parts = json_object();
    for (int i = 0; i < p->partitions; i++) {
        struct topic *t = res_partition(c, p, i);
        if (t != NULL)
            json_object_set_new(parts, t->name.full, stats_internal(t));
    }
    reply_json(c, 200,
               json_pack("{s:{s:i,s:b},s:o}", "metadata", "partitions", p->partitions, "deleted", 0,
                         "partitions", parts));
}

void topics_last_message_id(struct call *c)
{
    struct topic *t = res_topic(c);
    if (t == NULL)
        return;
    reply_json(c, 200, json_message_id(t, (int64_t)t->durable_end - 1));
}
