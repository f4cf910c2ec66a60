/* Settings: defaults, what is refused and how it is said, files, and printing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/settings.h"

static void test_defaults_are_what_the_manual_says(void **state)
{
    (void)state;
    struct settings s;
    settings_init(&s);
    assert_string_equal(s.data_dir, "data");
    assert_string_equal(s.bind_address, "127.0.0.1");
    assert_int_equal(s.broker_port, 6650);
    assert_int_equal(s.web_port, 8080);
    assert_in_range(s.workers, 1, BROKER_WORKERS_MAX);
    assert_true(s.durability_sync);
    assert_int_equal(s.max_message_bytes, 5242880);
    assert_int_equal(s.keep_alive_s, 30);
    assert_null(s.advertised_address);
    assert_int_equal(s.segment_bytes, 64 << 20);
    assert_true(s.allow_auto_topic_creation);
    assert_false(s.auto_topic_partitioned);
    int64_t machine = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    assert_true(s.memory_bytes <= machine / 4 || s.memory_bytes == 32 << 20);
    char *why;
    assert_int_equal(settings_check(&s, &why), TG_OK);
    settings_fini(&s);
}

static void refused(const char *key, const char *value, enum tg_err want, const char *said)
{
    struct settings s, before;
    settings_init(&s);
    before = s;
    char *why = NULL;
    assert_int_equal(settings_set(&s, key, value, &why), want);
    assert_non_null(why);
    if (!strstr(why, key) || !strstr(why, value) || !strstr(why, said))
        fail_msg("'%s' does not name %s, %s and %s", why, key, value, said);
    assert_memory_equal(&s, &before, sizeof s);
    free(why);
    settings_fini(&s);
}

static void test_bad_values_are_refused_with_key_value_and_allowed(void **state)
{
    (void)state;
    refused("brokerServicePort", "65536", TG_ERANGE, "from 0 to 65535");
    refused("brokerServicePort", "-1", TG_ERANGE, "from 0 to 65535");
    refused("brokerServicePort", "66x", TG_EINVAL, "from 0 to 65535");
    refused("brokerServicePort", " 7", TG_EINVAL, "from 0 to 65535");
    refused("brokerServicePort", "99999999999999999999", TG_ERANGE, "from 0 to 65535");
    refused("tidegateWorkers", "65", TG_ERANGE, "1 to 64");
    refused("tidegateDurability", "maybe", TG_EINVAL, "sync or os");
    refused("allowAutoTopicCreation", "yes", TG_EINVAL, "true or false");
    refused("allowAutoTopicCreationType", "both", TG_EINVAL, "partitioned or non-partitioned");
    refused("bindAddress", "example.org", TG_EINVAL, "localhost");
    refused("tidegateMemory", "1M", TG_ERANGE, "from 32M");
    refused("tidegateMemory", "lots", TG_EINVAL, "from 32M");
    refused("tidegateDataDir", "", TG_EINVAL, "text");
    refused("maxMessageSize", "0", TG_ERANGE, "from 1024");
}

static void test_unknown_key_is_no_entry(void **state)
{
    (void)state;
    struct settings s;
    settings_init(&s);
    char *why = NULL;
    assert_int_equal(settings_set(&s, "zookeeperServers", "x", &why), TG_ENOENT);
    assert_non_null(strstr(why, "zookeeperServers"));
    free(why);
    settings_fini(&s);
}

static void accepted(struct settings *s, const char *key, const char *value)
{
    char *why = NULL;
    if (settings_set(s, key, value, &why) != TG_OK)
        fail_msg("%s", why);
    assert_null(why);
}

static void test_allowed_values_are_taken(void **state)
{
    (void)state;
    struct settings s;
    settings_init(&s);
    accepted(&s, "tidegateDataDir", "/tmp/a b");
    accepted(&s, "bindAddress", "::1");
    accepted(&s, "tidegateMemory", "256m");
    accepted(&s, "tidegateDurability", "os");
    accepted(&s, "advertisedAddress", "broker-1");
    accepted(&s, "advertisedAddress", "");
    accepted(&s, "tidegateSegmentSizeMB", "8");
    accepted(&s, "maxPublishRatePerTopicInBytes", "1099511627776");
    accepted(&s, "allowAutoTopicCreationType", "partitioned");
    assert_string_equal(s.data_dir, "/tmp/a b");
    assert_string_equal(s.bind_address, "::1");
    assert_int_equal(s.memory_bytes, 256 << 20);
    assert_false(s.durability_sync);
    assert_null(s.advertised_address);
    assert_int_equal(s.segment_bytes, 8 << 20);
    assert_int_equal(s.max_topic_rate_bytes, INT64_C(1) << 40);
    assert_true(s.auto_topic_partitioned);
    settings_fini(&s);
}

static void count_dynamic(void *ctx, const char *name, const char *value, const char *allowed,
                          const char *doc)
{
    (void)value, (void)allowed, (void)doc;
    *(int *)ctx += settings_is_dynamic(name);
}

static void test_what_is_dynamic_is_taken_back_one_by_one(void **state)
{
    (void)state;
    struct settings file, now;
    int n = 0;
    settings_init(&file);
    accepted(&file, "maxPublishRatePerTopicInMessages", "70");
    settings_each(&file, count_dynamic, &n);
    assert_int_equal(n, 19);
    assert_false(settings_is_dynamic("maxMessageSize"));
    assert_false(settings_is_dynamic("zookeeperServers"));
    now = file;
    accepted(&now, "maxPublishRatePerTopicInMessages", "-1");
    accepted(&now, "brokerPublisherThrottlingMaxByteRate", "5");
    assert_int_equal(now.max_topic_rate_msgs, -1);
    assert_int_equal(now.broker_quota_bytes, 5);
    settings_copy_one(&now, &file, "maxPublishRatePerTopicInMessages");
    assert_int_equal(now.max_topic_rate_msgs, 70);
    assert_int_equal(now.broker_quota_bytes, 5);
    accepted(&now, "dispatchThrottlingOnNonBacklogConsumerEnabled", "false");
    assert_false(now.dispatch_throttle_tailing);
    settings_copy_one(&now, &file, "dispatchThrottlingOnNonBacklogConsumerEnabled");
    assert_true(now.dispatch_throttle_tailing);
    settings_fini(&file);
}

static void test_sizes(void **state)
{
    (void)state;
    int64_t n = -1;
    assert_int_equal(size_parse("1048576", &n), TG_OK);
    assert_int_equal(n, 1048576);
    assert_int_equal(size_parse("256m", &n), TG_OK);
    assert_int_equal(n, 256 << 20);
    assert_int_equal(size_parse("2G", &n), TG_OK);
    assert_true(n == INT64_C(2) << 30);
    assert_int_equal(size_parse("7k", &n), TG_OK);
    assert_int_equal(n, 7168);
    assert_int_equal(size_parse("", &n), TG_EINVAL);
    assert_int_equal(size_parse("m", &n), TG_EINVAL);
    assert_int_equal(size_parse("-1", &n), TG_EINVAL);
    assert_int_equal(size_parse("1mb", &n), TG_EINVAL);
    assert_int_equal(size_parse("1x", &n), TG_EINVAL);
    assert_int_equal(size_parse("8388607T", &n), TG_OK);
    assert_int_equal(size_parse("8388608T", &n), TG_ERANGE);
    assert_int_equal(size_parse("99999999999999999999", &n), TG_ERANGE);
}

/* Reads <text> as a file into fresh settings; *why as settings_read_file gives it. */
static enum tg_err read_text(struct settings *s, const char *text, char **why)
{
    char path[] = "/tmp/settings_test.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    settings_init(s);
    enum tg_err e = settings_read_file(s, path, why);
    unlink(path);
    return e;
}

