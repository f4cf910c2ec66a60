#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/mono.h"
#include "throttle/waitq.h"

/* A child with frames of one size; what happens in its grant is up to the test. */
struct child {
    struct waiter w; /* first */
    struct bench *bench;
    uint64_t bytes;
    uint32_t left; /* frames */
    uint32_t granted;
    enum waiter_result (*instead)(struct child *c, int64_t now_ns);
};

struct bench {
    struct scope scope;
    struct waitq q;
    int64_t timer_ns;
    uint32_t armed;  /* calls */
    char order[600]; /* who was granted, by letter */
    struct child c[5];
};

static void arm(void *ctx, int64_t deadline_ns)
{
    struct bench *b = ctx;
    b->timer_ns = deadline_ns;
    b->armed++;
}

static void cost(struct waiter *w, uint64_t *msgs, uint64_t *bytes)
{
    *msgs = 1;
    *bytes = ((struct child *)w)->bytes;
}

static enum waiter_result grant(struct waiter *w, int64_t now_ns)
{
    struct child *c = (struct child *)w;
    struct bench *b = c->bench;
    char letter[2] = {(char)('a' + (c - b->c)), 0};
    if (c->instead)
        return c->instead(c, now_ns);
    strcat(b->order, letter);
    tg_limit_charge(&b->scope.limit, 1, c->bytes, now_ns);
    c->granted++;
    return --c->left > 0 ? WAITER_SENT : WAITER_DONE;
}

static const struct waitq_ops ops = {.cost = cost, .grant = grant, .arm = arm};

/* The scope starts at time 0 with nothing left, the children with 10 frames of 100 bytes. */
static void bench_init(struct bench *b, int64_t msgs, int64_t bytes)
{
    struct tg_limit_spec spec = {.msgs.rate = msgs, .bytes.rate = bytes};
    memset(b, 0, sizeof *b);
    b->timer_ns = MONO_NEVER;
    scope_init(&b->scope, SCOPE_TOPIC, "x");
    scope_set_limit(&b->scope, &spec, LIMIT_FROM_TOPIC, 10, 0);
    tg_limit_charge(&b->scope.limit, (uint64_t)(msgs > 10 ? msgs / 10 : msgs > 0),
                    (uint64_t)bytes / 10, 0);
    waitq_init(&b->q, &b->scope, &ops, b);
    for (int i = 0; i < 5; i++) {
        waiter_init(&b->c[i].w, 1);
        b->c[i] = (struct child){.w = b->c[i].w, .bench = b, .bytes = 100, .left = 10};
    }
}

static void enter(struct bench *b, int count)
{
    for (int i = 0; i < count; i++)
        waitq_enter(&b->q, &b->c[i].w, 0);
}

static void set_limit(struct bench *b, int64_t msgs, int64_t now_ns)
{
    struct tg_limit_spec spec = {.msgs.rate = msgs};
    scope_set_limit(&b->scope, &spec, LIMIT_FROM_TOPIC, 10, now_ns);
    waitq_limit_changed(&b->q, now_ns);
}

static void test_the_timer_is_armed_while_somebody_waits(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 10, 0);
    tg_limit_charge(&b.scope.limit, 1, 0, 0); /* it owes one */
    assert_ptr_equal(b.scope.waiters, &b.q);
    assert_int_equal(b.timer_ns, MONO_NEVER);
    enter(&b, 2);
    assert_int_equal(b.timer_ns, 100 * MONO_MS + 1);
    assert_int_equal(b.armed, 1); /* who comes second finds it armed */
    waitq_leave(&b.c[0].w, 0);
    assert_int_equal(b.timer_ns, 100 * MONO_MS + 1);
    waitq_leave(&b.c[1].w, 0);
    assert_int_equal(b.timer_ns, MONO_NEVER);
    assert_int_equal(b.q.armed_ns, MONO_NEVER);
}

static void test_leaving_no_queue_is_nothing(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 10, 0);
    waitq_leave(&b.c[0].w, 0);
    enter(&b, 1);
    waitq_leave(&b.c[0].w, 0);
    waitq_leave(&b.c[0].w, 0);
    assert_int_equal(waitq_count(&b.q), 0);
}

