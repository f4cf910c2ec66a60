/* link_far.c - the end of a link where the topics live: frames are handled there as they are at a
 * socket, what is answered goes back at the turn's end. See link.h.
 *
 * Invariant: while the near end waits for a count of this end to go down, each change of it goes
 * back with this turn's parcel. */
#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/alloc.h"
#include "broker/link_ends.h"
#include "broker/producer.h"
#include "broker/subscription.h"
#include "net/stream.h"

/* ---- parcels ---- */

static struct parcel *back_of(struct link *l)
{
    if (!l->back) {
        l->back = parcel_new(l);
        l->back->pausing = l->conn.pausing > 0;
        LL_PREPEND2(l->far_shard->links_back, l, next_far);
    }
    return l->back;
}

/* What the far end has handled and is not in flight: acknowledged, parked, or dropped. */
static struct flight settled(const struct link *l)
{
    return flight_minus(l->handled, l->conn.in_flight);
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

void link_post_back(struct link *l)
{
    struct parcel *p = l->back;
    l->back = NULL;
    p->opens = l->opens_handled;
    p->flight = l->told = settled(l);
    keep_what_is_gone(l, p);
    letter_post(l->far_shard, l->near_shard, &p->letter, link_read_back, link_drop_parcel);
}

/* ---- letters ---- */

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

void link_read_out(struct letter *letter, struct shard *at)
{
    struct parcel *p = (struct parcel *)letter;
    struct link *l = p->link;
    if (!l->is_open)
        open_far(l, at);
    l->opens_handled = p->opens;
    l->handled = p->flight;
    l->near_is_full = p->is_full;
    handle_frames(&l->conn, p);
    budget_give(link_budget(l), BUDGET_RECEIVE, (int64_t)p->len);
    atomic_fetch_sub(&l->frame_bytes, p->len);
    if (atomic_load(&l->near_waits))
        (void)back_of(l);
    link_in_flight_changed(l);
    parcel_free(p);
}

void link_read_close(struct letter *letter, struct shard *at)
{
    struct link *l = (struct link *)((char *)letter - offsetof(struct link, close));
    if (l->is_open) {
        conn_detach(&l->conn);
        l->is_open = false;
    }
    if (l->back) {
        LL_DELETE2(at->links_back, l, next_far);
        link_post_back(l); /* before the last letter */
    }
    letter_post(at, l->near_shard, &l->closed, link_read_closed, link_drop_closed);
}

void link_read_drained(struct letter *letter, struct shard *at)
{
    struct link *l = (struct link *)((char *)letter - offsetof(struct link, drained));
    (void)at;
    atomic_store(&l->drained_on_way, false);
    if (l->is_open && l->conn.subscriptions_waiting)
        dispatch_resume_conn(&l->conn);
}

/* ---- what is sent there ---- */

uint8_t *link_reserve(struct link *l, size_t n)
{
    return parcel_reserve(back_of(l), n);
}

void link_commit(struct link *l, size_t n)
{
    l->back->len += n;
    atomic_fetch_add(&l->output_bytes, n);
    budget_force(link_budget(l), BUDGET_OUTBOUND, (int64_t)n);
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
    return n > most || (n > 0 && budget_is_over(link_budget(l), BUDGET_OUTBOUND));
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

/* The near end counts too many, which keeps its socket unread while it is full; or too few. */
void link_in_flight_changed(struct link *l)
{
    struct flight grown = flight_minus(l->told, settled(l));
    bool tell = l->near_is_full ? !flight_is_none(grown)
                                : flight_is_much(&l->far_shard->broker->flight_limit, grown);
    if (tell)
        (void)back_of(l);
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
    parcel_add_gone(back_of(l), kind, id);
}
