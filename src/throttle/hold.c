/* hold.c - see hold.h.
 *
 * Invariant: from CLOSE_PRODUCER to ready = true no frame is taken. As long as that holds, what its
 * client sends again after ready = true begins with the first frame that was not taken, and nothing
 * is lost, doubled or out of order. What else is here guards against clients that put old frames on
 * the wire late (the resume point) or look at their list of unacknowledged messages without a lock
 * while they send it again (receipts kept back). */
#include "throttle/hold.h"

#include <string.h>

#include "base/err.h"
#include "throttle/reason.h"

void hold_init(struct hold *h, int64_t spacing_ns)
{
    memset(h, 0, sizeof *h);
    h->spacing_ns = spacing_ns;
}

static int compare(struct hold_position a, struct hold_position b)
{
    if (a.sequence_id != b.sequence_id)
        return a.sequence_id < b.sequence_id ? -1 : 1;
    return (a.chunk > b.chunk) - (a.chunk < b.chunk);
}

void hold_unread(struct hold *h, int64_t unread_ns)
{
    int64_t more_ns = unread_ns - h->unread_ns;
    h->unread_ns = unread_ns;
    h->asked_ns += more_ns;
    h->told_ns += more_ns;
    h->last_frame_ns += more_ns;
    if (h->stale_ns != 0)
        h->stale_ns += more_ns;
}

/* ---- the hold ---- */

bool hold_may_begin(const struct hold *h)
{
    return !hold_is_held(h) && !h->disobeyed;
}

void hold_begin(struct hold *h, struct parking_amount owed, int64_t now_ns)
{
    TG_ASSERT(!hold_is_held(h));
    h->is_second = h->wants_again;
    h->wants_again = false;
    if (!h->is_second) { /* else what was discarded before is still what has to come again */
        h->discarded = false;
        h->seen = owed;
        h->resent_bytes = 0;
    }
    h->state = HOLD_CLOSED;
    h->closed_ns = h->asked_ns = now_ns;
}

bool hold_registered(struct hold *h, int64_t now_ns)
{
    TG_ASSERT(hold_is_held(h));
    h->state = HOLD_REGISTERED;
    h->told_ns = now_ns;
    h->tried = false;
    return !h->disobeyed;
}

