#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mono.h"
#include "quota/scope.h"

static struct tg_limit_spec msgs(int64_t rate)
{
    return (struct tg_limit_spec){.msgs.rate = rate};
}

static void test_a_fresh_scope_limits_nothing(void **state)
{
    (void)state;
    struct scope s;
    scope_init(&s, SCOPE_TOPIC, "persistent://t/n/x");
    assert_int_equal(s.source, LIMIT_UNSET);
    assert_false(tg_limit_is_set(&s.limit));
    assert_true(tg_limit_has_tokens(&s.limit, 0));
    assert_null(s.waiters);
}

static void test_setting_says_whether_something_changed(void **state)
{
    (void)state;
    struct scope s;
    struct tg_limit_spec a = msgs(100), b = msgs(200), none = msgs(0);
    scope_init(&s, SCOPE_TOPIC, "x");
    assert_true(scope_set_limit(&s, &a, LIMIT_FROM_TOPIC, 10, 0));
    assert_false(scope_set_limit(&s, &a, LIMIT_FROM_TOPIC, 10, 0));
    assert_true(scope_set_limit(&s, &a, LIMIT_FROM_NAMESPACE, 10, 0));
    assert_true(scope_set_limit(&s, &b, LIMIT_FROM_NAMESPACE, 10, 0));
    assert_true(scope_set_limit(&s, &none, LIMIT_UNSET, 10, 0));
    assert_false(tg_limit_is_set(&s.limit));
}

static void test_a_fresh_limit_starts_with_its_initial_share(void **state)
{
    (void)state;
    struct scope s;
    struct tg_limit_spec a = msgs(100);
    scope_init(&s, SCOPE_TOPIC, "x");
    scope_set_limit(&s, &a, LIMIT_FROM_TOPIC, 10, 0);
    assert_int_equal(tg_limit_balance_msgs(&s.limit, 0), 10);
}

static void test_a_change_keeps_the_debt(void **state)
{
    (void)state;
    struct scope s;
    struct tg_limit_spec a = msgs(100), b = msgs(1000);
    scope_init(&s, SCOPE_TOPIC, "x");
    scope_set_limit(&s, &a, LIMIT_FROM_TOPIC, 10, 0);
    tg_limit_charge(&s.limit, 510, 0, 0);
    scope_set_limit(&s, &b, LIMIT_FROM_NAMESPACE, 10, 0);
    assert_int_equal(tg_limit_balance_msgs(&s.limit, 0), -500);
}

static void test_a_tightened_limit_keeps_no_more_than_its_burst(void **state)
{
    (void)state;
    struct scope s;
    struct tg_limit_spec a = msgs(1000), b = msgs(10);
    scope_init(&s, SCOPE_TOPIC, "x");
    scope_set_limit(&s, &a, LIMIT_FROM_TOPIC, 100, 0);
    scope_set_limit(&s, &b, LIMIT_FROM_TOPIC, 100, 0);
    assert_int_equal(tg_limit_balance_msgs(&s.limit, 0), 10);
}

static void test_names_are_words_for_people(void **state)
{
    (void)state;
    assert_string_equal(scope_kind_name(SCOPE_PARTITIONED_TOPIC), "partitioned topic");
    for (int k = SCOPE_PRODUCER; k <= SCOPE_BROKER; k++)
        assert_non_null(scope_kind_name((enum scope_kind)k));
    assert_string_equal(limit_source_name(LIMIT_FROM_TOPIC), "topic policy");
    assert_string_equal(limit_source_name(LIMIT_FROM_NAMESPACE), "namespace policy");
    assert_string_equal(limit_source_name(LIMIT_FROM_BROKER), "broker default");
    assert_string_equal(limit_source_name(LIMIT_UNSET), "none");
}

static void test_a_dry_run_counts_what_is_over_and_never_lacks_tokens(void **state)
{
    (void)state;
    struct scope s;
    struct tg_limit_spec spec = {.msgs.rate = 10, .bytes.rate = 100000};
    scope_init(&s, SCOPE_TOPIC, "x");
    scope_set_limit(&s, &spec, LIMIT_FROM_TOPIC, 100, 0);
    assert_true(scope_set_dry_run(&s, true));
    assert_false(scope_set_dry_run(&s, true));
    for (int i = 0; i < 25; i++) {
        assert_true(scope_has_tokens(&s, 0));
        assert_int_equal(scope_charge(&s, 1, 100, 0), i >= 10);
    }
    assert_int_equal(s.over.frames, 15);
    assert_int_equal(s.over.bytes, 1500);
    assert_int_equal(scope_wait_ns(&s, 0), 0);
    assert_int_equal(dry_run_ns(&s.over, tg_limit_spec_of(&s.limit)) / 1000000,
                     1500);                                  /* 15 at 10 a second */
    assert_int_equal(tg_limit_balance_msgs(&s.limit, 0), 0); /* what is over is not charged */

    assert_true(scope_set_dry_run(&s, false));
    assert_int_equal(s.over.frames, 0);
    assert_false(scope_has_tokens(&s, 0));
    assert_true(scope_has_tokens(&s, 1000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dry_run_counts_what_is_over_and_never_lacks_tokens),
        cmocka_unit_test(test_a_fresh_scope_limits_nothing),
        cmocka_unit_test(test_setting_says_whether_something_changed),
        cmocka_unit_test(test_a_fresh_limit_starts_with_its_initial_share),
        cmocka_unit_test(test_a_change_keeps_the_debt),
        cmocka_unit_test(test_a_tightened_limit_keeps_no_more_than_its_burst),
        cmocka_unit_test(test_names_are_words_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
