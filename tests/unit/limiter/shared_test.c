/* shared_test.c - a bucket that several workers spend, rule by rule, on one thread. Time is an
 * argument. Random schedules: tests/sim/shared_contract_test.c; threads: shared_threads_test.c. */
#include "limiter/shared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define MS   INT64_C(1000000)
#define S    INT64_C(1000000000)
#define YEAR (365 * 24 * 3600 * S)

static struct tg_bucket_params per_s(int64_t rate, int64_t burst)
{
    return tg_bucket_params_make(rate, S, burst);
}

/* Full at time 0. */
static void init(struct tg_shared *s, int64_t rate, int64_t burst)
{
    struct tg_bucket_params p = per_s(rate, burst);
    tg_shared_init(s, &p, 100, 0);
}

static void retune(struct tg_shared *s, int64_t rate, int64_t burst, int64_t now_ns)
{
    struct tg_bucket_params p = per_s(rate, burst);
    tg_shared_retune(s, &p, 100, now_ns);
}

/* Takes messages of <n> until refused; at most <most> of them. */
static int64_t take_all(struct tg_lease *l, struct tg_shared *s, int64_t most, uint64_t n,
                        int64_t now_ns)
{
    int64_t taken = 0;
    while (taken < most && tg_lease_take(l, s, n, now_ns))
        taken++;
    return taken;
}

static void test_zero_initialised_limits_nothing(void **state)
{
    (void)state;
    struct tg_shared s = {.generation = 0};
    struct tg_lease l = {0};
    assert_false(tg_shared_is_limited(&s));
    assert_false(tg_shared_is_binding(&s));
    assert_int_equal(take_all(&l, &s, 100000, UINT64_C(1) << 50, 0), 100000);
    tg_lease_return(&l, &s, 0);
    assert_true(tg_shared_grant(&s, UINT64_MAX, 0));
    assert_true(tg_shared_has_tokens(&s, 0));
    assert_int_equal(tg_shared_wait_ns(&s, 0), 0);
    assert_int_equal(tg_shared_balance(&s, 0), INT64_MAX);
}

static void test_workers_together_take_the_burst_and_then_the_rate(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease l[3] = {{0}};
    init(&s, 1000, 5000);
    int64_t taken = 0;
    for (int64_t i = 0; i < 10000; i++)
        taken += tg_lease_take(&l[i % 3], &s, 1, 0);
    assert_int_equal(taken, 5000);
    for (int64_t ms = 1; ms <= 10000; ms++)
        for (int i = 0; i < 3; i++)
            taken += take_all(&l[i], &s, 100, 1, ms * MS);
    assert_int_equal(taken, 15000);
}

static void test_a_lease_is_at_most_1_ms_of_the_rate(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease l = {0};
    init(&s, 1000000, 1000000);
    assert_true(tg_lease_take(&l, &s, 1, 0));
    assert_int_equal(tg_shared_balance(&s, 0), 1000000 - 1000);
    assert_int_equal(take_all(&l, &s, 999, 1, 0), 999);
    assert_int_equal(tg_shared_balance(&s, 0), 1000000 - 1000);
}

static void test_a_lease_is_at_most_an_eighth_of_what_is_there(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease l = {0};
    init(&s, 1000000, 800);
    assert_true(tg_lease_take(&l, &s, 1, 0));
    assert_int_equal(tg_shared_balance(&s, 0), 700);
}

static void test_a_lease_is_never_less_than_the_message(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease l = {0};
    init(&s, 1000000, 1000000);
    assert_true(tg_lease_take(&l, &s, 30000, 0));
    assert_int_equal(tg_shared_balance(&s, 0), 1000000 - 30000);
}

static void test_below_1000_a_second_a_lease_is_one_message(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease l = {0};
    init(&s, 999, 999);
    for (int64_t i = 1; i <= 999; i++) {
        assert_true(tg_lease_has(&l, &s, 1, 0));
        tg_lease_charge(&l, &s, 1);
        assert_int_equal(tg_shared_balance(&s, 0), 999 - i);
    }
    assert_false(tg_lease_has(&l, &s, 1, 0));
}

