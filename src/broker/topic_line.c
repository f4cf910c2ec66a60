/* topic_line.c - see topic_line.h. What stands in it is its owner's: publish.c,
 * dispatch_limit.c.
 *
 * Invariant: the timer is armed as the queue says, and never while the queue sleeps, waiting for
 * the claim. */
#include "broker/topic_line.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "broker/quotas.h"
#include "broker/topic.h"

static struct claim *claim_of(const struct topic_line *l)
{
    return l->claim ? &l->claim->claim : NULL;
}

static struct quota_worker *leases_of(const struct topic_line *l)
{
    return &l->topic->shard->quotas;
}

void topic_line_init(struct topic_line *l, struct topic *t, const struct waitq_ops *ops,
                     const struct quota_chain *chain)
{
    *l = (struct topic_line){.topic = t, .chain = chain, .weight = 1};
    scope_init(&l->scope, SCOPE_TOPIC, t->name.full);
    waitq_init(&l->waiters, &l->scope, ops, l);
    path_add(&l->path, &l->scope);
    timer_init(&l->timer, topic_line_fired);
}

void topic_line_fini(struct topic_line *l)
{
    if (l->claim)
        topic_claim_drop(l->claim);
    scope_fini(&l->scope);
    free(l->throttling);
}

/* ---- one frame ---- */

bool topic_line_must_wait(struct topic_line *l, int64_t now_ns)
{
    return waitq_must_wait(&l->path, NULL, now_ns) != NULL;
}

struct quota *topic_line_lacking(struct topic_line *l, uint64_t msgs, uint64_t bytes,
                                 int64_t now_ns)
{
    return claim_lacking(claim_of(l), l->chain, leases_of(l), msgs, bytes, now_ns);
}

struct claim_amount topic_line_held(const struct topic_line *l, struct claim_amount first)
{
    return claim_held(claim_of(l), leases_of(l), first);
}

bool topic_line_charge(struct topic_line *l, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    bool over = path_charge(&l->path, msgs, bytes, now_ns);
    return claim_charge(claim_of(l), l->chain, leases_of(l), msgs, bytes, now_ns) || over;
}

/* ---- the queue ---- */

void topic_line_arm(void *line, int64_t deadline_ns)
{
    struct topic_line *l = line;
    if (deadline_ns == MONO_NEVER)
        timer_disarm(l->topic->shard->worker, &l->timer);
    else
        timer_arm(l->topic->shard->worker, &l->timer, deadline_ns);
}

void topic_line_fired(struct timer *t, int64_t now_ns)
{
    struct topic_line *l = (struct topic_line *)((char *)t - offsetof(struct topic_line, timer));
    waitq_fire(&l->waiters, LINE_GRANTS_PER_TURN, now_ns);
    topic_line_ran(l, now_ns);
}

void topic_line_ask(struct topic_line *l, struct quota *lacking, struct claim_amount head,
                    int64_t now_ns)
{
    if (!l->claim)
        l->claim = topic_claim_new(l);
    claim_ask(claim_of(l), lacking, head, claim_bound_demand(&l->path, head, l->wanted, now_ns));
}

void topic_line_ran(struct topic_line *l, int64_t now_ns)
{
    if (l->claim)
        claim_queue_ran(claim_of(l), &l->waiters, now_ns);
}

void topic_line_claim_answered(struct topic_line *l)
{
    int64_t now_ns = shard_now_ns(l->topic->shard);
    waitq_kick(&l->waiters, now_ns);
    if (!l->waiters.firing) /* else the answer came at once: the grant that asked goes on */
        l->timer.fire(&l->timer, now_ns);
}

/* ---- changes ---- */

bool topic_line_set_limit(struct topic_line *l, const struct rate_choice *rate)
{
    const struct shard *s = l->topic->shard;
    int percent = (int)s->broker->settings->initial_burst_percent;
    return policy_put(&l->scope, rate, percent, shard_now_ns(s));
}

void topic_line_limit_changed(struct topic_line *l, int64_t now_ns)
{
    waitq_limit_changed(&l->waiters, now_ns);
    topic_line_ran(l, now_ns);
}

void topic_line_close_claim(struct topic_line *l)
{
    struct topic_claim *c = l->claim;
    l->claim = NULL;
    if (!c)
        return;
    l->topic->claims_closing++;
    topic_claim_close(c);
}

/* ---- what throttling did ---- */

struct topic_throttling *topic_line_throttling(struct topic_line *l)
{
    if (!l->throttling)
        l->throttling = xcalloc(1, sizeof *l->throttling);
    return l->throttling;
}

const struct topic_throttling *topic_line_throttling_of(const struct topic_line *l)
{
    static const struct topic_throttling none;
    return l->throttling ? l->throttling : &none;
}
