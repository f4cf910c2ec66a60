/* workers.h - a broker of several workers on a virtual clock: quotas, topics with queues and
 * claims, producers. The code under test is the real one (throttle/, quota/, limiter/); simulated
 * are the clock, the loop turns, the timers, the mail between the workers, and the clients.
 *
 * A turn takes no time (or some, with its clock standing still: lag_max_ns), and is followed by
 * some in which its worker does nothing else: what comes meanwhile is done in the next turn. Mail
 * takes a random time, and stays in order. Between a topic and a home on the same worker letters
 * are plain calls, or mail of the next turn (by seed).
 *
 * At every step it checks for every quota and topic limit, and every window, admitted <= burst +
 * rate * t + one frame; and after every turn of the home that a quota is binding <=> its queue
 * is busy, and its timer armed <=> somebody waits. */
#ifndef TESTS_SIM_WORKERS_H
#define TESTS_SIM_WORKERS_H

#include "sim/sim.h"

#include "quota/quota.h"
#include "throttle/claim.h"
#include "throttle/home.h"

enum {
    W_WORKERS_MAX = 4,
    W_QUOTAS_MAX = 64,
    W_FIRE_BUDGET = 64,
    W_PARKED_MAX =
        20000, /* frames of one producer that the broker has; the rest is at the client */
};

struct world;
struct w_topic;

/* How much more than the rate any window up to now holds, in tokens * ns; and the largest frame. */
struct w_window {
    __int128 msgs, bytes;
    uint64_t max_msgs, max_bytes;
    int64_t at_ns;
};

struct w_quota {
    struct world *world;
    struct quota quota;
    struct w_quota *parent, *group; /* what contains it; a resource group hung on it; or NULL */
    struct w_window window;
    int64_t armed_ns;
    bool unchecked;       /* by a test that lets more pass: a dry run */
    uint64_t msgs, bytes; /* admitted */
    uint64_t turns;
};

struct w_producer {
    struct waiter waiter; /* first */
    struct w_topic *topic;
    uint64_t backlog;
    uint64_t frame_msgs, frame_bytes; /* the next frame */
    int64_t min_bytes, max_bytes;
    int64_t every_ns; /* > 0: so often it offers a frame, whatever has become of the others */
    int64_t think_ns; /* > 0: so long after a frame was admitted it offers another */
    bool closed;
    uint64_t sent, sent_msgs, sent_bytes;
    int64_t next_ns;  /* every_ns > 0: when the next frame to be sent was offered */
    int64_t worst_ns; /* of those: from offered to sent */
};

struct w_claim {
    struct claim claim;    /* first */
    struct w_topic *topic; /* NULL: gone */
    struct world *world;
    uint32_t worker;
    uint32_t asks, answers; /* letters of that kind posted, and received */
};

struct w_topic {
    struct world *world;
    uint32_t worker;
    struct quota *narrowest;
    struct quota_chain chain;
    struct scope scope;
    struct path path;
    struct waitq q;
    struct w_claim *claim;
    struct w_window window;
    int64_t armed_ns;
    struct w_producer **producer;
    uint32_t producers, cap;
    uint64_t sent_msgs, sent_bytes;
};

enum w_what {
    W_TURN_END,
    W_TOPIC_TIMER,
    W_QUOTA_TIMER,
    W_TO_HOME,
    W_BACK,
    W_NOTHING,
    W_OFFER,
    W_ACTION
};

struct w_event {
    int64_t at_ns;
    uint64_t order;
    uint32_t worker;
    enum w_what what;
    void *of;
    int64_t deadline_ns; /* timers: void unless still armed for this */
};

struct w_worker {
    struct quota_worker leases;
    bool in_turn;
    int64_t clock_ns;               /* read when the turn began */
    int64_t free_ns;                /* when the next turn may begin */
    int64_t mail_ns[W_WORKERS_MAX]; /* when the last letter to each arrives */
    uint64_t letters;
};

