/* stats_json.c - what a topic is doing, as JSON: Pulsar's TopicStats with every name that clients
 * read, and beside it what throttling does to each producer.
 *
 * What is not kept here (transactions, offloading, compaction, filters) is shown as Pulsar shows it
 * when unused. Byte sizes of backlogs are estimates: entries times the mean size since the start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/res.h"
#include "base/alloc.h"
#include "base/mono.h"
#include "base/wall_time.h"
#include "broker/dispatch_limit.h"
#include "broker/producer_hold.h"
#include "broker/subscribe_limit.h"
#include "throttle/reason.h"

/* ---- small pieces ---- */

static void put_int(json_t *j, const char *key, int64_t v)
{
    json_object_set_new(j, key, json_integer(v));
}

static void put_real(json_t *j, const char *key, double v)
{
    json_object_set_new(j, key, json_real(v));
}

static void put_bool(json_t *j, const char *key, bool v)
{
    json_object_set_new(j, key, json_boolean(v));
}

static void put_text(json_t *j, const char *key, const char *v)
{
    json_object_set_new(j, key, json_string(v));
}

static void put_zeros(json_t *j, const char *const *keys)
{
    for (; *keys != NULL; keys++)
        put_int(j, *keys, 0);
}

static void put_wall_ms(json_t *j, const char *key, int64_t wall_ns)
{
    put_int(j, key, wall_ns / MONO_MS);
}

static void put_copy(json_t *j, const char *key, json_t *v)
{
    json_object_set_new(j, key, v != NULL ? json_deep_copy(v) : json_object());
}

json_t *json_iso_time(int64_t wall_ns)
{
    char text[WALL_TIME_MAX];
    wall_time_format(wall_ns, text);
    return json_string(text);
}

