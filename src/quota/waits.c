/* waits.c - see waits.h.
 *
 * Time with anybody waiting needs the first who comes and the last who goes, on whichever workers:
 * so the count and the beginning are one word, changed by compare-and-swap, and exactly one of
 * those who leave sees it go to nothing. The beginning is kept in units of 16 us, which 44 bits
 * hold for eight years. */
#include "quota/waits.h"

#include <stddef.h>

#include "base/err.h"

enum { COUNT_BITS = 20, UNIT_BITS = 14 };
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)

static uint64_t state_of(uint64_t count, uint64_t units)
{
    return units << COUNT_BITS | count;
}

static int64_t since_ns(uint64_t state)
{
    return (int64_t)(state >> COUNT_BITS << UNIT_BITS);
}

static void add(_Atomic int64_t *to, int64_t n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

static void count(_Atomic uint64_t *to, uint64_t n)
{
    if (n > 0)
        atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

bool waits_begin(struct waits *w, int64_t began_ns)
{
    uint64_t s = atomic_load_explicit(&w->state, memory_order_relaxed), next;
    do {
        uint64_t n = s & COUNT_MASK;
        if (n == COUNT_MASK)
            return false;
        next = n == 0 ? state_of(1, (uint64_t)began_ns >> UNIT_BITS) : s + 1;
    } while (!atomic_compare_exchange_weak_explicit(&w->state, &s, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    atomic_fetch_add_explicit(&w->begun_sum, (uint64_t)began_ns, memory_order_relaxed);
    count(&w->times, 1);
    return true;
}

void waits_end(struct waits *w, int64_t began_ns, int64_t now_ns)
{
    uint64_t s = atomic_load_explicit(&w->state, memory_order_relaxed), next;
    do {
        TG_ASSERT((s & COUNT_MASK) > 0);
        next = (s & COUNT_MASK) == 1 ? 0 : s - 1;
    } while (!atomic_compare_exchange_weak_explicit(&w->state, &s, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    int64_t wall_ns = now_ns - since_ns(s);
    if (next == 0 && wall_ns > 0)
        add(&w->wall_ns, wall_ns);
    atomic_fetch_sub_explicit(&w->begun_sum, (uint64_t)began_ns, memory_order_relaxed);
    add(&w->summed_ns, now_ns - began_ns);
}

void waits_delayed(struct waits *w, uint64_t msgs, uint64_t bytes)
{
    count(&w->msgs, msgs);
    count(&w->bytes, bytes);
}

void waits_discarded(struct waits *w, uint64_t msgs, uint64_t bytes)
{
    count(&w->discarded_msgs, msgs);
    count(&w->discarded_bytes, bytes);
}

void waits_step(struct waits *w, int step)
{
    TG_ASSERT(step >= 0 && step < WAIT_STEPS);
    count(&w->steps[step], 1);
}

static int64_t at_least_0(int64_t ns)
{
    return ns > 0 ? ns : 0; /* another worker's clock may be a turn ahead */
}

struct waits_view waits_view(const struct waits *w, int64_t now_ns)
{
    struct waits_view v = {0};
    if (w == NULL)
        return v;
    uint64_t s = atomic_load_explicit(&w->state, memory_order_relaxed);
    uint64_t begun = atomic_load_explicit(&w->begun_sum, memory_order_relaxed);
    v.waiting = (uint32_t)(s & COUNT_MASK);
    v.wall_ns = atomic_load_explicit(&w->wall_ns, memory_order_relaxed);
    v.summed_ns = atomic_load_explicit(&w->summed_ns, memory_order_relaxed);
    if (v.waiting > 0) {
        v.wall_ns += at_least_0(now_ns - since_ns(s));
        v.summed_ns += at_least_0((int64_t)(v.waiting * (uint64_t)now_ns - begun));
    }
    v.times = atomic_load_explicit(&w->times, memory_order_relaxed);
    v.msgs = atomic_load_explicit(&w->msgs, memory_order_relaxed);
    v.bytes = atomic_load_explicit(&w->bytes, memory_order_relaxed);
    for (int i = 0; i < WAIT_STEPS; i++)
        v.steps[i] = atomic_load_explicit(&w->steps[i], memory_order_relaxed);
    v.discarded_msgs = atomic_load_explicit(&w->discarded_msgs, memory_order_relaxed);
    v.discarded_bytes = atomic_load_explicit(&w->discarded_bytes, memory_order_relaxed);
    return v;
}
