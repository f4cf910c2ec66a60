/* floor - the least a server can do for a producer: what `make bench` divides by.
 *
 * One thread, raw epoll, none of Tidegate's rooms but wire/ for the answers. It lets a producer
 * start, reads SEND frames, keeps their bytes as --durability says, and answers the receipts of one
 * read with one write. It checks nothing, limits nothing, delivers nothing and trusts its peer.
 * With --echo it sends each SEND frame back whole instead of a receipt: the least that a server can
 * do which gives a message to a consumer.
 *
 *   none  nothing is kept
 *   os    the frames of one read are appended with one pwrite
 *   sync  a second thread writes and syncs the frames that came while it did so the time before
 *         (group commit); then their receipts go out
 *
 * The file is written once ahead of time and used round and round, as a log of recycled segments
 * is. Per connection there are two answer buffers: <waiting> for the next sync, <syncing> for the
 * one that runs; without sync everything goes out at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "wire/command.h"

enum {
    READ_SIZE = 256 * 1024,
    INPUT_SIZE = FRAME_MAX_MESSAGE + FRAME_OVERHEAD + READ_SIZE, /* a frame and a read behind it */
    LOG_SIZE = 256 * 1024 * 1024,
    EVENTS = 64,
};

enum durability { KEEP_NONE, KEEP_OS, KEEP_SYNC };

struct conn {
    int fd;
    uint8_t *in; /* INPUT_SIZE; pages that are not used cost nothing */
    size_t in_len;
    struct bytes waiting, syncing, out;
    bool dead;
    struct conn *next;
};

struct server {
    enum durability durability;
    bool echo;
    int epoll_fd, listen_fd, log_fd, synced_fd;
    int64_t log_at;
    uint64_t entry;
    bool sync_runs;
    struct bytes group, group_syncing; /* frames for the next sync; the sync thread's */
    sem_t sync_wanted;
    struct conn *conns;
    struct arena *arena;
};

_Noreturn static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- answers ---- */

static void answer(struct bytes *out, const Pulsar__Proto__BaseCommand *cmd)
{
    size_t n = command_frame_len(cmd);
    command_frame_write(cmd, bytes_reserve(out, n));
    out->len += n;
}

static void answer_connect(struct conn *c)
{
    Pulsar__Proto__CommandConnected body = PULSAR__PROTO__COMMAND_CONNECTED__INIT;
    body.server_version = (char *)(uintptr_t) "floor";
    body.has_protocol_version = body.has_max_message_size = true;
    body.protocol_version = 21;
    body.max_message_size = FRAME_MAX_MESSAGE;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__CONNECTED;
    cmd.connected = &body;
    answer(&c->out, &cmd);
}

static void answer_producer(struct conn *c, const Pulsar__Proto__CommandProducer *in)
{
    char name[32];
    snprintf(name, sizeof(name), "floor-%llu", (unsigned long long)in->producer_id);
    Pulsar__Proto__CommandProducerSuccess body = PULSAR__PROTO__COMMAND_PRODUCER_SUCCESS__INIT;
    body.request_id = in->request_id;
    body.producer_name = in->producer_name != NULL ? in->producer_name : name;
    Pulsar__Proto__BaseCommand cmd = PULSAR__PROTO__BASE_COMMAND__INIT;
    cmd.type = PULSAR__PROTO__BASE_COMMAND__TYPE__PRODUCER_SUCCESS;
    cmd.producer_success = &body;
    answer(&c->out, &cmd);
}

static void answer_other(struct server *sv, struct conn *c, const uint8_t *p, size_t len)
{
    arena_reset(sv->arena);
    Pulsar__Proto__BaseCommand *cmd = command_unpack(sv->arena, p, len);
    if (cmd == NULL)
        c->dead = true;
    else if (cmd->connect != NULL)
        answer_connect(c);
    else if (cmd->producer != NULL)
        answer_producer(c, cmd->producer);
}

/* ---- frames ---- */

static uint64_t varint(const uint8_t **p)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t b = *(*p)++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            break;
    }
    return v;
}

/* A SEND as every client writes it: type, then CommandSend, whose fields stand in order. */
static void answer_send(struct server *sv, struct conn *c, const uint8_t *p, const uint8_t *end)
{
    uint64_t field[8] = {0};
    p += 3; /* 08 06, then the key of CommandSend */
    varint(&p);
    while (p < end) {
        unsigned key = *p++;
        field[key >> 3 & 7] = varint(&p);
    }
    struct bytes *out = sv->durability == KEEP_SYNC ? &c->waiting : &c->out;
    out->len += command_write_receipt(bytes_reserve(out, COMMAND_RECEIPT_MAX), field[1], field[2],
                                      field[6], 1, sv->entry++);
}

