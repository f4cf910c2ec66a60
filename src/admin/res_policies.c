/* res_policies.c - the policies that limit a rate: of a namespace and of a topic; and the quotas of
 * a namespace, a tenant and a partitioned topic. Each handler serves all of one owner: which is
 * asked for is the last word of the path (policy_json.h).
 *
 * A topic's policy on a partitioned topic's name holds for each of its partitions, also those that
 * are made later. A partition has none of its own. */
#include <stdlib.h>
#include <string.h>

#include "admin/res.h"

static const char no_ns[] = "Namespace does not exist";

static const char *last_word(const struct call *c)
{
    return c->uri.segment[c->uri.segments - 1];
}

/* The one that the path names: the routes name no others. */
static enum rate_kind rate_asked(const struct call *c)
{
    int k = 0;
    while (k < RATE_KINDS - 1 && strcmp(rate_form((enum rate_kind)k)->name, last_word(c)) != 0)
        k++;
    return (enum rate_kind)k;
}

static enum limit_side quota_asked(const struct call *c)
{
    bool of_dispatch = strcmp(quota_form(SIDE_DISPATCH)->name, last_word(c)) == 0;
    return of_dispatch ? SIDE_DISPATCH : SIDE_PUBLISH;
}

/* The body as a policy; false: refused. */
static bool read_policy(struct call *c, const struct policy_form *f, struct rate_policy *out)
{
    json_t *body;
    if (!call_json(c, &body))
        return false;
    char *why = NULL;
    enum tg_err e = policy_from_json(f, out, body, &why);
    json_decref(body);
    if (e != TG_OK)
        reply_reason(c, e == TG_ERANGE ? 412 : 400, "%s", why);
    free(why);
    return e == TG_OK;
}

/* ---- namespace ---- */

static void on_ns_policy(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_ENOENT)
        reply_reason(c, 404, "%s", no_ns);
    else
        reply_err(c, e);
}

static void reply_policy(struct call *c, const struct policy_form *f, const struct rate_policy *p)
{
    if (p->present)
        reply_json(c, 200, policy_to_json(f, p));
    else
        reply_status(c, 200); /* an empty body: unset, as Pulsar has it here */
}

void policies_ns_rate_get(struct call *c)
{
    enum rate_kind k = rate_asked(c);
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        reply_policy(c, rate_form(k), &n->rate[k]);
}

void policies_ns_rate_set(struct call *c)
{
    enum rate_kind k = rate_asked(c);
    struct rate_policy p;
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL && read_policy(c, rate_form(k), &p))
        registry_set_ns_rate(res_registry(c), n, k, &p, on_ns_policy, c);
}

void policies_ns_rate_delete(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        registry_set_ns_rate(res_registry(c), n, rate_asked(c), NULL, on_ns_policy, c);
}

void policies_ns_quota_get(struct call *c)
{
    enum limit_side k = quota_asked(c);
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        reply_policy(c, quota_form(k), &n->quota_policy[k]);
}

void policies_ns_quota_set(struct call *c)
{
    enum limit_side k = quota_asked(c);
    struct rate_policy p;
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL && read_policy(c, quota_form(k), &p))
        registry_set_ns_quota(res_registry(c), n, k, &p, on_ns_policy, c);
}

void policies_ns_quota_delete(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        registry_set_ns_quota(res_registry(c), n, quota_asked(c), NULL, on_ns_policy, c);
}

/* ---- tenant ---- */

static const char no_tenant[] = "Tenant does not exist";

static struct tenant *find_tenant(struct call *c)
{
    struct tenant *t = registry_tenant(res_registry(c), call_capture(c, CAP_TENANT));
    if (t == NULL)
        reply_reason(c, 404, "%s", no_tenant);
    return t;
}

static void on_tenant_policy(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_ENOENT)
        reply_reason(c, 404, "%s", no_tenant);
    else
        reply_err(c, e);
}

