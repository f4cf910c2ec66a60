/* producer.c - a producer's life: registered on its connection and its topic, closed by its client,
 * its connection or its topic, freed when nothing of it is in flight any more. */
#include "broker/producer.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "broker/producer_hold.h"
#include "broker/producer_limit.h"
#include "broker/walk.h"

struct producer *conn_producer(struct conn *c, uint64_t id)
{
    if (c->last_producer && c->last_producer->id == id)
        return c->last_producer;
    struct producer *p;
    HASH_FIND(hh, c->producers, &id, sizeof id, p);
    if (p)
        c->last_producer = p;
    return p;
}

struct producer *topic_producer_by_name(struct topic *t, const char *name)
{
    struct producer *p;
    DL_FOREACH(t->producers, p)
    {
        if (p->conn && strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

struct producer *producer_new(struct conn *c, struct topic *t, uint64_t id, char *name)
{
    struct producer *p = xcalloc(1, sizeof *p);
    p->id = id;
    p->conn = c;
    p->conn_id = c->id;
    p->topic = t;
    p->name = name;
    p->address = xstrdup(c->peer);
    p->client_version = xstrdup(c->client_version);
    p->connected_wall_ns = shard_wall_ns(c->shard);
    gate_init(&p->gate);
    wait_counts_init(&p->counts);
    p->last_reason = REASON_COUNT;
    parking_init(&p->parking, &c->shard->broker->budget);
    waiter_init(&p->waiter, 1);
    HASH_ADD(hh, c->producers, id, sizeof p->id, p);
    c->producer_count++;
    DL_APPEND(t->producers, p);
    t->producer_count++;
    producer_limit_set(p, &t->producer_rate);
    return p;
}

void producer_free_if_done(struct producer *p)
{
    if (p->conn || p->in_flight > 0)
        return;
    producer_hold_free(p);
    producer_limit_free(p);
    free(p->name);
    free(p->address);
    free(p->client_version);
    json_decref(p->metadata);
    free(p);
}

void producer_send_away(struct producer *p)
{
    bool knows = producer_hold_end_by_broker(p);
    if (p->closing)
        conn_send_success(p->conn, p->close_request_id);
    else if (!knows)
        conn_send_close_producer(p->conn, p->id, false);
    producer_close(p);
}

void producer_close(struct producer *p)
{
    struct conn *c = p->conn;
    if (!c)
        return;
    producer_hold_drop(p);
    publish_abandon(p); /* parked frames, queue, paused socket */
    walks_skip_producer(c->shard, p);
    HASH_DEL(c->producers, p);
    c->producer_count--;
    if (c->last_producer == p)
        c->last_producer = NULL;
    conn_note_gone(c, ID_PRODUCER, p->id);
    p->conn = NULL;
    DL_DELETE(p->topic->producers, p);
    p->topic->producer_count--;
    producer_free_if_done(p);
}
