/* res_namespaces.c - /admin/v2/namespaces: made, listed, deleted, and their policies document. The
 * document has every key that clients read; of a policy that is not served it shows the default. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/res.h"
#include "base/alloc.h"
#include "broker/group.h"

enum {
    BUNDLES = 4, /* as Pulsar makes them; nothing here is placed by bundle */
    BUNDLES_MAX = 1 << 20,
};
static const char no_ns[] = "Namespace does not exist";

static json_t *bundles(int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; i <= n; i++) {
        char text[16];
        snprintf(text, sizeof text, "0x%08llx",
                 (unsigned long long)(i == n ? 0xffffffffULL
                                             : (uint64_t)i * (1ULL << 32) / (uint64_t)n));
        json_array_append_new(list, json_string(text));
    }
    return json_pack("{s:o,s:I}", "boundaries", list, "numBundles", (json_int_t)n);
}

static json_t *bundles_of(const struct ns *n)
{
    json_t *set = json_object_get(n->doc, "bundles");
    return set != NULL ? json_incref(set) : bundles(BUNDLES);
}

static json_t *replication_of(struct call *c, const struct ns *n)
{
    json_t *set = json_object_get(n->doc, "replication_clusters");
    return set != NULL ? json_incref(set) : json_pack("[s]", c->broker->settings->cluster_name);
}

void namespaces_list(struct call *c)
{
    struct tenant *t = registry_tenant(res_registry(c), call_capture(c, CAP_TENANT));
    if (t == NULL) {
        reply_reason(c, 404, "Tenant not found");
        return;
    }
    json_t *list = json_array();
    for (struct ns *n = registry_namespaces(res_registry(c)); n != NULL; n = n->hh.next)
        if (n->tenant == t)
            json_array_append_new(list, json_string(n->name));
    reply_json(c, 200, list);
}

/* The keys of the document whose value never differs here. */
static json_t *fixed_policies(void)
{
    return json_pack(
        "{s:{s:{},s:{},s:{}}, s:[], s:{}, s:{}, s:{}, s:{}, s:{}, s:{}, s:{}, s:b, s:b, s:s, s:i, "
        "s:i,"
        " s:s, s:b, s:b, s:[], s:{}, s:b}",
        "auth_policies", "namespace_auth", "destination_auth", "subscription_auth_roles",
        "allowed_clusters", "backlog_quota_map", "clusterDispatchRate", "topicDispatchRate",
        "subscriptionDispatchRate", "replicatorDispatchRate", "clusterSubscribeRate",
        "latency_stats_sample_rate", "deleted", 0, "encryption_required", 0,
        "subscription_auth_mode", "None", "offload_threshold", -1, "offload_threshold_in_seconds",
        -1, "schema_compatibility_strategy", "UNDEFINED", "is_allow_auto_update_schema", 1,
        "schema_validation_enforced", 0, "subscription_types_enabled", "properties", "migrated", 0);
}

/* By cluster what Pulsar has by cluster. */
static void put_rates(struct call *c, const struct ns *n, json_t *doc)
{
    const char *cluster = c->broker->settings->cluster_name;
    json_object_set_new(doc, "publishMaxMessageRate",
                        ns_policies_by_cluster(n, RATE_OF_TOPIC, cluster));
    policy_into_row(doc, rate_form(RATE_OF_PRODUCER), &n->rate[RATE_OF_PRODUCER]);
    for (int k = 0; k < RATE_KINDS; k++) {
        const struct policy_form *f = rate_form((enum rate_kind)k);
        if (f->by_cluster != NULL)
            json_object_set_new(doc, f->by_cluster,
                                ns_policies_by_cluster(n, (enum rate_kind)k, cluster));
    }
    for (int k = 0; k < LIMIT_SIDES; k++)
        policy_into_row(doc, quota_form((enum limit_side)k), &n->quota_policy[k]);
}

void namespaces_get(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n == NULL)
        return;
    json_t *doc = fixed_policies();
    json_object_set_new(doc, "replication_clusters", replication_of(c, n));
    json_object_set_new(doc, "bundles", bundles_of(n));
    put_rates(c, n, doc);
    if (n->group != NULL)
        json_object_set_new(doc, "resource_group_name", json_string(n->group->name));
    reply_json(c, 200, doc);
}

void namespaces_bundles(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        reply_json(c, 200, bundles_of(n));
}

