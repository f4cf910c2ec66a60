/* publish.c: order, receipts, a store that takes nothing, limits that change while somebody waits,
 * and what becomes of a paused socket. How it all ends: producer_end_test.c. */
#include "broker_fixture.h"

#include "broker/blocking.h"
#include "broker/producer_hold.h"

/* ---- limits ---- */

static void test_parked_frames_are_stored_in_order_when_the_limit_goes(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_in_debt(w, &c, TOPIC, 1);
    send_run(&c, 1, 1, 300);
    client_sync(&c);
    struct look l = look_at(w, TOPIC);
    assert_int_equal(l.parked, 299);
    assert_int_equal(l.appended, 1);
    assert_int_equal(l.step, GATE_PARK);
    assert_int_equal(l.reason, REASON_TOPIC);
    make_durable(w, 299);
    remove_rate(w, TOPIC);
    expect_receipts(&c, 1, 1, 300);
    l = look_at(w, TOPIC);
    assert_int_equal(l.parked, 0);
    assert_int_equal(l.budget_parked, 0);
    assert_int_equal(l.step, GATE_OPEN);
    assert_int_equal(l.reason, REASON_COUNT);
    client_close(&c);
}

static void test_a_frame_does_not_overtake_those_parked_before_it(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_in_debt(w, &c, TOPIC, 1);
    client_send(&c, 1, 1, 1);
    client_sync(&c);
    remove_rate(w, TOPIC); /* the queue runs empty next turn; the next frames may come before */
    send_run(&c, 1, 2, 50);
    make_durable(w, 49);
    expect_receipts(&c, 1, 1, 50);
    client_close(&c);
}

static void test_a_newcomer_waits_behind_those_in_line(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_in_debt(w, &c, TOPIC, 1);
    open_producer(&c, TOPIC, 2);
    client_send(&c, 1, 1, 1);
    client_send(&c, 2, 0, 1);
    client_sync(&c);
    assert_int_equal(look_at(w, TOPIC).parked, 2);
    make_durable(w, 2);
    remove_rate(w, TOPIC);
    expect_receipts(&c, 1, 1, 2);
    expect_receipts(&c, 2, 0, 1);
    client_close(&c);
}

static void test_a_limit_removed_while_its_producer_is_paused_lets_the_socket_be_read(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    set_one_an_hour(w, TOPIC);
    make_durable(w, 20);
    send_run(&c, 1, 0, 20);
    expect_receipts(&c, 1, 0, 1);
    struct look l = wait_for(w, TOPIC, 2, true); /* the second did not fit: it ends the reading */
    assert_int_equal(l.step, GATE_PAUSE);
    assert_int_equal(l.pausing, 1);
    remove_rate(w, TOPIC);
    expect_receipts(&c, 1, 1, 20);
    l = wait_for(w, TOPIC, 0, false);
    assert_int_equal(l.pausing, 0);
    client_sync(&c);
    client_close(&c);
}

static void test_the_socket_is_read_again_exactly_when_the_last_reason_is_gone(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_in_debt(w, &c, TOPIC, 1);
    open_in_debt(w, &c, OTHER_TOPIC, 2);
    send_run(&c, 1, 1, 10);
    send_run(&c, 2, 1, 10);
    client_sync(&c);
    make_durable(w, 100);
    set_one_an_hour(w, TOPIC);
    set_one_an_hour(w, OTHER_TOPIC);
    assert_int_equal(wait_for(w, TOPIC, 9, true).pausing, 2);
    remove_rate(w, TOPIC);
    expect_receipts(&c, 1, 1, 10);
    assert_int_equal(wait_for(w, TOPIC, 0, true).pausing, 1);
    remove_rate(w, OTHER_TOPIC);
    expect_receipts(&c, 2, 1, 10);
    assert_int_equal(wait_for(w, OTHER_TOPIC, 0, false).pausing, 0);
    client_close(&c);
}

