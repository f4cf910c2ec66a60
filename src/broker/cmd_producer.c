/* cmd_producer.c - PRODUCER: finds or makes the topic, registers the producer, answers when the
 * topic's row is durable. Access mode Shared only; schemas are accepted and not checked. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/conn.h"
#include "broker/kv.h"
#include "broker/names.h"
#include "broker/opening.h"
#include "broker/producer.h"
#include "broker/subscription.h"

enum { INITIAL_SUBSCRIPTION_MAX = 1024 /* it becomes a metadata key and a log field */ };

#define E(name) PULSAR__PROTO__SERVER_ERROR__##name

static void send_producer_success(struct conn *c, uint64_t request_id, struct producer *p)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandProducerSuccess ok = PULSAR__PROTO__COMMAND_PRODUCER_SUCCESS__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__PRODUCER_SUCCESS;
    cmd.producer_success = &ok;
    ok.request_id = request_id;
    ok.producer_name = p->name;
    ok.has_last_sequence_id = true;
    ok.last_sequence_id = -1;
    ok.has_schema_version = true; /* empty: a Java client reads it unasked */
    ok.has_producer_ready = true;
    ok.producer_ready = true;
    conn_send(c, &cmd);
}

static char *make_name(struct shard *s)
{
    return xasprintf("%s-%" PRIu64 "-%" PRIu64, s->broker->settings->cluster_name,
                     s->broker->instance, s->next_producer_name++);
}

/* A producer of that name is connected. A newer registration of the same one, or of a made-up name,
 * takes its place; any other has to go away. */
static bool may_take_over(const struct opening *o, const struct producer *old)
{
    bool same_one = old->conn == o->conn && old->id == o->producer_id;
    return old->epoch < o->epoch && (same_one || !o->name_from_user);
}

static void on_initial_subscription(void *ctx, struct subscription *s, enum tg_err e)
{
    (void)ctx;
    (void)s;
    if (e)
        log_warn("an initial subscription could not be made: %s", err_text(e));
}

static void register_producer(struct opening *o, struct topic *t)
{
    struct conn *c = o->conn;
    struct producer *old = o->name ? topic_producer_by_name(t, o->name) : NULL;
    if (old && !may_take_over(o, old)) {
        conn_send_error(c, o->request_id, E(ProducerBusy),
                        "Producer with name '%s' is already connected to topic", o->name);
        return;
    }
    if (old && old->conn != c)
        producer_send_away(old);
    else if (old)
        producer_close(old);
    char *name = o->name ? o->name : make_name(c->shard);
    o->name = NULL;
    struct producer *p = producer_new(c, t, o->producer_id, name);
    p->epoch = o->epoch;
    p->name_from_user = o->name_from_user;
    p->metadata = o->metadata;
    o->metadata = NULL;
    if (o->initial_subscription) {
        struct sub_spec spec = {
            .name = o->initial_subscription, .durable = true, .start = START_EARLIEST};
        subscription_create(t, &spec, NULL, on_initial_subscription, NULL);
    }
    log_info("producer %s: conn %" PRIu64 " %s, topic %s", p->name, c->id, p->address,
             t->name.full);
    send_producer_success(c, o->request_id, p);
}

static void refuse_topic(struct opening *o, enum tg_err e)
{
    Pulsar__Proto__ServerError code = E(ServiceNotReady); /* "try again" */
    if (e == TG_ENOENT)
        code = E(TopicNotFound);
    else if (e == TG_ELIMIT)
        code = E(NotAllowedError);
    else if (e == TG_EIO || e == TG_ENOSPC)
        code = E(MetadataError);
    conn_send_error(o->conn, o->request_id, code, "the topic can't be opened: %s", err_text(e));
}

static void on_topic(void *ctx, struct topic *t, enum tg_err e)
{
    struct opening *o = ctx;
    if (o->conn && t)
        register_producer(o, t);
    else if (o->conn)
        refuse_topic(o, e);
    opening_free(o);
}

