/* link.c - a link's near end, where the socket is; see link.h.
 *
 * Invariants: a link is freed by the letter <closed>, the last one of its far end, which answers
 * <close>, the last one of its near end. So no letter ever finds a link that is gone. Whoever waits
 * for a count to go down says so before it looks once more, and whoever takes it down looks whether
 * somebody waits after it: a wake-up is never lost. */
#include "broker/link_ends.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/producer.h"
#include "broker/subscription.h"
#include "net/stream.h"

/* ---- parcels ---- */

void link_drop_parcel(struct letter *letter)
{
    struct parcel *p = (struct parcel *)letter;
    bool is_out = letter->read == link_read_out;
    budget_give(link_budget(p->link), is_out ? BUDGET_RECEIVE : BUDGET_OUTBOUND, (int64_t)p->len);
    parcel_free(p);
}

static struct parcel *out_of(struct link *l)
{
    if (!l->out) {
        l->out = parcel_new(l);
        LL_PREPEND2(l->near_shard->links_out, l, next_near);
    }
    return l->out;
}

static void post_out(struct link *l)
{
    struct parcel *p = l->out;
    l->out = NULL;
    p->opens = l->opens;
    p->flight = l->sent;
    p->is_full = l->far_knows_full = l->front->is_full;
    letter_post(l->near_shard, l->far_shard, &p->letter, link_read_out, link_drop_parcel);
}

void links_post(struct shard *s)
{
    struct link *l, *next;
    LL_FOREACH_SAFE2(s->links_out, l, next, next_near)
    {
        post_out(l);
    }
    s->links_out = NULL;
    LL_FOREACH_SAFE2(s->links_back, l, next, next_far)
    {
        link_post_back(l);
    }
    s->links_back = NULL;
}

/* ---- near end ---- */

static struct link *link_to(struct front *f, struct shard *at)
{
    if (!f->links)
        f->links = xcalloc((size_t)at->broker->shards, sizeof(struct link *));
    struct link *l = f->links[at->index];
    if (l)
        return l;
    l = f->links[at->index] = xcalloc(1, sizeof *l);
    l->near_shard = f->conn.shard;
    l->far_shard = at;
    l->front = f;
    l->peer = xstrdup(f->conn.peer);
    l->client_version = xstrdup(f->conn.client_version);
    l->conn.id = f->conn.id; /* read by the far end with the first parcel */
    l->conn.connected_wall_ns = f->conn.connected_wall_ns;
    l->conn.is_proxied = f->conn.is_proxied;
    atomic_store(&l->unread_sum, f->unread_sum);
    return l;
}

/* While the memory for frames is used up, one parcel at a time is enough. */
static bool keeps_up(struct link *l)
{
    size_t on_way = atomic_load(&l->frame_bytes);
    return on_way == 0 ||
           (on_way < LINK_FRAMES_MAX && !budget_is_closed(link_budget(l), BUDGET_RECEIVE));
}

static void rest(struct link *l)
{
    l->resting = true;
    front_pause(l->front, REASON_CONNECTION_IN_FLIGHT);
    atomic_store(&l->near_waits, true);
}

bool links_make_rest(const struct front *f)
{
    bool any = false;
    for (int i = 0; f->links && i < f->conn.shard->broker->shards; i++)
        any = any || (f->links[i] && f->links[i]->resting);
    return any;
}

static void rest_no_more(struct link *l)
{
    struct front *f = l->front;
    if (!l->resting || !keeps_up(l))
        return;
    l->resting = false;
    atomic_store(&l->near_waits, false);
    front_read_on(f);
}

static void forward(struct link *l, const struct frame *frame)
{
    struct parcel *p = out_of(l);
    memcpy(parcel_reserve(p, frame->frame_len), frame_start(frame), frame->frame_len);
    p->len += frame->frame_len;
    atomic_fetch_add(&l->frame_bytes, frame->frame_len);
    budget_force(link_budget(l), BUDGET_RECEIVE, (int64_t)frame->frame_len);
    if (l->resting || keeps_up(l))
        return;
    rest(l);
    rest_no_more(l); /* the other worker may have caught up meanwhile */
}

void link_forward(struct front *f, struct shard *at, const struct frame *frame)
{
    forward(link_to(f, at), frame);
}

uint64_t link_forward_open(struct front *f, struct shard *at, const struct frame *frame)
{
    struct link *l = link_to(f, at);
    uint64_t opens = ++l->opens;
    forward(l, frame);
    return opens;
}

void link_forward_send(struct front *f, struct shard *at, const struct frame *frame)
{
    struct link *l = link_to(f, at);
    struct flight one = {1, frame->body_len};
    l->sent = flight_plus(l->sent, one);
    f->far_in_flight = flight_plus(f->far_in_flight, one);
    forward(l, frame);
    front_in_flight_changed(f);
}

