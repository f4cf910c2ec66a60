/* bucket_test.c - the token bucket, rule by rule. Time is an argument, so nothing sleeps: a test is
 * a list of (time, action, expected). The property behind them is tests/sim/contract_test.c. */
#include "limiter/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MS   INT64_C(1000000)
#define S    INT64_C(1000000000)
#define HOUR (3600 * S)
#define YEAR (365 * 24 * HOUR)

__extension__ typedef unsigned __int128 u128;

struct fixture {
    struct tg_bucket_params p;
    struct tg_bucket b;
};

static struct fixture make(int64_t rate, int64_t period_ns, int64_t burst, int64_t tokens)
{
    struct fixture f = {.p = tg_bucket_params_make(rate, period_ns, burst)};
    tg_bucket_init(&f.b, &f.p, tokens, 0);
    return f;
}

static bool has(struct fixture *f, int64_t now_ns)
{
    return tg_bucket_has_tokens(&f->b, &f->p, now_ns);
}

static void charge(struct fixture *f, uint64_t n, int64_t now_ns)
{
    tg_bucket_charge(&f->b, &f->p, n, now_ns);
}

static int64_t balance(struct fixture *f, int64_t now_ns)
{
    return tg_bucket_balance(&f->b, &f->p, now_ns);
}

static int64_t wait_ns(struct fixture *f, int64_t now_ns)
{
    return tg_bucket_wait_ns(&f->b, &f->p, now_ns);
}

static void retune(struct fixture *f, int64_t rate, int64_t period_ns, int64_t burst,
                   int64_t now_ns)
{
    struct tg_bucket_params was = f->p;
    f->p = tg_bucket_params_make(rate, period_ns, burst);
    tg_bucket_retune(&f->b, &was, &f->p, now_ns);
}

static void test_state_is_16_bytes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct tg_bucket), 16);
}

static void test_fresh_bucket_holds_what_it_was_given(void **state)
{
    (void)state;
    struct fixture f = make(10, S, 100, 10);
    assert_int_equal(balance(&f, 0), 10);
    f = make(10, S, 100, 101);
    assert_int_equal(balance(&f, 0), 100);
    f = make(10, S, 100, -1);
    assert_int_equal(balance(&f, 0), 0);
    assert_false(has(&f, 0));
}

static void test_refills_at_the_rate_up_to_the_burst(void **state)
{
    (void)state;
    struct fixture f = make(10, S, 100, 0);
    assert_int_equal(balance(&f, 5 * S), 50);
    assert_int_equal(balance(&f, 6 * S), 60);
    assert_int_equal(balance(&f, 10 * S), 100);
    assert_int_equal(balance(&f, 11 * S), 100);
}

static void test_idle_for_hours_gives_the_burst_and_no_more(void **state)
{
    (void)state;
    struct fixture f = make(1000, S, 1500, 0);
    assert_int_equal(balance(&f, 7 * HOUR), 1500);
    charge(&f, 1500, 7 * HOUR);
    assert_false(has(&f, 7 * HOUR));
    assert_int_equal(balance(&f, 7 * HOUR + S), 1000);
}

/* Apache Pulsar's bucket multiplies elapsed time and rate in 64 bits: after 92 s at 100 MB/s the
 * product wraps, and an idle bucket comes back empty. */
static void test_idle_100s_at_100MB(void **state)
{
    (void)state;
    for (int64_t idle_s = 90; idle_s <= 100; idle_s++) {
        struct fixture f = make(100000000, S, 100000000, 100000000);
        charge(&f, 100000000, 0);
        assert_int_equal(balance(&f, idle_s * S), 100000000);
    }
}

