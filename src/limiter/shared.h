/* shared.h - a token bucket that several workers (threads) spend, without sharing a hot word.
 *
 * Contract: between any two instants t0 < t1 the tokens admitted by all workers together are at
 * most
 *
 *         burst + rate * (t1 - t0) + one message.
 *
 * Never over; and tokens are conserved exactly: what was taken from the bucket is spent, unspent in
 * a lease, or given back. (Where workers pass a <now_ns> that is up to L old, their messages count
 * as admitted up to L earlier than they were: who looks at a clock on the wall sees rate * L more.)
 *
 * How: one central bucket (bucket.h) behind a short lock, and for each worker a lease: credit taken
 * out of the centre ahead of use. Spending it touches no shared word but <generation>, which every
 * message reads and only a change writes. What is leased out counts as if it were still in the
 * bucket, until the lease is settled: the refill stops at the burst minus what is leased out, so
 * leases never add to the burst.
 *
 * A shared bucket is slack or binding:
 * - Slack (nobody waits): a worker leases what its message needs and ahead of that at most 1 ms of
 *   the rate, and at most an eighth of what is there: the emptier the bucket, the smaller the
 *   lease. Below 1000/s a lease is one message. As in bucket.h, above zero is enough: a message of
 *   any size is then good and may overdraw the bucket, once.
 * - Binding (somebody waits): leases are revoked and workers refused, so that nobody overtakes; who
 *   waits is granted tokens by the home worker, tg_shared_grant, in the order of its queue.
 *
 * Rules
 * - A worker returns its lease at the end of each loop turn (tg_lease_return): what it keeps,
 *   nobody else can use. One that is busy may keep it for about 1 ms while it is current
 *   (tg_lease_is_current): then it stands for no more than others would lose by looking.
 * - A refused worker is refused again without a look at the centre until the bucket can be above
 *   zero, at the most for 1 ms: so it learns of tokens that others gave back at most 1 ms late.
 * - A clock that stands still or steps back grants nothing and takes nothing, as in bucket.h.
 * - Threads: a lease has one owner. Everything else here may be called by any thread, except that
 *   init comes before the others, and that retune and set_unlimited are called by one controlling
 *   thread. No clock, no allocation, no I/O; the lock is a mutex that is held for some tens of
 *   nanoseconds and taken when a lease is taken or settled.
 * - Zero-initialised memory is an unlimited bucket and an empty lease. A lease is for one bucket:
 *   returned before it is given up, zeroed before it is used with another. Nothing needs freeing.
 *
 * One tg_shared is up to four buckets that are spent together, each message charged to all of them
 * or to none, since that is what a limit needs: see shared_limit.h. The calls with one <n> are for
 * a single bucket. */
#ifndef LIMITER_SHARED_H
#define LIMITER_SHARED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "limiter/bucket.h"

enum {
    TG_SHARED_KINDS = 2,   /* of tokens; as a limit has it: messages and bytes */
    TG_SHARED_BUCKETS = 4, /* bucket i holds tokens of kind i % 2 */
    TG_CACHE_LINE = 64,
};

/* One of the buckets. */
struct tg_pool {
    struct tg_bucket_params params;
    struct tg_bucket bucket; /* what is not leased out */
    uint64_t ahead;          /* 1 ms of the rate, in tokens */
};

/* Fields private to shared.h and shared.c. Padding, not alignment, keeps apart what every message
 * reads and what the lock protects, so that this may be embedded in any memory. */
struct tg_shared {
    char apart_before[TG_CACHE_LINE];
    _Atomic uint64_t generation; /* changes, times 4, and flags: see below */
    char apart_after[TG_CACHE_LINE];
    pthread_mutex_t lock;             /* for what follows, and for writing <generation> */
    uint64_t leased[TG_SHARED_KINDS]; /* tokens in leases that are not settled */
    uint64_t oldest; /* leases of an earlier generation are void and not in <leased> */
    uint32_t active; /* bit i: bucket i is in force */
    struct tg_pool pool[TG_SHARED_BUCKETS];
};

/* What one worker has taken in advance. Fields private to shared.h and shared.c; no other thread
 * touches them. Padded so that the leases of an array share no cache line. */
struct tg_lease {
    uint64_t seen;                     /* the generation it is good for */
    uint64_t credit[TG_SHARED_KINDS];  /* tokens to spend */
    uint64_t granted[TG_SHARED_KINDS]; /* of these, what the centre counts as leased to us */
    int64_t refused_ns;                /* when it was last refused, */
    uint64_t refused_for_ns;           /* and for how long there is no use in asking again */
    char apart[TG_CACHE_LINE];
};

/* Tokens that the home worker has lent to somebody who will spend them a little later. Until they
 * are settled they count like those in a lease. Fields private to shared.c but for overdrawn;
 * zero-initialise. */
