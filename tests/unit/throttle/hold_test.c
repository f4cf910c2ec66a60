/* The rules of a hold, one by one; each test fails when its rule is taken out of hold.c. All of
 * them together, against clients: tests/sim/hold_model_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mono.h"
#include "throttle/hold.h"
#include "throttle/reason.h"

static const struct parking_amount owed = {200, 200000};
static const int64_t T = 100 * MONO_S;

static enum hold_verdict frame(struct hold *h, uint64_t id, int64_t now_ns)
{
    return hold_frame(h, (struct hold_position){id, -1}, 1, 1000, now_ns);
}

static struct hold fresh(void)
{
    struct hold h;
    hold_init(&h, HOLD_SPACING_NS);
    return h;
}

/* Held at T; <from>..<to> discarded; answered ready = true after <held_ns>. */
static struct hold released(uint64_t from, uint64_t to, int64_t held_ns)
{
    struct hold h = fresh();
    hold_begin(&h, owed, T);
    for (uint64_t id = from; id <= to; id++)
        assert_int_equal(frame(&h, id, T), HOLD_DISCARD);
    assert_true(hold_registered(&h, T));
    hold_release(&h, T + held_ns);
    return h;
}

static void test_one_who_sends_on_two_seconds_after_not_ready_is_never_held_again(void **state)
{
    (void)state;
    struct hold h = fresh();
    hold_begin(&h, owed, T);
    assert_true(hold_registered(&h, T));
    assert_int_equal(frame(&h, 1, T + HOLD_DISOBEY_NS - 1), HOLD_DISCARD);
    assert_int_equal(frame(&h, 2, T + HOLD_DISOBEY_NS), HOLD_DISOBEYED);
    assert_int_equal(h.state, HOLD_CLOSED);
    assert_int_equal(frame(&h, 3, T + HOLD_DISOBEY_NS), HOLD_DISCARD);
    assert_false(hold_registered(&h, T + 3 * MONO_S)); /* not answered with ready = false */
    assert_int_equal(frame(&h, 4, T + 9 * MONO_S), HOLD_DISCARD); /* sent away once, not twice */
    assert_true(hold_may_release(&h, false, T + 9 * MONO_S));
    hold_release(&h, T + 9 * MONO_S);
    assert_false(hold_may_begin(&h));
}

static void test_receipts_are_kept_between_close_producer_and_producer(void **state)
{
    (void)state;
    struct hold h = fresh();
    assert_false(hold_keeps_receipts(&h));
    hold_begin(&h, owed, T);
    assert_true(hold_keeps_receipts(&h));
    hold_registered(&h, T);
    assert_false(hold_keeps_receipts(&h));
}

static void test_close_producer_is_said_once_per_registration(void **state)
{
    (void)state;
    struct hold h = fresh();
    assert_true(hold_may_begin(&h));
    hold_begin(&h, owed, T);
    assert_false(hold_may_begin(&h));
    hold_registered(&h, T);
    assert_false(hold_may_begin(&h));
    hold_registered(&h, T); /* asked again: told again */
    assert_int_equal(h.state, HOLD_REGISTERED);
    hold_release(&h, T + MONO_S);
    assert_true(hold_may_begin(&h));
}

static void test_what_is_sent_while_held_is_discarded_until_ready(void **state)
{
    (void)state;
    struct hold h = fresh();
    assert_int_equal(frame(&h, 0, T), HOLD_TAKE);
    hold_begin(&h, owed, T);
    assert_int_equal(frame(&h, 1, T), HOLD_DISCARD);
    hold_registered(&h, T);
    assert_int_equal(frame(&h, 2, T), HOLD_DISCARD);
    hold_release(&h, T + MONO_S);
    assert_int_equal(frame(&h, 1, T + MONO_S), HOLD_TAKE);
}

static void test_ready_not_before_everything_taken_has_its_receipt(void **state)
{
    (void)state;
    struct hold h = fresh();
    hold_begin(&h, owed, T);
    assert_false(hold_may_release(&h, false, T + 5 * MONO_S)); /* its client has not come */
    hold_registered(&h, T);
    assert_false(hold_may_release(&h, true, T + 5 * MONO_S));
    assert_true(hold_may_release(&h, false, T + 5 * MONO_S));
}

