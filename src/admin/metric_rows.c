/* metric_rows.c - see metric_rows.h. */
#include "admin/metric_rows.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "broker/dispatch_limit.h"
#include "broker/producer.h"
#include "broker/subscribe_limit.h"
#include "broker/subscription.h"

struct metric_rows *metric_rows_new(bool by_topic)
{
    struct metric_rows *r = xcalloc(1, sizeof *r);
    r->by_topic = by_topic;
    return r;
}

static void row_free(struct metric_rows *r, struct metric_row *row)
{
    HASH_DEL(r->row, row);
    free(row->key);
    free(row->ns);
    free(row);
}

void metric_rows_free(struct metric_rows *r)
{
    if (r == NULL)
        return;
    struct metric_row *row, *next;
    HASH_ITER(hh, r->row, row, next)
    {
        row_free(r, row);
    }
    for (size_t i = 0; i < r->backlogs; i++) {
        free(r->backlog[i].topic);
        free(r->backlog[i].ns);
        free(r->backlog[i].subscription);
    }
    free(r->backlog);
    free(r);
}

static struct metric_row *find_row(struct metric_rows *r, const char *key, const char *ns)
{
    struct metric_row *row;
    HASH_FIND_STR(r->row, key, row);
    if (row != NULL)
        return row;
    row = xcalloc(1, sizeof *row);
    row->key = xstrdup(key);
    row->ns = xstrdup(ns);
    row->is_topic = r->by_topic;
    HASH_ADD_KEYPTR(hh, r->row, row->key, strlen(row->key), row);
    return row;
}

struct metric_row *metric_rows_ns(struct metric_rows *r, const char *ns)
{
    return find_row(r, ns, ns);
}

/* ---- adding up ---- */

static void add_producers(struct metric_row *r, const struct topic *t, int64_t now_ns)
{
    for (const struct producer *p = t->producers; p != NULL; p = p->next) {
        r->producers++;
        r->parked_messages += (double)p->parking.messages;
        r->parked_bytes += (double)producer_parked_bytes(p);
        if (p->gate.step == GATE_OPEN)
            continue;
        r->throttled_producers++;
        r->throttled_s[p->counts.reason] += (double)(now_ns - p->counts.from_ns) / (double)MONO_S;
    }
}

static void add_throttling(struct metric_row *r, const struct topic_throttling *t)
{
    for (int limiter = 0; limiter <= REASON_BROKER; limiter++)
        r->rate_limit_hits[limiter] += (double)t->hits[limiter];
    r->throttlings += (double)t->times;
    r->forgotten += (double)t->forgotten;
    r->holds += (double)t->holds;
    r->discarded_messages += (double)t->discarded_msgs;
    r->discarded_bytes += (double)t->discarded_bytes;
    for (int reason = 0; reason < REASON_COUNT; reason++)
        r->throttled_s[reason] += (double)t->ns[reason] / (double)MONO_S;
}

struct delayed {
    double msgs, bytes;
};

/* What waited for this scope's limit. */
static struct delayed delayed_at(const struct scope *s)
{
    struct waits_view v = waits_view(s->waits, 0);
    return (struct delayed){(double)v.msgs, (double)v.bytes};
}

static void add_dispatch(struct metric_row *r, const struct topic *t, int64_t now_ns)
{
    const struct topic_line *line = topic_dispatch_line(t);
    if (line == NULL)
        return;
    struct delayed d = delayed_at(&line->scope);
    r->dispatch_delayed_msgs += d.msgs;
    r->dispatch_delayed_bytes += d.bytes;
    for (const struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next) {
        if (s->limit == NULL || !s->limit->throttled)
            continue;
        r->throttled_subscriptions++;
        if (s->limit->counts.reason != REASON_COUNT)
            r->dispatch_throttled_s += (double)(now_ns - s->limit->counts.from_ns) / (double)MONO_S;
    }
    const struct topic_throttling *past = topic_line_throttling_of(line);
    for (int reason = 0; reason < REASON_COUNT; reason++)
        r->dispatch_throttled_s += (double)past->ns[reason] / (double)MONO_S;
}

