/* waitq.h - the queue of those who wait at one scope, with one timer: the producers of a topic.
 *
 * Deficit round robin (fair.h) over the waiting children, by weight: when the timer fires, what the
 * scope's limit has accrued is handed out frame by frame, in turns of one average frame, so that N
 * equal children get equal shares within one frame, whatever their frames' sizes: one that sends
 * large frames gets fewer of them. A child below its share goes next and is never delayed behind a
 * greedy one; leaving and entering again gains nothing.
 *
 * The queue does not know what its children are: it asks for the cost of the next frame and grants
 * it by callback. What a frame costs: cost.h.
 *
 * The head may be held up by what lies above the scope (a quota, claim.h). Then the queue *sleeps*:
 * it keeps its order and grants nothing, until waitq_kick.
 *
 * Invariant: somebody waits and the queue does not sleep <=> the timer is armed. One owner: the
 * scope's worker. */
#ifndef THROTTLE_WAITQ_H
#define THROTTLE_WAITQ_H

#include <stdbool.h>
#include <stdint.h>

#include "quota/path.h"
#include "quota/scope.h"
#include "throttle/cost.h"
#include "throttle/fair.h"

struct waiter {            /* fields private to waitq.c */
    struct fair_node node; /* first */
    int64_t since_ns;      /* when it entered, or was last granted a frame */
};

/* What a grant did. */
enum waiter_result {
    WAITER_SENT,      /* one frame was admitted and charged; more are waiting: stays in line */
    WAITER_DONE,      /* one frame was admitted; nothing more waits: leaves the queue */
    WAITER_ELSEWHERE, /* nothing was charged: it lacks another scope's tokens, or has nothing:
                         leaves */
    WAITER_UPSTREAM,  /* nothing was charged: what lies above the scope holds all up. It keeps its
                         turn, and the queue sleeps (unless it was kicked during the grant) */
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

struct waitq {           /* fields private to waitq.c but for armed_ns and asleep */
    struct scope *scope; /* borrowed */
    const struct waitq_ops *ops;
    void *ctx;
    struct fair_tree tree;
    struct fair_line line;
    struct cost cost;
    int64_t armed_ns; /* MONO_NEVER: not armed */
    bool asleep;
    bool firing;
    bool kicked;             /* since the running grant began */
    struct waiter *granting; /* NULL when it left during its own grant */
};

void waitq_init(struct waitq *q, struct scope *scope, const struct waitq_ops *ops, void *ctx);
void waiter_init(struct waiter *w, uint32_t weight); /* 1 .. FAIR_WEIGHT_MAX */

static inline uint32_t waitq_count(const struct waitq *q)
{
    return q->line.count;
}
static inline bool waiter_waits(const struct waiter *w)
{
    return fair_in_line(&w->node);
}

/* Puts a waiter in the line: next, or, where it has had its share or owes for it, at the end.
 * Asserts that it is in none. */
void waitq_enter(struct waitq *q, struct waiter *w, int64_t now_ns);
/* Takes it out (producer closed, moved). No-op when it is in no queue. */
void waitq_leave(struct waiter *w, int64_t now_ns);

/* What lies above holds up the head, as after WAITER_UPSTREAM. Somebody must be waiting. */
void waitq_sleep(struct waitq *q);
/* It may hold it up no longer: re-arms, for now if the scope has tokens. No-op when awake. */
void waitq_kick(struct waitq *q, int64_t now_ns);

/* The timer fired (or may as well have): hands out what has accrued, in at most <budget> grants,
 * then re-arms. Returns the number of frames admitted. When the budget ran out the timer is armed
 * for <now_ns>. A queue that sleeps does nothing. */
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
