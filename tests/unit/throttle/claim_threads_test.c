/* Claims and quotas with real threads, for the sanitizer and for what a virtual clock can't show:
 * workers that spend leases and credit while the home grants, binds, releases and changes limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mono.h"
#include "throttle/home.h"

enum { WORKERS = 3, TOPICS = 6, FRAMES_A_TURN = 64 };

struct topic {
    struct claim claim; /* first */
    struct world *world;
    struct quota_chain chain;
    int worker;
    bool asked_to_stop, closed;
    uint64_t sent;
};

struct box {
    pthread_mutex_t lock;
    struct claim_letter *letter[4 * TOPICS];
    int count;
};

struct world {
    struct quota broker, ns[2];
    int64_t timer_ns[3];
    struct home home;
    struct topic topic[TOPICS];
    struct box to_home, to_worker[WORKERS];
    _Atomic bool stop;
    _Atomic int open; /* claims not released */
};

/* ---- mail ---- */

static void put(struct box *b, struct claim_letter *l)
{
    pthread_mutex_lock(&b->lock);
    b->letter[b->count++] = l;
    pthread_mutex_unlock(&b->lock);
}

static int take_all(struct box *b, struct claim_letter **into)
{
    pthread_mutex_lock(&b->lock);
    int n = b->count;
    memcpy(into, b->letter, (size_t)n * sizeof *into);
    b->count = 0;
    pthread_mutex_unlock(&b->lock);
    return n;
}

static void post_home(struct claim_letter *l)
{
    put(&((struct topic *)l->claim)->world->to_home, l);
}

static void post_back(void *ctx, struct claim_letter *l)
{
    struct world *w = ctx;
    put(&w->to_worker[((struct topic *)l->claim)->worker], l);
}

static void released(struct claim *c)
{
    atomic_fetch_sub(&((struct topic *)c)->world->open, 1);
}

static void arm(void *ctx, struct quota *q, int64_t deadline_ns)
{
    struct world *w = ctx;
    w->timer_ns[q == &w->broker ? 0 : 1 + (q - w->ns)] = deadline_ns;
}

static const struct claim_ops claim_ops = {.post_home = post_home, .released = released};
static const struct home_ops home_ops = {.post_back = post_back, .arm = arm};

/* ---- a worker ---- */

/* Wants to send one message after another, without a queue of its own. */
static void run_topic(struct topic *t, struct quota_worker *w, int64_t now_ns)
{
    struct claim_amount one = {1, 100}, many = {200, 20000};
    for (int i = 0; i < FRAMES_A_TURN; i++) {
        struct quota *lacking = claim_lacking(&t->claim, &t->chain, w, 1, 100, now_ns);
        if (lacking) {
            claim_ask(&t->claim, lacking, one, many);
            return;
        }
        claim_charge(&t->claim, &t->chain, w, 1, 100, now_ns);
        t->sent++;
    }
    if (t->sent % 7 == 0)
        claim_release(&t->claim);
}

static void turn(struct world *w, int index, struct quota_worker *leases)
{
    struct claim_letter *mail[4 * TOPICS];
    int64_t now_ns = mono_now_ns();
    for (int i = 0, n = take_all(&w->to_worker[index], mail); i < n; i++)
        claim_received(mail[i]);
    for (int i = 0; i < TOPICS; i++) {
        struct topic *t = &w->topic[i];
        if (t->worker != index || t->closed)
            continue;
        t->closed = atomic_load(&w->stop);
        if (t->closed)
            claim_close(&t->claim);
        else
            run_topic(t, leases, now_ns);
    }
    quota_leases_return(leases, now_ns);
}

static void turn_of_home(struct world *w)
{
    struct claim_letter *mail[4 * TOPICS];
    int64_t now_ns = mono_now_ns();
    struct quota *q[3] = {&w->broker, &w->ns[0], &w->ns[1]};
    for (int i = 0, n = take_all(&w->to_home, mail); i < n; i++)
        home_receive(&w->home, mail[i], now_ns);
    for (int i = 0; i < 3; i++) {
        if (w->timer_ns[i] > now_ns)
            continue;
        w->timer_ns[i] = MONO_NEVER;
        home_fire(&w->home, q[i], 100, now_ns);
    }
}

struct seat {
    struct world *world;
    int index;
};

