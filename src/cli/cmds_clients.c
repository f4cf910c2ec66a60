/* cmds_clients.c - the groups clients and block: who is connected, and who is stopped. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "broker/block.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/table.h"
#include "cli/url.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* ---- whom a block is about ---- */

#define WHOM                                                                                       \
    {.name = "producer", .takes = "NAME", .help = "producers of that name"},                       \
        {.name = "topic", .takes = "TOPIC", .help = "a topic, or all partitions of one"},          \
        {.name = "namespace", .takes = "TENANT/NAMESPACE", .help = "all of its topics"},           \
        {.name = "tenant", .takes = "TENANT", .help = "all of its topics"},                        \
        {.name = "address", .takes = "IP[/BITS]", .help = "clients there; new ones are refused"},  \
    {                                                                                              \
        .name = "role", .takes = "ROLE", .help = "clients of that role"                            \
    }

static const struct cli_option add_options[] = {
    WHOM,
    {.name = "for",
     .takes = "SECONDS",
     .help = "ends by itself after so long",
     .is_number = true,
     .min = 1,
     .max = 100 * 366 * 24 * INT64_C(3600)},
    {.name = "until", .takes = "TIME", .help = "ends by itself then, e.g. 2026-01-31T12:00:00Z"},
    {.name = "note", .takes = "TEXT", .help = "why, for whoever looks later"},
    {.name = "disconnect", .help = "sends them away, instead of letting them wait"},
    END,
};

static const struct cli_option remove_options[] = {WHOM, END};

/* The one that is given: an enum block_kind, or -1. */
static int kind_given(const struct call *c, char **why)
{
    int kind = -1, given = 0;
    for (int i = 0; i < BLOCK_KINDS; i++)
        if (args_has(&c->args, block_kind_name(i))) {
            kind = i;
            given++;
        }
    if (given == 1)
        return kind;
    *why = xasprintf("one of --producer, --topic, --namespace, --tenant, --address, --role is "
                     "needed");
    return -1;
}

static enum tg_err block_body(const struct call *c, json_t **out, char **why)
{
    int kind = kind_given(c, why);
    if (kind < 0)
        return TG_EINVAL;
    *out = json_pack("{s:s,s:s,s:b}", "kind", block_kind_name(kind), "name",
                     args_value(&c->args, block_kind_name(kind)), "disconnect",
                     (int)args_has(&c->args, "disconnect"));
    if (*out == NULL) {
        *why = xasprintf("the name is no UTF-8");
        return TG_EINVAL;
    }
    if (args_has(&c->args, "for"))
        json_object_set_new(*out, "durationMs",
                            json_integer(args_number(&c->args, "for", 0) * 1000));
    if (args_has(&c->args, "until"))
        json_object_set_new(*out, "until", json_string(args_value(&c->args, "until")));
    if (args_has(&c->args, "note"))
        json_object_set_new(*out, "note", json_string(args_value(&c->args, "note")));
    return TG_OK;
}

/* ---- removing by what it was made with ---- */

static json_int_t id_of(const json_t *blocks, int kind, const char *name)
{
    size_t i;
    json_t *b;
    json_array_foreach(blocks, i, b)
    {
        const char *its_kind = json_string_value(json_object_get(b, "kind"));
        const char *its_name = json_string_value(json_object_get(b, "name"));
        if (its_kind && its_name && strcmp(its_kind, block_kind_name(kind)) == 0 &&
            strcmp(its_name, name) == 0)
            return json_integer_value(json_object_get(b, "id"));
    }
    return 0;
}

static int remove_by_id(const struct call *c, const char *id)
{
    char *word = url_encode(id), *path = xasprintf("/blocks/%s", word);
    int code = request_send(c, "DELETE", path, NULL, NULL);
    free(word);
    free(path);
    return code;
}

int block_remove_run(struct call *c)
{
    char *why = NULL, *reply = NULL;
    if (call_arg(c, "id"))
        return remove_by_id(c, call_arg(c, "id"));
    int kind = kind_given(c, &why);
    if (kind < 0) {
        complain(c, "the id of a block, or %s", why);
        free(why);
        return CLI_USAGE;
    }
    int code = request_send(c, "GET", "/blocks", NULL, &reply);
    if (code != CLI_OK)
        return code;
    json_t *blocks = json_loads(reply, 0, NULL);
    const char *given = args_value(&c->args, block_kind_name(kind));
    char *name = block_name((enum block_kind)kind, given);
    if (name == NULL)
        name = xstrdup(given);
    json_int_t id = id_of(blocks, kind, name);
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)id);
    if (id > 0)
        code = remove_by_id(c, text);
    else
        complain(c, "%s %s is not blocked", block_kind_name(kind), name);
    json_decref(blocks);
    free(reply);
    free(name);
    return id > 0 ? code : CLI_REFUSED;
}

/* ---- tables ---- */

static const struct table_column client_columns[] = {
    {"ID", "id", 0},
    {"ADDRESS", "address", 0},
    {"ROLE", "role", 0},
    {"CLIENT", "clientVersion", 0},
    {"PRODUCERS", "producers", 0},
    {"CONSUMERS", "consumers", 0},
    {"THROTTLED", "throttledProducers", 0},
    {"MSG/S IN", "msgRateIn", 1},
    {"B/S IN", "msgThroughputIn", 0},
    {"MSG/S OUT", "msgRateOut", 1},
    {"B/S OUT", "msgThroughputOut", 0},
    {NULL, NULL, 0},
};

static const struct table_column block_columns[] = {
    {"ID", "id", 0},       {"KIND", "kind", 0},   {"NAME", "name", 0},
    {"SINCE", "since", 0}, {"UNTIL", "until", 0}, {"DISCONNECT", "disconnect", 0},
    {"BY", "by", 0},       {"NOTE", "note", 0},   {NULL, NULL, 0},
};

static enum tg_err print_clients(const json_t *rows, void *file)
{
    return table_print(file, rows, client_columns);
}

static enum tg_err print_blocks(const json_t *rows, void *file)
{
    return table_print(file, rows, block_columns);
}

int clients_list_run(struct call *c)
{
    return request_show(c, c->command->path, print_clients);
}

int block_list_run(struct call *c)
{
    return request_show(c, c->command->path, print_blocks);
}

const struct command client_commands[] = {
    {.group = "clients",
     .name = "list",
     .path = "/clients",
     .run = clients_list_run,
     .help = "connections with address, client, producers, consumers and rates"},
    {.group = "block",
     .name = "add",
     .options = add_options,
     .method = "POST",
     .path = "/blocks",
     .body = block_body,
     .output = OUT_JSON,
     .help = "stops producers and consumers until the block is removed or ends"},
    {.group = "block",
     .name = "list",
     .path = "/blocks",
     .run = block_list_run,
     .help = "who is stopped, since when, until when, by whom and why"},
    {.group = "block",
     .name = "remove",
     .args = {"[id]"},
     .options = remove_options,
     .run = block_remove_run,
     .help = "lets them go on, by the block's id or by whom it is about"},
    END,
};
