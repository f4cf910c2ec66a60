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
#include "broker/block.h"
#include "broker/front.h"
#include "broker/link.h"
#include "broker/quotas.h"
#include "broker/topic.h"
#include "broker/walk.h"

enum {
    LEDGERS_PER_INSTANCE_BITS = 24, /* 16 M topics made per start */
};
#define INSTANCE_KEY "broker/instance"

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

static TG_MUSTCHECK enum tg_err make_shards(struct broker *b, char **why)
{
    for (int i = 0; i < b->shards; i++) {
        struct shard *s = &b->shard[i];
        struct worker_config cfg = {.index = i, .budget = &b->budget, .user = s};
        s->broker = b;
        s->index = i;
        s->quotas.index = (uint32_t)i;
        enum tg_err e = worker_new(&s->worker, &cfg);
        if (e) {
            *why = xasprintf("event loop of worker %d: %s", i, err_text(e));
            return e;
        }
    }
    return TG_OK;
}

enum tg_err broker_open(struct broker *b, struct settings *s, char **why)
{
    *b = (struct broker){.settings = s, .shards = (int)s->workers, .started_ns = mono_now_ns()};
    TG_ASSERT(b->shards >= 1 && b->shards <= BROKER_WORKERS_MAX); /* settings_set saw to it */
    budget_init(&b->budget, s->memory_bytes);
    if (s->publish_buffer_mb > 0)
        budget_limit_publishing(&b->budget, s->publish_buffer_mb << 20);
    enum tg_err e = make_data_dir(s->data_dir, why);
    if (!e)
        e = meta_open(&b->meta, s->data_dir, why);
    if (e)
        return e;
    e = events_open(b, why);
    if (e) {
        meta_close(b->meta);
        b->meta = NULL;
        return e;
    }
    struct log_config log = {
        .dir = s->data_dir,
        .durability = s->durability_sync ? LS_SYNC : LS_OS,
        .segment_bytes = (uint64_t)s->segment_bytes,
        .budget = &b->budget,
    };
    e = log_open(&b->ledgers, &log, why);
    if (e) {
        events_close(b->events);
        b->events = NULL;
        meta_close(b->meta);
        b->meta = NULL;
        return e;
    }
    return make_shards(b, why);
}

static void stop_workers(struct broker *b)
{
    for (int i = 0; i < b->shards; i++)
        worker_stop(b->shard[i].worker);
}

static void fail_start(struct broker *b, char *why)
{
    if (atomic_exchange(&b->failed, true)) {
        free(why);
        return;
    }
    b->fatal = why;
    b->exit_code = 1;
    stop_workers(b);
}

static void on_accept(void *ctx, struct stream *stream)
{
    front_place(ctx, stream);
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
    if (b->stopping || b->failed)
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
    events_number_from(b->events, b->instance);
    b->next_ledger = b->instance << LEDGERS_PER_INSTANCE_BITS;
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)b->instance);
    ms_put(b->shard[0].meta, INSTANCE_KEY, text, (size_t)n, MS_ANY, on_instance_written, run);
}

static void on_worker_start(struct worker *w)
{
    struct shard *s = shard_of(w);
    s->broker->quotas = quotas_new(s);
    s->broker->registry = registry_new(s);
    ms_get(s->meta, INSTANCE_KEY, on_instance, s->broker->run);
}

/* Worker 0 is this thread. Returns how many were started. */
static int start_others(struct broker *b)
{
    for (int i = 1; i < b->shards; i++) {
        enum tg_err e = worker_start(b->shard[i].worker, NULL);
        if (e) {
            fail_start(b, xasprintf("worker %d can't be started: %s", i, err_text(e)));
            return i;
        }
    }
    return b->shards;
}

static void settle_letters(struct broker *b)
{
    bool more = true;
    while (more) {
        more = false;
        for (int i = 0; i < b->shards; i++) {
            walks_abandon(&b->shard[i]);
            more = shard_settle(&b->shard[i]) || more;
        }
    }
}

/* The workers have ended, all connections are gone. */
static void settle(struct broker *b)
{
    settle_letters(b);
    for (int i = 0; i < b->shards; i++)
        links_free_all(&b->shard[i]);
    settle_letters(b); /* what ended with the links may have been told */
}

int broker_run(struct broker *b, void (*on_ready)(void *ctx), void *ctx)
{
    struct run run = {.broker = b, .on_ready = on_ready, .ctx = ctx};
    b->run = &run;
    for (int i = 0; i < b->shards; i++)
        shard_start(&b->shard[i]);
    int started = start_others(b);
    worker_run(b->shard[0].worker, on_worker_start);
    b->ready = false;
    stop_workers(b);
    for (int i = 1; i < started; i++)
        worker_join(b->shard[i].worker);
    settle(b);
    return b->exit_code;
}

/* ---- stop ---- */

struct order {
    struct letter letter; /* first */
};

/* The worker writes what is still to be said and ends every stream, before its loop ends. */
static void end_shard(struct shard *s)
{
    fronts_close_all(s, "the broker stops");
    worker_stop(s->worker);
}

static void on_end(struct letter *l, struct shard *at)
{
    free(l);
    end_shard(at);
}

static void on_stop(struct letter *l, struct shard *at)
{
    free(l);
    shard_stop(at);
}

static void drop_order(struct letter *l)
{
    free(l);
}

static void order_others(struct broker *b, void (*read)(struct letter *l, struct shard *at))
{
    for (int i = 1; i < b->shards; i++) {
        struct order *o = xcalloc(1, sizeof *o);
        letter_post(&b->shard[0], &b->shard[i], &o->letter, read, drop_order);
    }
}

void broker_shard_stopped(struct broker *b)
{
    if (--b->still_stopping > 0)
        return;
    b->ready = false;
    order_others(b, on_end);
    end_shard(&b->shard[0]);
}

static void begin_stop(struct mail *m, struct worker *w)
{
    free(m);
    struct broker *b = shard_of(w)->broker;
    if (b->stopping)
        return;
    b->stopping = true;
    log_info("stopping");
    if (b->listener)
        listener_close(b->listener);
    b->listener = NULL;
    b->still_stopping = b->shards;
    order_others(b, on_stop);
    shard_stop(&b->shard[0]);
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
    if (atomic_exchange(&b->failed, true))
        return;
    b->fatal = xstrdup(why ? why : "unknown reason");
    b->exit_code = 5;
    log_error("store: %s; nothing more is acknowledged, the broker ends", b->fatal);
    stop_workers(b);
}

static void close_shard(struct shard *s)
{
    struct topic *t, *next;
    HASH_ITER(hh, s->topics, t, next)
    {
        topic_free(t);
    }
}

void broker_close(struct broker *b)
{
    if (b->quotas)
        b->quotas->ended = true;
    for (int i = 0; i < b->shards; i++)
        close_shard(&b->shard[i]);
    registry_free(b->registry);
    events_close(b->events);
    quotas_free(b->quotas);
    for (int i = 0; i < b->shards; i++) {
        struct shard *s = &b->shard[i];
        block_set_free(s->blocks);
        if (s->log) {
            ms_port_close(s->meta);
            ls_port_close(s->log);
            subscribe_attempts_fini(&s->subscribe_attempts);
            arena_free(s->arena);
        }
        if (s->worker)
            worker_free(s->worker);
    }
    if (b->ledgers)
        ls_close(b->ledgers);
    if (b->meta)
        meta_close(b->meta);
    free(b->service_url);
    free(b->fatal);
}