bool hold_may_release(const struct hold *h, bool owed, int64_t now_ns)
{
    bool is_time = h->is_second || now_ns - h->closed_ns >= h->spacing_ns;
    return h->state == HOLD_REGISTERED && !owed && is_time;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void hold_release(struct hold *h, int64_t now_ns)
{
    TG_ASSERT(h->state == HOLD_REGISTERED);
    h->knows_window = h->knows_window || (h->released_ns != 0 && !h->is_second);
    h->state = HOLD_RELEASED;
    h->released_ns = h->last_frame_ns = now_ns;
    h->stale_ns = 0;
    h->resumed = h->came = false;
    h->keeps = true;
    h->checks = h->discarded && !h->is_second && now_ns - h->asked_ns < HOLD_STALE_NS;
    h->window = hold_outstanding(h);
}

bool hold_keeps_receipts(const struct hold *h)
{
    return h->state == HOLD_CLOSED || (h->state == HOLD_RELEASED && h->keeps);
}

static void leave_released(struct hold *h)
{
    if (h->state == HOLD_RELEASED && !h->checks && !h->keeps)
        h->state = HOLD_FLOWING;
}

void hold_keep_no_more(struct hold *h)
{
    h->keeps = false;
    leave_released(h);
}

void hold_drop(struct hold *h)
{
    h->state = HOLD_FLOWING;
    h->wants_again = false;
}

/* ---- a SEND ---- */

static enum hold_verdict discard(struct hold *h, struct hold_position at, uint64_t messages,
                                 uint64_t bytes)
{
    if (!h->discarded || compare(at, h->first) < 0)
        h->first = at;
    if (!h->discarded || compare(at, h->highest) > 0)
        h->highest = at;
    h->discarded = true;
    if (!h->is_second) { /* these have been counted */
        h->seen.messages += messages;
        h->seen.bytes += bytes;
        h->resent_bytes += bytes;
    }
    return HOLD_DISCARD;
}

static enum hold_verdict disobeyed(struct hold *h, int64_t now_ns)
{
    h->disobeyed = true;
    h->state = HOLD_CLOSED;
    h->closed_ns = h->asked_ns = now_ns;
    return HOLD_DISOBEYED;
}

/* Was it put on the wire before its client knew that it was closed? */
static bool is_stale(const struct hold *h, struct hold_position at, int64_t now_ns)
{
    if (!h->checks || compare(at, h->highest) <= 0)
        return false;
    return h->stale_ns != 0 || now_ns - h->asked_ns < HOLD_STALE_NS;
}

static enum hold_verdict take(struct hold *h, struct hold_position at)
{
    h->checks = false;
    if (!h->resumed && h->discarded && compare(at, h->first) > 0)
        h->expired = true;
    h->resumed = true;
    if (!h->came && h->discarded && compare(at, h->highest) >= 0) {
        h->came = true;
        h->came_ns = h->last_frame_ns;
    }
    leave_released(h);
    return HOLD_TAKE;
}

enum hold_verdict hold_frame(struct hold *h, struct hold_position at, uint64_t messages,
                             uint64_t bytes, int64_t now_ns)
{
    switch (h->state) {
    case HOLD_FLOWING:
        break;
    case HOLD_CLOSED:
        return discard(h, at, messages, bytes);
    case HOLD_REGISTERED:
        if (now_ns - h->told_ns >= HOLD_DISOBEY_NS && !h->disobeyed)
            return disobeyed(h, now_ns);
        return discard(h, at, messages, bytes);
    case HOLD_RELEASED:
        h->last_frame_ns = now_ns;
        if (!is_stale(h, at, now_ns))
            return take(h, at);
        if (h->stale_ns == 0)
            h->stale_ns = now_ns;
        return discard(h, at, messages, bytes);
    }
    return HOLD_TAKE;
}

/* ---- time ---- */

static int64_t earlier(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

/* When receipts that are kept back go out, if nothing else comes. */
static int64_t tell_ns(const struct hold *h)
{
    if (!h->keeps)
        return MONO_NEVER;
    if (h->came)
        return earlier(h->last_frame_ns + HOLD_QUIET_NS, h->came_ns + HOLD_CAME_NS);
    int64_t most_ns = h->discarded ? HOLD_RESEND_NS : HOLD_SETTLE_NS;
    return earlier(h->last_frame_ns + HOLD_SILENCE_NS, h->released_ns + most_ns);
}

static int64_t again_ns(const struct hold *h)
{
    return h->checks && h->stale_ns != 0 ? h->stale_ns + HOLD_SILENCE_NS : MONO_NEVER;
}

int64_t hold_deadline_ns(const struct hold *h)
{
    switch (h->state) {
    case HOLD_FLOWING:
        break;
    case HOLD_CLOSED:
        return h->asked_ns + HOLD_ABSENT_NS;
    case HOLD_REGISTERED:
        return h->tried ? MONO_NEVER : h->closed_ns + h->spacing_ns;
    case HOLD_RELEASED:
        return h->wants_again ? MONO_NEVER : earlier(tell_ns(h), again_ns(h));
    }
    return MONO_NEVER;
}

enum hold_due hold_due(struct hold *h, int64_t now_ns)
{
    if (now_ns < hold_deadline_ns(h))
        return HOLD_NOTHING;
    if (h->state == HOLD_CLOSED)
        return HOLD_FORGET;
    if (h->state == HOLD_REGISTERED) {
        h->tried = true;
        return HOLD_TRY;
    }
    if (again_ns(h) <= now_ns) {
        h->wants_again = true;
        return HOLD_AGAIN;
    }
    h->keeps = false;
    leave_released(h);
    return HOLD_TELL;
}

/* ---- how much is parked ---- */

static bool fits(struct parking_amount a, struct parking_amount in)
{
    return a.messages <= in.messages && a.bytes <= in.bytes;
}

/* Some more than was seen: it is seen only in part, and one frame too many is one more hold. */
static uint64_t grown(uint64_t window, uint64_t most)
{
    uint64_t more = window + window / 8;
    return more < most ? more : most;
}

struct parking_amount hold_allowance(const struct hold *h, struct parking_amount least,
                                     struct parking_amount base, struct parking_amount most)
{
    if (h->expired)
        return fits(least, base) ? least : base;
    if (fits(most, base))
        return base;
    if (!fits(h->window, most))
        return h->resent_bytes >= HOLD_HEAVY_BYTES ? most : base;
    if (!h->knows_window)
        return base;
    return (struct parking_amount){larger(base.messages, grown(h->window.messages, most.messages)),
                                   larger(base.bytes, grown(h->window.bytes, most.bytes))};
}

struct parking_amount hold_outstanding(const struct hold *h)
{
    return (struct parking_amount){larger(h->window.messages, h->seen.messages),
                                   larger(h->window.bytes, h->seen.bytes)};
}

#define BIT(reason) (UINT32_C(1) << (reason))

bool hold_suits(uint32_t reasons)
{
    const uint32_t brief =
        BIT(REASON_CONNECTION_IN_FLIGHT) | BIT(REASON_PUBLISH_BUFFER) | BIT(REASON_OUTBOUND_BUFFER);
    return (reasons & ~brief) != 0;
}