static void test_late_frames_are_no_resume(void **state)
{
    (void)state;
    struct hold h = released(10, 20, MONO_S);
    assert_int_equal(frame(&h, 21, T + MONO_S), HOLD_DISCARD);
    assert_int_equal(frame(&h, 22, T + MONO_S), HOLD_DISCARD);
    assert_int_equal(frame(&h, 10, T + MONO_S), HOLD_TAKE);
    for (uint64_t id = 11; id < 22; id++)
        assert_int_equal(frame(&h, id, T + MONO_S), HOLD_TAKE);
    assert_int_equal(frame(&h, 22, T + MONO_S), HOLD_TAKE);
    assert_int_equal(frame(&h, 23, T + MONO_S), HOLD_TAKE);
}

static void test_the_rest_of_a_message_in_chunks_is_no_resume(void **state)
{
    (void)state;
    struct hold h = fresh();
    hold_begin(&h, owed, T);
    for (int32_t chunk = 1; chunk < 3; chunk++)
        hold_frame(&h, (struct hold_position){7, chunk}, 1, 1, T);
    hold_registered(&h, T);
    hold_release(&h, T + MONO_S);
    assert_int_equal(hold_frame(&h, (struct hold_position){7, 3}, 1, 1, T + MONO_S), HOLD_DISCARD);
    assert_int_equal(hold_frame(&h, (struct hold_position){7, 1}, 1, 1, T + MONO_S), HOLD_TAKE);
}

static void test_after_a_long_hold_nothing_is_late(void **state)
{
    (void)state;
    struct hold h = released(10, 20, HOLD_STALE_NS);
    assert_int_equal(frame(&h, 21, T + HOLD_STALE_NS), HOLD_TAKE);
    h = released(10, 20, MONO_S); /* nor when nothing came at all until then */
    assert_int_equal(frame(&h, 21, T + HOLD_STALE_NS), HOLD_TAKE);
}

static void test_no_resume_in_250_ms_is_one_more_hold_without_the_check(void **state)
{
    (void)state;
    struct hold h = released(10, 20, MONO_S);
    int64_t first_ns = T + MONO_S + MONO_MS;
    assert_int_equal(frame(&h, 30, first_ns), HOLD_DISCARD);
    assert_int_equal(frame(&h, 31, first_ns + HOLD_SILENCE_NS - 1), HOLD_DISCARD);
    assert_int_equal(hold_due(&h, first_ns + HOLD_SILENCE_NS - 1), HOLD_NOTHING);
    assert_int_equal(hold_deadline_ns(&h), first_ns + HOLD_SILENCE_NS);
    assert_int_equal(hold_due(&h, first_ns + HOLD_SILENCE_NS), HOLD_AGAIN);
    assert_true(h.wants_again);
    int64_t second_ns = first_ns + HOLD_SILENCE_NS;
    hold_begin(&h, (struct parking_amount){0, 0}, second_ns);
    assert_false(h.wants_again);
    hold_registered(&h, second_ns + MONO_MS);
    hold_release(&h, second_ns + MONO_MS);
    assert_int_equal(frame(&h, 32, second_ns + 2 * MONO_MS), HOLD_TAKE); /* beyond all, and soon */
}

static void test_one_more_hold_does_not_wait_for_the_second_between_holds(void **state)
{
    (void)state;
    struct hold h = released(10, 20, MONO_S);
    frame(&h, 30, T + MONO_S);
    assert_int_equal(hold_due(&h, T + MONO_S + HOLD_SILENCE_NS), HOLD_AGAIN);
    hold_begin(&h, (struct parking_amount){0, 0}, T + MONO_S + HOLD_SILENCE_NS);
    assert_false(hold_may_release(&h, false, T + MONO_S + HOLD_SILENCE_NS));
    hold_registered(&h, T + MONO_S + HOLD_SILENCE_NS);
    assert_false(hold_may_release(&h, true, T + MONO_S + HOLD_SILENCE_NS));
    assert_true(hold_may_release(&h, false, T + MONO_S + HOLD_SILENCE_NS));
    hold_release(&h, T + MONO_S + HOLD_SILENCE_NS);
    hold_begin(&h, owed, T + 2 * MONO_S); /* the next does */
    hold_registered(&h, T + 2 * MONO_S);
    assert_false(hold_may_release(&h, false, T + 3 * MONO_S - 1));
}

