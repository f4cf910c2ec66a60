#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mono.h"
#include "throttle/gate.h"

static const struct gate_facts none = {.parking_low = true};
static const struct gate_facts few = {.parked = true, .parking_low = true};
static const struct gate_facts half = {.parked = true};
static const struct gate_facts full = {.parked = true, .parking_full = true};
static const struct gate_facts crowded_out = {
    .parked = true, .parking_full = true, .parking_low = true};
static const struct gate_facts low_held = {.parked = true, .parking_low = true, .may_hold = true};
static const struct gate_facts full_held = {.parked = true, .parking_full = true, .may_hold = true};
static const struct gate_facts crowded_held = {
    .parked = true, .parking_full = true, .parking_low = true, .may_hold = true};
static const struct gate_facts once_more = {.parking_low = true, .must_hold = true};
static const struct gate_facts few_owed = {
    .parked = true, .parking_low = true, .may_release = true};
static const struct gate_facts nothing_owed = {.parking_low = true, .may_release = true};

/* The table of gate.h: from each step, with and without a reason, for each state of parking. */
static void test_every_line_of_the_table(void **state)
{
    (void)state;
    static const struct {
        enum gate_step from;
        bool reason;
        const struct gate_facts *facts;
        enum gate_step to;
        enum gate_action action;
    } rows[] = {
        {GATE_OPEN, false, &none, GATE_OPEN, GATE_NOTHING},
        {GATE_OPEN, false, &few, GATE_PARK, GATE_BEGAN},
        {GATE_OPEN, true, &none, GATE_PARK, GATE_BEGAN},
        {GATE_OPEN, true, &full, GATE_PARK, GATE_BEGAN},
        {GATE_PARK, false, &none, GATE_OPEN, GATE_ENDED},
        {GATE_PARK, true, &none, GATE_PARK, GATE_NOTHING},
        {GATE_PARK, false, &few, GATE_PARK, GATE_NOTHING},
        {GATE_PARK, true, &half, GATE_PARK, GATE_NOTHING},
        {GATE_PARK, true, &full, GATE_PAUSE, GATE_PAUSE_SOCKET},
        {GATE_PARK, true, &crowded_out, GATE_PAUSE, GATE_PAUSE_SOCKET},
        {GATE_PAUSE, true, &full, GATE_PAUSE, GATE_NOTHING},
        {GATE_PAUSE, true, &half, GATE_PAUSE, GATE_NOTHING},
        {GATE_PAUSE, false, &half, GATE_PAUSE, GATE_NOTHING},
        {GATE_PAUSE, true, &crowded_out, GATE_PAUSE, GATE_NOTHING},
        {GATE_PAUSE, true, &few, GATE_PARK, GATE_RESUME_SOCKET},
        {GATE_PAUSE, true, &none, GATE_PARK, GATE_RESUME_SOCKET},
        {GATE_PAUSE, false, &few, GATE_PARK, GATE_RESUME_SOCKET},
        {GATE_PAUSE, false, &none, GATE_OPEN, GATE_RESUME_AND_END},
        {GATE_PARK, true, &low_held, GATE_PARK, GATE_NOTHING},
        {GATE_PARK, true, &full_held, GATE_HOLD, GATE_HOLD_PRODUCER},
        {GATE_PARK, false, &crowded_held, GATE_HOLD, GATE_HOLD_PRODUCER},
        {GATE_OPEN, false, &once_more, GATE_PARK, GATE_BEGAN},
        {GATE_PARK, false, &once_more, GATE_HOLD, GATE_HOLD_PRODUCER},
        {GATE_PAUSE, true, &full_held, GATE_HOLD, GATE_RESUME_AND_HOLD},
        {GATE_PAUSE, true, &crowded_held, GATE_HOLD, GATE_RESUME_AND_HOLD},
        {GATE_PAUSE, true, &low_held, GATE_PARK, GATE_RESUME_SOCKET},
        {GATE_HOLD, true, &full, GATE_HOLD, GATE_NOTHING},
        {GATE_HOLD, true, &nothing_owed, GATE_HOLD, GATE_NOTHING},
        {GATE_HOLD, false, &few_owed, GATE_HOLD, GATE_NOTHING},
        {GATE_HOLD, false, &none, GATE_HOLD, GATE_NOTHING},
        {GATE_HOLD, false, &nothing_owed, GATE_OPEN, GATE_RELEASE_AND_END},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gate g;
        gate_init(&g);
        g.step = rows[i].from;
        if (rows[i].reason)
            gate_set(&g, REASON_TOPIC);
        assert_int_equal(gate_advance(&g, *rows[i].facts, 0), rows[i].action);
        assert_int_equal(g.step, rows[i].to);
    }
}

static void test_one_large_frame_goes_from_open_to_pause(void **state)
{
    (void)state;
    struct gate g;
    gate_init(&g);
    gate_set(&g, REASON_TOPIC);
    assert_int_equal(gate_advance(&g, full, 0), GATE_BEGAN);
    assert_int_equal(gate_advance(&g, full, 0), GATE_PAUSE_SOCKET);
    assert_int_equal(gate_advance(&g, full, 0), GATE_NOTHING);
}

