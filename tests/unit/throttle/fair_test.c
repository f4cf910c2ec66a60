#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mono.h"
#include "throttle/fair.h"

/* A tree of two levels: groups 'a'.. of leaves; every leaf takes what it is allowed by <size>. */
enum { GROUPS = 3, LEAVES = 100 };

struct leaf {
    struct fair_node node; /* first */
    int64_t size, taken;
};

struct group {
    struct fair_node node;
    struct fair_line line;
    struct leaf leaf[LEAVES];
    int64_t taken;
};

struct tree {
    struct fair_tree tree;
    struct fair_line top;
    struct group group[GROUPS];
    int64_t taken;
};

static void tree_init(struct tree *t, int64_t quantum, const uint32_t weight[GROUPS])
{
    memset(t, 0, sizeof *t);
    fair_tree_init(&t->tree, quantum);
    fair_line_init(&t->top, &t->tree, NULL);
    for (int i = 0; i < GROUPS; i++) {
        struct group *g = &t->group[i];
        fair_inner_init(&g->node, weight[i], &t->top, &g->line);
        fair_line_init(&g->line, &t->tree, &g->node);
        for (int k = 0; k < LEAVES; k++) {
            fair_leaf_init(&g->leaf[k].node, 1);
            g->leaf[k].size = 1;
        }
    }
}

static void enter(struct tree *t, int group, int leaves)
{
    for (int k = 0; k < leaves; k++)
        fair_enter(&t->group[group].leaf[k].node, &t->group[group].line, 0);
}

static struct group *group_of(struct tree *t, const struct leaf *l)
{
    struct group *g = t->group;
    while (l < g->leaf || l >= g->leaf + LEAVES)
        g++;
    return g;
}

static struct leaf *take(struct tree *t)
{
    struct leaf *l = (struct leaf *)fair_next(&t->top);
    assert_true(fair_allotment(&l->node) > 0);
    fair_charge(&l->node, l->size);
    l->taken += l->size;
    group_of(t, l)->taken += l->size;
    t->taken += l->size;
    return l;
}

static const uint32_t equal[GROUPS] = {1, 1, 1};

static void test_a_group_of_many_gets_no_more_than_a_group_of_one(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 1, equal);
    enter(t, 0, 1);
    enter(t, 1, 100);
    for (int i = 0; i < 10000; i++) {
        take(t);
        assert_in_range(t->group[0].taken - t->group[1].taken + 1, 0, 2);
    }
    for (int k = 0; k < 100; k++)
        assert_in_range(t->group[1].leaf[k].taken, 49, 51);
    free(t);
}

static void test_shares_are_as_the_weights(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 10, (const uint32_t[GROUPS]){1, 2, 4});
    for (int i = 0; i < GROUPS; i++)
        enter(t, i, 1 + 30 * i);
    while (t->taken < 70000)
        take(t);
    for (int i = 0; i < GROUPS; i++)
        assert_in_range(t->group[i].taken, (10000 << i) - 40, (10000 << i) + 40);
    free(t);
}

static void test_large_and_small_get_equal_shares_of_the_cost(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 100, equal);
    enter(t, 0, 1);
    enter(t, 1, 2);
    t->group[0].leaf[0].size = 1;
    t->group[1].leaf[0].size = 5000;
    t->group[1].leaf[1].size = 70;
    for (int i = 0; i < 200000; i++)
        take(t);
    int64_t a = t->group[0].taken, b = t->group[1].leaf[0].taken, c = t->group[1].leaf[1].taken;
    assert_in_range(a - (b + c) + 5100, 0, 2 * 5100);
    assert_in_range(b - c + 5100, 0, 2 * 5100);
    free(t);
}

/* Whoever comes having had nothing in the running round goes next, in its group and with it, once:
 * however many stand there. */
static void test_who_comes_below_its_share_goes_next(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 1, equal);
    enter(t, 0, 100);
    enter(t, 1, 100);
    for (int i = 0; i < 501; i++)
        take(t);
    struct leaf *modest = &t->group[2].leaf[0];
    for (int round = 0; round < 10; round++) {
        fair_enter(&modest->node, &t->group[2].line, 0);
        assert_ptr_equal(take(t), modest);
        fair_leave(&modest->node, false, 0);
        fair_enter(&modest->node, &t->group[2].line, 0); /* too soon: the others' turn */
        assert_ptr_not_equal(take(t), modest);
        assert_ptr_not_equal(take(t), modest);
        assert_ptr_equal(take(t), modest);
        fair_leave(&modest->node, false, 0);
        for (int i = 0; i < 10; i++)
            take(t);
    }
    free(t);
}

