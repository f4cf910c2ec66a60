#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mono.h"
#include "quota/quota.h"

/* Two workers; a namespace in a tenant in a broker. */
struct tree {
    struct quota broker, tenant, ns;
    struct quota_chain chain;
    struct quota_worker w[2];
};

static void tree_init(struct tree *t)
{
    *t = (struct tree){.w = {{.index = 0}, {.index = 1}}};
    quota_init(&t->broker, SCOPE_BROKER, "broker", 1, 2);
    quota_init(&t->tenant, SCOPE_TENANT, "t", 1, 2);
    quota_init(&t->ns, SCOPE_NAMESPACE, "t/n", 1, 2);
    quota_chain_add_around(&t->chain, &t->ns);
    quota_chain_add_around(&t->chain, &t->tenant);
    quota_chain_add_around(&t->chain, &t->broker);
}

static void tree_fini(struct tree *t)
{
    quota_fini(&t->ns);
    quota_fini(&t->tenant);
    quota_fini(&t->broker);
}

/* With all of its burst, a second's worth. */
static bool set(struct quota *q, int64_t msgs, int64_t bytes, int64_t now_ns)
{
    struct tg_limit_spec spec = {.msgs.rate = msgs, .bytes.rate = bytes};
    return quota_set_limit(q, &spec, LIMIT_FROM_NAMESPACE, 100, now_ns);
}

static bool admit(struct tree *t, int worker, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    if (quota_lacking(&t->chain, &t->w[worker], msgs, bytes, now_ns))
        return false;
    quota_charge(&t->w[worker], msgs, bytes);
    return true;
}

static void end_turns(struct tree *t, int64_t now_ns)
{
    quota_leases_return(&t->w[0], now_ns);
    quota_leases_return(&t->w[1], now_ns);
}

static void test_without_limits_everything_passes_and_nothing_is_leased(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    const struct quota_chain none = {0};
    assert_true(quota_chain_has(&t.chain, &t.tenant));
    assert_false(quota_chain_has(&none, &t.tenant));
    assert_false(quota_is_set(&t.ns));
    assert_true(admit(&t, 0, 1000000, 1000000000, 0));
    assert_null(t.w[0].used);
    assert_null(quota_lacking(&none, &t.w[0], 1, 1, 0)); /* a topic without quotas */
    quota_charge(&t.w[0], 1, 1);
    tree_fini(&t);
}

static void test_a_frame_is_charged_to_every_quota(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    set(&t.broker, 100, 0, 0);
    set(&t.ns, 50, 5000, 0);
    assert_true(admit(&t, 0, 3, 100, 0));
    assert_true(admit(&t, 1, 4, 100, 0));
    end_turns(&t, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&t.broker.limit, 0), 93);
    assert_int_equal(tg_shared_limit_balance_msgs(&t.ns.limit, 0), 43);
    assert_int_equal(tg_shared_limit_balance_bytes(&t.ns.limit, 0), 4800);
    assert_null(t.w[0].used);
    tree_fini(&t);
}

static void test_the_narrowest_that_lacks_tokens_is_named_and_none_is_charged(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    set(&t.broker, 100, 0, 0);
    set(&t.tenant, 1, 0, 0);
    set(&t.ns, 50, 0, 0);
    assert_true(admit(&t, 0, 1, 1, 0));
    end_turns(&t, 0);
    assert_ptr_equal(quota_lacking(&t.chain, &t.w[1], 1, 1, 0), &t.tenant);
    /* At once, not only at the turn's end: the home is asked next. */
    assert_int_equal(tg_shared_limit_balance_msgs(&t.ns.limit, 0), 49);
    set(&t.ns, 0, 0, 0);
    set(&t.ns, 1, 0, 0);
    assert_null(quota_lacking(&t.chain, &t.w[1], 1, 1, MONO_S)); /* time has brought some */
    end_turns(&t, MONO_S);
    tree_fini(&t);
}

static void test_a_binding_quota_gives_workers_nothing(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    set(&t.broker, 100, 0, 0);
    tg_shared_limit_set_binding(&t.broker.limit, true);
    assert_ptr_equal(quota_lacking(&t.chain, &t.w[0], 1, 1, 0), &t.broker);
    tg_shared_limit_set_binding(&t.broker.limit, false);
    assert_true(admit(&t, 0, 1, 1, 0));
    end_turns(&t, 0);
    tree_fini(&t);
}

static void test_what_is_leased_ahead_comes_back_at_the_turns_end(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    set(&t.ns, 1000000, 0, 0);
    assert_true(admit(&t, 0, 1, 1, 0));
    assert_true(tg_shared_limit_balance_msgs(&t.ns.limit, 0) < 999999);
    end_turns(&t, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&t.ns.limit, 0), 999999);
    tree_fini(&t);
}

