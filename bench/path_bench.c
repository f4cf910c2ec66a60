/* path_bench.c - CPU time of the limits on a message's way when none is reached: what publish.c
 * does with them for one message, and nothing else.
 *
 *   make bench-path             prints the table
 *
 * The path is of six scopes: producer, topic, namespace, tenant, resource group, broker. A turn is
 * 64 messages with one reading of the clock; at its end leases go back, which counts. Rows run
 * interleaved, ROUNDS times. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/mono.h"
#include "quota/quota.h"
#include "throttle/claim.h"
#include "throttle/waitq.h"

enum { ROUNDS = 11, TURNS = 20000, TURN = 64, QUOTAS = 4, BYTES = 1000, ROWS = 3 };

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

/* <limited>: of the scopes, from the widest on. */
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

static void publish(struct bench *b, int64_t now_ns)
{
    if (!scope_has_tokens(&b->producer, now_ns) || waitq_must_wait(&b->path, NULL, now_ns) ||
        claim_lacking(NULL, &b->chain, &b->leases, 1, BYTES, now_ns))
        return;
    bool over = scope_charge(&b->producer, 1, BYTES, now_ns);
    over = path_charge(&b->path, 1, BYTES, now_ns) || over;
    over = claim_charge(NULL, &b->chain, &b->leases, 1, BYTES, now_ns) || over;
    b->sent += !over;
}

static double run(int limited, bool dry_run)
{
    struct bench b;
    struct timespec from, to;
    init(&b, limited, dry_run);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (int turn = 0; turn < TURNS; turn++) {
        b.now_ns += 10 * MONO_US;
        for (int i = 0; i < TURN; i++) {
            publish(&b, b.now_ns);
            __asm__ volatile("" : : : "memory");
        }
        quota_leases_return(&b.leases, b.now_ns);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    TG_ASSERT(b.sent == (uint64_t)TURNS * TURN); /* none was refused */
    fini(&b);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    return ns / ((double)TURNS * TURN);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    static const struct row {
        int limited;
        bool dry_run;
        const char *what;
    } rows[ROWS] = {{0, false, "six scopes, no limit set"},
                    {6, false, "six scopes, all limited in messages and bytes"},
                    {6, true, "the same, quotas in dry run"}};
    double ns[ROWS][ROUNDS];
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < ROWS; i++)
            ns[i][round] = run(rows[i].limited, rows[i].dry_run);
    printf("CPU ns a message, median (least..most) of %d rounds of %d messages\n", ROUNDS,
           TURNS * TURN);
    for (int i = 0; i < ROWS; i++) {
        qsort(ns[i], ROUNDS, sizeof ns[i][0], by_size);
        printf("%7.1f (%.1f..%.1f)  %s\n", ns[i][ROUNDS / 2], ns[i][0], ns[i][ROUNDS - 1],
               rows[i].what);
    }
    return 0;
}
