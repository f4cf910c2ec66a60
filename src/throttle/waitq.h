/* waitq.h - the queue of those who wait at one scope, with one timer.
 *
 * Deficit round robin (after Shreedhar and Varghese, 1995) over the waiting children, by weight:
 * when the timer fires, what the scope's limit has accrued is handed out frame by frame in turns of
 * a quantum, so that N equal children get equal shares within one frame, whatever their frames'
 * sizes: one that sends large frames gets fewer of them. The quantum follows the average cost of a
 * frame, so that equal children alternate frame by frame at any rate. A child below its share is
 * never delayed behind a greedy one.
 *
 * The queue does not know what its children are: it asks for the cost of the next frame and grants
 * it by callback. A cost is in messages where the scope limits messages, in bytes where it limits
 * bytes. Where it limits both, it is in bytes, and a message counts at least as many bytes as the
 * two rates pass per message: each frame costs what it takes of the scarcer of the two.
 *
 * Whoever leaves takes a debt (an oversized frame not yet paid off) along and finds it, less what
 * it would have paid meanwhile, when it enters the same queue again; credit is never kept. So
 * leaving and entering again gains nothing.
 *
 * Invariant: not empty <=> the timer is armed. One owner: the scope's worker. */
#ifndef THROTTLE_WAITQ_H
#define THROTTLE_WAITQ_H

#include <stdbool.h>
#include <stdint.h>

#include "quota/path.h"
#include "quota/scope.h"

enum { WAITER_WEIGHT_MAX = 1 << 16 }; /* keeps weight times quantum far from overflow */

struct waiter {                 /* fields private to waitq.c */
    struct waiter *prev, *next; /* in a queue iff queue != NULL */
    struct waitq *queue;
    int64_t deficit;          /* what it may still take in this turn; a debt when negative */
    uint32_t weight;          /* 1 unless set */
    int64_t since_ns;         /* when it entered, or was last granted a frame */
    uint64_t round;           /* in which it has its next turn */
    const struct waitq *left; /* where <deficit> is from, while in no queue; only compared */
    uint64_t left_credit;     /* left->credit up to its last turn there */
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
    /* Its next frame may go: charge and send it. May take any waiter out of its queue, this one
     * included (waitq_leave; what is returned then only says whether a frame was admitted), and
     * put it in one (waitq_enter); may not fire this queue. */
    enum waiter_result (*grant)(struct waiter *w, int64_t now_ns);
    /* The one timer: call waitq_fire at or after <deadline_ns>, from the loop, not from in here;
     * MONO_NEVER disarms. Arming again replaces the deadline. */
    void (*arm)(void *ctx, int64_t deadline_ns);
};

struct waitq {           /* fields private to waitq.c but for count and armed_ns */
    struct scope *scope; /* borrowed */
    const struct waitq_ops *ops;
    void *ctx;
    struct waiter *head; /* circular, in order of turns; NULL when empty */
    uint32_t count;
    int64_t armed_ns; /* MONO_NEVER: not armed */
    bool firing;
    struct waiter *granting;      /* NULL when it left during its own grant */
    uint64_t round;               /* the running one */
    int64_t quantum;              /* in the running round */
    int64_t average;              /* cost of a frame; 0 before the first */
    uint64_t credit;              /* sum of the quanta of all rounds begun */
    int64_t emptied_ns;           /* when the last one left; meaningless while somebody waits */
    uint64_t msg_cost, byte_cost; /* what one message and one byte count */
};

void waitq_init(struct waitq *q, struct scope *scope, const struct waitq_ops *ops, void *ctx);
void waiter_init(struct waiter *w, uint32_t weight);

/* Puts a waiter at the end of the line. Asserts that it is in none. */
void waitq_enter(struct waitq *q, struct waiter *w, int64_t now_ns);
/* Takes it out (producer closed, moved). No-op when it is in no queue. */
void waitq_leave(struct waiter *w, int64_t now_ns);

/* The timer fired (or may as well have): hands out what has accrued, in at most <budget> grants,
 * then re-arms. Returns the number of frames admitted. When the budget ran out the timer is armed
 * for <now_ns>. */
uint32_t waitq_fire(struct waitq *q, uint32_t budget, int64_t now_ns);
/* The scope's limit was changed or removed: re-arms at once, for <now_ns> where the new limit has
 * tokens. After a removal the queue so runs empty in order. Grants nothing itself. */
void waitq_limit_changed(struct waitq *q, int64_t now_ns);
int64_t waitq_longest_wait_ns(const struct waitq *q, int64_t now_ns);

/* Where a frame on this path must wait: at the narrowest scope that lacks tokens, or at which
 * others stand in line already (who comes later does not overtake). NULL: path_charge may follow at
 * the same <now_ns>. <w> is the waiter whose frame it is: up to the scope in whose queue it stands
 * only tokens count, since it has had its turn there. */
struct scope *waitq_must_wait(const struct path *p, const struct waiter *w, int64_t now_ns);

#endif
