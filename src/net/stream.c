/* A stream's life, and what it asks of the loop.
 *
 * libuv only watches the descriptor (uv_poll); reading and writing are ours. Changes are lazy: what
 * a callback wants (output, pause, resume, close) is a flag and a place in the worker's dirty list,
 * and the turn's end brings it to the socket: flush, then close or ask for other events. So a pause
 * and a resume in one turn cost nothing, and closing is safe wherever it is called.
 *
 * A stream is freed in libuv's close callback and nowhere else; that always comes after the turn in
 * which the socket was closed, so pointers held in that turn stay good. */
#include "net/stream_impl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"

void streams_init(struct worker *w)
{
    TAILQ_INIT(&w->streams);
    TAILQ_INIT(&w->dirty);
    TAILQ_INIT(&w->ready);
    TAILQ_INIT(&w->starved);
    timer_init(&w->starved_timer, receive_retry_starved);
    w->read_buffer = xmalloc(STREAM_READ_BUFFER);
}

void stream_mark_dirty(struct stream *s)
{
    if (s->in_dirty || s->state == STREAM_CLOSED)
        return;
    s->in_dirty = true;
    TAILQ_INSERT_TAIL(&s->w->dirty, s, dirty);
}

void stream_mark_ready(struct stream *s)
{
    if (s->in_ready || s->state != STREAM_OPEN)
        return;
    s->in_ready = true;
    TAILQ_INSERT_TAIL(&s->w->ready, s, ready);
}

static void leave_lists(struct stream *s)
{
    if (s->in_dirty)
        TAILQ_REMOVE(&s->w->dirty, s, dirty);
    if (s->in_ready)
        TAILQ_REMOVE(&s->w->ready, s, ready);
    if (s->in_starved)
        TAILQ_REMOVE(&s->w->starved, s, starved);
    s->in_dirty = s->in_ready = s->in_starved = false;
}

/* ---- closing ---- */

void stream_close(struct stream *s, const char *why)
{
    if (s->state >= STREAM_CLOSING)
        return;
    s->state = STREAM_CLOSING;
    s->why = why;
    stream_mark_dirty(s);
}

bool stream_is_closing(const struct stream *s)
{
    return s->state >= STREAM_CLOSING;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct stream *s = h->data;
    turn_begin(s->w);
    if (s->ops != NULL && s->ops->on_closed != NULL)
        s->ops->on_closed(s->ctx, s->why);
    leave_lists(s);
    TAILQ_REMOVE(&s->w->streams, s, all);
    receive_free(s);
    output_free(s);
    free(s);
}

static void close_socket(struct stream *s)
{
    leave_lists(s);
    s->state = STREAM_CLOSED;
    uv_close((uv_handle_t *)&s->poll, on_handle_closed);
    close(s->fd);
    s->fd = -1;
}

void streams_close_all(struct worker *w)
{
    struct stream *s;
    TAILQ_FOREACH(s, &w->streams, all)
    {
        if (s->state == STREAM_CLOSED)
            continue;
        if (s->why == NULL)
            s->why = "the worker stops";
        close_socket(s);
    }
}

/* ---- the loop ---- */

static void finish_connect(struct stream *s)
{
    int error = socket_pending_error(s->fd);
    if (error != 0) {
        stream_close(s, uv_strerror(-error));
        s->on_connected(s->connect_ctx, NULL);
        return;
    }
    socket_no_delay(s->fd);
    s->state = STREAM_OPEN;
    stream_mark_dirty(s);
    s->on_connected(s->connect_ctx, s);
    if (s->ops == NULL)
        stream_close(s, "not taken");
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct stream *s = h->data;
    turn_begin(s->w);
    if (s->state == STREAM_CONNECTING) {
        finish_connect(s);
        return;
    }
    if (s->state != STREAM_OPEN)
        return;
    if (status < 0) {
        int error = socket_pending_error(s->fd);
        stream_close(s, error != 0 ? uv_strerror(-error) : "closed by the peer");
        return;
    }
    if (events & UV_WRITABLE)
        stream_mark_dirty(s);
    if ((events & UV_READABLE) && stream_is_reading(s))
        receive_readable(s);
    else if (events & UV_DISCONNECT)
        stream_close(s, "closed by the peer while paused");
}

static int wanted_events(const struct stream *s)
{
    if (s->state == STREAM_CONNECTING)
        return UV_WRITABLE;
    int events = stream_is_reading(s) ? UV_READABLE : UV_DISCONNECT;
    if (s->out_bytes > 0)
        events |= UV_WRITABLE;
    return events;
}

void streams_flush(struct worker *w)
{
    struct stream *s;
    while ((s = TAILQ_FIRST(&w->dirty)) != NULL) {
        TAILQ_REMOVE(&w->dirty, s, dirty);
        s->in_dirty = false;
        if (s->state != STREAM_CONNECTING)
            output_flush(s);
        if (s->state == STREAM_CLOSING) {
            close_socket(s);
            continue;
        }
        int events = wanted_events(s);
        if (events != s->interest) {
            s->interest = events;
            uv_poll_start(&s->poll, events, on_poll);
        }
    }
}

