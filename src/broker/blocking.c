/* blocking.c - see blocking.h.
 *
 * Invariant: a producer or consumer that a block of its worker's set holds for is marked with that
 * block's id, from its registration, or from the end of the walk that brought the set. */
#include "broker/blocking.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/front.h"
#include "broker/producer.h"
#include "broker/subscription.h"
#include "broker/walk.h"

enum { APPLIED_PER_TURN = 500 }; /* topics or connections: some 100 us */

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
    if (k->blocked_by == 0 && k->sub != NULL)
        topic_mark_dirty(k->sub->topic);
}

/* ---- those who are there ---- */

static void apply_to_producers(struct topic *t)
{
    struct producer *p, *next;
    DL_FOREACH_SAFE(t->producers, p, next)
    {
        const struct block *b = blocking_producer(p->conn, &t->name, p->name);
        if (b != NULL && b->disconnect)
            producer_send_away(p);
        else
            block_set_on_producer(p, b);
    }
}

static void apply_to_consumers(struct subscription *s)
{
    struct consumer *k, *next;
    DL_FOREACH_SAFE(s->consumers, k, next)
    {
        const struct block *b = blocking_consumer(k->conn, &s->topic->name);
        if (b == NULL && k->blocked_by == 0)
            continue;
        if (b == NULL || !b->disconnect) {
            block_set_on_consumer(k, b);
            continue;
        }
        conn_send_close_consumer(k->conn, k->id);
        consumer_close(k);
    }
}

static void apply(struct walk_part *part, struct topic *t)
{
    (void)part;
    apply_to_producers(t);
    struct subscription *s, *next;
    HASH_ITER(hh, t->subscriptions, s, next)
    {
        apply_to_consumers(s);
    }
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
    struct block_set *set;
    void (*done)(void *ctx, enum tg_err e);
    void *ctx;
};

static void arrive(struct walk_part *part)
{
    struct blocking *w = part->walk->ctx;
    block_set_unref(part->shard->blocks);
    part->shard->blocks = block_set_ref(w->set);
}

static void on_applied(struct walk *w)
{
    struct blocking b = *(struct blocking *)w->ctx;
    free(w->ctx);
    block_set_unref(b.set);
    b.done(b.ctx, w->lost ? TG_ECLOSED : TG_OK);
}

void blocking_begin(struct broker *b, struct block_set *set, bool close_clients,
                    void (*done)(void *ctx, enum tg_err e), void *ctx)
{
    struct blocking *w = xmalloc(sizeof *w);
    *w = (struct blocking){.set = block_set_ref(set), .done = done, .ctx = ctx};
    struct walk_ops ops = {.per_turn = APPLIED_PER_TURN,
                           .arrive = arrive,
                           .show = apply,
                           .show_conn = close_clients ? close_blocked : NULL,
                           .done = on_applied};
    walk_begin(b, &ops, w);
}