struct tg_loan {
    uint64_t seen;                  /* the generation in which they were lent */
    uint64_t lent[TG_SHARED_KINDS]; /* what the centre counts as leased */
    bool overdrawn; /* so it is good for one message only, of at most the size asked for */
};

/* ---- the controlling thread ---- */

/* A bucket with <percent> of its burst, and above zero. No other thread knows it yet. */
void tg_shared_init(struct tg_shared *s, const struct tg_bucket_params *p, int percent,
                    int64_t now_ns);
/* Other parameters from now on: balance (clamped to the new burst) and debt stay; one that was
 * unlimited starts with <percent>. Credit in leases counts towards the balance, but is lost
 * where the bucket would hold more than its burst with it. Workers learn of it at their next
 * message. */
void tg_shared_retune(struct tg_shared *s, const struct tg_bucket_params *p, int percent,
                      int64_t now_ns);
void tg_shared_set_unlimited(struct tg_shared *s);
static inline bool tg_shared_is_limited(const struct tg_shared *s);

/* ---- a worker, with its lease ---- */

/* May a message of <n> tokens pass? True: the lease holds <n>, taken from the centre if need be;
 * tg_lease_charge of the same <n> may follow, before any other call with this lease. 0 tokens pass
 * under the same condition as 1. */
static inline bool tg_lease_has(struct tg_lease *l, struct tg_shared *s, uint64_t n,
                                int64_t now_ns);
static inline void tg_lease_charge(struct tg_lease *l, struct tg_shared *s, uint64_t n);
/* Both. */
static inline bool tg_lease_take(struct tg_lease *l, struct tg_shared *s, uint64_t n,
                                 int64_t now_ns);
/* Gives unspent credit back. Costs next to nothing when there is none. */
static inline void tg_lease_return(struct tg_lease *l, struct tg_shared *s, int64_t now_ns);
/* Nothing has changed since it was taken, and it is not for one message only. */
static inline bool tg_lease_is_current(const struct tg_lease *l, const struct tg_shared *s);

/* ---- the home worker (any thread) ---- */

/* While binding, workers are refused and only tg_shared_grant hands out tokens. */
void tg_shared_set_binding(struct tg_shared *s, bool binding);
static inline bool tg_shared_is_binding(const struct tg_shared *s);

/* Is the centre above zero? What is leased out is not in it, in any of these. */
bool tg_shared_has_tokens(struct tg_shared *s, int64_t now_ns);
/* Takes <n> tokens if it is; may overdraw, once. They count as admitted now. */
bool tg_shared_grant(struct tg_shared *s, uint64_t n, int64_t now_ns);
/* Gives back tokens that were granted (or charged to a lease) and not used; what does not fit in
 * the burst is dropped. */
void tg_shared_give_back(struct tg_shared *s, uint64_t n, int64_t now_ns);
/* How long until tg_shared_has_tokens, rounded up; 0 when it has some, INT64_MAX for never. Sooner
 * when tokens come back; where all of the burst is leased out, it is time to ask again. */
int64_t tg_shared_wait_ns(struct tg_shared *s, int64_t now_ns);
/* Whole tokens in the centre, rounded down; negative: debt; INT64_MAX: unlimited. */
int64_t tg_shared_balance(struct tg_shared *s, int64_t now_ns);

/* ---- all buckets at once: <n0> tokens of kind 0 and <n1> of kind 1, to all buckets or none ----
 */

/* Bucket i is in force when bit i of <active> is set; peaks (2 and 3) start full. */
void tg_shared_retune_all(struct tg_shared *s, const struct tg_bucket_params p[TG_SHARED_BUCKETS],
                          uint32_t active, int percent, int64_t now_ns);
static inline bool tg_lease_has_both(struct tg_lease *l, struct tg_shared *s, uint64_t n0,
                                     uint64_t n1, int64_t now_ns);
static inline void tg_lease_charge_both(struct tg_lease *l, struct tg_shared *s, uint64_t n0,
                                        uint64_t n1);
bool tg_shared_grant_both(struct tg_shared *s, uint64_t n0, uint64_t n1, int64_t now_ns);
void tg_shared_give_back_both(struct tg_shared *s, uint64_t n0, uint64_t n1, int64_t now_ns);
/* Lends, if every bucket is above zero, as much of <most> as every bucket has, in one proportion
 * for both kinds, but at least <least>, which may overdraw, once. Adds it to the loan and says how
 * much in <got>. Also while binding. False, and nothing lent: a bucket is empty. */
bool tg_shared_lend(struct tg_shared *s, struct tg_loan *l, const uint64_t least[TG_SHARED_KINDS],
                    const uint64_t most[TG_SHARED_KINDS], uint64_t got[TG_SHARED_KINDS],
                    int64_t now_ns);
