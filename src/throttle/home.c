/* home.c - the way of a claim from its letter to the answer.
 *
 * A claim that was asked goes from its narrowest quota outwards (home.at), past those that have
 * tokens and where nobody waits, and waits where that is not so. What it is granted by a queue it
 * keeps, the others lend when it is answered, or together with a queue further out (loans.h).
 *
 * Invariant at every return to the caller: a claim that was asked waits in the queue of level[at].
 * Letters are posted last (post), since ops->post_back may call home_receive. */
#include "throttle/home.h"

#include <stddef.h>

#include "base/err.h"
#include "throttle/home_queue.h"
#include "throttle/loans.h"

/* ---- letters ---- */

void home_init(struct home *h, const struct home_ops *ops, void *ctx)
{
    *h = (struct home){.ops = ops, .ctx = ctx};
    h->out_end = &h->out;
}

static void put_out(struct home *h, struct claim_letter *l)
{
    l->next = NULL;
    *h->out_end = l;
    h->out_end = &l->next;
}

static void post(struct home *h)
{
    if (h->posting)
        return;
    h->posting = true;
    while (h->out) {
        struct claim_letter *l = h->out;
        h->out = l->next;
        if (!h->out)
            h->out_end = &h->out;
        h->ops->post_back(h->ctx, l);
    }
    h->posting = false;
}

static void answer(struct home *h, struct claim *c, struct claim_amount granted)
{
    c->granted = granted;
    c->home.asked = false;
    put_out(h, &c->ask);
}

/* What no quota of the chain limits is not counted. */
static void answer_granted(struct home *h, struct claim *c)
{
    struct claim_amount lent = c->level[0].lent, granted = {UINT64_MAX, UINT64_MAX};

    for (uint32_t i = 0; i < c->levels; i++) {
        const struct tg_limit_spec *spec = &c->level[i].quota->limit.spec;
        if (!quota_is_enforced(c->level[i].quota))
            continue;
        if (spec->msgs.rate > 0)
            granted.msgs = lent.msgs;
        if (spec->bytes.rate > 0)
            granted.bytes = lent.bytes;
    }
    c->once = loans_are_overdrawn(c);
    answer(h, c, granted);
}

/* ---- the way outwards ---- */

static void begin_anew(struct claim *c)
{
    c->home.at = 0;
    c->home.want.msgs = c->demand.msgs > c->head.msgs ? c->demand.msgs : c->head.msgs;
    c->home.want.bytes = c->demand.bytes > c->head.bytes ? c->demand.bytes : c->head.bytes;
    c->home.begins_anew = false;
}

/* It was granted something at this level, and needs no more further in, nor further out. */
static void keep_what_was_granted(struct claim *c, int64_t now_ns)
{
    loans_trim(c, c->home.at, now_ns);
    c->home.want = c->level[c->home.at].lent;
    c->home.at++;
}

/* What one who need not wait may have at once: a turn of each quota's. */
static void bound_by_a_turn(struct claim *c)
{
    for (uint32_t i = 0; i < c->levels; i++) {
        const struct home_queue *hq = c->level[i].quota->queue;
        c->home.want = loans_part(hq, c->home.want, home_queue_quantum(hq));
    }
}

/* All levels that have not lent do so now. False: one has no tokens after all, or another limit. */
static bool lend_the_rest(struct claim *c, int64_t now_ns)
{
    struct claim_amount got;
    uint32_t last = c->levels - 1;

    if (amount_is_nothing(c->level[0].lent))
        bound_by_a_turn(c);
    bool ok = loans_take(c, last, INT64_MAX, &got, now_ns);
    if (ok)
        loans_trim(c, last, now_ns);
    return ok && !loans_are_stale(c);
}

static void wait_here(struct home *h, struct home_queue *hq, struct claim *c, int64_t now_ns);

/* From its level on, until it must wait or is answered. */
static void advance(struct home *h, struct claim *c, int64_t now_ns)
{
    for (;;) {
        for (; c->home.at < c->levels; c->home.at++) {
            struct home_queue *hq = c->level[c->home.at].quota->queue;
            if (home_queue_is_busy(hq) || !home_queue_has_tokens(hq, now_ns)) {
                wait_here(h, hq, c, now_ns);
                return;
            }
        }
        if (lend_the_rest(c, now_ns)) {
            answer_granted(h, c);
            return;
        }
        loans_give_back(c, now_ns);
        begin_anew(c);
    }
}

/* ---- being served ---- */

static struct claim *claim_of(struct fair_node *n)
{
    return ((struct claim_level *)((char *)n - offsetof(struct claim_level, node)))->claim;
}

static bool wants_more(const struct claim *c, uint32_t level)
{
    return c->level[level].lent.msgs < c->demand.msgs ||
           c->level[level].lent.bytes < c->demand.bytes;
}

/* One turn of the claim whose turn it is. False: there is less than a token left, and it is still
 * its turn. */
static bool serve_one(struct home_queue *hq, struct claim *c, int64_t now_ns)
{
    struct claim_level *l = &c->level[c->home.at];
    bool is_first = amount_is_nothing(l->lent);
    struct claim_amount got;

    if (!loans_take(c, c->home.at, fair_allotment(&l->node), &got, now_ns)) {
        c->home.begins_anew = is_first; /* to wait further in */
        home_queue_leave(hq, c, !is_first, now_ns);
        return true;
    }
    if (amount_is_nothing(got))
        return false;
    if (is_first)
        cost_follow(&hq->cost, home_queue_cost(hq, c->head));
    int64_t cost = home_queue_cost(hq, got);
    l->cost += cost;
    l->era = hq->tree.era;
    fair_charge(&l->node, cost);
    if (loans_suffice(c, c->home.at))
        home_queue_leave(hq, c, wants_more(c, c->home.at), now_ns);
    return true;
}

