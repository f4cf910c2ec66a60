#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "limiter/shared_limit.h"

#define MS INT64_C(1000000)
#define S  (1000 * MS)

/* 1000 messages/s and 10 000 bytes/s, of which 100 and 1000 are there at time 0. */
static void limit_init(struct tg_shared_limit *s)
{
    struct tg_limit_spec spec = {.msgs.rate = 1000, .bytes.rate = 10000};
    tg_shared_limit_init(s, &spec, 10, 0);
}

static const uint64_t none[2] = {0, 0}, all[2] = {UINT64_MAX, UINT64_MAX};

static void assert_lent(struct tg_shared_limit *s, struct tg_loan *l, uint64_t most_msgs,
                        uint64_t most_bytes, uint64_t msgs, uint64_t bytes)
{
    uint64_t got[2];
    assert_true(tg_shared_limit_lend(s, l, (uint64_t[2]){1, 10},
                                     (uint64_t[2]){most_msgs, most_bytes}, got, 0));
    assert_int_equal(got[0], msgs);
    assert_int_equal(got[1], bytes);
}

static void assert_balance(struct tg_shared_limit *s, int64_t msgs, int64_t bytes, int64_t now_ns)
{
    assert_int_equal(tg_shared_limit_balance_msgs(s, now_ns), msgs);
    assert_int_equal(tg_shared_limit_balance_bytes(s, now_ns), bytes);
}

static void test_it_lends_what_is_there_in_one_proportion(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_loan l = {0};
    limit_init(&s);
    assert_lent(&s, &l, 10, 100, 10, 100);  /* all is there */
    assert_lent(&s, &l, 180, 900, 90, 450); /* half of the messages */
    assert_false(l.overdrawn);
    assert_balance(&s, 0, 450, 0);
    uint64_t got[2];
    assert_false(tg_shared_limit_lend(&s, &l, none, all, got, 0));
}

static void test_the_least_may_overdraw_once(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_loan l = {0}, other = {0};
    uint64_t got[2];
    limit_init(&s);
    assert_true(
        tg_shared_limit_lend(&s, &l, (uint64_t[2]){5, 3000}, (uint64_t[2]){50, 30000}, got, 0));
    assert_int_equal(got[0], 5);
    assert_int_equal(got[1], 3000);
    assert_true(l.overdrawn);
    assert_balance(&s, 95, -2000, 0);
    assert_false(
        tg_shared_limit_lend(&s, &other, (uint64_t[2]){1, 1}, (uint64_t[2]){1, 1}, got, 0));
    assert_int_equal(tg_shared_limit_wait_ns(&s, 0), 200 * MS + 1);
}

static void test_above_zero_by_less_than_a_token_lends_the_least_or_nothing(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_loan l = {0};
    uint64_t got[2];
    limit_init(&s);
    assert_lent(&s, &l, 100, 100, 100, 100);
    int64_t now_ns = MS / 2;
    assert_true(tg_shared_limit_lend(&s, &l, none, (uint64_t[2]){7, 70}, got, now_ns));
    assert_int_equal(got[0] + got[1], 0);
    assert_true(
        tg_shared_limit_lend(&s, &l, (uint64_t[2]){1, 10}, (uint64_t[2]){7, 70}, got, now_ns));
    assert_int_equal(got[0], 1);
    assert_int_equal(got[1], 10);
}

/* Burst 1000, of which all is lent: until it is settled nothing accrues beyond. */
static void test_what_is_lent_counts_until_it_is_settled(void **state)
{
    (void)state;
    struct tg_limit_spec spec = {.msgs.rate = 1000};
    struct tg_shared_limit s;
    struct tg_loan l = {0};
    uint64_t got[2];
    tg_shared_limit_init(&s, &spec, 100, 0);
    assert_true(tg_shared_limit_lend(&s, &l, none, (uint64_t[2]){600, 0}, got, 0));
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 10 * S), 400);
    tg_shared_limit_settle_loan(&s, &l, (uint64_t[2]){100, 0}, none, 10 * S);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 10 * S), 500);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 20 * S), 500);
    tg_shared_limit_settle_loan(&s, &l, (uint64_t[2]){50, 0}, all, 20 * S);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 20 * S), 550); /* 450 were spent */
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 20 * S + 100 * MS), 650);
    assert_int_equal(l.lent[0], 0);
    tg_shared_limit_settle_loan(&s, &l, all, all, 21 * S); /* nothing is lent any more */
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 21 * S), 1000);
}

