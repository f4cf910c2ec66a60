/* dispatch_wait.c - a subscription that lacks tokens: it waits alone for its own limit, or stands
 * in its topic's line and sends an entry when it is its turn.
 *
 * Invariants: it stands in line <=> binding is the line's scope, outside of its own grant; its
 * timer is armed <=> binding is <own>. Only a subscription that is throttled keeps entries. */
#include "broker/dispatch_wait.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "broker/chain.h"
#include "broker/subscription.h"
#include "broker/throttle_log.h"

enum { WANTED_ENTRIES = 100 }; /* that a subscription asks a quota for at once */

static struct dispatch_limit *limit_of_waiter(struct waiter *w)
{
    return (struct dispatch_limit *)((char *)w - offsetof(struct dispatch_limit, waiter));
}

static bool is_alone(const struct dispatch_limit *lim)
{
    return lim->binding == &lim->own;
}

bool dispatch_waits(const struct subscription *s)
{
    return s->limit && s->limit->binding;
}

/* ---- what is made when it is needed ---- */

static const struct waitq_ops line_ops;
static void line_fired(struct timer *timer, int64_t now_ns);
static void own_fired(struct timer *timer, int64_t now_ns);

struct topic_dispatch *topic_dispatch_of(struct topic *t)
{
    if (t->dispatch)
        return t->dispatch;
    struct topic_dispatch *d = xcalloc(1, sizeof *d);
    topic_line_init(&d->line, t, &line_ops, &t->chain->side[SIDE_DISPATCH]);
    timer_init(&d->line.timer, line_fired);
    d->line.scope.side = SIDE_DISPATCH;
    d->line.weight = weight_or_1(t->dispatch_weight);
    t->dispatch = d;
    return d;
}

static struct topic_line *line_of(const struct subscription *s)
{
    return &topic_dispatch_of(s->topic)->line;
}

struct dispatch_limit *dispatch_limit_of(struct subscription *s)
{
    if (s->limit)
        return s->limit;
    struct dispatch_limit *lim = xcalloc(1, sizeof *lim);
    lim->sub = s;
    scope_init(&lim->own, SCOPE_SUBSCRIPTION, s->name);
    lim->own.side = SIDE_DISPATCH;
    timer_init(&lim->timer, own_fired);
    waiter_init(&lim->waiter, weight_or_1(dispatch_rate_of(s).weight));
    wait_counts_init(&lim->counts);
    lim->next = (struct claim_amount){1, 1};
    s->limit = lim;
    return lim;
}

/* ---- what is at hand ---- */

static void drop_head(struct dispatch_limit *lim)
{
    ls_entries_release(lim->sub->shard->log, lim->head_hold);
    lim->head_hold = NULL;
    lim->has_head = false;
}

/* ---- beginning and ending ---- */

static enum throttle_reason reason_of(const struct dispatch_limit *lim)
{
    if (!lim->binding)
        return REASON_COUNT;
    return reason_of_scope(lim->lacking ? lim->lacking->kind : lim->binding->kind);
}

static void count_hit(struct dispatch_limit *lim, int64_t now_ns)
{
    enum throttle_reason r = reason_of(lim);
    topic_line_throttling(line_of(lim->sub))->hits[r]++;
    if (lim->lacking) {
        struct tg_shared_limit *l = &lim->lacking->limit;
        lim->hits[r][0] += tg_shared_limit_balance_msgs(l, now_ns) <= 0;
        lim->hits[r][1] += tg_shared_limit_balance_bytes(l, now_ns) <= 0;
    } else {
        struct tg_limit *l = &lim->binding->limit;
        lim->hits[r][0] += tg_limit_balance_msgs(l, now_ns) <= 0;
        lim->hits[r][1] += tg_limit_balance_bytes(l, now_ns) <= 0;
    }
}

/* It asks quotas for no more than it could send. */
static void set_wanted(struct dispatch_limit *lim, struct claim_amount next)
{
    const struct subscription *s = lim->sub;
    struct claim_amount *of_line = &line_of(s)->wanted;
    uint64_t end = s->topic->durable_end;
    uint64_t n = (end > s->read_next ? end - s->read_next : 0) + replay_len(&s->replay);
    n = n < WANTED_ENTRIES ? n : WANTED_ENTRIES;
    struct claim_amount wanted = {next.msgs * n, next.bytes * n};
    of_line->msgs += wanted.msgs - lim->wanted.msgs;
    of_line->bytes += wanted.bytes - lim->wanted.bytes;
    lim->wanted = wanted;
    lim->next = next;
}

static void arm_own(struct dispatch_limit *lim, int64_t now_ns)
{
    int64_t deadline_ns = mono_add(now_ns, scope_wait_ns(&lim->own, now_ns));
    if (deadline_ns == MONO_NEVER)
        deadline_ns--; /* armed, however far away */
    timer_arm(lim->sub->shard->worker, &lim->timer,
              dispatch_follow_by(&lim->rate, deadline_ns, now_ns));
}

void dispatch_wait_alone(struct subscription *s, struct claim_amount next, int64_t now_ns)
{
    struct dispatch_limit *lim = dispatch_limit_of(s);
    lim->next = next;
    lim->binding = &lim->own;
    arm_own(lim, now_ns);
    count_hit(lim, now_ns);
}

