/* loans.h - private to the home: what the quotas of a claim's chain have lent it.
 *
 * Each level has lent an amount; those at which the claim did not have to wait lend only together
 * with one at which it did, so that nothing is held while it waits further out but what it was
 * granted by a queue (home.want then). When the claim is answered all levels have lent the same.
 * One owner: the home. */
#ifndef THROTTLE_LOANS_H
#define THROTTLE_LOANS_H

#include "throttle/claim.h"
#include "throttle/home_queue.h"

/* The levels 0 .. <upto> lend more, all the same: as much as costs <most> in the queue of <upto>,
 * at most what is wanted, at least the head frame in all. False: one of them has no tokens; some
 * may have lent more than <upto> then. *<got>: what was lent; nothing where less than a token is
 * left. */
bool loans_take(struct claim *c, uint32_t upto, int64_t most, struct claim_amount *got,
                int64_t now_ns);
/* What the levels 0 .. <upto> have lent beyond level <upto> goes back. */
void loans_trim(struct claim *c, uint32_t upto, int64_t now_ns);
void loans_give_back(struct claim *c, int64_t now_ns); /* all of it */
/* Of what all levels have lent <unspent> comes back, the rest was spent. */
void loans_settle(struct claim *c, struct claim_amount unspent, int64_t now_ns);

/* What has been lent at a level is all that the claim wants there. */
bool loans_suffice(const struct claim *c, uint32_t level);
/* A limit of the chain has changed since it lent. */
bool loans_are_stale(const struct claim *c);
/* One of them overdrew its quota. */
bool loans_are_overdrawn(const struct claim *c);

/* The part of <a> that costs <most> in this queue, at least one of each of which there is any; all
 * of it where there is no limit. */
struct claim_amount loans_part(const struct home_queue *hq, struct claim_amount a, int64_t most);
static inline bool amount_is_nothing(struct claim_amount a)
{
    return a.msgs == 0 && a.bytes == 0;
}

#endif
