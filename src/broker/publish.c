/* publish.c - the way of a message from its parsed SEND to its receipt.
 *
 *   publish_frame -> is every bucket on the path above zero, nobody waiting there, and have the
 * quotas above it tokens? -> append, charge them all -> (committer) -> publish_appended -> receipt;
 * the topic is marked dirty for dispatch.
 *
 * Otherwise the frame is parked uncharged and its producer waits: for its own limit, with a timer;
 * in the topic's queue, for the topic's tokens or a quota's; or for the store (in shard->blocked).
 * While anything of a producer is parked, its later frames are parked behind it: order is kept
 * whatever it waits for.
 *
 * Invariant: a producer has frames parked <=> it waits in one of these places; then
 * its gate is not OPEN. Without, the gate is OPEN or, until nothing is owed to its client, at HOLD.
 * But while an administrator blocks it (REASON_BLOCKED) it is in neither, and its gate is not OPEN,
 * parked frames or not. */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/producer_hold.h"
#include "broker/producer_limit.h"
#include "broker/quotas.h"
#include "broker/subscription.h"
#include "broker/throttle_counts.h"

enum {
    RING_MIN = 16,
    STORE_PARK_BYTES =
        1 << 20, /* per producer, while the store takes nothing: then its socket rests */
};

static struct producer *producer_of_waiter(struct waiter *w)
{
    return (struct producer *)((char *)w - offsetof(struct producer, waiter));
}

/* ---- in flight ---- */

static void ring_grow(struct topic *t)
{
    uint32_t cap = t->ring_cap ? t->ring_cap * 2 : RING_MIN;
    struct in_flight *ring = xmalloc(cap * sizeof *ring);
    for (uint32_t i = 0; i < t->ring_len; i++)
        ring[i] = t->ring[(t->ring_head + i) & (t->ring_cap - 1)];
    free(t->ring);
    t->ring = ring;
    t->ring_cap = cap;
    t->ring_head = 0;
}

static void ring_push(struct topic *t, const struct in_flight *f)
{
    if (t->ring_len == t->ring_cap)
        ring_grow(t);
    t->ring[(t->ring_head + t->ring_len++) & (t->ring_cap - 1)] = *f;
}

static struct in_flight ring_pop(struct topic *t)
{
    TG_ASSERT(t->ring_len > 0);
    struct in_flight f = t->ring[t->ring_head];
    t->ring_head = (t->ring_head + 1) & (t->ring_cap - 1);
    t->ring_len--;
    return f;
}

/* ---- append ---- */

/* Charges the path and hands the entry to the store. TG_EBUSY: the store takes nothing now, or
 * others wait for it, and only the first of them may try. */
static TG_MUSTCHECK enum tg_err append(struct producer *p, const struct publish *m, int64_t now_ns)
{
    struct topic *t = p->topic;
    struct shard *s = t->shard;
    if (s->store_state != LS_OK || (s->blocked && s->blocked != p))
        return TG_EBUSY;
    struct ls_body body = {.part = {m->body}, .len = {m->len}, .crc = m->crc};
    enum tg_err e =
        ls_append(s->log, t->ledger, t->next_entry, &body, m->messages, shard_wall_ns(s), t);
    if (e)
        return e;
    uint64_t bytes = m->len - PUBLISH_SIZE_FIELD;
    t->next_entry++;
    bool over = p->own && scope_charge(&p->own->scope, m->messages, bytes, now_ns);
    over = topic_line_charge(&t->publish, m->messages, bytes, now_ns) || over;
    p->over_dry_run += over;
    tg_meter_add(&p->msgs, m->messages, now_ns);
    tg_meter_add(&p->bytes, bytes, now_ns);
    struct in_flight f = {p, m->sequence_id, m->highest_sequence_id, m->messages, m->len};
    ring_push(t, &f);
    p->in_flight++;
    conn_appended(p->conn, m->len);
    s->in_flight++;
    return TG_OK;
}

/* ---- waiting ---- */

static bool stands_in_line(const struct producer *p)
{
    return p->binding == &p->topic->publish.scope;
}

