/* queue_bench.c - CPU time of waiting: the queues of topics, their timers, claims and the home of
 * the quotas, on a virtual clock that ticks each millisecond, with the wheel of net/.
 *
 *   make bench-queue            prints the table
 *
 * 100 000 producers wait, each with frames of 100 bytes, in memory as scattered as a broker's. What
 * is measured is CPU time of everything from tick to admission; admission itself is a charge of the
 * topic's limit and a counter in the producer. "touch" is the floor: the same producers, in the
 * same order, by calls through the same pointers, without a queue. Rows run interleaved, ROUNDS
 * times. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mono.h"
#include "net/timer.h"
#include "quota/quota.h"
#include "throttle/claim.h"
#include "throttle/home.h"
#include "throttle/waitq.h"

enum { ROUNDS = 7, PRODUCERS = 100000, BUDGET = 512, SECONDS = 5 };

struct producer {
    uint64_t before[16]; /* what else a producer has */
    struct waiter waiter;
    struct topic *topic;
    uint64_t sent;
};

struct topic {
    struct bench *bench;
    struct scope scope;
    struct waitq q;
    struct timer timer;
    const struct quota_chain *chain;
    struct claim claim;
};

struct bench {
    struct wheel wheel;
    int64_t now_ns;
    struct topic *topic;
    uint32_t topics;
    struct producer **producer;
    uint64_t sent;
    struct quota broker, tenant, ns;
    struct quota_chain chain;
    struct timer quota_timer[3];
    struct quota_worker leases;
    struct home home;
    struct claim_letter *mail, **mail_end; /* delivered with the next tick */
    uint64_t answers, turns;
};

/* ---- callbacks ---- */

static struct producer *producer_of(struct waiter *w)
{
    return (struct producer *)((char *)w - offsetof(struct producer, waiter));
}

static void cost(struct waiter *w, uint64_t *msgs, uint64_t *bytes)
{
    (void)w;
    *msgs = 1;
    *bytes = 100;
}

static void ask(struct topic *t, struct quota *lacking)
{
    uint64_t waiting = waitq_count(&t->q);
    struct claim_amount head = {1, 100}, demand = {2 * waiting, 200 * waiting};
    claim_ask(&t->claim, lacking, head, demand);
}

static enum waiter_result grant(struct waiter *w, int64_t now_ns)
{
    struct producer *p = producer_of(w);
    struct topic *t = p->topic;
    struct bench *b = t->bench;
    struct claim *c = t->chain->count > 0 ? &t->claim : NULL;
    struct quota *lacking = claim_lacking(c, t->chain, &b->leases, 1, 100, now_ns);
    if (lacking) {
        ask(t, lacking);
        return WAITER_UPSTREAM;
    }
    claim_charge(c, t->chain, &b->leases, 1, 100, now_ns);
    tg_limit_charge(&t->scope.limit, 1, 100, now_ns);
    p->sent++;
    b->sent++;
    return WAITER_SENT;
}

static void arm_topic(void *ctx, int64_t deadline_ns)
{
    struct topic *t = ctx;
    if (deadline_ns == MONO_NEVER)
        wheel_disarm(&t->bench->wheel, &t->timer);
    else
        wheel_arm(&t->bench->wheel, &t->timer, deadline_ns);
}

static const struct waitq_ops waitq_ops = {.cost = cost, .grant = grant, .arm = arm_topic};

static void fire_topic(struct timer *timer, int64_t now_ns)
{
    struct topic *t = (struct topic *)((char *)timer - offsetof(struct topic, timer));
    waitq_fire(&t->q, BUDGET, now_ns);
}

static void post_home(struct claim_letter *l)
{
    struct topic *t = (struct topic *)((char *)l->claim - offsetof(struct topic, claim));
    home_receive(&t->bench->home, l, t->bench->now_ns);
}

static void released(struct claim *c)
{
    (void)c;
}

static const struct claim_ops claim_ops = {.post_home = post_home, .released = released};

static void post_back(void *ctx, struct claim_letter *l)
{
    struct bench *b = ctx;
    l->next = NULL;
    *b->mail_end = l;
    b->mail_end = &l->next;
    b->answers++;
}

static struct timer *timer_of(struct bench *b, const struct quota *q)
{
    return &b->quota_timer[q == &b->broker ? 0 : q == &b->tenant ? 1 : 2];
}

static void arm_quota(void *ctx, struct quota *q, int64_t deadline_ns)
{
    struct bench *b = ctx;
    if (deadline_ns == MONO_NEVER)
        wheel_disarm(&b->wheel, timer_of(b, q));
    else
        wheel_arm(&b->wheel, timer_of(b, q), deadline_ns);
}

