/* The wait queue under load, on a virtual clock: shares, order, changes of the limit, departures.
 */
#include "sim/sim.h"

enum { BACKLOGGED = 1000000000 }; /* frames: more than any test sends */

static void offer_all(struct sim *sim, uint64_t frames)
{
    for (uint32_t i = 0; i < sim->n_producers; i++)
        sim_offer(&sim->producers[i], frames);
}

static uint64_t spread_of_sent(const struct sim *sim)
{
    uint64_t low = UINT64_MAX, high = 0;
    for (uint32_t i = 0; i < sim->n_producers; i++) {
        uint64_t n = sim->producers[i].sent;
        low = n < low ? n : low;
        high = n > high ? n : high;
    }
    return high - low;
}

/* ---- shares ---- */

static void equal_shares(uint64_t seed)
{
    struct sim *sim = sim_new(seed, (uint32_t)(1 + seed * 7 % 150));
    int64_t rate = INT64_C(1) << rng_between(&sim->rng, 0, 20);
    int64_t frame = rng_between(&sim->rng, 1, 2000);
    bool in_bytes = seed % 2, both = seed % 5 == 0;
    struct sim_scope *s = sim_add_scope(
        sim, SCOPE_TOPIC,
        per_second(!in_bytes || both ? rate : 0, in_bytes || both ? rate * frame : 0));
    sim->late_ns = seed % 3 ? MONO_MS : 0;
    for (uint32_t i = 0; i < sim->n_producers; i++) {
        struct sim_producer *p = &sim->producers[i];
        p->min_bytes = p->max_bytes = frame;
        sim_next_frame(p);
    }
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, BACKLOGGED);
    for (int i = 0; i < 3000 && sim_step(sim, MONO_NEVER - 1); i++)
        SIM_CHECK(spread_of_sent(sim) <= 1, "shares differ by %llu messages",
                  (unsigned long long)spread_of_sent(sim));
    SIM_CHECK(sim->sent >= 3000, "only %llu sent", (unsigned long long)sim->sent);
    sim_free(sim);
}

static void test_equal_producers_get_equal_shares_within_one_message(void **state)
{
    (void)state;
    for_each_seed(equal_shares, 60);
}

static void mixed_sizes(uint64_t seed)
{
    struct sim *sim = sim_new(seed, (uint32_t)(2 + seed % 20));
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(0, 10000000));
    int64_t largest = 0;
    for (uint32_t i = 0; i < sim->n_producers; i++) {
        struct sim_producer *p = &sim->producers[i];
        p->max_bytes = INT64_C(1) << rng_between(&sim->rng, 4, 20);
        p->min_bytes = seed % 2 ? p->max_bytes : 1 + p->max_bytes / 2;
        sim_next_frame(p);
        largest = p->max_bytes > largest ? p->max_bytes : largest;
    }
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, BACKLOGGED);
    for (int i = 0; i < 20000; i++) {
        sim_step(sim, MONO_NEVER - 1);
        int64_t low = INT64_MAX, high = 0;
        for (uint32_t k = 0; k < sim->n_producers; k++) {
            int64_t n = (int64_t)sim->producers[k].sent_bytes;
            low = n < low ? n : low;
            high = n > high ? n : high;
        }
        SIM_CHECK(high - low <= 2 * largest, "bytes differ by %lld, largest frame %lld",
                  (long long)(high - low), (long long)largest);
    }
    sim_free(sim);
}

/* Each may be ahead by its last frame, and behind by the turn it has not had. */
static void test_small_and_large_frames_share_the_bytes(void **state)
{
    (void)state;
    for_each_seed(mixed_sizes, 40);
}

/* 1000 msg/s and 1 MB/s: one producer uses up messages, the other bytes; each is given half of the
 * time at its own scarce one. */
static void test_with_two_limits_the_scarcer_counts(void **state)
{
    (void)state;
    struct sim *sim = sim_new(1, 2);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(1000, 1000000));
    struct sim_producer *batches = &sim->producers[0], *large = &sim->producers[1];
    batches->frame_msgs = 50;
    batches->min_bytes = batches->max_bytes = 100;
    large->min_bytes = large->max_bytes = 50000;
    sim_next_frame(batches);
    sim_next_frame(large);
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, BACKLOGGED);
    sim_run_for(sim, 100 * MONO_S);
    int64_t ahead = (int64_t)batches->sent - (int64_t)large->sent;
    SIM_CHECK(ahead >= -1 && ahead <= 1, "a frame of each costs the same, yet %lld ahead",
              (long long)ahead);
    sim_free(sim);
}

