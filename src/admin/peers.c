/* peers.c - see peers.h.
 *
 * Invariant: who is waited for is in the list, by since_ns: a peer enters it at the end, and whose
 * since_ns is set anew goes there. */
#include "admin/peers.h"

#include <stddef.h>
#include <utlist.h>

#include "base/mono.h"

static bool is_waited_for(const struct peer *p)
{
    return p->state == PEER_ASKING || p->state == PEER_IDLE || p->state == PEER_READING;
}

static int64_t allowed_ns(enum peer_state state, uint64_t bytes)
{
    switch (state) {
    case PEER_ASKING:
        return PEER_REQUEST_S * MONO_S;
    case PEER_IDLE:
        return PEER_IDLE_S * MONO_S;
    case PEER_READING:
        return (PEER_ANSWER_S + (int64_t)(bytes / PEER_BYTES_PER_S)) * MONO_S;
    default:
        return MONO_NEVER;
    }
}

static void wait_for(struct peers *ps, struct peer *p, uint64_t bytes, int64_t now_ns)
{
    p->since_ns = now_ns;
    p->deadline_ns = mono_add(now_ns, allowed_ns(p->state, bytes));
    DL_APPEND(ps->waited_for, p);
}

void peers_add(struct peers *ps, struct peer *p, int fd, int64_t now_ns)
{
    *p = (struct peer){.fd = fd, .state = PEER_ASKING};
    ps->count++;
    wait_for(ps, p, 0, now_ns);
}

static void leave_list(struct peers *ps, struct peer *p)
{
    if (is_waited_for(p))
        DL_DELETE(ps->waited_for, p);
}

void peers_remove(struct peers *ps, struct peer *p)
{
    leave_list(ps, p);
    if (p->state != PEER_LEAVING)
        ps->count--;
}

void peer_enter(struct peers *ps, struct peer *p, enum peer_state state, uint64_t bytes,
                int64_t now_ns)
{
    if (p->state == PEER_LEAVING || p->state == state)
        return;
    leave_list(ps, p);
    p->state = state;
    if (is_waited_for(p))
        wait_for(ps, p, bytes, now_ns);
}

static struct peer *send_away(struct peers *ps, struct peer *p)
{
    if (p == NULL)
        return NULL;
    leave_list(ps, p);
    p->state = PEER_LEAVING;
    ps->count--;
    return p;
}

struct peer *peers_overdue(struct peers *ps, int64_t now_ns)
{
    struct peer *p;
    if (now_ns - ps->looked_ns < MONO_S)
        return NULL;
    DL_FOREACH(ps->waited_for, p)
    {
        if (p->deadline_ns <= now_ns)
            return send_away(ps, p);
    }
    ps->looked_ns = now_ns;
    return NULL;
}

struct peer *peers_longest(struct peers *ps, int64_t now_ns)
{
    struct peer *p = ps->waited_for;
    return p != NULL && now_ns - p->since_ns >= PEER_LEAST_MS * MONO_MS ? send_away(ps, p) : NULL;
}

/* It took something: it is at the end of the list again. */
static void note_taken(struct peers *ps, struct peer *p, uint64_t taken, int64_t now_ns)
{
    p->taken = taken;
    p->since_ns = now_ns;
    DL_DELETE(ps->waited_for, p);
    DL_APPEND(ps->waited_for, p);
}

struct peer *peers_stalled(struct peers *ps, uint64_t (*taken)(int fd), int64_t now_ns)
{
    struct peer *p, *next;
    DL_FOREACH_SAFE(ps->waited_for, p, next)
    {
        if (now_ns - p->since_ns < PEER_STALL_MS * MONO_MS)
            return NULL;
        if (p->state != PEER_READING)
            continue;
        uint64_t n = taken(p->fd);
        if (n == p->taken)
            return send_away(ps, p);
        note_taken(ps, p, n, now_ns);
    }
    return NULL;
}

bool peers_any_waited_for(const struct peers *ps)
{
    return ps->waited_for != NULL;
}
