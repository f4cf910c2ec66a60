/* shared_contract_test.c - the contract of limiter/shared.h, over random schedules of simulated
 * workers on a virtual clock: leases of any size taken, charged late or never, returned or not;
 * clocks that lag, stand still and step back; grants, binding, retuning, lifting the limit.
 *
 * A referee keeps every window: after each admission it checks, for every earlier instant t0,
 *
 *     admitted since t0 <= burst + rate * (t1 - t0) + the largest message admitted since t0.
 *
 * It knows nothing of buckets. There are two: one by the clock on the wall, which allows for the
 * lag of the workers' clocks (none in half of the schedules), and one by the latest instant that
 * the bucket was shown, which allows nothing. Beside them, after each operation, tokens are counted
 * to the unit: what is in the centre and in leases changes by what was spent, and by nothing else.
 */
#include "limiter/shared_limit.h"
#include "schedule.h"

#define DEFAULT_SEEDS  2000
#define STEPS          200
#define WORKERS_MAX    6
#define ADMISSIONS_MAX 600
#define STARTS_MAX     (ADMISSIONS_MAX + 2 * STEPS + 1)

/* ---- the referee ---- */

struct start {
    i128 ceiling;   /* what may be admitted, since the beginning, but for one message */
    uint32_t first; /* index of the next message */
};

struct referee {
    i128 admitted;
    uint32_t starts, messages;
    struct start start[STARTS_MAX];
    uint64_t message[ADMISSIONS_MAX];
};

static void referee_reset(struct referee *f)
{
    f->admitted = 0;
    f->starts = f->messages = 0;
}

static bool referee_is_full(const struct referee *f)
{
    return f->messages == ADMISSIONS_MAX || f->starts >= STARTS_MAX - 1;
}

/* A window starts when <accrued> had accrued. */
static void referee_open(struct referee *f, int64_t burst, i128 accrued)
{
    f->start[f->starts++] = (struct start){f->admitted - accrued + (i128)burst * UNIT, f->messages};
}

/* A message of <n> tokens, of which <used> were used, when <accrued> had accrued. */
static void referee_admit(struct referee *f, uint64_t n, uint64_t used, i128 accrued)
{
    f->message[f->messages++] = n;
    f->admitted += (i128)used * UNIT;
    uint64_t largest = 0;
    uint32_t next = f->messages;
    for (uint32_t i = f->starts; i-- > 0;) {
        while (next > f->start[i].first) {
            next--;
            if (f->message[next] > largest)
                largest = f->message[next];
        }
        CHECK(f->admitted - accrued <= f->start[i].ceiling + (i128)largest * UNIT);
    }
}

/* ---- one bucket and its workers ---- */

struct worker {
    struct tg_lease lease;
    uint64_t pending; /* asked for, granted, not charged yet; 0: none */
};

struct run {
    struct rng rng;
    struct terms t;
    struct tg_shared s;
    uint32_t workers;
    struct worker worker[WORKERS_MAX];
    bool limited, binding;
    bool counting;                /* in this step */
    int64_t now_ns, lag_ns;       /* the clock on the wall; how old what a worker reads may be */
    i128 accrued, centre_accrued; /* by the two clocks */
    int64_t centre_ns;
    i128 slack; /* what accrues in lag_ns at most */
    struct referee wall, centre;
};

static const struct tg_pool *pool(const struct run *r)
{
    return &r->s.pool[0];
}

/* What a worker reads. */
static int64_t some_now(struct run *r)
{
    return r->now_ns - (int64_t)below(&r->rng, (uint64_t)r->lag_ns + 1);
}

static void centre_was_shown(struct run *r)
{
    int64_t latest_ns = pool(r)->bucket.latest_ns;
    if (latest_ns <= r->centre_ns)
        return;
    r->centre_accrued += accrued(r->t, latest_ns - r->centre_ns);
    r->centre_ns = latest_ns;
}

static void pass_time(struct run *r, int64_t span_ns)
{
    r->now_ns += span_ns;
    r->accrued += accrued(r->t, span_ns);
}

static bool is_void(const struct run *r, const struct tg_lease *l)
{
    return (l->seen & ~TG_LEASE_ONCE) < r->s.oldest;
}

