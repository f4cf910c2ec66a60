/* load - a load generator for brokers that speak Pulsar's protocol: many producers on one CPU.
 *
 * It runs on one worker of net/. Producers come in groups; every group has some producers on each
 * of the connections, so two groups share connections unless told otherwise: a producer over its
 * limit and its quiet neighbour are two groups on one connection.
 *
 * A message's latency runs from when its frame is handed to the socket to when its receipt is read.
 * A paced producer that could not send in time because its window was full counts from when the
 * message was due, so a broker that stalls does not look better by stopping the clock.
 *
 * All producers are opened first; then the warm-up runs, then the measurement, then it ends without
 * waiting for what is outstanding. A broker's CLOSE_PRODUCER is obeyed as Pulsar's clients do:
 * register again, wait until ready, send again what has no receipt. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "load_options.h"
#include "net/stream.h"
#include "wire/command.h"

#define OF(type, ptr, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static void fail(struct load *l, const char *what, const char *detail)
{
    fprintf(stderr, "load: %s: %s\n", what, detail);
    l->failed = true;
    worker_stop(l->w);
}

/* ---- commands out ---- */

static void send_command(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    size_t n = command_frame_len(cmd);
    command_frame_write(cmd, stream_reserve(c->stream, n));
    stream_commit(c->stream, n);
}

static void send_connect(struct conn *c)
{
    Pulsar__Proto__CommandConnect body = PULSAR__PROTO__COMMAND_CONNECT__INIT;
    char version[64];
    snprintf(version, sizeof(version), "%s", c->load->client_version);
    body.client_version = version;
    body.has_protocol_version = true;
    body.protocol_version = 19;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__CONNECT;
    cmd.connect = &body;
    send_command(c, &cmd);
}

static void send_producer(struct producer *p)
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
    send_command(p->conn, &cmd);
}

static void send_lookup(struct producer *p)
{
    Pulsar__Proto__CommandLookupTopic body = PULSAR__PROTO__COMMAND_LOOKUP_TOPIC__INIT;
    body.topic = p->topic;
    body.request_id = p->id;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__LOOKUP;
    cmd.lookuptopic = &body;
    send_command(p->conn, &cmd);
}

static void send_pong(struct conn *c)
{
    Pulsar__Proto__CommandPong body = PULSAR__PROTO__COMMAND_PONG__INIT;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__PONG;
    cmd.pong = &body;
    send_command(c, &cmd);
}

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
    return p->conn->load->sending && p->ready &&
           p->next_sequence - p->oldest_sequence < (uint64_t)p->group->window &&
           !stream_is_congested(p->conn->stream);
}

static void send_one(struct producer *p, int64_t begin_ns)
{
    p->sent_ns[p->next_sequence % (uint64_t)p->group->window] = begin_ns;
    write_message(p, p->next_sequence++);
    p->group->sent++;
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

static void fill(struct producer *p, int64_t now_ns)
{
    if (p->group->rate > 0) {
        if (p->waiting_to_fill)
            fill_paced(p, now_ns, true);
        return;
    }
    while (may_send(p))
        send_one(p, now_ns);
}

static void pace_fired(struct timer *t, int64_t turn_ns)
{
    (void)turn_ns;
    fill_paced(OF(struct producer, t, pace), mono_now_ns(), false);
}

static void on_drained(void *ctx)
{
    struct conn *c = ctx;
    int64_t now_ns = mono_now_ns();
    for (int i = 0; i < c->producer_count; i++)
        fill(c->producers[i], now_ns);
}

/* ---- commands in ---- */

static uint64_t varint(const uint8_t **p, const uint8_t *end)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t b = *(*p)++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            break;
    }
    return v;
}

