/* log_fixture.h - a store in a temporary directory with one port, driven by the test's thread. What
 * the store's threads finish is awaited through the port's wake function, for at most WAIT_S. */
#ifndef TESTS_LOG_FIXTURE_H
#define TESTS_LOG_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mono.h"
#include "store/faults.h"
#include "store/ledger_store.h"
#include "store/record.h"
#include "store/segment.h"

#define WAIT_S        20
#define FX_MEMORY     (64 << 20)
#define FX_SEGMENT    (64 << 10)
#define FX_REPORTS    100000
#define FX_MAX_LEDGER 2048

struct fx {
    char dir[64];
    struct budget budget;
    struct log_config cfg;
    struct ledger_store *store;
    struct ls_port *port;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool woken;
    uint64_t trim_on_append;      /* this ledger is trimmed as its appends are reported; 0: none */
    uint64_t reported;            /* appends */
    uint64_t next[FX_MAX_LEDGER]; /* the entry that must be reported next */
    bool started[FX_MAX_LEDGER];
    enum ls_state state;
    uint32_t state_changes;
    char why[256];
    /* the last read */
    bool read_done;
    enum tg_err read_err;
    uint32_t read_count;
    struct ls_entry read_entries[2048];
    struct ls_hold *read_hold;
};

static inline void fx_wake(void *ctx)
{
    struct fx *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->woken = true;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static inline void fx_on_append(void *port_ctx, void *ctx, uint64_t ledger, uint64_t entry,
                                enum tg_err e)
{
    struct fx *f = port_ctx;
    assert_int_equal(e, TG_OK);
    assert_ptr_equal(ctx, (void *)(uintptr_t)(ledger * 1000003 + entry));
    assert_true(ledger < FX_MAX_LEDGER);
    if (f->started[ledger])
        assert_int_equal(entry, f->next[ledger]); /* in order, each once */
    f->started[ledger] = true;
    f->next[ledger] = entry + 1;
    f->reported++;
    if (f->trim_on_append == ledger)
        ls_trim(f->port, ledger, entry + 1);
}

static inline void fx_on_state(void *port_ctx, enum ls_state state, const char *why)
{
    struct fx *f = port_ctx;
    f->state = state;
    f->state_changes++;
    snprintf(f->why, sizeof f->why, "%s", why ? why : "");
}

static const struct ls_port_ops fx_ops = {fx_on_append, fx_on_state, fx_wake};

static inline void fx_port(struct fx *f)
{
    f->port = ls_port_open(f->store, &fx_ops, f);
}

/* Opens the store; returns what log_open said, *why is in f->why. */
static inline enum tg_err fx_try_open(struct fx *f)
{
    char *why = NULL;
    enum tg_err e = log_open(&f->store, &f->cfg, &why);
    snprintf(f->why, sizeof f->why, "%s", why ? why : "");
    free(why);
    if (e) {
        f->store = NULL;
        return e;
    }
    f->state = LS_OK;
    memset(f->started, 0, sizeof f->started);
    fx_port(f);
    return TG_OK;
}

static inline void fx_open(struct fx *f)
{
    enum tg_err e = fx_try_open(f);
    if (e)
        print_error("open: %s: %s\n", err_text(e), f->why);
    assert_int_equal(e, TG_OK);
}

static inline void fx_close(struct fx *f)
{
    if (f->port)
        ls_port_close(f->port);
    if (f->store)
        ls_close(f->store);
    f->port = NULL;
    f->store = NULL;
    for (int k = 0; k < BUDGET_KINDS; k++)
        assert_int_equal(budget_used(&f->budget, k), 0);
}

static inline void fx_reopen(struct fx *f)
{
    fx_close(f);
    fx_open(f);
}

static inline int fx_setup(void **state)
{
    struct fx *f = xcalloc(1, sizeof *f);
    log_set_level(LOG_ERROR + 1);
    snprintf(f->dir, sizeof f->dir, "/tmp/tidegate-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    budget_init(&f->budget, FX_MEMORY);
    f->cfg = (struct log_config){
        .dir = f->dir, .durability = LS_SYNC, .segment_bytes = FX_SEGMENT, .budget = &f->budget};
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->cond, &attr);
    *state = f;
    return 0;
}

static inline void fx_remove_dir(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        char sub[1024];
        if (e->d_name[0] == '.')
            continue;
        snprintf(sub, sizeof sub, "%.500s/%s", path, e->d_name);
        if (unlink(sub) < 0)
            fx_remove_dir(sub);
    }
    closedir(d);
    rmdir(path);
}

