/* contract_test.c - the admission contract of limiter/bucket.h, over random schedules on a virtual
 * clock. SEEDS=n runs n seeds from SEED on; a failure prints its seed.
 *
 * Two referees, both in exact integers (a token is UNIT units, so that every rate of the periods
 * used here brings whole units each nanosecond):
 * - a window keeps, over all starts t0 so far, the least allowance left, and so checks every pair
 *   t0 <= t1: admitted <= burst + rate * (t1 - t0) + the last message. It knows nothing of buckets.
 * - an oracle is the ideal bucket. Ours must never hold more, nor less by more than 1e-8 of what
 *   has accrued. */
#include "schedule.h"

#define DEFAULT_SEEDS 20000
#define STEPS         120

/* ---- referee 1: every window ---- */

struct window {
    i128 admitted, accrued; /* since the start */
    i128 ceiling;           /* least of (admitted - accrued + burst) over all starts of a window */
};

static void window_open(struct window *w, int64_t burst)
{
    i128 c = w->admitted - w->accrued + (i128)burst * UNIT;
    if (c < w->ceiling)
        w->ceiling = c;
}

static void window_init(struct window *w, int64_t burst)
{
    w->admitted = w->accrued = 0;
    w->ceiling = (i128)burst * UNIT;
}

static void window_admit(struct window *w, int64_t burst, uint64_t n)
{
    window_open(w, burst);
    CHECK(w->admitted - w->accrued <= w->ceiling);
    w->admitted += (i128)n * UNIT;
}

/* ---- referee 2: the ideal bucket ---- */

struct oracle {
    i128 level;
    i128 slack; /* how far ours may be below */
};

static void oracle_accrue(struct oracle *o, struct terms t, int64_t span_ns)
{
    i128 gain = accrued(t, span_ns), room = (i128)t.burst * UNIT - o->level;
    i128 over = gain > room ? gain - room : 0;
    o->level += gain - over;
    o->slack += gain / INVERSE_ERROR + 1 - over; /* time spent full makes up for a deficit */
    if (o->slack < 0)
        o->slack = 0;
}

static void oracle_credit(struct oracle *o, struct terms t, uint64_t n)
{
    i128 full = (i128)t.burst * UNIT;
    o->level += (i128)n * UNIT;
    if (o->level > full)
        o->level = full;
}

/* Ours, in the oracle's units, rounded down. */
static i128 units_of(const struct tg_bucket *b, const struct tg_bucket_params *p)
{
    int64_t cost = (int64_t)p->per_token;
    int64_t tokens = b->level / cost - (b->level % cost < 0);
    i128 rest = b->level - (i128)tokens * cost;
    return (i128)tokens * UNIT + rest * UNIT / cost;
}

static void oracle_check(const struct oracle *o, const struct tg_bucket *b,
                         const struct tg_bucket_params *p)
{
    i128 units = units_of(b, p);
    CHECK(units <= o->level);
    CHECK(o->level - units <= o->slack + 1);
}

/* ---- one bucket under a random schedule ---- */

struct run {
    struct rng rng;
    struct terms t;
    struct tg_bucket_params p;
    struct tg_bucket b;
    struct oracle oracle;
    struct window window;
    int64_t now_ns, latest_ns;
};

static void move_clock(struct run *r, int64_t span_ns)
{
    r->now_ns += span_ns;
    if (r->now_ns <= r->latest_ns)
        return;
    span_ns = r->now_ns - r->latest_ns;
    r->latest_ns = r->now_ns;
    oracle_accrue(&r->oracle, r->t, span_ns);
    r->window.accrued += accrued(r->t, span_ns);
}

static void step_wait(struct run *r)
{
    int64_t wait_ns = tg_bucket_wait_ns(&r->b, &r->p, r->now_ns);
    if (wait_ns > YEAR)
        return;
    if (wait_ns > 1) {
        struct tg_bucket early = r->b;
        CHECK(!tg_bucket_has_tokens(&early, &r->p, r->now_ns + wait_ns - 1));
    }
    move_clock(r, wait_ns);
    CHECK(tg_bucket_has_tokens(&r->b, &r->p, r->now_ns));
}

static void step_time(struct run *r)
{
    switch (below(&r->rng, 16)) {
    case 0:
        move_clock(r, -any_size(&r->rng, S));
        break;
    case 1:
        move_clock(r, any_size(&r->rng, YEAR));
        break;
    case 2:
    case 3:
        break; /* stands still */
    case 4:
    case 5:
    case 6:
    case 7:
        step_wait(r);
        break;
    case 8:
    case 9:
        move_clock(r, any_size(&r->rng, 100 * S));
        break;
    default:
        move_clock(r, any_size(&r->rng, 100000000));
    }
}