static void test_only_what_has_accrued_is_handed_out(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 10, 0);
    tg_limit_charge(&b.scope.limit, 1, 0, 0); /* it owes one */
    enter(&b, 3);
    assert_int_equal(waitq_fire(&b.q, 100, 50 * MONO_MS), 0); /* too early */
    assert_int_equal(b.timer_ns, 100 * MONO_MS + 1);
    assert_int_equal(waitq_fire(&b.q, 100, 100 * MONO_MS + 1), 1);
    assert_int_equal(b.timer_ns, 200 * MONO_MS + 1);
    assert_int_equal(waitq_fire(&b.q, 100, 600 * MONO_MS + 1), 5); /* late: nothing is lost */
    assert_string_equal(b.order, "abcabc");
}

static void test_the_budget_bounds_a_call(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 1000, 0);
    enter(&b, 2);
    assert_int_equal(waitq_fire(&b.q, 3, MONO_S), 3);
    assert_int_equal(b.timer_ns, MONO_S);
    assert_int_equal(waitq_fire(&b.q, 100, MONO_S), 17);
    assert_int_equal(b.timer_ns, MONO_NEVER);
}

static void test_whoever_has_nothing_more_leaves(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 1000, 0);
    b.c[1].left = 1;
    enter(&b, 3);
    waitq_fire(&b.q, 6, MONO_S);
    assert_string_equal(b.order, "abcaca");
    assert_false(waiter_waits(&b.c[1].w));
    assert_int_equal(waitq_count(&b.q), 2);
}

/* 300 bytes a turn on the average: three of a's frames for one of b's. */
static void test_large_frames_get_fewer_turns(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0, 1000000);
    b.c[0].bytes = 100;
    b.c[1].bytes = 300;
    b.c[0].left = b.c[1].left = 80;
    enter(&b, 2);
    waitq_fire(&b.q, 80, MONO_S);
    assert_in_range(b.c[0].granted, 59, 61);
    assert_in_range(b.c[1].granted, 19, 21);
}

/* One frame of 2^39 bytes, then so many small ones that the quantum is a byte again: by single
 * steps the debt would take 2^39 rounds. */
static void test_a_debt_of_many_rounds_is_skipped_in_one_step(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0, INT64_C(1) << 40);
    b.c[0].bytes = UINT64_C(1) << 39;
    b.c[0].left = 2;
    b.c[1].bytes = 1;
    b.c[1].left = 80;
    waitq_enter(&b.q, &b.c[1].w, 0);
    waitq_enter(&b.q, &b.c[0].w, 0);
    assert_int_equal(waitq_fire(&b.q, 81, MONO_S), 81);
    b.c[2].bytes = 1;
    b.c[2].left = 400; /* alone but for the one in debt */
    waitq_enter(&b.q, &b.c[2].w, MONO_S);
    assert_int_equal(waitq_fire(&b.q, 400, 2 * MONO_S), 400);
    assert_int_equal(b.c[2].granted, 400);
    assert_int_equal(waitq_fire(&b.q, 10, 4 * MONO_S), 1);
    assert_int_equal(b.c[0].granted, 2);
}

static enum waiter_result lacks_another(struct child *c, int64_t now_ns)
{
    (void)c, (void)now_ns;
    return WAITER_ELSEWHERE;
}

static void test_a_grant_that_cannot_be_used_passes_on_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 10, 0);
    b.c[0].instead = lacks_another;
    enter(&b, 2);
    assert_int_equal(waitq_fire(&b.q, 100, 100 * MONO_MS), 1);
    assert_string_equal(b.order, "b");
    assert_false(waiter_waits(&b.c[0].w));
    b.c[0].instead = NULL;
    waitq_enter(&b.q, &b.c[0].w, 100 * MONO_MS); /* nothing was charged: its turn is still due */
    waitq_fire(&b.q, 100, 300 * MONO_MS);
    assert_string_equal(b.order, "bab");
}

static enum waiter_result closes_all(struct child *c, int64_t now_ns)
{
    for (int i = 0; i < 5; i++)
        waitq_leave(&c->bench->c[i].w, now_ns);
    memset(&c->w, 0xff, sizeof c->w); /* as good as freed */
    return WAITER_DONE;
}