/* A turn each 100 us; the first comes long after all that was before. */
static void test_a_busy_worker_keeps_its_leases_for_a_millisecond(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    set(&t.ns, 1000000, 0, 0);
    int64_t now_ns = MONO_S, kept_until_ns = now_ns + 100 * MONO_US + MONO_MS;
    assert_true(admit(&t, 0, 1, 1, now_ns));
    assert_true(quota_turn_end(&t.w[0], now_ns) == MONO_NEVER);
    assert_int_equal(tg_shared_limit_balance_msgs(&t.ns.limit, now_ns), 999999);
    for (int i = 0; i < 10; i++) {
        now_ns += 100 * MONO_US;
        assert_true(admit(&t, 0, 100, 1, now_ns));
        assert_true(quota_turn_end(&t.w[0], now_ns) == kept_until_ns);
        assert_true(tg_shared_limit_balance_msgs(&t.ns.limit, now_ns) < 999901);
    }
    now_ns = kept_until_ns; /* the turn it asked for: idle, but for this */
    assert_true(quota_turn_end(&t.w[0], now_ns) == MONO_NEVER);
    assert_null(t.w[0].used);
    assert_true(quota_turn_end(&t.w[0], now_ns) == MONO_NEVER); /* there is none */
    tree_fini(&t);
}

static void test_nothing_is_kept_of_a_quota_that_binds_or_has_changed(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    set(&t.ns, 1000000, 0, 0);
    set(&t.broker, 1000000, 0, 0);
    int64_t now_ns = MONO_S;
    for (int change = 0; change < 3; change++) {
        now_ns += MONO_US;
        assert_true(admit(&t, 0, 1, 1, now_ns));
        end_turns(&t, now_ns);
        assert_true(admit(&t, 0, 1, 1, now_ns));
        assert_true(quota_turn_end(&t.w[0], now_ns) != MONO_NEVER);
        if (change == 0)
            tg_shared_limit_set_binding(&t.broker.limit, true);
        if (change == 1)
            set(&t.ns, 2000000, 0, now_ns);
        if (change == 2)
            set(&t.broker, 0, 0, now_ns);
        assert_true(quota_turn_end(&t.w[0], now_ns) == MONO_NEVER);
        assert_null(t.w[0].used);
        tg_shared_limit_set_binding(&t.broker.limit, false);
    }
    tree_fini(&t);
}

/* It was asked about, granted as the one message that may overdraw, and then not sent. */
static void test_what_is_for_one_message_only_is_not_kept(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    set(&t.ns, 100, 0, 0);
    end_turns(&t, MONO_S);
    assert_null(quota_lacking(&t.chain, &t.w[0], 500, 1, MONO_S));
    t.w[0].returned_ns = MONO_S;
    assert_true(quota_turn_end(&t.w[0], MONO_S) == MONO_NEVER);
    assert_int_equal(tg_shared_limit_balance_msgs(&t.ns.limit, MONO_S), 100);
    tree_fini(&t);
}

/* As many frames of <msgs> as one question lets pass, until none does; of a kilobyte each. */
static uint64_t spend_in_runs(struct tree *t, int worker, uint64_t msgs)
{
    uint64_t spent = 0;
    while (!quota_lacking(&t->chain, &t->w[worker], msgs, 1000, 0)) {
        uint64_t most_msgs = msgs, most_bytes = 1000, n = 1;
        quota_leased(&t->w[worker], &most_msgs, &most_bytes);
        while ((n + 1) * msgs <= most_msgs && (n + 1) * 1000 <= most_bytes)
            n++;
        quota_charge(&t->w[worker], n * msgs, n * 1000);
        spent += n * msgs;
    }
    return spent;
}

static void test_runs_of_what_is_leased_overdraw_by_less_than_a_frame(void **state)
{
    (void)state;
    for (uint64_t msgs = 1; msgs <= 7; msgs += 3) {
        struct tree t;
        tree_init(&t);
        set(&t.ns, 100000, 0, 0);
        set(&t.broker, 50000, 0, 0);
        uint64_t spent = spend_in_runs(&t, 0, msgs);
        quota_leases_return(&t.w[0], 0);
        spent += spend_in_runs(&t, 1, msgs);
        assert_in_range(spent, 50000, 50000 + msgs - 1);
        end_turns(&t, 0);
        assert_int_equal(tg_shared_limit_balance_msgs(&t.broker.limit, 0), 50000 - (int64_t)spent);
        assert_int_equal(tg_shared_limit_balance_msgs(&t.ns.limit, 0), 100000 - (int64_t)spent);
        tree_fini(&t);
    }
}

static void test_what_is_over_in_a_dry_run_is_counted_frame_by_frame(void **state)
{
    (void)state;
    struct tree t;
    uint64_t msgs = 1, bytes = 1;
    tree_init(&t);
    set(&t.ns, 10, 0, 0);
    quota_set_dry_run(&t.ns, true);
    assert_true(admit(&t, 0, 10, 1, 0));
    assert_null(quota_lacking(&t.chain, &t.w[0], msgs, bytes, 0));
    quota_leased(&t.w[0], &msgs, &bytes);
    assert_int_equal(msgs, 1);
    assert_int_equal(bytes, 1);
    end_turns(&t, 0);
    tree_fini(&t);
}

