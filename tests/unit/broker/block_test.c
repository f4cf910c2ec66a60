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
    struct block_set *s = block_set_new();
    block_set_put(s, list);
    struct block_subject who = {producer, &n, address, role};
    bool yes = block_set_match(s, &who) != NULL;
    block_set_free(s);
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
    assert_int_equal(c->range.prefix, 104);
    json_decref(again);
    json_object_set_new(row, "kind", json_string("?"));
    assert_int_equal(block_from_row(&b->next, row), TG_ECORRUPT);
    json_decref(row);
    block_free(b);
    block_free(c);
}

static void put(struct block_set *s, const char *json)
{
    struct block *b = made(json);
    block_set_put(s, b);
    block_free(b);
}

static void test_one_that_disconnects_wins(void **state)
{
    (void)state;
    struct topic_name n;
    const char *why;
    struct block_set *s = block_set_new();
    assert_int_equal(topic_name_parse(&n, "t/n/x", &why), TG_OK);
    struct block_subject who = {NULL, &n, PEER, ""};
    put(s, "{\"kind\":\"topic\",\"name\":\"t/n/x\"}");
    put(s, "{\"kind\":\"tenant\",\"name\":\"t\",\"disconnect\":true}");
    assert_int_equal(block_set_match(s, &who)->kind, BLOCK_TENANT);
    put(s, "{\"kind\":\"tenant\",\"name\":\"t\"}"); /* in place of the one before */
    assert_int_equal(block_set_match(s, &who)->kind, BLOCK_TOPIC);
    block_set_free(s);
    assert_null(block_set_match(NULL, &who));
    topic_name_fini(&n);
}

static void test_the_narrowest_range_holds_and_one_taken_out_no_more(void **state)
{
    (void)state;
    struct block_set *s = block_set_new();
    put(s, "{\"kind\":\"address\",\"name\":\"192.168.0.0/16\"}");
    put(s, "{\"kind\":\"address\",\"name\":\"192.168.7.9\"}");
    put(s, "{\"kind\":\"address\",\"name\":\"192.168.7.0/24\"}");
    assert_string_equal(block_set_match_client(s, PEER, "")->name, "192.168.7.9");
    assert_string_equal(block_set_match_client(s, "192.168.7.8:1", "")->name, "192.168.7.0/24");
    put(s, "{\"kind\":\"address\",\"name\":\"192.0.0.0/8\",\"disconnect\":true}");
    assert_string_equal(block_set_match_client(s, PEER, "")->name, "192.0.0.0/8");
    const char *const out[] = {"192.0.0.0/8", "192.168.7.9", "192.168.7.0/24"};
    for (int i = 0; i < 3; i++) {
        char json[128];
        snprintf(json, sizeof json, "{\"kind\":\"address\",\"name\":\"%s\"}", out[i]);
        struct block *b = made(json);
        block_set_remove(s, b);
        block_set_remove(s, b); /* once is enough */
        block_free(b);
    }
    assert_string_equal(block_set_match_client(s, PEER, "")->name, "192.168.0.0/16");
    assert_null(block_set_match_client(s, "10.0.0.1:1", ""));
    block_set_free(s);
}

/* The same range in other words would be a second block of it. */
static void test_a_name_is_what_it_is_looked_up_by(void **state)
{
    (void)state;
    static const struct {
        enum block_kind kind;
        const char *text, *name;
    } names[] = {
        {BLOCK_ADDRESS, "10.1.2.3/8", "10.0.0.0/8"},
        {BLOCK_ADDRESS, "10.1.2.3/32", "10.1.2.3"},
        {BLOCK_ADDRESS, "10.1.2.3/0", "0.0.0.0/0"},
        {BLOCK_ADDRESS, "192.168.7.9/23", "192.168.6.0/23"},
        {BLOCK_ADDRESS, "::ffff:10.1.2.3", "10.1.2.3"},
        {BLOCK_ADDRESS, "2001:DB8:0::1/32", "2001:db8::/32"},
        {BLOCK_ADDRESS, "::/0", "::/0"},
        {BLOCK_ADDRESS, "::ffff:0:0/96", "::ffff:0.0.0.0/96"},
        {BLOCK_ADDRESS, "nowhere", NULL},
        {BLOCK_TOPIC, "x", "persistent://public/default/x"},
        {BLOCK_TENANT, "a/b", NULL},
        {BLOCK_ROLE, "", NULL},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *name = block_name(names[i].kind, names[i].text);
        if (names[i].name == NULL)
            assert_null(name);
        else
            assert_string_equal(name, names[i].name);
        free(name);
    }
}

enum { MANY = BLOCKS_MAX, LOOKUPS = 20000 };

static void test_a_look_up_does_not_look_at_every_range(void **state)
{
    (void)state;
    struct block_set *s = block_set_new();
    for (int i = 0; i < MANY; i++) {
        char json[128];
        snprintf(json, sizeof json, "{\"kind\":\"address\",\"name\":\"10.%d.%d.7\"}", i / 256,
                 i % 256);
        put(s, json);
    }
    for (int i = 0; i < LOOKUPS; i++) /* all of them in all would be 200 million steps */
        assert_null(block_set_match_client(s, PEER, ""));
    assert_non_null(block_set_match_client(s, "10.39.15.7:1", ""));
    assert_int_equal(s->with_prefix[BLOCK_ADDRESS_BITS], MANY);
    assert_int_equal(HASH_COUNT(s->map[BLOCK_ADDRESS]), MANY);
    block_set_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind_holds_for_its_own),
        cmocka_unit_test(test_addresses_and_ranges),
        cmocka_unit_test(test_what_a_request_may_say),
        cmocka_unit_test(test_a_row_gives_back_what_was_stored),
        cmocka_unit_test(test_one_that_disconnects_wins),
        cmocka_unit_test(test_the_narrowest_range_holds_and_one_taken_out_no_more),
        cmocka_unit_test(test_a_name_is_what_it_is_looked_up_by),
        cmocka_unit_test(test_a_look_up_does_not_look_at_every_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
