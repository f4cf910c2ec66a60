/* cmd_consumer_stats.c - CONSUMER_STATS: one consumer's numbers. Errors go in the same answer: an
 * ERROR would leave the client waiting. */
#include "base/wall_time.h"
#include "broker/subscription.h"

enum { ADDRESS_TEXT = 96 };

static char *unconst(const char *s) /* protobuf-c wants its strings writable; it only reads them */
{
    union {
        const char *from;
        char *to;
    } u = {.from = s};
    return u.to;
}

static void fill(Pulsar__Proto__CommandConsumerStatsResponse *out, const struct consumer *k)
{
    const struct subscription *s = k->sub;
    int64_t now_ns = shard_now_ns(s->shard);
    out->has_msgrateout = out->has_msgthroughputout = out->has_msgrateredeliver = true;
    out->msgrateout = tg_meter_rate(&k->msgs_out, now_ns);
    out->msgthroughputout = tg_meter_rate(&k->bytes_out, now_ns);
    out->msgrateredeliver = tg_meter_rate(&k->redelivered, now_ns);
    out->consumername = k->name;
    out->has_availablepermits = out->has_unackedmessages = true;
    out->availablepermits = k->permits > 0 ? (uint64_t)k->permits : 0;
    out->unackedmessages = k->unacked_messages;
    out->has_blockedconsumeronunackedmsgs = true;
    out->blockedconsumeronunackedmsgs = k->blocked_on_unacked;
    out->type = unconst(s->type == SUB_SHARED ? "Shared" : "Exclusive");
    out->has_msgrateexpired = out->has_msgbacklog = out->has_messageackrate = true;
    out->msgbacklog = subscription_backlog(s);
    out->messageackrate = tg_meter_rate(&k->acks, now_ns);
}

void cmd_consumer_stats(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandConsumerStats *in = cmd->consumerstats;
    struct consumer *k = conn_consumer(c, in->consumer_id);
    Pulsar__Proto__BaseCommand reply = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandConsumerStatsResponse out =
        PULSAR__PROTO__COMMAND_CONSUMER_STATS_RESPONSE__INIT;
    char since[WALL_TIME_MAX], address[ADDRESS_TEXT];
    reply.type = PULSAR__PROTO__BASE_COMMAND__TYPE__CONSUMER_STATS_RESPONSE;
    reply.consumerstatsresponse = &out;
    out.request_id = in->request_id;
    if (k && k->sub) {
        wall_time_format(k->connected_wall_ns, since);
        snprintf(address, sizeof address, "/%s", c->peer);
        out.connectedsince = since;
        out.address = address;
        fill(&out, k);
    } else {
        out.has_error_code = true;
        out.error_code = PULSAR__PROTO__SERVER_ERROR__ConsumerNotFound;
        out.error_message = unconst("Consumer not found");
    }
    conn_send(c, &reply);
}
