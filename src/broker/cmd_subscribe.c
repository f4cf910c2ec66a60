/* cmd_subscribe.c - SUBSCRIBE: finds or makes the subscription of a topic that is here (opening.h
 * saw to it), connects the consumer, answers when the subscription's row is durable. Exclusive and
 * Shared; schemas are accepted and not checked; read_compacted and replicate_subscription_state are
 * accepted and have no effect.
 *
 * Error codes are chosen by what the clients do with them: NotAllowedError and TopicNotFound are
 * final, ServiceNotReady makes them try again. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/blocking.h"
#include "broker/consumer_opening.h"
#include "broker/kv.h"

#define E(name)    PULSAR__PROTO__SERVER_ERROR__##name
#define TYPE(name) PULSAR__PROTO__COMMAND_SUBSCRIBE__SUB_TYPE__##name

enum {
    SUBSCRIPTION_NAME_MAX = 1024, /* it becomes a metadata key and a log field */
    MADE_UP_NAME_DIGITS = 10,
};

/* ---- the way ends: answered, or nobody waits ---- */

static void opening_free(struct consumer_opening *o)
{
    if (o->consumer)
        o->consumer->opening = NULL;
    free(o->subscription);
    json_decref(o->properties);
    free(o);
}

void consumer_opening_cancel(struct consumer_opening *o)
{
    o->consumer->opening = NULL;
    o->consumer = NULL;
}

static void refuse(struct consumer_opening *o, enum refusal why, Pulsar__Proto__ServerError code,
                   const char *text)
{
    struct consumer *c = o->consumer;
    if (c) {
        refusal_log(why, c, o->subscription, text);
        conn_send_error_text(c->conn, o->request_id, code, text);
    }
    opening_free(o);
    if (c)
        consumer_close(c);
}

static void refuse_for(struct consumer_opening *o, enum tg_err e, const char *what)
{
    Pulsar__Proto__ServerError code = E(ServiceNotReady); /* "try again" */
    if (e == TG_ENOENT)
        code = E(TopicNotFound);
    else if (e == TG_ELIMIT)
        code = E(NotAllowedError);
    else if (e == TG_EIO || e == TG_ENOSPC)
        code = E(MetadataError);
    char *text = xasprintf("the %s can't be opened: %s", what, err_text(e));
    refuse(o, REFUSED_FAILED, code, text);
    free(text);
}

/* ---- second: the subscription is there ---- */

static void connect_consumer(struct consumer_opening *o, struct subscription *s)
{
    struct consumer *c = o->consumer;
    const struct block *b = blocking_consumer(c->conn, &s->topic->name);
    if (b && b->disconnect) {
        refuse(o, REFUSED_BLOCKED, E(ServiceNotReady), "blocked by an administrator");
        return;
    }
    switch (consumer_attach(c, s, o->type)) {
    case CONSUMER_EXCLUSIVE_TAKEN:
        refuse(o, REFUSED_TAKEN, E(ConsumerBusy), "Exclusive consumer is already connected");
        return;
    case CONSUMER_OTHER_TYPE:
        refuse(o, REFUSED_TAKEN, E(ConsumerBusy), "Subscription is of different type");
        return;
    case CONSUMER_OK:
        break;
    }
    log_info("topic %s: subscription %s: consumer %s: conn %" PRIu64 " %s", s->topic->name.full,
             s->name, c->name, c->conn->id, c->conn->peer);
    conn_send_success(c->conn, o->request_id);
    block_set_on_consumer(c, b);
    opening_free(o);
}

static void on_rolled_back(void *ctx, struct subscription *s, enum tg_err e)
{
    struct consumer_opening *o = ctx;
    if (!s)
        refuse_for(o, e, "subscription");
    else if (o->consumer)
        connect_consumer(o, s);
    else
        opening_free(o);
}

/* A new subscription that nobody wants any more and that would not go by itself. */
static void forget_unwanted(struct consumer_opening *o, struct subscription *s)
{
    if (s && !s->durable && !s->consumers && !s->lingers)
        subscription_free(s);
    opening_free(o);
}

static void on_subscription(void *ctx, struct subscription *s, enum tg_err e)
{
    struct consumer_opening *o = ctx;
    if (!o->consumer) {
        forget_unwanted(o, s);
    } else if (!s) {
        refuse_for(o, e, "subscription");
    } else if (s->durable != o->durable) {
        refuse(o, REFUSED_TAKEN, E(NotAllowedError),
               s->durable ? "Durable subscription with the same name already exists"
                          : "Non-durable subscription with the same name already exists");
    } else if (o->rollback_s > 0 && !o->existed) {
        int64_t now_ms = shard_wall_ns(s->shard) / MONO_MS;
        int64_t back_ms = o->rollback_s < INT32_MAX ? (int64_t)o->rollback_s * 1000 : now_ms;
        subscription_reset_to_time(s, now_ms - back_ms, on_rolled_back, o);
    } else {
        connect_consumer(o, s);
    }
}

