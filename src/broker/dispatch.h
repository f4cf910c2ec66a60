/* dispatch.h - private to dispatch*.c: what they do for each other (subscription.h has what others
 * ask of them). */
#ifndef BROKER_DISPATCH_H
#define BROKER_DISPATCH_H

#include "broker/dispatch_limit.h"
#include "broker/subscription.h"

enum {
    READ_ENTRIES = 100,           /* per fetch, as dispatcherMaxReadBatchSize */
    READ_BYTES = 5 * 1024 * 1024, /* per fetch, as dispatcherMaxReadSizeBytes */
};

/* The work of one turn for one subscription. */
struct round {
    struct subscription *sub;
    uint64_t entries_left, bytes_left;
    struct dispatch_leave leave;
    bool has_no_tokens; /* any more */
};

/* ---- dispatcher.c ---- */

/* Entries asked for from <first> on, of which e[0..n-1] are still there, to the consumers. Returns
 * how many of them are done with. */
uint32_t dispatch_hand_out(struct round *r, uint64_t first, const struct ls_entry *e, uint32_t n);
/* Those in between that are missing are gone: the cursor must not wait for them. */
void dispatch_skip_gaps(struct subscription *s, uint64_t first, const struct ls_entry *e,
                        uint32_t n);
/* How many messages and bytes the consumers have room for now. */
void dispatch_room(struct subscription *s, uint64_t *messages, uint64_t *bytes);
/* The topic is looked at again then, or at once. */
void dispatch_retry_in(struct subscription *s, int64_t ms);

/* ---- dispatch_read.c ---- */

/* The next entries to send: from where, and how many at most. 0: none. */
uint32_t dispatch_next_run(struct subscription *s, uint64_t *first, uint32_t most);
/* Those of them that are in memory; <out> has room for <most>. */
uint32_t dispatch_fetch(struct subscription *s, uint64_t first, uint32_t most, uint64_t bytes,
                        struct ls_entry *out, struct ls_hold **hold);
/* They are not: reads them, unless that has just failed. */
void dispatch_read(struct subscription *s, uint64_t first, uint32_t n, uint64_t bytes);
/* Reading of that entry has failed, and it is not time yet to try again. */
bool dispatch_read_rests(const struct subscription *s, uint64_t first);

#endif
