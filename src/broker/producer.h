/* producer.h - a producer and the way of its messages (publish.c).
 *
 * Lives with the topic; its connection may be gone before it: then conn is NULL and it stays until
 * what it has in flight is durable. One owner: the topic's worker. */
#ifndef BROKER_PRODUCER_H
#define BROKER_PRODUCER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"

#include "base/log.h"
#include "broker/conn.h"
#include "broker/topic.h"
#include "broker/wait_counts.h"
#include "throttle/gate.h"
#include "throttle/parking.h"
#include "throttle/waitq.h"

struct kept_receipt;
struct producer_hold;
struct producer_limit;

struct producer {
    UT_hash_handle hh;                            /* conn->producers, by id */
    struct producer *prev, *next;                 /* topic->producers */
    struct producer *blocked_prev, *blocked_next; /* shard->blocked */
    bool is_blocked;
    struct producer *wanting_prev, *wanting_next; /* shard->wanting_memory */
    bool wants_memory;                            /* paused because the parking budget is used up */
    uint64_t id;
    struct conn *conn; /* NULL: connection lost or closed, in flight being awaited */
    uint64_t conn_id;  /* what is in flight counts there all the same */
    struct topic *topic;
    char *name;
    bool name_from_user;
    uint64_t epoch;
    json_t *metadata; /* KeyValues of PRODUCER, for stats; NULL: none */
    int64_t connected_wall_ns;
    char *address; /* of its client; outlives conn */
    char *client_version;

    struct gate gate;
    struct parking parking;
    struct waiter waiter;             /* in its topic's queue */
    struct scope *binding;            /* its topic's scope, or its own, when it waits there */
    struct producer_limit *own;       /* producer_limit.h; NULL: it never had one */
    struct quota *lacking;            /* it waits there for this quota, as far as it knows */
    struct producer_hold *held;       /* producer_hold.h; NULL: it never was */
    bool pausing;                     /* it holds its connection's socket paused */
    int64_t throttled_wall_ns;        /* since when, wall clock */
    enum throttle_reason last_reason; /* of this or the last throttling */
    struct wait_counts counts;        /* throttle_counts.c */
    struct log_gate log_gate;         /* begin/end lines */

    uint64_t in_flight;  /* appended, not yet durable */
    uint64_t blocked_by; /* the block that holds for it (blocking.h); 0: none */
    bool closing;        /* CLOSE_PRODUCER waits for in_flight == 0 */
    uint64_t close_request_id;
    struct tg_meter msgs, bytes;
    uint64_t receipts;
    uint64_t over_dry_run; /* frames that a limit in dry run would have held up */
};

/* Registers it on its topic and connection. Takes <name>. */
struct producer *producer_new(struct conn *c, struct topic *t, uint64_t id, char *name);
/* It is gone for its client: parked frames are dropped, it leaves queues and the connection's map;
 * freed when nothing is in flight. */
void producer_close(struct producer *p);
/* The same, by the broker: with the word that its client waits for (SUCCESS where it asked to close
 * it), or CLOSE_PRODUCER. */
void producer_send_away(struct producer *p);
/* PRODUCER_SUCCESS (cmd_producer.c). */
void cmd_producer_answer(const struct producer *p, uint64_t request_id, bool ready);
/* Private to producer.c and publish.c: frees it when it is closed and nothing is in flight. */
void producer_free_if_done(struct producer *p);
struct producer *conn_producer(struct conn *c, uint64_t id);
/* The connected one, or NULL. */
struct producer *topic_producer_by_name(struct topic *t, const char *name);

/* ---- producer_gate.c ---- */

/* The gate moves as far as it can, and what follows from it is done. After each change of reasons,
 * of what is parked, of what is owed to one that is held. */
void producer_advance(struct producer *p, int64_t now_ns);
/* Parked frames have gone since the last call, perhaps: those who are paused only because the
 * memory for them was used up go on. Once per turn. */
void producers_memory_given_back(struct shard *s);
/* Does anybody wait for memory of parked frames, on any worker? Then those who have some keep it
 * for a turn only, and park no more than in the configured delay. Any worker. */
bool producers_want_memory(const struct broker *b);

/* ---- publish.c: life of a SEND after it was parsed ---- */

/* Limits count metadata plus payload, as Pulsar does; the body has the metadata's size in front. */
enum { PUBLISH_SIZE_FIELD = 4 };

/* Whose tokens it waits for; NULL: no scope's. */
static inline const char *producer_waits_for(const struct producer *p)
{
    if (p->lacking)
        return p->lacking->name;
    return p->binding ? p->binding->name : NULL;
}

/* What is parked, as limits count it. */
static inline uint64_t producer_parked_bytes(const struct producer *p)
{
    return p->parking.bytes - PUBLISH_SIZE_FIELD * p->parking.frames;
}

struct publish {
    uint64_t sequence_id, highest_sequence_id;
    int32_t chunk_id; /* -1: not a chunk */
    uint32_t messages;
    uint32_t crc;
    const uint8_t *body;
    uint32_t len;
};
/* Admits, charges and appends it, or parks it. */
void publish_frame(struct producer *p, const struct publish *m);
/* Of an entry that is stored. */
void publish_send_receipt(struct producer *p, const struct kept_receipt *r);
/* What is parked is dropped: its client sends it again, or has failed it. */
void publish_drop_parked(struct producer *p);
/* The producer goes: drops what is parked, leaves the queues, lets its connection be read again. */
void publish_abandon(struct producer *p);
/* What producers are in their topic's line. */
extern const struct waitq_ops publish_waitq_ops;
/* The store reported an append (port callback). */
void publish_appended(struct topic *t, uint64_t entry, enum tg_err e);
/* The topic goes before the store has reported all (it failed, or the stop was cut short): their
 * producers, gone already, are let go. */
void publish_forget_in_flight(struct topic *t);
/* The store has room again: those who wait for it go on. */
void publish_store_has_room(struct shard *s);
/* An administrator's block (blocking.h): what comes is parked, whatever its limits, until it is
 * lifted; then it goes on in order. Each where the other held before. */
void publish_block(struct producer *p);
void publish_unblock(struct producer *p);
/* It waits for its own limit, which may have tokens now. */
void publish_own_tokens(struct producer *p, int64_t now_ns);
/* A limit of the topic was changed or removed. */
void publish_limit_changed(struct topic *t);
/* The topic has another chain of quotas, and no claim. */
void publish_chain_changed(struct topic *t);

#endif
