/* res_clients.c - GET /admin/v2/clients: every connection, and what it does. A connection's socket
 * is on one worker and its producers and consumers may be on others: each worker says what it has
 * of it, some a turn, and the parts of one connection are put together by its id. */
#include <stdlib.h>
#include <string.h>

#include "admin/res.h"
#include "admin/survey.h"
#include "base/alloc.h"
#include "base/mono.h"
#include "broker/front.h"
#include "broker/producer.h"

enum {
    SHOWN_PER_TURN = 30, /* some 3 us for a connection, a producer or a consumer */
    LISTED_MAX = 1000,   /* of a connection's producers or consumers on one worker */
    KEY_MAX = 24,
};

static json_t *wire_id(uint64_t id)
{
    return json_integer((json_int_t)id); /* a client's own number: of any size, seen as signed */
}

/* ---- on the connection's workers ---- */

static json_t *producer_json(const struct producer *p, double msgs, double bytes)
{
    enum throttle_reason r = gate_reason(&p->gate);
    json_t *j = json_pack("{s:o,s:s,s:s,s:f,s:f,s:s}", "id", wire_id(p->id), "name", p->name,
                          "topic", p->topic->name.full, "msgRateIn", msgs, "msgThroughputIn", bytes,
                          "step", gate_step_name(p->gate.step));
    bool waits = p->gate.step != GATE_OPEN && r != REASON_COUNT;
    json_object_set_new(j, "reason", waits ? json_string(reason_name(r)) : json_null());
    json_object_set_new(j, "block",
                        p->blocked_by != 0 ? json_integer((json_int_t)p->blocked_by) : json_null());
    return j;
}

static json_t *consumer_json(const struct consumer *k, double msgs, double bytes)
{
    json_t *j =
        json_pack("{s:o,s:s,s:f,s:f,s:I}", "id", wire_id(k->id), "name", k->name, "msgRateOut",
                  msgs, "msgThroughputOut", bytes, "availablePermits", (json_int_t)k->permits);
    const struct subscription *s = k->sub; /* NULL: it is being opened */
    json_object_set_new(j, "topic", s != NULL ? json_string(s->topic->name.full) : json_null());
    json_object_set_new(j, "subscription", s != NULL ? json_string(s->name) : json_null());
    json_object_set_new(j, "block",
                        k->blocked_by != 0 ? json_integer((json_int_t)k->blocked_by) : json_null());
    return j;
}

/* What a worker has of a connection: the key that its parts are put together by. */
static void key_of(char key[KEY_MAX], const struct conn *c)
{
    snprintf(key, KEY_MAX, "%020llu", (unsigned long long)c->id);
}

static json_t *shown_of(const struct walk_part *part, const struct conn *c)
{
    char key[KEY_MAX];
    key_of(key, c);
    return json_object_get(part->data, key);
}

static void count(json_t *j, const char *name, json_int_t more)
{
    json_t *n = json_object_get(j, name);
    json_integer_set(n, json_integer_value(n) + more);
}

static void sum(json_t *j, const char *name, double more)
{
    json_t *n = json_object_get(j, name);
    json_real_set(n, json_real_value(n) + more);
}

static void show_producer(struct walk_part *part, struct producer *p)
{
    json_t *j = shown_of(part, p->conn), *list = json_object_get(j, "producerList");
    int64_t now_ns = shard_now_ns(part->shard);
    double msgs = tg_meter_rate(&p->msgs, now_ns), bytes = tg_meter_rate(&p->bytes, now_ns);
    count(j, "throttledProducers", p->gate.step != GATE_OPEN);
    sum(j, "msgRateIn", msgs);
    sum(j, "msgThroughputIn", bytes);
    if (json_array_size(list) < LISTED_MAX)
        json_array_append_new(list, producer_json(p, msgs, bytes));
}

static void show_consumer(struct walk_part *part, struct consumer *k)
{
    json_t *j = shown_of(part, k->conn), *list = json_object_get(j, "consumerList");
    int64_t now_ns = shard_now_ns(part->shard);
    double msgs = tg_meter_rate(&k->msgs_out, now_ns), bytes = tg_meter_rate(&k->bytes_out, now_ns);
    sum(j, "msgRateOut", msgs);
    sum(j, "msgThroughputOut", bytes);
    if (json_array_size(list) < LISTED_MAX)
        json_array_append_new(list, consumer_json(k, msgs, bytes));
}

