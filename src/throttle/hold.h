/* hold.h - one producer that is stopped at its client, so that nothing else on its connection has
 * to stop. No I/O, no clock: a state machine that says what becomes of each SEND, whether a receipt
 * may go, when a hold may begin and end. Two pieces of the protocol make it, which unmodified
 * clients obey (hold_client.h says which): after CLOSE_PRODUCER a client registers the producer
 * again and sends again what has no receipt; after PRODUCER_SUCCESS with producer_ready = false it
 * waits for a second one first.
 *
 *   state       a SEND is     a receipt  leaves when                              what is said
 *   FLOWING     taken         goes       hold_begin                 -> CLOSED     CLOSE_PRODUCER
 *   CLOSED      discarded     is kept    its PRODUCER comes         -> REGISTERED not ready, then
 *                                                                                 what is kept
 *                                        30 s without               -> (FORGET)
 *   REGISTERED  discarded     goes       nothing is owed, a second
 *                                        since CLOSED is over       -> RELEASED   ready
 *                                        a SEND after 2 s           -> CLOSED     CLOSE_PRODUCER
 *   RELEASED    taken from    is kept    all that was discarded came
 *               the resume    until then again and 10 ms without, or
 *               point on                 250 ms without a SEND      -> FLOWING    what is kept
 *                                        250 ms, and only SENDs
 *                                        beyond it came             -> CLOSED     CLOSE_PRODUCER
 *                                        hold_begin                 -> CLOSED     CLOSE_PRODUCER
 *
 * Nothing is owed when every frame that was taken is stored and its receipt has been sent. Taking a
 * frame in CLOSED or REGISTERED, or a receipt in CLOSED, would break the order, or the connection.
 *
 * What is waited for from the client is waited for only while its socket is read: what lies unread
 * behind another producer's pause has been said all the same (hold_unread).
 * Owner: the topic's worker. */
#ifndef THROTTLE_HOLD_H
#define THROTTLE_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mono.h"
#include "throttle/parking.h"

#define HOLD_SPACING_NS  MONO_S       /* between two holds: each costs its client some log lines */
#define HOLD_DISOBEY_NS  (2 * MONO_S) /* who sends on so long after ready = false never obeys */
#define HOLD_STALE_NS    (2 * MONO_S) /* what was sent before CLOSE_PRODUCER has come by then */
#define HOLD_SILENCE_NS  (250 * MONO_MS)
#define HOLD_QUIET_NS    (10 * MONO_MS)  /* what was discarded has come again: is there more? */
#define HOLD_CAME_NS     (100 * MONO_MS) /* the most that is waited for that */
#define HOLD_SETTLE_NS   (2 * MONO_S)    /* nothing was discarded: receipts are kept no longer */
#define HOLD_RESEND_NS   (10 * MONO_S)   /* something was, and has not come again: the same */
#define HOLD_ABSENT_NS   (30 * MONO_S)   /* no PRODUCER in so long: its client has given it up */
#define HOLD_PARK_MAX_NS (10 * MONO_S)   /* the allowance grows up to this delay at the rate */
enum { HOLD_HEAVY_BYTES = 8 << 20 }; /* sent again by one release: too much for its neighbours */

enum hold_state { HOLD_FLOWING, HOLD_CLOSED, HOLD_REGISTERED, HOLD_RELEASED };

/* Where a frame stands in its client's order. The chunks of a message have one sequence id. */
struct hold_position {
    uint64_t sequence_id;
    int32_t chunk; /* -1: not a chunk */
};

