/* dispatch_limit.h: rules that were broken once, each by a way to or from waiting that nobody else
 * takes. */
#include "dispatch_fixture.h"

#include "broker/dispatch_wait.h"

/* ---- the disk, in the test's hand ---- */

static struct {
    const struct ledger_store_ops *real;
    struct ledger_store_ops ops;
    bool away; /* a read was asked for */
    struct ls_port *port;
    uint64_t ledger, first, bytes;
    uint32_t entries;
    ls_read_done done;
    void *ctx;
} disk;

static uint32_t none_cached(struct ls_port *p, uint64_t ledger, uint64_t first, uint32_t entries,
                            uint64_t bytes, struct ls_entry *out, struct ls_hold **hold)
{
    (void)p, (void)ledger, (void)first, (void)entries, (void)bytes, (void)out;
    *hold = NULL;
    return 0;
}

static void hold_read(struct ls_port *p, uint64_t ledger, uint64_t first, uint32_t entries,
                      uint64_t bytes, ls_read_done done, void *ctx)
{
    assert_false(disk.away);
    disk.away = true;
    disk.port = p;
    disk.ledger = ledger;
    disk.first = first;
    disk.entries = entries;
    disk.bytes = bytes;
    disk.done = done;
    disk.ctx = ctx;
}

/* All entries are on disk only, and reads wait for let_read. */
static void take_disk(struct world *w, void *arg)
{
    (void)arg;
    disk.away = false;
    disk.real = w->broker.ledgers->ops;
    disk.ops = *disk.real;
    disk.ops.read_cached = none_cached;
    disk.ops.read = hold_read;
    w->broker.ledgers->ops = &disk.ops;
}

static void is_read_away(struct world *w, void *arg)
{
    (void)w;
    *(bool *)arg = disk.away;
}

static void let_read(struct world *w, void *arg)
{
    (void)w, (void)arg;
    disk.away = false;
    disk.real->read(disk.port, disk.ledger, disk.first, disk.entries, disk.bytes, disk.done,
                    disk.ctx);
}

static void wait_for_read(struct world *w)
{
    bool away = false;
    for (int i = 0; i < 1000 * WAIT_S && !away; i++) {
        on_worker(w, is_read_away, &away);
        if (!away)
            usleep(1000);
    }
    assert_true(away);
}

/* ---- */

static struct subscription *the_subscription(struct world *w)
{
    return subscription_find(topic_find(&w->broker.shard[0], TOPIC), "s");
}

static void set_quota(struct world *w, int64_t msgs)
{
    on_worker(w, put_broker_quota, &msgs);
}

/* A producer, 1, and ten messages; a subscription, 2, with permits for all. */
static struct client open_both(struct world *w)
{
    struct client c = client_open(w);
    open_producer(&c, TOPIC, 1);
    subscribe(&c, TOPIC, "s", 2);
    publish(&c, 0, 10);
    return c;
}

static void test_a_wait_that_begins_when_a_read_is_back_is_counted(void **state)
{
    struct world *w = *state;
    struct client c = open_both(w);
    on_worker(w, take_disk, NULL);
    give_permits(&c, 2, 100);
    wait_for_read(w);
    one_an_hour(w, RATE_OF_DISPATCH);
    on_worker(w, let_read, NULL);
    take(&c, 0, 1);
    client_sync(&c);
    struct line_look l = look_line(w);
    assert_int_equal(l.in_line, 1);
    assert_int_equal(l.throttled, 1);
    assert_int_equal(l.counted, 1);
    assert_int_equal(l.times, 1);
    no_rate(w, RATE_OF_DISPATCH);
    take(&c, 1, 10); /* what was read is kept: no other read is let through */
    client_close(&c);
}

struct many {
    uint64_t msgs;
    int64_t rate; /* out */
};

/* A million an hour, of which some may go at once, and what is published. */
static void put_relative_rate(struct world *w, void *arg)
{
    struct place *p = place_find(w->broker.registry, TOPIC);
    enum rate_kind kind = *(enum rate_kind *)arg;
    place_policies(p)->rate[kind] =
        (struct rate_policy){.present = true,
                             .relative_to_publish = true,
                             .spec = {.msgs.rate = 1000000, .period_ns = 3600 * MONO_S}};
    place_apply_policies(p);
}

/* So many were published, and it is time to look at what is. */
static void count_published(struct world *w, void *arg)
{
    const struct many *m = arg;
    struct subscription *s = the_subscription(w);
    tg_meter_add(&s->topic->publish.scope.msgs, m->msgs, shard_now_ns(s->shard));
    if (s->limit)
        s->limit->followed_ns -= MONO_S;
    if (s->topic->dispatch)
        s->topic->dispatch->followed_ns -= MONO_S;
}

static void look_at_own_rate(struct world *w, void *arg)
{
    ((struct many *)arg)->rate =
        tg_limit_spec_of(&the_subscription(w)->limit->own.limit)->msgs.rate;
}

static void look_at_topics_rate(struct world *w, void *arg)
{
    const struct topic *t = the_subscription(w)->topic;
    ((struct many *)arg)->rate = tg_limit_spec_of(&t->dispatch->line.scope.limit)->msgs.rate;
}

/* It stands in line for a quota while more is published: when it goes on, its limit of <kind> has
 * followed. */
static void follows_in_line(struct world *w, enum rate_kind kind,
                            void (*look)(struct world *w, void *arg))
{
    struct client c = open_both(w);
    struct many before = {0}, after = {.msgs = 1000000};
    on_worker(w, put_relative_rate, &kind);
    set_quota(w, 1);
    give_permits(&c, 2, 5);
    take(&c, 0, 1);
    client_sync(&c);
    assert_int_equal(look_line(w).reason, REASON_BROKER);
    on_worker(w, look, &before);
    on_worker(w, count_published, &after);
    set_quota(w, 0);
    take(&c, 1, 5);
    client_sync(&c);
    on_worker(w, look, &after);
    assert_true(after.rate > before.rate + 1000000);
    client_close(&c);
}

static void test_a_relative_rate_of_its_own_is_followed_in_line(void **state)
{
    follows_in_line(*state, RATE_OF_SUBSCRIPTION, look_at_own_rate);
}

static void test_a_topics_relative_rate_is_followed_when_a_quota_answers(void **state)
{
    follows_in_line(*state, RATE_OF_DISPATCH, look_at_topics_rate);
}

static void look_whether_it_tails(struct world *w, void *arg)
{
    *(bool *)arg = the_subscription(w)->is_tailing;
}

static void test_who_catches_up_in_line_lags_no_more(void **state)
{
    struct world *w = *state;
    struct client c = open_both(w);
    bool tails = true;
    set_quota(w, 1);
    give_permits(&c, 2, 100);
    take(&c, 0, 1);
    client_sync(&c);
    on_worker(w, look_whether_it_tails, &tails);
    assert_false(tails);
    set_quota(w, 0);
    take(&c, 1, 10);
    client_sync(&c);
    on_worker(w, look_whether_it_tails, &tails);
    assert_true(tails);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_wait_that_begins_when_a_read_is_back_is_counted,
                                        setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_a_relative_rate_of_its_own_is_followed_in_line,
                                        setup_one, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_topics_relative_rate_is_followed_when_a_quota_answers, setup_one, teardown),
        cmocka_unit_test_setup_teardown(test_who_catches_up_in_line_lags_no_more, setup_one,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
