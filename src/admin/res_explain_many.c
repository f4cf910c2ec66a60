/* res_explain_many.c - explain of a namespace, a tenant or a client: which of their producers wait,
 * for what, since when, until when, and what would help; and which subscriptions wait for tokens.
 * Each worker sums its own up by what they wait for; the control worker adds the limits of quotas.
 */
#include <stdlib.h>
#include <string.h>

#include "admin/res.h"
#include "admin/scope_json.h"
#include "base/alloc.h"
#include "base/mono.h"
#include "broker/dispatch_limit.h"
#include "broker/producer_limit.h"
#include "broker/quotas.h"
#include "broker/subscription.h"
#include "broker/walk.h"

enum {
    SHOWN_PER_TURN = 100,
    WAITING_SHOWN = 1000, /* producers, subscriptions listed per worker; counts are of all */
    GROUPS_MAX = 1000,    /* of things that are waited for, per worker */
};

/* ---- what is asked about ---- */

enum subject { OF_NAMESPACE, OF_TENANT, OF_CLIENT };
static const char *const subject_names[] = {"namespace", "tenant", "client"};

struct asked { /* call->handler_own */
    enum subject subject;
    uint64_t conn_id; /* of a client, 0: by address */
    char name[];
};

static bool is_about_client(const struct asked *a, const struct conn *c)
{
    size_t len = strlen(a->name);
    if (a->conn_id != 0)
        return c->id == a->conn_id;
    /* with its port, or without */
    return strncmp(c->peer, a->name, len) == 0 && (c->peer[len] == '\0' || c->peer[len] == ':');
}

/* ---- what was found, on one worker and then on all ---- */

struct group { /* of producers that wait for the same */
    UT_hash_handle hh;
    char *key; /* reason and name */
    enum throttle_reason reason;
    char *name;     /* of the scope; NULL: it is none */
    char *topic;    /* of that, a producer's; else NULL */
    uint64_t block; /* that holds for them */
    uint64_t producers, messages, bytes;
    int64_t since_wall_ns;
    bool has_scope;             /* <scope> is filled in: a topic's, or on the control worker */
    struct explain_scope scope; /* its name is <name> */
};

struct found {
    struct group *groups;            /* map */
    json_t *waiting, *subscriptions; /* lists */
    json_t *seen;                    /* a client's subscriptions, by topic and name */
    uint64_t waiting_subscriptions;
    uint64_t connections, not_grouped;
    struct group sum;
};

static struct found *found_new(void)
{
    struct found *f = xcalloc(1, sizeof *f);
    f->waiting = json_array();
    f->subscriptions = json_array();
    return f;
}

static void found_free(struct found *f)
{
    struct group *g, *next;
    if (f == NULL)
        return;
    HASH_ITER(hh, f->groups, g, next)
    {
        HASH_DEL(f->groups, g);
        free(g->key);
        free(g->name);
        free(g->topic);
        free(g);
    }
    json_decref(f->waiting);
    json_decref(f->subscriptions);
    json_decref(f->seen);
    free(f);
}

static struct group *group_of(struct found *f, enum throttle_reason r, const char *name,
                              uint64_t block)
{
    struct group *g;
    char *key = xasprintf("%d %llu %s", (int)r, (unsigned long long)block, name ? name : "");
    HASH_FIND_STR(f->groups, key, g);
    if (g != NULL || HASH_COUNT(f->groups) >= GROUPS_MAX) {
        free(key);
        return g;
    }
    g = xcalloc(1, sizeof *g);
    g->key = key;
    g->reason = r;
    g->block = block;
    g->name = name != NULL ? xstrdup(name) : NULL;
    HASH_ADD_KEYPTR(hh, f->groups, g->key, strlen(g->key), g);
    return g;
}

static void add(struct group *to, uint64_t producers, uint64_t messages, uint64_t bytes,
                int64_t since_wall_ns)
{
    if (to->producers == 0 || since_wall_ns < to->since_wall_ns)
        to->since_wall_ns = since_wall_ns;
    to->producers += producers;
    to->messages += messages;
    to->bytes += bytes;
}

/* ---- on the topics' workers ---- */