static void step_admit(struct run *r)
{
    for (uint64_t left = 1 + below(&r->rng, 20); left > 0; left--) {
        bool oversized = below(&r->rng, 8) == 0;
        uint64_t n = (uint64_t)any_size(&r->rng, oversized ? exact_debt(r->t) : r->t.burst);
        bool ok = tg_bucket_has_tokens(&r->b, &r->p, r->now_ns);
        oracle_check(&r->oracle, &r->b, &r->p);
        int64_t balance = tg_bucket_balance(&r->b, &r->p, r->now_ns); /* rounded down */
        CHECK(ok ? balance >= 0 : balance <= 0);
        if (!ok)
            return;
        tg_bucket_charge(&r->b, &r->p, n, r->now_ns);
        r->oracle.level -= (i128)n * UNIT;
        uint64_t unused = below(&r->rng, 8) == 0 ? below(&r->rng, n + 1) : 0;
        tg_bucket_give_back(&r->b, &r->p, unused, r->now_ns);
        oracle_credit(&r->oracle, r->t, unused);
        window_admit(&r->window, r->t.burst, n - unused);
    }
}

static void step_retune(struct run *r)
{
    struct terms t = any_terms(&r->rng);
    struct tg_bucket_params was = r->p;
    if (tg_bucket_balance(&r->b, &r->p, r->now_ns) < -exact_debt(t))
        return;
    window_open(&r->window, r->t.burst);
    r->t = t;
    r->p = params_of(t);
    tg_bucket_retune(&r->b, &was, &r->p, r->now_ns);
    window_open(&r->window, t.burst);
    oracle_credit(&r->oracle, t, 0);                    /* clamps to the new burst */
    r->oracle.slack += UNIT / (i128)r->p.per_token + 1; /* one unit of ours */
}

static void run_schedule(uint64_t seed)
{
    struct run r = {.rng = {seed}};
    r.t = any_terms(&r.rng);
    r.p = params_of(r.t);
    int64_t tokens = (int64_t)below(&r.rng, (uint64_t)r.t.burst + 1);
    tg_bucket_init(&r.b, &r.p, tokens, 0);
    r.oracle.level = (i128)tokens * UNIT;
    window_init(&r.window, r.t.burst);

    for (int i = 0; i < STEPS; i++) {
        step_time(&r);
        step_admit(&r);
        if (below(&r.rng, 30) == 0)
            step_retune(&r);
        tg_bucket_refill(&r.b, &r.p, r.now_ns);
        oracle_check(&r.oracle, &r.b, &r.p);
    }
}

/* ---- a saturated bucket: whoever waits and then takes uses the whole allowance ---- */

static void run_saturated(uint64_t seed)
{
    struct rng rng = {seed};
    struct terms t;
    t.period_ns = any_period(&rng);
    t.rate = any_size(&rng, max_rate(t.period_ns));
    t.burst = max_i64(worth(t.rate, t.period_ns, S), 1) + 1;
    struct tg_bucket_params p = params_of(t);
    struct tg_bucket b;
    tg_bucket_init(&b, &p, 0, 0);

    int64_t now_ns = 0;
    i128 admitted = 0, last = 0;
    for (int i = 0; i < 500 && now_ns < 100 * YEAR; i++) {
        now_ns += tg_bucket_wait_ns(&b, &p, now_ns);
        last = any_size(&rng, t.burst);
        CHECK(tg_bucket_has_tokens(&b, &p, now_ns));
        tg_bucket_charge(&b, &p, (uint64_t)last, now_ns);
        admitted += last;
    }
    i128 allowance = accrued(t, now_ns);
    CHECK(admitted * UNIT <= allowance + last * UNIT);
    CHECK(admitted * UNIT >= allowance - allowance / INVERSE_ERROR - last * UNIT);
}

/* ---- a whole limit: messages and bytes, with and without peaks, retuned meanwhile ---- */

struct watched {
    bool active;
    struct terms t;
    struct window window;
};

static struct tg_rate_spec any_rate_spec(struct rng *r, int64_t period_ns)
{
    struct tg_rate_spec s = {0};
    if (below(r, 5) == 0)
        return s;
    s.rate = any_size(r, max_rate(period_ns) / 100);
    if (below(r, 2))
        s.burst = any_size(r, max_i64(worth(s.rate, period_ns, 5 * S), 1));
    if (below(r, 2))
        s.peak = s.rate * (int64_t)(1 + below(r, 20));
    return s;
}

