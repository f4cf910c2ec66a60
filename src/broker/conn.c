/* conn.c - a client connection from accept to close: frames are cut out of the bytes, the command
 * table says who handles them, a timer guards the handshake and keeps the client alive.
 *
 * Invariant: a connection that is not CONN_CLOSED is in shard->conns, has a stream that is not
 * closing, and its socket is read exactly while its pause set is empty. */
#include "broker/conn.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/opening.h"
#include "broker/producer.h"
#include "broker/subscription.h"

enum {
    CLOSE_REASON_MAX = 256,
    REFUSALS_PER_SECOND = 5, /* lines in the log */
    KEEP_ALIVE_CHECKS = 3,   /* looks per keep-alive interval: an idle client is pinged in time */
    /* Dispatch stops at STREAM_OUTPUT_HIGH, give or take an entry: what is beyond this, and a whole
     * entry, are answers and receipts that the client does not read. */
    UNREAD_ANSWERS_MAX = 2 * STREAM_OUTPUT_HIGH,
};

struct command_entry {
    int type;
    command_fn fn;
};

/* Every command that a client may send. What is in no row closes the connection. */
#define T(name) PULSAR__PROTO__BASE_COMMAND__TYPE__##name
static void cmd_ping(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
static void cmd_pong(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
static const struct command_entry commands[] = {
    {T(CONNECT), cmd_connect},
    {T(PING), cmd_ping},
    {T(PONG), cmd_pong},
    {T(PARTITIONED_METADATA), cmd_partitioned_metadata},
    {T(LOOKUP), cmd_lookup},
    {T(PRODUCER), cmd_producer},
    {T(CLOSE_PRODUCER), cmd_close_producer},
    {T(SUBSCRIBE), cmd_subscribe},
    {T(FLOW), cmd_flow},
    {T(ACK), cmd_ack},
    {T(REDELIVER_UNACKNOWLEDGED_MESSAGES), cmd_redeliver},
    {T(UNSUBSCRIBE), cmd_unsubscribe},
    {T(SEEK), cmd_seek},
    {T(GET_LAST_MESSAGE_ID), cmd_get_last_message_id},
    {T(CLOSE_CONSUMER), cmd_close_consumer},
    {T(CONSUMER_STATS), cmd_consumer_stats},
    {T(GET_TOPICS_OF_NAMESPACE), cmd_get_topics_of_namespace},
    {T(GET_SCHEMA), cmd_get_schema},
    {T(GET_OR_CREATE_SCHEMA), cmd_unserved},
    {T(NEW_TXN), cmd_unserved},
    {T(ADD_PARTITION_TO_TXN), cmd_unserved},
    {T(ADD_SUBSCRIPTION_TO_TXN), cmd_unserved},
    {T(END_TXN), cmd_unserved},
    {T(TC_CLIENT_CONNECT_REQUEST), cmd_unserved},
    {T(WATCH_TOPIC_LIST), cmd_unserved},
    {T(WATCH_TOPIC_LIST_CLOSE), cmd_unserved},
    {T(AUTH_RESPONSE), cmd_pong}, /* no challenge is ever sent: nothing to answer */
};
#undef T

static command_fn find_command(int type)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (commands[i].type == type)
            return commands[i].fn;
    return NULL;
}

static struct conn *conn_of_timer(struct timer *t)
{
    return (struct conn *)((char *)t - offsetof(struct conn, timer));
}

/* ---- closing ---- */

/* Everything the connection owns goes now; the struct itself when its stream has closed. */
static void conn_detach(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    timer_disarm(c->shard->worker, &c->timer);
    HASH_DEL(c->shard->conns, c);
    c->shard->conn_count--;
    openings_drop_all(c);
    struct producer *p, *next_p;
    HASH_ITER(hh, c->producers, p, next_p)
    {
        producer_close(p);
    }
    struct consumer *k, *next_k;
    HASH_ITER(hh, c->consumers, k, next_k)
    {
        consumer_close(k);
    }
}

static void conn_free(struct conn *c)
{
    arena_free(c->arena);
    free(c->client_version);
    free(c);
}

void conn_close(struct conn *c, const char *fmt, ...)
{
    if (c->state == CONN_CLOSED)
        return;
    char why[CLOSE_REASON_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    log_info("conn %llu: %s: closed: %s", (unsigned long long)c->id, stream_peer(c->stream), why);
    conn_detach(c);
    stream_close(c->stream, why);
}

static void on_closed(void *ctx, const char *why)
{
    struct conn *c = ctx;
    if (c->state != CONN_CLOSED)
        log_info("conn %llu: closed by the client or the network: %s", (unsigned long long)c->id,
                 why);
    conn_detach(c);
    conn_free(c);
}

void conn_close_all(struct shard *s, const char *why)
{
    struct conn *c, *next;
    HASH_ITER(hh, s->conns, c, next)
    {
        conn_close(c, "%s", why);
    }
}

/* ---- reading ---- */

static void read_again(struct conn *c)
{
    if (c->state == CONN_CLOSED || c->shard->broker->stopping)
        return;
    c->resumed_ns = shard_now_ns(c->shard);
    stream_resume(c->stream);
}

static size_t max_frame(const struct conn *c)
{
    if (c->state == CONN_HANDSHAKE)
        return FRAME_MAX_BEFORE_CONNECT;
    return (size_t)c->shard->broker->settings->max_message_bytes + FRAME_OVERHEAD;
}

static void handle_command(struct conn *c, const struct frame *f, int type)
{
    command_fn fn = find_command(type);
    if (!fn) {
        conn_close(c, "command %s (%d) is not one that a client may send here",
                   command_type_name(type), type);
        return;
    }
    const Pulsar__Proto__BaseCommand *cmd = command_unpack(c->arena, f->command, f->command_len);
    if (!cmd) {
        conn_close(c, "malformed %s command", command_type_name(type));
        return;
    }
    fn(c, cmd);
    arena_reset(c->arena);
}

static void handle_frame(struct conn *c, const struct frame *f)
{
    int type = command_peek_type(f->command, f->command_len);
    if (c->state == CONN_HANDSHAKE && type != PULSAR__PROTO__BASE_COMMAND__TYPE__CONNECT)
        conn_close(c, "the first command is %s, not CONNECT", command_type_name(type));
    else if (type == PULSAR__PROTO__BASE_COMMAND__TYPE__SEND)
        cmd_send(c, f);
    else
        handle_command(c, f, type);
}

/* A client that asks and does not read the answers is not listened to until it does. */
static void pause_when_unread(struct conn *c)
{
    if (stream_output_bytes(c->stream) > UNREAD_ANSWERS_MAX + max_frame(c) &&
        pause_set_add(&c->pause, REASON_OUTBOUND_BUFFER))
        stream_pause(c->stream);
}

static size_t on_bytes(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct conn *c = ctx;
    size_t used = 0;
    while (c->state != CONN_CLOSED && !pause_set_is_paused(&c->pause)) {
        struct frame f;
        const char *why = NULL;
        switch (frame_parse(p + used, len - used, max_frame(c), &f, need, &why)) {
        case FRAME_PARTIAL:
            return used;
        case FRAME_BAD:
            conn_close(c, "bad frame: %s", why);
            return len;
        case FRAME_OK:
            handle_frame(c, &f);
            used += f.frame_len;
            pause_when_unread(c);
        }
    }
    *need = 0;
    return c->state == CONN_CLOSED ? len : used;
}

static void on_drained(void *ctx)
{
    struct conn *c = ctx;
    if (pause_set_remove(&c->pause, REASON_OUTBOUND_BUFFER))
        read_again(c);
    if (c->state != CONN_CLOSED && c->subscriptions_waiting)
        dispatch_resume_conn(c);
}

static const struct stream_ops stream_ops = {
    .on_bytes = on_bytes, .on_drained = on_drained, .on_closed = on_closed};

/* ---- time: handshake and keep-alive ---- */

/* A connection that is not read can't be asked whether it lives, and its PINGs lie unread: an
 * unsolicited PONG is what every client takes for a sign of life. */
static void keep_alive(struct conn *c, int64_t now_ns, int64_t interval_ns)
{
    int64_t heard_ns = stream_last_read_ns(c->stream); /* stands still during a pause */
    int64_t silent_ns = now_ns - (heard_ns > c->resumed_ns ? heard_ns : c->resumed_ns);
    if (!stream_is_reading(c->stream)) {
        conn_send_pong(c);
    } else if (silent_ns >= 2 * interval_ns) {
        conn_close(c, "nothing came for %lld s", (long long)(silent_ns / MONO_S));
    } else if (silent_ns >= interval_ns) {
        Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
        Pulsar__Proto__CommandPing ping = PULSAR__PROTO__COMMAND_PING__INIT;
        cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__PING;
        cmd.ping = &ping;
        conn_send(c, &cmd);
    }
}

static void on_timer(struct timer *t, int64_t now_ns)
{
    struct conn *c = conn_of_timer(t);
    const struct settings *set = c->shard->broker->settings;
    if (c->state == CONN_HANDSHAKE) {
        conn_close(c, "no CONNECT within %lld ms", (long long)set->handshake_ms);
        return;
    }
    int64_t interval_ns = set->keep_alive_s * MONO_S;
    keep_alive(c, now_ns, interval_ns);
    if (c->state != CONN_CLOSED)
        timer_arm(c->shard->worker, t, now_ns + interval_ns / KEEP_ALIVE_CHECKS);
}

static void cmd_ping(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    (void)cmd;
    conn_send_pong(c);
}

static void cmd_pong(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    (void)c; /* that bytes came is all that counts, and the stream has noted it */
    (void)cmd;
}

/* ---- accepting ---- */

void conn_accept(struct shard *s, struct stream *stream)
{
    struct broker *b = s->broker;
    int64_t most = b->settings->max_connections;
    if (b->stopping || (most > 0 && s->conn_count >= most)) {
        uint32_t kept_back;
        if (log_gate_open(&s->refused_log, REFUSALS_PER_SECOND, shard_now_ns(s), &kept_back))
            log_warn("%s: refused: %s (%u lines kept back)", stream_peer(stream),
                     b->stopping ? "the broker stops" : "brokerMaxConnections is reached",
                     (unsigned)kept_back);
        stream_close(stream, "refused");
        return;
    }
    struct conn *c = xcalloc(1, sizeof *c);
    c->id = ++b->next_conn_id;
    c->shard = s;
    c->stream = stream;
    c->arena = arena_new();
    c->state = CONN_HANDSHAKE;
    c->connected_wall_ns = shard_wall_ns(s);
    HASH_ADD(hh, s->conns, id, sizeof c->id, c);
    s->conn_count++;
    timer_init(&c->timer, on_timer);
    timer_arm(s->worker, &c->timer, shard_now_ns(s) + b->settings->handshake_ms * MONO_MS);
    stream_set_ops(stream, &stream_ops, c);
    log_debug("conn %llu: accepted from %s", (unsigned long long)c->id, stream_peer(stream));
}

struct conn *conn_find(struct shard *s, uint64_t conn_id)
{
    struct conn *c;
    HASH_FIND(hh, s->conns, &conn_id, sizeof conn_id, c);
    return c;
}

/* ---- pausing ---- */

void conn_pause_for_producer(struct conn *c)
{
    if (pause_set_add_producer(&c->pause))
        stream_pause(c->stream);
}

void conn_resume_for_producer(struct conn *c)
{
    if (pause_set_remove_producer(&c->pause))
        read_again(c);
}
