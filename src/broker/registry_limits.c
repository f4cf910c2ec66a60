/* registry_limits.c - limits of many topics at once: a namespace's publish rate, and quotas.
 *
 * Invariant: a change ends when every topic has been given what it changes. Topics are given it
 * some per turn, so that nobody's messages wait for it; one that is made meanwhile has it from the
 * start. There is one such round at a time, as there is one change. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/quotas.h"
#include "broker/registry_priv.h"

enum { APPLIED_PER_TURN = 500 }; /* topics: some 100 us */

/* ---- who changed what ---- */

void registry_limit_changed(struct registry *r, const char *by, const char *kind, const char *name,
                            const struct policy_form *policy, const struct rate_policy *from,
                            const struct rate_policy *to)
{
    if (rate_policy_equal(from, to))
        return;
    event_post(r->shard, EVENT_LIMIT_CHANGED,
               json_pack("{s:s?,s:s,s:s,s:s,s:o,s:o}", "by", by, "kind", kind, "name", name,
                         "policy", policy->name, "from",
                         from->present ? policy_to_json(policy, from) : json_null(), "to",
                         to->present ? policy_to_json(policy, to) : json_null()));
}

void registry_sub_limit_changed(struct registry *r, const char *by, const char *topic,
                                const char *subscription, const struct rate_policy *from,
                                const struct rate_policy *to)
{
    char *name = xasprintf("%s %s", topic, subscription);
    registry_limit_changed(r, by, "subscription", name, rate_form(RATE_OF_DISPATCH), from, to);
    free(name);
}

/* ---- the rounds ---- */

static struct place *next_place(const struct registry *r, const struct place *p)
{
    return r->round.ns != NULL ? p->ns_next : p->hh.next;
}

static bool apply_some(struct change *c)
{
    struct registry *r = c->registry;
    for (int i = 0; i < APPLIED_PER_TURN && r->round.at != NULL; i++) {
        struct place *p = r->round.at;
        r->round.at = next_place(r, p);
        if (r->round.tenant == NULL || p->ns->tenant == r->round.tenant)
            place_apply_policies(p);
    }
    if (r->round.at != NULL)
        return true;
    change_end(c, TG_OK);
    return false;
}

void round_skip(struct registry *r, const struct place *p)
{
    if (r->round.at == p)
        r->round.at = next_place(r, p);
}

void change_apply_to_all(struct change *c, struct ns *ns, struct tenant *tenant)
{
    struct registry *r = c->registry;
    r->round.ns = ns;
    r->round.tenant = tenant;
    r->round.at = ns != NULL ? ns->places : r->places;
    change_in_steps(c, apply_some);
}

/* ---- a namespace's rates ---- */

static void ns_rate_stored(struct change *c, enum tg_err e)
{
    if (e != TG_OK) {
        change_end(c, e);
        return;
    }
    struct ns *n = registry_ns(c->registry, c->name);
    registry_limit_changed(c->registry, c->by, "namespace", n->name, rate_form(c->rate_kind),
                           &n->rate[c->rate_kind], &c->policy);
    n->rate[c->rate_kind] = c->policy;
    change_apply_to_all(c, n, NULL);
}

static void ns_begin_set_rate(struct change *c)
{
    struct ns *n = registry_ns(c->registry, c->name);
    if (n == NULL) {
        change_end(c, TG_ENOENT);
        return;
    }
    struct ns next = *n;
    next.rate[c->rate_kind] = c->policy;
    change_put_ns(c, &next, MS_ANY, ns_rate_stored);
}

static struct change *policy_change(struct registry *r, void (*begin)(struct change *c),
                                    const char *of, const struct rate_policy *p, registry_done done,
                                    void *ctx)
{
    struct change *c = change_new(r, begin, xstrdup(of), NULL, done, ctx);
    if (p != NULL)
        c->policy = *p;
    return c;
}

