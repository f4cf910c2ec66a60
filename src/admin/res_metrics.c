/* res_metrics.c - GET /metrics. Names are Pulsar's where it has one; ours begin with tidegate_.
 * Where Prometheus expects something else of a gauge's or counter's name, Pulsar's has no type.
 *
 * A series is a topic (and subscription) with exposeTopicLevelMetricsInPrometheus, else a
 * namespace. Both are the same rows: first one row per series is summed up (metric_rows.h), then
 * each family is written from all rows, since a family's samples must stand together. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/limit_rows.h"
#include "admin/metric_rows.h"
#include "admin/metrics.h"
#include "admin/res.h"
#include "admin/survey.h"
#include "base/alloc.h"
#include "broker/front.h"
#include "broker/quotas.h"
#include "throttle/reason.h"

enum { TOPICS_PER_TURN = 200 }; /* some 100 us of a worker's turn */

/* ---- writing ---- */

struct family {
    const char *name, *type, *help;
    size_t offset; /* of the double in struct metric_row */
};

#define FIELD(f) offsetof(struct metric_row, f)
static const struct family families[] = {
    {"pulsar_topics_count", "untyped", "Topics, partitions counted one by one.", FIELD(topics)},
    {"pulsar_producers_count", "untyped", "Connected producers.", FIELD(producers)},
    {"pulsar_consumers_count", "untyped", "Connected consumers.", FIELD(consumers)},
    {"pulsar_subscriptions_count", "untyped", "Subscriptions.", FIELD(subscriptions)},
    {"pulsar_rate_in", "gauge", "Messages published per second.", FIELD(rate_in)},
    {"pulsar_rate_out", "gauge", "Messages delivered per second.", FIELD(rate_out)},
    {"pulsar_throughput_in", "gauge", "Bytes published per second.", FIELD(throughput_in)},
    {"pulsar_throughput_out", "gauge", "Bytes delivered per second.", FIELD(throughput_out)},
    {"pulsar_in_messages_total", "counter", "Messages published.", FIELD(in_messages)},
    {"pulsar_in_bytes_total", "counter", "Bytes published.", FIELD(in_bytes)},
    {"pulsar_out_messages_total", "counter", "Messages delivered.", FIELD(out_messages)},
    {"pulsar_out_bytes_total", "counter", "Bytes delivered.", FIELD(out_bytes)},
    {"pulsar_storage_size", "gauge", "Bytes stored since the start.", FIELD(storage)},
    {"pulsar_msg_backlog", "gauge", "Messages not yet acknowledged.", FIELD(backlog)},
    {"tidegate_throttlings_total", "counter", "Times that a producer began to be throttled.",
     FIELD(throttlings)},
    {"tidegate_throttled_producers", "gauge", "Producers that wait now.",
     FIELD(throttled_producers)},
    {"tidegate_parked_messages", "gauge", "Messages parked for throttled producers.",
     FIELD(parked_messages)},
    {"tidegate_parked_bytes", "gauge", "Bytes parked for throttled producers.",
     FIELD(parked_bytes)},
    {"tidegate_holds_total", "counter", "Times a producer was stopped at its client.",
     FIELD(holds)},
    {"tidegate_forgotten_producers_total", "counter",
     "Held producers to which their clients did not come back.", FIELD(forgotten)},
    {"tidegate_discarded_messages_total", "counter",
     "Messages that a held producer sent, and will send again.", FIELD(discarded_messages)},
    {"tidegate_discarded_bytes_total", "counter",
     "Bytes that a held producer sent, and will send again.", FIELD(discarded_bytes)},
    {"pulsar_dispatch_throttled_msg_count", "untyped",
     "Messages whose delivery waited for the limit of their topic.", FIELD(dispatch_delayed_msgs)},
    {"pulsar_dispatch_throttled_bytes_count", "untyped",
     "Bytes whose delivery waited for the limit of their topic.", FIELD(dispatch_delayed_bytes)},
    {"tidegate_throttled_subscriptions", "gauge", "Subscriptions that wait for tokens now.",
     FIELD(throttled_subscriptions)},
    {"tidegate_dispatch_throttled_seconds_total", "counter",
     "Seconds that subscriptions were throttled, summed.", FIELD(dispatch_throttled_s)},
    {"tidegate_refused_subscribes_total", "counter",
     "Attempts to subscribe that were more than subscribeRate.", FIELD(subscribing_refused)},
};
enum { FAMILIES = sizeof families / sizeof *families };

static size_t labels_of(const struct broker *b, const struct metric_row *r,
                        struct metric_label l[4])
{
    l[0] = (struct metric_label){"cluster", b->settings->cluster_name};
    l[1] = (struct metric_label){"namespace", r->ns};
    l[2] = (struct metric_label){"topic", r->key};
    return r->is_topic ? 3 : 2;
}

