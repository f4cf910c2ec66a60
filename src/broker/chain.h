/* chain.h - the quotas that a topic's messages are charged to (quota.h) when they are published and
 * when they are delivered, as they are by what an administrator has set: those of its partitioned
 * topic, namespace and tenant, of the resource groups hung on the last two, and the broker's.
 *
 * A chain never changes. Where another quota is to be in it there is another chain, which every
 * topic concerned is given (place_apply_policies); the old one is dropped by the last that held it,
 * so that its quotas stay until no worker uses them.
 *
 * Owner: the control worker; other workers read the quotas of the chains that their topics have. */
#ifndef BROKER_CHAIN_H
#define BROKER_CHAIN_H

#include <stdint.h>

#include "quota/quota.h"

struct ns;
struct partitioned;

struct chain {
    struct quota_chain side[LIMIT_SIDES]; /* of the same places */
    uint32_t holders;
};

/* As it is for topics of <n>, or of its partitioned topic <p> (NULL: none), now; held once. */
struct chain *chain_new(const struct ns *n, const struct partitioned *p);
struct chain *chain_hold(struct chain *c);
void chain_drop(struct chain *c); /* NULL is fine */

#endif
