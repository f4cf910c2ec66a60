/* http.h - private to admin/: the HTTP side as its threads share it. http.c has a request's way
 * from libmicrohttpd to a worker and back, http_thread.c the thread that runs libmicrohttpd. */
#ifndef ADMIN_HTTP_H
#define ADMIN_HTTP_H

#include <microhttpd.h>
#include <pthread.h>

#include "admin/admin.h"
#include "admin/call.h"
#include "admin/peers.h"
#include "admin/survey.h"
#include "admin/writer.h"

enum {
    /* Of ROUTE_LONG, on their way at once; others wait. So their number adds nothing to how long a
     * worker's turn may be. */
    LONG_CALLS_MAX = 2,
    WAITING_MAX = 32, /* who has waited longest is refused when there are more */
};

struct admin {
    _Atomic int refs; /* admin_start's, and one per call: a late answer still finds the lock */
    struct broker *broker;
    struct writer writer;
    /* the control worker's */
    struct survey survey[SURVEYS];
    struct call *paced; /* part.c */

    /* the HTTP thread's */
    pthread_t thread;
    struct MHD_Daemon *daemon;
    int listener;
    int wake_fd; /* an eventfd: there is something to do */
    struct peers peers;
    uint32_t peers_max;
    int64_t now_ns;       /* of its turn */
    int64_t accept_at_ns; /* not before: there was no room, or no file descriptor */

    pthread_mutex_t lock; /* of what follows */
    struct call *suspended;
    int long_calls; /* of ROUTE_LONG, at a worker */
    /* Those that are not ROUTE_SHORT, and wait: for others, or for memory. The newest is first:
     * when they are many, who has waited longest has mostly given up, and a newcomer need not wait
     * for a crowd. */
    struct call *waiting;
    int waiting_count;
    bool stopping;

    _Atomic bool closed;    /* nobody new is let in */
    _Atomic bool ending;    /* the HTTP thread */
    _Atomic int open_calls; /* requests whose answer has not been sent */
};

static inline void admin_ref(struct admin *a)
{
    atomic_fetch_add(&a->refs, 1);
}
void admin_unref(struct admin *a);

/* ---- http.c: what libmicrohttpd calls, on the HTTP thread; <cls> is the admin ---- */

void *http_on_target(void *cls, const char *target, struct MHD_Connection *connection);
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *len, void **con_cls);
void http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                       enum MHD_RequestTerminationCode why);
/* Those that waited and may go now, go. */
void http_let_go(struct admin *a);
/* No new request gets to a worker; those that are there, or wait, are answered 503. Any thread. */
void http_refuse_all(struct admin *a);

#endif
