/* claim.h - how a topic comes by tokens of quotas that are short of them: it asks their home.
 *
 * A topic has one claim from the first time that a quota of its chain refused it. Its own queue
 * (waitq.h) sleeps while the claim is out. The claim travels as a letter, which exists once: who
 * has it may write it.
 *
 *   state     what the topic has         leaves when
 *   IDLE      neither                    claim_ask                                   -> ASKED
 *   ASKED     a letter at the home       it is back, with tokens                     -> GRANTED
 *                                        it is back, with none (withdrawn)           -> IDLE
 *   GRANTED   credit, perhaps used up    claim_ask (what is unspent goes along)      -> ASKED
 *                                        claim_release (what is unspent goes back)   -> IDLE
 *
 * The home answers each ask exactly once: with tokens of every quota on the chain, for at least the
 * head frame and at most the demand; or with none, after claim_withdraw. A second letter, the note,
 * takes withdrawals and unspent credit home, and comes back as well. Each state of GRANTED ends
 * with one letter that tells the home what was spent: until then it counts all of it as yet to be.
 *
 * Credit is void after a change of a limit on the chain (its tokens go back and it asks anew): what
 * was granted under no limit must not pass one that is set now. Credit that overdrew a quota is
 * good for one frame, no larger than the head frame was: that is the one message that a bucket may
 * be overdrawn by.
 *
 * Letters are posted by the owner's ops: in any way, at once or later, on the same worker or
 * another, but each exactly once and in order. So nothing is touched after a post.
 *
 * One owner, the topic's worker, but for what says otherwise. The memory is the owner's, who may
 * free it in ops->released. */
#ifndef THROTTLE_CLAIM_H
#define THROTTLE_CLAIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "limiter/shared_limit.h"
#include "quota/path.h"
#include "quota/quota.h"
#include "throttle/fair.h"
#include "throttle/waitq.h"

struct claim;

struct claim_amount {
    uint64_t msgs, bytes; /* of credit, UINT64_MAX: no quota limits it */
};

enum claim_letter_kind { CLAIM_ASK, CLAIM_NOTE, CLAIM_LETTERS };

/* What is posted; the owner keeps what its post needs (an envelope) beside the claim, by kind. */
struct claim_letter {
    struct claim *claim;
    enum claim_letter_kind kind;
    bool away;      /* the topic's: not back yet */
    bool settles;   /* it ends a GRANTED: <unspent> of the credit comes back, the rest was spent */
    bool withdraws; /* a note's: answer what was asked, with nothing */
    struct claim_amount unspent;
    struct claim_letter *next; /* the home's */
};

struct claim_ops {
    void (*post_home)(struct claim_letter *l); /* to the home, which calls home_receive */
    /* Closed, and all letters are back: nobody knows it any more. */
    void (*released)(struct claim *c);
};

enum claim_state { CLAIM_IDLE, CLAIM_ASKED, CLAIM_GRANTED };

/* At one quota of the chain: private to the home, but the topic reads <changes> while it holds
 * credit. */
struct claim_level {
    struct claim *claim;
    struct quota *quota;
    int below;                /* the level that stands for the topic there, or QUOTA_TOPIC */
    struct fair_line *line;   /* in that quota's queue; NULL: the home has not seen it yet */
    struct fair_node node;    /* it stands there in that line */
    struct tg_loan loan;      /* what it has lent, and is not settled, */
    struct claim_amount lent; /* as a frame counts it */
    uint32_t changes;         /* quota_changes when it was lent */
    uint32_t era;             /* in which unit of cost is */
    int64_t cost;             /* what the queue has charged for it; 0: it did not wait here */
};

/* What the home knows of a claim: private to it. */
struct claim_at_home {
    bool asked;               /* the home has the ask letter */
    bool waits;               /* in the queue of level[at] */
    bool in_batch;            /* has had its turn, and goes on when all of them have */
    bool begins_anew;         /* from the narrowest quota */
    uint32_t at;              /* the level that it has come to */
    struct claim_amount want; /* at most: the demand, then what it was granted where it waited */
    struct claim *batch_next;
    struct claim *older, *newer; /* who waits at the same quota, by since_ns */
};