static const struct home_ops home_ops = {.post_back = post_back, .arm = arm_quota};

static struct bench *the_bench; /* a timer of net/ carries no context */

static void fire_quota(struct timer *timer, int64_t now_ns)
{
    struct bench *b = the_bench;
    struct quota *q[3] = {&b->broker, &b->tenant, &b->ns};
    b->turns += home_fire(&b->home, q[timer - b->quota_timer], BUDGET, now_ns);
}

/* ---- the worlds ---- */

static void add_quotas(struct bench *b, int64_t rate)
{
    struct tg_limit_spec limit = {.msgs.rate = rate};
    home_init(&b->home, &home_ops, b);
    quota_init(&b->broker, SCOPE_BROKER, "broker", 1, 1);
    quota_init(&b->tenant, SCOPE_TENANT, "t", 1, 1);
    quota_init(&b->ns, SCOPE_NAMESPACE, "t/n", 1, 1);
    quota_chain_add_around(&b->chain, &b->ns);
    quota_chain_add_around(&b->chain, &b->tenant);
    quota_chain_add_around(&b->chain, &b->broker);
    home_set_limit(&b->ns, &limit, LIMIT_FROM_NAMESPACE, 10, b->now_ns);
    for (int i = 0; i < 3; i++)
        timer_init(&b->quota_timer[i], fire_quota);
}

static void add_topics(struct bench *b, uint32_t topics, int64_t rate, bool quotas)
{
    struct tg_limit_spec limit = {.msgs.rate = rate};
    b->topics = topics;
    b->topic = calloc(topics, sizeof *b->topic);
    for (uint32_t i = 0; i < topics; i++) {
        struct topic *t = &b->topic[i];
        t->bench = b;
        t->chain = &b->chain;
        if (quotas)
            claim_init(&t->claim, &claim_ops, &b->chain, 1);
        timer_init(&t->timer, fire_topic);
        scope_init(&t->scope, SCOPE_TOPIC, "topic");
        scope_set_limit(&t->scope, &limit, LIMIT_FROM_TOPIC, 0, b->now_ns);
        waitq_init(&t->q, &t->scope, &waitq_ops, t);
    }
}

/* In random order in memory. */
static void add_producers(struct bench *b)
{
    uint32_t each = PRODUCERS / b->topics;
    b->producer = calloc(PRODUCERS, sizeof *b->producer);
    for (uint32_t i = 0; i < PRODUCERS; i++)
        b->producer[i] = calloc(1, sizeof *b->producer[i]);
    for (uint32_t i = PRODUCERS - 1; i > 0; i--) {
        uint32_t k = (uint32_t)(((uint64_t)rand() << 16 ^ (uint64_t)rand()) % (i + 1));
        struct producer *p = b->producer[i];
        b->producer[i] = b->producer[k];
        b->producer[k] = p;
    }
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        struct producer *p = b->producer[i];
        p->topic = &b->topic[i / each];
        waiter_init(&p->waiter, 1);
        waitq_enter(&p->topic->q, &p->waiter, b->now_ns);
    }
}

static void free_bench(struct bench *b)
{
    for (uint32_t i = 0; i < PRODUCERS; i++)
        free(b->producer[i]);
    free(b->producer);
    free(b->topic);
    free(b);
}

static struct bench *new_bench(uint32_t topics, int64_t topic_rate, int64_t quota_rate)
{
    struct bench *b = the_bench = calloc(1, sizeof *b);
    b->now_ns = MONO_S;
    b->mail_end = &b->mail;
    wheel_init(&b->wheel, b->now_ns);
    if (quota_rate)
        add_quotas(b, quota_rate);
    add_topics(b, topics, topic_rate, quota_rate > 0);
    add_producers(b);
    return b;
}

static void deliver(struct bench *b)
{
    struct claim_letter *l = b->mail;
    b->mail = NULL;
    b->mail_end = &b->mail;
    while (l) {
        struct claim_letter *next = l->next;
        struct topic *t = (struct topic *)((char *)l->claim - offsetof(struct topic, claim));
        if (claim_received(l)) {
            waitq_kick(&t->q, b->now_ns);
            waitq_fire(&t->q, BUDGET, b->now_ns);
        }
        l = next;
    }
}

static void tick(struct bench *b)
{
    b->now_ns += MONO_MS;
    wheel_expire(&b->wheel, b->now_ns);
    deliver(b);
    if (b->topic[0].chain->count > 0)
        quota_leases_return(&b->leases, b->now_ns);
}

/* ---- rows ---- */

struct row {
    const char *name, *what;
    double ns[ROUNDS], more[ROUNDS], letters;
};