static void test_file_with_comments_blanks_and_unknown_keys(void **state)
{
    (void)state;
    struct settings s;
    char *why;
    enum tg_err e = read_text(&s,
                              "# a comment\n\n  maxMessageSize = 2048  \r\n"
                              "zookeeperServers=a:1,b:2\n\tclusterName=east\nadvertisedAddress=\n"
                              "brokerServicePort=7000",
                              &why);
    assert_int_equal(e, TG_OK);
    assert_null(why);
    assert_int_equal(s.max_message_bytes, 2048);
    assert_string_equal(s.cluster_name, "east");
    assert_int_equal(s.broker_port, 7000);
    settings_fini(&s);
}

static void test_file_errors_name_file_and_line(void **state)
{
    (void)state;
    struct settings s;
    char *why;
    assert_int_equal(read_text(&s, "a=b\nwebServicePort=http\n", &why), TG_EINVAL);
    assert_non_null(strstr(why, "settings_test."));
    assert_non_null(strstr(why, ":2: webServicePort=http"));
    free(why);
    settings_fini(&s);
    assert_int_equal(read_text(&s, "nonsense\n", &why), TG_EINVAL);
    assert_non_null(strstr(why, ":1: 'nonsense'"));
    free(why);
    settings_fini(&s);
    settings_init(&s);
    assert_int_equal(settings_read_file(&s, "/nonexistent/x.conf", &why), TG_ENOENT);
    assert_non_null(strstr(why, "/nonexistent/x.conf"));
    free(why);
    settings_fini(&s);
}

