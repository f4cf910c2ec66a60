#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "quota/policy.h"

static const struct rate_policy absent = {.present = false};
static const struct rate_policy of_topic = {.present = true, .spec = {.msgs.rate = 1}};
static const struct rate_policy of_ns = {.present = true, .spec = {.msgs.rate = 2}};
static const struct rate_policy unlimited = {.present = true,
                                             .spec = {.msgs.rate = -1, .bytes.rate = 0}};
static const struct rate_policy of_broker = {.present = true, .spec = {.msgs.rate = 3}};
static const struct rate_policy no_default = {.present = false};

/* Every combination of what is set, and who wins. */
static void test_topic_before_namespace_before_broker(void **state)
{
    (void)state;
    static const struct {
        const struct rate_policy *topic, *ns, *broker;
        enum limit_source source;
        int64_t rate;
    } cases[] = {
        {&absent, &absent, &no_default, LIMIT_UNSET, 0},
        {&absent, &absent, &of_broker, LIMIT_FROM_BROKER, 3},
        {&absent, &of_ns, &no_default, LIMIT_FROM_NAMESPACE, 2},
        {&absent, &of_ns, &of_broker, LIMIT_FROM_NAMESPACE, 2},
        {&of_topic, &absent, &no_default, LIMIT_FROM_TOPIC, 1},
        {&of_topic, &absent, &of_broker, LIMIT_FROM_TOPIC, 1},
        {&of_topic, &of_ns, &no_default, LIMIT_FROM_TOPIC, 1},
        {&of_topic, &of_ns, &of_broker, LIMIT_FROM_TOPIC, 1},
        {NULL, NULL, NULL, LIMIT_UNSET, 0},
        {NULL, &of_ns, NULL, LIMIT_FROM_NAMESPACE, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rate_choice c = policy_rate(cases[i].topic, cases[i].ns, cases[i].broker);
        assert_int_equal(c.source, cases[i].source);
        assert_int_equal(c.spec.msgs.rate, cases[i].rate);
    }
}

static void test_present_but_unlimited_hides_what_is_wider(void **state)
{
    (void)state;
    struct rate_choice c = policy_rate(&unlimited, &of_ns, &of_broker);
    assert_int_equal(c.source, LIMIT_FROM_TOPIC);
    assert_false(tg_limit_spec_is_set(&c.spec));
    c = policy_rate(&absent, &unlimited, &of_broker);
    assert_int_equal(c.source, LIMIT_FROM_NAMESPACE);
    assert_false(tg_limit_spec_is_set(&c.spec));
}

static void test_dimensions_are_not_mixed(void **state)
{
    (void)state;
    struct rate_policy bytes_only = {.present = true, .spec = {.bytes.rate = 1000}};
    struct rate_choice c = policy_rate(&bytes_only, &of_ns, &of_broker);
    assert_int_equal(c.spec.bytes.rate, 1000);
    assert_int_equal(c.spec.msgs.rate, 0);
}

static void test_weight_and_dry_run_come_with_the_policy_that_is_chosen(void **state)
{
    (void)state;
    struct rate_policy ns = {.present = true, .weight = 3, .dry_run = true, .spec.msgs.rate = 5};
    struct rate_policy topic = {.present = true, .spec.msgs.rate = 7};
    struct rate_choice c = policy_rate(NULL, &ns, NULL);
    assert_int_equal(c.weight, 3);
    assert_true(c.dry_run);
    c = policy_rate(&topic, &ns, NULL);
    assert_int_equal(weight_or_1(c.weight), 1);
    assert_false(c.dry_run);
}

static void test_relative_comes_with_the_policy_that_is_chosen(void **state)
{
    (void)state;
    struct rate_policy standard = {
        .present = true, .relative_to_publish = true, .spec.msgs.rate = 5};
    struct rate_policy topic = {.present = true, .spec.msgs.rate = 5};
    assert_true(policy_rate(NULL, NULL, &standard).relative_to_publish);
    assert_false(policy_rate(&topic, NULL, &standard).relative_to_publish);
    assert_false(rate_policy_equal(&topic, &standard));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weight_and_dry_run_come_with_the_policy_that_is_chosen),
        cmocka_unit_test(test_relative_comes_with_the_policy_that_is_chosen),
        cmocka_unit_test(test_topic_before_namespace_before_broker),
        cmocka_unit_test(test_present_but_unlimited_hides_what_is_wider),
        cmocka_unit_test(test_dimensions_are_not_mixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