static enum waiter_result closes_the_next(struct child *c, int64_t now_ns)
{
    waitq_leave(&c[1].w, now_ns);
    c->instead = NULL;
    tg_limit_charge(&c->bench->scope.limit, 1, c->bytes, now_ns);
    return WAITER_SENT;
}

static void test_leaving_during_a_grant_is_safe(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 10, 0);
    enter(&b, 5);
    b.c[0].instead = closes_the_next;
    waitq_fire(&b.q, 2, MONO_S);
    assert_string_equal(b.order, "c");
    b.c[3].instead = closes_all;
    assert_int_equal(waitq_fire(&b.q, 5, MONO_S), 1);
    assert_int_equal(waitq_count(&b.q), 0);
    assert_int_equal(b.timer_ns, MONO_NEVER);
}

static void test_a_changed_limit_rearms_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 1, 0);
    enter(&b, 3); /* it owes nine tenths of a message */
    assert_int_equal(b.timer_ns, 900 * MONO_MS + 1);
    set_limit(&b, 100, 0);
    assert_int_equal(b.timer_ns, 9 * MONO_MS + 1);
    set_limit(&b, 1, 0);
    assert_int_equal(b.timer_ns, 900 * MONO_MS + 1);
    set_limit(&b, 0, 5);
    assert_int_equal(b.timer_ns, 5);
    assert_int_equal(waitq_fire(&b.q, 4, 5), 4);
    assert_string_equal(b.order, "abca");
    assert_int_equal(waitq_fire(&b.q, 100, 5), 26);
    assert_int_equal(b.timer_ns, MONO_NEVER);
    set_limit(&b, 1, 5); /* nobody waits: nothing to arm */
    assert_int_equal(b.timer_ns, MONO_NEVER);
}

/* c sends large frames. Leaving and entering again after each, of itself or since it has no more,
 * gains it nothing, and costs it nothing: all goes as if it had stayed. */
static void leaving_is_like_staying(bool by_itself)
{
    struct bench stays, leaves;
    bench_init(&stays, 0, 1000000);
    bench_init(&leaves, 0, 1000000);
    for (int i = 0; i < 3; i++)
        stays.c[i].left = leaves.c[i].left = 1000;
    stays.c[2].bytes = leaves.c[2].bytes = 1000;
    enter(&stays, 3);
    enter(&leaves, 3);
    for (int i = 0; i < 90; i++) {
        uint32_t before = leaves.c[2].granted;
        if (!by_itself)
            leaves.c[2].left = 1;
        waitq_fire(&stays.q, 1, MONO_S);
        waitq_fire(&leaves.q, 1, MONO_S);
        if (leaves.c[2].granted > before) {
            assert_int_equal(waiter_waits(&leaves.c[2].w), by_itself);
            waitq_leave(&leaves.c[2].w, MONO_S);
            waitq_enter(&leaves.q, &leaves.c[2].w, MONO_S);
        }
    }
    assert_string_equal(leaves.order, stays.order);
    assert_in_range(stays.c[2].granted, 3, 6);
}

static void test_leaving_and_entering_is_like_staying(void **state)
{
    (void)state;
    leaving_is_like_staying(true);
    leaving_is_like_staying(false);
}

/* Leaves <b> with nobody in line, and c[0] 9999 bytes ahead of its share. */
static void leave_a_debt(struct bench *b)
{
    bench_init(b, 0, 10000);
    b->c[0].bytes = 10000;
    b->c[0].left = b->c[1].left = 1;
    waitq_enter(&b->q, &b->c[1].w, 0);
    waitq_enter(&b->q, &b->c[0].w, 0);
    assert_int_equal(waitq_fire(&b->q, 2, MONO_S), 2);
    assert_int_equal(b->q.line.count, 0);
}

static void test_a_debt_is_worked_off_while_nobody_waits(void **state)
{
    (void)state;
    struct bench b;
    leave_a_debt(&b);
    waitq_enter(&b.q, &b.c[0].w, MONO_S);
    assert_int_equal(b.c[0].w.node.deficit, 1 - 10000);
    leave_a_debt(&b);
    waitq_enter(&b.q, &b.c[0].w, MONO_S + 500 * MONO_MS);
    assert_int_equal(b.c[0].w.node.deficit, 1 - 10000 + 5000);
    leave_a_debt(&b);
    waitq_enter(&b.q, &b.c[0].w, 2 * MONO_S);
    assert_int_equal(b.c[0].w.node.deficit, 1);
}

