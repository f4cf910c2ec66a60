/* cmd_ping.c - PING and PONG: both sides show that they live. */
#include "broker/conn.h"

void cmd_ping(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    (void)cmd;
    conn_send_pong(c);
}

void cmd_pong(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    (void)c; /* that bytes came is all that counts, and the stream has noted it */
    (void)cmd;
}
