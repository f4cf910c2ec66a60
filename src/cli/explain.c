/* explain.c - `tidegate explain NAME`: the limits that a topic, or all of a namespace, a tenant or
 * a client, is under as a table for people, from the broker's answer (docs/admin-api.md,
 * "explain"). One line per scope of the path, narrowest first; then which one binds and for how
 * long, who waits, and the command that would raise it. What a broker leaves out is printed as "-":
 * an older broker's answer is still readable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/url.h"

enum { CELL = 32 };
struct cell {
    char text[CELL];
};

static const char *text(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s ? s : "-";
}

/* A whole number, or "-" where there is none or (a limit) nothing is limited. */
static struct cell whole(const json_t *j, const char *key, json_int_t least)
{
    struct cell c = {"-"};
    const json_t *v = json_object_get(j, key);
    if (json_is_integer(v) && json_integer_value(v) >= least)
        snprintf(c.text, sizeof c.text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    return c;
}

static struct cell real(const json_t *j, const char *key)
{
    struct cell c = {"-"};
    const json_t *v = json_object_get(j, key);
    if (json_is_number(v))
        snprintf(c.text, sizeof c.text, "%.1f", json_number_value(v));
    return c;
}

static void print_row(FILE *f, const char *const column[9])
{
    static const int width[9] = {-18, -18, 12, 12, 12, 14, 14, 14, 0};
    for (int i = 0; i < 9; i++)
        fprintf(f, "%s%*s", i ? "  " : "", width[i], column[i]);
    fputc('\n', f);
}

static void print_scope(FILE *f, const json_t *s)
{
    const json_int_t any = -INT64_MAX;
    bool out = strcmp(text(s, "of"), "dispatch") == 0;
    struct cell c[] = {real(s, out ? "msgRateOut" : "msgRateIn"),
                       whole(s, "rateInMsg", 1),
                       whole(s, "balanceInMsg", any),
                       real(s, out ? "msgThroughputOut" : "msgThroughputIn"),
                       whole(s, "rateInByte", 1),
                       whole(s, "balanceInByte", any)};
    const char *binds = json_is_true(json_object_get(s, "binding")) ? "binds" : "";
    print_row(f, (const char *const[9]){text(s, "kind"), text(s, "source"), c[0].text, c[1].text,
                                        c[2].text, c[3].text, c[4].text, c[5].text, binds});
}

static void print_binding(FILE *f, const json_t *scopes)
{
    size_t i;
    json_t *s;
    json_array_foreach(scopes, i, s)
    {
        if (!json_is_true(json_object_get(s, "binding")))
            continue;
        fprintf(f, "\n%s %s binds; it has tokens again in %s ms\n", text(s, "kind"),
                text(s, "name"), real(s, "waitMs").text);
        if (json_is_string(json_object_get(s, "since")))
            fprintf(f, "since %s; what waits now will have passed at %s\n", text(s, "since"),
                    text(s, "until"));
        if (json_is_string(json_object_get(s, "command")))
            fprintf(f, "to raise it: %s\n", text(s, "command"));
        return;
    }
    fprintf(f, "\nno limit binds\n");
}

static void print_one_waiting(FILE *f, const json_t *w)
{
    const char *topic = json_string_value(json_object_get(w, "topic"));
    fprintf(f, "producer %s (%s)%s%s has waited at %s for %s ms: %s messages parked (%s bytes)%s",
            text(w, "producerName"), text(w, "address"), topic ? " of " : "", topic ? topic : "",
            text(w, "reason"), real(w, "sinceMs").text, whole(w, "parkedMessages", 0).text,
            whole(w, "parkedBytes", 0).text,
            json_is_true(json_object_get(w, "connectionPaused")) ? ", its connection is paused"
                                                                 : "");
    if (json_is_integer(json_object_get(w, "block")))
        fprintf(f, "; tidegate block remove %s lets it go on", whole(w, "block", 1).text);
    fputc('\n', f);
}

static void print_own_command(FILE *f, const json_t *w)
{
    const json_t *limit = json_object_get(w, "limit");
    if (json_is_string(json_object_get(limit, "command")))
        fprintf(f, "  to raise its limit: %s\n", text(limit, "command"));
}

static void print_waiting(FILE *f, const json_t *waiting)
{
    size_t i;
    json_t *w;
    json_array_foreach(waiting, i, w)
    {
        print_one_waiting(f, w);
        print_own_command(f, w);
    }
    if (json_array_size(waiting) == 0)
        fprintf(f, "nobody waits\n");
}

static void print_subscriptions(FILE *f, const json_t *waiting)
{
    size_t i;
    json_t *s;
    json_array_foreach(waiting, i, s)
    {
        const char *topic = json_string_value(json_object_get(s, "topic"));
        fprintf(f, "subscription %s%s%s has waited at %s for %s ms: backlog of %s messages\n",
                text(s, "subscription"), topic ? " of " : "", topic ? topic : "", text(s, "reason"),
                whole(s, "sinceMs", 0).text, whole(s, "backlog", 0).text);
        print_own_command(f, s);
    }
}

/* What is delivered of a topic: shown where anything limits it or has. */
static void print_dispatch(FILE *f, const json_t *dispatch)
{
    const json_t *scopes = json_object_get(dispatch, "scopes");
    const json_t *waiting = json_object_get(dispatch, "waiting");
    bool shown = json_array_size(waiting) > 0;
    size_t i;
    json_t *s;
    json_array_foreach(scopes, i, s) shown = shown || json_is_true(json_object_get(s, "limited"));
    if (!shown)
        return;
    fprintf(f, "\ndelivery to subscriptions:\n");
    json_array_foreach(scopes, i, s) print_scope(f, s);
    json_array_foreach(scopes, i, s)
    {
        if (json_is_true(json_object_get(s, "binding")) &&
            json_is_string(json_object_get(s, "command")))
            fprintf(f, "to raise it: %s\n", text(s, "command"));
    }
    print_subscriptions(f, waiting);
    if (json_array_size(waiting) == 0)
        fprintf(f, "no subscription waits\n");
}

/* Of a namespace, a tenant, a client: what their producers wait for. */
static void print_reasons(FILE *f, const json_t *reasons)
{
    size_t i;
    json_t *r;
    json_array_foreach(reasons, i, r)
    {
        bool one = json_integer_value(json_object_get(r, "producers")) == 1;
        const char *scope = json_string_value(json_object_get(r, "scope"));
        fprintf(f, "%s%s %s at %s%s%s since %s, with %s messages parked", i ? "" : "\n",
                whole(r, "producers", 1).text, one ? "producer waits" : "producers wait",
                text(r, "reason"), scope ? " " : "", scope ? scope : "", text(r, "since"),
                whole(r, "parkedMessages", 0).text);
        if (json_is_string(json_object_get(r, "until")))
            fprintf(f, ", which will have passed at %s", text(r, "until"));
        fputc('\n', f);
        if (json_is_string(json_object_get(r, "command")))
            fprintf(f, "  what would help: %s\n", text(r, "command"));
        else if (json_is_string(json_object_get(r, "advice")))
            fprintf(f, "  what would help: %s\n", text(r, "advice"));
    }
    fputc('\n', f);
}

enum tg_err explain_print(const json_t *answer, void *file)
{
    FILE *f = file;
    const json_t *scopes = json_object_get(answer, "scopes");
    if (!json_is_array(scopes))
        return TG_EINVAL;
    const json_t *reasons = json_object_get(answer, "reasons");
    if (reasons)
        fprintf(f, "%s %s\n\n", text(answer, "kind"), text(answer, "name"));
    else
        fprintf(f, "%s\n\n", text(answer, "topic"));
    print_row(f, (const char *const[9]){"SCOPE", "LIMIT FROM", "MSG/S NOW", "LIMIT", "BALANCE",
                                        "BYTE/S NOW", "LIMIT", "BALANCE", ""});
    size_t i;
    json_t *s;
    json_array_foreach(scopes, i, s) print_scope(f, s);
    if (reasons)
        print_reasons(f, reasons);
    else
        print_binding(f, scopes);
    print_waiting(f, json_object_get(answer, "waiting"));
    print_dispatch(f, json_object_get(answer, "dispatch"));
    print_subscriptions(f, json_object_get(answer, "waitingSubscriptions"));
    return TG_OK;
}

/* ---- what is meant ---- */

static const struct {
    const char *word, *arg, *template;
} kinds[] = {
    {"topic", "topic", "/{topic}/explain"},
    {"namespace", "namespace", "/namespaces/{namespace}/explain"},
    {"tenant", "name", "/tenants/{name}/explain"},
    {"client", "name", "/clients/{name}/explain"},
};
enum { AS_TOPIC, AS_NAMESPACE, AS_TENANT, AS_CLIENT, KINDS };

/* One word is a tenant if there is one of that name, else a topic of public/default. */
static int kind_of_word(const struct call *c, const char *name, int *code)
{
    char *reply = NULL;
    int kind = AS_TOPIC;
    *code = request_send(c, "GET", "/tenants", NULL, &reply);
    if (*code != CLI_OK)
        return kind;
    json_t *tenants = json_loads(reply, 0, NULL), *t;
    size_t i;
    json_array_foreach(tenants, i, t)
    {
        if (json_is_string(t) && strcmp(json_string_value(t), name) == 0)
            kind = AS_TENANT;
    }
    json_decref(tenants);
    free(reply);
    return kind;
}

/* An IP address, with or without port, or a connection's number. */
static bool looks_like_client(const char *name)
{
    size_t n = strspn(name, "0123456789abcdefABCDEF.:[]");
    bool numeric = strspn(name, "0123456789.") == strlen(name);
    return name[n] == '\0' && (numeric || strchr(name, ':'));
}

/* -1: --as is wrong. */
static int kind_of(const struct call *c, const char *name, int *code)
{
    const char *as = args_value(&c->args, "as");
    *code = CLI_OK;
    for (int i = 0; as && i < KINDS; i++)
        if (strcmp(as, kinds[i].word) == 0)
            return i;
    if (as) {
        complain(c, "--as %s is not allowed; allowed: topic, namespace, tenant, client", as);
        *code = CLI_USAGE;
        return -1;
    }
    const char *slash = strchr(name, '/');
    if (slash)
        return strstr(name, "://") || strchr(slash + 1, '/') ? AS_TOPIC : AS_NAMESPACE;
    return looks_like_client(name) ? AS_CLIENT : kind_of_word(c, name, code);
}

int explain_run(struct call *c)
{
    int code, kind = kind_of(c, call_arg(c, "name"), &code);
    if (code != CLI_OK)
        return code;
    struct command row = *c->command; /* with the argument's name as the template has it */
    struct call as = *c;
    char *path, *why;
    row.args[0] = kinds[kind].arg;
    as.command = &row;
    if (url_path(&as, kinds[kind].template, &path, &why) != TG_OK) {
        complain(c, "%s", why);
        free(why);
        return CLI_USAGE;
    }
    code = request_show(c, path, explain_print);
    free(path);
    return code;
}
