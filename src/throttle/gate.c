/* gate.c - the steps of the gate and the count of who wants a socket unread.
 *
 * next_move() is the table of gate.h, line for line, and gate_advance() alone writes the step. One
 * call makes one move. A socket is paused only on entering GATE_PAUSE and resumed only on leaving
 * it, so the owner's pause and resume come in pairs and a pause_set never goes below zero. */
#include "throttle/gate.h"

#include <string.h>

#include "base/err.h"

struct move {
    enum gate_step to;
    enum gate_action action;
};

static uint32_t bit(enum throttle_reason r)
{
    TG_ASSERT(r < REASON_COUNT);
    return UINT32_C(1) << r;
}

void gate_init(struct gate *g)
{
    memset(g, 0, sizeof *g);
    g->step = GATE_OPEN;
}

void gate_set(struct gate *g, enum throttle_reason r)
{
    g->reasons |= bit(r);
}

void gate_clear(struct gate *g, enum throttle_reason r)
{
    g->reasons &= ~bit(r);
}

void gate_clear_all(struct gate *g)
{
    g->reasons = 0;
}

bool gate_has(const struct gate *g, enum throttle_reason r)
{
    return (g->reasons & bit(r)) != 0;
}

enum throttle_reason gate_reason(const struct gate *g)
{
    return g->reasons ? (enum throttle_reason)__builtin_ctz(g->reasons) : REASON_COUNT;
}

/* The table. In each row the first line that applies wins; none: it stays. */
static struct move next_move(enum gate_step step, bool waits, struct gate_facts f)
{
    switch (step) {
    case GATE_OPEN:
        if (waits)
            return (struct move){GATE_PARK, GATE_BEGAN};
        break;
    case GATE_PARK:
        if (!waits)
            return (struct move){GATE_OPEN, GATE_ENDED};
        if (f.must_hold || (f.parking_full && f.may_hold))
            return (struct move){GATE_HOLD, GATE_HOLD_PRODUCER};
        if (f.parking_full)
            return (struct move){GATE_PAUSE, GATE_PAUSE_SOCKET};
        break;
    case GATE_HOLD:
        if (!waits && f.may_release)
            return (struct move){GATE_OPEN, GATE_RELEASE_AND_END};
        break;
    case GATE_PAUSE:
        if (!waits)
            return (struct move){GATE_OPEN, GATE_RESUME_AND_END};
        if (f.parking_full && f.may_hold)
            return (struct move){GATE_HOLD, GATE_RESUME_AND_HOLD};
        if (f.parking_low && !f.parking_full)
            return (struct move){GATE_PARK, GATE_RESUME_SOCKET};
        break;
    }
    return (struct move){step, GATE_NOTHING};
}

enum gate_action gate_advance(struct gate *g, struct gate_facts f, int64_t now_ns)
{
    struct move m = next_move(g->step, g->reasons != 0 || f.parked || f.must_hold, f);

    if (m.to == g->step)
        return GATE_NOTHING;
    if (g->step == GATE_OPEN) {
        g->since_ns = now_ns;
        g->times++;
    }
    if (m.to == GATE_OPEN)
        g->throttled_ns = gate_throttled_ns(g, now_ns);
    g->step = m.to;
    g->step_times[m.to]++;
    return m.action;
}

int64_t gate_throttled_ns(const struct gate *g, int64_t now_ns)
{
    int64_t running_ns = g->step == GATE_OPEN ? 0 : now_ns - g->since_ns;
    return g->throttled_ns + (running_ns > 0 ? running_ns : 0);
}

const char *gate_step_name(enum gate_step s)
{
    static const char *const name[] = {
        [GATE_OPEN] = "open", [GATE_PARK] = "park", [GATE_HOLD] = "hold", [GATE_PAUSE] = "pause"};
    return name[s];
}

bool pause_set_is_paused(const struct pause_set *p)
{
    return p->producers != 0 || p->reasons != 0;
}

bool pause_set_add_producer(struct pause_set *p)
{
    bool was = pause_set_is_paused(p);
    p->producers++;
    return !was;
}

bool pause_set_remove_producer(struct pause_set *p)
{
    TG_ASSERT(p->producers > 0);
    p->producers--;
    return !pause_set_is_paused(p);
}

bool pause_set_add(struct pause_set *p, enum throttle_reason r)
{
    bool was = pause_set_is_paused(p);
    p->reasons |= bit(r);
    return !was;
}

bool pause_set_remove(struct pause_set *p, enum throttle_reason r)
{
    bool was = pause_set_is_paused(p);
    p->reasons &= ~bit(r);
    return was && !pause_set_is_paused(p);
}
