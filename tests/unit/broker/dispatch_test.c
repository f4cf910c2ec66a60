/* dispatch_limit.c and dispatch_wait.c: who stands in a topic's line for dispatch, and when not;
 * what becomes of it; how it is counted. Limits are such that one message passes in a test. */
#include "dispatch_fixture.h"

#include "broker/block.h"
#include "broker/blocking.h"

/* ---- tests ---- */

static void test_no_line_is_made_while_nothing_is_limited(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    subscribe(&c, TOPIC, "s", 2);
    publish(&c, 0, 10);
    give_permits(&c, 2, 100);
    take(&c, 0, 10);
    assert_false(look_line(w).there);
    client_close(&c);
}

static void test_who_lacks_the_topics_tokens_stands_in_line_and_is_counted(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    subscribe(&c, TOPIC, "s", 2);
    publish(&c, 0, 10);
    one_an_hour(w, RATE_OF_DISPATCH);
    give_permits(&c, 2, 100);
    take(&c, 0, 1);
    client_sync(&c);
    struct line_look l = look_line(w);
    assert_int_equal(l.in_line, 1);
    assert_int_equal(l.throttled, 1);
    assert_int_equal(l.counted, 1);
    assert_int_equal(l.reason, REASON_TOPIC);
    assert_int_equal(l.hits, 1);
    assert_int_equal(l.times, 1);
    assert_int_equal(l.wanted, 9);
    assert_true(l.timer);
    no_rate(w, RATE_OF_DISPATCH);
    take(&c, 1, 10);
    client_sync(&c);
    l = look_line(w);
    assert_int_equal(l.in_line, 0);
    assert_int_equal(l.throttled, 0);
    assert_int_equal(l.counted, 0);
    assert_int_equal(l.wanted, 0);
    assert_int_equal(l.delayed, 9);
    assert_false(l.timer);
    client_close(&c);
}

static void test_its_own_limit_is_waited_for_alone(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    one_an_hour(w, RATE_OF_SUBSCRIPTION);
    one_an_hour(w, RATE_OF_DISPATCH);
    subscribe(&c, TOPIC, "s", 2); /* has it from the start */
    publish(&c, 0, 10);
    give_permits(&c, 2, 100);
    take(&c, 0, 1);
    client_sync(&c);
    struct line_look l = look_line(w);
    assert_int_equal(l.alone, 1);
    assert_int_equal(l.in_line, 0);
    assert_int_equal(l.reason, REASON_SUBSCRIPTION);
    no_rate(w, RATE_OF_SUBSCRIPTION);
    client_sync(&c);
    l = look_line(w);
    assert_int_equal(l.alone, 0);
    assert_int_equal(l.in_line, 1);
    assert_int_equal(l.reason, REASON_TOPIC);
    no_rate(w, RATE_OF_DISPATCH);
    take(&c, 1, 10);
    client_close(&c);
}

/* In line is only who could send. */
static void test_who_can_send_nothing_is_in_no_line(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w), other = client_open(w);
    open_producer(&c, TOPIC, 1);
    subscribe(&c, TOPIC, "s", 2);
    publish(&c, 0, 10);
    one_an_hour(w, RATE_OF_DISPATCH);
    give_permits(&c, 2, 1);
    take(&c, 0, 1);
    client_sync(&c);
    assert_int_equal(look_line(w).in_line, 0); /* no permits */
    give_permits(&c, 2, 100);
    client_sync(&c);
    assert_int_equal(look_line(w).in_line, 1);
    subscribe(&other, TOPIC, "t", 3);
    give_permits(&other, 3, 100);
    client_sync(&other);
    assert_int_equal(look_line(w).in_line, 2);
    client_close(&other); /* no consumer */
    for (int i = 0; i < 1000 && look_line(w).in_line == 2; i++)
        usleep(1000);
    struct line_look l = look_line(w);
    assert_int_equal(l.in_line, 1);
    assert_int_equal(l.wanted, 9);
    close_consumer(&c, 2);
    l = look_line(w);
    assert_int_equal(l.in_line, 0);
    assert_int_equal(l.throttled, 0);
    assert_int_equal(l.wanted, 0);
    assert_false(l.timer);
    client_close(&c);
}

