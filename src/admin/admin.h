/* admin.h - the HTTP side: REST v2, /metrics, health. One thread runs libmicrohttpd and one writes
 * long answers; they own no topics: a request becomes mail to the control worker (worker 0), is
 * suspended, and is answered when that worker has replied. Handlers (res_*.c) run on the worker. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "base/err.h"
#include "broker/broker.h"

struct admin;

/* Listens on the broker's bind address; *port 0: any, gets the real one. May be called when the
 * workers do not run yet: requests wait. On error *why (caller frees). */
TG_MUSTCHECK enum tg_err admin_start(struct admin **out, struct broker *b, int *port, char **why);
/* Answers what is under way with 503 and stops. After the workers ended, or before. */
void admin_stop(struct admin *a);

#endif
