#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/mono.h"
#include "throttle/home.h"

/* A broker with a tenant of two namespaces, and claims of topics: a and b in the first, c and d in
 * the second. The test carries the letters. Time begins at 1 s. */
enum { CLAIMS = 4, BROKER = 0, TENANT, NS0, NS1, QUOTAS };

struct bench {
    struct claim claim[CLAIMS];
    struct quota quota[QUOTAS];
    int64_t timer_ns[QUOTAS];
    struct home home;
    int64_t now_ns;
    struct claim_letter *back[8]; /* answered, the oldest first */
    int count;
    char order[20]; /* of the first claims answered, by letter */
};

static struct bench *bench_of; /* the running test's */

static void post_home(struct claim_letter *l)
{
    home_receive(&bench_of->home, l, bench_of->now_ns);
}

static void released(struct claim *c)
{
    (void)c;
}

static const struct claim_ops claim_ops = {.post_home = post_home, .released = released};

static void post_back(void *ctx, struct claim_letter *l)
{
    struct bench *b = ctx;
    assert_true(b->count < 8);
    b->back[b->count++] = l;
    if (l->kind == CLAIM_ASK && strlen(b->order) + 1 < sizeof b->order)
        b->order[strlen(b->order)] = (char)('a' + (l->claim - b->claim));
}

static void arm(void *ctx, struct quota *q, int64_t deadline_ns)
{
    struct bench *b = ctx;
    b->timer_ns[q - b->quota] = deadline_ns;
}

static const struct home_ops home_ops = {.post_back = post_back, .arm = arm};

static void bench_init(struct bench *b)
{
    memset(b, 0, sizeof *b);
    bench_of = b;
    b->now_ns = MONO_S;
    home_init(&b->home, &home_ops, b);
    quota_init(&b->quota[BROKER], SCOPE_BROKER, "broker", 1, 1);
    quota_init(&b->quota[TENANT], SCOPE_TENANT, "t", 1, 1);
    for (int i = NS0; i <= NS1; i++)
        quota_init(&b->quota[i], SCOPE_NAMESPACE, "t/n", 1, 1);
    for (int i = 0; i < QUOTAS; i++)
        b->timer_ns[i] = MONO_NEVER;
    for (int i = 0; i < CLAIMS; i++) {
        struct quota_chain chain = {0};
        quota_chain_add_around(&chain, &b->quota[NS0 + i / 2]);
        quota_chain_add_around(&chain, &b->quota[TENANT]);
        quota_chain_add_around(&chain, &b->quota[BROKER]);
        claim_init(&b->claim[i], &claim_ops, &chain, 1);
    }
}

static void set_limit(struct bench *b, int q, int64_t msgs, int64_t bytes)
{
    struct tg_limit_spec spec = {.msgs.rate = msgs, .bytes.rate = bytes};
    home_set_limit(&b->quota[q], &spec, LIMIT_FROM_BROKER, 10, b->now_ns);
}

/* A limit of <msgs> messages a second, which owes <debt>. */
static void set_debt(struct bench *b, int q, int64_t msgs, int64_t debt)
{
    set_limit(b, q, msgs, 0);
    uint64_t n = (uint64_t)(tg_shared_limit_balance_msgs(&b->quota[q].limit, b->now_ns) + debt);
    tg_shared_limit_grant(&b->quota[q].limit, n, 0, b->now_ns);
}

static void set_empty(struct bench *b, int q, int64_t msgs)
{
    set_debt(b, q, msgs, 0);
}

static int64_t balance(struct bench *b, int q)
{
    return tg_shared_limit_balance_msgs(&b->quota[q].limit, b->now_ns);
}

static void ask(struct bench *b, int i, uint64_t head, uint64_t demand)
{
    claim_ask(&b->claim[i], &b->quota[BROKER], (struct claim_amount){head, 10 * head},
              (struct claim_amount){demand, 10 * demand});
}

static void ask_all(struct bench *b, uint64_t head, uint64_t demand)
{
    for (int i = 0; i < CLAIMS; i++)
        ask(b, i, head, demand);
}

/* The oldest letter arrives at its topic. */
static struct claim *receive(struct bench *b)
{
    assert_true(b->count > 0);
    struct claim_letter *l = b->back[0];
    memmove(b->back, b->back + 1, sizeof b->back - sizeof b->back[0]);
    b->count--;
    claim_received(l);
    return l->claim;
}

