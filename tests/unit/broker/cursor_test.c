/* The cursor: acknowledgements in and out of order, resets, its JSON; and against a bitmap with
 * random operations (SEED, SEEDS in the environment; a failing seed is printed). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/cursor.h"

static void test_acks_in_order_move_mark_delete(void **state)
{
    (void)state;
    struct cursor c;
    cursor_init(&c, 0);
    for (uint64_t e = 0; e < 100; e++)
        assert_true(cursor_ack(&c, e));
    assert_int_equal(c.next, 100);
    assert_int_equal(c.ranges, 0);
    cursor_fini(&c);
}

static void test_ack_behind_a_hole_waits_for_it(void **state)
{
    (void)state;
    struct cursor c;
    cursor_init(&c, 10);
    assert_true(cursor_ack(&c, 12));
    assert_true(cursor_ack(&c, 11));
    assert_int_equal(c.next, 10);
    assert_int_equal(c.ranges, 1);
    assert_int_equal(c.acked_behind, 2);
    assert_true(cursor_ack(&c, 10));
    assert_int_equal(c.next, 13);
    assert_int_equal(c.ranges, 0);
    assert_int_equal(c.acked_behind, 0);
    cursor_fini(&c);
}

static void test_second_ack_of_an_entry_is_no_news(void **state)
{
    (void)state;
    struct cursor c;
    cursor_init(&c, 5);
    assert_false(cursor_ack(&c, 4));
    assert_true(cursor_ack(&c, 7));
    assert_false(cursor_ack(&c, 7));
    assert_false(cursor_ack_to(&c, 4));
    cursor_fini(&c);
}

static void test_cumulative_ack_swallows_ranges(void **state)
{
    (void)state;
    struct cursor c;
    cursor_init(&c, 0);
    cursor_ack_range(&c, 2, 3);
    cursor_ack_range(&c, 6, 9);
    assert_true(cursor_ack_to(&c, 5));
    assert_int_equal(c.next, 10);
    assert_int_equal(c.ranges, 0);
    cursor_fini(&c);
}

static void test_next_unacked_jumps_over_ranges(void **state)
{
    (void)state;
    struct cursor c;
    cursor_init(&c, 3);
    cursor_ack_range(&c, 5, 7);
    assert_int_equal(cursor_next_unacked(&c, 0), 3);
    assert_int_equal(cursor_next_unacked(&c, 4), 4);
    assert_int_equal(cursor_next_unacked(&c, 5), 8);
    assert_int_equal(cursor_next_unacked(&c, 7), 8);
    assert_int_equal(cursor_next_unacked(&c, 8), 8);
    cursor_fini(&c);
}

static void test_reset_forgets_ranges(void **state)
{
    (void)state;
    struct cursor c;
    cursor_init(&c, 100);
    cursor_ack_range(&c, 105, 110);
    cursor_reset(&c, 20);
    assert_int_equal(c.next, 20);
    assert_false(cursor_is_acked(&c, 106));
    assert_int_equal(c.acked_behind, 0);
    cursor_fini(&c);
}

static void test_ranges_are_bounded(void **state)
{
    (void)state;
    struct cursor c;
    cursor_init(&c, 0);
    for (uint64_t i = 1; i <= CURSOR_RANGES_MAX; i++)
        assert_true(cursor_ack(&c, 2 * i));
    uint64_t more = 2 * ((uint64_t)CURSOR_RANGES_MAX + 1);
    assert_false(cursor_ack(&c, more));
    assert_false(cursor_is_acked(&c, more));
    assert_true(cursor_ack(&c, 3)); /* joins two: there is room again */
    assert_true(cursor_ack(&c, more));
    cursor_fini(&c);
}

