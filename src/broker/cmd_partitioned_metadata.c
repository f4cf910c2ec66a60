/* cmd_partitioned_metadata.c - PARTITIONED_METADATA: how many partitions a topic has; 0 for a plain
 * one, also for one that does not exist yet and may be made. With
 * allowAutoTopicCreationType=partitioned the metadata are made here. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/conn.h"
#include "broker/names.h"
#include "broker/place.h"

struct pending { /* the answer waits for the partitions to be made */
    struct shard *shard;
    uint64_t conn_id, request_id;
    int partitions;
};

static void answer(struct conn *c, Pulsar__Proto__CommandPartitionedTopicMetadataResponse *r)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__PARTITIONED_METADATA_RESPONSE;
    cmd.partitionmetadataresponse = r;
    r->has_response = true;
    r->has_partitions = true; /* a Java client reads it unasked */
    conn_send(c, &cmd);
}

static void answer_partitions(struct conn *c, uint64_t request_id, int partitions)
{
    Pulsar__Proto__CommandPartitionedTopicMetadataResponse r =
        PULSAR__PROTO__COMMAND_PARTITIONED_TOPIC_METADATA_RESPONSE__INIT;
    r.request_id = request_id;
    r.response = PULSAR__PROTO__COMMAND_PARTITIONED_TOPIC_METADATA_RESPONSE__LOOKUP_TYPE__Success;
    r.partitions = (uint32_t)partitions;
    answer(c, &r);
}

static void refuse(struct conn *c, uint64_t request_id, Pulsar__Proto__ServerError code, char *text)
{
    Pulsar__Proto__CommandPartitionedTopicMetadataResponse r =
        PULSAR__PROTO__COMMAND_PARTITIONED_TOPIC_METADATA_RESPONSE__INIT;
    r.request_id = request_id;
    r.response = PULSAR__PROTO__COMMAND_PARTITIONED_TOPIC_METADATA_RESPONSE__LOOKUP_TYPE__Failed;
    r.has_error = true;
    r.error = code;
    r.message = text;
    answer(c, &r);
}

static void on_made(void *ctx, enum tg_err e)
{
    struct pending *p = ctx;
    struct conn *c = conn_find(p->shard, p->conn_id);
    char text[] = "the partitions could not be made";
    if (c && (e == TG_OK || e == TG_EEXIST))
        answer_partitions(c, p->request_id, p->partitions);
    else if (c)
        refuse(c, p->request_id, PULSAR__PROTO__SERVER_ERROR__MetadataError, text);
    free(p);
}

static void make_partitioned(struct conn *c, const struct topic_name *n, uint64_t request_id)
{
    struct pending *p = xcalloc(1, sizeof *p);
    p->shard = c->shard;
    p->conn_id = c->id;
    p->request_id = request_id;
    p->partitions = (int)c->shard->broker->settings->default_partitions;
    registry_create_partitioned(c->shard->broker->registry, n, p->partitions, NULL, on_made, p);
}

static void look_up(struct conn *c, const struct topic_name *n,
                    const Pulsar__Proto__CommandPartitionedTopicMetadata *in)
{
    struct broker *b = c->shard->broker;
    const struct settings *set = b->settings;
    const struct partitioned *part = registry_partitioned(b->registry, n->full);
    bool may_create = !in->has_metadata_auto_creation_enabled || in->metadata_auto_creation_enabled;
    char text[256];
    if (part) {
        answer_partitions(c, in->request_id, part->partitions);
    } else if (place_find(b->registry, n->full) || n->partitioned) {
        answer_partitions(c, in->request_id, 0);
    } else if (!registry_ns(b->registry, n->ns)) {
        snprintf(text, sizeof text, "Namespace %.200s does not exist", n->ns);
        refuse(c, in->request_id, PULSAR__PROTO__SERVER_ERROR__TopicNotFound, text);
    } else if (!may_create || !set->allow_auto_topic_creation) {
        snprintf(text, sizeof text, "Topic %.200s does not exist", n->full);
        refuse(c, in->request_id, PULSAR__PROTO__SERVER_ERROR__TopicNotFound, text);
    } else if (set->auto_topic_partitioned) {
        make_partitioned(c, n, in->request_id);
    } else {
        answer_partitions(c, in->request_id, 0);
    }
}

void cmd_partitioned_metadata(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandPartitionedTopicMetadata *in = cmd->partitionmetadata;
    struct topic_name n;
    const char *why;
    char text[256];
    if (topic_name_parse(&n, in->topic, &why) != TG_OK) {
        snprintf(text, sizeof text, "topic name: %s", why);
        refuse(c, in->request_id, PULSAR__PROTO__SERVER_ERROR__InvalidTopicName, text);
        return;
    }
    if (n.persistent) {
        look_up(c, &n, in);
    } else {
        snprintf(text, sizeof text, NON_PERSISTENT_REFUSED);
        refuse(c, in->request_id, PULSAR__PROTO__SERVER_ERROR__NotAllowedError, text);
    }
    topic_name_fini(&n);
}