static void take_budget(struct world *w, void *arg)
{
    struct budget *b = &w->broker.budget;
    int64_t share = b->share_bytes[BUDGET_PARKED];
    if (*(bool *)arg)
        budget_force(b, BUDGET_PARKED, share);
    else
        budget_give(b, BUDGET_PARKED, share);
}

static void test_who_is_paused_for_want_of_memory_goes_on_when_others_give_it_back(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_in_debt(w, &c, TOPIC, 1);
    bool take = true;
    on_worker(w, take_budget, &take);
    client_send(&c, 1, 1, 1);
    wait_for(w, TOPIC, 1, true);
    take = false;
    on_worker(w, take_budget, &take);
    struct look l = wait_for(w, TOPIC, 1, false);
    assert_int_equal(l.step, GATE_PARK);
    client_sync(&c);
    client_close(&c);
}

struct hold_look {
    enum hold_state state;
    bool wants_memory;
};

static struct producer *first_on_topic(struct world *w)
{
    return topic_find(&w->broker.shard[0], TOPIC)->producers;
}

/* As if its client were one that is known to obey, and could be held at any time. */
static void make_obedient(struct world *w, void *arg)
{
    struct producer *p = first_on_topic(w);
    (void)arg;
    free(p->client_version);
    p->client_version = xstrdup("Pulsar-CPP-v4.2.0");
    w->settings.hold_spacing_ms = 0;
}

static void look_at_hold(struct world *w, void *arg)
{
    struct producer *p = first_on_topic(w);
    *(struct hold_look *)arg = (struct hold_look){p->held->hold.state, p->wants_memory};
}

static struct hold_look held_one(struct world *w)
{
    struct hold_look l;
    on_worker(w, look_at_hold, &l);
    return l;
}

/* Its client has to come again, just when others give memory back. */
static void close_hold_and_give_back(struct world *w, void *arg)
{
    bool take = false;
    (void)arg;
    first_on_topic(w)->held->hold.state = HOLD_CLOSED;
    take_budget(w, &take);
}

static void wait_until_paused(struct world *w, const char *topic, bool paused)
{
    int64_t end_ns = mono_now_ns() + WAIT_S * MONO_S;
    while ((look_at(w, topic).step == GATE_PAUSE) != paused) {
        assert_true(mono_now_ns() < end_ns);
        usleep(1000);
    }
}

static void test_who_may_not_be_released_stops_nobody_who_waits_for_memory(void **state)
{
    struct world *w = *state;
    struct client held = client_open(w), other = client_open(w);
    bool take = true;
    ask_producer(&held, TOPIC, 1, "p", 0);
    client_expect(&held, T(PRODUCER_SUCCESS));
    on_worker(w, make_obedient, NULL);
    open_in_debt(w, &other, OTHER_TOPIC, 2);
    set_one_an_hour(w, TOPIC);
    make_durable(w, 1);
    client_send(&held, 1, 0, 1);
    expect_receipts(&held, 1, 0, 1);
    send_run(&held, 1, 1, 10);
    client_expect(&held, T(CLOSE_PRODUCER));
    ask_producer(&held, TOPIC, 1, "p", 1);
    assert_false(client_expect(&held, T(PRODUCER_SUCCESS))->producer_success->producer_ready);
    uint64_t parked = look_at(w, TOPIC).parked;
    on_worker(w, take_budget, &take);
    make_durable(w, (uint32_t)parked);
    remove_rate(w, TOPIC);
    expect_receipts(&held, 1, 1, 1 + parked);
    assert_true(held_one(w).wants_memory); /* it could be released, were there memory */
    assert_int_equal(held_one(w).state, HOLD_REGISTERED);
    client_send(&other, 2, 1, 1);
    wait_until_paused(w, OTHER_TOPIC, true);
    on_worker(w, close_hold_and_give_back, NULL);
    wait_until_paused(w, OTHER_TOPIC, false);
    assert_false(held_one(w).wants_memory);
    client_close(&held);
    client_close(&other);
}

