/* cmd_producer.c - PRODUCER: registers the producer with its topic, which is here (opening.h saw to
 * it that it exists and that this is its worker). Access mode Shared only; schemas are accepted and
 * not checked. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/blocking.h"
#include "broker/conn.h"
#include "broker/kv.h"
#include "broker/names.h"
#include "broker/producer_hold.h"
#include "broker/subscription.h"

enum { INITIAL_SUBSCRIPTION_MAX = 1024 /* it becomes a metadata key and a log field */ };

#define E(name) PULSAR__PROTO__SERVER_ERROR__##name

void cmd_producer_answer(const struct producer *p, uint64_t request_id, bool ready)
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
    ok.producer_ready = ready;
    conn_send(p->conn, &cmd);
}

/* Each worker counts in steps of their number: so no two make the same name. */
static char *make_name(struct shard *s)
{
    const struct broker *b = s->broker;
    uint64_t number = s->next_producer_name++ * (uint64_t)b->shards + (uint64_t)s->index;
    return xasprintf("%s-%" PRIu64 "-%" PRIu64, b->settings->cluster_name, b->instance, number);
}

static bool has_name(const Pulsar__Proto__CommandProducer *in)
{
    return in->producer_name && *in->producer_name;
}

static bool is_users_name(const Pulsar__Proto__CommandProducer *in)
{
    return has_name(in) &&
           (!in->has_user_provided_producer_name || in->user_provided_producer_name);
}

static uint64_t epoch_of(const Pulsar__Proto__CommandProducer *in)
{
    return in->has_epoch ? in->epoch : 0;
}

/* A producer of that name is connected. A newer registration of the same one, or of a made-up name,
 * takes its place; any other has to go away. One that is held may have been closed by its client,
 * which then says nothing. */
static bool may_take_over(const struct conn *c, const Pulsar__Proto__CommandProducer *in,
                          const struct producer *old)
{
    bool same_one = old->conn == c && old->id == in->producer_id;
    if (old->conn == c && producer_is_held(old))
        return true;
    return old->epoch < epoch_of(in) && (same_one || !is_users_name(in));
}

static void on_initial_subscription(void *ctx, struct subscription *s, enum tg_err e)
{
    (void)ctx;
    (void)s;
    if (e)
        log_warn("an initial subscription could not be made: %s", err_text(e));
}

static void make_initial_subscription(struct topic *t, const char *name)
{
    struct sub_spec spec = {.name = name, .durable = true, .start = START_EARLIEST};
    if (name && *name)
        subscription_create(t, &spec, NULL, on_initial_subscription, NULL);
}

static void register_producer(struct conn *c, const Pulsar__Proto__CommandProducer *in,
                              struct topic *t)
{
    struct producer *old = has_name(in) ? topic_producer_by_name(t, in->producer_name) : NULL;
    if (old && !may_take_over(c, in, old)) {
        conn_send_error(c, in->request_id, E(ProducerBusy),
                        "Producer with name '%s' is already connected to topic", in->producer_name);
        conn_note_gone(c, ID_PRODUCER, in->producer_id);
        return;
    }
    const struct block *b = blocking_producer(c, &t->name, in->producer_name);
    if (b && b->disconnect) {
        conn_send_error(c, in->request_id, E(ServiceNotReady), "blocked by an administrator");
        conn_note_gone(c, ID_PRODUCER, in->producer_id);
        return;
    }
    if (old && old->conn != c)
        producer_send_away(old);
    else if (old)
        producer_close(old);
    char *name = has_name(in) ? xstrdup(in->producer_name) : make_name(c->shard);
    struct producer *p = producer_new(c, t, in->producer_id, name);
    p->epoch = epoch_of(in);
    p->name_from_user = is_users_name(in);
    p->metadata = key_values_to_json(in->metadata, in->n_metadata);
    make_initial_subscription(t, in->initial_subscription_name);
    log_info("producer %s: conn %" PRIu64 " %s, topic %s", p->name, c->id, p->address,
             t->name.full);
    cmd_producer_answer(p, in->request_id, true);
    block_set_on_producer(p, b);
}

const char *cmd_producer_problem(const Pulsar__Proto__CommandProducer *in)
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

static bool is_the_same(const struct producer *p, const Pulsar__Proto__CommandProducer *in)
{
    return topic_named(p->topic->shard, in->topic) == p->topic &&
           (!has_name(in) || strcmp(in->producer_name, p->name) == 0);
}

void cmd_producer(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandProducer *in = cmd->producer;
    struct producer *p = conn_producer(c, in->producer_id);
    c->ever_opened_producer = true;
    if (in->producer_id > c->max_producer_id)
        c->max_producer_id = in->producer_id;
    if (p && p->closing) {
        conn_send_error(c, in->request_id, E(ServiceNotReady),
                        "Producer is still being closed on the connection");
        return;
    }
    if (p && producer_is_held(p) && is_the_same(p, in)) {
        producer_hold_registered(p, in->request_id, epoch_of(in));
        return;
    }
    if (p && p->epoch >= epoch_of(in)) { /* asked twice */
        cmd_producer_answer(p, in->request_id, true);
        return;
    }
    if (p)
        producer_close(p); /* registered anew with a higher epoch */
    struct topic *t = topic_named(c->shard, in->topic);
    if (t) {
        register_producer(c, in, t);
        return;
    }
    conn_send_error(c, in->request_id, E(ServiceNotReady), "the topic can't be opened: %s",
                    err_text(TG_EBUSY));
    conn_note_gone(c, ID_PRODUCER, in->producer_id);
}
