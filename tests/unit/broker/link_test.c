/* Links: connections whose topics live on another worker. The first client is on worker 1, the
 * second on worker 0, the control worker. */
#include "broker_fixture.h"

#include "broker/link.h"

/* Worker <index> stands still from here until go_on. */
struct standstill {
    struct mail mail;
    sem_t still, go;
};

static void stand_still(struct mail *m, struct worker *w)
{
    struct standstill *s = (struct standstill *)m;
    (void)w;
    sem_post(&s->still);
    sem_wait(&s->go);
    sem_post(&s->still);
}

static void stop_worker(struct world *w, int index, struct standstill *s)
{
    *s = (struct standstill){.mail.deliver = stand_still};
    sem_init(&s->still, 0, 0);
    sem_init(&s->go, 0, 0);
    assert_int_equal(worker_post(w->broker.shard[index].worker, &s->mail), TG_OK);
    wait_sem(&s->still);
}

static void go_on(struct standstill *s)
{
    sem_post(&s->go);
    wait_sem(&s->still);
    sem_destroy(&s->still);
    sem_destroy(&s->go);
}

struct pair {
    struct client there, here; /* there: where TOPIC lives, on worker 1 */
};

/* <here> has producer 1 on TOPIC, over there, and 2 on OTHER_TOPIC, on its own worker. */
static struct pair open_pair(struct world *w)
{
    struct pair p;
    p.there = client_open(w);
    open_producer(&p.there, TOPIC, 1);
    p.here = client_open(w);
    open_producer(&p.here, TOPIC, 1);
    open_producer(&p.here, OTHER_TOPIC, 2);
    return p;
}

static void close_pair(struct pair *p)
{
    client_close(&p->there);
    client_close(&p->here);
}

static void look_where(struct world *w, void *arg)
{
    int *at = arg;
    at[0] = place_find(w->broker.registry, TOPIC)->shard->index;
    at[1] = place_find(w->broker.registry, OTHER_TOPIC)->shard->index;
}

static void test_a_topic_lives_where_it_was_first_used(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    int at[2];
    on_worker(w, look_where, at);
    assert_int_equal(at[0], 1);
    assert_int_equal(at[1], 0);
    close_pair(&p);
}

static void test_a_worker_that_stands_still_holds_up_its_own_topics_only(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    struct standstill s;
    stop_worker(w, 1, &s);
    send_run(&p.here, 1, 0, 100);
    send_run(&p.here, 2, 0, 100);
    expect_receipts(&p.here, 2, 0, 100);
    client_sync(&p.here);
    go_on(&s);
    expect_receipts(&p.here, 1, 0, 100);
    close_pair(&p);
}

static void look_at_front(struct world *w, void *arg)
{
    struct front *f = front_of(w->broker.shard[0].conns);
    *(bool *)arg = f->pause.reasons != 0;
}

/* What the front on worker 0 counts as in flight. */
static void look_in_flight(struct world *w, void *arg)
{
    struct front *f = front_of(w->broker.shard[0].conns);
    *(struct flight *)arg = flight_plus(f->conn.in_flight, f->far_in_flight);
}

static uint64_t in_flight(struct world *w)
{
    struct flight n;
    on_worker(w, look_in_flight, &n);
    return n.frames;
}

static void limit_in_flight(struct world *w, void *arg)
{
    w->settings.max_pending_per_connection = *(int *)arg;
    flight_limit_set(&w->broker, &w->settings);
}

static void set_limit_in_flight(struct world *w, int frames)
{
    on_worker(w, limit_in_flight, &frames);
}

static bool rests(struct world *w)
{
    bool r;
    on_worker(w, look_at_front, &r);
    return r;
}