static void test_what_is_returned_can_be_used_by_others(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0}, b = {0};
    init(&s, 1000000, 8000);
    assert_true(tg_lease_take(&a, &s, 1, 0));
    int64_t rest = take_all(&b, &s, 10000, 1, 0);
    assert_true(rest < 7999);
    tg_lease_return(&a, &s, 0);
    assert_int_equal(rest + take_all(&b, &s, 10000, 1, MS), 7999 + 1000);
}

static void test_returning_nothing_changes_nothing(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 1000000, 8000);
    tg_lease_return(&a, &s, 0);
    assert_true(tg_lease_take(&a, &s, 1, 0));
    tg_lease_return(&a, &s, 0);
    tg_lease_return(&a, &s, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 7999);
}

static void test_leases_do_not_add_to_the_burst(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0}, b = {0};
    init(&s, 1000000, 80000);
    assert_true(tg_lease_take(&a, &s, 1, 0)); /* holds 999 more */
    int64_t taken = take_all(&b, &s, 1000000, 1, S) + take_all(&a, &s, 1000000, 1, S);
    assert_in_range(taken, 79999, 80000);
}

/* The lease may have been spent just now, so that the time before does not refill its place. */
static void test_settling_late_does_not_add_to_the_burst(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0}, b = {0};
    init(&s, 1000000, 80000);
    assert_true(tg_lease_take(&a, &s, 1, 0));
    int64_t taken = take_all(&a, &s, 999, 1, S);
    tg_lease_return(&a, &s, S);
    assert_in_range(taken + take_all(&b, &s, 1000000, 1, S), 79999, 80000);
}

static void test_a_message_may_overdraw_once(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0}, b = {0};
    init(&s, 100, 100);
    assert_true(tg_lease_take(&a, &s, 99, 0));
    assert_true(tg_lease_take(&b, &s, 1000, 0));
    assert_int_equal(tg_shared_balance(&s, 0), -999);
    assert_false(tg_lease_take(&a, &s, 1, 0));
    assert_false(tg_lease_take(&b, &s, 1, 0));
    assert_false(tg_shared_grant(&s, 1, 0));
    int64_t wait_ns = tg_shared_wait_ns(&s, 0);
    assert_false(tg_lease_take(&a, &s, 1, wait_ns - 1));
    assert_true(tg_lease_take(&a, &s, 1, wait_ns));
}

/* Or else the allowance for one large message could be spent on many small ones. */
static void test_what_was_overdrawn_for_a_message_is_for_no_other(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 100, 100);
    assert_true(tg_lease_has(&a, &s, 1000, 0)); /* and is not charged */
    assert_int_equal(take_all(&a, &s, 1000, 1, 0), 100);
}

static void test_what_is_not_charged_is_given_back(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0}, b = {0};
    init(&s, 100, 100);
    assert_true(tg_lease_has(&a, &s, 1000, 0));
    assert_int_equal(tg_shared_balance(&s, 0), -900);
    assert_false(tg_lease_has(&b, &s, 1, 0));
    assert_true(tg_lease_has(&a, &s, 1000, 0)); /* the same message once more */
    assert_int_equal(tg_shared_balance(&s, 0), -900);
    tg_lease_return(&a, &s, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 100);
    assert_true(tg_lease_has(&b, &s, 1, MS));
}

static void test_nothing_passes_where_one_token_would_not(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 100, 100);
    assert_true(tg_lease_has(&a, &s, 0, 0));
    tg_lease_charge(&a, &s, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 100);
    assert_true(tg_lease_take(&a, &s, 0, 0));
    assert_int_equal(take_all(&a, &s, 1000, 1, 0), 100);
    assert_false(tg_lease_has(&a, &s, 0, 0));
    assert_false(tg_lease_take(&a, &s, 0, 0));
}

