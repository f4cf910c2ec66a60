/* subscription.h - a subscription of a topic: its cursor, its consumers and what is on its way to
 * them. Owner: the topic's worker.
 *
 * Delivery is by whole entries; permits count messages and may go negative by a batch. An entry is
 * dispatched only when it is durable.
 *
 * Of the entries in front of read_next each is in exactly one of these places: acknowledged in the
 * cursor; Shared: pending at one consumer, or in the replay set; Exclusive: delivered to the one
 * consumer, which is not kept track of, because going back to the cursor is all that may follow. */
#ifndef BROKER_SUBSCRIPTION_H
#define BROKER_SUBSCRIPTION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"

#include "base/log.h"
#include "broker/conn.h"
#include "broker/cursor.h"
#include "broker/entry_map.h"
#include "broker/replay.h"
#include "broker/topic.h"

enum sub_type { SUB_EXCLUSIVE = 0, SUB_SHARED = 1 }; /* wire numbers; the others come later */

enum sub_state {
    SUB_CREATING, /* its row is being written: requests wait in `waiting` */
    SUB_READY,
    SUB_DELETING, /* its row is being deleted: nobody is let in */
    SUB_GONE,     /* in no map; the memory stays until the last callback under way has run */
};

struct consumer {
    UT_hash_handle hh;            /* conn->consumers, by id */
    struct consumer *prev, *next; /* sub->consumers: by priority, then as they came */
    uint64_t id;
    struct conn *conn;
    struct subscription *sub;         /* NULL while it is being opened */
    struct consumer_opening *opening; /* the SUBSCRIBE under way (cmd_subscribe.c), else NULL */
    char *name;
    int32_t priority;
    int64_t permits; /* messages it still takes; may be negative */
    bool has_epoch;
    uint64_t epoch;
    json_t *metadata;          /* KeyValues of SUBSCRIBE, for stats; NULL: none */
    struct entry_map pending;  /* Shared: entries delivered and not acknowledged */
    uint64_t unacked_messages; /* in pending */
    bool blocked_on_unacked;
    uint64_t blocked_by; /* the block that holds for it (blocking.h); 0: none */
    int64_t connected_wall_ns, last_flow_wall_ns, last_ack_wall_ns, last_consumed_wall_ns;
    struct tg_meter msgs_out, bytes_out, acks, redelivered;
};

struct subscription {
    UT_hash_handle hh;   /* topic->subscriptions, by name */
    struct topic *topic; /* not to be followed when SUB_GONE */
    struct shard *shard;
    char *name;
    enum sub_state state;
    struct sub_waiting *waiting; /* private to subscription.c */
    uint32_t refs;               /* callbacks under way that know it */
    bool durable;
    bool lingers; /* not durable: its consumers were sent away to come again */
    enum sub_type type;
    struct cursor cursor; /* acknowledged positions */
    uint64_t read_next;   /* the next entry to read for a first delivery */
    struct consumer *consumers;
    uint32_t consumer_count;
    struct consumer *turn;     /* Shared: who was served last */
    uint64_t unacked_messages; /* Shared: pending at all consumers */
    bool blocked_on_unacked;
    bool reading;      /* a read from disk is under way */
    uint64_t read_gen; /* moves on when what is being read must not be delivered any more */
    uint64_t read_window_bytes; /* the most to read from disk at once (dispatcher.c) */
    uint64_t unreadable;        /* while retry_timer is armed: the entry that a read failed at */
    struct timer retry_timer;   /* a read failed, or a turn's work was cut short: go on then */
    json_t *properties;         /* subscription_properties; NULL: none */
    /* Durable: the cursor is persisted at most once per cursor_flush_ms. Not durable: when it goes
     * after its last consumer went: at once, but after a seek they are to come again. */
    struct timer flush_timer;
    bool cursor_dirty, flushing;
    struct dispatch_limit
        *limit;            /* dispatch_limit.h; NULL: no limit of its own, and it never waited */
    int64_t part_ns;       /* the turn in which it had its part of the topic's tokens */
    bool is_tailing;       /* nothing was left to send when it was last looked at */
    uint64_t over_dry_run; /* entries that a limit in dry run would have held up */
    struct replay replay;  /* entries to deliver again, with their redelivery counts */
    struct log_gate log_gate;
    struct tg_meter msgs_out, bytes_out, redelivered;
    int64_t last_consumed_wall_ns, last_acked_wall_ns, last_mark_delete_wall_ns;
};

/* Called once, at once or later; <s> is NULL when <e> is not TG_OK, and after a deletion. TG_EBUSY:
 * it (or its topic) is being deleted; TG_ECLOSED: it went away meanwhile; TG_EIO. */
typedef void (*subscription_done)(void *ctx, struct subscription *s, enum tg_err e);

enum sub_start { START_LATEST, START_EARLIEST, START_AT };

struct sub_spec {
    const char *name;
    bool durable;
    enum sub_start start;
    uint64_t start_entry; /* START_AT: the first entry to deliver */
    json_t *properties;   /* borrowed, may be NULL */
};

