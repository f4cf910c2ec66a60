/* http.c - the HTTP thread: libmicrohttpd reads requests and writes answers; in between a request
 * is a letter to the control worker and its connection is suspended.
 *
 * Invariant, under admin->lock: a call is in `suspended` exactly while its connection is suspended
 * and nobody has answered it. So a stop can answer all of them, and a worker's answer and the
 * stop's can come in either order: the first one counts. */
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "admin/admin.h"
#include "admin/call.h"
#include "base/alloc.h"
#include "base/log.h"

enum {
    IDLE_TIMEOUT_S = 60,           /* a kept-alive connection without a request */
    CONNECTION_MEMORY = 64 * 1024, /* of libmicrohttpd: the largest request head */
    LISTEN_BACKLOG = 128,
    STOP_STEPS = 200, /* of 5 ms: how long a stop waits for answers to be taken */
    STOP_STEP_US = 5000,
};

struct admin {
    _Atomic int refs; /* admin_start's, and one per call: a late answer still finds the lock */
    struct broker *broker;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    struct call *suspended;
    bool stopping;
    _Atomic int open_calls; /* requests whose answer has not been sent */
};

static void admin_unref(struct admin *a)
{
    if (atomic_fetch_sub(&a->refs, 1) > 1)
        return;
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ---- from the worker ---- */

/* Under the lock. */
static void put_answer(struct call *c, struct answer a)
{
    DL_DELETE(c->admin->suspended, c);
    c->answer = a;
    c->answered = true;
    int64_t bytes = (int64_t)a.len;
    budget_force(&c->broker->budget, BUDGET_HTTP, bytes); /* it is here already */
    c->charged_bytes += bytes;
    MHD_resume_connection(c->connection);
}

void call_complete(struct call *c, struct answer a)
{
    struct admin *admin = c->admin;
    pthread_mutex_lock(&admin->lock);
    bool late = c->answered;
    if (!late)
        put_answer(c, a);
    pthread_mutex_unlock(&admin->lock);
    if (late)
        answer_fini(&a);
    call_unref(c);
    admin_unref(admin);
}

static void deliver(struct mail *m, struct worker *w)
{
    struct call *c = (struct call *)m;
    c->shard = shard_of(w);
    atomic_fetch_add(&c->refs, 1); /* a handler that has replied may still look at the request */
    if (c->broker->ready)
        c->match.route->handle(c);
    else
        reply_reason(c, 503, "the broker is not ready");
    call_unref(c);
}

/* ---- the HTTP thread ---- */

static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct admin *a = cls;
    struct call *c = call_new(a, a->broker, target);
    c->connection = connection;
    atomic_fetch_add(&a->open_calls, 1);
    return c;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    (void)connection, (void)why;
    struct admin *a = cls;
    if (*con_cls == NULL)
        return;
    call_unref(*con_cls);
    *con_cls = NULL;
    atomic_fetch_sub(&a->open_calls, 1);
}

static void take_body(struct call *c, const char *data, size_t len)
{
    if (c->too_large || c->no_memory)
        return; /* read on, so that the client gets to the answer */
    if (c->body.len + len > CALL_BODY_MAX) {
        c->too_large = true;
    } else if (!budget_take(&c->broker->budget, BUDGET_HTTP, (int64_t)len)) {
        c->no_memory = true;
    } else {
        c->charged_bytes += (int64_t)len;
        bytes_append(&c->body, data, len);
    }
}

/* What needs no worker. False: it does. */
static bool answer_here(struct call *c)
{
    if (c->uri_error != TG_OK)
        c->answer = answer_reason(400, "the request's path or query can't be read: %s",
                                  err_text(c->uri_error));
    else if (c->too_large)
        c->answer = answer_reason(413, "the body is larger than %d bytes", CALL_BODY_MAX);
    else if (c->no_memory)
        c->answer = answer_reason(503, "no memory for the request's body now");
    else if (c->match.allowed == 0)
        c->answer = answer_reason(404, "HTTP 404 Not Found");
    else if (c->match.route == NULL)
        c->answer = answer_reason(405, "HTTP 405 Method Not Allowed");
    else
        return false;
    c->answer.allow = c->answer.status == 405 ? c->match.allowed : 0;
    c->answered = true;
    return true;
}

static void post(struct call *c)
{
    struct admin *a = c->admin;
    pthread_mutex_lock(&a->lock);
    if (a->stopping) {
        pthread_mutex_unlock(&a->lock);
        c->answer = answer_reason(503, "the broker stops");
        c->answered = true;
        return;
    }
    MHD_suspend_connection(c->connection);
    DL_APPEND(a->suspended, c);
    pthread_mutex_unlock(&a->lock);
    c->posted = true;
    atomic_fetch_add(&c->refs, 1);
    atomic_fetch_add(&a->refs, 1);
    c->mail.deliver = deliver;
    if (worker_post(a->broker->shard[0].worker, &c->mail) != TG_OK)
        call_complete(c, answer_reason(503, "too many requests wait, or the broker stops"));
}