static void fire(struct bench *b, int q, int64_t now_ns)
{
    b->now_ns = now_ns;
    b->timer_ns[q] = MONO_NEVER;
    home_fire(&b->home, &b->quota[q], 1000, now_ns);
}

static void spend_all(struct claim *c)
{
    c->left = (struct claim_amount){0, 0};
}

/* All letters come back, all claims are closed; nothing may be left. */
static void bench_fini(struct bench *b)
{
    for (int i = 0; i < CLAIMS; i++)
        claim_close(&b->claim[i]);
    while (b->count > 0)
        receive(b);
    for (int i = QUOTAS; i-- > 0;) {
        assert_false(tg_shared_limit_is_binding(&b->quota[i].limit));
        assert_int_equal(b->timer_ns[i], MONO_NEVER);
        assert_int_equal(b->quota[i].limit.shared.leased[0], 0);
        assert_int_equal(b->quota[i].limit.shared.leased[1], 0);
        home_forget(&b->quota[i]);
        quota_fini(&b->quota[i]);
    }
}

static void test_with_tokens_it_is_answered_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_limit(&b, BROKER, 1000, 0);
    ask(&b, 0, 5, 50);
    assert_int_equal(b.count, 1);
    assert_int_equal(receive(&b)->left.msgs, 5); /* a turn of 1/16 ms is less */
    assert_int_equal(b.claim[0].left.bytes, UINT64_MAX);
    assert_false(tg_shared_limit_is_binding(&b.quota[BROKER].limit));
    assert_int_equal(balance(&b, BROKER), 95);
    claim_release(&b.claim[0]);
    assert_int_equal(balance(&b, BROKER), 100); /* it was not spent */
    bench_fini(&b);
}

static void test_without_limits_credit_is_unlimited(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    ask(&b, 0, 5, 50);
    receive(&b);
    assert_int_equal(b.claim[0].left.msgs, UINT64_MAX);
    assert_int_equal(b.claim[0].left.bytes, UINT64_MAX);
    bench_fini(&b);
}

static void test_without_tokens_it_waits_and_the_quota_is_binding(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_empty(&b, BROKER, 10);
    ask(&b, 0, 3, 50);
    assert_int_equal(b.count, 0);
    assert_true(tg_shared_limit_is_binding(&b.quota[BROKER].limit));
    assert_false(tg_shared_limit_is_binding(&b.quota[NS0].limit));
    assert_ptr_equal(claim_binding(&b.claim[0]), &b.quota[BROKER]);
    assert_int_equal(claim_since_ns(&b.claim[0]), MONO_S);
    assert_int_equal(home_waiting(&b.quota[BROKER], MONO_S + 5).claims, 1);
    assert_int_equal(home_waiting(&b.quota[BROKER], MONO_S + 5).longest_ns, 5);
    assert_int_equal(b.timer_ns[BROKER], MONO_S + 1); /* above zero */
    fire(&b, BROKER, MONO_S);                         /* early: nothing yet */
    assert_int_equal(b.count, 0);
    fire(&b, BROKER, MONO_S + 250 * MONO_MS); /* two and a half: the head frame overdraws */
    assert_int_equal(receive(&b)->left.msgs, 3);
    assert_true(b.claim[0].once);
    assert_true(tg_shared_limit_is_binding(&b.quota[BROKER].limit)); /* it wants more */
    assert_int_equal(b.timer_ns[BROKER], MONO_NEVER);
    claim_release(&b.claim[0]);
    assert_false(tg_shared_limit_is_binding(&b.quota[BROKER].limit));
    bench_fini(&b);
}

static void test_all_that_has_accrued_is_handed_out_in_order(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_empty(&b, BROKER, 1000);
    ask_all(&b, 1, 100);
    fire(&b, BROKER, MONO_S + 40 * MONO_MS);
    assert_string_equal(b.order, "acbd"); /* namespaces in turn */
    for (int i = 0; i < 4; i++)
        assert_int_equal(receive(&b)->left.msgs, 10);
    assert_int_equal(balance(&b, BROKER), 0);
    bench_fini(&b);
}

