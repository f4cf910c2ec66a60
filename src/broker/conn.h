/* conn.h - a client's connection as one worker sees it: the producers and consumers that it has
 * there, and the way to answer. The commands (cmd_*.c) and everything behind them know a connection
 * only as this.
 *
 * On the worker that reads its socket it is part of the front (front.h), on any other it is the far
 * end of a link (link.h): then what is sent goes by letter at the end of the turn. Owner: its
 * worker. */
#ifndef BROKER_CONN_H
#define BROKER_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"

#include "broker/broker.h"
#include "throttle/gate.h"
#include "wire/command.h"

enum id_kind { ID_PRODUCER, ID_CONSUMER }; /* a client's ids of these are two series */

struct producer;
struct consumer;
struct front;
struct link;

enum conn_state {
    CONN_HANDSHAKE, /* in shard->conns; only CONNECT is understood */
    CONN_READY,     /* in shard->conns */
    CONN_CLOSED,    /* in no list; producers and consumers are gone; its owner frees it */
};

struct conn {
    UT_hash_handle hh; /* shard->conns, by id */
    uint64_t id;       /* for the log: "conn 17"; the same on every worker */
    struct shard *shard;
    struct front *front;   /* one of these two is set */
    struct link *link;     /* its far end is this */
    struct stream *stream; /* the front's socket; NULL at a link */
    enum conn_state state;
    char *client_version; /* of CONNECT, blanks kept out of stats */
    bool is_proxied;      /* by CONNECT, it comes through a proxy */
    const char *peer;     /* "127.0.0.1:40112"; the front's or the link's */
    const char *role;     /* "": there is no authentication */
    int64_t connected_wall_ns;
    struct producer *producers;     /* map by producer_id */
    struct consumer *consumers;     /* map by consumer_id */
    struct producer *last_producer; /* the one that sent last: SENDs come in runs */
    bool ever_opened_producer;
    uint64_t max_producer_id; /* highest id ever opened here: a SEND to one below was closed */
    uint32_t producer_count, consumer_count;
    uint32_t pausing;           /* producers here that want its socket unread */
    struct flight in_flight;    /* appended here, not yet acknowledged */
    bool subscriptions_waiting; /* some consumer here stopped because the output was congested */
};

/* Into the shard's map, in <state>; the rest is filled in by the owner. */
void conn_init(struct conn *c, struct shard *s, uint64_t id, enum conn_state state);
/* CONN_CLOSED: its producers and consumers go now, it leaves the map. Idempotent. */
void conn_detach(struct conn *c);
/* Closes the client's connection, here at once, elsewhere soon, for a reason that is logged. Never
 * frees inside a command. */
void conn_close(struct conn *c, const char *fmt, ...) TG_PRINTF(2, 3);
/* A producer or consumer of it has ended, or was refused: so far as its front has to know. */
void conn_note_gone(struct conn *c, enum id_kind kind, uint64_t id);
/* A frame that is to be handled on this worker. */
void conn_handle_frame(struct conn *c, const struct frame *f);
/* A request that is answered later keeps (shard, id). NULL: the connection is gone. */
struct conn *conn_find(struct shard *s, uint64_t conn_id);

/* ---- answers (conn_send.c) ---- */

/* <n> contiguous bytes to write into, of which conn_commit then says how many were written. Not on
 * a closed connection. */
uint8_t *conn_reserve(struct conn *c, size_t n);
void conn_commit(struct conn *c, size_t n);
/* Output that its client has not taken yet, and whether it is so much that dispatch to it stops;
 * then dispatch_resume_conn is called when it has gone down, if subscriptions_waiting is set. */
size_t conn_output_bytes(const struct conn *c);
bool conn_is_congested(struct conn *c);

void conn_send(struct conn *c, const Pulsar__Proto__BaseCommand *cmd); /* any command */
void conn_send_success(struct conn *c, uint64_t request_id);
void conn_send_error(struct conn *c, uint64_t request_id, Pulsar__Proto__ServerError code,
                     const char *fmt, ...) TG_PRINTF(4, 5);
void conn_send_error_text(struct conn *c, uint64_t request_id, Pulsar__Proto__ServerError code,
                          const char *text);
void conn_send_pong(struct conn *c);
/* Broker to client: the thing is gone here, come again. <same_broker>: it will be here again, so
 * that the client need not ask where. */
void conn_send_close_producer(struct conn *c, uint64_t producer_id, bool same_broker);
void conn_send_close_consumer(struct conn *c, uint64_t consumer_id);

/* Reading of its socket stops while any producer, on any worker, wants it stopped. */
void conn_pause_for_producer(struct conn *c);
void conn_resume_for_producer(struct conn *c);
/* How long its socket has not been read, in all; elsewhere as of some moments ago. */
int64_t conn_unread_ns(const struct conn *c, int64_t now_ns);

/* ---- the commands: <cmd> lives until the handler returns. Each is a file cmd_<name>.c ---- */
typedef void (*command_fn)(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_connect(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_ping(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_pong(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_partitioned_metadata(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_lookup(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_producer(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_close_producer(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_send(struct conn *c, const struct frame *f); /* by hand, not unpacked */
void cmd_subscribe(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_flow(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_ack(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_redeliver(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_unsubscribe(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_seek(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_get_last_message_id(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_close_consumer(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_consumer_stats(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_get_topics_of_namespace(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_get_schema(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
/* Understood, not served yet: the error that this command's client understands. */
void cmd_unserved(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);

/* What is wrong with a PRODUCER or SUBSCRIBE by itself, before its topic is looked at; NULL when
 * nothing is. Any worker. */
const char *cmd_producer_problem(const Pulsar__Proto__CommandProducer *in);
const char *cmd_subscribe_problem(const Pulsar__Proto__CommandSubscribe *in);

#endif
