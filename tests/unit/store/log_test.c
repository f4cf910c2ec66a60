/* The engine as its callers see it: append, report, read from cache and disk, reopen. */
#include "log_fixture.h"

static void test_appends_are_reported_in_order_and_read_back_from_cache(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    for (uint64_t i = 0; i < 200; i++)
        fx_append(f, i % 4, i / 4, 100 + (uint32_t)i);
    fx_commit(f, 200);
    uint64_t at = 10; /* one read pins only so many blocks: it may take a few */
    for (uint32_t n = 1; n; at += n) {
        struct ls_entry e[64];
        struct ls_hold *hold;
        n = ls_read_cached(f->port, 3, at, 64, UINT64_MAX, e, &hold);
        for (uint32_t i = 0; i < n; i++)
            fx_check_entry(&e[i], 3, at + i);
        ls_entries_release(f->port, hold);
    }
    assert_int_equal(at, 50);
}

static void test_cached_read_keeps_its_bounds(void **state)
{
    struct fx *f = *state;
    struct ls_entry e[64];
    struct ls_hold *hold;
    fx_open(f);
    assert_int_equal(ls_read_cached(f->port, 1, 0, 64, 1, e, &hold), 0);
    ls_entries_release(f->port, hold);
    fx_fill(f, 1, 0, 20, 100);
    assert_int_equal(ls_read_cached(f->port, 1, 0, 3, UINT64_MAX, e, &hold), 3);
    ls_entries_release(f->port, hold);
    assert_int_equal(ls_read_cached(f->port, 1, 0, 64, 250, e, &hold), 2);
    ls_entries_release(f->port, hold);
    assert_int_equal(ls_read_cached(f->port, 1, 0, 64, 1, e, &hold), 1); /* one, however large */
    ls_entries_release(f->port, hold);
    assert_int_equal(ls_read_cached(f->port, 1, 20, 64, UINT64_MAX, e, &hold), 0);
    ls_entries_release(f->port, hold);
}

static void test_nothing_is_readable_before_it_is_reported(void **state)
{
    struct fx *f = *state;
    struct ls_entry e[4];
    struct ls_hold *hold;
    fx_open(f);
    fx_append(f, 1, 0, 100);
    assert_int_equal(ls_read_cached(f->port, 1, 0, 4, UINT64_MAX, e, &hold), 0);
    fx_read(f, 1, 0, 4, UINT64_MAX);
    assert_int_equal(f->read_count, 0);
    fx_release(f);
    assert_int_equal(ls_last_entry(f->store, 1), LS_NO_ENTRY);
    fx_commit(f, 1);
    assert_int_equal(ls_last_entry(f->store, 1), 0);
}

static void on_read_first(void *ctx, enum tg_err e, const struct ls_entry *entries, uint32_t count,
                          struct ls_hold *hold)
{
    struct fx *f = ctx;
    assert_int_equal(e, TG_OK);
    assert_int_equal(count, 1);
    assert_int_equal(entries[0].entry, 0);
    f->read_count++;
    ls_entries_release(f->port, hold);
}

static void test_finish_reads_calls_back_all_that_was_asked_for(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    assert_false(ls_port_finish_reads(f->port));
    fx_append(f, 1, 0, 100);
    fx_commit(f, 1);
    for (int i = 0; i < 20; i++)
        ls_read(f->port, 1, 0, 1, UINT64_MAX, on_read_first, f);
    assert_true(ls_port_finish_reads(f->port));
    assert_int_equal(f->read_count, 20);
    assert_false(ls_port_finish_reads(f->port));
}

static void test_disk_read_gives_what_was_appended(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    for (uint64_t i = 0; i < 3000; i++) { /* over many segments */
        fx_append(f, i % 3, i / 3, (uint32_t)(i * 37 % 700));
        if (i % 50 == 49)
            ls_port_submit(f->port);
    }
    fx_commit(f, 3000);
    for (uint64_t l = 0; l < 3; l++)
        assert_int_equal(fx_check_ledger(f, l, 0), 1000);
    struct ls_stats st;
    ls_stats(f->store, &st);
    assert_int_equal(st.appended_entries, 3000);
    assert_true(st.segments > 3);
}

