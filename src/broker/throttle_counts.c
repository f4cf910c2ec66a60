/* throttle_counts.c - see throttle_counts.h.
 *
 * Invariant: a producer is counted as waiting at exactly one scope's waits, <waits_at>, or at none;
 * from throttle_count on it is the one that it lacks tokens of, unless too many wait there to be
 * counted. Delayed messages are told to that
 * scope, which many workers may share, ten times a second and when the producer leaves it. */
#include "broker/throttle_counts.h"

#include "base/mono.h"
#include "throttle/waitq.h"

#define TELL_NS (100 * MONO_MS)

static struct waits *waits_of(struct producer *p)
{
    if (p->lacking)
        return &p->lacking->waits;
    return p->binding ? scope_waits(p->binding) : NULL;
}

static void tell_delayed(struct producer *p, int64_t now_ns)
{
    if (p->waits_at)
        waits_delayed(p->waits_at, p->delayed_msgs, p->delayed_bytes);
    p->delayed_msgs = p->delayed_bytes = 0;
    p->delayed_told_ns = now_ns;
}

static void count_at_scope(struct producer *p, int64_t now_ns)
{
    struct waits *at = waits_of(p);
    if (at == p->waits_at)
        return;
    if (p->waits_at) {
        tell_delayed(p, now_ns);
        waits_end(p->waits_at, p->waits_from_ns, now_ns);
    }
    p->waits_at = at && waits_begin(at, now_ns) ? at : NULL;
    p->waits_from_ns = now_ns;
}

void throttle_count(struct producer *p, int64_t now_ns)
{
    enum throttle_reason r = gate_reason(&p->gate);
    count_at_scope(p, now_ns);
    if (r != REASON_COUNT)
        p->last_reason = r;
    else if (p->gate.step != GATE_OPEN) /* at HOLD, without a reason */
        r = p->last_reason;
    if (r == p->counted_reason)
        return;
    if (p->counted_reason != REASON_COUNT)
        topic_line_throttling(&p->topic->publish)->ns[p->counted_reason] +=
            now_ns - p->counted_from_ns;
    p->counted_reason = r;
    p->counted_from_ns = now_ns;
}

void throttle_count_step(struct producer *p)
{
    if (p->waits_at)
        waits_step(p->waits_at, (int)p->gate.step);
}

void throttle_count_hit(struct producer *p)
{
    enum throttle_reason r = gate_reason(&p->gate);
    if (r <= REASON_BROKER)
        topic_line_throttling(&p->topic->publish)->hits[r]++;
}

void throttle_count_delayed(struct producer *p, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    p->delayed_msgs += msgs;
    p->delayed_bytes += bytes;
    if (now_ns - p->delayed_told_ns >= TELL_NS)
        tell_delayed(p, now_ns);
}

void throttle_count_discarded(struct producer *p, uint64_t msgs, uint64_t bytes)
{
    struct topic_throttling *t = topic_line_throttling(&p->topic->publish);
    t->discarded_msgs += msgs;
    t->discarded_bytes += bytes;
    if (p->waits_at)
        waits_discarded(p->waits_at, msgs, bytes);
}
