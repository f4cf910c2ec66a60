/* cmd_close_consumer.c - CLOSE_CONSUMER: SUCCESS, also for one that is not there (any more). */
#include "broker/subscription.h"

void cmd_close_consumer(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandCloseConsumer *in = cmd->close_consumer;
    struct consumer *k = conn_consumer(c, in->consumer_id);
    if (k)
        consumer_close(k);
    conn_send_success(c, in->request_id);
}
