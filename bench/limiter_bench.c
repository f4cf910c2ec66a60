/* limiter_bench.c - CPU time per limiter operation, beside floors measured in the same rounds.
 *
 *   make bench-limiter          prints the table, writes build/bench-limiter.json
 *
 * All rows run interleaved, ROUNDS times; a row shows median, least and most CPU ns per operation
 * (of the threads that did the work, so that a busy machine disturbs it little). "Clock" says where
 * the time came from: given (a number that moves on with every operation), cached (the clock read
 * once per LOOP_TURN operations, as a worker does), read (clock_gettime per operation), none. Every
 * operation is a decision and, if admitted, a charge. A compiler barrier after each makes the state
 * go to memory and come back; each row checks its count of admitted, so no loop can vanish.
 *
 * The rows of shared buckets spend one bucket (or path of limits) from several threads, each with a
 * lease of its own, together as fast as it refills. What they cost includes taking leases. */
#include "base/mono.h"
#include "limiter/shared_limit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS     11
#define OPS        UINT64_C(2000000)
#define LOOP_TURN  64
#define BUCKETS    (1U << 20)
#define STEP_NS    8 /* how far a given clock moves on with each operation */
#define RATE       INT64_C(1000000000)
#define BURST      RATE
#define DEBT       1000    /* hours of the rate of what is to refuse */
#define PER_OP     STEP_NS /* what accrues in STEP_NS is charged: neither full nor empty */
#define MAX_THREAD 100

/* What one thread has of the shared buckets. */
struct seat {
    struct world *w;
    struct tg_lease lease, empty;
    struct tg_limit_lease open[3], closed[3], unset[3];
    int64_t now_ns, step_ns;
};

struct world {
    struct tg_bucket_params params, params_empty;
    struct tg_bucket bucket;
    struct tg_bucket empty;
    struct tg_bucket *million;
    struct tg_limit_terms terms, terms_shut;
    struct tg_limit open[3], closed[3];
    int64_t now_ns; /* the given clock: goes on from row to row */
    uint64_t counter;
    uint64_t random;
    _Alignas(64) _Atomic uint64_t shared;
    _Alignas(64) pthread_mutex_t lock;
    struct tg_shared shared_bucket, shared_empty;
    struct tg_shared_limit shared_open[3], shared_closed[3], shared_unset[3];
    struct seat seat[MAX_THREAD];
    int64_t shared_now_ns; /* the given clock of the rows with seats */
};

/* Makes the compiler believe that memory was read and written here. */
static inline void barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline bool take(struct tg_bucket *b, const struct tg_bucket_params *p, int64_t now_ns)
{
    if (!tg_bucket_has_tokens(b, p, now_ns))
        return false;
    tg_bucket_charge(b, p, PER_OP, now_ns);
    return true;
}

/* ---- the loops: each does <n> operations and returns how many were admitted ---- */

static uint64_t run_counter(struct world *w, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        w->counter++;
        barrier();
    }
    return n;
}

static uint64_t run_atomic(struct world *w, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        atomic_fetch_add_explicit(&w->shared, 1, memory_order_relaxed);
    return n;
}

static uint64_t run_mutex(struct world *w, uint64_t n)
{
    uint64_t admitted = 0;
    for (uint64_t i = 0; i < n; i++) {
        pthread_mutex_lock(&w->lock);
        w->now_ns += STEP_NS;
        admitted += take(&w->bucket, &w->params, w->now_ns);
        pthread_mutex_unlock(&w->lock);
    }
    return admitted;
}

static uint64_t run_clock(struct world *w, uint64_t n)
{
    int64_t latest_ns = 0;
    for (uint64_t i = 0; i < n; i++) {
        latest_ns = mono_now_ns();
        barrier();
    }
    w->counter += (uint64_t)latest_ns;
    return n;
}

static uint64_t run_admitted(struct world *w, uint64_t n)
{
    uint64_t admitted = 0;
    int64_t now_ns = w->now_ns;
    for (uint64_t i = 0; i < n; i++) {
        now_ns += STEP_NS;
        admitted += take(&w->bucket, &w->params, now_ns);
        barrier();
    }
    w->now_ns = now_ns;
    return admitted;
}

