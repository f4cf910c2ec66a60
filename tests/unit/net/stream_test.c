/* Streams over loopback: both ends on one worker, run on the test's thread. Every callback is an
 * event, nothing sleeps; a watchdog (alarm) ends a test that hangs. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/mono.h"
#include "net/stream_impl.h"

enum { FRAME_BIG = 5 * 1024 * 1024 };

/* One end of a connection, and the test's world. */
struct end {
    struct world *world;
    struct stream *s; /* NULL once closed */
    const char *why;
    uint64_t got, want; /* payload bytes of frames */
    uint64_t frames, calls, drained;
    uint32_t sum;
    size_t most_output;
    uint64_t to_send; /* by a producer that obeys is_congested */
};

struct world {
    struct worker *w;
    struct budget budget;
    struct listener *l;
    int port;
    struct end server, client;
    const struct stream_ops *server_ops, *client_ops;
    void (*begin)(struct world *wo); /* both ends are there */
    struct timer timer;
    int connected, refused, pauses;
    int64_t mark_ns;
    struct worker *other;
};

static void stop_when_both_closed(struct world *wo)
{
    if (wo->server.s == NULL && wo->client.s == NULL)
        worker_stop(wo->w);
}

static void on_end_closed(void *ctx, const char *why)
{
    struct end *e = ctx;
    assert_non_null(e->s);
    e->s = NULL;
    e->why = why;
    stop_when_both_closed(e->world);
}

static void maybe_begin(struct world *wo)
{
    if (wo->server.s != NULL && wo->client.s != NULL && wo->begin != NULL)
        wo->begin(wo);
}

static void on_accepted(void *ctx, struct stream *s)
{
    struct world *wo = ctx;
    wo->server.s = s;
    stream_set_ops(s, wo->server_ops, &wo->server);
    maybe_begin(wo);
}

static void on_connected(void *ctx, struct stream *s)
{
    struct world *wo = ctx;
    wo->connected++;
    assert_non_null(s);
    wo->client.s = s;
    stream_set_ops(s, wo->client_ops, &wo->client);
    maybe_begin(wo);
}

static void start_pair(struct worker *w)
{
    struct world *wo = worker_user(w);
    assert_int_equal(listener_open(&wo->l, w, "localhost", &wo->port, on_accepted, wo), TG_OK);
    assert_int_equal(stream_connect(w, "127.0.0.1", wo->port, on_connected, wo), TG_OK);
}

static void open_world(struct world *wo, const struct stream_ops *server_ops,
                       const struct stream_ops *client_ops, void (*begin)(struct world *wo))
{
    alarm(60); /* the watchdog */
    *wo = (struct world){.server_ops = server_ops, .client_ops = client_ops, .begin = begin};
    wo->server.world = wo->client.world = wo;
    budget_init(&wo->budget, INT64_C(256) << 20);
    struct worker_config cfg = {.budget = &wo->budget, .user = wo};
    assert_int_equal(worker_new(&wo->w, &cfg), TG_OK);
}

static void close_world(struct world *wo)
{
    worker_free(wo->w);
    assert_int_equal(budget_used(&wo->budget, BUDGET_RECEIVE), 0);
    assert_int_equal(budget_used(&wo->budget, BUDGET_OUTBOUND), 0);
}

static void run_pair(struct world *wo)
{
    worker_run(wo->w, start_pair);
    close_world(wo);
}

/* ---- frames: u32 length, then bytes ---- */

/* Takes whole frames; the need is what is missing of the next. */
static size_t take_frames(struct end *e, const uint8_t *p, size_t len, size_t *need)
{
    size_t used = 0;
    e->calls++;
    while (len - used >= 4) {
        uint32_t n = get_be32(p + used);
        if (len - used < 4 + (size_t)n) {
            *need = 4 + (size_t)n;
            return used;
        }
        for (uint32_t i = 0; i < n; i++)
            e->sum = e->sum * 31 + p[used + 4 + i];
        e->got += n;
        e->frames++;
        used += 4 + (size_t)n;
        if (stream_is_paused(e->s) || stream_is_closing(e->s))
            break;
    }
    if (used == len || *need == 0)
        *need = 4;
    return used;
}

static size_t on_frames(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct end *e = ctx;
    size_t used = take_frames(e, p, len, need);
    if (e->got >= e->want)
        stream_close(e->s, "has all");
    return used;
}