struct world {
    int64_t now_ns;
    uint64_t rng, order;
    uint32_t workers;
    struct w_worker worker[W_WORKERS_MAX];
    int64_t mail_max_ns, turn_max_ns;
    int64_t lag_max_ns; /* turns take up to that long, with the clock read at their beginning */
    bool direct;        /* same worker: calls */
    struct home home;
    struct w_quota quota[W_QUOTAS_MAX];
    uint32_t quotas;
    struct w_topic *topic;
    uint32_t topics;
    struct w_event *heap;
    size_t events, cap;
    uint64_t sent;
    uint32_t claims; /* alive */
    uint64_t asks, answers;
    void (*action)(struct world *w);       /* of W_ACTION */
    void (*on_sent)(struct w_producer *p); /* or NULL */
};

static inline int64_t w_clock(const struct world *w, uint32_t worker)
{
    const struct w_worker *k = &w->worker[worker];
    return k->in_turn ? k->clock_ns : w->now_ns;
}

/* ---- events ---- */

static inline bool w_earlier(const struct w_event *a, const struct w_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static inline void w_push(struct world *w, struct w_event e)
{
    if (w->events == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 1024;
        w->heap = realloc(w->heap, w->cap * sizeof *w->heap);
        assert_non_null(w->heap);
    }
    e.at_ns = e.at_ns > w->now_ns ? e.at_ns : w->now_ns;
    e.order = w->order++;
    size_t i = w->events++;
    for (; i > 0 && w_earlier(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = e;
}

static inline struct w_event w_pop(struct world *w)
{
    struct w_event top = w->heap[0], e = w->heap[--w->events];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->events)
            break;
        if (child + 1 < w->events && w_earlier(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!w_earlier(&w->heap[child], &e))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = e;
    return top;
}

static inline void w_at(struct world *w, int64_t at_ns, uint32_t worker, enum w_what what, void *of)
{
    w_push(w, (struct w_event){
                  .at_ns = at_ns, .worker = worker, .what = what, .of = of, .deadline_ns = at_ns});
}

/* ---- letters ---- */

static inline void w_mail(struct world *w, uint32_t from, uint32_t to, enum w_what what, void *of)
{
    int64_t *last_ns = &w->worker[from].mail_ns[to];
    int64_t delay_ns = from == to ? 0 : rng_between(&w->rng, 0, w->mail_max_ns);
    int64_t at_ns = w->now_ns + delay_ns;
    *last_ns = at_ns > *last_ns ? at_ns : *last_ns;
    w->worker[from].letters++;
    w_at(w, *last_ns, to, what, of);
}

static inline void w_received(struct claim_letter *l);

static inline void w_post_home(struct claim_letter *l)
{
    struct w_claim *c = (struct w_claim *)l->claim;
    struct world *w = c->world;
    c->asks += l->kind == CLAIM_ASK;
    w->asks += l->kind == CLAIM_ASK;
    if (c->worker == 0 && w->direct)
        home_receive(&w->home, l, w_clock(w, 0));
    else
        w_mail(w, c->worker, 0, W_TO_HOME, l);
}

static inline void w_post_back(void *ctx, struct claim_letter *l)
{
    struct world *w = ctx;
    struct w_claim *c = (struct w_claim *)l->claim;
    c->answers += l->kind == CLAIM_ASK;
    w->answers += l->kind == CLAIM_ASK;
    SIM_CHECK(c->answers <= c->asks, "an ask was answered twice");
    if (c->worker == 0 && w->direct)
        w_received(l);
    else
        w_mail(w, 0, c->worker, W_BACK, l);
}

static inline void w_released(struct claim *claim)
{
    struct w_claim *c = (struct w_claim *)claim;
    SIM_CHECK(c->asks == c->answers, "released with an ask out");
    c->world->claims--;
    free(c);
}

static const struct claim_ops w_claim_ops = {.post_home = w_post_home, .released = w_released};

/* ---- timers ---- */

static inline void w_arm_topic(void *ctx, int64_t deadline_ns)
{
    struct w_topic *t = ctx;
    t->armed_ns = deadline_ns;
    if (deadline_ns < MONO_NEVER - 1)
        w_at(t->world, deadline_ns, t->worker, W_TOPIC_TIMER, t);
}

static inline struct w_quota *w_quota_of(struct quota *q)
{
    return (struct w_quota *)((char *)q - offsetof(struct w_quota, quota));
}

static inline void w_arm_quota(void *ctx, struct quota *q, int64_t deadline_ns)
{
    w_quota_of(q)->armed_ns = deadline_ns;
    if (deadline_ns < MONO_NEVER - 1)
        w_at(ctx, deadline_ns, 0, W_QUOTA_TIMER, w_quota_of(q));
}

static const struct home_ops w_home_ops = {.post_back = w_post_back, .arm = w_arm_quota};

/* ---- the contract ---- */

static inline void w_admit(const struct world *w, __int128 *excess, uint64_t *largest,
                           const struct tg_rate_spec *r, int64_t dt_ns, uint64_t n)
{
    __int128 burst = r->burst ? r->burst : r->rate;
    __int128 late =
        (__int128)r->rate * w->lag_max_ns; /* by a clock on the wall: limiter/shared.h */
    if (r->rate <= 0)
        return;
    *excess -= (__int128)r->rate * dt_ns;
    *excess = *excess < 0 ? 0 : *excess;
    *excess += (__int128)n * MONO_S;
    *largest = n > *largest ? n : *largest;
    SIM_CHECK(*excess <= (burst + *largest) * MONO_S + late,
              "more than burst + rate * t + one frame");
}

/* Frames of several workers are admitted in another order than that in which they were granted, so
 * it is not always the last one that overdraws a quota. */
static inline void w_check_window(struct world *w, struct w_window *x,
                                  const struct tg_limit_spec *spec, uint64_t msgs, uint64_t bytes)
{
    int64_t dt_ns = w->now_ns - x->at_ns;
    w_admit(w, &x->msgs, &x->max_msgs, &spec->msgs, dt_ns, msgs);
    w_admit(w, &x->bytes, &x->max_bytes, &spec->bytes, dt_ns, bytes);
    x->at_ns = w->now_ns;
}

/* ---- topics and producers: what broker/publish.c does, without the bytes ---- */

static inline void w_next_frame(struct w_producer *p)
{
    p->frame_bytes = (uint64_t)rng_between(&p->topic->world->rng, p->min_bytes, p->max_bytes);
}

static inline void w_send(struct w_producer *p)
{
    struct w_topic *t = p->topic;
    struct world *w = t->world;
    w_check_window(w, &t->window, tg_limit_spec_of(&t->scope.limit), p->frame_msgs, p->frame_bytes);
    for (uint32_t i = 0; i < t->chain.count; i++) {
        struct w_quota *wq = w_quota_of(t->chain.quota[i]);
        if (!wq->unchecked)
            w_check_window(w, &wq->window, &wq->quota.limit.spec, p->frame_msgs, p->frame_bytes);
        wq->msgs += p->frame_msgs;
        wq->bytes += p->frame_bytes;
    }
    path_charge(&t->path, p->frame_msgs, p->frame_bytes, w_clock(w, t->worker));
    claim_charge(t->claim ? &t->claim->claim : NULL, &t->chain, &w->worker[t->worker].leases,
                 p->frame_msgs, p->frame_bytes, w_clock(w, t->worker));
    p->backlog--;
    p->sent++;
    p->sent_msgs += p->frame_msgs;
    p->sent_bytes += p->frame_bytes;
    t->sent_msgs += p->frame_msgs;
    t->sent_bytes += p->frame_bytes;
    w->sent++;
    if (p->every_ns > 0) {
        int64_t took_ns = w->now_ns - p->next_ns;
        p->worst_ns = took_ns > p->worst_ns ? took_ns : p->worst_ns;
        p->next_ns += p->every_ns;
    }
    w_next_frame(p);
    if (p->think_ns > 0 && !p->closed)
        w_at(w, w->now_ns + p->think_ns, t->worker, W_OFFER, p);
    if (w->on_sent)
        w->on_sent(p);
}

static inline struct claim_amount w_demand(const struct w_topic *t)
{
    struct claim_amount d = {0, 0};
    for (uint32_t i = 0; i < t->producers; i++) {
        const struct w_producer *p = t->producer[i];
        uint64_t parked = p->backlog < W_PARKED_MAX ? p->backlog : W_PARKED_MAX;
        if (parked == 0)
            continue;
        uint64_t mean = (uint64_t)(p->min_bytes + p->max_bytes + 1) / 2;
        d.msgs += parked * p->frame_msgs;
        d.bytes += p->frame_bytes + (parked - 1) * mean;
    }
    return d;
}

static inline struct claim *w_claim_of(struct w_topic *t)
{
    if (!t->claim) {
        t->claim = calloc(1, sizeof *t->claim);
        assert_non_null(t->claim);
        t->claim->topic = t;
        t->claim->world = t->world;
        t->claim->worker = t->worker;
        claim_init(&t->claim->claim, &w_claim_ops, &t->chain, 1);
        t->world->claims++;
    }
    return &t->claim->claim;
}

static inline void w_ask(struct w_topic *t, const struct w_producer *p, struct quota *lacking)
{
    struct claim_amount head = {p->frame_msgs, p->frame_bytes};
    struct claim_amount demand =
        claim_bound_demand(&t->path, head, w_demand(t), w_clock(t->world, t->worker));
    claim_ask(w_claim_of(t), lacking, head, demand);
}

static inline struct quota *w_lacking(struct w_producer *p)
{
    struct w_topic *t = p->topic;
    struct world *w = t->world;
    return claim_lacking(t->claim ? &t->claim->claim : NULL, &t->chain,
                         &w->worker[t->worker].leases, p->frame_msgs, p->frame_bytes,
                         w_clock(w, t->worker));
}

static inline void w_cost(struct waiter *waiter, uint64_t *msgs, uint64_t *bytes)
{
    struct w_producer *p = (struct w_producer *)waiter;
    *msgs = p->frame_msgs;
    *bytes = p->frame_bytes;
}

static inline enum waiter_result w_grant(struct waiter *waiter, int64_t now_ns)
{
    struct w_producer *p = (struct w_producer *)waiter;
    (void)now_ns;
    if (p->backlog == 0)
        return WAITER_ELSEWHERE;
    struct quota *q = w_lacking(p);
    if (q) {
        w_ask(p->topic, p, q);
        return WAITER_UPSTREAM;
    }
    w_send(p);
    return p->backlog > 0 ? WAITER_SENT : WAITER_DONE;
}

static const struct waitq_ops w_waitq_ops = {.cost = w_cost, .grant = w_grant, .arm = w_arm_topic};

static inline void w_queue_ran(struct w_topic *t)
{
    if (t->claim)
        claim_queue_ran(&t->claim->claim, &t->q, w_clock(t->world, t->worker));
}

static inline void w_fire_topic(struct w_topic *t)
{
    if (t->q.firing)
        return; /* an answer by a plain call: it was kicked */
    waitq_fire(&t->q, W_FIRE_BUDGET, w_clock(t->world, t->worker));
    w_queue_ran(t);
}

static inline void w_received(struct claim_letter *l)
{
    struct w_claim *c = (struct w_claim *)l->claim;
    struct w_topic *t = c->topic;
    struct world *w = c->world;
    if (!claim_received(l) || !t)
        return;
    waitq_kick(&t->q, w_clock(w, t->worker));
    w_fire_topic(t);
}

static inline void w_offer(struct w_producer *p, uint64_t frames)
{
    struct w_topic *t = p->topic;
    struct world *w = t->world;
    if (p->closed)
        return;
    p->backlog += frames;
    while (p->backlog > 0 && !waiter_waits(&p->waiter)) {
        if (waitq_must_wait(&t->path, NULL, w_clock(w, t->worker))) {
            waitq_enter(&t->q, &p->waiter, w_clock(w, t->worker));
            return;
        }
        struct quota *q = w_lacking(p);
        if (q) {
            waitq_enter(&t->q, &p->waiter, w_clock(w, t->worker));
            waitq_sleep(&t->q);
            w_ask(t, p, q);
            return;
        }
        w_send(p);
    }
}

static inline void w_offer_every(struct w_producer *p, int64_t every_ns)
{
    p->every_ns = every_ns;
    p->next_ns = p->topic->world->now_ns;
    w_at(p->topic->world, p->next_ns, p->topic->worker, W_OFFER, p);
}

static inline void w_close(struct w_producer *p)
{
    p->backlog = 0;
    p->closed = true;
    waitq_leave(&p->waiter, w_clock(p->topic->world, p->topic->worker));
    if (!p->topic->q.firing)
        w_queue_ran(p->topic);
}

static inline void w_close_claim(struct w_topic *t)
{
    struct w_claim *c = t->claim;
    t->claim = NULL;
    if (!c)
        return;
    c->topic = NULL;
    claim_close(&c->claim);
}

/* Closes its producers; the claim goes when its letters are back. */
static inline void w_delete_topic(struct w_topic *t)
{
    for (uint32_t i = 0; i < t->producers; i++) {
        t->producer[i]->backlog = 0;
        t->producer[i]->closed = true;
        waitq_leave(&t->producer[i]->waiter, w_clock(t->world, t->worker));
    }
    w_close_claim(t);
}

/* A new topic of the same name; its producers come again. */
static inline void w_create_topic(struct w_topic *t)
{
    for (uint32_t i = 0; i < t->producers; i++)
        t->producer[i]->closed = false;
}

/* ---- the world ---- */

static inline struct world *w_new(uint64_t seed, uint32_t workers, uint32_t topics)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->rng = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    w->now_ns = MONO_S;
    w->workers = workers;
    w->mail_max_ns = 200 * MONO_US;
    w->turn_max_ns = 50 * MONO_US;
    w->direct = seed % 2;
    for (uint32_t i = 0; i < workers; i++)
        w->worker[i].leases.index = i;
    home_init(&w->home, &w_home_ops, w);
    w->topic = calloc(topics, sizeof *w->topic);
    assert_non_null(w->topic);
    return w;
}

/* From the widest on. */
static inline struct quota *w_add_quota(struct world *w, enum scope_kind kind, const char *name,
                                        struct quota *parent, uint32_t weight)
{
    assert_true(w->quotas < W_QUOTAS_MAX);
    struct w_quota *q = &w->quota[w->quotas++];
    q->world = w;
    q->armed_ns = MONO_NEVER;
    q->window.at_ns = w->now_ns;
    q->parent = parent ? w_quota_of(parent) : NULL;
    quota_init(&q->quota, kind, name, weight, w->workers);
    return &q->quota;
}

/* Hung on both a place and one that contains it, a group counts once: as of the wider one. */
static inline bool w_hangs_further_out(const struct w_quota *at, const struct w_quota *group)
{
    bool found = false;
    for (at = at->parent; at; at = at->parent)
        found = found || at->group == group;
    return found;
}

/* The chain of a topic whose narrowest quota this is: groups come before the broker's. */
static inline struct quota_chain w_chain(struct quota *narrowest)
{
    struct quota_chain c = {0};
    struct w_quota *q = w_quota_of(narrowest), *wide = q;
    int count = 0;
    for (; wide && wide->quota.kind < SCOPE_RESOURCE_GROUP; wide = wide->parent, count++)
        quota_chain_add_around(&c, &wide->quota);
    for (int i = 0; i < count; i++, q = q->parent)
        if (q->group && !w_hangs_further_out(q, q->group))
            quota_chain_add(&c, &q->group->quota, i);
    if (wide)
        quota_chain_add(&c, &wide->quota, count - 1);
    return c;
}

static inline bool w_is_below(const struct w_topic *t, const struct w_quota *at)
{
    const struct w_quota *q = w_quota_of(t->narrowest);
    while (q && q != at)
        q = q->parent;
    return q != NULL;
}

/* The topic's chain has changed: its claim on the old one is given up, and it asks anew. */
static inline void w_rechain(struct w_topic *t)
{
    struct world *w = t->world;
    t->chain = w_chain(t->narrowest);
    quota_leases_return(&w->worker[t->worker].leases, w_clock(w, t->worker));
    w_close_claim(t);
    waitq_kick(&t->q, w_clock(w, t->worker));
}

/* Hangs <group> (NULL: none) on <at>, for all topics below it at once. */
static inline void w_hang(struct world *w, struct quota *at, struct quota *group)
{
    w_quota_of(at)->group = group ? w_quota_of(group) : NULL;
    for (uint32_t i = 0; i < w->topics; i++)
        if (w_is_below(&w->topic[i], w_quota_of(at)))
            w_rechain(&w->topic[i]);
}

static inline void w_set_limit(struct world *w, struct quota *q, struct tg_limit_spec spec)
{
    home_set_limit(q, &spec, LIMIT_FROM_BROKER, 10, w_clock(w, 0));
    w_quota_of(q)->window = (struct w_window){.at_ns = w->now_ns};
}

/* Spends what a fresh limit starts with. */
static inline void w_drain(struct world *w, struct quota *q)
{
    while (quota_is_set(q) && tg_shared_limit_has_tokens(&q->limit, w->now_ns))
        tg_shared_limit_grant(&q->limit, 1, 1, w->now_ns);
}

static inline struct w_topic *w_add_topic(struct world *w, struct quota *narrowest, uint32_t worker,
                                          uint32_t producers)
{
    struct w_topic *t = &w->topic[w->topics++];
    t->world = w;
    t->worker = worker;
    t->narrowest = narrowest;
    t->chain = w_chain(narrowest);
    t->armed_ns = MONO_NEVER;
    t->window.at_ns = w->now_ns;
    scope_init(&t->scope, SCOPE_TOPIC, "topic");
    waitq_init(&t->q, &t->scope, &w_waitq_ops, t);
    path_add(&t->path, &t->scope);
    t->producers = producers;
    t->producer = calloc(producers, sizeof *t->producer);
    assert_non_null(t->producer);
    for (uint32_t i = 0; i < producers; i++) {
        struct w_producer *p = calloc(1, sizeof *p);
        assert_non_null(p);
        waiter_init(&p->waiter, 1);
        p->topic = t;
        p->frame_msgs = 1;
        p->min_bytes = p->max_bytes = 100;
        w_next_frame(p);
        t->producer[i] = p;
    }
    return t;
}

static inline void w_limit_topic(struct w_topic *t, struct tg_limit_spec spec)
{
    scope_set_limit(&t->scope, &spec, LIMIT_FROM_TOPIC, 10, w_clock(t->world, t->worker));
    t->window = (struct w_window){.at_ns = t->world->now_ns};
    waitq_limit_changed(&t->q, w_clock(t->world, t->worker));
    w_queue_ran(t);
}

/* A topic's queue sleeps only while its claim is out. */
static inline void w_check_topic(const struct w_topic *t)
{
    bool asked = t->claim && t->claim->claim.state == CLAIM_ASKED;
    SIM_CHECK(!t->q.asleep || asked, "a topic sleeps and has not asked");
    SIM_CHECK((waitq_count(&t->q) > 0 && !t->q.asleep) == (t->armed_ns != MONO_NEVER),
              "a topic waits, is awake and not armed");
}

static inline void w_check_quotas(struct world *w)
{
    for (uint32_t i = 0; i < w->quotas; i++) {
        struct w_quota *q = &w->quota[i];
        struct home_waiting waiting = home_waiting(&q->quota, w_clock(w, 0));
        SIM_CHECK((waiting.claims > 0) == (q->armed_ns != MONO_NEVER),
                  "quota %u: waiting and not armed", i);
        SIM_CHECK(waiting.claims == 0 || tg_shared_limit_is_binding(&q->quota.limit),
                  "quota %u: waiting and not binding", i);
        int64_t wait_ns = tg_shared_limit_wait_ns(&q->quota.limit, w_clock(w, 0));
        int64_t latest_ns = mono_add(mono_add(w_clock(w, 0), wait_ns), HOME_PATIENCE_NS);
        SIM_CHECK(waiting.claims == 0 || q->armed_ns <= latest_ns,
                  "quota %u: waiting, and armed for long after there are tokens", i);
    }
}

static inline void w_begin_turn(struct world *w, uint32_t worker)
{
    w->worker[worker].in_turn = true;
    w->worker[worker].clock_ns = w->now_ns;
    w_at(w, w->now_ns + rng_between(&w->rng, 0, w->lag_max_ns), worker, W_TURN_END, NULL);
}

static inline void w_end_turn(struct world *w, uint32_t worker)
{
    struct w_worker *k = &w->worker[worker];
    int64_t until_ns = quota_turn_end(&k->leases, w_clock(w, worker));
    if (until_ns != MONO_NEVER)
        w_at(w, until_ns > w->now_ns ? until_ns : w->now_ns + 1, worker, W_NOTHING, NULL);
    k->in_turn = false;
    k->free_ns = w->now_ns + rng_between(&w->rng, 1, w->turn_max_ns);
    if (worker == 0)
        w_check_quotas(w);
    for (uint32_t i = 0; i < w->topics && w->topics <= 10; i++)
        w_check_topic(&w->topic[i]);
}

static inline void w_happen_offer(struct world *w, struct w_producer *p, int64_t due_ns)
{
    int64_t due = p->every_ns > 0 ? 1 + (w->now_ns - due_ns) / p->every_ns : 1;
    w_offer(p, (uint64_t)due);
    if (p->every_ns > 0 && !p->closed)
        w_at(w, due_ns + due * p->every_ns, p->topic->worker, W_OFFER, p);
}

static inline void w_happen(struct world *w, const struct w_event *e)
{
    struct w_topic *t = e->of;
    struct w_quota *q = e->of;
    struct w_producer *p = e->of;
    switch (e->what) {
    case W_TURN_END:
        w_end_turn(w, e->worker);
        break;
    case W_TOPIC_TIMER:
        if (t->armed_ns == e->deadline_ns)
            w_fire_topic(t);
        break;
    case W_QUOTA_TIMER:
        if (q->armed_ns == e->deadline_ns) {
            q->armed_ns = MONO_NEVER;
            q->turns += home_fire(&w->home, &q->quota, W_FIRE_BUDGET, w_clock(w, 0));
        }
        break;
    case W_TO_HOME:
        home_receive(&w->home, e->of, w_clock(w, 0));
        break;
    case W_BACK:
        w_received(e->of);
        break;
    case W_NOTHING: /* a turn, in which kept leases go back */
        break;
    case W_OFFER:
        w_happen_offer(w, p, e->deadline_ns);
        break;
    case W_ACTION: /* as if it were in a turn of each worker that it touches */
        w->action(w);
        for (uint32_t i = 0; i < w->workers; i++)
            quota_leases_return(&w->worker[i].leases, w_clock(w, i));
        break;
    }
}

static inline bool w_later(struct world *w, struct w_event e, int64_t at_ns)
{
    e.at_ns = at_ns; /* the deadline stays */
    w_push(w, e);
    return true;
}

/* Takes the next event if it is due by <until_ns>; false when there is none. */
static inline bool w_step(struct world *w, int64_t until_ns)
{
    if (w->events == 0 || w->heap[0].at_ns > until_ns)
        return false;
    struct w_event e = w_pop(w);
    struct w_worker *k = &w->worker[e.worker];
    bool is_timer = e.what == W_TOPIC_TIMER || e.what == W_QUOTA_TIMER;
    if (!k->in_turn && e.at_ns < k->free_ns)
        return w_later(w, e, k->free_ns);
    if (k->in_turn && is_timer && k->clock_ns < e.deadline_ns)
        return w_later(w, e, e.at_ns + MONO_US); /* timers are looked at when a turn begins */
    w->now_ns = e.at_ns;
    if (!k->in_turn)
        w_begin_turn(w, e.worker);
    w_happen(w, &e);
    return true;
}

static inline void w_run_for(struct world *w, int64_t span_ns)
{
    int64_t until_ns = w->now_ns + span_ns;
    while (w_step(w, until_ns))
        ;
    w->now_ns = until_ns;
}

/* Topics go, letters come back, and nothing is left: no claim, nobody waiting, nothing binding, no
 * token lent. */
static inline void w_free(struct world *w)
{
    for (uint32_t i = 0; i < w->topics; i++)
        w_delete_topic(&w->topic[i]);
    w_run_for(w, 10 * MONO_MS + 10 * w->mail_max_ns);
    SIM_CHECK(w->claims == 0, "%u claims are left", w->claims);
    SIM_CHECK(w->asks == w->answers, "%llu asks, %llu answers", (unsigned long long)w->asks,
              (unsigned long long)w->answers);
    for (uint32_t i = 0; i < w->topics; i++) {
        for (uint32_t k = 0; k < w->topic[i].producers; k++)
            free(w->topic[i].producer[k]);
        free(w->topic[i].producer);
    }
    for (uint32_t i = w->quotas; i-- > 0;) {
        struct quota *q = &w->quota[i].quota;
        SIM_CHECK(!tg_shared_limit_is_binding(&q->limit), "%s: still binding", q->name);
        SIM_CHECK(w->quota[i].armed_ns == MONO_NEVER, "%s: still armed", q->name);
        SIM_CHECK(q->limit.shared.leased[0] == 0 && q->limit.shared.leased[1] == 0,
                  "%s: tokens are still leased", q->name);
        home_forget(q);
        quota_fini(q);
    }
    free(w->topic);
    free(w->heap);
    free(w);
}

#endif
