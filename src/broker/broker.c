/* broker.c - the process put together: stores opened, one shard per worker, the listener, and the
 * orderly stop. The order of a start: metadata and log are opened (recovery), the loop runs, the
 * registry is read, then the listener opens: no client is let in before everything it may ask for
 * is there. The order of a stop: no new connections, no more reading, what is in flight becomes
 * durable and is acknowledged, cursors are written, connections close, the loop ends, the stores
 * close. */
#include "broker/broker.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/conn.h"
#include "broker/producer.h"
#include "broker/subscription.h"
#include "broker/topic.h"

enum {
    LEDGERS_PER_INSTANCE_BITS = 24, /* 16 M topics made per start */
    STOP_GRACE_S = 5,               /* an orderly stop that takes longer is cut short */
};
#define INSTANCE_KEY "broker/instance"

static void on_append(void *port_ctx, void *ctx, uint64_t ledger, uint64_t entry, enum tg_err e)
{
    (void)port_ctx;
    (void)ledger;
    publish_appended(ctx, entry, e);
}

static void on_store_state(void *port_ctx, enum ls_state state, const char *why)
{
    struct shard *s = port_ctx;
    s->store_state = state;
    switch (state) {
    case LS_OK:
        log_info("store: has room again");
        publish_store_has_room(s);
        break;
    case LS_FULL:
        log_warn("store: full: %s; publishing waits until there is room", why ? why : "");
        break;
    case LS_FAILED:
        broker_fail(s->broker, why);
        break;
    }
}

static void wake_log(void *port_ctx)
{
    struct shard *s = port_ctx;
    worker_wake(s->log_wake);
}

static void poll_log(void *ctx)
{
    struct shard *s = ctx;
    ls_port_poll(s->log);
    if (s->blocked && s->store_state == LS_OK)
        publish_store_has_room(s);
}

static void wake_meta(void *ctx)
{
    struct shard *s = ctx;
    worker_wake(s->meta_wake);
}

static void poll_meta(void *ctx)
{
    struct shard *s = ctx;
    ms_port_poll(s->meta);
}

static void turn_end(void *ctx)
{
    struct shard *s = ctx;
    publish_memory_given_back(s);
    topics_dispatch(s);
    ls_port_submit(s->log);
}

static const struct ls_port_ops port_ops = {
    .on_append = on_append, .on_state = on_store_state, .wake = wake_log};

int64_t shard_wall_ns(struct shard *s)
{
    int64_t now = shard_now_ns(s);
    if (s->wall_of_ns != now) {
        s->wall_of_ns = now;
        s->wall_ns = wall_now_ns();
    }
    return s->wall_ns;
}

/* ---- start ---- */

static TG_MUSTCHECK enum tg_err make_data_dir(const char *dir, char **why)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        *why = xasprintf("data directory %s: can't be made: %s", dir, strerror(errno));
        return TG_EIO;
    }
    char *inside = xasprintf("%s/.", dir); /* what is no directory has no inside */
    int error = access(inside, R_OK | W_OK | X_OK) == 0 ? 0 : errno;
    free(inside);
    if (error == 0)
        return TG_OK;
    *why = xasprintf("data directory %s: %s", dir, strerror(error));
    return TG_EIO;
}

enum tg_err broker_open(struct broker *b, struct settings *s, char **why)
{
    *b = (struct broker){.settings = s, .shards = 1, .started_ns = mono_now_ns()};
    budget_init(&b->budget, s->memory_bytes);
    timer_init(&b->stop_timer, NULL);
    enum tg_err e = make_data_dir(s->data_dir, why);
    if (!e)
        e = meta_open(&b->meta, s->data_dir, why);
    if (e)
        return e;
    struct log_config log = {
        .dir = s->data_dir,
        .durability = s->durability_sync ? LS_SYNC : LS_OS,
        .segment_bytes = (uint64_t)s->segment_bytes,
        .budget = &b->budget,
    };
    e = log_open(&b->ledgers, &log, why);
    if (e) {
        meta_close(b->meta);
        b->meta = NULL;
        return e;
    }
    struct worker_config cfg = {.index = 0, .budget = &b->budget, .user = &b->shard[0]};
    e = worker_new(&b->shard[0].worker, &cfg);
    if (e)
        *why = xasprintf("event loop: %s", err_text(e));
    return e;
}

