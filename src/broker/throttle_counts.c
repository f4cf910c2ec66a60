/* throttle_counts.c - see throttle_counts.h.
 *
 * Invariant: from throttle_count on a producer is counted as waiting at the scope that it lacks
 * tokens of (wait_counts.h). */
#include "broker/throttle_counts.h"

static struct waits *waits_of(struct producer *p)
{
    if (p->lacking)
        return &p->lacking->waits;
    return p->binding ? scope_waits(p->binding) : NULL;
}

void throttle_count(struct producer *p, int64_t now_ns)
{
    enum throttle_reason r = gate_reason(&p->gate);
    wait_counts_move(&p->counts, waits_of(p), now_ns);
    if (r != REASON_COUNT)
        p->last_reason = r;
    else if (p->gate.step != GATE_OPEN) /* at HOLD, without a reason */
        r = p->last_reason;
    wait_counts_reason(&p->counts, &p->topic->publish, r, now_ns);
}

void throttle_count_step(struct producer *p)
{
    if (p->counts.at)
        waits_step(p->counts.at, (int)p->gate.step);
}

void throttle_count_hit(struct producer *p)
{
    enum throttle_reason r = gate_reason(&p->gate);
    if (r <= REASON_BROKER)
        topic_line_throttling(&p->topic->publish)->hits[r]++;
}

void throttle_count_discarded(struct producer *p, uint64_t msgs, uint64_t bytes)
{
    struct topic_throttling *t = topic_line_throttling(&p->topic->publish);
    t->discarded_msgs += msgs;
    t->discarded_bytes += bytes;
    if (p->counts.at)
        waits_discarded(p->counts.at, msgs, bytes);
}
