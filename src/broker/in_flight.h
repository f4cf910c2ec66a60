/* in_flight.h - what a connection has in flight: messages (or batches) that were appended and are
 * not yet acknowledged, wherever its producers live, and their bytes. At the limit of it
 * (maxPendingPublishRequestsPerConnection, and its like in bytes) the socket is not read, until
 * half of that is left.
 *
 * Each worker counts what was appended there, in its conn. The front, which alone pauses, counts
 * what it sent over each link as in flight until the far end says that it is not: acknowledged,
 * parked, or dropped. The far end says so in the parcels that carry receipts anyway; in one of its
 * own only while the front is at its limit, or when many parked frames were appended. */
#ifndef BROKER_IN_FLIGHT_H
#define BROKER_IN_FLIGHT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct broker;
struct conn;
struct front;
struct settings;

struct flight { /* sums may go round: only differences are looked at */
    uint64_t frames, bytes;
};

static inline struct flight flight_plus(struct flight a, struct flight b)
{
    return (struct flight){a.frames + b.frames, a.bytes + b.bytes};
}

static inline struct flight flight_minus(struct flight a, struct flight b)
{
    return (struct flight){a.frames - b.frames, a.bytes - b.bytes};
}

static inline bool flight_is_none(struct flight a)
{
    return a.frames == 0 && a.bytes == 0;
}

/* The limit of every connection, 0: none. Workers read it whenever they like. */
struct flight_limit {
    _Atomic int64_t frames, bytes;
};
/* In force as <s> says: who is over it rests with the next message, who rests is read again with
 * the next acknowledgement. Control worker. */
void flight_limit_set(struct broker *b, const struct settings *s);
/* <grown> more than the front knows of are in flight: so many that it should. */
bool flight_is_much(const struct flight_limit *l, struct flight grown);

/* One message of <bytes> was appended at <c>; one was acknowledged, or is not awaited any more. On
 * <c>'s worker. */
void conn_appended(struct conn *c, uint64_t bytes);
void conn_acknowledged(struct conn *c, uint64_t bytes);

/* What the front has in flight, here or over there, has changed: pauses its socket or reads it
 * again. On the front's worker. */
void front_in_flight_changed(struct front *f);
/* It is not full, or a link does not make it rest, any more: its socket is read again, unless the
 * other, or another link, still wants it to rest. The reason is one for all of them. */
void front_read_on(struct front *f);

#endif
