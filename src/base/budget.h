/* budget.h - the one memory budget of the process (--memory). Whoever keeps bytes that a peer can
 * make grow (receive buffers, parked frames, the tail cache, outbound queues, HTTP bodies) charges
 * them here under its kind. Charging is optimistic accounting with relaxed atomics: any thread. */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum budget_kind {
    BUDGET_RECEIVE,  /* partly received frames */
    BUDGET_INFLIGHT, /* appended, not yet on disk */
    BUDGET_PARKED,   /* frames of throttled producers */
    BUDGET_CACHE,    /* tail of the log and entries read back */
    BUDGET_OUTBOUND, /* waiting for slow sockets */
    BUDGET_HTTP,     /* request and answer bodies */
    BUDGET_KINDS
};

struct budget {
    int64_t total_bytes;
    int64_t share_bytes[BUDGET_KINDS]; /* the most that one kind may take */
    _Atomic int64_t used_bytes[BUDGET_KINDS];
};

/* Splits <total_bytes> into shares per kind (see budget.c for the split and its reasons). */
void budget_init(struct budget *b, int64_t total_bytes);

/* What is published gets no more than <bytes>: in flight a third of it, parked the rest. Before
 * anything is charged. */
void budget_limit_publishing(struct budget *b, int64_t bytes);

/* Takes <n> bytes if the kind's share allows it; false (nothing taken) otherwise. */
bool budget_take(struct budget *b, enum budget_kind kind, int64_t n);
/* Takes <n> bytes whatever the share says: for bytes that are here already. */
void budget_force(struct budget *b, enum budget_kind kind, int64_t n);
void budget_give(struct budget *b, enum budget_kind kind, int64_t n);
int64_t budget_used(const struct budget *b, enum budget_kind kind);
/* The kind has all of its share, or more. */
bool budget_is_over(const struct budget *b, enum budget_kind kind);
/* All kinds together have nearly the total: whatever is large and can wait, waits. */
bool budget_is_exhausted(const struct budget *b);
/* The kind has more than its share, and all together have much of the total: nothing that can wait
 * is charged to it, not even the little that is given to whoever has none. */
bool budget_is_closed(const struct budget *b, enum budget_kind kind);
const char *budget_kind_name(enum budget_kind kind);

#endif
