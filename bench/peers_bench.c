/* peers_bench.c - the limiter in the loops that peers/Peer.java runs with AsyncTokenBucket.
 *
 * Both read lines "ROW CLOCK THREADS SECONDS" and answer each with "ops admitted wall_ns cpu_ns",
 * so that peers.py can run them in turn. After each run every bucket must hold what it began with,
 * plus the rate times the time, less what was admitted, to the token: else this program fails.
 *
 *   hot        one bucket, spent by all threads, one token an operation; never throttled
 *   throttled  the same, with a rate far below what the loop asks for
 *   six        a message of one message and BYTES bytes charged to three limits, as of a topic, a
 *              namespace and a broker: six buckets
 *   million    one of 2^20 buckets at random. They are topics' buckets, and a topic has one owning
 *              thread: each thread walks its own part of them
 *
 * Clocks: "nano" reads the clock at each operation; "cached" is a word that a thread of its own
 * writes each millisecond. All look every TURN operations whether to stop. Then, when the clock has
 * moved, leases are returned, as a worker does at the end of its loop's turn: with "nano" each
 * time, with "cached" each millisecond. Rates are such that no bucket fills up during a run. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "limiter/shared_limit.h"

enum { TURN = 4096, BUCKETS = 1 << 20, BYTES = 16, LIMITS = 3, THREADS_MAX = 1000 };

#define RATE           INT64_C(10000000000)
#define THROTTLED_RATE INT64_C(1000000)
#define MILLION_RATE   INT64_C(10000000) /* theirs wraps when idle for 2^63 / rate ns */
#define FULL_AFTER_S   60 /* more than a run may take: what a full bucket drops can't be checked */

__extension__ typedef __int128 i128;

/* ---- clocks ---- */

static struct {
    char apart[TG_CACHE_LINE];
    _Atomic int64_t now_ns;
    char apart_too[TG_CACHE_LINE];
} cached;

static int64_t cached_now_ns(void)
{
    return atomic_load_explicit(&cached.now_ns, memory_order_relaxed);
}

static void *tick(void *arg)
{
    const struct timespec step = {.tv_nsec = MONO_MS};
    (void)arg;
    for (;;) {
        atomic_store_explicit(&cached.now_ns, mono_now_ns(), memory_order_relaxed);
        nanosleep(&step, NULL);
    }
    return NULL;
}

/* ---- what is spent ---- */

struct world {
    struct tg_bucket_params params;
    struct tg_shared hot;
    struct tg_shared_limit path[LIMITS];
    struct tg_bucket *million;
    int64_t begin_ns, begin_tokens; /* of each bucket */
};

struct thread {
    pthread_t id;
    struct world *w;
    const struct row *row;
    bool by_cache; /* the clock */
    pthread_barrier_t *barrier;
    struct tg_lease lease;
    struct tg_limit_lease path[LIMITS];
    struct tg_bucket *mine;
    uint64_t mine_count, random;
    int64_t turn_ns; /* when leases were last returned */
    uint64_t ops, admitted;
    int64_t begin_ns, end_ns, cpu_ns;
};

static atomic_bool stop;

/* Makes the compiler believe that memory was read and written here. */
static inline void barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

/* ---- the loops, TURN operations each; <now> is inlined ---- */

#define INLINE static inline __attribute__((always_inline))
typedef int64_t clock_fn(void);

INLINE bool turn_is_over(struct thread *t, int64_t now_ns)
{
    if (t->turn_ns == now_ns)
        return false;
    t->turn_ns = now_ns;
    return true;
}

INLINE void hot_turn(struct thread *t, clock_fn *now)
{
    struct tg_shared *s = &t->w->hot;
    uint64_t admitted = 0;
    for (int i = 0; i < TURN; i++) {
        admitted += tg_lease_take(&t->lease, s, 1, now());
        barrier();
    }
    t->admitted += admitted;
    if (turn_is_over(t, now()))
        tg_lease_return(&t->lease, s, t->turn_ns);
}

INLINE bool take_path(struct thread *t, int64_t now_ns)
{
    struct tg_shared_limit *path = t->w->path;
    for (int k = 0; k < LIMITS; k++)
        if (!tg_limit_lease_has(&t->path[k], &path[k], 1, BYTES, now_ns))
            return false;
    for (int k = 0; k < LIMITS; k++)
        tg_limit_lease_charge(&t->path[k], &path[k], 1, BYTES);
    return true;
}

static void return_path(struct thread *t)
{
    for (int k = 0; k < LIMITS; k++)
        tg_limit_lease_return(&t->path[k], &t->w->path[k], t->turn_ns);
}

