/* The worker: its thread, its loop, the order of a turn (loop.h), and its end.
 *
 * Invariant: a wake-up is never lost. Whoever leaves work sets <signalled> after it and writes to
 * the eventfd if it was not set; the worker clears it before it looks for work. All work is taken
 * at the beginning of a turn or in on_wake, whichever comes first.
 *
 * The eventfd is our own and not a uv_async_t: there the loop waits, spinning, until the call that
 * woke it has returned; on a processor shared with the caller (a committer's, say) that is 40 us in
 * which neither gets on. It outlives the loop's run until worker_free, so that a late worker_post
 * or worker_wake from another thread finds a closed box but never a closed descriptor. */
#include "net/loop.h"

#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"

struct worker_wake {
    struct worker *worker;
    struct worker_wake *next;
    void (*fn)(void *ctx);
    void *ctx;
    atomic_bool pending;
};

/* Which worker runs on this thread: what worker_is_current asks, and all it is for. */
static _Thread_local const struct worker *current_worker;

/* ---- the turn ---- */

static void take_mail(struct worker *w)
{
    if (!atomic_load_explicit(&w->signalled, memory_order_relaxed))
        return;
    atomic_exchange_explicit(&w->signalled, false, memory_order_acq_rel);
    for (struct mail *m = mailbox_take(&w->mail), *next; m != NULL; m = next) {
        next = m->next;
        m->deliver(m, w);
    }
    for (struct worker_wake *k = w->wakes; k != NULL; k = k->next)
        if (atomic_exchange_explicit(&k->pending, false, memory_order_acq_rel))
            k->fn(k->ctx);
    if (atomic_load_explicit(&w->stopping, memory_order_acquire))
        uv_stop(&w->loop);
}

void turn_begin(struct worker *w)
{
    if (w->in_turn || w->loop_ended)
        return;
    w->in_turn = true;
    w->now_ns = mono_now_ns();
    wheel_expire(&w->wheel, w->now_ns);
    take_mail(w);
    streams_run_ready(w);
}

static void on_alarm(uv_timer_t *h)
{
    turn_begin(h->data);
}

/* Asks libuv to come back when the wheel or a ready stream needs it. */
static void set_alarm(struct worker *w)
{
    int64_t next_ns = TAILQ_EMPTY(&w->ready) ? wheel_next_ns(&w->wheel) : 0;
    if (next_ns == MONO_NEVER) {
        uv_timer_stop(&w->alarm);
        return;
    }
    int64_t wait_ns = 0;
    if (next_ns > 0)
        wait_ns = next_ns - mono_now_ns(); /* not the turn's time: the turn may have been long */
    uint64_t wait_ms = wait_ns > 0 ? ((uint64_t)wait_ns + MONO_MS - 1) / MONO_MS : 0;
    uv_timer_start(&w->alarm, on_alarm, wait_ms, 0);
}

static void turn_end(struct worker *w)
{
    for (int i = 0; i < w->hook_count; i++)
        w->hooks[i].fn(w->hooks[i].ctx);
    streams_flush(w);
    w->in_turn = false;
}

static void on_prepare(uv_prepare_t *h)
{
    struct worker *w = h->data;
    turn_begin(w); /* nothing has called yet: the first turn, or an interrupted sleep */
    turn_end(w);
    set_alarm(w);
}

static void on_wake(uv_poll_t *h, int status, int events)
{
    struct worker *w = h->data;
    eventfd_t ignored;
    (void)status;
    (void)events;
    (void)eventfd_read(w->wake_fd, &ignored); /* before the work is looked for */
    turn_begin(w);
    take_mail(w); /* what came since this turn began */
}

/* ---- life ---- */

enum tg_err worker_new(struct worker **out, const struct worker_config *cfg)
{
    struct worker *w = xcalloc(1, sizeof(*w));
    w->cfg = *cfg;
    if (uv_loop_init(&w->loop) != 0) {
        free(w);
        return TG_ELIMIT;
    }
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->wake_fd < 0 || uv_poll_init(&w->loop, &w->wake_poll, w->wake_fd) != 0) {
        if (w->wake_fd >= 0)
            close(w->wake_fd);
        uv_loop_close(&w->loop);
        free(w);
        return TG_ELIMIT;
    }
    uv_prepare_init(&w->loop, &w->prepare);
    uv_timer_init(&w->loop, &w->alarm);
    w->prepare.data = w->wake_poll.data = w->alarm.data = w;
    uv_prepare_start(&w->prepare, on_prepare);
    uv_poll_start(&w->wake_poll, UV_READABLE, on_wake);
    mailbox_init(&w->mail);
    w->now_ns = mono_now_ns();
    wheel_init(&w->wheel, w->now_ns);
    TAILQ_INIT(&w->listeners);
    streams_init(w);
    *out = w;
    return TG_OK;
}