static uint32_t write_frame(struct stream *s, uint32_t n, uint32_t seed)
{
    uint8_t *p = stream_reserve(s, 4 + (size_t)n);
    put_be32(p, n);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        p[4 + i] = (uint8_t)(seed + i * 7 + i / 251);
        sum = sum * 31 + p[4 + i];
    }
    stream_commit(s, 4 + (size_t)n);
    return sum;
}

static const struct stream_ops frames_ops = {.on_bytes = on_frames, .on_closed = on_end_closed};
static const struct stream_ops silent_ops = {.on_bytes = on_frames, .on_closed = on_end_closed};

/* ---- tests ---- */

static void begin_one_big_frame(struct world *wo)
{
    wo->server.want = FRAME_BIG;
    wo->client.want = UINT64_MAX;
    wo->client.sum = write_frame(wo->client.s, FRAME_BIG, 5);
}

static void test_a_5_mb_frame_arrives_whole_in_few_calls(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, &frames_ops, &silent_ops, begin_one_big_frame);
    run_pair(&wo);
    assert_int_equal(wo.server.frames, 1);
    assert_int_equal(wo.server.sum, wo.client.sum);
    assert_true(wo.server.calls <= 3); /* its head, perhaps its first bytes, and once all of it */
    assert_string_equal(wo.server.why, "has all");
    assert_string_equal(wo.client.why, "closed by the peer");
}

static void begin_many_frames(struct world *wo)
{
    uint64_t total = 0;
    wo->client.want = UINT64_MAX;
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t n = i % 17 == 0 ? i * 61 % 90000 : i * 7 % 1500;
        total += n;
        write_frame(wo->client.s, n, i);
    }
    wo->server.want = total;
}

static void test_frames_of_all_sizes_arrive_in_order(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, &frames_ops, &silent_ops, begin_many_frames);
    run_pair(&wo);
    assert_int_equal(wo.server.frames, 3000);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t n = i % 17 == 0 ? i * 61 % 90000 : i * 7 % 1500;
        for (uint32_t k = 0; k < n; k++)
            sum = sum * 31 + (uint8_t)(i + k * 7 + k / 251);
    }
    assert_int_equal(wo.server.sum, sum);
}

/* An echo, one byte per turn from the client. */
static size_t on_echo(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct end *e = ctx;
    if (len < 16) { /* only whole runs of 16 */
        *need = 16;
        return 0;
    }
    stream_write(e->s, p, 16);
    *need = 16;
    return 16;
}

static void send_a_byte(struct timer *t, int64_t now_ns)
{
    struct world *wo = (struct world *)((char *)t - offsetof(struct world, timer));
    uint8_t b = (uint8_t)wo->client.to_send;
    stream_write(wo->client.s, &b, 1);
    if (++wo->client.to_send < 160)
        timer_arm(wo->w, t, now_ns);
}

static size_t on_echoed(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct end *e = ctx;
    (void)need;
    for (size_t i = 0; i < len; i++)
        assert_int_equal(p[i], (uint8_t)e->got++);
    if (e->got == 160)
        stream_close(e->s, "done");
    return len;
}

static void begin_echo(struct world *wo)
{
    timer_init(&wo->timer, send_a_byte);
    timer_arm(wo->w, &wo->timer, 0);
}

static void test_echo_of_single_bytes(void **state)
{
    (void)state;
    static const struct stream_ops echo = {.on_bytes = on_echo, .on_closed = on_end_closed};
    static const struct stream_ops echoed = {.on_bytes = on_echoed, .on_closed = on_end_closed};
    struct world wo;
    open_world(&wo, &echo, &echoed, begin_echo);
    run_pair(&wo);
    assert_int_equal(wo.client.got, 160);
    assert_string_equal(wo.client.why, "done");
}

/* ---- pause ---- */

static void resume_server(struct timer *t, int64_t now_ns)
{
    struct world *wo = (struct world *)((char *)t - offsetof(struct world, timer));
    (void)now_ns;
    assert_int_equal(wo->server.frames, wo->pauses); /* nothing was shown while paused */
    stream_resume(wo->server.s);
    stream_resume(wo->server.s);
}

static size_t on_frames_pausing(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct end *e = ctx;
    struct world *wo = e->world;
    assert_false(stream_is_paused(e->s));
    if (len >= 4 && len >= 4 + (size_t)get_be32(p)) { /* one frame, then a pause */
        stream_pause(e->s);
        wo->pauses++;
        timer_arm(wo->w, &wo->timer, worker_now_ns(wo->w));
    }
    size_t used = take_frames(e, p, len, need);
    assert_true(e->s->kept_len <= STREAM_READ_BUFFER + 4 + 9000);
    if (e->got >= e->want)
        stream_close(e->s, "has all");
    return used;
}

