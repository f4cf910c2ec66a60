/* cmd_get_schema.c - GET_SCHEMA: schemas are not kept, so no topic has one. The answer is the
 * command's own response: an ERROR would leave a C++ client waiting. */
#include "broker/conn.h"

void cmd_get_schema(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    Pulsar__Proto__BaseCommand out = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandGetSchemaResponse r = PULSAR__PROTO__COMMAND_GET_SCHEMA_RESPONSE__INIT;
    char text[] = "the topic has no schema";
    out.type = PULSAR__PROTO__BASE_COMMAND__TYPE__GET_SCHEMA_RESPONSE;
    out.getschemaresponse = &r;
    r.request_id = cmd->getschema->request_id;
    r.has_error_code = true;
    r.error_code = PULSAR__PROTO__SERVER_ERROR__TopicNotFound;
    r.error_message = text;
    conn_send(c, &out);
}
