/* quota.h - a limit on the total of many topics, spent by several workers.
 *
 * A topic's *chain* lists its quotas, narrowest first: namespace, tenant, resource groups, broker.
 * A frame is admitted only while every quota of its chain has tokens, and is then charged to all of
 * them, or to none. Unset, a quota costs a message one compare.
 *
 * Places that contain each other (partitioned topic, namespace, tenant, broker) form a tree; a
 * resource group is no such place, but a quota hung on some of them. Each link of a chain says
 * which narrower quota of the chain stands for the topic in this one's queue: the broker's has
 * tenants as children, a tenant's namespaces, a group's those that it is hung on.
 *
 * While nobody waits for a quota it is *slack*: each worker takes what it needs through a lease of
 * its own (limiter/shared.h), and gives back at the end of its loop turn what it did not use; a
 * worker whose turns follow each other closely keeps its leases for a millisecond, since taking and
 * giving back would cost it more than its messages do. When
 * somebody waits it is *binding*: leases get nothing and tokens come from the quota's home, in the
 * order of its queue (throttle/home.h).
 *
 * Threads: init, fini and quota_set_limit are for the control worker. Calls with a struct
 * quota_worker are for that worker, on its own leases. Kind and name don't change, nor does a
 * chain.
 */
#ifndef QUOTA_QUOTA_H
#define QUOTA_QUOTA_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limiter/meter.h"
#include "limiter/shared_limit.h"
#include "quota/scope.h"
#include "quota/waits.h"

enum {
    QUOTA_CHAIN_MAX = 6, /* partitioned topic, namespace, tenant, the groups of these two, broker */
    QUOTA_TOPIC = -1,    /* in a link: the topic itself is the child */
};

struct home_queue; /* throttle/home.h: who waits for it; the home's */
struct quota;

/* A meter that its owner shows to other threads: as it was when the lease was last given back. */
struct quota_meter {
    struct tg_meter meter;
    _Atomic uint64_t shown[sizeof(struct tg_meter) / sizeof(uint64_t)];
};

/* One worker's part of a quota. What a message touches of it is one cache line. */
struct quota_lease {
    _Alignas(TG_CACHE_LINE) struct quota *quota;
    struct quota_lease *next; /* in quota_worker.used */
    bool is_used;             /* in that list */
    bool is_over; /* of a quota in dry run: it has no tokens for the frame asked about */
    uint64_t new_msgs, new_bytes; /* admitted, and not yet in the meters */
    struct tg_limit_lease lease;
    struct quota_meter msgs, bytes;
    _Atomic uint64_t over[3]; /* in dry run: frames, messages, bytes */
};
static_assert(offsetof(struct quota_lease, lease.lease.granted) <= TG_CACHE_LINE,
              "a message reads and writes one line of a lease");

struct quota {
    enum scope_kind kind;
    enum limit_side side; /* SIDE_PUBLISH unless the owner says otherwise */
    uint32_t weight;      /* its share in the queues of wider ones; the control worker's */
    const char *name;     /* borrowed from the owner, e.g. t/n */
    struct quota_lease *lease;
    uint32_t workers;
    enum limit_source source;
    _Atomic bool dry_run;
    uint64_t over_before[3];  /* what <over> of all workers was when the limit became as it is */
    _Atomic uint32_t changes; /* of the limit; tokens handed out before the last one are void */
    struct home_queue *queue; /* the home's; NULL until somebody has had to wait */
    struct tg_shared_limit limit;
    _Alignas(TG_CACHE_LINE) struct waits waits; /* of all workers */
};

/* Whoever has one of its quotas' claims or leases may be using it: see quota_fini. */
struct quota_chain {
    uint32_t count;
    struct quota *quota[QUOTA_CHAIN_MAX];
    int8_t below[QUOTA_CHAIN_MAX]; /* the index of the one that is its child, or QUOTA_TOPIC */
};

/* One for each worker: which of its leases are to be returned. Zero-initialised but for index. */
struct quota_worker {
    uint32_t index;       /* 0 .. workers - 1 */
    uint32_t asked_count; /* by the last quota_lacking that found all it needs: */
    struct quota_lease *asked[QUOTA_CHAIN_MAX];
    struct quota_lease *used;
    bool keeps;            /* what is used was kept at the end of a turn: the first was at */
    int64_t kept_since_ns; /* this time */
    int64_t returned_ns;   /* when leases were last returned */
};

void quota_init(struct quota *q, enum scope_kind kind, const char *name, uint32_t weight,
                uint32_t workers);
/* No worker uses it any more, and each has returned its leases since its last use; the home has
 * forgotten it (home_forget). */
void quota_fini(struct quota *q);

/* The next wider one; <below>: the index of its child, or QUOTA_TOPIC. Zero-initialised memory is a
 * chain without quotas. Asserts that there is room, that the kinds are in order (of one kind there
 * may be several) and that the child is there. */
void quota_chain_add(struct quota_chain *c, struct quota *q, int below);
/* The same where the one added last is the child. */
void quota_chain_add_around(struct quota_chain *c, struct quota *q);
bool quota_chain_has(const struct quota_chain *c, const struct quota *q);