/* A scope of the topic, or the producer's own: a quota is the control worker's to describe. */
static void describe_own_scope(struct group *g, const struct producer *p, int64_t now_ns)
{
    if (p->lacking != NULL || p->binding == NULL || g->has_scope)
        return;
    if (producer_waits_alone(p))
        g->topic = xstrdup(p->topic->name.full);
    g->scope = explain_scope_of(p->binding, now_ns);
    g->scope.name = g->name;
    g->scope.topic = g->topic;
    g->has_scope = true;
}

static struct found *found_in(struct walk_part *part)
{
    if (part->data == NULL)
        part->data = found_new();
    return part->data;
}

static void look_at_subscription(struct found *f, const struct subscription *s)
{
    if (s->limit == NULL || !s->limit->throttled)
        return;
    if (f->waiting_subscriptions++ >= WAITING_SHOWN)
        return;
    json_t *j = waiting_subscription_json(s, shard_now_ns(s->shard));
    json_object_set_new(j, "topic", json_string(s->topic->name.full));
    json_array_append_new(f->subscriptions, j);
}

static void look_at(struct found *f, const struct producer *p)
{
    int64_t now_ns = shard_now_ns(p->topic->shard);
    if (p->gate.step == GATE_OPEN)
        return;
    enum throttle_reason r = gate_reason(&p->gate);
    if (r == REASON_COUNT)
        r = p->last_reason; /* it is held until its client has been told */
    uint64_t bytes = producer_parked_bytes(p), messages = p->parking.messages;
    add(&f->sum, 1, messages, bytes, p->throttled_wall_ns);
    if (json_array_size(f->waiting) < WAITING_SHOWN) {
        json_t *j = waiting_json(p, now_ns);
        json_object_set_new(j, "topic", json_string(p->topic->name.full));
        json_array_append_new(f->waiting, j);
    }
    struct group *g = group_of(f, r, producer_waits_for(p), p->blocked_by);
    if (g == NULL) {
        f->not_grouped++;
        return;
    }
    add(g, 1, messages, bytes, p->throttled_wall_ns);
    describe_own_scope(g, p, now_ns);
}

static void show_topic(struct walk_part *part, struct topic *t)
{
    const struct asked *a = ((struct call *)part->walk->ctx)->handler_own;
    const char *name = a->subject == OF_TENANT ? t->name.tenant : t->name.ns;
    if (strcmp(name, a->name) != 0)
        return;
    for (const struct producer *p = t->producers; p != NULL; p = p->next)
        look_at(found_in(part), p);
    for (const struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next)
        look_at_subscription(found_in(part), s);
}

static void show_conn(struct walk_part *part, struct conn *c)
{
    const struct asked *a = ((struct call *)part->walk->ctx)->handler_own;
    if (!is_about_client(a, c))
        return;
    struct found *f = found_in(part);
    f->connections += c->front != NULL;
}

static bool is_asked(const struct walk_part *part, const struct conn *c)
{
    return is_about_client(((const struct call *)part->walk->ctx)->handler_own, c);
}

static void show_producer(struct walk_part *part, struct producer *p)
{
    if (is_asked(part, p->conn))
        look_at(found_in(part), p);
}

/* The same subscription may have many consumers of this client. */
static bool is_seen(struct found *f, const struct subscription *s)
{
    char *key = xasprintf("%s %s", s->topic->name.full, s->name);
    bool seen = json_object_get(f->seen, key) != NULL;
    if (f->seen == NULL)
        f->seen = json_object();
    json_object_set_new(f->seen, key, json_true());
    free(key);
    return seen;
}

static void show_consumer(struct walk_part *part, struct consumer *k)
{
    const struct subscription *s = k->sub; /* NULL: it is being opened */
    if (s == NULL || s->limit == NULL || !s->limit->throttled || !is_asked(part, k->conn))
        return;
    struct found *f = found_in(part);
    if (!is_seen(f, s))
        look_at_subscription(f, s);
}

/* ---- on the control worker ---- */

