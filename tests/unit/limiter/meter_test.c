/* meter_test.c - the decaying rate, on a virtual clock. */
#include "limiter/meter.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MS   INT64_C(1000000)
#define S    INT64_C(1000000000)
#define YEAR (365 * 24 * 3600 * S)

static void assert_near(double got, double wanted, double relative)
{
    if (fabs(got - wanted) <= relative * fabs(wanted))
        return;
    print_error("got %.17g, wanted %.17g\n", got, wanted);
    fail();
}

/* <per_ms> events each millisecond from <from_ns> for <span_ns>; returns the end. */
static int64_t feed(struct tg_meter *m, uint64_t per_ms, int64_t from_ns, int64_t span_ns)
{
    for (int64_t t = from_ns; t < from_ns + span_ns; t += MS)
        tg_meter_add(m, per_ms, t);
    return from_ns + span_ns;
}

static void test_zero_initialised_reads_zero(void **state)
{
    (void)state;
    struct tg_meter m = {0};
    assert_true(tg_meter_rate(&m, 0) == 0);
    assert_true(tg_meter_rate(&m, YEAR) == 0);
    assert_int_equal(tg_meter_total(&m), 0);
}

static void test_a_steady_rate_is_read_exactly_after_some_tau(void **state)
{
    (void)state;
    struct tg_meter m = {0};
    int64_t t = feed(&m, 5, 1000 * S, 20 * S);
    assert_near(tg_meter_rate(&m, t), 5000, 1e-3);
    assert_int_equal(tg_meter_total(&m), 100000);
}

/* Turns of 10 us, as of a worker under load. */
static void test_a_steady_rate_is_read_well_whatever_the_turns(void **state)
{
    (void)state;
    struct tg_meter m = {0};
    for (int64_t t = S; t < 11 * S; t += MS / 100)
        tg_meter_add(&m, 3, t);
    assert_near(tg_meter_rate(&m, 11 * S), 300000, 1e-3);
    assert_int_equal(tg_meter_total(&m), 3000000);
}

static void test_it_follows_a_change_within_some_tau(void **state)
{
    (void)state;
    struct tg_meter m = {0};
    int64_t t = feed(&m, 100, 0, 10 * S);
    t = feed(&m, 1, t, S);
    assert_near(tg_meter_rate(&m, t), 1000 + 99000 * exp(-1), 0.01);
    t = feed(&m, 1, t, 15 * S);
    assert_near(tg_meter_rate(&m, t), 1000, 0.01);
}

static void test_it_decays_by_e_each_second(void **state)
{
    (void)state;
    struct tg_meter m = {0};
    tg_meter_add(&m, 1000000, 0);
    for (int64_t t = 0; t < 500 * S; t += 37 * MS)
        assert_near(tg_meter_rate(&m, t), 1e6 * exp(-(double)t / S), 1e-12);
}

static void test_decay_in_small_steps_equals_one_large_step(void **state)
{
    (void)state;
    struct tg_meter often = {0}, once = {0};
    tg_meter_add(&often, 1000, 0);
    tg_meter_add(&once, 1000, 0);
    for (int64_t t = 1; t <= 1000000; t++)
        tg_meter_add(&often, 0, t * 1000);
    assert_near(tg_meter_rate(&often, S), tg_meter_rate(&once, S), 1e-9);
}

static void test_it_decays_to_zero_when_nothing_comes(void **state)
{
    (void)state;
    struct tg_meter m = {0};
    tg_meter_add(&m, UINT64_MAX, 0);
    assert_true(tg_meter_rate(&m, 60 * S) < 1e-6);
    assert_true(tg_meter_rate(&m, YEAR) == 0);
    assert_true(tg_meter_rate(&m, INT64_MAX) == 0);
}

static void test_a_clock_standing_still_or_stepping_back_decays_nothing(void **state)
{
    (void)state;
    struct tg_meter m = {0};
    tg_meter_add(&m, 100, 10 * S);
    tg_meter_add(&m, 100, 10 * S);
    tg_meter_add(&m, 100, 9 * S);
    assert_true(tg_meter_rate(&m, 10 * S) == 300);
    assert_true(tg_meter_rate(&m, 0) == 300);
    assert_near(tg_meter_rate(&m, 11 * S), 300 * exp(-1), 1e-12);
}

static void test_the_first_event_may_come_at_any_time(void **state)
{
    (void)state;
    struct tg_meter m = {0};
    tg_meter_add(&m, 10, -5 * S);
    assert_near(tg_meter_rate(&m, -4 * S), 10 * exp(-1), 1e-12);
}

static void test_the_total_saturates(void **state)
{
    (void)state;
    struct tg_meter m = {0};
    tg_meter_add(&m, UINT64_MAX, 0);
    tg_meter_add(&m, 2, 0);
    assert_true(tg_meter_total(&m) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_initialised_reads_zero),
        cmocka_unit_test(test_a_steady_rate_is_read_exactly_after_some_tau),
        cmocka_unit_test(test_a_steady_rate_is_read_well_whatever_the_turns),
        cmocka_unit_test(test_it_follows_a_change_within_some_tau),
        cmocka_unit_test(test_it_decays_by_e_each_second),
        cmocka_unit_test(test_decay_in_small_steps_equals_one_large_step),
        cmocka_unit_test(test_it_decays_to_zero_when_nothing_comes),
        cmocka_unit_test(test_a_clock_standing_still_or_stepping_back_decays_nothing),
        cmocka_unit_test(test_the_first_event_may_come_at_any_time),
        cmocka_unit_test(test_the_total_saturates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