static void test_each_change_is_counted(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    assert_int_equal(quota_changes(&t.ns), 0);
    assert_true(set(&t.ns, 10, 0, 0));
    assert_false(set(&t.ns, 10, 0, 0));
    assert_true(set(&t.ns, 20, 0, 0));
    assert_true(set(&t.ns, 0, 0, 0));
    assert_int_equal(quota_changes(&t.ns), 3);
    assert_false(quota_is_set(&t.ns));
    tree_fini(&t);
}

/* The control worker may do so at any time. */
static void test_a_limit_set_or_removed_between_asking_and_charging(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    assert_null(quota_lacking(&t.chain, &t.w[0], 5, 5, 0));
    set(&t.ns, 10, 0, 0);
    quota_charge(&t.w[0], 5, 5); /* counts as admitted before */
    end_turns(&t, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&t.ns.limit, 0), 10);
    assert_true(admit(&t, 0, 1, 1, 0));
    end_turns(&t, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&t.ns.limit, 0), 9);

    assert_null(quota_lacking(&t.chain, &t.w[0], 5, 5, 0));
    set(&t.ns, 0, 0, 0);
    quota_charge(&t.w[0], 5, 5);
    end_turns(&t, 0);
    set(&t.ns, 10, 0, 0);
    assert_true(admit(&t, 0, 1, 1, 0));
    end_turns(&t, 0);
    assert_int_equal(tg_shared_limit_balance_msgs(&t.ns.limit, 0), 9);
    tree_fini(&t);
}

static void test_rates_are_summed_over_the_workers(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    set(&t.ns, 1000000, 100000000, 0);
    for (int64_t now_ns = 0; now_ns < 10 * MONO_S; now_ns += 10 * MONO_MS) {
        assert_true(admit(&t, 0, 1, 100, now_ns));
        quota_count(&t.chain, &t.w[1], 2, 200, now_ns); /* paid for by credit */
        end_turns(&t, now_ns);
    }
    struct quota_rates r = quota_rates(&t.ns, 10 * MONO_S);
    assert_true(r.msgs > 295 && r.msgs < 305);
    assert_true(r.bytes > 29500 && r.bytes < 30500);
    assert_true(quota_rates(&t.ns, 30 * MONO_S).msgs < 1);
    assert_true(quota_rates(&t.broker, 10 * MONO_S).msgs == 0); /* no limit, no meter */
    tree_fini(&t);
}

static void test_a_quota_in_dry_run_refuses_nobody_and_counts_by_worker(void **state)
{
    (void)state;
    struct tree t;
    tree_init(&t);
    set(&t.tenant, 10, 0, 0);
    set(&t.ns, 1000, 0, 0);
    uint32_t changes = quota_changes(&t.tenant);
    assert_true(quota_set_dry_run(&t.tenant, true));
    assert_int_equal(quota_changes(&t.tenant), changes + 1);
    assert_true(quota_is_set(&t.tenant));
    assert_false(quota_is_enforced(&t.tenant));
    int over = 0;
    for (int i = 0; i < 30; i++) {
        assert_null(quota_lacking(&t.chain, &t.w[i % 2], 1, 1, 0));
        over += quota_charge(&t.w[i % 2], 1, 1);
        end_turns(&t, 0);
    }
    over += quota_count(&t.chain, &t.w[0], 5, 5, 0); /* by credit of the other one */
    end_turns(&t, 0);
    assert_int_equal(over, 21);
    struct dry_run_counts c = quota_dry_run_counts(&t.tenant);
    assert_int_equal(c.frames, 21);
    assert_int_equal(c.msgs, 25);
    assert_int_equal(tg_shared_limit_balance_msgs(&t.ns.limit, 0), 970);

    assert_true(quota_set_dry_run(&t.tenant, false));
    assert_int_equal(quota_dry_run_counts(&t.tenant).frames, 0);
    assert_ptr_equal(quota_lacking(&t.chain, &t.w[0], 1, 1, 0), &t.tenant);
    end_turns(&t, 0);
    tree_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_quota_in_dry_run_refuses_nobody_and_counts_by_worker),
        cmocka_unit_test(test_without_limits_everything_passes_and_nothing_is_leased),
        cmocka_unit_test(test_a_frame_is_charged_to_every_quota),
        cmocka_unit_test(test_the_narrowest_that_lacks_tokens_is_named_and_none_is_charged),
        cmocka_unit_test(test_a_binding_quota_gives_workers_nothing),
        cmocka_unit_test(test_what_is_leased_ahead_comes_back_at_the_turns_end),
        cmocka_unit_test(test_a_busy_worker_keeps_its_leases_for_a_millisecond),
        cmocka_unit_test(test_nothing_is_kept_of_a_quota_that_binds_or_has_changed),
        cmocka_unit_test(test_what_is_for_one_message_only_is_not_kept),
        cmocka_unit_test(test_runs_of_what_is_leased_overdraw_by_less_than_a_frame),
        cmocka_unit_test(test_what_is_over_in_a_dry_run_is_counted_frame_by_frame),
        cmocka_unit_test(test_each_change_is_counted),
        cmocka_unit_test(test_a_limit_set_or_removed_between_asking_and_charging),
        cmocka_unit_test(test_rates_are_summed_over_the_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
