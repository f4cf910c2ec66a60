/* broker_fixture.h - a whole broker on its own thread over loopback, with a store that the test
 * holds in its hand: the test says how much it takes, when what was appended is durable, and when
 * it is full. What a test wants to see or change in the broker it does in a letter to the worker,
 * so nothing is shared. Limits are such that none passes a frame by itself within a test: nothing
 * depends on time. */
#ifndef TESTS_BROKER_FIXTURE_H
#define TESTS_BROKER_FIXTURE_H

#pragma GCC diagnostic ignored "-Wunused-function" /* a test uses what it needs */

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mono.h"
#include "broker/front.h"
#include "broker/place.h"
#include "broker/place_row.h"
#include "broker/producer.h"
#include "broker/subscription.h"
#include "net/stream_impl.h"

enum {
    STORE_MOST = 4096,   /* appends of one test */
    WAIT_S = 5,          /* for anything at all */
    HUGE_BATCH = 800000, /* as much as a compressed frame may hold */
};
#define TOPIC       "persistent://public/default/a"
#define OTHER_TOPIC "persistent://public/default/b"
#define T(name)     PULSAR__PROTO__BASE_COMMAND__TYPE__##name

/* ---- the store ---- */

struct append {
    void *ctx;
    uint64_t ledger, entry;
};

struct hand_store {
    struct ledger_store base;
    struct ls_port_base port; /* the only one */
    struct ls_port_ops ops;
    void *ctx;
    struct append append[STORE_MOST];
    uint32_t appended, reported;
    uint32_t may_report; /* that many are durable */
    uint32_t room;       /* more than this not durable: TG_EBUSY */
    enum ls_state state, told;
};

static struct hand_store *hand_of(struct ls_port *p)
{
    return (struct hand_store *)ls_of(p);
}

static struct ls_port *hand_open(struct ledger_store *s, const struct ls_port_ops *ops, void *ctx)
{
    struct hand_store *h = (struct hand_store *)s;
    h->port.store = s;
    h->ops = *ops;
    h->ctx = ctx;
    return (struct ls_port *)&h->port;
}

static void hand_nothing(struct ls_port *p)
{
    (void)p;
}

/* What is durable at once is reported next turn. */
static void hand_submit(struct ls_port *p)
{
    struct hand_store *h = hand_of(p);
    if (h->reported < h->appended && h->reported < h->may_report)
        h->ops.wake(h->ctx);
}

static void hand_poll(struct ls_port *p)
{
    struct hand_store *h = hand_of(p);
    while (h->reported < h->appended && h->reported < h->may_report) {
        struct append *a = &h->append[h->reported++];
        h->ops.on_append(h->ctx, a->ctx, a->ledger, a->entry, TG_OK);
    }
    if (h->told != h->state) {
        h->told = h->state;
        h->ops.on_state(h->ctx, h->state, "by hand");
    }
}

static enum tg_err hand_append(struct ls_port *p, uint64_t ledger, uint64_t entry,
                               const struct ls_body *body, uint32_t messages, int64_t admitted_ns,
                               void *ctx)
{
    struct hand_store *h = hand_of(p);
    (void)body, (void)messages, (void)admitted_ns;
    if (h->appended - h->reported >= h->room)
        return TG_EBUSY;
    assert_true(h->appended < STORE_MOST);
    h->append[h->appended++] = (struct append){ctx, ledger, entry};
    return TG_OK;
}

static bool hand_no_reads(struct ls_port *p)
{
    (void)p;
    return false;
}

static uint32_t hand_read_cached(struct ls_port *p, uint64_t ledger, uint64_t first,
                                 uint32_t max_entries, uint64_t max_bytes, struct ls_entry *out,
                                 struct ls_hold **hold)
{
    (void)p, (void)ledger, (void)first, (void)max_entries, (void)max_bytes, (void)out, (void)hold;
    return 0;
}

