/* When appends are reported: after the sync, in groups, not at all on a failed disk, later on a
 * full one. The disk is made to misbehave through store/faults.h. */
#include "log_fixture.h"

#include <sys/uio.h>

struct disk { /* what the hooks do; under lock */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool gate;    /* syncs wait */
    bool waiting; /* one does */
    unsigned syncs, opens;
    int sync_error;  /* of every sync from now on */
    int write_error; /* of every write */
    int make_error;  /* of making a new file */
    uint64_t short_writes;
};

static struct disk disk;

static int hook_sync(void *ctx, int fd)
{
    struct disk *d = ctx;
    pthread_mutex_lock(&d->lock);
    d->syncs++;
    while (d->gate) {
        d->waiting = true;
        pthread_cond_broadcast(&d->cond);
        pthread_cond_wait(&d->cond, &d->lock);
    }
    d->waiting = false;
    int e = d->sync_error;
    pthread_mutex_unlock(&d->lock);
    (void)fd;
    errno = e;
    return e ? -1 : 0;
}

static ssize_t hook_pwritev(void *ctx, int fd, const struct iovec *iov, int count, off_t offset)
{
    struct disk *d = ctx;
    pthread_mutex_lock(&d->lock);
    int e = d->write_error;
    bool cut = d->short_writes && d->short_writes--;
    pthread_mutex_unlock(&d->lock);
    errno = e;
    if (e)
        return -1;
    if (cut) /* a kernel may write less than it was asked to */
        return pwrite(fd, iov[0].iov_base, iov[0].iov_len > 20 ? 20 : iov[0].iov_len, offset);
    return pwritev(fd, iov, count, offset);
}

static int hook_openat(void *ctx, int dir_fd, const char *name, int flags, mode_t mode)
{
    struct disk *d = ctx;
    pthread_mutex_lock(&d->lock);
    int e = flags & O_CREAT ? d->make_error : 0;
    d->opens += (flags & O_CREAT) != 0;
    pthread_mutex_unlock(&d->lock);
    errno = e;
    return e ? -1 : openat(dir_fd, name, flags, mode);
}

static const struct ls_faults hooks = {
    .ctx = &disk, .fdatasync = hook_sync, .pwritev = hook_pwritev, .openat = hook_openat};

static int setup(void **state)
{
    memset(&disk, 0, sizeof disk);
    pthread_mutex_init(&disk.lock, NULL);
    pthread_cond_init(&disk.cond, NULL);
    fx_setup(state);
    ((struct fx *)*state)->cfg.faults = &hooks;
    return 0;
}

static void set(int *what, int value)
{
    pthread_mutex_lock(&disk.lock);
    *what = value;
    pthread_mutex_unlock(&disk.lock);
}

static unsigned syncs(void)
{
    pthread_mutex_lock(&disk.lock);
    unsigned n = disk.syncs;
    pthread_mutex_unlock(&disk.lock);
    return n;
}

static void gate(bool shut)
{
    pthread_mutex_lock(&disk.lock);
    disk.gate = shut;
    pthread_cond_broadcast(&disk.cond);
    pthread_mutex_unlock(&disk.lock);
}

static void await_sync(void)
{
    pthread_mutex_lock(&disk.lock);
    while (!disk.waiting)
        pthread_cond_wait(&disk.cond, &disk.lock);
    pthread_mutex_unlock(&disk.lock);
}

static void test_nothing_is_reported_before_the_sync_returned(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 1, 100);
    gate(true);
    fx_append(f, 1, 1, 100);
    ls_port_submit(f->port);
    await_sync();
    for (int i = 0; i < 20; i++)
        fx_turn(f, MONO_MS);
    assert_int_equal(f->reported, 1);
    assert_int_equal(ls_last_entry(f->store, 1), 0);
    fx_read(f, 1, 0, 10, UINT64_MAX); /* not past what is durable */
    assert_int_equal(f->read_count, 1);
    fx_release(f);
    gate(false);
    FX_UNTIL(f, f->reported == 2);
}

