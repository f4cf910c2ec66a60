/* Copying forward: what little is needed of a segment goes to the end of the log, unchanged, and
 * the segment goes. And what files cost that nobody needs any more. */
#include "log_fixture.h"

#include <sys/uio.h>

static struct ls_stats stats(struct fx *f)
{
    struct ls_stats st;
    ls_stats(f->store, &st);
    return st;
}

static void trim(struct fx *f, uint64_t ledger, uint64_t first_needed)
{
    ls_trim(f->port, ledger, first_needed);
    ls_port_submit(f->port);
}

static uint64_t segments_of(struct fx *f)
{
    return stats(f).log_bytes / f->cfg.segment_bytes;
}

/* <ledgers> ledgers with <each> entries of <len>, of which all but the last are trimmed. */
static void fill_and_trim(struct fx *f, uint64_t ledgers, uint32_t each, uint32_t len)
{
    uint64_t total = f->reported;
    for (uint32_t i = 0; i < each; i++)
        for (uint64_t l = 1; l <= ledgers; l++, total++) {
            fx_append(f, l, i, len);
            if (total % 50 == 0)
                ls_port_submit(f->port);
        }
    fx_commit(f, total);
    for (uint64_t l = 1; l <= ledgers; l++)
        trim(f, l, each - 1);
}

static void check_last_ones(struct fx *f, uint64_t ledgers, uint32_t each)
{
    for (uint64_t l = 1; l <= ledgers; l++) {
        assert_int_equal(ls_last_entry(f->store, l), each - 1);
        fx_read(f, l, each - 1, 10, UINT64_MAX);
        assert_int_equal(f->read_err, TG_OK);
        assert_int_equal(f->read_count, 1);
        fx_check_entry(&f->read_entries[0], l, each - 1);
        fx_release(f);
    }
}

static void test_one_entry_of_each_of_1000_ledgers_pins_little(void **state)
{
    struct fx *f = *state;
    enum { LEDGERS = 1000, EACH = 12, LEN = 500 };
    f->cfg.segment_bytes = 256 << 10;
    fx_open(f);
    /* The entries that stay are spread over all segments: those of ledger l come l/8 rounds late.
     */
    uint64_t total = 0;
    for (uint64_t round = 0; round < EACH + LEDGERS / 8; round++)
        for (uint64_t l = 1; l <= LEDGERS; l++)
            if (round >= l / 8 && round < l / 8 + EACH) {
                fx_append(f, l, round - l / 8, LEN);
                total++;
                if (total % 64 == 0)
                    ls_port_submit(f->port);
            }
    fx_commit(f, total);
    assert_true(segments_of(f) > 20);
    for (uint64_t l = 1; l <= LEDGERS; l++)
        trim(f, l, EACH - 1);
    uint64_t live = LEDGERS * rec_size(LEN);
    FX_UNTIL(f, stats(f).log_bytes <= 4 * live + 2 * f->cfg.segment_bytes);
    check_last_ones(f, LEDGERS, EACH);
    fx_crash(f);
    fx_open(f);
    check_last_ones(f, LEDGERS, EACH);
    FX_UNTIL(f, stats(f).log_bytes <= 4 * live + 2 * f->cfg.segment_bytes);
    fx_reopen(f);
    check_last_ones(f, LEDGERS, EACH);
    for (uint64_t l = 1; l <= LEDGERS; l++) /* and they go on where they were */
        fx_append(f, l, EACH, LEN);
    fx_commit(f, total + LEDGERS);
}

static void test_a_forgotten_ledger_does_not_pin_what_flows_past_it(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    uint64_t n = 0;
    for (int round = 0; round < 60; round++) {
        fx_fill(f, 2, (uint64_t)round, 1, 100); /* never trimmed */
        fx_fill(f, 1, n, 100, 300);
        n += 100;
        trim(f, 1, n);
    }
    uint64_t live = 60 * rec_size(100);
    FX_UNTIL(f, stats(f).log_bytes <= 4 * live + 2 * f->cfg.segment_bytes);
    assert_int_equal(fx_check_ledger(f, 2, 0), 60); /* in order, though copied at different times */
    assert_true(stats(f).copied_bytes >= 10 * rec_size(100));
    for (int i = 0; i < 3; i++) {
        fx_crash(f);
        fx_open(f);
        assert_int_equal(fx_check_ledger(f, 2, 0), 60);
    }
    trim(f, 2, 60);
    FX_UNTIL(f, stats(f).segments <= 2);
}

