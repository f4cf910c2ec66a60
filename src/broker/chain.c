/* chain.c - see chain.h.
 *
 * A group that is hung on a namespace and on its tenant counts once, as the tenant's: in its queue
 * the tenant is the child then. Groups come after the places that they are hung on and before the
 * broker, in the order of enum scope_kind. */
#include "broker/chain.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "broker/group.h"
#include "broker/quotas.h"
#include "broker/registry.h"

static void add(struct chain *c, struct broker_quota *const of[LIMIT_SIDES], int below)
{
    for (int side = 0; side < LIMIT_SIDES; side++) {
        quota_chain_add(&c->side[side], &of[side]->quota, below);
        of[side]->chains++;
    }
}

struct chain *chain_new(const struct ns *n, const struct partitioned *p)
{
    const struct tenant *t = n->tenant;
    struct chain *c = xcalloc(1, sizeof *c);
    int last = QUOTA_TOPIC;

    c->holders = 1;
    if (p)
        add(c, p->quota, last++);
    add(c, n->quota, last++);
    add(c, t->quota, last++);
    if (n->group && n->group != t->group)
        add(c, n->group->quota, last - 1);
    if (t->group)
        add(c, t->group->quota, last);
    add(c, n->quota[0]->of->broker, last);
    return c;
}

struct chain *chain_hold(struct chain *c)
{
    c->holders++;
    return c;
}

void chain_drop(struct chain *c)
{
    if (!c || --c->holders > 0)
        return;
    for (int side = 0; side < LIMIT_SIDES; side++)
        for (uint32_t i = 0; i < c->side[side].count; i++)
            broker_quota_left_chain(broker_quota_of(c->side[side].quota[i]));
    free(c);
}