void streams_run_ready(struct worker *w)
{
    struct stream_list now = TAILQ_HEAD_INITIALIZER(now);
    TAILQ_CONCAT(&now, &w->ready, ready);
    struct stream *s;
    while ((s = TAILQ_FIRST(&now)) != NULL) {
        TAILQ_REMOVE(&now, s, ready);
        s->in_ready = false;
        if (s->drained_due) {
            s->drained_due = false;
            if (s->state == STREAM_OPEN && s->ops != NULL && s->ops->on_drained != NULL)
                s->ops->on_drained(s->ctx);
        }
        receive_show_kept(s);
    }
}

/* ---- making ---- */

static struct stream *stream_new(struct worker *w, int fd, enum stream_state state,
                                 const struct address *peer)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    if (w->loop_ended || uv_poll_init(&w->loop, &s->poll, fd) != 0) {
        close(fd);
        free(s);
        return NULL;
    }
    s->poll.data = s;
    s->w = w;
    s->fd = fd;
    s->state = state;
    s->last_read_ns = w->now_ns;
    address_format(peer, s->peer);
    TAILQ_INSERT_TAIL(&w->streams, s, all);
    stream_mark_dirty(s);
    return s;
}

struct stream *stream_adopt(struct worker *w, int fd, const struct address *peer)
{
    struct stream *s = stream_new(w, fd, STREAM_OPEN, peer);
    if (s != NULL)
        socket_no_delay(fd);
    return s;
}

enum tg_err stream_connect(struct worker *w, const char *address, int port,
                           void (*on_connected)(void *ctx, struct stream *s), void *ctx)
{
    struct address a;
    enum tg_err err = address_parse(&a, address, port);
    if (err != TG_OK)
        return err;
    int fd;
    err = socket_connect(&fd, &a);
    if (err != TG_OK)
        return err;
    struct stream *s = stream_new(w, fd, STREAM_CONNECTING, &a);
    if (s == NULL)
        return TG_EIO;
    s->on_connected = on_connected;
    s->connect_ctx = ctx;
    return TG_OK;
}

/* A connection on its way to another worker. */
struct transfer {
    struct mail mail;
    int fd;
    struct address peer;
    void (*on_arrived)(void *ctx, struct stream *s);
    void *ctx;
};

static void transfer_deliver(struct mail *m, struct worker *w)
{
    struct transfer *t = (struct transfer *)m;
    struct stream *s = stream_adopt(w, t->fd, &t->peer);
    t->on_arrived(t->ctx, s);
    if (s != NULL && s->ops == NULL)
        stream_close(s, "not taken");
    free(t);
}

enum tg_err stream_move(struct stream *s, struct worker *to,
                        void (*on_arrived)(void *ctx, struct stream *s), void *ctx)
{
    TG_ASSERT(s->state == STREAM_OPEN && s->ops == NULL);
    int fd = dup(s->fd); /* the old stream closes its own descriptor in its own time */
    if (fd < 0)
        return TG_ELIMIT;
    struct transfer *t = xcalloc(1, sizeof(*t));
    *t = (struct transfer){
        .mail = {.deliver = transfer_deliver}, .fd = fd, .on_arrived = on_arrived, .ctx = ctx};
    t->peer.len = sizeof(t->peer.sa);
    if (getpeername(fd, (struct sockaddr *)&t->peer.sa, &t->peer.len) != 0)
        t->peer.len = 0; /* gone already: the new worker finds out */
    enum tg_err err = worker_post(to, &t->mail);
    if (err != TG_OK) {
        close(fd);
        free(t);
        return err;
    }
    stream_close(s, "moved");
    return TG_OK;
}

/* ---- small ones ---- */

void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *ctx)
{
    s->ops = ops;
    s->ctx = ctx;
}

struct worker *stream_worker(const struct stream *s)
{
    return s->w;
}

const char *stream_peer(const struct stream *s)
{
    return s->peer;
}

int64_t stream_last_read_ns(const struct stream *s)
{
    return s->last_read_ns;
}

int64_t stream_unread_since_ns(const struct stream *s)
{
    return s->out_bytes > 0 ? s->unread_since_ns : s->w->now_ns;
}

bool stream_has_part(const struct stream *s)
{
    return s->kept_len > 0 && !s->paused;
}

void stream_pause(struct stream *s)
{
    if (s->paused)
        return;
    s->paused = true;
    stream_mark_dirty(s);
}

void stream_resume(struct stream *s)
{
    if (!s->paused)
        return;
    s->paused = false;
    stream_mark_dirty(s);
    if (s->kept_len > 0)
        stream_mark_ready(s);
}

bool stream_is_paused(const struct stream *s)
{
    return s->paused;
}

bool stream_is_reading(const struct stream *s)
{
    return !s->paused && !receive_is_starved(s);
}
