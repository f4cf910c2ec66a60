/* res_topics.c - topics: listed, made, deleted, unloaded, their statistics and properties. What
 * concerns partitioned topics as such is in res_partitions.c. */
#include <stdlib.h>

#include "admin/part.h"
#include "admin/res.h"
#include "base/bytes.h"

enum { PROPERTIES_MAX_BYTES = 64 * 1024 }; /* of all keys and values of a topic */

/* ---- lists ---- */

void topics_list(struct call *c)
{
    struct ns *n = res_ns(c, "Namespace does not exist");
    if (n == NULL)
        return;
    bool persistent = call_capture(c, CAP_DOMAIN)[0] == 'p';
    reply_json(c, 200, persistent ? res_topic_names(c, n) : json_array());
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
            reply_reason(c, 400, "the property %.*s is not a string", bytes_of_text(key, 128), key);
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
    struct place *place;
};

static bool find_owner(struct call *c, struct properties_owner *o)
{
    *o = (struct properties_owner){0};
    if (!res_topic_name(c))
        return false;
    o->partitioned = registry_partitioned(res_registry(c), c->topic.full);
    if (o->partitioned != NULL)
        return true;
    o->place = place_find_ready(res_registry(c), c->topic.full);
    if (o->place == NULL)
        res_no_topic(c);
    return o->place != NULL;
}

static json_t *properties_of(const struct properties_owner *o)
{
    json_t *j = o->partitioned != NULL ? o->partitioned->properties : o->place->properties;
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

static void on_saved(void *ctx, struct place *p, enum tg_err e)
{
    (void)p;
    reply_err(ctx, e);
}

/* <set> (or NULL) are set, the one named <remove> (or NULL) goes; <all> is what that makes. Another
 * change may be on its way: a partitioned topic's are changed in turn, a topic's at once. */
static void save_properties(struct call *c, struct properties_owner *o, json_t *set,
                            const char *remove, json_t *all)
{
    if (o->partitioned != NULL)
        registry_change_partitioned_properties(res_registry(c), o->partitioned, set, remove,
                                               on_saved_partitioned, c);
    else
        place_set_properties(o->place, json_incref(all), on_saved, c);
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
        save_properties(c, &o, body, NULL, all);
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
    save_properties(c, &o, NULL, key, all);
    json_decref(all);
}

/* ---- create ---- */

static void on_created(void *ctx, struct place *p, enum tg_err e)
{
    (void)p;
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
    if (place_find(res_registry(c), c->topic.full) != NULL ||
        registry_partitioned(res_registry(c), c->topic.full) != NULL)
        reply_reason(c, 409, "This topic already exists");
    else if (properties == NULL || check_properties(c, properties))
        place_create(res_registry(c), &c->topic, properties, NULL, on_created, c);
    json_decref(body);
}

/* ---- delete ---- */

static void on_deleted(void *ctx, struct place *p, enum tg_err e)
{
    (void)p;
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
    struct place *p = place_find_ready(res_registry(c), c->topic.full);
    if (registry_partitioned(res_registry(c), c->topic.full) != NULL)
        reply_reason(c, 409,
                     "%s is a partitioned topic, instead of calling delete topic, please call "
                     "delete-partitioned-topic.",
                     c->topic.full);
    else if (p == NULL)
        res_no_topic(c);
    else
        place_delete(p, call_flag(c, "force"), on_deleted, c);
}

/* ---- unload: the clients come again; nothing else is there to be unloaded ---- */

static void unload(struct part *p, struct topic *t)
{
    topic_disconnect_all(t);
    part_end(p, TG_OK);
}

void topics_unload(struct call *c)
{
    if (res_topic_name(c) && !part_on_each(c, unload, reply_err))
        res_no_topic(c);
}

/* ---- statistics ---- */

static void reply_result(struct call *c, enum tg_err e)
{
    if (e == TG_OK)
        reply_json(c, 200, part_result(c));
    else
        reply_err(c, e);
}

static void take_stats(struct part *p, struct topic *t)
{
    struct stats_options o = {.exclude_publishers = call_flag(p->call, "excludePublishers"),
                              .exclude_consumers = call_flag(p->call, "excludeConsumers")};
    p->result = stats_of_topic(t, &o);
    part_end(p, TG_OK);
}

void topics_stats(struct call *c)
{
    part_on_topic(c, take_stats, reply_result);
}

/* Still there after its partitions were asked? */
static struct partitioned *find_partitioned(struct call *c)
{
    struct partitioned *p = registry_partitioned(res_registry(c), c->topic.full);
    if (p == NULL)
        reply_reason(c, 404, "Partitioned Topic %s not found", c->topic.full);
    return p;
}

/* On the writer's thread: there may be thousands. */
static json_t *make_partitioned_stats(struct call *c)
{
    const char *per = uri_arg(&c->uri, "perPartition");
    return stats_of_partitioned(c->parsed, c->results, per == NULL || call_flag(c, "perPartition"));
}

static void reply_partitioned_stats(struct call *c, enum tg_err e)
{
    if (e != TG_OK) {
        reply_err(c, e);
        return;
    }
    struct partitioned *p = find_partitioned(c);
    if (p == NULL)
        return;
    c->parsed = metadata_of_partitioned(p);
    reply_made(c, make_partitioned_stats);
}

void topics_partitioned_stats(struct call *c)
{
    if (res_topic_name(c) && find_partitioned(c) != NULL)
        (void)part_on_each(c, take_stats, reply_partitioned_stats);
}

static void take_internal_stats(struct part *p, struct topic *t)
{
    p->result = stats_internal(t);
    part_end(p, TG_OK);
}

void topics_internal_stats(struct call *c)
{
    part_on_topic(c, take_internal_stats, reply_result);
}

static void reply_partitioned_internal_stats(struct call *c, enum tg_err e)
{
    if (e != TG_OK) {
        reply_err(c, e);
        return;
    }
    struct partitioned *p = find_partitioned(c);
    if (p != NULL)
        reply_json(c, 200,
                   json_pack("{s:{s:i,s:b},s:O}", "metadata", "partitions", p->partitions,
                             "deleted", 0, "partitions", c->results));
}

void topics_partitioned_internal_stats(struct call *c)
{
    if (res_topic_name(c) && find_partitioned(c) != NULL)
        (void)part_on_each(c, take_internal_stats, reply_partitioned_internal_stats);
}

static void take_last_id(struct part *p, struct topic *t)
{
    p->result = json_message_id(t, (int64_t)t->durable_end - 1);
    part_end(p, TG_OK);
}

void topics_last_message_id(struct call *c)
{
    part_on_topic(c, take_last_id, reply_result);
}
