/* Paths of requests: every row's template with real words, encoding, names that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/command.h"
#include "cli/url.h"

static const struct command *row(const char *group, const char *name)
{
    const struct command *const tables[] = {cluster_commands, namespace_commands, topic_commands,
                                            group_commands, other_commands};
    for (int t = 0; t < 4; t++)
        for (const struct command *c = tables[t]; c->name; c++)
            if (strcmp(c->name, name) == 0 && (group ? c->group && !strcmp(c->group, group) : 1))
                return c;
    fail_msg("no command %s %s", group ? group : "", name);
    return NULL;
}

static struct call call_of(const char *group, const char *name, int argc, char **argv)
{
    struct call c = {.command = row(group, name)};
    char *why = NULL;
    const struct cli_option *own = c.command->options ? c.command->options : no_options;
    if (args_parse(&c.args, own, argc, argv, &why) != TG_OK)
        fail_msg("%s", why);
    return c;
}

#define CALL(group, name, ...)                                                                     \
    call_of(group, name, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), (char *[]){__VA_ARGS__})

static void expect_path(struct call c, const char *want)
{
    char *path, *why;
    if (url_path(&c, c.command->path, &path, &why) != TG_OK)
        fail_msg("%s", why);
    assert_string_equal(path, want);
    free(path);
}

static void expect_refused(struct call c, const char *said)
{
    char *path, *why;
    assert_int_equal(url_path(&c, c.command->path, &path, &why), TG_EINVAL);
    assert_null(path);
    if (!strstr(why, said))
        fail_msg("'%s' does not say '%s'", why, said);
    free(why);
}

static void test_forms_of_a_topic(void **state)
{
    (void)state;
    const char *want = "/persistent/public/default/x/subscriptions";
    expect_path(CALL("topics", "subscriptions", "x"), want);
    expect_path(CALL("topics", "subscriptions", "public/default/x"), want);
    expect_path(CALL("topics", "subscriptions", "persistent://public/default/x"), want);
    expect_path(CALL("topics", "subscriptions", "non-persistent://a/b/c"),
                "/non-persistent/a/b/c/subscriptions");
}

static void test_segments_are_encoded(void **state)
{
    (void)state;
    expect_path(CALL("topics", "subscriptions", "a b%&?#\xc3\xa4"),
                "/persistent/public/default/a%20b%25%26%3F%23%C3%A4/subscriptions");
    expect_path(CALL("topics", "unsubscribe", "x", "-s", "a/b c"),
                "/persistent/public/default/x/subscription/a%2Fb%20c?force=false");
    char *e = url_encode("-._~09azAZ+");
    assert_string_equal(e, "-._~09azAZ%2B");
    free(e);
}

static void test_flags_options_and_what_may_be_left_out(void **state)
{
    (void)state;
    expect_path(CALL("topics", "delete", "-f", "x"), "/persistent/public/default/x?force=true");
    expect_path(CALL("topics", "skip", "x", "-s", "s", "-n", "12"),
                "/persistent/public/default/x/subscription/s/skip/12");
    expect_path(CALL("topics", "stats", "x", "-gpb"),
                "/persistent/public/default/x/stats?getPreciseBacklog=true"
                "&subscriptionBacklogSize=false");
    expect_path(CALL("brokers", "list", "standalone"), "/brokers/standalone");
    expect_path(call_of("brokers", "list", 0, NULL), "/brokers");
    expect_path(CALL("namespaces", "policies", "a/b"), "/namespaces/a/b");
    expect_path(CALL("namespaces", "set-publish-quota", "a/b", "-m", "5"),
                "/namespaces/a/b/publishQuota");
    expect_path(CALL("resourcegroups", "update", "g", "-mp", "5"), "/resourcegroups/g");
    expect_path(CALL("namespaces", "set-resource-group", "a/b", "-rgn", "g"),
                "/namespaces/a/b/resourcegroup/g");
    expect_path(CALL("tenants", "remove-resource-group", "a"), "/tenants/a/resourcegroup");
    expect_path(CALL("topics", "set-publish-quota", "x", "-m", "5"),
                "/persistent/public/default/x/publishQuota");
    expect_path(CALL("tenants", "set-publish-quota", "a", "-m", "5"), "/tenants/a/publishQuota");
    expect_path(CALL("brokers", "update-dynamic-config", "--config", "x", "--value", "-1 a/b"),
                "/brokers/configuration/x/-1%20a%2Fb");
    expect_path(CALL("brokers", "delete-dynamic-config", "-c", "x"), "/brokers/configuration/x");
}

static void test_names_that_are_refused(void **state)
{
    (void)state;
    expect_refused(CALL("topics", "subscriptions", "http://x/y/z"), "persistent://");
    expect_refused(CALL("topics", "subscriptions", "a/b"), "tenant/namespace/topic");
    expect_refused(CALL("topics", "subscriptions", "a/b/c/d"), "'/'");
    expect_refused(CALL("namespaces", "policies", "a"), "allowed: tenant/namespace");
    expect_refused(CALL("namespaces", "policies", "a/"), "allowed: tenant/namespace");
    expect_refused(CALL("namespaces", "policies", "a/b/c"), "allowed: tenant/namespace");
    expect_refused(CALL("tenants", "get", ""), "tenant must not be empty");
}

/* Each row can be asked for what its template names: no placeholder without argument or option. */
static void test_every_row_has_what_its_path_names(void **state)
{
    (void)state;
    const struct command *const tables[] = {cluster_commands, namespace_commands, topic_commands,
                                            group_commands, other_commands};
    for (int t = 0; t < 4; t++) {
        for (const struct command *c = tables[t]; c->name; c++) {
            assert_non_null(c->help);
            assert_true(c->run || (c->method && c->path));
            for (const char *p = c->path; p && (p = strchr(p, '{')); p++) {
                const char *name = p + 1 + (p[1] == '/');
                size_t len = strcspn(name, "}");
                bool found = false;
                for (int i = 0; i < ARGS_MAX && c->args[i]; i++)
                    found |= strncmp(c->args[i] + (c->args[i][0] == '['), name, len) == 0;
                for (const struct cli_option *o = c->options; o && o->name; o++)
                    found |= strlen(o->name) == len && strncmp(o->name, name, len) == 0 &&
                             (!o->takes || o->required);
                if (!found)
                    fail_msg("%s %s: nothing for %.*s", c->group, c->name, (int)len, name);
            }
        }
    }
}

