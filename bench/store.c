/* store.c - the store by itself:
 *
 *   store open DIR [ROUNDS]       how long opening the log of a data directory takes
 *   store ledgers N [DIR]         memory per idle ledger: with one entry each, after reopening, and
 *                                 after all of it was trimmed
 *   store copy DIR [SECONDS]      what copying forward costs whoever appends: two ports append as
 *                                 fast as they are answered, one entry in PINNED stays needed; with
 *                                 copying and without, in turns
 *
 * DIR of the last two is made, and removed. Figures are for one machine: compare ratios. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mono.h"
#include "store/ledger_store.h"

#define MEMORY_BYTES  (INT64_C(512) << 20)
#define BODY_BYTES    1000
#define PINNED        20  /* one entry in so many stays needed */
#define PORT_LEDGERS  100 /* of each port; one in PINNED is never trimmed */
#define UNDER_WAY     64  /* entries a port has unanswered */
#define PORTS         2
#define LATENCIES_MAX (1 << 22)

static struct budget budget;

static struct ledger_store *open_store(const char *dir, uint64_t copy_bytes_per_s)
{
    struct log_config cfg = {
        .dir = dir, .durability = LS_SYNC, .budget = &budget, .copy_bytes_per_s = copy_bytes_per_s};
    struct ledger_store *s;
    char *why;
    if (log_open(&s, &cfg, &why) == TG_OK)
        return s;
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void remove_dir(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *sub = xasprintf("%s/%s", path, e->d_name);
        if (e->d_name[0] != '.' && unlink(sub) < 0)
            remove_dir(sub);
        free(sub);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static void make_dir(const char *path)
{
    remove_dir(path);
    if (mkdir(path, 0750) < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
}

/* ---- a port and its owner ---- */

struct owner {
    struct ledger_store *store;
    struct ls_port *port;
    uint64_t first_ledger;
    uint64_t next[PORT_LEDGERS];
    int64_t until_ns;
    uint64_t waiting, appended;
    uint32_t *latency_us;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool woken;
};

static void on_append(void *port_ctx, void *ctx, uint64_t ledger, uint64_t entry, enum tg_err e)
{
    struct owner *o = port_ctx;
    (void)ledger, (void)entry, (void)e;
    o->waiting--;
    if (o->latency_us && o->appended < LATENCIES_MAX)
        o->latency_us[o->appended] = (uint32_t)((mono_now_ns() - (int64_t)(intptr_t)ctx) / MONO_US);
    o->appended++;
}

static void on_state(void *port_ctx, enum ls_state state, const char *why)
{
    (void)port_ctx;
    if (state != LS_OK) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
}

static void wake(void *port_ctx)
{
    struct owner *o = port_ctx;
    pthread_mutex_lock(&o->lock);
    o->woken = true;
    pthread_cond_signal(&o->cond);
    pthread_mutex_unlock(&o->lock);
}

static void owner_open(struct owner *o, struct ledger_store *store)
{
    static const struct ls_port_ops ops = {on_append, on_state, wake};
    o->store = store;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->cond, NULL);
    o->port = ls_port_open(store, &ops, o);
}

static void turn(struct owner *o)
{
    ls_port_submit(o->port);
    pthread_mutex_lock(&o->lock);
    while (!o->woken)
        pthread_cond_wait(&o->cond, &o->lock);
    o->woken = false;
    pthread_mutex_unlock(&o->lock);
    ls_port_poll(o->port);
}

static void append(struct owner *o, uint64_t ledger, uint64_t entry)
{
    static uint8_t body[BODY_BYTES];
    static uint32_t crc;
    if (!crc)
        crc = crc32c(0, body, sizeof body);
    struct ls_body b = {.part = {body}, .len = {sizeof body}, .crc = crc};
    while (ls_append(o->port, ledger, entry, &b, 1, 0, (void *)(intptr_t)mono_now_ns()) != TG_OK)
        turn(o);
    o->waiting++;
}

/* ---- open ---- */

static int bench_open(const char *dir, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        int64_t begin_ns = mono_now_ns();
        struct ledger_store *s = open_store(dir, 0);
        double ms = (double)(mono_now_ns() - begin_ns) / MONO_MS;
        struct ls_stats st;
        ls_stats(s, &st);
        ls_close(s);
        printf("open %.1f ms: %" PRIu32 " segments, %.0f MB\n", ms, st.segments,
               (double)st.log_bytes / 1e6);
    }
    return 0;
}

/* ---- ledgers ---- */

static double resident_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void report(const char *what, double before, uint64_t ledgers)
{
    printf("%-44s %6.0f bytes a ledger\n", what, (resident_bytes() - before) / (double)ledgers);
}

static int bench_ledgers(const char *dir, uint64_t ledgers)
{
    make_dir(dir);
    budget_init(&budget, 4 << 20); /* next to no tail cache: it is not what is measured */
    double before = resident_bytes();
    struct ledger_store *s = open_store(dir, 0);
    struct owner o = {.appended = 0};
    owner_open(&o, s);
    for (uint64_t l = 1; l <= ledgers; l++) {
        append(&o, l, 0);
        while (o.waiting >= UNDER_WAY)
            turn(&o);
    }
    while (o.waiting)
        turn(&o);
    report("one entry each, port and store", before, ledgers);
    ls_port_close(o.port);
    report("one entry each, store", before, ledgers);
    ls_close(s);
    before = resident_bytes();
    s = open_store(dir, 0);
    report("reopened", before, ledgers);
    struct owner again = {.appended = 0};
    owner_open(&again, s);
    for (uint64_t l = 1; l <= ledgers; l++)
        ls_trim(again.port, l, 1);
    append(&again, 1, 1);
    while (again.waiting)
        turn(&again);
    report("reopened and trimmed", before, ledgers);
    ls_port_close(again.port);
    ls_close(s);
    remove_dir(dir);
    return 0;
}

/* ---- copy ---- */

static void *own(void *ctx)
{
    struct owner *o = ctx;
    for (uint64_t i = 0; mono_now_ns() < o->until_ns; i++) {
        uint64_t l = i % PORT_LEDGERS;
        append(o, o->first_ledger + l, o->next[l]++);
        if (l % PINNED && o->next[l] > UNDER_WAY)
            ls_trim(o->port, o->first_ledger + l, o->next[l] - UNDER_WAY);
        while (o->waiting >= UNDER_WAY)
            turn(o);
    }
    while (o->waiting)
        turn(o);
    ls_port_close(o->port);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void copy_round(const char *dir, double seconds, uint64_t rate, const char *name)
{
    static struct owner owners[PORTS];
    make_dir(dir);
    struct ledger_store *s = open_store(dir, rate);
    memset(owners, 0, sizeof owners);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < PORTS; i++) {
        struct owner *o = &owners[i];
        o->first_ledger = 1 + (uint64_t)i * PORT_LEDGERS;
        o->until_ns = mono_now_ns() + (int64_t)(seconds * (double)MONO_S);
        o->latency_us = xcalloc(LATENCIES_MAX, sizeof *o->latency_us);
        owner_open(o, s);
        pthread_create(&o->thread, NULL, own, o);
    }
    uint64_t n = 0;
    for (int i = 0; i < PORTS; i++) {
        pthread_join(owners[i].thread, NULL);
        n += owners[i].appended;
    }
    getrusage(RUSAGE_SELF, &after);
    struct ls_stats st;
    ls_stats(s, &st);
    ls_close(s);
    uint64_t have = owners[0].appended < LATENCIES_MAX ? owners[0].appended : LATENCIES_MAX;
    qsort(owners[0].latency_us, have, sizeof(uint32_t), by_value);
    double cpu = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) +
                 (double)(after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
                 (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1e6 +
                 (double)(after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1e6;
    printf("%-9s %8.0f entries/s  p50 %5u us  p99 %6u us  CPU %4.0f ns/entry  copied %5.1f %%  log "
           "%5.0f MB, live %4.0f MB\n",
           name, (double)n / seconds, owners[0].latency_us[have / 2],
           owners[0].latency_us[have - 1 - have / 100], cpu / (double)n * 1e9,
           100.0 * (double)st.copied_bytes / (double)st.appended_bytes, (double)st.log_bytes / 1e6,
           (double)st.live_bytes / 1e6);
    for (int i = 0; i < PORTS; i++)
        free(owners[i].latency_us);
    remove_dir(dir);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "", *second = argc > 2 ? argv[2] : NULL;
    log_set_level(LOG_ERROR);
    budget_init(&budget, MEMORY_BYTES);
    if (strcmp(what, "open") == 0 && second)
        return bench_open(second, argc > 3 ? atoi(argv[3]) : 5);
    if (strcmp(what, "ledgers") == 0 && second)
        return bench_ledgers(argc > 3 ? argv[3] : "build/bench-store", strtoull(second, NULL, 10));
    if (strcmp(what, "copy") == 0 && second) {
        for (int i = 0; i < 5; i++) {
            copy_round(second, argc > 3 ? atof(argv[3]) : 5, 0, "copying");
            copy_round(second, argc > 3 ? atof(argv[3]) : 5, LS_COPY_NEVER, "without");
        }
        return 0;
    }
    fprintf(stderr, "store open DIR [ROUNDS] | store ledgers N [DIR] | store copy DIR [SECONDS]\n");
    return 2;
}