static void test_receipts_wait_until_all_has_come_again(void **state)
{
    (void)state;
    struct hold h = released(10, 12, 3 * MONO_S);
    int64_t t = T + 3 * MONO_S;
    frame(&h, 10, t);
    frame(&h, 11, t);
    assert_int_equal(hold_due(&h, t + HOLD_QUIET_NS), HOLD_NOTHING);
    frame(&h, 12, t);
    assert_true(hold_keeps_receipts(&h)); /* there may be more that was never seen before */
    assert_int_equal(hold_due(&h, t + HOLD_QUIET_NS - 1), HOLD_NOTHING);
    frame(&h, 13, t + HOLD_QUIET_NS - 1);
    assert_int_equal(hold_due(&h, t + HOLD_QUIET_NS), HOLD_NOTHING);
    assert_true(hold_keeps_receipts(&h));
    assert_int_equal(hold_due(&h, t + 2 * HOLD_QUIET_NS - 1), HOLD_TELL);
    assert_false(hold_keeps_receipts(&h));
    assert_int_equal(h.state, HOLD_FLOWING);
}

static void test_receipts_do_not_wait_for_one_who_is_never_quiet(void **state)
{
    (void)state;
    struct hold h = released(10, 12, 3 * MONO_S);
    int64_t t = T + 3 * MONO_S;
    for (uint64_t i = 0; i < HOLD_CAME_NS / MONO_MS; i++) {
        frame(&h, 12 + i, t + (int64_t)i * MONO_MS);
        assert_int_equal(hold_due(&h, t + (int64_t)i * MONO_MS), HOLD_NOTHING);
    }
    assert_int_equal(hold_due(&h, t + HOLD_CAME_NS), HOLD_TELL);
}

static void test_receipts_wait_no_longer_than_the_sending_goes_on(void **state)
{
    (void)state;
    struct hold h = released(10, 12, 3 * MONO_S);
    int64_t last_ns = T + 3 * MONO_S + 200 * MONO_MS;
    frame(&h, 10, last_ns);
    assert_int_equal(hold_due(&h, last_ns + HOLD_SILENCE_NS - 1), HOLD_NOTHING);
    assert_int_equal(hold_due(&h, last_ns + HOLD_SILENCE_NS), HOLD_TELL);
    assert_false(hold_keeps_receipts(&h));
    assert_int_equal(hold_deadline_ns(&h), MONO_NEVER);
}

static void test_receipts_of_one_who_was_not_heard_are_kept_for_two_seconds(void **state)
{
    (void)state;
    struct hold h = fresh(); /* nothing was discarded: when the sending again ends is not known */
    hold_begin(&h, owed, T);
    hold_registered(&h, T);
    hold_release(&h, T + MONO_S);
    for (int64_t t = T + MONO_S; t < T + MONO_S + HOLD_SETTLE_NS; t += 100 * MONO_MS) {
        assert_int_equal(frame(&h, 1, t), HOLD_TAKE);
        assert_int_equal(hold_due(&h, t), HOLD_NOTHING);
    }
    assert_true(hold_keeps_receipts(&h));
    assert_int_equal(hold_due(&h, T + MONO_S + HOLD_SETTLE_NS), HOLD_TELL);
    assert_int_equal(h.state, HOLD_FLOWING);
}

static void test_one_hold_a_second_at_most(void **state)
{
    (void)state;
    struct hold h = fresh();
    hold_begin(&h, owed, T);
    hold_registered(&h, T + MONO_MS);
    assert_false(hold_may_release(&h, false, T + HOLD_SPACING_NS - 1));
    assert_int_equal(hold_deadline_ns(&h), T + HOLD_SPACING_NS);
    assert_int_equal(hold_due(&h, T + HOLD_SPACING_NS), HOLD_TRY);
    assert_true(hold_may_release(&h, false, T + HOLD_SPACING_NS));
    assert_int_equal(hold_deadline_ns(&h), MONO_NEVER); /* when nothing is owed, its owner knows */
    hold_init(&h, 0);                                   /* the setting of tests */
    hold_begin(&h, owed, T);
    hold_registered(&h, T);
    assert_true(hold_may_release(&h, false, T));
}

