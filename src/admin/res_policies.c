/* res_policies.c - publishRate and producerPublishRate of a namespace and of a topic; publishQuota
 * of a namespace, a tenant and a partitioned topic.
 *
 * A topic's policy on a partitioned topic's name holds for each of its partitions, also those that
 * are made later. A partition has none of its own. */
#include <stdlib.h>

#include "admin/res.h"

static const char no_ns[] = "Namespace does not exist";

/* The body as a policy; false: refused. */
static bool read_rate(struct call *c, struct rate_policy *out)
{
    json_t *body;
    if (!call_json(c, &body))
        return false;
    char *why = NULL;
    enum tg_err e = rate_policy_from_json(out, body, &why);
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

static void reply_policy(struct call *c, const struct rate_policy *p)
{
    if (p->present)
        reply_json(c, 200, rate_policy_to_json(p));
    else
        reply_status(c, 200); /* an empty body: unset, as Pulsar has it here */
}

static void set_ns_rate(struct call *c, enum rate_kind kind)
{
    struct rate_policy p;
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL && read_rate(c, &p))
        registry_set_ns_rate(res_registry(c), n, kind, &p, on_ns_policy, c);
}

static void delete_ns_rate(struct call *c, enum rate_kind kind)
{
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        registry_set_ns_rate(res_registry(c), n, kind, NULL, on_ns_policy, c);
}

void policies_ns_rate_get(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        reply_policy(c, &n->publish_rate);
}

void policies_ns_rate_set(struct call *c)
{
    set_ns_rate(c, RATE_OF_TOPIC);
}

void policies_ns_rate_delete(struct call *c)
{
    delete_ns_rate(c, RATE_OF_TOPIC);
}

void policies_ns_producer_rate_get(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        reply_policy(c, &n->producer_rate);
}

void policies_ns_producer_rate_set(struct call *c)
{
    set_ns_rate(c, RATE_OF_PRODUCER);
}

void policies_ns_producer_rate_delete(struct call *c)
{
    delete_ns_rate(c, RATE_OF_PRODUCER);
}

void policies_ns_quota_get(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        reply_policy(c, &n->publish_quota);
}

void policies_ns_quota_set(struct call *c)
{
    struct rate_policy p;
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL && read_rate(c, &p))
        registry_set_ns_publish_quota(res_registry(c), n, &p, on_ns_policy, c);
}

void policies_ns_quota_delete(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        registry_set_ns_publish_quota(res_registry(c), n, NULL, on_ns_policy, c);
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
    const struct tenant *t = find_tenant(c);
    if (t != NULL)
        reply_policy(c, &t->publish_quota);
}

void policies_tenant_quota_set(struct call *c)
{
    struct rate_policy p;
    struct tenant *t = find_tenant(c);
    if (t != NULL && read_rate(c, &p))
        registry_set_tenant_publish_quota(res_registry(c), t, &p, on_tenant_policy, c);
}

void policies_tenant_quota_delete(struct call *c)
{
    struct tenant *t = find_tenant(c);
    if (t != NULL)
        registry_set_tenant_publish_quota(res_registry(c), t, NULL, on_tenant_policy, c);
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
static struct rate_policy own_rate(const struct policy_owner *o, enum rate_kind k)
{
    if (o->place != NULL)
        return *place_own_rate(o->place, k);
    return k == RATE_OF_TOPIC ? o->partitioned->publish_rate : o->partitioned->producer_rate;
}

/* The policy in force: the topic's own, else the namespace's, else the broker's; absent: none is
 * set anywhere. */
static struct rate_policy applied_rate(struct call *c, const struct policy_owner *o,
                                       enum rate_kind k)
{
    const struct settings *s = registry_settings(res_registry(c));
    const struct ns *n = o->place != NULL ? o->place->ns : o->partitioned->ns;
    struct rate_policy own = own_rate(o, k);
    const struct rate_policy *of_ns = k == RATE_OF_TOPIC ? &n->publish_rate : &n->producer_rate;
    if (own.present || of_ns->present)
        return own.present ? own : *of_ns;
    bool of_topic = k == RATE_OF_TOPIC;
    struct tg_limit_spec spec = {
        .msgs.rate = of_topic ? s->max_topic_rate_msgs : s->max_producer_rate_msgs,
        .bytes.rate = of_topic ? s->max_topic_rate_bytes : s->max_producer_rate_bytes};
    return (struct rate_policy){.present = tg_limit_spec_is_set(&spec), .spec = spec};
}

static void get_rate(struct call *c, enum rate_kind k)
{
    struct policy_owner o;
    if (!find_owner(c, &o))
        return;
    struct rate_policy p = call_flag(c, "applied") ? applied_rate(c, &o, k) : own_rate(&o, k);
    if (p.present)
        reply_json(c, 200, rate_policy_to_json(&p));
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

static void change_rate(struct call *c, const struct policy_owner *o, enum rate_kind k,
                        const struct rate_policy *p)
{
    if (o->partitioned != NULL)
        registry_set_partitioned_rate(res_registry(c), o->partitioned, k, p, on_partitioned_rate,
                                      c);
    else
        place_set_rate(o->place, k, p, on_topic_rate, c);
}

static void set_rate(struct call *c, enum rate_kind k)
{
    struct policy_owner o;
    struct rate_policy p;
    if (find_owner(c, &o) && read_rate(c, &p))
        change_rate(c, &o, k, &p);
}

static void delete_rate(struct call *c, enum rate_kind k)
{
    struct policy_owner o;
    if (find_owner(c, &o))
        change_rate(c, &o, k, NULL);
}

void policies_topic_rate_get(struct call *c)
{
    get_rate(c, RATE_OF_TOPIC);
}

void policies_topic_rate_set(struct call *c)
{
    set_rate(c, RATE_OF_TOPIC);
}

void policies_topic_rate_delete(struct call *c)
{
    delete_rate(c, RATE_OF_TOPIC);
}

void policies_topic_producer_rate_get(struct call *c)
{
    get_rate(c, RATE_OF_PRODUCER);
}

void policies_topic_producer_rate_set(struct call *c)
{
    set_rate(c, RATE_OF_PRODUCER);
}

void policies_topic_producer_rate_delete(struct call *c)
{
    delete_rate(c, RATE_OF_PRODUCER);
}

/* ---- publishQuota of a partitioned topic ---- */

/* A topic without partitions is limited by its publishRate. */
static struct partitioned *find_partitioned(struct call *c)
{
    struct policy_owner o;
    if (!find_owner(c, &o))
        return NULL;
    if (o.partitioned == NULL)
        reply_reason(c, 412,
                     "A publish quota is of a partitioned topic; this one has a publish rate");
    return o.partitioned;
}

void policies_topic_quota_get(struct call *c)
{
    const struct partitioned *p = find_partitioned(c);
    if (p == NULL)
        return;
    if (p->publish_quota.present)
        reply_json(c, 200, rate_policy_to_json(&p->publish_quota));
    else
        reply_status(c, 204);
}

void policies_topic_quota_set(struct call *c)
{
    struct rate_policy policy;
    struct partitioned *p = find_partitioned(c);
    if (p != NULL && read_rate(c, &policy))
        registry_set_partitioned_publish_quota(res_registry(c), p, &policy, on_partitioned_rate, c);
}

void policies_topic_quota_delete(struct call *c)
{
    struct partitioned *p = find_partitioned(c);
    if (p != NULL)
        registry_set_partitioned_publish_quota(res_registry(c), p, NULL, on_partitioned_rate, c);
}