static void open_producer(struct conn *c, const Pulsar__Proto__CommandProducer *in,
                          const struct topic_name *n)
{
    struct opening *o = opening_new(c, in->producer_id, in->request_id);
    c->ever_opened_producer = true;
    if (in->producer_id > c->max_producer_id)
        c->max_producer_id = in->producer_id;
    if (in->producer_name && *in->producer_name)
        o->name = xstrdup(in->producer_name);
    o->name_from_user =
        o->name && (!in->has_user_provided_producer_name || in->user_provided_producer_name);
    o->epoch = in->has_epoch ? in->epoch : 0;
    o->metadata = key_values_to_json(in->metadata, in->n_metadata);
    if (in->initial_subscription_name && *in->initial_subscription_name)
        o->initial_subscription = xstrdup(in->initial_subscription_name);
    topic_create(c->shard, n, NULL, NULL, on_topic, o);
}

/* What is wrong with the command by itself; NULL when nothing is. */
static const char *problem_of(const Pulsar__Proto__CommandProducer *in)
{
    const char *sub = in->initial_subscription_name;
    if (in->producer_name && !name_is_valid_producer(in->producer_name))
        return "the producer name is too long, or no UTF-8, or has control characters";
    if (sub && *sub && (strlen(sub) > INITIAL_SUBSCRIPTION_MAX || !name_is_valid_subscription(sub)))
        return "the initial subscription's name is too long or has characters that are not allowed";
    if (key_values_bytes(in->metadata, in->n_metadata) > KEY_VALUES_MAX_BYTES)
        return "the producer's metadata are larger than 16 KiB";
    if (in->has_producer_access_mode &&
        in->producer_access_mode != PULSAR__PROTO__PRODUCER_ACCESS_MODE__Shared)
        return "only the producer access mode Shared is served by this broker";
    return NULL;
}

/* What must hold before the topic is looked at; an error was sent when false. */
static bool check(struct conn *c, const Pulsar__Proto__CommandProducer *in,
                  const struct topic_name *n)
{
    const struct settings *set = c->shard->broker->settings;
    const char *problem = n->persistent ? problem_of(in) : NON_PERSISTENT_REFUSED;
    if (problem)
        conn_send_error_text(c, in->request_id, E(NotAllowedError), problem);
    else if (c->producer_count + c->opening_count >= set->max_producers_per_connection)
        conn_send_error(c, in->request_id, E(NotAllowedError),
                        "a connection may have %" PRId64 " producers",
                        set->max_producers_per_connection);
    else if (registry_partitioned(c->shard->broker->registry, n->full))
        conn_send_error(c, in->request_id, E(NotAllowedError),
                        "%s is a partitioned topic: produce to its partitions", n->full);
    else if (!topic_may_be_opened(c->shard, n, set->allow_auto_topic_creation))
        conn_send_error(c, in->request_id, E(TopicNotFound), "Topic %s does not exist", n->full);
    else
        return true;
    return false;
}

void cmd_producer(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandProducer *in = cmd->producer;
    struct producer *p = conn_producer(c, in->producer_id);
    if (p && p->closing) {
        conn_send_error(c, in->request_id, E(ServiceNotReady),
                        "Producer is still being closed on the connection");
        return;
    }
    if (p && p->epoch >= (in->has_epoch ? in->epoch : 0)) { /* asked twice */
        send_producer_success(c, in->request_id, p);
        return;
    }
    if (opening_exists(c, in->producer_id)) {
        conn_send_error(c, in->request_id, E(ServiceNotReady),
                        "Producer is already present on the connection");
        return;
    }
    if (p)
        producer_close(p); /* registered anew with a higher epoch */
    struct topic_name n;
    const char *why;
    if (topic_name_parse(&n, in->topic, &why) != TG_OK) {
        conn_send_error(c, in->request_id, E(InvalidTopicName), "topic name: %s", why);
        return;
    }
    if (check(c, in, &n))
        open_producer(c, in, &n);
    topic_name_fini(&n);
}