static void block_all(struct world *w, void *arg)
{
    struct subscription *s = subscription_find(topic_find(&w->broker.shard[0], TOPIC), "s");
    struct block b = {.id = 7};
    block_set_on_consumer(s->consumers, *(bool *)arg ? &b : NULL);
}

static void test_a_consumer_blocked_by_hand_is_not_waited_for(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    subscribe(&c, TOPIC, "s", 2);
    publish(&c, 0, 10);
    one_an_hour(w, RATE_OF_DISPATCH);
    give_permits(&c, 2, 100);
    take(&c, 0, 1);
    bool blocked = true;
    on_worker(w, block_all, &blocked);
    client_sync(&c);
    assert_int_equal(look_line(w).in_line, 0);
    blocked = false;
    on_worker(w, block_all, &blocked);
    client_sync(&c);
    assert_int_equal(look_line(w).in_line, 1);
    no_rate(w, RATE_OF_DISPATCH);
    take(&c, 1, 10);
    client_close(&c);
}

static void test_a_quota_is_a_reason_of_its_own(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    int64_t msgs = 1;
    open_producer(&c, TOPIC, 1);
    subscribe(&c, TOPIC, "s", 2);
    publish(&c, 0, 10);
    on_worker(w, put_broker_quota, &msgs);
    give_permits(&c, 2, 100);
    take(&c, 0, 1);
    client_sync(&c);
    struct line_look l = look_line(w);
    assert_int_equal(l.in_line, 1);
    assert_int_equal(l.reason, REASON_BROKER);
    assert_int_equal(l.counted, 0); /* at the topic's scope */
    publish(&c, 10, 12);            /* what is published is another matter */
    msgs = 0;
    on_worker(w, put_broker_quota, &msgs);
    take(&c, 1, 12);
    client_sync(&c);
    assert_int_equal(look_line(w).throttled, 0);
    client_close(&c);
}

static void weigh_five(struct world *w, void *arg)
{
    struct place *p = place_find(w->broker.registry, TOPIC);
    (void)arg;
    place_policies(p)->rate[RATE_OF_DISPATCH] =
        (struct rate_policy){.present = true, .spec.msgs.rate = -1, .weight = 5};
    place_apply_policies(p);
}

static void read_weight(struct world *w, void *arg)
{
    *(uint32_t *)arg = topic_dispatch_line(topic_find(&w->broker.shard[0], TOPIC))->weight;
}

/* Its line is made when it first waits for a quota. */
static void test_a_topic_without_a_rate_has_its_weight(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    int64_t msgs = 1;
    uint32_t weight = 0;
    open_producer(&c, TOPIC, 1);
    subscribe(&c, TOPIC, "s", 2);
    on_worker(w, weigh_five, NULL);
    on_worker(w, put_broker_quota, &msgs);
    publish(&c, 0, 10);
    give_permits(&c, 2, 100);
    take(&c, 0, 1);
    client_sync(&c);
    assert_int_equal(look_line(w).in_line, 1);
    on_worker(w, read_weight, &weight);
    assert_int_equal(weight, 5);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_topic_without_a_rate_has_its_weight, setup_one,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_no_line_is_made_while_nothing_is_limited, setup_one,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_who_lacks_the_topics_tokens_stands_in_line_and_is_counted, setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_its_own_limit_is_waited_for_alone, setup_one,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_who_can_send_nothing_is_in_no_line, setup_one,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_consumer_blocked_by_hand_is_not_waited_for,
                                        setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_a_quota_is_a_reason_of_its_own, setup_one, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
