/* meter.c - one exponentially decaying rate.
 *
 * `weighted` is the sum of all events, each weighted by e^-(age / tau), as of last_ns. For a steady
 * rate r it settles at r * tau, so the reading is weighted / tau. What came at last_ns and within
 * a thousandth of tau after it is weighed, as one, when time has moved on by more: adding to that
 * costs a compare and an addition. A clock that stands still or steps back decays nothing.
 *
 * The exponential is worked out here: libm would be the library's only dependency beside libc. */
#include "limiter/meter.h"

#include <string.h>

#define TAU_S     1.0
#define NS_PER_S  1e9
#define LOG2_E    1.4426950408889634
#define LN_2      0.6931471805599453
#define FORGOTTEN 1000 /* halvings after which nothing is left; keeps 2^-n a normal double */

/* Terms of the series that reach double precision: for up to a loop turn of 1 ms, and up to ln 2.
 */
#define SMALL       1e-3
#define SMALL_TERMS 5
#define TERMS       16

/* 2^-n for 0 <= n <= FORGOTTEN, by its exponent bits. */
static double halvings(unsigned n)
{
    uint64_t bits = (uint64_t)(1023 - n) << 52;
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* e^-x for x >= 0: whole halvings, and a short series for the rest. */
static double decay(double x)
{
    static const double inverse[TERMS + 1] = {
        0,       1,        1.0 / 2,  1.0 / 3,  1.0 / 4,  1.0 / 5,  1.0 / 6,  1.0 / 7, 1.0 / 8,
        1.0 / 9, 1.0 / 10, 1.0 / 11, 1.0 / 12, 1.0 / 13, 1.0 / 14, 1.0 / 15, 1.0 / 16};
    double halves = x * LOG2_E;
    if (halves >= FORGOTTEN)
        return 0;
    unsigned whole = (unsigned)halves;
    double rest = (halves - whole) * LN_2;
    double sum = 1;
    for (int i = rest < SMALL ? SMALL_TERMS : TERMS; i > 0; i--)
        sum = 1 - rest * sum * inverse[i];
    return halvings(whole) * sum;
}

static double weighted_at(const struct tg_meter *m, int64_t now_ns)
{
    double weighted = m->weighted + (double)(m->total - m->weighed);
    if (now_ns <= m->last_ns || weighted == 0)
        return weighted;
    double age_ns = (double)((uint64_t)now_ns - (uint64_t)m->last_ns);
    return weighted * decay(age_ns / (TAU_S * NS_PER_S));
}

void tg_meter_move_on(struct tg_meter *m, int64_t now_ns)
{
    m->weighted = weighted_at(m, now_ns);
    m->weighed = m->total;
    if (now_ns > m->last_ns || m->weighted == 0)
        m->last_ns = now_ns;
}

double tg_meter_rate(const struct tg_meter *m, int64_t now_ns)
{
    return weighted_at(m, now_ns) / TAU_S;
}
