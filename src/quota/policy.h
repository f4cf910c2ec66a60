/* policy.h - which publish rate applies to a topic: its own policy, else the namespace's, else the
 * broker's default (maxPublishRatePerTopicInMessages / InBytes). Pulsar's precedence. Pure. */
#ifndef QUOTA_POLICY_H
#define QUOTA_POLICY_H

#include "limiter/limit.h"
#include "quota/scope.h"

/* A policy as set: present or not. A present one with rates <= 0 means "unlimited", and still hides
 * what is wider. */
struct rate_policy {
    bool present;
    struct tg_limit_spec spec;
};

struct rate_choice {
    struct tg_limit_spec spec;
    enum limit_source source;
};

struct rate_choice policy_publish_rate(const struct rate_policy *topic,
                                       const struct rate_policy *ns,
                                       const struct tg_limit_spec *broker_default);

#endif
