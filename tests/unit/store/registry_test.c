/* Space: trims, drops and recycling, and what must survive them. */
#include "log_fixture.h"

static struct ls_stats stats(struct fx *f)
{
    struct ls_stats st;
    ls_stats(f->store, &st);
    return st;
}

/* Trims go to the committer with the next submit. */
static void trim(struct fx *f, uint64_t ledger, uint64_t first_needed)
{
    ls_trim(f->port, ledger, first_needed);
    ls_port_submit(f->port);
}

static void fill_segments(struct fx *f, uint64_t ledger, uint32_t more)
{
    uint32_t until = stats(f).segments + more;
    uint64_t next = ls_last_entry(f->store, ledger) + 1;
    for (; stats(f).segments < until; next += 10)
        fx_fill(f, ledger, next, 10, 200);
}

static void test_trimming_keeps_space_bounded(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    for (uint64_t n = 0; n < 5000; n += 20) { /* over a MB through segments of 64 KB */
        fx_fill(f, 1, n, 20, 200);
        trim(f, 1, n);
    }
    FX_UNTIL(f, stats(f).segments <= 3);
    assert_true(stats(f).segments + stats(f).free_segments <= 6);
    assert_int_equal(fx_check_ledger(f, 1, 4980), 20);
}

static void test_without_trim_everything_stays(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fill_segments(f, 1, 6);
    uint64_t n = ls_last_entry(f->store, 1) + 1;
    assert_int_equal(ls_first_entry(f->store, 1), 0);
    assert_int_equal(fx_check_ledger(f, 1, 0), n);
    fx_reopen(f);
    assert_int_equal(fx_check_ledger(f, 1, 0), n);
}

static void test_trimmed_entries_stay_readable_until_their_segment_goes(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 50, 200);
    trim(f, 1, 50);
    assert_int_equal(fx_check_ledger(f, 1, 0), 50);
    assert_int_equal(ls_first_entry(f->store, 1), 0);
}

static void test_one_needed_entry_is_copied_and_its_segment_goes(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 2, 0, 1, 100);
    fill_segments(f, 1, 4);
    trim(f, 1, ls_last_entry(f->store, 1) + 1);
    FX_UNTIL(f, stats(f).segments <= 2); /* the newest sealed one, the open one */
    assert_int_equal(fx_check_ledger(f, 2, 0), 1);
    assert_int_equal(ls_first_entry(f->store, 2), 0);
    trim(f, 2, 1);
    fx_crash(f);
    fx_open(f);
    assert_int_equal(fx_check_ledger(f, 2, 0), 1); /* the trim was not logged yet */
}

static void test_last_entry_survives_recycling_and_reopening(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 30, 100);
    trim(f, 1, 30);
    fill_segments(f, 2, 4);
    trim(f, 2, ls_last_entry(f->store, 2) + 1);
    FX_UNTIL(f, stats(f).segments <= 2);
    assert_int_equal(ls_last_entry(f->store, 1), 29);
    assert_int_equal(ls_first_entry(f->store, 1), 30); /* none left */
    for (int i = 0; i < 3; i++) {
        if (i == 1)
            fx_crash(f);
        else
            fx_close(f);
        fx_open(f);
        assert_int_equal(ls_last_entry(f->store, 1), 29);
        assert_int_equal(ls_first_entry(f->store, 1), 30);
        fill_segments(f, 2, 2);
    }
    fx_fill(f, 1, 30, 5, 100);
    assert_int_equal(fx_check_ledger(f, 1, 30), 5);
}

static void test_trim_is_remembered_over_a_crash_once_it_freed_something(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 2, 0, 1, 100); /* pins the first segment, where ledger 1 begins */
    fill_segments(f, 1, 3);
    uint64_t last = ls_last_entry(f->store, 1);
    trim(f, 1, last + 1);
    FX_UNTIL(f, stats(f).segments <= 3);
    fx_crash(f);
    fx_open(f);
    FX_UNTIL(f, stats(f).segments <= 3);
    trim(f, 2, 1); /* ledger 1's trim is known: nothing else keeps the first segment */
    FX_UNTIL(f, stats(f).segments <= 2);
    assert_int_equal(ls_last_entry(f->store, 1), last);
}

