/* producer_hold.c - see producer_hold.h.
 *
 * Invariant: the gate's step is HOLD <=> the hold is CLOSED or REGISTERED; receipts are kept only
 * while the hold says so, and go out, in order, before any other. What is said goes the way of the
 * receipts, over a link too, so that its client sees all of it in this order. */
#include "broker/producer_hold.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/throttle_counts.h"
#include "throttle/hold_client.h"

enum { KEPT_FIRST = 64 };

/* ---- the timer ---- */

static void on_timer(struct timer *t, int64_t now_ns);

/* It fires early at times, never late: what moves the deadline back need not arm anew. */
static void arm(struct producer_hold *h)
{
    struct worker *w = h->producer->topic->shard->worker;
    int64_t deadline_ns = hold_deadline_ns(&h->hold);
    if (deadline_ns == MONO_NEVER)
        timer_disarm(w, &h->timer);
    else if (!timer_is_armed(&h->timer) || deadline_ns < h->timer.deadline_ns)
        timer_arm(w, &h->timer, deadline_ns);
}

/* Before anything that depends on the time. */
static struct hold *at_time(struct producer_hold *h, int64_t now_ns)
{
    hold_unread(&h->hold, conn_unread_ns(h->producer->conn, now_ns));
    return &h->hold;
}

static struct producer_hold *hold_of(struct producer *p)
{
    if (p->held)
        return p->held;
    const struct settings *set = p->topic->shard->broker->settings;
    struct producer_hold *h = xcalloc(1, sizeof *h);
    h->producer = p;
    hold_init(&h->hold, set->hold_spacing_ms * MONO_MS);
    timer_init(&h->timer, on_timer);
    p->held = h;
    return h;
}

/* ---- receipts ---- */

bool producer_hold_keeps(struct producer *p, const struct kept_receipt *r)
{
    struct producer_hold *h = p->held;
    if (!hold_keeps_receipts(&h->hold))
        return false;
    if (h->kept_len == h->kept_cap) {
        h->kept_cap = h->kept_cap ? 2 * h->kept_cap : KEPT_FIRST;
        h->kept = xrealloc(h->kept, h->kept_cap * sizeof h->kept[0]);
    }
    h->kept[h->kept_len++] = *r;
    return true;
}

static void tell(struct producer_hold *h)
{
    for (uint32_t i = 0; i < h->kept_len; i++)
        publish_send_receipt(h->producer, &h->kept[i]);
    free(h->kept);
    h->kept = NULL;
    h->kept_len = h->kept_cap = 0;
}

/* ---- memory ---- */

static int64_t expected_bytes(const struct producer *p)
{
    struct parking_amount a = hold_outstanding(&p->held->hold);
    const struct parking *k = &p->parking;
    if (a.messages > k->allow_messages) {
        a.bytes = (uint64_t)((double)a.bytes / (double)a.messages * (double)k->allow_messages);
        a.messages = k->allow_messages;
    }
    uint64_t bytes = a.bytes < k->allow_bytes ? a.bytes : k->allow_bytes;
    return (int64_t)(bytes + a.messages * sizeof(struct parked_frame));
}

bool producer_hold_has_room(const struct producer *p)
{
    const struct budget *b = &p->topic->shard->broker->budget;
    int64_t used = budget_used(b, BUDGET_PARKED), share = b->share_bytes[BUDGET_PARKED];
    return used < share / 2 || used + expected_bytes(p) < share;
}

static void reserve(struct producer_hold *h)
{
    h->reserved_bytes = expected_bytes(h->producer);
    budget_force(&h->producer->topic->shard->broker->budget, BUDGET_PARKED, h->reserved_bytes);
}

void producer_hold_parked(struct producer *p, int64_t bytes)
{
    struct producer_hold *h = p->held;
    int64_t n = bytes < h->reserved_bytes ? bytes : h->reserved_bytes;
    budget_give(&p->topic->shard->broker->budget, BUDGET_PARKED, n);
    h->reserved_bytes -= n;
}

