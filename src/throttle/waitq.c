/* waitq.c - deficit round robin over a circular list.
 *
 * The head has the turn. It is granted frames while its deficit is above zero; each frame's cost is
 * taken from the deficit, which the last one may overdraw, as in a bucket. Then it goes to the end
 * of the line with the round's quantum times its weight added. Who is still in debt when its turn
 * comes is passed over, a quantum richer. Everybody gets the same quantum in one round, so two who
 * wait throughout get the same per weight, but for the last frame and turn of each.
 *
 * Each waiter carries the number of the round of its next turn, so the line is sorted by it and a
 * new round shows at the head, whoever came or left meanwhile. A round in which all are in debt is
 * made up for in one step (skip_rounds): the work of a call is bounded by its grants and the length
 * of the line, not by the ratio of frame sizes.
 *
 * Invariant at every return to the caller: q->head != NULL <=> q->armed_ns != MONO_NEVER. */
#include "throttle/waitq.h"

#include <string.h>

#include "base/err.h"
#include "base/mono.h"

/* Costs are clamped to this: beyond any frame, and a weight times it stays below 2^57. */
#define COST_MAX (INT64_C(1) << 40)

void waiter_init(struct waiter *w, uint32_t weight)
{
    TG_ASSERT(weight >= 1 && weight <= WAITER_WEIGHT_MAX);
    memset(w, 0, sizeof *w);
    w->weight = weight;
}

/* ---- costs ---- */

/* Returns true when the unit has changed. A queue without a limit keeps its unit: order matters
 * then, shares do not. */
static bool choose_unit(struct waitq *q)
{
    const struct tg_limit_spec *spec = &q->scope->limit.spec;
    uint64_t msg = q->msg_cost, byte = q->byte_cost;

    if (spec->msgs.rate > 0 && spec->bytes.rate > 0) {
        msg = (uint64_t)(spec->bytes.rate / spec->msgs.rate);
        byte = 1;
    } else if (spec->msgs.rate > 0 || spec->bytes.rate > 0) {
        msg = spec->msgs.rate > 0;
        byte = spec->bytes.rate > 0;
    }
    bool changed = msg != q->msg_cost || byte != q->byte_cost;
    q->msg_cost = msg;
    q->byte_cost = byte;
    return changed;
}

static int64_t times(uint64_t n, uint64_t unit)
{
    uint64_t r;
    if (__builtin_mul_overflow(n, unit, &r) || r > (uint64_t)COST_MAX)
        return COST_MAX;
    return (int64_t)r;
}

/* At least 1, so that every grant moves the line on. */
static int64_t cost_of(const struct waitq *q, struct waiter *w)
{
    uint64_t msgs = 0, bytes = 0;
    q->ops->cost(w, &msgs, &bytes);
    int64_t m = times(msgs, q->msg_cost), b = times(bytes, q->byte_cost);
    int64_t cost = m > b ? m : b;
    return cost > 0 ? cost : 1;
}

/* Moves an eighth of the way to the cost just seen, at least by one: with equal frames the quantum
 * becomes exactly one frame. */
static void follow_cost(struct waitq *q, int64_t cost)
{
    int64_t step = (cost - q->average) / 8;
    if (step == 0)
        step = (cost > q->average) - (cost < q->average);
    q->average += step;
}

/* ---- the timer ---- */

static void rearm(struct waitq *q, int64_t now_ns)
{
    struct tg_limit *l = &q->scope->limit;

    if (q->firing)
        return; /* waitq_fire does it at its end */
    if (!q->head)
        q->armed_ns = MONO_NEVER;
    else if (tg_limit_has_tokens(l, now_ns))
        q->armed_ns = now_ns;
    else
        q->armed_ns = mono_add(now_ns, tg_limit_wait_ns(l, now_ns));
    if (q->head && q->armed_ns == MONO_NEVER)
        q->armed_ns = MONO_NEVER - 1; /* armed, however far away */
    q->ops->arm(q->ctx, q->armed_ns);
}

