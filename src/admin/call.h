/* call.h - one REST request on its way: read by the HTTP thread, handled on the control worker,
 * answered by exactly one reply_*, after which callbacks that come later may not touch it any more.
 *
 * Two sides hold it: the HTTP thread until the connection is done with it, and the worker from
 * posting until the reply. A stop answers for the worker; its late reply is then thrown away. */
#ifndef ADMIN_CALL_H
#define ADMIN_CALL_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "admin/route.h"
#include "admin/uri.h"
#include "base/bytes.h"
#include "broker/broker.h"
#include "broker/names.h"
#include "net/worker.h"

enum {
    CALL_CLIENT_MAX = 56,    /* "[" INET6_ADDRSTRLEN "]:65535" */
    CALL_BODY_MAX = 1 << 20, /* the largest body a client sends is a policies document: a few KB */
};

struct call;
struct part;
struct peer;
struct topic;

/* A body that many answers have. */
struct shared_text {
    _Atomic int refs;
    struct MHD_Response *response; /* libmicrohttpd counts its uses of it itself */
    struct budget *budget;
    size_t len;
};

struct answer {
    int status;
    const char *content_type; /* NULL: no body */
    char *text;
    size_t len;
    struct shared_text *shared; /* instead of text */
    unsigned allow;             /* 405: bit per method */
};

struct parts { /* private to part.c */
    void (*run)(struct part *p, struct topic *t);
    void (*all_done)(struct call *c, enum tg_err e);
    int next_one; /* partition to be begun */
    int pending;
    enum tg_err first_error;
};

struct pace { /* private to part.c: the call goes on in a later turn */
    void (*go_on)(struct call *c, bool lost);
    struct timer timer;
    struct call *prev, *next; /* admin->paced */
};

struct call {
    struct mail mail;         /* first */
    struct call *prev, *next; /* admin->suspended */
    _Atomic int refs;
    struct admin *admin;
    struct MHD_Connection *connection;
    struct peer *peer;                        /* the HTTP thread's */
    struct call *prev_waiting, *next_waiting; /* admin->waiting */
    struct call *next_asking;                 /* survey.c */

    /* the request */
    enum http_method method;
    struct uri uri;
    enum tg_err uri_error;
    struct route_match match;
    struct bytes body;
    int64_t charged_bytes; /* to BUDGET_HTTP */
    bool too_large, no_memory;
    char client[CALL_CLIENT_MAX]; /* its address */

    /* the handler's */
    struct broker *broker;
    struct shard *shard;
    struct topic_name topic; /* res_topic_name */
    struct parts parts;
    struct pace pace;
    json_t *results;   /* part.c: of parts, by topic */
    json_t *parsed;    /* the body, when parts look into it */
    void *handler_own; /* what else they need; freed with the call */

    /* the answer */
    bool begun, posted, suspended_once; /* HTTP thread only */
    bool answered;                      /* under admin->lock */
    struct answer answer;
};

/* ---- for handlers ---- */

const char *call_capture(const struct call *c, enum capture which); /* never NULL */
int64_t call_number(const struct call *c);                          /* {number} */
bool call_flag(const struct call *c, const char *arg);              /* ?arg=true */
/* The body as JSON, any value; an empty one is null. False: refused already (400). */
bool call_json(struct call *c, json_t **out);

void reply_status(struct call *c, int status); /* without a body */
/* Takes <j>. Of a request that is not ROUTE_SHORT the writer's thread makes the text, and frees
 * what the call has of results. */
void reply_json(struct call *c, int status, json_t *j);
/* 200, with what <make> says on the writer's thread: by then only the writer looks into the call.
 */
void reply_made(struct call *c, json_t *(*make)(struct call *c));
void reply_text(struct call *c, const char *content_type, struct bytes *b); /* 200; takes it */
void reply_shared(struct call *c, struct shared_text *text);                /* 200 */
void reply_reason(struct call *c, int status, const char *fmt, ...) TG_PRINTF(3, 4);
/* What err means when nothing better can be said; TG_OK: 204. */
void reply_err(struct call *c, enum tg_err e);

/* Takes <text>, and charges it until nobody holds it any more. Any thread. */
struct shared_text *shared_text_new(struct budget *b, const char *content_type, struct bytes *text);
void shared_text_unref(struct shared_text *t); /* NULL: no-op */

/* ---- for http.c ---- */

struct call *call_new(struct admin *a, struct broker *b, const char *target);
void call_unref(struct call *c);
void answer_fini(struct answer *a);
struct answer answer_reason(int status, const char *fmt, ...) TG_PRINTF(2, 3);
/* The worker's answer, taken over; in http.c. */
void call_complete(struct call *c, struct answer a);

#endif