static uint64_t hand_last(struct ledger_store *s, uint64_t ledger)
{
    (void)s, (void)ledger;
    return LS_NO_ENTRY;
}

static uint64_t hand_first(struct ledger_store *s, uint64_t ledger)
{
    (void)s, (void)ledger;
    return 0;
}

static void hand_trim(struct ls_port *p, uint64_t ledger, uint64_t first)
{
    (void)p, (void)ledger, (void)first;
}

static void hand_drop(struct ls_port *p, uint64_t ledger)
{
    (void)p, (void)ledger;
}

static enum tg_err hand_each(struct ledger_store *s, void (*fn)(void *ctx, uint64_t l), void *ctx)
{
    (void)s, (void)fn, (void)ctx;
    return TG_OK;
}

static void hand_close(struct ledger_store *s)
{
    (void)s;
}

static const struct ledger_store_ops hand_ops = {
    .port_open = hand_open,
    .port_close = hand_nothing,
    .port_poll = hand_poll,
    .port_submit = hand_submit,
    .port_finish_reads = hand_no_reads,
    .append = hand_append,
    .read_cached = hand_read_cached,
    .last_entry = hand_last,
    .first_entry = hand_first,
    .trim = hand_trim,
    .drop = hand_drop,
    .each_ledger = hand_each,
    .close = hand_close,
};

/* ---- the broker ---- */

struct world {
    struct broker broker;
    struct settings settings;
    struct hand_store store;
    pthread_t thread;
    sem_t ready;
    char dir[64];
    bool stopped;    /* by the test */
    bool real_store; /* the log itself, not the one in the test's hand */
};

static void on_ready(void *ctx)
{
    struct world *w = ctx;
    sem_post(&w->ready);
}

static void *run_broker(void *arg)
{
    struct world *w = arg;
    broker_run(&w->broker, on_ready, w);
    return NULL;
}

static void wait_sem(sem_t *s)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += WAIT_S;
    while (sem_timedwait(s, &end) != 0)
        if (errno != EINTR)
            fail_msg("nothing in %d s", WAIT_S);
}

