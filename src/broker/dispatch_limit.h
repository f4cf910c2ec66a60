/* dispatch_limit.h - what limits the messages that go to consumers: a limit of each subscription,
 * one of the topic for all its subscriptions together, and the quotas above that. The same buckets,
 * queue and claims as for publishing, with one difference: an entry is at hand before it is asked
 * for, so what is reserved is exactly what is sent.
 *
 * Leave. A run of entries is not asked about one by one. The first asks every scope on the path;
 * then it is known how much more all of them hold, and entries go under this leave until it is used
 * up, when what was sent is charged in one go and the next entry asks. Nothing else can ask
 * between: it is one call, and what a quota holds for it is leased to this worker. So the contract
 * of limiter/bucket.h holds to the message, and no tokens are kept: what a consumer without
 * permits, a slow socket, or a read from disk leaves over was never taken.
 *
 * Waiting. A subscription that lacks tokens of its own waits for them alone, with a timer; for the
 * topic's or a quota's it stands in the topic's line for dispatch (topic_line.h), in which shares
 * are by weight. It stands there only while it could send: who has no consumer with permits, room
 * in a socket, and an entry, leaves. While it waits for a read it is in no line, but counts as
 * throttled.
 *
 * What was read from disk and could not go is kept until it can (at least one entry, and no more
 * than tokens pass soon), so that no entry is read twice for want of tokens. All that is kept is at
 * most a quarter of the cache's share of memory. Beyond that nothing is: who has nothing at hand
 * when its turn comes reads in its turn, and its line waits for it.
 *
 * Owner: the topic's worker. */
#ifndef BROKER_DISPATCH_LIMIT_H
#define BROKER_DISPATCH_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "broker/topic_line.h"
#include "broker/wait_counts.h"
#include "store/ledger_store.h"

struct subscription;
struct topic_rates;

/* A topic's: made when it has a limit, or one of its subscriptions has had to wait. */
struct topic_dispatch {
    struct topic_line line;  /* first */
    struct rate_choice rate; /* as set: relative to what is published, perhaps */
    int64_t followed_ns;     /* when it was last made absolute */
};

/* A subscription's: made when it has a limit of its own, or has had to wait. */
struct dispatch_limit {
    struct subscription *sub;
    struct scope own; /* its limit; its name is the subscription's */
    struct rate_choice rate;
    int64_t followed_ns;
    struct timer timer;         /* armed exactly while it waits for that */
    struct waiter waiter;       /* in its topic's line */
    struct scope *binding;      /* <own> or the line's, when it waits there; NULL: it does not */
    struct quota *lacking;      /* in line: the quota that it waits for, as far as it knows */
    struct claim_amount next;   /* what its next entry costs, or (not known) the last one did */
    struct claim_amount wanted; /* its part of what the line wants */
    bool throttled;             /* it waits, or did and is being read for */
    int64_t throttled_wall_ns;  /* since when, wall clock */
    struct wait_counts counts;
    struct claim_amount delayed;         /* that had to wait, and has gone on */
    uint64_t hits[REASON_BROKER + 1][2]; /* times that a limiter was used up, in messages, bytes */
    struct log_gate log_gate;
    /* The next entry, at hand from the queue's question for its cost to its grant. */
    struct ls_entry head;
    struct ls_hold *head_hold;
    bool has_head;
    /* Read from disk, and yet to go. */
    struct ls_hold *kept_hold;
    const struct ls_entry *kept;
    uint32_t kept_count;
    uint64_t kept_bytes;
    bool has_turn; /* it reads, or has read, in its turn, for which the line waits */
};

/* What may be sent without asking, and what was. Zero-initialised: nothing. */
struct dispatch_leave {
    uint64_t msgs, bytes;
    uint64_t sent_msgs, sent_bytes;
    uint32_t sent;    /* entries */
    uint32_t at_hand; /* entries, the next one among them: with one, no more is asked for */
    bool is_free;     /* nothing limits it */
    bool is_granted;  /* a turn in line: for one entry */
};

