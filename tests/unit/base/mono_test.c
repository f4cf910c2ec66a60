/* Time: sums that do not wrap, clocks that move the right way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mono.h"

static void test_sums_saturate(void **state)
{
    (void)state;
    assert_int_equal(mono_add(5, 7), 12);
    assert_int_equal(mono_add(5, -7), -2);
    assert_true(mono_add(MONO_NEVER, 1) == MONO_NEVER);
    assert_true(mono_add(MONO_NEVER - 1, MONO_S) == MONO_NEVER);
    assert_true(mono_add(1, MONO_NEVER) == MONO_NEVER);
    assert_true(mono_add(INT64_MIN, -1) == INT64_MIN);
    assert_true(mono_add(INT64_MIN + 1, -MONO_S) == INT64_MIN);
}

static void test_units(void **state)
{
    (void)state;
    assert_true(MONO_S == 1000 * MONO_MS && MONO_MS == 1000 * MONO_US);
}

static void test_clocks_do_not_run_backwards(void **state)
{
    (void)state;
    int64_t mono_ns = mono_now_ns(), cpu_ns = thread_cpu_ns();
    for (int i = 0; i < 10000; i++) {
        int64_t m = mono_now_ns(), c = thread_cpu_ns();
        assert_true(m >= mono_ns && c >= cpu_ns);
        mono_ns = m;
        cpu_ns = c;
    }
    assert_true(cpu_ns > 0);
}

static void test_wall_clock_counts_from_1970(void **state)
{
    (void)state;
    const int64_t start_of_2024_s = 1704067200, start_of_2200_s = 7258118400;
    assert_in_range(wall_now_ns() / MONO_S, start_of_2024_s, start_of_2200_s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_saturate),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_clocks_do_not_run_backwards),
        cmocka_unit_test(test_wall_clock_counts_from_1970),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
