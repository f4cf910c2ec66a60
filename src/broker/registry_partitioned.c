/* registry_partitioned.c - partitioned topics: their metadata, and that their partitions exist.
 *
 * The row is written before the partitions are made and deleted after they are: whatever a crash
 * leaves behind, the row says how many partitions there are, and registry_load makes those that are
 * missing. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "broker/chain.h"
#include "broker/quotas.h"
#include "broker/registry_priv.h"
#include "broker/topic.h"

enum {
    SCHEME_LEN = sizeof "persistent://" - 1,
    /* Partitions: what a turn does with them takes some 500 us. */
    MADE_PER_TURN = 50,
    SEEN_PER_TURN = 200,
};

char *partitioned_key(const char *full_name)
{
    return xasprintf("partitioned/%s", full_name + SCHEME_LEN);
}

static void put_row(struct change *c, const struct partitioned *next, int64_t expected,
                    void (*stored)(struct change *c, enum tg_err e))
{
    char *key = partitioned_key(c->topic.full);
    change_put_row(c, key, partitioned_row(next), expected, stored);
    free(key);
}

struct partitioned *registry_add_partitioned(struct registry *r, struct ns *ns, const char *name,
                                             int partitions, json_t *properties)
{
    struct partitioned *p = xcalloc(1, sizeof *p);
    p->name = xstrdup(name);
    p->ns = ns;
    p->partitions = partitions;
    p->properties = json_incref(properties);
    broker_quotas_new(p->quota, r->shard->broker->quotas, SCOPE_PARTITIONED_TOPIC, name);
    p->chain = chain_new(ns, p);
    HASH_ADD_KEYPTR(hh, r->partitioned, p->name, strlen(p->name), p);
    return p;
}

void partitioned_free(struct partitioned *p)
{
    chain_drop(p->chain);
    broker_quotas_let_go(p->quota);
    json_decref(p->properties);
    sub_rates_drop(p->sub_rates);
    free(p->name);
    free(p);
}

void partition_name(struct topic_name *out, const char *full_name, int i)
{
    char *name = xasprintf("%s-partition-%d", full_name, i);
    const char *why;
    enum tg_err e = topic_name_parse(out, name, &why);
    TG_ASSERT(e == TG_OK); /* NAME_ROOM was kept when it was created */
    free(name);
}

static struct place *partition_of(struct registry *r, const struct partitioned *p, int i)
{
    struct topic_name n;
    partition_name(&n, p->name, i);
    struct place *place = place_find(r, n.full);
    topic_name_fini(&n);
    return place;
}

/* What applies to its partitions is put in force; then the change ends. */
static bool apply_to_some(struct change *c)
{
    const struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    for (int n = 0; n < SEEN_PER_TURN && c->next_one < p->partitions; n++) {
        struct place *place = partition_of(c->registry, p, c->next_one++);
        if (place != NULL)
            place_apply_policies(place);
    }
    if (c->next_one < p->partitions)
        return true;
    change_end(c, c->first_error);
    return false;
}

/* ---- making partitions ---- */

static void one_ended(struct change *c, enum tg_err e)
{
    if (e != TG_OK && c->first_error == TG_OK)
        c->first_error = e;
    if (--c->pending == 0)
        change_end(c, c->first_error);
}

/* It may have been there before, as a topic that only was called like one. */
static void on_partition_made(void *ctx, struct place *p, enum tg_err e)
{
    if (p != NULL && p->chain != place_chain(p))
        place_apply_policies(p);
    one_ended(ctx, e);
}

static bool make_some(struct change *c)
{
    for (int n = 0; n < MADE_PER_TURN && c->next_one < c->end; n++) {
        struct topic_name name;
        partition_name(&name, c->topic.full, c->next_one++);
        c->pending++;
        place_create(c->registry, &name, NULL, NULL, on_partition_made, c);
        topic_name_fini(&name);
    }
    if (c->next_one < c->end)
        return true;
    one_ended(c, TG_OK);
    return false;
}

static void make_partitions(struct change *c, int from, int to)
{
    c->pending = 1; /* the steps, so that it can't end before */
    c->next_one = from;
    c->end = to;
    change_in_steps(c, make_some);
}