static void test_what_waits_shares_one_sync(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 1, 100);
    gate(true);
    fx_append(f, 1, 1, 100);
    ls_port_submit(f->port);
    await_sync();
    unsigned before = syncs();
    for (uint64_t i = 2; i < 202; i++) { /* less than half a segment: no spare is made meanwhile */
        fx_append(f, 1, i, 8);
        ls_port_submit(f->port);
    }
    gate(false);
    FX_UNTIL(f, f->reported == 202);
    assert_int_equal(syncs() - before, 1);
    struct ls_stats st;
    ls_stats(f->store, &st);
    assert_int_equal(st.syncs, 3);
    assert_int_equal(st.commits, 3);
}

static void test_short_writes_are_completed(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 1, 100);
    pthread_mutex_lock(&disk.lock);
    disk.short_writes = 50;
    pthread_mutex_unlock(&disk.lock);
    fx_fill(f, 1, 1, 20, 100);
    assert_int_equal(fx_check_ledger(f, 1, 0), 21);
    fx_crash(f);
    fx_open(f);
    assert_int_equal(fx_check_ledger(f, 1, 0), 21);
}

static void test_failed_sync_reports_nothing_any_more(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 5, 100);
    set(&disk.sync_error, EIO);
    fx_append(f, 1, 5, 100);
    ls_port_submit(f->port);
    FX_UNTIL(f, f->state == LS_FAILED);
    assert_non_null(strstr(f->why, "fdatasync"));
    assert_non_null(strstr(f->why, "seg-00000001.log"));
    assert_non_null(strstr(f->why, strerror(EIO)));
    unsigned tried = syncs();
    set(&disk.sync_error, 0); /* the next one would lie */
    fx_append(f, 1, 6, 100);
    ls_port_submit(f->port);
    for (int i = 0; i < 20; i++)
        fx_turn(f, 5 * MONO_MS);
    assert_int_equal(f->reported, 5);
    assert_int_equal(f->state_changes, 1);
    assert_int_equal(syncs(), tried);
    assert_int_equal(ls_last_entry(f->store, 1), 4);
    fx_reopen(f); /* whether entry 5 is there is not known; it must be whole if it is */
    uint64_t last = ls_last_entry(f->store, 1);
    assert_in_range(last, 4, 5);
    assert_int_equal(fx_check_ledger(f, 1, 0), last + 1);
}

static void test_sync_without_room_is_a_failed_sync(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 5, 100);
    set(&disk.sync_error, ENOSPC);
    fx_append(f, 1, 5, 100);
    ls_port_submit(f->port);
    FX_UNTIL(f, f->state != LS_OK);
    assert_int_equal(f->state, LS_FAILED);
}

static void test_failed_write_fails_the_store(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 5, 100);
    set(&disk.write_error, EIO);
    fx_append(f, 1, 5, 100);
    ls_port_submit(f->port);
    FX_UNTIL(f, f->state == LS_FAILED);
    assert_non_null(strstr(f->why, "pwritev"));
    assert_int_equal(f->reported, 5);
    struct ls_port *first = f->port;
    f->state = LS_OK;
    fx_port(f); /* a port that comes later hears of it too */
    struct ls_port *second = f->port;
    FX_UNTIL(f, f->state == LS_FAILED);
    ls_port_close(second);
    f->port = first;
}

static void test_write_without_room_waits_and_goes_on(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 5, 100);
    set(&disk.write_error, ENOSPC);
    for (uint64_t i = 5; i < 25; i++) {
        fx_append(f, 1, i, 100);
        ls_port_submit(f->port);
    }
    FX_UNTIL(f, f->state == LS_FULL);
    assert_int_equal(f->reported, 5);
    set(&disk.write_error, 0);
    FX_UNTIL(f, f->state == LS_OK);
    FX_UNTIL(f, f->reported == 25);
    assert_int_equal(f->state_changes, 2);
    assert_int_equal(fx_check_ledger(f, 1, 0), 25);
}