/* ---- first: the command ---- */

static char *make_name(const struct conn *c, uint64_t consumer_id)
{
    uint64_t mixed =
        (c->id << 20 ^ consumer_id ^ (uint64_t)c->connected_wall_ns) * UINT64_C(0x9E3779B97F4A7C15);
    return xasprintf("%0*" PRIx64, MADE_UP_NAME_DIGITS, mixed >> (64 - 4 * MADE_UP_NAME_DIGITS));
}

static struct consumer_opening *opening_new(struct conn *c,
                                            const Pulsar__Proto__CommandSubscribe *in)
{
    struct consumer_opening *o = xcalloc(1, sizeof *o);
    bool named = in->consumer_name && *in->consumer_name;
    struct consumer *k = consumer_new(
        c, in->consumer_id, named ? xstrdup(in->consumer_name) : make_name(c, in->consumer_id));
    k->opening = o;
    k->priority = in->priority_level;
    k->has_epoch = in->has_consumer_epoch;
    k->epoch = in->consumer_epoch;
    k->metadata = key_values_to_json(in->metadata, in->n_metadata);
    o->consumer = k;
    o->request_id = in->request_id;
    o->subscription = xstrdup(in->subscription);
    o->type = in->subtype == TYPE(Shared) ? SUB_SHARED : SUB_EXCLUSIVE;
    o->durable = in->durable;
    o->start = in->initialposition == PULSAR__PROTO__COMMAND_SUBSCRIBE__INITIAL_POSITION__Earliest
                   ? START_EARLIEST
                   : START_LATEST;
    o->rollback_s = in->start_message_rollback_duration_sec;
    o->properties = key_values_to_json(in->subscription_properties, in->n_subscription_properties);
    if (!in->durable && in->start_message_id) {
        o->has_start_id = true;
        o->start_ledger = in->start_message_id->ledgerid;
        o->start_entry = in->start_message_id->entryid;
    }
    return o;
}

static void find_subscription(struct consumer_opening *o, struct topic *t)
{
    const struct settings *set = t->shard->broker->settings;
    if (o->durable && !set->allow_auto_subscription && !subscription_find(t, o->subscription)) {
        refuse(o, REFUSED_NO_SUB, E(SubscriptionNotFound), "Subscription does not exist");
        return;
    }
    struct sub_spec spec = {.name = o->subscription,
                            .durable = o->durable,
                            .start = o->start,
                            .properties = o->properties};
    if (o->has_start_id) {
        /* At that very entry: a client that wants what is after it drops it itself. */
        spec.start = START_AT;
        spec.start_entry = topic_position_to_entry(t, o->start_ledger, o->start_entry);
    }
    subscription_create(t, &spec, &o->existed, on_subscription, o);
}

const char *cmd_subscribe_problem(const Pulsar__Proto__CommandSubscribe *in)
{
    size_t len = strlen(in->subscription);
    if (len == 0)
        return "the subscription name is empty";
    if (len > SUBSCRIPTION_NAME_MAX || !name_is_valid_subscription(in->subscription))
        return "the subscription name is too long or has characters that are not allowed";
    if (in->consumer_name && !name_is_valid_producer(in->consumer_name))
        return "the consumer name is too long, or no UTF-8, or has control characters";
    if (in->subtype != TYPE(Exclusive) && in->subtype != TYPE(Shared))
        return "this broker serves the subscription types Exclusive and Shared only";
    if (in->subtype == TYPE(Shared) && in->read_compacted)
        return "read_compacted is for Exclusive subscriptions";
    if (key_values_bytes(in->metadata, in->n_metadata) > KEY_VALUES_MAX_BYTES ||
        key_values_bytes(in->subscription_properties, in->n_subscription_properties) >
            KEY_VALUES_MAX_BYTES)
        return "the properties are larger than 16 KiB";
    return NULL;
}

void cmd_subscribe(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandSubscribe *in = cmd->subscribe;
    struct consumer *k = conn_consumer(c, in->consumer_id);
    if (k && k->sub) { /* asked twice */
        conn_send_success(c, in->request_id);
        return;
    }
    if (k) {
        conn_send_error_text(c, in->request_id, E(ServiceNotReady),
                             "Consumer is already present on the connection");
        return;
    }
    struct topic *t = topic_named(c->shard, in->topic);
    struct consumer_opening *o = opening_new(c, in);
    k = o->consumer;
    if (!t)
        refuse_for(o, TG_EBUSY, "topic");
    else if (!subscribe_limit_admit(t->subscribing, &c->shard->subscribe_attempts, t->name.full,
                                    c->peer, k->name, k->id, shard_now_ns(c->shard)))
        refuse(o, REFUSED_OVER_RATE, E(ServiceNotReady),
               "it subscribes more often than subscribeRate allows");
    else
        find_subscription(o, t);
}
