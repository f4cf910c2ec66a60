/* res_metrics.c - GET /metrics. Names are Pulsar's where it has one; ours begin with tidegate_.
 *
 * A series is a topic (and subscription) with exposeTopicLevelMetricsInPrometheus, else a
 * namespace. Both are the same rows: first one row per series is summed up, then each family is
 * written from all rows, since a family's samples must stand together. */
#include <stdlib.h>
#include <string.h>

#include "admin/metrics.h"
#include "admin/res.h"
#include "base/alloc.h"
#include "base/mono.h"
#include "broker/producer.h"
#include "throttle/reason.h"

struct row {
    const char *ns, *topic; /* topic NULL: of the whole namespace */
    double topics, producers, consumers, subscriptions;
    double rate_in, rate_out, throughput_in, throughput_out;
    double in_messages, in_bytes, out_messages, out_bytes;
    double storage, backlog, rate_limit_hits;
    double throttled_producers, parked_messages, parked_bytes, throttlings;
    double throttled_s[REASON_COUNT + 1]; /* by reason; the last is never shown */
};

struct rows {
    struct row *row;
    size_t count, cap;
};

static struct row *new_row(struct rows *r, const char *ns, const char *topic)
{
    if (r->count == r->cap) {
        r->cap = r->cap != 0 ? 2 * r->cap : 16;
        r->row = xrealloc(r->row, r->cap * sizeof *r->row);
    }
    struct row *n = &r->row[r->count++];
    *n = (struct row){.ns = ns, .topic = topic};
    return n;
}

/* ---- adding up ---- */

static void add_producers(struct row *r, const struct topic *t, int64_t now_ns)
{
    for (const struct producer *p = t->producers; p != NULL; p = p->next) {
        r->producers++;
        r->parked_messages += (double)p->parking.messages;
        r->parked_bytes += (double)producer_parked_bytes(p);
        if (p->gate.step == GATE_OPEN)
            continue;
        r->throttled_producers++;
        r->throttled_s[p->counted_reason] += (double)(now_ns - p->counted_from_ns) / (double)MONO_S;
    }
}

static void add_topic(struct row *r, const struct topic *t, int64_t now_ns)
{
    r->topics++;
    r->rate_in += tg_meter_rate(&t->scope.msgs, now_ns);
    r->rate_out += tg_meter_rate(&t->msgs_out, now_ns);
    r->throughput_in += tg_meter_rate(&t->scope.bytes, now_ns);
    r->throughput_out += tg_meter_rate(&t->bytes_out, now_ns);
    r->in_messages += (double)tg_meter_total(&t->scope.msgs);
    r->in_bytes += (double)tg_meter_total(&t->scope.bytes);
    r->out_messages += (double)tg_meter_total(&t->msgs_out);
    r->out_bytes += (double)tg_meter_total(&t->bytes_out);
    r->storage += (double)t->storage_bytes;
    r->rate_limit_hits += (double)t->rate_limit_hits;
    r->throttlings += (double)t->throttled_times;
    for (int reason = 0; reason < REASON_COUNT; reason++)
        r->throttled_s[reason] += (double)t->throttled_ns[reason] / (double)MONO_S;
    add_producers(r, t, now_ns);
    for (const struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next) {
        r->subscriptions++;
        r->consumers += s->consumer_count;
        r->backlog += (double)subscription_backlog(s);
    }
}

static void collect(struct call *c, struct rows *rows)
{
    bool by_topic = c->broker->settings->expose_topic_metrics;
    int64_t now_ns = shard_now_ns(c->shard);
    for (struct ns *n = registry_namespaces(res_registry(c)); n != NULL; n = n->hh.next) {
        struct row *r = by_topic ? NULL : new_row(rows, n->name, NULL);
        for (struct topic *t = n->topics; t != NULL; t = t->ns_next)
            if (res_topic_is_ready(t))
                add_topic(by_topic ? new_row(rows, n->name, t->name.full) : r, t, now_ns);
    }
}

