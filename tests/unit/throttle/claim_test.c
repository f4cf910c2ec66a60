#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/mono.h"
#include "throttle/claim.h"

/* A topic with its claim; the test is the home and the post. */
struct bench {
    struct claim claim; /* first */
    struct quota broker, ns;
    struct quota_chain chain;
    struct quota_worker w;
    struct claim_letter *posted[4]; /* at the home or on its way there, the oldest first */
    int count, released;
};

static void post_home(struct claim_letter *l)
{
    struct bench *b = (struct bench *)l->claim;
    assert_true(b->count < 4);
    b->posted[b->count++] = l;
}

static void released(struct claim *c)
{
    ((struct bench *)c)->released++;
}

static const struct claim_ops ops = {.post_home = post_home, .released = released};

static void bench_init(struct bench *b)
{
    struct tg_limit_spec spec = {.msgs.rate = 100};
    memset(b, 0, sizeof *b);
    quota_init(&b->broker, SCOPE_BROKER, "broker", 1, 1);
    quota_init(&b->ns, SCOPE_NAMESPACE, "t/n", 1, 1);
    quota_chain_add_around(&b->chain, &b->ns);
    quota_chain_add_around(&b->chain, &b->broker);
    quota_set_limit(&b->broker, &spec, LIMIT_FROM_BROKER, 10, 0);
    claim_init(&b->claim, &ops, &b->chain, 1);
}

static void bench_fini(struct bench *b)
{
    quota_fini(&b->ns);
    quota_fini(&b->broker);
}

static struct claim_letter *take_letter(struct bench *b, enum claim_letter_kind kind)
{
    assert_true(b->count > 0);
    struct claim_letter *l = b->posted[0];
    assert_int_equal(l->kind, kind);
    memmove(b->posted, b->posted + 1, sizeof b->posted - sizeof b->posted[0]);
    b->count--;
    return l;
}

static void ask(struct bench *b, uint64_t head, uint64_t demand)
{
    claim_ask(&b->claim, &b->broker, (struct claim_amount){head, 100 * head},
              (struct claim_amount){demand, 100 * demand});
}

/* As the home does. 0: nothing. */
static bool answer(struct bench *b, uint64_t msgs, bool once)
{
    struct claim_letter *l = take_letter(b, CLAIM_ASK);
    for (uint32_t i = 0; i < b->claim.levels; i++)
        b->claim.level[i].changes = quota_changes(b->claim.level[i].quota);
    b->claim.granted = (struct claim_amount){msgs, msgs ? UINT64_MAX : 0};
    b->claim.once = once;
    return claim_received(l);
}

static bool may_send(struct bench *b, uint64_t msgs)
{
    return !claim_lacking(&b->claim, &b->chain, &b->w, msgs, 100 * msgs, 0);
}

static void send_frame(struct bench *b, uint64_t msgs)
{
    assert_true(may_send(b, msgs));
    claim_charge(&b->claim, &b->chain, &b->w, msgs, 100 * msgs, 0);
}

/* So that only credit can admit anything. */
static void make_binding(struct bench *b)
{
    tg_shared_limit_set_binding(&b->broker.limit, true);
}

static void test_before_it_asks_leases_are_used(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    send_frame(&b, 1);
    assert_null(claim_lacking(NULL, &b.chain, &b.w, 1, 100, 0)); /* a topic without a claim, too */
    claim_charge(NULL, &b.chain, &b.w, 1, 100, 0);
    quota_leases_return(&b.w, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&b.broker.limit, 0), 8);
    assert_int_equal(b.count, 0);
    bench_fini(&b);
}

