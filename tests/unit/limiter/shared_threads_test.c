/* shared_threads_test.c - a shared bucket spent by real threads, on a virtual clock that the tests
 * move: a word that all threads read. What is checked is exact: no window over the contract, every
 * token accounted for, at least 99.5 % of the allowance used. */
#include "limiter/shared_limit.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MS          INT64_C(1000000)
#define S           INT64_C(1000000000)
#define THREADS_MAX 10

#ifdef __SANITIZE_THREAD__
enum { ROUNDS = 20, STEPS = 200, CHANGES = 200, GRANTS = 200 };
#else
enum { ROUNDS = 100, STEPS = 500, CHANGES = 5000, GRANTS = 1000 };
#endif

static const int64_t rates[] = {1, 10, 1000, 10000, 1000000, 100000000, 1000000000};
static const int thread_counts[] = {1, 2, 10};
#define RATES         (sizeof rates / sizeof rates[0])
#define THREAD_COUNTS (sizeof thread_counts / sizeof thread_counts[0])

__extension__ typedef __int128 i128;

struct world {
    struct tg_shared s;
    struct tg_shared_limit limit;
    _Atomic int64_t now_ns;
    _Atomic bool stop;
    uint64_t most; /* tokens in a message */
    pthread_barrier_t barrier;
};

struct worker {
    struct world *w;
    pthread_t thread;
    struct tg_lease lease;
    struct tg_limit_lease limit_lease;
    uint64_t random;
    i128 taken; /* its owner's, until the next barrier */
};

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    return *x ^= *x << 17;
}

static uint64_t any_message(struct worker *k)
{
    return 1 + next_random(&k->random) % k->w->most;
}

/* One loop turn: until refused, or enough. */
static void turn(struct worker *k, int budget)
{
    int64_t now_ns = atomic_load(&k->w->now_ns);
    while (budget-- > 0) {
        uint64_t n = any_message(k);
        if (!tg_lease_take(&k->lease, &k->w->s, n, now_ns))
            break;
        k->taken += n;
    }
    tg_lease_return(&k->lease, &k->w->s, now_ns);
}

/* The same with asking and charging apart. */
static void turn_of_asking(struct worker *k, int budget)
{
    int64_t now_ns = atomic_load(&k->w->now_ns);
    while (budget-- > 0) {
        uint64_t n = any_message(k);
        if (!tg_lease_has(&k->lease, &k->w->s, n, now_ns))
            break;
        tg_lease_charge(&k->lease, &k->w->s, n);
        k->taken += n;
    }
    tg_lease_return(&k->lease, &k->w->s, now_ns);
}

static void start(struct world *w, struct worker k[], int threads, void *(*run)(void *))
{
    atomic_store(&w->stop, false);
    pthread_barrier_init(&w->barrier, NULL, (unsigned)threads + 1);
    for (int i = 0; i < threads; i++) {
        k[i] = (struct worker){.w = w, .random = UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(i + 1)};
        assert_int_equal(pthread_create(&k[i].thread, NULL, run, &k[i]), 0);
    }
}

static i128 join(struct world *w, struct worker k[], int threads)
{
    i128 taken = 0;
    for (int i = 0; i < threads; i++) {
        assert_int_equal(pthread_join(k[i].thread, NULL), 0);
        taken += k[i].taken;
    }
    pthread_barrier_destroy(&w->barrier);
    return taken;
}

static void init(struct world *w, int64_t rate, int64_t burst, int percent)
{
    struct tg_bucket_params p = tg_bucket_params_make(rate, S, burst);
    memset(w, 0, sizeof *w);
    tg_shared_init(&w->s, &p, percent, 0);
}

static i128 level_of(const struct world *w)
{
    return w->s.pool[0].bucket.level;
}

static i128 per_token(const struct world *w)
{
    return w->s.pool[0].params.per_token;
}

/* What may have been taken by <now_ns> if <first> units were there at 0, and what must have been:
 * nothing was lost on a full bucket. Every token is where it should be. */
static void check_account(const struct world *w, i128 first, i128 taken, int64_t now_ns)
{
    i128 allowance = first + (i128)w->s.pool[0].params.per_ns * now_ns;
    assert_int_equal(w->s.leased[0], 0);
    assert_true(allowance - taken * per_token(w) == level_of(w));
    assert_true(taken * per_token(w) <= allowance + (i128)w->most * per_token(w));
    assert_true(taken * per_token(w) * 1000 >= allowance * 995 - per_token(w) * 1000);
}

