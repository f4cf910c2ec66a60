/* What a connection is as a whole: what it has in flight, signs of life, answers that are not read,
 * what it may open. */
#include "broker_fixture.h"

/* ---- in flight of a connection ---- */

static void allow_four_in_flight(struct world *w, void *arg)
{
    (void)arg;
    w->settings.max_pending_per_connection = 4;
    flight_limit_set(&w->broker, &w->settings);
}

static void test_what_a_producer_leaves_in_flight_counts_at_its_connection(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    on_worker(w, allow_four_in_flight, NULL);
    open_producer(&c, TOPIC, 1);
    send_run(&c, 1, 0, 3);
    ask_producer(&c, TOPIC, 1, NULL, 1); /* takes the place of the first */
    client_expect(&c, T(PRODUCER_SUCCESS));
    send_run(&c, 1, 0, 5);
    assert_int_equal(wait_for(w, TOPIC, 0, true).shard_in_flight, 4);
    make_durable(w, 1);
    assert_int_equal(wait_for(w, TOPIC, 0, true).shard_in_flight, 3); /* not half yet */
    make_durable(w, 7);
    expect_receipts(&c, 1, 0, 5);
    wait_for(w, TOPIC, 0, false);
    client_close(&c);
}

/* ---- the connection ---- */

static void age_and_look_alive(struct world *w, void *arg)
{
    struct conn *c = w->broker.shard[0].conns;
    (void)arg;
    c->stream->last_read_ns -= 3600 * MONO_S; /* the pause was as long */
    struct place *p = place_find(w->broker.registry, TOPIC);
    place_policies(p)->rate[RATE_OF_TOPIC].present = false;
    place_apply_policies(p);
    while (stream_is_paused(c->stream)) /* what the topic's timer does next turn */
        topic_line_fired(&topic_find(&w->broker.shard[0], TOPIC)->publish.timer,
                         shard_now_ns(c->shard));
    struct timer *t = &front_of(c)->timer;
    t->fire(t, shard_now_ns(c->shard));
}

static void test_a_connection_is_not_taken_for_dead_after_a_long_pause(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    set_one_an_hour(w, TOPIC);
    make_durable(w, 20);
    send_run(&c, 1, 0, 20);
    expect_receipts(&c, 1, 0, 1);
    wait_for(w, TOPIC, 2, true);
    on_worker(w, age_and_look_alive, NULL);
    expect_receipts(&c, 1, 1, 20);
    client_sync(&c);
    client_close(&c);
}

static void fire_timer(struct world *w, void *arg)
{
    struct conn *c = w->broker.shard[0].conns;
    (void)arg;
    struct timer *t = &front_of(c)->timer;
    t->fire(t, shard_now_ns(c->shard));
}

static void test_a_paused_client_is_sent_signs_of_life(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    set_one_an_hour(w, TOPIC);
    make_durable(w, 1);
    send_run(&c, 1, 0, 20);
    expect_receipts(&c, 1, 0, 1);
    wait_for(w, TOPIC, 2, true);
    on_worker(w, fire_timer, NULL);
    client_expect(&c, T(PONG));
    client_close(&c);
}

static void test_a_client_that_does_not_read_its_answers_is_not_listened_to(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    struct timeval moment = {.tv_usec = 10000};
    uint8_t ping[] = {0, 0, 0, 9, 0, 0, 0, 5, 0x08, 18, 0x92, 0x01, 0};
    enum { MANY = 4096 };
    uint8_t *run = xmalloc(sizeof ping * MANY);
    for (int i = 0; i < MANY; i++)
        memcpy(run + i * sizeof ping, ping, sizeof ping);
    setsockopt(c.fd, SOL_SOCKET, SO_SNDTIMEO, &moment, sizeof moment);
    size_t all = sizeof ping * MANY, written = 0;
    while (!look_at(w, TOPIC).outbound) { /* however long the broker takes for it */
        ssize_t n = send(c.fd, run + written % all, all - written % all, MSG_NOSIGNAL);
        written += n > 0 ? (size_t)n : 0;
        assert_true(written < 512 << 20);
    }
    free(run);
    for (size_t i = 0; i < written / sizeof ping; i++)
        client_expect(&c, T(PONG));
    int64_t end_ns = mono_now_ns() + WAIT_S * MONO_S;
    while (look_at(w, TOPIC).outbound)
        assert_true(mono_now_ns() < end_ns);
    client_close(&c);
}

static void allow_two_producers(struct world *w, void *arg)
{
    (void)arg;
    w->settings.max_producers_per_connection = 2;
}

static void test_producers_being_opened_count_as_producers(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    on_worker(w, allow_two_producers, NULL);
    for (uint64_t id = 1; id <= 5; id++)
        ask_producer(&c, TOPIC, id, NULL, 0);
    int opened = 0;
    for (int i = 0; i < 5; i++)
        opened += client_read(&c)->type == T(PRODUCER_SUCCESS);
    assert_int_equal(opened, 2);
    client_close(&c);
}

static void expect_refusal(struct client *c, const char *name, const char *subscription)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandProducer in = PULSAR__PROTO__COMMAND_PRODUCER__INIT;
    cmd.type = T(PRODUCER);
    cmd.producer = &in;
    in.topic = writable(TOPIC);
    in.producer_id = 9;
    in.producer_name = writable(name);
    in.initial_subscription_name = writable(subscription);
    client_command(c, &cmd);
    assert_int_equal(client_expect(c, T(ERROR))->error->error,
                     PULSAR__PROTO__SERVER_ERROR__NotAllowedError);
}

static void test_names_that_could_not_be_shown_or_stored_are_refused(void **state)
{
    struct world *w = *state;
    struct client c = client_open(w);
    expect_refusal(&c, "\xff", "");
    expect_refusal(&c, "two\nlines", "");
    expect_refusal(&c, "", "two\nlines");
    expect_refusal(&c, "", "a/b");
    client_sync(&c);
    client_close(&c);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_what_a_producer_leaves_in_flight_counts_at_its_connection),
        CASE(test_a_connection_is_not_taken_for_dead_after_a_long_pause),
        CASE(test_a_paused_client_is_sent_signs_of_life),
        CASE(test_a_client_that_does_not_read_its_answers_is_not_listened_to),
        CASE(test_producers_being_opened_count_as_producers),
        CASE(test_names_that_could_not_be_shown_or_stored_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
