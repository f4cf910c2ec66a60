/* What `tidegate explain` prints of an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/command.h"

static enum tg_err print(const char *answer, char **out)
{
    size_t len;
    FILE *f = open_memstream(out, &len);
    json_t *j = json_loads(answer, 0, NULL);
    assert_non_null(j);
    enum tg_err e = explain_print(j, f);
    json_decref(j);
    fclose(f);
    return e;
}

static void expect(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in:\n%s", part, text);
}

static void test_the_binding_scope_its_command_and_who_waits(void **state)
{
    (void)state;
    char *out;
    assert_int_equal(print("{\"topic\":\"persistent://a/b/c\",\"scopes\":[{\"kind\":\"topic\","
                           "\"name\":\"persistent://a/b/c\",\"source\":\"topic policy\","
                           "\"rateInMsg\":500,\"rateInByte\":-1,\"balanceInMsg\":-3,"
                           "\"balanceInByte\":null,\"msgRateIn\":498.75,\"msgThroughputIn\":12,"
                           "\"binding\":true,\"waitMs\":1.9,\"since\":\"T1\",\"until\":\"T2\","
                           "\"command\":\"tidegate topics x\"}],"
                           "\"waiting\":[{\"producerName\":\"p-1\",\"address\":\"1.2.3.4:5\","
                           "\"reason\":\"topic\",\"sinceMs\":12.5,\"parkedMessages\":10,"
                           "\"parkedBytes\":1024,\"connectionPaused\":true}]}",
                           &out),
                     TG_OK);
    expect(out, "persistent://a/b/c\n");
    expect(out, "topic               topic policy               498.8           500            -3"
                "            12.0               -               -  binds\n");
    expect(out, "topic persistent://a/b/c binds; it has tokens again in 1.9 ms\n");
    expect(out, "since T1; what waits now will have passed at T2\n");
    expect(out, "to raise it: tidegate topics x\n");
    expect(out, "producer p-1 (1.2.3.4:5) has waited at topic for 12.5 ms: 10 messages parked "
                "(1024 bytes), its connection is paused\n");
    free(out);
}

static void test_nothing_binds_and_fields_left_out(void **state)
{
    (void)state;
    char *out;
    assert_int_equal(print("{\"scopes\":[{\"kind\":\"topic\"}]}", &out), TG_OK);
    expect(out, "no limit binds\nnobody waits\n");
    free(out);
}

static void test_what_is_no_answer(void **state)
{
    (void)state;
    char *out;
    assert_int_equal(print("{\"reason\":\"x\"}", &out), TG_EINVAL);
    free(out);
    assert_int_equal(print("[]", &out), TG_EINVAL);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_binding_scope_its_command_and_who_waits),
        cmocka_unit_test(test_nothing_binds_and_fields_left_out),
        cmocka_unit_test(test_what_is_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
