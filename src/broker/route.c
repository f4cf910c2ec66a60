/* route.c - see route.h. The table says of each command where it is handled, and by whom.
 *
 * Invariant: an id in front->routes lives, or lived a moment ago, on that other worker; what is not
 * there is looked for on the front's own. So a broker with one worker has no routes at all. */
#include "broker/route.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/link.h"
#include "broker/opening.h"
#include "broker/producer.h"

#define E(name) PULSAR__PROTO__SERVER_ERROR__##name

enum where {
    AT_SOCKET,  /* on the front's worker */
    AT_CONTROL, /* on worker 0, which has the registry */
    AT_PRODUCER,
    AT_CONSUMER,
    OPENS_PRODUCER,
    OPENS_CONSUMER,
};

struct command_entry {
    int type;
    enum where where;
    command_fn fn;
};

/* Every command that a client may send, but for SEND. What is in no row closes the connection. */
#define T(name) PULSAR__PROTO__BASE_COMMAND__TYPE__##name
static const struct command_entry commands[] = {
    {T(CONNECT), AT_SOCKET, cmd_connect},
    {T(PING), AT_SOCKET, cmd_ping},
    {T(PONG), AT_SOCKET, cmd_pong},
    {T(PARTITIONED_METADATA), AT_CONTROL, cmd_partitioned_metadata},
    {T(LOOKUP), AT_SOCKET, cmd_lookup},
    {T(PRODUCER), OPENS_PRODUCER, cmd_producer},
    {T(CLOSE_PRODUCER), AT_PRODUCER, cmd_close_producer},
    {T(SUBSCRIBE), OPENS_CONSUMER, cmd_subscribe},
    {T(FLOW), AT_CONSUMER, cmd_flow},
    {T(ACK), AT_CONSUMER, cmd_ack},
    {T(REDELIVER_UNACKNOWLEDGED_MESSAGES), AT_CONSUMER, cmd_redeliver},
    {T(UNSUBSCRIBE), AT_CONSUMER, cmd_unsubscribe},
    {T(SEEK), AT_CONSUMER, cmd_seek},
    {T(GET_LAST_MESSAGE_ID), AT_CONSUMER, cmd_get_last_message_id},
    {T(CLOSE_CONSUMER), AT_CONSUMER, cmd_close_consumer},
    {T(CONSUMER_STATS), AT_CONSUMER, cmd_consumer_stats},
    {T(GET_TOPICS_OF_NAMESPACE), AT_CONTROL, cmd_get_topics_of_namespace},
    {T(GET_SCHEMA), AT_SOCKET, cmd_get_schema},
    {T(GET_OR_CREATE_SCHEMA), AT_SOCKET, cmd_unserved},
    {T(NEW_TXN), AT_SOCKET, cmd_unserved},
    {T(ADD_PARTITION_TO_TXN), AT_SOCKET, cmd_unserved},
    {T(ADD_SUBSCRIPTION_TO_TXN), AT_SOCKET, cmd_unserved},
    {T(END_TXN), AT_SOCKET, cmd_unserved},
    {T(TC_CLIENT_CONNECT_REQUEST), AT_SOCKET, cmd_unserved},
    {T(WATCH_TOPIC_LIST), AT_SOCKET, cmd_unserved},
    {T(WATCH_TOPIC_LIST_CLOSE), AT_SOCKET, cmd_unserved},
    {T(AUTH_RESPONSE), AT_SOCKET, cmd_pong}, /* no challenge is ever sent: nothing to answer */
};

static const struct command_entry *find_command(int type)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (commands[i].type == type)
            return &commands[i];
    return NULL;
}

command_fn route_handler(int type)
{
    const struct command_entry *e = find_command(type);
    return e ? e->fn : NULL;
}

/* ---- routes ---- */

static struct route *find_route(struct front *f, enum id_kind kind, uint64_t id)
{
    struct route_key key = {.id = id, .kind = kind};
    struct route *r = f->last_route;
    if (!f->routes)
        return NULL;
    if (r && r->key.id == id && r->key.kind == key.kind)
        return r;
    HASH_FIND(hh, f->routes, &key, sizeof key, r);
    if (r)
        f->last_route = r;
    return r;
}

static void remove_route(struct front *f, struct route *r)
{
    if (f->last_route == r)
        f->last_route = NULL;
    HASH_DEL(f->routes, r);
    f->far[r->key.kind]--;
    free(r);
}