static void on_receipt(struct conn *c, const uint8_t *p, const uint8_t *end, int64_t now_ns)
{
    uint64_t id = 0, sequence = 0;
    p += 3; /* type and key */
    varint(&p, end);
    while (p < end) {
        unsigned key = *p++;
        uint64_t v = varint(&p, end);
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
    if (c->load->measuring) {
        histogram_add(&g->latency, now_ns - sent_ns);
        g->receipts += (uint64_t)g->batch;
    }
    if (!pr->touched) {
        pr->touched = true;
        pr->next_touched = c->touched;
        c->touched = pr;
    }
}

static void begin_sending(struct load *l);

static void on_producer_ready(struct producer *p)
{
    struct load *l = p->conn->load;
    if (p->ready)
        return;
    p->ready = true;
    if (l->sending) { /* after a CLOSE_PRODUCER */
        for (uint64_t f = p->oldest_sequence; f < p->next_sequence; f++, p->group->resent++)
            write_message(p, f);
        fill(p, mono_now_ns());
    } else if (--l->producers_to_open == 0) {
        begin_sending(l);
    }
}

static struct producer *producer_of(struct conn *c, uint64_t id)
{
    return id < (uint64_t)c->producer_count ? c->producers[id] : NULL;
}

static void on_command(struct conn *c, const Pulsar__Proto__BaseCommand *cmd)
{
    struct producer *p;
    if (cmd->connected != NULL) {
        for (int i = 0; i < c->producer_count; i++)
            if (c->load->lookup)
                send_lookup(c->producers[i]);
            else
                send_producer(c->producers[i]);
    } else if (cmd->lookuptopicresponse != NULL) {
        if ((p = producer_of(c, cmd->lookuptopicresponse->request_id)) != NULL)
            send_producer(p);
    } else if (cmd->producer_success != NULL) {
        const Pulsar__Proto__CommandProducerSuccess *ok = cmd->producer_success;
        if (ok->has_producer_ready && !ok->producer_ready)
            return;
        if ((p = producer_of(c, ok->request_id)) != NULL)
            on_producer_ready(p);
    } else if (cmd->close_producer != NULL) {
        if ((p = producer_of(c, cmd->close_producer->producer_id)) == NULL)
            return;
        p->ready = false;
        p->group->closed_by_broker++;
        send_producer(p);
    } else if (cmd->send_error != NULL) {
        if ((p = producer_of(c, cmd->send_error->producer_id)) != NULL)
            p->group->send_errors++;
        fail(c->load, "SEND_ERROR", cmd->send_error->message);
    } else if (cmd->error != NULL) {
        fail(c->load, "ERROR", cmd->error->message);
    } else if (cmd->ping != NULL) {
        send_pong(c);
    }
}

static size_t on_bytes(void *ctx, const uint8_t *p, size_t len, size_t *need)
{
    struct conn *c = ctx;
    int64_t now_ns = mono_now_ns();
    size_t used = 0;
    *need = 8;
    while (len - used >= 8) {
        const uint8_t *f = p + used;
        size_t total = get_be32(f), command_len = get_be32(f + 4);
        if (len - used < 4 + total) {
            *need = 4 + total;
            break;
        }
        const uint8_t *command = f + 8;
        if (command_len > 3 && command[1] == PULSAR__PROTO__BASE_COMMAND__TYPE__SEND_RECEIPT) {
            on_receipt(c, command, command + command_len, now_ns);
        } else {
            arena_reset(c->arena);
            Pulsar__Proto__BaseCommand *cmd = command_unpack(c->arena, command, command_len);
            if (cmd != NULL)
                on_command(c, cmd);
        }
        used += 4 + total;
    }
    struct producer *t = c->touched;
    c->touched = NULL;
    for (struct producer *next; t != NULL; t = next) {
        next = t->next_touched;
        t->touched = false;
        fill(t, now_ns);
    }
    return used;
}

static void on_closed(void *ctx, const char *why)
{
    struct conn *c = ctx;
    c->stream = NULL;
    if (c->load->failed || c->load->wall_ns > 0)
        return; /* over: the worker closes what is left */
    fail(c->load, "connection closed", why);
}

/* ---- phases ---- */

/* CPU time of all threads of <pid>, as the scheduler counts it. */
static int64_t process_cpu_ns(int pid)
{
    char path[288];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *d = pid ? opendir(path) : NULL;
    if (d == NULL)
        return 0;
    int64_t sum_ns = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        long long ns = 0;
        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (f == NULL)
            continue;
        if (fscanf(f, "%lld", &ns) == 1)
            sum_ns += ns;
        fclose(f);
    }
    closedir(d);
    return sum_ns;
}