json_t *json_message_id(const struct topic *t, int64_t entry)
{
    return json_pack("{s:I,s:I,s:i,s:i,s:i}", "ledgerId", (json_int_t)t->ledger, "entryId",
                     (json_int_t)entry, "partitionIndex", t->name.partition, "batchIndex", -1,
                     "batchSize", 0);
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static void put_address(json_t *j, const char *address)
{
    char *text = xasprintf("/%s", address != NULL ? address : "");
    put_text(j, "address", text);
    free(text);
}

/* ---- producers ---- */

static void put_throttle(json_t *j, const struct producer *p, int64_t now_ns)
{
    bool throttled = p->gate.step != GATE_OPEN;
    put_bool(j, "throttled", throttled);
    put_text(j, "throttleStep", gate_step_name(p->gate.step));
    if (throttled) {
        enum throttle_reason r = gate_reason(&p->gate);
        if (r != REASON_COUNT)
            put_text(j, "throttledReason", reason_name(r));
        if (producer_waits_for(p) != NULL)
            put_text(j, "throttledScope", producer_waits_for(p));
        json_object_set_new(j, "throttledSince", json_iso_time(p->throttled_wall_ns));
    }
    put_int(j, "throttledMillisTotal", gate_throttled_ns(&p->gate, now_ns) / MONO_MS);
    put_int(j, "throttledTimes", (int64_t)p->gate.times);
    put_int(j, "parkedMessages", (int64_t)p->parking.messages);
    put_int(j, "parkedBytes", (int64_t)producer_parked_bytes(p));
    const struct producer_hold *h = p->held;
    put_int(j, "holds", h != NULL ? (int64_t)h->times : 0);
    put_int(j, "discardedMessages", h != NULL ? (int64_t)h->discarded_messages : 0);
    put_int(j, "discardedBytes", h != NULL ? (int64_t)h->discarded_bytes : 0);
}

static json_t *stats_of_producer(const struct producer *p, int64_t now_ns)
{
    json_t *j = json_object();
    put_text(j, "accessMode", "Shared");
    put_real(j, "msgRateIn", tg_meter_rate(&p->msgs, now_ns));
    put_real(j, "msgThroughputIn", tg_meter_rate(&p->bytes, now_ns));
    put_real(j, "averageMsgSize",
             ratio((double)tg_meter_total(&p->bytes), (double)tg_meter_total(&p->msgs)));
    put_real(j, "chunkedMessageRate", 0);
    put_int(j, "producerId", (int64_t)p->id);
    put_text(j, "producerName", p->name);
    put_bool(j, "supportsPartialProducer", false);
    put_address(j, p->address);
    json_object_set_new(j, "connectedSince", json_iso_time(p->connected_wall_ns));
    put_text(j, "clientVersion", p->client_version != NULL ? p->client_version : "");
    put_copy(j, "metadata", p->metadata);
    put_throttle(j, p, now_ns);
    return j;
}

/* ---- subscriptions ---- */

static json_t *stats_of_consumer(const struct consumer *k, int64_t now_ns)
{
    json_t *j = json_object();
    put_real(j, "msgRateOut", tg_meter_rate(&k->msgs_out, now_ns));
    put_real(j, "msgThroughputOut", tg_meter_rate(&k->bytes_out, now_ns));
    put_int(j, "bytesOutCounter", (int64_t)tg_meter_total(&k->bytes_out));
    put_int(j, "msgOutCounter", (int64_t)tg_meter_total(&k->msgs_out));
    put_real(j, "msgRateRedeliver", tg_meter_rate(&k->redelivered, now_ns));
    put_real(j, "messageAckRate", tg_meter_rate(&k->acks, now_ns));
    put_real(j, "chunkedMessageRate", 0);
    put_text(j, "consumerName", k->name);
    put_int(j, "availablePermits", k->permits);
    put_int(j, "unackedMessages", (int64_t)k->unacked_messages);
    put_int(j, "avgMessagesPerEntry", 0);
    put_bool(j, "blockedConsumerOnUnackedMsgs", k->blocked_on_unacked);
    put_address(j, k->conn->peer);
    json_object_set_new(j, "connectedSince", json_iso_time(k->connected_wall_ns));
    put_text(j, "clientVersion", k->conn->client_version != NULL ? k->conn->client_version : "");
    put_wall_ms(j, "lastAckedTimestamp", k->last_ack_wall_ns);
    put_wall_ms(j, "lastConsumedTimestamp", k->last_consumed_wall_ns);
    put_wall_ms(j, "lastConsumedFlowTimestamp", k->last_flow_wall_ns);
    put_copy(j, "metadata", k->metadata);
    return j;
}

static double mean_size(const struct topic *t)
{
    return ratio((double)tg_meter_total(&t->publish.scope.bytes),
                 (double)tg_meter_total(&t->publish.scope.msgs));
}

static int64_t backlog_size(const struct subscription *s)
{
    return (int64_t)((double)subscription_backlog(s) * mean_size(s->topic));
}

static const char *type_of(const struct subscription *s)
{
    if (s->consumers == NULL)
        return "None";
    return s->type == SUB_SHARED ? "Shared" : "Exclusive";
}

static void put_subscription_counts(json_t *j, const struct subscription *s)
{
    int64_t backlog = (int64_t)subscription_backlog(s);
    put_int(j, "msgBacklog", backlog);
    put_int(j, "msgBacklogNoDelayed", backlog);
    put_int(j, "backlogSize", backlog_size(s));
    put_bool(j, "blockedSubscriptionOnUnackedMsgs", s->blocked_on_unacked);
    put_int(j, "unackedMessages", (int64_t)s->unacked_messages);
    put_int(j, "nonContiguousDeletedMessagesRanges", s->cursor.ranges);
    put_wall_ms(j, "lastConsumedTimestamp", s->last_consumed_wall_ns);
    put_wall_ms(j, "lastAckedTimestamp", s->last_acked_wall_ns);
    put_wall_ms(j, "lastMarkDeleteAdvancedTimestamp", s->last_mark_delete_wall_ns);
    static const char *const zeros[] = {"earliestMsgPublishTimeInBacklog",
                                        "msgDelayed",
                                        "msgInReplay",
                                        "msgExpired",
                                        "totalMsgExpired",
                                        "lastExpireTimestamp",
                                        "drainingHashesCount",
                                        "drainingHashesClearedTotal",
                                        "drainingHashesUnackedMessages",
                                        "nonContiguousDeletedMessagesRangesSerializedSize",
                                        "delayedMessageIndexSizeInBytes",
                                        "filterProcessedMsgCount",
                                        "filterAcceptedMsgCount",
                                        "filterRejectedMsgCount",
                                        "filterRescheduledMsgCount",
                                        NULL};
    put_zeros(j, zeros);
}

/* Pulsar counts reads that a limit cut; here: how often the subscription found a limit used up. It
 * has two counters for each limiter, by what was used up. Messages and bytes delayed are ours. */
static void put_dispatch_throttling(json_t *j, const struct subscription *s)
{
    static const struct {
        enum throttle_reason limiter;
        const char *msgs, *bytes;
    } events[] = {{REASON_SUBSCRIPTION, "dispatchThrottledMsgEventsBySubscriptionLimit",
                   "dispatchThrottledBytesEventsBySubscriptionLimit"},
                  {REASON_TOPIC, "dispatchThrottledMsgEventsByTopicLimit",
                   "dispatchThrottledBytesEventsByTopicLimit"},
                  {REASON_BROKER, "dispatchThrottledMsgEventsByBrokerLimit",
                   "dispatchThrottledBytesEventsByBrokerLimit"}};
    const struct dispatch_limit *lim = s->limit;
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        put_int(j, events[i].msgs, lim ? (int64_t)lim->hits[events[i].limiter][0] : 0);
        put_int(j, events[i].bytes, lim ? (int64_t)lim->hits[events[i].limiter][1] : 0);
    }
    enum throttle_reason r = dispatch_reason(s);
    bool throttled = lim != NULL && lim->throttled;
    put_bool(j, "throttled", throttled);
    put_int(j, "dispatchThrottledMsgCount", lim ? (int64_t)lim->delayed.msgs : 0);
    put_int(j, "dispatchThrottledBytesCount", lim ? (int64_t)lim->delayed.bytes : 0);
    if (throttled && r != REASON_COUNT)
        put_text(j, "throttledReason", reason_name(r));
    if (throttled && dispatch_waits_for(s) != NULL)
        put_text(j, "throttledScope", dispatch_waits_for(s));
    if (throttled)
        json_object_set_new(j, "throttledSince", json_iso_time(lim->throttled_wall_ns));
}

