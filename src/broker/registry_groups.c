/* registry_groups.c - resource groups: made, changed, deleted, hung on namespaces and tenants.
 *
 * Invariant: a group that is hung on anything is in its map, and so has its row. Where one is hung
 * or taken off, the chains of all topics below are made anew and given to them some per turn
 * (change_apply_to_all); who makes a topic meanwhile takes the new chain. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "broker/chain.h"
#include "broker/group.h"
#include "broker/quotas.h"
#include "broker/registry_priv.h"

/* ---- in memory ---- */

struct group *registry_group(struct registry *r, const char *name)
{
    struct group *g;
    HASH_FIND_STR(r->groups, name, g);
    return g;
}

struct group *registry_groups(struct registry *r)
{
    return r->groups;
}

/* Of a document that has passed group_doc_check; NULL: none. */
static struct rate_policy policy_of(const json_t *doc, enum limit_side k)
{
    struct rate_policy p = {0};
    char *why;
    enum tg_err e = doc != NULL ? group_doc_policy(doc, k, &p, &why) : TG_OK;
    TG_ASSERT(e == TG_OK);
    return p;
}

static void take_doc(struct group *g, json_t *doc)
{
    json_t *before = g->doc;
    g->doc = json_incref(doc);
    json_decref(before);
    for (int k = 0; k < LIMIT_SIDES; k++) {
        struct rate_policy p = policy_of(doc, (enum limit_side)k);
        broker_quota_set(g->quota[k], &p, LIMIT_FROM_GROUP);
    }
}

struct group *registry_add_group(struct registry *r, const char *name, json_t *doc)
{
    struct group *g = xcalloc(1, sizeof *g);
    g->name = xstrdup(name);
    broker_quotas_new(g->quota, r->shard->broker->quotas, SCOPE_RESOURCE_GROUP, name);
    HASH_ADD_KEYPTR(hh, r->groups, g->name, strlen(g->name), g);
    take_doc(g, doc);
    return g;
}

void group_free(struct group *g)
{
    broker_quotas_let_go(g->quota);
    json_decref(g->doc);
    free(g->name);
    free(g);
}

/* ---- hung on what ---- */

static void hang(struct group **at, struct group *g)
{
    if (*at != NULL)
        (*at)->attached--;
    if (g != NULL)
        g->attached++;
    *at = g;
}

static void replace(struct chain **at, struct chain *with)
{
    chain_drop(*at);
    *at = with;
}

void ns_make_chains(struct registry *r, struct ns *n)
{
    replace(&n->chain, chain_new(n, NULL));
    for (struct partitioned *p = r->partitioned; p != NULL; p = p->hh.next)
        if (p->ns == n)
            replace(&p->chain, chain_new(n, p));
}

void ns_hang(struct registry *r, struct ns *n, struct group *g)
{
    hang(&n->group, g);
    ns_make_chains(r, n);
}

/* Not one namespace after the other: each would look through all partitioned topics. */
void tenant_hang(struct registry *r, struct tenant *t, struct group *g)
{
    hang(&t->group, g);
    for (struct ns *n = r->namespaces; n != NULL; n = n->hh.next)
        if (n->tenant == t)
            replace(&n->chain, chain_new(n, NULL));
    for (struct partitioned *p = r->partitioned; p != NULL; p = p->hh.next)
        if (p->ns->tenant == t)
            replace(&p->chain, chain_new(p->ns, p));
}

/* ---- made, changed, deleted ---- */

static void group_stored(struct change *c, enum tg_err e)
{
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    struct group *g = registry_group(c->registry, c->name);
    for (int k = 0; k < LIMIT_SIDES; k++) {
        struct rate_policy from = policy_of(g != NULL ? g->doc : NULL, (enum limit_side)k);
        struct rate_policy to = policy_of(c->doc, (enum limit_side)k);
        registry_limit_changed(c->registry, c->by, "resource group", c->name,
                               rate_form(k == SIDE_DISPATCH ? RATE_OF_DISPATCH : RATE_OF_TOPIC),
                               &from, &to);
    }
    if (g != NULL)
        take_doc(g, c->doc);
    else
        registry_add_group(c->registry, c->name, c->doc);
    change_end(c, TG_OK);
}