static void test_one_of_weight_100_against_100(void **state)
{
    (void)state;
    struct sim *sim = sim_new(1, 101);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(1000, 0));
    waiter_init(&sim->producers[0].waiter, 100);
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, BACKLOGGED);
    for (int second = 1; second <= 60; second++) {
        sim_run_for(sim, MONO_S);
        int64_t one = (int64_t)sim->producers[0].sent, others = (int64_t)sim->sent - one;
        SIM_CHECK(one - others >= -101 && one - others <= 101, "%lld against %lld", (long long)one,
                  (long long)others);
    }
    sim_free(sim);
}

static void test_ten_thousand_wait_and_none_starves(void **state)
{
    (void)state;
    enum { N = 10000 };
    struct sim *sim = sim_new(1, N);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(100000, 0));
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, BACKLOGGED);
    for (uint64_t sent = 0; sim->sent < 3 * N;) {
        /* Everybody's n-th frame goes before anybody's next, and in the order of the line. */
        assert_true(waitq_fire(&s->q, 1, s->armed_ns) == 1);
        sim->now_ns = s->armed_ns > sim->now_ns ? s->armed_ns : sim->now_ns;
        assert_int_equal(sim->producers[sent % N].sent, sent / N + 1);
        sent++;
        sim_check_timers(sim);
    }
    sim_free(sim);
}

/* ---- those who leave and come again ---- */

/* A producer with a window of one large frame leaves the line after each; another always waits with
 * small ones. In bytes neither gets more than its share. */
static void window_of_one(uint64_t seed)
{
    struct sim *sim = sim_new(seed, 2);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(0, 1000000));
    struct sim_producer *large = &sim->producers[0], *small = &sim->producers[1];
    large->min_bytes = large->max_bytes = rng_between(&sim->rng, 1000, 200000);
    large->think_ns = rng_between(&sim->rng, 1, MONO_MS);
    small->min_bytes = small->max_bytes = 100;
    sim_next_frame(large);
    sim_next_frame(small);
    sim_route_all(sim);
    sim_drain(s);
    sim_offer(large, 1);
    sim_offer(small, BACKLOGGED);
    sim_run_for(sim, 60 * MONO_S);
    double share = (double)large->sent_bytes / (double)(large->sent_bytes + small->sent_bytes);
    SIM_CHECK(share <= 0.51, "the one who leaves and enters gets %.3f", share);
    SIM_CHECK(share >= 0.45, "the one who leaves and enters gets only %.3f", share);
    sim_free(sim);
}

static void test_leaving_and_entering_gains_nothing(void **state)
{
    (void)state;
    for_each_seed(window_of_one, 20);
}

static void close_one_at_random(struct sim_producer *p)
{
    struct sim *sim = p->sim;
    if (rng_between(&sim->rng, 0, 9) == 0)
        sim_close(&sim->producers[rng_between(&sim->rng, 0, sim->n_producers - 1)]);
}

static void closed_while_queued(uint64_t seed)
{
    struct sim *sim = sim_new(seed, 50);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(10000, 0));
    sim->on_sent = close_one_at_random; /* itself, too */
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, 1000);
    for (int i = 0; i < 100000 && sim_step(sim, MONO_NEVER - 1); i++) {
        struct sim_producer *p = &sim->producers[rng_between(&sim->rng, 0, 49)];
        if (i % 50 == 0)
            sim_close(p);
        else if (i % 51 == 0)
            sim_offer(p, 3);
    }
    SIM_CHECK(waitq_count(&s->q) == 0 && s->armed_ns == MONO_NEVER, "%u still wait",
              waitq_count(&s->q));
    for (uint32_t i = 0; i < sim->n_producers; i++)
        SIM_CHECK(sim->producers[i].backlog == 0, "producer %u is stuck", i);
    sim_free(sim);
}

static void test_a_connection_closed_while_queued_strands_nobody(void **state)
{
    (void)state;
    for_each_seed(closed_while_queued, 50);
}

/* ---- the limit changes while they wait ---- */

static void test_a_raised_limit_holds_at_once_and_keeps_the_order(void **state)
{
    (void)state;
    struct sim *sim = sim_new(1, 20);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(1, 0));
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, BACKLOGGED);
    sim_run_for(sim, 3500 * MONO_MS);
    assert_int_equal(sim->sent, 3);
    sim_set_limit(s, per_second(1000, 0));
    sim_run_for(sim, 20 * MONO_MS);
    assert_in_range(sim->sent, 3 + 19, 3 + 21);
    assert_true(spread_of_sent(sim) <= 1);
    assert_true(sim->producers[3].sent >= 1);
    sim_free(sim);
}

static void test_a_lowered_limit_holds_at_once(void **state)
{
    (void)state;
    struct sim *sim = sim_new(1, 20);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(1000, 0));
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, BACKLOGGED);
    sim_run_for(sim, MONO_S);
    uint64_t before = sim->sent;
    assert_in_range(before, 999, 1001);
    sim_set_limit(s, per_second(10, 0));
    sim_run_for(sim, 10 * MONO_S);
    assert_in_range(sim->sent - before, 99, 101);
    assert_true(spread_of_sent(sim) <= 1);
    sim_free(sim);
}

