/* fair.c - lines, rounds and turns.
 *
 * A line is a circular list with the next turn at its head: whose turn ends stays where it is and
 * the head moves on. Each node carries the round of its next turn, so the line is sorted by it
 * (those who came and go next stand before all, up to <fresh>), and a new round shows at the head,
 * whoever came or left meanwhile. A turn is credited when it begins, for one who comes and goes
 * next when it comes.
 *
 * Invariants: a node is in its line <=> the line below it is not empty (leaves: while they want
 * something). An inner node in no line is expected <=> a child of its line is. Nodes in line have
 * round == line->round (turn yet to come) or line->round + 1. */
#include "throttle/fair.h"

#include <string.h>

#include "base/err.h"
#include "base/mono.h"

void fair_tree_init(struct fair_tree *t, int64_t quantum)
{
    TG_ASSERT(quantum > 0 && quantum <= FAIR_COST_MAX);
    *t = (struct fair_tree){.quantum = quantum};
}

void fair_line_init(struct fair_line *l, struct fair_tree *t, struct fair_node *owner)
{
    *l = (struct fair_line){.tree = t, .owner = owner, .era = t->era, .served = true};
}

void fair_leaf_init(struct fair_node *n, uint32_t weight)
{
    TG_ASSERT(weight >= 1 && weight <= FAIR_WEIGHT_MAX);
    *n = (struct fair_node){.weight = weight & 0xffffff};
}

void fair_set_weight(struct fair_node *n, uint32_t weight)
{
    TG_ASSERT(weight >= 1 && weight <= FAIR_WEIGHT_MAX);
    n->weight = weight & 0xffffff;
}

void fair_inner_init(struct fair_node *n, uint32_t weight, struct fair_line *line,
                     struct fair_line *below)
{
    fair_leaf_init(n, weight);
    n->is_inner = 1;
    n->line = line;
    n->below = below;
}

/* ---- rounds ---- */

static int64_t turn_of(const struct fair_line *l, const struct fair_node *n)
{
    return l->quantum * n->weight;
}

/* Adds whole rounds, as many as it takes until the next brings somebody out of debt. */
static void skip_rounds(struct fair_line *l)
{
    int64_t rounds = INT64_MAX;
    struct fair_node *n = l->head;

    do {
        int64_t r = n->deficit > 0 ? 0 : -n->deficit / turn_of(l, n);
        rounds = r < rounds ? r : rounds;
        n = n->next;
    } while (n != l->head);
    do {
        n->deficit += rounds * turn_of(l, n);
        n = n->next;
    } while (n != l->head);
    l->credit += (uint64_t)(rounds * l->quantum);
}

static void begin_round(struct fair_line *l)
{
    l->round++;
    l->quantum = l->tree->quantum;
    l->credit += (uint64_t)l->quantum;
    if (!l->served)
        skip_rounds(l);
    l->served = false;
}

static void fetch(const void *node)
{
    __builtin_prefetch(node);
    __builtin_prefetch((const char *)node + 64); /* what its owner has beside it */
}

/* While turns follow each other closely the next one comes too soon to be fetched now, and a list
 * can't be read ahead, since the place of a node is known only from the one before it. But the
 * order in one round is nearly that of the last. */
static void fetch_ahead(struct fair_line *l, struct fair_node *n)
{
    struct fair_node **past = &l->past[l->turns++ % FAIR_AHEAD];
    if (*past)
        (*past)->ahead = n;
    *past = n;
    fetch(n->ahead ? n->ahead : n->next);
}

void fair_pause(struct fair_line *l)
{
    memset(l->past, 0, sizeof l->past);
}

/* The head has had its turn. */
static void pass(struct fair_line *l)
{
    struct fair_node *n = l->head;
    if (l->fresh == n)
        l->fresh = NULL;
    l->head = n->next;
    if (!n->is_inner)
        fetch_ahead(l, n);
}

static bool is_in_turn(const struct fair_line *l, const struct fair_node *n)
{
    return n->deficit > 0 && n->round != l->round;
}

static struct fair_node *next_turn(struct fair_line *l)
{
    for (;;) {
        struct fair_node *n = l->head;
        if (is_in_turn(l, n))
            return n;
        if (n->round != l->round)
            begin_round(l);
        n->deficit += turn_of(l, n);
        n->round = l->round + 1;
        if (n->deficit > 0)
            return n;
        pass(l);
    }
}

static struct fair_node *go_down(struct fair_node *n)
{
    while (n->is_inner)
        n = next_turn(n->below);
    return n;
}

struct fair_node *fair_next(struct fair_line *top)
{
    return go_down(next_turn(top));
}

static bool is_shared(const struct fair_line *l)
{
    return l->count + l->away > 1;
}

struct fair_node *fair_next_in_turn(struct fair_line *top)
{
    struct fair_line *l = top;
    while (!is_shared(l)) {
        struct fair_node *n = next_turn(l);
        if (!n->is_inner)
            return n;
        l = n->below;
    }
    return is_in_turn(l, l->head) ? go_down(l->head) : NULL;
}

bool fair_is_due(const struct fair_node *leaf)
{
    bool due = true;
    for (const struct fair_node *n = leaf; n; n = n->line->owner) {
        if (is_shared(n->line))
            due = is_in_turn(n->line, n);
    }
    return due;
}

int64_t fair_allotment(const struct fair_node *leaf)
{
    int64_t least = leaf->deficit;
    for (const struct fair_node *n = leaf; (n = n->line->owner) != NULL;)
        least = n->deficit < least ? n->deficit : least;
    return least;
}

