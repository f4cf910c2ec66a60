#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "throttle/parking.h"

static void put(struct parking *p, uint64_t id, uint32_t messages, const char *body)
{
    struct parked_frame meta = {
        .sequence_id = id,
        .highest_sequence_id = id + messages - 1,
        .messages = messages,
        .flags = 7,
        .body_crc = 0xc0ffee,
        .len = (uint32_t)strlen(body),
        .parked_ns = (int64_t)id * 10,
    };
    parking_put(p, &meta, body);
}

static void test_frames_are_copied_and_leave_in_order(void **state)
{
    (void)state;
    struct budget b;
    struct parking p;
    char body[] = "first";
    budget_init(&b, 1 << 20);
    parking_init(&p, &b);
    assert_null(parking_head(&p));
    put(&p, 1, 1, body);
    memset(body, 'x', 5); /* the receive buffer is used again */
    put(&p, 2, 3, "");
    assert_int_equal(p.frames, 2);
    assert_int_equal(p.messages, 4);
    assert_int_equal(p.bytes, 5);

    const struct parked_frame *f = parking_head(&p);
    assert_int_equal(f->sequence_id, 1);
    assert_memory_equal(f->body, "first", 5);
    assert_int_equal(f->flags, 7);
    assert_int_equal(f->body_crc, 0xc0ffee);
    assert_int_equal(f->parked_ns, 10);
    parking_drop_head(&p);
    f = parking_head(&p);
    assert_int_equal(f->sequence_id, 2);
    assert_int_equal(f->highest_sequence_id, 4);
    parking_drop_head(&p);
    assert_null(parking_head(&p));
    put(&p, 3, 1, "after it was empty");
    assert_int_equal(parking_head(&p)->sequence_id, 3);
    parking_clear(&p);
}

static void test_the_budget_is_given_back_on_every_way_out(void **state)
{
    (void)state;
    struct budget b;
    struct parking p;
    budget_init(&b, 1 << 20);
    parking_init(&p, &b);
    for (int i = 0; i < 10; i++)
        put(&p, (uint64_t)i, 1, "0123456789");
    int64_t each = (int64_t)xsize(parking_head(&p)); /* with what the allocator rounds up */
    assert_true(each >= (int64_t)sizeof(struct parked_frame) + 10);
    assert_int_equal(budget_used(&b, BUDGET_PARKED), 10 * each);
    parking_drop_head(&p);
    assert_int_equal(budget_used(&b, BUDGET_PARKED), 9 * each);
    parking_clear(&p);
    assert_int_equal(budget_used(&b, BUDGET_PARKED), 0);
    assert_int_equal(p.frames + p.messages + p.bytes, 0);
    parking_clear(&p);
    assert_int_equal(budget_used(&b, BUDGET_PARKED), 0);
}

static void test_without_an_allowance_one_frame_is_taken(void **state)
{
    (void)state;
    struct budget b;
    struct parking p;
    budget_init(&b, 1 << 20);
    parking_init(&p, &b);
    assert_false(parking_full(&p));
    assert_true(parking_low(&p));
    put(&p, 1, 1, "x");
    assert_false(parking_full(&p));
    assert_false(parking_low(&p));
    put(&p, 2, 1, "x");
    assert_true(parking_full(&p));
    parking_clear(&p);
    assert_false(parking_full(&p));
}

static void test_a_window_that_fits_exactly_never_fills_it(void **state)
{
    (void)state;
    struct budget b;
    struct parking p;
    budget_init(&b, 1 << 20);
    parking_init(&p, &b);
    parking_allow(&p, 2, UINT64_MAX);
    put(&p, 1, 1, "x");
    put(&p, 2, 1, "x");
    assert_false(parking_full(&p));
    put(&p, 3, 1, "x");
    assert_true(parking_full(&p));
    parking_clear(&p);
}

static void test_either_dimension_fills_it(void **state)
{
    (void)state;
    struct budget b;
    struct parking p;
    budget_init(&b, 1 << 20);
    parking_init(&p, &b);
    parking_allow(&p, 4, UINT64_MAX);
    put(&p, 1, 1, "x");
    assert_true(parking_low(&p));
    put(&p, 2, 2, "x");
    assert_false(parking_low(&p));
    assert_false(parking_full(&p));
    put(&p, 4, 1, "x");
    assert_false(parking_full(&p));
    put(&p, 4, 1, "x");
    assert_true(parking_full(&p));
    parking_allow(&p, UINT64_MAX, 10);
    assert_true(parking_low(&p));
    put(&p, 5, 1, "12");
    assert_false(parking_full(&p));
    assert_false(parking_low(&p));
    put(&p, 6, 1, "12345");
    assert_true(parking_full(&p));
    parking_clear(&p);
}

static void test_a_used_up_budget_fills_it_for_all_but_the_empty(void **state)
{
    (void)state;
    struct budget b;
    struct parking p, other;
    budget_init(&b, 1 << 20);
    parking_init(&p, &b);
    parking_init(&other, &b);
    parking_allow(&p, UINT64_MAX, UINT64_MAX);
    put(&p, 1, 1, "x");
    assert_false(parking_full(&p));
    budget_force(&b, BUDGET_PARKED, b.share_bytes[BUDGET_PARKED]);
    assert_true(parking_full(&p));
    assert_false(parking_full(&other));
    budget_give(&b, BUDGET_PARKED, b.share_bytes[BUDGET_PARKED]);
    assert_false(parking_full(&p));
    parking_clear(&p);
}

static void test_the_allowance_is_a_delay_at_the_rate(void **state)
{
    (void)state;
    struct tg_limit_spec spec = {.msgs.rate = 100};
    struct parking_amount a = parking_passes(&spec, 2 * MONO_S);
    assert_int_equal(a.messages, 200);
    assert_true(a.bytes == UINT64_MAX);
    spec = (struct tg_limit_spec){.bytes.rate = 600, .period_ns = 60 * MONO_S};
    a = parking_passes(&spec, 2 * MONO_S);
    assert_int_equal(a.bytes, 20);
    assert_true(a.messages == UINT64_MAX);
    spec = (struct tg_limit_spec){.msgs.rate = INT64_MAX, .period_ns = MONO_MS};
    assert_true(parking_passes(&spec, INT64_MAX).messages == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_are_copied_and_leave_in_order),
        cmocka_unit_test(test_the_budget_is_given_back_on_every_way_out),
        cmocka_unit_test(test_without_an_allowance_one_frame_is_taken),
        cmocka_unit_test(test_a_window_that_fits_exactly_never_fills_it),
        cmocka_unit_test(test_either_dimension_fills_it),
        cmocka_unit_test(test_a_used_up_budget_fills_it_for_all_but_the_empty),
        cmocka_unit_test(test_the_allowance_is_a_delay_at_the_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
