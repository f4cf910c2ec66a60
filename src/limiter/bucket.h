/* bucket.h - one token bucket.
 *
 * Contract: if the owner charges only while tg_bucket_has_tokens(), then between any two instants
 * t0 < t1 the tokens admitted are at most
 *
 *         burst + rate * (t1 - t0) + the last admitted message.
 *
 * Never over. Under by less than 1e-8 of the rate while the burst is at most 2^35 tokens or 2^35 ns
 * (34 s) of the rate, whichever is more; by less than 1e-6 for a burst of an hour of the rate; more
 * only beyond. Whole rates per second with a burst up to 2^33 are exact.
 *
 * How: the balance is an integer of units. A token costs <per_token> units and a nanosecond brings
 * <per_ns> of them; their ratio is the best fraction not above the rate that leaves room for the
 * burst in 63 bits. So no operation ever rounds: a refill, however short, loses nothing, and a debt
 * is repaid to the unit. What would overflow saturates: a gain at the burst, a debt at the bottom.
 *
 * Rules
 * - A bucket "has tokens" while its balance is above zero, by however little. A charge of any size
 * is then good and may overdraw, once; time repays the debt. So a bucket whose burst is one message
 *   still has room above the threshold, and who comes a little late loses nothing. A debt is exact
 *   up to the burst and up to 2^32 tokens or 2^51 ns (26 days) of the rate, whichever is less;
 *   somewhere beyond it saturates.
 * - A clock that stands still or steps back grants nothing and takes nothing; refilling goes on
 *   when it has passed the latest instant seen.
 * - Rate 0 is a bucket that never refills. "Not limited" is no bucket at all: see limit.h.
 * - One owner, who serialises the calls. No clock, no allocation, no locks. Any number of buckets
 *   may share one tg_bucket_params.
 *
 * Inline is what a message passes through; the rest is in bucket.c. */
#ifndef LIMITER_BUCKET_H
#define LIMITER_BUCKET_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define TG_RATE_MAX_PER_S INT64_C(1099511627776) /* 2^40 */
#define TG_PERIOD_MIN_NS  INT64_C(1000000)       /* 1 ms */
#define TG_PERIOD_MAX_NS  INT64_C(3600000000000) /* 1 h */
#define TG_BURST_MAX      (TG_RATE_MAX_PER_S * 3600)

/* Derived from rate, period and burst by tg_bucket_params_make; read-only after that. */
struct tg_bucket_params {
    uint64_t per_token; /* units that one token costs; below 2^42 */
    uint64_t per_ns;    /* units that one nanosecond brings */
    int64_t full;       /* units of a full bucket: the burst */
};

/* The whole state of a bucket; fields private to bucket.h and bucket.c. */
struct tg_bucket {
    int64_t level;     /* units; negative: debt */
    int64_t latest_ns; /* the latest instant seen */
};
static_assert(sizeof(struct tg_bucket) == 16, "a million idle topics are why a bucket is 16 bytes");

/* <rate> tokens each <period_ns>. Arguments are clamped to what is served: rate 0 .. 2^40/s, period
 * 1 ms .. 1 h, burst 1 .. TG_BURST_MAX and at most what tg_bucket_burst_fits accepts. */
struct tg_bucket_params tg_bucket_params_make(int64_t rate, int64_t period_ns, int64_t burst);

/* False where so large a burst would take centuries to accrue (its units would not fit). */
bool tg_bucket_burst_fits(int64_t rate, int64_t period_ns, int64_t burst);

/* Starts with <percent> of the burst (clamped to 0 .. 100), and above zero. */
void tg_bucket_init_part(struct tg_bucket *b, const struct tg_bucket_params *p, int percent,
                         int64_t now_ns);

/* Starts with <tokens>, clamped to 0 .. burst. */
void tg_bucket_init(struct tg_bucket *b, const struct tg_bucket_params *p, int64_t tokens,
                    int64_t now_ns);

/* From parameters <was> to <p>: refills at the old rate up to now, then keeps balance or debt, to
 * the fraction of a token, rounded down; a balance is clamped to the new burst. */
void tg_bucket_retune(struct tg_bucket *b, const struct tg_bucket_params *was,
                      const struct tg_bucket_params *p, int64_t now_ns);

/* How long until tg_bucket_has_tokens, rounded up; 0 when it has some, INT64_MAX for never. */
int64_t tg_bucket_wait_ns(struct tg_bucket *b, const struct tg_bucket_params *p, int64_t now_ns);

/* Whole tokens now, rounded down; negative: debt. */
int64_t tg_bucket_balance(struct tg_bucket *b, const struct tg_bucket_params *p, int64_t now_ns);

/* Gives back tokens that were charged and not used; what does not fit in the burst is dropped. */
void tg_bucket_give_back(struct tg_bucket *b, const struct tg_bucket_params *p, uint64_t n,
                         int64_t now_ns);

/* Credits the time since the latest call. The other calls do this themselves. */
static inline void tg_bucket_refill(struct tg_bucket *b, const struct tg_bucket_params *p,
                                    int64_t now_ns)
{
    if (now_ns <= b->latest_ns)
        return;
    uint64_t elapsed_ns = (uint64_t)now_ns - (uint64_t)b->latest_ns;
    uint64_t room = (uint64_t)p->full - (uint64_t)b->level;
    uint64_t gain;
    b->latest_ns = now_ns;
    if (__builtin_expect(__builtin_mul_overflow(elapsed_ns, p->per_ns, &gain), 0))
        gain = UINT64_MAX;
    b->level = __builtin_expect(gain >= room, 0) ? p->full : (int64_t)((uint64_t)b->level + gain);
}

/* May the next message pass? */
static inline bool tg_bucket_has_tokens(struct tg_bucket *b, const struct tg_bucket_params *p,
                                        int64_t now_ns)
{
    tg_bucket_refill(b, p, now_ns);
    return b->level > 0;
}

/* Takes <n> tokens, there or not. Never fails. */
static inline void tg_bucket_charge(struct tg_bucket *b, const struct tg_bucket_params *p,
                                    uint64_t n, int64_t now_ns)
{
    tg_bucket_refill(b, p, now_ns);
    int64_t cost;
    if (__builtin_expect(__builtin_mul_overflow(n, p->per_token, &cost) ||
                             __builtin_sub_overflow(b->level, cost, &b->level),
                         0))
        b->level = INT64_MIN;
}

#endif
