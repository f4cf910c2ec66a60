/* limit_test.c - a limit of messages and bytes, as a user sets it. Time is an argument. */
#include "limiter/limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define MS   INT64_C(1000000)
#define S    INT64_C(1000000000)
#define HOUR (3600 * S)

static struct tg_limit_spec msgs_per_s(int64_t rate, int64_t burst, int64_t peak)
{
    return (struct tg_limit_spec){.msgs = {.rate = rate, .burst = burst, .peak = peak}};
}

/* Kept to the end: limits borrow them. */
static const struct tg_limit_terms *terms_of(const struct tg_limit_spec *spec)
{
    static struct tg_limit_terms kept[512];
    static size_t count;
    assert_true(count < sizeof kept / sizeof kept[0]);
    kept[count] = tg_limit_terms_make(spec);
    return &kept[count++];
}

static struct tg_limit make(struct tg_limit_spec spec, int initial_percent)
{
    struct tg_limit l;
    assert_true(tg_limit_check(&spec) == TG_LIMIT_OK ||
                tg_limit_check(&spec) == TG_LIMIT_BURST_SMALL);
    tg_limit_init(&l, terms_of(&spec), initial_percent, 0);
    return l;
}

/* Charges messages of <bytes> for as long as there are tokens; at most <most> of them. */
static int64_t admit(struct tg_limit *l, int64_t most, uint64_t bytes, int64_t now_ns)
{
    int64_t n = 0;
    for (; n < most && tg_limit_has_tokens(l, now_ns); n++)
        tg_limit_charge(l, 1, bytes, now_ns);
    return n;
}

static void test_zero_initialised_limits_nothing(void **state)
{
    (void)state;
    struct tg_limit l = {0};
    assert_false(tg_limit_is_set(&l));
    tg_limit_charge(&l, UINT64_MAX, UINT64_MAX, 0);
    assert_true(tg_limit_has_tokens(&l, 0));
    assert_int_equal(tg_limit_wait_ns(&l, 0), 0);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), INT64_MAX);
    assert_int_equal(tg_limit_balance_bytes(&l, 0), INT64_MAX);
}

static void test_limits_of_the_same_terms_are_spent_apart(void **state)
{
    (void)state;
    struct tg_limit_spec spec = msgs_per_s(10, 0, 0);
    const struct tg_limit_terms *terms = terms_of(&spec);
    struct tg_limit a, b;
    tg_limit_init(&a, terms, 100, 0);
    tg_limit_init(&b, terms, 100, 0);
    assert_int_equal(admit(&a, 100, 1, 0), 10);
    assert_int_equal(tg_limit_balance_msgs(&b, 0), 10);
    assert_true(tg_limit_spec_equal(tg_limit_spec_of(&a), &spec));
}

/* As in Pulsar: 0 and -1 lift a limit. Blocking is a reason of its own, not a rate. */
static void test_rate_0_and_below_is_unlimited_not_blocked(void **state)
{
    (void)state;
    for (int64_t rate = -1; rate <= 0; rate++) {
        struct tg_limit l = make(msgs_per_s(rate, 5, 0), 10);
        assert_false(tg_limit_is_set(&l));
        assert_int_equal(admit(&l, 100000, 1, 0), 100000);
    }
}

static void test_a_fresh_limit_starts_with_a_tenth_of_its_burst(void **state)
{
    (void)state;
    struct tg_limit l = make(msgs_per_s(1000, 0, 0), 10);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), 100);
    l = make(msgs_per_s(1000, 5000, 0), 100);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), 5000);
    l = make(msgs_per_s(1000, 5000, 0), 1000);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), 5000);
}

static void test_a_fresh_limit_admits_at_least_one(void **state)
{
    (void)state;
    struct tg_limit l = make(msgs_per_s(1, 0, 0), 10);
    assert_int_equal(admit(&l, 10, 1, 0), 1);
    l = make(msgs_per_s(5, 0, 0), 0);
    assert_int_equal(admit(&l, 10, 1, 0), 1);
}

