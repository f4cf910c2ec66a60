/* cmd_unserved.c - commands that are understood and not served yet: each gets the error that its
 * client understands, never silence. Where the command has a response of its own, that one carries
 * the error. */
#include "broker/conn.h"

#define E(name) PULSAR__PROTO__SERVER_ERROR__##name

static void refuse_schema(struct conn *c, const Pulsar__Proto__CommandGetOrCreateSchema *in)
{
    Pulsar__Proto__BaseCommand out = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandGetOrCreateSchemaResponse r =
        PULSAR__PROTO__COMMAND_GET_OR_CREATE_SCHEMA_RESPONSE__INIT;
    char text[] = "schemas are not kept by this broker";
    out.type = PULSAR__PROTO__BASE_COMMAND__TYPE__GET_OR_CREATE_SCHEMA_RESPONSE;
    out.getorcreateschemaresponse = &r;
    r.request_id = in->request_id;
    r.has_error_code = true;
    r.error_code = E(NotAllowedError);
    r.error_message = text;
    r.has_schema_version = true;
    conn_send(c, &out);
}

/* Transactions: a generic ERROR with the text that clients know. */
static void refuse_txn(struct conn *c, uint64_t request_id)
{
    conn_send_error_text(c, request_id, E(NotAllowedError), "Transactions are not enabled.");
}

void cmd_unserved(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    switch (cmd->type) {
    case PULSAR__PROTO__BASE_COMMAND__TYPE__GET_OR_CREATE_SCHEMA:
        refuse_schema(c, cmd->getorcreateschema);
        break;
    case PULSAR__PROTO__BASE_COMMAND__TYPE__NEW_TXN:
        refuse_txn(c, cmd->newtxn->request_id);
        break;
    case PULSAR__PROTO__BASE_COMMAND__TYPE__ADD_PARTITION_TO_TXN:
        refuse_txn(c, cmd->addpartitiontotxn->request_id);
        break;
    case PULSAR__PROTO__BASE_COMMAND__TYPE__ADD_SUBSCRIPTION_TO_TXN:
        refuse_txn(c, cmd->addsubscriptiontotxn->request_id);
        break;
    case PULSAR__PROTO__BASE_COMMAND__TYPE__END_TXN:
        refuse_txn(c, cmd->endtxn->request_id);
        break;
    case PULSAR__PROTO__BASE_COMMAND__TYPE__TC_CLIENT_CONNECT_REQUEST:
        refuse_txn(c, cmd->tcclientconnectrequest->request_id);
        break;
    case PULSAR__PROTO__BASE_COMMAND__TYPE__WATCH_TOPIC_LIST:
        conn_send_error_text(c, cmd->watchtopiclist->request_id, E(NotAllowedError),
                             "Unable to handle this request: topic list watching is not served");
        break;
    case PULSAR__PROTO__BASE_COMMAND__TYPE__WATCH_TOPIC_LIST_CLOSE:
        conn_send_success(c, cmd->watchtopiclistclose->request_id);
        break;
    default:
        conn_close(c, "command %d is not served", (int)cmd->type);
    }
}