static void unreserve(struct producer_hold *h)
{
    producer_hold_parked(h->producer, h->reserved_bytes);
}

/* ---- facts ---- */

bool producer_may_be_held(const struct producer *p)
{
    const struct settings *set = p->topic->shard->broker->settings;
    return p->conn && set->hold_producers && hold_suits(p->gate.reasons) &&
           (!p->held || hold_may_begin(&p->held->hold)) && hold_client_obeys(p->client_version);
}

bool producer_must_be_held(const struct producer *p)
{
    return p->held && p->held->hold.wants_again;
}

bool producer_may_be_released(const struct producer *p, int64_t now_ns)
{
    if (!producer_is_held(p))
        return true;
    bool owed = p->parking.frames > 0 || p->in_flight > 0;
    return !p->topic->shard->stopping && hold_may_release(&p->held->hold, owed, now_ns);
}

/* ---- begin and end ---- */

void producer_hold_begin(struct producer *p, int64_t now_ns)
{
    struct producer_hold *h = hold_of(p);
    struct parking_amount owed = {p->parking.messages, producer_parked_bytes(p)};
    unreserve(h);
    hold_begin(at_time(h, now_ns), owed, now_ns);
    h->times++;
    topic_line_throttling(&p->topic->publish)->holds++;
    conn_send_close_producer(p->conn, p->id, true);
    arm(h);
}

static void say_ready(struct producer_hold *h)
{
    if (h->answer_owed)
        cmd_producer_answer(h->producer, h->request_id, true);
    h->answer_owed = false;
}

void producer_hold_release(struct producer *p, int64_t now_ns)
{
    struct producer_hold *h = p->held;
    if (!h || h->hold.state != HOLD_REGISTERED)
        return; /* it has ended meanwhile */
    hold_release(at_time(h, now_ns), now_ns);
    reserve(h);
    say_ready(h);
    arm(h);
}

void producer_hold_registered(struct producer *p, uint64_t request_id, uint64_t epoch)
{
    struct producer_hold *h = p->held;
    int64_t now_ns = shard_now_ns(p->topic->shard);
    p->epoch = epoch;
    h->request_id = request_id;
    h->answer_owed = true;
    if (hold_registered(at_time(h, now_ns), now_ns))
        cmd_producer_answer(p, request_id, false);
    tell(h);
    arm(h);
    producer_advance(p, now_ns);
}

static void note_discarded(struct producer_hold *h, const struct publish *m)
{
    uint64_t bytes = m->len - PUBLISH_SIZE_FIELD;
    h->discarded_messages += m->messages;
    h->discarded_bytes += bytes;
    throttle_count_discarded(h->producer, m->messages, bytes);
}

/* Its client takes ready = false for success. What is parked it will send again. */
static void send_away_for_good(struct producer *p)
{
    log_warn("producer %s of %s, client %s, sends on while it is held: it is not held again",
             p->name, p->topic->name.full, p->client_version);
    p->held->answer_owed = false;
    conn_send_close_producer(p->conn, p->id, true);
    publish_drop_parked(p);
}

bool producer_hold_takes(struct producer *p, const struct publish *m, int64_t now_ns)
{
    struct producer_hold *h = p->held;
    if (h->hold.state == HOLD_FLOWING)
        return true;
    struct hold_position at = {m->sequence_id, m->chunk_id};
    enum hold_verdict v =
        hold_frame(at_time(h, now_ns), at, m->messages, m->len - PUBLISH_SIZE_FIELD, now_ns);
    if (v == HOLD_DISOBEYED)
        send_away_for_good(p);
    arm(h);
    if (v == HOLD_TAKE)
        return true;
    note_discarded(h, m);
    return false;
}