/* ---- rounds and turns ---- */

static int64_t turn_of(const struct waitq *q, const struct waiter *w)
{
    return q->quantum * w->weight;
}

static void end_turn(struct waitq *q)
{
    struct waiter *w = q->head;
    w->deficit += turn_of(q, w);
    w->round = q->round + 1;
    q->head = w->next;
}

static void begin_round(struct waitq *q)
{
    q->round = q->head->round;
    if (q->average == 0)
        q->average = cost_of(q, q->head);
    q->quantum = q->average;
    q->credit += (uint64_t)q->quantum;
}

/* Adds as many whole rounds as it takes until somebody is out of debt. */
static void skip_rounds(struct waitq *q)
{
    int64_t rounds = INT64_MAX;
    struct waiter *w = q->head;

    do {
        int64_t r = w->deficit > 0 ? 0 : -w->deficit / turn_of(q, w) + 1;
        rounds = r < rounds ? r : rounds;
        w = w->next;
    } while (w != q->head);
    do {
        w->deficit += rounds * turn_of(q, w);
        w = w->next;
    } while (w != q->head);
    q->credit += (uint64_t)(rounds * q->quantum);
}

/* Passes over those in debt; returns who has the turn. */
static struct waiter *next_turn(struct waitq *q)
{
    for (uint32_t passed = 0;; passed++) {
        if (passed > q->count) {
            skip_rounds(q);
            passed = 0;
        }
        if (q->head->round != q->round)
            begin_round(q);
        if (q->head->deficit > 0)
            return q->head;
        end_turn(q);
    }
}

/* ---- the line ---- */

static void append(struct waitq *q, struct waiter *w)
{
    if (q->head) {
        w->next = q->head;
        w->prev = q->head->prev;
        w->prev->next = w;
        w->next->prev = w;
    } else {
        q->head = w->next = w->prev = w;
    }
    w->queue = q;
    q->count++;
}

static void unlink_waiter(struct waitq *q, struct waiter *w)
{
    if (w->next == w) {
        q->head = NULL;
    } else {
        w->prev->next = w->next;
        w->next->prev = w->prev;
        if (q->head == w)
            q->head = w->next;
    }
    w->prev = w->next = NULL;
    w->queue = NULL;
    q->count--;
}

/* ---- debts of those who left ---- */

/* More than any debt: whoever left before this owes nothing. */
static void forget_debts(struct waitq *q)
{
    q->credit += 2 * (uint64_t)COST_MAX;
}

/* While nobody waited, whoever is in debt could have had all of the rate. */
static void credit_idle_time(struct waitq *q, int64_t idle_ns)
{
    const struct tg_limit_spec *spec = &q->scope->limit.spec;
    int64_t rate = q->byte_cost ? spec->bytes.rate : spec->msgs.rate;
    int64_t period_ns = spec->period_ns > 0 ? spec->period_ns : MONO_S;
    __int128 n = idle_ns > 0 ? (__int128)rate * idle_ns / period_ns : 0;

    if (rate <= 0 || n >= COST_MAX)
        forget_debts(q);
    else
        q->credit += (uint64_t)n;
}

static void remember(struct waitq *q, struct waiter *w)
{
    bool turn_is_due = w->round == q->round;
    w->left = q;
    w->left_credit = q->credit - (turn_is_due ? (uint64_t)q->quantum : 0);
}

/* As if it had stayed: one frame's credit at the most, and no forgiveness. */
static int64_t deficit_on_entry(const struct waitq *q, const struct waiter *w)
{
    uint64_t missed = q->credit - w->left_credit;

    if (w->left != q || w->deficit > 0 || missed > (uint64_t)COST_MAX)
        return 1;
    int64_t deficit = w->deficit + (int64_t)missed * w->weight;
    return deficit < 1 ? deficit : 1;
}

/* ---- what the owner calls ---- */

