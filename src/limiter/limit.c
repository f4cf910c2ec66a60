/* limit.c - a limit is up to four buckets: messages, bytes, and a peak for each.
 *
 * Invariant: where a limit has terms, bit i of their `active` is set exactly when bucket i is in
 * force, and then param[i] is what its level is counted in; terms with no bit set are never kept.
 * Two buckets of one dimension are charged alike: the first, with the user's burst, holds the
 * long-run rate; the second, with 10 ms' worth of burst, holds the peak. So inside a burst at most
 * peak * t + 10 ms of the peak + the last message pass, and over any window at most rate * t +
 * burst + the last message. */
#include "limiter/limit.h"

#include <stddef.h>

#define NS_PER_S     INT64_C(1000000000)
#define PEAK_NS      INT64_C(10000000) /* longer than a loop turn, far shorter than a burst */
#define SMALL_NS     INT64_C(20000000)
#define BUCKETS      4
#define PEAK(bucket) ((bucket) >= 2)

__extension__ typedef __int128 i128;

/* Tokens that <rate> per period brings in <span_ns>, rounded down; saturates. */
static int64_t worth(int64_t rate, int64_t period_ns, int64_t span_ns)
{
    i128 tokens = (i128)rate * span_ns / period_ns;
    return tokens > INT64_MAX ? INT64_MAX : (int64_t)tokens;
}

static int64_t at_least_one(int64_t n)
{
    return n < 1 ? 1 : n;
}

static int64_t burst_of(const struct tg_rate_spec *r, int64_t period_ns)
{
    return r->burst != 0 ? r->burst : at_least_one(worth(r->rate, period_ns, NS_PER_S));
}

static bool over_max_rate(int64_t rate, int64_t period_ns)
{
    return (i128)rate * NS_PER_S > (i128)TG_RATE_MAX_PER_S * period_ns;
}

static enum tg_limit_problem check_rate(const struct tg_rate_spec *r, int64_t period_ns)
{
    if (r->rate <= 0)
        return TG_LIMIT_OK;
    if (over_max_rate(r->rate, period_ns) || over_max_rate(r->peak, period_ns))
        return TG_LIMIT_RATE_TOO_HIGH;
    if (!tg_bucket_burst_fits(r->rate, period_ns, r->burst))
        return TG_LIMIT_BAD_BURST;
    if (r->peak != 0 && r->peak < r->rate)
        return TG_LIMIT_PEAK_BELOW_RATE;
    if (r->burst != 0 && (i128)r->burst * period_ns < (i128)r->rate * SMALL_NS)
        return TG_LIMIT_BURST_SMALL;
    return TG_LIMIT_OK;
}

enum tg_limit_problem tg_limit_check(const struct tg_limit_spec *spec)
{
    int64_t period_ns = tg_limit_period_ns(spec);
    if (period_ns < TG_PERIOD_MIN_NS || period_ns > TG_PERIOD_MAX_NS)
        return TG_LIMIT_BAD_PERIOD;
    enum tg_limit_problem msgs = check_rate(&spec->msgs, period_ns);
    enum tg_limit_problem bytes = check_rate(&spec->bytes, period_ns);
    bool msgs_is_error = msgs != TG_LIMIT_OK && msgs != TG_LIMIT_BURST_SMALL;
    return msgs_is_error || bytes == TG_LIMIT_OK ? msgs : bytes;
}

const char *tg_limit_problem_text(enum tg_limit_problem p)
{
    switch (p) {
    case TG_LIMIT_OK:
        return "ok";
    case TG_LIMIT_RATE_TOO_HIGH:
        return "the rate is over 2^40 a second";
    case TG_LIMIT_BAD_PERIOD:
        return "the period is not within 1 ms and 1 h";
    case TG_LIMIT_BAD_BURST:
        return "the burst is negative or too large";
    case TG_LIMIT_PEAK_BELOW_RATE:
        return "the peak rate is below the rate";
    case TG_LIMIT_BURST_SMALL:
        return "the burst is below 20 ms of the rate";
    }
    return "unknown problem";
}

bool tg_limit_spec_is_set(const struct tg_limit_spec *spec)
{
    return spec->msgs.rate > 0 || spec->bytes.rate > 0;
}

static bool rate_spec_equal(const struct tg_rate_spec *a, const struct tg_rate_spec *b)
{
    if (a->rate <= 0 && b->rate <= 0)
        return true;
    return a->rate == b->rate && a->burst == b->burst && a->peak == b->peak;
}

bool tg_limit_spec_equal(const struct tg_limit_spec *a, const struct tg_limit_spec *b)
{
    if (!tg_limit_spec_is_set(a) && !tg_limit_spec_is_set(b))
        return true;
    return rate_spec_equal(&a->msgs, &b->msgs) && rate_spec_equal(&a->bytes, &b->bytes) &&
           tg_limit_period_ns(a) == tg_limit_period_ns(b);
}

static const struct tg_rate_spec *rate_spec_of(const struct tg_limit_spec *spec, int bucket)
{
    return bucket % 2 == 0 ? &spec->msgs : &spec->bytes;
}

static bool wants_bucket(const struct tg_limit_spec *spec, int bucket)
{
    const struct tg_rate_spec *r = rate_spec_of(spec, bucket);
    return r->rate > 0 && (!PEAK(bucket) || r->peak > 0);
}

