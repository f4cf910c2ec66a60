/* front.h - a client's socket: frames are cut out of its bytes and go to the worker where what they
 * name lives, mostly this one. The handshake, keep-alive, and who wants the socket unread.
 *
 * Owner: the worker that it was accepted on, or moved to. */
#ifndef BROKER_FRONT_H
#define BROKER_FRONT_H

#include "broker/conn.h"

struct opening;
struct route;

struct front {
    struct conn conn; /* first: this worker's own part of the connection */
    int32_t protocol_version;
    struct pause_set pause;
    struct timer timer;  /* handshake, then keep-alive */
    int64_t resumed_ns;  /* when its socket was last read again after a pause */
    int64_t unread_sum;  /* of the time it was not read; below 0: less now, when it is not */
    struct link **links; /* by worker; NULL until the first */
    struct flight far_in_flight; /* of all links: sent there, and in flight for all it knows */
    bool is_full;             /* so much is in flight that its socket rests until half of it is */
    struct route *routes;     /* ids that live on other workers (route.h) */
    uint32_t far[2];          /* so many of them are producers, consumers: by id_kind */
    struct route *last_route; /* the last one looked up: SENDs come in runs */
    struct opening *openings; /* PRODUCERs and SUBSCRIBEs whose topic is being found */
    uint32_t opening_producers, opening_consumers;
};

/* Takes an accepted stream (or refuses it: too many connections, the broker stops). On the worker
 * that is to have it. */
void front_accept(struct shard *s, struct stream *stream);
/* On the listener's worker: to the one with the fewest connections. */
void front_place(struct shard *s, struct stream *stream);
void front_close(struct front *f, const char *why);
void fronts_close_all(struct shard *s, const char *why);
/* Turn end: while the memory for output or for frames is used up, whoever holds some of it and does
 * not get on is closed. */
void fronts_watch_memory(struct shard *s);
/* Orderly stop: nothing more is read. */
void fronts_stop_reading(struct shard *s);

/* Each is counted (producers) or a set (reasons), see pause_set. */
void front_pause_for_producer(struct front *f);
void front_resume_for_producer(struct front *f);
void front_pause(struct front *f, enum throttle_reason r);
void front_resume(struct front *f, enum throttle_reason r);

/* The connection is past its handshake: from now on the timer keeps it alive. */
void front_ready(struct front *f);

static inline struct front *front_of(struct conn *c)
{
    return (struct front *)c; /* when c->front is set */
}

#endif
