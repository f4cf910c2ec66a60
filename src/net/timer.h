/* timer.h - private to net/: the hierarchical timer wheel. Pure: the time is a parameter.
 *
 * Ticks are milliseconds. Level l has 64 slots of 64^l ticks each; a timer stands at the level of
 * the highest base-64 digit in which its tick differs from the current one, so every level below
 * is due before any level above. What differs beyond the top level waits in <far>. One owner. */
#ifndef NET_TIMER_H
#define NET_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "net/worker.h"

enum {
    WHEEL_BITS = 6,
    WHEEL_SLOTS = 1 << WHEEL_BITS,
    WHEEL_LEVELS = 5, /* 2^30 ms, 12 days; later deadlines are looked at again then */
};

struct wheel {
    int64_t now_ns; /* of the last wheel_expire */
    uint64_t tick;  /* that time's tick; everything due up to here is in <due> */
    uint64_t occupied[WHEEL_LEVELS];
    struct timer slot[WHEEL_LEVELS][WHEEL_SLOTS]; /* list heads */
    struct timer due, far;                        /* list heads */
};

void wheel_init(struct wheel *wh, int64_t now_ns);
void wheel_arm(struct wheel *wh, struct timer *t, int64_t deadline_ns);
void wheel_disarm(struct wheel *wh, struct timer *t);
/* Fires what is due at <now_ns>, but what a firing timer arms only in the next call. */
void wheel_expire(struct wheel *wh, int64_t now_ns);
/* When wheel_expire must be called next: never later than the earliest deadline's tick, at times
 * earlier (to re-sort a slot); 0: at once; MONO_NEVER: nothing is armed. */
int64_t wheel_next_ns(const struct wheel *wh);
void wheel_clear(struct wheel *wh); /* disarms all */

#endif
