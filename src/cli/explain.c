/* explain.c - `tidegate explain TOPIC`: the limits a topic is under as a table for people, from the
 * broker's answer (docs/admin-api.md, "explain"). One line per scope of the path, narrowest first;
 * then which one binds and for how long, who waits, and the command that would raise it. What a
 * broker leaves out is printed as "-": an older broker's answer is still readable. */
#include <stdio.h>
#include <stdlib.h>

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
    struct cell c[] = {real(s, "msgRateIn"),          whole(s, "rateInMsg", 1),
                       whole(s, "balanceInMsg", any), real(s, "msgThroughputIn"),
                       whole(s, "rateInByte", 1),     whole(s, "balanceInByte", any)};
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

static void print_waiting(FILE *f, const json_t *waiting)
{
    size_t i;
    json_t *w;
    json_array_foreach(waiting, i, w)
    {
        fprintf(f, "producer %s (%s) has waited at %s for %s ms: %s messages parked (%s bytes)%s\n",
                text(w, "producerName"), text(w, "address"), text(w, "reason"),
                real(w, "sinceMs").text, whole(w, "parkedMessages", 0).text,
                whole(w, "parkedBytes", 0).text,
                json_is_true(json_object_get(w, "connectionPaused")) ? ", its connection is paused"
                                                                     : "");
    }
    if (json_array_size(waiting) == 0)
        fprintf(f, "nobody waits\n");
}

enum tg_err explain_print(const json_t *answer, void *file)
{
    FILE *f = file;
    const json_t *scopes = json_object_get(answer, "scopes");
    if (!json_is_array(scopes))
        return TG_EINVAL;
    fprintf(f, "%s\n\n", text(answer, "topic"));
    print_row(f, (const char *const[9]){"SCOPE", "LIMIT FROM", "MSG/S NOW", "LIMIT", "BALANCE",
                                        "BYTE/S NOW", "LIMIT", "BALANCE", ""});
    size_t i;
    json_t *s;
    json_array_foreach(scopes, i, s) print_scope(f, s);
    print_binding(f, scopes);
    print_waiting(f, json_object_get(answer, "waiting"));
    return TG_OK;
}

int explain_run(struct call *c)
{
    char *path, *why, *reply = NULL;
    if (url_path(c, c->command->path, &path, &why) != TG_OK) {
        complain(c, "%s", why);
        free(why);
        return CLI_USAGE;
    }
    int code = request_send(c, "GET", path, NULL, &reply);
    free(path);
    if (code == CLI_OK && c->raw_json) {
        puts(reply);
    } else if (code == CLI_OK) {
        json_t *answer = json_loads(reply, 0, NULL);
        if (explain_print(answer, stdout) != TG_OK) {
            complain(c, "the answer is not understood: %.200s", reply);
            code = CLI_FAILED;
        }
        json_decref(answer);
    }
    free(reply);
    return code;
}
