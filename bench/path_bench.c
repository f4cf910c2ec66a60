/* path_bench.c - CPU time of the limits on a message's way when none is reached: what publish.c
 * does with them for one message, and nothing else.
 *
 *   make bench-path             prints the table
 *
 * The path is of six scopes: producer, topic, namespace, tenant, resource group, broker. A turn is
 * some messages with one reading of the clock; its end, where leases go back, counts. Rows run
 * interleaved, ROUNDS times.
 *
 * Beside the time stands how often a lock was taken, a quota's: no other word that workers share is
 * written on that way. Nothing may be allocated on it: locking and allocating are counted here. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/mono.h"
#include "quota/quota.h"
#include "throttle/claim.h"
#include "throttle/waitq.h"

enum { ROUNDS = 11, MESSAGES = 1280000, QUOTAS = 4, BYTES = 1000 };
#define TURN_NS (10 * MONO_US)

struct bench {
    struct scope producer, topic;
    struct path path;
    struct waitq waiters;
    struct quota quota[QUOTAS];
    struct quota_chain chain;
    struct quota_worker leases;
    int64_t now_ns;
    uint64_t sent;
};

static void arm(void *ctx, int64_t deadline_ns)
{
    (void)ctx, (void)deadline_ns;
}

static const struct waitq_ops ops = {.arm = arm};

static void init(struct bench *b, int limited, bool dry_run)
{
    static const enum scope_kind kind[QUOTAS] = {SCOPE_NAMESPACE, SCOPE_TENANT,
                                                 SCOPE_RESOURCE_GROUP, SCOPE_BROKER};
    struct tg_limit_spec spec = {.msgs.rate = INT64_C(1) << 32, .bytes.rate = INT64_C(1) << 40};
    *b = (struct bench){.now_ns = MONO_S};
    scope_init(&b->producer, SCOPE_PRODUCER, "producer");
    scope_init(&b->topic, SCOPE_TOPIC, "topic");
    waitq_init(&b->waiters, &b->topic, &ops, b);
    path_add(&b->path, &b->topic);
    for (int i = 0; i < QUOTAS; i++) {
        quota_init(&b->quota[i], kind[i], "quota", 1, 2);
        quota_chain_add(&b->chain, &b->quota[i], i == 0 ? QUOTA_TOPIC : i == 3 ? 1 : i - 1);
        if (limited < QUOTAS - i)
            continue;
        quota_set_limit(&b->quota[i], &spec, LIMIT_FROM_BROKER, 100, b->now_ns);
        quota_set_dry_run(&b->quota[i], dry_run);
    }
    if (limited > QUOTAS)
        scope_set_limit(&b->topic, &spec, LIMIT_FROM_TOPIC, 100, b->now_ns);
    if (limited > QUOTAS + 1)
        scope_set_limit(&b->producer, &spec, LIMIT_FROM_TOPIC, 100, b->now_ns);
}

static void fini(struct bench *b)
{
    for (int i = 0; i < QUOTAS; i++)
        quota_fini(&b->quota[i]);
    scope_fini(&b->topic);
    scope_fini(&b->producer);
}

/* ---- allocations, and what workers share ---- */

static uint64_t allocations, locks;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
int __real_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);

int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
    locks++;
    return __real_pthread_mutex_lock(m);
}

void *__wrap_malloc(size_t n)
{
    allocations++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    allocations++;
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    allocations++;
    return __real_aligned_alloc(alignment, n);
}

/* ---- one message ---- */

static inline bool question(struct bench *b)
{
    return scope_has_tokens(&b->producer, b->now_ns) &&
           !waitq_must_wait(&b->path, NULL, b->now_ns) &&
           !claim_lacking(NULL, &b->chain, &b->leases, 1, BYTES, b->now_ns);
}

static inline void charge(struct bench *b)
{
    bool over = scope_charge(&b->producer, 1, BYTES, b->now_ns);
    over = path_charge(&b->path, 1, BYTES, b->now_ns) || over;
    over = claim_charge(NULL, &b->chain, &b->leases, 1, BYTES, b->now_ns) || over;
    b->sent += !over;
}

#define KEEP_ORDER __asm__ volatile("" : : : "memory")

static void ask_and_charge(struct bench *b, int turn)
{
    for (int i = 0; i < turn; i++) {
        if (question(b))
            charge(b);
        KEEP_ORDER;
    }
}

static void ask_only(struct bench *b, int turn)
{
    for (int i = 0; i < turn; i++) {
        b->sent += question(b);
        KEEP_ORDER;
    }
}

