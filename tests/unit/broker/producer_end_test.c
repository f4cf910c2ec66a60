/* How producers, connections and topics end with frames parked and in flight. */
#include "broker_fixture.h"

/* ---- ends ---- */

static void test_close_drops_what_is_parked_and_waits_for_what_is_in_flight(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    set_rate(w, TOPIC, 1000, MONO_S);
    client_send(&c, 1, 0, HUGE_BATCH);
    send_run(&c, 1, 1, 5);
    ask_close(&c, 1, 77);
    client_sync(&c);
    struct look l = look_at(w, TOPIC);
    assert_int_equal(l.parked, 0);
    assert_int_equal(l.in_flight, 1);
    make_durable(w, 10);
    expect_receipts(&c, 1, 0, 1);
    assert_int_equal(client_expect(&c, T(SUCCESS))->success->request_id, 77);
    l = look_at(w, TOPIC);
    assert_int_equal(l.producers, 0);
    assert_int_equal(l.appended, 1);
    assert_int_equal(l.budget_parked, 0);
    client_close(&c);
}

static void test_a_producer_asked_for_while_it_closes_is_told_to_come_again(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    client_send(&c, 1, 0, 1);
    ask_close(&c, 1, 77);
    ask_producer(&c, TOPIC, 1, NULL, 0);
    ask_producer(&c, TOPIC, 1, NULL, 5);
    for (int i = 0; i < 2; i++)
        assert_int_equal(client_expect(&c, T(ERROR))->error->error,
                         PULSAR__PROTO__SERVER_ERROR__ServiceNotReady);
    make_durable(w, 10);
    expect_receipts(&c, 1, 0, 1);
    client_expect(&c, T(SUCCESS));
    open_producer(&c, TOPIC, 1);
    client_close(&c);
}

static void send_all_away(struct world *w, void *arg)
{
    topic_disconnect_all(topic_find(&w->broker.shard[0], arg));
}

static void test_a_close_that_was_asked_for_is_answered_though_the_topic_goes(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    char topic[] = TOPIC;
    open_producer(&c, TOPIC, 1);
    client_send(&c, 1, 0, 1);
    ask_close(&c, 1, 77);
    client_sync(&c);
    on_worker(w, send_all_away, topic);
    assert_int_equal(client_expect(&c, T(SUCCESS))->success->request_id, 77);
    client_close(&c);
}

static void wait_for_conns(struct world *w, uint32_t n)
{
    int64_t end_ns = mono_now_ns() + WAIT_S * MONO_S;
    while (look_at(w, TOPIC).conns != n)
        assert_true(mono_now_ns() < end_ns);
}

static void test_a_connection_lost_drops_what_is_parked_and_keeps_what_is_in_flight(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    set_rate(w, TOPIC, 1000, MONO_S);
    client_send(&c, 1, 0, HUGE_BATCH);
    send_run(&c, 1, 1, 5);
    client_sync(&c);
    client_close(&c);
    wait_for_conns(w, 0);
    struct look l = look_at(w, TOPIC);
    assert_int_equal(l.producers, 0);
    assert_int_equal(l.budget_parked, 0);
    assert_int_equal(l.shard_in_flight, 1);
    remove_rate(w, TOPIC);
    make_durable(w, 10);
    c = client_open(w);
    client_sync(&c);
    l = look_at(w, TOPIC);
    assert_int_equal(l.durable_end, 1);
    assert_int_equal(l.appended, 1);
    assert_int_equal(l.shard_in_flight, 0);
    client_close(&c);
}

static void test_a_paused_connection_that_is_lost_is_noticed(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    set_one_an_hour(w, TOPIC);
    send_run(&c, 1, 0, 20);
    wait_for(w, TOPIC, 2, true);
    client_close(&c);
    wait_for_conns(w, 0);
    assert_int_equal(look_at(w, TOPIC).budget_parked, 0);
}

static void on_deleted(void *ctx, struct place *t, enum tg_err e)
{
    (void)t;
    assert_int_equal(e, TG_OK);
    sem_post(ctx);
}

struct deletion_asked {
    const char *topic;
    sem_t done;
};

static void delete_now(struct world *w, void *arg)
{
    struct deletion_asked *d = arg;
    place_delete(place_find(w->broker.registry, d->topic), true, on_deleted, &d->done);
}

static void test_a_topic_deleted_with_frames_parked_and_in_flight(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct deletion_asked d = {.topic = TOPIC};
    sem_init(&d.done, 0, 0);
    open_producer(&c, TOPIC, 1);
    set_rate(w, TOPIC, 1000, MONO_S);
    client_send(&c, 1, 0, HUGE_BATCH);
    send_run(&c, 1, 1, 5);
    client_sync(&c);
    on_worker(w, delete_now, &d);
    client_expect(&c, T(CLOSE_PRODUCER));
    wait_sem(&d.done);
    sem_destroy(&d.done);
    assert_true(look_at(w, TOPIC).there); /* until what is in flight has come back */
    make_durable(w, 10);
    client_sync(&c);
    struct look l = look_at(w, TOPIC);
    assert_false(l.there);
    assert_int_equal(l.budget_parked, 0);
    send_run(&c, 1, 1, 5); /* on their way when it went */
    client_sync(&c);
    open_producer(&c, TOPIC, 1);
    client_close(&c);
}

static void test_a_registration_with_a_higher_epoch_takes_the_place_of_the_old(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    ask_producer(&c, TOPIC, 1, "name", 0);
    client_expect(&c, T(PRODUCER_SUCCESS));
    set_one_an_hour(w, TOPIC);
    client_send(&c, 1, 0, 1);
    client_send(&c, 1, 1, 1);
    client_sync(&c);
    ask_producer(&c, TOPIC, 1, "name", 1);
    client_expect(&c, T(PRODUCER_SUCCESS));
    struct look l = look_at(w, TOPIC);
    assert_int_equal(l.producers, 1);
    assert_int_equal(l.parked, 0);
    ask_producer(&c, TOPIC, 2, "name", 7);
    assert_int_equal(client_expect(&c, T(ERROR))->error->error,
                     PULSAR__PROTO__SERVER_ERROR__ProducerBusy);
    client_close(&c);
}

static void test_a_stop_stores_nothing_that_was_parked(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    set_rate(w, TOPIC, 1000, MONO_S);
    client_send(&c, 1, 0, HUGE_BATCH);
    send_run(&c, 1, 1, 100);
    client_sync(&c);
    assert_int_equal(look_at(w, TOPIC).parked, 99);
    broker_stop(&w->broker);
    w->stopped = true;
    remove_rate(w, TOPIC);
    make_durable(w, 1);
    expect_receipts(&c, 1, 0, 1);
    assert_null(client_read(&c));
    assert_int_equal(w->store.appended, 1);
    client_close(&c);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_close_drops_what_is_parked_and_waits_for_what_is_in_flight),
        CASE(test_a_producer_asked_for_while_it_closes_is_told_to_come_again),
        CASE(test_a_close_that_was_asked_for_is_answered_though_the_topic_goes),
        CASE(test_a_connection_lost_drops_what_is_parked_and_keeps_what_is_in_flight),
        CASE(test_a_paused_connection_that_is_lost_is_noticed),
        CASE(test_a_topic_deleted_with_frames_parked_and_in_flight),
        CASE(test_a_registration_with_a_higher_epoch_takes_the_place_of_the_old),
        CASE(test_a_stop_stores_nothing_that_was_parked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