static void phase_over(struct timer *t, int64_t now_ns)
{
    struct load *l = OF(struct load, t, phase);
    if (!l->measuring) {
        l->measuring = true;
        l->begin_ns = mono_now_ns();
        l->cpu_ns = thread_cpu_ns();
        l->target_cpu_ns = process_cpu_ns(l->pid);
        timer_arm(l->w, t, now_ns + (int64_t)(l->duration_s * (double)MONO_S));
        return;
    }
    l->measuring = false;
    l->wall_ns = mono_now_ns() - l->begin_ns;
    l->cpu_ns = thread_cpu_ns() - l->cpu_ns;
    l->target_cpu_ns = process_cpu_ns(l->pid) - l->target_cpu_ns;
    worker_stop(l->w);
}

static void begin_sending(struct load *l)
{
    l->sending = true;
    timer_init(&l->phase, phase_over);
    timer_arm(l->w, &l->phase, worker_now_ns(l->w) + (int64_t)(l->warmup_s * (double)MONO_S));
    int64_t now_ns = mono_now_ns();
    for (int i = 0; i < l->conn_count; i++)
        for (int k = 0; k < l->conns[i].producer_count; k++) {
            struct producer *p = l->conns[i].producers[k];
            p->due_ns = now_ns;
            if (p->group->rate > 0)
                fill_paced(p, now_ns, false);
            else
                fill(p, now_ns);
        }
}

static void on_connected(void *ctx, struct stream *s)
{
    static const struct stream_ops ops = {on_bytes, on_drained, on_closed};
    struct conn *c = ctx;
    if (s == NULL) {
        fail(c->load, "connect", "refused");
        return;
    }
    c->stream = s;
    stream_set_ops(s, &ops, c);
    send_connect(c);
}

static void start(struct worker *w)
{
    struct load *l = worker_user(w);
    for (int i = 0; i < l->conn_count; i++) {
        enum tg_err err = stream_connect(w, l->host, l->port, on_connected, &l->conns[i]);
        if (err != TG_OK)
            fail(l, "connect", err_text(err));
    }
}

/* ---- set-up ---- */

static char *topic_name(const struct group *g, int conn, int producer)
{
    struct bytes b = {0};
    for (const char *p = g->topic; *p != '\0'; p++) {
        if (p[0] == '%' && (p[1] == 'c' || p[1] == 'p'))
            bytes_printf(&b, "%d", *++p == 'c' ? conn : producer);
        else
            bytes_append(&b, p, 1);
    }
    bytes_append(&b, "", 1);
    return (char *)b.data;
}

static void add_producers(struct load *l, struct conn *c, struct group *g)
{
    size_t n = (size_t)c->producer_count + (size_t)g->producers;
    c->producers = xrealloc(c->producers, n * sizeof(*c->producers));
    for (int i = 0; i < g->producers; i++) {
        struct producer *p = xcalloc(1, sizeof(*p));
        p->conn = c;
        p->group = g;
        p->id = (uint64_t)c->producer_count;
        p->topic = topic_name(g, c->index, i);
        p->name = xasprintf("load-%s-%d-%d", g->name, c->index, i);
        p->sent_ns = xcalloc((size_t)g->window, sizeof(*p->sent_ns));
        timer_init(&p->pace, pace_fired);
        c->producers[c->producer_count++] = p;
        l->producers_to_open++;
    }
}