static void test_disk_read_keeps_its_bounds(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 50, 100);
    fx_read(f, 1, 5, 10, UINT64_MAX);
    assert_int_equal(f->read_count, 10);
    fx_check_entry(&f->read_entries[0], 1, 5);
    fx_release(f);
    fx_read(f, 1, 5, 10, 350);
    assert_int_equal(f->read_count, 3);
    fx_release(f);
    fx_read(f, 1, 5, 10, 0);
    assert_int_equal(f->read_count, 1);
    fx_release(f);
    fx_read(f, 1, 50, 10, UINT64_MAX);
    assert_int_equal(f->read_err, TG_OK);
    assert_int_equal(f->read_count, 0);
    fx_release(f);
    fx_read(f, 9, 0, 10, UINT64_MAX);
    assert_int_equal(f->read_count, 0);
    fx_release(f);
}

static void test_entries_survive_reopening(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    for (int round = 0; round < 5; round++) {
        fx_fill(f, 1, (uint64_t)round * 200, 200, 300);
        fx_fill(f, 2, (uint64_t)round * 10, 10, 30);
        fx_reopen(f);
        assert_int_equal(ls_last_entry(f->store, 1), round * 200 + 199);
        assert_int_equal(ls_last_entry(f->store, 2), round * 10 + 9);
        assert_int_equal(ls_last_entry(f->store, 3), LS_NO_ENTRY);
        assert_int_equal(fx_check_ledger(f, 1, 0), round * 200 + 200);
        assert_int_equal(fx_check_ledger(f, 2, 0), round * 10 + 10);
    }
}

static void test_entry_larger_than_a_segment(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 3, 10);
    fx_fill(f, 1, 3, 1, 300 << 10);
    fx_fill(f, 1, 4, 3, 10);
    assert_int_equal(fx_check_ledger(f, 1, 0), 7);
    fx_reopen(f);
    assert_int_equal(fx_check_ledger(f, 1, 0), 7);
}

static void test_empty_body(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 3, 0);
    fx_reopen(f);
    assert_int_equal(fx_check_ledger(f, 1, 0), 3);
}

static void test_inflight_memory_used_up_is_busy_until_a_report(void **state)
{
    struct fx *f = *state;
    budget_init(&f->budget, 100000); /* in flight: 15000 */
    fx_open(f);
    uint64_t n = 0;
    while (fx_try_append(f, 1, n, 1000) == TG_OK)
        n++;
    assert_true(n >= 10 && n < 20);
    fx_commit(f, n);
    assert_int_equal(budget_used(&f->budget, BUDGET_INFLIGHT), 0);
    assert_int_equal(fx_try_append(f, 1, n, 1000), TG_OK);
    fx_commit(f, n + 1);
    assert_int_equal(fx_try_append(f, 1, n + 1, 50000), TG_OK); /* larger than the share: alone */
    assert_int_equal(fx_try_append(f, 1, n + 2, 10), TG_EBUSY);
    fx_commit(f, n + 2);
}

static void test_cache_stays_within_its_share_and_holds_keep_bytes(void **state)
{
    struct fx *f = *state;
    budget_init(&f->budget, 4 << 20);
    fx_open(f);
    fx_fill(f, 1, 0, 10, 100);
    struct ls_entry e[10];
    struct ls_hold *hold;
    assert_int_equal(ls_read_cached(f->port, 1, 0, 10, UINT64_MAX, e, &hold), 10);
    for (uint64_t i = 0; i < 40; i++)
        fx_fill(f, 2, i * 50, 50, 1000);
    assert_true(budget_used(&f->budget, BUDGET_CACHE) <=
                f->budget.share_bytes[BUDGET_CACHE] + (64 << 10));
    struct ls_entry e2[10];
    struct ls_hold *hold2;
    assert_int_equal(ls_read_cached(f->port, 1, 0, 10, UINT64_MAX, e2, &hold2), 0); /* let go */
    for (uint32_t i = 0; i < 10; i++)
        fx_check_entry(&e[i], 1, i); /* but held */
    ls_entries_release(f->port, hold);
    assert_int_equal(ls_read_cached(f->port, 2, 1990, 10, UINT64_MAX, e2, &hold2), 10);
    fx_check_entry(&e2[9], 2, 1999);
    ls_entries_release(f->port, hold2);
}

static void test_trim_while_appends_are_reported_keeps_the_others_cached(void **state)
{
    struct fx *f = *state;
    struct ls_entry e[64];
    struct ls_hold *hold;
    fx_open(f);
    f->trim_on_append = 1;
    for (uint64_t i = 0; i < 60; i++) { /* over several blocks */
        fx_append(f, 1, i, 300);
        fx_append(f, 2, i, 300);
    }
    fx_commit(f, 120);
    assert_int_equal(ls_read_cached(f->port, 1, 0, 1, UINT64_MAX, e, &hold), 0);
    for (uint64_t at = 0; at < 60;) {
        uint32_t n = ls_read_cached(f->port, 2, at, 64, UINT64_MAX, e, &hold);
        assert_true(n > 0);
        for (uint32_t i = 0; i < n; i++)
            fx_check_entry(&e[i], 2, at + i);
        ls_entries_release(f->port, hold);
        at += n;
    }
    f->trim_on_append = 0;
}

