/* subscription.h - a subscription of a topic: its cursor, its consumers and what is on its way to
 * them. Owner: the topic's worker.
 *
 * Delivery is by whole entries; permits count messages and may go negative by a batch. An entry is
 * dispatched only when it is durable. */
#ifndef BROKER_SUBSCRIPTION_H
#define BROKER_SUBSCRIPTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "broker/conn.h"
#include "broker/cursor.h"
#include "broker/topic.h"

enum sub_type { SUB_EXCLUSIVE = 0, SUB_SHARED = 1 }; /* wire numbers; the others come later */

struct consumer {
    UT_hash_handle hh;            /* conn->consumers, by id */
    struct consumer *prev, *next; /* sub->consumers, in turn order */
    uint64_t id;
    struct conn *conn;
    struct subscription *sub;
    char *name;
    int32_t priority;
    int64_t permits; /* messages it still takes; may be negative */
    bool has_epoch;
    uint64_t epoch;
    json_t *metadata; /* KeyValues of SUBSCRIBE, for stats; NULL: none */
    struct pending
        *pending; /* entries delivered and not acknowledged: map by entry (subscription.c) */
    uint64_t unacked_messages;
    bool blocked_on_unacked;
    int64_t connected_wall_ns, last_flow_wall_ns, last_ack_wall_ns, last_consumed_wall_ns;
    struct tg_meter msgs_out, bytes_out, acks, redelivered;
};

struct subscription {
    UT_hash_handle hh; /* topic->subscriptions, by name */
    struct topic *topic;
    char *name;
    bool durable;
    enum sub_type type;
    struct cursor cursor; /* acknowledged positions */
    uint64_t read_next;   /* the next entry to read for a first delivery */
    struct consumer *consumers;
    uint32_t consumer_count;
    struct consumer *turn; /* Shared: whose turn it is */
    uint64_t unacked_messages;
    bool reading; /* a read from disk is under way */
    bool deleting;
    json_t *properties; /* subscription_properties; NULL: none */
    /* persisting the cursor: at most once per cursor_flush_ms */
    struct timer flush_timer;
    bool cursor_dirty, flushing;
    struct replay *replay; /* entries to deliver again, with their redelivery counts (replay.c) */
    struct tg_meter msgs_out, bytes_out, redelivered;
    int64_t last_consumed_wall_ns, last_acked_wall_ns, last_mark_delete_wall_ns;
};

typedef void (*subscription_done)(void *ctx, struct subscription *s, enum tg_err e);

enum sub_start { START_LATEST, START_EARLIEST, START_AT };

struct sub_spec {
    const char *name;
    bool durable;
    enum sub_start start;
    uint64_t start_entry; /* START_AT: the first entry to deliver */
    json_t *properties;   /* borrowed, may be NULL */
};

/* Finds or makes it; a durable one's row is written before <done>. *existed may be NULL. */
void subscription_create(struct topic *t, const struct sub_spec *spec, bool *existed,
                         subscription_done done, void *ctx);
struct subscription *subscription_find(struct topic *t, const char *name);
/* At the start, from its row (registry_load). */
TG_MUSTCHECK enum tg_err subscription_restore(struct topic *t, const char *name, const json_t *row);
/* Deletes it and its row. TG_EBUSY with consumers connected unless <force> (they get
 * CLOSE_CONSUMER). */
void subscription_delete(struct subscription *s, bool force, subscription_done done, void *ctx);
/* Memory only: the topic goes. */
void subscription_free(struct subscription *s);

/* Messages not yet acknowledged, as Pulsar's msgBacklog: exact where the number of messages of
 * every entry in between is known, else entries. */
uint64_t subscription_backlog(const struct subscription *s);

/* Admin: marks the next <n> messages (entries) acknowledged; UINT64_MAX: all. */
void subscription_skip(struct subscription *s, uint64_t n, subscription_done done, void *ctx);
/* Disconnects the consumers, moves the cursor so that <first_entry> is delivered next. SEEK and
 * resetcursor. */
void subscription_reset(struct subscription *s, uint64_t first_entry, subscription_done done,
                        void *ctx);
/* Finds the first entry published at or after a time (ms), then resets to it. */
void subscription_reset_to_time(struct subscription *s, int64_t publish_time_ms,
                                subscription_done done, void *ctx);

/* ---- consumers ---- */
void consumer_close(struct consumer *c); /* its unacknowledged entries go back; frees it */
struct consumer *conn_consumer(struct conn *c, uint64_t id);
void consumer_flow(struct consumer *c, uint32_t permits);

/* Delivers what can be delivered (dispatcher.c). Called from topics_dispatch only. */
void subscription_dispatch(struct subscription *s);
/* The connection's output has drained: its consumers may get more. */
void dispatch_resume_conn(struct conn *c);
/* Orderly stop: writes all cursors that changed; <done> when the last is durable. */
void subscriptions_flush_all(struct shard *s, void (*done)(void *ctx), void *ctx);

#endif
