/* quota.h - a limit on the total of many topics, spent by several workers.
 *
 * Quotas form a tree: each but the widest has a parent, and a topic's *chain* goes from its
 * narrowest quota to the broker's: namespace -> tenant -> broker. A frame is admitted only while
 * every quota of its chain has tokens, and is then charged to all of them, or to none. There is a
 * quota object for each of these places whether or not a limit is set; unset it costs a message one
 * compare.
 *
 * While nobody waits for a quota it is *slack*: each worker takes what it needs through a lease of
 * its own (limiter/shared.h), and gives back at the end of its loop turn what it did not use. When
 * somebody waits it is *binding*: leases get nothing and tokens come from the quota's home, in the
 * order of its queue (throttle/home.h).
 *
 * Threads: init, fini and quota_set_limit are for the control worker. Calls with a struct
 * quota_worker are for that worker, on its own leases. Kind, name, parent and weight don't change.
 */
#ifndef QUOTA_QUOTA_H
#define QUOTA_QUOTA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "limiter/meter.h"
#include "limiter/shared_limit.h"
#include "quota/scope.h"

enum { QUOTA_CHAIN_MAX = 5 }; /* partitioned topic, namespace, tenant, resource group, broker */

struct home_queue; /* throttle/home.h: who waits for it; the home's */
struct quota;

/* A meter that its owner shows to other threads: as it was at the end of the owner's last turn. */
struct quota_meter {
    struct tg_meter meter;
    _Atomic uint64_t shown[sizeof(struct tg_meter) / sizeof(uint64_t)];
};

/* One worker's part of a quota. */
struct quota_lease {
    _Alignas(TG_CACHE_LINE) struct tg_limit_lease lease;
    struct quota *quota;
    struct quota_lease *next; /* in quota_worker.used */
    bool is_used;             /* in this turn: in that list */
    struct quota_meter msgs, bytes;
};

struct quota {
    enum scope_kind kind;
    uint32_t weight;      /* its share of the parent's queue: 1 unless set */
    const char *name;     /* borrowed from the owner, e.g. t/n */
    struct quota *parent; /* the next wider one; NULL: the widest */
    struct quota_lease *lease;
    uint32_t workers;
    enum limit_source source;
    _Atomic uint32_t changes; /* of the limit; tokens handed out before the last one are void */
    struct home_queue *queue; /* the home's; NULL until somebody has had to wait */
    struct tg_shared_limit limit;
};

/* One for each worker: which of its leases are to be returned. Zero-initialised but for index. */
struct quota_worker {
    uint32_t index; /* 0 .. workers - 1 */
    struct quota_lease *used;
};

/* <parent> NULL: the widest. Asserts that the chain gets no longer than QUOTA_CHAIN_MAX and that
 * the kinds are in order. */
void quota_init(struct quota *q, enum scope_kind kind, const char *name, struct quota *parent,
                uint32_t weight, uint32_t workers);
/* No worker uses it any more, and a turn of each has ended since the last use; the home has
 * forgotten it (home_forget). */
void quota_fini(struct quota *q);
/* How many quotas are on the chain from <q>. */
uint32_t quota_chain_length(const struct quota *q);

/* Sets, changes or (with an unset spec) removes the limit; <spec> has passed tg_limit_check.
 * Balance and debt stay. True when something changed; then home_limit_changed must follow
 * (home_set_limit does both). */
bool quota_set_limit(struct quota *q, const struct tg_limit_spec *spec, enum limit_source source,
                     int initial_percent, int64_t now_ns);
static inline bool quota_is_set(const struct quota *q)
{
    return tg_shared_limit_is_set(&q->limit);
}
static inline uint32_t quota_changes(const struct quota *q)
{
    return atomic_load_explicit(&q->changes, memory_order_relaxed);
}

/* ---- a worker: frames of topics whose chain begins at <chain> (NULL: no quotas) ---- */

/* The narrowest quota of the chain that has no tokens for such a frame, or NULL: then
 * quota_charge of the same may follow, before any other call for this worker and chain. */
static inline struct quota *quota_lacking(struct quota *chain, struct quota_worker *w,
                                          uint64_t msgs, uint64_t bytes, int64_t now_ns);
/* Charges the leases, and counts. */
void quota_charge(struct quota *chain, struct quota_worker *w, uint64_t msgs, uint64_t bytes,
                  int64_t now_ns);
/* Counts only: the frame was paid for otherwise (claim.h). */
void quota_count(struct quota *chain, struct quota_worker *w, uint64_t msgs, uint64_t bytes,
                 int64_t now_ns);
/* At the end of each loop turn: gives back what was leased and not used, and shows the meters. */
void quota_leases_return(struct quota_worker *w, int64_t now_ns);

/* ---- any thread ---- */

/* What was admitted while a limit was set: per second, over all workers, as of their last turns'
 * ends. */
struct quota_rates {
    double msgs, bytes;
};
struct quota_rates quota_rates(const struct quota *q, int64_t now_ns);

/* ---- inline ---- */

/* <q> refused: the home, asked next, is to find what the narrower ones have leased for that frame.
 */
void quota_give_back_below(struct quota *chain, const struct quota *q, struct quota_worker *w,
                           int64_t now_ns);

static inline void quota_lease_used(struct quota_worker *w, struct quota_lease *l)
{
    if (l->is_used)
        return;
    l->is_used = true;
    l->next = w->used;
    w->used = l;
}

static inline struct quota *quota_lacking(struct quota *chain, struct quota_worker *w,
                                          uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    for (struct quota *q = chain; q; q = q->parent) {
        if (!quota_is_set(q))
            continue;
        struct quota_lease *l = &q->lease[w->index];
        if (!tg_limit_lease_has(&l->lease, &q->limit, msgs, bytes, now_ns)) {
            quota_give_back_below(chain, q, w, now_ns);
            return q;
        }
        quota_lease_used(w, l);
    }
    return NULL;
}

#endif
