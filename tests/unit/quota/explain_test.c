#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mono.h"
#include "quota/explain.h"

static struct explain_scope topic_scope(enum limit_source source, int64_t msgs, int64_t bytes)
{
    return (struct explain_scope){
        .kind = SCOPE_TOPIC,
        .name = "persistent://t/n/x",
        .source = source,
        .spec = {.msgs.rate = msgs, .bytes.rate = bytes},
        .balance_msgs = msgs > 0 ? 5 : INT64_MAX,
        .balance_bytes = bytes > 0 ? 5 : INT64_MAX,
    };
}

static void assert_command(const struct explain_scope *s, const char *expected)
{
    char *text = explain_command(s);
    if (expected)
        assert_string_equal(text, expected);
    else
        assert_null(text);
    free(text);
}

static void test_the_facts_of_a_path(void **state)
{
    (void)state;
    struct scope topic, ns;
    struct path p = {0};
    struct explain e;
    struct tg_limit_spec spec = {.msgs.rate = 10};
    scope_init(&topic, SCOPE_TOPIC, "persistent://t/n/x");
    scope_init(&ns, SCOPE_NAMESPACE, "t/n");
    scope_set_limit(&ns, &spec, LIMIT_FROM_NAMESPACE, 100, 0);
    path_add(&p, &topic);
    path_add(&p, &ns);
    path_charge(&p, 14, 1400, 0);

    explain_path(&e, &p, 0);
    assert_int_equal(e.count, 2);
    assert_int_equal(e.scope[0].balance_msgs, INT64_MAX);
    assert_int_equal(e.scope[0].wait_ns, 0);
    assert_false(e.scope[0].binding);
    assert_true(e.scope[1].binding);
    assert_string_equal(e.scope[1].name, "t/n");
    assert_int_equal(e.scope[1].source, LIMIT_FROM_NAMESPACE);
    assert_int_equal(e.scope[1].balance_msgs, -4);
    assert_int_equal(e.scope[1].balance_bytes, INT64_MAX);
    assert_int_equal(e.scope[1].wait_ns, 400 * MONO_MS + 1); /* 4 owed, at 10/s */
    assert_true(e.scope[1].rate_msgs > 0);

    explain_path(&e, &p, MONO_S);
    assert_false(e.scope[1].binding);
    assert_int_equal(e.scope[1].wait_ns, 0);
}

static void test_only_the_narrowest_binds(void **state)
{
    (void)state;
    struct scope topic, ns;
    struct path p = {0};
    struct explain e;
    struct tg_limit_spec spec = {.msgs.rate = 10};
    scope_init(&topic, SCOPE_TOPIC, "x");
    scope_init(&ns, SCOPE_NAMESPACE, "t/n");
    scope_set_limit(&topic, &spec, LIMIT_FROM_TOPIC, 100, 0);
    scope_set_limit(&ns, &spec, LIMIT_FROM_NAMESPACE, 100, 0);
    path_add(&p, &topic);
    path_add(&p, &ns);
    path_charge(&p, 10, 0, 0);
    explain_path(&e, &p, 0);
    assert_true(e.scope[0].binding);
    assert_false(e.scope[1].binding);
}

static void test_the_command_belongs_to_the_source(void **state)
{
    (void)state;
    struct explain_scope s = topic_scope(LIMIT_FROM_TOPIC, 100, 0);
    assert_command(&s, "tidegate topics set-publish-rate persistent://t/n/x"
                       " --msg-publish-rate 200");
    s = topic_scope(LIMIT_FROM_NAMESPACE, 100, 0);
    assert_command(&s, "tidegate namespaces set-publish-rate t/n --msg-publish-rate 200");
    s = topic_scope(LIMIT_FROM_BROKER, 100, 1000);
    assert_command(&s, "tidegate brokers update-dynamic-config --config "
                       "maxPublishRatePerTopicInMessages --value 200 && "
                       "tidegate brokers update-dynamic-config --config "
                       "maxPublishRatePerTopicInBytes --value 2000");
    s = topic_scope(LIMIT_UNSET, 0, 0);
    assert_command(&s, NULL);
    s = topic_scope(LIMIT_FROM_TOPIC, -1, 0);
    assert_command(&s, NULL);
}

/* set-publish-rate sets both: the one that is not short is repeated, or it would become unlimited.
 */
static void test_what_is_used_up_is_doubled_and_the_other_kept(void **state)
{
    (void)state;
    struct explain_scope s = topic_scope(LIMIT_FROM_TOPIC, 100, 5000);
    s.balance_bytes = -3;
    assert_command(&s, "tidegate topics set-publish-rate persistent://t/n/x"
                       " --msg-publish-rate 100 --byte-publish-rate 10000");
    s.balance_msgs = 0;
    assert_command(&s, "tidegate topics set-publish-rate persistent://t/n/x"
                       " --msg-publish-rate 200 --byte-publish-rate 10000");
}