/* ---- writing ---- */

struct family {
    const char *name, *type, *help;
    size_t offset; /* of the double in struct row */
};

#define FIELD(f) offsetof(struct row, f)
static const struct family families[] = {
    {"pulsar_topics_count", "gauge", "Topics, partitions counted one by one.", FIELD(topics)},
    {"pulsar_producers_count", "gauge", "Connected producers.", FIELD(producers)},
    {"pulsar_consumers_count", "gauge", "Connected consumers.", FIELD(consumers)},
    {"pulsar_subscriptions_count", "gauge", "Subscriptions.", FIELD(subscriptions)},
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
    {"pulsar_publish_rate_limit_times", "counter", "Frames that found a publish limit used up.",
     FIELD(rate_limit_hits)},
    {"tidegate_throttlings_total", "counter", "Times that a producer began to be throttled.",
     FIELD(throttlings)},
    {"tidegate_throttled_producers", "gauge", "Producers that wait now.",
     FIELD(throttled_producers)},
    {"tidegate_parked_messages", "gauge", "Messages parked for throttled producers.",
     FIELD(parked_messages)},
    {"tidegate_parked_bytes", "gauge", "Bytes parked for throttled producers.",
     FIELD(parked_bytes)},
};
enum { FAMILIES = sizeof families / sizeof *families };

static size_t labels_of(struct call *c, const struct row *r, struct metric_label l[4])
{
    l[0] = (struct metric_label){"cluster", c->broker->settings->cluster_name};
    l[1] = (struct metric_label){"namespace", r->ns};
    l[2] = (struct metric_label){"topic", r->topic};
    return r->topic != NULL ? 3 : 2;
}

static void put_rows(struct call *c, struct bytes *out, const struct rows *rows)
{
    struct metric_label l[4];
    for (int f = 0; f < FAMILIES; f++) {
        metric_family(out, families[f].name, families[f].type, families[f].help);
        for (size_t i = 0; i < rows->count; i++) {
            size_t n = labels_of(c, &rows->row[i], l);
            double value;
            memcpy(&value, (const char *)&rows->row[i] + families[f].offset, sizeof value);
            metric_sample(out, families[f].name, l, n, value);
        }
    }
    static const char seconds[] = "tidegate_throttled_seconds_total";
    metric_family(out, seconds, "counter",
                  "Seconds that producers were throttled, summed, by reason.");
    for (size_t i = 0; i < rows->count; i++)
        for (int r = 0; r < REASON_COUNT; r++) {
            double value = rows->row[i].throttled_s[r];
            size_t n = labels_of(c, &rows->row[i], l);
            if (value == 0 && r != REASON_TOPIC)
                continue;
            l[n++] = (struct metric_label){"reason", reason_name((enum throttle_reason)r)};
            metric_sample(out, seconds, l, n, value);
        }
}

static void put_backlogs(struct call *c, struct bytes *out)
{
    static const char name[] = "pulsar_subscription_back_log";
    if (!c->broker->settings->expose_topic_metrics)
        return;
    metric_family(out, name, "gauge", "Messages of a subscription not yet acknowledged.");
    for (struct topic *t = c->shard->topics; t != NULL; t = t->hh.next)
        for (struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next) {
            struct metric_label l[] = {{"cluster", c->broker->settings->cluster_name},
                                       {"namespace", t->name.ns},
                                       {"topic", t->name.full},
                                       {"subscription", s->name}};
            metric_sample(out, name, l, 4, (double)subscription_backlog(s));
        }
}

static void put_one(struct call *c, struct bytes *out, const char *name, const char *type,
                    const char *help, double value)
{
    struct metric_label l = {"cluster", c->broker->settings->cluster_name};
    metric_family(out, name, type, help);
    metric_sample(out, name, &l, 1, value);
}