/* One frame of 5 MB at 1 MB/s is paid for by 5 s, whatever the limit becomes meanwhile. */
static void test_a_change_forgives_no_debt(void **state)
{
    (void)state;
    struct sim *sim = sim_new(1, 2);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(0, 1000000));
    struct sim_producer *p = &sim->producers[0];
    p->min_bytes = p->max_bytes = 5000000;
    sim_next_frame(p);
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, BACKLOGGED);
    sim_run_for(sim, MONO_MS);
    assert_int_equal(p->sent, 1);
    uint64_t small = sim->producers[1].sent;
    sim_run_for(sim, MONO_S);
    sim_set_limit(s, per_second(0, 2000000)); /* about 4 MB are owed: 2 s */
    sim_run_for(sim, 1990 * MONO_MS);
    assert_int_equal(sim->producers[1].sent, small);
    sim_run_for(sim, 20 * MONO_MS);
    assert_true(sim->producers[1].sent > small);
    sim_free(sim);
}

static void test_a_removed_limit_empties_the_queue_in_order(void **state)
{
    (void)state;
    struct sim *sim = sim_new(1, 500);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(1, 0));
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, 1);
    int64_t removed_ns = sim->now_ns;
    sim_set_limit(s, per_second(0, 0));
    assert_int_equal(s->armed_ns, removed_ns);
    for (uint32_t fires = 1; waitq_count(&s->q) > 0; fires++) {
        sim_step(sim, removed_ns);
        uint32_t expected = fires * SIM_FIRE_BUDGET < 500 ? fires * SIM_FIRE_BUDGET : 500;
        assert_int_equal(sim->sent, expected); /* bounded work per call */
        assert_int_equal(sim->producers[expected - 1].sent, 1);
    }
    assert_int_equal(sim->now_ns, removed_ns);
    sim_free(sim);
}

static void changing_limit(uint64_t seed)
{
    struct sim *sim = sim_new(seed, (uint32_t)(1 + seed % 40));
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(100, 0));
    sim->late_ns = MONO_MS;
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, 300);
    for (int i = 0; i < 40; i++) {
        int64_t msgs = INT64_C(1) << rng_between(&sim->rng, 0, 8);
        int64_t bytes = INT64_C(1) << rng_between(&sim->rng, 8, 16);
        int64_t kind = rng_between(&sim->rng, 0, 3);
        sim_set_limit(s, per_second(kind & 1 ? msgs : 0, kind & 2 ? bytes : 0));
        sim_check_timers(sim);
        sim_run_for(sim, rng_between(&sim->rng, 1, MONO_S));
    }
    sim_set_limit(s, per_second(0, 0));
    sim_run_for(sim, MONO_S);
    SIM_CHECK(sim->sent == 300 * sim->n_producers, "some of the frames are stuck");
    sim_free(sim);
}

static void test_any_sequence_of_limits_leaves_nobody_stuck(void **state)
{
    (void)state;
    for_each_seed(changing_limit, 50);
}

/* ---- rates ---- */

static void random_arrivals(uint64_t seed)
{
    struct sim *sim = sim_new(seed, (uint32_t)(1 + seed % 30));
    int64_t rate = rng_between(&sim->rng, 10, 5000);
    struct sim_scope *s =
        sim_add_scope(sim, SCOPE_TOPIC, per_second(rate, seed % 2 ? rate * 500 : 0));
    sim->late_ns = seed % 3 ? 5 * MONO_MS : 0;
    for (uint32_t i = 0; i < sim->n_producers; i++) {
        sim->producers[i].frame_msgs = (uint64_t)rng_between(&sim->rng, 1, 20);
        sim->producers[i].max_bytes = rng_between(&sim->rng, 100, 20000);
        sim->producers[i].think_ns = rng_between(&sim->rng, 1, 20 * MONO_MS);
        sim->producers[i].arrives_ns = sim->now_ns + rng_between(&sim->rng, 0, MONO_S);
    }
    sim_route_all(sim);
    for (int i = 0; i < 5000 && sim_step(sim, MONO_NEVER - 1); i++)
        ; /* sim_send checks the contract for every window */
    SIM_CHECK(s->excess_msgs > 0, "nothing was admitted");
    sim_free(sim);
}

static void test_no_window_holds_more_than_burst_and_rate_and_one_frame(void **state)
{
    (void)state;
    for_each_seed(random_arrivals, 60);
}

static void test_a_late_timer_costs_nothing(void **state)
{
    (void)state;
    struct sim *sim = sim_new(7, 10);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(1000, 0));
    sim->late_ns = 30 * MONO_MS;
    sim_route_all(sim);
    sim_drain(s);
    offer_all(sim, BACKLOGGED);
    sim_run_for(sim, 60 * MONO_S);
    assert_in_range(sim->sent, 60000 - 31, 60001);
    sim_free(sim);
}

