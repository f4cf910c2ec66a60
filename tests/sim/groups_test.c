/* Resource groups over several workers, on a virtual clock: shares of what they are hung on,
 * several on one path, hung and taken off while topics wait. Every admission is checked against the
 * contract of every limit by workers.h. */
#include "sim/workers.h"

enum { BACKLOGGED = 1000000000 };

/* A broker, two tenants, two namespaces of each; and a group, hung on nothing yet. */
struct places {
    struct quota *broker, *tenant[2], *ns[4], *group;
};

static struct places add_places(struct world *w)
{
    struct places p = {.broker = w_add_quota(w, SCOPE_BROKER, "broker", NULL, 1)};
    p.group = w_add_quota(w, SCOPE_RESOURCE_GROUP, "group", NULL, 1);
    for (int i = 0; i < 2; i++)
        p.tenant[i] = w_add_quota(w, SCOPE_TENANT, "t", p.broker, 1);
    for (int i = 0; i < 4; i++)
        p.ns[i] = w_add_quota(w, SCOPE_NAMESPACE, "t/n", p.tenant[i / 2], 1);
    return p;
}

static void offer_all(struct world *w)
{
    for (uint32_t i = 0; i < w->topics; i++)
        for (uint32_t k = 0; k < w->topic[i].producers; k++)
            w_offer(w->topic[i].producer[k], BACKLOGGED);
}

static double of(struct quota *q, uint64_t before, int64_t rate, int seconds)
{
    return (double)(w_quota_of(q)->msgs - before) / (double)rate / seconds;
}

/* Two namespaces of different tenants, of one topic and of many, under one group; a third one, of
 * the first's tenant, is not in it. */
static void two_tenants(uint64_t seed)
{
    uint32_t workers = 1U << seed % 3;
    struct world *w = w_new(seed, workers, 40);
    struct places p = add_places(w);
    int64_t rate = INT64_C(200) << rng_between(&w->rng, 0, 9);
    w_set_limit(w, p.group, per_second(rate, 0));
    w_drain(w, p.group);
    w_hang(w, p.ns[0], p.group);
    w_hang(w, p.ns[2], p.group);
    w_add_topic(w, p.ns[0], 0, 1);
    for (uint32_t i = 0; i < 30; i++)
        w_add_topic(w, p.ns[2], i % workers, 1 + i % 3);
    struct w_topic *free_one = w_add_topic(w, p.ns[1], workers - 1, 1);
    for (uint32_t i = 0; i + 1 < w->topics; i++)
        for (uint32_t k = 0; k < w->topic[i].producers; k++)
            w_offer(w->topic[i].producer[k], BACKLOGGED);
    w_run_for(w, 500 * MONO_MS);
    uint64_t a = w_quota_of(p.ns[0])->msgs, b = w_quota_of(p.ns[2])->msgs;
    w_run_for(w, 5 * MONO_S);
    double one = of(p.ns[0], a, rate, 5), many = of(p.ns[2], b, rate, 5);
    SIM_CHECK(one + many > 0.995 && one + many < 1.005, "%.4f of the group is used", one + many);
    SIM_CHECK(one > 0.49 && one < 0.51, "the one topic's namespace gets %.3f", one);
    w_offer(free_one->producer[0], 5);
    SIM_CHECK(free_one->sent_msgs == 5, "who is not in the group waits for it");
    w_free(w);
}

static void test_namespaces_of_two_tenants_share_a_group_equally(void **state)
{
    (void)state;
    for_each_seed(two_tenants, 12);
}

/* One group at a namespace, another at its tenant: what the namespace's leaves of the tenant's goes
 * to the tenant's other namespace. */