static void append_to_log(struct server *sv, const uint8_t *p, size_t n)
{
    if (sv->log_at + (int64_t)n > LOG_SIZE)
        sv->log_at = 0;
    if (pwrite(sv->log_fd, p, n, sv->log_at) != (ssize_t)n)
        die("pwrite");
    sv->log_at += (int64_t)n;
}

/* Answers the whole frames of the input; what is behind them moves to its front. */
static void take_frames(struct server *sv, struct conn *c)
{
    size_t at = 0;
    bool sends = false;
    while (c->in_len - at >= 8) {
        const uint8_t *f = c->in + at;
        size_t total = get_be32(f), command_len = get_be32(f + 4);
        if (total > FRAME_MAX_MESSAGE + FRAME_OVERHEAD || command_len + 4 > total) {
            c->dead = true;
            return;
        }
        if (c->in_len - at < 4 + total)
            break;
        if (command_len > 3 && f[8] == 0x08 && f[9] == PULSAR__PROTO__BASE_COMMAND__TYPE__SEND) {
            if (sv->echo)
                bytes_append(&c->out, f, 4 + total);
            else
                answer_send(sv, c, f + 8, f + 8 + command_len);
            sends = true;
        } else {
            answer_other(sv, c, f + 8, command_len);
        }
        at += 4 + total;
    }
    if (sends && sv->durability == KEEP_OS)
        append_to_log(sv, c->in, at);
    else if (sends && sv->durability == KEEP_SYNC)
        bytes_append(&sv->group, c->in, at);
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

/* ---- sockets ---- */

static void watch(struct server *sv, struct conn *c, bool writable)
{
    struct epoll_event ev = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(sv->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

static void send_out(struct server *sv, struct conn *c, bool was_blocked)
{
    size_t done = 0;
    while (done < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + done, c->out.len - done, MSG_NOSIGNAL);
        if (n <= 0) {
            c->dead = errno != EAGAIN;
            break;
        }
        done += (size_t)n;
    }
    if (done > 0 && done < c->out.len)
        memmove(c->out.data, c->out.data + done, c->out.len - done);
    c->out.len -= done;
    if (c->out.len > 0 || was_blocked)
        watch(sv, c, c->out.len > 0);
}

static void serve(struct server *sv, struct conn *c, uint32_t events)
{
    if (events & EPOLLOUT)
        send_out(sv, c, true);
    if (!(events & ~(uint32_t)EPOLLOUT) || c->dead)
        return;
    ssize_t n = recv(c->fd, c->in + c->in_len, READ_SIZE, 0);
    if (n <= 0) {
        c->dead = n == 0 || errno != EAGAIN;
        return;
    }
    c->in_len += (size_t)n;
    take_frames(sv, c);
    if (c->out.len > 0)
        send_out(sv, c, false);
}

static void accept_one(struct server *sv)
{
    int fd = accept4(sv->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct conn *c = xcalloc(1, sizeof(*c));
    c->fd = fd;
    c->in = xmalloc(INPUT_SIZE);
    c->next = sv->conns;
    sv->conns = c;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(sv->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
        die("epoll_ctl");
}

static void bury_the_dead(struct server *sv)
{
    for (struct conn **at = &sv->conns; *at != NULL;) {
        struct conn *c = *at;
        if (!c->dead) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        close(c->fd);
        bytes_fini(&c->waiting);
        bytes_fini(&c->syncing);
        bytes_fini(&c->out);
        free(c->in);
        free(c);
    }
}

/* ---- group commit ---- */

static void *sync_thread(void *arg)
{
    struct server *sv = arg;
    for (;;) {
        while (sem_wait(&sv->sync_wanted) != 0)
            ;
        append_to_log(sv, sv->group_syncing.data, sv->group_syncing.len);
        if (fdatasync(sv->log_fd) != 0)
            die("fdatasync");
        uint64_t one = 1;
        if (write(sv->synced_fd, &one, sizeof(one)) != sizeof(one))
            die("eventfd");
    }
    return NULL;
}

static void begin_sync(struct server *sv)
{
    if (sv->sync_runs || sv->group.len == 0)
        return;
    struct bytes done = sv->group_syncing;
    sv->group_syncing = sv->group;
    sv->group = done;
    sv->group.len = 0;
    for (struct conn *c = sv->conns; c != NULL; c = c->next) {
        struct bytes empty = c->syncing;
        c->syncing = c->waiting;
        c->waiting = empty;
    }
    sv->sync_runs = true;
    sem_post(&sv->sync_wanted);
}

static void end_sync(struct server *sv)
{
    uint64_t n;
    if (read(sv->synced_fd, &n, sizeof(n)) != sizeof(n))
        return;
    sv->sync_runs = false;
    for (struct conn *c = sv->conns; c != NULL; c = c->next) {
        if (c->syncing.len == 0 || c->dead)
            continue;
        bool was_blocked = c->out.len > 0;
        bytes_append(&c->out, c->syncing.data, c->syncing.len);
        c->syncing.len = 0;
        send_out(sv, c, was_blocked);
    }
}

static void open_log(struct server *sv, const char *dir)
{
    char *path = xasprintf("%s/floor.log", dir);
    sv->log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (sv->log_fd < 0)
        die(path);
    uint8_t *zeros = xcalloc(1, READ_SIZE);
    for (int64_t at = 0; at < LOG_SIZE; at += READ_SIZE)
        if (pwrite(sv->log_fd, zeros, READ_SIZE, at) != READ_SIZE)
            die("pwrite");
    if (fsync(sv->log_fd) != 0)
        die("fsync");
    free(zeros);
    free(path);
    pthread_t t;
    if (sv->durability == KEEP_SYNC && pthread_create(&t, NULL, sync_thread, sv) != 0)
        die("pthread_create");
}

/* ---- start ---- */

static int open_listener(struct server *sv, int port)
{
    sv->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(sv->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    if (bind(sv->listen_fd, (struct sockaddr *)&a, len) != 0 || listen(sv->listen_fd, 128) != 0 ||
        getsockname(sv->listen_fd, (struct sockaddr *)&a, &len) != 0)
        die("listen");
    return ntohs(a.sin_port);
}

static void run(struct server *sv)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &sv->listen_fd};
    epoll_ctl(sv->epoll_fd, EPOLL_CTL_ADD, sv->listen_fd, &ev);
    ev.data.ptr = &sv->synced_fd;
    epoll_ctl(sv->epoll_fd, EPOLL_CTL_ADD, sv->synced_fd, &ev);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(sv->epoll_fd, events, EVENTS, -1);
        bool any_dead = false;
        for (int i = 0; i < n; i++) {
            void *what = events[i].data.ptr;
            if (what == &sv->listen_fd) {
                accept_one(sv);
            } else if (what == &sv->synced_fd) {
                end_sync(sv);
            } else {
                serve(sv, what, events[i].events);
                any_dead |= ((struct conn *)what)->dead;
            }
        }
        if (any_dead)
            bury_the_dead(sv);
        if (sv->durability == KEEP_SYNC)
            begin_sync(sv);
    }
}

static void usage(FILE *f)
{
    fputs("floor [--broker-port N] [--durability none|os|sync] [--data-dir DIR] [--echo]\n"
          "The least a server can do for a producer; see bench/floor.c.\n"
          "  --broker-port N   0 (default): any free port, on 127.0.0.1\n"
          "  --durability D    what happens to a SEND before its receipt; default none\n"
          "  --data-dir DIR    where floor.log is made; default .\n"
          "  --echo            sends each SEND back whole instead of a receipt; keeps nothing\n"
          "Prints \"tidegate ready broker=pulsar://HOST:PORT web=\" when it serves.\n",
          f);
}

static int parse_durability(const char *word)
{
    static const char *const words[] = {"none", "os", "sync"};
    for (int i = 0; i < 3; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    fprintf(stderr, "floor: --durability %s is not none, os or sync\n", word);
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"broker-port", required_argument, NULL, 'p'},
                                            {"durability", required_argument, NULL, 'd'},
                                            {"data-dir", required_argument, NULL, 'D'},
                                            {"echo", no_argument, NULL, 'e'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct server sv = {.log_fd = -1};
    const char *dir = ".";
    int port = 0, o;
    while ((o = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (o == 'p')
            port = atoi(optarg);
        else if (o == 'd')
            sv.durability = (enum durability)parse_durability(optarg);
        else if (o == 'D')
            dir = optarg;
        else if (o == 'e')
            sv.echo = true;
        else {
            usage(o == 'h' ? stdout : stderr);
            return o == 'h' ? 0 : 2;
        }
    }
    sv.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    sv.synced_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    sv.arena = arena_new();
    sem_init(&sv.sync_wanted, 0, 0);
    if (sv.durability != KEEP_NONE)
        open_log(&sv, dir);
    port = open_listener(&sv, port);
    printf("tidegate ready broker=pulsar://127.0.0.1:%d web=\n", port);
    fflush(stdout);
    run(&sv);
}
