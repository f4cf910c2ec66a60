/* worker.h - a thread with one event loop. It owns everything that was made on it; nothing it owns
 * is touched from outside. What crosses threads is mail.
 *
 * A loop turn: 1 the clock is read once; 2 due timers; 3 mail; 4 sockets; 5 the turn-end hooks (the
 * store is handed what was appended; sockets are flushed). No uv_ type appears above net/. */
#ifndef NET_WORKER_H
#define NET_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/err.h"

struct worker;

/* ---- life ---- */

struct worker_config {
    int index; /* 0.. */
    struct budget *budget;
    void *user; /* worker_user gives it back: the broker's part of this worker */
};

TG_MUSTCHECK enum tg_err worker_new(struct worker **out, const struct worker_config *cfg);
/* Starts the thread, which calls <on_start>(worker) first of all. */
TG_MUSTCHECK enum tg_err worker_start(struct worker *w, void (*on_start)(struct worker *w));
/* Runs the loop on the calling thread instead, until worker_stop. */
void worker_run(struct worker *w, void (*on_start)(struct worker *w));
/* Any thread: ends the loop after the current turn: letters already in the box are delivered, the
 * turn-end hooks run and output is sent as far as it goes; then streams still there are closed,
 * with on_closed, and timers disarmed. */
void worker_stop(struct worker *w);
void worker_join(struct worker *w); /* after worker_start + worker_stop */
/* After join, or after worker_run returned; when no other thread posts or wakes any more. */
void worker_free(struct worker *w);

int worker_index(const struct worker *w);
void *worker_user(const struct worker *w);
struct budget *worker_budget(const struct worker *w);
/* The turn's time. Owner only. */
int64_t worker_now_ns(const struct worker *w);
bool worker_is_current(const struct worker *w); /* called on its own thread? */

/* ---- timers: a wheel behind one uv timer; 1 ms resolution, never early ---- */

struct timer {
    struct timer *prev, *next; /* private to timer.c */
    int64_t deadline_ns;       /* MONO_NEVER: not armed */
    void (*fire)(struct timer *t, int64_t now_ns);
};
void timer_init(struct timer *t, void (*fire)(struct timer *t, int64_t now_ns));
/* Arms, or moves, it. It fires once, on the turn that begins at or after the deadline (rounded up
 * to a millisecond). A deadline that has passed fires on the next turn, not in this one. O(1). */
void timer_arm(struct worker *w, struct timer *t, int64_t deadline_ns);
void timer_disarm(struct worker *w, struct timer *t); /* no-op when not armed */
static inline bool timer_is_armed(const struct timer *t)
{
    return t->next != NULL;
}

/* ---- mail: from any thread to a worker ---- */

enum { MAIL_MAX = 65536 }; /* letters waiting in one box: more would only hide an overload */

struct mail {
    struct mail *next;                                 /* private to mail.c */
    void (*deliver)(struct mail *m, struct worker *w); /* on <w>; owns the letter from then on */
};
/* Any thread. TG_EBUSY when the box is full, TG_ECLOSED after stop (in both the letter stays the
 * caller's). Letters of one thread arrive in order. One wake-up per batch. A letter posted while
 * mail is delivered is delivered in a later batch. */
TG_MUSTCHECK enum tg_err worker_post(struct worker *w, struct mail *m);

/* Any thread: make <fn>(<ctx>) run once on the worker soon; calls before it ran fold into one. For
 * completion queues (the store's port). Register on the worker before its first wake. */
struct worker_wake;
struct worker_wake *worker_wake_new(struct worker *w, void (*fn)(void *ctx), void *ctx);
void worker_wake(struct worker_wake *k); /* any thread */

/* <fn>(<ctx>) at the end of every turn, in the order registered. Owner; before the loop runs or in
 * on_start. */
void worker_at_turn_end(struct worker *w, void (*fn)(void *ctx), void *ctx);

#endif