static void test_after_handing_out_it_waits_for_those_who_want_more(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_empty(&b, BROKER, 100000);
    ask(&b, 0, 1, 10000);
    ask(&b, 2, 1, 10000);
    int64_t first_ns = MONO_S + 20 * MONO_MS;
    fire(&b, BROKER, first_ns);
    assert_string_equal(b.order, "ac");
    spend_all(receive(&b));
    ask(&b, 0, 1, 10000); /* the other is still out */
    assert_int_equal(b.timer_ns[BROKER], first_ns + HOME_PATIENCE_NS);
    spend_all(receive(&b));
    ask(&b, 2, 1, 10000); /* all are back */
    assert_int_equal(b.timer_ns[BROKER], first_ns + HOME_PACE_NS);
    fire(&b, BROKER, first_ns + HOME_PACE_NS);
    assert_int_equal(strlen(b.order), 4);
    bench_fini(&b);
}

static void test_who_comes_below_its_share_is_granted_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_empty(&b, BROKER, 100000);
    ask(&b, 0, 1, 1000);
    fire(&b, BROKER, MONO_S + MONO_MS);
    spend_all(receive(&b));
    ask(&b, 0, 1, 1000);
    assert_ptr_equal(claim_binding(&b.claim[0]), &b.quota[BROKER]);
    b.now_ns += MONO_MS / 2; /* fifty tokens; the next round is in half a millisecond */
    ask(&b, 2, 1, 1);
    assert_int_equal(b.order[strlen(b.order) - 1], 'c');
    assert_int_equal(b.claim[2].granted.msgs, 1);
    bench_fini(&b);
}

static void test_it_waits_at_the_narrowest_and_keeps_what_it_got_there(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_empty(&b, NS0, 100);
    set_empty(&b, BROKER, 10);
    ask(&b, 0, 1, 50);
    assert_ptr_equal(claim_binding(&b.claim[0]), &b.quota[NS0]);
    assert_int_equal(b.timer_ns[BROKER], MONO_NEVER);
    fire(&b, NS0, MONO_S + 50 * MONO_MS); /* five there; half of one at the broker */
    assert_int_equal(b.count, 1);
    assert_int_equal(receive(&b)->left.msgs, 1); /* so the broker's is overdrawn */
    assert_int_equal(balance(&b, NS0), 4);       /* and the rest went back */
    spend_all(&b.claim[0]);
    ask(&b, 0, 1, 50);
    assert_ptr_equal(claim_binding(&b.claim[0]), &b.quota[NS0]); /* it was expected there */
    fire(&b, NS0, MONO_S + 51 * MONO_MS);
    assert_ptr_equal(claim_binding(&b.claim[0]), &b.quota[BROKER]); /* now it is short */
    assert_int_equal(balance(&b, NS0), 0);                          /* kept: four */
    fire(&b, BROKER, MONO_S + 300 * MONO_MS);
    assert_int_equal(receive(&b)->left.msgs, 2);
    assert_int_equal(b.quota[NS0].limit.shared.leased[0], 2);
    bench_fini(&b);
}

/* ... and no more of it than a queue further out has granted. */
static void test_what_a_wider_quota_does_not_grant_goes_back_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_empty(&b, NS0, 100);
    set_debt(&b, TENANT, 10, 1);
    set_debt(&b, BROKER, 10, 5);
    ask(&b, 0, 1, 50);
    fire(&b, NS0, MONO_S + 50 * MONO_MS);
    assert_ptr_equal(claim_binding(&b.claim[0]), &b.quota[TENANT]);
    assert_int_equal(balance(&b, NS0), 0); /* five are kept */
    fire(&b, TENANT, MONO_S + 310 * MONO_MS);
    assert_ptr_equal(claim_binding(&b.claim[0]), &b.quota[BROKER]);
    assert_int_equal(b.quota[NS0].limit.shared.leased[0], 2);
    assert_int_equal(b.quota[TENANT].limit.shared.leased[0], 2);
    bench_fini(&b);
}

/* A worker had a token that it did not use when the topic of another found none: it is seen before
 * the next one would have come. */
static void test_a_lease_given_back_later_is_found(void **state)
{
    (void)state;
    struct bench b;
    struct quota_chain chain = {0};
    struct quota_worker w = {.index = 0};
    bench_init(&b);
    quota_chain_add_around(&chain, &b.quota[NS0]);
    quota_chain_add_around(&chain, &b.quota[TENANT]);
    quota_chain_add_around(&chain, &b.quota[BROKER]);
    set_limit(&b, BROKER, 10, 0); /* one is there */
    assert_null(quota_lacking(&chain, &w, 2, 20, b.now_ns));
    ask(&b, 2, 1, 1);
    assert_int_equal(b.count, 0);
    quota_leases_return(&w, b.now_ns + MONO_MS);
    assert_int_equal(b.timer_ns[BROKER], b.now_ns + HOME_PATIENCE_NS);
    fire(&b, BROKER, b.timer_ns[BROKER]);
    assert_string_equal(b.order, "c");
    bench_fini(&b);
}