void route_set(struct front *f, enum id_kind kind, uint64_t id, struct shard *at, uint64_t opens)
{
    struct route *r = find_route(f, kind, id);
    if (at == f->conn.shard) {
        if (r)
            remove_route(f, r);
        return;
    }
    if (!r) {
        r = xcalloc(1, sizeof *r);
        r->key = (struct route_key){.id = id, .kind = kind};
        HASH_ADD(hh, f->routes, key, sizeof r->key, r);
        f->far[kind]++;
    }
    r->at = at;
    r->opens = opens;
}

void route_forget(struct front *f, enum id_kind kind, uint64_t id, struct shard *at, uint64_t opens)
{
    struct route *r = find_route(f, kind, id);
    if (r && r->at == at && r->opens <= opens)
        remove_route(f, r);
}

void routes_free(struct front *f)
{
    struct route *r, *next;
    HASH_ITER(hh, f->routes, r, next)
    {
        remove_route(f, r);
    }
}

/* ---- commands of what is open ---- */

static uint64_t id_in(const Pulsar__Proto__BaseCommand *cmd)
{
    switch (cmd->type) {
    case T(CLOSE_PRODUCER):
        return cmd->close_producer->producer_id;
    case T(FLOW):
        return cmd->flow->consumer_id;
    case T(ACK):
        return cmd->ack->consumer_id;
    case T(REDELIVER_UNACKNOWLEDGED_MESSAGES):
        return cmd->redeliverunacknowledgedmessages->consumer_id;
    case T(UNSUBSCRIBE):
        return cmd->unsubscribe->consumer_id;
    case T(SEEK):
        return cmd->seek->consumer_id;
    case T(GET_LAST_MESSAGE_ID):
        return cmd->getlastmessageid->consumer_id;
    case T(CLOSE_CONSUMER):
        return cmd->close_consumer->consumer_id;
    case T(CONSUMER_STATS):
        return cmd->consumerstats->consumer_id;
    default: /* every command of the table that is handled by id is above */
        TG_ASSERT(cmd->type == T(CLOSE_PRODUCER));
        return 0;
    }
}

static void handle_at(struct front *f, struct shard *at, const struct command_entry *e,
                      const Pulsar__Proto__BaseCommand *cmd, const struct frame *frame)
{
    if (at == f->conn.shard)
        e->fn(&f->conn, cmd);
    else
        link_forward(f, at, frame);
}

static bool is_close(int type)
{
    return type == T(CLOSE_PRODUCER) || type == T(CLOSE_CONSUMER);
}

/* A client may close what it has not got yet: then it gets nothing. */
static bool cancels_opening(struct front *f, enum id_kind kind,
                            const Pulsar__Proto__BaseCommand *cmd)
{
    if (!is_close(cmd->type) || !opening_cancel(f, kind, id_in(cmd)))
        return false;
    conn_send_success(&f->conn, kind == ID_PRODUCER ? cmd->close_producer->request_id
                                                    : cmd->close_consumer->request_id);
    return true;
}

static void handle_by_id(struct front *f, enum id_kind kind, const struct command_entry *e,
                         const Pulsar__Proto__BaseCommand *cmd, const struct frame *frame)
{
    if (cancels_opening(f, kind, cmd))
        return;
    struct route *r = find_route(f, kind, id_in(cmd));
    handle_at(f, r ? r->at : f->conn.shard, e, cmd, frame);
    if (r && is_close(cmd->type))
        remove_route(f, r);
}

static void handle_send(struct front *f, const struct frame *frame)
{
    struct send_brief s;
    struct route *r = NULL;
    if (f->routes && command_parse_send(frame->command, frame->command_len, &s) == TG_OK)
        r = find_route(f, ID_PRODUCER, s.producer_id);
    if (r)
        link_forward_send(f, r->at, frame);
    else
        cmd_send(&f->conn, frame);
}

/* ---- commands that open something ---- */

struct opens { /* what of PRODUCER and SUBSCRIBE is alike */
    enum id_kind kind;
    uint64_t id, request_id;
    const char *topic, *problem;
    bool may_make;
    uint32_t there; /* of that kind, with those being opened */
    bool is_here;   /* this very one is, on the front's worker: it takes its own place */
    int64_t most;
};

static struct opens opens_producer(struct front *f, const Pulsar__Proto__CommandProducer *in)
{
    const struct settings *set = f->conn.shard->broker->settings;
    return (struct opens){
        .kind = ID_PRODUCER,
        .id = in->producer_id,
        .request_id = in->request_id,
        .topic = in->topic,
        .problem = cmd_producer_problem(in),
        .may_make = set->allow_auto_topic_creation,
        .there = f->conn.producer_count + f->opening_producers,
        .is_here = conn_producer(&f->conn, in->producer_id) != NULL,
        .most = set->max_producers_per_connection,
    };
}

