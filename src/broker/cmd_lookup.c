/* cmd_lookup.c - LOOKUP: which broker serves a topic. In this version there is one: the answer is
 * always this broker, with exactly the URL that later commands would name. Does not create the
 * topic. */
#include <stdio.h>
#include <string.h>

#include "broker/conn.h"
#include "broker/names.h"

static void answer(struct conn *c, Pulsar__Proto__CommandLookupTopicResponse *r)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__LOOKUP_RESPONSE;
    cmd.lookuptopicresponse = r;
    r->has_response = true;
    conn_send(c, &cmd);
}

static void refuse(struct conn *c, uint64_t request_id, Pulsar__Proto__ServerError code, char *text)
{
    Pulsar__Proto__CommandLookupTopicResponse r =
        PULSAR__PROTO__COMMAND_LOOKUP_TOPIC_RESPONSE__INIT;
    r.request_id = request_id;
    r.response = PULSAR__PROTO__COMMAND_LOOKUP_TOPIC_RESPONSE__LOOKUP_TYPE__Failed;
    r.has_error = true;
    r.error = code;
    r.message = text;
    answer(c, &r);
}

void cmd_lookup(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandLookupTopic *in = cmd->lookuptopic;
    struct topic_name n;
    const char *why;
    char text[256];
    if (topic_name_parse(&n, in->topic, &why) != TG_OK) {
        snprintf(text, sizeof text, "topic name: %s", why);
        refuse(c, in->request_id, PULSAR__PROTO__SERVER_ERROR__InvalidTopicName, text);
        return;
    }
    if (!n.persistent) {
        snprintf(text, sizeof text, NON_PERSISTENT_REFUSED);
        refuse(c, in->request_id, PULSAR__PROTO__SERVER_ERROR__NotAllowedError, text);
    } else if (in->advertised_listener_name && *in->advertised_listener_name) {
        snprintf(text, sizeof text, "the broker do not have %.100s listener",
                 in->advertised_listener_name); /* a client looks for these very words */
        refuse(c, in->request_id, PULSAR__PROTO__SERVER_ERROR__ServiceNotReady, text);
    } else {
        Pulsar__Proto__CommandLookupTopicResponse r =
            PULSAR__PROTO__COMMAND_LOOKUP_TOPIC_RESPONSE__INIT;
        r.request_id = in->request_id;
        r.response = PULSAR__PROTO__COMMAND_LOOKUP_TOPIC_RESPONSE__LOOKUP_TYPE__Connect;
        r.brokerserviceurl = c->shard->broker->service_url;
        r.has_authoritative = true;
        r.authoritative = true;
        answer(c, &r);
    }
    topic_name_fini(&n);
}
