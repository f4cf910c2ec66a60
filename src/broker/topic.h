/* topic.h - one topic (one partition): its ledger, its publish limit, its producers and
 * subscriptions. Owner: the worker it lives on; before it joins one, whoever made it.
 *
 * That it exists, where, and what an administrator said of it is in its place (place.h), which
 * outlives it. It is in its shard's map from topic_join to topic_leave or topic_free. */
#ifndef BROKER_TOPIC_H
#define BROKER_TOPIC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"

#include "broker/broker.h"
#include "broker/names.h"
#include "broker/place.h"
#include "broker/sub_rates.h"
#include "broker/topic_line.h"
#include "quota/policy.h"

struct message_counts;
struct producer;
struct subscription;
struct topic_dispatch;

enum topic_state {
    TOPIC_READY,
    TOPIC_DELETING, /* its row is being deleted: nothing new is let in (ServiceNotReady) */
};

/* What was appended and is not yet durable: a ring, in the ledger's order. */
struct in_flight {
    struct producer *producer;
    uint64_t sequence_id, highest_sequence_id;
    uint32_t messages, bytes;
};

/* What applies to it, and to each producer, subscription and consumer on it. Made by place_rates,
 * ended by topic_rates_fini; a topic that was given it has taken what it needs. */
struct topic_rates {
    struct rate_choice kind[RATE_KINDS];
    struct sub_rates *of_sub; /* of single subscriptions: held */
    bool throttle_tailing;    /* dispatch limits hold for subscriptions without a backlog, too */
    bool entries_as_messages; /* dispatch limits count a batch as one message */
};

struct topic {
    UT_hash_handle hh;        /* shard->topics */
    struct topic *dirty_next; /* shard->dirty_topics */
    bool is_dirty;
    bool is_unused;         /* no client has asked for it since it was made or restored */
    struct topic_name name; /* its place's: borrowed */
    struct shard *shard;
    enum topic_state state;
    int64_t created_wall_ns;
    json_t *properties; /* of its place; or NULL */

    /* the ledger */
    uint64_t ledger;
    uint64_t next_entry;    /* the id of the next append */
    uint64_t trimmed_to;    /* entries below it were given to the store to forget */
    uint64_t durable_end;   /* entries below it are durable and may be dispatched */
    uint64_t last_messages; /* messages in the last durable entry, 0: unknown (restored) */
    struct visit *ending; /* deleted: it is freed, and this goes back, when nothing is in flight */
    struct in_flight *ring; /* power of two, NULL when nothing was ever sent */
    uint32_t ring_cap, ring_head, ring_len;

    /* the limits */
    const struct chain *chain;        /* the quotas above it; borrowed: its place holds it */
    struct topic_line publish;        /* <wanted>: what those who stand in it have parked */
    struct rate_choice producer_rate; /* of each producer (producer_limit.h) */
    struct topic_dispatch *dispatch;  /* dispatch_limit.h; NULL: no limit, and nobody ever waited */
    uint32_t dispatch_weight;         /* of its line's claims; 0: 1 */
    struct rate_choice subscription_rate;       /* of what each subscription delivers */
    struct sub_rates *sub_rates;                /* of those that have a rate of their own: held */
    bool throttle_tailing, entries_as_messages; /* see topic_rates */
    uint32_t claims_closing;                    /* of its lines: closed, not released */
    struct visit *rechained; /* chains that it had: they go back when those are */

    struct producer *producers; /* list */
    uint32_t producer_count;
    struct subscription *subscriptions;  /* map by name */
    struct subscribe_limit *subscribing; /* of each consumer that comes; NULL: none */
    struct message_counts *counts;       /* how many messages lie in which entries: for backlogs */

    /* counters for stats; rates come from meters: publish.scope's in, these out */
    struct tg_meter msgs_out, bytes_out;
    uint64_t storage_bytes; /* appended since the start: for averages */
    int64_t last_publish_wall_ns;
};

/* The topic, if it lives here (any state). */
struct topic *topic_find(struct shard *s, const char *full_name);

/* The same, ready, by a name as a client writes it. It was found a moment ago: NULL, when it is
 * gone or going, is for its client to ask again. */
struct topic *topic_named(struct shard *s, const char *text);

/* ---- for place.c ---- */

/* In no shard yet; what was stored of it before is found. */
struct topic *topic_new(struct place *p);
/* It lives on <s> from now on, with these limits. On <s>'s worker. */
void topic_join(struct topic *t, struct shard *s, const struct topic_rates *rates);
/* Nothing is going on with it or its subscriptions: it can leave. */
bool topic_can_move(const struct topic *t);
void topic_leave(struct topic *t);
/* Its users are sent away, its subscriptions deleted, nobody is let in any more. Without <force>,
 * TG_EBUSY when it has producers or consumers. */
TG_MUSTCHECK enum tg_err topic_empty(struct topic *t, bool force);
/* After topic_empty: gives its ledger up and frees it, when nothing is in flight any more; then
 * <told> goes back. */
void topic_end(struct topic *t, struct visit *told);
/* Nothing is in flight any more: a topic that was to end ends. True: it is gone. */
bool topic_end_if_drained(struct topic *t);
/* A claim of it that was closed is gone: a topic that was to end may end. */
void topic_claim_released(struct topic *t);
/* The workers have ended: topics that still wait to end will not. False: there was none. Main
 * thread. */
bool topics_abandon_endings(struct shard *s);
/* Puts the limits in force, for those who wait too. */
void topic_set_rates(struct topic *t, const struct topic_rates *rates);
void topic_rates_fini(struct topic_rates *rates);
/* From now on its messages are charged to these quotas, also those that wait. <told> goes back when
 * neither it nor its worker uses those before any more. */
void topic_set_chain(struct topic *t, const struct chain *chain, struct visit *told);

/* ---- dispatch ---- */

/* Entries became durable, or a consumer can take more: its subscriptions are looked at at turn end.
 */
void topic_mark_dirty(struct topic *t);
/* Turn end: dispatches for all dirty topics of the shard. */
void topics_dispatch(struct shard *s);

/* Gives the store leave to forget what no subscription needs any more (subscription.c calls it when
 * a mark-delete position moved). */
void topic_trim(struct topic *t);
/* Sends all producers and consumers away (CLOSE_*): deletion, unload. */
void topic_disconnect_all(struct topic *t);
void topic_free(struct topic *t);
bool topic_is_active(const struct topic *t); /* has producers or consumers */

#endif
