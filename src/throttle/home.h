/* home.h - where claims on quotas are answered: one worker is home of all of them.
 *
 * Each quota has a queue, a tree (fair.h): in the broker's, tenants take turns, a tenant's
 * namespaces, a namespace's topics; in a namespace's, topics; in a resource group's, the namespaces
 * and tenants that it is hung on, and so on below them. A claim waits at the narrowest quota
 * of its chain that lacks tokens, or at which others wait; what it is granted there it keeps, and
 * goes on outwards. Where an outer quota grants less the difference goes back. When all have
 * granted, the claim is answered.
 *
 * - *Binding*: while somebody waits at a quota, or was granted a part of what he wants there and
 *   has not reported, leases are refused (quota.h), so that nobody overtakes.
 * - *One timer per quota*, armed while somebody waits there. When it fires, everything that has
 *   accrued is handed out in order, at most once in HOME_PACE_NS, so that those who were granted
 *   something are back in line; while one is not, for up to HOME_PATIENCE_NS: a topic whose letters
 *   take longer gets no less. (Both at most half of the time that the burst takes.) Who comes below
 *   its share does not wait for that: it is granted at once what is there, or when the quota is
 *   above zero.
 * - *A turn* is max(one average frame, 1/16 ms of the rate): some 16 turns a millisecond are enough
 *   for any rate. A claim gets one letter however many turns it had.
 * - A late timer costs nothing while the burst covers it.
 *
 * One owner, the control worker, which also changes the limits. It does not call from within ops
 * but for home_receive: posts may be plain calls. */
#ifndef THROTTLE_HOME_H
#define THROTTLE_HOME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"
#include "quota/quota.h"
#include "throttle/claim.h"

#define HOME_PACE_NS     MONO_MS
#define HOME_PATIENCE_NS (10 * MONO_MS)
enum { HOME_TURNS_PER_MS = 16 };

struct home_ops {
    /* To the topic's worker, which calls claim_received. At once or later, each letter exactly once
     * and in order. */
    void (*post_back)(void *ctx, struct claim_letter *l);
    /* The quota's timer: call home_fire at or after <deadline_ns>, from the loop, not from in here;
     * MONO_NEVER disarms. Arming again replaces the deadline. */
    void (*arm)(void *ctx, struct quota *q, int64_t deadline_ns);
};

struct home { /* fields private to home.c */
    const struct home_ops *ops;
    void *ctx;
    struct claim_letter *out, **out_end; /* to be posted */
    bool posting;
};

void home_init(struct home *h, const struct home_ops *ops, void *ctx);
/* A letter from a topic. */
void home_receive(struct home *h, struct claim_letter *l, int64_t now_ns);
/* The quota's timer fired: hands out what has accrued, in at most <budget> turns, and re-arms (for
 * <now_ns> when the budget ran out). Returns the number of turns. */
uint32_t home_fire(struct home *h, struct quota *q, uint32_t budget, int64_t now_ns);
/* quota_set_limit, and puts it in force for those who wait: the timer is re-armed at once; after a
 * removal the queue so runs empty in order. True when something changed. */
bool home_set_limit(struct quota *q, const struct tg_limit_spec *spec, enum limit_source source,
                    int initial_percent, int64_t now_ns);
/* quota_set_dry_run, the same. */
bool home_set_dry_run(struct quota *q, bool dry_run, int64_t now_ns);
/* Its share in the queues of wider quotas, 1 .. FAIR_WEIGHT_MAX, from its next turn on. */
void home_set_weight(struct quota *q, uint32_t weight);
/* The quota goes: no topic with it in its chain has a claim any more. */
void home_forget(struct quota *q);
/* The same at the end of everything: whoever still waits is not there any more. */
void home_abandon(struct quota *q);

/* For stats and explain. */
struct home_waiting {
    uint32_t claims;
    int64_t longest_ns; /* since it came to this queue, or was last granted something there */
};
struct home_waiting home_waiting(const struct quota *q, int64_t now_ns);

#endif