void dispatch_stand_in_line(struct subscription *s, struct quota *lacking, struct claim_amount next,
                            int64_t now_ns)
{
    struct dispatch_limit *lim = dispatch_limit_of(s);
    struct topic_line *line = line_of(s);
    lim->binding = &line->scope;
    lim->lacking = lacking;
    set_wanted(lim, next);
    waitq_enter(&line->waiters, &lim->waiter, now_ns);
    count_hit(lim, now_ns);
}

/* All but leaving the line, which in a grant is the line's to do. */
static void end_waiting(struct dispatch_limit *lim)
{
    struct topic_line *line = line_of(lim->sub);
    if (is_alone(lim))
        timer_disarm(lim->sub->shard->worker, &lim->timer);
    line->wanted.msgs -= lim->wanted.msgs;
    line->wanted.bytes -= lim->wanted.bytes;
    lim->wanted = (struct claim_amount){0, 0};
    lim->binding = NULL;
    lim->lacking = NULL;
    if (lim->has_turn) /* the others need not wait for its read */
        waitq_kick(&line->waiters, shard_now_ns(lim->sub->shard));
    lim->has_turn = false;
}

/* ---- being counted ---- */

static struct waits *waits_of(struct dispatch_limit *lim)
{
    if (lim->lacking)
        return &lim->lacking->waits;
    return lim->binding ? scope_waits(lim->binding) : NULL;
}

static void settle(struct dispatch_limit *lim)
{
    struct subscription *s = lim->sub;
    struct topic_line *line = line_of(s);
    int64_t now_ns = shard_now_ns(s->shard);
    bool waits = lim->binding != NULL;
    wait_counts_move(&lim->counts, waits_of(lim), now_ns);
    wait_counts_reason(&lim->counts, line, reason_of(lim), now_ns);
    if (!waits || (!lim->has_turn && !dispatch_may_keep(s->shard)))
        dispatch_drop_kept(lim);
    if (waits == lim->throttled)
        return;
    lim->throttled = waits;
    if (!waits) {
        throttle_log_dispatch_ended(s);
        return;
    }
    lim->throttled_wall_ns = shard_wall_ns(s->shard);
    topic_line_throttling(line)->times++;
    throttle_log_dispatch_began(s);
}

void dispatch_settle(struct subscription *s)
{
    struct dispatch_limit *lim = s->limit;
    if (!lim || (!lim->binding && (s->reading || !lim->throttled)))
        return; /* read for: it goes on in a moment */
    settle(lim);
}

void dispatch_stop_waiting(struct subscription *s)
{
    struct dispatch_limit *lim = s->limit;
    int64_t now_ns = shard_now_ns(s->shard);
    if (!dispatch_waits(s))
        return;
    waitq_leave(&lim->waiter, now_ns);
    end_waiting(lim);
    topic_line_ran(line_of(s), now_ns);
}

/* ---- waiting alone ---- */

void dispatch_go_on(struct dispatch_limit *lim)
{
    if (!is_alone(lim))
        return;
    end_waiting(lim);
    topic_mark_dirty(lim->sub->topic);
}

static void own_fired(struct timer *timer, int64_t now_ns)
{
    struct dispatch_limit *lim =
        (struct dispatch_limit *)((char *)timer - offsetof(struct dispatch_limit, timer));
    dispatch_follow_own(lim, now_ns);
    if (scope_has_tokens(&lim->own, now_ns))
        dispatch_go_on(lim);
    else
        arm_own(lim, now_ns);
}

/* ---- in line ---- */

/* The queue asks right before it grants: what is fetched for the answer is sent then. */
static void waiter_cost(struct waiter *w, uint64_t *msgs, uint64_t *bytes)
{
    struct dispatch_limit *lim = limit_of_waiter(w);
    drop_head(lim);
    lim->has_head = dispatch_fetch_next(lim->sub, &lim->head, &lim->head_hold);
    if (lim->has_head)
        lim->next = dispatch_cost(lim->sub, &lim->head);
    *msgs = lim->next.msgs;
    *bytes = lim->next.bytes;
}

static bool lacks_own(struct dispatch_limit *lim, int64_t now_ns)
{
    dispatch_follow_own(lim, now_ns);
    return !scope_has_tokens(&lim->own, now_ns);
}

static enum waiter_result wait_elsewhere(struct dispatch_limit *lim, enum waiter_result r,
                                         int64_t now_ns)
{
    end_waiting(lim);
    dispatch_wait_alone(lim->sub, lim->next, now_ns);
    return r;
}

/* What it stays in line for. */
static void wait_on(struct dispatch_limit *lim, struct quota *lacking)
{
    lim->lacking = lacking;
    set_wanted(lim, lim->next);
}