static void begin_pausing(struct world *wo)
{
    timer_init(&wo->timer, resume_server);
    begin_many_frames(wo);
}

static void test_pause_inside_on_bytes_keeps_the_rest_for_resume(void **state)
{
    (void)state;
    static const struct stream_ops pausing = {.on_bytes = on_frames_pausing,
                                              .on_closed = on_end_closed};
    struct world wo;
    open_world(&wo, &pausing, &silent_ops, begin_pausing);
    run_pair(&wo);
    assert_int_equal(wo.server.got, wo.server.want);
    assert_in_range(wo.pauses, 2999, 3000); /* the last frame may be empty */
}

static void close_client(struct timer *t, int64_t now_ns)
{
    struct world *wo = (struct world *)((char *)t - offsetof(struct world, timer));
    (void)now_ns;
    stream_close(wo->client.s, "test is over");
}

static void begin_paused(struct world *wo)
{
    stream_pause(wo->server.s);
    wo->server.want = 1;
    write_frame(wo->client.s, 100000, 1);
    timer_init(&wo->timer, close_client);
    timer_arm(wo->w, &wo->timer, worker_now_ns(wo->w) + 5 * MONO_MS);
}

static void test_hang_up_is_noticed_while_paused(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, &frames_ops, &silent_ops, begin_paused);
    run_pair(&wo);
    assert_int_equal(wo.server.calls, 0);
    assert_string_equal(wo.server.why, "closed by the peer while paused");
    assert_string_equal(wo.client.why, "test is over");
}

/* ---- output ---- */

static void produce(struct end *e)
{
    while (e->to_send > 0 && !stream_is_congested(e->s)) {
        write_frame(e->s, 1000, (uint32_t)e->to_send);
        e->to_send--;
    }
    if (stream_output_bytes(e->s) > e->most_output)
        e->most_output = stream_output_bytes(e->s);
}

static void on_producer_drained(void *ctx)
{
    struct end *e = ctx;
    assert_false(stream_is_congested(e->s));
    assert_true(stream_output_bytes(e->s) <= STREAM_OUTPUT_LOW);
    e->drained++;
    produce(e);
}

static void resume_client(struct timer *t, int64_t now_ns)
{
    struct world *wo = (struct world *)((char *)t - offsetof(struct world, timer));
    if (!stream_is_congested(wo->server.s) && wo->server.to_send > 0) {
        timer_arm(wo->w, t, now_ns + 50 * MONO_MS);
        return;
    }
    assert_true(stream_is_congested(wo->server.s)); /* the sockets are full, the producer waits */
    assert_true(wo->server.to_send > 0);
    stream_resume(wo->client.s);
}

static void begin_slow_reader(struct world *wo)
{
    wo->client.want = 20 * 1000 * 1000;
    stream_pause(wo->client.s);
    wo->server.want = 1;
    wo->server.to_send = 20000;
    produce(&wo->server);
    timer_init(&wo->timer, resume_client);
    timer_arm(wo->w, &wo->timer, worker_now_ns(wo->w) + 50 * MONO_MS);
}

static void test_slow_reader_bounds_the_output_of_an_obedient_producer(void **state)
{
    (void)state;
    static const struct stream_ops producer = {
        .on_bytes = on_frames, .on_drained = on_producer_drained, .on_closed = on_end_closed};
    struct world wo;
    open_world(&wo, &producer, &frames_ops, begin_slow_reader);
    run_pair(&wo);
    assert_int_equal(wo.client.got, 20 * 1000 * 1000);
    assert_true(wo.server.drained > 0);
    assert_true(wo.server.most_output <= STREAM_OUTPUT_HIGH + 1004);
}

static void begin_budget_congestion(struct world *wo)
{
    /* Others have all of the budget but a little. */
    budget_force(&wo->budget, BUDGET_OUTBOUND, wo->budget.share_bytes[BUDGET_OUTBOUND]);
    wo->client.want = 50 * 1000;
    wo->server.want = 1;
    wo->server.to_send = 50;
    produce(&wo->server);
    assert_int_equal(wo->server.to_send, 49); /* one, then congested */
}

