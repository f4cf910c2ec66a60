/* Blocks: whom each kind holds for, what a request may say, and that a row gives back what was
 * stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <utlist.h>

#include "base/mono.h"
#include "broker/block.h"

#define NOW (INT64_C(1700000000) * MONO_S)

static struct block *made(const char *json)
{
    char *why = NULL;
    struct block *b;
    json_t *j = json_loads(json, 0, NULL);
    assert_non_null(j);
    if (block_from_json(&b, j, NOW, &why) != TG_OK)
        fail_msg("%s: %s", json, why);
    json_decref(j);
    return b;
}

static void refused(const char *json, enum tg_err err)
{
    char *why = NULL;
    struct block *b;
    json_t *j = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_int_equal(block_from_json(&b, j, NOW, &why), err);
    assert_null(b);
    assert_non_null(why);
    free(why);
    json_decref(j);
}

/* Of the one block: does it hold for this producer? */
static bool holds(const char *json, const char *producer, const char *topic, const char *address,
                  const char *role)
{
    struct block *list = made(json);
    struct topic_name n;
    const char *why;
    assert_int_equal(topic_name_parse(&n, topic, &why), TG_OK);
    list->next = NULL;
    struct block_set *s = block_set_new(list);
    struct block_subject who = {producer, &n, address, role};
    bool yes = block_set_match(s, &who) != NULL;
    block_set_unref(s);
    block_free(list);
    topic_name_fini(&n);
    return yes;
}

#define PEER "192.168.7.9:4000"

static void test_each_kind_holds_for_its_own(void **state)
{
    (void)state;
    const char *p = "{\"kind\":\"producer\",\"name\":\"p\"}";
    assert_true(holds(p, "p", "t/n/x", PEER, ""));
    assert_false(holds(p, "q", "t/n/x", PEER, ""));
    assert_false(holds(p, NULL, "t/n/x", PEER, ""));
    const char *t = "{\"kind\":\"topic\",\"name\":\"t/n/x\"}";
    assert_true(holds(t, "p", "persistent://t/n/x", PEER, ""));
    assert_true(holds(t, NULL, "persistent://t/n/x-partition-3", PEER, ""));
    assert_false(holds(t, "p", "persistent://t/n/xy", PEER, ""));
    const char *one = "{\"kind\":\"topic\",\"name\":\"t/n/x-partition-3\"}";
    assert_true(holds(one, "p", "t/n/x-partition-3", PEER, ""));
    assert_false(holds(one, "p", "t/n/x-partition-4", PEER, ""));
    assert_true(holds("{\"kind\":\"namespace\",\"name\":\"t/n\"}", "p", "t/n/x", PEER, ""));
    assert_false(holds("{\"kind\":\"namespace\",\"name\":\"t/n\"}", "p", "t/m/x", PEER, ""));
    assert_true(holds("{\"kind\":\"tenant\",\"name\":\"t\"}", "p", "t/n/x", PEER, ""));
    assert_false(holds("{\"kind\":\"tenant\",\"name\":\"t\"}", "p", "tt/n/x", PEER, ""));
    assert_true(holds("{\"kind\":\"role\",\"name\":\"r\"}", "p", "t/n/x", PEER, "r"));
    assert_false(holds("{\"kind\":\"role\",\"name\":\"r\"}", "p", "t/n/x", PEER, ""));
}

static bool address_holds(const char *name, const char *peer)
{
    char json[128];
    snprintf(json, sizeof json, "{\"kind\":\"address\",\"name\":\"%s\"}", name);
    return holds(json, "p", "t/n/x", peer, "");
}

static void test_addresses_and_ranges(void **state)
{
    (void)state;
    assert_true(address_holds("192.168.7.9", PEER));
    assert_false(address_holds("192.168.7.8", PEER));
    assert_true(address_holds("192.168.0.0/16", PEER));
    assert_true(address_holds("192.168.6.0/23", PEER));
    assert_false(address_holds("192.168.4.0/23", PEER));
    assert_true(address_holds("0.0.0.0/0", PEER));
    assert_false(address_holds("0.0.0.0/0", "[::1]:5"));
    assert_true(address_holds("::1", "[::1]:5"));
    assert_true(address_holds("2001:db8::/32", "[2001:db8:9::1]:5"));
    assert_false(address_holds("2001:db8::/32", "[2001:db9::1]:5"));
    assert_true(address_holds("10.1.2.3", "[::ffff:10.1.2.3]:5")); /* the same, over IPv6 */
    assert_false(address_holds("10.1.2.3", "nonsense"));
}