static void test_new_entries_follow_on_copied_ones(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fill_and_trim(f, 3, 150, 300);
    FX_UNTIL(f, stats(f).segments <= 2);
    for (uint64_t i = 150; i < 160; i++) {
        for (uint64_t l = 1; l <= 3; l++)
            fx_append(f, l, i, 50);
        fx_commit(f, f->reported + 3);
    }
    for (int i = 0; i < 2; i++) {
        for (uint64_t l = 1; l <= 3; l++)
            assert_int_equal(fx_check_ledger(f, l, 149), 11);
        fx_crash(f);
        fx_open(f);
    }
}

/* ---- crashes at every point ---- */

struct copied { /* the directory as it was when something happened to it */
    struct fx *f;
    pthread_mutex_t lock;
    struct snap *snaps[64];
    int count;
    bool watch;
};

static int snap_then_sync(void *ctx, int fd)
{
    struct copied *c = ctx;
    char log_dir[128];
    (void)fd;
    snprintf(log_dir, sizeof log_dir, "%s/log", c->f->dir);
    pthread_mutex_lock(&c->lock);
    if (c->watch && c->count < 64)
        c->snaps[c->count++] = snap_take(log_dir);
    pthread_mutex_unlock(&c->lock);
    return 0;
}

static void put_back(struct fx *f, const struct snap *s)
{
    char log_dir[128], path[512];
    snprintf(log_dir, sizeof log_dir, "%s/log", f->dir);
    fx_remove_dir(log_dir);
    mkdir(log_dir, 0750);
    for (unsigned i = 0; i < s->count; i++) {
        snprintf(path, sizeof path, "%s/%s", log_dir, s->names[i]);
        fx_store(path, s->bytes[i], s->sizes[i]);
    }
}

/* Copies in a snapshot, of entries that are in an older segment of it as well. */
static unsigned entries_twice(const struct snap *s)
{
    unsigned copies = 0, sealed = 0;
    for (unsigned i = 0; i < s->count; i++) {
        struct seg_header h;
        struct seg_trailer t;
        if (strncmp(s->names[i], "seg-", 4) != 0 || s->sizes[i] < SEG_DATA_START)
            continue;
        memcpy(&h, s->bytes[i], sizeof h);
        memcpy(&t, s->bytes[i] + s->sizes[i] - sizeof t, sizeof t);
        sealed += seg_trailer_ok(&t, h.generation, s->sizes[i]);
        for (size_t at = SEG_DATA_START; at + sizeof(struct record) <= s->sizes[i]; at += 8) {
            struct record r;
            memcpy(&r, s->bytes[i] + at, sizeof r);
            copies += rec_header_ok(&r, h.generation, at) && r.type == REC_COPY;
        }
    }
    return sealed > 2 ? copies : 0;
}

static void test_a_crash_at_any_point_of_copying_loses_nothing(void **state)
{
    struct fx *f = *state;
    struct copied c = {.f = f};
    struct ls_faults hooks = {.ctx = &c, .fdatasync = snap_then_sync};
    pthread_mutex_init(&c.lock, NULL);
    f->cfg.faults = &hooks;
    fx_open(f);
    fx_fill(f, 4, 0, 1, 10);
    uint64_t n = 0;
    for (uint64_t i = 0; i < 30; i++, n += 50) {
        fx_fill(f, 2, i, 1, 100);
        fx_fill(f, 1, n, 50, 300);
    }
    pthread_mutex_lock(&c.lock);
    c.watch = true;
    pthread_mutex_unlock(&c.lock);
    trim(f, 1, n);
    FX_UNTIL(f, stats(f).segments <= 2);
    fx_close(f);
    unsigned twice = 0;
    for (int i = 0; i < c.count; i++) {
        put_back(f, c.snaps[i]);
        twice += entries_twice(c.snaps[i]);
        c.watch = false;
        fx_open(f);
        assert_int_equal(ls_last_entry(f->store, 1), n - 1);
        assert_int_equal(fx_check_ledger(f, 2, 0), 30);
        assert_int_equal(fx_check_ledger(f, 4, 0), 1);
        trim(f, 1, n);
        FX_UNTIL(f, stats(f).segments <= 2); /* the source of a copy is recycled in the end */
        assert_int_equal(fx_check_ledger(f, 2, 0), 30);
        fx_close(f);
        snap_free(c.snaps[i]);
    }
    assert_true(c.count > 5 && twice > 0);
    f->cfg.faults = NULL;
}

/* ---- reading meanwhile ---- */

static void test_reads_during_copying_give_what_was_appended(void **state)
{
    struct fx *f = *state;
    f->cfg.copy_bytes_per_s = 200 << 10; /* slow, so that there is a meanwhile */
    fx_open(f);
    uint64_t n = 0;
    for (uint64_t i = 0; i < 300; i++) {
        fx_append(f, 2, i, 100);
        for (int k = 0; k < 10; k++)
            fx_append(f, 1, n++, 300);
        if (i % 10 == 0)
            ls_port_submit(f->port);
    }
    fx_commit(f, 300 + n);
    trim(f, 1, n);
    uint64_t rounds = 0;
    for (; stats(f).copied_bytes < 200 * rec_size(100); rounds++)
        assert_int_equal(fx_check_ledger(f, 2, 0), 300);
    assert_true(rounds > 1);
    FX_UNTIL(f, stats(f).segments <= 5);
    assert_int_equal(fx_check_ledger(f, 2, 0), 300);
}