static void test_a_debt_is_worked_off_while_others_are_served(void **state)
{
    (void)state;
    struct bench b;
    leave_a_debt(&b);
    b.c[2].bytes = 10000; /* alone: what it owes is paid off by skipped rounds */
    waitq_enter(&b.q, &b.c[2].w, MONO_S);
    assert_int_equal(waitq_fire(&b.q, 1, 10 * MONO_S), 1);
    assert_int_equal(waitq_fire(&b.q, 1, 20 * MONO_S), 1);
    waitq_enter(&b.q, &b.c[0].w, 20 * MONO_S);
    assert_true(b.c[0].w.node.deficit > 0);
}

/* Debts in bytes are no debts in messages: all begin again, where they stand. */
static void test_a_limit_in_another_unit_begins_anew(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0, 1000000);
    b.c[0].bytes = 100000;
    enter(&b, 3);
    waitq_fire(&b.q, 1, MONO_MS);
    waitq_fire(&b.q, 3, MONO_S);
    assert_string_equal(b.order, "abcb"); /* a owes */
    set_limit(&b, 1000, MONO_S);
    assert_int_equal(waitq_fire(&b.q, 6, 2 * MONO_S), 6);
    assert_string_equal(b.order, "abcbbcabca");
}

static void test_the_longest_wait_is_since_entry_or_the_last_grant(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 10, 0);
    assert_int_equal(waitq_longest_wait_ns(&b.q, MONO_S), 0);
    waitq_enter(&b.q, &b.c[0].w, 0);
    waitq_enter(&b.q, &b.c[1].w, 30 * MONO_MS);
    assert_int_equal(waitq_longest_wait_ns(&b.q, 90 * MONO_MS), 90 * MONO_MS);
    waitq_fire(&b.q, 10, 100 * MONO_MS);
    assert_int_equal(waitq_longest_wait_ns(&b.q, 130 * MONO_MS), 100 * MONO_MS);
}

static void test_who_comes_below_its_share_goes_next(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 10, 0);
    enter(&b, 3);
    waitq_fire(&b.q, 4, 400 * MONO_MS);
    waitq_enter(&b.q, &b.c[3].w, 400 * MONO_MS); /* before b and c, ... */
    waitq_enter(&b.q, &b.c[4].w, 400 * MONO_MS); /* in the order in which they come, */
    waitq_fire(&b.q, 2, 600 * MONO_MS);
    waitq_leave(&b.c[3].w, 600 * MONO_MS);
    waitq_enter(&b.q, &b.c[3].w, 600 * MONO_MS); /* once in a round */
    waitq_fire(&b.q, 5, 1100 * MONO_MS);
    assert_string_equal(b.order, "abcadebcaed");
}

/* ---- held up by what lies above ---- */

static enum waiter_result held_up(struct child *c, int64_t now_ns)
{
    (void)c, (void)now_ns;
    return WAITER_UPSTREAM;
}

static enum waiter_result held_up_and_kicked(struct child *c, int64_t now_ns)
{
    waitq_kick(&c->bench->q, now_ns);
    c->instead = NULL;
    return WAITER_UPSTREAM;
}

static void test_a_sleeping_queue_grants_nothing_until_it_is_kicked(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 10, 0);
    enter(&b, 3);
    waitq_fire(&b.q, 1, 100 * MONO_MS);
    b.c[1].instead = held_up;
    assert_int_equal(waitq_fire(&b.q, 10, 400 * MONO_MS), 0);
    assert_true(b.q.asleep);
    assert_int_equal(b.timer_ns, MONO_NEVER);
    set_limit(&b, 20, 400 * MONO_MS); /* a change of the scope's own limit wakes nobody */
    assert_int_equal(b.timer_ns, MONO_NEVER);
    assert_int_equal(waitq_fire(&b.q, 10, 400 * MONO_MS), 0);
    b.c[1].instead = NULL;
    waitq_kick(&b.q, 400 * MONO_MS);
    assert_int_equal(b.timer_ns, 400 * MONO_MS);
    assert_int_equal(waitq_fire(&b.q, 3, 400 * MONO_MS), 3);
    assert_string_equal(b.order, "abca"); /* the head has kept its turn */
}