/* Room for "-partition-" and the digits of any partition. */
enum { NAME_ROOM = 24 };

static enum tg_err check_room(struct registry *r, const struct topic_name *n, int more)
{
    if (strlen(n->full) + NAME_ROOM > NAME_MAX_LEN)
        return TG_ERANGE;
    if (places_count(r) + (int64_t)more > r->shard->broker->settings->max_topics)
        return TG_ELIMIT;
    return TG_OK;
}

/* ---- create ---- */

static void partitioned_created(struct change *c, enum tg_err e)
{
    struct ns *ns = registry_ns(c->registry, c->topic.ns);
    if (e != TG_OK) {
        change_end(c, e == TG_ECONFLICT ? TG_EEXIST : e);
        return;
    }
    registry_add_partitioned(c->registry, ns, c->topic.full, c->partitions, c->doc);
    make_partitions(c, 0, c->partitions);
}

static void partitioned_begin_create(struct change *c)
{
    struct registry *r = c->registry;
    enum tg_err e = check_room(r, &c->topic, c->partitions);
    if (registry_ns(r, c->topic.ns) == NULL)
        e = TG_ENOENT;
    else if (registry_partitioned(r, c->topic.full) != NULL || place_find(r, c->topic.full) != NULL)
        e = TG_EEXIST;
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    const struct partitioned next = {.partitions = c->partitions, .properties = c->doc};
    put_row(c, &next, MS_ABSENT, partitioned_created);
}

/* A change of the partitioned topic <n>. */
static struct change *change_of(struct registry *r, const char *full_name,
                                void (*begin)(struct change *c), json_t *doc, registry_done done,
                                void *ctx)
{
    struct change *c = change_new(r, begin, NULL, doc, done, ctx);
    const char *why;
    enum tg_err e = topic_name_parse(&c->topic, full_name, &why);
    TG_ASSERT(e == TG_OK); /* it was parsed before */
    return c;
}

void registry_create_partitioned(struct registry *r, const struct topic_name *n, int partitions,
                                 json_t *properties, registry_done done, void *ctx)
{
    struct change *c = change_of(r, n->full, partitioned_begin_create, properties, done, ctx);
    c->partitions = partitions;
    change_submit(c);
}

/* ---- grow ---- */

static void partitioned_grown(struct change *c, enum tg_err e)
{
    struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    int from = p->partitions;
    p->partitions = c->partitions;
    make_partitions(c, from, c->partitions);
}

static void partitioned_begin_grow(struct change *c)
{
    struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    enum tg_err e = TG_OK;
    if (p == NULL)
        e = TG_ENOENT;
    else if (c->partitions < p->partitions)
        e = TG_ERANGE;
    else
        e = check_room(c->registry, &c->topic, c->partitions - p->partitions);
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    struct partitioned next = *p;
    next.partitions = c->partitions;
    put_row(c, &next, MS_ANY, partitioned_grown);
}

void registry_grow_partitioned(struct registry *r, const struct topic_name *n, int partitions,
                               registry_done done, void *ctx)
{
    struct change *c = change_of(r, n->full, partitioned_begin_grow, NULL, done, ctx);
    c->partitions = partitions;
    change_submit(c);
}

/* ---- delete ---- */

/* It is there again, and so is what applies to its partitions: those that were left were of no
 * partitioned topic meanwhile, and may have been given what applies to such. */
static void partitioned_comes_back(struct change *c, struct partitioned *p, enum tg_err e)
{
    HASH_ADD_KEYPTR(hh, c->registry->partitioned, p->name, strlen(p->name), p);
    c->first_error = e;
    c->next_one = 0;
    change_in_steps(c, apply_to_some);
}

static void partitioned_deleted(struct change *c, enum tg_err e)
{
    struct partitioned *p = c->leaving_partitioned;
    c->leaving_partitioned = NULL;
    if (e == TG_OK) {
        partitioned_free(p);
        change_end(c, e);
    } else {
        partitioned_comes_back(c, p, e);
    }
}

