/* Listeners: accept what waits, hand each connection to the owner.
 *
 * Accepting is bounded per turn so that a storm of connections does not hold up those that are
 * there. Out of descriptors, the listener stops watching its socket (it would stay readable and
 * spin), says so, and tries again after a second; what waits stays in the kernel's backlog. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "net/stream_impl.h"

enum { ACCEPTS_PER_TURN = 64 };

struct listener {
    uv_poll_t poll;
    struct worker *w;
    int fd; /* -1: closed */
    struct timer retry;
    listener_accept on_accept;
    void *ctx;
    char name[SOCKET_NAME_MAX];
    TAILQ_ENTRY(listener) all;
};

static void hand_over(struct listener *l, int fd, const struct address *peer)
{
    struct stream *s = stream_adopt(l->w, fd, peer);
    if (s == NULL)
        return;
    l->on_accept(l->ctx, s);
    if (s->ops == NULL)
        stream_close(s, "not taken");
}

static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_connections(uv_poll_t *h, int status, int events)
{
    (void)status, (void)events;
    struct listener *l = h->data;
    turn_begin(l->w);
    for (int i = 0; i < ACCEPTS_PER_TURN && l->fd >= 0; i++) {
        struct address peer = {.len = sizeof(peer.sa)};
        int fd =
            accept4(l->fd, (struct sockaddr *)&peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            hand_over(l, fd, &peer);
            continue;
        }
        if (is_shortage(errno)) {
            log_warn("listener %s: can't accept, again in a second: %s", l->name,
                     uv_strerror(-errno));
            uv_poll_stop(&l->poll);
            timer_arm(l->w, &l->retry, mono_add(l->w->now_ns, MONO_S));
            return;
        }
        if (errno == EAGAIN)
            return;
        /* Anything else concerns one connection that is gone again: take the next. */
    }
}

static void on_retry(struct timer *t, int64_t now_ns)
{
    (void)now_ns;
    struct listener *l = (struct listener *)((char *)t - offsetof(struct listener, retry));
    uv_poll_start(&l->poll, UV_READABLE, on_connections);
}

enum tg_err listener_open(struct listener **out, struct worker *w, const char *address, int *port,
                          listener_accept on_accept, void *ctx)
{
    struct address a;
    enum tg_err err = address_parse(&a, address, *port);
    if (err != TG_OK)
        return err;
    int fd;
    err = socket_listen(&fd, &a);
    if (err != TG_OK)
        return err;
    struct listener *l = xcalloc(1, sizeof(*l));
    if (uv_poll_init(&w->loop, &l->poll, fd) != 0) {
        close(fd);
        free(l);
        return TG_EIO;
    }
    l->poll.data = l;
    l->w = w;
    l->fd = fd;
    l->on_accept = on_accept;
    l->ctx = ctx;
    timer_init(&l->retry, on_retry);
    address_format(&a, l->name);
    TAILQ_INSERT_TAIL(&w->listeners, l, all);
    uv_poll_start(&l->poll, UV_READABLE, on_connections);
    *port = address_port(&a);
    *out = l;
    return TG_OK;
}

static void on_handle_closed(uv_handle_t *h)
{
    free(h->data);
}

void listener_close(struct listener *l)
{
    timer_disarm(l->w, &l->retry);
    TAILQ_REMOVE(&l->w->listeners, l, all);
    uv_close((uv_handle_t *)&l->poll, on_handle_closed);
    close(l->fd);
    l->fd = -1;
}

void listeners_close_all(struct worker *w)
{
    struct listener *l;
    while ((l = TAILQ_FIRST(&w->listeners)) != NULL)
        listener_close(l);
}
