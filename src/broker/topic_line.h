/* topic_line.h - a topic's line: a limit of its own, the quotas above that, and the queue of those
 * who wait for any of these. A topic has one for what is published to it, in which its producers
 * stand, and, where it is needed, one for what is delivered, for its subscriptions.
 *
 * Who stands in line knows by itself what for: the topic's tokens, or a quota's, which it asks for
 * with the topic's claim (throttle/claim.h). Owner: the topic's worker. */
#ifndef BROKER_TOPIC_LINE_H
#define BROKER_TOPIC_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "net/worker.h"
#include "quota/path.h"
#include "quota/policy.h"
#include "quota/quota.h"
#include "throttle/claim.h"
#include "throttle/reason.h"
#include "throttle/waitq.h"

struct topic;
struct topic_claim;

enum {
    LINE_GRANTS_PER_TURN = 512, /* by one queue, before other work of the worker goes on */
};

/* What throttling has done to those in line. */
struct topic_throttling {
    uint64_t times;                   /* periods begun by any of them */
    int64_t ns[REASON_COUNT];         /* summed over them, up to their counts.from_ns */
    uint64_t hits[REASON_BROKER + 1]; /* frames that found that limiter used up */
    uint64_t holds;                   /* producers: of any of them */
    uint64_t forgotten;               /* whose clients did not come back to them while held */
    uint64_t discarded_msgs, discarded_bytes; /* sent while held, to be sent again */
};

struct topic_line {
    struct topic *topic;
    struct scope scope;                  /* the topic's own limit */
    struct path path;                    /* that */
    struct waitq waiters;                /* for it, or for a quota above it */
    struct timer timer;                  /* the queue's */
    struct claim_amount wanted;          /* by all of them; their owner's to keep */
    const struct quota_chain *chain;     /* the quotas above: borrowed */
    struct topic_claim *claim;           /* NULL until one of them has refused it */
    uint32_t weight;                     /* of its claim, in the queues of these */
    struct topic_throttling *throttling; /* NULL until somebody has had to wait */
};

/* <ops> is what its waiters are, with topic_line_arm as <arm>. */
void topic_line_init(struct topic_line *l, struct topic *t, const struct waitq_ops *ops,
                     const struct quota_chain *chain);
/* Nobody waits; a claim that is still there is dropped: the workers have ended. */
void topic_line_fini(struct topic_line *l);
void topic_line_arm(void *line, int64_t deadline_ns);
/* What its timer does. An owner that has more to do then gives the timer a function of its own,
 * which calls this; it is called when a claim is answered, too. */
void topic_line_fired(struct timer *t, int64_t now_ns);

/* ---- one frame ---- */

/* It lacks tokens of the topic, or others wait already. */
bool topic_line_must_wait(struct topic_line *l, int64_t now_ns);
/* The quota that has no tokens for such a frame, or NULL: then topic_line_charge of the same may
 * follow, before any other call for the topic. */
struct quota *topic_line_lacking(struct topic_line *l, uint64_t msgs, uint64_t bytes,
                                 int64_t now_ns);
/* After that: how much the quotas let be charged in one go instead, for several frames. */
struct claim_amount topic_line_held(const struct topic_line *l, struct claim_amount first);
/* Charges the topic and the quotas. True: but for a dry run it would not have been admitted. */
bool topic_line_charge(struct topic_line *l, uint64_t msgs, uint64_t bytes, int64_t now_ns);

/* ---- the queue ---- */

/* Asks the quotas for <head>, the frame whose turn it is, and for what else is wanted. */
void topic_line_ask(struct topic_line *l, struct quota *lacking, struct claim_amount head,
                    int64_t now_ns);
/* After somebody left: what the queue can't use of its credit goes back to the quotas. */
void topic_line_ran(struct topic_line *l, int64_t now_ns);
/* The claim is back from the quotas' home. */
void topic_line_claim_answered(struct topic_line *l);

/* ---- changes ---- */

/* True: something changed. Those who wait may then be told, and topic_line_limit_changed must
 * follow. */
bool topic_line_set_limit(struct topic_line *l, const struct rate_choice *rate);
void topic_line_limit_changed(struct topic_line *l, int64_t now_ns);
/* Who waits has to ask anew. One there was is one more of topic->claims_closing until
 * topic_claim_released is called, in here or later. */
void topic_line_close_claim(struct topic_line *l);

/* ---- what throttling did ---- */

/* To count in: made when first asked for. */
struct topic_throttling *topic_line_throttling(struct topic_line *l);
/* To read: all 0 where there is none. */
const struct topic_throttling *topic_line_throttling_of(const struct topic_line *l);

#endif