static void test_idle_for_a_year_at_2_40(void **state)
{
    (void)state;
    struct fixture f = make(TG_RATE_MAX_PER_S, S, TG_RATE_MAX_PER_S, 0);
    assert_int_equal(balance(&f, YEAR), TG_RATE_MAX_PER_S);
    f = make(TG_RATE_MAX_PER_S, S, TG_BURST_MAX, 0);
    assert_int_equal(balance(&f, YEAR), TG_BURST_MAX);
    charge(&f, TG_BURST_MAX, YEAR);
    assert_int_equal(balance(&f, YEAR), 0);
    assert_in_range(balance(&f, YEAR + S), TG_RATE_MAX_PER_S - TG_RATE_MAX_PER_S / 1000000,
                    TG_RATE_MAX_PER_S);
}

static void test_clock_standing_still_grants_nothing(void **state)
{
    (void)state;
    struct fixture f = make(TG_RATE_MAX_PER_S, S, 1000, 5);
    for (int i = 0; i < 5; i++) {
        assert_true(has(&f, 0));
        charge(&f, 1, 0);
    }
    for (int i = 0; i < 1000; i++)
        assert_false(has(&f, 0));
    assert_int_equal(balance(&f, 0), 0);
}

static void test_clock_stepping_back_grants_and_takes_nothing(void **state)
{
    (void)state;
    struct fixture f = make(1000, S, 1000, 0);
    assert_int_equal(balance(&f, 500 * MS), 500);
    assert_int_equal(balance(&f, 100 * MS), 500);
    assert_int_equal(balance(&f, INT64_MIN), 500);
    charge(&f, 500, 200 * MS);
    assert_false(has(&f, 500 * MS)); /* this half second was credited before */
    assert_int_equal(balance(&f, 600 * MS), 100);
}

static void test_wait_counts_a_clock_that_stepped_back(void **state)
{
    (void)state;
    struct fixture f = make(1000, S, 1000, 0);
    assert_false(has(&f, 0));
    charge(&f, 500, 500 * MS);
    assert_int_equal(wait_ns(&f, 400 * MS), 100 * MS + 1);
    assert_false(has(&f, 500 * MS));
    assert_true(has(&f, 500 * MS + 1));
}

static void test_a_clock_swinging_back_and_forth_is_credited_once(void **state)
{
    (void)state;
    struct fixture f = make(1000, S, 1000, 0);
    for (int i = 0; i < 10000; i++)
        assert_in_range(balance(&f, i % 2 ? 3 * MS : 0), 0, 3);
    assert_int_equal(balance(&f, 3 * MS), 3);
}

static void test_rate_0_never_refills(void **state)
{
    (void)state;
    struct fixture f = make(0, S, 10, 10);
    charge(&f, 10, 0);
    assert_false(has(&f, YEAR));
    assert_int_equal(wait_ns(&f, YEAR), INT64_MAX);
}

static void test_take_exactly_what_is_left(void **state)
{
    (void)state;
    struct fixture f = make(10, S, 10, 10);
    charge(&f, 10, 0);
    assert_int_equal(balance(&f, 0), 0);
    assert_false(has(&f, 0));
    assert_true(has(&f, 1)); /* above zero, by however little */
}

static void test_who_comes_late_at_a_burst_of_one_loses_nothing(void **state)
{
    (void)state;
    struct fixture f = make(1, S, 1, 1);
    int64_t now_ns = 0;
    charge(&f, 1, 0);
    for (int i = 0; i < 1000; i++) {
        now_ns += wait_ns(&f, now_ns) + (i % 2 ? 0 : 20 * MS); /* a busy loop's timer */
        assert_true(has(&f, now_ns));
        charge(&f, 1, now_ns);
    }
    assert_in_range(now_ns, 999 * S, 999 * S + 20 * MS);
}

static void test_taking_more_than_capacity_overdraws_and_is_repaid_exactly(void **state)
{
    (void)state;
    struct fixture f = make(10, S, 100, 100);
    assert_true(has(&f, 0));
    charge(&f, 150, 0);
    assert_int_equal(balance(&f, 0), -50);
    assert_int_equal(wait_ns(&f, 0), 5000 * MS + 1); /* the debt, and anything above it */
    assert_false(has(&f, 5000 * MS));
    assert_int_equal(balance(&f, 5000 * MS), 0);
    assert_true(has(&f, 5000 * MS + 1));
    assert_int_equal(balance(&f, 5100 * MS), 1);
}