/* What one question found is good for a whole turn here: the lease is far larger. */
static void charge_only(struct bench *b, int turn)
{
    TG_ASSERT(question(b));
    for (int i = 0; i < turn; i++) {
        charge(b);
        KEEP_ORDER;
    }
}

/* What dispatch_limit.c does with a run of entries: it asks for the first, sees how much more may
 * go, and charges all at once. */
static void reserve_run(struct bench *b, int turn)
{
    struct claim_amount first = {1, BYTES}, room = first;
    uint64_t msgs = 1, bytes = BYTES, n = (uint64_t)turn;
    if (!question(b))
        return;
    if (turn > 1) {
        room = claim_held(NULL, &b->leases, first);
        for (int i = 0; i < 2; i++) {
            tg_limit_room(i ? &b->topic.limit : &b->producer.limit, &msgs, &bytes, b->now_ns);
            room.msgs = msgs < room.msgs ? msgs : room.msgs;
            room.bytes = bytes < room.bytes ? bytes : room.bytes;
        }
    }
    TG_ASSERT(room.msgs >= n && room.bytes >= n * BYTES);
    bool over = scope_charge(&b->producer, n, n * BYTES, b->now_ns);
    over = path_charge(&b->path, n, n * BYTES, b->now_ns) || over;
    over = claim_charge(NULL, &b->chain, &b->leases, n, n * BYTES, b->now_ns) || over;
    b->sent += over ? 0 : n;
}

/* ---- rows ---- */

struct row {
    int limited; /* of the scopes, from the widest on */
    bool dry_run;
    int turn; /* messages */
    void (*run)(struct bench *b, int turn);
    const char *what;
};

static const struct row rows[] = {
    {0, false, 64, ask_and_charge, "six scopes, no limit set: question and charge"},
    {6, false, 64, ask_and_charge, "all limited in messages and bytes: question and charge"},
    {6, false, 64, ask_only, "... the question"},
    {6, false, 64, charge_only, "... the charge"},
    {6, true, 64, ask_and_charge, "the same, quotas in dry run: question and charge"},
    {0, false, 1, ask_and_charge, "a message a turn, no limit set: question and charge"},
    {6, false, 1, ask_and_charge, "a message a turn, all limited: question and charge"},
    {6, false, 1, ask_only, "... the question: what a dispatch of one entry reserves"},
    {6, false, 64, reserve_run, "dispatch, runs of 64 entries, all limited: reserved and charged"},
    {6, false, 1, reserve_run, "dispatch, an entry a turn, all limited: reserved and charged"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

struct result {
    double ns[ROUNDS]; /* a message */
    uint64_t locks, allocations;
    int64_t virtual_ns;
};

static void run(const struct row *r, int round, struct result *to)
{
    struct bench b;
    struct timespec from, until;
    init(&b, r->limited, r->dry_run);
    uint64_t allocations_before = allocations, locks_before = locks;
    TG_ASSERT(allocations_before > 0 && locks_before > 0); /* init's: so others would be counted */
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (int turn = 0; turn < MESSAGES / r->turn; turn++) {
        b.now_ns += TURN_NS;
        r->run(&b, r->turn);
        (void)quota_turn_end(&b.leases, b.now_ns);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &until);
    double ns = (double)(until.tv_sec - from.tv_sec) * 1e9 + (double)(until.tv_nsec - from.tv_nsec);
    to->ns[round] = ns / MESSAGES;
    to->allocations += allocations - allocations_before;
    to->locks = locks - locks_before;
    to->virtual_ns = b.now_ns - MONO_S;
    TG_ASSERT(b.sent == MESSAGES); /* none was refused */
    quota_leases_return(&b.leases, b.now_ns);
    fini(&b);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    static struct result result[ROWS];
    uint64_t allocated = 0;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < ROWS; i++)
            run(&rows[i], round, &result[i]);
    printf("CPU ns a message, median (least..most) of %d rounds of %d messages; locks of quotas "
           "taken a message, and a ms\n",
           ROUNDS, MESSAGES);
    for (int i = 0; i < ROWS; i++) {
        struct result *r = &result[i];
        qsort(r->ns, ROUNDS, sizeof r->ns[0], by_size);
        double ms = (double)r->virtual_ns / 1e6;
        printf("%7.1f (%.1f..%.1f)  %.5f %5.1f  %s\n", r->ns[ROUNDS / 2], r->ns[0],
               r->ns[ROUNDS - 1], (double)r->locks / MESSAGES, (double)r->locks / ms, rows[i].what);
        allocated += r->allocations;
    }
    printf("allocations on that way: %llu\n", (unsigned long long)allocated);
    return allocated == 0 ? 0 : 1;
}