static void add_topic(struct metric_row *r, const struct topic *t, int64_t now_ns)
{
    r->topics++;
    r->rate_in += tg_meter_rate(&t->publish.scope.msgs, now_ns);
    r->rate_out += tg_meter_rate(&t->msgs_out, now_ns);
    r->throughput_in += tg_meter_rate(&t->publish.scope.bytes, now_ns);
    r->throughput_out += tg_meter_rate(&t->bytes_out, now_ns);
    r->in_messages += (double)tg_meter_total(&t->publish.scope.msgs);
    r->in_bytes += (double)tg_meter_total(&t->publish.scope.bytes);
    r->out_messages += (double)tg_meter_total(&t->msgs_out);
    r->out_bytes += (double)tg_meter_total(&t->bytes_out);
    r->storage += (double)t->storage_bytes;
    add_throttling(r, topic_line_throttling_of(&t->publish));
    add_producers(r, t, now_ns);
    add_dispatch(r, t, now_ns);
    if (t->subscribing != NULL)
        r->subscribing_refused += (double)t->subscribing->refused;
    for (const struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next) {
        r->subscriptions++;
        r->consumers += s->consumer_count;
        r->backlog += (double)subscription_backlog(s);
    }
}

static void add_backlogs(struct metric_rows *r, const struct topic *t)
{
    for (const struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next) {
        if (r->backlogs == r->backlogs_cap) {
            r->backlogs_cap = r->backlogs_cap != 0 ? 2 * r->backlogs_cap : 16;
            r->backlog = xrealloc(r->backlog, r->backlogs_cap * sizeof *r->backlog);
        }
        struct delayed d = s->limit != NULL ? delayed_at(&s->limit->own) : (struct delayed){0};
        r->backlog[r->backlogs++] = (struct metric_backlog){
            .topic = xstrdup(t->name.full),
            .ns = xstrdup(t->name.ns),
            .subscription = xstrdup(s->name),
            .messages = (double)subscription_backlog(s),
            .delayed_msgs = d.msgs,
            .delayed_bytes = d.bytes,
        };
    }
}

void metric_rows_add(struct metric_rows *r, const struct topic *t)
{
    struct metric_row *row = find_row(r, r->by_topic ? t->name.full : t->name.ns, t->name.ns);
    row->order = r->by_topic ? t->ledger : 0;
    add_topic(row, t, shard_now_ns(t->shard));
    if (r->by_topic)
        add_backlogs(r, t);
}

/* ---- putting together ---- */

static void add_row(struct metric_row *to, const struct metric_row *from)
{
    double *a = &to->topics;
    const double *b = &from->topics;
    size_t numbers = (sizeof *to - offsetof(struct metric_row, topics)) / sizeof *a;
    for (size_t i = 0; i < numbers; i++)
        a[i] += b[i];
}

/* Ledgers are numbered as topics are made, so who has a row keeps it, and counters don't jump. */
static int by_age(const struct metric_row *a, const struct metric_row *b)
{
    return a->order != b->order ? (a->order < b->order ? -1 : 1) : strcmp(a->key, b->key);
}

static int by_topic_and_name(const void *x, const void *y)
{
    const struct metric_backlog *a = x, *b = y;
    int order = strcmp(a->topic, b->topic);
    return order != 0 ? order : strcmp(a->subscription, b->subscription);
}

static void drop_backlogs(struct metric_rows *r, size_t most)
{
    if (r->backlogs <= most)
        return;
    qsort(r->backlog, r->backlogs, sizeof *r->backlog, by_topic_and_name);
    while (r->backlogs > most) {
        struct metric_backlog *b = &r->backlog[--r->backlogs];
        free(b->topic);
        free(b->ns);
        free(b->subscription);
    }
}

size_t metric_rows_fold(struct metric_rows *r, size_t most)
{
    size_t count = HASH_COUNT(r->row), n = 0, folded = 0;
    drop_backlogs(r, most);
    if (count <= most)
        return 0;
    HASH_SORT(r->row, by_age);
    struct metric_row *row, *next, *other = find_row(r, "other", "other");
    HASH_ITER(hh, r->row, row, next)
    {
        if (row == other || n++ < most)
            continue;
        add_row(other, row);
        row_free(r, row);
        folded++;
    }
    return folded;
}

void metric_rows_merge(struct metric_rows *into, struct metric_rows *from)
{
    for (struct metric_row *row = from->row; row != NULL; row = row->hh.next) {
        struct metric_row *to = find_row(into, row->key, row->ns);
        to->order = row->order > to->order ? row->order : to->order;
        add_row(to, row);
    }
    if (from->backlogs > 0) {
        size_t all = into->backlogs + from->backlogs;
        into->backlog = xrealloc(into->backlog, all * sizeof *into->backlog);
        memcpy(into->backlog + into->backlogs, from->backlog,
               from->backlogs * sizeof *from->backlog);
        into->backlogs = into->backlogs_cap = all;
        from->backlogs = 0; /* their texts have gone over */
    }
    metric_rows_free(from);
}
