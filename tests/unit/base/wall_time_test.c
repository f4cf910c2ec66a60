/* Times as people read them: written and read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mono.h"
#include "base/wall_time.h"

#define JAN_2026 (INT64_C(1767225600) * MONO_S)

static void test_a_time_is_written_with_milliseconds(void **state)
{
    (void)state;
    char text[WALL_TIME_MAX];
    wall_time_format(JAN_2026 + 7 * MONO_MS + 999, text);
    assert_string_equal(text, "2026-01-01T00:00:00.007Z");
    wall_time_format(INT64_MAX, text);
    assert_string_equal(text, "2262-04-11T23:47:16.854Z");
}

static void test_what_was_written_is_read_back(void **state)
{
    (void)state;
    char text[WALL_TIME_MAX];
    int64_t ns;
    for (int64_t t = JAN_2026; t < JAN_2026 + 1000 * MONO_S; t += 7919 * MONO_MS) {
        wall_time_format(t, text);
        assert_int_equal(wall_time_parse(text, &ns), TG_OK);
        assert_int_equal(ns, t);
    }
    assert_int_equal(wall_time_parse("2026-01-01T00:00:00Z", &ns), TG_OK);
    assert_int_equal(ns, JAN_2026);
    assert_int_equal(wall_time_parse("2026-01-01T00:00:00.25000000000Z", &ns), TG_OK);
    assert_int_equal(ns, JAN_2026 + MONO_S / 4);
}

static void test_what_is_no_time_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "soon",
                                      "2026-01-01",
                                      "2026-01-01T00:00:00",
                                      "2026-01-01T00:00:00+01:00",
                                      "2026-13-01T00:00:00Z",
                                      "2026-01-01T00:00:00Zx",
                                      "1970-01-01T00:00:00Z",
                                      "2500-01-01T00:00:00Z"};
    int64_t ns;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(wall_time_parse(bad[i], &ns), TG_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_time_is_written_with_milliseconds),
        cmocka_unit_test(test_what_was_written_is_read_back),
        cmocka_unit_test(test_what_is_no_time_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
