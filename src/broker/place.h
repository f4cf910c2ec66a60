/* place.h - the directory of topics: which there are, on which worker each lives, and what its row
 * in the metadata store says. The topic itself (topic.h) belongs to that worker.
 *
 * A topic lives on the worker of the connection that first uses it. Until then - made by an
 * administrator, or restored at the start - it is unused and kept by the control worker.
 *
 * Owner: the control worker (worker 0), like the registry whose part it is. */
#ifndef BROKER_PLACE_H
#define BROKER_PLACE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/map.h"

#include "broker/letter.h"
#include "broker/names.h"
#include "quota/policy.h"

struct ns;
struct chain;
struct registry;
struct shard;
struct topic;
struct place;

enum place_state {
    PLACE_CREATING, /* its row is being written: who asks for it waits */
    PLACE_READY,
    PLACE_DELETING, /* nothing new is let in */
    PLACE_ENDING,   /* its row is gone, its topic not quite: who wants to make it anew waits */
};

/* Somebody who waits for a change of a place. Called once; <p> is NULL when it is gone or was never
 * made. */
typedef void (*place_done)(void *ctx, struct place *p, enum tg_err e);

struct place {
    UT_hash_handle hh;               /* registry->places, by name */
    struct place *ns_prev, *ns_next; /* ns->places */
    struct topic_name name;          /* its topic borrows it */
    struct ns *ns;
    enum place_state state;
    struct place_waiting *waiting; /* private to place.c */
    struct shard *shard;           /* where it lives */
    struct topic *topic; /* not to be looked into but on that worker; NULL while CREATING */
    uint64_t ledger;
    int64_t created_wall_ns;
    json_t *properties;              /* or NULL */
    struct place_policies *policies; /* private to place*.c; NULL: it never had one of its own */
    struct chain *chain; /* that its topic has, or had until what is on its way to it arrives */
};

/* ---- finding and making ---- */

struct place *place_find(struct registry *r, const char *full_name); /* any state but ENDING */
struct place *place_find_ready(struct registry *r, const char *full_name);
uint32_t places_count(const struct registry *r);

/* Finds or makes it, then calls <done>, at once or later. TG_ENOENT: its namespace does not exist;
 * TG_ELIMIT: too many topics; TG_EBUSY: being deleted; TG_EIO. <properties> borrowed, may be NULL.
 * A new one lives at <at>; NULL: nobody uses it yet. */
void place_create(struct registry *r, const struct topic_name *n, json_t *properties,
                  struct shard *at, place_done done, void *ctx);
/* At the start: from its row. */
TG_MUSTCHECK enum tg_err place_restore(struct registry *r, const struct topic_name *n,
                                       const json_t *row);

/* For a client whose connection is on <from>: where is it? Makes it when <may_make>, or when it is
 * a missing partition of a partitioned topic. */
enum place_result {
    PLACE_FOUND,          /* <at> */
    PLACE_IS_PARTITIONED, /* clients use its partitions */
    PLACE_NOT_THERE,      /* and it may not be made */
    PLACE_FAILED,         /* <err>: as place_create */
};
struct place_answer {
    enum place_result result;
    enum tg_err err;
    struct shard *at;
};
typedef void (*place_opened)(void *ctx, struct place_answer a);
void place_open(struct registry *r, const struct topic_name *n, bool may_make, struct shard *from,
                place_opened done, void *ctx);

/* ---- changing ---- */

/* Deletes row, cursors and ledger. Without <force>, TG_EBUSY when it has producers or consumers;
 * with it they are sent away first. */
void place_delete(struct place *p, bool force, place_done done, void *ctx);
/* NULL removes the own policy; durable first. */
void place_set_rate(struct place *p, enum rate_kind kind, const struct rate_policy *rate,
                    place_done done, void *ctx);
/* The same for one of its subscriptions, there or not. TG_ELIMIT: SUB_RATES_MAX have one. */
void place_set_sub_rate(struct place *p, const char *subscription, const struct rate_policy *rate,
                        place_done done, void *ctx);
/* Takes <properties> (NULL: none); they are put back when they can't be written. */
void place_set_properties(struct place *p, json_t *properties, place_done done, void *ctx);
/* Works out what applies to it - the rates (own policy, its partitioned topic's, the namespace's,
 * the broker's), the quotas above - and puts it in force, for those who wait too. */
void place_apply_policies(struct place *p);
/* The chain that a topic here is to have: borrowed. */
struct chain *place_chain(const struct place *p);
/* Its own policy, which is durable and in force. */
const struct rate_policy *place_own_rate(const struct place *p, enum rate_kind kind);
const struct rate_policy *place_own_sub_rate(const struct place *p, const char *subscription);
struct rate_choice place_rate(const struct place *p, enum rate_kind kind);

/* ---- doing something with the topic where it lives (visit.c) ---- */

/* Embedded in what is wanted. <there> runs on the topic's worker, once; it ends with visit_back, at
 * once or later, after which <back> runs on the control worker. <back> alone with <lost> set: the
 * broker stops. */
struct visit {
    struct letter letter; /* first */
    struct topic *topic;
    struct visit *next; /* for whoever keeps it there */
    struct shard *from, *at;
    void (*there)(struct visit *v, struct topic *t);
    void (*back)(struct visit *v);
    enum tg_err err; /* for whoever wants it */
    bool lost;
};
void place_visit(struct place *p, struct visit *v, void (*there)(struct visit *v, struct topic *t),
                 void (*back)(struct visit *v));
void visit_back(struct visit *v); /* on the topic's worker */
void visit_lost(struct visit *v); /* the workers have ended before it; main thread */

/* ---- private to registry.c ---- */
void place_free(struct place *p);

#endif
