/* events.c - `tidegate events`: what happened, one line each, and with --follow what happens. The
 * broker is asked for what it has after the last one shown. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "cli/command.h"

enum { ASK_AGAIN_MS = 500 };

/* time event key=value ...; numbers and times that the line begins with are not said twice. */
static void print_event(FILE *f, const json_t *e)
{
    const char *key;
    json_t *value;
    const char *time = json_string_value(json_object_get(e, "time"));
    const char *event = json_string_value(json_object_get(e, "event"));
    fprintf(f, "%s %s", time ? time : "-", event ? event : "-");
    json_object_foreach((json_t *)(uintptr_t)e, key, value)
    {
        if (strcmp(key, "time") == 0 || strcmp(key, "event") == 0 || strcmp(key, "number") == 0 ||
            json_is_null(value))
            continue;
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        fprintf(f, " %s=%s", key, text);
        free(text);
    }
    fputc('\n', f);
}

static void print_as_line(FILE *f, const json_t *e)
{
    char *text = json_dumps(e, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fprintf(f, "%s\n", text);
    free(text);
}

/* One answer. *since moves on; *more: ask at once. */
static int show_next(struct call *c, json_int_t *since, bool *more)
{
    char *path = xasprintf("/events?since=%" JSON_INTEGER_FORMAT, *since), *reply = NULL;
    int code = request_send(c, "GET", path, NULL, &reply);
    free(path);
    if (code != CLI_OK)
        return code;
    json_t *j = json_loads(reply, 0, NULL), *list = json_object_get(j, "events"), *e;
    free(reply);
    if (!json_is_array(list)) {
        complain(c, "the answer is not understood");
        json_decref(j);
        return CLI_FAILED;
    }
    if (json_is_true(json_object_get(j, "missed")))
        complain(c, "some are not kept by the broker any more; events.jsonl may have them");
    size_t i;
    json_array_foreach(list, i, e)
    {
        if (c->raw_json)
            print_as_line(stdout, e);
        else
            print_event(stdout, e);
    }
    *since = json_integer_value(json_object_get(j, "next"));
    *more = json_array_size(list) > 0;
    json_decref(j);
    return CLI_OK;
}

int events_run(struct call *c)
{
    json_int_t since = args_number(&c->args, "since", 0);
    bool follow = args_has(&c->args, "follow"), more;
    const struct timespec pause = {.tv_nsec = ASK_AGAIN_MS * 1000000L};
    for (;;) {
        int code = show_next(c, &since, &more);
        if (code != CLI_OK || (!more && !follow))
            return code;
        if (fflush(stdout) != 0)
            return CLI_FAILED;
        if (!more)
            nanosleep(&pause, NULL);
    }
}