INLINE void six_turn(struct thread *t, clock_fn *now)
{
    uint64_t admitted = 0;
    for (int i = 0; i < TURN; i++) {
        admitted += take_path(t, now());
        barrier();
    }
    t->admitted += admitted;
    if (turn_is_over(t, now()))
        return_path(t);
}

INLINE void million_turn(struct thread *t, clock_fn *now)
{
    const struct tg_bucket_params *p = &t->w->params;
    uint64_t x = t->random, admitted = 0;
    for (int i = 0; i < TURN; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        struct tg_bucket *b = &t->mine[(x >> 32) * t->mine_count >> 32];
        int64_t now_ns = now();
        bool ok = tg_bucket_has_tokens(b, p, now_ns);
        if (ok)
            tg_bucket_charge(b, p, 1, now_ns);
        admitted += ok;
        barrier();
    }
    t->random = x;
    t->admitted += admitted;
}

typedef void turn_fn(struct thread *t);
#define TURNS(name)                                                                                \
    static void name##_nano(struct thread *t)                                                      \
    {                                                                                              \
        name##_turn(t, mono_now_ns);                                                               \
    }                                                                                              \
    static void name##_cached(struct thread *t)                                                    \
    {                                                                                              \
        name##_turn(t, cached_now_ns);                                                             \
    }
TURNS(hot)
TURNS(six)
TURNS(million)

/* ---- rows: what they begin with, and what must be left ---- */

static void check(const char *what, i128 tokens, i128 expected, i128 tolerance)
{
    i128 off = tokens - expected;
    if (off > tolerance || off < -tolerance) {
        fprintf(stderr, "peers_bench: %s: %lld tokens not accounted for\n", what,
                (long long)(expected - tokens));
        exit(1);
    }
}

static i128 accrued(const struct world *w, int64_t rate, int64_t now_ns)
{
    return (i128)(now_ns - w->begin_ns) * rate / MONO_S;
}

static void begin_shared(struct world *w, int64_t rate)
{
    struct tg_bucket_params p = tg_bucket_params_make(rate, MONO_S, rate * FULL_AFTER_S);
    tg_shared_init(&w->hot, &p, 1, w->begin_ns);
    w->begin_tokens = tg_shared_balance(&w->hot, w->begin_ns);
}

static void begin_hot(struct world *w)
{
    begin_shared(w, RATE);
}

static void begin_throttled(struct world *w)
{
    begin_shared(w, THROTTLED_RATE);
}

static void check_hot(struct world *w, uint64_t admitted, int64_t now_ns)
{
    check("hot", tg_shared_balance(&w->hot, now_ns),
          w->begin_tokens + accrued(w, RATE, now_ns) - (i128)admitted, 0);
}

/* A nanosecond brings a fraction of a token here: the balance is rounded down. */
static void check_throttled(struct world *w, uint64_t admitted, int64_t now_ns)
{
    check("throttled", tg_shared_balance(&w->hot, now_ns),
          w->begin_tokens + accrued(w, THROTTLED_RATE, now_ns) - (i128)admitted, 1);
}

static void begin_six(struct world *w)
{
    struct tg_limit_spec spec = {.msgs = {.rate = RATE, .burst = RATE * FULL_AFTER_S},
                                 .bytes = {.rate = RATE, .burst = RATE * FULL_AFTER_S}};
    for (int k = 0; k < LIMITS; k++)
        tg_shared_limit_init(&w->path[k], &spec, 1, w->begin_ns);
    w->begin_tokens = tg_shared_limit_balance_msgs(&w->path[0], w->begin_ns);
}

static void check_six(struct world *w, uint64_t admitted, int64_t now_ns)
{
    i128 full = w->begin_tokens + accrued(w, RATE, now_ns);
    for (int k = 0; k < LIMITS; k++) {
        struct tg_shared_limit *s = &w->path[k];
        check("six, messages", tg_shared_limit_balance_msgs(s, now_ns), full - (i128)admitted, 0);
        check("six, bytes", tg_shared_limit_balance_bytes(s, now_ns), full - (i128)admitted * BYTES,
              0);
    }
}

static void begin_million(struct world *w)
{
    w->params = tg_bucket_params_make(MILLION_RATE, MONO_S, MILLION_RATE * FULL_AFTER_S);
    w->begin_tokens = MILLION_RATE;
    for (size_t i = 0; i < BUCKETS; i++)
        tg_bucket_init(&w->million[i], &w->params, w->begin_tokens, w->begin_ns);
}

