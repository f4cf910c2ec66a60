/* cli.c - finds the command that was asked for, checks its words and runs it; --help at every
 * level comes from the same tables. */
#include "cli/cli.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/command.h"

#define ADMIN_URL_STANDARD "http://127.0.0.1:8080"

static const struct command *const tables[] = {
    cluster_commands,  namespace_commands, topic_commands, group_commands,
    dispatch_commands, client_commands,    other_commands};
enum { TABLES = sizeof tables / sizeof tables[0] };

static const char *const groups[][2] = {
    {"clusters", "the cluster this broker belongs to"},
    {"tenants", "tenants"},
    {"namespaces", "namespaces and the limits of all their topics"},
    {"resourcegroups", "quotas hung on namespaces and tenants"},
    {"topics", "topics, their subscriptions and limits"},
    {"topicPolicies", "limits of one topic (the same as in topics)"},
    {"brokers", "the broker itself"},
    {"limits", "all limits, and what they do"},
    {"clients", "connections"},
    {"block", "producers and consumers that are stopped by hand"},
    {"store", "a data directory"},
};
enum { GROUPS = sizeof groups / sizeof groups[0] };

static const struct cli_option common_options[] = {
    {.name = "admin-url", .takes = "URL", .help = "the broker's HTTP address"},
    {.name = "output", .takes = "text|json", .help = "json: the answer as the broker gave it"},
    {.name = "help", .letter = "h", .help = "this text"},
    {.name = NULL},
};

#define DATA_DIR_OPTION                                                                            \
    {                                                                                              \
        .name = "data-dir", .takes = "DIR", .help = "which directory", .required = true            \
    }

static const struct cli_option verify_options[] = {
    DATA_DIR_OPTION,
    {.name = NULL},
};

static const struct cli_option dump_options[] = {
    DATA_DIR_OPTION,
    {.name = "ledger",
     .takes = "N",
     .help = "this ledger only",
     .is_number = true,
     .min = 0,
     .max = INT64_MAX},
    {.name = NULL},
};

static const struct cli_option explain_options[] = {
    {.name = "as",
     .takes = "KIND",
     .help = "topic, namespace, tenant or client, where the name does not tell"},
    {.name = NULL},
};

static const struct cli_option events_options[] = {
    {.name = "follow", .letter = "f", .help = "goes on with those that come"},
    {.name = "since",
     .takes = "N",
     .help = "only those with a higher number",
     .is_number = true,
     .min = 0,
     .max = INT64_MAX},
    {.name = NULL},
};

const struct command other_commands[] = {
    {.name = "explain",
     .args = {"name"},
     .options = explain_options,
     .run = explain_run,
     .help = "of a topic, namespace (T/N), tenant, or client (its id or address): who waits, for "
             "what, since when, until when, what would help"},
    {.name = "events",
     .options = events_options,
     .run = events_run,
     .help = "throttling, limits changed, blocks, memory used up, quotas at 80 % and 100 %"},
    {.group = "limits",
     .name = "tree",
     .run = limits_tree_run,
     .help = "every limit: what is set, what is used of it, who waits"},
    {.group = "limits",
     .name = "get",
     .args = {"scope", "[name]"},
     .output = OUT_JSON,
     .run = limits_get_run,
     .help = "all of one: broker, tenant T, namespace T/N, topic NAME, resourcegroup NAME"},
    {.group = "store",
     .name = "dump",
     .options = dump_options,
     .run = store_dump_run,
     .help = "one line per stored entry: segment, offset, ledger, entry, admitted_ns, messages, "
             "bytes"},
    {.group = "store",
     .name = "verify",
     .options = verify_options,
     .run = store_verify_run,
     .help = "reads every segment and says what is damaged, where, and what to do; exit code 5 if "
             "anything is"},
    {.name = NULL},
};

/* ---- help ---- */