static void put_consumers(json_t *j, const struct subscription *s, bool exclude, int64_t now_ns)
{
    json_t *list = json_array();
    int64_t last_flow_ns = 0;
    double ack_rate = 0;
    for (struct consumer *k = s->consumers; k != NULL; k = k->next) {
        if (k->last_flow_wall_ns > last_flow_ns)
            last_flow_ns = k->last_flow_wall_ns;
        ack_rate += tg_meter_rate(&k->acks, now_ns);
        if (!exclude)
            json_array_append_new(list, stats_of_consumer(k, now_ns));
    }
    json_object_set_new(j, "consumers", list);
    put_wall_ms(j, "lastConsumedFlowTimestamp", last_flow_ns);
    put_real(j, "messageAckRate", ack_rate);
    if (s->type == SUB_EXCLUSIVE && s->consumers != NULL)
        put_text(j, "activeConsumerName", s->consumers->name);
}

static json_t *stats_of_subscription(const struct subscription *s, const struct stats_options *o,
                                     int64_t now_ns)
{
    json_t *j = json_object();
    put_real(j, "msgRateOut", tg_meter_rate(&s->msgs_out, now_ns));
    put_real(j, "msgThroughputOut", tg_meter_rate(&s->bytes_out, now_ns));
    put_int(j, "bytesOutCounter", (int64_t)tg_meter_total(&s->bytes_out));
    put_int(j, "msgOutCounter", (int64_t)tg_meter_total(&s->msgs_out));
    put_real(j, "msgRateRedeliver", tg_meter_rate(&s->redelivered, now_ns));
    put_real(j, "msgRateExpired", 0);
    put_real(j, "chunkedMessageRate", 0);
    put_text(j, "type", type_of(s));
    put_subscription_counts(j, s);
    put_dispatch_throttling(j, s);
    put_consumers(j, s, o->exclude_consumers, now_ns);
    put_bool(j, "isDurable", s->durable);
    put_bool(j, "durable", s->durable);
    put_bool(j, "isReplicated", false);
    put_bool(j, "replicated", false);
    put_bool(j, "allowOutOfOrderDelivery", false);
    json_object_set_new(j, "consumersAfterMarkDeletePosition", json_object());
    put_copy(j, "subscriptionProperties", s->properties);
    return j;
}

/* ---- topic ---- */