void policies_tenant_quota_get(struct call *c)
{
    enum limit_side k = quota_asked(c);
    const struct tenant *t = find_tenant(c);
    if (t != NULL)
        reply_policy(c, quota_form(k), &t->quota_policy[k]);
}

void policies_tenant_quota_set(struct call *c)
{
    enum limit_side k = quota_asked(c);
    struct rate_policy p;
    struct tenant *t = find_tenant(c);
    if (t != NULL && read_policy(c, quota_form(k), &p))
        registry_set_tenant_quota(res_registry(c), t, k, &p, on_tenant_policy, c);
}

void policies_tenant_quota_delete(struct call *c)
{
    struct tenant *t = find_tenant(c);
    if (t != NULL)
        registry_set_tenant_quota(res_registry(c), t, quota_asked(c), NULL, on_tenant_policy, c);
}

/* ---- topic ---- */

/* Whose policy the path names: one of the two is set. */
struct policy_owner {
    struct partitioned *partitioned;
    struct place *place;
};

static bool find_owner(struct call *c, struct policy_owner *o)
{
    *o = (struct policy_owner){0};
    if (!res_topic_name(c))
        return false;
    o->partitioned = registry_partitioned(res_registry(c), c->topic.full);
    if (o->partitioned != NULL)
        return true;
    if (c->topic.partitioned != NULL &&
        registry_partitioned(res_registry(c), c->topic.partitioned) != NULL) {
        reply_reason(c, 412, "Not allowed to set/get topic policy for a partition");
        return false;
    }
    o->place = place_find_ready(res_registry(c), c->topic.full);
    if (o->place == NULL)
        res_no_topic(c);
    return o->place != NULL;
}

/* The owner's own policy. */
static const struct rate_policy *own_rate(const struct policy_owner *o, enum rate_kind k)
{
    return o->place != NULL ? place_own_rate(o->place, k) : &o->partitioned->rate[k];
}

/* The policy in force: the topic's own, else the namespace's, else the broker's; absent: none is
 * set anywhere. */
static struct rate_policy applied_rate(struct call *c, const struct policy_owner *o,
                                       enum rate_kind k)
{
    const struct ns *n = o->place != NULL ? o->place->ns : o->partitioned->ns;
    const struct rate_policy *own = own_rate(o, k);
    if (own->present || n->rate[k].present)
        return own->present ? *own : n->rate[k];
    return settings_rate(registry_settings(res_registry(c)), k);
}

void policies_topic_rate_get(struct call *c)
{
    enum rate_kind k = rate_asked(c);
    struct policy_owner o;
    if (!find_owner(c, &o))
        return;
    struct rate_policy p = call_flag(c, "applied") ? applied_rate(c, &o, k) : *own_rate(&o, k);
    if (p.present)
        reply_json(c, 200, policy_to_json(rate_form(k), &p));
    else
        reply_status(c, 204);
}

static void on_topic_rate(void *ctx, struct place *p, enum tg_err e)
{
    (void)p;
    reply_err(ctx, e);
}

static void on_partitioned_rate(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_ENOENT)
        res_no_topic(c);
    else
        reply_err(c, e);
}

static void change_rate(struct call *c, const struct policy_owner *o, const struct rate_policy *p)
{
    enum rate_kind k = rate_asked(c);
    if (o->partitioned != NULL)
        registry_set_partitioned_rate(res_registry(c), o->partitioned, k, p, on_partitioned_rate,
                                      c);
    else
        place_set_rate(o->place, k, p, on_topic_rate, c);
}

void policies_topic_rate_set(struct call *c)
{
    struct policy_owner o;
    struct rate_policy p;
    if (find_owner(c, &o) && read_policy(c, rate_form(rate_asked(c)), &p))
        change_rate(c, &o, &p);
}

void policies_topic_rate_delete(struct call *c)
{
    struct policy_owner o;
    if (find_owner(c, &o))
        change_rate(c, &o, NULL);
}

/* ---- one subscription's ---- */