/* ---- damage ---- */

static void test_a_damaged_entry_is_not_copied_and_its_segment_stays(void **state)
{
    struct fx *f = *state;
    char path[128];
    fx_open(f);
    fx_fill(f, 2, 0, 1, 100); /* the first record of segment 1 */
    fx_fill(f, 1, 0, 1000, 300);
    fx_close(f);
    fx_seg_path(f, path, 1);
    size_t size;
    uint8_t *bytes = fx_load(path, &size);
    bytes[SEG_DATA_START + 2 * sizeof(struct record) + 20] ^= 1;
    fx_store(path, bytes, size);
    free(bytes);
    fx_open(f);
    trim(f, 1, 1000);
    FX_UNTIL(f, stats(f).segments <= 3);
    for (int i = 0; i < 20; i++)
        fx_turn(f, 5 * MONO_MS);
    assert_int_equal(access(path, F_OK), 0);
    fx_read(f, 2, 0, 1, UINT64_MAX);
    assert_int_equal(f->read_err, TG_ECORRUPT);
    fx_release(f);
}

/* ---- a full disk ---- */

static bool no_new_files;

static int maybe_openat(void *ctx, int dir_fd, const char *name, int flags, mode_t mode)
{
    (void)ctx;
    errno = ENOSPC;
    if (flags & O_CREAT && __atomic_load_n(&no_new_files, __ATOMIC_SEQ_CST))
        return -1;
    return openat(dir_fd, name, flags, mode);
}

static void test_copying_makes_room_on_a_full_disk(void **state)
{
    struct fx *f = *state;
    static const struct ls_faults hooks = {.openat = maybe_openat};
    f->cfg.faults = &hooks;
    f->cfg.segment_bytes = 256 << 10; /* of which 4 KB are kept for this */
    fx_open(f);
    uint64_t n = 0, other = 0;
    __atomic_store_n(&no_new_files, false, __ATOMIC_SEQ_CST);
    for (; stats(f).segments < 6; n += 50) {
        fx_fill(f, 2, other++, 1, 20);
        fx_fill(f, 1, n, 50, 500);
    }
    __atomic_store_n(&no_new_files, true, __ATOMIC_SEQ_CST);
    for (; f->state == LS_OK; fx_turn(f, MONO_MS)) {
        n += fx_try_append(f, 1, n, 500) == TG_OK;
        ls_port_submit(f->port);
    }
    assert_int_equal(f->state, LS_FULL);
    assert_int_equal(stats(f).copied_bytes, 0);
    trim(f, 1, f->next[1]); /* no segment is empty for it: something of ledger 2 is in each */
    FX_UNTIL(f, f->state == LS_OK);
    assert_true(stats(f).copied_bytes > 0);
    FX_UNTIL(f, f->reported == n + other);
    assert_int_equal(fx_check_ledger(f, 2, 0), other);
    fx_close(f);
    f->cfg.faults = NULL;
}

/* ---- files ---- */

static unsigned files(struct fx *f)
{
    char log_dir[128];
    snprintf(log_dir, sizeof log_dir, "%s/log", f->dir);
    struct snap *s = snap_take(log_dir);
    unsigned n = s->count;
    snap_free(s);
    return n;
}

static void test_files_that_stay_idle_are_deleted(void **state)
{
    struct fx *f = *state;
    f->cfg.shrink_after_ns = 50 * MONO_MS;
    fx_open(f);
    fx_fill(f, 1, 0, 2000, 300);
    assert_true(files(f) > 8);
    trim(f, 1, 2000);
    FX_UNTIL(f, files(f) <= 4); /* two in use, perhaps a spare, one kept */
    fx_fill(f, 1, 2000, 2000, 300);
    fx_crash(f);
    fx_open(f);
    assert_int_equal(fx_check_ledger(f, 1, 2000), 2000);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_one_entry_of_each_of_1000_ledgers_pins_little),
        T(test_a_forgotten_ledger_does_not_pin_what_flows_past_it),
        T(test_new_entries_follow_on_copied_ones),
        T(test_a_crash_at_any_point_of_copying_loses_nothing),
        T(test_reads_during_copying_give_what_was_appended),
        T(test_a_damaged_entry_is_not_copied_and_its_segment_stays),
        T(test_copying_makes_room_on_a_full_disk),
        T(test_files_that_stay_idle_are_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