void registry_set_ns_rate(struct registry *r, struct ns *ns, enum rate_kind kind,
                          const struct rate_policy *p, registry_done done, void *ctx)
{
    struct change *c = policy_change(r, ns_begin_set_rate, ns->name, p, done, ctx);
    c->rate_kind = kind;
    change_submit(c);
}

/* ---- quotas ---- */

static void set_quotas(struct broker_quota *const quota[LIMIT_SIDES],
                       const struct rate_policy policy[LIMIT_SIDES], enum limit_source source)
{
    for (int side = 0; side < LIMIT_SIDES; side++)
        broker_quota_set(quota[side], &policy[side], source);
}

static struct rate_policy total_of(int64_t msgs, int64_t bytes)
{
    return (struct rate_policy){.present = msgs > 0 || bytes > 0,
                                .spec = {.msgs.rate = msgs, .bytes.rate = bytes}};
}

void broker_apply_quota(struct registry *r)
{
    const struct settings *set = &r->settings;
    const struct rate_policy policy[LIMIT_SIDES] = {
        [SIDE_PUBLISH] = total_of(set->broker_quota_msgs, set->broker_quota_bytes),
        [SIDE_DISPATCH] = total_of(set->broker_dispatch_msgs, set->broker_dispatch_bytes)};
    set_quotas(r->shard->broker->quotas->broker, policy, LIMIT_FROM_BROKER);
}

void tenant_apply_quota(struct tenant *t)
{
    set_quotas(t->quota, t->quota_policy, LIMIT_FROM_TENANT);
}

void ns_apply_quota(struct ns *n)
{
    set_quotas(n->quota, n->quota_policy, LIMIT_FROM_NAMESPACE);
}

void partitioned_apply_quota(struct partitioned *p)
{
    set_quotas(p->quota, p->quota_policy, LIMIT_FROM_TOPIC);
}

void quota_change_stored(struct change *c, const char *kind, const char *name,
                         struct rate_policy policy[LIMIT_SIDES])
{
    registry_limit_changed(c->registry, c->by, kind, name, quota_form(c->side), &policy[c->side],
                           &c->policy);
    policy[c->side] = c->policy;
}

static void ns_quota_stored(struct change *c, enum tg_err e)
{
    struct ns *n = registry_ns(c->registry, c->name);
    if (e == TG_OK) {
        quota_change_stored(c, "namespace", n->name, n->quota_policy);
        ns_apply_quota(n);
    }
    change_end(c, e);
}

static void ns_begin_set_quota(struct change *c)
{
    struct ns *n = registry_ns(c->registry, c->name);
    if (n == NULL) {
        change_end(c, TG_ENOENT);
        return;
    }
    struct ns next = *n;
    next.quota_policy[c->side] = c->policy;
    change_put_ns(c, &next, MS_ANY, ns_quota_stored);
}

void registry_set_ns_quota(struct registry *r, struct ns *ns, enum limit_side side,
                           const struct rate_policy *p, registry_done done, void *ctx)
{
    struct change *c = policy_change(r, ns_begin_set_quota, ns->name, p, done, ctx);
    c->side = side;
    change_submit(c);
}

static void tenant_quota_stored(struct change *c, enum tg_err e)
{
    struct tenant *t = registry_tenant(c->registry, c->name);
    if (e == TG_OK) {
        quota_change_stored(c, "tenant", t->name, t->quota_policy);
        tenant_apply_quota(t);
    }
    change_end(c, e);
}

static void tenant_begin_set_quota(struct change *c)
{
    struct tenant *t = registry_tenant(c->registry, c->name);
    if (t == NULL) {
        change_end(c, TG_ENOENT);
        return;
    }
    struct tenant next = *t;
    next.quota_policy[c->side] = c->policy;
    change_put_tenant(c, &next, MS_ANY, tenant_quota_stored);
}

void registry_set_tenant_quota(struct registry *r, struct tenant *t, enum limit_side side,
                               const struct rate_policy *p, registry_done done, void *ctx)
{
    struct change *c = policy_change(r, tenant_begin_set_quota, t->name, p, done, ctx);
    c->side = side;
    change_submit(c);
}
