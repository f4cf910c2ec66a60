/* conn.c - a connection's part on one worker: its producers and consumers, and their end.
 *
 * Invariant: a conn that is not CONN_CLOSED is in its shard's map; everything it owns is there to
 * be found by id. */
#include "broker/conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "broker/link.h"
#include "broker/producer.h"
#include "broker/route.h"
#include "broker/subscription.h"
#include "broker/walk.h"

enum { CLOSE_REASON_MAX = 256 };

void conn_init(struct conn *c, struct shard *s, uint64_t id, enum conn_state state)
{
    c->id = id;
    c->shard = s;
    c->state = state;
    c->role = "";
    HASH_ADD(hh, s->conns, id, sizeof c->id, c);
}

void conn_detach(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    walks_skip_conn(c->shard, c);
    HASH_DEL(c->shard->conns, c);
    struct producer *p, *next_p;
    HASH_ITER(hh, c->producers, p, next_p)
    {
        producer_close(p);
    }
    struct consumer *k, *next_k;
    HASH_ITER(hh, c->consumers, k, next_k)
    {
        consumer_close(k);
    }
}

void conn_close(struct conn *c, const char *fmt, ...)
{
    if (c->state == CONN_CLOSED)
        return;
    char why[CLOSE_REASON_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    if (c->front) {
        front_close(c->front, why);
    } else {
        conn_detach(c);
        link_ask_to_close(c->link, why);
    }
}

struct conn *conn_find(struct shard *s, uint64_t conn_id)
{
    struct conn *c;
    HASH_FIND(hh, s->conns, &conn_id, sizeof conn_id, c);
    return c;
}

void conn_handle_frame(struct conn *c, const struct frame *f)
{
    int type = command_peek_type(f->command, f->command_len);
    if (type == PULSAR__PROTO__BASE_COMMAND__TYPE__SEND) {
        cmd_send(c, f);
        return;
    }
    const Pulsar__Proto__BaseCommand *cmd =
        command_unpack(c->shard->arena, f->command, f->command_len);
    command_fn fn = route_handler(type);
    if (cmd && fn)
        fn(c, cmd);
    else
        conn_close(c, "malformed %s command", command_type_name(type));
    arena_reset(c->shard->arena);
}

void conn_note_gone(struct conn *c, enum id_kind kind, uint64_t id)
{
    if (c->link)
        link_note_gone(c->link, kind, id);
}

/* ---- pausing ---- */

int64_t conn_unread_ns(const struct conn *c, int64_t now_ns)
{
    int64_t sum = c->front ? c->front->unread_sum : link_unread_sum(c->link);
    return sum < 0 ? sum + now_ns : sum;
}

void conn_pause_for_producer(struct conn *c)
{
    bool first = c->pausing++ == 0;
    if (c->front)
        front_pause_for_producer(c->front);
    else if (first)
        link_set_pausing(c->link, true);
}

void conn_resume_for_producer(struct conn *c)
{
    TG_ASSERT(c->pausing > 0);
    bool last = --c->pausing == 0;
    if (c->front)
        front_resume_for_producer(c->front);
    else if (last)
        link_set_pausing(c->link, false);
}