static void group_begin_put(struct change *c)
{
    struct group *g = registry_group(c->registry, c->name);
    if (g != NULL) {
        json_t *whole = json_copy(g->doc);
        json_object_update(whole, c->doc);
        json_decref(c->doc);
        c->doc = whole;
    }
    char *why;
    enum tg_err e = group_doc_check(c->doc, &why);
    free(why);
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    char *key = xasprintf("resourcegroup/%s", c->name);
    change_put_row(c, key, json_incref(c->doc), MS_ANY, group_stored);
    free(key);
}

void registry_put_group(struct registry *r, const char *name, json_t *doc, registry_done done,
                        void *ctx)
{
    change_submit(change_new(r, group_begin_put, xstrdup(name), doc, done, ctx));
}

static void group_deleted(struct change *c, enum tg_err e)
{
    struct group *g = registry_group(c->registry, c->name);
    if (e == TG_OK && g != NULL) {
        HASH_DEL(c->registry->groups, g);
        group_free(g);
    }
    change_end(c, e);
}

static void group_begin_delete(struct change *c)
{
    struct group *g = registry_group(c->registry, c->name);
    if (g == NULL || g->attached > 0) {
        change_end(c, g == NULL ? TG_ENOENT : TG_EBUSY);
        return;
    }
    char *key = xasprintf("resourcegroup/%s", c->name);
    change_delete_row(c, key, group_deleted);
    free(key);
}

void registry_delete_group(struct registry *r, const char *name, registry_done done, void *ctx)
{
    change_submit(change_new(r, group_begin_delete, xstrdup(name), NULL, done, ctx));
}

/* ---- hung on a namespace or a tenant: <c->doc> is the group's name, or NULL ---- */

/* False: it has gone. */
static bool group_wanted(struct change *c, struct group **out)
{
    *out = c->doc != NULL ? registry_group(c->registry, json_string_value(c->doc)) : NULL;
    return *out != NULL || c->doc == NULL;
}

static void ns_group_stored(struct change *c, enum tg_err e)
{
    struct ns *n = registry_ns(c->registry, c->name);
    struct group *g;
    if (e != TG_OK || !group_wanted(c, &g)) {
        change_end(c, e);
        return;
    }
    ns_hang(c->registry, n, g);
    change_apply_to_all(c, n, NULL);
}

static void ns_begin_set_group(struct change *c)
{
    struct ns *n = registry_ns(c->registry, c->name);
    struct group *g;
    if (n == NULL || !group_wanted(c, &g)) {
        change_end(c, TG_ENOENT);
        return;
    }
    struct ns next = *n;
    next.group = g;
    change_put_ns(c, &next, MS_ANY, ns_group_stored);
}

static void tenant_group_stored(struct change *c, enum tg_err e)
{
    struct tenant *t = registry_tenant(c->registry, c->name);
    struct group *g;
    if (e != TG_OK || !group_wanted(c, &g)) {
        change_end(c, e);
        return;
    }
    tenant_hang(c->registry, t, g);
    change_apply_to_all(c, NULL, t);
}

static void tenant_begin_set_group(struct change *c)
{
    struct tenant *t = registry_tenant(c->registry, c->name);
    struct group *g;
    if (t == NULL || !group_wanted(c, &g)) {
        change_end(c, TG_ENOENT);
        return;
    }
    struct tenant next = *t;
    next.group = g;
    change_put_tenant(c, &next, MS_ANY, tenant_group_stored);
}

static void submit(struct registry *r, void (*begin)(struct change *c), const char *of,
                   const char *group, registry_done done, void *ctx)
{
    json_t *name = group != NULL ? json_string(group) : NULL;
    change_submit(change_new(r, begin, xstrdup(of), name, done, ctx));
    json_decref(name);
}

void registry_set_ns_group(struct registry *r, struct ns *ns, const char *group, registry_done done,
                           void *ctx)
{
    submit(r, ns_begin_set_group, ns->name, group, done, ctx);
}

void registry_set_tenant_group(struct registry *r, struct tenant *t, const char *group,
                               registry_done done, void *ctx)
{
    submit(r, tenant_begin_set_group, t->name, group, done, ctx);
}