static struct world *world_new(int workers, bool real_store)
{
    struct world *w = xcalloc(1, sizeof *w);
    char *why = NULL;
    w->real_store = real_store;
    log_set_level(LOG_ERROR);
    snprintf(w->dir, sizeof w->dir, "/tmp/publish-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    settings_init(&w->settings);
    free(w->settings.data_dir);
    w->settings.data_dir = xstrdup(w->dir);
    w->settings.broker_port = 0;
    w->settings.workers = workers;
    w->settings.segment_bytes = 1 << 20;
    assert_int_equal(broker_open(&w->broker, &w->settings, &why), TG_OK);
    if (!real_store) {
        ls_close(w->broker.ledgers);
        w->store = (struct hand_store){.base.ops = &hand_ops, .room = STORE_MOST};
        w->broker.ledgers = &w->store.base;
    }
    sem_init(&w->ready, 0, 0);
    assert_int_equal(pthread_create(&w->thread, NULL, run_broker, w), 0);
    wait_sem(&w->ready);
    return w;
}

/* One worker, and the store in the test's hand. */
static int setup(void **state)
{
    *state = world_new(1, false);
    return 0;
}

/* Two workers and the log itself. */
static int setup_two(void **state)
{
    *state = world_new(2, true);
    return 0;
}

/* Runs <fn>(<w>, <arg>) on the worker and waits for its end. */
struct world_letter {
    struct mail mail;
    struct world *w;
    void (*fn)(struct world *w, void *arg);
    void *arg;
    sem_t done;
};

static void deliver(struct mail *m, struct worker *worker)
{
    struct world_letter *l = (struct world_letter *)m;
    (void)worker;
    l->fn(l->w, l->arg);
    sem_post(&l->done);
}

static void on_worker(struct world *w, void (*fn)(struct world *w, void *arg), void *arg)
{
    struct world_letter l = {.mail = {.deliver = deliver}, .w = w, .fn = fn, .arg = arg};
    sem_init(&l.done, 0, 0);
    assert_int_equal(worker_post(w->broker.shard[0].worker, &l.mail), TG_OK);
    wait_sem(&l.done);
    sem_destroy(&l.done);
}

static void report_all(struct world *w, void *arg)
{
    (void)arg;
    w->store.state = LS_OK;
    w->store.room = w->store.may_report = STORE_MOST;
    w->store.ops.wake(w->store.ctx);
}

/* In order: so the sanitizers see what is left. */
static int teardown(void **state)
{
    struct world *w = *state;
    if (!w->stopped && !w->real_store)
        on_worker(w, report_all, NULL);
    broker_stop(&w->broker);
    pthread_join(w->thread, NULL);
    broker_close(&w->broker);
    settings_fini(&w->settings);
    sem_destroy(&w->ready);
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

/* ---- a look at it, and a hand in it ---- */

struct look {
    const char *topic;
    bool there, deleting, paused, outbound;
    uint64_t producers, in_flight, parked, parked_bytes, durable_end;
    enum gate_step step;         /* of the topic's last producer */
    enum throttle_reason reason; /* the same */
    uint32_t conns, pausing;
    uint64_t shard_in_flight;
    int64_t budget_parked;
    uint32_t appended;
};

static void take_look(struct world *w, void *arg)
{
    struct look *l = arg;
    struct shard *s = &w->broker.shard[0];
    struct topic *t = topic_find(s, l->topic);
    l->there = t != NULL;
    l->deleting = t && t->state == TOPIC_DELETING;
    l->conns = s->front_count;
    l->shard_in_flight = s->in_flight;
    l->budget_parked = budget_used(&w->broker.budget, BUDGET_PARKED);
    l->appended = w->store.appended;
    l->reason = REASON_COUNT;
    if (s->conns) {
        l->paused = stream_is_paused(s->conns->stream);
        l->pausing = front_of(s->conns)->pause.producers;
        l->outbound = front_of(s->conns)->pause.reasons != 0;
    }
    if (!t)
        return;
    l->producers = t->producer_count;
    l->durable_end = t->durable_end;
    for (struct producer *p = t->producers; p; p = p->next) {
        l->in_flight += p->in_flight;
        l->parked += p->parking.frames;
        l->parked_bytes += p->parking.bytes;
        l->step = p->gate.step;
        l->reason = gate_reason(&p->gate);
    }
}

static struct look look_at(struct world *w, const char *topic)
{
    struct look l = {.topic = topic};
    on_worker(w, take_look, &l);
    return l;
}

static void let_report(struct world *w, void *arg)
{
    w->store.may_report += *(uint32_t *)arg;
    w->store.ops.wake(w->store.ctx);
}

/* <n> more appends are durable. */
static void make_durable(struct world *w, uint32_t n)
{
    on_worker(w, let_report, &n);
}

static void put_state(struct world *w, void *arg)
{
    w->store.state = *(enum ls_state *)arg;
    w->store.ops.wake(w->store.ctx);
}

static void put_room(struct world *w, void *arg)
{
    w->store.room = *(uint32_t *)arg;
}

struct rate {
    const char *topic;
    int64_t msgs, period_ns;
};

static void put_rate(struct world *w, void *arg)
{
    struct rate *r = arg;
    struct place *p = place_find(w->broker.registry, r->topic);
    assert_non_null(p);
    place_policies(p)->rate[RATE_OF_TOPIC] = (struct rate_policy){
        .present = r->msgs > 0, .spec = {.msgs.rate = r->msgs, .period_ns = r->period_ns}};
    place_apply_policies(p);
}

static void set_rate(struct world *w, const char *topic, int64_t msgs, int64_t period_ns)
{
    struct rate r = {topic, msgs, period_ns};
    on_worker(w, put_rate, &r);
}

/* So few that none comes in a test, and nothing may be parked behind one frame. */
static void set_one_an_hour(struct world *w, const char *topic)
{
    set_rate(w, topic, 1, 3600 * MONO_S);
}

static void remove_rate(struct world *w, const char *topic)
{
    set_rate(w, topic, 0, 0);
}

/* ---- a client ---- */

struct client {
    int fd;
    uint8_t *in;
    size_t len, used;
    struct arena *arena;
};

static void client_write(struct client *c, const void *p, size_t n)
{
    const uint8_t *at = p;
    while (n > 0) {
        ssize_t r = send(c->fd, at, n, MSG_NOSIGNAL);
        assert_true(r > 0);
        at += r;
        n -= (size_t)r;
    }
}

static void client_command(struct client *c, const Pulsar__Proto__BaseCommand *cmd)
{
    size_t n = command_frame_len(cmd);
    uint8_t *out = xmalloc(n);
    command_frame_write(cmd, out);
    client_write(c, out, n);
    free(out);
}

enum { CLIENT_BUFFER = 1 << 20 };

/* The next command; it lives until the one after it. NULL: closed. */
static const Pulsar__Proto__BaseCommand *client_read(struct client *c)
{
    arena_reset(c->arena);
    for (;;) {
        struct frame f;
        size_t need = 0;
        const char *why;
        enum frame_status s =
            frame_parse(c->in + c->used, c->len - c->used, CLIENT_BUFFER, &f, &need, &why);
        assert_int_not_equal(s, FRAME_BAD);
        if (s == FRAME_OK) {
            c->used += f.frame_len;
            const Pulsar__Proto__BaseCommand *cmd =
                command_unpack(c->arena, f.command, f.command_len);
            assert_non_null(cmd);
            return cmd;
        }
        memmove(c->in, c->in + c->used, c->len - c->used);
        c->len -= c->used;
        c->used = 0;
        ssize_t n = recv(c->fd, c->in + c->len, CLIENT_BUFFER - c->len, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return NULL;
        if (n < 0)
            fail_msg("no answer: %s", strerror(errno));
        c->len += (size_t)n;
    }
}

static const Pulsar__Proto__BaseCommand *client_expect(struct client *c, int type)
{
    const Pulsar__Proto__BaseCommand *cmd = client_read(c);
    assert_non_null(cmd);
    if ((int)cmd->type != type)
        fail_msg("%s instead of %s", command_type_name((int)cmd->type), command_type_name(type));
    return cmd;
}

static struct client client_open(struct world *w)
{
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM, 0), .in = xmalloc(CLIENT_BUFFER)};
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)w->broker.broker_port)};
    struct timeval wait = {.tv_sec = WAIT_S};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c.arena = arena_new();
    assert_int_equal(connect(c.fd, (struct sockaddr *)&a, sizeof a), 0);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    char version[] = "test";
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandConnect in = PULSAR__PROTO__COMMAND_CONNECT__INIT;
    cmd.type = T(CONNECT);
    cmd.connect = &in;
    in.client_version = version;
    client_command(&c, &cmd);
    client_expect(&c, T(CONNECTED));
    return c;
}