static uint64_t run_refused(struct world *w, uint64_t n)
{
    uint64_t admitted = 0;
    int64_t now_ns = w->now_ns;
    for (uint64_t i = 0; i < n; i++) {
        now_ns += STEP_NS;
        admitted += take(&w->empty, &w->params_empty, now_ns);
        barrier();
    }
    w->now_ns = now_ns;
    return admitted;
}

/* Rows that read the clock have a bucket of their own, since the given clock runs ahead of it. */
static uint64_t run_by_clock(struct world *w, uint64_t n, uint64_t every)
{
    struct tg_bucket b;
    int64_t now_ns = mono_now_ns();
    tg_bucket_init(&b, &w->params, BURST, now_ns);
    uint64_t admitted = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (i % every == 0)
            now_ns = mono_now_ns();
        admitted += take(&b, &w->params, now_ns);
        barrier();
    }
    return admitted;
}

static uint64_t run_cached(struct world *w, uint64_t n)
{
    return run_by_clock(w, n, LOOP_TURN);
}

static uint64_t run_read(struct world *w, uint64_t n)
{
    return run_by_clock(w, n, 1);
}

static bool take_path(struct tg_limit path[3], int64_t now_ns)
{
    for (int i = 0; i < 3; i++)
        if (!tg_limit_has_tokens(&path[i], now_ns))
            return false;
    for (int i = 0; i < 3; i++)
        tg_limit_charge(&path[i], 1, PER_OP, now_ns);
    return true;
}

static uint64_t run_path(struct world *w, struct tg_limit path[3], uint64_t n)
{
    uint64_t admitted = 0;
    int64_t now_ns = w->now_ns;
    for (uint64_t i = 0; i < n; i++) {
        now_ns += STEP_NS;
        admitted += take_path(path, now_ns);
        barrier();
    }
    w->now_ns = now_ns;
    return admitted;
}

static uint64_t run_six_admitted(struct world *w, uint64_t n)
{
    return run_path(w, w->open, n);
}

static uint64_t run_six_refused(struct world *w, uint64_t n)
{
    return run_path(w, w->closed, n);
}