static struct opens opens_consumer(struct front *f, const Pulsar__Proto__CommandSubscribe *in)
{
    const struct settings *set = f->conn.shard->broker->settings;
    return (struct opens){
        .kind = ID_CONSUMER,
        .id = in->consumer_id,
        .request_id = in->request_id,
        .topic = in->topic,
        .problem = cmd_subscribe_problem(in),
        .may_make = in->force_topic_creation && set->allow_auto_topic_creation,
        .there = f->conn.consumer_count + f->opening_consumers,
        .most = set->max_consumers_per_connection,
    };
}

/* What must hold before the topic is looked for; an error was sent when false. */
static bool may_open(struct front *f, const struct opens *o, const struct topic_name *n)
{
    struct conn *c = &f->conn;
    const char *what = o->kind == ID_PRODUCER ? "Producer" : "Consumer";
    int64_t there = (int64_t)o->there + f->far[o->kind];
    if (opening_exists(f, o->kind, o->id))
        conn_send_error(c, o->request_id, E(ServiceNotReady),
                        "%s is already present on the connection", what);
    else if (o->problem || !n->persistent)
        conn_send_error_text(c, o->request_id, E(NotAllowedError),
                             n->persistent ? o->problem : NON_PERSISTENT_REFUSED);
    else if (there >= o->most && !o->is_here && !find_route(f, o->kind, o->id))
        conn_send_error(c, o->request_id, E(NotAllowedError),
                        "a connection may have %" PRId64 " %s", o->most,
                        o->kind == ID_PRODUCER ? "producers" : "consumers");
    else
        return true;
    return false;
}

static void open_it(struct front *f, const struct opens *o, const struct frame *frame)
{
    struct topic_name n;
    const char *why;
    if (topic_name_parse(&n, o->topic, &why) != TG_OK) {
        conn_send_error(&f->conn, o->request_id, E(InvalidTopicName), "topic name: %s", why);
        return;
    }
    if (may_open(f, o, &n))
        opening_begin(f, o->kind, o->id, o->request_id, &n, o->may_make, frame);
    else
        topic_name_fini(&n);
}

static void open_producer(struct front *f, const Pulsar__Proto__CommandProducer *in,
                          const struct frame *frame)
{
    struct opens o = opens_producer(f, in);
    f->conn.ever_opened_producer = true; /* wherever it will live: its late SENDs may end here */
    if (in->producer_id > f->conn.max_producer_id)
        f->conn.max_producer_id = in->producer_id;
    open_it(f, &o, frame);
}

/* ---- a frame ---- */

static void handle_command(struct front *f, const struct command_entry *e,
                           const Pulsar__Proto__BaseCommand *cmd, const struct frame *frame)
{
    switch (e->where) {
    case AT_SOCKET:
        e->fn(&f->conn, cmd);
        break;
    case AT_CONTROL:
        handle_at(f, &f->conn.shard->broker->shard[0], e, cmd, frame);
        break;
    case AT_PRODUCER:
        handle_by_id(f, ID_PRODUCER, e, cmd, frame);
        break;
    case AT_CONSUMER:
        handle_by_id(f, ID_CONSUMER, e, cmd, frame);
        break;
    case OPENS_PRODUCER:
        open_producer(f, cmd->producer, frame);
        break;
    case OPENS_CONSUMER: {
        struct opens o = opens_consumer(f, cmd->subscribe);
        open_it(f, &o, frame);
        break;
    }
    }
}

static void unpack_and_handle(struct front *f, const struct frame *frame, int type)
{
    struct conn *c = &f->conn;
    const struct command_entry *e = find_command(type);
    if (!e) {
        conn_close(c, "command %s (%d) is not one that a client may send here",
                   command_type_name(type), type);
        return;
    }
    struct arena *arena = c->shard->arena;
    const Pulsar__Proto__BaseCommand *cmd =
        command_unpack(arena, frame->command, frame->command_len);
    if (cmd)
        handle_command(f, e, cmd, frame);
    else
        conn_close(c, "malformed %s command", command_type_name(type));
    arena_reset(arena);
}

void route_frame(struct front *f, const struct frame *frame)
{
    int type = command_peek_type(frame->command, frame->command_len);
    if (f->conn.state == CONN_HANDSHAKE && type != T(CONNECT))
        conn_close(&f->conn, "the first command is %s, not CONNECT", command_type_name(type));
    else if (type == T(SEND))
        handle_send(f, frame);
    else
        unpack_and_handle(f, frame, type);
}
