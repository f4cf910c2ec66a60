/* broker.h - the process: stores, workers, and the broker's part of each worker (a shard). */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/log.h"
#include "broker/registry.h"
#include "broker/settings.h"
#include "net/stream.h"
#include "net/worker.h"
#include "store/ledger_store.h"
#include "store/meta_store.h"

struct conn;
struct topic;
struct broker;

enum { BROKER_WORKERS_MAX = 1 }; /* several workers: see docs/ARCHITECTURE.md, "Placement" */

/* The broker's part of one worker; worker_user() gives it. Everything in it belongs to that worker.
 */
struct shard {
    struct broker *broker;
    struct worker *worker;
    struct ls_port *log;
    struct ms_port *meta;
    struct worker_wake *log_wake, *meta_wake;
    struct topic *topics; /* map by full name */
    struct topic *
        dirty_topics; /* with entries newly durable or consumers newly able: dispatch at turn end */
    struct conn *conns; /* list */
    uint32_t conn_count;
    enum ls_state store_state;
    struct producer
        *wanting_memory;      /* producers whose socket rests until parked frames have gone */
    struct producer *blocked; /* producers that wait for the store (full disk, in-flight memory) */
    uint64_t next_producer_name;
    uint64_t in_flight;               /* appended by any producer, not yet durable */
    int64_t wall_ns, wall_of_ns;      /* the wall clock, read once per turn: shard_wall_ns */
    uint64_t publish_throttled_total; /* throttlings begun, for metrics */
    struct log_gate throttle_log, refused_log; /* of all producers, of all connections */
};

struct broker {
    struct settings *settings; /* owned by main */
    struct budget budget;
    struct ledger_store *ledgers;
    struct meta_store *meta;
    struct shard shard[BROKER_WORKERS_MAX];
    int shards;
    struct registry *registry; /* on shard[0] */
    struct listener *listener;
    int broker_port;    /* the real one */
    char *service_url;  /* pulsar://host:port as LOOKUP answers it */
    char *web_url;      /* set by main when admin/ listens; for lookups over HTTP */
    int64_t started_ns; /* monotonic */
    uint64_t next_conn_id;
    uint64_t instance; /* counts the starts of this data directory: part of made-up names and ids */
    uint64_t next_ledger; /* instance << 24 upwards, so that no id is ever used twice */
    bool stopping;
    struct timer stop_timer;
    int64_t stop_deadline_ns;
    struct run *run; /* private to broker.c: whom to tell when ready */
    _Atomic bool ready;
    _Atomic int
        exit_code; /* what the process ends with: 0 in order, 1 no start, 5 the disk failed */
    char *fatal;   /* why, when it was not */
};

/* Opens the stores and the listener, loads the registry. On error *why (caller frees) names file or
 * address and what to do. Call on the main thread, before the workers run. */
TG_MUSTCHECK enum tg_err broker_open(struct broker *b, struct settings *s, char **why);
/* Runs worker 0 on the calling thread until broker_stop; <on_ready>(ctx) is called on it when
 * clients can be served. Returns the exit code. */
int broker_run(struct broker *b, void (*on_ready)(void *ctx), void *ctx);
/* Any thread, also a signal's watcher: stop in order: no new connections, receipts owed go out,
 * cursors are written, stores are closed. */
void broker_stop(struct broker *b);
/* The store failed or memory is damaged: say why and end with an error, without acknowledging
 * anything. */
void broker_fail(struct broker *b, const char *why);
void broker_close(struct broker *b); /* after broker_run returned */

static inline struct shard *shard_of(struct worker *w)
{
    return worker_user(w);
}
/* The turn's wall clock: what entries are stamped with. */
int64_t shard_wall_ns(struct shard *s);
static inline int64_t shard_now_ns(const struct shard *s)
{
    return worker_now_ns(s->worker);
}

#endif
