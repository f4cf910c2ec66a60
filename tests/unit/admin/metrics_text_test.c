/* The Prometheus text format: escaping, and numbers that keep their digits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "admin/metrics.h"

static void assert_sample(const struct metric_label *l, size_t n, double value,
                          const char *expected)
{
    struct bytes b = {0};
    metric_sample(&b, "m", l, n, value);
    bytes_append(&b, "", 1);
    assert_string_equal((const char *)b.data, expected);
    bytes_fini(&b);
}

static void test_label_values_are_escaped(void **state)
{
    (void)state;
    struct metric_label l[] = {{"topic", "a\"b\\c\nd"}, {"x", "\xc3\xa4{}"}};
    assert_sample(l, 2, 1, "m{topic=\"a\\\"b\\\\c\\nd\",x=\"\xc3\xa4{}\"} 1\n");
}

static void test_no_labels_no_braces(void **state)
{
    (void)state;
    assert_sample(NULL, 0, 0, "m 0\n");
}

static void test_counters_keep_their_digits(void **state)
{
    (void)state;
    assert_sample(NULL, 0, 1234567890123.0, "m 1234567890123\n");
    assert_sample(NULL, 0, 0.125, "m 0.125\n");
    assert_sample(NULL, 0, -3, "m -3\n");
}

static void test_family_has_help_and_type(void **state)
{
    (void)state;
    struct bytes b = {0};
    metric_family(&b, "m", "counter", "What it is.");
    bytes_append(&b, "", 1);
    assert_string_equal((const char *)b.data, "# HELP m What it is.\n# TYPE m counter\n");
    bytes_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label_values_are_escaped),
        cmocka_unit_test(test_no_labels_no_braces),
        cmocka_unit_test(test_counters_keep_their_digits),
        cmocka_unit_test(test_family_has_help_and_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
