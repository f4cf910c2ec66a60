/* link.c - see link.h.
 *
 * Invariants: a link is freed by the letter <closed>, the last one of its far end, which answers
 * <close>, the last one of its near end. So no letter ever finds a link that is gone. Whoever waits
 * for a count to go down says so before it looks once more, and whoever takes it down looks whether
 * somebody waits after it: a wake-up is never lost. */
#include "broker/link.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/log.h"
#include "broker/producer.h"
#include "broker/subscription.h"
#include "net/stream.h"

static void on_parcel_back(struct letter *letter, struct shard *at);
static void on_parcel_out(struct letter *letter, struct shard *at);

static struct budget *budget_of(const struct link *l)
{
    return &l->near_shard->broker->budget;
}

/* ---- parcels ---- */

static struct parcel *parcel_new(struct link *l)
{
    struct parcel *p = xcalloc(1, sizeof *p);
    p->link = l;
    return p;
}

static uint8_t *parcel_reserve(struct parcel *p, size_t n)
{
    if (p->cap - p->len < n) {
        size_t cap = p->cap ? p->cap * 2 : PARCEL_MIN;
        p->cap = cap - p->len < n ? p->len + n : cap;
        p->bytes = xrealloc(p->bytes, p->cap);
    }
    return p->bytes + p->len;
}

static void parcel_free(struct parcel *p)
{
    free(p->close_why);
    free(p->gone);
    free(p->bytes);
    free(p);
}

static void parcel_drop(struct letter *letter)
{
    struct parcel *p = (struct parcel *)letter;
    bool is_out = letter->read == on_parcel_out;
    budget_give(budget_of(p->link), is_out ? BUDGET_RECEIVE : BUDGET_OUTBOUND, (int64_t)p->len);
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

static struct parcel *back_of(struct link *l)
{
    if (!l->back) {
        l->back = parcel_new(l);
        l->back->pausing = l->conn.pausing > 0;
        LL_PREPEND2(l->far_shard->links_back, l, next_far);
    }
    return l->back;
}

static void post_out(struct link *l)
{
    struct parcel *p = l->out;
    l->out = NULL;
    p->opens = l->opens;
    letter_post(l->near_shard, l->far_shard, &p->letter, on_parcel_out, parcel_drop);
}

static bool is_there(struct conn *c, const struct gone_id *g)
{
    return g->kind == ID_PRODUCER ? conn_producer(c, g->id) != NULL
                                  : conn_consumer(c, g->id) != NULL;
}

/* An id may have been opened anew in the turn in which it went. */
static void keep_what_is_gone(struct link *l, struct parcel *p)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->gone_len; i++)
        if (!is_there(&l->conn, &p->gone[i]))
            p->gone[kept++] = p->gone[i];
    p->gone_len = kept;
}

