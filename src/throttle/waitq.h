/* waitq.h - the queue of those who wait at one scope, with one timer.
 *
 * Deficit round robin (Shreedhar and Varghese, 1995) over the waiting children, by weight: when the
 * timer fires, what the scope's limit has accrued is handed out in turns of a quantum, so that N
 * equal children get equal shares within one frame, whatever their frames' sizes. A child below its
 * share is never delayed behind a greedy one. Below quantum: max(one frame, 1 ms of the rate).
 *
 * The queue does not know what its children are: it asks for the cost of the next frame and grants
 * it by callback. Costs are messages, or bytes where the scope limits bytes.
 *
 * Invariant: not empty <=> the timer is armed. One owner: the scope's worker. */
#ifndef THROTTLE_WAITQ_H
#define THROTTLE_WAITQ_H

#include <stdbool.h>
#include <stdint.h>

#include "quota/scope.h"

struct waiter {
    struct waiter *prev, *next; /* private; in a queue iff queue != NULL */
    struct waitq *queue;
    int64_t deficit;
    uint32_t weight;  /* 1 unless set */
    int64_t since_ns; /* when it entered */
};

/* What a grant did. */
enum waiter_result {
    WAITER_SENT,      /* one frame was admitted and charged; more are waiting: stays in line */
    WAITER_DONE,      /* one frame was admitted; nothing more waits: leaves the queue */
    WAITER_ELSEWHERE, /* nothing was charged: it lacks another scope's tokens, or has nothing:
                         leaves */
};

struct waitq_ops {
    /* The cost of this waiter's next frame, in messages and bytes. */
    void (*cost)(struct waiter *w, uint64_t *msgs, uint64_t *bytes);
    /* Its next frame may go: charge and send it. May not call into the queue. */
    enum waiter_result (*grant)(struct waiter *w, int64_t now_ns);
    /* The one timer: fire waitq_fire at or after <deadline_ns>; MONO_NEVER disarms. */
    void (*arm)(void *ctx, int64_t deadline_ns);
};

struct waitq {
    struct scope *scope; /* borrowed */
    const struct waitq_ops *ops;
    void *ctx;
    struct waiter *head; /* circular order of turns; NULL when empty */
    uint32_t count;
    int64_t armed_ns; /* MONO_NEVER: not armed */
    bool firing;
};

void waitq_init(struct waitq *q, struct scope *scope, const struct waitq_ops *ops, void *ctx);
void waiter_init(struct waiter *w, uint32_t weight);

/* Puts a waiter at the end of the line. Asserts that it is in none. */
void waitq_enter(struct waitq *q, struct waiter *w, int64_t now_ns);
/* Takes it out (producer closed, moved). No-op when it is in no queue. */
void waitq_leave(struct waiter *w, int64_t now_ns);

/* The timer fired (or may as well have): hands out what has accrued, at most <budget> frames, then
 * re-arms. Returns the number granted. When the budget ran out the timer is armed for <now_ns>. */
uint32_t waitq_fire(struct waitq *q, uint32_t budget, int64_t now_ns);
/* The scope's limit was changed or removed: re-arms at once (removed: fires now, in order). */
void waitq_limit_changed(struct waitq *q, int64_t now_ns);
int64_t waitq_longest_wait_ns(const struct waitq *q, int64_t now_ns);

#endif
