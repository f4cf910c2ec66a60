/* res_subscriptions.c - subscriptions of a topic, or of all partitions of a partitioned one: then a
 * call is carried out on each, and answered when the last has ended. */
#include <stdlib.h>
#include <string.h>

#include "admin/res.h"
#include "base/alloc.h"

static void no_subscription(struct call *c)
{
    reply_reason(c, 404, "Subscription %s not found for topic %s", call_capture(c, CAP_SUB),
                 c->topic.full);
}

/* ---- one or all partitions ---- */

/* Calls <fn> for the topic of the path, or for each partition of it; false when there is none. */
static bool each_topic(struct call *c, void (*fn)(struct call *c, struct topic *t, void *ctx),
                       void *ctx)
{
    struct partitioned *p = registry_partitioned(res_registry(c), c->topic.full);
    if (p == NULL) {
        struct topic *t = topic_find(c->shard, c->topic.full);
        if (!res_topic_is_ready(t))
            return false;
        fn(c, t, ctx);
        return true;
    }
    for (int i = 0; i < p->partitions; i++) {
        struct topic *t = res_partition(c, p, i);
        if (t != NULL)
            fn(c, t, ctx);
    }
    return true;
}

static void on_part_done(void *ctx, struct subscription *s, enum tg_err e)
{
    (void)s;
    call_part_ended(ctx, e);
}

static void count_sub(struct call *c, struct topic *t, void *ctx)
{
    if (subscription_find(t, call_capture(c, CAP_SUB)) != NULL)
        ++*(int *)ctx;
}

/* The topic and, on at least one partition, the subscription exist. False: 404 was answered. */
static bool check_exists(struct call *c)
{
    int found = 0;
    if (!each_topic(c, count_sub, &found))
        res_no_topic(c);
    else if (found == 0)
        no_subscription(c);
    return found > 0;
}

struct action {
    void (*run)(struct call *c, struct subscription *s);
};

static void run_on(struct call *c, struct topic *t, void *ctx)
{
    const struct action *a = ctx;
    struct subscription *s = subscription_find(t, call_capture(c, CAP_SUB));
    if (s == NULL)
        return;
    call_part(c);
    a->run(c, s);
}

static void on_all_done(struct call *c, enum tg_err e)
{
    if (e == TG_EBUSY)
        reply_reason(c, 412, "Subscription has active connected consumers");
    else if (e == TG_ENOENT || e == TG_ECLOSED)
        no_subscription(c);
    else
        reply_err(c, e);
}

static void run_everywhere(struct call *c, void (*run)(struct call *c, struct subscription *s))
{
    if (!check_exists(c))
        return;
    struct action a = {run};
    call_parts_begin(c, on_all_done);
    (void)each_topic(c, run_on, &a);
    call_parts_end(c);
}

/* ---- list ---- */

static void add_names(struct call *c, struct topic *t, void *ctx)
{
    (void)c;
    json_t *set = ctx;
    for (struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next)
        if (s->state == SUB_READY)
            json_object_set_new(set, s->name, json_null());
}

void subscriptions_list(struct call *c)
{
    if (!res_topic_name(c))
        return;
    json_t *set = json_object(), *list = json_array();
    const char *name;
    json_t *value;
    bool exists = each_topic(c, add_names, set);
    json_object_foreach(set, name, value)
    {
        json_array_append_new(list, json_string(name));
    }
    json_decref(set);
    if (exists) {
        reply_json(c, 200, list);
    } else {
        json_decref(list);
        res_no_topic(c);
    }
}

/* ---- where a MessageId points ---- */

struct position {
    enum { AT_LATEST, AT_EARLIEST, AT_ID } kind;
    uint64_t ledger, entry;
    bool excluded; /* the one after it is meant */
    json_t *properties;
};

static bool read_id(struct call *c, const json_t *body, struct position *p)
{
    const json_t *ledger = json_object_get(body, "ledgerId");
    const json_t *entry = json_object_get(body, "entryId");
    json_t *properties = json_object_get(body, "properties");
    if ((ledger != NULL && !json_is_integer(ledger)) ||
        (entry != NULL && !json_is_integer(entry))) {
        reply_reason(c, 400, "ledgerId and entryId of a MessageId are whole numbers");
        return false;
    }
    p->kind = AT_ID;
    p->ledger = ledger != NULL ? (uint64_t)json_integer_value(ledger) : UINT64_MAX;
    p->entry = entry != NULL ? (uint64_t)json_integer_value(entry) : UINT64_MAX;
    p->excluded = json_is_true(json_object_get(body, "excluded")) ||
                  json_is_true(json_object_get(body, "isExcluded"));
    p->properties = json_is_object(properties) ? properties : NULL;
    return true;
}

/* The body: a MessageId, "latest" or "earliest"; nothing means <fallback>. False: refused. */
static bool read_position(struct call *c, const json_t *body, struct position *p)
{
    *p = (struct position){.kind = AT_LATEST};
    if (json_is_object(body))
        return read_id(c, body, p);
    const char *word = json_string_value(body);
    if (word != NULL && strcmp(word, "earliest") == 0)
        p->kind = AT_EARLIEST;
    else if (!json_is_null(body) && (word == NULL || strcmp(word, "latest") != 0)) {
        reply_reason(c, 400, "a position is a MessageId, \"latest\" or \"earliest\"");
        return false;
    }
    return true;
}

