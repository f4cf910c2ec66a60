/* policy.c - the precedence of rates: the narrowest policy that is present applies as a
 * whole. Dimensions are not mixed: a topic policy that limits messages only leaves bytes unlimited,
 * whatever the namespace says. So "unlimited" at a topic is an answer, not an absence. */
#include "quota/policy.h"

bool rate_policy_equal(const struct rate_policy *a, const struct rate_policy *b)
{
    return a->present == b->present && a->dry_run == b->dry_run &&
           a->relative_to_publish == b->relative_to_publish &&
           weight_or_1(a->weight) == weight_or_1(b->weight) &&
           tg_limit_spec_equal(&a->spec, &b->spec);
}

static struct rate_choice chosen(const struct rate_policy *p, enum limit_source source)
{
    return (struct rate_choice){.spec = p->spec,
                                .source = source,
                                .dry_run = p->dry_run,
                                .relative_to_publish = p->relative_to_publish,
                                .weight = p->weight};
}

struct rate_choice policy_rate(const struct rate_policy *topic, const struct rate_policy *ns,
                               const struct rate_policy *broker_default)
{
    if (topic && topic->present)
        return chosen(topic, LIMIT_FROM_TOPIC);
    if (ns && ns->present)
        return chosen(ns, LIMIT_FROM_NAMESPACE);
    if (broker_default && broker_default->present)
        return chosen(broker_default, LIMIT_FROM_BROKER);
    return (struct rate_choice){.source = LIMIT_UNSET};
}

struct rate_choice policy_subscription_rate(const struct rate_policy *own,
                                            const struct rate_choice *of_each)
{
    return own->present ? chosen(own, LIMIT_FROM_SUBSCRIPTION) : *of_each;
}

bool policy_put(struct scope *s, const struct rate_choice *c, int initial_percent, int64_t now_ns)
{
    bool changed = scope_set_limit(s, &c->spec, c->source, initial_percent, now_ns);
    s->weight = (uint16_t)weight_or_1(c->weight);
    return scope_set_dry_run(s, c->dry_run) || changed;
}
