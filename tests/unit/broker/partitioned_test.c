/* Partitioned topics: what a deletion that fails leaves behind, and changes that meet. */
#include "broker_fixture.h"

#include "broker/chain.h"
#include "broker/registry_priv.h"

#define WHOLE "persistent://public/default/p"

enum { PARTITIONS = 3 };

struct ended {
    sem_t sem;
    enum tg_err err;
    int left;
};

static void on_ended(void *ctx, enum tg_err e)
{
    struct ended *d = ctx;
    if (e)
        d->err = e;
    if (--d->left == 0)
        sem_post(&d->sem);
}

static struct ended ending(int of)
{
    struct ended d = {.left = of};
    sem_init(&d.sem, 0, 0);
    return d;
}

static enum tg_err end_of(struct ended *d)
{
    wait_sem(&d->sem);
    sem_destroy(&d->sem);
    return d->err;
}

static struct topic_name whole_name(void)
{
    struct topic_name n;
    const char *why;
    assert_int_equal(topic_name_parse(&n, WHOLE, &why), TG_OK);
    return n;
}

static void create(struct world *w, void *arg)
{
    struct topic_name n = whole_name();
    registry_create_partitioned(w->broker.registry, &n, PARTITIONS, NULL, on_ended, arg);
    topic_name_fini(&n);
}

static void create_and_wait(struct world *w)
{
    struct ended d = ending(1);
    on_worker(w, create, &d);
    assert_int_equal(end_of(&d), TG_OK);
}

static struct place *partition(struct world *w, int i)
{
    struct topic_name n;
    partition_name(&n, WHOLE, i);
    struct place *p = place_find(w->broker.registry, n.full);
    assert_non_null(p);
    topic_name_fini(&n);
    return p;
}

/* ---- a deletion that fails ---- */

/* What may happen to a partition while its partitioned topic is being deleted: it is made anew, or
 * given a policy. Then somebody else deletes it, and the deletion fails. */
static void delete_in_vain(struct world *w, void *arg)
{
    struct registry *r = w->broker.registry;
    struct partitioned *p = registry_partitioned(r, WHOLE);
    struct topic_name n = whole_name();
    HASH_DEL(r->partitioned, p);
    for (int i = 0; i < PARTITIONS; i++) {
        place_apply_policies(partition(w, i));
        partition(w, i)->state = PLACE_DELETING;
    }
    assert_ptr_equal(partition(w, 0)->chain, p->ns->chain);
    HASH_ADD_KEYPTR(hh, r->partitioned, p->name, strlen(p->name), p);
    registry_delete_partitioned(r, &n, true, on_ended, arg);
    topic_name_fini(&n);
}

static void check_chains(struct world *w, void *arg)
{
    struct partitioned *p = registry_partitioned(w->broker.registry, WHOLE);
    (void)arg;
    assert_non_null(p);
    for (int i = 0; i < PARTITIONS; i++) {
        struct place *at = partition(w, i);
        assert_ptr_equal(at->chain, p->chain);
        assert_ptr_equal(at->topic->chain, p->chain);
        at->state = PLACE_READY;
    }
}

static void test_after_a_deletion_that_failed_partitions_count_at_their_own_quota(void **state)
{
    struct world *w = *state;
    create_and_wait(w);
    struct ended d = ending(1);
    on_worker(w, delete_in_vain, &d);
    assert_int_equal(end_of(&d), TG_EBUSY);
    on_worker(w, check_chains, NULL);
}

/* ---- properties ---- */

static json_t *one(const char *key, const char *value)
{
    return json_pack("{s:s}", key, value);
}

static void change_three_ways(struct world *w, void *arg)
{
    struct registry *r = w->broker.registry;
    struct partitioned *p = registry_partitioned(r, WHOLE);
    const char *const keys[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        json_t *set = one(keys[i], "1");
        registry_change_partitioned_properties(r, p, set, NULL, on_ended, arg);
        json_decref(set);
    }
    registry_change_partitioned_properties(r, p, NULL, "b", on_ended, arg);
}

static void check_properties(struct world *w, void *arg)
{
    json_t *is = registry_partitioned(w->broker.registry, WHOLE)->properties;
    json_t *wanted = json_pack("{s:s,s:s}", "a", "1", "c", "1");
    (void)arg;
    assert_true(json_equal(is, wanted));
    json_decref(wanted);
}

static void test_changes_of_properties_that_meet_are_all_kept(void **state)
{
    struct world *w = *state;
    create_and_wait(w);
    struct ended d = ending(4);
    on_worker(w, change_three_ways, &d);
    assert_int_equal(end_of(&d), TG_OK);
    on_worker(w, check_properties, NULL);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_after_a_deletion_that_failed_partitions_count_at_their_own_quota),
        CASE(test_changes_of_properties_that_meet_are_all_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
