/* res_lookup.c - /lookup/v2/topic: what clients with an http:// service URL ask: which broker
 * serves this topic. Always this one. */
#include <xxhash.h>

#include "admin/res.h"

/* A topic that may be made counts as there; its namespace must exist. */
static bool check(struct call *c)
{
    if (!res_topic_name(c))
        return false;
    if (registry_ns(res_registry(c), c->topic.ns) != NULL)
        return true;
    reply_reason(c, 404, "Namespace not found");
    return false;
}

void lookup_topic(struct call *c)
{
    if (!check(c))
        return;
    const char *binary = c->broker->service_url != NULL ? c->broker->service_url : "";
    const char *web = c->broker->web_url != NULL ? c->broker->web_url : "";
    reply_json(c, 200,
               json_pack("{s:s,s:s,s:s,s:s}", "brokerUrl", binary, "httpUrl", web, "nativeUrl",
                         binary, "brokerUrlSsl", ""));
}

/* Which of the four default bundles the name falls into. Nothing is placed by it. */
void lookup_bundle(struct call *c)
{
    if (!check(c))
        return;
    static const char *const edge[] = {"0x00000000", "0x40000000", "0x80000000", "0xc0000000",
                                       "0xffffffff"};
    uint32_t hash = XXH32(c->topic.full, strlen(c->topic.full), 0);
    struct bytes b = {0};
    bytes_printf(&b, "%s_%s", edge[hash >> 30], edge[(hash >> 30) + 1]);
    reply_text(c, "text/plain", &b);
}