/* The command sets all of a policy: what it does not say would be lost. */
static void test_burst_peak_weight_and_dry_run_are_kept(void **state)
{
    (void)state;
    struct explain_scope s = topic_scope(LIMIT_FROM_TOPIC, 100, 5000);
    s.balance_msgs = 0;
    s.spec.msgs.burst = 700;
    s.spec.bytes.burst = 9000;
    s.spec.msgs.peak = 300;
    s.spec.bytes.peak = 6000;
    s.weight = 4;
    s.dry_run = true;
    assert_command(&s, "tidegate topics set-publish-rate persistent://t/n/x"
                       " --msg-publish-rate 200 --byte-publish-rate 5000"
                       " --burst-msgs 700 --peak-msgs 300 --burst-bytes 9000 --peak-bytes 6000"
                       " --weight 4 --dry-run");
    s = topic_scope(LIMIT_FROM_NAMESPACE, 6000, 0);
    s.spec.period_ns = 60 * MONO_S;
    s.spec.msgs.peak = 9000; /* below the new rate */
    s.weight = 1;
    assert_command(&s, "tidegate namespaces set-publish-rate t/n"
                       " --msg-publish-rate 200 --peak-msgs 300");
    s.source = LIMIT_FROM_GROUP;
    s.kind = SCOPE_RESOURCE_GROUP;
    s.name = "g";
    assert_command(&s, "tidegate resourcegroups update g --msg-publish-rate 200");
}

static void test_rates_are_suggested_per_second(void **state)
{
    (void)state;
    struct explain_scope s = topic_scope(LIMIT_FROM_TOPIC, 600, 0);
    s.spec.period_ns = 60 * MONO_S;
    assert_command(&s, "tidegate topics set-publish-rate persistent://t/n/x"
                       " --msg-publish-rate 20");
    s = topic_scope(LIMIT_FROM_TOPIC, INT64_C(1) << 40, 0);
    assert_command(&s, "tidegate topics set-publish-rate persistent://t/n/x"
                       " --msg-publish-rate 1099511627776");
}

static void test_a_partition_is_raised_at_its_partitioned_topic(void **state)
{
    (void)state;
    struct explain_scope s = topic_scope(LIMIT_FROM_TOPIC, 1, 0);
    s.name = "persistent://t/n/x-partition-12";
    assert_command(&s, "tidegate topics set-publish-rate persistent://t/n/x"
                       " --msg-publish-rate 2");
    s.name = "persistent://t/n/x-partition-";
    assert_command(&s, "tidegate topics set-publish-rate persistent://t/n/x-partition-"
                       " --msg-publish-rate 2");
    s.name = "12";
    assert_command(&s, "tidegate topics set-publish-rate 12 --msg-publish-rate 2");
}

static void test_names_that_clients_chose_are_quoted(void **state)
{
    (void)state;
    struct explain_scope s = topic_scope(LIMIT_FROM_TOPIC, 1, 0);
    s.name = "persistent://t/n/x'; reboot";
    assert_command(&s, "tidegate topics set-publish-rate 'persistent://t/n/x'\\''; reboot'"
                       " --msg-publish-rate 2");
    s.source = LIMIT_FROM_NAMESPACE;
    s.name = "persistent://t$/n/x";
    assert_command(&s, "tidegate namespaces set-publish-rate 't$/n' --msg-publish-rate 2");
    s.name = "t/n";
    assert_command(&s, "tidegate namespaces set-publish-rate t/n --msg-publish-rate 2");
}

static void test_the_commands_that_raise_quotas(void **state)
{
    (void)state;
    struct explain_scope s = {.kind = SCOPE_NAMESPACE,
                              .name = "t/n",
                              .source = LIMIT_FROM_NAMESPACE,
                              .spec = {.msgs.rate = 100},
                              .balance_bytes = INT64_MAX};
    assert_command(&s, "tidegate namespaces set-publish-quota t/n --msg-publish-rate 200");
    s.kind = SCOPE_BROKER;
    s.name = "broker";
    s.source = LIMIT_FROM_BROKER;
    assert_command(&s, "tidegate brokers update-dynamic-config --config "
                       "brokerPublisherThrottlingMaxMessageRate --value 200");
}

static void test_the_facts_of_a_quota(void **state)
{
    (void)state;
    struct quota q;
    struct quota_worker w = {.index = 1};
    struct tg_limit_spec spec = {.msgs.rate = 10};
    struct quota_chain chain = {0};
    quota_init(&q, SCOPE_NAMESPACE, "t/n", 1, 2);
    quota_chain_add_around(&chain, &q);
    assert_true(quota_set_limit(&q, &spec, LIMIT_FROM_NAMESPACE, 100, 0));
    assert_null(quota_lacking(&chain, &w, 14, 1400, 0));
    quota_charge(&w, 14, 1400);
    quota_leases_return(&w, 0);
    struct explain_scope s = explain_quota(&q, 0);
    assert_int_equal(s.kind, SCOPE_NAMESPACE);
    assert_int_equal(s.balance_msgs, -4);
    assert_int_equal(s.balance_bytes, INT64_MAX);
    assert_int_equal(s.wait_ns, 400 * MONO_MS + 1);
    quota_fini(&q);
}

