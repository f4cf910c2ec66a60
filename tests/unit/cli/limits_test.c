/* What `tidegate limits tree` and tables print. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cli/command.h"
#include "cli/table.h"

static void expect_tree(const char *answer, enum tg_err err, const char *text)
{
    char *out;
    size_t len;
    FILE *f = open_memstream(&out, &len);
    json_t *j = json_loads(answer, JSON_DECODE_ANY, NULL);
    assert_non_null(j);
    assert_int_equal(limits_print(j, f), err);
    fclose(f);
    assert_string_equal(out, text);
    json_decref(j);
    free(out);
}

static void test_a_tree_has_what_is_set_used_and_waited_for(void **state)
{
    (void)state;
    expect_tree(
        "[{\"kind\":\"broker\",\"name\":\"broker\",\"below\":[{\"kind\":\"tenant\",\"name\":"
        "\"t\",\"rateInMsg\":500,\"msgRateIn\":123.6,\"periodMs\":1000,\"waitingProducers\":3,"
        "\"longestWaitMs\":20,\"throttledSeconds\":1.25,\"children\":{\"overcommitInMsg\":2.5,"
        "\"overcommitInByte\":null},\"topicsNotShown\":7,\"below\":[{\"kind\":\"namespace\","
        "\"name\":\"t/n\",\"rateInByte\":9,\"msgThroughputIn\":4,\"periodMs\":50}]}]}]",
        TG_OK,
        "broker\n"
        "  tenant t  124 of 500 msg/s  3 waiting, longest 20 ms  throttled 1.2 s  "
        "over-committed 2.5 times in msg/s\n"
        "    namespace t/n  4 of 9 B/s (of 50 ms)\n"
        "    topics without a limit of their own: 7\n");
}

static void test_what_is_no_tree_is_refused(void **state)
{
    (void)state;
    expect_tree("{}", TG_EINVAL, "");
    expect_tree("[7]", TG_OK,
                "-\n"); /* an older or newer broker's: what is not there is not shown */
}

static void test_a_table_is_as_wide_as_what_is_in_it(void **state)
{
    (void)state;
    static const struct table_column columns[] = {
        {"N", "n", 0}, {"NAME", "name", 0}, {"RATE", "rate", 1}, {"ON", "on", 0}, {NULL, NULL, 0}};
    char *out;
    size_t len;
    FILE *f = open_memstream(&out, &len);
    json_t *rows = json_loads("[{\"n\":1,\"name\":\"long name\",\"rate\":2.25,\"on\":true},"
                              "{\"n\":12345,\"name\":\"\",\"rate\":10.0,\"on\":false},{\"n\":3,"
                              "\"name\":null,\"rate\":0.5}]",
                              0, NULL);
    assert_non_null(rows);
    table_print(f, rows, columns);
    fclose(f);
    assert_string_equal(out, "    N  NAME       RATE  ON\n"
                             "    1  long name   2.2  yes\n"
                             "12345  -          10.0  no\n"
                             "    3  -           0.5  -\n");
    json_decref(rows);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_tree_has_what_is_set_used_and_waited_for),
        cmocka_unit_test(test_what_is_no_tree_is_refused),
        cmocka_unit_test(test_a_table_is_as_wide_as_what_is_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