static uint64_t first_entry(const struct topic *t, const struct position *p)
{
    if (p->kind == AT_EARLIEST)
        return 0;
    if (p->kind == AT_LATEST)
        return t->durable_end;
    uint64_t entry = topic_position_to_entry(t, p->ledger, p->entry);
    return p->excluded && entry < t->durable_end ? entry + 1 : entry;
}

/* ---- create ---- */

static void create_on(struct call *c, struct topic *t, void *ctx)
{
    const struct position *p = ctx;
    struct sub_spec spec = {.name = call_capture(c, CAP_SUB),
                            .durable = true,
                            .start = START_AT,
                            .start_entry = first_entry(t, p),
                            .properties = p->properties};
    call_part(c);
    subscription_create(t, &spec, NULL, on_part_done, c);
}

static void on_all_created(struct call *c, enum tg_err e)
{
    reply_err(c, e);
}

static void create_everywhere(struct call *c)
{
    json_t *body;
    struct position p;
    if (!call_json(c, &body))
        return;
    if (read_position(c, body, &p)) {
        call_parts_begin(c, on_all_created);
        if (!each_topic(c, create_on, &p))
            call_part_ended(c, TG_ENOENT);
        else
            call_parts_end(c);
    }
    json_decref(body);
}

/* The topic was made for it, as a client's SUBSCRIBE would. */
static void on_topic_made(void *ctx, struct topic *t, enum tg_err e)
{
    struct call *c = ctx;
    if (t != NULL)
        create_everywhere(c);
    else if (e == TG_ENOENT)
        reply_reason(c, 404, "Namespace not found");
    else
        reply_err(c, e);
}

void subscriptions_create(struct call *c)
{
    if (!res_topic_name(c))
        return;
    int found = 0;
    bool exists = each_topic(c, count_sub, &found);
    if (!name_is_valid_subscription(call_capture(c, CAP_SUB)))
        reply_reason(c, 412,
                     "the subscription's name may hold anything but '/' and control "
                     "characters");
    else if (found > 0)
        reply_reason(c, 409, "Subscription already exists for topic");
    else if (exists)
        create_everywhere(c);
    else if (c->broker->settings->allow_auto_topic_creation)
        topic_create(c->shard, &c->topic, NULL, NULL, on_topic_made, c);
    else
        res_no_topic(c);
}

/* ---- delete ---- */

static void delete_one(struct call *c, struct subscription *s)
{
    subscription_delete(s, call_flag(c, "force"), on_part_done, c);
}

void subscriptions_delete(struct call *c)
{
    if (res_topic_name(c))
        run_everywhere(c, delete_one);
}

/* ---- skip and reset ---- */

static void skip_all_one(struct call *c, struct subscription *s)
{
    subscription_skip(s, UINT64_MAX, on_part_done, c);
}

void subscriptions_skip_all(struct call *c)
{
    if (res_topic_name(c))
        run_everywhere(c, skip_all_one);
}

static void skip_one(struct call *c, struct subscription *s)
{
    int64_t n = call_number(c);
    subscription_skip(s, n > 0 ? (uint64_t)n : 0, on_part_done, c);
}

static bool refuse_partitioned(struct call *c, const char *why)
{
    if (registry_partitioned(res_registry(c), c->topic.full) == NULL)
        return false;
    reply_reason(c, 405, "%s", why);
    return true;
}

void subscriptions_skip(struct call *c)
{
    if (res_topic_name(c) &&
        !refuse_partitioned(c, "Skip messages on a partitioned topic is not allowed"))
        run_everywhere(c, skip_one);
}

static void reset_to_time_one(struct call *c, struct subscription *s)
{
    subscription_reset_to_time(s, call_number(c), on_part_done, c);
}

void subscriptions_reset_to_time(struct call *c)
{
    if (res_topic_name(c))
        run_everywhere(c, reset_to_time_one);
}

static void reset_to_id(struct call *c, const struct position *p)
{
    struct topic *t = topic_find(c->shard, c->topic.full);
    struct subscription *s = subscription_find(t, call_capture(c, CAP_SUB));
    call_parts_begin(c, on_all_done);
    subscription_reset(s, first_entry(t, p), on_part_done, c);
}

void subscriptions_reset_to_id(struct call *c)
{
    json_t *body;
    struct position p;
    if (!res_topic_name(c) ||
        refuse_partitioned(c, "Reset-cursor at position is not allowed for partitioned-topic") ||
        !check_exists(c) || !call_json(c, &body))
        return;
    if (json_is_null(body))
        reply_reason(c, 400, "a position is needed: a MessageId, \"latest\" or \"earliest\"");
    else if (read_position(c, body, &p))
        reset_to_id(c, &p);
    json_decref(body);
}