void namespaces_replication(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        reply_json(c, 200, replication_of(c, n));
}

/* ---- create ---- */

/* "bundles" of the body into <doc>: a number of them, or boundaries as a client that copies
 * policies sends them. Zero or none means the default. */
static bool take_bundles(struct call *c, json_t *doc, const json_t *body)
{
    json_t *b = json_object_get(body, "bundles");
    if (b == NULL || json_is_null(b))
        return true;
    json_t *count = json_object_get(b, "numBundles");
    if (!json_is_object(b) || (count != NULL && !json_is_integer(count))) {
        reply_reason(c, 400, "bundles is an object like {\"numBundles\":4}");
        return false;
    }
    json_int_t n = json_integer_value(count);
    if (n < 0 || n > BUNDLES_MAX) {
        reply_reason(c, 412, "numBundles is %lld; allowed: 1 to %d", (long long)n, BUNDLES_MAX);
        return false;
    }
    /* All boundaries are written out; beyond this many, only the default is kept. */
    enum { BUNDLES_WRITTEN = 1024 };
    if (n > 0 && n != BUNDLES)
        json_object_set_new(doc, "bundles", bundles(n < BUNDLES_WRITTEN ? n : BUNDLES_WRITTEN));
    return true;
}

static bool take_replication(struct call *c, json_t *doc, const json_t *body)
{
    json_t *list = json_object_get(body, "replication_clusters");
    if (list == NULL || json_is_null(list) || (json_is_array(list) && json_array_size(list) == 0))
        return true;
    bool good = json_is_array(list);
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name != NULL && registry_cluster(res_registry(c), name) == NULL) {
            reply_reason(c, 403,
                         "Cluster [%s] is not in the list of allowed clusters list for tenant [%s]",
                         name, call_capture(c, CAP_TENANT));
            return false;
        }
        good = name != NULL;
    }
    if (good)
        json_object_set(doc, "replication_clusters", list);
    else
        reply_reason(c, 400, "replication_clusters is an array of strings");
    return good;
}

static void on_created(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_EEXIST)
        reply_reason(c, 409, "Namespace already exists");
    else if (e == TG_ENOENT)
        reply_reason(c, 404, "Tenant does not exist");
    else
        reply_err(c, e);
}

static void create(struct call *c, const json_t *body)
{
    json_t *doc = json_object();
    if (!take_bundles(c, doc, body) || !take_replication(c, doc, body)) {
        json_decref(doc);
        return;
    }
    char *name = xasprintf("%s/%s", call_capture(c, CAP_TENANT), call_capture(c, CAP_NS));
    registry_create_ns(res_registry(c), name, doc, on_created, c);
    free(name);
    json_decref(doc);
}

void namespaces_create(struct call *c)
{
    json_t *body;
    if (!name_is_valid(call_capture(c, CAP_NS)) || !name_is_valid(call_capture(c, CAP_TENANT))) {
        reply_reason(c, 412, "Namespace name is not valid");
        return;
    }
    if (!call_json(c, &body))
        return;
    if (json_is_null(body) || json_is_object(body))
        create(c, body);
    else
        reply_reason(c, 400, "the policies of a namespace are an object, or null");
    json_decref(body);
}

/* ---- delete ---- */

static void on_deleted(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_ENOENT)
        reply_reason(c, 404, "Namespace %s/%s does not exist.", call_capture(c, CAP_TENANT),
                     call_capture(c, CAP_NS));
    else if (e == TG_EBUSY)
        reply_reason(c, 409, "Cannot delete non empty namespace");
    else
        reply_err(c, e);
}

void namespaces_delete(struct call *c)
{
    if (call_flag(c, "force")) {
        reply_reason(c, 405, "Broker doesn't allow forced deletion of namespaces");
        return;
    }
    char *name = xasprintf("%s/%s", call_capture(c, CAP_TENANT), call_capture(c, CAP_NS));
    registry_delete_ns(res_registry(c), name, on_deleted, c);
    free(name);
}

/* ---- the rest ---- */

void namespaces_topics(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n == NULL)
        return;
    const char *mode = uri_arg(&c->uri, "mode");
    bool wanted = mode == NULL || strcmp(mode, "NON_PERSISTENT") != 0;
    reply_json(c, 200, wanted ? res_topic_names(c, n) : json_array());
}

void permissions_refuse(struct call *c)
{
    reply_reason(c, 501, "Authorization is not enabled");
}