/* Units in the centre and in leases, less what is as good as spent. */
static i128 units(const struct run *r)
{
    i128 tokens = 0;
    for (uint32_t i = 0; i < r->workers; i++) {
        const struct worker *w = &r->worker[i];
        if (w->lease.granted[0] != 0 && !is_void(r, &w->lease))
            tokens += (i128)w->lease.credit[0] - (i128)w->pending;
    }
    return pool(r)->bucket.level + tokens * (i128)pool(r)->params.per_token;
}

static void check_leases(const struct run *r)
{
    uint64_t granted = 0;
    for (uint32_t i = 0; i < r->workers; i++) {
        const struct tg_lease *l = &r->worker[i].lease;
        CHECK(l->granted[1] == 0);
        if (l->granted[0] == 0)
            continue;
        CHECK(l->credit[0] <= l->granted[0]);
        granted += is_void(r, l) ? 0 : l->granted[0];
    }
    CHECK(granted == r->s.leased[0]);
    if (r->limited)
        CHECK(pool(r)->bucket.level + (i128)granted * (i128)pool(r)->params.per_token <=
              pool(r)->params.full);
}

/* Between these two no time passes for the centre, if tokens are counted in this step. */
static i128 before(struct run *r, int64_t now_ns)
{
    if (r->counting)
        tg_shared_wait_ns(&r->s, now_ns);
    return units(r);
}

static void after(struct run *r, i128 was, i128 tokens_spent)
{
    check_leases(r);
    centre_was_shown(r);
    if (r->limited && r->counting)
        CHECK(units(r) == was - tokens_spent * (i128)pool(r)->params.per_token);
}

static void open_windows(struct run *r)
{
    referee_open(&r->wall, r->t.burst, r->accrued - r->slack);
    referee_open(&r->centre, r->t.burst, r->centre_accrued);
}

static void admitted(struct run *r, uint64_t n, uint64_t used)
{
    if (!r->limited)
        return;
    referee_admit(&r->wall, n, used, r->accrued);
    referee_admit(&r->centre, n, used, r->centre_accrued);
}

static uint64_t any_message(struct run *r)
{
    switch (below(&r->rng, 8)) {
    case 0:
        return (uint64_t)any_size(&r->rng, exact_debt(r->t));
    case 1:
    case 2:
        return (uint64_t)any_size(&r->rng, r->t.burst);
    case 3:
        return below(&r->rng, 3);
    default: /* many to a lease */
        return (uint64_t)any_size(&r->rng, max_i64((int64_t)pool(r)->ahead, 1));
    }
}

/* ---- what may happen ---- */

/* The window opens before the centre is shown the time. */
static void step_take(struct run *r, struct worker *w)
{
    int64_t now_ns = some_now(r);
    for (uint64_t left = 1 + below(&r->rng, 8); left > 0 && !referee_is_full(&r->wall); left--) {
        uint64_t n = any_message(r);
        open_windows(r);
        i128 was = before(r, now_ns);
        bool ok = tg_lease_take(&w->lease, &r->s, n, now_ns);
        CHECK(!(ok && r->binding));
        after(r, was, ok ? n : 0);
        if (!ok)
            return;
        admitted(r, n, n);
    }
}

static void step_ask(struct run *r, struct worker *w)
{
    uint64_t n = any_message(r);
    int64_t now_ns = some_now(r);
    open_windows(r);
    i128 was = before(r, now_ns);
    bool ok = tg_lease_has(&w->lease, &r->s, n, now_ns);
    CHECK(!(ok && r->binding));
    after(r, was, 0);
    if (!ok || below(&r->rng, 4) == 0)
        return; /* a message that other limits refused */
    admitted(r, n, n);
    if (below(&r->rng, 2) == 0 && n > 0 && r->limited) {
        w->pending = n;
        return;
    }
    tg_lease_charge(&w->lease, &r->s, n);
    after(r, was, n);
}

static void step_charge(struct run *r, struct worker *w)
{
    i128 was = units(r);
    tg_lease_charge(&w->lease, &r->s, w->pending);
    w->pending = 0;
    after(r, was, 0);
}

