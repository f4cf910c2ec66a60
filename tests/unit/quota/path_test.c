#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "quota/path.h"

/* topic: 10 msg/s, namespace: 1000 B/s, broker: no limit; all full. */
struct three {
    struct scope topic, ns, broker;
    struct path path;
};

static void three_init(struct three *t)
{
    struct tg_limit_spec msgs = {.msgs.rate = 10}, bytes = {.bytes.rate = 1000};
    scope_init(&t->topic, SCOPE_TOPIC, "x");
    scope_init(&t->ns, SCOPE_NAMESPACE, "t/n");
    scope_init(&t->broker, SCOPE_BROKER, "broker");
    scope_set_limit(&t->topic, &msgs, LIMIT_FROM_TOPIC, 100, 0);
    scope_set_limit(&t->ns, &bytes, LIMIT_FROM_NAMESPACE, 100, 0);
    t->path = (struct path){0};
    path_add(&t->path, &t->topic);
    path_add(&t->path, &t->ns);
    path_add(&t->path, &t->broker);
}

static void test_a_path_without_scopes_admits(void **state)
{
    (void)state;
    struct path p = {0};
    assert_null(path_binding(&p, 0));
    path_charge(&p, 1, 1, 0);
}

static void test_the_narrowest_that_lacks_tokens_binds(void **state)
{
    (void)state;
    struct three t;
    three_init(&t);
    assert_null(path_binding(&t.path, 0));
    tg_limit_charge(&t.ns.limit, 0, 1000, 0);
    assert_ptr_equal(path_binding(&t.path, 0), &t.ns);
    tg_limit_charge(&t.topic.limit, 10, 0, 0);
    assert_ptr_equal(path_binding(&t.path, 0), &t.topic);
}

static void test_asking_charges_nothing(void **state)
{
    (void)state;
    struct three t;
    three_init(&t);
    tg_limit_charge(&t.ns.limit, 0, 1000, 0);
    for (int i = 0; i < 100; i++)
        path_binding(&t.path, 0);
    assert_int_equal(tg_limit_balance_msgs(&t.topic.limit, 0), 10);
    assert_int_equal(tg_limit_balance_bytes(&t.ns.limit, 0), 0);
}

static void test_all_are_charged_and_metered(void **state)
{
    (void)state;
    struct three t;
    three_init(&t);
    path_charge(&t.path, 3, 400, 0);
    assert_int_equal(tg_limit_balance_msgs(&t.topic.limit, 0), 7);
    assert_int_equal(tg_limit_balance_bytes(&t.ns.limit, 0), 600);
    for (uint32_t i = 0; i < t.path.count; i++) {
        assert_int_equal(tg_meter_total(&t.path.scope[i]->msgs), 3);
        assert_int_equal(tg_meter_total(&t.path.scope[i]->bytes), 400);
    }
}

static void test_a_frame_larger_than_the_burst_overdraws_once(void **state)
{
    (void)state;
    struct three t;
    three_init(&t);
    path_charge(&t.path, 1, 5000, 0);
    assert_int_equal(tg_limit_balance_bytes(&t.ns.limit, 0), -4000);
    assert_ptr_equal(path_binding(&t.path, 0), &t.ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_path_without_scopes_admits),
        cmocka_unit_test(test_the_narrowest_that_lacks_tokens_binds),
        cmocka_unit_test(test_asking_charges_nothing),
        cmocka_unit_test(test_all_are_charged_and_metered),
        cmocka_unit_test(test_a_frame_larger_than_the_burst_overdraws_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
