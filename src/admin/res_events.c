/* res_events.c - GET /admin/v2/events?since=N&limit=N: what happened after event N, from memory. */
#include <errno.h>
#include <stdlib.h>

#include "admin/res.h"
#include "broker/events.h"

/* A query argument; absent: <otherwise>. False: no number. */
static bool number_arg(struct call *c, const char *name, uint64_t otherwise, uint64_t *out)
{
    const char *text = uri_arg(&c->uri, name);
    char *end;
    *out = otherwise;
    if (text == NULL)
        return true;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (errno == 0 && *text >= '0' && *text <= '9' && *end == '\0')
        return true;
    reply_reason(c, 400, "%s is a whole number", name);
    return false;
}

void events_get(struct call *c)
{
    uint64_t since, most;
    if (!number_arg(c, "since", 0, &since) || !number_arg(c, "limit", EVENTS_ANSWERED, &most))
        return;
    struct bytes out = {0};
    events_since(c->broker->events, since, most < EVENTS_ANSWERED ? (size_t)most : EVENTS_ANSWERED,
                 &out);
    reply_text(c, "application/json", &out);
}
