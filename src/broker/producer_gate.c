/* producer_gate.c - a producer's gate (throttle/gate.h): the facts that it moves by, and what
 * follows from each move: its connection's socket rests, its client is held, the log says so.
 *
 * Invariant: p->pausing <=> the gate's step is PAUSE. */
#include <utlist.h>

#include "broker/producer_hold.h"
#include "broker/throttle_counts.h"
#include "broker/throttle_log.h"

/* So long a producer keeps what is parked for it while others want memory. */
#define MEMORY_TURN_NS (2 * MONO_S)

static bool budget_is_used_up(const struct shard *s)
{
    return budget_is_over(&s->broker->budget, BUDGET_PARKED);
}

/* Whoever waits because the memory of all is used up, not his own allowance, is noted: what others
 * give back lets him go on, long before his own turn may come. */
static void want_memory(struct producer *p)
{
    if (p->wants_memory)
        return;
    DL_APPEND2(p->topic->shard->wanting_memory, p, wanting_prev, wanting_next);
    atomic_fetch_add_explicit(&p->topic->shard->broker->wanting_memory, 1, memory_order_relaxed);
    p->wants_memory = true;
}

static void want_no_memory(struct producer *p)
{
    if (!p->wants_memory)
        return;
    DL_DELETE2(p->topic->shard->wanting_memory, p, wanting_prev, wanting_next);
    atomic_fetch_sub_explicit(&p->topic->shard->broker->wanting_memory, 1, memory_order_relaxed);
    p->wants_memory = false;
}

bool producers_want_memory(const struct broker *b)
{
    return atomic_load_explicit(&b->wanting_memory, memory_order_relaxed) > 0;
}

/* A client that always has more to send keeps what is parked for it full: so that others get
 * theirs it is held after a while, lets go what it has, and comes again behind them. */
static bool turn_is_over(const struct producer *p, int64_t now_ns)
{
    return p->parking.frames > 0 && p->gate.step != GATE_OPEN && !p->wants_memory &&
           now_ns - p->gate.since_ns >= MEMORY_TURN_NS &&
           producers_want_memory(p->topic->shard->broker);
}

static void pause_socket(struct producer *p)
{
    p->pausing = true;
    conn_pause_for_producer(p->conn);
    if (!budget_is_used_up(p->topic->shard))
        return;
    want_memory(p);
    event_buffer_full(p->topic->shard, BUFFER_PARKED);
}

static void resume_socket(struct producer *p)
{
    p->pausing = false;
    conn_resume_for_producer(p->conn);
    want_no_memory(p);
}

static void release(struct producer *p, int64_t now_ns)
{
    want_no_memory(p);
    producer_hold_release(p, now_ns);
}

/* One that is held, and could be released, stays held while there is no memory for what it would
 * send. */
static bool may_release(struct producer *p, int64_t now_ns)
{
    if (!producer_may_be_released(p, now_ns)) {
        want_no_memory(p); /* what it waits for is not memory: it must not stop those behind it */
        return false;
    }
    if (!producer_is_held(p))
        return true;
    const struct shard *s = p->topic->shard;
    bool is_next = s->memory_is_given || !s->wanting_memory; /* else those in line go first */
    if (is_next && producer_hold_has_room(p))
        return true;
    if (p->gate.reasons == 0) /* else memory is not all it waits for */
        want_memory(p);
    else
        want_no_memory(p);
    return false;
}

static void act(struct producer *p, enum gate_action a, int64_t now_ns)
{
    switch (a) {
    case GATE_NOTHING:
        break;
    case GATE_BEGAN:
        p->throttled_wall_ns = shard_wall_ns(p->topic->shard);
        topic_line_throttling(&p->topic->publish)->times++;
        p->topic->shard->publish_throttled_total++;
        throttle_log_began(p);
        break;
    case GATE_HOLD_PRODUCER:
        producer_hold_begin(p, now_ns);
        break;
    case GATE_RELEASE_AND_END:
        release(p, now_ns);
        throttle_log_ended(p);
        break;
    case GATE_PAUSE_SOCKET:
        pause_socket(p);
        break;
    case GATE_RESUME_SOCKET:
        resume_socket(p);
        break;
    case GATE_RESUME_AND_HOLD:
        resume_socket(p);
        producer_hold_begin(p, now_ns);
        break;
    case GATE_RESUME_AND_END:
        resume_socket(p);
        throttle_log_ended(p);
        break;
    case GATE_ENDED:
        throttle_log_ended(p);
        break;
    }
}

void producer_advance(struct producer *p, int64_t now_ns)
{
    enum gate_action a;
    do { /* a move may make the next one due: OPEN -> PARK -> HOLD */
        struct gate_facts f = {
            .parked = p->parking.frames > 0,
            .parking_full = parking_full(&p->parking),
            .parking_low = parking_low(&p->parking) || p->wants_memory,
            .may_release = may_release(p, now_ns),
            .must_hold = producer_must_be_held(p),
        };
        f.may_hold = (f.parking_full || turn_is_over(p, now_ns)) && producer_may_be_held(p);
        f.parking_full = f.parking_full || f.may_hold;
        a = gate_advance(&p->gate, f, now_ns);
        throttle_count(p, now_ns);
        if (a != GATE_NOTHING)
            throttle_count_step(p);
        act(p, a, now_ns);
    } while (a != GATE_NOTHING);
}

/* An eighth must be free: or each frame that is granted would let one socket be read for one, or
 * one of many be released for as little. */
void producers_memory_given_back(struct shard *s)
{
    const struct budget *b = &s->broker->budget;
    int64_t share = b->share_bytes[BUDGET_PARKED];
    if (!s->wanting_memory || budget_used(b, BUDGET_PARKED) > share - share / 8)
        return;
    struct producer *p, *next;
    s->memory_is_given = true;
    DL_FOREACH_SAFE2(s->wanting_memory, p, next, wanting_next)
    {
        producer_advance(p, shard_now_ns(s));
        if (p->wants_memory && producer_is_held(p))
            break; /* in turn: smaller ones don't overtake it */
    }
    s->memory_is_given = false;
}