static void test_while_asked_nothing_passes_and_the_binding_quota_is_known(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    assert_null(claim_binding(&b.claim));
    ask(&b, 1, 5);
    assert_int_equal(b.claim.state, CLAIM_ASKED);
    ask(&b, 1, 7); /* once is enough */
    assert_int_equal(b.count, 1);
    assert_int_equal(b.claim.demand.msgs, 5);
    assert_ptr_equal(claim_lacking(&b.claim, &b.chain, &b.w, 1, 100, 0), &b.broker);
    atomic_store(&b.claim.waits_at, &b.ns); /* the home says where it stands */
    assert_ptr_equal(claim_binding(&b.claim), &b.ns);
    answer(&b, 0, false);
    assert_int_equal(b.claim.state, CLAIM_IDLE);
    bench_fini(&b);
}

static void test_credit_is_spent_frame_by_frame_and_the_rest_goes_along(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    make_binding(&b);
    ask(&b, 2, 10);
    assert_false(b.posted[0]->settles);
    assert_true(answer(&b, 5, false));
    assert_int_equal(b.claim.state, CLAIM_GRANTED);
    send_frame(&b, 2);
    send_frame(&b, 1);
    assert_false(may_send(&b, 3));
    ask(&b, 3, 8);
    assert_true(b.posted[0]->settles);
    assert_int_equal(b.posted[0]->unspent.msgs, 2);
    assert_int_equal(b.posted[0]->unspent.bytes, 0); /* not limited, not counted */
    answer(&b, 3, false);
    send_frame(&b, 3);
    ask(&b, 1, 1);
    assert_true(b.posted[0]->settles); /* also when all was spent: until then it counts as lent */
    assert_int_equal(b.posted[0]->unspent.msgs, 0);
    bench_fini(&b);
}

static void test_overdrawn_credit_is_good_for_one_frame(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    make_binding(&b);
    ask(&b, 5, 10);
    answer(&b, 5, true);
    assert_false(may_send(&b, 6));
    send_frame(&b, 3);
    assert_false(may_send(&b, 1));
    claim_release(&b.claim);
    assert_int_equal(take_letter(&b, CLAIM_NOTE)->unspent.msgs, 2);
    bench_fini(&b);
}

static void test_a_change_of_any_limit_voids_credit(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    make_binding(&b);
    ask(&b, 1, 10);
    answer(&b, 10, false);
    send_frame(&b, 1);
    struct tg_limit_spec spec = {.bytes.rate = 1000};
    quota_set_limit(&b.ns, &spec, LIMIT_FROM_NAMESPACE, 10, 0);
    assert_false(may_send(&b, 1));
    ask(&b, 1, 9);
    assert_int_equal(b.posted[0]->unspent.msgs, 9);
    answer(&b, 9, false);
    send_frame(&b, 1);
    bench_fini(&b);
}

static void test_release_gives_back_by_the_note(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    claim_release(&b.claim); /* nothing to give back */
    assert_int_equal(b.count, 0);
    ask(&b, 1, 10);
    claim_release(&b.claim); /* nor while asked */
    assert_int_equal(b.count, 1);
    answer(&b, 4, false);
    claim_release(&b.claim);
    assert_int_equal(b.claim.state, CLAIM_IDLE);
    struct claim_letter *note = take_letter(&b, CLAIM_NOTE);
    assert_true(note->settles && !note->withdraws);
    assert_int_equal(note->unspent.msgs, 4);
    ask(&b, 1, 1); /* need not wait for the note */
    assert_false(b.posted[0]->settles);
    assert_true(claim_received(note));
    answer(&b, 1, false);
    assert_int_equal(b.count, 0);
    bench_fini(&b);
}

static void test_withdraw_is_sent_once_and_the_answer_ends_it(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    claim_withdraw(&b.claim); /* nothing is asked */
    assert_int_equal(b.count, 0);
    ask(&b, 1, 1);
    claim_withdraw(&b.claim);
    claim_withdraw(&b.claim);
    assert_int_equal(b.count, 2);
    assert_true(b.posted[1]->withdraws && !b.posted[1]->settles);
    answer(&b, 0, false);
    assert_int_equal(b.claim.state, CLAIM_IDLE);
    ask(&b, 1, 1); /* with the note still out */
    struct claim_letter *note = take_letter(&b, CLAIM_NOTE);
    claim_withdraw(&b.claim);
    assert_int_equal(b.count, 1); /* due, when the note is back */
    claim_received(note);
    assert_int_equal(b.count, 2);
    assert_true(b.posted[1]->withdraws);
    bench_fini(&b);
}