static void test_an_idle_groups_share_goes_to_the_others_and_comes_back(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 1, equal);
    for (int i = 0; i < GROUPS; i++)
        enter(t, i, 2);
    for (int i = 0; i < 300; i++)
        take(t);
    fair_leave(&t->group[2].leaf[0].node, false, 0);
    fair_leave(&t->group[2].leaf[1].node, false, 0);
    assert_false(fair_in_line(&t->group[2].node));
    for (int i = 0; i < 300; i++)
        take(t);
    assert_in_range(t->group[0].taken, 249, 251);
    assert_in_range(t->group[1].taken, 249, 251);
    assert_in_range(t->group[2].taken, 99, 101);
    enter(t, 2, 2);
    int64_t before = t->group[2].taken;
    for (int i = 0; i < 5; i++)
        take(t);
    assert_true(t->group[2].taken - before >= 1);
    for (int i = 0; i < 295; i++)
        take(t);
    assert_in_range(t->group[2].taken - before, 99, 101);
    free(t);
}

/* One is served wherever it stands and is away for a moment after each; the other always stands
 * there. Expected, it gets as much as if it had stayed. */
static void test_who_is_expected_misses_nothing(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 5, equal);
    enter(t, 0, 1);
    enter(t, 1, 1);
    struct leaf *away = &t->group[1].leaf[0];
    int64_t now_ns = 0;
    for (int i = 0; i < 1000; i++, now_ns += MONO_MS) {
        if (!fair_in_line(&away->node))
            fair_enter(&away->node, &t->group[1].line, now_ns);
        bool had = false;
        for (int k = 0; k < 20; k++)
            had = take(t) == away || had;
        assert_true(had); /* it comes in time: what it has missed, it takes now */
        fair_leave(&away->node, true, now_ns);
        assert_true(fair_is_busy(&t->group[1].line));
        assert_int_equal(t->group[1].line.away, 1);
        assert_int_equal(t->top.away, 1);
        for (int k = 0; k < i % 20; k++)
            take(t);
    }
    assert_in_range(t->group[1].taken - t->group[0].taken + 30, 0, 40);
    free(t);
}

static void test_who_is_not_expected_takes_no_credit_along(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 5, equal);
    enter(t, 0, 1);
    enter(t, 1, 1);
    struct leaf *l = &t->group[1].leaf[0];
    while (take(t) != l)
        ;
    fair_leave(&l->node, false, 0);
    for (int i = 0; i < 100; i++)
        take(t);
    fair_enter(&l->node, &t->group[1].line, 0);
    assert_int_equal(fair_allotment(&l->node), 5);
    free(t);
}

static void test_giving_up_ends_the_expectation_on_every_level(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 5, equal);
    enter(t, 0, 2);
    struct fair_node *a = &t->group[0].leaf[0].node, *b = &t->group[0].leaf[1].node;
    fair_leave(a, true, 0);
    fair_leave(b, false, 0);
    assert_null(t->top.head);
    assert_true(fair_is_busy(&t->top));
    fair_give_up(b, 0); /* was not expected */
    assert_true(fair_is_busy(&t->top));
    fair_give_up(a, 0);
    assert_false(fair_is_busy(&t->top));
    assert_int_equal(t->group[0].line.away, 0);
    fair_give_up(a, 0);
    assert_false(fair_is_busy(&t->top));
    free(t);
}

