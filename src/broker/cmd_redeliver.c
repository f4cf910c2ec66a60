/* cmd_redeliver.c - REDELIVER_UNACKNOWLEDGED_MESSAGES: never answered. With ids on a Shared
 * subscription these go back; else everything that the consumer has and did not acknowledge. */
#include "broker/subscription.h"

void cmd_redeliver(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandRedeliverUnacknowledgedMessages *in =
        cmd->redeliverunacknowledgedmessages;
    struct consumer *k = conn_consumer(c, in->consumer_id);
    if (!k || !k->sub)
        return;
    if (in->n_message_ids > 0 && k->sub->type == SUB_SHARED) {
        for (size_t i = 0; i < in->n_message_ids; i++)
            if (in->message_ids[i]->ledgerid == k->sub->topic->ledger)
                consumer_nack(k, in->message_ids[i]->entryid);
        return;
    }
    if (in->has_consumer_epoch) { /* what was sent before is dropped by the client */
        k->has_epoch = true;
        k->epoch = in->consumer_epoch;
    }
    consumer_redeliver_all(k);
}
