/* Walks over the connections, producers and consumers of a worker: a few a turn, all of them, and
 * none that has gone meanwhile. */
#include "broker_fixture.h"

#include "broker/walk.h"

enum { PRODUCERS = 60, A_TURN = 7 };

struct seen {
    uint32_t conns, producers, turns, in_turn, most_in_turn, last_id;
    int64_t turn_ns;
    bool closes; /* whoever comes next, while one is shown */
    bool lost;
    sem_t done;
};

static void count_one(struct walk_part *part)
{
    struct seen *s = part->walk->ctx;
    int64_t now_ns = shard_now_ns(part->shard);
    if (now_ns != s->turn_ns) {
        s->turns++;
        s->in_turn = 0;
        s->turn_ns = now_ns;
    }
    if (++s->in_turn > s->most_in_turn)
        s->most_in_turn = s->in_turn;
}

static void show_conn(struct walk_part *part, struct conn *c)
{
    struct seen *s = part->walk->ctx;
    (void)c;
    count_one(part);
    s->conns++;
}

static void show_producer(struct walk_part *part, struct producer *p)
{
    struct seen *s = part->walk->ctx;
    count_one(part);
    s->producers++;
    s->last_id = (uint32_t)p->id;
    struct producer *next = p->hh.next;
    if (s->closes && next != NULL)
        producer_close(next);
}

static void on_shown(struct walk *w)
{
    struct seen *s = w->ctx;
    s->lost = w->lost;
    sem_post(&s->done);
}

static void begin(struct world *w, void *arg)
{
    const struct walk_ops ops = {.per_turn = A_TURN,
                                 .show_conn = show_conn,
                                 .show_producer = show_producer,
                                 .done = on_shown};
    walk_begin(&w->broker, &ops, arg);
}

static struct client open_many(struct world *w)
{
    struct client c = client_open(w);
    for (uint64_t id = 0; id < PRODUCERS; id++)
        open_producer(&c, TOPIC, id);
    return c;
}

static void test_a_turn_shows_no_more_than_its_share_of_one_connection(void **state)
{
    struct world *w = *state;
    struct client c = open_many(w);
    struct seen s = {0};
    sem_init(&s.done, 0, 0);
    on_worker(w, begin, &s);
    wait_sem(&s.done);
    assert_int_equal(s.conns, 1);
    assert_int_equal(s.producers, PRODUCERS);
    assert_int_equal(s.most_in_turn, A_TURN);
    assert_true(s.turns > PRODUCERS / A_TURN);
    assert_false(s.lost);
    client_close(&c);
}

static void test_who_goes_while_a_walk_stands_at_him_is_not_shown(void **state)
{
    struct world *w = *state;
    struct client c = open_many(w);
    struct seen s = {.closes = true};
    sem_init(&s.done, 0, 0);
    on_worker(w, begin, &s);
    wait_sem(&s.done);
    assert_int_equal(s.producers, PRODUCERS / 2);
    assert_int_equal(s.last_id, PRODUCERS - 2);
    assert_int_equal(look_at(w, TOPIC).producers, PRODUCERS / 2);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_turn_shows_no_more_than_its_share_of_one_connection,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_goes_while_a_walk_stands_at_him_is_not_shown,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
