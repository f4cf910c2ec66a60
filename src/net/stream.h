/* stream.h - TCP: listeners and connected streams of one worker.
 *
 * Reading: bytes come into a buffer that all streams of a worker share; the owner is shown a run of
 * bytes and says how many it has used. What is left (part of a frame) is kept in a buffer of the
 * stream's own, sized by what the owner says it needs. Nothing that is shown outlives the callback.
 *
 * Writing: bytes are appended to the stream's output chunks and go out at the end of the turn.
 * Output is charged to the budget (BUDGET_OUTBOUND); whoever produces it watches
 * stream_output_bytes and waits for on_drained: a slow reader must not make it grow.
 *
 * All functions: the owning worker only. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/worker.h"

struct stream;
struct listener;

enum {
    STREAM_READ_BUFFER = 256 * 1024,  /* shared by all streams of a worker */
    STREAM_OUTPUT_HIGH = 1024 * 1024, /* producers of output stop above it */
    STREAM_OUTPUT_LOW = 256 * 1024,   /* and are told below it */
};

struct stream_ops {
    /* Bytes came. Returns how many were used; the rest is shown again with more behind it. *need:
     * how many bytes from the first unused one on are wanted before the next call (0: any). */
    size_t (*on_bytes)(void *ctx, const uint8_t *p, size_t len, size_t *need);
    /* No longer congested: output fell to STREAM_OUTPUT_LOW. At the beginning of a turn. */
    void (*on_drained)(void *ctx);
    /* It is closed, by either side or because its worker stops, once; <why> is a phrase for the
     * log. The stream is gone after it. */
    void (*on_closed)(void *ctx, const char *why);
};

/* Called for each accepted connection: set the ops with stream_set_ops, or stream_close it. */
typedef void (*listener_accept)(void *ctx, struct stream *s);

/* <address> numeric or "localhost"; port 0: any; *port gets the real one. TG_EBUSY: in use;
 * TG_EINVAL: no such address; TG_EIO otherwise. */
TG_MUSTCHECK enum tg_err listener_open(struct listener **out, struct worker *w, const char *address,
                                       int *port, listener_accept on_accept, void *ctx);
void listener_close(struct listener *l);

/* In listener_accept, instead of stream_set_ops: the connection goes to worker <to>, where
 * on_arrived(ctx, its new stream) is called with the duties of listener_accept; <s> is gone. (NULL:
 * that worker could not take it, and the connection is closed.) On an error (TG_EBUSY: the box is
 * full) <s> is still the caller's. */
TG_MUSTCHECK enum tg_err stream_move(struct stream *s, struct worker *to,
                                     void (*on_arrived)(void *ctx, struct stream *s), void *ctx);

/* A client's side: for the load generator and later the client library. Completion by
 * on_connected(ctx, stream or NULL). */
TG_MUSTCHECK enum tg_err stream_connect(struct worker *w, const char *address, int port,
                                        void (*on_connected)(void *ctx, struct stream *s),
                                        void *ctx);

void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *ctx);
struct worker *stream_worker(const struct stream *s);
const char *stream_peer(const struct stream *s); /* "127.0.0.1:40112" */

/* <n> contiguous bytes to write into; then stream_commit what was written of them. On a closing
 * stream both are allowed; the bytes go out if the turn's end has not come yet. */
uint8_t *stream_reserve(struct stream *s, size_t n);
void stream_commit(struct stream *s, size_t n);
void stream_write(struct stream *s, const void *p, size_t n); /* reserve, copy, commit */
/* Sends what is pending as far as the socket takes it now, instead of at the turn's end. */
void stream_flush(struct stream *s);
size_t stream_output_bytes(const struct stream *s);
/* Output went above STREAM_OUTPUT_HIGH, or the budget for output was used up when something was
 * committed: produce no more until on_drained, which surely comes. Never true without output. */
bool stream_is_congested(const struct stream *s);

/* Stops reading; what has been read and not used stays (at most STREAM_READ_BUFFER and one frame).
 * A paused stream still notices that the peer has gone, and is closed then. Idempotent. */
void stream_pause(struct stream *s);
/* Reads again; unused bytes are shown first, on the next turn. Idempotent. */
void stream_resume(struct stream *s);
bool stream_is_paused(const struct stream *s);
/* False while it is paused, and while it waits for memory to receive a large frame: what the peer
 * sends lies unread then, and its silence means nothing. */
bool stream_is_reading(const struct stream *s);

/* The turn in which bytes last came (or the stream was made), monotonic. It stands still while the
 * stream is paused. */
int64_t stream_last_read_ns(const struct stream *s);

/* The turn since which the peer has taken nothing of what is there for it, monotonic. */
int64_t stream_unread_since_ns(const struct stream *s);
/* It has sent a part of a frame and no more. */
bool stream_has_part(const struct stream *s);

/* Sends what is pending as far as the socket takes it now, then closes. on_closed follows, never
 * from inside this call. Safe in any callback; idempotent (the first reason counts). */
void stream_close(struct stream *s, const char *why);
bool stream_is_closing(const struct stream *s);

#endif
