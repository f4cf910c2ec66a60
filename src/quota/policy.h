/* policy.h - which rate applies to a topic, to each producer or subscription on it, or to each
 * consumer that comes: the topic's own policy, else the namespace's, else the broker's default
 * (a setting of broker.conf). Pulsar's precedence. Pure, but for policy_put. */
#ifndef QUOTA_POLICY_H
#define QUOTA_POLICY_H

#include "limiter/limit.h"
#include "quota/scope.h"

/* A policy as set: present or not. A present one with rates <= 0 means "unlimited", and still hides
 * what is wider. */
struct rate_policy {
    bool present;
    bool dry_run;             /* counts whom it would have held up, and holds up nobody */
    bool relative_to_publish; /* of dispatch: what is published now is added to its rates */
    struct tg_limit_spec spec;
    uint32_t weight; /* its share in the queues of what is wider; 0: 1 */
};

/* The rates that a topic has policies for. */
enum rate_kind {
    RATE_OF_TOPIC,        /* published to it */
    RATE_OF_PRODUCER,     /* published by each producer */
    RATE_OF_DISPATCH,     /* dispatched to all its subscriptions together */
    RATE_OF_SUBSCRIPTION, /* dispatched to each subscription */
    RATE_OF_SUBSCRIBING,  /* attempts of each consumer to subscribe, in spec.msgs */
    RATE_KINDS
};

struct rate_choice {
    struct tg_limit_spec spec;
    enum limit_source source;
    bool dry_run;
    bool relative_to_publish;
    uint32_t weight; /* 0: 1 */
};

static inline uint32_t weight_or_1(uint32_t weight)
{
    return weight > 0 ? weight : 1;
}

/* Would setting one in the other's place change nothing? */
bool rate_policy_equal(const struct rate_policy *a, const struct rate_policy *b);

/* Of one subscription: its own, if it is present, else that of each one. */
struct rate_choice policy_subscription_rate(const struct rate_policy *own,
                                            const struct rate_choice *of_each);
/* Each may be NULL or not present: it says nothing. */
struct rate_choice policy_rate(const struct rate_policy *topic, const struct rate_policy *ns,
                               const struct rate_policy *broker_default);

/* Puts <c> in force at <s>: limit, source, weight, dry run. True when more than the weight changed:
 * those who wait may go on. */
bool policy_put(struct scope *s, const struct rate_choice *c, int initial_percent, int64_t now_ns);

#endif
