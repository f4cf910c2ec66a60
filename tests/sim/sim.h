/* sim.h - a small broker on a virtual clock: scopes with wait queues, and producers that send
 * frames along a path of them. The code under test is the real one (throttle/, quota/, limiter/);
 * what is simulated is the clock, the timers, which may fire late, and the clients.
 *
 * At every step it checks what must always hold: a queue is not empty <=> its timer is armed, and
 * for every scope and every window, admitted <= burst + rate * t + the last frame.
 *
 * A test runs its body once per seed: SEED=n runs one, SEEDS=count so many; a failure prints it. */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mono.h"
#include "throttle/waitq.h"

/* ---- seeds ---- */

static uint64_t sim_seed; /* of the running case, for the messages */

#define SIM_CHECK(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("SEED=%llu: ", (unsigned long long)sim_seed);                              \
            print_error(__VA_ARGS__);                                                              \
            print_error("\n");                                                                     \
            assert_true(condition);                                                                \
        }                                                                                          \
    } while (0)

static inline uint64_t rng_next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline int64_t rng_between(uint64_t *state, int64_t low, int64_t high)
{
    return low + (int64_t)(rng_next(state) % (uint64_t)(high - low + 1));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SIM_SEEDS_PART = 8 }; /* sanitizers look at the code, which a few seeds run through */
#else
enum { SIM_SEEDS_PART = 1 };
#endif

static inline void for_each_seed(void (*body)(uint64_t seed), int count)
{
    const char *one = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t most = (uint64_t)(count + SIM_SEEDS_PART - 1) / SIM_SEEDS_PART;
    uint64_t n = one ? 1 : many ? strtoull(many, NULL, 10) : most;
    for (uint64_t seed = first; seed < first + n; seed++) {
        sim_seed = seed;
        body(seed);
    }
}

/* ---- scopes ---- */

enum { SIM_SCOPES_MAX = 4, SIM_FIRE_BUDGET = 64 };

struct sim;

struct sim_scope {
    struct sim *sim;
    struct scope scope;
    struct waitq q;
    int64_t armed_ns, fires_ns; /* the timer: its deadline, and when it really fires */
    /* Most that any window up to now holds beyond the rate, in tokens * ns. */
    __int128 excess_msgs, excess_bytes;
    int64_t excess_at_ns;
};

struct sim_producer {
    struct waiter waiter; /* first, so that it can be cast back */
    struct sim *sim;
    struct path path;
    uint64_t backlog;                 /* frames that wait to be sent */
    uint64_t frame_msgs, frame_bytes; /* the next frame */
    int64_t min_bytes, max_bytes;     /* of its frames */
    int64_t arrives_ns;               /* when the next frame comes; MONO_NEVER: none will */
    int64_t think_ns;                 /* > 0: so long after each receipt the next one comes */
    uint64_t sent, sent_msgs, sent_bytes;
    int64_t last_sent_ns;
};

struct sim {
    int64_t now_ns;
    int64_t late_ns; /* timers fire up to this much late */
    uint64_t rng;
    uint32_t n_scopes;
    struct sim_scope scopes[SIM_SCOPES_MAX];
    uint32_t n_producers;
    struct sim_producer *producers;
    void (*on_sent)(struct sim_producer *p); /* NULL or called within the grant */
    uint64_t sent;
};

static inline void sim_arm(void *ctx, int64_t deadline_ns)
{
    struct sim_scope *s = ctx;
    struct sim *sim = s->sim;
    s->armed_ns = deadline_ns;
    s->fires_ns = deadline_ns;
    if (deadline_ns != MONO_NEVER && sim->late_ns > 0)
        s->fires_ns = mono_add(deadline_ns, rng_between(&sim->rng, 0, sim->late_ns));
}

static inline void sim_cost(struct waiter *w, uint64_t *msgs, uint64_t *bytes)
{
    struct sim_producer *p = (struct sim_producer *)w;
    *msgs = p->frame_msgs;
    *bytes = p->frame_bytes;
}