static void test_what_a_request_may_say(void **state)
{
    (void)state;
    struct block *b =
        made("{\"kind\":\"topic\",\"name\":\"x\",\"until\":\"2030-01-31T12:00:00.5Z\","
             "\"note\":\"n\",\"disconnect\":true}");
    assert_string_equal(b->name, "persistent://public/default/x");
    assert_true(b->disconnect);
    assert_int_equal(b->until_wall_ns, INT64_C(1896091200) * MONO_S + MONO_S / 2);
    block_free(b);
    b = made("{\"kind\":\"tenant\",\"name\":\"t\",\"durationMs\":1500}");
    assert_int_equal(b->until_wall_ns, NOW + 1500 * MONO_MS);
    block_free(b);
    refused("[]", TG_EINVAL);
    refused("{\"kind\":\"nobody\",\"name\":\"x\"}", TG_EINVAL);
    refused("{\"kind\":\"tenant\",\"name\":\"a/b\"}", TG_EINVAL);
    refused("{\"kind\":\"namespace\",\"name\":\"a/b/c\"}", TG_EINVAL);
    refused("{\"kind\":\"namespace\",\"name\":\"/b\"}", TG_EINVAL);
    refused("{\"kind\":\"address\",\"name\":\"1.2.3.4/\"}", TG_EINVAL);
    refused("{\"kind\":\"address\",\"name\":\"1.2.3.4/-1\"}", TG_EINVAL);
    refused("{\"kind\":\"address\",\"name\":\"::1/129\"}", TG_EINVAL);
    refused("{\"kind\":\"tenant\",\"name\":\"t\",\"until\":7}", TG_EINVAL);
    refused("{\"kind\":\"tenant\",\"name\":\"t\",\"until\":\"2030-01-31\"}", TG_EINVAL);
    refused("{\"kind\":\"tenant\",\"name\":\"t\",\"until\":\"2001-01-31T00:00:00Z\"}", TG_ERANGE);
    refused(
        "{\"kind\":\"tenant\",\"name\":\"t\",\"until\":\"2030-01-31T00:00:00Z\",\"durationMs\":1}",
        TG_EINVAL);
}

static void test_a_row_gives_back_what_was_stored(void **state)
{
    (void)state;
    struct block *b = made("{\"kind\":\"address\",\"name\":\"10.0.0.0/8\",\"durationMs\":60000,"
                           "\"note\":\"\\u00e4\"}");
    b->id = 7;
    json_t *row = block_to_json(b), *again;
    struct block *c;
    assert_int_equal(block_from_row(&c, row), TG_OK);
    again = block_to_json(c);
    assert_true(json_equal(row, again));
    assert_int_equal(c->prefix, 104);
    json_decref(again);
    json_object_set_new(row, "kind", json_string("?"));
    assert_int_equal(block_from_row(&b->next, row), TG_ECORRUPT);
    json_decref(row);
    block_free(b);
    block_free(c);
}

static void test_one_that_disconnects_wins(void **state)
{
    (void)state;
    struct block *list = NULL, *b, *next;
    struct topic_name n;
    const char *why;
    b = made("{\"kind\":\"topic\",\"name\":\"t/n/x\"}");
    DL_APPEND(list, b);
    b = made("{\"kind\":\"tenant\",\"name\":\"t\",\"disconnect\":true}");
    DL_APPEND(list, b);
    assert_int_equal(topic_name_parse(&n, "t/n/x", &why), TG_OK);
    struct block_set *s = block_set_new(list);
    struct block_subject who = {NULL, &n, PEER, ""};
    assert_int_equal(block_set_match(s, &who)->kind, BLOCK_TENANT);
    block_set_unref(s);
    b->disconnect = false;
    s = block_set_new(list);
    assert_int_equal(block_set_match(s, &who)->kind, BLOCK_TOPIC);
    block_set_unref(s);
    assert_null(block_set_match(NULL, &who));
    topic_name_fini(&n);
    DL_FOREACH_SAFE(list, b, next)
    {
        block_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_holds_for_its_own),
        cmocka_unit_test(test_addresses_and_ranges),
        cmocka_unit_test(test_what_a_request_may_say),
        cmocka_unit_test(test_a_row_gives_back_what_was_stored),
        cmocka_unit_test(test_one_that_disconnects_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