static void expect_body(struct call c, const char *want)
{
    json_t *body = NULL;
    char *why = NULL;
    if (c.command->body(&c, &body, &why) != TG_OK)
        fail_msg("%s", why);
    char *text = body ? json_dumps(body, JSON_ENCODE_ANY | JSON_COMPACT) : strdup("nothing");
    assert_string_equal(text, want);
    free(text);
    json_decref(body);
}

static void test_bodies(void **state)
{
    (void)state;
    expect_body(CALL("topics", "set-publish-rate", "x", "-m", "500"),
                "{\"publishThrottlingRateInMsg\":500,\"publishThrottlingRateInByte\":-1}");
    expect_body(CALL("namespaces", "set-publish-rate", "a/b", "-b", "9", "--burst-bytes", "3",
                     "--peak-msgs", "4"),
                "{\"publishThrottlingRateInMsg\":-1,\"publishThrottlingRateInByte\":9,"
                "\"publishThrottlingBurstInByte\":3,\"publishThrottlingPeakInMsg\":4}");
    expect_body(CALL("topics", "create-partitioned-topic", "x", "-p", "4"), "4");
    expect_body(CALL("topics", "create", "x"), "nothing");
    expect_body(CALL("topics", "create", "x", "-m", "a=b,c=d=e"), "{\"a\":\"b\",\"c\":\"d=e\"}");
    expect_body(CALL("topics", "create-subscription", "x", "-s", "s"), "\"latest\"");
    expect_body(CALL("topics", "create-subscription", "x-partition-2", "-s", "s", "-m", "5:17"),
                "{\"ledgerId\":5,\"entryId\":17,\"partitionIndex\":2}");
}

static void expect_body_refused(struct call c, const char *said)
{
    json_t *body = NULL;
    char *why = NULL;
    assert_int_equal(c.command->body(&c, &body, &why), TG_EINVAL);
    assert_non_null(strstr(why, said));
    free(why);
    json_decref(body);
}

static void test_bodies_that_are_refused(void **state)
{
    (void)state;
    expect_body_refused(CALL("topics", "create-subscription", "x", "-s", "s", "-m", "5"),
                        "allowed: LEDGER:ENTRY");
    expect_body_refused(CALL("topics", "create-subscription", "x", "-s", "s", "-m", "5:6:7"),
                        "allowed: LEDGER:ENTRY");
    expect_body_refused(CALL("topics", "create", "x", "-m", "a"), "allowed: KEY=VALUE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms_of_a_topic),
        cmocka_unit_test(test_segments_are_encoded),
        cmocka_unit_test(test_flags_options_and_what_may_be_left_out),
        cmocka_unit_test(test_names_that_are_refused),
        cmocka_unit_test(test_every_row_has_what_its_path_names),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_bodies_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
