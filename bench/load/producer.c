/* producer.c - a producer of the load generator: frames out, receipts in.
 *
 * A message's latency runs from when its frame is handed to the socket to when its receipt is read.
 * A paced producer that could not send in time because its window was full counts from when the
 * message was due, so a broker that stalls does not look better by stopping the clock. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "load.h"

/* ---- messages out ---- */

static void write_message(struct producer *p, uint64_t frame)
{
    const struct message *m = &p->group->message;
    uint8_t *out = stream_reserve(p->conn->stream, m->frame.len);
    message_write(m, out, p->id, frame * m->batch);
    stream_commit(p->conn->stream, m->frame.len);
}

static bool may_send(const struct producer *p)
{
    return p->conn->load->sending && !p->conn->load->draining && p->ready &&
           p->next_sequence - p->oldest_sequence < (uint64_t)p->group->window &&
           (p->group->frames == 0 || p->next_sequence < p->group->frames) &&
           !stream_is_congested(p->conn->stream);
}

static void send_one(struct producer *p, int64_t begin_ns)
{
    p->sent_ns[p->next_sequence % (uint64_t)p->group->window] = begin_ns;
    write_message(p, p->next_sequence++);
    p->group->sent++;
    p->conn->load->outstanding++;
    if (p->group->one_write)
        stream_flush(p->conn->stream);
}

static void fill_paced(struct producer *p, int64_t now_ns, bool was_full)
{
    int64_t step_ns = (int64_t)((double)p->group->batch / p->group->rate * (double)MONO_S);
    while (p->due_ns <= now_ns && may_send(p)) {
        send_one(p, was_full ? p->due_ns : now_ns);
        p->due_ns += step_ns;
    }
    p->waiting_to_fill = p->due_ns <= now_ns; /* the next receipt goes on */
    if (!p->waiting_to_fill && !timer_is_armed(&p->pace))
        timer_arm(p->conn->load->w, &p->pace, p->due_ns);
}

void producer_fill(struct producer *p, int64_t now_ns)
{
    if (p->group->rate > 0) {
        if (p->waiting_to_fill)
            fill_paced(p, now_ns, true);
        return;
    }
    while (may_send(p))
        send_one(p, now_ns);
}

static void begin_or_go_on(struct producer *p, int64_t now_ns)
{
    if (p->group->rate > 0)
        fill_paced(p, now_ns, false);
    else
        producer_fill(p, now_ns);
}

static void pace_fired(struct timer *t, int64_t turn_ns)
{
    (void)turn_ns;
    begin_or_go_on(OF(struct producer, t, pace), mono_now_ns());
}

/* Its part of the time over which the producers of its group begin: one of each connection in
 * turn. */
static int64_t begins_after_ns(const struct producer *p)
{
    const struct group *g = p->group;
    double place = (double)(p->index * g->conns + p->conn->index - g->first_conn);
    return (int64_t)(g->spread_s * place / (g->conns * g->members) * (double)MONO_S);
}

void producer_begin(struct producer *p, int64_t now_ns)
{
    p->due_ns = now_ns + begins_after_ns(p);
    if (p->due_ns > now_ns)
        timer_arm(p->conn->load->w, &p->pace, p->due_ns);
    else
        begin_or_go_on(p, now_ns);
}

/* ---- receipts in ---- */

void producer_receipt(struct conn *c, const uint8_t *p, const uint8_t *end, int64_t now_ns)
{
    uint64_t id = 0, sequence = 0;
    p += 3; /* type and key */
    read_varint(&p, end);
    while (p < end) {
        unsigned key = *p++;
        uint64_t v = read_varint(&p, end);
        if (key == 0x08)
            id = v;
        else if (key == 0x10)
            sequence = v;
        else if ((key & 7) == 2)
            p += v; /* message_id */
    }
    if (id >= (uint64_t)c->producer_count)
        return;
    struct producer *pr = c->producers[id];
    struct group *g = pr->group;
    if (pr->oldest_sequence == pr->next_sequence ||
        sequence != pr->oldest_sequence * (uint64_t)g->batch) {
        g->wrong_ids++;
        return;
    }
    int64_t sent_ns = pr->sent_ns[pr->oldest_sequence++ % (uint64_t)g->window];
    g->acknowledged += (uint64_t)g->batch;
    if (c->load->measuring) {
        histogram_add(&g->latency, now_ns - sent_ns);
        g->messages += (uint64_t)g->batch;
        g->frames_done++;
    }
    if (pr->oldest_sequence == g->frames)
        load_one_is_done(c->load);
    if (--c->load->outstanding == 0 && c->load->draining)
        load_is_drained(c->load);
    if (!pr->touched) {
        pr->touched = true;
        pr->next_touched = c->touched;
        c->touched = pr;
    }
}

/* ---- its life ---- */

void producer_open(struct producer *p)
{
    Pulsar__Proto__CommandProducer body = PULSAR__PROTO__COMMAND_PRODUCER__INIT;
    body.topic = p->topic;
    body.producer_id = p->id;
    body.request_id = p->id; /* one request per producer at a time */
    body.producer_name = p->name;
    body.has_user_provided_producer_name = true;
    body.user_provided_producer_name = false;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__PRODUCER;
    cmd.producer = &body;
    conn_send_command(p->conn, &cmd);
}

void producer_ready(struct producer *p)
{
    struct load *l = p->conn->load;
    if (p->ready)
        return;
    p->ready = true;
    if (!l->sending) {
        load_one_is_ready(l);
        return;
    }
    for (uint64_t f = p->oldest_sequence; f < p->next_sequence; f++, p->group->resent++)
        write_message(p, f);
    producer_fill(p, mono_now_ns());
}

void producer_closed_by_broker(struct producer *p)
{
    p->ready = false;
    p->group->closed_by_broker++;
    producer_open(p);
}

struct producer *producer_make(struct conn *c, struct group *g, int index)
{
    struct producer *p = xcalloc(1, sizeof(*p));
    p->conn = c;
    p->group = g;
    p->index = index;
    p->name = xasprintf("load-%s-%d-%d", g->name, c->index, index);
    p->sent_ns = xcalloc((size_t)g->window, sizeof(*p->sent_ns));
    timer_init(&p->pace, pace_fired);
    return p;
}

void producer_free(struct producer *p)
{
    free(p->topic);
    free(p->name);
    free(p->sent_ns);
    free(p);
}