static void park(struct producer *p, const struct publish *m, int64_t now_ns)
{
    struct parked_frame f = {
        .sequence_id = m->sequence_id,
        .highest_sequence_id = m->highest_sequence_id,
        .messages = m->messages,
        .body_crc = m->crc,
        .len = m->len,
        .parked_ns = now_ns,
    };
    if (p->held)
        producer_hold_parked(p, (int64_t)(sizeof f + m->len));
    parking_put(&p->parking, &f, m->body);
    if (stands_in_line(p)) {
        p->topic->publish.wanted.msgs += m->messages;
        p->topic->publish.wanted.bytes += m->len - PUBLISH_SIZE_FIELD;
    }
    producer_advance(p, now_ns);
}

/* What is parked counts for the topic while its producer stands in its line: else it can't go, and
 * is no part of what the topic asks of its quotas. */
static void count_parked(struct producer *p, bool counts)
{
    struct claim_amount *wanted = &p->topic->publish.wanted;
    uint64_t msgs = p->parking.messages, bytes = producer_parked_bytes(p);
    wanted->msgs += counts ? msgs : -msgs;
    wanted->bytes += counts ? bytes : -bytes;
}

/* A quota is shared: what this producer passes of it is its part, as far as can be told. */
static struct tg_limit_spec share_of(const struct producer *p)
{
    struct broker_quota *q = broker_quota_of(p->lacking);
    uint64_t topics = atomic_load_explicit(&q->waiting, memory_order_relaxed);
    uint64_t here = waitq_count(&p->topic->publish.waiters);
    int64_t sharing = (int64_t)((topics > 0 ? topics : 1) * (here > 0 ? here : 1));
    return (struct tg_limit_spec){
        .msgs.rate = atomic_load_explicit(&q->rate_msgs, memory_order_relaxed),
        .bytes.rate = atomic_load_explicit(&q->rate_bytes, memory_order_relaxed),
        .period_ns = sharing * atomic_load_explicit(&q->period_ns, memory_order_relaxed),
    };
}

/* What may be parked: what the binding limit passes in the configured delay. A message that waits
 * here longer than its client's send time-out would be stored after the client has given it up. */
static void set_allowance(struct producer *p)
{
    int64_t delay_ms = p->topic->shard->broker->settings->park_delay_ms;
    struct tg_limit_spec spec = p->lacking ? share_of(p) : *tg_limit_spec_of(&p->binding->limit);
    struct parking_amount a = parking_passes(&spec, delay_ms * MONO_MS);
    a = producer_hold_allowance(p, a, &spec);
    parking_allow(&p->parking, a.messages, a.bytes);
}

static enum throttle_reason reason_of(const struct producer *p)
{
    return reason_of_scope(p->lacking ? p->lacking->kind : p->binding->kind);
}

/* It stands in its topic's line, for the topic's own tokens or (<lacking>) a quota's. */
static void stand_in_line(struct producer *p, struct quota *lacking, int64_t now_ns)
{
    struct topic *t = p->topic;
    p->binding = &t->publish.scope;
    p->lacking = lacking;
    gate_set(&p->gate, reason_of(p));
    count_parked(p, true);
    waitq_enter(&t->publish.waiters, &p->waiter, now_ns);
    set_allowance(p);
}

static void wait_in_line(struct producer *p, struct quota *lacking, int64_t now_ns)
{
    stand_in_line(p, lacking, now_ns);
    throttle_count_hit(p);
}

/* It waits for its own limit, in no line. */
static void wait_alone(struct producer *p, int64_t now_ns)
{
    p->binding = &p->own->scope;
    gate_set(&p->gate, reason_of(p));
    producer_limit_arm(p, now_ns);
    set_allowance(p);
    throttle_count_hit(p);
}

/* It stands there still, for something else. */
static void wait_for_other(struct producer *p, struct quota *lacking, int64_t now_ns)
{
    if (p->lacking != lacking) {
        gate_clear(&p->gate, reason_of(p));
        p->lacking = lacking;
        gate_set(&p->gate, reason_of(p));
    }
    set_allowance(p);
    producer_advance(p, now_ns);
}