/* PIP-385 asks for the limiter. Zeros are shown for the topic's own only. */
static void put_hits(struct broker *b, struct bytes *out, const struct metric_rows *rows)
{
    static const char name[] = "pulsar_publish_rate_limit_times";
    metric_family(out, name, "untyped", "Frames that found a publish limit used up, by limiter.");
    for (const struct metric_row *r = rows->row; r != NULL; r = r->hh.next)
        for (int limiter = 0; limiter <= REASON_BROKER; limiter++) {
            struct metric_label l[4];
            size_t n = labels_of(b, r, l);
            if (r->rate_limit_hits[limiter] == 0 && limiter != REASON_TOPIC)
                continue;
            l[n++] = (struct metric_label){"limiter", reason_name((enum throttle_reason)limiter)};
            metric_sample(out, name, l, n, r->rate_limit_hits[limiter]);
        }
}

static void put_rows(struct broker *b, struct bytes *out, const struct metric_rows *rows)
{
    struct metric_label l[4];
    for (int f = 0; f < FAMILIES; f++) {
        metric_family(out, families[f].name, families[f].type, families[f].help);
        for (const struct metric_row *r = rows->row; r != NULL; r = r->hh.next) {
            size_t n = labels_of(b, r, l);
            double value;
            memcpy(&value, (const char *)r + families[f].offset, sizeof value);
            metric_sample(out, families[f].name, l, n, value);
        }
    }
    put_hits(b, out, rows);
    static const char seconds[] = "tidegate_throttled_seconds_total";
    metric_family(out, seconds, "counter",
                  "Seconds that producers were throttled, summed, by reason.");
    for (const struct metric_row *r = rows->row; r != NULL; r = r->hh.next)
        for (int reason = 0; reason < REASON_COUNT; reason++) {
            double value = r->throttled_s[reason];
            size_t n = labels_of(b, r, l);
            if (value == 0 && reason != REASON_TOPIC)
                continue;
            l[n++] = (struct metric_label){"reason", reason_name((enum throttle_reason)reason)};
            metric_sample(out, seconds, l, n, value);
        }
}

/* A family of subscriptions; <offset>: of the double in struct metric_backlog. */
static void put_subscriptions(struct broker *b, struct bytes *out, const struct metric_rows *rows,
                              const struct family *f)
{
    metric_family(out, f->name, f->type, f->help);
    for (size_t i = 0; i < rows->backlogs; i++) {
        const struct metric_backlog *one = &rows->backlog[i];
        struct metric_label l[] = {{"cluster", b->settings->cluster_name},
                                   {"namespace", one->ns},
                                   {"topic", one->topic},
                                   {"subscription", one->subscription}};
        double value;
        memcpy(&value, (const char *)one + f->offset, sizeof value);
        metric_sample(out, f->name, l, 4, value);
    }
}

static void put_backlogs(struct broker *b, struct bytes *out, const struct metric_rows *rows)
{
    static const struct family of_subscriptions[] = {
        {"pulsar_subscription_back_log", "gauge",
         "Messages of a subscription not yet acknowledged.",
         offsetof(struct metric_backlog, messages)},
        {"pulsar_subscription_dispatch_throttled_msg_count", "untyped",
         "Messages whose delivery waited for their subscription's own limit.",
         offsetof(struct metric_backlog, delayed_msgs)},
        {"pulsar_subscription_dispatch_throttled_bytes_count", "untyped",
         "Bytes whose delivery waited for their subscription's own limit.",
         offsetof(struct metric_backlog, delayed_bytes)},
    };
    if (!rows->by_topic)
        return;
    for (size_t f = 0; f < sizeof of_subscriptions / sizeof *of_subscriptions; f++)
        put_subscriptions(b, out, rows, &of_subscriptions[f]);
}

static void put_one(struct broker *b, struct bytes *out, const char *name, const char *type,
                    const char *help, double value)
{
    struct metric_label l = {"cluster", b->settings->cluster_name};
    metric_family(out, name, type, help);
    metric_sample(out, name, &l, 1, value);
}

