/* http.c - a request on the HTTP thread: libmicrohttpd reads it and writes the answer; in between
 * it is a letter to the control worker and its connection is suspended.
 *
 * Invariant, under admin->lock: a call is in `suspended` exactly while its connection is suspended
 * and nobody has answered it. So a stop can answer all of them, and a worker's answer and the
 * stop's can come in either order: the first one counts. */
#include "admin/http.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <utlist.h>

#include "base/alloc.h"

void admin_unref(struct admin *a)
{
    if (atomic_fetch_sub(&a->refs, 1) > 1)
        return;
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ---- to the worker and back ---- */

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
    (void)eventfd_write(c->admin->wake_fd, 1);
}

static bool has_memory(struct admin *a)
{
    struct budget *b = &a->broker->budget;
    return budget_used(b, BUDGET_HTTP) <= b->share_bytes[BUDGET_HTTP];
}

/* Under the lock, like the next three. */
static bool may_go(struct admin *a, const struct call *c)
{
    enum route_cost cost = c->match.route->cost;
    if (cost == ROUTE_SHORT)
        return true;
    return has_memory(a) && (cost == ROUTE_SURVEY || a->long_calls < LONG_CALLS_MAX);
}

static void goes(struct admin *a, struct call *c)
{
    if (c->match.route->cost == ROUTE_LONG)
        a->long_calls++;
}

static void stop_waiting(struct admin *a, struct call *c)
{
    DL_DELETE2(a->waiting, c, prev_waiting, next_waiting);
    a->waiting_count--;
}

/* The newest that waits and may go, or NULL. */
static struct call *take_next(struct admin *a)
{
    struct call *c;
    DL_FOREACH2(a->waiting, c, next_waiting)
    {
        if (!may_go(a, c))
            continue;
        stop_waiting(a, c);
        goes(a, c);
        return c;
    }
    return NULL;
}

void call_complete(struct call *c, struct answer a)
{
    struct admin *admin = c->admin;
    pthread_mutex_lock(&admin->lock);
    bool late = c->answered;
    if (c->match.route->cost == ROUTE_LONG)
        admin->long_calls--;
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
    if (c->broker->ready) {
        registry_set_author(c->broker->registry, c->client);
        c->match.route->handle(c);
        registry_set_author(c->broker->registry, NULL);
    } else {
        reply_reason(c, 503, "the broker is not ready");
    }
    call_unref(c);
}

static void send_to_worker(struct call *c)
{
    atomic_fetch_add(&c->refs, 1);
    admin_ref(c->admin);
    c->mail.deliver = deliver;
    if (worker_post(c->broker->shard[0].worker, &c->mail) != TG_OK)
        call_complete(c, answer_reason(503, "too many requests wait, or the broker stops"));
}

void http_let_go(struct admin *a)
{
    struct call *c;
    do {
        pthread_mutex_lock(&a->lock);
        c = take_next(a);
        pthread_mutex_unlock(&a->lock);
        if (c != NULL)
            send_to_worker(c);
    } while (c != NULL);
}

/* Under the lock. */
static void wait_in_line(struct admin *a, struct call *c)
{
    DL_PREPEND2(a->waiting, c, prev_waiting, next_waiting);
    if (++a->waiting_count <= WAITING_MAX)
        return;
    struct call *oldest = a->waiting->prev_waiting;
    stop_waiting(a, oldest);
    put_answer(oldest, answer_reason(503, "too many requests that take long wait"));
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
    bool now = may_go(a, c);
    if (now)
        goes(a, c);
    else
        wait_in_line(a, c);
    pthread_mutex_unlock(&a->lock);
    c->posted = true;
    if (now)
        send_to_worker(c);
}

void http_refuse_all(struct admin *a)
{
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    a->waiting_count = 0;
    a->waiting = NULL; /* they are in <suspended>, too, and no worker has heard of them */
    while (a->suspended != NULL)
        put_answer(a->suspended, answer_reason(503, "the broker stops"));
    pthread_mutex_unlock(&a->lock);
}