static void test_trimmed_entries_leave_the_cache(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 60, 300);
    int64_t full = budget_used(&f->budget, BUDGET_CACHE);
    ls_trim(f->port, 1, 60);
    assert_true(budget_used(&f->budget, BUDGET_CACHE) < full / 2); /* but the open block's */
    assert_int_equal(fx_check_ledger(f, 1, 0), 60);                /* from disk they come */
}

static void test_second_process_is_told_busy(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    struct ledger_store *other;
    char *why;
    assert_int_equal(log_open(&other, &f->cfg, &why), TG_EBUSY);
    assert_non_null(strstr(why, "another process"));
    free(why);
}

static void test_os_durability_reports_and_reopens(void **state)
{
    struct fx *f = *state;
    f->cfg.durability = LS_OS;
    fx_open(f);
    for (uint64_t i = 0; i < 20; i++)
        fx_fill(f, 1, i * 50, 50, 200);
    struct ls_stats st;
    ls_stats(f->store, &st);
    assert_int_equal(st.syncs, 0);
    fx_reopen(f);
    assert_int_equal(fx_check_ledger(f, 1, 0), 1000);
}

static void count_ledger(void *ctx, uint64_t ledger)
{
    *(uint64_t *)ctx += ledger;
}

static void test_each_ledger_names_all(void **state)
{
    struct fx *f = *state;
    uint64_t sum = 0;
    fx_open(f);
    for (uint64_t l = 1; l <= 10; l++)
        fx_fill(f, l, 0, 40, 500);
    fx_reopen(f);
    assert_int_equal(ls_each_ledger(f->store, count_ledger, &sum), TG_OK);
    assert_int_equal(sum, 55);
}

static void test_two_ports_append_their_own_ledgers(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    struct ls_port *first = f->port;
    fx_port(f);
    fx_append(f, 2, 0, 50);
    struct ls_port *second = f->port;
    f->port = first;
    fx_append(f, 1, 0, 50);
    ls_port_submit(first);
    ls_port_submit(second);
    while (f->reported < 2) {
        fx_turn(f, MONO_MS);
        ls_port_poll(second);
    }
    assert_int_equal(fx_check_ledger(f, 2, 0), 1);
    ls_port_close(second);
}

static void test_dump_lists_every_entry(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 200, 500);
    fx_fill(f, 2, 0, 3, 10);
    char *text = NULL, *why = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_int_equal(log_dump(f->dir, LS_ALL_LEDGERS, out, &why), TG_OK);
    fclose(out);
    unsigned lines = 0;
    for (char *p = text; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 203);
    free(text);
    out = open_memstream(&text, &len);
    assert_int_equal(log_dump(f->dir, 2, out, &why), TG_OK);
    fclose(out);
    unsigned seg, messages, bytes;
    unsigned long long offset, ledger, entry;
    long long admitted;
    assert_int_equal(sscanf(text, "%u %llu %llu %llu %lld %u %u", &seg, &offset, &ledger, &entry,
                            &admitted, &messages, &bytes),
                     7);
    assert_int_equal(ledger, 2);
    assert_int_equal(entry, 0);
    assert_int_equal(admitted, 5);
    assert_int_equal(messages, 1);
    assert_int_equal(bytes, 10);
    free(text);
    assert_int_equal(log_dump("/nonexistent", 2, stdout, &why), TG_ENOENT);
    free(why);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_appends_are_reported_in_order_and_read_back_from_cache),
        T(test_cached_read_keeps_its_bounds),
        T(test_nothing_is_readable_before_it_is_reported),
        T(test_finish_reads_calls_back_all_that_was_asked_for),
        T(test_disk_read_gives_what_was_appended),
        T(test_disk_read_keeps_its_bounds),
        T(test_entries_survive_reopening),
        T(test_entry_larger_than_a_segment),
        T(test_empty_body),
        T(test_inflight_memory_used_up_is_busy_until_a_report),
        T(test_cache_stays_within_its_share_and_holds_keep_bytes),
        T(test_trim_while_appends_are_reported_keeps_the_others_cached),
        T(test_trimmed_entries_leave_the_cache),
        T(test_second_process_is_told_busy),
        T(test_os_durability_reports_and_reopens),
        T(test_each_ledger_names_all),
        T(test_two_ports_append_their_own_ledgers),
        T(test_dump_lists_every_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