static void stop_waiting(struct producer *p)
{
    if (producer_waits_alone(p))
        producer_limit_disarm(p);
    if (stands_in_line(p))
        count_parked(p, false);
    gate_clear(&p->gate, reason_of(p));
    p->binding = NULL;
    p->lacking = NULL;
}

static void wait_for_store(struct producer *p)
{
    struct shard *s = p->topic->shard;
    bool full = s->store_state != LS_OK;
    gate_set(&p->gate, full ? REASON_STORAGE_FULL : REASON_PUBLISH_BUFFER);
    event_buffer_full(s, full ? BUFFER_STORAGE : BUFFER_PUBLISH);
    parking_allow(&p->parking, UINT64_MAX, STORE_PARK_BYTES);
    if (!p->is_blocked)
        DL_APPEND2(s->blocked, p, blocked_prev, blocked_next);
    p->is_blocked = true;
}

static void stop_waiting_for_store(struct producer *p)
{
    if (!p->is_blocked)
        return;
    DL_DELETE2(p->topic->shard->blocked, p, blocked_prev, blocked_next);
    p->is_blocked = false;
    gate_clear(&p->gate, REASON_PUBLISH_BUFFER);
    gate_clear(&p->gate, REASON_STORAGE_FULL);
}

/* ---- blocked by an administrator ---- */

void publish_block(struct producer *p)
{
    struct topic *t = p->topic;
    int64_t now_ns = shard_now_ns(t->shard);
    bool waited = p->binding != NULL;
    gate_set(&p->gate, REASON_BLOCKED); /* first: its gate is never seen without a reason */
    stop_waiting_for_store(p);
    if (waited) {
        waitq_leave(&p->waiter, now_ns);
        stop_waiting(p);
    }
    parking_allow(&p->parking, UINT64_MAX, STORE_PARK_BYTES);
    producer_advance(p, now_ns);
    if (waited)
        topic_line_ran(&t->publish, now_ns);
}

/* What it has parked goes where all others' does: through the topic's queue. */
void publish_unblock(struct producer *p)
{
    int64_t now_ns = shard_now_ns(p->topic->shard);
    gate_clear(&p->gate, REASON_BLOCKED);
    if (parking_head(&p->parking))
        stand_in_line(p, NULL, now_ns);
    producer_advance(p, now_ns);
}

/* Waits for the narrowest limit that such a frame must wait for. False: for none. */
static bool wait_for_limits(struct producer *p, uint64_t msgs, uint64_t bytes, int64_t now_ns)
{
    struct topic *t = p->topic;
    if (producer_lacks_own(p, now_ns)) {
        wait_alone(p, now_ns);
        return true;
    }
    bool topic = topic_line_must_wait(&t->publish, now_ns);
    struct quota *q = topic ? NULL : topic_line_lacking(&t->publish, msgs, bytes, now_ns);
    if (topic || q)
        wait_in_line(p, q, now_ns);
    return topic || q;
}

void publish_frame(struct producer *p, const struct publish *m)
{
    int64_t now_ns = shard_now_ns(p->topic->shard);
    if (p->held && !producer_hold_takes(p, m, now_ns))
        return;
    if (p->gate.step == GATE_OPEN) {
        bool waits = wait_for_limits(p, m->messages, m->len - PUBLISH_SIZE_FIELD, now_ns);
        if (!waits && append(p, m, now_ns) == TG_OK)
            return;
        if (!waits)
            wait_for_store(p);
    }
    park(p, m, now_ns);
}

static struct publish publish_of_parked(const struct parked_frame *f)
{
    return (struct publish){
        .sequence_id = f->sequence_id,
        .highest_sequence_id = f->highest_sequence_id,
        .messages = f->messages,
        .crc = f->body_crc,
        .body = f->body,
        .len = f->len,
    };
}

