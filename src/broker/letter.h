/* letter.h - letters between the broker's workers. Each is read once, on the worker it went to, in
 * the order in which one worker posted them; what a worker does before it posts is seen by who
 * reads. A full box delays letters, and those behind them, it loses none: they wait at the sender.
 *
 * When the receiver has ended (the broker stops) a letter is dropped instead: on the main thread,
 * after all workers have ended. */
#ifndef BROKER_LETTER_H
#define BROKER_LETTER_H

#include "net/worker.h"

struct shard;

struct letter { /* embedded in what it is about; not used again before it was read or dropped */
    struct mail mail;                                 /* first */
    struct letter *next;                              /* while it waits at the sender */
    void (*read)(struct letter *l, struct shard *at); /* owns it from then on */
    void (*drop)(struct letter *l);                   /* the same; NULL: nothing is to be done */
};

/* Part of the sender's shard: letters that found a box full, one queue per receiver, or closed. */
struct letter_queue {
    struct letter *head, *tail;
};

/* On <from>'s worker, or on the main thread when no worker runs. */
void letter_post(struct shard *from, struct shard *to, struct letter *l,
                 void (*read)(struct letter *l, struct shard *at), void (*drop)(struct letter *l));
/* Once per turn, on <from>'s worker: tries again what found a box full. */
void letters_post_again(struct shard *from);
/* The workers have ended: drops what was not delivered. False: there was nothing. Drops may post
 * letters: call it until nothing is left anywhere. */
bool letters_drop(struct shard *from);

#endif
