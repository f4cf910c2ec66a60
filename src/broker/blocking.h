/* blocking.h - what a block (block.h) does to those it holds for. Each worker has the set of blocks
 * in force and asks it for whoever comes; for those who are there a change walks all topics. */
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

/* Puts <set> in force on every worker: within one turn for who comes, some topics per turn for who
 * is there; then <done>, on the control worker. TG_ECLOSED: the broker stops. <close_clients>: also
 * connections from addresses, and of roles, whose block says <disconnect>. Takes a reference. */
void blocking_begin(struct broker *b, struct block_set *set, bool close_clients,
                    void (*done)(void *ctx, enum tg_err e), void *ctx);

#endif