static void test_the_first_second_is_not_twice_the_rate(void **state)
{
    (void)state;
    struct tg_limit l = make(msgs_per_s(500, 0, 0), 10);
    int64_t admitted = 0;
    for (int64_t t = 0; t <= S; t += MS)
        admitted += admit(&l, 1000, 100, t);
    assert_int_equal(admitted, 550);
}

static void test_default_burst_is_one_second_and_at_least_one_message(void **state)
{
    (void)state;
    struct tg_limit l = make(msgs_per_s(700, 0, 0), 10);
    assert_int_equal(tg_limit_balance_msgs(&l, HOUR), 700);
    struct tg_limit_spec slow = msgs_per_s(60, 0, 0);
    slow.period_ns = HOUR;
    l = make(slow, 10);
    assert_int_equal(tg_limit_balance_msgs(&l, 10 * HOUR), 1);
}

static void test_period_0_means_a_second(void **state)
{
    (void)state;
    struct tg_limit_spec implied = msgs_per_s(10, 0, 0), said = implied;
    said.period_ns = S;
    assert_true(tg_limit_spec_equal(&implied, &said));
    struct tg_limit l = make(implied, 0);
    admit(&l, 1, 1, 0);
    assert_int_equal(tg_limit_wait_ns(&l, 0), 100 * MS);
}

static void test_whichever_of_messages_and_bytes_is_empty_binds(void **state)
{
    (void)state;
    struct tg_limit_spec spec = {.msgs = {.rate = 10}, .bytes = {.rate = 1000}};
    struct tg_limit l = make(spec, 100);
    assert_int_equal(admit(&l, 100, 1, 0), 10); /* messages run out first */
    assert_int_equal(tg_limit_balance_bytes(&l, 0), 990);
    assert_int_equal(tg_limit_wait_ns(&l, 0), 1);

    l = make(spec, 100);
    assert_int_equal(admit(&l, 100, 600, 0), 2); /* bytes do, and overdraw once */
    assert_int_equal(tg_limit_balance_bytes(&l, 0), -200);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), 8);
    assert_int_equal(tg_limit_wait_ns(&l, 0), 200 * MS + 1);
}

static void test_the_wait_is_the_longest_of_all_buckets(void **state)
{
    (void)state;
    struct tg_limit_spec spec = {.msgs = {.rate = 10, .peak = 40}, .bytes = {.rate = 1000}};
    struct tg_limit l = make(spec, 100);
    tg_limit_charge(&l, 15, 3000, 0);
    int64_t wait_ns = tg_limit_wait_ns(&l, 0);
    assert_int_equal(wait_ns, 2000 * MS + 1);
    assert_false(tg_limit_has_tokens(&l, wait_ns - 1));
    assert_true(tg_limit_has_tokens(&l, wait_ns));
}

static void test_a_batch_counts_all_its_messages(void **state)
{
    (void)state;
    struct tg_limit l = make(msgs_per_s(10, 0, 0), 100);
    tg_limit_charge(&l, 60, 1000, 0);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), -50);
    assert_int_equal(tg_limit_wait_ns(&l, 0), 5000 * MS + 1);
}

static void test_peak_caps_the_rate_inside_a_burst(void **state)
{
    (void)state;
    struct tg_limit l = make(msgs_per_s(1000, 10000, 5000), 100);
    int64_t admitted = admit(&l, 100000, 1, 0);
    assert_int_equal(admitted, 50); /* 10 ms of the peak */
    for (int64_t t = MS; t <= S; t += MS)
        admitted += admit(&l, 100000, 1, t);
    assert_int_equal(admitted, 5050);
    for (int64_t t = S + MS; t <= 20 * S; t += MS)
        admitted += admit(&l, 100000, 1, t);
    assert_int_equal(admitted, 10000 + 20 * 1000); /* and the rate holds in the long run */
}

