/* The worker: the order of a turn, timers on real time, mail and wakes from other threads, the end.
 * Each test runs a worker on its own thread or on the test's; a watchdog ends one that hangs. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mono.h"
#include "net/loop.h"

static struct budget budget;

static struct worker *new_worker(void *user)
{
    alarm(60); /* the watchdog */
    budget_init(&budget, 64 << 20);
    struct worker *w;
    struct worker_config cfg = {.index = 3, .budget = &budget, .user = user};
    assert_int_equal(worker_new(&w, &cfg), TG_OK);
    return w;
}

struct script {
    struct worker *w;
    char order[64];
    struct timer timer, second;
    struct mail mail;
    struct worker_wake *wake;
    int count;
    int64_t a_ns, b_ns;
};

static void note(struct script *s, char c)
{
    size_t n = strlen(s->order);
    if (n + 1 < sizeof(s->order))
        s->order[n] = c;
}

#define SCRIPT_OF(ptr, member) ((struct script *)((char *)(ptr)-offsetof(struct script, member)))

/* ---- the order of a turn ---- */

static void order_fire(struct timer *t, int64_t now_ns)
{
    struct script *s = SCRIPT_OF(t, timer);
    assert_int_equal(now_ns, worker_now_ns(s->w));
    note(s, 't');
}

static void order_deliver(struct mail *m, struct worker *w)
{
    (void)w;
    note(SCRIPT_OF(m, mail), 'm');
}

static void order_woken(void *ctx)
{
    struct script *s = ctx;
    note(s, 'w');
    worker_stop(s->w);
}

static void first_hook(void *ctx)
{
    note(ctx, '1');
}

static void second_hook(void *ctx)
{
    note(ctx, '2');
}

static void order_start(struct worker *w)
{
    struct script *s = worker_user(w);
    assert_true(worker_is_current(w));
    assert_int_equal(worker_index(w), 3);
    worker_at_turn_end(w, first_hook, s);
    worker_at_turn_end(w, second_hook, s);
    s->wake = worker_wake_new(w, order_woken, s);
    timer_init(&s->timer, order_fire);
    worker_wake(s->wake);
    assert_int_equal(worker_post(w, &s->mail), TG_OK);
    timer_arm(w, &s->timer, worker_now_ns(w));
}

static void test_a_turn_is_timers_mail_wakes_hooks(void **state)
{
    (void)state;
    struct script s = {.mail = {.deliver = order_deliver}};
    s.w = new_worker(&s);
    worker_run(s.w, order_start);
    assert_false(worker_is_current(s.w));
    assert_memory_equal(s.order, "tmw12", 5);
    worker_free(s.w);
}

/* ---- timers ---- */

static void last_fire(struct timer *t, int64_t now_ns)
{
    struct script *s = SCRIPT_OF(t, second);
    note(s, 'b');
    s->b_ns = now_ns;
    worker_stop(s->w);
}

static void early_fire(struct timer *t, int64_t now_ns)
{
    struct script *s = SCRIPT_OF(t, timer);
    note(s, 'a');
    s->a_ns = now_ns;
}

static void timers_start(struct worker *w)
{
    struct script *s = worker_user(w);
    timer_init(&s->timer, early_fire);
    timer_init(&s->second, last_fire);
    s->a_ns = s->b_ns = 0;
    timer_arm(w, &s->second, worker_now_ns(w) + 30 * MONO_MS);
    timer_arm(w, &s->timer, worker_now_ns(w) + 5 * MONO_MS);
}

static void test_timers_fire_in_their_time_on_an_idle_loop(void **state)
{
    (void)state;
    struct script s = {0};
    s.w = new_worker(&s);
    int64_t before_ns = mono_now_ns();
    worker_run(s.w, timers_start);
    assert_true(s.a_ns >= before_ns + 5 * MONO_MS);
    assert_true(s.b_ns >= before_ns + 30 * MONO_MS);
    assert_memory_equal(s.order, "ab", 2); /* in one turn, if the machine stood still meanwhile */
    worker_free(s.w);
}

static void again_fire(struct timer *t, int64_t now_ns)
{
    struct script *s = SCRIPT_OF(t, timer);
    if (++s->count == 1000)
        worker_stop(s->w);
    timer_arm(s->w, t, now_ns);
}

static void count_hook(void *ctx)
{
    ((struct script *)ctx)->a_ns++;
}