static void test_a_kick_during_the_grant_is_not_lost(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 10, 0);
    enter(&b, 2);
    b.c[0].instead = held_up_and_kicked;
    assert_int_equal(waitq_fire(&b.q, 3, 200 * MONO_MS), 2);
    assert_string_equal(b.order, "ab");
}

static void test_an_empty_queue_does_not_sleep(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 10, 0);
    enter(&b, 1);
    waitq_sleep(&b.q);
    assert_int_equal(b.timer_ns, MONO_NEVER);
    waitq_enter(&b.q, &b.c[1].w, 0); /* who comes while it sleeps sleeps, too */
    assert_int_equal(b.timer_ns, MONO_NEVER);
    waitq_leave(&b.c[0].w, 0);
    waitq_leave(&b.c[1].w, 0);
    assert_false(b.q.asleep);
    enter(&b, 1);
    assert_true(b.timer_ns != MONO_NEVER);
}

static void test_must_wait_at_the_narrowest_or_behind_others(void **state)
{
    (void)state;
    struct bench topic, ns;
    struct path path = {0};
    bench_init(&topic, 10, 0);
    bench_init(&ns, 10, 0);
    ns.scope.kind = SCOPE_NAMESPACE;
    path_add(&path, &topic.scope);
    path_add(&path, &ns.scope);
    assert_ptr_equal(waitq_must_wait(&path, NULL, 0), &topic.scope);
    assert_null(waitq_must_wait(&path, NULL, MONO_S));

    waitq_enter(&ns.q, &ns.c[0].w, 0); /* others are in line at the namespace */
    assert_ptr_equal(waitq_must_wait(&path, NULL, MONO_S), &ns.scope);
    waitq_enter(&topic.q, &topic.c[0].w, 0);
    assert_ptr_equal(waitq_must_wait(&path, NULL, MONO_S), &topic.scope);
    /* Who has the turn at the topic still goes behind them at the namespace, ... */
    assert_ptr_equal(waitq_must_wait(&path, &topic.c[0].w, MONO_S), &ns.scope);
    /* ... and who has it there has passed the topic's line already. */
    assert_null(waitq_must_wait(&path, &ns.c[0].w, MONO_S));
    waitq_leave(&topic.c[0].w, 0);
    waitq_leave(&ns.c[0].w, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_timer_is_armed_while_somebody_waits),
        cmocka_unit_test(test_leaving_no_queue_is_nothing),
        cmocka_unit_test(test_only_what_has_accrued_is_handed_out),
        cmocka_unit_test(test_the_budget_bounds_a_call),
        cmocka_unit_test(test_whoever_has_nothing_more_leaves),
        cmocka_unit_test(test_large_frames_get_fewer_turns),
        cmocka_unit_test(test_a_debt_of_many_rounds_is_skipped_in_one_step),
        cmocka_unit_test(test_a_grant_that_cannot_be_used_passes_on_at_once),
        cmocka_unit_test(test_leaving_during_a_grant_is_safe),
        cmocka_unit_test(test_a_changed_limit_rearms_at_once),
        cmocka_unit_test(test_leaving_and_entering_is_like_staying),
        cmocka_unit_test(test_a_debt_is_worked_off_while_nobody_waits),
        cmocka_unit_test(test_a_debt_is_worked_off_while_others_are_served),
        cmocka_unit_test(test_a_limit_in_another_unit_begins_anew),
        cmocka_unit_test(test_the_longest_wait_is_since_entry_or_the_last_grant),
        cmocka_unit_test(test_who_comes_below_its_share_goes_next),
        cmocka_unit_test(test_a_sleeping_queue_grants_nothing_until_it_is_kicked),
        cmocka_unit_test(test_a_kick_during_the_grant_is_not_lost),
        cmocka_unit_test(test_an_empty_queue_does_not_sleep),
        cmocka_unit_test(test_must_wait_at_the_narrowest_or_behind_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