static void put_broker(struct call *c, struct bytes *out, const struct rows *rows)
{
    double topics = 0, producers = 0, consumers = 0, rate_in = 0, rate_out = 0;
    for (size_t i = 0; i < rows->count; i++) {
        topics += rows->row[i].topics;
        producers += rows->row[i].producers;
        consumers += rows->row[i].consumers;
        rate_in += rows->row[i].rate_in;
        rate_out += rows->row[i].rate_out;
    }
    put_one(c, out, "pulsar_broker_topics_count", "gauge", "Topics of the broker.", topics);
    put_one(c, out, "pulsar_broker_producers_count", "gauge", "Its producers.", producers);
    put_one(c, out, "pulsar_broker_consumers_count", "gauge", "Its consumers.", consumers);
    put_one(c, out, "pulsar_broker_rate_in", "gauge", "Messages in per second.", rate_in);
    put_one(c, out, "pulsar_broker_rate_out", "gauge", "Messages out per second.", rate_out);
    put_one(c, out, "pulsar_active_connections", "gauge", "Client connections.",
            (double)HASH_COUNT(c->shard->conns));
    put_one(c, out, "pulsar_health", "gauge", "1: it answers.", 1);
}

static void put_memory(struct call *c, struct bytes *out)
{
    struct budget *b = &c->broker->budget;
    static const char used[] = "tidegate_memory_bytes", limit[] = "tidegate_memory_limit_bytes";
    metric_family(out, used, "gauge", "Memory that peers can make grow, by kind.");
    for (int k = 0; k < BUDGET_KINDS; k++) {
        struct metric_label l = {"kind", budget_kind_name((enum budget_kind)k)};
        metric_sample(out, used, &l, 1, (double)budget_used(b, (enum budget_kind)k));
    }
    metric_family(out, limit, "gauge", "The most of it, by kind; all: the whole budget.");
    for (int k = 0; k < BUDGET_KINDS; k++) {
        struct metric_label l = {"kind", budget_kind_name((enum budget_kind)k)};
        metric_sample(out, limit, &l, 1, (double)b->share_bytes[k]);
    }
    struct metric_label all = {"kind", "all"};
    metric_sample(out, limit, &all, 1, (double)b->total_bytes);
}

static void put_store(struct call *c, struct bytes *out)
{
    struct ls_stats s;
    ls_stats(c->broker->ledgers, &s);
    put_one(c, out, "tidegate_store_entries_total", "counter", "Entries appended.",
            (double)s.appended_entries);
    put_one(c, out, "tidegate_store_bytes_total", "counter", "Bytes appended.",
            (double)s.appended_bytes);
    put_one(c, out, "tidegate_store_commits_total", "counter", "Commit groups.", (double)s.commits);
    put_one(c, out, "tidegate_store_syncs_total", "counter", "Syncs to disk.", (double)s.syncs);
    put_one(c, out, "tidegate_store_log_bytes", "gauge", "Segments in use.", (double)s.log_bytes);
    put_one(c, out, "tidegate_store_live_bytes", "gauge", "Of entries that somebody may need.",
            (double)s.live_bytes);
    put_one(c, out, "tidegate_store_segments", "gauge", "Segments in use.", s.segments);
    put_one(c, out, "tidegate_store_free_segments", "gauge", "Segments to be used again.",
            s.free_segments);
    put_one(c, out, "tidegate_store_cache_bytes", "gauge", "Entries kept in memory.",
            (double)s.cache_bytes);
    put_one(c, out, "tidegate_store_full", "gauge", "1: the disk is full and publishing waits.",
            c->shard->store_state == LS_FULL);
}

void metrics_get(struct call *c)
{
    struct rows rows = {0};
    struct bytes out = {0};
    collect(c, &rows);
    put_broker(c, &out, &rows);
    put_rows(c, &out, &rows);
    put_backlogs(c, &out);
    put_memory(c, &out);
    put_store(c, &out);
    free(rows.row);
    reply_text(c, "text/plain; version=0.0.4; charset=utf-8", &out);
}