static inline uint64_t next_random(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

static uint64_t run_million(struct world *w, uint64_t n)
{
    uint64_t admitted = 0, x = w->random;
    int64_t now_ns = w->now_ns;
    for (uint64_t i = 0; i < n; i++) {
        x = next_random(x);
        now_ns += STEP_NS;
        admitted += take(&w->million[x % BUCKETS], &w->params, now_ns);
        barrier();
    }
    w->random = x;
    w->now_ns = now_ns;
    return admitted;
}

/* The same walk without the arithmetic of a bucket. Both words go back as they were. */
static uint64_t run_touch(struct world *w, uint64_t n)
{
    uint64_t x = w->random;
    for (uint64_t i = 0; i < n; i++) {
        x = next_random(x);
        struct tg_bucket *b = &w->million[x % BUCKETS];
        b->level ^= 1;
        barrier();
        b->level ^= 1;
        barrier();
    }
    w->random = x;
    return n;
}

/* ---- the same with shared buckets: one seat a thread ---- */

static uint64_t spend(struct seat *seat, struct tg_lease *l, struct tg_shared *s, uint64_t n,
                      uint64_t turn)
{
    uint64_t admitted = 0;
    int64_t now_ns = seat->now_ns;
    for (uint64_t i = 0; i < n; i++) {
        now_ns += seat->step_ns;
        admitted += tg_lease_take(l, s, PER_OP, now_ns);
        barrier();
        if (turn != 0 && i % turn == turn - 1)
            tg_lease_return(l, s, now_ns);
    }
    return admitted;
}

static uint64_t run_shared_admitted(struct seat *seat, uint64_t n)
{
    return spend(seat, &seat->lease, &seat->w->shared_bucket, n, 0);
}

static uint64_t run_shared_refused(struct seat *seat, uint64_t n)
{
    return spend(seat, &seat->empty, &seat->w->shared_empty, n, 0);
}

static uint64_t run_shared_returned(struct seat *seat, uint64_t n)
{
    return spend(seat, &seat->lease, &seat->w->shared_bucket, n, LOOP_TURN);
}

static bool take_shared_path(struct tg_limit_lease l[3], struct tg_shared_limit s[3],
                             int64_t now_ns)
{
    for (int i = 0; i < 3; i++)
        if (!tg_limit_lease_has(&l[i], &s[i], 1, PER_OP, now_ns))
            return false;
    for (int i = 0; i < 3; i++)
        tg_limit_lease_charge(&l[i], &s[i], 1, PER_OP);
    return true;
}

static uint64_t spend_path(struct seat *seat, struct tg_limit_lease l[3],
                           struct tg_shared_limit s[3], uint64_t n)
{
    uint64_t admitted = 0;
    int64_t now_ns = seat->now_ns;
    for (uint64_t i = 0; i < n; i++) {
        now_ns += seat->step_ns;
        admitted += take_shared_path(l, s, now_ns);
        barrier();
    }
    return admitted;
}

static uint64_t run_shared_six_admitted(struct seat *seat, uint64_t n)
{
    return spend_path(seat, seat->open, seat->w->shared_open, n);
}

static uint64_t run_shared_six_refused(struct seat *seat, uint64_t n)
{
    return spend_path(seat, seat->closed, seat->w->shared_closed, n);
}

static uint64_t run_shared_unset(struct seat *seat, uint64_t n)
{
    return spend_path(seat, seat->unset, seat->w->shared_unset, n);
}

/* ---- rows ---- */

enum expect { ALL, NONE };

struct row {
    const char *name, *clock;
    uint64_t (*run)(struct world *w, uint64_t n);
    int threads;
    enum expect expect;
    uint64_t (*run_seat)(struct seat *seat, uint64_t n); /* instead of run */
    double cpu_ns[ROUNDS];
};

static struct row rows[] = {
    {"floor: plain counter", "none", run_counter, 1, ALL, NULL, {0}},
    {"floor: shared atomic word, 1 thread", "none", run_atomic, 1, ALL, NULL, {0}},
    {"floor: shared atomic word, 2 threads", "none", run_atomic, 2, ALL, NULL, {0}},
    {"floor: bucket under a mutex, 1 thread", "given", run_mutex, 1, ALL, NULL, {0}},
    {"floor: bucket under a mutex, 2 threads", "given", run_mutex, 2, ALL, NULL, {0}},
    {"floor: reading the clock", "read", run_clock, 1, ALL, NULL, {0}},
    {"floor: touch one of 2^20 buckets at random", "none", run_touch, 1, ALL, NULL, {0}},
    {"bucket, admitted", "given", run_admitted, 1, ALL, NULL, {0}},
    {"bucket, refused", "given", run_refused, 1, NONE, NULL, {0}},
    {"bucket, admitted", "cached", run_cached, 1, ALL, NULL, {0}},
    {"bucket, admitted", "read", run_read, 1, ALL, NULL, {0}},
    {"six buckets a message, admitted", "given", run_six_admitted, 1, ALL, NULL, {0}},
    {"six buckets a message, refused by the last", "given", run_six_refused, 1, NONE, NULL, {0}},
    {"one of 2^20 buckets at random, admitted", "given", run_million, 1, ALL, NULL, {0}},
    {"shared bucket, admitted, 1 thread", "given", NULL, 1, ALL, run_shared_admitted, {0}},
    {"shared bucket, admitted, 2 threads", "given", NULL, 2, ALL, run_shared_admitted, {0}},
    {"shared bucket, admitted, 10 threads", "given", NULL, 10, ALL, run_shared_admitted, {0}},
    {"shared bucket, admitted, 100 threads", "given", NULL, 100, ALL, run_shared_admitted, {0}},
    {"shared bucket, refused, 1 thread", "given", NULL, 1, NONE, run_shared_refused, {0}},
    {"shared bucket, refused, 2 threads", "given", NULL, 2, NONE, run_shared_refused, {0}},
    {"shared, returned every 64 messages, 1 thread",
     "given",
     NULL,
     1,
     ALL,
     run_shared_returned,
     {0}},
    {"shared, returned every 64 messages, 2 threads",
     "given",
     NULL,
     2,
     ALL,
     run_shared_returned,
     {0}},
    {"six shared buckets a message, 1 thread", "given", NULL, 1, ALL, run_shared_six_admitted, {0}},
    {"six shared buckets a message, 2 threads",
     "given",
     NULL,
     2,
     ALL,
     run_shared_six_admitted,
     {0}},
    {"six shared buckets, refused by the last",
     "given",
     NULL,
     1,
     NONE,
     run_shared_six_refused,
     {0}},
    {"three unset shared limits a message", "given", NULL, 1, ALL, run_shared_unset, {0}},
};
#define ROWS (sizeof rows / sizeof rows[0])

struct job {
    struct world *w;
    struct seat *seat;
    const struct row *row;
    uint64_t ops, admitted;
    int64_t cpu_ns;
};

static void *do_job(void *arg)
{
    struct job *j = arg;
    int64_t start_ns = thread_cpu_ns();
    j->admitted = j->row->run ? j->row->run(j->w, j->ops) : j->row->run_seat(j->seat, j->ops);
    j->cpu_ns = thread_cpu_ns() - start_ns;
    return NULL;
}

/* Together the threads of a row go through time as fast as one alone. */
static struct seat *seat_for(struct world *w, int thread, int threads)
{
    struct seat *seat = &w->seat[thread];
    seat->w = w;
    seat->now_ns = w->shared_now_ns;
    seat->step_ns = STEP_NS * threads;
    return seat;
}

static void run_row(struct world *w, struct row *row, int round)
{
    static struct job jobs[MAX_THREAD];
    pthread_t threads[MAX_THREAD];
    int64_t cpu_ns = 0;
    uint64_t ops = row->threads <= 2 ? OPS : 2 * OPS / (uint64_t)row->threads;
    uint64_t total = ops * (uint64_t)row->threads;
    uint64_t admitted = 0, expected = row->expect == ALL ? total : 0;

    for (int i = 0; i < row->threads; i++) {
        jobs[i] =
            (struct job){.w = w, .seat = seat_for(w, i, row->threads), .row = row, .ops = ops};
        if (row->threads == 1)
            do_job(&jobs[i]);
        else if (pthread_create(&threads[i], NULL, do_job, &jobs[i]) != 0)
            exit(2);
    }
    for (int i = 0; i < row->threads; i++) {
        if (row->threads > 1)
            pthread_join(threads[i], NULL);
        cpu_ns += jobs[i].cpu_ns;
        admitted += jobs[i].admitted;
    }
    if (admitted != expected) {
        fprintf(stderr, "%s (%s): %llu admitted, expected %llu\n", row->name, row->clock,
                (unsigned long long)admitted, (unsigned long long)expected);
        exit(1);
    }
    if (row->run_seat)
        w->shared_now_ns += (int64_t)total * STEP_NS;
    row->cpu_ns[round] = (double)cpu_ns / (double)total;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_table(void)
{
    printf("CPU ns per operation, %d interleaved rounds of %llu operations\n\n", ROUNDS,
           (unsigned long long)OPS);
    printf("%-46s %-7s %8s   %s\n", "", "clock", "median", "min .. max");
    for (size_t i = 0; i < ROWS; i++)
        printf("%-46s %-7s %8.2f   %.2f .. %.2f\n", rows[i].name, rows[i].clock,
               rows[i].cpu_ns[ROUNDS / 2], rows[i].cpu_ns[0], rows[i].cpu_ns[ROUNDS - 1]);
    printf("\nbytes per bucket: %zu (and %zu per set of parameters, shared)\n"
           "bytes per shared limit: %zu (and %zu per worker)\n",
           sizeof(struct tg_bucket), sizeof(struct tg_bucket_params),
           sizeof(struct tg_shared_limit), sizeof(struct tg_limit_lease));
}

static void write_json(const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) {
        perror(path);
        exit(1);
    }
    fprintf(f,
            "{\n  \"unit\": \"CPU ns per operation\", \"rounds\": %d, \"ops_per_round\": %llu,\n"
            "  \"cpus\": %ld, \"compiler\": \"%s\",\n"
            "  \"bytes_per_bucket\": %zu, \"bytes_per_params\": %zu,\n  \"rows\": [",
            ROUNDS, (unsigned long long)OPS, sysconf(_SC_NPROCESSORS_ONLN), __VERSION__,
            sizeof(struct tg_bucket), sizeof(struct tg_bucket_params));
    for (size_t i = 0; i < ROWS; i++)
        fprintf(f,
                "%s\n    {\"name\": \"%s\", \"clock\": \"%s\", \"threads\": %d, "
                "\"median\": %.3f, \"min\": %.3f, \"max\": %.3f}",
                i ? "," : "", rows[i].name, rows[i].clock, rows[i].threads,
                rows[i].cpu_ns[ROUNDS / 2], rows[i].cpu_ns[0], rows[i].cpu_ns[ROUNDS - 1]);
    fprintf(f, "\n  ]\n}\n");
    if (fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static void world_init(struct world *w)
{
    w->params = tg_bucket_params_make(RATE, MONO_S, BURST);
    w->params_empty = tg_bucket_params_make(1, 3600 * MONO_S, 1);
    tg_bucket_init(&w->bucket, &w->params, BURST / 2, 0);
    tg_bucket_init(&w->empty, &w->params_empty, 0, 0);
    tg_bucket_charge(&w->empty, &w->params_empty, DEBT, 0);
    w->million = calloc(BUCKETS, sizeof *w->million);
    if (!w->million)
        exit(2);
    for (size_t i = 0; i < BUCKETS; i++)
        tg_bucket_init(&w->million[i], &w->params, BURST / 2, 0);

    struct tg_limit_spec spec = {.msgs = {.rate = RATE}, .bytes = {.rate = RATE}};
    struct tg_limit_spec shut = {
        .msgs = {.rate = RATE}, .bytes = {.rate = 1}, .period_ns = 3600 * MONO_S};
    w->terms = tg_limit_terms_make(&spec);
    w->terms_shut = tg_limit_terms_make(&shut);
    for (int i = 0; i < 3; i++) {
        tg_limit_init(&w->open[i], &w->terms, 50, 0);
        tg_limit_init(&w->closed[i], i < 2 ? &w->terms : &w->terms_shut, 50, 0);
    }
    tg_limit_charge(&w->closed[2], 0, DEBT, 0);
    tg_shared_init(&w->shared_bucket, &w->params, 50, 0);
    tg_shared_init(&w->shared_empty, &w->params_empty, 0, 0);
    tg_shared_grant(&w->shared_empty, DEBT, 0);
    for (int i = 0; i < 3; i++) {
        tg_shared_limit_init(&w->shared_open[i], &spec, 50, 0);
        tg_shared_limit_init(&w->shared_closed[i], i < 2 ? &spec : &shut, 50, 0);
    }
    tg_shared_limit_grant(&w->shared_closed[2], 0, DEBT, 0);
    w->random = UINT64_C(0x9e3779b97f4a7c15);
    pthread_mutex_init(&w->lock, NULL);
}

int main(int argc, char **argv)
{
    static struct world w;
    world_init(&w);
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < ROWS; i++)
            run_row(&w, &rows[i], round);
    for (size_t i = 0; i < ROWS; i++)
        qsort(rows[i].cpu_ns, ROUNDS, sizeof rows[i].cpu_ns[0], by_value);
    print_table();
    if (argc > 1)
        write_json(argv[1]);
    free(w.million);
    return 0;
}