static void client_close(struct client *c)
{
    close(c->fd);
    free(c->in);
    arena_free(c->arena);
}

static char *writable(const char *s)
{
    static char copy[4][256];
    static int at;
    at = (at + 1) % 4;
    snprintf(copy[at], sizeof copy[at], "%s", s);
    return copy[at];
}

static void ask_producer(struct client *c, const char *topic, uint64_t id, const char *name,
                         uint64_t epoch)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandProducer in = PULSAR__PROTO__COMMAND_PRODUCER__INIT;
    cmd.type = T(PRODUCER);
    cmd.producer = &in;
    in.topic = writable(topic);
    in.producer_id = id;
    in.request_id = 100 + id;
    in.producer_name = name ? writable(name) : NULL;
    in.has_epoch = true;
    in.epoch = epoch;
    client_command(c, &cmd);
}

static void open_producer(struct client *c, const char *topic, uint64_t id)
{
    ask_producer(c, topic, id, NULL, 0);
    client_expect(c, T(PRODUCER_SUCCESS));
}

static void ask_close(struct client *c, uint64_t id, uint64_t request_id)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandCloseProducer in = PULSAR__PROTO__COMMAND_CLOSE_PRODUCER__INIT;
    cmd.type = T(CLOSE_PRODUCER);
    cmd.close_producer = &in;
    in.producer_id = id;
    in.request_id = request_id;
    client_command(c, &cmd);
}

