/* conn.c - a connection of the load generator: CONNECT, then what the broker says goes to whom it
 * concerns. What comes once per message is told by its type's byte and not unpacked: every broker
 * writes the type first.
 *
 * A broker's CLOSE_PRODUCER is obeyed as Pulsar's clients do: register again, wait until ready,
 * send again what has no receipt. */
#include <stdio.h>

#include "base/mono.h"
#include "load.h"

#define TYPE(name) PULSAR__PROTO__BASE_COMMAND__TYPE__##name

/* ---- out ---- */

void conn_send_command(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    size_t n = command_frame_len(cmd);
    command_frame_write(cmd, stream_reserve(c->stream, n));
    stream_commit(c->stream, n);
}

static void send_connect(struct conn *c)
{
    Pulsar__Proto__CommandConnect body = PULSAR__PROTO__COMMAND_CONNECT__INIT;
    char version[64];
    snprintf(version, sizeof(version), "%s", c->load->client_version);
    body.client_version = version;
    body.has_protocol_version = true;
    body.protocol_version = 19;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = TYPE(CONNECT);
    cmd.connect = &body;
    conn_send_command(c, &cmd);
}

void conn_send_lookup(struct conn *c, const char *topic, uint64_t request)
{
    Pulsar__Proto__CommandLookupTopic body = PULSAR__PROTO__COMMAND_LOOKUP_TOPIC__INIT;
    body.topic = (char *)(uintptr_t)topic;
    body.request_id = request;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = TYPE(LOOKUP);
    cmd.lookuptopic = &body;
    conn_send_command(c, &cmd);
}

static void send_pong(struct conn *c)
{
    Pulsar__Proto__CommandPong body = PULSAR__PROTO__COMMAND_PONG__INIT;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = TYPE(PONG);
    cmd.pong = &body;
    conn_send_command(c, &cmd);
}

/* ---- in ---- */

uint64_t read_varint(const uint8_t **p, const uint8_t *end)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t b = *(*p)++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            break;
    }
    return v;
}

static struct producer *producer_of(struct conn *c, uint64_t id)
{
    return id < (uint64_t)c->producer_count ? c->producers[id] : NULL;
}

static struct consumer *consumer_of(struct conn *c, uint64_t request)
{
    uint64_t id = request - CONSUMER_REQUESTS;
    return id < (uint64_t)c->consumer_count ? c->consumers[id] : NULL;
}

static void open_all(struct conn *c)
{
    for (int i = 0; i < c->producer_count; i++)
        if (c->load->lookup)
            conn_send_lookup(c, c->producers[i]->topic, (uint64_t)i);
        else
            producer_open(c->producers[i]);
    for (int i = 0; i < c->consumer_count; i++)
        if (c->load->lookup)
            conn_send_lookup(c, c->consumers[i]->topic, CONSUMER_REQUESTS + (uint64_t)i);
        else
            consumer_open(c->consumers[i]);
}

static void on_looked_up(struct conn *c, uint64_t request)
{
    struct producer *p = producer_of(c, request);
    struct consumer *k = consumer_of(c, request);
    if (p != NULL)
        producer_open(p);
    else if (k != NULL)
        consumer_open(k);
}

static void on_command(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    struct producer *p;
    struct consumer *k;
    if (cmd->connected != NULL) {
        open_all(c);
    } else if (cmd->lookuptopicresponse != NULL) {
        on_looked_up(c, cmd->lookuptopicresponse->request_id);
    } else if (cmd->producer_success != NULL) {
        const Pulsar__Proto__CommandProducerSuccess *ok = cmd->producer_success;
        bool waits = ok->has_producer_ready && !ok->producer_ready;
        if (!waits && (p = producer_of(c, ok->request_id)) != NULL)
            producer_ready(p);
    } else if (cmd->success != NULL) {
        if ((k = consumer_of(c, cmd->success->request_id)) != NULL)
            consumer_ready(k);
    } else if (cmd->close_producer != NULL) {
        if ((p = producer_of(c, cmd->close_producer->producer_id)) != NULL)
            producer_closed_by_broker(p);
    } else if (cmd->send_error != NULL) {
        if ((p = producer_of(c, cmd->send_error->producer_id)) != NULL)
            p->group->send_errors++;
        load_fail(c->load, "SEND_ERROR", cmd->send_error->message);
    } else if (cmd->error != NULL) {
        load_fail(c->load, "ERROR", cmd->error->message);
    } else if (cmd->close_consumer != NULL) {
        load_fail(c->load, "CLOSE_CONSUMER", "no consumer comes again here");
    } else if (cmd->ping != NULL) {
        send_pong(c);
    }
}

static void on_frame(struct conn *c, const uint8_t *frame, size_t len, int64_t now_ns)
{
    const uint8_t *command = frame + 8;
    size_t command_len = get_be32(frame + 4);
    int type = command_len > 3 ? command[1] : 0;
    if (command_len > len - 8) {
        load_fail(c->load, "frame", "a command is longer than its frame");
    } else if (type == TYPE(SEND_RECEIPT) || type == TYPE(SEND)) {
        producer_receipt(c, command, command + command_len, now_ns);
    } else if (type == TYPE(MESSAGE)) {
        consumer_message(c, frame, len);
    } else {
        arena_reset(c->arena);
        Pulsar__Proto__BaseCommand *cmd = command_unpack(c->arena, command, command_len);
        if (cmd != NULL)
            on_command(c, cmd);
    }
}

static void fill_touched(struct conn *c, int64_t now_ns)
{
    struct producer *t = c->touched;
    c->touched = NULL;
    for (struct producer *next; t != NULL; t = next) {
        next = t->next_touched;
        t->touched = false;
        producer_fill(t, now_ns);
    }
}

static size_t on_bytes(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct conn *c = ctx;
    int64_t now_ns = mono_now_ns();
    size_t used = 0;
    *need = 8;
    while (len - used >= 8) {
        size_t total = 4 + (size_t)get_be32(p + used);
        if (len - used < total) {
            *need = total;
            break;
        }
        on_frame(c, p + used, total, now_ns);
        used += total;
    }
    fill_touched(c, now_ns);
    return used;
}

static void on_drained(void *ctx)
{
    struct conn *c = ctx;
    int64_t now_ns = mono_now_ns();
    for (int i = 0; i < c->producer_count; i++)
        producer_fill(c->producers[i], now_ns);
}

static void on_closed(void *ctx, const char *why)
{
    struct conn *c = ctx;
    c->stream = NULL;
    if (c->load->failed || c->load->wall_ns > 0)
        return; /* over: the worker closes what is left */
    load_fail(c->load, "connection closed", why);
}

static void on_connected(void *ctx, struct stream *s)
{
    static const struct stream_ops ops = {on_bytes, on_drained, on_closed};
    struct conn *c = ctx;
    if (s == NULL) {
        load_fail(c->load, "connect", "refused");
        return;
    }
    c->stream = s;
    stream_set_ops(s, &ops, c);
    send_connect(c);
}

void conn_open(struct conn *c)
{
    struct load *l = c->load;
    enum tg_err err = stream_connect(l->w, l->host, l->port, on_connected, c);
    if (err != TG_OK)
        load_fail(l, "connect", err_text(err));
}
