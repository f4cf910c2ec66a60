/* Sums of messages over entries: exact below the bound on knots, exact over all above it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/message_counts.h"

enum { FEW = 3000, MANY = 100000 };

static uint32_t messages_of(uint64_t e) /* changes with every entry */
{
    return (uint32_t)(e * 7919 % 13) + 1;
}

static void test_sums_are_exact_below_the_bound(void **state)
{
    (void)state;
    struct message_counts *c = message_counts_new(50);
    uint64_t *before = calloc(FEW + 1, sizeof *before);
    for (uint64_t i = 0; i < FEW; i++) {
        message_counts_add(c, 50 + i, messages_of(i));
        before[i + 1] = before[i] + messages_of(i);
    }
    for (uint64_t a = 0; a <= FEW; a += 37)
        for (uint64_t b = a; b <= FEW; b += 41)
            assert_int_equal(message_counts_between(c, 50 + a, 50 + b), before[b] - before[a]);
    free(before);
    message_counts_free(c);
}

static void test_entries_from_before_count_as_one(void **state)
{
    (void)state;
    struct message_counts *c = message_counts_new(100);
    assert_int_equal(message_counts_between(c, 90, 100), 10);
    message_counts_add(c, 100, 5);
    assert_int_equal(message_counts_between(c, 90, 101), 15);
    assert_int_equal(message_counts_between(c, 95, 98), 3);
    assert_int_equal(message_counts_between(c, 101, 90), 0);
    message_counts_free(c);
}

static void test_total_stays_exact_when_thinned(void **state)
{
    (void)state;
    struct message_counts *c = message_counts_new(0);
    uint64_t total = 0;
    for (uint64_t e = 0; e < MANY; e++) {
        message_counts_add(c, e, messages_of(e));
        total += messages_of(e);
    }
    assert_int_equal(message_counts_between(c, 0, MANY), total);
    /* the last thousand were never thinned */
    uint64_t tail = 0;
    for (uint64_t e = MANY - 1000; e < MANY; e++)
        tail += messages_of(e);
    assert_int_equal(message_counts_between(c, MANY - 1000, MANY), tail);
    uint64_t half = message_counts_between(c, 0, MANY / 2);
    assert_in_range(half, total / 2 - total / 100, total / 2 + total / 100);
    message_counts_free(c);
}

static void test_equal_batches_need_no_room(void **state)
{
    (void)state;
    struct message_counts *c = message_counts_new(0);
    for (uint64_t e = 0; e < MANY; e++)
        message_counts_add(c, e, 10);
    assert_false(message_counts_is_full(c));
    assert_int_equal(message_counts_between(c, 12345, 12355), 100);
    message_counts_free(c);
}

static void test_forgetting_keeps_what_is_asked_for(void **state)
{
    (void)state;
    struct message_counts *c = message_counts_new(0);
    uint64_t want = 0;
    for (uint64_t e = 0; e < MESSAGE_COUNTS_KNOTS_MAX - 1; e++)
        message_counts_add(c, e, e % 2 + 1);
    assert_true(message_counts_is_full(c));
    for (uint64_t e = 4000; e < MESSAGE_COUNTS_KNOTS_MAX - 1; e++)
        want += e % 2 + 1;
    message_counts_forget_below(c, 4000);
    assert_false(message_counts_is_full(c));
    assert_int_equal(message_counts_between(c, 4000, MESSAGE_COUNTS_KNOTS_MAX - 1), want);
    message_counts_add(c, MESSAGE_COUNTS_KNOTS_MAX - 1, 9);
    assert_int_equal(message_counts_between(c, 4000, MESSAGE_COUNTS_KNOTS_MAX), want + 9);
    message_counts_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_are_exact_below_the_bound),
        cmocka_unit_test(test_entries_from_before_count_as_one),
        cmocka_unit_test(test_total_stays_exact_when_thinned),
        cmocka_unit_test(test_equal_batches_need_no_room),
        cmocka_unit_test(test_forgetting_keeps_what_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
