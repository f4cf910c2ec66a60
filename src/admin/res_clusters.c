/* res_clusters.c - /admin/v2/clusters: names and addresses of clusters. They are kept and given
 * back; there is no replication to them. */
#include <string.h>

#include "admin/res.h"

static const char no_cluster[] = "Cluster does not exist";

void clusters_list(struct call *c)
{
    json_t *list = json_array();
    for (struct cluster *k = registry_clusters(res_registry(c)); k != NULL; k = k->hh.next)
        json_array_append_new(list, json_string(k->name));
    reply_json(c, 200, list);
}

/* What a client may expect though nobody set it: flags, and the addresses of this broker's own
 * cluster, which may differ from start to start. */
static json_t *with_defaults(struct call *c, const struct cluster *k)
{
    json_t *out =
        json_pack("{s:b,s:b,s:b}", "brokerClientTlsEnabled", 0, "tlsAllowInsecureConnection", 0,
                  "brokerClientTlsEnabledWithKeyStore", 0);
    const struct broker *b = c->broker;
    if (strcmp(k->name, b->settings->cluster_name) == 0 && b->web_url != NULL) {
        json_object_set_new(out, "serviceUrl", json_string(b->web_url));
        json_object_set_new(out, "brokerServiceUrl", json_string(b->service_url));
    }
    json_object_update(out, k->doc);
    return out;
}

void clusters_get(struct call *c)
{
    struct cluster *k = registry_cluster(res_registry(c), call_capture(c, CAP_NAME));
    if (k == NULL)
        reply_reason(c, 404, "%s", no_cluster);
    else
        reply_json(c, 200, with_defaults(c, k));
}

static void on_put(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_OK)
        reply_status(c, 200);
    else
        reply_err(c, e);
}

static void put(struct call *c)
{
    json_t *doc;
    if (!call_json(c, &doc))
        return;
    if (json_is_object(doc))
        registry_put_cluster(res_registry(c), call_capture(c, CAP_NAME), doc, on_put, c);
    else
        reply_reason(c, 400, "ClusterData is an object like {\"serviceUrl\":\"http://host:8080\"}");
    json_decref(doc);
}

void clusters_create(struct call *c)
{
    const char *name = call_capture(c, CAP_NAME);
    if (registry_cluster(res_registry(c), name) != NULL)
        reply_reason(c, 409, "Cluster already exists");
    else if (!name_is_valid(name))
        reply_reason(c, 412, "Cluster name is not valid");
    else
        put(c);
}

void clusters_update(struct call *c)
{
    if (registry_cluster(res_registry(c), call_capture(c, CAP_NAME)) == NULL)
        reply_reason(c, 404, "%s", no_cluster);
    else
        put(c);
}

static void on_deleted(void *ctx, enum tg_err e)
{
    struct call *c = ctx;
    if (e == TG_ENOENT)
        reply_reason(c, 404, "%s", no_cluster);
    else if (e == TG_EBUSY)
        reply_reason(c, 412, "Cluster not empty");
    else
        reply_err(c, e);
}

void clusters_delete(struct call *c)
{
    registry_delete_cluster(res_registry(c), call_capture(c, CAP_NAME), on_deleted, c);
}
