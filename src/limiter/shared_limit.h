/* shared_limit.h - a limit (limit.h) that several workers spend: messages and bytes, each with a
 * rate, a burst and an optional peak.
 *
 * Every message is charged to all of its buckets or to none, and each bucket keeps the contract of
 * shared.h on its own; leases, binding, clocks and threads are as described there. Unset, it limits
 * nothing and costs a message a few compares. Zero-initialised memory is an unset limit. */
#ifndef LIMITER_SHARED_LIMIT_H
#define LIMITER_SHARED_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "limiter/limit.h"
#include "limiter/shared.h"

struct tg_shared_limit {
    struct tg_limit_spec spec; /* for the controlling thread */
    struct tg_shared shared;
};

/* One worker's piece of it, zero-initialised at first. */
struct tg_limit_lease {
    struct tg_lease lease;
};

/* ---- the controlling thread ---- */

/* As tg_limit_init and tg_limit_retune; <spec> has passed tg_limit_check. No other thread knows a
 * limit that is being initialised. Retuning may set, change, or (with an unset spec) remove the
 * limit while others use it. */
void tg_shared_limit_init(struct tg_shared_limit *s, const struct tg_limit_spec *spec,
                          int initial_percent, int64_t now_ns);
void tg_shared_limit_retune(struct tg_shared_limit *s, const struct tg_limit_spec *spec,
                            int initial_percent, int64_t now_ns);

static inline bool tg_shared_limit_is_set(const struct tg_shared_limit *s)
{
    return tg_shared_is_limited(&s->shared);
}

/* ---- a worker, with its lease ---- */

/* May such a message pass? True: tg_limit_lease_charge of the same may follow, before any other
 * call with this lease. Where several limits must agree, ask all, then charge all; who was refused
 * by a later one need do nothing about the earlier ones but return the leases as ever. */
static inline bool tg_limit_lease_has(struct tg_limit_lease *l, struct tg_shared_limit *s,
                                      uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    return tg_lease_has_both(&l->lease, &s->shared, msgs, bytes, now_ns);
}

static inline void tg_limit_lease_charge(struct tg_limit_lease *l, struct tg_shared_limit *s,
                                         uint64_t msgs, uint64_t bytes)
{
    tg_lease_charge_both(&l->lease, &s->shared, msgs, bytes);
}

/* It holds nothing that is void or revoked, nor what is for one message only: it may be kept a
 * little longer than for the turn (shared.h). */
static inline bool tg_limit_lease_is_current(const struct tg_limit_lease *l,
                                             const struct tg_shared_limit *s)
{
    return tg_lease_is_current(&l->lease, &s->shared);
}

/* At the end of each loop turn. */
static inline void tg_limit_lease_return(struct tg_limit_lease *l, struct tg_shared_limit *s,
                                         int64_t now_ns)
{
    tg_lease_return(&l->lease, &s->shared, now_ns);
}

/* ---- the home worker (any thread): as in shared.h, of all buckets together ---- */

static inline void tg_shared_limit_set_binding(struct tg_shared_limit *s, bool binding)
{
    tg_shared_set_binding(&s->shared, binding);
}

static inline bool tg_shared_limit_is_binding(const struct tg_shared_limit *s)
{
    return tg_shared_is_binding(&s->shared);
}

static inline bool tg_shared_limit_has_tokens(struct tg_shared_limit *s, int64_t now_ns)
{
    return tg_shared_has_tokens(&s->shared, now_ns);
}

static inline bool tg_shared_limit_grant(struct tg_shared_limit *s, uint64_t msgs, uint64_t bytes,
                                         int64_t now_ns)
{
    return tg_shared_grant_both(&s->shared, msgs, bytes, now_ns);
}

static inline void tg_shared_limit_give_back(struct tg_shared_limit *s, uint64_t msgs,
                                             uint64_t bytes, int64_t now_ns)
{
    tg_shared_give_back_both(&s->shared, msgs, bytes, now_ns);
}

/* Lends to who will spend it a little later: shared.h. The arrays are of messages and bytes. */
static inline bool tg_shared_limit_lend(struct tg_shared_limit *s, struct tg_loan *l,
                                        const uint64_t least[2], const uint64_t most[2],
                                        uint64_t got[2], int64_t now_ns)
{
    return tg_shared_lend(&s->shared, l, least, most, got, now_ns);
}

static inline void tg_shared_limit_settle_loan(struct tg_shared_limit *s, struct tg_loan *l,
                                               const uint64_t unspent[2], const uint64_t spent[2],
                                               int64_t now_ns)
{
    tg_shared_settle_loan(&s->shared, l, unspent, spent, now_ns);
}

static inline int64_t tg_shared_limit_wait_ns(struct tg_shared_limit *s, int64_t now_ns)
{
    return tg_shared_wait_ns(&s->shared, now_ns);
}

/* INT64_MAX where that is not limited. */
static inline int64_t tg_shared_limit_balance_msgs(struct tg_shared_limit *s, int64_t now_ns)
{
    return tg_shared_balance_of(&s->shared, 0, now_ns);
}

static inline int64_t tg_shared_limit_balance_bytes(struct tg_shared_limit *s, int64_t now_ns)
{
    return tg_shared_balance_of(&s->shared, 1, now_ns);
}

#endif
