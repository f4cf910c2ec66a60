/* claim.c - the topic's side of a claim: its states, its credit, its letters.
 *
 * Invariants: ASKED <=> the ask letter is away. Credit is held only while GRANTED. A letter is
 * posted last, and only when it is not away; what finds the note away is done when it is back
 * (..._due). */
#include "throttle/claim.h"

#include <string.h>

#include "base/err.h"

void claim_init(struct claim *c, const struct claim_ops *ops, const struct quota_chain *chain,
                uint32_t weight)
{
    memset(c, 0, sizeof *c);
    c->ops = ops;
    c->ask = (struct claim_letter){.claim = c, .kind = CLAIM_ASK};
    c->note = (struct claim_letter){.claim = c, .kind = CLAIM_NOTE};
    TG_ASSERT(chain->count > 0);
    c->levels = chain->count;
    for (uint32_t i = 0; i < c->levels; i++) {
        struct claim_level *l = &c->level[i];
        l->claim = c;
        l->quota = chain->quota[i];
        l->below = chain->below[i];
        fair_leaf_init(&l->node, weight);
    }
}

/* ---- credit ---- */

static bool is_void(const struct claim *c)
{
    bool changed = false;
    for (uint32_t i = 0; i < c->levels; i++)
        changed = changed || c->level[i].changes != quota_changes(c->level[i].quota);
    return changed;
}

static bool covers(const struct claim *c, uint64_t msgs, uint64_t bytes)
{
    return c->state == CLAIM_GRANTED && msgs <= c->left.msgs && bytes <= c->left.bytes &&
           !c->used_once && !is_void(c);
}

static void spend(struct claim *c, uint64_t msgs, uint64_t bytes)
{
    if (c->left.msgs != UINT64_MAX)
        c->left.msgs -= msgs;
    if (c->left.bytes != UINT64_MAX)
        c->left.bytes -= bytes;
    c->used_once = c->once;
}

struct quota *claim_binding(const struct claim *c)
{
    struct quota *at = claim_waits_at(c);
    if (c->state != CLAIM_ASKED)
        return NULL;
    return at ? at : c->lacking;
}

struct quota *claim_lacking(const struct claim *c, const struct quota_chain *chain,
                            struct quota_worker *w, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    if (c && covers(c, msgs, bytes)) {
        w->asked_count = 0; /* were it void when it is charged, no other's leases may pay */
        return NULL;
    }
    if (c && c->state == CLAIM_ASKED)
        return claim_binding(c);
    return quota_lacking(chain, w, msgs, bytes, now_ns);
}

/* Quotas in dry run are asked when a frame is charged: each by itself, to be counted. */
static bool any_is_dry_run(const struct claim *c)
{
    bool any = false;
    for (uint32_t i = 0; i < c->levels; i++)
        any = any || quota_is_dry_run(c->level[i].quota);
    return any;
}

struct claim_amount claim_held(const struct claim *c, const struct quota_worker *w,
                               struct claim_amount first)
{
    if (c && covers(c, first.msgs, first.bytes))
        return c->once || any_is_dry_run(c) ? first : c->left;
    quota_leased(w, &first.msgs, &first.bytes);
    return first;
}

bool claim_charge(struct claim *c, const struct quota_chain *chain, struct quota_worker *w,
                  uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    if (!c || !covers(c, msgs, bytes))
        return quota_charge(w, msgs, bytes);
    spend(c, msgs, bytes);
    return quota_count(chain, w, msgs, bytes, now_ns);
}

/* ---- letters ---- */

static void settle_with(struct claim *c, struct claim_letter *l)
{
    l->settles = c->state == CLAIM_GRANTED;
    l->unspent = (struct claim_amount){0, 0};
    if (!l->settles)
        return;
    l->unspent.msgs = c->left.msgs != UINT64_MAX ? c->left.msgs : 0;
    l->unspent.bytes = c->left.bytes != UINT64_MAX ? c->left.bytes : 0;
    c->left = (struct claim_amount){0, 0};
    c->release_due = false;
}

static void post(struct claim *c, struct claim_letter *l)
{
    TG_ASSERT(!l->away);
    l->away = true;
    c->ops->post_home(l);
}

void claim_ask(struct claim *c, struct quota *lacking, struct claim_amount head,
               struct claim_amount demand)
{
    if (c->state == CLAIM_ASKED)
        return;
    TG_ASSERT(!c->closing && (head.msgs > 0 || head.bytes > 0));
    settle_with(c, &c->ask);
    c->lacking = lacking;
    c->head = head;
    c->demand = demand;
    c->withdrawn = c->withdraw_due = false;
    c->state = CLAIM_ASKED;
    post(c, &c->ask);
}

void claim_release(struct claim *c)
{
    if (c->state != CLAIM_GRANTED)
        return;
    if (c->note.away) {
        c->release_due = true;
        return;
    }
    settle_with(c, &c->note);
    c->note.withdraws = false;
    c->state = CLAIM_IDLE;
    post(c, &c->note);
}

void claim_withdraw(struct claim *c)
{
    if (c->state != CLAIM_ASKED || c->withdrawn)
        return;
    if (c->note.away) {
        c->withdraw_due = true;
        return;
    }
    c->withdraw_due = false;
    c->withdrawn = true;
    c->note.settles = false;
    c->note.withdraws = true;
    post(c, &c->note);
}

static void release_if_done(struct claim *c)
{
    if (c->state != CLAIM_IDLE || c->note.away)
        return;
    c->closing = false; /* once */
    c->ops->released(c);
}

/* What is due and can be done now: one post at the most. */
static void go_on(struct claim *c)
{
    if (c->state == CLAIM_GRANTED && (c->release_due || c->closing))
        claim_release(c);
    else if (c->state == CLAIM_ASKED && (c->withdraw_due || c->closing))
        claim_withdraw(c);
    else if (c->closing)
        release_if_done(c);
}

bool claim_received(struct claim_letter *l)
{
    struct claim *c = l->claim;
    bool closing = c->closing;

    l->away = false;
    if (l == &c->ask) {
        bool nothing = c->granted.msgs == 0 && c->granted.bytes == 0;
        c->state = nothing ? CLAIM_IDLE : CLAIM_GRANTED;
        c->left = c->granted;
        c->used_once = c->withdrawn = c->withdraw_due = false;
    }
    go_on(c);
    return !closing;
}

void claim_close(struct claim *c)
{
    c->closing = true;
    go_on(c);
}

/* ---- the queue ---- */

static uint64_t bounded(uint64_t demand, uint64_t head, int64_t balance)
{
    uint64_t most = balance > 0 ? (uint64_t)balance : 0;
    most = most > head ? most : head;
    return demand < most ? demand : most;
}

struct claim_amount claim_bound_demand(const struct path *own, struct claim_amount head,
                                       struct claim_amount demand, int64_t now_ns)
{
    for (uint32_t i = 0; i < own->count; i++) {
        struct tg_limit *l = &own->scope[i]->limit;
        if (own->scope[i]->dry_run)
            continue;
        demand.msgs = bounded(demand.msgs, head.msgs, tg_limit_balance_msgs(l, now_ns));
        demand.bytes = bounded(demand.bytes, head.bytes, tg_limit_balance_bytes(l, now_ns));
    }
    return demand;
}

void claim_queue_ran(struct claim *c, const struct waitq *q, int64_t now_ns)
{
    if (waitq_count(q) == 0) {
        claim_withdraw(c);
        claim_release(c);
    } else if (!q->asleep && !scope_has_tokens(q->scope, now_ns)) {
        claim_release(c);
    }
}