/* Ends the last turn in order, then closes what is left: streams with on_closed, the rest silently.
 */
static void end_loop(struct worker *w)
{
    if (w->loop_ended)
        return;
    w->loop_ended = true;
    for (struct mail *m = mailbox_close(&w->mail), *next; m != NULL; m = next) {
        next = m->next;
        m->deliver(m, w);
    }
    if (w->ran)
        turn_end(w);
    listeners_close_all(w);
    streams_close_all(w);
    uv_close((uv_handle_t *)&w->prepare, NULL);
    uv_close((uv_handle_t *)&w->alarm, NULL);
    uv_close((uv_handle_t *)&w->wake_poll, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    wheel_clear(&w->wheel); /* also of what an on_closed armed */
}

void worker_run(struct worker *w, void (*on_start)(struct worker *w))
{
    current_worker = w;
    w->ran = true;
    w->now_ns = mono_now_ns();
    wheel_expire(&w->wheel, w->now_ns); /* nothing is armed: sets its time */
    if (on_start != NULL)
        on_start(w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    end_loop(w);
    current_worker = NULL;
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    worker_run(w, w->on_start);
    return NULL;
}

enum tg_err worker_start(struct worker *w, void (*on_start)(struct worker *w))
{
    w->on_start = on_start;
    return pthread_create(&w->thread, NULL, thread_main, w) == 0 ? TG_OK : TG_ELIMIT;
}

static void signal_worker(struct worker *w)
{
    if (atomic_exchange_explicit(&w->signalled, true, memory_order_acq_rel))
        return;
    atomic_fetch_add_explicit(&w->signals, 1, memory_order_relaxed);
    (void)eventfd_write(w->wake_fd, 1); /* can't fail: one write per <signalled> never fills it */
}

void worker_stop(struct worker *w)
{
    atomic_store_explicit(&w->stopping, true, memory_order_release);
    signal_worker(w);
}

void worker_join(struct worker *w)
{
    pthread_join(w->thread, NULL);
}

void worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    end_loop(w); /* when it never ran */
    TG_ASSERT(uv_loop_close(&w->loop) == 0);
    close(w->wake_fd);
    for (struct worker_wake *k = w->wakes, *next; k != NULL; k = next) {
        next = k->next;
        free(k);
    }
    free(w->read_buffer);
    free(w);
}

int worker_index(const struct worker *w)
{
    return w->cfg.index;
}

void *worker_user(const struct worker *w)
{
    return w->cfg.user;
}

struct budget *worker_budget(const struct worker *w)
{
    return w->cfg.budget;
}

int64_t worker_now_ns(const struct worker *w)
{
    return w->now_ns;
}

bool worker_is_current(const struct worker *w)
{
    return current_worker == w;
}

/* ---- from other threads, and the hooks ---- */

enum tg_err worker_post(struct worker *w, struct mail *m)
{
    enum tg_err err = mailbox_put(&w->mail, m);
    if (err == TG_OK)
        signal_worker(w);
    return err;
}

struct worker_wake *worker_wake_new(struct worker *w, void (*fn)(void *ctx), void *ctx)
{
    struct worker_wake *k = xcalloc(1, sizeof(*k));
    k->worker = w;
    k->fn = fn;
    k->ctx = ctx;
    struct worker_wake **end = &w->wakes; /* in the order registered */
    while (*end != NULL)
        end = &(*end)->next;
    *end = k;
    return k;
}

void worker_wake(struct worker_wake *k)
{
    if (!atomic_exchange_explicit(&k->pending, true, memory_order_acq_rel))
        signal_worker(k->worker);
}

void worker_at_turn_end(struct worker *w, void (*fn)(void *ctx), void *ctx)
{
    TG_ASSERT(w->hook_count < TURN_HOOKS_MAX);
    w->hooks[w->hook_count++] = (struct turn_hook){fn, ctx};
}