/* The answer was on its way: the credit is there, and goes back when the note is. */
static void test_an_answer_that_crosses_the_withdrawal(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    ask(&b, 1, 5);
    claim_withdraw(&b.claim);
    answer(&b, 5, false);
    assert_int_equal(b.claim.state, CLAIM_GRANTED);
    claim_release(&b.claim);
    assert_int_equal(b.claim.state, CLAIM_GRANTED); /* the note is out */
    struct claim_letter *note = take_letter(&b, CLAIM_NOTE);
    assert_int_equal(b.count, 0);
    claim_received(note);
    assert_int_equal(b.claim.state, CLAIM_IDLE);
    assert_true(b.posted[0]->settles);
    assert_int_equal(b.posted[0]->unspent.msgs, 5);
    bench_fini(&b);
}

static void test_asking_again_takes_the_due_release_along(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    ask(&b, 1, 5);
    claim_withdraw(&b.claim);
    answer(&b, 5, false);
    claim_release(&b.claim); /* due */
    ask(&b, 7, 7);
    struct claim_letter *note = take_letter(&b, CLAIM_NOTE);
    assert_int_equal(b.posted[0]->unspent.msgs, 5);
    claim_received(note);
    assert_int_equal(b.count, 1); /* nothing is left to release */
    answer(&b, 7, false);
    assert_int_equal(b.claim.state, CLAIM_GRANTED);
    bench_fini(&b);
}

/* Closed in every state: released exactly once, when all letters are back. */
static void test_closing_in_every_state(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    claim_close(&b.claim); /* idle */
    assert_int_equal(b.released, 1);
    bench_fini(&b);

    bench_init(&b);
    ask(&b, 1, 5);
    claim_close(&b.claim); /* asked */
    assert_int_equal(b.released, 0);
    assert_false(answer(&b, 0, false));
    assert_int_equal(b.released, 0);
    assert_false(claim_received(take_letter(&b, CLAIM_NOTE)));
    assert_int_equal(b.released, 1);
    bench_fini(&b);

    bench_init(&b);
    ask(&b, 1, 5);
    answer(&b, 5, false);
    claim_close(&b.claim); /* granted */
    struct claim_letter *note = take_letter(&b, CLAIM_NOTE);
    assert_int_equal(note->unspent.msgs, 5);
    assert_int_equal(b.released, 0);
    assert_false(claim_received(note));
    assert_int_equal(b.released, 1);
    bench_fini(&b);

    bench_init(&b);
    ask(&b, 1, 5);
    claim_withdraw(&b.claim);
    claim_close(&b.claim); /* withdrawn, and the answer crosses with credit */
    assert_int_equal(b.count, 2);
    assert_false(answer(&b, 5, false));
    note = take_letter(&b, CLAIM_NOTE);
    assert_false(claim_received(note));
    note = take_letter(&b, CLAIM_NOTE);
    assert_int_equal(note->unspent.msgs, 5);
    assert_false(claim_received(note));
    assert_int_equal(b.released, 1);
    assert_int_equal(b.count, 0);
    bench_fini(&b);

    bench_init(&b);
    ask(&b, 1, 5);
    answer(&b, 5, false);
    claim_release(&b.claim);
    ask(&b, 1, 5);
    claim_close(&b.claim); /* asked, with the note out for a release */
    note = take_letter(&b, CLAIM_NOTE);
    assert_false(claim_received(note)); /* the withdrawal follows */
    assert_int_equal(b.count, 2);
    assert_false(answer(&b, 0, false));
    assert_false(claim_received(take_letter(&b, CLAIM_NOTE)));
    assert_int_equal(b.released, 1);
    bench_fini(&b);
}