/* ---- a request ---- */

static void put_client(struct call *c, const struct sockaddr *a)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (a != NULL && a->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(c->client, sizeof c->client, "%s:%d", host, ntohs(in->sin_port));
    } else if (a != NULL && a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)a;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(c->client, sizeof c->client, "[%s]:%d", host, ntohs(in->sin6_port));
    }
}

void *http_on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct admin *a = cls;
    struct call *c = call_new(a, a->broker, target);
    c->connection = connection;
    c->peer =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    const union MHD_ConnectionInfo *from =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    put_client(c, from != NULL ? from->client_addr : NULL);
    peer_enter(&a->peers, c->peer, PEER_ASKING, 0, a->now_ns);
    atomic_fetch_add(&a->open_calls, 1);
    return c;
}

void http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                       enum MHD_RequestTerminationCode why)
{
    (void)connection, (void)why;
    struct admin *a = cls;
    struct call *c = *con_cls;
    if (c == NULL)
        return;
    peer_enter(&a->peers, c->peer, PEER_IDLE, 0, a->now_ns);
    call_unref(c);
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

/* ---- its answer ---- */

static void add_allow(struct MHD_Response *r, unsigned methods)
{
    struct bytes list = {0};
    for (int m = 0; m < HTTP_METHODS; m++)
        if (methods & (1u << m))
            bytes_printf(&list, "%s%s", list.len > 0 ? ", " : "",
                         http_method_name((enum http_method)m));
    MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, (const char *)list.data);
    bytes_fini(&list);
}

static struct MHD_Response *response_of(struct answer *a)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(a->len, a->text, MHD_RESPMEM_MUST_FREE);
    if (r == NULL)
        return NULL;
    a->text = NULL; /* the response's now */
    if (a->content_type != NULL)
        MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, a->content_type);
    if (a->allow != 0)
        add_allow(r, a->allow);
    return r;
}

static enum MHD_Result send_answer(struct call *c)
{
    struct answer *a = &c->answer;
    struct admin *admin = c->admin;
    size_t len = a->shared != NULL ? a->shared->len : a->len;
    peer_enter(&admin->peers, c->peer, PEER_READING, len, admin->now_ns);
    if (a->shared != NULL)
        return MHD_queue_response(c->connection, (unsigned)a->status, a->shared->response);
    struct MHD_Response *r = response_of(a);
    if (r == NULL)
        return MHD_NO;
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

static enum MHD_Result on_head(struct call *c, const char *method)
{
    c->begun = true;
    c->method = http_method_parse(method);
    if (c->uri_error == TG_OK)
        route_match(&c->match, routes, routes_count(), c->method, &c->uri);
    c->too_large = announces_too_much(c->connection);
    if (!c->too_large)
        return MHD_YES;
    (void)answer_here(c);
    return send_answer(c);
}

/* The whole request is there, or its connection was resumed. */
static enum MHD_Result on_whole(struct call *c)
{
    if (!c->posted && !c->answered && !answer_here(c)) {
        peer_enter(&c->admin->peers, c->peer, PEER_SERVED, 0, c->admin->now_ns);
        post(c);
    }
    pthread_mutex_lock(&c->admin->lock);
    bool answered = c->answered;
    pthread_mutex_unlock(&c->admin->lock);
    if (c->posted && !c->suspended_once) {
        c->suspended_once = true; /* answered already or not: the resume calls here again */
        return MHD_YES;
    }
    return answered ? send_answer(c) : MHD_YES;
}

/* libmicrohttpd calls this when the head is there, for each piece of the body, at its end, and
 * again after a resume. */
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *len, void **con_cls)
{
    (void)cls, (void)connection, (void)url, (void)version;
    struct call *c = *con_cls;
    if (!c->begun)
        return on_head(c, method);
    if (*len > 0) {
        take_body(c, data, *len);
        *len = 0;
        return MHD_YES;
    }
    return on_whole(c);
}