static void at_both(uint64_t seed)
{
    uint32_t workers = 1U << seed % 3;
    struct world *w = w_new(seed, workers, 8);
    struct places p = add_places(w);
    struct quota *wide = w_add_quota(w, SCOPE_RESOURCE_GROUP, "wide", NULL, 1);
    w_set_limit(w, p.group, per_second(2000, 0));
    w_set_limit(w, wide, per_second(10000, 0));
    w_drain(w, p.group);
    w_drain(w, wide);
    w_hang(w, p.ns[0], p.group);
    w_hang(w, p.tenant[0], wide);
    for (uint32_t i = 0; i < 8; i++)
        w_add_topic(w, p.ns[i % 2], i % workers, 1);
    offer_all(w);
    w_run_for(w, MONO_S);
    uint64_t a = w_quota_of(p.ns[0])->msgs, b = w_quota_of(p.ns[1])->msgs;
    w_run_for(w, 5 * MONO_S);
    double narrow = of(p.ns[0], a, 2000, 5), rest = of(p.ns[1], b, 8000, 5);
    SIM_CHECK(narrow > 0.99 && narrow < 1.01, "%.4f of the narrow group", narrow);
    SIM_CHECK(rest > 0.99 && rest < 1.01, "%.4f of what it leaves", rest);
    w_free(w);
}

static void test_a_group_at_the_namespace_and_another_at_its_tenant(void **state)
{
    (void)state;
    for_each_seed(at_both, 6);
}

/* The same group at a namespace and at its tenant counts a message once; of its two tenants each
 * gets half. */
static void the_same(uint64_t seed)
{
    uint32_t workers = 1U << seed % 3;
    struct world *w = w_new(seed, workers, 8);
    struct places p = add_places(w);
    w_set_limit(w, p.group, per_second(4000, 0));
    w_drain(w, p.group);
    w_hang(w, p.ns[0], p.group);
    w_hang(w, p.tenant[0], p.group);
    w_hang(w, p.ns[2], p.group);
    for (uint32_t i = 0; i < 6; i++)
        w_add_topic(w, p.ns[i % 3], i % workers, 1);
    offer_all(w);
    w_run_for(w, 500 * MONO_MS);
    uint64_t in[3];
    for (int i = 0; i < 3; i++)
        in[i] = w_quota_of(p.ns[i])->msgs;
    w_run_for(w, 5 * MONO_S);
    double share[3] = {of(p.ns[0], in[0], 4000, 5), of(p.ns[1], in[1], 4000, 5),
                       of(p.ns[2], in[2], 4000, 5)};
    SIM_CHECK(share[2] > 0.49 && share[2] < 0.51, "the other tenant gets %.3f", share[2]);
    SIM_CHECK(share[0] > 0.24 && share[0] < 0.26 && share[1] > 0.24 && share[1] < 0.26,
              "the tenant's namespaces get %.3f and %.3f", share[0], share[1]);
    w_free(w);
}

static void test_a_group_hung_twice_counts_once(void **state)
{
    (void)state;
    for_each_seed(the_same, 6);
}

/* Hung while they send, changed, taken off: in force at once, nobody is stuck. */
static void live(uint64_t seed)
{
    uint32_t workers = 1U << seed % 3;
    struct world *w = w_new(seed, workers, 6);
    struct places p = add_places(w);
    w_set_limit(w, p.group, per_second(1000, 0));
    w_set_limit(w, p.broker, per_second(20000, 0));
    w_drain(w, p.group);
    w_drain(w, p.broker);
    for (uint32_t i = 0; i < 6; i++)
        w_add_topic(w, p.ns[i % 3], i % workers, 2);
    offer_all(w);
    for (int round = 0; round < 4; round++) {
        struct quota *at = round % 2 ? p.tenant[0] : p.ns[0];
        w_run_for(w, 300 * MONO_MS);
        uint64_t before = w_quota_of(p.broker)->msgs;
        w_run_for(w, MONO_S);
        SIM_CHECK(of(p.broker, before, 20000, 1) > 0.98, "%d: %.3f of the broker without the group",
                  round, of(p.broker, before, 20000, 1));
        w_hang(w, at, p.group);
        w_run_for(w, 2 * MONO_S); /* what had accrued in the group goes */
        before = w_quota_of(p.group)->msgs;
        w_run_for(w, MONO_S);
        double used = of(p.group, before, 1000, 1);
        SIM_CHECK(used > 0.98 && used < 1.02, "%d: %.3f of the group", round, used);
        w_hang(w, at, NULL);
    }
    w_free(w);
}

