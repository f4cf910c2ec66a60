/* The memory budget: shares, refusal, and no loss when several threads charge it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>

#include <cmocka.h>

#include "base/budget.h"

static void test_shares_fit_into_the_total(void **state)
{
    (void)state;
    struct budget b;
    budget_init(&b, 1000000);
    int64_t sum = 0;
    for (int k = 0; k < BUDGET_KINDS; k++) {
        assert_true(b.share_bytes[k] > 0);
        assert_int_equal(budget_used(&b, (enum budget_kind)k), 0);
        sum += b.share_bytes[k];
    }
    assert_in_range(sum, 1, 1000000);
}

static void test_take_up_to_the_share_and_no_further(void **state)
{
    (void)state;
    struct budget b;
    budget_init(&b, 1000000);
    int64_t share = b.share_bytes[BUDGET_PARKED];
    assert_true(budget_take(&b, BUDGET_PARKED, share));
    assert_false(budget_take(&b, BUDGET_PARKED, 1));
    assert_int_equal(budget_used(&b, BUDGET_PARKED), share); /* a refusal takes nothing */
    assert_true(budget_take(&b, BUDGET_CACHE, 1));           /* other kinds are not touched */
    budget_give(&b, BUDGET_PARKED, 10);
    assert_true(budget_take(&b, BUDGET_PARKED, 10));
    assert_false(budget_take(&b, BUDGET_PARKED, 1));
}

static void test_force_goes_over_and_blocks_takers(void **state)
{
    (void)state;
    struct budget b;
    budget_init(&b, 1000);
    int64_t share = b.share_bytes[BUDGET_RECEIVE];
    budget_force(&b, BUDGET_RECEIVE, share + 50);
    assert_false(budget_take(&b, BUDGET_RECEIVE, 1));
    budget_give(&b, BUDGET_RECEIVE, 50);
    assert_false(budget_take(&b, BUDGET_RECEIVE, 1));
    budget_give(&b, BUDGET_RECEIVE, share);
    assert_int_equal(budget_used(&b, BUDGET_RECEIVE), 0);
}

static void test_every_kind_has_its_own_name(void **state)
{
    (void)state;
    for (int i = 0; i < BUDGET_KINDS; i++) {
        assert_non_null(budget_kind_name((enum budget_kind)i));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(budget_kind_name((enum budget_kind)i),
                                    budget_kind_name((enum budget_kind)k));
    }
}

static void test_a_kind_is_closed_when_it_is_over_and_memory_runs_short(void **state)
{
    (void)state;
    struct budget b;
    budget_init(&b, 1000);
    int64_t share = b.share_bytes[BUDGET_OUTBOUND];
    budget_force(&b, BUDGET_OUTBOUND, share);
    assert_true(budget_is_over(&b, BUDGET_OUTBOUND));
    budget_force(&b, BUDGET_OUTBOUND, 1);
    assert_false(budget_is_closed(&b, BUDGET_OUTBOUND)); /* there is room that others don't use */
    budget_force(&b, BUDGET_PARKED, 650 - share - 1);
    assert_true(budget_is_closed(&b, BUDGET_OUTBOUND));
    assert_false(budget_is_closed(&b, BUDGET_CACHE)); /* it has nothing */
    assert_false(budget_is_exhausted(&b));
    budget_force(&b, BUDGET_OUTBOUND, 150);
    assert_true(budget_is_exhausted(&b));
    budget_give(&b, BUDGET_OUTBOUND, 151);
    assert_false(budget_is_closed(&b, BUDGET_OUTBOUND));
}

static void *take_and_give(void *arg)
{
    struct budget *b = arg;
    for (int i = 0; i < 50000; i++)
        if (budget_take(b, BUDGET_HTTP, 30))
            budget_give(b, BUDGET_HTTP, 30);
    return NULL;
}

static void test_threads_lose_nothing(void **state)
{
    (void)state;
    struct budget b;
    budget_init(&b, 1000); /* the share holds one taker, so that refusals happen too */
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, take_and_give, &b), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(budget_used(&b, BUDGET_HTTP), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_fit_into_the_total),
        cmocka_unit_test(test_take_up_to_the_share_and_no_further),
        cmocka_unit_test(test_force_goes_over_and_blocks_takers),
        cmocka_unit_test(test_every_kind_has_its_own_name),
        cmocka_unit_test(test_a_kind_is_closed_when_it_is_over_and_memory_runs_short),
        cmocka_unit_test(test_threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
