/* Quotas over two workers: TOPIC lives on worker 1, OTHER_TOPIC on worker 0; both are in one
 * namespace. Limits are such that nothing passes by itself within a test. */
#include "broker_fixture.h"

#include "broker/quotas.h"

#define NS "public/default"

struct quota_wanted {
    int64_t msgs, period_ns;
    bool of_broker;
};

static void put_quota(struct world *w, void *arg)
{
    struct quota_wanted *q = arg;
    struct rate_policy p = {.present = q->msgs > 0,
                            .spec = {.msgs.rate = q->msgs, .period_ns = q->period_ns}};
    struct broker_quota *at = q->of_broker
                                  ? w->broker.quotas->broker[SIDE_PUBLISH]
                                  : registry_ns(w->broker.registry, NS)->quota[SIDE_PUBLISH];
    broker_quota_set(at, &p, LIMIT_FROM_NAMESPACE);
}

static void set_quota(struct world *w, int64_t msgs, int64_t period_ns)
{
    struct quota_wanted q = {msgs, period_ns, false};
    on_worker(w, put_quota, &q);
}

static void set_broker_quota(struct world *w, int64_t msgs, int64_t period_ns)
{
    struct quota_wanted q = {msgs, period_ns, true};
    on_worker(w, put_quota, &q);
}

struct pair {
    struct client there, here;
};

static struct pair open_pair(struct world *w)
{
    struct pair p;
    p.there = client_open(w);
    open_producer(&p.there, TOPIC, 1);
    p.here = client_open(w);
    open_producer(&p.here, OTHER_TOPIC, 1);
    return p;
}

static void close_pair(struct pair *p)
{
    client_close(&p->there);
    client_close(&p->here);
}

/* The first frame passes and leaves the quota in debt: nothing more goes. */
static void open_in_quotas_debt(struct world *w, struct pair *p)
{
    set_quota(w, 1000, MONO_S);
    client_send(&p->here, 1, 0, HUGE_BATCH);
    expect_receipts(&p->here, 1, 0, 1);
}

static bool gives_nothing(struct client *c)
{
    struct timeval wait = {.tv_usec = 50000}, before = {.tv_sec = WAIT_S};
    char byte;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &before, sizeof before);
    return n < 0 && errno == EAGAIN;
}

static void test_what_one_worker_spent_another_has_not(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    open_in_quotas_debt(w, &p);
    send_run(&p.there, 1, 0, 10);
    send_run(&p.here, 1, 1, 10);
    client_sync(&p.there);
    client_sync(&p.here);
    assert_true(gives_nothing(&p.there));
    assert_true(gives_nothing(&p.here));
    struct look l = look_at(w, OTHER_TOPIC);
    assert_int_equal(l.reason, REASON_NAMESPACE);
    assert_int_equal(l.parked, 9);
    close_pair(&p);
}

static void test_a_quota_removed_lets_all_go_on_in_order(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    open_in_quotas_debt(w, &p);
    send_run(&p.there, 1, 0, 300);
    send_run(&p.here, 1, 1, 300);
    client_sync(&p.there);
    client_sync(&p.here);
    set_quota(w, 0, 0);
    expect_receipts(&p.there, 1, 0, 300);
    expect_receipts(&p.here, 1, 1, 300);
    struct look l = look_at(w, OTHER_TOPIC);
    assert_int_equal(l.step, GATE_OPEN);
    assert_int_equal(l.reason, REASON_COUNT);
    assert_int_equal(l.budget_parked, 0);
    close_pair(&p);
}

static void test_the_brokers_quota_holds_for_all(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    set_broker_quota(w, 1000, MONO_S);
    client_send(&p.there, 1, 0, HUGE_BATCH);
    expect_receipts(&p.there, 1, 0, 1);
    send_run(&p.here, 1, 0, 5);
    client_sync(&p.here);
    assert_true(gives_nothing(&p.here));
    assert_int_equal(look_at(w, OTHER_TOPIC).reason, REASON_BROKER);
    set_broker_quota(w, 0, 0);
    expect_receipts(&p.here, 1, 0, 5);
    close_pair(&p);
}

static void test_a_connection_lost_while_its_topic_waits_for_a_quota(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    open_in_quotas_debt(w, &p);
    send_run(&p.there, 1, 0, 10);
    client_sync(&p.there);
    client_close(&p.there);
    set_quota(w, 0, 0);
    send_run(&p.here, 1, 1, 10);
    expect_receipts(&p.here, 1, 1, 10);
    client_close(&p.here);
}

struct asked {
    const char *topic;
    sem_t done;
};

static void on_deleted(void *ctx, struct place *p, enum tg_err e)
{
    struct asked *a = ctx;
    (void)p;
    assert_int_equal(e, TG_OK);
    sem_post(&a->done);
}

static void delete_now(struct world *w, void *arg)
{
    struct asked *a = arg;
    place_delete(place_find(w->broker.registry, a->topic), true, on_deleted, a);
}

static void test_a_topic_deleted_while_it_waits_for_a_quota_can_be_made_anew(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    open_in_quotas_debt(w, &p);
    send_run(&p.there, 1, 0, 10);
    client_sync(&p.there);
    struct asked a = {.topic = TOPIC};
    sem_init(&a.done, 0, 0);
    on_worker(w, delete_now, &a);
    wait_sem(&a.done);
    sem_destroy(&a.done);
    client_expect(&p.there, T(CLOSE_PRODUCER));
    open_producer(&p.there, TOPIC, 2);
    set_quota(w, 0, 0);
    send_run(&p.there, 2, 0, 10);
    expect_receipts(&p.there, 2, 0, 10);
    close_pair(&p);
}

static void test_a_topics_own_limit_and_a_quota_are_waited_for_in_turn(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    open_in_quotas_debt(w, &p);
    set_one_an_hour(w, OTHER_TOPIC);
    client_send(&p.here, 1, 1, 1);
    client_send(&p.here, 1, 2, 1);
    client_sync(&p.here);
    assert_int_equal(look_at(w, OTHER_TOPIC).reason, REASON_NAMESPACE);
    set_quota(w, 0, 0);
    expect_receipts(&p.here, 1, 1, 2); /* the one that the topic has at the start */
    int64_t end_ns = mono_now_ns() + WAIT_S * MONO_S;
    while (look_at(w, OTHER_TOPIC).reason != REASON_TOPIC)
        assert_true(mono_now_ns() < end_ns);
    remove_rate(w, OTHER_TOPIC);
    expect_receipts(&p.here, 1, 2, 3);
    close_pair(&p);
}

static void test_a_stop_while_topics_wait_for_a_quota(void **state)
{
    struct world *w = *state;
    struct pair p = open_pair(w);
    open_in_quotas_debt(w, &p);
    send_run(&p.there, 1, 0, 10);
    send_run(&p.here, 1, 1, 10);
    client_sync(&p.there);
    client_sync(&p.here);
    broker_stop(&w->broker);
    w->stopped = true;
    assert_null(client_read(&p.there));
    close_pair(&p);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup_two, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_what_one_worker_spent_another_has_not),
        CASE(test_a_quota_removed_lets_all_go_on_in_order),
        CASE(test_the_brokers_quota_holds_for_all),
        CASE(test_a_connection_lost_while_its_topic_waits_for_a_quota),
        CASE(test_a_topic_deleted_while_it_waits_for_a_quota_can_be_made_anew),
        CASE(test_a_topics_own_limit_and_a_quota_are_waited_for_in_turn),
        CASE(test_a_stop_while_topics_wait_for_a_quota),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
