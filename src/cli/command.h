/* command.h - one row per command; the tables are in cmds_*.c, cli.c walks them for --help and to
 * find what to do. Most commands are one HTTP request, which the row describes completely. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <jansson.h>
#include <stddef.h>

#include "cli/args.h"

struct call;

enum output {
    OUT_NOTHING, /* done is done */
    OUT_LINES,   /* a JSON array (or the keys of an object), one per line */
    OUT_JSON,    /* JSON, indented */
    OUT_TEXT,    /* as it came */
};

struct command {
    const char *group; /* NULL: the command has no group */
    const char *name;
    const char *alias;          /* another name, not listed; NULL: none */
    const char *args[ARGS_MAX]; /* names of the arguments; "[x]": may be left out */
    const struct cli_option *options;
    const char *method;
    const char *path; /* cli/url.h */
    /* Where this option is given (NULL: none), <path_with> is the path instead. */
    const char *with, *path_with;
    /* The request's body; NULL: none. TG_EINVAL with *why. */
    enum tg_err (*body)(const struct call *c, json_t **out, char **why);
    enum output output;
    int (*run)(struct call *c); /* instead of one request; returns the exit code */
    const char *help;
};

/* One run of a command. */
struct call {
    const struct command *command;
    struct args args;
    const char *admin_url;
    bool raw_json; /* --output json */
};

/* The argument by the name in the row (without brackets); NULL when it was left out. */
const char *call_arg(const struct call *c, const char *name);

/* Ends of tables are rows without a name. */
extern const struct command cluster_commands[], namespace_commands[], topic_commands[],
    group_commands[], dispatch_commands[], client_commands[], other_commands[];

/* Options that several tables use (options.c). */
extern const struct cli_option no_options[], force_options[], set_rate_options[],
    get_policy_options[];
/* Only what is given. */
void put_if_given(json_t *j, const struct args *a, const char *option, const char *field);
/* The body of a limit of <side>, "publish" or "dispatch", but for its period: one or both of its
 * rates, bursts, peaks, weight, dry run. TG_EINVAL with *why (caller frees). */
enum tg_err limit_body(const struct call *c, const char *side, json_t **out, char **why);
/* The body of set-publish-rate, for set_rate_options. */
enum tg_err publish_rate_body(const struct call *c, json_t **out, char **why);

/* Runs the one request that the row describes, prints, returns the exit code (request.c). */
int request_run(struct call *c);
/* The same with a path and body that are made elsewhere; *reply (may be NULL) gets the answer
 * instead of its being printed. Borrows <body>. */
int request_send(const struct call *c, const char *method, const char *path, const json_t *body,
                 char **reply);
/* GET <path>, and what <print> makes of the answer for people, or the answer as it is where JSON is
 * asked for. What <print> returns: TG_EINVAL, the answer is not understood. */
int request_show(const struct call *c, const char *path,
                 enum tg_err (*print)(const json_t *answer, void *file));
/* Prints an answer as the row says (output.c). */
int output_print(const struct call *c, const char *reply);
/* "tidegate: <group> <name>: ..." on stderr. */
void complain(const struct call *c, const char *fmt, ...) TG_PRINTF(2, 3);

int limits_tree_run(struct call *c);   /* limits.c */
int limits_get_run(struct call *c);    /* limits.c */
int events_run(struct call *c);        /* events.c */
int clients_list_run(struct call *c);  /* cmds_clients.c */
int block_list_run(struct call *c);    /* cmds_clients.c */
int block_remove_run(struct call *c);  /* cmds_clients.c */
int explain_run(struct call *c);       /* explain.c */
int store_dump_run(struct call *c);    /* store.c */
int store_verify_run(struct call *c);  /* store.c */
int tenant_create_run(struct call *c); /* cmds_cluster.c */
int reset_cursor_run(struct call *c);  /* cmds_topics.c */

/* What limits tree prints. As explain_print. */
enum tg_err limits_print(const json_t *answer, void *file);

/* What explain prints for people, from the broker's answer. Pure but for <file>. TG_EINVAL: it is
 * not what a broker answers. */
enum tg_err explain_print(const json_t *answer, void *file);

#endif
