/* home_queue.h - private to the home: those who wait at one quota, and when they are served.
 *
 * The queue is a tree (fair.h): a claim is a leaf, below its topic's narrowest quota, that one
 * below the next wider that contains it, and so on up to the quota whose queue it is. A resource
 * group has such a tree, too, but a place in none. One owner: the home. */
#ifndef THROTTLE_HOME_QUEUE_H
#define THROTTLE_HOME_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "quota/quota.h"
#include "throttle/claim.h"
#include "throttle/cost.h"
#include "throttle/fair.h"
#include "throttle/home.h"

/* A quota in the queue of a wider one, and the line of those below it there. It stays as long as
 * both quotas do, whether or not anybody is to stand there again. */
struct home_place {
    struct fair_node node;
    struct fair_line line;
    struct home_queue *of, *in;
    struct home_place *of_prev, *of_next; /* of->places */
    struct home_place *in_prev, *in_next; /* in->guests */
};

struct home_queue {
    struct home *home;
    struct quota *quota;
    struct fair_tree tree;
    struct fair_line line; /* the top line */
    struct cost cost;
    uint32_t waiting; /* claims */
    uint32_t away;    /* claims that are expected back (fair.h) */
    struct claim *oldest, *newest;
    bool urgent;       /* one came below its share and may not have been served yet */
    int64_t served_ns; /* when all that had accrued was handed out last; INT64_MIN: not since the
                          limit is as it is */
    int64_t look_ns;   /* by when leases given back after it became binding are to be seen */
    int64_t pace_ns, patience_ns;
    int64_t armed_ns;          /* MONO_NEVER: not armed */
    struct home_place *places; /* list: its own in the queues of wider quotas */
    struct home_place *guests; /* list: those of narrower ones in its queue */
};

/* The claim is seen for the first time: finds, or makes, the queues of its levels, and its line in
 * each. */
void home_queue_meet(struct home *h, struct claim *c);
/* The quota's weight has changed: its turns are as long as that from the next on. */
void home_queue_weight_changed(struct home_queue *hq);
void home_queue_free(struct home_queue *hq);    /* asserts that nobody waits or is expected */
void home_queue_abandon(struct home_queue *hq); /* the same, whoever waits */
/* The quota's limit has been set or changed. */
void home_queue_limit_changed(struct home_queue *hq, int64_t now_ns);

/* There is something to hand out; where the limit holds up nobody, always. */
static inline bool home_queue_has_tokens(const struct home_queue *hq, int64_t now_ns)
{
    return !quota_is_enforced(hq->quota) || tg_shared_limit_has_tokens(&hq->quota->limit, now_ns);
}
/* Somebody waits there, or is expected: who comes now must wait, too. */
static inline bool home_queue_is_busy(const struct home_queue *hq)
{
    return fair_is_busy(&hq->line);
}
/* The claim has come to level[at] and waits there. True: it is below its share, and goes next. */
bool home_queue_enter(struct home_queue *hq, struct claim *c, int64_t now_ns);
void home_queue_leave(struct home_queue *hq, struct claim *c, bool expected, int64_t now_ns);
/* Where it is expected, from level <from> on, it is not coming, or not soon. */
void home_queue_give_up(struct claim *c, uint32_t from, int64_t now_ns);

/* Tells the world: binding or slack, and when the timer is to fire. After each change of who waits,
 * or of what tokens there are. */
void home_queue_show(struct home_queue *hq, int64_t now_ns);
/* May all that has accrued be handed out now? Else only to those below their share. */
bool home_queue_may_serve_all(const struct home_queue *hq, int64_t now_ns);
/* A turn of weight 1, in the queue's unit of cost. */
int64_t home_queue_quantum(const struct home_queue *hq);
int64_t home_queue_cost(const struct home_queue *hq, struct claim_amount a); /* 0 for nothing */

#endif
