#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "throttle/reason.h"

static void test_each_scope_has_the_reason_of_its_name(void **state)
{
    (void)state;
    for (int k = SCOPE_PRODUCER; k <= SCOPE_BROKER; k++) {
        enum throttle_reason r = reason_of_scope((enum scope_kind)k);
        assert_string_equal(reason_name(r), scope_kind_name((enum scope_kind)k));
    }
}

static void test_narrower_scopes_are_smaller_reasons(void **state)
{
    (void)state;
    for (int k = SCOPE_PRODUCER; k < SCOPE_BROKER; k++)
        assert_true(reason_of_scope((enum scope_kind)k) <
                    reason_of_scope((enum scope_kind)(k + 1)));
    assert_true(reason_of_scope(SCOPE_BROKER) < REASON_CONNECTION_IN_FLIGHT);
}

static void test_every_reason_has_its_own_name(void **state)
{
    (void)state;
    for (int a = 0; a <= REASON_COUNT; a++) {
        assert_non_null(reason_name((enum throttle_reason)a));
        for (int b = 0; b < a; b++)
            assert_string_not_equal(reason_name((enum throttle_reason)a),
                                    reason_name((enum throttle_reason)b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_scope_has_the_reason_of_its_name),
        cmocka_unit_test(test_narrower_scopes_are_smaller_reasons),
        cmocka_unit_test(test_every_reason_has_its_own_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
