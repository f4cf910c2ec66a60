/* conn_send.c - what the broker says to a client: whole frames, written into the stream's
 * output, or into what goes to the worker that has the socket. Nothing is written to a connection
 * that is closed. */
#include <stdarg.h>
#include <stdio.h>

#include "broker/conn.h"
#include "broker/link.h"

enum { ERROR_TEXT_MAX = 512 };

uint8_t *conn_reserve(struct conn *c, size_t n)
{
    return c->stream ? stream_reserve(c->stream, n) : link_reserve(c->link, n);
}

void conn_commit(struct conn *c, size_t n)
{
    if (c->stream)
        stream_commit(c->stream, n);
    else
        link_commit(c->link, n);
}

size_t conn_output_bytes(const struct conn *c)
{
    return c->stream ? stream_output_bytes(c->stream) : link_output_bytes(c->link);
}

bool conn_is_congested(struct conn *c)
{
    return c->stream ? stream_is_congested(c->stream) : link_is_congested(c->link);
}

void conn_send(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    if (c->state == CONN_CLOSED)
        return;
    size_t n = command_frame_len(cmd);
    command_frame_write(cmd, conn_reserve(c, n));
    conn_commit(c, n);
}

#define COMMAND(cmd, TYPE)                                                                         \
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;                            \
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__##TYPE

void conn_send_success(struct conn *c, uint64_t request_id)
{
    COMMAND(cmd, SUCCESS);
    Pulsar__Proto__CommandSuccess ok = PULSAR__PROTO__COMMAND_SUCCESS__INIT;
    ok.request_id = request_id;
    cmd.success = &ok;
    conn_send(c, &cmd);
}

/* protobuf-c wants its strings writable; it only reads them. */
static char *unconst(const char *s)
{
    union {
        const char *from;
        char *to;
    } u = {.from = s};
    return u.to;
}

void conn_send_error_text(struct conn *c, uint64_t request_id, Pulsar__Proto__ServerError code,
                          const char *text)
{
    COMMAND(cmd, ERROR);
    Pulsar__Proto__CommandError err = PULSAR__PROTO__COMMAND_ERROR__INIT;
    err.request_id = request_id;
    err.error = code;
    err.message = unconst(text);
    cmd.error = &err;
    conn_send(c, &cmd);
}

void conn_send_error(struct conn *c, uint64_t request_id, Pulsar__Proto__ServerError code,
                     const char *fmt, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    conn_send_error_text(c, request_id, code, text);
}

void conn_send_pong(struct conn *c)
{
    COMMAND(cmd, PONG);
    Pulsar__Proto__CommandPong pong = PULSAR__PROTO__COMMAND_PONG__INIT;
    cmd.pong = &pong;
    conn_send(c, &cmd);
}

void conn_send_close_producer(struct conn *c, uint64_t producer_id, bool same_broker)
{
    COMMAND(cmd, CLOSE_PRODUCER);
    Pulsar__Proto__CommandCloseProducer close = PULSAR__PROTO__COMMAND_CLOSE_PRODUCER__INIT;
    close.producer_id = producer_id;
    close.request_id = UINT64_MAX;     /* no answer is expected */
    if (same_broker && !c->is_proxied) /* as cmd_lookup.c says it; a proxy's clients get no other */
        close.assignedbrokerserviceurl = c->shard->broker->service_url;
    cmd.close_producer = &close;
    conn_send(c, &cmd);
}

void conn_send_close_consumer(struct conn *c, uint64_t consumer_id)
{
    COMMAND(cmd, CLOSE_CONSUMER);
    Pulsar__Proto__CommandCloseConsumer close = PULSAR__PROTO__COMMAND_CLOSE_CONSUMER__INIT;
    close.consumer_id = consumer_id;
    close.request_id = UINT64_MAX;
    cmd.close_consumer = &close;
    conn_send(c, &cmd);
}