/* A newcomer finds tokens that have accrued for those in line: it goes behind them. */
static void test_a_newcomer_does_not_overtake(void **state)
{
    (void)state;
    struct sim *sim = sim_new(1, 3);
    struct sim_scope *s = sim_add_scope(sim, SCOPE_TOPIC, per_second(10, 0));
    sim_route_all(sim);
    sim_drain(s);
    sim_offer(&sim->producers[0], 1);
    sim_offer(&sim->producers[1], 1);
    sim->now_ns += MONO_S;
    assert_true(tg_limit_has_tokens(&s->scope.limit, sim->now_ns));
    sim_offer(&sim->producers[2], 1);
    assert_int_equal(sim->producers[2].sent, 0);
    assert_int_equal(waitq_fire(&s->q, 2, sim->now_ns), 2);
    assert_int_equal(sim->producers[2].sent, 0);
    assert_int_equal(waitq_fire(&s->q, 2, sim->now_ns), 1);
    sim_free(sim);
}

/* ---- several limits on one path ---- */

static const enum scope_kind nested[3] = {SCOPE_TOPIC, SCOPE_NAMESPACE, SCOPE_BROKER};

/* Three scopes of one path without tokens, their limits lifted in every order: a frame goes exactly
 * when the last is. */
static void test_limits_of_a_path_lifted_in_every_order(void **state)
{
    (void)state;
    static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < 6; i++) {
        struct sim *sim = sim_new(1, 5);
        for (int k = 0; k < 3; k++)
            sim_drain(sim_add_scope(sim, nested[k], per_second(1, 0)));
        for (int k = 0; k < 3; k++) /* so that none accrues a token in this test */
            tg_limit_charge(&sim->scopes[k].scope.limit, 1000, 0, sim->now_ns);
        sim_route_all(sim);
        offer_all(sim, 2);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(sim->sent, 0);
            sim_set_limit(&sim->scopes[order[i][k]], per_second(0, 0));
            sim_run_for(sim, MONO_MS);
        }
        assert_int_equal(sim->sent, 10);
        sim_free(sim);
    }
}

static void nested_limits(uint64_t seed)
{
    struct sim *sim = sim_new(seed, (uint32_t)(1 + seed % 25));
    int64_t least = INT64_MAX;
    for (int k = 0; k < 3; k++) {
        int64_t rate = rng_between(&sim->rng, 50, 2000);
        least = rate < least ? rate : least;
        sim_drain(sim_add_scope(sim, nested[k], per_second(rate, 0)));
    }
    sim->late_ns = seed % 2 ? MONO_MS : 0;
    sim_route_all(sim);
    offer_all(sim, BACKLOGGED);
    sim_run_for(sim, 10 * MONO_S);
    SIM_CHECK((int64_t)sim->sent >= 10 * least - 10 && (int64_t)sim->sent <= 10 * least + 1,
              "%llu sent in 10 s at %lld/s", (unsigned long long)sim->sent, (long long)least);
    SIM_CHECK(spread_of_sent(sim) <= 3, "shares differ by %llu",
              (unsigned long long)spread_of_sent(sim));
    sim_free(sim);
}

static void test_the_least_rate_of_a_path_holds_and_is_used(void **state)
{
    (void)state;
    for_each_seed(nested_limits, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_producers_get_equal_shares_within_one_message),
        cmocka_unit_test(test_small_and_large_frames_share_the_bytes),
        cmocka_unit_test(test_with_two_limits_the_scarcer_counts),
        cmocka_unit_test(test_one_of_weight_100_against_100),
        cmocka_unit_test(test_ten_thousand_wait_and_none_starves),
        cmocka_unit_test(test_leaving_and_entering_gains_nothing),
        cmocka_unit_test(test_a_connection_closed_while_queued_strands_nobody),
        cmocka_unit_test(test_a_raised_limit_holds_at_once_and_keeps_the_order),
        cmocka_unit_test(test_a_lowered_limit_holds_at_once),
        cmocka_unit_test(test_a_change_forgives_no_debt),
        cmocka_unit_test(test_a_removed_limit_empties_the_queue_in_order),
        cmocka_unit_test(test_any_sequence_of_limits_leaves_nobody_stuck),
        cmocka_unit_test(test_no_window_holds_more_than_burst_and_rate_and_one_frame),
        cmocka_unit_test(test_a_late_timer_costs_nothing),
        cmocka_unit_test(test_a_newcomer_does_not_overtake),
        cmocka_unit_test(test_limits_of_a_path_lifted_in_every_order),
        cmocka_unit_test(test_the_least_rate_of_a_path_holds_and_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
