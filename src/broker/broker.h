/* broker.h - the process: stores, workers, and the broker's part of each worker (a shard). */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/log.h"
#include "broker/events.h"
#include "broker/in_flight.h"
#include "broker/letter.h"
#include "broker/refusals.h"
#include "broker/registry.h"
#include "broker/settings.h"
#include "broker/subscribe_limit.h"
#include "net/stream.h"
#include "net/worker.h"
#include "quota/quota.h"
#include "store/ledger_store.h"
#include "store/meta_store.h"

struct arena;
struct block_set;
struct broker;
struct conn;
struct link;
struct quotas;
struct topic;
struct walk_part;

/* The broker's part of one worker; worker_user() gives it. Everything in it belongs to that worker.
 */
struct shard {
    char pad[64]; /* no cache line is shared with another's */
    struct broker *broker;
    int index; /* 0: the control worker */
    struct worker *worker;
    struct ls_port *log;
    struct ms_port *meta;
    struct worker_wake *log_wake, *meta_wake;
    struct quota_worker quotas; /* its leases */
    struct timer leases_timer;  /* armed: some are kept */
    struct topic *topics;       /* map by full name */
    struct topic *
        dirty_topics; /* with entries newly durable or consumers newly able: dispatch at turn end */
    struct conn *conns;                  /* map by id: fronts, and far ends of links */
    uint32_t front_count;                /* sockets */
    struct arena *arena;                 /* of the command being handled */
    struct link *links_out, *links_back; /* with a parcel to be posted at turn end */
    struct link *links_orphaned;         /* link.c: whose other worker has ended first */
    struct letter_queue unsent[BROKER_WORKERS_MAX], undelivered; /* letter.c */
    struct timer unsent_timer;
    struct subscribe_attempts subscribe_attempts;
    uint64_t kept_bytes;        /* of entries read that wait for tokens (dispatch_read.c) */
    struct block_set *blocks;   /* in force here (blocking.h); NULL before the first */
    struct walk_part *walks;    /* under way here */
    struct timer stalled_timer; /* front.c */
    bool stopping;              /* nothing more is read */
    struct timer stop_timer;
    int64_t stop_deadline_ns;
    enum ls_state store_state;
    struct producer *wanting_memory; /* producers that wait until parked frames have gone */
    bool memory_is_given;            /* to those, in turn: producers_memory_given_back */
    struct producer *blocked; /* producers that wait for the store (full disk, in-flight memory) */
    uint64_t next_producer_name;
    uint64_t in_flight;                     /* appended by any producer, not yet durable */
    int64_t wall_ns, wall_of_ns;            /* the wall clock, read once per turn: shard_wall_ns */
    uint64_t publish_throttled_total;       /* throttlings begun, for metrics */
    struct log_gate event_gate;             /* events.c */
    int64_t buffer_event_ns[EVENT_BUFFERS]; /* the next may not come before */
    struct log_gate throttle_log, refused_log; /* of all producers, of all connections */
    struct refusals refusals;                  /* of consumers */
    _Atomic int64_t placed_connections; /* by the listener: those here and on their way here */
};

struct broker {
    struct settings *settings; /* owned by main */
    struct budget budget;
    struct ledger_store *ledgers;
    struct meta_store *meta;
    struct shard shard[BROKER_WORKERS_MAX];
    int shards;
    struct flight_limit flight_limit; /* of every connection */
    struct registry *registry;        /* on shard[0] */
    struct quotas *quotas;            /* on shard[0] */
    struct events *events;            /* on shard[0], but for event_post */
    struct listener *listener;
    int broker_port;    /* the real one */
    char *service_url;  /* pulsar://host:port as LOOKUP answers it */
    char *web_url;      /* set by main when admin/ listens; for lookups over HTTP */
    int64_t started_ns; /* monotonic */
    _Atomic uint64_t last_conn_id;
    _Atomic int64_t connections; /* sockets of all workers */
    _Atomic int wanting_memory;  /* producers, of all workers */
    uint64_t instance; /* counts the starts of this data directory: part of made-up names and ids */
    uint64_t next_ledger; /* instance << 24 upwards, so that no id is ever used twice */
    bool stopping;        /* the control worker's, like the next one */
    int still_stopping;   /* workers that have something to finish */
    struct run *run;      /* private to broker.c: whom to tell when ready */
    _Atomic bool failed;
    _Atomic bool ready;
    _Atomic int
        exit_code; /* what the process ends with: 0 in order, 1 no start, 5 the disk failed */
    char *fatal;   /* why, when it was not */
};

/* Opens the stores and the listener, loads the registry. On error *why (caller frees) names file or
 * address and what to do. Call on the main thread, before the workers run. */
TG_MUSTCHECK enum tg_err broker_open(struct broker *b, struct settings *s, char **why);
/* Runs worker 0 on the calling thread and the others on their own until broker_stop;
 * <on_ready>(ctx) is called on worker 0 when clients can be served. Returns the exit code. */
int broker_run(struct broker *b, void (*on_ready)(void *ctx), void *ctx);
/* Any thread, also a signal's watcher: stop in order: no new connections, receipts owed go out,
 * cursors are written, stores are closed. */
void broker_stop(struct broker *b);
/* The store failed or memory is damaged: say why and end with an error, without acknowledging
 * anything. Any worker. */
void broker_fail(struct broker *b, const char *why);
/* A worker has stopped (shard_stop). On the control worker. */
void broker_shard_stopped(struct broker *b);
void broker_close(struct broker *b); /* after broker_run returned */

/* ---- shard.c ---- */

/* Opens its ports; before its worker runs. */
void shard_start(struct shard *s);
/* Orderly stop, on its worker: nothing more is read, what is in flight becomes durable and is
 * acknowledged, cursors are written; then the control worker hears of it. */
void shard_stop(struct shard *s);
/* All workers have ended: whoever waits is told, so that every request ends as it would have.
 * False: nobody waited. Main thread. */
bool shard_settle(struct shard *s);

static inline struct shard *shard_control(const struct shard *s)
{
    return &s->broker->shard[0];
}
static inline struct shard *shard_of(struct worker *w)
{
    return worker_user(w);
}
/* The wall clock at shard_now_ns: what entries are stamped with, so that their times show what
 * limits let pass. */
int64_t shard_wall_ns(struct shard *s);
static inline int64_t shard_now_ns(const struct shard *s)
{
    return worker_now_ns(s->worker);
}

#endif
