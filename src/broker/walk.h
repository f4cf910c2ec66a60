/* walk.h - a look at every topic there is, on whichever worker, for statistics and metrics. Each
 * worker shows its own a few per turn, so that nobody's messages wait for it; the control worker
 * hears when all have been shown. A topic that comes meanwhile may be missed. */
#ifndef BROKER_WALK_H
#define BROKER_WALK_H

#include "broker/broker.h"
#include "broker/letter.h"

struct topic;
struct walk;

struct walk_part {        /* one worker's share */
    struct letter letter; /* first: to the worker and back */
    struct timer timer;
    struct walk *walk;
    struct shard *shard;
    struct topic *at;              /* the next to be shown */
    struct walk_part *prev, *next; /* shard->walks, while it is under way */
    uint32_t shown;                /* so many, at the end */
    void *data;                    /* the caller's: NULL at first */
};

struct walk { /* private but for ctx and part[i].data */
    void *ctx;
    /* On the topic's worker. */
    void (*show)(struct walk_part *part, struct topic *t);
    /* On the control worker, once. <lost>: the broker stops, some were not shown. Then it is freed;
     * what the parts' data point to is the caller's. */
    void (*done)(struct walk *w);
    bool lost;
    uint32_t per_turn;
    int pending;
    int parts;
    struct walk_part part[];
};

/* Shows each topic, <per_turn> a turn. On the control worker. */
void walk_begin(struct broker *b, uint32_t per_turn,
                void (*show)(struct walk_part *part, struct topic *t), void (*done)(struct walk *w),
                void *ctx);
/* <t> leaves its shard: no walk may stand at it. On its worker. */
void walks_skip(struct shard *s, struct topic *t);
/* The workers have ended: those under way are lost. Main thread. */
void walks_abandon(struct shard *s);

#endif