static void post_back(struct link *l)
{
    struct parcel *p = l->back;
    l->back = NULL;
    p->opens = l->opens_handled;
    keep_what_is_gone(l, p);
    letter_post(l->far_shard, l->near_shard, &p->letter, on_parcel_back, parcel_drop);
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
        post_back(l);
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
           (on_way < LINK_FRAMES_MAX && !budget_is_closed(budget_of(l), BUDGET_RECEIVE));
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

/* Other links of the front, or what it has in flight itself, may still want it to rest: the reason
 * is one for all of them. */
static void rest_no_more(struct link *l)
{
    struct front *f = l->front;
    if (!l->resting || !keeps_up(l))
        return;
    l->resting = false;
    atomic_store(&l->near_waits, false);
    if (!f->conn.is_full && !links_make_rest(f))
        front_resume(f, REASON_CONNECTION_IN_FLIGHT);
}

void link_forward(struct front *f, struct shard *at, const struct frame *frame)
{
    struct link *l = link_to(f, at);
    struct parcel *p = out_of(l);
    memcpy(parcel_reserve(p, frame->frame_len), frame_start(frame), frame->frame_len);
    p->len += frame->frame_len;
    atomic_fetch_add(&l->frame_bytes, frame->frame_len);
    budget_force(budget_of(l), BUDGET_RECEIVE, (int64_t)frame->frame_len);
    if (l->resting || keeps_up(l))
        return;
    rest(l);
    rest_no_more(l); /* the other worker may have caught up meanwhile */
}

uint64_t link_forward_open(struct front *f, struct shard *at, const struct frame *frame)
{
    uint64_t opens = ++link_to(f, at)->opens;
    link_forward(f, at, frame);
    return opens;
}

void links_note_reading(struct front *f)
{
    for (int i = 0; f->links && i < f->conn.shard->broker->shards; i++)
        if (f->links[i])
            atomic_store_explicit(&f->links[i]->unread_sum, f->unread_sum, memory_order_relaxed);
}

static void on_drained(struct letter *letter, struct shard *at)
{
    struct link *l = (struct link *)((char *)letter - offsetof(struct link, drained));
    (void)at;
    atomic_store(&l->drained_on_way, false);
    if (l->is_open && l->conn.subscriptions_waiting)
        dispatch_resume_conn(&l->conn);
}

/* The socket has taken <n> bytes of what came from the far end. */
static void give_credit(struct link *l, size_t n)
{
    size_t left = atomic_fetch_sub(&l->output_bytes, n) - n;
    if (left > STREAM_OUTPUT_LOW || !atomic_exchange(&l->far_waits, false))
        return;
    if (!atomic_exchange(&l->drained_on_way, true))
        letter_post(l->near_shard, l->far_shard, &l->drained, on_drained, NULL);
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

static void on_parcel_back(struct letter *letter, struct shard *at)
{
    struct parcel *p = (struct parcel *)letter;
    struct link *l = p->link;
    (void)at;
    budget_give(budget_of(l), BUDGET_OUTBOUND, (int64_t)p->len);
    if (l->front) {
        write_out(l, p);
        take_pausing(l, p->pausing);
        rest_no_more(l);
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

static void free_closed(struct letter *letter)
{
    link_free((struct link *)((char *)letter - offsetof(struct link, closed)));
}

static void on_closed(struct letter *letter, struct shard *at)
{
    (void)at;
    free_closed(letter);
}

static void on_close(struct letter *letter, struct shard *at)
{
    struct link *l = (struct link *)((char *)letter - offsetof(struct link, close));
    if (l->is_open) {
        conn_detach(&l->conn);
        l->is_open = false;
    }
    if (l->back) {
        LL_DELETE2(at->links_back, l, next_far);
        post_back(l); /* before the last letter */
    }
    letter_post(at, l->near_shard, &l->closed, on_closed, free_closed);
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
        letter_post(s, l->far_shard, &l->close, on_close, on_close_dropped);
    }
    free(f->links);
    f->links = NULL;
}

/* ---- far end ---- */

static void open_far(struct link *l, struct shard *at)
{
    struct conn *c = &l->conn;
    c->link = l;
    c->peer = l->peer;
    c->client_version = l->client_version;
    conn_init(c, at, c->id, CONN_READY);
    l->is_open = true;
}

static void handle_frames(struct conn *c, const struct parcel *p)
{
    size_t used = 0;
    while (used < p->len && c->state != CONN_CLOSED) {
        struct frame f;
        size_t need;
        const char *why;
        enum frame_status r = frame_parse(p->bytes + used, p->len - used, p->len, &f, &need, &why);
        TG_ASSERT(r == FRAME_OK); /* it was cut out by the front */
        conn_handle_frame(c, &f);
        used += f.frame_len;
    }
}

static void on_parcel_out(struct letter *letter, struct shard *at)
{
    struct parcel *p = (struct parcel *)letter;
    struct link *l = p->link;
    if (!l->is_open)
        open_far(l, at);
    l->opens_handled = p->opens;
    handle_frames(&l->conn, p);
    budget_give(budget_of(l), BUDGET_RECEIVE, (int64_t)p->len);
    atomic_fetch_sub(&l->frame_bytes, p->len);
    if (atomic_load(&l->near_waits))
        (void)back_of(l);
    parcel_free(p);
}

uint8_t *link_reserve(struct link *l, size_t n)
{
    return parcel_reserve(back_of(l), n);
}

void link_commit(struct link *l, size_t n)
{
    l->back->len += n;
    atomic_fetch_add(&l->output_bytes, n);
    budget_force(budget_of(l), BUDGET_OUTBOUND, (int64_t)n);
}

size_t link_output_bytes(const struct link *l)
{
    return atomic_load(&l->output_bytes);
}

int64_t link_unread_sum(const struct link *l)
{
    return atomic_load_explicit(&l->unread_sum, memory_order_relaxed);
}

/* Over <most>, or with anything while the memory for output is used up; as a stream's own. */
static bool is_over(const struct link *l, size_t most)
{
    size_t n = link_output_bytes(l);
    return n > most || (n > 0 && budget_is_over(budget_of(l), BUDGET_OUTBOUND));
}

bool link_is_congested(struct link *l)
{
    if (!is_over(l, STREAM_OUTPUT_HIGH))
        return false;
    atomic_store(&l->far_waits, true);
    if (is_over(l, STREAM_OUTPUT_LOW))
        return true;
    atomic_store(&l->far_waits, false); /* it went down meanwhile */
    return false;
}

void link_set_pausing(struct link *l, bool pausing)
{
    back_of(l)->pausing = pausing;
}

void link_ask_to_close(struct link *l, const char *why)
{
    struct parcel *p = back_of(l);
    if (!p->close_why)
        p->close_why = xstrdup(why);
}

void link_note_gone(struct link *l, enum id_kind kind, uint64_t id)
{
    if (l->conn.state == CONN_CLOSED)
        return; /* all of it goes */
    struct parcel *p = back_of(l);
    if (p->gone_len == p->gone_cap) {
        p->gone_cap = p->gone_cap ? 2 * p->gone_cap : GONE_FIRST;
        p->gone = xrealloc(p->gone, p->gone_cap * sizeof p->gone[0]);
    }
    p->gone[p->gone_len++] = (struct gone_id){kind, id};
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
            parcel_drop(&l->back->letter);
        link_free(l);
    }
    s->links_orphaned = NULL;
}