static void fail_start(struct broker *b, char *why)
{
    free(b->fatal);
    b->fatal = why;
    b->exit_code = 1;
    worker_stop(b->shard[0].worker);
}

static void on_accept(void *ctx, struct stream *stream)
{
    conn_accept(ctx, stream);
}

static const char *advertised_host(const struct broker *b)
{
    const char *bound = b->settings->bind_address;
    if (b->settings->advertised_address)
        return b->settings->advertised_address;
    bool any = strcmp(bound, "0.0.0.0") == 0 || strcmp(bound, "::") == 0;
    return any ? "localhost" : bound;
}

struct run {
    struct broker *broker;
    void (*on_ready)(void *ctx);
    void *ctx;
};

static void open_door(struct run *run)
{
    struct broker *b = run->broker;
    const struct settings *set = b->settings;
    if (b->stopping || b->fatal)
        return; /* meanwhile */
    b->broker_port = (int)set->broker_port;
    enum tg_err e = listener_open(&b->listener, b->shard[0].worker, set->bind_address,
                                  &b->broker_port, on_accept, &b->shard[0]);
    if (e) {
        fail_start(b, xasprintf("broker port: can't listen on %s:%d: %s; choose another with %s",
                                set->bind_address, (int)set->broker_port, err_text(e),
                                e == TG_EBUSY ? "--broker-port" : "--broker-port or --bind"));
        return;
    }
    const char *host = advertised_host(b);
    bool bare6 = strchr(host, ':') != NULL;
    b->service_url =
        xasprintf("pulsar://%s%s%s:%d", bare6 ? "[" : "", host, bare6 ? "]" : "", b->broker_port);
    b->ready = true;
    run->on_ready(run->ctx);
}

static void on_loaded(void *ctx, enum tg_err e)
{
    struct run *run = ctx;
    if (e)
        fail_start(run->broker, xasprintf("metadata: can't be read: %s", err_text(e)));
    else
        open_door(run);
}

static void on_instance_written(void *ctx, enum tg_err e, int64_t version, const char *value,
                                size_t len)
{
    (void)version;
    (void)value;
    (void)len;
    struct run *run = ctx;
    if (e)
        fail_start(run->broker, xasprintf("metadata: can't be written: %s", err_text(e)));
    else
        registry_load(run->broker->registry, on_loaded, run);
}

/* Every start gets a number of its own: names and ledger ids made from it are never used twice. */
static void on_instance(void *ctx, enum tg_err e, int64_t version, const char *value, size_t len)
{
    (void)version;
    struct run *run = ctx;
    struct broker *b = run->broker;
    if (e && e != TG_ENOENT) {
        fail_start(b, xasprintf("metadata: can't be read: %s", err_text(e)));
        return;
    }
    char text[32] = "0";
    if (!e && len < sizeof text) {
        memcpy(text, value, len);
        text[len] = '\0';
    }
    b->instance = strtoull(text, NULL, 10) + 1;
    b->next_ledger = b->instance << LEDGERS_PER_INSTANCE_BITS;
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)b->instance);
    ms_put(b->shard[0].meta, INSTANCE_KEY, text, (size_t)n, MS_ANY, on_instance_written, run);
}

static void start_shard(struct shard *s, struct broker *b)
{
    s->broker = b;
    s->log_wake = worker_wake_new(s->worker, poll_log, s);
    s->meta_wake = worker_wake_new(s->worker, poll_meta, s);
    s->log = ls_port_open(b->ledgers, &port_ops, s);
    s->meta = ms_port_open(b->meta, wake_meta, s);
    worker_at_turn_end(s->worker, turn_end, s);
}

static void on_worker_start(struct worker *w)
{
    struct shard *s = shard_of(w);
    s->broker->registry = registry_new(s);
    ms_get(s->meta, INSTANCE_KEY, on_instance, s->broker->run);
}

