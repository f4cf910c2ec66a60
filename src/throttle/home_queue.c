/* home_queue.c - a quota's queue: its place in the tree of quotas, its line, its timer.
 *
 * Invariants after home_queue_show: the quota is binding <=> its line is busy; armed_ns !=
 * MONO_NEVER <=> somebody waits. */
#include "throttle/home_queue.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/err.h"

/* ---- the limit ---- */

/* What the shorter of the two bursts takes to accrue. */
static int64_t time_of_burst_ns(const struct tg_limit_spec *spec)
{
    const struct tg_rate_spec *rate[2] = {&spec->msgs, &spec->bytes};
    int64_t period_ns = tg_limit_period_ns(spec), least_ns = MONO_S;
    for (int i = 0; i < 2; i++) {
        if (rate[i]->rate <= 0 || rate[i]->burst <= 0)
            continue;
        __int128 burst_ns = (__int128)rate[i]->burst * period_ns / rate[i]->rate;
        least_ns = burst_ns < least_ns ? (int64_t)burst_ns : least_ns;
    }
    return least_ns;
}

static int64_t min_ns(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

/* True when costs mean something else now. */
static bool adopt_limit(struct home_queue *hq)
{
    const struct tg_limit_spec *spec = &hq->quota->limit.spec;
    int64_t half_burst_ns = time_of_burst_ns(spec) / 2;
    bool changed = cost_choose_unit(&hq->cost, spec);
    hq->tree.rate = cost_rate(&hq->cost, spec);
    hq->tree.quantum = home_queue_quantum(hq);
    hq->pace_ns = min_ns(HOME_PACE_NS, half_burst_ns);
    hq->patience_ns = min_ns(HOME_PATIENCE_NS, half_burst_ns);
    hq->served_ns = INT64_MIN;
    return changed;
}

void home_queue_limit_changed(struct home_queue *hq, int64_t now_ns)
{
    if (adopt_limit(hq))
        fair_begin_anew(&hq->line);
    home_queue_show(hq, now_ns);
}

int64_t home_queue_quantum(const struct home_queue *hq)
{
    int64_t part = hq->tree.rate / 1000 / HOME_TURNS_PER_MS;
    int64_t frame = hq->cost.average > 0 ? hq->cost.average : 1;
    return min_ns(part > frame ? part : frame, FAIR_COST_MAX);
}

int64_t home_queue_cost(const struct home_queue *hq, struct claim_amount a)
{
    return a.msgs == 0 && a.bytes == 0 ? 0 : cost_of(&hq->cost, a.msgs, a.bytes);
}

/* ---- the tree of quotas ---- */

static struct home_queue *queue_of(struct home *h, struct quota *q)
{
    if (q->queue)
        return q->queue;
    struct home_queue *hq = xcalloc(1, sizeof *hq);
    hq->home = h;
    hq->quota = q;
    hq->armed_ns = MONO_NEVER;
    fair_tree_init(&hq->tree, 1);
    fair_line_init(&hq->line, &hq->tree, NULL);
    cost_init(&hq->cost);
    adopt_limit(hq);
    q->queue = hq;
    return hq;
}

/* The place of <of> in that line of the queue <in>. A quota has a handful of them. */
static struct home_place *place_of(struct home_queue *of, struct home_queue *in,
                                   struct fair_line *line)
{
    struct home_place *p;
    DL_FOREACH2(of->places, p, of_next)
    {
        if (p->node.line == line)
            return p;
    }
    p = xcalloc(1, sizeof *p);
    p->of = of;
    p->in = in;
    fair_inner_init(&p->node, of->quota->weight, line, &p->line);
    fair_line_init(&p->line, line->tree, &p->node);
    DL_APPEND2(of->places, p, of_prev, of_next);
    DL_APPEND2(in->guests, p, in_prev, in_next);
    return p;
}

/* Where the topic stands in the queue of level <i>: from its top line down through those that
 * contain the topic. */
static struct fair_line *line_in(const struct claim *c, uint32_t i)
{
    struct home_queue *hq = c->level[i].quota->queue;
    struct fair_line *line = &hq->line;
    for (int k = c->level[i].below; k != QUOTA_TOPIC; k = c->level[k].below)
        line = &place_of(c->level[k].quota->queue, hq, line)->line;
    return line;
}

void home_queue_meet(struct home *h, struct claim *c)
{
    if (c->level[0].line)
        return;
    for (uint32_t i = 0; i < c->levels; i++)
        (void)queue_of(h, c->level[i].quota);
    for (uint32_t i = 0; i < c->levels; i++)
        c->level[i].line = line_in(c, i);
}

void home_queue_weight_changed(struct home_queue *hq)
{
    struct home_place *p;
    DL_FOREACH2(hq->places, p, of_next)
    {
        fair_set_weight(&p->node, hq->quota->weight);
    }
}

static void free_place(struct home_place *p)
{
    DL_DELETE2(p->of->places, p, of_prev, of_next);
    DL_DELETE2(p->in->guests, p, in_prev, in_next);
    free(p);
}

void home_queue_abandon(struct home_queue *hq)
{
    while (hq->places)
        free_place(hq->places);
    while (hq->guests)
        free_place(hq->guests);
    hq->quota->queue = NULL;
    free(hq);
}

void home_queue_free(struct home_queue *hq)
{
    struct home_place *p;
    TG_ASSERT(!home_queue_is_busy(hq));
    DL_FOREACH2(hq->places, p, of_next)
    {
        TG_ASSERT(!fair_is_busy(&p->line) && !p->node.expected);
    }
    home_queue_abandon(hq);
}

/* ---- who waits ---- */

static void list_add(struct home_queue *hq, struct claim *c)
{
    c->home.older = hq->newest;
    c->home.newer = NULL;
    *(hq->newest ? &hq->newest->home.newer : &hq->oldest) = c;
    hq->newest = c;
    hq->waiting++;
}

static void list_remove(struct home_queue *hq, struct claim *c)
{
    *(c->home.older ? &c->home.older->home.newer : &hq->oldest) = c->home.newer;
    *(c->home.newer ? &c->home.newer->home.older : &hq->newest) = c->home.older;
    hq->waiting--;
}

bool home_queue_enter(struct home_queue *hq, struct claim *c, int64_t now_ns)
{
    struct fair_node *n = &c->level[c->home.at].node;
    bool was_expected = n->expected;

    fair_enter(n, c->level[c->home.at].line, now_ns);
    hq->away -= was_expected;
    list_add(hq, c);
    c->home.waits = true;
    atomic_store_explicit(&c->waits_at, hq->quota, memory_order_relaxed);
    atomic_store_explicit(&c->since_ns, now_ns, memory_order_relaxed);
    bool is_urgent = !was_expected && fair_is_due(n);
    hq->urgent = hq->urgent || is_urgent;
    return is_urgent;
}

void home_queue_leave(struct home_queue *hq, struct claim *c, bool expected, int64_t now_ns)
{
    fair_leave(&c->level[c->home.at].node, expected, now_ns);
    hq->away += expected;
    list_remove(hq, c);
    c->home.waits = false;
    atomic_store_explicit(&c->waits_at, NULL, memory_order_relaxed);
}

void home_queue_give_up(struct claim *c, uint32_t from, int64_t now_ns)
{
    for (uint32_t i = from; i < c->levels; i++) {
        if (!c->level[i].node.expected)
            continue;
        struct home_queue *hq = c->level[i].quota->queue;
        fair_give_up(&c->level[i].node, now_ns);
        hq->away--;
        home_queue_show(hq, now_ns);
    }
}

/* ---- binding, and the timer ---- */

static int64_t paced_ns(const struct home_queue *hq)
{
    if (hq->served_ns == INT64_MIN || !quota_is_enforced(hq->quota))
        return INT64_MIN;
    return hq->served_ns + (hq->away > 0 ? hq->patience_ns : hq->pace_ns);
}

bool home_queue_may_serve_all(const struct home_queue *hq, int64_t now_ns)
{
    return now_ns >= paced_ns(hq);
}

static int64_t next_fire_ns(const struct home_queue *hq, int64_t now_ns)
{
    if (!hq->line.head)
        return MONO_NEVER;
    int64_t soonest_ns = hq->urgent ? INT64_MIN : paced_ns(hq);
    struct quota *q = hq->quota;
    int64_t wait_ns = quota_is_enforced(q) ? tg_shared_limit_wait_ns(&q->limit, now_ns) : 0;
    int64_t deadline_ns = mono_add(now_ns, wait_ns);
    deadline_ns = deadline_ns > soonest_ns ? deadline_ns : soonest_ns;
    if (now_ns < hq->look_ns && hq->look_ns < deadline_ns)
        deadline_ns = hq->look_ns;
    return deadline_ns == MONO_NEVER ? MONO_NEVER - 1 : deadline_ns; /* armed, however far away */
}

void home_queue_show(struct home_queue *hq, int64_t now_ns)
{
    struct home *h = hq->home;
    bool busy = home_queue_is_busy(hq);
    if (tg_shared_limit_is_binding(&hq->quota->limit) != busy) {
        tg_shared_limit_set_binding(&hq->quota->limit, busy);
        hq->look_ns = now_ns + HOME_PATIENCE_NS;
    }

    int64_t deadline_ns = next_fire_ns(hq, now_ns);
    if (deadline_ns == hq->armed_ns)
        return;
    hq->armed_ns = deadline_ns;
    h->ops->arm(h->ctx, hq->quota, deadline_ns);
}