/* ---- dispatcher.c asks ---- */

/* The slow half of dispatch_may_send. */
bool dispatch_ask(struct subscription *s, struct dispatch_leave *l, uint64_t msgs, uint64_t bytes);
/* What limits count of an entry. */
struct claim_amount dispatch_cost(const struct subscription *s, const struct ls_entry *e);
/* May this entry be sent now? Then it counts as sent. False: the subscription waits from now on. */
static inline bool dispatch_may_send(struct subscription *s, struct dispatch_leave *l,
                                     uint64_t msgs, uint64_t bytes)
{
    if (msgs > l->msgs || bytes > l->bytes)
        return dispatch_ask(s, l, msgs, bytes);
    l->msgs -= msgs;
    l->bytes -= bytes;
    l->sent_msgs += msgs;
    l->sent_bytes += bytes;
    l->sent++;
    return true;
}
/* Charges what was sent; at the end of each run. */
void dispatch_charge(struct subscription *s, struct dispatch_leave *l);
/* Bounds a read from disk to what may go soon, at least one entry. */
void dispatch_bound_read(struct subscription *s, uint32_t *entries, uint64_t *bytes);
/* The same for one that does not wait. False: nothing may go; it waits from now on. */
bool dispatch_may_read(struct subscription *s, uint32_t *entries, uint64_t *bytes);
/* Entries from <first> on that are kept: as ls_read_cached, without a hold. */
uint32_t dispatch_kept(const struct subscription *s, uint64_t first, uint32_t most, uint64_t bytes,
                       struct ls_entry *out);
/* A read in its turn has ended: its turn goes on. No-op for others. */
void dispatch_turn_goes_on(struct subscription *s);
bool dispatch_reads_in_turn(const struct subscription *s);
/* Entries that were read and could not go, for a subscription that waits: takes <hold>. */
void dispatch_keep(struct subscription *s, const struct ls_entry *e, uint32_t n,
                   struct ls_hold *hold);
bool dispatch_waits(const struct subscription *s);
/* It has nothing to send, or nobody to send to. No-op where it does not wait. */
void dispatch_stop_waiting(struct subscription *s);
/* At the end of whatever may have begun or ended a wait: counts it, says so. */
void dispatch_settle(struct subscription *s);

/* ---- the dispatcher, asked by the line ---- */

/* Could it send something, if there were tokens? */
bool dispatch_could_send(struct subscription *s);
/* The next entry, if it is in memory: it costs what <out> says. */
bool dispatch_fetch_next(struct subscription *s, struct ls_entry *out, struct ls_hold **hold);
/* It is not in memory: reads it, and more, <most> at most. False: it does not, as there is none
 * that could be sent, or it can't be read. */
bool dispatch_read_next(struct subscription *s, uint32_t most);
/* One entry, under <l>, and charges it. False: nobody took it. */
bool dispatch_send_one(struct subscription *s, const struct dispatch_leave *l,
                       const struct ls_entry *e);

/* ---- limits come and go ---- */

/* Of the topic and of each subscription on it. */
void dispatch_set_rates(struct topic *t, const struct topic_rates *rates);
/* Of one that is new. */
void dispatch_set_rate(struct subscription *s);
/* What holds for it: a rate of its own, or that of each. */
struct rate_choice dispatch_rate_of(const struct subscription *s);
/* The topic has another chain of quotas. */
void dispatch_chain_changed(struct topic *t);
void dispatch_limit_free(struct subscription *s);
void topic_dispatch_free(struct topic *t);

/* ---- for statistics ---- */

/* Whose tokens it waits for; NULL: nobody's. And why: REASON_COUNT then. */
const char *dispatch_waits_for(const struct subscription *s);
enum throttle_reason dispatch_reason(const struct subscription *s);
/* The topic's line for dispatch; NULL: it has no limit and none of its subscriptions has waited. */
struct topic_line *topic_dispatch_line(const struct topic *t);

#endif