/* ---- rounds: time stands still while the threads race for what is there ---- */

static void *run_rounds(void *arg)
{
    struct worker *k = arg;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&k->w->barrier);
        if (next_random(&k->random) % 2 == 0)
            turn(k, 1000000);
        else
            turn_of_asking(k, 1000000);
        pthread_barrier_wait(&k->w->barrier);
    }
    return NULL;
}

static i128 taken_so_far(const struct worker k[], int threads)
{
    i128 taken = 0;
    for (int i = 0; i < threads; i++)
        taken += k[i].taken;
    return taken;
}

static void rounds(int64_t rate, int threads)
{
    static struct world w;
    static struct worker k[THREADS_MAX];
    i128 before[ROUNDS];
    int64_t at_ns[ROUNDS], now_ns = 0, burst = rate;
    uint64_t random = (uint64_t)rate * 31 + (uint64_t)threads;
    init(&w, rate, burst, 100);
    w.most = 1 + (uint64_t)rate / 2000;
    i128 first = level_of(&w);

    start(&w, k, threads, run_rounds);
    for (int r = 0; r < ROUNDS; r++) {
        before[r] = taken_so_far(k, threads);
        at_ns[r] = now_ns;
        pthread_barrier_wait(&w.barrier);
        pthread_barrier_wait(&w.barrier);
        i128 taken = taken_so_far(k, threads);
        for (int i = 0; i <= r; i++)
            assert_true((taken - before[i] - burst - (i128)w.most) * S <=
                        (i128)rate * (now_ns - at_ns[i]));
        now_ns += 1 + (int64_t)(next_random(&random) % (uint64_t)(800 * MS));
        atomic_store(&w.now_ns, now_ns);
    }
    i128 taken = join(&w, k, threads);
    struct worker last = {.w = &w,
                          .random = 1}; /* who was refused last was not told what came back */
    turn(&last, 1000000);
    check_account(&w, first, taken + last.taken, now_ns);
}

static void test_threads_that_race_get_what_is_there_and_no_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < RATES; i++)
        for (size_t t = 0; t < THREAD_COUNTS; t++)
            rounds(rates[i], thread_counts[t]);
}

/* ---- running free: time goes on meanwhile, as fast as the threads use what it brings ---- */

static void *run_free(void *arg)
{
    struct worker *k = arg;
    while (!atomic_load(&k->w->stop)) {
        if (next_random(&k->random) % 2 == 0)
            turn(k, 64);
        else
            turn_of_asking(k, 64);
        sched_yield();
    }
    return NULL;
}

/* Units that the centre holds or has leased out: the bucket fills up to a burst less the second, so
 * that both count for whether it could. */
static i128 held(struct world *w)
{
    pthread_mutex_lock(&w->s.lock);
    i128 units = level_of(w) + (i128)w->s.leased[0] * per_token(w);
    pthread_mutex_unlock(&w->s.lock);
    return units;
}

/* Moves the clock on when the centre is empty, or rather not empty for long; never so far that the
 * bucket could fill, also while a thread that has a lease does not get on. */
static int64_t move_on(struct world *w, int64_t now_ns, int64_t burst)
{
    for (int i = 0; i < 100 && tg_shared_has_tokens(&w->s, now_ns); i++)
        sched_yield();
    while (held(w) > burst / 2 * per_token(w))
        sched_yield();
    now_ns += 50 * MS;
    atomic_store(&w->now_ns, now_ns);
    return now_ns;
}

static void run_free_at(int64_t rate, int threads)
{
    static struct world w;
    static struct worker k[THREADS_MAX];
    int64_t now_ns = 0, burst = rate < 10 ? 10 : rate;
    init(&w, rate, burst, 10);
    w.most = 1 + (uint64_t)rate / 1000;
    i128 first = level_of(&w);

    start(&w, k, threads, run_free);
    for (int i = 0; i < STEPS; i++)
        now_ns = move_on(&w, now_ns, burst);
    atomic_store(&w.stop, true);
    i128 taken = join(&w, k, threads);
    struct worker last = {.w = &w, .random = 1};
    turn(&last, 1000000);
    check_account(&w, first, taken + last.taken, now_ns);
}

