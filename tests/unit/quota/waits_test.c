/* Waits: counts and times of those who wait at a scope, from one thread and from several. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mono.h"
#include "quota/waits.h"

#define S(n)    ((n)*MONO_S)
#define UNIT_NS (INT64_C(1) << 14) /* the beginning of anybody's waiting is kept so exactly */

static void about(int64_t got, int64_t wanted)
{
    if (got < wanted - UNIT_NS || got > wanted + UNIT_NS)
        fail_msg("%lld instead of %lld", (long long)got, (long long)wanted);
}

static void test_time_is_summed_over_producers_and_counted_once_with_anybody_waiting(void **state)
{
    (void)state;
    struct waits w = {0};
    waits_begin(&w, S(10));
    waits_begin(&w, S(12));
    struct waits_view v = waits_view(&w, S(15));
    assert_int_equal(v.waiting, 2);
    assert_int_equal(v.summed_ns, S(5) + S(3));
    about(v.wall_ns, S(5));
    waits_end(&w, S(10), S(16));
    waits_end(&w, S(12), S(20));
    v = waits_view(&w, S(50));
    assert_int_equal(v.waiting, 0);
    assert_int_equal(v.summed_ns, S(6) + S(8));
    about(v.wall_ns, S(10));
    waits_begin(&w, S(60));
    about(waits_view(&w, S(61)).wall_ns, S(11));
    waits_end(&w, S(60), S(61));
    v = waits_view(&w, S(100));
    about(v.wall_ns, S(11));
    assert_int_equal(v.times, 3);
}

static void test_what_was_delayed_discarded_and_each_step(void **state)
{
    (void)state;
    struct waits w = {0};
    waits_delayed(&w, 5, 500);
    waits_delayed(&w, 1, 7);
    waits_discarded(&w, 2, 20);
    waits_step(&w, 1);
    waits_step(&w, 3);
    waits_step(&w, 3);
    struct waits_view v = waits_view(&w, 0);
    assert_int_equal(v.msgs, 6);
    assert_int_equal(v.bytes, 507);
    assert_int_equal(v.discarded_msgs, 2);
    assert_int_equal(v.discarded_bytes, 20);
    assert_int_equal(v.steps[1], 1);
    assert_int_equal(v.steps[3], 2);
    assert_int_equal(waits_view(NULL, 9).waiting, 0);
}

static void test_another_workers_clock_may_be_behind(void **state)
{
    (void)state;
    struct waits w = {0};
    waits_begin(&w, S(10));
    struct waits_view v = waits_view(&w, S(9));
    assert_int_equal(v.wall_ns, 0);
    assert_int_equal(v.summed_ns, 0);
    waits_end(&w, S(10), S(10));
}

static void test_years_of_uptime(void **state)
{
    (void)state;
    struct waits w = {0};
    int64_t year = INT64_C(365) * 24 * 3600;
    waits_begin(&w, S(7 * year));
    about(waits_view(&w, S(7 * year + 100)).wall_ns, S(100));
    waits_end(&w, S(7 * year), S(7 * year + 100));
    about(waits_view(&w, S(8 * year)).wall_ns, S(100));
}

static void test_more_than_can_be_counted_are_not(void **state)
{
    (void)state;
    struct waits w = {0};
    uint32_t most = 0;
    while (most < 1U << 21 && waits_begin(&w, S(10)))
        most++;
    assert_in_range(most, 1000000, (1 << 21) - 1);
    assert_int_equal(waits_view(&w, S(11)).waiting, most);
    about(waits_view(&w, S(11)).wall_ns, S(1));
    waits_end(&w, S(10), S(11));
    assert_true(waits_begin(&w, S(11)));
    assert_false(waits_begin(&w, S(11)));
    assert_int_equal(waits_view(&w, S(11)).waiting, most);
}

/* ---- threads: each waits all the time but for instants, one after the other ---- */

enum { THREADS = 4, ROUNDS = 20000 };

static void *wait_often(void *arg)
{
    struct waits *w = arg;
    for (int64_t i = 0; i < ROUNDS; i++) {
        waits_begin(w, i * UNIT_NS);
        waits_delayed(w, 1, 2);
        waits_end(w, i * UNIT_NS, (i + 1) * UNIT_NS);
    }
    return NULL;
}

static void test_nothing_is_lost_between_threads(void **state)
{
    (void)state;
    struct waits w = {0};
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, wait_often, &w), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    struct waits_view v = waits_view(&w, ROUNDS * UNIT_NS);
    assert_int_equal(v.waiting, 0);
    assert_int_equal(v.times, THREADS * ROUNDS);
    assert_int_equal(v.summed_ns, THREADS * ROUNDS * UNIT_NS);
    assert_int_equal(v.bytes, 2 * THREADS * ROUNDS);
    assert_int_equal(v.discarded_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_is_summed_over_producers_and_counted_once_with_anybody_waiting),
        cmocka_unit_test(test_what_was_delayed_discarded_and_each_step),
        cmocka_unit_test(test_another_workers_clock_may_be_behind),
        cmocka_unit_test(test_years_of_uptime),
        cmocka_unit_test(test_more_than_can_be_counted_are_not),
        cmocka_unit_test(test_nothing_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