/* The body of an answer that is written here. */
static void write_text(struct call *c)
{
    struct answer *a = &c->answer;
    struct bytes out = {0};
    a->write(c, &out);
    a->text = (char *)out.data;
    a->len = out.len;
    budget_force(&c->broker->budget, BUDGET_HTTP, (int64_t)a->len);
    c->charged_bytes += (int64_t)a->len;
}

static enum MHD_Result send_answer(struct call *c)
{
    struct answer *a = &c->answer;
    if (a->write != NULL)
        write_text(c);
    struct MHD_Response *r =
        MHD_create_response_from_buffer(a->len, a->text, MHD_RESPMEM_MUST_FREE);
    if (r == NULL)
        return MHD_NO;
    a->text = NULL; /* the response's now */
    if (a->content_type != NULL)
        MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, a->content_type);
    if (a->allow != 0) {
        struct bytes list = {0};
        for (int m = 0; m < HTTP_METHODS; m++)
            if (a->allow & (1u << m))
                bytes_printf(&list, "%s%s", list.len > 0 ? ", " : "",
                             http_method_name((enum http_method)m));
        MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, (const char *)list.data);
        bytes_fini(&list);
    }
    enum MHD_Result ok = MHD_queue_response(c->connection, (unsigned)a->status, r);
    MHD_destroy_response(r);
    return ok;
}

/* A body that is announced as too large is refused before it comes. */
static bool announces_too_much(struct MHD_Connection *connection)
{
    const char *len =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return len && strtoull(len, NULL, 10) > CALL_BODY_MAX;
}

/* libmicrohttpd calls this when the head is there, for each piece of the body, at its end, and
 * again after a resume. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *len, void **con_cls)
{
    (void)cls, (void)connection, (void)url, (void)version;
    struct call *c = *con_cls;
    if (!c->begun) {
        c->begun = true;
        c->method = http_method_parse(method);
        if (c->uri_error == TG_OK)
            route_match(&c->match, routes, routes_count(), c->method, &c->uri);
        c->too_large = announces_too_much(connection);
        if (!c->too_large)
            return MHD_YES;
        (void)answer_here(c);
        return send_answer(c);
    }
    if (*len > 0) {
        take_body(c, data, *len);
        *len = 0;
        return MHD_YES;
    }
    if (!c->posted && !c->answered && !answer_here(c))
        post(c);
    pthread_mutex_lock(&c->admin->lock);
    bool answered = c->answered;
    pthread_mutex_unlock(&c->admin->lock);
    if (c->posted && !c->suspended_once) {
        c->suspended_once = true; /* answered already or not: the resume calls here again */
        return MHD_YES;
    }
    return answered ? send_answer(c) : MHD_YES;
}

TG_PRINTF(2, 0) static void on_library_log(void *cls, const char *fmt, va_list args)
{
    (void)cls;
    char line[512];
    vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\r\n")] = 0;
    log_debug("http: %s", line);
}

/* ---- start and stop ---- */

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

static TG_MUSTCHECK enum tg_err listen_at(const char *address, int *port, int *fd, char **why)
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

enum tg_err admin_start(struct admin **out, struct broker *b, int *port, char **why)
{
    int fd;
    enum tg_err e = listen_at(b->settings->bind_address, port, &fd, why);
    if (e != TG_OK)
        return e;
    struct admin *a = xcalloc(1, sizeof *a);
    a->refs = 1;
    a->broker = b;
    pthread_mutex_init(&a->lock, NULL);
    a->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        on_request, a, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_URI_LOG_CALLBACK, on_target, a, MHD_OPTION_NOTIFY_COMPLETED, on_completed, a,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CALL_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_END);
    if (a->daemon == NULL) {
        *why = xasprintf("web port %d: the HTTP thread can't be started", *port);
        close(fd);
        admin_unref(a);
        return TG_EIO;
    }
    *out = a;
    return TG_OK;
}

void admin_stop(struct admin *a)
{
    if (a == NULL)
        return;
    int fd = MHD_quiesce_daemon(a->daemon); /* nobody new */
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    while (a->suspended != NULL)
        put_answer(a->suspended, answer_reason(503, "the broker stops"));
    pthread_mutex_unlock(&a->lock);
    for (int i = 0; i < STOP_STEPS && a->open_calls > 0; i++)
        usleep(STOP_STEP_US);
    MHD_stop_daemon(a->daemon);
    if (fd >= 0)
        close(fd);
    admin_unref(a);
}