static void partitions_gone(struct change *c)
{
    if (c->first_error != TG_OK) {
        partitioned_deleted(c, c->first_error);
        return;
    }
    char *key = partitioned_key(c->topic.full);
    change_delete_row(c, key, partitioned_deleted);
    free(key);
}

static void partition_gone(struct change *c, enum tg_err e)
{
    if (e != TG_OK && e != TG_ENOENT && c->first_error == TG_OK)
        c->first_error = e;
    if (--c->pending == 0)
        partitions_gone(c);
}

static void on_partition_deleted(void *ctx, struct place *p, enum tg_err e)
{
    (void)p;
    partition_gone(ctx, e);
}

static bool delete_some(struct change *c)
{
    struct partitioned *p = c->leaving_partitioned;
    for (int n = 0; n < MADE_PER_TURN && c->next_one < p->partitions; n++) {
        struct place *place = partition_of(c->registry, p, c->next_one++);
        if (place == NULL)
            continue;
        c->pending++;
        place_delete(place, c->force, on_partition_deleted, c);
    }
    if (c->next_one < p->partitions)
        return true;
    partition_gone(c, TG_OK);
    return false;
}

static void delete_partitions(struct change *c)
{
    struct registry *r = c->registry;
    struct partitioned *p = registry_partitioned(r, c->topic.full);
    HASH_DEL(r->partitioned, p);
    c->leaving_partitioned = p;
    c->pending = 1;
    c->next_one = 0;
    change_in_steps(c, delete_some);
}

/* Without force: all partitions are asked first, or some would be deleted before one is found in
 * use. */
struct look {
    struct visit visit; /* first */
    struct change *change;
};

static void looked(struct change *c, enum tg_err e)
{
    if (e != TG_OK && c->first_error == TG_OK)
        c->first_error = e;
    if (--c->pending > 0)
        return;
    if (c->first_error != TG_OK)
        change_end(c, c->first_error);
    else
        delete_partitions(c);
}

static void look_there(struct visit *v, struct topic *t)
{
    v->err = topic_is_active(t) ? TG_EBUSY : TG_OK;
    visit_back(v);
}

static void look_back(struct visit *v)
{
    struct change *c = ((struct look *)v)->change;
    enum tg_err e = v->err;
    free(v);
    looked(c, e);
}

static bool look_at_some(struct change *c)
{
    const struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    for (int n = 0; n < SEEN_PER_TURN && c->next_one < p->partitions; n++) {
        struct place *place = partition_of(c->registry, p, c->next_one++);
        if (place == NULL || place->state != PLACE_READY)
            continue;
        struct look *l = xcalloc(1, sizeof *l);
        l->change = c;
        c->pending++;
        place_visit(place, &l->visit, look_there, look_back);
    }
    if (c->next_one < p->partitions)
        return true;
    looked(c, TG_OK);
    return false;
}

static void look_for_users(struct change *c)
{
    c->pending = 1;
    change_in_steps(c, look_at_some);
}

static void partitioned_begin_delete(struct change *c)
{
    struct registry *r = c->registry;
    struct partitioned *p = registry_partitioned(r, c->topic.full);
    if (p == NULL)
        change_end(c, TG_ENOENT);
    else if (c->force)
        delete_partitions(c);
    else
        look_for_users(c);
}

void registry_delete_partitioned(struct registry *r, const struct topic_name *n, bool force,
                                 registry_done done, void *ctx)
{
    struct change *c = change_of(r, n->full, partitioned_begin_delete, NULL, done, ctx);
    c->force = force;
    change_submit(c);
}

/* ---- policy and properties ---- */

static void partitioned_rate_stored(struct change *c, enum tg_err e)
{
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    registry_limit_changed(c->registry, c->by, "partitioned topic", p->name,
                           rate_form(c->rate_kind), &p->rate[c->rate_kind], &c->policy);
    p->rate[c->rate_kind] = c->policy;
    change_in_steps(c, apply_to_some);
}

static void partitioned_begin_set_rate(struct change *c)
{
    struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    if (p == NULL) {
        change_end(c, TG_ENOENT);
        return;
    }
    struct partitioned next = *p;
    next.rate[c->rate_kind] = c->policy;
    put_row(c, &next, MS_ANY, partitioned_rate_stored);
}

