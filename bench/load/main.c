/* load - a load generator for brokers that speak Pulsar's protocol: many producers and consumers on
 * one CPU.
 *
 * It runs on one worker of net/. Producers and consumers come in groups; every group has some on
 * each of the connections, so two groups share connections unless told otherwise: a producer over
 * its limit and its quiet neighbour are two groups on one connection.
 *
 * All are opened first. Then the warm-up runs, then the measurement, then it ends without waiting
 * for what is outstanding, unless it is to drain. Where groups have a number of frames, there is no
 * warm-up: it is measured from the first frame, or permit, until the last of them is done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "load.h"

void load_fail(struct load *l, const char *what, const char *detail)
{
    fprintf(stderr, "load: %s: %s\n", what, detail);
    l->failed = true;
    worker_stop(l->w);
}

/* ---- phases ---- */

/* CPU time of <pid> since it began, user and kernel, of all its threads, also those that have
 * ended: a JVM's compiler threads come and go. */
static int64_t process_cpu_ns(int pid)
{
    clockid_t clock;
    struct timespec t;
    if (pid <= 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (int64_t)t.tv_sec * MONO_S + t.tv_nsec;
}

static void begin_measuring(struct load *l)
{
    l->measuring = true;
    l->begin_ns = mono_now_ns();
    l->cpu_ns = thread_cpu_ns();
    l->target_cpu_ns = process_cpu_ns(l->pid);
}

static void end_measuring(struct load *l)
{
    l->measuring = false;
    l->wall_ns = mono_now_ns() - l->begin_ns;
    l->cpu_ns = thread_cpu_ns() - l->cpu_ns;
    l->target_cpu_ns = process_cpu_ns(l->pid) - l->target_cpu_ns;
    l->draining = l->drain_s > 0 && l->outstanding > 0;
    if (l->draining)
        timer_arm(l->w, &l->phase, mono_now_ns() + (int64_t)(l->drain_s * (double)MONO_S));
    else
        worker_stop(l->w);
}

static void phase_over(struct timer *t, int64_t now_ns)
{
    struct load *l = OF(struct load, t, phase);
    if (l->draining) {
        worker_stop(l->w);
    } else if (l->has_an_end) {
        load_fail(l, "duration", "over, and not all frames are done");
    } else if (l->measuring) {
        end_measuring(l);
    } else {
        begin_measuring(l);
        timer_arm(l->w, t, now_ns + (int64_t)(l->duration_s * (double)MONO_S));
    }
}

static void begin(struct load *l)
{
    double first_s = l->has_an_end ? l->duration_s : l->warmup_s;
    l->sending = true;
    timer_init(&l->phase, phase_over);
    timer_arm(l->w, &l->phase, worker_now_ns(l->w) + (int64_t)(first_s * (double)MONO_S));
    if (l->has_an_end)
        begin_measuring(l);
    int64_t now_ns = mono_now_ns();
    for (int i = 0; i < l->conn_count; i++) {
        struct conn *c = &l->conns[i];
        for (int k = 0; k < c->producer_count; k++)
            producer_begin(c->producers[k], now_ns);
        for (int k = 0; k < c->consumer_count; k++)
            consumer_begin(c->consumers[k]);
    }
}

void load_one_is_ready(struct load *l)
{
    if (--l->to_open == 0)
        begin(l);
}

void load_one_is_done(struct load *l)
{
    if (--l->to_finish == 0)
        end_measuring(l);
}

void load_is_drained(struct load *l)
{
    timer_disarm(l->w, &l->phase);
    worker_stop(l->w);
}

static void start(struct worker *w)
{
    struct load *l = worker_user(w);
    for (int i = 0; i < l->conn_count; i++)
        conn_open(&l->conns[i]);
}

/* ---- set-up ---- */

static char *topic_name(const struct group *g, int conn, int member)
{
    struct bytes b = {0};
    for (const char *p = g->topic; *p != '\0'; p++) {
        if (p[0] == '%' && (p[1] == 'c' || p[1] == 'p'))
            bytes_printf(&b, "%d", *++p == 'c' ? conn : member);
        else
            bytes_append(&b, p, 1);
    }
    bytes_append(&b, "", 1);
    return (char *)b.data;
}

static void add_producers(struct conn *c, struct group *g)
{
    size_t n = (size_t)c->producer_count + (size_t)g->members;
    c->producers = xrealloc(c->producers, n * sizeof(*c->producers));
    for (int i = 0; i < g->members; i++) {
        struct producer *p = producer_make(c, g, i);
        p->topic = topic_name(g, c->index, i);
        p->id = (uint64_t)c->producer_count;
        c->producers[c->producer_count++] = p;
    }
}

static void add_consumers(struct conn *c, struct group *g)
{
    size_t n = (size_t)c->consumer_count + (size_t)g->members;
    c->consumers = xrealloc(c->consumers, n * sizeof(*c->consumers));
    for (int i = 0; i < g->members; i++) {
        struct consumer *k = consumer_make(c, g, i);
        k->topic = topic_name(g, c->index, i);
        k->id = (uint64_t)c->consumer_count;
        c->consumers[c->consumer_count++] = k;
    }
}

static void add_group(struct load *l, struct conn *c, struct group *g)
{
    if (c->index < g->first_conn || c->index >= g->first_conn + g->conns)
        return;
    if (g->consumes)
        add_consumers(c, g);
    else
        add_producers(c, g);
    l->to_open += g->members;
    l->to_finish += g->frames > 0 ? g->members : 0;
}

static void prepare_group(struct load *l, struct group *g)
{
    if (g->conns == 0)
        g->conns = l->conn_count - g->first_conn;
    l->has_an_end |= g->frames > 0;
    if (g->consumes)
        return;
    message_make(&g->message, g->name, (uint64_t)(wall_now_ns() / MONO_MS), (uint32_t)g->size,
                 (uint32_t)g->batch);
    TG_ASSERT(message_check(&g->message, 0, 0) && message_check(&g->message, 999, 1234567890));
}

static void build(struct load *l)
{
    l->conns = xcalloc((size_t)l->conn_count, sizeof(*l->conns));
    for (int i = 0; i < l->group_count; i++)
        prepare_group(l, &l->groups[i]);
    for (int i = 0; i < l->conn_count; i++) {
        struct conn *c = &l->conns[i];
        c->load = l;
        c->index = i;
        c->arena = arena_new();
        for (int k = 0; k < l->group_count; k++)
            add_group(l, c, &l->groups[k]);
    }
}

static void teardown(struct load *l)
{
    for (int i = 0; i < l->conn_count; i++) {
        struct conn *c = &l->conns[i];
        for (int k = 0; k < c->producer_count; k++)
            producer_free(c->producers[k]);
        for (int k = 0; k < c->consumer_count; k++)
            consumer_free(c->consumers[k]);
        free(c->producers);
        free(c->consumers);
        arena_free(c->arena);
    }
    for (int i = 0; i < l->group_count; i++)
        bytes_fini(&l->groups[i].message.frame);
    free(l->conns);
}

/* ---- the result ---- */

static void print_group(const struct load *l, const struct group *g, bool last)
{
    double s = (double)l->wall_ns / 1e9;
    const struct histogram *h = &g->latency;
    printf("  {\"name\": \"%s\", \"messages_per_s\": %.1f, \"messages\": %llu, \"frames\": %llu,\n"
           "   \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f,\n"
           "   \"sent_frames\": %llu, \"resent_frames\": %llu, \"closed_by_broker\": %llu,\n"
           "   \"send_errors\": %llu, \"wrong_ids\": %llu, \"acknowledged\": %llu}%s\n",
           g->name, (double)g->messages / s, (unsigned long long)g->messages,
           (unsigned long long)g->frames_done, (double)histogram_at(h, 0.5) / 1e3,
           (double)histogram_at(h, 0.99) / 1e3, (double)histogram_at(h, 0.999) / 1e3,
           (double)h->max_ns / 1e3, (unsigned long long)g->sent, (unsigned long long)g->resent,
           (unsigned long long)g->closed_by_broker, (unsigned long long)g->send_errors,
           (unsigned long long)g->wrong_ids, (unsigned long long)g->acknowledged, last ? "" : ",");
}

static void print_result(const struct load *l)
{
    uint64_t messages = 0;
    for (int i = 0; i < l->group_count; i++)
        messages += l->groups[i].messages;
    double s = (double)l->wall_ns / 1e9, per = messages ? (double)messages : 1;
    printf("{\"seconds\": %.3f, \"messages_per_s\": %.1f, \"load_cpu\": %.3f,\n"
           " \"load_cpu_ns_per_message\": %.1f, \"target_cpu\": %.3f,\n"
           " \"target_cpu_ns_per_message\": %.1f,\n \"groups\": [\n",
           s, (double)messages / s, (double)l->cpu_ns / (double)l->wall_ns, (double)l->cpu_ns / per,
           (double)l->target_cpu_ns / (double)l->wall_ns, (double)l->target_cpu_ns / per);
    for (int i = 0; i < l->group_count; i++)
        print_group(l, &l->groups[i], i == l->group_count - 1);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    struct load *l = xcalloc(1, sizeof(*l));
    *l = (struct load){.host = "127.0.0.1", .conn_count = 1, .warmup_s = 1, .duration_s = 5};
    l->client_version = "Tidegate-load-1";
    parse_options(l, argc, argv);
    build(l);
    struct budget budget;
    budget_init(&budget, INT64_C(1) << 30);
    struct worker_config cfg = {.budget = &budget, .user = l};
    if (worker_new(&l->w, &cfg) != TG_OK) {
        fprintf(stderr, "load: no event loop\n");
        return 1;
    }
    worker_run(l->w, start);
    worker_free(l->w);
    bool failed = l->failed || l->wall_ns == 0;
    if (!failed)
        print_result(l);
    teardown(l);
    free(l);
    return failed;
}
