/* limit_rows.c - see limit_rows.h. Which scope lies in which is told by their kinds and names: a
 * namespace t/n in the tenant t, that one in the broker. A resource group lies in the broker. */
#include "admin/limit_rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "broker/dispatch_limit.h"
#include "broker/producer.h"
#include "broker/quotas.h"
#include "broker/subscription.h"

struct limit_rows *limit_rows_new(void)
{
    return xcalloc(1, sizeof(struct limit_rows));
}

static void row_free(struct limit_row *row)
{
    free(row->key);
    free(row->name);
    free(row->parent);
    free(row);
}

void limit_rows_free(struct limit_rows *r)
{
    if (r == NULL)
        return;
    struct limit_row *row, *next;
    HASH_ITER(hh, r->row, row, next)
    {
        HASH_DEL(r->row, row);
        row_free(row);
    }
    free(r);
}

static char *key_of(enum limit_side side, enum scope_kind kind, const char *name, size_t len)
{
    return xasprintf("%d %d %.*s", (int)side, (int)kind, (int)len, name);
}

static struct limit_row *find(struct limit_rows *r, const char *key)
{
    struct limit_row *row;
    HASH_FIND_STR(r->row, key, row);
    return row;
}

struct limit_row *limit_rows_find(struct limit_rows *r, enum limit_side side, enum scope_kind kind,
                                  const char *name)
{
    char *key = key_of(side, kind, name, strlen(name));
    struct limit_row *row = find(r, key);
    free(key);
    return row;
}

/* Of the first <len> of <name>. */
static struct limit_row *row_named(struct limit_rows *r, enum limit_side side, enum scope_kind kind,
                                   const char *name, size_t len)
{
    char *key = key_of(side, kind, name, len);
    struct limit_row *row = find(r, key);
    if (row != NULL) {
        free(key);
        return row;
    }
    row = xcalloc(1, sizeof *row);
    row->key = key;
    row->side = side;
    row->kind = kind;
    row->name = xstrndup(name, len);
    HASH_ADD_KEYPTR(hh, r->row, row->key, strlen(row->key), row);
    return row;
}

static struct limit_row *row_of(struct limit_rows *r, enum limit_side side, enum scope_kind kind,
                                const char *name)
{
    return row_named(r, side, kind, name, strlen(name));
}

/* ---- the tree ---- */

static void put_in(struct limit_row *row, const struct limit_row *parent)
{
    if (row->parent == NULL)
        row->parent = xstrdup(parent->key);
}

/* "t/n" of persistent://t/n/x */
static const char *ns_in(const char *topic, size_t *len)
{
    const char *ns = strstr(topic, "://") + 3, *slash = strchr(ns, '/');
    const char *end = slash != NULL ? strchr(slash + 1, '/') : NULL;
    *len = end != NULL ? (size_t)(end - ns) : strlen(ns);
    return ns;
}

/* The row that <row> lies in; NULL: it is the widest. */
static struct limit_row *parent_of(struct limit_rows *r, const struct limit_row *row)
{
    size_t len;
    const char *name;
    switch (row->kind) {
    case SCOPE_PARTITIONED_TOPIC:
        name = ns_in(row->name, &len);
        return row_named(r, row->side, SCOPE_NAMESPACE, name, len);
    case SCOPE_NAMESPACE:
        return row_named(r, row->side, SCOPE_TENANT, row->name, strcspn(row->name, "/"));
    case SCOPE_TENANT:
    case SCOPE_RESOURCE_GROUP:
        return row_of(r, row->side, SCOPE_BROKER, "broker");
    default:
        return NULL;
    }
}

static void add_child(struct limit_children *c, const struct tg_limit_spec *spec)
{
    c->count++;
    if (spec->msgs.rate > 0) {
        c->limited_msgs++;
        c->msgs += tg_limit_per_second(spec, spec->msgs.rate);
    }
    if (spec->bytes.rate > 0) {
        c->limited_bytes++;
        c->bytes += tg_limit_per_second(spec, spec->bytes.rate);
    }
}

/* ---- topics, on their worker ---- */

/* The scope that a producer waits at; false: for something that is none. */
static bool waits_at(const struct producer *p, enum scope_kind *kind, const char **name)
{
    if (p->lacking != NULL) {
        *kind = p->lacking->kind;
        *name = p->lacking->name;
    } else if (p->binding != NULL) {
        *kind = p->binding->kind;
        *name = p->binding->name;
    } else {
        return false;
    }
    return true;
}

static void add_parked(struct limit_rows *r, const struct topic *t)
{
    enum scope_kind kind;
    const char *name;
    for (const struct producer *p = t->producers; p != NULL; p = p->next) {
        if (p->parking.frames == 0 || !waits_at(p, &kind, &name))
            continue;
        struct limit_row *row = row_of(r, SIDE_PUBLISH, kind, name);
        row->parked_msgs += p->parking.messages;
        row->parked_bytes += producer_parked_bytes(p);
    }
}

static void show_scope(struct limit_row *row, const struct explain_scope *x, const struct scope *s,
                       int64_t now_ns)
{
    row->is_shown = true;
    row->scope = *x;
    row->scope.name = row->name;
    row->waits = waits_view(s->waits, now_ns);
    row->longest_ns = s->waiters != NULL ? waitq_longest_wait_ns(s->waiters, now_ns) : 0;
}

static bool is_worth_showing(const struct scope *s)
{
    return s->waits != NULL || s->source == LIMIT_FROM_TOPIC ||
           s->source == LIMIT_FROM_SUBSCRIPTION;
}

