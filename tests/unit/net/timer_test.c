/* The wheel with a given now: never early, at most a tick late, against a plain list. SEED picks
 * the random sequence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mono.h"
#include "net/timer.h"

enum { MANY = 400, STEPS = 4000 };

struct probe {
    struct timer t; /* first: the wheel gives its address back */
    int64_t want_ns;
    int fired;
    bool was_past; /* when armed: due in the next call, whatever the tick */
    struct wheel *rearm_on;
};

static void count_fire(struct timer *t, int64_t now_ns)
{
    struct probe *p = (struct probe *)t;
    assert_true(now_ns >= p->want_ns);
    assert_false(timer_is_armed(t));
    p->fired++;
    if (p->rearm_on != NULL) {
        p->want_ns = now_ns;
        wheel_arm(p->rearm_on, t, now_ns);
    }
}

static void arm(struct wheel *wh, struct probe *p, int64_t deadline_ns)
{
    p->want_ns = deadline_ns;
    p->was_past = deadline_ns <= wh->now_ns;
    wheel_arm(wh, &p->t, deadline_ns);
}

static void test_fires_at_its_tick_and_never_before(void **state)
{
    (void)state;
    struct wheel *wh = malloc(sizeof(*wh));
    int64_t start_ns = 12345 * MONO_MS + 678;
    wheel_init(wh, start_ns);
    struct probe p = {0};
    timer_init(&p.t, count_fire);
    arm(wh, &p, start_ns + 5 * MONO_MS); /* between two ticks */
    wheel_expire(wh, start_ns + 5 * MONO_MS - 1);
    assert_int_equal(p.fired, 0);
    wheel_expire(wh, start_ns + 6 * MONO_MS);
    assert_int_equal(p.fired, 1);
    wheel_expire(wh, start_ns + MONO_S);
    assert_int_equal(p.fired, 1);
    assert_int_equal(wheel_next_ns(wh), MONO_NEVER);
    free(wh);
}

static void test_disarmed_timer_neither_fires_nor_wakes(void **state)
{
    (void)state;
    struct wheel *wh = malloc(sizeof(*wh));
    wheel_init(wh, 0);
    static const int64_t spans_ns[] = {MONO_MS, 100 * MONO_MS, 10 * MONO_S, 3600 * MONO_S,
                                       INT64_C(86400) * 30 * MONO_S};
    struct probe p = {0};
    timer_init(&p.t, count_fire);
    for (size_t i = 0; i < sizeof(spans_ns) / sizeof(*spans_ns); i++) {
        arm(wh, &p, spans_ns[i]);
        assert_true(timer_is_armed(&p.t));
        assert_true(wheel_next_ns(wh) <= spans_ns[i]);
        wheel_disarm(wh, &p.t);
        wheel_disarm(wh, &p.t);
        assert_false(timer_is_armed(&p.t));
        assert_int_equal(wheel_next_ns(wh), MONO_NEVER);
    }
    wheel_expire(wh, INT64_C(86400) * 40 * MONO_S);
    assert_int_equal(p.fired, 0);
    free(wh);
}

static void test_rearming_at_now_does_not_starve(void **state)
{
    (void)state;
    struct wheel *wh = malloc(sizeof(*wh));
    wheel_init(wh, 0);
    struct probe p = {.rearm_on = wh};
    timer_init(&p.t, count_fire);
    arm(wh, &p, 0);
    for (int turn = 1; turn <= 5; turn++) {
        assert_int_equal(wheel_next_ns(wh), 0);
        wheel_expire(wh, MONO_MS);
        assert_int_equal(p.fired, turn);
    }
    free(wh);
}

static struct probe *victim;
static void disarm_victim(struct timer *t, int64_t now_ns)
{
    struct probe *p = (struct probe *)t;
    (void)now_ns;
    wheel_disarm(p->rearm_on, &victim->t);
}

static void test_a_firing_timer_may_disarm_one_due_with_it(void **state)
{
    (void)state;
    struct wheel *wh = malloc(sizeof(*wh));
    wheel_init(wh, 0);
    struct probe killer = {.rearm_on = wh}, other = {0};
    timer_init(&killer.t, disarm_victim);
    timer_init(&other.t, count_fire);
    victim = &other;
    arm(wh, &killer, 3 * MONO_MS);
    arm(wh, &other, 3 * MONO_MS);
    wheel_expire(wh, 10 * MONO_MS);
    assert_int_equal(other.fired, 0);
    assert_int_equal(wheel_next_ns(wh), MONO_NEVER);
    free(wh);
}

