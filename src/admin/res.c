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

bool res_topic_is_ready(const struct topic *t)
{
    return t != NULL && t->state == TOPIC_READY;
}

void res_no_topic(struct call *c)
{
    reply_reason(c, 404, "Topic %s not found", c->topic.full);
}

struct topic *res_topic(struct call *c)
{
    if (!res_topic_name(c))
        return NULL;
    struct topic *t = topic_find(c->shard, c->topic.full);
    if (res_topic_is_ready(t))
        return t;
    res_no_topic(c);
    return NULL;
}

struct topic *res_partition(struct call *c, const struct partitioned *p, int i)
{
    char *name = xasprintf("%s-partition-%d", p->name, i);
    struct topic *t = topic_find(c->shard, name);
    free(name);
    return res_topic_is_ready(t) ? t : NULL;
}