/* ---- what a topic asks of its quotas ---- */

static void look_wanted(struct world *w, void *arg)
{
    *(struct claim_amount *)arg = topic_find(&w->broker.shard[0], TOPIC)->publish.wanted;
}

static uint64_t wanted(struct world *w)
{
    struct claim_amount a;
    on_worker(w, look_wanted, &a);
    assert_int_equal(a.bytes != 0, a.msgs != 0);
    return a.msgs;
}

static void put_block(struct world *w, void *arg)
{
    const struct block b = {.id = 7};
    struct producer *p = topic_find(&w->broker.shard[0], TOPIC)->producers;
    block_set_on_producer(p, *(bool *)arg ? &b : NULL);
}

static void block(struct world *w, bool yes)
{
    on_worker(w, put_block, &yes);
}

static void test_what_an_administrator_blocks_is_not_asked_for(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_in_debt(w, &c, TOPIC, 1);
    send_run(&c, 1, 1, 11);
    client_sync(&c);
    assert_int_equal(wanted(w), 10);
    block(w, true);
    assert_int_equal(wanted(w), 0);
    send_run(&c, 1, 11, 16);
    client_sync(&c);
    assert_int_equal(look_at(w, TOPIC).parked, 15);
    assert_int_equal(wanted(w), 0);
    block(w, false);
    assert_int_equal(wanted(w), 15);
    make_durable(w, 15);
    remove_rate(w, TOPIC);
    expect_receipts(&c, 1, 1, 16);
    assert_int_equal(wanted(w), 0);
    client_close(&c);
}

static void test_what_waits_for_the_store_is_not_asked_for(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    uint32_t room = 2;
    on_worker(w, put_room, &room);
    send_run(&c, 1, 0, 10);
    client_sync(&c);
    assert_int_equal(look_at(w, TOPIC).parked, 8);
    assert_int_equal(wanted(w), 0);
    on_worker(w, report_all, NULL);
    expect_receipts(&c, 1, 0, 10);
    assert_int_equal(wanted(w), 0);
    client_close(&c);
}

/* ---- the store ---- */

static void test_a_busy_store_is_waited_for_in_order(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    uint32_t room = 2;
    on_worker(w, put_room, &room);
    send_run(&c, 1, 0, 10);
    client_sync(&c);
    struct look l = look_at(w, TOPIC);
    assert_int_equal(l.appended, 2);
    assert_int_equal(l.parked, 8);
    assert_int_equal(l.reason, REASON_PUBLISH_BUFFER);
    make_durable(w, 1);
    expect_receipts(&c, 1, 0, 1);
    wait_for(w, TOPIC, 7, false);
    make_durable(w, 9);
    expect_receipts(&c, 1, 1, 10);
    assert_int_equal(wait_for(w, TOPIC, 0, false).step, GATE_OPEN);
    client_close(&c);
}

static void test_producers_that_wait_for_the_store_take_turns(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    open_producer(&c, TOPIC, 2);
    uint32_t room = 1;
    on_worker(w, put_room, &room);
    send_run(&c, 1, 0, 4);
    send_run(&c, 2, 0, 4);
    client_sync(&c);
    make_durable(w, 3);
    expect_receipts(&c, 1, 0, 2);
    expect_receipts(&c, 2, 0, 1);
    make_durable(w, 5);
    for (int i = 0; i < 5; i++)
        client_expect(&c, T(SEND_RECEIPT));
    wait_for(w, TOPIC, 0, false);
    client_close(&c);
}