static void on_timer(struct timer *t, int64_t now_ns)
{
    struct producer_hold *h =
        (struct producer_hold *)((char *)t - offsetof(struct producer_hold, timer));
    struct producer *p = h->producer;
    switch (hold_due(at_time(h, now_ns), now_ns)) {
    case HOLD_NOTHING:
        break;
    case HOLD_TRY:
    case HOLD_AGAIN:
        producer_advance(p, now_ns);
        break;
    case HOLD_TELL:
        unreserve(h); /* what was to come has come */
        tell(h);
        break;
    case HOLD_FORGET:
        log_info("producer %s of %s: client %s has not come back to it: forgotten", p->name,
                 p->topic->name.full, p->address);
        topic_line_throttling(&p->topic->publish)->forgotten++;
        producer_close(p);
        return; /* both may be gone */
    }
    arm(h);
}

/* ---- the end ---- */

void producer_hold_end_by_client(struct producer *p)
{
    if (!p->held)
        return;
    hold_drop(&p->held->hold);
    p->held->answer_owed = false;
    unreserve(p->held);
    tell(p->held);
    arm(p->held);
}

bool producer_hold_end_by_broker(struct producer *p)
{
    struct producer_hold *h = p->held;
    if (!h)
        return false;
    bool knows = hold_is_held(&h->hold);
    if (h->hold.state != HOLD_CLOSED)
        tell(h);
    if (h->answer_owed)
        conn_send_error(p->conn, h->request_id, PULSAR__PROTO__SERVER_ERROR__ServiceNotReady,
                        "the producer is closed, try again");
    return knows;
}

void producer_hold_stop(struct producer *p)
{
    if (!p->held || p->held->hold.state != HOLD_RELEASED)
        return;
    hold_keep_no_more(&p->held->hold);
    tell(p->held);
    arm(p->held);
}

void producer_hold_drop(struct producer *p)
{
    if (!p->held)
        return;
    hold_drop(&p->held->hold);
    p->held->answer_owed = false;
    unreserve(p->held);
    p->held->kept_len = 0;
    arm(p->held);
}

void producer_hold_free(struct producer *p)
{
    if (p->held)
        free(p->held->kept);
    free(p->held);
}

/* How long a limit saves up what is not used. */
static int64_t saving_ns(const struct tg_rate_spec *r, int64_t period_ns)
{
    if (r->rate <= 0)
        return MONO_NEVER;
    if (r->burst == 0) /* the default: a second's worth */
        return MONO_S;
    __int128 ns = (__int128)r->burst * period_ns / r->rate;
    return ns < MONO_NEVER ? (int64_t)ns : MONO_NEVER;
}

/* What has to be parked so that no token is lost until the next release: the limit saves up a
 * burst, a quota nothing for the one who does not ask. */
static int64_t least_delay_ns(const struct producer *p, const struct tg_limit_spec *spec)
{
    int64_t until_next_ns = p->held->hold.spacing_ns + HOLD_SILENCE_NS;
    if (p->lacking)
        return until_next_ns;
    int64_t msgs_ns = saving_ns(&spec->msgs, tg_limit_period_ns(spec));
    int64_t bytes_ns = saving_ns(&spec->bytes, tg_limit_period_ns(spec));
    int64_t saved_ns = msgs_ns < bytes_ns ? msgs_ns : bytes_ns;
    int64_t left_ns = until_next_ns - saved_ns;
    return left_ns > HOLD_SILENCE_NS ? left_ns : HOLD_SILENCE_NS;
}

struct parking_amount producer_hold_allowance(const struct producer *p, struct parking_amount base,
                                              const struct tg_limit_spec *spec)
{
    if (!p->held)
        return base;
    bool may_grow = !producers_want_memory(p->topic->shard->broker);
    return hold_allowance(&p->held->hold, parking_passes(spec, least_delay_ns(p, spec)), base,
                          may_grow ? parking_passes(spec, HOLD_PARK_MAX_NS) : base);
}
