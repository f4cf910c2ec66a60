/* cmd_send.c - SEND: the hot command. Parsed by hand, its body is checked (checksum, metadata) and
 * handed to publish.c. Its size is bounded by the frame's: clients cut chunks to the maximum
 * message size before they write the chunk's own metadata, so a little over it must pass. A limit
 * is never answered with SEND_ERROR: most codes make a client drop its connection. */
#include <inttypes.h>

#include "base/crc32c.h"
#include "broker/conn.h"
#include "broker/producer.h"
#include "wire/metadata.h"

#define E(name) PULSAR__PROTO__SERVER_ERROR__##name

/* In a batch: the size of its own metadata, and these, which hold at least the payload's size. */
enum { BATCHED_MESSAGE_MIN = 4 + 2 };

static void send_error(struct conn *c, const struct send_brief *s, Pulsar__Proto__ServerError code,
                       char *text)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandSendError err = PULSAR__PROTO__COMMAND_SEND_ERROR__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__SEND_ERROR;
    cmd.send_error = &err;
    err.producer_id = s->producer_id;
    err.sequence_id =
        s->highest_sequence_id > s->sequence_id ? s->highest_sequence_id : s->sequence_id;
    err.error = code;
    err.message = text;
    conn_send(c, &cmd);
}

/* The sender of a SEND, or NULL: the frame is then dealt with. */
static struct producer *find_sender(struct conn *c, const struct send_brief *s)
{
    struct producer *p = conn_producer(c, s->producer_id);
    if (p)
        return p->closing ? NULL : p;
    if (s->producer_id > c->max_producer_id || !c->ever_opened_producer)
        conn_close(c, "SEND for producer %" PRIu64 ", which was never opened", s->producer_id);
    return NULL; /* closed a moment ago, by either side: what still arrives is ignored */
}

static bool body_is_good(struct conn *c, const struct frame *f, const struct send_brief *s,
                         struct metadata_brief *meta)
{
    static char bad_checksum[] = "Checksum failed on the broker";
    static char no_txn[] = "Transactions are not enabled.";
    const char *why;
    if (f->has_checksum && !frame_checksum_ok(f)) {
        send_error(c, s, E(ChecksumError), bad_checksum);
        return false;
    }
    if (metadata_scan(f->body, f->body_len, meta, &why) != TG_OK) {
        conn_close(c, "SEND for producer %" PRIu64 ": %s", s->producer_id, why);
        return false;
    }
    if (s->has_txn) {
        send_error(c, s, E(NotAllowedError), no_txn);
        return false;
    }
    return true;
}

/* The client's count is believed as far as there is room for so many: one small frame that says
 * 2^31 would put all who share a quota in debt for days. Compressed, it may be as many as fit the
 * largest frame that is not. */
static uint32_t count_of(const struct conn *c, const struct metadata_brief *m)
{
    uint32_t largest = (uint32_t)c->shard->broker->settings->max_message_bytes;
    uint32_t bytes = m->compression == 0 ? m->payload_len : m->uncompressed_size;
    uint32_t most = (bytes < largest ? bytes : largest) / BATCHED_MESSAGE_MIN;
    uint32_t said = (uint32_t)m->messages;
    if (said <= most || said == 1)
        return said;
    return most > 0 ? most : 1;
}

void cmd_send(struct conn *c, const struct frame *f)
{
    struct send_brief s;
    struct metadata_brief meta;
    if (command_parse_send(f->command, f->command_len, &s) != TG_OK || !f->has_body) {
        conn_close(c, "malformed SEND command");
        return;
    }
    struct producer *p = find_sender(c, &s);
    if (!p || !body_is_good(c, f, &s, &meta))
        return;
    struct publish m = {
        .sequence_id = s.sequence_id,
        .highest_sequence_id = s.highest_sequence_id,
        .chunk_id = meta.chunk_id,
        .messages = count_of(c, &meta),
        .crc = f->has_checksum ? f->checksum : crc32c(0, f->body, f->body_len),
        .body = f->body,
        .len = f->body_len,
    };
    publish_frame(p, &m);
}