static void watch(struct watched *w, bool active, struct terms t)
{
    if (!active) {
        w->active = false;
        return;
    }
    if (w->active)
        window_open(&w->window, w->t.burst);
    else
        window_init(&w->window, t.burst);
    window_open(&w->window, t.burst);
    w->active = true;
    w->t = t;
}

static void watch_spec(struct watched w[4], const struct tg_limit_spec *spec)
{
    for (int i = 0; i < 4; i++) {
        const struct tg_rate_spec *r = i % 2 == 0 ? &spec->msgs : &spec->bytes;
        int64_t p = spec->period_ns;
        int64_t burst = r->burst ? r->burst : max_i64(worth(r->rate, p, S), 1);
        struct terms rate = {r->rate, p, burst};
        struct terms peak = {r->peak, p, max_i64(worth(r->peak, p, S / 100), 1)};
        watch(&w[i], i < 2 ? r->rate > 0 : r->peak > 0, i < 2 ? rate : peak);
    }
}

static void watch_time(struct watched w[4], int64_t span_ns)
{
    for (int i = 0; i < 4; i++)
        w[i].window.accrued += w[i].active ? accrued(w[i].t, span_ns) : 0;
}

static void watch_admit(struct watched w[4], uint64_t msgs, uint64_t bytes)
{
    for (int i = 0; i < 4; i++)
        if (w[i].active)
            window_admit(&w[i].window, w[i].t.burst, i % 2 == 0 ? msgs : bytes);
}

static struct tg_limit_spec any_limit_spec(struct rng *rng)
{
    struct tg_limit_spec spec = {.period_ns = any_period(rng)};
    spec.msgs = any_rate_spec(rng, spec.period_ns);
    spec.bytes = any_rate_spec(rng, spec.period_ns);
    enum tg_limit_problem p = tg_limit_check(&spec);
    CHECK(p == TG_LIMIT_OK || p == TG_LIMIT_BURST_SMALL);
    return spec;
}

static void run_limit(uint64_t seed)
{
    struct rng rng = {seed};
    struct tg_limit l;
    struct watched w[4] = {{0}};
    struct tg_limit_spec spec = any_limit_spec(&rng);
    int64_t now_ns = 0;
    struct tg_limit_terms terms[2] = {tg_limit_terms_make(&spec)}, *next = &terms[1];
    tg_limit_init(&l, &terms[0], (int)below(&rng, 101), now_ns);
    watch_spec(w, &spec);

    for (int i = 0; i < STEPS; i++) {
        int64_t wait_ns = tg_limit_wait_ns(&l, now_ns);
        int64_t span_ns = below(&rng, 2) ? any_size(&rng, 10 * S) : wait_ns > YEAR ? 0 : wait_ns;
        watch_time(w, span_ns);
        now_ns += span_ns;
        bool ok = tg_limit_has_tokens(&l, now_ns);
        CHECK(ok == (span_ns >= wait_ns));
        for (int k = 0; ok && k < 10; k++) {
            uint64_t msgs = 1 + below(&rng, 3), bytes = below(&rng, 4000);
            watch_admit(w, msgs, bytes);
            tg_limit_charge(&l, msgs, bytes, now_ns);
            ok = tg_limit_has_tokens(&l, now_ns);
        }
        if (below(&rng, 20) == 0) {
            spec = any_limit_spec(&rng);
            *next = tg_limit_terms_make(&spec);
            tg_limit_retune(&l, next, 10, now_ns);
            next = next == terms ? &terms[1] : terms;
            watch_spec(w, &spec);
        }
    }
}

static void test_no_window_admits_more_than_the_contract(void **state)
{
    (void)state;
    for_each_seed(run_schedule, DEFAULT_SEEDS);
}

static void test_a_saturated_bucket_uses_its_whole_allowance(void **state)
{
    (void)state;
    for_each_seed(run_saturated, DEFAULT_SEEDS);
}

static void test_every_bucket_of_a_limit_keeps_the_contract(void **state)
{
    (void)state;
    for_each_seed(run_limit, DEFAULT_SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_window_admits_more_than_the_contract),
        cmocka_unit_test(test_a_saturated_bucket_uses_its_whole_allowance),
        cmocka_unit_test(test_every_bucket_of_a_limit_keeps_the_contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
