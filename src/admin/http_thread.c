/* http_thread.c - the HTTP thread: it lets connections in, sends away those that take too long or
 * too much, and runs libmicrohttpd; and the HTTP side's start and stop.
 *
 * Invariant: a peer is there from libmicrohttpd's word that its connection began to that it ended,
 * before which the socket is not closed. To send somebody away is to shut the socket down:
 * libmicrohttpd finds it at its end and cleans up. */
#include <errno.h>
#include <linux/tcp.h> /* the libc's has no tcpi_bytes_acked */
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/http.h"
#include "admin/listen.h"
#include "admin/part.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/mono.h"

enum {
    CONNECTION_MEMORY = 64 * 1024, /* of libmicrohttpd: the largest request head */
    PEER_BYTES = 8 * 1024,         /* what a connection takes of it, and else, as a rule */
    PEERS_LEAST = 64,
    PEERS_MOST = 1024,
    PEERS_LEAVING = 256, /* whose sockets are shut down and not yet closed */
    ACCEPTS_PER_TURN = 16,
    OUTPUT_BYTES = 128 * 1024, /* that the kernel keeps for a connection (it takes double) */
    STOP_STEPS = 200,          /* of 5 ms: how long a stop waits for answers to be taken */
    STOP_STEP_US = 5000,
};
enum {
    ROOM_AGAIN_MS = 10, /* when there was nobody to make room */
    FILE_AGAIN_MS = 100 /* when there were no file descriptors */
};
enum {
    LOOK_MS = 1000,    /* for who is overdue */
    LOOK_SOON_MS = 50, /* while memory is short */
};

/* ---- connections ---- */

static void send_away(struct peer *p, const char *why)
{
    log_debug("http: a connection is ended: %s", why);
    (void)shutdown(p->fd, SHUT_RDWR);
}

static void send_away_overdue(struct admin *a)
{
    for (struct peer *p; (p = peers_overdue(&a->peers, a->now_ns)) != NULL;)
        send_away(p, "what it was waited for did not come in time");
}

/* Bytes that the client's end has confirmed. */
static uint64_t taken(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 ? info.tcpi_bytes_acked : 0;
}

/* How much longer until the next look at memory: of answers that are not read one goes a turn,
 * since what that gives back is known in the next one. */
static int send_away_stalled(struct admin *a)
{
    struct budget *b = &a->broker->budget;
    if (budget_used(b, BUDGET_HTTP) <= b->share_bytes[BUDGET_HTTP])
        return LOOK_MS;
    struct peer *p = peers_stalled(&a->peers, taken, a->now_ns);
    if (p == NULL)
        return LOOK_SOON_MS;
    send_away(p, "answers that are not read take too much memory");
    return 0;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct admin *a = cls;
    struct budget *b = &a->broker->budget;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct peer *p = xmalloc(sizeof *p);
        int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        peers_add(&a->peers, p, fd, a->now_ns);
        budget_force(b, BUDGET_HTTP, PEER_BYTES);
        *context = p;
    } else {
        peers_remove(&a->peers, *context);
        budget_give(b, BUDGET_HTTP, PEER_BYTES);
        free(*context);
    }
}

static void accept_later(struct admin *a, int ms)
{
    a->accept_at_ns = a->now_ns + ms * MONO_MS;
}

/* Room for one more. False: nobody can be asked to go now, so newcomers wait to be accepted. */
static bool make_room(struct admin *a)
{
    if (a->peers.count < a->peers_max)
        return true;
    struct peer *p = peers_longest(&a->peers, a->now_ns);
    if (p != NULL)
        send_away(p, "others want to come in");
    else
        accept_later(a, ROOM_AGAIN_MS);
    return p != NULL;
}

static void accept_failed(struct admin *a, int error)
{
    if (error == EAGAIN || error == ECONNABORTED || error == EINTR)
        return;
    log_warn("http: connections can't be accepted now: %s", strerror(error));
    accept_later(a, FILE_AGAIN_MS);
}

/* There is a connection to be accepted. */
static void let_in(struct admin *a)
{
    for (int i = 0; i < ACCEPTS_PER_TURN && make_room(a); i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        int fd = accept4(a->listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            accept_failed(a, errno);
            return;
        }
        int output = OUTPUT_BYTES;
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &output, sizeof output);
        (void)MHD_add_connection(a->daemon, fd, (struct sockaddr *)&from, len);
    }
}

/* ---- the thread ---- */

static bool may_accept(const struct admin *a)
{
    return !atomic_load(&a->closed) && a->accept_at_ns <= a->now_ns;
}

