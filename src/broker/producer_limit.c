/* producer_limit.c - a producer's own limit comes and goes with the policies; once it has had one
 * the memory stays, so that what it owes is not forgotten. What it does when the timer fires is in
 * publish.c. */
#include "broker/producer_limit.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/mono.h"

static void fired(struct timer *timer, int64_t now_ns)
{
    struct producer_limit *own =
        (struct producer_limit *)((char *)timer - offsetof(struct producer_limit, timer));
    publish_own_tokens(own->producer, now_ns);
}

static struct producer_limit *limit_new(struct producer *p)
{
    struct producer_limit *own = xcalloc(1, sizeof *own);
    scope_init(&own->scope, SCOPE_PRODUCER, p->name);
    timer_init(&own->timer, fired);
    own->producer = p;
    return own;
}

void producer_limit_set(struct producer *p, const struct rate_choice *rate)
{
    const struct shard *s = p->topic->shard;
    int percent = (int)s->broker->settings->initial_burst_percent;
    int64_t now_ns = shard_now_ns(s);
    if (!p->own && !tg_limit_spec_is_set(&rate->spec))
        return;
    if (!p->own)
        p->own = limit_new(p);
    if (policy_put(&p->own->scope, rate, percent, now_ns) && producer_waits_alone(p))
        publish_own_tokens(p, now_ns);
}

void producer_limit_free(struct producer *p)
{
    if (p->own)
        scope_fini(&p->own->scope);
    free(p->own);
    p->own = NULL;
}

void producer_limit_arm(struct producer *p, int64_t now_ns)
{
    int64_t deadline_ns = mono_add(now_ns, scope_wait_ns(&p->own->scope, now_ns));
    if (deadline_ns == MONO_NEVER)
        deadline_ns--; /* armed, however far away */
    timer_arm(p->topic->shard->worker, &p->own->timer, deadline_ns);
}

void producer_limit_disarm(struct producer *p)
{
    timer_disarm(p->topic->shard->worker, &p->own->timer);
}
