/* bucket.c - the cold half of the token bucket: its parameters, retuning, waiting, giving back.
 *
 * The parameters are where all rounding happens. We look for integers per_ns / per_token as close
 * below rate / period as the room allows:
 *
 *     per_token <= DEBT_UNITS, or as much more as keeps per_ns small (room for a debt), and
 *     per_token * burst <= INT64_MAX                                  (room for the burst).
 *
 * Below, never above: then a token costs at least the time it takes to accrue, and whatever is
 * admitted stays within the contract, since burst, charges and refills all count the same units. */
#include "limiter/bucket.h"

/* The 2^63 units below zero then hold 2^32 tokens, or 2^51 ns of the rate. */
#define DEBT_UNITS  (UINT64_C(1) << 31)
#define DEBT_PER_NS 4096
#define NS_PER_S    UINT64_C(1000000000)

__extension__ typedef unsigned __int128 u128;

struct fraction {
    uint64_t num, den;
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int64_t clamp_i64(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* a * b / c, rounded down; for c > 0 and a result below 2^64. */
static uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c)
{
    return (uint64_t)((u128)a * b / c);
}

static uint64_t div_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* The largest fraction <= x whose denominator is <= <bound>; x itself if that fits.
 *
 * A walk down the Stern-Brocot tree with Euclid's steps: low <= x < high enclose x, and each is
 * moved towards it by adding the other as often as the bound and x allow. The remainders are
 * low_rem = x.num * low.den - x.den * low.num and likewise for high; low_rem is 0 when low is x. */
static struct fraction best_below(struct fraction x, uint64_t bound)
{
    struct fraction low = {x.num / x.den, 1}, high = {1, 0};
    uint64_t low_rem = x.num % x.den, high_rem = x.den;

    while (low_rem != 0) {
        uint64_t k = min_u64((high_rem - 1) / low_rem, (bound - high.den) / low.den);
        high.num += k * low.num;
        high.den += k * low.den;
        high_rem -= k * low_rem;

        k = min_u64(low_rem / high_rem, (bound - low.den) / high.den);
        if (k == 0)
            break;
        low.num += k * high.num;
        low.den += k * high.den;
        low_rem -= k * high_rem;
    }
    return low;
}

static struct fraction tokens_per_ns(int64_t rate, int64_t period_ns)
{
    struct fraction x;
    x.den = (uint64_t)clamp_i64(period_ns, TG_PERIOD_MIN_NS, TG_PERIOD_MAX_NS);
    uint64_t most = mul_div(TG_RATE_MAX_PER_S, x.den, NS_PER_S);
    x.num = min_u64((uint64_t)clamp_i64(rate, 0, INT64_MAX), most);
    return x;
}

bool tg_bucket_burst_fits(int64_t rate, int64_t period_ns, int64_t burst)
{
    struct fraction x = tokens_per_ns(rate, period_ns);
    if (burst < 0 || burst > TG_BURST_MAX)
        return false;
    /* At per_ns = 1 a token costs the fewest units. */
    return x.num == 0 || burst == 0 ||
           div_up(x.den, x.num) <= (uint64_t)INT64_MAX / (uint64_t)burst;
}

struct tg_bucket_params tg_bucket_params_make(int64_t rate, int64_t period_ns, int64_t burst)
{
    struct fraction x = tokens_per_ns(rate, period_ns);
    uint64_t tokens = (uint64_t)clamp_i64(burst, 1, TG_BURST_MAX);
    if (x.num == 0)
        return (struct tg_bucket_params){.per_token = 1, .per_ns = 0, .full = (int64_t)tokens};

    uint64_t least = div_up(x.den, x.num); /* a smaller per_token would leave per_ns at 0 */
    uint64_t bound = max_u64(DEBT_UNITS, mul_div(DEBT_PER_NS, x.den, x.num));
    bound = max_u64(least, min_u64(bound, (uint64_t)INT64_MAX / tokens));
    struct fraction r = best_below(x, bound);
    tokens = min_u64(tokens, (uint64_t)INT64_MAX / r.den);
    return (struct tg_bucket_params){
        .per_token = r.den, .per_ns = r.num, .full = (int64_t)(tokens * r.den)};
}

void tg_bucket_init(struct tg_bucket *b, const struct tg_bucket_params *p, int64_t tokens,
                    int64_t now_ns)
{
    int64_t burst = p->full / (int64_t)p->per_token;
    b->level = clamp_i64(tokens, 0, burst) * (int64_t)p->per_token;
    b->latest_ns = now_ns;
}

void tg_bucket_init_part(struct tg_bucket *b, const struct tg_bucket_params *p, int percent,
                         int64_t now_ns)
{
    percent = percent < 0 ? 0 : percent > 100 ? 100 : percent;
    b->level = (int64_t)((u128)p->full * (unsigned)percent / 100);
    if (b->level == 0)
        b->level = 1;
    b->latest_ns = now_ns;
}

/* Whole tokens in <level>, rounded down. */
static int64_t whole_tokens(int64_t level, int64_t per_token)
{
    return level / per_token - (level % per_token < 0);
}

void tg_bucket_retune(struct tg_bucket *b, const struct tg_bucket_params *was,
                      const struct tg_bucket_params *p, int64_t now_ns)
{
    tg_bucket_refill(b, was, now_ns);
    int64_t tokens = whole_tokens(b->level, (int64_t)was->per_token);
    uint64_t rest = (uint64_t)b->level - (uint64_t)tokens * was->per_token;
    uint64_t part = mul_div(rest, p->per_token, was->per_token); /* below one new token */

    int64_t level;
    if (__builtin_mul_overflow(tokens, (int64_t)p->per_token, &level))
        level = tokens > 0 ? p->full : INT64_MIN;
    if (__builtin_add_overflow(level, (int64_t)part, &level) || level > p->full)
        level = p->full;
    b->level = level;
}

int64_t tg_bucket_wait_ns(struct tg_bucket *b, const struct tg_bucket_params *p, int64_t now_ns)
{
    if (tg_bucket_has_tokens(b, p, now_ns))
        return 0;
    if (p->per_ns == 0)
        return INT64_MAX;
    uint64_t missing = UINT64_C(1) - (uint64_t)b->level; /* to be above zero */
    uint64_t wait_ns = div_up(missing, p->per_ns);
    /* A clock that stepped back must first catch up. */
    uint64_t behind_ns = (uint64_t)b->latest_ns - (uint64_t)now_ns;
    if (__builtin_add_overflow(wait_ns, behind_ns, &wait_ns) || wait_ns > INT64_MAX)
        return INT64_MAX;
    return (int64_t)wait_ns;
}

int64_t tg_bucket_balance(struct tg_bucket *b, const struct tg_bucket_params *p, int64_t now_ns)
{
    tg_bucket_refill(b, p, now_ns);
    return whole_tokens(b->level, (int64_t)p->per_token);
}

void tg_bucket_give_back(struct tg_bucket *b, const struct tg_bucket_params *p, uint64_t n,
                         int64_t now_ns)
{
    tg_bucket_refill(b, p, now_ns);
    u128 units = (u128)n * p->per_token;
    uint64_t room = (uint64_t)p->full - (uint64_t)b->level;
    b->level = units < room ? (int64_t)((uint64_t)b->level + (uint64_t)units) : p->full;
}