/* Where it did not have to wait it holds nothing while it waits further out. */
static void test_nothing_is_held_of_a_quota_that_is_not_short(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_limit(&b, NS0, 1000, 0);
    set_empty(&b, BROKER, 100);
    ask(&b, 0, 1, 50);
    assert_int_equal(balance(&b, NS0), 100);
    fire(&b, BROKER, MONO_S + 50 * MONO_MS);
    assert_int_equal(receive(&b)->left.msgs, 5);
    assert_int_equal(b.quota[NS0].limit.shared.leased[0], 5);
    bench_fini(&b);
}

/* The namespace ran short while its topic waited at the broker: it waits there, and the turn passes
 * to the next at once. */
static void test_a_grant_that_cannot_be_used_passes_on(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_limit(&b, NS0, 10, 0);
    set_empty(&b, BROKER, 100);
    ask(&b, 0, 1, 5);
    ask(&b, 2, 1, 5);
    tg_shared_limit_grant(&b.quota[NS0].limit, 20, 0, b.now_ns); /* other topics' */
    fire(&b, BROKER, MONO_S + 20 * MONO_MS);
    assert_string_equal(b.order, "c");
    assert_int_equal(receive(&b)->left.msgs, 2);
    assert_ptr_equal(claim_binding(&b.claim[0]), &b.quota[NS0]);
    assert_int_equal(b.quota[BROKER].limit.shared.leased[0], 2);
    bench_fini(&b);
}

static void test_withdrawing_at_every_level(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_empty(&b, NS0, 100);
    set_debt(&b, BROKER, 10, 5);
    ask(&b, 0, 1, 50);
    claim_withdraw(&b.claim[0]); /* at the namespace */
    assert_int_equal(b.count, 2);
    assert_int_equal(receive(&b)->state, CLAIM_IDLE);
    receive(&b);
    assert_false(tg_shared_limit_is_binding(&b.quota[NS0].limit));
    assert_int_equal(b.timer_ns[NS0], MONO_NEVER);

    ask(&b, 0, 1, 50);
    fire(&b, NS0, MONO_S + 50 * MONO_MS);
    assert_ptr_equal(claim_binding(&b.claim[0]), &b.quota[BROKER]);
    assert_int_equal(balance(&b, NS0), 0);
    claim_withdraw(&b.claim[0]); /* at the broker */
    assert_int_equal(receive(&b)->state, CLAIM_IDLE);
    assert_int_equal(balance(&b, NS0), 5);
    assert_false(tg_shared_limit_is_binding(&b.quota[BROKER].limit));
    bench_fini(&b);
}

static void test_a_withdrawal_that_crosses_the_answer_changes_nothing(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_limit(&b, BROKER, 100, 0);
    ask(&b, 0, 1, 1);
    claim_withdraw(&b.claim[0]);
    assert_int_equal(b.count, 2);
    assert_int_equal(receive(&b)->left.msgs, 1);
    receive(&b);
    assert_int_equal(b.claim[0].state, CLAIM_GRANTED);
    bench_fini(&b);
}

static void test_a_changed_limit_rearms_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_debt(&b, BROKER, 1, 10);
    ask(&b, 0, 1, 3);
    b.now_ns += 20 * MONO_MS; /* leases that were out are back by now */
    int64_t owes = -balance(&b, BROKER);
    set_limit(&b, BROKER, 100, 0);
    assert_in_range(b.timer_ns[BROKER] - b.now_ns, (owes - 1) * 10 * MONO_MS, owes * 10 * MONO_MS);
    set_limit(&b, BROKER, 0, 0);
    assert_int_equal(b.timer_ns[BROKER], b.now_ns);
    fire(&b, BROKER, b.now_ns);
    assert_int_equal(receive(&b)->left.msgs, UINT64_MAX);
    bench_fini(&b);
}

