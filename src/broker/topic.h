/* topic.h - one topic (one partition): its ledger, its publish limit, its producers and
 * subscriptions. Owner: the worker it is placed on.
 *
 * A topic comes to be by topic_create (its row is written first: users wait) or topic_restore (at
 * the start, from its row). It is always in its shard's map while it exists. */
#ifndef BROKER_TOPIC_H
#define BROKER_TOPIC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"

#include "broker/broker.h"
#include "broker/names.h"
#include "quota/path.h"
#include "quota/policy.h"
#include "throttle/reason.h"
#include "throttle/waitq.h"

struct message_counts;
struct producer;
struct subscription;

enum topic_state {
    TOPIC_CREATING, /* its row is being written: requests wait in `waiting` */
    TOPIC_READY,
    TOPIC_DELETING, /* its row is being deleted: nothing new is let in (ServiceNotReady) */
};

/* Somebody who waits for a topic to be ready. Called once; <t> is NULL when <e> is not TG_OK. */
typedef void (*topic_done)(void *ctx, struct topic *t, enum tg_err e);

/* What was appended and is not yet durable: a ring, in the ledger's order. */
struct in_flight {
    struct producer *producer;
    uint64_t sequence_id, highest_sequence_id;
    uint32_t messages, bytes;
};

struct topic {
    UT_hash_handle hh;               /* shard->topics */
    struct topic *ns_prev, *ns_next; /* ns->topics */
    struct topic *dirty_next;        /* shard->dirty_topics */
    bool is_dirty;
    struct topic_name name;
    struct shard *shard;
    struct ns *ns;
    enum topic_state state;
    struct topic_waiting *waiting; /* private to topic.c */
    int64_t created_wall_ns;
    json_t *properties; /* or NULL */

    /* the ledger */
    uint64_t ledger;
    uint64_t next_entry;    /* the id of the next append */
    uint64_t trimmed_to;    /* entries below it were given to the store to forget */
    uint64_t durable_end;   /* entries below it are durable and may be dispatched */
    uint64_t last_messages; /* messages in the last durable entry, 0: unknown (restored) */
    bool free_when_drained; /* deleted while something was in flight */
    struct in_flight *ring; /* power of two, NULL when nothing was ever sent */
    uint32_t ring_cap, ring_head, ring_len;

    /* the publish limit */
    struct rate_policy publish_rate; /* its own policy: what is durable, and in force */
    struct rate_policy row_rate;     /* what the next row says; differs while a change is written */
    uint64_t row_rate_changes;
    struct scope scope;
    struct path path;
    struct waitq waiters;
    struct timer wait_timer;

    struct producer *producers; /* list */
    uint32_t producer_count;
    struct subscription *subscriptions; /* map by name */
    struct message_counts *counts;      /* how many messages lie in which entries: for backlogs */

    /* counters for stats; rates come from meters: scope.msgs/bytes in, these out */
    struct tg_meter msgs_out, bytes_out;
    uint64_t storage_bytes; /* appended since the start: for averages */
    int64_t last_publish_wall_ns;
    uint64_t throttled_times;           /* periods begun by any of its producers */
    int64_t throttled_ns[REASON_COUNT]; /* summed over its producers, up to their counted_from_ns */
    uint64_t rate_limit_hits;           /* frames that found a bucket empty */
};

/* The topic, if it exists (any state). */
struct topic *topic_find(struct shard *s, const char *full_name);
/* Finds or makes it, then calls <done>, at once or later. TG_ENOENT: its namespace does not exist;
 * TG_ELIMIT: too many topics; TG_EBUSY: being deleted; TG_EIO. <properties> borrowed, may be NULL.
 */
void topic_create(struct shard *s, const struct topic_name *n, json_t *properties, bool *existed,
                  topic_done done, void *ctx);
/* At the start: from its row. */
TG_MUSTCHECK enum tg_err topic_restore(struct shard *s, const struct topic_name *n,
                                       const json_t *row);
/* Deletes row, cursors and ledger. Without <force>, TG_EBUSY when it has producers or consumers.
 * With it they are sent away first. */
void topic_delete(struct topic *t, bool force, topic_done done, void *ctx);
/* Writes its row again (its policy or properties changed). */
void topic_save(struct topic *t, topic_done done, void *ctx);

/* Works out the limit that applies (own policy, namespace's, broker's) and puts it in force for
 * those who wait too. */
void topic_apply_policies(struct topic *t);
/* Takes <properties> (NULL: none); they are put back when they can't be written. */
void topic_set_properties(struct topic *t, json_t *properties, topic_done done, void *ctx);
/* NULL removes the own policy; durable first. */
void topic_set_publish_rate(struct topic *t, const struct rate_policy *p, topic_done done,
                            void *ctx);

/* Entries became durable, or a consumer can take more: its subscriptions are looked at at turn end.
 */
void topic_mark_dirty(struct topic *t);
/* Turn end: dispatches for all dirty topics of the shard. */
void topics_dispatch(struct shard *s);

/* Gives the store leave to forget what no subscription needs any more (subscription.c calls it when
 * a mark-delete position moved). */
void topic_trim(struct topic *t);
/* May a client of this name come in: it exists, or is a partition that is yet to be made, or any
 * topic may be made? A partition that its partitioned topic does not have is none of these. */
bool topic_may_be_opened(struct shard *s, const struct topic_name *n, bool may_make);
/* Sends all producers and consumers away (CLOSE_*): deletion, unload. */
void topic_disconnect_all(struct topic *t);
void topic_free(struct topic *t);
bool topic_is_active(const struct topic *t); /* has producers or consumers */

/* ---- its row in the metadata: private to topic.c and registry.c ---- */
char *topic_row_key(const struct topic_name *n);
json_t *topic_row(const struct topic *t);

#endif
