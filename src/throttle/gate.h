/* gate.h - what a producer's gate is: the set of reasons it must wait for, and how far the broker
 * has gone against it (the step). One state machine, one function that moves it.
 *
 *   step     the producer's next frame    leaves when                          action
 *   OPEN     is charged and stored        a reason is set, it has parked
 *                                         frames, or must be held    -> PARK   BEGAN
 *   PARK     is parked                    no reason, nothing parked  -> OPEN   ENDED
 *                                         parking is full and it may
 *                                         be held, or it must be     -> HOLD   HOLD_PRODUCER
 *                                         parking is full            -> PAUSE  PAUSE_SOCKET
 *   HOLD     is discarded; its client     no reason, nothing parked,
 *            sends it again (hold.h)      may be released            -> OPEN   RELEASE_AND_END
 *   PAUSE    is parked; its connection's  no reason, nothing parked  -> OPEN   RESUME_AND_END
 *            socket is not read           parking is full and it may
 *                                         be held                    -> HOLD   RESUME_AND_HOLD
 *                                         parking is below half and
 *                                         not full                   -> PARK   RESUME_SOCKET
 *
 * In each row the first line that applies wins. Parking can be below half and full at once, when
 * others have used up the budget; then the socket stays unread. Who must be held stands in line for
 * it at PARK, whatever has become of the reasons.
 *
 * Telling the client (PIP-385) is a mark beside the step, not a step. One owner: the topic's
 * worker.
 */
#ifndef THROTTLE_GATE_H
#define THROTTLE_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "throttle/reason.h"

enum gate_step { GATE_OPEN, GATE_PARK, GATE_HOLD, GATE_PAUSE };

/* What the owner must do after a move. */
enum gate_action {
    GATE_NOTHING,
    GATE_BEGAN,           /* throttling began: log, count, tell */
    GATE_HOLD_PRODUCER,   /* hold_begin, CLOSE_PRODUCER */
    GATE_RELEASE_AND_END, /* hold_release, ready = true; and ended */
    GATE_PAUSE_SOCKET,    /* stop reading the producer's connection */
    GATE_RESUME_SOCKET,   /* this producer no longer needs it stopped */
    GATE_ENDED,           /* throttling ended */
    GATE_RESUME_AND_END,  /* both of the last two */
    GATE_RESUME_AND_HOLD, /* RESUME_SOCKET and HOLD_PRODUCER */
};

/* The facts that advance() decides by. */
struct gate_facts {
    bool parked;       /* at least one frame is parked */
    bool parking_full; /* what is parked is over the allowance */
    bool parking_low;  /* below half of the allowance */
    bool may_hold;     /* its client obeys, the reason is worth it, it is not held */
    bool must_hold;    /* once more, hold.h says so */
    bool may_release;  /* nothing is owed to its client; or it is not held any more */
};

struct gate {
    enum gate_step step;
    uint32_t reasons;       /* bit per throttle_reason */
    int64_t since_ns;       /* when it left OPEN; meaningless while OPEN */
    int64_t throttled_ns;   /* sum over all closed periods */
    uint64_t times;         /* periods begun */
    uint64_t step_times[4]; /* times each step was entered */
};

void gate_init(struct gate *g);
void gate_set(struct gate *g, enum throttle_reason r);
void gate_clear(struct gate *g, enum throttle_reason r);
void gate_clear_all(struct gate *g);
bool gate_has(const struct gate *g, enum throttle_reason r);
/* The narrowest reason that is set; REASON_COUNT when none is. */
enum throttle_reason gate_reason(const struct gate *g);

/* The only function that changes the step, by one line of the table. Call it after each change of
 * reasons or parking, again until it says GATE_NOTHING: one large frame may take an open gate to
 * PAUSE. A producer that goes away clears all reasons and its parking and advances as well: so
 * each GATE_PAUSE_SOCKET is followed by exactly one of the two RESUMEs. */
enum gate_action gate_advance(struct gate *g, struct gate_facts f, int64_t now_ns);

/* Throttled time including the running period. */
int64_t gate_throttled_ns(const struct gate *g, int64_t now_ns);
const char *gate_step_name(enum gate_step s);

/* Who wants a connection's socket unread: counts of producers and a set of the connection's own
 * reasons. Reading resumes exactly when the last is gone. Owner: the connection's worker. */
struct pause_set {
    uint32_t producers;
    uint32_t reasons; /* bit per throttle_reason */
};
/* Each returns true when the socket must now change (be paused, or be read again). Producers are
 * counted: add at GATE_PAUSE_SOCKET, remove at GATE_RESUME_*, and at no other place (removing one
 * that was not added is a programmer's error, and asserted). Reasons are a set: adding twice or
 * removing what is not there changes nothing. */
bool pause_set_add_producer(struct pause_set *p);
bool pause_set_remove_producer(struct pause_set *p);
bool pause_set_add(struct pause_set *p, enum throttle_reason r);
bool pause_set_remove(struct pause_set *p, enum throttle_reason r);
bool pause_set_is_paused(const struct pause_set *p);

#endif
