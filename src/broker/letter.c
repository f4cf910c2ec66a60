/* letter.c - see letter.h.
 *
 * Invariants: while a queue to a receiver is not empty, new letters to it go behind it, so the
 * order is kept; and a timer is armed, so that the turn that tries again comes. Nothing is dropped
 * while a worker runs: what a drop touches may be another's. */
#include "broker/letter.h"

#include <stddef.h>

#include "base/mono.h"
#include "broker/broker.h"

static void deliver(struct mail *m, struct worker *w)
{
    struct letter *l = (struct letter *)m;
    l->read(l, shard_of(w));
}

static void enqueue(struct letter_queue *q, struct letter *l)
{
    l->next = NULL;
    if (q->tail)
        q->tail->next = l;
    else
        q->head = l;
    q->tail = l;
}

static struct letter *dequeue(struct letter_queue *q)
{
    struct letter *l = q->head;
    q->head = l->next;
    if (!q->head)
        q->tail = NULL;
    return l;
}

static void put_back(struct letter_queue *q, struct letter *l)
{
    l->next = q->head;
    q->head = l;
    if (!q->tail)
        q->tail = l;
}

static void try_again_soon(struct shard *s)
{
    if (!timer_is_armed(&s->unsent_timer))
        timer_arm(s->worker, &s->unsent_timer, shard_now_ns(s) + MONO_MS);
}

void letter_post(struct shard *from, struct shard *to, struct letter *l,
                 void (*read)(struct letter *l, struct shard *at),
                 void (*on_drop)(struct letter *l))
{
    struct letter_queue *q = &from->unsent[to->index];
    l->mail.deliver = deliver;
    l->read = read;
    l->drop = on_drop;
    enum tg_err e = q->head ? TG_EBUSY : worker_post(to->worker, &l->mail);
    if (e == TG_EBUSY) {
        enqueue(q, l);
        try_again_soon(from);
    } else if (e) {
        enqueue(&from->undelivered, l);
    }
}

static void post_again(struct shard *from, struct shard *to)
{
    struct letter_queue *q = &from->unsent[to->index];
    while (q->head) {
        struct letter *l = dequeue(q); /* once posted it is not ours to look at */
        enum tg_err e = worker_post(to->worker, &l->mail);
        if (e == TG_EBUSY) {
            put_back(q, l);
            try_again_soon(from);
            return;
        }
        if (e)
            enqueue(&from->undelivered, l);
    }
}

void letters_post_again(struct shard *from)
{
    for (int i = 0; i < from->broker->shards; i++)
        if (from->unsent[i].head)
            post_again(from, &from->broker->shard[i]);
}

static bool drop_all(struct letter_queue *q)
{
    bool any = q->head != NULL;
    while (q->head) {
        struct letter *l = dequeue(q);
        if (l->drop)
            l->drop(l);
    }
    return any;
}

bool letters_drop(struct shard *from)
{
    bool any = drop_all(&from->undelivered);
    for (int i = 0; i < from->broker->shards; i++)
        any = drop_all(&from->unsent[i]) || any;
    return any;
}