static void test_a_tenants_quota_is_raised_at_the_tenant(void **state)
{
    (void)state;
    struct explain_scope s = {.kind = SCOPE_TENANT,
                              .name = "acme",
                              .source = LIMIT_FROM_TENANT,
                              .spec = {.msgs.rate = 10},
                              .balance_bytes = INT64_MAX};
    char *command = explain_command(&s);
    assert_string_equal(command, "tidegate tenants set-publish-quota acme --msg-publish-rate 20");
    free(command);
}

static void test_the_commands_that_raise_what_is_delivered(void **state)
{
    (void)state;
    static const struct {
        enum scope_kind kind;
        enum limit_source source;
        const char *name, *command;
    } row[] = {
        {SCOPE_TOPIC, LIMIT_FROM_TOPIC, "persistent://t/n/x",
         "tidegate topics set-dispatch-rate persistent://t/n/x --msg-dispatch-rate 20"},
        {SCOPE_TOPIC, LIMIT_FROM_NAMESPACE, "persistent://t/n/x",
         "tidegate namespaces set-dispatch-rate t/n --msg-dispatch-rate 20"},
        {SCOPE_SUBSCRIPTION, LIMIT_FROM_TOPIC, "sub",
         "tidegate topics set-subscription-dispatch-rate persistent://t/n/x --msg-dispatch-rate "
         "20"},
        {SCOPE_SUBSCRIPTION, LIMIT_FROM_SUBSCRIPTION, "sub",
         "tidegate topics set-subscription-dispatch-rate persistent://t/n/x --subscription sub "
         "--msg-dispatch-rate 20"},
        {SCOPE_SUBSCRIPTION, LIMIT_FROM_BROKER, "sub",
         "tidegate brokers update-dynamic-config --config "
         "dispatchThrottlingRatePerSubscriptionInMsg --value 20"},
        {SCOPE_NAMESPACE, LIMIT_FROM_NAMESPACE, "t/n",
         "tidegate namespaces set-dispatch-quota t/n --msg-dispatch-rate 20"},
        {SCOPE_RESOURCE_GROUP, LIMIT_FROM_GROUP, "g",
         "tidegate resourcegroups update g --msg-dispatch-rate 20"},
        {SCOPE_BROKER, LIMIT_FROM_BROKER, "broker",
         "tidegate brokers update-dynamic-config --config dispatchThrottlingRateInMsg --value 20"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct explain_scope s = topic_scope(row[i].source, 10, 0);
        s.side = SIDE_DISPATCH;
        s.kind = row[i].kind;
        s.name = row[i].name;
        s.topic = s.kind < SCOPE_TOPIC ? "persistent://t/n/x" : NULL;
        assert_command(&s, row[i].command);
    }
}

static void test_a_producers_own_limit_is_raised_as_such(void **state)
{
    (void)state;
    struct explain_scope s = topic_scope(LIMIT_FROM_NAMESPACE, 10, 0);
    s.kind = SCOPE_PRODUCER;
    s.name = "p";
    assert_command(&s, NULL); /* of which topic? */
    s.topic = "persistent://t/n/x-partition-3";
    assert_command(&s, "tidegate namespaces set-producer-publish-rate t/n --msg-publish-rate 20");
    s.source = LIMIT_FROM_TOPIC;
    assert_command(&s, "tidegate topics set-producer-publish-rate persistent://t/n/x "
                       "--msg-publish-rate 20");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_tenants_quota_is_raised_at_the_tenant),
        cmocka_unit_test(test_the_facts_of_a_path),
        cmocka_unit_test(test_only_the_narrowest_binds),
        cmocka_unit_test(test_the_command_belongs_to_the_source),
        cmocka_unit_test(test_what_is_used_up_is_doubled_and_the_other_kept),
        cmocka_unit_test(test_burst_peak_weight_and_dry_run_are_kept),
        cmocka_unit_test(test_rates_are_suggested_per_second),
        cmocka_unit_test(test_a_partition_is_raised_at_its_partitioned_topic),
        cmocka_unit_test(test_names_that_clients_chose_are_quoted),
        cmocka_unit_test(test_the_commands_that_raise_quotas),
        cmocka_unit_test(test_the_facts_of_a_quota),
        cmocka_unit_test(test_the_commands_that_raise_what_is_delivered),
        cmocka_unit_test(test_a_producers_own_limit_is_raised_as_such),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
