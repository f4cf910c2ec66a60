/* limits_metrics.c - the rows of `limits` as metrics, labelled by the scope's kind and name, and by
 * what it limits: publish or dispatch. */
#include <string.h>

#include "admin/limit_rows.h"
#include "admin/metrics.h"
#include "base/mono.h"

struct family {
    const char *name, *type, *help;
    /* False: this scope has no such sample. */
    bool (*value)(const struct limit_row *row, double *out);
};

static bool rate_msgs(const struct limit_row *row, double *out)
{
    *out = tg_limit_per_second(&row->scope.spec, row->scope.spec.msgs.rate);
    return row->scope.spec.msgs.rate > 0;
}

static bool rate_bytes(const struct limit_row *row, double *out)
{
    *out = tg_limit_per_second(&row->scope.spec, row->scope.spec.bytes.rate);
    return row->scope.spec.bytes.rate > 0;
}

static bool balance_msgs(const struct limit_row *row, double *out)
{
    *out = (double)row->scope.balance_msgs;
    return row->scope.spec.msgs.rate > 0;
}

static bool balance_bytes(const struct limit_row *row, double *out)
{
    *out = (double)row->scope.balance_bytes;
    return row->scope.spec.bytes.rate > 0;
}

static bool waiting_producers(const struct limit_row *row, double *out)
{
    *out = row->waits.waiting;
    return row->side == SIDE_PUBLISH;
}

static bool waiting_subscriptions(const struct limit_row *row, double *out)
{
    *out = row->waits.waiting;
    return row->side == SIDE_DISPATCH;
}

#define VALUE(function, expression)                                                                \
    static bool function(const struct limit_row *row, double *out)                                 \
    {                                                                                              \
        *out = (double)(expression);                                                               \
        return true;                                                                               \
    }
VALUE(longest, (double)row->longest_ns / (double)MONO_S)
VALUE(summed, (double)row->waits.summed_ns / (double)MONO_S)
VALUE(wall, (double)row->waits.wall_ns / (double)MONO_S)
VALUE(times, row->waits.times)
VALUE(delayed_msgs, row->waits.msgs)
VALUE(delayed_bytes, row->waits.bytes)
VALUE(discarded_bytes, row->waits.discarded_bytes)
VALUE(parked_bytes, row->parked_bytes)

#define LIMIT(name) "tidegate_limit_" name
static const struct family families[] = {
    {LIMIT("rate_messages"), "gauge", "The limit, per second.", rate_msgs},
    {LIMIT("rate_bytes"), "gauge", "The limit, per second.", rate_bytes},
    {LIMIT("balance_messages"), "gauge", "Tokens; below zero: a debt.", balance_msgs},
    {LIMIT("balance_bytes"), "gauge", "Tokens; below zero: a debt.", balance_bytes},
    {LIMIT("waiting_producers"), "gauge", "Producers that wait for it now.", waiting_producers},
    {LIMIT("waiting_subscriptions"), "gauge", "Subscriptions that wait for it now.",
     waiting_subscriptions},
    {LIMIT("longest_wait_seconds"), "gauge", "Of those who wait now.", longest},
    {LIMIT("throttled_seconds_total"), "counter", "Summed over who waited.", summed},
    {LIMIT("throttled_wall_seconds_total"), "counter", "With anybody waiting.", wall},
    {LIMIT("throttlings_total"), "counter", "Times that one began to wait.", times},
    {LIMIT("delayed_messages_total"), "counter", "Messages that went on after a wait.",
     delayed_msgs},
    {LIMIT("delayed_bytes_total"), "counter", "Bytes that went on after a wait.", delayed_bytes},
    {LIMIT("discarded_bytes_total"), "counter", "Sent by held producers, to come again.",
     discarded_bytes},
    {LIMIT("parked_bytes"), "gauge", "Parked for producers that wait for it.", parked_bytes},
};
enum { FAMILIES = sizeof families / sizeof *families };

static int widest_first(const struct limit_row *a, const struct limit_row *b)
{
    if (a->kind != b->kind)
        return a->kind > b->kind ? -1 : 1;
    int order = strcmp(a->name, b->name);
    return order != 0 ? order : (int)a->side - (int)b->side;
}

void metrics_put_limits(const char *cluster, struct bytes *out, struct limit_rows *r, size_t most)
{
    HASH_SORT(r->row, widest_first);
    for (int f = 0; f < FAMILIES; f++) {
        size_t n = 0;
        metric_family(out, families[f].name, families[f].type, families[f].help);
        for (const struct limit_row *row = r->row; row != NULL && n < most; row = row->hh.next) {
            double value;
            if (!row->is_shown)
                continue;
            n++;
            const struct metric_label l[] = {{"cluster", cluster},
                                             {"scope", scope_kind_name(row->kind)},
                                             {"name", row->name},
                                             {"of", limit_side_name(row->side)}};
            if (families[f].value(row, &value))
                metric_sample(out, families[f].name, l, 4, value);
        }
    }
}