static void test_a_full_store_is_a_reason_to_wait_and_no_error(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    enum ls_state s = LS_FULL;
    on_worker(w, put_state, &s);
    client_sync(&c);
    send_run(&c, 1, 0, 5);
    client_sync(&c);
    struct look l = look_at(w, TOPIC);
    assert_int_equal(l.parked, 5);
    assert_int_equal(l.appended, 0);
    assert_int_equal(l.reason, REASON_STORAGE_FULL);
    make_durable(w, 5);
    s = LS_OK;
    on_worker(w, put_state, &s);
    expect_receipts(&c, 1, 0, 5);
    assert_int_equal(look_at(w, TOPIC).step, GATE_OPEN);
    client_close(&c);
}

static void test_a_full_store_and_a_limit_are_waited_for_one_after_the_other(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_in_debt(w, &c, TOPIC, 1);
    send_run(&c, 1, 1, 6);
    client_sync(&c);
    enum ls_state s = LS_FULL;
    on_worker(w, put_state, &s);
    client_sync(&c);
    remove_rate(w, TOPIC); /* granted now, but the store takes nothing */
    int64_t end_ns = mono_now_ns() + WAIT_S * MONO_S;
    while (look_at(w, TOPIC).reason != REASON_STORAGE_FULL)
        assert_true(mono_now_ns() < end_ns);
    s = LS_OK;
    on_worker(w, put_state, &s);
    make_durable(w, 5);
    expect_receipts(&c, 1, 1, 6);
    assert_int_equal(wait_for(w, TOPIC, 0, false).step, GATE_OPEN);
    client_close(&c);
}

static void take_throttled(struct world *w, void *arg)
{
    memcpy(arg, topic_line_throttling_of(&topic_find(&w->broker.shard[0], TOPIC)->publish)->ns,
           sizeof(int64_t[REASON_COUNT]));
}

static void test_throttled_time_is_counted_under_its_own_reason(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    int64_t throttled_ns[REASON_COUNT];
    open_in_debt(w, &c, TOPIC, 1);
    client_send(&c, 1, 1, 1);
    client_sync(&c);
    enum ls_state s = LS_FULL;
    on_worker(w, put_state, &s);
    client_sync(&c);
    on_worker(w, take_throttled, throttled_ns);
    assert_int_equal(throttled_ns[REASON_TOPIC], 0);
    remove_rate(w, TOPIC);
    int64_t end_ns = mono_now_ns() + WAIT_S * MONO_S;
    while (look_at(w, TOPIC).reason != REASON_STORAGE_FULL)
        assert_true(mono_now_ns() < end_ns);
    on_worker(w, take_throttled, throttled_ns);
    assert_true(throttled_ns[REASON_TOPIC] > 0);
    assert_int_equal(throttled_ns[REASON_STORAGE_FULL], 0);
    s = LS_OK;
    on_worker(w, put_state, &s);
    make_durable(w, 1);
    expect_receipts(&c, 1, 1, 2);
    on_worker(w, take_throttled, throttled_ns);
    assert_true(throttled_ns[REASON_STORAGE_FULL] > 0);
    client_close(&c);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_parked_frames_are_stored_in_order_when_the_limit_goes),
        CASE(test_a_frame_does_not_overtake_those_parked_before_it),
        CASE(test_a_newcomer_waits_behind_those_in_line),
        CASE(test_a_limit_removed_while_its_producer_is_paused_lets_the_socket_be_read),
        CASE(test_the_socket_is_read_again_exactly_when_the_last_reason_is_gone),
        CASE(test_who_is_paused_for_want_of_memory_goes_on_when_others_give_it_back),
        CASE(test_who_may_not_be_released_stops_nobody_who_waits_for_memory),
        CASE(test_what_an_administrator_blocks_is_not_asked_for),
        CASE(test_what_waits_for_the_store_is_not_asked_for),
        CASE(test_a_busy_store_is_waited_for_in_order),
        CASE(test_producers_that_wait_for_the_store_take_turns),
        CASE(test_a_full_store_is_a_reason_to_wait_and_no_error),
        CASE(test_a_full_store_and_a_limit_are_waited_for_one_after_the_other),
        CASE(test_throttled_time_is_counted_under_its_own_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
