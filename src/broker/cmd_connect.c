/* cmd_connect.c - CONNECT: the handshake. No authentication is configured in this version: every
 * client is the anonymous role, whatever method it names; the broker listens on loopback unless
 * told otherwise. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/front.h"
#include "broker/names.h"

enum {
    PROTOCOL_VERSION = 21,    /* the highest that is understood */
    CLIENT_VERSION_MAX = 128, /* it is shown in stats and in the log */
};

/* Stats show it, and tests of clients compare it: blanks become dashes, as Pulsar does. */
static char *clean_version(const char *s)
{
    char *v = xstrndup(s, CLIENT_VERSION_MAX);
    if (!name_is_valid_producer(v)) { /* it could not be shown */
        free(v);
        return xstrdup("unreadable");
    }
    for (char *p = v; *p; p++)
        if (*p == ' ')
            *p = '-';
    return v;
}

static void send_connected(struct conn *c)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandConnected ok = PULSAR__PROTO__COMMAND_CONNECTED__INIT;
    Pulsar__Proto__FeatureFlags flags = PULSAR__PROTO__FEATURE_FLAGS__INIT;
    char server[] = "Tidegate " TIDEGATE_VERSION;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__CONNECTED;
    cmd.connected = &ok;
    ok.server_version = server;
    ok.has_protocol_version = true;
    ok.protocol_version = c->front->protocol_version;
    ok.has_max_message_size = true;
    ok.max_message_size = (int32_t)c->shard->broker->settings->max_message_bytes;
    ok.feature_flags = &flags;
    flags.has_supports_get_partitioned_metadata_without_auto_creation = true;
    flags.supports_get_partitioned_metadata_without_auto_creation = true;
    conn_send(c, &cmd);
}

void cmd_connect(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    const Pulsar__Proto__CommandConnect *in = cmd->connect;
    if (c->state != CONN_HANDSHAKE) {
        conn_close(c, "a second CONNECT");
        return;
    }
    int32_t theirs = in->has_protocol_version ? in->protocol_version : 0;
    c->client_version = clean_version(in->client_version);
    c->is_proxied = in->proxy_to_broker_url || in->proxy_version || in->original_principal;
    c->front->protocol_version = theirs < PROTOCOL_VERSION ? theirs : PROTOCOL_VERSION;
    front_ready(c->front);
    log_debug("conn %llu: %s connected, client %s, protocol %d", (unsigned long long)c->id, c->peer,
              c->client_version, c->front->protocol_version);
    send_connected(c);
}
