/* res_partitions.c - /admin/v2/persistent/{t}/{ns}/{topic}/partitions: partitioned topics made,
 * grown and deleted. */
#include "admin/res.h"
#include "base/bytes.h"

enum { PARTITIONS_MAX = 10000 }; /* of one topic; each is a topic of its own */

void partitions_get(struct call *c)
{
    if (!res_topic_name(c))
        return;
    struct partitioned *p = registry_partitioned(res_registry(c), c->topic.full);
    bool exists = p != NULL || place_find(res_registry(c), c->topic.full) != NULL;
    bool may_create = call_flag(c, "checkAllowAutoCreation") &&
                      c->broker->settings->allow_auto_topic_creation &&
                      registry_ns(res_registry(c), c->topic.ns) != NULL;
    if (!exists && !may_create) {
        res_no_topic(c);
        return;
    }
    json_t *j = json_pack("{s:i,s:b}", "partitions", p != NULL ? p->partitions : 0, "deleted", 0);
    if (p != NULL && p->properties != NULL)
        json_object_set(j, "properties", p->properties);
    reply_json(c, 200, j);
}

/* At least <least>. A number, or {"partitions":n,"properties":{}}. False: refused. *properties is
 * borrowed from body.
 */
static bool read_count(struct call *c, const json_t *body, int least, int *count,
                       json_t **properties)
{
    const json_t *n = json_is_object(body) ? json_object_get(body, "partitions") : body;
    *properties = json_is_object(body) ? json_object_get(body, "properties") : NULL;
    if (json_is_null(*properties))
        *properties = NULL;
    if (!json_is_integer(n)) {
        reply_reason(c, 400, "the number of partitions is a whole number");
        return false;
    }
    if (json_integer_value(n) < least) {
        if (least == 1)
            reply_reason(c, 406, "Number of partitions should be more than 0");
        else
            reply_reason(c, 422,
                         "Desired partitions %lld can't be less than the current partitions %d.",
                         (long long)json_integer_value(n), least);
        return false;
    }
    if (json_integer_value(n) > PARTITIONS_MAX) {
        reply_reason(c, 406, "Number of partitions should be less than or equal to %d",
                     PARTITIONS_MAX);
        return false;
    }
    *count = (int)json_integer_value(n);
    const char *key;
    json_t *value;
    json_object_foreach(*properties, key, value)
    {
        if (!json_is_string(value)) {
            reply_reason(c, 400, "the property %.*s is not a string", bytes_of_text(key, 128), key);
            return false;
        }
    }
    if (*properties != NULL && !json_is_object(*properties)) {
        reply_reason(c, 400, "properties are an object of strings");
        return false;
    }
    return true;
}

static void on_created(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    switch (e) {
    case TG_EEXIST:
        reply_reason(c, 409, "This topic already exists");
        break;
    case TG_ENOENT:
        reply_reason(c, 404, "Namespace not found");
        break;
    case TG_ERANGE:
        reply_reason(c, 412, "the topic's name is too long for a partitioned topic");
        break;
    case TG_ELIMIT:
        reply_reason(c, 412, "the broker would have more topics than it may (tidegateMaxTopics)");
        break;
    default:
        reply_err(c, e);
    }
}

void partitions_create(struct call *c)
{
    json_t *body, *properties;
    int count;
    if (!res_topic_name(c) || !call_json(c, &body))
        return;
    if (c->topic.partitioned != NULL)
        reply_reason(c, 412, "Partitioned Topic Name should not contain '-partition-'");
    else if (read_count(c, body, 1, &count, &properties))
        registry_create_partitioned(res_registry(c), &c->topic, count, properties, on_created, c);
    json_decref(body);
}

static void on_grown(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    const struct partitioned *p = registry_partitioned(res_registry(c), c->topic.full);
    if (e == TG_ENOENT)
        reply_reason(c, 409, "Topic %s is not the partitioned topic.", c->topic.full);
    else if (e == TG_ERANGE && p != NULL)
        reply_reason(c, 422, "Desired partitions can't be less than the current partitions %d.",
                     p->partitions);
    else if (e == TG_ELIMIT)
        reply_reason(c, 412, "the broker would have more topics than it may (tidegateMaxTopics)");
    else
        reply_err(c, e);
}

void partitions_grow(struct call *c)
{
    json_t *body, *properties;
    int count;
    if (!res_topic_name(c))
        return;
    const struct partitioned *p = registry_partitioned(res_registry(c), c->topic.full);
    if (p == NULL) {
        reply_reason(c, 409, "Topic %s is not the partitioned topic.", c->topic.full);
        return;
    }
    if (!call_json(c, &body))
        return;
    if (read_count(c, body, p->partitions, &count, &properties))
        registry_grow_partitioned(res_registry(c), &c->topic, count, on_grown, c);
    json_decref(body);
}

static void on_deleted(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_ENOENT)
        reply_reason(c, 404, "Topic %s not found.", c->topic.full);
    else if (e == TG_EBUSY)
        reply_reason(c, 412, "Topic has active producers/subscriptions");
    else
        reply_err(c, e);
}

void partitions_delete(struct call *c)
{
    if (!res_topic_name(c))
        return;
    if (registry_partitioned(res_registry(c), c->topic.full) == NULL &&
        place_find(res_registry(c), c->topic.full) != NULL)
        reply_reason(c, 409,
                     "%s is a non-partitioned topic. Instead of calling delete-partitioned-topic "
                     "please call delete.",
                     c->topic.full);
    else
        registry_delete_partitioned(res_registry(c), &c->topic, call_flag(c, "force"), on_deleted,
                                    c);
}