static void test_json_round_trip(void **state)
{
    (void)state;
    struct cursor c, back;
    cursor_init(&c, 7);
    cursor_ack_range(&c, 9, 9);
    cursor_ack_range(&c, 20, 30);
    json_t *j = cursor_to_json(&c, 100);
    assert_int_equal(json_integer_value(json_object_get(j, "markDelete")), 6);
    assert_int_equal(cursor_from_json(&back, j), TG_OK);
    assert_int_equal(back.next, 7);
    assert_int_equal(back.ranges, 2);
    assert_int_equal(back.acked_behind, 12);
    assert_true(cursor_is_acked(&back, 25));
    cursor_fini(&back);
    json_decref(j);
    j = cursor_to_json(&c, 1); /* more than that is delivered again */
    assert_int_equal(cursor_from_json(&back, j), TG_OK);
    assert_int_equal(back.acked_behind, 1);
    json_decref(j);
    cursor_fini(&back);
    cursor_fini(&c);
}

static void test_json_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"{}",
                                      "{\"markDelete\":-2}",
                                      "{\"markDelete\":\"7\"}",
                                      "{\"markDelete\":9223372036854775807}",
                                      "{\"markDelete\":0,\"acked\":[[5,4]]}",
                                      "{\"markDelete\":0,\"acked\":[[-1,4]]}",
                                      "{\"markDelete\":0,\"acked\":[7]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cursor c;
        json_t *j = json_loads(bad[i], 0, NULL);
        assert_non_null(j);
        assert_int_equal(cursor_from_json(&c, j), TG_EINVAL);
        json_decref(j);
    }
}

/* ---- against a bitmap ---- */

enum { ENTRIES = 400, STEPS = 600 };

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static int is_same(const struct cursor *c, const bool *acked)
{
    uint64_t next = 0, behind = 0;
    while (next < ENTRIES && acked[next])
        next++;
    for (uint64_t e = next; e < ENTRIES; e++)
        behind += acked[e];
    if (c->next != next || c->acked_behind != behind)
        return 0;
    for (uint64_t e = 0; e < ENTRIES; e++)
        if (cursor_is_acked(c, e) != acked[e])
            return 0;
    for (uint32_t i = 0; i < c->ranges; i++) {
        uint64_t before = i ? c->range[i - 1].last + 1 : c->next;
        if (c->range[i].first <= before || c->range[i].last < c->range[i].first)
            return 0;
    }
    return 1;
}

static void one_step(struct cursor *c, bool *acked, uint64_t *seed)
{
    uint64_t op = next_random(seed) % 100, e = next_random(seed) % ENTRIES;
    if (op < 70) {
        assert_int_equal(cursor_ack(c, e), !acked[e]);
        acked[e] = true;
    } else if (op < 90) {
        uint64_t last = e + next_random(seed) % 8;
        last = last < ENTRIES ? last : ENTRIES - 1;
        cursor_ack_range(c, e, last);
        memset(acked + e, true, last - e + 1);
    } else if (op < 97) {
        uint64_t to = e / 8;
        cursor_ack_to(c, to);
        memset(acked, true, to + 1);
    } else if (op < 98) {
        cursor_reset(c, e / 4);
        memset(acked, true, e / 4);
        memset(acked + e / 4, false, ENTRIES - e / 4);
    }
}

static void test_agrees_with_a_bitmap(void **state)
{
    (void)state;
    const char *one = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, count = 200;
    if (many)
        count = strtoull(many, NULL, 10);
    else if (one)
        count = 1;
    for (uint64_t n = first; n < first + count; n++) {
        uint64_t seed = n * UINT64_C(0x9E3779B97F4A7C15) + 1;
        bool acked[ENTRIES] = {false};
        struct cursor c;
        cursor_init(&c, 0);
        for (int i = 0; i < STEPS; i++) {
            one_step(&c, acked, &seed);
            if (!is_same(&c, acked))
                fail_msg("SEED=%llu, step %d", (unsigned long long)n, i);
        }
        cursor_fini(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acks_in_order_move_mark_delete),
        cmocka_unit_test(test_ack_behind_a_hole_waits_for_it),
        cmocka_unit_test(test_second_ack_of_an_entry_is_no_news),
        cmocka_unit_test(test_cumulative_ack_swallows_ranges),
        cmocka_unit_test(test_next_unacked_jumps_over_ranges),
        cmocka_unit_test(test_reset_forgets_ranges),
        cmocka_unit_test(test_ranges_are_bounded),
        cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_json_that_is_none_is_refused),
        cmocka_unit_test(test_agrees_with_a_bitmap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
