/* sub_rates.c: tables of rates by subscription never change, and come back from a row as they
 * were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "broker/sub_rates.h"

static struct rate_policy rate(int64_t msgs)
{
    return (struct rate_policy){.present = true, .spec = {.msgs.rate = msgs}};
}

/* <r> is given up. */
static struct sub_rates *with(struct sub_rates *r, const char *name, int64_t msgs)
{
    struct rate_policy p = rate(msgs);
    struct sub_rates *next;
    assert_int_equal(sub_rates_with(r, name, &p, &next), TG_OK);
    sub_rates_drop(r);
    return next;
}

static int64_t rate_of(const struct sub_rates *r, const char *name)
{
    const struct rate_policy *p = sub_rates_find(r, name);
    return p->present ? p->spec.msgs.rate : -1;
}

static void test_each_name_has_its_own_rate(void **state)
{
    (void)state;
    struct sub_rates *r = NULL;
    assert_int_equal(rate_of(r, "a"), -1);
    r = with(with(with(with(r, "m", 1), "z", 2), "a", 3), "m", 4);
    assert_int_equal(rate_of(r, "a"), 3);
    assert_int_equal(rate_of(r, "m"), 4);
    assert_int_equal(rate_of(r, "z"), 2);
    assert_int_equal(rate_of(r, "b"), -1);
    sub_rates_drop(r);
}

static void test_a_table_that_is_held_stays_as_it_was(void **state)
{
    (void)state;
    struct sub_rates *r = with(NULL, "a", 1), *held = sub_rates_hold(r);
    r = with(r, "a", 2);
    assert_int_equal(rate_of(held, "a"), 1);
    assert_int_equal(rate_of(r, "a"), 2);
    sub_rates_drop(held);
    sub_rates_drop(r);
}

static void test_the_last_one_removed_leaves_none(void **state)
{
    (void)state;
    static const struct rate_policy none;
    struct sub_rates *r = with(NULL, "a", 1), *next;
    assert_int_equal(sub_rates_with(r, "b", &none, &next), TG_OK);
    assert_int_equal(rate_of(next, "a"), 1);
    sub_rates_drop(next);
    assert_int_equal(sub_rates_with(r, "a", &none, &next), TG_OK);
    assert_null(next);
    sub_rates_drop(r);
}

static void test_one_too_many_is_refused_and_those_there_can_be_changed(void **state)
{
    (void)state;
    struct sub_rates *r = NULL, *next;
    struct rate_policy p = rate(7);
    char name[16];
    for (int i = 0; i < SUB_RATES_MAX; i++) {
        snprintf(name, sizeof name, "s%d", i);
        r = with(r, name, i + 1);
    }
    assert_int_equal(sub_rates_with(r, "more", &p, &next), TG_ELIMIT);
    assert_null(next);
    r = with(r, "s5", 99);
    assert_int_equal(rate_of(r, "s5"), 99);
    assert_int_equal(rate_of(r, "s999"), 1000);
    sub_rates_drop(r);
}

static void test_a_row_brings_them_back(void **state)
{
    (void)state;
    struct sub_rates *r = with(with(with(NULL, "b", 1), "a/\xc3\xa4", 2), "c", 3), *back;
    json_t *row = json_object();
    sub_rates_into_row(row, NULL);
    assert_int_equal(json_object_size(row), 0);
    assert_int_equal(sub_rates_from_row(&back, row, "key"), TG_OK);
    assert_null(back);
    sub_rates_into_row(row, r);
    assert_int_equal(sub_rates_from_row(&back, row, "key"), TG_OK);
    assert_int_equal(rate_of(back, "b"), 1);
    assert_int_equal(rate_of(back, "a/\xc3\xa4"), 2);
    assert_int_equal(rate_of(back, "c"), 3);
    sub_rates_drop(back);
    sub_rates_drop(r);
    json_decref(row);
}

static void test_a_damaged_row_is_refused(void **state)
{
    (void)state;
    static const char *const damaged[] = {
        "{\"subscriptions\":{\"a\":{}}}",
        "{\"subscriptions\":{\"a\":{\"dispatchRate\":{\"rate\":1}}}}",
        "{\"subscriptions\":{\"a\":{\"dispatchRate\":{}},\"b\":7}}",
    };
    struct sub_rates *r;
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        json_t *row = json_loads(damaged[i], 0, NULL);
        assert_int_equal(sub_rates_from_row(&r, row, "key"), TG_ECORRUPT);
        assert_null(r);
        json_decref(row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_name_has_its_own_rate),
        cmocka_unit_test(test_a_table_that_is_held_stays_as_it_was),
        cmocka_unit_test(test_the_last_one_removed_leaves_none),
        cmocka_unit_test(test_one_too_many_is_refused_and_those_there_can_be_changed),
        cmocka_unit_test(test_a_row_brings_them_back),
        cmocka_unit_test(test_a_damaged_row_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
