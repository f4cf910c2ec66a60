/* front.c - a client's socket from accept to close: frames are cut out of the bytes and routed, a
 * timer guards the handshake and keeps the client alive.
 *
 * Invariant: a front whose conn is not CONN_CLOSED has a stream that is not closing, and its socket
 * is read exactly while its pause set is empty. */
#include "broker/front.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/block.h"
#include "broker/link.h"
#include "broker/opening.h"
#include "broker/subscription.h"
#include "net/stream.h"

enum {
    REFUSALS_PER_SECOND = 5, /* lines in the log */
    KEEP_ALIVE_CHECKS = 3,   /* looks per keep-alive interval: an idle client is pinged in time */
    /* Dispatch stops at STREAM_OUTPUT_HIGH, give or take an entry: what is beyond this, and a whole
     * entry, are answers and receipts that the client does not read. */
    UNREAD_ANSWERS_MAX = 2 * STREAM_OUTPUT_HIGH,
};

/* Who holds memory that is used up, and does not get on for so long, is closed: longer than any
 * healthy network takes, shorter than the others should have to wait. */
#define STALL_NS (5 * MONO_S)

static struct front *front_of_timer(struct timer *t)
{
    return (struct front *)((char *)t - offsetof(struct front, timer));
}

static bool is_closed(const struct front *f)
{
    return f->conn.state == CONN_CLOSED;
}

/* ---- closing ---- */

/* Everything the connection has goes now; the struct itself when its stream has closed. */
static void detach(struct front *f)
{
    if (is_closed(f))
        return;
    struct shard *s = f->conn.shard;
    timer_disarm(s->worker, &f->timer);
    openings_drop_all(f);
    conn_detach(&f->conn);
    links_close(f);
    routes_free(f);
    s->front_count--;
    atomic_fetch_sub_explicit(&s->broker->connections, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&s->placed_connections, 1, memory_order_relaxed);
}

static void front_free(struct front *f)
{
    free(f->conn.client_version);
    free(f);
}

void front_close(struct front *f, const char *why)
{
    struct conn *c = &f->conn;
    log_info("conn %llu: %s: closed: %s", (unsigned long long)c->id, c->peer, why);
    detach(f);
    stream_close(c->stream, why);
}

static void on_closed(void *ctx, const char *why)
{
    struct front *f = ctx;
    if (!is_closed(f))
        log_info("conn %llu: closed by the client or the network: %s",
                 (unsigned long long)f->conn.id, why);
    detach(f);
    front_free(f);
}

void fronts_close_all(struct shard *s, const char *why)
{
    struct conn *c, *next;
    HASH_ITER(hh, s->conns, c, next)
    {
        if (c->front)
            front_close(c->front, why);
    }
}

void fronts_stop_reading(struct shard *s)
{
    for (struct conn *c = s->conns; c; c = c->hh.next)
        if (c->front)
            stream_pause(c->stream);
}

/* ---- reading ---- */

static void rest(struct front *f)
{
    f->unread_sum -= shard_now_ns(f->conn.shard);
    links_note_reading(f);
    stream_pause(f->conn.stream);
}

static void read_again(struct front *f)
{
    struct shard *s = f->conn.shard;
    f->unread_sum += shard_now_ns(s);
    links_note_reading(f);
    if (is_closed(f) || s->stopping)
        return;
    f->resumed_ns = shard_now_ns(s);
    stream_resume(f->conn.stream);
}

static size_t max_frame(const struct front *f)
{
    if (f->conn.state == CONN_HANDSHAKE)
        return FRAME_MAX_BEFORE_CONNECT;
    return (size_t)f->conn.shard->broker->settings->max_message_bytes + FRAME_OVERHEAD;
}

/* A client that asks and does not read the answers is not listened to until it does. */
static void pause_when_unread(struct front *f)
{
    if (stream_output_bytes(f->conn.stream) > UNREAD_ANSWERS_MAX + max_frame(f))
        front_pause(f, REASON_OUTBOUND_BUFFER);
}