/* Appends until the store says that it is full; returns how many were appended. */
static uint64_t append_until_full(struct fx *f)
{
    uint64_t n = f->next[1];
    while (f->state == LS_OK) {
        if (fx_try_append(f, 1, n, 500) == TG_OK)
            n++;
        ls_port_submit(f->port);
        fx_turn(f, MONO_MS);
    }
    assert_int_equal(f->state, LS_FULL);
    return n;
}

static void test_no_room_for_a_segment_waits_and_goes_on(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 5, 100);
    set(&disk.make_error, ENOSPC);
    uint64_t n = append_until_full(f);
    for (int i = 0; i < 10; i++)
        fx_turn(f, 10 * MONO_MS);
    assert_true(f->reported < n);
    set(&disk.make_error, 0);
    FX_UNTIL(f, f->state == LS_OK);
    FX_UNTIL(f, f->reported == n);
    assert_int_equal(fx_check_ledger(f, 1, 0), n);
}

static void test_trimming_makes_room_on_a_full_disk(void **state)
{
    struct fx *f = *state;
    struct ls_stats st;
    fx_open(f);
    uint64_t n = 0;
    do {
        fx_fill(f, 1, n, 10, 500);
        n += 10;
        ls_stats(f->store, &st);
    } while (st.segments < 4);
    set(&disk.make_error, ENOSPC);
    for (int round = 0; round < 6;
         round++) { /* the disk stays full: only what is trimmed is room */
        n = append_until_full(f);
        ls_trim(f->port, 1, f->next[1]);
        ls_port_submit(f->port);
        FX_UNTIL(f, f->state == LS_OK);
        FX_UNTIL(f, f->reported == n);
    }
    fx_crash(f);
    set(&disk.make_error, 0);
    fx_open(f);
    assert_int_equal(ls_last_entry(f->store, 1), n - 1);
}

static void test_full_disk_does_not_hold_up_closing(void **state)
{
    struct fx *f = *state;
    fx_open(f);
    fx_fill(f, 1, 0, 5, 100);
    set(&disk.write_error, ENOSPC);
    ls_drop(f->port, 1);
    ls_port_submit(f->port);
    FX_UNTIL(f, f->state == LS_FULL);
    fx_close(f);
    set(&disk.write_error, 0);
    fx_open(f);
    assert_int_equal(ls_last_entry(f->store, 1), 4); /* the drop was not done: drop it again */
}

static void test_full_disk_at_start_still_serves_what_is_there(void **state)
{
    struct fx *f = *state;
    set(&disk.make_error, ENOSPC);
    fx_open(f);
    fx_append(f, 1, 0, 10);
    ls_port_submit(f->port);
    FX_UNTIL(f, f->state == LS_FULL);
    set(&disk.make_error, 0);
    FX_UNTIL(f, f->reported == 1);
}

static void test_segment_that_cannot_be_made_fails_the_store(void **state)
{
    struct fx *f = *state;
    set(&disk.make_error, EROFS);
    fx_open(f);
    fx_append(f, 1, 0, 10);
    ls_port_submit(f->port);
    FX_UNTIL(f, f->state == LS_FAILED);
    assert_non_null(strstr(f->why, strerror(EROFS)));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_nothing_is_reported_before_the_sync_returned),
        T(test_what_waits_shares_one_sync),
        T(test_short_writes_are_completed),
        T(test_failed_sync_reports_nothing_any_more),
        T(test_sync_without_room_is_a_failed_sync),
        T(test_failed_write_fails_the_store),
        T(test_write_without_room_waits_and_goes_on),
        T(test_no_room_for_a_segment_waits_and_goes_on),
        T(test_trimming_makes_room_on_a_full_disk),
        T(test_full_disk_does_not_hold_up_closing),
        T(test_full_disk_at_start_still_serves_what_is_there),
        T(test_segment_that_cannot_be_made_fails_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
