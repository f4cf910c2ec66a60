/* throttle_counts.h - what throttling has cost, counted where it happens: per topic by reason, and
 * at the scope that a producer waits at (quota/waits.h). On the topic's worker; never called for a
 * message that need not wait. */
#ifndef BROKER_THROTTLE_COUNTS_H
#define BROKER_THROTTLE_COUNTS_H

#include "broker/producer.h"

/* Its reasons, its step, or what it waits at, may have changed: time up to now counts for what was
 * there before. At HOLD without a reason the last one counts. */
void throttle_count(struct producer *p, int64_t now_ns);
/* Its gate has moved. */
void throttle_count_step(struct producer *p);
/* One of its frames found a limit used up. */
void throttle_count_hit(struct producer *p);
/* Frames of it were thrown away: it is held, its client sends them again. */
void throttle_count_discarded(struct producer *p, uint64_t msgs, uint64_t bytes);

#endif
