/* loans.c - lending, giving back, settling: each for the quota's bucket, the amount at the level,
 * and what the quota's queue has charged for it.
 *
 * Invariant: level.loan is what level.lent is in the kinds of tokens that the quota limits. */
#include "throttle/loans.h"

#include "throttle/home_queue.h"

static const uint64_t none[2] = {0, 0}, all[2] = {UINT64_MAX, UINT64_MAX};

/* ---- amounts ---- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static struct claim_amount more_of(struct claim_amount a, struct claim_amount b)
{
    return (struct claim_amount){larger(a.msgs, b.msgs), larger(a.bytes, b.bytes)};
}

static struct claim_amount less_of(struct claim_amount a, struct claim_amount b)
{
    return (struct claim_amount){smaller(a.msgs, b.msgs), smaller(a.bytes, b.bytes)};
}

static struct claim_amount sum(struct claim_amount a, struct claim_amount b)
{
    return (struct claim_amount){a.msgs + b.msgs, a.bytes + b.bytes};
}

/* Not below zero. */
static struct claim_amount difference(struct claim_amount a, struct claim_amount b)
{
    return (struct claim_amount){a.msgs - smaller(a.msgs, b.msgs),
                                 a.bytes - smaller(a.bytes, b.bytes)};
}

struct claim_amount loans_part(const struct home_queue *hq, struct claim_amount a, int64_t most)
{
    int64_t cost = home_queue_cost(hq, a);
    if (cost <= most || !quota_is_enforced(hq->quota))
        return a;
    unsigned __int128 msgs = (unsigned __int128)a.msgs * (uint64_t)most / (uint64_t)cost;
    unsigned __int128 bytes = (unsigned __int128)a.bytes * (uint64_t)most / (uint64_t)cost;
    return (struct claim_amount){larger((uint64_t)msgs, a.msgs > 0),
                                 larger((uint64_t)bytes, a.bytes > 0)};
}

/* ---- one level ---- */

static bool lend(struct claim_level *l, struct claim_amount least, struct claim_amount most,
                 int64_t now_ns)
{
    uint64_t got[2] = {most.msgs, most.bytes};

    if (!quota_is_enforced(l->quota))
        l->loan.overdrawn = false;
    else if (!tg_shared_limit_lend(&l->quota->limit, &l->loan,
                                   (uint64_t[2]){least.msgs, least.bytes},
                                   (uint64_t[2]){most.msgs, most.bytes}, got, now_ns))
        return false;
    l->lent = sum(l->lent, (struct claim_amount){got[0], got[1]});
    l->changes = quota_changes(l->quota);
    return true;
}

/* <unspent> comes back; <spent> was spent. */
static void settle(struct claim_level *l, struct claim_amount unspent, const uint64_t spent[2],
                   int64_t now_ns)
{
    struct home_queue *hq = l->quota->queue;

    if (l->loan.lent[0] != 0 || l->loan.lent[1] != 0)
        tg_shared_limit_settle_loan(&l->quota->limit, &l->loan,
                                    (uint64_t[2]){unspent.msgs, unspent.bytes}, spent, now_ns);
    l->lent = difference(l->lent, unspent);
    int64_t cost = home_queue_cost(hq, l->lent);
    if (l->cost > cost && l->era == hq->tree.era) {
        fair_refund(&l->node, l->cost - cost);
        l->cost = cost;
    }
    if (hq->line.head)
        home_queue_show(hq, now_ns); /* there may be tokens sooner now */
}

/* ---- all levels ---- */

bool loans_take(struct claim *c, uint32_t upto, int64_t most, struct claim_amount *got,
                int64_t now_ns)
{
    struct claim_amount had = c->level[upto].lent;
    bool is_first = amount_is_nothing(had);
    struct claim_amount least = is_first ? c->head : (struct claim_amount){0, 0};
    struct claim_amount part =
        loans_part(c->level[upto].quota->queue, difference(c->home.want, had), most);

    part = more_of(part, least);
    for (uint32_t i = 0; i <= upto; i++) {
        struct claim_level *l = &c->level[i];
        struct claim_amount missing = difference(sum(had, part), l->lent);
        if (!amount_is_nothing(missing) && !lend(l, difference(least, l->lent), missing, now_ns))
            return false;
        part = less_of(part, difference(l->lent, had));
    }
    *got = part;
    return true;
}

void loans_trim(struct claim *c, uint32_t upto, int64_t now_ns)
{
    for (uint32_t i = 0; i < upto; i++) {
        struct claim_amount over = difference(c->level[i].lent, c->level[upto].lent);
        if (!amount_is_nothing(over))
            settle(&c->level[i], over, none, now_ns);
    }
}

void loans_give_back(struct claim *c, int64_t now_ns)
{
    for (uint32_t i = 0; i < c->levels; i++) {
        settle(&c->level[i], c->level[i].lent, none, now_ns);
        c->level[i].cost = 0;
    }
}

void loans_settle(struct claim *c, struct claim_amount unspent, int64_t now_ns)
{
    for (uint32_t i = 0; i < c->levels; i++) {
        struct claim_level *l = &c->level[i];
        settle(l, less_of(unspent, l->lent), all, now_ns);
        l->lent = (struct claim_amount){0, 0};
        l->cost = 0;
    }
}

bool loans_suffice(const struct claim *c, uint32_t level)
{
    return amount_is_nothing(difference(c->home.want, c->level[level].lent));
}

bool loans_are_stale(const struct claim *c)
{
    bool changed = false;
    for (uint32_t i = 0; i < c->levels; i++)
        changed = changed || c->level[i].changes != quota_changes(c->level[i].quota);
    return changed;
}

bool loans_are_overdrawn(const struct claim *c)
{
    bool any = false;
    for (uint32_t i = 0; i < c->levels; i++)
        any = any || c->level[i].loan.overdrawn;
    return any;
}