static void test_used_up_budget_congests_but_every_stream_moves_on(void **state)
{
    (void)state;
    static const struct stream_ops producer = {
        .on_bytes = on_frames, .on_drained = on_producer_drained, .on_closed = on_end_closed};
    struct world wo;
    open_world(&wo, &producer, &frames_ops, begin_budget_congestion);
    worker_run(wo.w, start_pair);
    budget_give(&wo.budget, BUDGET_OUTBOUND, wo.budget.share_bytes[BUDGET_OUTBOUND]);
    close_world(&wo);
    assert_int_equal(wo.client.got, 50 * 1000);
    assert_int_equal(wo.server.drained, 50);
}

static void begin_reserve_only(struct world *wo)
{
    wo->client.want = 3;
    wo->server.want = 1;
    stream_reserve(wo->server.s, 100);
    stream_reserve(wo->server.s, 5000); /* leaves the first chunk empty */
    stream_commit(wo->server.s, 0);
    write_frame(wo->server.s, 3, 9);
}

static void test_reserved_and_not_committed_is_not_sent(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, &frames_ops, &frames_ops, begin_reserve_only);
    run_pair(&wo);
    assert_int_equal(wo.client.frames, 1);
    assert_int_equal(wo.client.got, 3);
}

static void begin_flush(struct world *wo)
{
    wo->client.want = 3;
    wo->server.want = 1;
    write_frame(wo->server.s, 3, 9);
    stream_flush(wo->server.s);
    assert_int_equal(stream_output_bytes(wo->server.s), 0);
    stream_flush(wo->server.s);
}

static void test_flush_sends_at_once(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, &frames_ops, &frames_ops, begin_flush);
    run_pair(&wo);
    assert_int_equal(wo.client.got, 3);
}

/* ---- the receive budget ---- */

static void release_budget(struct timer *t, int64_t now_ns)
{
    struct world *wo = (struct world *)((char *)t - offsetof(struct world, timer));
    if (!receive_is_starved(wo->server.s)) {
        timer_arm(wo->w, t, now_ns + MONO_MS);
        return;
    }
    assert_int_equal(wo->server.frames, 0);
    assert_false(stream_is_reading(wo->server.s)); /* its silence means nothing now */
    assert_false(stream_is_paused(wo->server.s));
    assert_true(wo->server.s->kept_cap <= 2 * STREAM_READ_BUFFER);
    budget_give(&wo->budget, BUDGET_RECEIVE, wo->budget.share_bytes[BUDGET_RECEIVE]);
}

static void begin_starved(struct world *wo)
{
    budget_force(&wo->budget, BUDGET_RECEIVE, wo->budget.share_bytes[BUDGET_RECEIVE]);
    timer_init(&wo->timer, release_budget);
    timer_arm(wo->w, &wo->timer, worker_now_ns(wo->w) + 50 * MONO_MS);
    begin_one_big_frame(wo);
}

static void test_large_frame_waits_for_the_receive_budget(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, &frames_ops, &silent_ops, begin_starved);
    run_pair(&wo);
    assert_int_equal(wo.server.sum, wo.client.sum);
}

/* ---- closing ---- */

static size_t on_close_at_once(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct end *e = ctx;
    (void)need;
    e->calls++;
    stream_write(e->s, "bye", 3);
    stream_close(e->s, "first reason");
    stream_close(e->s, "second reason");
    stream_pause(e->s);
    stream_resume(e->s);
    assert_true(stream_is_closing(e->s));
    assert_non_null(e->s);             /* on_closed has not been called */
    assert_int_equal(p[len - 1], 'o'); /* the bytes are still there */
    return 0;
}

static size_t on_any(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct end *e = ctx;
    (void)p, (void)need;
    e->got += len;
    return len;
}

static void begin_close_at_once(struct world *wo)
{
    stream_write(wo->client.s, "hello", 5);
}

static void test_close_inside_on_bytes_sends_what_is_pending(void **state)
{
    (void)state;
    static const struct stream_ops closer = {.on_bytes = on_close_at_once,
                                             .on_closed = on_end_closed};
    static const struct stream_ops any = {.on_bytes = on_any, .on_closed = on_end_closed};
    struct world wo;
    open_world(&wo, &closer, &any, begin_close_at_once);
    run_pair(&wo);
    assert_int_equal(wo.server.calls, 1);
    assert_string_equal(wo.server.why, "first reason");
    assert_int_equal(wo.client.got, 3);
}

