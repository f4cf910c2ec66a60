/* waits.h - who waits at a scope, and what it has cost: for `limits`, metrics and explain.
 *
 * Written by every worker that has producers waiting there, read by anyone: all of it is atomic and
 * nothing is locked. It is touched when a wait begins or ends, or some ten times a second while it
 * lasts, never for a message that need not wait. Times of several workers may differ by a turn. */
#ifndef QUOTA_WAITS_H
#define QUOTA_WAITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { WAIT_STEPS = 4 }; /* the steps of throttle/gate.h */

struct waits {                  /* zero-initialised; fields private to waits.c */
    _Atomic uint64_t state;     /* how many wait, and since when anybody does */
    _Atomic int64_t wall_ns;    /* with anybody waiting, up to the last time nobody was */
    _Atomic int64_t summed_ns;  /* of waits that have ended */
    _Atomic uint64_t begun_sum; /* of the beginnings of those that have not; wraps */
    _Atomic uint64_t times;
    _Atomic uint64_t msgs, bytes;
    _Atomic uint64_t steps[WAIT_STEPS];
    _Atomic uint64_t discarded_msgs, discarded_bytes;
};

/* A producer begins to wait there; waits_end gets the same <began_ns>. False: a million do, which
 * is all that can be counted; this one is not, and no waits_end may follow. */
bool waits_begin(struct waits *w, int64_t began_ns);
void waits_end(struct waits *w, int64_t began_ns, int64_t now_ns);
void waits_delayed(struct waits *w, uint64_t msgs, uint64_t bytes); /* passed after a wait */
void waits_discarded(struct waits *w, uint64_t msgs, uint64_t bytes);
void waits_step(struct waits *w, int step); /* a producer that waits there was taken to it */

struct waits_view {
    uint32_t waiting;     /* producers, now */
    int64_t wall_ns;      /* in which anybody waited */
    int64_t summed_ns;    /* of all producers */
    uint64_t times;       /* waits begun */
    uint64_t msgs, bytes; /* delayed */
    uint64_t steps[WAIT_STEPS];
    uint64_t discarded_msgs, discarded_bytes;
};
struct waits_view waits_view(const struct waits *w, int64_t now_ns); /* NULL: nobody ever waited */

#endif
