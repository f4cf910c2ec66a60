/* cmd_unsubscribe.c - UNSUBSCRIBE: deletes the subscription with its row, then answers. The
 * consumer that asks goes without a CLOSE_CONSUMER, others (with force) get one. */
#include "broker/request.h"

#define E(name) PULSAR__PROTO__SERVER_ERROR__##name

void cmd_unsubscribe(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandUnsubscribe *in = cmd->unsubscribe;
    struct consumer *k = conn_consumer(c, in->consumer_id);
    if (!k || !k->sub) {
        conn_send_error_text(c, in->request_id, E(MetadataError), "Consumer not found");
        return;
    }
    struct subscription *s = k->sub;
    if (s->consumer_count > 1 && !in->force) {
        conn_send_error_text(c, in->request_id, E(MetadataError),
                             "Unconnected or shared consumer attempting to unsubscribe");
        return;
    }
    if (s->state != SUB_READY) {
        conn_send_error_text(c, in->request_id, E(ServiceNotReady), "Subscription is fenced");
        return;
    }
    consumer_close(k);
    subscription_delete(s, true, request_sub_done, request_new(c, in->request_id));
}
