/* Names: which are taken, what they are split into, which are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "broker/names.h"

static struct topic_name parsed(const char *s)
{
    struct topic_name n;
    const char *why = NULL;
    enum tg_err e = topic_name_parse(&n, s, &why);
    if (e != TG_OK)
        fail_msg("%s: %s", s, why);
    assert_null(why);
    return n;
}

static void assert_refused(const char *s)
{
    struct topic_name n;
    const char *why = NULL;
    if (topic_name_parse(&n, s, &why) != TG_EINVAL)
        fail_msg("taken: %s", s);
    assert_non_null(why);
    assert_null(n.full);
}

static void test_full_name_is_split(void **state)
{
    (void)state;
    struct topic_name n = parsed("persistent://t-1/n.s/my topic");
    assert_true(n.persistent);
    assert_string_equal(n.full, "persistent://t-1/n.s/my topic");
    assert_string_equal(n.tenant, "t-1");
    assert_string_equal(n.ns, "t-1/n.s");
    assert_string_equal(n.local, "my topic");
    assert_null(n.partitioned);
    assert_int_equal(n.partition, -1);
    topic_name_fini(&n);
}

static void test_short_names_are_completed(void **state)
{
    (void)state;
    struct topic_name n = parsed("x");
    assert_string_equal(n.full, "persistent://public/default/x");
    assert_string_equal(n.ns, "public/default");
    topic_name_fini(&n);
    n = parsed("t/n/x");
    assert_string_equal(n.full, "persistent://t/n/x");
    topic_name_fini(&n);
    n = parsed("non-persistent://t/n/x");
    assert_false(n.persistent);
    assert_string_equal(n.full, "non-persistent://t/n/x");
    topic_name_fini(&n);
}

static void test_partition_is_recognised(void **state)
{
    (void)state;
    struct topic_name n = parsed("persistent://t/n/a-partition-b-partition-12");
    assert_int_equal(n.partition, 12);
    assert_string_equal(n.partitioned, "persistent://t/n/a-partition-b");
    topic_name_fini(&n);
}

static void test_only_canonical_partition_counts(void **state)
{
    (void)state;
    static const char *const plain[] = {
        "x-partition-",           "x-partition-01", "x-partition-1a", "x-partition--1",
        "x-partition-1234567890", "-partition-1",   "x-partition- 1", "x-partition-1-partition-"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct topic_name n = parsed(plain[i]);
        if (n.partition != -1 || n.partitioned != NULL)
            fail_msg("%s was taken for a partition", plain[i]);
        topic_name_fini(&n);
    }
}

static void test_bad_topic_names_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "t/x",
                                      "persistent://",
                                      "persistent://t/n",
                                      "persistent://t/n/",
                                      "persistent:///n/x",
                                      "persistent://t//x",
                                      "persistent://x",
                                      "persistent://t/n/a/b",
                                      "http://t/n/x",
                                      "persistent://t t/n/x",
                                      "persistent://t/n@/x",
                                      "persistent://t/n/a\nb",
                                      "persistent://t/n/a\x7f",
                                      "persistent://t/n/\xff",
                                      "persistent://t/n/\xc0\x80",
                                      "persistent://t/n/\xe0\x80\x80",
                                      "persistent://t/n/\xed\xa0\x80",
                                      "persistent://t/n/\xf4\x90\x80\x80",
                                      "persistent://t/n/\xe2\x82"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(bad[i]);
    char *long_name = malloc(NAME_MAX_LEN + 2);
    memset(long_name, 'x', NAME_MAX_LEN + 1);
    long_name[NAME_MAX_LEN + 1] = 0;
    assert_refused(long_name);
    free(long_name);
}

static void test_topic_takes_any_clean_text(void **state)
{
    (void)state;
    struct topic_name n = parsed("persistent://t/n/@%*)(&!%$#@#$><?\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_string_equal(n.local, "@%*)(&!%$#@#$><?\xe2\x82\xac\xf0\x9f\x98\x80");
    topic_name_fini(&n);
}

static void test_name_characters(void **state)
{
    (void)state;
    assert_true(name_is_valid("a-Z_0.9:=x"));
    assert_false(name_is_valid(""));
    assert_false(name_is_valid("a b"));
    assert_false(name_is_valid("a/b"));
    assert_false(name_is_valid("\xc3\xa4"));
}

static void test_subscription_takes_all_but_slash_and_control(void **state)
{
    (void)state;
    assert_true(name_is_valid_subscription("my sub @\xc3\xa4"));
    assert_false(name_is_valid_subscription(""));
    assert_false(name_is_valid_subscription("a/b"));
    assert_false(name_is_valid_subscription("a\nb"));
    assert_false(name_is_valid_subscription("\xff"));
}

static void test_system_topics(void **state)
{
    (void)state;
    assert_true(name_is_system_topic("__change_events"));
    assert_false(name_is_system_topic("_x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_name_is_split),
        cmocka_unit_test(test_short_names_are_completed),
        cmocka_unit_test(test_partition_is_recognised),
        cmocka_unit_test(test_only_canonical_partition_counts),
        cmocka_unit_test(test_bad_topic_names_are_refused),
        cmocka_unit_test(test_topic_takes_any_clean_text),
        cmocka_unit_test(test_name_characters),
        cmocka_unit_test(test_subscription_takes_all_but_slash_and_control),
        cmocka_unit_test(test_system_topics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