static void help_all(FILE *f)
{
    fprintf(f, "tidegate " TIDEGATE_VERSION ", a message broker for Apache Pulsar clients\n\n"
               "  tidegate standalone [OPTIONS]          run the broker\n"
               "  tidegate explain NAME                  who waits, for what, until when\n"
               "  tidegate events [--follow]             what happened\n"
               "  tidegate GROUP COMMAND [ARGUMENTS]     administer a running broker\n"
               "  tidegate --version\n\n"
               "Groups:\n");
    for (int i = 0; i < GROUPS; i++)
        fprintf(f, "  %-14s %s\n", groups[i][0], groups[i][1]);
    fprintf(f,
            "\n`tidegate standalone --help`, `tidegate GROUP --help` and `tidegate GROUP COMMAND "
            "--help` say more.\n\n"
            "The broker is looked for at --admin-url, else TIDEGATE_ADMIN_URL, else " //
            ADMIN_URL_STANDARD ".\n\n"
            "Exit codes: 0 done; 1 failed; 2 bad arguments or settings; 3 no answer from the "
            "broker;\n4 refused by the broker; 5 the disk failed or the data are damaged.\n");
}

static void print_args(FILE *f, const struct command *c)
{
    for (int i = 0; i < ARGS_MAX && c->args[i]; i++)
        fprintf(f, " %s", c->args[i]);
}

static bool in_group(const struct command *c, const char *group)
{
    return c->group && group && strcmp(c->group, group) == 0;
}

static void help_group(FILE *f, const char *group)
{
    fprintf(f, "tidegate %s COMMAND:\n", group);
    for (int t = 0; t < TABLES; t++)
        for (const struct command *c = tables[t]; c->name; c++)
            if (in_group(c, group))
                fprintf(f, "  %-34s %s\n", c->name, c->help);
}

static void help_option(FILE *f, const struct cli_option *o)
{
    char left[64];
    snprintf(left, sizeof left, "%s%s%s--%s%s%s", o->letter ? "-" : "", o->letter ? o->letter : "",
             o->letter ? ", " : "", o->name, o->takes ? " " : "", o->takes ? o->takes : "");
    fprintf(f, "  %-34s %s%s\n", left, o->help, o->required ? " (needed)" : "");
}

static void help_command(FILE *f, const struct command *c)
{
    fprintf(f, "tidegate %s%s%s", c->group ? c->group : "", c->group ? " " : "", c->name);
    print_args(f, c);
    fprintf(f, "%s\n  %s\n\n", c->options ? " [OPTIONS]" : "", c->help);
    for (const struct cli_option *o = c->options; o && o->name; o++)
        help_option(f, o);
    for (const struct cli_option *o = common_options; o->name; o++)
        help_option(f, o);
}

/* ---- finding and running ---- */

static bool is_group(const char *word)
{
    for (int i = 0; i < GROUPS; i++)
        if (strcmp(groups[i][0], word) == 0)
            return true;
    return false;
}

static const struct command *find(const char *group, const char *name)
{
    for (int t = 0; t < TABLES; t++)
        for (const struct command *c = tables[t]; c->name; c++)
            if ((group ? in_group(c, group) : !c->group) &&
                (strcmp(c->name, name) == 0 || (c->alias && strcmp(c->alias, name) == 0)))
                return c;
    return NULL;
}

const char *call_arg(const struct call *c, const char *name)
{
    for (int i = 0; i < c->args.count; i++) {
        const char *spec = c->command->args[i];
        size_t len = strlen(name);
        if (strcmp(spec, name) == 0 ||
            (*spec == '[' && strncmp(spec + 1, name, len) == 0 && spec[len + 1] == ']'))
            return c->args.arg[i];
    }
    return NULL;
}

static enum tg_err check_arguments(const struct command *c, const struct args *a, char **why)
{
    int i = 0;
    for (; i < ARGS_MAX && c->args[i]; i++) {
        if (i >= a->count && c->args[i][0] != '[') {
            *why = xasprintf("%s is needed", c->args[i]);
            return TG_EINVAL;
        }
    }
    if (a->count > i) {
        *why = xasprintf("'%s' is one argument too many", a->arg[i]);
        return TG_EINVAL;
    }
    return TG_OK;
}