static void test_it_ends_only_with_the_last_reason_and_frame(void **state)
{
    (void)state;
    struct gate g;
    gate_init(&g);
    gate_set(&g, REASON_TOPIC);
    gate_set(&g, REASON_STORAGE_FULL);
    gate_advance(&g, few, 0);
    gate_clear(&g, REASON_TOPIC);
    assert_int_equal(gate_advance(&g, none, 0), GATE_NOTHING);
    gate_clear(&g, REASON_STORAGE_FULL);
    assert_int_equal(gate_advance(&g, few, 0), GATE_NOTHING);
    assert_int_equal(gate_advance(&g, none, 0), GATE_ENDED);
}

static void test_setting_twice_is_setting_once(void **state)
{
    (void)state;
    struct gate g;
    gate_init(&g);
    gate_set(&g, REASON_TOPIC);
    gate_set(&g, REASON_TOPIC);
    gate_clear(&g, REASON_BROKER);
    assert_true(gate_has(&g, REASON_TOPIC));
    assert_false(gate_has(&g, REASON_BROKER));
    gate_clear(&g, REASON_TOPIC);
    assert_int_equal(g.reasons, 0);
}

static void test_the_narrowest_reason_is_the_one_told(void **state)
{
    (void)state;
    struct gate g;
    gate_init(&g);
    assert_int_equal(gate_reason(&g), REASON_COUNT);
    gate_set(&g, REASON_BLOCKED);
    assert_int_equal(gate_reason(&g), REASON_BLOCKED);
    gate_set(&g, REASON_BROKER);
    gate_set(&g, REASON_NAMESPACE);
    assert_int_equal(gate_reason(&g), REASON_NAMESPACE);
    gate_clear_all(&g);
    assert_int_equal(gate_reason(&g), REASON_COUNT);
}

static void test_throttled_time_counts_closed_and_running_periods(void **state)
{
    (void)state;
    struct gate g;
    gate_init(&g);
    assert_int_equal(gate_throttled_ns(&g, 1000), 0);
    gate_set(&g, REASON_TOPIC);
    gate_advance(&g, none, 1000);
    assert_int_equal(gate_throttled_ns(&g, 1500), 500);
    gate_advance(&g, full, 1600); /* a step inside the period does not end it */
    gate_clear(&g, REASON_TOPIC);
    gate_advance(&g, none, 2000);
    assert_int_equal(gate_throttled_ns(&g, 9000), 1000);
    gate_set(&g, REASON_TOPIC);
    gate_advance(&g, none, 10000);
    assert_int_equal(gate_throttled_ns(&g, 10001), 1001);
    assert_int_equal(g.times, 2);
    assert_int_equal(g.step_times[GATE_PARK], 2);
    assert_int_equal(g.step_times[GATE_PAUSE], 1);
    assert_int_equal(g.step_times[GATE_OPEN], 1);
}

static void test_a_stray_reason_leaves_no_trace_in_a_pause_set(void **state)
{
    (void)state;
    struct pause_set p = {0};
    assert_false(pause_set_remove(&p, REASON_PUBLISH_BUFFER));
    assert_true(pause_set_add(&p, REASON_PUBLISH_BUFFER));
    assert_false(pause_set_add(&p, REASON_PUBLISH_BUFFER));
    assert_true(pause_set_remove(&p, REASON_PUBLISH_BUFFER));
    assert_false(pause_set_is_paused(&p));
    assert_true(pause_set_add_producer(&p));
}

static void test_a_pause_set_changes_with_the_first_and_the_last(void **state)
{
    (void)state;
    struct pause_set p = {0};
    assert_true(pause_set_add_producer(&p));
    assert_false(pause_set_add(&p, REASON_CONNECTION_IN_FLIGHT));
    assert_false(pause_set_add_producer(&p));
    assert_false(pause_set_remove_producer(&p));
    assert_false(pause_set_remove_producer(&p));
    assert_true(pause_set_is_paused(&p));
    assert_true(pause_set_remove(&p, REASON_CONNECTION_IN_FLIGHT));
}

static void test_steps_have_names(void **state)
{
    (void)state;
    assert_string_equal(gate_step_name(GATE_OPEN), "open");
    assert_string_equal(gate_step_name(GATE_PARK), "park");
    assert_string_equal(gate_step_name(GATE_HOLD), "hold");
    assert_string_equal(gate_step_name(GATE_PAUSE), "pause");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_line_of_the_table),
        cmocka_unit_test(test_one_large_frame_goes_from_open_to_pause),
        cmocka_unit_test(test_it_ends_only_with_the_last_reason_and_frame),
        cmocka_unit_test(test_setting_twice_is_setting_once),
        cmocka_unit_test(test_the_narrowest_reason_is_the_one_told),
        cmocka_unit_test(test_throttled_time_counts_closed_and_running_periods),
        cmocka_unit_test(test_a_stray_reason_leaves_no_trace_in_a_pause_set),
        cmocka_unit_test(test_a_pause_set_changes_with_the_first_and_the_last),
        cmocka_unit_test(test_steps_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
