/* limits.c - `tidegate limits`: all limits as a tree for people, and one with all that is known of
 * it. A line of the tree has what is set, what is used, and who waits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/url.h"

enum { DEPTH_MAX = 8 }; /* broker, tenant, namespace, partitioned topic, topic, subscription */

/* "500" or "-", and what is used of it. */
static void print_rate(FILE *f, const json_t *s, const char *unit, const char *rate,
                       const char *now)
{
    const json_t *limit = json_object_get(s, rate);
    if (!json_is_integer(limit))
        return;
    fprintf(f, "  %.0f of %" JSON_INTEGER_FORMAT " %s", json_number_value(json_object_get(s, now)),
            json_integer_value(limit), unit);
    json_int_t period_ms = json_integer_value(json_object_get(s, "periodMs"));
    if (period_ms != 1000)
        fprintf(f, " (of %" JSON_INTEGER_FORMAT " ms)", period_ms);
}

static void print_waiting(FILE *f, const json_t *s)
{
    json_int_t n = json_integer_value(json_object_get(s, "waitingProducers")) +
                   json_integer_value(json_object_get(s, "waitingSubscriptions"));
    if (n > 0)
        fprintf(f, "  %" JSON_INTEGER_FORMAT " waiting, longest %" JSON_INTEGER_FORMAT " ms", n,
                json_integer_value(json_object_get(s, "longestWaitMs")));
    if (json_number_value(json_object_get(s, "throttledSeconds")) > 0)
        fprintf(f, "  throttled %.1f s", json_number_value(json_object_get(s, "throttledSeconds")));
}

static void print_overcommit(FILE *f, const json_t *children)
{
    static const char *const key[][2] = {{"overcommitInMsg", "msg/s"}, {"overcommitInByte", "B/s"}};
    for (int i = 0; i < 2; i++) {
        double n = json_number_value(json_object_get(children, key[i][0]));
        if (n > 1)
            fprintf(f, "  over-committed %.1f times in %s", n, key[i][1]);
    }
}

static void print_node(FILE *f, const json_t *s, int depth)
{
    const char *kind = json_string_value(json_object_get(s, "kind"));
    const char *name = json_string_value(json_object_get(s, "name"));
    const bool named = name && kind && strcmp(kind, "broker") != 0;
    const char *of = json_string_value(json_object_get(s, "of"));
    bool out = of && strcmp(of, "dispatch") == 0;
    fprintf(f, "%*s%s%s%s%s", 2 * depth, "", out && depth == 0 ? "dispatch: " : "",
            kind ? kind : "-", named ? " " : "", named ? name : "");
    print_rate(f, s, "msg/s", "rateInMsg", out ? "msgRateOut" : "msgRateIn");
    print_rate(f, s, "B/s", "rateInByte", out ? "msgThroughputOut" : "msgThroughputIn");
    print_waiting(f, s);
    print_overcommit(f, json_object_get(s, "children"));
    fputc('\n', f);
}

static void print_tree(FILE *f, const json_t *nodes, int depth)
{
    size_t i;
    json_t *node;
    json_array_foreach(nodes, i, node)
    {
        print_node(f, node, depth);
        if (depth < DEPTH_MAX)
            print_tree(f, json_object_get(node, "below"), depth + 1);
        const json_t *more = json_object_get(node, "topicsNotShown");
        if (json_is_integer(more))
            fprintf(f, "%*stopics without a limit of their own: %" JSON_INTEGER_FORMAT "\n",
                    2 * (depth + 1), "", json_integer_value(more));
    }
}

enum tg_err limits_print(const json_t *answer, void *file)
{
    if (!json_is_array(answer))
        return TG_EINVAL;
    print_tree(file, answer, 0);
    return TG_OK;
}

int limits_tree_run(struct call *c)
{
    return request_show(c, "/limits", limits_print);
}

/* ---- one ---- */

static const struct {
    const char *word, *template;
} scopes[] = {
    {"broker", "/limits/broker"},
    {"tenant", "/limits/tenants/{name}"},
    {"namespace", "/limits/namespaces/{namespace}"},
    {"topic", "/limits/topics/{topic}"},
    {"resourcegroup", "/limits/resourcegroups/{name}"},
};
enum { SCOPES = sizeof scopes / sizeof *scopes };

/* The name stands in for {topic} and {namespace} too: the row is borrowed with that word. */
static enum tg_err path_of(const struct call *c, const char *template, char **path, char **why)
{
    struct command row = *c->command;
    struct call as = *c;
    const char *end = strrchr(template, '{');
    char word[16] = "";
    if (end)
        snprintf(word, sizeof word, "%.*s", (int)strcspn(end + 1, "}"), end + 1);
    row.args[1] = end ? word : "[name]";
    as.command = &row;
    if (end && c->args.count < 2) {
        *path = NULL;
        *why = xasprintf("the name of the %s is needed", c->args.arg[0]);
        return TG_EINVAL;
    }
    return url_path(&as, template, path, why);
}

int limits_get_run(struct call *c)
{
    const char *word = call_arg(c, "scope");
    int i = 0;
    while (i < SCOPES && strcmp(scopes[i].word, word) != 0)
        i++;
    if (i == SCOPES) {
        complain(c, "%s: allowed: broker, tenant, namespace, topic, resourcegroup", word);
        return CLI_USAGE;
    }
    char *path, *why;
    int code = CLI_USAGE;
    if (path_of(c, scopes[i].template, &path, &why) == TG_OK) {
        code = request_send(c, "GET", path, NULL, NULL);
    } else {
        complain(c, "%s", why);
        free(why);
    }
    free(path);
    return code;
}