static size_t on_bytes(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct front *f = ctx;
    size_t used = 0;
    while (!is_closed(f) && !pause_set_is_paused(&f->pause)) {
        struct frame frame;
        const char *why = NULL;
        switch (frame_parse(p + used, len - used, max_frame(f), &frame, need, &why)) {
        case FRAME_PARTIAL:
            return used;
        case FRAME_BAD:
            conn_close(&f->conn, "bad frame: %s", why);
            return len;
        case FRAME_OK:
            route_frame(f, &frame);
            used += frame.frame_len;
            pause_when_unread(f);
        }
    }
    *need = 0;
    return is_closed(f) ? len : used;
}

static void on_drained(void *ctx)
{
    struct front *f = ctx;
    front_resume(f, REASON_OUTBOUND_BUFFER);
    if (is_closed(f))
        return;
    links_drained(f);
    if (f->conn.subscriptions_waiting)
        dispatch_resume_conn(&f->conn);
}

static const struct stream_ops stream_ops = {
    .on_bytes = on_bytes, .on_drained = on_drained, .on_closed = on_closed};

/* ---- pausing ---- */

void front_pause_for_producer(struct front *f)
{
    if (pause_set_add_producer(&f->pause))
        rest(f);
}

void front_resume_for_producer(struct front *f)
{
    if (pause_set_remove_producer(&f->pause))
        read_again(f);
}

void front_pause(struct front *f, enum throttle_reason r)
{
    if (pause_set_add(&f->pause, r))
        rest(f);
}

void front_resume(struct front *f, enum throttle_reason r)
{
    if (pause_set_remove(&f->pause, r))
        read_again(f);
}

/* ---- time: handshake and keep-alive ---- */

static void send_ping(struct front *f)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandPing ping = PULSAR__PROTO__COMMAND_PING__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__PING;
    cmd.ping = &ping;
    conn_send(&f->conn, &cmd);
}

/* A connection that is not read can't be asked whether it lives, and its PINGs lie unread: an
 * unsolicited PONG is what every client takes for a sign of life. */
static void keep_alive(struct front *f, int64_t now_ns, int64_t interval_ns)
{
    int64_t heard_ns = stream_last_read_ns(f->conn.stream); /* stands still during a pause */
    int64_t silent_ns = now_ns - (heard_ns > f->resumed_ns ? heard_ns : f->resumed_ns);
    if (!stream_is_reading(f->conn.stream))
        conn_send_pong(&f->conn);
    else if (silent_ns >= 2 * interval_ns)
        conn_close(&f->conn, "nothing came for %lld s", (long long)(silent_ns / MONO_S));
    else if (silent_ns >= interval_ns)
        send_ping(f);
}

static void arm_keep_alive(struct front *f, int64_t now_ns)
{
    struct shard *s = f->conn.shard;
    timer_arm(s->worker, &f->timer,
              now_ns + s->broker->settings->keep_alive_s * MONO_S / KEEP_ALIVE_CHECKS);
}

static void on_timer(struct timer *t, int64_t now_ns)
{
    struct front *f = front_of_timer(t);
    const struct settings *set = f->conn.shard->broker->settings;
    if (f->conn.state == CONN_HANDSHAKE) {
        conn_close(&f->conn, "no CONNECT within %lld ms", (long long)set->handshake_ms);
        return;
    }
    keep_alive(f, now_ns, set->keep_alive_s * MONO_S);
    if (!is_closed(f))
        arm_keep_alive(f, now_ns);
}

void front_ready(struct front *f)
{
    f->conn.state = CONN_READY;
    arm_keep_alive(f, shard_now_ns(f->conn.shard));
}

/* ---- memory that is used up ---- */

/* What it holds of it without getting on. NULL: nothing. */
static const char *stalls(const struct front *f, int64_t now_ns)
{
    const struct budget *b = &f->conn.shard->broker->budget;
    const struct stream *s = f->conn.stream;
    if (budget_is_over(b, BUDGET_OUTBOUND) && now_ns - stream_unread_since_ns(s) >= STALL_NS)
        return "it does not read, and the memory for output is used up";
    if (budget_is_over(b, BUDGET_RECEIVE) && stream_has_part(s) && stream_is_reading(s) &&
        now_ns - stream_last_read_ns(s) >= STALL_NS)
        return "it sent a part of a frame, and the memory for these is used up";
    return NULL;
}