static inline __int128 sim_excess(__int128 excess, const struct tg_rate_spec *r, int64_t dt_ns,
                                  uint64_t admitted)
{
    int64_t burst = r->burst ? r->burst : r->rate;
    if (r->rate <= 0)
        return 0;
    excess -= (__int128)r->rate * dt_ns;
    if (excess < 0)
        excess = 0;
    SIM_CHECK(excess <= (__int128)burst * MONO_S, "more than burst + rate * t + one frame");
    return excess + (__int128)admitted * MONO_S;
}

/* For specifications per second. */
static inline void sim_check_contract(struct sim_scope *s, uint64_t msgs, uint64_t bytes)
{
    int64_t dt_ns = s->sim->now_ns - s->excess_at_ns;
    const struct tg_limit_spec *spec = tg_limit_spec_of(&s->scope.limit);
    s->excess_msgs = sim_excess(s->excess_msgs, &spec->msgs, dt_ns, msgs);
    s->excess_bytes = sim_excess(s->excess_bytes, &spec->bytes, dt_ns, bytes);
    s->excess_at_ns = s->sim->now_ns;
}

static inline struct sim_scope *sim_scope_of(struct sim *sim, const struct scope *s)
{
    for (uint32_t i = 0; i < sim->n_scopes; i++) {
        if (&sim->scopes[i].scope == s)
            return &sim->scopes[i];
    }
    fail();
    return NULL;
}

/* ---- producers: what broker/producer.c does with path, gate and queue, without the bytes ---- */

static inline void sim_next_frame(struct sim_producer *p)
{
    p->frame_bytes = (uint64_t)rng_between(&p->sim->rng, p->min_bytes, p->max_bytes);
}

static inline void sim_send(struct sim_producer *p)
{
    struct sim *sim = p->sim;
    for (uint32_t i = 0; i < p->path.count; i++)
        sim_check_contract(sim_scope_of(sim, p->path.scope[i]), p->frame_msgs, p->frame_bytes);
    path_charge(&p->path, p->frame_msgs, p->frame_bytes, sim->now_ns);
    p->backlog--;
    p->sent++;
    p->sent_msgs += p->frame_msgs;
    p->sent_bytes += p->frame_bytes;
    p->last_sent_ns = sim->now_ns;
    sim->sent++;
    sim_next_frame(p);
    if (p->think_ns > 0)
        p->arrives_ns = sim->now_ns + p->think_ns;
    if (sim->on_sent)
        sim->on_sent(p);
}

static inline enum waiter_result sim_grant(struct waiter *w, int64_t now_ns)
{
    struct sim_producer *p = (struct sim_producer *)w;
    struct scope *s = waitq_must_wait(&p->path, w, now_ns);
    if (p->backlog == 0)
        return WAITER_ELSEWHERE;
    if (s) {
        waitq_leave(w, now_ns);
        waitq_enter(s->waiters, w, now_ns);
        return WAITER_ELSEWHERE;
    }
    sim_send(p);
    return p->backlog > 0 ? WAITER_SENT : WAITER_DONE;
}

static inline void sim_offer(struct sim_producer *p, uint64_t frames)
{
    struct sim *sim = p->sim;
    p->backlog += frames;
    while (p->backlog > 0 && !waiter_waits(&p->waiter)) {
        struct scope *s = waitq_must_wait(&p->path, NULL, sim->now_ns);
        if (s)
            waitq_enter(s->waiters, &p->waiter, sim->now_ns);
        else
            sim_send(p);
    }
}

static inline void sim_close(struct sim_producer *p)
{
    p->backlog = 0;
    p->arrives_ns = MONO_NEVER;
    p->think_ns = 0;
    waitq_leave(&p->waiter, p->sim->now_ns);
}

/* ---- the whole ---- */

static const struct waitq_ops sim_ops = {.cost = sim_cost, .grant = sim_grant, .arm = sim_arm};

static inline struct sim *sim_new(uint64_t seed, uint32_t n_producers)
{
    struct sim *sim = calloc(1, sizeof *sim);
    assert_non_null(sim);
    sim->rng = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    sim->now_ns = MONO_S;
    sim->n_producers = n_producers;
    sim->producers = calloc(n_producers, sizeof *sim->producers);
    assert_non_null(sim->producers);
    for (uint32_t i = 0; i < n_producers; i++) {
        struct sim_producer *p = &sim->producers[i];
        waiter_init(&p->waiter, 1);
        p->sim = sim;
        p->frame_msgs = 1;
        p->min_bytes = p->max_bytes = 100;
        p->arrives_ns = MONO_NEVER;
        sim_next_frame(p);
    }
    return sim;
}