static void put_topic_throttle(json_t *j, const struct topic *t, int64_t now_ns)
{
    int64_t throttled = 0, total_ns = 0;
    uint64_t parked_messages = 0, parked_bytes = 0;
    const struct producer *first = NULL;
    for (struct producer *p = t->producers; p != NULL; p = p->next) {
        parked_messages += p->parking.messages;
        parked_bytes += producer_parked_bytes(p);
        if (p->gate.step == GATE_OPEN)
            continue;
        throttled++;
        total_ns += now_ns - p->counts.from_ns;
        if (first == NULL || p->throttled_wall_ns < first->throttled_wall_ns)
            first = p;
    }
    const struct topic_throttling *past = topic_line_throttling_of(&t->publish);
    for (int reason = 0; reason < REASON_COUNT; reason++)
        total_ns += past->ns[reason];
    put_bool(j, "throttled", throttled > 0);
    put_int(j, "throttledPublishers", throttled);
    if (first != NULL) {
        enum throttle_reason r = gate_reason(&first->gate);
        if (r != REASON_COUNT)
            put_text(j, "throttledReason", reason_name(r));
        json_object_set_new(j, "throttledSince", json_iso_time(first->throttled_wall_ns));
    }
    put_int(j, "throttledMillisTotal", total_ns / MONO_MS);
    put_int(j, "throttledTimes", (int64_t)past->times);
    put_int(j, "parkedMessages", (int64_t)parked_messages);
    put_int(j, "parkedBytes", (int64_t)parked_bytes);
    put_int(j, "refusedSubscribes", t->subscribing != NULL ? (int64_t)t->subscribing->refused : 0);
    put_int(j, "holds", (int64_t)past->holds);
    put_int(j, "discardedMessages", (int64_t)past->discarded_msgs);
    put_int(j, "discardedBytes", (int64_t)past->discarded_bytes);
}

static void put_topic_rates(json_t *j, const struct topic *t, int64_t now_ns)
{
    put_real(j, "msgRateIn", tg_meter_rate(&t->publish.scope.msgs, now_ns));
    put_real(j, "msgThroughputIn", tg_meter_rate(&t->publish.scope.bytes, now_ns));
    put_real(j, "msgRateOut", tg_meter_rate(&t->msgs_out, now_ns));
    put_real(j, "msgThroughputOut", tg_meter_rate(&t->bytes_out, now_ns));
    put_int(j, "bytesInCounter", (int64_t)tg_meter_total(&t->publish.scope.bytes));
    put_int(j, "msgInCounter", (int64_t)tg_meter_total(&t->publish.scope.msgs));
    put_int(j, "bytesOutCounter", (int64_t)tg_meter_total(&t->bytes_out));
    put_int(j, "msgOutCounter", (int64_t)tg_meter_total(&t->msgs_out));
    put_real(j, "averageMsgSize", mean_size(t));
}

static void put_topic_unused(json_t *j)
{
    static const char *const zeros[] = {"systemTopicBytesInCounter",
                                        "bytesOutInternalCounter",
                                        "earliestMsgPublishTimeInBacklogs",
                                        "offloadedStorageSize",
                                        "lastOffloadLedgerId",
                                        "lastOffloadSuccessTimeStamp",
                                        "lastOffloadFailureTimeStamp",
                                        "ongoingTxnCount",
                                        "abortedTxnCount",
                                        "committedTxnCount",
                                        "waitingPublishers",
                                        "nonContiguousDeletedMessagesRangesSerializedSize",
                                        "delayedMessageIndexSizeInBytes",
                                        NULL};
    put_zeros(j, zeros);
    put_bool(j, "msgChunkPublished", false);
    put_int(j, "backlogQuotaLimitSize", -1);
    put_int(j, "backlogQuotaLimitTime", -1);
    put_int(j, "oldestBacklogMessageAgeSeconds", -1);
    json_object_set_new(j, "replication", json_object());
    put_text(j, "deduplicationStatus", "Disabled");
    json_object_set_new(j, "compaction",
                        json_pack("{s:i,s:i,s:i,s:i}", "lastCompactionRemovedEventCount", 0,
                                  "lastCompactionSucceedTimestamp", 0,
                                  "lastCompactionFailedTimestamp", 0,
                                  "lastCompactionDurationTimeInMills", 0));
}

static int64_t hits_of(const struct topic *t)
{
    uint64_t sum = 0;
    for (int r = 0; r <= REASON_BROKER; r++)
        sum += topic_line_throttling_of(&t->publish)->hits[r];
    return (int64_t)sum;
}