static void test_a_burst_of_one_message_refills_within_a_turn(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0}, b = {0};
    init(&s, 1, 1);
    for (int64_t i = 0; i < 1000; i++) { /* and no lease is ever returned */
        struct tg_lease *l = i % 2 == 0 ? &a : &b;
        assert_true(tg_lease_has(l, &s, 1, i * S + 1));
        tg_lease_charge(l, &s, 1);
        assert_false(tg_lease_has(l, &s, 1, i * S + 1));
    }
}

static void test_binding_refuses_workers_and_revokes_leases(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 1000000, 80000);
    assert_true(tg_lease_take(&a, &s, 1, 0));
    assert_int_equal(tg_shared_balance(&s, 0), 79000);
    tg_shared_set_binding(&s, true);
    assert_true(tg_shared_is_binding(&s));
    assert_false(tg_lease_has(&a, &s, 1, 0));
    assert_int_equal(tg_shared_balance(&s, 0), 79999);
    assert_false(tg_lease_take(&a, &s, 1, 0));
    assert_true(tg_shared_grant(&s, 79999 + 5000, 0));
    assert_false(tg_shared_grant(&s, 1, 0));
    assert_false(tg_shared_grant(&s, 1, 5 * MS));
    assert_true(tg_shared_grant(&s, 1, 5 * MS + 1));
    tg_shared_set_binding(&s, false);
    assert_true(tg_lease_take(&a, &s, 1, 6 * MS));
}

static void test_an_unlimited_bucket_can_be_binding(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 1, 1);
    tg_shared_set_binding(&s, true);
    tg_shared_set_unlimited(&s);
    assert_true(tg_shared_is_binding(&s)); /* the queue runs empty in order */
    assert_false(tg_lease_take(&a, &s, 1, 0));
    assert_true(tg_shared_grant(&s, 1000000, 0));
    tg_shared_set_binding(&s, false);
    assert_int_equal(take_all(&a, &s, 1000, 1, 0), 1000);
}

static void test_a_refusal_ends_when_there_are_tokens_again(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 10000, 10000);
    assert_true(tg_lease_take(&a, &s, 10005, 0));
    int64_t wait_ns = tg_shared_wait_ns(&s, 0);
    assert_in_range(wait_ns, MS / 2, MS / 2 + 1);
    assert_false(tg_lease_take(&a, &s, 1, 0));
    assert_false(tg_lease_take(&a, &s, 1, wait_ns - 1));
    assert_true(tg_lease_take(&a, &s, 1, wait_ns));
}

static void test_who_was_refused_learns_of_tokens_given_back_within_1_ms(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 1, 1);
    assert_true(tg_shared_grant(&s, 1000, 0));
    assert_false(tg_lease_take(&a, &s, 1, 0));
    tg_shared_give_back(&s, 1000, 0);
    assert_true(tg_lease_take(&a, &s, 1, MS));
}

static void test_who_was_refused_learns_of_a_change_at_once(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 1, 1);
    assert_int_equal(take_all(&a, &s, 10, 1, 0), 1);
    assert_false(tg_lease_take(&a, &s, 1, 0));
    tg_shared_set_unlimited(&s);
    assert_true(tg_lease_take(&a, &s, 1, 0));
}

static void test_no_credit_is_left_of_an_unlimited_time(void **state)
{
    (void)state;
    struct tg_shared s = {.generation = 0};
    struct tg_lease a = {0};
    assert_true(tg_lease_take(&a, &s, 1, 0));
    retune(&s, 1, 1, 0);
    assert_true(tg_shared_grant(&s, 5, 0));
    assert_int_equal(take_all(&a, &s, 10, 1, 0), 0);
    assert_int_equal(take_all(&a, &s, 10, 1, MS), 0);
}

