/* What comes in: from the socket to the owner's on_bytes.
 *
 * Most bytes are shown where read(2) put them, in the buffer shared by all streams of the worker.
 * Only what the owner left (part of a frame, or everything behind a pause) is kept, in a buffer of
 * the stream's own that is freed when it is used up. When it is known how much is missing, the next
 * read goes straight behind it. Each byte is so copied at most twice, however large the frame.
 *
 * Bounds: one read takes at most STREAM_READ_BUFFER, and nothing is read while paused, so what is
 * kept is at most that and one frame. A frame of more than KEEP_SMALL is reserved whole in the
 * budget before more of it is read: whoever has begun can finish, and the others wait in order.
 * When the budget is used up that holds for frames of more than KEEP_TINY, and reads are no larger:
 * so a stream more costs at most that. Since those who wait then hold the memory that they wait
 * for, one of them at a time is favoured: it may finish its frame all the same. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/alloc.h"
#include "base/mono.h"
#include "net/stream_impl.h"

enum {
    KEEP_SMALL = 64 * 1024,      /* kept without asking the budget, unless it is used up */
    KEEP_TINY = 4 * 1024,        /* kept without asking the budget */
    KEEP_STEP = 64 * 1024,       /* a large frame's buffer grows at least by this */
    READ_WHEN_SHORT = 16 * 1024, /* one read, when half of the receive budget is used */
    STARVED_RETRY_NS = 20000000, /* 20 ms */
    FAVOUR_NS = 1000000000,      /* who is favoured and does not finish by then is not waited for */
    FAVOUR_LOOKS = 32,           /* at whether one has anything to read, per retry */
};

static bool is_used_up(const struct budget *b)
{
    return budget_is_over(b, BUDGET_RECEIVE) || budget_is_exhausted(b);
}

static void charge(struct stream *s, size_t bytes)
{
    struct budget *b = s->w->cfg.budget;
    if (bytes > s->receive_charged)
        budget_force(b, BUDGET_RECEIVE, (int64_t)(bytes - s->receive_charged));
    else
        budget_give(b, BUDGET_RECEIVE, (int64_t)(s->receive_charged - bytes));
    s->receive_charged = bytes;
}

void receive_free(struct stream *s)
{
    if (s->w->favoured == s)
        s->w->favoured = NULL;
    free(s->kept);
    s->kept = NULL;
    s->kept_off = s->kept_len = s->kept_cap = 0;
    charge(s, 0);
}

/* ---- the kept bytes ---- */

/* Room for <n> bytes behind the kept ones. */
static uint8_t *keep_reserve(struct stream *s, size_t n)
{
    if (s->kept_off > 0 && s->kept_off + s->kept_len + n > s->kept_cap) {
        memmove(s->kept, s->kept + s->kept_off, s->kept_len);
        s->kept_off = 0;
    }
    if (s->kept_len + n > s->kept_cap) {
        s->kept_cap = s->kept_len + n;
        s->kept = xrealloc(s->kept, s->kept_cap);
        if (s->kept_cap > s->receive_charged)
            charge(s, s->kept_cap);
    }
    return s->kept + s->kept_off + s->kept_len;
}

static void keep(struct stream *s, const uint8_t *p, size_t n)
{
    size_t room = n, small = is_used_up(s->w->cfg.budget) ? KEEP_TINY : KEEP_SMALL;
    if (s->kept_len == 0 && s->need > n && s->need <= small)
        room = s->need; /* all of a small frame at once; a large one grows */
    else if (s->need <= s->kept_len && room < s->kept_len)
        room = s->kept_len; /* an owner that says no need: grow by doubling */
    memcpy(keep_reserve(s, room), p, n);
    s->kept_len += n;
}

static bool may_show(const struct stream *s)
{
    return s->state == STREAM_OPEN && !s->paused && s->ops != NULL;
}

static size_t show(struct stream *s, const uint8_t *p, size_t len)
{
    s->need = 0;
    size_t used = s->ops->on_bytes(s->ctx, p, len, &s->need);
    TG_ASSERT(used <= len);
    return used;
}

void receive_show_kept(struct stream *s)
{
    if (s->kept_len == 0 || s->kept_len < s->need || !may_show(s))
        return;
    size_t used = show(s, s->kept + s->kept_off, s->kept_len);
    s->kept_off += used;
    s->kept_len -= used;
    if (s->kept_len == 0)
        receive_free(s);
    else if (s->need <= KEEP_SMALL && s->receive_charged > s->kept_cap)
        charge(s, s->kept_cap); /* the large frame it was reserved for is gone */
}

