/* link.h - the part of a connection that lives on another worker than its socket.
 *
 *        near end (the front's worker)                    far end (a topic's worker)
 *        frames for what lives there  --- parcels --->    handled on the far conn
 *        written to the socket        <--- parcels ---    receipts, messages, answers
 *
 * A parcel is what one turn has for one link, so a busy link costs one letter a turn and direction.
 * Frames that were sent and not yet handled are counted; over LINK_FRAMES_MAX (the other worker
 * does not keep up) the socket rests. Output that the socket has not taken is counted at the far
 * end, which stops dispatching over STREAM_OUTPUT_HIGH, as it does for a socket of its own. What is
 * in flight is in_flight.h's.
 *
 * Life: made by the first frame; closed by the front's end: the far end then gives up its producers
 * and consumers, answers, and the near end frees it. */
#ifndef BROKER_LINK_H
#define BROKER_LINK_H

#include <stdatomic.h>

#include "broker/front.h"
#include "broker/letter.h"
#include "broker/parcel.h"
#include "broker/route.h"

enum {
    LINK_FRAMES_MAX = 8 * 1024 * 1024, /* on their way to one worker, give or take a frame */
};

struct link {
    struct shard *near_shard, *far_shard;
    /* near end */
    struct front *front;    /* NULL: gone */
    struct parcel *out;     /* being filled; NULL when there is nothing */
    struct link *next_near; /* near_shard->links_out, when <out> is set */
    bool resting;           /* it made the front rest, since the other worker does not keep up */
    bool far_pausing;       /* it is counted in the front's pause set */
    size_t owed_bytes;      /* output that the socket has not taken yet */
    uint64_t opens;         /* forwarded */
    struct flight sent;     /* SENDs forwarded, in all */
    struct flight settled;  /* of these, not in flight as far as the far end has told */
    bool far_knows_full;    /* the last parcel said that the front is at its limit */
    struct letter close, drained;
    _Atomic bool drained_on_way; /* <drained> is posted and not read */
    /* far end */
    struct conn conn;
    struct parcel *back;
    struct link *next_far; /* far_shard->links_back, when <back> is set */
    bool is_open;
    uint64_t opens_handled;
    struct flight handled; /* SENDs, in all */
    struct flight told;    /* of these, not in flight as of the last parcel */
    bool near_is_full;     /* it waits for what is in flight to go down */
    struct letter closed;
    /* both */
    char *peer, *client_version; /* never change */
    _Atomic size_t frame_bytes;  /* on their way to be handled */
    _Atomic size_t output_bytes; /* written at the far end, not yet taken by the socket */
    _Atomic bool near_waits;     /* for frame_bytes to go down */
    _Atomic bool far_waits;      /* for output_bytes to go down */
    _Atomic int64_t unread_sum;  /* the front's */
};

/* ---- near end ---- */

/* The frame is handled on <at>. */
void link_forward(struct front *f, struct shard *at, const struct frame *frame);
/* The same for PRODUCER and SUBSCRIBE: returns how many of these have been forwarded to <at>. */
uint64_t link_forward_open(struct front *f, struct shard *at, const struct frame *frame);
/* And for SEND: it is in flight from now on. */
void link_forward_send(struct front *f, struct shard *at, const struct frame *frame);
/* The front is at its limit of what is in flight. */
void links_tell_full(struct front *f);
/* Some link of it makes its socket rest, since the other worker does not keep up. */
bool links_make_rest(const struct front *f);
/* The front's socket is read again, or not any more. */
void links_note_reading(struct front *f);
/* The front's socket has taken what it was given. */
void links_drained(struct front *f);
/* The front goes: what it had elsewhere goes, too. */
void links_close(struct front *f);

/* ---- far end: conn_send.c and conn.c do this for a conn with a link ---- */
uint8_t *link_reserve(struct link *l, size_t n);
void link_commit(struct link *l, size_t n);
size_t link_output_bytes(const struct link *l);
int64_t link_unread_sum(const struct link *l); /* as front.h's */
bool link_is_congested(struct link *l);
/* Some producer there wants the socket unread, or none does any more. */
void link_set_pausing(struct link *l, bool pausing);
/* What is in flight at the far end is another. */
void link_in_flight_changed(struct link *l);
void link_ask_to_close(struct link *l, const char *why);
/* Perhaps the id names nothing there any more: then the near end is told, and forgets its way. */
void link_note_gone(struct link *l, enum id_kind kind, uint64_t id);

/* ---- the shard ---- */
void links_post(struct shard *s); /* turn end */
/* The workers have ended, all fronts are gone: frees what is left. Main thread. */
void links_free_all(struct shard *s);

#endif