static void test_a_clock_that_steps_back_grants_nothing_and_locks_nobody_out(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0}, b = {0};
    init(&s, 1000, 1000);
    assert_int_equal(take_all(&a, &s, 10000, 1, 10 * S), 1000);
    assert_false(tg_lease_take(&a, &s, 1, 10 * S));
    assert_false(tg_lease_take(&a, &s, 1, 5 * S));
    assert_false(tg_lease_take(&b, &s, 1, 5 * S));
    assert_int_equal(take_all(&b, &s, 10000, 1, 11 * S), 1000);
    tg_shared_give_back(&s, 1, 11 * S);
    assert_true(tg_lease_take(&a, &s, 1, 4 * S)); /* b's clock is right, a's is not */
}

static void test_retuning_keeps_balance_and_debt(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 1000000, 1000000);
    assert_true(tg_lease_take(&a, &s, 1, 0));
    retune(&s, 2000000, 3000000, 0);
    tg_lease_return(&a, &s, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 999999);
    retune(&s, 1000, 1000, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 1000);
    assert_true(tg_lease_take(&a, &s, 1500, 0));
    retune(&s, 1000000, 1000000, 0);
    assert_int_equal(tg_shared_balance(&s, 0), -500);
    assert_false(tg_lease_take(&a, &s, 1, 0));
}

static void test_lowering_the_rate_leaves_no_debt_of_what_was_leased(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease l[4] = {{0}};
    init(&s, 1000000000, 1000000000);
    for (int i = 0; i < 4; i++)
        assert_true(tg_lease_take(&l[i], &s, 1, 0)); /* and hold a million each */
    assert_int_equal(take_all(&l[0], &s, 999999, 1, 0), 999999);
    retune(&s, 1, 5, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 5);
    for (int i = 0; i < 4; i++)
        tg_lease_return(&l[i], &s, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 5);
    assert_int_equal(take_all(&l[1], &s, 10, 1, 0), 5);
    assert_true(tg_lease_take(&l[2], &s, 1, 1)); /* above zero is enough */
    assert_false(tg_lease_take(&l[3], &s, 1, S));
    assert_true(tg_lease_take(&l[3], &s, 1, S + 1));
}

/* Between asking and charging the limit may change under a worker. */
static void test_a_message_in_flight_survives_a_change(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 1000000, 1000000);
    assert_true(tg_lease_has(&a, &s, 10, 0));
    retune(&s, 1, 5, 0);
    tg_lease_charge(&a, &s, 10);
    tg_lease_return(&a, &s, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 5);

    assert_true(tg_lease_has(&a, &s, 100, 0)); /* for one message */
    tg_shared_set_unlimited(&s);
    tg_lease_charge(&a, &s, 100);
    assert_true(tg_lease_has(&a, &s, 10, 0));
    retune(&s, 10, 10, 0);
    tg_lease_charge(&a, &s, 10);
    tg_lease_return(&a, &s, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 10);
    assert_int_equal(take_all(&a, &s, 100, 1, 0), 10);
}

static void test_giving_back_stops_at_the_burst(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 1000000, 80000);
    assert_true(tg_lease_take(&a, &s, 1, 0));
    tg_shared_give_back(&s, 1000000, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 80000 - 999); /* that many are leased out */
    tg_lease_return(&a, &s, 0);
    assert_int_equal(tg_shared_balance(&s, 0), 80000);
}

static void test_idle_for_a_year_at_the_highest_rate(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0}, b = {0};
    init(&s, TG_RATE_MAX_PER_S, TG_RATE_MAX_PER_S);
    const uint64_t n = UINT64_C(1) << 30;
    for (int64_t now_ns = 0; now_ns <= 2 * YEAR; now_ns += YEAR) {
        int64_t taken = 0;
        for (int i = 0; i < 2000; i++)
            taken += tg_lease_take(i % 2 == 0 ? &a : &b, &s, n, now_ns);
        assert_int_equal(taken, 1024);
        tg_lease_return(&a, &s, now_ns);
        tg_lease_return(&b, &s, now_ns);
    }
}

static void test_rate_0_never_refills(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_lease a = {0};
    init(&s, 0, 10);
    assert_int_equal(take_all(&a, &s, 100, 1, 0), 10);
    assert_false(tg_lease_take(&a, &s, 1, YEAR));
    assert_int_equal(tg_shared_wait_ns(&s, YEAR), INT64_MAX);
}

