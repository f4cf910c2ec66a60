/* Options: forms, order, numbers, and what is said of what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/args.h"

static const struct cli_option options[] = {
    {.name = "rate", .letter = "m", .takes = "N", .is_number = true, .min = -1, .max = 1000},
    {.name = "name", .letter = "s", .takes = "NAME"},
    {.name = "force", .letter = "f"},
    {.name = "deep", .letter = "gpb"},
    {.name = NULL},
};

#define PARSE(a, why, ...)                                                                         \
    args_parse((a), options, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *),                     \
               (char *[]){__VA_ARGS__}, (why))

static void test_all_forms_of_an_option(void **state)
{
    (void)state;
    struct args a;
    char *why;
    assert_int_equal(PARSE(&a, &why, "one", "-m", "7", "two", "--name=x=y", "-f", "-gpb"), TG_OK);
    assert_null(why);
    assert_int_equal(a.count, 2);
    assert_string_equal(a.arg[0], "one");
    assert_string_equal(a.arg[1], "two");
    assert_int_equal(args_number(&a, "rate", 5), 7);
    assert_string_equal(args_value(&a, "name"), "x=y");
    assert_true(args_has(&a, "force"));
    assert_true(args_has(&a, "deep"));
}

static void test_absent_options(void **state)
{
    (void)state;
    struct args a;
    char *why;
    assert_int_equal(PARSE(&a, &why, "one"), TG_OK);
    assert_false(args_has(&a, "force"));
    assert_null(args_value(&a, "name"));
    assert_int_equal(args_number(&a, "rate", 5), 5);
}

static void test_minus_one_is_a_value(void **state)
{
    (void)state;
    struct args a;
    char *why;
    assert_int_equal(PARSE(&a, &why, "-m", "-1", "--name", "--force"), TG_OK);
    assert_int_equal(args_number(&a, "rate", 5), -1);
    assert_string_equal(args_value(&a, "name"), "--force");
    assert_false(args_has(&a, "force"));
}

static void test_double_dash_ends_options(void **state)
{
    (void)state;
    struct args a;
    char *why;
    assert_int_equal(PARSE(&a, &why, "--", "-f", "-"), TG_OK);
    assert_int_equal(a.count, 2);
    assert_string_equal(a.arg[0], "-f");
    assert_false(args_has(&a, "force"));
}

#define REFUSED(said, want, ...)                                                                   \
    do {                                                                                           \
        struct args a_;                                                                            \
        char *why_ = NULL;                                                                         \
        assert_int_equal(PARSE(&a_, &why_, __VA_ARGS__), want);                                    \
        if (!strstr(why_, said))                                                                   \
            fail_msg("'%s' does not say '%s'", why_, said);                                        \
        free(why_);                                                                                \
    } while (0)

static void test_refusals_name_the_option_and_what_is_allowed(void **state)
{
    (void)state;
    REFUSED("unknown option --bogus; allowed: --rate, --name", TG_EINVAL, "--bogus");
    REFUSED("unknown option -x", TG_EINVAL, "-x");
    REFUSED("--rate 1001 is not allowed; allowed: a whole number from -1 to 1000", TG_ERANGE, "-m",
            "1001");
    REFUSED("--rate -2", TG_ERANGE, "-m", "-2");
    REFUSED("--rate ten", TG_EINVAL, "-m", "ten");
    REFUSED("--rate 1x", TG_EINVAL, "--rate=1x");
    REFUSED("--rate ", TG_EINVAL, "--rate=");
    REFUSED("--rate -", TG_EINVAL, "-m", "-");
    REFUSED("--rate 99999999999999999999", TG_ERANGE, "-m", "99999999999999999999");
    REFUSED("--name needs a value: NAME", TG_EINVAL, "-s");
    REFUSED("--force takes no value", TG_EINVAL, "--force=yes");
    REFUSED("--force is given twice", TG_EINVAL, "-f", "--force");
    REFUSED("too many arguments, from '5' on", TG_EINVAL, "1", "2", "3", "4", "5");
}

static void test_required_options(void **state)
{
    (void)state;
    static const struct cli_option needs[] = {
        {.name = "count", .takes = "N", .required = true},
        {.name = NULL},
    };
    struct args a;
    char *why;
    assert_int_equal(args_parse(&a, needs, 0, NULL, &why), TG_EINVAL);
    assert_string_equal(why, "--count N is needed");
    free(why);
    assert_int_equal(args_parse(&a, needs, 2, (char *[]){"--count", "1"}, &why), TG_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_forms_of_an_option),
        cmocka_unit_test(test_absent_options),
        cmocka_unit_test(test_minus_one_is_a_value),
        cmocka_unit_test(test_double_dash_ends_options),
        cmocka_unit_test(test_refusals_name_the_option_and_what_is_allowed),
        cmocka_unit_test(test_required_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
