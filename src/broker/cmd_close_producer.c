/* cmd_close_producer.c - CLOSE_PRODUCER from a client: SUCCESS when what was appended is
 * acknowledged; what is only parked is dropped (the client has failed it, or will send it again).
 */
#include "broker/conn.h"
#include "broker/producer_hold.h"

void cmd_close_producer(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandCloseProducer *in = cmd->close_producer;
    struct producer *p = conn_producer(c, in->producer_id);
    if (!p) { /* unknown or closed already: what the client wants is so */
        conn_send_success(c, in->request_id);
        return;
    }
    producer_hold_end_by_client(p);
    publish_abandon(p);
    p->close_request_id = in->request_id;
    p->closing = true;
    if (p->in_flight == 0) {
        conn_send_success(c, in->request_id);
        producer_close(p);
    }
}