/* Why its socket is not read, but for its producers' sake: each says so itself. */
static json_t *reasons_json(const struct front *f)
{
    json_t *list = json_array();
    for (int r = 0; r < REASON_COUNT; r++)
        if (f->pause.reasons & 1U << r)
            json_array_append_new(list, json_string(reason_name((enum throttle_reason)r)));
    return list;
}

static void put_socket(json_t *j, const struct conn *c)
{
    const struct front *f = c->front;
    json_object_set_new(j, "pauseReasons", reasons_json(f));
    json_object_update_new(j,
                           json_pack("{s:I,s:s,s:s,s:s,s:i,s:o,s:i,s:b}", "id", (json_int_t)c->id,
                                     "address", c->peer, "role", c->role, "clientVersion",
                                     c->client_version != NULL ? c->client_version : "",
                                     "protocolVersion", (int)f->protocol_version, "connectedSince",
                                     json_iso_time(c->connected_wall_ns), "worker", c->shard->index,
                                     "paused", (int)pause_set_is_paused(&f->pause)));
}

/* Its producers and consumers follow. */
static void show_conn(struct walk_part *part, struct conn *c)
{
    json_t *j = json_pack(
        "{s:i,s:i,s:i,s:f,s:f,s:f,s:f,s:[],s:[]}", "producers", (int)c->producer_count, "consumers",
        (int)c->consumer_count, "throttledProducers", 0, "msgRateIn", 0.0, "msgThroughputIn", 0.0,
        "msgRateOut", 0.0, "msgThroughputOut", 0.0, "producerList", "consumerList");
    char key[KEY_MAX];
    if (part->data == NULL)
        part->data = json_object();
    if (c->front != NULL)
        put_socket(j, c);
    key_of(key, c);
    json_object_set_new(part->data, key, j);
}

/* ---- together, on the writer's thread ---- */

static json_t *sum_of(const json_t *a, const json_t *b)
{
    if (json_is_integer(a))
        return json_integer(json_integer_value(a) + json_integer_value(b));
    return json_real(json_number_value(a) + json_number_value(b));
}

static void add(json_t *to, json_t *from)
{
    static const char *const sums[] = {"producers",       "consumers",  "throttledProducers",
                                       "msgRateIn",       "msgRateOut", "msgThroughputIn",
                                       "msgThroughputOut"};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        json_object_set_new(to, sums[i],
                            sum_of(json_object_get(to, sums[i]), json_object_get(from, sums[i])));
    json_array_extend(json_object_get(to, "producerList"), json_object_get(from, "producerList"));
    json_array_extend(json_object_get(to, "consumerList"), json_object_get(from, "consumerList"));
    json_object_update_missing(to, from); /* the socket's, from whichever worker has it */
}

static void add_all(json_t *by_id, json_t *part)
{
    const char *id;
    json_t *one;
    json_object_foreach(part, id, one)
    {
        json_t *there = json_object_get(by_id, id);
        if (there != NULL)
            add(there, one);
        else
            json_object_set(by_id, id, one);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* By id, oldest first. What has no socket any more was closed meanwhile. */
static json_t *in_order(json_t *by_id)
{
    size_t n = json_object_size(by_id), i = 0;
    const char **ids = xmalloc((n + 1) * sizeof *ids);
    json_t *list = json_array(), *one;
    const char *id;
    json_object_foreach(by_id, id, one) ids[i++] = id;
    qsort(ids, n, sizeof *ids, by_text);
    for (i = 0; i < n; i++) {
        one = json_object_get(by_id, ids[i]);
        if (json_object_get(one, "id") != NULL)
            json_array_append(list, one);
    }
    free(ids);
    return list;
}

static void write_clients(struct broker *b, void *gathered, struct bytes *out)
{
    json_t *parts = gathered, *by_id = json_object();
    (void)b;
    for (size_t i = 0; i < json_array_size(parts); i++)
        add_all(by_id, json_array_get(parts, i));
    survey_write_json(in_order(by_id), out);
    json_decref(by_id);
    json_decref(parts);
}

void clients_list(struct call *c)
{
    static const struct survey_kind kind = {
        .id = SURVEY_CLIENTS,
        .content_type = "application/json",
        .per_turn = SHOWN_PER_TURN,
        .show_conn = show_conn,
        .show_producer = show_producer,
        .show_consumer = show_consumer,
        .drop = survey_drop_json,
        .gather = survey_gather_json,
        .write = write_clients,
    };
    survey_ask(c, &kind);
}
