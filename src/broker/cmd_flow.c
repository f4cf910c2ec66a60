/* cmd_flow.c - FLOW: a consumer takes so many messages more. */
#include "broker/subscription.h"

void cmd_flow(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandFlow *in = cmd->flow;
    struct consumer *k = conn_consumer(c, in->consumer_id);
    if (k && k->sub) /* one that was just closed may still be asked for more */
        consumer_flow(k, in->messagepermits);
}