/* The loop has ended, all connections are gone. Whoever still waits for a row or a read is told, so
 * that every request ends as it would have, and lets go of what it holds. */
static void settle(struct shard *s)
{
    bool more = true;
    while (more) {
        more = ms_port_finish(s->meta);
        more = ls_port_finish_reads(s->log) || more;
    }
}

int broker_run(struct broker *b, void (*on_ready)(void *ctx), void *ctx)
{
    struct run run = {.broker = b, .on_ready = on_ready, .ctx = ctx};
    b->run = &run;
    start_shard(&b->shard[0], b);
    worker_run(b->shard[0].worker, on_worker_start);
    b->ready = false;
    settle(&b->shard[0]);
    return b->exit_code;
}

/* ---- stop ---- */

/* The worker writes what is still to be said and ends every stream, before its loop ends. */
static void end_loop(struct broker *b)
{
    b->ready = false;
    conn_close_all(&b->shard[0], "the broker stops");
    worker_stop(b->shard[0].worker);
}

static void on_cursors_written(void *ctx)
{
    end_loop(ctx);
}

static void stop_step(struct timer *t, int64_t now_ns)
{
    struct broker *b = (struct broker *)((char *)t - offsetof(struct broker, stop_timer));
    struct shard *s = &b->shard[0];
    if (now_ns >= b->stop_deadline_ns) {
        log_warn("stop: %llu messages still in flight after %d s: given up, unacknowledged",
                 (unsigned long long)s->in_flight, STOP_GRACE_S);
        end_loop(b);
    } else if (s->in_flight > 0) {
        timer_arm(s->worker, t, now_ns + MONO_MS);
    } else {
        timer_arm(s->worker, t, b->stop_deadline_ns); /* should the cursors hang */
        subscriptions_flush_all(s, on_cursors_written, b);
    }
}

/* Or their limits would feed the store during the stop, and it would never be idle. Nobody was
 * promised anything: their clients send them again. */
static void drop_what_is_parked(struct shard *s)
{
    for (struct topic *t = s->topics; t; t = t->hh.next)
        for (struct producer *p = t->producers; p; p = p->next)
            publish_abandon(p);
}

static void begin_stop(struct mail *m, struct worker *w)
{
    free(m);
    struct shard *s = shard_of(w);
    struct broker *b = s->broker;
    if (b->stopping)
        return;
    b->stopping = true;
    log_info("stopping");
    if (b->listener)
        listener_close(b->listener);
    b->listener = NULL;
    for (struct conn *c = s->conns; c; c = c->hh.next)
        stream_pause(c->stream);
    drop_what_is_parked(s);
    b->stop_deadline_ns = shard_now_ns(s) + STOP_GRACE_S * MONO_S;
    timer_init(&b->stop_timer, stop_step);
    timer_arm(w, &b->stop_timer, shard_now_ns(s));
}

void broker_stop(struct broker *b)
{
    struct mail *m = xcalloc(1, sizeof *m);
    m->deliver = begin_stop;
    if (worker_post(b->shard[0].worker, m) != TG_OK)
        free(m); /* it has ended already */
}

void broker_fail(struct broker *b, const char *why)
{
    if (b->fatal)
        return;
    b->fatal = xstrdup(why ? why : "unknown reason");
    b->exit_code = 5;
    log_error("store: %s; nothing more is acknowledged, the broker ends", b->fatal);
    worker_stop(b->shard[0].worker);
}

void broker_close(struct broker *b)
{
    struct shard *s = &b->shard[0];
    if (s->log) {
        struct topic *t, *next;
        HASH_ITER(hh, s->topics, t, next)
        {
            topic_free(t);
        }
        registry_free(b->registry);
        ms_port_close(s->meta);
        ls_port_close(s->log);
    }
    if (s->worker)
        worker_free(s->worker);
    if (b->ledgers)
        ls_close(b->ledgers);
    if (b->meta)
        meta_close(b->meta);
    free(b->service_url);
    free(b->fatal);
}
