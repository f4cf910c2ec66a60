/* res.c - what several resources share: finding what the path names, or saying that it is not
 * there. */
#include "admin/res.h"

#include <stdlib.h>

#include "base/alloc.h"

struct registry *res_registry(struct call *c)
{
    return c->broker->registry;
}

struct ns *res_ns(struct call *c, const char *missing)
{
    char *name = xasprintf("%s/%s", call_capture(c, CAP_TENANT), call_capture(c, CAP_NS));
    struct ns *n = registry_ns(res_registry(c), name);
    free(name);
    if (n == NULL)
        reply_reason(c, 404, "%s", missing);
    return n;
}

bool res_topic_name(struct call *c)
{
    char *full =
        xasprintf("%s://%s/%s/%s", call_capture(c, CAP_DOMAIN), call_capture(c, CAP_TENANT),
                  call_capture(c, CAP_NS), call_capture(c, CAP_TOPIC));
    const char *why;
    enum tg_err e = topic_name_parse(&c->topic, full, &why);
    free(full);
    if (e != TG_OK)
        reply_reason(c, 412, "Topic name is not valid: %s", why);
    else if (!c->topic.persistent)
        reply_reason(c, 405, NON_PERSISTENT_REFUSED);
    else
        return true;
    return false;
}

void res_no_topic(struct call *c)
{
    reply_reason(c, 404, "Topic %s not found", c->topic.full);
}

struct place *res_place(struct call *c)
{
    if (!res_topic_name(c))
        return NULL;
    struct place *p = place_find_ready(res_registry(c), c->topic.full);
    if (p == NULL)
        res_no_topic(c);
    return p;
}

struct place *res_partition(struct call *c, const struct partitioned *p, int i)
{
    char *name = xasprintf("%s-partition-%d", p->name, i);
    struct place *place = place_find_ready(res_registry(c), name);
    free(name);
    return place;
}

json_t *res_topic_names(struct call *c, const struct ns *n)
{
    bool system = call_flag(c, "includeSystemTopic");
    json_t *list = json_array();
    for (const struct place *p = n->places; p != NULL; p = p->ns_next)
        if (p->state == PLACE_READY && (system || !name_is_system_topic(p->name.local)))
            json_array_append_new(list, json_string(p->name.full));
    return list;
}
