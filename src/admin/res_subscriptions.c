/* res_subscriptions.c - subscriptions of a topic, or of all partitions of a partitioned one: then a
 * call is carried out on each, and answered when the last has ended. */
#include <stdlib.h>
#include <string.h>

#include "admin/part.h"
#include "admin/res.h"
#include "base/alloc.h"

static void no_subscription(struct call *c)
{
    reply_reason(c, 404, "Subscription %s not found for topic %s", call_capture(c, CAP_SUB),
                 c->topic.full);
}

/* ---- one or all partitions ---- */

static void on_part_done(void *ctx, struct subscription *s, enum tg_err e)
{
    (void)s;
    part_end(ctx, e);
}

/* Where there is one of that name, call->results says so in the end; NULL: the part has ended, and
 * is gone. */
static struct subscription *find(struct part *p, struct topic *t)
{
    struct subscription *s = subscription_find(t, call_capture(p->call, CAP_SUB));
    if (s != NULL)
        p->result = json_true();
    else
        part_end(p, TG_OK);
    return s;
}

static bool any_found(const struct call *c)
{
    return json_object_size(c->results) > 0;
}

static void reply_action(struct call *c, enum tg_err e)
{
    if (e == TG_OK && !any_found(c))
        no_subscription(c);
    else if (e == TG_EBUSY)
        reply_reason(c, 412, "Subscription has active connected consumers");
    else if (e == TG_ENOENT)
        no_subscription(c);
    else
        reply_err(c, e);
}

static void run_everywhere(struct call *c, part_run run)
{
    if (!part_on_each(c, run, reply_action))
        res_no_topic(c);
}

/* ---- list ---- */

static void take_names(struct part *p, struct topic *t)
{
    p->result = json_object();
    for (struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next)
        if (s->state == SUB_READY)
            json_object_set_new(p->result, s->name, json_null());
    part_end(p, TG_OK);
}

static void reply_names(struct call *c, enum tg_err e)
{
    if (e != TG_OK) {
        reply_err(c, e);
        return;
    }
    json_t *all = json_object(), *list = json_array(), *value;
    const char *name;
    json_object_foreach(c->results, name, value)
    {
        json_object_update(all, value);
    }
    json_object_foreach(all, name, value)
    {
        json_array_append_new(list, json_string(name));
    }
    json_decref(all);
    reply_json(c, 200, list);
}

void subscriptions_list(struct call *c)
{
    if (res_topic_name(c) && !part_on_each(c, take_names, reply_names))
        res_no_topic(c);
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

/* For the parts: the position of the body, which stays with the call. False: refused. */
static bool keep_position(struct call *c)
{
    struct position *p = xcalloc(1, sizeof *p);
    c->handler_own = p;
    return read_position(c, c->parsed, p);
}

static const struct position *kept_position(const struct part *p)
{
    return p->call->handler_own;
}

/* ---- create ---- */

static void create_there(struct part *p, struct topic *t)
{
    const struct position *at = kept_position(p);
    json_t *properties = at->properties != NULL ? json_deep_copy(at->properties) : NULL;
    struct sub_spec spec = {.name = call_capture(p->call, CAP_SUB),
                            .durable = true,
                            .start = START_AT,
                            .start_entry = first_entry(t, at),
                            .properties = properties};
    subscription_create(t, &spec, NULL, on_part_done, p);
    json_decref(properties);
}

static void create_everywhere(struct call *c)
{
    if (call_json(c, &c->parsed) && keep_position(c) && !part_on_each(c, create_there, reply_err))
        res_no_topic(c);
}

/* The topic was made for it, as a client's SUBSCRIBE would. */
static void on_topic_made(void *ctx, struct place *p, enum tg_err e)
{
    struct call *c = ctx;
    if (p != NULL)
        create_everywhere(c);
    else if (e == TG_ENOENT)
        reply_reason(c, 404, "Namespace not found");
    else
        reply_err(c, e);
}

static void look_there(struct part *p, struct topic *t)
{
    if (find(p, t) != NULL)
        part_end(p, TG_OK);
}

static void on_looked(struct call *c, enum tg_err e)
{
    if (e != TG_OK)
        reply_err(c, e);
    else if (any_found(c))
        reply_reason(c, 409, "Subscription already exists for topic");
    else
        create_everywhere(c);
}

void subscriptions_create(struct call *c)
{
    if (!res_topic_name(c))
        return;
    if (!name_is_valid_subscription(call_capture(c, CAP_SUB)))
        reply_reason(c, 412,
                     "the subscription's name may hold anything but '/' and control "
                     "characters");
    else if (part_on_each(c, look_there, on_looked))
        return;
    else if (c->broker->settings->allow_auto_topic_creation)
        place_create(res_registry(c), &c->topic, NULL, NULL, on_topic_made, c);
    else
        res_no_topic(c);
}

/* ---- delete ---- */

static void delete_there(struct part *p, struct topic *t)
{
    struct subscription *s = find(p, t);
    if (s != NULL)
        subscription_delete(s, call_flag(p->call, "force"), on_part_done, p);
}

void subscriptions_delete(struct call *c)
{
    if (res_topic_name(c))
        run_everywhere(c, delete_there);
}

/* ---- skip and reset ---- */

static void skip_all_there(struct part *p, struct topic *t)
{
    struct subscription *s = find(p, t);
    if (s != NULL)
        subscription_skip(s, UINT64_MAX, on_part_done, p);
}

void subscriptions_skip_all(struct call *c)
{
    if (res_topic_name(c))
        run_everywhere(c, skip_all_there);
}

static void skip_there(struct part *p, struct topic *t)
{
    int64_t n = call_number(p->call);
    struct subscription *s = find(p, t);
    if (s != NULL)
        subscription_skip(s, n > 0 ? (uint64_t)n : 0, on_part_done, p);
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
        run_everywhere(c, skip_there);
}

static void reset_to_time_there(struct part *p, struct topic *t)
{
    struct subscription *s = find(p, t);
    if (s != NULL)
        subscription_reset_to_time(s, call_number(p->call), on_part_done, p);
}

void subscriptions_reset_to_time(struct call *c)
{
    if (res_topic_name(c))
        run_everywhere(c, reset_to_time_there);
}

static void reset_to_id_there(struct part *p, struct topic *t)
{
    struct subscription *s = find(p, t);
    if (s != NULL)
        subscription_reset(s, first_entry(t, kept_position(p)), on_part_done, p);
}

/* The subscription is there: now the body counts. */
static void on_found(struct call *c, enum tg_err e)
{
    if (e != TG_OK || !any_found(c)) {
        reply_action(c, e);
        return;
    }
    if (!call_json(c, &c->parsed))
        return;
    if (json_is_null(c->parsed))
        reply_reason(c, 400, "a position is needed: a MessageId, \"latest\" or \"earliest\"");
    else if (keep_position(c))
        run_everywhere(c, reset_to_id_there);
}

void subscriptions_reset_to_id(struct call *c)
{
    if (res_topic_name(c) &&
        !refuse_partitioned(c, "Reset-cursor at position is not allowed for partitioned-topic") &&
        !part_on_each(c, look_there, on_found))
        res_no_topic(c);
}