/* <n> bytes that stand behind the kept ones. */
static void feed(struct stream *s, const uint8_t *p, size_t n)
{
    receive_show_kept(s);
    while (n > 0 && s->kept_len > 0 && may_show(s)) {
        size_t take = n;
        if (s->need > s->kept_len && s->need - s->kept_len < n)
            take = s->need - s->kept_len;
        keep(s, p, take);
        p += take;
        n -= take;
        receive_show_kept(s);
    }
    if (n > 0 && may_show(s)) {
        size_t used = show(s, p, n);
        p += used;
        n -= used;
    }
    if (n > 0 && s->state == STREAM_OPEN)
        keep(s, p, n);
}

/* ---- the budget ---- */

/* Reserves what the frame that has begun needs. A frame that no budget could hold goes on when
 * nothing stands in its way but its own size. */
static bool reserve_frame(struct stream *s)
{
    if (s->need <= KEEP_TINY || s->need <= s->receive_charged)
        return true;
    if (is_used_up(s->w->cfg.budget))
        return false;
    if (s->need > KEEP_SMALL)
        charge(s, s->need);
    return true;
}

bool receive_is_starved(const struct stream *s)
{
    return s->in_starved;
}

static void wait_for_budget(struct stream *s)
{
    struct worker *w = s->w;
    s->in_starved = true;
    TAILQ_INSERT_TAIL(&w->starved, s, starved);
    stream_mark_dirty(s); /* stops the reading */
    if (!timer_is_armed(&w->starved_timer))
        timer_arm(w, &w->starved_timer, mono_add(w->now_ns, STARVED_RETRY_NS));
}

static void wait_no_more(struct stream *s)
{
    TAILQ_REMOVE(&s->w->starved, s, starved);
    s->in_starved = false;
    stream_mark_dirty(s);
}

static bool has_unread(const struct stream *s)
{
    char byte;
    return recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

/* The first that has sent more, of those with a small frame; who has not lets others go first. */
static void favour_one(struct worker *w, int64_t now_ns)
{
    if (w->favoured != NULL && now_ns - w->favoured_ns < FAVOUR_NS)
        return;
    struct stream *s = TAILQ_FIRST(&w->starved), *next;
    for (int looks = 0; s != NULL && looks < FAVOUR_LOOKS; s = next, looks++) {
        next = TAILQ_NEXT(s, starved);
        if (s->need > KEEP_SMALL)
            continue;
        if (has_unread(s)) {
            charge(s, s->need);
            w->favoured = s;
            w->favoured_ns = now_ns;
            wait_no_more(s);
            return;
        }
        TAILQ_REMOVE(&w->starved, s, starved);
        TAILQ_INSERT_TAIL(&w->starved, s, starved);
    }
}

void receive_retry_starved(struct timer *t, int64_t now_ns)
{
    struct worker *w = (struct worker *)((char *)t - offsetof(struct worker, starved_timer));
    struct stream *s;
    while ((s = TAILQ_FIRST(&w->starved)) != NULL && reserve_frame(s))
        wait_no_more(s);
    if (s == NULL)
        return;
    favour_one(w, now_ns);
    timer_arm(w, t, mono_add(now_ns, STARVED_RETRY_NS));
}

/* ---- the socket ---- */

static size_t read_most(const struct budget *b)
{
    if (budget_used(b, BUDGET_RECEIVE) <= b->share_bytes[BUDGET_RECEIVE] / 2)
        return STREAM_READ_BUFFER;
    return is_used_up(b) ? KEEP_TINY : READ_WHEN_SHORT;
}

/* Where the next read goes: behind the kept bytes, as far as the frame that has begun reaches, then
 * into the shared buffer. */
static int read_places(struct stream *s, struct iovec iov[2])
{
    size_t most = read_most(s->w->cfg.budget);
    int n = 0;
    size_t missing = s->kept_len > 0 && s->need > s->kept_len ? s->need - s->kept_len : 0;
    if (missing > 0) {
        size_t step = s->kept_len > KEEP_STEP ? s->kept_len : KEEP_STEP;
        size_t room = missing < step ? missing : step;
        iov[n++] = (struct iovec){keep_reserve(s, room), room};
        if (room < missing)
            return n;
    }
    iov[n++] = (struct iovec){s->w->read_buffer, most};
    return n;
}

void receive_readable(struct stream *s)
{
    if (s->in_ready) /* what is kept is shown first, next turn */
        return;
    if (!reserve_frame(s)) {
        wait_for_budget(s);
        return;
    }
    struct iovec iov[2];
    int places = read_places(s, iov);
    ssize_t n = readv(s->fd, iov, places);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            stream_close(s, uv_strerror(-errno));
        return;
    }
    if (n == 0) {
        stream_close(s, "closed by the peer");
        return;
    }
    s->last_read_ns = s->w->now_ns;
    size_t got = (size_t)n, direct = 0;
    if (iov[0].iov_base != s->w->read_buffer) {
        direct = got < iov[0].iov_len ? got : iov[0].iov_len;
        s->kept_len += direct;
    }
    feed(s, s->w->read_buffer, got - direct);
}
