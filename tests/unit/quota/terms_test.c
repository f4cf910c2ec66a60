/* terms_test.c - terms are kept once for all limits that are alike. */
#include "quota/terms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "quota/scope.h"

static void test_what_means_the_same_is_kept_once(void **state)
{
    (void)state;
    struct tg_limit_spec a = {.msgs = {.rate = 10}, .bytes = {.rate = -1, .burst = 7}};
    struct tg_limit_spec b = {.msgs = {.rate = 10}, .period_ns = 1000000000}, c = b;
    c.msgs.burst = 5;
    const struct tg_limit_terms *ta = terms_get(&a), *tb = terms_get(&b), *tc = terms_get(&c);
    assert_ptr_equal(ta, tb);
    assert_ptr_not_equal(ta, tc);
    assert_int_equal(ta->active, 1);
    terms_put(ta);
    assert_ptr_equal(terms_get(&a), tb); /* b's are still in use */
    terms_put(tb);
    terms_put(tb);
    terms_put(tc);
    terms_put(NULL);
}

static void test_scopes_alike_share_terms_until_one_is_changed(void **state)
{
    (void)state;
    struct tg_limit_spec low = {.msgs.rate = 10}, high = {.msgs.rate = 20}, none = {0};
    struct scope a, b;
    scope_init(&a, SCOPE_TOPIC, "a");
    scope_init(&b, SCOPE_TOPIC, "b");
    scope_set_limit(&a, &low, LIMIT_FROM_BROKER, 100, 0);
    scope_set_limit(&b, &low, LIMIT_FROM_BROKER, 100, 0);
    assert_ptr_equal(a.limit.terms, b.limit.terms);
    scope_charge(&a, 4, 0, 0);
    scope_set_limit(&a, &high, LIMIT_FROM_TOPIC, 100, 0);
    assert_ptr_not_equal(a.limit.terms, b.limit.terms);
    assert_int_equal(tg_limit_balance_msgs(&a.limit, 0), 6);
    assert_int_equal(tg_limit_balance_msgs(&b.limit, 0), 10);
    scope_set_limit(&b, &none, LIMIT_UNSET, 100, 0);
    assert_false(tg_limit_is_set(&b.limit));
    scope_fini(&a);
    scope_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_means_the_same_is_kept_once),
        cmocka_unit_test(test_scopes_alike_share_terms_until_one_is_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