static void test_give_back_restores_messages_and_bytes(void **state)
{
    (void)state;
    struct tg_limit_spec spec = {.msgs = {.rate = 10}, .bytes = {.rate = 1000}};
    struct tg_limit l = make(spec, 100);
    tg_limit_charge(&l, 8, 800, 0);
    tg_limit_give_back(&l, 3, 300, 0);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), 5);
    assert_int_equal(tg_limit_balance_bytes(&l, 0), 500);
    tg_limit_give_back(&l, UINT64_MAX, UINT64_MAX, 0);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), 10);
    assert_int_equal(tg_limit_balance_bytes(&l, 0), 1000);
}

/* The bug: publishing ten times the limit for five seconds drove the tokens deep below zero, and
 * the topic stood still for most of a minute after. */
static void test_spike_of_10x_for_5s_and_the_pause_after(void **state)
{
    (void)state;
    struct tg_limit l = make(msgs_per_s(1000, 0, 0), 10);
    int64_t admitted = 0, t = 0;
    for (; t < 5 * S; t += MS)
        admitted += admit(&l, 10, 100, t); /* ten a millisecond are offered */
    assert_in_range(admitted, 5000, 5100);
    assert_in_range(tg_limit_wait_ns(&l, t), 0, MS);
    assert_true(tg_limit_balance_msgs(&l, t) >= 0);
}

static void test_changing_a_limit_grants_no_fresh_burst_and_forgives_no_debt(void **state)
{
    (void)state;
    struct tg_limit_spec spec = {.msgs = {.rate = 100}, .bytes = {.rate = 1000}};
    struct tg_limit l = make(spec, 100);
    tg_limit_charge(&l, 100, 6000, 0);
    for (int i = 0; i < 100; i++) {
        spec.msgs.rate = 100 + i;
        spec.bytes.rate = 1000 + i;
        tg_limit_retune(&l, terms_of(&spec), 10, 0);
    }
    assert_int_equal(tg_limit_balance_msgs(&l, 0), 0);
    assert_int_equal(tg_limit_balance_bytes(&l, 0), -5000);
    assert_false(tg_limit_has_tokens(&l, 0));
}

static void test_lowering_a_limit_clamps_the_balance(void **state)
{
    (void)state;
    struct tg_limit l = make(msgs_per_s(1000, 0, 0), 100);
    struct tg_limit_spec low = msgs_per_s(10, 0, 0);
    tg_limit_retune(&l, terms_of(&low), 100, 0);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), 10);
}

static void test_raising_a_limit_shortens_the_wait(void **state)
{
    (void)state;
    struct tg_limit l = make(msgs_per_s(10, 0, 0), 100);
    tg_limit_charge(&l, 60, 0, 0);
    struct tg_limit_spec high = msgs_per_s(1000, 0, 0);
    tg_limit_retune(&l, terms_of(&high), 100, 0);
    assert_int_equal(tg_limit_wait_ns(&l, 0), 50 * MS + 1);
}

static void test_removing_a_limit_admits_at_once(void **state)
{
    (void)state;
    struct tg_limit l = make(msgs_per_s(10, 0, 0), 100);
    tg_limit_charge(&l, 1000, 0, 0);
    struct tg_limit_spec none = {0};
    tg_limit_retune(&l, terms_of(&none), 10, 0);
    assert_false(tg_limit_is_set(&l));
    assert_true(tg_limit_has_tokens(&l, 0));
    assert_int_equal(tg_limit_wait_ns(&l, 0), 0);
}

static void test_a_dimension_newly_limited_starts_like_a_fresh_one(void **state)
{
    (void)state;
    struct tg_limit_spec spec = msgs_per_s(100, 0, 0);
    struct tg_limit l = make(spec, 100);
    tg_limit_charge(&l, 70, 5000, 0);
    spec.bytes.rate = 1000;
    tg_limit_retune(&l, terms_of(&spec), 10, 0);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), 30);
    assert_int_equal(tg_limit_balance_bytes(&l, 0), 100);
}

