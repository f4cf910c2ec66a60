/* How often a consumer may subscribe: on a virtual clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "broker/subscribe_limit.h"

#define S INT64_C(1000000000)

static struct subscribe_limit *limit;
static struct subscribe_attempts attempts;

static void set(int64_t rate, int64_t period_s, int64_t now_ns)
{
    struct rate_choice c = {.spec = {.msgs.rate = rate, .period_ns = period_s * S},
                            .source = LIMIT_FROM_TOPIC};
    subscribe_limit_set(&limit, &c, now_ns);
}

static bool come(const char *peer, const char *name, uint64_t id, int64_t now_ns)
{
    return subscribe_limit_admit(limit, &attempts, "persistent://a/b/c", peer, name, id, now_ns);
}

static int come_often(int times, int64_t now_ns)
{
    int n = 0;
    for (int i = 0; i < times; i++)
        n += come("10.0.0.1:1", "k", 1, now_ns);
    return n;
}

static int forget_all(void **state)
{
    (void)state;
    subscribe_limit_free(limit);
    limit = NULL;
    subscribe_attempts_fini(&attempts);
    return 0;
}

static void test_a_period_brings_what_the_rate_says(void **state)
{
    (void)state;
    set(3, 30, S);
    assert_int_equal(come_often(10, S), 3);
    assert_int_equal(come_often(10, S + 9 * S), 0);
    assert_int_equal(come_often(10, S + 11 * S), 1);
    assert_int_equal(come_often(10, S + 120 * S), 3);
    assert_int_equal(limit->refused, 7 + 10 + 9 + 7);
}

/* An attempt that is refused costs nothing: who tries all the time gets the same. */
static void test_trying_all_the_time_gets_the_rate(void **state)
{
    (void)state;
    int n = 0;
    set(5, 1, 0);
    for (int64_t ms = 0; ms < 10000; ms++)
        n += come("10.0.0.1:1", "k", 1, ms * S / 1000);
    assert_in_range(n, 53, 55); /* five at once, then five a second */
}

static void test_who_is_the_same(void **state)
{
    (void)state;
    set(1, 30, 0);
    assert_true(come("10.0.0.1:1", "k", 1, 0));
    assert_false(come("10.0.0.1:2", "k", 1, 0)); /* the port is another after each reconnect */
    assert_true(come("10.0.0.2:1", "k", 1, 0));
    assert_true(come("10.0.0.1:1", "k", 2, 0));
    assert_true(come("10.0.0.1:1", "l", 1, 0));
    assert_true(come("[::1]:1", "k", 1, 0));
    assert_false(come("[::1]:77", "k", 1, 0));
    assert_true(
        subscribe_limit_admit(limit, &attempts, "persistent://a/b/d", "10.0.0.1:1", "k", 1, 0));
}

static void test_changes_are_live(void **state)
{
    (void)state;
    set(1, 3600, 0);
    assert_int_equal(come_often(5, 0), 1);
    set(10, 1, S); /* nothing is left, and a tenth of a second brings one */
    assert_int_equal(come_often(5, S), 0);
    assert_int_equal(come_often(5, S + S / 5), 2);
    set(-1, 1, 2 * S);
    assert_null(limit);
    assert_int_equal(come_often(5, 2 * S), 5);
}

static void test_a_limit_from_elsewhere_with_the_same_rate_changes_nothing(void **state)
{
    (void)state;
    set(2, 30, 0);
    assert_int_equal(come_often(5, 0), 2);
    struct rate_choice c = {.spec = limit->rate.spec, .source = LIMIT_FROM_NAMESPACE};
    subscribe_limit_set(&limit, &c, S);
    assert_int_equal(limit->rate.source, LIMIT_FROM_NAMESPACE);
    assert_int_equal(limit->since_ns, 0);
    assert_int_equal(come_often(5, S), 0);
}

static void test_what_is_remembered_is_bounded(void **state)
{
    (void)state;
    char name[16];
    set(1, 3600, 0);
    for (int i = 0; i < SUBSCRIBE_ATTEMPTS_MAX + 500; i++) {
        snprintf(name, sizeof name, "k%d", i);
        assert_true(come("10.0.0.1:1", name, 1, i));
    }
    assert_int_equal(attempts.count, SUBSCRIBE_ATTEMPTS_MAX);
    snprintf(name, sizeof name, "k%d", SUBSCRIBE_ATTEMPTS_MAX);
    assert_false(come("10.0.0.1:1", name, 1, 20000)); /* the latest are still known */
    assert_int_equal(attempts.count, SUBSCRIBE_ATTEMPTS_MAX);
    /* two hours later all have their attempt again: whoever comes makes room */
    for (int i = 0; i < SUBSCRIBE_ATTEMPTS_MAX; i++)
        assert_int_equal(come("10.0.0.9:1", "late", 1, 7200 * S), i == 0);
    assert_int_equal(attempts.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_period_brings_what_the_rate_says, forget_all),
        cmocka_unit_test_teardown(test_trying_all_the_time_gets_the_rate, forget_all),
        cmocka_unit_test_teardown(test_who_is_the_same, forget_all),
        cmocka_unit_test_teardown(test_changes_are_live, forget_all),
        cmocka_unit_test_teardown(test_a_limit_from_elsewhere_with_the_same_rate_changes_nothing,
                                  forget_all),
        cmocka_unit_test_teardown(test_what_is_remembered_is_bounded, forget_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
