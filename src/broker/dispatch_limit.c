/* dispatch_limit.c - see dispatch_limit.h: what may be sent, and what it is charged to. Waiting is
 * in dispatch_wait.c.
 *
 * Invariant: outside of a call here or in dispatcher.c nothing is sent that is not charged. */
#include "broker/dispatch_limit.h"

#include <stdlib.h>

#include "base/mono.h"
#include "broker/chain.h"
#include "broker/dispatch_wait.h"
#include "broker/quotas.h"
#include "broker/subscription.h"

#define SOON_NS (50 * MONO_MS) /* what is read ahead may go within that */

static const struct quota_chain *chain_of(const struct subscription *s)
{
    return &s->topic->chain->side[SIDE_DISPATCH];
}

struct topic_line *topic_dispatch_line(const struct topic *t)
{
    return t->dispatch ? &t->dispatch->line : NULL;
}

/* Where a line is, what is delivered is metered there. */
static bool is_limited(const struct subscription *s)
{
    return s->topic->dispatch || (s->limit && tg_limit_is_set(&s->limit->own.limit)) ||
           quota_chain_is_set(chain_of(s));
}

/* Only those who lag are to be held up, and it has nothing behind it but what is new. */
static bool is_spared(const struct subscription *s)
{
    return s->is_tailing && !s->topic->throttle_tailing;
}

static void follow_all(struct subscription *s, int64_t now_ns)
{
    if (s->limit)
        dispatch_follow_own(s->limit, now_ns);
    if (s->topic->dispatch)
        dispatch_follow_topic(s->topic->dispatch, now_ns);
}

/* ---- how much may go ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t part_of(uint64_t room, uint32_t parts)
{
    return room == UINT64_MAX ? room : room / parts;
}

static void bound(struct claim_amount *a, struct scope *scope, uint32_t parts, int64_t now_ns)
{
    uint64_t msgs, bytes;
    tg_limit_room(&scope->limit, &msgs, &bytes, now_ns);
    a->msgs = least(a->msgs, part_of(msgs, parts));
    a->bytes = least(a->bytes, part_of(bytes, parts));
}

/* Who finds tokens of the topic that nobody waits for takes its part of them in one turn and no
 * more: else the first would have them all. */
static uint32_t sharing(const struct subscription *s)
{
    return HASH_COUNT(s->topic->subscriptions);
}

static bool has_had_its_part(const struct subscription *s, int64_t now_ns)
{
    return s->part_ns == now_ns && sharing(s) > 1;
}

/* More than <first>, which may go: what else may without asking again. */
static struct claim_amount room_beside(struct subscription *s, struct claim_amount first,
                                       int64_t now_ns)
{
    struct topic_line *line = topic_dispatch_line(s->topic);
    struct claim_amount room = first;
    if (line)
        room = topic_line_held(line, first);
    else
        quota_leased(&s->shard->quotas, &room.msgs, &room.bytes);
    if (s->limit)
        bound(&room, &s->limit->own, 1, now_ns);
    if (line && tg_limit_is_set(&line->scope.limit)) {
        bool is_dry = line->scope.dry_run; /* nobody is to wait: there is nothing to share out */
        bound(&room, &line->scope, is_dry ? 1 : sharing(s), now_ns);
        if (!is_dry)
            s->part_ns = now_ns;
    }
    return room;
}

static struct quota *lacking(struct subscription *s, struct claim_amount a, int64_t now_ns)
{
    struct topic_line *line = topic_dispatch_line(s->topic);
    if (line)
        return topic_line_lacking(line, a.msgs, a.bytes, now_ns);
    return quota_lacking(chain_of(s), &s->shard->quotas, a.msgs, a.bytes, now_ns);
}

/* It lacks tokens of its own or of the topic; then it waits for them. */
static bool waits_for_scopes(struct subscription *s, struct claim_amount next, int64_t now_ns)
{
    struct topic_line *line = topic_dispatch_line(s->topic);
    if (s->limit && !scope_has_tokens(&s->limit->own, now_ns))
        dispatch_wait_alone(s, next, now_ns);
    else if (line && topic_line_must_wait(line, now_ns))
        dispatch_stand_in_line(s, NULL, next, now_ns);
    return dispatch_waits(s);
}