static void test_a_clock_stepping_back_changes_nothing(void **state)
{
    (void)state;
    struct tg_limit_spec spec = {.msgs = {.rate = 100, .peak = 200}, .bytes = {.rate = 1000}};
    struct tg_limit l = make(spec, 100);
    tg_limit_charge(&l, 50, 500, S);
    assert_int_equal(tg_limit_balance_msgs(&l, 0), 50);
    assert_int_equal(tg_limit_balance_bytes(&l, 0), 500);
}

static void test_huge_charges_saturate(void **state)
{
    (void)state;
    struct tg_limit_spec spec = {.msgs = {.rate = 10, .peak = 20}, .bytes = {.rate = 1000}};
    struct tg_limit l = make(spec, 100);
    tg_limit_charge(&l, UINT64_MAX, UINT64_MAX, 0);
    tg_limit_charge(&l, UINT64_MAX, UINT64_MAX, 0);
    assert_true(tg_limit_balance_msgs(&l, 0) < -1000000);
    assert_true(tg_limit_wait_ns(&l, 0) > HOUR);
}

static void check_problem(struct tg_limit_spec spec, enum tg_limit_problem expected)
{
    assert_int_equal(tg_limit_check(&spec), expected);
    struct tg_limit_spec swapped = {
        .msgs = spec.bytes, .bytes = spec.msgs, .period_ns = spec.period_ns};
    assert_int_equal(tg_limit_check(&swapped), expected);
}

static void test_check_finds_each_problem(void **state)
{
    (void)state;
    struct tg_limit_spec spec = {0};
    check_problem(spec, TG_LIMIT_OK);
    check_problem(msgs_per_s(TG_RATE_MAX_PER_S, TG_BURST_MAX, 0), TG_LIMIT_OK);
    check_problem(msgs_per_s(TG_RATE_MAX_PER_S + 1, 0, 0), TG_LIMIT_RATE_TOO_HIGH);
    check_problem(msgs_per_s(1, 0, INT64_MAX), TG_LIMIT_RATE_TOO_HIGH);
    check_problem(msgs_per_s(1, -1, 0), TG_LIMIT_BAD_BURST);
    check_problem(msgs_per_s(TG_RATE_MAX_PER_S, TG_BURST_MAX + 1, 0), TG_LIMIT_BAD_BURST);
    check_problem(msgs_per_s(10, 0, 9), TG_LIMIT_PEAK_BELOW_RATE);
    check_problem(msgs_per_s(10, 0, 10), TG_LIMIT_OK);
    check_problem(msgs_per_s(1000, 20, 0), TG_LIMIT_OK);
    check_problem(msgs_per_s(1000, 19, 0), TG_LIMIT_BURST_SMALL);
    check_problem(msgs_per_s(-1, -1, -1), TG_LIMIT_OK); /* not limited: nothing to check */

    const int64_t bad_ns[] = {-1, 1, MS - 1, HOUR + 1, INT64_MAX};
    for (unsigned i = 0; i < sizeof bad_ns / sizeof bad_ns[0]; i++) {
        spec.period_ns = bad_ns[i];
        check_problem(spec, TG_LIMIT_BAD_PERIOD);
    }
    spec = msgs_per_s(TG_RATE_MAX_PER_S / 1000, 0, 0);
    spec.period_ns = MS;
    check_problem(spec, TG_LIMIT_OK);
    spec.msgs.rate += 1;
    check_problem(spec, TG_LIMIT_RATE_TOO_HIGH);
}

