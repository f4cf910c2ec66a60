/* listen.c - see listen.h. What can't be listened on is said with the option that changes it. */
#include "admin/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"

enum {
    LISTEN_BACKLOG = 1024 /* a burst of slow clients must not fill it before it is looked at */
};

static int open_socket(const struct addrinfo *at, const char **call)
{
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *call = "socket";
    if (fd < 0)
        return -1;
    int yes = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    *call = "bind";
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0) {
        *call = "listen";
        if (listen(fd, LISTEN_BACKLOG) == 0)
            return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int bound_port(int fd)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    const struct sockaddr *base = (const struct sockaddr *)&at;
    return ntohs(base->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)base)->sin6_port
                                             : ((const struct sockaddr_in *)base)->sin_port);
}

enum tg_err http_listen(const char *address, int *port, int *fd, char **why)
{
    char service[16];
    snprintf(service, sizeof service, "%d", *port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *at = NULL;
    int problem = getaddrinfo(address, service, &hints, &at);
    if (problem != 0) {
        *why = xasprintf("web port: address %s: %s; set --bind to an address of this machine",
                         address, gai_strerror(problem));
        return TG_EINVAL;
    }
    const char *call;
    *fd = open_socket(at, &call);
    int error = errno;
    freeaddrinfo(at);
    if (*fd < 0) {
        *why = xasprintf("web port %s:%d: %s: %s; choose another with %s", address, *port, call,
                         strerror(error), error == EADDRNOTAVAIL ? "--bind" : "--web-port");
        return error == EADDRINUSE ? TG_EBUSY : TG_EIO;
    }
    *port = bound_port(*fd);
    return TG_OK;
}
