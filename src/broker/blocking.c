/* blocking.c - see blocking.h.
 *
 * Invariant: a producer or consumer that a block of its worker's set holds for is marked with that
 * block's id, from its registration, or from the end of the walk that brought the block. */
#include "broker/blocking.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/front.h"
#include "broker/producer.h"
#include "broker/subscription.h"
#include "broker/walk.h"

/* Connections, producers, consumers: some 100 us, where all of them change. */
enum { APPLIED_PER_TURN = 100 };

/* ---- one ---- */

const struct block *blocking_producer(const struct conn *c, const struct topic_name *t,
                                      const char *name)
{
    struct block_subject who = {.producer = name, .topic = t, .address = c->peer, .role = c->role};
    return block_set_match(c->shard->blocks, &who);
}

const struct block *blocking_consumer(const struct conn *c, const struct topic_name *t)
{
    struct block_subject who = {.topic = t, .address = c->peer, .role = c->role};
    return block_set_match(c->shard->blocks, &who);
}

void block_set_on_producer(struct producer *p, const struct block *b)
{
    uint64_t id = b != NULL ? b->id : 0;
    bool was = p->blocked_by != 0;
    p->blocked_by = id;
    if (was == (id != 0))
        return;
    if (id != 0)
        publish_block(p);
    else
        publish_unblock(p);
}

void block_set_on_consumer(struct consumer *k, const struct block *b)
{
    k->blocked_by = b != NULL ? b->id : 0;
    if (k->sub != NULL) /* one that waits for tokens may have nobody to send to now */
        topic_mark_dirty(k->sub->topic);
}

/* ---- those who are there ---- */

static void apply_to_producer(struct walk_part *part, struct producer *p)
{
    (void)part;
    const struct block *b = blocking_producer(p->conn, &p->topic->name, p->name);
    if (b != NULL && b->disconnect)
        producer_send_away(p);
    else
        block_set_on_producer(p, b);
}

static void apply_to_consumer(struct walk_part *part, struct consumer *k)
{
    (void)part;
    if (k->sub == NULL)
        return; /* it is being opened: looked up then */
    const struct block *b = blocking_consumer(k->conn, &k->sub->topic->name);
    if (b == NULL && k->blocked_by == 0)
        return;
    if (b == NULL || !b->disconnect) {
        block_set_on_consumer(k, b);
        return;
    }
    conn_send_close_consumer(k->conn, k->id);
    consumer_close(k);
}

static void close_blocked(struct walk_part *part, struct conn *c)
{
    const struct block *b =
        c->front != NULL ? block_set_match_client(part->shard->blocks, c->peer, c->role) : NULL;
    if (b != NULL && b->disconnect)
        conn_close(c, "blocked by an administrator");
}

/* ---- the walk ---- */

struct blocking {
    struct block *put; /* list */
    struct block *gone;
    void (*done)(void *ctx, enum tg_err e);
    void *ctx;
};

static void arrive(struct walk_part *part)
{
    const struct blocking *w = part->walk->ctx;
    struct shard *s = part->shard;
    if (s->blocks == NULL)
        s->blocks = block_set_new();
    if (w->gone != NULL)
        block_set_remove(s->blocks, w->gone);
    for (const struct block *b = w->put; b != NULL; b = b->next)
        block_set_put(s->blocks, b);
}

static void on_applied(struct walk *w)
{
    struct blocking b = *(struct blocking *)w->ctx;
    struct block *put, *next;
    free(w->ctx);
    DL_FOREACH_SAFE(b.put, put, next)
    {
        block_free(put);
    }
    block_free(b.gone);
    b.done(b.ctx, w->lost ? TG_ECLOSED : TG_OK);
}

void blocking_begin(struct broker *b, const struct block *put, const struct block *gone,
                    void (*done)(void *ctx, enum tg_err e), void *ctx)
{
    struct blocking *w = xcalloc(1, sizeof *w);
    bool closes = false;
    w->done = done;
    w->ctx = ctx;
    for (; put != NULL; put = put->next) {
        struct block *copy = block_copy(put);
        DL_APPEND(w->put, copy);
        closes = closes || put->disconnect;
    }
    w->gone = gone != NULL ? block_copy(gone) : NULL;
    struct walk_ops ops = {.per_turn = APPLIED_PER_TURN,
                           .arrive = arrive,
                           .show_conn = closes ? close_blocked : NULL,
                           .show_producer = apply_to_producer,
                           .show_consumer = apply_to_consumer,
                           .done = on_applied};
    walk_begin(b, &ops, w);
}
