/* histogram.h - counts of durations: 128 steps per doubling, so a value read back is at most 0.8 %
 * too high; any duration, in a fixed 117 KB. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 256, HISTOGRAM_DOUBLINGS = 57 };

struct histogram {
    uint64_t count[HISTOGRAM_DOUBLINGS * HISTOGRAM_STEPS];
    uint64_t total;
    int64_t max_ns;
};

static inline void histogram_add(struct histogram *h, int64_t ns)
{
    uint64_t v = ns > 0 ? (uint64_t)ns : 0;
    unsigned shift = v < HISTOGRAM_STEPS ? 0 : 56 - (unsigned)__builtin_clzll(v);
    /* From the second doubling on v >> shift is 128 .. 255: the upper half of the steps. */
    unsigned i = shift * HISTOGRAM_STEPS + (unsigned)(v >> shift);
    h->count[i]++;
    h->total++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

/* The least value that at least <share> of the durations do not exceed; 0 when there are none. */
static inline int64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t want = (uint64_t)(share * (double)h->total + 0.999999), seen = 0;
    if (want == 0)
        want = 1;
    for (unsigned i = 0; i < HISTOGRAM_DOUBLINGS * HISTOGRAM_STEPS && h->total > 0; i++) {
        seen += h->count[i];
        if (seen < want)
            continue;
        unsigned shift = i / HISTOGRAM_STEPS;
        int64_t top = (int64_t)((((uint64_t)i % HISTOGRAM_STEPS + 1) << shift) - 1);
        return top < h->max_ns ? top : h->max_ns;
    }
    return 0;
}

#endif
