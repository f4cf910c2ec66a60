/* in_flight.c - see in_flight.h.
 *
 * Invariant: a front is full from the moment that all it has in flight is at the limit until it is
 * at half of that; while it is, its socket rests, and each link that has a part in it knows, so
 * that the far end tells when that part goes down. */
#include "broker/in_flight.h"

#include "broker/link.h"

/* A far end may be off by this part of the limit while it appends what was parked. */
enum { UNTOLD_PART = 8 };

static struct flight limit_of(const struct flight_limit *l)
{
    return (struct flight){(uint64_t)atomic_load_explicit(&l->frames, memory_order_relaxed),
                           (uint64_t)atomic_load_explicit(&l->bytes, memory_order_relaxed)};
}

void flight_limit_set(struct broker *b, const struct settings *s)
{
    atomic_store_explicit(&b->flight_limit.frames, s->max_pending_per_connection,
                          memory_order_relaxed);
    atomic_store_explicit(&b->flight_limit.bytes, s->max_pending_bytes, memory_order_relaxed);
}

static bool is_at(struct flight n, struct flight limit)
{
    return (limit.frames > 0 && n.frames >= limit.frames) ||
           (limit.bytes > 0 && n.bytes >= limit.bytes);
}

static bool is_over_half_of(struct flight n, struct flight limit)
{
    return (limit.frames > 0 && 2 * n.frames > limit.frames) ||
           (limit.bytes > 0 && 2 * n.bytes > limit.bytes);
}

static bool is_much(uint64_t grown, uint64_t limit)
{
    return limit > 0 && (int64_t)grown > (int64_t)limit / UNTOLD_PART;
}

bool flight_is_much(const struct flight_limit *l, struct flight grown)
{
    struct flight limit = limit_of(l);
    return is_much(grown.frames, limit.frames) || is_much(grown.bytes, limit.bytes);
}

void front_read_on(struct front *f)
{
    if (!f->is_full && !links_make_rest(f))
        front_resume(f, REASON_CONNECTION_IN_FLIGHT);
}

void front_in_flight_changed(struct front *f)
{
    struct flight limit = limit_of(&f->conn.shard->broker->flight_limit);
    struct flight all = flight_plus(f->conn.in_flight, f->far_in_flight);
    if (!f->is_full && is_at(all, limit)) {
        f->is_full = true;
        front_pause(f, REASON_CONNECTION_IN_FLIGHT);
        links_tell_full(f);
    } else if (f->is_full && !is_over_half_of(all, limit)) {
        f->is_full = false;
        front_read_on(f);
    }
}

static void changed(struct conn *c)
{
    if (c->front)
        front_in_flight_changed(c->front);
    else
        link_in_flight_changed(c->link);
}

void conn_appended(struct conn *c, uint64_t bytes)
{
    c->in_flight = flight_plus(c->in_flight, (struct flight){1, bytes});
    changed(c);
}

void conn_acknowledged(struct conn *c, uint64_t bytes)
{
    c->in_flight = flight_minus(c->in_flight, (struct flight){1, bytes});
    changed(c);
}