static void test_deadline_beyond_the_top_level_comes(void **state)
{
    (void)state;
    struct wheel *wh = malloc(sizeof(*wh));
    int64_t year_ns = INT64_C(86400) * 365 * MONO_S;
    wheel_init(wh, 5 * MONO_MS);
    struct probe p = {0};
    timer_init(&p.t, count_fire);
    arm(wh, &p, year_ns);
    int wakes = 0;
    int64_t now_ns;
    for (now_ns = 5 * MONO_MS; p.fired == 0; now_ns = wheel_next_ns(wh)) {
        wheel_expire(wh, now_ns);
        if (p.fired)
            break;
        wakes++;
        assert_true(wakes < 100);
    }
    assert_int_equal(now_ns, year_ns);
    free(wh);
}

static void test_clear_disarms_all(void **state)
{
    (void)state;
    struct wheel *wh = malloc(sizeof(*wh));
    wheel_init(wh, 0);
    struct probe p[4] = {0};
    int64_t at_ns[4] = {0, 70 * MONO_MS, 5000 * MONO_S, INT64_C(86400) * 100 * MONO_S};
    for (int i = 0; i < 4; i++) {
        timer_init(&p[i].t, count_fire);
        arm(wh, &p[i], at_ns[i]);
    }
    wheel_clear(wh);
    for (int i = 0; i < 4; i++)
        assert_false(timer_is_armed(&p[i].t));
    assert_int_equal(wheel_next_ns(wh), MONO_NEVER);
    free(wh);
}

/* ---- against a list ---- */

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* Spans from a millisecond to weeks, all magnitudes alike; some in the past. */
static int64_t random_span_ns(uint64_t *s)
{
    int64_t span_ns = (int64_t)(next_random(s) >> 1 >> (next_random(s) % 44));
    span_ns %= INT64_C(86400) * 40 * MONO_S;
    return next_random(s) % 16 == 0 ? -span_ns : span_ns;
}

static int64_t tick_of(int64_t deadline_ns)
{
    return deadline_ns <= 0 ? 0 : (deadline_ns + MONO_MS - 1) / MONO_MS;
}

static void run_against_a_list(uint64_t seed)
{
    struct wheel *wh = malloc(sizeof(*wh));
    struct probe *p = calloc(MANY, sizeof(*p));
    bool armed[MANY] = {false};
    int64_t now_ns = (int64_t)(next_random(&seed) % (UINT64_C(1) << 58));
    wheel_init(wh, now_ns);
    for (int i = 0; i < MANY; i++)
        timer_init(&p[i].t, count_fire);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)(next_random(&seed) % MANY);
        armed[i] = next_random(&seed) % 4 != 0;
        if (armed[i])
            arm(wh, &p[i], now_ns + random_span_ns(&seed));
        else
            wheel_disarm(wh, &p[i].t);
        int64_t earliest_tick = INT64_MAX;
        for (int k = 0; k < MANY; k++)
            if (armed[k] && tick_of(p[k].want_ns) < earliest_tick)
                earliest_tick = tick_of(p[k].want_ns);
        assert_true(earliest_tick == INT64_MAX || wheel_next_ns(wh) <= earliest_tick * MONO_MS);
        if (next_random(&seed) % 4 != 0)
            continue;
        int64_t to_ns = now_ns + llabs(random_span_ns(&seed)) / 16;
        now_ns =
            next_random(&seed) % 2 && wheel_next_ns(wh) > now_ns && wheel_next_ns(wh) != MONO_NEVER
                ? wheel_next_ns(wh)
                : to_ns;
        wheel_expire(wh, now_ns);
        for (int k = 0; k < MANY; k++) {
            bool due = armed[k] && (p[k].was_past || tick_of(p[k].want_ns) <= now_ns / MONO_MS);
            assert_int_equal(p[k].fired, due ? 1 : 0);
            armed[k] = armed[k] && !due;
            assert_int_equal(timer_is_armed(&p[k].t), armed[k]);
            p[k].fired = 0;
        }
    }
    free(p);
    free(wh);
}

static void test_agrees_with_a_list(void **state)
{
    (void)state;
    const char *seed_text = getenv("SEED");
    uint64_t first = seed_text != NULL ? strtoull(seed_text, NULL, 0) : 1;
    uint64_t count = seed_text != NULL ? 1 : 40;
    for (uint64_t seed = first; seed < first + count; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run_against_a_list(seed * UINT64_C(0x9e3779b97f4a7c15) | 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fires_at_its_tick_and_never_before),
        cmocka_unit_test(test_disarmed_timer_neither_fires_nor_wakes),
        cmocka_unit_test(test_rearming_at_now_does_not_starve),
        cmocka_unit_test(test_a_firing_timer_may_disarm_one_due_with_it),
        cmocka_unit_test(test_deadline_beyond_the_top_level_comes),
        cmocka_unit_test(test_clear_disarms_all),
        cmocka_unit_test(test_agrees_with_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
