/* shared_limit_test.c - a limit of messages and bytes that several workers spend. Time is an
 * argument. */
#include "limiter/shared_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define MS INT64_C(1000000)
#define S  INT64_C(1000000000)

static struct tg_limit_spec spec_of(int64_t msgs, int64_t bytes)
{
    return (struct tg_limit_spec){.msgs = {.rate = msgs}, .bytes = {.rate = bytes}};
}

/* Full at time 0. */
static void init(struct tg_shared_limit *s, struct tg_limit_spec spec)
{
    assert_int_equal(tg_limit_check(&spec), TG_LIMIT_OK);
    tg_shared_limit_init(s, &spec, 100, 0);
}

static void retune(struct tg_shared_limit *s, struct tg_limit_spec spec, int64_t now_ns)
{
    tg_shared_limit_retune(s, &spec, 100, now_ns);
}

/* Admits messages of <bytes> for as long as there are tokens; at most <most> of them. */
static int64_t admit(struct tg_limit_lease *l, struct tg_shared_limit *s, int64_t most,
                     uint64_t bytes, int64_t now_ns)
{
    int64_t n = 0;
    for (; n < most && tg_limit_lease_has(l, s, 1, bytes, now_ns); n++)
        tg_limit_lease_charge(l, s, 1, bytes);
    return n;
}

static void test_zero_initialised_limits_nothing(void **state)
{
    (void)state;
    struct tg_shared_limit s = {.spec = {.period_ns = 0}};
    struct tg_limit_lease l = {{0}};
    assert_false(tg_shared_limit_is_set(&s));
    assert_int_equal(admit(&l, &s, 100000, UINT64_C(1) << 40, 0), 100000);
    tg_limit_lease_return(&l, &s, 0);
    assert_true(tg_shared_limit_has_tokens(&s, 0));
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 0), INT64_MAX);
    assert_int_equal(tg_shared_limit_balance_bytes(&s, 0), INT64_MAX);
}

static void test_the_scarcer_of_messages_and_bytes_binds(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_limit_lease a = {{0}}, b = {{0}};
    init(&s, spec_of(1000, 1000000));
    assert_int_equal(admit(&a, &s, 600, 100, 0) + admit(&b, &s, 600, 100, 0), 1000);
    init(&s, spec_of(1000, 50000));
    a = b = (struct tg_limit_lease){{0}};
    assert_int_equal(admit(&a, &s, 300, 100, 0) + admit(&b, &s, 300, 100, 0), 500);
}

static void test_a_message_is_charged_to_all_or_none(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_limit_lease a = {{0}};
    init(&s, spec_of(10, 1000000));
    assert_int_equal(admit(&a, &s, 100, 1, 0), 10);
    assert_false(tg_limit_lease_has(&a, &s, 1, 5000, 0));
    assert_int_equal(tg_shared_limit_balance_bytes(&s, 0), 1000000 - 10);
    assert_false(tg_shared_limit_grant(&s, 1, 5000, 0));
    assert_int_equal(tg_shared_limit_balance_bytes(&s, 0), 1000000 - 10);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 0), 0);
}

static void test_one_dimension_alone(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_limit_lease a = {{0}};
    init(&s, spec_of(0, 5000));
    assert_true(tg_shared_limit_is_set(&s));
    assert_int_equal(admit(&a, &s, 1000, 100, 0), 50);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 0), INT64_MAX);
    init(&s, spec_of(20, -1));
    a = (struct tg_limit_lease){{0}};
    assert_int_equal(admit(&a, &s, 1000, 1 << 30, 0), 20);
    assert_int_equal(tg_shared_limit_balance_bytes(&s, 0), INT64_MAX);
}

/* As in limit.h: the peak has 10 ms of burst, and starts full. */
static void test_a_peak_caps_the_rate_inside_a_burst(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_limit_lease l[2] = {{{0}}, {{0}}};
    struct tg_limit_spec spec = {.msgs = {.rate = 1000, .burst = 10000, .peak = 5000}};
    init(&s, spec);
    assert_int_equal(admit(&l[0], &s, 10000, 1, 0), 50);
    int64_t admitted = 50;
    for (int64_t ms = 1; ms <= 1000; ms++)
        admitted += admit(&l[ms % 2], &s, 10000, 1, ms * MS);
    assert_int_equal(admitted, 5050);

    tg_shared_limit_init(&s, &spec, 10, 0);
    l[0] = (struct tg_limit_lease){{0}};
    assert_int_equal(admit(&l[0], &s, 10000, 1, 0), 50);
}