bool dispatch_ask(struct subscription *s, struct dispatch_leave *l, uint64_t msgs, uint64_t bytes)
{
    struct claim_amount next = {msgs, bytes}, room = {UINT64_MAX, UINT64_MAX};
    int64_t now_ns = shard_now_ns(s->shard);
    dispatch_charge(s, l);
    if (l->is_granted)
        return false;
    l->is_free = !is_limited(s) || is_spared(s);
    if (!l->is_free) {
        follow_all(s, now_ns);
        if (waits_for_scopes(s, next, now_ns))
            return false;
        struct quota *q = lacking(s, next, now_ns);
        if (q || has_had_its_part(s, now_ns)) {
            dispatch_stand_in_line(s, q, next, now_ns);
            return false;
        }
        room = l->at_hand > 1 ? room_beside(s, next, now_ns) : next;
    }
    l->msgs = room.msgs > msgs ? room.msgs : msgs;
    l->bytes = room.bytes > bytes ? room.bytes : bytes;
    return dispatch_may_send(s, l, msgs, bytes);
}

static bool charge_scopes(struct subscription *s, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    struct topic_line *line = topic_dispatch_line(s->topic);
    bool over = s->limit && scope_charge(&s->limit->own, msgs, bytes, now_ns);
    if (line)
        return topic_line_charge(line, msgs, bytes, now_ns) || over;
    return quota_charge(&s->shard->quotas, msgs, bytes) || over;
}

void dispatch_charge(struct subscription *s, struct dispatch_leave *l)
{
    int64_t now_ns = shard_now_ns(s->shard);
    if (l->sent == 0)
        return;
    if (!l->is_free && charge_scopes(s, l->sent_msgs, l->sent_bytes, now_ns))
        s->over_dry_run += l->sent;
    if (s->limit && s->limit->throttled) {
        wait_counts_delayed(&s->limit->counts, l->sent_msgs, l->sent_bytes, now_ns);
        s->limit->delayed.msgs += l->sent_msgs;
        s->limit->delayed.bytes += l->sent_bytes;
    }
    l->sent_msgs = l->sent_bytes = l->sent = 0;
}

/* ---- reads from disk ---- */

static uint64_t passes(int64_t rate, int64_t period_ns)
{
    return rate <= 0 ? UINT64_MAX : (uint64_t)((double)rate * SOON_NS / (double)period_ns);
}

/* What is there of it, and what comes soon. */
static void bound_soon(struct claim_amount *a, struct scope *scope, uint32_t parts, int64_t now_ns)
{
    struct claim_amount now = {UINT64_MAX, UINT64_MAX};
    const struct tg_limit_spec *spec = tg_limit_spec_of(&scope->limit);
    int64_t period_ns = tg_limit_period_ns(spec);
    if (scope->dry_run || !tg_limit_is_set(&scope->limit))
        return;
    bound(&now, scope, parts, now_ns);
    if (spec->msgs.rate > 0)
        a->msgs = least(a->msgs, now.msgs + passes(spec->msgs.rate, period_ns) / parts);
    if (spec->bytes.rate > 0)
        a->bytes = least(a->bytes, now.bytes + passes(spec->bytes.rate, period_ns) / parts);
}

static void bound_by_quota(struct claim_amount *a, struct broker_quota *q)
{
    int64_t period_ns = atomic_load_explicit(&q->period_ns, memory_order_relaxed);
    if (!quota_is_enforced(&q->quota) || period_ns <= 0)
        return;
    int64_t msgs = atomic_load_explicit(&q->rate_msgs, memory_order_relaxed);
    int64_t bytes = atomic_load_explicit(&q->rate_bytes, memory_order_relaxed);
    a->msgs = least(a->msgs, passes(msgs, period_ns));
    a->bytes = least(a->bytes, passes(bytes, period_ns));
}

/* A quota's balance is not looked at: it is many topics'. */
void dispatch_bound_read(struct subscription *s, uint32_t *entries, uint64_t *bytes)
{
    struct topic_line *line = topic_dispatch_line(s->topic);
    struct claim_amount a = {*entries, *bytes};
    int64_t now_ns = shard_now_ns(s->shard);
    if (s->limit)
        bound_soon(&a, &s->limit->own, 1, now_ns);
    if (line)
        bound_soon(&a, &line->scope, sharing(s), now_ns);
    for (uint32_t i = 0; i < chain_of(s)->count; i++)
        bound_by_quota(&a, broker_quota_of(chain_of(s)->quota[i]));
    if (budget_is_over(&s->shard->broker->budget, BUDGET_CACHE))
        a.msgs = 1;
    *entries = a.msgs > 0 ? (uint32_t)a.msgs : 1;
    *bytes = a.bytes > 0 ? a.bytes : 1;
}

bool dispatch_may_read(struct subscription *s, uint32_t *entries, uint64_t *bytes)
{
    if (!is_limited(s) || is_spared(s))
        return true;
    struct claim_amount next = s->limit ? s->limit->next : (struct claim_amount){1, 1};
    if (waits_for_scopes(s, next, shard_now_ns(s->shard)))
        return false;
    dispatch_bound_read(s, entries, bytes);
    return true;
}