static void run(struct row *r, int round, struct bench *b)
{
    for (int i = 0; i < 200; i++) /* all have had a turn, or are about to */
        tick(b);
    uint64_t sent = b->sent, answers = b->answers;
    int64_t cpu_ns = thread_cpu_ns();
    for (int i = 0; i < SECONDS * 1000; i++)
        tick(b);
    cpu_ns = thread_cpu_ns() - cpu_ns;
    r->ns[round] = (double)cpu_ns / (double)(b->sent - sent);
    r->letters = (double)(b->answers - answers) / (SECONDS * 1000);
    free_bench(b);
}

static void run_touch(struct row *r, int round)
{
    struct bench *b = new_bench(1000, INT64_C(1) << 30, 0);
    uint64_t m, n;
    int64_t cpu_ns = thread_cpu_ns();
    for (int s = 0; s < SECONDS; s++) {
        for (uint32_t i = 0; i < PRODUCERS; i++) { /* the next producer of each topic in turn */
            struct waiter *w = &b->producer[i % 1000 * 100 + i / 1000]->waiter;
            waitq_ops.cost(w, &m, &n);
            waitq_ops.grant(w, b->now_ns);
        }
    }
    r->ns[round] = (double)(thread_cpu_ns() - cpu_ns) / (SECONDS * (double)PRODUCERS);
    free_bench(b);
}

/* The home alone: claims that always want more, answered and asking again with each tick. */
static void run_home(struct row *r, int round)
{
    struct bench *b = new_bench(1000, 0, 100000);
    struct claim_amount head = {1, 100}, demand = {100, 10000};
    while (tg_shared_limit_has_tokens(&b->ns.limit, b->now_ns))
        tg_shared_limit_grant(&b->ns.limit, 1, 1, b->now_ns);
    for (uint32_t i = 0; i < b->topics; i++)
        claim_ask(&b->topic[i].claim, &b->ns, head, demand);
    b->answers = 0;
    int64_t cpu_ns = thread_cpu_ns();
    for (int i = 0; i < SECONDS * 1000; i++) {
        b->now_ns += MONO_MS;
        wheel_expire(&b->wheel, b->now_ns);
        struct claim_letter *l = b->mail;
        b->mail = NULL;
        b->mail_end = &b->mail;
        for (struct claim_letter *next; l; l = next) {
            next = l->next;
            l->claim->left = (struct claim_amount){0, 0}; /* all spent */
            claim_received(l);
            l->claim->left = (struct claim_amount){0, UINT64_MAX};
            claim_ask(l->claim, &b->ns, head, demand);
        }
    }
    cpu_ns = thread_cpu_ns() - cpu_ns;
    r->ns[round] = (double)cpu_ns / (double)b->answers;
    r->letters = (double)b->answers / (SECONDS * 1000);
    free_bench(b);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(struct row *r, bool has_more)
{
    qsort(r->ns, ROUNDS, sizeof r->ns[0], by_size);
    qsort(r->more, ROUNDS, sizeof r->more[0], by_size);
    printf("%-12s %7.1f (%.1f..%.1f)  per %s", r->name, r->ns[ROUNDS / 2], r->ns[0],
           r->ns[ROUNDS - 1], r->what);
    if (has_more)
        printf("; beyond the floor %.1f (%.1f..%.1f)", r->more[ROUNDS / 2], r->more[0],
               r->more[ROUNDS - 1]);
    if (r->letters > 0)
        printf("; %.1f letters a ms", r->letters);
    printf("\n");
}

int main(void)
{
    struct row rows[] = {
        {.name = "touch", .what = "a producer, the floor"},
        {.name = "1000 topics", .what = "a turn; each topic at its own limit of 100/s"},
        {.name = "one topic", .what = "a turn; at its own limit of 100 000/s"},
        {.name = "home",
         .what = "a claim, from ask to answer; 1000 topics at a quota of 100 000/s"},
        {.name = "quota", .what = "a turn; the same with queues, all in all"},
    };
    for (int i = 0; i < ROUNDS; i++) {
        run_touch(&rows[0], i);
        run(&rows[1], i, new_bench(1000, 100, 0));
        run(&rows[2], i, new_bench(1, 100000, 0));
        run_home(&rows[3], i);
        run(&rows[4], i, new_bench(1000, 0, 100000));
    }
    for (int i = 0; i < ROUNDS; i++) { /* beyond what touching them costs, in the same round */
        rows[1].more[i] = rows[1].ns[i] - rows[0].ns[i];
        rows[2].more[i] = rows[2].ns[i] - rows[0].ns[i];
    }
    printf("CPU ns, median (least..most) of %d rounds; %d producers wait\n", ROUNDS, PRODUCERS);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        print(&rows[i], i == 1 || i == 2);
    return 0;
}
