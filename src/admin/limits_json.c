/* limits_json.c - the rows of `limits` as JSON. */
#include <stdlib.h>
#include <string.h>

#include "admin/limit_rows.h"
#include "admin/scope_json.h"
#include "base/alloc.h"
#include "base/mono.h"
#include "throttle/gate.h"

static void put(json_t *j, const char *key, uint64_t n)
{
    json_object_set_new(j, key, json_integer((json_int_t)n));
}

static json_t *seconds(int64_t ns)
{
    return json_real((double)ns / (double)MONO_S);
}

static json_t *steps_json(const struct waits_view *v)
{
    json_t *j = json_object();
    for (int step = GATE_PARK; step < WAIT_STEPS; step++)
        put(j, gate_step_name((enum gate_step)step), v->steps[step]);
    return j;
}

/* How many times the parent's rate its children's add up to; null where one of them is not limited
 * or the parent is not. */
static json_t *overcommit(const struct tg_limit_spec *spec, int64_t own, double sum,
                          bool all_limited)
{
    if (own <= 0 || !all_limited)
        return json_null();
    return json_real(sum / tg_limit_per_second(spec, own));
}

static json_t *children_json(const struct limit_row *row)
{
    const struct limit_children *c = &row->children;
    const struct tg_limit_spec *spec = &row->scope.spec;
    json_t *j = json_object();
    put(j, "count", c->count);
    put(j, "limitedInMsg", c->limited_msgs);
    put(j, "limitedInByte", c->limited_bytes);
    json_object_set_new(j, "rateInMsg", json_real(c->msgs));
    json_object_set_new(j, "rateInByte", json_real(c->bytes));
    json_object_set_new(
        j, "overcommitInMsg",
        overcommit(spec, spec->msgs.rate, c->msgs, c->count > 0 && c->limited_msgs == c->count));
    json_object_set_new(
        j, "overcommitInByte",
        overcommit(spec, spec->bytes.rate, c->bytes, c->count > 0 && c->limited_bytes == c->count));
    return j;
}

/* What happens to producers only. */
static void put_steps(json_t *j, const struct limit_row *row)
{
    json_object_set_new(j, "steps", steps_json(&row->waits));
    put(j, "parkedMessages", row->parked_msgs);
    put(j, "parkedBytes", row->parked_bytes);
    put(j, "discardedMessages", row->waits.discarded_msgs);
    put(j, "discardedBytes", row->waits.discarded_bytes);
}

json_t *limit_row_json(const struct limit_row *row)
{
    const struct waits_view *v = &row->waits;
    json_t *j = scope_json(&row->scope);
    put(j, row->side == SIDE_PUBLISH ? "waitingProducers" : "waitingSubscriptions", v->waiting);
    if (row->kind >= SCOPE_PARTITIONED_TOPIC)
        put(j, "waitingTopics", row->waiting_topics);
    json_object_set_new(j, "longestWaitMs", json_integer(row->longest_ns / MONO_MS));
    put(j, "throttlings", v->times);
    json_object_set_new(j, "throttledSeconds", seconds(v->summed_ns));
    json_object_set_new(j, "throttledWallSeconds", seconds(v->wall_ns));
    put(j, "delayedMessages", v->msgs);
    put(j, "delayedBytes", v->bytes);
    if (row->side == SIDE_PUBLISH)
        put_steps(j, row);
    if (row->kind >= SCOPE_PARTITIONED_TOPIC && row->kind != SCOPE_RESOURCE_GROUP)
        json_object_set_new(j, "children", children_json(row));
    return j;
}

/* ---- the tree ---- */

/* A row that is not shown itself, but in which some are that are, is named. */
static json_t *node_of(struct limit_row *row)
{
    if (row->is_shown)
        return limit_row_json(row);
    return json_pack("{s:s,s:s,s:s,s:b}", "kind", scope_kind_name(row->kind), "name", row->name,
                     "of", limit_side_name(row->side), "limited", 0);
}

static int by_kind_and_name(const struct limit_row *a, const struct limit_row *b)
{
    if (a->side != b->side)
        return a->side > b->side ? 1 : -1;
    return a->kind != b->kind ? (a->kind > b->kind ? -1 : 1) : strcmp(a->name, b->name);
}

/* Its node, made with those of all that it is in. <nodes>: those made, by key; they own nothing
 * twice. */
static json_t *place(struct limit_rows *r, struct limit_row *row, json_t *nodes, json_t *top)
{
    json_t *node = json_object_get(nodes, row->key);
    if (node != NULL)
        return node;
    node = node_of(row);
    json_object_set(nodes, row->key, node);
    if (row->topics_not_shown > 0)
        put(node, "topicsNotShown", row->topics_not_shown);
    struct limit_row *parent = NULL;
    if (row->parent != NULL)
        HASH_FIND_STR(r->row, row->parent, parent);
    json_t *list = top;
    if (parent != NULL) {
        json_t *above = place(r, parent, nodes, top);
        list = json_object_get(above, "below");
        if (list == NULL) {
            list = json_array();
            json_object_set_new(above, "below", list);
        }
    }
    json_array_append_new(list, node);
    return node;
}

json_t *limit_rows_tree(struct limit_rows *r)
{
    json_t *top = json_array(), *nodes = json_object();
    HASH_SORT(r->row, by_kind_and_name); /* the widest first */
    for (struct limit_row *row = r->row; row != NULL; row = row->hh.next)
        if (row->is_shown)
            (void)place(r, row, nodes, top);
    json_decref(nodes);
    return top;
}