static bool is(struct parking_amount a, uint64_t messages, uint64_t bytes)
{
    return a.messages == messages && a.bytes == bytes;
}

static const struct parking_amount least = {125, UINT64_MAX}, base = {1000, UINT64_MAX},
                                   most = {5000, UINT64_MAX};

/* The same as released, of a client that was held before. */
static struct hold released_again(uint64_t from, uint64_t to, int64_t held_ns)
{
    struct hold h = released(1, 2, held_ns);
    h.discarded = false;
    hold_begin(&h, owed, T);
    for (uint64_t id = from; id <= to; id++)
        assert_int_equal(frame(&h, id, T), HOLD_DISCARD);
    assert_true(hold_registered(&h, T));
    hold_release(&h, T + held_ns);
    return h;
}

static void test_what_the_first_hold_saw_may_be_a_part_of_the_window(void **state)
{
    (void)state;
    struct hold h = released(201, 2000, MONO_S);
    assert_true(is(hold_allowance(&h, least, base, most), 1000, UINT64_MAX));
    hold_begin(&h, owed, T + 5 * MONO_S);
    hold_registered(&h, T + 5 * MONO_S);
    hold_release(&h, T + 7 * MONO_S);
    assert_true(is(hold_allowance(&h, least, base, most), 2250, UINT64_MAX));
}

static void test_the_allowance_grows_to_the_window(void **state)
{
    (void)state;
    struct hold h = fresh();
    assert_true(is(hold_allowance(&h, least, base, most), 1000, UINT64_MAX));
    h = released_again(201, 2000, MONO_S); /* 200 owed and 1800 discarded */
    assert_true(is(hold_allowance(&h, least, base, most), 2250, UINT64_MAX));
    hold_begin(&h, owed, T + 5 * MONO_S); /* a smaller one changes nothing */
    hold_registered(&h, T + 5 * MONO_S);
    hold_release(&h, T + 7 * MONO_S);
    assert_true(is(hold_allowance(&h, least, base, most), 2250, UINT64_MAX));
    struct parking_amount less = {2100, UINT64_MAX}; /* not beyond the most */
    assert_true(is(hold_allowance(&h, least, base, less), 2100, UINT64_MAX));
    struct parking_amount wide = {20000, UINT64_MAX}; /* it was set to more than that */
    assert_true(is(hold_allowance(&h, least, wide, most), 20000, UINT64_MAX));
}

static void test_it_stays_where_growing_would_not_be_enough(void **state)
{
    (void)state;
    struct hold h = released(201, 6000, MONO_S);
    assert_true(is(hold_allowance(&h, least, base, most), 1000, UINT64_MAX));
    h = released(201, 10000, MONO_S); /* but so much sent again would hurt others */
    assert_true(is(hold_allowance(&h, least, base, most), 5000, UINT64_MAX));
}

static void test_it_falls_to_the_least_when_messages_have_expired(void **state)
{
    (void)state;
    struct hold h = released_again(201, 2000, 3 * MONO_S);
    frame(&h, 201, T + 3 * MONO_S);
    assert_true(is(hold_allowance(&h, least, base, most), 2250, UINT64_MAX));
    h = released_again(201, 2000, 3 * MONO_S);
    frame(&h, 202, T + 3 * MONO_S); /* where is 201? */
    assert_true(is(hold_allowance(&h, least, base, most), 125, UINT64_MAX));
    hold_begin(&h, owed, T + 5 * MONO_S); /* for good */
    hold_registered(&h, T + 5 * MONO_S);
    hold_release(&h, T + 8 * MONO_S);
    frame(&h, 203, T + 8 * MONO_S);
    assert_true(is(hold_allowance(&h, least, base, most), 125, UINT64_MAX));
    struct parking_amount low = {100, UINT64_MAX}; /* it was set to less than that */
    assert_true(is(hold_allowance(&h, least, low, most), 100, UINT64_MAX));
}