static void test_a_fresh_limit_starts_with_a_part_of_its_burst(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_limit_spec spec = spec_of(1000, 0);
    tg_shared_limit_init(&s, &spec, 10, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 0), 100);
}

static void test_a_limit_is_set_changed_and_removed_live(void **state)
{
    (void)state;
    struct tg_shared_limit s = {.spec = {.period_ns = 0}};
    struct tg_limit_lease a = {{0}};
    assert_int_equal(admit(&a, &s, 1000, 100, 0), 1000);
    retune(&s, spec_of(100, 0), 0);
    assert_int_equal(admit(&a, &s, 1000, 100, 0), 100);
    retune(&s, spec_of(100, 1000), S); /* 100 messages by now, and 1000 bytes as of now */
    assert_int_equal(admit(&a, &s, 1000, 100, S), 10);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, S), 90);
    retune(&s, spec_of(0, 1000), S);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, S), INT64_MAX);
    assert_int_equal(admit(&a, &s, 1000, 100, S), 0);
    assert_int_equal(admit(&a, &s, 1000, 100, 2 * S), 10);
    retune(&s, spec_of(0, 0), 2 * S);
    assert_false(tg_shared_limit_is_set(&s));
    assert_int_equal(admit(&a, &s, 1000, 100, 2 * S), 1000);
    tg_limit_lease_return(&a, &s, 2 * S);
}

static void test_a_dimension_may_go_and_come_back_under_a_lease(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_limit_lease a = {{0}};
    init(&s, spec_of(1000000, 100000000));
    assert_int_equal(admit(&a, &s, 1, 1000, 0), 1); /* and holds some of both */
    retune(&s, spec_of(0, 100000000), 0);
    retune(&s, spec_of(1000000, 100000000), 0);
    tg_limit_lease_return(&a, &s, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&s, 0), 1000000);
    assert_in_range(tg_shared_limit_balance_bytes(&s, 0), 100000000 - 100000, 100000000 - 1000);
    assert_int_equal(s.shared.leased[0] + s.shared.leased[1], 0);
}

static void test_binding_leaves_the_tokens_to_who_is_granted_them(void **state)
{
    (void)state;
    struct tg_shared_limit s;
    struct tg_limit_lease a = {{0}};
    init(&s, spec_of(100, 10000));
    tg_shared_limit_set_binding(&s, true);
    assert_true(tg_shared_limit_is_binding(&s));
    assert_int_equal(admit(&a, &s, 10, 1, 0), 0);
    assert_true(tg_shared_limit_grant(&s, 1, 11000, 0));
    assert_false(tg_shared_limit_grant(&s, 1, 1, 0));
    assert_int_equal(tg_shared_limit_wait_ns(&s, 0), 100 * MS + 1);
    tg_shared_limit_give_back(&s, 1, 11000, 0);
    assert_int_equal(tg_shared_limit_wait_ns(&s, 0), 0);
    tg_shared_limit_set_binding(&s, false);
    assert_int_equal(admit(&a, &s, 1000, 1, 0), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_initialised_limits_nothing),
        cmocka_unit_test(test_the_scarcer_of_messages_and_bytes_binds),
        cmocka_unit_test(test_a_message_is_charged_to_all_or_none),
        cmocka_unit_test(test_one_dimension_alone),
        cmocka_unit_test(test_a_peak_caps_the_rate_inside_a_burst),
        cmocka_unit_test(test_a_fresh_limit_starts_with_a_part_of_its_burst),
        cmocka_unit_test(test_a_limit_is_set_changed_and_removed_live),
        cmocka_unit_test(test_a_dimension_may_go_and_come_back_under_a_lease),
        cmocka_unit_test(test_binding_leaves_the_tokens_to_who_is_granted_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