static size_t on_close_the_other(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct end *e = ctx;
    (void)p, (void)need;
    e->calls++;
    stream_close(e->world->client.s, "by the other end");
    stream_close(e->s, "itself");
    return len;
}

static void test_both_ends_may_be_closed_in_one_callback(void **state)
{
    (void)state;
    static const struct stream_ops closer = {.on_bytes = on_close_the_other,
                                             .on_closed = on_end_closed};
    struct world wo;
    open_world(&wo, &closer, &closer, begin_close_at_once);
    run_pair(&wo);
    assert_int_equal(wo.server.calls, 1);
    assert_string_equal(wo.client.why, "by the other end");
}

static void begin_stop(struct world *wo)
{
    write_frame(wo->client.s, 100000, 1);
    worker_stop(wo->w);
}

static void test_stop_closes_streams_and_tells_their_owners(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, &frames_ops, &silent_ops, begin_stop);
    run_pair(&wo);
    assert_null(wo.server.s);
    assert_null(wo.client.s);
    assert_string_equal(wo.client.why, "the worker stops");
}

/* ---- connecting and listening ---- */

static void on_refused(void *ctx, struct stream *s)
{
    struct world *wo = ctx;
    assert_null(s);
    wo->refused++;
    worker_stop(wo->w);
}

static void start_refused(struct worker *w)
{
    struct world *wo = worker_user(w);
    struct listener *l;
    int port = 0;
    assert_int_equal(listener_open(&l, w, "127.0.0.1", &port, on_accepted, wo), TG_OK);
    listener_close(l); /* a port that nobody listens on */
    assert_int_equal(stream_connect(w, "localhost", port, on_refused, wo), TG_OK);
}

static void test_refused_connection_is_reported(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, NULL, NULL, NULL);
    worker_run(wo.w, start_refused);
    close_world(&wo);
    assert_int_equal(wo.refused, 1);
}

static void start_listeners(struct worker *w)
{
    struct world *wo = worker_user(w);
    struct listener *l, *m;
    int port = 0;
    assert_int_equal(listener_open(&l, w, "127.0.0.1", &port, on_accepted, wo), TG_OK);
    assert_int_not_equal(port, 0);
    assert_int_equal(listener_open(&m, w, "127.0.0.1", &port, on_accepted, wo), TG_EBUSY);
    int any = 0, bad = 70000;
    assert_int_equal(listener_open(&m, w, "example.com", &any, on_accepted, wo), TG_EINVAL);
    assert_int_equal(listener_open(&m, w, "203.0.113.7", &any, on_accepted, wo), TG_EINVAL);
    assert_int_equal(listener_open(&m, w, "127.0.0.1", &bad, on_accepted, wo), TG_EINVAL);
    worker_stop(w);
}

static void test_listener_says_what_is_wrong(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, NULL, NULL, NULL);
    worker_run(wo.w, start_listeners);
    close_world(&wo);
}

static void test_addresses_of_both_families(void **state)
{
    (void)state;
    struct address a;
    char name[SOCKET_NAME_MAX];
    assert_int_equal(address_parse(&a, "::1", 6650), TG_OK);
    address_format(&a, name);
    assert_string_equal(name, "[::1]:6650");
    assert_int_equal(address_parse(&a, "localhost", 80), TG_OK);
    address_format(&a, name);
    assert_string_equal(name, "127.0.0.1:80");
    assert_int_equal(address_parse(&a, "256.0.0.1", 80), TG_EINVAL);
    assert_int_equal(address_parse(&a, "127.0.0.1", -1), TG_EINVAL);
}

/* Descriptors run out while a connection waits in the backlog. */
static struct rlimit saved_limit;

static void give_descriptors_back(struct timer *t, int64_t now_ns)
{
    struct world *wo = (struct world *)((char *)t - offsetof(struct world, timer));
    (void)now_ns;
    assert_null(wo->server.s);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved_limit), 0);
}

static void start_without_descriptors(struct worker *w)
{
    struct world *wo = worker_user(w);
    start_pair(w);
    int next = dup(0);
    close(next);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = saved_limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    timer_init(&wo->timer, give_descriptors_back);
    timer_arm(w, &wo->timer, worker_now_ns(w) + 50 * MONO_MS);
    wo->mark_ns = worker_now_ns(w);
}

