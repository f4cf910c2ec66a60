/* waitq.c - a line of waiters (fair.c) behind a limit and a timer.
 *
 * Invariant at every return to the caller: somebody waits and the queue does not sleep <=> armed_ns
 * != MONO_NEVER; an empty queue does not sleep. */
#include "throttle/waitq.h"

#include <stddef.h>
#include <string.h>

#include "base/err.h"
#include "base/mono.h"

static struct waiter *waiter_of(struct fair_node *n)
{
    return (struct waiter *)n;
}

static struct waitq *queue_of(const struct waiter *w)
{
    if (!waiter_waits(w))
        return NULL;
    return (struct waitq *)((char *)w->node.line - offsetof(struct waitq, line));
}

void waiter_init(struct waiter *w, uint32_t weight)
{
    memset(w, 0, sizeof *w);
    fair_leaf_init(&w->node, weight);
}

/* ---- costs ---- */

static int64_t cost_of_next(const struct waitq *q, struct waiter *w)
{
    uint64_t msgs = 0, bytes = 0;
    q->ops->cost(w, &msgs, &bytes);
    return cost_of(&q->cost, msgs, bytes);
}

/* Everybody gets the same quantum in one round: fair.c takes it at the next round's beginning. */
static void charge(struct waitq *q, struct waiter *w, int64_t cost)
{
    cost_follow(&q->cost, cost);
    q->tree.quantum = q->cost.average;
    fair_charge(&w->node, cost);
}

static bool choose_unit(struct waitq *q)
{
    const struct tg_limit_spec *spec = tg_limit_spec_of(&q->scope->limit);
    bool changed = cost_choose_unit(&q->cost, spec);
    q->tree.rate = cost_rate(&q->cost, spec);
    return changed;
}

/* ---- the timer ---- */

static void arm(struct waitq *q, int64_t deadline_ns)
{
    q->armed_ns = deadline_ns;
    q->ops->arm(q->ctx, deadline_ns);
}

static void rearm(struct waitq *q, int64_t now_ns)
{
    if (q->firing)
        return; /* waitq_fire does it at its end */
    if (!q->line.head || q->asleep) {
        arm(q, MONO_NEVER);
        return;
    }
    int64_t deadline_ns = mono_add(now_ns, scope_wait_ns(q->scope, now_ns));
    arm(q, deadline_ns == MONO_NEVER ? MONO_NEVER - 1 : deadline_ns); /* armed, however far away */
}

/* ---- what the owner calls ---- */

void waitq_init(struct waitq *q, struct scope *scope, const struct waitq_ops *ops, void *ctx)
{
    memset(q, 0, sizeof *q);
    q->scope = scope;
    q->ops = ops;
    q->ctx = ctx;
    q->armed_ns = MONO_NEVER;
    fair_tree_init(&q->tree, 1); /* until a frame has been seen: one frame each */
    fair_line_init(&q->line, &q->tree, NULL);
    cost_init(&q->cost);
    choose_unit(q);
    scope->waiters = q;
}

void waitq_enter(struct waitq *q, struct waiter *w, int64_t now_ns)
{
    fair_enter(&w->node, &q->line, now_ns);
    w->since_ns = now_ns;
    if (waitq_count(q) == 1)
        rearm(q, now_ns);
}

void waitq_leave(struct waiter *w, int64_t now_ns)
{
    struct waitq *q = queue_of(w);

    if (!q)
        return;
    if (q->granting == w)
        q->granting = NULL;
    fair_leave(&w->node, false, now_ns);
    if (q->line.head)
        return;
    q->asleep = false;
    rearm(q, now_ns);
}

void waitq_sleep(struct waitq *q)
{
    TG_ASSERT(q->line.head != NULL);
    q->asleep = true;
    rearm(q, 0);
}

void waitq_kick(struct waitq *q, int64_t now_ns)
{
    q->kicked = true;
    if (!q->asleep)
        return;
    q->asleep = false;
    rearm(q, now_ns);
}

/* Grants the head's next frame. True when it was admitted. */
static bool grant_head(struct waitq *q, int64_t now_ns)
{
    struct waiter *w = waiter_of(fair_next(&q->line));
    int64_t cost = cost_of_next(q, w);

    q->granting = w;
    q->kicked = false;
    enum waiter_result result = q->ops->grant(w, now_ns);
    bool stayed = q->granting == w; /* else it may be freed by now */
    bool admitted = result == WAITER_SENT || result == WAITER_DONE;
    q->granting = NULL;

    if (stayed && admitted) {
        charge(q, w, cost);
        w->since_ns = now_ns;
    }
    if (result == WAITER_UPSTREAM)
        q->asleep = q->line.head != NULL && !q->kicked;
    else if (stayed && result != WAITER_SENT)
        waitq_leave(w, now_ns);
    return admitted;
}

uint32_t waitq_fire(struct waitq *q, uint32_t budget, int64_t now_ns)
{
    uint32_t admitted = 0;

    TG_ASSERT(!q->firing);
    q->firing = true;
    for (uint32_t n = 0; n < budget && q->line.head && !q->asleep; n++) {
        if (!scope_has_tokens(q->scope, now_ns))
            break;
        admitted += grant_head(q, now_ns);
    }
    q->firing = false;
    fair_pause(&q->line);
    rearm(q, now_ns);
    return admitted;
}

void waitq_limit_changed(struct waitq *q, int64_t now_ns)
{
    if (choose_unit(q)) {
        q->tree.quantum = 1;
        fair_begin_anew(&q->line);
    }
    rearm(q, now_ns);
}

int64_t waitq_longest_wait_ns(const struct waitq *q, int64_t now_ns)
{
    int64_t longest_ns = 0;
    struct fair_node *n = q->line.head;

    for (uint32_t i = 0; i < waitq_count(q); i++, n = n->next) {
        int64_t waited_ns = now_ns - waiter_of(n)->since_ns;
        longest_ns = waited_ns > longest_ns ? waited_ns : longest_ns;
    }
    return longest_ns;
}

struct scope *waitq_must_wait(const struct path *p, const struct waiter *w, int64_t now_ns)
{
    const struct waitq *in = w ? queue_of(w) : NULL;
    bool had_turn = in != NULL;

    for (uint32_t i = 0; i < p->count; i++) {
        struct scope *s = p->scope[i];
        bool others = s->waiters && waitq_count(s->waiters) > 0 && !had_turn;
        if (others || !scope_has_tokens(s, now_ns))
            return s;
        if (in && s == in->scope)
            had_turn = false;
    }
    return NULL;
}
