/* consumer.c - a consumer of the load generator: permits out, messages in, acknowledgements out.
 *
 * Where the producer is one of this process, a message's latency runs from when its frame was
 * handed to the socket. It behaves as clients do: half of the permits used, they are given again;
 * ids to acknowledge are gathered, each message's own id, and sent many in one ACK. Of every
 * message it looks at the id, which must be the next one where the subscription is Exclusive; of
 * every CHECK_EACHth at the checksum and the metadata, so that the load generator does not spend
 * its time on that. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "load.h"
#include "wire/metadata.h"

enum { CHECK_EACH = 64 };

/* ---- commands out ---- */

void consumer_open(struct consumer *k)
{
    Pulsar__Proto__CommandSubscribe body = PULSAR__PROTO__COMMAND_SUBSCRIBE__INIT;
    body.topic = k->topic;
    body.subscription = k->group->subscription;
    body.subtype = k->group->shared ? PULSAR__PROTO__COMMAND_SUBSCRIBE__SUB_TYPE__Shared
                                    : PULSAR__PROTO__COMMAND_SUBSCRIBE__SUB_TYPE__Exclusive;
    body.consumer_id = k->id;
    body.request_id = CONSUMER_REQUESTS + k->id;
    body.has_initialposition = true;
    body.initialposition = PULSAR__PROTO__COMMAND_SUBSCRIBE__INITIAL_POSITION__Earliest;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__SUBSCRIBE;
    cmd.subscribe = &body;
    conn_send_command(k->conn, &cmd);
}

static void send_flow(struct consumer *k, int permits)
{
    Pulsar__Proto__CommandFlow body = PULSAR__PROTO__COMMAND_FLOW__INIT;
    body.consumer_id = k->id;
    body.messagepermits = (uint32_t)permits;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__FLOW;
    cmd.flow = &body;
    conn_send_command(k->conn, &cmd);
}

static void send_acks(struct consumer *k)
{
    static Pulsar__Proto__MessageIdData id[ACKS_MAX];
    static Pulsar__Proto__MessageIdData *ids[ACKS_MAX];
    Pulsar__Proto__CommandAck body = PULSAR__PROTO__COMMAND_ACK__INIT;
    for (int i = 0; i < k->unacked_count; i++) {
        pulsar__proto__message_id_data__init(&id[i]);
        id[i].ledgerid = k->ledger;
        id[i].entryid = k->unacked[i];
        ids[i] = &id[i];
    }
    body.consumer_id = k->id;
    body.ack_type = PULSAR__PROTO__COMMAND_ACK__ACK_TYPE__Individual;
    body.message_id = ids;
    body.n_message_id = (size_t)k->unacked_count;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__ACK;
    cmd.ack = &body;
    conn_send_command(k->conn, &cmd);
    k->unacked_count = 0;
}

/* Then an entry's id is its frame's number, and it is known when that was sent. */
static const struct producer *sender_of(const struct consumer *k)
{
    const struct load *l = k->conn->load;
    for (int i = 0; i < l->conn_count; i++)
        for (int p = 0; p < l->conns[i].producer_count; p++)
            if (strcmp(l->conns[i].producers[p]->topic, k->topic) == 0)
                return l->conns[i].producers[p];
    return NULL;
}

void consumer_begin(struct consumer *k)
{
    k->from = sender_of(k);
    send_flow(k, k->group->window);
}

/* ---- messages in ---- */

/* The ids of a MESSAGE's command: type, then CommandMessage with consumer and message id first. */
static uint64_t read_ids(const uint8_t *p, const uint8_t *end, uint64_t *ledger, uint64_t *entry)
{
    uint64_t consumer = UINT64_MAX;
    p += 3; /* 08 09 4a */
    read_varint(&p, end);
    while (p < end) {
        unsigned key = *p++;
        uint64_t v = read_varint(&p, end);
        if (key == 0x08)
            consumer = v;
        if (key != 0x12)
            continue;
        for (const uint8_t *id_end = v < (uint64_t)(end - p) ? p + v : end; p < id_end;) {
            unsigned id_key = *p++;
            uint64_t id = read_varint(&p, id_end);
            if (id_key == 0x08)
                *ledger = id;
            else if (id_key == 0x10)
                *entry = id;
        }
    }
    return consumer;
}

static bool is_intact(const struct group *g, const uint8_t *frame, size_t len)
{
    struct frame f;
    struct metadata_brief meta;
    const char *why;
    size_t need;
    return frame_parse(frame, len, len, &f, &need, &why) == FRAME_OK && f.has_checksum &&
           frame_checksum_ok(&f) && metadata_scan(f.body, f.body_len, &meta, &why) == TG_OK &&
           meta.messages == (int32_t)g->batch;
}

static void took_one(struct consumer *k, uint64_t entry)
{
    struct group *g = k->group;
    const struct producer *from = k->from;
    k->taken++;
    if (k->conn->load->measuring) {
        if (from && from->next_sequence - entry <= (uint64_t)from->group->window)
            histogram_add(&g->latency,
                          mono_now_ns() - from->sent_ns[entry % (uint64_t)from->group->window]);
        g->messages += (uint64_t)g->batch;
        g->frames_done++;
    }
    if (k->unacked_count == g->acks || k->taken == g->frames)
        send_acks(k);
    k->used += g->batch;
    if (k->used >= (g->window + 1) / 2) {
        send_flow(k, k->used);
        k->used = 0;
    }
    if (k->taken == g->frames)
        load_one_is_done(k->conn->load);
}

void consumer_message(struct conn *c, const uint8_t *frame, size_t len)
{
    uint64_t entry = 0, ledger = 0;
    const uint8_t *command = frame + 8;
    uint64_t id = read_ids(command, command + get_be32(frame + 4), &ledger, &entry);
    if (id >= (uint64_t)c->consumer_count)
        return;
    struct consumer *k = c->consumers[id];
    struct group *g = k->group;
    if (k->taken == 0) {
        k->ledger = ledger;
        k->next_entry = entry;
    }
    bool wrong = ledger != k->ledger || (!g->shared && entry != k->next_entry) ||
                 (k->taken % CHECK_EACH == 0 && !is_intact(g, frame, len));
    g->wrong_ids += wrong;
    k->next_entry = entry + 1;
    k->unacked[k->unacked_count++] = entry;
    took_one(k, entry);
}

/* ---- its life ---- */

void consumer_ready(struct consumer *k)
{
    if (k->ready)
        return;
    k->ready = true;
    load_one_is_ready(k->conn->load);
}

struct consumer *consumer_make(struct conn *c, struct group *g, int index)
{
    (void)index;
    struct consumer *k = xcalloc(1, sizeof(*k));
    k->conn = c;
    k->group = g;
    k->unacked = xcalloc((size_t)g->acks, sizeof(*k->unacked));
    return k;
}

void consumer_free(struct consumer *k)
{
    free(k->topic);
    free(k->unacked);
    free(k);
}
