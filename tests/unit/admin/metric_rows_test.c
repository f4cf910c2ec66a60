/* The bound on series: the first ones keep their rows, the others are added up, nothing is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "admin/metric_rows.h"

enum { ROWS = 20 };

/* Named backwards, so that their order is not that of their names. */
static struct metric_rows *some_rows(uint64_t (*order)(int i))
{
    struct metric_rows *r = metric_rows_new(false);
    for (int i = 0; i < ROWS; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%02d", ROWS - i);
        struct metric_row *row = metric_rows_ns(r, name);
        row->order = order(i);
        row->topics = 1;
        row->throttled_s[REASON_BLOCKED] = i;
    }
    return r;
}

static uint64_t by_index(int i)
{
    return (uint64_t)i;
}

static uint64_t all_alike(int i)
{
    (void)i;
    return 0;
}

static struct metric_row *row_of(struct metric_rows *r, const char *key)
{
    struct metric_row *row;
    HASH_FIND_STR(r->row, key, row);
    return row;
}

static void test_the_oldest_keep_their_rows(void **state)
{
    (void)state;
    struct metric_rows *r = some_rows(by_index);
    assert_int_equal(metric_rows_fold(r, 5), ROWS - 5);
    assert_int_equal(HASH_COUNT(r->row), 6);
    assert_non_null(row_of(r, "n20")); /* the first that was made */
    assert_non_null(row_of(r, "n16"));
    assert_null(row_of(r, "n15"));
    const struct metric_row *other = row_of(r, "other");
    assert_true(other->topics == ROWS - 5);
    assert_true(other->throttled_s[REASON_BLOCKED] == (5 + ROWS - 1) * (ROWS - 5) / 2.0);
    metric_rows_free(r);
}

static void test_namespaces_go_by_their_names(void **state)
{
    (void)state;
    struct metric_rows *r = some_rows(all_alike);
    assert_int_equal(metric_rows_fold(r, 5), ROWS - 5);
    assert_non_null(row_of(r, "n01"));
    assert_non_null(row_of(r, "n05"));
    assert_null(row_of(r, "n06"));
    metric_rows_free(r);
}

static void test_as_many_as_there_may_be_are_left_alone(void **state)
{
    (void)state;
    struct metric_rows *r = some_rows(by_index);
    assert_int_equal(metric_rows_fold(r, ROWS), 0);
    assert_int_equal(HASH_COUNT(r->row), ROWS);
    assert_null(row_of(r, "other"));
    metric_rows_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_oldest_keep_their_rows),
        cmocka_unit_test(test_namespaces_go_by_their_names),
        cmocka_unit_test(test_as_many_as_there_may_be_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
