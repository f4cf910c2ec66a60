/* cmd_seek.c - SEEK to a message id or a publish time: CLOSE_CONSUMER to every consumer of the
 * subscription, then SUCCESS when the moved cursor is durable; the clients subscribe again. */
#include "broker/request.h"

#define E(name) PULSAR__PROTO__SERVER_ERROR__##name

void cmd_seek(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandSeek *in = cmd->seek;
    struct consumer *k = conn_consumer(c, in->consumer_id);
    if (!k || !k->sub) {
        conn_send_error_text(c, in->request_id, E(MetadataError), "Consumer not found");
        return;
    }
    struct subscription *s = k->sub;
    if (in->message_id)
        subscription_reset(
            s, topic_position_to_entry(s->topic, in->message_id->ledgerid, in->message_id->entryid),
            request_sub_done, request_new(c, in->request_id));
    else if (in->has_message_publish_time)
        subscription_reset_to_time(s, (int64_t)in->message_publish_time, request_sub_done,
                                   request_new(c, in->request_id));
    else
        conn_send_error_text(c, in->request_id, E(MetadataError),
                             "Message id and message publish time were not present");
}