/* The head has gone. */
static enum waiter_result after_sending(struct dispatch_limit *lim, int64_t now_ns)
{
    if (!dispatch_could_send(lim->sub)) {
        end_waiting(lim);
        return WAITER_DONE;
    }
    if (lacks_own(lim, now_ns))
        return wait_elsewhere(lim, WAITER_DONE, now_ns);
    bool topic_has = scope_has_tokens(&line_of(lim->sub)->scope, now_ns);
    wait_on(lim, topic_has ? lim->lacking : NULL);
    return WAITER_SENT;
}

bool dispatch_reads_in_turn(const struct subscription *s)
{
    return s->limit && s->limit->has_turn;
}

void dispatch_turn_goes_on(struct subscription *s)
{
    if (dispatch_reads_in_turn(s))
        waitq_kick(&line_of(s)->waiters, shard_now_ns(s->shard));
}

/* It has its turn, and what it would send is not in memory. It reads that and comes again, and the
 * next one has its turn; but where no more may be kept until it comes again, all wait. */
static enum waiter_result read_head(struct dispatch_limit *lim)
{
    struct subscription *s = lim->sub;
    if (lim->has_turn && s->reading)
        return WAITER_UPSTREAM; /* woken by something else */
    bool in_turn = !dispatch_may_keep(s->shard);
    lim->has_turn = dispatch_read_next(s, in_turn ? 1 : UINT32_MAX) && in_turn;
    if (lim->has_turn)
        return WAITER_UPSTREAM;
    end_waiting(lim);
    return WAITER_ELSEWHERE;
}

static enum waiter_result grant(struct dispatch_limit *lim, int64_t now_ns)
{
    struct subscription *s = lim->sub;
    struct topic_line *line = line_of(s);
    if (lacks_own(lim, now_ns))
        return wait_elsewhere(lim, WAITER_ELSEWHERE, now_ns);
    if (!lim->has_head)
        return read_head(lim);
    lim->has_turn = false;
    struct quota *lacking = topic_line_lacking(line, lim->next.msgs, lim->next.bytes, now_ns);
    if (lacking) {
        wait_on(lim, lacking);
        topic_line_ask(line, lacking, lim->next, now_ns);
        return WAITER_UPSTREAM;
    }
    struct dispatch_leave l = {
        .is_granted = true, .msgs = lim->next.msgs, .bytes = lim->next.bytes};
    if (dispatch_send_one(s, &l, &lim->head))
        return after_sending(lim, now_ns);
    end_waiting(lim);
    return WAITER_ELSEWHERE;
}

static enum waiter_result waiter_grant(struct waiter *w, int64_t now_ns)
{
    struct dispatch_limit *lim = limit_of_waiter(w);
    enum waiter_result r = grant(lim, now_ns);
    drop_head(lim);
    dispatch_settle(lim->sub);
    if (r == WAITER_DONE && !lim->binding)
        topic_mark_dirty(lim->sub->topic); /* it may have caught up */
    return r;
}

static void line_arm(void *line, int64_t deadline_ns)
{
    const struct topic_dispatch *d = line;
    int64_t now_ns = shard_now_ns(d->line.topic->shard);
    topic_line_arm(line, dispatch_follow_by(&d->rate, deadline_ns, now_ns));
}

static const struct waitq_ops line_ops = {
    .cost = waiter_cost, .grant = waiter_grant, .arm = line_arm};

static void line_fired(struct timer *timer, int64_t now_ns)
{
    struct topic_dispatch *d =
        (struct topic_dispatch *)((char *)timer - offsetof(struct topic_dispatch, line.timer));
    dispatch_follow_topic(d, now_ns);
    topic_line_fired(timer, now_ns);
}

/* ---- what it waits for goes ---- */

/* What somebody waits for may be in the chain no more: he waits for the narrowest then, until his
 * turn says what for. Nobody may be counted at a quota that goes. */
void dispatch_chain_changed(struct topic *t)
{
    struct topic_line *line = topic_dispatch_line(t);
    if (!line)
        return;
    for (struct subscription *s = t->subscriptions; s; s = s->hh.next) {
        struct dispatch_limit *lim = s->limit;
        if (!lim)
            continue;
        if (lim->lacking && !quota_chain_has(line->chain, lim->lacking))
            lim->lacking = line->chain->quota[0];
        settle(lim);
    }
    waitq_kick(&line->waiters, shard_now_ns(t->shard));
}

void dispatch_limit_free(struct subscription *s)
{
    struct dispatch_limit *lim = s->limit;
    if (!lim)
        return;
    if (lim->binding || lim->throttled) {
        dispatch_stop_waiting(s);
        settle(lim);
    }
    dispatch_drop_kept(lim);
    scope_fini(&lim->own);
    free(lim);
    s->limit = NULL;
}

void topic_dispatch_free(struct topic *t)
{
    if (t->dispatch)
        topic_line_fini(&t->dispatch->line);
    free(t->dispatch);
    t->dispatch = NULL;
}

/* ---- for statistics ---- */

enum throttle_reason dispatch_reason(const struct subscription *s)
{
    return s->limit ? reason_of(s->limit) : REASON_COUNT;
}

const char *dispatch_waits_for(const struct subscription *s)
{
    const struct dispatch_limit *lim = s->limit;
    if (!lim || !lim->binding)
        return NULL;
    return lim->lacking ? lim->lacking->name : lim->binding->name;
}