static void *work(void *arg)
{
    struct seat *s = arg;
    struct quota_worker leases = {.index = (uint32_t)s->index};
    while (atomic_load(&s->world->open) > 0) {
        turn(s->world, s->index, &leases);
        sched_yield();
    }
    return NULL;
}

/* ---- the control worker's thread is the test's ---- */

static void set(struct quota *q, int64_t msgs)
{
    struct tg_limit_spec spec = {.msgs.rate = msgs};
    home_set_limit(q, &spec, LIMIT_FROM_BROKER, 10, mono_now_ns());
}

static void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    home_init(&w->home, &home_ops, w);
    quota_init(&w->broker, SCOPE_BROKER, "broker", 1, WORKERS);
    for (int i = 0; i < 2; i++)
        quota_init(&w->ns[i], SCOPE_NAMESPACE, "t/n", 1, WORKERS);
    for (int i = 0; i < 3; i++)
        w->timer_ns[i] = MONO_NEVER;
    for (int i = 0; i < TOPICS; i++) {
        struct topic *t = &w->topic[i];
        t->world = w;
        t->worker = i % WORKERS;
        quota_chain_add_around(&t->chain, &w->ns[i % 2]);
        quota_chain_add_around(&t->chain, &w->broker);
        claim_init(&t->claim, &claim_ops, &t->chain, 1);
    }
    pthread_mutex_init(&w->to_home.lock, NULL);
    for (int i = 0; i < WORKERS; i++)
        pthread_mutex_init(&w->to_worker[i].lock, NULL);
    w->open = TOPICS;
}

static void world_fini(struct world *w)
{
    struct quota *q[3] = {&w->ns[0], &w->ns[1], &w->broker};
    for (int i = 0; i < 3; i++) {
        assert_false(tg_shared_limit_is_binding(&q[i]->limit));
        assert_int_equal(q[i]->limit.shared.leased[0], 0);
        home_forget(q[i]);
        quota_fini(q[i]);
    }
}

/* Runs for <span_ns>, calling <change> about each 2 ms; returns what was sent. */
static uint64_t run(struct world *w, int64_t span_ns, void (*change)(struct world *w, int i))
{
    pthread_t thread[WORKERS];
    struct seat seat[WORKERS];
    int64_t began_ns = mono_now_ns(), changed_ns = began_ns;
    for (int i = 0; i < WORKERS; i++) {
        seat[i] = (struct seat){w, i};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &seat[i]), 0);
    }
    for (int changes = 0; atomic_load(&w->open) > 0;) {
        turn_of_home(w);
        int64_t now_ns = mono_now_ns();
        if (now_ns - began_ns >= span_ns)
            atomic_store(&w->stop, true);
        else if (change && now_ns - changed_ns >= 2 * MONO_MS) {
            changed_ns = now_ns;
            change(w, changes++);
        }
        sched_yield();
    }
    uint64_t sent = 0;
    for (int i = 0; i < WORKERS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < TOPICS; i++)
        sent += w->topic[i].sent;
    return sent;
}

static void test_threads_together_keep_the_contract_and_use_the_quota(void **state)
{
    (void)state;
    static struct world w;
    const int64_t rate = 200000;
    world_init(&w);
    int64_t began_ns = mono_now_ns();
    set(&w.broker, rate);
    set(&w.ns[0], 3 * rate / 4);
    uint64_t sent = run(&w, 600 * MONO_MS, NULL);
    double passed = (double)(mono_now_ns() - began_ns) / 1e9;
    assert_true((double)sent <= (double)rate * (0.1 + passed) + 1);
    assert_true((double)sent >= (double)rate * 0.6 * 0.8); /* a busy machine gives less */
    world_fini(&w);
}

static void change_limits(struct world *w, int i)
{
    struct quota *q[3] = {&w->broker, &w->ns[0], &w->ns[1]};
    static const int64_t rates[5] = {100000, 0, 3000, 50000, 1000};
    set(q[i % 3], rates[i % 5]);
}

static void test_limits_change_while_threads_spend(void **state)
{
    (void)state;
    static struct world w;
    world_init(&w);
    set(&w.broker, 100000);
    assert_true(run(&w, 600 * MONO_MS, change_limits) > 0);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_together_keep_the_contract_and_use_the_quota),
        cmocka_unit_test(test_limits_change_while_threads_spend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