static TG_MUSTCHECK enum tg_err append_parked(struct producer *p, int64_t now_ns)
{
    struct publish m = publish_of_parked(parking_head(&p->parking));
    enum tg_err e = append(p, &m, now_ns);
    if (e)
        return e;
    if (stands_in_line(p)) {
        p->topic->publish.wanted.msgs -= m.messages;
        p->topic->publish.wanted.bytes -= m.len - PUBLISH_SIZE_FIELD;
    }
    parking_drop_head(&p->parking);
    wait_counts_delayed(&p->counts, m.messages, m.len - PUBLISH_SIZE_FIELD, now_ns);
    return TG_OK;
}

/* ---- the queue's callbacks ---- */

static void waiter_cost(struct waiter *w, uint64_t *msgs, uint64_t *bytes)
{
    const struct parked_frame *f = parking_head(&producer_of_waiter(w)->parking);
    *msgs = f ? f->messages : 0;
    *bytes = f ? f->len - PUBLISH_SIZE_FIELD : 0;
}

static enum waiter_result waiter_grant(struct waiter *w, int64_t now_ns)
{
    struct producer *p = producer_of_waiter(w);
    struct claim_amount head;
    if (producer_lacks_own(p, now_ns)) {
        stop_waiting(p);
        wait_alone(p, now_ns);
        producer_advance(p, now_ns);
        return WAITER_ELSEWHERE;
    }
    waiter_cost(w, &head.msgs, &head.bytes);
    struct topic_line *line = &p->topic->publish;
    struct quota *lacking = topic_line_lacking(line, head.msgs, head.bytes, now_ns);
    if (lacking) {
        wait_for_other(p, lacking, now_ns);
        topic_line_ask(line, lacking, head, now_ns);
        return WAITER_UPSTREAM;
    }
    if (append_parked(p, now_ns) != TG_OK) {
        stop_waiting(p);
        wait_for_store(p);
        producer_advance(p, now_ns);
        return WAITER_ELSEWHERE;
    }
    bool more = parking_head(&p->parking) != NULL;
    bool alone = more && producer_lacks_own(p, now_ns);
    if (!more || alone)
        stop_waiting(p);
    if (alone)
        wait_alone(p, now_ns);
    else if (more && !scope_has_tokens(&line->scope, now_ns))
        wait_for_other(p, NULL, now_ns);
    else if (more)
        set_allowance(p); /* its share may have changed */
    producer_advance(p, now_ns);
    return more && !alone ? WAITER_SENT : WAITER_DONE;
}

const struct waitq_ops publish_waitq_ops = {
    .cost = waiter_cost, .grant = waiter_grant, .arm = topic_line_arm};

/* What it may send now goes; then it waits for whatever is next. */
void publish_own_tokens(struct producer *p, int64_t now_ns)
{
    const struct parked_frame *f = parking_head(&p->parking);
    stop_waiting(p);
    for (int n = 0; f && n < LINE_GRANTS_PER_TURN; n++, f = parking_head(&p->parking)) {
        if (wait_for_limits(p, f->messages, f->len - PUBLISH_SIZE_FIELD, now_ns))
            break;
        if (append_parked(p, now_ns) == TG_OK)
            continue;
        wait_for_store(p);
        break;
    }
    if (f && !p->binding && !p->is_blocked)
        stand_in_line(p, NULL, now_ns); /* as all who have more than a turn's worth */
    producer_advance(p, now_ns);
}

void publish_limit_changed(struct topic *t)
{
    int64_t now_ns = shard_now_ns(t->shard);
    struct producer *p;
    DL_FOREACH(t->producers, p)
    {
        if (p->binding) {
            set_allowance(p);
            producer_advance(p, now_ns);
        }
    }
    topic_line_limit_changed(&t->publish, now_ns);
}

/* What somebody waits for may be in the chain no more: he waits for the narrowest then, until his
 * turn says what for. */
void publish_chain_changed(struct topic *t)
{
    int64_t now_ns = shard_now_ns(t->shard);
    struct producer *p;
    DL_FOREACH(t->producers, p)
    {
        if (p->binding && p->lacking && !quota_chain_has(t->publish.chain, p->lacking))
            wait_for_other(p, t->publish.chain->quota[0], now_ns);
    }
    waitq_kick(&t->publish.waiters, now_ns);
}

