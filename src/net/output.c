/* What goes out: chunks that the owner writes into, and the turn's end that sends them.
 *
 * The first chunk of an idle stream is small, since most answers are; a burst gets large ones. An
 * idle stream has none. Chunks are charged to the budget whole, when they are made. <out_bytes> is
 * what was committed and not yet taken by the kernel.
 *
 * Congested is a state, entered when a commit takes the stream over STREAM_OUTPUT_HIGH or finds the
 * budget used up, and left in a flush; so a congested stream always has bytes to send, and the end
 * of its congestion can't be missed. */
#include <errno.h>
#include <sys/socket.h>
#include <string.h>

#include "base/alloc.h"
#include "net/stream_impl.h"

enum {
    CHUNK_FIRST = 2 * 1024 - 32, /* with its head, a size class of the allocator */
    CHUNK_MORE = 16 * 1024 - 32,
    IOV_PER_CALL = 64, /* 1 MB of large chunks: more than a socket buffer takes at once */
};

struct chunk {
    struct chunk *next;
    size_t start, end, cap;
    size_t charged; /* to the budget */
    uint8_t data[];
};

static struct chunk *add_chunk(struct stream *s, size_t n)
{
    size_t cap = s->out_last == NULL ? CHUNK_FIRST : CHUNK_MORE;
    if (cap < n)
        cap = n;
    struct chunk *c = xmalloc(sizeof(*c) + cap);
    *c = (struct chunk){.cap = cap, .charged = xsize(c)};
    budget_force(s->w->cfg.budget, BUDGET_OUTBOUND, (int64_t)c->charged);
    if (s->out_last != NULL)
        s->out_last->next = c;
    else
        s->out_first = c;
    s->out_last = c;
    return c;
}

static void drop_first_chunk(struct stream *s)
{
    struct chunk *c = s->out_first;
    s->out_first = c->next;
    if (s->out_first == NULL)
        s->out_last = NULL;
    budget_give(s->w->cfg.budget, BUDGET_OUTBOUND, (int64_t)c->charged);
    free(c);
}

void output_free(struct stream *s)
{
    while (s->out_first != NULL)
        drop_first_chunk(s);
    s->out_bytes = 0;
}

uint8_t *stream_reserve(struct stream *s, size_t n)
{
    struct chunk *c = s->out_last;
    if (c == NULL || c->cap - c->end < n) {
        c = add_chunk(s, n);
        stream_mark_dirty(s); /* so that it does not stay when nothing is committed */
    }
    return c->data + c->end;
}

static bool budget_is_used_up(const struct stream *s)
{
    return budget_is_over(s->w->cfg.budget, BUDGET_OUTBOUND);
}

void stream_commit(struct stream *s, size_t n)
{
    struct chunk *c = s->out_last;
    if (n == 0)
        return;
    TG_ASSERT(c != NULL && c->cap - c->end >= n);
    c->end += n;
    if (s->out_bytes == 0)
        s->unread_since_ns = s->w->now_ns;
    s->out_bytes += n;
    if (s->out_bytes > STREAM_OUTPUT_HIGH || budget_is_used_up(s))
        s->congested = true;
    stream_mark_dirty(s);
}

void stream_write(struct stream *s, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(stream_reserve(s, n), p, n);
    stream_commit(s, n);
}

size_t stream_output_bytes(const struct stream *s)
{
    return s->out_bytes;
}

bool stream_is_congested(const struct stream *s)
{
    return s->congested;
}

static size_t gather(const struct stream *s, struct iovec *iov)
{
    size_t n = 0;
    for (struct chunk *c = s->out_first; c != NULL && n < IOV_PER_CALL; c = c->next)
        if (c->end > c->start)
            iov[n++] = (struct iovec){c->data + c->start, c->end - c->start};
    return n;
}

static void sent(struct stream *s, size_t n)
{
    s->out_bytes -= n;
    while (n > 0) {
        struct chunk *c = s->out_first;
        size_t here = c->end - c->start < n ? c->end - c->start : n;
        c->start += here;
        n -= here;
        if (c->start == c->end)
            drop_first_chunk(s);
    }
}

void stream_flush(struct stream *s)
{
    if (s->state == STREAM_OPEN)
        output_flush(s);
}

void output_flush(struct stream *s)
{
    while (s->out_bytes > 0) {
        struct iovec iov[IOV_PER_CALL];
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = gather(s, iov)};
        ssize_t n = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            stream_close(s, uv_strerror(-errno));
            return;
        }
        s->unread_since_ns = s->w->now_ns;
        sent(s, (size_t)n);
    }
    if (s->out_bytes == 0)
        output_free(s);
    if (s->congested && s->out_bytes <= STREAM_OUTPUT_LOW &&
        (s->out_bytes == 0 || !budget_is_used_up(s))) {
        s->congested = false;
        s->drained_due = true;
        stream_mark_ready(s);
    }
}