static void test_check_returns_a_warning_only_without_an_error(void **state)
{
    (void)state;
    struct tg_limit_spec spec = {.msgs = {.rate = 1000, .burst = 1}, .bytes = {.rate = 1000}};
    check_problem(spec, TG_LIMIT_BURST_SMALL);
    spec.bytes.burst = -1;
    check_problem(spec, TG_LIMIT_BAD_BURST);
}

static void test_every_problem_has_its_text(void **state)
{
    (void)state;
    for (int a = TG_LIMIT_OK; a <= TG_LIMIT_BURST_SMALL + 1; a++)
        for (int b = TG_LIMIT_OK; b < a; b++)
            assert_string_not_equal(tg_limit_problem_text((enum tg_limit_problem)a),
                                    tg_limit_problem_text((enum tg_limit_problem)b));
}

static void test_specs_compare_by_what_they_mean(void **state)
{
    (void)state;
    struct tg_limit_spec a = msgs_per_s(10, 0, 0), b = a, none = {0};
    assert_true(tg_limit_spec_equal(&a, &b));
    b.bytes.rate = -1;
    b.bytes.burst = 7; /* of a dimension that is not limited */
    assert_true(tg_limit_spec_equal(&a, &b));
    b.msgs.peak = 20;
    assert_false(tg_limit_spec_equal(&a, &b));
    assert_false(tg_limit_spec_equal(&a, &none));
    b = none;
    b.msgs.rate = -1;
    b.period_ns = HOUR;
    assert_true(tg_limit_spec_equal(&b, &none));
    assert_false(tg_limit_spec_is_set(&b));
    assert_true(tg_limit_spec_is_set(&a));
    b = a;
    b.period_ns = HOUR;
    assert_false(tg_limit_spec_equal(&a, &b));
}

/* A long average with a cap: an hour's worth may be saved up, and goes at twice the rate at the
 * most. */
static void test_an_hours_burst_under_a_peak_of_twice_the_rate(void **state)
{
    (void)state;
    const int64_t second = 1000000000, hour = 3600;
    struct tg_limit l = {0};
    struct tg_limit_spec spec = {.msgs = {.rate = 100, .burst = 100 * hour, .peak = 200}};
    assert_int_equal(tg_limit_check(&spec), TG_LIMIT_OK);
    tg_limit_init(&l, terms_of(&spec), 100, 0);
    int64_t sent = 0;
    for (int64_t s = 0; s < 3 * hour; s++) { /* as fast as it goes, looked at each millisecond */
        int64_t before = sent;
        for (int64_t now = s * second; now < (s + 1) * second; now += second / 1000) {
            while (tg_limit_has_tokens(&l, now)) {
                tg_limit_charge(&l, 1, 0, now);
                sent++;
            }
        }
        int64_t most = s < hour ? 200 : 100, got = sent - before;
        if (s > 0 && s != hour && s != hour + 1)
            assert_in_range(got, most - 2, most + 2);
        assert_true(sent <= 100 * hour + 100 * (s + 1) + 1);
        assert_true(sent <= 200 + 200 * (s + 1) + 1);
    }
    assert_in_range(sent, 100 * hour * 4 - 2, 100 * hour * 4 + 2);
}

/* Messages of a backlog, as many as pass at <now>: each asked about by itself, or in runs. */
static uint64_t pass_one_by_one(struct tg_limit *l, const uint64_t *bytes, int64_t now)
{
    uint64_t n = 0;
    for (; tg_limit_has_tokens(l, now); n++)
        tg_limit_charge(l, 1 + n % 3, bytes[n % 64], now);
    return n;
}

static uint64_t pass_in_runs(struct tg_limit *l, const uint64_t *bytes, int64_t now)
{
    uint64_t n = 0, room_msgs, room_bytes;
    while (tg_limit_has_tokens(l, now)) {
        uint64_t msgs = 1 + n % 3, sum = bytes[n % 64];
        tg_limit_room(l, &room_msgs, &room_bytes, now);
        for (n++; msgs + 1 + n % 3 <= room_msgs && sum + bytes[n % 64] <= room_bytes; n++) {
            msgs += 1 + n % 3;
            sum += bytes[n % 64];
        }
        tg_limit_charge(l, msgs, sum, now);
    }
    return n;
}