static void tell_full(struct link *l)
{
    if (!l->far_knows_full && !flight_is_none(flight_minus(l->sent, l->settled)))
        (void)out_of(l);
}

void links_tell_full(struct front *f)
{
    for (int i = 0; f->links && i < f->conn.shard->broker->shards; i++)
        if (f->links[i])
            tell_full(f->links[i]);
}

void links_note_reading(struct front *f)
{
    for (int i = 0; f->links && i < f->conn.shard->broker->shards; i++)
        if (f->links[i])
            atomic_store_explicit(&f->links[i]->unread_sum, f->unread_sum, memory_order_relaxed);
}

/* The socket has taken <n> bytes of what came from the far end. */
static void give_credit(struct link *l, size_t n)
{
    size_t left = atomic_fetch_sub(&l->output_bytes, n) - n;
    if (left > STREAM_OUTPUT_LOW || !atomic_exchange(&l->far_waits, false))
        return;
    if (!atomic_exchange(&l->drained_on_way, true))
        letter_post(l->near_shard, l->far_shard, &l->drained, link_read_drained, NULL);
}

void links_drained(struct front *f)
{
    for (int i = 0; f->links && i < f->conn.shard->broker->shards; i++) {
        struct link *l = f->links[i];
        if (!l || l->owed_bytes == 0)
            continue;
        size_t owed = l->owed_bytes;
        l->owed_bytes = 0;
        give_credit(l, owed);
    }
}

static void write_out(struct link *l, const struct parcel *p)
{
    struct conn *c = &l->front->conn;
    if (c->state == CONN_CLOSED || p->len == 0)
        return;
    stream_write(c->stream, p->bytes, p->len);
    if (stream_is_congested(c->stream))
        l->owed_bytes += p->len;
    else
        give_credit(l, p->len);
}

static void take_pausing(struct link *l, bool pausing)
{
    if (pausing == l->far_pausing)
        return;
    l->far_pausing = pausing;
    if (pausing)
        front_pause_for_producer(l->front);
    else
        front_resume_for_producer(l->front);
}

static void take_settled(struct link *l, struct flight now)
{
    struct front *f = l->front;
    f->far_in_flight = flight_minus(f->far_in_flight, flight_minus(now, l->settled));
    l->settled = now;
    if (f->is_full)
        tell_full(l); /* what it appended of parked frames may be its first part in it */
    front_in_flight_changed(f);
}

void link_read_back(struct letter *letter, struct shard *at)
{
    struct parcel *p = (struct parcel *)letter;
    struct link *l = p->link;
    (void)at;
    budget_give(link_budget(l), BUDGET_OUTBOUND, (int64_t)p->len);
    if (l->front) {
        write_out(l, p);
        take_pausing(l, p->pausing);
        rest_no_more(l);
        take_settled(l, p->flight);
        for (uint32_t i = 0; i < p->gone_len; i++)
            route_forget(l->front, p->gone[i].kind, p->gone[i].id, l->far_shard, p->opens);
        if (p->close_why)
            conn_close(&l->front->conn, "%s", p->close_why);
    }
    parcel_free(p);
}

static void link_free(struct link *l)
{
    free(l->peer);
    free(l->client_version);
    free(l);
}

void link_drop_closed(struct letter *letter)
{
    link_free((struct link *)((char *)letter - offsetof(struct link, closed)));
}

void link_read_closed(struct letter *letter, struct shard *at)
{
    (void)at;
    link_drop_closed(letter);
}

/* <close> is never read, the far end's worker has ended: it goes with the shards. */
static void on_close_dropped(struct letter *letter)
{
    struct link *l = (struct link *)((char *)letter - offsetof(struct link, close));
    LL_PREPEND2(l->near_shard->links_orphaned, l, next_near);
}

void links_close(struct front *f)
{
    struct shard *s = f->conn.shard;
    for (int i = 0; f->links && i < s->broker->shards; i++) {
        struct link *l = f->links[i];
        if (!l)
            continue;
        if (l->out) {
            LL_DELETE2(s->links_out, l, next_near);
            post_out(l); /* what came before the end is handled */
        }
        l->front = NULL;
        letter_post(s, l->far_shard, &l->close, link_read_close, on_close_dropped);
    }
    free(f->links);
    f->links = NULL;
}

/* ---- the end ---- */

void links_free_all(struct shard *s)
{
    struct link *l, *next;
    LL_FOREACH_SAFE2(s->links_orphaned, l, next, next_near)
    {
        if (l->is_open)
            conn_detach(&l->conn);
        if (l->back)
            link_drop_parcel(&l->back->letter);
        link_free(l);
    }
    s->links_orphaned = NULL;
}