static void test_lending_goes_on_while_binding(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_loan l = {0};
    struct tg_limit_lease lease = {0};
    limit_init(&s);
    tg_shared_limit_set_binding(&s, true);
    assert_false(tg_limit_lease_has(&lease, &s, 1, 10, 0));
    assert_lent(&s, &l, 1, 10, 1, 10);
}

static void test_an_unset_limit_lends_anything(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_loan l = {0};
    tg_shared_limit_init(&s, &(struct tg_limit_spec){0}, 10, 0);
    assert_lent(&s, &l, 123456789, 987654321, 123456789, 987654321);
    assert_int_equal(l.lent[0] + l.lent[1], 0);
}

static void test_a_kind_that_is_not_limited_is_not_counted(void **state)
{
    (void)state;
    struct tg_limit_spec msgs = {.msgs.rate = 1000},
                         both = {.msgs.rate = 1000, .bytes.rate = 10000};
    struct tg_shared_limit s;
    struct tg_loan l = {0};
    tg_shared_limit_init(&s, &msgs, 10, 0);
    assert_lent(&s, &l, 10, 5000, 10, 5000);
    tg_shared_limit_retune(&s, &both, 10, 0);
    tg_shared_limit_settle_loan(&s, &l, (uint64_t[2]){10, 5000}, none, 0);
    assert_balance(&s, 100, 1000, 0); /* bytes lent before there was a limit don't come back */
}

/* 400 of a burst of 1000 are lent when the burst becomes 100: more than it may hold. */
static void test_a_smaller_burst_voids_what_is_lent(void **state)
{
    (void)state;
    struct tg_limit_spec large = {.msgs.rate = 1000},
                         small = {.msgs = {.rate = 1000, .burst = 100}};
    struct tg_shared_limit s;
    struct tg_loan l = {0};
    uint64_t got[2];
    tg_shared_limit_init(&s, &large, 50, 0);
    assert_true(tg_shared_limit_lend(&s, &l, none, (uint64_t[2]){400, 0}, got, 0));
    tg_shared_limit_retune(&s, &small, 10, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 0), 100);
    tg_shared_limit_settle_loan(&s, &l, (uint64_t[2]){400, 0}, none, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, S), 100);
    assert_int_equal(l.lent[0], 0);
}

/* A burst that still holds it: it comes back to the token. */
static void test_a_change_keeps_what_is_lent(void **state)
{
    (void)state;
    struct tg_limit_spec was = {.msgs.rate = 1000}, is = {.msgs.rate = 2000};
    struct tg_shared_limit s;
    struct tg_loan l = {0};
    uint64_t got[2];
    tg_shared_limit_init(&s, &was, 50, 0);
    assert_true(tg_shared_limit_lend(&s, &l, none, (uint64_t[2]){400, 0}, got, 0));
    tg_shared_limit_retune(&s, &is, 10, 0);
    tg_shared_limit_settle_loan(&s, &l, (uint64_t[2]){300, 0}, all, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 0), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_lends_what_is_there_in_one_proportion),
        cmocka_unit_test(test_the_least_may_overdraw_once),
        cmocka_unit_test(test_above_zero_by_less_than_a_token_lends_the_least_or_nothing),
        cmocka_unit_test(test_what_is_lent_counts_until_it_is_settled),
        cmocka_unit_test(test_lending_goes_on_while_binding),
        cmocka_unit_test(test_an_unset_limit_lends_anything),
        cmocka_unit_test(test_a_kind_that_is_not_limited_is_not_counted),
        cmocka_unit_test(test_a_smaller_burst_voids_what_is_lent),
        cmocka_unit_test(test_a_change_keeps_what_is_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