static void put_broker(struct broker *b, struct bytes *out, const struct metric_rows *rows)
{
    double topics = 0, producers = 0, consumers = 0, rate_in = 0, rate_out = 0;
    for (const struct metric_row *r = rows->row; r != NULL; r = r->hh.next) {
        topics += r->topics;
        producers += r->producers;
        consumers += r->consumers;
        rate_in += r->rate_in;
        rate_out += r->rate_out;
    }
    put_one(b, out, "pulsar_broker_topics_count", "untyped", "Topics of the broker.", topics);
    put_one(b, out, "pulsar_broker_producers_count", "untyped", "Its producers.", producers);
    put_one(b, out, "pulsar_broker_consumers_count", "untyped", "Its consumers.", consumers);
    put_one(b, out, "pulsar_broker_rate_in", "gauge", "Messages in per second.", rate_in);
    put_one(b, out, "pulsar_broker_rate_out", "gauge", "Messages out per second.", rate_out);
    put_one(b, out, "pulsar_active_connections", "gauge", "Client connections.",
            (double)atomic_load_explicit(&b->connections, memory_order_relaxed));
    put_one(b, out, "pulsar_health", "gauge", "1: it answers.", 1);
}

static void put_memory(struct broker *b, struct bytes *out)
{
    struct budget *m = &b->budget;
    static const char used[] = "tidegate_memory_bytes", limit[] = "tidegate_memory_limit_bytes";
    metric_family(out, used, "gauge", "Memory that peers can make grow, by kind.");
    for (int k = 0; k < BUDGET_KINDS; k++) {
        struct metric_label l = {"kind", budget_kind_name((enum budget_kind)k)};
        metric_sample(out, used, &l, 1, (double)budget_used(m, (enum budget_kind)k));
    }
    metric_family(out, limit, "gauge", "The most of it, by kind; all: the whole budget.");
    for (int k = 0; k < BUDGET_KINDS; k++) {
        struct metric_label l = {"kind", budget_kind_name((enum budget_kind)k)};
        metric_sample(out, limit, &l, 1, (double)m->share_bytes[k]);
    }
    struct metric_label all = {"kind", "all"};
    metric_sample(out, limit, &all, 1, (double)m->total_bytes);
}

static void put_store(struct broker *b, struct bytes *out, bool full)
{
    struct ls_stats s;
    ls_stats(b->ledgers, &s);
    put_one(b, out, "tidegate_store_entries_total", "counter", "Entries appended.",
            (double)s.appended_entries);
    put_one(b, out, "tidegate_store_bytes_total", "counter", "Bytes appended.",
            (double)s.appended_bytes);
    put_one(b, out, "tidegate_store_commits_total", "counter", "Commit groups.", (double)s.commits);
    put_one(b, out, "tidegate_store_syncs_total", "counter", "Syncs to disk.", (double)s.syncs);
    put_one(b, out, "tidegate_store_log_bytes", "gauge", "Segments in use.", (double)s.log_bytes);
    put_one(b, out, "tidegate_store_live_bytes", "gauge", "Of entries that somebody may need.",
            (double)s.live_bytes);
    put_one(b, out, "tidegate_store_copied_bytes_total", "counter",
            "Copied to the end of the log, so that segments of which little is needed can go.",
            (double)s.copied_bytes);
    put_one(b, out, "tidegate_store_segments", "gauge", "Segments in use.", s.segments);
    put_one(b, out, "tidegate_store_free_segments", "gauge", "Segments to be used again.",
            s.free_segments);
    put_one(b, out, "tidegate_store_cache_bytes", "gauge", "Entries kept in memory.",
            (double)s.cache_bytes);
    put_one(b, out, "tidegate_store_full", "gauge", "1: the disk is full and publishing waits.",
            full);
}

/* ---- the request ---- */

struct metrics_part { /* of one worker */
    struct metric_rows *rows;
    struct limit_rows *limits;
    double paused; /* connections */
};

struct metrics {
    struct metric_rows *rows;
    struct limit_rows *limits;
    struct metrics_part *part[BROKER_WORKERS_MAX];
    double paused, events, events_dropped, folded;
    double dispatch_delayed_msgs, dispatch_delayed_bytes; /* by the broker's total */
    uint32_t topics[BROKER_WORKERS_MAX];                  /* by worker */
    bool store_full;
};

/* What shows whether the work is spread. */
static void put_workers(struct broker *b, struct bytes *out, const struct metrics *m)
{
    static const char conns[] = "tidegate_worker_connections", topics[] = "tidegate_worker_topics";
    char number[12];
    struct metric_label l[] = {{"cluster", b->settings->cluster_name}, {"worker", number}};
    metric_family(out, conns, "gauge", "Client connections of a worker.");
    for (int i = 0; i < b->shards; i++) {
        snprintf(number, sizeof number, "%d", i);
        metric_sample(
            out, conns, l, 2,
            (double)atomic_load_explicit(&b->shard[i].placed_connections, memory_order_relaxed));
    }
    metric_family(out, topics, "gauge", "Topics that live on a worker.");
    for (int i = 0; i < b->shards; i++) {
        snprintf(number, sizeof number, "%d", i);
        metric_sample(out, topics, l, 2, m->topics[i]);
    }
}

