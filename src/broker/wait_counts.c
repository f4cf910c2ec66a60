/* wait_counts.c - see wait_counts.h.
 *
 * Invariant: it is counted as waiting at exactly one scope's waits, <at>, or at none: that where
 * too many wait to be counted, too. Delayed messages are told to that scope, which many workers may
 * share, ten times a second and when it is left. */
#include "broker/wait_counts.h"

#include "base/mono.h"
#include "broker/topic_line.h"

#define TELL_NS (100 * MONO_MS)

void wait_counts_init(struct wait_counts *c)
{
    *c = (struct wait_counts){.reason = REASON_COUNT};
}

static void tell_delayed(struct wait_counts *c, int64_t now_ns)
{
    if (c->at)
        waits_delayed(c->at, c->msgs, c->bytes);
    c->msgs = c->bytes = 0;
    c->told_ns = now_ns;
}

void wait_counts_move(struct wait_counts *c, struct waits *at, int64_t now_ns)
{
    if (at == c->at)
        return;
    if (c->at) {
        tell_delayed(c, now_ns);
        waits_end(c->at, c->at_from_ns, now_ns);
    }
    c->at = at && waits_begin(at, now_ns) ? at : NULL;
    c->at_from_ns = now_ns;
}

void wait_counts_reason(struct wait_counts *c, struct topic_line *line, enum throttle_reason r,
                        int64_t now_ns)
{
    if (r == c->reason)
        return;
    if (c->reason != REASON_COUNT)
        topic_line_throttling(line)->ns[c->reason] += now_ns - c->from_ns;
    c->reason = r;
    c->from_ns = now_ns;
}

void wait_counts_delayed(struct wait_counts *c, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    c->msgs += msgs;
    c->bytes += bytes;
    if (now_ns - c->told_ns >= TELL_NS)
        tell_delayed(c, now_ns);
}