static void step_return(struct run *r, struct worker *w)
{
    int64_t now_ns = some_now(r);
    i128 was = before(r, now_ns);
    tg_lease_return(&w->lease, &r->s, now_ns);
    CHECK(w->lease.granted[0] == 0);
    after(r, was, 0);
}

static void step_home(struct run *r)
{
    uint64_t n = any_message(r), unused = below(&r->rng, 4) == 0 ? below(&r->rng, n + 1) : 0;
    int64_t now_ns = some_now(r);
    open_windows(r);
    i128 was = before(r, now_ns);
    bool has = tg_shared_has_tokens(&r->s, now_ns);
    CHECK(has == (tg_shared_wait_ns(&r->s, now_ns) == 0));
    CHECK(tg_shared_grant(&r->s, n, now_ns) == has);
    after(r, was, has ? n : 0);
    if (!has)
        return;
    if (unused > 0) {
        tg_shared_give_back(&r->s, unused, now_ns);
        after(r, was, (i128)n - (i128)unused);
    }
    admitted(r, n, n - unused);
}

static void step_binding(struct run *r)
{
    i128 was = units(r);
    r->binding = !r->binding;
    tg_shared_set_binding(&r->s, r->binding);
    CHECK(tg_shared_is_binding(&r->s) == r->binding);
    after(r, was, 0);
}

static void set_terms(struct run *r, struct terms t)
{
    r->t = t;
    i128 in_lag = accrued(t, r->lag_ns);
    if (in_lag > r->slack)
        r->slack = in_lag;
}

static void step_retune(struct run *r)
{
    struct terms t = any_terms(&r->rng);
    bool was_limited = r->limited;
    if (was_limited && tg_shared_balance(&r->s, r->now_ns) < -exact_debt(t))
        return;
    centre_was_shown(r);
    open_windows(r);
    struct tg_bucket_params p = params_of(t);
    tg_shared_retune(&r->s, &p, (int)below(&r->rng, 101), r->now_ns);
    centre_was_shown(r);
    set_terms(r, t);
    if (!was_limited) {
        referee_reset(&r->wall);
        referee_reset(&r->centre);
        r->centre_ns = r->now_ns;
    }
    r->limited = true;
    open_windows(r);
    check_leases(r);
}

static void step_lift(struct run *r)
{
    tg_shared_set_unlimited(&r->s);
    r->limited = false;
    check_leases(r);
}

static void step_time(struct run *r)
{
    switch (below(&r->rng, 8)) {
    case 0:
        pass_time(r, any_size(&r->rng, YEAR));
        break;
    case 1:
        pass_time(r, any_size(&r->rng, 100 * S));
        break;
    case 2:
    case 3: {
        int64_t wait_ns = tg_shared_wait_ns(&r->s, r->now_ns);
        centre_was_shown(r);
        pass_time(r, wait_ns < YEAR ? wait_ns : 0);
        break;
    }
    case 4:
        pass_time(r, any_size(&r->rng, 10000000));
        break;
    default:
        break; /* stands still */
    }
}

static void step(struct run *r)
{
    struct worker *w = &r->worker[below(&r->rng, r->workers)];
    uint64_t what = below(&r->rng, 64);
    r->counting = below(&r->rng, 2) == 0;
    if (what == 0)
        step_retune(r);
    else if (what == 1 && below(&r->rng, 4) == 0)
        step_lift(r);
    else if (what < 5)
        step_binding(r);
    else if (what < 16)
        step_home(r);
    else if (w->pending != 0)
        step_charge(r, w);
    else if (what < 24)
        step_return(r, w);
    else if (what < 36)
        step_ask(r, w);
    else
        step_take(r, w);
}