static void test_an_absurd_charge_saturates(void **state)
{
    (void)state;
    struct fixture f = make(TG_RATE_MAX_PER_S, S, TG_RATE_MAX_PER_S, 1);
    charge(&f, UINT64_MAX, 0);
    charge(&f, UINT64_MAX, 0);
    assert_true(balance(&f, 0) <= -TG_RATE_MAX_PER_S);
    int64_t wait = wait_ns(&f, 0);
    assert_true(wait > S);
    assert_false(has(&f, wait - 1));
    assert_true(has(&f, wait));
}

static void test_the_ends_of_the_clock_do_not_wrap(void **state)
{
    (void)state;
    struct fixture f = make(TG_RATE_MAX_PER_S, S, TG_RATE_MAX_PER_S, 0);
    tg_bucket_init(&f.b, &f.p, 0, INT64_MIN);
    assert_int_equal(balance(&f, INT64_MAX), TG_RATE_MAX_PER_S);
    charge(&f, UINT64_MAX, INT64_MAX);
    assert_int_equal(wait_ns(&f, INT64_MIN), INT64_MAX);
}

static void test_rate_of_1_per_second_and_1_per_hour(void **state)
{
    (void)state;
    struct fixture f = make(1, S, 1, 1);
    charge(&f, 2, 0);
    assert_int_equal(wait_ns(&f, 0), S + 1);
    assert_false(has(&f, S));
    assert_true(has(&f, S + 1));

    f = make(1, HOUR, 1, 0);
    charge(&f, 1, 0);
    assert_false(has(&f, HOUR));
    assert_true(has(&f, HOUR + 1));
}

static void test_rate_of_2_40_per_second(void **state)
{
    (void)state;
    struct fixture f = make(TG_RATE_MAX_PER_S, S, TG_RATE_MAX_PER_S, 0);
    assert_int_equal(balance(&f, 1), 1099);
    assert_int_equal(balance(&f, 1000), 1099511);
    assert_int_equal(balance(&f, S / 2), TG_RATE_MAX_PER_S / 2);
}

static void test_rates_and_bursts_beyond_32_bits(void **state)
{
    (void)state;
    const int64_t rates[] = {INT64_C(1) << 31, (INT64_C(1) << 31) + 1, INT64_C(1) << 32,
                             (INT64_C(1) << 32) + 1, INT64_C(8589934583)};
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct fixture f = make(rates[i], S, rates[i], 0);
        assert_int_equal(balance(&f, S - 1), rates[i] - (rates[i] + S - 1) / S);
        assert_int_equal(balance(&f, S), rates[i]);
        charge(&f, (uint64_t)rates[i], S);
        assert_int_equal(balance(&f, S), 0);
    }
}

/* Every refill brings less than a token. 1e6 steps of 1 us at 7/s: exactly 7 tokens. */
static void test_a_million_refills_of_a_fraction_do_not_drift(void **state)
{
    (void)state;
    struct fixture f = make(7, S, 100, 0);
    for (int i = 1; i <= 1000000; i++)
        tg_bucket_refill(&f.b, &f.p, i * INT64_C(1000));
    assert_int_equal(balance(&f, S), 7);
    assert_false(balance(&f, S + 142857142) > 7);
    assert_int_equal(balance(&f, S + 142857143), 8);
}

static void test_refills_of_a_nanosecond_do_not_drift_at_any_rate(void **state)
{
    (void)state;
    const int64_t rates[] = {1, 3, 999999937, INT64_C(1099511627689)};
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct fixture often = make(rates[i], S, rates[i], 0), once = often;
        for (int t = 1; t <= 1000000; t++)
            tg_bucket_refill(&often.b, &often.p, t);
        tg_bucket_refill(&once.b, &once.p, 1000000);
        assert_int_equal(often.b.level, once.b.level);
    }
}

