/* loop.h - private to net/: what a worker is made of, and the turn.
 *
 * libuv calls back in an order of its own (timers, then prepare, then sockets as epoll names them).
 * The turn that worker.h promises is laid over it: every callback from libuv first calls
 * turn_begin, which does nothing but in the first one of a turn, where it reads the clock, fires
 * the due timers, delivers the mail and the deferred work of streams. The prepare callback, the
 * last thing before libuv blocks, ends the turn: hooks, then the streams' output. So nothing that
 * a callback appended is still there while the worker sleeps. */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <uv.h>

#include "net/mail.h"
#include "net/stream.h"
#include "net/timer.h"
#include "net/worker.h"

enum { TURN_HOOKS_MAX = 8 }; /* the rooms above register one or two each */

TAILQ_HEAD(stream_list, stream);
TAILQ_HEAD(listener_list, listener);

struct turn_hook {
    void (*fn)(void *ctx);
    void *ctx;
};

struct worker {
    struct worker_config cfg;
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_poll_t wake_poll; /* watches wake_fd: "signalled" was set */
    int wake_fd;         /* an eventfd */
    uv_timer_t alarm;    /* the wheel's next event, or at once for <ready> */
    pthread_t thread;
    void (*on_start)(struct worker *w);

    bool in_turn, ran, loop_ended;
    int64_t now_ns;
    struct wheel wheel;
    struct turn_hook hooks[TURN_HOOKS_MAX];
    int hook_count;

    /* From other threads. */
    struct mailbox mail;
    struct worker_wake *wakes;
    atomic_bool signalled; /* wake_fd was written to, or will be, and the work is not yet taken */
    atomic_bool stopping;
    atomic_uint_least64_t signals; /* writes to wake_fd; for the tests */

    /* Streams: each is in <streams>; at most once in each of the other three. */
    struct stream_list streams;
    struct stream_list dirty;   /* output or interest to be brought to the socket at turn end */
    struct stream_list ready;   /* on_drained or kept bytes to be shown on the next turn */
    struct stream_list starved; /* wait for budget to receive a large frame, in order */
    struct timer starved_timer;
    struct listener_list listeners;
    struct stream *favoured; /* receive.c: may finish its frame though the budget is used up */
    int64_t favoured_ns;     /* since when */
    uint8_t *read_buffer;    /* STREAM_READ_BUFFER, shared */
};

void turn_begin(struct worker *w);

/* Of stream.c and listener.c, for the worker. */
void streams_init(struct worker *w);
void streams_run_ready(struct worker *w);
void streams_flush(struct worker *w); /* the dirty ones */
void streams_close_all(struct worker *w);
void listeners_close_all(struct worker *w);

#endif
