/* parking.h - the frames of one throttled producer that the broker keeps meanwhile, in order.
 *
 * The allowance is a delay as well as a size: what the binding rate passes in the configured delay
 * (2 s), at least one frame, and within the broker's parking budget. Frames are copied in, so that
 * nothing of the receive buffer is pinned. A parked frame is not charged, not in flight and has no
 * receipt. One owner: the topic's worker. */
#ifndef THROTTLE_PARKING_H
#define THROTTLE_PARKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/budget.h"
#include "limiter/limit.h"

/* What the broker needs to know of a frame besides its bytes; opaque to throttle/. */
struct parked_frame {
    struct parked_frame *next;
    uint64_t sequence_id, highest_sequence_id;
    uint32_t messages;
    uint32_t flags;    /* the owner's */
    uint32_t body_crc; /* of the body; from the wire */
    uint32_t len;      /* of the body */
    int64_t parked_ns; /* when it came */
    uint8_t body[];    /* metadata size, metadata, payload */
};

struct parking_amount {
    uint64_t messages, bytes; /* UINT64_MAX: any */
};

struct parking {
    struct parked_frame *head, *tail;
    uint64_t frames, messages, bytes; /* parked now; bytes are of bodies */
    uint64_t allow_messages, allow_bytes;
    struct budget *budget; /* borrowed */
};

/* <allow_*> start as "at least one frame"; parking_allow sets them. */
void parking_init(struct parking *p, struct budget *budget);
/* The allowance from the binding rate: UINT64_MAX where that dimension does not bind. */
void parking_allow(struct parking *p, uint64_t messages, uint64_t bytes);
/* What a limit passes in <delay_ns>. */
struct parking_amount parking_passes(const struct tg_limit_spec *spec, int64_t delay_ns);

/* Copies the frame in. It is taken even when it does not fit (it has been received already): the
 * caller looks at parking_full afterwards and stops further ones. */
void parking_put(struct parking *p, const struct parked_frame *meta, const void *body);
/* The oldest, or NULL. Stays parked. */
const struct parked_frame *parking_head(const struct parking *p);
void parking_drop_head(struct parking *p);
void parking_clear(struct parking *p); /* drops all: producer or connection is gone */

/* A frame that did not fit the allowance was put (one frame always fits), or the budget is used up.
 */
bool parking_full(const struct parking *p);
bool parking_low(const struct parking *p); /* empty, or below half of the allowance */

#endif