static void put_lists(json_t *j, struct topic *t, const struct stats_options *o, int64_t now_ns)
{
    json_t *publishers = json_array(), *subscriptions = json_object();
    int64_t size = 0, ranges = 0;
    for (struct producer *p = t->producers; !o->exclude_publishers && p != NULL; p = p->next)
        json_array_append_new(publishers, stats_of_producer(p, now_ns));
    for (struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next) {
        int64_t own = backlog_size(s);
        size = own > size ? own : size; /* they share what they wait for: the longest counts */
        ranges += s->cursor.ranges;
        json_object_set_new(subscriptions, s->name, stats_of_subscription(s, o, now_ns));
    }
    json_object_set_new(j, "publishers", publishers);
    json_object_set_new(j, "subscriptions", subscriptions);
    put_int(j, "backlogSize", size);
    put_int(j, "nonContiguousDeletedMessagesRanges", ranges);
}

json_t *stats_of_topic(struct topic *t, const struct stats_options *o)
{
    int64_t now_ns = shard_now_ns(t->shard);
    json_t *j = json_object();
    put_topic_rates(j, t, now_ns);
    put_int(j, "storageSize", (int64_t)t->storage_bytes);
    put_int(j, "publishRateLimitedTimes", hits_of(t));
    put_lists(j, t, o, now_ns);
    put_topic_unused(j);
    put_wall_ms(j, "topicCreationTimeStamp", t->created_wall_ns);
    put_wall_ms(j, "lastPublishTimeStamp", t->last_publish_wall_ns);
    const char *web = t->shard->broker->web_url;
    put_text(j, "ownerBroker",
             web != NULL && strstr(web, "://") != NULL ? strstr(web, "://") + 3 : "");
    put_topic_throttle(j, t, now_ns);
    return j;
}

/* ---- partitioned: sums ---- */