/* Finds or makes it; a durable one's row is written before <done>. *existed may be NULL; it is set
 * before this returns. */
void subscription_create(struct topic *t, const struct sub_spec *spec, bool *existed,
                         subscription_done done, void *ctx);
struct subscription *subscription_find(struct topic *t, const char *name);
/* At the start, from its row (registry_load). */
TG_MUSTCHECK enum tg_err subscription_restore(struct topic *t, const char *name, const json_t *row);
/* Deletes it and its row. TG_EBUSY with consumers connected unless <force> (they get
 * CLOSE_CONSUMER). */
void subscription_delete(struct subscription *s, bool force, subscription_done done, void *ctx);
/* Memory only: the topic goes. Its consumers are closed silently. */
void subscription_free(struct subscription *s);
/* Sends all its consumers away (CLOSE_CONSUMER). */
void subscription_disconnect_all(struct subscription *s);

/* A callback under way that knows it: keeps the memory, not the subscription. */
void subscription_hold(struct subscription *s);
/* False: it was SUB_GONE and may be freed by now. */
bool subscription_release(struct subscription *s);

/* Messages not yet acknowledged, as Pulsar's msgBacklog. Exact for entries that were appended since
 * the start of the process (message_counts.h: up to a bound on memory, then interpolated between
 * known points); older ones count as one message each. */
uint64_t subscription_backlog(const struct subscription *s);
/* One more entry is durable: to be called for each, in order, before topic_mark_dirty. */
void subscriptions_appended(struct topic *t, uint64_t entry, uint32_t messages);

/* ---- moving the cursor (seek.c) ---- */

/* Admin: marks the next <n> messages (entries) acknowledged; UINT64_MAX: all. */
void subscription_skip(struct subscription *s, uint64_t n, subscription_done done, void *ctx);
/* Disconnects the consumers, moves the cursor so that <first_entry> is delivered next. SEEK and
 * resetcursor. */
void subscription_reset(struct subscription *s, uint64_t first_entry, subscription_done done,
                        void *ctx);
/* Finds the first entry published at or after a time (ms), then resets to it. */
void subscription_reset_to_time(struct subscription *s, int64_t publish_time_ms,
                                subscription_done done, void *ctx);
/* Where reading may begin: not before what can still be read, not behind what is durable. */
uint64_t subscription_clamp(const struct subscription *s, uint64_t entry);
/* The entry that a client's position stands for, as the first one to deliver: ids are signed
 * (-1,-1: earliest; 2^63-1: latest), another ledger of the topic is older or newer as a whole. */
uint64_t topic_position_to_entry(const struct topic *t, uint64_t ledger, uint64_t entry);

/* ---- consumers (consumer.c) ---- */

/* The connection's, with this id; also one that is still being opened (sub is NULL). */
struct consumer *conn_consumer(struct conn *c, uint64_t id);
/* On its connection, without a subscription yet. Takes <name>. */
struct consumer *consumer_new(struct conn *c, uint64_t id, char *name);
enum consumer_refusal {
    CONSUMER_OK,
    CONSUMER_EXCLUSIVE_TAKEN, /* Exclusive, and somebody is connected */
    CONSUMER_OTHER_TYPE,      /* somebody is connected with another type */
};
enum consumer_refusal consumer_attach(struct consumer *c, struct subscription *s,
                                      enum sub_type type);
void consumer_close(struct consumer *c); /* its unacknowledged entries go back; frees it */
void consumer_flow(struct consumer *c, uint32_t permits);
/* Acknowledgements of entries of the topic's own ledger; what was never durable is ignored. */
void consumer_ack(struct consumer *c, uint64_t entry);
void consumer_ack_to(struct consumer *c, uint64_t entry);
/* Shared: this entry goes back to be delivered again. */
void consumer_nack(struct consumer *c, uint64_t entry);
/* All that it has and did not acknowledge: Shared: goes back; Exclusive: delivery starts again at
 * the mark-delete position. */
void consumer_redeliver_all(struct consumer *c);
/* An entry was acknowledged or skipped: whoever had it pending, or the replay set, forgets it. */
void subscription_forget(struct subscription *s, uint64_t entry);
void subscription_forget_below(struct subscription *s, uint64_t end);
/* Delivered and not acknowledged: <s> starts again at its cursor. */
void subscription_rewind(struct subscription *s);

/* The consumer of a SUBSCRIBE under way is gone: no answer (cmd_subscribe.c). */
void consumer_opening_cancel(struct consumer_opening *o);

/* ---- dispatch (dispatcher.c) ---- */

/* Delivers what can be delivered, within a bound per turn. Called from topics_dispatch only. */
void subscription_dispatch(struct subscription *s);
/* The connection's output has drained: its consumers may get more. */
void dispatch_resume_conn(struct conn *c);
void dispatch_retry_fired(struct timer *t, int64_t now_ns); /* retry_timer */

/* Orderly stop: writes all cursors that changed; <done> when the last is durable. */
void subscriptions_flush_all(struct shard *s, void (*done)(void *ctx), void *ctx);

#endif
