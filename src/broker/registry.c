/* registry.c - clusters, tenants and namespaces in memory, and how they are changed.
 *
 * Invariant: what is in a map has its row in the metadata store. A change is checked when its turn
 * comes, written, and applied when the write is durable; a namespace that is being deleted leaves
 * its map before the write, so that nothing is made in it meanwhile, and comes back if the write
 * fails. */
#include "broker/registry.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/block.h"
#include "broker/chain.h"
#include "broker/group.h"
#include "broker/quotas.h"
#include "broker/registry_priv.h"

/* ---- the queue of changes ---- */

static void change_free(struct change *c)
{
    free(c->name);
    json_decref(c->doc);
    sub_rates_drop(c->sub_rates);
    topic_name_fini(&c->topic);
    block_free(c->block);
    free(c->by);
    free(c);
}

struct change *change_new(struct registry *r, void (*begin)(struct change *c), char *name,
                          json_t *doc, registry_done done, void *ctx)
{
    struct change *c = xcalloc(1, sizeof *c);
    *c = (struct change){.registry = r,
                         .begin = begin,
                         .done = done,
                         .ctx = ctx,
                         .name = name,
                         .doc = json_incref(doc),
                         .by = r->author != NULL ? xstrdup(r->author) : NULL};
    c->topic.partition = -1;
    return c;
}

void registry_set_author(struct registry *r, const char *who)
{
    free(r->author);
    r->author = who != NULL ? xstrdup(who) : NULL;
}

const char *registry_author(const struct registry *r)
{
    return r->author;
}

static void arm_pump(struct registry *r)
{
    if (r->current == NULL && r->head != NULL)
        timer_arm(r->shard->worker, &r->pump, shard_now_ns(r->shard));
}

void change_submit(struct change *c)
{
    struct registry *r = c->registry;
    if (r->waiting >= REGISTRY_CHANGES_MAX) {
        c->done(c->ctx, TG_EBUSY);
        change_free(c);
        return;
    }
    if (r->tail != NULL)
        r->tail->next = c;
    else
        r->head = c;
    r->tail = c;
    r->waiting++;
    arm_pump(r);
}

static void pump(struct timer *t, int64_t now_ns)
{
    (void)now_ns;
    struct registry *r = (struct registry *)t;
    if (r->current != NULL || r->head == NULL)
        return;
    struct change *c = r->head;
    r->head = c->next;
    if (r->head == NULL)
        r->tail = NULL;
    r->waiting--;
    r->current = c;
    c->begin(c);
}

void change_end(struct change *c, enum tg_err e)
{
    struct registry *r = c->registry;
    TG_ASSERT(r->current == c);
    r->current = NULL;
    c->done(c->ctx, e);
    change_free(c);
    arm_pump(r);
}

void change_in_steps(struct change *c, bool (*step)(struct change *c))
{
    struct registry *r = c->registry;
    r->step = step;
    if (step(c))
        timer_arm(r->shard->worker, &r->step_timer, shard_now_ns(r->shard)); /* next turn */
}

static void on_step(struct timer *t, int64_t now_ns)
{
    struct registry *r = (struct registry *)((char *)t - offsetof(struct registry, step_timer));
    (void)now_ns;
    change_in_steps(r->current, r->step);
}

static void on_stored(void *ctx, enum tg_err e, int64_t version, const char *value, size_t len)
{
    (void)version, (void)value, (void)len;
    struct change *c = ctx;
    c->stored(c, e);
}