static struct tg_bucket_params params_of(const struct tg_limit_spec *spec, int bucket)
{
    const struct tg_rate_spec *r = rate_spec_of(spec, bucket);
    int64_t period_ns = tg_limit_period_ns(spec);
    if (!PEAK(bucket))
        return tg_bucket_params_make(r->rate, period_ns, burst_of(r, period_ns));
    return tg_bucket_params_make(r->peak, period_ns,
                                 at_least_one(worth(r->peak, period_ns, PEAK_NS)));
}

struct tg_limit_terms tg_limit_terms_make(const struct tg_limit_spec *spec)
{
    struct tg_limit_terms t = {.spec = *spec};
    for (int i = 0; i < BUCKETS; i++) {
        if (!wants_bucket(spec, i))
            continue;
        t.param[i] = params_of(spec, i);
        t.active |= 1U << i;
    }
    return t;
}

const struct tg_limit_spec *tg_limit_spec_of(const struct tg_limit *l)
{
    static const struct tg_limit_spec unset;
    return tg_limit_is_set(l) ? &l->terms->spec : &unset;
}

/* ---- the buckets ---- */

static uint32_t active(const struct tg_limit *l)
{
    return tg_limit_is_set(l) ? l->terms->active : 0;
}

/* All of them, so that one latest instant is true of each. */
static void refill(struct tg_limit *l, int64_t now_ns)
{
    int64_t latest_ns = l->latest_ns;
    for (uint32_t left = active(l); left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        struct tg_bucket b = tg_limit_bucket(l, i);
        tg_bucket_refill(&b, &l->terms->param[i], now_ns);
        l->level[i] = b.level;
        latest_ns = b.latest_ns;
    }
    l->latest_ns = latest_ns;
}

static void tune_bucket(struct tg_limit *l, int i, const struct tg_limit_terms *terms,
                        int initial_percent)
{
    struct tg_bucket b = tg_limit_bucket(l, i);
    if (active(l) & 1U << i)
        tg_bucket_retune(&b, &l->terms->param[i], &terms->param[i], l->latest_ns);
    else
        /* The peak's own burst is too short to double anything, so it starts full. */
        tg_bucket_init_part(&b, &terms->param[i], PEAK(i) ? 100 : initial_percent, l->latest_ns);
    l->level[i] = b.level;
}

void tg_limit_retune(struct tg_limit *l, const struct tg_limit_terms *terms, int initial_percent,
                     int64_t now_ns)
{
    if (!tg_limit_is_set(l))
        l->latest_ns = now_ns;
    refill(l, now_ns);
    for (uint32_t left = terms->active; left != 0; left &= left - 1)
        tune_bucket(l, __builtin_ctz(left), terms, initial_percent);
    l->terms = terms->active != 0 ? terms : NULL;
}

void tg_limit_init(struct tg_limit *l, const struct tg_limit_terms *terms, int initial_percent,
                   int64_t now_ns)
{
    *l = (struct tg_limit){0};
    tg_limit_retune(l, terms, initial_percent, now_ns);
}

bool tg_limit_any_has_tokens(struct tg_limit *l, int64_t now_ns)
{
    bool yes = true;
    refill(l, now_ns);
    for (uint32_t left = active(l); left != 0; left &= left - 1)
        yes = yes && l->level[__builtin_ctz(left)] > 0;
    return yes;
}

void tg_limit_any_charge(struct tg_limit *l, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    refill(l, now_ns);
    for (uint32_t left = active(l); left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        struct tg_bucket b = tg_limit_bucket(l, i);
        tg_bucket_charge(&b, &l->terms->param[i], i % 2 == 0 ? msgs : bytes, now_ns);
        l->level[i] = b.level;
    }
}

void tg_limit_give_back(struct tg_limit *l, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    refill(l, now_ns);
    for (uint32_t left = active(l); left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        struct tg_bucket b = tg_limit_bucket(l, i);
        tg_bucket_give_back(&b, &l->terms->param[i], i % 2 == 0 ? msgs : bytes, now_ns);
        l->level[i] = b.level;
    }
}

int64_t tg_limit_wait_ns(struct tg_limit *l, int64_t now_ns)
{
    int64_t longest_ns = 0;
    refill(l, now_ns);
    for (uint32_t left = active(l); left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        struct tg_bucket b = tg_limit_bucket(l, i);
        int64_t wait_ns = tg_bucket_wait_ns(&b, &l->terms->param[i], now_ns);
        if (wait_ns > longest_ns)
            longest_ns = wait_ns;
    }
    return longest_ns;
}

static int64_t balance_of(struct tg_limit *l, int bucket, int64_t now_ns)
{
    if (!(active(l) & 1U << bucket))
        return INT64_MAX;
    refill(l, now_ns);
    struct tg_bucket b = tg_limit_bucket(l, bucket);
    return tg_bucket_balance(&b, &l->terms->param[bucket], now_ns);
}

void tg_limit_room(struct tg_limit *l, uint64_t *msgs, uint64_t *bytes, int64_t now_ns)
{
    uint64_t least[2] = {UINT64_MAX, UINT64_MAX};
    for (uint32_t left = active(l); left != 0; left &= left - 1) {
        int i = __builtin_ctz(left);
        int64_t balance = balance_of(l, i, now_ns);
        uint64_t room = balance > 0 ? (uint64_t)balance : 0;
        if (room < least[i % 2])
            least[i % 2] = room;
    }
    *msgs = least[0];
    *bytes = least[1];
}

int64_t tg_limit_balance_msgs(struct tg_limit *l, int64_t now_ns)
{
    return balance_of(l, 0, now_ns);
}

int64_t tg_limit_balance_bytes(struct tg_limit *l, int64_t now_ns)
{
    return balance_of(l, 1, now_ns);
}
