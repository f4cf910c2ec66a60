/* cmds_cluster.c - the groups clusters, tenants and brokers. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/url.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

static const struct cli_option cluster_options[] = {
    {.name = "url", .takes = "URL", .help = "HTTP address"},
    {.name = "url-secure", .takes = "URL", .help = "HTTPS address"},
    {.name = "broker-url", .takes = "URL", .help = "address of the binary protocol"},
    {.name = "broker-url-secure", .takes = "URL", .help = "the same over TLS"},
    END,
};

static const struct cli_option tenant_options[] = {
    {.name = "admin-roles", .letter = "r", .takes = "A,B", .help = "who may administer it"},
    {.name = "allowed-clusters", .letter = "c", .takes = "A,B", .help = "clusters (all there are)"},
    END,
};

#define CONFIG                                                                                     \
    {                                                                                              \
        .name = "config", .letter = "c", .takes = "NAME", .help = "which setting",                 \
        .required = true                                                                           \
    }
static const struct cli_option delete_config_options[] = {CONFIG, END};
static const struct cli_option update_config_options[] = {
    CONFIG,
    {.name = "value", .letter = "v", .takes = "VALUE", .help = "its new value", .required = true},
    END,
};

static enum tg_err cluster_body(const struct call *c, json_t **out, char **why)
{
    static const char *const field[][2] = {{"url", "serviceUrl"},
                                           {"url-secure", "serviceUrlTls"},
                                           {"broker-url", "brokerServiceUrl"},
                                           {"broker-url-secure", "brokerServiceUrlTls"}};
    (void)why;
    *out = json_object();
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++) {
        const char *value = args_value(&c->args, field[i][0]);
        if (value)
            json_object_set_new(*out, field[i][1], json_string(value));
    }
    return TG_OK;
}

/* "a,b" as ["a","b"]. */
static json_t *words_of(const char *list)
{
    json_t *j = json_array();
    while (list && *list) {
        size_t len = strcspn(list, ",");
        if (len > 0)
            json_array_append_new(j, json_stringn(list, len));
        list += len + (list[len] == ',');
    }
    return j;
}

/* As pulsar-admin does: a new tenant may use all clusters unless some are named. */
int tenant_create_run(struct call *c)
{
    const char *named = args_value(&c->args, "allowed-clusters");
    json_t *clusters = named ? words_of(named) : NULL;
    if (!clusters) {
        char *reply = NULL;
        int code = request_send(c, "GET", "/clusters", NULL, &reply);
        if (code != CLI_OK)
            return code;
        clusters = json_loads(reply, 0, NULL);
        free(reply);
    }
    json_t *body = json_object();
    json_object_set_new(body, "adminRoles", words_of(args_value(&c->args, "admin-roles")));
    json_object_set_new(body, "allowedClusters", clusters ? clusters : json_array());
    char *path, *why;
    int code = CLI_USAGE;
    if (url_path(c, c->command->path, &path, &why) == TG_OK)
        code = request_send(c, c->command->method, path, body, NULL);
    else
        complain(c, "%s", why);
    free(path);
    free(why);
    json_decref(body);
    return code;
}

static enum tg_err tenant_body(const struct call *c, json_t **out, char **why)
{
    (void)why;
    *out = json_object();
    if (args_has(&c->args, "admin-roles"))
        json_object_set_new(*out, "adminRoles", words_of(args_value(&c->args, "admin-roles")));
    if (args_has(&c->args, "allowed-clusters"))
        json_object_set_new(*out, "allowedClusters",
                            words_of(args_value(&c->args, "allowed-clusters")));
    return TG_OK;
}