/* Sets, changes or (with an unset spec) removes the limit; <spec> has passed tg_limit_check.
 * Balance and debt stay. True when something changed; then home_limit_changed must follow
 * (home_set_limit does both). */
bool quota_set_limit(struct quota *q, const struct tg_limit_spec *spec, enum limit_source source,
                     int initial_percent, int64_t now_ns);
/* Begins or ends a dry run: it counts whom it would have held up, and holds up nobody. True when
 * something changed; then home_limit_changed must follow (home_set_dry_run does both). */
bool quota_set_dry_run(struct quota *q, bool dry_run);
static inline bool quota_is_set(const struct quota *q)
{
    return tg_shared_limit_is_set(&q->limit);
}
static inline bool quota_is_dry_run(const struct quota *q)
{
    return atomic_load_explicit(&q->dry_run, memory_order_relaxed);
}
/* It holds up whoever finds no tokens. */
static inline bool quota_is_enforced(const struct quota *q)
{
    return quota_is_set(q) && !quota_is_dry_run(q);
}
static inline uint32_t quota_changes(const struct quota *q)
{
    return atomic_load_explicit(&q->changes, memory_order_relaxed);
}

/* ---- a worker: frames of topics with this chain ---- */

/* The narrowest quota of the chain that has no tokens for such a frame, or NULL: then
 * quota_charge of the same may follow, before any other call for this worker. */
static inline struct quota *quota_lacking(const struct quota_chain *chain, struct quota_worker *w,
                                          uint64_t msgs, uint64_t bytes, int64_t now_ns);
/* Charges the leases that quota_lacking found, and counts. True: but for a dry run it would not
 * have been admitted. */
static inline bool quota_charge(struct quota_worker *w, uint64_t msgs, uint64_t bytes);
/* After quota_lacking has given NULL for <*msgs> and <*bytes>: how much may be charged in one go
 * instead, or in several, for as many frames, since it is leased already; at least that. */
void quota_leased(const struct quota_worker *w, uint64_t *msgs, uint64_t *bytes);
/* Is a limit set on any of them? */
static inline bool quota_chain_is_set(const struct quota_chain *chain);
/* Counts only: the frame was paid for otherwise (claim.h), but for quotas in dry run. The same. */
bool quota_count(const struct quota_chain *chain, struct quota_worker *w, uint64_t msgs,
                 uint64_t bytes, int64_t now_ns);
/* At the end of each loop turn. Leases are given back, or kept: then until the time that is
 * returned; there must be a turn by then. MONO_NEVER: none is kept. */
int64_t quota_turn_end(struct quota_worker *w, int64_t now_ns);
/* Gives back at once all that was leased and not used, and shows the meters. */
void quota_leases_return(struct quota_worker *w, int64_t now_ns);

/* ---- any thread ---- */

/* What was admitted while a limit was set: per second, over all workers, as of when they last gave
 * back their leases. */
struct quota_rates {
    double msgs, bytes;
};
struct quota_rates quota_rates(const struct quota *q, int64_t now_ns);
struct dry_run_counts quota_dry_run_counts(const struct quota *q); /* over all workers */

/* ---- inline ---- */

static inline bool quota_chain_is_set(const struct quota_chain *chain)
{
    for (uint32_t i = 0; i < chain->count; i++) {
        if (quota_is_set(chain->quota[i]))
            return true;
    }
    return false;
}

/* The first <count> give back what they have leased for a frame that the next one refused: the
 * home, asked next, is to find it. */
void quota_give_back_first(const struct quota_chain *chain, uint32_t count, struct quota_worker *w,
                           int64_t now_ns);

static inline void quota_lease_used(struct quota_worker *w, struct quota_lease *l)
{
    if (l->is_used)
        return;
    l->is_used = true;
    l->next = w->used;
    w->used = l;
}

/* Of a quota in dry run. */
void quota_count_over(struct quota_lease *l, uint64_t msgs, uint64_t bytes);

static inline struct quota *quota_lacking(const struct quota_chain *chain, struct quota_worker *w,
                                          uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    uint32_t asked = 0;
    for (uint32_t i = 0; i < chain->count; i++) {
        struct quota *q = chain->quota[i];
        if (!quota_is_set(q))
            continue;
        struct quota_lease *l = &q->lease[w->index];
        l->is_over = !tg_limit_lease_has(&l->lease, &q->limit, msgs, bytes, now_ns);
        if (l->is_over && !quota_is_dry_run(q)) {
            quota_give_back_first(chain, i, w, now_ns);
            return q;
        }
        quota_lease_used(w, l);
        w->asked[asked++] = l;
    }
    w->asked_count = asked;
    return NULL;
}

static inline bool quota_charge(struct quota_worker *w, uint64_t msgs, uint64_t bytes)
{
    bool over = false;
    for (uint32_t i = 0; i < w->asked_count; i++) {
        struct quota_lease *l = w->asked[i];
        l->new_msgs += msgs;
        l->new_bytes += bytes;
        if (__builtin_expect(!l->is_over, 1)) {
            tg_limit_lease_charge(&l->lease, &l->quota->limit, msgs, bytes);
            continue;
        }
        over = true;
        quota_count_over(l, msgs, bytes);
    }
    return over;
}

#endif