struct claim { /* fields private to claim.c and home.c but for state */
    const struct claim_ops *ops;
    enum claim_state state;
    bool withdrawn;    /* the home was told so, for this ask */
    bool withdraw_due; /* as soon as the note is back */
    bool release_due;  /* as soon as the note is back */
    bool closing;
    bool used_once;           /* <once> and spent */
    struct quota *lacking;    /* which refused when it asked */
    struct claim_amount left; /* of the credit */
    struct claim_letter ask, note;
    /* Travels with the ask letter. */
    struct claim_amount head, demand;
    struct claim_amount granted; /* both 0: nothing */
    bool once;                   /* credit for one frame only */
    /* For anybody: where it waits, and since when. */
    _Atomic(struct quota *) waits_at; /* NULL: not in a queue */
    _Atomic int64_t since_ns;
    struct claim_at_home home;
    uint32_t levels;
    struct claim_level level[QUOTA_CHAIN_MAX];
};

/* Of a topic with that chain, of which it keeps nothing but the quotas. <weight>: the topic's among
 * the children of its narrowest one. */
void claim_init(struct claim *c, const struct claim_ops *ops, const struct quota_chain *chain,
                uint32_t weight);
/* The topic goes: withdraws, gives back, and calls ops->released, in here or later. Nothing but
 * claim_received may follow. */
void claim_close(struct claim *c);

/* ---- a frame of the topic; <c> may be NULL where it has no claim yet ---- */

/* The quota that has no tokens for such a frame, or NULL: then claim_charge of the same may follow,
 * before any other call for this topic. Credit is used before leases, and neither while ASKED. */
struct quota *claim_lacking(const struct claim *c, const struct quota_chain *chain,
                            struct quota_worker *w, uint64_t msgs, uint64_t bytes, int64_t now_ns);
/* After claim_lacking has given NULL for <first>: how much may be charged in one go instead, for
 * several frames; at least that. */
struct claim_amount claim_held(const struct claim *c, const struct quota_worker *w,
                               struct claim_amount first);
/* True: but for a dry run it would not have been admitted. */
bool claim_charge(struct claim *c, const struct quota_chain *chain, struct quota_worker *w,
                  uint64_t msgs, uint64_t bytes, int64_t now_ns);

/* ---- the topic's queue ---- */

/* Asks for the topic's head frame and up to <demand>, all that waits there. <lacking> is what
 * claim_lacking said. No-op while ASKED. */
void claim_ask(struct claim *c, struct quota *lacking, struct claim_amount head,
               struct claim_amount demand);
/* The quota that keeps the topic waiting: where it stands in line, else the one that refused. NULL
 * unless ASKED. */
struct quota *claim_binding(const struct claim *c);
/* No more than the head frame, or what the scopes of the topic's own path have: tokens that the
 * topic could not use are better left to others. */
struct claim_amount claim_bound_demand(const struct path *own, struct claim_amount head,
                                       struct claim_amount demand, int64_t now_ns);
/* Credit goes back. No-op unless GRANTED. */
void claim_release(struct claim *c);
/* What was asked for is not wanted any more. No-op unless ASKED. */
void claim_withdraw(struct claim *c);
/* After each waitq_fire, waitq_leave and change of the topic's limit: gives back what the queue
 * can't use now, as nobody waits in it or its own limit binds. */
void claim_queue_ran(struct claim *c, const struct waitq *q, int64_t now_ns);
/* A letter is back from the home. True: kick the topic's queue (waitq_kick), whether or not there
 * is credit now. False: the claim was closed, and may have been released. */
bool claim_received(struct claim_letter *l);

/* ---- any thread ---- */

/* The quota in whose queue it stands, and since when; NULL: in none just now. */
static inline struct quota *claim_waits_at(const struct claim *c)
{
    return atomic_load_explicit(&c->waits_at, memory_order_relaxed);
}
static inline int64_t claim_since_ns(const struct claim *c)
{
    return atomic_load_explicit(&c->since_ns, memory_order_relaxed);
}

#endif
