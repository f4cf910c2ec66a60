/* quotas.c - see quotas.h. A claim's letters are carried in envelopes beside it: each exists once,
 * like the letter in it. On the control worker itself they are handed over by a plain call. */
#include "broker/quotas.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "broker/broker.h"
#include "broker/topic.h"

enum { TURNS_PER_LOOP_TURN = 512 }; /* of one quota's queue, before other work goes on */

static struct topic_claim *claim_of(struct claim_letter *l)
{
    return (struct topic_claim *)l->claim;
}

/* ---- letters ---- */

static void read_at_home(struct letter *l, struct shard *at)
{
    home_receive(&at->broker->quotas->home, ((struct envelope *)l)->content, shard_now_ns(at));
}

static void post_home(struct claim_letter *l)
{
    struct topic_claim *c = claim_of(l);
    struct shard *control = shard_control(c->shard);
    struct envelope *e = &c->envelope[l->kind];
    e->content = l;
    if (c->shard == control)
        home_receive(&control->broker->quotas->home, l, shard_now_ns(control));
    else
        letter_post(c->shard, control, &e->letter, read_at_home, NULL);
}

static void come_back(struct claim_letter *l)
{
    struct topic_line *line = claim_of(l)->line;
    if (claim_received(l))
        topic_line_claim_answered(line);
}

static void read_at_topic(struct letter *l, struct shard *at)
{
    (void)at;
    come_back(((struct envelope *)l)->content);
}

static void post_back(void *ctx, struct claim_letter *l)
{
    struct quotas *q = ctx;
    struct topic_claim *c = claim_of(l);
    if (c->shard == q->control)
        come_back(l);
    else
        letter_post(q->control, c->shard, &c->envelope[l->kind].letter, read_at_topic, NULL);
}

/* ---- the home ---- */

static void arm(void *ctx, struct quota *quota, int64_t deadline_ns)
{
    struct quotas *of = ctx;
    struct broker_quota *q = broker_quota_of(quota);
    int64_t now_ns = shard_now_ns(of->control);
    atomic_store_explicit(&q->waiting, home_waiting(quota, now_ns).claims, memory_order_relaxed);
    if (deadline_ns == MONO_NEVER)
        timer_disarm(of->control->worker, &q->timer);
    else
        timer_arm(of->control->worker, &q->timer, deadline_ns);
}

static void fired(struct timer *t, int64_t now_ns)
{
    struct broker_quota *q =
        (struct broker_quota *)((char *)t - offsetof(struct broker_quota, timer));
    (void)home_fire(&q->of->home, &q->quota, TURNS_PER_LOOP_TURN, now_ns);
}

static const struct home_ops home_ops = {.post_back = post_back, .arm = arm};

struct quotas *quotas_new(struct shard *control)
{
    struct quotas *q = xcalloc(1, sizeof *q);
    q->control = control;
    quota_watch_init(&q->watch);
    home_init(&q->home, &home_ops, q);
    broker_quotas_new(q->broker, q, SCOPE_BROKER, "broker");
    return q;
}

void quotas_free(struct quotas *q)
{
    if (!q)
        return;
    broker_quotas_let_go(q->broker);
    free(q);
}

static struct broker_quota *quota_new(struct quotas *of, enum scope_kind kind, const char *name,
                                      enum limit_side side)
{
    struct broker_quota *q =
        xcalloc_aligned(_Alignof(struct broker_quota), 1, sizeof(struct broker_quota));
    q->name = xstrdup(name);
    quota_init(&q->quota, kind, q->name, 1, (uint32_t)of->control->broker->shards);
    q->quota.side = side;
    timer_init(&q->timer, fired);
    q->of = of;
    DL_APPEND2(of->all[side], q, all_prev, all_next);
    return q;
}

void broker_quotas_new(struct broker_quota *out[LIMIT_SIDES], struct quotas *of,
                       enum scope_kind kind, const char *name)
{
    for (int side = 0; side < LIMIT_SIDES; side++)
        out[side] = quota_new(of, kind, name, (enum limit_side)side);
}

static void free_if_unused(struct broker_quota *q)
{
    if (!q->let_go || q->chains > 0)
        return;
    if (q->of->ended)
        home_abandon(&q->quota);
    else
        home_forget(&q->quota);
    timer_disarm(q->of->control->worker, &q->timer);
    quota_watch_update(q, false);
    DL_DELETE2(q->of->all[q->quota.side], q, all_prev, all_next);
    quota_fini(&q->quota);
    free(q->name);
    free(q);
}

void broker_quotas_let_go(struct broker_quota *q[LIMIT_SIDES])
{
    for (int side = 0; side < LIMIT_SIDES; side++) {
        q[side]->let_go = true;
        free_if_unused(q[side]);
    }
}

void broker_quota_left_chain(struct broker_quota *q)
{
    q->chains--;
    free_if_unused(q);
}

void broker_quota_set(struct broker_quota *q, const struct rate_policy *p, enum limit_source source)
{
    const struct tg_limit_spec *spec = &p->spec;
    struct shard *control = q->of->control;
    int percent = (int)control->broker->settings->initial_burst_percent;
    atomic_store_explicit(&q->rate_msgs, spec->msgs.rate, memory_order_relaxed);
    atomic_store_explicit(&q->rate_bytes, spec->bytes.rate, memory_order_relaxed);
    atomic_store_explicit(&q->period_ns, tg_limit_period_ns(spec), memory_order_relaxed);
    int64_t now_ns = shard_now_ns(control);
    quota_watch_update(q, tg_limit_spec_is_set(spec));
    (void)home_set_limit(&q->quota, spec, p->present ? source : LIMIT_UNSET, percent, now_ns);
    (void)home_set_dry_run(&q->quota, p->dry_run, now_ns);
    home_set_weight(&q->quota, weight_or_1(p->weight));
}

/* ---- a line's claim ---- */

static void released(struct claim *claim)
{
    struct topic_claim *c = (struct topic_claim *)claim;
    struct topic *t = c->line->topic;
    free(c);
    topic_claim_released(t);
}

static const struct claim_ops claim_ops = {.post_home = post_home, .released = released};

struct topic_claim *topic_claim_new(struct topic_line *line)
{
    struct topic_claim *c = xcalloc_aligned(_Alignof(struct topic_claim), 1, sizeof *c);
    claim_init(&c->claim, &claim_ops, line->chain, line->weight);
    c->line = line;
    c->shard = line->topic->shard;
    return c;
}

void topic_claim_close(struct topic_claim *c)
{
    claim_close(&c->claim);
}

void topic_claim_drop(struct topic_claim *c)
{
    free(c);
}
