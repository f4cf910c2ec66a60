/* fair.h - whose turn it is: deficit round robin (after Shreedhar and Varghese, 1995) over a tree.
 *
 * A *line* is the children of one parent that want something; a *node* is a child. A leaf is who
 * wants; an inner node has a line of its own below it, and stands in its parent's line while that
 * one is not empty. fair_next() goes down from the top line to the leaf whose turn it is, and what
 * the leaf takes is charged to it and to every node above it. So the shares of children that always
 * want are as their weights on each level, whatever is below them, within a turn and what the
 * last thing taken overdraws.
 *
 * Who is served next in a line
 * - The head has the turn while its deficit is above zero. In each round every child gets one turn,
 *   of the tree's <quantum> times its weight; one still in debt is passed over, a turn richer.
 * - Who comes and has not had its turn of the running round goes next, behind others that came so,
 *   before all who have been waiting: a child that stays below its share is never held up by
 *   those who don't. Who comes in debt, or has had its turn of the running round, goes to the end.
 * - Leaving and coming again gains nothing: deficit and debt are kept, what was missed meanwhile is
 *   added, and of that sum one turn may be used. Costs nothing either, to one who is *expected*: it
 *   left for a moment only and wants more (a claim that was granted a part, say). It is due what
 *   it missed, up to FAIR_MISSED_MAX turns.
 * - A round in which all are in debt is made up for in one step. While a line is empty and nobody
 *   is expected, its children's debts are paid off at the tree's whole rate.
 *
 * Cost: what a call does is bounded by the depth of the tree, but for passing over those in debt:
 * that adds up to one step for each quantum handed out.
 *
 * The unit of cost is the owner's. No clock, no allocation; one owner. */
#ifndef THROTTLE_FAIR_H
#define THROTTLE_FAIR_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FAIR_WEIGHT_MAX = 1 << 16, /* keeps weight times cost far from overflow */
    FAIR_AHEAD = 4,            /* nodes that are fetched into the cache ahead of their turn */
    FAIR_MISSED_MAX = 256,     /* turns that one who is expected may have missed */
};
#define FAIR_COST_MAX (INT64_C(1) << 40) /* of one charge, and of a quantum */

/* What the lines of a tree have in common. */
struct fair_tree {
    int64_t quantum; /* a turn of weight 1, from the next round on; the owner's to change, > 0 */
    int64_t rate;    /* cost a second that an empty line's debts are paid with; <= 0: at once */
    uint32_t era;    /* changes of the unit, private */
};

struct fair_node; /* below */

/* Fields private to fair.c but for head, count and away. */
struct fair_line {
    struct fair_tree *tree;
    struct fair_node *owner; /* who stands for this line one level up; NULL at the top */
    struct fair_node *head;  /* circular, in order of turns; NULL: empty */
    struct fair_node *fresh; /* the last of those at the head who go before the others, or NULL */
    uint32_t count;          /* in line */
    uint32_t away;           /* expected */
    uint32_t round;          /* the running one; wraps */
    uint32_t era;
    bool served;                        /* somebody was, in this round */
    int64_t quantum;                    /* of this round */
    uint64_t credit;                    /* sum of the quanta of all rounds begun */
    struct fair_node *past[FAIR_AHEAD]; /* the leaves that had the last turns, or NULL */
    uint32_t turns;
    int64_t emptied_ns; /* when the last one left; meaningless while somebody is in line */
};

/* Fields private to fair.c. What a turn needs comes first. */
struct fair_node {
    struct fair_node *next; /* in line; NULL: in none */
    int64_t deficit;        /* what it may take in this turn; a debt when negative */
    uint32_t round;         /* in which it has its next turn */
    uint32_t weight : 24;
    uint32_t is_inner : 1;
    uint32_t expected : 1;  /* counted in line->away */
    uint32_t known : 1;     /* it has stood in <line>: deficit and left_credit mean something */
    struct fair_line *line; /* where it stands, or (only compared) stood last */
    union {
        struct fair_line *below; /* an inner node's */
        const void *ahead;       /* a leaf's: who had its turn FAIR_AHEAD turns later, in the last
                                    round; a hint for the cache, not followed */
    };
    struct fair_node *prev;
    uint64_t left_credit; /* line->credit up to its last turn, since it has left */
};

void fair_tree_init(struct fair_tree *t, int64_t quantum);
/* The top line of a tree, or, with the inner node <owner>, a line below it. */
void fair_line_init(struct fair_line *l, struct fair_tree *t, struct fair_node *owner);
void fair_leaf_init(struct fair_node *n, uint32_t weight);
/* <n> will stand in <line> for those in <below>. */
void fair_inner_init(struct fair_node *n, uint32_t weight, struct fair_line *line,
                     struct fair_line *below);

/* From its next turn on. */
void fair_set_weight(struct fair_node *n, uint32_t weight);

/* A leaf wants something: it enters <l>, and the nodes above it enter theirs. Asserts that it is in
 * no line. */
void fair_enter(struct fair_node *leaf, struct fair_line *l, int64_t now_ns);
/* It leaves; <expected>: only for a moment. The nodes above it whose lines are empty now leave,
 * too, expected as long as one of theirs is. */
void fair_leave(struct fair_node *leaf, bool expected, int64_t now_ns);
/* It was expected and will not come. No-op for others. */
void fair_give_up(struct fair_node *leaf, int64_t now_ns);

static inline bool fair_in_line(const struct fair_node *n)
{
    return n->next != 0;
}
/* Does somebody want something here, or will in a moment? */
static inline bool fair_is_busy(const struct fair_line *l)
{
    return l->head != 0 || l->away > 0;
}

/* The leaf whose turn it is, below <top>, which is not empty. Calling it again without a charge, or
 * after others came, is harmless. */
struct fair_node *fair_next(struct fair_line *top);
/* The same, but NULL where it would have to begin a turn, at the highest level at which shares
 * matter: where others stand in line, too, or are expected. Who stands there has had its turn of
 * the running round, or waits for others to have theirs. */
struct fair_node *fair_next_in_turn(struct fair_line *top);
/* Is this leaf, in line, one that fair_next_in_turn gives sooner or later? */
bool fair_is_due(const struct fair_node *leaf);
/* The owner turns to something else for a while: what was fetched ahead is of no use any more. */
void fair_pause(struct fair_line *l);
/* How much the leaf that fair_next gave may take before another's turn comes: above 0. */
int64_t fair_allotment(const struct fair_node *leaf);
/* It took <cost>, 1 .. FAIR_COST_MAX. */
void fair_charge(struct fair_node *leaf, int64_t cost);
/* It gave back what it was charged <cost> more for; in line or not. */
void fair_refund(struct fair_node *leaf, int64_t cost);

/* The unit of cost has changed: deficits and debts mean nothing any more. All begin anew, in the
 * order in which they stand. */
void fair_begin_anew(struct fair_line *top);

#endif