/* Those who had their turns go on outwards, or back to a quota further in that is short by now. */
static void go_on(struct home *h, struct claim *batch, int64_t now_ns)
{
    while (batch) {
        struct claim *c = batch;
        batch = c->home.batch_next;
        c->home.in_batch = false;
        if (c->home.begins_anew) {
            loans_give_back(c, now_ns);
            begin_anew(c);
        } else {
            keep_what_was_granted(c, now_ns);
        }
        advance(h, c, now_ns);
    }
}

/* Hands out tokens in order, in at most <budget> turns. Unless <all>, only to those who have come
 * below their share. */
static uint32_t serve(struct home *h, struct home_queue *hq, uint32_t budget, bool all,
                      int64_t now_ns)
{
    struct claim *batch = NULL, **end = &batch;
    uint32_t turns = 0;

    hq->tree.quantum = home_queue_quantum(hq);
    /* No turn is begun without tokens for it: who had one just now would have begun the next before
     * others come, and so be served before them once more. */
    for (; turns < budget && hq->line.head && home_queue_has_tokens(hq, now_ns); turns++) {
        struct fair_node *n = all ? fair_next(&hq->line) : fair_next_in_turn(&hq->line);
        if (!n)
            break;
        struct claim *c = claim_of(n);
        if (!serve_one(hq, c, now_ns))
            break;
        if (c->home.in_batch)
            continue;
        c->home.in_batch = true;
        c->home.batch_next = NULL;
        *end = c;
        end = &c->home.batch_next;
    }
    for (struct claim *c = batch; c; c = c->home.batch_next) {
        if (c->home.waits)
            home_queue_leave(hq, c, true, now_ns);
    }
    if (!hq->line.head || !fair_next_in_turn(&hq->line))
        hq->urgent = false;
    go_on(h, batch, now_ns);
    return turns;
}

static void wait_here(struct home *h, struct home_queue *hq, struct claim *c, int64_t now_ns)
{
    bool goes_next = home_queue_enter(hq, c, now_ns);
    home_queue_give_up(c, c->home.at + 1, now_ns);
    if (goes_next)
        serve(h, hq, UINT32_MAX, false, now_ns);
    home_queue_show(hq, now_ns);
}

/* ---- what the owner calls ---- */

static void withdraw(struct home *h, struct claim *c, int64_t now_ns)
{
    if (!c->home.asked)
        return; /* the answer is on its way */
    TG_ASSERT(c->home.waits);
    struct home_queue *hq = c->level[c->home.at].quota->queue;
    home_queue_leave(hq, c, false, now_ns);
    home_queue_show(hq, now_ns);
    loans_give_back(c, now_ns);
    answer(h, c, (struct claim_amount){0, 0});
}

void home_receive(struct home *h, struct claim_letter *l, int64_t now_ns)
{
    struct claim *c = l->claim;

    home_queue_meet(h, c);
    if (l->settles)
        loans_settle(c, l->unspent, now_ns);
    if (l->kind == CLAIM_ASK) {
        c->home.asked = true;
        begin_anew(c);
        advance(h, c, now_ns);
    } else {
        if (l->withdraws)
            withdraw(h, c, now_ns);
        home_queue_give_up(c, 0, now_ns);
        put_out(h, l);
    }
    post(h);
}

uint32_t home_fire(struct home *h, struct quota *q, uint32_t budget, int64_t now_ns)
{
    struct home_queue *hq = q->queue;

    if (!hq || !hq->line.head)
        return 0;
    hq->armed_ns = MONO_NEVER;
    bool all = home_queue_may_serve_all(hq, now_ns);
    uint32_t turns = serve(h, hq, budget, all, now_ns);
    if (all && turns < budget)
        hq->served_ns = now_ns;
    home_queue_show(hq, now_ns);
    post(h);
    return turns;
}

bool home_set_limit(struct quota *q, const struct tg_limit_spec *spec, enum limit_source source,
                    int initial_percent, int64_t now_ns)
{
    if (!quota_set_limit(q, spec, source, initial_percent, now_ns))
        return false;
    if (q->queue)
        home_queue_limit_changed(q->queue, now_ns);
    return true;
}

bool home_set_dry_run(struct quota *q, bool dry_run, int64_t now_ns)
{
    if (!quota_set_dry_run(q, dry_run))
        return false;
    if (q->queue)
        home_queue_limit_changed(q->queue, now_ns);
    return true;
}

void home_set_weight(struct quota *q, uint32_t weight)
{
    q->weight = weight;
    if (q->queue)
        home_queue_weight_changed(q->queue);
}

void home_forget(struct quota *q)
{
    if (q->queue)
        home_queue_free(q->queue);
}

void home_abandon(struct quota *q)
{
    if (q->queue)
        home_queue_abandon(q->queue);
}

struct home_waiting home_waiting(const struct quota *q, int64_t now_ns)
{
    const struct home_queue *hq = q->queue;
    struct home_waiting w = {0, 0};

    if (!hq || !hq->oldest)
        return w;
    w.claims = hq->waiting;
    w.longest_ns = now_ns - claim_since_ns(hq->oldest);
    return w;
}
