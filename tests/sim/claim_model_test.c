/* Claims, their home and everything that can happen to them, in random order: topics ask, withdraw,
 * are closed and deleted; limits are set, changed and removed, on every level; groups are hung here
 * and there and taken off; letters take their time. At every step (workers.h): the contract of
 * every limit, each ask answered once, binding while somebody waits, a timer that is not late. In
 * the end: nobody is stuck, nothing is left over. */
#include "sim/workers.h"

enum { TOPICS = 8, ACTIONS = 400 };

static struct tg_limit_spec any_limit(struct world *w)
{
    int64_t msgs = INT64_C(1) << rng_between(&w->rng, 3, 14);
    int64_t bytes = INT64_C(1) << rng_between(&w->rng, 10, 22);
    int64_t kind = rng_between(&w->rng, 0, 3);
    struct tg_limit_spec spec = per_second(kind & 1 ? msgs : 0, kind & 2 ? bytes : 0);
    if (rng_between(&w->rng, 0, 3) == 0)
        spec.msgs.burst = rng_between(&w->rng, 1, msgs);
    if (rng_between(&w->rng, 0, 3) == 0)
        spec.bytes.burst = rng_between(&w->rng, 1, bytes);
    return spec;
}

static struct w_producer *any_producer(struct world *w)
{
    struct w_topic *t = &w->topic[rng_between(&w->rng, 0, w->topics - 1)];
    return t->producer[rng_between(&w->rng, 0, t->producers - 1)];
}

/* On a namespace or the tenant; sometimes on both. */
static void hang_something(struct world *w)
{
    struct quota *at = &w->quota[rng_between(&w->rng, 1, 3)].quota;
    int64_t group = rng_between(&w->rng, 3, 5); /* 3: none */
    w_hang(w, at, group > 3 ? &w->quota[group].quota : NULL);
}

static void change_something(struct world *w)
{
    struct w_producer *p = any_producer(w);
    switch (rng_between(&w->rng, 0, 10)) {
    case 0:
        w_close(p);
        break;
    case 1:
        w_delete_topic(p->topic);
        w_create_topic(p->topic);
        break;
    case 2:
        w_limit_topic(p->topic, any_limit(w));
        break;
    case 3:
    case 4:
        w_set_limit(w, &w->quota[rng_between(&w->rng, 0, w->quotas - 1)].quota, any_limit(w));
        break;
    case 10:
        hang_something(w);
        break;
    default:
        p->closed = false;
        w_offer(p, (uint64_t)rng_between(&w->rng, 1, 50));
    }
}

/* Also in the middle of a grant. */
static void change_now_and_then(struct w_producer *p)
{
    struct world *w = p->topic->world;
    if (rng_between(&w->rng, 0, 30) == 0)
        w_close(any_producer(w));
}

static void remove_all_limits(struct world *w)
{
    for (uint32_t i = 0; i < w->quotas; i++)
        w_set_limit(w, &w->quota[i].quota, per_second(0, 0));
    for (uint32_t i = 0; i < w->topics; i++)
        w_limit_topic(&w->topic[i], per_second(0, 0));
}

static void check_all_sent(const struct world *w)
{
    for (uint32_t i = 0; i < w->topics; i++) {
        for (uint32_t k = 0; k < w->topic[i].producers; k++)
            SIM_CHECK(w->topic[i].producer[k]->backlog == 0, "producer %u of topic %u is stuck", k,
                      i);
    }
}

static void anything(uint64_t seed)
{
    uint32_t workers = 1U << seed % 3;
    struct world *w = w_new(seed, workers, TOPICS);
    w->mail_max_ns = seed % 5 ? 200 * MONO_US : 20 * MONO_MS;
    w->lag_max_ns = seed % 7 ? 0 : MONO_MS;
    w->on_sent = seed % 2 ? change_now_and_then : NULL;
    w->action = change_something;
    struct quota *broker = w_add_quota(w, SCOPE_BROKER, "broker", NULL, 1);
    struct quota *tenant = w_add_quota(w, SCOPE_TENANT, "t", broker, 1);
    struct quota *ns[3] = {w_add_quota(w, SCOPE_NAMESPACE, "t/a", tenant, 1),
                           w_add_quota(w, SCOPE_NAMESPACE, "t/b", tenant, 3), broker};
    w_add_quota(w, SCOPE_RESOURCE_GROUP, "g", NULL, 1);
    w_add_quota(w, SCOPE_RESOURCE_GROUP, "h", NULL, 1);
    for (uint32_t i = 0; i < w->quotas; i++)
        w_set_limit(w, &w->quota[i].quota, any_limit(w));
    for (uint32_t i = 0; i < TOPICS; i++) {
        struct w_topic *t = w_add_topic(w, ns[i % 3], i % workers, 3);
        for (uint32_t k = 0; k < t->producers; k++) {
            t->producer[k]->frame_msgs = (uint64_t)rng_between(&w->rng, 1, 20);
            t->producer[k]->max_bytes = rng_between(&w->rng, 100, 5000);
        }
    }
    int64_t at_ns = w->now_ns;
    for (int i = 0; i < ACTIONS; i++) {
        at_ns += rng_between(&w->rng, 0, 3) ? rng_between(&w->rng, 0, 500 * MONO_US)
                                            : rng_between(&w->rng, 0, 20 * MONO_MS);
        w_at(w, at_ns, (uint32_t)rng_next(&w->rng) % workers, W_ACTION, NULL);
    }
    w_run_for(w, at_ns - w->now_ns + MONO_MS);
    if (seed % 4)
        remove_all_limits(w);
    w_run_for(w, seed % 4 ? MONO_S : 20000 * MONO_S);
    check_all_sent(w);
    w_free(w);
}

static void test_whatever_happens_nobody_is_stuck_and_nothing_is_left(void **state)
{
    (void)state;
    for_each_seed(anything, 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whatever_happens_nobody_is_stuck_and_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