static void close_stalled(struct timer *t, int64_t now_ns)
{
    struct shard *s = (struct shard *)((char *)t - offsetof(struct shard, stalled_timer));
    struct conn *c, *next;
    HASH_ITER(hh, s->conns, c, next)
    {
        const char *why = c->front ? stalls(c->front, now_ns) : NULL;
        if (why)
            conn_close(c, "%s", why);
    }
}

void fronts_watch_memory(struct shard *s)
{
    const struct budget *b = &s->broker->budget;
    if (timer_is_armed(&s->stalled_timer) ||
        (!budget_is_over(b, BUDGET_OUTBOUND) && !budget_is_over(b, BUDGET_RECEIVE)))
        return;
    event_buffer_full(s, budget_is_over(b, BUDGET_OUTBOUND) ? BUFFER_OUTBOUND : BUFFER_RECEIVE);
    timer_init(&s->stalled_timer, close_stalled);
    timer_arm(s->worker, &s->stalled_timer, shard_now_ns(s) + MONO_S);
}

/* ---- accepting ---- */

static bool is_full(const struct broker *b)
{
    int64_t most = b->settings->max_connections;
    return most > 0 && atomic_load_explicit(&b->connections, memory_order_relaxed) >= most;
}

static void refuse(struct shard *s, struct stream *stream, const char *why)
{
    uint32_t kept_back;
    if (log_gate_open(&s->refused_log, REFUSALS_PER_SECOND, shard_now_ns(s), &kept_back))
        log_warn("%s: refused: %s (%u lines kept back)", stream_peer(stream), why,
                 (unsigned)kept_back);
    stream_close(stream, "refused");
}

/* NULL: it is let in. */
static const char *refusal(const struct shard *s, const struct stream *stream)
{
    if (s->stopping)
        return "the broker stops";
    if (is_full(s->broker))
        return "brokerMaxConnections is reached";
    if (block_set_match_client(s->blocks, stream_peer(stream), NULL) != NULL)
        return "its address is blocked by an administrator";
    return NULL;
}

void front_accept(struct shard *s, struct stream *stream)
{
    struct broker *b = s->broker;
    const char *why = refusal(s, stream);
    if (why) {
        atomic_fetch_sub_explicit(&s->placed_connections, 1, memory_order_relaxed);
        refuse(s, stream, why);
        return;
    }
    struct front *f = xcalloc(1, sizeof *f);
    struct conn *c = &f->conn;
    conn_init(c, s, atomic_fetch_add_explicit(&b->last_conn_id, 1, memory_order_relaxed) + 1,
              CONN_HANDSHAKE);
    c->front = f;
    c->stream = stream;
    c->peer = stream_peer(stream);
    c->connected_wall_ns = shard_wall_ns(s);
    s->front_count++;
    atomic_fetch_add_explicit(&b->connections, 1, memory_order_relaxed);
    timer_init(&f->timer, on_timer);
    timer_arm(s->worker, &f->timer, shard_now_ns(s) + b->settings->handshake_ms * MONO_MS);
    stream_set_ops(stream, &stream_ops, f);
    log_debug("conn %llu: accepted from %s", (unsigned long long)c->id, c->peer);
}

static void on_arrived(void *ctx, struct stream *stream)
{
    struct shard *s = ctx;
    if (stream)
        front_accept(s, stream);
    else
        atomic_fetch_sub_explicit(&s->placed_connections, 1, memory_order_relaxed);
}

void front_place(struct shard *s, struct stream *stream)
{
    struct broker *b = s->broker;
    struct shard *to = s;
    for (int i = 0; i < b->shards; i++) /* a tie goes to the next one: the control worker has more
                                           to do than the others */
        if (atomic_load_explicit(&b->shard[i].placed_connections, memory_order_relaxed) <=
            atomic_load_explicit(&to->placed_connections, memory_order_relaxed))
            to = &b->shard[i];
    atomic_fetch_add_explicit(&to->placed_connections, 1, memory_order_relaxed);
    if (to != s && stream_move(stream, to->worker, on_arrived, to) == TG_OK)
        return;
    if (to != s) {
        atomic_fetch_sub_explicit(&to->placed_connections, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&s->placed_connections, 1, memory_order_relaxed);
    }
    front_accept(s, stream);
}