/* Of the loan, <unspent> comes back and <spent> was spent; the rest stays lent. */
void tg_shared_settle_loan(struct tg_shared *s, struct tg_loan *l,
                           const uint64_t unspent[TG_SHARED_KINDS],
                           const uint64_t spent[TG_SHARED_KINDS], int64_t now_ns);
/* Of bucket i. */
int64_t tg_shared_balance_of(struct tg_shared *s, int i, int64_t now_ns);

/* ---- inline: what every message passes ---- */

/* Flags in <generation>; the rest of it counts changes. */
#define TG_SHARED_BINDING UINT64_C(1)
#define TG_SHARED_LIMITED UINT64_C(2)
#define TG_SHARED_CHANGE  UINT64_C(4)
/* In tg_lease.seen only: granted for one message, with nothing ahead; charging settles it. Since no
 * generation has this bit, asking again means looking at the centre again. */
#define TG_LEASE_ONCE (UINT64_C(1) << 63)

/* The slow halves: at the centre, under its lock. */
bool tg_lease_look(struct tg_lease *l, struct tg_shared *s, uint64_t n0, uint64_t n1, bool spend,
                   int64_t now_ns);
void tg_lease_settle(struct tg_lease *l, struct tg_shared *s, int64_t now_ns);
#define TG_SAME_INSTANT INT64_MIN /* as <now_ns>: no time has passed since the centre was asked */

static inline uint64_t tg_shared_generation(const struct tg_shared *s)
{
    /* Nothing is read through it: whoever sees it late was earlier. */
    return atomic_load_explicit(&s->generation, memory_order_relaxed);
}

static inline bool tg_lease_is_current(const struct tg_lease *l, const struct tg_shared *s)
{
    return l->seen == tg_shared_generation(s);
}

static inline bool tg_shared_is_limited(const struct tg_shared *s)
{
    return tg_shared_generation(s) & TG_SHARED_LIMITED;
}

static inline bool tg_shared_is_binding(const struct tg_shared *s)
{
    return tg_shared_generation(s) & TG_SHARED_BINDING;
}

/* n - 1 wraps for 0, which so takes the long way. */
static inline bool tg_lease_holds(const struct tg_lease *l, const struct tg_shared *s, uint64_t n)
{
    return __builtin_expect(l->seen == tg_shared_generation(s) && n - 1 < l->credit[0], 1);
}

/* Refused, and no use in asking again yet? After a clock stepped back there is: the difference is
 * very large then. */
static inline bool tg_lease_is_refused(const struct tg_lease *l, const struct tg_shared *s,
                                       int64_t now_ns)
{
    return l->seen == tg_shared_generation(s) &&
           (uint64_t)now_ns - (uint64_t)l->refused_ns < l->refused_for_ns;
}

static inline bool tg_lease_has(struct tg_lease *l, struct tg_shared *s, uint64_t n, int64_t now_ns)
{
    if (tg_lease_holds(l, s, n))
        return true;
    return !tg_lease_is_refused(l, s, now_ns) && tg_lease_look(l, s, n, 0, false, now_ns);
}

static inline void tg_lease_charge(struct tg_lease *l, struct tg_shared *s, uint64_t n)
{
    l->credit[0] -= n;
    if (__builtin_expect((l->seen & TG_LEASE_ONCE) != 0, 0))
        tg_lease_settle(l, s, TG_SAME_INSTANT);
}

static inline bool tg_lease_take(struct tg_lease *l, struct tg_shared *s, uint64_t n,
                                 int64_t now_ns)
{
    if (!tg_lease_holds(l, s, n))
        return !tg_lease_is_refused(l, s, now_ns) && tg_lease_look(l, s, n, 0, true, now_ns);
    l->credit[0] -= n;
    return true;
}

static inline bool tg_lease_has_both(struct tg_lease *l, struct tg_shared *s, uint64_t n0,
                                     uint64_t n1, int64_t now_ns)
{
    if (tg_lease_holds(l, s, n0) && __builtin_expect(n1 - 1 < l->credit[1], 1))
        return true;
    return !tg_lease_is_refused(l, s, now_ns) && tg_lease_look(l, s, n0, n1, false, now_ns);
}

static inline void tg_lease_charge_both(struct tg_lease *l, struct tg_shared *s, uint64_t n0,
                                        uint64_t n1)
{
    l->credit[1] -= n1;
    tg_lease_charge(l, s, n0);
}

static inline void tg_lease_return(struct tg_lease *l, struct tg_shared *s, int64_t now_ns)
{
    if (l->granted[0] != 0 || l->granted[1] != 0)
        tg_lease_settle(l, s, now_ns);
}

#endif