static void test_frames_for_a_worker_that_stands_still_are_bounded(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    struct standstill s;
    int64_t end_ns = mono_now_ns() + WAIT_S * MONO_S;
    uint64_t sent = 0;
    set_limit_in_flight(w, 0); /* else it rests long before */
    stop_worker(w, 1, &s);
    while (!rests(w)) {
        assert_true(mono_now_ns() < end_ns);
        send_run(&p.here, 1, sent, sent + 1000);
        sent += 1000;
    }
    int64_t held = budget_used(&w->broker.budget, BUDGET_RECEIVE);
    assert_true(held >= LINK_FRAMES_MAX && held < LINK_FRAMES_MAX + STREAM_READ_BUFFER);
    go_on(&s);
    expect_receipts(&p.here, 1, 0, sent);
    send_run(&p.here, 2, 0, 1);
    expect_receipts(&p.here, 2, 0, 1);
    assert_false(rests(w));
    close_pair(&p);
}

static void test_what_was_sent_before_a_connection_was_lost_is_stored(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    struct standstill s;
    stop_worker(w, 1, &s);
    send_run(&p.here, 1, 0, 100);
    client_sync(&p.here);
    client_close(&p.here);
    go_on(&s);
    send_run(&p.there, 1, 0, 1);
    const Pulsar__Proto__BaseCommand *cmd = client_expect(&p.there, T(SEND_RECEIPT));
    assert_int_equal(cmd->send_receipt->message_id->entryid, 100);
    client_close(&p.there);
}

static void test_a_protocol_error_over_there_closes_the_connection(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandSend in = PULSAR__PROTO__COMMAND_SEND__INIT;
    cmd.type = T(SEND);
    cmd.send = &in;
    in.producer_id = 1; /* no body */
    client_command(&p.here, &cmd);
    assert_null(client_read(&p.here));
    client_sync(&p.there);
    close_pair(&p);
}

static void test_a_stop_while_a_worker_stands_still_waits_for_it(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    struct standstill s;
    stop_worker(w, 1, &s);
    send_run(&p.here, 1, 0, 10);
    client_sync(&p.here);
    broker_stop(&w->broker);
    w->stopped = true;
    go_on(&s);
    expect_receipts(&p.here, 1, 0, 10);
    assert_null(client_read(&p.here));
    close_pair(&p);
}

static void test_what_a_client_cancels_while_it_is_being_opened_is_not_opened(void **state)
{
    struct world *w = *state;
    struct client there = client_open(w); /* on worker 1 */
    struct standstill s;
    stop_worker(w, 0, &s); /* which is asked */
    ask_producer(&there, TOPIC, 1, "a", 0);
    ask_close(&there, 1, 7);
    assert_int_equal(client_expect(&there, T(SUCCESS))->success->request_id, 7);
    go_on(&s);
    open_producer(&there, TOPIC, 2);
    client_sync(&there);
    client_close(&there);
}

/* ---- letters ---- */

enum { LETTERS = MAIL_MAX + 5000 };

struct numbered {
    struct letter letter;
    int number;
};

static int next_number;
static sem_t all_read;

static void read_numbered(struct letter *l, struct shard *at)
{
    assert_int_equal(at->index, 1);
    assert_int_equal(((struct numbered *)l)->number, next_number++);
    if (next_number == LETTERS)
        sem_post(&all_read);
}

static void post_all(struct world *w, void *arg)
{
    struct numbered *n = arg;
    for (int i = 0; i < LETTERS; i++) {
        n[i].number = i;
        letter_post(&w->broker.shard[0], &w->broker.shard[1], &n[i].letter, read_numbered, NULL);
    }
}

static void test_a_full_box_delays_letters_and_loses_none(void **state)
{
    struct world *w = *state;
    struct numbered *n = xcalloc(LETTERS, sizeof *n);
    struct standstill s;
    next_number = 0;
    sem_init(&all_read, 0, 0);
    stop_worker(w, 1, &s);
    on_worker(w, post_all, n);
    go_on(&s);
    wait_sem(&all_read);
    sem_destroy(&all_read);
    free(n);
}

/* ---- what a connection has in flight over there ---- */

static void wait_until_rests(struct world *w)
{
    int64_t end_ns = mono_now_ns() + WAIT_S * MONO_S;
    while (!rests(w)) {
        assert_true(mono_now_ns() < end_ns);
        usleep(1000);
    }
}