static void test_wait_then_consume_always_succeeds(void **state)
{
    (void)state;
    const int64_t rates[] = {1, 3, 7, 999, 1001, 123456789, 999999999, INT64_C(1099511627689)};
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct fixture f = make(rates[i], S, rates[i], 1);
        int64_t now_ns = 0;
        for (uint64_t n = 1; n < 5000; n += 7) {
            int64_t wait = wait_ns(&f, now_ns);
            now_ns += wait;
            if (wait > 0)
                assert_false(has(&f, now_ns - 1));
            assert_true(has(&f, now_ns));
            assert_int_equal(wait_ns(&f, now_ns), 0);
            charge(&f, n, now_ns);
        }
    }
}

static void test_raising_the_rate_keeps_the_balance(void **state)
{
    (void)state;
    struct fixture f = make(10, S, 10, 4);
    retune(&f, 1000, S, 1000, 0);
    assert_int_equal(balance(&f, 0), 4);
    assert_int_equal(balance(&f, 100 * MS), 104);
}

static void test_lowering_the_burst_clamps_the_balance(void **state)
{
    (void)state;
    struct fixture f = make(1000, S, 1000, 1000);
    retune(&f, 10, S, 10, 0);
    assert_int_equal(balance(&f, 0), 10);
    retune(&f, 1000, S, 1000, 0);
    assert_int_equal(balance(&f, 0), 10); /* and raising it again brings nothing back */
}

static void test_retuning_keeps_debt(void **state)
{
    (void)state;
    struct fixture f = make(1000, S, 1000, 1000);
    charge(&f, 6000, 0);
    retune(&f, 10, S, 10, 0);
    assert_int_equal(balance(&f, 0), -5000);
    retune(&f, 5000, S, 5000, 0);
    assert_int_equal(balance(&f, 0), -5000);
    assert_int_equal(balance(&f, S), 0);
}

static void test_retuning_credits_the_time_before_at_the_old_rate(void **state)
{
    (void)state;
    struct fixture f = make(100, S, 1000, 0);
    retune(&f, 1, S, 1000, 2 * S);
    assert_int_equal(balance(&f, 2 * S), 200);
    assert_int_equal(balance(&f, 3 * S), 201);
}

/* Half a token stays half a token, however often the limit is changed. */
static void test_retuning_keeps_the_fraction_of_a_token(void **state)
{
    (void)state;
    struct fixture f = make(1, HOUR, 5, 0);
    tg_bucket_refill(&f.b, &f.p, HOUR / 2);
    for (int i = 0; i < 1000; i++)
        retune(&f, i % 2 ? 1 : 2, HOUR, 5, HOUR / 2);
    assert_int_equal(balance(&f, HOUR - 1), 0);
    assert_int_equal(balance(&f, HOUR), 1);
}

/* The bug: every change of a policy swaps in a new, full bucket. */
static void test_changing_a_limit_grants_no_fresh_burst_and_forgives_no_debt(void **state)
{
    (void)state;
    struct fixture f = make(1000, S, 1000, 1000);
    charge(&f, 1000, 0);
    for (int i = 0; i < 100; i++) {
        retune(&f, 1000 + i, S, 1000 + i, 0);
        assert_false(has(&f, 0));
    }
    charge(&f, 50, 0);
    for (int i = 0; i < 100; i++)
        retune(&f, 1000 + i, S, 1000 + i, 0);
    assert_int_equal(balance(&f, 0), -50);
}

static void test_retuning_to_rate_0_and_back_keeps_whole_tokens(void **state)
{
    (void)state;
    struct fixture f = make(10, S, 10, 7);
    retune(&f, 0, S, 10, 0);
    assert_int_equal(balance(&f, HOUR), 7);
    retune(&f, 10, S, 10, HOUR);
    assert_int_equal(balance(&f, HOUR), 7);
    assert_int_equal(balance(&f, HOUR + 100 * MS), 8);
}