static void test_no_turn_begins_where_none_may(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 2, equal);
    struct fair_node *a = &t->group[0].leaf[0].node, *b = &t->group[1].leaf[0].node;
    struct fair_node *c = &t->group[2].leaf[0].node;
    enter(t, 0, 1);
    for (int i = 0; i < 10; i++) { /* alone: shares don't matter */
        assert_ptr_equal(fair_next_in_turn(&t->top), a);
        take(t);
    }
    enter(t, 1, 1);
    assert_true(fair_is_due(b));
    assert_ptr_equal(fair_next_in_turn(&t->top), b);
    take(t);
    assert_ptr_equal(fair_next_in_turn(&t->top), b); /* the rest of its turn */
    while (fair_next_in_turn(&t->top))
        take(t);
    assert_false(fair_is_due(a)); /* the next turn would be of a new round */
    assert_false(fair_is_due(b));
    enter(t, 2, 1);
    assert_true(fair_is_due(c));
    assert_ptr_equal(fair_next_in_turn(&t->top), c);
    fair_leave(c, true, 0);
    fair_leave(b, true, 0); /* a is alone there, but others are expected */
    assert_null(fair_next_in_turn(&t->top));
    free(t);
}

static void test_what_is_given_back_counts_as_not_taken(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 10, equal);
    enter(t, 0, 1);
    enter(t, 1, 1);
    struct leaf *l = &t->group[0].leaf[0];
    l->size = t->group[1].leaf[0].size = 10;
    int64_t returned = 0;
    for (int i = 0; i < 999; i++) {
        if (take(t) == l) {
            fair_refund(&l->node, 9); /* uses one of ten */
            returned += 9;
        }
    }
    int64_t used = t->group[0].taken - returned;
    assert_in_range(used - t->group[1].taken + 20, 0, 40);
    free(t);
}

/* Leaves come and go at random, on all levels; some are expected, of which some don't come. */
static void test_lines_hold_those_who_want_something(void **state)
{
    (void)state;
    struct tree *t = malloc(sizeof *t);
    tree_init(t, 3, (const uint32_t[GROUPS]){1, 3, 2});
    srand(7);
    bool expected[GROUPS][LEAVES] = {{0}};
    for (int i = 0; i < 200000; i++) {
        int g = rand() % GROUPS, k = rand() % 10;
        struct fair_node *n = &t->group[g].leaf[k].node;
        t->group[g].leaf[k].size = 1 + rand() % 20;
        t->tree.quantum = 1 + rand() % 30;
        int what = rand() % 4;
        if (what == 0 && !fair_in_line(n)) {
            fair_enter(n, &t->group[g].line, i);
            expected[g][k] = false;
        } else if (what == 1 && fair_in_line(n)) {
            expected[g][k] = rand() % 2;
            fair_leave(n, expected[g][k], i);
        } else if (what == 2 && !fair_in_line(n)) {
            fair_give_up(n, i);
            expected[g][k] = false;
        } else if (t->top.head) {
            assert_true(fair_in_line(&take(t)->node));
        }
        if (rand() % 1000 == 0)
            fair_begin_anew(&t->top);
        uint32_t groups = 0, groups_away = 0;
        for (g = 0; g < GROUPS; g++) {
            uint32_t in = 0, away = 0;
            for (k = 0; k < 10; k++) {
                in += fair_in_line(&t->group[g].leaf[k].node);
                away += expected[g][k];
            }
            assert_int_equal(t->group[g].line.count, in);
            assert_int_equal(t->group[g].line.away, away);
            assert_int_equal(fair_in_line(&t->group[g].node), in > 0);
            groups += in > 0;
            groups_away += in == 0 && away > 0;
        }
        assert_int_equal(t->top.count, groups);
        assert_int_equal(t->top.away, groups_away);
    }
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_group_of_many_gets_no_more_than_a_group_of_one),
        cmocka_unit_test(test_shares_are_as_the_weights),
        cmocka_unit_test(test_large_and_small_get_equal_shares_of_the_cost),
        cmocka_unit_test(test_who_comes_below_its_share_goes_next),
        cmocka_unit_test(test_an_idle_groups_share_goes_to_the_others_and_comes_back),
        cmocka_unit_test(test_who_is_expected_misses_nothing),
        cmocka_unit_test(test_who_is_not_expected_takes_no_credit_along),
        cmocka_unit_test(test_giving_up_ends_the_expectation_on_every_level),
        cmocka_unit_test(test_no_turn_begins_where_none_may),
        cmocka_unit_test(test_what_is_given_back_counts_as_not_taken),
        cmocka_unit_test(test_lines_hold_those_who_want_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