static int wait_ms(struct admin *a, int look_ms)
{
    MHD_UNSIGNED_LONG_LONG ms;
    int most = peers_any_waited_for(&a->peers) ? look_ms : -1;
    if (!may_accept(a) && (most < 0 || most > ROOM_AGAIN_MS))
        most = ROOM_AGAIN_MS;
    if (MHD_get_timeout(a->daemon, &ms) != MHD_YES)
        return most;
    return most < 0 || ms < (MHD_UNSIGNED_LONG_LONG)most ? (int)ms : most;
}

static void *run(void *arg)
{
    struct admin *a = arg;
    int epoll_fd = MHD_get_daemon_info(a->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    int look_ms = LOOK_MS;
    while (!atomic_load(&a->ending)) {
        struct pollfd fds[] = {{.fd = epoll_fd, .events = POLLIN},
                               {.fd = a->wake_fd, .events = POLLIN},
                               {.fd = a->listener, .events = POLLIN}};
        eventfd_t wakes;
        bool open = may_accept(a);
        (void)poll(fds, open ? 3 : 2, wait_ms(a, look_ms));
        a->now_ns = mono_now_ns();
        (void)eventfd_read(a->wake_fd, &wakes);
        if (open && fds[2].revents != 0)
            let_in(a);
        send_away_overdue(a);
        look_ms = send_away_stalled(a);
        MHD_run(a->daemon);
        http_let_go(a);
    }
    return NULL;
}

TG_PRINTF(2, 0) static void on_library_log(void *cls, const char *fmt, va_list args)
{
    (void)cls;
    char line[512];
    vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\r\n")] = 0;
    log_debug("http: %s", line);
}

/* ---- start and stop ---- */

/* As many as half of HTTP's memory holds. */
static uint32_t peers_max(const struct budget *b)
{
    int64_t n = b->share_bytes[BUDGET_HTTP] / 2 / PEER_BYTES;
    return (uint32_t)(n < PEERS_LEAST ? PEERS_LEAST : n > PEERS_MOST ? PEERS_MOST : n);
}

static struct MHD_Daemon *start_library(struct admin *a)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
        NULL, NULL, http_on_request, a, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, http_on_target, a, MHD_OPTION_NOTIFY_COMPLETED,
        http_on_completed, a, MHD_OPTION_NOTIFY_CONNECTION, on_connection, a,
        MHD_OPTION_CONNECTION_LIMIT, a->peers_max + PEERS_LEAVING,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
}

static struct admin *admin_new(struct broker *b, int listener)
{
    struct admin *a = xcalloc(1, sizeof *a);
    a->refs = 1;
    a->broker = b;
    a->listener = listener;
    a->peers_max = peers_max(&b->budget);
    a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

static void close_all(struct admin *a)
{
    if (a->daemon != NULL)
        MHD_stop_daemon(a->daemon);
    if (a->wake_fd >= 0)
        close(a->wake_fd);
    close(a->listener);
    admin_unref(a);
}

static TG_MUSTCHECK enum tg_err start_threads(struct admin *a)
{
    a->daemon = a->wake_fd >= 0 ? start_library(a) : NULL;
    if (a->daemon == NULL || writer_start(&a->writer) != TG_OK)
        return TG_EIO;
    if (pthread_create(&a->thread, NULL, run, a) == 0)
        return TG_OK;
    writer_stop(&a->writer);
    return TG_EIO;
}

enum tg_err admin_start(struct admin **out, struct broker *b, int *port, char **why)
{
    int fd;
    enum tg_err e = http_listen(b->settings->bind_address, port, &fd, why);
    if (e != TG_OK)
        return e;
    struct admin *a = admin_new(b, fd);
    e = start_threads(a);
    if (e != TG_OK) {
        *why = xasprintf("web port %d: the HTTP thread can't be started", *port);
        close_all(a);
        return e;
    }
    *out = a;
    return TG_OK;
}

void admin_stop(struct admin *a)
{
    if (a == NULL)
        return;
    atomic_store(&a->closed, true);
    (void)eventfd_write(a->wake_fd, 1);
    http_refuse_all(a);
    for (int i = 0; i < STOP_STEPS && a->open_calls > 0; i++)
        usleep(STOP_STEP_US);
    atomic_store(&a->ending, true);
    (void)eventfd_write(a->wake_fd, 1);
    pthread_join(a->thread, NULL);
    writer_stop(&a->writer);
    surveys_abandon(a);
    parts_abandon(a);
    close_all(a);
}