static void test_late_frames_are_not_taken_for_expired_ones(void **state)
{
    (void)state;
    struct hold h = released_again(201, 2000, MONO_S);
    frame(&h, 2001, T + MONO_S);
    frame(&h, 201, T + MONO_S);
    assert_true(is(hold_allowance(&h, least, base, most), 2250, UINT64_MAX));
}

static void test_a_client_that_does_not_come_back_is_forgotten(void **state)
{
    (void)state;
    struct hold h = fresh();
    hold_begin(&h, owed, T);
    assert_int_equal(hold_deadline_ns(&h), T + HOLD_ABSENT_NS);
    assert_int_equal(hold_due(&h, T + HOLD_ABSENT_NS - 1), HOLD_NOTHING);
    assert_int_equal(hold_due(&h, T + HOLD_ABSENT_NS), HOLD_FORGET);
    hold_begin((h = fresh(), &h), owed, T);
    hold_registered(&h, T); /* one that came is held for as long as it takes */
    hold_due(&h, T + HOLD_SPACING_NS);
    assert_int_equal(hold_deadline_ns(&h), MONO_NEVER);
}

/* ---- a socket that is not read ---- */

enum { UNREAD_S = 100 };

static void test_a_client_is_not_forgotten_while_its_socket_is_unread(void **state)
{
    (void)state;
    struct hold h = fresh();
    hold_unread(&h, 7 * MONO_S); /* before it began: nothing to it */
    hold_begin(&h, owed, T);
    assert_int_equal(hold_deadline_ns(&h), T + HOLD_ABSENT_NS);
    hold_unread(&h, (7 + UNREAD_S) * MONO_S);
    assert_int_equal(hold_due(&h, T + HOLD_ABSENT_NS), HOLD_NOTHING);
    assert_int_equal(hold_due(&h, T + UNREAD_S * MONO_S + HOLD_ABSENT_NS - 1), HOLD_NOTHING);
    assert_int_equal(hold_due(&h, T + UNREAD_S * MONO_S + HOLD_ABSENT_NS), HOLD_FORGET);
}

static void test_what_lay_unread_is_no_sending_on(void **state)
{
    (void)state;
    struct hold h = fresh();
    hold_begin(&h, owed, T);
    assert_true(hold_registered(&h, T));
    hold_unread(&h, UNREAD_S * MONO_S);
    int64_t read_ns = T + UNREAD_S * MONO_S;
    assert_int_equal(frame(&h, 1, read_ns + HOLD_DISOBEY_NS - 1), HOLD_DISCARD);
    assert_int_equal(frame(&h, 2, read_ns + HOLD_DISOBEY_NS), HOLD_DISOBEYED);
}

/* PRODUCER, and behind it what was put on the wire before it, come when the socket is read again.
 */
static void test_late_frames_that_lay_unread_are_no_resume(void **state)
{
    (void)state;
    struct hold h = fresh();
    int64_t read_ns = T + UNREAD_S * MONO_S;
    hold_begin(&h, owed, T);
    assert_int_equal(frame(&h, 10, T), HOLD_DISCARD);
    hold_unread(&h, UNREAD_S * MONO_S);
    hold_registered(&h, read_ns);
    assert_true(hold_may_release(&h, false, read_ns)); /* the second between holds is over */
    hold_release(&h, read_ns);
    assert_int_equal(frame(&h, 11, read_ns), HOLD_DISCARD);
    assert_int_equal(frame(&h, 10, read_ns), HOLD_TAKE);
    assert_int_equal(frame(&h, 11, read_ns), HOLD_TAKE);
}

static void test_no_silence_is_heard_while_the_socket_is_unread(void **state)
{
    (void)state;
    struct hold h = released(10, 20, MONO_S);
    assert_int_equal(frame(&h, 10, T + MONO_S), HOLD_TAKE);
    hold_unread(&h, 5 * MONO_S);
    assert_int_equal(hold_due(&h, T + 6 * MONO_S), HOLD_NOTHING); /* the rest may lie there */
    hold_unread(&h, UNREAD_S * MONO_S);
    assert_int_equal(hold_due(&h, T + MONO_S + HOLD_RESEND_NS), HOLD_TELL); /* not for ever */
}