void change_put_row(struct change *c, const char *key, json_t *row, int64_t expected,
                    void (*stored)(struct change *c, enum tg_err e))
{
    char *text = json_dumps(row, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(row);
    c->stored = stored;
    ms_put(c->registry->shard->meta, key, text, strlen(text), expected, on_stored, c);
    free(text);
}

void change_delete_row(struct change *c, const char *key,
                       void (*stored)(struct change *c, enum tg_err e))
{
    c->stored = stored;
    ms_delete(c->registry->shard->meta, key, MS_ANY, on_stored, c);
}

/* A row that was not expected there (unreadable at the start, so not in memory) is left alone. */
static enum tg_err as_exists(enum tg_err e)
{
    return e == TG_ECONFLICT ? TG_EEXIST : e;
}

/* ---- life ---- */

struct registry *registry_new(struct shard *control)
{
    struct registry *r = xcalloc(1, sizeof *r);
    r->shard = control;
    r->settings = *control->broker->settings;
    r->dynamic = json_object();
    timer_init(&r->pump, pump);
    timer_init(&r->step_timer, on_step);
    registry_blocks_init(r);
    return r;
}

static void cluster_free(struct cluster *c)
{
    json_decref(c->doc);
    free(c->name);
    free(c);
}

static void tenant_free(struct tenant *t)
{
    broker_quotas_let_go(t->quota);
    json_decref(t->doc);
    free(t->name);
    free(t);
}

static void ns_free(struct ns *n)
{
    chain_drop(n->chain);
    broker_quotas_let_go(n->quota);
    json_decref(n->doc);
    free(n->name);
    free(n);
}

void ns_free_if_gone(struct ns *n)
{
    if (n->is_gone && n->topic_count == 0)
        ns_free(n);
}

/* It is out of its map: freed now, or with its last place. */
static void ns_leave(struct ns *n)
{
    n->is_gone = true;
    if (n->group)
        n->group->attached--;
    n->group = NULL;
    ns_free_if_gone(n);
}

static void abandon(struct change *c)
{
    if (c->leaving != NULL)
        ns_leave(c->leaving);
    if (c->leaving_partitioned != NULL)
        partitioned_free(c->leaving_partitioned);
    c->done(c->ctx, TG_ECLOSED);
    change_free(c);
}

/* Changes under way end with TG_ECLOSED; the metadata port is not polled any more. */
static void abandon_changes(struct registry *r)
{
    if (r->current != NULL)
        abandon(r->current);
    struct change *next;
    for (struct change *c = r->head; c != NULL; c = next) {
        next = c->next;
        abandon(c);
    }
}

void registry_free(struct registry *r)
{
    if (r == NULL)
        return;
    abandon_changes(r);
    struct place *place, *next_place;
    HASH_ITER(hh, r->places, place, next_place)
    {
        place_free(place);
    }
    struct partitioned *p, *next_p;
    HASH_ITER(hh, r->partitioned, p, next_p)
    {
        HASH_DEL(r->partitioned, p);
        partitioned_free(p);
    }
    struct ns *n, *next_n;
    HASH_ITER(hh, r->namespaces, n, next_n)
    {
        HASH_DEL(r->namespaces, n);
        ns_free(n);
    }
    struct tenant *t, *next_t;
    HASH_ITER(hh, r->tenants, t, next_t)
    {
        HASH_DEL(r->tenants, t);
        tenant_free(t);
    }
    struct group *g, *next_g;
    HASH_ITER(hh, r->groups, g, next_g)
    {
        HASH_DEL(r->groups, g);
        group_free(g);
    }
    struct cluster *c, *next_c;
    HASH_ITER(hh, r->clusters, c, next_c)
    {
        HASH_DEL(r->clusters, c);
        cluster_free(c);
    }
    registry_blocks_free(r);
    json_decref(r->dynamic);
    free(r->author);
    free(r->load);
    free(r);
}

/* ---- reading ---- */

struct cluster *registry_cluster(struct registry *r, const char *name)
{
    struct cluster *c;
    HASH_FIND_STR(r->clusters, name, c);
    return c;
}

struct tenant *registry_tenant(struct registry *r, const char *name)
{
    struct tenant *t;
    HASH_FIND_STR(r->tenants, name, t);
    return t;
}

struct ns *registry_ns(struct registry *r, const char *name)
{
    struct ns *n;
    HASH_FIND_STR(r->namespaces, name, n);
    return n;
}

struct partitioned *registry_partitioned(struct registry *r, const char *full_name)
{
    struct partitioned *p;
    HASH_FIND_STR(r->partitioned, full_name, p);
    return p;
}

struct cluster *registry_clusters(struct registry *r)
{
    return r->clusters;
}

struct tenant *registry_tenants(struct registry *r)
{
    return r->tenants;
}

struct ns *registry_namespaces(struct registry *r)
{
    return r->namespaces;
}

struct partitioned *registry_all_partitioned(struct registry *r)
{
    return r->partitioned;
}

/* ---- into memory ---- */

static struct quotas *quotas_of(const struct registry *r)
{
    return r->shard->broker->quotas;
}

struct cluster *registry_add_cluster(struct registry *r, const char *name, json_t *doc)
{
    struct cluster *c = xcalloc(1, sizeof *c);
    c->name = xstrdup(name);
    c->doc = json_incref(doc);
    HASH_ADD_KEYPTR(hh, r->clusters, c->name, strlen(c->name), c);
    return c;
}

struct tenant *registry_add_tenant(struct registry *r, const char *name, json_t *doc)
{
    struct tenant *t = xcalloc(1, sizeof *t);
    t->name = xstrdup(name);
    t->doc = json_incref(doc);
    broker_quotas_new(t->quota, quotas_of(r), SCOPE_TENANT, t->name);
    HASH_ADD_KEYPTR(hh, r->tenants, t->name, strlen(t->name), t);
    return t;
}

struct ns *registry_add_ns(struct registry *r, struct tenant *t, const char *name, json_t *doc)
{
    struct ns *n = xcalloc(1, sizeof *n);
    n->name = xstrdup(name);
    n->tenant = t;
    n->doc = doc != NULL ? json_incref(doc) : json_object();
    t->namespaces++;
    broker_quotas_new(n->quota, quotas_of(r), SCOPE_NAMESPACE, n->name);
    n->chain = chain_new(n, NULL);
    HASH_ADD_KEYPTR(hh, r->namespaces, n->name, strlen(n->name), n);
    return n;
}

/* ---- clusters ---- */

static void cluster_stored(struct change *c, enum tg_err e)
{
    struct registry *r = c->registry;
    struct cluster *old = registry_cluster(r, c->name);
    if (e == TG_OK && old != NULL) {
        json_decref(old->doc);
        old->doc = json_incref(c->doc);
    } else if (e == TG_OK) {
        registry_add_cluster(r, c->name, c->doc);
    }
    change_end(c, e);
}

static void cluster_begin_put(struct change *c)
{
    char *key = xasprintf("cluster/%s", c->name);
    change_put_row(c, key, json_incref(c->doc), MS_ANY, cluster_stored);
    free(key);
}

void registry_put_cluster(struct registry *r, const char *name, json_t *doc, registry_done done,
                          void *ctx)
{
    change_submit(change_new(r, cluster_begin_put, xstrdup(name), doc, done, ctx));
}

static void cluster_deleted(struct change *c, enum tg_err e)
{
    struct cluster *old = registry_cluster(c->registry, c->name);
    if (e == TG_OK && old != NULL) {
        HASH_DEL(c->registry->clusters, old);
        cluster_free(old);
    }
    change_end(c, e);
}

static void cluster_begin_delete(struct change *c)
{
    if (registry_cluster(c->registry, c->name) == NULL) {
        change_end(c, TG_ENOENT);
        return;
    }
    if (strcmp(c->name, c->registry->shard->broker->settings->cluster_name) == 0) {
        change_end(c, TG_EBUSY); /* everything here lives in it */
        return;
    }
    char *key = xasprintf("cluster/%s", c->name);
    change_delete_row(c, key, cluster_deleted);
    free(key);
}

void registry_delete_cluster(struct registry *r, const char *name, registry_done done, void *ctx)
{
    change_submit(change_new(r, cluster_begin_delete, xstrdup(name), NULL, done, ctx));
}

/* ---- tenants ---- */

void change_put_tenant(struct change *c, const struct tenant *next, int64_t expected,
                       void (*stored)(struct change *c, enum tg_err e))
{
    char *key = xasprintf("tenant/%s", c->name);
    change_put_row(c, key, tenant_row(next), expected, stored);
    free(key);
}

static void tenant_stored(struct change *c, enum tg_err e)
{
    struct tenant *old = registry_tenant(c->registry, c->name);
    if (e == TG_OK && old != NULL) {
        json_decref(old->doc);
        old->doc = json_incref(c->doc);
    } else if (e == TG_OK) {
        registry_add_tenant(c->registry, c->name, c->doc);
    }
    change_end(c, as_exists(e));
}

static void tenant_begin_put(struct change *c)
{
    const struct tenant *t = registry_tenant(c->registry, c->name);
    struct tenant next = t != NULL ? *t : (struct tenant){0};
    if ((t != NULL) == c->is_new) {
        change_end(c, t != NULL ? TG_EEXIST : TG_ENOENT);
        return;
    }
    next.doc = c->doc;
    change_put_tenant(c, &next, c->is_new ? MS_ABSENT : MS_ANY, tenant_stored);
}

void registry_put_tenant(struct registry *r, const char *name, json_t *doc, bool is_new,
                         registry_done done, void *ctx)
{
    struct change *c = change_new(r, tenant_begin_put, xstrdup(name), doc, done, ctx);
    c->is_new = is_new;
    change_submit(c);
}

static void tenant_deleted(struct change *c, enum tg_err e)
{
    struct tenant *old = registry_tenant(c->registry, c->name);
    if (e == TG_OK && old != NULL) {
        HASH_DEL(c->registry->tenants, old);
        if (old->group != NULL)
            old->group->attached--;
        tenant_free(old);
    }
    change_end(c, e);
}

static void tenant_begin_delete(struct change *c)
{
    struct tenant *t = registry_tenant(c->registry, c->name);
    if (t == NULL || t->namespaces > 0) {
        change_end(c, t == NULL ? TG_ENOENT : TG_EBUSY);
        return;
    }
    char *key = xasprintf("tenant/%s", c->name);
    change_delete_row(c, key, tenant_deleted);
    free(key);
}

void registry_delete_tenant(struct registry *r, const char *name, registry_done done, void *ctx)
{
    change_submit(change_new(r, tenant_begin_delete, xstrdup(name), NULL, done, ctx));
}

/* ---- namespaces ---- */

void change_put_ns(struct change *c, const struct ns *next, int64_t expected,
                   void (*stored)(struct change *c, enum tg_err e))
{
    char *key = xasprintf("namespace/%s", c->name);
    change_put_row(c, key, ns_row(next, c->registry->settings.cluster_name), expected, stored);
    free(key);
}

static struct tenant *tenant_of(struct registry *r, const char *ns_name)
{
    const char *slash = strchr(ns_name, '/');
    if (slash == NULL)
        return NULL;
    struct tenant *t;
    HASH_FIND(hh, r->tenants, ns_name, (size_t)(slash - ns_name), t);
    return t;
}

static void ns_created(struct change *c, enum tg_err e)
{
    struct registry *r = c->registry;
    if (e == TG_OK)
        ns_apply_quota(registry_add_ns(r, tenant_of(r, c->name), c->name, c->doc));
    change_end(c, as_exists(e));
}

static void ns_begin_create(struct change *c)
{
    bool exists = registry_ns(c->registry, c->name) != NULL;
    if (exists || tenant_of(c->registry, c->name) == NULL) {
        change_end(c, exists ? TG_EEXIST : TG_ENOENT);
        return;
    }
    const struct ns next = {.doc = c->doc};
    change_put_ns(c, &next, MS_ABSENT, ns_created);
}

void registry_create_ns(struct registry *r, const char *name, json_t *doc, registry_done done,
                        void *ctx)
{
    change_submit(change_new(r, ns_begin_create, xstrdup(name), doc, done, ctx));
}

static void ns_deleted(struct change *c, enum tg_err e)
{
    struct ns *n = c->leaving;
    c->leaving = NULL;
    if (e == TG_OK) {
        n->tenant->namespaces--;
        ns_leave(n);
    } else {
        HASH_ADD_KEYPTR(hh, c->registry->namespaces, n->name, strlen(n->name), n);
    }
    change_end(c, e);
}

/* What is ENDING is no topic any more, for whoever deleted it. */
static bool ns_is_empty(struct registry *r, const struct ns *n)
{
    for (const struct place *p = n->places; p != NULL; p = p->ns_next)
        if (p->state != PLACE_ENDING)
            return false;
    for (struct partitioned *p = r->partitioned; p != NULL; p = p->hh.next)
        if (p->ns == n)
            return false;
    return true;
}

static void ns_begin_delete(struct change *c)
{
    struct ns *n = registry_ns(c->registry, c->name);
    if (n == NULL || !ns_is_empty(c->registry, n)) {
        change_end(c, n == NULL ? TG_ENOENT : TG_EBUSY);
        return;
    }
    HASH_DEL(c->registry->namespaces, n);
    c->leaving = n;
    char *key = xasprintf("namespace/%s", c->name);
    change_delete_row(c, key, ns_deleted);
    free(key);
}

void registry_delete_ns(struct registry *r, const char *name, registry_done done, void *ctx)
{
    change_submit(change_new(r, ns_begin_delete, xstrdup(name), NULL, done, ctx));
}
