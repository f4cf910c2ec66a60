/* walk.h - a look at every topic, or every connection with its producers and consumers, on
 * whichever worker, for statistics, metrics, and for what is to be in force everywhere. Each worker
 * shows its own a few per turn, so that nobody's messages wait for it; the control worker hears
 * when all have been shown. What comes meanwhile may be missed. */
#ifndef BROKER_WALK_H
#define BROKER_WALK_H

#include "broker/broker.h"
#include "broker/letter.h"

struct conn;
struct consumer;
struct producer;
struct topic;
struct walk;

struct walk_part {        /* one worker's share */
    struct letter letter; /* first: to the worker and back */
    struct timer timer;
    struct walk *walk;
    struct shard *shard;
    struct topic *at;              /* the next to be shown */
    struct conn *at_conn;          /* the same, when there are no more topics, */
    struct producer *at_producer;  /* nor producers */
    struct consumer *at_consumer;  /* nor consumers of the one before it */
    struct walk_part *prev, *next; /* shard->walks, while it is under way */
    uint32_t shown;                /* so many topics, at the end */
    void *data;                    /* the caller's: NULL at first */
};

struct walk_ops {
    uint32_t per_turn; /* of whatever is shown */
    /* On each worker, once, before anything is shown there: within a turn of walk_begin, however
     * much there is to be shown. NULL: nothing. */
    void (*arrive)(struct walk_part *part);
    /* On the topic's worker; may send its users away. NULL: no topics. */
    void (*show)(struct walk_part *part, struct topic *t);
    /* On the worker of that part of the connection: its socket's, and each on which it has
     * producers or consumers; may close it. NULL: no connections. */
    void (*show_conn)(struct walk_part *part, struct conn *c);
    /* On the worker of its topic, behind its connection's part there; may close it. NULL: none. */
    void (*show_producer)(struct walk_part *part, struct producer *p);
    void (*show_consumer)(struct walk_part *part, struct consumer *k);
    /* On the control worker, once. <lost>: the broker stops, some were not shown. Then the walk is
     * freed; what the parts' data point to is the caller's. */
    void (*done)(struct walk *w);
};

struct walk { /* private but for ctx, lost, parts, and part[i]'s data and shown */
    void *ctx;
    struct walk_ops ops;
    bool lost;
    int pending;
    int parts;
    struct walk_part part[];
};

/* On the control worker. <ops> is copied. */
void walk_begin(struct broker *b, const struct walk_ops *ops, void *ctx);
/* They leave their shard or connection: no walk may stand at them. On its worker. */
void walks_skip(struct shard *s, struct topic *t);
void walks_skip_conn(struct shard *s, struct conn *c);
void walks_skip_producer(struct shard *s, struct producer *p);
void walks_skip_consumer(struct shard *s, struct consumer *k);
/* The workers have ended: those under way are lost. Main thread. */
void walks_abandon(struct shard *s);

#endif