static void part_free(struct metrics_part *p)
{
    metric_rows_free(p->rows);
    limit_rows_free(p->limits);
    free(p);
}

static void merge(struct metrics *m, size_t most)
{
    for (int i = 0; i < BROKER_WORKERS_MAX; i++) {
        struct metrics_part *p = m->part[i];
        if (p == NULL)
            continue;
        metric_rows_merge(m->rows, p->rows);
        limit_rows_merge(m->limits, p->limits);
        m->paused += p->paused;
        free(p);
    }
    m->folded = (double)metric_rows_fold(m->rows, most);
}

static void put_own(struct broker *b, struct bytes *out, const struct metrics *m)
{
    put_one(
        b, out, "pulsar_broker_throttled_connections", "gauge",
        "Connections that are not read now, since a producer on them waits or they do not read.",
        m->paused);
    put_one(b, out, "pulsar_broker_dispatch_throttled_msg_count", "untyped",
            "Messages whose delivery waited for the broker's limit.", m->dispatch_delayed_msgs);
    put_one(b, out, "pulsar_broker_dispatch_throttled_bytes_count", "untyped",
            "Bytes whose delivery waited for the broker's limit.", m->dispatch_delayed_bytes);
    put_one(b, out, "tidegate_events_total", "counter", "Events recorded (tidegate events).",
            m->events);
    put_one(b, out, "tidegate_events_dropped_total", "counter", "Events that were too many.",
            m->events_dropped);
    put_one(b, out, "tidegate_metrics_rows_folded", "gauge",
            "Topics or namespaces that are added up as other: tidegateMetricsRows.", m->folded);
}

static void write_metrics(struct broker *b, void *gathered, struct bytes *out)
{
    struct metrics *m = gathered;
    size_t most = (size_t)b->settings->metric_rows;
    merge(m, most);
    put_broker(b, out, m->rows);
    put_own(b, out, m);
    put_rows(b, out, m->rows);
    put_backlogs(b, out, m->rows);
    metrics_put_limits(b->settings->cluster_name, out, m->limits, most);
    put_memory(b, out);
    put_store(b, out, m->store_full);
    put_workers(b, out, m);
    metric_rows_free(m->rows);
    limit_rows_free(m->limits);
    free(m);
}

static void *gather(struct broker *b, struct walk *w)
{
    struct metrics *m = xcalloc(1, sizeof *m);
    m->rows = metric_rows_new(b->settings->expose_topic_metrics);
    m->limits = limit_rows_new();
    limit_rows_add_quotas(m->limits, b->quotas, shard_now_ns(&b->shard[0]));
    struct waits_view v = waits_view(&b->quotas->broker[SIDE_DISPATCH]->quota.waits, 0);
    m->dispatch_delayed_msgs = (double)v.msgs;
    m->dispatch_delayed_bytes = (double)v.bytes;
    m->events = (double)events_recorded(b->events);
    m->events_dropped = (double)events_dropped(b->events);
    m->store_full = b->shard[0].store_state == LS_FULL;
    if (!m->rows->by_topic) /* also those without topics */
        for (struct ns *n = registry_namespaces(b->registry); n != NULL; n = n->hh.next)
            (void)metric_rows_ns(m->rows, n->name);
    for (int i = 0; i < w->parts; i++) {
        m->topics[i] = w->part[i].shown;
        m->part[i] = w->part[i].data;
    }
    return m;
}

static struct metrics_part *part_of(struct walk_part *part)
{
    if (part->data == NULL) {
        struct metrics_part *p = xcalloc(1, sizeof *p);
        p->rows = metric_rows_new(part->shard->broker->settings->expose_topic_metrics);
        p->limits = limit_rows_new();
        part->data = p;
    }
    return part->data;
}

static void show(struct walk_part *part, struct topic *t)
{
    struct metrics_part *p = part_of(part);
    metric_rows_add(p->rows, t);
    limit_rows_add(p->limits, t, false);
}

static void show_conn(struct walk_part *part, struct conn *c)
{
    if (c->front != NULL && pause_set_is_paused(&c->front->pause))
        part_of(part)->paused++;
}

static void drop(void *part_data)
{
    part_free(part_data);
}

void metrics_get(struct call *c)
{
    static const struct survey_kind kind = {
        .id = SURVEY_METRICS,
        .content_type = "text/plain; version=0.0.4; charset=utf-8",
        .per_turn = TOPICS_PER_TURN,
        .show = show,
        .show_conn = show_conn,
        .drop = drop,
        .gather = gather,
        .write = write_metrics,
    };
    survey_ask(c, &kind);
}