/* Whatever the memory that they are embedded in. */
static void test_what_is_hot_shares_no_cache_line(void **state)
{
    (void)state;
    size_t end = offsetof(struct tg_shared, generation) + sizeof(uint64_t);
    assert_true(offsetof(struct tg_shared, generation) >= TG_CACHE_LINE);
    assert_true(offsetof(struct tg_shared, lock) - end >= TG_CACHE_LINE);
    struct tg_lease l[2];
    assert_true((char *)&l[1].seen - l[0].apart >= TG_CACHE_LINE);
}

/* A loan that became void (the burst was lowered) and was added to: what was added is settled. */
static void test_what_is_lent_after_a_loan_became_void_is_settled(void **state)
{
    (void)state;
    struct tg_shared s;
    struct tg_loan loan = {0};
    uint64_t got[TG_SHARED_KINDS];
    const uint64_t much[TG_SHARED_KINDS] = {900, 0}, little[TG_SHARED_KINDS] = {10, 0};
    const uint64_t nothing[TG_SHARED_KINDS] = {0, 0}, all[TG_SHARED_KINDS] = {910, 0};
    init(&s, 1000, 1000);
    assert_true(tg_shared_lend(&s, &loan, much, much, got, 0));
    retune(&s, 1000, 50, 0);
    assert_true(tg_shared_lend(&s, &loan, little, little, got, 0));
    tg_shared_settle_loan(&s, &loan, nothing, all, 0);
    assert_int_equal(tg_shared_balance(&s, S), 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_initialised_limits_nothing),
        cmocka_unit_test(test_workers_together_take_the_burst_and_then_the_rate),
        cmocka_unit_test(test_a_lease_is_at_most_1_ms_of_the_rate),
        cmocka_unit_test(test_a_lease_is_at_most_an_eighth_of_what_is_there),
        cmocka_unit_test(test_a_lease_is_never_less_than_the_message),
        cmocka_unit_test(test_below_1000_a_second_a_lease_is_one_message),
        cmocka_unit_test(test_what_is_returned_can_be_used_by_others),
        cmocka_unit_test(test_returning_nothing_changes_nothing),
        cmocka_unit_test(test_leases_do_not_add_to_the_burst),
        cmocka_unit_test(test_settling_late_does_not_add_to_the_burst),
        cmocka_unit_test(test_a_message_may_overdraw_once),
        cmocka_unit_test(test_what_was_overdrawn_for_a_message_is_for_no_other),
        cmocka_unit_test(test_what_is_not_charged_is_given_back),
        cmocka_unit_test(test_nothing_passes_where_one_token_would_not),
        cmocka_unit_test(test_a_burst_of_one_message_refills_within_a_turn),
        cmocka_unit_test(test_binding_refuses_workers_and_revokes_leases),
        cmocka_unit_test(test_an_unlimited_bucket_can_be_binding),
        cmocka_unit_test(test_a_refusal_ends_when_there_are_tokens_again),
        cmocka_unit_test(test_who_was_refused_learns_of_tokens_given_back_within_1_ms),
        cmocka_unit_test(test_who_was_refused_learns_of_a_change_at_once),
        cmocka_unit_test(test_no_credit_is_left_of_an_unlimited_time),
        cmocka_unit_test(test_a_clock_that_steps_back_grants_nothing_and_locks_nobody_out),
        cmocka_unit_test(test_retuning_keeps_balance_and_debt),
        cmocka_unit_test(test_lowering_the_rate_leaves_no_debt_of_what_was_leased),
        cmocka_unit_test(test_a_message_in_flight_survives_a_change),
        cmocka_unit_test(test_giving_back_stops_at_the_burst),
        cmocka_unit_test(test_idle_for_a_year_at_the_highest_rate),
        cmocka_unit_test(test_rate_0_never_refills),
        cmocka_unit_test(test_what_is_hot_shares_no_cache_line),
        cmocka_unit_test(test_what_is_lent_after_a_loan_became_void_is_settled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