static inline int fx_teardown(void **state)
{
    struct fx *f = *state;
    fx_close(f);
    fx_remove_dir(f->dir);
    free(f);
    return 0;
}

/* One wake-up, or <span_ns>; then polls. False: it was the time. */
static inline bool fx_turn(struct fx *f, int64_t span_ns)
{
    int64_t until_ns = mono_now_ns() + span_ns;
    struct timespec ts = {.tv_sec = until_ns / MONO_S, .tv_nsec = until_ns % MONO_S};
    int rc = 0;
    pthread_mutex_lock(&f->lock);
    while (!f->woken && rc == 0)
        rc = pthread_cond_timedwait(&f->cond, &f->lock, &ts);
    bool woken = f->woken;
    f->woken = false;
    pthread_mutex_unlock(&f->lock);
    ls_port_poll(f->port);
    return woken;
}

#define FX_UNTIL(f, condition)                                                                     \
    do {                                                                                           \
        int64_t until_ns_ = mono_now_ns() + WAIT_S * MONO_S;                                       \
        while (!(condition)) {                                                                     \
            if (mono_now_ns() > until_ns_)                                                         \
                fail_msg("waited too long for " #condition);                                       \
            fx_turn(f, 20 * MONO_MS);                                                              \
        }                                                                                          \
    } while (0)

/* The body of an entry is made from its name, so that every reader can tell whether it is right. */
static inline void fx_body(uint8_t *to, uint32_t len, uint64_t ledger, uint64_t entry)
{
    uint64_t x = ledger * UINT64_C(0x9e3779b97f4a7c15) + entry * 77 + 1;
    for (uint32_t i = 0; i < len; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        to[i] = (uint8_t)(x >> 56);
    }
}

static inline enum tg_err fx_try_append(struct fx *f, uint64_t ledger, uint64_t entry, uint32_t len)
{
    uint8_t *body = xmalloc(len + 1);
    fx_body(body, len, ledger, entry);
    struct ls_body b = {.part = {body, body + len / 3},
                        .len = {len / 3, len - len / 3},
                        .crc = crc32c(0, body, len)};
    enum tg_err e =
        ls_append(f->port, ledger, entry, &b, (uint32_t)(entry % 7 + 1), (int64_t)(entry * 10 + 5),
                  (void *)(uintptr_t)(ledger * 1000003 + entry));
    free(body);
    return e;
}

static inline void fx_append(struct fx *f, uint64_t ledger, uint64_t entry, uint32_t len)
{
    enum tg_err e = fx_try_append(f, ledger, entry, len);
    while (e == TG_EBUSY) {
        ls_port_submit(f->port);
        fx_turn(f, MONO_S);
        e = fx_try_append(f, ledger, entry, len);
    }
    assert_int_equal(e, TG_OK);
}

/* Submits and waits until all <total> appends so far are reported. */
static inline void fx_commit(struct fx *f, uint64_t total)
{
    ls_port_submit(f->port);
    FX_UNTIL(f, f->reported >= total);
    assert_int_equal(f->reported, total);
}

/* Appends and commits <n> entries of <len> to <ledger> from <first> on, one group. */
static inline void fx_fill(struct fx *f, uint64_t ledger, uint64_t first, uint32_t n, uint32_t len)
{
    uint64_t total = f->reported + n;
    for (uint32_t i = 0; i < n; i++)
        fx_append(f, ledger, first + i, len);
    fx_commit(f, total);
}

static inline void fx_check_entry(const struct ls_entry *e, uint64_t ledger, uint64_t entry)
{
    uint8_t *want = xmalloc(e->len + 1);
    fx_body(want, e->len, ledger, entry);
    assert_int_equal(e->entry, entry);
    assert_memory_equal(e->body, want, e->len);
    assert_int_equal(e->crc, crc32c(0, want, e->len));
    assert_int_equal(e->messages, entry % 7 + 1);
    assert_int_equal(e->admitted_ns, entry * 10 + 5);
    free(want);
}

static inline void fx_on_read(void *ctx, enum tg_err e, const struct ls_entry *entries,
                              uint32_t count, struct ls_hold *hold)
{
    struct fx *f = ctx;
    f->read_done = true;
    f->read_err = e;
    f->read_count = count;
    if (count)
        memcpy(f->read_entries, entries, count * sizeof *entries);
    f->read_hold = hold;
}

static inline void fx_read(struct fx *f, uint64_t ledger, uint64_t first, uint32_t max,
                           uint64_t max_bytes)
{
    f->read_done = false;
    ls_read(f->port, ledger, first, max, max_bytes, fx_on_read, f);
    FX_UNTIL(f, f->read_done);
}

static inline void fx_release(struct fx *f)
{
    ls_entries_release(f->port, f->read_hold);
    f->read_hold = NULL;
}

/* Reads a ledger from disk from <first> on and checks every entry; returns how many there were. */
static inline uint64_t fx_check_ledger(struct fx *f, uint64_t ledger, uint64_t first)
{
    uint64_t n = 0;
    for (;;) {
        fx_read(f, ledger, first + n, 100, 1 << 20);
        assert_int_equal(f->read_err, TG_OK);
        for (uint32_t i = 0; i < f->read_count; i++)
            fx_check_entry(&f->read_entries[i], ledger, first + n + i);
        n += f->read_count;
        bool end = f->read_count == 0;
        fx_release(f);
        if (end)
            return n;
    }
}

/* ---- the files ---- */

static inline void fx_seg_path(const struct fx *f, char out[128], uint32_t generation)
{
    snprintf(out, 128, "%s/log/seg-%08u.log", f->dir, generation);
}

/* NULL: not there. */
static inline uint8_t *fx_try_load(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    *size = 0;
    if (fd < 0)
        return NULL;
    assert_true(fstat(fd, &st) == 0);
    uint8_t *p = xmalloc((size_t)st.st_size + 1);
    assert_int_equal(pread(fd, p, (size_t)st.st_size, 0), st.st_size);
    close(fd);
    *size = (size_t)st.st_size;
    return p;
}

static inline uint8_t *fx_load(const char *path, size_t *size)
{
    uint8_t *p = fx_try_load(path, size);
    assert_non_null(p);
    return p;
}

static inline void fx_store(const char *path, const uint8_t *p, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, p, size, 0), size);
    close(fd);
}

