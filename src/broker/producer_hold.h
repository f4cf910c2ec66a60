/* producer_hold.h - a producer's hold (throttle/hold.h) on its connection: what is said to its
 * client, the receipts that are kept meanwhile, the timer. publish.c decides with the gate when a
 * hold begins and ends. Made with a producer's first hold. Owner: the topic's worker. */
#ifndef BROKER_PRODUCER_HOLD_H
#define BROKER_PRODUCER_HOLD_H

#include "broker/producer.h"
#include "net/worker.h"
#include "throttle/hold.h"

struct kept_receipt {
    uint64_t sequence_id, highest_sequence_id, entry;
};

struct producer_hold {
    struct hold hold;
    struct producer *producer;
    struct timer timer;
    struct kept_receipt *kept; /* in order */
    uint32_t kept_len, kept_cap;
    bool answer_owed; /* REGISTERED: its PRODUCER of <request_id> waits for ready = true */
    uint64_t request_id;
    int64_t reserved_bytes; /* of the parking budget, for what comes again after a release */
    uint64_t times, discarded_messages, discarded_bytes; /* since the producer came */
};

/* ---- the facts of the gate ---- */
bool producer_may_be_held(const struct producer *p);
bool producer_must_be_held(const struct producer *p);
bool producer_may_be_released(const struct producer *p, int64_t now_ns);

static inline bool producer_is_held(const struct producer *p)
{
    return p->held && hold_is_held(&p->held->hold);
}

/* ---- the actions of the gate ---- */
void producer_hold_begin(struct producer *p, int64_t now_ns);
void producer_hold_release(struct producer *p, int64_t now_ns);

/* Before a release: is there memory to park what its client will send again? Else it had better
 * stay held: few are given enough, rather than many too little. */
bool producer_hold_has_room(const struct producer *p);

/* ---- what happens to it ---- */

/* So much of what was reserved at its release is parked now. */
void producer_hold_parked(struct producer *p, int64_t bytes);

/* A SEND of one that has been held: may it be taken? False: it was discarded. */
bool producer_hold_takes(struct producer *p, const struct publish *m, int64_t now_ns);
/* A PRODUCER of the same id and name has come while it is held. */
void producer_hold_registered(struct producer *p, uint64_t request_id, uint64_t epoch);
/* Is this receipt kept? Then it goes out later. */
bool producer_hold_keeps(struct producer *p, const struct kept_receipt *r);
/* Before it is closed: by its client, which then hears of what is stored; or by the broker, whose
 * answer to a PRODUCER that waits is an error, which lets the client try again. True: its client
 * knows that it is closed, or will. */
void producer_hold_end_by_client(struct producer *p);
bool producer_hold_end_by_broker(struct producer *p);
/* The broker stops: its client hears of what is stored, where it may. */
void producer_hold_stop(struct producer *p);
/* It has been closed: nothing is said, nothing fires any more. */
void producer_hold_drop(struct producer *p);
void producer_hold_free(struct producer *p);

/* What it may park, given what passes in the configured delay and in the longest. */
struct parking_amount producer_hold_allowance(const struct producer *p, struct parking_amount base,
                                              const struct tg_limit_spec *spec);

#endif
