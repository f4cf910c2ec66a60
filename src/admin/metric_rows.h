/* metric_rows.h - what /metrics shows of topics, added up: one row per topic or per namespace. Each
 * worker adds up its own topics, then the rows are put together; they hold copies only, so they can
 * be written on any thread. */
#ifndef ADMIN_METRIC_ROWS_H
#define ADMIN_METRIC_ROWS_H

#include "base/bytes.h"
#include "base/map.h"
#include "broker/topic.h"

struct metric_row {
    UT_hash_handle hh; /* by key */
    char *key;         /* the topic's name, or the namespace's */
    char *ns;
    uint64_t order; /* of a topic: later ones have higher ones */
    bool is_topic;
    /* everything from here on is added up */
    double topics, producers, consumers, subscriptions;
    double rate_in, rate_out, throughput_in, throughput_out;
    double in_messages, in_bytes, out_messages, out_bytes;
    double storage, backlog;
    double rate_limit_hits[REASON_BROKER + 1]; /* by limiter */
    double throttled_producers, parked_messages, parked_bytes, throttlings;
    double forgotten, holds, discarded_messages, discarded_bytes;
    double dispatch_delayed_msgs, dispatch_delayed_bytes; /* by limits of topics */
    double throttled_subscriptions, dispatch_throttled_s; /* whatever they wait for */
    double subscribing_refused;                           /* attempts over subscribeRate */
    double throttled_s[REASON_COUNT + 1];                 /* by reason; the last is never shown */
};

struct metric_backlog { /* of a subscription */
    char *topic, *ns, *subscription;
    double messages;
    double delayed_msgs, delayed_bytes; /* by its own limit */
};

struct metric_rows {
    bool by_topic;
    struct metric_row *row;         /* map */
    struct metric_backlog *backlog; /* by_topic only */
    size_t backlogs, backlogs_cap;
};

struct metric_rows *metric_rows_new(bool by_topic);
void metric_rows_free(struct metric_rows *r); /* NULL is fine */
/* On the topic's worker. */
void metric_rows_add(struct metric_rows *r, const struct topic *t);
/* The row of a namespace, made when it is not there. */
struct metric_row *metric_rows_ns(struct metric_rows *r, const char *ns);
/* Leaves at most <most> rows of their own, the oldest topics'; the others are added up in one that
 * is called "other". The same of backlogs, but that the others go. Returns how many rows it was. */
size_t metric_rows_fold(struct metric_rows *r, size_t most);
/* Takes all of <from> into <into>. */
void metric_rows_merge(struct metric_rows *into, struct metric_rows *from);

#endif
