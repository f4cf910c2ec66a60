/* cmds_namespaces.c - the group namespaces. */
#include "cli/command.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

static const struct cli_option create_options[] = {
    {.name = "bundles",
     .letter = "b",
     .takes = "N",
     .help = "bundles (4)",
     .is_number = true,
     .min = 1,
     .max = 65536},
    END,
};

static enum tg_err create_body(const struct call *c, json_t **out, char **why)
{
    (void)why;
    *out = json_object();
    if (args_has(&c->args, "bundles"))
        json_object_set_new(
            *out, "bundles",
            json_pack("{s:I}", "numBundles", (json_int_t)args_number(&c->args, "bundles", 0)));
    return TG_OK;
}

const struct command namespace_commands[] = {
    {.group = "namespaces",
     .name = "list",
     .args = {"tenant"},
     .method = "GET",
     .path = "/namespaces/{tenant}",
     .output = OUT_LINES,
     .help = "namespaces of a tenant"},
    {.group = "namespaces",
     .name = "topics",
     .args = {"namespace"},
     .method = "GET",
     .path = "/namespaces/{namespace}/topics",
     .output = OUT_LINES,
     .help = "topics of a namespace"},
    {.group = "namespaces",
     .name = "policies",
     .args = {"namespace"},
     .method = "GET",
     .path = "/namespaces/{namespace}",
     .output = OUT_JSON,
     .help = "all policies of a namespace"},
    {.group = "namespaces",
     .name = "create",
     .args = {"namespace"},
     .options = create_options,
     .method = "PUT",
     .path = "/namespaces/{namespace}",
     .body = create_body,
     .help = "makes a namespace"},
    {.group = "namespaces",
     .name = "delete",
     .args = {"namespace"},
     .options = force_options,
     .method = "DELETE",
     .path = "/namespaces/{namespace}?force={force}",
     .help = "deletes a namespace"},
    {.group = "namespaces",
     .name = "set-publish-rate",
     .args = {"namespace"},
     .options = set_rate_options,
     .method = "POST",
     .path = "/namespaces/{namespace}/publishRate",
     .body = publish_rate_body,
     .help = "limits each topic of it that has no limit of its own"},
    {.group = "namespaces",
     .name = "get-publish-rate",
     .args = {"namespace"},
     .method = "GET",
     .path = "/namespaces/{namespace}/publishRate",
     .output = OUT_JSON,
     .help = "its limit, or null"},
    {.group = "namespaces",
     .name = "remove-publish-rate",
     .args = {"namespace"},
     .method = "DELETE",
     .path = "/namespaces/{namespace}/publishRate",
     .help = "removes its limit"},
    {.group = "namespaces",
     .name = "set-publish-quota",
     .args = {"namespace"},
     .options = set_rate_options,
     .method = "POST",
     .path = "/namespaces/{namespace}/publishQuota",
     .body = publish_rate_body,
     .help = "limits all topics of it together"},
    {.group = "namespaces",
     .name = "get-publish-quota",
     .args = {"namespace"},
     .method = "GET",
     .path = "/namespaces/{namespace}/publishQuota",
     .output = OUT_JSON,
     .help = "that quota, or null"},
    {.group = "namespaces",
     .name = "remove-publish-quota",
     .args = {"namespace"},
     .method = "DELETE",
     .path = "/namespaces/{namespace}/publishQuota",
     .help = "removes its quota"},
    END,
};