static inline void sim_free(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_producers; i++)
        waitq_leave(&sim->producers[i].waiter, sim->now_ns);
    free(sim->producers);
    free(sim);
}

static inline void sim_set_limit(struct sim_scope *s, struct tg_limit_spec spec)
{
    scope_set_limit(&s->scope, &spec, LIMIT_FROM_TOPIC, 10, s->sim->now_ns);
    waitq_limit_changed(&s->q, s->sim->now_ns);
    s->excess_msgs = s->excess_bytes = 0; /* the contract is about one limit */
    s->excess_at_ns = s->sim->now_ns;
}

static inline struct sim_scope *sim_add_scope(struct sim *sim, enum scope_kind kind,
                                              struct tg_limit_spec spec)
{
    assert_true(sim->n_scopes < SIM_SCOPES_MAX);
    struct sim_scope *s = &sim->scopes[sim->n_scopes++];
    s->sim = sim;
    s->armed_ns = s->fires_ns = MONO_NEVER;
    s->excess_at_ns = sim->now_ns;
    scope_init(&s->scope, kind, scope_kind_name(kind));
    waitq_init(&s->q, &s->scope, &sim_ops, s);
    sim_set_limit(s, spec);
    return s;
}

/* Puts every producer on the path of all scopes added so far. */
static inline void sim_route_all(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_producers; i++) {
        for (uint32_t k = 0; k < sim->n_scopes; k++)
            path_add(&sim->producers[i].path, &sim->scopes[k].scope);
    }
}

/* Spends what a fresh limit starts with, so that all producers begin in line. */
static inline void sim_drain(struct sim_scope *s)
{
    struct tg_limit *l = &s->scope.limit;
    while (tg_limit_has_tokens(l, s->sim->now_ns))
        tg_limit_charge(l, 1, 1, s->sim->now_ns);
}

static inline void sim_check_timers(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_scopes; i++) {
        struct sim_scope *s = &sim->scopes[i];
        SIM_CHECK((waitq_count(&s->q) > 0) == (s->armed_ns != MONO_NEVER), "waiting and not armed");
        SIM_CHECK((s->q.line.head != NULL) == (waitq_count(&s->q) > 0), "count and line disagree");
        SIM_CHECK(s->q.armed_ns == s->armed_ns, "armed_ns is not what was armed");
    }
}

/* Takes the next event if it is due by <until_ns>; false when there is none. */
static inline bool sim_step(struct sim *sim, int64_t until_ns)
{
    struct sim_scope *timer = NULL;
    struct sim_producer *client = NULL;
    int64_t next_ns = MONO_NEVER;

    for (uint32_t i = 0; i < sim->n_scopes; i++) {
        if (sim->scopes[i].fires_ns < next_ns) {
            timer = &sim->scopes[i];
            next_ns = timer->fires_ns;
        }
    }
    for (uint32_t i = 0; i < sim->n_producers; i++) {
        if (sim->producers[i].arrives_ns < next_ns) {
            client = &sim->producers[i];
            next_ns = client->arrives_ns;
        }
    }
    if (next_ns > until_ns)
        return false;
    if (next_ns > sim->now_ns)
        sim->now_ns = next_ns;
    if (client) {
        client->arrives_ns = MONO_NEVER;
        sim_offer(client, 1);
    } else {
        waitq_fire(&timer->q, SIM_FIRE_BUDGET, sim->now_ns);
    }
    sim_check_timers(sim);
    return true;
}

static inline void sim_run_for(struct sim *sim, int64_t span_ns)
{
    int64_t until_ns = sim->now_ns + span_ns;
    while (sim_step(sim, until_ns))
        ;
    sim->now_ns = until_ns;
}

static inline struct tg_limit_spec per_second(int64_t msgs, int64_t bytes)
{
    return (struct tg_limit_spec){.msgs.rate = msgs, .bytes.rate = bytes};
}

#endif
