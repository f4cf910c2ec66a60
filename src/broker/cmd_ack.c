/* cmd_ack.c - ACK, one by one or up to a position; answered only when the client asks for it
 * (request_id), and then also after an error.
 *
 * Batches are acknowledged whole: an ack_set that leaves some of its messages open acknowledges
 * nothing of its entry, so the whole batch comes again if the rest never follows. A message that
 * the client could not read (validation_error) counts as acknowledged: it would fail again. */
#include <inttypes.h>

#include "base/log.h"
#include "broker/subscription.h"

#define E(name) PULSAR__PROTO__SERVER_ERROR__##name

struct answer {
    bool is_error;
    Pulsar__Proto__ServerError code;
    const char *text;
};

static char *unconst(const char *s) /* protobuf-c wants its strings writable; it only reads them */
{
    union {
        const char *from;
        char *to;
    } u = {.from = s};
    return u.to;
}

static void send_answer(struct conn *c, const Pulsar__Proto__CommandAck *in, struct answer a)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandAckResponse out = PULSAR__PROTO__COMMAND_ACK_RESPONSE__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__ACK_RESPONSE;
    cmd.ackresponse = &out;
    out.consumer_id = in->consumer_id;
    out.has_request_id = true;
    out.request_id = in->request_id;
    out.has_error = a.is_error;
    out.error = a.code;
    out.message = a.is_error ? unconst(a.text) : NULL;
    conn_send(c, &cmd);
}

/* Some of the batch's messages are still open: bits that are set. */
static bool is_partial(const Pulsar__Proto__MessageIdData *id)
{
    for (size_t i = 0; i < id->n_ack_set; i++)
        if (id->ack_set[i] != 0)
            return true;
    return false;
}

static void ack_one_by_one(struct consumer *k, const Pulsar__Proto__CommandAck *in)
{
    for (size_t i = 0; i < in->n_message_id; i++) {
        const Pulsar__Proto__MessageIdData *id = in->message_id[i];
        if (id->ledgerid == k->sub->topic->ledger && !is_partial(id))
            consumer_ack(k, id->entryid);
    }
}

static struct answer ack_up_to(struct consumer *k, const Pulsar__Proto__CommandAck *in)
{
    struct subscription *s = k->sub;
    if (in->n_message_id != 1)
        return (struct answer){true, E(NotAllowedError),
                               "a cumulative acknowledgement has exactly one message id"};
    if (s->type == SUB_SHARED) {
        uint32_t more;
        if (log_gate_open(&s->log_gate, 1, shard_now_ns(s->shard), &more))
            log_warn("topic %s: subscription %s: a cumulative acknowledgement is ignored: it is "
                     "Shared (consumer %s, %" PRIu32 " more)",
                     s->topic->name.full, s->name, k->name, more);
        return (struct answer){0};
    }
    const Pulsar__Proto__MessageIdData *id = in->message_id[0];
    if (id->ledgerid != s->topic->ledger || (int64_t)id->entryid < 0)
        return (struct answer){0};
    if (!is_partial(id))
        consumer_ack_to(k, id->entryid);
    else if (id->entryid > 0)
        consumer_ack_to(k, id->entryid - 1);
    return (struct answer){0};
}

void cmd_ack(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandAck *in = cmd->ack;
    struct consumer *k = conn_consumer(c, in->consumer_id);
    struct answer a = {0};
    if (!k || !k->sub)
        a = (struct answer){true, E(MetadataError), "Consumer not found"};
    else if (in->has_txnid_most_bits && in->txnid_most_bits != 0)
        a = (struct answer){true, E(NotAllowedError), "Transactions are not enabled."};
    else if (in->ack_type == PULSAR__PROTO__COMMAND_ACK__ACK_TYPE__Cumulative)
        a = ack_up_to(k, in);
    else
        ack_one_by_one(k, in);
    if (in->has_request_id)
        send_answer(c, in, a);
}
