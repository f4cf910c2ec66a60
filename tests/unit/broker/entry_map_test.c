/* The map of entries: many ids, removal in any order, walking. replay_test.c tries it at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/entry_map.h"

enum { MANY = 50000 };

static void test_keeps_many_and_empties(void **state)
{
    (void)state;
    struct entry_map m = {0};
    struct entry_info info;
    for (uint64_t e = 0; e < MANY; e++)
        entry_map_put(&m, e * 3, (struct entry_info){(uint32_t)e, 0});
    assert_int_equal(m.len, MANY);
    for (uint64_t e = 0; e < MANY; e += 2)
        assert_true(entry_map_take(&m, e * 3, NULL));
    for (uint64_t e = 0; e < MANY; e++) {
        assert_int_equal(entry_map_get(&m, e * 3, &info), e % 2 == 1);
        if (e % 2 == 1)
            assert_int_equal(info.messages, e);
        assert_false(entry_map_get(&m, e * 3 + 1, NULL));
    }
    for (uint64_t e = 1; e < MANY; e += 2)
        assert_true(entry_map_take(&m, e * 3, NULL));
    assert_int_equal(m.len, 0);
    assert_null(m.slot); /* an idle consumer keeps nothing */
}

static void test_put_replaces(void **state)
{
    (void)state;
    struct entry_map m = {0};
    struct entry_info info;
    entry_map_put(&m, 1, (struct entry_info){1, 0});
    entry_map_put(&m, 1, (struct entry_info){1, 7});
    assert_int_equal(m.len, 1);
    assert_true(entry_map_get(&m, 1, &info));
    assert_int_equal(info.redelivered, 7);
    entry_map_fini(&m);
}

static void test_walk_meets_each_once(void **state)
{
    (void)state;
    struct entry_map m = {0};
    uint64_t entry, sum = 0, want = 0;
    uint32_t at = 0, n = 0;
    for (uint64_t e = 100; e < 1100; e++) {
        entry_map_put(&m, e, (struct entry_info){0});
        want += e;
    }
    while (entry_map_next(&m, &at, &entry, NULL)) {
        sum += entry;
        n++;
    }
    assert_int_equal(n, 1000);
    assert_int_equal(sum, want);
    entry_map_fini(&m);
    at = 0;
    assert_false(entry_map_next(&m, &at, &entry, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_many_and_empties),
        cmocka_unit_test(test_put_replaces),
        cmocka_unit_test(test_walk_meets_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
