/* Sockets and addresses: the system calls of TCP set-up in one place, so that listener.c and
 * stream.c hold only what concerns the loop. A descriptor is either handed out or closed here. */
#include "net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 1024 }; /* a thousand clients may come back at once after a restart */

enum tg_err address_parse(struct address *out, const char *text, int port)
{
    if (port < 0 || port > 65535)
        return TG_EINVAL;
    if (strcmp(text, "localhost") == 0)
        text = "127.0.0.1";
    memset(out, 0, sizeof(*out));
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out->sa;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        out->len = sizeof(*v4);
        return TG_OK;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->sa;
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        out->len = sizeof(*v6);
        return TG_OK;
    }
    return TG_EINVAL;
}

int address_port(const struct address *a)
{
    if (a->sa.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&a->sa)->sin6_port);
    return ntohs(((const struct sockaddr_in *)&a->sa)->sin_port);
}

void address_format(const struct address *a, char out[SOCKET_NAME_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (a->sa.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)&a->sa)->sin6_addr, host, sizeof(host));
        snprintf(out, SOCKET_NAME_MAX, "[%s]:%d", host, address_port(a));
        return;
    }
    inet_ntop(AF_INET, &((const struct sockaddr_in *)&a->sa)->sin_addr, host, sizeof(host));
    snprintf(out, SOCKET_NAME_MAX, "%s:%d", host, address_port(a));
}

static enum tg_err listen_error(int error)
{
    switch (error) {
    case EADDRINUSE:
        return TG_EBUSY;
    case EADDRNOTAVAIL:
        return TG_EINVAL;
    default:
        return TG_EIO;
    }
}

enum tg_err socket_listen(int *fd, struct address *a)
{
    int s = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s < 0)
        return TG_EIO;
    int one = 1;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(s, (const struct sockaddr *)&a->sa, a->len) != 0 || listen(s, LISTEN_BACKLOG) != 0 ||
        getsockname(s, (struct sockaddr *)&a->sa, &a->len) != 0) {
        int error = errno;
        close(s);
        return listen_error(error);
    }
    *fd = s;
    return TG_OK;
}

enum tg_err socket_connect(int *fd, const struct address *a)
{
    int s = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s < 0)
        return TG_EIO;
    if (connect(s, (const struct sockaddr *)&a->sa, a->len) != 0 && errno != EINPROGRESS) {
        close(s);
        return TG_EIO;
    }
    *fd = s;
    return TG_OK;
}

void socket_no_delay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int socket_pending_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return errno;
    return error;
}