static void test_hung_and_taken_off_while_topics_wait(void **state)
{
    (void)state;
    for_each_seed(live, 6);
}

/* In the group's queue a tenant of weight 3 gets three times what a namespace of weight 1 does, and
 * when the weight changes, shares do. */
static void weights(uint64_t seed)
{
    uint32_t workers = 1U << seed % 3;
    struct world *w = w_new(seed, workers, 6);
    struct places p = add_places(w);
    w_set_limit(w, p.group, per_second(4000, 0));
    w_hang(w, p.tenant[0], p.group);
    w_hang(w, p.ns[2], p.group);
    for (uint32_t i = 0; i < 6; i++)
        w_add_topic(w, p.ns[i % 3], i % workers, 1);
    offer_all(w);
    for (uint32_t weight = 1; weight <= 4; weight += 3) {
        home_set_weight(p.tenant[0], weight);
        w_run_for(w, MONO_S);
        uint64_t t = w_quota_of(p.tenant[0])->msgs;
        w_run_for(w, 5 * MONO_S);
        double share = of(p.tenant[0], t, 4000, 5) * (weight + 1) / weight;
        SIM_CHECK(share > 0.98 && share < 1.02, "weight %u gets %.3f of its share", weight, share);
    }
    w_free(w);
}

static void test_a_weight_that_changes_changes_the_shares(void **state)
{
    (void)state;
    for_each_seed(weights, 6);
}

/* A quota in dry run holds up nobody, and says how much was over; enforced again it holds. */
static void dry(uint64_t seed)
{
    uint32_t workers = 1U << seed % 3;
    struct world *w = w_new(seed, workers, 4);
    struct places p = add_places(w);
    w_set_limit(w, p.broker, per_second(10000, 0));
    w_drain(w, p.broker);
    w_hang(w, p.tenant[0], p.group);
    for (uint32_t i = 0; i < 4; i++)
        w_add_topic(w, p.ns[i % 2], i % workers, 2);
    home_set_limit(p.group, &(struct tg_limit_spec){.msgs.rate = 1000}, LIMIT_FROM_GROUP, 10,
                   w->now_ns); /* not w_set_limit: what passes is not to be checked against it */
    w_quota_of(p.group)->unchecked = true;
    for (int round = 0; round < 2; round++) {
        home_set_dry_run(p.group, true, w->now_ns);
        if (round == 0)
            offer_all(w);
        w_run_for(w, 300 * MONO_MS);
        uint64_t before = w_quota_of(p.broker)->msgs;
        uint64_t over = quota_dry_run_counts(p.group).msgs;
        w_run_for(w, 2 * MONO_S);
        double all = of(p.broker, before, 10000, 2);
        double beyond = (double)(quota_dry_run_counts(p.group).msgs - over) / 9000 / 2;
        SIM_CHECK(all > 0.98, "%.3f of the broker while the group is in dry run", all);
        SIM_CHECK(beyond > 0.93 && beyond < 1.02, "%.3f of what is beyond is counted", beyond);
        home_set_dry_run(p.group, false, w->now_ns);
        w_run_for(w, 500 * MONO_MS);
        before = w_quota_of(p.group)->msgs;
        w_run_for(w, 2 * MONO_S);
        double used = of(p.group, before, 1000, 2);
        SIM_CHECK(used > 0.98 && used < 1.02, "%.3f of the group when it is enforced", used);
    }
    w_free(w);
}

static void test_a_group_in_dry_run_holds_up_nobody_and_counts(void **state)
{
    (void)state;
    for_each_seed(dry, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_group_in_dry_run_holds_up_nobody_and_counts),
        cmocka_unit_test(test_namespaces_of_two_tenants_share_a_group_equally),
        cmocka_unit_test(test_a_group_at_the_namespace_and_another_at_its_tenant),
        cmocka_unit_test(test_a_group_hung_twice_counts_once),
        cmocka_unit_test(test_hung_and_taken_off_while_topics_wait),
        cmocka_unit_test(test_a_weight_that_changes_changes_the_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