static void test_after_a_removal_the_queue_runs_empty_in_order(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_debt(&b, BROKER, 1, 1);
    ask_all(&b, 1, 100);
    set_limit(&b, BROKER, 0, 0);
    home_fire(&b.home, &b.quota[BROKER], 3, b.now_ns); /* bounded */
    assert_string_equal(b.order, "acb");
    assert_int_equal(b.timer_ns[BROKER], b.now_ns);
    fire(&b, BROKER, b.now_ns);
    assert_string_equal(b.order, "acbd");
    assert_false(tg_shared_limit_is_binding(&b.quota[BROKER].limit));
    bench_fini(&b);
}

/* What was granted under no limit of bytes must not pass one that is set meanwhile. */
static void test_a_limit_set_while_it_waits_further_out_is_kept(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_empty(&b, NS0, 100);
    set_debt(&b, BROKER, 10, 2);
    ask(&b, 0, 1, 50);
    fire(&b, NS0, MONO_S + 50 * MONO_MS);
    set_limit(&b, NS0, 100, 1);
    tg_shared_limit_grant(&b.quota[NS0].limit, 0, 100, b.now_ns);
    fire(&b, BROKER, MONO_S + 400 * MONO_MS);
    assert_int_equal(b.count, 0);
    assert_ptr_equal(claim_binding(&b.claim[0]), &b.quota[NS0]);
    assert_int_equal(b.quota[BROKER].limit.shared.leased[0], 0);
    bench_fini(&b);
}

static void test_the_budget_bounds_a_call(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_empty(&b, BROKER, 1000);
    ask_all(&b, 1, 1);
    b.now_ns += 100 * MONO_MS;
    assert_int_equal(home_fire(&b.home, &b.quota[BROKER], 3, b.now_ns), 3);
    assert_int_equal(b.count, 3);
    assert_int_equal(b.timer_ns[BROKER], b.now_ns);
    b.timer_ns[BROKER] = MONO_NEVER;
    assert_int_equal(home_fire(&b.home, &b.quota[BROKER], 3, b.now_ns), 1);
    bench_fini(&b);
}

/* A topic with large frames next to one with small ones: turn by turn of the broker's bytes. */
static void test_costs_are_in_what_is_limited(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    set_limit(&b, BROKER, 0, 1000000);
    tg_shared_limit_grant(&b.quota[BROKER].limit, 0, 100000, b.now_ns);
    uint64_t got[2] = {0, 0};
    for (int i = 0; i < 200; i++) {
        claim_ask(&b.claim[0], &b.quota[BROKER], (struct claim_amount){1, 10000},
                  (struct claim_amount){100, 1000000});
        claim_ask(&b.claim[2], &b.quota[BROKER], (struct claim_amount){1, 100},
                  (struct claim_amount){1000, 100000});
        fire(&b, BROKER, b.now_ns + 10 * MONO_MS);
        while (b.count > 0) {
            struct claim *c = receive(&b);
            got[c == &b.claim[2]] += c->left.bytes;
            spend_all(c);
        }
    }
    assert_in_range(got[0], 980000, 1020000);
    assert_in_range(got[1], 980000, 1020000);
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_tokens_it_is_answered_at_once),
        cmocka_unit_test(test_without_limits_credit_is_unlimited),
        cmocka_unit_test(test_without_tokens_it_waits_and_the_quota_is_binding),
        cmocka_unit_test(test_all_that_has_accrued_is_handed_out_in_order),
        cmocka_unit_test(test_after_handing_out_it_waits_for_those_who_want_more),
        cmocka_unit_test(test_who_comes_below_its_share_is_granted_at_once),
        cmocka_unit_test(test_it_waits_at_the_narrowest_and_keeps_what_it_got_there),
        cmocka_unit_test(test_what_a_wider_quota_does_not_grant_goes_back_at_once),
        cmocka_unit_test(test_a_lease_given_back_later_is_found),
        cmocka_unit_test(test_nothing_is_held_of_a_quota_that_is_not_short),
        cmocka_unit_test(test_a_grant_that_cannot_be_used_passes_on),
        cmocka_unit_test(test_withdrawing_at_every_level),
        cmocka_unit_test(test_a_withdrawal_that_crosses_the_answer_changes_nothing),
        cmocka_unit_test(test_a_changed_limit_rearms_at_once),
        cmocka_unit_test(test_after_a_removal_the_queue_runs_empty_in_order),
        cmocka_unit_test(test_a_limit_set_while_it_waits_further_out_is_kept),
        cmocka_unit_test(test_the_budget_bounds_a_call),
        cmocka_unit_test(test_costs_are_in_what_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
