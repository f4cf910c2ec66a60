/* res_limits.c - GET /admin/v2/limits: every scope that has a limit or has made somebody wait, as a
 * tree; and /admin/v2/limits/... for one. All topics are looked at for it, some per turn, since
 * what is parked is with them. */
#include <stdlib.h>
#include <string.h>

#include "admin/limit_rows.h"
#include "admin/part.h"
#include "admin/res.h"
#include "admin/survey.h"
#include "base/alloc.h"
#include "broker/quotas.h"

enum { LIMITS_PER_TURN = 100 }; /* topics: some 2 us each */

/* ---- on the topics' workers ---- */

static void show(struct walk_part *part, struct topic *t)
{
    if (part->data == NULL)
        part->data = limit_rows_new();
    limit_rows_add(part->data, t, false);
}

static void drop(void *part_data)
{
    limit_rows_free(part_data);
}

/* ---- on the control worker ---- */

struct limits {
    struct limit_rows *rows, *part[BROKER_WORKERS_MAX];
};

static void *gather(struct broker *b, struct walk *w)
{
    struct limits *l = xcalloc(1, sizeof *l);
    l->rows = limit_rows_new();
    limit_rows_add_quotas(l->rows, b->quotas, shard_now_ns(&b->shard[0]));
    for (int i = 0; i < w->parts; i++)
        l->part[i] = w->part[i].data;
    return l;
}

/* ---- on the writer's thread ---- */

static struct limit_rows *together(struct limits *l)
{
    struct limit_rows *rows = l->rows;
    for (int i = 0; i < BROKER_WORKERS_MAX; i++)
        if (l->part[i] != NULL)
            limit_rows_merge(rows, l->part[i]);
    free(l);
    return rows;
}

static void write_tree(struct broker *b, void *gathered, struct bytes *out)
{
    (void)b;
    struct limit_rows *rows = together(gathered);
    survey_write_json(limit_rows_tree(rows), out);
    limit_rows_free(rows);
}

void limits_tree(struct call *c)
{
    static const struct survey_kind kind = {
        .id = SURVEY_LIMITS,
        .content_type = "application/json",
        .per_turn = LIMITS_PER_TURN,
        .show = show,
        .drop = drop,
        .gather = gather,
        .write = write_tree,
    };
    survey_ask(c, &kind);
}

/* ---- one quota ---- */

struct wanted { /* call->handler_own */
    enum scope_kind kind;
    struct limits *gathered;
    char name[];
};

/* The scope's row of what is published, and under "dispatch" that of what is delivered. */
static json_t *both_sides(struct limit_rows *rows, enum scope_kind kind, const char *name)
{
    json_t *out = json_null();
    for (int side = LIMIT_SIDES - 1; side >= 0; side--) {
        struct limit_row *row = limit_rows_find(rows, (enum limit_side)side, kind, name);
        json_t *j = json_null();
        if (row != NULL) {
            row->scope.kind = row->kind;
            row->scope.side = row->side;
            row->scope.name = row->name;
            j = limit_row_json(row);
        }
        if (side == SIDE_PUBLISH && row != NULL)
            json_object_set_new(j, "dispatch", out);
        out = j;
    }
    return out;
}

static json_t *make_one(struct call *c)
{
    struct wanted *w = c->handler_own;
    struct limit_rows *rows = together(w->gathered);
    json_t *j = both_sides(rows, w->kind, w->name);
    limit_rows_free(rows);
    return j;
}

static void on_walked(struct walk *w)
{
    struct call *c = w->ctx;
    struct wanted *wanted = c->handler_own;
    if (w->lost) {
        for (int i = 0; i < w->parts; i++)
            limit_rows_free(w->part[i].data);
        reply_err(c, TG_ECLOSED);
        return;
    }
    wanted->gathered = gather(c->broker, w);
    reply_made(c, make_one);
}

static const struct broker_quota *quota_named(struct call *c, enum scope_kind kind,
                                              const char *name)
{
    for (const struct broker_quota *q = c->broker->quotas->all[SIDE_PUBLISH]; q != NULL;
         q = q->all_next)
        if (q->quota.kind == kind && strcmp(q->quota.name, name) == 0)
            return q;
    return NULL;
}

static void answer_quota(struct call *c, enum scope_kind kind, const char *name)
{
    if (quota_named(c, kind, name) == NULL) {
        reply_reason(c, 404, "there is no %s %s", scope_kind_name(kind), name);
        return;
    }
    struct walk_ops ops = {.per_turn = LIMITS_PER_TURN, .show = show, .done = on_walked};
    struct wanted *w = xcalloc(1, sizeof *w + strlen(name) + 1);
    w->kind = kind;
    memcpy(w->name, name, strlen(name) + 1);
    c->handler_own = w;
    walk_begin(c->broker, &ops, c);
}

void limits_broker(struct call *c)
{
    answer_quota(c, SCOPE_BROKER, "broker");
}

void limits_tenant(struct call *c)
{
    answer_quota(c, SCOPE_TENANT, call_capture(c, CAP_TENANT));
}

void limits_ns(struct call *c)
{
    char *name = xasprintf("%s/%s", call_capture(c, CAP_TENANT), call_capture(c, CAP_NS));
    answer_quota(c, SCOPE_NAMESPACE, name);
    free(name);
}

void limits_resource_group(struct call *c)
{
    answer_quota(c, SCOPE_RESOURCE_GROUP, call_capture(c, CAP_NAME));
}

/* ---- one topic: where it lives ---- */

static void look_at_topic(struct part *p, struct topic *t)
{
    struct limit_rows *rows = limit_rows_new();
    limit_rows_add(rows, t, true);
    p->result = both_sides(rows, SCOPE_TOPIC, t->name.full);
    limit_rows_free(rows);
    part_end(p, TG_OK);
}

static void reply_topic(struct call *c, enum tg_err e)
{
    if (e != TG_OK)
        reply_err(c, e);
    else
        reply_json(c, 200, part_result(c));
}

/* A partitioned topic's name is its quota's; a partition's, or another topic's, its rate's. */
void limits_topic(struct call *c)
{
    if (!res_topic_name(c))
        return;
    if (quota_named(c, SCOPE_PARTITIONED_TOPIC, c->topic.full) != NULL) {
        answer_quota(c, SCOPE_PARTITIONED_TOPIC, c->topic.full);
        return;
    }
    topic_name_fini(&c->topic);
    part_on_topic(c, look_at_topic, reply_topic);
}