static void test_dropped_ledger_frees_its_space_and_is_forgotten(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fill_segments(f, 1, 4);
    fx_fill(f, 2, 0, 10, 100);
    ls_drop(f->port, 1);
    ls_port_submit(f->port);
    FX_UNTIL(f, stats(f).segments <= 2);
    assert_int_equal(ls_last_entry(f->store, 1), LS_NO_ENTRY);
    fx_read(f, 1, 0, 10, UINT64_MAX);
    assert_int_equal(f->read_count, 0);
    fx_release(f);
    fx_crash(f);
    fx_open(f);
    assert_int_equal(ls_last_entry(f->store, 1), LS_NO_ENTRY);
    assert_int_equal(fx_check_ledger(f, 2, 0), 10);
    fx_reopen(f);
    assert_int_equal(ls_last_entry(f->store, 1), LS_NO_ENTRY);
}

static void test_drop_with_appends_under_way(void **state)
{
    struct fx *f = *state;
    struct ls_entry e[4];
    struct ls_hold *hold;
    fx_open(f);
    fx_fill(f, 1, 0, 5, 100);
    fx_append(f, 1, 5, 100);
    ls_port_submit(f->port);
    ls_drop(f->port, 1);
    fx_commit(f, 6);
    assert_int_equal(ls_read_cached(f->port, 1, 0, 4, UINT64_MAX, e, &hold), 0);
    fx_fill(f, 2, 0, 1, 10); /* the drop is before it */
    assert_int_equal(ls_last_entry(f->store, 1), LS_NO_ENTRY);
}

static void test_live_bytes_follow_trims(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fill_segments(f, 1, 2);
    uint64_t all = stats(f).live_bytes, n = ls_last_entry(f->store, 1) + 1;
    assert_int_equal(all, n * rec_size(200));
    fx_reopen(f);
    assert_int_equal(stats(f).live_bytes, all);
    fx_read(f, 1, 0, 1024, UINT64_MAX);
    uint64_t in_first = f->read_count;
    fx_release(f);
    trim(f, 1, in_first / 2);
    FX_UNTIL(f, stats(f).live_bytes < all);
    uint64_t expect = (n - in_first / 2) * rec_size(200);
    assert_in_range(stats(f).live_bytes, expect - 1, expect + 1);
    ls_drop(f->port, 1);
    ls_port_submit(f->port);
    FX_UNTIL(f, stats(f).live_bytes == 0);
}

static void test_many_ledgers_over_recycling_match_a_model(void **state)
{
    struct fx *f = *state;
    const char *env = getenv("SEED");
    uint64_t seed = env ? strtoull(env, NULL, 10) : (uint64_t)mono_now_ns();
    uint64_t x = seed, next[16] = {0}, trimmed[16] = {0}, total = 0;
    print_message("SEED=%llu\n", (unsigned long long)seed);
    fx_open(f);
    for (int step = 0; step < 1500; step++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t r = x >> 33, l = 1 + r % 15;
        switch (r / 16 % 20) {
        default:
            for (uint64_t i = 0; i < 1 + r % 7; i++, total++)
                fx_append(f, l, next[l]++, (uint32_t)(r / 320 % 900));
            ls_port_submit(f->port);
            break;
        case 1:
        case 2:
        case 3:
        case 4: /* all but the last few of every ledger */
            for (l = 1; l < 16; l++) {
                trimmed[l] = next[l] > 20 && next[l] - 20 > trimmed[l] ? next[l] - 20 : trimmed[l];
                trim(f, l, trimmed[l]);
            }
            break;
        case 5:
            if (r / 320 % 4)
                break;
            FX_UNTIL(f, f->reported == total);
            if (r / 2000 % 2)
                fx_crash(f);
            else
                fx_close(f);
            fx_open(f);
            for (l = 1; l < 16; l++)
                assert_int_equal(ls_last_entry(f->store, l) + 1, next[l]);
        }
    }
    FX_UNTIL(f, f->reported == total);
    for (uint64_t l = 1; l < 16; l++) {
        assert_true(ls_first_entry(f->store, l) <= trimmed[l] || trimmed[l] == next[l]);
        assert_int_equal(fx_check_ledger(f, l, trimmed[l]), next[l] - trimmed[l]);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_trimming_keeps_space_bounded),
        T(test_without_trim_everything_stays),
        T(test_trimmed_entries_stay_readable_until_their_segment_goes),
        T(test_one_needed_entry_is_copied_and_its_segment_goes),
        T(test_last_entry_survives_recycling_and_reopening),
        T(test_trim_is_remembered_over_a_crash_once_it_freed_something),
        T(test_dropped_ledger_frees_its_space_and_is_forgotten),
        T(test_drop_with_appends_under_way),
        T(test_live_bytes_follow_trims),
        T(test_many_ledgers_over_recycling_match_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