static void test_file_with_an_endless_line_is_refused(void **state)
{
    (void)state;
    char *text = malloc(10001);
    memset(text, 'x', 10000);
    text[10000] = '\0';
    struct settings s;
    char *why;
    assert_int_equal(read_text(&s, text, &why), TG_ERANGE);
    free(why);
    free(text);
    settings_fini(&s);
}

static void test_check_refuses_what_does_not_fit_together(void **state)
{
    (void)state;
    struct settings s;
    char *why;
    settings_init(&s);
    accepted(&s, "tidegateMemory", "32M");
    assert_int_equal(settings_check(&s, &why), TG_ERANGE);
    assert_non_null(strstr(why, "maxMessageSize"));
    free(why);
    accepted(&s, "tidegateMemory", "256M");
    assert_int_equal(settings_check(&s, &why), TG_OK);
    accepted(&s, "tidegateSegmentSizeMB", "5");
    assert_int_equal(settings_check(&s, &why), TG_ERANGE);
    assert_non_null(strstr(why, "tidegateSegmentSizeMB"));
    free(why);
    accepted(&s, "tidegateSegmentSizeMB", "64");
    accepted(&s, "webServicePort", "6650");
    assert_int_equal(settings_check(&s, &why), TG_EINVAL);
    free(why);
    accepted(&s, "webServicePort", "0");
    accepted(&s, "brokerServicePort", "0");
    assert_int_equal(settings_check(&s, &why), TG_OK);
    settings_fini(&s);
}

static void check_row(void *ctx, const char *name, const char *value, const char *allowed,
                      const char *doc)
{
    struct settings *other = ctx;
    assert_true(*allowed && *doc && doc[strlen(doc) - 1] == '.');
    accepted(other, name, value); /* what is printed can be read again */
}

static void test_what_is_printed_can_be_set_again(void **state)
{
    (void)state;
    struct settings s, other;
    settings_init(&s);
    settings_init(&other);
    accepted(&s, "tidegateDurability", "os");
    accepted(&s, "tidegateSegmentSizeMB", "3");
    settings_each(&s, check_row, &other);
    assert_false(other.durability_sync);
    assert_int_equal(other.segment_bytes, 3 << 20);
    settings_fini(&s);
    settings_fini(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_what_the_manual_says),
        cmocka_unit_test(test_bad_values_are_refused_with_key_value_and_allowed),
        cmocka_unit_test(test_unknown_key_is_no_entry),
        cmocka_unit_test(test_allowed_values_are_taken),
        cmocka_unit_test(test_what_is_dynamic_is_taken_back_one_by_one),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_file_with_comments_blanks_and_unknown_keys),
        cmocka_unit_test(test_file_errors_name_file_and_line),
        cmocka_unit_test(test_file_with_an_endless_line_is_refused),
        cmocka_unit_test(test_check_refuses_what_does_not_fit_together),
        cmocka_unit_test(test_what_is_printed_can_be_set_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