static void merge(struct found *into, struct found *from)
{
    for (struct group *g = from->groups; g != NULL; g = g->hh.next) {
        struct group *to = group_of(into, g->reason, g->name, g->block);
        if (to == NULL) {
            into->not_grouped += g->producers;
            continue;
        }
        add(to, g->producers, g->messages, g->bytes, g->since_wall_ns);
        if (g->has_scope && !to->has_scope) {
            to->has_scope = true;
            to->scope = g->scope;
            to->scope.name = to->name;
            to->topic = g->topic;
            g->topic = NULL;
        }
    }
    if (from->sum.producers > 0)
        add(&into->sum, from->sum.producers, from->sum.messages, from->sum.bytes,
            from->sum.since_wall_ns);
    json_array_extend(into->waiting, from->waiting);
    json_array_extend(into->subscriptions, from->subscriptions);
    into->waiting_subscriptions += from->waiting_subscriptions;
    into->connections += from->connections;
    into->not_grouped += from->not_grouped;
    found_free(from);
}

static char *help_of(const struct group *g)
{
    if (g->reason == REASON_BLOCKED && g->block != 0)
        return xasprintf("tidegate block remove %llu", (unsigned long long)g->block);
    return g->has_scope ? explain_command(&g->scope) : NULL;
}

static const char *advice_of(enum throttle_reason r)
{
    switch (r) {
    case REASON_STORAGE_FULL:
        return "make room on the disk";
    case REASON_PUBLISH_BUFFER:
    case REASON_CONNECTION_IN_FLIGHT:
        return "the disk does not keep up, or --memory is small for what is published";
    default:
        return NULL;
    }
}

static void put_times(json_t *j, const struct group *g, int64_t wall_ns)
{
    json_object_set_new(j, "since", json_iso_time(g->since_wall_ns));
    if (!g->has_scope) {
        json_object_set_new(j, "until", json_null());
        return;
    }
    int64_t span_ns = explain_until_ns(&g->scope, g->messages, g->bytes);
    json_object_set_new(j, "until", json_iso_time(wall_ns + span_ns));
    json_object_set_new(j, "untilMs", json_integer((span_ns + MONO_MS - 1) / MONO_MS));
}

static json_t *group_json(const struct group *g, int64_t wall_ns)
{
    json_t *j = json_object();
    char *command = help_of(g);
    json_object_set_new(j, "reason", json_string(reason_name(g->reason)));
    json_object_set_new(j, "scope", g->name != NULL ? json_string(g->name) : json_null());
    json_object_set_new(j, "block",
                        g->block != 0 ? json_integer((json_int_t)g->block) : json_null());
    json_object_set_new(j, "producers", json_integer((json_int_t)g->producers));
    json_object_set_new(j, "parkedMessages", json_integer((json_int_t)g->messages));
    json_object_set_new(j, "parkedBytes", json_integer((json_int_t)g->bytes));
    put_times(j, g, wall_ns);
    json_object_set_new(j, "command", command != NULL ? json_string(command) : json_null());
    const char *advice = advice_of(g->reason);
    json_object_set_new(j, "advice", advice != NULL ? json_string(advice) : json_null());
    json_object_set_new(j, "limit", g->has_scope ? scope_json(&g->scope) : json_null());
    free(command);
    return j;
}

/* Is this quota one of what is asked about, or wider? */
static bool is_above(const struct asked *a, const struct quota *q)
{
    switch (q->kind) {
    case SCOPE_NAMESPACE:
        return a->subject == OF_NAMESPACE && strcmp(q->name, a->name) == 0;
    case SCOPE_TENANT:
        return a->subject != OF_CLIENT && strncmp(q->name, a->name, strlen(q->name)) == 0 &&
               (a->name[strlen(q->name)] == '\0' || a->name[strlen(q->name)] == '/');
    default:
        return q->kind == SCOPE_BROKER;
    }
}

static struct group *group_for(struct found *f, const struct quota *q)
{
    for (struct group *g = f->groups; g != NULL; g = g->hh.next)
        if (g->reason == reason_of_scope(q->kind) && g->name != NULL &&
            strcmp(g->name, q->name) == 0)
            return g;
    return NULL;
}

static json_t *scopes_json(struct call *c, struct found *f)
{
    json_t *list = json_array();
    int64_t now_ns = shard_now_ns(c->shard), wall_ns = shard_wall_ns(c->shard);
    for (struct broker_quota *b = c->broker->quotas->all[SIDE_PUBLISH]; b != NULL;
         b = b->all_next) {
        struct group *g = f->groups != NULL ? group_for(f, &b->quota) : NULL;
        if (g == NULL && !is_above(c->handler_own, &b->quota))
            continue;
        struct explain_scope s = explain_quota(&b->quota, now_ns);
        json_t *j = scope_json(&s);
        json_object_set_new(j, "binding", json_boolean(g != NULL));
        if (g != NULL) {
            g->scope = s;
            g->scope.name = g->name;
            g->has_scope = true;
            put_times(j, g, wall_ns);
        }
        json_array_append_new(list, j);
    }
    return list;
}

