/* registry_rows.c - what is stored of tenants, namespaces and partitioned topics, and its policies
 * read back.
 *
 * A namespace's rates of dispatch and of subscribing are kept by cluster, as Pulsar's are: those of
 * this broker's cluster are in force, those of others stay in the row as they were set. */
#include "broker/group.h"
#include "broker/registry_priv.h"

static void put_group(json_t *row, const struct group *g)
{
    if (g != NULL)
        json_object_set_new(row, "resourceGroup", json_string(g->name));
}

static void put_quotas(json_t *row, const struct rate_policy quota[LIMIT_SIDES])
{
    for (int k = 0; k < LIMIT_SIDES; k++)
        policy_into_row(row, quota_form((enum limit_side)k), &quota[k]);
}

static TG_MUSTCHECK enum tg_err quotas_from(struct rate_policy quota[LIMIT_SIDES],
                                            const json_t *row, const char *key)
{
    enum tg_err e = TG_OK;
    for (int k = 0; k < LIMIT_SIDES && e == TG_OK; k++)
        e = policy_from_row(quota_form((enum limit_side)k), &quota[k], row, key);
    return e;
}

/* ---- tenants ---- */

json_t *tenant_row(const struct tenant *t)
{
    json_t *row = json_deep_copy(t->doc);
    put_quotas(row, t->quota_policy);
    put_group(row, t->group);
    return row;
}

enum tg_err tenant_policies_from_row(struct rate_policy quota[LIMIT_SIDES], json_t *row,
                                     const char *key)
{
    enum tg_err e = quotas_from(quota, row, key);
    for (int k = 0; k < LIMIT_SIDES; k++)
        json_object_del(row, quota_form((enum limit_side)k)->name);
    json_object_del(row, "resourceGroup"); /* the rest is TenantInfo */
    return e;
}

/* ---- namespaces ---- */

json_t *ns_policies_by_cluster(const struct ns *n, enum rate_kind k, const char *cluster)
{
    const struct policy_form *f = rate_form(k);
    const json_t *others = f->by_cluster != NULL ? json_object_get(n->doc, f->by_cluster) : NULL;
    json_t *map = others != NULL ? json_deep_copy(others) : json_object();
    if (n->rate[k].present)
        json_object_set_new(map, cluster, policy_to_json(f, &n->rate[k]));
    return map;
}

json_t *ns_row(const struct ns *n, const char *cluster)
{
    json_t *row = json_object();
    json_t *policies = n->doc != NULL ? json_deep_copy(n->doc) : json_object();
    for (int i = 0; i < RATE_KINDS; i++) {
        const struct policy_form *f = rate_form((enum rate_kind)i);
        if (f->by_cluster == NULL) {
            policy_into_row(row, f, &n->rate[i]);
            continue;
        }
        json_t *map = ns_policies_by_cluster(n, (enum rate_kind)i, cluster);
        if (json_object_size(map) > 0)
            json_object_set(policies, f->by_cluster, map);
        json_decref(map);
    }
    json_object_set_new(row, "policies", policies);
    put_quotas(row, n->quota_policy);
    put_group(row, n->group);
    return row;
}

/* Takes this cluster's out of the map, so that the document keeps only the others'. */
static TG_MUSTCHECK enum tg_err take_from_map(const struct policy_form *f, struct rate_policy *out,
                                              json_t *policies, const char *cluster,
                                              const char *key)
{
    json_t *map = json_object_get(policies, f->by_cluster);
    json_t *row = json_object();
    json_object_set(row, f->name, json_object_get(map, cluster)); /* fails where there is none */
    enum tg_err e = policy_from_row(f, out, row, key);
    json_decref(row);
    json_object_del(map, cluster);
    return e;
}

enum tg_err ns_policies_from_row(struct ns *n, const json_t *row, const char *cluster,
                                 const char *key)
{
    enum tg_err e = quotas_from(n->quota_policy, row, key);
    for (int i = 0; i < RATE_KINDS && e == TG_OK; i++) {
        const struct policy_form *f = rate_form((enum rate_kind)i);
        e = f->by_cluster != NULL ? take_from_map(f, &n->rate[i], n->doc, cluster, key)
                                  : policy_from_row(f, &n->rate[i], row, key);
    }
    return e;
}

/* ---- partitioned topics ---- */

json_t *partitioned_row(const struct partitioned *p)
{
    json_t *row = json_object();
    json_object_set_new(row, "partitions", json_integer(p->partitions));
    if (p->properties != NULL)
        json_object_set_new(row, "properties", json_deep_copy(p->properties));
    for (int k = 0; k < RATE_KINDS; k++)
        policy_into_row(row, rate_form((enum rate_kind)k), &p->rate[k]);
    sub_rates_into_row(row, p->sub_rates);
    put_quotas(row, p->quota_policy);
    return row;
}

enum tg_err partitioned_policies_from_row(struct partitioned *p, const json_t *row, const char *key)
{
    enum tg_err e = quotas_from(p->quota_policy, row, key);
    for (int k = 0; k < RATE_KINDS && e == TG_OK; k++)
        e = policy_from_row(rate_form((enum rate_kind)k), &p->rate[k], row, key);
    return e == TG_OK ? sub_rates_from_row(&p->sub_rates, row, key) : e;
}
