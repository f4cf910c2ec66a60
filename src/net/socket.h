/* socket.h - private to net/: addresses and TCP sockets, without any loop. All sockets are
 * non-blocking and closed on exec. */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <stddef.h>
#include <sys/socket.h>

#include "base/err.h"

enum { SOCKET_NAME_MAX = 56 }; /* "[" INET6_ADDRSTRLEN "]:65535" */

struct address {
    struct sockaddr_storage sa;
    socklen_t len;
};

/* Numeric IPv4 or IPv6, or "localhost" (127.0.0.1). */
TG_MUSTCHECK enum tg_err address_parse(struct address *out, const char *text, int port);
void address_format(const struct address *a, char out[SOCKET_NAME_MAX]);
int address_port(const struct address *a);

/* Listening at <a>, whose port becomes the real one. */
TG_MUSTCHECK enum tg_err socket_listen(int *fd, struct address *a);
/* Connecting; done when the socket is writable. */
TG_MUSTCHECK enum tg_err socket_connect(int *fd, const struct address *a);
void socket_no_delay(int fd);
/* The error that stands on the socket, 0 if none; takes it off. */
int socket_pending_error(int fd);

#endif