static void build(struct load *l)
{
    l->conns = xcalloc((size_t)l->conn_count, sizeof(*l->conns));
    for (int i = 0; i < l->group_count; i++) {
        struct group *g = &l->groups[i];
        message_make(&g->message, g->name, (uint64_t)(wall_now_ns() / MONO_MS), (uint32_t)g->size,
                     (uint32_t)g->batch);
        TG_ASSERT(message_check(&g->message, 0, 0) && message_check(&g->message, 999, 1234567890));
        if (g->conns == 0)
            g->conns = l->conn_count - g->first_conn;
    }
    for (int i = 0; i < l->conn_count; i++) {
        struct conn *c = &l->conns[i];
        c->load = l;
        c->index = i;
        c->arena = arena_new();
        for (int k = 0; k < l->group_count; k++) {
            struct group *g = &l->groups[k];
            if (i >= g->first_conn && i < g->first_conn + g->conns)
                add_producers(l, c, g);
        }
    }
}

static void teardown(struct load *l)
{
    for (int i = 0; i < l->conn_count; i++) {
        struct conn *c = &l->conns[i];
        for (int k = 0; k < c->producer_count; k++) {
            struct producer *p = c->producers[k];
            free(p->topic);
            free(p->name);
            free(p->sent_ns);
            free(p);
        }
        free(c->producers);
        arena_free(c->arena);
    }
    for (int i = 0; i < l->group_count; i++)
        bytes_fini(&l->groups[i].message.frame);
    free(l->conns);
}

/* ---- the result ---- */

static void print_group(const struct load *l, const struct group *g, bool last)
{
    double s = (double)l->wall_ns / 1e9;
    const struct histogram *h = &g->latency;
    printf("  {\"name\": \"%s\", \"messages_per_s\": %.1f, \"messages\": %llu, \"frames\": %llu,\n"
           "   \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f,\n"
           "   \"sent_frames\": %llu, \"resent_frames\": %llu, \"closed_by_broker\": %llu,\n"
           "   \"send_errors\": %llu, \"wrong_ids\": %llu}%s\n",
           g->name, (double)g->receipts / s, (unsigned long long)g->receipts,
           (unsigned long long)h->total, (double)histogram_at(h, 0.5) / 1e3,
           (double)histogram_at(h, 0.99) / 1e3, (double)histogram_at(h, 0.999) / 1e3,
           (double)h->max_ns / 1e3, (unsigned long long)g->sent, (unsigned long long)g->resent,
           (unsigned long long)g->closed_by_broker, (unsigned long long)g->send_errors,
           (unsigned long long)g->wrong_ids, last ? "" : ",");
}

static void print_result(const struct load *l)
{
    uint64_t messages = 0;
    for (int i = 0; i < l->group_count; i++)
        messages += l->groups[i].receipts;
    double s = (double)l->wall_ns / 1e9, per = messages ? (double)messages : 1;
    printf("{\"seconds\": %.3f, \"messages_per_s\": %.1f, \"load_cpu\": %.3f,\n"
           " \"load_cpu_ns_per_message\": %.1f, \"target_cpu\": %.3f,\n"
           " \"target_cpu_ns_per_message\": %.1f,\n \"groups\": [\n",
           s, (double)messages / s, (double)l->cpu_ns / (double)l->wall_ns, (double)l->cpu_ns / per,
           (double)l->target_cpu_ns / (double)l->wall_ns, (double)l->target_cpu_ns / per);
    for (int i = 0; i < l->group_count; i++)
        print_group(l, &l->groups[i], i == l->group_count - 1);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    struct load *l = xcalloc(1, sizeof(*l));
    *l = (struct load){.host = "127.0.0.1", .conn_count = 1, .warmup_s = 1, .duration_s = 5};
    l->client_version = "Tidegate-load-1";
    parse_options(l, argc, argv);
    build(l);
    struct budget budget;
    budget_init(&budget, INT64_C(1) << 30);
    struct worker_config cfg = {.budget = &budget, .user = l};
    if (worker_new(&l->w, &cfg) != TG_OK) {
        fprintf(stderr, "load: no event loop\n");
        return 1;
    }
    worker_run(l->w, start);
    worker_free(l->w);
    bool failed = l->failed || l->wall_ns == 0;
    if (!failed)
        print_result(l);
    teardown(l);
    free(l);
    return failed;
}