static void test_what_ends_is_held_no_more(void **state)
{
    (void)state;
    struct hold h = fresh();
    hold_begin(&h, owed, T);
    hold_drop(&h);
    assert_false(hold_is_held(&h));
    assert_false(hold_keeps_receipts(&h));
    assert_int_equal(hold_deadline_ns(&h), MONO_NEVER);
    assert_int_equal(hold_due(&h, T), HOLD_NOTHING);
}

static void test_receipts_go_out_when_the_broker_stops(void **state)
{
    (void)state;
    struct hold h = released(10, 12, MONO_S);
    hold_keep_no_more(&h);
    assert_false(hold_keeps_receipts(&h));
    assert_int_equal(frame(&h, 13, T + MONO_S), HOLD_DISCARD); /* the order is kept */
    hold_begin((h = fresh(), &h), owed, T);
    hold_keep_no_more(&h);
    assert_true(hold_keeps_receipts(&h)); /* its client would drop them, and its connection */
}

static void test_what_lasts_milliseconds_is_not_worth_a_hold(void **state)
{
    (void)state;
    assert_false(hold_suits(0));
    assert_false(hold_suits(1U << REASON_PUBLISH_BUFFER));
    assert_true(hold_suits(1U << REASON_STORAGE_FULL));
    assert_true(hold_suits(1U << REASON_BLOCKED));
    assert_true(hold_suits(1U << REASON_TOPIC | 1U << REASON_PUBLISH_BUFFER));
    assert_true(hold_suits(1U << REASON_TENANT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_who_sends_on_two_seconds_after_not_ready_is_never_held_again),
        cmocka_unit_test(test_receipts_are_kept_between_close_producer_and_producer),
        cmocka_unit_test(test_close_producer_is_said_once_per_registration),
        cmocka_unit_test(test_what_is_sent_while_held_is_discarded_until_ready),
        cmocka_unit_test(test_ready_not_before_everything_taken_has_its_receipt),
        cmocka_unit_test(test_late_frames_are_no_resume),
        cmocka_unit_test(test_the_rest_of_a_message_in_chunks_is_no_resume),
        cmocka_unit_test(test_after_a_long_hold_nothing_is_late),
        cmocka_unit_test(test_no_resume_in_250_ms_is_one_more_hold_without_the_check),
        cmocka_unit_test(test_one_more_hold_does_not_wait_for_the_second_between_holds),
        cmocka_unit_test(test_receipts_wait_until_all_has_come_again),
        cmocka_unit_test(test_receipts_do_not_wait_for_one_who_is_never_quiet),
        cmocka_unit_test(test_receipts_wait_no_longer_than_the_sending_goes_on),
        cmocka_unit_test(test_receipts_of_one_who_was_not_heard_are_kept_for_two_seconds),
        cmocka_unit_test(test_one_hold_a_second_at_most),
        cmocka_unit_test(test_what_the_first_hold_saw_may_be_a_part_of_the_window),
        cmocka_unit_test(test_the_allowance_grows_to_the_window),
        cmocka_unit_test(test_it_stays_where_growing_would_not_be_enough),
        cmocka_unit_test(test_it_falls_to_the_least_when_messages_have_expired),
        cmocka_unit_test(test_late_frames_are_not_taken_for_expired_ones),
        cmocka_unit_test(test_a_client_that_does_not_come_back_is_forgotten),
        cmocka_unit_test(test_a_client_is_not_forgotten_while_its_socket_is_unread),
        cmocka_unit_test(test_what_lay_unread_is_no_sending_on),
        cmocka_unit_test(test_late_frames_that_lay_unread_are_no_resume),
        cmocka_unit_test(test_no_silence_is_heard_while_the_socket_is_unread),
        cmocka_unit_test(test_what_ends_is_held_no_more),
        cmocka_unit_test(test_receipts_go_out_when_the_broker_stops),
        cmocka_unit_test(test_what_lasts_milliseconds_is_not_worth_a_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