static void run_schedule(uint64_t seed)
{
    static struct run r; /* large */
    memset(&r, 0, sizeof r);
    r.rng.x = seed;
    r.workers = 1 + (uint32_t)below(&r.rng, WORKERS_MAX);
    r.lag_ns = below(&r.rng, 2) == 0 ? 0 : any_size(&r.rng, S);
    set_terms(&r, any_terms(&r.rng));
    struct tg_bucket_params p = params_of(r.t);
    tg_shared_init(&r.s, &p, (int)below(&r.rng, 101), 0);
    r.limited = true;

    for (int i = 0; i < STEPS && !referee_is_full(&r.wall); i++) {
        step_time(&r);
        step(&r);
    }
    for (uint32_t i = 0; i < r.workers; i++) {
        struct worker *w = &r.worker[i];
        if (w->pending != 0)
            step_charge(&r, w);
        step_return(&r, w);
    }
    CHECK(r.s.leased[0] == 0);
}

/* ---- saturated workers: they use the whole allowance ---- */

static i128 take_all(struct rng *rng, struct tg_lease *l, struct tg_shared *s, int64_t most,
                     int64_t now_ns)
{
    i128 taken = 0;
    for (int64_t n = any_size(rng, most); tg_lease_take(l, s, (uint64_t)n, now_ns);
         n = any_size(rng, most))
        taken += n;
    return taken;
}

static void run_saturated(uint64_t seed)
{
    struct rng rng = {seed};
    struct tg_lease lease[WORKERS_MAX] = {{0}}, last = {0};
    uint64_t workers = 1 + below(&rng, WORKERS_MAX);
    struct terms t;
    t.period_ns = any_period(&rng);
    t.rate = any_size(&rng, max_rate(t.period_ns));
    t.burst = max_i64(worth(t.rate, t.period_ns, S), 1) + 1;
    int64_t most = any_size(&rng, t.burst);
    most = max_i64(most, t.burst / 500); /* or it takes too long */
    struct tg_bucket_params p = params_of(t);
    static struct tg_shared s;
    tg_shared_init(&s, &p, 0, 0);

    int64_t now_ns = 0;
    i128 taken = 0;
    for (int i = 0; i < 100 && now_ns < 100 * YEAR; i++) {
        int64_t wait_ns = tg_shared_wait_ns(&s, now_ns);
        now_ns += wait_ns > 0 ? wait_ns : 1 + (int64_t)below(&rng, 2000000);
        for (uint64_t k = below(&rng, workers), n = workers; n > 0; n--, k++) {
            taken += take_all(&rng, &lease[k % workers], &s, most, now_ns);
            if (below(&rng, 2) == 0)
                tg_lease_return(&lease[k % workers], &s, now_ns);
        }
    }
    for (uint64_t i = 0; i < workers; i++)
        tg_lease_return(&lease[i], &s, now_ns);
    taken += take_all(&rng, &last, &s, most, now_ns);
    CHECK(s.leased[0] == 0);

    i128 allowance = accrued(t, now_ns);
    CHECK(taken * UNIT <= allowance + (i128)most * UNIT);
    CHECK(taken * UNIT >= allowance - allowance / INVERSE_ERROR - UNIT);
}

/* ---- a whole limit: every bucket keeps the contract, a message goes to all of them or none ----
 */