void waitq_init(struct waitq *q, struct scope *scope, const struct waitq_ops *ops, void *ctx)
{
    memset(q, 0, sizeof *q);
    q->scope = scope;
    q->ops = ops;
    q->ctx = ctx;
    q->armed_ns = MONO_NEVER;
    q->msg_cost = 1;
    choose_unit(q);
    scope->waiters = q;
}

void waitq_enter(struct waitq *q, struct waiter *w, int64_t now_ns)
{
    TG_ASSERT(w->queue == NULL);
    if (!q->head)
        credit_idle_time(q, now_ns - q->emptied_ns);
    w->deficit = deficit_on_entry(q, w);
    w->round = q->round + 1;
    w->since_ns = now_ns;
    append(q, w);
    if (q->count == 1)
        rearm(q, now_ns);
}

void waitq_leave(struct waiter *w, int64_t now_ns)
{
    struct waitq *q = w->queue;

    if (!q)
        return;
    if (q->granting == w)
        q->granting = NULL;
    remember(q, w);
    unlink_waiter(q, w);
    if (!q->head) {
        q->emptied_ns = now_ns;
        rearm(q, now_ns);
    }
}

/* Grants the head's next frame. True when it was admitted. */
static bool grant_head(struct waitq *q, int64_t now_ns)
{
    struct waiter *w = next_turn(q);
    int64_t cost = cost_of(q, w);

    q->granting = w;
    enum waiter_result result = q->ops->grant(w, now_ns);
    bool stayed = q->granting == w; /* else it may be freed by now */
    bool admitted = result != WAITER_ELSEWHERE;
    q->granting = NULL;

    if (admitted)
        follow_cost(q, cost);
    if (!stayed)
        return admitted;
    if (admitted) {
        w->deficit -= cost;
        w->since_ns = now_ns;
    }
    if (result != WAITER_SENT)
        waitq_leave(w, now_ns);
    else if (w->deficit <= 0)
        end_turn(q);
    return admitted;
}

uint32_t waitq_fire(struct waitq *q, uint32_t budget, int64_t now_ns)
{
    uint32_t admitted = 0;

    TG_ASSERT(!q->firing);
    q->firing = true;
    for (uint32_t n = 0; n < budget && q->head; n++) {
        if (!tg_limit_has_tokens(&q->scope->limit, now_ns))
            break;
        admitted += grant_head(q, now_ns);
    }
    q->firing = false;
    rearm(q, now_ns);
    return admitted;
}

/* Deficits in another unit mean nothing: all begin again, in the order in which they stand. */
static void begin_anew(struct waitq *q)
{
    struct waiter *w = q->head;
    for (uint32_t i = 0; i < q->count; i++, w = w->next) {
        w->deficit = 1;
        w->round = q->round + 1;
    }
    q->average = 0;
    forget_debts(q);
}

void waitq_limit_changed(struct waitq *q, int64_t now_ns)
{
    if (choose_unit(q))
        begin_anew(q);
    rearm(q, now_ns);
}

int64_t waitq_longest_wait_ns(const struct waitq *q, int64_t now_ns)
{
    int64_t longest_ns = 0;
    const struct waiter *w = q->head;

    for (uint32_t i = 0; i < q->count; i++, w = w->next) {
        int64_t waited_ns = now_ns - w->since_ns;
        longest_ns = waited_ns > longest_ns ? waited_ns : longest_ns;
    }
    return longest_ns;
}

struct scope *waitq_must_wait(const struct path *p, const struct waiter *w, int64_t now_ns)
{
    const struct waitq *in = w ? w->queue : NULL;
    bool had_turn = in != NULL;

    for (uint32_t i = 0; i < p->count; i++) {
        struct scope *s = p->scope[i];
        bool others = s->waiters && s->waiters->count > 0 && !had_turn;
        if (others || !tg_limit_has_tokens(&s->limit, now_ns))
            return s;
        if (in && s == in->scope)
            had_turn = false;
    }
    return NULL;
}