static void test_what_was_forwarded_is_in_flight_though_the_box_is_full(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    struct numbered *n = xcalloc(LETTERS, sizeof *n);
    struct standstill s;
    next_number = 0;
    sem_init(&all_read, 0, 0);
    set_limit_in_flight(w, 8);
    stop_worker(w, 1, &s);
    on_worker(w, post_all, n);
    send_run(&p.here, 1, 0, 100);
    wait_until_rests(w);
    assert_int_equal(in_flight(w), 8);
    go_on(&s);
    expect_receipts(&p.here, 1, 0, 100);
    wait_sem(&all_read);
    assert_int_equal(in_flight(w), 0);
    assert_false(rests(w));
    close_pair(&p);
    sem_destroy(&all_read);
    free(n);
}

static void test_a_limit_in_flight_is_changed_while_a_connection_rests_for_it(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    struct standstill s;
    set_limit_in_flight(w, 4);
    stop_worker(w, 1, &s);
    send_run(&p.here, 1, 0, 100);
    wait_until_rests(w);
    assert_int_equal(in_flight(w), 4);
    set_limit_in_flight(w, 20); /* the four are less than half: the next acknowledgement tells */
    go_on(&s);
    expect_receipts(&p.here, 1, 0, 100);
    stop_worker(w, 1, &s);
    send_run(&p.here, 1, 100, 200);
    wait_until_rests(w);
    assert_int_equal(in_flight(w), 20);
    set_limit_in_flight(w, 0);
    go_on(&s);
    expect_receipts(&p.here, 1, 100, 200);
    assert_int_equal(in_flight(w), 0);
    close_pair(&p);
}

/* ---- how long the socket was not read, as each end sees it ---- */

struct unread {
    int64_t end_ns; /* the time of the look */
    int64_t near_ns, far_ns;
    enum { LOOK, PAUSE, RESUME } act;
};

static void pause_and_look(struct world *w, void *arg)
{
    struct unread *u = arg;
    struct front *f = front_of(w->broker.shard[0].conns);
    if (u->act == PAUSE)
        front_pause(f, REASON_OUTBOUND_BUFFER);
    else if (u->act == RESUME)
        front_resume(f, REASON_OUTBOUND_BUFFER);
    u->end_ns = shard_now_ns(f->conn.shard);
    u->near_ns = conn_unread_ns(&f->conn, u->end_ns);
    u->far_ns = conn_unread_ns(&f->links[1]->conn, u->end_ns);
}

static struct unread look_unread(struct world *w, int act)
{
    struct unread u = {.act = act};
    on_worker(w, pause_and_look, &u);
    return u;
}

static void test_both_ends_know_how_long_the_socket_was_not_read(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    struct unread before = look_unread(w, PAUSE);
    usleep(20000);
    struct unread during = look_unread(w, LOOK);
    assert_int_equal(during.near_ns - before.near_ns, during.end_ns - before.end_ns);
    assert_int_equal(during.far_ns, during.near_ns);
    struct unread after = look_unread(w, RESUME);
    assert_int_equal(after.near_ns - before.near_ns, after.end_ns - before.end_ns);
    usleep(20000);
    struct unread later = look_unread(w, LOOK);
    assert_true(later.end_ns > after.end_ns);
    assert_int_equal(later.near_ns, after.near_ns);
    assert_int_equal(later.far_ns, after.near_ns);
    client_sync(&p.here);
    close_pair(&p);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup_two, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_both_ends_know_how_long_the_socket_was_not_read),
        CASE(test_a_topic_lives_where_it_was_first_used),
        CASE(test_a_worker_that_stands_still_holds_up_its_own_topics_only),
        CASE(test_frames_for_a_worker_that_stands_still_are_bounded),
        CASE(test_what_was_sent_before_a_connection_was_lost_is_stored),
        CASE(test_a_protocol_error_over_there_closes_the_connection),
        CASE(test_a_stop_while_a_worker_stands_still_waits_for_it),
        CASE(test_what_a_client_cancels_while_it_is_being_opened_is_not_opened),
        CASE(test_a_full_box_delays_letters_and_loses_none),
        CASE(test_what_was_forwarded_is_in_flight_though_the_box_is_full),
        CASE(test_a_limit_in_flight_is_changed_while_a_connection_rests_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
