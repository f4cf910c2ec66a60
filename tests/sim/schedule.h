/* schedule.h - what the tests of the admission contract have in common: seeds, randomness, and the
 * terms of a bucket in exact integers. A token is UNIT units, so that every rate of the periods
 * used here brings whole units each nanosecond.
 *
 * SEEDS=n runs n seeds from SEED on; a failure prints its seed. */
#ifndef TESTS_SCHEDULE_H
#define TESTS_SCHEDULE_H

#include "limiter/limit.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define S             INT64_C(1000000000)
#define HOUR          (3600 * S)
#define YEAR          (365 * 24 * HOUR)
#define UNIT          HOUR      /* a multiple of every period used here */
#define INVERSE_ERROR 100000000 /* 1e-8 */

__extension__ typedef __int128 i128;

static uint64_t current_seed;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            print_error("SEED=%" PRIu64 ": %s\n", current_seed, #cond);                            \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

/* ---- randomness: splitmix64 ---- */

struct rng {
    uint64_t x;
};

static inline uint64_t rnd(struct rng *r)
{
    uint64_t z = r->x += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint64_t below(struct rng *r, uint64_t n)
{
    return rnd(r) % n;
}

/* 1 .. most, every magnitude equally likely, with a taste for powers of two and their neighbours.
 */
static inline int64_t any_size(struct rng *r, int64_t most)
{
    int bits = 64 - __builtin_clzll((uint64_t)most);
    int64_t v = INT64_C(1) << below(r, (uint64_t)bits);
    if (below(r, 4) != 0)
        v += (int64_t)below(r, (uint64_t)v);
    else
        v += (int64_t)below(r, 3) - 1;
    return v < 1 ? 1 : v > most ? most : v;
}

static inline int64_t any_period(struct rng *r)
{
    const int64_t periods[] = {S, S, S, 1000000, 60 * S, 5 * S, HOUR};
    return periods[below(r, sizeof periods / sizeof periods[0])];
}

static inline int64_t max_rate(int64_t period_ns)
{
    return (int64_t)((i128)TG_RATE_MAX_PER_S * period_ns / S);
}

static inline int64_t worth(int64_t rate, int64_t period_ns, int64_t span_ns)
{
    return (int64_t)((i128)rate * span_ns / period_ns);
}

static inline int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- the parameters of one bucket, exactly ---- */

struct terms {
    int64_t rate, period_ns, burst;
};

static inline struct terms any_terms(struct rng *r)
{
    struct terms t;
    t.period_ns = any_period(r);
    t.rate = any_size(r, max_rate(t.period_ns));
    int64_t most = max_i64(worth(t.rate, t.period_ns, 30 * S), 1);
    switch (below(r, 3)) {
    case 0:
        t.burst = max_i64(worth(t.rate, t.period_ns, S), 1);
        break;
    case 1:
        t.burst = any_size(r, most);
        break;
    default: /* far above the rate, as far as 1e-8 is promised and the burst fits */
        t.burst = any_size(r, INT64_C(1) << 35);
        if (!tg_bucket_burst_fits(t.rate, t.period_ns, t.burst))
            t.burst = most;
    }
    return t;
}

static inline struct tg_bucket_params params_of(struct terms t)
{
    return tg_bucket_params_make(t.rate, t.period_ns, t.burst);
}

static inline i128 accrued(struct terms t, int64_t span_ns)
{
    return (i128)t.rate * (UNIT / t.period_ns) * span_ns;
}

/* The debt up to which bucket.h promises to be exact. */
static inline int64_t exact_debt(struct terms t)
{
    i128 days = (i128)t.rate * (INT64_C(1) << 51) / t.period_ns, tokens = INT64_C(1) << 32;
    return max_i64(t.burst, (int64_t)(days < tokens ? days : tokens));
}

/* ---- seeds ---- */

static inline uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static inline void for_each_seed(void (*f)(uint64_t), uint64_t count)
{
    uint64_t first = from_env("SEED", 1), n = from_env("SEEDS", count);
    for (current_seed = first; current_seed < first + n; current_seed++)
        f(current_seed);
}

#endif