struct watched {
    bool active;
    struct terms t;
    i128 accrued;
    struct referee referee;
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

static struct tg_limit_spec any_limit_spec(struct rng *rng)
{
    struct tg_limit_spec spec = {.period_ns = any_period(rng)};
    spec.msgs = any_rate_spec(rng, spec.period_ns);
    spec.bytes = any_rate_spec(rng, spec.period_ns);
    return spec;
}

static struct terms terms_of(const struct tg_limit_spec *spec, int bucket)
{
    const struct tg_rate_spec *r = bucket % 2 == 0 ? &spec->msgs : &spec->bytes;
    int64_t p = spec->period_ns;
    if (bucket >= 2)
        return (struct terms){r->peak, p, max_i64(worth(r->peak, p, S / 100), 1)};
    return (struct terms){r->rate, p, r->burst ? r->burst : max_i64(worth(r->rate, p, S), 1)};
}

static void watch_spec(struct watched w[4], const struct tg_limit_spec *spec)
{
    for (int i = 0; i < 4; i++) {
        struct terms t = terms_of(spec, i);
        bool was_active = w[i].active;
        w[i].active = t.rate > 0 && terms_of(spec, i % 2).rate > 0;
        if (was_active)
            referee_open(&w[i].referee, w[i].t.burst, w[i].accrued);
        else
            referee_reset(&w[i].referee);
        w[i].t = t;
        referee_open(&w[i].referee, t.burst, w[i].accrued);
    }
}

static bool watch_is_full(const struct watched w[4])
{
    for (int i = 0; i < 4; i++)
        if (referee_is_full(&w[i].referee))
            return true;
    return false;
}

static void watch_admit(struct watched w[4], uint64_t msgs, uint64_t bytes)
{
    for (int i = 0; i < 4; i++) {
        uint64_t n = i % 2 == 0 ? msgs : bytes;
        if (!w[i].active)
            continue;
        referee_open(&w[i].referee, w[i].t.burst, w[i].accrued);
        referee_admit(&w[i].referee, n, n, w[i].accrued);
    }
}

static void limit_turn(struct rng *rng, struct tg_limit_lease *l, struct tg_shared_limit *s,
                       struct watched w[4], int64_t now_ns)
{
    bool large = below(rng, 2) == 0;
    for (int i = 0; i < 10 && !watch_is_full(w); i++) {
        uint64_t msgs = 1 + below(rng, 3), bytes = below(rng, large ? 4000 : 40);
        if (!tg_limit_lease_has(l, s, msgs, bytes, now_ns))
            break;
        if (below(rng, 8) == 0)
            continue; /* refused by another limit */
        tg_limit_lease_charge(l, s, msgs, bytes);
        watch_admit(w, msgs, bytes);
    }
    if (below(rng, 4) != 0)
        tg_limit_lease_return(l, s, now_ns);
}

static bool a_burst_is_leased_out(const struct tg_shared *s)
{
    for (int i = 0; i < 4; i++) {
        i128 leased = (i128)s->leased[i % 2] * (i128)s->pool[i].params.per_token;
        if ((s->active & 1U << i) != 0 && leased >= s->pool[i].params.full)
            return true;
    }
    return false;
}

static void run_limit(uint64_t seed)
{
    struct rng rng = {seed};
    static struct tg_shared_limit s;
    static struct watched w[4];
    struct tg_limit_lease lease[WORKERS_MAX] = {{{0}}};
    uint64_t workers = 1 + below(&rng, WORKERS_MAX);
    struct tg_limit_spec spec = any_limit_spec(&rng);
    int64_t now_ns = 0;
    memset(w, 0, sizeof w);
    tg_shared_limit_init(&s, &spec, (int)below(&rng, 101), now_ns);
    watch_spec(w, &spec);

    for (int i = 0; i < STEPS && !watch_is_full(w); i++) {
        int64_t wait_ns = tg_shared_limit_wait_ns(&s, now_ns);
        int64_t span_ns = below(&rng, 2) ? any_size(&rng, 10 * S) : wait_ns > YEAR ? 0 : wait_ns;
        for (int k = 0; k < 4; k++)
            w[k].accrued += w[k].active ? accrued(w[k].t, span_ns) : 0;
        now_ns += span_ns;
        bool has = tg_shared_limit_has_tokens(&s, now_ns);
        CHECK(has ? span_ns >= wait_ns : span_ns < wait_ns || a_burst_is_leased_out(&s.shared));
        limit_turn(&rng, &lease[below(&rng, workers)], &s, w, now_ns);
        if (below(&rng, 20) == 0) {
            spec = any_limit_spec(&rng);
            tg_shared_limit_retune(&s, &spec, 10, now_ns);
            CHECK(tg_shared_limit_is_set(&s) == tg_limit_spec_is_set(&spec));
            watch_spec(w, &spec);
        }
    }
    for (uint64_t i = 0; i < workers; i++)
        tg_limit_lease_return(&lease[i], &s, now_ns);
    CHECK(s.shared.leased[0] == 0 && s.shared.leased[1] == 0);
}

static void test_no_window_admits_more_than_the_contract(void **state)
{
    (void)state;
    for_each_seed(run_schedule, DEFAULT_SEEDS);
}

static void test_saturated_workers_use_the_whole_allowance(void **state)
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
        cmocka_unit_test(test_saturated_workers_use_the_whole_allowance),
        cmocka_unit_test(test_every_bucket_of_a_limit_keeps_the_contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
