/* res_groups.c - resource groups: made, listed, deleted, hung on namespaces and tenants.
 *
 * Paths, verbs and names are today's of Pulsar and, where they differ, those of PIP-82 too; what is
 * answered is today's. Hanging one on a tenant is PIP-82's and ours only. */
#include <stdlib.h>
#include <string.h>

#include "admin/res.h"
#include "broker/group.h"

static const char no_group[] = "ResourceGroup does not exist";
static const char no_ns[] = "Namespace does not exist";
static const char no_tenant[] = "Tenant does not exist";

void groups_list(struct call *c)
{
    json_t *list = json_array();
    for (struct group *g = registry_groups(res_registry(c)); g != NULL; g = g->hh.next)
        json_array_append_new(list, json_string(g->name));
    reply_json(c, 200, list);
}

/* What is not set is shown as -1, as Pulsar has it; of what only we know, nothing. */
void groups_get(struct call *c)
{
    static const char *const always[] = {"publishRateInMsgs", "publishRateInBytes",
                                         "dispatchRateInMsgs", "dispatchRateInBytes"};
    struct group *g = registry_group(res_registry(c), call_capture(c, CAP_NAME));
    if (g == NULL) {
        reply_reason(c, 404, "%s", no_group);
        return;
    }
    json_t *doc = json_object();
    for (int i = 0; i < 4; i++)
        json_object_set_new(doc, always[i], json_integer(-1));
    json_object_update(doc, g->doc);
    reply_json(c, 200, doc);
}

static void on_group(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_ENOENT)
        reply_reason(c, 404, "%s", no_group);
    else if (e == TG_EBUSY)
        reply_reason(c, 412, "ResourceGroup is in use");
    else if (e == TG_ERANGE)
        reply_reason(c, 412, "These limits can't be: a peak is at least the rate");
    else
        reply_err(c, e);
}

void groups_put(struct call *c)
{
    json_t *body, *doc;
    char *why = NULL;
    if (!name_is_valid(call_capture(c, CAP_NAME))) {
        reply_reason(c, 412, "Resource group name is not valid");
        return;
    }
    if (!call_json(c, &body))
        return;
    enum tg_err e = group_doc_read(body, &doc, &why);
    json_decref(body);
    if (e != TG_OK)
        reply_reason(c, e == TG_ERANGE ? 412 : 400, "%s", why);
    else
        registry_put_group(res_registry(c), call_capture(c, CAP_NAME), doc, on_group, c);
    json_decref(doc);
    free(why);
}

void groups_delete(struct call *c)
{
    registry_delete_group(res_registry(c), call_capture(c, CAP_NAME), on_group, c);
}

/* ---- hung on a namespace or a tenant ---- */

static void reply_hung(struct call *c, const struct group *g)
{
    if (g == NULL) {
        reply_status(c, 204);
        return;
    }
    struct bytes text = {0};
    bytes_append(&text, g->name, strlen(g->name));
    reply_text(c, "text/plain", &text);
}

/* The group that the path names; NULL: refused. */
static const struct group *named_group(struct call *c)
{
    const struct group *g = registry_group(res_registry(c), call_capture(c, CAP_NAME));
    if (g == NULL)
        reply_reason(c, 412, "%s", no_group);
    return g;
}

static void on_ns_hung(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_ENOENT)
        reply_reason(c, 404, "%s", no_ns);
    else
        reply_err(c, e);
}

void groups_ns_get(struct call *c)
{
    const struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        reply_hung(c, n->group);
}

void groups_ns_set(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    const struct group *g = n != NULL ? named_group(c) : NULL;
    if (g != NULL)
        registry_set_ns_group(res_registry(c), n, g->name, on_ns_hung, c);
}

void groups_ns_delete(struct call *c)
{
    struct ns *n = res_ns(c, no_ns);
    if (n != NULL)
        registry_set_ns_group(res_registry(c), n, NULL, on_ns_hung, c);
}

static struct tenant *find_tenant(struct call *c)
{
    struct tenant *t = registry_tenant(res_registry(c), call_capture(c, CAP_TENANT));
    if (t == NULL)
        reply_reason(c, 404, "%s", no_tenant);
    return t;
}

static void on_tenant_hung(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_ENOENT)
        reply_reason(c, 404, "%s", no_tenant);
    else
        reply_err(c, e);
}

void groups_tenant_get(struct call *c)
{
    const struct tenant *t = find_tenant(c);
    if (t != NULL)
        reply_hung(c, t->group);
}

void groups_tenant_set(struct call *c)
{
    struct tenant *t = find_tenant(c);
    const struct group *g = t != NULL ? named_group(c) : NULL;
    if (g != NULL)
        registry_set_tenant_group(res_registry(c), t, g->name, on_tenant_hung, c);
}

void groups_tenant_delete(struct call *c)
{
    struct tenant *t = find_tenant(c);
    if (t != NULL)
        registry_set_tenant_group(res_registry(c), t, NULL, on_tenant_hung, c);
}