/* Numbers that are no amounts: the largest of all stands for them. */
static bool is_no_amount(const char *key)
{
    static const char *const keys[] = {
        "backlogQuotaLimitSize",          "backlogQuotaLimitTime",
        "oldestBacklogMessageAgeSeconds", "averageMsgSize",
        "topicCreationTimeStamp",         "lastPublishTimeStamp",
        "lastConsumedTimestamp",          "lastAckedTimestamp",
        "lastConsumedFlowTimestamp",      "lastMarkDeleteAdvancedTimestamp"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static void add_number(json_t *sum, const char *key, json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        json_int_t x = json_integer_value(a), y = json_integer_value(b);
        json_object_set_new(sum, key, json_integer(!is_no_amount(key) ? x + y : x > y ? x : y));
    } else {
        double x = json_number_value(a), y = json_number_value(b);
        json_object_set_new(sum, key, json_real(!is_no_amount(key) ? x + y : x > y ? x : y));
    }
}

/* Two levels deep: the topic, and below it each subscription. */
static void add_stats(json_t *sum, const json_t *more, int depth)
{
    const char *key;
    json_t *b;
    json_object_foreach((json_t *)(uintptr_t)more, key, b)
    {
        json_t *a = json_object_get(sum, key);
        if (a == NULL)
            json_object_set_new(sum, key, json_deep_copy(b));
        else if (json_is_number(a) && json_is_number(b))
            add_number(sum, key, a, b);
        else if (json_is_boolean(a) && json_is_true(b))
            json_object_set_new(sum, key, json_true());
        else if (json_is_array(a) && json_is_array(b))
            json_array_extend(a, b);
        else if (json_is_object(a) && json_is_object(b) && depth > 0)
            add_stats(a, b, depth - 1);
    }
}

json_t *metadata_of_partitioned(const struct partitioned *p)
{
    json_t *metadata = json_pack("{s:i,s:b}", "partitions", p->partitions, "deleted", 0);
    if (p->properties != NULL)
        json_object_set(metadata, "properties", p->properties);
    return metadata;
}

json_t *stats_of_partitioned(json_t *metadata, json_t *each, bool per_partition)
{
    json_t *sum = json_object();
    const char *topic;
    json_t *one;
    json_object_foreach(each, topic, one)
    {
        add_stats(sum, one, 2);
    }
    json_object_del(sum, "ownerBroker");
    put_real(sum, "averageMsgSize",
             ratio((double)json_integer_value(json_object_get(sum, "bytesInCounter")),
                   (double)json_integer_value(json_object_get(sum, "msgInCounter"))));
    json_object_set(sum, "metadata", metadata);
    json_object_set_new(sum, "partitions", per_partition ? json_incref(each) : json_object());
    return sum;
}

/* ---- internalStats ---- */

static void put_position(json_t *j, const char *key, const struct topic *t, int64_t entry)
{
    char text[64];
    snprintf(text, sizeof text, "%llu:%lld", (unsigned long long)t->ledger, (long long)entry);
    put_text(j, key, text);
}

enum { RANGES_SHOWN = 1000 };

static void put_ranges(json_t *j, const struct topic *t, const struct cursor *k)
{
    struct bytes text = {0};
    bytes_printf(&text, "[");
    for (uint32_t i = 0; i < k->ranges && i < RANGES_SHOWN; i++)
        bytes_printf(&text, "%s(%llu:%lld..%llu:%lld]", i > 0 ? "," : "",
                     (unsigned long long)t->ledger, (long long)k->range[i].first - 1,
                     (unsigned long long)t->ledger, (long long)k->range[i].last);
    bytes_printf(&text, "]");
    put_text(j, "individuallyDeletedMessages", (const char *)text.data);
    bytes_fini(&text);
}

static json_t *internal_of_cursor(const struct topic *t, const struct subscription *s)
{
    json_t *j = json_object();
    put_position(j, "markDeletePosition", t, (int64_t)s->cursor.next - 1);
    put_position(j, "readPosition", t, (int64_t)s->read_next);
    put_bool(j, "waitingReadOp", s->consumers != NULL && s->read_next >= t->durable_end);
    put_int(j, "pendingReadOps", s->reading ? 1 : 0);
    put_int(j, "messagesConsumedCounter", (int64_t)s->cursor.next);
    put_int(j, "cursorLedger", -1);
    put_int(j, "cursorLedgerLastEntry", -1);
    put_ranges(j, t, &s->cursor);
    json_object_set_new(j, "lastLedgerSwitchTimestamp", json_iso_time(t->created_wall_ns));
    put_text(j, "state", "Open");
    put_bool(j, "active", s->consumers != NULL);
    put_int(j, "numberOfEntriesSinceFirstNotAckedMessage",
            (int64_t)(s->read_next - s->cursor.next + 1));
    put_int(j, "totalNonContiguousDeletedMessagesRange", s->cursor.ranges);
    put_bool(j, "subscriptionHavePendingRead", s->reading);
    put_bool(j, "subscriptionHavePendingReplayRead", false);
    json_object_set_new(j, "properties", json_object());
    return j;
}

static json_t *internal_ledger(int64_t ledger, int64_t entries, int64_t size)
{
    return json_pack("{s:I,s:I,s:I,s:b,s:b}", "ledgerId", (json_int_t)ledger, "entries",
                     (json_int_t)entries, "size", (json_int_t)size, "offloaded", 0,
                     "underReplicated", 0);
}

json_t *stats_internal(struct topic *t)
{
    uint64_t first = ls_first_entry(t->shard->broker->ledgers, t->ledger);
    int64_t entries = first < t->durable_end ? (int64_t)(t->durable_end - first) : 0;
    int64_t size = (int64_t)t->storage_bytes;
    json_t *j = json_object();
    put_int(j, "entriesAddedCounter", (int64_t)t->durable_end);
    put_int(j, "numberOfEntries", entries);
    put_int(j, "totalSize", size);
    put_int(j, "currentLedgerEntries", entries);
    put_int(j, "currentLedgerSize", size);
    json_object_set_new(j, "lastLedgerCreatedTimestamp", json_iso_time(t->created_wall_ns));
    put_int(j, "waitingCursorsCount", 0);
    put_int(j, "pendingAddEntriesCount", t->ring_len);
    put_position(j, "lastConfirmedEntry", t, (int64_t)t->durable_end - 1);
    put_text(j, "state", "LedgerOpened");
    json_object_set_new(j, "ledgers",
                        json_pack("[o]", internal_ledger((int64_t)t->ledger, entries, size)));
    json_t *cursors = json_object();
    for (struct subscription *s = t->subscriptions; s != NULL; s = s->hh.next)
        json_object_set_new(cursors, s->name, internal_of_cursor(t, s));
    json_object_set_new(j, "cursors", cursors);
    put_copy(j, "properties", t->properties);
    json_object_set_new(j, "schemaLedgers", json_array());
    json_object_set_new(j, "compactedLedger", internal_ledger(-1, -1, -1));
    return j;
}
