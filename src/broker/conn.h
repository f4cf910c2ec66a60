/* conn.h - one client connection: the handshake, the table of commands, and answering. One file per
 * command beside it (cmd_*.c). Owner: the worker that accepted it. */
#ifndef BROKER_CONN_H
#define BROKER_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"

#include "broker/broker.h"
#include "throttle/gate.h"
#include "wire/command.h"

struct producer;
struct consumer;

enum conn_state {
    CONN_HANDSHAKE, /* in shard->conns; only CONNECT is understood */
    CONN_READY,     /* in shard->conns */
    CONN_CLOSED, /* in no list; producers and consumers are gone; freed at the end of the callback
                  */
};

struct conn {
    UT_hash_handle hh; /* shard->conns, by id */
    uint64_t id;       /* for the log: "conn 17" */
    struct shard *shard;
    struct stream *stream;
    struct arena *arena;
    enum conn_state state;
    char *client_version; /* of CONNECT, blanks kept out of stats */
    int32_t protocol_version;
    bool supports_entry_metadata;
    int64_t connected_wall_ns;
    struct producer *producers;     /* map by producer_id */
    struct consumer *consumers;     /* map by consumer_id */
    struct producer *last_producer; /* the one that sent last: SENDs come in runs */
    uint32_t opening_count;
    struct opening *opening; /* PRODUCERs that wait for their topic (cmd_producer.c) */
    bool ever_opened_producer;
    uint64_t max_producer_id; /* highest id ever opened here: a SEND to one below was closed */
    uint32_t producer_count, consumer_count;
    struct pause_set pause;
    struct timer timer;         /* handshake, then keep-alive */
    int64_t resumed_ns;         /* when its socket was last read again after a pause */
    uint64_t in_flight;         /* appended, not yet acknowledged */
    bool subscriptions_waiting; /* some consumer here stopped because the output was congested */
};

/* Takes an accepted stream (or refuses it: too many connections). */
void conn_accept(struct shard *s, struct stream *stream);
/* Closes it for a reason that is logged; what it owns goes at once. Never frees inside a command.
 */
void conn_close(struct conn *c, const char *fmt, ...) TG_PRINTF(2, 3);
void conn_close_all(struct shard *s, const char *why);

/* ---- answers ---- */
void conn_send(struct conn *c, const Pulsar__Proto__BaseCommand *cmd); /* any command */
void conn_send_success(struct conn *c, uint64_t request_id);
void conn_send_error(struct conn *c, uint64_t request_id, Pulsar__Proto__ServerError code,
                     const char *fmt, ...) TG_PRINTF(4, 5);
void conn_send_error_text(struct conn *c, uint64_t request_id, Pulsar__Proto__ServerError code,
                          const char *text);
void conn_send_pong(struct conn *c);
/* Broker to client: the thing is gone here, come again. */
void conn_send_close_producer(struct conn *c, uint64_t producer_id);
void conn_send_close_consumer(struct conn *c, uint64_t consumer_id);

/* Reading stops while anybody wants it stopped (throttle/gate.h pause_set). */
void conn_pause_for_producer(struct conn *c);
void conn_resume_for_producer(struct conn *c);

/* How a request that needs the metadata is kept: a letter with enough to answer, valid also when
 * the connection is gone by then. conn_find gives NULL for those. */
struct conn *conn_find(struct shard *s, uint64_t conn_id);

/* ---- the commands: <cmd> lives until the handler returns. Each is a file cmd_<name>.c ---- */
typedef void (*command_fn)(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
void cmd_connect(struct conn *c, const Pulsar__Proto__BaseCommand *cmd);
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

#endif
