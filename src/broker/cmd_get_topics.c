/* cmd_get_topics.c - GET_TOPICS_OF_NAMESPACE: what pattern consumers ask. System topics are not
 * shown; the pattern is left to the client (filtered = false says so). */
#include <stdlib.h>
#include <utlist.h>

#include "base/alloc.h"
#include "broker/conn.h"
#include "broker/place.h"

static bool is_wanted(const struct place *p)
{
    return p->state == PLACE_READY && !name_is_system_topic(p->name.local);
}

void cmd_get_topics_of_namespace(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandGetTopicsOfNamespace *in = cmd->gettopicsofnamespace;
    struct ns *ns = registry_ns(c->shard->broker->registry, in->namespace_);
    if (!ns) {
        conn_send_error(c, in->request_id, PULSAR__PROTO__SERVER_ERROR__MetadataError,
                        "Namespace %s does not exist", in->namespace_);
        return;
    }
    Pulsar__Proto__BaseCommand out = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandGetTopicsOfNamespaceResponse r =
        PULSAR__PROTO__COMMAND_GET_TOPICS_OF_NAMESPACE_RESPONSE__INIT;
    out.type = PULSAR__PROTO__BASE_COMMAND__TYPE__GET_TOPICS_OF_NAMESPACE_RESPONSE;
    out.gettopicsofnamespaceresponse = &r;
    r.request_id = in->request_id;
    r.topics = xcalloc(ns->topic_count + 1, sizeof *r.topics);
    bool persistent =
        in->mode != PULSAR__PROTO__COMMAND_GET_TOPICS_OF_NAMESPACE__MODE__NON_PERSISTENT;
    struct place *p;
    DL_FOREACH2(ns->places, p, ns_next)
    {
        if (persistent && is_wanted(p))
            r.topics[r.n_topics++] = p->name.full;
    }
    r.has_filtered = true;
    r.has_changed = true;
    r.changed = true;
    conn_send(c, &out);
    free(r.topics);
}