static const char *subscription_of(const struct call *c)
{
    return call_capture(c, CAP_SUB);
}

static const struct rate_policy *own_sub_rate(const struct call *c, const struct policy_owner *o)
{
    return o->place != NULL ? place_own_sub_rate(o->place, subscription_of(c))
                            : sub_rates_find(o->partitioned->sub_rates, subscription_of(c));
}

void policies_sub_rate_get(struct call *c)
{
    struct policy_owner o;
    if (!find_owner(c, &o))
        return;
    struct rate_policy p = *own_sub_rate(c, &o);
    if (!p.present && call_flag(c, "applied"))
        p = applied_rate(c, &o, RATE_OF_SUBSCRIPTION);
    if (p.present)
        reply_json(c, 200, policy_to_json(rate_form(RATE_OF_DISPATCH), &p));
    else
        reply_status(c, 204);
}

static void reply_sub_rate(struct call *c, enum tg_err e)
{
    if (e == TG_ELIMIT)
        reply_reason(c, 412, "%d subscriptions of this topic have a rate of their own: no more may",
                     SUB_RATES_MAX);
    else if (e == TG_ENOENT)
        res_no_topic(c);
    else
        reply_err(c, e);
}

static void on_sub_rate(void *ctx, struct place *p, enum tg_err e)
{
    (void)p;
    reply_sub_rate(ctx, e);
}

static void on_partitioned_sub_rate(void *ctx, enum tg_err e)
{
    reply_sub_rate(ctx, e);
}

static void change_sub_rate(struct call *c, const struct policy_owner *o,
                            const struct rate_policy *p)
{
    if (o->partitioned != NULL)
        registry_set_partitioned_sub_rate(res_registry(c), o->partitioned, subscription_of(c), p,
                                          on_partitioned_sub_rate, c);
    else
        place_set_sub_rate(o->place, subscription_of(c), p, on_sub_rate, c);
}

void policies_sub_rate_set(struct call *c)
{
    struct policy_owner o;
    struct rate_policy p;
    if (find_owner(c, &o) && read_policy(c, rate_form(RATE_OF_DISPATCH), &p))
        change_sub_rate(c, &o, &p);
}

void policies_sub_rate_delete(struct call *c)
{
    struct policy_owner o;
    if (find_owner(c, &o))
        change_sub_rate(c, &o, NULL);
}

/* ---- the quotas of a partitioned topic ---- */

/* A topic without partitions is limited by its rates. */
static struct partitioned *find_partitioned(struct call *c)
{
    struct policy_owner o;
    if (!find_owner(c, &o))
        return NULL;
    if (o.partitioned == NULL)
        reply_reason(
            c, 412, "A %s is of a partitioned topic; this one has a %s",
            quota_form(quota_asked(c))->name,
            rate_form(quota_asked(c) == SIDE_DISPATCH ? RATE_OF_DISPATCH : RATE_OF_TOPIC)->name);
    return o.partitioned;
}

void policies_topic_quota_get(struct call *c)
{
    enum limit_side k = quota_asked(c);
    const struct partitioned *p = find_partitioned(c);
    if (p == NULL)
        return;
    if (p->quota_policy[k].present)
        reply_json(c, 200, policy_to_json(quota_form(k), &p->quota_policy[k]));
    else
        reply_status(c, 204);
}

void policies_topic_quota_set(struct call *c)
{
    enum limit_side k = quota_asked(c);
    struct rate_policy policy;
    struct partitioned *p = find_partitioned(c);
    if (p != NULL && read_policy(c, quota_form(k), &policy))
        registry_set_partitioned_quota(res_registry(c), p, k, &policy, on_partitioned_rate, c);
}

void policies_topic_quota_delete(struct call *c)
{
    struct partitioned *p = find_partitioned(c);
    if (p != NULL)
        registry_set_partitioned_quota(res_registry(c), p, quota_asked(c), NULL,
                                       on_partitioned_rate, c);
}
