/* cmds_groups.c - the group resourcegroups, and the commands that hang one on a namespace or
 * tenant. */
#include "cli/command.h"
#include "limiter/bucket.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define RATE(option, short, text)                                                                  \
    {                                                                                              \
        .name = option, .letter = short, .takes = "N", .help = text, .is_number = true, .min = -1, \
        .max = TG_RATE_MAX_PER_S                                                                   \
    }

static const struct cli_option group_options[] = {
    RATE("msg-publish-rate", "mp", "messages per second that may be published; -1: no limit"),
    RATE("byte-publish-rate", "bp", "bytes per second that may be published; -1: no limit"),
    RATE("msg-dispatch-rate", "md", "messages per second that consumers may get; -1: no limit"),
    RATE("byte-dispatch-rate", "bd", "bytes per second that consumers may get; -1: no limit"),
    END,
};

static const struct cli_option hang_options[] = {
    {.name = "resource-group-name",
     .letter = "rgn",
     .takes = "NAME",
     .help = "which resource group",
     .required = true},
    END,
};

/* Only what is given changes. */
static enum tg_err group_body(const struct call *c, json_t **out, char **why)
{
    static const char *const field[][2] = {{"msg-publish-rate", "publishRateInMsgs"},
                                           {"byte-publish-rate", "publishRateInBytes"},
                                           {"msg-dispatch-rate", "dispatchRateInMsgs"},
                                           {"byte-dispatch-rate", "dispatchRateInBytes"}};
    (void)why;
    *out = json_object();
    for (size_t i = 0; i < sizeof field / sizeof field[0]; i++)
        if (args_has(&c->args, field[i][0]))
            json_object_set_new(*out, field[i][1],
                                json_integer(args_number(&c->args, field[i][0], -1)));
    return TG_OK;
}

#define HANG(g, what, url)                                                                         \
    {.group = g,                                                                                   \
     .name = "set-resource-group",                                                                 \
     .args = {what},                                                                               \
     .options = hang_options,                                                                      \
     .method = "POST",                                                                             \
     .path = url "/resourcegroup/{resource-group-name}",                                           \
     .help = "hangs a resource group on it: its quota is for all that it hangs on"},               \
        {.group = g,                                                                               \
         .name = "get-resource-group",                                                             \
         .args = {what},                                                                           \
         .method = "GET",                                                                          \
         .path = url "/resourcegroup",                                                             \
         .output = OUT_TEXT,                                                                       \
         .help = "the name of its resource group"},                                                \
    {                                                                                              \
        .group = g, .name = "remove-resource-group", .args = {what}, .method = "DELETE",           \
        .path = url "/resourcegroup", .help = "takes its resource group off"                       \
    }

const struct command group_commands[] = {
    {.group = "resourcegroups",
     .name = "list",
     .method = "GET",
     .path = "/resourcegroups",
     .output = OUT_LINES,
     .help = "names of the resource groups"},
    {.group = "resourcegroups",
     .name = "get",
     .args = {"resourcegroup"},
     .method = "GET",
     .path = "/resourcegroups/{resourcegroup}",
     .output = OUT_JSON,
     .help = "its limits"},
    {.group = "resourcegroups",
     .name = "create",
     .args = {"resourcegroup"},
     .options = group_options,
     .method = "PUT",
     .path = "/resourcegroups/{resourcegroup}",
     .body = group_body,
     .help = "makes one: a quota for all namespaces and tenants that it is hung on"},
    {.group = "resourcegroups",
     .name = "update",
     .args = {"resourcegroup"},
     .options = group_options,
     .method = "PUT",
     .path = "/resourcegroups/{resourcegroup}",
     .body = group_body,
     .help = "changes what is given, and leaves the rest"},
    {.group = "resourcegroups",
     .name = "delete",
     .args = {"resourcegroup"},
     .method = "DELETE",
     .path = "/resourcegroups/{resourcegroup}",
     .help = "deletes one that is hung on nothing"},
    HANG("namespaces", "namespace", "/namespaces/{namespace}"),
    HANG("tenants", "tenant", "/tenants/{tenant}"),
    END,
};