static void test_no_token_is_lost_or_made_while_time_goes_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < RATES; i++)
        for (size_t t = 0; t < THREAD_COUNTS; t++)
            run_free_at(rates[i], thread_counts[t]);
}

/* ---- changes under threads ---- */

static void test_retuning_and_binding_under_threads_keep_the_contract(void **state)
{
    (void)state;
    static struct world w;
    static struct worker k[THREADS_MAX];
    uint64_t random = 7;
    int64_t now_ns = 0, rate = 1000;
    bool binding = false;
    init(&w, rate, rate, 100);
    w.most = 100;
    i128 allowance = (i128)rate * S, granted = 0;

    start(&w, k, 4, run_free);
    for (int i = 0; i < CHANGES; i++) {
        int64_t span_ns = (int64_t)(next_random(&random) % (uint64_t)(20 * MS));
        now_ns += span_ns;
        allowance += (i128)rate * span_ns;
        atomic_store(&w.now_ns, now_ns);
        if (next_random(&random) % 4 == 0) {
            rate = rates[next_random(&random) % RATES];
            struct tg_bucket_params p = tg_bucket_params_make(rate, S, rate);
            tg_shared_retune(&w.s, &p, 100, now_ns);
        }
        if (next_random(&random) % 8 == 0)
            tg_shared_set_binding(&w.s, binding = !binding);
        if (binding && tg_shared_grant(&w.s, w.most, now_ns))
            granted += w.most;
        sched_yield();
    }
    atomic_store(&w.stop, true);
    i128 taken = join(&w, k, 4) + granted;
    assert_true(taken > 0);
    assert_true((taken - (i128)w.most) * S <= allowance);
    assert_int_equal(w.s.leased[0], 0);
}

static void *run_limited(void *arg)
{
    struct worker *k = arg;
    while (!atomic_load(&k->w->stop)) {
        int64_t now_ns = atomic_load(&k->w->now_ns);
        for (int i = 0; i < 64; i++) {
            uint64_t bytes = any_message(k);
            if (!tg_limit_lease_has(&k->limit_lease, &k->w->limit, 1, bytes, now_ns))
                break;
            tg_limit_lease_charge(&k->limit_lease, &k->w->limit, 1, bytes);
            k->taken += 1;
        }
        if (next_random(&k->random) % 4 != 0)
            tg_limit_lease_return(&k->limit_lease, &k->w->limit, now_ns);
        sched_yield();
    }
    return NULL;
}

static struct tg_limit_spec any_spec(uint64_t *random)
{
    struct tg_limit_spec spec = {.period_ns = S};
    uint64_t what = next_random(random) % 8;
    if (what & 1)
        spec.msgs.rate = rates[next_random(random) % RATES];
    if (what & 2)
        spec.bytes.rate = rates[next_random(random) % RATES];
    if (what & 4)
        spec.msgs.peak = 2 * spec.msgs.rate;
    return spec;
}

/* Whatever happened before: once the limit is set, nobody has anything left of earlier times. */
static void test_a_limit_set_changed_and_removed_under_threads_is_a_limit_in_the_end(void **state)
{
    (void)state;
    static struct world w;
    static struct worker k[THREADS_MAX];
    uint64_t random = 11;
    int64_t now_ns = 0;
    memset(&w, 0, sizeof w);
    w.most = 1000;

    start(&w, k, 4, run_limited);
    for (int i = 0; i < CHANGES; i++) {
        struct tg_limit_spec spec = any_spec(&random);
        now_ns += MS;
        atomic_store(&w.now_ns, now_ns);
        tg_shared_limit_retune(&w.limit, &spec, 10, now_ns);
        sched_yield();
    }
    struct tg_limit_spec none = {.period_ns = S};
    struct tg_limit_spec last = {.msgs = {.rate = 1000}, .bytes = {.rate = 1000000}};
    tg_shared_limit_retune(&w.limit, &none, 0, now_ns);
    tg_shared_limit_retune(&w.limit, &last, 100, now_ns);
    atomic_store(&w.stop, true);
    assert_true(join(&w, k, 4) > 0);

    now_ns += 10 * S;
    uint64_t taken = 0;
    for (int i = 0; i < 8000; i++) {
        struct worker *one = &k[i % 4];
        if (!tg_limit_lease_has(&one->limit_lease, &w.limit, 1, 10, now_ns))
            continue;
        tg_limit_lease_charge(&one->limit_lease, &w.limit, 1, 10);
        taken++;
    }
    for (int i = 0; i < 4; i++)
        tg_limit_lease_return(&k[i].limit_lease, &w.limit, now_ns);
    assert_in_range(taken, 990, 1000);
    assert_int_equal(w.limit.shared.leased[0] + w.limit.shared.leased[1], 0);
}

