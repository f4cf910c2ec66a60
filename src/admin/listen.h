/* listen.h - the listening socket of the HTTP side. */
#ifndef ADMIN_LISTEN_H
#define ADMIN_LISTEN_H

#include "base/err.h"

/* Listens on <address>; *port 0: any, gets the real one. *fd is non-blocking and the caller's. On
 * error *why (caller frees) says what to do. */
TG_MUSTCHECK enum tg_err http_listen(const char *address, int *port, int *fd, char **why);

#endif
