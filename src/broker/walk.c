/* walk.c - see walk.h.
 *
 * Invariant: a part that is under way is in its shard's list and stands at a topic, a connection, a
 * producer and a consumer that are in the shard's and the connection's maps; what leaves a map
 * moves it on first (walks_skip). */
#include "broker/walk.h"

#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/alloc.h"
#include "broker/producer.h"
#include "broker/subscription.h"

static void part_ended(struct walk_part *part)
{
    struct walk *w = part->walk;
    if (--w->pending > 0)
        return;
    w->ops.done(w);
    free(w);
}

static void on_return(struct letter *l, struct shard *at)
{
    (void)at;
    part_ended((struct walk_part *)l);
}

static void on_lost(struct letter *l)
{
    struct walk_part *part = (struct walk_part *)l;
    part->walk->lost = true;
    part_ended(part);
}

static void go_back(struct walk_part *part)
{
    struct shard *control = &part->shard->broker->shard[0];
    DL_DELETE(part->shard->walks, part);
    if (part->shard == control)
        part_ended(part);
    else
        letter_post(part->shard, control, &part->letter, on_return, on_lost);
}

static bool has_more(const struct walk_part *part)
{
    return part->at || part->at_producer || part->at_consumer || part->at_conn;
}

/* It may be closed by what it is shown to: what comes next is known before. */
static void show_conn(struct walk_part *part)
{
    const struct walk_ops *ops = &part->walk->ops;
    struct conn *c = part->at_conn;
    part->at_conn = c->hh.next;
    part->at_producer = ops->show_producer ? c->producers : NULL;
    part->at_consumer = ops->show_consumer ? c->consumers : NULL;
    if (ops->show_conn)
        ops->show_conn(part, c);
}

static void show_next(struct walk_part *part)
{
    const struct walk_ops *ops = &part->walk->ops;
    struct topic *t = part->at;
    struct producer *p = part->at_producer;
    struct consumer *k = part->at_consumer;
    if (t) {
        part->at = t->hh.next;
        part->shown++;
        ops->show(part, t);
    } else if (p) {
        part->at_producer = p->hh.next;
        ops->show_producer(part, p);
    } else if (k) {
        part->at_consumer = k->hh.next;
        ops->show_consumer(part, k);
    } else {
        show_conn(part);
    }
}

static void show_some(struct walk_part *part)
{
    uint32_t left = part->walk->ops.per_turn;
    while (has_more(part) && left-- > 0)
        show_next(part);
    if (has_more(part))
        timer_arm(part->shard->worker, &part->timer, shard_now_ns(part->shard)); /* next turn */
    else
        go_back(part);
}

static void on_turn(struct timer *t, int64_t now_ns)
{
    (void)now_ns;
    show_some((struct walk_part *)((char *)t - offsetof(struct walk_part, timer)));
}

static void on_arrival(struct letter *l, struct shard *at)
{
    struct walk_part *part = (struct walk_part *)l;
    const struct walk_ops *ops = &part->walk->ops;
    if (ops->arrive)
        ops->arrive(part);
    part->at = ops->show ? at->topics : NULL;
    if (ops->show_conn || ops->show_producer || ops->show_consumer)
        part->at_conn = at->conns;
    DL_APPEND(at->walks, part);
    show_some(part);
}

void walk_begin(struct broker *b, const struct walk_ops *ops, void *ctx)
{
    struct walk *w = xcalloc(1, sizeof *w + (size_t)b->shards * sizeof w->part[0]);
    *w = (struct walk){.ctx = ctx, .ops = *ops, .pending = b->shards, .parts = b->shards};
    for (int i = 0; i < b->shards; i++) {
        struct walk_part *part = &w->part[i];
        part->walk = w;
        part->shard = &b->shard[i];
        timer_init(&part->timer, on_turn);
    }
    for (int i = b->shards - 1; i >= 0; i--) /* the own one last: it may end the walk */
        if (i > 0)
            letter_post(&b->shard[0], &b->shard[i], &w->part[i].letter, on_arrival, on_lost);
        else
            on_arrival(&w->part[0].letter, &b->shard[0]);
}

void walks_skip(struct shard *s, struct topic *t)
{
    struct walk_part *part;
    DL_FOREACH(s->walks, part)
    {
        if (part->at == t)
            part->at = t->hh.next;
    }
}

void walks_skip_conn(struct shard *s, struct conn *c)
{
    struct walk_part *part;
    DL_FOREACH(s->walks, part)
    {
        if (part->at_conn == c)
            part->at_conn = c->hh.next;
    }
}

void walks_skip_producer(struct shard *s, struct producer *p)
{
    struct walk_part *part;
    DL_FOREACH(s->walks, part)
    {
        if (part->at_producer == p)
            part->at_producer = p->hh.next;
    }
}

void walks_skip_consumer(struct shard *s, struct consumer *k)
{
    struct walk_part *part;
    DL_FOREACH(s->walks, part)
    {
        if (part->at_consumer == k)
            part->at_consumer = k->hh.next;
    }
}

void walks_abandon(struct shard *s)
{
    while (s->walks) {
        struct walk_part *part = s->walks;
        part->walk->lost = true;
        DL_DELETE(s->walks, part);
        part_ended(part);
    }
}
