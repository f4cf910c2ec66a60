/* meter.h - the observed rate of a stream of events: one exponentially decaying average.
 *
 * Reads as events per second over about the last <tau> (1 s unless said). Within 0.1 % for a steady
 * rate after some tau; decays to 0 when nothing comes. One owner; no clock. */
#ifndef LIMITER_METER_H
#define LIMITER_METER_H

#include <stdint.h>

struct tg_meter { /* private to meter.c; zero-initialise */
    double weighted;
    int64_t last_ns;
    uint64_t total;   /* all events ever: read with tg_meter_total */
    uint64_t weighed; /* those of them that are in <weighted>: up to last_ns */
};
#define TG_METER_GRAIN_NS 1000000 /* what comes within it counts as come at its beginning */

void tg_meter_move_on(struct tg_meter *m, int64_t now_ns); /* private */

static inline void tg_meter_add(struct tg_meter *m, uint64_t n, int64_t now_ns)
{
    if ((uint64_t)now_ns - (uint64_t)m->last_ns >= TG_METER_GRAIN_NS) /* or back */
        tg_meter_move_on(m, now_ns);
    if (__builtin_add_overflow(m->total, n, &m->total))
        m->total = UINT64_MAX;
}

double tg_meter_rate(const struct tg_meter *m, int64_t now_ns); /* events per second */
static inline uint64_t tg_meter_total(const struct tg_meter *m)
{
    return m->total;
}

#endif