static int by_producers(const struct group *a, const struct group *b)
{
    return a->producers > b->producers ? -1 : a->producers < b->producers;
}

/* Takes what <f> has of JSON: the writer gets the answer, and shares nothing with this worker. */
static json_t *explanation(struct call *c, struct found *f)
{
    const struct asked *a = c->handler_own;
    json_t *j = json_object(), *groups = json_array();
    json_object_set_new(j, "kind", json_string(subject_names[a->subject]));
    json_object_set_new(j, "name", json_string(a->name));
    json_object_set_new(j, "throttled", json_boolean(f->sum.producers > 0));
    json_object_set_new(j, "throttledProducers", json_integer((json_int_t)f->sum.producers));
    json_object_set_new(j, "parkedMessages", json_integer((json_int_t)f->sum.messages));
    json_object_set_new(j, "parkedBytes", json_integer((json_int_t)f->sum.bytes));
    json_object_set_new(j, "scopes", scopes_json(c, f));
    HASH_SORT(f->groups, by_producers);
    for (const struct group *g = f->groups; g != NULL; g = g->hh.next)
        json_array_append_new(groups, group_json(g, shard_wall_ns(c->shard)));
    json_object_set_new(j, "reasons", groups);
    json_object_set_new(j, "producersNotInReasons", json_integer((json_int_t)f->not_grouped));
    json_object_set_new(j, "waiting", f->waiting);
    json_object_set_new(j, "throttledSubscriptions",
                        json_integer((json_int_t)f->waiting_subscriptions));
    json_object_set_new(j, "waitingSubscriptions", f->subscriptions);
    f->waiting = f->subscriptions = NULL;
    return j;
}

static void on_walked(struct walk *w)
{
    struct call *c = w->ctx;
    const struct asked *a = c->handler_own;
    struct found *all = found_new();
    for (int i = 0; i < w->parts; i++)
        if (w->part[i].data != NULL)
            merge(all, w->part[i].data);
    if (w->lost)
        reply_err(c, TG_ECLOSED);
    else if (a->subject == OF_CLIENT && all->connections == 0)
        reply_reason(c, 404, "there is no client %s", a->name);
    else
        reply_json(c, 200, explanation(c, all));
    found_free(all);
}

/* ---- the requests ---- */

static struct asked *ask(struct call *c, enum subject subject, const char *name)
{
    struct asked *a = xcalloc(1, sizeof *a + strlen(name) + 1);
    a->subject = subject;
    memcpy(a->name, name, strlen(name) + 1);
    c->handler_own = a;
    return a;
}

static void begin(struct call *c)
{
    const struct asked *a = c->handler_own;
    struct walk_ops of_topics = {.per_turn = SHOWN_PER_TURN, .show = show_topic, .done = on_walked};
    struct walk_ops of_client = {.per_turn = SHOWN_PER_TURN,
                                 .show_conn = show_conn,
                                 .show_producer = show_producer,
                                 .show_consumer = show_consumer,
                                 .done = on_walked};
    walk_begin(c->broker, a->subject == OF_CLIENT ? &of_client : &of_topics, c);
}

void explain_ns(struct call *c)
{
    struct ns *n = res_ns(c, "Namespace does not exist");
    if (n == NULL)
        return;
    (void)ask(c, OF_NAMESPACE, n->name);
    begin(c);
}

void explain_tenant(struct call *c)
{
    const char *name = call_capture(c, CAP_TENANT);
    if (registry_tenant(res_registry(c), name) == NULL) {
        reply_reason(c, 404, "Tenant does not exist");
        return;
    }
    (void)ask(c, OF_TENANT, name);
    begin(c);
}

/* By the connection's id, or its address with or without the port. */
void explain_client(struct call *c)
{
    const char *name = call_capture(c, CAP_NAME);
    struct asked *a = ask(c, OF_CLIENT, name);
    char *end;
    uint64_t id = strtoull(name, &end, 10);
    if (*end == '\0')
        a->conn_id = id;
    begin(c);
}