static void check_million(struct world *w, uint64_t admitted, int64_t now_ns)
{
    i128 sum = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        sum += tg_bucket_balance(&w->million[i], &w->params, now_ns);
    check("million", sum,
          BUCKETS * (w->begin_tokens + accrued(w, MILLION_RATE, now_ns)) - (i128)admitted, 0);
}

static const struct row {
    const char *name;
    void (*begin)(struct world *w);
    turn_fn *turn_nano, *turn_cached;
    void (*check)(struct world *w, uint64_t admitted, int64_t now_ns);
} rows[] = {
    {"hot", begin_hot, hot_nano, hot_cached, check_hot},
    {"throttled", begin_throttled, hot_nano, hot_cached, check_throttled},
    {"six", begin_six, six_nano, six_cached, check_six},
    {"million", begin_million, million_nano, million_cached, check_million},
};

/* ---- a run ---- */

static void *work(void *arg)
{
    struct thread *t = arg;
    turn_fn *turn = t->by_cache ? t->row->turn_cached : t->row->turn_nano;
    pthread_barrier_wait(t->barrier);
    t->begin_ns = mono_now_ns();
    int64_t cpu_ns = thread_cpu_ns();
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        turn(t);
        t->ops += TURN;
    }
    t->cpu_ns = thread_cpu_ns() - cpu_ns;
    t->end_ns = t->turn_ns = mono_now_ns();
    tg_lease_return(&t->lease, &t->w->hot, t->turn_ns); /* what was not, for the account */
    return_path(t);
    return NULL;
}

static void start(struct thread *threads, int count, struct thread model, double seconds)
{
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, (unsigned)count + 1);
    model.barrier = &barrier;
    atomic_store(&stop, false);
    for (int i = 0; i < count; i++) {
        struct thread *t = &threads[i];
        *t = model;
        size_t from = (size_t)BUCKETS * (size_t)i / (size_t)count;
        t->mine = model.w->million + from;
        t->mine_count = (size_t)BUCKETS * (size_t)(i + 1) / (size_t)count - from;
        t->random = UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(i + 1);
        if (pthread_create(&t->id, NULL, work, t) != 0) {
            fprintf(stderr, "peers_bench: no thread\n");
            exit(1);
        }
    }
    pthread_barrier_wait(&barrier);
    const struct timespec span = {.tv_sec = (time_t)seconds,
                                  .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&span, NULL);
    atomic_store(&stop, true);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i].id, NULL);
    pthread_barrier_destroy(&barrier);
}

static void run(struct world *w, const struct row *row, bool by_cache, int count, double seconds)
{
    struct thread *threads = xcalloc((size_t)count, sizeof(*threads));
    w->begin_ns = mono_now_ns();
    row->begin(w);
    start(threads, count, (struct thread){.w = w, .row = row, .by_cache = by_cache}, seconds);
    uint64_t ops = 0, admitted = 0;
    int64_t begin_ns = INT64_MAX, end_ns = INT64_MIN, cpu_ns = 0;
    for (int i = 0; i < count; i++) {
        const struct thread *t = &threads[i];
        ops += t->ops;
        admitted += t->admitted;
        cpu_ns += t->cpu_ns;
        begin_ns = t->begin_ns < begin_ns ? t->begin_ns : begin_ns;
        end_ns = t->end_ns > end_ns ? t->end_ns : end_ns;
    }
    row->check(w, admitted, mono_now_ns());
    printf("%llu %llu %lld %lld\n", (unsigned long long)ops, (unsigned long long)admitted,
           (long long)(end_ns - begin_ns), (long long)cpu_ns);
    free(threads);
}

static bool run_line(struct world *w, const char *line)
{
    char name[16], clock_name[16];
    int count;
    double seconds;
    if (sscanf(line, "%15s %15s %d %lf", name, clock_name, &count, &seconds) != 4 || count < 1 ||
        count > THREADS_MAX || seconds <= 0 || seconds > FULL_AFTER_S / 4)
        return false;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].name, name) == 0) {
            run(w, &rows[i], strcmp(clock_name, "cached") == 0, count, seconds);
            return true;
        }
    return false;
}

int main(void)
{
    struct world *w = xcalloc(1, sizeof(*w));
    w->million = xcalloc(BUCKETS, sizeof(*w->million));
    atomic_store(&cached.now_ns, mono_now_ns());
    pthread_t ticker;
    if (pthread_create(&ticker, NULL, tick, NULL) != 0)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ready %.1f\n", (double)sizeof(*w->million)); /* bytes a bucket of the million */
    char line[128];
    while (fgets(line, sizeof(line), stdin) != NULL)
        if (!run_line(w, line)) {
            fprintf(stderr, "peers_bench: what is %s", line);
            return 2;
        }
    return 0;
}