static void test_runs_within_the_room_pass_what_single_messages_pass(void **state)
{
    (void)state;
    static const struct tg_limit_spec specs[] = {
        {.msgs = {.rate = 500}},
        {.bytes = {.rate = 100000, .burst = 3000}},
        {.msgs = {.rate = 700}, .bytes = {.rate = 90000}},
        {.msgs = {.rate = 100, .burst = 5000, .peak = 900},
         .bytes = {.rate = 1 << 20, .peak = 2 << 20}},
    };
    uint64_t bytes[64], x = 7;
    for (int i = 0; i < 64; i++)
        bytes[i] = (x = x * 6364136223846793005U + 1442695040888963407U) >> 55;
    for (size_t s = 0; s < sizeof specs / sizeof specs[0]; s++) {
        struct tg_limit one = {0}, runs = {0};
        tg_limit_init(&one, terms_of(&specs[s]), 10, 0);
        tg_limit_init(&runs, terms_of(&specs[s]), 10, 0);
        for (int64_t now = 0, i = 0; i < 2000; i++) {
            x = x * 6364136223846793005U + 1442695040888963407U;
            now += (int64_t)(x >> 40);
            assert_int_equal(pass_in_runs(&runs, bytes, now), pass_one_by_one(&one, bytes, now));
            assert_int_equal(tg_limit_balance_msgs(&runs, now), tg_limit_balance_msgs(&one, now));
            assert_int_equal(tg_limit_balance_bytes(&runs, now), tg_limit_balance_bytes(&one, now));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_hours_burst_under_a_peak_of_twice_the_rate),
        cmocka_unit_test(test_runs_within_the_room_pass_what_single_messages_pass),
        cmocka_unit_test(test_zero_initialised_limits_nothing),
        cmocka_unit_test(test_limits_of_the_same_terms_are_spent_apart),
        cmocka_unit_test(test_rate_0_and_below_is_unlimited_not_blocked),
        cmocka_unit_test(test_a_fresh_limit_starts_with_a_tenth_of_its_burst),
        cmocka_unit_test(test_a_fresh_limit_admits_at_least_one),
        cmocka_unit_test(test_the_first_second_is_not_twice_the_rate),
        cmocka_unit_test(test_default_burst_is_one_second_and_at_least_one_message),
        cmocka_unit_test(test_period_0_means_a_second),
        cmocka_unit_test(test_whichever_of_messages_and_bytes_is_empty_binds),
        cmocka_unit_test(test_the_wait_is_the_longest_of_all_buckets),
        cmocka_unit_test(test_a_batch_counts_all_its_messages),
        cmocka_unit_test(test_peak_caps_the_rate_inside_a_burst),
        cmocka_unit_test(test_give_back_restores_messages_and_bytes),
        cmocka_unit_test(test_spike_of_10x_for_5s_and_the_pause_after),
        cmocka_unit_test(test_changing_a_limit_grants_no_fresh_burst_and_forgives_no_debt),
        cmocka_unit_test(test_lowering_a_limit_clamps_the_balance),
        cmocka_unit_test(test_raising_a_limit_shortens_the_wait),
        cmocka_unit_test(test_removing_a_limit_admits_at_once),
        cmocka_unit_test(test_a_dimension_newly_limited_starts_like_a_fresh_one),
        cmocka_unit_test(test_a_clock_stepping_back_changes_nothing),
        cmocka_unit_test(test_huge_charges_saturate),
        cmocka_unit_test(test_check_finds_each_problem),
        cmocka_unit_test(test_check_returns_a_warning_only_without_an_error),
        cmocka_unit_test(test_every_problem_has_its_text),
        cmocka_unit_test(test_specs_compare_by_what_they_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