static void test_retuning_saturates(void **state)
{
    (void)state;
    struct fixture f = make(TG_RATE_MAX_PER_S, S, TG_BURST_MAX, TG_BURST_MAX);
    retune(&f, 1, HOUR, 5, 0);
    assert_int_equal(balance(&f, 0), 5);
    f = make(TG_RATE_MAX_PER_S, S, TG_BURST_MAX, 0);
    charge(&f, TG_BURST_MAX, 0);
    retune(&f, 1, HOUR, 5, 0);
    assert_true(balance(&f, YEAR) < 0);
}

static void test_giving_back_is_clamped_at_the_burst(void **state)
{
    (void)state;
    struct fixture f = make(10, S, 100, 50);
    charge(&f, 30, 0);
    tg_bucket_give_back(&f.b, &f.p, 20, 0);
    assert_int_equal(balance(&f, 0), 40);
    tg_bucket_give_back(&f.b, &f.p, UINT64_MAX, 0);
    assert_int_equal(balance(&f, 0), 100);
    charge(&f, 300, 0);
    tg_bucket_give_back(&f.b, &f.p, 250, 0);
    assert_int_equal(balance(&f, 0), 50);
}

/* per_ns / per_token against rate / period: never above, and below by less than <most>. */
static void check_rate_error(int64_t rate, int64_t period_ns, int64_t burst, long double most)
{
    struct tg_bucket_params p = tg_bucket_params_make(rate, period_ns, burst);
    u128 asked = (u128)rate * p.per_token, served = (u128)p.per_ns * period_ns;
    assert_true(served <= asked);
    assert_true((long double)(asked - served) < most * (long double)asked);
    assert_true(p.per_token < UINT64_C(1) << 42);
    assert_int_equal(p.full / p.per_token, burst);
}

static void test_the_served_rate_is_never_over_and_under_by_less_than_1e_8(void **state)
{
    (void)state;
    const int64_t periods[] = {MS, 7 * MS + 13, S, 60 * S, HOUR - 1, HOUR};
    for (unsigned i = 0; i < sizeof periods / sizeof periods[0]; i++) {
        long double most = (long double)TG_RATE_MAX_PER_S * periods[i] / S;
        /* Powers of two and of ten, and the rates around them: the hard ones lie just below. */
        for (int64_t r = 1; r < most; r *= r % 10 == 0 ? 10 : 2) {
            int64_t second = (int64_t)((long double)r * S / periods[i]) + 1;
            for (int64_t d = r > 1 ? -1 : 0; d <= 1; d++) {
                check_rate_error(r + d, periods[i], second, 1e-8L);
                check_rate_error(r + d, periods[i], 1, 1e-8L);
                if (second < TG_BURST_MAX / 3600)
                    check_rate_error(r + d, periods[i], second * 3600, 1e-6L);
            }
            if (r == INT64_C(1) << 40)
                r = 10;
        }
    }
    check_rate_error(999999999, S, INT64_C(1) << 35, 1e-8L);
    check_rate_error(TG_RATE_MAX_PER_S - 1, S, INT64_C(34) * TG_RATE_MAX_PER_S, 1e-8L);
}

static void test_whole_rates_per_second_are_exact(void **state)
{
    (void)state;
    const int64_t rates[] = {1, 7, 999999937, 999999999, 1000000001, 7999999999};
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct tg_bucket_params p = tg_bucket_params_make(rates[i], S, INT64_C(1) << 33);
        assert_true((u128)p.per_ns * S == (u128)p.per_token * rates[i]);
    }
}

