/* cost.h - what a frame costs in a queue, in one number.
 *
 * In messages where the limit is of messages, in bytes where it is of bytes. Where it is of both,
 * in bytes, and a message counts at least as many bytes as the two rates pass per message: each
 * frame costs what it takes of the scarcer of the two. */
#ifndef THROTTLE_COST_H
#define THROTTLE_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "limiter/limit.h"
#include "throttle/fair.h"

struct cost {
    uint64_t msg, byte; /* what one of each counts */
    int64_t average;    /* of a frame; 0 before the first */
};

/* Begins with messages. */
void cost_init(struct cost *c);
/* Chooses the unit for this limit. True when it has changed, and with it the meaning of all costs:
 * the average is forgotten. A limit that is not set leaves it (order matters then, shares don't).
 */
bool cost_choose_unit(struct cost *c, const struct tg_limit_spec *spec);
/* 1 .. FAIR_COST_MAX: at least 1, so that every grant moves the line on. */
int64_t cost_of(const struct cost *c, uint64_t msgs, uint64_t bytes);
/* The average follows the cost of a frame just seen. With equal frames it becomes exactly that. */
void cost_follow(struct cost *c, int64_t cost);
/* What the limit passes in a second, in this unit; 0: not limited. */
int64_t cost_rate(const struct cost *c, const struct tg_limit_spec *spec);

#endif