static void test_a_topics_own_limit_bounds_what_it_asks_for(void **state)
{
    (void)state;
    struct scope scope;
    struct path path = {0};
    struct claim_amount head = {2, 300}, demand = {1000, 100000};
    struct tg_limit_spec spec = {.msgs.rate = 100, .bytes.rate = 1000};
    scope_init(&scope, SCOPE_TOPIC, "x");
    path_add(&path, &scope);
    struct claim_amount d = claim_bound_demand(&path, head, demand, 0);
    assert_int_equal(d.msgs, 1000);
    assert_int_equal(d.bytes, 100000);
    scope_set_limit(&scope, &spec, LIMIT_FROM_TOPIC, 10, 0);
    d = claim_bound_demand(&path, head, demand, 0);
    assert_int_equal(d.msgs, 10);
    assert_int_equal(d.bytes, 300); /* at least the head frame, which may overdraw */
    tg_limit_charge(&scope.limit, 50, 5000, 0);
    d = claim_bound_demand(&path, head, demand, 0);
    assert_int_equal(d.msgs, 2);
}

/* ---- with the topic's queue ---- */

static void no_cost(struct waiter *w, uint64_t *msgs, uint64_t *bytes)
{
    (void)w;
    *msgs = *bytes = 1;
}

static void no_timer(void *ctx, int64_t deadline_ns)
{
    (void)ctx, (void)deadline_ns;
}

static void test_the_queue_gives_back_what_it_cannot_use(void **state)
{
    (void)state;
    static const struct waitq_ops queue_ops = {.cost = no_cost, .arm = no_timer};
    struct bench b;
    struct scope scope;
    struct waitq q;
    struct waiter w;
    struct tg_limit_spec spec = {.msgs.rate = 10};
    bench_init(&b);
    scope_init(&scope, SCOPE_TOPIC, "x");
    waitq_init(&q, &scope, &queue_ops, NULL);
    waiter_init(&w, 1);

    waitq_enter(&q, &w, 0);
    waitq_sleep(&q);
    ask(&b, 1, 5);
    claim_queue_ran(&b.claim, &q, 0); /* asked, and somebody waits: nothing to do */
    assert_int_equal(b.count, 1);
    answer(&b, 5, false);
    waitq_kick(&q, 0);
    claim_queue_ran(&b.claim, &q, 0); /* it will use it */
    assert_int_equal(b.claim.state, CLAIM_GRANTED);

    scope_set_limit(&scope, &spec, LIMIT_FROM_TOPIC, 10, 0);
    tg_limit_charge(&scope.limit, 20, 0, 0);
    claim_queue_ran(&b.claim, &q, 0); /* its own limit binds */
    assert_int_equal(b.claim.state, CLAIM_IDLE);
    claim_received(take_letter(&b, CLAIM_NOTE));

    ask(&b, 1, 5);
    waitq_leave(&w, 0);
    claim_queue_ran(&b.claim, &q, 0); /* nobody waits */
    assert_int_equal(b.count, 2);
    assert_true(b.posted[1]->withdraws);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_it_asks_leases_are_used),
        cmocka_unit_test(test_while_asked_nothing_passes_and_the_binding_quota_is_known),
        cmocka_unit_test(test_credit_is_spent_frame_by_frame_and_the_rest_goes_along),
        cmocka_unit_test(test_overdrawn_credit_is_good_for_one_frame),
        cmocka_unit_test(test_a_change_of_any_limit_voids_credit),
        cmocka_unit_test(test_release_gives_back_by_the_note),
        cmocka_unit_test(test_withdraw_is_sent_once_and_the_answer_ends_it),
        cmocka_unit_test(test_an_answer_that_crosses_the_withdrawal),
        cmocka_unit_test(test_asking_again_takes_the_due_release_along),
        cmocka_unit_test(test_closing_in_every_state),
        cmocka_unit_test(test_a_topics_own_limit_bounds_what_it_asks_for),
        cmocka_unit_test(test_the_queue_gives_back_what_it_cannot_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