static void test_arguments_out_of_range_are_clamped(void **state)
{
    (void)state;
    struct fixture f = make(INT64_MAX, S, INT64_MAX, INT64_MAX);
    assert_int_equal(balance(&f, 0), TG_BURST_MAX);
    charge(&f, TG_BURST_MAX, 0);
    assert_true(balance(&f, S) <= TG_RATE_MAX_PER_S);
    f = make(-5, -5, -5, 1);
    assert_int_equal(balance(&f, YEAR), 1);
}

static void test_a_burst_that_takes_centuries_does_not_fit(void **state)
{
    (void)state;
    assert_true(tg_bucket_burst_fits(TG_RATE_MAX_PER_S, S, TG_BURST_MAX));
    assert_false(tg_bucket_burst_fits(TG_RATE_MAX_PER_S, S, TG_BURST_MAX + 1));
    assert_false(tg_bucket_burst_fits(1, S, -1));
    assert_true(tg_bucket_burst_fits(1, HOUR, 1000000)); /* 114 years */
    assert_false(tg_bucket_burst_fits(1, HOUR, 3000000));
    struct tg_bucket_params p = tg_bucket_params_make(1, HOUR, 3000000);
    assert_true(p.full > 0 && p.per_ns == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_is_16_bytes),
        cmocka_unit_test(test_fresh_bucket_holds_what_it_was_given),
        cmocka_unit_test(test_refills_at_the_rate_up_to_the_burst),
        cmocka_unit_test(test_idle_for_hours_gives_the_burst_and_no_more),
        cmocka_unit_test(test_idle_100s_at_100MB),
        cmocka_unit_test(test_idle_for_a_year_at_2_40),
        cmocka_unit_test(test_clock_standing_still_grants_nothing),
        cmocka_unit_test(test_clock_stepping_back_grants_and_takes_nothing),
        cmocka_unit_test(test_wait_counts_a_clock_that_stepped_back),
        cmocka_unit_test(test_a_clock_swinging_back_and_forth_is_credited_once),
        cmocka_unit_test(test_rate_0_never_refills),
        cmocka_unit_test(test_take_exactly_what_is_left),
        cmocka_unit_test(test_who_comes_late_at_a_burst_of_one_loses_nothing),
        cmocka_unit_test(test_taking_more_than_capacity_overdraws_and_is_repaid_exactly),
        cmocka_unit_test(test_an_absurd_charge_saturates),
        cmocka_unit_test(test_the_ends_of_the_clock_do_not_wrap),
        cmocka_unit_test(test_rate_of_1_per_second_and_1_per_hour),
        cmocka_unit_test(test_rate_of_2_40_per_second),
        cmocka_unit_test(test_rates_and_bursts_beyond_32_bits),
        cmocka_unit_test(test_a_million_refills_of_a_fraction_do_not_drift),
        cmocka_unit_test(test_refills_of_a_nanosecond_do_not_drift_at_any_rate),
        cmocka_unit_test(test_wait_then_consume_always_succeeds),
        cmocka_unit_test(test_raising_the_rate_keeps_the_balance),
        cmocka_unit_test(test_lowering_the_burst_clamps_the_balance),
        cmocka_unit_test(test_retuning_keeps_debt),
        cmocka_unit_test(test_retuning_credits_the_time_before_at_the_old_rate),
        cmocka_unit_test(test_retuning_keeps_the_fraction_of_a_token),
        cmocka_unit_test(test_changing_a_limit_grants_no_fresh_burst_and_forgives_no_debt),
        cmocka_unit_test(test_retuning_to_rate_0_and_back_keeps_whole_tokens),
        cmocka_unit_test(test_retuning_saturates),
        cmocka_unit_test(test_giving_back_is_clamped_at_the_burst),
        cmocka_unit_test(test_the_served_rate_is_never_over_and_under_by_less_than_1e_8),
        cmocka_unit_test(test_whole_rates_per_second_are_exact),
        cmocka_unit_test(test_arguments_out_of_range_are_clamped),
        cmocka_unit_test(test_a_burst_that_takes_centuries_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
