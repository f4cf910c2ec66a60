/* cost.c - messages and bytes as one number, and the average of it. All products saturate. */
#include "throttle/cost.h"

#include "base/mono.h"

void cost_init(struct cost *c)
{
    *c = (struct cost){.msg = 1};
}

bool cost_choose_unit(struct cost *c, const struct tg_limit_spec *spec)
{
    uint64_t msg = c->msg, byte = c->byte;

    if (spec->msgs.rate > 0 && spec->bytes.rate > 0) {
        msg = (uint64_t)(spec->bytes.rate / spec->msgs.rate);
        byte = 1;
    } else if (tg_limit_spec_is_set(spec)) {
        msg = spec->msgs.rate > 0;
        byte = spec->bytes.rate > 0;
    }
    if (msg == c->msg && byte == c->byte)
        return false;
    *c = (struct cost){.msg = msg, .byte = byte};
    return true;
}

static int64_t times(uint64_t n, uint64_t unit)
{
    uint64_t r;
    if (__builtin_mul_overflow(n, unit, &r) || r > (uint64_t)FAIR_COST_MAX)
        return FAIR_COST_MAX;
    return (int64_t)r;
}

int64_t cost_of(const struct cost *c, uint64_t msgs, uint64_t bytes)
{
    int64_t m = times(msgs, c->msg), b = times(bytes, c->byte);
    int64_t cost = m > b ? m : b;
    return cost > 0 ? cost : 1;
}

/* An eighth of the way, at least by one. */
void cost_follow(struct cost *c, int64_t cost)
{
    int64_t step = (cost - c->average) / 8;
    if (c->average == 0)
        step = cost;
    else if (step == 0)
        step = (cost > c->average) - (cost < c->average);
    c->average += step;
}

int64_t cost_rate(const struct cost *c, const struct tg_limit_spec *spec)
{
    const struct tg_rate_spec *r = c->byte ? &spec->bytes : &spec->msgs;
    if (r->rate <= 0)
        return 0;
    __int128 per_s = (__int128)r->rate * MONO_S / tg_limit_period_ns(spec);
    return per_s > 0 ? (int64_t)per_s : 1;
}
