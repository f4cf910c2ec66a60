/* The replay set: order, counts, runs; and against plain arrays with random operations (SEED,
 * SEEDS). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/replay.h"

static void test_smallest_goes_first(void **state)
{
    (void)state;
    struct replay r = {0};
    uint64_t e;
    assert_false(replay_first(&r, &e));
    replay_add(&r, 9, (struct entry_info){1, 1});
    replay_add(&r, 3, (struct entry_info){1, 1});
    replay_add(&r, 7, (struct entry_info){1, 1});
    assert_true(replay_first(&r, &e));
    assert_int_equal(e, 3);
    assert_true(replay_take(&r, 3, NULL));
    assert_true(replay_first(&r, &e));
    assert_int_equal(e, 7);
    replay_fini(&r);
}

static void test_keeps_what_is_known_of_an_entry(void **state)
{
    (void)state;
    struct replay r = {0};
    struct entry_info info;
    replay_add(&r, 5, (struct entry_info){.messages = 10, .redelivered = 3});
    replay_add(&r, 5, (struct entry_info){.messages = 10, .redelivered = 4}); /* is in already */
    assert_true(replay_take(&r, 5, &info));
    assert_int_equal(info.messages, 10);
    assert_int_equal(info.redelivered, 3);
    assert_false(replay_take(&r, 5, &info));
    replay_fini(&r);
}

static void test_run_ends_at_a_hole_or_the_bound(void **state)
{
    (void)state;
    struct replay r = {0};
    for (uint64_t e = 10; e < 20; e++)
        replay_add(&r, e, (struct entry_info){0});
    replay_take(&r, 15, NULL);
    assert_int_equal(replay_run(&r, 10, 100), 5);
    assert_int_equal(replay_run(&r, 10, 3), 3);
    assert_int_equal(replay_run(&r, 15, 100), 0);
    replay_fini(&r);
}

static void test_one_taken_and_added_again_is_there_once(void **state)
{
    (void)state;
    struct replay r = {0};
    uint64_t e;
    replay_add(&r, 1, (struct entry_info){0});
    replay_add(&r, 2, (struct entry_info){0});
    replay_take(&r, 1, NULL);
    replay_add(&r, 1, (struct entry_info){0});
    assert_int_equal(replay_len(&r), 2);
    assert_true(replay_take(&r, 1, NULL));
    assert_true(replay_first(&r, &e));
    assert_int_equal(e, 2);
    replay_fini(&r);
}

enum { ENTRIES = 300, STEPS = 2000 };

struct model {
    bool in[ENTRIES];
    uint32_t redelivered[ENTRIES];
};

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void one_step(struct replay *r, struct model *m, uint64_t *seed)
{
    uint64_t op = next_random(seed) % 100, e = next_random(seed) % ENTRIES;
    struct entry_info info = {.messages = (uint32_t)e, .redelivered = (uint32_t)op};
    if (op < 55) {
        if (!m->in[e])
            m->redelivered[e] = info.redelivered;
        m->in[e] = true;
        replay_add(r, e, info);
    } else if (op < 98) {
        bool had = replay_take(r, e, &info);
        assert_int_equal(had, m->in[e]);
        if (had) {
            assert_int_equal(info.messages, e);
            assert_int_equal(info.redelivered, m->redelivered[e]);
        }
        m->in[e] = false;
    } else {
        replay_drop_below(r, e / 2);
        memset(m->in, false, e / 2);
    }
}

static bool is_same(struct replay *r, const struct model *m)
{
    uint32_t n = 0;
    uint64_t first = ENTRIES, e;
    for (uint64_t i = ENTRIES; i-- > 0;) {
        if (replay_has(r, i) != m->in[i])
            return false;
        n += m->in[i];
        first = m->in[i] ? i : first;
    }
    bool any = replay_first(r, &e);
    return replay_len(r) == n && any == (n > 0) && (!any || e == first);
}

static void test_agrees_with_a_plain_array(void **state)
{
    (void)state;
    const char *one = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, count = 50;
    if (many)
        count = strtoull(many, NULL, 10);
    else if (one)
        count = 1;
    for (uint64_t n = first; n < first + count; n++) {
        uint64_t seed = n * UINT64_C(0x9E3779B97F4A7C15) + 1;
        struct model m = {0};
        struct replay r = {0};
        for (int i = 0; i < STEPS; i++) {
            one_step(&r, &m, &seed);
            if (!is_same(&r, &m))
                fail_msg("SEED=%llu, step %d", (unsigned long long)n, i);
        }
        replay_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smallest_goes_first),
        cmocka_unit_test(test_keeps_what_is_known_of_an_entry),
        cmocka_unit_test(test_run_ends_at_a_hole_or_the_bound),
        cmocka_unit_test(test_one_taken_and_added_again_is_there_once),
        cmocka_unit_test(test_agrees_with_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