/* ---- crashes ---- */

#define SNAP_FILES 256

struct snap { /* all segment files at one moment */
    unsigned count;
    char names[SNAP_FILES][64];
    uint8_t *bytes[SNAP_FILES];
    size_t sizes[SNAP_FILES];
};

static inline void snap_free(struct snap *s)
{
    for (unsigned i = 0; i < s->count; i++)
        free(s->bytes[i]);
    free(s);
}

static inline int snap_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static inline struct snap *snap_take(const char *log_dir)
{
    struct snap *s = xcalloc(1, sizeof *s);
    struct dirent **list;
    int n = scandir(log_dir, &list, NULL, snap_by_name);
    assert_true(n >= 0 && n < SNAP_FILES);
    for (int i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%.200s", log_dir, list[i]->d_name);
        if (strstr(list[i]->d_name, ".log") &&
            (s->bytes[s->count] = fx_try_load(path, &s->sizes[s->count])))
            snprintf(s->names[s->count++], sizeof s->names[0], "%.60s", list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return s;
}

static inline bool snap_equal(const struct snap *a, const struct snap *b)
{
    bool same = a->count == b->count;
    for (unsigned i = 0; same && i < a->count; i++)
        same = strcmp(a->names[i], b->names[i]) == 0 && a->sizes[i] == b->sizes[i] &&
               memcmp(a->bytes[i], b->bytes[i], a->sizes[i]) == 0;
    return same;
}

/* Copies all segment files as they are now, as a crash would leave them, closes the store, and puts
 * the copies back. A copy is not made in one moment: two that are equal are taken for one that was
 * (the store's threads may still be recycling). */
static inline void fx_crash(struct fx *f)
{
    char log_dir[128], path[512];
    snprintf(log_dir, sizeof log_dir, "%s/log", f->dir);
    struct snap *s = snap_take(log_dir);
    for (;;) {
        struct snap *again = snap_take(log_dir);
        bool settled = snap_equal(s, again);
        snap_free(s);
        s = again;
        if (settled)
            break;
    }
    fx_close(f);
    fx_remove_dir(log_dir);
    mkdir(log_dir, 0750);
    for (unsigned i = 0; i < s->count; i++) {
        snprintf(path, sizeof path, "%s/%s", log_dir, s->names[i]);
        fx_store(path, s->bytes[i], s->sizes[i]);
    }
    snap_free(s);
}

#endif
