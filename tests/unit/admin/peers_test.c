/* Who has to go of those that are connected by HTTP: by time, and to make room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/peers.h"
#include "base/mono.h"

enum { N = 8 };
static struct peers peers;
static struct peer peer[N];

/* Connected one second apart, the first at second 0. */
static int connected(void **state)
{
    (void)state;
    peers = (struct peers){0};
    for (int i = 0; i < N; i++)
        peers_add(&peers, &peer[i], i, i * MONO_S);
    return 0;
}

static void expect_overdue(int64_t at_ns, int first, int end)
{
    for (int i = first; i < end; i++)
        assert_ptr_equal(peers_overdue(&peers, at_ns), &peer[i]);
    assert_null(peers_overdue(&peers, at_ns));
}

static void test_a_request_has_ten_seconds_from_the_connection_on(void **state)
{
    (void)state;
    expect_overdue(9 * MONO_S, 0, 0);
    peer_enter(&peers, &peer[0], PEER_ASKING, 0, 9 * MONO_S); /* its head has begun: no more time */
    expect_overdue(PEER_REQUEST_S * MONO_S, 0, 1);
    expect_overdue((PEER_REQUEST_S + 3) * MONO_S, 1, 4);
    assert_int_equal(peers.count, N - 4);
    assert_int_equal(peer[3].state, PEER_LEAVING);
}

static void test_one_that_leaves_stays_so_until_it_is_removed(void **state)
{
    (void)state;
    expect_overdue(PEER_REQUEST_S * MONO_S, 0, 1);
    peer_enter(&peers, &peer[0], PEER_IDLE, 0, 11 * MONO_S);
    assert_int_equal(peer[0].state, PEER_LEAVING);
    assert_int_equal(peers.count, N - 1);
    peers_remove(&peers, &peer[0]);
    assert_int_equal(peers.count, N - 1);
    peers_remove(&peers, &peer[1]);
    assert_int_equal(peers.count, N - 2);
}

static void test_who_is_served_is_safe(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++)
        peer_enter(&peers, &peer[i], PEER_SERVED, 0, N * MONO_S);
    assert_null(peers_longest(&peers, 22 * MONO_S));
    assert_null(peers_overdue(&peers, 3600 * MONO_S));
    assert_false(peers_any_waited_for(&peers));
    assert_int_equal(peers.count, N);
}

static void test_who_has_been_waited_for_longest_makes_room(void **state)
{
    (void)state;
    int64_t least_ns = PEER_LEAST_MS * MONO_MS;
    peer_enter(&peers, &peer[0], PEER_SERVED, 0, 20 * MONO_S);
    peer_enter(&peers, &peer[1], PEER_SERVED, 0, 20 * MONO_S);
    peer_enter(&peers, &peer[1], PEER_READING, 100, 21 * MONO_S);
    peer_enter(&peers, &peer[2], PEER_SERVED, 0, 21 * MONO_S);
    peer_enter(&peers, &peer[2], PEER_READING, 100, 21 * MONO_S);
    peer_enter(&peers, &peer[2], PEER_IDLE, 0, 22 * MONO_S);
    for (int i = 3; i < N; i++)
        assert_ptr_equal(peers_longest(&peers, 22 * MONO_S), &peer[i]);
    assert_ptr_equal(peers_longest(&peers, 22 * MONO_S), &peer[1]);
    assert_null(peers_longest(&peers, 22 * MONO_S + least_ns - 1)); /* it has only just begun */
    assert_ptr_equal(peers_longest(&peers, 22 * MONO_S + least_ns), &peer[2]);
    assert_null(peers_longest(&peers, 99 * MONO_S));
    assert_int_equal(peers.count, 1);
}

static void test_an_idle_one_is_kept_a_minute(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++)
        peer_enter(&peers, &peer[i], PEER_SERVED, 0, 8 * MONO_S);
    peer_enter(&peers, &peer[5], PEER_IDLE, 0, 8 * MONO_S);
    expect_overdue((8 + PEER_IDLE_S) * MONO_S - 1, 5, 5);
    expect_overdue((9 + PEER_IDLE_S) * MONO_S, 5, 6);
}

static void test_a_long_answer_has_time_by_its_length(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++)
        peer_enter(&peers, &peer[i], PEER_SERVED, 0, 8 * MONO_S);
    peer_enter(&peers, &peer[0], PEER_READING, 100 * PEER_BYTES_PER_S, 8 * MONO_S);
    peer_enter(&peers, &peer[1], PEER_READING, 0, 8 * MONO_S);
    expect_overdue((8 + PEER_ANSWER_S) * MONO_S, 1, 2);
    expect_overdue((7 + PEER_ANSWER_S + 100) * MONO_S, 0, 0);
    expect_overdue((8 + PEER_ANSWER_S + 100) * MONO_S, 0, 1);
}

static uint64_t taken_by[N];
static uint64_t taken(int fd)
{
    return taken_by[fd];
}

static void test_readers_that_take_nothing_go_when_memory_is_short(void **state)
{
    (void)state;
    int64_t begin_ns = 8 * MONO_S, stall_ns = PEER_STALL_MS * MONO_MS;
    assert_null(peers_stalled(&peers, taken, begin_ns + stall_ns)); /* who asks takes none */
    for (int i = 0; i < 4; i++) {
        peer_enter(&peers, &peer[i], PEER_SERVED, 0, begin_ns);
        peer_enter(&peers, &peer[i], PEER_READING, 100, begin_ns + i);
    }
    assert_null(peers_stalled(&peers, taken, begin_ns + stall_ns - 1));
    taken_by[0] = 1; /* this one reads */
    taken_by[2] = 7;
    assert_ptr_equal(peers_stalled(&peers, taken, begin_ns + stall_ns + 3), &peer[1]);
    assert_ptr_equal(peers_stalled(&peers, taken, begin_ns + stall_ns + 3), &peer[3]);
    assert_null(peers_stalled(&peers, taken, begin_ns + stall_ns + 3));
    taken_by[0] = 2;
    assert_null(peers_stalled(&peers, taken, begin_ns + 2 * stall_ns));
    assert_ptr_equal(peers_stalled(&peers, taken, begin_ns + 2 * stall_ns + 3), &peer[2]);
    assert_null(peers_stalled(&peers, taken, begin_ns + 2 * stall_ns + 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_request_has_ten_seconds_from_the_connection_on, connected),
        cmocka_unit_test_setup(test_one_that_leaves_stays_so_until_it_is_removed, connected),
        cmocka_unit_test_setup(test_who_is_served_is_safe, connected),
        cmocka_unit_test_setup(test_who_has_been_waited_for_longest_makes_room, connected),
        cmocka_unit_test_setup(test_an_idle_one_is_kept_a_minute, connected),
        cmocka_unit_test_setup(test_a_long_answer_has_time_by_its_length, connected),
        cmocka_unit_test_setup(test_readers_that_take_nothing_go_when_memory_is_short, connected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
