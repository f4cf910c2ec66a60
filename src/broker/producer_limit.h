/* producer_limit.h - the rate of one producer (producerPublishRate): a scope narrower than its
 * topic, which it alone spends. So it waits for it by itself, with a timer, and not in its topic's
 * queue: there it stands only while it has tokens of its own. Other than a place in a queue these
 * do not get lost meanwhile, so nothing is kept for it.
 *
 * One owner: the topic's worker. */
#ifndef BROKER_PRODUCER_LIMIT_H
#define BROKER_PRODUCER_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/producer.h"
#include "net/worker.h"
#include "quota/policy.h"

struct producer_limit {
    struct scope scope; /* its name is the producer's */
    struct timer timer; /* armed exactly while the producer waits for it */
    struct producer *producer;
};

/* Sets, changes or removes it, also where the producer waits for it. */
void producer_limit_set(struct producer *p, const struct rate_choice *rate);
void producer_limit_free(struct producer *p);
/* Arms the timer, for when there are tokens: now at the earliest. */
void producer_limit_arm(struct producer *p, int64_t now_ns);
void producer_limit_disarm(struct producer *p);

static inline bool producer_lacks_own(const struct producer *p, int64_t now_ns)
{
    return p->own && !scope_has_tokens(&p->own->scope, now_ns);
}
static inline bool producer_waits_alone(const struct producer *p)
{
    return p->own && p->binding == &p->own->scope;
}

#endif
