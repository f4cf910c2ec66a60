/* policy.h - which rate applies to a topic, or to each producer on it: the topic's own policy, else
 * the namespace's, else the broker's default (maxPublishRatePerTopicInMessages / InBytes,
 * maxPublishRatePerProducerInMessages / InBytes). Pulsar's precedence. Pure. */
#ifndef QUOTA_POLICY_H
#define QUOTA_POLICY_H

#include "limiter/limit.h"
#include "quota/scope.h"

/* A policy as set: present or not. A present one with rates <= 0 means "unlimited", and still hides
 * what is wider. */
struct rate_policy {
    bool present;
    bool dry_run; /* counts whom it would have held up, and holds up nobody */
    struct tg_limit_spec spec;
    uint32_t weight; /* its share in the queues of what is wider; 0: 1 */
};

/* The rates that a topic has policies for. */
enum rate_kind { RATE_OF_TOPIC, RATE_OF_PRODUCER, RATE_KINDS };

struct rate_choice {
    struct tg_limit_spec spec;
    enum limit_source source;
    bool dry_run;
    uint32_t weight; /* 0: 1 */
};

static inline uint32_t weight_or_1(uint32_t weight)
{
    return weight > 0 ? weight : 1;
}

/* Would setting one in the other's place change nothing? */
bool rate_policy_equal(const struct rate_policy *a, const struct rate_policy *b);

struct rate_choice policy_publish_rate(const struct rate_policy *topic,
                                       const struct rate_policy *ns,
                                       const struct tg_limit_spec *broker_default);

#endif