static void again_start(struct worker *w)
{
    struct script *s = worker_user(w);
    worker_at_turn_end(w, count_hook, s);
    timer_init(&s->timer, again_fire);
    timer_arm(w, &s->timer, 0);
}

static void test_timer_that_rearms_itself_lets_turns_end(void **state)
{
    (void)state;
    struct script s = {0};
    s.w = new_worker(&s);
    worker_run(s.w, again_start);
    assert_true(s.count >= 1000);
    assert_true(s.a_ns >= s.count); /* a turn for each firing */
    worker_free(s.w);
}

/* ---- mail ---- */

struct counted {
    struct mail mail; /* first */
    atomic_int *delivered;
};

static void count_delivery(struct mail *m, struct worker *w)
{
    struct counted *c = (struct counted *)m;
    if (atomic_fetch_add(c->delivered, 1) + 1 == 1000)
        worker_stop(w);
    free(c);
}

static struct counted *new_counted(atomic_int *delivered)
{
    struct counted *c = calloc(1, sizeof(*c));
    *c = (struct counted){.mail = {.deliver = count_delivery}, .delivered = delivered};
    return c;
}

static void test_a_batch_of_letters_takes_one_wake_up(void **state)
{
    (void)state;
    struct worker *w = new_worker(NULL);
    atomic_int delivered = 0;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(worker_post(w, &new_counted(&delivered)->mail), TG_OK);
    assert_int_equal(atomic_load(&w->signals), 1);
    worker_run(w, NULL);
    assert_int_equal(atomic_load(&delivered), 1000);
    worker_free(w);
}

static void test_post_after_stop_is_refused_and_earlier_letters_are_delivered(void **state)
{
    (void)state;
    struct worker *w = new_worker(NULL);
    atomic_int delivered = 0;
    assert_int_equal(worker_start(w, NULL), TG_OK);
    worker_stop(w);
    int accepted = 0;
    for (;;) {
        struct counted *c = new_counted(&delivered);
        if (worker_post(w, &c->mail) == TG_OK) {
            accepted++;
            continue;
        }
        free(c);
        break;
    }
    worker_join(w);
    assert_int_equal(atomic_load(&delivered), accepted);
    worker_free(w);
}

static void test_letters_to_a_worker_that_never_ran_are_delivered_when_freed(void **state)
{
    (void)state;
    struct worker *w = new_worker(NULL);
    atomic_int delivered = 0;
    assert_int_equal(worker_post(w, &new_counted(&delivered)->mail), TG_OK);
    worker_free(w);
    assert_int_equal(atomic_load(&delivered), 1);
}

/* ---- wakes from threads ---- */

enum { WAKERS = 3, WAKES_EACH = 20000 };

struct completions {
    struct worker *w;
    struct worker_wake *wake;
    atomic_int added;
    int seen, calls;
};

static void take_completions(void *ctx)
{
    struct completions *c = ctx;
    c->calls++;
    c->seen = atomic_load(&c->added);
    if (c->seen == WAKERS * WAKES_EACH)
        worker_stop(c->w);
}

static void *add_completions(void *arg)
{
    struct completions *c = arg;
    for (int i = 0; i < WAKES_EACH; i++) {
        atomic_fetch_add(&c->added, 1);
        worker_wake(c->wake);
    }
    return NULL;
}

static void test_no_wake_is_lost_and_calls_fold(void **state)
{
    (void)state;
    struct completions c = {0};
    c.w = new_worker(NULL);
    c.wake = worker_wake_new(c.w, take_completions, &c);
    pthread_t t[WAKERS];
    for (int i = 0; i < WAKERS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, add_completions, &c), 0);
    worker_run(c.w, NULL); /* hangs (alarm) when the last wake is lost */
    for (int i = 0; i < WAKERS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(c.seen, WAKERS * WAKES_EACH);
    assert_true(c.calls <= c.seen);
    worker_free(c.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_is_timers_mail_wakes_hooks),
        cmocka_unit_test(test_timers_fire_in_their_time_on_an_idle_loop),
        cmocka_unit_test(test_timer_that_rearms_itself_lets_turns_end),
        cmocka_unit_test(test_a_batch_of_letters_takes_one_wake_up),
        cmocka_unit_test(test_post_after_stop_is_refused_and_earlier_letters_are_delivered),
        cmocka_unit_test(test_letters_to_a_worker_that_never_ran_are_delivered_when_freed),
        cmocka_unit_test(test_no_wake_is_lost_and_calls_fold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
