/* peers.h - the connections of the HTTP side, and which of them has to go. Pure: time is a
 * parameter, and closing is the caller's.
 *
 * A connection is waited for by the broker (for its request, or for it to read the answer), or the
 * other way round. Who is waited for has a time to be done by, however many bytes come meanwhile;
 * and when there is no more room, who has been waited for longest goes. So those that are slow can
 * not keep out those that are not, and whoever is being served is safe. */
#ifndef ADMIN_PEERS_H
#define ADMIN_PEERS_H

#include <stdbool.h>
#include <stdint.h>

enum peer_state {
    PEER_ASKING,  /* new, or its request has begun; waited for */
    PEER_IDLE,    /* between two requests; waited for */
    PEER_SERVED,  /* its request has come whole; not waited for */
    PEER_READING, /* its answer is being sent; waited for */
    PEER_LEAVING, /* it was told to go; in no list, not counted */
};

enum {
    PEER_REQUEST_S = 10,      /* for a request, head and body: the largest are a few KB */
    PEER_IDLE_S = 60,         /* for the next one */
    PEER_ANSWER_S = 10,       /* for an answer, and in addition */
    PEER_BYTES_PER_S = 65536, /* what a reader must take at least, on average */
    PEER_LEAST_MS = 20,       /* everybody's, to say something, before he makes room */
    PEER_STALL_MS = 1000, /* a reader that takes nothing for so long goes when memory is short */
};

struct peer { /* fields private to peers.c, but for fd */
    struct peer *prev, *next;
    int fd;
    enum peer_state state;
    int64_t since_ns; /* it is waited for; of a reader: it was last seen to take something */
    int64_t deadline_ns;
    uint64_t taken; /* of its socket's output, as last seen */
};

struct peers {
    struct peer *waited_for; /* by since_ns */
    uint32_t count;
    int64_t looked_ns; /* when peers_overdue last looked at all */
};

void peers_add(struct peers *ps, struct peer *p, int fd, int64_t now_ns); /* PEER_ASKING */
void peers_remove(struct peers *ps, struct peer *p);                      /* it is gone */
/* A new state. <bytes>: of the answer, for PEER_READING. No-op for one that leaves; a request that
 * begins on a connection that is PEER_ASKING changes nothing. */
void peer_enter(struct peers *ps, struct peer *p, enum peer_state state, uint64_t bytes,
                int64_t now_ns);

/* Each of these gives one that has to go, which is PEER_LEAVING from then on; NULL: none. */
struct peer *peers_overdue(struct peers *ps, int64_t now_ns); /* call it until it says NULL */
struct peer *peers_longest(struct peers *ps, int64_t now_ns); /* to make room */
/* Answers take more memory than they may: the reader that has taken nothing for longest, if that is
 * long. <taken> says what a socket has taken in all. */
struct peer *peers_stalled(struct peers *ps, uint64_t (*taken)(int fd), int64_t now_ns);
bool peers_any_waited_for(const struct peers *ps);

#endif