/* ---- the store ---- */

/* The next frame of the first in line. False: the store takes nothing more. */
static bool serve_first(struct shard *s, int64_t now_ns)
{
    struct producer *p = s->blocked;
    const struct parked_frame *f = parking_head(&p->parking);
    bool waits = wait_for_limits(p, f->messages, f->len - PUBLISH_SIZE_FIELD, now_ns);
    if (!waits && append_parked(p, now_ns) != TG_OK)
        return false;
    stop_waiting_for_store(p);
    if (!waits && parking_head(&p->parking))
        wait_for_store(p); /* at the end of the line */
    producer_advance(p, now_ns);
    return true;
}

void publish_store_has_room(struct shard *s)
{
    int64_t now_ns = shard_now_ns(s);
    while (s->blocked && s->store_state == LS_OK && serve_first(s, now_ns))
        ;
}

void publish_send_receipt(struct producer *p, const struct kept_receipt *r)
{
    struct conn *c = p->conn;
    if (c->state == CONN_CLOSED)
        return;
    uint8_t *out = conn_reserve(c, COMMAND_RECEIPT_MAX);
    conn_commit(c, command_write_receipt(out, p->id, r->sequence_id, r->highest_sequence_id,
                                         p->topic->ledger, r->entry));
    p->receipts++;
}

/* Its producer may have gone, or made room for one of a higher epoch: what it has in flight still
 * is its connection's. */
static void acknowledged_at_connection(struct producer *p, uint64_t bytes)
{
    struct conn *c = p->conn ? p->conn : conn_find(p->topic->shard, p->conn_id);
    if (c)
        conn_acknowledged(c, bytes);
}

static void acknowledge(struct producer *p, const struct in_flight *f, uint64_t entry)
{
    struct kept_receipt r = {f->sequence_id, f->highest_sequence_id, entry};
    if (!p->held || !producer_hold_keeps(p, &r))
        publish_send_receipt(p, &r);
    if (p->in_flight > 0)
        return;
    if (p->closing)
        producer_send_away(p);
    else if (p->gate.step == GATE_HOLD)
        producer_advance(p, shard_now_ns(p->topic->shard));
}

void publish_appended(struct topic *t, uint64_t entry, enum tg_err e)
{
    struct in_flight f = ring_pop(t);
    struct producer *p = f.producer;
    t->shard->in_flight--;
    p->in_flight--;
    acknowledged_at_connection(p, f.bytes);
    TG_ASSERT(e == TG_OK &&
              entry == t->durable_end); /* the store reports successes only, in order */
    t->durable_end = entry + 1;
    t->last_messages = f.messages;
    t->last_publish_wall_ns = shard_wall_ns(t->shard);
    t->storage_bytes += f.bytes;
    if (p->conn)
        acknowledge(p, &f, entry);
    else
        producer_free_if_done(p);
    if (topic_end_if_drained(t))
        return;
    subscriptions_appended(t, entry, f.messages);
    topic_mark_dirty(t);
}

/* ---- the end of a producer ---- */

void publish_forget_in_flight(struct topic *t)
{
    while (t->ring_len > 0) {
        struct producer *p = ring_pop(t).producer;
        t->shard->in_flight--;
        p->in_flight--;
        producer_free_if_done(p);
    }
}

void publish_drop_parked(struct producer *p)
{
    struct topic *t = p->topic;
    int64_t now_ns = shard_now_ns(t->shard);
    if (stands_in_line(p))
        count_parked(p, false);
    parking_clear(&p->parking);
    stop_waiting_for_store(p);
    if (p->binding) {
        waitq_leave(&p->waiter, now_ns);
        stop_waiting(p);
        topic_line_ran(&t->publish, now_ns);
    }
    producer_advance(p, now_ns);
}

void publish_abandon(struct producer *p)
{
    gate_clear(&p->gate, REASON_BLOCKED);
    publish_drop_parked(p);
}