void fair_charge(struct fair_node *leaf, int64_t cost)
{
    for (struct fair_node *n = leaf; n; n = n->line->owner) {
        struct fair_line *l = n->line;
        n->deficit -= cost;
        l->served = true;
        if (n->deficit <= 0 && l->head == n)
            pass(l);
    }
}

void fair_refund(struct fair_node *leaf, int64_t cost)
{
    for (struct fair_node *n = leaf; n; n = n->line->owner)
        n->deficit += cost;
}

/* ---- the list ---- */

/* Before the head, that is, at the end. */
static void append(struct fair_line *l, struct fair_node *n)
{
    if (l->head) {
        n->next = l->head;
        n->prev = l->head->prev;
        n->prev->next = n;
        n->next->prev = n;
    } else {
        l->head = n->next = n->prev = n;
    }
    l->count++;
}

/* Behind those who came before it and go next, too; else at the head. */
static void insert_fresh(struct fair_line *l, struct fair_node *n)
{
    struct fair_node *head = l->head;
    if (l->fresh) {
        l->head = l->fresh->next;
        append(l, n);
        l->head = head;
    } else {
        append(l, n);
        l->head = n;
    }
    l->fresh = n;
}

static void unlink_node(struct fair_line *l, struct fair_node *n)
{
    if (l->fresh == n)
        l->fresh = l->head == n ? NULL : n->prev;
    if (n->next == n) {
        l->head = NULL;
    } else {
        n->prev->next = n->next;
        n->next->prev = n->prev;
        if (l->head == n)
            l->head = n->next;
    }
    n->prev = n->next = NULL;
    l->count--;
    for (int i = 0; i < FAIR_AHEAD; i++)
        l->past[i] = l->past[i] == n ? NULL : l->past[i];
}

/* ---- those who left ---- */

/* More than any debt: whoever left before this owes nothing. */
static void forget_debts(struct fair_line *l)
{
    l->credit += 2 * (uint64_t)FAIR_COST_MAX;
}

static void credit_idle_time(struct fair_line *l, int64_t idle_ns)
{
    int64_t rate = l->tree->rate;
    __int128 n = idle_ns > 0 ? (__int128)rate * idle_ns / MONO_S : 0;
    if (rate <= 0 || n >= FAIR_COST_MAX)
        forget_debts(l);
    else
        l->credit += (uint64_t)n;
}

static void remember(const struct fair_line *l, struct fair_node *n)
{
    bool turn_is_due = n->round == l->round;
    n->known = 1;
    n->left_credit = l->credit - (turn_is_due ? (uint64_t)l->quantum : 0);
}

static int64_t deficit_on_entry(const struct fair_line *l, const struct fair_node *n)
{
    int64_t turn = turn_of(l, n);
    uint64_t missed = l->credit - n->left_credit;
    if (!n->known || n->line != l || missed > (uint64_t)FAIR_COST_MAX)
        return turn;
    int64_t deficit = n->deficit + (int64_t)missed * n->weight;
    int64_t most = turn;
    if (n->expected && __builtin_mul_overflow(turn, FAIR_MISSED_MAX, &most))
        most = turn;
    return deficit < most ? deficit : most;
}

static void catch_up_with_unit(struct fair_line *l)
{
    if (l->era == l->tree->era)
        return;
    l->era = l->tree->era;
    forget_debts(l);
}

/* ---- coming and leaving ---- */

static void no_longer_expected(struct fair_node *n)
{
    if (!n->expected)
        return;
    n->expected = 0;
    TG_ASSERT(n->line->away > 0);
    n->line->away--;
}

static void enter(struct fair_node *n, struct fair_line *l, int64_t now_ns)
{
    bool was_empty = l->head == NULL;

    catch_up_with_unit(l);
    if (l->quantum == 0)
        begin_round(l);
    if (!fair_is_busy(l))
        credit_idle_time(l, now_ns - l->emptied_ns);
    n->deficit = deficit_on_entry(l, n);
    no_longer_expected(n);
    n->line = l;
    n->round = l->round + 1;
    if (n->deficit > 0)
        insert_fresh(l, n);
    else
        append(l, n);
    if (was_empty && l->owner)
        enter(l->owner, l->owner->line, now_ns);
}

void fair_enter(struct fair_node *leaf, struct fair_line *l, int64_t now_ns)
{
    TG_ASSERT(!fair_in_line(leaf) && (!leaf->expected || leaf->line == l));
    enter(leaf, l, now_ns);
}

void fair_leave(struct fair_node *leaf, bool expected, int64_t now_ns)
{
    struct fair_line *l = leaf->line;

    TG_ASSERT(fair_in_line(leaf));
    remember(l, leaf);
    unlink_node(l, leaf);
    leaf->expected = expected;
    l->away += expected;
    if (l->head)
        return;
    l->emptied_ns = now_ns;
    if (l->owner)
        fair_leave(l->owner, l->away > 0, now_ns);
}

void fair_give_up(struct fair_node *leaf, int64_t now_ns)
{
    struct fair_line *l = leaf->line;

    if (!leaf->expected)
        return;
    no_longer_expected(leaf);
    if (fair_is_busy(l))
        return;
    l->emptied_ns = now_ns;
    if (l->owner)
        fair_give_up(l->owner, now_ns);
}

/* ---- another unit ---- */

void fair_begin_anew(struct fair_line *top)
{
    struct fair_node *n = top->head;

    if (!top->owner)
        top->tree->era++;
    catch_up_with_unit(top);
    top->served = true;
    top->fresh = NULL;
    for (uint32_t i = 0; i < top->count; i++, n = n->next) {
        n->deficit = 0;
        n->round = top->round + 1;
        if (n->is_inner)
            fair_begin_anew(n->below);
    }
}
