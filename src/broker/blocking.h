/* blocking.h - what a block (block.h) does to those it holds for. Each worker has the set of blocks
 * in force and asks it for whoever comes; for those who are there a change walks all connections.
 */
#ifndef BROKER_BLOCKING_H
#define BROKER_BLOCKING_H

#include "broker/block.h"
#include "broker/broker.h"

struct conn;
struct consumer;
struct producer;

/* On the worker of what is asked about: the block that holds for it, or NULL. */
const struct block *blocking_producer(const struct conn *c, const struct topic_name *t,
                                      const char *name);
const struct block *blocking_consumer(const struct conn *c, const struct topic_name *t);
/* One that has just come, or of whom it may have changed. <b> NULL: none holds. Does not send it
 * away. */
void block_set_on_producer(struct producer *p, const struct block *b);
void block_set_on_consumer(struct consumer *k, const struct block *b);

/* A change of the blocks in force, on every worker: <put> (a list by next, or NULL) is put in, each
 * in place of the one of its kind and name; <gone> (or NULL) is taken out. Within one turn for who
 * comes, some producers and consumers per turn for who is there, and connections from an address,
 * or of a role, whose block says <disconnect> are closed; then <done>, on the control worker.
 * TG_ECLOSED: the broker stops. One at a time. Copies what it needs. */
void blocking_begin(struct broker *b, const struct block *put, const struct block *gone,
                    void (*done)(void *ctx, enum tg_err e), void *ctx);

#endif
