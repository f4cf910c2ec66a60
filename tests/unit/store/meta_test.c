/* The metadata store: versions, prefixes, watches, grouping, and what survives. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "store/meta_store.h"

#define WAIT_S 20

struct fx {
    char dir[64];
    struct meta_store *meta;
    struct ms_port *port;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool woken;
    unsigned answers;
    enum tg_err err;
    int64_t version;
    char value[4096];
    char listed[4096]; /* "key=value@version " of each */
    unsigned events;
    char event[4096];
};

static void wake(void *ctx)
{
    struct fx *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->woken = true;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static void turn(struct fx *f)
{
    int64_t until_ns = mono_now_ns() + WAIT_S * MONO_S;
    struct timespec ts = {.tv_sec = until_ns / MONO_S, .tv_nsec = until_ns % MONO_S};
    pthread_mutex_lock(&f->lock);
    while (!f->woken)
        assert_int_equal(pthread_cond_timedwait(&f->cond, &f->lock, &ts), 0);
    f->woken = false;
    pthread_mutex_unlock(&f->lock);
    ms_port_poll(f->port);
}

static void on_done(void *ctx, enum tg_err e, int64_t version, const char *value, size_t len)
{
    struct fx *f = ctx;
    f->answers++;
    f->err = e;
    f->version = version;
    snprintf(f->value, sizeof f->value, "%.*s", (int)len, value ? value : "");
}

static void on_list(void *ctx, enum tg_err e, const struct ms_item *items, size_t count)
{
    struct fx *f = ctx;
    size_t at = 0;
    f->answers++;
    f->err = e;
    f->listed[0] = 0;
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(f->listed + at, sizeof f->listed - at, "%s=%s@%lld ", items[i].key,
                               items[i].value, (long long)items[i].version);
}

static void on_event(void *ctx, const struct ms_item *it)
{
    struct fx *f = ctx;
    f->events++;
    snprintf(f->event, sizeof f->event, "%s=%s@%lld", it->key, it->value ? it->value : "(deleted)",
             (long long)it->version);
}

static void await(struct fx *f, unsigned answers)
{
    while (f->answers < answers)
        turn(f);
}

static enum tg_err put(struct fx *f, const char *key, const char *value, int64_t expected)
{
    ms_put(f->port, key, value, strlen(value), expected, on_done, f);
    await(f, f->answers + 1);
    return f->err;
}

static enum tg_err get(struct fx *f, const char *key)
{
    ms_get(f->port, key, on_done, f);
    await(f, f->answers + 1);
    return f->err;
}

static enum tg_err del(struct fx *f, const char *key, int64_t expected)
{
    ms_delete(f->port, key, expected, on_done, f);
    await(f, f->answers + 1);
    return f->err;
}

static const char *list(struct fx *f, const char *prefix)
{
    ms_list(f->port, prefix, on_list, f);
    await(f, f->answers + 1);
    assert_int_equal(f->err, TG_OK);
    return f->listed;
}

static void open_meta(struct fx *f)
{
    char *why;
    assert_int_equal(meta_open(&f->meta, f->dir, &why), TG_OK);
    f->port = ms_port_open(f->meta, wake, f);
}

static void close_meta(struct fx *f)
{
    if (f->port)
        ms_port_close(f->port);
    if (f->meta)
        meta_close(f->meta);
    f->port = NULL;
    f->meta = NULL;
}

static int setup(void **state)
{
    struct fx *f = xcalloc(1, sizeof *f);
    log_set_level(LOG_ERROR + 1);
    snprintf(f->dir, sizeof f->dir, "/tmp/tidegate-meta-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->cond, &attr);
    open_meta(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fx *f = *state;
    static const char *const names[] = {"meta.db", "meta.db-wal", "meta.db-shm"};
    close_meta(f);
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", f->dir, names[i]);
        unlink(path);
    }
    rmdir(f->dir);
    free(f);
    return 0;
}

static void test_finish_answers_all_that_waits(void **state)
{
    struct fx *f = *state;
    assert_false(ms_port_finish(f->port));
    for (int i = 0; i < 50; i++)
        ms_put(f->port, "a", "1", 1, MS_ANY, on_done, f);
    assert_true(ms_port_finish(f->port));
    assert_int_equal(f->answers, 50);
    assert_int_equal(f->version, 50);
    assert_false(ms_port_finish(f->port));
}

static void test_put_compares_versions(void **state)
{
    struct fx *f = *state;
    assert_int_equal(put(f, "a", "1", MS_ABSENT), TG_OK);
    assert_int_equal(f->version, 1);
    assert_int_equal(put(f, "a", "2", MS_ABSENT), TG_ECONFLICT);
    assert_int_equal(put(f, "a", "2", 1), TG_OK);
    assert_int_equal(f->version, 2);
    assert_int_equal(put(f, "a", "3", 1), TG_ECONFLICT);
    assert_int_equal(put(f, "b", "3", 1), TG_ECONFLICT); /* not there */
    assert_int_equal(put(f, "a", "4", MS_ANY), TG_OK);
    assert_int_equal(put(f, "c", "5", MS_ANY), TG_OK);
    assert_int_equal(get(f, "a"), TG_OK);
    assert_string_equal(f->value, "4");
    assert_int_equal(f->version, 3);
    assert_int_equal(get(f, "b"), TG_ENOENT);
}

static void test_delete_compares_versions(void **state)
{
    struct fx *f = *state;
    put(f, "a", "1", MS_ANY);
    assert_int_equal(del(f, "a", 7), TG_ECONFLICT);
    assert_int_equal(del(f, "a", 1), TG_OK);
    assert_int_equal(get(f, "a"), TG_ENOENT);
    assert_int_equal(del(f, "a", MS_ANY), TG_OK); /* or none */
    assert_int_equal(del(f, "a", 1), TG_ECONFLICT);
}

static void test_list_takes_the_prefix_only_sorted(void **state)
{
    struct fx *f = *state;
    put(f, "ns/b/x", "1", MS_ANY);
    put(f, "ns/a", "2", MS_ANY);
    put(f, "ns", "3", MS_ANY);
    put(f, "nt/a", "4", MS_ANY);
    put(f, "ns/%", "5", MS_ANY); /* no wildcard is one */
    assert_string_equal(list(f, "ns/"), "ns/%=5@1 ns/a=2@1 ns/b/x=1@1 ");
    assert_string_equal(list(f, "ns/b"), "ns/b/x=1@1 ");
    assert_string_equal(list(f, "zz"), "");
    assert_string_equal(list(f, "ns/_"), "");
    put(f, "\xc3\xa9/k", "6", MS_ANY);
    assert_string_equal(list(f, "\xc3\xa9/"), "\xc3\xa9/k=6@1 ");
}

static void test_everything_survives_reopening(void **state)
{
    struct fx *f = *state;
    put(f, "a", "{\"x\":1}", MS_ANY);
    put(f, "a", "{\"x\":2}", MS_ANY);
    close_meta(f);
    open_meta(f);
    assert_int_equal(get(f, "a"), TG_OK);
    assert_int_equal(f->version, 2);
    assert_string_equal(f->value, "{\"x\":2}");
}

static void test_what_waits_is_carried_out_at_close(void **state)
{
    struct fx *f = *state;
    char key[32];
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k/%03d", i);
        ms_put(f->port, key, "v", 1, MS_ABSENT, NULL, NULL);
    }
    close_meta(f);
    open_meta(f);
    assert_int_equal(get(f, "k/499"), TG_OK);
    assert_int_equal(get(f, "k/000"), TG_OK);
}

static void test_operations_of_a_port_keep_their_order(void **state)
{
    struct fx *f = *state;
    char value[32];
    for (int i = 0; i < 300; i++) {
        snprintf(value, sizeof value, "%d", i);
        ms_put(f->port, "k", value, strlen(value), i, on_done, f);
    }
    ms_get(f->port, "k", on_done, f);
    await(f, 301);
    assert_int_equal(f->version, 300);
    assert_string_equal(f->value, "299");
}

static void test_watch_tells_of_changes_under_the_prefix(void **state)
{
    struct fx *f = *state;
    struct ms_port *other = ms_port_open(f->meta, wake, f);
    ms_watch(f->port, "p/", on_event, f);
    assert_int_equal(put(f, "p/a", "1", MS_ANY), TG_OK);
    while (f->events < 1)
        turn(f);
    assert_string_equal(f->event, "p/a=1@1");
    ms_put(other, "q/a", "1", 1, MS_ANY, NULL, NULL);
    ms_put(other, "p/a", "2", 1, 99, NULL, NULL); /* loses: no event */
    ms_put(other, "p/a", "3", 1, MS_ANY, NULL, NULL);
    while (f->events < 2)
        turn(f);
    assert_string_equal(f->event, "p/a=3@2");
    ms_delete(other, "p/a", MS_ANY, NULL, NULL);
    while (f->events < 3)
        turn(f);
    assert_string_equal(f->event, "p/a=(deleted)@2");
    ms_port_close(other);
    assert_int_equal(put(f, "q/b", "1", MS_ANY), TG_OK);
    assert_int_equal(f->events, 3);
}

static void test_failed_transaction_is_told_and_nothing_of_it_is_kept(void **state)
{
    struct fx *f = *state;
    char big[60000];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = 0;
    put(f, "a", "1", MS_ANY);
    close_meta(f);
    char path[128];
    snprintf(path, sizeof path, "%s/meta.db", f->dir);
    open_meta(f);
    sqlite3 *db; /* a trigger stands for a disk that refuses */
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "CREATE TRIGGER full BEFORE INSERT ON kv WHEN length(new.value) "
                                  "> 1000 BEGIN SELECT RAISE(ABORT, 'no'); END",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    assert_int_not_equal(put(f, "c", big, MS_ANY), TG_OK);
    assert_int_equal(get(f, "c"), TG_ENOENT);
    assert_int_equal(put(f, "a", "2", 1), TG_OK); /* it goes on */
}

static void test_newer_format_is_refused(void **state)
{
    struct fx *f = *state;
    close_meta(f);
    char path[128], *why;
    snprintf(path, sizeof path, "%s/meta.db", f->dir);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=9", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(meta_open(&f->meta, f->dir, &why), TG_EUNSUPPORTED);
    assert_non_null(strstr(why, "format is 9"));
    free(why);
    f->meta = NULL;
}

static void test_file_that_is_no_database_is_corrupt(void **state)
{
    struct fx *f = *state;
    close_meta(f);
    char path[128], *why;
    snprintf(path, sizeof path, "%s/meta.db", f->dir);
    FILE *out = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("garbage ", out);
    fclose(out);
    assert_int_equal(meta_open(&f->meta, f->dir, &why), TG_ECORRUPT);
    free(why);
    f->meta = NULL;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_finish_answers_all_that_waits),
        T(test_put_compares_versions),
        T(test_delete_compares_versions),
        T(test_list_takes_the_prefix_only_sorted),
        T(test_everything_survives_reopening),
        T(test_what_waits_is_carried_out_at_close),
        T(test_operations_of_a_port_keep_their_order),
        T(test_watch_tells_of_changes_under_the_prefix),
        T(test_failed_transaction_is_told_and_nothing_of_it_is_kept),
        T(test_newer_format_is_refused),
        T(test_file_that_is_no_database_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