/* A SEND whose metadata say <messages>. */
static void client_send(struct client *c, uint64_t id, uint64_t sequence_id, int messages)
{
    uint8_t out[512], body[128];
    char name[] = "p";
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandSend in = PULSAR__PROTO__COMMAND_SEND__INIT;
    Pulsar__Proto__MessageMetadata meta = PULSAR__PROTO__MESSAGE_METADATA__INIT;
    cmd.type = T(SEND);
    cmd.send = &in;
    in.producer_id = id;
    in.sequence_id = sequence_id;
    meta.producer_name = name;
    meta.sequence_id = sequence_id;
    meta.has_num_messages_in_batch = messages > 1;
    meta.num_messages_in_batch = messages;
    meta.has_compression = meta.has_uncompressed_size = messages > 1;
    meta.compression = PULSAR__PROTO__COMPRESSION_TYPE__LZ4;
    meta.uncompressed_size = (uint32_t)messages * 6;
    size_t head = command_frame_len(&cmd);
    command_frame_write(&cmd, out);
    uint32_t meta_len = (uint32_t)pulsar__proto__message_metadata__pack(&meta, body + 4);
    put_be32(body, meta_len);
    body[4 + meta_len] = 'x';
    uint32_t body_len = 4 + meta_len + 1;
    put_be16(out + head, FRAME_MAGIC_CHECKSUM);
    put_be32(out + head + 2, crc32c(0, body, body_len));
    memcpy(out + head + 6, body, body_len);
    size_t all = head + 6 + body_len;
    put_be32(out, (uint32_t)(all - 4));
    client_write(c, out, all);
}

static void send_run(struct client *c, uint64_t id, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++)
        client_send(c, id, i, 1);
}

/* The broker has handled all that was written before. */
static void client_sync(struct client *c)
{
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    Pulsar__Proto__CommandPing ping = PULSAR__PROTO__COMMAND_PING__INIT;
    cmd.type = T(PING);
    cmd.ping = &ping;
    client_command(c, &cmd);
    client_expect(c, T(PONG));
}

static void expect_receipts(struct client *c, uint64_t id, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) {
        const Pulsar__Proto__BaseCommand *cmd = client_expect(c, T(SEND_RECEIPT));
        assert_int_equal(cmd->send_receipt->producer_id, id);
        assert_int_equal(cmd->send_receipt->sequence_id, i);
    }
}

/* Looks until <topic> has <parked> frames parked and the socket is paused or not. */
static struct look wait_for(struct world *w, const char *topic, uint64_t parked, bool paused)
{
    int64_t end_ns = mono_now_ns() + WAIT_S * MONO_S;
    for (;;) {
        struct look l = look_at(w, topic);
        if (l.parked == parked && l.paused == paused)
            return l;
        if (mono_now_ns() > end_ns)
            fail_msg("parked %llu, paused %d", (unsigned long long)l.parked, l.paused);
        usleep(1000);
    }
}

/* A producer whose limit allows thousands to be parked and passes none in this test. */
static void open_in_debt(struct world *w, struct client *c, const char *topic, uint64_t id)
{
    open_producer(c, topic, id);
    set_rate(w, topic, 1000, MONO_S);
    make_durable(w, 1);
    client_send(c, id, 0, HUGE_BATCH);
    expect_receipts(c, id, 0, 1);
}

#endif