static struct change *policy_change(struct registry *r, void (*begin)(struct change *c),
                                    const struct partitioned *p, const struct rate_policy *policy,
                                    registry_done done, void *ctx)
{
    struct change *c = change_of(r, p->name, begin, NULL, done, ctx);
    if (policy != NULL)
        c->policy = *policy;
    return c;
}

void registry_set_partitioned_rate(struct registry *r, struct partitioned *p, enum rate_kind kind,
                                   const struct rate_policy *policy, registry_done done, void *ctx)
{
    struct change *c = policy_change(r, partitioned_begin_set_rate, p, policy, done, ctx);
    c->rate_kind = kind;
    change_submit(c);
}

static void partitioned_sub_rate_stored(struct change *c, enum tg_err e)
{
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    struct sub_rates *before = p->sub_rates;
    registry_sub_limit_changed(c->registry, c->by, p->name, c->name,
                               sub_rates_find(before, c->name), &c->policy);
    p->sub_rates = c->sub_rates;
    c->sub_rates = NULL;
    sub_rates_drop(before);
    change_in_steps(c, apply_to_some);
}

static void partitioned_begin_set_sub_rate(struct change *c)
{
    struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    enum tg_err e = TG_ENOENT;
    if (p != NULL)
        e = sub_rates_with(p->sub_rates, c->name, &c->policy, &c->sub_rates);
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    struct partitioned next = *p;
    next.sub_rates = c->sub_rates;
    put_row(c, &next, MS_ANY, partitioned_sub_rate_stored);
}

void registry_set_partitioned_sub_rate(struct registry *r, struct partitioned *p,
                                       const char *subscription, const struct rate_policy *policy,
                                       registry_done done, void *ctx)
{
    struct change *c = policy_change(r, partitioned_begin_set_sub_rate, p, policy, done, ctx);
    c->name = xstrdup(subscription);
    change_submit(c);
}

static void partitioned_quota_stored(struct change *c, enum tg_err e)
{
    struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    if (e == TG_OK) {
        quota_change_stored(c, "partitioned topic", p->name, p->quota_policy);
        partitioned_apply_quota(p);
    }
    change_end(c, e);
}

static void partitioned_begin_set_quota(struct change *c)
{
    struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    if (p == NULL) {
        change_end(c, TG_ENOENT);
        return;
    }
    struct partitioned next = *p;
    next.quota_policy[c->side] = c->policy;
    put_row(c, &next, MS_ANY, partitioned_quota_stored);
}

void registry_set_partitioned_quota(struct registry *r, struct partitioned *p, enum limit_side side,
                                    const struct rate_policy *policy, registry_done done, void *ctx)
{
    struct change *c = policy_change(r, partitioned_begin_set_quota, p, policy, done, ctx);
    c->side = side;
    change_submit(c);
}

static void partitioned_properties_stored(struct change *c, enum tg_err e)
{
    struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    if (e == TG_OK) {
        json_decref(p->properties);
        p->properties = json_incref(c->doc);
    }
    change_end(c, e);
}

/* What is there when its turn comes is changed: two who change different ones both have their way.
 */
static void partitioned_begin_set_properties(struct change *c)
{
    struct partitioned *p = registry_partitioned(c->registry, c->topic.full);
    if (p == NULL) {
        change_end(c, TG_ENOENT);
        return;
    }
    json_t *all = p->properties != NULL ? json_deep_copy(p->properties) : json_object();
    if (c->doc != NULL)
        json_object_update(all, c->doc);
    if (c->name != NULL)
        json_object_del(all, c->name);
    json_decref(c->doc);
    c->doc = all;
    struct partitioned next = *p;
    next.properties = all;
    put_row(c, &next, MS_ANY, partitioned_properties_stored);
}

void registry_change_partitioned_properties(struct registry *r, struct partitioned *p, json_t *set,
                                            const char *remove, registry_done done, void *ctx)
{
    struct change *c = change_of(r, p->name, partitioned_begin_set_properties, set, done, ctx);
    c->name = remove != NULL ? xstrdup(remove) : NULL;
    change_submit(c);
}