struct hold { /* fields private to hold.c but for state and disobeyed */
    enum hold_state state;
    bool disobeyed;    /* its client sends on while it should wait: never held again */
    bool wants_again;  /* the resume point did not come: hold once more */
    bool is_second;    /* this is that one */
    bool checks;       /* RELEASED: the resume point has not come */
    bool keeps;        /* RELEASED: receipts are kept back */
    bool tried;        /* REGISTERED: HOLD_TRY was said */
    bool resumed;      /* a frame was taken since the release */
    bool came;         /* so was the highest that was discarded, or one above it, at came_ns */
    bool discarded;    /* any, in this hold: first and highest are set */
    bool expired;      /* messages have expired at its client: the allowance does not grow */
    bool knows_window; /* at the first hold its client may be stopped while it fills the window */
    struct hold_position first, highest; /* discarded; the lowest and the highest */
    int64_t spacing_ns;
    int64_t closed_ns, released_ns; /* CLOSE_PRODUCER, ready = true */
    int64_t came_ns;
    /* Later by what the socket was not read since: */
    int64_t asked_ns, told_ns;       /* CLOSE_PRODUCER, ready = false */
    int64_t last_frame_ns, stale_ns; /* since the release; stale_ns 0: none came */
    int64_t unread_ns;
    struct parking_amount seen, window; /* of this hold; the most of any */
    uint64_t resent_bytes;              /* discarded by the last hold */
};

/* <spacing_ns>: HOLD_SPACING_NS, but in tests. */
void hold_init(struct hold *h, int64_t spacing_ns);

static inline bool hold_is_held(const struct hold *h)
{
    return h->state == HOLD_CLOSED || h->state == HOLD_REGISTERED;
}

/* Its client's socket has been unread for so long, in all: said before anything else that depends
 * on the time. */
void hold_unread(struct hold *h, int64_t unread_ns);

/* May this producer be stopped now? A hold that follows another begins only after that one's end,
 * which comes HOLD_SPACING_NS after its beginning at the earliest. */
bool hold_may_begin(const struct hold *h);
/* CLOSE_PRODUCER is said now. <owed>: what was taken and has no receipt yet. */
void hold_begin(struct hold *h, struct parking_amount owed, int64_t now_ns);

enum hold_verdict {
    HOLD_TAKE,
    HOLD_DISCARD,
    HOLD_DISOBEYED, /* discard it, drop what is parked, say CLOSE_PRODUCER; it is CLOSED */
};
enum hold_verdict hold_frame(struct hold *h, struct hold_position at, uint64_t messages,
                             uint64_t bytes, int64_t now_ns);

/* Its PRODUCER has come (again, in REGISTERED). True: answer ready = false. False: its client would
 * not understand that: do not answer before hold_release. Either way what is kept goes out. */
bool hold_registered(struct hold *h, int64_t now_ns);
/* May ready = true be said? <owed>: a frame taken is parked, not stored, or without its receipt. */
bool hold_may_release(const struct hold *h, bool owed, int64_t now_ns);
void hold_release(struct hold *h, int64_t now_ns); /* it is said */
bool hold_keeps_receipts(const struct hold *h);
/* The broker stops: receipts that are kept back after a release go out. */
void hold_keep_no_more(struct hold *h);
/* The producer ends, or begins anew: nothing of this hold counts any more. */
void hold_drop(struct hold *h);

/* When hold_due must be called next; MONO_NEVER. */
int64_t hold_deadline_ns(const struct hold *h);
enum hold_due {
    HOLD_NOTHING,
    HOLD_TRY,    /* perhaps it may be released now */
    HOLD_TELL,   /* the receipts kept go out */
    HOLD_AGAIN,  /* wants_again: it has to be held once more, whatever parking says */
    HOLD_FORGET, /* its client has not come back: forget the producer */
};
enum hold_due hold_due(struct hold *h, int64_t now_ns);

/* What it may park: <base>, by the delay; up to <most>, what passes in HOLD_PARK_MAX_NS. It grows
 * to the client's window where that fits, so that nothing is sent again any more; and to <most>
 * where it does not, and each release has much sent again. Where messages have expired it falls to
 * <least> for good: what is parked when its client gives up all it has is stored in vain. */
struct parking_amount hold_allowance(const struct hold *h, struct parking_amount least,
                                     struct parking_amount base, struct parking_amount most);
/* What its client had outstanding at most, as far as it was seen: it comes again after a release.
 */
struct parking_amount hold_outstanding(const struct hold *h);
/* Is one of these reasons (bits) worth a hold? Not those that last milliseconds. */
bool hold_suits(uint32_t reasons);

#endif