/* ---- waiting in line at the home worker, at 1/s ---- */

struct line {
    struct world *w;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int waiting[4], length;
    int granted[4];
    bool over;
};

struct in_line {
    struct line *line;
    int id;
};

static void *wait_in_line(void *arg)
{
    struct in_line *me = arg;
    struct line *q = me->line;
    struct tg_lease lease = {0};
    for (bool over = false; !over;) {
        int64_t now_ns = atomic_load(&q->w->now_ns);
        bool mine = tg_lease_take(&lease, &q->w->s, 1, now_ns);
        pthread_mutex_lock(&q->lock);
        int want = q->granted[me->id] + 1;
        if (mine)
            q->granted[me->id]++;
        else
            q->waiting[q->length++] = me->id;
        pthread_cond_broadcast(&q->changed);
        while (q->granted[me->id] < want && !q->over)
            pthread_cond_wait(&q->changed, &q->lock);
        over = q->over;
        pthread_mutex_unlock(&q->lock);
    }
    return NULL;
}

/* Home: a second is long, all who want to stand in line do before it has passed. The timer is late,
 * so that others see the token first. */
static void grant_the_first(struct line *q)
{
    pthread_mutex_lock(&q->lock);
    while (q->length < 4)
        pthread_cond_wait(&q->changed, &q->lock);
    tg_shared_set_binding(&q->w->s, true);
    int64_t now_ns = atomic_load(&q->w->now_ns);
    now_ns += tg_shared_wait_ns(&q->w->s, now_ns) + MS;
    atomic_store(&q->w->now_ns, now_ns);
    sched_yield();
    assert_true(tg_shared_grant(&q->w->s, 1, now_ns));
    q->granted[q->waiting[0]]++;
    q->length--;
    memmove(q->waiting, q->waiting + 1, sizeof q->waiting - sizeof q->waiting[0]);
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

/* Takes whatever it can get, and never waits. */
static void *overtake(void *arg)
{
    struct worker *k = arg;
    while (!atomic_load(&k->w->stop))
        turn(k, 64);
    return NULL;
}

static void test_nobody_starves_or_is_overtaken_at_1_per_s(void **state)
{
    (void)state;
    static struct world w;
    static struct worker greedy[1];
    init(&w, 1, 1, 100);
    w.most = 1;
    struct line q = {
        .w = &w, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct in_line me[4];
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) {
        me[i] = (struct in_line){&q, i};
        assert_int_equal(pthread_create(&thread[i], NULL, wait_in_line, &me[i]), 0);
    }
    grant_the_first(&q); /* from here on the bucket is binding */
    start(&w, greedy, 1, overtake);
    for (int i = 1; i < GRANTS; i++)
        grant_the_first(&q);
    pthread_mutex_lock(&q.lock);
    q.over = true;
    pthread_cond_broadcast(&q.changed);
    pthread_mutex_unlock(&q.lock);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    atomic_store(&w.stop, true);
    assert_true(join(&w, greedy, 1) == 0);

    int total = 0;
    for (int i = 0; i < 4; i++) {
        assert_in_range(q.granted[i], GRANTS / 4 - 1, GRANTS / 4 + 1);
        total += q.granted[i];
    }
    assert_true((int64_t)(total - 2) * S <= atomic_load(&w.now_ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_that_race_get_what_is_there_and_no_more),
        cmocka_unit_test(test_no_token_is_lost_or_made_while_time_goes_on),
        cmocka_unit_test(test_retuning_and_binding_under_threads_keep_the_contract),
        cmocka_unit_test(test_a_limit_set_changed_and_removed_under_threads_is_a_limit_in_the_end),
        cmocka_unit_test(test_nobody_starves_or_is_overtaken_at_1_per_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
