/* cmd_consumer_stats.c - CONSUMER_STATS: one consumer's numbers. Errors go in the same answer: an
 * ERROR would leave the client waiting. */
#include <stdio.h>
#include <time.h>

#include "base/mono.h"
#include "broker/subscription.h"

enum { TIME_TEXT = 48, ADDRESS_TEXT = 96 };

static char *unconst(const char *s) /* protobuf-c wants its strings writable; it only reads them */
{
    union {
        const char *from;
        char *to;
    } u = {.from = s};
    return u.to;
}

/* 2026-01-31T12:00:00.123Z */
static void write_time(char *out, size_t cap, int64_t wall_ns)
{
    time_t s = wall_ns / MONO_S;
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(out, cap, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, cap - n, ".%03dZ", (int)(wall_ns % MONO_S / MONO_MS));
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
    char since[TIME_TEXT], address[ADDRESS_TEXT];
    reply.type = PULSAR__PROTO__BASE_COMMAND__TYPE__CONSUMER_STATS_RESPONSE;
    reply.consumerstatsresponse = &out;
    out.request_id = in->request_id;
    if (k && k->sub) {
        write_time(since, sizeof since, k->connected_wall_ns);
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
