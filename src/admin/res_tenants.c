/* res_tenants.c - /admin/v2/tenants. */
#include "admin/res.h"
#include "broker/group.h"

void tenants_list(struct call *c)
{
    json_t *list = json_array();
    for (struct tenant *t = registry_tenants(res_registry(c)); t != NULL; t = t->hh.next)
        json_array_append_new(list, json_string(t->name));
    reply_json(c, 200, list);
}

/* TenantInfo, and what no Pulsar knows. */
static json_t *info_of(const struct tenant *t)
{
    json_t *j = json_copy(t->doc);
    for (int k = 0; k < LIMIT_SIDES; k++)
        policy_into_row(j, quota_form((enum limit_side)k), &t->quota_policy[k]);
    if (t->group != NULL)
        json_object_set_new(j, "resource_group_name", json_string(t->group->name));
    return j;
}

void tenants_get(struct call *c)
{
    struct tenant *t = registry_tenant(res_registry(c), call_capture(c, CAP_TENANT));
    if (t == NULL)
        reply_reason(c, 404, "Tenant does not exist");
    else
        reply_json(c, 200, info_of(t));
}

/* An array of strings, or absent: then stored as empty, or refused. */
static bool take_strings(struct call *c, json_t *out, const json_t *in, const char *field,
                         bool needed)
{
    json_t *list = json_object_get(in, field);
    if (list == NULL || json_is_null(list)) {
        if (needed) {
            reply_reason(c, 412, "Clusters cannot be null");
            return false;
        }
        json_object_set_new(out, field, json_array());
        return true;
    }
    bool good = json_is_array(list);
    for (size_t i = 0; good && i < json_array_size(list); i++)
        good = json_is_string(json_array_get(list, i));
    if (good)
        json_object_set(out, field, list);
    else
        reply_reason(c, 400, "%s is an array of strings", field);
    return good;
}

static bool check_clusters(struct call *c, const json_t *info)
{
    json_t *list = json_object_get(info, "allowedClusters");
    if (json_array_size(list) == 0) {
        reply_reason(c, 412, "Clusters cannot be empty or blank");
        return false;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (registry_cluster(res_registry(c), name) == NULL) {
            reply_reason(c, 412, "Clusters do not exist");
            return false;
        }
    }
    return true;
}

/* The body as TenantInfo; NULL: refused. */
static json_t *read_info(struct call *c)
{
    json_t *body;
    if (!call_json(c, &body))
        return NULL;
    json_t *info = json_object();
    bool good = false;
    if (json_is_null(body))
        reply_reason(c, 412, "TenantInfo is null");
    else if (!json_is_object(body))
        reply_reason(c, 400, "TenantInfo is an object with adminRoles and allowedClusters");
    else
        good = take_strings(c, info, body, "adminRoles", false) &&
               take_strings(c, info, body, "allowedClusters", true) && check_clusters(c, info);
    json_decref(body);
    if (good)
        return info;
    json_decref(info);
    return NULL;
}

static void on_put(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_EEXIST)
        reply_reason(c, 409, "Tenant already exist");
    else if (e == TG_ENOENT)
        reply_reason(c, 404, "Tenant %s not found", call_capture(c, CAP_TENANT));
    else
        reply_err(c, e);
}

static void put(struct call *c, bool is_new)
{
    json_t *info = read_info(c);
    if (info == NULL)
        return;
    registry_put_tenant(res_registry(c), call_capture(c, CAP_TENANT), info, is_new, on_put, c);
    json_decref(info);
}

void tenants_create(struct call *c)
{
    if (!name_is_valid(call_capture(c, CAP_TENANT)))
        reply_reason(c, 412, "Tenant name is not valid");
    else
        put(c, true);
}

void tenants_update(struct call *c)
{
    put(c, false);
}

static void on_deleted(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_ENOENT)
        reply_reason(c, 404, "Tenant doesn't exist");
    else if (e == TG_EBUSY)
        reply_reason(c, 409, "The tenant still has active namespaces");
    else
        reply_err(c, e);
}

void tenants_delete(struct call *c)
{
    registry_delete_tenant(res_registry(c), call_capture(c, CAP_TENANT), on_deleted, c);
}