static void begin_after_shortage(struct world *wo)
{
    wo->mark_ns = worker_now_ns(wo->w) - wo->mark_ns;
    stream_close(wo->client.s, "enough");
}

static void test_accepting_goes_on_after_a_shortage_of_descriptors(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, &frames_ops, &silent_ops, begin_after_shortage);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved_limit), 0);
    log_set_level(LOG_ERROR);
    worker_run(wo.w, start_without_descriptors);
    log_set_level(LOG_INFO);
    close_world(&wo);
    assert_true(wo.mark_ns >= 50 * MONO_MS);
    assert_true(wo.mark_ns < 10 * MONO_S);
}

/* ---- moving ---- */

static size_t on_moved_bytes(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct end *e = ctx;
    (void)need;
    assert_true(worker_is_current(e->world->other));
    stream_write(e->s, p, len);
    return len;
}

static void on_moved_closed(void *ctx, const char *why)
{
    (void)ctx, (void)why;
}

static void on_arrived(void *ctx, struct stream *s)
{
    static const struct stream_ops ops = {.on_bytes = on_moved_bytes, .on_closed = on_moved_closed};
    struct world *wo = ctx;
    assert_true(worker_is_current(wo->other));
    assert_ptr_equal(stream_worker(s), wo->other);
    wo->server.s = s;
    stream_set_ops(s, &ops, &wo->server);
}

static void on_accept_move(void *ctx, struct stream *s)
{
    struct world *wo = ctx;
    assert_int_equal(stream_move(s, wo->other, on_arrived, wo), TG_OK);
}

static size_t on_moved_echo(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct end *e = ctx;
    (void)p, (void)need;
    e->got += len;
    if (e->got == 5)
        worker_stop(e->world->w);
    return len;
}

static void on_move_connected(void *ctx, struct stream *s)
{
    static const struct stream_ops ops = {.on_bytes = on_moved_echo};
    struct world *wo = ctx;
    wo->client.s = s;
    stream_set_ops(s, &ops, &wo->client);
    stream_write(s, "hello", 5);
}

static void start_move(struct worker *w)
{
    struct world *wo = worker_user(w);
    assert_int_equal(listener_open(&wo->l, w, "::1", &wo->port, on_accept_move, wo), TG_OK);
    assert_int_equal(stream_connect(w, "::1", wo->port, on_move_connected, wo), TG_OK);
}

static void test_a_connection_moves_to_another_worker(void **state)
{
    (void)state;
    struct world wo;
    open_world(&wo, NULL, NULL, NULL);
    struct worker_config cfg = {.index = 1, .budget = &wo.budget};
    assert_int_equal(worker_new(&wo.other, &cfg), TG_OK);
    assert_int_equal(worker_start(wo.other, NULL), TG_OK);
    worker_run(wo.w, start_move);
    worker_stop(wo.other);
    worker_join(wo.other);
    worker_free(wo.other);
    close_world(&wo);
    assert_int_equal(wo.client.got, 5);
}

static void test_an_idle_stream_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct stream) <= 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_5_mb_frame_arrives_whole_in_few_calls),
        cmocka_unit_test(test_frames_of_all_sizes_arrive_in_order),
        cmocka_unit_test(test_echo_of_single_bytes),
        cmocka_unit_test(test_pause_inside_on_bytes_keeps_the_rest_for_resume),
        cmocka_unit_test(test_hang_up_is_noticed_while_paused),
        cmocka_unit_test(test_slow_reader_bounds_the_output_of_an_obedient_producer),
        cmocka_unit_test(test_used_up_budget_congests_but_every_stream_moves_on),
        cmocka_unit_test(test_reserved_and_not_committed_is_not_sent),
        cmocka_unit_test(test_flush_sends_at_once),
        cmocka_unit_test(test_large_frame_waits_for_the_receive_budget),
        cmocka_unit_test(test_close_inside_on_bytes_sends_what_is_pending),
        cmocka_unit_test(test_both_ends_may_be_closed_in_one_callback),
        cmocka_unit_test(test_stop_closes_streams_and_tells_their_owners),
        cmocka_unit_test(test_refused_connection_is_reported),
        cmocka_unit_test(test_listener_says_what_is_wrong),
        cmocka_unit_test(test_addresses_of_both_families),
        cmocka_unit_test(test_accepting_goes_on_after_a_shortage_of_descriptors),
        cmocka_unit_test(test_a_connection_moves_to_another_worker),
        cmocka_unit_test(test_an_idle_stream_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
