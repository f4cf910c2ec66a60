/* stream_impl.h - private to net/: what a stream is made of. stream.c holds its life and what it
 * asks of the loop, receive.c the bytes that come, output.c the bytes that go. */
#ifndef NET_STREAM_IMPL_H
#define NET_STREAM_IMPL_H

#include <sys/queue.h>
#include <uv.h>

#include "net/loop.h"
#include "net/socket.h"
#include "net/stream.h"

enum stream_state {
    STREAM_CONNECTING, /* stream_connect's, not yet answered */
    STREAM_OPEN,
    STREAM_CLOSING, /* stream_close was called; the end of this turn closes the socket */
    STREAM_CLOSED,  /* socket closed; on_closed comes with libuv's close callback */
};

struct chunk;

struct stream {
    uv_poll_t poll;
    struct worker *w;
    int fd;
    enum stream_state state;
    int interest; /* the UV_ events that libuv was asked for */
    bool paused, congested, drained_due;
    bool in_dirty, in_ready, in_starved;
    TAILQ_ENTRY(stream) all, dirty, ready, starved;
    const struct stream_ops *ops;
    void *ctx;
    const char *why;
    void (*on_connected)(void *ctx, struct stream *s);
    void *connect_ctx;
    int64_t last_read_ns;

    /* Received, not used: kept_len bytes at kept + kept_off; all zero when there are none. */
    uint8_t *kept;
    size_t kept_off, kept_len, kept_cap;
    size_t need;            /* the owner wants no call before there are so many */
    size_t receive_charged; /* to the budget: kept_cap, or what is reserved for a large frame */

    struct chunk *out_first, *out_last;
    size_t out_bytes;
    int64_t
        unread_since_ns; /* when it last was sent something, or began to have something to send */

    char peer[SOCKET_NAME_MAX];
};

/* An open stream of <w> on <fd>, or NULL (and <fd> closed) when the loop can't take it. */
struct stream *stream_adopt(struct worker *w, int fd, const struct address *peer);

void stream_mark_dirty(struct stream *s);
void stream_mark_ready(struct stream *s);

/* receive.c */
void receive_readable(struct stream *s);
void receive_show_kept(struct stream *s); /* what is there, if the owner may be called */
void receive_free(struct stream *s);
bool receive_is_starved(const struct stream *s);
void receive_retry_starved(struct timer *t, int64_t now_ns);

/* output.c */
void output_flush(struct stream *s); /* until it is out or the socket is full; may close */
void output_free(struct stream *s);

#endif