/* Its row, if it is shown; else NULL. */
static struct limit_row *show_if_worth(struct limit_rows *r, const struct topic *t, struct scope *s,
                                       bool always, int64_t now_ns)
{
    if (!always && (!is_worth_showing(s) || r->topics_shown >= LIMIT_TOPICS_SHOWN))
        return NULL;
    struct explain_scope x = explain_scope_of(s, now_ns);
    bool narrower = s->kind < SCOPE_TOPIC; /* its name is only its topic's to know */
    char *name = narrower ? xasprintf("%s %s", t->name.full, s->name) : xstrdup(s->name);
    struct limit_row *row = row_of(r, s->side, s->kind, name);
    free(name);
    r->topics_shown++;
    show_scope(row, &x, s, now_ns);
    return row;
}

/* Counts what limits a topic in its namespace and its partitioned topic. Returns the narrower. */
static struct limit_row *count_in(struct limit_rows *r, const struct topic *t, enum limit_side side,
                                  const struct tg_limit_spec *spec)
{
    struct limit_row *in = row_of(r, side, SCOPE_NAMESPACE, t->name.ns);
    add_child(&in->children, spec);
    if (t->name.partitioned == NULL)
        return in;
    in = row_of(r, side, SCOPE_PARTITIONED_TOPIC, t->name.partitioned);
    add_child(&in->children, spec);
    return in;
}

/* A side of a topic: its own row, or it is one more of its namespace that is not shown. */
static struct limit_row *add_topic(struct limit_rows *r, const struct topic *t, struct scope *s,
                                   bool always, int64_t now_ns)
{
    struct limit_row *in = count_in(r, t, s->side, tg_limit_spec_of(&s->limit));
    struct limit_row *row = show_if_worth(r, t, s, always, now_ns);
    if (row != NULL)
        put_in(row, in);
    else
        row_of(r, s->side, SCOPE_NAMESPACE, t->name.ns)->topics_not_shown++;
    return in;
}

/* What is delivered: of the topic, where anything limits it or has, and of its subscriptions. */
static void add_dispatch(struct limit_rows *r, const struct topic *t, bool always, int64_t now_ns)
{
    static const struct tg_limit_spec unset;
    struct topic_line *line = topic_dispatch_line(t);
    if (line == NULL) {
        (void)count_in(r, t, SIDE_DISPATCH, &unset);
        row_of(r, SIDE_DISPATCH, SCOPE_NAMESPACE, t->name.ns)->topics_not_shown++;
        return;
    }
    struct limit_row *in = add_topic(r, t, &line->scope, always, now_ns);
    for (const struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next) {
        struct limit_row *row =
            s->limit != NULL ? show_if_worth(r, t, &s->limit->own, false, now_ns) : NULL;
        if (row == NULL)
            continue;
        struct limit_row *topic = row_of(r, SIDE_DISPATCH, SCOPE_TOPIC, t->name.full);
        put_in(topic, in);
        put_in(row, topic);
    }
}

void limit_rows_add(struct limit_rows *r, struct topic *t, bool always)
{
    int64_t now_ns = shard_now_ns(t->shard);
    add_parked(r, t);
    (void)add_topic(r, t, &t->publish.scope, always, now_ns);
    add_dispatch(r, t, always, now_ns);
}

/* ---- quotas, on the control worker ---- */

static void add_quota(struct limit_rows *r, struct quota *q, int64_t now_ns)
{
    struct home_waiting waiting = home_waiting(q, now_ns);
    struct waits_view v = waits_view(&q->waits, now_ns);
    struct limit_row *row = row_of(r, q->side, q->kind, q->name), *parent = parent_of(r, row);
    if (parent != NULL && q->kind != SCOPE_RESOURCE_GROUP)
        add_child(&parent->children, &q->limit.spec);
    if (parent != NULL)
        put_in(row, parent);
    bool top = q->kind == SCOPE_BROKER && q->side == SIDE_PUBLISH; /* always there */
    if (!top && !quota_is_set(q) && v.times == 0)
        return;
    row->is_shown = true;
    row->scope = explain_quota(q, now_ns);
    row->scope.name = row->name;
    row->waits = v;
    row->waiting_topics = waiting.claims;
    row->longest_ns = waiting.longest_ns;
}

void limit_rows_add_quotas(struct limit_rows *r, const struct quotas *q, int64_t now_ns)
{
    for (int side = 0; side < LIMIT_SIDES; side++)
        for (struct broker_quota *b = q->all[side]; b != NULL; b = b->all_next)
            add_quota(r, &b->quota, now_ns);
}

/* ---- putting together ---- */

static void add_row(struct limit_row *to, const struct limit_row *from)
{
    if (from->is_shown) {
        to->is_shown = true;
        to->scope = from->scope;
        to->scope.name = to->name;
        to->waits = from->waits;
        to->waiting_topics = from->waiting_topics;
        to->longest_ns = from->longest_ns;
    }
    if (to->parent == NULL && from->parent != NULL)
        to->parent = xstrdup(from->parent);
    to->parked_msgs += from->parked_msgs;
    to->parked_bytes += from->parked_bytes;
    to->children.count += from->children.count;
    to->children.limited_msgs += from->children.limited_msgs;
    to->children.limited_bytes += from->children.limited_bytes;
    to->children.msgs += from->children.msgs;
    to->children.bytes += from->children.bytes;
    to->topics_not_shown += from->topics_not_shown;
}

void limit_rows_merge(struct limit_rows *into, struct limit_rows *from)
{
    for (struct limit_row *row = from->row; row != NULL; row = row->hh.next)
        add_row(row_of(into, row->side, row->kind, row->name), row);
    limit_rows_free(from);
}
