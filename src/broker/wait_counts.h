/* wait_counts.h - one who waits, a producer or a subscription, as it is counted: at the scope that
 * it waits at (quota/waits.h), and by reason in its topic's line. On the topic's worker; never
 * called for a message that need not wait. */
#ifndef BROKER_WAIT_COUNTS_H
#define BROKER_WAIT_COUNTS_H

#include <stdint.h>

#include "quota/waits.h"
#include "throttle/reason.h"

struct topic_line;

struct wait_counts {
    enum throttle_reason reason; /* whose time runs, REASON_COUNT: none's */
    int64_t from_ns;             /* what is before it is in topic_throttling.ns */
    struct waits *at;            /* where it is counted as waiting; NULL: nowhere */
    int64_t at_from_ns;
    uint64_t msgs, bytes; /* delayed, and not yet told there */
    int64_t told_ns;
};

void wait_counts_init(struct wait_counts *c);
/* It waits at <at> (NULL: nowhere) from now on; what is not told yet was delayed where it waited
 * before. */
void wait_counts_move(struct wait_counts *c, struct waits *at, int64_t now_ns);
/* From now on time counts for <r>, REASON_COUNT: for nothing. */
void wait_counts_reason(struct wait_counts *c, struct topic_line *line, enum throttle_reason r,
                        int64_t now_ns);
/* So much had to wait and has gone on. */
void wait_counts_delayed(struct wait_counts *c, uint64_t msgs, uint64_t bytes, int64_t now_ns);

#endif
