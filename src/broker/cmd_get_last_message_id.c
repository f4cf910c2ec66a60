/* cmd_get_last_message_id.c - GET_LAST_MESSAGE_ID: the last durable message of the topic and the
 * subscription's mark-delete position. Whether the last entry is a batch (its index is then that of
 * the batch's last message) only the entry itself tells: it is read. */
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/request.h"
#include "wire/metadata.h"

struct question {
    struct request *request;
    struct consumer_position {
        uint64_t ledger, last, mark_delete; /* entries; UINT64_MAX: none */
        int32_t partition;
    } at;
};

static void answer(struct question *q, int32_t batch_index)
{
    struct conn *c = conn_find(q->request->shard, q->request->conn_id);
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandGetLastMessageIdResponse out =
        PULSAR__PROTO__COMMAND_GET_LAST_MESSAGE_ID_RESPONSE__INIT;
    Pulsar__Proto__MessageIdData last = PULSAR__PROTO__MESSAGE_ID_DATA__INIT;
    Pulsar__Proto__MessageIdData mark = PULSAR__PROTO__MESSAGE_ID_DATA__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__GET_LAST_MESSAGE_ID_RESPONSE;
    cmd.getlastmessageidresponse = &out;
    out.request_id = q->request->request_id;
    out.last_message_id = &last;
    out.consumer_mark_delete_position = &mark;
    last.ledgerid = q->at.last == UINT64_MAX ? UINT64_MAX : q->at.ledger;
    last.entryid = q->at.last;
    last.has_partition = mark.has_partition = true;
    last.partition = mark.partition = q->at.partition;
    last.has_batch_index = true;
    last.batch_index = batch_index;
    mark.ledgerid = q->at.ledger;
    mark.entryid = q->at.mark_delete;
    if (c)
        conn_send(c, &cmd);
    free(q->request);
    free(q);
}

static int32_t last_index(const struct ls_entry *e)
{
    struct metadata_brief m;
    const char *why;
    if (metadata_scan(e->body, e->len, &m, &why) != TG_OK || !m.is_batch)
        return -1;
    return m.messages - 1;
}

static void on_read(void *ctx, enum tg_err e, const struct ls_entry *entries, uint32_t count,
                    struct ls_hold *hold)
{
    struct question *q = ctx;
    struct ls_port *log = q->request->shard->log;
    bool found = !e && count > 0 && entries[0].entry == q->at.last;
    answer(q, found ? last_index(&entries[0]) : -1);
    if (hold)
        ls_entries_release(log, hold);
}

void cmd_get_last_message_id(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandGetLastMessageId *in = cmd->getlastmessageid;
    struct consumer *k = conn_consumer(c, in->consumer_id);
    if (!k || !k->sub) {
        conn_send_error_text(c, in->request_id, PULSAR__PROTO__SERVER_ERROR__MetadataError,
                             "Consumer not found");
        return;
    }
    const struct topic *t = k->sub->topic;
    struct question *q = xmalloc(sizeof *q);
    *q = (struct question){.request = request_new(c, in->request_id),
                           .at = {.ledger = t->ledger,
                                  .last = t->durable_end - 1, /* -1 when there is none */
                                  .mark_delete = k->sub->cursor.next - 1,
                                  .partition = t->name.partition}};
    struct ls_entry entry;
    struct ls_hold *hold = NULL;
    if (t->durable_end == 0) {
        answer(q, -1);
    } else if (ls_read_cached(c->shard->log, t->ledger, q->at.last, 1, UINT64_MAX, &entry, &hold)) {
        answer(q, last_index(&entry));
        ls_entries_release(c->shard->log, hold);
    } else {
        ls_read(c->shard->log, t->ledger, q->at.last, 1, UINT64_MAX, on_read, q);
    }
}