/* The command's own options and those that all have. */
static void merge_options(struct cli_option *out, const struct cli_option *own)
{
    int n = 0;
    for (; own && own->name; own++)
        out[n++] = *own;
    for (const struct cli_option *o = common_options; o->name; o++)
        out[n++] = *o;
    TG_ASSERT(n < ARGS_OPTIONS_MAX);
    out[n] = (struct cli_option){.name = NULL};
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

struct common {
    const char *admin_url;
    const char *output;
};

static enum tg_err settle_common(struct call *call, const struct common *before, char **why)
{
    const char *url = args_value(&call->args, "admin-url");
    const char *environment = getenv("TIDEGATE_ADMIN_URL");
    const char *output = args_value(&call->args, "output");
    output = output ? output : before->output;
    url = url ? url : before->admin_url;
    url = url ? url : environment && *environment ? environment : ADMIN_URL_STANDARD;
    call->admin_url = url;
    call->raw_json = output && strcmp(output, "json") == 0;
    if (output && !call->raw_json && strcmp(output, "text") != 0) {
        *why = xasprintf("--output %s is not allowed; allowed: text or json", output);
        return TG_EINVAL;
    }
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        *why = xasprintf("--admin-url %s is not allowed; allowed: http://HOST:PORT", url);
        return TG_EINVAL;
    }
    return TG_OK;
}

static int run_command(const struct command *c, const struct common *before, int argc, char **argv)
{
    if (wants_help(argc, argv)) {
        help_command(stdout, c);
        return CLI_OK;
    }
    struct cli_option options[ARGS_OPTIONS_MAX];
    merge_options(options, c->options);
    struct call call = {.command = c};
    char *why = NULL;
    enum tg_err e = args_parse(&call.args, options, argc, argv, &why);
    if (e == TG_OK)
        e = check_arguments(c, &call.args, &why);
    if (e == TG_OK)
        e = settle_common(&call, before, &why);
    if (e != TG_OK) {
        complain(&call, "%s; --help says more", why);
        free(why);
        return CLI_USAGE;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int code = c->run ? c->run(&call) : request_run(&call);
    curl_global_cleanup();
    if (fflush(stdout) != 0 && code == CLI_OK) {
        perror("tidegate: stdout");
        code = CLI_FAILED;
    }
    return code;
}

/* Options before the group, as pulsar-admin has them. Returns how many words they took, or -1. */
static int take_leading(struct common *common, int argc, char **argv)
{
    int i = 0;
    while (i < argc && argv[i][0] == '-') {
        const char **at = strcmp(argv[i], "--admin-url") == 0 ? &common->admin_url
                          : strcmp(argv[i], "--output") == 0  ? &common->output
                                                              : NULL;
        if (!at || i + 1 >= argc) {
            fprintf(stderr,
                    "tidegate: %s: allowed here: --admin-url URL, --output text|json, "
                    "--help, --version\n",
                    argv[i]);
            return -1;
        }
        *at = argv[i + 1];
        i += 2;
    }
    return i;
}

static int run_group(const char *group, const struct common *common, int argc, char **argv)
{
    if (argc == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        help_group(argc == 0 ? stderr : stdout, group);
        return argc == 0 ? CLI_USAGE : CLI_OK;
    }
    const struct command *c = find(group, argv[0]);
    if (c)
        return run_command(c, common, argc - 1, argv + 1);
    fprintf(stderr, "tidegate: %s has no command '%s'; allowed:\n", group, argv[0]);
    help_group(stderr, group);
    return CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
    struct common common = {0};
    const char *first = argc > 1 ? argv[1] : NULL;
    if (first && (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)) {
        help_all(stdout);
        return CLI_OK;
    }
    if (first && (strcmp(first, "--version") == 0 || strcmp(first, "version") == 0)) {
        puts("tidegate " TIDEGATE_VERSION);
        return CLI_OK;
    }
    int taken = take_leading(&common, argc - 1, argv + 1);
    if (taken < 0)
        return CLI_USAGE;
    argc -= 1 + taken;
    argv += 1 + taken;
    if (argc == 0) {
        help_all(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[0], "standalone") == 0)
        return cli_standalone(argc, argv);
    if (is_group(argv[0]))
        return run_group(argv[0], &common, argc - 1, argv + 1);
    const struct command *c = find(NULL, argv[0]);
    if (c)
        return run_command(c, &common, argc - 1, argv + 1);
    fprintf(stderr, "tidegate: no command or group '%s'; `tidegate --help` lists them\n", argv[0]);
    return CLI_USAGE;
}