const struct command cluster_commands[] = {
    {.group = "clusters",
     .name = "list",
     .method = "GET",
     .path = "/clusters",
     .output = OUT_LINES,
     .help = "names of the clusters"},
    {.group = "clusters",
     .name = "get",
     .args = {"cluster"},
     .method = "GET",
     .path = "/clusters/{cluster}",
     .output = OUT_JSON,
     .help = "addresses of a cluster"},
    {.group = "clusters",
     .name = "create",
     .args = {"cluster"},
     .options = cluster_options,
     .method = "PUT",
     .path = "/clusters/{cluster}",
     .body = cluster_body,
     .help = "makes a cluster known"},
    {.group = "clusters",
     .name = "update",
     .args = {"cluster"},
     .options = cluster_options,
     .method = "POST",
     .path = "/clusters/{cluster}",
     .body = cluster_body,
     .help = "changes its addresses"},
    {.group = "clusters",
     .name = "delete",
     .args = {"cluster"},
     .method = "DELETE",
     .path = "/clusters/{cluster}",
     .help = "forgets a cluster"},
    {.group = "tenants",
     .name = "list",
     .method = "GET",
     .path = "/tenants",
     .output = OUT_LINES,
     .help = "names of the tenants"},
    {.group = "tenants",
     .name = "get",
     .args = {"tenant"},
     .method = "GET",
     .path = "/tenants/{tenant}",
     .output = OUT_JSON,
     .help = "roles and clusters of a tenant"},
    {.group = "tenants",
     .name = "create",
     .args = {"tenant"},
     .options = tenant_options,
     .method = "PUT",
     .path = "/tenants/{tenant}",
     .run = tenant_create_run,
     .help = "makes a tenant"},
    {.group = "tenants",
     .name = "update",
     .args = {"tenant"},
     .options = tenant_options,
     .method = "POST",
     .path = "/tenants/{tenant}",
     .body = tenant_body,
     .help = "changes roles or clusters"},
    {.group = "tenants",
     .name = "delete",
     .args = {"tenant"},
     .options = force_options,
     .method = "DELETE",
     .path = "/tenants/{tenant}?force={force}",
     .help = "deletes a tenant"},
    {.group = "tenants",
     .name = "set-publish-quota",
     .args = {"tenant"},
     .options = set_rate_options,
     .method = "POST",
     .path = "/tenants/{tenant}/publishQuota",
     .body = publish_rate_body,
     .help = "limits all topics of it together"},
    {.group = "tenants",
     .name = "get-publish-quota",
     .args = {"tenant"},
     .method = "GET",
     .path = "/tenants/{tenant}/publishQuota",
     .output = OUT_JSON,
     .help = "that quota, or null"},
    {.group = "tenants",
     .name = "remove-publish-quota",
     .args = {"tenant"},
     .method = "DELETE",
     .path = "/tenants/{tenant}/publishQuota",
     .help = "removes its quota"},
    {.group = "brokers",
     .name = "list",
     .args = {"[cluster]"},
     .method = "GET",
     .path = "/brokers{/cluster}",
     .output = OUT_LINES,
     .help = "addresses of the brokers"},
    {.group = "brokers",
     .name = "healthcheck",
     .method = "GET",
     .path = "/brokers/health",
     .output = OUT_TEXT,
     .help = "ok when the broker serves"},
    {.group = "brokers",
     .name = "ready",
     .method = "GET",
     .path = "/brokers/ready",
     .output = OUT_TEXT,
     .help = "ok once the broker has started"},
    {.group = "brokers",
     .name = "leader-broker",
     .method = "GET",
     .path = "/brokers/leaderBroker",
     .output = OUT_JSON,
     .help = "which broker leads"},
    {.group = "brokers",
     .name = "get-runtime-config",
     .method = "GET",
     .path = "/brokers/configuration/runtime",
     .output = OUT_JSON,
     .help = "all settings in force"},
    {.group = "brokers",
     .name = "get-all-dynamic-config",
     .method = "GET",
     .path = "/brokers/configuration/values",
     .output = OUT_JSON,
     .help = "settings changed while running"},
    {.group = "brokers",
     .name = "list-dynamic-config",
     .method = "GET",
     .path = "/brokers/configuration",
     .output = OUT_LINES,
     .help = "settings that can be changed while running"},
    {.group = "brokers",
     .name = "update-dynamic-config",
     .options = update_config_options,
     .method = "POST",
     .path = "/brokers/configuration/{config}/{value}",
     .help = "changes one of them"},
    {.group = "brokers",
     .name = "delete-dynamic-config",
     .options = delete_config_options,
     .method = "DELETE",
     .path = "/brokers/configuration/{config}",
     .help = "back to what broker.conf says"},
    END,
};
